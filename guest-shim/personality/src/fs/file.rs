//! Open files ("open file descriptions"): what descriptors and mappings share.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use fuse_abi::linux::{
    fuse_opcode, fuse_read_in, fuse_removemapping_one, fuse_setupmapping_in, fuse_write_in, fuse_write_out,
};
use linux_raw_sys::general::{
    IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, O_ACCMODE, O_APPEND, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY,
};
use proto::Segment;
use proto::layout::WINDOW_SLOT;
use zerocopy::{Immutable, IntoBytes};

use super::asynchronous::Asynchronous;
use super::dentry::Place;
use super::dev::Device;
use super::fuse::{Fuse, Gone, Leftovers};
use super::inode::{Inode, Shown};
use super::inotify::happened;
use super::locks::Lock;
use super::special::Special;
use crate::errno::Errno;
use crate::mm::object::Object;
use crate::mm::space::Source;
use crate::mm::window::{Claim, block_of};
use crate::num::len32;
use crate::platform::{PAGE, Platform};

/// FUSE_SETUPMAPPING_FLAG_READ.
const SETUPMAPPING_READ: u64 = 1 << 1;
/// Reads of this many bytes have a file shown that is not yet.
const SHOWN_READ: u64 = 4 * PAGE;

/// One name of a directory that the shim lists itself.
pub struct ListedName {
    /// Inode number.
    pub inode: u64,
    /// File type bits of `st_mode`.
    pub mode: u32,
    /// The name.
    pub name: Box<[u8]>,
}

/// A file in memory.
pub struct MemoryFile {
    /// Its inode number.
    pub number: u64,
    /// Permission bits.
    pub mode: Cell<u32>,
    /// Its pages.
    pub object: Rc<Object>,
}

/// What is open.
pub enum FileKind {
    /// A regular file of the root's.
    Regular {
        /// Its node.
        inode: Rc<Inode>,
        /// The root's handle.
        handle: u64,
    },
    /// A directory of the root's.
    Directory {
        /// Its node.
        inode: Rc<Inode>,
        /// The root's handle.
        handle: u64,
    },
    /// A directory of the shim's own, as it was when it was opened.
    Listing(Vec<ListedName>),
    /// A device of the shim's own.
    Device(Device),
    /// A console stream (0 input, 1 output, 2 error).
    Console(u32),
    /// Something of the shim's own without positions: a pipe, a socket, an event descriptor.
    Special(Rc<dyn Special>),
    /// A file in memory of the shim's own (memfd_create).
    Memory(Rc<MemoryFile>),
    /// A signalfd, with the signals that it is for.
    Signals(Cell<u64>),
    /// A text of the shim's own, as it was when it was opened.
    Text(Box<[u8]>),
    /// Only a place (O_PATH).
    Path,
}

/// An open file.
pub struct OpenFile {
    /// What is open.
    pub kind: FileKind,
    /// Where it was found; `None` for pipes and the console.
    pub place: Option<Place>,
    status: Cell<u32>,
    offset: Cell<u64>,
    leftovers: Leftovers,
    /// The lock that it holds (flock).
    pub lock: RefCell<Option<Lock>>,
    /// What ends its own locks on ranges with it.
    pub range_locks: RefCell<Option<super::records::Guard>>,
    /// Its signals, if somebody has asked about them.
    pub asynchronous: RefCell<Option<Rc<Asynchronous>>>,
}

impl OpenFile {
    /// An open file with `status` (O_* flags).
    #[must_use]
    pub fn new(kind: FileKind, place: Option<Place>, status: u32, leftovers: Leftovers) -> Rc<Self> {
        if let FileKind::Regular { inode, .. } | FileKind::Directory { inode, .. } = &kind {
            inode.marks().opens();
        }
        let file = Self {
            kind,
            place,
            status: Cell::new(status),
            offset: Cell::new(0),
            leftovers,
            lock: RefCell::new(None),
            range_locks: RefCell::new(None),
            asynchronous: RefCell::new(None),
        };
        if let FileKind::Regular { inode, .. } = &file.kind
            && file.writable()
        {
            inode.opened_to_write();
        }
        Rc::new(file)
    }

    /// Whoever watches the file, or its directory, hears of this (IN_*).
    pub fn happened(&self, mask: u32) {
        if let (Some(place), FileKind::Regular { .. } | FileKind::Directory { .. }) = (&self.place, &self.kind) {
            happened(place, mask);
        }
    }

    /// O_* flags.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.status.get()
    }

    /// Changes the O_* flags.
    pub fn set_status(&self, status: u32) {
        self.status.set(status);
    }

    /// Opened for reading?
    #[must_use]
    pub fn readable(&self) -> bool {
        !matches!(self.kind, FileKind::Path) && matches!(self.status() & O_ACCMODE, O_RDONLY | O_RDWR)
    }

    /// Opened for writing?
    #[must_use]
    pub fn writable(&self) -> bool {
        !matches!(self.kind, FileKind::Path) && matches!(self.status() & O_ACCMODE, O_WRONLY | O_RDWR)
    }

    /// O_NONBLOCK?
    #[must_use]
    pub fn nonblocking(&self) -> bool {
        self.status() & O_NONBLOCK != 0
    }

    /// O_APPEND?
    #[must_use]
    pub fn appends(&self) -> bool {
        self.status() & O_APPEND != 0
    }

    /// The position of the next read or write.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset.get()
    }

    /// Moves the position.
    pub fn set_offset(&self, offset: u64) {
        self.offset.set(offset);
    }

    /// The node, if the file is the root's.
    #[must_use]
    pub fn inode(&self) -> Option<&Rc<Inode>> {
        match &self.kind {
            FileKind::Regular { inode, .. } | FileKind::Directory { inode, .. } => Some(inode),
            _ => None,
        }
    }

    /// Reads from a regular file at `offset` straight into frames. Fewer bytes than asked: the end of the file.
    ///
    /// # Errors
    /// EINVAL if it is no regular file; what the root says.
    pub fn read_segments<P: Platform>(
        &self,
        source: &mut Source<'_, P>,
        offset: u64,
        segments: &[Segment],
    ) -> Result<u64, Errno> {
        if let Some(cache) = self.inode().and_then(|inode| inode.cache()) {
            let range = offset..offset.saturating_add(bytes(segments));
            cache.write_back(source.fuse, source.platform, &range)?;
        }
        if let Some(count) = self.copy_shown(source, offset, segments) {
            return Ok(count);
        }
        self.request_read(source.fuse, source.platform, offset, segments)
    }

    /// The page at `offset` (a whole number of pages) in the window, if the root shows it there, and the bytes shown from it on.
    /// It is asked to if it does not yet; `evict`: even if something else has to make room.
    pub fn window_page<P: Platform>(&self, source: &mut Source<'_, P>, offset: u64, evict: bool) -> Option<(u64, u64)> {
        let FileKind::Regular { inode, handle } = &self.kind else { return None };
        // What is mapped shared may have been changed without the root's knowing.
        if inode.shown() == Shown::Never || !self.readable() || inode.cache().is_some() {
            return None;
        }
        let (block, at) = block_of(offset);
        let key = (inode.number(), block);
        let (slot, len) = match source.frames.window.find(key) {
            Some(found) => found,
            None => {
                let size = source.fuse.attributes(source.platform, inode).ok()?.size;
                let start = block * WINDOW_SLOT;
                let len = size.checked_sub(start)?.checked_next_multiple_of(PAGE)?.min(WINDOW_SLOT);
                if at >= len {
                    return None;
                }
                let claim = source.frames.window.claim(evict)?;
                if !show(source, inode, *handle, start, len, &claim) {
                    source.frames.window.give_back(&claim);
                    inode.set_shown(Shown::Never);
                    return None;
                }
                (source.frames.window.shows(claim.offset, key, len), len)
            }
        };
        (at < len).then(|| (slot + at, len - at))
    }

    /// Reads what the window shows; `None` if it does not show all of it. A short read is left to the root: it costs no more than
    /// asking to be shown the file.
    fn copy_shown<P: Platform>(&self, source: &mut Source<'_, P>, offset: u64, segments: &[Segment]) -> Option<u64> {
        let FileKind::Regular { inode, .. } = &self.kind else { return None };
        let long = bytes(segments) >= SHOWN_READ;
        if inode.shown() == Shown::Never || (inode.shown() == Shown::Unknown && !long) {
            return None;
        }
        let size = source.fuse.attributes(source.platform, inode).ok()?.size;
        let end = offset.checked_add(bytes(segments))?.min(size);
        let mut at = offset;
        while at < end {
            let page = at - at % PAGE;
            if !long {
                let (block, _) = block_of(page);
                source.frames.window.find((inode.number(), block))?;
            }
            let (_, shown) = self.window_page(source, page, false)?;
            at = page + shown;
        }
        let mut at = offset;
        for segment in segments {
            let mut filled = 0;
            let len = u64::from(segment.len).min(end.saturating_sub(at));
            while filled < len {
                let within = at % PAGE;
                let (page, _) = self.window_page(source, at - within, false)?;
                let piece = (PAGE - within).min(len - filled);
                source.platform.copy(page + within, segment.gpa + filled, crate::num::index(piece));
                filled += piece;
                at += piece;
            }
        }
        Some(at - offset)
    }

    /// The same, past the pages that are mapped shared.
    ///
    /// # Errors
    /// As [`OpenFile::read_segments`].
    pub fn request_read<P: Platform>(
        &self,
        fuse: &mut Fuse,
        platform: &mut P,
        offset: u64,
        segments: &[Segment],
    ) -> Result<u64, Errno> {
        let flags = self.status();
        self.request(fuse, platform, fuse_opcode::FUSE_READ, segments, |fh, size| fuse_read_in {
            fh,
            offset,
            size,
            flags,
            ..Default::default()
        })
    }

    /// Writes to a regular file at `offset`, or its end if it appends, straight from frames; how many bytes were taken.
    ///
    /// # Errors
    /// EINVAL if it is no regular file; what the root says.
    pub fn write_segments<P: Platform>(
        &self,
        source: &mut Source<'_, P>,
        offset: u64,
        segments: &[Segment],
    ) -> Result<u64, Errno> {
        let cache = self.inode().and_then(|inode| inode.cache());
        let range = if self.appends() { 0..u64::MAX } else { offset..offset.saturating_add(bytes(segments)) };
        if let Some(cache) = &cache {
            cache.write_back(source.fuse, source.platform, &range)?;
        }
        let written = self.put(source.fuse, source.platform, offset, segments, self.status())?;
        if let Some(cache) = &cache {
            cache.read_again(source.fuse, source.platform, &range)?;
        }
        Ok(written)
    }

    /// Writes at `offset`, whether it appends or not, past the pages that are mapped shared.
    ///
    /// # Errors
    /// As [`OpenFile::write_segments`].
    pub fn request_write<P: Platform>(
        &self,
        fuse: &mut Fuse,
        platform: &mut P,
        offset: u64,
        segments: &[Segment],
    ) -> Result<u64, Errno> {
        self.put(fuse, platform, offset, segments, self.status() & !O_APPEND)
    }

    fn put<P: Platform>(
        &self,
        fuse: &mut Fuse,
        platform: &mut P,
        offset: u64,
        segments: &[Segment],
        flags: u32,
    ) -> Result<u64, Errno> {
        if let Some(inode) = self.inode() {
            inode.changed();
            fuse.content_changes(inode);
        }
        self.request(fuse, platform, fuse_opcode::FUSE_WRITE, segments, |fh, size| fuse_write_in {
            fh,
            offset,
            size,
            flags,
            ..Default::default()
        })
    }

    /// A request that moves bytes between the file and `segments`; how many. `args` makes its arguments of the handle and the
    /// number of bytes.
    fn request<P: Platform, A: IntoBytes + Immutable>(
        &self,
        fuse: &mut Fuse,
        platform: &mut P,
        opcode: fuse_opcode,
        segments: &[Segment],
        args: impl FnOnce(u64, u32) -> A,
    ) -> Result<u64, Errno> {
        let FileKind::Regular { inode, handle } = &self.kind else { return Err(Errno::EINVAL) };
        let size = len32(crate::num::index(bytes(segments)));
        let args = args(*handle, size);
        let len = fuse.request(platform, opcode as u32, inode.number(), &args, &[], segments)?;
        let out: fuse_write_out = Fuse::reply(platform, len)?;
        Ok(u64::from(out.size.min(size)))
    }

    /// Reads a few bytes of a regular file by way of one frame.
    ///
    /// # Errors
    /// As [`OpenFile::read_segments`]; ENOMEM.
    pub fn read_bytes<P: Platform>(
        &self,
        source: &mut Source<'_, P>,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        // What is read so is about to be mapped.
        let _ = self.window_page(source, offset - offset % PAGE, true);
        let frame = source.frames.take(source.platform)?;
        let mut done = 0;
        let mut result = Ok(());
        for piece in out.chunks_mut(crate::platform::PAGE_SIZE) {
            let segment = Segment { gpa: frame, len: len32(piece.len()), reserved: 0 };
            match self.read_segments(source, offset + done as u64, &[segment]) {
                Ok(count) => {
                    let count = crate::num::index(count);
                    piece[..count].copy_from_slice(&source.platform.frame(frame)[..count]);
                    done += count;
                    if count < piece.len() {
                        break;
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        source.frames.give(source.platform, frame);
        result.map(|()| done)
    }
}

/// Asks the root to show `len` bytes of a file from `start` on in a slot.
fn show<P: Platform>(
    source: &mut Source<'_, P>,
    inode: &Inode,
    handle: u64,
    start: u64,
    len: u64,
    claim: &Claim,
) -> bool {
    let Source { platform, fuse, .. } = source;
    if let Some(old) = claim.old_len {
        let one = fuse_removemapping_one { moffset: claim.offset, len: old };
        // The count, in front of the list.
        let args = [1_u32.as_bytes(), one.as_bytes()].concat();
        let opcode = fuse_opcode::FUSE_REMOVEMAPPING as u32;
        if fuse.request(*platform, opcode, inode.number(), args.as_slice(), &[], &[]).is_err() {
            return false;
        }
    }
    let flags = SETUPMAPPING_READ;
    let args = fuse_setupmapping_in { fh: handle, foffset: start, len, flags, moffset: claim.offset };
    let opcode = fuse_opcode::FUSE_SETUPMAPPING as u32;
    let shown = fuse.request(*platform, opcode, inode.number(), &args, &[], &[]).is_ok();
    if shown {
        inode.set_shown(Shown::Yes);
    }
    shown
}

/// Bytes in all.
fn bytes(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let (inode, handle, directory) = match &self.kind {
            FileKind::Regular { inode, handle } => (inode, *handle, false),
            FileKind::Directory { inode, handle } => (inode, *handle, true),
            _ => return,
        };
        // What has no name takes room while it is open, and what others have is theirs to have back.
        let soon = inode.is_volatile() || !inode.is_named();
        let written = !directory && self.writable();
        let gone = Gone::Handle { node: inode.number(), handle, directory, written, soon };
        self.leftovers.borrow_mut().push(gone);
        self.happened(if self.writable() { IN_CLOSE_WRITE } else { IN_CLOSE_NOWRITE });
        inode.marks().closes();
        if written {
            inode.closed_to_write();
        }
    }
}
