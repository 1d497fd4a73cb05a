//! Clocks, from the partition's reference time.

use linux_raw_sys::general as raw;

use crate::abi::{Timespec, Timeval};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Reference time in a second.
pub const SECOND_TICKS: u64 = 10_000_000;
/// Reference time in a clock tick of `times` (USER_HZ 100).
pub const CLOCK_TICK: u64 = 100_000;
/// Nanoseconds in a tick of the reference clock.
pub const TICK_NS: u64 = 100;

/// A duration or an instant as a `timespec`.
#[must_use]
pub fn to_timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / SECOND_NS).cast_signed(), tv_nsec: (ns % SECOND_NS).cast_signed() }
}

/// The same as a `timeval`.
#[must_use]
pub fn to_timeval(ns: u64) -> Timeval {
    Timeval { tv_sec: (ns / SECOND_NS).cast_signed(), tv_usec: (ns % SECOND_NS / 1000).cast_signed() }
}

/// Nanoseconds of a `timespec` that a program gave; saturates.
///
/// # Errors
/// EINVAL for negative seconds or nanoseconds outside a second.
pub fn from_timespec(time: Timespec) -> Result<u64, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    let ns = u64::try_from(time.tv_nsec).ok().filter(|&ns| ns < SECOND_NS).ok_or(Errno::EINVAL)?;
    Ok(seconds.saturating_mul(SECOND_NS).saturating_add(ns))
}

/// Nanoseconds of a `timeval` that a program gave; saturates.
///
/// # Errors
/// EINVAL for negative seconds or microseconds outside a second.
pub fn from_timeval(time: Timeval) -> Result<u64, Errno> {
    let ns = time.tv_usec.checked_mul(1000).ok_or(Errno::EINVAL)?;
    from_timespec(Timespec { tv_sec: time.tv_sec, tv_nsec: ns })
}

/// Whose processor time a clock of clock_getcpuclockid or pthread_getcpuclockid is: whether a thread's, and the id (0: the
/// caller's). It has the inverted id in the upper bits, bit 2 for a thread, 2 (CPUCLOCK_SCHED) in the low two; 0 and 1 count the
/// same here. `None`: it is no such clock.
#[must_use]
pub fn dynamic_clock(clock: u32) -> Option<(bool, u32)> {
    let known = clock >> 31 != 0 && clock & 3 != 3;
    known.then(|| (clock & 4 != 0, !(clock.cast_signed() >> 3).cast_unsigned()))
}

impl<P: Platform> Kernel<P> {
    /// Nanoseconds since the partition was made.
    pub(crate) fn monotonic_ns(&mut self) -> u64 {
        self.platform.reference_time().saturating_mul(TICK_NS)
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn realtime_ns(&mut self) -> u64 {
        self.monotonic_ns().saturating_add(self.realtime_offset_ns)
    }

    /// A clock's reading.
    ///
    /// # Errors
    /// EINVAL for a clock that is not there.
    pub(crate) fn clock_ns(&mut self, clock: u32) -> Result<u64, Errno> {
        match clock {
            raw::CLOCK_REALTIME | raw::CLOCK_REALTIME_COARSE | raw::CLOCK_TAI => Ok(self.realtime_ns()),
            raw::CLOCK_MONOTONIC | raw::CLOCK_MONOTONIC_RAW | raw::CLOCK_MONOTONIC_COARSE | raw::CLOCK_BOOTTIME => {
                Ok(self.monotonic_ns())
            }
            raw::CLOCK_PROCESS_CPUTIME_ID => Ok(self.cpu_ns()),
            raw::CLOCK_THREAD_CPUTIME_ID => Ok(self.thread_cpu_ns()),
            raw::CLOCK_REALTIME_ALARM => Ok(self.realtime_ns()),
            raw::CLOCK_BOOTTIME_ALARM => Ok(self.monotonic_ns()),
            dynamic => self.cpu_clock_ns(dynamic),
        }
    }

    /// Processor time of the present process.
    pub(crate) fn cpu_ns(&mut self) -> u64 {
        self.process_time().saturating_mul(TICK_NS)
    }

    /// Processor time of the present thread.
    pub(crate) fn thread_cpu_ns(&mut self) -> u64 {
        self.account();
        self.task.time.saturating_mul(TICK_NS)
    }

    /// The processor-time clock of another process or thread.
    fn cpu_clock_ns(&mut self, clock: u32) -> Result<u64, Errno> {
        let named = dynamic_clock(clock).ok_or(Errno::EINVAL)?;
        let own = self.task.process.borrow().pid;
        let ticks = match named {
            (true, 0) => return Ok(self.thread_cpu_ns()),
            (false, 0) => return Ok(self.cpu_ns()),
            (false, id) if id == own => return Ok(self.cpu_ns()),
            (true, id) => self.task_of(id).filter(|task| task.process.borrow().pid == own).ok_or(Errno::EINVAL)?.time,
            (false, id) => self.process(id).ok_or(Errno::EINVAL)?.borrow().past_time,
        };
        Ok(ticks.saturating_mul(TICK_NS))
    }

    /// The reference time at which the present call's wait ends: `after_ns` from when the call was first made.
    pub(crate) fn deadline(&mut self, after_ns: u64) -> u64 {
        if let Some(until) = self.task.wait_until {
            return until;
        }
        let until = self.platform.reference_time().saturating_add(after_ns.div_ceil(TICK_NS));
        self.task.wait_until = Some(until);
        until
    }

    /// Has the reference clock reached `deadline`?
    pub(crate) fn is_over(&mut self, deadline: u64) -> bool {
        self.platform.reference_time() >= deadline
    }
}
