//! Making, deleting and renaming, beyond what [`super::model`] reaches.
use alloc::vec;

use super::{LIMITS, Random, at, attr, list, root, sample, user, walk, write};
use crate::{Errno, Ino, Kind, Limits, RenameMode, SetAttr, SetTime, Timestamp};

#[test]
fn names_that_cannot_be_made() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let long = [b'x'; 256];
    for (name, error) in [
        (&b""[..], Errno::ENOENT),
        (b".", Errno::EEXIST),
        (b"..", Errno::EEXIST),
        (b"a/b", Errno::EINVAL),
        (b"/", Errno::EINVAL),
        (b"a\0", Errno::EINVAL),
        (&long, Errno::ENAMETOOLONG),
    ] {
        assert_eq!(stack.mkdir(&ctx, Ino::ROOT, name, 0o755), Err(error));
        assert_eq!(stack.mknod(&ctx, Ino::ROOT, name, Kind::File, 0o644), Err(error));
        assert_eq!(stack.symlink(&ctx, Ino::ROOT, name, b"t"), Err(error));
        assert_eq!(stack.link(&ctx, at(&stack, "etc/passwd"), Ino::ROOT, name), Err(error));
        let in_use = if error == Errno::EEXIST { Errno::EINVAL } else { error };
        assert_eq!(stack.unlink(&ctx, Ino::ROOT, name), Err(in_use));
        assert_eq!(stack.rmdir(&ctx, Ino::ROOT, name), Err(in_use));
        assert_eq!(stack.rename(&ctx, (Ino::ROOT, name), (Ino::ROOT, b"n"), RenameMode::Replace), Err(in_use));
        assert_eq!(stack.rename(&ctx, (Ino::ROOT, b"etc"), (Ino::ROOT, name), RenameMode::Replace), Err(in_use));
    }
    assert!(stack.mkdir(&ctx, Ino::ROOT, &long[..255], 0o755).is_ok());
}

#[test]
fn numbers_that_are_no_inode() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    for ino in [Ino(0), Ino(11), Ino(1 << 40), Ino(u64::MAX)] {
        assert_eq!(stack.attr(ino), Err(Errno::ESTALE));
        assert_eq!(stack.lookup(&ctx, ino, b"a"), Err(Errno::ESTALE));
        assert_eq!(stack.mkdir(&ctx, ino, b"a", 0), Err(Errno::ESTALE));
        assert_eq!(stack.link(&ctx, ino, Ino::ROOT, b"a"), Err(Errno::ESTALE));
        assert_eq!(stack.read(ino, 0, 1, |_| Ok(())), Err(Errno::ESTALE));
        assert_eq!(stack.write(&ctx, ino, None, 1, |_| Ok(())), Err(Errno::ESTALE));
        assert_eq!(stack.setattr(&ctx, ino, &SetAttr::default(), true), Err(Errno::ESTALE));
        assert_eq!(stack.next_entry(ino, 0, 9), Err(Errno::ESTALE));
        assert_eq!(stack.readlink(ino), Err(Errno::ESTALE));
        stack.forget(ino, u64::MAX);
        stack.closed(ino);
        assert_eq!(stack.directory_path(ino), b"/");
    }
}

#[test]
fn dots_are_looked_up() {
    let builder = sample();
    let stack = builder.stack();
    let bin = at(&stack, "usr/bin");
    assert_eq!(at(&stack, "usr/bin/."), bin);
    assert_eq!(at(&stack, "usr/bin/.."), at(&stack, "usr"));
    assert_eq!(at(&stack, ".."), Ino::ROOT);
    assert_eq!(walk(&stack, &root(0), "etc/passwd/.."), Err(Errno::ENOTDIR));
}

#[test]
fn a_deleted_directory_takes_nothing_new() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let lower = at(&stack, "usr/empty");
    let upper = stack.mkdir(&ctx, Ino::ROOT, b"new", 0o755).unwrap();
    for (dir, parent, name) in [(lower, at(&stack, "usr"), &b"empty"[..]), (upper, Ino::ROOT, b"new")] {
        stack.remember(dir).unwrap();
        stack.rmdir(&ctx, parent, name).unwrap();
        assert_eq!(stack.attr(dir).unwrap().nlink, 0);
        assert_eq!(stack.mkdir(&ctx, dir, b"a", 0o755), Err(Errno::ENOENT));
        assert_eq!(stack.link(&ctx, at(&stack, "etc/passwd"), dir, b"a"), Err(Errno::ENOENT));
        let moved = stack.rename(&ctx, (Ino::ROOT, b"etc"), (dir, b"a"), RenameMode::Replace);
        assert_eq!(moved, Err(Errno::ENOENT));
        assert_eq!(stack.next_entry(dir, 0, 9), Err(Errno::ENOENT));
        assert_eq!(stack.lookup(&ctx, dir, b"a"), Err(Errno::ENOENT));
    }
    stack.forget(upper, 1);
    assert_eq!(stack.attr(upper), Err(Errno::ESTALE));
}

#[test]
fn a_deleted_file_lives_while_it_is_open() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let file = stack.mknod(&ctx, Ino::ROOT, b"f", Kind::File, 0o644).unwrap();
    write(&mut stack, &ctx, file, 0, b"still here").unwrap();
    stack.remember(file).unwrap();
    stack.opened(file);
    stack.unlink(&ctx, Ino::ROOT, b"f").unwrap();
    stack.forget(file, u64::MAX);
    assert!(!stack.is_remembered(file));
    assert_eq!(super::contents(&stack, file), b"still here");
    assert_eq!(stack.link(&ctx, file, Ino::ROOT, b"back"), Err(Errno::ENOENT));
    let used = stack.statfs(Ino::ROOT).unwrap();
    stack.closed(file);
    assert_eq!(stack.attr(file), Err(Errno::ESTALE));
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks_free, used.blocks_free + 1);
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes_free, used.inodes_free + 1);
}

#[test]
fn numbers_are_never_used_twice() {
    let builder = sample();
    let mut stack = builder.stack();
    let mut last = 0;
    for _ in 0..100 {
        let ino = stack.mknod(&root(1), Ino::ROOT, b"f", Kind::File, 0o644).unwrap();
        assert!(ino.0 > last);
        last = ino.0;
        stack.unlink(&root(1), Ino::ROOT, b"f").unwrap();
    }
}

#[test]
fn reading_a_directory_survives_changes() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let dir = stack.mkdir(&ctx, Ino::ROOT, b"d", 0o755).unwrap();
    for name in [b"a", b"b", b"c", b"d"] {
        stack.mknod(&ctx, dir, name, Kind::File, 0o644).unwrap();
    }
    let end = stack.directory_end(dir).unwrap();
    let first = stack.next_entry(dir, 2, end).unwrap().unwrap();
    assert_eq!(&*first.name, b"a");
    let offset = first.next;
    // What was read, and what comes next, goes away; something new comes.
    stack.unlink(&ctx, dir, b"a").unwrap();
    stack.unlink(&ctx, dir, b"b").unwrap();
    stack.mknod(&ctx, dir, b"e", Kind::File, 0o644).unwrap();
    let next = stack.next_entry(dir, offset, end).unwrap().unwrap();
    assert_eq!(&*next.name, b"c");
    let last = stack.next_entry(dir, next.next, end).unwrap().unwrap();
    assert_eq!(&*last.name, b"d");
    assert_eq!(stack.next_entry(dir, last.next, end), Ok(None));
    for offset in [end, end + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(stack.next_entry(dir, offset, end), Ok(None));
    }
    assert_eq!(stack.next_entry(dir, u64::MAX, u64::MAX), Ok(None));
    assert_eq!(list(&stack, dir), [b"c", b"d", b"e"]);
}

#[test]
fn renaming_while_reading_comes_to_an_end() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let bin = at(&stack, "usr/bin");
    let end = stack.directory_end(bin).unwrap();
    let (mut offset, mut renamed) = (2, 0);
    while let Some(entry) = stack.next_entry(bin, offset, end).unwrap() {
        let name = entry.name.to_vec();
        offset = entry.next;
        let longer = [&name[..], b"x"].concat();
        stack.rename(&ctx, (bin, &name), (bin, &longer), RenameMode::Replace).unwrap();
        renamed += 1;
    }
    assert_eq!(renamed, 2);
    assert_eq!(list(&stack, bin), [b"lsx", b"shx"]);
}

#[test]
fn renaming_over_the_own_parents() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let (usr, bin) = (at(&stack, "usr"), at(&stack, "usr/bin"));
    let mut rename = |from, to, mode| stack.rename(&ctx, from, to, mode);
    assert_eq!(rename((Ino::ROOT, b"usr"), (bin, b"usr"), RenameMode::Replace), Err(Errno::EINVAL));
    assert_eq!(rename((Ino::ROOT, b"usr"), (usr, b"bin"), RenameMode::Replace), Err(Errno::EINVAL));
    assert_eq!(rename((bin, b"sh"), (Ino::ROOT, b"usr"), RenameMode::Replace), Err(Errno::ENOTEMPTY));
    assert_eq!(rename((bin, b"sh"), (Ino::ROOT, b"usr"), RenameMode::Exchange), Err(Errno::EINVAL));
    assert_eq!(rename((bin, b"sh"), (bin, b"none"), RenameMode::Exchange), Err(Errno::ENOENT));
    assert_eq!(rename((bin, b"sh"), (bin, b"ls"), RenameMode::NoReplace), Err(Errno::EEXIST));
    assert_eq!(rename((bin, b"sh"), (bin, b"sh"), RenameMode::NoReplace), Err(Errno::EEXIST));
    assert_eq!(rename((bin, b"sh"), (bin, b"sh"), RenameMode::Replace), Ok(()));
    for flags in [3, 4, 5, 8, u32::MAX] {
        assert_eq!(RenameMode::from_flags(flags), Err(Errno::EINVAL));
    }
}

#[test]
fn paths_follow_renames() {
    let builder = sample();
    let mut stack = builder.stack();
    let bin = at(&stack, "usr/bin");
    assert_eq!(stack.directory_path(Ino::ROOT), b"/");
    assert_eq!(stack.directory_path(bin), b"/usr/bin");
    let (usr, etc) = (at(&stack, "usr"), at(&stack, "etc"));
    stack.rename(&root(1), (Ino::ROOT, b"usr"), (etc, b"moved"), RenameMode::Replace).unwrap();
    assert_eq!(stack.directory_path(bin), b"/etc/moved/bin");
    assert_eq!(at(&stack, "etc/moved/bin/.."), usr);
    assert_eq!(at(&stack, "etc/moved/.."), etc);
}

#[test]
fn times_follow_posix() {
    let builder = sample();
    let mut stack = builder.stack();
    let seconds = |stack: &crate::Stack<'_>, path| {
        let attr = attr(stack, path);
        (attr.mtime.seconds, attr.ctime.seconds)
    };
    let etc = at(&stack, "etc");
    let passwd = at(&stack, "etc/passwd");
    stack.link(&root(10), passwd, etc, b"second").unwrap();
    assert_eq!((seconds(&stack, "etc"), seconds(&stack, "etc/passwd")), ((10, 10), (1000, 10)));
    write(&mut stack, &root(11), passwd, 0, b"x").unwrap();
    assert_eq!((seconds(&stack, "etc"), seconds(&stack, "etc/second")), ((10, 10), (11, 11)));
    stack.setattr(&root(12), passwd, &SetAttr { mode: Some(0o600), ..SetAttr::default() }, false).unwrap();
    assert_eq!(seconds(&stack, "etc/passwd"), (11, 12));
    let time = Timestamp { seconds: -5, nanoseconds: 999_999_999 };
    let set = SetAttr { mtime: Some(SetTime::At(time)), atime: Some(SetTime::Now), ..SetAttr::default() };
    stack.setattr(&root(13), passwd, &set, false).unwrap();
    let now = attr(&stack, "etc/passwd");
    assert_eq!((now.mtime, now.atime.seconds, now.ctime.seconds), (time, 13, 13));
    stack.unlink(&root(14), etc, b"second").unwrap();
    assert_eq!((seconds(&stack, "etc"), seconds(&stack, "etc/passwd")), ((14, 14), (-5, 14)));
    stack.rename(&root(15), (etc, b"passwd"), (Ino::ROOT, b"p"), RenameMode::Replace).unwrap();
    assert_eq!((seconds(&stack, "etc"), seconds(&stack, "/"), seconds(&stack, "p")), ((15, 15), (15, 15), (-5, 15)));
}

#[test]
fn inodes_run_out_and_come_back() {
    let builder = sample();
    let mut stack = builder.stack_with(Limits { inodes: 5, ..LIMITS });
    let ctx = root(1);
    let tmp = at(&stack, "tmp");
    let mut made = vec![];
    let error = loop {
        let name = [b'a' + u8::try_from(made.len()).unwrap()];
        match stack.mknod(&ctx, tmp, &name, Kind::File, 0o644) {
            Ok(_) => made.push(name),
            Err(error) => break error,
        }
    };
    // The directory was copied up, too.
    assert_eq!((error, made.len()), (Errno::ENOSPC, 4));
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes_free, 0);
    assert_eq!(stack.link(&ctx, at(&stack, "tmp/a"), tmp, b"z"), Err(Errno::ENOSPC));
    assert_eq!(stack.symlink(&ctx, tmp, b"z", b"target"), Err(Errno::ENOSPC));
    assert_eq!(stack.mkdir(&ctx, tmp, b"z", 0o755), Err(Errno::ENOSPC));
    let change = SetAttr { mode: Some(0), ..SetAttr::default() };
    assert_eq!(stack.setattr(&ctx, at(&stack, "etc/passwd"), &change, false), Err(Errno::ENOSPC));
    // Deleting goes on, also where the directory has to be copied up for it.
    stack.unlink(&ctx, at(&stack, "usr/bin"), b"ls").unwrap();
    for name in &made {
        stack.unlink(&ctx, tmp, name).unwrap();
    }
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes_free, 3);
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks_free, stack.statfs(Ino::ROOT).unwrap().blocks);
    stack.mkdir(&ctx, tmp, b"z", 0o755).unwrap();
}

#[test]
fn links_are_charged_and_given_back() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let etc = at(&stack, "etc");
    let passwd = at(&stack, "etc/passwd");
    for round in 0..3 {
        stack.link(&ctx, passwd, etc, b"1").unwrap();
        stack.link(&ctx, passwd, etc, b"2").unwrap();
        assert_eq!(stack.attr(passwd).unwrap().nlink, 3);
        stack.unlink(&ctx, etc, b"1").unwrap();
        stack.rename(&ctx, (etc, b"passwd"), (etc, b"2"), RenameMode::Replace).unwrap();
        assert_eq!(stack.attr(passwd).unwrap().nlink, 2, "two names of one file: nothing happens");
        stack.unlink(&ctx, etc, b"2").unwrap();
        assert_eq!(
            stack.statfs(Ino::ROOT).unwrap().inodes - stack.statfs(Ino::ROOT).unwrap().inodes_free,
            2,
            "round {round}"
        );
    }
    stack.unlink(&ctx, etc, b"passwd").unwrap();
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes - stack.statfs(Ino::ROOT).unwrap().inodes_free, 1);
    assert_eq!(stack.link(&ctx, etc, Ino::ROOT, b"dir"), Err(Errno::EPERM));
}

#[test]
fn references_are_bounded() {
    let builder = sample();
    let mut stack = builder.stack_with(Limits { references: 2, ..LIMITS });
    let (etc, usr, tmp) = (at(&stack, "etc"), at(&stack, "usr"), at(&stack, "tmp"));
    stack.remember(etc).unwrap();
    stack.remember(usr).unwrap();
    assert!(!stack.has_room_to_remember());
    assert_eq!(stack.remember(tmp), Err(Errno::ENFILE));
    stack.remember(etc).unwrap();
    stack.forget(etc, 1);
    assert!(stack.is_remembered(etc));
    stack.forget(etc, 7);
    assert!(!stack.is_remembered(etc));
    stack.remember(tmp).unwrap();
    assert!(stack.is_remembered(Ino::ROOT));
}

#[test]
fn random_numbers_and_names_do_no_harm() {
    let builder = sample();
    let limits = Limits { bytes: 1 << 20, inodes: 64, references: 64 };
    let mut stack = builder.stack_with(limits);
    let mut random = Random(1);
    let names: [&[u8]; 8] = [b"a", b"etc", b"usr", b"bin", b"", b"..", b"x/y", b"tmp"];
    let numbers = [0, 1, 2, 4095, 4096, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, (1 << 63) - 4096];
    for _ in 0..20_000 {
        let ino = Ino(if random.below(50) == 0 { random.next() } else { random.next() % 90 });
        let other = Ino(random.next() % 90);
        let (name, number) = (random.pick(&names), random.pick(&numbers));
        let ctx = if random.below(2) == 0 { root(1) } else { user(9) };
        let small = random.next() % 20_000;
        match random.below(18) {
            0 => drop(stack.mkdir(&ctx, ino, name, 0o777)),
            1 => drop(stack.mknod(&ctx, ino, name, Kind::File, 0o777)),
            2 => drop(stack.rename(&ctx, (ino, name), (other, random.pick(&names)), RenameMode::Replace)),
            3 => drop(stack.rename(&ctx, (ino, name), (other, random.pick(&names)), RenameMode::Exchange)),
            4 => drop(stack.link(&ctx, ino, other, name)),
            5 => drop(stack.unlink(&ctx, ino, name)),
            6 => drop(stack.rmdir(&ctx, ino, name)),
            7 => drop(write(&mut stack, &ctx, ino, number, &[1; 5000])),
            8 => drop(stack.read(ino, number, 9000, |_| Ok(()))),
            9 => drop(stack.setattr(&ctx, ino, &SetAttr { size: Some(number), ..SetAttr::default() }, true)),
            10 => drop(stack.fallocate(&ctx, ino, small, number, random.pick(&[0, 1, 3, 7, u32::MAX]))),
            11 => drop(stack.next_entry(ino, number, random.next())),
            12 => drop((stack.next_data(ino, number), stack.next_hole(ino, number))),
            13 => drop(stack.remember(ino)),
            14 => stack.forget(ino, number),
            15 => drop(stack.symlink(&ctx, ino, name, b"target")),
            16 => drop(stack.directory_path(ino)),
            _ => drop(write(&mut stack, &ctx, ino, small, &[1; 5000])),
        }
        let used = stack.statfs(Ino::ROOT).unwrap();
        assert!(used.inodes_free <= used.inodes && used.blocks_free <= used.blocks);
    }
}

#[test]
fn limits_fit_the_memory_that_they_are_for() {
    assert_eq!(Limits::within(0), Limits { bytes: 0, inodes: 0, references: 0 });
    let limits = Limits::within(64 << 20);
    assert_eq!((limits.bytes, limits.inodes, limits.references), (40 << 20, 8192, 65_536));
    // A map's node holds 11 elements and may be half empty; names of 255 bytes are held twice for a directory.
    let node = (size_of::<crate::node::Node<'_>>() + 8) * 11 / 5;
    assert!(node * 6 / 5 + 2 * (255 + 32) + 11 * (32 + 24) + 64 <= 2048, "{node}");
}
