//! Is there a hypervisor, does it speak the TLFS, and may this partition do what a root does?
use core::fmt;

use tlfs::cpuid::{
    HV_CPUID_FEATURES, HV_CPUID_INTERFACE, HV_CPUID_LIMITS, HV_CPUID_VENDOR, HV_CPUID_VERSION, HV_INTERFACE_SIGNATURE,
    HYPERVISOR_PRESENT, HvFeatures,
};
use tlfs::partition::PrivilegeMask;

/// CPUID of the processor that runs this.
pub trait Cpuid {
    /// EAX, EBX, ECX, EDX.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4];
}

/// Privileges that the root cannot do without.
pub const REQUIRED: PrivilegeMask = PrivilegeMask::ACCESS_HYPERCALL_MSRS
    .union(PrivilegeMask::CREATE_PARTITIONS)
    .union(PrivilegeMask::CPU_MANAGEMENT)
    .union(PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC)
    .union(PrivilegeMask::ACCESS_FREQUENCY_REGS);

/// Privileges that make a partition a root (Linux' rule).
const ROOT: PrivilegeMask = PrivilegeMask::CREATE_PARTITIONS.union(PrivilegeMask::CPU_MANAGEMENT);

/// A hypervisor that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Its vendor string.
    pub vendor: Vendor,
    /// What this partition may do.
    pub privileges: PrivilegeMask,
    /// What it offers.
    pub features: HvFeatures,
    /// Major and minor version.
    pub version: (u16, u16),
    /// Build.
    pub build: u32,
}

/// The twelve characters by which a hypervisor names itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Vendor(pub [u8; 12]);

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0.iter().take_while(|&&byte| byte != 0) {
            let shown = if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Why this machine, or this place in it, is not one for the root. `Display` says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryError {
    /// The processor runs this without a hypervisor.
    NoHypervisor,
    /// A hypervisor that does not have the leaves of the TLFS.
    OtherHypervisor {
        /// How it names itself.
        vendor: Vendor,
    },
    /// Hyper-V leaves, but another interface than "Hv#1".
    OtherInterface {
        /// How it names itself.
        vendor: Vendor,
        /// EAX of the interface leaf.
        interface: u32,
    },
    /// The TLFS, but this partition is an ordinary guest.
    NotRoot {
        /// How it names itself.
        vendor: Vendor,
        /// What a root has and this partition has not.
        missing: PrivilegeMask,
    },
    /// A root, but without something that is needed.
    Missing {
        /// How it names itself.
        vendor: Vendor,
        /// Which.
        missing: PrivilegeMask,
    },
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHypervisor => f.write_str(
                "no hypervisor: CPUID leaf 1 says that there is none. \
                 This image is a root partition; start cordon-hypervisor with it in its bundle (`cargo xtask run`)",
            ),
            Self::OtherHypervisor { vendor } => write!(
                f,
                "the hypervisor \"{vendor}\" does not offer the Hyper-V interface (CPUID leaves 0x40000000 to 0x40000005). \
                 Start cordon-hypervisor on the machine itself, or on nested virtualization",
            ),
            Self::OtherInterface { vendor, interface } => write!(
                f,
                "the hypervisor \"{vendor}\" offers interface {interface:#x} in CPUID leaf 0x40000001, not \"Hv#1\" ({HV_INTERFACE_SIGNATURE:#x})",
            ),
            Self::NotRoot { vendor, missing } => {
                write!(f, "started as an ordinary guest of \"{vendor}\": CPUID leaf 0x40000003 withholds ")?;
                write_names(f, *missing)?;
                f.write_str(". This image must be the root partition, which creates and runs the others")
            }
            Self::Missing { vendor, missing } => {
                write!(f, "the hypervisor \"{vendor}\" gives this root partition no ")?;
                write_names(f, *missing)?;
                f.write_str(" (CPUID leaf 0x40000003)")
            }
        }
    }
}

impl core::error::Error for DiscoveryError {}

/// The specification's names of the privileges that are looked for here.
fn write_names(f: &mut fmt::Formatter<'_>, privileges: PrivilegeMask) -> fmt::Result {
    const NAMES: [(PrivilegeMask, &str); 5] = [
        (PrivilegeMask::CREATE_PARTITIONS, "CreatePartitions (EBX bit 0)"),
        (PrivilegeMask::CPU_MANAGEMENT, "CpuManagement (EBX bit 12)"),
        (PrivilegeMask::ACCESS_HYPERCALL_MSRS, "AccessHypercallMsrs (EAX bit 5)"),
        (PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC, "AccessPartitionReferenceTsc (EAX bit 9)"),
        (PrivilegeMask::ACCESS_FREQUENCY_REGS, "AccessFrequencyRegs (EAX bit 11)"),
    ];
    let mut between = "";
    for (privilege, name) in NAMES {
        if privileges.contains(privilege) {
            write!(f, "{between}{name}")?;
            between = ", ";
        }
    }
    Ok(())
}

/// Looks for a hypervisor under which the root can work.
///
/// # Errors
/// [`DiscoveryError`]: the first thing that is not as it must be.
pub fn discover(cpu: &impl Cpuid) -> Result<Discovered, DiscoveryError> {
    if cpu.cpuid(1, 0)[2] & HYPERVISOR_PRESENT == 0 {
        return Err(DiscoveryError::NoHypervisor);
    }
    let [highest, b, c, d] = cpu.cpuid(HV_CPUID_VENDOR, 0);
    let vendor = vendor([b, c, d]);
    // Hypervisors with other interfaces use the same leaves (KVM's ends at 0x40000001).
    if !(HV_CPUID_LIMITS..=HV_CPUID_VENDOR + 0xffff).contains(&highest) {
        return Err(DiscoveryError::OtherHypervisor { vendor });
    }
    let interface = cpu.cpuid(HV_CPUID_INTERFACE, 0)[0];
    if interface != HV_INTERFACE_SIGNATURE {
        return Err(DiscoveryError::OtherInterface { vendor, interface });
    }
    let [low, high, _, features] = cpu.cpuid(HV_CPUID_FEATURES, 0);
    let privileges = PrivilegeMask(u64::from(low) | u64::from(high) << 32);
    let missing = REQUIRED.difference(privileges);
    if missing.intersects(ROOT) {
        return Err(DiscoveryError::NotRoot { vendor, missing: missing.intersection(ROOT) });
    }
    if !missing.is_empty() {
        return Err(DiscoveryError::Missing { vendor, missing });
    }
    let [build, version, ..] = cpu.cpuid(HV_CPUID_VERSION, 0);
    let [minor_low, minor_high, major_low, major_high] = version.to_le_bytes();
    let version = (u16::from_le_bytes([major_low, major_high]), u16::from_le_bytes([minor_low, minor_high]));
    Ok(Discovered { vendor, privileges, features: HvFeatures(features), version, build })
}

fn vendor(registers: [u32; 3]) -> Vendor {
    let mut name = [0; 12];
    for (chunk, register) in name.chunks_exact_mut(4).zip(registers) {
        chunk.copy_from_slice(&register.to_le_bytes());
    }
    Vendor(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use tlfs::cpuid::HV_VENDOR_SIGNATURE;

    struct Machine(BTreeMap<u32, [u32; 4]>);

    impl Cpuid for Machine {
        fn cpuid(&self, leaf: u32, _: u32) -> [u32; 4] {
            self.0.get(&leaf).copied().unwrap_or_default()
        }
    }

    /// A machine on which everything is there.
    fn good() -> Machine {
        let [b, c, d] = HV_VENDOR_SIGNATURE;
        let privileges = REQUIRED.bits().to_le_bytes();
        let half = |at: usize| u32::from_le_bytes(privileges[at..at + 4].try_into().unwrap());
        Machine(BTreeMap::from([
            (1, [0, 0, HYPERVISOR_PRESENT, 0]),
            (HV_CPUID_VENDOR, [0x4000_000a, b, c, d]),
            (HV_CPUID_INTERFACE, [HV_INTERFACE_SIGNATURE, 0, 0, 0]),
            (HV_CPUID_VERSION, [7, 10 << 16 | 3, 0, 0]),
            (HV_CPUID_FEATURES, [half(0), half(4), 0, HvFeatures::XMM_FAST_INPUT.bits()]),
        ]))
    }

    fn complaint(change: impl FnOnce(&mut BTreeMap<u32, [u32; 4]>)) -> (DiscoveryError, String) {
        let mut machine = good();
        change(&mut machine.0);
        let error = discover(&machine).unwrap_err();
        (error, error.to_string())
    }

    #[test]
    fn a_root_partition_is_found() {
        let found = discover(&good()).unwrap();
        assert_eq!(found.vendor.to_string(), "Microsoft Hv");
        assert_eq!((found.version, found.build), ((10, 3), 7));
        assert_eq!(found.features, HvFeatures::XMM_FAST_INPUT);
    }

    #[test]
    fn no_hypervisor() {
        let (error, text) = complaint(|leaves| leaves.clear());
        assert_eq!(error, DiscoveryError::NoHypervisor);
        assert!(text.contains("cordon-hypervisor"));
    }

    #[test]
    fn another_vendors_hypervisor() {
        let signature = [u32::from_le_bytes(*b"KVMK"), u32::from_le_bytes(*b"VMKV"), u32::from_le_bytes(*b"M\0\0\0")];
        let [b, c, d] = signature;
        let (error, text) = complaint(|leaves| {
            leaves.insert(HV_CPUID_VENDOR, [0x4000_0001, b, c, d]);
        });
        assert!(matches!(error, DiscoveryError::OtherHypervisor { .. }));
        assert!(text.contains("\"KVMKVMKVM\""), "{text}");
        let (error, _) = complaint(|leaves| {
            leaves.insert(HV_CPUID_VENDOR, [0xffff_ffff, 0, 1, 2]);
        });
        assert!(matches!(error, DiscoveryError::OtherHypervisor { .. }));
    }

    #[test]
    fn another_interface() {
        let (error, text) = complaint(|leaves| {
            leaves.insert(HV_CPUID_INTERFACE, [0x1234, 0, 0, 0]);
        });
        assert!(matches!(error, DiscoveryError::OtherInterface { interface: 0x1234, .. }));
        assert!(text.contains("0x1234"));
    }

    #[test]
    fn an_ordinary_guest() {
        let (error, text) = complaint(|leaves| {
            leaves.get_mut(&HV_CPUID_FEATURES).unwrap()[1] = 0;
        });
        assert!(matches!(error, DiscoveryError::NotRoot { missing, .. } if missing == ROOT));
        assert!(
            text.contains("ordinary guest") && text.contains("CreatePartitions (EBX bit 0), CpuManagement"),
            "{text}"
        );
        let (error, _) = complaint(|leaves| {
            leaves.get_mut(&HV_CPUID_FEATURES).unwrap()[1] &= !1;
        });
        assert!(
            matches!(error, DiscoveryError::NotRoot { missing, .. } if missing == PrivilegeMask::CREATE_PARTITIONS)
        );
    }

    #[test]
    fn a_root_that_lacks_something() {
        let (error, text) = complaint(|leaves| {
            leaves.get_mut(&HV_CPUID_FEATURES).unwrap()[0] &= !(1 << 5);
        });
        assert!(matches!(error, DiscoveryError::Missing { .. }));
        assert!(text.contains("AccessHypercallMsrs (EAX bit 5)"), "{text}");
    }
}
