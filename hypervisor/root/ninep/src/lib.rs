//! A client of 9P2000.L, the protocol by which QEMU's virtio-9p device serves a folder of the host.
//!
//! [`Client`] makes one request at a time over a [`Transport`] and gives typed answers. Messages are those of the protocol's description
//! (<https://github.com/chaos/diod/blob/master/protocol.md>) and of Linux' `include/net/9p/9p.h`.
//!
//! The server is not trusted. An answer is copied once by the transport, and then its size, type and tag, each count, each name and each
//! number in it are checked before anything is made of them: what is wrong is [`Error::Nonsense`]. Nothing that a server says makes this
//! crate panic, loop, or hold more than [`MESSAGE_MAX`] bytes for each direction. What does not come is [`Error::NoAnswer`]; the transport
//! decides how long that takes.
//!
//! A [`Fid`] is the client's number for a file or directory of the server. Only this crate makes them, and each is given back
//! once ([`Client::clunk`]), so that no request names a file that is not there.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod client;
mod complaints;
#[cfg(any(test, feature = "double"))]
pub mod double;
mod error;
mod stat;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Client, Fid, MESSAGE_MAX, ReadDir, Transport};
pub use error::{Error, Lost};
pub use stat::{DirItem, Qid, SetStat, SetTime, Stat, StatFs, Time};
pub use wire::NAME_MAX;

/// Flags of opening (`Tlopen`, `Tlcreate`), as Linux numbers them.
pub mod open {
    /// To read.
    pub const READ: u32 = 0;
    /// To read and write.
    pub const READ_WRITE: u32 = 2;
    /// Make it, and only if it is not there.
    pub const CREATE_NEW: u32 = 0o100 | 0o200;
    /// Follow no link at the end.
    pub const NO_FOLLOW: u32 = 0o400_000;
    /// Files may be large.
    pub const LARGE_FILE: u32 = 0o100_000;
    /// Nothing but a directory.
    pub const DIRECTORY: u32 = 0o200_000;
}
