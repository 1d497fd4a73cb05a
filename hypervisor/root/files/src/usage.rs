//! What the upper layer may cost, and what it costs.
use crate::attr::Statfs;
use crate::content::PAGE_SIZE;
use crate::{Errno, Kind};

/// Bounds of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the upper layer may hold: pages of files, and the targets of symbolic links.
    pub bytes: u64,
    /// Inodes of the upper layer. A further hard link counts as one, as on tmpfs.
    pub inodes: u64,
    /// Inodes that may be referred to from outside at a time ([`crate::Stack::remember`]).
    pub references: usize,
}

impl Limits {
    /// What an inode of the upper layer takes of the heap at most, in bytes: a directory with one entry of the longest name,
    /// in half-filled nodes of the maps.
    const INODE_COST: u64 = 2048;
    /// The same for a reference.
    const REFERENCE_COST: u64 = 64;

    /// Limits under which a stack, its bookkeeping included, keeps to `memory` bytes of the heap: 5/8 for content, 1/4 for
    /// inodes, 1/16 for references, the rest for the maps. What the lower tree takes comes on top.
    #[must_use]
    pub fn within(memory: u64) -> Self {
        Self {
            bytes: memory / 8 * 5,
            inodes: memory / 4 / Self::INODE_COST,
            references: usize::try_from(memory / 16 / Self::REFERENCE_COST).unwrap_or(usize::MAX),
        }
    }
}

/// What is in use of [`Limits`].
#[derive(Debug)]
pub(crate) struct Usage {
    limits: Limits,
    bytes: u64,
    inodes: u64,
}

impl Usage {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, inodes: 0 }
    }

    pub(crate) const fn bytes_free(&self) -> u64 {
        self.limits.bytes.saturating_sub(self.bytes)
    }

    pub(crate) fn charge_bytes(&mut self, bytes: u64) -> Result<(), Errno> {
        if bytes > self.bytes_free() {
            return Err(Errno::ENOSPC);
        }
        self.bytes += bytes;
        Ok(())
    }

    pub(crate) fn refund_bytes(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(crate) fn charge_inode(&mut self) -> Result<(), Errno> {
        self.charge_inodes(1)
    }

    pub(crate) fn charge_inodes(&mut self, count: u64) -> Result<(), Errno> {
        if count > self.limits.inodes.saturating_sub(self.inodes) {
            return Err(Errno::ENOSPC);
        }
        self.inodes += count;
        Ok(())
    }

    /// Counts inodes even beyond the limit: for what deleting needs, so that a full layer can be emptied.
    /// There are no more of these than the lower layer has directories and files with several names.
    pub(crate) fn charge_inodes_for_removal(&mut self, count: u64) {
        self.inodes = self.inodes.saturating_add(count);
    }

    pub(crate) fn refund_inode(&mut self) {
        self.inodes = self.inodes.saturating_sub(1);
    }

    pub(crate) fn statfs(&self) -> Statfs {
        let page = PAGE_SIZE as u64;
        Statfs {
            block_size: 4096,
            blocks: self.limits.bytes / page,
            blocks_free: self.bytes_free() / page,
            inodes: self.limits.inodes,
            inodes_free: self.limits.inodes.saturating_sub(self.inodes),
        }
    }
}

/// The nominal length of a directory: what tmpfs and ext4 show, near enough.
pub(crate) const fn nominal_size(kind: Kind) -> u64 {
    match kind {
        Kind::Directory => 4096,
        _ => 0,
    }
}
