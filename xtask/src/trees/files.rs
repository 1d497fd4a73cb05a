//! Single files of Debian's packages: what the tests read and nobody runs.
use super::packages::Apt;
use super::unpack::files_of;
use crate::exit::Failure;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A directory of such files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files {
    /// Its name among the trees.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    /// Packages, paths in them, and the files' names in the directory.
    pub(super) files: &'static [(&'static str, &'static str, &'static str)],
}

const DOCKER: &str = "golang-github-docker-docker-dev";
const CONTAINERS: &str = "golang-github-containers-common";

/// All of them. What is published under a licence comes with it.
pub(super) const FILES: &[Files] = &[Files {
    name: "profiles",
    about: "the default seccomp profiles of Docker (docker.json) and Podman (podman.json), as published",
    files: &[
        (DOCKER, "usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json", "docker.json"),
        (DOCKER, "usr/share/doc/golang-github-docker-docker-dev/copyright", "docker.copyright"),
        (CONTAINERS, "usr/share/containers/seccomp.json", "podman.json"),
        (CONTAINERS, "usr/share/doc/golang-github-containers-common/copyright", "podman.copyright"),
    ],
}];

/// Makes the directory of these files, unless it is there.
pub(super) fn ensure(directory: &Path, wanted: &Files, refresh: bool) -> Result<(), Failure> {
    let place = directory.join(wanted.name);
    if !refresh && wanted.files.iter().all(|(_, _, name)| place.join(name).is_file()) {
        return Ok(());
    }
    eprintln!("cordon: fetching files of Debian packages: {}", wanted.name);
    let apt = Apt::new(&directory.join("apt"), refresh)?;
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    for (package, path, name) in wanted.files {
        let archive = apt.fetch_alone(package)?;
        let content = extract(&archive, path).with_context(|| format!("{path} of {package}"))?;
        fs::write(place.join(name), content).with_context(|| name.to_string())?;
    }
    Ok(())
}

/// The content of one file of a package.
fn extract(archive: &Path, path: &str) -> Result<Vec<u8>> {
    let (mut reader, stream) = files_of(archive)?;
    let one = Command::new("tar")
        .args(["--extract", "--to-stdout", &format!("./{path}")])
        .stdin(stream)
        .output()
        .context("tar")?;
    // dpkg-deb may see its reader leave early.
    reader.wait().context("dpkg-deb")?;
    if !one.status.success() || one.stdout.is_empty() {
        bail!("there is no such file");
    }
    Ok(one.stdout)
}
