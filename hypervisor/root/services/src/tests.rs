//! Tests of the services, through the pages that a shim would use.
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use bundle::{TreeEntry, TreeIndex, TreeNode};
use files::{Errno, Lower, Stack, Timestamp};
use fuse_abi::linux::{fuse_entry_out, fuse_in_header, fuse_open_out, fuse_out_header, fuse_write_out};
use guestmem::GuestMemory;
use guestmem::double::VecMemory;
use proto::layout::WINDOW_SLOT;
use proto::{MAX_SEGMENTS, MESSAGE_OFFSET, Segment, ServiceRequest};
use tlfs::addr::Gpa;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::{AllowAll, Authority, Console, ConsoleRead, Entropy, Limits, Served, Services, Stream, Window};

mod changes;
mod file_rules;
mod files_service;
mod hostile;
mod other_services;
mod taints;
mod wire;

/// Where the service pages are in the test's memory; data pages begin at 0.
const SERVICE: Gpa = Gpa(0x10_0000);
const MEMORY: usize = 0x20_0000;

const FILE_LIMITS: files::Limits = files::Limits { bytes: 1 << 20, inodes: 100, references: 50 };

const LIMITS: Limits = Limits { handles: 20 };

/// A console that keeps what it gets and gives what it was given.
#[derive(Default)]
struct Tape {
    output: Vec<u8>,
    error: Vec<u8>,
    input: Vec<u8>,
    closed: bool,
    window: Option<(u16, u16)>,
}

impl Console for Tape {
    fn write(&mut self, stream: Stream, data: &[u8]) {
        match stream {
            Stream::Output => self.output.extend_from_slice(data),
            Stream::Error => self.error.extend_from_slice(data),
        }
    }

    fn read(&mut self, buf: &mut [u8]) -> ConsoleRead {
        let count = buf.len().min(self.input.len());
        match count {
            0 if self.closed => ConsoleRead::EndOfFile,
            0 => ConsoleRead::NothingYet,
            _ => {
                buf[..count].copy_from_slice(&self.input[..count]);
                self.input.drain(..count);
                ConsoleRead::Bytes(count)
            }
        }
    }

    fn window(&self) -> Option<(u16, u16)> {
        self.window
    }
}

/// Counts up.
#[derive(Default)]
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// Where the window is, of four slots.
const WINDOW: u64 = 0x18_0000;

impl<'t> Window<'t> for VecMemory {
    fn show(&mut self, offset: u64, pages: &'t [u8]) -> Result<(), Errno> {
        if !offset.is_multiple_of(WINDOW_SLOT) || offset >= 4 * WINDOW_SLOT {
            return Err(Errno::EINVAL);
        }
        self.write(Gpa(WINDOW + offset), pages).map_err(|_| Errno::EINVAL)
    }

    fn hide(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        let hidden = [0; 0x1_0000];
        let hidden = usize::try_from(len).ok().and_then(|len| hidden.get(..len)).ok_or(Errno::EINVAL)?;
        self.write(Gpa(WINDOW.wrapping_add(offset)), hidden).map_err(|_| Errno::EINVAL)
    }
}

/// A shim and the root that serves it.
struct Shim<'t, A = AllowAll> {
    services: Services<'t, A>,
    memory: VecMemory,
    console: Tape,
    entropy: Counter,
    segments: Vec<Segment>,
    /// Handles to close with the next request.
    closed: Vec<u64>,
    uid: u32,
    unique: u64,
}

/// `/dir/file` with 10,000 bytes `f`, `/dir/sub`, `/link -> dir/file`, `/tmp` (1777), `/private` (0700).
fn tree() -> (TreeIndex, Vec<u8>) {
    let entry = |parent, name: &str, mode, node| TreeEntry {
        parent,
        name: name.as_bytes().to_vec(),
        mode,
        uid: 0,
        gid: 0,
        mtime: 1000,
        node,
    };
    let entries = vec![
        entry(0, "", 0o755, TreeNode::Directory),
        entry(0, "dir", 0o755, TreeNode::Directory),
        entry(1, "file", 0o644, TreeNode::File { offset: 0, len: 10_000 }),
        entry(1, "sub", 0o755, TreeNode::Directory),
        entry(0, "link", 0o777, TreeNode::Symlink { target: b"dir/file".to_vec() }),
        entry(0, "tmp", 0o1777, TreeNode::Directory),
        entry(0, "private", 0o700, TreeNode::Directory),
    ];
    (TreeIndex { entries }, vec![b'f'; 10_000])
}

/// Runs a test on a shim over [`tree`].
fn with_shim(test: impl FnOnce(&mut Shim<'_>)) {
    with_authority(AllowAll, test);
}

fn with_authority<A: Authority>(authority: A, test: impl FnOnce(&mut Shim<'_, A>)) {
    with_services(|stack| Services::with_authority(stack, LIMITS, authority), test);
}

fn with_services<A: Authority>(
    make: impl for<'t> FnOnce(Stack<'t>) -> Services<'t, A>,
    test: impl FnOnce(&mut Shim<'_, A>),
) {
    let (index, data) = tree();
    let stack = Stack::new(Rc::new(Lower::new(index, &data).unwrap()), FILE_LIMITS);
    test(&mut Shim {
        services: make(stack),
        memory: VecMemory::new(MEMORY),
        console: Tape::default(),
        entropy: Counter::default(),
        segments: Vec::new(),
        closed: Vec::new(),
        uid: 0,
        unique: 100,
    });
}

/// Structures and names, as they follow each other in a message.
macro_rules! message {
    ($($part:expr),* $(,)?) => {{
        let mut bytes = alloc::vec::Vec::<u8>::new();
        $(bytes.extend_from_slice(zerocopy::IntoBytes::as_bytes(&$part));)*
        bytes
    }};
}
use message;

impl<A: Authority> Shim<'_, A> {
    /// Puts a request into the service pages.
    fn put(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) {
        self.put_extended(opcode, nodeid, arguments, &[]);
    }

    /// The same with an extension.
    fn put_extended(&mut self, opcode: u32, nodeid: u64, arguments: &[u8], extension: &[u8]) {
        self.unique += 1;
        let len = u32::try_from(size_of::<fuse_in_header>() + arguments.len() + extension.len()).unwrap();
        let header = fuse_in_header {
            len,
            opcode,
            unique: self.unique,
            nodeid,
            uid: self.uid,
            gid: self.uid,
            total_extlen: u16::try_from(extension.len() / 8).unwrap(),
            ..Default::default()
        };
        let mut request = ServiceRequest::new_zeroed();
        request.message_len = len;
        request.segment_count = u32::try_from(self.segments.len()).unwrap();
        request.segments[..self.segments.len().min(MAX_SEGMENTS)].copy_from_slice(&self.segments);
        request.closed_count = u32::try_from(self.closed.len()).unwrap();
        request.closed[..self.closed.len()].copy_from_slice(&self.closed);
        self.closed.clear();
        self.memory.write(SERVICE, request.as_bytes()).unwrap();
        let message = Gpa(SERVICE.0 + MESSAGE_OFFSET as u64);
        self.memory.write(message, header.as_bytes()).unwrap();
        let mut behind = arguments.to_vec();
        behind.extend_from_slice(extension);
        self.memory.write(Gpa(message.0 + size_of::<fuse_in_header>() as u64), &behind).unwrap();
    }

    fn ring(&mut self) -> Served {
        let now = Timestamp { seconds: 2000, nanoseconds: 5 };
        self.services.serve(SERVICE, &mut self.memory, &mut self.console, &mut self.entropy, now)
    }

    fn reply_len(&self) -> usize {
        let mut request = ServiceRequest::new_zeroed();
        self.memory.read(SERVICE, request.as_mut_bytes()).unwrap();
        request.reply_len as usize
    }

    /// The reply in the service pages: its body or the errno.
    fn reply(&self) -> Result<Vec<u8>, i32> {
        let mut bytes = vec![0; self.reply_len()];
        self.memory.read(Gpa(SERVICE.0 + MESSAGE_OFFSET as u64), &mut bytes).unwrap();
        let (header, body) = fuse_out_header::read_from_prefix(&bytes).unwrap();
        assert_eq!(header.len as usize, bytes.len());
        assert_eq!(header.unique, self.unique);
        match header.error {
            0 => Ok(body.to_vec()),
            error => {
                assert!(body.is_empty() && (-4095..0).contains(&error));
                Err(-error)
            }
        }
    }

    /// One request that is replied to.
    fn call(&mut self, opcode: impl Into<Opcode>, nodeid: u64, arguments: &[u8]) -> Result<Vec<u8>, i32> {
        self.put(opcode.into().0, nodeid, arguments);
        let served = self.ring();
        assert!(matches!(served, Served::Replied), "{served:?}");
        self.reply()
    }

    /// One request whose reply is this structure.
    fn ask<T: FromBytes>(&mut self, opcode: impl Into<Opcode>, nodeid: u64, arguments: &[u8]) -> Result<T, i32> {
        let body = self.call(opcode, nodeid, arguments)?;
        assert_eq!(body.len(), size_of::<T>());
        Ok(T::read_from_bytes(&body).unwrap())
    }

    fn lookup(&mut self, dir: u64, name: &str) -> Result<fuse_entry_out, i32> {
        self.ask(fuse_abi::linux::fuse_opcode::FUSE_LOOKUP, dir, &message!(*name.as_bytes(), [0u8]))
    }

    /// The node of a path, looked up name by name.
    fn node(&mut self, path: &str) -> u64 {
        path.split('/').fold(1, |dir, name| self.lookup(dir, name).unwrap().nodeid)
    }

    fn open(&mut self, node: u64, flags: u32) -> Result<u64, i32> {
        let asked = fuse_abi::linux::fuse_open_in { flags, open_flags: 0 };
        let out: fuse_open_out = self.ask(fuse_abi::linux::fuse_opcode::FUSE_OPEN, node, &message!(asked))?;
        Ok(out.fh)
    }

    /// Data pages as segments: `lens` bytes of one page each, from GPA 0 on.
    fn close_with_next(&mut self, handles: &[u64]) {
        self.closed = handles.to_vec();
    }

    fn use_segments(&mut self, lens: &[u32]) {
        let pages = (0u64..).step_by(4096);
        self.segments = pages.zip(lens).map(|(gpa, &len)| Segment { gpa, len, reserved: 0 }).collect();
    }

    fn read(&mut self, fh: u64, offset: u64, size: u32) -> Result<u32, i32> {
        let asked = fuse_abi::linux::fuse_read_in { fh, offset, size, ..Default::default() };
        let out: fuse_write_out = self.ask(fuse_abi::linux::fuse_opcode::FUSE_READ, 0, &message!(asked))?;
        Ok(out.size)
    }

    fn write(&mut self, fh: u64, offset: u64, size: u32, flags: u32) -> Result<u32, i32> {
        let asked = fuse_abi::linux::fuse_write_in { fh, offset, size, flags, ..Default::default() };
        let out: fuse_write_out = self.ask(fuse_abi::linux::fuse_opcode::FUSE_WRITE, 0, &message!(asked))?;
        Ok(out.size)
    }

    /// What is in a data page, from its start.
    fn page(&self, number: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read(Gpa(number * 4096), &mut bytes).unwrap();
        bytes
    }

    fn fill_page(&mut self, number: u64, bytes: &[u8]) {
        self.memory.write(Gpa(number * 4096), bytes).unwrap();
    }
}

/// A FUSE opcode or one of Cordon's own.
struct Opcode(u32);

impl From<u32> for Opcode {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<fuse_abi::linux::fuse_opcode> for Opcode {
    fn from(opcode: fuse_abi::linux::fuse_opcode) -> Self {
        Self(opcode as u32)
    }
}

/// As bytes, for a message.
fn bytes_of<T: IntoBytes + Immutable>(value: &T) -> Vec<u8> {
    value.as_bytes().to_vec()
}
