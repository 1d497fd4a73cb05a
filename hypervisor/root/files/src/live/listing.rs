//! Directories of a server that are being read.
//!
//! A listing is what the directory held when reading it began anew. Each name keeps its position for as long as it is there, so that
//! several can read a directory at once, each from where it is, and see what exists throughout exactly once.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ninep::{Qid, open};

use super::{Live, errno};
use crate::attr::Ino;
use crate::{Errno, Kind};

/// Most entries in all listings of a sandbox.
const ENTRIES_MAX: usize = 1 << 17;
/// Inode number of an entry that nothing is known of, for the listing alone: it names nothing.
const UNKNOWN: u64 = u64::MAX;

/// The names of a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    by_position: BTreeMap<u64, Entry>,
    positions: BTreeMap<Arc<[u8]>, u64>,
    /// How many positions were given.
    given: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<[u8]>,
    kind: Kind,
    qid: Qid,
}

/// One entry of a listing.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) position: u64,
    pub(crate) name: Arc<[u8]>,
    pub(crate) kind: Kind,
    pub(crate) ino: Ino,
}

impl Listing {
    pub(super) fn len(&self) -> usize {
        self.by_position.len()
    }

    /// Takes over what is there now.
    fn renew(&mut self, now: Vec<Entry>) {
        let old = core::mem::take(&mut self.by_position);
        let old_positions = core::mem::take(&mut self.positions);
        for entry in now {
            let position = *self.positions.entry(Arc::clone(&entry.name)).or_insert_with(|| {
                old_positions.get(&entry.name).copied().filter(|at| old.contains_key(at)).unwrap_or_else(|| {
                    self.given += 1;
                    self.given - 1
                })
            });
            self.by_position.insert(position, entry);
        }
    }
}

impl Live {
    /// Reads a directory anew.
    pub(crate) fn list(&self, dir: Ino) -> Result<(), Errno> {
        let others = {
            let state = self.state.borrow();
            let own = state.nodes.get(&dir).and_then(|node| node.listing.as_ref()).map_or(0, Listing::len);
            state.listed.saturating_sub(own)
        };
        let room = ENTRIES_MAX.saturating_sub(others);
        let now = self.with(dir, |node, mut server| {
            let fid = server.duplicate(&node.fid).map_err(errno)?;
            let mut entries = Vec::new();
            let read = server.open(&fid, open::READ | open::DIRECTORY).map_err(errno).and_then(|qid| {
                if qid != node.qid {
                    return Err(Errno::ENOENT);
                }
                read_all(&mut server, &fid, room, &mut entries)
            });
            server.clunk(fid);
            if read == Err(Errno::ENFILE) {
                server.complain("a directory has more entries than can be listed");
            }
            let hidden = node.hidden.clone();
            entries.retain(|entry| !hidden.as_ref().is_some_and(|hidden| hidden.hides(&entry.name)));
            read.map(|()| entries)
        })?;
        let len = self.with(dir, |node, _| {
            let listing = node.listing.get_or_insert_default();
            listing.renew(now);
            Ok(listing.len())
        })?;
        self.state.borrow_mut().listed = others.saturating_add(len);
        Ok(())
    }

    /// Sees to it that there is a listing of a directory, and a new one if it is read from its start.
    pub(crate) fn prepare_listing(&self, dir: Ino, anew: bool) -> Result<(), Errno> {
        let is_listed = self.state.borrow().nodes.get(&dir).is_some_and(|node| node.listing.is_some());
        if is_listed && !anew { Ok(()) } else { self.list(dir) }
    }

    /// The first entry of a directory's listing at or after a position.
    pub(crate) fn listed(&self, dir: Ino, position: u64) -> Result<Option<Listed>, Errno> {
        let state = self.state.borrow();
        let node = state.nodes.get(&dir).ok_or(Errno::ESTALE)?;
        let Some(listing) = &node.listing else { return Ok(None) };
        let found = listing.by_position.range(position..).next().map(|(&position, entry)| Listed {
            position,
            name: Arc::clone(&entry.name),
            kind: entry.kind,
            ino: state.known(node.bind, entry.qid).unwrap_or(Ino(UNKNOWN - entry.qid.path % super::FIRST)),
        });
        Ok(found)
    }
}

impl Live {
    /// What a directory's listing has under a name, if anything.
    pub(crate) fn listed_as(&self, dir: Ino, name: &[u8]) -> Option<Listed> {
        let position = {
            let state = self.state.borrow();
            *state.nodes.get(&dir)?.listing.as_ref()?.positions.get(name)?
        };
        self.listed(dir, position).ok()?.filter(|listed| listed.position == position)
    }

    /// Has it that a directory holds nothing: the host has removed it.
    pub(crate) fn list_nothing(&self, dir: Ino) -> Result<(), Errno> {
        let len = self.with(dir, |node, _| {
            let listing = node.listing.get_or_insert_default();
            let len = listing.len();
            listing.renew(Vec::new());
            Ok(len)
        })?;
        let mut state = self.state.borrow_mut();
        state.listed = state.listed.saturating_sub(len);
        Ok(())
    }

    /// Whether a directory's listing has a name.
    pub(crate) fn lists(&self, dir: Ino, name: &[u8]) -> Result<bool, Errno> {
        self.with(dir, |node, _| Ok(node.listing.as_ref().is_some_and(|listing| listing.positions.contains_key(name))))
    }
}

/// Reads all entries of an open directory: ENFILE if there are more than `room`.
fn read_all<T: ninep::Transport>(
    server: &mut ninep::Client<T>,
    fid: &ninep::Fid,
    room: usize,
    entries: &mut Vec<Entry>,
) -> Result<(), Errno> {
    let (mut offset, mut seen) = (0, 0_usize);
    loop {
        let before = seen;
        let mut answer = server.read_dir(fid, offset).map_err(errno)?;
        for item in answer.by_ref() {
            let item = item.map_err(errno)?;
            seen += 1;
            // `.` and `..` are the stack's; devices are not there for a sandbox.
            let kind = kind(item.kind).filter(|_| !matches!(item.name, b"." | b".."));
            entries.extend(kind.map(|kind| Entry { name: item.name.into(), kind, qid: item.qid }));
        }
        offset = answer.next;
        if seen == before {
            return Ok(());
        }
        if seen > room.saturating_add(2) {
            return Err(Errno::ENFILE);
        }
    }
}

/// What a file is, by its code in a directory entry.
fn kind(code: u8) -> Option<Kind> {
    let kinds = [Kind::Directory, Kind::File, Kind::Symlink, Kind::Fifo, Kind::Socket];
    kinds.into_iter().find(|kind| kind.dirent_type() == u32::from(code))
}
