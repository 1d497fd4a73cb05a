//! What is written is read again as it was, by this crate and by the machine's tar.
use super::refusal;
use crate::write::{Body, New, Writer};
use crate::{Kind, Layer, Meta, archive};
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

const META: Meta = Meta { mode: 0o4751, uid: 7, gid: 8, mtime: 1_500_000_000 };

fn new<'a>(path: &'a [u8], body: Body<'a>) -> New<'a> {
    New { path, meta: META, nanoseconds: 0, xattrs: &[], body }
}

fn writer() -> Writer<Cursor<Vec<u8>>> {
    Writer::new(Cursor::new(Vec::new()))
}

fn bytes(writer: Writer<Cursor<Vec<u8>>>) -> Vec<u8> {
    let (to, len) = writer.finish().unwrap();
    let mut bytes = to.into_inner();
    bytes.resize(usize::try_from(len).unwrap(), 0);
    bytes
}

fn read(writer: Writer<Cursor<Vec<u8>>>) -> Layer {
    archive::read(Cursor::new(bytes(writer))).unwrap()
}

#[test]
fn every_kind_of_entry() {
    let mut writer = writer();
    let long = [b"d/".as_slice(), &[b'n'; 255]].concat();
    writer.add(&new(b"", Body::Directory)).unwrap();
    writer.add(&new(b"d", Body::Directory)).unwrap();
    writer.hide(b"d", None).unwrap();
    writer.hide(b"", Some(b"gone")).unwrap();
    writer.add(&new(&long, Body::File { len: 20_003 })).unwrap();
    writer.data(b"abc").unwrap();
    writer.zeros(20_000).unwrap();
    writer.add(&new(b"hard", Body::HardLink(&long))).unwrap();
    writer.add(&new(b"soft", Body::Symlink(&long))).unwrap();
    writer.add(&new(b"d/pipe", Body::Fifo)).unwrap();
    writer.add(&new(b"\xff\xfe", Body::File { len: 0 })).unwrap();
    let layer = read(writer);
    let shown: Vec<(Vec<u8>, &Kind)> =
        layer.entries.iter().map(|entry| (entry.path.join(&b'/'), &entry.kind)).collect();
    let first: crate::Path = vec![b"d".to_vec(), vec![b'n'; 255]];
    let file = shown.iter().find_map(|(path, kind)| match kind {
        Kind::File { offset, len: 20_003 } if *path == long => Some(*offset),
        _ => None,
    });
    let expected = [
        (b"".to_vec(), &Kind::Directory),
        (b"d".to_vec(), &Kind::Directory),
        (b"d".to_vec(), &Kind::Opaque),
        (b"gone".to_vec(), &Kind::Whiteout),
        (long.clone(), &Kind::File { offset: file.unwrap(), len: 20_003 }),
        (b"hard".to_vec(), &Kind::HardLink(first)),
        (b"soft".to_vec(), &Kind::Symlink(long)),
        (b"d/pipe".to_vec(), &Kind::Fifo),
        (b"\xff\xfe".to_vec(), &Kind::File { offset: shown_offset(&layer), len: 0 }),
    ];
    assert_eq!(shown, expected);
    assert!(
        layer
            .entries
            .iter()
            .filter(|entry| !matches!(entry.kind, Kind::Opaque | Kind::Whiteout))
            .all(|entry| entry.meta == META)
    );
}

/// Where the last entry's bytes would be.
fn shown_offset(layer: &Layer) -> u64 {
    match layer.entries.last().unwrap().kind {
        Kind::File { offset, .. } => offset,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn owners_and_times_that_no_header_holds() {
    let cases =
        [(0, 0, 0), (u32::MAX, 1 << 21, -1), (1, 2, i64::from(u32::MAX) * 4), (1, 2, 1 << 33), (1, 2, -1 << 40)];
    for (uid, gid, mtime) in cases {
        for nanoseconds in [0, 1, 999_999_999] {
            let mut writer = writer();
            let meta = Meta { uid, gid, mtime, mode: 0 };
            writer.add(&New { meta, nanoseconds, ..new(b"x", Body::Fifo) }).unwrap();
            assert_eq!(read(writer).entries[0].meta, meta, "{nanoseconds}");
        }
    }
}

#[test]
fn tar_unpacks_it() {
    let mut writer = writer();
    let mut add = |new: &New<'_>, data: &[u8]| {
        writer.add(new).unwrap();
        writer.data(data).unwrap();
    };
    let name = "ä".repeat(100);
    add(&New { nanoseconds: 5, ..new(name.as_bytes(), Body::File { len: 4 }) }, b"text");
    let meta = Meta { mtime: -2, ..META };
    add(&New { meta, nanoseconds: 500_000_000, ..new(b"old", Body::HardLink(name.as_bytes())) }, b"");
    add(&New { meta, nanoseconds: 500_000_000, ..new(b"older", Body::Directory) }, b"");
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("a.tar");
    fs::write(&archive, bytes(writer)).unwrap();
    let status = Command::new("tar").args(["-C"]).arg(directory.path()).arg("-xpf").arg(&archive).status().unwrap();
    assert!(status.success());
    let file = directory.path().join(name);
    let metadata = file.metadata().unwrap();
    assert_eq!((fs::read(&file).unwrap().as_slice(), metadata.nlink()), (&b"text"[..], 2));
    let older = directory.path().join("older").metadata().unwrap();
    assert_eq!((older.mtime(), older.mtime_nsec()), (-2, 500_000_000));
}

#[test]
fn extended_attributes_are_records_of_star() {
    let mut writer = writer();
    let xattrs = [(b"user.note".to_vec(), b"a=\n\0b".to_vec())];
    writer.add(&New { xattrs: &xattrs, ..new(b"x", Body::Fifo) }).unwrap();
    let bytes = bytes(writer);
    assert_eq!(bytes[156], b'x');
    let ((key, value), _) = crate::pax::split_first(&bytes[512..]).unwrap();
    assert_eq!((key, value), (&b"SCHILY.xattr.user.note"[..], &b"a=\n\0b"[..]));
    archive::read(Cursor::new(bytes)).unwrap();
}

#[test]
fn what_no_layer_holds_is_refused() {
    let refused = |path: &[u8], xattr: (&[u8], &[u8])| {
        let xattrs = [(xattr.0.to_vec(), xattr.1.to_vec())];
        refusal(writer().add(&New { xattrs: &xattrs, ..new(path, Body::Fifo) })).1
    };
    let mark = "in a layer, a name that begins with `.wh.` stands for what is gone";
    assert_eq!(refused(b"a/.wh.b", (b"user.a", b"")), mark);
    assert_eq!(refused(b".wh..wh..opq/x", (b"user.a", b"")), mark);
    assert_eq!(refusal(writer().hide(b"a", Some(b".wh.x"))).1, mark);
    assert_eq!(refused(b"a", (b"user.a=b", b"")), "in a layer, the name of an extended attribute has no `=`");
    let long = vec![0; 1 << 20];
    assert_eq!(refused(b"a", (b"user.a", &long)), "what belongs to it is too long for a layer's extended header");
    let large = Body::File { len: crate::limits::LAYER };
    assert_eq!(
        refusal(writer().add(&new(b"a", large)).and_then(|()| writer().add(&new(b"a", Body::File { len: u64::MAX }))))
            .1,
        "the layer is too large"
    );
    let mut writer = writer();
    writer.add(&new(b"a", Body::File { len: 2 })).unwrap();
    assert_eq!(refusal(writer.data(b"abc")).1, "a file has more bytes than it said");
    assert_eq!(refusal(writer.finish()).1, "a file has fewer bytes than it said");
}
