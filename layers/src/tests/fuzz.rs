//! Whatever an archive holds, plain or compressed: it is a layer whose parts lie within it, or it is refused. Seeded; the same in every run.
use super::Made;
use crate::compression::decompress;
use crate::{Error, Kind, Layer, archive, limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use seeded::Random;
use std::collections::HashSet;
use std::io::{Cursor, Write};
use tar::EntryType;

/// Bytes of a header or of an entry's padding.
const BLOCK: usize = 512;
/// Bytes that may come out of a compressed archive here.
const LIMIT: u64 = 1 << 20;
/// Fields of a header (tar(5)): where they begin and how long they are.
const FIELDS: [(usize, usize); 9] =
    [(0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)];

fn name(random: &mut Random) -> &'static [u8] {
    let names: [&[u8]; 14] = [
        b"a",
        b"b/",
        b"./b/c",
        b"/b/d",
        b"../x",
        b"b/../y",
        b".",
        b"",
        b".wh.a",
        b"b/.wh..wh..opq",
        b".wh.",
        b".wh..",
        b".wh..wh.plnk/1",
        b"b//.//c",
    ];
    random.pick(&names)
}

/// Adds an entry of any kind, or an extended header for the next one.
fn entry(random: &mut Random, made: Made) -> Made {
    let (name, link) = (name(random), name(random));
    let bytes: &[u8] = random.pick(&[&b""[..], b"x", &[7; BLOCK], &[0; 700]]);
    match random.below(12) {
        0..=3 => made.entry(EntryType::Regular, name, b"", bytes),
        4 => made.entry(EntryType::Directory, name, b"", b""),
        5 => made.entry(EntryType::Symlink, name, link, b""),
        6 => made.entry(EntryType::Link, name, link, b""),
        7 => made.entry(EntryType::GNULongName, b"././@LongLink", b"", name),
        8 => made.entry(EntryType::GNULongLink, b"././@LongLink", b"", link),
        9 => {
            let key = random.pick(&["path", "linkpath", "size", "uid", "mtime", "GNU.sparse.major", "comment"]);
            let value = random.pick(&["1", "", "-1.5", "99999999999999999999", "b/c", "../x", "ü"]);
            made.pax(&[(key, value)])
        }
        10 => made.entry(
            EntryType::XHeader,
            b"PaxHeaders/x",
            b"",
            random.pick(&[&b"9 a=b\n"[..], b"0 =\n", b"99999", bytes]),
        ),
        _ => made.entry(EntryType::new(random.pick(b"0134567DKLSVgxQ\0")), name, link, bytes),
    }
}

/// Spoils one place: most often a field of a header, whose checksum is put right again so that it is looked at.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    let any = random.next().to_le_bytes();
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => {
            let at = random.below(bytes.len());
            bytes[at] = any[0];
        }
        _ => {
            let start = random.below(bytes.len() / BLOCK) * BLOCK;
            let header = &mut bytes[start..start + BLOCK];
            let (at, len) = random.pick(&FIELDS);
            let value: &[u8] = random.pick(&[
                &b"77777777777"[..],
                b"\x80\0\0\0\0\0\0\0\0\0\0\x01",
                &[0xff; 12],
                b"           ",
                b"-1",
                b"8",
                &[0; 12],
            ]);
            let filled = len.min(value.len());
            header[at..at + filled].copy_from_slice(&value[..filled]);
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// What [`Layer`] promises.
fn check(layer: &Layer, len: u64) {
    let mut seen = HashSet::new();
    let name_is_one =
        |name: &Vec<u8>| !matches!(name.as_slice(), b"" | b"." | b"..") && !name.contains(&0) && !name.contains(&b'/');
    for entry in &layer.entries {
        assert!(entry.path.iter().all(name_is_one) && entry.path.len() <= limits::DEPTH, "{entry:?}");
        assert!(entry.meta.mode <= 0o7777);
        match &entry.kind {
            Kind::File { offset, len: size } => assert!(offset.checked_add(*size).is_some_and(|end| end <= len)),
            Kind::HardLink(first) => assert!(first.iter().all(name_is_one)),
            Kind::Symlink(target) => assert!(!target.is_empty() && !target.contains(&0)),
            _ => {}
        }
        let mark = match entry.kind {
            Kind::Whiteout => 1,
            Kind::Opaque => 2,
            _ => 0,
        };
        assert!(seen.insert((&entry.path, mark)), "{entry:?} is there twice");
    }
}

/// Reads an archive; whether it was one.
fn read(bytes: &[u8]) -> bool {
    match archive::read(Cursor::new(bytes)) {
        Ok(layer) => {
            check(&layer, bytes.len() as u64);
            true
        }
        Err(Error::Refused(refused)) => {
            assert!(!refused.reason.is_empty() && !refused.entry.chars().any(char::is_control), "{refused:?}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Compresses it, spoils that, and reads what comes out.
fn read_compressed(random: &mut Random, bytes: &[u8]) -> bool {
    let mut packed = if random.below(2) == 0 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    } else {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    };
    for _ in 0..random.below(3) {
        let at = random.below(packed.len());
        packed[at] ^= 1 << random.below(8);
    }
    let mut plain = Vec::new();
    match decompress(packed.as_slice(), &mut plain, b"x", LIMIT) {
        Ok(written) => {
            assert_eq!(written.len, plain.len() as u64);
            read(&plain)
        }
        Err(Error::Refused(_)) => {
            assert!(plain.len() as u64 <= LIMIT);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// How many of these archives were layers.
fn fuzz(archives: u64) -> u64 {
    let (mut random, mut layers) = (Random(1), 0);
    for _ in 0..archives {
        let mut made = Made::new();
        for _ in 0..random.below(6) {
            made = entry(&mut random, made);
        }
        let mut bytes = made.bytes();
        for _ in 0..random.below(3) {
            if bytes.len() >= BLOCK {
                spoil(&mut random, &mut bytes);
            }
        }
        let is_layer = if random.below(4) == 0 { read_compressed(&mut random, &bytes) } else { read(&bytes) };
        layers += u64::from(is_layer);
    }
    layers
}

#[test]
fn any_archive_is_a_layer_or_refused() {
    let layers = fuzz(4000);
    assert!((400..3600).contains(&layers), "{layers}");
}

#[test]
#[ignore = "long: minutes; `cargo test --release -p layers any_archive -- --ignored --nocapture`"]
fn any_archive_is_a_layer_or_refused_for_long() {
    println!("{} layers", fuzz(2_000_000));
}
