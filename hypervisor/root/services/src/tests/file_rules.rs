//! Rights of a policy on resolved paths, against a shim that tries to get around them.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fuse_abi::linux::{
    fuse_create_in, fuse_entry_out, fuse_link_in, fuse_mkdir_in, fuse_mknod_in, fuse_opcode, fuse_read_in,
    fuse_rename_in, fuse_rename2_in, fuse_setattr_in,
};
use linux_raw_sys::{errno as e, general as linux};

use super::files_service::{entries, open_directory};
use super::{Shim, message, with_authority};
use crate::{Authority, FileRules, Grant, Refusal};

const POLICY: &str = r#"version = 1
default = "allow"
[[files]]
paths = ["/private/**", "/dir/hidden*"]
rights = ["hide"]
[[files]]
paths = "/dir/file"
rights = ["read", "delete", "create"]
[[files]]
paths = "/dir/new"
rights = ["create", "write"]
[[files]]
paths = "/tmp/ro"
rights = ["read", "create", "delete"]
[[files]]
paths = ["/tmp/**", "/dir/sub/**"]
rights = ["read", "write", "create", "delete", "execute", "list"]
[[files]]
default = []
"#;

const EACCES: i32 = e::EACCES.cast_signed();
const ENOENT: i32 = e::ENOENT.cast_signed();
const EXDEV: i32 = e::EXDEV.cast_signed();

fn with_rules(test: impl FnOnce(&mut Shim<'_, FileRules>)) {
    with_policy(POLICY, test);
}

fn with_policy(text: &str, test: impl FnOnce(&mut Shim<'_, FileRules>)) {
    with_authority(rules(text, false), test);
}

pub(super) fn rules(text: &str, dry_run: bool) -> FileRules {
    let policy = policy::parse("p.toml", text).unwrap_or_else(|error| panic!("{error}"));
    FileRules::new(&Rc::new(policy), dry_run)
}

/// What was refused in the last request.
pub(super) fn refused(shim: &mut Shim<'_, FileRules>) -> Option<String> {
    let refusal = shim.services.authority_mut().take_refusal()?;
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let Refusal { rights, path, from, errno, entry } = refusal;
    let from = from.map_or_else(String::new, |from| format!(" from {}", text(&from)));
    Some(format!("{rights} {}{from}: {}, {entry}", text(&path), errno.number()))
}

pub(super) fn create<A: Authority>(shim: &mut Shim<'_, A>, dir: u64, name: &[u8], flags: u32) -> Result<u64, i32> {
    let asked = fuse_create_in { flags, mode: linux::S_IFREG | 0o644, ..Default::default() };
    let body = shim.call(fuse_opcode::FUSE_CREATE, dir, &message!(asked, *name, [0_u8]))?;
    let (entry, _) = zerocopy::FromBytes::read_from_prefix(&body).map_err(|_| 0)?;
    let fuse_entry_out { nodeid, .. } = entry;
    Ok(nodeid)
}

pub(super) fn link<A: Authority>(shim: &mut Shim<'_, A>, file: u64, to: (u64, &[u8])) -> Result<Vec<u8>, i32> {
    let arguments = message!(fuse_link_in { oldnodeid: file }, *to.1, [0_u8]);
    shim.call(fuse_opcode::FUSE_LINK, to.0, &arguments)
}

pub(super) fn rename<A: Authority>(
    shim: &mut Shim<'_, A>,
    from: (u64, &[u8]),
    to: (u64, &[u8]),
) -> Result<Vec<u8>, i32> {
    let arguments = message!(fuse_rename_in { newdir: to.0 }, *from.1, [0_u8], *to.1, [0_u8]);
    shim.call(fuse_opcode::FUSE_RENAME, from.0, &arguments)
}

#[test]
fn rights_hold_for_files_by_number() {
    with_rules(|shim| {
        let file = shim.node("dir/file");
        assert!(shim.open(file, linux::O_RDONLY).is_ok());
        assert_eq!(shim.open(file, linux::O_RDWR), Err(EACCES));
        assert_eq!(shim.open(file, linux::O_TRUNC), Err(EACCES));
        assert_eq!(shim.open(file, 0x20), Err(EACCES), "to execute");
        let asked = message!(fuse_setattr_in { valid: linux::S_IRUSR, ..Default::default() });
        assert_eq!(shim.call(fuse_opcode::FUSE_SETATTR, file, &asked), Err(EACCES));
        let dir = shim.node("dir");
        assert_eq!(create(shim, dir, b"file", linux::O_RDWR), Err(EACCES), "what is there is not opened by making it");
        assert_eq!(create(shim, dir, b"other", linux::O_WRONLY), Err(EACCES));
        let new = create(shim, dir, b"new", linux::O_WRONLY).unwrap();
        assert_eq!(shim.open(new, linux::O_RDONLY), Err(EACCES));
        assert!(shim.open(new, linux::O_WRONLY).is_ok());
        // What is in no entry can be seen.
        assert!(shim.lookup(1, "dir").is_ok() && shim.lookup(1, "link").is_ok());
        assert_eq!(open_directory(shim, 1), Err(EACCES));
        assert_eq!(open_directory(shim, dir), Err(EACCES));
        let link = shim.node("link");
        assert!(shim.call(fuse_opcode::FUSE_READLINK, link, &[]).is_ok());
    });
}

#[test]
fn hidden_names_do_not_exist() {
    with_rules(|shim| {
        let (dir, tmp) = (shim.node("dir"), shim.node("tmp"));
        assert_eq!(shim.lookup(1, "private").unwrap_err(), ENOENT);
        for flags in [linux::O_WRONLY, linux::O_WRONLY | linux::O_EXCL] {
            assert_eq!(create(shim, dir, b"hidden", flags), Err(EACCES));
            assert_eq!(create(shim, 1, b"private", flags), Err(EACCES), "as if it were not there");
        }
        let asked = message!(fuse_mknod_in { mode: linux::S_IFREG, ..Default::default() }, *b"hidden1\0");
        assert_eq!(shim.call(fuse_opcode::FUSE_MKNOD, dir, &asked), Err(EACCES));
        assert_eq!(shim.call(fuse_opcode::FUSE_RMDIR, 1, b"private\0"), Err(ENOENT));
        create(shim, tmp, b"a", linux::O_WRONLY).unwrap();
        assert_eq!(rename(shim, (tmp, b"a"), (dir, b"hidden")), Err(EACCES));
        // By the way over another directory, too.
        assert_eq!(shim.lookup(tmp, "..").unwrap().nodeid, 1);
    });
}

#[test]
fn hidden_names_are_not_listed() {
    let text = "version = 1\n[[files]]\npaths = \"/dir\"\nrights = [\"hide\"]\n[[files]]\ndefault = [\"list\"]\n";
    with_policy(text, |shim| {
        let fh = open_directory(shim, 1).unwrap();
        let asked = message!(fuse_read_in { fh, offset: 0, size: 4096, ..Default::default() });
        for (opcode, plus) in [(fuse_opcode::FUSE_READDIR, false), (fuse_opcode::FUSE_READDIRPLUS, true)] {
            let body = shim.call(opcode, 1, &asked).unwrap();
            let listed = entries(&body, plus);
            let names: Vec<&str> = listed.iter().map(|entry| entry.0.as_str()).collect();
            assert_eq!(names, [".", "..", "link", "private", "tmp"]);
        }
    });
}

#[test]
fn errors_come_in_linux_order() {
    with_rules(|shim| {
        let dir = shim.node("dir");
        let mkdir = message!(fuse_mkdir_in::default(), *b"sub\0");
        assert_eq!(shim.call(fuse_opcode::FUSE_MKDIR, dir, &mkdir), Err(e::EEXIST.cast_signed()));
        let mkdir = message!(fuse_mkdir_in::default(), *b"new dir\0");
        assert_eq!(shim.call(fuse_opcode::FUSE_MKDIR, dir, &mkdir), Err(EACCES));
        assert_eq!(shim.call(fuse_opcode::FUSE_UNLINK, dir, b"nothing\0"), Err(ENOENT));
        assert_eq!(shim.call(fuse_opcode::FUSE_RMDIR, 1, b"tmp2\0"), Err(ENOENT));
    });
}

#[test]
fn other_names_give_no_other_rights() {
    with_rules(|shim| {
        let (dir, file) = (shim.node("dir"), shim.node("dir/file"));
        let (tmp, sub) = (shim.node("tmp"), shim.node("dir/sub"));
        assert_eq!(link(shim, file, (tmp, b"file")), Err(EXDEV));
        assert_eq!(rename(shim, (dir, b"file"), (tmp, b"file")), Err(EXDEV), "it could be written to there");
        assert_eq!(rename(shim, (1, b"dir"), (tmp, b"dir")), Err(EACCES));
        let made = create(shim, sub, b"a", linux::O_WRONLY).unwrap();
        assert!(link(shim, made, (tmp, b"ro")).is_ok(), "no more rights than before");
        let exchange = fuse_rename2_in { newdir: tmp, flags: linux::RENAME_EXCHANGE, padding: 0 };
        let arguments = message!(exchange, *b"a\0ro\0");
        create(shim, tmp, b"b", linux::O_WRONLY).unwrap();
        assert_eq!(shim.call(fuse_opcode::FUSE_RENAME2, sub, &arguments), Err(EXDEV));
        assert!(rename(shim, (sub, b"a"), (tmp, b"a")).is_ok());
    });
}

#[test]
fn a_file_has_the_rights_of_the_names_that_it_has_now() {
    with_rules(|shim| {
        let tmp = shim.node("tmp");
        let file = create(shim, tmp, b"a", linux::O_WRONLY).unwrap();
        assert!(rename(shim, (tmp, b"a"), (tmp, b"ro")).is_ok());
        assert_eq!(shim.open(file, linux::O_WRONLY), Err(EACCES), "it is called otherwise");
        assert!(shim.open(file, linux::O_RDONLY).is_ok());
        let file = create(shim, tmp, b"a", linux::O_WRONLY).unwrap();
        assert_eq!(shim.call(fuse_opcode::FUSE_UNLINK, tmp, b"a\0"), Ok(Vec::new()));
        assert!(shim.open(file, linux::O_RDWR).is_ok(), "it was writable when it had a name");
    });
}

#[test]
fn directories_move_where_all_below_them_is_treated_alike() {
    with_rules(|shim| {
        let (dir, tmp) = (shim.node("dir"), shim.node("tmp"));
        for name in [&b"one\0"[..], b"two\0"] {
            shim.call(fuse_opcode::FUSE_MKDIR, tmp, &message!(fuse_mkdir_in::default(), *name)).unwrap();
        }
        let one = shim.node("tmp/one");
        let file = create(shim, one, b"f", linux::O_WRONLY).unwrap();
        let two = shim.node("tmp/two");
        assert!(rename(shim, (tmp, b"one"), (two, b"deep")).is_ok());
        assert!(shim.open(file, linux::O_RDWR).is_ok());
        assert!(
            rename(shim, (tmp, b"two"), (tmp, b"ro")).is_ok(),
            "it itself gets fewer rights, and what is in it the same"
        );
        assert_eq!(rename(shim, (tmp, b"ro"), (tmp, b"two")), Err(EXDEV), "and back it would get more");
        assert!(rename(shim, (dir, b"sub"), (tmp, b"sub")).is_ok(), "the same entry for both");
    });
    let text = "version = 1\n[[files]]\npaths = \"/tmp/*/key\"\nrights = [\"hide\"]\n[[files]]\ndefault = [\"create\", \"delete\"]\n";
    with_policy(text, |shim| {
        let tmp = shim.node("tmp");
        for name in [&b"one\0"[..], b"two\0"] {
            shim.call(fuse_opcode::FUSE_MKDIR, tmp, &message!(fuse_mkdir_in::default(), *name)).unwrap();
        }
        let two = shim.node("tmp/two");
        assert_eq!(rename(shim, (tmp, b"one"), (1, b"one")), Err(EXDEV), "its key would show");
        assert_eq!(rename(shim, (tmp, b"one"), (two, b"one")), Err(EXDEV), "likewise");
        assert!(rename(shim, (tmp, b"one"), (tmp, b"three")).is_ok());
    });
}

#[test]
fn rights_end_with_the_memory_of_the_file() {
    with_rules(|shim| {
        let tmp = shim.node("tmp");
        let file = create(shim, tmp, b"a", linux::O_WRONLY).unwrap();
        assert!(shim.open(file, linux::O_RDWR).is_ok());
        let forget = message!(fuse_abi::linux::fuse_forget_in { nlookup: 1 });
        shim.call(fuse_opcode::FUSE_FORGET, file, &forget).unwrap();
        assert_eq!(shim.open(file, linux::O_RDWR), Err(e::ESTALE.cast_signed()));
        assert!(create(shim, tmp, b"a", linux::O_RDWR).is_ok());
    });
}

#[test]
fn what_is_refused_is_told_with_its_entry() {
    with_rules(|shim| {
        let (dir, file, tmp) = (shim.node("dir"), shim.node("dir/file"), shim.node("tmp"));
        assert_eq!(refused(shim), None);
        assert_eq!(shim.open(file, linux::O_RDWR), Err(EACCES));
        assert_eq!(refused(shim).unwrap(), "write /dir/file: 13, files entry 2 p.toml:6");
        assert_eq!(shim.lookup(1, "private").unwrap_err(), ENOENT);
        assert_eq!(refused(shim).unwrap(), "none /private: 2, files entry 1 p.toml:3");
        assert_eq!(create(shim, dir, b"hidden", linux::O_WRONLY), Err(EACCES));
        assert_eq!(refused(shim).unwrap(), "create /dir/hidden: 13, files entry 1 p.toml:3");
        assert_eq!(open_directory(shim, dir), Err(EACCES));
        assert_eq!(refused(shim).unwrap(), "list /dir: 13, files default p.toml:18");
        assert_eq!(link(shim, file, (tmp, b"x")), Err(EXDEV));
        let more = "read write create delete execute list /tmp/x from /dir/file: 18, files entry 5 p.toml:15";
        assert_eq!(refused(shim).unwrap(), more);
        assert_eq!(rename(shim, (dir, b"file"), (tmp, b"x")), Err(EXDEV));
        assert_eq!(refused(shim).unwrap(), more);
        // What would have failed without a policy, too, was not refused.
        assert_eq!(shim.call(fuse_opcode::FUSE_UNLINK, dir, b"nothing\0"), Err(ENOENT));
        let mkdir = message!(fuse_mkdir_in::default(), *b"sub\0");
        assert_eq!(shim.call(fuse_opcode::FUSE_MKDIR, dir, &mkdir), Err(e::EEXIST.cast_signed()));
        assert_eq!(refused(shim), None);
        // Each request for itself.
        assert_eq!(shim.open(file, linux::O_RDWR), Err(EACCES));
        assert!(shim.open(file, linux::O_RDONLY).is_ok());
        assert_eq!(refused(shim), None);
    });
}

#[test]
fn a_dry_run_tells_and_does_it() {
    let text = "version = 1\n[[files]]\npaths = \"/dir/**\"\nrights = [\"hide\"]\n[[files]]\ndefault = []\n";
    with_authority(rules(text, true), |shim| {
        let dir = shim.lookup(1, "dir").unwrap().nodeid;
        assert_eq!(refused(shim).unwrap(), "none /dir: 2, files entry 1 p.toml:2");
        let made = create(shim, dir, b"new", linux::O_WRONLY).unwrap();
        assert_eq!(refused(shim).unwrap(), "create /dir/new: 13, files entry 1 p.toml:2");
        assert!(shim.open(made, linux::O_RDWR).is_ok());
        assert_eq!(refused(shim).unwrap(), "read /dir/new: 13, files entry 1 p.toml:2");
        let tmp = shim.node("tmp");
        assert!(rename(shim, (dir, b"new"), (tmp, b"new")).is_ok());
        assert_eq!(refused(shim).unwrap(), "delete /dir/new: 2, files entry 1 p.toml:2");
        assert_eq!(shim.lookup(dir, "nothing").unwrap_err(), ENOENT);
        assert_eq!(refused(shim), None, "nothing is there anyway");
        let fh = open_directory(shim, dir).unwrap();
        let asked = message!(fuse_read_in { fh, offset: 0, size: 4096, ..Default::default() });
        let body = shim.call(fuse_opcode::FUSE_READDIR, dir, &asked).unwrap();
        assert!(entries(&body, false).iter().any(|entry| entry.0 == "file"));
    });
}

/// What was granted and not told before.
fn granted(shim: &mut Shim<'_, FileRules>) -> Vec<String> {
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let grants = shim.services.authority_mut().take_grants().into_iter();
    let told = grants.map(|Grant { rights, path, from, directory }| {
        let from = from.map_or_else(String::new, |from| format!(" from {}", text(&from)));
        format!("{rights} {}{from}{}", text(&path), if directory { ", a directory" } else { "" })
    });
    told.collect()
}

#[test]
fn what_is_granted_is_told_once() {
    // Without entries everything is granted.
    let everything = || rules("version = 1\n", false);
    with_authority(everything().telling(), |shim| {
        let file = shim.node("dir/file");
        assert!(granted(shim).is_empty(), "looking takes no right");
        shim.open(file, linux::O_RDWR).unwrap();
        assert_eq!(granted(shim), ["read /dir/file", "write /dir/file"]);
        shim.open(file, linux::O_RDONLY).unwrap();
        assert!(granted(shim).is_empty());
        shim.open(file, 0x20).unwrap_err();
        assert!(granted(shim).is_empty(), "its mode does not let anybody execute it");
        let dir = shim.node("dir");
        open_directory(shim, dir).unwrap();
        assert_eq!(granted(shim), ["list /dir"]);
        create(shim, dir, b"new", linux::O_WRONLY).unwrap();
        assert_eq!(granted(shim), ["create /dir/new"]);
        rename(shim, (dir, b"new"), (1, b"other")).unwrap();
        assert_eq!(granted(shim), ["delete /dir/new", "create /other", "none /other from /dir/new"]);
        link(shim, file, (1, b"hard")).unwrap();
        assert_eq!(granted(shim), ["create /hard", "none /hard from /dir/file"]);
        rename(shim, (1, b"dir"), (1, b"folder")).unwrap();
        assert_eq!(granted(shim), ["delete /dir", "create /folder", "none /folder from /dir, a directory"]);
    });
    with_authority(everything(), |shim| {
        let file = shim.node("dir/file");
        shim.open(file, linux::O_RDONLY).unwrap();
        assert!(granted(shim).is_empty(), "nobody asked");
    });
}

#[test]
fn other_rights_hold_from_the_next_request_on() {
    let policy = |rights: &str| {
        let text = format!(
            "version = 1\n[[files]]\npaths = \"/dir/file\"\nrights = [{rights}]\n[[files]]\ndefault = [\"list\"]\n"
        );
        Rc::new(policy::parse("p.toml", &text).unwrap_or_else(|error| panic!("{error}")))
    };
    with_authority(FileRules::new(&policy("\"read\""), false), |shim| {
        let (dir, file) = (shim.node("dir"), shim.node("dir/file"));
        assert!(shim.open(file, linux::O_RDONLY).is_ok());
        shim.services.authority_mut().set_policy(&policy("\"write\""));
        assert_eq!((shim.open(file, linux::O_RDONLY), shim.open(file, linux::O_WRONLY).is_ok()), (Err(EACCES), true));
        shim.services.authority_mut().set_policy(&policy("\"hide\""));
        assert_eq!(shim.lookup(dir, "file").map(|_| ()), Err(ENOENT));
        assert_eq!(shim.open(file, linux::O_WRONLY), Err(EACCES), "its number is known");
        // One that says nothing grants everything, and names are kept on.
        let nothing = Rc::new(policy::parse("p.toml", "version = 1\n").unwrap_or_else(|error| panic!("{error}")));
        shim.services.authority_mut().set_policy(&nothing);
        assert!(shim.open(file, linux::O_RDWR).is_ok());
        shim.services.authority_mut().set_policy(&policy("\"read\""));
        assert!(shim.open(file, linux::O_RDONLY).is_ok());
    });
}
