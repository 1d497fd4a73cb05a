//! The read-only layer: the tree from the boot bundle, checked once and then only read.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bundle::{TreeEntry, TreeIndex, TreeNode};

use crate::attr::{Ino, Timestamp, mode};
use crate::content::PAGE_SIZE;
use crate::name::{Name, check_target};
use crate::node::Meta;
use crate::{Errno, Kind};

/// Most entries of a tree.
const MAX_ENTRIES: usize = 1 << 22;

/// Why a tree was refused: which entry, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTree {
    /// Index of the entry.
    pub entry: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for InvalidTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tree entry {}: {}", self.entry, self.reason)
    }
}

/// An index into the tree.
pub(crate) type Index = usize;

/// The checked tree. Nothing changes it, so that any number of [stacks](crate::Stack) can share one.
#[derive(Debug)]
pub struct Lower<'t> {
    entries: Vec<TreeEntry>,
    data: &'t [u8],
    /// All entries but the root, sorted by parent, then name.
    sorted: Vec<u32>,
    /// Each entry's children.
    children: Vec<Children>,
    /// How many names the inodes have that have more than one.
    links: BTreeMap<u32, u32>,
}

/// The children of one entry.
#[derive(Clone, Debug, Default)]
struct Children {
    /// Where they stand in [`Lower::sorted`].
    range: Range<u32>,
    /// How many of them are directories.
    directories: u32,
}

/// What a lower entry holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LowerBody<'a, 't> {
    Directory,
    File(&'t [u8]),
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
}

impl<'t> Lower<'t> {
    /// Bytes of the heap that a tree of `entries` takes beside its index: order, children, further names.
    #[must_use]
    pub const fn cost(entries: usize) -> u64 {
        const EACH: u64 = 48;
        (entries as u64).saturating_mul(EACH)
    }

    /// Takes a tree whose entries are all in order; `data` holds the bytes of its files.
    ///
    /// # Errors
    /// The first thing that is wrong with the tree.
    pub fn new(index: TreeIndex, data: &'t [u8]) -> Result<Self, InvalidTree> {
        let entries = index.entries;
        check_entries(&entries, data)?;
        let sorted = sort(&entries);
        check_duplicates(&entries, &sorted)?;
        let children = group(&entries, &sorted);
        let links = count_links(&entries);
        Ok(Self { entries, data, sorted, children, links })
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of the inode that an entry names.
    pub(crate) fn ino(&self, index: Index) -> Ino {
        match self.entry(index).map(|entry| &entry.node) {
            Some(TreeNode::Link { first }) => number(*first as usize),
            _ => number(index),
        }
    }

    /// The entry that is an inode's first name.
    pub(crate) fn index(&self, ino: Ino) -> Option<Index> {
        let index = usize::try_from(ino.0.checked_sub(Ino::ROOT.0)?).ok()?;
        self.entry(index).filter(|entry| !matches!(entry.node, TreeNode::Link { .. })).map(|_| index)
    }

    /// How many names the inode of this first name has in the tree.
    pub(crate) fn names(&self, index: Index) -> u32 {
        u32::try_from(index).ok().and_then(|index| self.links.get(&index)).copied().unwrap_or(1)
    }

    fn entry(&self, index: Index) -> Option<&TreeEntry> {
        self.entries.get(index)
    }

    /// Name of an entry in its parent.
    pub(crate) fn name(&self, index: Index) -> &[u8] {
        self.entry(index).map_or(&[], |entry| &entry.name)
    }

    /// The directory that holds an entry.
    pub(crate) fn parent(&self, index: Index) -> Ino {
        self.entry(index).map_or(Ino::ROOT, |entry| number(entry.parent as usize))
    }

    /// What an entry holds that is a first name.
    pub(crate) fn body(&self, index: Index) -> Option<LowerBody<'_, 't>> {
        Some(match &self.entry(index)?.node {
            TreeNode::Directory => LowerBody::Directory,
            TreeNode::File { offset, len } => LowerBody::File(file_bytes(self.data, *offset, *len).unwrap_or(&[])),
            TreeNode::Symlink { target } => LowerBody::Symlink(target),
            TreeNode::Fifo => LowerBody::Fifo,
            TreeNode::Link { .. } => return None,
        })
    }

    /// The whole pages that hold `len` bytes from `offset` on of the file with this first name, as they lie in the tree's data:
    /// nothing unless they start at a page there, and what follows the file in its last page is zeros.
    pub(crate) fn pages(&self, index: Index, offset: u64, len: u64) -> Option<&'t [u8]> {
        let TreeNode::File { offset: start, len: file_len } = self.entry(index)?.node else { return None };
        let page = PAGE_SIZE as u64;
        let whole = file_len.checked_next_multiple_of(page)?;
        let end = offset.checked_add(len).filter(|&end| end <= whole)?;
        let aligned = [start, offset, len].iter().all(|at| at.is_multiple_of(page));
        let padding = file_bytes(self.data, start.checked_add(file_len)?, end.saturating_sub(file_len))?;
        let usable = aligned && len > 0 && padding.iter().all(|&byte| byte == 0);
        usable.then(|| file_bytes(self.data, start.checked_add(offset)?, len)).flatten()
    }

    /// Attributes of an inode by its first name, as long as the upper layer has none of its own.
    pub(crate) fn meta(&self, index: Index, deleted: bool) -> Option<Meta> {
        let entry = self.entry(index)?;
        let time = Timestamp { seconds: entry.mtime, nanoseconds: 0 };
        let (kind, links) = match entry.node {
            TreeNode::Directory => (Kind::Directory, self.subdirectories(index).saturating_add(2)),
            TreeNode::File { .. } => (Kind::File, self.names(index)),
            TreeNode::Symlink { .. } => (Kind::Symlink, 1),
            TreeNode::Fifo => (Kind::Fifo, self.names(index)),
            TreeNode::Link { .. } => return None,
        };
        Some(Meta {
            kind,
            mode: entry.mode,
            nlink: if deleted { 0 } else { links },
            uid: entry.uid,
            gid: entry.gid,
            atime: time,
            mtime: time,
            ctime: time,
        })
    }

    /// The children of a directory, sorted by name.
    pub(crate) fn children(&self, directory: Index) -> &[u32] {
        let Some(Children { range, .. }) = self.children.get(directory) else {
            return &[];
        };
        self.sorted.get(range.start as usize..range.end as usize).unwrap_or(&[])
    }

    /// The child with this name.
    pub(crate) fn child(&self, directory: Index, name: &[u8]) -> Option<Index> {
        let children = self.children(directory);
        let position = children.binary_search_by(|&child| self.name(child as usize).cmp(name)).ok()?;
        children.get(position).map(|&child| child as usize)
    }

    fn subdirectories(&self, directory: Index) -> u32 {
        self.children.get(directory).map_or(0, |children| children.directories)
    }
}

/// Inode numbers follow the entries.
fn number(index: Index) -> Ino {
    Ino(index as u64 + Ino::ROOT.0)
}

fn check_entries(entries: &[TreeEntry], data: &[u8]) -> Result<(), InvalidTree> {
    let refuse = |entry, reason| Err(InvalidTree { entry, reason });
    if entries.len() > MAX_ENTRIES {
        return refuse(MAX_ENTRIES, "too many entries");
    }
    let Some(root) = entries.first() else {
        return refuse(0, "there is no root");
    };
    if root.node != TreeNode::Directory || root.parent != 0 || !root.name.is_empty() {
        return refuse(0, "the root must be a directory without name and its own parent");
    }
    for (index, entry) in entries.iter().enumerate() {
        if let Err(reason) = check_entry(index, entry, entries, data) {
            return refuse(index, reason);
        }
    }
    Ok(())
}

fn check_entry(index: Index, entry: &TreeEntry, entries: &[TreeEntry], data: &[u8]) -> Result<(), &'static str> {
    if entry.mode & !mode::PERMISSIONS != 0 {
        return Err("the mode has bits beyond 07777");
    }
    if index > 0 {
        Name::new(&entry.name).map_err(|_| "the name cannot be one")?;
        let parent = entries.get(entry.parent as usize).filter(|_| (entry.parent as usize) < index);
        if parent.is_none_or(|parent| parent.node != TreeNode::Directory) {
            return Err("the parent is not a directory before it");
        }
    }
    match &entry.node {
        TreeNode::Directory => Ok(()),
        TreeNode::File { offset, len } => {
            file_bytes(data, *offset, *len).map(drop).ok_or("the file lies outside of the data")
        }
        TreeNode::Symlink { target } => check_target(target).map_err(|_: Errno| "the link's target cannot be one"),
        TreeNode::Link { first } => {
            let first = entries.get(*first as usize).filter(|_| (*first as usize) < index);
            match first.map(|first| &first.node) {
                Some(TreeNode::File { .. } | TreeNode::Fifo) => Ok(()),
                _ => Err("the first name is no file before it"),
            }
        }
        TreeNode::Fifo => Ok(()),
    }
}

fn file_bytes(data: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let end = usize::try_from(offset.checked_add(len)?).ok()?;
    data.get(usize::try_from(offset).ok()?..end)
}

/// The number of names of each inode that has more than one.
fn count_links(entries: &[TreeEntry]) -> BTreeMap<u32, u32> {
    let mut links = BTreeMap::new();
    for entry in entries {
        if let TreeNode::Link { first } = entry.node {
            *links.entry(first).or_insert(1) += 1;
        }
    }
    links
}

/// Every entry but the root, by parent and name.
fn sort(entries: &[TreeEntry]) -> Vec<u32> {
    let key = |index: &u32| entries.get(*index as usize).map(|entry| (entry.parent, entry.name.as_slice()));
    let mut sorted: Vec<u32> = (1..).take(entries.len().saturating_sub(1)).collect();
    sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    sorted
}

fn check_duplicates(entries: &[TreeEntry], sorted: &[u32]) -> Result<(), InvalidTree> {
    let place = |index: u32| entries.get(index as usize).map(|entry| (entry.parent, &entry.name));
    let twice = sorted.windows(2).find(|pair| matches!(pair, [a, b] if place(*a) == place(*b)));
    match twice {
        Some(&[_, second]) => Err(InvalidTree { entry: second as usize, reason: "the name is there twice" }),
        _ => Ok(()),
    }
}

/// Finds each entry's children in `sorted`.
fn group(entries: &[TreeEntry], sorted: &[u32]) -> Vec<Children> {
    let mut all = vec![Children::default(); entries.len()];
    for (position, &index) in (0u32..).zip(sorted) {
        let Some(entry) = entries.get(index as usize) else {
            continue;
        };
        let Some(children) = all.get_mut(entry.parent as usize) else {
            continue;
        };
        if children.range.is_empty() {
            children.range.start = position;
        }
        children.range.end = position + 1;
        children.directories += u32::from(entry.node == TreeNode::Directory);
    }
    all
}
