//! A policy's rights on files, asked with the paths that requests resolve to, and what follows from using them (`[[taint]]`).
//!
//! A directory has one path, which is looked up when it is asked for. A file may have several names: its rights are those of all
//! that are known of it ([`crate::names`]).
//!
//! Renaming or linking could give a file, or all that is in a directory, other rights than it has. So what would get a right that it had not
//! before is refused with EXDEV, as between two file systems, upon which programs copy, and each copy is judged. So is what would let a file taint less
//! than it does.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use files::{Errno, Ino, Kind};
use policy::{FileVerdict, Policy, Rights};

use crate::authorise::{Authority, Name, Object, Right, Seen};
use crate::grants::{Grant, Grants};
use crate::names::path;

/// The rights and taints of a policy. Without `[[files]]` and `[[taint]]` everything is allowed, and nothing is kept unless it is to be told.
#[derive(Debug)]
pub struct FileRules {
    policy: Option<Rc<Policy>>,
    /// What is refused is told, and done.
    dry_run: bool,
    /// What was granted, if that is to be told.
    grants: Option<Grants>,
    /// What was refused first in the request under way, or in the last one, if that is what became of it.
    refusal: Option<Refusal>,
    /// What of the request under way, or of the last one, taints that did not before.
    used: Option<Used>,
    /// The taints that files have brought.
    tainted: u64,
}

/// A use of a file that taints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The taints that follow from it ([`Policy::tainted_by`]).
    pub taints: u64,
    /// The rights that it took.
    pub rights: Rights,
    /// The resolved path.
    pub path: Vec<u8>,
}

/// What the policy refused in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rights that the path would have to have; none: only to be seen, which it is not, as it is hidden.
    pub rights: Rights,
    /// The resolved path. Empty: a file without a name.
    pub path: Vec<u8>,
    /// Where what is linked or renamed to `path` was.
    pub from: Option<Vec<u8>>,
    /// The error.
    pub errno: Errno,
    /// The entry that says so, with its place and reason.
    pub entry: String,
}

impl Refusal {
    /// The rights that were missing, in a policy's words; for a name that is hidden `look`: there is no such thing to see.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (self.rights, &self.from) {
            (Rights::NONE, None) => "look".into(),
            (rights, _) => rights.to_string(),
        }
    }
}

impl FileRules {
    /// The rights that `policy` gives. `dry_run`: what it refuses is told by [`FileRules::take_refusal`], and done nevertheless.
    #[must_use]
    pub fn new(policy: &Rc<Policy>, dry_run: bool) -> Self {
        let policy = (policy.restricts_files() || policy.has_tainting_files()).then(|| Rc::clone(policy));
        Self { policy, dry_run, grants: None, refusal: None, used: None, tainted: 0 }
    }

    /// Another policy's rights hold from the next request on; what is open stays open. If there were none before, no names were kept: files that are
    /// remembered have no rights then until they are found anew.
    pub fn set_policy(&mut self, policy: &Rc<Policy>) {
        if self.policy.is_some() || policy.restricts_files() {
            self.policy = Some(Rc::clone(policy));
        }
    }

    /// The same that tell what they grant: [`FileRules::take_grants`].
    #[must_use]
    pub fn telling(self) -> Self {
        Self { grants: Some(Grants::default()), ..self }
    }

    /// What was granted in the last request and has not been told before.
    pub fn take_grants(&mut self) -> Vec<Grant> {
        self.grants.as_mut().map_or_else(Vec::new, Grants::take)
    }

    /// Notes a right that was granted.
    fn granted(&mut self, seen: Seen<'_, '_>, right: Right, object: Object<'_>) {
        if self.grants.is_none() {
            return;
        }
        let kind = match object {
            Object::Entry { .. } => Ok(Kind::File),
            Object::Inode(ino) => seen.stack.attr(ino).map(|attr| attr.kind),
        };
        let Ok(kind) = kind else { return };
        let rights = needed(right, kind);
        let path = path_of(seen, object);
        if rights != Rights::NONE && !path.is_empty() {
            self.grants.iter_mut().for_each(|grants| {
                grants.add(Grant { rights, path: path.clone(), from: None, directory: false });
            });
        }
    }

    /// Notes another name of what is at `from`.
    fn moved(&mut self, from: Vec<u8>, to: Vec<u8>, directory: bool) {
        if let Some(grants) = &mut self.grants
            && !from.is_empty()
        {
            grants.add(Grant { rights: Rights::NONE, path: to, from: Some(from), directory });
        }
    }

    /// What the last request was refused for, or would have been in a dry run. Of several things the first.
    pub const fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// What has tainted in the last request.
    pub const fn take_used(&mut self) -> Option<Used> {
        self.used.take()
    }

    fn refuse(&mut self, refusal: Option<Refusal>) -> Result<(), Errno> {
        let Some(refusal) = refusal else { return Ok(()) };
        let errno = refusal.errno;
        self.refusal.get_or_insert(refusal);
        if self.dry_run { Ok(()) } else { Err(errno) }
    }

    /// What the policy has against this.
    fn judge(&self, seen: Seen<'_, '_>, right: Right, object: Object<'_>) -> Result<Option<Refusal>, Errno> {
        let Some(policy) = self.policy.as_ref().filter(|policy| policy.restricts_files()) else { return Ok(None) };
        let stack = seen.stack;
        let (rights, kind) = match object {
            Object::Entry { dir, name } => (policy.file_rights(&path(stack, Name { dir, name })).rights, Kind::File),
            Object::Inode(ino) => match stack.attr(ino)?.kind {
                Kind::Directory => (policy.file_rights(&stack.directory_path(ino)).rights, Kind::Directory),
                kind => (rights_of_file(policy, seen, ino), kind),
            },
        };
        let needed = needed(right, kind);
        let errno = match rights {
            Rights::HIDE if right != Right::Create => Errno::ENOENT,
            rights if rights != Rights::HIDE && rights.contain(needed) => return Ok(None),
            _ => Errno::EACCES,
        };
        let path = path_of(seen, object);
        let entry = policy.file_rights(&path).to_string();
        Ok(Some(Refusal { rights: needed, path, from: None, errno, entry }))
    }

    /// Notes what follows from doing this, if it is done.
    fn note_use(&mut self, seen: Seen<'_, '_>, right: Right, object: Object<'_>) -> Result<(), Errno> {
        let Some(policy) = self.policy.as_ref().filter(|policy| policy.has_tainting_files()) else { return Ok(()) };
        let stack = seen.stack;
        let (kind, paths) = match object {
            Object::Entry { dir, name } => (Kind::File, Vec::from([path(stack, Name { dir, name })])),
            Object::Inode(ino) => match stack.attr(ino)?.kind {
                Kind::Directory => (Kind::Directory, Vec::from([stack.directory_path(ino)])),
                kind => (kind, paths_of_file(seen, ino).collect()),
            },
        };
        let rights = needed(right, kind);
        let earlier = self.tainted | self.used.as_ref().map_or(0, |used| used.taints);
        for path in paths {
            let taints = policy.tainted_by(&path, rights) & !earlier;
            if taints != 0 {
                let used = self.used.get_or_insert(Used { taints: 0, rights: Rights::NONE, path });
                (used.taints, used.rights) = (used.taints | taints, used.rights.and(rights));
            }
        }
        Ok(())
    }
}

impl Authority for FileRules {
    fn wants_names(&self) -> bool {
        self.policy.is_some() || self.grants.is_some()
    }

    fn allow(&mut self, seen: Seen<'_, '_>, right: Right, object: Object<'_>) -> Result<(), Errno> {
        let refusal = self.judge(seen, right, object)?;
        self.refuse(refusal)?;
        self.granted(seen, right, object);
        self.note_use(seen, right, object)
    }

    fn shows(&self, seen: Seen<'_, '_>, name: Name<'_>) -> bool {
        let hides = |policy: &Rc<Policy>| policy.file_rights(&path(seen.stack, name)).rights == Rights::HIDE;
        self.dry_run || !self.policy.as_ref().is_some_and(hides)
    }

    fn allow_move(&mut self, seen: Seen<'_, '_>, ino: Ino, from: Name<'_>, to: Name<'_>) -> Result<(), Errno> {
        if self.policy.is_none() && self.grants.is_none() {
            return Ok(());
        }
        let stack = seen.stack;
        let (from, to) = (path(stack, from), path(stack, to));
        let is_directory = stack.attr(ino)?.kind == Kind::Directory;
        let refusal = self.policy.as_ref().and_then(|policy| {
            let verdict = policy.file_rights(&to);
            let kept = policy.file_rights(&from).rights.contain(verdict.rights);
            let refused = !kept || (is_directory && !policy.same_rights_below(&from, &to));
            let lost =
                policy.taints_lost(&from, &to) | if is_directory { policy.taints_changed_below(&from, &to) } else { 0 };
            let (from, to) = (from.clone(), to.clone());
            if refused { Some(no_more(verdict, from, to)) } else { no_less(policy, lost, from, to) }
        });
        self.refuse(refusal)?;
        self.moved(from, to, is_directory);
        Ok(())
    }

    fn allow_link(&mut self, seen: Seen<'_, '_>, ino: Ino, to: Name<'_>) -> Result<(), Errno> {
        if self.policy.is_none() && self.grants.is_none() {
            return Ok(());
        }
        let Seen { stack, names } = seen;
        let (from, to) = (names.path_of(stack, ino), path(stack, to));
        let is_directory = stack.attr(ino)?.kind == Kind::Directory;
        let refusal = self.policy.as_ref().and_then(|policy| {
            let verdict = policy.file_rights(&to);
            // Directories, which have no second name, are refused by the stack.
            let kept = is_directory || rights_of_file(policy, seen, ino).contain(verdict.rights);
            let lost = paths_of_file(seen, ino).fold(0, |lost, from| lost | policy.taints_lost(&from, &to));
            let (from, to) = (from.clone(), to.clone());
            if kept { no_less(policy, lost, from, to) } else { Some(no_more(verdict, from, to)) }
        });
        self.refuse(refusal)?;
        self.moved(from, to, false);
        Ok(())
    }

    fn concluded(&mut self, result: Result<(), Errno>) {
        // What would have failed anyway was not refused.
        let refused = |refusal: &Refusal| match result {
            Ok(()) => self.dry_run,
            Err(errno) => !self.dry_run && errno == refusal.errno,
        };
        self.refusal = self.refusal.take().filter(refused);
        // What has failed has shown nothing, unless it failed on the way into the child's memory, of which the first part was there.
        self.used = self.used.take().filter(|_| matches!(result, Ok(()) | Err(Errno::EFAULT)));
        self.tainted |= self.used.as_ref().map_or(0, |used| used.taints);
        self.grants.iter_mut().for_each(|grants| grants.concluded(result));
    }
}

/// The path of an object.
fn path_of(seen: Seen<'_, '_>, object: Object<'_>) -> Vec<u8> {
    match object {
        Object::Entry { dir, name } => path(seen.stack, Name { dir, name }),
        Object::Inode(ino) => seen.names.path_of(seen.stack, ino),
    }
}

/// All paths that are known of a file.
fn paths_of_file<'s>(seen: Seen<'s, '_>, ino: Ino) -> impl Iterator<Item = Vec<u8>> {
    seen.names.of(ino).map(move |name| path(seen.stack, name))
}

/// The rights on a file by all names that are known of it.
fn rights_of_file(policy: &Policy, seen: Seen<'_, '_>, ino: Ino) -> Rights {
    let rights = paths_of_file(seen, ino).map(|path| policy.file_rights(&path).rights);
    // A name that is hidden by now, as its folder was renamed, gives nothing.
    rights.filter(|rights| *rights != Rights::HIDE).fold(Rights::NONE, Rights::and)
}

/// A name that would give what is at `from` further rights.
fn no_more(verdict: FileVerdict<'_>, from: Vec<u8>, to: Vec<u8>) -> Refusal {
    let entry = verdict.to_string();
    Refusal { rights: verdict.rights, path: to, from: Some(from), errno: Errno::EXDEV, entry }
}

/// A name by which what is at `from` would not lead to these taints any more.
fn no_less(policy: &Policy, lost: u64, from: Vec<u8>, to: Vec<u8>) -> Option<Refusal> {
    let taint = policy.taints().find(|taint| lost >> taint.bit & 1 != 0)?;
    let entry = taint.verdict.rule().to_string();
    Some(Refusal { rights: taint.rights(), path: to, from: Some(from), errno: Errno::EXDEV, entry })
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
