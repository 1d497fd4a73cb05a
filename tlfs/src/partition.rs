//! What a partition is and may do (TLFS "Partitions").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire_flags! {
    /// `HV_PARTITION_PRIVILEGE_MASK`: EAX (low) and EBX (high) of CPUID leaf 0x40000003, and a partition property.
    pub struct PrivilegeMask(u64) {
        /// `AccessVpRunTimeReg`
        ACCESS_VP_RUN_TIME_REG = 1 << 0;
        /// `AccessPartitionReferenceCounter`
        ACCESS_PARTITION_REFERENCE_COUNTER = 1 << 1;
        /// `AccessSynicRegs`
        ACCESS_SYNIC_REGS = 1 << 2;
        /// `AccessSyntheticTimerRegs`
        ACCESS_SYNTHETIC_TIMER_REGS = 1 << 3;
        /// `AccessIntrCtrlRegs`
        ACCESS_INTR_CTRL_REGS = 1 << 4;
        /// `AccessHypercallMsrs`
        ACCESS_HYPERCALL_MSRS = 1 << 5;
        /// `AccessVpIndex`
        ACCESS_VP_INDEX = 1 << 6;
        /// `AccessResetReg`
        ACCESS_RESET_REG = 1 << 7;
        /// `AccessStatsReg`
        ACCESS_STATS_REG = 1 << 8;
        /// `AccessPartitionReferenceTsc`
        ACCESS_PARTITION_REFERENCE_TSC = 1 << 9;
        /// `AccessGuestIdleReg`
        ACCESS_GUEST_IDLE_REG = 1 << 10;
        /// `AccessFrequencyRegs`
        ACCESS_FREQUENCY_REGS = 1 << 11;
        /// `CreatePartitions`
        CREATE_PARTITIONS = 1 << 32;
        /// `AccessPartitionId`
        ACCESS_PARTITION_ID = 1 << 33;
        /// `AccessMemoryPool`
        ACCESS_MEMORY_POOL = 1 << 34;
        /// `PostMessages`
        POST_MESSAGES = 1 << 36;
        /// `SignalEvents`
        SIGNAL_EVENTS = 1 << 37;
        /// `CreatePort`
        CREATE_PORT = 1 << 38;
        /// `ConnectPort`
        CONNECT_PORT = 1 << 39;
        /// `AccessStats`
        ACCESS_STATS = 1 << 40;
        /// `Debugging`
        DEBUGGING = 1 << 43;
        /// `CpuManagement`
        CPU_MANAGEMENT = 1 << 44;
        /// `AccessVSM`
        ACCESS_VSM = 1 << 48;
        /// `AccessVpRegisters`
        ACCESS_VP_REGISTERS = 1 << 49;
        /// `EnableExtendedHypercalls`
        ENABLE_EXTENDED_HYPERCALLS = 1 << 52;
        /// `StartVirtualProcessor`
        START_VIRTUAL_PROCESSOR = 1 << 53;
    }
}

wire_flags! {
    /// Flags of HvCallCreatePartition (Linux `hvhdk.h`; the specification does not list them).
    pub struct PartitionCreationFlags(u64) {
        /// `HV_PARTITION_CREATION_FLAG_EXO_PARTITION`
        EXO_PARTITION = 1 << 8;
        /// `HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED`
        LAPIC_ENABLED = 1 << 13;
        /// `HV_PARTITION_CREATION_FLAG_INTERCEPT_MESSAGE_PAGE_ENABLED`
        INTERCEPT_MESSAGE_PAGE_ENABLED = 1 << 19;
        /// `HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE`
        X2APIC_CAPABLE = 1 << 22;
    }
}

/// `HV_PARTITION_CREATION_PROPERTIES`: processor features that the partition must not have.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvPartitionCreationProperties {
    /// `DisabledProcessorFeatures`, two banks.
    pub disabled_processor_features: [u64; 2],
    /// `DisabledProcessorXsaveFeatures`
    pub disabled_processor_xsave_features: u64,
}

open_enum! {
    /// `HV_PARTITION_PROPERTY_CODE`
    pub struct HvPartitionPropertyCode(u32) {
        PRIVILEGE_FLAGS = 0x0001_0000, "HvPartitionPropertyPrivilegeFlags";
        SYNTHETIC_PROC_FEATURES = 0x0001_0001, "HvPartitionPropertySyntheticProcFeatures";
        SUSPEND = 0x0002_0000, "HvPartitionPropertySuspend";
        CPU_RESERVE = 0x0002_0001, "HvPartitionPropertyCpuReserve";
        CPU_CAP = 0x0002_0002, "HvPartitionPropertyCpuCap";
        CPU_WEIGHT = 0x0002_0003, "HvPartitionPropertyCpuWeight";
        TIME_FREEZE = 0x0003_0003, "HvPartitionPropertyTimeFreeze";
        REFERENCE_TIME = 0x0003_0005, "HvPartitionPropertyReferenceTime";
        PROCESSORS_PER_SOCKET = 0x0005_0003, "HvPartitionPropertyProcessorsPerSocket";
        UNIMPLEMENTED_MSR_ACTION = 0x0005_0017, "HvPartitionPropertyUnimplementedMsrAction";
        PROCESSOR_VENDOR = 0x0006_0000, "HvPartitionPropertyProcessorVendor";
        PROCESSOR_XSAVE_FEATURES = 0x0006_0002, "HvPartitionPropertyProcessorXsaveFeatures";
        PROCESSOR_CL_FLUSH_SIZE = 0x0006_0003, "HvPartitionPropertyProcessorCLFlushSize";
        COMPATIBILITY_VERSION = 0x0006_0005, "HvPartitionPropertyCompatibilityVersion";
        PHYSICAL_ADDRESS_WIDTH = 0x0006_0006, "HvPartitionPropertyPhysicalAddressWidth";
        PROCESSOR_CLOCK_FREQUENCY = 0x0006_0009, "HvPartitionPropertyProcessorClockFrequency";
        PROCESSOR_FEATURES_0 = 0x0006_000a, "HvPartitionPropertyProcessorFeatures0";
        PROCESSOR_FEATURES_1 = 0x0006_000b, "HvPartitionPropertyProcessorFeatures1";
        GUEST_OS_ID = 0x0007_0000, "HvPartitionPropertyGuestOsId";
    }
}
