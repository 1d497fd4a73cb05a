//! Where things are: the workspace, the build directory, the cargo that runs us.
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where builds of `what` go: beside the build of this program, so that neither spoils the other's cache.
pub(crate) fn target_dir(what: &str) -> PathBuf {
    let base = match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    };
    base.join(what)
}

/// A cargo command that runs in the workspace.
pub(crate) fn cargo() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}
