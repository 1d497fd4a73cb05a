//! A small FUSE server in memory, with the root's own answers to what the personality asks.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use fuse_abi::linux::{
    FATTR_MODE, FATTR_SIZE, fuse_attr, fuse_attr_out, fuse_create_in, fuse_entry_out, fuse_in_header, fuse_link_in,
    fuse_mkdir_in, fuse_mknod_in, fuse_opcode, fuse_open_out, fuse_read_in, fuse_rename2_in, fuse_setattr_in,
    fuse_statfs_out, fuse_write_in, fuse_write_out,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::abi::mode;

/// What a request is answered with.
pub(super) enum Reply {
    /// Success.
    Body(Vec<u8>),
    /// A positive errno.
    Error(i32),
}

impl Reply {
    pub(super) fn body<T: IntoBytes + Immutable>(value: &T) -> Self {
        Self::Body(value.as_bytes().to_vec())
    }
}

enum Kind {
    Directory(BTreeMap<Vec<u8>, u64>),
    File(Vec<u8>),
    Link(Vec<u8>),
}

struct Node {
    kind: Kind,
    mode: u32,
    links: u32,
}

/// The files. Node `n` is at `nodes[n − 1]`.
pub(super) struct Server {
    nodes: Vec<Node>,
    handles: BTreeMap<u64, u64>,
    next_handle: u64,
    /// Nodes whose bytes were changed, or that were made later.
    written: BTreeSet<u64>,
    /// How many nodes were forgotten.
    pub(super) forgotten: u32,
}

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const ENOTEMPTY: i32 = 39;
const ENOSYS: i32 = 38;

fn name(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|&byte| byte == 0).expect("a name ends with NUL");
    (&bytes[..end], &bytes[end + 1..])
}

fn args<T: FromBytes>(body: &[u8]) -> (T, &[u8]) {
    T::read_from_prefix(body).expect("the opcode's arguments")
}

impl Server {
    pub(super) fn new() -> Self {
        let root = Node { kind: Kind::Directory(BTreeMap::new()), mode: mode::S_IFDIR | 0o755, links: 2 };
        Self {
            nodes: alloc::vec![root],
            handles: BTreeMap::new(),
            next_handle: 1,
            written: BTreeSet::new(),
            forgotten: 0,
        }
    }

    fn add(&mut self, path: &str, kind: Kind, mode: u32) {
        let (parent, name) = path.rsplit_once('/').expect("an absolute path");
        let mut directory = 1;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            directory = self.find(directory, part.as_bytes()).expect("the directory is there");
        }
        self.insert(directory, name.as_bytes(), kind, mode);
    }

    pub(super) fn directory(&mut self, path: &str) {
        self.add(path, Kind::Directory(BTreeMap::new()), mode::S_IFDIR | 0o755);
    }

    pub(super) fn file(&mut self, path: &str, data: &[u8], rights: u32) {
        self.add(path, Kind::File(data.to_vec()), mode::S_IFREG | rights);
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.add(path, Kind::Link(String::from(target).into_bytes()), mode::S_IFLNK | 0o777);
    }

    /// The bytes of a file that is as it was at first.
    pub(super) fn untouched(&mut self, number: u64) -> Option<Vec<u8>> {
        if self.written.contains(&number) {
            return None;
        }
        match &self.node(number).kind {
            Kind::File(data) => Some(data.clone()),
            _ => None,
        }
    }

    /// Closes a handle, which must be open.
    pub(super) fn close(&mut self, handle: u64) {
        self.handles.remove(&handle).expect("an open handle");
    }

    /// Files and directories that are open.
    pub(super) fn open_count(&self) -> usize {
        self.handles.len()
    }

    fn node(&mut self, number: u64) -> &mut Node {
        let slot = usize::try_from(number).expect("a node") - 1;
        self.nodes.get_mut(slot).expect("a node")
    }

    fn names(&mut self, directory: u64) -> &mut BTreeMap<Vec<u8>, u64> {
        match &mut self.node(directory).kind {
            Kind::Directory(names) => names,
            _ => panic!("not a directory"),
        }
    }

    fn find(&mut self, directory: u64, name: &[u8]) -> Option<u64> {
        self.names(directory).get(name).copied()
    }

    fn insert(&mut self, directory: u64, name: &[u8], kind: Kind, mode: u32) -> u64 {
        self.nodes.push(Node { kind, mode, links: 1 });
        let number = self.nodes.len() as u64;
        self.names(directory).insert(name.to_vec(), number);
        number
    }

    fn attr(&mut self, number: u64) -> fuse_attr {
        let node = self.node(number);
        let size = match &node.kind {
            Kind::Directory(_) => 4096,
            Kind::File(data) | Kind::Link(data) => data.len() as u64,
        };
        fuse_attr { ino: number, size, mode: node.mode, nlink: node.links, blksize: 4096, ..Default::default() }
    }

    fn entry(&mut self, number: u64) -> fuse_entry_out {
        fuse_entry_out { nodeid: number, attr: self.attr(number), attr_valid: u64::MAX, ..Default::default() }
    }

    /// What a listing tells of a name: of `.` and `..` nothing.
    fn entry_of(&mut self, name: &[u8], number: u64) -> fuse_entry_out {
        if matches!(name, b"." | b"..") { fuse_entry_out::default() } else { self.entry(number) }
    }

    fn open(&mut self, number: u64) -> fuse_open_out {
        let handle = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(handle, number);
        fuse_open_out { fh: handle, ..Default::default() }
    }

    fn make(&mut self, directory: u64, name: &[u8], kind: Kind, mode: u32) -> Reply {
        if self.find(directory, name).is_some() {
            return Reply::Error(EEXIST);
        }
        let number = self.insert(directory, name, kind, mode);
        self.written.insert(number);
        Reply::body(&self.entry(number))
    }

    fn remove(&mut self, directory: u64, name: &[u8], directories: bool) -> Reply {
        let Some(number) = self.find(directory, name) else { return Reply::Error(ENOENT) };
        match &self.node(number).kind {
            Kind::Directory(_) if !directories => return Reply::Error(EISDIR),
            Kind::Directory(names) if !names.is_empty() => return Reply::Error(ENOTEMPTY),
            Kind::Directory(_) => {}
            _ if directories => return Reply::Error(ENOTDIR),
            _ => {}
        }
        self.node(number).links -= 1;
        self.names(directory).remove(name);
        Reply::Body(Vec::new())
    }

    fn file_of(&mut self, handle: u64) -> Option<&mut Vec<u8>> {
        let number = *self.handles.get(&handle)?;
        match &mut self.node(number).kind {
            Kind::File(data) => Some(data),
            _ => None,
        }
    }

    fn list(&mut self, read: &fuse_read_in, plus: bool) -> Vec<u8> {
        let number = *self.handles.get(&read.fh).expect("an open directory");
        let names: Vec<(Vec<u8>, u64)> = [(b".".to_vec(), number), (b"..".to_vec(), 1)]
            .into_iter()
            .chain(self.names(number).iter().map(|(name, &number)| (name.clone(), number)))
            .collect();
        let mut out = Vec::new();
        for (at, (name, number)) in (1..).zip(names).skip(usize::try_from(read.offset).expect("small")) {
            let told = if plus { self.entry_of(&name, number).as_bytes().to_vec() } else { Vec::new() };
            let len = (told.len() + 24 + name.len()).next_multiple_of(8);
            if out.len() + len > read.size as usize {
                break;
            }
            let kind = self.node(number).mode >> 12;
            out.extend_from_slice(&told);
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&(at as u64).to_le_bytes());
            out.extend_from_slice(&u32::try_from(name.len()).expect("short").to_le_bytes());
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&name);
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out
    }

    /// Answers a request; what is read goes to the segments.
    pub(super) fn serve(&mut self, header: &fuse_in_header, body: &[u8], written: &[u8]) -> (Reply, Vec<u8>) {
        const LOOKUP: u32 = fuse_opcode::FUSE_LOOKUP as u32;
        const GETATTR: u32 = fuse_opcode::FUSE_GETATTR as u32;
        const SETATTR: u32 = fuse_opcode::FUSE_SETATTR as u32;
        const READLINK: u32 = fuse_opcode::FUSE_READLINK as u32;
        const SYMLINK: u32 = fuse_opcode::FUSE_SYMLINK as u32;
        const MKNOD: u32 = fuse_opcode::FUSE_MKNOD as u32;
        const MKDIR: u32 = fuse_opcode::FUSE_MKDIR as u32;
        const UNLINK: u32 = fuse_opcode::FUSE_UNLINK as u32;
        const RMDIR: u32 = fuse_opcode::FUSE_RMDIR as u32;
        const RENAME2: u32 = fuse_opcode::FUSE_RENAME2 as u32;
        const LINK: u32 = fuse_opcode::FUSE_LINK as u32;
        const OPEN: u32 = fuse_opcode::FUSE_OPEN as u32;
        const OPENDIR: u32 = fuse_opcode::FUSE_OPENDIR as u32;
        const CREATE: u32 = fuse_opcode::FUSE_CREATE as u32;
        const READ: u32 = fuse_opcode::FUSE_READ as u32;
        const WRITE: u32 = fuse_opcode::FUSE_WRITE as u32;
        const READDIR: u32 = fuse_opcode::FUSE_READDIR as u32;
        const READDIRPLUS: u32 = fuse_opcode::FUSE_READDIRPLUS as u32;
        const RELEASE: u32 = fuse_opcode::FUSE_RELEASE as u32;
        const RELEASEDIR: u32 = fuse_opcode::FUSE_RELEASEDIR as u32;
        const FORGET: u32 = fuse_opcode::FUSE_BATCH_FORGET as u32;
        const STATFS: u32 = fuse_opcode::FUSE_STATFS as u32;
        let node = header.nodeid;
        let done = || Reply::Body(Vec::new());
        let mut read = Vec::new();
        let reply = match header.opcode {
            LOOKUP => match self.find(node, name(body).0) {
                Some(found) => Reply::body(&self.entry(found)),
                None => Reply::Error(ENOENT),
            },
            GETATTR => Reply::body(&fuse_attr_out { attr: self.attr(node), ..Default::default() }),
            SETATTR => {
                let (change, _) = args::<fuse_setattr_in>(body);
                if change.valid & FATTR_SIZE != 0 {
                    self.written.insert(node);
                }
                let slot = self.node(node);
                if change.valid & FATTR_MODE != 0 {
                    slot.mode = (slot.mode & mode::S_IFMT) | change.mode;
                }
                if let (true, Kind::File(data)) = (change.valid & FATTR_SIZE != 0, &mut slot.kind) {
                    data.resize(usize::try_from(change.size).expect("small"), 0);
                }
                Reply::body(&fuse_attr_out { attr: self.attr(node), ..Default::default() })
            }
            READLINK => match &self.node(node).kind {
                Kind::Link(target) => Reply::Body(target.clone()),
                _ => Reply::Error(EIO),
            },
            SYMLINK => {
                let (link, rest) = name(body);
                self.make(node, link, Kind::Link(name(rest).0.to_vec()), mode::S_IFLNK | 0o777)
            }
            MKNOD => {
                let (made, rest) = args::<fuse_mknod_in>(body);
                self.make(node, name(rest).0, Kind::File(Vec::new()), made.mode)
            }
            MKDIR => {
                let (made, rest) = args::<fuse_mkdir_in>(body);
                self.make(node, name(rest).0, Kind::Directory(BTreeMap::new()), mode::S_IFDIR | made.mode)
            }
            UNLINK | RMDIR => self.remove(node, name(body).0, header.opcode == RMDIR),
            RENAME2 => {
                let (to, rest) = args::<fuse_rename2_in>(body);
                let (old, rest) = name(rest);
                match self.names(node).remove(old) {
                    Some(moved) => {
                        self.names(to.newdir).insert(name(rest).0.to_vec(), moved);
                        done()
                    }
                    None => Reply::Error(ENOENT),
                }
            }
            LINK => {
                let (old, rest) = args::<fuse_link_in>(body);
                self.node(old.oldnodeid).links += 1;
                self.names(node).insert(name(rest).0.to_vec(), old.oldnodeid);
                Reply::body(&self.entry(old.oldnodeid))
            }
            OPEN | OPENDIR => Reply::body(&self.open(node)),
            CREATE => {
                let (made, rest) = args::<fuse_create_in>(body);
                if self.find(node, name(rest).0).is_some() {
                    assert_ne!(made.flags & linux_raw_sys::general::O_EXCL, 0, "what is there is opened by its node");
                    return (Reply::Error(EEXIST), read);
                }
                let number = self.insert(node, name(rest).0, Kind::File(Vec::new()), made.mode);
                self.written.insert(number);
                let mut out = self.entry(number).as_bytes().to_vec();
                out.extend_from_slice(self.open(number).as_bytes());
                Reply::Body(out)
            }
            READ => {
                let (wanted, _) = args::<fuse_read_in>(body);
                let data = self.file_of(wanted.fh).expect("an open file");
                let start = usize::try_from(wanted.offset).expect("small").min(data.len());
                let end = (start + wanted.size as usize).min(data.len());
                read = data[start..end].to_vec();
                let size = u32::try_from(read.len()).expect("small");
                Reply::body(&fuse_write_out { size, padding: 0 })
            }
            WRITE => {
                let (wanted, _) = args::<fuse_write_in>(body);
                self.written.insert(node);
                let append = wanted.flags & linux_raw_sys::general::O_APPEND != 0;
                let data = self.file_of(wanted.fh).expect("an open file");
                let start = if append { data.len() } else { usize::try_from(wanted.offset).expect("small") };
                let end = start + written.len();
                if data.len() < end {
                    data.resize(end, 0);
                }
                data[start..end].copy_from_slice(written);
                Reply::body(&fuse_write_out { size: wanted.size, padding: 0 })
            }
            READDIR | READDIRPLUS => {
                let (wanted, _) = args::<fuse_read_in>(body);
                Reply::Body(self.list(&wanted, header.opcode == READDIRPLUS))
            }
            RELEASE | RELEASEDIR => {
                let (released, _) = args::<fuse_abi::linux::fuse_release_in>(body);
                self.close(released.fh);
                done()
            }
            FORGET => {
                let (forgotten, _) = args::<fuse_abi::linux::fuse_batch_forget_in>(body);
                self.forgotten += forgotten.count;
                done()
            }
            STATFS => Reply::body(&fuse_statfs_out::default()),
            _ => Reply::Error(ENOSYS),
        };
        (reply, read)
    }
}
