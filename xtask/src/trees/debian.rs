//! A container image of Debian 12 that others made: mmdebstrap its root file system, umoci two more layers. What umoci unpacks of it is
//! noted beside it, for tests to compare with.
use crate::apt;
use crate::exit::Failure;
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Its name among the trees.
pub(super) const NAME: &str = "debian";
/// What it is for.
pub(super) const ABOUT: &str =
    "an image for `run --image target/trees/debian/image`: mmdebstrap's Debian 12 and two layers on it (needs root)";

/// Makes it, in an empty directory.
const SCRIPT: &str = include_str!("debian.sh");

/// Makes the image, unless the same script made it before.
pub(super) fn ensure(directory: &Path, refresh: bool) -> Result<(), Failure> {
    let (place, new) = (directory.join(NAME), directory.join(format!("{NAME}.new")));
    let stamp = directory.join(format!("{NAME}.stamp"));
    let made_of = format!("{SCRIPT}{}", qemu_tests::SHOW_TREE);
    if !refresh && place.is_dir() && fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
        return Ok(());
    }
    let privilege = apt::privilege().ok_or_else(|| {
        Failure::early("a root file system is made by root only; make it with: sudo cargo xtask tree debian")
    })?;
    for tool in ["mmdebstrap", "umoci", "skopeo"] {
        apt::require(tool, tool)?;
    }
    eprintln!("cordon: making an image of Debian 12");
    // What an earlier attempt left may be root's.
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let made = Command::new("env")
        .args(&privilege)
        .args(["sh", "-c", &format!("rm -rf \"$0\" && mkdir \"$0\" && cd \"$0\"\n{SCRIPT}")])
        .arg(&new)
        .arg(format!("{user}:{group}"))
        .arg(qemu_tests::SHOW_TREE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if !made.context("sh")?.success() {
        return Err(Failure::early("the image of Debian 12 cannot be made: see the lines above"));
    }
    super::remove(&place)?;
    fs::rename(&new, &place).with_context(|| place.display().to_string())?;
    Ok(fs::write(&stamp, made_of).with_context(|| stamp.display().to_string())?)
}
