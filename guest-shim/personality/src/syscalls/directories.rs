//! Where a process is, and what it may do there: access, the working directory, the root, umask.

use linux_raw_sys::general as raw;

use super::Args;
use super::names::HERE;
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::{Node, Place};
use crate::fs::dev::Device;
use crate::fs::walk::may;
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::Platform;

pub(super) fn access<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check(kernel, HERE, args.get(0), args.uint(1), 0)
}

pub(super) fn faccessat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check(kernel, args.int(0), args.get(1), args.uint(2), 0)
}

pub(super) fn faccessat2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(3);
    if flags & !(raw::AT_EACCESS | raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    check(kernel, args.int(0), args.get(1), args.uint(2), flags)
}

fn check<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, wanted: u32, flags: u32) -> Outcome {
    if wanted & !7 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = kernel.place_at(directory, path, flags)?;
    let who = if flags & raw::AT_EACCESS == 0 { 0 } else { 1 };
    let (uid, gid) = {
        let process = kernel.task.process.borrow();
        (process.uid[who], process.gid[who])
    };
    if wanted & may::EXECUTE != 0 && matches!(place.node, Node::Device(device) if device != Device::Directory) {
        return Err(Errno::EACCES.into());
    }
    kernel.check_access_as(&place, wanted, uid, gid)?;
    Ok(0)
}

pub(super) fn chdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    enter(kernel, place)
}

pub(super) fn fchdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.file(args.int(0))?.place.clone().ok_or(Errno::ENOTDIR)?;
    enter(kernel, place)
}

/// The root that absolute paths start at: only for user 0. The working directory stays, as Linux has it.
pub(super) fn chroot<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    if !kernel.is_directory(&place)? {
        return Err(Errno::ENOTDIR.into());
    }
    kernel.check_access(&place, may::EXECUTE)?;
    if kernel.task.process.borrow().uid[1] != 0 {
        return Err(Errno::EPERM.into());
    }
    kernel.task.directories.borrow_mut().root = place;
    Ok(0)
}

fn enter<P: Platform>(kernel: &mut Kernel<P>, place: Place) -> Outcome {
    if !kernel.is_directory(&place)? {
        return Err(Errno::ENOTDIR.into());
    }
    kernel.check_access(&place, may::EXECUTE)?;
    kernel.task.directories.borrow_mut().current = place;
    Ok(0)
}

pub(super) fn getcwd<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (out, room) = (args.get(0), index(args.get(1)));
    let (current, root) = {
        let directories = kernel.task.directories.borrow();
        (directories.current.clone(), directories.root.clone())
    };
    if current.is_removed() {
        return Err(Errno::ENOENT.into());
    }
    let mut path = current.path_below(&root);
    path.push(0);
    if path.len() > crate::kernel::PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if path.len() > room {
        return Err(Errno::ERANGE.into());
    }
    kernel.copy_out(out, &path)?;
    Ok(path.len() as u64)
}

pub(super) fn umask<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let mut directories = kernel.task.directories.borrow_mut();
    let old = core::mem::replace(&mut directories.umask, args.uint(0) & 0o777);
    Ok(u64::from(old))
}
