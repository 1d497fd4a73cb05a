//! What requests have changed of the files, for whoever records it: by resolved paths, and once it is done.
//!
//! Bytes that are written are told when the file is closed, in one sum: a program that writes byte by byte costs no change a byte. A name or an
//! attribute that is as it was before is no change.
use alloc::vec::Vec;

use files::{Attr, Kind, SetAttr};

/// Something that a request has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The resolved path; of a file with several names that by which it was found last. Empty: it was not found by any.
    pub path: Vec<u8>,
    /// The file has no name any more, or none yet: `path` is the last one that it had.
    pub nameless: bool,
    /// What.
    pub what: Changed,
}

/// What can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Created(Kind),
    /// So many bytes were written into it while it was open, that once; none: it got room or holes.
    Written(u64),
    /// It has this length now.
    Truncated(u64),
    /// This name of it was taken away.
    Deleted(Kind),
    /// What was at `from` is here now.
    Renamed {
        /// Where it was.
        from: Vec<u8>,
        /// Something else was here, and is gone.
        replaced: bool,
        /// Something else was here, and is at `from` now.
        exchanged: bool,
    },
    /// What is at `from`, too, has this name now.
    Linked {
        /// Another name of it.
        from: Vec<u8>,
    },
    /// Its attributes; those that were set to what they were are `None`.
    Attributes {
        /// Permission bits.
        mode: Option<u32>,
        /// Owner.
        uid: Option<u32>,
        /// Group.
        gid: Option<u32>,
        /// When it was read or written.
        times: bool,
    },
    /// The extended attribute of this name was set or taken away.
    Xattr(Vec<u8>),
}

/// The changes of the last request.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    /// Somebody wants to know.
    on: bool,
    made: Vec<Change>,
}

impl ChangeLog {
    pub(crate) const fn new(on: bool) -> Self {
        Self { on, made: Vec::new() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// The next request begins: what nobody has taken is dropped.
    pub(crate) fn begin(&mut self) {
        self.made.clear();
    }

    pub(crate) fn add(&mut self, change: Change) {
        self.made.push(change);
    }

    pub(crate) fn take(&mut self) -> impl Iterator<Item = Change> + '_ {
        self.made.drain(..)
    }
}

/// What setting attributes has come to, beside the length.
pub(crate) fn attributes(set: &SetAttr, before: &Attr, after: &Attr) -> Option<Changed> {
    let now = |before: u32, after: u32| (before != after).then_some(after);
    let set_times = set.size.is_none() && (set.atime.is_some() || set.mtime.is_some());
    let times = set_times && (before.atime, before.mtime) != (after.atime, after.mtime);
    let (mode, uid, gid) = (now(before.mode, after.mode), now(before.uid, after.uid), now(before.gid, after.gid));
    let changed = mode.is_some() || uid.is_some() || gid.is_some() || times;
    changed.then_some(Changed::Attributes { mode, uid, gid, times })
}
