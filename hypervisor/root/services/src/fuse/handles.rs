//! What the shim has open.
use alloc::vec::Vec;

use files::{Errno, Ino};

/// An open file or directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handle {
    File {
        ino: Ino,
        readable: bool,
        writable: bool,
        /// Bytes that were written; `None`: it was not.
        written: Option<u64>,
    },
    Directory {
        ino: Ino,
        /// Where reading ends: behind what was there when it began.
        end: u64,
    },
}

impl Handle {
    pub(super) const fn ino(self) -> Ino {
        match self {
            Self::File { ino, .. } | Self::Directory { ino, .. } => ino,
        }
    }
}

/// The open ones, by number. A number is used again once it was closed.
#[derive(Debug)]
pub(super) struct Handles {
    slots: Vec<Option<Handle>>,
    free: Vec<usize>,
    limit: usize,
    /// Of the slots those before this have been looked at by [`Handles::take_written`].
    concluded: usize,
}

impl Handles {
    pub(super) const fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit, concluded: 0 }
    }

    /// ENFILE if no more can be opened.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        if self.free.is_empty() && self.slots.len() >= self.limit { Err(Errno::ENFILE) } else { Ok(()) }
    }

    /// Its number, from 1.
    pub(super) fn open(&mut self, handle: Handle) -> Result<u64, Errno> {
        self.check_room()?;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        *self.slots.get_mut(index).ok_or(Errno::ENFILE)? = Some(handle);
        Ok(index as u64 + 1)
    }

    pub(super) fn get(&self, number: u64) -> Result<Handle, Errno> {
        let slot = Self::index(number).and_then(|index| self.slots.get(index)).copied();
        slot.flatten().ok_or(Errno::EBADF)
    }

    /// The inode of a file that is open for reading.
    pub(super) fn readable(&self, number: u64) -> Result<Ino, Errno> {
        match self.get(number)? {
            Handle::File { ino, readable: true, .. } => Ok(ino),
            _ => Err(Errno::EBADF),
        }
    }

    /// The inode of a file that is open for writing.
    pub(super) fn writable(&self, number: u64) -> Result<Ino, Errno> {
        match self.get(number)? {
            Handle::File { ino, writable: true, .. } => Ok(ino),
            _ => Err(Errno::EBADF),
        }
    }

    /// So many bytes were written.
    pub(super) fn wrote(&mut self, number: u64, bytes: u64) {
        let slot = Self::index(number).and_then(|index| self.slots.get_mut(index));
        if let Some(Some(Handle::File { written, .. })) = slot {
            *written = Some(written.unwrap_or(0).saturating_add(bytes));
        }
    }

    /// Once nothing is opened any more: the next open file that was written to, and how many bytes.
    pub(super) fn take_written(&mut self) -> Option<(Ino, u64)> {
        for slot in self.slots.iter_mut().skip(self.concluded) {
            self.concluded += 1;
            if let Some(Handle::File { ino, written, .. }) = slot
                && let Some(bytes) = written.take()
            {
                return Some((*ino, bytes));
            }
        }
        None
    }

    /// The inode of an open directory, and where reading it ends.
    pub(super) fn directory(&mut self, number: u64) -> Result<(Ino, &mut u64), Errno> {
        let slot = Self::index(number).and_then(|index| self.slots.get_mut(index));
        match slot {
            Some(Some(Handle::Directory { ino, end })) => Ok((*ino, end)),
            _ => Err(Errno::EBADF),
        }
    }

    pub(super) fn close(&mut self, number: u64) -> Result<Handle, Errno> {
        let index = Self::index(number).ok_or(Errno::EBADF)?;
        let handle = self.slots.get_mut(index).and_then(Option::take).ok_or(Errno::EBADF)?;
        self.free.push(index);
        Ok(handle)
    }

    fn index(number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(1)?).ok()
    }
}
