//! `--events`: a file with one event a line, each line bound to all before it.
//!
//! Every line ends with `"prev"`, the hash of the line before it (64 zeros for the first), and `"hash"`, the SHA-256 of the line itself
//! without that last member. Who changes, adds or removes a line breaks the chain there; who rewrites the whole file changes the last hash,
//! which the run prints.
use super::event::{Event, What};
use anyhow::{Context, Result};
use layers::Digest;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Version of the events: what one knows stays true in all of the same version; members and kinds may be added.
pub(super) const VERSION: u32 = 1;

/// What the first line follows.
pub(super) const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What stands before a line's own hash.
pub(super) const HASH: &str = ",\"hash\":\"";

/// The file, while it is written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
    last: String,
}

/// A line without its hash.
#[derive(Serialize)]
struct Line<'e> {
    v: u32,
    n: u64,
    #[serde(flatten)]
    event: &'e Event,
    prev: &'e str,
}

impl Log {
    /// A new file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write the events {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), count: 0, last: START.to_owned() })
    }

    /// Writes an event.
    pub(super) fn add(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(&Line { v: VERSION, n: self.count, event, prev: &self.last })?;
        line.truncate(line.len() - 1);
        self.last = Digest::of(line.as_bytes()).hex();
        self.count += 1;
        writeln!(self.file, "{line}{HASH}{}\"}}", self.last).with_context(|| self.complaint())
    }

    /// What is written can be read by others now.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.file.flush().with_context(|| self.complaint())
    }

    /// Writes the last event, and tells the hash that stands for all.
    pub(super) fn finish(mut self) -> Result<()> {
        self.add(&Event { sandbox: 0, ns: 0, what: What::End { events: self.count } })?;
        self.flush()?;
        eprintln!("cordon: {}: {} events, sha256 {}", self.path.display(), self.count, self.last);
        Ok(())
    }

    fn complaint(&self) -> String {
        format!("cannot write the events {}", self.path.display())
    }
}
