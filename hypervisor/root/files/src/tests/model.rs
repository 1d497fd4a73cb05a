//! The stack against the file system of this machine: the same random operations on both, with the same results, the same
//! errors and the same trees. The stack starts from a lower tree that the other is a copy of.
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{self as host, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags};

use super::{Builder, LIMITS, Random, contents, list, write};
use crate::{Access, Context, Errno, Ino, Kind, RenameMode, SetAttr, Stack, Timestamp};

const STEPS: usize = 3000;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The copy, removed with everything in it at the end.
struct HostTree(PathBuf);

impl HostTree {
    fn new(seed: u64) -> Self {
        let path = std::env::temp_dir().join(format!("cordon-files-{}-{seed}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let tree = Self(path);
        host::chmod(&tree.0, Mode::from_raw_mode(0o755)).unwrap();
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for HostTree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Both file systems.
struct Pair<'t> {
    stack: Stack<'t>,
    ctx: Context<'static>,
    host: HostTree,
    /// Files that are open in both.
    open: Vec<Option<(Ino, OwnedFd)>>,
}

/// An operation on a name in a directory.
type InDirectory<'a> = dyn Fn(&mut Stack<'_>, &Context, Ino, &[u8]) -> Result<(), Errno> + 'a;

fn errno<T>(result: Result<T, rustix::io::Errno>) -> Result<T, i32> {
    result.map_err(rustix::io::Errno::raw_os_error)
}

fn number(error: Errno) -> i32 {
    i32::from(error.number())
}

impl Pair<'_> {
    /// The directory and the last name of a path. A link on the way leads nowhere.
    fn place<'p>(&self, path: &'p str) -> Result<(Ino, &'p [u8]), Errno> {
        let (dirs, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut dir = Ino::ROOT;
        for part in dirs.split('/').filter(|part| !part.is_empty()) {
            dir = self.stack.lookup(&self.ctx, dir, part.as_bytes())?;
            match self.stack.attr(dir)?.kind {
                Kind::Directory => {}
                Kind::Symlink => return Err(Errno::ENOENT),
                _ => return Err(Errno::ENOTDIR),
            }
        }
        Ok((dir, name.as_bytes()))
    }

    fn lookup(&self, path: &str) -> Result<Ino, Errno> {
        let (dir, name) = self.place(path)?;
        self.stack.lookup(&self.ctx, dir, name)
    }

    fn create(&mut self, path: &str, exclusive: bool, mode: u32) -> (Result<(), i32>, Result<(), i32>) {
        let mut flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW;
        flags.set(OFlags::EXCL, exclusive);
        let theirs = errno(host::open(self.host.path(path), flags, Mode::from_raw_mode(mode))).map(drop);
        (self.create_in_stack(path, exclusive, mode).map_err(number), theirs)
    }

    fn create_in_stack(&mut self, path: &str, exclusive: bool, mode: u32) -> Result<(), Errno> {
        let (dir, name) = self.place(path)?;
        match self.stack.lookup(&self.ctx, dir, name) {
            Ok(_) if exclusive => Err(Errno::EEXIST),
            Ok(ino) => self.stack.check_open(&self.ctx, ino, Access::WRITE, true).map(drop),
            Err(Errno::ENOENT) => self.stack.mknod(&self.ctx, dir, name, Kind::File, mode).map(drop),
            Err(error) => Err(error),
        }
    }

    /// Opens an existing file in both, without following a link.
    fn open(&mut self, path: &str, slot: usize) -> (Result<(), i32>, Result<(), i32>) {
        if let Some((ino, _)) = self.open[slot].take() {
            self.stack.closed(ino);
        }
        let theirs = errno(host::open(self.host.path(path), OFlags::RDWR | OFlags::NOFOLLOW, Mode::empty()));
        let both = Access::READ.and(Access::WRITE);
        let ours = self
            .lookup(path)
            .and_then(|ino| self.stack.check_open(&self.ctx, ino, both, true).map(|_| ino))
            .map_err(number);
        let results = (ours.map(drop), theirs.as_ref().map(drop).map_err(|error| *error));
        if let (Ok(ino), Ok(fd)) = (ours, theirs) {
            self.stack.opened(ino);
            self.open[slot] = Some((ino, fd));
        }
        results
    }

    /// Writes, cuts or allocates in an open file, and compares what both then say of it.
    fn use_open(&mut self, slot: usize, random: &mut Random) {
        let Some((ino, fd)) = &self.open[slot] else {
            return;
        };
        let (offset, len, fill) = (random.next() % 12_000, random.below(6000) + 1, random.below(256));
        match random.below(4) {
            0 | 1 => {
                let bytes = vec![u8::try_from(fill).unwrap(); len];
                let theirs = rustix::io::pwrite(fd, &bytes, offset);
                assert_eq!(write(&mut self.stack, &self.ctx, *ino, offset, &bytes).map_err(number), errno(theirs));
            }
            2 => {
                let set = SetAttr { size: Some(offset), ..SetAttr::default() };
                self.stack.setattr(&self.ctx, *ino, &set, true).unwrap();
                host::ftruncate(fd, offset).unwrap();
            }
            _ => {
                let flags = random.pick(&[
                    FallocateFlags::empty(),
                    FallocateFlags::KEEP_SIZE,
                    FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE,
                ]);
                self.stack.fallocate(&self.ctx, *ino, offset, len as u64, flags.bits()).unwrap();
                host::fallocate(fd, flags, offset, len as u64).unwrap();
            }
        }
        let theirs = host::fstat(fd).unwrap();
        let ours = self.stack.attr(*ino).unwrap();
        assert_eq!((ours.size, u64::from(ours.nlink)), (theirs.st_size.cast_unsigned(), theirs.st_nlink));
        let mut bytes = vec![0; usize::try_from(ours.size).unwrap()];
        assert_eq!(rustix::io::pread(fd, &mut bytes, 0), Ok(bytes.len()));
        assert!(contents(&self.stack, *ino) == bytes, "the open files differ");
    }

    fn chmod(&mut self, path: &str, mode: u32) -> (Result<(), i32>, Result<(), i32>) {
        let theirs = errno(host::chmod(self.host.path(path), Mode::from_raw_mode(mode)));
        let ours = self.lookup(path).and_then(|ino| match self.stack.attr(ino)?.kind {
            // The other file system follows the link, to nowhere.
            Kind::Symlink => Err(Errno::ENOENT),
            _ => self.stack.setattr(&self.ctx, ino, &SetAttr { mode: Some(mode), ..SetAttr::default() }, false),
        });
        (ours.map_err(number), theirs)
    }

    fn rename(&mut self, from: &str, to: &str, random: &mut Random) -> (Result<(), i32>, Result<(), i32>) {
        let (mode, flags) = match random.below(6) {
            0 => (RenameMode::NoReplace, RenameFlags::NOREPLACE),
            1 => (RenameMode::Exchange, RenameFlags::EXCHANGE),
            _ => (RenameMode::Replace, RenameFlags::empty()),
        };
        let theirs = host::renameat_with(host::CWD, self.host.path(from), host::CWD, self.host.path(to), flags);
        let ours = self
            .place(from)
            .and_then(|from| Ok((from, self.place(to)?)))
            .and_then(|(from, to)| self.stack.rename(&self.ctx, from, to, mode));
        (ours.map_err(number), errno(theirs))
    }

    fn link(&mut self, from: &str, to: &str) -> (Result<(), i32>, Result<(), i32>) {
        let theirs = host::linkat(host::CWD, self.host.path(from), host::CWD, self.host.path(to), AtFlags::empty());
        let ours = self
            .lookup(from)
            .and_then(|ino| Ok((ino, self.place(to)?)))
            .and_then(|(ino, (dir, name))| self.stack.link(&self.ctx, ino, dir, name));
        (ours.map_err(number), errno(theirs))
    }

    /// One random operation on both.
    fn step(&mut self, random: &mut Random) -> (String, Result<(), i32>, Result<(), i32>) {
        let path = random_path(random);
        let other = random_path(random);
        let slot = random.below(self.open.len());
        let mode = 0o600 | (u32::try_from(random.next() & 0o77).unwrap());
        let in_place = |pair: &mut Self, run: &InDirectory<'_>| {
            let (dir, name) = pair.place(&path).map_err(number)?;
            run(&mut pair.stack, &pair.ctx, dir, name).map_err(number)
        };
        let host_path = self.host.path(&path);
        let (name, (ours, theirs)) = match random.below(12) {
            0 => ("create", self.create(&path, random.below(2) == 0, mode)),
            1 | 2 => ("open", self.open(&path, slot)),
            3 => {
                self.use_open(slot, random);
                ("use", (Ok(()), Ok(())))
            }
            4 => ("mkdir", {
                let ours = in_place(self, &|stack, ctx, dir, name| stack.mkdir(ctx, dir, name, mode | 0o700).map(drop));
                (ours, errno(host::mkdir(host_path, Mode::from_raw_mode(mode | 0o700))))
            }),
            5 => ("symlink", {
                let ours = in_place(self, &|stack, ctx, dir, name| {
                    stack.symlink(ctx, dir, name, b"/nowhere/at/all").map(drop)
                });
                (ours, errno(host::symlink("/nowhere/at/all", host_path)))
            }),
            6 => ("unlink", {
                let ours = in_place(self, &|stack, ctx, dir, name| stack.unlink(ctx, dir, name));
                (ours, errno(host::unlink(host_path)))
            }),
            7 => ("rmdir", {
                let ours = in_place(self, &|stack, ctx, dir, name| stack.rmdir(ctx, dir, name));
                (ours, errno(host::rmdir(host_path)))
            }),
            8 => ("chmod", self.chmod(&path, mode | 0o700)),
            9 | 10 => ("rename", self.rename(&path, &other, random)),
            _ => ("link", self.link(&path, &other)),
        };
        (format!("{name} {path} {other}"), ours, theirs)
    }

    /// Compares the trees: names, kinds, modes, links, contents, and which names are the same file.
    fn compare(&self) {
        let mut numbers = BTreeMap::new();
        self.compare_directory(Ino::ROOT, &self.host.0, &mut numbers);
    }

    fn compare_directory(&self, dir: Ino, path: &Path, numbers: &mut BTreeMap<u64, Ino>) {
        let mut ours = list(&self.stack, dir);
        ours.sort();
        let mut theirs: Vec<Vec<u8>> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().as_encoded_bytes().to_owned())
            .collect();
        theirs.sort();
        assert_eq!(ours, theirs, "names in {}", path.display());
        for name in ours {
            let path = path.join(core::str::from_utf8(&name).unwrap());
            let ino = self.stack.lookup(&self.ctx, dir, &name).unwrap();
            self.compare_inode(ino, &path, numbers);
        }
    }

    fn compare_inode(&self, ino: Ino, path: &Path, numbers: &mut BTreeMap<u64, Ino>) {
        let ours = self.stack.attr(ino).unwrap();
        let theirs = std::fs::symlink_metadata(path).unwrap();
        assert_eq!(*numbers.entry(theirs.ino()).or_insert(ino), ino, "inode of {}", path.display());
        assert_eq!(
            (ours.kind.mode_bits() | ours.mode, u64::from(ours.nlink), ours.uid, ours.gid),
            (theirs.mode(), theirs.nlink(), theirs.uid(), theirs.gid()),
            "attributes of {}",
            path.display()
        );
        match ours.kind {
            Kind::Directory => self.compare_directory(ino, path, numbers),
            Kind::Symlink => {
                let target = std::fs::read_link(path).unwrap();
                assert_eq!(self.stack.readlink(ino).unwrap(), target.as_os_str().as_encoded_bytes());
            }
            _ => assert!(contents(&self.stack, ino) == std::fs::read(path).unwrap(), "contents of {}", path.display()),
        }
    }
}

/// One to three names out of few, so that they meet often; now and then one that is too long.
fn random_path(random: &mut Random) -> String {
    let mut path = random.pick(&NAMES).to_owned();
    for _ in 0..random.below(3) {
        path = path + "/" + random.pick(&NAMES);
    }
    match random.below(200) {
        0 => path + "/" + &"x".repeat(256),
        1 => path + "/" + &"x".repeat(255),
        _ => path,
    }
}

/// A random lower tree, made in both places.
fn make_trees(random: &mut Random, builder: &mut Builder, host: &HostTree) {
    let mut dirs = vec![(0, String::new())];
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    for _ in 0..40 {
        let (parent, parent_path) = dirs[random.below(dirs.len())].clone();
        let name = random.pick(&NAMES);
        let path = format!("{parent_path}{name}");
        let host_path = host.path(&path);
        if std::fs::symlink_metadata(&host_path).is_ok() || path.len() > 5 {
            continue;
        }
        match random.below(5) {
            4 if !files.is_empty() => {
                let (first, existing) = &files[random.below(files.len())];
                std::fs::hard_link(existing, &host_path).unwrap();
                builder.hard_link(parent, name, *first);
            }
            0 | 1 => {
                std::fs::create_dir(&host_path).unwrap();
                host::chmod(&host_path, Mode::from_raw_mode(0o755)).unwrap();
                dirs.push((builder.dir(parent, name), path + "/"));
            }
            2 => {
                let bytes = vec![b'l'; random.below(9000)];
                std::fs::write(&host_path, &bytes).unwrap();
                host::chmod(&host_path, Mode::from_raw_mode(0o644)).unwrap();
                files.push((builder.file(parent, name, &bytes), host_path));
            }
            _ => {
                host::symlink("/nowhere", &host_path).unwrap();
                builder.link(parent, name, "/nowhere");
            }
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let host = HostTree::new(seed);
    let owner = std::fs::metadata(&host.0).unwrap();
    let mut builder = Builder::owned_by(owner.uid(), owner.gid());
    make_trees(&mut random, &mut builder, &host);
    let ctx = Context { uid: owner.uid(), gid: owner.gid(), groups: &[], now: Timestamp::default() };
    let open = (0..4).map(|_| None).collect();
    let mut pair = Pair { stack: builder.stack(), ctx, host, open };
    pair.compare();
    for step in 0..STEPS {
        pair.ctx.now.seconds += 1;
        let (what, ours, theirs) = pair.step(&mut random);
        assert_eq!(ours, theirs, "seed {seed}, step {step}: {what}");
        if step % 100 == 0 {
            pair.compare();
        }
    }
    pair.compare();
    drain(&mut pair);
}

/// Deletes everything; then nothing may be left of the upper layer but the root directory.
fn drain(pair: &mut Pair<'_>) {
    for slot in &mut pair.open {
        if let Some((ino, _)) = slot.take() {
            pair.stack.closed(ino);
        }
    }
    let mut pending = vec![Ino::ROOT];
    while let Some(dir) = pending.last().copied() {
        let mut full = None;
        for name in list(&pair.stack, dir) {
            let ino = pair.stack.lookup(&pair.ctx, dir, &name).unwrap();
            if pair.stack.attr(ino).unwrap().kind != Kind::Directory {
                pair.stack.unlink(&pair.ctx, dir, &name).unwrap();
            } else if pair.stack.rmdir(&pair.ctx, dir, &name).is_err() {
                full = Some(ino);
            }
        }
        match full {
            Some(ino) => pending.push(ino),
            None => drop(pending.pop()),
        }
    }
    let left = pair.stack.statfs(Ino::ROOT).unwrap();
    assert_eq!(left.blocks_free, left.blocks);
    assert_eq!(left.inodes_free, LIMITS.inodes - 1);
}

#[test]
fn agrees_with_the_file_system_of_this_machine() {
    // Links of directories are counted differently by some: then there is nothing to compare with.
    let probe = HostTree::new(u64::MAX);
    if host::stat(&probe.0).unwrap().st_nlink != 2 {
        std::eprintln!("skipped: {} counts links in its own way", probe.0.display());
        return;
    }
    assert_eq!(FileType::from_raw_mode(host::stat(&probe.0).unwrap().st_mode), FileType::Directory);
    rustix::process::umask(Mode::empty());
    for seed in 0..20 {
        run(seed);
    }
}
