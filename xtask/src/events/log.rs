//! `--events`: a file with one event a line, each line bound to all before it.
//!
//! Every line ends with `"prev"`, the hash of the line before it (64 zeros for the first), and `"hash"`, the SHA-256 of the line itself
//! without that last member. Who changes, adds or removes a line breaks the chain there; who rewrites the whole file changes the last hash,
//! which the run prints.
use super::event::{Event, What};
use anyhow::{Context, Result};
use layers::Digest;
use policy::steers;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Version of the events: what one knows stays true in all of the same version; members and kinds may be added.
pub(super) const VERSION: u32 = 1;

/// What the first line follows.
pub(super) const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What stands before a line's own hash.
pub(super) const HASH: &str = ",\"hash\":\"";

/// Bytes of lines beyond which they are not kept back.
const MAX_WAITING: usize = 64 * 1024;

/// How often somebody who does not read is looked at again.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The wait for a reader who takes nothing: of a file that is none, but a pipe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<Wait>);

#[derive(Debug, Default)]
struct Wait {
    /// It is waited no more.
    over: AtomicBool,
    /// It is waited now.
    waits: AtomicBool,
    /// How often something was taken.
    taken: AtomicU64,
}

impl Patience {
    /// It is waited no more: what nobody takes now is lost.
    pub(crate) fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    /// If it is waited for the reader: how often he has taken something.
    pub(crate) fn waits(&self) -> Option<u64> {
        self.0.waits.load(Ordering::Relaxed).then(|| self.0.taken.load(Ordering::Relaxed))
    }

    fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    /// Something was taken, or nothing could be.
    fn note(&self, taken: bool) {
        self.0.taken.fetch_add(u64::from(taken), Ordering::Relaxed);
        self.0.waits.store(!taken, Ordering::Relaxed);
    }
}

/// The file, while it is written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    patience: Patience,
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
        let context = || format!("cannot write the events {}", path.display());
        let file = File::create(path).with_context(context)?;
        let flags = fcntl_getfl(&file).with_context(context)?;
        // Of a file this changes nothing; of a pipe it lets us go on without a reader, if we have to.
        fcntl_setfl(&file, flags | OFlags::NONBLOCK).with_context(context)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            patience: Patience::default(),
            waiting: Vec::new(),
            written: 0,
            count: 0,
            last: START.to_owned(),
        })
    }

    /// What the wait for its reader hangs on.
    pub(super) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// Writes an event.
    pub(super) fn add(&mut self, event: &Event) -> Result<()> {
        let line = serde_json::to_string(&Line { v: VERSION, n: self.count, event, prev: &self.last })?;
        let mut line = inert(line);
        line.truncate(line.len() - 1);
        self.last = Digest::of(line.as_bytes()).hex();
        self.count += 1;
        writeln!(self.waiting, "{line}{HASH}{}\"}}", self.last)?;
        if self.waiting.len() >= MAX_WAITING { self.flush() } else { Ok(()) }
    }

    /// What is written can be read by others now.
    pub(super) fn flush(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.waiting);
        let written = self.write_all(&lines);
        if written.is_err() {
            self.cut(&lines);
        }
        self.written = self.written.saturating_add(lines.len() as u64);
        written.with_context(|| format!("cannot write the events {}", self.path.display()))
    }

    /// Writes all of it, or what is taken until it is waited no more.
    fn write_all(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            match self.file.write(lines) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.patience.note(true);
                    lines = lines.get(taken..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.patience.is_over() => {
                    return Err(io::Error::new(ErrorKind::TimedOut, "nobody reads it, and the rest is lost"));
                }
                Err(_) => {
                    self.patience.note(false);
                    // One that is interrupted looks again at once.
                    let _ = poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&LOOK));
                }
            }
        }
        Ok(())
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

/// JSON with all characters escaped that steer whatever shows them. They are in strings only, for else it would be none.
pub(super) fn inert(json: String) -> String {
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return json;
    }
    let mut inert = String::with_capacity(json.len());
    for character in json.chars() {
        if steers(character) {
            // Writing to a string cannot fail.
            let _ = character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(inert, "\\u{unit:04x}"));
        } else {
            inert.push(character);
        }
    }
    inert
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn what_is_written_steers_nothing_and_means_the_same() {
        let text = "plain \u{1b}[2J\u{7f}\u{9b}31m\u{2028}\u{202e}gnp\u{200d}\n\"é€😀\u{feff}";
        let line = inert(serde_json::to_string(text).unwrap());
        assert!(!line.chars().any(steers) && line.contains("é€😀") && line.contains("\\u009b31m"), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        assert_eq!(inert("{\"a\":1}".to_owned()), "{\"a\":1}");
    }

    #[test]
    fn a_reader_who_takes_nothing_is_waited_for_until_it_is_enough() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut log = Log::create(Path::new(&format!("/proc/self/fd/{}", writer.as_raw_fd()))).unwrap();
        drop(writer);
        log.waiting = vec![b'x'; 1 << 20];
        let patience = log.patience();
        let writing = std::thread::spawn(move || (log.flush().map_err(|error| format!("{error:#}")), log));
        let mut first = vec![0; 300_000];
        // More than a pipe holds: it waits, and goes on as it is read.
        reader.read_exact(&mut first).unwrap();
        assert!(!writing.is_finished(), "nobody has taken the rest");
        while patience.waits().is_none() {
            std::thread::yield_now();
        }
        patience.end();
        let (flushed, log) = writing.join().unwrap();
        assert!(flushed.is_err_and(|why| why.contains("nobody reads it")));
        drop(log);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < 700_000 && rest.iter().all(|byte| *byte == b'x'));
    }

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
