//! Folders of the host in the stack: mounting them, what shows of them, and changes that go to the host.
use alloc::boxed::Box;

use super::{Halves, Stack, Way, charged_names};
use crate::attr::{Context, Ino, Statfs};
use crate::content::{Content, PAGE};
use crate::live::{Bind, BindMode, Found, Live};
use crate::lower::Index;
use crate::name::Name;
use crate::node::{Body, Directory, Node};
use crate::{Errno, Kind, RenameMode};

/// A directory and a name in it.
type Place<'a> = (Ino, Name<'a>);

impl<'t> Stack<'t> {
    /// Binds a folder of the host over a directory of the lower tree.
    ///
    /// # Errors
    /// ENOENT or ENOTDIR if there is no such directory, EBUSY if a folder covers it or a directory above it already; what
    /// the server says.
    pub fn bind(&mut self, bind: Bind) -> Result<(), Errno> {
        let (mut dir, mut parent, mut last) = (Ino::ROOT, Ino::ROOT, &[][..]);
        for name in bind.at.clone().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let index = self.lower.index(dir).ok_or(Errno::EBUSY)?;
            let child = self.lower.child(index, name).ok_or(Errno::ENOENT)?;
            (parent, dir, last) = (dir, self.lower.ino(child), self.lower.name(child));
            if self.mounts.contains_key(&dir) {
                return Err(Errno::EBUSY);
            }
        }
        if dir == Ino::ROOT {
            return Err(Errno::EBUSY);
        }
        if self.meta(dir)?.kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let under = self.lower.index(dir).filter(|_| bind.merge);
        let root = self.live.mount(bind, (parent, last), under)?;
        self.mounts.insert(dir, root);
        self.note_merged(under, root);
        Ok(())
    }

    /// Whether what is known of an inode may change by itself: it is a folder's.
    #[must_use]
    pub const fn is_volatile(ino: Ino) -> bool {
        Live::has(ino)
    }

    /// Lets go of what was found in folders and nobody refers to: now and then, between two requests.
    pub fn tidy(&self) {
        if self.live.wants_sweep() {
            self.live.sweep(|ino| self.references.in_use(ino) || self.nodes.contains_key(&ino));
        }
    }

    /// Has the host write a file through, if it is the host's.
    ///
    /// # Errors
    /// What the host says.
    pub fn sync(&self, ino: Ino) -> Result<(), Errno> {
        if self.is_live(ino) && self.live.mode(ino) == Some(BindMode::Direct) { self.live.sync(ino) } else { Ok(()) }
    }

    /// How full the layer is that changes of this inode go to.
    ///
    /// # Errors
    /// What the host says.
    pub fn statfs(&self, ino: Ino) -> Result<Statfs, Errno> {
        match self.live.mode(ino) {
            Some(BindMode::Direct | BindMode::ReadOnly) => self.live.statfs(ino),
            Some(BindMode::CopyOnWrite) | None => Ok(self.usage.statfs()),
        }
    }

    /// Whether the host has the inode, and not the upper layer.
    pub(super) fn is_live(&self, ino: Ino) -> bool {
        Live::has(ino) && !self.nodes.contains_key(&ino)
    }

    /// Where changes of an inode go: EROFS if there are none.
    pub(super) fn way(&self, ino: Ino) -> Result<Way, Errno> {
        match self.live.mode(ino) {
            None | Some(BindMode::CopyOnWrite) => Ok(Way::Upper),
            Some(BindMode::Direct) => Ok(Way::Direct),
            Some(BindMode::ReadOnly) => Err(Errno::EROFS),
        }
    }

    /// Where a change of two inodes goes: EXDEV if not to the same place.
    pub(super) fn way_of_both(&self, one: Ino, other: Ino) -> Result<Way, Errno> {
        match (self.way(one), self.way(other)) {
            (Ok(Way::Direct), Ok(Way::Direct)) if self.live.bind_number(one) != self.live.bind_number(other) => {
                Err(Errno::EXDEV)
            }
            (Ok(one), Ok(other)) if one == other => Ok(one),
            (Err(error), Err(_)) => Err(error),
            _ => Err(Errno::EXDEV),
        }
    }

    /// A directory of the tree that shows through a folder's is that one for all who look.
    pub(super) fn seen_as(&self, dir: Ino) -> Ino {
        if self.mounts.is_empty() {
            return dir;
        }
        let merged = self.lower.index(dir).and_then(|index| self.merged.borrow().get(&index).copied());
        merged.or_else(|| self.mounts.get(&dir).copied()).unwrap_or(dir)
    }

    /// Lets a directory of the tree show through one of a folder, if both have the name and are directories.
    pub(super) fn merge(&self, found: Found, lower: Option<Index>) {
        let is_directory =
            |index: &Index| self.lower.meta(*index, false).is_some_and(|meta| meta.kind == Kind::Directory);
        let under = lower.filter(|index| found.is_directory && is_directory(index));
        if found.is_directory {
            self.live.set_under(found.ino, under);
            self.note_merged(under, found.ino);
        }
    }

    fn note_merged(&self, under: Option<Index>, ino: Ino) {
        if let Some(index) = under {
            self.merged.borrow_mut().insert(index, ino);
        }
    }

    /// Whether nothing of a folder's directory shows.
    pub(super) fn shows_nothing(&self, live: Ino, upper: Option<&Directory>) -> Result<bool, Errno> {
        self.live.list(live)?;
        let mut position = 0;
        while let Some(listed) = self.live.listed(live, position)? {
            if upper.is_none_or(|upper| upper.shows(&listed.name)) {
                return Ok(false);
            }
            position = listed.position.saturating_add(1);
        }
        Ok(true)
    }

    /// Copies an inode of a folder up, with the directories that lead to it, so that it has its place whatever the host does.
    pub(super) fn promote_live(&mut self, ino: Ino) -> Result<(), Errno> {
        let mut way = alloc::vec::Vec::new();
        let mut at = ino;
        while Live::has(at) && !self.nodes.contains_key(&at) {
            way.push(at);
            at = self.live.position(at).ok_or(Errno::ESTALE)?.0;
        }
        for &ino in way.iter().rev() {
            let node = self.copy_up_live(ino)?;
            self.nodes.insert(ino, node);
            let Some((parent, name)) = self.live.position(ino) else { continue };
            if let Some((_, directory)) = self.upper_directory(parent)
                && Live::has(parent)
                && directory.shows(&name)
            {
                directory.insert(&name, ino);
            }
        }
        Ok(())
    }

    fn copy_up_live(&mut self, ino: Ino) -> Result<Node<'t>, Errno> {
        let mut meta = self.live.meta(ino)?;
        let body = match meta.kind {
            Kind::Directory => {
                meta.nlink = meta.nlink.max(2);
                let (parent, name) = self.live.position(ino).ok_or(Errno::ESTALE)?;
                Body::Directory(Directory::new(parent, &name, None))
            }
            Kind::File => Body::File(self.copy_content(ino)?),
            Kind::Symlink => {
                let target = self.live.read_link(ino)?;
                self.usage.charge_bytes(target.len() as u64)?;
                Body::Symlink(Box::from(target))
            }
            Kind::Fifo | Kind::Socket => Body::Special,
        };
        let mut node = Node::new(meta, body);
        if let Err(error) = self.usage.charge_inodes(charged_names(&meta)) {
            match &mut node.body {
                Body::File(content) => content.release(&mut self.usage),
                Body::Symlink(target) => self.usage.refund_bytes(target.len() as u64),
                Body::Directory(_) | Body::Special => {}
            }
            return Err(error);
        }
        Ok(node)
    }

    /// The bytes of a file of the host, as they are now.
    fn copy_content(&mut self, ino: Ino) -> Result<Content<'t>, Errno> {
        let mut content = Content::default();
        let copied = loop {
            let at = content.size();
            let (live, usage) = (&self.live, &mut self.usage);
            let read = live.read(ino, at, COPY_LEN, |run| {
                let mut rest = run;
                let offset = content.size();
                let written = content.write(offset, run.len(), usage, |page| {
                    let (part, behind) = rest.split_at_checked(page.len()).ok_or(Errno::EIO)?;
                    page.copy_from_slice(part);
                    rest = behind;
                    Ok(())
                })?;
                if written == run.len() { Ok(()) } else { Err(Errno::ENOSPC) }
            });
            match read {
                Ok(0) => break Ok(()),
                Ok(_) if self.usage.bytes_free() < PAGE => break self.at_end(ino, content.size()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        if !self.references.is_open(ino) {
            self.live.close(ino);
        }
        match copied {
            Ok(()) => Ok(content),
            Err(error) => {
                content.release(&mut self.usage);
                Err(error)
            }
        }
    }

    /// ENOSPC unless a file of the host ends at `offset`.
    fn at_end(&self, ino: Ino, offset: u64) -> Result<(), Errno> {
        match self.live.read(ino, offset, 1, |_| Ok(()))? {
            0 => Ok(()),
            _ => Err(Errno::ENOSPC),
        }
    }

    /// Keeps a folder's name from showing in a promoted directory once its own entry is taken away.
    pub(super) fn take_away_live(&mut self, dir: Ino, name: Name<'_>) -> Result<(), Errno> {
        let Halves { upper: Some(upper), live: Some(live), .. } = self.halves(dir) else { return Ok(()) };
        if upper.is_gone(name.bytes()) || self.live.lookup(live, name.bytes())?.is_none() {
            return Ok(());
        }
        self.usage.charge_inode()?;
        if let Some((_, directory)) = self.upper_directory(dir) {
            directory.take_away(name.bytes());
        }
        Ok(())
    }

    pub(super) fn make_direct(
        &self,
        ctx: &Context,
        dir: Ino,
        name: Name<'_>,
        (kind, mode): (Kind, u32),
    ) -> Result<Ino, Errno> {
        self.check_new(ctx, dir, name)?;
        self.live.make(dir, name.bytes(), kind, mode & crate::mode::PERMISSIONS)
    }

    /// Takes a name away on the host, and what lies under it in the tree.
    pub(super) fn remove_direct(&mut self, dir: Ino, name: Name<'_>, is_directory: bool) -> Result<(), Errno> {
        if self.live.lookup(dir, name.bytes())?.is_some() {
            self.live.remove(dir, name.bytes(), is_directory)?;
        }
        self.white_out_under(dir, name);
        Ok(())
    }

    fn white_out_under(&mut self, dir: Ino, name: Name<'_>) {
        if let Some(index) = self.live.under(dir).and_then(|under| self.lower.child(under, name.bytes())) {
            self.whiteouts.insert(index);
        }
    }

    /// Moves an entry on the host. Where names are hidden, or the tree shows through, what moves would change what is seen: EXDEV, and
    /// whoever asked copies.
    pub(super) fn rename_direct(
        &mut self,
        source: Ino,
        (from, to): (Place<'_>, Place<'_>),
        mode: RenameMode,
    ) -> Result<(), Errno> {
        if mode == RenameMode::Exchange {
            return Err(Errno::EINVAL);
        }
        self.check_hidden(to.0, to.1)?;
        let stays = !Live::has(source) || self.live.has_hidden(source) || self.live.under(source).is_some();
        if stays {
            return Err(Errno::EXDEV);
        }
        self.live.rename(source, (from.0, from.1.bytes()), (to.0, to.1.bytes()))?;
        self.white_out_under(from.0, from.1);
        self.white_out_under(to.0, to.1);
        Ok(())
    }

    /// EPERM for a name that a bind hides.
    pub(super) fn check_hidden(&self, dir: Ino, name: Name<'_>) -> Result<(), Errno> {
        if self.live.hides(dir, name.bytes()) { Err(Errno::EPERM) } else { Ok(()) }
    }
}

/// Bytes that are copied up at a time.
const COPY_LEN: usize = 256 << 10;
