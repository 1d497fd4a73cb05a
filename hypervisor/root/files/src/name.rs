//! Names of directory entries.
use crate::Errno;

/// Longest name in bytes, as on Linux.
pub const NAME_MAX: usize = 255;
/// Longest target of a symbolic link in bytes (Linux' PATH_MAX without the NUL).
pub const TARGET_MAX: usize = 4095;

/// One component of a path: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// ENOENT if it is empty (as Linux says of an empty path), ENAMETOOLONG, EINVAL for anything else that cannot be a name.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        match bytes {
            [] => Err(Errno::ENOENT),
            _ if bytes.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
            b"." | b".." => Err(Errno::EINVAL),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(Errno::EINVAL),
            _ => Ok(Self(bytes)),
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Checks the target of a symbolic link: ENOENT if empty, ENAMETOOLONG, EINVAL for a NUL in it.
pub(crate) fn check_target(target: &[u8]) -> Result<(), Errno> {
    match target {
        [] => Err(Errno::ENOENT),
        _ if target.len() > TARGET_MAX => Err(Errno::ENAMETOOLONG),
        _ if target.contains(&0) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
