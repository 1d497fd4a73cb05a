//! An image's parts, found in what `docker save` writes (an archive with a `manifest.json`), in an [OCI image
//! layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md) as a directory or in an archive (`skopeo copy … oci:DIR`
//! or `oci-archive:FILE`), or in both at once, as newer versions of Docker write. `skopeo copy … dir:DIR` leaves a layout's parts in one
//! directory, with the manifest itself as `manifest.json`.
use crate::compression::{self, Written};
use crate::{Digest, Error, Kind, Layer, Path as Names, Result, archive, limits, name};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Links from one part to another that are followed: `docker save` once wrote equal layers so.
const MAX_LINKS: usize = 4;
/// Where an image layout has its parts.
const BLOBS: &str = "blobs/sha256/";
/// Indexes within an index that are followed.
const MAX_NESTING: usize = 4;

/// What an image's configuration says of its program (OCI image configuration, "config").
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    /// User and group: `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// The environment, `K=V` each.
    pub env: Option<Vec<String>>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments behind them, unless others are given; the program too if there is no entry point.
    pub cmd: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: Option<String>,
}

#[derive(Deserialize)]
struct Config {
    architecture: String,
    os: String,
    config: Option<Settings>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    media_type: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Descriptor {
    /// Where it is below `directory`, and its digest. Digests are checked, and so no name of a stranger's becomes a path.
    fn part(&self, directory: &str) -> Result<(String, Digest)> {
        let digest = Digest::parse(&self.digest)
            .ok_or_else(|| Error::refused(self.digest.as_bytes(), "this is no sha256 digest"))?;
        Ok((format!("{directory}{}", digest.hex()), digest))
    }

    fn is_index(&self) -> bool {
        self.media_type.ends_with("index.v1+json") || self.media_type.ends_with("manifest.list.v2+json")
    }

    /// Whether this may be for the machine that a sandbox is. Where it does not say so, the configuration will.
    fn is_for_us(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == "amd64")
    }
}

/// An image whose manifest and configuration have been read.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of its configuration, by which it is known.
    pub id: Digest,
    /// The configuration as it is.
    pub config: Vec<u8>,
    /// Names that it was saved under.
    pub names: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Part>,
}

/// A layer of an image, not read yet.
#[derive(Clone, Debug)]
pub struct Part {
    /// Digest of the plain archive, as the configuration says.
    pub plain: Digest,
    /// The part's name.
    name: String,
    /// Digest of the part, if something tells it.
    digest: Option<Digest>,
}

/// What a manifest leads to: the configuration, the image's names, and its layers' parts with their digests if they are told.
type Described = (Vec<u8>, Vec<String>, Vec<(String, Option<Digest>)>);

/// Where an image is read from.
#[derive(Debug)]
pub struct Source(Place);

#[derive(Debug)]
enum Place {
    /// An archive, plain, and its parts.
    Archive { file: File, members: HashMap<Names, Kind> },
    /// An image layout of the host's.
    Directory(PathBuf),
}

impl Source {
    /// Opens an archive, compressed or not, or the directory of an image layout.
    ///
    /// # Errors
    /// [`Error::Io`], or what [`archive::read`] refuses.
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("cannot read {}", path.display());
        let metadata = path.metadata().map_err(Error::io(what()))?;
        if metadata.is_dir() {
            return Ok(Self(Place::Directory(path.to_owned())));
        }
        if !metadata.is_file() {
            return Err(Error::refused(path.as_os_str().as_encoded_bytes(), "it is neither a file nor a directory"));
        }
        let mut file = File::open(path).map_err(Error::io(what()))?;
        let mut start = Vec::new();
        (&file).take(4).read_to_end(&mut start).map_err(Error::io(what()))?;
        file.rewind().map_err(Error::io(what()))?;
        if compression::is_compressed(&start) {
            let mut plain = tempfile::tempfile().map_err(Error::io("cannot make a temporary file"))?;
            let name = path.as_os_str().as_encoded_bytes();
            compression::decompress(file, &mut plain, name, limits::ARCHIVE)?;
            file = plain;
        }
        let Layer { entries } = archive::read(&file)?;
        Ok(Self(Place::Archive { file, members: entries.into_iter().map(|entry| (entry.path, entry.kind)).collect() }))
    }

    /// Reads manifest and configuration of the one image that is there.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none, or more than one, or it is for another machine, or something is missing or wrong.
    pub fn image(&self) -> Result<Image> {
        let (config, names, parts) = match self.document("manifest.json")? {
            Some(bytes) if bytes.starts_with(b"{") => {
                self.described(parse("manifest.json", &bytes)?, Vec::new(), "")?
            }
            Some(bytes) => self.saved(&bytes)?,
            None => match self.document("index.json")? {
                Some(bytes) => self.laid_out(&bytes)?,
                None => {
                    return Err(Error::refused(b"", "this is no image: neither manifest.json nor index.json is in it"));
                }
            },
        };
        let parsed: Config = parse("the image's configuration", &config)?;
        if parsed.os != "linux" || parsed.architecture != "amd64" {
            return Err(Error::refused(b"the image", "it is not for Linux on amd64"));
        }
        if parts.len() != parsed.rootfs.diff_ids.len() {
            return Err(Error::refused(b"the image", "manifest and configuration have different numbers of layers"));
        }
        if parts.len() > limits::LAYERS {
            return Err(Error::refused(b"the image", "it has too many layers"));
        }
        let mut layers = Vec::new();
        for ((name, digest), plain) in parts.into_iter().zip(&parsed.rootfs.diff_ids) {
            let plain =
                Digest::parse(plain).ok_or_else(|| Error::refused(plain.as_bytes(), "this is no sha256 digest"))?;
            layers.push(Part { plain, name, digest });
        }
        Ok(Image { id: Digest::of(&config), config, names, layers })
    }

    /// Copies a layer's plain archive to `to`, and holds it against its digests.
    ///
    /// # Errors
    /// As [`compression::decompress`]; [`Error::Refused`] if a digest differs.
    pub fn layer(&self, part: &Part, to: impl Write) -> Result<Written> {
        let name = part.name.as_bytes();
        let from = self.part(&part.name)?.ok_or_else(|| Error::refused(name, "this layer is missing"))?;
        let written = compression::decompress(from, to, name, limits::LAYER)?;
        if part.digest.is_some_and(|digest| digest != written.source) {
            return Err(Error::refused(name, "its digest is not the one that the manifest tells"));
        }
        if written.plain != part.plain {
            return Err(Error::refused(name, "its digest is not the one that the configuration tells"));
        }
        Ok(written)
    }

    /// What `docker save` writes.
    fn saved(&self, manifest: &[u8]) -> Result<Described> {
        let images: Vec<SavedImage> = parse("manifest.json", manifest)?;
        let Ok([image]) = <[SavedImage; 1]>::try_from(images) else {
            return Err(Error::refused(b"manifest.json", "there is not exactly one image"));
        };
        let config = self.required(&image.config)?;
        let parts = image.layers.into_iter().map(|name| (name, None)).collect();
        Ok((config, image.repo_tags.unwrap_or_default(), parts))
    }

    /// An image layout.
    fn laid_out(&self, index: &[u8]) -> Result<Described> {
        let mut descriptor = one_for_us(index)?;
        let reference = descriptor.annotations.get("org.opencontainers.image.ref.name").cloned();
        for _ in 0..MAX_NESTING {
            if !descriptor.is_index() {
                break;
            }
            descriptor = one_for_us(&self.blob(&descriptor, BLOBS)?)?;
        }
        let manifest = parse(&descriptor.digest, &self.blob(&descriptor, BLOBS)?)?;
        self.described(manifest, reference.into_iter().collect(), BLOBS)
    }

    /// What a manifest leads to, whose parts are below `directory`.
    fn described(&self, manifest: Manifest, names: Vec<String>, directory: &str) -> Result<Described> {
        let config = self.blob(&manifest.config, directory)?;
        let part = |layer: &Descriptor| layer.part(directory).map(|(name, digest)| (name, Some(digest)));
        let parts = manifest.layers.iter().map(part).collect::<Result<_>>()?;
        Ok((config, names, parts))
    }

    /// A document of an image layout, held against its digest.
    fn blob(&self, descriptor: &Descriptor, directory: &str) -> Result<Vec<u8>> {
        let (name, digest) = descriptor.part(directory)?;
        let bytes = self.required(&name)?;
        if Digest::of(&bytes) != digest {
            return Err(Error::refused(name.as_bytes(), "its content is not what its digest says"));
        }
        Ok(bytes)
    }

    fn required(&self, name: &str) -> Result<Vec<u8>> {
        self.document(name)?.ok_or_else(|| Error::refused(name.as_bytes(), "this part of the image is missing"))
    }

    /// A part that is to be read whole, if it is there.
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(part) = self.part(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        part.take(limits::DOCUMENT + 1).read_to_end(&mut bytes).map_err(Error::io(format!("cannot read {name:?}")))?;
        if bytes.len() as u64 > limits::DOCUMENT {
            return Err(Error::refused(name.as_bytes(), "it is larger than is taken"));
        }
        Ok(Some(bytes))
    }

    /// A part of the image, if it is there.
    fn part(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>> {
        let what = || Error::io(format!("cannot read {name:?}"));
        let path = name::split(name.as_bytes()).map_err(|reason| Error::refused(name.as_bytes(), reason))?;
        match &self.0 {
            Place::Directory(directory) => {
                let path = directory.join(name.trim_start_matches('/'));
                match path.metadata() {
                    Ok(metadata) if metadata.is_file() => Ok(Some(Box::new(File::open(path).map_err(what())?))),
                    _ => Ok(None),
                }
            }
            Place::Archive { file, members } => {
                let Some((offset, len)) = find(members, path) else { return Ok(None) };
                let mut file = file;
                file.seek(SeekFrom::Start(offset)).map_err(what())?;
                Ok(Some(Box::new(file.take(len))))
            }
        }
    }
}

/// The file of an archive at `path`, through links from one part to another.
fn find(members: &HashMap<Names, Kind>, mut path: Names) -> Option<(u64, u64)> {
    for _ in 0..=MAX_LINKS {
        match members.get(&path)? {
            Kind::File { offset, len } => return Some((*offset, *len)),
            Kind::HardLink(first) => path.clone_from(first),
            Kind::Symlink(target) => {
                path.pop();
                for name in target.split(|&byte| byte == b'/') {
                    match name {
                        b"" | b"." => {}
                        b".." => drop(path.pop()),
                        name => path.push(name.to_vec()),
                    }
                }
            }
            _ => return None,
        }
    }
    None
}

/// The one image of an index that is for our machine.
fn one_for_us(index: &[u8]) -> Result<Descriptor> {
    let index: Index = parse("the index of the image", index)?;
    let mut ours = index.manifests.into_iter().filter(Descriptor::is_for_us);
    match (ours.next(), ours.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::refused(b"index.json", "there is no image for Linux on amd64")),
        _ => Err(Error::refused(b"index.json", "there is not exactly one image for Linux on amd64")),
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|_| Error::refused(name.as_bytes(), "it is not the JSON that it should be"))
}

/// What a configuration says of its program.
///
/// # Errors
/// [`Error::Refused`] if it is not one.
pub fn settings(config: &[u8]) -> Result<Settings> {
    let config: Config = parse("the image's configuration", config)?;
    Ok(config.config.unwrap_or_default())
}
