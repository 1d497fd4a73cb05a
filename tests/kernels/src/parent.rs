//! Hypercalls of the kernel: typed by `hvclient`, and raw, for what a typed client would never send.

use core::fmt;

use hvclient::{Client, Transport};
use tlfs::hypercall::{HypercallInput, HypercallOutput};
use tlfs::msr::{GuestOsId, HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_HYPERCALL, HypercallMsr};
use tlfs::status::HvStatus;

use crate::cpu::{self, Trap, guarded};
use crate::memory::{Memory, OwnPage};
use crate::{Kernel, Outcome, ensure};
use core::arch::{asm, naked_asm};

/// An OS id, in the form for open-source systems.
pub const OS_ID: GuestOsId = GuestOsId(0).with_open_source(true).with_os_type(0x7f).with_version(1);

/// A parent: the hypercall page is enabled.
pub struct Parent {
    /// Typed calls.
    pub client: Client<Pages>,
    /// Raw calls, with pages of their own.
    pub raw: Raw,
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({:#x})", self.raw.entry)
    }
}

impl Parent {
    /// Connects, and runs `cases` if that worked.
    pub fn with(kernel: &mut Kernel, cases: impl FnOnce(&mut Kernel, &mut Self)) {
        match Self::connect(&mut kernel.memory) {
            Ok(mut parent) => cases(kernel, &mut parent),
            Err(why) => kernel.case("connect", |_| Err(why)),
        }
    }

    /// Registers an OS id and enables the hypercall page.
    ///
    /// # Errors
    /// If the hypervisor does not let it.
    pub fn connect(memory: &mut Memory) -> Outcome<Self> {
        let msr = |result: Result<u64, Trap>| result.map_err(|trap| crate::Failure(alloc::format!("MSR: {trap:?}")));
        msr(cpu::write_synthetic_msr(HV_X64_MSR_GUEST_OS_ID, OS_ID.0).map(|()| 0))?;
        let placed = HypercallMsr(msr(cpu::read_msr(HV_X64_MSR_HYPERCALL))?);
        msr(cpu::write_synthetic_msr(HV_X64_MSR_HYPERCALL, placed.with_enabled(true).0).map(|()| 0))?;
        let msr = HypercallMsr(msr(cpu::read_msr(HV_X64_MSR_HYPERCALL))?);
        ensure!(msr.enabled(), "the hypercall page stays disabled: {msr:?}");
        let entry = msr.gpa_page() << 12;
        let mut raw = || Raw { entry, input: memory.take(1), output: memory.take(1) };
        let client = Client::new(Pages { raw: raw(), staging: [0; 4096], answer: [0; 4096] });
        Ok(Self { client, raw: raw() })
    }
}

/// The numbers of `count` pages in a row.
#[must_use]
pub fn pages(first: u64, count: u64) -> alloc::vec::Vec<u64> {
    (first..first + count).collect()
}

/// [`Transport`] over [`Raw`]: what the client writes is copied into the page that the hypervisor reads.
pub struct Pages {
    raw: Raw,
    staging: [u8; 4096],
    answer: [u8; 4096],
}

impl Transport for Pages {
    fn input(&mut self) -> &mut [u8; 4096] {
        &mut self.staging
    }

    fn output(&self) -> &[u8; 4096] {
        &self.answer
    }

    fn call(&mut self, control: HypercallInput) -> HypercallOutput {
        self.raw.input.write(0, &self.staging);
        let result = self.raw.memory(control);
        self.raw.output.read(0, &mut self.answer);
        result.map_or_else(|trap| panic!("{control:?} raised {trap:?}"), |returned| HypercallOutput(returned.rax))
    }

    fn call_fast(&mut self, control: HypercallInput, input: [u64; 2]) -> HypercallOutput {
        let result = self.raw.registers(control, input[0], input[1]);
        result.map_or_else(|trap| panic!("{control:?} raised {trap:?}"), |returned| HypercallOutput(returned.rax))
    }
}

/// The registers after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The result.
    pub rax: u64,
    /// What became of the control word.
    pub rcx: u64,
}

impl Returned {
    /// The status.
    #[must_use]
    pub fn status(&self) -> HvStatus {
        HypercallOutput(self.rax).status()
    }

    /// Repetitions completed.
    #[must_use]
    pub fn reps(&self) -> u16 {
        HypercallOutput(self.rax).reps_completed()
    }
}

/// The hypercall page and two pages for parameters.
#[derive(Debug)]
pub struct Raw {
    /// Address of the hypercall page.
    pub entry: u64,
    /// Page for input.
    pub input: OwnPage,
    /// Page for output.
    pub output: OwnPage,
}

impl Raw {
    /// A memory-based call with the input and the output page.
    ///
    /// # Errors
    /// What it raised.
    pub fn memory(&self, control: HypercallInput) -> Result<Returned, Trap> {
        self.registers(control, self.input.address(), self.output.address())
    }

    /// A call with these values in RDX and R8.
    ///
    /// # Errors
    /// What it raised.
    pub fn registers(&self, control: HypercallInput, rdx: u64, r8: u64) -> Result<Returned, Trap> {
        let (mut rax, mut rcx) = (0x5555_5555_5555_5555u64, control.0);
        guarded!(
            "call {entry}",
            entry = in(reg) self.entry,
            inout("rax") rax,
            inout("rcx") rcx,
            inout("rdx") rdx => _,
            inout("r8") r8 => _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        )?;
        Ok(Returned { rax, rcx })
    }

    /// A fast call with input in RDX, R8 and XMM0 to XMM5.
    ///
    /// # Errors
    /// What it raised.
    pub fn xmm(&self, control: HypercallInput, words: [u64; 14]) -> Result<Returned, Trap> {
        let (mut rax, mut rcx) = (0u64, control.0);
        guarded!(
            "movdqu xmm0, [{words} + 16]
             movdqu xmm1, [{words} + 32]
             movdqu xmm2, [{words} + 48]
             movdqu xmm3, [{words} + 64]
             movdqu xmm4, [{words} + 80]
             movdqu xmm5, [{words} + 96]
             call {entry}",
            words = in(reg) words.as_ptr(),
            entry = in(reg) self.entry,
            inout("rax") rax,
            inout("rcx") rcx,
            inout("rdx") words[0] => _,
            inout("r8") words[1] => _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
            out("xmm0") _,
            out("xmm1") _,
            out("xmm2") _,
            out("xmm3") _,
            out("xmm4") _,
            out("xmm5") _,
        )?;
        Ok(Returned { rax, rcx })
    }

    /// Makes a memory-based simple call with all registers that it must keep filled with patterns, and gives the bits of them
    /// that changed, all registers taken together.
    ///
    /// # Errors
    /// If the call itself failed.
    pub fn changed_registers(&self, control: HypercallInput) -> Result<u64, HvStatus> {
        let mut result = 0;
        let changed = call_patterns(self.entry, control.0, self.input.address(), self.output.address(), &mut result);
        match HypercallOutput(result).status() {
            HvStatus::SUCCESS => Ok(changed),
            status => Err(status),
        }
    }
}

/// Makes a memory-based call with RBX, RBP, RSI, RDI, R9 to R15 and XMM0 to XMM15 filled with patterns.
#[unsafe(naked)]
extern "C" fn call_patterns(entry: u64, control: u64, input: u64, output: u64, result: &mut u64) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push r8",
        "push rdi",
        "mov r8, rcx",
        "mov rcx, rsi",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov eax, 0x1000 + \\n",
        "movq xmm\\n, rax",
        "punpcklqdq xmm\\n, xmm\\n",
        ".endr",
        ".irp r, rbx, rbp, rsi, rdi, r9, r10, r11, r12, r13, r14, r15",
        "mov \\r, 0x5aa55aa5",
        ".endr",
        "call [rsp]",
        "xor ecx, ecx",
        ".irp r, rbx, rbp, rsi, rdi, r9, r10, r11, r12, r13, r14, r15",
        "xor \\r, 0x5aa55aa5",
        "or rcx, \\r",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movq rdx, xmm\\n",
        "xor rdx, 0x1000 + \\n",
        "or rcx, rdx",
        "punpckhqdq xmm\\n, xmm\\n",
        "movq rdx, xmm\\n",
        "xor rdx, 0x1000 + \\n",
        "or rcx, rdx",
        ".endr",
        "pop rdi",
        "pop rdx",
        "mov [rdx], rax",
        "mov rax, rcx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
