//! fork, vfork, clone, clone3.

use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::lifecycle::CloneArgs;
use crate::num::low32;
use crate::platform::Platform;
use crate::signal::Signal;
use crate::wait::Wait;
use proto::layout::USER_END_VA;

/// Flags that are carried out.
const KNOWN: u32 = raw::CLONE_VM
    | raw::CLONE_FS
    | raw::CLONE_FILES
    | raw::CLONE_SIGHAND
    | raw::CLONE_VFORK
    | raw::CLONE_PARENT
    | raw::CLONE_THREAD
    | raw::CLONE_SYSVSEM
    | raw::CLONE_SETTLS
    | raw::CLONE_PARENT_SETTID
    | raw::CLONE_CHILD_CLEARTID
    | raw::CLONE_CHILD_SETTID
    | raw::CLONE_DETACHED
    | raw::CLONE_UNTRACED
    | raw::CLONE_PIDFD
    | raw::CLONE_IO;
/// Flags that make new name spaces: only a privileged process may.
const NAMESPACES: u32 = raw::CLONE_NEWNS
    | raw::CLONE_NEWCGROUP
    | raw::CLONE_NEWUTS
    | raw::CLONE_NEWIPC
    | raw::CLONE_NEWUSER
    | raw::CLONE_NEWPID
    | raw::CLONE_NEWNET;
/// CLONE_CLEAR_SIGHAND of clone3.
const CLEAR_SIGHAND: u64 = 1 << 32;
/// Size of `struct clone_args` in its first version, and of the one that Linux 6.1 has, in words.
const FIRST_SIZE: u64 = 64;
const WORDS: usize = 11;

pub(super) fn fork<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    start(kernel, &CloneArgs { exit_signal: Signal::CHLD.0, ..Default::default() }, false)
}

pub(super) fn vfork<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    let flags = u64::from(raw::CLONE_VM | raw::CLONE_VFORK);
    start(kernel, &CloneArgs { flags, exit_signal: Signal::CHLD.0, ..Default::default() }, false)
}

pub(super) fn clone<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let word = args.uint(0);
    let args = CloneArgs {
        flags: u64::from(word & !raw::CSIGNAL),
        exit_signal: word & raw::CSIGNAL,
        stack: args.get(1),
        pidfd: args.get(2),
        parent_tid: args.get(2),
        child_tid: args.get(3),
        tls: args.get(4),
    };
    start(kernel, &args, false)
}

pub(super) fn clone3<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if let Some(child) = kernel.task.vfork_child {
        // Made again while it waits: what the structure says by now does not count.
        return wait_for_program(kernel, child);
    }
    let words: [u64; WORDS] = kernel.sized_structure(args.get(0), args.get(1), FIRST_SIZE)?;
    let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, _cgroup] =
        words;
    let unknown = flags & !(u64::from(KNOWN | NAMESPACES) | CLEAR_SIGHAND);
    if unknown != 0 || exit_signal > 64 || (stack == 0) != (stack_size == 0) || flags & u64::from(raw::CSIGNAL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if set_tid_size != 0 || set_tid != 0 {
        return Err(Errno::EPERM.into());
    }
    let exit_signal = low32(exit_signal);
    let stack = stack.wrapping_add(stack_size);
    let args = CloneArgs { flags: flags & !CLEAR_SIGHAND, exit_signal, stack, pidfd, parent_tid, child_tid, tls };
    start(kernel, &args, flags & CLEAR_SIGHAND != 0)
}

fn start<P: Platform>(kernel: &mut Kernel<P>, args: &CloneArgs, clear_handlers: bool) -> Outcome {
    if let Some(child) = kernel.task.vfork_child {
        return wait_for_program(kernel, child);
    }
    check(args)?;
    let regs = kernel.task.regs;
    let child = kernel.clone_task(args, &regs)?;
    if clear_handlers && let Some(task) = kernel.task_mut(child) {
        for action in task.actions.borrow_mut().iter_mut().filter(|action| action.handler > 1) {
            *action = crate::abi::SigAction::default();
        }
    }
    if args.flags & u64::from(raw::CLONE_VFORK) == 0 {
        return Ok(u64::from(child));
    }
    kernel.task.vfork_child = Some(child);
    wait_for_program(kernel, child)
}

/// vfork: waits until the child has a program of its own, or has ended.
fn wait_for_program<P: Platform>(kernel: &mut Kernel<P>, child: u32) -> Outcome {
    if let Some(done) = kernel.task_of(child).and_then(|task| task.vfork_done.clone()) {
        return Err(Stop::Block(Wait::on(&done).uninterruptible()));
    }
    kernel.task.vfork_child = None;
    Ok(u64::from(child))
}

fn check(args: &CloneArgs) -> Result<(), Errno> {
    let has = |flag: u32| args.flags & u64::from(flag) != 0;
    if has(raw::CLONE_THREAD) && !has(raw::CLONE_SIGHAND) || has(raw::CLONE_SIGHAND) && !has(raw::CLONE_VM) {
        return Err(Errno::EINVAL);
    }
    if args.flags & u64::from(NAMESPACES) != 0 {
        return Err(Errno::EPERM);
    }
    let no_pidfd = has(raw::CLONE_THREAD)
        || has(raw::CLONE_DETACHED)
        || (has(raw::CLONE_PARENT_SETTID) && args.pidfd == args.parent_tid);
    if has(raw::CLONE_PIDFD) && no_pidfd || args.flags & !u64::from(KNOWN | raw::CLONE_PTRACE) != 0 {
        return Err(Errno::EINVAL);
    }
    if has(raw::CLONE_SETTLS) && args.tls >= USER_END_VA {
        return Err(Errno::EPERM);
    }
    Ok(())
}
