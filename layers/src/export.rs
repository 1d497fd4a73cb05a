//! Writing an image so that others take it: one archive that is an [OCI image
//! layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md) and, by its `manifest.json`, what `docker load` reads, as
//! `docker save` writes it since version 25. Layers are plain.
use crate::digest::Counted;
use crate::{Digest, Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Where an index says what a manifest is called, for OCI's tools.
const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// What a history says of who made a layer.
const AUTHOR: &str = "cargo xtask layer";
/// Longest tag, in bytes (OCI distribution specification).
const MAX_TAG: usize = 128;
/// Longest name with its tag that is taken.
const MAX_REFERENCE: usize = 512;

/// An image to write.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its configuration.
    pub config: String,
    /// What it is called.
    pub names: Vec<String>,
    /// Its layers, the lowest first: digests of the plain archives and where these are.
    pub layers: Vec<(Digest, PathBuf)>,
}

impl Export {
    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if a layer is not what its digest says.
    pub fn write(&self, to: impl Write) -> Result<()> {
        let mut out = Archive(Builder::new(to));
        out.document("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
        let mut written = BTreeSet::new();
        let mut layers = Vec::new();
        for (digest, path) in &self.layers {
            let len = path.metadata().map_err(cannot_read(path))?.len();
            if written.insert(*digest) {
                out.layer(*digest, path, len)?;
            }
            layers.push(json!({"mediaType": LAYER, "digest": digest.to_string(), "size": len}));
        }
        let config = out.blob(CONFIG, self.config.as_bytes())?;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut manifest = out.blob(MANIFEST, manifest.to_string().as_bytes())?;
        if let (Some(name), Some(fields)) = (self.names.first(), manifest.as_object_mut()) {
            fields.insert("annotations".into(), json!({ REFERENCE: name }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]});
        out.document("index.json", &index)?;
        let tags: Vec<&String> = self.names.iter().filter(|name| split_tag(name).is_some()).collect();
        let parts: Vec<String> = self.layers.iter().map(|(digest, _)| place(*digest)).collect();
        let config = place(Digest::of(self.config.as_bytes()));
        out.document("manifest.json", &json!([{"Config": config, "RepoTags": tags, "Layers": parts}]))?;
        let mut to = out.0.into_inner().map_err(cannot_write())?;
        to.flush().map_err(cannot_write())
    }
}

/// An archive in the making.
struct Archive<W: Write>(Builder<W>);

impl<W: Write> Archive<W> {
    fn add(&mut self, name: &str, len: u64, from: impl Read) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(len);
        header.set_mtime(0);
        self.0.append_data(&mut header, name, from).map_err(cannot_write())
    }

    fn document(&mut self, name: &str, value: &Value) -> Result<()> {
        let text = value.to_string();
        self.add(name, text.len() as u64, text.as_bytes())
    }

    /// Adds a document under its digest; its descriptor.
    fn blob(&mut self, kind: &str, bytes: &[u8]) -> Result<Value> {
        let digest = Digest::of(bytes);
        self.add(&place(digest), bytes.len() as u64, bytes)?;
        Ok(json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()}))
    }

    /// Adds a layer, and holds it against its digest.
    fn layer(&mut self, digest: Digest, path: &Path, len: u64) -> Result<()> {
        let file = File::open(path).map_err(cannot_read(path))?;
        let mut file = Counted::new(file.take(len));
        self.add(&place(digest), len, &mut file)?;
        if file.len != len || file.hasher.finish() != digest {
            return Err(Error::refused(digest.hex().as_bytes(), "this layer in the store is not what its digest says"));
        }
        Ok(())
    }
}

/// Where an image layout has what has this digest.
fn place(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn cannot_read(path: &Path) -> impl FnOnce(io::Error) -> Error {
    Error::io(format!("cannot read {}", path.display()))
}

fn cannot_write() -> impl FnOnce(io::Error) -> Error {
    Error::io("cannot write the image")
}

/// The configuration of an image of one layer that says nothing of a program.
#[must_use]
pub fn base_config(layer: Digest) -> String {
    let rootfs = json!({"type": "layers", "diff_ids": [layer.to_string()]});
    json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs, "history": [{"created_by": AUTHOR}]})
        .to_string()
}

/// What becomes of a configuration if the image's layers are these: `below` of them are its own, from the lowest on.
///
/// # Errors
/// [`Error::Refused`] if the configuration is none.
pub fn with_layers(config: &str, below: usize, layers: &[Digest]) -> Result<String> {
    let broken = || Error::refused(b"the configuration", "it is not the JSON that it should be");
    let mut config: Value = serde_json::from_str(config).map_err(|_| broken())?;
    let fields = config.as_object_mut().ok_or_else(broken)?;
    let ids: Vec<String> = layers.iter().map(Digest::to_string).collect();
    fields.insert("rootfs".into(), json!({"type": "layers", "diff_ids": ids}));
    // A history tells of every layer, or there is none.
    if let Some(history) = fields.get_mut("history").and_then(Value::as_array_mut) {
        if below == 0 {
            history.clear();
        }
        history.extend(layers.iter().skip(below).map(|_| json!({"created_by": AUTHOR})));
    }
    Ok(config.to_string())
}

/// A name with a tag for an image, `latest` if it has none. `None`: no tool takes it.
#[must_use]
pub fn reference(name: &str) -> Option<String> {
    let name = if split_tag(name).is_some() { name.to_owned() } else { format!("{name}:latest") };
    let (repository, tag) = split_tag(&name)?;
    let is_part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
        let ends = part.bytes().next().into_iter().chain(part.bytes().last());
        !part.is_empty() && part.bytes().all(inner) && ends.into_iter().all(|byte| byte.is_ascii_alphanumeric())
    };
    // Only the first part, a machine, has capitals or a port.
    let rest = repository.split_once('/').map_or(repository, |(_, rest)| rest);
    let is_lower = rest.bytes().all(|byte| byte != b':' && !byte.is_ascii_uppercase());
    let is_tag = tag.len() <= MAX_TAG
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !tag.starts_with(['.', '-']);
    (name.len() <= MAX_REFERENCE && is_tag && is_lower && repository.split('/').all(is_part)).then_some(name)
}

/// Name and tag; a colon before a slash is that of a port.
fn split_tag(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':').filter(|(repository, tag)| !repository.is_empty() && !tag.is_empty() && !tag.contains('/'))
}
