//! What the upper layer keeps of an inode.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::ops::Bound;

use crate::attr::{Ino, Timestamp};
use crate::content::Content;
use crate::lower::Index;
use crate::usage::nominal_size;
use crate::xattr::Xattrs;
use crate::{Attr, Kind};

/// Attributes that both layers have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
}

impl Meta {
    /// All of `stat`, with the size of a directory where there is none.
    pub(crate) fn attr(&self, ino: Ino, size: Option<(u64, u64)>) -> Attr {
        let (size, blocks) = size.unwrap_or((nominal_size(self.kind), 0));
        Attr {
            ino,
            kind: self.kind,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            size,
            blocks,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
        }
    }

    /// Notes that content and attributes changed.
    pub(crate) fn modified(&mut self, now: Timestamp) {
        self.mtime = now;
        self.ctime = now;
    }
}

/// An inode of the upper layer: new, or copied up.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) meta: Meta,
    pub(crate) body: Body<'t>,
    pub(crate) xattrs: Xattrs,
    /// It never had a name, and may be given one.
    pub(crate) linkable: bool,
}

impl<'t> Node<'t> {
    pub(crate) fn new(meta: Meta, body: Body<'t>) -> Self {
        Self { meta, body, xattrs: Xattrs::default(), linkable: false }
    }
}

/// What an upper inode holds.
#[derive(Debug)]
pub(crate) enum Body<'t> {
    Directory(Directory),
    File(Content<'t>),
    Symlink(Box<[u8]>),
    /// A name only: fifos and sockets.
    Special,
}

impl Node<'_> {
    /// Length in bytes and blocks of 512, where they are its own.
    pub(crate) fn size(&self) -> Option<(u64, u64)> {
        match &self.body {
            Body::File(content) => Some((content.size(), content.blocks())),
            Body::Symlink(target) => Some((target.len() as u64, 0)),
            Body::Directory(_) | Body::Special => None,
        }
    }
}

/// The upper half of a directory. Names that the lower half has too are whiteouts there.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where it is.
    pub(crate) parent: Ino,
    /// And under which name.
    pub(crate) name: Arc<[u8]>,
    /// Its lower half, if it was not made new.
    pub(crate) lower: Option<Index>,
    slots: BTreeMap<Arc<[u8]>, Slot>,
    /// The names in the order of their making, for reading the directory: numbers are never used twice.
    order: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
    /// Names that a folder of the host has and this directory no longer.
    gone: BTreeSet<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    ino: Ino,
    sequence: u64,
}

impl Directory {
    pub(crate) fn new(parent: Ino, name: &[u8], lower: Option<Index>) -> Self {
        Self {
            parent,
            name: name.into(),
            lower,
            slots: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
            gone: BTreeSet::new(),
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Ino> {
        self.slots.get(name).map(|slot| slot.ino)
    }

    pub(crate) fn insert(&mut self, name: &[u8], ino: Ino) {
        let name: Arc<[u8]> = name.into();
        let sequence = self.next;
        self.next += 1;
        self.order.insert(sequence, Arc::clone(&name));
        if let Some(previous) = self.slots.insert(name, Slot { ino, sequence }) {
            self.order.remove(&previous.sequence);
        }
    }

    /// Whether there was such an entry.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let slot = self.slots.remove(name);
        if let Some(slot) = slot {
            self.order.remove(&slot.sequence);
        }
        slot.is_some()
    }

    /// Whether a folder's name shows here.
    pub(crate) fn shows(&self, name: &[u8]) -> bool {
        !self.slots.contains_key(name) && !self.gone.contains(name)
    }

    /// Whether a folder's name was taken away here.
    pub(crate) fn is_gone(&self, name: &[u8]) -> bool {
        self.gone.contains(name)
    }

    /// The first of the names that were taken away behind `last`, or of all.
    pub(crate) fn gone_after(&self, last: Option<&[u8]>) -> Option<&[u8]> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.gone.range::<[u8], _>((start, Bound::Unbounded)).next().map(AsRef::as_ref)
    }

    /// Takes a folder's name away for good.
    pub(crate) fn take_away(&mut self, name: &[u8]) {
        self.gone.insert(name.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The first entry at or after a sequence number: its number, name and inode.
    pub(crate) fn at_or_after(&self, sequence: u64) -> Option<(u64, &[u8], Ino)> {
        let (&sequence, name) = self.order.range(sequence..).next()?;
        Some((sequence, name, self.get(name)?))
    }

    /// One more than the last sequence number given.
    pub(crate) const fn end(&self) -> u64 {
        self.next
    }
}
