//! Tests of the stack: what they share. [`model`] compares it with this machine's own file system.
use alloc::rc::Rc;
use alloc::vec::Vec;

use bundle::{TreeEntry, TreeIndex, TreeNode};
use seeded::Random;

use crate::{Attr, Context, Errno, Ino, Limits, Lower, Stack, Timestamp};

mod bad_server;
mod binds;
mod changes;
mod content;
mod folder_changes;
mod layers;
mod model;
mod names;
mod rights;
mod tree;
mod xattrs;

/// Ample limits.
const LIMITS: Limits = Limits { bytes: 16 << 20, inodes: 4096, references: 4096 };
/// The time of everything in the lower tree.
const LOWER_TIME: i64 = 1000;

/// User 0 at a second of the test's choosing.
fn root(seconds: i64) -> Context<'static> {
    Context { uid: 0, gid: 0, groups: &[], now: Timestamp { seconds, nanoseconds: 0 } }
}

/// An ordinary user.
fn user(id: u32) -> Context<'static> {
    Context { uid: id, gid: id, groups: &[], now: Timestamp { seconds: 5000, nanoseconds: 0 } }
}

/// A lower tree in the making.
struct Builder {
    index: TreeIndex,
    data: Vec<u8>,
    owner: (u32, u32),
}

impl Builder {
    fn new() -> Self {
        Self::owned_by(0, 0)
    }

    fn owned_by(uid: u32, gid: u32) -> Self {
        let mut builder = Self { index: TreeIndex::default(), data: Vec::new(), owner: (uid, gid) };
        builder.add(0, "", 0o755, TreeNode::Directory);
        builder
    }

    /// Adds an entry; its index.
    fn add(&mut self, parent: u32, name: &str, mode: u32, node: TreeNode) -> u32 {
        let (uid, gid) = self.owner;
        let name = name.as_bytes().to_vec();
        self.index.entries.push(TreeEntry { parent, name, mode, uid, gid, mtime: LOWER_TIME, node });
        u32::try_from(self.index.entries.len() - 1).unwrap()
    }

    fn dir(&mut self, parent: u32, name: &str) -> u32 {
        self.add(parent, name, 0o755, TreeNode::Directory)
    }

    fn file(&mut self, parent: u32, name: &str, bytes: &[u8]) -> u32 {
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(4096), 0xee);
        self.add(parent, name, 0o644, TreeNode::File { offset, len: bytes.len() as u64 })
    }

    fn link(&mut self, parent: u32, name: &str, target: &str) -> u32 {
        self.add(parent, name, 0o777, TreeNode::Symlink { target: target.as_bytes().to_vec() })
    }

    /// One more name of the file that entry `first` is.
    fn hard_link(&mut self, parent: u32, name: &str, first: u32) -> u32 {
        self.add(parent, name, 0, TreeNode::Link { first })
    }

    fn stack(&self) -> Stack<'_> {
        self.stack_with(LIMITS)
    }

    fn stack_with(&self, limits: Limits) -> Stack<'_> {
        Stack::new(self.lower(), limits)
    }

    fn lower(&self) -> Rc<Lower<'_>> {
        Rc::new(Lower::new(self.index.clone(), &self.data).unwrap())
    }
}

/// The tree that most tests start from: `etc/{passwd,link -> passwd}`, `usr/{bin/{sh,ls},empty}`, `tmp` (1777).
fn sample() -> Builder {
    let mut builder = Builder::new();
    let etc = builder.dir(0, "etc");
    builder.file(etc, "passwd", b"root:x:0:0\n");
    builder.link(etc, "link", "passwd");
    let usr = builder.dir(0, "usr");
    let bin = builder.dir(usr, "bin");
    builder.file(bin, "sh", &[7; 10_000]);
    builder.file(bin, "ls", b"ls");
    builder.dir(usr, "empty");
    builder.add(0, "tmp", 0o1777, TreeNode::Directory);
    builder
}

/// Looks a path up, name by name, without following links.
fn walk(stack: &Stack<'_>, ctx: &Context, path: &str) -> Result<Ino, Errno> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .try_fold(Ino::ROOT, |dir, name| stack.lookup(ctx, dir, name.as_bytes()))
}

fn at(stack: &Stack<'_>, path: &str) -> Ino {
    walk(stack, &root(0), path).unwrap()
}

fn attr(stack: &Stack<'_>, path: &str) -> Attr {
    stack.attr(at(stack, path)).unwrap()
}

/// Everything in a file.
fn contents(stack: &Stack<'_>, ino: Ino) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = usize::try_from(stack.attr(ino).unwrap().size).unwrap();
    let read = stack.read(ino, 0, size, |run| {
        bytes.extend_from_slice(run);
        Ok(())
    });
    assert_eq!(read, Ok(size));
    bytes
}

/// Writes bytes at an offset.
fn write(stack: &mut Stack<'_>, ctx: &Context, ino: Ino, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
    let mut rest = bytes;
    stack.write(ctx, ino, Some(offset), bytes.len(), |run| {
        let (now, later) = rest.split_at(run.len());
        run.copy_from_slice(now);
        rest = later;
        Ok(())
    })
}

/// The names in a directory, in reading order, without `.` and `..`.
fn list(stack: &Stack<'_>, dir: Ino) -> Vec<Vec<u8>> {
    let end = stack.directory_end(dir).unwrap();
    let mut names = Vec::new();
    let mut offset = 2;
    while let Some(entry) = stack.next_entry(dir, offset, end).unwrap() {
        names.push(entry.name.to_vec());
        offset = entry.next;
    }
    names
}
