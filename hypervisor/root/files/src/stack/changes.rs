//! What was changed: a walk over the tree as it is now, held against the lower layer.
//!
//! The lower layer of a place counts, and not the one of an inode: a directory that was renamed is new where it is, with all that is
//! in it. A file that has several names is told with all of them if anything changed about it, so that whoever applies the changes needs
//! nothing of the base to make its links.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use control::diff::{Attributes, Defect, MAX_DATA, Record};

use super::Stack;
use crate::attr::Ino;
use crate::lower::{Index, LowerBody};
use crate::name::TARGET_MAX;
use crate::node::{Body, Meta, Node};
use crate::{Errno, Kind};

/// Entries that one step of the search for several names looks at.
const ENTRIES_A_STEP: usize = 256;
/// Longest path in bytes: as long as Linux takes one. It bounds how deep the walk goes.
const PATH_MAX: usize = TARGET_MAX;

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

/// A directory on the way.
#[derive(Clone, Copy, Debug)]
struct Place {
    ino: Ino,
    /// What the lower layer has in this place, if it is this directory.
    base: Option<Index>,
    /// The lower layer has another directory in this place.
    opaque: bool,
    /// How many of the base's children were held against what is there now.
    compared: usize,
    /// Where reading goes on, counted as in [`Stack::next_named`].
    position: u64,
    /// Its record was sent.
    entered: bool,
    /// Length of its path.
    path_len: usize,
}

/// An entry of a directory.
struct Child {
    ino: Ino,
    kind: Kind,
    /// What the lower layer has in its place.
    base: Option<Index>,
    /// And whether that is the same inode.
    same: bool,
}

impl<'t> Changes<'t> {
    /// A walk over a file system that nobody uses any more.
    #[must_use]
    pub fn of(stack: Stack<'t>) -> Self {
        let mut changes =
            Self { stack, way: Vec::new(), stage: Stage::Search, moved: BTreeSet::new(), told: BTreeSet::new() };
        changes.start();
        changes
    }

    /// Does the next piece of work and tells what it found, if anything. False: the walk is over, and its end was told.
    pub fn step(&mut self, mut tell: impl FnMut(Record<'_>)) -> bool {
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

    fn start(&mut self) {
        let base = self.stack.lower.index(Ino::ROOT);
        self.way.clear();
        self.way.push(Place {
            ino: Ino::ROOT,
            base,
            opaque: false,
            compared: 0,
            position: 0,
            entered: false,
            path_len: 0,
        });
    }

    /// The next entry of the directory that the walk is in, and its directory's place if it goes into one.
    fn next_child(&mut self) -> Result<Option<(Vec<u8>, Child)>, Defect> {
        let Some(place) = self.way.last_mut() else { return Ok(None) };
        let stack = &self.stack;
        let next = stack.next_named(place.ino, place.position, u64::MAX).map_err(inconsistent)?;
        let Some(entry) = next else { return Ok(None) };
        place.position = entry.next.saturating_sub(super::read::FIRST_NAME);
        let base = place.base.and_then(|base| stack.lower.child(base, &entry.name));
        let same = base.is_some_and(|base| stack.lower.ino(base) == entry.ino);
        Ok(Some((entry.name.to_vec(), Child { ino: entry.ino, kind: entry.kind, base, same })))
    }

    /// Length of the path of an entry of the directory that the walk is in.
    fn path_len(&self, name: &[u8]) -> Result<usize, Defect> {
        let len = self.way.last().map_or(0, |place| place.path_len).saturating_add(name.len() + 1);
        if len > PATH_MAX { Err(Defect::LongPath) } else { Ok(len) }
    }

    fn enter(&mut self, name: &[u8], child: &Child) -> Result<(), Defect> {
        let path_len = self.path_len(name)?;
        let base_is_directory = child.base.is_some_and(|base| self.is_lower_directory(base));
        self.way.push(Place {
            ino: child.ino,
            base: child.base.filter(|_| child.same),
            opaque: base_is_directory && !child.same,
            compared: 0,
            position: 0,
            entered: false,
            path_len,
        });
        Ok(())
    }

    fn is_lower_directory(&self, index: Index) -> bool {
        matches!(self.stack.lower.body(index), Some(LowerBody::Directory))
    }

    fn search(&mut self) -> Result<(), Defect> {
        for _ in 0..ENTRIES_A_STEP {
            match self.next_child()? {
                Some((name, child)) if child.kind == Kind::Directory => self.enter(&name, &child)?,
                Some((_, child)) => {
                    if !child.same && self.meta(child.ino)?.nlink > 1 {
                        self.moved.insert(child.ino);
                    }
                }
                None => drop(self.way.pop()),
            }
            if self.way.is_empty() {
                self.start();
                self.stage = Stage::Tell;
                break;
            }
        }
        Ok(())
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
        match self.next_child()? {
            Some((name, child)) => self.child(&name, &child, tell),
            None => {
                if self.way.pop().is_some_and(|place| place.entered) {
                    tell(Record::Leave);
                }
                Ok(())
            }
        }
    }

    /// Tells if something of the lower layer is gone.
    fn compare(&mut self, dir: Ino, child: Index, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        let now = self.stack.find(dir, self.stack.lower.name(child)).map_err(inconsistent)?;
        let kind = now.map(|ino| self.meta(ino)).transpose()?.map(|meta| meta.kind);
        if matches!(kind, None | Some(Kind::Socket)) {
            self.enter_all(tell)?;
            tell(Record::Removed { name: self.stack.lower.name(child) });
        }
        Ok(())
    }

    /// Tells what differs about an entry.
    fn child(&mut self, name: &[u8], child: &Child, tell: &mut impl FnMut(Record<'_>)) -> Result<(), Defect> {
        let meta = self.meta(child.ino)?;
        let changed = !child.same || self.is_changed(child.ino, child.base, &meta);
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
        for place in new {
            place.entered = true;
            let meta = self.stack.meta(place.ino).map_err(inconsistent)?;
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
                let len = self.stack.attr(ino).map_err(inconsistent)?.size;
                tell(Record::File { name, attributes, ino: number, len });
                self.stage = Stage::Content { ino, at: 0, len };
            }
            Kind::Symlink => {
                let target = self.stack.readlink(ino).map_err(inconsistent)?;
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
            return Ok(());
        }
        let data = match self.stack.next_data(ino, at) {
            Ok(data) => data.min(len),
            Err(Errno::ENXIO) => len,
            Err(error) => return Err(inconsistent(error)),
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
            let read = self.stack.read(ino, at, want, told).map_err(inconsistent)?;
            at.saturating_add(read as u64)
        };
        if next == at {
            return Err(Defect::Inconsistent);
        }
        self.stage = Stage::Content { ino, at: next, len };
        Ok(())
    }

    fn meta(&self, ino: Ino) -> Result<Meta, Defect> {
        self.stack.meta(ino).map_err(inconsistent)
    }

    /// Whether an inode that is in the lower layer's place is not as it is there.
    fn is_changed(&self, ino: Ino, base: Option<Index>, meta: &Meta) -> bool {
        let Some(node) = self.stack.nodes.get(&ino) else { return false };
        let first = self.stack.lower.index(ino).or(base);
        let Some(before) = first.and_then(|first| self.stack.lower.meta(first, false)) else { return true };
        attributes(&before) != attributes(meta)
            || node.xattrs.names().next().is_some()
            || content_changed(node, first.and_then(|first| self.stack.lower.body(first)))
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

/// Whatever is in a directory can be looked at.
fn inconsistent(_: Errno) -> Defect {
    Defect::Inconsistent
}
