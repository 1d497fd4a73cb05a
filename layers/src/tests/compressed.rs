//! Compressed archives.
use super::refusal;
use crate::compression::decompress;
use crate::{Digest, limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn text() -> Vec<u8> {
    (0..200_000u32).flat_map(|number| (number / 3).to_le_bytes()).collect()
}

#[test]
fn plain_gzip_and_zstd_give_the_same() {
    let text = text();
    let half = text.len() / 2;
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let sources = [
        text.clone(),
        gzip(&text),
        [gzip(&text[..half]), gzip(&text[half..])].concat(),
        zstd(&text),
        [&skippable, zstd(&text[..half]).as_slice(), &skippable, &zstd(&text[half..])].concat(),
    ];
    for source in sources {
        let mut plain = Vec::new();
        let written = decompress(source.as_slice(), &mut plain, b"x", limits::LAYER).unwrap();
        assert!(plain == text);
        assert_eq!((written.plain, written.source), (Digest::of(&text), Digest::of(&source)));
        assert_eq!(written.len, text.len() as u64);
    }
}

#[test]
fn what_is_truncated_or_corrupt_is_refused() {
    for whole in [gzip(&text()), zstd(&text())] {
        for len in [5, 11, whole.len() / 2, whole.len() - 1] {
            let (entry, _) = refusal(decompress(&whole[..len], std::io::sink(), b"layer", limits::LAYER));
            assert_eq!(entry, "layer");
        }
    }
    let mut corrupt = gzip(&text());
    let at = corrupt.len() - 6;
    corrupt[at] ^= 1;
    let (_, reason) = refusal(decompress(corrupt.as_slice(), std::io::sink(), b"layer", limits::LAYER));
    assert_eq!(reason, "the compressed data is corrupt");
}

#[test]
fn too_much_and_bombs_are_refused() {
    let (_, reason) = refusal(decompress(gzip(&text()).as_slice(), std::io::sink(), b"x", 1000));
    assert_eq!(reason, "it is larger than is taken");
    let zeros = vec![0; usize::try_from(limits::RATIO_FROM).unwrap() + (4 << 20)];
    let (_, reason) = refusal(decompress(gzip(&zeros).as_slice(), std::io::sink(), b"x", limits::LAYER));
    assert_eq!(reason, "it is a bomb: too much comes out of few compressed bytes");
    // Uncompressed zeros are none.
    assert!(decompress(zeros.as_slice(), std::io::sink(), b"x", limits::LAYER).is_ok());
}
