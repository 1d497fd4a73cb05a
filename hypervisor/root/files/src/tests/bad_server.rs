//! Folders whose server answers nonsense: nothing panics, nothing hangs, and what is not the folder's is as it was.
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::binds::{bind, folder};
use super::{Builder, Random, at, contents, list, root, sample, write};
use crate::{Access, Bind, BindMode, Changes, Errno, Ino, Kind, RenameMode, SetAttr, SetXattr, Stack};
use ninep::double::Folder;

/// Type of `Rreaddir`.
const READDIR_REPLY: u8 = 41;
/// More than any walk over what is changed here can take, unless it goes on for ever.
const STEPS_MAX: usize = 100_000;

/// One entry of a directory as the server tells it.
fn entry(qid: (u8, u64), offset: u64, kind: u8, name: &[u8]) -> Vec<u8> {
    let len = u16::try_from(name.len()).unwrap().to_le_bytes();
    let (path, offset) = (qid.1.to_le_bytes(), offset.to_le_bytes());
    [&[qid.0, 0, 0, 0, 0][..], &path, &offset, &[kind], &len, name].concat()
}

/// The server's answer with these entries in it.
fn with_entries(message: &[u8], entries: &[u8]) -> Vec<u8> {
    let number = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
    [&number(11 + entries.len())[..], &message[4..7], &number(entries.len()), entries].concat()
}

/// What a directory holds in the answer of this number.
type Entries = fn(u64) -> Vec<u8>;

/// A stack over a folder whose directories are listed by `entries`, which is given how many answers there were before.
fn listed(builder: &Builder, entries: impl Fn(u64) -> Vec<u8> + 'static) -> (Stack<'_>, Folder) {
    let folder = folder();
    let mut stack = builder.stack();
    stack.bind(bind(&folder, BindMode::CopyOnWrite)).unwrap();
    let mut answers = 0;
    folder.spoil(Box::new(move |message| {
        if message[4] != READDIR_REPLY {
            return Some(message);
        }
        answers += 1;
        Some(with_entries(&message, &entries(answers - 1)))
    }));
    (stack, folder)
}

#[test]
fn directories_without_end_are_refused() {
    let builder = sample();
    let new = |answer: u64| entry((0, answer), answer + 1, 8, std::format!("{answer}").as_bytes());
    let endless: [(Entries, &str); 3] = [
        (new, "new names"),
        (|_| entry((0, 1), 1, 8, b"same"), "one name and no way forward"),
        (|_| [entry((0, 1), 9, 8, b"a"), entry((0, 2), 0, 8, b"b")].concat(), "back to the start"),
    ];
    for (entries, what) in endless {
        let (stack, _folder) = listed(&builder, entries);
        assert_eq!(stack.next_entry(at(&stack, "etc"), 0, u64::MAX), Err(Errno::ENFILE), "{what}");
    }
}

#[test]
fn entries_that_cannot_be_are_refused_or_left_out() {
    let builder = sample();
    let once = |entries: Vec<u8>| move |answer| if answer % 2 == 0 { entries.clone() } else { Vec::new() };
    let bad = [&b"a/b"[..], b"", b"a\0", &[b'n'; 256]];
    for name in bad {
        let (stack, _folder) = listed(&builder, once(entry((0, 1), 1, 8, name)));
        assert_eq!(stack.next_entry(at(&stack, "etc"), 0, u64::MAX), Err(Errno::EIO), "{name:?}");
    }
    let mut short = entry((0, 1), 1, 8, b"name");
    short.pop();
    let (stack, _folder) = listed(&builder, once(short));
    assert_eq!(stack.next_entry(at(&stack, "etc"), 0, u64::MAX), Err(Errno::EIO));
    // `..` is the stack's own, a device is not there, and a name is there once.
    let entries = [(4, &b".."[..]), (4, b"."), (2, b"device"), (8, b"twice"), (8, b"twice"), (0, b"unknown")];
    let entries: Vec<u8> = entries.iter().flat_map(|(kind, name)| entry((0, 7), 1, *kind, name)).collect();
    let (stack, _folder) = listed(&builder, once(entries));
    let etc = at(&stack, "etc");
    stack.next_entry(etc, 0, u64::MAX).unwrap();
    assert_eq!(list(&stack, etc), [b"twice"]);
    assert_eq!(stack.lookup(&root(0), etc, b".."), Ok(Ino::ROOT));
}

/// Each directory holds itself, in the listing and when it is looked up.
#[test]
fn a_directory_in_itself_is_an_error() {
    let (builder, folder) = (sample(), folder());
    let mut stack = builder.stack();
    stack.bind(bind(&folder, BindMode::CopyOnWrite)).unwrap();
    folder.hard_link("dir", "dir/dir");
    let dir = at(&stack, "etc/dir");
    assert_eq!(stack.lookup(&root(0), dir, b"dir"), Err(Errno::EIO));
    assert_eq!(stack.rename(&root(0), (dir, b"b"), (dir, b"dir"), RenameMode::Replace), Err(Errno::EIO));
    assert_eq!(stack.directory_path(dir), b"/etc/dir");
}

/// What has one number is one thing: a file that turns into a directory is another.
#[test]
fn what_a_number_stands_for_can_change() {
    let (builder, folder) = (sample(), folder());
    let mut stack = builder.stack();
    stack.bind(bind(&folder, BindMode::Direct)).unwrap();
    let a = at(&stack, "etc/a");
    stack.check_open(&root(1), a, Access::READ, false).unwrap();
    folder.spoil(Box::new(|mut message| {
        // The qids of `Rgetattr` and `Rlopen`: another number, another type.
        let at = if message[4] == 25 { 15 } else { 7 };
        if matches!(message[4], 13 | 25) {
            message[at] ^= 0x80;
            message[at + 5] ^= 1;
        }
        Some(message)
    }));
    assert_eq!(stack.setattr(&root(1), a, &SetAttr { mode: Some(0), ..SetAttr::default() }, true), Err(Errno::EIO));
    assert!(write(&mut stack, &root(1), a, 0, b"x").is_err());
    folder.behave();
    assert_eq!(folder.bytes("a").unwrap(), b"one");
}

/// A program that does one thing with one file or directory.
fn act(stack: &mut Stack<'_>, random: &mut Random, known: &mut Vec<Ino>) {
    let ctx = root(1);
    let (one, other) = (random.pick(known), random.pick(known));
    let name = random.pick(&[&b"a"[..], b"dir", b"b", b"link", b"passwd", b"secret"]);
    let mode = random.pick(&[RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]);
    match random.below(22) {
        0..4 => known.extend(stack.lookup(&ctx, one, name)),
        4 => drop(stack.attr(one)),
        5 => drop(stack.read(one, 0, 5000, |_| Ok(()))),
        6 => drop(write(stack, &ctx, one, 0, b"bytes")),
        7 => drop(stack.unlink(&ctx, one, name)),
        8 => drop(stack.rename(&ctx, (one, name), (other, b"new"), mode)),
        9 => known.extend(stack.mkdir(&ctx, one, name, 0o755)),
        10 => drop(stack.readlink(one).map(drop)),
        11 => known.extend(stack.mknod(&ctx, one, name, random.pick(&[Kind::File, Kind::Fifo]), 0o600)),
        12 => drop(stack.symlink(&ctx, one, name, b"target")),
        13 => drop(stack.link(&ctx, one, other, name)),
        14 => drop(stack.rmdir(&ctx, one, name)),
        15 => {
            let set = SetAttr { mode: Some(0o640), size: Some(random.next() % 9000), ..SetAttr::default() };
            let _ = stack.setattr(&ctx, one, &set, false);
        }
        16 => drop(stack.statfs(one).map(|_| stack.sync(one))),
        17 => {
            if stack.check_open(&ctx, one, Access::READ, random.below(2) == 0).is_ok() {
                stack.opened(one);
                let _ = stack.next_data(one, 0).and(stack.next_hole(one, 0));
                stack.closed(one);
            }
        }
        18 => drop(stack.set_xattr(&ctx, one, b"user.a", b"1", SetXattr::Any)),
        19 => stack.tidy(),
        _ => {
            let mut offset = 0;
            for _ in 0..50 {
                let Ok(Some(entry)) = stack.next_entry(one, offset, u64::MAX) else { break };
                offset = entry.next;
            }
        }
    }
    assert!(stack.directory_path(one).len() < 100_000);
}

/// A message with some bytes exchanged, or none at all.
fn bent(bad: &mut Random, mut message: Vec<u8>) -> Option<Vec<u8>> {
    if bad.below(2) == 0 {
        return Some(message);
    }
    for _ in 0..bad.below(3) {
        let at = 7 + bad.below(message.len().saturating_sub(7).max(1));
        if let Some(byte) = message.get_mut(at) {
            *byte = bad.pick(&[0, 1, 0x80, b'/', 255, 2, 3]);
        }
    }
    if message[4] == READDIR_REPLY && bad.below(4) == 0 {
        let name = bad.pick(&[&b".."[..], b"dir", b"a", b"a/b", b"passwd", b"deep"]);
        let qid = (bad.pick(&[0, 0x80]), bad.next() % 6);
        message = with_entries(&message, &entry(qid, bad.next() % 9, bad.pick(&[4, 8, 10]), name));
    }
    (bad.below(40) != 0).then_some(message)
}

/// A server that bends its answers, and programs that use it. How many things were done.
fn fuzz(rounds: u64) -> u64 {
    let builder = sample();
    let mut done = 0;
    for round in 0..rounds {
        let folder = folder();
        let mode = [BindMode::ReadOnly, BindMode::CopyOnWrite, BindMode::Direct][usize::try_from(round % 3).unwrap()];
        let mut stack = builder.stack();
        let except = [b"dir/secret".to_vec(), b"secret".to_vec()].into();
        stack.bind(Bind { merge: round % 2 == 0, except, ..bind(&folder, mode) }).unwrap();
        let mut known: Vec<Ino> =
            ["etc", "etc/dir", "etc/dir/b", "etc/a", "etc/link"].map(|path| at(&stack, path)).into();
        known.push(Ino::ROOT);
        let mut bad = Random(round);
        folder.spoil(Box::new(move |message| bent(&mut bad, message)));
        let mut random = Random(!round);
        for _ in 0..60 {
            act(&mut stack, &mut random, &mut known);
            done += 1;
        }
        let ls = at(&stack, "usr/bin/ls");
        let changed = stack.attr(ls).unwrap().size != 2;
        assert!(changed || contents(&stack, ls) == b"ls");
        let mut changes = Changes::of(stack);
        let ends = (0..STEPS_MAX).any(|_| !changes.step(|_| ()));
        assert!(ends, "round {round}: the walk over the changes does not end");
    }
    done
}

#[test]
fn a_bad_server_harms_nobody() {
    fuzz(300);
}

#[test]
#[ignore = "long: minutes; `cargo test --release -p files -- --ignored --nocapture`"]
fn a_bad_server_harms_nobody_for_long() {
    std::println!("{} operations", fuzz(400_000));
}
