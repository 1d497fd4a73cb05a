//! Folders of a host in the stack, by a server in memory.
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use ninep::Client;
use ninep::double::Folder;

use super::{Builder, at, attr, contents, list, root, sample, walk, write};
use crate::attr::SetAttr;
use crate::{Access, Bind, BindMode, Errno, Ino, Kind, RenameMode, Stack};

pub(super) fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a", b"one");
    folder.directory("dir");
    folder.file("dir/b", b"two");
    folder.link("link", "a");
    folder
}

pub(super) fn bind(folder: &Folder, mode: BindMode) -> Bind {
    let client = Client::connect(Box::new(folder.clone()) as Box<dyn ninep::Transport>).unwrap();
    Bind { server: Rc::new(RefCell::new(client)), at: b"/etc".into(), mode, merge: false, except: Vec::new() }
}

/// The sample tree with a folder over `etc`.
fn bound<'b>(builder: &'b Builder, folder: &Folder, mode: BindMode) -> Stack<'b> {
    let mut stack = builder.stack();
    stack.bind(bind(folder, mode)).unwrap();
    stack
}

/// The names in a directory, read from the start.
fn names(stack: &Stack<'_>, path: &str) -> Vec<Vec<u8>> {
    let dir = at(stack, path);
    stack.next_entry(dir, 0, u64::MAX).unwrap();
    let mut names = list(stack, dir);
    names.sort();
    names
}

#[test]
fn a_folder_covers_a_directory_and_is_seen_as_it_is() {
    let (builder, folder) = (sample(), folder());
    let stack = bound(&builder, &folder, BindMode::ReadOnly);
    assert_eq!(names(&stack, "etc"), [&b"a"[..], b"dir", b"link"]);
    assert_eq!(contents(&stack, at(&stack, "etc/dir/b")), b"two");
    assert_eq!(&*stack.readlink(at(&stack, "etc/link")).unwrap(), b"a");
    assert_eq!(walk(&stack, &root(0), "etc/passwd"), Err(Errno::ENOENT));
    assert_eq!(at(&stack, "etc/dir/../../usr"), at(&stack, "usr"));
    assert_eq!(stack.directory_path(at(&stack, "etc/dir")), b"/etc/dir");
    // The host changes it.
    folder.file("dir/c", b"new");
    folder.file("a", b"another");
    assert_eq!(contents(&stack, at(&stack, "etc/a")), b"another");
    assert_eq!(names(&stack, "etc/dir"), [b"b", b"c"]);
    folder.remove("dir");
    assert_eq!(walk(&stack, &root(0), "etc/dir"), Err(Errno::ENOENT));
}

#[test]
fn a_read_only_folder_cannot_be_changed() {
    let (builder, folder) = (sample(), folder());
    let mut stack = bound(&builder, &folder, BindMode::ReadOnly);
    let (etc, a, ctx) = (at(&stack, "etc"), at(&stack, "etc/a"), root(1));
    assert_eq!(stack.mknod(&ctx, etc, b"x", Kind::File, 0o644), Err(Errno::EROFS));
    assert_eq!(stack.mkdir(&ctx, etc, b"x", 0o755), Err(Errno::EROFS));
    assert_eq!(stack.unlink(&ctx, etc, b"a"), Err(Errno::EROFS));
    assert_eq!(write(&mut stack, &ctx, a, 0, b"x"), Err(Errno::EROFS));
    assert_eq!(stack.check_open(&ctx, a, Access::WRITE, true), Err(Errno::EROFS));
    assert_eq!(stack.setattr(&ctx, a, &SetAttr { mode: Some(0), ..SetAttr::default() }, false), Err(Errno::EROFS));
    assert_eq!(stack.rename(&ctx, (etc, b"a"), (Ino::ROOT, b"a"), RenameMode::Replace), Err(Errno::EXDEV));
    assert_eq!(stack.rmdir(&ctx, Ino::ROOT, b"etc"), Err(Errno::EBUSY));
    assert_eq!(folder.bytes("a").unwrap(), b"one");
}

#[test]
fn a_new_file_with_the_number_of_one_that_is_gone_is_another() {
    for mode in [BindMode::CopyOnWrite, BindMode::ReadOnly] {
        let (builder, folder) = (sample(), folder());
        let mut stack = bound(&builder, &folder, mode);
        let (a, dir) = (at(&stack, "etc/a"), at(&stack, "etc/dir"));
        if mode == BindMode::CopyOnWrite {
            write(&mut stack, &root(1), a, 0, b"ONE").unwrap();
        }
        folder.hard_link("a", "same");
        assert_eq!(at(&stack, "etc/same"), a, "another name of it");
        folder.remove("same");
        folder.reuse("a", "b", b"new");
        folder.reuse("dir", "other", b"");
        assert!(at(&stack, "etc/b") != a && at(&stack, "etc/other") != dir);
        assert_eq!(contents(&stack, at(&stack, "etc/b")), b"new");
        assert_eq!(walk(&stack, &root(0), "etc/a").is_ok(), mode == BindMode::CopyOnWrite, "its own copy stays");
    }
}

#[test]
fn copies_are_the_sandboxs_own() {
    let (builder, folder) = (sample(), folder());
    let before = folder.paths();
    let mut stack = bound(&builder, &folder, BindMode::CopyOnWrite);
    let (etc, ctx) = (at(&stack, "etc"), root(1));
    let b = at(&stack, "etc/dir/b");
    write(&mut stack, &ctx, b, 1, b"XY").unwrap();
    stack.mknod(&ctx, etc, b"new", Kind::File, 0o600).unwrap();
    stack.unlink(&ctx, etc, b"a").unwrap();
    stack.rename(&ctx, (etc, b"dir"), (Ino::ROOT, b"moved"), RenameMode::Replace).unwrap();
    assert_eq!(names(&stack, "etc"), [&b"link"[..], b"new"]);
    assert_eq!(contents(&stack, at(&stack, "moved/b")), b"tXY");
    assert_eq!((folder.paths(), folder.bytes("dir/b").unwrap()), (before, b"two".to_vec()));
    // What was changed stays, whatever the host does; what was taken away stays away.
    folder.remove("dir");
    folder.file("a", b"again");
    assert_eq!(contents(&stack, at(&stack, "moved/b")), b"tXY");
    assert_eq!(walk(&stack, &root(0), "etc/a"), Err(Errno::ENOENT));
}

#[test]
fn an_emptied_directory_can_be_removed() {
    let (builder, folder) = (sample(), folder());
    let mut stack = bound(&builder, &folder, BindMode::CopyOnWrite);
    let (etc, dir, ctx) = (at(&stack, "etc"), at(&stack, "etc/dir"), root(1));
    assert_eq!(stack.rmdir(&ctx, etc, b"dir"), Err(Errno::ENOTEMPTY));
    stack.unlink(&ctx, dir, b"b").unwrap();
    stack.rmdir(&ctx, etc, b"dir").unwrap();
    stack.mkdir(&ctx, etc, b"dir", 0o755).unwrap();
    assert!(names(&stack, "etc/dir").is_empty(), "the new directory shows the old one's files");
}

#[test]
fn direct_changes_are_the_hosts() {
    let (builder, folder) = (sample(), folder());
    let mut stack = bound(&builder, &folder, BindMode::Direct);
    let (etc, ctx) = (at(&stack, "etc"), root(1));
    let new = stack.mknod(&ctx, etc, b"new", Kind::File, 0o600).unwrap();
    assert_eq!(write(&mut stack, &ctx, new, 0, &[7; 100_000]), Ok(100_000));
    assert_eq!(folder.bytes("new").unwrap(), [7; 100_000]);
    assert_eq!(attr(&stack, "etc/new").size, 100_000);
    stack.mkdir(&ctx, etc, b"d", 0o755).unwrap();
    stack.unlink(&ctx, etc, b"a").unwrap();
    assert_eq!(folder.paths(), ["d", "dir", "dir/b", "link", "new"]);
    let elsewhere = (Ino::ROOT, &b"x"[..]);
    assert_eq!(stack.rename(&ctx, (etc, b"new"), elsewhere, RenameMode::Replace), Err(Errno::EXDEV));
}

#[test]
fn merged_folders_lie_over_the_tree_and_exceptions_are_hidden() {
    let (builder, folder) = (sample(), folder());
    folder.file("passwd", b"the host's");
    folder.file("dir/secret", b"");
    let mut stack = builder.stack();
    let except = [b"dir/secret".to_vec(), b"a".to_vec()].into();
    stack.bind(Bind { merge: true, except, ..bind(&folder, BindMode::Direct) }).unwrap();
    assert_eq!(names(&stack, "etc"), [&b"dir"[..], b"link", b"passwd"]);
    assert_eq!(contents(&stack, at(&stack, "etc/passwd")), b"the host's");
    assert_eq!(names(&stack, "etc/dir"), [b"b"]);
    assert_eq!(walk(&stack, &root(0), "etc/dir/secret"), Err(Errno::ENOENT));
    let (etc, dir, ctx) = (at(&stack, "etc"), at(&stack, "etc/dir"), root(1));
    assert_eq!(stack.mknod(&ctx, dir, b"secret", Kind::File, 0o600), Err(Errno::EPERM));
    assert_eq!(stack.rename(&ctx, (etc, b"dir"), (etc, b"e"), RenameMode::Replace), Err(Errno::EXDEV));
    stack.unlink(&ctx, etc, b"passwd").unwrap();
    assert_eq!(walk(&stack, &root(0), "etc/passwd"), Err(Errno::ENOENT), "what lay under it shows");
}

#[test]
fn hidden_names_stay_free_in_copies_too() {
    let (builder, folder) = (sample(), folder());
    let mut stack = builder.stack();
    stack.bind(Bind { except: [b"a".to_vec()].into(), ..bind(&folder, BindMode::CopyOnWrite) }).unwrap();
    let (etc, link, ctx) = (at(&stack, "etc"), at(&stack, "etc/link"), root(1));
    assert_eq!(stack.mknod(&ctx, etc, b"a", Kind::File, 0o600), Err(Errno::EPERM));
    assert_eq!(stack.mkdir(&ctx, etc, b"a", 0o700), Err(Errno::EPERM));
    assert_eq!(stack.symlink(&ctx, etc, b"a", b"x"), Err(Errno::EPERM));
    assert_eq!(stack.link(&ctx, link, etc, b"a"), Err(Errno::EPERM));
    assert_eq!(stack.rename(&ctx, (etc, b"dir"), (etc, b"a"), RenameMode::Replace), Err(Errno::EPERM));
    assert_eq!(stack.unlink(&ctx, etc, b"a"), Err(Errno::ENOENT));
    assert_eq!(names(&stack, "etc"), [&b"dir"[..], b"link"]);
}

/// A directory of the folder moves into one of the tree that shows through another of the folder; then the server says that this other
/// one is in the first. Nothing goes round for ever.
#[test]
fn a_server_that_closes_a_circle_is_noticed() {
    let mut builder = Builder::new();
    let etc = builder.dir(0, "etc");
    let m = builder.dir(etc, "m");
    builder.dir(m, "l");
    let folder = folder();
    folder.directory("m");
    folder.directory("d");
    let mut stack = builder.stack();
    stack.bind(Bind { merge: true, ..bind(&folder, BindMode::CopyOnWrite) }).unwrap();
    let (etc, m, l, ctx) = (at(&stack, "etc"), at(&stack, "etc/m"), at(&stack, "etc/m/l"), root(1));
    stack.rename(&ctx, (etc, b"d"), (l, b"d"), RenameMode::Replace).unwrap();
    let d = at(&stack, "etc/m/l/d");
    folder.hard_link("m", "d/m");
    assert_eq!(stack.lookup(&ctx, d, b"m"), Ok(m), "the circle that is to be noticed");
    assert_eq!(stack.rename(&ctx, (etc, b"dir"), (m, b"dir"), RenameMode::Replace), Err(Errno::EINVAL));
    assert!(stack.directory_path(m).len() < 100);
}

#[test]
fn a_removed_directory_keeps_what_was_made_in_it() {
    let (builder, folder) = (sample(), folder());
    let mut stack = bound(&builder, &folder, BindMode::CopyOnWrite);
    let (dir, ctx) = (at(&stack, "etc/dir"), root(1));
    stack.mknod(&ctx, dir, b"new", Kind::File, 0o600).unwrap();
    folder.remove("dir");
    assert_eq!(names(&stack, "etc/dir"), [b"new"]);
}

#[test]
fn what_nobody_refers_to_is_let_go() {
    let (builder, folder) = (sample(), folder());
    for number in 0..600 {
        folder.file(&std::format!("dir/{number}"), b"");
    }
    let stack = bound(&builder, &folder, BindMode::ReadOnly);
    for number in 0..600 {
        at(&stack, &std::format!("etc/dir/{number}"));
        stack.tidy();
    }
    assert!(folder.fids() < 300, "{}", folder.fids());
    drop(stack);
    assert_eq!(folder.fids(), 0);
}
