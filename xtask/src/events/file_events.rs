//! Events of the root's file service: what it refused by `[[files]]` of the policy, and what it changed.
use super::data::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Not;

/// What was refused of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Refused {
    /// The thread.
    pub(super) thread: u32,
    /// The rights that the path would have to have; `look`: it is hidden, and cannot even be seen.
    pub(super) rights: String,
    /// The resolved path.
    pub(super) path: Bytes,
    /// Where what is linked or renamed to `path` was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) from: Option<Bytes>,
    /// It as a person reads it.
    pub(super) text: String,
    /// The error's name.
    pub(super) errno: String,
    /// The entry that said so.
    pub(super) rule: String,
    /// Which policy that entry is of.
    #[serde(default = "super::event::first_policy")]
    pub(super) generation: u32,
    /// It was done nevertheless (`--dry-run`).
    #[serde(skip_serializing_if = "Not::not", default)]
    pub(super) ignored: bool,
}

impl From<trace::RefusalRecord> for Refused {
    fn from(record: trace::RefusalRecord) -> Self {
        let text = trace::refusal_text(&record);
        let trace::RefusalRecord { thread, rights, path, from, errno, entry, generation, ignored, .. } = record;
        let errno = policy::errno::Errno::by_number(errno).map_or_else(|| errno.to_string(), |known| known.name.into());
        let (path, from) = (Bytes::from(&path), from.as_ref().map(Bytes::from));
        Self { thread, rights, path, from, text, errno, rule: entry, generation, ignored }
    }
}

/// What was changed of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FileChange {
    /// The thread.
    pub(super) thread: u32,
    /// The resolved path.
    pub(super) path: Bytes,
    /// The file has no name any more, or none yet.
    #[serde(skip_serializing_if = "Not::not", default)]
    pub(super) nameless: bool,
    /// What.
    #[serde(flatten)]
    pub(super) change: Change,
    /// It as a person reads it.
    pub(super) text: String,
}

/// What can change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(super) enum Change {
    /// It was made.
    Create {
        /// `file`, `directory`, `symlink`, `fifo` or `socket`.
        kind: String,
    },
    /// It was written to while it was open once.
    Write {
        /// So many bytes.
        bytes: u64,
    },
    /// It was cut, or made longer.
    Truncate {
        /// Its length now.
        size: u64,
    },
    /// This name of it was taken away.
    Delete {
        /// As above.
        kind: String,
    },
    /// It has another name.
    Rename {
        /// Its path until now.
        from: Bytes,
        /// Something else was here, and is gone.
        #[serde(skip_serializing_if = "Not::not", default)]
        replaced: bool,
        /// Something else was here, and is at `from` now.
        #[serde(skip_serializing_if = "Not::not", default)]
        exchanged: bool,
    },
    /// It has one more name.
    Link {
        /// Another one.
        from: Bytes,
    },
    /// Its attributes were set; those that are what they were are left out.
    Attributes {
        /// Permission bits, octal.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        mode: Option<String>,
        /// Owner.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        uid: Option<u32>,
        /// Group.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gid: Option<u32>,
        /// When it was read or written.
        #[serde(skip_serializing_if = "Not::not", default)]
        times: bool,
    },
    /// An extended attribute was set or taken away.
    Xattr {
        /// Its name.
        name: Bytes,
    },
}

impl From<trace::ChangeRecord> for FileChange {
    fn from(record: trace::ChangeRecord) -> Self {
        let text = trace::change_text(&record);
        let trace::ChangeRecord { thread, path, nameless, change, .. } = record;
        Self { thread, path: (&path).into(), nameless, change: change.into(), text }
    }
}

impl From<trace::FileChange> for Change {
    fn from(change: trace::FileChange) -> Self {
        match change {
            trace::FileChange::Create(kind) => Self::Create { kind: kind.name().into() },
            trace::FileChange::Write(bytes) => Self::Write { bytes },
            trace::FileChange::Truncate(size) => Self::Truncate { size },
            trace::FileChange::Delete(kind) => Self::Delete { kind: kind.name().into() },
            trace::FileChange::Rename { from, replaced, exchanged } => {
                Self::Rename { from: (&from).into(), replaced, exchanged }
            }
            trace::FileChange::Link(from) => Self::Link { from: (&from).into() },
            trace::FileChange::Attributes { mode, uid, gid, times } => {
                Self::Attributes { mode: mode.map(|mode| format!("{mode:04o}")), uid, gid, times }
            }
            trace::FileChange::Xattr(name) => Self::Xattr { name: (&name).into() },
        }
    }
}
