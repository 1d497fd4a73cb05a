//! Content and attributes of inodes.
use super::{Stack, Way};
use crate::access::{self, Access};
use crate::attr::{Context, Ino, SetAttr, SetTime, Timestamp, mode};
use crate::content::{Content, PAGE};
use crate::lower::LowerBody;
use crate::node::{Body, Meta};
use crate::{Errno, Kind};

impl<'t> Stack<'t> {
    /// Hands up to `len` bytes from `offset` on to `sink`, in runs straight from where they are stored. Returns how many:
    /// fewer at the end of the file, or where `sink` failed after some. Rights are checked when a file is opened, not here.
    ///
    /// # Errors
    /// EISDIR, EINVAL if there is no content, ESTALE; what `sink` says about the first run.
    pub fn read(
        &self,
        ino: Ino,
        offset: u64,
        len: usize,
        sink: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        if self.is_live(ino) {
            return self.live.read(ino, offset, len, sink);
        }
        self.with_content(ino, |content| content.read(offset, len, sink))
    }

    /// Whole pages of a file that nothing has written to, as they lie in the lower layer, for whoever maps instead of copying:
    /// `len` bytes from `offset` on. What follows the end of the file in the last page is zeros.
    ///
    /// # Errors
    /// EOPNOTSUPP if the file is not what the lower layer has, or does not lie there page by page; EINVAL beyond its pages;
    /// ESTALE, EISDIR.
    pub fn pages(&self, ino: Ino, offset: u64, len: u64) -> Result<&'t [u8], Errno> {
        self.require_file(ino)?;
        let index = self.lower.index(ino).ok_or(Errno::EOPNOTSUPP)?;
        let Some(LowerBody::File(bytes)) = self.lower.body(index) else { return Err(Errno::EOPNOTSUPP) };
        let untouched = match self.nodes.get(&ino).map(|node| &node.body) {
            Some(Body::File(content)) => content.is_untouched(bytes.len()),
            Some(_) => false,
            None => true,
        };
        if !untouched {
            return Err(Errno::EOPNOTSUPP);
        }
        let within = offset.checked_add(len).is_some_and(|end| end <= (bytes.len() as u64).next_multiple_of(PAGE));
        let pages = self.lower.pages(index, offset, len);
        pages.ok_or(if within && len > 0 { Errno::EOPNOTSUPP } else { Errno::EINVAL })
    }

    /// Lets `fill` write up to `len` bytes straight into the file, in runs; `offset` `None` appends. Returns how many:
    /// fewer where space ended or `fill` failed after some.
    ///
    /// # Errors
    /// ENOSPC, EFBIG, EISDIR, EINVAL if there is no content, ESTALE; what `fill` says about the first run.
    pub fn write(
        &mut self,
        ctx: &Context,
        ino: Ino,
        offset: Option<u64>,
        len: usize,
        fill: impl FnMut(&mut [u8]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        if self.way(ino)? == Way::Direct {
            return self.live.write(ino, offset, len, fill);
        }
        self.require_file(ino)?;
        self.promote(ino)?;
        let Some((meta, content)) = upper_file(&mut self.nodes, ino) else {
            return Err(Errno::ESTALE);
        };
        let written = content.write(offset.unwrap_or(content.size()), len, &mut self.usage, fill)?;
        if written > 0 {
            content_changed(ctx, meta);
        }
        Ok(written)
    }

    /// fallocate(2): reserves space (mode 0 or FALLOC_FL_KEEP_SIZE), punches a hole, or writes zeros (FALLOC_FL_ZERO_RANGE).
    ///
    /// # Errors
    /// EOPNOTSUPP for other modes; EINVAL for an empty range; else as [`Stack::write`].
    pub fn fallocate(&mut self, ctx: &Context, ino: Ino, offset: u64, len: u64, mode: u32) -> Result<(), Errno> {
        use linux_raw_sys::general::{
            FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE, FALLOC_FL_ZERO_RANGE as ZERO_RANGE,
        };
        self.require_file(ino)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        if self.way(ino)? == Way::Direct {
            return Err(Errno::EOPNOTSUPP);
        }
        self.promote(ino)?;
        let Some((meta, content)) = upper_file(&mut self.nodes, ino) else {
            return Err(Errno::ESTALE);
        };
        if mode == 0 || mode == KEEP_SIZE {
            content.allocate(offset, len, mode == KEEP_SIZE, &mut self.usage)?;
        } else if mode == PUNCH_HOLE | KEEP_SIZE {
            content.punch(offset, len, &mut self.usage)?;
        } else if mode & !KEEP_SIZE == ZERO_RANGE {
            content.punch(offset, len, &mut self.usage)?;
            content.allocate(offset, len, mode != ZERO_RANGE, &mut self.usage)?;
        } else {
            return Err(Errno::EOPNOTSUPP);
        }
        content_changed(ctx, meta);
        Ok(())
    }

    /// lseek's SEEK_DATA: the first stored byte at or after `offset`.
    ///
    /// # Errors
    /// ENXIO if there is none; else as [`Stack::read`].
    pub fn next_data(&self, ino: Ino, offset: u64) -> Result<u64, Errno> {
        if self.is_live(ino) {
            let size = self.attr(ino)?.size;
            return if offset < size { Ok(offset) } else { Err(Errno::ENXIO) };
        }
        self.with_content(ino, |content| content.next_data(offset))
    }

    /// lseek's SEEK_HOLE: the first byte at or after `offset` that is not stored; the end counts as one.
    ///
    /// # Errors
    /// As [`Stack::next_data`].
    pub fn next_hole(&self, ino: Ino, offset: u64) -> Result<u64, Errno> {
        if self.is_live(ino) {
            let size = self.attr(ino)?.size;
            return if offset < size { Ok(size) } else { Err(Errno::ENXIO) };
        }
        self.with_content(ino, |content| content.next_hole(offset))
    }

    /// Changes attributes, all or none. `by_handle`: the file is open for writing, which settles the right to cut it.
    ///
    /// # Errors
    /// EPERM if only the owner (or for the owner: only user 0) may; EACCES; for a size EISDIR, EINVAL, EFBIG, ENOSPC;
    /// EINVAL for ids of −1 or nanoseconds beyond a second; ESTALE.
    pub fn setattr(&mut self, ctx: &Context, ino: Ino, set: &SetAttr, by_handle: bool) -> Result<(), Errno> {
        let meta = self.meta(ino)?;
        check_values(set)?;
        check_rights(ctx, &meta, set, by_handle)?;
        if set.size.is_some() {
            self.require_file(ino)?;
        }
        if self.way(ino)? == Way::Direct {
            return self.live.set_attr(ino, set);
        }
        self.promote(ino)?;
        if let Some(size) = set.size {
            let Some((meta, content)) = upper_file(&mut self.nodes, ino) else {
                return Err(Errno::ESTALE);
            };
            content.resize(size, &mut self.usage)?;
            content_changed(ctx, meta);
        }
        let node = self.promote(ino)?;
        apply(ctx, &mut node.meta, set);
        Ok(())
    }

    /// Whether an inode may be opened for these rights (O_TRUNC asks for WRITE).
    ///
    /// # Errors
    /// EISDIR to write a directory, ELOOP for a link, ENXIO for a fifo or socket (these are opened elsewhere), EACCES.
    pub fn check_open(&self, ctx: &Context, ino: Ino, want: Access, writes: bool) -> Result<Kind, Errno> {
        let meta = self.meta(ino)?;
        match meta.kind {
            Kind::Symlink => return Err(Errno::ELOOP),
            Kind::Directory if writes => return Err(Errno::EISDIR),
            Kind::Directory | Kind::File | Kind::Fifo | Kind::Socket => {}
        }
        access::check(ctx, &meta, want)?;
        if self.is_live(ino) {
            let direct = writes && self.way(ino)? == Way::Direct;
            // A file that is open stays readable when its name is gone: it is opened now, and not when it is read.
            self.live.open(ino, direct)?;
        }
        match meta.kind {
            Kind::Fifo | Kind::Socket => Err(Errno::ENXIO),
            kind => Ok(kind),
        }
    }

    /// Only regular files have content.
    fn require_file(&self, ino: Ino) -> Result<(), Errno> {
        match self.meta(ino)?.kind {
            Kind::File => Ok(()),
            Kind::Directory => Err(Errno::EISDIR),
            Kind::Symlink | Kind::Fifo | Kind::Socket => Err(Errno::EINVAL),
        }
    }

    fn with_content<R>(&self, ino: Ino, ask: impl FnOnce(&Content<'t>) -> Result<R, Errno>) -> Result<R, Errno> {
        match self.nodes.get(&ino).map(|node| &node.body) {
            Some(Body::File(content)) => return ask(content),
            Some(Body::Directory(_)) => return Err(Errno::EISDIR),
            Some(Body::Symlink(_) | Body::Special) => return Err(Errno::EINVAL),
            None => {}
        }
        match self.lower.index(ino).and_then(|index| self.lower.body(index)).ok_or(Errno::ESTALE)? {
            LowerBody::File(bytes) => ask(&Content::over(bytes)),
            LowerBody::Directory => Err(Errno::EISDIR),
            LowerBody::Symlink(_) | LowerBody::Fifo => Err(Errno::EINVAL),
        }
    }
}

type Nodes<'t> = alloc::collections::BTreeMap<Ino, crate::node::Node<'t>>;

fn upper_file<'a, 't>(nodes: &'a mut Nodes<'t>, ino: Ino) -> Option<(&'a mut Meta, &'a mut Content<'t>)> {
    let node = nodes.get_mut(&ino)?;
    match &mut node.body {
        Body::File(content) => Some((&mut node.meta, content)),
        _ => None,
    }
}

/// What a change of the content does to the attributes.
fn content_changed(ctx: &Context, meta: &mut Meta) {
    meta.modified(ctx.now);
    if ctx.uid != 0 {
        meta.mode = access::without_set_id(meta.mode);
    }
}

fn check_values(set: &SetAttr) -> Result<(), Errno> {
    let bad_time = |time| matches!(time, Some(SetTime::At(Timestamp { nanoseconds: 1_000_000_000.., .. })));
    if set.uid == Some(u32::MAX) || set.gid == Some(u32::MAX) || bad_time(set.atime) || bad_time(set.mtime) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Who may change what (Linux `setattr_prepare`, and the callers' checks for size and times).
fn check_rights(ctx: &Context, meta: &Meta, set: &SetAttr, by_handle: bool) -> Result<(), Errno> {
    let owner = access::owns(ctx, meta);
    let new_owner = set.uid.is_some_and(|uid| ctx.uid != 0 && (!owner || uid != meta.uid));
    let new_group = set.gid.is_some_and(|gid| ctx.uid != 0 && (!owner || (gid != meta.gid && !ctx.is_in_group(gid))));
    let times = [set.atime, set.mtime];
    let exact = times.iter().any(|time| matches!(time, Some(SetTime::At(_))));
    if new_owner || new_group || ((set.mode.is_some() || exact) && !owner) {
        return Err(Errno::EPERM);
    }
    let touched = times.contains(&Some(SetTime::Now)) && !owner;
    if touched || (set.size.is_some() && !by_handle) {
        access::check(ctx, meta, Access::WRITE)?;
    }
    Ok(())
}

fn apply(ctx: &Context, meta: &mut Meta, set: &SetAttr) {
    if (set.uid.is_some() || set.gid.is_some() || set.drop_set_id) && meta.kind != Kind::Directory {
        meta.mode = access::without_set_id(meta.mode);
    }
    meta.uid = set.uid.unwrap_or(meta.uid);
    meta.gid = set.gid.unwrap_or(meta.gid);
    if let Some(mode) = set.mode {
        meta.mode = mode & mode::PERMISSIONS;
        if ctx.uid != 0 && !ctx.is_in_group(meta.gid) {
            meta.mode &= !mode::SET_GID;
        }
    }
    let resolve = |time: Option<SetTime>, old| match time {
        None => old,
        Some(SetTime::Now) => ctx.now,
        Some(SetTime::At(time)) => time,
    };
    meta.atime = resolve(set.atime, meta.atime);
    meta.mtime = resolve(set.mtime, meta.mtime);
    meta.ctime = ctx.now;
}
