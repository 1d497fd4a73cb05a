//! Files that a user gets when they are whole, and not before.
use anyhow::{Context, Result};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempPath;

/// What a file may be made with; the umask takes from it.
const FILE_MODE: u32 = 0o666;

/// A file that has no name of its own yet: it is removed if it gets none.
#[derive(Debug)]
pub(crate) struct Unfinished {
    file: File,
    path: TempPath,
}

impl Unfinished {
    /// Sets its length.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Gives it its name, which another file may have had.
    pub(crate) fn finish(self, target: &Path) -> Result<()> {
        self.path
            .persist(target)
            .map_err(|error| error.error)
            .with_context(|| format!("cannot write {}", target.display()))
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Unfinished {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// A file beside `target`, to become it.
pub(crate) fn temporary(target: &Path) -> Result<Unfinished> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cordon-").permissions(Permissions::from_mode(FILE_MODE));
    let file = builder.tempfile_in(directory).with_context(|| format!("cannot write to {}", directory.display()))?;
    let (file, path) = file.into_parts();
    Ok(Unfinished { file, path })
}

/// Makes ready for a file that comes at the end of a run: one that is there is removed, and that there can be none is told now. False if
/// `target` is there and no file, such as a terminal, which is to be written to as it is.
pub(crate) fn prepare(target: &Path) -> Result<bool> {
    match target.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            OpenOptions::new().write(true).open(target)?;
            return Ok(false);
        }
        Ok(_) => fs::remove_file(target)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    temporary(target)?;
    Ok(true)
}

/// Writes a file whole, or none.
pub(crate) fn write(target: &Path, text: &str) -> Result<()> {
    if target.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(fs::write(target, text)?);
    }
    let mut file = temporary(target)?;
    file.write_all(text.as_bytes())?;
    file.finish(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out");
        fs::write(&target, "of another run").unwrap();
        assert!(prepare(&target).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        write(&target, "whole").unwrap();
        write(&target, "again").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "again");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(prepare(directory.path()).is_err() && prepare(&target.join("below")).is_err());
        assert!(prepare(&directory.path().join("none/out")).is_err());
    }

    #[test]
    fn devices_are_written_to() {
        let [null, full] = ["/dev/null", "/dev/full"].map(Path::new);
        assert!(!prepare(null).unwrap() && write(null, "text").is_ok());
        assert!(!prepare(full).unwrap() && write(full, "text").is_err());
    }
}
