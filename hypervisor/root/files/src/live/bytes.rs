//! Open files of a folder, and reading them.
use ninep::open;

use super::{Live, Opened, errno};
use crate::Errno;
use crate::attr::Ino;

impl Live {
    /// Opens a file, so that it can be read, or written too; once for all who have it open.
    pub(crate) fn open(&self, ino: Ino, writable: bool) -> Result<(), Errno> {
        self.with(ino, |node, mut server| {
            if node.qid.is_directory() || node.open.as_ref().is_some_and(|open| open.writable || !writable) {
                return Ok(());
            }
            let fid = server.duplicate(&node.fid).map_err(errno)?;
            let flags = if writable { open::READ_WRITE } else { open::READ };
            match server.open(&fid, flags) {
                Ok(qid) if qid == node.qid => {}
                other => {
                    server.clunk(fid);
                    return Err(other.err().map_or(Errno::ESTALE, errno));
                }
            }
            if let Some(old) = node.open.replace(Opened { fid, writable }) {
                server.clunk(old.fid);
            }
            Ok(())
        })
    }

    /// Nobody has it open any more.
    pub(crate) fn close(&self, ino: Ino) {
        if !Self::has(ino) {
            return;
        }
        let closed = self.with(ino, |node, mut server| {
            if let Some(open) = node.open.take() {
                server.clunk(open.fid);
            }
            Ok(node.listing.take().map_or(0, |listing| listing.len()))
        });
        let mut state = self.state.borrow_mut();
        state.listed = state.listed.saturating_sub(closed.unwrap_or(0));
    }

    /// Hands up to `len` bytes from `offset` on to `sink`. Returns how many: fewer at the end, or where `sink` failed after some.
    pub(crate) fn read(
        &self,
        ino: Ino,
        offset: u64,
        len: usize,
        mut sink: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        self.open(ino, false)?;
        self.with(ino, |node, mut server| {
            let Some(Opened { fid, .. }) = &node.open else { return Err(Errno::EISDIR) };
            let mut done = 0;
            while done < len {
                let at = offset.saturating_add(done as u64);
                let taken = match server.read(fid, at, len - done) {
                    Ok([]) => break,
                    Ok(bytes) => sink(bytes).map(|()| bytes.len()),
                    Err(error) => Err(errno(error)),
                };
                match taken {
                    Ok(count) => done += count,
                    Err(error) if done == 0 => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(done)
        })
    }
}
