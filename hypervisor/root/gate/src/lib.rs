//! The gate: between a fault in a child and what is done about it.
//!
//! A program in ring 3 cannot enter the shim by itself: EFER.SCE is off, so `syscall` raises #UD, and the root
//! has an intercept on it. The gate takes each such fault ([`CallSite`]), says which instruction it was ([`recognise`]), reads the call's
//! number and arguments from the registers once, asks the [`policy`], and gives an [`Action`] for the root to
//! carry out. What it read is what is judged, what goes into the [`Grant`], and what the shim
//! executes: no register and no memory is looked at again.
//!
//! The gate also makes the records of the [`trace`]: of each call, when asked to or when a rule says `log = true`. Without,
//! judging allocates nothing and reads no memory of the child beyond the instruction.
//!
//! # What is judged
//! - `syscall`: a call of the x86-64 table. As in Linux only EAX counts as the number. Numbers outside the table (those of
//!   the x32 ABI, with bit 30, among them) are judged by the policy's default.
//! - `sysenter`, `int 0x80`: calls of the i386 table, which no policy can name yet: judged by the default. Kill ends what it names; otherwise the program
//!   gets the fault that a kernel without the i386 ABI gives it.
//! - Anything else is the program's own fault and goes back to it.
//!
//! # Example
//! ```
//! use gate::{Action, CallSite, Gate, Mode};
//! use guestmem::double::VecMemory;
//!
//! let policy = policy::parse("p.toml", "version = 1\n[[rule]]\ncalls = [\"getpid\"]\naction = \"allow\"\n").unwrap();
//! let mut gate = Gate::new(policy.into(), Mode { record: true, dry_run: false, ask: false });
//! let mut gprs = [0; 16];
//! gprs[0] = 102; // getuid
//! let site = CallSite {
//!     vector: 6, error_code: 0, cpl: 3, gprs, rip: 0x40_1000, rflags: 0x202, cr3: 0,
//!     instruction: &[0x0f, 0x05], thread: 1,
//! };
//! let (mut lines, mut text) = (trace::Lines::new(), String::new());
//! let action = gate.judge(&site, &VecMemory::new(0), 12_340, &mut |record| lines.add(&record, &mut text));
//! assert_eq!(action, Action::Answer { value: -1, instruction_len: 2 });
//! assert_eq!(text, "   0.001234   1 getuid() = -1 EPERM (Operation not permitted) [errno EPERM, default]\n");
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod budget;
mod capture;
mod granted;
mod limits;
mod memory;
mod message;
mod questions;
mod rate;
pub mod recognise;
mod site;
mod taints;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

pub use budget::Budgets;
use capture::{Source, reason};
use granted::Granted;
use guestmem::GuestMemory;
use memory::{CallMemory, NotRead};
use policy::quotas::Quota;
use policy::{Pointed, Policy};
use proto::{CallResult, CopyHead, Grant, grant_flags, result_flags};
use questions::{Asked, Questions};
pub use questions::{MAX_QUESTIONS, Standing};
pub use rate::Rate;
use recognise::Instruction;
use site::{Call, fault, is_canonical, is_refused_gate, reflect, shim_failed};
pub use site::{CallSite, INT_80_ERROR_CODE};
use taints::Brings;
use trace::{Answer, PolicyRecord, Record, ResultRecord};

/// Vector of the invalid-opcode exception, #UD.
pub const INVALID_OPCODE: u8 = 6;
/// Vector of the general-protection exception, #GP.
pub const GENERAL_PROTECTION: u8 = 13;
/// The ways into the i386 ABI: how they are written, and how long they are in bytes.
const SYSENTER: (&str, u8) = ("sysenter", 2);
const INT_80: (&str, u8) = ("int 0x80", 2);

/// The generation of the policy that a gate is made with.
const FIRST: u32 = 1;

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
    /// Nothing yet: there were as many calls as there may be. Judge the same fault once more at this time.
    Later {
        /// In the time of `now_100ns`.
        at: u64,
    },
    /// End the sandbox.
    Kill {
        /// The call and the rule.
        reason: String,
    },
    /// As [`Action::Forward`], but not yet: the sandbox stands still until [`Gate::question`] says what is done with this grant.
    Stop {
        /// What is allowed, if it is.
        grant: Grant,
        /// Length of the instruction.
        instruction_len: u8,
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

/// What is done instead of something that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It fails.
    Errno(policy::errno::Errno),
    /// The program ends.
    Kill {
        /// The rule.
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
    /// Of them that ended a thread, a process or the sandbox.
    pub killed: u64,
    /// Of them that the personality says it does not carry out, or that no table here has. As the shim tells it.
    pub not_implemented: u64,
}

/// What a gate does beside judging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Every call is recorded, and not only those whose rule says so.
    pub record: bool,
    /// Verdicts are recorded, and nothing is done about them: every call is carried out as it came.
    pub dry_run: bool,
    /// Somebody is there who answers questions.
    pub ask: bool,
}

/// Takes records.
type Sink<'s> = &'s mut dyn FnMut(Record);

/// The gate of one sandbox.
pub struct Gate {
    policy: Rc<Policy>,
    /// Which policy that is.
    generation: u32,
    mode: Mode,
    counters: Counters,
    granted: Granted,
    copied: CallMemory,
    budgets: Budgets,
    questions: Questions,
    rate: Rate,
    /// The taints that a call has brought which listens and has not asked about its socket yet ([`Gate::may_listen`]).
    by_listen: u64,
    /// The limits whose reaching was told, a bit for each.
    told: u32,
    /// The call and the rule for which a process or a thread was ended last.
    killed_for: Option<String>,
}

impl Gate {
    /// A gate that judges by `policy`.
    #[must_use]
    pub fn new(policy: Rc<Policy>, mode: Mode) -> Self {
        let (copied, budgets) = (CallMemory::new(&policy), Budgets::new(&policy, 0));
        let (counters, granted) = (Counters::default(), Granted::default());
        let rate = Rate::new(policy.quotas().get(Quota::CallsPerSecond), 0);
        let (questions, generation, by_listen, told, killed_for) = (Questions::default(), FIRST, 0, 0, None);
        Self {
            policy,
            generation,
            mode,
            counters,
            granted,
            copied,
            budgets,
            questions,
            rate,
            by_listen,
            told,
            killed_for,
        }
    }

    /// Judges by another policy from the next call on. What was judged before is carried out as it was judged, and what was asked stays asked; budgets begin
    /// anew, and that a limit is reached is told again; taints stay in force.
    pub fn set_policy(&mut self, policy: Rc<Policy>, generation: u32, now_100ns: u64, sink: Sink<'_>) {
        // A page that was asked for may be asked for once more: that does no harm.
        (self.copied, self.budgets) = (CallMemory::new(&policy), Budgets::new(&policy, self.budgets.tainted()));
        self.rate = Rate::new(policy.quotas().get(Quota::CallsPerSecond), now_100ns);
        self.told = 0;
        sink(Record::Policy(PolicyRecord { time: now_100ns, generation, name: policy.name().into() }));
        (self.policy, self.generation) = (policy, generation);
    }

    /// What to do about a fault. `now_100ns` is the time since the sandbox's start; `sink` takes what is recorded.
    pub fn judge<M: GuestMemory>(&mut self, site: &CallSite<'_>, memory: &M, now_100ns: u64, sink: Sink<'_>) -> Action {
        if site.cpl != 3 {
            return shim_failed(site);
        }
        match recognise::at_fault(site, memory) {
            Instruction::Syscall { len } if site.vector == INVALID_OPCODE => {
                self.syscall(site, len, memory, now_100ns, sink)
            }
            Instruction::Sysenter if matches!(site.vector, INVALID_OPCODE | GENERAL_PROTECTION) => {
                self.i386(site, SYSENTER, memory, now_100ns, sink)
            }
            Instruction::Int80 if is_refused_gate(site) => self.i386(site, INT_80, memory, now_100ns, sink),
            _ => {
                if self.mode.record {
                    sink(Record::Fault(fault(site, now_100ns)));
                }
                reflect(site)
            }
        }
    }

    /// Takes one result that the shim reported, and records it if the call was. Results are the shim's
    /// word and nothing hangs on them but the records; those of calls that were never granted are dropped.
    pub fn completed(&mut self, result: CallResult, now_100ns: u64, sink: Sink<'_>) {
        if result.sequence == 0 || result.sequence > self.granted.last {
            return;
        }
        if result.flags & result_flags::MOVED != 0 {
            return self.budgets.returned(result.sequence, result.value);
        }
        let missing = result.flags & result_flags::NOT_IMPLEMENTED != 0;
        if missing {
            self.counters.not_implemented = self.counters.not_implemented.saturating_add(1);
        }
        self.budgets.returned(result.sequence, result.value);
        let open = &mut self.granted.open;
        let Some(index) = open.iter().position(|open| *open == result.sequence) else { return };
        open.remove(index);
        let CallResult { sequence, value, .. } = result;
        sink(Record::Result(ResultRecord { time: now_100ns, sequence, value, missing }));
    }

    /// What it does beside judging.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Which policy holds.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The number of the call that was granted last: that which the shim carries out, if it runs for a call. 0: there was none yet.
    #[must_use]
    pub const fn last_granted(&self) -> u64 {
        self.granted.last
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The call and the rule for which a process or a thread was ended last.
    #[must_use]
    pub fn killed_for(&self) -> Option<&str> {
        self.killed_for.as_deref()
    }

    #[inline]
    fn syscall(
        &mut self,
        site: &CallSite<'_>,
        len: u8,
        memory: &dyn GuestMemory,
        now_100ns: u64,
        sink: Sink<'_>,
    ) -> Action {
        if !is_canonical(site.rip.wrapping_add(u64::from(len))) {
            // There is no instruction to go on with behind this one: no call, but the fault that going on would be.
            return Action::Reflect { vector: GENERAL_PROTECTION, error_code: Some(0) };
        }
        if let Err(later) = self.in_time(site, now_100ns, sink) {
            return later;
        }
        let call = Call::x86_64(site);
        let rules = self.policy.about(call.number);
        let reads = rules.reads();
        let verdict = if reads.is_empty() {
            rules.judge(&call.args, &Pointed::NOTHING)
        } else {
            match self.copied.read(reads, &call, memory) {
                Ok(()) => rules.judge(&call.args, &self.copied.pointed()),
                Err(NotRead::Missing { gva }) if self.copied.may_fetch(gva, call.cr3, self.granted.last) => {
                    return self.fetch(&call, gva, len);
                }
                Err(not_read) => self.policy.unreadable(not_read.errno()),
            }
        };
        let holds = rules.holds();
        let (verdict, taints) = if holds == 0 {
            (verdict, 0)
        } else {
            let verdict = self.budgets.decide(rules, verdict);
            let pointed = || if reads.is_empty() { Pointed::NOTHING } else { self.copied.pointed() };
            (verdict, rules.brings(&verdict, &call.args, pointed))
        };
        let brings = Brings { taints, thread: site.thread, number: call.number };
        self.counters.calls = self.counters.calls.saturating_add(1);
        let ignored = self.mode.dry_run && verdict.action != policy::Action::Allow;
        let (recorded, generation) = (self.mode.record || verdict.log, self.generation);
        let source = Source { memory, judged: (!reads.is_empty()).then_some(&self.copied), goes_on: false };
        let mut record = |answer| {
            if recorded {
                let judged = capture::verdict(verdict, ignored, generation);
                sink(Record::Call(capture::record(site, &call, judged, answer, source, now_100ns)));
            }
        };
        let action = match verdict.action {
            _ if ignored => policy::Action::Allow,
            // Nobody is there: what holds without an answer.
            policy::Action::Ask | policy::Action::Stop if !self.mode.ask => match verdict.unasked().action {
                policy::Action::Allow => questions::charged(&mut self.budgets, &self.policy, holds).into(),
                otherwise => otherwise,
            },
            action => action,
        };
        let value = match action {
            policy::Action::Allow | policy::Action::Rewrite => {
                let args = if ignored { call.args } else { verdict.rewritten(call.args) };
                let (args, flags) = match reads {
                    [] => (args, 0),
                    // What is only judged is done as it came, however long it is.
                    _ if self.mode.dry_run && self.copied.is_cut() => (args, 0),
                    _ if self.mode.dry_run => (args, grant_flags::COPIES),
                    _ => (rules.bounded(self.copied.redirected(args, verdict.rewrites())), grant_flags::COPIES),
                };
                let grant = Grant { args, flags, ..Grant::default() };
                let brought = self.budgets.taint(taints);
                let grant = if holds == 0 { grant } else { self.budgets.granted(holds, grant) };
                let (action, answer) = self.granted.forward(&call, grant, len, recorded);
                self.budgets.begun(self.granted.last, holds);
                // What the program asked for is told.
                record(answer);
                if !reads.is_empty() && !ignored {
                    self.copied.replace(call.number, verdict.rewrites());
                }
                if brought != 0 {
                    self.brought(brought, brings, self.granted.last, now_100ns, sink);
                }
                return action;
            }
            policy::Action::Ask | policy::Action::Stop => {
                let (args, flags) = match reads {
                    [] => (call.args, 0),
                    _ => (rules.bounded(call.args), grant_flags::COPIES),
                };
                let grant = self.budgets.granted(holds, Grant { args, flags, ..Grant::default() });
                let judged = capture::verdict(verdict, false, generation);
                let source = Source { goes_on: action == policy::Action::Ask, ..source };
                let asked = Asked {
                    call,
                    question: verdict.question().unwrap_or_default(),
                    // It is not denied by what it brings itself.
                    grant: Grant { recall: grant.recall & !taints, ..grant },
                    holds,
                    brings,
                    instruction_len: len,
                    record: capture::record(site, &call, judged, Answer::None, source, now_100ns),
                    reason: reason(site, &call, verdict, source),
                };
                return if action == policy::Action::Stop {
                    self.stop(asked, site, sink)
                } else {
                    self.ask(asked, sink)
                };
            }
            policy::Action::Kill => {
                self.counters.killed = self.counters.killed.saturating_add(1);
                record(Answer::None);
                return Action::Kill { reason: reason(site, &call, verdict, source) };
            }
            policy::Action::KillProcess | policy::Action::KillThread | policy::Action::Trap => {
                record(Answer::None);
                let reason = action.kills().then(|| reason(site, &call, verdict, source));
                return self.condemn(&call, action, len, reason);
            }
            policy::Action::Fake(value) => value,
            policy::Action::Errno(errno) => errno.result(),
        };
        self.counters.denied = self.counters.denied.saturating_add(1);
        record(Answer::Value(value));
        Action::Answer { value, instruction_len: len }
    }

    /// What [`Gate::judge`] has read of the call's memory, for a grant with [`grant_flags::COPIES`].
    pub fn copies(&self) -> impl Iterator<Item = (CopyHead, &[u8])> {
        self.copied.entries()
    }

    /// Has the shim end a thread or a process, or send SIGSYS, in the call's place. `reason`: for which it ends.
    #[cold]
    fn condemn(&mut self, call: &Call, verdict: policy::Action, instruction_len: u8, reason: Option<String>) -> Action {
        let flags = match verdict {
            policy::Action::Trap => grant_flags::TRAP,
            policy::Action::KillThread => grant_flags::KILL_THREAD,
            _ => grant_flags::KILL_PROCESS,
        };
        if reason.is_some() {
            self.counters.killed = self.counters.killed.saturating_add(1);
            self.killed_for = reason;
        } else {
            self.counters.denied = self.counters.denied.saturating_add(1);
        }
        self.granted.forward(call, Grant { args: call.args, flags, ..Grant::default() }, instruction_len, false).0
    }

    /// Has the shim bring in a page that a rule needs. The program then makes the call again.
    #[cold]
    fn fetch(&mut self, call: &Call, gva: u64, instruction_len: u8) -> Action {
        let grant = Grant { args: call.args, flags: grant_flags::FETCH, fetch: gva, ..Grant::default() };
        let (action, _) = self.granted.forward(call, grant, instruction_len, false);
        self.copied.fetches(gva, call.cr3, self.granted.last);
        action
    }

    /// A call of the i386 table: only the policy's default can speak about it, and there is nobody to carry it out.
    #[cold]
    fn i386(
        &mut self,
        site: &CallSite<'_>,
        instruction: (&str, u8),
        memory: &dyn GuestMemory,
        now_100ns: u64,
        sink: Sink<'_>,
    ) -> Action {
        if let Err(later) = self.in_time(site, now_100ns, sink) {
            return later;
        }
        let call = Call::i386(site);
        self.counters.calls = self.counters.calls.saturating_add(1);
        // Nobody could carry it out, whatever the answer.
        let verdict = self.policy.judge_unknown().unasked();
        let ignored = self.mode.dry_run && verdict.action.kills();
        let source = Source { memory, judged: None, goes_on: false };
        let generation = self.generation;
        let mut record = |answer| {
            if self.mode.record || verdict.log {
                let judged = capture::verdict(verdict, ignored, generation);
                sink(Record::Call(capture::record(site, &call, judged, answer, source, now_100ns)));
            }
        };
        if verdict.action.kills() && !ignored {
            record(Answer::None);
            let reason = reason(site, &call, verdict, source);
            if verdict.action != policy::Action::Kill {
                return self.condemn(&call, verdict.action, instruction.1, Some(reason));
            }
            self.counters.killed = self.counters.killed.saturating_add(1);
            return Action::Kill { reason };
        }
        self.counters.not_implemented = self.counters.not_implemented.saturating_add(1);
        let signal = if site.vector == INVALID_OPCODE { "SIGILL" } else { "SIGSEGV" };
        record(Answer::Refused(format!("{} gives {signal}", instruction.0)));
        reflect(site)
    }
}
