//! Writing the boot bundle: the root image, the shim, the policy, the parameters and the tree, each at its place.
use super::tree::{Content, HostFile, Kind, Node, Tree};
use crate::images::RootImage;
use anyhow::{Context, Result, bail, ensure};
use bundle::{
    ALIGN, BUNDLE_MAGIC, BundleHeader, PAYLOAD_MAGIC, PayloadHeader, RunConfig, Section, TreeEntry, TreeIndex,
    TreeNode, section_kind,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;
use zerocopy::IntoBytes;

/// Largest payload: it is loaded below 2 GiB, together with all else that must lie there.
const MAX_PAYLOAD: u64 = 1536 << 20;

/// All that goes into a bundle.
pub(crate) struct Contents<'a> {
    /// The root partition's image.
    pub(crate) root: &'a RootImage,
    /// The flat shim.
    pub(crate) shim: &'a [u8],
    /// The policy's text.
    pub(crate) policy: &'a str,
    /// What to run.
    pub(crate) run: &'a RunConfig,
    /// Its files.
    pub(crate) tree: &'a Tree,
}

/// Writes the bundle to `path` and returns its length in bytes.
pub(crate) fn write(path: &Path, contents: &Contents<'_>) -> Result<u64> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    write_to(&mut out, contents).with_context(|| "cannot write the boot bundle")
}

/// The bytes of a section that is not the tree's data.
type Part<'a> = (u32, std::borrow::Cow<'a, [u8]>);

fn write_to(out: &mut (impl Write + Seek), contents: &Contents<'_>) -> Result<u64> {
    let (index, files) = index(contents.tree)?;
    let parts: [Part<'_>; 4] = [
        (section_kind::SHIM, contents.shim.into()),
        (section_kind::POLICY, contents.policy.as_bytes().into()),
        (section_kind::RUN, postcard::to_allocvec(contents.run)?.into()),
        (section_kind::TREE_INDEX, postcard::to_allocvec(&index)?.into()),
    ];
    let data_len = files.last().map_or(0, |(offset, file)| offset + file.len());
    let (sections, payload_len) = lay_out(&parts, data_len);

    ensure!(
        payload_len <= MAX_PAYLOAD,
        "the files have {} MiB, too many to be loaded: at most {} MiB",
        payload_len >> 20,
        MAX_PAYLOAD >> 20
    );

    let root_offset = ALIGN;
    let payload_offset = align(root_offset + contents.root.bytes.len() as u64);
    let header = BundleHeader {
        magic: BUNDLE_MAGIC,
        root_gpa: contents.root.gpa,
        root_offset,
        root_len: contents.root.bytes.len() as u64,
        root_mem_len: contents.root.mem_len,
        root_entry: contents.root.entry,
        payload_offset,
        payload_len,
    };
    out.write_all(header.as_bytes())?;
    pad_to(out, root_offset)?;
    out.write_all(&contents.root.bytes)?;
    pad_to(out, payload_offset)?;
    let payload = PayloadHeader { magic: PAYLOAD_MAGIC, section_count: u32::try_from(sections.len())?, reserved: 0 };
    out.write_all(payload.as_bytes())?;
    out.write_all(sections.as_bytes())?;
    for ((_, bytes), section) in parts.iter().zip(&sections) {
        pad_to(out, payload_offset + section.offset)?;
        out.write_all(bytes)?;
    }
    let data_offset = sections.last().map_or(0, |section| section.offset);
    for (offset, file) in &files {
        pad_to(out, payload_offset + data_offset + offset)?;
        match file {
            Content::Host(file) => copy_file(out, file)?,
            Content::Made(bytes) => out.write_all(bytes)?,
        }
    }
    let end = payload_offset + payload_len;
    pad_to(out, end)?;
    out.flush()?;
    Ok(end)
}

/// Where each section goes, the tree's data last; and the payload's length, a whole number of pages.
fn lay_out(parts: &[Part<'_>], data_len: u64) -> (Vec<Section>, u64) {
    let count = parts.len() + 1;
    let mut next = align((size_of::<PayloadHeader>() + count * size_of::<Section>()) as u64);
    let lengths = parts.iter().map(|(kind, bytes)| (*kind, bytes.len() as u64));
    let sections = lengths
        .chain([(section_kind::TREE_DATA, data_len)])
        .map(|(kind, len)| {
            let offset = next;
            next = align(offset + len);
            Section { kind, reserved: 0, offset, len }
        })
        .collect();
    (sections, next)
}

/// The index of the tree, and the files with their offsets in the data section.
fn index(tree: &Tree) -> Result<(TreeIndex, Vec<(u64, &Content)>)> {
    let mut indexer = Indexer::default();
    indexer.add(0, b"", tree.root())?;
    Ok((TreeIndex { entries: indexer.entries }, indexer.files))
}

/// Numbers the entries and places the files.
#[derive(Default)]
struct Indexer<'t> {
    entries: Vec<TreeEntry>,
    files: Vec<(u64, &'t Content)>,
    /// The entry that is the first name of each file of the host.
    first_names: BTreeMap<(u64, u64), u32>,
    next_offset: u64,
}

impl<'t> Indexer<'t> {
    /// Adds a node and all below it, in the order of the names.
    fn add(&mut self, parent: u32, name: &[u8], node: &'t Node) -> Result<()> {
        let number = u32::try_from(self.entries.len()).context("too many files")?;
        let packed = match &node.kind {
            Kind::Directory(_) => TreeNode::Directory,
            Kind::Symlink(target) => TreeNode::Symlink { target: target.clone() },
            Kind::File(file) => self.file(number, file),
            Kind::Fifo => TreeNode::Fifo,
        };
        self.entries.push(TreeEntry {
            parent,
            name: name.to_vec(),
            mode: node.meta.mode,
            uid: node.meta.uid,
            gid: node.meta.gid,
            mtime: node.meta.mtime,
            node: packed,
        });
        if let Kind::Directory(entries) = &node.kind {
            for (name, node) in entries {
                self.add(number, name, node)?;
            }
        }
        Ok(())
    }

    /// A file and where its bytes go, or one more name of a file that is there already.
    fn file(&mut self, number: u32, file: &'t Content) -> TreeNode {
        if let Content::Host(HostFile { id, .. }) = file {
            let first = *self.first_names.entry(*id).or_insert(number);
            if first != number {
                return TreeNode::Link { first };
            }
        }
        let offset = self.next_offset;
        self.next_offset = align(offset + file.len());
        self.files.push((offset, file));
        TreeNode::File { offset, len: file.len() }
    }
}

/// Copies a file's bytes; it must still be as long as it was when the index was made.
fn copy_file(out: &mut impl Write, file: &HostFile) -> Result<()> {
    let what = || format!("cannot pack {}", file.path.display());
    let source = File::open(&file.path).with_context(what)?;
    let copied = io::copy(&mut source.take(file.len), out).with_context(what)?;
    ensure!(copied == file.len, "{} became shorter while it was packed", file.path.display());
    Ok(())
}

/// Fills up with zeros to the position `end`.
fn pad_to(out: &mut (impl Write + Seek), end: u64) -> Result<()> {
    let here = out.stream_position()?;
    let Some(gap) = end.checked_sub(here) else {
        bail!("two parts of the bundle overlap");
    };
    io::copy(&mut io::repeat(0).take(gap), out)?;
    Ok(())
}

/// Rounds up to [`ALIGN`].
const fn align(n: u64) -> u64 {
    n.next_multiple_of(ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use zerocopy::FromBytes;

    /// Writes a bundle of `tree` and reads its sections back.
    fn round_trip(tree: &Tree) -> (BundleHeader, BTreeMap<u32, Vec<u8>>) {
        let root = RootImage { gpa: 0x100_0000, bytes: vec![7; 5000], mem_len: 9000, entry: 0x100_0010 };
        let mut out = Cursor::new(Vec::new());
        let contents = Contents { root: &root, shim: b"shim", policy: "version = 1", run: &RunConfig::default(), tree };
        let len = write_to(&mut out, &contents).unwrap();
        let bytes = out.into_inner();
        assert_eq!(len, bytes.len() as u64);
        let (header, _) = BundleHeader::read_from_prefix(&bytes).unwrap();
        let payload = &bytes[usize::try_from(header.payload_offset).unwrap()..];
        let (head, rest) = PayloadHeader::read_from_prefix(payload).unwrap();
        let count = usize::try_from(head.section_count).unwrap();
        let (sections, _) = <[Section]>::ref_from_prefix_with_elems(rest, count).unwrap();
        let sections = sections
            .iter()
            .map(|s| {
                assert_eq!(s.offset % ALIGN, 0);
                let start = usize::try_from(s.offset).unwrap();
                let end = start + usize::try_from(s.len).unwrap();
                (s.kind, payload[start..end].to_vec())
            })
            .collect();
        (header, sections)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), vec![1; 4097]).unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/c"), b"hello").unwrap();
        std::os::unix::fs::symlink("d/c", dir.path().join("link")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o622);
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap());
        let mut tree = Tree::new();
        assert_eq!(tree.lay_over(dir.path()).unwrap(), [dir.path().join("socket")]);

        let (header, sections) = round_trip(&tree);
        assert_eq!(header.magic, BUNDLE_MAGIC);
        assert_eq!((header.root_len, header.root_mem_len), (5000, 9000));
        assert_eq!(sections[&section_kind::SHIM], b"shim");
        let index: TreeIndex = postcard::from_bytes(&sections[&section_kind::TREE_INDEX]).unwrap();
        let data = &sections[&section_kind::TREE_DATA];
        let names: Vec<&[u8]> = index.entries.iter().map(|e| e.name.as_slice()).collect();
        let expected: [&[u8]; 13] =
            [b"", b"a", b"b", b"d", b"c", b"dev", b"etc", b"link", b"pipe", b"proc", b"run", b"sys", b"tmp"];
        assert_eq!(names, expected);
        assert_eq!(index.entries[4].parent, 3);
        let file = |n: usize| match index.entries[n].node {
            TreeNode::File { offset, len } => {
                let offset = usize::try_from(offset).unwrap();
                &data[offset..offset + usize::try_from(len).unwrap()]
            }
            _ => panic!("not a file"),
        };
        assert_eq!(file(1), vec![1; 4097]);
        assert_eq!(index.entries[2].node, TreeNode::Link { first: 1 });
        assert_eq!(index.entries[8].node, TreeNode::Fifo);
        assert_eq!(file(4), b"hello");
        // Two pages for a and b together, five bytes of the last file.
        assert_eq!(data.len(), 2 * 4096 + 5);
        assert_eq!(round_trip(&tree).1, sections);
    }
}
