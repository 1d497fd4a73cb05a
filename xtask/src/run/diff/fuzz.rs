//! What a root that is out of its mind may send: there is a layer or a reason, and nothing else is left.
use super::Diffs;
use control::diff::{Attributes, Defect, MAX_RECORD, Record};
use seeded::Random;
use std::fs;

/// One step, of which most fit behind the ones before.
fn record(random: &mut Random) -> Record<'static> {
    let name = random.pick(&[&b"a"[..], b"b", b"c", b"d", b"..", b"", b"a/b", b".wh.x", b"a\0", &[b'n'; 256]]);
    let seconds = random.pick(&[0, -1, i64::MIN, i64::MAX]);
    let nanoseconds = random.pick(&[0, 5, u32::MAX]);
    let attributes = Attributes { mode: random.pick(&[0o644, u32::MAX]), uid: 0, gid: u32::MAX, seconds, nanoseconds };
    let ino = random.pick(&[0, 1, 2, u64::MAX]);
    match random.below(13) {
        0 => Record::Xattr { name: random.pick(&[&b"user.a"[..], b"a=b", b""]), value: b"value" },
        1 | 2 => Record::Enter { name, attributes, opaque: random.below(2) == 0 },
        3 => Record::Leave,
        4 => Record::Removed { name },
        5 => Record::File { name, attributes, ino, len: random.pick(&[0, 3, 6, u64::MAX]) },
        6 => Record::Data(random.pick(&[&b"abc"[..], b"", &[7; 4096]])),
        7 => Record::Zeros(random.pick(&[0, 3, 1 << 20, u64::MAX])),
        8 => Record::Symlink { name, attributes, ino, target: random.pick(&[&b"t"[..], b"", b"a\0"]) },
        9 => Record::Fifo { name, attributes, ino },
        10 => Record::Link { name, ino },
        11 => Record::Socket { name },
        _ => random.pick(&[Record::End, Record::Failed { defect: Defect::Folder }]),
    }
}

/// A stream: the root's own beginning, steps, sometimes an end in order, and in half of them some bytes that are others.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    let root = Record::Enter { name: b"", attributes: Attributes::default(), opaque: false };
    if random.below(8) != 0 {
        root.encode(&mut stream);
    }
    for _ in 0..random.below(8) {
        record(random).encode(&mut stream);
    }
    if random.below(2) == 0 {
        Record::Leave.encode(&mut stream);
        Record::End.encode(&mut stream);
    }
    if random.below(2) == 0 && !stream.is_empty() {
        for _ in 0..=random.below(3) {
            let at = random.below(stream.len());
            stream[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, b'/', b'.']);
        }
    }
    stream
}

/// How many layers there were.
fn fuzz(streams: u64) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("out.tar");
    let (mut random, mut layers) = (Random(1), 0);
    for number in 0..streams {
        let bytes = stream(&mut random);
        let mut rest = bytes.as_slice();
        while let Ok(Some((_, len))) = Record::decode(rest) {
            assert!((4..=4 + MAX_RECORD).contains(&len) && len <= rest.len());
            rest = &rest[len..];
        }
        let diffs = Diffs::new(Some(&target), 1).unwrap();
        let piece = 1 + random.below(64);
        bytes.chunks(piece).for_each(|piece| diffs.take(0, piece).unwrap());
        let missing = diffs.finish();
        assert_eq!(missing.is_empty(), target.exists(), "stream {number}");
        layers += u64::from(missing.is_empty());
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, usize::from(missing.is_empty()), "stream {number}");
    }
    layers
}

#[test]
fn any_stream_is_a_layer_or_a_reason() {
    let layers = fuzz(2000);
    assert!((20..1980).contains(&layers), "{layers}");
}

#[test]
#[ignore = "long: minutes; `cargo test --release -p xtask any_stream -- --ignored --nocapture`"]
fn any_stream_is_a_layer_or_a_reason_for_long() {
    println!("{} layers", fuzz(1_000_000));
}
