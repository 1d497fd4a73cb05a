//! Signal actions, masks and stacks; signals that a program sends to itself.

use super::Args;
use crate::abi::{AltStack, SigAction};
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::{DefaultAction, SIG_DFL, SIG_IGN, Signal};
use proto::op;

/// Size of a signal set.
const SET: u64 = 8;
/// Signals that are never blocked, caught or ignored.
const UNSTOPPABLE: u64 = 1 << 8 | 1 << 18;
const SS_DISABLE: i32 = 2;
const SS_AUTODISARM: i32 = i32::MIN;
/// Smallest alternate stack (MINSIGSTKSZ).
const MIN_STACK: u64 = 2048;

pub(super) fn rt_sigaction<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (new, old, size) = (args.get(1), args.get(2), args.get(3));
    let signal = Signal::new(args.int(0)).ok_or(Errno::EINVAL)?;
    if size != SET || (new != 0 && signal.bit() & UNSTOPPABLE != 0) {
        return Err(Errno::EINVAL.into());
    }
    let wanted: Option<SigAction> = if new == 0 { None } else { Some(kernel.get(new)?) };
    let before = kernel.task.actions.borrow().get(signal.slot()).copied().unwrap_or_default();
    if old != 0 {
        kernel.put(old, &before)?;
    }
    if let (Some(mut action), Some(slot)) = (wanted, kernel.task.actions.borrow_mut().get_mut(signal.slot())) {
        action.mask &= !UNSTOPPABLE;
        *slot = action;
    }
    Ok(0)
}

pub(super) fn rt_sigprocmask<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (how, new, old, size) = (args.int(0), args.get(1), args.get(2), args.get(3));
    if size != SET {
        return Err(Errno::EINVAL.into());
    }
    let before = kernel.task.blocked;
    if new != 0 {
        let set: u64 = kernel.get(new)?;
        let blocked = match how {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        kernel.task.blocked = blocked & !UNSTOPPABLE;
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    let due = kernel.task.pending & !kernel.task.blocked;
    if due != 0 {
        kernel.task.pending &= !due;
        let signal = Signal(due.trailing_zeros() + 1);
        raise(kernel, signal)?;
    }
    Ok(0)
}

pub(super) fn rt_sigpending<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.get(1) > SET {
        return Err(Errno::EINVAL.into());
    }
    let pending = kernel.task.pending;
    kernel.put(args.get(0), &pending)?;
    Ok(0)
}

pub(super) fn sigaltstack<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (new, old) = (args.get(0), args.get(1));
    let before = kernel.task.alternate_stack;
    if new != 0 {
        let mut stack: AltStack = kernel.get(new)?;
        match stack.ss_flags & !SS_AUTODISARM {
            SS_DISABLE => stack = AltStack { ss_flags: SS_DISABLE, ..Default::default() },
            0 | 1 if stack.ss_size < MIN_STACK => return Err(Errno::ENOMEM.into()),
            0 | 1 => stack.ss_flags &= SS_AUTODISARM,
            _ => return Err(Errno::EINVAL.into()),
        }
        kernel.task.alternate_stack = stack;
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    Ok(0)
}

/// Sends a signal to the present task.
///
/// # Errors
/// [`Stop::Ended`] when it ends the program, [`Stop::NotImplemented`] when a handler would have to run.
pub(super) fn raise<P: Platform>(kernel: &mut Kernel<P>, signal: Signal) -> Result<(), Stop> {
    if kernel.task.blocked & signal.bit() != 0 {
        kernel.task.pending |= signal.bit();
        return Ok(());
    }
    let handler = kernel.task.actions.borrow().get(signal.slot()).map_or(SIG_DFL, |action| action.handler);
    match (handler, signal.default_action()) {
        (SIG_IGN, _) | (SIG_DFL, DefaultAction::Ignore) => Ok(()),
        (SIG_DFL, DefaultAction::End) => {
            kernel.end(op::Exit { signal: signal.0, ..Default::default() });
            Err(Stop::Ended)
        }
        _ => Err(Stop::NotImplemented),
    }
}

/// Sends `number` (0: only looks) to the present task.
fn send<P: Platform>(kernel: &mut Kernel<P>, number: i32) -> Outcome {
    if number == 0 {
        return Ok(0);
    }
    let signal = Signal::new(number).ok_or(Errno::EINVAL)?;
    raise(kernel, signal)?;
    Ok(0)
}

pub(super) fn kill<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, number) = (args.int(0), args.int(1));
    let (own, group) = {
        let process = kernel.task.process.borrow();
        (process.pid, process.group)
    };
    let target = pid.unsigned_abs();
    let reached = match pid {
        0 => true,
        -1 => return Err(Errno::ESRCH.into()),
        pid if pid < 0 => target == group,
        _ => target == own,
    };
    if reached { send(kernel, number) } else { Err(Errno::ESRCH.into()) }
}

pub(super) fn tkill<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    to_thread(kernel, args.int(0), args.int(1))
}

pub(super) fn tgkill<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.int(0) <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if args.int(0).unsigned_abs() != kernel.task.process.borrow().pid {
        return Err(Errno::ESRCH.into());
    }
    to_thread(kernel, args.int(1), args.int(2))
}

fn to_thread<P: Platform>(kernel: &mut Kernel<P>, tid: i32, number: i32) -> Outcome {
    if tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if tid.unsigned_abs() == kernel.task.tid { send(kernel, number) } else { Err(Errno::ESRCH.into()) }
}
