//! Files that the child maps instead of reading them: whole pages, read-only, and only of what nobody has written to.
use files::Errno;
use fuse_abi::linux::{fuse_removemapping_in, fuse_removemapping_one, fuse_setupmapping_in};
use proto::layout::WINDOW_SLOT;

use super::{Call, FileService};
use crate::authorise::Authority;
use crate::window::Window;

/// FUSE_SETUPMAPPING_FLAG_READ.
const FLAG_READ: u64 = 1 << 1;

impl<'t, A: Authority> FileService<'t, A> {
    pub(super) fn setup_mapping<W: Window<'t>>(&mut self, call: &Call<'_>, window: &mut W) -> Result<usize, Errno> {
        let asked: fuse_setupmapping_in = call.arguments.only()?;
        if asked.flags != FLAG_READ {
            return Err(Errno::EACCES);
        }
        if asked.len > WINDOW_SLOT {
            return Err(Errno::EINVAL);
        }
        let ino = self.handles.readable(asked.fh)?;
        let pages = self.stack.pages(ino, asked.foffset, asked.len)?;
        window.show(asked.moffset, pages)?;
        Ok(0)
    }
}

pub(super) fn remove_mappings<'t, W: Window<'t>>(mut call: Call<'_>, window: &mut W) -> Result<usize, Errno> {
    let fuse_removemapping_in { count } = call.arguments.take()?;
    // As many as the message holds: the first that is not there ends it.
    for _ in 0..count {
        let fuse_removemapping_one { moffset, len } = call.arguments.take()?;
        window.hide(moffset, len)?;
    }
    call.arguments.end()?;
    Ok(0)
}
