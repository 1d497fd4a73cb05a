//! The same guest programs on plain Linux in the same machine: Debian's kernel, and a program as its first process.
use super::Clock;
use super::cpio::Archive;
use crate::cli::Accel;
use crate::qemu::{self, Machine};
use crate::run::device;
use crate::{apt, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's name for its newest kernel.
const META_PACKAGE: &str = "linux-image-amd64";
/// Longest time for a boot.
const LIMIT: Duration = Duration::from_secs(300);
/// Memory of the machine, in MiB.
const MEMORY_MIB: u64 = 512;

/// Boots Linux with this program as its first process and returns what that printed.
pub(super) fn run(clock: Clock, files: &Files<'_>) -> Result<String> {
    let debian = debian()?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let archive = directory.path().join("initramfs");
    fs::write(&archive, file_system(files, &debian)?).context("cannot write the file system")?;
    let devices = files.folders.iter().flat_map(|folder| device(folder.host, &tag(folder.at), folder.read_only));
    let extra: Vec<OsString> = clock.qemu_args().iter().map(OsString::from).chain(devices).collect();
    let mut arguments = files.argument.clone();
    for Folder { at, read_only, .. } in files.folders {
        arguments.push_str(&format!(" {}:{at}{}", tag(at), if *read_only { ":ro" } else { "" }));
    }
    let machine = Machine {
        accel: Accel::Tcg,
        kernel: &debian.join(KERNEL),
        module: Some(&archive),
        command_line: &format!("console=ttyS0 quiet panic=-1 rdinit=/init -- {arguments}"),
        memory_mib: MEMORY_MIB,
        directory: directory.path(),
        extra: &extra,
    };
    let qemu = apt::find_program(qemu::PROGRAM).context("QEMU is missing")?;
    boot(&machine, &qemu)?;
    let log = fs::read(directory.path().join(qemu::HYPERVISOR_LOG))?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}

/// What Linux is given.
#[derive(Debug)]
pub(super) struct Files<'a> {
    /// The first process.
    pub(super) init: &'a Path,
    /// Its argument.
    pub(super) argument: String,
    /// A tree of files.
    pub(super) tree: Option<&'a Path>,
    /// Folders of the host, which the first process is told to mount.
    pub(super) folders: &'a [Folder<'a>],
}

/// A folder of the host, served by QEMU as those of a run are.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) host: &'a Path,
    pub(super) at: &'a str,
    pub(super) read_only: bool,
}

/// What a folder's server is called.
fn tag(at: &str) -> String {
    at.trim_start_matches('/').replace('/', "-")
}

/// Debian's kernel in the directory of what was fetched, and the modules that its 9P client needs.
const KERNEL: &str = "vmlinuz";
const MODULES: &str = "modules";
/// Those, each after the ones that it needs.
const CLIENT: [&str; 10] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "fs/netfs/netfs.ko",
    "fs/fscache/fscache.ko",
    "net/9p/9pnet.ko",
    "net/9p/9pnet_virtio.ko",
    "fs/9p/9p.ko",
];

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

/// The first file system: the first process, a console, the modules in their order if there are folders, and the tree.
fn file_system(files: &Files<'_>, debian: &Path) -> Result<Vec<u8>> {
    let init = fs::read(files.init).with_context(|| format!("cannot read {}", files.init.display()))?;
    let mut archive = Archive::default();
    archive.directory("dev");
    archive.device("dev/console", 5, 1);
    archive.device("dev/null", 1, 3);
    archive.executable("init", &init);
    if !files.folders.is_empty() {
        archive.directory(MODULES);
        for name in (0..CLIENT.len()).map(module) {
            archive.file(&format!("{MODULES}/{name}"), 0o644, &fs::read(debian.join(MODULES).join(&name))?);
        }
    }
    if let Some(tree) = files.tree {
        add(&mut archive, tree, "")?;
    }
    Ok(archive.finish())
}

/// Directories of a tree that nothing measured needs: they would only take memory.
const LEFT_OUT: [&str; 5] = ["dev", "usr/share", "usr/lib/python3.11/test", "var", "usr/sbin"];

/// Adds what is in a directory of the tree.
fn add(archive: &mut Archive, tree: &Path, inside: &str) -> Result<()> {
    let directory = tree.join(inside);
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            archive.directory(&name);
            add(archive, tree, &name)?;
        } else if kind.is_symlink() {
            archive.link(&name, fs::read_link(entry.path())?.as_os_str().as_bytes());
        } else if kind.is_file() {
            archive.file(&name, entry.metadata()?.permissions().mode(), &fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The name of a module's file, by its place among them.
fn module(number: usize) -> String {
    format!("{number:02}.ko")
}

/// The directory of Debian's kernel, which is fetched unless it was before.
fn debian() -> Result<PathBuf> {
    let directory = workspace::target_dir("linux");
    let (kernel, modules) = (directory.join(KERNEL), directory.join(MODULES));
    if kernel.is_file() && modules.is_dir() {
        return Ok(directory);
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
    let all = find(&unpacked.join("lib/modules"), |_| true)?.join("kernel");
    fs::create_dir_all(&modules)?;
    for (number, path) in CLIENT.iter().enumerate() {
        fs::rename(all.join(path), modules.join(module(number))).with_context(|| format!("{package} lacks {path}"))?;
    }
    fs::remove_dir_all(unpacked)?;
    fs::remove_file(archive)?;
    Ok(directory)
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
