//! inotify.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use super::Args;
use super::event::open_special;
use crate::errno::{Errno, Outcome};
use crate::fs::file::FileKind;
use crate::fs::inotify::Inotify;
use crate::fs::walk::may;
use crate::kernel::Kernel;
use crate::platform::Platform;

pub(super) fn inotify_init<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    make(kernel, 0)
}

pub(super) fn inotify_init1<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make(kernel, args.uint(0))
}

fn make<P: Platform>(kernel: &mut Kernel<P>, flags: u32) -> Outcome {
    if flags & !(raw::O_CLOEXEC | raw::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let number = kernel.next_number();
    let inotify = Inotify::new(&kernel.hub, number, &kernel.inotify_count)?;
    open_special(kernel, Rc::new(inotify), flags, raw::O_RDONLY)
}

/// Calls `act` with the inotify instance that a descriptor is.
fn with_inotify<P: Platform, T>(
    kernel: &Kernel<P>,
    fd: i32,
    act: impl FnOnce(&Inotify) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let file = kernel.file(fd)?;
    match &file.kind {
        FileKind::Special(special) => act(special.as_any().downcast_ref().ok_or(Errno::EINVAL)?),
        FileKind::Path => Err(Errno::EBADF),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn inotify_add_watch<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, mask) = (args.int(0), args.uint(2));
    let known = raw::IN_ALL_EVENTS
        | raw::IN_ONLYDIR
        | raw::IN_DONT_FOLLOW
        | raw::IN_EXCL_UNLINK
        | raw::IN_MASK_ADD
        | raw::IN_MASK_CREATE
        | raw::IN_ISDIR
        | raw::IN_ONESHOT
        | raw::IN_UNMOUNT
        | raw::IN_Q_OVERFLOW
        | raw::IN_IGNORED;
    let both = raw::IN_MASK_ADD | raw::IN_MASK_CREATE;
    if mask & known == 0 || mask & both == both {
        return Err(Errno::EINVAL.into());
    }
    with_inotify(kernel, fd, |_| Ok(()))?;
    let path = kernel.path(args.get(1))?;
    let start = kernel.start_of(raw::AT_FDCWD, &path)?;
    let place = kernel.resolve(start, &path, mask & raw::IN_DONT_FOLLOW == 0)?.existing()?;
    if mask & raw::IN_ONLYDIR != 0 && !kernel.is_directory(&place)? {
        return Err(Errno::ENOTDIR.into());
    }
    kernel.check_access(&place, may::READ)?;
    let descriptor = with_inotify(kernel, fd, |inotify| inotify.add(&place, mask))?;
    Ok(u64::from(descriptor.unsigned_abs()))
}

pub(super) fn inotify_rm_watch<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    with_inotify(kernel, args.int(0), |inotify| inotify.remove(args.int(1)))?;
    Ok(0)
}
