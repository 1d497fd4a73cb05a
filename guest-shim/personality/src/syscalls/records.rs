//! fcntl's locks on ranges of files: F_SETLK and its kin.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use crate::abi::Flock;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::records::{Guard, Owner, Record};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::wait::Wait;

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

/// Is the command about the locks of the open file itself?
fn is_of_file(command: u32) -> bool {
    matches!(command, raw::F_OFD_GETLK | raw::F_OFD_SETLK | raw::F_OFD_SETLKW)
}

/// The file's inode number and the lock that `lock` describes.
fn describe<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    command: u32,
    lock: &Flock,
) -> Result<Option<(u64, Record)>, Errno> {
    if matches!(file.kind, FileKind::Path) {
        return Err(Errno::EBADF);
    }
    if is_of_file(command) && lock.l_pid != 0 {
        return Err(Errno::EINVAL);
    }
    // Nobody else can open what has no inode of the root's.
    let Some(inode) = file.inode() else { return Ok(None) };
    let base = match lock.l_whence {
        0 => 0,
        1 => file.offset().cast_signed(),
        2 => kernel.file_attributes(inode)?.size.cast_signed(),
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.l_start).ok_or(Errno::EOVERFLOW)?;
    let (start, end) = match lock.l_len {
        0 => (start, None),
        len if len > 0 => (start, Some(start.checked_add(len).ok_or(Errno::EOVERFLOW)?)),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, Some(start)),
    };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    let end = end.map_or(u64::MAX, i64::cast_unsigned);
    let owner = if is_of_file(command) {
        Owner::File(Rc::as_ptr(file).addr())
    } else {
        Owner::Process(kernel.task.process.borrow().pid)
    };
    let exclusive = lock.l_type == F_WRLCK;
    Ok(Some((inode.number(), Record { owner, start, end, exclusive })))
}

/// F_GETLK: what stands in the way of a lock.
pub(super) fn look<P: Platform>(kernel: &mut Kernel<P>, file: &Rc<OpenFile>, command: u32, at: u64) -> Outcome {
    let mut lock: Flock = kernel.get(at)?;
    if !matches!(lock.l_type, F_RDLCK | F_WRLCK) {
        return Err(Errno::EINVAL.into());
    }
    let described = describe(kernel, file, command, &lock)?;
    let found = described.and_then(|(inode, wanted)| kernel.records.records.borrow().conflict(inode, &wanted));
    match found {
        None => lock.l_type = F_UNLCK,
        Some(record) => {
            lock.l_type = if record.exclusive { F_WRLCK } else { F_RDLCK };
            lock.l_whence = 0;
            lock.l_start = record.start.cast_signed();
            lock.l_len = if record.end == u64::MAX { 0 } else { (record.end - record.start).cast_signed() };
            lock.l_pid = match record.owner {
                Owner::Process(pid) => pid.cast_signed(),
                Owner::File(_) => -1,
            };
        }
    }
    kernel.put(at, &lock)?;
    Ok(0)
}

/// F_SETLK and F_SETLKW: takes a lock, waiting for it with the latter, or gives one up.
pub(super) fn set<P: Platform>(kernel: &mut Kernel<P>, file: &Rc<OpenFile>, command: u32, at: u64) -> Outcome {
    let lock: Flock = kernel.get(at)?;
    match lock.l_type {
        F_RDLCK if !file.readable() => return Err(Errno::EBADF.into()),
        F_WRLCK if !file.writable() => return Err(Errno::EBADF.into()),
        F_RDLCK | F_WRLCK | F_UNLCK => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    let Some((inode, wanted)) = describe(kernel, file, command, &lock)? else { return Ok(0) };
    let shared = kernel.records.clone();
    if lock.l_type == F_UNLCK {
        if shared.records.borrow_mut().clear(inode, wanted.owner, wanted.start, wanted.end) {
            shared.channel.wake();
        }
        return Ok(0);
    }
    let stands = shared.records.borrow().conflict(inode, &wanted).is_some();
    if stands {
        if !matches!(command, raw::F_SETLKW | raw::F_OFD_SETLKW) {
            return Err(Errno::EAGAIN.into());
        }
        shared.wait_for(kernel.task.tid, inode, wanted)?;
        return Err(Stop::Block(Wait::on(&shared.channel)));
    }
    // A weaker lock in the place of a stronger one lets others go on. A new one does not: whoever is woken for nothing is not known to
    // wait until it runs again, and a ring that is closed meanwhile is found by the wrong one.
    if shared.records.borrow_mut().set(inode, wanted)? && !wanted.exclusive {
        shared.channel.wake();
    }
    if is_of_file(command) {
        file.range_locks.borrow_mut().get_or_insert_with(|| Guard::new(&shared, wanted.owner));
    }
    Ok(0)
}
