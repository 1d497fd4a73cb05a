//! What was imported, by its content.
//!
//! ```text
//! layers/HEX.tar    a layer's plain archive, named by its digest (its `diff_id`)
//! images/HEX.json   an image: its configuration, names and layers, named by its configuration's digest
//! seen/HEX          what a file of the host was, an image or `layer:` and a layer: by its path, device, inode, length and times
//! ```
//! A layer that belongs to no image is one that was given by itself.
//!
//! A file is written under another name and moved to its own when it is whole. Who adds or removes holds `lock`.
use crate::compression::decompress;
use crate::image::{self, Image, Settings, Source};
use crate::{Digest, Error, Layer, Result, archive, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// An image that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its configuration's digest.
    pub id: Digest,
    /// Names that it was saved under.
    pub names: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// The configuration as it is.
    pub config: String,
}

impl Stored {
    /// What its configuration says of its program.
    ///
    /// # Errors
    /// [`Error::Refused`] if the configuration is none.
    pub fn settings(&self) -> Result<Settings> {
        image::settings(self.config.as_bytes())
    }
}

/// Something in the store that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// An image.
    Image(Stored),
    /// A layer that no image has.
    Layer(Digest),
}

/// Digits of a digest that name it.
const MIN_DIGITS: usize = 4;
/// What a note says before a layer's digest.
const LAYER_NOTE: &str = "layer:";

/// An image's file in the store.
#[derive(Serialize, Deserialize)]
struct Record {
    names: Vec<String>,
    layers: Vec<String>,
    config: String,
}

impl Store {
    /// The store in this directory, which is made when something is put there.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where a layer's archive is.
    #[must_use]
    pub fn layer_path(&self, layer: Digest) -> PathBuf {
        self.directory.join("layers").join(format!("{}.tar", layer.hex()))
    }

    fn image_path(&self, id: Digest) -> PathBuf {
        self.directory.join("images").join(format!("{}.json", id.hex()))
    }

    /// The entries of a layer that is in the store.
    ///
    /// # Errors
    /// As [`archive::read`].
    pub fn layer(&self, layer: Digest) -> Result<Layer> {
        let path = self.layer_path(layer);
        archive::read(File::open(&path).map_err(Error::io(format!("cannot read {}", path.display())))?)
    }

    /// The image in this file or directory, imported unless the same file was before. The flag says whether it had to be.
    ///
    /// # Errors
    /// What is wrong with the image; nothing is kept of it then but layers that are in order.
    pub fn image(&self, path: &Path) -> Result<(Stored, bool)> {
        let _lock = self.lock()?;
        let seen = self.note(path)?;
        if let Some(stored) = seen.as_ref().and_then(|seen| self.remembered(seen)) {
            return Ok((stored, false));
        }
        let stored = self.import(path)?;
        if let Some(seen) = seen {
            self.put(&seen, |file| write(file, stored.id.hex().as_bytes()))?;
        }
        Ok((stored, true))
    }

    /// The layer whose archive, compressed or not, this file is, taken in unless the same file was before. The flag says whether it had to be.
    ///
    /// # Errors
    /// What is wrong with the archive; nothing is kept of it then.
    pub fn archive(&self, path: &Path) -> Result<(Digest, bool)> {
        let _lock = self.lock()?;
        let seen = self.note(path)?;
        let known = seen
            .as_ref()
            .and_then(|seen| Digest::from_hex(fs::read_to_string(seen).ok()?.trim().strip_prefix(LAYER_NOTE)?));
        if let Some(digest) = known.filter(|digest| self.layer_path(*digest).is_file()) {
            return Ok((digest, false));
        }
        let what = || Error::io(format!("cannot read {}", path.display()));
        if !path.metadata().map_err(what())?.is_file() {
            return Err(Error::refused(b"", "it is no file"));
        }
        let from = File::open(path).map_err(what())?;
        let mut plain = self.temporary("layers")?;
        let decompressed = decompress(from, plain.as_file_mut(), b"the archive", limits::LAYER);
        let digest = decompressed.map_err(|error| error.for_room_in(&self.directory))?.plain;
        archive::read(plain.as_file_mut())?;
        persist(plain, &self.layer_path(digest))?;
        if let Some(seen) = seen {
            self.put(&seen, |file| write(file, format!("{LAYER_NOTE}{}", digest.hex()).as_bytes()))?;
        }
        Ok((digest, true))
    }

    /// Where it is noted what a file of the host was.
    fn note(&self, path: &Path) -> Result<Option<PathBuf>> {
        Ok(seen_key(path)?.map(|key| self.directory.join("seen").join(key.hex())))
    }

    /// The image that a note says, if it is still whole.
    fn remembered(&self, note: &Path) -> Option<Stored> {
        let id = Digest::from_hex(fs::read_to_string(note).ok()?.trim())?;
        let stored = self.load(id).ok()?;
        stored.layers.iter().all(|layer| self.layer_path(*layer).is_file()).then_some(stored)
    }

    fn import(&self, path: &Path) -> Result<Stored> {
        let source = Source::open(path)?;
        let Image { id, config, names, layers } = source.image()?;
        let config = String::from_utf8(config).map_err(|_| Error::refused(b"the configuration", "it is no text"))?;
        for part in &layers {
            let place = self.layer_path(part.plain);
            if !place.is_file() {
                self.put(&place, |file| {
                    source.layer(part, &mut *file)?;
                    archive::read(file).map(drop)
                })?;
            }
        }
        self.record(Stored { id, names, layers: layers.iter().map(|part| part.plain).collect(), config })
    }

    /// Makes an image of layers that are in the store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep(&self, config: String, names: Vec<String>, layers: Vec<Digest>) -> Result<Stored> {
        let _lock = self.lock()?;
        self.record(Stored { id: Digest::of(config.as_bytes()), names, layers, config })
    }

    /// Writes an image's file.
    fn record(&self, stored: Stored) -> Result<Stored> {
        let record = Record {
            names: stored.names.clone(),
            layers: stored.layers.iter().map(Digest::hex).collect(),
            config: stored.config.clone(),
        };
        let record = serde_json::to_vec(&record)
            .map_err(|error| Error::Io { what: "cannot write the image's record".into(), error: error.into() })?;
        self.put(&self.image_path(stored.id), |file| write(file, &record))?;
        Ok(stored)
    }

    /// All images, by their digests.
    ///
    /// # Errors
    /// [`Error::Io`] if the store cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut all = Vec::new();
        for name in names(&self.directory.join("images"))? {
            if let Some(id) = name.strip_suffix(".json").and_then(Digest::from_hex) {
                all.push(self.load(id)?);
            }
        }
        all.sort_by_key(|stored| stored.id);
        Ok(all)
    }

    /// Layers that no image has, by their digests.
    ///
    /// # Errors
    /// [`Error::Io`] if the store cannot be read.
    pub fn loose(&self) -> Result<Vec<Digest>> {
        let used: BTreeSet<Digest> = self.list()?.into_iter().flat_map(|image| image.layers).collect();
        let mut all: Vec<Digest> = names(&self.directory.join("layers"))?
            .iter()
            .filter_map(|name| Digest::from_hex(name.strip_suffix(".tar")?))
            .filter(|layer| !used.contains(layer))
            .collect();
        all.sort();
        Ok(all)
    }

    /// The image or layer with this name, or whose digest begins so.
    ///
    /// # Errors
    /// [`Error::NotFound`] unless there is exactly one.
    pub fn find(&self, name: &str) -> Result<Kept> {
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        let begins = |digest: &Digest| digits.len() >= MIN_DIGITS && digest.hex().starts_with(digits);
        let is_it = |stored: &Stored| stored.names.iter().any(|known| known == name) || begins(&stored.id);
        let images = self.list()?.into_iter().filter(is_it).map(Kept::Image);
        let mut found = images.chain(self.loose()?.into_iter().filter(begins).map(Kept::Layer));
        match (found.next(), found.next()) {
            (Some(kept), None) => Ok(kept),
            (None, _) => Err(Error::NotFound(format!("no image {name:?} was imported"))),
            _ => Err(Error::NotFound(format!("several images or layers are meant by {name:?}"))),
        }
    }

    /// The same, if it is an image.
    ///
    /// # Errors
    /// [`Error::NotFound`] unless there is exactly one.
    pub fn find_image(&self, name: &str) -> Result<Stored> {
        match self.find(name)? {
            Kept::Image(stored) => Ok(stored),
            Kept::Layer(_) => Err(Error::NotFound(format!("{name:?} is a layer and no image"))),
        }
    }

    /// Removes an image with the layers that are no other's, or a layer. The bytes that became free.
    ///
    /// # Errors
    /// [`Error::Io`] if something cannot be removed.
    pub fn destroy(&self, kept: &Kept) -> Result<u64> {
        match kept {
            Kept::Image(stored) => self.destroy_image(stored),
            Kept::Layer(layer) => {
                let _lock = self.lock()?;
                self.forget(&format!("{LAYER_NOTE}{}", layer.hex()))?;
                remove(&self.layer_path(*layer))
            }
        }
    }

    fn destroy_image(&self, stored: &Stored) -> Result<u64> {
        let _lock = self.lock()?;
        remove(&self.image_path(stored.id))?;
        self.forget(&stored.id.hex())?;
        let used: BTreeSet<Digest> = self.list()?.into_iter().flat_map(|other| other.layers).collect();
        let mut freed = 0;
        for layer in stored.layers.iter().filter(|layer| !used.contains(layer)) {
            freed += remove(&self.layer_path(*layer))?;
        }
        Ok(freed)
    }

    /// Removes the notes that say this.
    fn forget(&self, said: &str) -> Result<()> {
        let directory = self.directory.join("seen");
        for note in names(&directory)? {
            let note = directory.join(note);
            if fs::read_to_string(&note).is_ok_and(|text| text.trim() == said) {
                remove(&note)?;
            }
        }
        Ok(())
    }

    /// Removes all images and layers. The bytes that became free.
    ///
    /// # Errors
    /// [`Error::Io`] if something cannot be removed.
    pub fn clear(&self) -> Result<u64> {
        let _lock = self.lock()?;
        let mut freed = 0;
        for kind in ["seen", "images", "layers"] {
            let directory = self.directory.join(kind);
            for name in names(&directory)? {
                freed += remove(&directory.join(name))?;
            }
        }
        Ok(freed)
    }

    fn load(&self, id: Digest) -> Result<Stored> {
        let path = self.image_path(id);
        let bytes = fs::read(&path).map_err(Error::io(format!("cannot read {}", path.display())))?;
        let broken = || Error::refused(path.as_os_str().as_bytes(), "this file of the store is broken");
        let record: Record = serde_json::from_slice(&bytes).map_err(|_| broken())?;
        let layers = record.layers.iter().map(|hex| Digest::from_hex(hex).ok_or_else(broken)).collect::<Result<_>>()?;
        Ok(Stored { id, names: record.names, layers, config: record.config })
    }

    /// Writes a file with `fill` and moves it to `place`.
    fn put(&self, place: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        let kind = place.parent().and_then(Path::file_name).unwrap_or_default();
        let mut file = self.temporary(kind)?;
        fill(file.as_file_mut()).map_err(|error| error.for_room_in(&self.directory))?;
        persist(file, place)
    }

    fn temporary(&self, kind: impl AsRef<Path>) -> Result<NamedTempFile> {
        let directory = self.directory.join(kind);
        let what = || Error::io(format!("cannot write to {}", directory.display()));
        fs::create_dir_all(&directory).map_err(what())?;
        NamedTempFile::new_in(&directory).map_err(what())
    }

    fn lock(&self) -> Result<File> {
        let path = self.directory.join("lock");
        let what = || Error::io(format!("cannot write {}", path.display()));
        fs::create_dir_all(&self.directory).map_err(what())?;
        let file = File::create(&path).map_err(what())?;
        file.lock().map_err(what())?;
        Ok(file)
    }
}

/// What tells a file of the host from others, and from itself once it has changed. `None` for a directory, whose files may change unseen.
fn seen_key(path: &Path) -> Result<Option<Digest>> {
    let what = || Error::io(format!("cannot read {}", path.display()));
    let path = path.canonicalize().map_err(what())?;
    let metadata = path.metadata().map_err(what())?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    let state = format!("{} {} {} {times:?} ", metadata.dev(), metadata.ino(), metadata.len());
    Ok(Some(Digest::of(&[state.as_bytes(), path.as_os_str().as_bytes()].concat())))
}

fn write(file: &mut File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes).map_err(Error::io("cannot write a file"))
}

fn persist(file: NamedTempFile, place: &Path) -> Result<()> {
    file.persist(place)
        .map(drop)
        .map_err(|failed| failed.error)
        .map_err(Error::io(format!("cannot write {}", place.display())))
}

/// The names in a directory; none if it is not there.
fn names(directory: &Path) -> Result<Vec<String>> {
    let what = || Error::io(format!("cannot read {}", directory.display()));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(what()(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(what())?.file_name().into_string());
    }
    Ok(names)
}

/// Removes a file that may be gone already; how long it was.
fn remove(path: &Path) -> Result<u64> {
    let what = || Error::io(format!("cannot remove {}", path.display()));
    let len = path.metadata().map_or(0, |metadata| metadata.len());
    match fs::remove_file(path) {
        Ok(()) => Ok(len),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(what()(error)),
    }
}
