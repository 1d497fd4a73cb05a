//! Container images on the host: reading what `docker save` and `skopeo` write, and keeping it.
//!
//! An image is a stack of layers, each a tar archive of what it changes ([OCI image layer
//! specification](https://github.com/opencontainers/image-spec/blob/main/layer.md)), and a configuration.
//!
//! * [`compression`]: gzip and zstd to plain tar, with a digest and a limit.
//! * [`archive`]: one plain tar archive to a checked [`Layer`].
//! * [`image`]: an image's parts in `docker save`'s form or as an OCI image layout.
//! * [`export`]: an image to an archive of both forms.
//! * [`write`]: a layer to a plain tar archive.
//! * [`store`]: the images and layers that were imported, by their content.
//!
//! All of it comes from strangers. Nothing is ever unpacked: a layer stays one file, and [`Content`](Kind::File) says where in it a
//! file's bytes are. So no name of an archive becomes a name on the host. What cannot be taken is refused with the entry's
//! name and a reason; sizes, counts, depths and lengths are bounded by [`limits`].
#![forbid(unsafe_code)]

pub mod archive;
pub mod compression;
mod digest;
mod error;
pub mod export;
pub mod image;
mod name;
mod pax;
pub mod store;
#[cfg(test)]
mod tests;
pub mod write;

pub use digest::Digest;
pub use error::{Error, Refused, Result};

/// What is more than this is refused.
pub mod limits {
    /// Bytes of a layer, plain. A boot bundle holds less.
    pub const LAYER: u64 = 2 << 30;
    /// Bytes of an image's archive, plain.
    pub const ARCHIVE: u64 = 8 << 30;
    /// Entries of a layer.
    pub const ENTRIES: usize = 1 << 20;
    /// Layers of an image.
    pub const LAYERS: usize = 128;
    /// Bytes that may come out of one byte of compressed data, once [`RATIO_FROM`] have. Real layers stay below 50.
    pub const RATIO: u64 = 300;
    /// Up to here the ratio does not matter, in bytes.
    pub const RATIO_FROM: u64 = 64 << 20;
    /// Bytes of a manifest, index or configuration.
    pub const DOCUMENT: u64 = 4 << 20;
    /// Bytes of an extended header or long name.
    pub const EXTENSION: u64 = 1 << 20;
    /// Bytes of a name between slashes.
    pub const NAME: usize = 255;
    /// Bytes of a path or of a link's target.
    pub const PATH: usize = 4095;
    /// Names in a path.
    pub const DEPTH: usize = 256;
    /// Names in all paths of a layer: each takes some sixty bytes of memory, which an archive can ask for with two of its own. Real layers
    /// stay below a million. (This crate's own tests make do with less.)
    pub const NAMES: usize = if cfg!(test) { 10_000 } else { 8 << 20 };
}

/// A path in a layer: its names from the root on; none of them is empty, `.` or `..`.
pub type Path = Vec<Vec<u8>>;

/// A layer, checked: every name can be one, every file lies within the archive, and no path is there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// What it changes, in the archive's order.
    pub entries: Vec<Entry>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where. No name at all: the root directory.
    pub path: Path,
    /// Permissions, owner and time of what is there then.
    pub meta: Meta,
    /// What is there then.
    pub kind: Kind,
}

impl Entry {
    /// Its path for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        error::printable(&self.path.join(&b'/'))
    }
}

/// Permissions, owner and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
}

/// What an entry puts in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory; what is in it already stays.
    Directory,
    /// A regular file: its bytes are in the archive.
    File {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        len: u64,
    },
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// One more name of the file at this path.
    HardLink(Path),
    /// A named pipe.
    Fifo,
    /// Nothing: what the layers below have there is gone.
    Whiteout,
    /// The directory, without what the layers below have in it.
    Opaque,
}
