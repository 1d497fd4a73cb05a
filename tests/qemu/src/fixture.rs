//! Files that many tests share: a directory with known content on the host, and a layer that holds the same at the same path.
use crate::Setup;
use anyhow::{Context, Result};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// 1 January 2020: far enough back that `ls -l` shows a year.
const MTIME: Duration = Duration::from_secs(1_577_836_800);

/// The shared files.
#[derive(Debug)]
pub(crate) struct Fixture {
    directory: TempDir,
    busybox: PathBuf,
    guests: PathBuf,
}

impl Fixture {
    /// Makes them.
    pub(crate) fn new(setup: &Setup) -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("cordon-tests-").tempdir().context("cannot make a temporary directory")?;
        let here = directory.path().canonicalize()?;
        let files = here.join("files");
        let inside = here.join("layer").join(files.strip_prefix("/").context("a relative path")?);
        fill(&files)?;
        fill(&inside)?;
        let etc = here.join("layer/etc");
        fs::create_dir_all(&etc)?;
        for name in ["passwd", "group", "localtime"] {
            let from = Path::new("/etc").join(name);
            if from.exists() {
                fs::copy(&from, etc.join(name)).with_context(|| from.display().to_string())?;
            }
        }
        Ok(Self { directory, busybox: setup.busybox.clone(), guests: setup.guests.clone() })
    }

    /// The directory of known files; absolute, without links.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// A layer with the same directory in it, and the names of users and groups.
    pub(crate) fn layer(&self) -> PathBuf {
        self.directory.path().join("layer")
    }

    /// A new directory for one test.
    pub(crate) fn scratch(&self) -> std::result::Result<TempDir, String> {
        tempfile::tempdir_in(self.directory.path()).map_err(|e| e.to_string())
    }

    /// The host's busybox.
    pub(crate) fn busybox(&self) -> String {
        self.busybox.display().to_string()
    }

    /// A guest program of tests/guests.
    pub(crate) fn guest(&self, name: &str) -> String {
        self.guests.join(name).display().to_string()
    }
}

/// Makes the known files in `directory`.
fn fill(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory.join("sub"))?;
    let lines = ["pear 3", "apple 10", "fig 7", "apple 2", ""].join("\n");
    file(&directory.join("fruit"), lines.as_bytes(), 0o644)?;
    file(&directory.join("empty"), b"", 0o600)?;
    file(&directory.join("sub/script"), b"#!/bin/bash\necho from a script: $0 $1\n", 0o755)?;
    file(&directory.join("large"), &noise(300_000), 0o444)?;
    symlink("fruit", directory.join("link"))?;
    symlink("nowhere", directory.join("dangling"))?;
    Ok(())
}

/// Makes one file with a known time.
fn file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    fs::write(path, content)?;
    File::options().append(true).open(path)?.set_modified(UNIX_EPOCH + MTIME)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(())
}

/// Bytes without a pattern, the same each time (a linear congruential generator; Knuth's MMIX constants).
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}
