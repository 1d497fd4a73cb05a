//! CPUID as the hypervisor answers it (TLFS "Feature and Interface Discovery").

/// Bit of leaf 1 ECX that says that there is a hypervisor.
pub const HYPERVISOR_PRESENT: u32 = 1 << 31;
/// Highest leaf in EAX, vendor in EBX, ECX, EDX.
pub const HV_CPUID_VENDOR: u32 = 0x4000_0000;
/// Interface signature in EAX.
pub const HV_CPUID_INTERFACE: u32 = 0x4000_0001;
/// Version: build, major:minor, service pack, branch.
pub const HV_CPUID_VERSION: u32 = 0x4000_0002;
/// Privileges (EAX, EBX) and features (ECX, EDX).
pub const HV_CPUID_FEATURES: u32 = 0x4000_0003;
/// Recommendations.
pub const HV_CPUID_RECOMMENDATIONS: u32 = 0x4000_0004;
/// Limits.
pub const HV_CPUID_LIMITS: u32 = 0x4000_0005;
/// Hardware features in use.
pub const HV_CPUID_HARDWARE: u32 = 0x4000_0006;
/// CPU management features.
pub const HV_CPUID_CPU_MANAGEMENT: u32 = 0x4000_0007;
/// Shared virtual memory features.
pub const HV_CPUID_SVM: u32 = 0x4000_0008;
/// Nested features, L1.
pub const HV_CPUID_NESTED: u32 = 0x4000_0009;
/// Nested optimizations.
pub const HV_CPUID_NESTED_OPTIMIZATIONS: u32 = 0x4000_000a;
/// Highest leaf served.
pub const HV_CPUID_MAX: u32 = HV_CPUID_NESTED_OPTIMIZATIONS;

/// "Microsoft Hv" in EBX, ECX, EDX of [`HV_CPUID_VENDOR`].
pub const HV_VENDOR_SIGNATURE: [u32; 3] =
    [u32::from_le_bytes(*b"Micr"), u32::from_le_bytes(*b"osof"), u32::from_le_bytes(*b"t Hv")];
/// "Hv#1" in EAX of [`HV_CPUID_INTERFACE`].
pub const HV_INTERFACE_SIGNATURE: u32 = u32::from_le_bytes(*b"Hv#1");

wire_flags! {
    /// EDX of [`HV_CPUID_FEATURES`].
    pub struct HvFeatures(u32) {
        /// MWAIT is available (deprecated).
        MWAIT = 1 << 0;
        /// Guest debugging.
        GUEST_DEBUGGING = 1 << 1;
        /// Performance monitor.
        PERFORMANCE_MONITOR = 1 << 2;
        /// Physical CPU dynamic partitioning events.
        CPU_DYNAMIC_PARTITIONING = 1 << 3;
        /// Fast hypercalls take input in XMM registers.
        XMM_FAST_INPUT = 1 << 4;
        /// Guest idle state.
        GUEST_IDLE = 1 << 5;
        /// Hypervisor sleep state.
        HYPERVISOR_SLEEP = 1 << 6;
        /// NUMA distances.
        NUMA_DISTANCES = 1 << 7;
        /// TSC and APIC frequency MSRs.
        FREQUENCY_MSRS = 1 << 8;
        /// Synthetic machine check.
        SYNTHETIC_MACHINE_CHECK = 1 << 9;
        /// Crash MSRs.
        CRASH_MSRS = 1 << 10;
        /// Debug MSRs.
        DEBUG_MSRS = 1 << 11;
        /// NPIEP.
        NPIEP = 1 << 12;
        /// Hypervisor can be disabled.
        DISABLE_HYPERVISOR = 1 << 13;
        /// Extended GVA ranges for flushes.
        EXTENDED_GVA_RANGES = 1 << 14;
        /// Fast hypercalls give output in XMM registers.
        XMM_FAST_OUTPUT = 1 << 15;
        /// SINT polling mode.
        SINT_POLLING = 1 << 17;
        /// Hypercall MSR lock.
        HYPERCALL_MSR_LOCK = 1 << 18;
        /// Direct synthetic timers.
        DIRECT_SYNTHETIC_TIMERS = 1 << 19;
    }
}

wire_flags! {
    /// EAX of [`HV_CPUID_HARDWARE`].
    pub struct HvHardwareFeatures(u32) {
        /// APIC overlay assist.
        APIC_OVERLAY_ASSIST = 1 << 0;
        /// MSR bitmaps.
        MSR_BITMAPS = 1 << 1;
        /// Architectural performance counters.
        PERFORMANCE_COUNTERS = 1 << 2;
        /// Second-level address translation.
        SECOND_LEVEL_ADDRESS_TRANSLATION = 1 << 3;
        /// DMA remapping.
        DMA_REMAPPING = 1 << 4;
        /// Interrupt remapping.
        INTERRUPT_REMAPPING = 1 << 5;
    }
}
