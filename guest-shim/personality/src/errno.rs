//! Linux' error numbers, and how a call ends other than with a value.

use linux_raw_sys::errno as raw;

use crate::wait::Wait;

/// A positive Linux error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Numbers from the kernel's headers, as [`Errno`] constants.
macro_rules! numbers {
    ($($name:ident)*) => {
        #[expect(missing_docs, reason = "the names are Linux' own")]
        impl Errno {
            $(pub const $name: Self = Self(raw::$name as i32);)*
        }
    };
}

numbers! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV
    ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE
    ENAMETOOLONG ENOSYS ENOTEMPTY ELOOP EOPNOTSUPP EOVERFLOW ETIMEDOUT ENOTSOCK ENODATA ELIBBAD EDEADLK ENOLCK
    ENOTBLK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EAFNOSUPPORT EADDRINUSE
    EADDRNOTAVAIL ENETUNREACH ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN EHOSTUNREACH ECONNREFUSED EALREADY
    EINPROGRESS ESTALE EDQUOT ECANCELED EOWNERDEAD ENOTRECOVERABLE EIDRM ENOMSG EPROTO EILSEQ EUSERS ETOOMANYREFS
}

/// How a system call ends without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// With an error number.
    Error(Errno),
    /// It is not carried out yet: −ENOSYS, and the trace says so.
    NotImplemented,
    /// It has to wait. The whole call is made again afterwards, so nothing may have been taken yet.
    Block(Wait),
    /// The program has ended; there is nothing to return to.
    Ended,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// What a system call gives: RAX, or why there is none.
pub type Outcome = Result<u64, Stop>;
