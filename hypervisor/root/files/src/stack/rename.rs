//! Renaming, as Linux' renameat2 has it.
use super::names::new_name;
use super::{Stack, Way};
use crate::access::{self, Access};
use crate::attr::{Context, Ino};
use crate::name::Name;
use crate::{Errno, Kind};

/// What to do when the new name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace what it names.
    Replace,
    /// Refuse with EEXIST (RENAME_NOREPLACE).
    NoReplace,
    /// Swap the two; the new name must exist (RENAME_EXCHANGE).
    Exchange,
}

impl RenameMode {
    /// From the flags of renameat2.
    ///
    /// # Errors
    /// EINVAL for others, whiteouts included, and for both at once.
    pub fn from_flags(flags: u32) -> Result<Self, Errno> {
        use linux_raw_sys::general::{RENAME_EXCHANGE, RENAME_NOREPLACE};
        match flags {
            0 => Ok(Self::Replace),
            RENAME_NOREPLACE => Ok(Self::NoReplace),
            RENAME_EXCHANGE => Ok(Self::Exchange),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// One end of a renaming.
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: Ino,
    name: Name<'a>,
}

/// What stands at one end.
#[derive(Clone, Copy)]
struct Occupant {
    ino: Ino,
    kind: Kind,
}

impl Stack<'_> {
    /// Moves an entry from one directory and name to another.
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOTDIR or EISDIR if exactly one of the two is a directory, ENOTEMPTY, EINVAL if a directory
    /// would come to lie in itself, EACCES, EPERM in a sticky directory, ENOSPC, or what [`Name::new`] says.
    pub fn rename(
        &mut self,
        ctx: &Context,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        mode: RenameMode,
    ) -> Result<(), Errno> {
        self.directory_meta(ctx, from.0, Access::EXECUTE)?;
        self.directory_meta(ctx, to.0, Access::EXECUTE)?;
        let from = Place { dir: from.0, name: Name::new(from.1)? };
        let source = self.occupant(from)?.ok_or(Errno::ENOENT)?;
        let new = if mode == RenameMode::NoReplace { new_name(to.1) } else { Name::new(to.1) };
        let to = Place { dir: to.0, name: new? };
        let target = self.occupant(to)?;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            (RenameMode::Exchange, None) => return Err(Errno::ENOENT),
            _ => {}
        }
        self.check_loops(from, to, source, target, mode)?;
        if target.is_some_and(|target| target.ino == source.ino) {
            return Ok(());
        }
        self.check_rights(ctx, from, to, (source, target), mode)?;
        if self.way_of_both(from.dir, to.dir)? == Way::Direct {
            let places = ((from.dir, from.name), (to.dir, to.name));
            return self.rename_direct(source.ino, places, mode);
        }
        match target {
            Some(target) if mode == RenameMode::Exchange => self.exchange(ctx, from, to, source, target),
            _ => self.replace(ctx, from, to, source, target),
        }
    }

    fn occupant(&self, place: Place<'_>) -> Result<Option<Occupant>, Errno> {
        let Some(ino) = self.find(place.dir, place.name.bytes())? else {
            return Ok(None);
        };
        Ok(Some(Occupant { ino, kind: self.meta(ino)?.kind }))
    }

    /// No directory may come to lie in itself.
    fn check_loops(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        source: Occupant,
        target: Option<Occupant>,
        mode: RenameMode,
    ) -> Result<(), Errno> {
        if source.kind == Kind::Directory && self.lies_in(to.dir, source.ino) {
            return Err(Errno::EINVAL);
        }
        match target {
            Some(target) if target.kind == Kind::Directory && self.lies_in(from.dir, target.ino) => {
                Err(if mode == RenameMode::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY })
            }
            _ => Ok(()),
        }
    }

    /// The mode bits' and the kinds' say, in Linux' order (`vfs_rename`).
    fn check_rights(
        &self,
        ctx: &Context,
        from: Place<'_>,
        to: Place<'_>,
        (source, target): (Occupant, Option<Occupant>),
        mode: RenameMode,
    ) -> Result<(), Errno> {
        let is_directory = source.kind == Kind::Directory;
        self.check_removal(ctx, from.dir, from.name, is_directory)?;
        match target {
            None => drop(self.check_new(ctx, to.dir, to.name)?),
            Some(target) => {
                let want = if mode == RenameMode::Exchange { target.kind == Kind::Directory } else { is_directory };
                self.check_removal(ctx, to.dir, to.name, want)?;
            }
        }
        if from.dir != to.dir {
            // A directory that moves has its `..` rewritten.
            let moving = [Some(source), target.filter(|_| mode == RenameMode::Exchange)];
            for occupant in moving.into_iter().flatten().filter(|occupant| occupant.kind == Kind::Directory) {
                access::check(ctx, &self.meta(occupant.ino)?, Access::WRITE)?;
            }
        }
        match target {
            Some(target) if mode != RenameMode::Exchange && is_directory && !self.is_empty_directory(target.ino)? => {
                Err(Errno::ENOTEMPTY)
            }
            _ => Ok(()),
        }
    }

    fn replace(
        &mut self,
        ctx: &Context,
        from: Place<'_>,
        to: Place<'_>,
        source: Occupant,
        target: Option<Occupant>,
    ) -> Result<(), Errno> {
        for ino in [from.dir, to.dir, source.ino] {
            self.promote(ino)?;
        }
        self.take_away_live(from.dir, from.name)?;
        if let Some(target) = target {
            self.prepare_removal(to.dir, to.name, target.ino)?;
            self.remove_entry(ctx, to.dir, to.name);
            if target.kind == Kind::Directory {
                self.adjust_subdirectories(to.dir, -1);
            }
            self.remove_link(ctx, target.ino);
        }
        self.remove_entry(ctx, from.dir, from.name);
        self.settle(ctx, source, from.dir, to);
        Ok(())
    }

    fn exchange(
        &mut self,
        ctx: &Context,
        from: Place<'_>,
        to: Place<'_>,
        source: Occupant,
        target: Occupant,
    ) -> Result<(), Errno> {
        for ino in [from.dir, to.dir, source.ino, target.ino] {
            self.promote(ino)?;
        }
        self.take_away_live(from.dir, from.name)?;
        self.take_away_live(to.dir, to.name)?;
        self.remove_entry(ctx, from.dir, from.name);
        self.remove_entry(ctx, to.dir, to.name);
        self.settle(ctx, source, from.dir, to);
        self.settle(ctx, target, to.dir, from);
        Ok(())
    }

    /// Puts an inode, taken from a directory, at its new place.
    fn settle(&mut self, ctx: &Context, occupant: Occupant, left: Ino, place: Place<'_>) {
        self.insert_entry(ctx, place.dir, place.name, occupant.ino);
        if occupant.kind == Kind::Directory {
            self.adjust_subdirectories(left, -1);
            self.adjust_subdirectories(place.dir, 1);
            if let Some((_, directory)) = self.upper_directory(occupant.ino) {
                directory.parent = place.dir;
                directory.name = place.name.bytes().into();
            }
        }
        if let Some(node) = self.nodes.get_mut(&occupant.ino) {
            node.meta.ctime = ctx.now;
        }
    }
}
