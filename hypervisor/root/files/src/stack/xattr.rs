//! Extended attributes: who may, and where they are.
use super::{Stack, Way};
use crate::access::{self, Access};
use crate::attr::{Context, Ino, mode};
use crate::xattr::{SetXattr, Space, XATTR_SIZE_MAX, check_name};
use crate::{Errno, Kind};

impl Stack<'_> {
    /// Sets an extended attribute.
    ///
    /// # Errors
    /// E2BIG beyond [`XATTR_SIZE_MAX`], ENOSPC, EEXIST or ENODATA if `how` wants it otherwise; ERANGE for a name of no or too many
    /// bytes, EOPNOTSUPP for a name space other than `user.`, EPERM for `trusted.`, for what is neither file nor directory, and in
    /// another's sticky directory; EACCES; ESTALE.
    pub fn set_xattr(
        &mut self,
        ctx: &Context,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Result<(), Errno> {
        if value.len() > XATTR_SIZE_MAX {
            return Err(Errno::E2BIG);
        }
        self.check_xattr(ctx, ino, name, Access::WRITE)?;
        let there = self.nodes.get(&ino).is_some_and(|node| node.xattrs.get(name).is_some());
        match (how, there) {
            (SetXattr::Create, true) => return Err(Errno::EEXIST),
            (SetXattr::Replace, false) => return Err(Errno::ENODATA),
            _ => {}
        }
        if self.way(ino)? == Way::Direct {
            return Err(Errno::EOPNOTSUPP);
        }
        self.promote(ino)?;
        let node = self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        node.xattrs.set(name, value, &mut self.usage)?;
        node.meta.ctime = ctx.now;
        Ok(())
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// ENODATA if there is none; else as [`Stack::set_xattr`], with ENODATA in EPERM's place.
    pub fn xattr(&self, ctx: &Context, ino: Ino, name: &[u8]) -> Result<&[u8], Errno> {
        self.check_xattr(ctx, ino, name, Access::READ)?;
        self.nodes.get(&ino).and_then(|node| node.xattrs.get(name)).ok_or(Errno::ENODATA)
    }

    /// The names of an inode's extended attributes.
    ///
    /// # Errors
    /// ESTALE.
    pub fn xattr_names(&self, ino: Ino) -> Result<impl Iterator<Item = &[u8]>, Errno> {
        self.meta(ino)?;
        Ok(self.nodes.get(&ino).into_iter().flat_map(|node| node.xattrs.names()))
    }

    /// Takes an extended attribute away.
    ///
    /// # Errors
    /// ENODATA if there is none; else as [`Stack::set_xattr`].
    pub fn remove_xattr(&mut self, ctx: &Context, ino: Ino, name: &[u8]) -> Result<(), Errno> {
        self.check_xattr(ctx, ino, name, Access::WRITE)?;
        self.way(ino)?;
        let node = self.nodes.get_mut(&ino).ok_or(Errno::ENODATA)?;
        if !node.xattrs.remove(name, &mut self.usage) {
            return Err(Errno::ENODATA);
        }
        node.meta.ctime = ctx.now;
        Ok(())
    }

    /// Whether `ctx` may read or write an attribute of this name (Linux `xattr_permission`).
    fn check_xattr(&self, ctx: &Context, ino: Ino, name: &[u8], want: Access) -> Result<(), Errno> {
        let meta = self.meta(ino)?;
        let refusal = if want == Access::WRITE { Errno::EPERM } else { Errno::ENODATA };
        match check_name(name)? {
            Space::Trusted => return Err(refusal),
            Space::User if !matches!(meta.kind, Kind::File | Kind::Directory) => return Err(refusal),
            Space::User => {}
        }
        let sticky = meta.kind == Kind::Directory && meta.mode & mode::STICKY != 0;
        if sticky && want == Access::WRITE && !access::owns(ctx, &meta) {
            return Err(Errno::EPERM);
        }
        access::check(ctx, &meta, want)
    }
}
