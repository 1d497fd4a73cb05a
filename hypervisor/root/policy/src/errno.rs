//! The errors of Linux: name, number and the text that the C library has for it.
//!
//! The one place where a name becomes a number and back: policies name errors, traces print them.

use linux_raw_sys::errno;

/// An error that a system call can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno {
    /// The number, 1 to 133; a call returns it negated.
    pub number: u16,
    /// The name, as `<errno.h>` has it.
    pub name: &'static str,
    /// What `strerror` says.
    pub text: &'static str,
}

/// The highest value that the kernel gives as an error: a call's result in `-MAX_ERRNO..=-1` is one.
pub const MAX_ERRNO: i64 = 4095;

impl Errno {
    /// The error with this name. `EWOULDBLOCK`, `EDEADLOCK` and `ENOTSUP` are taken for what they are on Linux.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let name = match name {
            "EWOULDBLOCK" => "EAGAIN",
            "EDEADLOCK" => "EDEADLK",
            "ENOTSUP" => "EOPNOTSUPP",
            other => other,
        };
        ERRNOS.iter().find(|errno| errno.name == name).copied()
    }

    /// The error with this number.
    #[must_use]
    pub fn by_number(number: u16) -> Option<Self> {
        let index = ERRNOS.binary_search_by_key(&number, |errno| errno.number).ok()?;
        ERRNOS.get(index).copied()
    }

    /// The error that a call's result stands for, if it is one with a name.
    #[must_use]
    pub fn of_result(value: i64) -> Option<Self> {
        if !(-MAX_ERRNO..0).contains(&value) {
            return None;
        }
        Self::by_number(u16::try_from(value.unsigned_abs()).ok()?)
    }

    /// What the call returns: the number, negated.
    #[must_use]
    pub fn result(self) -> i64 {
        -i64::from(self.number)
    }
}

/// "Operation not permitted": what is denied without a rule of its own gets this.
pub const EPERM: Errno = ERRNOS[0];
/// "Bad address": what a call gets whose memory a rule needs and that has none there.
pub const EFAULT: Errno = ERRNOS[13];
/// EDQUOT.
pub const EDQUOT: Errno = ERRNOS[119];
/// EACCES.
pub const EACCES: Errno = ERRNOS[12];
/// E2BIG: what a call gets that brings more of a structure than there is.
pub const E2BIG: Errno = ERRNOS[6];
/// EINVAL.
pub const EINVAL: Errno = ERRNOS[21];
/// EMSGSIZE: what a message gets that names too many ranges.
pub const EMSGSIZE: Errno = ERRNOS[87];
/// "File name too long": what a call gets whose string a rule needs and that has no end.
pub const ENAMETOOLONG: Errno = ERRNOS[35];

macro_rules! errnos {
    ($( $name:ident $text:literal; )*) => {
        /// All errors, by rising number.
        #[allow(clippy::cast_possible_truncation, reason = "the numbers are constants, and the highest is 133")]
        pub const ERRNOS: &[Errno] = &[ $( Errno { number: errno::$name as u16, name: stringify!($name), text: $text }, )* ];
    };
}

errnos! {
    EPERM "Operation not permitted";
    ENOENT "No such file or directory";
    ESRCH "No such process";
    EINTR "Interrupted system call";
    EIO "Input/output error";
    ENXIO "No such device or address";
    E2BIG "Argument list too long";
    ENOEXEC "Exec format error";
    EBADF "Bad file descriptor";
    ECHILD "No child processes";
    EAGAIN "Resource temporarily unavailable";
    ENOMEM "Cannot allocate memory";
    EACCES "Permission denied";
    EFAULT "Bad address";
    ENOTBLK "Block device required";
    EBUSY "Device or resource busy";
    EEXIST "File exists";
    EXDEV "Invalid cross-device link";
    ENODEV "No such device";
    ENOTDIR "Not a directory";
    EISDIR "Is a directory";
    EINVAL "Invalid argument";
    ENFILE "Too many open files in system";
    EMFILE "Too many open files";
    ENOTTY "Inappropriate ioctl for device";
    ETXTBSY "Text file busy";
    EFBIG "File too large";
    ENOSPC "No space left on device";
    ESPIPE "Illegal seek";
    EROFS "Read-only file system";
    EMLINK "Too many links";
    EPIPE "Broken pipe";
    EDOM "Numerical argument out of domain";
    ERANGE "Numerical result out of range";
    EDEADLK "Resource deadlock avoided";
    ENAMETOOLONG "File name too long";
    ENOLCK "No locks available";
    ENOSYS "Function not implemented";
    ENOTEMPTY "Directory not empty";
    ELOOP "Too many levels of symbolic links";
    ENOMSG "No message of desired type";
    EIDRM "Identifier removed";
    ECHRNG "Channel number out of range";
    EL2NSYNC "Level 2 not synchronized";
    EL3HLT "Level 3 halted";
    EL3RST "Level 3 reset";
    ELNRNG "Link number out of range";
    EUNATCH "Protocol driver not attached";
    ENOCSI "No CSI structure available";
    EL2HLT "Level 2 halted";
    EBADE "Invalid exchange";
    EBADR "Invalid request descriptor";
    EXFULL "Exchange full";
    ENOANO "No anode";
    EBADRQC "Invalid request code";
    EBADSLT "Invalid slot";
    EBFONT "Bad font file format";
    ENOSTR "Device not a stream";
    ENODATA "No data available";
    ETIME "Timer expired";
    ENOSR "Out of streams resources";
    ENONET "Machine is not on the network";
    ENOPKG "Package not installed";
    EREMOTE "Object is remote";
    ENOLINK "Link has been severed";
    EADV "Advertise error";
    ESRMNT "Srmount error";
    ECOMM "Communication error on send";
    EPROTO "Protocol error";
    EMULTIHOP "Multihop attempted";
    EDOTDOT "RFS specific error";
    EBADMSG "Bad message";
    EOVERFLOW "Value too large for defined data type";
    ENOTUNIQ "Name not unique on network";
    EBADFD "File descriptor in bad state";
    EREMCHG "Remote address changed";
    ELIBACC "Can not access a needed shared library";
    ELIBBAD "Accessing a corrupted shared library";
    ELIBSCN ".lib section in a.out corrupted";
    ELIBMAX "Attempting to link in too many shared libraries";
    ELIBEXEC "Cannot exec a shared library directly";
    EILSEQ "Invalid or incomplete multibyte or wide character";
    ERESTART "Interrupted system call should be restarted";
    ESTRPIPE "Streams pipe error";
    EUSERS "Too many users";
    ENOTSOCK "Socket operation on non-socket";
    EDESTADDRREQ "Destination address required";
    EMSGSIZE "Message too long";
    EPROTOTYPE "Protocol wrong type for socket";
    ENOPROTOOPT "Protocol not available";
    EPROTONOSUPPORT "Protocol not supported";
    ESOCKTNOSUPPORT "Socket type not supported";
    EOPNOTSUPP "Operation not supported";
    EPFNOSUPPORT "Protocol family not supported";
    EAFNOSUPPORT "Address family not supported by protocol";
    EADDRINUSE "Address already in use";
    EADDRNOTAVAIL "Cannot assign requested address";
    ENETDOWN "Network is down";
    ENETUNREACH "Network is unreachable";
    ENETRESET "Network dropped connection on reset";
    ECONNABORTED "Software caused connection abort";
    ECONNRESET "Connection reset by peer";
    ENOBUFS "No buffer space available";
    EISCONN "Transport endpoint is already connected";
    ENOTCONN "Transport endpoint is not connected";
    ESHUTDOWN "Cannot send after transport endpoint shutdown";
    ETOOMANYREFS "Too many references: cannot splice";
    ETIMEDOUT "Connection timed out";
    ECONNREFUSED "Connection refused";
    EHOSTDOWN "Host is down";
    EHOSTUNREACH "No route to host";
    EALREADY "Operation already in progress";
    EINPROGRESS "Operation now in progress";
    ESTALE "Stale file handle";
    EUCLEAN "Structure needs cleaning";
    ENOTNAM "Not a XENIX named type file";
    ENAVAIL "No XENIX semaphores available";
    EISNAM "Is a named type file";
    EREMOTEIO "Remote I/O error";
    EDQUOT "Disk quota exceeded";
    ENOMEDIUM "No medium found";
    EMEDIUMTYPE "Wrong medium type";
    ECANCELED "Operation canceled";
    ENOKEY "Required key not available";
    EKEYEXPIRED "Key has expired";
    EKEYREVOKED "Key has been revoked";
    EKEYREJECTED "Key was rejected by service";
    EOWNERDEAD "Owner died";
    ENOTRECOVERABLE "State not recoverable";
    ERFKILL "Operation not possible due to RF-kill";
    EHWPOISON "Memory page has hardware error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_found_both_ways() {
        assert!(ERRNOS.is_sorted_by(|a, b| a.number < b.number));
        for errno in ERRNOS {
            assert_eq!(Errno::by_name(errno.name), Some(*errno));
            assert_eq!(Errno::by_number(errno.number), Some(*errno));
            assert_eq!(Errno::of_result(errno.result()), Some(*errno));
        }
    }

    #[test]
    fn known_ones() {
        assert_eq!((EFAULT.name, EINVAL.name, ENAMETOOLONG.name), ("EFAULT", "EINVAL", "ENAMETOOLONG"));
        assert_eq!((EACCES.name, EDQUOT.name), ("EACCES", "EDQUOT"));
        assert_eq!((EPERM.name, EPERM.number, EPERM.text), ("EPERM", 1, "Operation not permitted"));
        assert_eq!(Errno::by_name("EWOULDBLOCK").map(|errno| errno.number), Some(11));
        assert_eq!(Errno::by_name("ENOSYS").map(Errno::result), Some(-38));
        assert_eq!(Errno::by_name("eperm"), None);
        assert_eq!(Errno::of_result(0), None);
        assert_eq!(Errno::of_result(-4096), None);
        assert_eq!(Errno::of_result(i64::MIN), None);
    }
}
