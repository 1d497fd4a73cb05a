//! What a walk tells of a folder of the host that was changed for the sandbox alone, applied to the tree with the folder in it.
use alloc::vec::Vec;

use control::diff::{Defect, Record};
use ninep::double::Folder;

use super::binds::{bind, folder};
use super::changes::{apply, change, decoded, same, tree, walk};
use super::{Builder, Random, at, root, sample, write};
use crate::{Bind, BindMode, Ino, Kind, RenameMode, SetAttr, Stack};

/// The sample tree with a folder over `etc`.
fn bound<'b>(builder: &'b Builder, folder: &Folder, merge: bool) -> Stack<'b> {
    let mut stack = builder.stack();
    let except = [b"dir/secret".to_vec()].into();
    stack.bind(Bind { merge, except, ..bind(folder, BindMode::CopyOnWrite) }).unwrap();
    stack
}

/// Wants the changes to lead from the tree with the folder in it to what there is.
fn check(builder: &Builder, folder: &Folder, merge: bool, stack: Stack<'_>) {
    let now = tree(&stack);
    let mut base = tree(&bound(builder, &folder.again(), merge));
    let records = walk(stack);
    apply(&mut base, &decoded(&records));
    same(&base, &now);
}

/// Names of what is told, in their order.
fn told(records: &[Vec<u8>]) -> Vec<std::string::String> {
    let text = |name: &[u8]| std::string::String::from_utf8_lossy(name).into_owned();
    let told = |record: &Record<'_>| match *record {
        Record::Enter { name, .. } => Some(text(name) + "/"),
        Record::Removed { name } => Some(text(name) + " gone"),
        Record::File { name, .. } | Record::Symlink { name, .. } => Some(text(name)),
        Record::Link { name, .. } => Some(text(name) + " too"),
        _ => None,
    };
    decoded(records).iter().filter_map(told).collect()
}

#[test]
fn what_nobody_changed_is_not_told() {
    let (builder, folder) = (sample(), folder());
    let stack = bound(&builder, &folder, false);
    tree(&stack);
    assert_eq!(decoded(&walk(stack)), [Record::End]);
    // Nor is anything of folders that are changed on the host, or cannot be.
    for mode in [BindMode::Direct, BindMode::ReadOnly] {
        let mut stack = builder.stack();
        stack.bind(bind(&folder, mode)).unwrap();
        let etc = at(&stack, "etc");
        let _ = stack.mknod(&root(1), etc, b"new", Kind::File, 0o600);
        assert_eq!(decoded(&walk(stack)), [Record::End]);
    }
}

#[test]
fn what_was_changed_is_told_in_its_place() {
    let (builder, folder) = (sample(), folder());
    let mut stack = bound(&builder, &folder, false);
    let (etc, dir, ctx) = (at(&stack, "etc"), at(&stack, "etc/dir"), root(7));
    let b = at(&stack, "etc/dir/b");
    write(&mut stack, &ctx, b, 1, b"XY").unwrap();
    stack.mknod(&ctx, dir, b"new", Kind::File, 0o600).unwrap();
    stack.unlink(&ctx, etc, b"a").unwrap();
    let records = walk(stack);
    assert_eq!(told(&records), ["/", "etc/", "a gone", "dir/", "b", "new"]);
    // The same once more, for its effect.
    let mut stack = bound(&builder, &folder, false);
    let (etc, b) = (at(&stack, "etc"), at(&stack, "etc/dir/b"));
    write(&mut stack, &ctx, b, 1, b"XY").unwrap();
    stack.unlink(&ctx, etc, b"a").unwrap();
    stack.mkdir(&ctx, etc, b"a", 0o700).unwrap();
    check(&builder, &folder, false, stack);
}

#[test]
fn what_moves_out_of_the_folder_takes_the_hosts_files_along() {
    let (builder, folder) = (sample(), folder());
    folder.directory("dir/below");
    folder.file("dir/below/c", &[9; 20_000]);
    folder.file("dir/secret", b"");
    let mut stack = bound(&builder, &folder, false);
    let (etc, ctx) = (at(&stack, "etc"), root(7));
    stack.rename(&ctx, (etc, b"dir"), (Ino::ROOT, b"out"), RenameMode::Replace).unwrap();
    stack.mkdir(&ctx, etc, b"dir", 0o700).unwrap();
    let shown = tree(&stack);
    assert!(shown.contains_key("/out/below/c") && !shown.contains_key("/out/secret"));
    check(&builder, &folder, false, stack);
}

#[test]
fn further_names_on_the_host_are_found() {
    let (builder, folder) = (sample(), folder());
    folder.directory("other");
    folder.hard_link("dir/b", "other/same");
    let mut stack = bound(&builder, &folder, false);
    let b = at(&stack, "etc/dir/b");
    write(&mut stack, &root(7), b, 0, b"new").unwrap();
    let records = walk(stack);
    assert_eq!(told(&records), ["/", "etc/", "other/", "same", "dir/", "b too"]);
}

#[test]
fn a_host_that_lost_what_is_needed_is_a_defect_and_what_was_copied_is_not_lost() {
    let (builder, folder) = (sample(), folder());
    let ctx = root(7);
    let changed = || {
        let mut stack = bound(&builder, &folder, false);
        let (etc, b) = (at(&stack, "etc"), at(&stack, "etc/dir/b"));
        write(&mut stack, &ctx, b, 0, b"new").unwrap();
        (stack, etc)
    };
    let (stack, _) = changed();
    folder.remove("dir");
    assert_eq!(told(&walk(stack)), ["/", "etc/", "dir/", "b"]);
    folder.directory("moves");
    folder.file("moves/file", b"bytes");
    folder.directory("dir");
    folder.file("dir/b", b"two");
    let (mut stack, etc) = changed();
    stack.rename(&ctx, (etc, b"moves"), (Ino::ROOT, b"out"), RenameMode::Replace).unwrap();
    folder.spoil(alloc::boxed::Box::new(|_| None));
    let records = walk(stack);
    assert_eq!(decoded(&records).last(), Some(&Record::Failed { defect: Defect::Folder }));
}

#[test]
fn random_changes_of_a_folder() {
    for seed in 0..100 {
        let (builder, folder, mut random) = (sample(), folder(), Random(seed));
        let merge = seed % 2 == 0;
        folder.file("passwd", b"over the tree's");
        folder.file("dir/secret", b"never seen");
        folder.directory("dir/deep");
        folder.file("dir/deep/file", &[3; 9000]);
        folder.hard_link("dir/deep/file", "dir/same");
        let mut stack = bound(&builder, &folder, merge);
        for step in 0..random.below(60) {
            change(&mut stack, &mut random, i64::try_from(step).unwrap());
        }
        assert!(!tree(&stack).keys().any(|path| path.ends_with("secret")));
        check(&builder, &folder, merge, stack);
    }
}

#[test]
fn a_changed_directory_of_the_folder_keeps_its_attributes() {
    let (builder, folder) = (sample(), folder());
    let mut stack = bound(&builder, &folder, true);
    let dir = at(&stack, "etc/dir");
    stack.setattr(&root(7), dir, &SetAttr { mode: Some(0o700), ..SetAttr::default() }, false).unwrap();
    check(&builder, &folder, true, stack);
}
