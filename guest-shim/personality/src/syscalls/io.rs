//! Reading and writing open files.
//!
//! Bytes of the root's files and of the console never pass through the shim: the root reads or writes the program's own
//! pages, named by segments.

use alloc::rc::Rc;

use fuse_abi::linux::{fuse_lseek_in, fuse_lseek_out, fuse_opcode};
use linux_raw_sys::general as raw;
use proto::Segment;
use proto::op::{self, ConsoleIo, Count, wait_events};

use super::Args;
use super::signal::{SIGNALFD_INFO, next_of_signalfd};
use crate::abi::mode;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::dentry::Node;
use crate::fs::dev::Device;
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::fuse::Fuse;
use crate::fs::special::{Sink, Special, Supply};
use crate::kernel::Kernel;
use crate::mm::area::Access;
use crate::mm::user::{Ranges, SegmentRuns, Segments, UserRuns};
use crate::num::index;
use crate::platform::{PAGE, Platform};
use crate::random::Random;
use crate::signal::Signal;
use crate::wait::Wait;

/// Bytes that a write to something of the shim's own takes in one go.
const BURST: usize = 256 << 10;

pub(super) fn read<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    read_file(kernel, &file, &Ranges::one(args.get(1), args.get(2)), None)
}

pub(super) fn write<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    let ranges = outgoing(kernel, args, &file, one_range)?;
    write_file(kernel, &file, &ranges, None)
}

pub(super) fn pread64<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = seekable(kernel, args.int(0))?;
    let position = u64::try_from(args.long(3)).map_err(|_| Errno::EINVAL)?;
    read_file(kernel, &file, &Ranges::one(args.get(1), args.get(2)), Some(position))
}

pub(super) fn pwrite64<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = seekable(kernel, args.int(0))?;
    let position = u64::try_from(args.long(3)).map_err(|_| Errno::EINVAL)?;
    let ranges = outgoing(kernel, args, &file, one_range)?;
    write_file(kernel, &file, &ranges, Some(position))
}

pub(super) fn readv<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    let ranges = iovecs(kernel, args)?;
    read_file(kernel, &file, &ranges, None)
}

pub(super) fn writev<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    let ranges = outgoing(kernel, args, &file, iovecs)?;
    write_file(kernel, &file, &ranges, None)
}

pub(super) fn preadv<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = seekable(kernel, args.int(0))?;
    let position = u64::try_from(args.long(3)).map_err(|_| Errno::EINVAL)?;
    let ranges = iovecs(kernel, args)?;
    read_file(kernel, &file, &ranges, Some(position))
}

pub(super) fn pwritev<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = seekable(kernel, args.int(0))?;
    let position = u64::try_from(args.long(3)).map_err(|_| Errno::EINVAL)?;
    let ranges = outgoing(kernel, args, &file, iovecs)?;
    write_file(kernel, &file, &ranges, Some(position))
}

/// The flags of preadv2 and pwritev2: those that ask for nothing beyond what always happens here.
fn check_flags(flags: u32) -> Result<(), Errno> {
    let known = raw::RWF_HIPRI | raw::RWF_DSYNC | raw::RWF_SYNC;
    if flags & !known == 0 { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

pub(super) fn preadv2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_flags(args.uint(5))?;
    if args.long(3) == -1 { readv(kernel, args) } else { preadv(kernel, args) }
}

pub(super) fn pwritev2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_flags(args.uint(5))?;
    if args.long(3) == -1 { writev(kernel, args) } else { pwritev(kernel, args) }
}

/// What a call is to write: what was judged, or else the ranges that the program names.
fn outgoing<P: Platform>(
    kernel: &mut Kernel<P>,
    args: &Args,
    file: &OpenFile,
    ranges: fn(&mut Kernel<P>, &Args) -> Result<Ranges, Errno>,
) -> Result<Ranges, Errno> {
    let whole = matches!(&file.kind, FileKind::Special(special) if special.writes_messages());
    match kernel.judged_content(args.get(1), whole)? {
        Some(judged) => Ok(judged),
        None => ranges(kernel, args),
    }
}

/// The one range of arguments 1 and 2.
#[allow(clippy::unnecessary_wraps, reason = "beside `iovecs`")]
fn one_range<P: Platform>(_: &mut Kernel<P>, args: &Args) -> Result<Ranges, Errno> {
    Ok(Ranges::one(args.get(1), args.get(2)))
}

/// The list of arguments 1 and 2.
pub(super) fn iovecs<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Result<Ranges, Errno> {
    let (space, mut source) = kernel.memory();
    Ranges::list(&mut space.borrow_mut(), &mut source, args.get(1), args.get(2))
}

/// A file that has positions.
fn seekable<P: Platform>(kernel: &Kernel<P>, fd: i32) -> Result<Rc<OpenFile>, Errno> {
    let file = kernel.file(fd)?;
    match file.kind {
        FileKind::Special(_) | FileKind::Console(_) => Err(Errno::ESPIPE),
        _ => Ok(file),
    }
}

/// Reads into user memory, at `position` or at the file's own, which then moves.
pub(super) fn read_file<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    ranges: &Ranges,
    position: Option<u64>,
) -> Outcome {
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    match &file.kind {
        FileKind::Special(special) => read_special(kernel, file, special, ranges),
        FileKind::Signals(mask) => read_signals(kernel, file, mask.get(), ranges),
        _ => {
            let done = transfer(kernel, file, ranges, position, Access::Write)?;
            if done > 0 {
                file.happened(raw::IN_ACCESS);
            }
            Ok(done)
        }
    }
}

/// Writes from user memory, at `position` or at the file's own, which then moves.
pub(super) fn write_file<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    ranges: &Ranges,
    position: Option<u64>,
) -> Outcome {
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    match &file.kind {
        FileKind::Special(special) => write_special(kernel, file, special, ranges),
        // Not even nothing has room.
        FileKind::Device(Device::Full) => Err(Errno::ENOSPC.into()),
        _ => {
            if ranges.total > 0 {
                check_limit(kernel, file, position.unwrap_or_else(|| file.offset()))?;
            }
            let done = transfer(kernel, file, ranges, position, Access::Read)?;
            if done > 0 {
                file.happened(raw::IN_MODIFY);
            }
            Ok(done)
        }
    }
}

/// How far a file may be written to (RLIMIT_FSIZE); nothing else has such a limit.
fn limit_of<P: Platform>(kernel: &Kernel<P>, file: &OpenFile) -> u64 {
    match file.kind {
        FileKind::Regular { .. } | FileKind::Memory(_) => kernel.limit(raw::RLIMIT_FSIZE),
        _ => u64::MAX,
    }
}

/// Refuses a write that begins at or beyond the limit: EFBIG, and SIGXFSZ.
pub(super) fn check_limit<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, at: u64) -> Result<(), Stop> {
    let limit = limit_of(kernel, file);
    if limit == u64::MAX || start_of_write(kernel, file, at)? < limit { Ok(()) } else { too_large(kernel) }
}

/// Where a write at `at` really begins.
fn start_of_write<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, at: u64) -> Result<u64, Errno> {
    if file.appends() { size(kernel, file) } else { Ok(at) }
}

/// Refuses to make a file this large if its limit forbids that.
pub(super) fn check_size<P: Platform>(kernel: &mut Kernel<P>, old: u64, new: u64) -> Result<(), Stop> {
    if new <= old || new <= kernel.limit(raw::RLIMIT_FSIZE) { Ok(()) } else { too_large(kernel) }
}

/// A file would be beyond RLIMIT_FSIZE.
fn too_large<P: Platform>(kernel: &mut Kernel<P>) -> Result<(), Stop> {
    super::signal::raise(kernel, Signal::XFSZ)?;
    Err(Errno::EFBIG.into())
}

/// What a call on a special file waits for.
pub(super) fn wait_for(special: &dyn Special) -> Wait {
    let mut wait = Wait::until(special.deadline());
    special.channels(&mut wait.channels);
    if special.terminal().is_some_and(|(terminal, _)| terminal.number().is_none()) {
        wait.events |= wait_events::CONSOLE_INPUT;
    }
    wait
}

fn read_special<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    special: &Rc<dyn Special>,
    ranges: &Ranges,
) -> Outcome {
    kernel.before_terminal(&**special, true)?;
    let caller = kernel.caller(file);
    let read = {
        let (space, mut source) = kernel.memory();
        let mut space = space.borrow_mut();
        let mut runs = UserRuns::new(&mut space, &mut source, ranges, 0, Access::Write);
        match special.read(&caller, &mut runs) {
            Ok(0) if runs.is_bad() => Err(Errno::EFAULT),
            other => other,
        }
    };
    match read {
        Ok(count) => Ok(count as u64),
        Err(Errno::EAGAIN) if !file.nonblocking() => wait_to_read(kernel, &**special),
        Err(error) => Err(error.into()),
    }
}

/// A read that has found nothing waits, or has waited long enough.
fn wait_to_read<P: Platform>(kernel: &mut Kernel<P>, special: &dyn Special) -> Outcome {
    let wait = wait_for(special);
    let Some(patience) = special.patience() else {
        return Err(wait_within(kernel, wait, special.time_limit(false)));
    };
    let deadline = kernel.deadline(patience);
    if kernel.is_over(deadline) { Ok(0) } else { Err(Stop::Block(wait.or_until(deadline))) }
}

/// Waits, for at most `limit` ns from the call's beginning; then it fails with EAGAIN.
pub(super) fn wait_within<P: Platform>(kernel: &mut Kernel<P>, wait: Wait, limit: Option<u64>) -> Stop {
    let Some(limit) = limit else { return Stop::Block(wait) };
    let deadline = kernel.deadline(limit);
    if kernel.is_over(deadline) {
        return Errno::EAGAIN.into();
    }
    Stop::Block(wait.or_until(deadline).never_restarted())
}

/// As many signals as there are and fit.
fn read_signals<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, mask: u64, ranges: &Ranges) -> Outcome {
    let room = index(ranges.total) / SIGNALFD_INFO;
    if room == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut done = 0;
    while done < room {
        let Some(info) = next_of_signalfd(kernel, mask) else { break };
        let (space, mut source) = kernel.memory();
        let mut space = space.borrow_mut();
        let at = (done * SIGNALFD_INFO) as u64;
        let mut runs = UserRuns::new(&mut space, &mut source, ranges, at, Access::Write);
        let sink: &mut dyn Sink = &mut runs;
        if sink.put(&info) < info.len() {
            return Err(Errno::EFAULT.into());
        }
        done += 1;
    }
    match done {
        0 if file.nonblocking() => Err(Errno::EAGAIN.into()),
        0 => Err(Stop::Block(Wait::on(&kernel.task.process.borrow().signalled))),
        done => Ok((done * SIGNALFD_INFO) as u64),
    }
}

/// A write that has to wait half-way goes on where it was (`Task::progress`), and a signal ends it with what went before.
fn write_special<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    special: &Rc<dyn Special>,
    ranges: &Ranges,
) -> Outcome {
    kernel.before_terminal(&**special, false)?;
    let caller = kernel.caller(file);
    let mut burst = 0;
    loop {
        let done = kernel.task.progress;
        let (space, mut source) = kernel.memory();
        let mut space = space.borrow_mut();
        let mut runs = UserRuns::new(&mut space, &mut source, ranges, done, Access::Read);
        let written = special.write(&caller, &mut runs);
        let bad = runs.is_bad();
        drop(space);
        kernel.after_terminal(&**special);
        match written {
            Ok(0) if bad && done == 0 => return Err(Errno::EFAULT.into()),
            Ok(count) => {
                let done = done + count as u64;
                if count == 0 || bad || done >= ranges.total || special.writes_messages() {
                    return Ok(done);
                }
                kernel.task.progress = done;
                burst += count;
                if burst >= BURST {
                    // It goes on when the others have had their turn.
                    return Err(Stop::Block(Wait::until(0)));
                }
            }
            Err(Errno::EAGAIN) if !file.nonblocking() => {
                return match wait_within(kernel, wait_for(&**special), special.time_limit(true)) {
                    Stop::Error(_) if done > 0 => Ok(done),
                    stop => Err(stop),
                };
            }
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Ok(check_pipe(kernel, Err(error))? as u64),
        }
    }
}

/// Moves bytes batch by batch. What went before an error or a wait is the result.
fn transfer<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    ranges: &Ranges,
    position: Option<u64>,
    access: Access,
) -> Outcome {
    let start = position.unwrap_or_else(|| file.offset());
    let mut done = 0;
    loop {
        if ranges.total == 0 && !matches!(file.kind, FileKind::Directory { .. } | FileKind::Listing(_)) {
            return Ok(0);
        }
        let moved = batch(kernel, file, ranges, done, start, access);
        match moved {
            Ok((count, wanted)) => {
                done += count;
                if count == 0 || count < wanted || done >= ranges.total {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(stop) => return Err(stop),
        }
    }
    if position.is_none() {
        moved_to(kernel, file, start + done, access);
    }
    Ok(done)
}

/// One batch from `done` on: bytes moved, bytes tried.
fn batch<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    ranges: &Ranges,
    done: u64,
    start: u64,
    access: Access,
) -> Result<(u64, u64), Stop> {
    let segments = {
        let (space, mut source) = kernel.memory();
        ranges.segments(&mut space.borrow_mut(), &mut source, done, access)?
    };
    let at = start.checked_add(done).ok_or(Errno::EINVAL)?;
    let count = match access {
        Access::Write => take(kernel, file, &segments, at)?,
        Access::Read | Access::Execute => put(kernel, file, &segments, at)?,
    };
    Ok((count, segments.bytes()))
}

/// Sets the file's position after a transfer that used it.
fn moved_to<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, end: u64, access: Access) {
    let appended = access != Access::Write && file.appends();
    let size = match file.inode() {
        Some(inode) if appended => kernel.file_attributes(inode).ok().map(|attr| attr.size),
        None if appended => size(kernel, file).ok(),
        _ => None,
    };
    file.set_offset(size.unwrap_or(end));
}

/// Reads one batch from the file into `segments`; how many bytes.
pub(super) fn take<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    segments: &Segments,
    at: u64,
) -> Result<u64, Stop> {
    match &file.kind {
        FileKind::Regular { .. } => {
            i64::try_from(at).map_err(|_| Errno::EINVAL)?;
            Ok(file.read_segments(&mut kernel.source(), at, segments.as_slice())?)
        }
        FileKind::Directory { .. } | FileKind::Listing(_) => Err(Errno::EISDIR.into()),
        FileKind::Device(device) => take_device(kernel, *device, segments),
        FileKind::Console(_) => take_console(kernel, file, segments),
        FileKind::Special(special) => {
            let caller = kernel.caller(file);
            Ok(special.read(&caller, &mut SegmentRuns::new(&mut kernel.platform, segments))? as u64)
        }
        FileKind::Text(text) => {
            let mut rest = text.get(index(at)..).unwrap_or(&[]);
            let mut count = 0;
            each_run(&mut kernel.platform, segments, |bytes| {
                let len = bytes.len().min(rest.len());
                let (now, later) = rest.split_at(len);
                bytes[..len].copy_from_slice(now);
                rest = later;
                count += len as u64;
            });
            Ok(count)
        }
        FileKind::Memory(memory) => {
            i64::try_from(at).map_err(|_| Errno::EINVAL)?;
            Ok(memory.object.read(&mut kernel.platform, at, segments.as_slice()))
        }
        FileKind::Path | FileKind::Signals(_) => Err(Errno::EBADF.into()),
    }
}

/// Calls `each` with the bytes of each segment.
fn each_run<P: Platform>(platform: &mut P, segments: &Segments, mut each: impl FnMut(&mut [u8])) {
    for segment in segments.as_slice() {
        let at = index(segment.gpa % PAGE);
        let end = at + index(u64::from(segment.len));
        if let Some(bytes) = platform.frame_mut(segment.gpa / PAGE * PAGE).get_mut(at..end) {
            each(bytes);
        }
    }
}

fn take_device<P: Platform>(kernel: &mut Kernel<P>, device: Device, segments: &Segments) -> Result<u64, Stop> {
    match device {
        Device::Null => return Ok(0),
        Device::Zero | Device::Full => each_run(&mut kernel.platform, segments, |bytes| bytes.fill(0)),
        Device::Random | Device::Urandom => {
            let random: &mut Random = &mut kernel.random;
            each_run(&mut kernel.platform, segments, |bytes| random.fill(bytes));
        }
        Device::Directory
        | Device::Terminals
        | Device::Tty
        | Device::Console
        | Device::Ptmx
        | Device::Terminal(_)
        | Device::Link(_) => return Err(Errno::EINVAL.into()),
    }
    Ok(segments.bytes())
}

fn take_console<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, segments: &Segments) -> Result<u64, Stop> {
    let args = ConsoleIo { stream: 0, reserved: 0 };
    let read = kernel.fuse.own(&mut kernel.platform, op::CONSOLE_READ, &args, segments.as_slice());
    match read {
        Ok(Count { bytes }) => Ok(bytes.min(segments.bytes())),
        Err(Errno::EAGAIN) if !file.nonblocking() => Err(Stop::Block(Wait::event(wait_events::CONSOLE_INPUT))),
        Err(error) => Err(error.into()),
    }
}

/// Writes one batch from `segments` to the file, as far as its limit goes; how many bytes.
pub(super) fn put<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    segments: &Segments,
    at: u64,
) -> Result<u64, Stop> {
    let limit = limit_of(kernel, file);
    if limit == u64::MAX {
        return put_all(kernel, file, segments, at);
    }
    let room = limit.saturating_sub(start_of_write(kernel, file, at)?);
    if room == 0 {
        return Err(Errno::EFBIG.into());
    }
    put_all(kernel, file, &first_bytes(segments, room.min(segments.bytes())), at)
}

/// The same without a limit.
fn put_all<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, segments: &Segments, at: u64) -> Result<u64, Stop> {
    match &file.kind {
        FileKind::Regular { .. } => {
            i64::try_from(at.saturating_add(segments.bytes())).map_err(|_| Errno::EFBIG)?;
            Ok(file.write_segments(&mut kernel.source(), at, segments.as_slice())?)
        }
        FileKind::Memory(memory) => {
            let at = if file.appends() { memory.object.size() } else { at };
            Ok(memory.object.write(&mut kernel.source(), at, segments.as_slice())?)
        }
        FileKind::Device(_) => Ok(segments.bytes()),
        FileKind::Console(stream) => {
            let args = ConsoleIo { stream: (*stream).max(1), reserved: 0 };
            let Count { bytes } =
                kernel.fuse.own(&mut kernel.platform, op::CONSOLE_WRITE, &args, segments.as_slice())?;
            Ok(bytes.min(segments.bytes()))
        }
        FileKind::Special(special) => {
            let caller = kernel.caller(file);
            let written = special.write(&caller, &mut SegmentRuns::new(&mut kernel.platform, segments));
            Ok(check_pipe(kernel, written)? as u64)
        }
        FileKind::Text(_) => put_text(kernel, file, segments),
        FileKind::Signals(_) => Err(Errno::EINVAL.into()),
        FileKind::Directory { .. } | FileKind::Listing(_) | FileKind::Path => Err(Errno::EBADF.into()),
    }
}

/// Bytes of a write to a text of `/proc` that count.
const MAX_TEXT: usize = 64;

/// Writes one batch to a text of `/proc`.
fn put_text<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, segments: &Segments) -> Result<u64, Stop> {
    let Some(Node::Proc(node)) = file.place.as_ref().map(|place| place.node.clone()) else {
        return Err(Errno::EBADF.into());
    };
    let mut bytes = [0; MAX_TEXT];
    let runs: &mut dyn Supply = &mut SegmentRuns::new(&mut kernel.platform, segments);
    let len = runs.take(&mut bytes);
    kernel.write_proc(node, bytes.get(..len).unwrap_or(&[]))?;
    Ok(segments.bytes())
}

/// A write that nobody will read ends with SIGPIPE too.
pub(super) fn check_pipe<P: Platform>(kernel: &mut Kernel<P>, written: Result<usize, Errno>) -> Result<usize, Stop> {
    if written == Err(Errno::EPIPE) {
        super::signal::raise(kernel, Signal::PIPE)?;
    }
    Ok(written?)
}

pub(super) fn lseek<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, offset, whence) = (kernel.file(args.int(0))?, args.long(1), args.uint(2));
    let base = match &file.kind {
        // What has no file type has no position either, and does not mind.
        FileKind::Special(special) if special.mode() & mode::S_IFMT == 0 => return Ok(0),
        FileKind::Special(_) | FileKind::Console(_) => return Err(Errno::ESPIPE.into()),
        FileKind::Path => return Err(Errno::EBADF.into()),
        FileKind::Device(_) | FileKind::Signals(_) => return Ok(0),
        _ => match whence {
            raw::SEEK_SET => 0,
            raw::SEEK_CUR => file.offset().cast_signed(),
            raw::SEEK_END => size(kernel, &file)?.cast_signed(),
            raw::SEEK_DATA | raw::SEEK_HOLE => return seek_hole(kernel, &file, offset, whence),
            _ => return Err(Errno::EINVAL.into()),
        },
    };
    let at = base.checked_add(offset).ok_or(Errno::EOVERFLOW)?;
    let at = u64::try_from(at).map_err(|_| Errno::EINVAL)?;
    file.set_offset(at);
    Ok(at)
}

pub(super) fn size<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile) -> Result<u64, Errno> {
    match (&file.kind, file.inode()) {
        (FileKind::Text(text), _) => Ok(text.len() as u64),
        (FileKind::Memory(memory), _) => Ok(memory.object.size()),
        (_, Some(inode)) => Ok(kernel.file_attributes(inode)?.size),
        _ => Err(Errno::EINVAL),
    }
}

fn seek_hole<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, offset: i64, whence: u32) -> Outcome {
    if let FileKind::Memory(memory) = &file.kind {
        let at = super::memfd::seek(&memory.object, offset, whence)?;
        file.set_offset(at);
        return Ok(at);
    }
    let FileKind::Regular { inode, handle } = &file.kind else { return Err(Errno::EINVAL.into()) };
    let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
    let args = fuse_lseek_in { fh: *handle, offset, whence, padding: 0 };
    let opcode = fuse_opcode::FUSE_LSEEK as u32;
    let len = kernel.fuse.request(&mut kernel.platform, opcode, inode.number(), &args, &[], &[])?;
    let out: fuse_lseek_out = Fuse::reply(&mut kernel.platform, len)?;
    file.set_offset(out.offset);
    Ok(out.offset)
}

/// The first `len` bytes of `segments`.
pub(super) fn first_bytes(segments: &Segments, len: u64) -> Segments {
    let mut first = Segments::new();
    for Segment { gpa, len: size, .. } in segments.as_slice() {
        let part = u64::from(*size).min(len - first.bytes());
        if part == 0 {
            break;
        }
        first.push(*gpa, part);
    }
    first
}
