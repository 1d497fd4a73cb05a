//! ioctl: terminals, and the few that every descriptor has.

use linux_raw_sys::ioctl as raw;
use proto::op::{self, WindowSize};

use super::Args;
use crate::abi::{Termios, Winsize};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::kernel::Kernel;
use crate::platform::Platform;

/// A terminal in its usual state: what `stty sane` sets (Linux `tty_std_termios`).
const SANE: Termios = Termios {
    c_iflag: 0o2400,
    c_oflag: 0o5,
    c_cflag: 0o277,
    c_lflag: 0o105_073,
    c_line: 0,
    c_cc: [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0],
};

pub(super) fn ioctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, request, argument) = (args.int(0), args.uint(1), args.get(2));
    let file = kernel.file(fd)?;
    match request {
        raw::FIOCLEX | raw::FIONCLEX => {
            kernel.task.files.borrow_mut().get_mut(fd)?.close_on_exec = request == raw::FIOCLEX;
            return Ok(0);
        }
        raw::FIONBIO => {
            let on: i32 = kernel.get(argument)?;
            let flag = linux_raw_sys::general::O_NONBLOCK;
            file.set_status(if on != 0 { file.status() | flag } else { file.status() & !flag });
            return Ok(0);
        }
        _ => {}
    }
    match &file.kind {
        FileKind::Path => Err(Errno::EBADF.into()),
        FileKind::Console(stream) if kernel.is_terminal(*stream) => terminal(kernel, request, argument),
        FileKind::Regular { inode, .. } if request == raw::FIONREAD => {
            let size = kernel.file_attributes(inode)?.size;
            put_count(kernel, argument, size.saturating_sub(file.offset()))
        }
        FileKind::Special(special) if request == raw::FIONREAD => match special.readable_bytes() {
            Some(bytes) => put_count(kernel, argument, bytes as u64),
            None => Err(Errno::ENOTTY.into()),
        },
        _ => other(&file, request),
    }
}

/// What is no terminal answers a terminal's questions with ENOTTY.
fn other(file: &OpenFile, request: u32) -> Outcome {
    let console = matches!(file.kind, FileKind::Console(_));
    if request == raw::FIONREAD && console { Err(Stop::NotImplemented) } else { Err(Errno::ENOTTY.into()) }
}

fn put_count<P: Platform>(kernel: &mut Kernel<P>, at: u64, count: u64) -> Outcome {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    kernel.put(at, &count)?;
    Ok(0)
}

fn terminal<P: Platform>(kernel: &mut Kernel<P>, request: u32, argument: u64) -> Outcome {
    match request {
        raw::TCGETS => {
            kernel.put(argument, &SANE)?;
            Ok(0)
        }
        raw::TIOCGWINSZ => {
            let size: WindowSize = kernel.fuse.own(&mut kernel.platform, op::WINDOW_SIZE, &(), &[])?;
            let size = Winsize { ws_row: size.rows, ws_col: size.columns, ..Default::default() };
            kernel.put(argument, &size)?;
            Ok(0)
        }
        raw::TIOCGPGRP => {
            let group = kernel.task.process.borrow().group;
            kernel.put(argument, &group)?;
            Ok(0)
        }
        raw::TIOCGSID => {
            let session = kernel.task.process.borrow().session;
            kernel.put(argument, &session)?;
            Ok(0)
        }
        _ => Err(Stop::NotImplemented),
    }
}
