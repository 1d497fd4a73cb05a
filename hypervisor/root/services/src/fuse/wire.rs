//! FUSE's numbers and structures, to and from those of the file stack.
use files::{Attr, Errno, SetAttr, SetTime, Stack, Timestamp};
use fuse_abi::linux as fuse;
use fuse_abi::linux::{
    fuse_attr, fuse_attr_out, fuse_entry_out, fuse_init_in, fuse_init_out, fuse_kstatfs, fuse_setattr_in,
    fuse_statfs_out,
};
use proto::MAX_SEGMENTS;
use tlfs::addr::PAGE_SIZE;

use super::Call;
use crate::request::put;

/// The opcodes as numbers, to match what a shim sent.
pub(super) mod opcode {
    use fuse_abi::linux::fuse_opcode::*;

    macro_rules! opcodes {
        ($($name:ident = $fuse:ident;)*) => {
            $(pub(in crate::fuse) const $name: u32 = $fuse as u32;)*
        };
    }

    opcodes! {
        LOOKUP = FUSE_LOOKUP;
        FORGET = FUSE_FORGET;
        GETATTR = FUSE_GETATTR;
        SETATTR = FUSE_SETATTR;
        READLINK = FUSE_READLINK;
        SYMLINK = FUSE_SYMLINK;
        MKNOD = FUSE_MKNOD;
        MKDIR = FUSE_MKDIR;
        UNLINK = FUSE_UNLINK;
        RMDIR = FUSE_RMDIR;
        RENAME = FUSE_RENAME;
        LINK = FUSE_LINK;
        OPEN = FUSE_OPEN;
        READ = FUSE_READ;
        WRITE = FUSE_WRITE;
        STATFS = FUSE_STATFS;
        RELEASE = FUSE_RELEASE;
        FSYNC = FUSE_FSYNC;
        SETXATTR = FUSE_SETXATTR;
        GETXATTR = FUSE_GETXATTR;
        LISTXATTR = FUSE_LISTXATTR;
        REMOVEXATTR = FUSE_REMOVEXATTR;
        FLUSH = FUSE_FLUSH;
        INIT = FUSE_INIT;
        OPENDIR = FUSE_OPENDIR;
        READDIR = FUSE_READDIR;
        RELEASEDIR = FUSE_RELEASEDIR;
        FSYNCDIR = FUSE_FSYNCDIR;
        ACCESS = FUSE_ACCESS;
        CREATE = FUSE_CREATE;
        BATCH_FORGET = FUSE_BATCH_FORGET;
        FALLOCATE = FUSE_FALLOCATE;
        READDIRPLUS = FUSE_READDIRPLUS;
        RENAME2 = FUSE_RENAME2;
        LSEEK = FUSE_LSEEK;
        SETUPMAPPING = FUSE_SETUPMAPPING;
        REMOVEMAPPING = FUSE_REMOVEMAPPING;
        TMPFILE = FUSE_TMPFILE;
    }
}

/// How long an answer holds, in seconds: until the shim itself changes something.
const FOR_EVER: u64 = u64::MAX;
/// Unit of file I/O in bytes, as stat tells it.
const BLOCK_SIZE: u32 = 4096;
/// What this server does, of FUSE_INIT's flags.
const FEATURES: u32 = fuse::FUSE_ATOMIC_O_TRUNC
    | fuse::FUSE_BIG_WRITES
    | fuse::FUSE_DO_READDIRPLUS
    | fuse::FUSE_EXPORT_SUPPORT
    | fuse::FUSE_HANDLE_KILLPRIV
    | fuse::FUSE_MAX_PAGES
    | fuse::FUSE_CACHE_SYMLINKS;

/// Attributes as FUSE has them.
pub(super) fn attr(attr: &Attr) -> fuse_attr {
    fuse_attr {
        ino: attr.ino.0,
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.seconds.cast_unsigned(),
        mtime: attr.mtime.seconds.cast_unsigned(),
        ctime: attr.ctime.seconds.cast_unsigned(),
        atimensec: attr.atime.nanoseconds,
        mtimensec: attr.mtime.nanoseconds,
        ctimensec: attr.ctime.nanoseconds,
        mode: attr.kind.mode_bits() | attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// How long an answer about an inode holds: what the host may change not at all.
fn validity(found: &Attr) -> u64 {
    if Stack::is_volatile(found.ino) { 0 } else { FOR_EVER }
}

pub(super) fn attr_out(found: &Attr) -> fuse_attr_out {
    fuse_attr_out { attr_valid: validity(found), attr_valid_nsec: 0, dummy: 0, attr: attr(found) }
}

pub(super) fn entry_out(found: &Attr) -> fuse_entry_out {
    fuse_entry_out {
        nodeid: found.ino.0,
        generation: 0,
        entry_valid: validity(found),
        attr_valid: validity(found),
        entry_valid_nsec: 0,
        attr_valid_nsec: 0,
        attr: attr(found),
    }
}

/// The changes that a SETATTR asks for.
pub(super) fn set_attr(set: &fuse_setattr_in) -> SetAttr {
    let asked = |bit: u32| set.valid & bit != 0;
    let time = |bit, now_bit, seconds: u64, nanoseconds| match () {
        () if asked(now_bit) => Some(SetTime::Now),
        () if asked(bit) => Some(SetTime::At(Timestamp { seconds: seconds.cast_signed(), nanoseconds })),
        () => None,
    };
    SetAttr {
        mode: asked(fuse::FATTR_MODE).then_some(set.mode),
        uid: asked(fuse::FATTR_UID).then_some(set.uid),
        gid: asked(fuse::FATTR_GID).then_some(set.gid),
        size: asked(fuse::FATTR_SIZE).then_some(set.size),
        atime: time(fuse::FATTR_ATIME, fuse::FATTR_ATIME_NOW, set.atime, set.atimensec),
        mtime: time(fuse::FATTR_MTIME, fuse::FATTR_MTIME_NOW, set.mtime, set.mtimensec),
        drop_set_id: asked(fuse::FATTR_KILL_SUIDGID),
    }
}

/// FUSE_INIT: versions, flags and limits. There is nothing to set up.
pub(super) fn init(call: Call<'_>) -> Result<usize, Errno> {
    let asked: fuse_init_in = call.arguments.only()?;
    let max_pages = u16::try_from(MAX_SEGMENTS).unwrap_or(u16::MAX);
    let page_size = u32::try_from(PAGE_SIZE).unwrap_or(u32::MAX);
    let out = fuse_init_out {
        major: fuse::FUSE_KERNEL_VERSION,
        minor: fuse::FUSE_KERNEL_MINOR_VERSION,
        max_readahead: asked.max_readahead,
        flags: FEATURES & asked.flags,
        max_write: u32::from(max_pages) * page_size,
        time_gran: 1,
        max_pages,
        ..fuse_init_out::default()
    };
    put(call.body, &out)
}

pub(super) fn statfs(stack: &Stack<'_>, call: Call<'_>) -> Result<usize, Errno> {
    call.arguments.end()?;
    let found = stack.statfs(call.node)?;
    let st = fuse_kstatfs {
        blocks: found.blocks,
        bfree: found.blocks_free,
        bavail: found.blocks_free,
        files: found.inodes,
        ffree: found.inodes_free,
        bsize: found.block_size,
        namelen: u32::try_from(files::NAME_MAX).unwrap_or(u32::MAX),
        frsize: found.block_size,
        ..fuse_kstatfs::default()
    };
    put(call.body, &fuse_statfs_out { st })
}
