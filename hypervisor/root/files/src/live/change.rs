//! Changing a folder on the host. The stack has checked what mode bits and kinds have to say; the host has its own say after that.
use core::ops::Range;

use alloc::sync::Arc;
use alloc::vec;

use ninep::{SetStat, Stat};

use super::{Live, Opened, errno};
use crate::attr::{Ino, SetAttr, SetTime, Statfs, Timestamp};
use crate::content::MAX_SIZE;
use crate::{Errno, Kind};

/// Bytes that are handed on at a time.
const CHUNK: usize = 32 << 10;

impl Live {
    /// Makes a name in a directory: a file, directory, fifo or socket.
    pub(crate) fn make(&self, dir: Ino, name: &[u8], kind: Kind, mode: u32) -> Result<Ino, Errno> {
        let mut created = None;
        self.with(dir, |node, mut server| {
            match kind {
                Kind::File => {
                    let fid = server.duplicate(&node.fid).map_err(errno)?;
                    created = Some(server.create(fid, name, mode).map_err(errno)?);
                }
                Kind::Directory => server.make_directory(&node.fid, name, mode).map_err(errno)?,
                Kind::Fifo | Kind::Socket => {
                    server.make_node(&node.fid, name, kind.mode_bits() | mode).map_err(errno)?;
                }
                Kind::Symlink => return Err(Errno::EINVAL),
            }
            Ok(())
        })?;
        let found = self.lookup(dir, name);
        if let Some((fid, qid)) = created {
            let ino = found.as_ref().ok().and_then(|found| *found).map(|found| found.ino);
            let kept = ino.map(|ino| {
                self.with(ino, |node, mut server| {
                    if node.qid == qid && node.open.is_none() {
                        node.open = Some(Opened { fid, writable: true });
                    } else {
                        server.clunk(fid);
                    }
                    Ok(())
                })
            });
            kept.unwrap_or(Ok(()))?;
        }
        Ok(found?.ok_or(Errno::ENOENT)?.ino)
    }

    /// Makes a symbolic link.
    pub(crate) fn make_symlink(&self, dir: Ino, name: &[u8], target: &[u8]) -> Result<Ino, Errno> {
        self.with(dir, |node, mut server| server.make_symlink(&node.fid, name, target).map_err(errno))?;
        Ok(self.lookup(dir, name)?.ok_or(Errno::ENOENT)?.ino)
    }

    /// Does `work` with two nodes' fids, both of the same bind: EXDEV if they are not.
    fn with_two<V>(
        &self,
        (one, other): (Ino, Ino),
        work: impl FnOnce(
            &mut ninep::Client<alloc::boxed::Box<dyn ninep::Transport>>,
            &ninep::Fid,
            &ninep::Fid,
        ) -> Result<V, ninep::Error>,
    ) -> Result<V, Errno> {
        let state = self.state.borrow();
        let (Some(one), Some(other)) = (state.nodes.get(&one), state.nodes.get(&other)) else {
            return Err(Errno::ESTALE);
        };
        if one.bind != other.bind {
            return Err(Errno::EXDEV);
        }
        let bind = self.binds.get(one.bind).ok_or(Errno::ESTALE)?;
        work(&mut bind.server.borrow_mut(), &one.fid, &other.fid).map_err(errno)
    }

    /// Gives a file one more name.
    pub(crate) fn link(&self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.check_fresh(ino)?;
        self.with_two((ino, dir), |server, file, dir| server.link(file, dir, name))
    }

    /// Takes a name away.
    pub(crate) fn remove(&self, dir: Ino, name: &[u8], is_directory: bool) -> Result<(), Errno> {
        self.with(dir, |node, mut server| server.remove(&node.fid, name, is_directory).map_err(errno))
    }

    /// Moves an entry, which is `ino`, over what is there.
    pub(crate) fn rename(&self, ino: Ino, from: (Ino, &[u8]), to: (Ino, &[u8])) -> Result<(), Errno> {
        self.with_two((from.0, to.0), |server, from_dir, to_dir| server.rename((from_dir, from.1), (to_dir, to.1)))?;
        let circle = {
            let mut state = self.state.borrow_mut();
            let circle = state.lies_in(to.0, ino);
            if let Some(node) = state.nodes.get_mut(&ino).filter(|_| !circle) {
                (node.parent, node.name) = (to.0, Arc::from(to.1));
            }
            circle
        };
        if circle {
            // The stack has looked before; no server that keeps its files in order lets it come so far.
            return self.with(ino, |_, mut server| {
                server.complain("a directory lies in itself");
                Err(Errno::EIO)
            });
        }
        // Its path has changed: its number is renewed.
        self.lookup(to.0, to.1).map(drop)
    }

    /// ESTALE if what has the node's name by now is something else: requests that go by name must not change that.
    fn check_fresh(&self, ino: Ino) -> Result<Stat, Errno> {
        self.with(ino, |node, mut server| {
            let stat = server.stat(&node.fid).map_err(errno)?;
            if stat.qid == node.qid { Ok(stat) } else { Err(Errno::ESTALE) }
        })
    }

    /// Changes attributes.
    pub(crate) fn set_attr(&self, ino: Ino, set: &SetAttr) -> Result<(), Errno> {
        if set.size.is_some_and(|size| size > MAX_SIZE) {
            return Err(Errno::EFBIG);
        }
        self.check_fresh(ino)?;
        let time = |time: Option<SetTime>| {
            time.map(|time| match time {
                SetTime::Now => ninep::SetTime::Now,
                SetTime::At(Timestamp { seconds, nanoseconds }) => {
                    ninep::SetTime::At(ninep::Time { seconds, nanoseconds })
                }
            })
        };
        let set = SetStat {
            mode: set.mode.map(|mode| mode & crate::mode::PERMISSIONS),
            uid: set.uid,
            gid: set.gid,
            size: set.size,
            atime: time(set.atime),
            mtime: time(set.mtime),
        };
        self.with(ino, |node, mut server| server.set_stat(&node.fid, &set).map_err(errno))
    }

    /// Writes what `fill` gives, up to `len` bytes; `offset` `None` appends. Returns how many the host has taken.
    pub(crate) fn write(
        &self,
        ino: Ino,
        offset: Option<u64>,
        len: usize,
        mut fill: impl FnMut(&mut [u8]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let start = match offset {
            Some(offset) => offset,
            None => self.stat(ino)?.size,
        };
        let range = start..start.saturating_add(len as u64).min(MAX_SIZE);
        if len > 0 && range.is_empty() {
            return Err(Errno::EFBIG);
        }
        self.open(ino, true)?;
        let mut chunk = vec![0; CHUNK.min(len)];
        let mut at = range.start;
        while at < range.end {
            let wanted = (range.end - at).min(chunk.len() as u64);
            match self.write_chunk(ino, at..at + wanted, &mut chunk, &mut fill) {
                Ok(written) => {
                    at += written;
                    // What the host did not take of the chunk has been taken from the program: it is told so.
                    if written < wanted {
                        break;
                    }
                }
                Err(error) if at == range.start => return Err(error),
                Err(_) => break,
            }
        }
        Ok(usize::try_from(at - range.start).unwrap_or(len))
    }

    fn write_chunk(
        &self,
        ino: Ino,
        range: Range<u64>,
        chunk: &mut [u8],
        fill: &mut impl FnMut(&mut [u8]) -> Result<(), Errno>,
    ) -> Result<u64, Errno> {
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = chunk.get_mut(..len).unwrap_or(&mut []);
        fill(bytes)?;
        self.with(ino, |node, mut server| {
            let Some(Opened { fid, writable: true }) = &node.open else { return Err(Errno::EBADF) };
            let written = server.write(fid, range.start, bytes).map_err(errno)? as u64;
            if let Some(last) = &mut node.last {
                last.size = last.size.max(range.start.saturating_add(written));
            }
            Ok(written)
        })
    }

    /// Has the host write an open file through.
    pub(crate) fn sync(&self, ino: Ino) -> Result<(), Errno> {
        self.with(ino, |node, mut server| match &node.open {
            Some(open) => server.sync(&open.fid).map_err(errno),
            None => Ok(()),
        })
    }

    /// How full the host's file system is.
    pub(crate) fn statfs(&self, ino: Ino) -> Result<Statfs, Errno> {
        let found = self.with(ino, |node, mut server| server.stat_fs(&node.fid).map_err(errno))?;
        Ok(Statfs {
            block_size: found.block_size,
            blocks: found.blocks,
            blocks_free: found.blocks_free,
            inodes: found.inodes,
            inodes_free: found.inodes_free,
        })
    }
}
