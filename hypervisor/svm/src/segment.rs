//! Segment registers between the two ways of writing their attributes: 12 bits packed in the VMCB, and the
//! descriptor's own 16 bits, with the limit's four left out, in the TLFS.

use tlfs::register::{HvX64SegmentAttributes, HvX64SegmentRegister};

use crate::vmcb::VmcbSegment;

const CODE: u16 = 1 << 3;
const CONFORMING: u16 = 1 << 2;
const NON_SYSTEM: u16 = 1 << 4;
const LONG: u16 = 1 << 9;
const BIG: u16 = 1 << 10;

/// A VMCB segment as the TLFS has it: AVL, L, D and G move from bits 11:8 to 15:12.
#[must_use]
pub const fn to_tlfs(segment: &VmcbSegment) -> HvX64SegmentRegister {
    let packed = segment.attributes;
    HvX64SegmentRegister {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        attributes: HvX64SegmentAttributes(packed & 0xff | (packed & 0xf00) << 4),
    }
}

/// A segment register of the TLFS as the VMCB has it. The attributes' reserved bits are lost.
#[must_use]
pub const fn from_tlfs(segment: HvX64SegmentRegister) -> VmcbSegment {
    let attributes = segment.attributes.0;
    VmcbSegment {
        selector: segment.selector,
        attributes: attributes & 0xff | (attributes & 0xf000) >> 4,
        limit: segment.limit,
        base: segment.base,
    }
}

/// Descriptor privilege level of VMCB attributes.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "two bits")]
pub const fn dpl(attributes: u16) -> u8 {
    (attributes >> 5 & 3) as u8
}

/// A conforming code segment: its DPL says nothing of the CPL.
#[must_use]
pub const fn is_conforming(attributes: u16) -> bool {
    const MASK: u16 = NON_SYSTEM | CODE | CONFORMING;
    attributes & MASK == MASK
}

/// Both 64-bit and 32-bit: a combination that VMRUN refuses in long mode.
#[must_use]
pub const fn is_long_and_big(attributes: u16) -> bool {
    attributes & (LONG | BIG) == LONG | BIG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_the_way_there_and_back() {
        // A 64-bit code segment: descriptor 0x00af9b…, attributes a09b in the TLFS, a9b in the VMCB.
        let code = VmcbSegment { selector: 8, attributes: 0xa9b, limit: u32::MAX, base: 0 };
        let tlfs = to_tlfs(&code);
        assert_eq!(tlfs.attributes.0, 0xa09b);
        assert!(tlfs.attributes.long() && tlfs.attributes.granularity() && !tlfs.attributes.default());
        assert_eq!(from_tlfs(tlfs), code);
        for attributes in 0..0x1000 {
            let segment = VmcbSegment { attributes, ..code };
            assert_eq!(from_tlfs(to_tlfs(&segment)), segment);
        }
    }

    #[test]
    fn reserved_attribute_bits_are_dropped() {
        let odd = HvX64SegmentRegister { attributes: HvX64SegmentAttributes(0xff93), ..Default::default() };
        assert_eq!(from_tlfs(odd).attributes, 0xf93);
    }

    #[test]
    fn kinds() {
        assert_eq!(dpl(0xafb), 3);
        assert_eq!(dpl(0xa9b), 0);
        assert!(is_conforming(0xc9f) && !is_conforming(0xc9b) && !is_conforming(0xc97));
        assert!(is_long_and_big(0xe9b) && !is_long_and_big(0xa9b) && !is_long_and_big(0xc9b));
    }
}
