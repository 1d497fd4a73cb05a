//! Debian packages that are needed and may be missing: installed if that is allowed, named if not.
use crate::exit::Failure;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian's programs are; none of these directories, if they were named without one.
const PROGRAMS: [&str; 5] = ["", "/bin", "/sbin", "/usr/bin", "/usr/sbin"];

/// Finds an executable by name in `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// Whether `file` is a regular file that somebody may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Finds `program`, installing Debian's `package` first if it is missing and this user may.
pub(crate) fn require(program: &str, package: &str) -> Result<PathBuf, Failure> {
    if let Some(found) = find_program(program) {
        return Ok(found);
    }
    install(program, package)?;
    find_program(program)
        .ok_or_else(|| Failure::early(format!("{program} is still not in PATH after {package} was installed")))
}

/// Installs a package, or says how.
fn install(program: &str, package: &str) -> Result<(), Failure> {
    let advice =
        format!("{program} is missing; install it with: sudo apt-get install --no-install-recommends {package}");
    let Some(prefix) = privilege() else {
        return Err(Failure::early(advice));
    };
    eprintln!("cordon: {program} is missing: installing Debian's {package}");
    // Package lists may be absent or stale; the installation itself says whether that mattered.
    apt(&prefix, &["update"]);
    if apt(&prefix, &["install", "--yes", "--no-install-recommends", package]) {
        Ok(())
    } else {
        Err(Failure::early(format!("{advice} (apt-get failed just now)")))
    }
}

/// Fetches the lists of packages, where this user may.
pub(crate) fn update() {
    if let Some(prefix) = privilege() {
        apt(&prefix, &["update"]);
    }
}

/// What to say of a program that is not here: which of Debian's packages may have it, if this machine's apt knows one of its name.
pub(crate) fn advice(program: &Path) -> String {
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = program.parent().unwrap_or(Path::new("/"));
    if !is_package_name(name) || !PROGRAMS.iter().any(|place| directory == Path::new(place)) {
        return String::new();
    }
    let mut known = Command::new("apt-cache");
    known.args(["show", "--no-all-versions", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match known.status() {
        Ok(status) if status.success() => format!(" (Debian has a package {name}: sudo apt-get install {name})"),
        _ => String::new(),
    }
}

/// As Debian's policy has them, which makes none of them an option.
fn is_package_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() > 1 && is_plain(name.as_bytes()[0]) && name.bytes().all(|byte| is_plain(byte) || b"+-.".contains(&byte))
}

/// What to put before a command to run it as root: nothing, passwordless sudo, or it cannot be done.
pub(crate) fn privilege() -> Option<Vec<&'static str>> {
    find_program("apt-get")?;
    if rustix::process::geteuid().is_root() {
        return Some(Vec::new());
    }
    let sudo = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    sudo.is_ok_and(|s| s.success()).then(|| vec!["sudo", "-n"])
}

/// Runs apt-get quietly; its complaints go to standard error.
fn apt(prefix: &[&str], args: &[&str]) -> bool {
    let mut words = prefix.to_vec();
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
    words.extend(args);
    let Some((program, rest)) = words.split_first() else {
        return false;
    };
    Command::new(program).args(rest).stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages() {
        assert!(["busybox", "g++", "0ad", "libc6.1-dev"].into_iter().all(is_package_name));
        assert!(!["", "a", "-x", "--help", "A", "a b", "ab/c", "ä!"].into_iter().any(is_package_name));
        assert_eq!(advice(Path::new("/no/such/program-at-all")), "");
        assert_eq!(advice(Path::new("/")), "");
    }
}
