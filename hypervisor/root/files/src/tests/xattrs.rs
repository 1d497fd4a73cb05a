//! Extended attributes, and files that have no name yet.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{LIMITS, Random, at, contents, root, sample, user, write};
use crate::{Errno, Ino, Kind, Limits, SetXattr, Stack, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX};

fn names(stack: &Stack<'_>, ino: Ino) -> Vec<Vec<u8>> {
    stack.xattr_names(ino).unwrap().map(<[u8]>::to_vec).collect()
}

#[test]
fn a_lower_file_has_none_until_one_is_set() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(7);
    let ino = at(&stack, "etc/passwd");
    let before = stack.statfs(Ino::ROOT).unwrap();
    assert_eq!(stack.xattr(&ctx, ino, b"user.a"), Err(Errno::ENODATA));
    assert_eq!(stack.remove_xattr(&ctx, ino, b"user.a"), Err(Errno::ENODATA));
    assert_eq!(stack.set_xattr(&ctx, ino, b"user.a", b"", SetXattr::Replace), Err(Errno::ENODATA));
    assert_eq!((names(&stack, ino), stack.statfs(Ino::ROOT).unwrap()), (vec![], before), "nothing was copied up");
    stack.set_xattr(&ctx, ino, b"user.a", b"one", SetXattr::Create).unwrap();
    assert_eq!(stack.xattr(&ctx, ino, b"user.a"), Ok(&b"one"[..]));
    assert_eq!(stack.attr(ino).unwrap().ctime.seconds, 7);
    assert_eq!(stack.set_xattr(&ctx, ino, b"user.a", b"", SetXattr::Create), Err(Errno::EEXIST));
    stack.set_xattr(&ctx, ino, b"user.a", b"", SetXattr::Replace).unwrap();
    assert_eq!(stack.xattr(&ctx, ino, b"user.a"), Ok(&b""[..]));
}

#[test]
fn name_spaces_are_kept_apart() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let ino = at(&stack, "etc/passwd");
    let long = [b"user.", &vec![b'x'; XATTR_NAME_MAX - 5][..]].concat();
    let too_long = [&long[..], b"x"].concat();
    let cases: [(&[u8], Errno, Errno); 8] = [
        (b"", Errno::ERANGE, Errno::ERANGE),
        (&too_long, Errno::ERANGE, Errno::ERANGE),
        (b"user.", Errno::EINVAL, Errno::EINVAL),
        (b"user", Errno::EOPNOTSUPP, Errno::EOPNOTSUPP),
        (b"other.a", Errno::EOPNOTSUPP, Errno::EOPNOTSUPP),
        (b"security.selinux", Errno::EOPNOTSUPP, Errno::EOPNOTSUPP),
        (b"system.posix_acl_access", Errno::EOPNOTSUPP, Errno::EOPNOTSUPP),
        (b"trusted.a", Errno::EPERM, Errno::ENODATA),
    ];
    for (name, set, get) in cases {
        assert_eq!(stack.set_xattr(&ctx, ino, name, b"v", SetXattr::Any), Err(set));
        assert_eq!(stack.remove_xattr(&ctx, ino, name), Err(set));
        assert_eq!(stack.xattr(&ctx, ino, name), Err(get));
    }
    stack.set_xattr(&ctx, ino, &long, b"v", SetXattr::Any).unwrap();
    assert_eq!(names(&stack, ino), [long]);
}

#[test]
fn the_mode_bits_decide() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let ino = at(&stack, "etc/passwd");
    stack.set_xattr(&ctx, ino, b"user.a", b"v", SetXattr::Any).unwrap();
    assert_eq!(stack.xattr(&user(5), ino, b"user.a"), Ok(&b"v"[..]));
    assert_eq!(stack.set_xattr(&user(5), ino, b"user.a", b"w", SetXattr::Any), Err(Errno::EACCES));
    assert_eq!(stack.remove_xattr(&user(5), ino, b"user.a"), Err(Errno::EACCES));
    // A sticky directory that anyone may write to is its owner's to mark.
    let tmp = at(&stack, "tmp");
    assert_eq!(stack.set_xattr(&user(5), tmp, b"user.a", b"w", SetXattr::Any), Err(Errno::EPERM));
    stack.set_xattr(&ctx, tmp, b"user.a", b"w", SetXattr::Any).unwrap();
    // Links, pipes and sockets have none.
    let link = at(&stack, "etc/link");
    let pipe = stack.mknod(&ctx, tmp, b"pipe", Kind::Fifo, 0o666).unwrap();
    for ino in [link, pipe] {
        assert_eq!(stack.set_xattr(&ctx, ino, b"user.a", b"w", SetXattr::Any), Err(Errno::EPERM));
        assert_eq!(stack.xattr(&ctx, ino, b"user.a"), Err(Errno::ENODATA));
    }
}

#[test]
fn sizes_are_bounded_and_paid_for() {
    let builder = sample();
    let mut stack = builder.stack_with(Limits { bytes: 300_000, ..LIMITS });
    let ctx = root(1);
    let ino = at(&stack, "etc/passwd");
    let value = vec![1; XATTR_SIZE_MAX + 1];
    assert_eq!(stack.set_xattr(&ctx, ino, b"user.a", &value, SetXattr::Any), Err(Errno::E2BIG));
    let set = |stack: &mut Stack<'_>, number: usize| {
        stack.set_xattr(&ctx, ino, format!("user.{number}").as_bytes(), &value[1..], SetXattr::Any)
    };
    let made = (0..10).take_while(|&number| set(&mut stack, number).is_ok()).count();
    assert_eq!((made, set(&mut stack, 9)), (4, Err(Errno::ENOSPC)));
    assert_eq!(set(&mut stack, 0), Ok(()), "in place of itself it costs nothing");
    stack.remove_xattr(&ctx, ino, b"user.0").unwrap();
    assert_eq!(set(&mut stack, 9), Ok(()));
    // What the file had is given back with the file.
    stack.unlink(&ctx, at(&stack, "etc"), b"passwd").unwrap();
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks_free, stack.statfs(Ino::ROOT).unwrap().blocks);
}

#[test]
fn a_list_of_names_is_bounded() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let ino = at(&stack, "etc/passwd");
    let name = |number: u32| [format!("user.{number:05}").as_bytes(), &[b'x'; 200]].concat();
    let mut made = 0;
    while stack.set_xattr(&ctx, ino, &name(made), b"", SetXattr::Any).is_ok() {
        made += 1;
    }
    assert_eq!(stack.set_xattr(&ctx, ino, &name(made), b"", SetXattr::Any), Err(Errno::ENOSPC));
    let listed: usize = names(&stack, ino).iter().map(|name| name.len() + 1).sum();
    assert!(listed <= XATTR_LIST_MAX && listed + 211 > XATTR_LIST_MAX, "{listed}");
}

/// Random sets and removals against a map.
#[test]
fn like_a_map() {
    let builder = sample();
    let mut stack = builder.stack_with(Limits { bytes: 20_000, ..LIMITS });
    let ctx = root(1);
    let ino = at(&stack, "etc/passwd");
    let mut random = Random(3);
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut full = 0;
    for _ in 0..5000 {
        let name = format!("user.{}", random.below(8)).into_bytes();
        let value = vec![random.next().to_le_bytes()[0]; random.below(5000)];
        let there = model.contains_key(&name);
        match random.below(4) {
            0 => {
                let expected = model.remove(&name).map(drop).ok_or(Errno::ENODATA);
                assert_eq!(stack.remove_xattr(&ctx, ino, &name), expected);
            }
            how => {
                let how = [SetXattr::Any, SetXattr::Create, SetXattr::Replace][how - 1];
                match stack.set_xattr(&ctx, ino, &name, &value, how) {
                    Ok(()) => drop(model.insert(name.clone(), value)),
                    Err(Errno::EEXIST) => assert!(there && how == SetXattr::Create),
                    Err(Errno::ENODATA) => assert!(!there && how == SetXattr::Replace),
                    Err(error) => {
                        assert_eq!(error, Errno::ENOSPC);
                        full += 1;
                    }
                }
            }
        }
        assert_eq!(stack.xattr(&ctx, ino, &name).ok(), model.get(&name).map(Vec::as_slice));
        assert_eq!(names(&stack, ino), model.keys().cloned().collect::<Vec<_>>());
    }
    assert!(full > 10, "the limit was never met");
    for name in model.keys() {
        stack.remove_xattr(&ctx, ino, name).unwrap();
    }
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().blocks_free, stack.statfs(Ino::ROOT).unwrap().blocks);
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    let builder = sample();
    let mut stack = builder.stack();
    let ctx = root(1);
    let tmp = at(&stack, "tmp");
    let free = stack.statfs(Ino::ROOT).unwrap().inodes_free;
    let ino = stack.tmpfile(&ctx, tmp, 0o600, true).unwrap();
    stack.opened(ino);
    write(&mut stack, &ctx, ino, 0, b"bytes").unwrap();
    assert_eq!((stack.attr(ino).unwrap().nlink, stack.statfs(Ino::ROOT).unwrap().inodes_free), (0, free - 1));
    stack.link(&ctx, ino, tmp, b"name").unwrap();
    assert_eq!(stack.attr(ino).unwrap().nlink, 1);
    stack.closed(ino);
    assert_eq!(contents(&stack, at(&stack, "tmp/name")), b"bytes");
    stack.unlink(&ctx, tmp, b"name").unwrap();
    // The directory's copy is all that is left.
    assert_eq!(stack.statfs(Ino::ROOT).unwrap().inodes_free, free - 1);
    let gone = stack.tmpfile(&ctx, tmp, 0o600, true).unwrap();
    stack.opened(gone);
    stack.link(&ctx, gone, tmp, b"name").unwrap();
    stack.unlink(&ctx, tmp, b"name").unwrap();
    assert_eq!(stack.link(&ctx, gone, tmp, b"name"), Err(Errno::ENOENT), "only a first name");
}

#[test]
fn a_file_without_a_name_is_gone_when_it_is_closed() {
    let builder = sample();
    let mut stack = builder.stack();
    let tmp = at(&stack, "tmp");
    let before = stack.statfs(Ino::ROOT).unwrap();
    let ino = stack.tmpfile(&user(5), tmp, 0o600, false).unwrap();
    stack.opened(ino);
    assert_eq!(stack.link(&user(5), ino, tmp, b"name"), Err(Errno::ENOENT));
    write(&mut stack, &user(5), ino, 0, b"bytes").unwrap();
    stack.closed(ino);
    assert_eq!((stack.attr(ino), stack.statfs(Ino::ROOT).unwrap()), (Err(Errno::ESTALE), before));
    assert_eq!(stack.tmpfile(&user(5), at(&stack, "usr"), 0o600, true), Err(Errno::EACCES));
    assert_eq!(stack.tmpfile(&user(5), at(&stack, "etc/passwd"), 0o600, true), Err(Errno::ENOTDIR));
}
