//! Waiting for the host. It is polled: often at first, for an answer that comes at once, and then ever more seldom.
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

use crate::{TICKS_PER_SECOND, apic};

/// A tick, and the first rest, in 100 ns.
pub(crate) const TICK: u64 = REFERENCE_TICKS_PER_SECOND / TICKS_PER_SECOND;
const FIRST: u64 = TICK / 64;

/// One wait.
pub(crate) struct Pause {
    next: u64,
}

impl Pause {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Halts the processor: each time twice as long as the last, up to a tick, but no longer than `at_most` (in 100 ns).
    pub(crate) fn rest(&mut self, at_most: u64) {
        apic::hasten(self.next.min(at_most), TICK);
        apic::idle();
        self.next = (self.next * 2).min(TICK);
    }
}
