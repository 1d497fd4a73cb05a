//! Users, groups, capabilities. There is one user data base: numbers. A process of user 0 may become anybody, others only what
//! they are already.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::num::{index, low32};
use crate::platform::Platform;
use crate::task::Process;

/// "Leave it as it is", as an argument.
const KEEP: u32 = u32::MAX;
/// Most supplementary groups (NGROUPS_MAX).
const MAX_GROUPS: u64 = 65536;
/// `_LINUX_CAPABILITY_VERSION_1`, `_2`, `_3`.
const CAPABILITY_VERSIONS: [u32; 3] = [0x1998_0330, 0x2007_1026, 0x2008_0522];

/// Which ids a call is about.
#[derive(Clone, Copy)]
enum Which {
    User,
    Group,
}

impl Which {
    fn of(self, process: &mut Process) -> (&mut [u32; 3], &mut u32) {
        let [user, group] = &mut process.file_ids;
        match self {
            Self::User => (&mut process.uid, user),
            Self::Group => (&mut process.gid, group),
        }
    }
}

/// Changes real, effective and saved id, where each may be kept.
fn set<P: Platform>(
    kernel: &mut Kernel<P>,
    which: Which,
    new: [u32; 3],
    allowed: fn(&[u32; 3], u32) -> bool,
) -> Outcome {
    let mut process = kernel.task.process.borrow_mut();
    let privileged = process.uid[1] == 0;
    let (ids, file) = which.of(&mut process);
    let permitted = |id: u32| id == KEEP || privileged || allowed(ids, id);
    if !new.iter().all(|&id| permitted(id)) {
        return Err(Errno::EPERM.into());
    }
    for (id, new) in ids.iter_mut().zip(new) {
        if new != KEEP {
            *id = new;
        }
    }
    *file = ids[1];
    Ok(0)
}

fn any(ids: &[u32; 3], id: u32) -> bool {
    ids.contains(&id)
}

/// setuid and setgid: all three for the privileged, else the effective one.
fn set_one<P: Platform>(kernel: &mut Kernel<P>, which: Which, id: u32) -> Outcome {
    if id == KEEP {
        return Err(Errno::EINVAL.into());
    }
    let privileged = kernel.task.process.borrow().uid[1] == 0;
    let new = if privileged { [id; 3] } else { [KEEP, id, KEEP] };
    set(kernel, which, new, |ids, id| id == ids[0] || id == ids[2])
}

/// setreuid and setregid: the saved one follows the effective one when the real one is set, or the effective one to another than the
/// real one.
fn set_two<P: Platform>(kernel: &mut Kernel<P>, which: Which, real: u32, effective: u32) -> Outcome {
    let old = {
        let mut process = kernel.task.process.borrow_mut();
        *which.of(&mut process).0
    };
    let privileged = kernel.task.process.borrow().uid[1] == 0;
    if !privileged && real != KEEP && real != old[0] && real != old[1] {
        return Err(Errno::EPERM.into());
    }
    let follows = real != KEEP || (effective != KEEP && effective != old[0]);
    let saved = match (follows, effective) {
        (false, _) => KEEP,
        (true, KEEP) => old[1],
        (true, effective) => effective,
    };
    set(kernel, which, [real, effective, saved], any)
}

pub(super) fn setuid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    set_one(kernel, Which::User, args.uint(0))
}

pub(super) fn setgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    set_one(kernel, Which::Group, args.uint(0))
}

pub(super) fn setreuid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    set_two(kernel, Which::User, args.uint(0), args.uint(1))
}

pub(super) fn setregid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    set_two(kernel, Which::Group, args.uint(0), args.uint(1))
}

pub(super) fn setresuid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    set(kernel, Which::User, [args.uint(0), args.uint(1), args.uint(2)], any)
}

pub(super) fn setresgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    set(kernel, Which::Group, [args.uint(0), args.uint(1), args.uint(2)], any)
}

pub(super) fn setfsuid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    Ok(set_file_id(kernel, Which::User, args.uint(0)))
}

pub(super) fn setfsgid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    Ok(set_file_id(kernel, Which::Group, args.uint(0)))
}

/// The id before; what is not permitted changes nothing, and there is no error.
fn set_file_id<P: Platform>(kernel: &mut Kernel<P>, which: Which, id: u32) -> u64 {
    let mut process = kernel.task.process.borrow_mut();
    let privileged = process.uid[1] == 0;
    let (ids, file) = which.of(&mut process);
    let before = *file;
    if id != KEEP && (privileged || ids.contains(&id)) {
        *file = id;
    }
    u64::from(before)
}

pub(super) fn getgroups<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let groups = Rc::clone(&kernel.task.process.borrow().groups);
    let count = groups.len() as u64;
    let Ok(room) = u64::try_from(args.int(0)) else { return Err(Errno::EINVAL.into()) };
    if room == 0 {
        return Ok(count);
    }
    if room < count {
        return Err(Errno::EINVAL.into());
    }
    for (at, group) in (0..).step_by(4).zip(groups.iter()) {
        kernel.put(args.get(1).wrapping_add(at), group)?;
    }
    Ok(count)
}

pub(super) fn setgroups<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if kernel.task.process.borrow().uid[1] != 0 {
        return Err(Errno::EPERM.into());
    }
    let count = u64::from(args.uint(0));
    if count > MAX_GROUPS {
        return Err(Errno::EINVAL.into());
    }
    let mut groups = Vec::new();
    groups.try_reserve_exact(index(count)).map_err(|_| Errno::ENOMEM)?;
    for at in (0..).step_by(4).take(index(count)) {
        groups.push(kernel.get::<u32>(args.get(1).wrapping_add(at))?);
    }
    groups.sort_unstable();
    kernel.task.process.borrow_mut().groups = groups.into();
    Ok(0)
}

/// The capabilities of a process: user 0 has those over files, ids and signals that mean something in a sandbox; nobody has others.
fn capabilities(process: &Process) -> u64 {
    /// CAP_CHOWN to CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_CHROOT, CAP_MKNOD, CAP_AUDIT_WRITE, CAP_SETFCAP:
    /// what container engines give.
    const ROOT: u64 = 0xa804_25fb;
    if process.uid[1] == 0 { ROOT } else { 0 }
}

pub(super) fn capget<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (header, data) = (args.get(0), args.get(1));
    let [version, pid]: [u32; 2] = kernel.get(header)?;
    if !CAPABILITY_VERSIONS.contains(&version) {
        kernel.put(header, &CAPABILITY_VERSIONS[2])?;
        return if data == 0 { Ok(0) } else { Err(Errno::EINVAL.into()) };
    }
    let pid = if pid == 0 { kernel.task.process.borrow().pid } else { pid };
    let process = kernel.process(pid).ok_or(Errno::ESRCH)?;
    if data == 0 {
        return Ok(0);
    }
    let set = capabilities(&process.borrow());
    let [low, high] = [low32(set), low32(set >> 32)];
    kernel.put(data, &[low, low, 0])?;
    if version != CAPABILITY_VERSIONS[0] {
        kernel.put(data.wrapping_add(12), &[high, high, 0])?;
    }
    Ok(0)
}

/// Dropping is fine and changes nothing that the sandbox relies on; gaining is not.
pub(super) fn capset<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let [version, _]: [u32; 2] = kernel.get(args.get(0))?;
    if !CAPABILITY_VERSIONS.contains(&version) {
        return Err(Errno::EINVAL.into());
    }
    let [_, permitted, _]: [u32; 3] = kernel.get(args.get(1))?;
    let own = low32(capabilities(&kernel.task.process.borrow()));
    if permitted & !own != 0 { Err(Errno::EPERM.into()) } else { Ok(0) }
}
