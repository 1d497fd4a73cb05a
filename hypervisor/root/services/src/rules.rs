//! A policy's rights on files, asked with the paths that requests resolve to.
//!
//! A directory has one path, which is looked up when it is asked for. A file may have several names: its rights are those of the
//! names by which the shim found it, for as long as it remembers it; each is followed through renames. A shim cannot get at a file in another way
//! than by its names.
//!
//! Renaming or linking could give a file, or all that is in a directory, other rights than it has. So what would get a right that it had not
//! before is refused with EXDEV, as between two file systems, upon which programs copy, and each copy is judged.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use files::{Errno, Ino, Kind, Stack};
use policy::{Policy, Rights};

use crate::authorise::{Authority, Name, Object, Right};

/// Names of one file that are kept. Beyond them the oldest are forgotten, and with them what they allow.
const MAX_NAMES: usize = 16;

/// The rights of a policy. Without `[[files]]` everything is allowed, and nothing is kept.
#[derive(Debug)]
pub struct FileRules {
    policy: Option<Rc<Policy>>,
    /// Of files that are remembered.
    known: BTreeMap<Ino, Known>,
}

/// What is known of a file: its names, the oldest first.
#[derive(Debug, Default)]
struct Known {
    names: Vec<(Ino, Box<[u8]>)>,
    /// The last of them is gone. As long as no other one is found, it still says what may be done with a file that is in use.
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

impl FileRules {
    /// The rights that `policy` gives.
    #[must_use]
    pub fn new(policy: &Rc<Policy>) -> Self {
        let policy = policy.restricts_files().then(|| Rc::clone(policy));
        Self { policy, known: BTreeMap::new() }
    }

    /// The rights on a file by all names that are known of it.
    fn rights_of_file(&self, policy: &Policy, stack: &Stack<'_>, ino: Ino) -> Rights {
        let names = self.known.get(&ino).map_or(&[][..], |known| &known.names);
        let of_name =
            |(dir, name): &(Ino, Box<[u8]>)| policy.file_rights(&path(stack, Name { dir: *dir, name })).rights;
        // A name that is hidden by now, as its folder was renamed, gives nothing.
        let rights = names.iter().map(of_name).filter(|rights| *rights != Rights::HIDE);
        rights.fold(Rights::NONE, Rights::and)
    }
}

impl Authority for FileRules {
    fn allow(&self, stack: &Stack<'_>, right: Right, object: Object<'_>) -> Result<(), Errno> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let (rights, kind) = match object {
            Object::Entry { dir, name } => (policy.file_rights(&path(stack, Name { dir, name })).rights, Kind::File),
            Object::Inode(ino) => match stack.attr(ino)?.kind {
                Kind::Directory => (policy.file_rights(&stack.directory_path(ino)).rights, Kind::Directory),
                kind => (self.rights_of_file(policy, stack, ino), kind),
            },
        };
        if rights == Rights::HIDE {
            return Err(if right == Right::Create { Errno::EACCES } else { Errno::ENOENT });
        }
        if rights.contain(needed(right, kind)) { Ok(()) } else { Err(Errno::EACCES) }
    }

    fn shows(&self, stack: &Stack<'_>, name: Name<'_>) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy.file_rights(&path(stack, name)).rights != Rights::HIDE)
    }

    fn allow_move(&self, stack: &Stack<'_>, ino: Ino, from: Name<'_>, to: Name<'_>) -> Result<(), Errno> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let (from, to) = (path(stack, from), path(stack, to));
        let kept = policy.file_rights(&from).rights.contain(policy.file_rights(&to).rights);
        let is_directory = stack.attr(ino)?.kind == Kind::Directory;
        if kept && (!is_directory || policy.same_rights_below(&from, &to)) { Ok(()) } else { Err(Errno::EXDEV) }
    }

    fn allow_link(&self, stack: &Stack<'_>, ino: Ino, to: Name<'_>) -> Result<(), Errno> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let new = policy.file_rights(&path(stack, to)).rights;
        // Directories, which have no second name, are refused by the stack.
        let kept = stack.attr(ino)?.kind == Kind::Directory || self.rights_of_file(policy, stack, ino).contain(new);
        if kept { Ok(()) } else { Err(Errno::EXDEV) }
    }

    fn found(&mut self, stack: &Stack<'_>, name: Name<'_>, ino: Ino) {
        if self.policy.is_some() && stack.attr(ino).is_ok_and(|attr| attr.kind != Kind::Directory) {
            self.known.entry(ino).or_default().add(name);
        }
    }

    fn lost(&mut self, name: Name<'_>, ino: Ino) {
        if let Some(known) = self.known.get_mut(&ino) {
            known.remove(name);
        }
    }

    fn forgotten(&mut self, ino: Ino) {
        self.known.remove(&ino);
    }
}

/// What a request needs of an object of this kind.
fn needed(right: Right, kind: Kind) -> Rights {
    match (right, kind) {
        // Whatever a link leads to is judged by its own path.
        (Right::Look, _) | (Right::Read, Kind::Symlink) => Rights::NONE,
        (Right::Read, Kind::Directory) => Rights::LIST,
        (Right::Read, _) => Rights::READ,
        (Right::Write | Right::SetAttributes, _) => Rights::WRITE,
        (Right::Execute, _) => Rights::EXECUTE,
        (Right::Create, _) => Rights::CREATE,
        (Right::Remove, _) => Rights::DELETE,
    }
}

/// The path of a name. `.` and `..` are taken for what they lead to.
fn path(stack: &Stack<'_>, name: Name<'_>) -> Vec<u8> {
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
