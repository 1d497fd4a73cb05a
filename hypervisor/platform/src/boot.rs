//! What the boot loader tells: the PVH start info, copied out before any memory is reused.

use pvh::start_info::reader::StartInfoReader;
use pvh::start_info::{MemmapTableEntry, MemmapType, START_MAGIC_VALUE};

use crate::plan::Range;

/// The most entries of a memory map.
pub const MAX_REGIONS: usize = 64;
/// The longest command line, in bytes.
pub const MAX_COMMAND_LINE: usize = 2048;

/// One entry of the memory map, as the loader gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// Where.
    pub range: Range,
    /// `XEN_HVM_MEMMAP_TYPE_*`.
    pub kind: u32,
}

impl Region {
    /// Usable RAM.
    pub const RAM: u32 = 1;
    /// Not to be used.
    pub const RESERVED: u32 = 2;
}

/// A memory map of bounded size.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap {
    regions: [Region; MAX_REGIONS],
    len: usize,
}

impl MemoryMap {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { regions: [Region { range: Range { start: 0, end: 0 }, kind: 0 }; MAX_REGIONS], len: 0 }
    }

    /// Adds an entry. An empty one is left out.
    ///
    /// # Errors
    /// [`BootError::MemoryMap`] if there is no room.
    pub fn push(&mut self, region: Region) -> Result<(), BootError> {
        if region.range.is_empty() {
            return Ok(());
        }
        *self.regions.get_mut(self.len).ok_or(BootError::MemoryMap)? = region;
        self.len += 1;
        Ok(())
    }

    /// The entries.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.len]
    }

    /// The same map with `reserved` taken out of RAM and marked as such.
    ///
    /// # Errors
    /// [`BootError::MemoryMap`] if there is no room.
    pub fn reserving(&self, reserved: &[Range]) -> Result<Self, BootError> {
        let mut map = *self;
        for hole in reserved {
            let mut next = Self::new();
            for region in map.regions() {
                next.push_without(*region, hole)?;
            }
            next.push(Region { range: *hole, kind: Region::RESERVED })?;
            map = next;
        }
        map.sort();
        Ok(map)
    }

    fn push_without(&mut self, region: Region, hole: &Range) -> Result<(), BootError> {
        if region.kind != Region::RAM || !region.range.overlaps(hole) {
            return self.push(region);
        }
        self.push(Region { range: Range { end: hole.start, ..region.range }, ..region })?;
        self.push(Region { range: Range { start: hole.end, ..region.range }, ..region })
    }

    fn sort(&mut self) {
        self.regions[..self.len].sort_unstable_by_key(|region| region.range.start);
    }
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the loader's information cannot be used. The text is what the user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// Not entered by PVH.
    StartInfo,
    /// No memory map, one with too many entries, or one that contradicts itself.
    MemoryMap,
    /// A command line that is too long.
    CommandLine,
}

impl core::fmt::Display for BootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::StartInfo => "the boot loader gave no PVH start info",
            Self::MemoryMap => "the boot loader's memory map is missing, too long or contradictory",
            Self::CommandLine => "the command line is too long",
        })
    }
}

/// The loader's information, copied.
#[derive(Clone, Debug)]
pub struct BootInfo {
    /// The memory map, ascending.
    pub memory: MemoryMap,
    /// Module 0: the bundle.
    pub module: Option<Range>,
    /// The ACPI root pointer, or 0.
    pub rsdp: u64,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_len: usize,
}

impl BootInfo {
    /// Copies what the loader left at `start_info`.
    ///
    /// # Safety
    /// `start_info` must be what the PVH entry was given, nothing of it overwritten since, and its memory
    /// identity-mapped.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub unsafe fn read(start_info: u64) -> Result<Self, BootError> {
        let address = u32::try_from(start_info).map_err(|_| BootError::StartInfo)?;
        // SAFETY: the caller vouches for the structure and the mapping.
        let reader = unsafe { StartInfoReader::from_paddr_identity(address) }.ok_or(BootError::StartInfo)?;
        if reader.raw().magic != START_MAGIC_VALUE {
            return Err(BootError::StartInfo);
        }
        let line = reader.cmdline().map_or(&[][..], |line| line.to_bytes());
        let mut command_line = [0; MAX_COMMAND_LINE];
        command_line.get_mut(..line.len()).ok_or(BootError::CommandLine)?.copy_from_slice(line);
        Ok(Self {
            memory: memory_map(reader.memmap())?,
            module: reader.modlist().next().map(|module| Range::sized(module.raw().paddr, module.raw().size)),
            rsdp: reader.raw().rsdp_paddr,
            command_line,
            command_line_len: line.len(),
        })
    }

    /// The command line.
    #[must_use]
    pub fn command_line(&self) -> &[u8] {
        &self.command_line[..self.command_line_len]
    }

    /// Whether the command line has this word.
    #[must_use]
    pub fn has_option(&self, word: &str) -> bool {
        self.command_line().split(u8::is_ascii_whitespace).any(|part| part == word.as_bytes())
    }
}

/// Sorts the loader's map; RAM is shrunk to whole pages and must not overlap itself.
fn memory_map(entries: &[MemmapTableEntry]) -> Result<MemoryMap, BootError> {
    let mut map = MemoryMap::new();
    for entry in entries {
        let range = Range::sized(entry.addr, entry.size);
        let range = if entry.ty == u32::from(MemmapType::Ram) { range.shrink_to_pages() } else { range };
        map.push(Region { range, kind: entry.ty })?;
    }
    map.sort();
    let ram = || map.regions().iter().filter(|region| region.kind == Region::RAM);
    let disjoint = ram().zip(ram().skip(1)).all(|(low, high)| low.range.end <= high.range.start);
    if ram().next().is_none() || !disjoint {
        return Err(BootError::MemoryMap);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(addr: u64, size: u64, ty: u32) -> MemmapTableEntry {
        MemmapTableEntry { addr, size, ty, reserved: 0 }
    }

    fn region(start: u64, end: u64, kind: u32) -> Region {
        Region { range: Range { start, end }, kind }
    }

    #[test]
    fn the_map_is_sorted_and_ram_is_whole_pages() {
        let map = memory_map(&[entry(0x10_0000, 0x10_0800, 1), entry(0, 0x9_fc00, 1), entry(0x9_fc00, 0x400, 2)]);
        let expected = [region(0, 0x9_f000, 1), region(0x9_fc00, 0xa_0000, 2), region(0x10_0000, 0x20_0000, 1)];
        assert_eq!(map.map(|map| map.regions().to_vec()), Ok(expected.to_vec()));
    }

    #[test]
    fn a_map_without_ram_or_with_too_much_is_refused() {
        assert_eq!(memory_map(&[]).err(), Some(BootError::MemoryMap));
        assert_eq!(memory_map(&[entry(0, 0x1000, 2)]).err(), Some(BootError::MemoryMap));
        let overlapping = [entry(0, 0x3000, 1), entry(0x2000, 0x2000, 1)];
        assert_eq!(memory_map(&overlapping).err(), Some(BootError::MemoryMap));
        assert_eq!(memory_map(&[entry(0, 0x1000, 2); MAX_REGIONS + 1]).err(), Some(BootError::MemoryMap));
    }

    #[test]
    fn the_end_of_the_address_space_is_survived() {
        let map = memory_map(&[entry(0, 0x1000, 1), entry(u64::MAX, u64::MAX, 1), entry(u64::MAX - 5, 9, 2)]);
        assert_eq!(map.map(|map| map.regions().len()), Ok(2));
    }

    #[test]
    fn reserving_cuts_ram() {
        let map = memory_map(&[entry(0, 0x10_0000, 1), entry(0x20_0000, 0x1000, 2)]).unwrap_or_default();
        let holes = [Range { start: 0x1000, end: 0x2000 }, Range { start: 0xf_0000, end: 0x10_0000 }];
        let expected = [
            region(0, 0x1000, 1),
            region(0x1000, 0x2000, 2),
            region(0x2000, 0xf_0000, 1),
            region(0xf_0000, 0x10_0000, 2),
            region(0x20_0000, 0x20_1000, 2),
        ];
        assert_eq!(map.reserving(&holes).map(|map| map.regions().to_vec()), Ok(expected.to_vec()));
    }
}
