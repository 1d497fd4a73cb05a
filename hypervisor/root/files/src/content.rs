//! The bytes of a file in the upper layer: written pages over a view of the lower file, holes elsewhere.
//!
//! A page that exists holds all of its bytes. Where none exists, the lower file shows through as far as it is still
//! visible (truncation shortens the view for good), and behind it are zeros. Bytes of a page beyond the end of
//! the file are zero, so that a file that grows again shows zeros there.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::Errno;
use crate::usage::Usage;

/// Unit of storage in bytes.
pub(crate) const PAGE_SIZE: usize = 4096;
pub(crate) const PAGE: u64 = PAGE_SIZE as u64;
/// Largest length of a file, as Linux has it (`MAX_LFS_FILESIZE`).
pub(crate) const MAX_SIZE: u64 = i64::MAX as u64;

static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

type Page = Box<[u8; PAGE_SIZE]>;

#[derive(Debug, Default)]
pub(crate) struct Content<'t> {
    /// What still shows of the lower file, from its start.
    base: &'t [u8],
    pages: BTreeMap<u64, Page>,
    size: u64,
}

impl<'t> Content<'t> {
    /// A file with the bytes of a lower one.
    pub(crate) fn over(base: &'t [u8]) -> Self {
        Self { base, pages: BTreeMap::new(), size: base.len() as u64 }
    }

    /// Are these still the `len` bytes of the lower file?
    pub(crate) fn is_untouched(&self, len: usize) -> bool {
        self.pages.is_empty() && self.base.len() == len && self.size == len as u64
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Storage in units of 512 bytes; an upper bound where pages cover lower ones.
    pub(crate) fn blocks(&self) -> u64 {
        let stored = self.base_pages() + self.pages.len() as u64;
        stored.min(self.size.div_ceil(PAGE).max(self.pages.len() as u64)) * (PAGE / 512)
    }

    /// Hands the bytes from `offset` on, at most `len`, to `sink` in runs, without copying. Returns how many it took:
    /// less than asked for at the end of the file, or where `sink` failed after some.
    pub(crate) fn read(
        &self,
        offset: u64,
        len: usize,
        mut sink: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let end = self.size.min(offset.saturating_add(len as u64));
        let mut at = offset;
        while at < end {
            let run = self.run(at..end);
            match sink(run) {
                Err(error) if at == offset => return Err(error),
                Err(_) => break,
                Ok(()) => at += run.len() as u64,
            }
        }
        Ok(to_usize(at - offset))
    }

    /// The longest run of bytes at the start of `range` that lie together: never empty unless `range` is.
    fn run(&self, range: Range<u64>) -> &[u8] {
        let within = to_usize(range.start % PAGE);
        let in_page = PAGE_SIZE.min(within.saturating_add(to_usize(range.end - range.start)));
        if let Some(page) = self.pages.get(&(range.start / PAGE)) {
            return page.get(within..in_page).unwrap_or(&[]);
        }
        if range.start < self.base.len() as u64 {
            return self.base.get(to_usize(range.start)..to_usize(self.base_run_end(&range))).unwrap_or(&[]);
        }
        ZEROS.get(within..in_page).unwrap_or(&[])
    }

    /// Up to where the lower file shows through from the start of `range`.
    fn base_run_end(&self, range: &Range<u64>) -> u64 {
        let end = range.end.min(self.base.len() as u64);
        match self.pages.range(range.start / PAGE..).next() {
            Some((page, _)) => end.min(page.saturating_mul(PAGE)),
            None => end,
        }
    }

    /// Lets `fill` write up to `len` bytes from `offset` on straight into the file's pages, in pieces. Returns how many
    /// were written: less than `len` where the space ended or `fill` failed after some.
    pub(crate) fn write(
        &mut self,
        offset: u64,
        len: usize,
        usage: &mut Usage,
        mut fill: impl FnMut(&mut [u8]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let end = offset.saturating_add(len as u64).min(MAX_SIZE);
        if len > 0 && offset >= MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let mut at = offset;
        while at < end {
            let upto = end.min((at / PAGE + 1).saturating_mul(PAGE));
            match self.write_in_page(at..upto, usage, &mut fill) {
                Err(error) if at == offset => return Err(error),
                Err(_) => break,
                Ok(()) => at = upto,
            }
            self.size = self.size.max(at);
        }
        Ok(to_usize(at - offset))
    }

    fn write_in_page(
        &mut self,
        range: Range<u64>,
        usage: &mut Usage,
        fill: &mut impl FnMut(&mut [u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let size = self.size;
        let page = self.page_mut(range.start / PAGE, usage)?;
        let within = to_usize(range.start % PAGE);
        let target = page.get_mut(within..within + to_usize(range.end - range.start)).ok_or(Errno::EINVAL)?;
        let result = fill(target);
        if result.is_err() {
            // What was filled of it lies beyond the end of the file, perhaps: it must not show up when the file grows.
            let kept = to_usize(size.saturating_sub(range.start)).min(target.len());
            target.iter_mut().skip(kept).for_each(|byte| *byte = 0);
        }
        result
    }

    /// The page with this number, made from what showed there if there was none.
    fn page_mut(&mut self, number: u64, usage: &mut Usage) -> Result<&mut [u8; PAGE_SIZE], Errno> {
        use alloc::collections::btree_map::Entry;
        match self.pages.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                usage.charge_bytes(PAGE)?;
                let Some(mut page) = zeroed_page() else {
                    usage.refund_bytes(PAGE);
                    return Err(Errno::ENOSPC);
                };
                let below = self.base.get(to_usize(number.saturating_mul(PAGE))..).unwrap_or(&[]);
                match below.first_chunk() {
                    Some(below) => *page = *below,
                    None => page.iter_mut().zip(below).for_each(|(to, from)| *to = *from),
                }
                Ok(entry.insert(page))
            }
        }
    }

    /// Cuts the file or lets it grow by a hole.
    pub(crate) fn resize(&mut self, size: u64, usage: &mut Usage) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        if size < self.size {
            let dropped = self.pages.split_off(&size.div_ceil(PAGE));
            usage.refund_bytes(dropped.len() as u64 * PAGE);
            if let Some(page) = self.pages.get_mut(&(size / PAGE)) {
                page.iter_mut().skip(to_usize(size % PAGE)).for_each(|byte| *byte = 0);
            }
            self.base = self.base.get(..to_usize(size)).unwrap_or(self.base);
        }
        self.size = size;
        Ok(())
    }

    /// Makes sure that writing `len` bytes at `offset` cannot run out of space, and, unless `keep_size`, lets the file
    /// reach that far.
    pub(crate) fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, usage: &mut Usage) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|end| *end <= MAX_SIZE).ok_or(Errno::EFBIG)?;
        let numbers = offset / PAGE..end.div_ceil(PAGE);
        let missing = (numbers.end - numbers.start).saturating_sub(self.pages.range(numbers.clone()).count() as u64);
        if missing > usage.bytes_free() / PAGE {
            return Err(Errno::ENOSPC);
        }
        for number in numbers {
            self.page_mut(number, usage)?;
        }
        if !keep_size {
            self.size = self.size.max(end);
        }
        Ok(())
    }

    /// ENOSPC unless all pages with these numbers could be made.
    fn check_space(&self, numbers: &Range<u64>, usage: &Usage) -> Result<(), Errno> {
        let there = self.pages.range(numbers.clone()).count() as u64;
        let missing = (numbers.end - numbers.start).saturating_sub(there);
        if missing > usage.bytes_free() / PAGE { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// Turns a range into zeros, giving pages back where that is possible. Lower bytes have to be covered by pages.
    pub(crate) fn punch(&mut self, offset: u64, len: u64, usage: &mut Usage) -> Result<(), Errno> {
        let range = offset..offset.saturating_add(len);
        let covered = offset / PAGE..range.end.div_ceil(PAGE);
        let over_base = covered.start.min(self.base_pages())..covered.end.min(self.base_pages());
        self.check_space(&over_base, usage)?;
        for number in over_base {
            self.zero_part(number, &range, usage)?;
        }
        let beyond = self.pages.range(covered.start.max(self.base_pages())..).map(|(&number, _)| number);
        let beyond: Vec<u64> = beyond.take_while(|number| *number < covered.end).collect();
        for number in beyond {
            if range.start <= number * PAGE && (number + 1).saturating_mul(PAGE) <= range.end {
                self.pages.remove(&number);
                usage.refund_bytes(PAGE);
            } else {
                self.zero_part(number, &range, usage)?;
            }
        }
        Ok(())
    }

    /// Zeroes what `range` covers of one page.
    fn zero_part(&mut self, number: u64, range: &Range<u64>, usage: &mut Usage) -> Result<(), Errno> {
        let start = number.saturating_mul(PAGE);
        let from = to_usize(range.start.saturating_sub(start)).min(PAGE_SIZE);
        let to = to_usize(range.end.saturating_sub(start)).min(PAGE_SIZE);
        let page = self.page_mut(number, usage)?;
        if let Some(part) = page.get_mut(from..to) {
            part.fill(0);
        }
        Ok(())
    }

    /// The first byte at or after `offset` that is stored.
    pub(crate) fn next_data(&self, offset: u64) -> Result<u64, Errno> {
        if offset < (self.base.len() as u64).min(self.size) {
            return Ok(offset);
        }
        let page = self.pages.range(offset / PAGE..).next().ok_or(Errno::ENXIO)?;
        let at = offset.max(page.0.saturating_mul(PAGE));
        if at < self.size { Ok(at) } else { Err(Errno::ENXIO) }
    }

    /// The first byte at or after `offset` that is not stored; the end of the file counts as one.
    pub(crate) fn next_hole(&self, offset: u64) -> Result<u64, Errno> {
        if offset >= self.size {
            return Err(Errno::ENXIO);
        }
        let mut at = offset;
        if at < self.base.len() as u64 {
            at = self.base_pages() * PAGE;
        }
        while self.pages.contains_key(&(at / PAGE)) {
            at = (at / PAGE + 1) * PAGE;
        }
        Ok(at.min(self.size))
    }

    /// Gives all pages back.
    pub(crate) fn release(&mut self, usage: &mut Usage) {
        usage.refund_bytes(self.pages.len() as u64 * PAGE);
        self.pages.clear();
    }

    fn base_pages(&self) -> u64 {
        (self.base.len() as u64).div_ceil(PAGE)
    }
}

/// A page of zeros, or nothing if the heap has none left.
fn zeroed_page() -> Option<Page> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(PAGE_SIZE).ok()?;
    bytes.resize(PAGE_SIZE, 0);
    bytes.into_boxed_slice().try_into().ok()
}

/// For lengths that are known to fit a slice; saturates otherwise, which every use then refuses.
fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
