//! FUSE requests, as a well-behaved shim makes them.
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use files::Errno;
use fuse_abi::linux::*;
use guestmem::GuestMemory;
use linux_raw_sys::errno as e;
use linux_raw_sys::general as linux;
use tlfs::addr::Gpa;
use zerocopy::FromBytes;

use super::{Shim, WINDOW, message, with_authority, with_shim};
use crate::{Authority, Name, Object, Right, Seen};

fn code(error: u32) -> i32 {
    error.cast_signed()
}

fn read_flags() -> u32 {
    linux::O_RDONLY
}

#[test]
fn looking_at_the_tree() {
    with_shim(|shim| {
        let dir = shim.lookup(1, "dir").unwrap();
        assert_eq!((dir.nodeid, dir.generation, dir.entry_valid, dir.attr_valid), (2, 0, u64::MAX, u64::MAX));
        assert_eq!((dir.attr.ino, dir.attr.mode, dir.attr.nlink, dir.attr.mtime), (2, 0o040_755, 3, 1000));
        let file = shim.lookup(2, "file").unwrap();
        assert_eq!((file.attr.mode, file.attr.size, file.attr.blocks), (0o100_644, 10_000, 24));
        let link = shim.lookup(1, "link").unwrap();
        assert_eq!(link.attr.mode, 0o120_777);
        assert_eq!(shim.call(fuse_opcode::FUSE_READLINK, link.nodeid, &[]), Ok(b"dir/file".to_vec()));
        assert_eq!(shim.lookup(1, "none").unwrap_err(), code(e::ENOENT));
        assert_eq!(shim.lookup(file.nodeid, "x").unwrap_err(), code(e::ENOTDIR));
        assert_eq!(shim.lookup(2, "..").unwrap().nodeid, 1);
        let attr: fuse_attr_out =
            shim.ask(fuse_opcode::FUSE_GETATTR, file.nodeid, &message!(fuse_getattr_in::default())).unwrap();
        assert_eq!((attr.attr, attr.attr_valid), (file.attr, u64::MAX));
    });
}

#[test]
fn reading_into_segments() {
    with_shim(|shim| {
        let node = shim.node("dir/file");
        let fh = shim.open(node, read_flags()).unwrap();
        shim.use_segments(&[10, 4096, 100]);
        shim.fill_page(0, &[0xaa; 20]);
        assert_eq!(shim.read(fh, 0, 4206), Ok(4206));
        assert_eq!(shim.page(0, 12), [&[b'f'; 10][..], &[0xaa; 2]].concat());
        assert_eq!(shim.page(1, 4096), [b'f'; 4096]);
        assert_eq!(shim.page(2, 101), [&[b'f'; 100][..], &[0]].concat());
        assert_eq!(shim.read(fh, 9_990, 4206), Ok(10), "the file ends");
        assert_eq!(shim.read(fh, 10_000, 4206), Ok(0));
        assert_eq!(shim.read(fh, u64::MAX, 4206), Ok(0));
        assert_eq!(shim.read(fh, 0, 4207), Err(code(e::EINVAL)), "more than there are segments");
        assert_eq!(shim.read(fh + 1, 0, 1), Err(code(e::EBADF)));
        assert_eq!(shim.write(fh, 0, 1, 0), Err(code(e::EBADF)), "opened for reading");
    });
}

#[test]
fn writing_from_segments() {
    with_shim(|shim| {
        let asked = fuse_create_in { flags: linux::O_RDWR | linux::O_CREAT, mode: 0o100_640, ..Default::default() };
        let tmp = shim.node("tmp");
        let body = shim.call(fuse_opcode::FUSE_CREATE, tmp, &message!(asked, *b"new\0")).unwrap();
        let (entry, rest) = fuse_entry_out::read_from_prefix(&body).unwrap();
        let fh = fuse_open_out::read_from_bytes(rest).unwrap().fh;
        assert_eq!((entry.attr.mode, entry.attr.size), (0o100_640, 0));
        shim.use_segments(&[3, 4096]);
        shim.fill_page(0, b"abc");
        shim.fill_page(1, &[b'd'; 4096]);
        assert_eq!(shim.write(fh, 10, 4099, 0), Ok(4099));
        assert_eq!(shim.write(fh, 0, 3, linux::O_APPEND), Ok(3));
        shim.use_segments(&[4096, 4096]);
        assert_eq!(shim.read(fh, 0, 8192), Ok(4112));
        assert_eq!(shim.page(0, 14), *b"\0\0\0\0\0\0\0\0\0\0abcd");
        assert_eq!(shim.page(1, 16), *b"dddddddddddddabc");
        let seek = fuse_lseek_in { fh, offset: 0, whence: linux::SEEK_HOLE, padding: 0 };
        let out: fuse_lseek_out = shim.ask(fuse_opcode::FUSE_LSEEK, entry.nodeid, &message!(seek)).unwrap();
        assert_eq!(out.offset, 4112);
        let attr: fuse_attr_out =
            shim.ask(fuse_opcode::FUSE_GETATTR, entry.nodeid, &message!(fuse_getattr_in::default())).unwrap();
        assert_eq!((attr.attr.size, attr.attr.mtime, attr.attr.mtimensec), (4112, 2000, 5));
    });
}

#[test]
fn segments_that_are_no_memory() {
    with_shim(|shim| {
        let node = shim.node("dir/file");
        let fh = shim.open(node, linux::O_RDWR).unwrap();
        shim.use_segments(&[4096, 4096]);
        shim.segments[1].gpa = 1 << 40;
        assert_eq!(shim.write(fh, 0, 8192, 0), Ok(4096));
        assert_eq!(shim.write(fh, 4096, 4096, 0), Ok(4096));
        shim.segments[0].gpa = 1 << 41;
        assert_eq!(shim.write(fh, 0, 8192, 0), Err(code(e::EFAULT)));
        assert_eq!(shim.read(fh, 0, 8192), Err(code(e::EFAULT)));
    });
}

#[test]
fn opening_by_flags() {
    with_shim(|shim| {
        let (file, dir, link) = (shim.node("dir/file"), shim.node("dir"), shim.node("link"));
        assert_eq!(shim.open(dir, read_flags()), Err(code(e::EISDIR)));
        assert_eq!(shim.open(link, read_flags()), Err(code(e::ELOOP)));
        assert_eq!(shim.open(file, linux::O_DIRECTORY), Err(code(e::ENOTDIR)));
        assert_eq!(shim.open(file, linux::O_ACCMODE), Err(code(e::EINVAL)));
        assert_eq!(shim.open(file, 0x20), Err(code(e::EACCES)), "not executable");
        shim.uid = 5;
        assert_eq!(shim.open(file, linux::O_WRONLY), Err(code(e::EACCES)));
        assert_eq!(shim.open(file, linux::O_TRUNC), Err(code(e::EACCES)));
        assert!(shim.open(file, read_flags()).is_ok());
        shim.uid = 0;
        let fh = shim.open(file, linux::O_WRONLY | linux::O_TRUNC).unwrap();
        assert_eq!(shim.lookup(dir, "file").unwrap().attr.size, 0);
        shim.use_segments(&[1]);
        assert_eq!(shim.read(fh, 0, 1), Err(code(e::EBADF)));
    });
}

#[test]
fn creating_what_exists() {
    with_shim(|shim| {
        let (dir, tmp) = (shim.node("dir"), shim.node("tmp"));
        let create = |shim: &mut Shim<'_>, dir, flags, name: &str| {
            let asked = fuse_create_in { flags: flags | linux::O_RDWR, mode: 0o444, ..Default::default() };
            shim.call(fuse_opcode::FUSE_CREATE, dir, &message!(asked, *name.as_bytes(), [0u8])).map(drop)
        };
        assert_eq!(create(shim, dir, 0, "file"), Ok(()));
        assert_eq!(create(shim, dir, linux::O_EXCL, "file"), Err(code(e::EEXIST)));
        assert_eq!(create(shim, 1, 0, "dir"), Err(code(e::EISDIR)));
        assert_eq!(create(shim, 1, 0, "link"), Err(code(e::ELOOP)));
        shim.uid = 5;
        assert_eq!(create(shim, tmp, linux::O_EXCL, "own"), Ok(()), "writable by its first handle, whatever its mode");
        assert_eq!(create(shim, tmp, 0, "own"), Err(code(e::EACCES)));
        assert_eq!(create(shim, dir, 0, "new"), Err(code(e::EACCES)));
    });
}

#[test]
fn names_come_and_go() {
    with_shim(|shim| {
        let tmp = shim.node("tmp");
        let dir = shim.node("dir");
        let mkdir = fuse_mkdir_in { mode: 0o700, umask: 0o777 };
        let made: fuse_entry_out = shim.ask(fuse_opcode::FUSE_MKDIR, tmp, &message!(mkdir, *b"d\0")).unwrap();
        assert_eq!(made.attr.mode, 0o040_700);
        let mknod = fuse_mknod_in { mode: linux::S_IFIFO | 0o600, ..Default::default() };
        let fifo: fuse_entry_out = shim.ask(fuse_opcode::FUSE_MKNOD, tmp, &message!(mknod, *b"p\0")).unwrap();
        assert_eq!(fifo.attr.mode, 0o010_600);
        for kind in [linux::S_IFCHR, linux::S_IFBLK, linux::S_IFDIR] {
            let mknod = fuse_mknod_in { mode: kind, ..Default::default() };
            assert_eq!(shim.call(fuse_opcode::FUSE_MKNOD, tmp, &message!(mknod, *b"n\0")), Err(code(e::EPERM)));
        }
        let file = shim.node("dir/file");
        let link = fuse_link_in { oldnodeid: file };
        let linked: fuse_entry_out = shim.ask(fuse_opcode::FUSE_LINK, tmp, &message!(link, *b"l\0")).unwrap();
        assert_eq!((linked.nodeid, linked.attr.nlink), (file, 2));
        let rename = fuse_rename_in { newdir: made.nodeid };
        assert_eq!(shim.call(fuse_opcode::FUSE_RENAME, tmp, &message!(rename, *b"l\0m\0")), Ok(Vec::new()));
        assert_eq!(shim.lookup(made.nodeid, "m").unwrap().nodeid, file);
        let exchange = fuse_rename2_in { newdir: tmp, flags: linux::RENAME_EXCHANGE, padding: 0 };
        assert_eq!(shim.call(fuse_opcode::FUSE_RENAME2, dir, &message!(exchange, *b"sub\0p\0")), Ok(Vec::new()));
        assert_eq!(shim.lookup(dir, "sub").unwrap().nodeid, fifo.nodeid);
        let both = fuse_rename2_in { flags: 3, ..exchange };
        assert_eq!(shim.call(fuse_opcode::FUSE_RENAME2, dir, &message!(both, *b"a\0b\0")), Err(code(e::EINVAL)));
        assert_eq!(shim.call(fuse_opcode::FUSE_RMDIR, tmp, b"d\0"), Err(code(e::ENOTEMPTY)));
        assert_eq!(shim.call(fuse_opcode::FUSE_UNLINK, made.nodeid, b"m\0"), Ok(Vec::new()));
        assert_eq!(shim.call(fuse_opcode::FUSE_RMDIR, tmp, b"d\0"), Ok(Vec::new()));
        assert_eq!(shim.lookup(tmp, "d").unwrap_err(), code(e::ENOENT));
    });
}

#[test]
fn attributes_are_set() {
    with_shim(|shim| {
        let node = shim.node("dir/file");
        let mut set = |set: fuse_setattr_in| {
            shim.ask::<fuse_attr_out>(fuse_opcode::FUSE_SETATTR, node, &message!(set)).map(|out| out.attr)
        };
        let mode = fuse_setattr_in { valid: FATTR_MODE, mode: 0o100_600, ..Default::default() };
        assert_eq!(set(mode).unwrap().mode, 0o100_600);
        let owner = fuse_setattr_in { valid: FATTR_UID | FATTR_GID, uid: 3, gid: 4, ..Default::default() };
        assert_eq!(set(owner).map(|attr| (attr.uid, attr.gid)), Ok((3, 4)));
        let size = fuse_setattr_in { valid: FATTR_SIZE, size: 77, ..Default::default() };
        assert_eq!(set(size).unwrap().size, 77);
        let times = fuse_setattr_in {
            valid: FATTR_ATIME | FATTR_MTIME | FATTR_MTIME_NOW,
            atime: (-3i64).cast_unsigned(),
            atimensec: 9,
            ..Default::default()
        };
        let attr = set(times).unwrap();
        assert_eq!((attr.atime.cast_signed(), attr.atimensec, attr.mtime), (-3, 9, 2000));
    });
}

#[test]
fn a_handle_outlives_name_and_node() {
    with_shim(|shim| {
        let dir = shim.node("dir");
        let node = shim.node("dir/file");
        let fh = shim.open(node, linux::O_RDWR).unwrap();
        shim.call(fuse_opcode::FUSE_UNLINK, dir, b"file\0").unwrap();
        let forget = fuse_forget_in { nlookup: 1 };
        assert_eq!(shim.call(fuse_opcode::FUSE_FORGET, node, &message!(forget)), Ok(Vec::new()));
        let by_node = message!(fuse_getattr_in::default());
        assert_eq!(shim.call(fuse_opcode::FUSE_GETATTR, node, &by_node), Err(code(e::ESTALE)));
        let by_handle = message!(fuse_getattr_in { getattr_flags: FUSE_GETATTR_FH, dummy: 0, fh });
        let attr: fuse_attr_out = shim.ask(fuse_opcode::FUSE_GETATTR, node, &by_handle).unwrap();
        assert_eq!((attr.attr.nlink, attr.attr.size), (0, 10_000));
        let cut = fuse_setattr_in { valid: FATTR_SIZE | FATTR_FH, fh, size: 5, ..Default::default() };
        let attr: fuse_attr_out = shim.ask(fuse_opcode::FUSE_SETATTR, 0, &message!(cut)).unwrap();
        assert_eq!(attr.attr.size, 5);
        shim.use_segments(&[10]);
        assert_eq!(shim.read(fh, 0, 10), Ok(5));
        let release = message!(fuse_release_in { fh, ..Default::default() });
        assert_eq!(shim.call(fuse_opcode::FUSE_RELEASE, node, &release), Ok(Vec::new()));
        assert_eq!(shim.call(fuse_opcode::FUSE_RELEASE, node, &release), Err(code(e::EBADF)));
        assert_eq!(shim.read(fh, 0, 10), Err(code(e::EBADF)));
    });
}

/// The entries of a READDIR reply: name, inode, offset and type.
pub(super) fn entries(mut body: &[u8], plus: bool) -> Vec<(String, u64, u64, u32, Option<fuse_entry_out>)> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let mut entry = None;
        let mut len = 0;
        if plus {
            let (out, rest) = fuse_entry_out::read_from_prefix(body).unwrap();
            (entry, body, len) = (Some(out), rest, size_of::<fuse_entry_out>());
        }
        let (header, rest) = fuse_dirent::read_from_prefix(body).unwrap();
        let name = core::str::from_utf8(&rest[..header.namelen as usize]).unwrap().to_string();
        len += size_of::<fuse_dirent>() + name.len();
        let padding = len.next_multiple_of(8) - len;
        assert_eq!(rest[name.len()..][..padding], [0; 7][..padding]);
        body = &rest[name.len() + padding..];
        found.push((name, header.ino, header.off, header.type_, entry));
    }
    found
}

pub(super) fn open_directory<A: Authority>(shim: &mut Shim<'_, A>, node: u64) -> Result<u64, i32> {
    let out: fuse_open_out = shim.ask(fuse_opcode::FUSE_OPENDIR, node, &message!(fuse_open_in::default()))?;
    Ok(out.fh)
}

#[test]
fn directories_are_read_in_pieces() {
    with_shim(|shim| {
        let dir = shim.node("dir");
        let fh = open_directory(shim, dir).unwrap();
        let read = |shim: &mut Shim<'_>, offset, size| {
            let asked = fuse_read_in { fh, offset, size, ..Default::default() };
            shim.call(fuse_opcode::FUSE_READDIR, dir, &message!(asked)).map(|body| entries(&body, false))
        };
        let all = read(shim, 0, 4096).unwrap();
        let names: Vec<_> = all.iter().map(|(name, ino, _, kind, _)| (&name[..], *ino, *kind)).collect();
        assert_eq!(names, [(".", 2, 4), ("..", 1, 4), ("file", 3, 8), ("sub", 4, 4)]);
        let mut pieces = Vec::new();
        let mut offset = 0;
        loop {
            let piece = read(shim, offset, 40).unwrap();
            let Some(last) = piece.last() else { break };
            offset = last.2;
            pieces.extend(piece);
        }
        assert_eq!(pieces, all);
        assert_eq!(read(shim, 0, 31), Err(code(e::EINVAL)), "not even one entry");
        assert_eq!(read(shim, 0, u32::MAX).unwrap(), all, "as much as there is");
        assert_eq!(read(shim, u64::MAX, 4096), Ok(Vec::new()));
        let file = shim.node("dir/file");
        assert_eq!(open_directory(shim, file), Err(code(e::ENOTDIR)));
        shim.uid = 5;
        let private = shim.node("private");
        assert_eq!(open_directory(shim, private), Err(code(e::EACCES)));
    });
}

#[test]
fn readdirplus_counts_lookups() {
    with_shim(|shim| {
        let fh = open_directory(shim, 1).unwrap();
        let asked = message!(fuse_read_in { fh, offset: 0, size: 4096, ..Default::default() });
        let body = shim.call(fuse_opcode::FUSE_READDIRPLUS, 1, &asked).unwrap();
        let plus: BTreeMap<_, _> = entries(&body, true).into_iter().map(|entry| (entry.0.clone(), entry)).collect();
        assert_eq!(plus.keys().collect::<Vec<_>>(), [".", "..", "dir", "link", "private", "tmp"]);
        assert_eq!(plus["."].4.unwrap().nodeid, 0);
        let dir = plus["dir"].4.unwrap();
        assert_eq!((dir.nodeid, dir.attr.mode), (2, 0o040_755));
        assert!(shim.lookup(2, "file").is_ok(), "known without a lookup of its own");
        let forget = message!(fuse_forget_in { nlookup: 1 });
        shim.call(fuse_opcode::FUSE_FORGET, 2, &forget).unwrap();
        assert_eq!(shim.lookup(2, "file").unwrap_err(), code(e::ESTALE));
    });
}

#[test]
fn what_needs_no_work_is_answered() {
    with_shim(|shim| {
        let node = shim.node("dir/file");
        let fh = shim.open(node, read_flags()).unwrap();
        let flush = message!(fuse_flush_in { fh, ..Default::default() });
        assert_eq!(shim.call(fuse_opcode::FUSE_FLUSH, node, &flush), Ok(Vec::new()));
        let sync = message!(fuse_fsync_in { fh, ..Default::default() });
        assert_eq!(shim.call(fuse_opcode::FUSE_FSYNC, node, &sync), Ok(Vec::new()));
        let access = message!(fuse_access_in { mask: 4, padding: 0 });
        assert_eq!(shim.call(fuse_opcode::FUSE_ACCESS, node, &access), Ok(Vec::new()));
        let access = message!(fuse_access_in { mask: 1, padding: 0 });
        assert_eq!(shim.call(fuse_opcode::FUSE_ACCESS, node, &access), Err(code(e::EACCES)));
        for opcode in [fuse_opcode::FUSE_IOCTL, fuse_opcode::FUSE_POLL, fuse_opcode::FUSE_GETLK] {
            assert_eq!(shim.call(opcode, node, &[]), Err(code(e::ENOSYS)));
        }
        let allocate = fuse_fallocate_in { fh, offset: 0, length: 1, mode: 0, padding: 0 };
        assert_eq!(shim.call(fuse_opcode::FUSE_FALLOCATE, node, &message!(allocate)), Err(code(e::EBADF)));
    });
}

fn get(size: u32) -> fuse_getxattr_in {
    fuse_getxattr_in { size, padding: 0 }
}

#[test]
fn extended_attributes_in_the_message() {
    use fuse_opcode::*;
    with_shim(|shim| {
        let node = shim.node("dir/file");
        let set = |flags, value: &[u8]| {
            let size = u32::try_from(value.len()).unwrap();
            message!(fuse_setxattr_in { size, flags, ..Default::default() }, *b"user.a\0", *value)
        };
        assert_eq!(shim.call(FUSE_GETXATTR, node, &message!(get(9), *b"user.a\0")), Err(code(e::ENODATA)));
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(linux::XATTR_REPLACE, b"v")), Err(code(e::ENODATA)));
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(linux::XATTR_CREATE, b"value")), Ok(Vec::new()));
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(linux::XATTR_CREATE, b"v")), Err(code(e::EEXIST)));
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(4, b"v")), Err(code(e::EINVAL)));
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(0, b"val")[..25]), Err(code(e::EINVAL)), "a byte is missing");
        let long = message!(fuse_setxattr_in { size: 65_537, ..Default::default() }, *b"user.a\0");
        assert_eq!(shim.call(FUSE_SETXATTR, node, &long), Err(code(e::E2BIG)));
        let out: fuse_getxattr_out = shim.ask(FUSE_GETXATTR, node, &message!(get(0), *b"user.a\0")).unwrap();
        assert_eq!(out.size, 5);
        assert_eq!(shim.call(FUSE_GETXATTR, node, &message!(get(4), *b"user.a\0")), Err(code(e::ERANGE)));
        assert_eq!(shim.call(FUSE_GETXATTR, node, &message!(get(5), *b"user.a\0")), Ok(b"value".to_vec()));
        let other = message!(fuse_setxattr_in::default(), *b"user.0\0");
        assert_eq!(shim.call(FUSE_SETXATTR, node, &other), Ok(Vec::new()));
        assert_eq!(shim.call(FUSE_LISTXATTR, node, &message!(get(100))), Ok(b"user.0\0user.a\0".to_vec()));
        assert_eq!(shim.call(FUSE_LISTXATTR, node, &message!(get(13))), Err(code(e::ERANGE)));
        let out: fuse_getxattr_out = shim.ask(FUSE_LISTXATTR, node, &message!(get(0))).unwrap();
        assert_eq!(out.size, 14);
        assert_eq!(shim.call(FUSE_REMOVEXATTR, node, b"user.0\0"), Ok(Vec::new()));
        assert_eq!(shim.call(FUSE_REMOVEXATTR, node, b"user.0\0"), Err(code(e::ENODATA)));
        assert_eq!(shim.call(FUSE_REMOVEXATTR, 77, b"user.0\0"), Err(code(e::ESTALE)));
    });
}

#[test]
fn extended_attributes_by_segments() {
    use fuse_opcode::*;
    with_shim(|shim| {
        let node = shim.node("dir/file");
        shim.use_segments(&[4096; 16]);
        shim.fill_page(15, &[b'z'; 4096]);
        let set = |size| message!(fuse_setxattr_in { size, ..Default::default() }, *b"user.big\0");
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(65_536)), Ok(Vec::new()));
        shim.fill_page(15, &[0; 4096]);
        let out: fuse_getxattr_out = shim.ask(FUSE_GETXATTR, node, &message!(get(65_536), *b"user.big\0")).unwrap();
        assert_eq!((out.size, shim.page(15, 4096)), (65_536, vec![b'z'; 4096]));
        shim.use_segments(&[10]);
        assert_eq!(shim.call(FUSE_SETXATTR, node, &set(11)), Err(code(e::EINVAL)));
        let ask = message!(get(65_536), *b"user.big\0");
        assert_eq!(shim.call(FUSE_GETXATTR, node, &ask), Err(code(e::EINVAL)));
        let out: fuse_getxattr_out = shim.ask(FUSE_LISTXATTR, node, &message!(get(10))).unwrap();
        assert_eq!((out.size, shim.page(0, 9)), (9, b"user.big\0".to_vec()));
        // No room for it in a message.
        shim.segments.clear();
        assert_eq!(shim.call(FUSE_GETXATTR, node, &ask), Err(code(e::ERANGE)));
    });
}

#[test]
fn files_without_a_name() {
    use fuse_opcode::*;
    with_shim(|shim| {
        let tmp = shim.node("tmp");
        let ask = |flags| message!(fuse_create_in { flags, mode: 0o100_600, ..Default::default() }, *b"/\0");
        assert_eq!(shim.call(FUSE_TMPFILE, tmp, &ask(linux::O_RDONLY)), Err(code(e::EINVAL)));
        assert_eq!(shim.call(FUSE_TMPFILE, shim.unique, &ask(linux::O_RDWR)), Err(code(e::ESTALE)));
        let free = shim.services.stack().statfs(files::Ino::ROOT).unwrap().inodes_free;
        let body = shim.call(FUSE_TMPFILE, tmp, &ask(linux::O_RDWR)).unwrap();
        let (entry, open) = fuse_entry_out::read_from_prefix(&body).unwrap();
        let open = fuse_open_out::read_from_bytes(open).unwrap();
        assert_eq!((entry.attr.mode, entry.attr.nlink), (0o100_600, 0));
        shim.use_segments(&[5]);
        assert_eq!(shim.write(open.fh, 0, 5, 0), Ok(5));
        let link = message!(fuse_link_in { oldnodeid: entry.nodeid }, *b"named\0");
        let linked: fuse_entry_out = shim.ask(FUSE_LINK, tmp, &link).unwrap();
        assert_eq!((linked.nodeid, linked.attr.nlink, linked.attr.size), (entry.nodeid, 1, 5));
        assert_eq!(shim.node("tmp/named"), entry.nodeid);
        // One that nobody may link is gone once it is closed and forgotten.
        let body = shim.call(FUSE_TMPFILE, tmp, &ask(linux::O_RDWR | linux::O_EXCL)).unwrap();
        let (entry, open) = fuse_entry_out::read_from_prefix(&body).unwrap();
        let open = fuse_open_out::read_from_bytes(open).unwrap();
        let link = message!(fuse_link_in { oldnodeid: entry.nodeid }, *b"never\0");
        assert_eq!(shim.call(FUSE_LINK, tmp, &link), Err(code(e::ENOENT)));
        let release = message!(fuse_release_in { fh: open.fh, ..Default::default() });
        assert_eq!(shim.call(FUSE_RELEASE, entry.nodeid, &release), Ok(Vec::new()));
        let forget = message!(fuse_forget_in { nlookup: 1 });
        assert_eq!(shim.call(FUSE_FORGET, entry.nodeid, &forget), Ok(Vec::new()));
        // The directory's copy, and the file that got its name.
        assert_eq!(shim.services.stack().statfs(files::Ino::ROOT).unwrap().inodes_free, free - 2);
    });
}

/// Notes what it is asked, and denies one right.
#[derive(Default)]
struct Denying {
    denied: Cell<Option<Right>>,
    asked: RefCell<Vec<String>>,
}

impl Authority for &Denying {
    fn allow(&mut self, seen: Seen<'_, '_>, right: Right, object: Object<'_>) -> Result<(), Errno> {
        let object = match object {
            Object::Entry { dir, name } => {
                let mut path = seen.stack.directory_path(dir);
                path.push(b'>');
                path.extend_from_slice(name);
                String::from_utf8(path).unwrap()
            }
            Object::Inode(ino) => ino.0.to_string(),
        };
        self.asked.borrow_mut().push(alloc::format!("{right:?} {object}"));
        if self.denied.get() == Some(right) { Err(Errno::EPERM) } else { Ok(()) }
    }

    fn shows(&self, _seen: Seen<'_, '_>, _name: Name<'_>) -> bool {
        self.denied.get() != Some(Right::Look)
    }
}

/// Each request, and what it asks the authority.
fn requests() -> Vec<(fuse_opcode, u64, Vec<u8>, &'static [&'static str])> {
    use fuse_opcode::*;
    let setattr = |valid| message!(fuse_setattr_in { valid, ..Default::default() });
    let create = message!(fuse_create_in { flags: linux::O_RDWR, ..Default::default() }, *b"c\0");
    let exchange = fuse_rename2_in { newdir: 2, flags: linux::RENAME_EXCHANGE, padding: 0 };
    let open = |flags| message!(fuse_open_in { flags, open_flags: 0 });
    alloc::vec![
        (FUSE_GETATTR, 3, message!(fuse_getattr_in::default()), &["Look 3"]),
        (FUSE_ACCESS, 3, message!(fuse_access_in::default()), &["Look 3"]),
        (FUSE_READLINK, 5, Vec::new(), &["Read 5"]),
        (FUSE_SETATTR, 3, setattr(FATTR_MODE), &["SetAttributes 3"]),
        (FUSE_SETATTR, 3, setattr(FATTR_SIZE), &["Write 3", "SetAttributes 3"]),
        (FUSE_OPEN, 3, open(linux::O_RDONLY), &["Read 3"]),
        (FUSE_OPEN, 3, open(linux::O_RDWR), &["Read 3", "Write 3"]),
        (FUSE_OPEN, 3, open(linux::O_TRUNC), &["Read 3", "Write 3"]),
        (FUSE_OPEN, 3, open(0x20), &["Execute 3"]),
        (FUSE_OPENDIR, 2, open(0), &["Read 2"]),
        (FUSE_CREATE, 2, create, &["Create /dir>c"]),
        (FUSE_MKDIR, 2, message!(fuse_mkdir_in::default(), *b"d\0"), &["Create /dir>d"]),
        (FUSE_MKNOD, 2, message!(fuse_mknod_in::default(), *b"n\0"), &["Create /dir>n"]),
        (FUSE_SYMLINK, 2, b"s\0t\0".to_vec(), &["Create /dir>s"]),
        (FUSE_LINK, 2, message!(fuse_link_in { oldnodeid: 3 }, *b"l\0"), &["Create /dir>l"]),
        (
            FUSE_RENAME2,
            2,
            message!(exchange, *b"l\0sub\0"),
            &["Remove /dir>l", "Create /dir>sub", "Remove /dir>sub", "Create /dir>l"]
        ),
        (FUSE_RENAME, 2, message!(fuse_rename_in { newdir: 1 }, *b"l\0x\0"), &["Remove /dir>l", "Create />x"]),
        (FUSE_UNLINK, 2, b"n\0".to_vec(), &["Remove /dir>n"]),
        (FUSE_RMDIR, 2, b"d\0".to_vec(), &["Remove /dir>d"]),
    ]
}

#[test]
fn every_request_asks_the_authority() {
    let authority = Denying::default();
    with_authority(&authority, |shim| {
        for path in ["dir/file", "link"] {
            shim.node(path);
        }
        for (opcode, node, arguments, expected) in requests() {
            authority.asked.borrow_mut().clear();
            let _ = shim.call(opcode, node, &arguments);
            assert_eq!(*authority.asked.borrow(), expected, "{opcode:?}");
        }
    });
}

#[test]
fn what_the_authority_denies_does_not_happen() {
    for denied in [Right::Read, Right::Write, Right::Execute, Right::SetAttributes, Right::Create, Right::Remove] {
        let authority = Denying::default();
        with_authority(&authority, |shim| {
            for path in ["dir/file", "link"] {
                shim.node(path);
            }
            authority.denied.set(Some(denied));
            let prefix = alloc::format!("{denied:?} ");
            for (opcode, node, arguments, expected) in requests() {
                if expected.iter().any(|asked| asked.starts_with(&prefix)) {
                    let before = alloc::format!("{:?}", shim.services.stack());
                    assert_eq!(shim.call(opcode, node, &arguments), Err(code(e::EPERM)), "{opcode:?}");
                    assert_eq!(alloc::format!("{:?}", shim.services.stack()), before);
                } else {
                    // Makes what later requests take away.
                    let _ = shim.call(opcode, node, &arguments);
                }
            }
        });
    }
    let authority = Denying { denied: Cell::new(Some(Right::Look)), ..Default::default() };
    with_authority(&authority, |shim| {
        assert_eq!(shim.lookup(1, "dir").unwrap_err(), code(e::EPERM));
        let fh = open_directory(shim, 1).unwrap();
        let asked = message!(fuse_read_in { fh, offset: 0, size: 4096, ..Default::default() });
        let body = shim.call(fuse_opcode::FUSE_READDIRPLUS, 1, &asked).unwrap();
        let names: Vec<_> = entries(&body, true).into_iter().map(|entry| entry.0).collect();
        assert_eq!(names, [".", ".."], "what must not be looked at is not listed");
    });
}

fn set_up(shim: &mut Shim<'_>, fh: u64, foffset: u64, len: u64, flags: u64, moffset: u64) -> Result<Vec<u8>, i32> {
    let asked = fuse_setupmapping_in { fh, foffset, len, flags, moffset };
    shim.call(fuse_opcode::FUSE_SETUPMAPPING, 0, &message!(asked))
}

#[test]
fn whole_pages_of_untouched_files_are_shown() {
    with_shim(|shim| {
        let node = shim.node("dir/file");
        let fh = shim.open(node, read_flags()).unwrap();
        let (read, write) = (2, 1);
        let einval = Err(code(e::EINVAL));
        assert_eq!(set_up(shim, fh, 0, 8192, read, 0x1_0000), Ok(vec![]));
        let mut page = vec![0; 8192];
        shim.memory.read(Gpa(WINDOW + 0x1_0000), &mut page).unwrap();
        assert_eq!(page, [b'f'; 8192]);
        assert_eq!(set_up(shim, fh, 0, 8192, read | write, 0), Err(code(e::EACCES)));
        assert_eq!(set_up(shim, fh, 0, 8192, 0, 0), Err(code(e::EACCES)));
        assert_eq!(set_up(shim, fh + 1, 0, 8192, read, 0), Err(code(e::EBADF)));
        assert_eq!(set_up(shim, fh, 0, 8192, read, 0x1000), einval);
        assert_eq!(set_up(shim, fh, 8192, 8192, read, 0), einval, "beyond the end");
        assert_eq!(set_up(shim, fh, 0, 0, read, 0), einval);
        assert_eq!(set_up(shim, fh, 0, 1 << 20, read, 0), einval);
        assert_eq!(set_up(shim, fh, u64::MAX - 4095, 4096, read, 0), einval);
        assert_eq!(set_up(shim, fh, 8, 4096, read, 0), Err(code(e::EOPNOTSUPP)));
        assert_eq!(set_up(shim, fh, 0, 12288, read, 0), Err(code(e::EOPNOTSUPP)), "the last page is not padded");
        let one = fuse_removemapping_one { moffset: 0x1_0000, len: 8192 };
        let removal = message!(fuse_removemapping_in { count: 1 }, one);
        assert_eq!(shim.call(fuse_opcode::FUSE_REMOVEMAPPING, 0, &removal), Ok(vec![]));
        shim.memory.read(Gpa(WINDOW + 0x1_0000), &mut page).unwrap();
        assert_eq!(page, [0; 8192]);
        let short = message!(fuse_removemapping_in { count: 5 }, one);
        assert_eq!(shim.call(fuse_opcode::FUSE_REMOVEMAPPING, 0, &short), Err(code(e::EINVAL)));
        // What is written to is no longer what the lower layer has.
        let writer = shim.open(node, linux::O_WRONLY).unwrap();
        assert_eq!(set_up(shim, writer, 0, 4096, read, 0), Err(code(e::EBADF)));
        let cut = fuse_setattr_in { valid: FATTR_SIZE, size: 9_000, ..Default::default() };
        shim.call(fuse_opcode::FUSE_SETATTR, node, &message!(cut)).unwrap();
        assert_eq!(set_up(shim, fh, 0, 4096, read, 0), Err(code(e::EOPNOTSUPP)));
    });
}
