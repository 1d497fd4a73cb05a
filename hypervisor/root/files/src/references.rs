//! Which inodes are in use from outside, so that a deleted one lives as long as somebody holds it.
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use crate::{Errno, Ino};

#[derive(Debug, Default)]
struct Reference {
    /// Answers that named this inode and were not yet taken back (FUSE's lookup count).
    lookups: u64,
    /// Open files.
    opens: u32,
}

/// The references, at most `limit` inodes by lookups; those by open files are bounded by whoever opens.
#[derive(Debug)]
pub(crate) struct References {
    map: BTreeMap<Ino, Reference>,
    limit: usize,
}

impl References {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { map: BTreeMap::new(), limit }
    }

    pub(crate) fn room(&self) -> bool {
        self.map.len() < self.limit
    }

    pub(crate) fn add_lookup(&mut self, ino: Ino) -> Result<(), Errno> {
        let room = self.room();
        match self.map.entry(ino) {
            Entry::Occupied(mut entry) => {
                let reference = entry.get_mut();
                reference.lookups = reference.lookups.saturating_add(1);
            }
            Entry::Vacant(_) if !room => return Err(Errno::ENFILE),
            Entry::Vacant(entry) => {
                entry.insert(Reference { lookups: 1, opens: 0 });
            }
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self, ino: Ino, lookups: u64) {
        self.change(ino, |reference| reference.lookups = reference.lookups.saturating_sub(lookups));
    }

    pub(crate) fn add_open(&mut self, ino: Ino) {
        let reference = self.map.entry(ino).or_default();
        reference.opens = reference.opens.saturating_add(1);
    }

    pub(crate) fn close(&mut self, ino: Ino) {
        self.change(ino, |reference| reference.opens = reference.opens.saturating_sub(1));
    }

    pub(crate) fn looked_up(&self, ino: Ino) -> bool {
        self.map.get(&ino).is_some_and(|reference| reference.lookups > 0)
    }

    pub(crate) fn is_open(&self, ino: Ino) -> bool {
        self.map.get(&ino).is_some_and(|reference| reference.opens > 0)
    }

    pub(crate) fn in_use(&self, ino: Ino) -> bool {
        self.map.contains_key(&ino)
    }

    fn change(&mut self, ino: Ino, change: impl FnOnce(&mut Reference)) {
        if let Entry::Occupied(mut entry) = self.map.entry(ino) {
            change(entry.get_mut());
            if entry.get().lookups == 0 && entry.get().opens == 0 {
                entry.remove();
            }
        }
    }
}
