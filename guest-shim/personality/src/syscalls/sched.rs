//! Scheduling: there is one processor, and one queue in which all wait their turn. Policies and priorities are recorded where
//! programs may have them, and change nothing.

use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::time::to_timespec;

/// A time slice, as sched_rr_get_interval tells it.
const SLICE_NS: u64 = 10_000_000;
/// Bytes of a processor set.
const SET: u64 = 8;
/// Priorities of SCHED_FIFO and SCHED_RR.
const PRIORITIES: (u64, u64) = (1, 99);

pub(super) fn sched_yield<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    kernel.give_way();
    Ok(0)
}

/// There is one processor: its bit, in a mask of at least eight bytes.
pub(super) fn sched_getaffinity<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_affinity_task(kernel, args.int(0))?;
    let len = u64::from(args.uint(1));
    if len < SET || !len.is_multiple_of(SET) {
        return Err(Errno::EINVAL.into());
    }
    kernel.put(args.get(2), &1_u64)?;
    Ok(SET)
}

pub(super) fn sched_setaffinity<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_affinity_task(kernel, args.int(0))?;
    if args.uint(1) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let first: u8 = kernel.get(args.get(2))?;
    if first & 1 == 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

/// The affinity of a task with a negative number is nobody's; other calls find the number itself wrong.
fn check_affinity_task<P: Platform>(kernel: &Kernel<P>, tid: i32) -> Result<(), Errno> {
    if tid < 0 { Err(Errno::ESRCH) } else { check_task(kernel, tid) }
}

fn check_task<P: Platform>(kernel: &Kernel<P>, tid: i32) -> Result<(), Errno> {
    let tid = u32::try_from(tid).map_err(|_| Errno::EINVAL)?;
    if tid == 0 || kernel.task_of(tid).is_some() || kernel.process(tid).is_some() { Ok(()) } else { Err(Errno::ESRCH) }
}

pub(super) fn sched_getscheduler<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    Ok(u64::from(policy_of(kernel, args.int(0))))
}

/// The thread that a number means which `check_task` has found: 0 is the caller.
fn thread<P: Platform>(kernel: &Kernel<P>, tid: i32) -> u32 {
    if tid == 0 { kernel.task.tid } else { tid.unsigned_abs() }
}

fn policy_of<P: Platform>(kernel: &Kernel<P>, tid: i32) -> u32 {
    kernel.task_of(thread(kernel, tid)).map_or(raw::SCHED_NORMAL, |task| task.policy)
}

fn set_policy<P: Platform>(kernel: &mut Kernel<P>, tid: i32, policy: u32) {
    let tid = thread(kernel, tid);
    if let Some(task) = kernel.task_mut(tid) {
        task.policy = policy;
    }
}

/// Policies without privileges are as good as the ordinary one; real-time ones nobody here may have.
pub(super) fn sched_setscheduler<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    let priority: i32 = kernel.structure(args.get(2))?;
    check_policy(args.uint(1) & !raw::SCHED_RESET_ON_FORK, priority)?;
    set_policy(kernel, args.int(0), args.uint(1));
    Ok(0)
}

pub(super) fn sched_setparam<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    let priority: i32 = kernel.structure(args.get(1))?;
    check_policy(raw::SCHED_NORMAL, priority)
}

fn check_policy(policy: u32, priority: i32) -> Outcome {
    match policy {
        raw::SCHED_NORMAL | raw::SCHED_BATCH | raw::SCHED_IDLE if priority == 0 => Ok(0),
        raw::SCHED_FIFO | raw::SCHED_RR if (1..=99).contains(&priority) => Err(Errno::EPERM.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn sched_getparam<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    kernel.put(args.get(1), &0_i32)?;
    Ok(0)
}

pub(super) fn sched_get_priority_max<P: Platform>(_: &mut Kernel<P>, args: &Args) -> Outcome {
    priority(args.uint(0), PRIORITIES.1)
}

pub(super) fn sched_get_priority_min<P: Platform>(_: &mut Kernel<P>, args: &Args) -> Outcome {
    priority(args.uint(0), PRIORITIES.0)
}

fn priority(policy: u32, real_time: u64) -> Outcome {
    match policy {
        raw::SCHED_FIFO | raw::SCHED_RR => Ok(real_time),
        raw::SCHED_NORMAL | raw::SCHED_BATCH | raw::SCHED_IDLE | raw::SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn sched_rr_get_interval<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    kernel.put(args.get(1), &to_timespec(SLICE_NS))?;
    Ok(0)
}

/// 20 − nice, as the call itself returns it.
pub(super) fn getpriority<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let pid = subject(kernel, args)?;
    let process = kernel.process(pid).ok_or(Errno::ESRCH)?;
    let nice = process.borrow().nice;
    Ok(u64::from((20 - nice).unsigned_abs()))
}

pub(super) fn setpriority<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let pid = subject(kernel, args)?;
    let process = kernel.process(pid).ok_or(Errno::ESRCH)?;
    let wanted = args.int(2).clamp(-20, 19);
    let mut process = process.borrow_mut();
    if wanted < process.nice && process.uid[1] != 0 {
        return Err(Errno::EACCES.into());
    }
    process.nice = wanted;
    Ok(0)
}

/// The process that PRIO_PROCESS, or the first of those that PRIO_PGRP and PRIO_USER mean.
fn subject<P: Platform>(kernel: &Kernel<P>, args: &Args) -> Result<u32, Errno> {
    let (kind, who) = (args.uint(0), args.uint(1));
    let own = kernel.task.process.borrow();
    let found = match kind {
        0 if who == 0 => Some(own.pid),
        0 => kernel.process(who).map(|_| who).or_else(|| kernel.task_of(who).map(|task| task.process.borrow().pid)),
        1 => kernel.group_members(if who == 0 { own.group } else { who }).first().copied(),
        2 if who == 0 || who == own.uid[0] => Some(own.pid),
        2 => None,
        _ => return Err(Errno::EINVAL),
    };
    found.ok_or(Errno::ESRCH)
}

/// ioprio_get: the class that everybody has (IOPRIO_CLASS_NONE).
pub(super) fn ioprio_get<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    subject(kernel, &Args([args.get(0).wrapping_sub(1), args.get(1), 0, 0, 0, 0]))?;
    Ok(0)
}

/// ioprio_set: there is no queue that it could change.
pub(super) fn ioprio_set<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    ioprio_get(kernel, args)
}

/// Size of `struct sched_attr` in its first version.
const SCHED_ATTR: u32 = 48;

pub(super) fn sched_getattr<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    if args.uint(2) < SCHED_ATTR || args.uint(3) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut words = [0_u32; 12];
    words[0] = SCHED_ATTR;
    let policy = policy_of(kernel, args.int(0));
    words[1] = policy & !raw::SCHED_RESET_ON_FORK;
    words[2] = u32::from(policy & raw::SCHED_RESET_ON_FORK != 0);
    words[4] = kernel.task.process.borrow().nice.cast_unsigned();
    kernel.put(args.get(1), &words)?;
    Ok(0)
}

pub(super) fn sched_setattr<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_task(kernel, args.int(0))?;
    let words: [u32; 6] = kernel.get(args.get(1))?;
    if args.uint(2) != 0 {
        return Err(Errno::EINVAL.into());
    }
    check_policy(words[1], words[5].cast_signed())?;
    let reset = if words[2] & 1 != 0 { raw::SCHED_RESET_ON_FORK } else { 0 };
    set_policy(kernel, args.int(0), words[1] | reset);
    Ok(0)
}
