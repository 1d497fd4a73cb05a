//! splice, tee, vmsplice and flock: what acts on two open files, or on one as a whole.

use alloc::rc::Rc;

use super::Args;
use super::copy::{copy, position};
use super::io::{check_pipe, iovecs, read_file, wait_for, write_file};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::pipe::{ATOMIC, PipeEnd};
use crate::fs::special::ready;
use crate::kernel::Kernel;
use crate::mm::user::MAX_TRANSFER;
use crate::num::index;
use crate::platform::Platform;
use crate::wait::Wait;

/// SPLICE_F_NONBLOCK, and all SPLICE_F_* flags.
const NONBLOCK: u32 = 2;
const FLAGS: u32 = 0xf;
/// Operations of flock.
const LOCK_SH: u32 = 1;
const LOCK_EX: u32 = 2;
const LOCK_NB: u32 = 4;
const LOCK_UN: u32 = 8;

/// Moves bytes between a pipe and another file. They are copied; at most so many at a time that the other file surely takes them.
pub(super) fn splice<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (input, output) = (kernel.file(args.int(0))?, kernel.file(args.int(2))?);
    let (from_at, to_at, count, flags) = (args.get(1), args.get(3), args.get(4), args.uint(5));
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    if !input.readable() || !output.writable() {
        return Err(Errno::EBADF.into());
    }
    let (from_pipe, to_pipe) = (is_pipe(&input), is_pipe(&output));
    if (from_pipe && from_at != 0) || (to_pipe && to_at != 0) {
        return Err(Errno::ESPIPE.into());
    }
    let same = match (pipe_of(&input), pipe_of(&output)) {
        (Some(from), Some(to)) => Rc::ptr_eq(from.pipe(), to.pipe()),
        _ => false,
    };
    if !(from_pipe || to_pipe) || output.appends() || same {
        return Err(Errno::EINVAL.into());
    }
    if count == 0 {
        return Ok(0);
    }
    let nonblocking = flags & NONBLOCK != 0;
    let count = match &output.kind {
        FileKind::Special(special) => {
            let found = kernel.readiness(&output, ready::OUT);
            if found & ready::OUT == 0 {
                return stopped(nonblocking || output.nonblocking(), wait_for(&**special));
            }
            count.min(ATOMIC as u64)
        }
        _ => count,
    };
    let from = if from_at == 0 { input.offset() } else { position(kernel, from_at)? };
    let to = if to_at == 0 { output.offset() } else { position(kernel, to_at)? };
    let done = match copy(kernel, &input, from, &output, to, count) {
        Err(Stop::Error(Errno::EAGAIN) | Stop::Block(_)) => return stopped_at(&input, nonblocking),
        done => done?,
    };
    for (at, file, end) in [(from_at, &input, from + done), (to_at, &output, to + done)] {
        match &file.kind {
            FileKind::Special(_) | FileKind::Console(_) => {}
            _ if at == 0 => file.set_offset(end),
            _ => kernel.put(at, &end)?,
        }
    }
    Ok(done)
}

/// There is nothing to move yet.
fn stopped_at(input: &OpenFile, nonblocking: bool) -> Outcome {
    match &input.kind {
        FileKind::Special(special) => stopped(nonblocking || input.nonblocking(), wait_for(&**special)),
        _ => Err(Errno::EAGAIN.into()),
    }
}

fn stopped(nonblocking: bool, wait: Wait) -> Outcome {
    if nonblocking { Err(Errno::EAGAIN.into()) } else { Err(Stop::Block(wait)) }
}

fn is_pipe(file: &OpenFile) -> bool {
    pipe_of(file).is_some()
}

/// The pipe end that a file is.
fn pipe_of(file: &OpenFile) -> Option<&PipeEnd> {
    match &file.kind {
        FileKind::Special(special) => special.as_any().downcast_ref(),
        _ => None,
    }
}

/// Copies bytes from pipe to pipe, which both have them then.
pub(super) fn tee<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (count, flags) = (args.get(2).min(MAX_TRANSFER), args.uint(3));
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    if count == 0 {
        return Ok(0);
    }
    let (input, output) = (kernel.file(args.int(0))?, kernel.file(args.int(1))?);
    if !input.readable() || !output.writable() {
        return Err(Errno::EBADF.into());
    }
    let (Some(from), Some(to)) = (pipe_of(&input), pipe_of(&output)) else { return Err(Errno::EINVAL.into()) };
    if Rc::ptr_eq(from.pipe(), to.pipe()) {
        return Err(Errno::EINVAL.into());
    }
    let nonblocking = flags & NONBLOCK != 0 || input.nonblocking() || output.nonblocking();
    match from.pipe().copy_to(to.pipe(), index(count)) {
        Err(Errno::EAGAIN) => {
            let mut wait = Wait::on(from.pipe().channel());
            wait.channels.push(to.pipe().channel().clone());
            stopped(nonblocking, wait)
        }
        copied => Ok(check_pipe(kernel, copied)? as u64),
    }
}

/// Moves bytes between memory and a pipe. They are copied, whatever is done to the memory later.
pub(super) fn vmsplice<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, flags) = (kernel.file(args.int(0))?, args.uint(3));
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let ranges = iovecs(kernel, args)?;
    if !is_pipe(&file) {
        return Err(Errno::EBADF.into());
    }
    if ranges.total == 0 {
        return Ok(0);
    }
    let moved = if file.writable() {
        write_file(kernel, &file, &ranges, None)
    } else {
        read_file(kernel, &file, &ranges, None)
    };
    match moved {
        // What went in before it is full is enough.
        Err(Stop::Block(_)) if kernel.task.progress > 0 => Ok(kernel.task.progress),
        Err(Stop::Block(_)) if flags & NONBLOCK != 0 => Err(Errno::EAGAIN.into()),
        moved => moved,
    }
}

pub(super) fn flock<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, operation) = (kernel.file(args.int(0))?, args.uint(1));
    let exclusive = match operation & !LOCK_NB {
        LOCK_SH => Some(false),
        LOCK_EX => Some(true),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    if matches!(file.kind, FileKind::Path) {
        return Err(Errno::EBADF.into());
    }
    // A lock is given up before another is asked for, as on Linux.
    drop(file.lock.borrow_mut().take());
    // What no other open file can be of needs no lock.
    let (Some(exclusive), Some(inode)) = (exclusive, file.inode()) else { return Ok(0) };
    match kernel.locks.lock(inode.number(), exclusive) {
        Some(lock) => *file.lock.borrow_mut() = Some(lock),
        None if operation & LOCK_NB != 0 => return Err(Errno::EAGAIN.into()),
        None => return Err(Stop::Block(Wait::on(kernel.locks.channel()))),
    }
    Ok(0)
}
