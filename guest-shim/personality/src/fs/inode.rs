//! Nodes of the root's file system that something here refers to, with what is known of them.
//!
//! Nobody but this sandbox changes its files, so what the root has said once stays true until a call of ours changes it. It does not
//! for files of a folder that the host shares with others: what is known of these holds for the present call.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};

use fuse_abi::linux::{FUSE_ROOT_ID, fuse_attr};

use super::dentry::{Dentry, Place};
use super::fuse::{Gone, Leftovers};
use super::inotify::Marks;
use crate::abi::mode;
use crate::mm::object::{Cache, Object};

/// Whether the root shows a file's pages in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It was not asked yet.
    Unknown,
    /// It does.
    Yes,
    /// It does not, or the file has changed since.
    Never,
}

/// A node of the root's file system.
pub struct Inode {
    number: u64,
    lookups: Cell<u64>,
    attributes: Cell<Option<fuse_attr>>,
    /// Something was done since that changes sizes, times or numbers of names.
    stale: Cell<bool>,
    target: RefCell<Option<Rc<[u8]>>>,
    cache: Cache,
    /// The root may show its pages in the window.
    shown: Cell<Shown>,
    directory: Cell<bool>,
    /// A directory whose names a program has listed.
    listed: Cell<bool>,
    /// Others may change it: the root's answers about it hold for no time.
    volatile: Cell<bool>,
    /// It may have lost its last name since its attributes were learned.
    loses: Cell<bool>,
    /// The call in which its attributes were learned.
    learned_in: Cell<u64>,
    /// Its dentry, of a directory that has a name.
    place: RefCell<Weak<Dentry>>,
    marks: Marks,
    /// How often it is open for writing, and how many processes run it.
    pub(super) writers: Cell<u32>,
    pub(super) runs: Cell<u32>,
    leftovers: Leftovers,
}

impl Inode {
    /// Its FUSE node number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether others than this sandbox may change it.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.volatile.get()
    }

    /// Its attributes, if what is known of them holds in this call.
    #[must_use]
    pub fn attributes_in(&self, call: u64) -> Option<fuse_attr> {
        self.lasting_in(call).filter(|_| !self.stale.get())
    }

    /// The same, of which only those count that nothing changes without telling all of them anew: type, owner, and who may do what.
    #[must_use]
    pub fn lasting_in(&self, call: u64) -> Option<fuse_attr> {
        self.attributes.get().filter(|_| !self.is_volatile() || self.learned_in.get() == call)
    }

    /// Its attributes are these, as this call was told.
    pub fn learn(&self, attr: fuse_attr, call: u64) {
        self.learned_in.set(call);
        self.stale.set(false);
        self.loses.set(attr.nlink == 0);
        self.directory.set(attr.mode & mode::S_IFMT == mode::S_IFDIR);
        self.attributes.set(Some(attr));
    }

    /// It is a directory, as far as anything is known of it.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.directory.get()
    }

    /// A program lists its names.
    pub fn lists(&self) {
        self.listed.set(true);
    }

    /// Whether a program has listed its names.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.get()
    }

    /// The dentry of a directory, while there is one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place.borrow().upgrade()
    }

    /// This is the directory's dentry.
    pub fn set_place(&self, place: &Place) {
        self.place.replace(Rc::downgrade(place));
    }

    /// Who watches it.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Something was done that changes its size, its times, or how many names it has.
    pub fn changed(&self) {
        self.stale.set(true);
    }

    /// A name of it was taken away.
    pub fn loses_name(&self) {
        self.loses.set(true);
        self.changed();
    }

    /// Whether it still has a name for sure: what is without one takes room until nobody uses it.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.loses.get()
    }

    /// Whether the root shows its pages.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shown.get()
    }

    /// The root shows its pages, or not.
    pub fn set_shown(&self, shown: Shown) {
        self.shown.set(shown);
    }

    /// The object of its pages, if it is mapped shared.
    #[must_use]
    pub fn cache(&self) -> Option<Rc<Object>> {
        self.cache.borrow().upgrade()
    }

    /// This is the object of its pages.
    pub fn set_cache(&self, cache: Weak<Object>) {
        self.cache.replace(cache);
    }

    /// Where it points, if it is a symbolic link and that is known.
    #[must_use]
    pub fn target(&self) -> Option<Rc<[u8]>> {
        self.target.borrow().clone()
    }

    /// It points there.
    pub fn learn_target(&self, target: &Rc<[u8]>) {
        self.target.replace(Some(Rc::clone(target)));
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        if self.number != FUSE_ROOT_ID {
            let urgent = !self.is_named();
            let gone = Gone::Node { node: self.number, lookups: self.lookups.get(), urgent };
            self.leftovers.borrow_mut().push(gone);
        }
    }
}

/// All nodes that something refers to: two names of one file share a node.
pub struct Inodes {
    known: BTreeMap<u64, Weak<Inode>>,
    /// Nodes that were shown and have changed since.
    changed: BTreeSet<u64>,
    /// Number of the present call.
    call: u64,
    leftovers: Leftovers,
}

impl Inodes {
    /// None.
    #[must_use]
    pub fn new(leftovers: Leftovers) -> Self {
        Self { known: BTreeMap::new(), changed: BTreeSet::new(), call: 0, leftovers }
    }

    /// Number of the present call.
    #[must_use]
    pub fn call(&self) -> u64 {
        self.call
    }

    /// A call is over: what is known of what others may change is to be asked again.
    pub fn next_call(&mut self) {
        self.call += 1;
    }

    /// The node with this number; a reply has just named it, with these attributes, which hold for so many seconds.
    pub fn get(&mut self, number: u64, attr: Option<(fuse_attr, u64)>) -> Rc<Inode> {
        let found = self.known.get(&number).and_then(Weak::upgrade);
        let shown = if self.changed.contains(&number) { Shown::Never } else { Shown::Unknown };
        let inode = found.unwrap_or_else(|| {
            let inode = Rc::new(Inode {
                number,
                lookups: Cell::new(0),
                attributes: Cell::new(None),
                stale: Cell::new(false),
                target: RefCell::new(None),
                cache: Cache::default(),
                shown: Cell::new(shown),
                directory: Cell::new(false),
                listed: Cell::new(false),
                volatile: Cell::new(false),
                loses: Cell::new(false),
                learned_in: Cell::new(0),
                place: RefCell::default(),
                marks: Marks::default(),
                writers: Cell::new(0),
                runs: Cell::new(0),
                leftovers: Rc::clone(&self.leftovers),
            });
            self.known.insert(number, Rc::downgrade(&inode));
            inode
        });
        inode.lookups.set(inode.lookups.get() + 1);
        if let Some((attr, valid)) = attr {
            inode.volatile.set(valid == 0);
            inode.learn(attr, self.call);
        }
        inode
    }

    /// The bytes of a file change: the window no longer has them.
    pub fn content_changes(&mut self, inode: &Inode) {
        if inode.shown() == Shown::Yes {
            self.changed.insert(inode.number());
        }
        inode.set_shown(Shown::Never);
    }

    /// A node has been forgotten.
    pub fn sweep(&mut self, number: u64) {
        if self.known.get(&number).is_some_and(|weak| weak.strong_count() == 0) {
            self.known.remove(&number);
        }
    }
}
