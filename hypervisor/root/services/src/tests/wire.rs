//! The structures are Linux': sizes as in `uapi/linux/fuse.h` of protocol 7.40.
use alloc::vec;
use alloc::vec::Vec;

use fuse_abi::linux::*;

use super::{Shim, message, with_shim};
use crate::{MAX_BODY, Served};

#[test]
fn structures_have_linux_sizes() {
    let sizes = [
        ("in_header", size_of::<fuse_in_header>(), 40),
        ("out_header", size_of::<fuse_out_header>(), 16),
        ("attr", size_of::<fuse_attr>(), 88),
        ("entry_out", size_of::<fuse_entry_out>(), 128),
        ("attr_out", size_of::<fuse_attr_out>(), 104),
        ("getattr_in", size_of::<fuse_getattr_in>(), 16),
        ("setattr_in", size_of::<fuse_setattr_in>(), 88),
        ("mknod_in", size_of::<fuse_mknod_in>(), 16),
        ("mkdir_in", size_of::<fuse_mkdir_in>(), 8),
        ("rename_in", size_of::<fuse_rename_in>(), 8),
        ("rename2_in", size_of::<fuse_rename2_in>(), 16),
        ("link_in", size_of::<fuse_link_in>(), 8),
        ("open_in", size_of::<fuse_open_in>(), 8),
        ("create_in", size_of::<fuse_create_in>(), 16),
        ("open_out", size_of::<fuse_open_out>(), 16),
        ("release_in", size_of::<fuse_release_in>(), 24),
        ("flush_in", size_of::<fuse_flush_in>(), 24),
        ("fsync_in", size_of::<fuse_fsync_in>(), 16),
        ("read_in", size_of::<fuse_read_in>(), 40),
        ("write_in", size_of::<fuse_write_in>(), 40),
        ("write_out", size_of::<fuse_write_out>(), 8),
        ("lseek_in", size_of::<fuse_lseek_in>(), 24),
        ("lseek_out", size_of::<fuse_lseek_out>(), 8),
        ("fallocate_in", size_of::<fuse_fallocate_in>(), 32),
        ("access_in", size_of::<fuse_access_in>(), 8),
        ("forget_in", size_of::<fuse_forget_in>(), 8),
        ("forget_one", size_of::<fuse_forget_one>(), 16),
        ("batch_forget_in", size_of::<fuse_batch_forget_in>(), 8),
        ("init_in", size_of::<fuse_init_in>(), 64),
        ("init_out", size_of::<fuse_init_out>(), 64),
        ("statfs_out", size_of::<fuse_statfs_out>(), 80),
        ("dirent", size_of::<fuse_dirent>(), 24),
        ("direntplus", size_of::<fuse_direntplus>(), 152),
    ];
    for (name, size, linux) in sizes {
        assert_eq!(size, linux, "fuse_{name}");
    }
}

/// An extension: its size, its type, the number of groups, groups.
fn extension(size: u32, kind: fuse_ext_type, groups: &[u32]) -> Vec<u8> {
    let mut bytes = message!(size, kind as u32);
    for word in groups {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[test]
fn groups_of_an_extension_give_rights() {
    with_shim(|shim| {
        let made = fuse_mkdir_in { mode: 0o770, umask: 0 };
        shim.call(fuse_opcode::FUSE_MKDIR, 1, &message!(made, *b"d\0")).unwrap();
        let node = shim.node("d");
        let owned = fuse_setattr_in { valid: FATTR_GID, gid: 2000, ..Default::default() };
        shim.call(fuse_opcode::FUSE_SETATTR, node, &message!(owned)).unwrap();
        shim.uid = 7;
        let ask = |shim: &mut Shim<'_>, extension: &[u8]| {
            let asked = message!(fuse_access_in { mask: 7, padding: 0 });
            shim.put_extended(fuse_opcode::FUSE_ACCESS as u32, node, &asked, extension);
            shim.ring()
        };
        let groups = fuse_ext_type::FUSE_EXT_GROUPS;
        assert!(matches!(ask(shim, &[]), Served::Replied));
        assert_eq!(shim.reply(), Err(13));
        assert!(matches!(ask(shim, &extension(24, groups, &[2, 5, 2000, 0])), Served::Replied));
        assert_eq!(shim.reply(), Ok(vec![]));
        // A group behind the number of groups is none.
        assert!(matches!(ask(shim, &extension(24, groups, &[1, 5, 2000, 0])), Served::Replied));
        assert_eq!(shim.reply(), Err(13));
        let many: Vec<u32> = [33].into_iter().chain(0..33).collect();
        for bad in [
            extension(24, fuse_ext_type::FUSE_MAX_NR_SECCTX, &[2, 5, 2000, 0]),
            extension(16, groups, &[2, 5, 2000, 0]),
            extension(24, groups, &[4, 5, 2000, 0]),
            extension(8, groups, &[]),
            extension(144, groups, &many),
        ] {
            assert!(matches!(ask(shim, &bad), Served::Malformed { .. }), "{bad:?}");
        }
    });
}

#[test]
fn init_tells_limits_and_common_flags() {
    with_shim(|shim| {
        let asked = fuse_init_in { major: 7, minor: 40, flags: FUSE_MAX_PAGES | FUSE_POSIX_ACL, ..Default::default() };
        let out: fuse_init_out = shim.ask(fuse_opcode::FUSE_INIT, 0, &message!(asked)).unwrap();
        assert_eq!((out.major, out.minor, out.flags), (7, 40, FUSE_MAX_PAGES));
        assert_eq!((out.max_write, out.max_pages), (64 * 4096, 64));
    });
}

#[test]
fn statfs_shows_the_limits() {
    with_shim(|shim| {
        let out: fuse_statfs_out = shim.ask(fuse_opcode::FUSE_STATFS, 1, &[]).unwrap();
        assert_eq!((out.st.blocks, out.st.bfree, out.st.bavail, out.st.bsize), (256, 256, 256, 4096));
        assert_eq!((out.st.files, out.st.ffree, out.st.namelen), (100, 100, 255));
        let _ = shim.call(fuse_opcode::FUSE_SYMLINK, 1, b"l\0t\0").unwrap();
        let out: fuse_statfs_out = shim.ask(fuse_opcode::FUSE_STATFS, 1, &[]).unwrap();
        assert_eq!(out.st.ffree, 98);
    });
}

#[test]
fn the_longest_names_and_targets_fit_a_reply() {
    const { assert!(MAX_BODY >= 16 * 1024) };
    with_shim(|shim| {
        let target = [b't'; 4095];
        shim.call(fuse_opcode::FUSE_SYMLINK, 1, &message!(*b"l\0", target, [0u8])).unwrap();
        let node = shim.node("l");
        assert_eq!(shim.call(fuse_opcode::FUSE_READLINK, node, &[]), Ok(target.to_vec()));
    });
}
