//! Locks on whole files (flock): each belongs to an open file and ends with it.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use crate::wait::{Channel, Hub};

/// All locks that are held.
pub struct Locks {
    /// Number and strength (exclusive?) of the locks of each file, by inode number.
    held: RefCell<BTreeMap<u64, Vec<(u64, bool)>>>,
    last: Cell<u64>,
    channel: Channel,
}

impl Locks {
    /// None.
    #[must_use]
    pub fn new(hub: &Hub) -> Rc<Self> {
        Rc::new(Self { held: RefCell::default(), last: Cell::new(0), channel: hub.channel() })
    }

    /// Locks a file. `None`: another lock is in the way.
    #[must_use]
    pub fn lock(self: &Rc<Self>, inode: u64, exclusive: bool) -> Option<Lock> {
        let mut held = self.held.borrow_mut();
        let locks = held.entry(inode).or_default();
        if locks.iter().any(|&(_, other)| exclusive || other) {
            return None;
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        locks.push((number, exclusive));
        Some(Lock { locks: Rc::clone(self), inode, number })
    }

    /// What is woken when a lock ends.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// A lock that is held until this is dropped.
pub struct Lock {
    locks: Rc<Locks>,
    inode: u64,
    number: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut held = self.locks.held.borrow_mut();
        if let Some(locks) = held.get_mut(&self.inode) {
            locks.retain(|&(number, _)| number != self.number);
            if locks.is_empty() {
                held.remove(&self.inode);
            }
        }
        self.locks.channel.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_locks_stand_alone() {
        let locks = Locks::new(&Hub::default());
        let first = locks.lock(1, false).expect("a free file");
        let second = locks.lock(1, false).expect("shared");
        assert!(locks.lock(1, true).is_none() && locks.lock(2, true).is_some());
        drop((first, second));
        let only = locks.lock(1, true).expect("free again");
        assert!(locks.lock(1, false).is_none());
        drop(only);
        assert!(locks.held.borrow().is_empty());
    }
}
