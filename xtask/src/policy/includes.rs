//! Files that a policy includes: read within bounds, and never in a circle.
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files within files, at most.
const MAX_DEPTH: usize = 8;
/// Files that a policy is made of, at most.
const MAX_FILES: usize = 64;

/// The files that are being read, the outermost first.
#[derive(Debug, Default)]
pub(super) struct Includes {
    open: Vec<PathBuf>,
    /// How many were read in all.
    count: usize,
}

impl Includes {
    /// Reads a file that is named in the one that was entered last, relative to whose directory its name is. Whoever calls this calls
    /// [`Self::leave`] when the text is done with.
    pub(super) fn enter(&mut self, named: &str) -> Result<(String, String), String> {
        let directory = self.open.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let path = directory.join(named);
        let (path, text) = self.read(&path).map_err(|why| format!("cannot include {named}: {why}"))?;
        self.open.push(path);
        Ok((named.to_owned(), text))
    }

    /// Says that the outermost file, which is read already, is this one.
    pub(super) fn of_file(path: &Path) -> Self {
        Self { open: vec![path.canonicalize().unwrap_or_else(|_| path.to_owned())], count: 1 }
    }

    /// Ends what [`Self::enter`] began.
    pub(super) fn leave(&mut self) {
        self.open.pop();
    }

    fn read(&mut self, path: &Path) -> Result<(PathBuf, String), String> {
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        if self.open.contains(&path) {
            return Err("that is a circle".into());
        }
        if self.open.len() > MAX_DEPTH {
            return Err(format!("files include one another more than {MAX_DEPTH} deep"));
        }
        self.count += 1;
        if self.count > MAX_FILES {
            return Err(format!("a policy is made of {MAX_FILES} files at most"));
        }
        let most = policy::limits::MAX_TEXT as u64;
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(|error| error.to_string())?;
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > most {
            return Err(format!("it has more than {most} bytes"));
        }
        let text = policy::text("it", &bytes).map_err(|error| error.to_string())?;
        Ok((path, text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_relative_to_the_file_that_they_stand_in() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/a"), "A").unwrap();
        fs::write(directory.path().join("sub/b"), b"B\n\xff").unwrap();
        let mut includes = Includes::of_file(&directory.path().join("main"));
        assert_eq!(includes.enter("sub/a").unwrap().1, "A");
        assert!(includes.enter("b").unwrap_err().contains("it:2:1: not UTF-8"));
        assert!(includes.enter("a").unwrap_err().ends_with("that is a circle"));
        includes.leave();
        assert!(includes.enter("a").unwrap_err().contains("No such file"));
    }

    #[test]
    fn depth_and_number_have_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let mut includes = Includes::of_file(&directory.path().join("main"));
        for depth in 0..=MAX_DEPTH {
            fs::write(directory.path().join(depth.to_string()), "").unwrap();
            assert_eq!(includes.enter(&depth.to_string()).is_ok(), depth < MAX_DEPTH);
        }
        let mut includes = Includes::of_file(&directory.path().join("main"));
        let read = (0..MAX_FILES + 10).filter(|_| includes.enter("0").map(|_| includes.leave()).is_ok());
        assert_eq!(read.count(), MAX_FILES - 1);
    }
}
