//! x86-64 four-level page tables of user space. The upper half is shared with the boot tables.
//!
//! A leaf entry that is not zero holds a frame, even when it is not present: that is how PROT_NONE keeps its pages.

use core::ops::Range;

use super::frames::{Frames, read_word, write_word};
use crate::errno::Errno;
use crate::num::index;
use crate::platform::{PAGE, PAGE_SIZE, Platform};

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
        let root = frames.take_table(platform)?;
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

    /// The first leaf table of [`va`, `end`): the part that its entries are for, and its frame.
    fn next_leaf_table<P: Platform>(&self, platform: &P, mut va: u64, end: u64) -> Option<(Range<u64>, u64)> {
        while va < end {
            match self.leaf_table(platform, va) {
                Ok(table) => return Some((va..after(va, 2).min(end), table)),
                Err(level) => va = after(va, level),
            }
        }
        None
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
                next = frames.take_table(platform)? | PRESENT | WRITE | USER;
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
        let mut from = start;
        while let Some((part, table)) = self.next_leaf_table(platform, from, end) {
            from = part.end;
            for va in part.step_by(PAGE_SIZE) {
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
            }
        }
        if changed > FLUSH_LIMIT {
            platform.flush_all();
        }
    }

    /// Copies the leaf entries of [`start`, `end`) to `child`, table by table. `each` says what becomes of one here and what
    /// the child gets. Translations that are cached of this table are the caller's to drop.
    ///
    /// # Errors
    /// ENOMEM; what has been copied so far stays.
    pub fn copy_to<P: Platform>(
        &mut self,
        child: &mut Self,
        platform: &mut P,
        frames: &mut Frames,
        (start, end): (u64, u64),
        mut each: impl FnMut(&mut Frames, u64) -> Result<(u64, u64), Errno>,
    ) -> Result<(), Errno> {
        let mut from = start;
        while let Some((part, table)) = self.next_leaf_table(platform, from, end) {
            from = part.end;
            let va = part.start;
            let slots = slot(va, 1)..slot(va, 1) + (part.end - va) / PAGE;
            let entries = words(platform.frame(table));
            let there = |at: &u64| entries.get(index(*at)).is_some_and(|&entry| entry != 0);
            if let Some(first) = slots.clone().find(there) {
                let target = child.prepare(platform, frames, va)?;
                for at in (first..slots.end).filter(there) {
                    let (mine, copy) = each(frames, entries.get(index(at)).copied().unwrap_or(0))?;
                    write_word(platform.frame_mut(table), at, mine);
                    write_word(platform.frame_mut(target), at, copy);
                }
            }
        }
        Ok(())
    }

    /// Removes [`start`, `end`); frames that the mapping owned are free again.
    pub fn clear<P: Platform>(&mut self, platform: &mut P, frames: &mut Frames, start: u64, end: u64) -> u64 {
        let mut removed = 0;
        self.update(platform, start, end, |platform, _, entry| {
            if entry & BORROWED == 0 {
                removed += u64::from(!frames.is_lent(entry & FRAME));
                frames.give(platform, entry & FRAME);
            }
            0
        });
        removed
    }

    /// Gives up all frames of the user half, its tables and the root. The tables must not be active: no translation is
    /// dropped.
    pub fn destroy<P: Platform>(self, platform: &mut P, frames: &mut Frames) {
        let upper_tables = words(platform.frame(self.root));
        for upper in upper_tables.into_iter().take(256).filter_map(child) {
            for middle in words(platform.frame(upper)).into_iter().filter_map(child) {
                destroy_lower(platform, frames, middle);
            }
            frames.give_table(platform, upper);
        }
        frames.give_table(platform, self.root);
    }
}

/// Gives up a table of the second level with everything below it.
fn destroy_lower<P: Platform>(platform: &mut P, frames: &mut Frames, middle: u64) {
    for at in 0..512 {
        let Some(leaf) = child(read_word(platform.frame(middle), at)) else { continue };
        for entry in words(platform.frame(leaf)) {
            if entry != 0 && entry & BORROWED == 0 {
                frames.give(platform, entry & FRAME);
            }
        }
        frames.give_table(platform, leaf);
    }
    frames.give_table(platform, middle);
}

/// The first address beyond what the entry of this level for `va` reaches.
fn after(va: u64, level: u64) -> u64 {
    (va & !(reach(level) - 1)).saturating_add(reach(level))
}

/// All entries of a table.
fn words(frame: &[u8; PAGE_SIZE]) -> [u64; 512] {
    let mut words = [0; 512];
    for (word, bytes) in words.iter_mut().zip(frame.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// The table that an entry leads to.
fn child(entry: u64) -> Option<u64> {
    (entry & PRESENT != 0).then_some(entry & FRAME)
}
