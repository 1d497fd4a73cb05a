//! Laying an image's layer over the tree, by the rules of the [OCI image layer
//! specification](https://github.com/opencontainers/image-spec/blob/main/layer.md#applying-changesets): first everything that the layer
//! hides goes, then everything that it has comes.
//!
//! Links on an entry's way are followed within the tree, with `/` being the tree's root and nothing above it. Directories that a layer
//! does not mention but needs are made.
use super::tree::{Content, HostFile, Kind, MAX_LINKS, Meta, Node, Tree, names_reversed};
use layers::{Entry, Error, Layer, limits};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Mode of a directory that no layer describes.
const DIRECTORY_MODE: u32 = 0o755;

/// A layer with the place of its files' bytes.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// Its entries.
    pub(crate) layer: &'a Layer,
    /// Its plain archive on the host.
    pub(crate) archive: &'a Path,
    /// What tells it from other layers.
    pub(crate) number: u64,
}

type Outcome<T> = Result<T, &'static str>;

impl Tree {
    /// Lays a layer over the tree.
    pub(crate) fn apply(&mut self, source: &Source<'_>) -> Result<(), Error> {
        let refuse = |entry: &Entry, reason| Error::refused(entry.shown().as_bytes(), reason);
        for entry in &source.layer.entries {
            self.hide(entry).map_err(|reason| refuse(entry, reason))?;
        }
        for (number, entry) in (0u64..).zip(&source.layer.entries) {
            self.add(entry, number, source).map_err(|reason| refuse(entry, reason))?;
        }
        Ok(())
    }

    /// Takes away what a whiteout or an opaque directory hides. What is not there is hidden already.
    fn hide(&mut self, entry: &Entry) -> Outcome<()> {
        match (&entry.kind, entry.path.split_last()) {
            (layers::Kind::Whiteout, Some((name, parent))) => {
                let parent = self.resolve(parent)?;
                if let Some(Node { kind: Kind::Directory(entries), .. }) = self.node_mut(&parent) {
                    entries.remove(name);
                }
            }
            (layers::Kind::Opaque, _) => {
                let place = self.place_of(&entry.path)?;
                if let Some(Node { kind: Kind::Directory(entries), .. }) = self.node_mut(&place) {
                    entries.clear();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts what an entry has in its place.
    fn add(&mut self, entry: &Entry, number: u64, source: &Source<'_>) -> Outcome<()> {
        let meta = Meta { mode: entry.meta.mode, uid: entry.meta.uid, gid: entry.meta.gid, mtime: entry.meta.mtime };
        let kind = match &entry.kind {
            layers::Kind::Whiteout => return Ok(()),
            layers::Kind::Directory => return self.add_directory(entry, Some(meta)),
            layers::Kind::Opaque => return self.add_directory(entry, None),
            layers::Kind::File { offset, len } => Kind::File(Content::Host(HostFile {
                path: source.archive.to_owned(),
                offset: *offset,
                len: *len,
                id: (source.number, number),
                // The archive is named by its content.
                changed: [0; 4],
                of_layer: true,
            })),
            layers::Kind::Symlink(target) => Kind::Symlink(target.clone()),
            layers::Kind::Fifo => Kind::Fifo,
            layers::Kind::HardLink(first) => {
                let first = self.linked(first)?;
                return self.put(entry, first);
            }
        };
        self.put(entry, Node { meta, kind })
    }

    /// A directory leaves what is in one that is there already.
    fn add_directory(&mut self, entry: &Entry, meta: Option<Meta>) -> Outcome<()> {
        let place = self.place_of(&entry.path)?;
        match self.node_mut(&place) {
            Some(node) if matches!(node.kind, Kind::Directory(_)) => {
                node.meta = meta.unwrap_or(node.meta);
                Ok(())
            }
            _ => {
                let meta = meta.unwrap_or(Meta::made_up(DIRECTORY_MODE));
                self.put(entry, Node { meta, kind: Kind::Directory(BTreeMap::new()) })
            }
        }
    }

    /// What a hard link names.
    fn linked(&self, first: &[Vec<u8>]) -> Outcome<Node> {
        let place = self.place_of(first)?;
        match self.node(&place) {
            Some(Node { kind: Kind::Directory(_), .. }) => Err("a hard link to a directory"),
            Some(node) => Ok(node.clone()),
            None => Err("a hard link to what is not there, or not yet"),
        }
    }

    fn put(&mut self, entry: &Entry, node: Node) -> Outcome<()> {
        let place = self.place_of(&entry.path)?;
        if let Some(parent) = place.parent() {
            self.make_directories(parent)?;
        }
        self.place(&place, node).map_err(|_| "its directory is none")
    }

    /// Makes the directories of a path without links that are missing.
    fn make_directories(&mut self, path: &Path) -> Outcome<()> {
        let mut here = PathBuf::from("/");
        for name in names_reversed(path).iter().rev() {
            here.push(OsStr::from_bytes(name));
            if self.node(&here).is_none() {
                let node = Node { meta: Meta::made_up(DIRECTORY_MODE), kind: Kind::Directory(BTreeMap::new()) };
                self.place(&here, node).map_err(|_| "a part of its path is no directory")?;
            }
        }
        Ok(())
    }

    /// Makes the directory that `path` leads to, if there is none; its path without links.
    pub(crate) fn ensure_directory(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let refuse = |reason| Error::refused(path.as_os_str().as_bytes(), reason);
        let names: Vec<Vec<u8>> = names_reversed(path).into_iter().rev().collect();
        let place = self.resolve(&names).map_err(refuse)?;
        self.make_directories(&place).map_err(refuse)?;
        Ok(place)
    }

    /// The path of an entry with the links on its way followed, but not one in its own place.
    fn place_of(&self, path: &[Vec<u8>]) -> Outcome<PathBuf> {
        let Some((name, parent)) = path.split_last() else { return Ok(PathBuf::from("/")) };
        Ok(self.resolve(parent)?.join(OsStr::from_bytes(name)))
    }

    /// The directory that a path leads to through the tree's links. Names from one that is missing on are taken as they are.
    fn resolve(&self, names: &[Vec<u8>]) -> Outcome<PathBuf> {
        let mut rest: Vec<Vec<u8>> = names.iter().rev().cloned().collect();
        let mut here = PathBuf::from("/");
        let mut depth = 0;
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                here.pop();
                depth = here.iter().skip(1).count();
                continue;
            }
            here.push(OsStr::from_bytes(&name));
            depth += 1;
            if depth > limits::DEPTH {
                return Err("the directories are nested too deep");
            }
            match self.node(&here).map(|node| &node.kind) {
                None | Some(Kind::Directory(_)) => {}
                Some(Kind::Symlink(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err("its path leads in a circle of links");
                    }
                    here.pop();
                    if target.starts_with(b"/") {
                        here = PathBuf::from("/");
                    }
                    depth = here.iter().skip(1).count();
                    rest.extend(names_reversed(Path::new(OsStr::from_bytes(target))));
                }
                Some(Kind::File(_) | Kind::Fifo) => return Err("a part of its path is no directory"),
            }
        }
        Ok(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::Kind as Change;

    fn names(path: &str) -> layers::Path {
        path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
    }

    fn link(to: &str) -> Change {
        Change::Symlink(to.into())
    }

    const FILE: Change = Change::File { offset: 0, len: 1 };

    /// Lays a layer of these entries over a tree.
    fn apply(tree: &mut Tree, number: u64, changes: &[(&str, Change)]) -> Result<(), String> {
        let meta = layers::Meta { mode: 0o600, ..layers::Meta::default() };
        let entry = |(path, kind): &(&str, Change)| Entry { path: names(path), meta, kind: kind.clone() };
        let layer = Layer { entries: changes.iter().map(entry).collect() };
        let source = Source { layer: &layer, archive: Path::new("/archive"), number };
        tree.apply(&source).map_err(|error| error.to_string())
    }

    fn tree(changes: &[(&str, Change)]) -> Tree {
        let mut tree = Tree::without_host();
        apply(&mut tree, 1, changes).unwrap();
        tree
    }

    /// Which layer the file at a path without links is of, and which entry of that.
    fn id(tree: &Tree, path: &str) -> Option<(u64, u64)> {
        match &tree.node(Path::new(path))?.kind {
            Kind::File(Content::Host(file)) => Some(file.id),
            _ => None,
        }
    }

    #[test]
    fn whiteouts_hide_what_is_below_and_nothing_of_their_own_layer() {
        let mut tree = tree(&[("d/a", FILE), ("d/b", FILE), ("o/a", FILE), ("o/d/a", FILE), ("gone/a", FILE)]);
        let second = [
            ("d/b", FILE),
            ("o/new", FILE),
            ("d/a", Change::Whiteout),
            ("d/b", Change::Whiteout),
            ("o", Change::Opaque),
            ("gone", Change::Whiteout),
            ("never/there", Change::Whiteout),
        ];
        apply(&mut tree, 2, &second).unwrap();
        assert_eq!((id(&tree, "/d/a"), id(&tree, "/d/b")), (None, Some((2, 0))));
        assert_eq!((id(&tree, "/o/a"), id(&tree, "/o/d/a"), id(&tree, "/o/new")), (None, None, Some((2, 1))));
        assert!(tree.node(Path::new("/gone")).is_none() && tree.node(Path::new("/never")).is_none());
    }

    #[test]
    fn what_comes_replaces_what_is_there() {
        let mut tree = tree(&[("d/a", FILE), ("f", FILE), ("l", link("d"))]);
        apply(&mut tree, 2, &[("d", Change::Directory), ("f/x", FILE)]).unwrap_err();
        assert_eq!(id(&tree, "/d/a"), Some((1, 0)), "a directory leaves what is in it");
        assert_eq!(tree.node(Path::new("/d")).unwrap().meta.mode, 0o600);
        apply(&mut tree, 3, &[("f", Change::Directory), ("f/x", FILE), ("l", Change::Directory), ("d", FILE)]).unwrap();
        assert_eq!((id(&tree, "/f/x"), id(&tree, "/d")), (Some((3, 1)), Some((3, 3))));
        assert!(matches!(tree.node(Path::new("/l")).unwrap().kind, Kind::Directory(_)));
    }

    #[test]
    fn links_on_the_way_are_followed_within_the_tree() {
        let mut tree = tree(&[("usr/lib", Change::Directory), ("lib", link("../../usr/lib")), ("abs", link("/lib"))]);
        apply(&mut tree, 2, &[("abs/x", FILE)]).unwrap();
        assert_eq!(id(&tree, "/usr/lib/x"), Some((2, 0)));
        let circle = [("a", link("b")), ("b", link("a")), ("a/x", FILE)];
        assert_eq!(apply(&mut tree, 3, &circle).unwrap_err(), "a/x: its path leads in a circle of links");
        let deep = "d/".repeat(limits::DEPTH - 1);
        let nested = [(deep.as_str(), Change::Directory), ("s", link(&deep)), ("s/s/x", FILE), ("s/1/2/x", FILE)];
        assert_eq!(apply(&mut tree, 4, &nested).unwrap_err(), "s/1/2/x: the directories are nested too deep");
    }

    #[test]
    fn hard_links_are_to_files_that_are_there() {
        let mut tree = tree(&[("a", FILE)]);
        let hard = |to: &str| Change::HardLink(names(to));
        apply(&mut tree, 2, &[("b", hard("a")), ("d", Change::Directory)]).unwrap();
        assert_eq!(id(&tree, "/b"), id(&tree, "/a"));
        let missing = "a hard link to what is not there, or not yet";
        assert_eq!(apply(&mut tree, 3, &[("x", hard("y")), ("y", hard("x"))]).unwrap_err(), format!("x: {missing}"));
        assert_eq!(apply(&mut tree, 3, &[("x", hard("d"))]).unwrap_err(), "x: a hard link to a directory");
    }
}
