//! The permission maps that decide which ports (APM 15.10) and MSRs (APM 15.11) exit. One pair is shared by all
//! roots, one by all children.

use core::ops::RangeInclusive;

/// Size of an I/O permission map: 64 Ki bits, and a third page for accesses that begin at the last ports.
pub const IO_MAP_SIZE: usize = 3 * 4096;
/// Size of an MSR permission map.
pub const MSR_MAP_SIZE: usize = 2 * 4096;

/// One bit a port; set: the access exits. The processor looks at the bits of all bytes that an access covers, also of
/// INS and OUTS, with and without REP: one of them is enough.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct IoMap([u8; IO_MAP_SIZE]);

impl IoMap {
    /// Lets all ports through.
    pub fn allow_all(&mut self) {
        self.0.fill(0);
    }

    /// Every port exits.
    pub fn deny_all(&mut self) {
        self.0.fill(0xff);
    }

    /// These ports exit.
    pub fn deny(&mut self, ports: RangeInclusive<u16>) {
        for port in ports {
            self.0[usize::from(port) / 8] |= 1 << (port % 8);
        }
    }

    /// Whether an access of `size` bytes that begins at this port exits. Behind the last port comes the third page.
    #[must_use]
    pub fn denies(&self, port: u16, size: u8) -> bool {
        let first = usize::from(port);
        (first..first + usize::from(size)).any(|bit| self.0[bit / 8] & 1 << (bit % 8) != 0)
    }
}

/// Two bits an MSR: the lower for reads, the upper for writes; set: the access exits. MSRs outside of the three
/// ranges that the map covers always exit.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct MsrMap([u8; MSR_MAP_SIZE]);

/// What an MSR permission map lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Reads.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// The MSRs that VMRUN, VMLOAD and VMSAVE switch: a guest's accesses reach its own copy.
pub const SWITCHED_MSRS: [(RangeInclusive<u32>, Passed); 4] = [
    (0x174..=0x176, Passed::ReadWrite),             // SYSENTER_CS, ESP, EIP
    (0x277..=0x277, Passed::ReadWrite),             // PAT
    (0xc000_0081..=0xc000_0084, Passed::ReadWrite), // STAR, LSTAR, CSTAR, SFMASK
    (0xc000_0100..=0xc000_0102, Passed::ReadWrite), // FS, GS and kernel GS base
];

/// Reads that tell nothing but the time. Writes of the TSC would move the reference clock of all partitions.
pub const TIME_MSRS: [(RangeInclusive<u32>, Passed); 1] = [(0x10..=0x10, Passed::Read)];

/// What only the root has: the interrupt controller (in its x2APIC form), and a view of the memory types. TSC_AUX is
/// always 0: it is not switched, and RDPID, which no intercept stops, would show a child what the root keeps there.
pub const ROOT_MSRS: [(RangeInclusive<u32>, Passed); 6] = [
    (0x1b..=0x1b, Passed::Read),               // APIC_BASE
    (0xfe..=0xfe, Passed::Read),               // MTRRcap
    (0x200..=0x20f, Passed::Read),             // variable MTRRs
    (0x2ff..=0x2ff, Passed::Read),             // MTRRdefType
    (0x800..=0x8ff, Passed::ReadWrite),        // x2APIC
    (0xc000_0103..=0xc000_0103, Passed::Read), // TSC_AUX
];

impl MsrMap {
    /// Every MSR exits.
    pub fn deny_all(&mut self) {
        self.0.fill(0xff);
    }

    /// Lets these through. MSRs that the map does not cover are left out.
    pub fn pass(&mut self, list: &[(RangeInclusive<u32>, Passed)]) {
        for (msrs, passed) in list {
            for msr in msrs.clone() {
                if let Some((byte, shift)) = position(msr) {
                    let bits = if *passed == Passed::Read { 0b01 } else { 0b11 };
                    self.0[byte] &= !(bits << shift);
                }
            }
        }
    }

    /// Whether a read, or a write, of this MSR exits.
    #[must_use]
    pub fn denies(&self, msr: u32, write: bool) -> bool {
        position(msr).is_none_or(|(byte, shift)| self.0[byte] & 1 << (shift + u32::from(write)) != 0)
    }
}

/// Byte and bit of an MSR's read bit, if the map covers it.
fn position(msr: u32) -> Option<(usize, u32)> {
    let index = match msr {
        0..=0x1fff => msr,
        0xc000_0000..=0xc000_1fff => msr - 0xc000_0000 + 0x2000,
        0xc001_0000..=0xc001_1fff => msr - 0xc001_0000 + 0x4000,
        _ => return None,
    };
    Some((index as usize / 4, index % 4 * 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    fn msr_map() -> Box<MsrMap> {
        let mut map = Box::new(MsrMap([0; MSR_MAP_SIZE]));
        map.deny_all();
        map
    }

    #[test]
    fn ports() {
        let mut map = Box::new(IoMap([0xaa; IO_MAP_SIZE]));
        map.allow_all();
        map.deny(0x3f8..=0x3ff);
        map.deny(0xf4..=0xf7);
        for port in 0..=u16::MAX {
            assert_eq!(map.denies(port, 1), matches!(port, 0x3f8..=0x3ff | 0xf4..=0xf7), "{port:#x}");
        }
        map.deny_all();
        assert!(map.denies(0, 1) && map.denies(0xffff, 1) && map.denies(0xffff, 4));
    }

    #[test]
    fn an_access_that_covers_a_denied_port_exits() {
        let mut map = Box::new(IoMap([0; IO_MAP_SIZE]));
        map.deny(0x92..=0x92);
        map.deny(0x60..=0x60);
        for (port, size, exits) in [
            (0x91, 1, false),
            (0x91, 2, true),
            (0x8f, 4, true),
            (0x8e, 4, false),
            (0x93, 4, false),
            (0x5f, 2, true),
            (0x5d, 4, true),
            (0x61, 1, false),
        ] {
            assert_eq!(map.denies(port, size), exits, "{port:#x}, {size} bytes");
        }
    }

    #[test]
    fn msrs() {
        let mut map = msr_map();
        map.pass(&SWITCHED_MSRS);
        map.pass(&TIME_MSRS);
        for msr in [0x174, 0x277, 0xc000_0082, 0xc000_0100, 0xc000_0102] {
            assert!(!map.denies(msr, false) && !map.denies(msr, true), "{msr:#x}");
        }
        assert!(!map.denies(0x10, false) && map.denies(0x10, true));
        for msr in [0x11, 0x177, 0x1b, 0x800, 0xc000_0080, 0xc000_0103, 0xc001_0117, 0x4000_0000, u32::MAX] {
            assert!(map.denies(msr, false) && map.denies(msr, true), "{msr:#x}");
        }
    }

    #[test]
    fn what_could_take_the_machine_over_is_never_passed() {
        let mut map = msr_map();
        map.pass(&SWITCHED_MSRS);
        map.pass(&TIME_MSRS);
        map.pass(&ROOT_MSRS);
        // EFER, SYSCFG, IORRs, TOP_MEM, VM_CR, SMM_CTL, VM_HSAVE_PA; writes of APIC_BASE and MTRRs.
        for msr in [0xc000_0080, 0xc001_0010, 0xc001_0016, 0xc001_001a, 0xc001_0114, 0xc001_0116, 0xc001_0117] {
            assert!(map.denies(msr, false) && map.denies(msr, true), "{msr:#x}");
        }
        assert!(map.denies(0x1b, true) && map.denies(0x200, true) && map.denies(0xc000_0103, true));
    }
}
