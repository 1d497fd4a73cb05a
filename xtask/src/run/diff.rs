//! `--diff`: what each sandbox changed, written as a layer as the root tells it.
//!
//! A file gets its name when it is whole and in order; until then it has another one in the same directory, and is removed if it comes
//! to nothing.
use crate::output::{Unfinished, prepare, temporary};
use anyhow::{Context, Result, anyhow, bail};
use control::diff::{Attributes, Defect, Record};
use layers::Meta;
use layers::write::{Body, New, Writer};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufWriter, IntoInnerError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of paths that are kept for further names of their files, at most.
const MAX_PATHS: usize = 256 << 20;
/// Longest name in bytes, as Linux has it.
const NAME_MAX: usize = 255;

/// The files that are written in a session. Copies are of the same ones.
#[derive(Clone, Debug)]
pub(super) struct Diffs(Arc<Mutex<Vec<Diff>>>);

/// What one sandbox changed.
#[derive(Debug)]
struct Diff {
    target: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was told yet.
    Silent,
    Begun(Box<Recorder>),
    Whole,
    Failed(String),
}

/// A diff that was asked for and is not there.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Of which sandbox.
    pub(crate) sandbox: u16,
    /// What there is none of, and why, for the user.
    pub(crate) reason: String,
}

impl Diffs {
    /// Makes ready to write to `target`, or, for several sandboxes, to a file each; what is there already is removed.
    pub(super) fn new(target: Option<&Path>, sandboxes: usize) -> Result<Self> {
        let Some(target) = target else { return Ok(Self(Arc::default())) };
        let mut diffs = Vec::new();
        for number in 1..=sandboxes {
            let target = if sandboxes == 1 { target.to_owned() } else { numbered(target, number) };
            let what = || format!("cannot write the diff {}", target.display());
            if !prepare(&target).with_context(what)? {
                bail!("{}: it is no file", what());
            }
            diffs.push(Diff { target, state: State::Silent });
        }
        Ok(Self(Arc::new(Mutex::new(diffs))))
    }

    /// Takes the next bytes of what is told of a sandbox.
    pub(super) fn take(&self, sandbox: u16, bytes: &[u8]) -> Result<()> {
        let mut diffs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let diff = diffs.get_mut(usize::from(sandbox)).context("a diff that nobody asked for")?;
        diff.take(bytes);
        Ok(())
    }

    /// Ends it all: of what is not whole nothing stays.
    pub(super) fn finish(&self) -> Vec<Missing> {
        let mut diffs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        for (sandbox, diff) in (0u16..).zip(diffs.drain(..)) {
            let why = match diff.state {
                State::Whole => continue,
                State::Silent => "the sandbox told nothing of its files".to_owned(),
                State::Begun(_) => "the run came to its end before all was told".to_owned(),
                State::Failed(why) => why,
            };
            missing.push(Missing { sandbox, reason: format!("no diff {}: {why}", diff.target.display()) });
        }
        missing
    }
}

impl Diff {
    /// Takes bytes as long as there is use for them: after a failure the root's words are listened to, and that is all.
    fn take(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Silent) {
            self.state = match Recorder::new(&self.target) {
                Ok(recorder) => State::Begun(Box::new(recorder)),
                Err(error) => State::Failed(format!("{error:#}")),
            };
        }
        let State::Begun(recorder) = &mut self.state else { return };
        let next = match recorder.take(bytes) {
            Ok(false) => return,
            Ok(true) => None,
            Err(error) => Some(State::Failed(format!("{error:#}"))),
        };
        let begun = std::mem::replace(&mut self.state, next.unwrap_or(State::Whole));
        if let (State::Begun(recorder), State::Whole) = (begun, &self.state)
            && let Err(error) = recorder.finish(&self.target)
        {
            self.state = State::Failed(format!("{error:#}"));
        }
    }
}

/// `OUT.tar` for the second sandbox: `OUT.2.tar`.
fn numbered(target: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(target.file_stem().unwrap_or_default());
    name.push(format!(".{number}"));
    if let Some(extension) = target.extension() {
        name.push(".");
        name.push(extension);
    }
    target.with_file_name(name)
}

/// Turns records into a layer.
#[derive(Debug)]
struct Recorder {
    writer: Writer<BufWriter<Unfinished>>,
    /// Bytes of a record that is not whole yet.
    stream: Vec<u8>,
    /// Path of the directory that the walk is in, and where its parents' end in it.
    path: Vec<u8>,
    parents: Vec<usize>,
    /// Paths and attributes of files that have several names, by their numbers.
    firsts: HashMap<u64, (Vec<u8>, Attributes)>,
    /// Bytes of them.
    paths_len: usize,
    /// Extended attributes of what comes next.
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Recorder {
    fn new(target: &Path) -> Result<Self> {
        Ok(Self {
            writer: Writer::new(BufWriter::new(temporary(target)?)),
            stream: Vec::new(),
            path: Vec::new(),
            parents: Vec::new(),
            firsts: HashMap::new(),
            paths_len: 0,
            xattrs: Vec::new(),
        })
    }

    /// Takes the next bytes. True: that was all.
    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        let mut stream = std::mem::take(&mut self.stream);
        stream.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((record, len)) = Record::decode(&stream[at..]).map_err(|_| nonsense())? {
            if self.record(&record)? {
                return Ok(true);
            }
            at += len;
        }
        stream.drain(..at);
        self.stream = stream;
        Ok(false)
    }

    /// Gives the file its name.
    fn finish(self, target: &Path) -> Result<()> {
        let (to, len) = self.writer.finish()?;
        let file = to.into_inner().map_err(IntoInnerError::into_error).context("cannot write the layer")?;
        file.set_len(len).context("cannot write the layer")?;
        file.finish(target)
    }

    fn record(&mut self, record: &Record<'_>) -> Result<bool> {
        match *record {
            Record::Xattr { name, value } => self.xattrs.push((name.to_vec(), value.to_vec())),
            Record::Enter { name, attributes, opaque } => self.enter(name, &attributes, opaque)?,
            Record::Leave => self.path.truncate(self.parents.pop().ok_or_else(nonsense)?),
            Record::Removed { name } => {
                check_name(name, self.parents.is_empty())?;
                self.writer.hide(&self.path, Some(name))?;
            }
            Record::File { name, attributes, ino, len } => self.add(name, &attributes, Body::File { len }, ino)?,
            Record::Data(bytes) => self.writer.data(bytes)?,
            Record::Zeros(len) => self.writer.zeros(len)?,
            Record::Symlink { name, attributes, ino, target } => {
                self.add(name, &attributes, Body::Symlink(target), ino)?;
            }
            Record::Fifo { name, attributes, ino } => self.add(name, &attributes, Body::Fifo, ino)?,
            Record::Link { name, ino } => {
                let (first, attributes) = self.firsts.get(&ino).cloned().ok_or_else(nonsense)?;
                self.add(name, &attributes, Body::HardLink(&first), 0)?;
            }
            // Sockets are left out, as tar leaves them out.
            Record::Socket { .. } => {}
            Record::End => return if self.parents.is_empty() { Ok(true) } else { Err(nonsense()) },
            Record::Failed { defect: Defect::LongPath } => {
                bail!("in {}: a path there is longer than 4095 bytes", shown(&self.path))
            }
            Record::Failed { defect: Defect::Inconsistent } => bail!("the sandbox's files contradict themselves"),
            Record::Failed { defect: Defect::Folder } => {
                bail!("in {}: what the diff needs of the host's folder could not be read there", shown(&self.path))
            }
        }
        Ok(false)
    }

    fn enter(&mut self, name: &[u8], attributes: &Attributes, opaque: bool) -> Result<()> {
        self.add(name, attributes, Body::Directory, 0)?;
        self.parents.push(self.path.len());
        self.path = self.join(name);
        if opaque {
            self.writer.hide(&self.path, None)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &[u8], attributes: &Attributes, body: Body<'_>, ino: u64) -> Result<()> {
        check_name(name, self.parents.is_empty())?;
        let path = self.join(name);
        let meta = Meta { mode: attributes.mode, uid: attributes.uid, gid: attributes.gid, mtime: attributes.seconds };
        let xattrs = std::mem::take(&mut self.xattrs);
        self.writer.add(&New { path: &path, meta, nanoseconds: attributes.nanoseconds, xattrs: &xattrs, body })?;
        if ino != 0 {
            self.paths_len = self.paths_len.saturating_add(path.len());
            if self.paths_len > MAX_PATHS {
                bail!("too many files have several names");
            }
            self.firsts.insert(ino, (path, *attributes));
        }
        Ok(())
    }

    /// The path of a name in the directory that the walk is in.
    fn join(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [self.path.as_slice(), b"/", name].concat() }
    }
}

/// A name in a directory, and none that leads out of it. The root, and nothing else, has no name.
fn check_name(name: &[u8], is_root: bool) -> Result<()> {
    let leads_out = matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0));
    if name.is_empty() != is_root || name.len() > NAME_MAX || leads_out { Err(nonsense()) } else { Ok(()) }
}

fn nonsense() -> anyhow::Error {
    anyhow!("the root sent nonsense")
}

/// A path for a message: what a program chose must not steer the terminal.
fn shown(path: &[u8]) -> String {
    super::report::printable(&format!("/{}", String::from_utf8_lossy(path)))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use layers::{Kind, archive};
    use std::fs::{self, File};

    const ATTRIBUTES: Attributes = Attributes { mode: 0o640, uid: 1, gid: 2, seconds: 3, nanoseconds: 4 };

    fn encode(records: &[Record<'_>]) -> Vec<u8> {
        let mut stream = Vec::new();
        records.iter().for_each(|record| record.encode(&mut stream));
        stream
    }

    /// What comes of these records: the file, and the complaint.
    fn diff(records: &[Record<'_>]) -> (Option<Vec<(String, Kind)>>, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.tar");
        fs::write(&target, "of another run").unwrap();
        let diffs = Diffs::new(Some(&target), 1).unwrap();
        for piece in encode(records).chunks(7) {
            diffs.take(0, piece).unwrap();
        }
        let missing = diffs.finish().pop().map(|missing| missing.reason);
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let layer = File::open(&target).ok().map(|file| archive::read(file).unwrap());
        assert_eq!(names.len(), usize::from(layer.is_some()), "{names:?}");
        let shown = |layer: layers::Layer| {
            layer.entries.iter().map(|entry| (entry.shown(), entry.kind.clone())).collect::<Vec<_>>()
        };
        (layer.map(shown), missing)
    }

    fn enter(name: &[u8], opaque: bool) -> Record<'_> {
        Record::Enter { name, attributes: ATTRIBUTES, opaque }
    }

    #[test]
    fn records_become_a_layer() {
        let records = [
            enter(b"", false),
            enter(b"a", true),
            Record::File { name: b"f", attributes: ATTRIBUTES, ino: 7, len: 10_003 },
            Record::Data(b"abc"),
            Record::Zeros(10_000),
            Record::Leave,
            Record::Removed { name: b"gone" },
            Record::Link { name: b"l", ino: 7 },
            Record::Socket { name: b"s" },
            Record::Leave,
            Record::End,
        ];
        let (layer, missing) = diff(&records);
        let first = vec![b"a".to_vec(), b"f".to_vec()];
        let layer: Vec<_> = layer.unwrap().into_iter().filter(|(path, _)| path != "a/f").collect();
        let expected = [
            (String::new(), Kind::Directory),
            ("a".into(), Kind::Directory),
            ("a".into(), Kind::Opaque),
            ("gone".into(), Kind::Whiteout),
            ("l".into(), Kind::HardLink(first)),
        ];
        assert_eq!((layer.as_slice(), missing), (&expected[..], None));
        assert_eq!(diff(&[Record::End]), (Some(Vec::new()), None));
    }

    #[test]
    fn what_is_not_whole_is_not_there() {
        let file = Record::File { name: b"f", attributes: ATTRIBUTES, ino: 0, len: 2 };
        let root = enter(b"", false);
        let mark = enter(b".wh.x", false);
        let cases: [(&[Record<'_>], &str); 9] = [
            (&[], "the sandbox told nothing of its files"),
            (&[root, file], "the run came to its end before all was told"),
            (&[root, file, Record::Leave, Record::End], "a file has fewer bytes than it said"),
            (&[root, Record::End], "the root sent nonsense"),
            (&[root, root], "the root sent nonsense"),
            (&[Record::Leave], "the root sent nonsense"),
            (&[root, Record::Link { name: b"x", ino: 3 }], "the root sent nonsense"),
            (&[root, mark], ".wh.x: in a layer, a name that begins with `.wh.` stands for what is gone"),
            (&[root, Record::Failed { defect: Defect::LongPath }], "in /: a path there is longer than 4095 bytes"),
        ];
        for (records, why) in cases {
            let (layer, missing) = diff(records);
            assert_eq!(layer, None, "{why}");
            assert!(missing.as_ref().is_some_and(|reason| reason.ends_with(why)), "{missing:?}: {why}");
        }
    }

    #[test]
    fn several_sandboxes_have_a_file_each() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.tar");
        let diffs = Diffs::new(Some(&target), 2).unwrap();
        diffs.take(1, &encode(&[Record::End])).unwrap();
        assert!(diffs.take(2, b"").is_err());
        let missing: Vec<u16> = diffs.finish().iter().map(|missing| missing.sandbox).collect();
        assert_eq!(missing, [0]);
        assert!(directory.path().join("out.2.tar").is_file() && !directory.path().join("out.1.tar").exists());
        assert_eq!(numbered(Path::new("d.x/out"), 3), Path::new("d.x/out.3"));
        assert!(Diffs::new(Some(Path::new("/dev/null")), 1).is_err());
        assert!(Diffs::new(Some(Path::new("/nowhere/at/all")), 1).is_err());
    }
}
