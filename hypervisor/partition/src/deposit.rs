//! A partition's deposit: the frames that pay for it.
//!
//! Frames that are not in use form a list through the frame table. Nothing is written into the frames
//! themselves until they are taken.

use paging::table::FrameSource;
use tlfs::addr::Spa;

use crate::frames::{FrameTable, NIL};

/// The account of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    head: u32,
    available: u64,
    in_use: u64,
    owner: u16,
}

impl Deposit {
    /// An empty account of the partition at table index `owner`.
    #[must_use]
    pub const fn new(owner: u16) -> Self {
        Self { head: NIL, available: 0, in_use: 0, owner }
    }

    /// Frames that can be taken or withdrawn.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.available
    }

    /// Frames that hold something.
    #[must_use]
    pub const fn in_use(&self) -> u64 {
        self.in_use
    }

    /// Adds a frame. The caller has made sure that nobody else has it.
    pub(crate) fn add(&mut self, frames: &mut FrameTable<'_>, spa: Spa) {
        let Ok(number) = u32::try_from(spa.page_number()) else { return };
        frames.set_free(spa, self.owner, self.head);
        self.head = number;
        self.available += 1;
    }

    /// Takes a frame out of the account altogether; its entry still says "free" until the caller says who has it.
    pub(crate) fn remove(&mut self, frames: &FrameTable<'_>) -> Option<Spa> {
        if self.head == NIL {
            return None;
        }
        let spa = Spa::from_page_number(u64::from(self.head));
        self.head = frames.next_free(spa);
        self.available = self.available.saturating_sub(1);
        Some(spa)
    }

    /// Takes a frame for use. Its contents are whatever they were.
    pub(crate) fn take(&mut self, frames: &mut FrameTable<'_>) -> Option<Spa> {
        let spa = self.remove(frames)?;
        frames.set_used(spa, self.owner);
        self.in_use += 1;
        Some(spa)
    }

    /// Returns a frame that was in use.
    pub(crate) fn give(&mut self, frames: &mut FrameTable<'_>, spa: Spa) {
        self.in_use = self.in_use.saturating_sub(1);
        self.add(frames, spa);
    }
}

/// A deposit together with the frame table: where tables take their frames from.
pub(crate) struct Purse<'p, 'a> {
    pub(crate) frames: &'p mut FrameTable<'a>,
    pub(crate) deposit: &'p mut Deposit,
}

impl FrameSource for Purse<'_, '_> {
    fn take(&mut self) -> Option<Spa> {
        self.deposit.take(self.frames)
    }

    fn give(&mut self, frame: Spa) {
        self.deposit.give(self.frames, frame);
    }
}
