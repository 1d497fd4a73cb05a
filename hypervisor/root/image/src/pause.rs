//! Waiting for the host, with the processor halted.
//!
//! Where the console interrupts, a wait lasts until it does or until its time is over. Where it does not, the host is polled: often
//! at first, for an answer that comes at once, and then ever more seldom.
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

use crate::{TICKS_PER_SECOND, apic};

/// A tick, and the first rest of a poll, in 100 ns.
pub(crate) const TICK: u64 = REFERENCE_TICKS_PER_SECOND / TICKS_PER_SECOND;
const FIRST: u64 = TICK / 64;
/// The longest rest: well within what the timer can count.
const LONGEST: u64 = 10 * REFERENCE_TICKS_PER_SECOND;

/// One wait.
pub(crate) struct Pause {
    next: u64,
    longest: u64,
}

impl Pause {
    /// A wait for a host that interrupts, or for one that has to be asked.
    pub(crate) fn new(interrupts: bool) -> Self {
        if interrupts { Self { next: LONGEST, longest: LONGEST } } else { Self { next: FIRST, longest: TICK } }
    }

    /// Halts the processor until an interrupt, but no longer than `at_most` (in 100 ns); where the host has to be asked: each time
    /// twice as long as the last, up to a tick.
    pub(crate) fn rest(&mut self, at_most: u64) {
        apic::sleep(self.next.min(at_most), TICK);
        self.next = self.next.saturating_mul(2).min(self.longest);
    }
}
