//! What was changed: a walk over the tree as it is now, held against the lower layer.
//!
//! The lower layer of a place counts, and not the one of an inode: a directory that was renamed is new where it is, with all that is
//! in it. A file that has several names is told with all of them if anything changed about it, so that whoever applies the changes needs
//! nothing of the base to make its links.
//!
//! Of a folder of the host that the sandbox has changed for itself alone the folder is the base, as it is now: see [`place`].
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use control::diff::{Attributes, Defect, MAX_DATA, Record};

use super::Stack;
use crate::attr::Ino;
use crate::live::Live;
use crate::lower::{Index, LowerBody};
use crate::name::TARGET_MAX;
use crate::node::{Body, Meta, Node};
use crate::{Errno, Kind};

mod place;

use place::{Base, Child, Place};

/// Entries that one step of the search for several names looks at.
const ENTRIES_A_STEP: usize = 256;
/// Longest path in bytes: as long as Linux takes one. It bounds how deep the walk goes.
const PATH_MAX: usize = TARGET_MAX;
/// Most bytes that are read from the host for a walk, and most of its entries: no layer holds more, and a server could go on for ever.
const HOST_BYTES_MAX: u64 = 4 << 30;
const HOST_ENTRIES_MAX: u64 = 1 << 20;

/// A walk over all that differs from the lower layer, in steps of bounded work.
#[derive(Debug)]
pub struct Changes<'t> {
    stack: Stack<'t>,
    /// The directories from the root to the one that the walk is in.
    way: Vec<Place>,
    stage: Stage,
    /// Inodes of several names of which at least one is where the lower layer has another or none.
    moved: BTreeSet<Ino>,
    /// Inodes of several names that were told already.
    told: BTreeSet<Ino>,
    /// How many names were met of each file that was copied or moved from a place in a folder and has several.
    met: BTreeMap<Ino, u32>,
    /// Some of them have further names in what was not changed of a folder: all of it is looked through.
    whole: bool,
    /// What the host may still be asked for.
    bytes_left: u64,
    entries_left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Looks for inodes of several names that were moved.
    Search,
    Tell,
    /// Tells a file's bytes from `at` on.
    Content {
        ino: Ino,
        at: u64,
        len: u64,
    },
    Over,
}

impl<'t> Changes<'t> {
    /// A walk over a file system that nobody uses any more.
    #[must_use]
    pub fn of(stack: Stack<'t>) -> Self {
        let mut changes = Self {
            stack,
            way: Vec::new(),
            stage: Stage::Search,
            moved: BTreeSet::new(),
            told: BTreeSet::new(),
            met: BTreeMap::new(),
            whole: false,
            bytes_left: HOST_BYTES_MAX,
            entries_left: HOST_ENTRIES_MAX,
        };
        changes.start();
        changes
    }

    /// Does the next piece of work and tells what it found, if anything. False: the walk is over, and its end was told.
    pub fn step(&mut self, mut tell: impl FnMut(Record<'_>)) -> bool {
        self.tidy();
        let done = match self.stage {
            Stage::Search => self.search(),
            Stage::Tell => self.advance(&mut tell),
            Stage::Content { ino, at, len } => self.tell_content(ino, at, len, &mut tell),
            Stage::Over => Ok(()),
        };
        if let Err(defect) = done {
            tell(Record::Failed { defect });
            self.stage = Stage::Over;
        }
        self.stage != Stage::Over
    }

    /// Lets go of files of folders that the walk has passed.
    fn tidy(&self) {
        if self.stack.live.wants_sweep() && matches!(self.stage, Stage::Search | Stage::Tell) {
            let on_the_way: BTreeSet<Ino> = self.way.iter().map(|place| place.ino).collect();
            let parts = [&on_the_way, &self.moved, &self.told];
            let keep = |ino: Ino| parts.iter().any(|part| part.contains(&ino)) || self.stack.nodes.contains_key(&ino);
            self.stack.live.sweep(keep);
        }
    }

    fn start(&mut self) {
        let base = self.stack.lower.index(Ino::ROOT);
        self.way.clear();
        self.way.push(Place::root(base));
    }

    /// Length of the path of an entry of the directory that the walk is in.
    fn path_len(&self, name: &[u8]) -> Result<usize, Defect> {
        let len = self.way.last().map_or(0, |place| place.path_len).saturating_add(name.len() + 1);
        if len > PATH_MAX { Err(Defect::LongPath) } else { Ok(len) }
    }

    fn search(&mut self) -> Result<(), Defect> {
        for _ in 0..ENTRIES_A_STEP {
            match self.next_child()? {
                Some((name, child)) if child.kind == Kind::Directory => self.enter(&name, &child)?,
                Some((_, child)) => self.note_names(&child)?,
                None => drop(self.leave()),
            }
            if self.way.is_empty() {
                self.stage = Stage::Tell;
                if !self.whole && self.more_names()? {
                    self.stage = Stage::Search;
                    self.whole = true;
                }
                self.start();
                break;
            }
        }
        Ok(())
    }

    /// Takes note of a name of an inode that has several.
    fn note_names(&mut self, child: &Child) -> Result<(), Defect> {
        if self.meta(child.ino)?.nlink < 2 {
            return Ok(());
        }
        if !child.same {
            self.moved.insert(child.ino);
        }
        if Live::has(child.ino) {
            let names = self.met.entry(child.ino).or_insert(0);
            *names = names.saturating_add(1);
        }
        Ok(())
    }

    /// Whether a file of a folder has more names than were met.
    fn more_names(&self) -> Result<bool, Defect> {
        for (&ino, &names) in &self.met {
            if self.meta(ino)?.nlink > names {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One entry further.
    fn advance(&mut self, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        let Some(place) = self.way.last_mut() else {
            tell(Record::End);
            self.stage = Stage::Over;
            return Ok(());
        };
        let children = place.base.map_or(&[][..], |base| self.stack.lower.children(base));
        if let Some(&child) = children.get(place.compared) {
            place.compared += 1;
            let (dir, child) = (place.ino, child as usize);
            return self.compare(dir, child, tell);
        }
        if self.tell_gone(tell)? {
            return Ok(());
        }
        match self.next_child()? {
            Some((name, child)) => self.child(&name, &child, tell),
            None => {
                if self.leave() {
                    tell(Record::Leave);
                }
                Ok(())
            }
        }
    }

    /// Tells if something of the lower layer is gone.
    fn compare(&mut self, dir: Ino, child: Index, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        if self.stack.live.listed_as(dir, self.stack.lower.name(child)).is_some() {
            // The folder's is the base, and not what lies under it.
            return Ok(());
        }
        let now = self.stack.find(dir, self.stack.lower.name(child)).map_err(|error| self.failed(error))?;
        let kind = match now {
            Some(ino) if self.stack.live.is_root(ino) => Some(Kind::Directory),
            Some(ino) => Some(self.meta(ino)?.kind),
            None => None,
        };
        if matches!(kind, None | Some(Kind::Socket)) {
            self.enter_all(tell)?;
            tell(Record::Removed { name: self.stack.lower.name(child) });
        }
        Ok(())
    }

    /// Tells what differs about an entry.
    fn child(&mut self, name: &[u8], child: &Child, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        let meta = self.meta(child.ino)?;
        let changed = !child.same || self.is_changed(child, &meta);
        if child.kind == Kind::Directory {
            self.enter(name, child)?;
            return if changed { self.enter_all(tell) } else { Ok(()) };
        }
        let several = meta.nlink > 1;
        let concerned = changed || several && self.moved.contains(&child.ino);
        if !concerned {
            return Ok(());
        }
        self.path_len(name)?;
        self.enter_all(tell)?;
        if child.kind == Kind::Socket {
            tell(Record::Socket { name });
        } else if several && !self.told.insert(child.ino) {
            tell(Record::Link { name, ino: child.ino.0 });
        } else {
            self.tell_file(name, child.ino, &meta, tell)?;
        }
        Ok(())
    }

    /// Goes into the directories on the way that nothing was told of yet.
    fn enter_all(&mut self, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        let first = self.way.iter().rposition(|place| place.entered).map_or(0, |last| last + 1);
        let Some(new) = self.way.get_mut(first..) else { return Ok(()) };
        let folders = self.stack.live.is_any();
        for place in new {
            place.entered = true;
            let meta = self.stack.meta(place.ino).map_err(|error| failed(folders, error))?;
            tell_xattrs(&self.stack, place.ino, tell);
            let name = self.stack.directory_name(place.ino).ok_or(Defect::Inconsistent)?;
            tell(Record::Enter { name: &name, attributes: attributes(&meta), opaque: place.opaque });
        }
        Ok(())
    }

    fn tell_file(
        &mut self,
        name: &[u8],
        ino: Ino,
        meta: &Meta,
        tell: &mut impl FnMut(Record<'_>),
    ) -> Result<(), Defect> {
        tell_xattrs(&self.stack, ino, tell);
        let attributes = attributes(meta);
        let number = if meta.nlink > 1 { ino.0 } else { 0 };
        match meta.kind {
            Kind::File => {
                let len = self.stack.attr(ino).map_err(|error| self.failed(error))?.size;
                if self.stack.is_live(ino) {
                    self.bytes_left = self.bytes_left.checked_sub(len).ok_or(Defect::Folder)?;
                }
                tell(Record::File { name, attributes, ino: number, len });
                self.stage = Stage::Content { ino, at: 0, len };
            }
            Kind::Symlink => {
                let target = self.stack.readlink(ino).map_err(|error| self.failed(error))?;
                tell(Record::Symlink { name, attributes, ino: number, target: &target });
            }
            Kind::Fifo => tell(Record::Fifo { name, attributes, ino: number }),
            Kind::Directory | Kind::Socket => return Err(Defect::Inconsistent),
        }
        Ok(())
    }

    /// The next piece of a file: a hole as a whole, or some bytes. Where a hole begins among them does not matter: it is found next.
    fn tell_content(&mut self, ino: Ino, at: u64, len: u64, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        if at >= len {
            self.stage = Stage::Tell;
            self.stack.live.close(ino);
            return Ok(());
        }
        let data = match self.stack.next_data(ino, at) {
            Ok(data) => data.min(len),
            Err(Errno::ENXIO) => len,
            Err(error) => return Err(self.failed(error)),
        };
        let next = if data > at {
            tell(Record::Zeros(data - at));
            data
        } else {
            let want = usize::try_from(len - at).unwrap_or(MAX_DATA).min(MAX_DATA);
            let told = |run: &[u8]| {
                tell(Record::Data(run));
                Ok(())
            };
            let read = self.stack.read(ino, at, want, told).map_err(|error| self.failed(error))?;
            at.saturating_add(read as u64)
        };
        if next == at {
            // The host has cut it meanwhile.
            return Err(if self.stack.is_live(ino) { Defect::Folder } else { Defect::Inconsistent });
        }
        self.stage = Stage::Content { ino, at: next, len };
        Ok(())
    }

    fn meta(&self, ino: Ino) -> Result<Meta, Defect> {
        self.stack.meta(ino).map_err(|error| self.failed(error))
    }

    /// Whether an inode that is in the base's place is not as it is there.
    fn is_changed(&self, child: &Child, meta: &Meta) -> bool {
        let Some(node) = self.stack.nodes.get(&child.ino) else { return false };
        let (before, body) = match child.base {
            // Of a file that was copied nobody knows any more what the host had.
            Some(Base::Host(_)) if meta.kind != Kind::Directory => return true,
            Some(Base::Host(_)) => (self.stack.live.meta(child.ino).ok(), None),
            Some(Base::Lower(_)) | None => {
                let first = self.stack.lower.index(child.ino);
                (
                    first.and_then(|first| self.stack.lower.meta(first, false)),
                    first.and_then(|first| self.stack.lower.body(first)),
                )
            }
        };
        let Some(before) = before else { return true };
        attributes(&before) != attributes(meta) || node.xattrs.names().next().is_some() || content_changed(node, body)
    }

    fn failed(&self, error: Errno) -> Defect {
        failed(self.stack.live.is_any(), error)
    }
}

/// Whether a file's bytes may be others than in the lower layer.
fn content_changed(node: &Node<'_>, before: Option<LowerBody<'_, '_>>) -> bool {
    match (&node.body, before) {
        (Body::File(content), Some(LowerBody::File(bytes))) => !content.is_untouched(bytes.len()),
        _ => false,
    }
}

fn tell_xattrs(stack: &Stack<'_>, ino: Ino, tell: &mut impl FnMut(Record<'_>)) {
    let Some(node) = stack.nodes.get(&ino) else { return };
    for name in node.xattrs.names() {
        if let Some(value) = node.xattrs.get(name) {
            tell(Record::Xattr { name, value });
        }
    }
}

fn attributes(meta: &Meta) -> Attributes {
    Attributes {
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        seconds: meta.mtime.seconds,
        nanoseconds: meta.mtime.nanoseconds,
    }
}

/// Whatever is in a directory can be looked at, but for what the host has.
const fn failed(folders: bool, _: Errno) -> Defect {
    if folders { Defect::Folder } else { Defect::Inconsistent }
}
