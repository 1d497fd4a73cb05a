//! timerfd: a timer that is waited for by reading how often it has expired.
//!
//! Nothing runs when a timer expires. Whoever looks at it, looks at the clock too, and counts what has expired since.

use alloc::vec::Vec;
use core::any::Any;
use core::cell::Cell;

use super::event::{ANONYMOUS_MODE, put_count};
use super::special::{Caller, Sink, Special, Supply, ready};
use crate::errno::Errno;
use crate::time::TICK_NS;
use crate::wait::{Channel, Hub};

/// When a timer expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Setting {
    /// Next expiration, in ns since the partition was made (before that, too); `None`: disarmed.
    next: Option<i64>,
    /// Time between expirations in ns; 0: it expires once.
    interval: u64,
}

/// The timer.
pub struct TimerFd {
    setting: Cell<Setting>,
    /// Expirations that nobody has read of.
    expired: Cell<u64>,
    /// The clock that it was made for.
    clock: u32,
    number: u64,
    channel: Channel,
}

/// Time that is left, and the interval, both in ns; 0: disarmed, and no repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLeft {
    /// Time to the next expiration.
    pub left: u64,
    /// Time between expirations.
    pub interval: u64,
}

/// ns since the partition was made.
fn nanoseconds(reference_time: u64) -> i64 {
    i64::try_from(reference_time.saturating_mul(TICK_NS)).unwrap_or(i64::MAX)
}

impl TimerFd {
    /// A disarmed timer.
    #[must_use]
    pub fn new(hub: &Hub, number: u64, clock: u32) -> Self {
        Self { setting: Cell::default(), expired: Cell::new(0), clock, number, channel: hub.channel() }
    }

    /// The clock that absolute times are by (CLOCK_*).
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.clock
    }

    /// Expires at `next` (ns since the partition was made; `None`: never) and then each `interval` ns.
    pub fn set(&self, next: Option<i64>, interval: u64) {
        self.setting.set(Setting { next, interval });
        self.expired.set(0);
        self.channel.wake_for(0);
    }

    /// How it is set, at reference time `now`.
    #[must_use]
    pub fn get(&self, now: u64) -> TimeLeft {
        self.settle(now);
        let Setting { next, interval } = self.setting.get();
        let now = nanoseconds(now);
        TimeLeft { left: next.map_or(0, |next| next.abs_diff(now).max(1)), interval }
    }

    /// Counts what has expired by reference time `now`.
    fn settle(&self, now: u64) {
        let Setting { next, interval } = self.setting.get();
        let now = nanoseconds(now);
        let Some(next) = next.filter(|&next| next <= now) else { return };
        let (count, later) = match now.abs_diff(next).checked_div(interval) {
            None => (1, None),
            Some(periods) => {
                let count = periods.saturating_add(1);
                let later = i64::try_from(count.saturating_mul(interval)).unwrap_or(i64::MAX);
                (count, Some(next.saturating_add(later)))
            }
        };
        self.setting.set(Setting { next: later, interval });
        self.expired.set(self.expired.get().saturating_add(count));
        self.channel.wake_for(ready::IN);
    }
}

impl Special for TimerFd {
    fn read(&self, caller: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        if out.room() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        self.settle(caller.now);
        let count = self.expired.get();
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        let done = put_count(out, count)?;
        self.expired.set(0);
        Ok(done)
    }

    fn write(&self, _: &Caller, _: &mut dyn Supply) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self, caller: &Caller) -> i16 {
        self.settle(caller.now);
        if self.expired.get() > 0 { ready::IN } else { 0 }
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.channel.clone());
    }

    fn deadline(&self) -> u64 {
        let next = self.setting.get().next;
        next.map_or(u64::MAX, |next| u64::try_from(next).unwrap_or(0).div_ceil(TICK_NS))
    }

    fn mode(&self) -> u32 {
        ANONYMOUS_MODE
    }

    fn inode(&self) -> u64 {
        self.number
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[timerfd]".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::Hub;

    fn timer() -> TimerFd {
        TimerFd::new(&Hub::default(), 1, 1)
    }

    #[test]
    fn each_period_is_counted_once() {
        let timer = timer();
        timer.set(Some(1000), 300);
        assert_eq!(timer.deadline(), 10);
        timer.settle(9);
        assert_eq!(timer.expired.get(), 0);
        timer.settle(10);
        assert_eq!(timer.expired.get(), 1);
        assert_eq!(timer.deadline(), 13);
        timer.settle(20);
        assert_eq!(timer.expired.get(), 4);
        assert_eq!(timer.get(20), TimeLeft { left: 200, interval: 300 });
    }

    #[test]
    fn once_means_once() {
        let timer = timer();
        timer.set(Some(-5), 0);
        assert_eq!(timer.deadline(), 0);
        timer.settle(1);
        timer.settle(u64::MAX);
        assert_eq!(timer.expired.get(), 1);
        assert_eq!(timer.deadline(), u64::MAX);
        assert_eq!(timer.get(5), TimeLeft { left: 0, interval: 0 });
    }

    #[test]
    fn extremes_saturate() {
        let timer = timer();
        timer.set(Some(i64::MIN), 1);
        timer.settle(u64::MAX);
        assert_eq!(timer.expired.get(), u64::MAX);
        timer.set(Some(i64::MAX), u64::MAX);
        timer.settle(u64::MAX);
        assert_eq!(timer.expired.get(), 1);
    }
}
