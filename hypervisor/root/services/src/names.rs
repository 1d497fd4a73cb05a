//! By which names the shim has found the files that it may use by number.
//!
//! A directory has one path, which the stack knows. A file may have several: those by which the shim found it are kept for as long as
//! it remembers it, and each is followed through renames. A shim cannot get at a file in another way than by its names.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use files::{Ino, Kind, Stack};

use crate::authorise::Name;

/// Names of one file that are kept. Beyond them the oldest are forgotten.
const MAX_NAMES: usize = 16;

/// The names of all files that are remembered.
#[derive(Debug)]
pub struct Names {
    /// Somebody asks for them; else nothing is kept.
    kept: bool,
    known: BTreeMap<Ino, Known>,
}

/// What is known of a file: its names, the oldest first.
#[derive(Debug, Default)]
struct Known {
    names: Vec<(Ino, Box<[u8]>)>,
    /// The last of them is gone. As long as no other one is found, it still says what the file was.
    gone: bool,
}

impl Known {
    fn add(&mut self, name: Name<'_>) {
        if self.gone {
            self.names.clear();
            self.gone = false;
        }
        if self.position(name).is_none() {
            if self.names.len() >= MAX_NAMES {
                self.names.remove(0);
            }
            self.names.push((name.dir, name.name.into()));
        }
    }

    fn remove(&mut self, name: Name<'_>) {
        match self.position(name) {
            Some(_) if self.names.len() == 1 => self.gone = true,
            Some(index) => drop(self.names.remove(index)),
            None => {}
        }
    }

    fn position(&self, name: Name<'_>) -> Option<usize> {
        self.names.iter().position(|(dir, known)| *dir == name.dir && **known == *name.name)
    }
}

impl Names {
    pub(crate) const fn new(kept: bool) -> Self {
        Self { kept, known: BTreeMap::new() }
    }

    /// Keeps the names that are found from now on.
    pub(crate) const fn keep(&mut self) {
        self.kept = true;
    }

    /// The shim is told that this name leads to this inode, which it may use by number until it forgets it.
    pub(crate) fn found(&mut self, stack: &Stack<'_>, name: Name<'_>, ino: Ino) {
        if self.kept && stack.attr(ino).is_ok_and(|attr| attr.kind != Kind::Directory) {
            self.known.entry(ino).or_default().add(name);
        }
    }

    /// This name does not lead to this inode any more.
    pub(crate) fn lost(&mut self, name: Name<'_>, ino: Ino) {
        if let Some(known) = self.known.get_mut(&ino) {
            known.remove(name);
        }
    }

    /// The shim has forgotten this inode.
    pub(crate) fn forgotten(&mut self, ino: Ino) {
        self.known.remove(&ino);
    }

    /// All that are known of a file.
    pub(crate) fn of(&self, ino: Ino) -> impl Iterator<Item = Name<'_>> {
        let names = self.known.get(&ino).map_or(&[][..], |known| &known.names);
        names.iter().map(|(dir, name)| Name { dir: *dir, name })
    }

    /// The path of a directory, or that by which a file was found last; empty if there is none.
    pub(crate) fn path_of(&self, stack: &Stack<'_>, ino: Ino) -> Vec<u8> {
        if stack.attr(ino).is_ok_and(|attr| attr.kind == Kind::Directory) {
            return stack.directory_path(ino);
        }
        self.of(ino).last().map_or_else(Vec::new, |name| path(stack, name))
    }
}

/// The path of a name. `.` and `..` are taken for what they lead to.
pub(crate) fn path(stack: &Stack<'_>, name: Name<'_>) -> Vec<u8> {
    let mut path = stack.directory_path(name.dir);
    match name.name {
        b"." => {}
        b".." => {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            path.truncate(end.max(1));
        }
        name => {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
    }
    path
}
