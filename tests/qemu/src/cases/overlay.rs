//! Random operations (tests/guests: `overlay`) on a tree of two layers: the same errors and the same tree as on Linux' overlayfs, and
//! what `--diff` takes out, applied to the layers, gives that tree again.
//!
//! Where overlayfs needs rights that one who is not root lacks, the judge is a plain directory with the same tree in it.
use super::diff;
use crate::{Bench, Case, Verdict, tree};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Seeds, and how many operations each of them stands for.
const SEEDS: [&str; 4] = ["1", "2", "3", "4"];
const OPERATIONS: &str = "3000";
/// Where the tree is in a sandbox.
const PLACE: &str = "judged";

/// Lays the two layers over each other, with all of overlayfs that makes it a POSIX file system (redirected directories, links that
/// stay links), and runs the program there. `$0` is where the layers are.
const MOUNT: &str = r#"
set -e
cd "$0"
mount -t tmpfs -o mode=755 top /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "index=on,redirect_dir=on,lowerdir=upper/judged:lower/judged,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
exec "$@" /mnt/root
"#;

/// A test for each seed.
pub(crate) fn cases() -> Vec<Case> {
    SEEDS.map(|seed| Case::new(format!("overlayfs as judge: seed {seed}"), move |bench| judged(bench, seed))).into()
}

fn judged(bench: &Bench<'_>, seed: &str) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let [lower, upper, both, taken] = ["lower", "upper", "both", "diff.tar"].map(|name| scratch.path().join(name));
    let made = fill_lower(&lower.join(PLACE)).and_then(|()| fill_upper(&upper.join(PLACE)));
    let made = made.and_then(|()| fill_lower(&both.join(PLACE))).and_then(|()| fill_upper(&both.join(PLACE)));
    made.map_err(|error| format!("the layers cannot be made: {error}"))?;
    let program = bench.path_of_guest("overlay");
    let sandbox = bench.guest("overlay", &[seed, OPERATIONS, &format!("/{PLACE}")]).layer(&lower).layer(&upper);
    let sandbox = sandbox.options(["--diff".as_ref(), taken.as_os_str()]);
    let mut command = if tree::is_root() {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", MOUNT]).arg(scratch.path());
        command.args([&program, seed, OPERATIONS]);
        command
    } else {
        bench.note("not root: a plain directory instead of overlayfs");
        let plain = scratch.path().join("plain");
        let made = fill_lower(&plain).and_then(|()| fill_upper(&plain));
        made.map_err(|error| format!("the tree cannot be made: {error}"))?;
        let mut command = Command::new(&program);
        command.args([seed, OPERATIONS]).arg(&plain);
        command
    };
    command.current_dir("/");
    let inside = sandbox.same_as_command(command)?;
    // Without any operation the program shows a tree.
    let outside = diff::apply(&both, &taken, &format!("{program} {seed} 0 {PLACE}"), scratch.path())?;
    let said = String::from_utf8_lossy(&inside.stdout);
    let tree: String = said.split_inclusive('\n').filter(|line| line.starts_with("./")).collect();
    inside.wants(outside == tree, &format!("the tree that its diff gives:\n{outside}"))?.done()
}

/// The lower layer: files of different lengths, some of them with two names, links and directories.
fn fill_lower(root: &Path) -> io::Result<()> {
    for directory in ["a/b/c", "a/d", "b", "c/a", "c/b", "f/e"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for (name, len, mode) in [
        ("a/a", 5000, 0o644),
        ("a/b/a", 0, 0o600),
        ("a/b/c/a", 10_000, 0o4755),
        ("d", 4096, 0o444),
        ("c/c", 8192, 0o644),
    ] {
        file(&root.join(name), len, mode)?;
    }
    fs::hard_link(root.join("d"), root.join("a/e"))?;
    fs::hard_link(root.join("a/b/c/a"), root.join("c/b/f"))?;
    symlink("../a/a", root.join("c/d"))?;
    symlink("b/c", root.join("a/f"))?;
    symlink("nowhere", root.join("e"))
}

/// The upper layer, or what it changes in a copy of the lower one: files replaced, a file where a directory was, a directory where a
/// file was, things added.
fn fill_upper(root: &Path) -> io::Result<()> {
    remove(&root.join("f"))?;
    remove(&root.join("c/c"))?;
    for directory in ["a/b", "c/c/b", "b/a"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for (name, len, mode) in [("a/b/a", 7000, 0o640), ("f", 100, 0o755), ("c/c/a", 3000, 0o644), ("b/a/b", 1, 0o644)] {
        file(&root.join(name), len, mode)?;
    }
    symlink("../c", root.join("b/c"))
}

fn file(path: &Path, len: usize, mode: u32) -> io::Result<()> {
    fs::write(path, crate::fixture::noise(len))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Removes what is there, if something is.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}
