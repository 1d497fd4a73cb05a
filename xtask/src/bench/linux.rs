//! The same guest program on plain Linux in the same machine: Debian's kernel, and the program as its first process.
use super::cpio::Archive;
use super::{CALLS, Clock, Cost};
use crate::cli::Accel;
use crate::qemu::{self, Machine};
use crate::{apt, images, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's name for its newest kernel.
const META_PACKAGE: &str = "linux-image-amd64";
/// Longest time for a boot.
const LIMIT: Duration = Duration::from_secs(300);
/// Memory of the machine, in MiB.
const MEMORY_MIB: u64 = 512;

/// Boots Linux, runs the getpid guest, and returns what it measured.
pub(super) fn getpid(clock: Clock) -> Result<Cost> {
    let kernel = kernel()?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let archive = directory.path().join("initramfs");
    fs::write(&archive, file_system()?).context("cannot write the file system")?;
    let extra: Vec<OsString> = clock.qemu_args().iter().map(OsString::from).collect();
    let machine = Machine {
        accel: Accel::Tcg,
        kernel: &kernel,
        module: Some(&archive),
        command_line: &format!("console=ttyS0 quiet panic=-1 rdinit=/init -- {CALLS}"),
        memory_mib: MEMORY_MIB,
        directory: directory.path(),
        extra: &extra,
    };
    let qemu = apt::find_program(qemu::PROGRAM).context("QEMU is missing")?;
    boot(&machine, &qemu)?;
    let log = fs::read(directory.path().join(qemu::HYPERVISOR_LOG))?;
    Cost::parse(&String::from_utf8_lossy(&log)).context("Linux did not measure")
}

/// Boots and waits for the machine's end.
fn boot(machine: &Machine<'_>, qemu: &Path) -> Result<()> {
    let mut child =
        machine.command(qemu).stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start QEMU")?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    bail!("Linux did not end within {} s", LIMIT.as_secs())
}

/// The first file system: the guest as its only program, and a console.
fn file_system() -> Result<Vec<u8>> {
    let init = images::built("init");
    let init = fs::read(&init).with_context(|| format!("cannot read {}", init.display()))?;
    let mut archive = Archive::default();
    archive.directory("dev");
    archive.device("dev/console", 5, 1);
    archive.executable("init", &init);
    Ok(archive.finish())
}

/// Debian's kernel: taken from the build directory if it was fetched before.
fn kernel() -> Result<PathBuf> {
    let directory = workspace::target_dir("linux");
    let kernel = directory.join("vmlinuz");
    if kernel.is_file() {
        return Ok(kernel);
    }
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let package = kernel_package().or_else(|_| {
        // A fresh machine has no package lists yet.
        apt::update();
        kernel_package()
    })?;
    eprintln!("cordon: fetching Debian's {package} (once)");
    let fetched = Command::new("apt-get")
        .args(["-qq", "download", &package])
        .current_dir(&directory)
        .status()
        .context("apt-get cannot be started")?;
    ensure!(fetched.success(), "apt-get download {package} failed; try apt-get update");
    let archive = find(&directory, |name| name.ends_with(".deb"))?;
    let unpacked = directory.join("unpacked");
    let status = Command::new("dpkg-deb")
        .arg("-x")
        .arg(&archive)
        .arg(&unpacked)
        .status()
        .context("dpkg-deb cannot be started")?;
    ensure!(status.success(), "{} cannot be unpacked", archive.display());
    let found = find(&unpacked.join("boot"), |name| name.starts_with("vmlinuz"))?;
    fs::rename(found, &kernel)?;
    fs::remove_dir_all(unpacked)?;
    fs::remove_file(archive)?;
    Ok(kernel)
}

/// The package that Debian's newest kernel is in.
fn kernel_package() -> Result<String> {
    let output =
        Command::new("apt-cache").args(["depends", META_PACKAGE]).output().context("apt-cache cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let package = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("{META_PACKAGE} is unknown; try apt-get update"))?;
    Ok(package.to_owned())
}

/// The file in `directory` whose name is wanted.
fn find(directory: &Path, wanted: fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            return Ok(entry.path());
        }
    }
    bail!("{} does not hold what was expected", directory.display())
}
