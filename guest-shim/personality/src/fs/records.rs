//! Locks on ranges of files (fcntl(2)): those of processes, which end with any descriptor of the file that the process closes,
//! and those of open files.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::errno::Errno;
use crate::wait::{Channel, Hub};

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process, by id.
    Process(u32),
    /// An open file, by its address.
    File(usize),
}

/// A lock on [`start`, `end`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// First byte.
    pub start: u64,
    /// End, exclusive; `u64::MAX`: whatever the file grows to.
    pub end: u64,
    /// F_WRLCK rather than F_RDLCK.
    pub exclusive: bool,
}

/// What a thread of a process waits for.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    thread: u32,
    inode: u64,
    wanted: Record,
}

/// Most locks of all files together.
const MAX_RECORDS: usize = 16384;

/// All locks, and the channel that is woken when some are given up.
#[derive(Clone)]
pub struct Shared {
    /// The locks.
    pub records: Rc<RefCell<Records>>,
    /// Woken when some are given up.
    pub channel: Channel,
}

impl Shared {
    /// None yet.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        Self { records: Rc::default(), channel: hub.channel() }
    }

    /// `thread` is about to wait for a lock. Those that have waited and do so no more are forgotten.
    ///
    /// # Errors
    /// EDEADLK: whoever holds it waits, by itself or through others, for a lock of the same process. Locks of open files
    /// are nobody's in particular, and no part of this (fcntl(2), `posix_locks_deadlock` in Linux).
    pub fn wait_for(&self, thread: u32, inode: u64, wanted: Record) -> Result<(), Errno> {
        let mut records = self.records.borrow_mut();
        records.waiting.retain(|other| other.thread != thread && self.channel.has(other.thread));
        if let Owner::Process(_) = wanted.owner {
            if records.would_deadlock(inode, &wanted) {
                return Err(Errno::EDEADLK);
            }
            records.waiting.push(Waiting { thread, inode, wanted });
        }
        Ok(())
    }

    /// An owner is no more.
    pub fn release_all(&self, owner: Owner) {
        if self.records.borrow_mut().clear_all(owner) {
            self.channel.wake();
        }
    }

    /// A process has closed a descriptor of a file.
    pub fn release_file(&self, inode: u64, pid: u32) {
        if !self.records.borrow().is_empty() && self.records.borrow_mut().clear(inode, Owner::Process(pid), 0, u64::MAX)
        {
            self.channel.wake();
        }
    }
}

/// Kept by an open file that has had locks of its own: they end with it.
pub struct Guard {
    shared: Shared,
    owner: Owner,
}

impl Guard {
    /// For the locks of `owner`.
    #[must_use]
    pub fn new(shared: &Shared, owner: Owner) -> Self {
        Self { shared: shared.clone(), owner }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.release_all(self.owner);
    }
}

/// All locks on ranges, by the file's inode number.
#[derive(Default)]
pub struct Records {
    files: BTreeMap<u64, Vec<Record>>,
    count: usize,
    /// Of threads that wait, and some that have ceased to.
    waiting: Vec<Waiting>,
}

impl Records {
    /// Is the owner of `wanted` waited for, on whatever way, by who holds what is in its way?
    fn would_deadlock(&self, inode: u64, wanted: &Record) -> bool {
        let blocker = |inode, wanted: &Record| self.conflict(inode, wanted).map(|record| record.owner);
        let mut met: Vec<Owner> = blocker(inode, wanted).into_iter().collect();
        let mut next = 0;
        while let Some(&owner) = met.get(next) {
            if owner == wanted.owner {
                return true;
            }
            for waiting in self.waiting.iter().filter(|waiting| waiting.wanted.owner == owner) {
                met.extend(blocker(waiting.inode, &waiting.wanted).filter(|owner| !met.contains(owner)));
            }
            next += 1;
        }
        false
    }

    /// A lock of somebody else's that stands in the way of `wanted`.
    #[must_use]
    pub fn conflict(&self, inode: u64, wanted: &Record) -> Option<Record> {
        let all = self.files.get(&inode)?;
        let overlaps = |other: &&Record| {
            other.owner != wanted.owner
                && other.start < wanted.end
                && wanted.start < other.end
                && (other.exclusive || wanted.exclusive)
        };
        all.iter().find(overlaps).copied()
    }

    /// Gives the owner this lock, in the place of what it has there. Was there anything?
    ///
    /// # Errors
    /// ENOLCK when there are too many.
    pub fn set(&mut self, inode: u64, record: Record) -> Result<bool, Errno> {
        if self.count + 2 > MAX_RECORDS {
            return Err(Errno::ENOLCK);
        }
        let replaces = self.clear(inode, record.owner, record.start, record.end);
        let all = self.files.entry(inode).or_default();
        let mut merged = record;
        all.retain(|other| {
            let joins = other.owner == record.owner
                && other.exclusive == record.exclusive
                && (other.end == merged.start || other.start == merged.end);
            if joins {
                merged.start = merged.start.min(other.start);
                merged.end = merged.end.max(other.end);
            }
            !joins
        });
        all.push(merged);
        self.recount();
        Ok(replaces)
    }

    /// Takes the owner's locks in [`start`, `end`) away. Were there any?
    pub fn clear(&mut self, inode: u64, owner: Owner, start: u64, end: u64) -> bool {
        let Some(all) = self.files.get_mut(&inode) else { return false };
        let mut found = false;
        let mut pieces = Vec::new();
        all.retain(|record| {
            let hit = record.owner == owner && record.start < end && start < record.end;
            if hit {
                found = true;
                if record.start < start {
                    pieces.push(Record { end: start, ..*record });
                }
                if end < record.end {
                    pieces.push(Record { start: end, ..*record });
                }
            }
            !hit
        });
        all.extend(pieces);
        if all.is_empty() {
            self.files.remove(&inode);
        }
        self.recount();
        found
    }

    /// Takes all locks of an owner away. Were there any?
    pub fn clear_all(&mut self, owner: Owner) -> bool {
        let before = self.count;
        for all in self.files.values_mut() {
            all.retain(|record| record.owner != owner);
        }
        self.files.retain(|_, all| !all.is_empty());
        self.recount();
        self.count != before
    }

    /// There are none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn recount(&mut self) {
        self.count = self.files.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 32;

    /// Each byte's holders: the law that the list of ranges must follow.
    #[derive(Default, Clone)]
    struct Model([Vec<(u32, bool)>; LEN]);

    #[test]
    fn ranges_split_and_join_as_bytes_would() {
        let mut random = crate::random::Random::new(&[9; 32]);
        let mut records = Records::default();
        let mut model = Model::default();
        for _ in 0..crate::tests::rounds(20_000) {
            let pid = u32::try_from(random.below(3)).expect("small");
            let owner = Owner::Process(pid);
            let start = random.below(LEN as u64 - 1);
            let end = start + 1 + random.below(LEN as u64 - start);
            let exclusive = random.below(2) == 0;
            let range = usize::try_from(start).expect("small")..usize::try_from(end.min(LEN as u64)).expect("small");
            if random.below(3) == 0 {
                records.clear(1, owner, start, end);
                for byte in &mut model.0[range] {
                    byte.retain(|(holder, _)| *holder != pid);
                }
                continue;
            }
            let wanted = Record { owner, start, end, exclusive };
            let stands = model.0[range.clone()]
                .iter()
                .any(|byte| byte.iter().any(|&(holder, other)| holder != pid && (other || exclusive)));
            assert_eq!(records.conflict(1, &wanted).is_some(), stands);
            if !stands {
                records.set(1, wanted).expect("room");
                for byte in &mut model.0[range] {
                    byte.retain(|(holder, _)| *holder != pid);
                    byte.push((pid, exclusive));
                }
            }
        }
        for pid in 0..3 {
            records.clear_all(Owner::Process(pid));
        }
        assert!(records.is_empty());
    }
}
