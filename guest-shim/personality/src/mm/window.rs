//! The window: guest physical addresses, behind the frames, where the root shows pages of files that nobody has written to.
//! Slots of it are a cache of those files. A page that is shown can be mapped into programs and copied from; it is never written
//! to. A slot is given to another part of a file only when no mapping uses it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proto::layout::WINDOW_SLOT;

use crate::num::index;
use crate::platform::PAGE;

/// Part of a file: its node, and the slot-sized block of it.
pub type Key = (u64, u64);

/// A slot.
#[derive(Clone, Copy)]
struct Slot {
    /// What it shows, and how many bytes.
    shown: Option<(Key, u64)>,
    /// Page table entries that lead to it.
    users: u64,
    /// Used since the hand of the clock passed.
    recent: bool,
}

/// A slot that may be set up anew, and what has to go first.
pub struct Claim {
    /// Offset of the slot in the window.
    pub offset: u64,
    /// Bytes that it shows still.
    pub old_len: Option<u64>,
}

/// The window and what it shows.
#[derive(Default)]
pub struct Window {
    base: u64,
    len: u64,
    slots: Vec<Slot>,
    known: BTreeMap<Key, usize>,
    hand: usize,
}

impl Window {
    /// [`base`, `base + len`), whole slots; nothing is shown yet.
    #[must_use]
    pub fn new(base: u64, len: u64) -> Self {
        Self { base, len, ..Self::default() }
    }

    /// Does this address lie in it?
    #[must_use]
    pub fn contains(&self, gpa: u64) -> bool {
        gpa >= self.base && gpa - self.base < self.len
    }

    fn slot(&mut self, gpa: u64) -> Option<&mut Slot> {
        self.slots.get_mut(index(gpa.wrapping_sub(self.base) / WINDOW_SLOT))
    }

    /// One more page table entry leads to `gpa`.
    pub fn hold(&mut self, gpa: u64) {
        if let Some(slot) = self.slot(gpa) {
            slot.users += 1;
        }
    }

    /// One less.
    pub fn release(&mut self, gpa: u64) {
        if let Some(slot) = self.slot(gpa) {
            slot.users = slot.users.saturating_sub(1);
        }
    }

    /// Where the block is shown, and how many bytes of it.
    pub fn find(&mut self, key: Key) -> Option<(u64, u64)> {
        let number = *self.known.get(&key)?;
        let slot = self.slots.get_mut(number)?;
        slot.recent = true;
        let (_, len) = slot.shown?;
        Some((self.base + number as u64 * WINDOW_SLOT, len))
    }

    /// A slot for another block: a new one, or with `evict` one that no mapping uses. What it showed is forgotten here.
    pub fn claim(&mut self, evict: bool) -> Option<Claim> {
        if (self.slots.len() as u64) < self.len / WINDOW_SLOT {
            self.slots.try_reserve(1).ok()?;
            self.slots.push(Slot { shown: None, users: 0, recent: true });
            return Some(Claim { offset: (self.slots.len() as u64 - 1) * WINDOW_SLOT, old_len: None });
        }
        // Twice round: the first time what was used lately is passed by.
        for _ in 0..if evict { self.slots.len() * 2 } else { 0 } {
            let number = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = self.slots.get_mut(number) else { continue };
            if slot.users > 0 || core::mem::take(&mut slot.recent) {
                continue;
            }
            let old = slot.shown.take();
            if let Some((key, _)) = old {
                self.known.remove(&key);
            }
            return Some(Claim { offset: number as u64 * WINDOW_SLOT, old_len: old.map(|(_, len)| len) });
        }
        None
    }

    /// The slot at `offset` shows `len` bytes of this block now.
    pub fn shows(&mut self, offset: u64, key: Key, len: u64) -> u64 {
        let number = index(offset / WINDOW_SLOT);
        if let Some(slot) = self.slots.get_mut(number) {
            *slot = Slot { shown: Some((key, len)), users: 0, recent: true };
            self.known.insert(key, number);
        }
        self.base + offset
    }

    /// What was claimed last is not used after all.
    pub fn give_back(&mut self, claim: &Claim) {
        if claim.offset + WINDOW_SLOT == self.slots.len() as u64 * WINDOW_SLOT {
            self.slots.pop();
            self.hand = 0;
        }
    }

    /// Pages of the window that mappings use, for tests.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.slots.iter().map(|slot| slot.users).sum()
    }
}

/// The block of `offset` in a file, and where `offset` is in it.
#[must_use]
pub fn block_of(offset: u64) -> (u64, u64) {
    (offset / WINDOW_SLOT, offset % WINDOW_SLOT)
}

const _: () = assert!(WINDOW_SLOT.is_multiple_of(PAGE));
