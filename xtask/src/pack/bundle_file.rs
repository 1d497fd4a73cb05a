//! Writing the boot bundle: the root image, the shim, the policy, the parameters and the tree, each at its place.
use super::cache::Entry;
use super::tree::{Content, HostFile, Kind, Node, Tree};
use crate::images::RootImage;
use anyhow::{Context, Result, bail, ensure};
use bundle::{
    ALIGN, BUNDLE_MAGIC, BundleHeader, PAYLOAD_MAGIC, PayloadHeader, PolicyFile, RunConfig, Section, TreeEntry,
    TreeIndex, TreeNode, section_kind,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;

/// Largest payload: it is loaded below 2 GiB, together with all else that must lie there.
const MAX_PAYLOAD: u64 = 1536 << 20;

/// Least bytes of layers that are kept for later runs.
const MIN_CACHED: u64 = 16 << 20;

/// All that goes into a bundle.
pub(crate) struct Contents<'a> {
    /// The root partition's image.
    pub(crate) root: &'a RootImage,
    /// The flat shim.
    pub(crate) shim: &'a [u8],
    /// The policy's files.
    pub(crate) policy: &'a [PolicyFile],
    /// What to run.
    pub(crate) run: &'a RunConfig,
    /// Its files.
    pub(crate) tree: &'a Tree,
}

/// A bundle that is written.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// What keeps other runs away from it.
    _entry: Option<Entry>,
}

/// Writes the bundle: into the cache if that is given and the layers are large, else into `directory`.
pub(crate) fn write(directory: &Path, cache: Option<&Path>, contents: &Contents<'_>) -> Result<Bundle> {
    let plan = Plan::of(contents.tree)?;
    let cached = cache.filter(|_| plan.layers_len >= MIN_CACHED).and_then(|cache| {
        let entry = Entry::open(cache, &plan.key(), LAYERS_OFFSET + plan.layers_len);
        // Without the cache it takes longer, no more.
        entry.inspect_err(|error| eprintln!("cordon: warning: {}: {error}", cache.display())).ok()
    });
    let Some((mut entry, found)) = cached else {
        let path = directory.join("bundle");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let len = write_file(&file, contents, &plan, false)?;
        return Ok(Bundle { path, len, _entry: None });
    };
    let len = write_file(&entry.file, contents, &plan, found)?;
    entry.publish().with_context(|| format!("cannot keep {}", entry.path.display()))?;
    Ok(Bundle { path: entry.path.clone(), len, _entry: Some(entry) })
}

fn write_file(file: &File, contents: &Contents<'_>, plan: &Plan<'_>, has_layers: bool) -> Result<u64> {
    let cannot = || "cannot write the boot bundle";
    let len = write_to(&mut BufWriter::new(file), contents, plan, has_layers).with_context(cannot)?;
    file.set_len(len).with_context(cannot)?;
    Ok(len)
}

/// The bytes of a section that is not the tree's data.
type Part<'a> = (u32, std::borrow::Cow<'a, [u8]>);

/// The payload's place: its header and table take a page, and the files of the layers follow, where they are the same whatever else
/// the bundle holds.
const PAYLOAD_OFFSET: u64 = ALIGN;
const LAYERS_OFFSET: u64 = PAYLOAD_OFFSET + ALIGN;

/// Writes all parts but, if they are there already, the files of the layers.
fn write_to(out: &mut (impl Write + Seek), contents: &Contents<'_>, plan: &Plan<'_>, has_layers: bool) -> Result<u64> {
    let parts: [Part<'_>; 4] = [
        (section_kind::SHIM, contents.shim.into()),
        (section_kind::POLICY, postcard::to_allocvec(contents.policy)?.into()),
        (section_kind::RUN, postcard::to_allocvec(contents.run)?.into()),
        (section_kind::TREE_INDEX, postcard::to_allocvec(&plan.index)?.into()),
    ];
    let (sections, payload_len) = lay_out(&parts, plan.data_len);
    ensure!(
        payload_len <= MAX_PAYLOAD,
        "the files have {} MiB, too many to be loaded: at most {} MiB",
        payload_len >> 20,
        MAX_PAYLOAD >> 20
    );
    let root_offset = PAYLOAD_OFFSET + payload_len;
    let header = BundleHeader {
        magic: BUNDLE_MAGIC,
        root_gpa: contents.root.gpa,
        root_offset,
        root_len: contents.root.bytes.len() as u64,
        root_mem_len: contents.root.mem_len,
        root_entry: contents.root.entry,
        payload_offset: PAYLOAD_OFFSET,
        payload_len,
    };
    out.write_all(header.as_bytes())?;
    pad_to(out, PAYLOAD_OFFSET)?;
    let payload = PayloadHeader { magic: PAYLOAD_MAGIC, section_count: u32::try_from(sections.len())?, reserved: 0 };
    out.write_all(payload.as_bytes())?;
    out.write_all(sections.as_bytes())?;
    pad_to(out, LAYERS_OFFSET)?;
    if has_layers {
        out.seek(SeekFrom::Start(LAYERS_OFFSET + plan.layers_len))?;
    }
    for (offset, file) in plan.files.iter().filter(|(offset, _)| !has_layers || *offset >= plan.layers_len) {
        pad_to(out, LAYERS_OFFSET + offset)?;
        match file {
            Content::Host(file) => copy_file(out, file)?,
            Content::Made(bytes) => out.write_all(bytes)?,
        }
    }
    for ((_, bytes), section) in parts.iter().zip(sections.iter().skip(1)) {
        pad_to(out, PAYLOAD_OFFSET + section.offset)?;
        out.write_all(bytes)?;
    }
    pad_to(out, root_offset)?;
    out.write_all(&contents.root.bytes)?;
    let end = align(root_offset + contents.root.bytes.len() as u64);
    pad_to(out, end)?;
    out.flush()?;
    Ok(end)
}

/// Where each section goes, the tree's data first; and the payload's length, a whole number of pages.
fn lay_out(parts: &[Part<'_>], data_len: u64) -> (Vec<Section>, u64) {
    let mut next = ALIGN;
    let lengths = parts.iter().map(|(kind, bytes)| (*kind, bytes.len() as u64));
    let sections = [(section_kind::TREE_DATA, data_len)]
        .into_iter()
        .chain(lengths)
        .map(|(kind, len)| {
            let offset = next;
            next = align(offset + len);
            Section { kind, reserved: 0, offset, len }
        })
        .collect();
    (sections, next)
}

/// The index of a tree, and where the bytes of its files go: those of the layers first.
struct Plan<'t> {
    index: TreeIndex,
    /// The files with their offsets in the data section, in ascending order.
    files: Vec<(u64, &'t Content)>,
    /// Bytes of the data section.
    data_len: u64,
    /// Of them those of the layers' files, a whole number of pages.
    layers_len: u64,
}

impl<'t> Plan<'t> {
    fn of(tree: &'t Tree) -> Result<Self> {
        let mut indexer = Indexer::default();
        indexer.add(0, b"", tree.root())?;
        let Indexer { mut entries, files, .. } = indexer;
        let (of_layers, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(_, file)| matches!(file, Content::Host(file) if file.of_layer));
        let mut plan = Self { index: TreeIndex::default(), files: Vec::new(), data_len: 0, layers_len: 0 };
        plan.place(&of_layers, &mut entries);
        plan.layers_len = align(plan.data_len);
        plan.place(&others, &mut entries);
        plan.index = TreeIndex { entries };
        Ok(plan)
    }

    /// Puts files behind those that have their place.
    fn place(&mut self, files: &[(usize, &'t Content)], entries: &mut [TreeEntry]) {
        for (number, file) in files {
            let offset = align(self.data_len);
            self.data_len = offset + file.len();
            self.files.push((offset, file));
            if let Some(entry) = entries.get_mut(*number) {
                entry.node = TreeNode::File { offset, len: file.len() };
            }
        }
    }

    /// What tells these files of layers, in this state and order, from others.
    fn key(&self) -> String {
        let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
        for (salt, hasher) in (0u8..).zip(&mut hashers) {
            salt.hash(hasher);
            for (offset, file) in &self.files {
                if let Content::Host(HostFile { path, offset: start, len, id, changed, of_layer: true }) = file {
                    (offset, path, start, len, id, changed).hash(hasher);
                }
            }
        }
        hashers.map(|hasher| format!("{:016x}", hasher.finish())).concat()
    }
}

/// Numbers the entries.
#[derive(Default)]
struct Indexer<'t> {
    entries: Vec<TreeEntry>,
    /// The files by their entries. Their places in the data are found later.
    files: Vec<(usize, &'t Content)>,
    /// The entry that is the first name of each file of the host.
    first_names: BTreeMap<(u64, u64), u32>,
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

    /// A file, or one more name of a file that is there already.
    fn file(&mut self, number: u32, file: &'t Content) -> TreeNode {
        if let Content::Host(HostFile { id, .. }) = file {
            let first = *self.first_names.entry(*id).or_insert(number);
            if first != number {
                return TreeNode::Link { first };
            }
        }
        self.files.push((self.entries.len(), file));
        TreeNode::File { offset: 0, len: file.len() }
    }
}

/// Copies a file's bytes; it must still be as long as it was when the index was made.
fn copy_file(out: &mut impl Write, file: &HostFile) -> Result<()> {
    let what = || format!("cannot pack {}", file.path.display());
    let mut source = File::open(&file.path).with_context(what)?;
    source.seek(SeekFrom::Start(file.offset)).with_context(what)?;
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

    /// A policy's file.
    fn policy(text: &str) -> PolicyFile {
        PolicyFile { name: "p".into(), text: text.into(), ..PolicyFile::default() }
    }

    /// Writes a bundle of `tree` and reads its sections back.
    fn round_trip(tree: &Tree) -> (BundleHeader, BTreeMap<u32, Vec<u8>>) {
        let root = RootImage { gpa: 0x100_0000, bytes: vec![7; 5000], mem_len: 9000, entry: 0x100_0010 };
        let mut out = Cursor::new(Vec::new());
        let contents =
            Contents { root: &root, shim: b"shim", policy: &[policy("version = 1")], run: &RunConfig::default(), tree };
        let plan = Plan::of(tree).unwrap();
        let len = write_to(&mut out, &contents, &plan, false).unwrap();
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

    #[test]
    fn the_layers_files_come_first_and_are_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, cache, other) = (dir.path().join("layer"), dir.path().join("cache"), dir.path().join("other"));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join("large"), vec![1; 16 << 20]).unwrap();
        std::fs::write(layer.join("z"), b"zzz").unwrap();
        std::fs::write(&other, b"not of the layer").unwrap();
        let root = RootImage { gpa: 0x100_0000, bytes: vec![7; 5000], mem_len: 9000, entry: 0x100_0010 };
        let bundle = |text: &str, import: bool| {
            let mut tree = Tree::new();
            tree.lay_over(&layer).unwrap();
            if import {
                tree.import(&other).unwrap();
            }
            let run = RunConfig::default();
            let contents = Contents { root: &root, shim: b"shim", policy: &[policy(text)], run: &run, tree: &tree };
            let bundle = |cache| {
                let bundle = write(dir.path(), cache, &contents).unwrap();
                let bytes = std::fs::read(&bundle.path).unwrap();
                assert_eq!(bytes.len() as u64, bundle.len);
                (bundle, bytes)
            };
            let (_, whole) = bundle(None);
            let (kept, cached) = bundle(Some(&cache));
            assert!(whole == cached, "the cache makes no difference");
            kept.path.clone()
        };
        let first = bundle("one policy", false);
        assert!(first.starts_with(&cache));
        assert_eq!(bundle("a longer policy, and one more file", true), first);
        assert_eq!(bundle("p", false), first);
        // A layer that has changed is another.
        std::fs::write(layer.join("z"), b"zzzz").unwrap();
        assert_ne!(bundle("p", false), first);
    }
}
