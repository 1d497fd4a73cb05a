//! The files of a sandbox: a read-only tree with a writable layer in RAM on top, as one POSIX file system.
//!
//! [`Stack`] is the file system. It works on inode numbers and single names, as FUSE does: it never sees a path, so
//! it has no symbolic link to follow and no `..` to be tricked with. What it offers are the operations of a Unix
//! kernel (lookup, create, rename, read, write …) with Linux' results and errors.
//!
//! How the layers make one tree:
//!
//! * **Lower**: [`bundle::TreeIndex`] and the bytes of its files, checked once when the stack is made and never
//!   changed. Entry `i` has inode number `i + 1`.
//! * **Upper**: whatever was made or changed. The upper layer is keyed by *inode number*, not by path. A lower file
//!   that is written, renamed or chmodded gets a node here under the number it already had, so numbers survive
//!   copy-up, and no parent has to be copied along.
//! * **Copy-up** moves the attributes at once and the data page by page: an upper file keeps a view of its lower bytes
//!   and owns only the pages that were written.
//! * **Whiteouts** are one bit for each lower entry: set, the entry is gone from the place where the lower layer has it.
//!   A directory made anew over a deleted one is a new inode without a lower half, and therefore opaque.
//! * **Live**: a folder of the host ([`Bind`]) covers a directory of the tree, or lies over it. Its files are asked for at a 9P server
//!   whenever somebody wants something of them. By its mode it cannot be changed, is changed in the upper layer (a
//!   copied-up file has its place in the upper halves of its directories then, so that it stays whatever the host does), or on the host.
//!
//! What is bounded: bytes and inodes of the upper layer ([`Limits`]), inodes that are referred to from outside
//! ([`Stack::remember`]), names (255 bytes) and link targets (4095). No call panics, loops or allocates by more than these,
//! whatever the arguments.
//!
//! What is left out, on purpose: access times do not change by reading, and of extended attributes only `user.*` exist, which the
//! lower layer has none of.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod attr;
mod content;
mod errno;
mod live;
mod lower;
mod name;
mod node;
mod references;
mod stack;
#[cfg(test)]
mod tests;
mod usage;
mod xattr;

pub use access::Access;
pub use attr::{Attr, Context, Ino, Kind, SetAttr, SetTime, Statfs, Timestamp, mode};
pub use errno::Errno;
pub use live::{Bind, BindMode, Server};
pub use lower::{InvalidTree, Lower};
pub use name::{NAME_MAX, Name, TARGET_MAX};
pub use stack::{Changes, DirEntry, RenameMode, Stack};
pub use usage::Limits;
pub use xattr::{SetXattr, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX};
