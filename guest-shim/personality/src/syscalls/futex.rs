//! futex and futex_waitv.

use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::{FutexWaiter, Timespec};
use crate::errno::{Errno, Outcome, Stop};
use crate::futex::{FutexKey, WakeOp};
use crate::kernel::Kernel;
use crate::num::{index, low32};
use crate::platform::Platform;
use crate::time::from_timespec;
use crate::wait::Wait;
use zerocopy::IntoBytes;

/// The size of a futex that futex_waitv knows (FUTEX_32).
const FUTEX_32: u32 = 2;

pub(super) fn futex<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (operation, value) = (args.uint(1), args.uint(2));
    let private = operation & raw::FUTEX_PRIVATE_FLAG != 0;
    let realtime = operation & raw::FUTEX_CLOCK_REALTIME != 0;
    let command = operation & !(raw::FUTEX_PRIVATE_FLAG | raw::FUTEX_CLOCK_REALTIME);
    if realtime && !matches!(command, raw::FUTEX_WAIT | raw::FUTEX_WAIT_BITSET) {
        return Err(Errno::ENOSYS.into());
    }
    match command {
        raw::FUTEX_WAIT => wait(kernel, args, private, false, realtime, u32::MAX),
        raw::FUTEX_WAIT_BITSET => wait(kernel, args, private, true, realtime, args.uint(5)),
        raw::FUTEX_WAKE => wake(kernel, args, private, u32::MAX),
        raw::FUTEX_WAKE_BITSET => wake(kernel, args, private, args.uint(5)),
        raw::FUTEX_REQUEUE => requeue(kernel, args, private, None),
        raw::FUTEX_CMP_REQUEUE => requeue(kernel, args, private, Some(args.uint(5))),
        raw::FUTEX_WAKE_OP => wake_op(kernel, args, private, value),
        // Priority inheritance: glibc falls back, or says so (ENOSYS is what kernels without it give).
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn wait<P: Platform>(
    kernel: &mut Kernel<P>,
    args: &Args,
    private: bool,
    absolute: bool,
    realtime: bool,
    bits: u32,
) -> Outcome {
    let (at, value, timeout) = (args.get(0), args.uint(2), args.get(3));
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    let deadline = match (timeout, kernel.task.wait_until) {
        (0, _) => u64::MAX,
        (_, Some(until)) => until,
        (at, None) => {
            let ns = from_timespec(kernel.get::<Timespec>(at)?)?;
            let now = if realtime { kernel.realtime_ns() } else { kernel.monotonic_ns() };
            kernel.deadline(if absolute { ns.saturating_sub(now) } else { ns })
        }
    };
    if kernel.task.futex.is_none() {
        let key = kernel.futex_key(at, private)?;
        let found: u32 = kernel.get(at)?;
        if found != value {
            return Err(Errno::EAGAIN.into());
        }
        kernel.join_futexes(vec![key], bits);
    }
    wait_until_woken(kernel, deadline)?;
    Ok(0)
}

/// The present task waits at its futexes: which one of them it was woken at.
fn wait_until_woken<P: Platform>(kernel: &mut Kernel<P>, deadline: u64) -> Outcome {
    if let Some(place) = kernel.task.futex.as_ref().and_then(|wait| wait.woken) {
        return Ok(place as u64);
    }
    if kernel.is_over(deadline) {
        return Err(Errno::ETIMEDOUT.into());
    }
    // With a time limit it is not made again behind a handler: the limit would start anew.
    let wait = Wait::until(deadline);
    Err(Stop::Block(if deadline == u64::MAX { wait } else { wait.never_restarted() }))
}

/// Most futexes of one wait (FUTEX_WAITV_MAX).
const MAX_WAITERS: u32 = 128;

pub(super) fn futex_waitv<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (list_at, count, flags, timeout, clock) = (args.get(0), args.uint(1), args.uint(2), args.get(3), args.uint(4));
    if flags != 0 || count == 0 || count > MAX_WAITERS || list_at == 0 {
        return Err(Errno::EINVAL.into());
    }
    let deadline = match timeout {
        0 => u64::MAX,
        at => {
            let now = match clock {
                raw::CLOCK_MONOTONIC => kernel.monotonic_ns(),
                raw::CLOCK_REALTIME => kernel.realtime_ns(),
                _ => return Err(Errno::EINVAL.into()),
            };
            let ns = from_timespec(kernel.get::<Timespec>(at)?)?;
            kernel.deadline(ns.saturating_sub(now))
        }
    };
    if kernel.task.futex.is_none() {
        let keys = waiters(kernel, list_at, count)?;
        kernel.join_futexes(keys, u32::MAX);
    }
    wait_until_woken(kernel, deadline)
}

/// The futexes of a list of `struct futex_waitv` (`count` is bounded), each of which has the value that the list expects.
fn waiters<P: Platform>(kernel: &mut Kernel<P>, at: u64, count: u32) -> Result<Vec<FutexKey>, Errno> {
    let mut list = vec![FutexWaiter::default(); index(u64::from(count))];
    kernel.copy_in(at, list.as_mut_slice().as_mut_bytes())?;
    let known = raw::FUTEX_PRIVATE_FLAG | FUTEX_32;
    if list.iter().any(|one| one.flags & !known != 0 || one.flags & FUTEX_32 == 0 || one.reserved != 0) {
        return Err(Errno::EINVAL);
    }
    let mut keys = Vec::with_capacity(list.len());
    for one in &list {
        keys.push(kernel.futex_key(one.address, one.flags & raw::FUTEX_PRIVATE_FLAG != 0)?);
    }
    for one in &list {
        if kernel.get::<u32>(one.address)? != low32(one.value) {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(keys)
}

fn wake<P: Platform>(kernel: &mut Kernel<P>, args: &Args, private: bool, bits: u32) -> Outcome {
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = kernel.futex_key(args.get(0), private)?;
    // Waking nobody is waking one (Linux).
    let count = args.int(2).max(1).unsigned_abs();
    Ok(u64::from(kernel.wake_futex(key, count, bits)))
}

fn requeue<P: Platform>(kernel: &mut Kernel<P>, args: &Args, private: bool, expected: Option<u32>) -> Outcome {
    let (wake, limit) = (args.int(2), low32(args.get(3)).cast_signed());
    let (Ok(wake), Ok(limit)) = (u32::try_from(wake), u32::try_from(limit)) else {
        return Err(Errno::EINVAL.into());
    };
    let from = kernel.futex_key(args.get(0), private)?;
    let to = kernel.futex_key(args.get(4), private)?;
    if let Some(expected) = expected
        && kernel.get::<u32>(args.get(0))? != expected
    {
        return Err(Errno::EAGAIN.into());
    }
    let woken = kernel.wake_futex(from, wake, u32::MAX);
    let moved = kernel.requeue_futex(from, to, limit);
    // FUTEX_REQUEUE and FUTEX_CMP_REQUEUE both count those that were moved.
    Ok(u64::from(woken) + u64::from(moved))
}

fn wake_op<P: Platform>(kernel: &mut Kernel<P>, args: &Args, private: bool, count: u32) -> Outcome {
    let op = WakeOp(args.uint(5));
    let (first, second) = (kernel.futex_key(args.get(0), private)?, kernel.futex_key(args.get(4), private)?);
    let old: u32 = kernel.get(args.get(4))?;
    let new = op.apply(old)?;
    let also = op.compares(old)?;
    kernel.put(args.get(4), &new)?;
    let mut woken = kernel.wake_futex(first, count.max(1), u32::MAX);
    if also {
        woken += kernel.wake_futex(second, low32(args.get(3)).max(1), u32::MAX);
    }
    Ok(u64::from(woken))
}
