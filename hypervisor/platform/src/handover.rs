//! The PVH start info of the root: the loader's, with the hypervisor's memory taken out and the payload as module 0.

use pvh::start_info::START_MAGIC_VALUE;

use crate::boot::{MAX_COMMAND_LINE, MAX_REGIONS, MemoryMap};
use crate::plan::Range;

/// Where the root finds it.
pub const ADDRESS: u64 = 0x7000;

const START_INFO: usize = 0;
const START_INFO_SIZE: usize = 56;
const MODULE: usize = 64;
const MODULE_SIZE: usize = 32;
const REGIONS: usize = 96;
const REGION_SIZE: usize = 24;
const COMMAND_LINE: usize = REGIONS + MAX_REGIONS * REGION_SIZE;
/// Room for the command line and the zero that ends it.
const SIZE: usize = COMMAND_LINE + MAX_COMMAND_LINE + 1;

const _: () = assert!(START_INFO + START_INFO_SIZE <= MODULE && MODULE + MODULE_SIZE <= REGIONS);

/// The start info and all that it points at, as bytes for [`ADDRESS`].
#[derive(Clone, Debug)]
pub struct Handover([u8; SIZE]);

impl Handover {
    /// What the root is told.
    #[must_use]
    pub fn new(memory: &MemoryMap, payload: Range, command_line: &[u8], rsdp: u64) -> Self {
        let mut this = Self([0; SIZE]);
        this.start_info(memory, rsdp);
        this.put(MODULE, &payload.start.to_le_bytes());
        this.put(MODULE + 8, &payload.len().to_le_bytes());
        for (index, region) in memory.regions().iter().enumerate() {
            let at = REGIONS + index * REGION_SIZE;
            this.put(at, &region.range.start.to_le_bytes());
            this.put(at + 8, &region.range.len().to_le_bytes());
            this.put(at + 16, &region.kind.to_le_bytes());
        }
        this.put(COMMAND_LINE, command_line.get(..MAX_COMMAND_LINE).unwrap_or(command_line));
        this
    }

    /// `hvm_start_info`, version 1.
    fn start_info(&mut self, memory: &MemoryMap, rsdp: u64) {
        let entries = u32::try_from(memory.regions().len()).unwrap_or(0);
        self.put(0, &START_MAGIC_VALUE.to_le_bytes());
        self.put(4, &1u32.to_le_bytes());
        self.put(12, &1u32.to_le_bytes());
        self.put(16, &(ADDRESS + MODULE as u64).to_le_bytes());
        self.put(24, &(ADDRESS + COMMAND_LINE as u64).to_le_bytes());
        self.put(32, &rsdp.to_le_bytes());
        self.put(40, &(ADDRESS + REGIONS as u64).to_le_bytes());
        self.put(48, &entries.to_le_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The memory that they take at [`ADDRESS`], in whole pages.
    #[must_use]
    pub const fn range() -> Range {
        Range::sized(ADDRESS, SIZE as u64).grow_to_pages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::Region;
    use core::alloc::Layout;
    use pvh::start_info::reader::{MemMap, StartInfoReader};
    use std::vec::Vec;

    /// Host memory that stands for the memory at [`ADDRESS`].
    struct At(*const u8);

    impl MemMap for At {
        fn ptr(&self, address: usize, _: Layout) -> *const u8 {
            self.0.wrapping_add(address - 0x7000)
        }
    }

    #[test]
    fn a_reader_finds_everything() {
        let mut map = MemoryMap::new();
        for (index, kind) in (0..MAX_REGIONS as u64).zip([1, 2].into_iter().cycle()) {
            let region = Region { range: Range::sized(index << 20, 1 << 19), kind };
            assert_eq!(map.push(region), Ok(()));
        }
        let payload = Range::sized(0x500_0000, 12_345);
        let line = [b'x'; MAX_COMMAND_LINE];
        let handover = Handover::new(&map, payload, &line, 0xf_5678);
        let mut words: Vec<u64> = Vec::new();
        for chunk in handover.bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            words.push(u64::from_le_bytes(word));
        }
        // SAFETY: the structure and all that it points at lie in `words`, which is aligned and lives on.
        let reader = unsafe { StartInfoReader::from_paddr(0x7000, At(words.as_ptr().cast())) };
        let reader = reader.expect("there is an address");
        assert_eq!(reader.raw().magic, START_MAGIC_VALUE);
        assert_eq!(reader.raw().rsdp_paddr, 0xf_5678);
        assert_eq!(reader.cmdline().map(core::ffi::CStr::to_bytes), Some(&line[..]));
        let modules: Vec<_> = reader.modlist().map(|module| (module.raw().paddr, module.raw().size)).collect();
        assert_eq!(modules, [(payload.start, payload.len())]);
        let regions = reader.memmap().iter().map(|entry| (entry.addr, entry.size, entry.ty));
        assert!(regions.eq(map.regions().iter().map(|region| (region.range.start, region.range.len(), region.kind))));
    }

    #[test]
    fn it_fits_low_memory() {
        assert!(Handover::range().end <= 0x9_f000);
        assert_eq!(Handover::range().start, ADDRESS);
    }
}
