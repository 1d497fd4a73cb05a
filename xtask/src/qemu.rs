//! QEMU: finding it, choosing what carries the machine out, its command line.
use crate::apt;
use crate::cli::Accel;
use crate::exit::Failure;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exit codes of QEMU, made from the values that are written to the debug-exit port: `value << 1 | 1`.
pub(crate) mod code {
    /// The run is over and was reported.
    pub(crate) const SUCCESS: i32 = 0x10 << 1 | 1;
    /// The root reports a failure of its own.
    pub(crate) const ROOT_FAILED: i32 = 0x11 << 1 | 1;
    /// The hypervisor failed or refuses the machine.
    pub(crate) const HYPERVISOR_FAILED: i32 = 0x12 << 1 | 1;
    /// The root panicked.
    pub(crate) const ROOT_PANIC: i32 = 0x13 << 1 | 1;
}

/// The QEMU to run.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
/// The Debian package that it is in.
const PACKAGE: &str = "qemu-system-x86";

/// A machine to boot.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// What carries it out; never `Auto`.
    pub(crate) accel: Accel,
    /// The ELF file with a PVH note (or Linux kernel) that is booted.
    pub(crate) kernel: &'a Path,
    /// The boot module, if any.
    pub(crate) module: Option<&'a Path>,
    /// Its command line.
    pub(crate) command_line: &'a str,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Directory for the logs.
    pub(crate) directory: &'a Path,
    /// Further arguments for QEMU.
    pub(crate) extra: &'a [OsString],
}

/// Log of the hypervisor (first serial port) in the directory of a run.
pub(crate) const HYPERVISOR_LOG: &str = "hv.log";
/// Log of the root (second serial port).
pub(crate) const ROOT_LOG: &str = "root.log";

/// What QEMU itself says.
pub(crate) const QEMU_LOG: &str = "qemu.log";

/// Finds QEMU, or installs it where that is allowed.
pub(crate) fn require() -> Result<PathBuf, Failure> {
    apt::require(PROGRAM, PACKAGE)
}

/// Settles `auto`.
pub(crate) fn choose(wanted: Accel) -> Accel {
    match wanted {
        Accel::Auto if kvm_nests_svm() => Accel::Kvm,
        Accel::Auto => Accel::Tcg,
        other => other,
    }
}

/// Whether KVM can run the hypervisor: the processor has SVM, the kernel nests it, and this user may open the device.
/// The device alone proves nothing: a paravirtual KVM offers it without SVM.
fn kvm_nests_svm() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let has_svm = read("/proc/cpuinfo")
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|flag| flag == "svm"));
    let nested = matches!(read("/sys/module/kvm_amd/parameters/nested").trim(), "1" | "Y");
    let opens = || fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    has_svm && nested && opens()
}

impl Machine<'_> {
    /// QEMU's command: it dies with the thread that starts it where `setpriv` is there to see to that.
    pub(crate) fn command(&self, qemu: &Path) -> Command {
        let mut command = match apt::find_program("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(qemu);
                command
            }
            None => Command::new(qemu),
        };
        let (accel, cpu) = match self.accel {
            Accel::Kvm => ("kvm", "host"),
            Accel::Whpx => ("whpx", "max"),
            // QEMU's TCG does not exit on XSETBV (it has no SVM_EXIT_XSETBV), by which a hostile shim could switch state on that
            // nobody saves. No partition has XSAVE in any case.
            Accel::Auto | Accel::Tcg => ("tcg", "max,+svm,+npt,-xsave"),
        };
        command.args(["-machine", "q35", "-accel", accel, "-cpu", cpu]);
        command.args(["-smp", "1", "-m", &self.memory_mib.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        command.arg("-no-reboot").arg("-kernel").arg(self.kernel);
        if let Some(module) = self.module {
            command.arg("-initrd").arg(module);
        }
        command.args(["-append", self.command_line]);
        for log in [HYPERVISOR_LOG, ROOT_LOG] {
            let mut chardev = OsString::from("file:");
            chardev.push(self.directory.join(log));
            command.arg("-serial").arg(chardev);
        }
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        command.args(["-device", "virtio-serial-pci"]);
        command.args(["-chardev", "stdio,id=ctl,signal=off"]);
        command.args(["-device", "virtconsole,chardev=ctl"]);
        command.args(self.extra);
        command
    }
}
