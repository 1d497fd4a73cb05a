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
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

/// Version of the events: what one knows stays true in all of the same version; members and kinds may be added.
pub(super) const VERSION: u32 = 1;

/// What the first line follows.
pub(super) const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What stands before a line's own hash.
pub(super) const HASH: &str = ",\"hash\":\"";

/// Bytes of lines beyond which they are not kept back.
const MAX_WAITING: usize = 64 * 1024;

/// The file, while it is written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Lines that are not written yet.
    waiting: Vec<u8>,
    /// Bytes of the lines that are.
    written: u64,
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
        Ok(Self { path: path.to_owned(), file, waiting: Vec::new(), written: 0, count: 0, last: START.to_owned() })
    }

    /// Writes an event.
    pub(super) fn add(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(&Line { v: VERSION, n: self.count, event, prev: &self.last })?;
        line.truncate(line.len() - 1);
        self.last = Digest::of(line.as_bytes()).hex();
        self.count += 1;
        writeln!(self.waiting, "{line}{HASH}{}\"}}", self.last)?;
        if self.waiting.len() >= MAX_WAITING { self.flush() } else { Ok(()) }
    }

    /// What is written can be read by others now.
    pub(super) fn flush(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.waiting);
        let written = self.file.write_all(&lines);
        if written.is_err() {
            self.cut(&lines);
        }
        self.written = self.written.saturating_add(lines.len() as u64);
        written.with_context(|| format!("cannot write the events {}", self.path.display()))
    }

    /// Writes the last event, and tells the hash that stands for all.
    pub(super) fn finish(mut self) -> Result<()> {
        self.add(&Event { sandbox: 0, ns: 0, what: What::End { events: self.count } })?;
        self.flush()?;
        eprintln!("cordon: {}: {} events, sha256 {}", self.path.display(), self.count, self.last);
        Ok(())
    }

    /// Takes away what was written of a line that did not fit.
    fn cut(&mut self, lines: &[u8]) {
        let position = self.file.stream_position().unwrap_or(self.written);
        let fitted = usize::try_from(position.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let fitted = lines.get(..fitted).unwrap_or(lines);
        let whole = fitted.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        // Of what is no file, nothing can be taken back.
        let _ = self.file.set_len(self.written.saturating_add(whole as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The file's position behind bytes that fitted stands for a disk that is full there.
    #[test]
    fn of_a_line_that_does_not_fit_nothing_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::create(&path).unwrap();
        log.add(&Event { sandbox: 1, ns: 0, what: What::End { events: 0 } }).unwrap();
        log.flush().unwrap();
        let first = fs::read(&path).unwrap();
        for (fitted, whole) in [(&b""[..], 0), (b"half", 0), (b"line\n", 5), (b"line\nha", 5), (b"line\nhalf\n", 10)] {
            log.file.write_all(fitted).unwrap();
            log.cut(b"line\nhalf\n");
            assert_eq!(fs::read(&path).unwrap(), [&first, &fitted[..whole]].concat());
            log.file.set_len(log.written).and_then(|()| log.file.seek(std::io::SeekFrom::End(0))).unwrap();
        }
        let mut full = Log::create(Path::new("/dev/full")).unwrap();
        full.add(&Event { sandbox: 1, ns: 0, what: What::End { events: 0 } }).unwrap();
        assert!(full.flush().is_err() && full.flush().is_ok(), "it is told once");
    }
}
