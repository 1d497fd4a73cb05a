//! Which files of a folder are known: looking names up, and letting go of what nobody refers to.
use alloc::collections::BTreeSet;
use alloc::rc::Rc;
use alloc::vec::Vec;

use ninep::{Fid, Qid, Stat};

use super::hidden::Hidden;
use super::{FIRST, Found, Live, LiveNode, State, errno, kind};
use crate::attr::Ino;
use crate::name::Name;
use crate::{Errno, Kind};

/// Nodes that may be made before those that nobody refers to are looked for.
const SWEEP_AFTER: usize = 256;

impl Live {
    /// The entry of a directory with this name: nothing if there is none, or one that no sandbox can use.
    pub(crate) fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Option<Found>, Errno> {
        Name::new(name)?;
        if self.hides(dir, name) {
            return Ok(None);
        }
        let walked = self.with(dir, |node, mut server| {
            let (fid, qid) = match server.walk(&node.fid, name) {
                Ok(found) => found,
                Err(ninep::Error::Host(number)) if Errno::from_host(number) == Errno::ENOENT => return Ok(None),
                Err(error) => return Err(errno(error)),
            };
            // What has the name by now may be something else. Devices have no kind here.
            let found = server.identify(&fid).map_err(errno).and_then(|stat| {
                let is_it = stat.qid == qid;
                if is_it { Ok((stat, kind(stat.mode)?)) } else { Err(Errno::ESTALE) }
            });
            match found {
                Ok((stat, kind)) => {
                    let hidden = node.hidden.as_ref().and_then(|hidden| hidden.below(name));
                    Ok(Some((node.bind, fid, stat, kind, hidden)))
                }
                Err(error) => {
                    server.clunk(fid);
                    match error {
                        Errno::ENOENT | Errno::ESTALE | Errno::ENXIO => Ok(None),
                        error => Err(error),
                    }
                }
            }
        })?;
        let Some((bind, fid, stat, kind, hidden)) = walked else { return Ok(None) };
        let ino = self.place(bind, (fid, stat), (dir, name), hidden)?;
        Ok(Some(Found { ino, is_directory: kind == Kind::Directory }))
    }

    /// The node of what was found in a directory under a name; `fid` is its own from now on.
    fn place(
        &self,
        bind: usize,
        (fid, stat): (Fid, Stat),
        (dir, name): (Ino, &[u8]),
        hidden: Option<Rc<Hidden>>,
    ) -> Result<Ino, Errno> {
        let Stat { qid, generation, .. } = stat;
        let mut state = self.state.borrow_mut();
        let server = &self.binds.get(bind).ok_or(Errno::ESTALE)?.server;
        if let Some(&known) = state.by_identity.get(&(bind, qid, generation)) {
            let in_itself = qid.is_directory() && state.lies_in(dir, known);
            let mut server = server.borrow_mut();
            if in_itself || self.binds.iter().any(|bind| bind.root == known) {
                server.complain("a directory lies in itself");
                server.clunk(fid);
                return Err(Errno::EIO);
            }
            if let Some(node) = state.nodes.get_mut(&known) {
                let old = core::mem::replace(&mut node.fid, fid);
                server.clunk(old);
                (node.parent, node.name, node.last) = (dir, name.into(), Some(stat));
                node.hidden = hidden.or(node.hidden.take());
                return Ok(known);
            }
        }
        let ino = state.number();
        let node = LiveNode {
            bind,
            fid,
            qid,
            generation,
            parent: dir,
            name: name.into(),
            under: None,
            hidden,
            open: None,
            listing: None,
            last: Some(stat),
        };
        state.nodes.insert(ino, node);
        state.by_identity.insert((bind, qid, generation), ino);
        state.fresh += 1;
        Ok(ino)
    }

    /// Whether there may be nodes that nobody refers to.
    pub(crate) fn wants_sweep(&self) -> bool {
        !self.binds.is_empty() && self.state.borrow().fresh >= SWEEP_AFTER
    }

    /// Lets go of the nodes that are not to be kept, and lead to none that is.
    pub(crate) fn sweep(&self, keep: impl Fn(Ino) -> bool) {
        let mut state = self.state.borrow_mut();
        let mut kept = BTreeSet::new();
        for &ino in state.nodes.keys() {
            if keep(ino) || self.binds.iter().any(|bind| bind.root == ino) {
                state.ancestors(ino).take_while(|at| kept.insert(*at)).for_each(drop);
            }
        }
        let gone: Vec<Ino> = state.nodes.keys().filter(|ino| !kept.contains(ino)).copied().collect();
        for ino in gone {
            self.drop_node(&mut state, ino);
        }
        state.fresh = 0;
    }

    pub(super) fn drop_node(&self, state: &mut State, ino: Ino) {
        let Some(node) = state.nodes.remove(&ino) else { return };
        let identity = (node.bind, node.qid, node.generation);
        if state.by_identity.get(&identity) == Some(&ino) {
            state.by_identity.remove(&identity);
        }
        state.listed = state.listed.saturating_sub(node.listing.map_or(0, |listing| listing.len()));
        if let Some(bind) = self.binds.get(node.bind) {
            let mut server = bind.server.borrow_mut();
            node.open.into_iter().for_each(|open| server.clunk(open.fid));
            server.clunk(node.fid);
        }
    }
}

impl State {
    /// A number that was never used.
    pub(super) fn number(&mut self) -> Ino {
        self.given += 1;
        Ino(FIRST + self.given)
    }

    /// The file that an entry of a directory names, if it is known. Entries do not tell a file from an earlier one: it is the last that came.
    pub(super) fn known(&self, bind: usize, qid: Qid) -> Option<Ino> {
        self.by_identity.range((bind, qid, 0)..=(bind, qid, u64::MAX)).map(|(_, ino)| *ino).max()
    }

    /// A node and the directories that it is in, as far as they are the server's. No directory lies in itself, so this ends.
    fn ancestors(&self, ino: Ino) -> impl Iterator<Item = Ino> {
        core::iter::successors(Some(ino), |at| {
            let parent = self.nodes.get(at)?.parent;
            self.nodes.contains_key(&parent).then_some(parent)
        })
    }

    pub(super) fn lies_in(&self, dir: Ino, ancestor: Ino) -> bool {
        self.ancestors(dir).any(|at| at == ancestor)
    }
}
