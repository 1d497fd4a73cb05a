//! Pipes: a bounded queue of bytes between descriptors.

use alloc::collections::VecDeque;
use core::cell::{Cell, RefCell};

use crate::errno::Errno;

/// Bytes that a pipe holds (Linux' default).
pub const CAPACITY: usize = 65536;
/// Writes up to this length are never split (PIPE_BUF).
pub const ATOMIC: usize = 4096;

/// The queue and the number of open ends.
pub struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    readers: Cell<u32>,
    writers: Cell<u32>,
}

impl Pipe {
    /// Empty, with no end open yet.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: RefCell::new(VecDeque::new()), readers: Cell::new(0), writers: Cell::new(0) }
    }

    /// An end is opened (`by` 1) or closed (`by` −1).
    pub fn count(&self, writing: bool, by: i32) {
        let ends = if writing { &self.writers } else { &self.readers };
        ends.set(ends.get().saturating_add_signed(by));
    }

    /// Takes what is there. `None`: nothing yet, but somebody may write.
    #[must_use]
    pub fn read(&self, out: &mut [u8]) -> Option<usize> {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() && self.writers.get() > 0 {
            return None;
        }
        let len = out.len().min(bytes.len());
        for (slot, byte) in out.iter_mut().zip(bytes.drain(..len)) {
            *slot = byte;
        }
        Some(len)
    }

    /// Room for a write of `len` bytes: how many of them can go in now.
    ///
    /// # Errors
    /// EPIPE without a reader; EAGAIN when it has to wait; ENOMEM.
    pub fn room(&self, len: usize) -> Result<usize, Errno> {
        if self.readers.get() == 0 {
            return Err(Errno::EPIPE);
        }
        let mut bytes = self.bytes.borrow_mut();
        let room = CAPACITY - bytes.len();
        if room == 0 || (len <= ATOMIC && room < len) {
            return Err(Errno::EAGAIN);
        }
        let room = room.min(len);
        bytes.try_reserve(room).map_err(|_| Errno::ENOMEM)?;
        Ok(room)
    }

    /// Appends bytes for which [`Pipe::room`] was asked.
    pub fn write(&self, data: &[u8]) {
        self.bytes.borrow_mut().extend(data);
    }

    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has the other side gone (readers for a writer, writers for a reader)?
    #[must_use]
    pub fn is_orphaned(&self, writing: bool) -> bool {
        if writing { self.readers.get() == 0 } else { self.writers.get() == 0 }
    }
}

impl Default for Pipe {
    fn default() -> Self {
        Self::new()
    }
}
