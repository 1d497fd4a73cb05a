//! What the server tells of files, and what it can be asked to change.
use linux_raw_sys::general as linux;

use crate::Error;
use crate::wire::Reader;

/// The server's own name for a file: the same for each name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Qid {
    /// What it is, in the protocol's coarse bits.
    pub kind: u8,
    /// Its number; of one file at a time.
    pub path: u64,
}

impl Qid {
    /// Bit of [`Qid::kind`]: a directory.
    const DIRECTORY: u8 = 0x80;
    /// Bit of [`Qid::kind`]: a symbolic link.
    const SYMLINK: u8 = 0x02;

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(self) -> bool {
        self.kind & Self::DIRECTORY != 0
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub const fn is_symlink(self) -> bool {
        self.kind & Self::SYMLINK != 0
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = from.u8()?;
        // The version tells caches when a file changes; there are none here.
        let _version = from.u32()?;
        Ok(Self { kind, path: from.u64()? })
    }
}

/// `P9_GETATTR_GEN`: the file's generation.
pub(crate) const GENERATION: u64 = 0x1000;

/// A point in time since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let (seconds, nanoseconds) = (from.u64()?, from.u64()?);
        let nanoseconds = u32::try_from(nanoseconds).ok().filter(|ns| *ns < 1_000_000_000);
        let nanoseconds = nanoseconds.ok_or(Error::Nonsense("a time has a second's worth of nanoseconds or more"))?;
        Ok(Self { seconds: seconds.cast_signed(), nanoseconds })
    }
}

/// Attributes of a file (`Rgetattr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The server's name for it.
    pub qid: Qid,
    /// Type and permission bits (Linux' `st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u64,
    /// Length in bytes; at most 2⁶³ − 1.
    pub size: u64,
    /// Storage in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of content or attributes.
    pub ctime: Time,
    /// What tells the file from an earlier one that had the same number; 0 if the server does not say.
    pub generation: u64,
}

impl Stat {
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let valid = from.u64()?;
        let qid = Qid::read(from)?;
        let (mode, uid, gid, nlink) = (from.u32()?, from.u32()?, from.u32()?, from.u64()?);
        let _device = from.u64()?;
        let size = from.u64()?;
        let _block_size = from.u64()?;
        let blocks = from.u64()?;
        let (atime, mtime, ctime) = (Time::read(from)?, Time::read(from)?, Time::read(from)?);
        let _birth = (from.u64()?, from.u64()?);
        let generation = from.u64()?;
        let _data_version = from.u64()?;
        if i64::try_from(size).is_err() {
            return Err(Error::Nonsense("a file is longer than any can be"));
        }
        let is = |kind| mode & linux::S_IFMT == kind;
        if is(linux::S_IFDIR) != qid.is_directory() || is(linux::S_IFLNK) != qid.is_symlink() {
            return Err(Error::Nonsense("mode and qid say different things of what a file is"));
        }
        let generation = if valid & GENERATION == 0 { 0 } else { generation };
        Ok(Self { qid, mode, uid, gid, nlink, size, blocks, atime, mtime, ctime, generation })
    }
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The server's present.
    Now,
    /// This one.
    At(Time),
}

/// Attributes to change (`Tsetattr`); `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetStat {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
}

impl SetStat {
    /// The message's `valid` bits (Linux `P9_ATTR_*`).
    pub(crate) fn valid(&self) -> u32 {
        let exact = |time| matches!(time, Some(SetTime::At(_)));
        let bits = [
            (self.mode.is_some(), 0x1),
            (self.uid.is_some(), 0x2),
            (self.gid.is_some(), 0x4),
            (self.size.is_some(), 0x8),
            (self.atime.is_some(), 0x10),
            (self.mtime.is_some(), 0x20),
            (exact(self.atime), 0x80),
            (exact(self.mtime), 0x100),
        ];
        bits.iter().filter(|(there, _)| *there).map(|(_, bit)| bit).sum()
    }
}

/// One entry of a directory (`Rreaddir`); its name is one that a file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirItem<'a> {
    /// The server's name for it.
    pub qid: Qid,
    /// What it is, as `DT_*`.
    pub kind: u8,
    /// Its name.
    pub name: &'a [u8],
}

/// How full the server's file system is (`Rstatfs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Size of a block in bytes.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks, for whoever the server runs as.
    pub blocks_free: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
}

impl StatFs {
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let _kind = from.u32()?;
        let (block_size, blocks) = (from.u32()?, from.u64()?);
        let _free_for_root = from.u64()?;
        let (blocks_free, inodes, inodes_free) = (from.u64()?, from.u64()?, from.u64()?);
        let _id = from.u64()?;
        let _name_max = from.u32()?;
        Ok(Self { block_size, blocks, blocks_free, inodes, inodes_free })
    }
}
