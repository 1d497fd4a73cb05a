//! The gate: between a fault in a child and what is done about it.
//!
//! A program in ring 3 cannot enter the shim by itself: EFER.SCE is off, so `syscall` raises #UD, and the root
//! has an intercept on it. The gate takes each such fault ([`CallSite`]), says which instruction it was ([`recognise`]), reads the call's
//! number and arguments from the registers once, asks the [`policy`], and gives an [`Action`] for the root to
//! carry out. What it read is what is judged, what goes into the [`Grant`], and what the shim
//! executes: no register and no memory is looked at again.
//!
//! The gate also writes the trace: one line a call, when asked to or when a rule says `log = true`. With the trace off,
//! judging allocates nothing and reads no memory of the child beyond the instruction.
//!
//! # What is judged
//! - `syscall`: a call of the x86-64 table. As in Linux only EAX counts as the number. Numbers outside the table (those of
//!   the x32 ABI, with bit 30, among them) are judged by the policy's default.
//! - `sysenter`, `int 0x80`: calls of the i386 table, which no policy can name yet: judged by the default. Kill ends the program; otherwise it
//!   gets the fault that a kernel without the i386 ABI gives it.
//! - Anything else is the program's own fault and goes back to it.
//!
//! # Example
//! ```
//! use gate::{Action, CallSite, Gate};
//! use guestmem::double::VecMemory;
//!
//! let policy = policy::parse("p.toml", "version = 1\n[[rule]]\ncalls = [\"getpid\"]\naction = \"allow\"\n").unwrap();
//! let mut gate = Gate::new(policy.into(), true);
//! let mut gprs = [0; 16];
//! gprs[0] = 102; // getuid
//! let site = CallSite {
//!     vector: 6, error_code: 0, cpl: 3, gprs, rip: 0x40_1000, rflags: 0x202, cr3: 0,
//!     instruction: &[0x0f, 0x05], thread: 1,
//! };
//! let mut lines = String::new();
//! let action = gate.judge(&site, &VecMemory::new(0), 12_340, &mut |line| lines.push_str(line));
//! assert_eq!(action, Action::Answer { value: -1, instruction_len: 2 });
//! assert_eq!(lines, "   0.001234   1 getuid() = -1 EPERM (Operation not permitted) [errno EPERM, default]\n");
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod recognise;
mod trace;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use guestmem::GuestMemory;
use policy::signature::Output;
use policy::{Policy, Verdict};
use proto::{CallResult, Grant, grant_flags, result_flags};
use recognise::Instruction;

/// Vector of the invalid-opcode exception, #UD.
pub const INVALID_OPCODE: u8 = 6;
/// Vector of the general-protection exception, #GP.
pub const GENERAL_PROTECTION: u8 = 13;
/// #GP's error code for `int 0x80` when ring 3 may not use that gate: vector 0x80 of the IDT (AMD APM volume 2, 8.4.1).
pub const INT_80_ERROR_CODE: u32 = 0x402;
/// The part of it that is looked at: it names a gate of the IDT, and the fault was not met while delivering an external
/// event. QEMU 7.2 has the vector in the wrong place in 64-bit mode (0x802); the instruction says which it was anyway.
const ERROR_CODE_TABLE: u32 = 0b11;

/// Calls under way whose lines wait for their results. A shim that never reports makes the oldest be
/// written as unfinished.
const MAX_OPEN: usize = 256;

/// A fault that a child's VP stopped at, as the exception intercept tells it.
#[derive(Clone, Copy, Debug)]
pub struct CallSite<'a> {
    /// The exception's vector.
    pub vector: u8,
    /// Its error code; 0 for one without.
    pub error_code: u32,
    /// The privilege level that it came from.
    pub cpl: u8,
    /// General registers in the TLFS' order: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gprs: [u64; 16],
    /// Address of the instruction.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// The page table that the VP uses.
    pub cr3: u64,
    /// The first bytes of the instruction; may be too few, or none.
    pub instruction: &'a [u8],
    /// The thread, for the trace.
    pub thread: u32,
}

/// What the root does about a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give the shim this grant and perform the system-call entry on the VP.
    Forward {
        /// What is allowed.
        grant: Grant,
        /// Length of the instruction: the program goes on behind it.
        instruction_len: u8,
    },
    /// Put the value into RAX and go on behind the instruction, in ring 3.
    Answer {
        /// RAX.
        value: i64,
        /// Length of the instruction.
        instruction_len: u8,
    },
    /// End the program.
    Kill {
        /// The call and the rule.
        reason: String,
    },
    /// Give the program this exception: it is its own.
    Reflect {
        /// The exception's vector.
        vector: u8,
        /// Its error code, if it has one.
        error_code: Option<u32>,
    },
    /// The shim itself faulted: the sandbox cannot go on.
    ShimFailed {
        /// How.
        reason: String,
    },
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// System calls judged.
    pub calls: u64,
    /// Of them answered at once, with an error or a result that the policy made up.
    pub denied: u64,
    /// Of them that ended the program.
    pub killed: u64,
    /// Of them that the personality says it does not carry out, or that no table here has. As the shim tells it.
    pub not_implemented: u64,
}

/// Which table a call's number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abi {
    X86_64,
    I386,
}

/// A call as it was read from the registers.
#[derive(Clone, Copy, Debug)]
struct Call {
    abi: Abi,
    number: u64,
    args: [u64; 6],
    cr3: u64,
}

/// A granted call whose line waits for the result.
struct Open {
    sequence: u64,
    output: Output,
    /// Time, thread, call.
    line: String,
    /// `[verdict, rule]`.
    judged: String,
}

/// The gate of one sandbox.
pub struct Gate {
    policy: Rc<Policy>,
    trace: bool,
    sequence: u64,
    counters: Counters,
    open: VecDeque<Open>,
}

impl Gate {
    /// A gate that judges by `policy` and, if `trace`, writes a line for every call.
    #[must_use]
    pub fn new(policy: Rc<Policy>, trace: bool) -> Self {
        Self { policy, trace, sequence: 0, counters: Counters::default(), open: VecDeque::new() }
    }

    /// What to do about a fault. `now_100ns` is the time since the sandbox's start; `sink` takes lines of the trace,
    /// each with its newline.
    pub fn judge<M: GuestMemory>(
        &mut self,
        site: &CallSite<'_>,
        memory: &M,
        now_100ns: u64,
        sink: &mut dyn FnMut(&str),
    ) -> Action {
        if site.cpl != 3 {
            return shim_failed(site);
        }
        match recognise::at_fault(site, memory) {
            Instruction::Syscall { len } if site.vector == INVALID_OPCODE => {
                self.syscall(site, len, memory, now_100ns, sink)
            }
            Instruction::Sysenter if matches!(site.vector, INVALID_OPCODE | GENERAL_PROTECTION) => {
                self.i386(site, "sysenter", memory, now_100ns, sink)
            }
            Instruction::Int80 if is_refused_gate(site) => self.i386(site, "int 0x80", memory, now_100ns, sink),
            _ => reflect(site),
        }
    }

    /// Takes one result that the shim reported, and writes the call's line if it has one. Results are the shim's
    /// word and nothing hangs on them but the trace; those of calls that were never granted are dropped.
    pub fn completed(&mut self, result: CallResult, _now_100ns: u64, sink: &mut dyn FnMut(&str)) {
        if result.sequence == 0 || result.sequence > self.sequence {
            return;
        }
        let missing = result.flags & result_flags::NOT_IMPLEMENTED != 0;
        if missing {
            self.counters.not_implemented = self.counters.not_implemented.saturating_add(1);
        }
        let Some(index) = self.open.iter().position(|open| open.sequence == result.sequence) else { return };
        let Some(open) = self.open.remove(index) else { return };
        let returned = trace::Returned { value: result.value, output: open.output };
        let mark = if missing { " [not carried out yet]" } else { "" };
        sink(&format!("{} = {returned} {}{mark}\n", open.line, open.judged));
    }

    /// Writes the lines of the calls that have not come back: the program has ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&str)) {
        for open in self.open.drain(..) {
            write_unfinished(&open, sink);
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    #[inline]
    fn syscall(
        &mut self,
        site: &CallSite<'_>,
        len: u8,
        memory: &dyn GuestMemory,
        now_100ns: u64,
        sink: &mut dyn FnMut(&str),
    ) -> Action {
        if !is_canonical(site.rip.wrapping_add(u64::from(len))) {
            // There is no instruction to go on with behind this one: no call, but the fault that going on would be.
            return Action::Reflect { vector: GENERAL_PROTECTION, error_code: Some(0) };
        }
        let call = Call::x86_64(site);
        self.counters.calls = self.counters.calls.saturating_add(1);
        let verdict = self.policy.judge(call.number, &call.args);
        let traced = self.trace || verdict.log;
        match verdict.action {
            policy::Action::Allow | policy::Action::Rewrite => {
                self.sequence += 1;
                let flags = if traced { grant_flags::REPORT } else { 0 };
                let args = verdict.rewritten(call.args);
                let grant = Grant { sequence: self.sequence, number: call.number, args, flags, reserved: 0 };
                if traced {
                    let entry = granted(self.sequence, site, &call, verdict, memory, now_100ns);
                    self.wait_for_result(entry, sink);
                }
                Action::Forward { grant, instruction_len: len }
            }
            policy::Action::Fake(value) => {
                self.counters.denied = self.counters.denied.saturating_add(1);
                if traced {
                    let returned = trace::Returned { value, output: trace::output(&call) };
                    write_line(site, &call, &format!("{returned} {}", trace::Judged(verdict)), memory, now_100ns, sink);
                }
                Action::Answer { value, instruction_len: len }
            }
            policy::Action::Errno(errno) => {
                self.counters.denied = self.counters.denied.saturating_add(1);
                if traced {
                    let returned = trace::Returned { value: errno.result(), output: Output::Decimal };
                    write_line(site, &call, &format!("{returned} {}", trace::Judged(verdict)), memory, now_100ns, sink);
                }
                Action::Answer { value: errno.result(), instruction_len: len }
            }
            policy::Action::Kill => {
                self.counters.killed = self.counters.killed.saturating_add(1);
                killed(site, &call, verdict, traced, memory, now_100ns, sink)
            }
        }
    }

    /// A call of the i386 table: only the policy's default can speak about it, and there is nobody to carry it out.
    #[cold]
    fn i386(
        &mut self,
        site: &CallSite<'_>,
        instruction: &str,
        memory: &dyn GuestMemory,
        now_100ns: u64,
        sink: &mut dyn FnMut(&str),
    ) -> Action {
        let call = Call::i386(site);
        self.counters.calls = self.counters.calls.saturating_add(1);
        let verdict = self.policy.judge_unknown();
        let traced = self.trace || verdict.log;
        if verdict.action == policy::Action::Kill {
            self.counters.killed = self.counters.killed.saturating_add(1);
            return killed(site, &call, verdict, traced, memory, now_100ns, sink);
        }
        self.counters.not_implemented = self.counters.not_implemented.saturating_add(1);
        if traced {
            let signal = if site.vector == INVALID_OPCODE { "SIGILL" } else { "SIGSEGV" };
            let end = format!("? {} [not carried out yet: {instruction} gives {signal}]", trace::Judged(verdict));
            write_line(site, &call, &end, memory, now_100ns, sink);
        }
        reflect(site)
    }

    /// Keeps a granted call's line until its result comes, or writes it at once if none will.
    fn wait_for_result(&mut self, entry: Open, sink: &mut dyn FnMut(&str)) {
        if entry.output == Output::Nothing {
            sink(&format!("{} = ? {}\n", entry.line, entry.judged));
            return;
        }
        if self.open.len() >= MAX_OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            write_unfinished(&oldest, sink);
        }
        self.open.push_back(entry);
    }
}

impl Call {
    /// Number in EAX; arguments in RDI, RSI, RDX, R10, R8, R9.
    fn x86_64(site: &CallSite<'_>) -> Self {
        let [rax, _, rdx, _, _, _, rsi, rdi, r8, r9, r10, ..] = site.gprs;
        Self { abi: Abi::X86_64, number: low32(rax), args: [rdi, rsi, rdx, r10, r8, r9], cr3: site.cr3 }
    }

    /// Number in EAX; arguments in EBX, ECX, EDX, ESI, EDI, EBP.
    fn i386(site: &CallSite<'_>) -> Self {
        let [rax, rcx, rdx, rbx, _, rbp, rsi, rdi, ..] = site.gprs;
        let args = [rbx, rcx, rdx, rsi, rdi, rbp].map(low32);
        Self { abi: Abi::I386, number: low32(rax), args, cr3: site.cr3 }
    }
}

#[cold]
fn granted(
    sequence: u64,
    site: &CallSite<'_>,
    call: &Call,
    verdict: Verdict<'_>,
    memory: &dyn GuestMemory,
    now_100ns: u64,
) -> Open {
    Open {
        sequence,
        output: trace::output(call),
        line: trace::prefix(now_100ns, site.thread) + &trace::call(call, memory),
        judged: format!("{}", trace::Judged(verdict)),
    }
}

#[cold]
fn killed(
    site: &CallSite<'_>,
    call: &Call,
    verdict: Verdict<'_>,
    traced: bool,
    memory: &dyn GuestMemory,
    now_100ns: u64,
    sink: &mut dyn FnMut(&str),
) -> Action {
    let text = trace::call(call, memory);
    if traced {
        sink(&format!("{}{text} = ? {}\n", trace::prefix(now_100ns, site.thread), trace::Judged(verdict)));
    }
    Action::Kill { reason: format!("{text}: {}", verdict.rule) }
}

#[cold]
fn write_line(
    site: &CallSite<'_>,
    call: &Call,
    end: &str,
    memory: &dyn GuestMemory,
    now_100ns: u64,
    sink: &mut dyn FnMut(&str),
) {
    sink(&format!("{}{} = {end}\n", trace::prefix(now_100ns, site.thread), trace::call(call, memory)));
}

#[cold]
fn write_unfinished(open: &Open, sink: &mut dyn FnMut(&str)) {
    sink(&format!("{} <unfinished ...> {}\n", open.line, open.judged));
}

/// Whether the fault is that an INT instruction named a gate of the IDT that ring 3 may not use.
fn is_refused_gate(site: &CallSite<'_>) -> bool {
    site.vector == GENERAL_PROTECTION && site.error_code & ERROR_CODE_TABLE == INT_80_ERROR_CODE & ERROR_CODE_TABLE
}

/// The fault as it came.
fn reflect(site: &CallSite<'_>) -> Action {
    let error_code = has_error_code(site.vector).then_some(site.error_code);
    Action::Reflect { vector: site.vector, error_code }
}

#[cold]
fn shim_failed(site: &CallSite<'_>) -> Action {
    let reason = format!(
        "exception {} (error code {:#x}) in ring {} at {:#x}",
        site.vector, site.error_code, site.cpl, site.rip
    );
    Action::ShimFailed { reason }
}

/// The exceptions that push an error code (AMD64 manual volume 2, chapter 8).
fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

fn low32(value: u64) -> u64 {
    value & u64::from(u32::MAX)
}

/// Whether an address is one that 4-level paging can translate: bits 63 to 47 are equal.
fn is_canonical(address: u64) -> bool {
    let top = address >> 47;
    top == 0 || top == 0x1_ffff
}
