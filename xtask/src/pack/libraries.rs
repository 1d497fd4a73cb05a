//! Finding the libraries of a program without running it: `ld.so`'s search, followed over the tree and the host.
//!
//! Rules: `man 8 ld.so`. The cache (`/etc/ld.so.cache`) is not read: what it was made from is, `/etc/ld.so.conf`.
use super::ld_cache;
use super::program::{self, Needs};
use super::tree::{Found, HostFile, Tree};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories that `ld.so` of Debian and of others searches by itself.
const SYSTEM_DIRS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Where `ld.so` finds its cache.
const CACHE: &str = "/etc/ld.so.cache";
/// Files included from `/etc/ld.so.conf` nest at most this deep.
const MAX_INCLUDES: u32 = 8;
/// Larger files are programs with their data in them; only this much is read to find what they need.
const MAX_READ: u64 = 512 << 20;

/// Takes a program's interpreter and libraries into the tree. Returns the names of libraries that were not found.
pub(crate) fn import_needs(
    tree: &mut Tree,
    program: &HostFile,
    program_path: &Path,
    library_path: &[Vec<u8>],
) -> Result<Vec<String>> {
    let Some(needs) = read(program).as_deref().and_then(program::needs) else {
        return Ok(Vec::new());
    };
    let mut search = Search {
        tree,
        library_path,
        configured: configured_directories(),
        seen: BTreeSet::new(),
        missing: Vec::new(),
        beyond: BTreeMap::new(),
    };
    search.interpreter(&needs)?;
    search.libraries(needs, program_path)?;
    search.cache()?;
    Ok(search.missing)
}

/// Takes the interpreter of a script into the tree, with what that needs. Not a script: nothing happens.
pub(crate) fn import_script_interpreter(tree: &mut Tree, script: &HostFile, library_path: &[Vec<u8>]) -> Result<()> {
    let mut start = Vec::new();
    if let Ok(file) = File::open(&script.path) {
        file.take(4096).read_to_end(&mut start)?;
    }
    let Some(name) = program::script_interpreter(&start) else {
        return Ok(());
    };
    let path = Path::new(OsStr::from_bytes(name));
    if let Found::File { file, path, .. } = tree.import(path)? {
        import_needs(tree, &file, &path, library_path)?;
    }
    Ok(())
}

/// A file's bytes, if it can be read.
fn read(file: &HostFile) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(&file.path).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// An object whose needs are to be met, and the RPATHs of those that loaded it.
struct Object {
    needs: Needs,
    origin: PathBuf,
    inherited: Vec<PathBuf>,
}

struct Search<'t> {
    tree: &'t mut Tree,
    library_path: &'t [Vec<u8>],
    configured: Vec<PathBuf>,
    seen: BTreeSet<Vec<u8>>,
    missing: Vec<String>,
    /// Libraries that `ld.so` does not find without a cache: names and paths.
    beyond: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Search<'_> {
    /// Takes the ELF interpreter in. It is a library too, under its own name.
    fn interpreter(&mut self, needs: &Needs) -> Result<()> {
        let Some(name) = &needs.interpreter else {
            return Ok(());
        };
        let path = Path::new(OsStr::from_bytes(name));
        match self.tree.import(path)? {
            Found::File { file, .. } => {
                let soname = read(&file).as_deref().and_then(program::needs).and_then(|n| n.soname);
                self.seen.extend(soname);
                self.seen.extend(path.file_name().map(|n| n.as_bytes().to_vec()));
            }
            _ => self.missing.push(path.display().to_string()),
        }
        Ok(())
    }

    /// Takes all libraries in, breadth first as `ld.so` does.
    fn libraries(&mut self, needs: Needs, path: &Path) -> Result<()> {
        let mut queue = VecDeque::from([Object {
            needs,
            origin: path.parent().unwrap_or(Path::new("/")).to_owned(),
            inherited: Vec::new(),
        }]);
        while let Some(object) = queue.pop_front() {
            let (own, directories) = self.directories(&object);
            for name in &object.needs.libraries {
                if !self.seen.insert(name.clone()) {
                    continue;
                }
                let Some((needs, path)) = self.library(name, &directories)? else {
                    self.missing.push(String::from_utf8_lossy(name).into_owned());
                    continue;
                };
                let origin = path.parent().unwrap_or(Path::new("/")).to_owned();
                queue.push_back(Object { needs, origin, inherited: own.clone() });
            }
        }
        Ok(())
    }

    /// The RPATHs that an object hands on to what it loads, and all directories to search for its own needs.
    fn directories(&self, object: &Object) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let expand =
            |list: &[Vec<u8>]| -> Vec<PathBuf> { list.iter().map(|dir| expand(dir, &object.origin)).collect() };
        let mut rpaths = expand(&object.needs.rpath);
        rpaths.extend_from_slice(&object.inherited);
        let runpaths = expand(&object.needs.runpath);
        // An object with a RUNPATH ignores every RPATH.
        let mut all = if runpaths.is_empty() { rpaths.clone() } else { Vec::new() };
        all.extend(expand(self.library_path));
        all.extend(runpaths);
        all.extend(SYSTEM_DIRS.iter().map(PathBuf::from));
        all.extend_from_slice(&self.configured);
        (rpaths, all)
    }

    /// Makes the cache that leads to what `ld.so` would not find by itself. One that a layer brings stays as it is.
    fn cache(&mut self) -> Result<()> {
        let file = match self.beyond.len() {
            0 => None,
            _ => ld_cache::build(&self.beyond),
        };
        match file {
            Some(file) => self.tree.make(Path::new(CACHE), file),
            None => Ok(()),
        }
    }

    /// Finds one library and takes it in.
    fn library(&mut self, name: &[u8], directories: &[PathBuf]) -> Result<Option<(Needs, PathBuf)>> {
        let name = Path::new(OsStr::from_bytes(name));
        // A name with a slash is a path; joining an absolute one gives just that.
        let candidates: Vec<PathBuf> = if name.components().count() > 1 || name.has_root() {
            vec![Path::new("/").join(name)]
        } else {
            directories.iter().map(|dir| dir.join(name)).collect()
        };
        for candidate in candidates {
            let Ok(Found::File { file, .. }) = self.tree.find(&candidate) else {
                continue;
            };
            // As ld.so does, pass over what is for another machine.
            if let Some(needs) = read(&file).as_deref().and_then(program::needs) {
                self.tree.import(&candidate)?;
                let parent = candidate.parent();
                if self.configured.iter().any(|dir| Some(dir.as_path()) == parent) {
                    let path = candidate.as_os_str().as_bytes().to_vec();
                    self.beyond.insert(name.as_os_str().as_bytes().to_vec(), path);
                }
                return Ok(Some((needs, candidate)));
            }
        }
        Ok(None)
    }
}

/// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM` (with braces or without) in a search directory.
fn expand(directory: &[u8], origin: &Path) -> PathBuf {
    let mut text = directory.to_vec();
    let origin = origin.as_os_str().as_bytes();
    for (name, value) in [("ORIGIN", origin), ("LIB", b"lib/x86_64-linux-gnu"), ("PLATFORM", b"x86_64")] {
        text = replace(&text, format!("${{{name}}}").as_bytes(), value);
        text = replace(&text, format!("${name}").as_bytes(), value);
    }
    PathBuf::from(OsStr::from_bytes(&text))
}

/// Replaces every `from` in `text`.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    out
}

/// The directories of `/etc/ld.so.conf` and what it includes, but for those that `ld.so` knows anyway.
fn configured_directories() -> Vec<PathBuf> {
    let mut found = Vec::new();
    read_configuration(Path::new("/etc/ld.so.conf"), MAX_INCLUDES, &mut found);
    found.retain(|dir| !SYSTEM_DIRS.iter().any(|known| dir == Path::new(known)));
    found
}

fn read_configuration(path: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    let (Ok(text), Some(depth)) = (fs::read_to_string(path), depth.checked_sub(1)) else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include ") {
            Some(pattern) => {
                for file in matching_files(Path::new(pattern.trim())) {
                    read_configuration(&file, depth, found);
                }
            }
            None if line.starts_with('/') => found.push(PathBuf::from(line)),
            None => {}
        }
    }
}

/// The files that a pattern with at most one `*`, in its last name, stands for, in order.
fn matching_files(pattern: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_expanded() {
        let origin = Path::new("/opt/x/bin");
        assert_eq!(expand(b"$ORIGIN/../lib", origin), Path::new("/opt/x/bin/../lib"));
        assert_eq!(expand(b"${ORIGIN}", origin), origin);
        assert_eq!(expand(b"/usr/$LIB", origin), Path::new("/usr/lib/x86_64-linux-gnu"));
    }
}
