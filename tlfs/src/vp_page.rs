//! Pages that a parent shares with the hypervisor for each VP of a child (HvCallMapVpStatePage).

use crate::register::{HvX64InterruptStateRegister, HvX64PendingInterruptionRegister, HvX64SegmentRegister};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_VP_STATE_PAGE_TYPE`
    pub struct HvVpStatePageType(u16) {
        REGISTERS = 0, "HvVpStatePageRegisters";
        INTERCEPT_MESSAGE = 1, "HvVpStatePageInterceptMessage";
        GHCB = 2, "HvVpVtlStatePageGhcb";
    }
}

wire_flags! {
    /// Which parts of [`HvVpRegisterPage`] the parent has changed (Linux `HV_X64_REGISTER_CLASS_*`).
    pub struct RegisterPageDirty(u32) {
        /// General registers.
        GENERAL = 1 << 0;
        /// RIP.
        IP = 1 << 1;
        /// XMM0 to XMM5.
        XMM = 1 << 2;
        /// ES to GS.
        SEGMENT = 1 << 3;
        /// RFLAGS.
        FLAGS = 1 << 4;
    }
}

/// `hv_vp_register_page` (Linux `hvhdk.h`, mshv-bindings): what most intercepts need, without a hypercall. It fills
/// the start of a page. The hypervisor writes all of it when the VP exits; of what the parent changes it
/// takes, at the next dispatch, the parts named in `dirty`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvVpRegisterPage {
    /// [`Self::VERSION_1`].
    pub version: u16,
    /// The content is the VP's state now.
    pub is_valid: u8,
    /// Zero.
    pub reserved_z: u8,
    /// Parts that the parent changed.
    pub dirty: RegisterPageDirty,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 … R15.
    pub gprs: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// Zero (mshv-bindings; keeps the XMM registers aligned).
    pub reserved0: u64,
    /// XMM0 to XMM5.
    pub xmm: [[u8; 16]; 6],
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [HvX64SegmentRegister; 6],
    /// CR0. This and what follows cannot be set through the page.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// CR8.
    pub cr8: u64,
    /// EFER.
    pub efer: u64,
    /// DR7.
    pub dr7: u64,
    /// The event that was being delivered.
    pub pending_interruption: HvX64PendingInterruptionRegister,
    /// Interrupt shadow and NMI mask.
    pub interrupt_state: HvX64InterruptStateRegister,
    /// Instruction emulation hints.
    pub instruction_emulation_hints: u64,
    /// XFEM (XCR0).
    pub xfem: u64,
    /// Zero (mshv-bindings).
    pub reserved1: [u8; 256],
    /// Interrupt vectors (mshv-bindings); unused without a local APIC.
    pub interrupt_vectors: [u8; 8],
}

impl HvVpRegisterPage {
    /// `HV_VP_REGISTER_PAGE_VERSION_1`
    pub const VERSION_1: u16 = 1;
}

layout! {
    HvVpRegisterPage: 696 { dirty: 4, gprs: 8, rip: 136, rflags: 144, xmm: 160, segments: 256, cr0: 352, pending_interruption: 400, xfem: 424 }
}
