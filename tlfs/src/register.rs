//! Registers by name, as HvCallGetVpRegisters and HvCallSetVpRegisters take them (TLFS "Virtual Processors").
//! Names and numbers follow mshv-bindings, whose list is longer than the specification's.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_REGISTER_NAME`
    pub struct HvRegisterName(u32) {
        EXPLICIT_SUSPEND = 0x0000_0000, "HvRegisterExplicitSuspend";
        INTERCEPT_SUSPEND = 0x0000_0001, "HvRegisterInterceptSuspend";
        INSTRUCTION_EMULATION_HINTS = 0x0000_0002, "HvRegisterInstructionEmulationHints";
        DISPATCH_SUSPEND = 0x0000_0003, "HvRegisterDispatchSuspend";
        INTERNAL_ACTIVITY_STATE = 0x0000_0004, "HvRegisterInternalActivityState";
        HYPERVISOR_VERSION = 0x0000_0100, "HvRegisterHypervisorVersion";
        PRIVILEGES_AND_FEATURES_INFO = 0x0000_0200, "HvRegisterPrivilegesAndFeaturesInfo";
        FEATURES_INFO = 0x0000_0201, "HvRegisterFeaturesInfo";
        IMPLEMENTATION_LIMITS_INFO = 0x0000_0202, "HvRegisterImplementationLimitsInfo";
        HARDWARE_FEATURES_INFO = 0x0000_0203, "HvRegisterHardwareFeaturesInfo";
        CPU_MANAGEMENT_FEATURES_INFO = 0x0000_0204, "HvRegisterCpuManagementFeaturesInfo";
        SVM_FEATURES_INFO = 0x0000_0205, "HvRegisterSvmFeaturesInfo";
        SKIP_LEVEL_FEATURES_INFO = 0x0000_0206, "HvRegisterSkipLevelFeaturesInfo";
        IPT_FEATURES_INFO = 0x0000_0208, "HvRegisterIptFeaturesInfo";
        GUEST_CRASH_P0 = 0x0000_0210, "HvRegisterGuestCrashP0";
        GUEST_CRASH_P1 = 0x0000_0211, "HvRegisterGuestCrashP1";
        GUEST_CRASH_P2 = 0x0000_0212, "HvRegisterGuestCrashP2";
        GUEST_CRASH_P3 = 0x0000_0213, "HvRegisterGuestCrashP3";
        GUEST_CRASH_P4 = 0x0000_0214, "HvRegisterGuestCrashP4";
        GUEST_CRASH_CTL = 0x0000_0215, "HvRegisterGuestCrashCtl";
        PROCESSOR_CLOCK_FREQUENCY = 0x0000_0240, "HvRegisterProcessorClockFrequency";
        INTERRUPT_CLOCK_FREQUENCY = 0x0000_0241, "HvRegisterInterruptClockFrequency";
        GUEST_IDLE = 0x0000_0250, "HvRegisterGuestIdle";
        DEBUG_DEVICE_OPTIONS = 0x0000_0260, "HvRegisterDebugDeviceOptions";
        MEMORY_ZEROING_CONTROL = 0x0000_0270, "HvRegisterMemoryZeroingControl";
        PENDING_INTERRUPTION = 0x0001_0002, "HvRegisterPendingInterruption";
        INTERRUPT_STATE = 0x0001_0003, "HvRegisterInterruptState";
        PENDING_EVENT0 = 0x0001_0004, "HvRegisterPendingEvent0";
        PENDING_EVENT1 = 0x0001_0005, "HvRegisterPendingEvent1";
        DELIVERABILITY_NOTIFICATIONS = 0x0001_0006, "HvRegisterDeliverabilityNotifications";
        X64_PENDING_DEBUG_EXCEPTION = 0x0001_0007, "HvX64RegisterPendingDebugException";
        X64_RAX = 0x0002_0000, "HvX64RegisterRax";
        X64_RCX = 0x0002_0001, "HvX64RegisterRcx";
        X64_RDX = 0x0002_0002, "HvX64RegisterRdx";
        X64_RBX = 0x0002_0003, "HvX64RegisterRbx";
        X64_RSP = 0x0002_0004, "HvX64RegisterRsp";
        X64_RBP = 0x0002_0005, "HvX64RegisterRbp";
        X64_RSI = 0x0002_0006, "HvX64RegisterRsi";
        X64_RDI = 0x0002_0007, "HvX64RegisterRdi";
        X64_R8 = 0x0002_0008, "HvX64RegisterR8";
        X64_R9 = 0x0002_0009, "HvX64RegisterR9";
        X64_R10 = 0x0002_000a, "HvX64RegisterR10";
        X64_R11 = 0x0002_000b, "HvX64RegisterR11";
        X64_R12 = 0x0002_000c, "HvX64RegisterR12";
        X64_R13 = 0x0002_000d, "HvX64RegisterR13";
        X64_R14 = 0x0002_000e, "HvX64RegisterR14";
        X64_R15 = 0x0002_000f, "HvX64RegisterR15";
        X64_RIP = 0x0002_0010, "HvX64RegisterRip";
        X64_RFLAGS = 0x0002_0011, "HvX64RegisterRflags";
        X64_XMM0 = 0x0003_0000, "HvX64RegisterXmm0";
        X64_XMM1 = 0x0003_0001, "HvX64RegisterXmm1";
        X64_XMM2 = 0x0003_0002, "HvX64RegisterXmm2";
        X64_XMM3 = 0x0003_0003, "HvX64RegisterXmm3";
        X64_XMM4 = 0x0003_0004, "HvX64RegisterXmm4";
        X64_XMM5 = 0x0003_0005, "HvX64RegisterXmm5";
        X64_XMM6 = 0x0003_0006, "HvX64RegisterXmm6";
        X64_XMM7 = 0x0003_0007, "HvX64RegisterXmm7";
        X64_XMM8 = 0x0003_0008, "HvX64RegisterXmm8";
        X64_XMM9 = 0x0003_0009, "HvX64RegisterXmm9";
        X64_XMM10 = 0x0003_000a, "HvX64RegisterXmm10";
        X64_XMM11 = 0x0003_000b, "HvX64RegisterXmm11";
        X64_XMM12 = 0x0003_000c, "HvX64RegisterXmm12";
        X64_XMM13 = 0x0003_000d, "HvX64RegisterXmm13";
        X64_XMM14 = 0x0003_000e, "HvX64RegisterXmm14";
        X64_XMM15 = 0x0003_000f, "HvX64RegisterXmm15";
        X64_FP_MMX0 = 0x0003_0010, "HvX64RegisterFpMmx0";
        X64_FP_MMX1 = 0x0003_0011, "HvX64RegisterFpMmx1";
        X64_FP_MMX2 = 0x0003_0012, "HvX64RegisterFpMmx2";
        X64_FP_MMX3 = 0x0003_0013, "HvX64RegisterFpMmx3";
        X64_FP_MMX4 = 0x0003_0014, "HvX64RegisterFpMmx4";
        X64_FP_MMX5 = 0x0003_0015, "HvX64RegisterFpMmx5";
        X64_FP_MMX6 = 0x0003_0016, "HvX64RegisterFpMmx6";
        X64_FP_MMX7 = 0x0003_0017, "HvX64RegisterFpMmx7";
        X64_FP_CONTROL_STATUS = 0x0003_0018, "HvX64RegisterFpControlStatus";
        X64_XMM_CONTROL_STATUS = 0x0003_0019, "HvX64RegisterXmmControlStatus";
        X64_CR0 = 0x0004_0000, "HvX64RegisterCr0";
        X64_CR2 = 0x0004_0001, "HvX64RegisterCr2";
        X64_CR3 = 0x0004_0002, "HvX64RegisterCr3";
        X64_CR4 = 0x0004_0003, "HvX64RegisterCr4";
        X64_CR8 = 0x0004_0004, "HvX64RegisterCr8";
        X64_XFEM = 0x0004_0005, "HvX64RegisterXfem";
        X64_INTERMEDIATE_CR0 = 0x0004_1000, "HvX64RegisterIntermediateCr0";
        X64_INTERMEDIATE_CR3 = 0x0004_1002, "HvX64RegisterIntermediateCr3";
        X64_INTERMEDIATE_CR4 = 0x0004_1003, "HvX64RegisterIntermediateCr4";
        X64_INTERMEDIATE_CR8 = 0x0004_1004, "HvX64RegisterIntermediateCr8";
        X64_DR0 = 0x0005_0000, "HvX64RegisterDr0";
        X64_DR1 = 0x0005_0001, "HvX64RegisterDr1";
        X64_DR2 = 0x0005_0002, "HvX64RegisterDr2";
        X64_DR3 = 0x0005_0003, "HvX64RegisterDr3";
        X64_DR6 = 0x0005_0004, "HvX64RegisterDr6";
        X64_DR7 = 0x0005_0005, "HvX64RegisterDr7";
        X64_ES = 0x0006_0000, "HvX64RegisterEs";
        X64_CS = 0x0006_0001, "HvX64RegisterCs";
        X64_SS = 0x0006_0002, "HvX64RegisterSs";
        X64_DS = 0x0006_0003, "HvX64RegisterDs";
        X64_FS = 0x0006_0004, "HvX64RegisterFs";
        X64_GS = 0x0006_0005, "HvX64RegisterGs";
        X64_LDTR = 0x0006_0006, "HvX64RegisterLdtr";
        X64_TR = 0x0006_0007, "HvX64RegisterTr";
        X64_IDTR = 0x0007_0000, "HvX64RegisterIdtr";
        X64_GDTR = 0x0007_0001, "HvX64RegisterGdtr";
        X64_TSC = 0x0008_0000, "HvX64RegisterTsc";
        X64_EFER = 0x0008_0001, "HvX64RegisterEfer";
        X64_KERNEL_GS_BASE = 0x0008_0002, "HvX64RegisterKernelGsBase";
        X64_APIC_BASE = 0x0008_0003, "HvX64RegisterApicBase";
        X64_PAT = 0x0008_0004, "HvX64RegisterPat";
        X64_SYSENTER_CS = 0x0008_0005, "HvX64RegisterSysenterCs";
        X64_SYSENTER_EIP = 0x0008_0006, "HvX64RegisterSysenterEip";
        X64_SYSENTER_ESP = 0x0008_0007, "HvX64RegisterSysenterEsp";
        X64_STAR = 0x0008_0008, "HvX64RegisterStar";
        X64_LSTAR = 0x0008_0009, "HvX64RegisterLstar";
        X64_CSTAR = 0x0008_000a, "HvX64RegisterCstar";
        X64_SFMASK = 0x0008_000b, "HvX64RegisterSfmask";
        X64_INITIAL_APIC_ID = 0x0008_000c, "HvX64RegisterInitialApicId";
        X64_TSC_AUX = 0x0008_007b, "HvX64RegisterTscAux";
        X64_BNDCFGS = 0x0008_007c, "HvX64RegisterBndcfgs";
        X64_DEBUG_CTL = 0x0008_007d, "HvX64RegisterDebugCtl";
        X64_SPEC_CTRL = 0x0008_0084, "HvX64RegisterSpecCtrl";
        X64_PRED_CMD = 0x0008_0085, "HvX64RegisterPredCmd";
        X64_VIRT_SPEC_CTRL = 0x0008_0086, "HvX64RegisterVirtSpecCtrl";
        X64_U_XSS = 0x0008_008b, "HvX64RegisterUXss";
        X64_U_CET = 0x0008_008c, "HvX64RegisterUCet";
        X64_S_CET = 0x0008_008d, "HvX64RegisterSCet";
        X64_SSP = 0x0008_008e, "HvX64RegisterSsp";
        X64_PL0_SSP = 0x0008_008f, "HvX64RegisterPl0Ssp";
        X64_PL1_SSP = 0x0008_0090, "HvX64RegisterPl1Ssp";
        X64_PL2_SSP = 0x0008_0091, "HvX64RegisterPl2Ssp";
        X64_PL3_SSP = 0x0008_0092, "HvX64RegisterPl3Ssp";
        X64_INTERRUPT_SSP_TABLE_ADDR = 0x0008_0093, "HvX64RegisterInterruptSspTableAddr";
        X64_TSC_ADJUST = 0x0008_0096, "HvX64RegisterTscAdjust";
        X64_MSR_IA32_MISC_ENABLE = 0x0008_00a0, "HvX64RegisterMsrIa32MiscEnable";
        X64_IA32_FEATURE_CONTROL = 0x0008_00a1, "HvX64RegisterIa32FeatureControl";
        X64_APIC_ID = 0x0008_4802, "HvX64RegisterApicId";
        X64_APIC_VERSION = 0x0008_4803, "HvX64RegisterApicVersion";
        VP_RUNTIME = 0x0009_0000, "HvRegisterVpRuntime";
        X64_HYPERCALL = 0x0009_0001, "HvX64RegisterHypercall";
        GUEST_OS_ID = 0x0009_0002, "HvRegisterGuestOsId";
        VP_INDEX = 0x0009_0003, "HvRegisterVpIndex";
        TIME_REF_COUNT = 0x0009_0004, "HvRegisterTimeRefCount";
        CPU_MANAGEMENT_VERSION = 0x0009_0007, "HvRegisterCpuManagementVersion";
        X64_SYNTHETIC_EOI = 0x0009_0010, "HvX64RegisterSyntheticEoi";
        X64_SYNTHETIC_ICR = 0x0009_0011, "HvX64RegisterSyntheticIcr";
        X64_SYNTHETIC_TPR = 0x0009_0012, "HvX64RegisterSyntheticTpr";
        VP_ASSIST_PAGE = 0x0009_0013, "HvRegisterVpAssistPage";
        VP_ROOT_SIGNAL_COUNT = 0x0009_0014, "HvRegisterVpRootSignalCount";
        REFERENCE_TSC = 0x0009_0017, "HvRegisterReferenceTsc";
        X64_REG_PAGE = 0x0009_001c, "HvX64RegisterRegPage";
        SCONTROL = 0x000a_0010, "HvRegisterScontrol";
        SVERSION = 0x000a_0011, "HvRegisterSversion";
        SIEFP = 0x000a_0012, "HvRegisterSiefp";
        SIMP = 0x000a_0013, "HvRegisterSimp";
        EOM = 0x000a_0014, "HvRegisterEom";
        SIRBP = 0x000a_0015, "HvRegisterSirbp";
        ISOLATION_CAPABILITIES = 0x000d_0100, "HvRegisterIsolationCapabilities";
    }
}

/// `HV_REGISTER_VALUE`: 16 bytes whose meaning the register's name gives.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvRegisterValue {
    /// The low half.
    pub low: u64,
    /// The high half.
    pub high: u64,
}

impl HvRegisterValue {
    /// A value of 64 bits or fewer.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self { low: value, high: 0 }
    }

    /// The low 64 bits.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.low
    }

    /// All 128 bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// A value of 128 bits.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub const fn from_u128(value: u128) -> Self {
        Self { low: value as u64, high: (value >> 64) as u64 }
    }

    /// The value of a segment register.
    #[must_use]
    pub fn segment(self) -> HvX64SegmentRegister {
        zerocopy::transmute!(self)
    }

    /// A segment register as a value.
    #[must_use]
    pub fn from_segment(segment: HvX64SegmentRegister) -> Self {
        zerocopy::transmute!(segment)
    }

    /// The value of GDTR or IDTR.
    #[must_use]
    pub fn table(self) -> HvX64TableRegister {
        zerocopy::transmute!(self)
    }

    /// GDTR or IDTR as a value.
    #[must_use]
    pub fn from_table(table: HvX64TableRegister) -> Self {
        zerocopy::transmute!(table)
    }

    /// The bytes, as an XMM register has them.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        zerocopy::transmute!(self)
    }

    /// An XMM register as a value.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        zerocopy::transmute!(bytes)
    }
}

/// `HV_X64_SEGMENT_REGISTER`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64SegmentRegister {
    /// Base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u32,
    /// Selector.
    pub selector: u16,
    /// Attributes.
    pub attributes: HvX64SegmentAttributes,
}

bit_register! {
    /// The attributes of a segment: bits 40 to 55 of a descriptor, without the limit's.
    pub struct HvX64SegmentAttributes(u16) {
        /// Type.
        segment_type, with_segment_type: u8 @ 0..=3;
        /// Not a system segment (S).
        non_system, with_non_system: 4;
        /// Descriptor privilege level.
        dpl, with_dpl: u8 @ 5..=6;
        /// Present.
        present, with_present: 7;
        /// Available to software.
        available, with_available: 12;
        /// 64-bit code (L).
        long, with_long: 13;
        /// Default operand size (D/B).
        default, with_default: 14;
        /// Limit counts pages (G).
        granularity, with_granularity: 15;
    }
}

/// `HV_X64_TABLE_REGISTER`: GDTR or IDTR.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64TableRegister {
    /// Padding.
    pub pad: [u16; 3],
    /// Limit in bytes.
    pub limit: u16,
    /// Base address.
    pub base: u64,
}

bit_register! {
    /// `HV_X64_PENDING_INTERRUPTION_REGISTER`: an event to deliver when the VP runs next.
    pub struct HvX64PendingInterruptionRegister(u64) {
        /// There is one.
        interruption_pending, with_interruption_pending: 0;
        /// `HV_X64_PENDING_INTERRUPT` 0, NMI 2, exception 3, software interrupt 4 …
        interruption_type, with_interruption_type: u8 @ 1..=3;
        /// The vector pushes `error_code`.
        deliver_error_code, with_deliver_error_code: 4;
        /// Length of the instruction, for software events.
        instruction_length, with_instruction_length: u8 @ 5..=8;
        /// For the nested guest.
        nested_event, with_nested_event: 9;
        /// The vector.
        interruption_vector, with_interruption_vector: u16 @ 16..=31;
        /// The error code.
        error_code, with_error_code: u32 @ 32..=63;
    }
}

impl HvX64PendingInterruptionRegister {
    /// `HV_X64_PENDING_INTERRUPT`
    pub const TYPE_INTERRUPT: u8 = 0;
    /// `HV_X64_PENDING_NMI`
    pub const TYPE_NMI: u8 = 2;
    /// `HV_X64_PENDING_EXCEPTION`
    pub const TYPE_EXCEPTION: u8 = 3;

    /// A hardware exception.
    #[must_use]
    pub const fn exception(vector: u8, error_code: Option<u32>) -> Self {
        let register = Self(0)
            .with_interruption_pending(true)
            .with_interruption_type(Self::TYPE_EXCEPTION)
            .with_interruption_vector(vector as u16);
        match error_code {
            Some(code) => register.with_deliver_error_code(true).with_error_code(code),
            None => register,
        }
    }
}

bit_register! {
    /// `HV_X64_INTERRUPT_STATE_REGISTER`
    pub struct HvX64InterruptStateRegister(u64) {
        /// The instruction after STI or MOV SS.
        interrupt_shadow, with_interrupt_shadow: 0;
        /// An NMI is being handled.
        nmi_masked, with_nmi_masked: 1;
    }
}

bit_register! {
    /// `HV_EXPLICIT_SUSPEND_REGISTER` and `HV_INTERCEPT_SUSPEND_REGISTER`
    pub struct HvSuspendRegister(u64) {
        /// The VP does not run.
        suspended, with_suspended: 0;
    }
}

/// `HV_X64_FP_CONTROL_STATUS_REGISTER`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64FpControlStatusRegister {
    /// FCW.
    pub fp_control: u16,
    /// FSW.
    pub fp_status: u16,
    /// Abridged tag word.
    pub fp_tag: u8,
    /// Zero.
    pub reserved: u8,
    /// Last opcode.
    pub last_fp_op: u16,
    /// Last instruction pointer.
    pub last_fp_rip: u64,
}

/// `HV_X64_XMM_CONTROL_STATUS_REGISTER`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvX64XmmControlStatusRegister {
    /// Last data pointer.
    pub last_fp_rdp: u64,
    /// MXCSR.
    pub xmm_status_control: u32,
    /// MXCSR mask.
    pub xmm_status_control_mask: u32,
}

layout! {
    HvRegisterValue: 16 { low: 0, high: 8 }
    HvX64SegmentRegister: 16 { base: 0, limit: 8, selector: 12, attributes: 14 }
    HvX64TableRegister: 16 { limit: 6, base: 8 }
    HvX64FpControlStatusRegister: 16 { fp_control: 0, fp_status: 2, fp_tag: 4, last_fp_op: 6, last_fp_rip: 8 }
    HvX64XmmControlStatusRegister: 16 { last_fp_rdp: 0, xmm_status_control: 8, xmm_status_control_mask: 12 }
}
