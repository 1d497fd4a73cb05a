//! Source packages, for what Debian has in no other: test suites. apt fetches them in the state of [`super::packages`], from the mirrors
//! that this machine is configured for, whether or not it asks them for sources itself.
use super::packages::Apt;
use crate::apt;
use crate::exit::Failure;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

impl Apt {
    /// Fetches a source package. Returns its original archive.
    pub(super) fn fetch_source(&self, package: &str) -> Result<PathBuf, Failure> {
        // What tar takes such archives apart with.
        apt::require("xz", "xz-utils")?;
        let directory = self.path("sources").join(package);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        if let Some(found) = original(&directory)? {
            return Ok(found);
        }
        let list = self.path("sources.list");
        fs::write(&list, self.mirrors()?).with_context(|| list.display().to_string())?;
        for arguments in [&["update"][..], &["source", "--download-only", package]] {
            let status = self.source_command(&list).args(arguments).current_dir(&directory).status();
            if !status.context("apt-get")?.success() {
                return Err(Failure::early(format!("apt-get cannot fetch the source package {package} of Debian 12")));
            }
        }
        let found = original(&directory)?;
        Ok(found.with_context(|| format!("the source package {package} has no original archive"))?)
    }

    /// The lines of a list of sources: Debian's own mirrors. Updates for security are left out: the original archive is the same.
    fn mirrors(&self) -> Result<String> {
        let format = "$(LABEL) $(REPO_URI) $(CODENAME) $(COMPONENT)";
        let output = self
            .command("apt-get")
            .args(["indextargets", "--format", format, "Identifier: Packages"])
            .stdout(Stdio::piped())
            .output()
            .context("apt-get")?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(source_line).collect())
    }

    fn source_command(&self, list: &Path) -> std::process::Command {
        let mut command = self.command("apt-get");
        let mut set = |option: &str, value: &Path| {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        };
        set("Dir::Etc::sourcelist", list);
        set("Dir::Etc::sourceparts", Path::new("-"));
        // An update takes away the lists of other sources.
        set("Dir::State::lists", &self.path("source-lists"));
        command
    }
}

/// The line for a mirror that apt describes as `LABEL URI CODENAME COMPONENT`.
fn source_line(target: &str) -> Option<String> {
    let (uri, suite) = target.strip_prefix("Debian ")?.split_once(' ')?;
    Some(format!("deb-src {uri} {suite}\n"))
}

/// The original archive among the files of a source package.
fn original(directory: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".orig.tar.")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_debian_alone() {
        let line = source_line("Debian http://deb.debian.org/debian/ bookworm main");
        assert_eq!(line.as_deref(), Some("deb-src http://deb.debian.org/debian/ bookworm main\n"));
        assert_eq!(source_line("Debian-Security http://m/ bookworm-security main"), None);
        assert_eq!(source_line(". nodistro main"), None);
    }

    #[test]
    fn the_original_is_found_among_the_others() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(original(dir.path()).unwrap(), None);
        for name in ["p_1.dsc", "p_1.debian.tar.xz", "p_1.orig.tar.xz"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(original(dir.path()).unwrap(), Some(dir.path().join("p_1.orig.tar.xz")));
    }
}
