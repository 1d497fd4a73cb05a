//! Messages: what the hypervisor tells a parent about its child (TLFS "Inter-Partition Communication", "Intercepts").
//!
//! Layouts follow mshv-bindings; sizes exclude the 16-byte message header unless said.

use crate::intercept::HvInterceptAccessType;
use crate::register::HvX64SegmentRegister;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_MESSAGE_TYPE`. 0x80010005 and 0x80010006 follow mshv-bindings; the specification has 6 as HvMessageTypeRegisterIntercept.
    pub struct HvMessageType(u32) {
        NONE = 0, "HvMessageTypeNone";
        UNMAPPED_GPA = 0x8000_0000, "HvMessageTypeUnmappedGpa";
        GPA_INTERCEPT = 0x8000_0001, "HvMessageTypeGpaIntercept";
        UNACCEPTED_GPA = 0x8000_0003, "HvMessageTypeUnacceptedGpa";
        TIMER_EXPIRED = 0x8000_0010, "HvMessageTimerExpired";
        INVALID_VP_REGISTER_VALUE = 0x8000_0020, "HvMessageTypeInvalidVpRegisterValue";
        UNRECOVERABLE_EXCEPTION = 0x8000_0021, "HvMessageTypeUnrecoverableException";
        UNSUPPORTED_FEATURE = 0x8000_0022, "HvMessageTypeUnsupportedFeature";
        HYPERCALL_INTERCEPT = 0x8000_0050, "HvMessageTypeHypercallIntercept";
        X64_IO_PORT_INTERCEPT = 0x8001_0000, "HvMessageTypeX64IoPortIntercept";
        X64_MSR_INTERCEPT = 0x8001_0001, "HvMessageTypeX64MsrIntercept";
        X64_CPUID_INTERCEPT = 0x8001_0002, "HvMessageTypeX64CpuidIntercept";
        X64_EXCEPTION_INTERCEPT = 0x8001_0003, "HvMessageTypeX64ExceptionIntercept";
        X64_APIC_EOI = 0x8001_0004, "HvMessageTypeX64ApicEoi";
        X64_LEGACY_FP_ERROR = 0x8001_0005, "HvMessageTypeX64LegacyFpError";
        X64_IOMMU_PRQ = 0x8001_0006, "HvMessageTypeX64IommuPrq";
        X64_HALT = 0x8001_0007, "HvMessageTypeX64Halt";
        X64_INTERRUPTION_DELIVERABLE = 0x8001_0008, "HvMessageTypeX64InterruptionDeliverable";
        X64_SIPI_INTERCEPT = 0x8001_0009, "HvMessageTypeX64SipiIntercept";
    }
}

/// Largest payload of a message, in bytes.
pub const MESSAGE_PAYLOAD_SIZE: usize = 240;

/// `HV_MESSAGE_HEADER`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvMessageHeader {
    /// What the payload is.
    pub message_type: HvMessageType,
    /// Its length in bytes.
    pub payload_size: u8,
    /// Bit 0: another message waits in the queue.
    pub message_flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Sender (a partition, or a port).
    pub sender: u64,
}

/// `HV_MESSAGE`
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvMessage {
    /// The header.
    pub header: HvMessageHeader,
    /// The payload; `header.payload_size` bytes count.
    pub payload: [u8; MESSAGE_PAYLOAD_SIZE],
}

bit_register! {
    /// `HV_X64_VP_EXECUTION_STATE`
    pub struct HvX64VpExecutionState(u16) {
        /// Current privilege level.
        cpl, with_cpl: u8 @ 0..=1;
        /// CR0.PE
        cr0_pe, with_cr0_pe: 2;
        /// CR0.AM
        cr0_am, with_cr0_am: 3;
        /// EFER.LMA
        efer_lma, with_efer_lma: 4;
        /// A debug register is active.
        debug_active, with_debug_active: 5;
        /// An event was being delivered.
        interruption_pending, with_interruption_pending: 6;
        /// Interrupt shadow.
        interrupt_shadow, with_interrupt_shadow: 12;
    }
}

bit_register! {
    /// Instruction length (low four bits) and CR8 (high four bits).
    pub struct HvInstructionLengthCr8(u8) {
        /// Length of the instruction in bytes; 0: not known.
        instruction_length, with_instruction_length: u8 @ 0..=3;
        /// CR8.
        cr8, with_cr8: u8 @ 4..=7;
    }
}

/// `HV_X64_INTERCEPT_MESSAGE_HEADER`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64InterceptMessageHeader {
    /// Which VP.
    pub vp_index: u32,
    /// Instruction length and CR8.
    pub length_cr8: HvInstructionLengthCr8,
    /// What kind of access.
    pub intercept_access_type: HvInterceptAccessType,
    /// Mode of the VP.
    pub execution_state: HvX64VpExecutionState,
    /// CS.
    pub cs_segment: HvX64SegmentRegister,
    /// RIP of the instruction.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
}

/// `HV_X64_CPUID_INTERCEPT_MESSAGE`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64CpuidInterceptMessage {
    /// The header.
    pub header: HvX64InterceptMessageHeader,
    /// RAX: the leaf.
    pub rax: u64,
    /// RCX: the sub-leaf.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// RBX.
    pub rbx: u64,
    /// What the hypervisor would answer in RAX.
    pub default_result_rax: u64,
    /// … in RCX.
    pub default_result_rcx: u64,
    /// … in RDX.
    pub default_result_rdx: u64,
    /// … in RBX.
    pub default_result_rbx: u64,
}

/// `HV_X64_MSR_INTERCEPT_MESSAGE`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64MsrInterceptMessage {
    /// The header.
    pub header: HvX64InterceptMessageHeader,
    /// The MSR.
    pub msr_number: u32,
    /// Zero.
    pub reserved: u32,
    /// RDX.
    pub rdx: u64,
    /// RAX.
    pub rax: u64,
}

bit_register! {
    /// `HV_X64_IO_PORT_ACCESS_INFO`
    pub struct HvX64IoPortAccessInfo(u8) {
        /// 1, 2 or 4 bytes.
        access_size, with_access_size: u8 @ 0..=2;
        /// INS or OUTS.
        string_op, with_string_op: 3;
        /// With REP.
        rep_prefix, with_rep_prefix: 4;
    }
}

/// `HV_X64_IO_PORT_INTERCEPT_MESSAGE`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64IoPortInterceptMessage {
    /// The header.
    pub header: HvX64InterceptMessageHeader,
    /// The port.
    pub port_number: u16,
    /// Size and kind.
    pub access_info: HvX64IoPortAccessInfo,
    /// How many of `instruction_bytes` count.
    pub instruction_byte_count: u8,
    /// Zero.
    pub reserved: u32,
    /// RAX.
    pub rax: u64,
    /// The instruction.
    pub instruction_bytes: [u8; 16],
    /// DS.
    pub ds_segment: HvX64SegmentRegister,
    /// ES.
    pub es_segment: HvX64SegmentRegister,
    /// RCX.
    pub rcx: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
}

bit_register! {
    /// `HV_X64_MEMORY_ACCESS_INFO`
    pub struct HvX64MemoryAccessInfo(u8) {
        /// `guest_virtual_address` counts.
        gva_valid, with_gva_valid: 0;
        /// The pair of addresses belongs together (the access was not the table walk's own).
        gva_gpa_valid, with_gva_gpa_valid: 1;
    }
}

/// `HV_X64_MEMORY_INTERCEPT_MESSAGE`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64MemoryInterceptMessage {
    /// The header.
    pub header: HvX64InterceptMessageHeader,
    /// Cache type of the access.
    pub cache_type: u32,
    /// How many of `instruction_bytes` count.
    pub instruction_byte_count: u8,
    /// Which addresses count.
    pub memory_access_info: HvX64MemoryAccessInfo,
    /// Task priority.
    pub tpr_priority: u8,
    /// Zero.
    pub reserved1: u8,
    /// Linear address.
    pub guest_virtual_address: u64,
    /// Guest physical address.
    pub guest_physical_address: u64,
    /// The instruction.
    pub instruction_bytes: [u8; 16],
}

bit_register! {
    /// `HV_X64_EXCEPTION_INFO`
    pub struct HvX64ExceptionInfo(u8) {
        /// `error_code` counts.
        error_code_valid, with_error_code_valid: 0;
        /// INT3, INTO and the like.
        software_exception, with_software_exception: 1;
    }
}

/// `HV_X64_EXCEPTION_INTERCEPT_MESSAGE`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64ExceptionInterceptMessage {
    /// The header.
    pub header: HvX64InterceptMessageHeader,
    /// The vector.
    pub exception_vector: u16,
    /// What counts.
    pub exception_info: HvX64ExceptionInfo,
    /// How many of `instruction_bytes` count.
    pub instruction_byte_count: u8,
    /// Error code.
    pub error_code: u32,
    /// Faulting address for #PF.
    pub exception_parameter: u64,
    /// Zero.
    pub reserved: u64,
    /// The instruction.
    pub instruction_bytes: [u8; 16],
    /// DS.
    pub ds_segment: HvX64SegmentRegister,
    /// SS.
    pub ss_segment: HvX64SegmentRegister,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 … R15.
    pub gprs: [u64; 16],
}

/// `HV_X64_UNRECOVERABLE_EXCEPTION_MESSAGE` and `HV_X64_HALT_MESSAGE`: the header alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64BareInterceptMessage {
    /// The header.
    pub header: HvX64InterceptMessageHeader,
}

layout! {
    HvMessageHeader: 16 { message_type: 0, payload_size: 4, sender: 8 }
    HvMessage: 256 { payload: 16 }
    HvX64InterceptMessageHeader: 40 { length_cr8: 4, intercept_access_type: 5, execution_state: 6, cs_segment: 8, rip: 24, rflags: 32 }
    HvX64CpuidInterceptMessage: 104 { rax: 40, default_result_rax: 72 }
    HvX64MsrInterceptMessage: 64 { msr_number: 40, rdx: 48, rax: 56 }
    HvX64IoPortInterceptMessage: 128 { port_number: 40, access_info: 42, rax: 48, instruction_bytes: 56, ds_segment: 72, rcx: 104 }
    HvX64MemoryInterceptMessage: 80 { cache_type: 40, memory_access_info: 45, guest_virtual_address: 48, guest_physical_address: 56 }
    HvX64ExceptionInterceptMessage: 240 { exception_vector: 40, exception_info: 42, error_code: 44, exception_parameter: 48, instruction_bytes: 64, ds_segment: 80, gprs: 112 }
    HvX64BareInterceptMessage: 40 { header: 0 }
}
