//! Extended attributes of the upper layer: `user.*` alone, as tmpfs has them. They count against the layer's bytes.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::Errno;
use crate::usage::Usage;

/// Longest name, in bytes (`XATTR_NAME_MAX`).
pub const XATTR_NAME_MAX: usize = linux_raw_sys::general::XATTR_NAME_MAX as usize;
/// Longest value, in bytes (`XATTR_SIZE_MAX`).
pub const XATTR_SIZE_MAX: usize = linux_raw_sys::general::XATTR_SIZE_MAX as usize;
/// Longest list of an inode's names, each with its NUL (`XATTR_LIST_MAX`).
pub const XATTR_LIST_MAX: usize = linux_raw_sys::general::XATTR_LIST_MAX as usize;

/// What an attribute counts beside its name and its value: its place in the map, in a node that is half empty.
const OVERHEAD: u64 = 128;

/// What [`crate::Stack::set_xattr`] wants of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Nothing.
    Any,
    /// That there is none of this name (XATTR_CREATE).
    Create,
    /// That there is one (XATTR_REPLACE).
    Replace,
}

impl SetXattr {
    /// From the flags of setxattr.
    ///
    /// # Errors
    /// EINVAL for others.
    pub fn from_flags(flags: u32) -> Result<Self, Errno> {
        use linux_raw_sys::general::{XATTR_CREATE, XATTR_REPLACE};
        match flags {
            0 => Ok(Self::Any),
            XATTR_CREATE => Ok(Self::Create),
            XATTR_REPLACE => Ok(Self::Replace),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Whether an attribute of this name can exist, by its name space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// The mode bits decide.
    User,
    /// For who has CAP_SYS_ADMIN, which nobody has here: it does not exist, and cannot be made.
    Trusted,
}

/// Checks a name: ERANGE for its length, EINVAL for a name space without a name, EOPNOTSUPP for a name space that is not kept.
pub(crate) fn check_name(name: &[u8]) -> Result<Space, Errno> {
    if name.is_empty() || name.len() > XATTR_NAME_MAX {
        return Err(Errno::ERANGE);
    }
    let spaces: [(&[u8], Space); 2] = [(b"user.", Space::User), (b"trusted.", Space::Trusted)];
    let (rest, space) = spaces
        .into_iter()
        .find_map(|(prefix, space)| Some((name.strip_prefix(prefix)?, space)))
        .ok_or(Errno::EOPNOTSUPP)?;
    if rest.is_empty() || name.contains(&0) { Err(Errno::EINVAL) } else { Ok(space) }
}

/// The attributes of one inode.
#[derive(Debug, Default)]
pub(crate) struct Xattrs(BTreeMap<Box<[u8]>, Box<[u8]>>);

impl Xattrs {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(name).map(|value| &**value)
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.keys().map(|name| &**name)
    }

    /// Sets one and pays for it: ENOSPC if that is too much, and nothing has changed.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8], usage: &mut Usage) -> Result<(), Errno> {
        let old = self.get(name).map(|value| cost(name, value));
        let listed: usize = self.names().map(|name| name.len() + 1).sum();
        if old.is_none() && listed + name.len() + 1 > XATTR_LIST_MAX {
            return Err(Errno::ENOSPC);
        }
        let (old, new) = (old.unwrap_or(0), cost(name, value));
        usage.charge_bytes(new.saturating_sub(old))?;
        usage.refund_bytes(old.saturating_sub(new));
        self.0.insert(name.into(), value.into());
        Ok(())
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, name: &[u8], usage: &mut Usage) -> bool {
        let Some(value) = self.0.remove(name) else {
            return false;
        };
        usage.refund_bytes(cost(name, &value));
        true
    }

    /// Gives back what all of them cost.
    pub(crate) fn release(self, usage: &mut Usage) {
        for (name, value) in &self.0 {
            usage.refund_bytes(cost(name, value));
        }
    }
}

fn cost(name: &[u8], value: &[u8]) -> u64 {
    (name.len() as u64).saturating_add(value.len() as u64).saturating_add(OVERHEAD)
}
