//! Synthetic MSRs (TLFS "Register definitions" and the chapters of each).

/// `HV_X64_MSR_GUEST_OS_ID`
pub const HV_X64_MSR_GUEST_OS_ID: u32 = 0x4000_0000;
/// `HV_X64_MSR_HYPERCALL`
pub const HV_X64_MSR_HYPERCALL: u32 = 0x4000_0001;
/// `HV_X64_MSR_VP_INDEX`
pub const HV_X64_MSR_VP_INDEX: u32 = 0x4000_0002;
/// `HV_X64_MSR_RESET`: writing bit 0 resets the partition.
pub const HV_X64_MSR_RESET: u32 = 0x4000_0003;
/// `HV_X64_MSR_VP_RUNTIME`
pub const HV_X64_MSR_VP_RUNTIME: u32 = 0x4000_0010;
/// `HV_X64_MSR_TIME_REF_COUNT`: reference time of the partition in 100 ns.
pub const HV_X64_MSR_TIME_REF_COUNT: u32 = 0x4000_0020;
/// `HV_X64_MSR_REFERENCE_TSC`
pub const HV_X64_MSR_REFERENCE_TSC: u32 = 0x4000_0021;
/// `HV_X64_MSR_TSC_FREQUENCY`: Hz.
pub const HV_X64_MSR_TSC_FREQUENCY: u32 = 0x4000_0022;
/// `HV_X64_MSR_APIC_FREQUENCY`: Hz.
pub const HV_X64_MSR_APIC_FREQUENCY: u32 = 0x4000_0023;
/// `HV_X64_MSR_NPIEP_CONFIG`
pub const HV_X64_MSR_NPIEP_CONFIG: u32 = 0x4000_0040;
/// `HV_X64_MSR_EOI`
pub const HV_X64_MSR_EOI: u32 = 0x4000_0070;
/// `HV_X64_MSR_ICR`
pub const HV_X64_MSR_ICR: u32 = 0x4000_0071;
/// `HV_X64_MSR_TPR`
pub const HV_X64_MSR_TPR: u32 = 0x4000_0072;
/// `HV_X64_MSR_VP_ASSIST_PAGE`
pub const HV_X64_MSR_VP_ASSIST_PAGE: u32 = 0x4000_0073;
/// `HV_X64_MSR_SCONTROL`
pub const HV_X64_MSR_SCONTROL: u32 = 0x4000_0080;
/// `HV_X64_MSR_SVERSION`
pub const HV_X64_MSR_SVERSION: u32 = 0x4000_0081;
/// `HV_X64_MSR_SIEFP`
pub const HV_X64_MSR_SIEFP: u32 = 0x4000_0082;
/// `HV_X64_MSR_SIMP`
pub const HV_X64_MSR_SIMP: u32 = 0x4000_0083;
/// `HV_X64_MSR_EOM`
pub const HV_X64_MSR_EOM: u32 = 0x4000_0084;
/// `HV_X64_MSR_SINT0`; SINT n is n further on, up to 15.
pub const HV_X64_MSR_SINT0: u32 = 0x4000_0090;
/// `HV_X64_MSR_STIMER0_CONFIG`; the count follows, then timers 1 to 3.
pub const HV_X64_MSR_STIMER0_CONFIG: u32 = 0x4000_00b0;
/// `HV_X64_MSR_CRASH_P0`; P1 to P4 follow.
pub const HV_X64_MSR_CRASH_P0: u32 = 0x4000_0100;
/// `HV_X64_MSR_CRASH_CTL`
pub const HV_X64_MSR_CRASH_CTL: u32 = 0x4000_0105;
/// First MSR of the synthetic range.
pub const SYNTHETIC_MSR_FIRST: u32 = 0x4000_0000;
/// Last MSR of the synthetic range.
pub const SYNTHETIC_MSR_LAST: u32 = 0x4fff_ffff;

bit_register! {
    /// Content of [`HV_X64_MSR_HYPERCALL`].
    pub struct HypercallMsr(u64) {
        /// The hypercall page is there.
        enabled, with_enabled: 0;
        /// The register cannot be changed until reset.
        locked, with_locked: 1;
        /// Page number of the hypercall page.
        gpa_page, with_gpa_page: u64 @ 12..=63;
    }
}

bit_register! {
    /// Content of [`HV_X64_MSR_REFERENCE_TSC`].
    pub struct ReferenceTscMsr(u64) {
        /// The page is there.
        enabled, with_enabled: 0;
        /// Its page number.
        gpa_page, with_gpa_page: u64 @ 12..=63;
    }
}

bit_register! {
    /// Content of [`HV_X64_MSR_GUEST_OS_ID`], open-source form (bit 63 set).
    pub struct GuestOsId(u64) {
        /// Build number.
        build, with_build: u16 @ 0..=15;
        /// Version.
        version, with_version: u32 @ 16..=47;
        /// OS identifier, up to its vendor.
        os_id, with_os_id: u8 @ 48..=55;
        /// OS type: Linux 1, FreeBSD 2, Xen 3, Illumos 4; others are free.
        os_type, with_os_type: u8 @ 56..=62;
        /// Open source.
        open_source, with_open_source: 63;
    }
}
