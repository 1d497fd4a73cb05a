//! Interval timers, alarm, POSIX timers.

use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Args;
use crate::abi::{Timespec, Timeval};
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::Signal;
use crate::time::{
    SECOND_NS, SECOND_TICKS, TICK_NS, dynamic_clock, from_timespec, from_timeval, to_timespec, to_timeval,
};
use crate::timers::{Basis, MAX_TIMERS, Notify, PosixTimer, REAL, Setting};

pub(super) const SIGEV_SIGNAL: i32 = 0;
pub(super) const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD_ID: i32 = 4;

/// `struct sigevent`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct SigEvent {
    pub(super) value: u64,
    pub(super) signal: i32,
    pub(super) notify: i32,
    tid: i32,
    pad: [u32; 11],
}

/// What a setting still has to go, and its interval, in ns.
fn left(setting: Setting, now: u64) -> (u64, u64) {
    let left = if setting.due == 0 { 0 } else { setting.due.saturating_sub(now).max(1) };
    (left * TICK_NS, setting.interval * TICK_NS)
}

/// A setting that goes off `after` ns from `now` and every `interval` ns then.
fn setting(now: u64, after: u64, interval: u64) -> Setting {
    if after == 0 {
        return Setting::default();
    }
    Setting { due: now.saturating_add(after.div_ceil(TICK_NS)), interval: interval.div_ceil(TICK_NS) }
}

pub(super) fn alarm<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let now = kernel.platform.reference_time();
    let pid = kernel.task.process.borrow().pid;
    let (before, _) = left(kernel.task.process.borrow().timers.real, now);
    kernel.set_timer(pid, REAL, setting(now, u64::from(args.uint(0)) * SECOND_NS, 0));
    let seconds = before.saturating_add(SECOND_NS / 2) / SECOND_NS;
    Ok(if before > 0 { seconds.max(1) } else { 0 })
}

pub(super) fn getitimer<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let value = read(kernel, args.uint(0))?;
    kernel.put(args.get(1), &value)?;
    Ok(0)
}

pub(super) fn setitimer<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (which, new, old) = (args.uint(0), args.get(1), args.get(2));
    let wanted = if new == 0 { [Timeval::default(); 2] } else { kernel.get(new)? };
    let [interval, value] = wanted.map(from_timeval);
    let (interval, value) = (interval?, value?);
    let before = read(kernel, which)?;
    if which == raw::ITIMER_REAL {
        let now = kernel.platform.reference_time();
        let pid = kernel.task.process.borrow().pid;
        kernel.set_timer(pid, REAL, setting(now, value, interval));
    } else {
        let now = kernel.process_time();
        let mut process = kernel.task.process.borrow_mut();
        if let Some(slot) = process.timers.processor.get_mut(which as usize - 1) {
            *slot = setting(now, value, interval);
        }
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    Ok(0)
}

/// An interval timer's `struct itimerval`: interval, then what is left.
fn read<P: Platform>(kernel: &mut Kernel<P>, which: u32) -> Result<[Timeval; 2], Errno> {
    let (setting, now) = match which {
        raw::ITIMER_REAL => (kernel.task.process.borrow().timers.real, kernel.platform.reference_time()),
        raw::ITIMER_VIRTUAL | raw::ITIMER_PROF => {
            let now = kernel.process_time();
            let process = kernel.task.process.borrow();
            (process.timers.processor.get(which as usize - 1).copied().unwrap_or_default(), now)
        }
        _ => return Err(Errno::EINVAL),
    };
    let (left, interval) = left(setting, now);
    Ok([to_timeval(interval), to_timeval(left)])
}

pub(super) fn timer_create<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (clock, event_at, id_at) = (args.uint(0), args.get(1), args.get(2));
    let basis = basis_of(kernel, clock)?;
    let id = free_id(kernel)?;
    let event = match event_at {
        0 => SigEvent {
            value: u64::from(id.unsigned_abs()),
            signal: Signal::ALRM.0.cast_signed(),
            notify: SIGEV_SIGNAL,
            ..Default::default()
        },
        at => kernel.get(at)?,
    };
    let signal = Signal::new(event.signal);
    let notify = match event.notify {
        SIGEV_NONE => Notify::None,
        SIGEV_SIGNAL => Notify::Process(signal.ok_or(Errno::EINVAL)?),
        SIGEV_THREAD_ID => {
            let tid = event.tid.unsigned_abs();
            if !kernel.task.process.borrow().threads.contains(&tid) {
                return Err(Errno::EINVAL.into());
            }
            Notify::Thread(signal.ok_or(Errno::EINVAL)?, tid)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    kernel.put(id_at, &id)?;
    let timer = PosixTimer { clock, basis, notify, value: event.value, setting: Setting::default(), overrun: 0 };
    kernel.task.process.borrow_mut().timers.posix.insert(id, timer);
    Ok(0)
}

/// What a timer by this clock goes by.
fn basis_of<P: Platform>(kernel: &mut Kernel<P>, clock: u32) -> Result<Basis, Errno> {
    kernel.clock_ns(clock)?;
    let own = kernel.task.process.borrow().pid;
    match clock {
        raw::CLOCK_MONOTONIC_RAW | raw::CLOCK_MONOTONIC_COARSE | raw::CLOCK_REALTIME_COARSE => Err(Errno::EOPNOTSUPP),
        raw::CLOCK_PROCESS_CPUTIME_ID => Ok(Basis::Process),
        raw::CLOCK_THREAD_CPUTIME_ID => Ok(Basis::Thread(kernel.task.tid)),
        clock => match dynamic_clock(clock) {
            None => Ok(Basis::Time),
            Some((true, 0)) => Ok(Basis::Thread(kernel.task.tid)),
            Some((true, tid)) => Ok(Basis::Thread(tid)),
            Some((false, pid)) if pid == 0 || pid == own => Ok(Basis::Process),
            // Nobody looks at the time of a process that does not run.
            Some(_) => Err(Errno::EINVAL),
        },
    }
}

fn free_id<P: Platform>(kernel: &Kernel<P>) -> Result<i32, Errno> {
    let process = kernel.task.process.borrow();
    let timers = &process.timers.posix;
    if timers.len() >= MAX_TIMERS {
        return Err(Errno::EAGAIN);
    }
    (0..).find(|id| !timers.contains_key(id)).ok_or(Errno::EAGAIN)
}

/// What the clock of a timer is ahead of the reference clock, in ns.
fn clock_offset<P: Platform>(kernel: &Kernel<P>, clock: u32) -> u64 {
    match clock {
        raw::CLOCK_REALTIME | raw::CLOCK_TAI | raw::CLOCK_REALTIME_ALARM => kernel.realtime_offset_ns,
        _ => 0,
    }
}

pub(super) fn timer_settime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, flags, new, old) = (args.int(0), args.uint(1), args.get(2), args.get(3));
    let timer = kernel.posix_timer(id)?;
    let [interval, value] = kernel.get::<[Timespec; 2]>(new)?.map(from_timespec);
    let (interval, value) = (interval?, value?);
    let now = kernel.timer_now(&timer);
    let mut wanted = setting(now, value, interval);
    if flags & raw::TIMER_ABSTIME != 0 && value != 0 {
        let at = value.saturating_sub(clock_offset(kernel, timer.clock));
        wanted.due = at.div_ceil(TICK_NS).max(1);
    }
    let pid = kernel.task.process.borrow().pid;
    kernel.set_timer(pid, id, wanted);
    if let Some(timer) = kernel.task.process.borrow_mut().timers.posix.get_mut(&id) {
        timer.overrun = 0;
    }
    if old != 0 {
        kernel.put(old, &report(timer.setting, now))?;
    }
    Ok(0)
}

/// `struct itimerspec`: interval, then what is left.
fn report(setting: Setting, now: u64) -> [Timespec; 2] {
    let (left, interval) = left(setting, now);
    [to_timespec(interval), to_timespec(left)]
}

pub(super) fn timer_gettime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let timer = kernel.posix_timer(args.int(0))?;
    let now = kernel.timer_now(&timer);
    kernel.put(args.get(1), &report(timer.setting, now))?;
    Ok(0)
}

pub(super) fn timer_getoverrun<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    Ok(u64::from(kernel.posix_timer(args.int(0))?.overrun.unsigned_abs()))
}

pub(super) fn timer_delete<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let id = args.int(0);
    kernel.posix_timer(id)?;
    let pid = kernel.task.process.borrow().pid;
    kernel.set_timer(pid, id, Setting::default());
    kernel.task.process.borrow_mut().timers.posix.remove(&id);
    Ok(0)
}

const _: () = assert!(SECOND_TICKS * TICK_NS == SECOND_NS && size_of::<SigEvent>() == 64);
