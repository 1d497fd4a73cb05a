//! Looking at the tree: lookup, attributes, link targets, directories.
use alloc::vec::Vec;

use super::Stack;
use crate::access::{self, Access};
use crate::attr::{Attr, Context, Ino, Statfs};
use crate::lower::LowerBody;
use crate::name::Name;
use crate::node::{Body, Directory};
use crate::{Errno, Kind};

/// Offset of the first entry after `.` and `..`.
pub(super) const FIRST_NAME: u64 = 2;

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Its name; `.` and `..` are among them.
    pub name: &'a [u8],
    /// Its inode.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// The offset at which reading goes on behind it: stable as long as the directory exists.
    pub next: u64,
}

impl Stack<'_> {
    /// The inode of a directory's entry. `.` and `..` are understood; the root is its own parent.
    ///
    /// # Errors
    /// ENOTDIR, EACCES without search permission, ENOENT, or what [`Name::new`] says.
    pub fn lookup(&self, ctx: &Context, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        self.directory_meta(ctx, dir, Access::EXECUTE)?;
        match name {
            b"." => Ok(dir),
            b".." => Ok(self.parent(dir)),
            _ => self.find(dir, Name::new(name)?.bytes()).ok_or(Errno::ENOENT),
        }
    }

    /// The attributes of an inode.
    ///
    /// # Errors
    /// ESTALE if there is none of this number.
    pub fn attr(&self, ino: Ino) -> Result<Attr, Errno> {
        let size = match self.nodes.get(&ino) {
            Some(node) => node.size(),
            None => match self.lower.index(ino).and_then(|index| self.lower.body(index)) {
                Some(LowerBody::File(bytes)) => {
                    Some((bytes.len() as u64, (bytes.len() as u64).div_ceil(4096).saturating_mul(8)))
                }
                Some(LowerBody::Symlink(target)) => Some((target.len() as u64, 0)),
                Some(LowerBody::Directory | LowerBody::Fifo) | None => None,
            },
        };
        Ok(self.meta(ino)?.attr(ino, size))
    }

    /// Whether the mode bits give `ctx` these rights.
    ///
    /// # Errors
    /// EACCES if not; ESTALE.
    pub fn access(&self, ctx: &Context, ino: Ino, want: Access) -> Result<(), Errno> {
        access::check(ctx, &self.meta(ino)?, want)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL if it is none; ESTALE.
    pub fn readlink(&self, ino: Ino) -> Result<&[u8], Errno> {
        if let Some(node) = self.nodes.get(&ino) {
            return match &node.body {
                Body::Symlink(target) => Ok(target),
                _ => Err(Errno::EINVAL),
            };
        }
        match self.lower.index(ino).and_then(|index| self.lower.body(index)).ok_or(Errno::ESTALE)? {
            LowerBody::Symlink(target) => Ok(target),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The first entry of a directory at or after `offset` (0: the start), and before `end`
    /// ([`Stack::directory_end`]): nothing when there is no more.
    ///
    /// Entries that exist throughout are given exactly once, whatever is made or deleted between the calls.
    ///
    /// # Errors
    /// ENOTDIR; ENOENT if the directory was deleted; ESTALE.
    pub fn next_entry(&self, dir: Ino, offset: u64, end: u64) -> Result<Option<DirEntry<'_>>, Errno> {
        let meta = self.meta(dir)?;
        if meta.kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if meta.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        match offset {
            0 => Ok(Some(DirEntry { name: b".", ino: dir, kind: Kind::Directory, next: 1 })),
            1 => Ok(Some(DirEntry { name: b"..", ino: self.parent(dir), kind: Kind::Directory, next: FIRST_NAME })),
            _ => self.next_named(dir, offset - FIRST_NAME, end.saturating_sub(FIRST_NAME)),
        }
    }

    /// The offset behind everything that is in a directory now. Who stops there is not led on for ever by entries made
    /// while reading.
    ///
    /// # Errors
    /// As [`Stack::next_entry`].
    pub fn directory_end(&self, dir: Ino) -> Result<u64, Errno> {
        if self.meta(dir)?.kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let (upper, lower) = self.halves(dir);
        let lower_count = lower.map_or(0, |lower| self.lower.children(lower).len() as u64);
        Ok(lower_count.saturating_add(FIRST_NAME).saturating_add(upper.map_or(0, Directory::end)))
    }

    /// Numbers the lower children first, in their order, then the upper ones by their sequence numbers.
    pub(super) fn next_named(&self, dir: Ino, position: u64, end: u64) -> Result<Option<DirEntry<'_>>, Errno> {
        let (upper, lower) = self.halves(dir);
        let children = lower.map_or(&[][..], |lower| self.lower.children(lower));
        let count = children.len() as u64;
        let remaining = usize::try_from(position).ok().and_then(|start| children.get(start..)).unwrap_or(&[]);
        let visible = (position..).zip(remaining).find(|(_, child)| !self.whiteouts.contains(**child as usize));
        let (position, name, ino) = match visible {
            Some((position, &child)) => (position, self.lower.name(child as usize), self.lower.ino(child as usize)),
            None => match upper.and_then(|upper| upper.at_or_after(position.saturating_sub(count))) {
                Some((sequence, name, ino)) => (sequence.saturating_add(count), name, ino),
                None => return Ok(None),
            },
        };
        if position >= end {
            return Ok(None);
        }
        let kind = self.meta(ino)?.kind;
        Ok(Some(DirEntry { name, ino, kind, next: position.saturating_add(FIRST_NAME + 1) }))
    }

    /// The path of a directory from the root, for rules and messages. Of a deleted one: where it was.
    #[must_use]
    pub fn directory_path(&self, dir: Ino) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = dir;
        while at != Ino::ROOT {
            let Some(name) = self.directory_name(at) else { break };
            names.push(name);
            at = self.parent(at);
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// The name of a directory in the one that it is in.
    pub(super) fn directory_name(&self, dir: Ino) -> Option<&[u8]> {
        let (upper, lower) = self.halves(dir);
        upper.map(|upper| &*upper.name).or_else(|| lower.map(|index| self.lower.name(index)))
    }

    /// How full the writable layer is.
    #[must_use]
    pub fn statfs(&self) -> Statfs {
        self.usage.statfs()
    }
}
