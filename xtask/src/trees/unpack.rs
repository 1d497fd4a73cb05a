//! Lays packages out as a tree and does what their maintainer scripts would have done for it.
use super::recipes::{LEFT_OUT_FILES, Recipe, Source};
use anyhow::{Context, Result, bail};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Directories that Debian 12 keeps in /usr: their old names are links.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// Directories that must be there, with their permissions.
const DIRECTORIES: [(&str, u32); 8] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("var/tmp", 0o1777),
    ("root", 0o700),
    ("usr/local/bin", 0o755),
];

/// Files that are made here: nobody else would.
const FILES: [(&str, &str); 3] = [
    ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"),
    ("etc/hostname", "cordon\n"),
    ("etc/resolv.conf", ""),
];

/// Files that scripts copy from where packages keep their originals.
const COPIES: [(&str, &str); 3] = [
    ("usr/share/base-passwd/passwd.master", "etc/passwd"),
    ("usr/share/base-passwd/group.master", "etc/group"),
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
];

/// Python's library, where a tree has it, and files of it that are not Python as its compiler takes it, or that nothing here imports.
const PYTHON_LIBRARY: &str = "usr/lib/python3.11";
const NOT_COMPILED: &str = "/(bad|lib2to3|idlelib|ensurepip|pydoc_data|turtledemo)";

/// Makes the tree `tree` of these packages.
pub(super) fn unpack(tree: &Path, recipe: &Recipe, files: &[PathBuf]) -> Result<()> {
    for name in MERGED {
        fs::create_dir_all(tree.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), tree.join(name))?;
    }
    fs::create_dir_all(tree.join("usr/lib64"))?;
    symlink("usr/lib64", tree.join("lib64"))?;
    for file in files {
        unpack_file(tree, file).with_context(|| file.display().to_string())?;
    }
    finish(tree, recipe)
}

/// Starts to read the files of a package: whoever reads them, and a tar archive of them.
pub(super) fn files_of(package: &Path) -> Result<(Child, ChildStdout)> {
    let mut reader = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("dpkg-deb")?;
    let archive = reader.stdout.take().context("dpkg-deb says nothing")?;
    Ok((reader, archive))
}

/// Unpacks one package over the tree.
fn unpack_file(tree: &Path, file: &Path) -> Result<()> {
    let (mut reader, stream) = files_of(file)?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--preserve-permissions", "--keep-directory-symlink"]);
    // Patterns of --exclude are wildcards that match slashes too.
    tar.args(LEFT_OUT_FILES.iter().map(|pattern| format!("--exclude={pattern}")));
    let unpacked = tar.arg("--directory").arg(tree).stdin(stream).status().context("tar")?;
    let read = reader.wait().context("dpkg-deb")?;
    if !unpacked.success() || !read.success() {
        bail!("it cannot be unpacked");
    }
    Ok(())
}

/// Adds what is taken of a source package.
pub(super) fn lay_out_source(tree: &Path, source: &Source, archive: &Path) -> Result<()> {
    let into = tree.join(source.into);
    fs::create_dir_all(&into)?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--strip-components=1", "--wildcards", "--no-wildcards-match-slash"]);
    tar.arg("--file").arg(archive).arg("--directory").arg(&into).arg(format!("*/{}", source.directory));
    if !tar.status().context("tar")?.success() {
        bail!("{} cannot be unpacked", archive.display());
    }
    let merged = tree.join(source.merged_into);
    for directory in source.merged {
        link_over(&tree.join(directory), &merged).with_context(|| (*directory).to_owned())?;
    }
    Ok(())
}

/// Makes the files below `from` appear below `to` as well, over those that are there.
fn link_over(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_over(&entry.path(), &place)?;
            continue;
        }
        if fs::symlink_metadata(&place).is_ok() {
            fs::remove_file(&place)?;
        }
        fs::hard_link(entry.path(), place)?;
    }
    Ok(())
}

/// Does what scripts would have done.
fn finish(tree: &Path, recipe: &Recipe) -> Result<()> {
    for (name, mode) in DIRECTORIES {
        fs::create_dir_all(tree.join(name)).context(name)?;
        fs::set_permissions(tree.join(name), Permissions::from_mode(mode)).context(name)?;
    }
    for (name, text) in FILES {
        fs::write(tree.join(name), text).context(name)?;
    }
    for (from, to) in COPIES {
        fs::copy(tree.join(from), tree.join(to)).context(from)?;
    }
    for (place, target) in recipe.links {
        let place = tree.join(place);
        if fs::symlink_metadata(&place).is_err() {
            symlink(target, &place).with_context(|| place.display().to_string())?;
        }
    }
    if tree.join(PYTHON_LIBRARY).join("compileall.py").exists() {
        compile_python(tree)?;
    }
    Ok(())
}

/// Compiles Python's library, as Debian's `py3compile` does when it is installed: else each start in a sandbox would do so for itself, as
/// what it writes ends with it. The tree's own interpreter makes what it reads, by the tree's own loader and libraries.
fn compile_python(tree: &Path) -> Result<()> {
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let mut python = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
    python.arg("--library-path").arg(libraries).arg(tree.join("usr/bin/python3.11"));
    // `-I -S`: no settings and packages of this machine's user.
    python.args(["-I", "-S", "-m", "compileall", "-q", "-x", NOT_COMPILED]);
    // What is compiled names its source as it is called in the sandbox.
    python.arg("-s").arg(tree).args(["-p", "/"]).arg(tree.join(PYTHON_LIBRARY));
    if !python.status().context("the tree's python3.11")?.success() {
        bail!("python's library cannot be compiled");
    }
    Ok(())
}
