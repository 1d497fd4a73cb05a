//! `--watch-policy`: the policy file is read again when it, or a file that it includes, changes; it is checked here, and sent to the root.
use super::report::say;
use super::session::ToRoot;
use crate::exit::Failure;
use crate::policy::{Container, PolicyFiles};
use bundle::PolicyFile;
use control::kind;
use control::policy::{MAX_POLICY, POLICY_PIECE};
use layers::Digest;
use policy::Policy;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often the files are looked at. One that is being written changes between two looks, and all are left alone until it does not.
const LOOK: Duration = Duration::from_millis(200);

/// Digests of the texts of policies that were sent, by generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests(Arc<Mutex<BTreeMap<u32, String>>>);

impl Digests {
    /// The one of a generation.
    pub(crate) fn of(&self, generation: u32) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&generation).cloned()
    }

    fn note(&self, generation: u32, text: &str) {
        let digest = Digest::of(text.as_bytes()).hex();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(generation, digest);
    }
}

/// How often the files are read at a time if each time others are included.
const TRIES: usize = 4;

/// What tells one state of a file from another: when it was written, how long it is, which file it is. None: there is no such file.
type Stamp = Option<(i64, i64, u64, u64)>;

/// A policy file that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    container: Container,
    /// What the program was started under. Some of it cannot be changed.
    first: Policy,
    /// The text in force.
    text: String,
    generation: u32,
    digests: Digests,
    /// All files on which it depends what the policy says.
    files: Vec<PathBuf>,
    /// What they were like before they were read last.
    seen: Vec<Stamp>,
}

impl Watch {
    /// Watches the file that `policy` was read from, and those that it includes.
    pub(super) fn new(path: &Path, container: Container, policy: &PolicyFiles) -> Result<Self, Failure> {
        let first = policy.compiled()?;
        let (digests, path) = (Digests::default(), path.to_owned());
        let (files, seen) = (vec![path.clone()], Vec::new());
        let mut watch = Self { path, container, first, text: policy.text(), generation: 1, digests, files, seen };
        watch.read()?;
        Ok(watch)
    }

    /// Where the digests of what is sent are noted.
    pub(super) fn digests(&self) -> Digests {
        self.digests.clone()
    }

    /// Looks after the files in a thread, as long as there is a root.
    pub(super) fn start(mut self, root: ToRoot) {
        thread::spawn(move || {
            let mut last = self.seen.clone();
            loop {
                thread::sleep(LOOK);
                if self.is_due(&mut last) {
                    match self.changed() {
                        Ok(Some(files)) if self.send(&root, &files).is_err() => return,
                        Ok(_) => {}
                        Err(why) => say(&format!("{why}; the old policy stays")),
                    }
                }
            }
        });
    }

    /// Whether a file has changed since they were read, and none since `last`, which becomes what they are like now. A file that
    /// is gone for the moment is no change.
    fn is_due(&self, last: &mut Vec<Stamp>) -> bool {
        let now: Vec<Stamp> = self.files.iter().map(|path| stamp(path)).collect();
        let is_gone = |(now, seen): (&Stamp, &Stamp)| now.is_none() && seen.is_some();
        let (are_still, are_others) = (now == *last, now != self.seen);
        let are_there = !now.iter().zip(&self.seen).any(is_gone);
        *last = now;
        are_still && are_others && are_there
    }

    /// Reads the files. What they are like is noted before, so that no change is missed.
    fn read(&mut self) -> Result<PolicyFiles, Failure> {
        let name = self.path.display().to_string();
        let mut tries = 0;
        loop {
            self.seen = self.files.iter().map(|path| stamp(path)).collect();
            let mut files = Vec::new();
            let policy = PolicyFiles::read_watched(&self.path, &name, &self.container, &mut files);
            tries += 1;
            if tries == TRIES || files == self.files {
                return policy;
            }
            self.files = files;
        }
    }

    /// The new policy, if there is a good one that is another.
    fn changed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let name = self.path.display().to_string();
        let policy = self.read()?;
        let text = policy.text();
        if text == self.text {
            return Ok(None);
        }
        let compiled = policy.compiled()?;
        if let Some(section) = compiled.fixed_part_unlike(&self.first) {
            let why = format!("`{section}` has changed, and the program is running already");
            return Err(Failure::early(format!("{name}: {why}")));
        }
        let files = PolicyFile::encode(&policy.packed()).map_err(|error| Failure::early(error.to_string()))?;
        if files.len() > MAX_POLICY {
            return Err(Failure::early(format!("{name}: more than {MAX_POLICY} bytes with what it includes")));
        }
        self.generation += 1;
        self.digests.note(self.generation, &text);
        self.text = text;
        Ok(Some(files))
    }

    fn send(&self, root: &ToRoot, files: &[u8]) -> io::Result<()> {
        files.chunks(POLICY_PIECE).try_for_each(|piece| root.send(kind::POLICY, piece))?;
        root.send(kind::POLICY_END, &self.generation.to_le_bytes())?;
        say(&format!("{} has changed: it is policy {} now", self.path.display(), self.generation));
        Ok(())
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "version = 1\n";

    #[test]
    fn files_that_are_included_are_watched() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let path = directory.path().join("p.toml");
        write("p.toml", "version = 1\ninclude = [\"a\"]\n");
        write("a", FIRST);
        let policy = PolicyFiles::read(&path, "p.toml", &Container::default()).unwrap();
        let mut watch = Watch::new(&path, Container::default(), &policy).unwrap();
        let mut last = watch.seen.clone();
        let mut look = |watch: &Watch| (0..3).any(|_| watch.is_due(&mut last));
        assert!(!look(&watch));
        write("a", "version = 1\ndefault = \"kill\"\n");
        assert!(look(&watch));
        assert!(watch.changed().unwrap().is_some());
        assert!(!look(&watch), "it was read");
        // What is missing is waited for.
        write("a", "version = 1\ninclude = [\"b\"]\n");
        assert!(look(&watch));
        assert!(watch.changed().unwrap_err().to_string().contains("cannot include b"));
        assert!(!look(&watch));
        write("b", "version = 1\ndefault = \"trap\"\n");
        assert!(look(&watch) && watch.changed().unwrap().is_some());
        // A file that is gone may be on its way.
        fs::remove_file(directory.path().join("b")).unwrap();
        assert!(!look(&watch));
        write("b", "version = 1\ndefault = \"kill\"\n");
        assert!(look(&watch) && watch.changed().unwrap().is_some());
        // What is included no more is nobody's business.
        write("a", FIRST);
        assert!(look(&watch) && watch.changed().unwrap().is_some());
        write("b", "");
        assert!(!look(&watch));
    }

    #[test]
    fn what_a_changed_file_says_is_checked_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.toml");
        fs::write(&path, FIRST).unwrap();
        let policy = PolicyFiles::read(&path, "p.toml", &Container::default()).unwrap();
        let mut watch = Watch::new(&path, Container::default(), &policy).unwrap();
        let mut change = |text: &str| {
            fs::write(&path, text).unwrap();
            watch.changed().map_err(|failure| failure.to_string())
        };
        assert_eq!(change(FIRST), Ok(None), "the same as before");
        assert!(change("version = 2\n").unwrap_err().contains("p.toml:1:11: version 2"));
        assert!(change("version = 1\n[process]\numask = 0o77\n").unwrap_err().contains("`[process]` has changed"));
        let bind = "version = 1\n[[bind]]\nhost = \".\"\nat = \"/mnt\"\n";
        assert!(change(bind).unwrap_err().contains("`[[bind]]` has changed"));
        let files = "version = 1\n[[files]]\ndefault = []\n";
        assert!(change(files).unwrap_err().contains("`[[files]]` has changed"), "there was none to begin with");
        let taint = "version = 1\n[[taint]]\npaths = \"/a\"\ndeny = [\"read\"]\n";
        assert!(change(taint).unwrap_err().contains("`when` of a `[[taint]]` has changed"));
        assert!(
            change(&taint.replace("paths = \"/a\"", "calls = [\"read\"]"))
                .unwrap_err()
                .contains("`calls` or `when` of")
        );
        let memory = "version = 1\n[limits]\nmemory = \"64M\"\n";
        assert!(change(memory).unwrap_err().contains("`memory` in `[limits]` has changed"));
        let good = "version = 1\ndefault = \"kill\"\n[limits]\nwall = 9\n";
        let files = PolicyFile::decode(&change(good).unwrap().unwrap()).unwrap();
        assert_eq!(files.first().map(|file| file.text.as_str()), Some(good));
        assert_eq!(change(good), Ok(None));
        assert_eq!(watch.digests().of(2), Some(Digest::of(good.as_bytes()).hex()));
        assert_eq!(watch.digests().of(3), None);
    }

    #[test]
    fn rights_on_files_can_change_where_there_are_some() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.toml");
        let rights = |rights: &str| format!("version = 1\n[[files]]\ndefault = [{rights}]\n");
        fs::write(&path, rights("\"read\"")).unwrap();
        let policy = PolicyFiles::read(&path, "p.toml", &Container::default()).unwrap();
        let mut watch = Watch::new(&path, Container::default(), &policy).unwrap();
        for text in [rights("\"list\""), FIRST.to_owned(), rights("")] {
            fs::write(&path, &text).unwrap();
            assert!(watch.changed().unwrap().is_some(), "{text}");
        }
    }
}
