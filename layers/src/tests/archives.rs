//! Plain archives.
use super::{Made, refusal};
use crate::{Kind, Meta, Path, archive, limits};
use std::io::Cursor;
use tar::EntryType;

fn path(text: &str) -> Path {
    text.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
}

#[test]
fn every_kind_of_entry() {
    let made = Made::new()
        .directory("./")
        .directory("etc/")
        .file("etc/a", b"12345")
        .entry(EntryType::Symlink, b"etc/link", b"/a/../b", b"")
        .entry(EntryType::Link, b"./etc/b", b"./etc/a", b"")
        .entry(EntryType::Fifo, b"pipe", b"", b"")
        .file("etc/.wh.gone", b"")
        .file("lib/.wh..wh..opq", b"")
        .file(".wh..wh.plnk/1.2", b"");
    let bytes = made.bytes();
    let layer = archive::read(Cursor::new(&bytes)).unwrap();
    let kinds: Vec<(Path, &Kind)> = layer.entries.iter().map(|entry| (entry.path.clone(), &entry.kind)).collect();
    let Kind::File { offset, len: 5 } = *kinds[2].1 else { panic!("{kinds:?}") };
    assert_eq!(&bytes[usize::try_from(offset).unwrap()..][..5], b"12345");
    let expected = [
        (path(""), &Kind::Directory),
        (path("etc"), &Kind::Directory),
        (path("etc/a"), kinds[2].1),
        (path("etc/link"), &Kind::Symlink(b"/a/../b".to_vec())),
        (path("etc/b"), &Kind::HardLink(path("etc/a"))),
        (path("pipe"), &Kind::Fifo),
        (path("etc/gone"), &Kind::Whiteout),
        (path("lib"), &Kind::Opaque),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(layer.entries[2].meta, Meta { mode: 0o644, uid: 7, gid: 8, mtime: 1_500_000_000 });
}

#[test]
fn long_names_and_extended_headers() {
    let long = ["a long name of a directory"; 12].join("/");
    let named = [long.as_bytes(), b"\0"].concat();
    let layer = Made::new()
        .entry(EntryType::GNULongName, b"././@LongLink", b"", &named)
        .entry(EntryType::GNULongLink, b"././@LongLink", b"", &named)
        .entry(EntryType::Symlink, b"short", b"short", b"")
        .pax(&[
            ("path", "käse"),
            ("uid", "70000"),
            ("gid", "3000000"),
            ("mtime", "-1.5"),
            ("size", "2"),
            ("SCHILY.xattr.user.x", "y"),
        ])
        .file("x", b"ab")
        .file("after", b"")
        .read()
        .unwrap();
    assert_eq!(layer.entries[0].path, path(&long));
    assert_eq!(layer.entries[0].kind, Kind::Symlink(long.into_bytes()));
    assert_eq!(layer.entries[1].path, path("käse"));
    assert_eq!(layer.entries[1].meta, Meta { mode: 0o644, uid: 70_000, gid: 3_000_000, mtime: -2 });
    assert_eq!((&layer.entries[2].path, layer.entries[2].meta.uid), (&path("after"), 7));
}

#[test]
fn numbers_that_were_left_out_are_zeros() {
    let mut header = tar::Header::new_ustar();
    header.set_path("x").unwrap();
    header.set_mode(0o600);
    header.set_size(0);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b""[..]).unwrap();
    let layer = archive::read(Cursor::new(builder.into_inner().unwrap())).unwrap();
    assert_eq!(layer.entries[0].meta, Meta { mode: 0o600, ..Meta::default() });
}

/// A file of no bytes whose header says this of its size.
fn sized(size: &[u8; 12]) -> Made {
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_mode(0o600);
    header.as_old_mut().size.copy_from_slice(size);
    header.set_cksum();
    let mut made = Made::new();
    made.0.append(&header, &b""[..]).unwrap();
    made
}

#[test]
fn what_is_refused_is_named() {
    let file = |name: &[u8]| Made::new().file("good", b"").entry(EntryType::Regular, name, b"", b"");
    let deep = "d/".repeat(limits::DEPTH + 1);
    let long = "x".repeat(limits::NAME + 1);
    let cases = [
        (file(b"../x"), "../x", "the name leads out of the layer by `..`"),
        (file(b"a/../../x"), "a/../../x", "the name leads out of the layer by `..`"),
        (file(b"a/.wh..."), "a/.wh...", "the whiteout is of no file"),
        (file(b".wh."), ".wh.", "the whiteout is of no file"),
        (file(b".wh.a/b"), ".wh.a/b", "a whiteout has no files in it"),
        (Made::new().entry(EntryType::Symlink, b"./", b"x", b""), "./", "the root is a directory"),
        (file(b"good"), "good", "the entry is there twice"),
        (file(b"./good"), "./good", "the entry is there twice"),
        (Made::new().directory(".wh.x"), ".wh.x", "a whiteout is a regular file"),
        (Made::new().entry(EntryType::Char, b"dev/null", b"", b""), "dev/null", "devices are not taken"),
        (Made::new().entry(EntryType::Block, b"sda", b"", b""), "sda", "devices are not taken"),
        (Made::new().entry(EntryType::GNUSparse, b"s", b"", b""), "s", "sparse files are not taken"),
        (Made::new().entry(EntryType::new(b'Q'), b"q", b"", b""), "q", "this kind of entry is not known"),
        (Made::new().entry(EntryType::Symlink, b"l", b"", b""), "l", "the link points nowhere"),
        (Made::new().entry(EntryType::Link, b"h", b"../x", b""), "h", "the hard link's target cannot be one"),
        (
            Made::new().pax(&[("size", "3")]).file("f", b"ab"),
            "f",
            "its header and its extended header have different sizes",
        ),
        (Made::new().pax(&[("path", "a\0b")]).file("f", b""), "a\u{fffd}b", "there is a NUL in the name"),
        (Made::new().pax(&[("path", &deep)]).file("f", b""), "", "the directories are nested too deep"),
        (Made::new().pax(&[("path", &long)]).file("f", b""), "", "a part of the name is too long"),
        (Made::new().pax(&[("uid", "4294967296")]).file("f", b""), "f", "its owner is no user or group"),
        (Made::new().pax(&[("GNU.sparse.major", "1")]).file("f", b""), "PaxHeaders/x", "sparse files are not taken"),
        (
            sized(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            "huge",
            "its data is not in the archive: it is truncated, or the size is wrong",
        ),
        (sized(b"77777777777\0"), "huge", "its data is not in the archive: it is truncated, or the size is wrong"),
        (Made::new().pax(&[("path", "x")]), "", "the archive ends after an extended header"),
    ];
    for (made, entry, reason) in cases {
        let (named, why) = refusal(made.read());
        assert_eq!(why, reason, "{named}");
        assert!(named == entry || entry.is_empty(), "{named} instead of {entry}");
    }
}

#[test]
fn many_deep_paths_are_refused_before_they_fill_the_memory() {
    let deep = |number: usize| {
        let path = format!("{}{number}\0", "d/".repeat(limits::DEPTH - 1));
        Made::new().entry(EntryType::GNULongName, b"././@LongLink", b"", path.as_bytes()).file("x", b"").bytes()
    };
    // Each without the two blocks of zeros that end an archive, but the last.
    let archive = |count: usize| {
        let mut all = Vec::new();
        for number in 0..count {
            let one = deep(number);
            all.extend_from_slice(&one[..one.len() - 1024]);
        }
        all.resize(all.len() + 1024, 0);
        archive::read(Cursor::new(all))
    };
    let fits = limits::NAMES / limits::DEPTH;
    assert_eq!(archive(fits).unwrap().entries.len(), fits);
    let error = archive(fits + 1).unwrap_err().to_string();
    assert!(error.ends_with("the paths of all entries together have too many names"), "{error}");
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    let whole = Made::new().directory("d").file("d/f", &[1; 1300]).file("g", b"x").bytes();
    // The archive's own padding behind the first of its two empty blocks tells nothing.
    let entries = whole.len() - 1024;
    for len in (0..entries + 512).step_by(100) {
        let _ = refusal(archive::read(Cursor::new(&whole[..len])));
    }
    assert!(archive::read(Cursor::new(&whole)).is_ok());
}

#[test]
fn flipped_bits_never_panic() {
    let whole = Made::new().pax(&[("path", "p"), ("mtime", "1.5")]).file("d", b"abc").directory("e").bytes();
    for at in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        // Whatever is read lies within.
        for entry in archive::read(Cursor::new(&bytes)).map(|layer| layer.entries).unwrap_or_default() {
            if let Kind::File { offset, len } = entry.kind {
                assert!(offset + len <= bytes.len() as u64);
            }
        }
    }
}
