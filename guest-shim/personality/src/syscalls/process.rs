//! The process itself: its end, its ids, limits, use of resources, prctl.

use alloc::rc::Rc;
use core::cell::RefCell;

use linux_raw_sys::{general, prctl as pr};
use proto::layout::USER_END_VA;

use super::Args;
use crate::abi::{Rlimit, Rusage, Tms};
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::num::{index, low32};
use crate::platform::{PAGE, Platform};
use crate::task::{Process, TIMER_SLACK};
use crate::time::{CLOCK_TICK, to_timeval};

const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;
/// Size of `struct robust_list_head`.
const ROBUST_HEAD: u64 = 24;

/// Ends the thread.
pub(super) fn exit<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.exit_thread((args.uint(0) & 0xff) << 8);
    Err(Stop::Ended)
}

/// Ends the process.
pub(super) fn exit_group<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.exit_process((args.uint(0) & 0xff) << 8);
    Err(Stop::Ended)
}

pub(super) fn getpid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().pid))
}

pub(super) fn gettid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.tid))
}

pub(super) fn getppid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().parent))
}

pub(super) fn getpgrp<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().group))
}

pub(super) fn getuid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().uid[0]))
}

pub(super) fn geteuid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().uid[1]))
}

pub(super) fn getgid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().gid[0]))
}

pub(super) fn getegid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(u64::from(kernel.task.process.borrow().gid[1]))
}

pub(super) fn getresuid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let ids = kernel.task.process.borrow().uid;
    put_ids(kernel, args, ids)
}

pub(super) fn getresgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let ids = kernel.task.process.borrow().gid;
    put_ids(kernel, args, ids)
}

fn put_ids<P: Platform>(kernel: &mut Kernel<P>, args: &Args, ids: [u32; 3]) -> Outcome {
    for (argument, id) in ids.iter().enumerate() {
        kernel.put(args.get(argument), id)?;
    }
    Ok(0)
}

/// The process that an argument means: 0 is the caller.
fn target<P: Platform>(kernel: &Kernel<P>, pid: i32) -> Result<Rc<RefCell<Process>>, Errno> {
    if pid == 0 {
        return Ok(Rc::clone(&kernel.task.process));
    }
    let id = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let of_thread = || kernel.task_of(id).map(|task| Rc::clone(&task.process));
    kernel.process(id).or_else(of_thread).ok_or(Errno::ESRCH)
}

pub(super) fn getpgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    Ok(u64::from(target(kernel, args.int(0))?.borrow().group))
}

pub(super) fn getsid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    Ok(u64::from(target(kernel, args.int(0))?.borrow().session))
}

pub(super) fn setpgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.int(1) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = target(kernel, args.int(0))?;
    let (own, session) = {
        let own = kernel.task.process.borrow();
        (own.pid, own.session)
    };
    let (pid, parent, its_session, has_executed) = {
        let process = process.borrow();
        (process.pid, process.parent, process.session, process.has_executed)
    };
    if pid != own && parent != own {
        return Err(Errno::ESRCH.into());
    }
    if pid != own && has_executed {
        return Err(Errno::EACCES.into());
    }
    if its_session != session || its_session == pid {
        return Err(Errno::EPERM.into());
    }
    let group = if args.int(1) == 0 { pid } else { args.int(1).unsigned_abs() };
    let exists = kernel.processes.values().any(|one| {
        let one = one.borrow();
        one.group == group && one.session == session
    });
    if group != pid && !exists {
        return Err(Errno::EPERM.into());
    }
    process.borrow_mut().group = group;
    Ok(0)
}

pub(super) fn setsid<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    let pid = kernel.task.process.borrow().pid;
    if kernel.processes.values().any(|one| one.borrow().group == pid) {
        return Err(Errno::EPERM.into());
    }
    let mut process = kernel.task.process.borrow_mut();
    (process.session, process.group) = (pid, pid);
    process.without_terminal = false;
    Ok(u64::from(pid))
}

pub(super) fn set_tid_address<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.task.clear_tid = args.get(0);
    Ok(u64::from(kernel.task.tid))
}

pub(super) fn set_robust_list<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.get(1) != ROBUST_HEAD {
        return Err(Errno::EINVAL.into());
    }
    kernel.task.robust_list = (args.get(0), args.get(1));
    Ok(0)
}

pub(super) fn get_robust_list<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let tid = if args.int(0) == 0 { kernel.task.tid } else { args.int(0).unsigned_abs() };
    let list = kernel.task_of(tid).ok_or(Errno::ESRCH)?.robust_list;
    kernel.put(args.get(1), &list.0)?;
    kernel.put(args.get(2), &ROBUST_HEAD)?;
    Ok(0)
}

/// Own descriptors, directories; name spaces are for the privileged.
pub(super) fn unshare<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.long_flags(0)?;
    let known = general::CLONE_FILES | general::CLONE_FS | general::CLONE_SYSVSEM;
    if flags & (general::CLONE_VM | general::CLONE_SIGHAND | general::CLONE_THREAD) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & !known != 0 {
        return Err(Errno::EPERM.into());
    }
    if flags & general::CLONE_FILES != 0 {
        super::fd::unshare_files(kernel)?;
    }
    if flags & general::CLONE_FS != 0 {
        let own = kernel.task.directories.borrow().clone();
        kernel.task.directories = Rc::new(RefCell::new(own));
    }
    Ok(0)
}

pub(super) fn rseq<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::ENOSYS.into())
}

pub(super) fn arch_prctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (code, address) = (args.uint(0), args.get(1));
    match code {
        ARCH_SET_FS | ARCH_SET_GS if address >= USER_END_VA => Err(Errno::EPERM.into()),
        ARCH_SET_FS => {
            kernel.set_fs_base(address);
            Ok(0)
        }
        ARCH_SET_GS => {
            kernel.set_gs_base(address);
            Ok(0)
        }
        ARCH_GET_FS => {
            let base = kernel.task.fs_base;
            kernel.put(address, &base)?;
            Ok(0)
        }
        ARCH_GET_GS => {
            let base = kernel.task.gs_base;
            kernel.put(address, &base)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn prctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (option, argument) = (args.uint(0), args.get(1));
    match option {
        pr::PR_SET_NAME => {
            let mut name = [0; 16];
            for (slot, at) in name.iter_mut().take(15).zip(0..) {
                kernel.copy_in(argument.wrapping_add(at), core::slice::from_mut(slot))?;
                if *slot == 0 {
                    break;
                }
            }
            kernel.task.set_name(&name);
            Ok(0)
        }
        pr::PR_GET_NAME => {
            let name = kernel.task.name;
            kernel.copy_out(argument, &name)?;
            Ok(0)
        }
        pr::PR_GET_DUMPABLE => Ok(kernel.task.process.borrow().dumpable),
        pr::PR_SET_DUMPABLE if argument <= 1 => {
            kernel.task.process.borrow_mut().dumpable = argument;
            Ok(0)
        }
        // Without further effect: no process can gain privileges here.
        pr::PR_SET_NO_NEW_PRIVS if argument == 1 => {
            kernel.task.process.borrow_mut().no_new_privileges = true;
            Ok(0)
        }
        pr::PR_GET_NO_NEW_PRIVS => Ok(u64::from(kernel.task.process.borrow().no_new_privileges)),
        pr::PR_SET_PDEATHSIG if argument <= 64 => {
            kernel.task.process.borrow_mut().parent_death_signal = low32(argument);
            Ok(0)
        }
        pr::PR_GET_PDEATHSIG => {
            let signal = kernel.task.process.borrow().parent_death_signal;
            kernel.put(argument, &signal)?;
            Ok(0)
        }
        pr::PR_SET_CHILD_SUBREAPER => {
            kernel.task.process.borrow_mut().subreaper = argument != 0;
            Ok(0)
        }
        pr::PR_GET_CHILD_SUBREAPER => {
            let subreaper = u32::from(kernel.task.process.borrow().subreaper);
            kernel.put(argument, &subreaper)?;
            Ok(0)
        }
        pr::PR_SET_TIMERSLACK => {
            // 0 and less bring back what it was at first.
            let given = argument.cast_signed();
            kernel.task.timer_slack = if given > 0 { argument } else { TIMER_SLACK };
            Ok(0)
        }
        pr::PR_GET_TIMERSLACK => Ok(kernel.task.timer_slack),
        pr::PR_GET_SECCOMP => Ok(0),
        pr::PR_GET_TSC => {
            kernel.put(argument, &pr::PR_TSC_ENABLE)?;
            Ok(0)
        }
        pr::PR_GET_SECUREBITS => Ok(0),
        pr::PR_GET_TID_ADDRESS => {
            let address = kernel.task.clear_tid;
            kernel.put(argument, &address)?;
            Ok(0)
        }
        // Attributes of memory for tools; nothing here reads names of areas.
        pr::PR_SET_VMA => Ok(0),
        pr::PR_SET_SECCOMP | pr::PR_SET_MM | pr::PR_SET_TSC => Err(Errno::EINVAL.into()),
        pr::PR_SET_KEEPCAPS if argument <= 1 => Ok(0),
        pr::PR_GET_KEEPCAPS => Ok(0),
        // No capability is in the bounding set.
        pr::PR_CAPBSET_READ if argument <= 40 => Ok(0),
        pr::PR_SET_THP_DISABLE => Ok(0),
        pr::PR_GET_THP_DISABLE => Ok(1),
        pr::PR_SET_DUMPABLE | pr::PR_SET_NO_NEW_PRIVS | pr::PR_SET_PDEATHSIG | pr::PR_SET_KEEPCAPS => {
            Err(Errno::EINVAL.into())
        }
        pr::PR_CAPBSET_READ => Err(Errno::EINVAL.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn getrlimit<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let limit = read_limit(&kernel.task.process.borrow(), args.uint(0))?;
    kernel.put(args.get(1), &limit)?;
    Ok(0)
}

pub(super) fn setrlimit<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let limit = kernel.structure(args.get(1))?;
    change_limit(&mut kernel.task.process.borrow_mut(), args.uint(0), limit)
}

pub(super) fn prlimit64<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, kind, new, old) = (args.int(0), args.uint(1), args.get(2), args.get(3));
    let new = if new == 0 { None } else { Some(kernel.structure(new)?) };
    let process = target(kernel, pid)?;
    let same = process.borrow().uid == kernel.task.process.borrow().uid;
    if !same && kernel.task.process.borrow().uid[1] != 0 {
        return Err(Errno::EPERM.into());
    }
    let before = read_limit(&process.borrow(), kind)?;
    if let Some(limit) = new {
        change_limit(&mut process.borrow_mut(), kind, limit)?;
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    Ok(0)
}

fn read_limit(process: &Process, kind: u32) -> Result<Rlimit, Errno> {
    process.limits.get(index(u64::from(kind))).copied().ok_or(Errno::EINVAL)
}

/// Changes a limit. Nobody raises a hard one, whoever it is: they are the sandbox' own.
fn change_limit(process: &mut Process, kind: u32, new: Rlimit) -> Outcome {
    let old = read_limit(process, kind)?;
    if new.rlim_cur > new.rlim_max {
        return Err(Errno::EINVAL.into());
    }
    if new.rlim_max > old.rlim_max {
        return Err(Errno::EPERM.into());
    }
    if let Some(limit) = process.limits.get_mut(index(u64::from(kind))) {
        *limit = new;
    }
    Ok(0)
}

/// `struct rusage` of so much processor time (reference time) and memory (pages). All time counts as the program's own.
pub(super) fn usage(ticks: u64, peak: u64) -> Rusage {
    Rusage {
        ru_utime: to_timeval(ticks.saturating_mul(crate::time::TICK_NS)),
        ru_maxrss: (peak * PAGE / 1024).cast_signed(),
        ..Default::default()
    }
}

pub(super) fn getrusage<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, peak) = kernel.task.space.borrow().resident_pages();
    let usage = match args.int(0) {
        0 => usage(kernel.process_time(), peak.max(kernel.task.process.borrow().peak)),
        1 => {
            kernel.account();
            usage(kernel.task.time, peak)
        }
        -1 => {
            let process = kernel.task.process.borrow();
            usage(process.children_time, process.children_peak)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    kernel.put(args.get(1), &usage)?;
    Ok(0)
}

pub(super) fn times<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.get(0) != 0 {
        let used = (kernel.process_time() / CLOCK_TICK).cast_signed();
        let children = (kernel.task.process.borrow().children_time / CLOCK_TICK).cast_signed();
        kernel.put(args.get(0), &Tms { tms_utime: used, tms_cutime: children, ..Default::default() })?;
    }
    Ok(kernel.platform.reference_time() / CLOCK_TICK)
}

/// `personality`: recorded. Programs ask for no randomization and get it all the same.
pub(super) fn personality<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let mut process = kernel.task.process.borrow_mut();
    let before = process.persona;
    if args.uint(0) != u32::MAX {
        process.persona = args.uint(0);
    }
    Ok(u64::from(before))
}
