//! RAM, reached through the identity map of the boot code.

use core::ptr;

use engine::{BadAddress, PhysMem};
use tlfs::addr::{PAGE_SIZE, Spa};

use crate::boot::{MAX_REGIONS, MemoryMap, Region};
use crate::plan::{FOUR_GIB, Range};

/// [`PAGE_SIZE`] as a length.
const PAGE_BYTES: usize = 4096;
const _: () = assert!(PAGE_BYTES as u64 == PAGE_SIZE);

/// Identity-mapped where the processor has 1 GiB pages.
const MAPPED_WITH_HUGE_PAGES: u64 = 512 << 30;

/// The machine's RAM. Nothing else can be reached through it: no device, no firmware.
#[derive(Debug)]
pub struct Ram {
    ranges: [Range; MAX_REGIONS],
    len: usize,
    /// The largest of them, where nearly every access goes.
    main: Range,
}

impl Ram {
    /// The RAM of this map that the boot code mapped, but for the page at address 0, which no Rust pointer names.
    ///
    /// # Safety
    /// What the map calls RAM must be RAM, and identity-mapped and writable: up to 4 GiB, and with `huge_pages` up to
    /// 512 GiB. Whoever uses the value must not be given addresses of memory that Rust objects live in,
    /// but for those whose owner expects it.
    #[must_use]
    pub unsafe fn new(map: &MemoryMap, huge_pages: bool) -> Self {
        let limit = if huge_pages { MAPPED_WITH_HUGE_PAGES } else { FOUR_GIB };
        let mut this = Self { ranges: [Range::default(); MAX_REGIONS], len: 0, main: Range::default() };
        for region in map.regions().iter().filter(|region| region.kind == Region::RAM) {
            let range = Range { start: region.range.start.max(PAGE_SIZE), end: region.range.end.min(limit) };
            if !range.is_empty() {
                this.ranges[this.len] = range;
                this.len += 1;
                this.main = if range.len() > this.main.len() { range } else { this.main };
            }
        }
        this
    }

    /// The ranges, ascending, in whole pages.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges[..self.len]
    }

    /// Pointer to `len` bytes of RAM.
    #[inline]
    fn bytes(&self, spa: Spa, len: usize) -> Result<*mut u8, BadAddress> {
        let wanted = Range::sized(spa.0, len as u64);
        if !self.main.contains(&wanted) && !self.is_elsewhere(&wanted) {
            return Err(BadAddress);
        }
        let address = usize::try_from(spa.0).map_err(|_| BadAddress)?;
        Ok(ptr::with_exposed_provenance_mut(address))
    }

    #[cold]
    fn is_elsewhere(&self, wanted: &Range) -> bool {
        self.ranges().iter().any(|range| range.contains(wanted))
    }

    /// Pointer to an aligned word of RAM.
    fn word(&self, spa: Spa) -> Result<*mut u64, BadAddress> {
        let pointer = self.bytes(spa, size_of::<u64>())?.cast::<u64>();
        if pointer.is_aligned() { Ok(pointer) } else { Err(BadAddress) }
    }
}

impl PhysMem for Ram {
    fn read(&self, spa: Spa, buf: &mut [u8]) -> Result<(), BadAddress> {
        let source = self.bytes(spa, buf.len())?;
        // SAFETY: mapped RAM (`new`), in bounds; `buf` is a Rust object, which this RAM is not.
        unsafe { ptr::copy_nonoverlapping(source, buf.as_mut_ptr(), buf.len()) };
        Ok(())
    }

    fn write(&mut self, spa: Spa, data: &[u8]) -> Result<(), BadAddress> {
        let target = self.bytes(spa, data.len())?;
        // SAFETY: as in `read`, and writable.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), target, data.len()) };
        Ok(())
    }

    fn read_u64(&self, spa: Spa) -> Result<u64, BadAddress> {
        // SAFETY: mapped RAM, in bounds and aligned (`word`). Volatile: one access, as promised.
        Ok(unsafe { self.word(spa)?.read_volatile() })
    }

    fn write_u64(&mut self, spa: Spa, value: u64) -> Result<(), BadAddress> {
        // SAFETY: as in `read_u64`, and writable.
        unsafe { self.word(spa)?.write_volatile(value) };
        Ok(())
    }

    fn zero_page(&mut self, spa: Spa) -> Result<(), BadAddress> {
        if !spa.is_page_aligned() {
            return Err(BadAddress);
        }
        let page = self.bytes(spa, PAGE_BYTES)?;
        // SAFETY: mapped, writable RAM, in bounds.
        unsafe { page.write_bytes(0, PAGE_BYTES) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    /// Host memory under its own address. Two pages, the second of which is outside.
    fn memory() -> (vec::Vec<[u64; 512]>, Ram, u64) {
        let mut pages = vec![[0u64; 512]; 3];
        let start = (pages.as_mut_ptr().expose_provenance() as u64).next_multiple_of(PAGE_SIZE);
        let mut ram = Ram { ranges: [Range::default(); MAX_REGIONS], len: 1, main: Range::default() };
        ram.ranges[0] = Range::sized(start, PAGE_SIZE);
        (pages, ram, start)
    }

    #[test]
    fn bytes_and_words() {
        let (_pages, mut ram, start) = memory();
        assert_eq!(ram.write(Spa(start + 3), b"cordon"), Ok(()));
        let mut text = [0; 6];
        assert_eq!(ram.read(Spa(start + 3), &mut text), Ok(()));
        assert_eq!(&text, b"cordon");
        assert_eq!(ram.write_u64(Spa(start + 4088), 7), Ok(()));
        assert_eq!(ram.read_u64(Spa(start + 4088)), Ok(7));
        assert_eq!(ram.zero_page(Spa(start)), Ok(()));
        assert_eq!(ram.read_u64(Spa(start + 4088)), Ok(0));
    }

    #[test]
    fn nothing_outside_is_reached() {
        let (_pages, mut ram, start) = memory();
        let mut two = [0; 2];
        assert_eq!(ram.read(Spa(start + 4095), &mut two), Err(BadAddress));
        assert_eq!(ram.write(Spa(start - 1), &two), Err(BadAddress));
        assert_eq!(ram.read(Spa(u64::MAX), &mut two), Err(BadAddress));
        assert_eq!(ram.read_u64(Spa(start + 4)), Err(BadAddress), "not aligned");
        assert_eq!(ram.write_u64(Spa(start + 4096), 0), Err(BadAddress));
        assert_eq!(ram.zero_page(Spa(start + 8)), Err(BadAddress));
        assert_eq!(ram.zero_page(Spa(start + 4096)), Err(BadAddress));
    }
}
