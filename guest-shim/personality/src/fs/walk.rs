//! From a path to a place: component by component, with symbolic links, `..`, and the shim's own `/dev` and `/proc`.

use alloc::borrow::Cow;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::mem::discriminant;

use fuse_abi::linux::{fuse_attr, fuse_opcode};
use linux_raw_sys::general as raw;

use super::dentry::{Dentry, Node, Place};
use super::dev::{self, Device};
use super::file::{FileKind, OpenFile};
use super::proc::{self, Entry, ProcKind, ProcNode};
use crate::abi::mode;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;

/// Symbolic links that one path may lead through.
const MAX_LINKS: u32 = 40;
/// Longest name in a directory.
const NAME_MAX: usize = 255;

/// Permission to look for (the bits of `access`).
pub mod may {
    /// Execute, or search a directory.
    pub const EXECUTE: u32 = 1;
    /// Write.
    pub const WRITE: u32 = 2;
    /// Read.
    pub const READ: u32 = 4;
}

/// Where a path leads.
pub struct Target {
    /// The directory of the last component.
    pub directory: Place,
    /// The last component; `.` or `..` or empty when the path ends so.
    pub name: Vec<u8>,
    /// What is there, if something is.
    pub place: Option<Place>,
    /// The path ended in a slash: only a directory will do.
    pub slash: bool,
    /// Nobody asked whether something is there ([`Last::NewName`], [`Last::NewFile`]).
    pub unasked: bool,
}

impl Target {
    /// What is there.
    ///
    /// # Errors
    /// As [`Target::missing`].
    pub fn existing(self) -> Result<Place, Errno> {
        let missing = self.missing();
        self.place.ok_or(missing)
    }

    /// Why nothing is there: ENOENT, or ENAMETOOLONG where nothing can be.
    #[must_use]
    pub fn missing(&self) -> Errno {
        if self.name.len() > NAME_MAX { Errno::ENAMETOOLONG } else { Errno::ENOENT }
    }

    /// May a name be made here, as far as names go (Linux `filename_create`)?
    ///
    /// # Errors
    /// EEXIST; ENAMETOOLONG; ENOENT for a name with a slash that is to be no directory's.
    pub fn check_vacant(&self, for_directory: bool) -> Result<(), Errno> {
        match self.missing() {
            _ if self.place.is_some() => Err(Errno::EEXIST),
            Errno::ENAMETOOLONG => Err(Errno::ENAMETOOLONG),
            _ if self.slash && !for_directory => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    /// Whether the last component is a name, and neither dots nor the root.
    #[must_use]
    pub fn is_name(&self) -> bool {
        is_name(&self.name)
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
}

/// What is to be done with the last component of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// A symbolic link is followed.
    Follow,
    /// One is followed only if a slash stands behind it.
    Stay,
    /// A name is to be made or taken away: what is there is not followed, and what a slash behind it means is up to the caller.
    Name,
    /// The same, of a name that is to be made by a request that the root refuses where there is something: it is not asked about before.
    NewName,
    /// A file is to be opened, or made where there is none, so that a slash behind its name is wrong in any case.
    File {
        /// A symbolic link is followed.
        follow: bool,
    },
    /// The same, if it is tried first to make it, as with [`Last::NewName`].
    NewFile {
        /// A symbolic link is followed.
        follow: bool,
    },
}

impl Last {
    /// [`Last::Follow`] or [`Last::Stay`].
    #[must_use]
    pub const fn following(follow: bool) -> Self {
        if follow { Self::Follow } else { Self::Stay }
    }

    fn follows(self, slash: bool) -> bool {
        match self {
            Self::Follow => true,
            Self::Stay => slash,
            Self::Name | Self::NewName => false,
            Self::File { follow } | Self::NewFile { follow } => follow || slash,
        }
    }

    fn is_file(self) -> bool {
        matches!(self, Self::File { .. } | Self::NewFile { .. })
    }

    fn is_name(self) -> bool {
        matches!(self, Self::Name | Self::NewName)
    }

    /// What nobody knows anything of is not asked about.
    fn makes(self) -> bool {
        matches!(self, Self::NewName | Self::NewFile { .. })
    }
}

/// A path that is being walked.
struct Walk<'a> {
    rest: Cow<'a, [u8]>,
    at: usize,
}

impl Walk<'_> {
    fn skip_slashes(&mut self) {
        while self.rest.get(self.at) == Some(&b'/') {
            self.at += 1;
        }
    }

    /// The next component: its range, and whether a slash follows it.
    fn next(&mut self) -> Option<(core::ops::Range<usize>, bool)> {
        self.skip_slashes();
        let start = self.at;
        while self.rest.get(self.at).is_some_and(|&byte| byte != b'/') {
            self.at += 1;
        }
        let range = start..self.at;
        let slash = self.rest.get(self.at) == Some(&b'/');
        self.skip_slashes();
        (!range.is_empty()).then_some((range, slash))
    }

    fn done(&self) -> bool {
        self.at >= self.rest.len()
    }

    /// Goes on with `target`, then with what is left.
    fn splice(&mut self, target: &[u8], slash: bool) {
        let mut path = Vec::from(target);
        if slash {
            path.push(b'/');
        }
        path.extend_from_slice(self.rest.get(self.at..).unwrap_or(&[]));
        self.rest = Cow::Owned(path);
        self.at = 0;
    }
}

/// A symbolic link.
enum Link {
    /// By its text.
    Text(Rc<[u8]>),
    /// To an object, whatever its text says.
    Object(Place),
    /// To something that has no place (a pipe): the link itself is the end of the path.
    Nowhere,
}

/// Where a path may lead.
struct Scope {
    /// The directory that the limits refer to.
    base: Place,
    /// RESOLVE_*.
    limits: u32,
}

impl Scope {
    /// Does one of these limits hold?
    fn has(&self, limits: u32) -> bool {
        self.limits & limits != 0
    }

    /// May a path lead from one to the other, as far as file systems go?
    fn check_step(&self, from: &Place, to: &Place) -> Result<(), Errno> {
        let same = discriminant(&from.node) == discriminant(&to.node);
        if self.has(raw::RESOLVE_NO_XDEV) && !same { Err(Errno::EXDEV) } else { Ok(()) }
    }

    /// May this link be followed?
    fn check_link(&self, link: &Link) -> Result<(), Errno> {
        let by_text = matches!(link, Link::Text(_));
        if self.has(raw::RESOLVE_NO_SYMLINKS) || (!by_text && self.has(raw::RESOLVE_NO_MAGICLINKS)) {
            return Err(Errno::ELOOP);
        }
        let leaves = !by_text && self.has(raw::RESOLVE_BENEATH | raw::RESOLVE_IN_ROOT);
        if leaves { Err(Errno::EXDEV) } else { Ok(()) }
    }
}

impl<P: Platform> Kernel<P> {
    /// Walks `path` from `start`. A symbolic link at the end is followed if `follow`, or if a slash stands behind it.
    ///
    /// # Errors
    /// As [`Kernel::resolve_within`].
    pub fn resolve(&mut self, start: Place, path: &[u8], follow: bool) -> Result<Target, Errno> {
        self.resolve_within(start, path, Last::following(follow), 0)
    }

    /// Walks `path` from `start` as far as `limits` (RESOLVE_*, openat2(2)) allow it to lead; they refer to `start`.
    ///
    /// # Errors
    /// ENOENT (an earlier component, or an empty path), ENOTDIR, EACCES, ELOOP, ENAMETOOLONG of an earlier component, EISDIR, EXDEV, and
    /// what the root says. A last name that is too long is one that is not there.
    pub fn resolve_within(&mut self, start: Place, path: &[u8], end: Last, limits: u32) -> Result<Target, Errno> {
        let mut walk = Walk { rest: Cow::Borrowed(path), at: 0 };
        let mut here = Rc::clone(&start);
        let scope = Scope { base: start, limits };
        let mut links = 0;
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.first() == Some(&b'/') {
            here = self.top(&here, &scope)?;
        }
        loop {
            let Some((range, slash)) = walk.next() else {
                let directory = Rc::clone(&here);
                return Ok(Target { directory, name: Vec::new(), place: Some(here), slash: true, unasked: false });
            };
            self.check_search(&here)?;
            let name = walk.rest.get(range).unwrap_or(&[]);
            let last = walk.done();
            if last && slash && end.is_file() && is_name(name) {
                return Err(Errno::EISDIR);
            }
            let unasked = last && !slash && end.makes() && self.is_unknown(&here, name);
            let found = match name {
                _ if unasked => None,
                b".." => Some(self.up(&here, &scope)?),
                _ if name.len() <= NAME_MAX => self.child(&here, name)?,
                _ if last => None,
                _ => return Err(Errno::ENAMETOOLONG),
            };
            let Some(place) = found else {
                return if last {
                    Ok(Target { directory: here, name: name.into(), place: None, slash, unasked })
                } else {
                    Err(Errno::ENOENT)
                };
            };
            scope.check_step(&here, &place)?;
            let link = if !last || end.follows(slash) { self.link(&place)? } else { None };
            if let Some(link) = &link {
                scope.check_link(link)?;
            }
            let place = match link {
                Some(Link::Text(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    if target.first() == Some(&b'/') {
                        here = self.top(&here, &scope)?;
                    }
                    walk.splice(&target, slash);
                    continue;
                }
                Some(Link::Object(place)) => {
                    scope.check_step(&here, &place)?;
                    place
                }
                Some(Link::Nowhere) | None => place,
            };
            if last {
                if slash && !end.is_name() && !self.is_directory(&place)? {
                    return Err(Errno::ENOTDIR);
                }
                let name = name.into();
                return Ok(Target { directory: here, name, place: Some(place), slash, unasked: false });
            }
            here = place;
        }
    }

    /// Where an absolute path starts.
    fn top(&self, here: &Place, scope: &Scope) -> Result<Place, Errno> {
        if scope.has(raw::RESOLVE_BENEATH) {
            return Err(Errno::EXDEV);
        }
        if scope.has(raw::RESOLVE_IN_ROOT) {
            return Ok(Rc::clone(&scope.base));
        }
        let root = self.task.directories.borrow().root.clone();
        scope.check_step(here, &root)?;
        Ok(root)
    }

    /// The directory above.
    fn up(&self, here: &Place, scope: &Scope) -> Result<Place, Errno> {
        let ends = scope.has(raw::RESOLVE_BENEATH | raw::RESOLVE_IN_ROOT) && here.is_same(&scope.base);
        if ends && scope.has(raw::RESOLVE_BENEATH) {
            return Err(Errno::EXDEV);
        }
        let root = ends || here.is_same(&self.task.directories.borrow().root);
        let parent = if root { None } else { here.parent() };
        Ok(parent.unwrap_or_else(|| Rc::clone(here)))
    }

    /// Whether only the root could say what `name` is in `directory`, and says it of what nobody else can change.
    fn is_unknown(&self, directory: &Place, name: &[u8]) -> bool {
        let Node::File(inode) = &directory.node else { return false };
        let made = is_name(name) && name.len() <= NAME_MAX && !inode.is_volatile();
        made && self.mount_at(directory, name).is_none() && !self.names.knows(inode.number(), name)
    }

    /// What is mounted there.
    fn mount_at(&self, directory: &Place, name: &[u8]) -> Option<&Place> {
        let mut mounts = self.mounts.iter().filter(|_| directory.parent().is_none());
        mounts.find(|(mounted, _)| mounted.as_bytes() == name).map(|(_, place)| place)
    }

    /// What `name` is in `directory`, which has been checked to be one.
    ///
    /// # Errors
    /// What the root says.
    pub fn child(&mut self, directory: &Place, name: &[u8]) -> Result<Option<Place>, Errno> {
        if name == b"." {
            return Ok(Some(Rc::clone(directory)));
        }
        match &directory.node {
            Node::File(inode) => {
                if let Some(mount) = self.mount_at(directory, name) {
                    return Ok(Some(Rc::clone(mount)));
                }
                let number = inode.number();
                if let Some(known) = self.names.get(number, name).filter(|_| !inode.is_volatile()) {
                    return Ok(known);
                }
                let looked = self.fuse.entry(&mut self.platform, fuse_opcode::FUSE_LOOKUP, inode, &(), &[name]);
                let place = match looked {
                    Ok(found) => found.map(|inode| Dentry::of_file(directory, name, inode)),
                    Err(Errno::ENOENT) => None,
                    Err(error) => return Err(error),
                };
                if place.is_some() && inode.is_listed() {
                    self.names.could_be_spared();
                }
                self.names.put(number, name, place.clone());
                Ok(place)
            }
            Node::Device(Device::Terminals) => {
                let found = match proc::parse_number(name) {
                    Some(number) => self.terminals.find(number).map(|_| Device::Terminal(number)),
                    None => (name == b"ptmx").then_some(Device::Ptmx),
                };
                Ok(found.map(|device| Dentry::new(Some(directory.clone()), name, Node::Device(device))))
            }
            Node::Device(_) => {
                Ok(dev::find(name).map(|device| Dentry::new(Some(directory.clone()), name, Node::Device(device))))
            }
            Node::Proc(node) => {
                let found = self.proc_child(*node, name);
                Ok(found.map(|node| Dentry::new(Some(directory.clone()), name, Node::Proc(node))))
            }
        }
    }

    fn proc_child(&self, node: ProcNode, name: &[u8]) -> Option<ProcNode> {
        match node {
            proc::PROC => match name {
                b"self" => Some(ProcNode::SelfLink),
                b"thread-self" => Some(ProcNode::ThreadSelf),
                _ => match proc::parse_number(name) {
                    Some(pid) => self.process(pid).map(|_| ProcNode::Process(pid, None)),
                    None => proc::fixed_child("proc", name),
                },
            },
            ProcNode::Fixed(path) => proc::fixed_child(path, name),
            ProcNode::Process(pid, tid) => {
                let entry = proc::ENTRIES.iter().find(|(known, _)| known.as_bytes() == name);
                match (name, tid) {
                    (b"fd", _) => Some(ProcNode::Descriptors(pid)),
                    (b"fdinfo", _) => Some(ProcNode::DescriptorInfos(pid)),
                    (b"net", _) => proc::fixed_child("proc", name),
                    (b"task", None) => Some(ProcNode::Threads(pid)),
                    _ => entry.map(|&(_, entry)| ProcNode::Entry(pid, tid, entry)),
                }
            }
            ProcNode::Threads(pid) => {
                let tid = proc::parse_number(name)?;
                let known = self.process(pid)?.borrow().threads.contains(&tid);
                known.then_some(ProcNode::Process(pid, Some(tid)))
            }
            ProcNode::Descriptors(pid) | ProcNode::DescriptorInfos(pid) => {
                let number = proc::parse_number(name)?;
                self.descriptor_of(pid, number).ok()?;
                Some(match node {
                    ProcNode::Descriptors(_) => ProcNode::Descriptor(pid, number),
                    _ => ProcNode::DescriptorInfo(pid, number),
                })
            }
            _ => None,
        }
    }

    /// What a link leads to; `None` if `place` is no link.
    fn link(&mut self, place: &Place) -> Result<Option<Link>, Errno> {
        Ok(match &place.node {
            Node::File(inode) => {
                if self.file_type(inode)? != mode::S_IFLNK {
                    return Ok(None);
                }
                Some(Link::Text(self.fuse.link_target(&mut self.platform, inode)?))
            }
            Node::Device(Device::Link(target)) => Some(Link::Text(target.as_bytes().into())),
            Node::Device(_) => None,
            Node::Proc(node) if node.kind() == ProcKind::Link => Some(self.proc_link(*node)?),
            Node::Proc(_) => None,
        })
    }

    /// Is this a symbolic link?
    ///
    /// # Errors
    /// What the root says.
    pub(crate) fn is_link(&mut self, place: &Place) -> Result<bool, Errno> {
        Ok(self.link(place)?.is_some())
    }

    fn proc_link(&self, node: ProcNode) -> Result<Link, Errno> {
        let ProcNode::Entry(pid, tid, entry) = node else {
            return Ok(match node {
                ProcNode::Descriptor(pid, number) => {
                    self.descriptor_of(pid, number)?.place.clone().map_or(Link::Nowhere, Link::Object)
                }
                _ => Link::Text(self.link_text(node)?.into()),
            });
        };
        let process = self.process(pid).ok_or(Errno::ENOENT)?;
        let directories = self.proc_task(pid, tid).map(|task| Rc::clone(&task.directories)).ok_or(Errno::ENOENT)?;
        let directories = directories.borrow();
        Ok(Link::Object(match entry {
            Entry::Exe => process.borrow().executable.clone().ok_or(Errno::ENOENT)?,
            Entry::Cwd => directories.current.clone(),
            _ => directories.root.clone(),
        }))
    }

    /// The open file behind `/proc/N/fd/M`.
    ///
    /// # Errors
    /// ENOENT.
    pub fn descriptor_of(&self, pid: u32, number: u32) -> Result<Rc<OpenFile>, Errno> {
        let fd = i32::try_from(number).map_err(|_| Errno::ENOENT)?;
        let task = self.proc_task(pid, None).ok_or(Errno::ENOENT)?;
        task.files.borrow().get(fd).map(|found| Rc::clone(&found.file)).map_err(|_| Errno::ENOENT)
    }

    /// The text of a link in `/proc`.
    ///
    /// # Errors
    /// ENOENT when it leads nowhere now.
    pub fn link_text(&self, node: ProcNode) -> Result<Vec<u8>, Errno> {
        let pid = self.task.process.borrow().pid;
        Ok(match node {
            ProcNode::SelfLink => alloc::format!("{pid}").into_bytes(),
            ProcNode::ThreadSelf => alloc::format!("{pid}/task/{}", self.task.tid).into_bytes(),
            ProcNode::Fixed(_) => Vec::from(b"self/mounts"),
            ProcNode::Descriptor(pid, number) => {
                let file = self.descriptor_of(pid, number)?;
                match (&file.place, &file.kind) {
                    (Some(place), _) => place.shown_path(),
                    (None, FileKind::Special(special)) => special.link(),
                    (None, FileKind::Memory(file)) => file.object.name(),
                    (None, FileKind::Signals(_)) => Vec::from(b"anon_inode:[signalfd]"),
                    (None, FileKind::Console(stream)) => alloc::format!("pipe:[{}]", 2 + stream).into_bytes(),
                    (None, _) => Vec::from(b"anon_inode:[unknown]"),
                }
            }
            _ => match self.proc_link(node)? {
                Link::Object(place) => place.shown_path(),
                _ => return Err(Errno::EINVAL),
            },
        })
    }

    /// The attributes of a node of the root's file system.
    ///
    /// # Errors
    /// What the root says.
    pub fn file_attributes(&mut self, inode: &super::inode::Inode) -> Result<fuse_attr, Errno> {
        self.fuse.attributes(&mut self.platform, inode)
    }

    /// The type of a node of the root's file system (S_IF*).
    ///
    /// # Errors
    /// What the root says.
    pub fn file_type(&mut self, inode: &super::inode::Inode) -> Result<u32, Errno> {
        Ok(self.fuse.lasting_attributes(&mut self.platform, inode)?.mode & mode::S_IFMT)
    }

    /// Is it a directory?
    ///
    /// # Errors
    /// What the root says.
    pub fn is_directory(&mut self, place: &Place) -> Result<bool, Errno> {
        Ok(match &place.node {
            Node::File(inode) => self.file_type(inode)? == mode::S_IFDIR,
            Node::Device(device) => device.is_directory(),
            Node::Proc(node) => node.kind() == ProcKind::Directory,
        })
    }

    fn check_search(&mut self, place: &Place) -> Result<(), Errno> {
        if !self.is_directory(place)? {
            return Err(Errno::ENOTDIR);
        }
        self.check_access(place, may::EXECUTE)
    }

    /// May the process do this with the file (the ids that it has for files)?
    ///
    /// # Errors
    /// EACCES.
    pub fn check_access(&mut self, place: &Place, wanted: u32) -> Result<(), Errno> {
        let [uid, gid] = self.task.process.borrow().file_ids;
        self.check_access_as(place, wanted, uid, gid)
    }

    /// May this user do this with the file?
    ///
    /// # Errors
    /// EACCES.
    pub fn check_access_as(&mut self, place: &Place, wanted: u32, uid: u32, gid: u32) -> Result<(), Errno> {
        let Node::File(inode) = &place.node else { return Ok(()) };
        let attr = self.fuse.lasting_attributes(&mut self.platform, inode)?;
        let in_group = || gid == attr.gid || self.task.process.borrow().groups.contains(&attr.gid);
        let bits = match () {
            () if uid == attr.uid => attr.mode >> 6,
            () if in_group() => attr.mode >> 3,
            () => attr.mode,
        };
        let directory = attr.mode & mode::S_IFMT == mode::S_IFDIR;
        let granted = if uid == 0 {
            let execute = directory || attr.mode & 0o111 != 0;
            may::READ | may::WRITE | if execute { may::EXECUTE } else { 0 }
        } else {
            bits
        };
        if wanted & !granted & 7 == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }
}
