//! The read-only tree while it is put together.
//!
//! A [`Tree`] starts with the layers and is then completed from the host's files, one named path at a time: what the tree has
//! hides what the host has. Links on the way are kept as links, so that every path that leads
//! to a file here leads to it there.
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Links followed before a path counts as a loop, as on Linux.
pub(super) const MAX_LINKS: u32 = 40;

/// Permissions, owner and time of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Seconds since the epoch.
    pub(crate) mtime: i64,
}

impl Meta {
    /// As the host has it.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid(), mtime: metadata.mtime() }
    }

    /// Of what the packer makes up.
    pub(super) const fn made_up(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 0 }
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory and what is in it.
    Directory(BTreeMap<Vec<u8>, Node>),
    /// A regular file.
    File(Content),
    /// A link and where it points.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
}

/// A regular file of the host whose bytes are to be packed, or bytes of the packer's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file of the host.
    Host(HostFile),
    /// Made by the packer.
    Made(Vec<u8>),
}

impl Content {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Host(file) => file.len,
            Self::Made(bytes) => bytes.len() as u64,
        }
    }
}

/// A regular file of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFile {
    /// Where it is on the host.
    pub(crate) path: PathBuf,
    /// Where in it the bytes begin: 0, or a place in a layer's archive.
    pub(crate) offset: u64,
    /// Its length when it was looked at.
    pub(crate) len: u64,
    /// Device and inode, or layer and entry: two names of one file are packed once.
    pub(crate) id: (u64, u64),
    /// When content and attributes changed last, in seconds and nanoseconds: with the rest, whether it is still the same.
    pub(crate) changed: [i64; 4],
    /// It came with a layer, and not because this run names it.
    pub(crate) of_layer: bool,
}

/// A file with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its metadata.
    pub(crate) meta: Meta,
    /// What it is.
    pub(crate) kind: Kind,
}

/// Where a path leads, links resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A directory.
    Directory,
    /// A regular file, its metadata, and its path without links.
    File {
        /// Where its bytes are on the host.
        file: HostFile,
        /// Its metadata.
        meta: Meta,
        /// Its path in the tree, without links.
        path: PathBuf,
    },
    /// A device, socket or named pipe.
    Special,
    /// Nothing.
    Missing,
}

/// One step of a walk: a path without links in its directory part, and what is there if only the host has it.
type Step = (PathBuf, Node);

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Node,
    /// The host's files are found where the tree has none.
    with_host: bool,
}

impl Tree {
    /// A tree with nothing but the directories that every program may expect.
    pub(crate) fn new() -> Self {
        let made_up = |mode| Node { meta: Meta::made_up(mode), kind: Kind::Directory(BTreeMap::new()) };
        let mut top = BTreeMap::new();
        let directories =
            [("dev", 0o755), ("etc", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555), ("tmp", 0o1777)];
        for (name, mode) in directories {
            top.insert(name.as_bytes().to_vec(), made_up(mode));
        }
        Self { root: Node { meta: Meta::made_up(0o755), kind: Kind::Directory(top) }, with_host: true }
    }

    /// The same for an image, beside which there is no host: what the tree lacks is not found.
    pub(crate) fn without_host() -> Self {
        Self { with_host: false, ..Self::new() }
    }

    /// A tree with nothing in it, to become a layer.
    pub(crate) fn empty() -> Self {
        Self { root: Node { meta: Meta::made_up(0o755), kind: Kind::Directory(BTreeMap::new()) }, with_host: false }
    }

    /// Whether what it lacks is looked for on the host.
    pub(crate) fn has_host(&self) -> bool {
        self.with_host
    }

    /// The root directory.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// Finds what `path` (absolute) leads to, in the tree or on the host.
    pub(crate) fn find(&self, path: &Path) -> Result<Found> {
        Ok(self.walk(path)?.0)
    }

    /// Whether the tree alone, without the host, holds what `path` leads to.
    #[cfg(test)]
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let (found, steps) = self.walk(path).unwrap();
        steps.is_empty() && matches!(found, Found::Directory | Found::File { .. })
    }

    /// Takes what `path` leads to into the tree, with every directory and link on the way.
    /// Directories come without what is in them.
    pub(crate) fn import(&mut self, path: &Path) -> Result<Found> {
        let (found, steps) = self.walk(path)?;
        if matches!(found, Found::Directory | Found::File { .. }) {
            for (path, node) in steps {
                self.place(&path, node)?;
            }
        }
        Ok(found)
    }

    /// Puts a file of the packer's own at a path whose directory is there, unless something is.
    pub(crate) fn make(&mut self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        if self.node(path).is_some() {
            return Ok(());
        }
        let node = Node { meta: Meta::made_up(0o644), kind: Kind::File(Content::Made(bytes)) };
        self.place(path, node)
    }

    /// Puts a file of the host, links followed, at a path without links whose directory is there, in place of what may be there.
    pub(crate) fn place_host_file(&mut self, from: &Path, path: &Path) -> Result<()> {
        let from = from.canonicalize().with_context(|| from.display().to_string())?;
        match (host_node(&from)?, self.node(path).map(|node| &node.kind)) {
            (_, Some(Kind::Directory(_))) => bail!("{} is a directory in the sandbox", path.display()),
            (HostNode::Node(node), _) if matches!(node.kind, Kind::File(_)) => self.place(path, node),
            _ => bail!("it is no file"),
        }
    }

    /// Walks `path` over tree and host together. The steps are the entries that the tree lacks, in order.
    fn walk(&self, path: &Path) -> Result<(Found, Vec<Step>)> {
        let mut steps = Vec::new();
        let mut links = 0;
        let mut here = PathBuf::from("/");
        let mut rest: Vec<Vec<u8>> = names_reversed(path);
        while let Some(name) = rest.pop() {
            if name == b".." {
                here.pop();
                continue;
            }
            let next = here.join(OsStr::from_bytes(&name));
            let node = match self.node(&next).or_else(|| step_at(&steps, &next)) {
                Some(node) => node.clone_shallow(),
                None if !self.with_host => return Ok((Found::Missing, steps)),
                None => match host_node(&next)? {
                    HostNode::Node(node) => {
                        steps.push((next.clone(), node.clone()));
                        node
                    }
                    HostNode::Special if rest.is_empty() => return Ok((Found::Special, steps)),
                    HostNode::Special | HostNode::Missing => return Ok((Found::Missing, steps)),
                },
            };
            match node.kind {
                Kind::Directory(_) => here = next,
                Kind::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        bail!("{}: too many levels of symbolic links", path.display());
                    }
                    if target.starts_with(b"/") {
                        here = PathBuf::from("/");
                    }
                    rest.extend(names_reversed(Path::new(OsStr::from_bytes(&target))));
                }
                Kind::File(Content::Host(file)) if rest.is_empty() => {
                    let found = Found::File { file, meta: node.meta, path: next };
                    return Ok((found, steps));
                }
                // The packer's own files are found by nobody but the program.
                Kind::File(_) => return Ok((Found::Missing, steps)),
                Kind::Fifo if rest.is_empty() => return Ok((Found::Special, steps)),
                Kind::Fifo => return Ok((Found::Missing, steps)),
            }
        }
        Ok((Found::Directory, steps))
    }

    /// The tree's own entry at a path without links.
    pub(crate) fn node(&self, path: &Path) -> Option<&Node> {
        let mut node = &self.root;
        for name in names_reversed(path).iter().rev() {
            let Kind::Directory(entries) = &node.kind else {
                return None;
            };
            node = entries.get(name)?;
        }
        Some(node)
    }

    /// Puts `node` at a path whose directories are there already.
    pub(super) fn place(&mut self, path: &Path, node: Node) -> Result<()> {
        let mut names = names_reversed(path);
        let name = names.remove(0);
        let mut at = &mut self.root;
        for name in names.iter().rev() {
            let Kind::Directory(entries) = &mut at.kind else {
                bail!("{}: not a directory", path.display());
            };
            at = entries.get_mut(name).with_context(|| format!("{}: its directory is missing", path.display()))?;
        }
        let Kind::Directory(entries) = &mut at.kind else {
            bail!("{}: not a directory", path.display());
        };
        entries.insert(name, node);
        Ok(())
    }

    /// Lays a directory of the host over the tree's root. Returns the files left out: devices and sockets.
    pub(crate) fn lay_over(&mut self, dir: &Path) -> Result<Vec<PathBuf>> {
        let metadata = fs::metadata(dir).with_context(|| format!("cannot read the layer {}", dir.display()))?;
        if !metadata.is_dir() {
            bail!("the layer {} is not a directory", dir.display());
        }
        self.root.meta = Meta::of(&metadata);
        let mut left_out = Vec::new();
        self.lay_directory(dir, Path::new("/"), &mut left_out)
            .with_context(|| format!("cannot read the layer {}", dir.display()))?;
        Ok(left_out)
    }

    /// Lays what is in the host's `from` over the tree's `to`.
    fn lay_directory(&mut self, from: &Path, to: &Path, left_out: &mut Vec<PathBuf>) -> Result<()> {
        let entries = fs::read_dir(from).with_context(|| from.display().to_string())?;
        for entry in entries {
            let entry = entry.with_context(|| from.display().to_string())?;
            let source = entry.path();
            let place = to.join(entry.file_name());
            match host_node(&source)? {
                HostNode::Special => left_out.push(source),
                HostNode::Missing => {}
                HostNode::Node(node) if matches!(node.kind, Kind::Directory(_)) => {
                    let place = self.lay_directory_entry(&place, node)?;
                    self.lay_directory(&source, &place, left_out)?;
                }
                HostNode::Node(mut node) => {
                    if let Kind::File(Content::Host(file)) = &mut node.kind {
                        file.of_layer = true;
                    }
                    self.place(&place, node)?;
                }
            }
        }
        Ok(())
    }

    /// Lays a directory over what the tree has at `place`; returns where it ended up: a link to a directory
    /// is followed, so that a layer's `lib/` lands in `usr/lib` where `/lib` is a link to that.
    fn lay_directory_entry(&mut self, place: &Path, directory: Node) -> Result<PathBuf> {
        let place = self.directory_behind(place).unwrap_or_else(|| place.to_owned());
        match self.node_mut(&place) {
            Some(existing) if matches!(existing.kind, Kind::Directory(_)) => {
                existing.meta = directory.meta;
            }
            _ => self.place(&place, directory)?,
        }
        Ok(place)
    }

    /// The path of the directory that `place` names through links of the tree itself.
    fn directory_behind(&self, place: &Path) -> Option<PathBuf> {
        let mut place = place.to_owned();
        for _ in 0..MAX_LINKS {
            let Kind::Symlink(target) = &self.node(&place)?.kind else {
                return Some(place);
            };
            let mut next = place.parent()?.to_owned();
            for component in Path::new(OsStr::from_bytes(target)).components() {
                match component {
                    Component::RootDir => next = PathBuf::from("/"),
                    Component::ParentDir => {
                        next.pop();
                    }
                    Component::Normal(name) => next.push(name),
                    Component::CurDir | Component::Prefix(_) => {}
                }
            }
            place = next;
        }
        None
    }

    /// The same, to be changed.
    pub(super) fn node_mut(&mut self, path: &Path) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for name in names_reversed(path).iter().rev() {
            let Kind::Directory(entries) = &mut node.kind else {
                return None;
            };
            node = entries.get_mut(name)?;
        }
        Some(node)
    }
}

impl Node {
    /// A copy without the entries of a directory.
    fn clone_shallow(&self) -> Self {
        let kind = match &self.kind {
            Kind::Directory(_) => Kind::Directory(BTreeMap::new()),
            other => other.clone(),
        };
        Self { meta: self.meta, kind }
    }
}

/// What an earlier step of the same walk found at `path`: an absolute link leads through the same directories again.
fn step_at<'s>(steps: &'s [Step], path: &Path) -> Option<&'s Node> {
    steps.iter().find(|(place, _)| place == path).map(|(_, node)| node)
}

/// The names of a path, last first; `..` is kept.
pub(super) fn names_reversed(path: &Path) -> Vec<Vec<u8>> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            Component::ParentDir => Some(b"..".to_vec()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// What the host has at a path.
enum HostNode {
    /// A file that can be packed.
    Node(Node),
    /// A device or socket.
    Special,
    /// Nothing.
    Missing,
}

/// Looks at the host's file at `path`, without following a link there.
fn host_node(path: &Path) -> Result<HostNode> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(HostNode::Missing);
        }
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    let file_type = metadata.file_type();
    let kind = if file_type.is_dir() {
        Kind::Directory(BTreeMap::new())
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).with_context(|| path.display().to_string())?;
        Kind::Symlink(target.into_os_string().into_vec())
    } else if file_type.is_file() {
        Kind::File(Content::Host(HostFile {
            path: path.to_owned(),
            offset: 0,
            len: metadata.len(),
            id: (metadata.dev(), metadata.ino()),
            changed: [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()],
            of_layer: false,
        }))
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else {
        debug_assert!(file_type.is_socket() || file_type.is_block_device() || file_type.is_char_device());
        return Ok(HostNode::Special);
    };
    Ok(HostNode::Node(Node { meta: Meta::of(&metadata), kind }))
}
