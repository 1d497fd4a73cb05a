//! The files that a run changed, by the paths that the root's file service resolved.
use crate::events::file_events::{Change, FileChange};
use std::collections::BTreeMap;

/// Different paths that are kept.
const MAX_PATHS: usize = 5000;

/// What was changed of which path.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// By sandbox and path.
    pub(super) paths: BTreeMap<(u32, String), Changed>,
    /// Changes of paths for which there was no room.
    pub(super) more: u64,
}

/// All that was changed of one path.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// How often what.
    pub(super) times: BTreeMap<&'static str, u64>,
    /// Bytes that were written.
    pub(super) bytes: u64,
    /// Where it came from, or what it is another name of.
    pub(super) from: Option<String>,
}

impl Changes {
    /// Takes notice of a change.
    pub(super) fn add(&mut self, sandbox: u32, change: &FileChange) {
        let key = (sandbox, change.path.shown());
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&key) {
            self.more += 1;
            return;
        }
        let changed = self.paths.entry(key).or_default();
        *changed.times.entry(name(&change.change)).or_default() += 1;
        match &change.change {
            Change::Write { bytes } => changed.bytes = changed.bytes.saturating_add(*bytes),
            Change::Rename { from, .. } | Change::Link { from } => changed.from = Some(from.shown()),
            _ => {}
        }
    }

    /// Bytes that were written to all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.paths.values().map(|changed| changed.bytes).fold(0, u64::saturating_add)
    }
}

/// In a word.
fn name(change: &Change) -> &'static str {
    match change {
        Change::Create { .. } => "create",
        Change::Write { .. } => "write",
        Change::Truncate { .. } => "truncate",
        Change::Delete { .. } => "delete",
        Change::Rename { exchanged: true, .. } => "exchange",
        Change::Rename { .. } => "rename",
        Change::Link { .. } => "link",
        Change::Attributes { .. } | Change::Xattr { .. } => "attributes",
    }
}
