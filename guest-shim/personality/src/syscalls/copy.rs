//! Copies from file to file that the program's memory has no part in: sendfile, copy_file_range, and splice's way between files.

use linux_raw_sys::general as raw;
use proto::MAX_SEGMENTS;

use super::Args;
use super::io::{check_limit, first_bytes, put, take};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::kernel::Kernel;
use crate::mm::user::{MAX_TRANSFER, Segments};
use crate::platform::{PAGE, Platform};

/// Frames that a copy from file to file passes through.
const COPY_FRAMES: usize = 16;
const _: () = assert!(COPY_FRAMES <= MAX_SEGMENTS);

pub(super) fn sendfile<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (output, input) = (kernel.file(args.int(0))?, kernel.file(args.int(1))?);
    let (offset_at, count) = (args.get(2), args.get(3).min(MAX_TRANSFER));
    if !input.readable() || !output.writable() {
        return Err(Errno::EBADF.into());
    }
    if offset_at != 0 && matches!(input.kind, FileKind::Special(_)) {
        return Err(Errno::ESPIPE.into());
    }
    if !matches!(input.kind, FileKind::Regular { .. } | FileKind::Text(_) | FileKind::Memory(_)) || output.appends() {
        return Err(Errno::EINVAL.into());
    }
    let from = if offset_at == 0 { input.offset() } else { position(kernel, offset_at)? };
    check_limit(kernel, &output, output.offset())?;
    let done = copy(kernel, &input, from, &output, output.offset(), count)?;
    output.set_offset(output.offset() + done);
    if offset_at == 0 {
        input.set_offset(from + done);
    } else {
        kernel.put(offset_at, &(from + done))?;
    }
    Ok(done)
}

pub(super) fn copy_file_range<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (input, output) = (kernel.file(args.int(0))?, kernel.file(args.int(2))?);
    let (from_at, to_at, count) = (args.get(1), args.get(3), args.get(4).min(MAX_TRANSFER));
    if args.uint(5) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if [&input, &output].iter().any(|file| matches!(file.kind, FileKind::Directory { .. } | FileKind::Listing(_))) {
        return Err(Errno::EISDIR.into());
    }
    if !input.readable() || !output.writable() || output.appends() {
        return Err(Errno::EBADF.into());
    }
    let (FileKind::Regular { inode: source, .. }, FileKind::Regular { inode: target, .. }) =
        (&input.kind, &output.kind)
    else {
        return Err(Errno::EINVAL.into());
    };
    let from = if from_at == 0 { input.offset() } else { position(kernel, from_at)? };
    let to = if to_at == 0 { output.offset() } else { position(kernel, to_at)? };
    let overlap = from < to.saturating_add(count) && to < from.saturating_add(count);
    if source.number() == target.number() && overlap {
        return Err(Errno::EINVAL.into());
    }
    check_limit(kernel, &output, to)?;
    let done = copy(kernel, &input, from, &output, to, count)?;
    for (at, file, end) in [(from_at, &input, from + done), (to_at, &output, to + done)] {
        if at == 0 {
            file.set_offset(end);
        } else {
            kernel.put(at, &end)?;
        }
    }
    Ok(done)
}

/// An offset from the program's memory.
pub(super) fn position<P: Platform>(kernel: &mut Kernel<P>, at: u64) -> Result<u64, Errno> {
    let offset: i64 = kernel.get(at)?;
    u64::try_from(offset).map_err(|_| Errno::EINVAL)
}

/// Copies up to `count` bytes from file to file by way of a few frames; how many.
pub(super) fn copy<P: Platform>(
    kernel: &mut Kernel<P>,
    input: &OpenFile,
    from: u64,
    output: &OpenFile,
    to: u64,
    count: u64,
) -> Result<u64, Stop> {
    let mut frames = Segments::new();
    while frames.as_slice().len() < COPY_FRAMES && frames.bytes() < count {
        let Ok(frame) = kernel.frames.take(&mut kernel.platform) else { break };
        frames.push(frame, PAGE);
    }
    let result = if count > 0 && frames.bytes() == 0 {
        Err(Errno::ENOMEM.into())
    } else {
        copy_through(kernel, input, from, output, to, count, &frames)
    };
    for frame in frames.as_slice() {
        kernel.frames.give(&mut kernel.platform, frame.gpa);
    }
    if result.as_ref().is_ok_and(|&done| done > 0) {
        input.happened(raw::IN_ACCESS);
        output.happened(raw::IN_MODIFY);
    }
    result
}

fn copy_through<P: Platform>(
    kernel: &mut Kernel<P>,
    input: &OpenFile,
    from: u64,
    output: &OpenFile,
    to: u64,
    count: u64,
    frames: &Segments,
) -> Result<u64, Stop> {
    let mut done = 0;
    while done < count {
        let room = first_bytes(frames, count - done);
        let read = match take(kernel, input, &room, from.saturating_add(done)) {
            Ok(read) => read,
            Err(_) if done > 0 => break,
            Err(stop) => return Err(stop),
        };
        if read == 0 {
            break;
        }
        let filled = first_bytes(&room, read);
        let written = match put(kernel, output, &filled, to.saturating_add(done)) {
            Ok(written) => written,
            Err(_) if done > 0 => break,
            Err(stop) => return Err(stop),
        };
        done += written;
        if written < read || read < room.bytes() {
            break;
        }
    }
    Ok(done)
}
