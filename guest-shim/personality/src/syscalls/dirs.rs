//! getdents64, and getdents in its old form.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fuse_abi::linux::{fuse_entry_out, fuse_opcode, fuse_read_in};
use proto::MESSAGE_LEN;
use zerocopy::{FromBytes, IntoBytes};

use super::Args;
use crate::abi::{DIRENT_NAME, DirentHead};
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::Dentry;
use crate::fs::file::{FileKind, ListedName, OpenFile};
use crate::fs::fuse::Fuse;
use crate::kernel::Kernel;
use crate::num::{index, len32};
use crate::platform::Platform;

/// Bytes of `struct fuse_dirent` before the name.
const FUSE_NAME: usize = 24;
/// Bytes of `struct fuse_direntplus` before that.
const FUSE_ENTRY: usize = size_of::<fuse_entry_out>();
/// Bytes that a program has to have room for, if more than names are to be listed: each name takes so much more then that few would fit.
const ROOM_AHEAD: usize = 4096;
/// The longest listing: what a message's header leaves.
const LONGEST_AHEAD: usize = MESSAGE_LEN - 64;
/// Room for the longest name in a FUSE directory listing.
const FUSE_LONGEST: usize = FUSE_NAME + 256;

/// Bytes of `struct linux_dirent` before the name.
const OLD_NAME: usize = 18;

/// How a program is told of names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `struct linux_dirent64`.
    New,
    /// `struct linux_dirent` (getdents(2)): without the type's own field; it stands in the last byte.
    Old,
}

/// A directory listing in the form that the program gets.
struct Listing {
    bytes: Vec<u8>,
    room: usize,
    form: Form,
}

impl Listing {
    /// Adds a name if it fits. `next`: the position after it.
    fn push(&mut self, inode: u64, next: u64, kind: u8, name: &[u8]) -> bool {
        let (fixed, end) = match self.form {
            Form::New => (DIRENT_NAME, 1),
            Form::Old => (OLD_NAME, 2),
        };
        let len = (fixed + name.len() + end).next_multiple_of(8);
        if self.bytes.len() + len > self.room {
            return false;
        }
        let reclen = u16::try_from(len).unwrap_or(u16::MAX);
        let head = DirentHead { d_ino: inode, d_off: next, d_reclen: reclen, d_type: kind, name: [0; 5] };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head.as_bytes().get(..fixed).unwrap_or(&[]));
        self.bytes.extend_from_slice(name);
        self.bytes.resize(start + len, 0);
        if let (Form::Old, Some(last)) = (self.form, self.bytes.last_mut()) {
            *last = kind;
        }
        true
    }
}

pub(super) fn getdents64<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    list(kernel, args, Form::New)
}

pub(super) fn getdents<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    list(kernel, args, Form::Old)
}

fn list<P: Platform>(kernel: &mut Kernel<P>, args: &Args, form: Form) -> Outcome {
    let (file, out, room) = (kernel.file(args.int(0))?, args.get(1), index(u64::from(args.uint(2))));
    let mut listing = Listing { bytes: Vec::new(), room, form };
    let (next, more) = match &file.kind {
        FileKind::Directory { .. } => from_root(kernel, &file, &mut listing)?,
        FileKind::Listing(names) => from_names(names, file.offset(), &mut listing),
        FileKind::Path => return Err(Errno::EBADF.into()),
        _ => return Err(Errno::ENOTDIR.into()),
    };
    if listing.bytes.is_empty() && more {
        return Err(Errno::EINVAL.into());
    }
    kernel.copy_out(out, &listing.bytes)?;
    file.set_offset(next);
    file.happened(linux_raw_sys::general::IN_ACCESS);
    Ok(listing.bytes.len() as u64)
}

/// The position after what fitted, and whether there was more.
fn from_names(names: &[ListedName], offset: u64, listing: &mut Listing) -> (u64, bool) {
    let mut at = offset;
    for name in names.iter().skip(index(offset)) {
        let kind = u8::try_from(name.mode >> 12).unwrap_or(0);
        if !listing.push(name.inode, at + 1, kind, &name.name) {
            return (at, true);
        }
        at += 1;
    }
    (at, false)
}

fn from_root<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    listing: &mut Listing,
) -> Result<(u64, bool), Errno> {
    let FileKind::Directory { inode, handle } = &file.kind else { return Err(Errno::ENOTDIR) };
    let ahead = listing.room >= ROOM_AHEAD && !inode.is_volatile() && kernel.names.wants_ahead();
    let place = file.place.as_ref().filter(|_| ahead);
    let (opcode, head, longest) = match place {
        Some(_) => (fuse_opcode::FUSE_READDIRPLUS, FUSE_ENTRY, LONGEST_AHEAD),
        None => (fuse_opcode::FUSE_READDIR, 0, MESSAGE_LEN / 2),
    };
    // An entry takes no more room in the program's form than in FUSE's.
    let size = listing.room.clamp(FUSE_LONGEST, longest);
    let args = fuse_read_in { fh: *handle, offset: file.offset(), size: len32(size), ..Default::default() };
    let Kernel { platform, fuse, names, .. } = kernel;
    let len = fuse.request(platform, opcode as u32, inode.number(), &args, &[], &[])?;
    inode.lists();
    let mut rest = Fuse::body(platform, len);
    let (mut next, mut full) = (file.offset(), false);
    while let Some((told, behind)) = rest.split_at_checked(head)
        && let Some((entry, name, after)) = split_entry(behind)
    {
        if let Some(place) = place
            && let Ok(told) = fuse_entry_out::read_from_bytes(told)
            && let Some(found) = fuse.adopt(&told)
            && !names.knows(inode.number(), name)
        {
            names.put_ahead(inode.number(), name, Dentry::of_file(place, name, found));
        }
        full = full || !listing.push(entry.inode, entry.next, entry.kind, name);
        if !full {
            next = entry.next;
        }
        rest = after;
    }
    Ok((next, full))
}

/// The fixed part of `struct fuse_dirent`.
struct Entry {
    inode: u64,
    next: u64,
    kind: u8,
}

fn split_entry(bytes: &[u8]) -> Option<(Entry, &[u8], &[u8])> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word));
    let half = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word));
    let (inode, next) = (word(0)?, word(8)?);
    let (len, kind) = (half(16)? as usize, u8::try_from(half(20)? & 15).ok()?);
    let end = FUSE_NAME.checked_add(len)?;
    let name = bytes.get(FUSE_NAME..end)?;
    let rest = bytes.get(end.next_multiple_of(8)..).unwrap_or(&[]);
    Some((Entry { inode, next, kind }, name, rest))
}
