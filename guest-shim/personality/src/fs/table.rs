//! The descriptor table.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

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

/// The descriptors of all tables and the open files that are on the way in messages, together, and how many there may be.
#[derive(Debug)]
pub struct Count {
    open: Cell<u64>,
    most: Cell<u64>,
    refused: Cell<bool>,
}

impl Default for Count {
    /// None, and there may be any number.
    fn default() -> Self {
        Self { open: Cell::new(0), most: Cell::new(u64::MAX), refused: Cell::new(false) }
    }
}

impl Count {
    /// Lets there be so many from now on. Those that there are stay.
    pub fn allow(&self, most: u64) {
        self.most.set(most);
    }

    /// Whether one was refused since this was asked last.
    pub fn take_refused(&self) -> bool {
        self.refused.take()
    }

    /// Whether there may be so many more.
    ///
    /// # Errors
    /// ENFILE.
    pub fn check(&self, more: u64) -> Result<(), Errno> {
        if self.open.get().saturating_add(more) > self.most.get() {
            self.refused.set(true);
            return Err(Errno::ENFILE);
        }
        Ok(())
    }

    /// There are so many more.
    pub fn add(&self, more: u64) {
        self.open.set(self.open.get().saturating_add(more));
    }

    /// There are so many fewer.
    pub fn take(&self, fewer: u64) {
        self.open.set(self.open.get().saturating_sub(fewer));
    }
}

/// Descriptors by number.
#[derive(Default)]
pub struct FdTable {
    slots: Vec<Option<Descriptor>>,
    /// How many of them are in use.
    open: u64,
    count: Rc<Count>,
}

impl Drop for FdTable {
    fn drop(&mut self) {
        self.count.take(self.open);
    }
}

impl FdTable {
    /// An empty one, whose descriptors count among those of `count`.
    #[must_use]
    pub fn new(count: Rc<Count>) -> Self {
        Self { slots: Vec::new(), open: 0, count }
    }

    /// Whether there may be a copy.
    ///
    /// # Errors
    /// ENFILE: there would be too many descriptors.
    pub fn may_be_copied(&self) -> Result<(), Errno> {
        self.count.check(self.open)
    }

    /// The same descriptors once more.
    ///
    /// # Errors
    /// ENFILE.
    pub fn copy(&self) -> Result<Self, Errno> {
        self.may_be_copied()?;
        self.count.add(self.open);
        Ok(Self { slots: self.slots.clone(), open: self.open, count: Rc::clone(&self.count) })
    }

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
    /// EMFILE; ENFILE without memory for it, or if there are as many in all tables as there may be.
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
    /// EBADF when the number is not below `limit`; ENFILE as for [`FdTable::add`].
    pub fn replace(&mut self, fd: i32, descriptor: Descriptor, limit: u64) -> Result<(), Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if slot as u64 >= limit {
            return Err(Errno::EBADF);
        }
        self.put(slot, descriptor)
    }

    fn put(&mut self, slot: usize, descriptor: Descriptor) -> Result<(), Errno> {
        let is_new = !matches!(self.slots.get(slot), Some(Some(_)));
        if is_new {
            self.count.check(1)?;
        }
        if slot >= self.slots.len() {
            let more = slot + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENFILE)?;
            self.slots.resize(slot + 1, None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(descriptor);
            self.open += u64::from(is_new);
            self.count.add(u64::from(is_new));
        }
        Ok(())
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// EBADF.
    pub fn remove(&mut self, fd: i32) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let taken = self.slots.get_mut(slot).and_then(Option::take).ok_or(Errno::EBADF)?;
        self.open = self.open.saturating_sub(1);
        self.count.take(1);
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        Ok(taken)
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
