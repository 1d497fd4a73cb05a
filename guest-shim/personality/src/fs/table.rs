//! The descriptor table.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::file::OpenFile;
use crate::errno::Errno;
use crate::num::index;

/// A descriptor: an open file, and whether execve closes it.
#[derive(Clone)]
pub struct Descriptor {
    /// The open file.
    pub file: Rc<OpenFile>,
    /// FD_CLOEXEC.
    pub close_on_exec: bool,
}

/// Descriptors by number.
#[derive(Clone, Default)]
pub struct FdTable {
    slots: Vec<Option<Descriptor>>,
}

impl FdTable {
    /// The open file of `fd`.
    ///
    /// # Errors
    /// EBADF.
    pub fn get(&self, fd: i32) -> Result<&Descriptor, Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.slots.get(slot).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    /// The same, to change its flag.
    ///
    /// # Errors
    /// EBADF.
    pub fn get_mut(&mut self, fd: i32) -> Result<&mut Descriptor, Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.slots.get_mut(slot).and_then(Option::as_mut).ok_or(Errno::EBADF)
    }

    /// Puts a descriptor at the lowest free number from `from` on, below `limit` (RLIMIT_NOFILE).
    ///
    /// # Errors
    /// EMFILE; ENFILE without memory for it.
    pub fn add(&mut self, descriptor: Descriptor, from: u64, limit: u64) -> Result<u64, Errno> {
        let from = index(from);
        let free = self.slots.iter().skip(from).position(Option::is_none);
        let slot = free.map_or_else(|| self.slots.len().max(from), |free| from + free);
        if slot as u64 >= limit {
            return Err(Errno::EMFILE);
        }
        self.put(slot, descriptor)?;
        Ok(slot as u64)
    }

    /// Puts a descriptor at this number; what was there goes.
    ///
    /// # Errors
    /// EBADF when the number is not below `limit`; ENFILE without memory for it.
    pub fn replace(&mut self, fd: i32, descriptor: Descriptor, limit: u64) -> Result<(), Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if slot as u64 >= limit {
            return Err(Errno::EBADF);
        }
        self.put(slot, descriptor)
    }

    fn put(&mut self, slot: usize, descriptor: Descriptor) -> Result<(), Errno> {
        if slot >= self.slots.len() {
            let more = slot + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENFILE)?;
            self.slots.resize(slot + 1, None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(descriptor);
        }
        Ok(())
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// EBADF.
    pub fn remove(&mut self, fd: i32) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let taken = self.slots.get_mut(slot).and_then(Option::take).ok_or(Errno::EBADF);
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        taken
    }

    /// One more than the highest number in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The numbers in use.
    pub fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().enumerate().filter_map(|(number, slot)| slot.as_ref().map(|_| number))
    }
}
