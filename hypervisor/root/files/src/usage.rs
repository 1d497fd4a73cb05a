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
    /// Memory that this may come to ([`Usage::memory`]); `u64::MAX`: what the limits allow.
    quota: u64,
}

/// What the maps take of the heap for what they hold: one byte for so many.
const MAPS_SHARE: u64 = 16;

impl Usage {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, inodes: 0, quota: u64::MAX }
    }

    pub(crate) const fn bytes_free(&self) -> u64 {
        let of_quota = self.quota_left() / (MAPS_SHARE + 1) * MAPS_SHARE;
        let of_limit = self.limits.bytes.saturating_sub(self.bytes);
        if of_quota < of_limit { of_quota } else { of_limit }
    }

    /// Lets it come to so much memory from now on. What there is of more stays.
    pub(crate) fn set_quota(&mut self, memory: u64) {
        self.quota = memory;
    }

    /// Memory that it takes at most, as [`Limits::within`] reckons.
    pub(crate) const fn memory(&self) -> u64 {
        let content = self.bytes.saturating_add(self.bytes / MAPS_SHARE);
        content.saturating_add(self.inodes.saturating_mul(Limits::INODE_COST))
    }

    /// Whether the quota has no room for another page.
    pub(crate) const fn is_full(&self) -> bool {
        self.quota_left() < PAGE_SIZE as u64 + PAGE_SIZE as u64 / MAPS_SHARE
    }

    const fn quota_left(&self) -> u64 {
        self.quota.saturating_sub(self.memory())
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
        if count > self.inodes_free() {
            return Err(Errno::ENOSPC);
        }
        self.inodes += count;
        Ok(())
    }

    fn inodes_free(&self) -> u64 {
        let of_quota = self.quota_left() / Limits::INODE_COST;
        self.limits.inodes.saturating_sub(self.inodes).min(of_quota)
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
            blocks: self.bytes.saturating_add(self.bytes_free()).min(self.limits.bytes) / page,
            blocks_free: self.bytes_free() / page,
            inodes: self.inodes.saturating_add(self.inodes_free()).min(self.limits.inodes),
            inodes_free: self.inodes_free(),
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
