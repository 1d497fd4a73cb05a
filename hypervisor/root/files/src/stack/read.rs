//! Looking at the tree: lookup, attributes, link targets, directories.
use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{Halves, Stack};
use crate::access::{self, Access};
use crate::attr::{Attr, Context, Ino};
use crate::live::{self, Live};
use crate::lower::LowerBody;
use crate::name::Name;
use crate::node::{Body, Directory};
use crate::{Errno, Kind};

/// Offset of the first entry after `.` and `..`.
pub(super) const FIRST_NAME: u64 = 2;

/// Positions that a folder's names have in a directory, of which they never need so many.
const LIVE_NAMES: u64 = 1 << 48;

/// An entry by its position among a directory's names.
type Numbered<'a> = (u64, Cow<'a, [u8]>, Ino, Kind);

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Its name; `.` and `..` are among them.
    pub name: Cow<'a, [u8]>,
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
            _ => self.find(dir, Name::new(name)?.bytes())?.ok_or(Errno::ENOENT),
        }
    }

    /// The attributes of an inode.
    ///
    /// # Errors
    /// ESTALE if there is none of this number.
    pub fn attr(&self, ino: Ino) -> Result<Attr, Errno> {
        if self.is_live(ino) {
            let stat = self.live.stat(ino)?;
            let blocks = (stat.size, stat.blocks);
            return Ok(live::meta(&stat)?.attr(ino, Some(blocks)));
        }
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
    pub fn readlink(&self, ino: Ino) -> Result<Cow<'_, [u8]>, Errno> {
        if self.is_live(ino) {
            return self.live.read_link(ino).map(Cow::Owned);
        }
        if let Some(node) = self.nodes.get(&ino) {
            return match &node.body {
                Body::Symlink(target) => Ok(Cow::Borrowed(target)),
                _ => Err(Errno::EINVAL),
            };
        }
        match self.lower.index(ino).and_then(|index| self.lower.body(index)).ok_or(Errno::ESTALE)? {
            LowerBody::Symlink(target) => Ok(Cow::Borrowed(target)),
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
        if Live::has(dir) {
            self.prepare_listing(dir, offset == 0)?;
        }
        match offset {
            0 => Ok(Some(DirEntry { name: b".".into(), ino: dir, kind: Kind::Directory, next: 1 })),
            1 => {
                let (name, ino) = (b"..".into(), self.parent(dir));
                Ok(Some(DirEntry { name, ino, kind: Kind::Directory, next: FIRST_NAME }))
            }
            _ => self.next_named(dir, offset - FIRST_NAME, end.saturating_sub(FIRST_NAME)),
        }
    }

    /// Has a folder's directory listed. One that was changed outlives the host's: it holds what was made in it then.
    pub(super) fn prepare_listing(&self, dir: Ino, anew: bool) -> Result<(), Errno> {
        match self.live.prepare_listing(dir, anew) {
            Err(Errno::ENOENT | Errno::ESTALE) if self.nodes.contains_key(&dir) => self.live.list_nothing(dir),
            other => other,
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
        let halves = self.halves(dir);
        let upper = halves.upper.map_or(0, Directory::end);
        Ok(self.upper_start(halves).saturating_add(FIRST_NAME).saturating_add(upper))
    }

    /// Where the upper names begin: behind the lower children, and behind what a folder can hold.
    fn upper_start(&self, halves: Halves<'_>) -> u64 {
        let lower = halves.lower.map_or(0, |lower| self.lower.children(lower).len() as u64);
        if halves.live.is_some() { lower.saturating_add(LIVE_NAMES) } else { lower }
    }

    /// Numbers the lower children first, in their order, then a folder's names, then the upper ones by their sequence numbers.
    pub(super) fn next_named(&self, dir: Ino, position: u64, end: u64) -> Result<Option<DirEntry<'_>>, Errno> {
        let halves = self.halves(dir);
        let upper_start = self.upper_start(halves);
        let mut found = self.next_lower(halves, position)?;
        if found.is_none() {
            found = self.next_live(halves, position)?;
        }
        if found.is_none() {
            let upper = halves.upper.and_then(|upper| upper.at_or_after(position.saturating_sub(upper_start)));
            found = match upper {
                Some((sequence, name, ino)) => {
                    let kind = self.meta(ino)?.kind;
                    Some((sequence.saturating_add(upper_start), Cow::Borrowed(name), ino, kind))
                }
                None => None,
            };
        }
        let found = found.filter(|(position, ..)| *position < end);
        Ok(found.map(|(position, name, ino, kind)| {
            let next = position.saturating_add(FIRST_NAME + 1);
            DirEntry { name, ino, kind, next }
        }))
    }

    /// The first lower child at or after a position that shows.
    fn next_lower(&self, halves: Halves<'_>, position: u64) -> Result<Option<Numbered<'_>>, Errno> {
        let children = halves.lower.map_or(&[][..], |lower| self.lower.children(lower));
        let remaining = usize::try_from(position).ok().and_then(|start| children.get(start..)).unwrap_or(&[]);
        for (position, &child) in (position..).zip(remaining) {
            let (index, name) = (child as usize, self.lower.name(child as usize));
            if self.whiteouts.contains(index) || self.is_covered(halves, name)? {
                continue;
            }
            let ino = self.lower.ino(index);
            return Ok(Some((position, Cow::Borrowed(name), ino, self.meta(ino)?.kind)));
        }
        Ok(None)
    }

    /// Whether a name of the tree is hidden by the layers over it. Without a folder there it is not: its whiteout would say so.
    fn is_covered(&self, halves: Halves<'_>, name: &[u8]) -> Result<bool, Errno> {
        let Some(live) = halves.live else { return Ok(false) };
        if halves.upper.is_some_and(|upper| !upper.shows(name)) {
            return Ok(halves.upper.is_some_and(|upper| upper.get(name).is_some()));
        }
        self.live.lists(live, name)
    }

    /// The first name of a folder at or after a position that shows.
    fn next_live(&self, halves: Halves<'_>, position: u64) -> Result<Option<Numbered<'_>>, Errno> {
        let Some(live) = halves.live else { return Ok(None) };
        let start = halves.lower.map_or(0, |lower| self.lower.children(lower).len() as u64);
        let mut at = position.saturating_sub(start);
        while let Some(listed) = self.live.listed(live, at)? {
            if halves.upper.is_none_or(|upper| upper.shows(&listed.name)) {
                let position = start.saturating_add(listed.position);
                return Ok(Some((position, Cow::Owned(listed.name.to_vec()), listed.ino, listed.kind)));
            }
            at = listed.position.saturating_add(1);
        }
        Ok(None)
    }

    /// The path of a directory from the root, for rules and messages. Of a deleted one: where it was.
    #[must_use]
    pub fn directory_path(&self, dir: Ino) -> Vec<u8> {
        let above = self.ancestors(dir).take_while(|at| *at != Ino::ROOT);
        let names: Vec<Cow<'_, [u8]>> = above.map_while(|at| self.directory_name(at)).collect();
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
    pub(super) fn directory_name(&self, dir: Ino) -> Option<Cow<'_, [u8]>> {
        let Halves { upper, lower, live } = self.halves(dir);
        let live = live.and_then(|live| self.live.position(live));
        match (upper, live, lower) {
            (Some(upper), ..) => Some(Cow::Borrowed(&upper.name)),
            (None, Some((_, name)), _) => Some(Cow::Owned(name.to_vec())),
            (None, None, lower) => lower.map(|index| Cow::Borrowed(self.lower.name(index))),
        }
    }
}
