//! The program's standard streams.
use files::Errno;
use guestmem::GuestMemory;
use proto::op::{ConsoleIo, Count, WindowSize};

use crate::request::{Exchange, put};
use crate::segments::Cursor;
use crate::written::Written;

/// Bytes that are moved at a time.
const PIECE: usize = 4096;

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What a read from standard input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleRead {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing is there, but may come.
    NothingYet,
    /// Nothing will ever come.
    EndOfFile,
}

/// The way to the user.
pub trait Console {
    /// Takes output, all of it.
    fn write(&mut self, stream: Stream, data: &[u8]);
    /// Gives input that is there, without waiting.
    fn read(&mut self, buf: &mut [u8]) -> ConsoleRead;
    /// Rows and columns of the terminal, if there is one.
    fn window(&self) -> Option<(u16, u16)>;
}

pub(crate) fn write<M: GuestMemory>(
    exchange: &mut Exchange,
    memory: &M,
    console: &mut dyn Console,
    written: &mut Written,
) -> Result<usize, Errno> {
    let parts = exchange.parts();
    let io: ConsoleIo = parts.arguments.only()?;
    let stream = match io.stream {
        1 => Stream::Output,
        2 => Stream::Error,
        _ => return Err(Errno::EINVAL),
    };
    let mut cursor = Cursor::new(parts.segments);
    let mut piece = [0; PIECE];
    let mut left = written.room(cursor.remaining())?;
    let mut bytes = 0u64;
    loop {
        let len = left.min(PIECE);
        let Some(part) = piece.get_mut(..len).filter(|part| !part.is_empty()) else {
            break;
        };
        match cursor.read(memory, part) {
            Ok(()) => console.write(stream, part),
            Err(error) if bytes == 0 => return Err(error),
            Err(_) => break,
        }
        bytes += part.len() as u64;
        left -= part.len();
        written.add(part.len());
    }
    put(parts.body, &Count { bytes })
}

pub(crate) fn read<M: GuestMemory>(
    exchange: &mut Exchange,
    memory: &mut M,
    console: &mut dyn Console,
) -> Result<usize, Errno> {
    let parts = exchange.parts();
    let io: ConsoleIo = parts.arguments.only()?;
    let mut cursor = Cursor::new(parts.segments);
    if io.stream != 0 || cursor.remaining() == 0 {
        return Err(Errno::EINVAL);
    }
    let mut piece = [0; PIECE];
    let mut bytes = 0u64;
    while cursor.remaining() > 0 {
        let len = cursor.remaining().min(PIECE);
        let part = piece.get_mut(..len).unwrap_or(&mut []);
        match console.read(part) {
            ConsoleRead::Bytes(count) => {
                cursor.write(memory, part.get(..count).ok_or(Errno::EINVAL)?)?;
                bytes += count as u64;
            }
            ConsoleRead::NothingYet if bytes == 0 => return Err(Errno::EAGAIN),
            ConsoleRead::NothingYet | ConsoleRead::EndOfFile => break,
        }
    }
    put(parts.body, &Count { bytes })
}

pub(crate) fn window(exchange: &mut Exchange, console: &dyn Console) -> Result<usize, Errno> {
    exchange.arguments().end()?;
    let (rows, columns) = console.window().ok_or(Errno::ENOTTY)?;
    exchange.put(&WindowSize { rows, columns, reserved: 0 })
}
