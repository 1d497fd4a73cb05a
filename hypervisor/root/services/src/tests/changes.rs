//! What is told of changes, and of threads and processes.
use alloc::string::String;
use alloc::vec::Vec;

use files::Kind;
use fuse_abi::linux::*;
use linux_raw_sys::general as linux;
use proto::op;

use super::file_rules::{create, link, rename};
use super::{LIMITS, Shim, message, with_services};
use crate::{Change, Changed, Services, Told};

fn with_recording(test: impl FnOnce(&mut Shim<'_>)) {
    with_services(|stack| Services::new(stack, LIMITS).recording(), test);
}

/// The changes of the last request, as path and what.
fn told(shim: &mut Shim<'_>) -> Vec<(String, Changed)> {
    let text = |change: Change| {
        let path = String::from_utf8(change.path).unwrap();
        (if change.nameless { alloc::format!("({path})") } else { path }, change.what)
    };
    shim.services.take_changes().map(text).collect()
}

fn one(path: &str, what: Changed) -> Vec<(String, Changed)> {
    Vec::from([(path.into(), what)])
}

fn setattr(shim: &mut Shim<'_>, node: u64, asked: fuse_setattr_in) {
    shim.call(fuse_opcode::FUSE_SETATTR, node, &message!(asked)).unwrap();
}

fn close(shim: &mut Shim<'_>, fh: u64) {
    shim.call(fuse_opcode::FUSE_RELEASE, 0, &message!(fuse_release_in { fh, ..Default::default() })).unwrap();
}

#[test]
fn bytes_are_told_in_one_sum_when_the_file_is_closed() {
    with_recording(|shim| {
        let file = shim.node("dir/file");
        let fh = shim.open(file, linux::O_RDWR).unwrap();
        let other = shim.open(file, linux::O_RDWR).unwrap();
        shim.use_segments(&[100]);
        for _ in 0..3 {
            shim.write(fh, 0, 100, 0).unwrap();
            assert_eq!(told(shim), []);
        }
        close(shim, other);
        assert_eq!(told(shim), [], "nothing was written there");
        close(shim, fh);
        assert_eq!(told(shim), one("/dir/file", Changed::Written(300)));
        for bytes in [7, 0, 9] {
            let fh = shim.open(file, linux::O_WRONLY).unwrap();
            if bytes > 0 {
                shim.write(fh, 0, bytes, 0).unwrap();
            }
        }
        for bytes in [7, 9] {
            assert!(shim.services.conclude());
            assert_eq!(told(shim), one("/dir/file", Changed::Written(bytes)), "one at a time");
        }
        assert!(!shim.services.conclude());
        assert_eq!(told(shim), []);
    });
    with_services(
        |stack| Services::new(stack, LIMITS),
        |shim| {
            let file = shim.node("dir/file");
            let fh = shim.open(file, linux::O_WRONLY).unwrap();
            shim.use_segments(&[7]);
            shim.write(fh, 0, 7, 0).unwrap();
            assert!(!shim.services.conclude(), "nobody wants to know");
        },
    );
}

#[test]
fn bytes_are_told_by_whatever_request_the_file_is_closed_with() {
    with_recording(|shim| {
        let file = shim.node("dir/file");
        for opcode in [fuse_opcode::FUSE_STATFS as u32, op::WINDOW_SIZE, op::WAIT, 0xffff] {
            let fh = shim.open(file, linux::O_WRONLY).unwrap();
            shim.use_segments(&[100]);
            shim.write(fh, 0, 100, 0).unwrap();
            shim.close_with_next(&[fh]);
            shim.put(opcode, 1, &[]);
            shim.ring();
            assert_eq!(told(shim), one("/dir/file", Changed::Written(100)), "{opcode:#x}");
        }
    });
}

#[test]
fn names_are_told_as_they_are_resolved() {
    with_recording(|shim| {
        let (tmp, sub) = (shim.node("tmp"), shim.node("dir/sub"));
        create(shim, tmp, b"a", linux::O_WRONLY).unwrap();
        assert_eq!(told(shim), one("/tmp/a", Changed::Created(Kind::File)));
        let file = create(shim, tmp, b"a", linux::O_WRONLY | linux::O_TRUNC).unwrap();
        assert_eq!(told(shim), one("/tmp/a", Changed::Truncated(0)));
        link(shim, file, (sub, b"b")).unwrap();
        assert_eq!(told(shim), one("/dir/sub/b", Changed::Linked { from: "/tmp/a".into() }));
        rename(shim, (tmp, b"a"), (sub, b"b")).unwrap();
        assert_eq!(told(shim), [], "both are the same file");
        create(shim, tmp, b"c", linux::O_WRONLY).unwrap();
        rename(shim, (tmp, b"c"), (sub, b"b")).unwrap();
        let moved = Changed::Renamed { from: "/tmp/c".into(), replaced: true, exchanged: false };
        assert_eq!(told(shim), one("/dir/sub/b", moved));
        let exchange = fuse_rename2_in { newdir: tmp, flags: linux::RENAME_EXCHANGE, padding: 0 };
        shim.call(fuse_opcode::FUSE_RENAME2, sub, &message!(exchange, *b"b\0a\0")).unwrap();
        let moved = Changed::Renamed { from: "/dir/sub/b".into(), replaced: false, exchanged: true };
        assert_eq!(told(shim), one("/tmp/a", moved));
        shim.call(fuse_opcode::FUSE_UNLINK, tmp, b"a\0").unwrap();
        assert_eq!(told(shim), one("/tmp/a", Changed::Deleted(Kind::File)));
        assert!(shim.call(fuse_opcode::FUSE_UNLINK, tmp, b"a\0").is_err());
        assert_eq!(told(shim), []);
    });
}

#[test]
fn attributes_are_told_if_they_are_others() {
    with_recording(|shim| {
        let file = shim.node("dir/file");
        let mode = |mode| fuse_setattr_in { valid: FATTR_MODE, mode, ..Default::default() };
        setattr(shim, file, mode(0o600));
        let changed = Changed::Attributes { mode: Some(0o600), uid: None, gid: None, times: false };
        assert_eq!(told(shim), one("/dir/file", changed));
        setattr(shim, file, mode(0o600));
        assert_eq!(told(shim), []);
        setattr(shim, file, fuse_setattr_in { valid: FATTR_SIZE, size: 5, ..Default::default() });
        assert_eq!(told(shim), one("/dir/file", Changed::Truncated(5)));
    });
}

#[test]
fn a_file_without_a_name_is_told_as_such() {
    with_recording(|shim| {
        let tmp = shim.node("tmp");
        let file = create(shim, tmp, b"a", linux::O_RDWR).unwrap();
        let fh = shim.open(file, linux::O_RDWR).unwrap();
        shim.call(fuse_opcode::FUSE_UNLINK, tmp, b"a\0").unwrap();
        shim.use_segments(&[10]);
        shim.write(fh, 0, 10, 0).unwrap();
        close(shim, fh);
        assert_eq!(told(shim), one("(/tmp/a)", Changed::Written(10)));
        let asked = fuse_create_in { flags: linux::O_RDWR, mode: linux::S_IFREG | 0o644, ..Default::default() };
        let made = shim.call(fuse_opcode::FUSE_TMPFILE, tmp, &message!(asked, *b"\0")).unwrap();
        assert_eq!(told(shim), []);
        let (entry, _) = <fuse_entry_out as zerocopy::FromBytes>::read_from_prefix(&made).unwrap();
        link(shim, entry.nodeid, (tmp, b"late")).unwrap();
        assert_eq!(told(shim), one("/tmp/late", Changed::Created(Kind::File)));
    });
}

#[test]
fn programs_are_told_by_their_resolved_path() {
    with_recording(|shim| {
        let file = shim.node("dir/file");
        let executed = op::Executed { process: 3, argc: 2 };
        shim.call(op::EXECUTED, file, &message!(executed, *b"a\0bc\0")).unwrap();
        let arguments = Vec::from([b"a".to_vec(), b"bc".to_vec()]);
        let told = Told::Executed { executed, path: b"/dir/file".to_vec(), arguments };
        assert_eq!(shim.services.take_told(), Some(told));
        assert_eq!(shim.services.take_told(), None);
        let many = alloc::vec![0_u8; op::MAX_TOLD_ARGUMENTS + 1];
        for bad in [message!(executed, *b"no end"), message!(executed, *many), b"short".to_vec()] {
            assert_eq!(shim.call(op::EXECUTED, file, &bad), Err(22));
        }
        assert_eq!(shim.call(op::EXECUTED, 999, &message!(executed, many[1..])), Ok(Vec::new()), "without a path");
        let Some(Told::Executed { path, arguments, .. }) = shim.services.take_told() else { panic!("nothing is told") };
        assert_eq!((path.len(), arguments.len()), (0, op::MAX_TOLD_ARGUMENTS));
    });
}
