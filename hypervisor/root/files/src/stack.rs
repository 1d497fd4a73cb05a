//! The layers as one file system: the inode table, and what every operation needs of it. The operations themselves
//! are in the modules below: [`names`] (making and deleting), [`rename`], [`io`] (content), [`read`] (looking), [`changes`] (what differs from the
//! lower layer).
//!
//! An operation first checks everything and reserves what it needs; only then does it change anything. So what fails
//! has changed nothing, except that inodes may have been copied up, which nobody can see.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::access::{self, Access};
use crate::attr::{Context, Ino};
use crate::content::Content;
use crate::live::Live;
use crate::lower::{Index, Lower, LowerBody};
use crate::name::Name;
use crate::node::{Body, Directory, Meta, Node};
use crate::references::References;
use crate::usage::{Limits, Usage};
use crate::{Errno, Kind};

mod ancestors;
mod binds;
mod changes;
mod io;
mod names;
mod read;
mod rename;
mod xattr;

pub use changes::Changes;
pub use read::DirEntry;
pub use rename::RenameMode;

/// A read-only tree with a writable layer on top. See the crate's documentation.
#[derive(Debug)]
pub struct Stack<'t> {
    lower: Rc<Lower<'t>>,
    /// One bit for each lower entry: set, it is no longer where the lower layer has it.
    whiteouts: Whiteouts,
    /// The upper layer.
    nodes: BTreeMap<Ino, Node<'t>>,
    /// The next new inode number.
    next: u64,
    usage: Usage,
    references: References,
    live: Live,
    /// Directories of the tree that a folder covers, and the folder's root.
    mounts: BTreeMap<Ino, Ino>,
    /// Directories of the tree that show through one of a folder.
    merged: RefCell<BTreeMap<Index, Ino>>,
}

/// What the layers have of a directory.
#[derive(Clone, Copy)]
struct Halves<'a> {
    upper: Option<&'a Directory>,
    lower: Option<Index>,
    /// It is a folder's, under this number.
    live: Option<Ino>,
}

/// Where a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the upper layer.
    Upper,
    /// To the host.
    Direct,
}

impl<'t> Stack<'t> {
    /// A stack over a read-only tree, with nothing changed yet.
    #[must_use]
    pub fn new(lower: Rc<Lower<'t>>, limits: Limits) -> Self {
        Self {
            whiteouts: Whiteouts::new(lower.len()),
            next: Ino::ROOT.0 + lower.len() as u64,
            lower,
            nodes: BTreeMap::new(),
            usage: Usage::new(limits),
            references: References::new(limits.references),
            live: Live::default(),
            mounts: BTreeMap::new(),
            merged: RefCell::default(),
        }
    }

    /// Lets what is written come to so much memory from now on, as far as the limits allow. What there is of more stays.
    pub fn set_memory(&mut self, bytes: u64) {
        self.usage.set_quota(bytes);
    }

    /// Memory that what was written takes at most, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.usage.memory()
    }

    /// Whether there is no room for another page in what [`Stack::set_memory`] gave.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.usage.is_full()
    }

    /// Counts a reference to an inode that is told to somebody who will use it later; undone by [`Stack::forget`].
    /// A referenced inode outlives its last name.
    ///
    /// # Errors
    /// ENFILE if [`Limits::references`] others are referenced already.
    pub fn remember(&mut self, ino: Ino) -> Result<(), Errno> {
        self.references.add_lookup(ino)
    }

    /// Whether [`Stack::remember`] would take an inode that is not referenced yet.
    #[must_use]
    pub fn has_room_to_remember(&self) -> bool {
        self.references.room()
    }

    /// Whether an inode was told and not forgotten since. The root always counts as told.
    #[must_use]
    pub fn is_remembered(&self, ino: Ino) -> bool {
        ino == Ino::ROOT || self.references.looked_up(ino)
    }

    /// Takes back `times` calls of [`Stack::remember`]; more than there were are as many as there were.
    pub fn forget(&mut self, ino: Ino, times: u64) {
        self.references.forget(ino, times);
        self.drop_if_unused(ino);
    }

    /// Counts an open file of an inode; undone by [`Stack::closed`].
    pub fn opened(&mut self, ino: Ino) {
        self.references.add_open(ino);
    }

    /// Takes back one call of [`Stack::opened`].
    pub fn closed(&mut self, ino: Ino) {
        self.references.close(ino);
        if !self.references.is_open(ino) {
            self.live.close(ino);
        }
        self.drop_if_unused(ino);
    }

    /// Attributes as they are now, from the layer that has them.
    fn meta(&self, ino: Ino) -> Result<Meta, Errno> {
        if let Some(node) = self.nodes.get(&ino) {
            return Ok(node.meta);
        }
        if Live::has(ino) {
            return self.live.meta(ino);
        }
        let index = self.lower.index(ino).ok_or(Errno::ESTALE)?;
        self.lower.meta(index, self.whiteouts.contains(index)).ok_or(Errno::ESTALE)
    }

    /// The attributes of a directory that `ctx` may use in the ways of `want`: ENOTDIR, EACCES.
    fn directory_meta(&self, ctx: &Context, dir: Ino, want: Access) -> Result<Meta, Errno> {
        let meta = self.meta(dir)?;
        if meta.kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        access::check(ctx, &meta, want)?;
        Ok(meta)
    }

    /// The entry of a directory with this name.
    fn find(&self, dir: Ino, name: &[u8]) -> Result<Option<Ino>, Errno> {
        let Halves { upper, lower, live } = self.halves(dir);
        if let Some(ino) = upper.and_then(|upper| upper.get(name)) {
            return Ok(Some(ino));
        }
        let index = lower.and_then(|lower| self.lower.child(lower, name));
        let index = index.filter(|index| !self.whiteouts.contains(*index));
        if let Some(live) = live.filter(|_| upper.is_none_or(|upper| upper.shows(name)))
            && let Some(found) = self.live.lookup(live, name)?
        {
            self.merge(found, index);
            return Ok(Some(found.ino));
        }
        Ok(index.map(|index| {
            let ino = self.lower.ino(index);
            self.mounts.get(&ino).copied().unwrap_or(ino)
        }))
    }

    /// What the layers have of a directory.
    fn halves(&self, dir: Ino) -> Halves<'_> {
        let live = Live::has(dir).then_some(dir);
        match self.nodes.get(&dir) {
            Some(Node { body: Body::Directory(directory), .. }) => {
                let lower = if live.is_some() { self.live.under(dir) } else { directory.lower };
                Halves { upper: Some(directory), lower, live }
            }
            Some(_) => Halves { upper: None, lower: None, live: None },
            None if live.is_some() => Halves { upper: None, lower: self.live.under(dir), live },
            None => Halves { upper: None, lower: self.lower.index(dir), live },
        }
    }

    /// The directory that holds a directory. The root holds itself.
    fn parent(&self, dir: Ino) -> Ino {
        let lower = match self.nodes.get(&dir) {
            Some(Node { body: Body::Directory(directory), .. }) => directory.parent,
            Some(_) => Ino::ROOT,
            None if Live::has(dir) => self.live.position(dir).map_or(Ino::ROOT, |(parent, _)| parent),
            None => self.lower.index(dir).map_or(Ino::ROOT, |index| self.lower.parent(index)),
        };
        self.seen_as(lower)
    }

    fn is_empty_directory(&self, dir: Ino) -> Result<bool, Errno> {
        let Halves { upper, lower, live } = self.halves(dir);
        let lower_children = lower.map_or(&[][..], |lower| self.lower.children(lower));
        let is_empty = upper.is_none_or(Directory::is_empty)
            && lower_children.iter().all(|&child| self.whiteouts.contains(child as usize));
        match live {
            Some(live) if is_empty => self.shows_nothing(live, upper),
            _ => Ok(is_empty),
        }
    }

    /// The upper node of an inode, copied up if need be: ENOSPC when that would be beyond the limits.
    fn promote(&mut self, ino: Ino) -> Result<&mut Node<'t>, Errno> {
        if Live::has(ino) {
            self.promote_live(ino)?;
        } else if !self.nodes.contains_key(&ino) {
            let node = self.copy_up(ino)?;
            self.usage.charge_inodes(charged_names(&node.meta))?;
            if let Body::Symlink(target) = &node.body
                && let Err(error) = self.usage.charge_bytes(target.len() as u64)
            {
                self.usage.refund_inode();
                return Err(error);
            }
            self.nodes.insert(ino, node);
        }
        self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)
    }

    /// As [`Self::promote`], for the directory that something is deleted from: never out of space.
    fn promote_for_removal(&mut self, dir: Ino) -> Result<(), Errno> {
        if Live::has(dir) {
            self.promote_live(dir)?;
        } else if !self.nodes.contains_key(&dir) {
            let node = self.copy_up(dir)?;
            self.usage.charge_inodes_for_removal(charged_names(&node.meta));
            self.nodes.insert(dir, node);
        }
        Ok(())
    }

    /// Makes ready to take a name from an inode: one with several in the lower layer counts them in the upper one from then on.
    fn prepare_removal(&mut self, dir: Ino, name: Name<'_>, ino: Ino) -> Result<(), Errno> {
        self.promote_for_removal(dir)?;
        self.take_away_live(dir, name)?;
        if self.lower.index(ino).is_some_and(|index| self.lower.names(index) > 1) {
            self.promote_for_removal(ino)?;
        }
        Ok(())
    }

    fn copy_up(&self, ino: Ino) -> Result<Node<'t>, Errno> {
        let index = self.lower.index(ino).ok_or(Errno::ESTALE)?;
        let meta = self.meta(ino)?;
        let body = match self.lower.body(index).ok_or(Errno::ESTALE)? {
            LowerBody::Directory => {
                Body::Directory(Directory::new(self.lower.parent(index), self.lower.name(index), Some(index)))
            }
            LowerBody::File(bytes) => Body::File(Content::over(bytes)),
            LowerBody::Symlink(target) => Body::Symlink(Box::from(target)),
            LowerBody::Fifo => Body::Special,
        };
        Ok(Node::new(meta, body))
    }

    /// A promoted directory. Whoever calls has promoted it.
    fn upper_directory(&mut self, dir: Ino) -> Option<(&mut Meta, &mut Directory)> {
        match self.nodes.get_mut(&dir) {
            Some(Node { meta, body: Body::Directory(directory), .. }) => Some((meta, directory)),
            _ => None,
        }
    }

    /// Adds an entry to a promoted directory.
    fn insert_entry(&mut self, ctx: &Context, dir: Ino, name: Name<'_>, ino: Ino) {
        if let Some((meta, directory)) = self.upper_directory(dir) {
            directory.insert(name.bytes(), ino);
            meta.modified(ctx.now);
        }
    }

    /// Takes an entry out of a promoted directory, in whichever layer it is.
    fn remove_entry(&mut self, ctx: &Context, dir: Ino, name: Name<'_>) {
        let Some(Node { meta, body: Body::Directory(directory), .. }) = self.nodes.get_mut(&dir) else {
            return;
        };
        meta.modified(ctx.now);
        let lower = if Live::has(dir) { self.live.under(dir) } else { directory.lower };
        // What lies under a folder's name would show in its place.
        if (!directory.remove(name.bytes()) || Live::has(dir))
            && let Some(index) = lower.and_then(|lower| self.lower.child(lower, name.bytes()))
        {
            self.whiteouts.insert(index);
        }
    }

    /// Takes away one name's worth of an inode whose entry was removed.
    fn remove_link(&mut self, ctx: &Context, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            // Still in the lower layer alone: its whiteout says that it is deleted.
            return;
        };
        node.meta.ctime = ctx.now;
        node.meta.nlink = match node.meta.kind {
            Kind::Directory => 0,
            _ => node.meta.nlink.saturating_sub(1),
        };
        if node.meta.nlink > 0 {
            self.usage.refund_inode();
        }
        self.drop_if_unused(ino);
    }

    /// Changes the number of subdirectories that a promoted directory counts among its links.
    fn adjust_subdirectories(&mut self, dir: Ino, by: i32) {
        if let Some((meta, _)) = self.upper_directory(dir) {
            // Some hosts count no subdirectories; no directory that is there has fewer links than two.
            meta.nlink = meta.nlink.saturating_add_signed(by).max(2);
        }
    }

    /// Forgets a deleted inode that nobody holds, and what it held.
    fn drop_if_unused(&mut self, ino: Ino) {
        let deleted = self.nodes.get(&ino).is_some_and(|node| node.meta.nlink == 0);
        if !deleted || self.references.in_use(ino) {
            return;
        }
        let Some(node) = self.nodes.remove(&ino) else {
            return;
        };
        self.usage.refund_inode();
        node.xattrs.release(&mut self.usage);
        match node.body {
            Body::File(mut content) => content.release(&mut self.usage),
            Body::Symlink(target) => self.usage.refund_bytes(target.len() as u64),
            Body::Directory(_) | Body::Special => {}
        }
    }
}

/// How many inodes one counts as: a further name is one, too.
fn charged_names(meta: &Meta) -> u64 {
    match meta.kind {
        Kind::Directory => 1,
        _ => u64::from(meta.nlink.max(1)),
    }
}

/// A set of lower entries.
#[derive(Debug)]
struct Whiteouts(Vec<u64>);

impl Whiteouts {
    fn new(entries: usize) -> Self {
        Self(vec![0; entries.div_ceil(64)])
    }

    fn contains(&self, index: Index) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn insert(&mut self, index: Index) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }
}
