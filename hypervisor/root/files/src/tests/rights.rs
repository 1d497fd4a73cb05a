//! Mode bits: who may do what. Expectations are Linux'.
use alloc::format;

use super::{at, attr, root, sample, user, write};
use crate::{Access, Context, Errno, Ino, Kind, RenameMode, SetAttr, SetTime, Stack, Timestamp};

const NONE: SetAttr =
    SetAttr { mode: None, uid: None, gid: None, size: None, atime: None, mtime: None, drop_set_id: false };

/// A file in /tmp of this user, with this mode.
fn file_of(stack: &mut Stack<'_>, id: u32, name: &[u8], mode: u32) -> Ino {
    let tmp = at(stack, "tmp");
    stack.mknod(&user(id), tmp, name, Kind::File, mode).unwrap()
}

#[test]
fn owner_group_and_others() {
    let builder = sample();
    let mut stack = builder.stack();
    let file = file_of(&mut stack, 7, b"f", 0o640);
    let mut group = user(8);
    group.gid = 7;
    let both = Access::READ.and(Access::WRITE);
    assert_eq!(stack.access(&user(7), file, both), Ok(()));
    assert_eq!(stack.access(&group, file, Access::READ), Ok(()));
    assert_eq!(stack.access(&group, file, both), Err(Errno::EACCES));
    assert_eq!(stack.access(&user(9), file, Access::READ), Err(Errno::EACCES));
    assert_eq!(stack.access(&user(9), file, Access::NONE), Ok(()));
    assert_eq!(stack.access(&root(0), file, both), Ok(()));
    assert_eq!(stack.access(&root(0), file, Access::EXECUTE), Err(Errno::EACCES), "nobody may execute it");
    assert_eq!(Access::from_mask(8), Err(Errno::EINVAL));
    // The class that fits first decides, even if a later one would give more.
    let odd = file_of(&mut stack, 7, b"odd", 0o007);
    assert_eq!(stack.access(&user(7), odd, Access::READ), Err(Errno::EACCES));
    assert_eq!(stack.access(&user(9), odd, Access::READ), Ok(()));
}

#[test]
fn a_change_of_owner_that_changes_nothing_takes_set_id_bits() {
    let builder = sample();
    let mut stack = builder.stack();
    let change = SetAttr { drop_set_id: true, ..NONE };
    for (mode, left) in [(0o6755, 0o755), (0o6745, 0o2745), (0o1644, 0o1644)] {
        let file = file_of(&mut stack, 7, &format!("{mode}").into_bytes(), mode);
        stack.setattr(&user(9), file, &change, false).unwrap();
        assert_eq!(stack.attr(file).unwrap().mode, left);
    }
    let tmp = at(&stack, "tmp");
    let directory = stack.mkdir(&user(7), tmp, b"directory", 0o6755).unwrap();
    stack.setattr(&user(9), directory, &change, false).unwrap();
    assert_eq!(stack.attr(directory).unwrap().mode, 0o6755);
}

#[test]
fn further_groups_count_like_the_first() {
    let builder = sample();
    let mut stack = builder.stack();
    let file = file_of(&mut stack, 7, b"f", 0o640);
    let member = |groups: &'static [u32]| Context { groups, ..user(8) };
    assert_eq!(stack.access(&member(&[]), file, Access::READ), Err(Errno::EACCES));
    assert_eq!(stack.access(&member(&[1, 7]), file, Access::READ), Ok(()));
    // One's own file may be given to any of them, and keeps its set-group-id bit with it.
    let given = file_of(&mut stack, 8, b"given", 0o644);
    let to = |gid| SetAttr { gid: Some(gid), ..NONE };
    assert_eq!(stack.setattr(&member(&[]), given, &to(5), false), Err(Errno::EPERM));
    assert_eq!(stack.setattr(&member(&[5]), given, &to(5), false), Ok(()));
    let marked = SetAttr { mode: Some(0o2755), ..NONE };
    stack.setattr(&member(&[5]), given, &marked, false).unwrap();
    assert_eq!(stack.attr(given).unwrap().mode, 0o2755);
    stack.setattr(&member(&[]), given, &marked, false).unwrap();
    assert_eq!(stack.attr(given).unwrap().mode, 0o755);
}

#[test]
fn directories_need_search_and_write() {
    let builder = sample();
    let mut stack = builder.stack();
    let tmp = at(&stack, "tmp");
    let dir = stack.mkdir(&user(7), tmp, b"d", 0o700).unwrap();
    stack.mknod(&user(7), dir, b"f", Kind::File, 0o666).unwrap();
    let other = user(8);
    assert_eq!(stack.lookup(&other, dir, b"f"), Err(Errno::EACCES));
    assert_eq!(stack.mkdir(&other, dir, b"g", 0o700), Err(Errno::EACCES));
    assert_eq!(stack.unlink(&other, dir, b"f"), Err(Errno::EACCES));
    stack.setattr(&user(7), dir, &SetAttr { mode: Some(0o755), ..NONE }, false).unwrap();
    assert!(stack.lookup(&other, dir, b"f").is_ok());
    assert_eq!(stack.mkdir(&other, dir, b"f", 0o700), Err(Errno::EEXIST), "existence comes before rights");
    assert_eq!(stack.mkdir(&other, dir, b"g", 0o700), Err(Errno::EACCES));
    assert_eq!(stack.unlink(&other, dir, b"f"), Err(Errno::EACCES));
    assert_eq!(stack.unlink(&other, dir, b"none"), Err(Errno::ENOENT));
    let out = stack.rename(&other, (dir, b"f"), (tmp, b"f"), RenameMode::Replace);
    assert_eq!(out, Err(Errno::EACCES));
}

#[test]
fn sticky_directories() {
    let builder = sample();
    let mut stack = builder.stack();
    let tmp = at(&stack, "tmp");
    file_of(&mut stack, 7, b"f", 0o666);
    file_of(&mut stack, 8, b"g", 0o666);
    assert_eq!(stack.unlink(&user(8), tmp, b"f"), Err(Errno::EPERM));
    assert_eq!(stack.rename(&user(8), (tmp, b"f"), (tmp, b"x"), RenameMode::Replace), Err(Errno::EPERM));
    assert_eq!(stack.rename(&user(8), (tmp, b"g"), (tmp, b"f"), RenameMode::Replace), Err(Errno::EPERM));
    assert_eq!(stack.rename(&user(8), (tmp, b"g"), (tmp, b"f"), RenameMode::Exchange), Err(Errno::EPERM));
    assert_eq!(stack.rename(&user(8), (tmp, b"g"), (tmp, b"h"), RenameMode::Replace), Ok(()));
    assert_eq!(stack.unlink(&user(7), tmp, b"f"), Ok(()));
    assert_eq!(stack.unlink(&root(0), tmp, b"h"), Ok(()));
}

#[test]
fn moving_a_directory_needs_writing_it() {
    let builder = sample();
    let mut stack = builder.stack();
    let tmp = at(&stack, "tmp");
    let mine = stack.mkdir(&user(7), tmp, b"mine", 0o755).unwrap();
    stack.mkdir(&user(7), tmp, b"fixed", 0o555).unwrap();
    let moved = stack.rename(&user(7), (tmp, b"fixed"), (mine, b"fixed"), RenameMode::Replace);
    assert_eq!(moved, Err(Errno::EACCES));
    assert_eq!(stack.rename(&user(7), (tmp, b"fixed"), (tmp, b"other"), RenameMode::Replace), Ok(()));
}

#[test]
fn opening() {
    let builder = sample();
    let mut stack = builder.stack();
    let file = file_of(&mut stack, 7, b"f", 0o400);
    let tmp = at(&stack, "tmp");
    let fifo = stack.mknod(&user(7), tmp, b"p", Kind::Fifo, 0o600).unwrap();
    assert_eq!(stack.check_open(&user(7), file, Access::READ, false), Ok(Kind::File));
    assert_eq!(stack.check_open(&user(7), file, Access::WRITE, true), Err(Errno::EACCES));
    assert_eq!(stack.check_open(&user(7), tmp, Access::READ, false), Ok(Kind::Directory));
    assert_eq!(stack.check_open(&root(0), tmp, Access::WRITE, true), Err(Errno::EISDIR));
    assert_eq!(stack.check_open(&root(0), at(&stack, "etc/link"), Access::READ, false), Err(Errno::ELOOP));
    assert_eq!(stack.check_open(&user(7), fifo, Access::READ, false), Err(Errno::ENXIO));
    assert_eq!(stack.check_open(&user(8), fifo, Access::READ, false), Err(Errno::EACCES));
    assert_eq!(stack.mknod(&user(7), tmp, b"d", Kind::Directory, 0o600), Err(Errno::EINVAL));
}

#[test]
fn changing_attributes() {
    let builder = sample();
    let mut stack = builder.stack();
    let file = file_of(&mut stack, 7, b"f", 0o644);
    let (owner, other) = (user(7), user(8));
    let mut set = |ctx: Context, set| stack.setattr(&ctx, file, &set, false);
    assert_eq!(set(other, SetAttr { mode: Some(0o777), ..NONE }), Err(Errno::EPERM));
    assert_eq!(set(owner, SetAttr { uid: Some(8), ..NONE }), Err(Errno::EPERM));
    assert_eq!(set(owner, SetAttr { uid: Some(7), gid: Some(7), ..NONE }), Ok(()));
    assert_eq!(set(owner, SetAttr { gid: Some(8), ..NONE }), Err(Errno::EPERM));
    assert_eq!(set(other, SetAttr { size: Some(0), ..NONE }), Err(Errno::EACCES));
    assert_eq!(set(other, SetAttr { mtime: Some(SetTime::Now), ..NONE }), Err(Errno::EACCES));
    let exact = Some(SetTime::At(Timestamp::default()));
    assert_eq!(set(other, SetAttr { mtime: exact, ..NONE }), Err(Errno::EPERM));
    assert_eq!(set(root(0), SetAttr { uid: Some(u32::MAX), ..NONE }), Err(Errno::EINVAL));
    let late = Some(SetTime::At(Timestamp { seconds: 0, nanoseconds: 1_000_000_000 }));
    assert_eq!(set(root(0), SetAttr { atime: late, ..NONE }), Err(Errno::EINVAL));
    assert_eq!(set(root(0), SetAttr { size: Some(1 << 63), ..NONE }), Err(Errno::EFBIG));
    assert_eq!(set(owner, SetAttr { mode: Some(0o466), ..NONE }), Ok(()));
    assert_eq!(set(owner, SetAttr { size: Some(9), ..NONE }), Err(Errno::EACCES));
    assert_eq!(set(other, SetAttr { mtime: Some(SetTime::Now), size: Some(9), ..NONE }), Ok(()));
    assert_eq!(stack.setattr(&owner, file, &SetAttr { size: Some(3), ..NONE }, true), Ok(()), "open for writing");
    assert_eq!(
        stack.setattr(&root(0), at(&stack, "tmp"), &SetAttr { size: Some(0), ..NONE }, false),
        Err(Errno::EISDIR)
    );
    assert_eq!(
        stack.setattr(&root(0), at(&stack, "etc/link"), &SetAttr { size: Some(0), ..NONE }, false),
        Err(Errno::EINVAL)
    );
}

#[test]
fn set_id_bits_do_not_survive_strangers() {
    let builder = sample();
    let mut stack = builder.stack();
    let mode = |stack: &Stack<'_>| attr(stack, "tmp/f").mode;
    let file = file_of(&mut stack, 7, b"f", 0o6777);
    write(&mut stack, &root(1), file, 0, b"x").unwrap();
    assert_eq!(mode(&stack), 0o6777);
    write(&mut stack, &user(8), file, 0, b"x").unwrap();
    assert_eq!(mode(&stack), 0o777);
    let set = |stack: &mut Stack<'_>, ctx: Context, change| stack.setattr(&ctx, file, &change, false).unwrap();
    set(&mut stack, user(7), SetAttr { mode: Some(0o6755), ..NONE });
    set(&mut stack, root(1), SetAttr { gid: Some(9), ..NONE });
    assert_eq!(mode(&stack), 0o755);
    set(&mut stack, user(7), SetAttr { mode: Some(0o6755), ..NONE });
    assert_eq!(mode(&stack), 0o4755, "the group is not the owner's any more");
    set(&mut stack, root(1), SetAttr { mode: Some(0o6644), ..NONE });
    set(&mut stack, root(1), SetAttr { uid: Some(7), ..NONE });
    assert_eq!(mode(&stack), 0o2644, "without execution it means locking");
}

#[test]
fn groups_are_inherited_where_the_directory_says_so() {
    let builder = sample();
    let mut stack = builder.stack();
    let shared = stack.mkdir(&root(1), Ino::ROOT, b"shared", 0o2777).unwrap();
    stack.setattr(&root(1), shared, &SetAttr { gid: Some(50), ..NONE }, false).unwrap();
    stack.setattr(&root(1), shared, &SetAttr { mode: Some(0o2777), ..NONE }, false).unwrap();
    let dir = stack.mkdir(&user(7), shared, b"d", 0o755).unwrap();
    let file = stack.mknod(&user(7), shared, b"f", Kind::File, 0o2755).unwrap();
    let (dir, file) = (stack.attr(dir).unwrap(), stack.attr(file).unwrap());
    assert_eq!((dir.uid, dir.gid, dir.mode), (7, 50, 0o2755));
    assert_eq!((file.uid, file.gid, file.mode), (7, 50, 0o755));
}
