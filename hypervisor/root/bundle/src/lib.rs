//! The boot bundle: the one file beside the hypervisor image that `xtask run` hands to the machine (QEMU's `-initrd`).
//!
//! ```text
//! offset 0     BundleHeader (64 bytes)   the only part that the hypervisor reads
//! page n       root image, flat          copied by the hypervisor to `root_gpa`
//! page m       payload                   left in place, given to the root as its PVH module 0
//! ```
//! The payload: [`PayloadHeader`], a table of [`Section`]s, then the sections, each page aligned.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod payload;

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`BundleHeader::magic`].
pub const BUNDLE_MAGIC: u64 = u64::from_le_bytes(*b"CORDONB1");
/// [`PayloadHeader::magic`].
pub const PAYLOAD_MAGIC: u64 = u64::from_le_bytes(*b"CORDONP1");
/// Alignment of the root image, the payload and each section within it.
pub const ALIGN: u64 = 4096;

/// Start of the bundle: where the root image is and where it goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BundleHeader {
    /// [`BUNDLE_MAGIC`].
    pub magic: u64,
    /// Physical address at which the root image is linked (page aligned).
    pub root_gpa: u64,
    /// Offset of the root image in the bundle (page aligned).
    pub root_offset: u64,
    /// Its length in the bundle, in bytes.
    pub root_len: u64,
    /// Its length in memory (with .bss), in bytes.
    pub root_mem_len: u64,
    /// Its PVH entry (32-bit protected mode, paging off, EBX = physical address of the PVH start info).
    pub root_entry: u64,
    /// Offset of the payload (page aligned).
    pub payload_offset: u64,
    /// Length of the payload in bytes.
    pub payload_len: u64,
}

const _: () = assert!(size_of::<BundleHeader>() == 64);

/// Start of the payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PayloadHeader {
    /// [`PAYLOAD_MAGIC`].
    pub magic: u64,
    /// Number of [`Section`]s that follow; at most [`MAX_SECTIONS`].
    pub section_count: u32,
    /// Zero.
    pub reserved: u32,
}

/// Largest number of sections.
pub const MAX_SECTIONS: u32 = 64;

/// One section of the payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Section {
    /// [`section_kind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Offset from the start of the payload (page aligned).
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What a section holds.
pub mod section_kind {
    /// The flat shim image (starts with `proto::layout::ShimHeader`).
    pub const SHIM: u32 = 1;
    /// The files of the policy: [`super::PolicyFile`]s in postcard.
    pub const POLICY: u32 = 2;
    /// [`super::RunConfig`] in postcard.
    pub const RUN: u32 = 3;
    /// [`super::TreeIndex`] in postcard.
    pub const TREE_INDEX: u32 = 4;
    /// The bytes of all files; [`super::TreeNode::File`] says where each starts.
    pub const TREE_DATA: u32 = 5;
}

/// Most sandboxes of a run: with the root a partition each, and the hypervisor has room for `partition::MAX_PARTITIONS`.
pub const MAX_SANDBOXES: usize = 1000;

/// What to run and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The programs, each in a sandbox of its own: 1 to [`MAX_SANDBOXES`]. The first one has standard input and the terminal.
    pub programs: Vec<Program>,
    /// Memory that each sandbox may use, in bytes.
    pub memory: u64,
    /// Wall-clock limit of each sandbox in milliseconds from its partition's creation; 0: none.
    pub timeout_ms: u64,
    /// Record each call, and not only those whose rule says so.
    pub record: bool,
    /// Record verdicts, and do nothing about them.
    pub dry_run: bool,
    /// Record what the rules on files grant, too.
    pub learn: bool,
    /// Somebody answers the questions of rules that ask.
    pub ask: bool,
    /// Tell what each sandbox changed when it has ended.
    pub diff: bool,
    /// Terminal size: rows, columns (0: unknown).
    pub window: [u16; 2],
    /// CLOCK_REALTIME of the host at the time of writing, in ns since the epoch.
    pub realtime_ns: u64,
    /// Random seed.
    pub seed: [u8; 32],
    /// User of the programs.
    pub uid: u32,
    /// Group of the programs.
    pub gid: u32,
    /// What else the programs' processes are like.
    pub setting: Setting,
    /// Folders of the host that each sandbox sees: at most [`MAX_BINDS`].
    pub binds: Vec<Bind>,
}

/// What the first process of a sandbox is like, beside its program, user and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Supplementary groups: at most `proto::MAX_GROUPS`.
    pub groups: Vec<u32>,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// Host name.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// No program gains rights by being started.
    pub no_new_privileges: bool,
    /// Resource limits: kind (RLIMIT_*, below `proto::LIMITS`), soft and hard; `u64::MAX` is none. The others are the shim's own.
    pub limits: Vec<(u32, u64, u64)>,
}

impl Default for Setting {
    /// Those of a plain Linux without a name.
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            umask: 0o022,
            hostname: "cordon".into(),
            domainname: "(none)".into(),
            no_new_privileges: false,
            limits: Vec::new(),
        }
    }
}

/// One file of the policy, of which the first is the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFile {
    /// Its name, for messages.
    pub name: String,
    /// What it holds: TOML.
    pub text: String,
    /// Where the parts of the text come from, by ascending byte, if it was made of something else.
    pub origins: Vec<Origin>,
    /// Names of the further files that it was made of.
    pub origin_files: Vec<String>,
    /// It is a translation, whose rules nobody has counted.
    pub translated: bool,
}

/// Where a part of a policy's text comes from: from one of its bytes on, up to the next of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its first byte.
    pub at: u32,
    /// 0: the file itself; else one of the further files, from 1.
    pub file: u16,
    /// The line there, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
    /// The line alone would not say what is meant: verdicts name the column, too.
    pub narrow: bool,
}

impl PolicyFile {
    /// The files of a policy as bytes.
    ///
    /// # Errors
    /// None, as there is memory.
    pub fn encode(files: &[Self]) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(files)
    }

    /// The files of a policy that [`PolicyFile::encode`] has made.
    ///
    /// # Errors
    /// They are something else.
    pub fn decode(bytes: &[u8]) -> Result<Vec<Self>, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// Most folders of the host that are bound in.
pub const MAX_BINDS: usize = 16;

/// A folder of the host, served by a virtio-9p device of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The device's mount tag.
    pub tag: String,
    /// Path of the directory that it covers: absolute, without links, and there in the tree.
    pub at: Vec<u8>,
    /// What programs may do there.
    pub mode: BindMode,
    /// What the tree has there shows where the folder has nothing.
    pub merge: bool,
    /// Paths in the folder that are hidden, without `/` at their start.
    pub except: Vec<Vec<u8>>,
}

/// What programs may do with a folder of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindMode {
    /// Read it.
    #[default]
    ReadOnly,
    /// Change it, each sandbox for itself; the host keeps what it has.
    CopyOnWrite,
    /// Change it on the host.
    ReadWrite,
}

/// The program of one sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its path in the tree.
    pub path: Vec<u8>,
    /// Its arguments, the zeroth included.
    pub args: Vec<Vec<u8>>,
    /// Its environment, `K=V` each.
    pub env: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Standard input, output, error are terminals.
    pub tty: [bool; 3],
}

/// The read-only tree, one entry for each name; parents stand before children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeIndex {
    /// The entries. Entry 0 is the root directory, whose name is empty.
    pub entries: Vec<TreeEntry>,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Index of the directory that it is in (0 for the root itself).
    pub parent: u32,
    /// Its name there: no `/`, no NUL, not `.` or `..`.
    pub name: Vec<u8>,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
    /// What it is.
    pub node: TreeNode,
}

/// What a tree entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreeNode {
    /// A directory.
    Directory,
    /// A regular file: its bytes in the TREE_DATA section.
    File {
        /// Offset in the section (page aligned).
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// One more name of a file or named pipe. Mode, owner and time are those of the first name.
    Link {
        /// Index of the entry that is its first name: before this one, and no link itself.
        first: u32,
    },
    /// A named pipe.
    Fifo,
}
