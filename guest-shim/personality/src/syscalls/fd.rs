//! Descriptors: close, dup, fcntl, pipes, and what acts on an open file as a whole.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use fuse_abi::linux::{fuse_fallocate_in, fuse_opcode};
use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::pipe::{Pipe, PipeEnd};
use crate::fs::table::Descriptor;
use crate::kernel::{Kernel, int};
use crate::num::index;
use crate::platform::Platform;

/// Least and most bytes that a pipe can be made to hold (a page; fs.pipe-max-size).
const MIN_PIPE: u32 = 4096;
const MAX_PIPE: u32 = 1 << 20;
/// Flags of close_range (Linux `uapi/linux/close_range.h`).
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;
/// Commands of fcntl that Linux has and this personality has not: leases, hints, users of owners.
const NOT_YET: [u32; 8] = [
    raw::F_GETOWNER_UIDS,
    raw::F_SETLEASE,
    raw::F_GETLEASE,
    raw::F_NOTIFY,
    raw::F_GET_RW_HINT,
    raw::F_SET_RW_HINT,
    raw::F_GET_FILE_RW_HINT,
    raw::F_SET_FILE_RW_HINT,
];
/// The flags that F_SETFL changes.
const SETTABLE: u32 = raw::O_APPEND | raw::O_NONBLOCK | raw::O_DIRECT | raw::O_NOATIME;

pub(super) fn close<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let closed = kernel.task.files.borrow_mut().remove(args.int(0))?;
    closes(kernel, &closed.file);
    Ok(0)
}

/// The present process closes a descriptor of this file: its locks on ranges of it end.
fn closes<P: Platform>(kernel: &Kernel<P>, file: &OpenFile) {
    if let Some(inode) = file.inode() {
        let pid = kernel.task.process.borrow().pid;
        kernel.records.release_file(inode.number(), pid);
    }
}

pub(super) fn dup<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    kernel.install(file, false)
}

pub(super) fn dup2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (old, new) = (args.int(0), args.int(1));
    let file = kernel.file(old)?;
    if old == new {
        return Ok(args.get(1) & 0xffff_ffff);
    }
    replace(kernel, file, new, false)
}

pub(super) fn dup3<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (old, new, flags) = (args.int(0), args.int(1), args.uint(2));
    if flags & !raw::O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL.into());
    }
    let file = kernel.file(old)?;
    replace(kernel, file, new, flags != 0)
}

fn replace<P: Platform>(kernel: &mut Kernel<P>, file: Rc<OpenFile>, new: i32, close_on_exec: bool) -> Outcome {
    let limit = kernel.limit(raw::RLIMIT_NOFILE);
    if let Ok(old) = kernel.file(new) {
        closes(kernel, &old);
    }
    kernel.task.files.borrow_mut().replace(new, Descriptor { file, close_on_exec }, limit)?;
    Ok(u64::from(new.unsigned_abs()))
}

pub(super) fn pipe<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_pipe(kernel, args.get(0), 0)
}

pub(super) fn pipe2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_pipe(kernel, args.get(0), args.uint(1))
}

fn make_pipe<P: Platform>(kernel: &mut Kernel<P>, at: u64, flags: u32) -> Outcome {
    if flags & !(raw::O_CLOEXEC | raw::O_NONBLOCK | raw::O_DIRECT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let number = kernel.next_number();
    let pipe = Pipe::new(&kernel.hub, number);
    let status = flags & (raw::O_NONBLOCK | raw::O_DIRECT);
    let mut numbers = [0_i32; 2];
    for (number, (writing, rights)) in numbers.iter_mut().zip([(false, raw::O_RDONLY), (true, raw::O_WRONLY)]) {
        let kind = FileKind::Special(Rc::new(pipe.open(!writing, writing)));
        let end = OpenFile::new(kind, None, rights | status, kernel.fuse.leftovers());
        match kernel.install(end, flags & raw::O_CLOEXEC != 0) {
            Ok(fd) => *number = int(fd),
            Err(stop) => {
                if writing {
                    undo(kernel, &numbers[..1]);
                }
                return Err(stop);
            }
        }
    }
    if let Err(error) = kernel.put(at, &numbers) {
        undo(kernel, &numbers);
        return Err(error.into());
    }
    Ok(0)
}

fn undo<P: Platform>(kernel: &mut Kernel<P>, numbers: &[i32]) {
    for &fd in numbers {
        let _ = kernel.task.files.borrow_mut().remove(fd);
    }
}

pub(super) fn fcntl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, command, argument) = (args.int(0), args.uint(1), args.get(2));
    let file = kernel.file(fd)?;
    match command {
        raw::F_DUPFD | raw::F_DUPFD_CLOEXEC => {
            let limit = kernel.limit(raw::RLIMIT_NOFILE);
            let from = u64::try_from(int(argument)).map_err(|_| Errno::EINVAL)?;
            if from >= limit {
                return Err(Errno::EINVAL.into());
            }
            let descriptor = Descriptor { file, close_on_exec: command == raw::F_DUPFD_CLOEXEC };
            Ok(kernel.task.files.borrow_mut().add(descriptor, from, limit)?)
        }
        raw::F_GETFD => Ok(u64::from(kernel.task.files.borrow().get(fd)?.close_on_exec)),
        raw::F_SETFD => {
            let close_on_exec = argument & u64::from(raw::FD_CLOEXEC) != 0;
            kernel.task.files.borrow_mut().get_mut(fd)?.close_on_exec = close_on_exec;
            Ok(0)
        }
        raw::F_GETFL => Ok(u64::from(file.status())),
        raw::F_SETFL => {
            if matches!(file.kind, FileKind::Path) {
                return Err(Errno::EBADF.into());
            }
            super::asynchronous::turn(kernel, &file, fd, args.uint(2) & raw::FASYNC != 0);
            file.set_status((file.status() & !SETTABLE) | (args.uint(2) & SETTABLE));
            Ok(0)
        }
        raw::F_GETLK | raw::F_OFD_GETLK => super::records::look(kernel, &file, command, argument),
        raw::F_SETLK | raw::F_SETLKW | raw::F_OFD_SETLK | raw::F_OFD_SETLKW => {
            super::records::set(kernel, &file, command, argument)
        }
        raw::F_GETPIPE_SZ => Ok(pipe_of(&file)?.pipe().capacity() as u64),
        raw::F_SETPIPE_SZ => set_pipe_size(pipe_of(&file)?.pipe(), args.uint(2)),
        raw::F_ADD_SEALS | raw::F_GET_SEALS => super::memfd::seals(kernel, &file, command, args.uint(2)),
        command if super::asynchronous::is_one(command) => super::asynchronous::fcntl(kernel, &file, command, argument),
        number if NOT_YET.contains(&number) => Err(Stop::NotImplemented),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The pipe end that a file is.
fn pipe_of(file: &OpenFile) -> Result<&PipeEnd, Errno> {
    match &file.kind {
        FileKind::Special(special) => special.as_any().downcast_ref().ok_or(Errno::EBADF),
        _ => Err(Errno::EBADF),
    }
}

/// F_SETPIPE_SZ: a power of two of at least a page and at most fs.pipe-max-size.
fn set_pipe_size(pipe: &Pipe, wanted: u32) -> Outcome {
    if wanted > MAX_PIPE {
        return Err(Errno::EPERM.into());
    }
    let capacity = wanted.max(MIN_PIPE).next_power_of_two();
    pipe.set_capacity(index(u64::from(capacity)))?;
    Ok(u64::from(capacity))
}

pub(super) fn fsync<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    match file.kind {
        FileKind::Regular { ref inode, handle } => {
            kernel.write_back(&file)?;
            kernel.fuse.sync(&mut kernel.platform, inode, handle)?;
            Ok(0)
        }
        FileKind::Directory { .. } | FileKind::Memory(_) => Ok(0),
        FileKind::Path => Err(Errno::EBADF.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// readahead, sync_file_range, syncfs: there is nothing to be read or written ahead of time.
pub(super) fn nothing_to_do<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    match kernel.file(args.int(0))?.kind {
        FileKind::Path => Err(Errno::EBADF.into()),
        _ => Ok(0),
    }
}

/// Closes descriptors, or marks them to be closed by execve.
pub(super) fn close_range<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (first, last, flags) = (args.uint(0), args.uint(1), args.uint(2));
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        unshare_files(kernel)?;
    }
    let numbers: Vec<i32> = {
        let files = kernel.task.files.borrow();
        let wanted = files.numbers().filter_map(|number| i32::try_from(number).ok());
        wanted.filter(|&fd| (first..=last).contains(&fd.unsigned_abs())).collect()
    };
    for fd in numbers {
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            kernel.task.files.borrow_mut().get_mut(fd)?.close_on_exec = true;
        } else {
            close(kernel, &Args([u64::from(fd.unsigned_abs()), 0, 0, 0, 0, 0]))?;
        }
    }
    Ok(0)
}

/// Gives the present task descriptors of its own.
///
/// # Errors
/// ENFILE: there would be too many.
pub(super) fn unshare_files<P: Platform>(kernel: &mut Kernel<P>) -> Result<(), Errno> {
    if Rc::strong_count(&kernel.task.files) > 1 {
        let own = kernel.task.files.borrow().copy()?;
        kernel.task.files = Rc::new(RefCell::new(own));
    }
    Ok(())
}

pub(super) fn sync<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(0)
}

pub(super) fn fadvise64<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    match file.kind {
        FileKind::Special(_) | FileKind::Console(_) => Err(Errno::ESPIPE.into()),
        FileKind::Path => Err(Errno::EBADF.into()),
        _ if args.uint(3) > 5 || args.long(2) < 0 => Err(Errno::EINVAL.into()),
        _ => Ok(0),
    }
}

pub(super) fn fallocate<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, mode) = (kernel.file(args.int(0))?, args.uint(1));
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    let (Ok(offset), Ok(length)) = (u64::try_from(args.long(2)), u64::try_from(args.long(3))) else {
        return Err(Errno::EINVAL.into());
    };
    if length == 0 {
        return Err(Errno::EINVAL.into());
    }
    let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
    if matches!(file.kind, FileKind::Regular { .. } | FileKind::Memory(_)) && mode & raw::FALLOC_FL_KEEP_SIZE == 0 {
        let old = super::io::size(kernel, &file)?;
        super::io::check_size(kernel, old, end)?;
    }
    if let FileKind::Memory(memory) = &file.kind {
        return super::memfd::allocate(kernel, &memory.object, mode, offset..end);
    }
    let FileKind::Regular { inode, handle } = &file.kind else {
        let special = matches!(file.kind, FileKind::Special(_));
        return Err(if special { Errno::ESPIPE } else { Errno::ENODEV }.into());
    };
    let request = fuse_fallocate_in { fh: *handle, offset, length, mode, padding: 0 };
    kernel.write_back(&file)?;
    inode.changed();
    let opcode = fuse_opcode::FUSE_FALLOCATE as u32;
    kernel.fuse.request(&mut kernel.platform, opcode, inode.number(), &request, &[], &[])?;
    kernel.file_changed(inode)?;
    Ok(0)
}
