//! The files that a run named.
use crate::events::data::Bytes;
use crate::events::event::Call;
use linux_raw_sys::general::{O_ACCMODE, O_CREAT, O_RDONLY, O_TRUNC};
use policy::signature::{self, Kind};
use std::collections::BTreeMap;

/// Different names that are kept.
const MAX_NAMES: usize = 5000;

/// What was done with which name.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By name, as the program gave it.
    pub(super) names: BTreeMap<String, Uses>,
    /// Uses of names for which there was no room.
    pub(super) more: u64,
}

/// How often what was done with a name.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// By kind of use: how often it went well, and how often not.
    pub(super) of: BTreeMap<Use, (u64, u64)>,
}

/// What can be done with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    Look,
    Read,
    Execute,
    Write,
    Create,
    Change,
    Delete,
}

impl Use {
    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Read => "read",
            Self::Execute => "execute",
            Self::Write => "write",
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }

    /// Whether it leaves a mark.
    pub(super) fn alters(self) -> bool {
        matches!(self, Self::Write | Self::Create | Self::Change | Self::Delete)
    }
}

impl Files {
    /// Takes notice of a call that has come back.
    pub(super) fn call(&mut self, call: &Call, failed: bool) {
        let Some(known) = signature::of(call.number).filter(|_| call.abi == "x86-64") else { return };
        for data in &call.data {
            let argument = usize::from(data.argument);
            let is_path = matches!(known.arguments.get(argument), Some(Kind::Path));
            let [name @ (Bytes::Text(_) | Bytes::Hex(_))] = data.bytes.as_slice() else { continue };
            let name = name.shown();
            if is_path && !name.is_empty() {
                self.note(&name, use_of(known.name, call, argument), failed);
            }
        }
    }

    fn note(&mut self, name: &str, what: Use, failed: bool) {
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(name) {
            self.more += 1;
            return;
        }
        let (well, not) = self.names.entry(name.to_owned()).or_default().of.entry(what).or_default();
        *(if failed { not } else { well }) += 1;
    }
}

/// What a call does with the name in this argument.
fn use_of(name: &str, call: &Call, argument: usize) -> Use {
    match name {
        "open" => opened(call.args[1].0),
        "openat" => opened(call.args[2].0),
        "execve" | "execveat" => Use::Execute,
        "creat" | "mkdir" | "mkdirat" | "mknod" | "mknodat" => Use::Create,
        "unlink" | "unlinkat" | "rmdir" => Use::Delete,
        // The name that there was is the first one of two.
        "rename" | "renameat" | "renameat2" if argument <= 1 && argument == first(call) => Use::Delete,
        "rename" | "renameat" | "renameat2" => Use::Create,
        "link" | "linkat" | "symlink" | "symlinkat" if argument != first(call) => Use::Create,
        "chmod" | "fchmodat" | "chown" | "lchown" | "fchownat" | "truncate" | "utime" | "utimes" | "utimensat"
        | "futimesat" | "setxattr" | "lsetxattr" | "removexattr" | "lremovexattr" => Use::Change,
        _ => Use::Look,
    }
}

/// The first argument that names something.
fn first(call: &Call) -> usize {
    call.data.first().map_or(0, |data| usize::from(data.argument))
}

fn opened(flags: u64) -> Use {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    match () {
        () if has(O_CREAT) => Use::Create,
        () if flags & u64::from(O_ACCMODE) != u64::from(O_RDONLY) || has(O_TRUNC) => Use::Write,
        () => Use::Read,
    }
}
