//! What a walk over the changes tells, applied to the lower tree, is the tree that there is.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::HashMap;
use std::string::{String, ToString};

use control::diff::{Attributes, Defect, Record};

use super::{Builder, LIMITS, Random, at, contents, root, sample, write};
use crate::{Changes, Errno, Ino, Kind, NAME_MAX, RenameMode, SetAttr, SetXattr, Stack};

/// A tree by its paths: what is there, and what says that two names are one file.
pub(super) type Tree = BTreeMap<String, Item>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    kind: Kind,
    attributes: Attributes,
    bytes: Vec<u8>,
    /// The first path of the same inode.
    first: String,
}

/// The tree as the stack shows it.
pub(super) fn tree(stack: &Stack<'_>) -> Tree {
    let mut tree = Tree::new();
    let mut firsts: HashMap<Ino, String> = HashMap::new();
    let mut rest = vec![(String::new(), Ino::ROOT)];
    while let Some((path, ino)) = rest.pop() {
        let attr = stack.attr(ino).unwrap();
        let bytes = match attr.kind {
            Kind::File => contents(stack, ino),
            Kind::Symlink => stack.readlink(ino).unwrap().to_vec(),
            _ => Vec::new(),
        };
        let attributes = Attributes {
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            seconds: attr.mtime.seconds,
            nanoseconds: attr.mtime.nanoseconds,
        };
        if attr.kind == Kind::Directory {
            // A folder's directory is listed anew from its start.
            stack.next_entry(ino, 0, u64::MAX).unwrap();
            rest.extend(super::list(stack, ino).into_iter().map(|name| {
                let child = stack.lookup(&root(0), ino, &name).unwrap();
                (std::format!("{path}/{}", String::from_utf8_lossy(&name)), child)
            }));
        }
        let first = firsts.entry(ino).or_insert_with(|| path.clone()).clone();
        if attr.kind != Kind::Socket {
            tree.insert(path, Item { kind: attr.kind, attributes, bytes, first });
        }
    }
    // Whichever name came first: the least stands for all.
    let mut least: HashMap<String, String> = HashMap::new();
    for (path, item) in &tree {
        least.entry(item.first.clone()).or_insert_with(|| path.clone());
    }
    tree.values_mut().for_each(|item| item.first = least[&item.first].clone());
    tree
}

/// All records of a walk, each as it was told.
pub(super) fn walk(stack: Stack<'_>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut changes = Changes::of(stack);
    let mut go = true;
    while go {
        go = changes.step(|record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            records.push(bytes);
        });
    }
    records
}

pub(super) fn decoded(records: &[Vec<u8>]) -> Vec<Record<'_>> {
    records.iter().map(|record| Record::decode(record).unwrap().unwrap().0).collect()
}

/// Applies records to a tree as whoever unpacks a layer does.
pub(super) fn apply(base: &mut Tree, records: &[Record<'_>]) {
    let mut here: Vec<String> = Vec::new();
    let mut by_number: HashMap<u64, String> = HashMap::new();
    let mut last = String::new();
    let path = |here: &[String], name: &[u8]| {
        let parent = here.last().cloned().unwrap_or_default();
        if name.is_empty() { parent } else { std::format!("{parent}/{}", String::from_utf8_lossy(name)) }
    };
    fn remove(base: &mut Tree, path: &str) {
        base.retain(|known, _| known != path && !known.starts_with(&std::format!("{path}/")));
    }
    for record in records {
        match *record {
            Record::Enter { name, attributes, opaque } => {
                let path = path(&here, name);
                if opaque || base.get(&path).is_none_or(|item| item.kind != Kind::Directory) {
                    remove(base, &path);
                }
                let first = path.clone();
                base.insert(path.clone(), Item { kind: Kind::Directory, attributes, bytes: Vec::new(), first });
                here.push(path);
            }
            Record::Leave => drop(here.pop().unwrap()),
            Record::Removed { name } => {
                let path = path(&here, name);
                assert!(base.contains_key(&path), "{path} is not there");
                remove(base, &path);
            }
            Record::File { name, attributes, ino, .. }
            | Record::Symlink { name, attributes, ino, .. }
            | Record::Fifo { name, attributes, ino } => {
                let path = path(&here, name);
                remove(base, &path);
                let (kind, bytes) = match record {
                    Record::File { .. } => (Kind::File, Vec::new()),
                    Record::Symlink { target, .. } => (Kind::Symlink, target.to_vec()),
                    _ => (Kind::Fifo, Vec::new()),
                };
                base.insert(path.clone(), Item { kind, attributes, bytes, first: path.clone() });
                by_number.insert(ino, path.clone());
                last = path;
            }
            Record::Data(bytes) => base.get_mut(&last).unwrap().bytes.extend_from_slice(bytes),
            Record::Zeros(len) => {
                let bytes = &mut base.get_mut(&last).unwrap().bytes;
                bytes.resize(bytes.len() + usize::try_from(len).unwrap(), 0);
            }
            Record::Link { name, ino } => {
                let path = path(&here, name);
                remove(base, &path);
                let item = base[&by_number[&ino]].clone();
                base.insert(path, item);
            }
            Record::Xattr { .. } | Record::Socket { .. } => {}
            Record::End => assert!(here.is_empty()),
            Record::Failed { defect } => panic!("{defect:?}"),
        }
    }
    let mut least: HashMap<String, String> = HashMap::new();
    for (path, item) in base.iter() {
        least.entry(item.first.clone()).or_insert_with(|| path.clone());
    }
    base.values_mut().for_each(|item| item.first = least[&item.first].clone());
}

/// Wants the changes to lead from the lower tree to what there is.
fn check(builder: &Builder, stack: Stack<'_>) {
    let now = tree(&stack);
    let mut base = tree(&builder.stack());
    let records = walk(stack);
    apply(&mut base, &decoded(&records));
    same(&base, &now);
}

/// Wants two trees to be the same.
pub(super) fn same(one: &Tree, other: &Tree) {
    for (path, item) in other {
        assert_eq!(one.get(path), Some(item), "{path}");
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn nothing_changed_is_nothing_told() {
    let builder = sample();
    assert_eq!(decoded(&walk(builder.stack())), [Record::End]);
    // What was copied up and is the same again is no change either.
    let mut stack = builder.stack();
    let passwd = at(&stack, "etc/passwd");
    stack.setattr(&root(1), passwd, &SetAttr { mode: Some(0o644), ..SetAttr::default() }, false).unwrap();
    assert_eq!(decoded(&walk(stack)), [Record::End]);
}

#[test]
fn a_write_is_told_with_the_way_to_it() {
    let builder = sample();
    let mut stack = builder.stack();
    let sh = at(&stack, "usr/bin/sh");
    write(&mut stack, &root(9), sh, 40_000, b"end").unwrap();
    let records = walk(stack);
    let told: Vec<String> = decoded(&records)
        .iter()
        .map(|record| match record {
            Record::Enter { name, .. } => std::format!("enter {}", String::from_utf8_lossy(name)),
            Record::File { name, len, .. } => std::format!("file {} {len}", String::from_utf8_lossy(name)),
            Record::Data(bytes) => std::format!("data {}", bytes.len()),
            Record::Zeros(len) => std::format!("zeros {len}"),
            other => std::format!("{other:?}"),
        })
        .collect();
    assert_eq!(told[..4], ["enter ", "enter usr", "enter bin", "file sh 40003"]);
    assert_eq!(told[told.len() - 4..], ["Leave", "Leave", "Leave", "End"]);
    let pieces = told[4..told.len() - 4].iter().map(|line| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap());
    assert_eq!(pieces.sum::<usize>(), 40_003, "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("zeros ")), "{told:?}");
}

#[test]
fn deleting_replacing_moving_and_linking() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(77);
    let (etc, usr, tmp) = (at(&stack, "etc"), at(&stack, "usr"), at(&stack, "tmp"));
    let bin = at(&stack, "usr/bin");
    stack.unlink(&ctx, etc, b"link").unwrap();
    // A directory in a file's place, and a file in a directory's.
    stack.unlink(&ctx, etc, b"passwd").unwrap();
    let passwd = stack.mkdir(&ctx, etc, b"passwd", 0o700).unwrap();
    stack.symlink(&ctx, passwd, b"s", b"../x").unwrap();
    stack.rmdir(&ctx, usr, b"empty").unwrap();
    stack.mknod(&ctx, usr, b"empty", Kind::Fifo, 0o600).unwrap();
    // A directory that moves, one that is opaque in its place, and names across both.
    stack.rename(&ctx, (usr, b"bin"), (tmp, b"old"), RenameMode::Replace).unwrap();
    let new = stack.mkdir(&ctx, usr, b"bin", 0o711).unwrap();
    let sh = stack.lookup(&ctx, bin, b"sh").unwrap();
    stack.link(&ctx, sh, new, b"sh").unwrap();
    stack.mknod(&ctx, new, b"socket", Kind::Socket, 0o600).unwrap();
    check(&builder, stack);
}

#[test]
fn all_names_of_a_moved_file_are_told() {
    let mut builder = Builder::new();
    let (kept, moved) = (builder.dir(0, "kept"), builder.dir(0, "moved"));
    let first = builder.file(kept, "a", b"bytes");
    builder.hard_link(moved, "b", first);
    let renamed = || {
        let mut stack = builder.stack();
        stack.rename(&root(1), (Ino::ROOT, b"moved"), (Ino::ROOT, b"new"), RenameMode::Replace).unwrap();
        stack
    };
    let files = |records: &[Record<'_>]| {
        let files = records.iter().filter(|record| matches!(record, Record::File { .. })).count();
        (files, records.iter().filter(|record| matches!(record, Record::Link { .. })).count())
    };
    assert_eq!(files(&decoded(&walk(renamed()))), (1, 1));
    check(&builder, renamed());
    // One name less is no change of the others.
    let mut stack = builder.stack();
    let moved = at(&stack, "moved");
    stack.unlink(&root(1), moved, b"b").unwrap();
    assert_eq!(files(&decoded(&walk(stack))), (0, 0));
}

#[test]
fn extended_attributes_are_told_before_what_has_them() {
    let builder = sample();
    let mut stack = builder.stack();
    let etc = at(&stack, "etc");
    stack.set_xattr(&root(1), etc, b"user.a", b"1", SetXattr::Any).unwrap();
    let records = walk(stack);
    let told = decoded(&records);
    assert!(matches!(told[0], Record::Enter { name: b"", .. }));
    assert_eq!(told[1], Record::Xattr { name: b"user.a", value: b"1" });
    assert!(matches!(told[2], Record::Enter { name: b"etc", .. }));
}

#[test]
fn a_path_that_is_too_long_ends_the_walk() {
    let builder = sample();
    let mut stack = builder.stack();
    let name = [b'n'; NAME_MAX];
    let mut dir = Ino::ROOT;
    for _ in 0..16 {
        dir = stack.mkdir(&root(1), dir, &name, 0o700).unwrap();
    }
    let last = |stack: Stack<'_>| {
        let records = walk(stack);
        let failed = Record::Failed { defect: Defect::LongPath };
        decoded(&records).last() == Some(&failed)
    };
    // 16 names of 255 bytes and their slashes are 4096 bytes: one too many.
    assert!(last(stack));
}

#[test]
fn random_changes() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut builder = sample();
        let first = builder.file(0, "several", b"names");
        let dir = builder.dir(0, "dir");
        builder.hard_link(dir, "other", first);
        builder.hard_link(0, "third", first);
        let mut stack = builder.stack_with(LIMITS);
        for step in 0..random.below(60) {
            change(&mut stack, &mut random, i64::try_from(step).unwrap());
        }
        check(&builder, stack);
    }
}

/// Does something somewhere, or fails to.
pub(super) fn change(stack: &mut Stack<'_>, random: &mut Random, step: i64) {
    let mut ctx = root(2000 + step);
    ctx.now.nanoseconds = 5;
    let directories: Vec<Ino> =
        tree(stack).iter().filter(|(_, item)| item.kind == Kind::Directory).map(|(path, _)| at(stack, path)).collect();
    let (dir, other) = (random.pick(&directories), random.pick(&directories));
    let entries = super::list(stack, dir);
    let name = if entries.is_empty() { b"none".to_vec() } else { entries[random.below(entries.len())].clone() };
    let new = if random.below(3) == 0 { name.clone() } else { random.below(9).to_string().into_bytes() };
    let ino = stack.lookup(&ctx, dir, &name);
    // What fails changes nothing, which is as good a change as any.
    let _: Result<(), Errno> = match random.below(11) {
        0 => stack.mknod(&ctx, dir, &new, Kind::File, 0o640).map(drop),
        1 => stack.mkdir(&ctx, dir, &new, 0o750).map(drop),
        2 => stack.symlink(&ctx, dir, &new, b"target").map(drop),
        3 => stack.mknod(&ctx, dir, &new, random.pick(&[Kind::Fifo, Kind::Socket]), 0o600).map(drop),
        4 => stack.unlink(&ctx, dir, &name),
        5 => stack.rmdir(&ctx, dir, &name),
        6 | 7 => {
            let mode = random.pick(&[RenameMode::Replace, RenameMode::Replace, RenameMode::Exchange]);
            stack.rename(&ctx, (dir, &name), (other, &new), mode)
        }
        8 => ino.and_then(|ino| stack.link(&ctx, ino, other, &new)),
        9 => ino.and_then(|ino| write(stack, &ctx, ino, random.next() % 30_000, &[1; 5000]).map(drop)),
        _ => ino.and_then(|ino| {
            let set = SetAttr { mode: Some(0o600), size: Some(random.next() % 20_000), ..SetAttr::default() };
            stack.setattr(&ctx, ino, &set, false)
        }),
    };
}
