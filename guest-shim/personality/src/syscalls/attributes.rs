//! What changes attributes of files: modes, owners, sizes, times.

use fuse_abi::linux::{
    FATTR_ATIME, FATTR_ATIME_NOW, FATTR_FH, FATTR_GID, FATTR_KILL_SUIDGID, FATTR_MODE, FATTR_MTIME, FATTR_MTIME_NOW,
    FATTR_SIZE, FATTR_UID, fuse_setattr_in,
};
use linux_raw_sys::general as raw;

use super::Args;
use super::names::HERE;
use crate::abi::{Timespec, Timeval};
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::{Node, Place};
use crate::fs::file::FileKind;
use crate::fs::inotify::happened;
use crate::fs::walk::may;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::time::from_timeval;

impl<P: Platform> Kernel<P> {
    /// Changes attributes of what a path or descriptor leads to.
    fn change(&mut self, place: &Place, change: &fuse_setattr_in) -> Outcome {
        let Node::File(inode) = &place.node else { return Err(Errno::EPERM.into()) };
        self.fuse.change(&mut self.platform, inode, change)?;
        happened(place, changed(change.valid));
        Ok(0)
    }

    /// The place of a descriptor whose attributes are to be changed.
    fn place_of(&self, fd: i32) -> Result<Place, Errno> {
        let file = self.file(fd)?;
        if matches!(file.kind, FileKind::Path) {
            return Err(Errno::EBADF);
        }
        file.place.clone().ok_or(Errno::EINVAL)
    }
}

/// What changing these attributes (FATTR_*) is to who watches.
fn changed(valid: u32) -> u32 {
    const TIMES: u32 = FATTR_ATIME | FATTR_MTIME;
    match valid {
        _ if valid & (FATTR_MODE | FATTR_UID | FATTR_GID) != 0 => raw::IN_ATTRIB,
        _ if valid & FATTR_SIZE != 0 => raw::IN_MODIFY,
        _ if valid & TIMES == FATTR_ATIME => raw::IN_ACCESS,
        _ if valid & TIMES == FATTR_MTIME => raw::IN_MODIFY,
        _ => raw::IN_ATTRIB,
    }
}

pub(super) fn chmod<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_mode(kernel, &place, args.uint(1))
}

pub(super) fn fchmod<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_of(args.int(0))?;
    change_mode(kernel, &place, args.uint(1))
}

pub(super) fn fchmodat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(args.int(0), args.get(1), 0)?;
    change_mode(kernel, &place, args.uint(2))
}

fn change_mode<P: Platform>(kernel: &mut Kernel<P>, place: &Place, mode: u32) -> Outcome {
    kernel.change(place, &fuse_setattr_in { valid: FATTR_MODE, mode: mode & 0o7777, ..Default::default() })
}

pub(super) fn chown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_owner(kernel, &place, args.uint(1), args.uint(2))
}

pub(super) fn lchown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), raw::AT_SYMLINK_NOFOLLOW)?;
    change_owner(kernel, &place, args.uint(1), args.uint(2))
}

pub(super) fn fchown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_of(args.int(0))?;
    change_owner(kernel, &place, args.uint(1), args.uint(2))
}

pub(super) fn fchownat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(4);
    if flags & !(raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = kernel.place_at(args.int(0), args.get(1), flags)?;
    change_owner(kernel, &place, args.uint(2), args.uint(3))
}

fn change_owner<P: Platform>(kernel: &mut Kernel<P>, place: &Place, uid: u32, gid: u32) -> Outcome {
    let mut change = fuse_setattr_in { uid, gid, ..Default::default() };
    if uid != u32::MAX {
        change.valid |= FATTR_UID;
    }
    if gid != u32::MAX {
        change.valid |= FATTR_GID;
    }
    if change.valid == 0 {
        change.valid = FATTR_KILL_SUIDGID;
    }
    kernel.change(place, &change)
}

pub(super) fn truncate<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let size = u64::try_from(args.long(1)).map_err(|_| Errno::EINVAL)?;
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    if kernel.is_directory(&place)? {
        return Err(Errno::EISDIR.into());
    }
    kernel.check_access(&place, may::WRITE)?;
    let Node::File(inode) = &place.node else { return Err(Errno::EINVAL.into()) };
    inode.check_write()?;
    let old = kernel.file_attributes(inode)?.size;
    super::io::check_size(kernel, old, size)?;
    kernel.change(&place, &fuse_setattr_in { valid: FATTR_SIZE, size, ..Default::default() })?;
    kernel.file_resized(inode, size);
    Ok(0)
}

pub(super) fn ftruncate<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let size = u64::try_from(args.long(1)).map_err(|_| Errno::EINVAL)?;
    let file = kernel.file(args.int(0))?;
    if matches!(file.kind, FileKind::Path) {
        return Err(Errno::EBADF.into());
    }
    if !file.writable() {
        return Err(Errno::EINVAL.into());
    }
    if matches!(file.kind, FileKind::Regular { .. } | FileKind::Memory(_)) {
        let old = super::io::size(kernel, &file)?;
        super::io::check_size(kernel, old, size)?;
    }
    if let FileKind::Memory(memory) = &file.kind {
        return super::memfd::truncate(kernel, &memory.object, size);
    }
    let FileKind::Regular { inode, handle } = &file.kind else { return Err(Errno::EINVAL.into()) };
    let change = fuse_setattr_in { valid: FATTR_SIZE | FATTR_FH, fh: *handle, size, ..Default::default() };
    kernel.fuse.change(&mut kernel.platform, inode, &change)?;
    kernel.file_resized(inode, size);
    file.happened(raw::IN_MODIFY);
    Ok(0)
}

/// One of the two times that are set: untouched, now, or a value.
fn set_time(change: &mut fuse_setattr_in, access: bool, time: Timespec) -> Result<(), Errno> {
    let (set, now) = if access { (FATTR_ATIME, FATTR_ATIME_NOW) } else { (FATTR_MTIME, FATTR_MTIME_NOW) };
    match u32::try_from(time.tv_nsec) {
        Ok(raw::UTIME_OMIT) => return Ok(()),
        Ok(raw::UTIME_NOW) => change.valid |= set | now,
        Ok(nanoseconds) if nanoseconds < 1_000_000_000 => {
            change.valid |= set;
            if access {
                (change.atime, change.atimensec) = (time.tv_sec.cast_unsigned(), nanoseconds);
            } else {
                (change.mtime, change.mtimensec) = (time.tv_sec.cast_unsigned(), nanoseconds);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn change_times<P: Platform>(kernel: &mut Kernel<P>, place: &Place, times: [Timespec; 2]) -> Outcome {
    let mut change = fuse_setattr_in::default();
    set_time(&mut change, true, times[0])?;
    set_time(&mut change, false, times[1])?;
    if change.valid == 0 {
        return Ok(0);
    }
    kernel.change(place, &change)
}

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: raw::UTIME_NOW as i64 };

pub(super) fn utimensat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (directory, path, at, flags) = (args.int(0), args.get(1), args.get(2), args.uint(3));
    if flags & !(raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let times: [Timespec; 2] = if at == 0 { [NOW; 2] } else { kernel.get(at)? };
    let place = if path == 0 { kernel.place_of(directory)? } else { kernel.place_at(directory, path, flags)? };
    change_times(kernel, &place, times)
}

pub(super) fn utimes<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let times = timevals(kernel, args.get(1))?;
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_times(kernel, &place, times)
}

pub(super) fn futimesat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (directory, path, at) = (args.int(0), args.get(1), args.get(2));
    let times = timevals(kernel, at)?;
    let place = if path == 0 { kernel.place_of(directory)? } else { kernel.place_at(directory, path, 0)? };
    change_times(kernel, &place, times)
}

/// Two `struct timeval`, or now without them.
fn timevals<P: Platform>(kernel: &mut Kernel<P>, at: u64) -> Result<[Timespec; 2], Errno> {
    let mut times = [NOW; 2];
    if at != 0 {
        let given: [Timeval; 2] = kernel.get(at)?;
        for (time, given) in times.iter_mut().zip(given) {
            from_timeval(Timeval { tv_sec: 0, ..given })?;
            *time = Timespec { tv_sec: given.tv_sec, tv_nsec: given.tv_usec * 1000 };
        }
    }
    Ok(times)
}

pub(super) fn utime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let at = args.get(1);
    let mut times = [NOW; 2];
    if at != 0 {
        let given: [i64; 2] = kernel.get(at)?;
        times = given.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 });
    }
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_times(kernel, &place, times)
}
