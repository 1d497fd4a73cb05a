//! x86-64 four-level page tables of user space. The upper half is shared with the boot tables.
//!
//! A leaf entry that is not zero holds a frame, even when it is not present: that is how PROT_NONE keeps its pages.

use super::frames::{Frames, read_word, write_word};
use crate::errno::Errno;
use crate::platform::{PAGE, Platform};

/// The entry can be used.
pub const PRESENT: u64 = 1 << 0;
/// It can be written through.
pub const WRITE: u64 = 1 << 1;
/// Ring 3 may use it.
pub const USER: u64 = 1 << 2;
/// The processor's note that the page has been written.
pub const DIRTY: u64 = 1 << 6;
/// Ours (the processor ignores it): the frame belongs to somebody else and is not freed with the mapping.
pub const BORROWED: u64 = 1 << 9;
/// Ours: it is no frame of the personality's at all, and cannot be read or written from here.
pub const NO_FRAME: u64 = 1 << 10;
/// Nothing is executed from it.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The frame's address.
pub const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// Above this many pages, dropping every translation is cheaper than dropping each.
const FLUSH_LIMIT: u64 = 32;

/// One tree of tables.
pub struct PageTable {
    root: u64,
    tables: u64,
}

/// Index of `va` in a table of `level` (4 at the top, 1 at the leaves).
const fn slot(va: u64, level: u64) -> u64 {
    (va >> (12 + 9 * (level - 1))) & 511
}

/// Bytes that one entry of `level` covers.
const fn reach(level: u64) -> u64 {
    1 << (12 + 9 * (level - 1))
}

impl PageTable {
    /// An empty user half under the shared upper half.
    pub fn new<P: Platform>(platform: &mut P, frames: &mut Frames) -> Result<Self, Errno> {
        let root = frames.take(platform)?;
        for entry in 256..512 {
            let value = platform.kernel_entry(entry);
            write_word(platform.frame_mut(root), entry as u64, value);
        }
        Ok(Self { root, tables: 1 })
    }

    /// Guest physical address of the root table, for CR3.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Bytes that the tables themselves take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tables * PAGE
    }

    fn leaf_table<P: Platform>(&self, platform: &P, va: u64) -> Result<u64, u64> {
        let mut table = self.root;
        for level in [4, 3, 2] {
            let entry = read_word(platform.frame(table), slot(va, level));
            if entry & PRESENT == 0 {
                return Err(level);
            }
            table = entry & FRAME;
        }
        Ok(table)
    }

    /// The leaf entry of `va`; 0 when there is none.
    #[must_use]
    pub fn entry<P: Platform>(&self, platform: &P, va: u64) -> u64 {
        self.leaf_table(platform, va).map_or(0, |table| read_word(platform.frame(table), slot(va, 1)))
    }

    /// Sets the leaf entry of `va`, with the tables above it. The caller flushes if it was present before.
    ///
    /// # Errors
    /// ENOMEM; never after [`PageTable::prepare`] for the same address.
    pub fn set<P: Platform>(
        &mut self,
        platform: &mut P,
        frames: &mut Frames,
        va: u64,
        entry: u64,
    ) -> Result<(), Errno> {
        let table = self.prepare(platform, frames, va)?;
        write_word(platform.frame_mut(table), slot(va, 1), entry);
        Ok(())
    }

    /// Makes the tables above the leaf entry of `va`, and gives the one that holds it.
    ///
    /// # Errors
    /// ENOMEM; the tables made so far stay, empty.
    pub fn prepare<P: Platform>(&mut self, platform: &mut P, frames: &mut Frames, va: u64) -> Result<u64, Errno> {
        let mut table = self.root;
        for level in [4, 3, 2] {
            let at = slot(va, level);
            let mut next = read_word(platform.frame(table), at);
            if next & PRESENT == 0 {
                next = frames.take(platform)? | PRESENT | WRITE | USER;
                self.tables += 1;
                write_word(platform.frame_mut(table), at, next);
            }
            table = next & FRAME;
        }
        Ok(table)
    }

    /// Calls `change` with each leaf entry in [`start`, `end`) that is not zero; what it returns replaces the entry.
    /// Afterwards no stale translation of the range is left.
    pub fn update<P: Platform>(
        &mut self,
        platform: &mut P,
        start: u64,
        end: u64,
        mut change: impl FnMut(&mut P, u64, u64) -> u64,
    ) {
        let mut changed = 0;
        let mut va = start;
        while va < end {
            let table = match self.leaf_table(platform, va) {
                Ok(table) => table,
                Err(level) => {
                    va = (va & !(reach(level) - 1)).saturating_add(reach(level));
                    continue;
                }
            };
            let stop = ((va & !(reach(2) - 1)).saturating_add(reach(2))).min(end);
            while va < stop {
                let old = read_word(platform.frame(table), slot(va, 1));
                if old != 0 {
                    let new = change(platform, va, old);
                    write_word(platform.frame_mut(table), slot(va, 1), new);
                    if old & PRESENT != 0 && new != old {
                        changed += 1;
                        if changed <= FLUSH_LIMIT {
                            platform.flush_page(va);
                        }
                    }
                }
                va += PAGE;
            }
        }
        if changed > FLUSH_LIMIT {
            platform.flush_all();
        }
    }

    /// Removes [`start`, `end`); frames that the mapping owned are free again.
    pub fn clear<P: Platform>(&mut self, platform: &mut P, frames: &mut Frames, start: u64, end: u64) -> u64 {
        let mut removed = 0;
        self.update(platform, start, end, |platform, _, entry| {
            if entry & BORROWED == 0 {
                frames.give(platform, entry & FRAME);
                removed += 1;
            }
            0
        });
        removed
    }

    /// Frees the tables of the user half and the root. The tables must not be active, and `clear` must have been called.
    pub fn destroy<P: Platform>(self, platform: &mut P, frames: &mut Frames) {
        for top in 0..256 {
            let Some(upper) = child(platform, self.root, top) else { continue };
            for middle in 0..512 {
                let Some(lower) = child(platform, upper, middle) else { continue };
                for low in 0..512 {
                    if let Some(leaf) = child(platform, lower, low) {
                        frames.give(platform, leaf);
                    }
                }
                frames.give(platform, lower);
            }
            frames.give(platform, upper);
        }
        frames.give(platform, self.root);
    }
}

fn child<P: Platform>(platform: &P, table: u64, at: u64) -> Option<u64> {
    let entry = read_word(platform.frame(table), at);
    (entry & PRESENT != 0).then_some(entry & FRAME)
}
