//! Requests that read directories.
use files::{Access, Context, DirEntry, Errno, Ino, Stack};
use fuse_abi::linux as fuse;
use fuse_abi::linux::{__IncompleteArrayField, fuse_dirent, fuse_entry_out, fuse_open_in, fuse_read_in};

use super::handles::Handle;
use super::{Call, FileService};
use crate::authorise::{Authority, Object, Right};
use crate::request::put;

/// Each entry starts at a multiple of this (FUSE_DIRENT_ALIGN).
const ALIGN: usize = 8;

/// A reading of a directory: where it stands, and the reply as far as it is filled.
struct Listing<'a> {
    ctx: Context<'a>,
    dir: Ino,
    offset: u64,
    end: u64,
    body: &'a mut [u8],
    used: usize,
}

impl Listing<'_> {
    /// Room for the next entry with this name, behind a prefix of `before` bytes; nothing if it does not fit.
    fn room(&mut self, before: usize, name: &[u8]) -> Option<&mut [u8]> {
        let len = (before + size_of::<fuse_dirent>() + name.len()).next_multiple_of(ALIGN);
        let room = self.body.get_mut(self.used..self.used + len)?;
        self.used += len;
        Some(room)
    }

    /// Where no further entry fits: the end of the reply, or an error if it is empty.
    fn full(&self) -> Result<usize, Errno> {
        if self.used == 0 { Err(Errno::EINVAL) } else { Ok(self.used) }
    }
}

/// Writes one entry: its header, its name, zeros up to the next one.
fn put_entry(room: &mut [u8], entry: &DirEntry<'_>) -> Result<(), Errno> {
    let header = fuse_dirent {
        ino: entry.ino.0,
        off: entry.next,
        namelen: u32::try_from(entry.name.len()).map_err(|_| Errno::ENAMETOOLONG)?,
        type_: entry.kind.dirent_type(),
        name: __IncompleteArrayField::new(),
    };
    let header_len = put(room, &header)?;
    let (name, padding) = room
        .get_mut(header_len..)
        .and_then(|behind| behind.split_at_mut_checked(entry.name.len()))
        .ok_or(Errno::EINVAL)?;
    name.copy_from_slice(&entry.name);
    padding.fill(0);
    Ok(())
}

impl<A: Authority> FileService<'_, A> {
    pub(super) fn opendir(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let _: fuse_open_in = call.arguments.only()?;
        self.allow(Right::Read, Object::Inode(call.node))?;
        let end = self.stack.directory_end(call.node)?;
        self.stack.access(&call.ctx, call.node, Access::READ)?;
        let handle = Handle::Directory { ino: call.node, end };
        let out = self.new_handle(handle, fuse::FOPEN_KEEP_CACHE | fuse::FOPEN_CACHE_DIR)?;
        put(call.body, &out)
    }

    pub(super) fn readdir(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let mut listing = self.listing(call)?;
        while let Some(entry) = self.stack.next_entry(listing.dir, listing.offset, listing.end)? {
            if !self.is_shown(listing.dir, &entry.name) {
                listing.offset = entry.next;
                continue;
            }
            let Some(room) = listing.room(0, &entry.name) else {
                return listing.full();
            };
            put_entry(room, &entry)?;
            listing.offset = entry.next;
        }
        Ok(listing.used)
    }

    pub(super) fn readdirplus(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let mut listing = self.listing(call)?;
        let plus = size_of::<fuse_entry_out>();
        while let Some(entry) = self.stack.next_entry(listing.dir, listing.offset, listing.end)? {
            let (ino, next) = (entry.ino, entry.next);
            if !self.is_shown(listing.dir, &entry.name) {
                listing.offset = next;
                continue;
            }
            let told = !matches!(&*entry.name, b"." | b"..");
            // The number of what a folder of the host holds stands for something once it has been looked up only.
            let found = if told && Stack::is_volatile(ino) {
                self.stack.lookup(&listing.ctx, listing.dir, &entry.name).ok()
            } else {
                told.then_some(ino)
            };
            let (dir, name) = (listing.dir, entry.name.to_vec());
            let before = listing.used;
            let Some(room) = listing.room(plus, &entry.name) else {
                return listing.full();
            };
            put_entry(room.get_mut(plus..).unwrap_or(&mut []), &entry)?;
            let found = match found {
                Some(ino) => self.tell(dir, &name, ino, room),
                None => put(room, &fuse_entry_out::default()),
            };
            if let Err(error) = found {
                // No more can be remembered: what went before counts.
                return if before == 0 { Err(error) } else { Ok(before) };
            }
            listing.offset = next;
        }
        Ok(listing.used)
    }

    /// Whether a directory's reader may learn of this entry.
    fn is_shown(&self, dir: Ino, name: &[u8]) -> bool {
        matches!(name, b"." | b"..") || self.shows(dir, name)
    }

    /// Starts to read where the request says. Reading from the start sees what is there now.
    fn listing<'a>(&mut self, call: Call<'a>) -> Result<Listing<'a>, Errno> {
        let asked: fuse_read_in = call.arguments.only()?;
        let dir = self.handles.get(asked.fh)?.ino();
        let now = self.stack.directory_end(dir)?;
        let (dir, end) = self.handles.directory(asked.fh)?;
        if asked.offset == 0 {
            *end = now;
        }
        let size = (asked.size as usize).min(call.body.len());
        let body = call.body.get_mut(..size).ok_or(Errno::EINVAL)?;
        Ok(Listing { ctx: call.ctx, dir, offset: asked.offset, end: *end, body, used: 0 })
    }
}
