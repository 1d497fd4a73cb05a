//! Making and deleting names.
use alloc::boxed::Box;

use super::{Stack, Way};
use crate::access::{self, Access};
use crate::attr::{Context, Ino, mode};
use crate::content::Content;
use crate::name::{Name, check_target};
use crate::node::{Body, Directory, Meta, Node};
use crate::{Errno, Kind};

impl<'t> Stack<'t> {
    /// Makes a regular file, fifo or socket with these permission bits (umask already applied), owned by `ctx`.
    ///
    /// # Errors
    /// EEXIST, ENOENT if `dir` was deleted, EACCES, ENOTDIR, ENOSPC, EINVAL for another kind, or what [`Name::new`] says.
    pub fn mknod(&mut self, ctx: &Context, dir: Ino, name: &[u8], kind: Kind, mode: u32) -> Result<Ino, Errno> {
        let body = match kind {
            Kind::File => Body::File(Content::default()),
            Kind::Fifo | Kind::Socket => Body::Special,
            Kind::Directory | Kind::Symlink => return Err(Errno::EINVAL),
        };
        let name = new_name(name)?;
        match self.way(dir)? {
            Way::Upper => self.make(ctx, dir, name, (kind, mode), || body),
            Way::Direct => self.make_direct(ctx, dir, name, (kind, mode)),
        }
    }

    /// Makes a regular file without a name (O_TMPFILE), as if it were in `dir`. It is gone when nobody refers to it any more, unless
    /// [`Stack::link`] gave it a name, which it may if `linkable`.
    ///
    /// # Errors
    /// EACCES, ENOTDIR, ENOENT if `dir` was deleted, ENOSPC.
    pub fn tmpfile(&mut self, ctx: &Context, dir: Ino, mode: u32, linkable: bool) -> Result<Ino, Errno> {
        let parent = self.directory_meta(ctx, dir, Access::WRITE.and(Access::EXECUTE))?;
        if parent.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        if self.way(dir)? == Way::Direct {
            return Err(Errno::EOPNOTSUPP);
        }
        self.usage.charge_inode()?;
        let meta = Meta { nlink: 0, ..new_meta(ctx, &parent, Kind::File, mode) };
        let node = Node { linkable, ..Node::new(meta, Body::File(Content::default())) };
        Ok(self.add_node(node))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Stack::mknod`].
    pub fn mkdir(&mut self, ctx: &Context, dir: Ino, name: &[u8], mode: u32) -> Result<Ino, Errno> {
        let name = new_name(name)?;
        if self.way(dir)? == Way::Direct {
            return self.make_direct(ctx, dir, name, (Kind::Directory, mode));
        }
        let body = || Body::Directory(Directory::new(dir, name.bytes(), None));
        let ino = self.make(ctx, dir, name, (Kind::Directory, mode), body)?;
        self.adjust_subdirectories(dir, 1);
        Ok(ino)
    }

    /// Makes a symbolic link to `target`.
    ///
    /// # Errors
    /// As [`Stack::mknod`]; ENOENT or ENAMETOOLONG for the target's length, EINVAL for a NUL in it.
    pub fn symlink(&mut self, ctx: &Context, dir: Ino, name: &[u8], target: &[u8]) -> Result<Ino, Errno> {
        check_target(target)?;
        let name = new_name(name)?;
        self.check_new(ctx, dir, name)?;
        if self.way(dir)? == Way::Direct {
            return self.live.make_symlink(dir, name.bytes(), target);
        }
        self.usage.charge_bytes(target.len() as u64)?;
        let made = self.make(ctx, dir, name, (Kind::Symlink, 0o777), || Body::Symlink(Box::from(target)));
        if made.is_err() {
            self.usage.refund_bytes(target.len() as u64);
        }
        made
    }

    /// Gives an inode that is no directory one more name.
    ///
    /// # Errors
    /// EPERM for a directory, ENOENT if the inode has no name any more; else as [`Stack::mknod`].
    pub fn link(&mut self, ctx: &Context, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        let name = new_name(name)?;
        self.check_new(ctx, dir, name)?;
        let meta = self.meta(ino)?;
        if meta.kind == Kind::Directory {
            return Err(Errno::EPERM);
        }
        let first_name = self.nodes.get(&ino).is_some_and(|node| node.linkable);
        if meta.nlink == 0 && !first_name {
            return Err(Errno::ENOENT);
        }
        if self.way_of_both(ino, dir)? == Way::Direct {
            return self.live.link(ino, dir, name.bytes());
        }
        self.promote(dir)?;
        self.promote(ino)?;
        if !first_name {
            self.usage.charge_inode()?;
        }
        let node = self.promote(ino)?;
        node.linkable = false;
        node.meta.nlink = node.meta.nlink.saturating_add(1);
        node.meta.ctime = ctx.now;
        self.insert_entry(ctx, dir, name, ino);
        Ok(())
    }

    /// Deletes a name of something that is no directory.
    ///
    /// # Errors
    /// ENOENT, EISDIR, EACCES, EPERM in a sticky directory, ENOTDIR.
    pub fn unlink(&mut self, ctx: &Context, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        let name = Name::new(name)?;
        let ino = self.check_removal(ctx, dir, name, false)?;
        if self.way(dir)? == Way::Direct {
            return self.remove_direct(dir, name, false);
        }
        self.prepare_removal(dir, name, ino)?;
        self.remove_entry(ctx, dir, name);
        self.remove_link(ctx, ino);
        Ok(())
    }

    /// Deletes an empty directory.
    ///
    /// # Errors
    /// ENOTEMPTY, ENOENT, ENOTDIR, EACCES, EPERM in a sticky directory.
    pub fn rmdir(&mut self, ctx: &Context, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        let name = Name::new(name)?;
        let ino = self.check_removal(ctx, dir, name, true)?;
        if !self.is_empty_directory(ino)? {
            return Err(Errno::ENOTEMPTY);
        }
        if self.way(dir)? == Way::Direct {
            return self.remove_direct(dir, name, true);
        }
        self.promote_for_removal(dir)?;
        self.take_away_live(dir, name)?;
        self.remove_entry(ctx, dir, name);
        self.adjust_subdirectories(dir, -1);
        self.remove_link(ctx, ino);
        Ok(())
    }

    /// Whether `ctx` may add this name (Linux `filename_create` and `may_create`): EEXIST comes before EACCES. EPERM for one that a bind
    /// hides: what the host has there must not be met, nor anything stand in its place.
    pub(super) fn check_new(&self, ctx: &Context, dir: Ino, name: Name<'_>) -> Result<Meta, Errno> {
        let meta = self.directory_meta(ctx, dir, Access::EXECUTE)?;
        if self.find(dir, name.bytes())?.is_some() {
            return Err(Errno::EEXIST);
        }
        if meta.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        access::check(ctx, &meta, Access::WRITE.and(Access::EXECUTE))?;
        self.check_hidden(dir, name)?;
        Ok(meta)
    }

    /// Whether `ctx` may take this name away, and what it names (Linux `may_delete`).
    pub(super) fn check_removal(
        &self,
        ctx: &Context,
        dir: Ino,
        name: Name<'_>,
        want_directory: bool,
    ) -> Result<Ino, Errno> {
        let meta = self.directory_meta(ctx, dir, Access::EXECUTE)?;
        let ino = self.find(dir, name.bytes())?.ok_or(Errno::ENOENT)?;
        let target = self.meta(ino)?;
        access::check(ctx, &meta, Access::WRITE.and(Access::EXECUTE))?;
        access::check_sticky(ctx, &meta, &target)?;
        if self.live.is_root(ino) {
            return Err(Errno::EBUSY);
        }
        match (target.kind, want_directory) {
            (Kind::Directory, false) => Err(Errno::EISDIR),
            (Kind::Directory, true) => Ok(ino),
            (_, true) => Err(Errno::ENOTDIR),
            (_, false) => Ok(ino),
        }
    }

    fn make(
        &mut self,
        ctx: &Context,
        dir: Ino,
        name: Name<'_>,
        (kind, mode): (Kind, u32),
        body: impl FnOnce() -> Body<'t>,
    ) -> Result<Ino, Errno> {
        let parent = self.check_new(ctx, dir, name)?;
        self.promote(dir)?;
        self.usage.charge_inode()?;
        let ino = self.add_node(Node::new(new_meta(ctx, &parent, kind, mode), body()));
        self.insert_entry(ctx, dir, name, ino);
        Ok(ino)
    }

    fn add_node(&mut self, node: Node<'t>) -> Ino {
        let ino = Ino(self.next);
        self.next += 1;
        self.nodes.insert(ino, node);
        ino
    }
}

/// Checks a name for something new: `.` and `..` exist already.
pub(super) fn new_name(name: &[u8]) -> Result<Name<'_>, Errno> {
    match name {
        b"." | b".." => Err(Errno::EEXIST),
        _ => Name::new(name),
    }
}

/// The attributes of a new inode, its group by the parent's set-group-id bit (Linux `inode_init_owner`).
fn new_meta(ctx: &Context, parent: &Meta, kind: Kind, mode: u32) -> Meta {
    let inherits = parent.mode & mode::SET_GID != 0;
    let gid = if inherits { parent.gid } else { ctx.gid };
    let mut mode = mode & mode::PERMISSIONS;
    if kind == Kind::Directory {
        mode |= if inherits { mode::SET_GID } else { 0 };
    } else if ctx.uid != 0 && !ctx.is_in_group(gid) && mode & mode::GROUP_EXECUTE != 0 {
        mode &= !mode::SET_GID;
    }
    Meta {
        kind,
        mode,
        nlink: if kind == Kind::Directory { 2 } else { 1 },
        uid: ctx.uid,
        gid,
        atime: ctx.now,
        mtime: ctx.now,
        ctime: ctx.now,
    }
}
