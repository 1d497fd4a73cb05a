//! Calls that take a path and need more than that, each so that what it says depends on the path alone.
use families::files::{close, path, rename, what};
use families::tasks::{child, wait_with};
use families::{Errno, Sys, libc, must, sys, zeroed};
use std::ptr;

pub(crate) fn lstat(name: &str) -> Sys {
    let mut found = zeroed!(libc::stat);
    sys!(libc::lstat(path(name).as_ptr(), &raw mut found))
}

/// Type and permissions beside each other: what was asked for and no more.
pub(crate) fn statx(name: &str) -> Sys {
    let mut found = zeroed!(libc::statx);
    let wanted = libc::STATX_TYPE | libc::STATX_MODE;
    sys!(libc::statx(libc::AT_FDCWD, path(name).as_ptr(), 0, wanted, &raw mut found)).map(|_| i64::from(found.stx_mode))
}

pub(crate) fn statfs(name: &str) -> Sys {
    let mut found = zeroed!(libc::statfs);
    sys!(libc::statfs(path(name).as_ptr(), &raw mut found))
}

/// Nothing here can be executed: it never returns well.
pub(crate) fn execve(name: &str) -> Sys {
    sys!(libc::execve(path(name).as_ptr(), [ptr::null()].as_ptr(), [ptr::null()].as_ptr()))
}

/// In a child, which is lost to everything else.
pub(crate) fn chroot(name: &str) -> Sys {
    let pid = child(|| sys!(libc::chroot(path(name).as_ptr())).err().map_or(0, |errno| errno.0));
    match libc::WEXITSTATUS(wait_with(pid, 0)?.1) {
        0 => Ok(0),
        errno => Err(Errno(errno)),
    }
}

pub(crate) fn link_followed(name: &str) -> Sys {
    let (here, flag) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    sys!(libc::linkat(here, path(name).as_ptr(), here, path("open/followed").as_ptr(), flag))?;
    families::say!("    is {}", what("open/followed"));
    families::files::unlink("open/followed")
}

/// With something that is there, or as it is; what was exchanged comes back.
pub(crate) fn rename_flags(name: &str, flags: u32) -> Sys {
    let to = "open/mine";
    let here = libc::AT_FDCWD;
    let renamed = sys!(libc::renameat2(here, path(to).as_ptr(), here, path(name).as_ptr(), flags));
    if renamed.is_ok() && flags == libc::RENAME_NOREPLACE {
        rename(name, to)?;
    } else if renamed.is_ok() {
        sys!(libc::renameat2(here, path(to).as_ptr(), here, path(name).as_ptr(), flags))?;
    }
    renamed
}

/// Without links on the way, beneath the working directory.
pub(crate) fn openat2(name: &str) -> Sys {
    let mut how = zeroed!(libc::open_how);
    how.flags = (libc::O_RDONLY | libc::O_NONBLOCK).cast_unsigned().into();
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_BENEATH;
    let size = size_of::<libc::open_how>();
    let fd = sys!(libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path(name).as_ptr(), &raw const how, size))?;
    close(i32::try_from(fd).unwrap_or(-1))
}

pub(crate) fn getxattr(name: &str) -> Sys {
    sys!(libc::getxattr(path(name).as_ptr(), c"user.none".as_ptr(), ptr::null_mut(), 0))
}

pub(crate) fn setxattr(name: &str) -> Sys {
    sys!(libc::setxattr(path(name).as_ptr(), c"user.name".as_ptr(), c"value".as_ptr().cast(), 5, 0))
}

pub(crate) fn watch(name: &str) -> Sys {
    let fd = must(sys!(libc::inotify_init1(0)));
    let watched = sys!(libc::inotify_add_watch(fd, path(name).as_ptr(), libc::IN_CREATE));
    must(close(fd));
    watched.map(|_| 0)
}

/// A socket of that name, as far as an address has room for it.
pub(crate) fn bind(name: &str) -> Sys {
    let fd = must(sys!(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)));
    let mut address = libc::AF_UNIX.to_ne_bytes()[..2].to_vec();
    address.extend_from_slice(name.as_bytes());
    address.push(0);
    let len = libc::socklen_t::try_from(address.len()).unwrap_or(0);
    // An empty name asks for one that the system makes up.
    let bound = if name.is_empty() { Ok(0) } else { sys!(libc::bind(fd, address.as_ptr().cast(), len)) };
    must(close(fd));
    bound
}
