//! `--watch-policy`: the policy file is read again when it changes, checked here, and sent to the root.
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
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often the file is looked at. One that is being written changes between two looks, and is left alone until it does not.
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

/// What tells one state of a file from another: when it was written, how long it is, which file it is.
type Stamp = (i64, i64, u64, u64);

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
    seen: Option<Stamp>,
}

impl Watch {
    /// Watches the file that `policy` was read from.
    pub(super) fn new(path: &Path, container: Container, policy: &PolicyFiles) -> Result<Self, Failure> {
        let first = policy.compiled()?;
        let digests = Digests::default();
        let (path, seen) = (path.to_owned(), stamp(path));
        Ok(Self { path, container, first, text: policy.text(), generation: 1, digests, seen })
    }

    /// Where the digests of what is sent are noted.
    pub(super) fn digests(&self) -> Digests {
        self.digests.clone()
    }

    /// Looks after the file in a thread, as long as there is a root.
    pub(super) fn start(mut self, root: ToRoot) {
        thread::spawn(move || {
            let mut last = self.seen;
            loop {
                thread::sleep(LOOK);
                let now = stamp(&self.path);
                if now.is_some() && now == last && now != self.seen {
                    self.seen = now;
                    match self.changed() {
                        Ok(Some(files)) if self.send(&root, &files).is_err() => return,
                        Ok(_) => {}
                        Err(why) => say(&format!("{why}; the old policy stays")),
                    }
                }
                last = now;
            }
        });
    }

    /// The new policy, if the file has a good one that is another.
    fn changed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let name = self.path.display().to_string();
        let policy = PolicyFiles::read(&self.path, &name, &self.container)?;
        let text = policy.text();
        if text == self.text {
            return Ok(None);
        }
        let compiled = policy.compiled()?;
        let changed = [
            ("[process]", compiled.process() != self.first.process()),
            ("[root]` or `[[bind]]", compiled.mounts() != self.first.mounts()),
            ("[[files]]", !compiled.same_file_rights(&self.first)),
            ("paths` or `rights` of a `[[taint]]", !compiled.same_triggers(&self.first)),
        ];
        if let Some((section, _)) = changed.into_iter().find(|(_, changed)| *changed) {
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

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}

/// A line for the user, whose terminal may take bytes as they are.
fn say(text: &str) {
    let mut stderr = io::stderr();
    let end = if stderr.is_terminal() { "\r\n" } else { "\n" };
    let line = super::report::printable(text);
    // A closed standard error stops neither a program nor us.
    let _ = stderr.write_all(format!("cordon: {line}{end}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "version = 1\n";

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
        assert!(change(files).unwrap_err().contains("`[[files]]` has changed"));
        let taint = "version = 1\n[[taint]]\npaths = \"/a\"\ndeny = [\"read\"]\n";
        assert!(change(taint).unwrap_err().contains("`paths` or `rights` of a `[[taint]]` has changed"));
        let good = "version = 1\ndefault = \"kill\"\n";
        let files = PolicyFile::decode(&change(good).unwrap().unwrap()).unwrap();
        assert_eq!(files.first().map(|file| file.text.as_str()), Some(good));
        assert_eq!(change(good), Ok(None));
        assert_eq!(watch.digests().of(2), Some(Digest::of(good.as_bytes()).hex()));
        assert_eq!(watch.digests().of(3), None);
    }
}
