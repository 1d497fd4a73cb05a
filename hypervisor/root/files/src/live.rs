//! Folders of the host, bound into the tree: what is known of the files of a 9P server that somebody here looks at.
//!
//! Nothing of a folder is kept beside the numbers of what is in use: each lookup, each reading of attributes and of bytes asks the server,
//! so that what the host changes is seen at once, and what it removes is gone. Only a directory that is being read is remembered, so
//! that reading it goes on where it was ([`listing`]).
//!
//! The server names files by *qids*. A file that is met again by the same qid has the same inode number here, whatever its name. A
//! directory that is met at another place has moved there; one that would come to lie in itself is an error, so that following
//! parents always ends ([`known`]). The server's fids stand for paths on the host: they are renewed at each lookup, and what is opened by one
//! is compared with what it should be.
//!
//! What a bind hides ([`Hidden`]) is not there for anybody: it is left out of lookups and listings, and cannot be made.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};

use linux_raw_sys::general as linux;
use ninep::{Client, Fid, Qid, Stat};

use crate::attr::{Ino, Timestamp, mode};
use crate::lower::Index;
use crate::name::TARGET_MAX;
use crate::node::Meta;
use crate::{Errno, Kind};

mod bytes;
mod change;
mod hidden;
mod known;
mod listing;

use hidden::Hidden;
use listing::Listing;

/// A 9P server that serves one folder, shared by all sandboxes that it is bound into.
pub type Server = Rc<RefCell<Client<Box<dyn ninep::Transport>>>>;

/// What is told of a folder that is no longer there.
const REMOVED: &str = "the host has removed it";

/// First number of inodes that are the server's: beyond all that a tree and its upper layer can have.
const FIRST: u64 = 1 << 62;

/// What a program may do with a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// Read it: EROFS for the rest.
    ReadOnly,
    /// Change it for itself: what it changes is kept in the upper layer.
    CopyOnWrite,
    /// Change it on the host.
    Direct,
}

/// A folder of the host and its place in the tree.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Who serves it.
    pub server: Server,
    /// The directory of the tree that it covers: an absolute path without links.
    pub at: Vec<u8>,
    /// What may be done.
    pub mode: BindMode,
    /// What the tree has there shows where the folder has nothing.
    pub merge: bool,
    /// Paths in the folder that are hidden, without `/` at their start.
    pub except: Vec<Vec<u8>>,
}

/// A bind in the tree.
#[derive(Debug)]
struct Mounted {
    server: Server,
    mode: BindMode,
    /// Its own inode.
    root: Ino,
}

/// A file of a server that somebody looks at.
#[derive(Debug)]
struct LiveNode {
    bind: usize,
    fid: Fid,
    qid: Qid,
    generation: u64,
    parent: Ino,
    name: Arc<[u8]>,
    /// The directory of the tree that shows through this one.
    under: Option<Index>,
    hidden: Option<Rc<Hidden>>,
    open: Option<Opened>,
    listing: Option<Listing>,
    /// Its attributes when they were last read: of an open file whose name is gone, the server tells no others.
    last: Option<Stat>,
}

/// A bind, the server's name for a file, and what tells it from an earlier file of that name.
type Identity = (usize, Qid, u64);

#[derive(Debug)]
struct Opened {
    fid: Fid,
    writable: bool,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<Ino, LiveNode>,
    /// By what the server tells them by.
    by_identity: BTreeMap<Identity, Ino>,
    /// How many numbers have been given.
    given: u64,
    /// Nodes that were made since the last sweep.
    fresh: usize,
    /// Entries in all listings.
    listed: usize,
}

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) ino: Ino,
    pub(crate) is_directory: bool,
}

/// All folders of a stack.
#[derive(Debug, Default)]
pub(crate) struct Live {
    binds: Vec<Mounted>,
    state: RefCell<State>,
}

/// What the server, or the way to it, says.
pub(crate) fn errno(error: ninep::Error) -> Errno {
    match error {
        ninep::Error::Host(number) => Errno::from_host(number),
        ninep::Error::TooManyFids => Errno::ENFILE,
        ninep::Error::Nonsense(_) | ninep::Error::NoAnswer => Errno::EIO,
    }
}

impl Live {
    /// Whether an inode is a server's.
    pub(crate) const fn has(ino: Ino) -> bool {
        ino.0 >= FIRST
    }

    /// Takes a folder in, at `name` in `parent`; the inode of its root.
    pub(crate) fn mount(&mut self, bind: Bind, place: (Ino, &[u8]), under: Option<Index>) -> Result<Ino, Errno> {
        let (fid, qid) = bind.server.borrow_mut().attach().map_err(errno)?;
        let stat = bind.server.borrow_mut().identify(&fid).map_err(errno);
        let generation = match stat {
            Ok(stat) if qid.is_directory() => stat.generation,
            other => {
                bind.server.borrow_mut().clunk(fid);
                return Err(other.err().unwrap_or(Errno::ENOTDIR));
            }
        };
        let state = self.state.get_mut();
        let root = state.number();
        let number = self.binds.len();
        let hidden = Hidden::new(&bind.except);
        let node = LiveNode {
            bind: number,
            fid,
            qid,
            generation,
            parent: place.0,
            name: place.1.into(),
            under: under.filter(|_| bind.merge),
            hidden: (!hidden.is_leaf()).then(|| Rc::new(hidden)),
            open: None,
            listing: None,
            last: None,
        };
        state.nodes.insert(root, node);
        state.by_identity.insert((number, qid, generation), root);
        self.binds.push(Mounted { server: bind.server, mode: bind.mode, root });
        Ok(root)
    }

    /// Whether there are folders at all.
    pub(crate) const fn is_any(&self) -> bool {
        !self.binds.is_empty()
    }

    /// What may be done with an inode; nothing if it is no server's.
    pub(crate) fn mode(&self, ino: Ino) -> Option<BindMode> {
        self.bind(ino).map(|bind| bind.mode)
    }

    /// The bind that an inode is in.
    pub(crate) fn bind_number(&self, ino: Ino) -> Option<usize> {
        if !Self::has(ino) {
            return None;
        }
        self.state.borrow().nodes.get(&ino).map(|node| node.bind)
    }

    fn bind(&self, ino: Ino) -> Option<&Mounted> {
        self.binds.get(self.bind_number(ino)?)
    }

    /// Whether it is the root of a bind.
    pub(crate) fn is_root(&self, ino: Ino) -> bool {
        Self::has(ino) && self.binds.iter().any(|bind| bind.root == ino)
    }

    /// The directory that a directory is in, and its name there.
    pub(crate) fn position(&self, ino: Ino) -> Option<(Ino, Arc<[u8]>)> {
        if !Self::has(ino) {
            return None;
        }
        self.state.borrow().nodes.get(&ino).map(|node| (node.parent, Arc::clone(&node.name)))
    }

    /// The directory of the tree that shows through this one.
    pub(crate) fn under(&self, ino: Ino) -> Option<Index> {
        if !Self::has(ino) {
            return None;
        }
        self.state.borrow().nodes.get(&ino)?.under
    }

    /// A directory of the tree shows through this one.
    pub(crate) fn set_under(&self, ino: Ino, under: Option<Index>) {
        if let Some(node) = self.state.borrow_mut().nodes.get_mut(&ino) {
            node.under = under;
        }
    }

    /// Whether a bind hides this name in a directory.
    pub(crate) fn hides(&self, dir: Ino, name: &[u8]) -> bool {
        let state = self.state.borrow();
        let hidden = state.nodes.get(&dir).and_then(|node| node.hidden.as_ref());
        hidden.is_some_and(|hidden| hidden.hides(name))
    }

    /// Whether there are hidden names in a directory or below it.
    pub(crate) fn has_hidden(&self, ino: Ino) -> bool {
        self.state.borrow().nodes.get(&ino).is_some_and(|node| node.hidden.is_some())
    }

    /// The node with its server: ESTALE if nothing is known of it.
    fn with<V>(
        &self,
        ino: Ino,
        work: impl FnOnce(&mut LiveNode, RefMut<'_, Client<Box<dyn ninep::Transport>>>) -> Result<V, Errno>,
    ) -> Result<V, Errno> {
        let mut state = self.state.borrow_mut();
        let node = state.nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        let bind = self.binds.get(node.bind).ok_or(Errno::ESTALE)?;
        work(node, bind.server.borrow_mut())
    }

    /// Attributes as the server has them now. Of an open file whose name is gone or names another: as they were, without a name.
    pub(crate) fn stat(&self, ino: Ino) -> Result<Stat, Errno> {
        let is_root = self.is_root(ino);
        self.with(ino, |node, mut server| {
            let gone = match server.stat(&node.fid) {
                Ok(stat) if stat.qid == node.qid => {
                    if stat.nlink == 0 && is_root {
                        server.complain_once(REMOVED);
                    }
                    node.last = Some(stat);
                    return Ok(stat);
                }
                Ok(_) => Errno::ESTALE,
                Err(ninep::Error::Host(number)) if Errno::from_host(number) == Errno::ENOENT => Errno::ENOENT,
                Err(error) => return Err(errno(error)),
            };
            if is_root {
                server.complain_once(REMOVED);
            }
            let last = node.last.filter(|_| node.open.is_some());
            last.map(|stat| Stat { nlink: 0, ..stat }).ok_or(gone)
        })
    }

    /// Attributes in this crate's terms.
    pub(crate) fn meta(&self, ino: Ino) -> Result<Meta, Errno> {
        meta(&self.stat(ino)?)
    }

    /// Where a symbolic link points.
    pub(crate) fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        let target = self.with(ino, |node, mut server| match node.qid.is_symlink() {
            true => server.read_link(&node.fid).map_err(errno),
            false => Err(Errno::EINVAL),
        })?;
        if target.len() > TARGET_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(target) }
    }
}

impl Drop for Live {
    /// The server outlives the sandbox: gives back what this one had of it.
    fn drop(&mut self) {
        let mut state = self.state.take();
        let all: Vec<Ino> = state.nodes.keys().copied().collect();
        all.into_iter().for_each(|ino| self.drop_node(&mut state, ino));
    }
}

/// What a file is, by its mode: ENXIO for a device.
fn kind(st_mode: u32) -> Result<Kind, Errno> {
    Ok(match st_mode & linux::S_IFMT {
        linux::S_IFDIR => Kind::Directory,
        linux::S_IFREG => Kind::File,
        linux::S_IFLNK => Kind::Symlink,
        linux::S_IFIFO => Kind::Fifo,
        linux::S_IFSOCK => Kind::Socket,
        _ => return Err(Errno::ENXIO),
    })
}

/// Attributes in this crate's terms.
pub(crate) fn meta(stat: &Stat) -> Result<Meta, Errno> {
    let time = |time: ninep::Time| Timestamp { seconds: time.seconds, nanoseconds: time.nanoseconds };
    Ok(Meta {
        kind: kind(stat.mode)?,
        mode: stat.mode & mode::PERMISSIONS,
        nlink: u32::try_from(stat.nlink).unwrap_or(u32::MAX),
        uid: stat.uid,
        gid: stat.gid,
        atime: time(stat.atime),
        mtime: time(stat.mtime),
        ctime: time(stat.ctime),
    })
}
