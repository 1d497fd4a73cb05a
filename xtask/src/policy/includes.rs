//! Files that a policy includes: read within bounds, and never in a circle.
use policy::limits::{MAX_DEPTH, MAX_FILES, MAX_TEXT};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Paths that are kept of those that were looked for: a policy has fewer files, but may name some by several.
const MAX_LOOKED_FOR: usize = 4 * MAX_FILES;

/// A file that is being read.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    /// What it is called in messages.
    name: String,
}

/// The files that are being read, the outermost first, and those that were.
#[derive(Debug)]
pub(super) struct Includes {
    open: Vec<Open>,
    /// All that were read, in no circle and whether they are done with or not.
    seen: Vec<PathBuf>,
    /// The paths by which any were looked for, found or not.
    looked_for: Vec<PathBuf>,
    /// How many were read in all.
    count: usize,
    /// Folders that are somewhere else here.
    map: Vec<(PathBuf, PathBuf)>,
}

/// What an included file holds.
#[derive(Debug)]
pub(super) struct Included {
    /// What it is called in messages: the way there from the outermost file.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Includes {
    /// Says that the outermost file, which is read already, is this one.
    pub(super) fn of_file(path: &Path, name: &str) -> Self {
        let looked_for = vec![path.to_owned()];
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (seen, open) = (vec![path.clone()], vec![Open { path, name: name.to_owned() }]);
        Self { open, seen, looked_for, count: 1, map: Vec::new() }
    }

    /// The same where the files below some folders are looked for below others.
    pub(super) fn mapped(self, map: &[(PathBuf, PathBuf)]) -> Self {
        Self { map: map.to_vec(), ..self }
    }

    /// Reads a file that is named in the one that was entered last, relative to whose directory its name is. Whoever calls this calls
    /// [`Self::leave`] when the text is done with.
    pub(super) fn enter(&mut self, named: &str) -> Result<Included, String> {
        let cannot = |why: String| format!("cannot include {named}: {why}");
        let path = self.path(named).map_err(cannot)?;
        self.enter_path(named, path).map_err(cannot)
    }

    /// As [`Self::enter`]; nothing if the file was read before.
    pub(super) fn enter_new(&mut self, named: &str) -> Result<Option<Included>, String> {
        let cannot = |why: String| format!("cannot include {named}: {why}");
        let path = self.path(named).map_err(cannot)?;
        if self.seen.contains(&path) && !self.is_open(&path) {
            return Ok(None);
        }
        self.enter_path(named, path).map_err(cannot).map(Some)
    }

    /// The paths of all files on which it depends what is read, whether they were there or not.
    pub(super) fn into_looked_for(self) -> Vec<PathBuf> {
        self.looked_for
    }

    /// Ends what [`Self::enter`] began.
    pub(super) fn leave(&mut self) {
        self.open.pop();
    }

    /// The folder of the file that was entered last.
    pub(super) fn folder(&self) -> &Path {
        self.open.last().and_then(|file| file.path.parent()).unwrap_or(Path::new(""))
    }

    /// Where a file is that is named so, if its folder is somewhere else here.
    fn elsewhere(&self, named: &str) -> Option<PathBuf> {
        self.map.iter().find_map(|(from, to)| Some(to.join(Path::new(named).strip_prefix(from).ok()?)))
    }

    fn path(&mut self, named: &str) -> Result<PathBuf, String> {
        let elsewhere = self.elsewhere(named);
        let path = elsewhere.clone().unwrap_or_else(|| self.folder().join(named));
        let found = path.canonicalize().map_err(|error| match (Path::new(named).parent(), &elsewhere) {
            (Some(folder), None) if folder.is_absolute() && error.kind() == ErrorKind::NotFound => {
                let folder = folder.display();
                format!("{error}; if the files of {folder} are somewhere else here, say where: --include-map {folder}=FOLDER")
            }
            (_, Some(path)) => format!("{}: {error}", path.display()),
            _ => error.to_string(),
        });
        if self.looked_for.len() < MAX_LOOKED_FOR && !self.looked_for.contains(&path) {
            self.looked_for.push(path);
        }
        found
    }

    fn is_open(&self, path: &Path) -> bool {
        self.open.iter().any(|open| open.path == path)
    }

    fn enter_path(&mut self, named: &str, path: PathBuf) -> Result<Included, String> {
        let folder = self.open.last().and_then(|file| Path::new(&file.name).parent()).unwrap_or(Path::new(""));
        let plain = |path: &Path| path.strip_prefix(".").unwrap_or(path).to_owned();
        let name = self.elsewhere(named).unwrap_or_else(|| folder.join(plain(Path::new(named))));
        let name = plain(&name).display().to_string();
        if self.is_open(&path) {
            let chain = self.open.iter().skip_while(|open| open.path != path).map(|open| open.name.as_str());
            let chain: Vec<&str> = chain.chain([name.as_str()]).collect();
            return Err(format!("that is a circle: {}", chain.join(" includes ")));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(format!("files include one another more than {MAX_DEPTH} deep"));
        }
        self.count += 1;
        if self.count > MAX_FILES {
            return Err(format!("a policy is made of {MAX_FILES} files at most"));
        }
        let bytes = read(&path)?;
        self.seen.push(path.clone());
        self.open.push(Open { path, name: name.clone() });
        Ok(Included { name, bytes })
    }
}

/// A file's bytes: one more, if there are more than a policy may have, whose reader says so. What is no plain file would perhaps never end.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Not even opened: to open a pipe takes until somebody writes to it.
    if !path.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no plain file".into());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
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
        fs::write(directory.path().join("sub/b"), "B").unwrap();
        let mut includes = Includes::of_file(&directory.path().join("main"), "p/main");
        let entered = includes.enter("sub/a").unwrap();
        assert_eq!((entered.name.as_str(), entered.bytes.as_slice()), ("p/sub/a", b"A".as_slice()));
        assert!(includes.enter("a").unwrap_err().ends_with("that is a circle: p/sub/a includes p/sub/a"));
        assert!(includes.enter_new("a").unwrap_err().contains("that is a circle"));
        assert_eq!(includes.enter_new("b").unwrap().unwrap().name, "p/sub/b");
        includes.leave();
        assert!(includes.enter_new("b").unwrap().is_none());
        assert!(includes.enter("b").is_ok());
        includes.leave();
        includes.leave();
        assert!(includes.enter("a").unwrap_err().contains("No such file"));
        assert!(includes.enter("sub").unwrap_err().ends_with("no plain file"));
        let root = directory.path().canonicalize().unwrap();
        let looked_for = ["sub/a", "sub/b", "a", "sub"].map(|name| root.join(name));
        assert_eq!(includes.into_looked_for()[1..], looked_for[..]);
    }

    #[test]
    fn folders_of_another_system_are_where_the_command_line_says() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().join("here");
        fs::create_dir(&here).unwrap();
        fs::write(here.join("a"), "A").unwrap();
        let of = |map: &[(PathBuf, PathBuf)]| Includes::of_file(&directory.path().join("main"), "p/main").mapped(map);
        let why = of(&[]).enter("/nowhere/policy/a").unwrap_err();
        assert!(why.starts_with("cannot include /nowhere/policy/a: No such file"), "{why}");
        assert!(why.ends_with("say where: --include-map /nowhere/policy=FOLDER"), "{why}");
        let mut includes = of(&[("/nowhere/policy".into(), here.clone())]);
        let entered = includes.enter("/nowhere/policy/a").unwrap();
        assert_eq!((entered.name, entered.bytes.as_slice()), (here.join("a").display().to_string(), &b"A"[..]));
        includes.leave();
        let why = includes.enter("/nowhere/policy/b").unwrap_err();
        assert!(why.contains(&format!("{}/b: No such file", here.display())), "{why}");
        assert!(includes.enter("/nowhere/policyx/a").unwrap_err().contains("--include-map /nowhere/policyx="));
    }

    #[test]
    fn depth_and_number_have_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let mut includes = Includes::of_file(&directory.path().join("main"), "main");
        for depth in 0..=MAX_DEPTH {
            fs::write(directory.path().join(depth.to_string()), "").unwrap();
            assert_eq!(includes.enter(&depth.to_string()).is_ok(), depth < MAX_DEPTH);
        }
        let mut includes = Includes::of_file(&directory.path().join("main"), "main");
        let read = (0..MAX_FILES + 10).filter(|_| includes.enter("0").map(|_| includes.leave()).is_ok());
        assert_eq!(read.count(), MAX_FILES - 1);
    }
}
