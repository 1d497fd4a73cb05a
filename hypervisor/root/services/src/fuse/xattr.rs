//! Requests on extended attributes. A value is too long for a message: it may go by segments, as bulk data does.
use alloc::vec::Vec;

use files::{Errno, SetXattr, XATTR_SIZE_MAX};
use fuse_abi::linux::{fuse_getxattr_in, fuse_getxattr_out, fuse_setxattr_in};
use guestmem::GuestMemory;
use proto::Segment;

use super::{Call, FileService};
use crate::authorise::{Authority, Object, Right};
use crate::changes::Changed;
use crate::request::put;
use crate::segments::Cursor;

impl<A: Authority> FileService<'_, A> {
    pub(super) fn setxattr<M: GuestMemory>(
        &mut self,
        mut call: Call<'_>,
        segments: &[Segment],
        memory: &M,
    ) -> Result<usize, Errno> {
        let asked: fuse_setxattr_in = call.arguments.take()?;
        let name = call.arguments.take_string()?;
        let how = SetXattr::from_flags(asked.flags)?;
        let size = asked.size as usize;
        if size > XATTR_SIZE_MAX {
            return Err(Errno::E2BIG);
        }
        self.allow(Right::SetAttributes, Object::Inode(call.node))?;
        let mut copied = Vec::new();
        let value = if segments.is_empty() {
            Some(call.arguments.rest()).filter(|value| value.len() == size).ok_or(Errno::EINVAL)?
        } else {
            call.arguments.end()?;
            let mut cursor = Cursor::new(segments);
            if size > cursor.remaining() {
                return Err(Errno::EINVAL);
            }
            copied.resize(size, 0);
            cursor.read(memory, &mut copied)?;
            &copied
        };
        self.stack.set_xattr(&call.ctx, call.node, name, value, how)?;
        self.changed_inode(call.node, Changed::Xattr(name.into()));
        Ok(0)
    }

    pub(super) fn getxattr<M: GuestMemory>(
        &mut self,
        mut call: Call<'_>,
        segments: &[Segment],
        memory: &mut M,
    ) -> Result<usize, Errno> {
        let asked: fuse_getxattr_in = call.arguments.take()?;
        let name = call.arguments.only_string()?;
        self.allow(Right::Read, Object::Inode(call.node))?;
        let value = self.stack.xattr(&call.ctx, call.node, name)?;
        give(value.len(), [value].into_iter(), asked.size, call.body, segments, memory)
    }

    pub(super) fn listxattr<M: GuestMemory>(
        &mut self,
        call: Call<'_>,
        segments: &[Segment],
        memory: &mut M,
    ) -> Result<usize, Errno> {
        let asked: fuse_getxattr_in = call.arguments.only()?;
        self.allow(Right::Look, Object::Inode(call.node))?;
        let len = self.stack.xattr_names(call.node)?.map(|name| name.len() + 1).sum();
        let names = self.stack.xattr_names(call.node)?.flat_map(|name| [name, b"\0"]);
        give(len, names, asked.size, call.body, segments, memory)
    }

    pub(super) fn removexattr(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let name = call.arguments.only_string()?;
        self.allow(Right::SetAttributes, Object::Inode(call.node))?;
        self.stack.remove_xattr(&call.ctx, call.node, name)?;
        self.changed_inode(call.node, Changed::Xattr(name.into()));
        Ok(0)
    }
}

/// Replies with `len` bytes in pieces, or with their number alone if room for none is offered (`size` 0).
fn give<'p, M: GuestMemory>(
    len: usize,
    pieces: impl Iterator<Item = &'p [u8]>,
    size: u32,
    body: &mut [u8],
    segments: &[Segment],
    memory: &mut M,
) -> Result<usize, Errno> {
    let out = fuse_getxattr_out { size: u32::try_from(len).map_err(|_| Errno::E2BIG)?, padding: 0 };
    if size == 0 {
        return put(body, &out);
    }
    if len > size as usize {
        return Err(Errno::ERANGE);
    }
    if segments.is_empty() {
        let mut room = body.get_mut(..len).ok_or(Errno::ERANGE)?;
        for piece in pieces {
            let (here, rest) = room.split_at_mut_checked(piece.len()).ok_or(Errno::ERANGE)?;
            here.copy_from_slice(piece);
            room = rest;
        }
        return Ok(len);
    }
    let mut cursor = Cursor::new(segments);
    if len > cursor.remaining() {
        return Err(Errno::EINVAL);
    }
    for piece in pieces {
        cursor.write(memory, piece)?;
    }
    put(body, &out)
}
