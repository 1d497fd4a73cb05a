//! `calls_per_second` of `[limits]`: a bucket that fills evenly, and from which each call takes its part.
//!
//! It holds what comes in [`BURST`]th of a second, so that a program that makes its calls in bunches is not slowed down by more than it makes. Who finds
//! it empty waits until there is enough for a [`PAUSE`]th of a second: waking for each call by itself would cost more than the calls.

use tlfs::time::REFERENCE_TICKS_PER_SECOND;

/// The part of a second (one in so many) whose calls may come at once.
const BURST: u64 = 20;
/// The part of a second whose calls are waited for together, if there are so many.
const PAUSE: u64 = 1000;
/// What a call takes. Each 100 ns brings as much as calls are allowed in a second.
const CALL: u64 = REFERENCE_TICKS_PER_SECOND;

/// The bucket of one sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Calls in a second; 0: any number.
    per_second: u64,
    level: u64,
    /// When `level` was that.
    at: u64,
}

impl Rate {
    /// A full bucket at time `now`, in 100 ns.
    #[must_use]
    pub fn new(per_second: Option<u64>, now: u64) -> Self {
        let per_second = per_second.unwrap_or(0);
        let mut rate = Self { per_second, level: 0, at: now };
        rate.level = rate.most();
        rate
    }

    /// Takes one call's part.
    ///
    /// # Errors
    /// There is not enough; when there will be, in 100 ns.
    #[inline]
    pub fn take(&mut self, now: u64) -> Result<(), u64> {
        if self.per_second == 0 { Ok(()) } else { self.take_part(now) }
    }

    #[cold]
    fn take_part(&mut self, now: u64) -> Result<(), u64> {
        let come = now.saturating_sub(self.at).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(come).min(self.most());
        self.at = self.at.max(now);
        match self.level.checked_sub(CALL) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => {
                let wanted = (self.per_second / PAUSE).saturating_mul(CALL).clamp(CALL, self.most());
                Err(now.saturating_add((wanted - self.level).div_ceil(self.per_second)))
            }
        }
    }

    /// What a full bucket holds: one call at least.
    fn most(&self) -> u64 {
        (self.per_second / BURST).max(1).saturating_mul(CALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = REFERENCE_TICKS_PER_SECOND;

    /// Calls that are made in so many seconds by who makes them as fast as it may, and how often it waited.
    fn made(per_second: u64, seconds: u64) -> (u64, u64) {
        let mut rate = Rate::new(Some(per_second), 0);
        let (mut now, mut calls, mut waits) = (0, 0, 0);
        while now < seconds * SECOND {
            match rate.take(now) {
                Ok(()) => calls += 1,
                Err(at) => {
                    assert!(at > now);
                    (now, waits) = (at, waits + 1);
                }
            }
        }
        (calls, waits)
    }

    #[test]
    fn no_more_calls_are_made_than_there_may_be() {
        for per_second in [1, 3, 19, 1000, 12_345, 1_000_000, 3_000_000] {
            let burst = (per_second / BURST).max(1);
            let (calls, waits) = made(per_second, 3);
            assert!((3 * per_second..=3 * per_second + burst).contains(&calls), "{calls} at {per_second}");
            assert!(waits <= 3 * per_second.min(2 * PAUSE) + 1, "{waits} waits at {per_second}");
        }
    }

    #[test]
    fn what_is_not_used_is_kept_for_a_moment_only() {
        let mut rate = Rate::new(Some(100), 0);
        assert_eq!((0..100).take_while(|_| rate.take(1000 * SECOND).is_ok()).count(), 5);
        // Time that goes back brings nothing, and takes nothing.
        assert!(rate.take(0).is_err());
        assert_eq!(rate.take(1000 * SECOND), Err(1000 * SECOND + SECOND / 100));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut rate = Rate::new(None, 0);
        assert!((0..1000).all(|_| rate.take(0) == Ok(())));
        let mut most = Rate::new(Some(1_000_000_000), 0);
        assert_eq!(most.take(u64::MAX), Ok(()));
    }
}
