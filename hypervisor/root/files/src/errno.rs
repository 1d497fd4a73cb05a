//! Linux' error numbers, as far as a file system gives them.
use core::fmt;

use linux_raw_sys::errno as linux;

/// Why an operation failed, as Linux numbers it (`uapi/asm-generic/errno.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($(#[$meta:meta])* $name:ident;)*) => {
        impl Errno {
            $($(#[$meta])* pub const $name: Self = Self::from_linux(linux::$name);)*

            const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// The argument is too long.
    E2BIG;
    /// Out of range, or a buffer too short.
    ERANGE;
    /// No such extended attribute.
    ENODATA;
    /// Not the owner, or never allowed.
    EPERM;
    /// No such file or directory.
    ENOENT;
    /// No such device or address; for SEEK_DATA and SEEK_HOLE: nothing at or after the offset.
    ENXIO;
    /// Not an open file, or not open for this.
    EBADF;
    /// Nothing there yet.
    EAGAIN;
    /// Permission denied by the mode bits.
    EACCES;
    /// An address that is not memory.
    EFAULT;
    /// Exists already.
    EEXIST;
    /// Not a directory.
    ENOTDIR;
    /// Is a directory.
    EISDIR;
    /// Invalid argument.
    EINVAL;
    /// Too many inodes or files are in use.
    ENFILE;
    /// Not a terminal.
    ENOTTY;
    /// Larger than a file may be.
    EFBIG;
    /// The writable layer is full.
    ENOSPC;
    /// As much was written as may be.
    EDQUOT;
    /// The name is too long.
    ENAMETOOLONG;
    /// No such operation.
    ENOSYS;
    /// The directory is not empty.
    ENOTEMPTY;
    /// A symbolic link where none may be.
    ELOOP;
    /// The file system does not do this.
    EOPNOTSUPP;
    /// No inode of this number, or no longer.
    ESTALE;
    /// The host's side of a bind does not answer, or not sensibly.
    EIO;
    /// The file system is read-only.
    EROFS;
    /// Across file systems.
    EXDEV;
    /// In use as a place where something is mounted.
    EBUSY;
}

impl Errno {
    const fn from_linux(number: u32) -> Self {
        assert!(number < 4096, "Linux keeps error numbers below 4096");
        #[expect(clippy::cast_possible_truncation, reason = "asserted above, at compile time")]
        Self(number as u16)
    }

    /// An error as a host says it: a number from 1 to 4095; EIO for another.
    #[must_use]
    pub const fn from_host(number: u16) -> Self {
        if number == 0 || number > 4095 { Self::EIO } else { Self(number) }
    }

    /// The number, as in C's `errno`: 1 to 4095.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The negated number, as system calls and FUSE replies carry it.
    #[must_use]
    pub const fn negated(self) -> i32 {
        -(self.0 as i32)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}
