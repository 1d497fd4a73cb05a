//! Requests on names and attributes.
use files::{Access, Attr, Errno, Ino, Kind, RenameMode, mode};
use fuse_abi::linux as fuse;
use fuse_abi::linux::{
    fuse_access_in, fuse_batch_forget_in, fuse_forget_in, fuse_forget_one, fuse_getattr_in, fuse_link_in,
    fuse_mkdir_in, fuse_mknod_in, fuse_rename_in, fuse_rename2_in, fuse_setattr_in,
};

use super::{Call, FileService, wire};
use crate::authorise::{Authority, Name, Object, Right, Seen};
use crate::changes::{Changed, attributes};
use crate::names::path;
use crate::request::{Arguments, put};

impl<A: Authority> FileService<'_, A> {
    pub(super) fn lookup(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let name = call.arguments.only_string()?;
        self.allow(Right::Look, Object::Entry { dir: call.node, name })?;
        let ino = self.stack.lookup(&call.ctx, call.node, name)?;
        self.tell(call.node, name, ino, call.body)
    }

    /// Puts the entry reply for a name into `body` and counts the lookup.
    pub(super) fn tell(&mut self, dir: Ino, name: &[u8], ino: Ino, body: &mut [u8]) -> Result<usize, Errno> {
        let attr = self.remember(ino)?;
        self.found(dir, name, ino);
        put(body, &wire::entry_out(&attr))
    }

    pub(super) fn remember(&mut self, ino: Ino) -> Result<Attr, Errno> {
        let attr = self.stack.attr(ino)?;
        self.stack.remember(ino)?;
        Ok(attr)
    }

    /// Before something new is made that will have to be remembered.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        if self.stack.has_room_to_remember() { Ok(()) } else { Err(Errno::ENFILE) }
    }

    pub(super) fn forget(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let fuse_forget_in { nlookup } = call.arguments.only()?;
        self.stack.forget(call.node, nlookup);
        self.drop_if_forgotten(call.node);
        Ok(0)
    }

    pub(super) fn batch_forget(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let fuse_batch_forget_in { count, .. } = call.arguments.take()?;
        for _ in 0..count {
            let fuse_forget_one { nodeid, nlookup } = call.arguments.take()?;
            self.stack.forget(Ino(nodeid), nlookup);
            self.drop_if_forgotten(Ino(nodeid));
        }
        call.arguments.end()?;
        Ok(0)
    }

    pub(super) fn getattr(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_getattr_in = call.arguments.only()?;
        let ino = if asked.getattr_flags & fuse::FUSE_GETATTR_FH != 0 {
            self.handles.get(asked.fh)?.ino()
        } else {
            self.check_known(call.node).map(|()| call.node)?
        };
        self.allow(Right::Look, Object::Inode(ino))?;
        put(call.body, &wire::attr_out(&self.stack.attr(ino)?))
    }

    pub(super) fn setattr(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_setattr_in = call.arguments.only()?;
        let handle = if asked.valid & fuse::FATTR_FH != 0 { Some(self.handles.get(asked.fh)?) } else { None };
        let ino = match handle {
            Some(handle) => handle.ino(),
            None => self.check_known(call.node).map(|()| call.node)?,
        };
        let set = wire::set_attr(&asked);
        if set.size.is_some() {
            self.allow(Right::Write, Object::Inode(ino))?;
        }
        self.allow(Right::SetAttributes, Object::Inode(ino))?;
        let by_handle = handle.is_some() && self.handles.writable(asked.fh).is_ok();
        let before = self.before(ino);
        self.stack.setattr(&call.ctx, ino, &set, by_handle)?;
        let after = self.stack.attr(ino)?;
        if set.size.is_some() {
            self.changed_inode(ino, Changed::Truncated(after.size));
        }
        if let Some(changed) = before.and_then(|before| attributes(&set, &before, &after)) {
            self.changed_inode(ino, changed);
        }
        put(call.body, &wire::attr_out(&after))
    }

    pub(super) fn access(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let fuse_access_in { mask, .. } = call.arguments.only()?;
        self.allow(Right::Look, Object::Inode(call.node))?;
        self.stack.access(&call.ctx, call.node, Access::from_mask(mask)?)?;
        Ok(0)
    }

    pub(super) fn readlink(&mut self, call: Call<'_>) -> Result<usize, Errno> {
        call.arguments.end()?;
        self.allow(Right::Read, Object::Inode(call.node))?;
        let target = self.stack.readlink(call.node)?;
        call.body.get_mut(..target.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(&target);
        Ok(target.len())
    }

    pub(super) fn symlink(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let name = call.arguments.take_string()?;
        let target = call.arguments.only_string()?;
        self.may_create(&call, name)?;
        let ino = self.stack.symlink(&call.ctx, call.node, name, target)?;
        self.changed_name(Name { dir: call.node, name }, |_| Changed::Created(Kind::Symlink));
        self.tell(call.node, name, ino, call.body)
    }

    pub(super) fn mknod(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_mknod_in = call.arguments.take()?;
        let name = call.arguments.only_string()?;
        let kind = match asked.mode & mode::TYPE {
            0 => Kind::File,
            bits if bits == Kind::File.mode_bits() => Kind::File,
            bits if bits == Kind::Fifo.mode_bits() => Kind::Fifo,
            bits if bits == Kind::Socket.mode_bits() => Kind::Socket,
            bits if bits == Kind::Symlink.mode_bits() => return Err(Errno::EINVAL),
            // Devices, which a sandbox has none of, and directories, as Linux says.
            _ => return Err(Errno::EPERM),
        };
        self.may_create(&call, name)?;
        let ino = self.stack.mknod(&call.ctx, call.node, name, kind, asked.mode)?;
        self.changed_name(Name { dir: call.node, name }, |_| Changed::Created(kind));
        self.tell(call.node, name, ino, call.body)
    }

    pub(super) fn mkdir(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let asked: fuse_mkdir_in = call.arguments.take()?;
        let name = call.arguments.only_string()?;
        self.may_create(&call, name)?;
        let ino = self.stack.mkdir(&call.ctx, call.node, name, asked.mode)?;
        self.changed_name(Name { dir: call.node, name }, |_| Changed::Created(Kind::Directory));
        self.tell(call.node, name, ino, call.body)
    }

    fn may_create(&mut self, call: &Call<'_>, name: &[u8]) -> Result<(), Errno> {
        self.check_room()?;
        self.allow_create(&call.ctx, call.node, name)
    }

    pub(super) fn link(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let fuse_link_in { oldnodeid } = call.arguments.take()?;
        let name = call.arguments.only_string()?;
        let ino = Ino(oldnodeid);
        self.check_known(ino)?;
        self.allow_create(&call.ctx, call.node, name)?;
        let to = Name { dir: call.node, name };
        self.authority.allow_link(Seen { stack: &self.stack, names: &self.names }, ino, to)?;
        let before = self.before(ino);
        self.stack.link(&call.ctx, ino, call.node, name)?;
        self.changed_name(to, |Seen { stack, names }| match before {
            Some(attr) if attr.nlink == 0 => Changed::Created(attr.kind),
            _ => Changed::Linked { from: names.path_of(stack, ino) },
        });
        self.tell(call.node, name, ino, call.body)
    }

    pub(super) fn unlink(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let name = call.arguments.only_string()?;
        self.allow_remove(&call.ctx, call.node, name)?;
        let ino = self.stack.lookup(&call.ctx, call.node, name).ok();
        let before = ino.and_then(|ino| self.before(ino));
        self.stack.unlink(&call.ctx, call.node, name)?;
        let name = Name { dir: call.node, name };
        if let Some(ino) = ino {
            self.names.lost(name, ino);
        }
        self.changed_name(name, |_| Changed::Deleted(before.map_or(Kind::File, |attr| attr.kind)));
        Ok(0)
    }

    pub(super) fn rmdir(&mut self, call: &Call<'_>) -> Result<usize, Errno> {
        let name = call.arguments.only_string()?;
        self.allow_remove(&call.ctx, call.node, name)?;
        self.stack.rmdir(&call.ctx, call.node, name)?;
        self.changed_name(Name { dir: call.node, name }, |_| Changed::Deleted(Kind::Directory));
        Ok(0)
    }

    pub(super) fn rename(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let fuse_rename_in { newdir } = call.arguments.take()?;
        self.rename_to(&call, Ino(newdir), call.arguments, RenameMode::Replace)
    }

    pub(super) fn rename2(&mut self, mut call: Call<'_>) -> Result<usize, Errno> {
        let fuse_rename2_in { newdir, flags, .. } = call.arguments.take()?;
        self.rename_to(&call, Ino(newdir), call.arguments, RenameMode::from_flags(flags)?)
    }

    fn rename_to(
        &mut self,
        call: &Call<'_>,
        new_dir: Ino,
        mut names: Arguments<'_>,
        mode: RenameMode,
    ) -> Result<usize, Errno> {
        let old_name = names.take_string()?;
        let new_name = names.only_string()?;
        self.check_known(new_dir)?;
        let (from, to) = (Name { dir: call.node, name: old_name }, Name { dir: new_dir, name: new_name });
        self.allow_remove(&call.ctx, from.dir, from.name)?;
        self.allow(Right::Create, Object::Entry { dir: to.dir, name: to.name })?;
        let moved = self.stack.lookup(&call.ctx, from.dir, from.name).ok();
        let replaced = self.stack.lookup(&call.ctx, to.dir, to.name).ok();
        if let Some(ino) = moved {
            self.allow_move(ino, from, to)?;
        }
        if let Some(ino) = replaced.filter(|_| mode != RenameMode::NoReplace) {
            self.allow(Right::Remove, Object::Entry { dir: to.dir, name: to.name })?;
            if mode == RenameMode::Exchange {
                self.allow(Right::Create, Object::Entry { dir: from.dir, name: from.name })?;
                self.allow_move(ino, to, from)?;
            }
        }
        self.stack.rename(&call.ctx, (from.dir, from.name), (to.dir, to.name), mode)?;
        // Two names of one file stay as they are (rename(2)).
        if moved != replaced {
            self.follow_rename((from, moved), (to, replaced), mode);
            let exchanged = mode == RenameMode::Exchange;
            let replaced = replaced.is_some() && !exchanged;
            self.changed_name(to, |seen| Changed::Renamed { from: path(seen.stack, from), replaced, exchanged });
        }
        Ok(0)
    }

    fn allow_move(&mut self, ino: Ino, from: Name<'_>, to: Name<'_>) -> Result<(), Errno> {
        let seen = Seen { stack: &self.stack, names: &self.names };
        self.authority.allow_move(seen, ino, from, to)
    }

    /// Notes which names lead elsewhere now.
    fn follow_rename(
        &mut self,
        (from, moved): (Name<'_>, Option<Ino>),
        (to, replaced): (Name<'_>, Option<Ino>),
        mode: RenameMode,
    ) {
        if let Some(ino) = moved {
            self.names.lost(from, ino);
        }
        if let Some(ino) = replaced {
            self.names.lost(to, ino);
        }
        let other = replaced.filter(|_| mode == RenameMode::Exchange);
        for (name, ino) in [(to, moved), (from, other)] {
            if let Some(ino) = ino.filter(|ino| self.stack.is_remembered(*ino)) {
                self.found(name.dir, name.name, ino);
            }
        }
    }
}
