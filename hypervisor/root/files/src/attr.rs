//! What is known of a file beside its content, and of the one who asks.

/// Bits of a file's mode (Linux `uapi/linux/stat.h`).
pub mod mode {
    use linux_raw_sys::general as linux;

    /// The bits that chmod sets.
    pub const PERMISSIONS: u32 = 0o7777;
    /// Set user id on execution.
    pub const SET_UID: u32 = linux::S_ISUID;
    /// Set group id on execution; on a directory: entries inherit its group.
    pub const SET_GID: u32 = linux::S_ISGID;
    /// On a directory: only owners remove entries.
    pub const STICKY: u32 = linux::S_ISVTX;
    /// Executable by the group.
    pub const GROUP_EXECUTE: u32 = linux::S_IXGRP;
    /// Executable by anyone at all.
    pub const ANY_EXECUTE: u32 = linux::S_IXUSR | linux::S_IXGRP | linux::S_IXOTH;
    /// The bits that say what a file is.
    pub const TYPE: u32 = linux::S_IFMT;
}

/// An inode number. Never used twice in the life of a [`crate::Stack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory (FUSE_ROOT_ID).
    pub const ROOT: Self = Self(1);
}

/// A point in time since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    const NS_PER_SECOND: u64 = 1_000_000_000;

    /// The time `ns` nanoseconds after the epoch.
    #[must_use]
    pub fn from_ns(ns: u64) -> Self {
        Self {
            seconds: (ns / Self::NS_PER_SECOND).cast_signed(),
            nanoseconds: u32::try_from(ns % Self::NS_PER_SECOND).unwrap_or(0),
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe: a name only, the pipe itself is not in the file system.
    Fifo,
    /// A local socket: a name only.
    Socket,
}

impl Kind {
    /// Its bits in a mode ([`mode::TYPE`]).
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        use linux_raw_sys::general as linux;
        match self {
            Self::Directory => linux::S_IFDIR,
            Self::File => linux::S_IFREG,
            Self::Symlink => linux::S_IFLNK,
            Self::Fifo => linux::S_IFIFO,
            Self::Socket => linux::S_IFSOCK,
        }
    }

    /// Its code in a directory entry (`DT_*`).
    #[must_use]
    pub const fn dirent_type(self) -> u32 {
        self.mode_bits() >> 12
    }
}

/// Everything `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Permission bits ([`mode::PERMISSIONS`]).
    pub mode: u32,
    /// Number of names; for a directory two more than it has subdirectories. 0: deleted, but still in use.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes; of a link: of its target; of a directory: nominal.
    pub size: u64,
    /// Storage in units of 512 bytes.
    pub blocks: u64,
    /// Last access, as far as it is kept.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of content or attributes.
    pub ctime: Timestamp,
}

/// On whose behalf an operation is made, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// File-system user id. 0 may do everything that mode bits would forbid.
    pub uid: u32,
    /// File-system group id: that of new files.
    pub gid: u32,
    /// Further groups that they are a member of.
    pub groups: &'a [u32],
    /// CLOCK_REALTIME.
    pub now: Timestamp,
}

impl Context<'_> {
    /// Whether this group's rights are theirs.
    pub(crate) fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// [`Context::now`].
    Now,
    /// This one; only the owner may.
    At(Timestamp),
}

/// Attributes to change; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits; others are ignored.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length of a regular file.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
    /// Take away what lets a file run as its owner, as a change of owner does that changes nothing else.
    pub drop_set_id: bool,
}

/// The fill level of the writable layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statfs {
    /// Size of a block in bytes.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
}
