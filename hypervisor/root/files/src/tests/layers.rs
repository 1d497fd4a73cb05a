//! The two layers together: copy-up, whiteouts, opaque directories.
use bundle::TreeNode;

use super::{Builder, LIMITS, at, attr, contents, list, root, sample, walk, write};
use crate::{Access, Errno, Ino, Kind, Limits, RenameMode, SetAttr};

#[test]
fn reading_copies_nothing_up() {
    let builder = sample();
    let stack = builder.stack();
    contents(&stack, at(&stack, "usr/bin/sh"));
    list(&stack, at(&stack, "usr"));
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes_free, LIMITS.inodes);
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks_free, stack.statfs(Ino::ROOT).unwrap().blocks);
}

#[test]
fn a_write_copies_up_one_page_and_keeps_the_number() {
    let builder = sample();
    let mut stack = builder.stack();
    let before = attr(&stack, "usr/bin/sh");
    let sh = before.ino;
    write(&mut stack, &root(1), sh, 5000, b"new").unwrap();
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks - stack.statfs(Ino::ROOT).unwrap().blocks_free, 1);
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes - stack.statfs(Ino::ROOT).unwrap().inodes_free, 1);
    let after = attr(&stack, "usr/bin/sh");
    assert_eq!((after.ino, after.size, after.nlink, after.mode), (before.ino, 10_000, 1, before.mode));
    let mut expected = [7; 10_000];
    expected[5000..5003].copy_from_slice(b"new");
    assert_eq!(contents(&stack, sh), expected);
    assert_eq!(builder.data[4096 + 5000], 7, "the lower layer stays as it is");
}

#[test]
fn attributes_copy_up_without_data() {
    let builder = sample();
    let mut stack = builder.stack();
    let sh = at(&stack, "usr/bin/sh");
    stack.setattr(&root(1), sh, &SetAttr { mode: Some(0o700), ..SetAttr::default() }, false).unwrap();
    assert_eq!((attr(&stack, "usr/bin/sh").mode, attr(&stack, "usr/bin/sh").ino), (0o700, sh));
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks_free, stack.statfs(Ino::ROOT).unwrap().blocks);
    assert_eq!(contents(&stack, sh), [7; 10_000]);
}

#[test]
fn a_whiteout_hides_and_a_new_file_replaces() {
    let builder = sample();
    let mut stack = builder.stack();
    let etc = at(&stack, "etc");
    let old = at(&stack, "etc/passwd");
    stack.unlink(&root(1), etc, b"passwd").unwrap();
    assert_eq!(walk(&stack, &root(1), "etc/passwd"), Err(Errno::ENOENT));
    assert_eq!(list(&stack, etc), [b"link"]);
    assert_eq!(stack.attr(old).unwrap().nlink, 0);
    let new = stack.mknod(&root(1), etc, b"passwd", Kind::File, 0o600).unwrap();
    assert_ne!(new, old);
    assert_eq!(attr(&stack, "etc/passwd").size, 0);
    assert_eq!(list(&stack, etc), [&b"link"[..], b"passwd"]);
    stack.unlink(&root(1), etc, b"passwd").unwrap();
    assert_eq!(walk(&stack, &root(1), "etc/passwd"), Err(Errno::ENOENT), "the lower file does not come back");
}

#[test]
fn a_directory_made_anew_is_opaque() {
    let builder = sample();
    let mut stack = builder.stack();
    let (usr, bin) = (at(&stack, "usr"), at(&stack, "usr/bin"));
    assert_eq!(stack.rmdir(&root(1), usr, b"bin"), Err(Errno::ENOTEMPTY));
    stack.unlink(&root(1), bin, b"sh").unwrap();
    assert_eq!(stack.rmdir(&root(1), usr, b"bin"), Err(Errno::ENOTEMPTY));
    stack.unlink(&root(1), bin, b"ls").unwrap();
    stack.rmdir(&root(1), usr, b"bin").unwrap();
    assert_eq!(stack.attr(usr).unwrap().nlink, 3);
    let again = stack.mkdir(&root(1), usr, b"bin", 0o755).unwrap();
    assert_eq!(list(&stack, again), [[]; 0]);
    assert_eq!(stack.attr(usr).unwrap().nlink, 4);
}

#[test]
fn a_lower_directory_moves_with_everything_in_it() {
    let builder = sample();
    let mut stack = builder.stack();
    let (usr, etc) = (at(&stack, "usr"), at(&stack, "etc"));
    let sh = at(&stack, "usr/bin/sh");
    stack.rename(&root(1), (usr, b"bin"), (etc, b"bin"), RenameMode::Replace).unwrap();
    assert_eq!(at(&stack, "etc/bin/sh"), sh);
    assert_eq!(contents(&stack, sh), [7; 10_000]);
    assert_eq!(list(&stack, usr), [b"empty"]);
    assert_eq!(list(&stack, etc), [&b"link"[..], b"passwd", b"bin"]);
    assert_eq!((attr(&stack, "usr").nlink, attr(&stack, "etc").nlink), (3, 3));
    stack.rename(&root(1), (etc, b"bin"), (usr, b"bin"), RenameMode::Replace).unwrap();
    assert_eq!(at(&stack, "usr/bin/sh"), sh);
    assert_eq!((attr(&stack, "usr").nlink, attr(&stack, "etc").nlink), (4, 2));
}

#[test]
fn exchanging_across_layers() {
    let builder = sample();
    let mut stack = builder.stack();
    let (etc, usr) = (at(&stack, "etc"), at(&stack, "usr"));
    let passwd = at(&stack, "etc/passwd");
    let bin = at(&stack, "usr/bin");
    stack.rename(&root(1), (etc, b"passwd"), (usr, b"bin"), RenameMode::Exchange).unwrap();
    assert_eq!((at(&stack, "etc/passwd"), at(&stack, "usr/bin")), (bin, passwd));
    assert_eq!((attr(&stack, "usr").nlink, attr(&stack, "etc").nlink), (3, 3));
    assert_eq!(at(&stack, "etc/passwd/.."), etc);
    assert_eq!(contents(&stack, at(&stack, "usr/bin")), b"root:x:0:0\n");
    assert_eq!(stack.directory_path(bin), b"/etc/passwd");
}

#[test]
fn an_open_lower_file_is_written_after_its_deletion() {
    let builder = sample();
    let mut stack = builder.stack();
    let sh = at(&stack, "usr/bin/sh");
    stack.opened(sh);
    stack.unlink(&root(1), at(&stack, "usr/bin"), b"sh").unwrap();
    write(&mut stack, &root(1), sh, 0, b"abc").unwrap();
    assert_eq!(stack.attr(sh).unwrap().nlink, 0);
    assert_eq!(&contents(&stack, sh)[..4], b"abc\x07");
    stack.closed(sh);
    assert_eq!(
        stack.statfs(Ino::ROOT).unwrap().blocks_free,
        stack.statfs(Ino::ROOT).unwrap().blocks,
        "its page comes back"
    );
    assert_eq!(
        stack.statfs(Ino::ROOT).unwrap().inodes - stack.statfs(Ino::ROOT).unwrap().inodes_free,
        1,
        "only the directory is left"
    );
}

#[test]
fn a_copied_up_link_target_is_charged() {
    let builder = sample();
    let mut stack = builder.stack_with(Limits { bytes: 5, ..LIMITS });
    let etc = at(&stack, "etc");
    let renamed = stack.rename(&root(1), (etc, b"link"), (Ino::ROOT, b"l"), RenameMode::Replace);
    assert_eq!(renamed, Err(Errno::ENOSPC));
    assert_eq!(at(&stack, "etc/link"), Ino(4));
    let mut stack = builder.stack_with(Limits { bytes: 6, ..LIMITS });
    stack.rename(&root(1), (etc, b"link"), (Ino::ROOT, b"l"), RenameMode::Replace).unwrap();
    assert_eq!(stack.readlink(at(&stack, "l")), Ok(b"passwd"[..].into()));
    stack.unlink(&root(1), Ino::ROOT, b"l").unwrap();
    stack.symlink(&root(1), Ino::ROOT, b"new", b"123456").unwrap();
    assert_eq!(stack.symlink(&root(1), Ino::ROOT, b"more", b"1"), Err(Errno::ENOSPC));
}

#[test]
fn several_names_of_a_lower_file_are_one_inode() {
    let mut builder = Builder::new();
    let dir = builder.dir(0, "dir");
    let first = builder.file(0, "first", b"bytes");
    builder.hard_link(dir, "second", first);
    builder.hard_link(0, "third", first);
    let mut stack = builder.stack();
    let ctx = root(1);
    let dir = stack.lookup(&ctx, Ino::ROOT, b"dir").unwrap();
    let ino = stack.lookup(&ctx, Ino::ROOT, b"first").unwrap();
    assert_eq!(stack.lookup(&ctx, dir, b"second"), Ok(ino));
    assert_eq!(stack.lookup(&ctx, Ino::ROOT, b"third"), Ok(ino));
    assert_eq!(stack.attr(ino).unwrap().nlink, 3);
    let listed = stack.next_entry(dir, 2, u64::MAX).unwrap().unwrap();
    assert_eq!((&*listed.name, listed.ino), (&b"second"[..], ino));
    let free = stack.statfs(Ino::ROOT).unwrap().inodes_free;
    // The first name goes: the others stay, with what is written through them.
    stack.unlink(&ctx, Ino::ROOT, b"first").unwrap();
    assert_eq!(stack.attr(ino).unwrap().nlink, 2);
    write(&mut stack, &ctx, ino, 0, b"B").unwrap();
    assert_eq!(contents(&stack, stack.lookup(&ctx, dir, b"second").unwrap()), b"Bytes");
    stack.unlink(&ctx, dir, b"second").unwrap();
    stack.unlink(&ctx, Ino::ROOT, b"third").unwrap();
    assert_eq!(stack.lookup(&ctx, Ino::ROOT, b"third"), Err(Errno::ENOENT));
    // The two directories that names were taken from are upper ones now; nothing else is left.
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes_free, free - 2);
}

#[test]
fn a_full_layer_lets_go_of_a_name_of_several() {
    let mut builder = Builder::new();
    let first = builder.file(0, "first", b"");
    builder.hard_link(0, "second", first);
    let mut stack = builder.stack_with(Limits { inodes: 0, ..LIMITS });
    let ctx = root(1);
    let ino = stack.lookup(&ctx, Ino::ROOT, b"first").unwrap();
    stack.unlink(&ctx, Ino::ROOT, b"second").unwrap();
    assert_eq!((stack.attr(ino).unwrap().nlink, stack.lookup(&ctx, Ino::ROOT, b"first")), (1, Ok(ino)));
}

#[test]
fn a_lower_pipe_is_a_name() {
    let mut builder = Builder::new();
    builder.add(0, "pipe", 0o622, TreeNode::Fifo);
    let mut stack = builder.stack();
    let ctx = root(1);
    let ino = stack.lookup(&ctx, Ino::ROOT, b"pipe").unwrap();
    let attr = stack.attr(ino).unwrap();
    assert_eq!((attr.kind, attr.mode, attr.size, attr.nlink), (Kind::Fifo, 0o622, 0, 1));
    assert_eq!(stack.check_open(&ctx, ino, Access::READ, false), Err(Errno::ENXIO));
    stack.setattr(&ctx, ino, &SetAttr { mode: Some(0o600), ..SetAttr::default() }, false).unwrap();
    let attr = stack.attr(ino).unwrap();
    assert_eq!((attr.kind, attr.mode), (Kind::Fifo, 0o600));
}
