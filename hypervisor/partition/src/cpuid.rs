//! CPUID: the machine's, without what a partition does not have, and the hypervisor's own leaves.

use engine::{Engine, Platform, RAX, RBX, RCX, RDX};
use tlfs::cpuid::{
    HV_CPUID_FEATURES, HV_CPUID_HARDWARE, HV_CPUID_INTERFACE, HV_CPUID_LIMITS, HV_CPUID_MAX, HV_CPUID_RECOMMENDATIONS,
    HV_CPUID_VENDOR, HV_CPUID_VERSION, HV_INTERFACE_SIGNATURE, HV_VENDOR_SIGNATURE, HYPERVISOR_PRESENT, HvFeatures,
    HvHardwareFeatures,
};
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{HvMessageType, HvX64CpuidInterceptMessage};

use crate::MAX_VPS_PER_PARTITION;
use crate::dispatch::Next;
use crate::hypervisor::Hypervisor;
use crate::instruction::Instruction;
use crate::object::{Partition, ROOT};

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// Bits that a leaf loses: leaf, register, bits of any partition, further bits of a child.
///
/// Nobody has SVM (the hypervisor's), XSAVE and what needs it (only x87 and SSE state is switched), MONITOR.
/// A child has no local APIC, no performance counters, no speculation controls, no memory encryption.
const HIDDEN: &[(u32, usize, u32, u32)] = &[
    // MONITOR, FMA, XSAVE, OSXSAVE, AVX, F16C; child: DTES64, DS-CPL, VMX, SMX, EIST, TM2, PDCM, DCA, x2APIC, TSC deadline.
    (
        1,
        ECX,
        1 << 3 | 1 << 12 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29,
        1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 15 | 1 << 18 | 1 << 21 | 1 << 24,
    ),
    // Child: MCE, APIC, MTRR, MCA, DS, ACPI, HTT, TM.
    (1, EDX, 0, 1 << 7 | 1 << 9 | 1 << 12 | 1 << 14 | 1 << 21 | 1 << 22 | 1 << 28 | 1 << 29),
    // AVX2, MPX, AVX-512; child: TSC_ADJUST, SGX, HLE, PQM, RTM, PQE, PT.
    (
        7,
        EBX,
        1 << 5 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 30 | 1 << 31,
        1 << 1 | 1 << 2 | 1 << 4 | 1 << 11 | 1 << 12 | 1 << 15 | 1 << 25,
    ),
    // AVX-512, PKU, WAITPKG, CET, VAES, VPCLMUL, LA57; child: SGX LC, ENQCMD, PKS, RDPID (see RDTSCP).
    (
        7,
        ECX,
        1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 14 | 1 << 16,
        1 << 22 | 1 << 29 | 1 << 30 | 1 << 31,
    ),
    // AVX-512, UINTR, AMX, CET-IBT; child: PCONFIG, LBR, SPEC_CTRL and its kin.
    (
        7,
        EDX,
        1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 25,
        1 << 18 | 1 << 19 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 31,
    ),
    // SVM, XOP, SKINIT, LWP, FMA4, MONITORX; child: extended APIC, IBS, WDT, topology, performance counters.
    (
        0x8000_0001,
        ECX,
        1 << 2 | 1 << 11 | 1 << 12 | 1 << 15 | 1 << 16 | 1 << 29,
        1 << 3 | 1 << 10 | 1 << 13 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 26 | 1 << 27 | 1 << 28,
    ),
    // Child: MCE, APIC, MTRR, MCA, RDTSCP. TSC_AUX, which RDTSCP and RDPID read, is not switched: it is the root's.
    (0x8000_0001, EDX, 0, 1 << 7 | 1 << 9 | 1 << 12 | 1 << 14 | 1 << 27),
    // XSAVEERPTR; child: everything but CLZERO, and the number of cores.
    (0x8000_0008, EBX, 1 << 2, !1),
    (0x8000_0008, ECX, 0, u32::MAX),
];

/// Leaves of which nothing is left: for any partition.
const EMPTY_LEAVES: &[u32] = &[5, 0xd, 0x19, 0x1c, 0x1d, 0x1e, 0x24, 0x8000_000a, 0x8000_001f];
/// The same, for a child: thermal, performance, topology, cache allocation, SGX, PT and AMD's counterparts.
const EMPTY_CHILD_LEAVES: &[u32] = &[
    6,
    0xa,
    0xb,
    0xf,
    0x10,
    0x12,
    0x14,
    0x17,
    0x18,
    0x1f,
    0x8000_001b,
    0x8000_001c,
    0x8000_001e,
    0x8000_0020,
    0x8000_0022,
    0x8000_0026,
];

/// Processor features that a parent can disable: bit of `HV_PARTITION_PROCESSOR_FEATURES` bank 0 (Linux `hvhdk.h`),
/// leaf, register, bit.
const DISABLEABLE: &[(u32, u32, usize, u32)] = &[
    (0, 1, ECX, 0),
    (1, 0x8000_0001, ECX, 0),
    (2, 1, ECX, 9),
    (3, 1, ECX, 19),
    (4, 1, ECX, 20),
    (5, 0x8000_0001, ECX, 6),
    (7, 1, ECX, 23),
    (8, 1, ECX, 13),
    (9, 0x8000_0001, ECX, 4),
    (10, 0x8000_0001, ECX, 5),
    (11, 0x8000_0001, ECX, 7),
    (12, 0x8000_0001, EDX, 22),
    (13, 0x8000_0001, EDX, 31),
    (14, 0x8000_0001, EDX, 30),
    (15, 0x8000_0001, EDX, 26),
    (16, 1, ECX, 25),
    (17, 1, ECX, 1),
    (18, 1, ECX, 17),
    (21, 1, ECX, 30),
    (22, 7, EBX, 0),
    (23, 7, EBX, 7),
    (24, 7, EBX, 9),
    (25, 7, EBX, 3),
    (26, 7, EBX, 8),
    (29, 1, ECX, 22),
    (32, 7, EBX, 18),
    (33, 7, EBX, 19),
    (35, 7, EBX, 20),
    (38, 0x8000_0001, EDX, 27),
    (39, 7, EBX, 23),
    (40, 7, EBX, 24),
    (41, 7, EBX, 29),
    (43, 7, EBX, 10),
    (49, 7, EDX, 4),
    (57, 7, ECX, 22),
    (58, 7, ECX, 2),
];

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// What CPUID gives a partition's VP.
    pub(crate) fn cpuid(&self, slot: u16, partition: u16, leaf: u32, subleaf: u32) -> [u32; 4] {
        let Some(object) = self.partitions.get(usize::from(partition)) else { return [0; 4] };
        if (HV_CPUID_VENDOR..=0x4fff_ffff).contains(&leaf) {
            return self.synthetic_leaf(object, leaf);
        }
        let child = partition != ROOT;
        if EMPTY_LEAVES.contains(&leaf) || (child && EMPTY_CHILD_LEAVES.contains(&leaf)) {
            return [0; 4];
        }
        let mut result = self.platform.cpuid(leaf, subleaf);
        if leaf == 7 && subleaf > 0 {
            // Nearly all of it is AVX, AMX and CET.
            return [0; 4];
        }
        for (_, register, common, of_child) in HIDDEN.iter().filter(|row| row.0 == leaf) {
            if let Some(value) = result.get_mut(*register) {
                *value &= !(common | if child { *of_child } else { 0 });
            }
        }
        for (feature, _, register, bit) in DISABLEABLE.iter().filter(|row| row.1 == leaf) {
            if object.disabled_features[0] & (1 << feature) != 0
                && let Some(value) = result.get_mut(*register)
            {
                *value &= !(1 << bit);
            }
        }
        self.adjust(slot, child, leaf, &mut result);
        result
    }

    fn adjust(&self, slot: u16, child: bool, leaf: u32, result: &mut [u32; 4]) {
        match leaf {
            1 => {
                result[ECX] |= HYPERVISOR_PRESENT;
                if child {
                    // Initial APIC id and number of logical processors, in the high half.
                    let index = self.vp(slot).map_or(0, |vp| vp.index);
                    result[EBX] = (result[EBX] & 0xffff) | (index << 24);
                }
            }
            0x8000_0008 => result[EAX] = (result[EAX] & 0xff00) | self.physical_bits,
            _ => {}
        }
    }

    fn synthetic_leaf(&self, object: &Partition, leaf: u32) -> [u32; 4] {
        match leaf {
            HV_CPUID_VENDOR => {
                let [b, c, d] = HV_VENDOR_SIGNATURE;
                [HV_CPUID_MAX, b, c, d]
            }
            HV_CPUID_INTERFACE => [HV_INTERFACE_SIGNATURE, 0, 0, 0],
            HV_CPUID_VERSION => version(),
            HV_CPUID_FEATURES => features(object),
            // No enlightenment is recommended; never notify of long spins; the width of addresses.
            HV_CPUID_RECOMMENDATIONS => [0, u32::MAX, self.physical_bits, 0],
            HV_CPUID_LIMITS => [u32::try_from(MAX_VPS_PER_PARTITION).unwrap_or(0), 1, 0, 0],
            HV_CPUID_HARDWARE => {
                let used = HvHardwareFeatures::MSR_BITMAPS | HvHardwareFeatures::SECOND_LEVEL_ADDRESS_TRANSLATION;
                [used.bits(), 0, 0, 0]
            }
            _ => [0; 4],
        }
    }

    /// Answers CPUID and moves on.
    pub(crate) fn default_cpuid(&mut self, slot: u16, partition: u16) {
        let (leaf, subleaf) = self.cpuid_input(slot);
        let [a, b, c, d] = self.cpuid(slot, partition, leaf, subleaf);
        let gprs = &mut self.core_mut(slot).gprs;
        gprs[RAX] = u64::from(a);
        gprs[RBX] = u64::from(b);
        gprs[RCX] = u64::from(c);
        gprs[RDX] = u64::from(d);
        self.skip(slot, Instruction::Cpuid);
    }

    #[allow(clippy::cast_possible_truncation, reason = "CPUID takes the low halves")]
    fn cpuid_input(&self, slot: u16) -> (u32, u32) {
        let gprs = &self.core(slot).gprs;
        (gprs[RAX] as u32, gprs[RCX] as u32)
    }

    /// CPUID in a child: the parent's if it asked for the leaf.
    pub(crate) fn child_cpuid(&mut self, slot: u16, partition: u16) -> Next {
        let (leaf, subleaf) = self.cpuid_input(slot);
        if !self.partition(partition).is_ok_and(|object| object.intercepts.wants_cpuid(leaf)) {
            self.default_cpuid(slot, partition);
            return Next::Run;
        }
        let length = self.instruction_length(slot, Instruction::Cpuid);
        let [a, b, c, d] = self.cpuid(slot, partition, leaf, subleaf);
        let gprs = self.core(slot).gprs;
        let message = HvX64CpuidInterceptMessage {
            header: self.header(slot, length, HvInterceptAccessType::EXECUTE),
            rax: gprs[RAX],
            rcx: gprs[RCX],
            rdx: gprs[RDX],
            rbx: gprs[RBX],
            default_result_rax: u64::from(a),
            default_result_rcx: u64::from(c),
            default_result_rdx: u64::from(d),
            default_result_rbx: u64::from(b),
        };
        self.post(slot, HvMessageType::X64_CPUID_INTERCEPT, &message)
    }
}

/// Build number, major and minor version, as of this crate.
pub(crate) fn version() -> [u32; 4] {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let major = number(env!("CARGO_PKG_VERSION_MAJOR"));
    let minor = number(env!("CARGO_PKG_VERSION_MINOR"));
    [number(env!("CARGO_PKG_VERSION_PATCH")), (major << 16) | (minor & 0xffff), 0, 0]
}

/// Privileges and features of a partition.
#[allow(clippy::cast_possible_truncation, reason = "the mask goes into two registers")]
pub(crate) fn features(object: &Partition) -> [u32; 4] {
    let privileges = object.privileges.bits();
    let features = HvFeatures::XMM_FAST_INPUT | HvFeatures::FREQUENCY_MSRS | HvFeatures::HYPERCALL_MSR_LOCK;
    [privileges as u32, (privileges >> 32) as u32, 0, features.bits()]
}
