//! File content: holes, ends, space.
use alloc::vec;
use alloc::vec::Vec;

use super::{LIMITS, Random, at, contents, root, sample, write};
use crate::{Errno, Ino, Kind, Limits, SetAttr, Stack};

const MAX: u64 = i64::MAX as u64;

fn resize(stack: &mut Stack<'_>, ino: Ino, size: u64) -> Result<(), Errno> {
    stack.setattr(&root(1), ino, &SetAttr { size: Some(size), ..SetAttr::default() }, false)
}

fn new_file(stack: &mut Stack<'_>) -> Ino {
    stack.mknod(&root(1), Ino::ROOT, b"f", Kind::File, 0o644).unwrap()
}

fn pages(stack: &Stack<'_>) -> u64 {
    stack.statfs(Ino::ROOT).unwrap().blocks - stack.statfs(Ino::ROOT).unwrap().blocks_free
}

#[test]
fn memory_that_is_given_can_shrink_below_what_is_used_and_grow_again() {
    let builder = sample();
    let mut stack = builder.stack();
    let ino = new_file(&mut stack);
    let page = |stack: &mut Stack<'_>, number: u64| {
        stack.write(&root(1), ino, Some(number * 4096), 4096, |run| {
            run.fill(7);
            Ok(())
        })
    };
    let used = stack.memory();
    stack.set_memory(used + 2 * 4352);
    assert_eq!((page(&mut stack, 0), page(&mut stack, 1), stack.is_full()), (Ok(4096), Ok(4096), true));
    assert_eq!((page(&mut stack, 2), stack.memory()), (Err(Errno::ENOSPC), used + 2 * 4352));
    assert_eq!(stack.mknod(&root(1), Ino::ROOT, b"g", Kind::File, 0o644), Err(Errno::ENOSPC));
    stack.set_memory(0);
    assert_eq!(
        (page(&mut stack, 1), page(&mut stack, 2)),
        (Ok(4096), Err(Errno::ENOSPC)),
        "what is there can be changed"
    );
    stack.set_memory(u64::MAX);
    assert_eq!((page(&mut stack, 2), stack.is_full()), (Ok(4096), false));
}

#[test]
fn offsets_near_the_end_of_everything() {
    let builder = sample();
    let mut stack = builder.stack();
    let file = new_file(&mut stack);
    assert_eq!(write(&mut stack, &root(1), file, MAX, b"x"), Err(Errno::EFBIG));
    assert_eq!(write(&mut stack, &root(1), file, u64::MAX, b"x"), Err(Errno::EFBIG));
    assert_eq!(write(&mut stack, &root(1), file, u64::MAX, b""), Ok(0));
    assert_eq!(stack.attr(file).unwrap().size, 0);
    assert_eq!(write(&mut stack, &root(1), file, MAX - 2, b"abcdef"), Ok(2), "as much as fits");
    assert_eq!(stack.attr(file).unwrap().size, MAX);
    assert_eq!(pages(&stack), 1);
    let mut seen = Vec::new();
    let read = stack.read(file, MAX - 4, usize::MAX, |run| {
        seen.extend_from_slice(run);
        Ok(())
    });
    assert_eq!((read, &seen[..]), (Ok(4), &b"\0\0ab"[..]));
    assert_eq!(stack.read(file, u64::MAX, 10, |_| Err(Errno::EFAULT)), Ok(0));
    assert_eq!(stack.next_data(file, 0), Ok(MAX / 4096 * 4096));
    assert_eq!(stack.next_hole(file, 0), Ok(0));
    assert_eq!(stack.next_hole(file, MAX - 1), Ok(MAX));
    assert_eq!(stack.next_hole(file, MAX), Err(Errno::ENXIO));
    assert_eq!(stack.next_data(file, u64::MAX), Err(Errno::ENXIO));
    assert_eq!(stack.fallocate(&root(1), file, 0, MAX, 3), Ok(()));
    assert_eq!(pages(&stack), 1, "the last page is punched in part only");
    assert_eq!(stack.fallocate(&root(1), file, MAX, MAX, 0), Err(Errno::EFBIG));
    assert_eq!(stack.fallocate(&root(1), file, u64::MAX, u64::MAX, 3), Ok(()));
    assert_eq!(stack.fallocate(&root(1), file, 0, MAX, 0), Err(Errno::ENOSPC));
    assert_eq!(stack.fallocate(&root(1), file, 0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(resize(&mut stack, file, MAX + 1), Err(Errno::EFBIG));
    assert_eq!(resize(&mut stack, file, 0), Ok(()));
    assert_eq!(pages(&stack), 0);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let builder = sample();
    let mut stack = builder.stack();
    let sh = at(&stack, "usr/bin/sh");
    resize(&mut stack, sh, 5000).unwrap();
    assert_eq!(pages(&stack), 0);
    resize(&mut stack, sh, 9000).unwrap();
    let mut expected = vec![7; 5000];
    expected.resize(9000, 0);
    assert_eq!(contents(&stack, sh), expected);
    write(&mut stack, &root(1), sh, 4096, b"abcdefgh").unwrap();
    resize(&mut stack, sh, 4100).unwrap();
    resize(&mut stack, sh, 4105).unwrap();
    assert_eq!(contents(&stack, sh)[4096..], *b"abcd\0\0\0\0\0");
    resize(&mut stack, sh, 0).unwrap();
    resize(&mut stack, sh, 3).unwrap();
    assert_eq!(contents(&stack, sh), [0; 3]);
}

#[test]
fn space_runs_out_in_the_middle() {
    let builder = sample();
    let mut stack = builder.stack_with(Limits { bytes: 2 * 4096 + 4095, ..LIMITS });
    let file = new_file(&mut stack);
    assert_eq!(write(&mut stack, &root(1), file, 100, &[1; 20_000]), Ok(2 * 4096 - 100));
    assert_eq!(stack.attr(file).unwrap().size, 2 * 4096);
    assert_eq!(write(&mut stack, &root(1), file, 2 * 4096, b"x"), Err(Errno::ENOSPC));
    assert_eq!(write(&mut stack, &root(1), file, 0, &[2; 4096]), Ok(4096), "what is there can be overwritten");
    assert_eq!(stack.fallocate(&root(1), file, 0, 3 * 4096, 0), Err(Errno::ENOSPC));
    assert_eq!(stack.fallocate(&root(1), file, 0, 2 * 4096, 0), Ok(()));
    resize(&mut stack, file, 1).unwrap();
    assert_eq!(pages(&stack), 1);
}

#[test]
fn a_source_that_fails_leaves_no_trace() {
    let builder = sample();
    let mut stack = builder.stack();
    let file = new_file(&mut stack);
    write(&mut stack, &root(1), file, 0, b"abc").unwrap();
    let spoil = |run: &mut [u8]| {
        run.fill(0xff);
        Err(Errno::EFAULT)
    };
    assert_eq!(stack.write(&root(1), file, Some(10), 100, spoil), Err(Errno::EFAULT));
    resize(&mut stack, file, 20).unwrap();
    assert_eq!(contents(&stack, file), *b"abc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let mut calls = 0;
    let second_fails = |run: &mut [u8]| {
        calls += 1;
        run.fill(1);
        if calls == 2 { Err(Errno::EFAULT) } else { Ok(()) }
    };
    assert_eq!(stack.write(&root(1), file, Some(4000), 1000, second_fails), Ok(96));
    assert_eq!(stack.attr(file).unwrap().size, 4096);
    resize(&mut stack, file, 4100).unwrap();
    assert_eq!(contents(&stack, file)[4096..], [0; 4]);
    assert_eq!(stack.read(file, 0, 4100, |_| Err(Errno::EFAULT)), Err(Errno::EFAULT));
}

#[test]
fn appending() {
    let builder = sample();
    let mut stack = builder.stack();
    let passwd = at(&stack, "etc/passwd");
    let append = |run: &mut [u8]| {
        run.fill(b'+');
        Ok(())
    };
    assert_eq!(stack.write(&root(1), passwd, None, 3, append), Ok(3));
    assert_eq!(contents(&stack, passwd), b"root:x:0:0\n+++");
}

#[test]
fn allocating_and_punching() {
    let builder = sample();
    let mut stack = builder.stack();
    let sh = at(&stack, "usr/bin/sh");
    stack.fallocate(&root(1), sh, 4000, 200, 3).unwrap();
    let mut expected = [7; 10_000];
    expected[4000..4200].fill(0);
    assert_eq!(contents(&stack, sh), expected);
    assert_eq!(pages(&stack), 2, "lower bytes can only be covered");
    let file = new_file(&mut stack);
    stack.fallocate(&root(1), file, 0, 5 * 4096, 1).unwrap();
    assert_eq!((pages(&stack), stack.attr(file).unwrap().size), (7, 0));
    stack.fallocate(&root(1), file, 0, 5 * 4096, 0).unwrap();
    write(&mut stack, &root(1), file, 0, &[9; 5 * 4096]).unwrap();
    stack.fallocate(&root(1), file, 4096, 2 * 4096, 3).unwrap();
    assert_eq!(pages(&stack), 5);
    assert_eq!((stack.next_hole(file, 0), stack.next_data(file, 4096)), (Ok(4096), Ok(3 * 4096)));
    assert_eq!(stack.next_hole(file, 3 * 4096), Ok(5 * 4096));
    assert_eq!(stack.fallocate(&root(1), file, 0, 1, 0x20), Err(Errno::EOPNOTSUPP));
    let blocks = |stack: &Stack, ino| stack.attr(ino).unwrap().blocks;
    assert_eq!((blocks(&stack, file), blocks(&stack, sh)), (24, 24));
    // FALLOC_FL_ZERO_RANGE: zeros, but no hole; without KEEP_SIZE the file grows.
    stack.fallocate(&root(1), file, 3 * 4096, 3 * 4096, 0x11).unwrap();
    assert_eq!((stack.attr(file).unwrap().size, blocks(&stack, file)), (5 * 4096, 32));
    stack.fallocate(&root(1), file, 3 * 4096 + 1, 3 * 4096, 0x10).unwrap();
    let zeroed = contents(&stack, file);
    assert_eq!((zeroed.len(), zeroed[4095], zeroed[3 * 4096]), (6 * 4096 + 1, 9, 0));
    assert!(zeroed[3 * 4096..].iter().all(|&byte| byte == 0));
    assert_eq!(stack.next_hole(file, 3 * 4096), Ok(6 * 4096 + 1));
}

/// Random writes, cuts, growths, holes and allocations on a lower and a new file, against a plain vector of bytes.
#[test]
fn random_changes_agree_with_a_vector() {
    let builder = sample();
    for seed in 0..20 {
        let mut stack = builder.stack();
        let mut random = Random(seed);
        let mut file = at(&stack, "usr/bin/sh");
        let mut bytes = vec![7; 10_000];
        if seed % 2 == 0 {
            file = new_file(&mut stack);
            bytes.clear();
        }
        for step in 0..300 {
            let (offset, len) = (random.below(30_000), random.below(9_000) + 1);
            let fill = u8::try_from(step % 251).unwrap();
            match random.below(5) {
                0 | 1 => {
                    assert_eq!(write(&mut stack, &root(1), file, offset as u64, &vec![fill; len]), Ok(len));
                    bytes.resize(bytes.len().max(offset + len), 0);
                    bytes[offset..offset + len].fill(fill);
                }
                2 => {
                    resize(&mut stack, file, offset as u64).unwrap();
                    bytes.resize(offset, 0);
                }
                3 => {
                    stack.fallocate(&root(1), file, offset as u64, len as u64, 3).unwrap();
                    let end = bytes.len().min(offset + len);
                    bytes[offset.min(end)..end].fill(0);
                }
                _ => {
                    let keep = random.below(2) == 0;
                    stack.fallocate(&root(1), file, offset as u64, len as u64, u32::from(keep)).unwrap();
                    bytes.resize(if keep { bytes.len() } else { bytes.len().max(offset + len) }, 0);
                }
            }
            assert_eq!(contents(&stack, file), bytes, "seed {seed}, step {step}");
        }
        check_holes(&stack, file, &bytes);
        resize(&mut stack, file, 0).unwrap();
        assert_eq!(pages(&stack), 0);
    }
}

/// Whatever SEEK_DATA and SEEK_HOLE call a hole is zeros.
fn check_holes(stack: &Stack<'_>, file: Ino, bytes: &[u8]) {
    let mut at = 0;
    while let Ok(hole) = stack.next_hole(file, at) {
        let data = stack.next_data(file, hole).unwrap_or(bytes.len() as u64);
        let range = usize::try_from(hole).unwrap()..usize::try_from(data).unwrap();
        assert!(bytes[range].iter().all(|byte| *byte == 0));
        at = data;
    }
}
