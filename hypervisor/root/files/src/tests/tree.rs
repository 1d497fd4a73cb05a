//! Lower trees that must be refused, and the use of one that is not.
use bundle::TreeNode;

use super::{Builder, at, attr, contents, sample};
use crate::{Errno, InvalidTree, Kind, Lower};

fn refusal(builder: &Builder) -> InvalidTree {
    Lower::new(builder.index.clone(), &builder.data).expect_err("the tree should be refused")
}

/// A refusal of the one entry that `spoil` adds to an otherwise good tree.
fn refused(spoil: impl FnOnce(&mut Builder) -> u32) -> &'static str {
    let mut builder = sample();
    let entry = spoil(&mut builder) as usize;
    let invalid = refusal(&builder);
    assert_eq!(invalid.entry, entry);
    invalid.reason
}

#[test]
fn a_good_tree_is_readable() {
    let builder = sample();
    let stack = builder.stack();
    assert_eq!(contents(&stack, at(&stack, "etc/passwd")), b"root:x:0:0\n");
    assert_eq!(contents(&stack, at(&stack, "usr/bin/sh")), [7; 10_000]);
    assert_eq!(stack.readlink(at(&stack, "etc/link")), Ok(b"passwd"[..].into()));
    assert_eq!(stack.readlink(at(&stack, "etc/passwd")), Err(Errno::EINVAL));
    let usr = attr(&stack, "usr");
    assert_eq!((usr.kind, usr.mode, usr.nlink, usr.mtime.seconds), (Kind::Directory, 0o755, 4, 1000));
    let sh = attr(&stack, "usr/bin/sh");
    assert_eq!((sh.kind, sh.mode, sh.nlink, sh.size, sh.blocks), (Kind::File, 0o644, 1, 10_000, 24));
    assert_eq!(attr(&stack, "etc/link").size, 6);
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in ["", ".", "..", "a/b", "a\0", &"x".repeat(256)] {
        assert_eq!(refused(|tree| tree.dir(1, name)), "the name cannot be one");
    }
    refused_not(|tree| tree.dir(1, &"x".repeat(255)));
}

fn refused_not(add: impl FnOnce(&mut Builder) -> u32) {
    let mut builder = sample();
    add(&mut builder);
    drop(builder.stack());
}

#[test]
fn parents_must_be_directories_before() {
    let reason = "the parent is not a directory before it";
    assert_eq!(refused(|tree| tree.dir(2, "below a file")), reason);
    assert_eq!(refused(|tree| tree.dir(3, "below a link")), reason);
    assert_eq!(refused(|tree| tree.dir(9999, "nowhere")), reason);
    assert_eq!(
        refused(|tree| {
            let own = u32::try_from(tree.index.entries.len()).unwrap();
            tree.dir(own, "in itself")
        }),
        reason
    );
}

#[test]
fn names_are_unique_in_a_directory() {
    let mut builder = sample();
    builder.file(1, "passwd", b"again");
    assert_eq!(refusal(&builder).reason, "the name is there twice");
    refused_not(|tree| tree.file(0, "passwd", b"elsewhere"));
}

#[test]
fn files_lie_in_the_data() {
    let reason = "the file lies outside of the data";
    for (offset, len) in [(0, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX), (1 << 40, 0), (0, 1 << 20)] {
        assert_eq!(refused(|tree| tree.add(0, "bad", 0o644, TreeNode::File { offset, len })), reason);
    }
}

#[test]
fn modes_and_targets_are_checked() {
    assert_eq!(refused(|tree| tree.add(0, "bad", 0o10_0644, TreeNode::Directory)), "the mode has bits beyond 07777");
    for target in ["", "a\0b", &"x".repeat(4096)] {
        assert_eq!(refused(|tree| tree.link(0, "bad", target)), "the link's target cannot be one");
    }
}

#[test]
fn there_must_be_a_root() {
    let mut builder = Builder::new();
    builder.index.entries.clear();
    assert_eq!(refusal(&builder).reason, "there is no root");
    for spoil in [
        (|tree| tree.index.entries[0].parent = 1) as fn(&mut Builder),
        |tree| tree.index.entries[0].name = b"root".to_vec(),
        |tree| tree.index.entries[0].node = TreeNode::Symlink { target: b"x".to_vec() },
    ] {
        let mut builder = Builder::new();
        spoil(&mut builder);
        assert_eq!(refusal(&builder).entry, 0);
    }
}

#[test]
fn a_further_name_needs_a_file_before_it() {
    let reason = "the first name is no file before it";
    // The root, a directory, a link, itself, one that is not there.
    for first in [0, 1, 3, 1000, u32::MAX] {
        assert_eq!(refused(|tree| tree.hard_link(0, "bad", first)), reason, "{first}");
    }
    let mut builder = sample();
    let file = builder.file(0, "file", b"");
    let second = builder.hard_link(0, "second", file);
    builder.hard_link(0, "bad", second);
    assert_eq!(refusal(&builder).reason, reason);
}
