//! What the partition model needs of a processor's virtualization extension, as a trait.
//!
//! `partition` is written against [`Engine`] and [`Platform`] alone; `svm` (and later `vmx`) implement
//! [`Engine`] on hardware, and [`fake`] implements both with a script, so that the whole partition model
//! and hypercall surface run under `cargo test` on a host.
//!
//! An engine knows virtual processors, their registers and the exits they take. It knows nothing of
//! partitions, hypercalls, intercept messages or policy.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "fake"))]
extern crate std;

#[cfg(any(test, feature = "fake"))]
pub mod fake;

use tlfs::addr::{Gpa, Gva, Spa};
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64SegmentRegister};

/// Index of a virtual processor in the engine's table; given out by the partition model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VpSlot(pub u16);

/// An access to machine memory that the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

/// Machine memory, by copy. Implementations are bounded by the machine's RAM; whether a frame may be
/// touched at all is the partition model's business (its frame table).
pub trait PhysMem {
    /// Copies `buf.len()` bytes from `spa`.
    fn read(&self, spa: Spa, buf: &mut [u8]) -> Result<(), BadAddress>;
    /// Copies `data` to `spa`.
    fn write(&mut self, spa: Spa, data: &[u8]) -> Result<(), BadAddress>;
    /// Reads a naturally aligned little-endian word with one access.
    fn read_u64(&self, spa: Spa) -> Result<u64, BadAddress>;
    /// Writes a naturally aligned little-endian word with one access.
    fn write_u64(&mut self, spa: Spa, value: u64) -> Result<(), BadAddress>;
    /// Clears the 4 KiB frame that starts at `spa`.
    fn zero_page(&mut self, spa: Spa) -> Result<(), BadAddress>;
}

/// Which kind of partition a VP belongs to; decides what it may touch without an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpKind {
    /// Owns the machine's interrupts and devices: ports and interrupts are passed through, but for the
    /// ports of [`Engine::reserve_root_ports`]. MSRs that the hypervisor needs are not.
    Root,
    /// Everything exits: ports, MSRs (but for those that are switched with the VP), interrupts, HLT.
    Child,
}

/// A second-level address space to run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// Root frame of the nested page table.
    pub root: Spa,
    /// Small number that names the partition; the engine tags translations by it.
    pub tag: u16,
    /// Changes whenever a translation was removed or weakened: the engine flushes when it sees a new value.
    pub generation: u64,
}

/// General registers and the few others that nearly every exit touches. Read and written in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreRegs {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … r15: the order of the TLFS register names.
    pub gprs: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
}

/// Index of RAX in [`CoreRegs::gprs`].
pub const RAX: usize = 0;
/// Index of RCX in [`CoreRegs::gprs`].
pub const RCX: usize = 1;
/// Index of RDX in [`CoreRegs::gprs`].
pub const RDX: usize = 2;
/// Index of RBX in [`CoreRegs::gprs`].
pub const RBX: usize = 3;
/// Index of RSP in [`CoreRegs::gprs`].
pub const RSP: usize = 4;
/// Index of RBP in [`CoreRegs::gprs`].
pub const RBP: usize = 5;
/// Index of RSI in [`CoreRegs::gprs`].
pub const RSI: usize = 6;
/// Index of RDI in [`CoreRegs::gprs`].
pub const RDI: usize = 7;
/// Index of R8 in [`CoreRegs::gprs`].
pub const R8: usize = 8;

/// The segment registers, in the order of the TLFS register names and of the VP register page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// ES
    Es = 0,
    /// CS
    Cs = 1,
    /// SS
    Ss = 2,
    /// DS
    Ds = 3,
    /// FS
    Fs = 4,
    /// GS
    Gs = 5,
}

/// Control state that decides how a VP's addresses are translated and where it executes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRegs {
    /// CR0
    pub cr0: u64,
    /// CR2
    pub cr2: u64,
    /// CR3
    pub cr3: u64,
    /// CR4
    pub cr4: u64,
    /// CR8 (task priority)
    pub cr8: u64,
    /// EFER as the guest sees it (never with SVME, which belongs to the hypervisor).
    pub efer: u64,
    /// DR7
    pub dr7: u64,
    /// Current privilege level, 0 to 3.
    pub cpl: u8,
}

/// Kind of access that left the VP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write.
    Write,
    /// Instruction fetch.
    Execute,
}

/// Why a VP stopped running, decoded but not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpExit {
    /// VMMCALL or VMCALL.
    Hypercall,
    /// CPUID; leaf and sub-leaf are in EAX and ECX.
    Cpuid,
    /// RDMSR; number in ECX.
    MsrRead,
    /// WRMSR; number in ECX, value in EDX:EAX.
    MsrWrite,
    /// An exception that was asked for with [`Engine::set_exception_intercepts`]. It has not been delivered.
    Exception {
        /// 0 to 31.
        vector: u8,
        /// Present for the vectors that have one.
        error_code: Option<u32>,
        /// Faulting address for #PF, else 0.
        parameter: u64,
    },
    /// IN, OUT, INS or OUTS.
    IoPort {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        size: u8,
        /// OUT or OUTS.
        write: bool,
        /// INS or OUTS.
        string: bool,
        /// With a REP prefix.
        rep: bool,
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// The nested page table has no (sufficient) mapping.
    Memory {
        /// What was accessed.
        gpa: Gpa,
        /// The linear address, where hardware tells.
        gva: Option<Gva>,
        /// How.
        access: Access,
        /// The access came from the walk of the guest's own page table.
        during_walk: bool,
        /// A mapping is there, but does not allow this access.
        present: bool,
    },
    /// HLT.
    Halt,
    /// A physical interrupt, NMI or SMI is pending for the root and stays pending, or the VP has been delivering events
    /// for so long that it is time to let the root take what may be pending. The VP can go on.
    Interrupt,
    /// Triple fault, or a state from which the processor cannot go on.
    Shutdown,
    /// XSETBV, INVLPGA, SKINIT, VMRUN, MWAIT and the like: not available to guests, to be answered with #UD.
    Forbidden,
    /// The processor refused to run the state it was given.
    InvalidState,
    /// Anything else, with the engine's raw reason code (for the log).
    Unknown(u64),
}

/// An exception to deliver when the VP runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// 0 to 31.
    pub vector: u8,
    /// For the vectors that push one.
    pub error_code: Option<u32>,
}

impl Fault {
    /// Invalid opcode.
    pub const UD: Fault = Fault { vector: 6, error_code: None };
    /// General protection, error code 0.
    pub const GP: Fault = Fault { vector: 13, error_code: Some(0) };
}

/// Why a register could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The engine does not know this name.
    Unknown,
    /// The register exists, but not with this value.
    BadValue,
}

/// Why the engine cannot run on this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyVps;

/// A processor that runs virtual processors.
///
/// Every method that takes a [`VpSlot`] expects one for which [`Engine::create_vp`] succeeded and
/// [`Engine::delete_vp`] was not called since; the partition model guarantees it, and an engine must
/// stop the machine with a message rather than touch memory that is not its own if it is broken.
pub trait Engine {
    /// Machine memory as this engine sees it.
    type Memory: PhysMem;

    /// Machine memory.
    fn memory(&mut self) -> &mut Self::Memory;

    /// How many private frames a VP costs. They come from the partition's deposit.
    fn frames_per_vp(&self) -> usize;

    /// Takes `frames` (exactly [`Engine::frames_per_vp`] of them, hypervisor-owned) and makes a VP in reset state.
    fn create_vp(&mut self, slot: VpSlot, kind: VpKind, frames: &[Spa]) -> Result<(), TooManyVps>;

    /// Forgets a VP; its frames are the caller's again and hold nothing of the VP.
    fn delete_vp(&mut self, slot: VpSlot);

    /// Runs the VP until it exits.
    fn run(&mut self, slot: VpSlot, space: AddressSpace) -> VpExit;

    /// The general registers, RIP and RFLAGS.
    fn core(&self, slot: VpSlot) -> &CoreRegs;
    /// The general registers, RIP and RFLAGS, to change.
    fn core_mut(&mut self, slot: VpSlot) -> &mut CoreRegs;
    /// Control registers and CPL.
    fn control(&self, slot: VpSlot) -> ControlRegs;
    /// One segment register.
    fn segment(&self, slot: VpSlot, which: Segment) -> HvX64SegmentRegister;
    /// Sets one segment register; a CS or SS with DPL n also sets the CPL to n.
    fn set_segment(&mut self, slot: VpSlot, which: Segment, value: HvX64SegmentRegister) -> Result<(), RegisterError>;
    /// XMM0 to XMM5, as the VP register page has them.
    fn xmm(&self, slot: VpSlot) -> [[u8; 16]; 6];
    /// Sets XMM0 to XMM5.
    fn set_xmm(&mut self, slot: VpSlot, value: &[[u8; 16]; 6]);

    /// Any architectural register by its TLFS name. (Synthetic registers are the partition model's.)
    fn get_register(&mut self, slot: VpSlot, name: HvRegisterName) -> Result<HvRegisterValue, RegisterError>;
    /// Sets an architectural register by its TLFS name.
    fn set_register(&mut self, slot: VpSlot, name: HvRegisterName, value: HvRegisterValue)
    -> Result<(), RegisterError>;

    /// Delivers a fault at the next run.
    fn inject(&mut self, slot: VpSlot, fault: Fault);
    /// The event that will be delivered at the next run, if any, or whose delivery the last exit interrupted.
    fn pending_fault(&self, slot: VpSlot) -> Option<Fault>;
    /// Forgets the event that [`Engine::pending_fault`] tells of.
    fn cancel_fault(&mut self, slot: VpSlot);
    /// Offers an external interrupt (32 to 255): delivered as soon as the VP can take it. `None` withdraws the offer.
    fn offer_interrupt(&mut self, slot: VpSlot, vector: Option<u8>);
    /// The offer that has not been taken yet.
    fn offered_interrupt(&self, slot: VpSlot) -> Option<u8>;
    /// The VP is in the shadow of STI or MOV SS.
    fn in_interrupt_shadow(&self, slot: VpSlot) -> bool;
    /// Sets or clears the interrupt shadow.
    fn set_interrupt_shadow(&mut self, slot: VpSlot, shadow: bool);

    /// Which exception vectors (bit n = vector n) exit. #MC never reaches a guest and is not settable.
    fn set_exception_intercepts(&mut self, slot: VpSlot, vectors: u32);
    /// Whether reads, or writes, of this MSR by VPs of this kind exit. What does not is the VP's own, and switched with it.
    fn msr_exits(&self, kind: VpKind, msr: u32, write: bool) -> bool;
    /// Ports that exit although the VP is the root's: the hypervisor's log, the machine's end, the A20 gate.
    fn reserve_root_ports(&mut self, ports: core::ops::RangeInclusive<u16>);

    /// Exits taken so far by VPs of this kind: the truth behind every claim about world switches.
    fn exits(&self, kind: VpKind) -> u64;
}

/// What the partition model needs of the machine beside VPs and memory.
pub trait Platform {
    /// The time-stamp counter.
    fn tsc(&self) -> u64;
    /// TSC ticks a second, measured at boot.
    fn tsc_hz(&self) -> u64;
    /// Local APIC timer ticks a second, measured at boot.
    fn apic_hz(&self) -> u64;
    /// CPUID of the machine: EAX, EBX, ECX, EDX.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4];
    /// Reads a port (1, 2 or 4 bytes).
    fn port_in(&mut self, port: u16, size: u8) -> u32;
    /// Writes a port.
    fn port_out(&mut self, port: u16, size: u8, value: u32);
    /// A root partition's read of an MSR that exits but is the machine's. `None`: #GP.
    fn root_msr_read(&mut self, msr: u32) -> Option<u64>;
    /// A root partition's write of such an MSR. `false`: #GP.
    fn root_msr_write(&mut self, msr: u32, value: u64) -> bool;
    /// Writes a line to the hypervisor's log.
    fn log(&mut self, line: core::fmt::Arguments<'_>);
    /// Ends the machine. `code` 0 is success.
    fn stop(&mut self, code: u8) -> !;
    /// Resets the machine (HV_X64_MSR_RESET of the root).
    fn reset(&mut self) -> !;
}
