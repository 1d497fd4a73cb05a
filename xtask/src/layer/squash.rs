//! A tree of files as one layer.
use crate::exit::Failure;
use crate::pack::{Content, HostFile, Kind, Node, Tree};
use anyhow::{Context, Result};
use layers::store::Store;
use layers::write::{Body, New, Writer};
use layers::{Digest, Meta};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use tempfile::NamedTempFile;

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 16;

/// Puts a layer with all of a tree into the store.
pub(super) fn keep(store: &Store, tree: &Tree) -> Result<Digest, Failure> {
    let file = NamedTempFile::new().context("cannot make a temporary file")?;
    let mut squash = Squash { writer: Writer::new(BufWriter::new(file)), firsts: HashMap::new() };
    squash.add(&mut Vec::new(), tree.root())?;
    let (to, len) = squash.writer.finish()?;
    let file = to.into_inner().map_err(io::IntoInnerError::into_error).context("cannot write the layer")?;
    file.as_file().set_len(len).context("cannot write the layer")?;
    Ok(store.archive(file.path())?.0)
}

struct Squash<W> {
    writer: Writer<W>,
    /// Paths of files by what tells them from others: the next name of one is a hard link.
    firsts: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write + Seek> Squash<W> {
    /// Adds what is at a path, with all that is in it. Trees are no deeper than layers and paths of the host may be.
    fn add(&mut self, path: &mut Vec<u8>, node: &Node) -> Result<()> {
        let body = match &node.kind {
            Kind::Directory(entries) => {
                self.entry(path, node, Body::Directory)?;
                for (name, node) in entries {
                    let end = path.len();
                    if end > 0 {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                    self.add(path, node)?;
                    path.truncate(end);
                }
                return Ok(());
            }
            Kind::File(content) => return self.file(path, node, content),
            Kind::Symlink(target) => Body::Symlink(target),
            Kind::Fifo => Body::Fifo,
        };
        self.entry(path, node, body)
    }

    fn entry(&mut self, path: &[u8], node: &Node, body: Body<'_>) -> Result<()> {
        let meta = Meta { mode: node.meta.mode, uid: node.meta.uid, gid: node.meta.gid, mtime: node.meta.mtime };
        Ok(self.writer.add(&New { path, meta, nanoseconds: 0, xattrs: &[], body })?)
    }

    fn file(&mut self, path: &[u8], node: &Node, content: &Content) -> Result<()> {
        match content {
            Content::Made(bytes) => {
                self.entry(path, node, Body::File { len: bytes.len() as u64 })?;
                Ok(self.writer.data(bytes)?)
            }
            Content::Host(file) => match self.firsts.get(&file.id).cloned() {
                Some(first) => self.entry(path, node, Body::HardLink(&first)),
                None => {
                    self.firsts.insert(file.id, path.to_vec());
                    self.entry(path, node, Body::File { len: file.len })?;
                    self.copy(file).with_context(|| format!("cannot read {}", file.path.display()))
                }
            },
        }
    }

    fn copy(&mut self, file: &HostFile) -> Result<()> {
        let mut from = File::open(&file.path)?;
        from.seek(SeekFrom::Start(file.offset))?;
        let mut from = from.take(file.len);
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                len => self.writer.data(buffer.get(..len).unwrap_or_default())?,
            }
        }
    }
}
