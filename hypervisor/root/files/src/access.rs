//! The mode bits' say in who may do what.
use crate::attr::{Context, mode};
use crate::node::Meta;
use crate::{Errno, Kind};

/// A set of the rights that mode bits give: `READ`, `WRITE`, `EXECUTE` (on a directory: search).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u32);

impl Access {
    /// Nothing: only existence.
    pub const NONE: Self = Self(0);
    /// Execute a file, pass through a directory (X_OK).
    pub const EXECUTE: Self = Self(1);
    /// Change it (W_OK).
    pub const WRITE: Self = Self(2);
    /// Read it (R_OK).
    pub const READ: Self = Self(4);

    /// The rights in a mask as access(2) takes it.
    ///
    /// # Errors
    /// EINVAL if other bits are set.
    pub fn from_mask(mask: u32) -> Result<Self, Errno> {
        if mask <= 7 { Ok(Self(mask)) } else { Err(Errno::EINVAL) }
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// EACCES unless the mode bits give `ctx` all of `want`.
pub(crate) fn check(ctx: &Context, meta: &Meta, want: Access) -> Result<(), Errno> {
    if permitted(ctx, meta, want) { Ok(()) } else { Err(Errno::EACCES) }
}

fn permitted(ctx: &Context, meta: &Meta, want: Access) -> bool {
    if ctx.uid == 0 {
        // As CAP_DAC_OVERRIDE has it: everything but executing what nobody may execute.
        return meta.kind == Kind::Directory || !want.contains(Access::EXECUTE) || meta.mode & mode::ANY_EXECUTE != 0;
    }
    let shift = match () {
        () if ctx.uid == meta.uid => 6,
        () if ctx.is_in_group(meta.gid) => 3,
        () => 0,
    };
    (meta.mode >> shift) & want.0 == want.0
}

/// Whether `ctx` may do what only an owner may.
pub(crate) fn owns(ctx: &Context, meta: &Meta) -> bool {
    ctx.uid == 0 || ctx.uid == meta.uid
}

/// EPERM if `dir` is sticky and neither it nor the entry `target` belongs to `ctx`.
pub(crate) fn check_sticky(ctx: &Context, dir: &Meta, target: &Meta) -> Result<(), Errno> {
    if dir.mode & mode::STICKY == 0 || owns(ctx, dir) || ctx.uid == target.uid { Ok(()) } else { Err(Errno::EPERM) }
}

/// The mode without the bits that a change by somebody else takes away: set-user-id, and set-group-id where it
/// means execution (Linux `setattr_should_drop_suidgid`).
pub(crate) fn without_set_id(mode: u32) -> u32 {
    let mode = mode & !mode::SET_UID;
    if mode & mode::GROUP_EXECUTE != 0 { mode & !mode::SET_GID } else { mode }
}
