//! The frame table: who has each 4 KiB of the machine's RAM.
//!
//! | state | meaning | count/link |
//! |---|---|---|
//! | absent | no RAM, or the hypervisor's own for ever | 0 |
//! | root | mapped in the root, read-write-execute, at GPA = SPA | mappings that children have of it |
//! | free | in a partition's deposit, unused | next free frame |
//! | used | in a partition's deposit, holding something of the hypervisor's | 0 |
//!
//! Invariant: a frame is in the state "root" exactly while the root's nested table maps it with all
//! rights. So whether the root may name a page is one look at this table, without a walk.

use tlfs::addr::Spa;

/// Entry for one frame. All zero bits: absent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct FrameEntry(u64);

/// The end of a free list.
pub(crate) const NIL: u32 = u32::MAX;

/// Who has a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameState {
    /// Not RAM, or private to the hypervisor.
    Absent,
    /// The root's.
    Root {
        /// How many mappings children have of it.
        mapped: u32,
    },
    /// Free in a partition's deposit.
    Free {
        /// Table index of the partition.
        owner: u16,
    },
    /// Holds something that a partition's deposit pays for.
    Used {
        /// Table index of the partition.
        owner: u16,
    },
}

const ABSENT: u64 = 0;
const ROOT: u64 = 1;
const FREE: u64 = 2;
const USED: u64 = 3;
const STATE_MASK: u64 = 0xff;

impl FrameEntry {
    /// No RAM.
    pub const ABSENT: Self = Self(ABSENT);

    const fn new(state: u64, owner: u16, value: u32) -> Self {
        Self(state | (owner as u64) << 16 | (value as u64) << 32)
    }

    const fn value(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[allow(clippy::cast_possible_truncation, reason = "the field is 16 bits wide")]
    const fn owner(self) -> u16 {
        (self.0 >> 16) as u16
    }

    const fn state(self) -> FrameState {
        match self.0 & STATE_MASK {
            ROOT => FrameState::Root { mapped: self.value() },
            FREE => FrameState::Free { owner: self.owner() },
            USED => FrameState::Used { owner: self.owner() },
            _ => FrameState::Absent,
        }
    }
}

impl core::fmt::Debug for FrameEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.state().fmt(f)
    }
}

/// The table of all frames.
#[derive(Debug)]
pub struct FrameTable<'a> {
    entries: &'a mut [FrameEntry],
}

impl<'a> FrameTable<'a> {
    /// A table with every frame absent. Frame numbers have to fit 32 bits (16 TiB of RAM); what lies above is never used.
    pub(crate) fn new(entries: &'a mut [FrameEntry]) -> Self {
        entries.fill(FrameEntry::ABSENT);
        Self { entries }
    }

    /// Who has the frame at `spa`.
    #[must_use]
    pub fn state(&self, spa: Spa) -> FrameState {
        self.entry(spa).state()
    }

    /// Whether the root has the byte at `spa` to read, write and execute.
    #[must_use]
    pub fn is_root(&self, spa: Spa) -> bool {
        self.entry(spa).0 & STATE_MASK == ROOT
    }

    /// Frames in the table, absent ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the machine has no RAM at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts one more mapping by a child of a frame that the root owns. `false`: it does not own it, or the
    /// count is full.
    pub(crate) fn add_mapping(&mut self, spa: Spa) -> bool {
        match self.entry(spa).state() {
            FrameState::Root { mapped } if mapped < u32::MAX => self.set(spa, ROOT, 0, mapped + 1),
            _ => false,
        }
    }

    /// Counts one mapping less.
    pub(crate) fn remove_mapping(&mut self, spa: Spa) {
        if let FrameState::Root { mapped: mapped @ 1.. } = self.entry(spa).state() {
            self.set(spa, ROOT, 0, mapped - 1);
        }
    }

    /// Makes the frame the root's.
    pub(crate) fn set_root(&mut self, spa: Spa) {
        self.set(spa, ROOT, 0, 0);
    }

    pub(crate) fn set_free(&mut self, spa: Spa, owner: u16, next: u32) {
        self.set(spa, FREE, owner, next);
    }

    pub(crate) fn set_used(&mut self, spa: Spa, owner: u16) {
        self.set(spa, USED, owner, 0);
    }

    /// The link of a free frame.
    pub(crate) fn next_free(&self, spa: Spa) -> u32 {
        match self.entry(spa).state() {
            FrameState::Free { .. } => self.entry(spa).value(),
            _ => NIL,
        }
    }

    fn entry(&self, spa: Spa) -> FrameEntry {
        let index = usize::try_from(spa.page_number()).ok();
        index.and_then(|index| self.entries.get(index)).copied().unwrap_or(FrameEntry::ABSENT)
    }

    fn set(&mut self, spa: Spa, state: u64, owner: u16, value: u32) -> bool {
        let index = usize::try_from(spa.page_number()).ok();
        match index.and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => {
                *entry = FrameEntry::new(state, owner, value);
                true
            }
            None => false,
        }
    }
}
