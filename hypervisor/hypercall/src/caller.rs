//! What the dispatcher needs of the virtual processor that makes a call.

use tlfs::addr::Gpa;

/// Index of RAX in [`Caller::gprs`]; the order is that of the TLFS register names.
pub const RAX: usize = 0;
/// Index of RCX.
pub const RCX: usize = 1;
/// Index of RDX.
pub const RDX: usize = 2;
/// Index of RBX.
pub const RBX: usize = 3;
/// Index of RSI.
pub const RSI: usize = 6;
/// Index of RDI.
pub const RDI: usize = 7;
/// Index of R8.
pub const R8: usize = 8;

/// Which register form a call has, or that it may not be made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerMode {
    /// Not ring 0 of protected mode: #UD.
    Illegal,
    /// EDX:EAX, EBX:ECX, EDI:ESI.
    Bits32,
    /// RCX, RDX, R8.
    Bits64,
}

impl CallerMode {
    /// Judges the processor's mode. `long_code` is the L bit of CS.
    #[must_use]
    pub const fn of(cr0: u64, efer: u64, rflags: u64, cpl: u8, long_code: bool) -> Self {
        const CR0_PE: u64 = 1;
        const EFER_LMA: u64 = 1 << 10;
        const RFLAGS_VM: u64 = 1 << 17;
        let long = efer & EFER_LMA != 0;
        if cpl != 0 || cr0 & CR0_PE == 0 || (!long && rflags & RFLAGS_VM != 0) {
            Self::Illegal
        } else if long && long_code {
            Self::Bits64
        } else {
            Self::Bits32
        }
    }
}

/// The caller has no memory at an address, or not with the right that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inaccessible;

/// The virtual processor that makes a call: its registers, its partition's memory, its share of time.
pub trait Caller {
    /// Memory of the caller that was found accessible. It holds until the caller's address space changes, which of
    /// all calls only rep calls can bring about: they locate anew for each run.
    type Place: Copy;

    /// How it may call.
    fn mode(&self) -> CallerMode;
    /// General registers.
    fn gprs(&self) -> &[u64; 16];
    /// General registers, to change.
    fn gprs_mut(&mut self) -> &mut [u64; 16];
    /// XMM0 to XMM5.
    fn xmm(&self) -> [[u8; 16]; 6];
    /// Finds `gpa` in the caller's memory, to read from there to the end of its page, or also to write if `write`.
    fn locate(&mut self, gpa: Gpa, write: bool) -> Result<Self::Place, Inaccessible>;
    /// Copies from `offset` behind a place; the range ends in its page.
    fn read(&mut self, place: Self::Place, offset: usize, buf: &mut [u8]) -> Result<(), Inaccessible>;
    /// Copies to a place that was located for writing; the range ends in its page.
    fn write(&mut self, place: Self::Place, offset: usize, data: &[u8]) -> Result<(), Inaccessible>;
    /// Starts the clock of a call that may take long: 50 µs from now.
    fn start_clock(&mut self);
    /// Whether that time is over.
    fn time_is_up(&self) -> bool;
}
