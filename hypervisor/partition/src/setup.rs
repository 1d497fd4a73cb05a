//! What the boot image hands over, and building the root partition from it.

use tlfs::addr::Spa;

use crate::frames::FrameEntry;
use crate::object::Partition;
use crate::vp::Vp;

/// A range of machine memory, in bytes, both ends page aligned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: Spa,
    /// First byte after it.
    pub end: Spa,
}

impl MemoryRange {
    /// Whether `start..end` shares a byte with this range.
    #[must_use]
    pub const fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start.0 < end && start < self.end.0
    }
}

/// The machine's memory, as the image found and divided it.
#[derive(Clone, Copy, Debug)]
pub struct MachineMemory<'m> {
    /// RAM, ascending and disjoint, the hypervisor's own included.
    pub ram: &'m [MemoryRange],
    /// What no partition may ever see: the hypervisor's image, stacks, the storage of [`Storage`], and
    /// [`MachineMemory::pool`]. Any order; may lie in RAM or not.
    pub private: &'m [MemoryRange],
    /// RAM inside a private range, free: what the root partition itself costs (its nested tables, its VP, its
    /// hypercall page) is taken from here.
    pub pool: MemoryRange,
}

/// Bounded tables that the model lives in. Their contents on entry do not matter.
#[derive(Debug)]
pub struct Storage<'a> {
    /// One entry for each 4 KiB frame from address 0 to the end of RAM ([`frames_needed`]), holes included.
    /// All zero bytes are a valid entry, so zeroed memory will do.
    pub frames: &'a mut [FrameEntry],
    /// Room for this many partitions, the root included; at most [`crate::MAX_PARTITIONS`] are used.
    pub partitions: &'a mut [Partition],
    /// Room for this many virtual processors in all. The engine must be able to hold as many:
    /// the slots it is given are indices into this table.
    pub vps: &'a mut [Vp],
}

/// Length that [`Storage::frames`] must have for this RAM.
#[must_use]
pub fn frames_needed(ram: &[MemoryRange]) -> u64 {
    ram.iter().map(|range| range.end.page_number()).max().unwrap_or(0)
}

/// Why the root partition could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// [`Storage`] is too small for the machine, or has no room for one partition and one VP.
    Storage,
    /// A range is not page aligned, is inverted, or RAM is not ascending.
    Ranges,
    /// The pool is not in RAM, not private, or too small for the root partition.
    Pool,
    /// The engine refused to make the root's VP.
    Engine,
}
