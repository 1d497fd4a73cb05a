//! The page table that a child starts with: the shim's image where it is linked, and all guest physical memory in the
//! direct map. Everything for ring 0 alone; nothing writable and executable.
use core::ops::Range;

use guestmem::{GuestMemory, NotMapped};
use proto::layout::{DIRECT_MAP_VA, SHIM_BASE_GPA, SHIM_BASE_VA};
use tlfs::addr::{Gpa, LARGE_PAGE_SIZE, PAGE_SIZE};

use crate::layout::Layout;
use crate::shim::Shim;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
/// Accessed and dirty, set beforehand: the processor need not write them.
const TOUCHED: u64 = 1 << 5 | 1 << 6;
const LARGE: u64 = 1 << 7;
/// Survives a change of the address space: every address space of the child has these.
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

const TABLE: u64 = PRESENT | WRITABLE | TOUCHED;
const CODE: u64 = PRESENT | TOUCHED | GLOBAL;
const CONSTANTS: u64 = CODE | NO_EXECUTE;
const DATA: u64 = CONSTANTS | WRITABLE;

/// Why the tables could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablesError {
    /// The pages planned for them are not there.
    NotMapped(NotMapped),
    /// More tables than planned.
    TooFew,
}

impl From<NotMapped> for TablesError {
    fn from(e: NotMapped) -> Self {
        Self::NotMapped(e)
    }
}

/// Writes the tables to their place in the child's memory.
///
/// # Errors
/// [`TablesError`] if the plan does not fit; never for a plan that [`Layout::plan`] made for this shim.
pub fn write_boot_tables<M: GuestMemory>(memory: &mut M, layout: &Layout, shim: &Shim<'_>) -> Result<(), TablesError> {
    let mut tables = Tables { memory, next: layout.tables, end: layout.tables + layout.table_count * PAGE_SIZE };
    let top = tables.new_table()?;
    tables.direct_map(top, layout.window_end.max(layout.free_end))?;
    tables.image(top, shim)
}

struct Tables<'m, M> {
    memory: &'m mut M,
    next: u64,
    end: u64,
}

impl<M: GuestMemory> Tables<'_, M> {
    fn new_table(&mut self) -> Result<u64, TablesError> {
        if self.next >= self.end {
            return Err(TablesError::TooFew);
        }
        let table = self.next;
        self.next += PAGE_SIZE;
        Ok(table)
    }

    fn set(&mut self, table: u64, index: u64, entry: u64) -> Result<(), TablesError> {
        Ok(self.memory.write_u64(Gpa(table + (index % 512) * 8), entry)?)
    }

    /// A new table below `table`, for the part of the address space that starts at `va`; `level` is `table`'s, 4 at the top.
    fn add_table(&mut self, table: u64, level: u32, va: u64) -> Result<u64, TablesError> {
        let below = self.new_table()?;
        self.set(table, va >> (12 + 9 * (level - 1)), below | TABLE)?;
        Ok(below)
    }

    fn direct_map(&mut self, top: u64, end: u64) -> Result<(), TablesError> {
        const GIB: u64 = 1 << 30;
        let third = self.add_table(top, 4, DIRECT_MAP_VA)?;
        for start in (0..end).step_by(1 << 30) {
            let second = self.add_table(third, 3, DIRECT_MAP_VA + start)?;
            for gpa in (start..end.min(start + GIB)).step_by(2 << 20) {
                self.set(second, gpa / LARGE_PAGE_SIZE, gpa | DATA | LARGE)?;
            }
        }
        Ok(())
    }

    fn image(&mut self, top: u64, shim: &Shim<'_>) -> Result<(), TablesError> {
        let third = self.add_table(top, 4, SHIM_BASE_VA)?;
        let second = self.add_table(third, 3, SHIM_BASE_VA)?;
        for start in (0..shim.memory_len()).step_by(2 << 20) {
            let first = self.add_table(second, 2, SHIM_BASE_VA + start)?;
            let window = start..start + LARGE_PAGE_SIZE;
            self.pages(first, &window, shim.text(), CODE)?;
            self.pages(first, &window, shim.rodata(), CONSTANTS)?;
            self.pages(first, &window, shim.data(), DATA)?;
        }
        Ok(())
    }

    /// The pages of `part` that lie in `window`, the 2 MiB that `table` is for.
    fn pages(&mut self, table: u64, window: &Range<u64>, part: Range<u64>, bits: u64) -> Result<(), TablesError> {
        for offset in (part.start.max(window.start)..part.end.min(window.end)).step_by(4096) {
            self.set(table, offset / PAGE_SIZE, (SHIM_BASE_GPA + offset) | bits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::tests::{header, image};
    use guestmem::double::VecMemory;

    /// Walks the tables for ring 0: the last entry, and the physical address.
    fn walk(memory: &VecMemory, cr3: u64, va: u64) -> Option<(u64, u64)> {
        let mut table = cr3;
        for level in (0..4).rev() {
            let shift = 12 + 9 * level;
            let entry = memory.read_u64(Gpa(table + ((va >> shift) & 511) * 8)).ok()?;
            if entry & PRESENT == 0 {
                return None;
            }
            let frame = entry & 0x000f_ffff_ffff_f000;
            if level == 0 || entry & LARGE != 0 {
                return Some((entry, frame | (va & ((1 << shift) - 1))));
            }
            table = frame;
        }
        None
    }

    fn built(memory_len: u64, shim: &Shim<'_>) -> (VecMemory, Layout) {
        let layout = Layout::plan(memory_len, shim.memory_len(), 0).unwrap();
        let mut memory = VecMemory::new(usize::try_from(layout.free_start).unwrap());
        write_boot_tables(&mut memory, &layout, shim).unwrap();
        (memory, layout)
    }

    #[test]
    fn the_shim_is_where_it_is_linked() {
        let image = image(&header());
        let shim = Shim::parse(&image).unwrap();
        let (memory, layout) = built(64 << 20, &shim);
        let at = |offset| walk(&memory, layout.tables, SHIM_BASE_VA + offset);
        assert_eq!(at(0), None);
        let (entry, gpa) = at(0x1008).unwrap();
        assert_eq!(gpa, SHIM_BASE_GPA + 0x1008);
        assert_eq!(entry & (WRITABLE | NO_EXECUTE), 0);
        assert_eq!(at(0x2000).unwrap().0 & (WRITABLE | NO_EXECUTE), NO_EXECUTE);
        assert_eq!(at(0x4fff).unwrap().0 & (WRITABLE | NO_EXECUTE), WRITABLE | NO_EXECUTE);
        assert_eq!(at(0x5000), None);
    }

    #[test]
    fn the_plan_has_just_enough_tables() {
        let image = image(&header());
        let shim = Shim::parse(&image).unwrap();
        for memory_len in [8 << 20, 1 << 30, (1 << 30) + (64 << 10), 5 << 30] {
            let layout = Layout::plan(memory_len, shim.memory_len(), 0).unwrap();
            let mut memory = VecMemory::new(usize::try_from(layout.free_start).unwrap());
            write_boot_tables(&mut memory, &layout, &shim).unwrap();
            let short = Layout { table_count: layout.table_count - 1, ..layout };
            assert_eq!(write_boot_tables(&mut memory, &short, &shim), Err(TablesError::TooFew));
        }
    }

    #[test]
    fn the_direct_map_is_the_identity_and_never_executable() {
        const LEN: u64 = 3 << 30;
        let image = image(&header());
        let shim = Shim::parse(&image).unwrap();
        let (memory, layout) = built(LEN, &shim);
        // Steps that fall on every kind of offset in a page, and on every large page.
        for gpa in (0..LEN).step_by((1 << 20) + 4096 + 77).chain([LEN - 1]) {
            let (entry, found) = walk(&memory, layout.tables, DIRECT_MAP_VA + gpa).unwrap();
            assert_eq!(found, gpa);
            assert_eq!(entry & NO_EXECUTE, NO_EXECUTE);
            assert_eq!(walk(&memory, layout.tables, gpa), None);
        }
    }
}
