//! Clocks and sleeping.

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::{Timespec, Timeval};
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::time::{CLOCK_TICK, SECOND_NS, TICK_NS, dynamic_clock, from_timespec, to_timespec, to_timeval};
use crate::wait::Wait;

pub(super) fn clock_gettime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let now = kernel.clock_ns(args.uint(0))?;
    kernel.put(args.get(1), &to_timespec(now))?;
    Ok(0)
}

pub(super) fn clock_getres<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.clock_ns(args.uint(0))?;
    if args.get(1) != 0 {
        let coarse = matches!(args.uint(0), raw::CLOCK_REALTIME_COARSE | raw::CLOCK_MONOTONIC_COARSE);
        kernel.put(args.get(1), &to_timespec(if coarse { 4_000_000 } else { 1 }))?;
    }
    Ok(0)
}

pub(super) fn gettimeofday<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let now = kernel.realtime_ns();
    if args.get(0) != 0 {
        kernel.put::<Timeval>(args.get(0), &to_timeval(now))?;
    }
    if args.get(1) != 0 {
        kernel.put(args.get(1), &[0_i32; 2])?;
    }
    Ok(0)
}

pub(super) fn time<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let now = kernel.realtime_ns() / SECOND_NS;
    if args.get(0) != 0 {
        kernel.put(args.get(0), &now)?;
    }
    Ok(now)
}

pub(super) fn nanosleep<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let wanted = from_timespec(kernel.get::<Timespec>(args.get(0))?)?;
    sleep_for(kernel, wanted)
}

pub(super) fn clock_nanosleep<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (clock, flags) = (args.uint(0), args.uint(1));
    let wanted = from_timespec(kernel.get::<Timespec>(args.get(2))?)?;
    match clock {
        raw::CLOCK_REALTIME | raw::CLOCK_TAI | raw::CLOCK_MONOTONIC | raw::CLOCK_BOOTTIME => {}
        clock if is_own_processor_clock(kernel, clock) => {
            return sleep_by_processor_time(kernel, wanted, flags & raw::TIMER_ABSTIME != 0);
        }
        raw::CLOCK_THREAD_CPUTIME_ID => return Err(Errno::EINVAL.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    if flags & raw::TIMER_ABSTIME == 0 {
        return sleep_for(kernel, wanted);
    }
    let now = kernel.clock_ns(clock)?;
    match wanted.checked_sub(now) {
        None | Some(0) => Ok(0),
        Some(left) => sleep_for(kernel, left),
    }
}

/// Does this clock count the processor time of the present process?
fn is_own_processor_clock<P: Platform>(kernel: &Kernel<P>, clock: u32) -> bool {
    let own = kernel.task.process.borrow().pid;
    clock == raw::CLOCK_PROCESS_CPUTIME_ID
        || dynamic_clock(clock).is_some_and(|(thread, id)| !thread && (id == 0 || id == own))
}

/// Sleeps until the process has used so much processor time. There is one processor: it cannot have before as much time has passed.
fn sleep_by_processor_time<P: Platform>(kernel: &mut Kernel<P>, ns: u64, absolute: bool) -> Outcome {
    let used = kernel.process_time();
    let ticks = ns.div_ceil(TICK_NS);
    // What the call waits for is kept where other calls keep a time limit.
    let target = if absolute { ticks } else { *kernel.task.wait_until.get_or_insert(used.saturating_add(ticks)) };
    let left = target.saturating_sub(used);
    if left == 0 {
        return Ok(0);
    }
    let look_again = kernel.platform.reference_time().saturating_add(left.max(CLOCK_TICK));
    Err(Stop::Block(Wait::until(look_again).never_restarted()))
}

fn sleep_for<P: Platform>(kernel: &mut Kernel<P>, ns: u64) -> Outcome {
    let deadline = kernel.deadline(ns.max(TICK_NS));
    if kernel.is_over(deadline) { Ok(0) } else { Err(Stop::Block(Wait::until(deadline).never_restarted())) }
}

/// A handler has ended a sleep: what is left of it goes where the program wants it.
pub(super) fn interrupted_sleep<P: Platform>(kernel: &mut Kernel<P>, clock: u32, remaining_at: u64) {
    let Some(until) = kernel.task.wait_until.filter(|_| remaining_at != 0) else { return };
    let now =
        if is_own_processor_clock(kernel, clock) { kernel.process_time() } else { kernel.platform.reference_time() };
    let left = until.saturating_sub(now).saturating_mul(TICK_NS);
    // A bad address is the program's affair: the call has failed already.
    let _ = kernel.put(remaining_at, &to_timespec(left));
}

/// The sandbox' clocks are not the program's to set.
pub(super) fn not_settable<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EPERM.into())
}
