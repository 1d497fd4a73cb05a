//! The virtual machine control block (APM appendix B), as the processor reads and writes it.

use tlfs::addr::PAGE_SIZE;

/// A segment register in the state save area (APM table B-2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmcbSegment {
    /// Selector.
    pub selector: u16,
    /// Descriptor bits 55:52 and 47:40, packed into 12 bits.
    pub attributes: u16,
    /// Limit in bytes (granularity applied).
    pub limit: u32,
    /// Base.
    pub base: u64,
}

/// The control area, offsets 0 to 0x3ff.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Control registers whose reads (low half) and writes (high half) exit.
    pub intercept_cr: u32,
    /// Debug registers, likewise.
    pub intercept_dr: u32,
    /// Exception vectors that exit.
    pub intercept_exceptions: u32,
    /// [`intercept3`].
    pub intercept3: u32,
    /// [`intercept4`].
    pub intercept4: u32,
    /// Further intercepts of newer processors.
    pub intercept5: u32,
    reserved_018: [u8; 0x24],
    /// PAUSE filter threshold and count.
    pub pause_filter: u32,
    /// Physical address of the I/O permission map.
    pub iopm_base: u64,
    /// Physical address of the MSR permission map.
    pub msrpm_base: u64,
    /// Added to the TSC that the guest reads.
    pub tsc_offset: u64,
    /// Address space identifier of the guest; 0 is the host's.
    pub asid: u32,
    /// [`tlb_control`].
    pub tlb_control: u8,
    reserved_05d: [u8; 3],
    /// [`interrupt_control`].
    pub interrupt_control: u32,
    /// Vector of the virtual interrupt offered.
    pub interrupt_vector: u32,
    /// Bit 0: the guest is in an interrupt shadow.
    pub interrupt_shadow: u64,
    /// Why the guest stopped.
    pub exit_code: u64,
    /// Depends on the exit code.
    pub exit_info1: u64,
    /// Depends on the exit code.
    pub exit_info2: u64,
    /// The event whose delivery the exit interrupted ([`crate::event`]).
    pub exit_int_info: u64,
    /// Bit 0: nested paging.
    pub nested_control: u64,
    reserved_098: [u8; 0x10],
    /// The event to deliver on entry ([`crate::event`]).
    pub event_injection: u64,
    /// Root of the nested page table.
    pub nested_cr3: u64,
    /// Last-branch records and virtual VMLOAD/VMSAVE.
    pub lbr_control: u64,
    /// Parts of this block that the processor may have cached. Always 0: none.
    pub clean: u64,
    /// Next RIP, where the processor offers it.
    pub next_rip: u64,
    reserved_0d0: [u8; 0x330],
}

/// The state save area, offsets 0x400 and up.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Save {
    /// ES
    pub es: VmcbSegment,
    /// CS
    pub cs: VmcbSegment,
    /// SS
    pub ss: VmcbSegment,
    /// DS
    pub ds: VmcbSegment,
    /// FS
    pub fs: VmcbSegment,
    /// GS
    pub gs: VmcbSegment,
    /// GDTR (base and limit)
    pub gdtr: VmcbSegment,
    /// LDTR
    pub ldtr: VmcbSegment,
    /// IDTR (base and limit)
    pub idtr: VmcbSegment,
    /// TR
    pub tr: VmcbSegment,
    reserved_0a0: [u8; 0x2b],
    /// Current privilege level.
    pub cpl: u8,
    reserved_0cc: [u8; 4],
    /// EFER, with SVME.
    pub efer: u64,
    reserved_0d8: [u8; 0x70],
    /// CR4
    pub cr4: u64,
    /// CR3
    pub cr3: u64,
    /// CR0
    pub cr0: u64,
    /// DR7
    pub dr7: u64,
    /// DR6
    pub dr6: u64,
    /// RFLAGS
    pub rflags: u64,
    /// RIP
    pub rip: u64,
    reserved_180: [u8; 0x58],
    /// RSP
    pub rsp: u64,
    reserved_1e0: [u8; 0x18],
    /// RAX
    pub rax: u64,
    /// STAR
    pub star: u64,
    /// LSTAR
    pub lstar: u64,
    /// CSTAR
    pub cstar: u64,
    /// SFMASK
    pub sfmask: u64,
    /// KernelGsBase
    pub kernel_gs_base: u64,
    /// SYSENTER_CS
    pub sysenter_cs: u64,
    /// SYSENTER_ESP
    pub sysenter_esp: u64,
    /// SYSENTER_EIP
    pub sysenter_eip: u64,
    /// CR2
    pub cr2: u64,
    reserved_248: [u8; 0x20],
    /// The guest's PAT, under nested paging.
    pub pat: u64,
    reserved_270: [u8; 0x990],
}

/// One page: control area and state save area.
#[repr(C, align(4096))]
#[derive(Clone, Copy, Debug)]
pub struct Vmcb {
    /// Control area.
    pub control: Control,
    /// State save area.
    pub save: Save,
}

macro_rules! offsets {
    ($ty:ty, $base:literal: $($field:ident $offset:literal),* $(,)?) => {
        $( const _: () = assert!(core::mem::offset_of!($ty, $field) + $base == $offset); )*
    };
}

const _: () = assert!(size_of::<Vmcb>() as u64 == PAGE_SIZE);
offsets!(Control, 0: intercept_cr 0x0, intercept_dr 0x4, intercept_exceptions 0x8, intercept3 0xc, intercept4 0x10,
    intercept5 0x14, pause_filter 0x3c, iopm_base 0x40, msrpm_base 0x48, tsc_offset 0x50, asid 0x58, tlb_control 0x5c,
    interrupt_control 0x60, interrupt_vector 0x64, interrupt_shadow 0x68, exit_code 0x70, exit_info1 0x78,
    exit_info2 0x80, exit_int_info 0x88, nested_control 0x90, event_injection 0xa8, nested_cr3 0xb0, lbr_control 0xb8,
    clean 0xc0, next_rip 0xc8);
offsets!(Vmcb, 0: control 0, save 0x400);
offsets!(Save, 0x400: es 0x400, cs 0x410, ss 0x420, ds 0x430, fs 0x440, gs 0x450, gdtr 0x460, ldtr 0x470, idtr 0x480,
    tr 0x490, cpl 0x4cb, efer 0x4d0, cr4 0x548, cr3 0x550, cr0 0x558, dr7 0x560, dr6 0x568, rflags 0x570, rip 0x578,
    rsp 0x5d8, rax 0x5f8, star 0x600, lstar 0x608, cstar 0x610, sfmask 0x618, kernel_gs_base 0x620, sysenter_cs 0x628,
    sysenter_esp 0x630, sysenter_eip 0x638, cr2 0x640, pat 0x668);

/// Bits of [`Control::intercept3`].
pub mod intercept3 {
    /// Physical interrupts.
    pub const INTR: u32 = 1 << 0;
    /// NMIs.
    pub const NMI: u32 = 1 << 1;
    /// System management interrupts.
    pub const SMI: u32 = 1 << 2;
    /// INIT.
    pub const INIT: u32 = 1 << 3;
    /// RDPMC
    pub const RDPMC: u32 = 1 << 15;
    /// CPUID
    pub const CPUID: u32 = 1 << 18;
    /// RSM
    pub const RSM: u32 = 1 << 19;
    /// INVD
    pub const INVD: u32 = 1 << 22;
    /// HLT
    pub const HLT: u32 = 1 << 24;
    /// INVLPGA
    pub const INVLPGA: u32 = 1 << 26;
    /// Port accesses, as the I/O permission map says.
    pub const IOIO: u32 = 1 << 27;
    /// MSR accesses, as the MSR permission map says.
    pub const MSR: u32 = 1 << 28;
    /// Task switches.
    pub const TASK_SWITCH: u32 = 1 << 29;
    /// Freezing on a legacy FP error.
    pub const FERR_FREEZE: u32 = 1 << 30;
    /// Triple faults.
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// Bits of [`Control::intercept4`].
pub mod intercept4 {
    /// VMRUN; must always be set.
    pub const VMRUN: u32 = 1 << 0;
    /// VMMCALL
    pub const VMMCALL: u32 = 1 << 1;
    /// VMLOAD
    pub const VMLOAD: u32 = 1 << 2;
    /// VMSAVE
    pub const VMSAVE: u32 = 1 << 3;
    /// STGI
    pub const STGI: u32 = 1 << 4;
    /// CLGI
    pub const CLGI: u32 = 1 << 5;
    /// SKINIT
    pub const SKINIT: u32 = 1 << 6;
    /// RDTSCP
    pub const RDTSCP: u32 = 1 << 7;
    /// WBINVD
    pub const WBINVD: u32 = 1 << 9;
    /// MONITOR
    pub const MONITOR: u32 = 1 << 10;
    /// MWAIT
    pub const MWAIT: u32 = 1 << 11;
    /// MWAIT with an armed monitor
    pub const MWAIT_ARMED: u32 = 1 << 12;
    /// XSETBV
    pub const XSETBV: u32 = 1 << 13;
    /// RDPRU
    pub const RDPRU: u32 = 1 << 14;
}

/// Values of [`Control::tlb_control`].
pub mod tlb_control {
    /// Keep everything.
    pub const KEEP: u8 = 0;
    /// Flush all translations of all address spaces.
    pub const FLUSH_ALL: u8 = 1;
}

/// Bits of [`Control::interrupt_control`].
pub mod interrupt_control {
    /// The guest's task priority (CR8).
    pub const V_TPR_MASK: u32 = 0xff;
    /// A virtual interrupt is offered.
    pub const V_IRQ: u32 = 1 << 8;
    /// Position of the priority of that interrupt.
    pub const V_INTR_PRIO_SHIFT: u32 = 16;
    /// Mask of the priority and of [`V_IRQ`].
    pub const V_OFFER_MASK: u32 = 0xf << V_INTR_PRIO_SHIFT | V_IRQ;
    /// The guest's IF and CR8 do not apply to physical interrupts.
    pub const V_INTR_MASKING: u32 = 1 << 24;
}

/// [`Control::nested_control`]: nested paging is on.
pub const NESTED_PAGING: u64 = 1;
/// [`Save::efer`]: must be set in every guest.
pub const EFER_SVME: u64 = 1 << 12;
