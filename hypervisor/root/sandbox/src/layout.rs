//! Where things are in a child's guest physical memory.
//!
//! ```text
//! 0x00_1000    BootInfo            0x00_2000   gate page
//! 0x00_3000    service pages       0x00_8000   reference TSC page (the hypervisor's, once the shim asks)
//! 0x00_9000    copies of what was judged
//! 0x10_0000    shim: header (not mapped), code and constants (shared), data (its own)
//! then         program parameters, boot page tables
//! free_start   memory in blocks of 64 KiB, on demand, up to free_end
//! window_start files of the lower layer, read-only, in slots of 64 KiB, as the shim asks, up to window_end
//! ```
//! Page 0 stays unmapped, and so does everything that is not named here.
use core::fmt;
use core::ops::Range;

use proto::layout::SHIM_BASE_GPA;
use proto::{COPY_PAGES, SERVICE_PAGES};
use tlfs::addr::{LARGE_PAGE_SIZE, PAGE_SIZE};

/// GPA of `proto::BootInfo`.
pub const BOOT_INFO: u64 = 0x1000;
/// GPA of `proto::GatePage`.
pub const GATE: u64 = 0x2000;
/// GPA of the service pages.
pub const SERVICE: u64 = 0x3000;
/// GPA for the reference TSC page.
pub const TSC_PAGE: u64 = 0x8000;

/// GPA of `proto::Copies`.
pub const COPIES: u64 = 0x9000;

const _: () = assert!(COPIES + COPY_PAGES as u64 * PAGE_SIZE <= SHIM_BASE_GPA);
const _: () = assert!(SERVICE + SERVICE_PAGES as u64 * PAGE_SIZE <= TSC_PAGE);

/// Pages that are backed at once when the child touches one of them.
pub const BLOCK_PAGES: u64 = crate::frames::Frames::RUN;
/// The same in bytes.
pub const BLOCK_SIZE: u64 = BLOCK_PAGES * PAGE_SIZE;
/// Most memory that a child can have, in bytes: the direct map of the boot page table has one table of the third level.
pub const MAX_MEMORY: u64 = 512 << 30;
/// Most bytes of files that are shown at a time. Each 2 MiB in use cost a page of nested page tables.
pub const MAX_WINDOW: u64 = 256 << 20;
/// Least free memory that a program can start in, in bytes.
pub const MIN_FREE: u64 = 1 << 20;

/// The memory that was asked for is too little or too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMemorySize {
    /// Bytes asked for, or that there are if these are fewer.
    pub memory: u64,
    /// Least that it takes, in bytes.
    pub least: u64,
}

impl fmt::Display for BadMemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, least } = self;
        write!(f, "{memory} bytes of memory for the sandbox, where it takes {least} at least and {MAX_MEMORY} at most")
    }
}

impl core::error::Error for BadMemorySize {}

/// The parts whose place depends on their sizes. All page aligned, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// GPA of the program parameters.
    pub params: u64,
    /// GPA of the boot page tables; the first is the top one.
    pub tables: u64,
    /// Number of boot page tables.
    pub table_count: u64,
    /// First free GPA, aligned to [`BLOCK_SIZE`].
    pub free_start: u64,
    /// End of the free memory.
    pub free_end: u64,
    /// Start of the window for files, aligned to a large page.
    pub window_start: u64,
    /// Its end.
    pub window_end: u64,
}

impl Layout {
    /// Plans a child with `memory` bytes of guest physical space.
    ///
    /// # Errors
    /// [`BadMemorySize`] if that is too small for a program to start, or too large.
    pub fn plan(memory: u64, shim_len: u64, params_len: u64) -> Result<Self, BadMemorySize> {
        let refuse = |least| BadMemorySize { memory, least };
        if memory > MAX_MEMORY || shim_len > MAX_MEMORY || params_len > MAX_MEMORY {
            return Err(refuse(MIN_FREE));
        }
        let params = SHIM_BASE_GPA + shim_len.next_multiple_of(PAGE_SIZE);
        let tables = params + params_len.next_multiple_of(PAGE_SIZE);
        let window_start = memory.next_multiple_of(LARGE_PAGE_SIZE);
        let window_len = memory.min(MAX_WINDOW).min(MAX_MEMORY - window_start);
        let window_end = window_start + (window_len - window_len % LARGE_PAGE_SIZE);
        let table_count = table_count(window_end, shim_len);
        let free_start = (tables + table_count * PAGE_SIZE).next_multiple_of(BLOCK_SIZE);
        let free_end = memory - memory % BLOCK_SIZE;
        if free_end < free_start + MIN_FREE {
            return Err(refuse(free_start + MIN_FREE));
        }
        Ok(Self { params, tables, table_count, free_start, free_end, window_start, window_end })
    }
}

impl Layout {
    /// Where files appear.
    #[must_use]
    pub fn window(&self) -> Range<u64> {
        self.window_start..self.window_end
    }
}

/// Page tables that the boot address space needs: the top one; for the direct map one of the third level and one
/// of the second a GiB; for the shim one of the third and second level and one of the first a 2 MiB.
fn table_count(memory: u64, shim_len: u64) -> u64 {
    1 + 1 + memory.div_ceil(1 << 30) + 2 + shim_len.div_ceil(LARGE_PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other() {
        let layout = Layout::plan(64 << 20, 0x12_3456, 100).unwrap();
        assert_eq!(layout.params, 0x10_0000 + 0x12_4000);
        assert_eq!(layout.tables, layout.params + 0x1000);
        assert_eq!(layout.table_count, 6);
        assert_eq!(layout.free_start % BLOCK_SIZE, 0);
        assert!(layout.free_start >= layout.tables + 6 * PAGE_SIZE);
        assert_eq!(layout.free_end, 64 << 20);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let error = Layout::plan(1 << 20, 0x5000, 10).unwrap_err();
        assert!(Layout::plan(error.least, 0x5000, 10).is_ok());
        assert!(Layout::plan(error.least - 1, 0x5000, 10).is_err());
        assert!(Layout::plan(MAX_MEMORY, 0x5000, 10).is_ok());
        assert!(Layout::plan(MAX_MEMORY + 1, 0x5000, 10).is_err());
        assert!(Layout::plan(u64::MAX, u64::MAX, u64::MAX).is_err());
    }
}
