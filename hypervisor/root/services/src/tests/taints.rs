//! Files whose use taints, by every way to them.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use fuse_abi::linux::{fuse_getxattr_in, fuse_mknod_in, fuse_opcode, fuse_rename2_in, fuse_setxattr_in};
use linux_raw_sys::{errno as e, general as linux};

use super::file_rules::{create, link, refused, rename, rules};
use super::files_service::open_directory;
use super::{Shim, message, with_authority};
use crate::{FileRules, Used};

const POLICY: &str = r#"version = 1
default = "allow"
[[taint]]
paths = ["/dir/file", "/tmp/secret/**"]
deny = ["connect"]
[[taint]]
paths = "/dir/**"
rights = ["write", "list", "delete"]
deny = ["read"]
reason = "why"
"#;

const EXDEV: Result<Vec<u8>, i32> = Err(e::EXDEV.cast_signed());

fn with_taints(more: &str, test: impl FnOnce(&mut Shim<'_, FileRules>)) {
    with_authority(rules(&format!("{POLICY}{more}"), false), test);
}

/// What has tainted in the last request: which taints, by what use of which file.
fn used(shim: &mut Shim<'_, FileRules>) -> Option<(Vec<u32>, String)> {
    let Used { taints, rights, path } = shim.services.authority_mut().take_used()?;
    let taints = (1..=63).filter(|number| taints >> (63 - number) & 1 != 0).collect();
    Some((taints, format!("{rights} {}", String::from_utf8_lossy(&path))))
}

fn by(taints: &[u32], how: &str) -> Option<(Vec<u32>, String)> {
    Some((taints.to_vec(), how.to_string()))
}

#[test]
fn opening_taints_when_it_succeeds_and_only_once() {
    with_taints("", |shim| {
        let file = shim.node("dir/file");
        assert_eq!(used(shim), None, "a name was looked up");
        assert!(shim.open(file, linux::O_RDONLY | linux::O_DIRECTORY).is_err());
        assert_eq!(used(shim), None, "it is no directory");
        assert!(shim.open(file, linux::O_RDWR).is_ok());
        assert_eq!(used(shim), by(&[1, 2], "read write /dir/file"));
        assert!(shim.open(file, linux::O_RDWR).is_ok());
        assert_eq!(used(shim), None, "they are in force");
    });
    with_taints("", |shim| {
        let file = shim.node("dir/file");
        assert!(shim.open(file, linux::O_WRONLY).is_ok());
        assert_eq!(used(shim), by(&[2], "write /dir/file"), "nothing was seen");
        let tmp = shim.node("tmp");
        let asked = fuse_mknod_in { mode: linux::S_IFREG | 0o755, ..Default::default() };
        shim.call(fuse_opcode::FUSE_MKNOD, tmp, &message!(asked, *b"secret\0")).unwrap();
        let made = shim.node("tmp/secret");
        assert!(shim.open(made, 0x20).is_ok());
        assert_eq!(used(shim), by(&[1], "execute /tmp/secret"));
    });
}

#[test]
fn so_do_other_uses_that_take_a_right() {
    with_taints("", |shim| {
        let dir = shim.node("dir");
        open_directory(shim, dir).unwrap();
        assert_eq!(used(shim), by(&[2], "list /dir"));
    });
    with_taints("", |shim| {
        let dir = shim.node("dir");
        assert_eq!(shim.call(fuse_opcode::FUSE_UNLINK, dir, b"file\0"), Ok(vec![]));
        assert_eq!(used(shim), by(&[2], "delete /dir/file"));
    });
    with_taints("", |shim| {
        let file = shim.node("dir/file");
        let asked = message!(fuse_getxattr_in { size: 99, padding: 0 }, *b"user.no\0");
        assert!(shim.call(fuse_opcode::FUSE_GETXATTR, file, &asked).is_err());
        assert_eq!(used(shim), None, "there is no such attribute");
    });
}

/// The first part of a value is there, and the second has no place: who looks at the first has used the file.
#[test]
fn what_was_shown_before_it_failed_taints() {
    with_taints("", |shim| {
        let file = shim.node("dir/file");
        let value = message!(fuse_setxattr_in { size: 5, ..Default::default() }, *b"user.a\0", *b"value");
        assert_eq!(shim.call(fuse_opcode::FUSE_SETXATTR, file, &value), Ok(vec![]));
        assert_eq!(used(shim), by(&[2], "write /dir/file"));
        shim.use_segments(&[3, 9]);
        shim.segments[1].gpa = u64::MAX << 12;
        let asked = message!(fuse_getxattr_in { size: 9, padding: 0 }, *b"user.a\0");
        assert_eq!(shim.call(fuse_opcode::FUSE_GETXATTR, file, &asked), Err(e::EFAULT.cast_signed()));
        assert_eq!(shim.page(0, 3), b"val");
        assert_eq!(used(shim), by(&[1], "read /dir/file"));
    });
}

#[test]
fn no_name_may_taint_less() {
    with_taints("", |shim| {
        let (dir, file, tmp) = (shim.node("dir"), shim.node("dir/file"), shim.node("tmp"));
        assert_eq!(link(shim, file, (tmp, b"x")), EXDEV);
        assert_eq!(refused(shim).unwrap(), "read execute /tmp/x from /dir/file: 18, [[taint]] p.toml:3");
        assert_eq!(rename(shim, (dir, b"file"), (tmp, b"x")), EXDEV);
        assert_eq!(rename(shim, (1, b"dir"), (1, b"other")), EXDEV, "all in it would be called otherwise");
        let other = create(shim, tmp, b"other", linux::O_WRONLY).unwrap();
        let exchange = fuse_rename2_in { newdir: dir, flags: linux::RENAME_EXCHANGE, padding: 0 };
        assert_eq!(shim.call(fuse_opcode::FUSE_RENAME2, tmp, &message!(exchange, *b"other\0file\0")), EXDEV);
        assert!(link(shim, other, (tmp, b"third")).is_ok());
        assert!(rename(shim, (tmp, b"other"), (tmp, b"secret")).is_ok());
        assert_eq!(used(shim), None);
        assert!(shim.open(other, linux::O_RDONLY).is_ok());
        assert_eq!(used(shim), by(&[1], "read /tmp/secret"), "by one of its names");
    });
}

#[test]
fn a_file_without_its_name_taints_as_before() {
    with_taints("", |shim| {
        let (dir, file) = (shim.node("dir"), shim.node("dir/file"));
        shim.call(fuse_opcode::FUSE_UNLINK, dir, b"file\0").unwrap();
        used(shim);
        assert!(shim.open(file, linux::O_RDONLY).is_ok());
        assert_eq!(used(shim), by(&[1], "read /dir/file"));
    });
}

#[test]
fn what_is_refused_taints_nothing() {
    let rights = "[[files]]\npaths = \"/dir/file\"\nrights = []\n[[files]]\ndefault = [\"read\", \"list\"]\n";
    with_taints(rights, |shim| {
        let file = shim.node("dir/file");
        assert_eq!(shim.open(file, linux::O_RDONLY), Err(e::EACCES.cast_signed()));
        assert_eq!(used(shim), None);
    });
}

#[test]
fn without_taints_nothing_is_noted() {
    let policy = policy::parse("p", "version = 1\n").unwrap();
    with_authority(FileRules::new(&Rc::new(policy), false), |shim| {
        let file = shim.node("dir/file");
        assert!(shim.open(file, linux::O_RDWR).is_ok());
        assert_eq!(used(shim), None);
    });
}
