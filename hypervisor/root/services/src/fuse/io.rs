//! Requests on open files: opening, bytes, closing.
use files::{Access, Context, Errno, Ino, Kind, SetAttr};
use fuse_abi::linux as fuse;
use fuse_abi::linux::{
    fuse_create_in, fuse_entry_out, fuse_fallocate_in, fuse_flush_in, fuse_fsync_in, fuse_lseek_in, fuse_lseek_out,
    fuse_open_in, fuse_open_out, fuse_read_in, fuse_release_in, fuse_write_in, fuse_write_out,
};
use guestmem::GuestMemory;
use linux_raw_sys::general as linux;
use proto::Segment;

use super::handles::Handle;
use super::{Call, FileService};
use crate::authorise::{Authority, Name, Object, Right};
use crate::changes::Changed;
use crate::request::put;
use crate::segments::Cursor;

/// Linux' `__FMODE_EXEC`: the file is opened to be executed.
const FMODE_EXEC: u32 = 0x20;

/// What a file without a name has the rights of.
const NAMELESS: &[u8] = b"#";

/// What the flags of open(2) ask for.
#[derive(Clone, Copy)]
struct OpenFlags {
    read: bool,
    write: bool,
    execute: bool,
    truncate: bool,
    directory: bool,
    exclusive: bool,
}

impl OpenFlags {
    fn new(flags: u32) -> Result<Self, Errno> {
        let (read, write) = match flags & linux::O_ACCMODE {
            linux::O_RDONLY => (true, false),
            linux::O_WRONLY => (false, true),
            linux::O_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        Ok(Self {
            read,
            write,
            execute: flags & FMODE_EXEC != 0,
            truncate: flags & linux::O_TRUNC != 0,
            directory: flags & linux::O_DIRECTORY != 0,
            exclusive: flags & linux::O_EXCL != 0,
        })
    }

    const fn writes(self) -> bool {
        self.write || self.truncate
    }

    /// The mode bits that it takes.
    fn access(self) -> Access {
        let parts = [
            (self.execute, Access::EXECUTE),
            (self.read && !self.execute, Access::READ),
            (self.writes(), Access::WRITE),
        ];
        parts.iter().filter(|(asked, _)| *asked).fold(Access::NONE, |sum, (_, access)| sum.and(*access))
    }

    /// The rights that it takes.
    fn rights(self) -> impl Iterator<Item = Right> {
        let parts =
            [(self.execute, Right::Execute), (self.read && !self.execute, Right::Read), (self.writes(), Right::Write)];
        parts.into_iter().filter_map(|(asked, right)| asked.then_some(right))
    }
}

impl<A: Authority> FileService<'_, A> {
    pub(super) fn open(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_open_in = call.arguments.only()?;
        let flags = OpenFlags::new(asked.flags)?;
        let out = self.open_existing(&call.ctx, call.node, flags)?;
        put(call.body, &out)
    }

    pub(super) fn create(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_create_in = call.arguments.take()?;
        let name = call.arguments.only_string()?;
        let flags = OpenFlags::new(asked.flags)?;
        self.check_room()?;
        self.handles.check_room()?;
        if !self.shows(call.node, name) {
            // The same for a hidden name, whether there is something or not.
            self.allow(Right::Create, Object::Entry { dir: call.node, name })?;
        }
        let (ino, out) = match self.stack.lookup(&call.ctx, call.node, name) {
            Ok(_) if flags.exclusive => return Err(Errno::EEXIST),
            Ok(ino) => (ino, self.open_by_name(&call, name, ino, flags)?),
            Err(Errno::ENOENT) => {
                self.allow(Right::Create, Object::Entry { dir: call.node, name })?;
                let ino = self.stack.mknod(&call.ctx, call.node, name, Kind::File, asked.mode)?;
                self.changed_name(Name { dir: call.node, name }, |_| Changed::Created(Kind::File));
                (ino, self.new_file_handle(ino, flags)?)
            }
            Err(error) => return Err(error),
        };
        self.tell_opened(name, ino, &out, call)
    }

    /// Opens what a name leads to, which the shim need not have looked up.
    fn open_by_name(
        &mut self,
        call: &Call<'_>,
        name: &[u8],
        ino: Ino,
        flags: OpenFlags,
    ) -> Result<fuse_open_out, Errno> {
        self.found(call.node, name, ino);
        let opened = self.open_existing(&call.ctx, ino, flags);
        self.drop_if_forgotten(ino);
        opened
    }

    /// A file without a name. What stands behind the arguments in the name's place says nothing.
    pub(super) fn tmpfile(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_create_in = call.arguments.take()?;
        let flags = OpenFlags::new(asked.flags)?;
        if !flags.write {
            return Err(Errno::EINVAL);
        }
        self.check_room()?;
        self.handles.check_room()?;
        self.allow(Right::Create, Object::Entry { dir: call.node, name: NAMELESS })?;
        let ino = self.stack.tmpfile(&call.ctx, call.node, asked.mode, !flags.exclusive)?;
        let out = self.new_file_handle(ino, flags)?;
        self.tell_opened(NAMELESS, ino, &out, call)
    }

    /// Replies with the entry of a name and the handle of its file, and counts the lookup. What cannot be told is not open: the request fails, and so nothing of
    /// the file is shown.
    fn tell_opened(&mut self, name: &[u8], ino: Ino, out: &fuse_open_out, call: Call<'_>) -> Result<usize, Errno> {
        let told = self.tell(call.node, name, ino, call.body);
        if told.is_err() {
            self.close(out.fh)?;
        }
        let entry_len = told?;
        let behind = call.body.get_mut(size_of::<fuse_entry_out>()..).ok_or(Errno::EINVAL)?;
        Ok(entry_len + put(behind, out)?)
    }

    fn open_existing(&mut self, ctx: &Context, ino: Ino, flags: OpenFlags) -> Result<fuse_open_out, Errno> {
        self.handles.check_room()?;
        for right in flags.rights() {
            self.allow(right, Object::Inode(ino))?;
        }
        match self.stack.check_open(ctx, ino, flags.access(), flags.writes())? {
            Kind::Directory => return Err(Errno::EISDIR),
            _ if flags.directory => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if flags.truncate {
            let empty = SetAttr { size: Some(0), ..SetAttr::default() };
            self.stack.setattr(ctx, ino, &empty, true)?;
            self.changed_inode(ino, Changed::Truncated(0));
        }
        self.new_file_handle(ino, flags)
    }

    fn new_file_handle(&mut self, ino: Ino, flags: OpenFlags) -> Result<fuse_open_out, Errno> {
        let handle = Handle::File { ino, readable: flags.read, writable: flags.write, written: None };
        self.new_handle(handle, fuse::FOPEN_KEEP_CACHE | fuse::FOPEN_NOFLUSH)
    }

    pub(super) fn new_handle(&mut self, handle: Handle, open_flags: u32) -> Result<fuse_open_out, Errno> {
        let fh = self.handles.open(handle)?;
        self.stack.opened(handle.ino());
        Ok(fuse_open_out { fh, open_flags, backing_id: 0 })
    }

    pub(super) fn read<M: GuestMemory>(
        &mut self,
        call: Call<'_>,
        segments: &[Segment],
        memory: &mut M,
    ) -> Result<usize, Errno> {
        let asked: fuse_read_in = call.arguments.only()?;
        let ino = self.handles.readable(asked.fh)?;
        let (mut cursor, len) = transfer(segments, asked.size)?;
        let read = self.stack.read(ino, asked.offset, len, |run| cursor.write(memory, run))?;
        put(call.body, &transferred(read))
    }

    pub(super) fn write<M: GuestMemory>(
        &mut self,
        call: Call<'_>,
        segments: &[Segment],
        memory: &mut M,
    ) -> Result<usize, Errno> {
        let asked: fuse_write_in = call.arguments.only()?;
        let ino = self.handles.writable(asked.fh)?;
        let (mut cursor, len) = transfer(segments, asked.size)?;
        let len = self.written.room(len)?;
        let offset = (asked.flags & linux::O_APPEND == 0).then_some(asked.offset);
        let written = self.stack.write(&call.ctx, ino, offset, len, |run| cursor.read(memory, run))?;
        self.written.add(written);
        self.handles.wrote(asked.fh, written as u64);
        put(call.body, &transferred(written))
    }

    pub(super) fn lseek(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_lseek_in = call.arguments.only()?;
        let Handle::File { ino, .. } = self.handles.get(asked.fh)? else {
            return Err(Errno::EBADF);
        };
        let offset = match asked.whence {
            linux::SEEK_DATA => self.stack.next_data(ino, asked.offset)?,
            linux::SEEK_HOLE => self.stack.next_hole(ino, asked.offset)?,
            _ => return Err(Errno::EINVAL),
        };
        put(call.body, &fuse_lseek_out { offset })
    }

    pub(super) fn fallocate(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_fallocate_in = call.arguments.only()?;
        let ino = self.handles.writable(asked.fh)?;
        self.stack.fallocate(&call.ctx, ino, asked.offset, asked.length, asked.mode)?;
        self.handles.wrote(asked.fh, 0);
        Ok(0)
    }

    pub(super) fn flush(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_flush_in = call.arguments.only()?;
        self.handles.get(asked.fh).map(|_| 0)
    }

    pub(super) fn fsync(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_fsync_in = call.arguments.only()?;
        let handle = self.handles.get(asked.fh)?;
        if let Handle::File { ino, .. } = handle {
            self.stack.sync(ino)?;
        }
        Ok(0)
    }

    pub(super) fn release(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_release_in = call.arguments.only()?;
        self.close(asked.fh).map(|()| 0)
    }

    /// Closes a handle.
    pub(super) fn close(&mut self, number: u64) -> Result<(), Errno> {
        let handle = self.handles.close(number)?;
        if let Handle::File { ino, written: Some(bytes), .. } = handle {
            self.changed_inode(ino, Changed::Written(bytes));
        }
        self.stack.closed(handle.ino());
        Ok(())
    }
}

/// The segments of a transfer and its length: EINVAL if it is larger than they are.
fn transfer(segments: &[Segment], size: u32) -> Result<(Cursor<'_>, usize), Errno> {
    let cursor = Cursor::new(segments);
    let len = size as usize;
    if len > cursor.remaining() {
        return Err(Errno::EINVAL);
    }
    Ok((cursor, len))
}

/// The reply to READ and WRITE. What fits 64 segments fits the number.
fn transferred(bytes: usize) -> fuse_write_out {
    fuse_write_out { size: u32::try_from(bytes).unwrap_or(u32::MAX), padding: 0 }
}
