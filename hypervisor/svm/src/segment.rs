//! Segment registers between the two ways of writing their attributes: 12 bits packed in the VMCB, and the
//! descriptor's own 16 bits, with the limit's four left out, in the TLFS.

use engine::RegisterError;
use tlfs::register::HvX64SegmentRegister;

use crate::vmcb::VmcbSegment;

/// VMCB attribute bit: 64-bit code (descriptor bit 53).
const LONG: u16 = 1 << 9;
/// VMCB attribute bit: default operand size (descriptor bit 54).
const DEFAULT_BIG: u16 = 1 << 10;

/// TLFS attributes (type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D 14, G 15) of the VMCB's (the latter four at 11:8).
#[must_use]
pub const fn attributes_to_tlfs(packed: u16) -> u16 {
    packed & 0xff | (packed & 0xf00) << 4
}

/// The VMCB's attributes of the TLFS'; the reserved bits 11:8 are lost.
#[must_use]
pub const fn attributes_from_tlfs(attributes: u16) -> u16 {
    attributes & 0xff | (attributes & 0xf000) >> 4
}

/// DPL of VMCB attributes.
#[must_use]
pub const fn dpl(attributes: u16) -> u8 {
    ((attributes >> 5) & 3) as u8
}

/// A VMCB segment as the TLFS has it.
#[must_use]
pub fn to_tlfs(segment: &VmcbSegment) -> HvX64SegmentRegister {
    HvX64SegmentRegister {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        attributes: attributes_to_tlfs(segment.attributes).into(),
    }
}
