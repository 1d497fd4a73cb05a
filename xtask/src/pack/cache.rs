//! Bundles of earlier runs, kept for what is large in them: the files of the layers. They stand at the start of a bundle, and
//! everything else behind them, so that a run with the same layers writes the rest anew and leaves them alone.
//!
//! A bundle is found by a key over each file's path, device, inode, length and times of modification and change. One run at a time
//! uses a bundle: it holds a lock on the file, which goes with the process. A run that finds it locked makes one of its own.
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bundles that are kept, and their bytes in all. Those that were used last stay.
const MAX_BUNDLES: usize = 8;
const MAX_BYTES: u64 = 4 << 30;

/// A bundle of the cache, this run's alone.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Locked.
    pub(crate) file: File,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Where it is to be found by the next run, if it is not yet.
    publish_as: Option<PathBuf>,
}

impl Entry {
    /// The bundle with this key, if it is there, at least `len` bytes long, and nobody uses it; else a new empty one, which has to be
    /// filled and [published](Self::publish). The flag says whether it was there.
    pub(crate) fn open(directory: &Path, key: &str, len: u64) -> io::Result<(Self, bool)> {
        fs::create_dir_all(directory)?;
        let path = directory.join(key);
        if let Some(file) = lock(&path)?
            && file.metadata()?.len() >= len
        {
            return Ok((Self { file, path, publish_as: None }, true));
        }
        evict(directory, len)?;
        let mut own = OsString::from(key);
        own.push(format!(".{}", std::process::id()));
        let own = directory.join(own);
        let file = File::create(&own)?;
        file.try_lock()?;
        Ok((Self { file, path: own, publish_as: Some(path) }, false))
    }

    /// Lets later runs find a new bundle, now that it is whole. One that another run has made meanwhile stays.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        let Some(name) = self.publish_as.take() else { return Ok(()) };
        match fs::hard_link(&self.path, &name) {
            Ok(()) => {
                fs::remove_file(&self.path)?;
                self.path = name;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.publish_as = Some(name),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.publish_as.is_some() {
            // Nobody would find it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file at `path`, locked, if it is there and nobody else holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.try_lock().is_err() {
        return Ok(None);
    }
    // It may have been taken away before it was locked.
    let same = fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|held| held.ino() == there.ino()));
    Ok(same.then_some(file))
}

/// Deletes bundles that nobody uses until there is room for one more of `len` bytes, the oldest first.
fn evict(directory: &Path, len: u64) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another run may delete it meanwhile.
        if let Ok(metadata) = entry.metadata() {
            kept.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    kept.sort();
    let mut bytes: u64 = kept.iter().map(|(_, len, _)| len).sum();
    let mut count = kept.len();
    for (_, size, path) in kept {
        if count < MAX_BUNDLES && bytes.saturating_add(len) <= MAX_BYTES {
            break;
        }
        if lock(&path)?.is_some() {
            fs::remove_file(&path)?;
            count -= 1;
            bytes -= size;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn made(directory: &Path, key: &str, bytes: &[u8]) -> Entry {
        let (mut entry, found) = Entry::open(directory, key, 0).unwrap();
        assert!(!found);
        entry.file.write_all(bytes).unwrap();
        entry.publish().unwrap();
        entry
    }

    #[test]
    fn what_was_published_is_found_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        drop(made(dir.path(), "key", b"bundle"));
        let (first, found) = Entry::open(dir.path(), "key", 6).unwrap();
        assert!(found && first.path == dir.path().join("key"));
        let (mut second, found) = Entry::open(dir.path(), "key", 6).unwrap();
        assert!(!found && second.path != first.path, "it is in use");
        second.publish().unwrap();
        assert_ne!(second.path, first.path, "the first stays");
        let own = second.path.clone();
        drop((first, second));
        assert!(!own.exists());
        assert!(!Entry::open(dir.path(), "key", 7).unwrap().1, "it is too short");
        assert!(!Entry::open(dir.path(), "other", 1).unwrap().1);
    }

    #[test]
    fn one_that_was_not_finished_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Entry::open(dir.path(), "key", 0).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = made(dir.path(), "held", b"x");
        for number in 0..2 * MAX_BUNDLES {
            drop(made(dir.path(), &number.to_string(), b"x"));
        }
        let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names().count() <= MAX_BUNDLES);
        assert!(held.path.exists() && names().any(|name| name == "15"));
        evict(dir.path(), MAX_BYTES).unwrap();
        assert_eq!(names().collect::<Vec<_>>(), ["held"]);
    }
}
