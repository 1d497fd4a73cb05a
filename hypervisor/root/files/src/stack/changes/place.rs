//! Directories on the way of a walk, and what stands in them beside what the base has there.
//!
//! A directory of a folder of the host has the folder's own as its base as long as it is where the host has it. What nobody
//! changed in it is passed over without a question to the host: whatever was changed has its place in the upper halves of all
//! directories above it. What has moved away from there is new where it is, with all that the host has in it.
use alloc::vec::Vec;

use control::diff::{Defect, Record};

use super::Changes;
use crate::attr::Ino;
use crate::live::{BindMode, Live};
use crate::lower::{Index, LowerBody};
use crate::stack::{DirEntry, read};
use crate::{Errno, Kind};

/// A directory on the way.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) ino: Ino,
    /// What the lower layer has in this place, if it is this directory, or shows through it.
    pub(super) base: Option<Index>,
    /// The host's folder has this directory in this place.
    pub(super) host: bool,
    /// The base has another directory in this place.
    pub(super) opaque: bool,
    /// How many of the lower children were held against what is there now.
    pub(super) compared: usize,
    /// The last of the folder's names that were taken away to be told.
    gone: Option<Vec<u8>>,
    /// Where reading goes on, counted as in `Stack::next_named`.
    position: u64,
    /// Its record was sent.
    pub(super) entered: bool,
    /// Length of its path.
    pub(super) path_len: usize,
}

impl Place {
    /// The root.
    pub(super) fn root(base: Option<Index>) -> Self {
        Self { base, ..Self::new(Ino::ROOT) }
    }

    /// One that nothing was told of yet.
    const fn new(ino: Ino) -> Self {
        Self {
            ino,
            base: None,
            host: false,
            opaque: false,
            compared: 0,
            gone: None,
            position: 0,
            entered: false,
            path_len: 0,
        }
    }
}

/// What the base has in the place of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    Lower(Index),
    Host(Kind),
}

/// An entry of a directory.
pub(super) struct Child {
    pub(super) ino: Ino,
    pub(super) kind: Kind,
    /// What the base has in its place.
    pub(super) base: Option<Base>,
    /// And whether that is the same inode.
    pub(super) same: bool,
}

impl Changes<'_> {
    /// The next entry of the directory that the walk is in and that the walk has to do with.
    pub(super) fn next_child(&mut self) -> Result<Option<(Vec<u8>, Child)>, Defect> {
        loop {
            let Some(place) = self.way.last() else { return Ok(None) };
            let next = self.stack.next_named(place.ino, place.position, u64::MAX);
            let Some(entry) = next.map_err(|error| self.failed(error))? else { return Ok(None) };
            let child = self.look(place, &entry).map_err(|error| self.failed(error))?;
            let (name, next) = (entry.name.to_vec(), entry.next);
            if let Some(place) = self.way.last_mut() {
                place.position = next.saturating_sub(read::FIRST_NAME);
            }
            if let Some(child) = child {
                if self.stack.is_live(child.ino) {
                    self.entries_left = self.entries_left.checked_sub(1).ok_or(Defect::Folder)?;
                }
                return Ok(Some((name, child)));
            }
        }
    }

    /// An entry in a place, if the walk has to do with it.
    fn look(&self, place: &Place, entry: &DirEntry<'_>) -> Result<Option<Child>, Errno> {
        let stack = &self.stack;
        if let Some(&root) = stack.mounts.get(&entry.ino).filter(|root| stack.live.mode(**root) == COPIED) {
            let base = Some(Base::Host(Kind::Directory));
            return Ok(Some(Child { ino: root, kind: Kind::Directory, base, same: true }));
        }
        let lower = place.base.and_then(|base| stack.lower.child(base, &entry.name));
        let hosts = if place.host { stack.live.listed_as(place.ino, &entry.name) } else { None };
        if stack.is_live(entry.ino) {
            let looked_through = entry.kind == Kind::Directory && (self.whole || lower.is_some());
            if place.host && !looked_through && !self.moved.contains(&entry.ino) {
                return Ok(None);
            }
            let Some(ino) = stack.find(place.ino, &entry.name)? else { return Ok(None) };
            let (kind, base) = (stack.meta(ino)?.kind, hosts.map(|hosts| Base::Host(hosts.kind)));
            return Ok(Some(Child { ino, kind, base, same: place.host }));
        }
        let (ino, kind) = (entry.ino, stack.meta(entry.ino)?.kind);
        let (base, same) = match (hosts, lower) {
            (Some(hosts), _) => (Some(Base::Host(hosts.kind)), hosts.ino == ino),
            (None, Some(lower)) => (Some(Base::Lower(lower)), stack.lower.ino(lower) == ino),
            (None, None) => (None, false),
        };
        Ok(Some(Child { ino, kind, base, same }))
    }

    /// Goes into a directory.
    pub(super) fn enter(&mut self, name: &[u8], child: &Child) -> Result<(), Defect> {
        let path_len = self.path_len(name)?;
        if Live::has(child.ino) {
            self.list(child).map_err(|error| self.failed(error))?;
        }
        let (base, host) = match child.base.filter(|_| child.same) {
            Some(Base::Lower(index)) => (Some(index), false),
            Some(Base::Host(_)) => (self.stack.live.under(child.ino), true),
            None => (None, false),
        };
        let base_is_directory = match child.base {
            Some(Base::Lower(index)) => matches!(self.stack.lower.body(index), Some(LowerBody::Directory)),
            Some(Base::Host(kind)) => kind == Kind::Directory,
            None => false,
        };
        let opaque = base_is_directory && !child.same;
        self.way.push(Place { base, host, opaque, path_len, ..Place::new(child.ino) });
        Ok(())
    }

    /// Has a folder's directory listed. What nobody may read, and has not changed, holds nothing that the walk has to do with.
    fn list(&self, child: &Child) -> Result<(), Errno> {
        match self.stack.prepare_listing(child.ino, true) {
            Err(Errno::EACCES) if child.same && self.stack.is_live(child.ino) => {
                self.stack.live.list_nothing(child.ino)
            }
            other => other,
        }
    }

    /// Leaves the directory that the walk is in. Whether it was told that the walk is in there.
    pub(super) fn leave(&mut self) -> bool {
        let Some(place) = self.way.pop() else { return false };
        // What was listed of it counts for all directories.
        self.stack.live.close(place.ino);
        place.entered
    }

    /// Tells the next name of a folder that was taken away and that nothing has by now. False: there is no more.
    pub(super) fn tell_gone(&mut self, tell: &mut impl FnMut(Record<'_>)) -> Result<bool, Defect> {
        let Some(place) = self.way.last_mut().filter(|place| place.host) else { return Ok(false) };
        let Some(upper) = self.stack.halves(place.ino).upper else { return Ok(false) };
        let Some(name) = upper.gone_after(place.gone.as_deref()).map(<[u8]>::to_vec) else { return Ok(false) };
        let (dir, now) = (place.ino, upper.get(&name));
        place.gone = Some(name.clone());
        let stands = match now {
            Some(ino) => self.meta(ino)?.kind != Kind::Socket,
            None => false,
        };
        if !stands && self.stack.live.listed_as(dir, &name).is_some() {
            self.enter_all(tell)?;
            tell(Record::Removed { name: &name });
        }
        Ok(true)
    }
}

/// The folders that were changed for the sandbox alone.
const COPIED: Option<BindMode> = Some(BindMode::CopyOnWrite);
