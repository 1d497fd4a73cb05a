//! The process itself: its end, its ids, limits, use of resources, prctl.

use linux_raw_sys::prctl as pr;
use proto::layout::USER_END_VA;
use proto::op;

use super::Args;
use crate::abi::{Rlimit, Rusage, Tms};
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::{PAGE, Platform};
use crate::time::to_timeval;

/// Nanoseconds in a clock tick of `times` (USER_HZ 100).
const TICK_NS: u64 = 10_000_000;
const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;
/// Size of `struct robust_list_head`.
const ROBUST_HEAD: u64 = 24;

/// exit and exit_group: there is one thread.
pub(super) fn exit<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.end(op::Exit { status: args.uint(0) & 0xff, ..Default::default() });
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

/// No supplementary groups.
pub(super) fn getgroups<P: Platform>(_: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.int(0) < 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

/// Does a process id mean the process itself?
fn is_self<P: Platform>(kernel: &Kernel<P>, pid: i32) -> bool {
    pid == 0 || u32::try_from(pid) == Ok(kernel.task.process.borrow().pid)
}

pub(super) fn getpgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if is_self(kernel, args.int(0)) { getpgrp(kernel, args) } else { Err(Errno::ESRCH.into()) }
}

pub(super) fn getsid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if !is_self(kernel, args.int(0)) {
        return Err(Errno::ESRCH.into());
    }
    Ok(u64::from(kernel.task.process.borrow().session))
}

pub(super) fn setpgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if !is_self(kernel, args.int(0)) {
        return Err(Errno::ESRCH.into());
    }
    if args.int(1) < 0 {
        return Err(Errno::EINVAL.into());
    }
    // A session leader, which the first process is, cannot change its group.
    Err(Errno::EPERM.into())
}

/// The first process leads its group, and such a one cannot start a session.
pub(super) fn setsid<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EPERM.into())
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
            kernel.task.name = name;
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
        // Set and reported, without further effect: no process can gain privileges here, and there is no parent.
        pr::PR_SET_NO_NEW_PRIVS if argument == 1 => Ok(0),
        pr::PR_GET_NO_NEW_PRIVS => Ok(1),
        pr::PR_SET_PDEATHSIG if argument <= 64 => Ok(0),
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
        _ => Err(Stop::NotImplemented),
    }
}

pub(super) fn getrlimit<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let limit = read_limit(kernel, args.uint(0))?;
    kernel.put(args.get(1), &limit)?;
    Ok(0)
}

pub(super) fn setrlimit<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let limit = kernel.get(args.get(1))?;
    change_limit(kernel, args.uint(0), limit)
}

pub(super) fn prlimit64<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, kind, new, old) = (args.int(0), args.uint(1), args.get(2), args.get(3));
    if !is_self(kernel, pid) {
        return Err(Errno::ESRCH.into());
    }
    let before = read_limit(kernel, kind)?;
    if new != 0 {
        let limit = kernel.get(new)?;
        change_limit(kernel, kind, limit)?;
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    Ok(0)
}

fn read_limit<P: Platform>(kernel: &Kernel<P>, kind: u32) -> Result<Rlimit, Errno> {
    kernel.task.process.borrow().limits.get(index(u64::from(kind))).copied().ok_or(Errno::EINVAL)
}

fn change_limit<P: Platform>(kernel: &mut Kernel<P>, kind: u32, new: Rlimit) -> Outcome {
    let old = read_limit(kernel, kind)?;
    if new.rlim_cur > new.rlim_max {
        return Err(Errno::EINVAL.into());
    }
    if new.rlim_max > old.rlim_max {
        return Err(Errno::EPERM.into());
    }
    if let Some(limit) = kernel.task.process.borrow_mut().limits.get_mut(index(u64::from(kind))) {
        *limit = new;
    }
    Ok(0)
}

pub(super) fn getrusage<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let usage = match args.int(0) {
        0 | 1 => {
            let (_, peak) = kernel.task.space.borrow().resident_pages();
            Rusage {
                ru_utime: to_timeval(kernel.cpu_ns()),
                ru_maxrss: (peak * PAGE / 1024).cast_signed(),
                ..Default::default()
            }
        }
        -1 => Rusage::default(),
        _ => return Err(Errno::EINVAL.into()),
    };
    kernel.put(args.get(1), &usage)?;
    Ok(0)
}

pub(super) fn times<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.get(0) != 0 {
        let used = (kernel.cpu_ns() / TICK_NS).cast_signed();
        kernel.put(args.get(0), &Tms { tms_utime: used, ..Default::default() })?;
    }
    Ok(kernel.monotonic_ns() / TICK_NS)
}
