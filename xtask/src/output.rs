//! Files that a user gets when they are whole, and not before.
use anyhow::{Context, Result};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// What a file may be made with; the umask takes from it.
const FILE_MODE: u32 = 0o666;

/// A file beside `target`, to become it.
pub(crate) fn temporary(target: &Path) -> Result<NamedTempFile> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cordon-").permissions(Permissions::from_mode(FILE_MODE));
    builder.tempfile_in(directory).with_context(|| format!("cannot write to {}", directory.display()))
}
