//! Requests that no honest shim makes.
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use fuse_abi::linux::*;
use guestmem::GuestMemory;
use linux_raw_sys::errno as e;
use linux_raw_sys::general as linux;
use proto::{MESSAGE_LEN, MESSAGE_OFFSET, SERVICE_PAGES, ServiceRequest, op};
use seeded::Random;
use tlfs::addr::Gpa;
use zerocopy::IntoBytes;

use super::{FILE_LIMITS, MEMORY, SERVICE, Shim, message, with_shim};
use crate::Served;

fn code(error: u32) -> i32 {
    error.cast_signed()
}

/// A good request with one word of its frame changed is malformed.
#[test]
fn broken_frames() {
    let frame = |field: usize| SERVICE.0 + field as u64;
    let header = |field: usize| SERVICE.0 + (MESSAGE_OFFSET + field) as u64;
    let segment = SERVICE.0 + offset_of!(ServiceRequest, segments) as u64;
    let message_len = u32::try_from(MESSAGE_LEN).unwrap();
    let changes = [
        (frame(offset_of!(ServiceRequest, message_len)), 0),
        (frame(offset_of!(ServiceRequest, message_len)), 39),
        (frame(offset_of!(ServiceRequest, message_len)), 41),
        (frame(offset_of!(ServiceRequest, message_len)), message_len),
        (frame(offset_of!(ServiceRequest, message_len)), message_len + 1),
        (frame(offset_of!(ServiceRequest, message_len)), u32::MAX),
        (frame(offset_of!(ServiceRequest, segment_count)), 65),
        (frame(offset_of!(ServiceRequest, segment_count)), u32::MAX),
        (frame(offset_of!(ServiceRequest, segment_count)), 2),
        (frame(offset_of!(ServiceRequest, closed_count)), 17),
        (frame(offset_of!(ServiceRequest, closed_count)), u32::MAX),
        (header(offset_of!(fuse_in_header, len)), 39),
        (header(offset_of!(fuse_in_header, len)), u32::MAX),
        (header(offset_of!(fuse_in_header, total_extlen)), 1),
        (segment, 1),
        (segment + 8, 0),
        (segment + 8, 4097),
        (segment + 8, u32::MAX),
        (segment + 12, 1),
    ];
    for (at, value) in changes {
        with_shim(|shim| {
            shim.use_segments(&[4096]);
            shim.put(fuse_opcode::FUSE_STATFS as u32, 1, &[]);
            assert!(matches!(shim.ring(), Served::Replied));
            assert_ne!(shim.reply_len(), 0);
            shim.put(fuse_opcode::FUSE_STATFS as u32, 1, &[]);
            shim.memory.write(Gpa(at), &value.to_le_bytes()).unwrap();
            let served = shim.ring();
            assert!(matches!(served, Served::Malformed { .. }), "{at:#x} = {value:#x}: {served:?}");
            assert_eq!(shim.reply_len(), 0);
        });
    }
}

#[test]
fn service_pages_that_are_not_there() {
    for at in [MEMORY as u64 - 8, MEMORY as u64 - 4096, MEMORY as u64, u64::MAX, u64::MAX - 4096] {
        with_shim(|shim| {
            let now = files::Timestamp::default();
            let served = shim.services.serve(Gpa(at), &mut shim.memory, &mut shim.console, &mut shim.entropy, now);
            assert!(matches!(served, Served::Malformed { .. }));
            shim.services.finish_wait(Gpa(at), &mut shim.memory, op::Woken::default());
        });
    }
}

#[test]
fn arguments_that_are_too_short_or_too_long() {
    use fuse_opcode::*;
    with_shim(|shim| {
        let node = shim.node("dir/file");
        for opcode in [
            FUSE_INIT,
            FUSE_LOOKUP,
            FUSE_FORGET,
            FUSE_BATCH_FORGET,
            FUSE_GETATTR,
            FUSE_SETATTR,
            FUSE_SYMLINK,
            FUSE_MKNOD,
            FUSE_MKDIR,
            FUSE_UNLINK,
            FUSE_RMDIR,
            FUSE_RENAME,
            FUSE_RENAME2,
            FUSE_LINK,
            FUSE_OPEN,
            FUSE_CREATE,
            FUSE_READ,
            FUSE_WRITE,
            FUSE_LSEEK,
            FUSE_FALLOCATE,
            FUSE_FLUSH,
            FUSE_FSYNC,
            FUSE_FSYNCDIR,
            FUSE_RELEASE,
            FUSE_RELEASEDIR,
            FUSE_OPENDIR,
            FUSE_READDIR,
            FUSE_READDIRPLUS,
            FUSE_ACCESS,
            FUSE_SETXATTR,
            FUSE_GETXATTR,
            FUSE_LISTXATTR,
        ] {
            assert_eq!(shim.call(opcode, node, &[]), Err(code(e::EINVAL)), "{opcode:?}");
            assert_eq!(shim.call(opcode, node, &[1; 5]), Err(code(e::EINVAL)), "{opcode:?}");
            assert_eq!(shim.call(opcode, node, &[1; 2000]), Err(code(e::EINVAL)), "{opcode:?}");
        }
        for opcode in [FUSE_STATFS, FUSE_READLINK] {
            assert_eq!(shim.call(opcode, node, &[0]), Err(code(e::EINVAL)), "{opcode:?}");
        }
        assert_eq!(shim.call(FUSE_LOOKUP, 1, b"dir\0\0"), Err(code(e::EINVAL)), "a byte behind the name");
        assert_eq!(shim.call(FUSE_LOOKUP, 1, b"\0"), Err(code(e::ENOENT)));
        assert_eq!(shim.call(FUSE_LOOKUP, 1, b"dir/file\0"), Err(code(e::EINVAL)));
        let count = message!(fuse_batch_forget_in { count: u32::MAX, dummy: 0 }, fuse_forget_one::default());
        assert_eq!(shim.call(FUSE_BATCH_FORGET, 1, &count), Err(code(e::EINVAL)));
    });
}

#[test]
fn nodes_that_were_never_told() {
    with_shim(|shim| {
        for node in [0, 3, 8, 1 << 32, u64::MAX] {
            assert_eq!(shim.lookup(node, "x").unwrap_err(), code(e::ESTALE));
            assert_eq!(shim.open(node, linux::O_RDONLY), Err(code(e::ESTALE)));
            let link = message!(fuse_link_in { oldnodeid: node }, *b"x\0");
            assert_eq!(shim.call(fuse_opcode::FUSE_LINK, 1, &link), Err(code(e::ESTALE)));
            let rename = message!(fuse_rename_in { newdir: node }, *b"dir\0x\0");
            assert_eq!(shim.call(fuse_opcode::FUSE_RENAME, 1, &rename), Err(code(e::ESTALE)));
            let forget = message!(fuse_forget_in { nlookup: u64::MAX });
            assert_eq!(shim.call(fuse_opcode::FUSE_FORGET, node, &forget), Ok(Vec::new()));
        }
        for fh in [0, 1, u64::MAX] {
            assert_eq!(shim.read(fh, 0, 0), Err(code(e::EBADF)));
        }
    });
}

#[test]
fn a_shim_that_never_forgets_or_closes() {
    with_shim(|shim| {
        let tmp = shim.node("tmp");
        let mkdir = fuse_mkdir_in { mode: 0o755, umask: 0 };
        let mut made = 0;
        let refused = loop {
            let name = [b'a' + made / 10, b'a' + made % 10, 0];
            match shim.call(fuse_opcode::FUSE_MKDIR, tmp, &message!(mkdir, name)) {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((refused, usize::from(made)), (code(e::ENFILE), FILE_LIMITS.references - 1));
        let inodes = shim.services.stack().statfs(files::Ino::ROOT).unwrap().inodes_free;
        assert_eq!(shim.lookup(1, "dir").unwrap_err(), code(e::ENFILE), "one node more");
        assert!(shim.lookup(1, "tmp").is_ok(), "known already");
        let create = message!(fuse_create_in { flags: linux::O_RDWR, ..Default::default() }, *b"f\0");
        assert_eq!(shim.call(fuse_opcode::FUSE_CREATE, tmp, &create), Err(code(e::ENFILE)));
        assert_eq!(shim.services.stack().statfs(files::Ino::ROOT).unwrap().inodes_free, inodes, "nothing was made");
        let open = message!(fuse_open_in::default());
        let opened = (0..100).filter(|_| shim.call(fuse_opcode::FUSE_OPENDIR, tmp, &open).is_ok()).count();
        assert_eq!(opened, 20);
        assert_eq!(shim.call(fuse_opcode::FUSE_OPENDIR, tmp, &open), Err(code(e::ENFILE)));
        let release = message!(fuse_release_in { fh: 7, ..Default::default() });
        assert_eq!(shim.call(fuse_opcode::FUSE_RELEASEDIR, tmp, &release), Ok(Vec::new()));
        assert!(shim.call(fuse_opcode::FUSE_OPENDIR, tmp, &open).is_ok());
    });
}

#[test]
fn handles_to_close_that_are_not_open() {
    with_shim(|shim| {
        let file = shim.node("dir/file");
        let (one, two) = (shim.open(file, linux::O_RDONLY).unwrap(), shim.open(file, linux::O_RDONLY).unwrap());
        // They are passed over, and what is open is closed once.
        shim.close_with_next(&[0, u64::MAX, one, one, two + 1, 1 << 32, one]);
        assert_eq!(shim.call(fuse_opcode::FUSE_STATFS, 1, &[]).map(|_| ()), Ok(()));
        shim.use_segments(&[100]);
        assert_eq!(shim.read(one, 0, 1), Err(code(e::EBADF)));
        assert_eq!(shim.read(two, 0, 1), Ok(1));
        // It is closed before the request is looked at, and the request goes its own way.
        shim.close_with_next(&[two; 16]);
        assert_eq!(shim.read(two, 0, 1), Err(code(e::EBADF)));
        shim.close_with_next(&[two; 16]);
        assert_eq!(shim.open(file, linux::O_RDONLY).unwrap(), two, "its number is free");
    });
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next().to_le_bytes()[3]).collect()
}

/// A number of the sizes that matter.
fn number(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.next(),
        1 => u64::MAX - random.next() % 5000,
        2 => (1 << 63) - random.next() % 5000,
        _ => random.next() % 50,
    }
}

fn check_bounds(shim: &Shim<'_>) {
    let used = shim.services.stack().statfs(files::Ino::ROOT).unwrap();
    assert!(used.blocks_free <= used.blocks && used.inodes_free <= used.inodes);
}

#[test]
fn random_bytes_as_requests() {
    let mut random = Random(7);
    for _ in 0..30 {
        with_shim(|shim| {
            for _ in 0..200 {
                let bytes = bytes(&mut random, SERVICE_PAGES * 4096);
                shim.memory.write(SERVICE, &bytes).unwrap();
                // Now and then with lengths that get it past the frame.
                if random.below(4) > 0 {
                    let len = u32::try_from(40 + random.below(200)).unwrap();
                    let segments = u32::try_from(random.below(2)).unwrap();
                    shim.memory.write(SERVICE, [len, 0, 0, 0].as_bytes()).unwrap();
                    shim.memory.write(Gpa(SERVICE.0 + 8), &segments.to_le_bytes()).unwrap();
                    let opcode = u32::try_from(random.below(55)).unwrap();
                    let header = fuse_in_header { len, opcode, nodeid: number(&mut random), ..Default::default() };
                    shim.memory.write(Gpa(SERVICE.0 + MESSAGE_OFFSET as u64), header.as_bytes()).unwrap();
                }
                let _ = shim.ring();
                check_bounds(shim);
            }
        });
    }
}

/// Well-framed requests with arguments from small sets, so that they reach deep into the stack.
#[test]
fn random_arguments() {
    let mut random = Random(11);
    let names: [&[u8]; 11] =
        [b"a\0", b"b\0", b"dir\0", b"tmp\0", b"file\0", b"\0", b"..\0", b"a/b\0", b"noend", b"user.a\0", b"user.b\0"];
    for _ in 0..20 {
        with_shim(|shim| {
            for _ in 0..2000 {
                let words = random.below(12);
                let mut arguments: Vec<u8> = (0..words).flat_map(|_| number(&mut random).to_le_bytes()).collect();
                if random.below(2) == 0 {
                    arguments.extend((0..4).flat_map(|_| u32::try_from(random.below(70)).unwrap().to_le_bytes()));
                    arguments.truncate([0, 8, 16][random.below(3)]);
                }
                for _ in 0..random.below(3) {
                    arguments.extend_from_slice(names[random.below(names.len())]);
                }
                let lens = vec![4096; random.below(4)];
                shim.use_segments(&lens);
                let closed: Vec<u64> = (0..random.below(3)).map(|_| number(&mut random)).collect();
                shim.close_with_next(&closed);
                shim.uid = [0, 0, 5][random.below(3)];
                let opcode = match random.below(20) {
                    0 => op::FIRST + u32::try_from(random.below(10)).unwrap(),
                    _ => u32::try_from(random.below(53)).unwrap(),
                };
                let node = number(&mut random) % 60;
                shim.put(opcode, node, &arguments);
                if !matches!(shim.ring(), Served::Malformed { .. }) && shim.reply_len() > 0 {
                    let _ = shim.reply();
                }
                check_bounds(shim);
            }
        });
    }
}
