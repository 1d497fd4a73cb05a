//! The child's alarm: the time at which it wants to be interrupted while its program runs, however long that program goes without a
//! call.
//!
//! The shim writes the time into the gate page ([`GatePage::alarm`](proto::GatePage)), from where the root reads it on its way past, at
//! each exit. A time that is written without an exit behind it is seen at the next look: one comes at least each [`LOOK`] while
//! there is an alarm at all, and once after a call that sets a timer; none comes for its sake while there is none.

use proto::NO_ALARM;
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

/// How long an alarm may be late because nobody looked, in 100 ns.
pub(crate) const LOOK: u64 = REFERENCE_TICKS_PER_SECOND / 1000;

/// Calls by which a program sets a timer: alarm, setitimer, timer_settime, timerfd_settime.
const SETTING: [u64; 4] = [37, 38, 223, 286];

/// What is known of it. Times are the root's reference time, in 100 ns; `u64::MAX` is never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm {
    /// What the gate page said last.
    seen: u64,
    /// When the interrupt has to be asserted. Never once it was.
    due: u64,
    /// When the gate page has to be read again.
    look: u64,
}

impl Alarm {
    pub(crate) const NONE: Self = Self { seen: NO_ALARM, due: u64::MAX, look: u64::MAX };

    /// What the gate page says: `alarm` in the time of the child, which began at `epoch`. True: the interrupt is due, and is taken to be
    /// asserted.
    #[inline]
    pub(crate) fn read(&mut self, alarm: u64, epoch: u64, now: u64) -> bool {
        if alarm != self.seen {
            self.change(alarm, epoch, now);
        }
        if now < self.next() {
            return false;
        }
        self.expire(now)
    }

    /// A call goes to the shim behind which there may be a new time: no exit will tell.
    #[inline]
    pub(crate) fn call(&mut self, number: u64, now: u64) {
        if SETTING.contains(&number) {
            self.look = self.look.min(now.saturating_add(LOOK));
        }
    }

    /// When the child has to be interrupted, for one reason or the other.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.due.min(self.look)
    }

    #[cold]
    fn change(&mut self, alarm: u64, epoch: u64, now: u64) {
        self.seen = alarm;
        if is_time(alarm) {
            self.due = epoch.saturating_add(alarm);
            self.look = self.look.min(now.saturating_add(LOOK));
        } else {
            (self.due, self.look) = (u64::MAX, u64::MAX);
        }
    }

    #[cold]
    fn expire(&mut self, now: u64) -> bool {
        let rings = now >= self.due;
        if rings {
            self.due = u64::MAX;
        }
        self.look = if is_time(self.seen) { now.saturating_add(LOOK) } else { u64::MAX };
        rings
    }
}

const fn is_time(alarm: u64) -> bool {
    alarm != NO_ALARM && alarm != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_rings_once_and_is_looked_after_meanwhile() {
        let mut alarm = Alarm::NONE;
        assert!(!alarm.read(NO_ALARM, 100, 0));
        assert_eq!(alarm.next(), u64::MAX);
        // Far away: the next look is before it.
        assert!(!alarm.read(5 * LOOK, 100, 1000));
        assert_eq!(alarm.next(), 1000 + LOOK);
        assert!(!alarm.read(5 * LOOK, 100, 4 * LOOK + 200));
        assert_eq!(alarm.next(), 5 * LOOK + 100);
        assert!(alarm.read(5 * LOOK, 100, 5 * LOOK + 100));
        assert!(!alarm.read(5 * LOOK, 100, 7 * LOOK));
        assert_eq!(alarm.next(), 8 * LOOK);
        // A new one, already past, rings at once.
        assert!(alarm.read(1, 100, 7 * LOOK));
        assert!(!alarm.read(0, 100, 7 * LOOK));
        assert_eq!(alarm.next(), u64::MAX);
    }

    #[test]
    fn behind_a_call_that_sets_a_timer_is_one_look() {
        let mut alarm = Alarm::NONE;
        alarm.call(39, 1000);
        assert_eq!(alarm.next(), u64::MAX);
        for number in SETTING {
            alarm.call(number, 1000);
            assert_eq!(alarm.next(), 1000 + LOOK);
            assert!(!alarm.read(NO_ALARM, 0, 1000 + LOOK));
            assert_eq!(alarm.next(), u64::MAX, "nothing was set");
        }
    }

    #[test]
    fn times_without_end_are_never() {
        let mut alarm = Alarm::NONE;
        assert!(!alarm.read(u64::MAX - 1, u64::MAX, u64::MAX - 1));
        assert_eq!(alarm.next(), u64::MAX);
    }
}
