//! `cargo xtask kernel`: boots one test kernel in the root partition's place.
use crate::cli::{Accel, KernelOptions};
use crate::exit::Failure;
use crate::images;
use crate::pack::{self, Contents, Tree};
use crate::qemu::{self, Machine, code};
use anyhow::{Context, Result};
use bundle::RunConfig;
use std::fs::{self, File};
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time that a kernel may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Memory of the machine, in MiB.
const MEMORY_MIB: u64 = 128;

/// Boots the kernel and shows its lines.
pub(crate) fn run(options: &KernelOptions) -> Result<ExitCode, Failure> {
    let qemu = qemu::require()?;
    if !options.no_build {
        images::build(&["hv-image", "root-image"], options.verbose)?;
        images::build(&["kernels"], options.verbose)?;
    }
    let directory =
        tempfile::Builder::new().prefix("cordon-").tempdir().context("cannot make a temporary directory")?;
    let status = boot(&qemu, options, directory.path())?;
    let hypervisor = log(directory.path(), qemu::HYPERVISOR_LOG);
    if options.verbose {
        print!("{hypervisor}");
    }
    let said = log(directory.path(), qemu::ROOT_LOG);
    print!("{said}");
    let passed = said.lines().next_back() == Some("PASS");
    match status {
        Some(status) if status.code() == Some(code::SUCCESS) && passed => Ok(judge(&said, &hypervisor)),
        Some(status) if status.code() == Some(code::ROOT_FAILED) => Ok(ExitCode::FAILURE),
        Some(status) => {
            print!("{hypervisor}");
            println!("FAIL: the machine ended with {status}");
            Ok(ExitCode::FAILURE)
        }
        None => {
            println!("FAIL: no end after {} s", LIMIT.as_secs());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A kernel that passed has one thing left that it cannot see itself: a line `expect exits child=N` says how often children
/// must have exited, by the hypervisor's own count.
fn judge(said: &str, hypervisor: &str) -> ExitCode {
    let wrong = said.lines().filter_map(|line| line.strip_prefix("expect exits ")).find(|wanted| {
        let counted = |line: &str| line.contains(": exits ") && line.split(' ').any(|word| word == *wanted);
        !hypervisor.lines().any(counted)
    });
    match wrong {
        None => ExitCode::SUCCESS,
        Some(wanted) => {
            print!("{hypervisor}");
            println!("FAIL: the hypervisor did not count exits {wanted}");
            ExitCode::FAILURE
        }
    }
}

/// Boots; `None` if it did not end in time.
fn boot(qemu: &Path, options: &KernelOptions, directory: &Path) -> Result<Option<ExitStatus>> {
    let contents = Contents {
        root: &images::root_image(&images::built(&options.name))
            .with_context(|| format!("there is no test kernel `{}`", options.name))?,
        shim: &[],
        policy: &[],
        run: &RunConfig::default(),
        tree: &Tree::new(),
    };
    let bundle = pack::write(directory, None, &contents)?;
    let machine = Machine {
        accel: Accel::Tcg,
        kernel: &images::hypervisor()?,
        module: Some(&bundle.path),
        command_line: "",
        memory_mib: MEMORY_MIB,
        directory,
        extra: &[],
    };
    let mut child = machine
        .command(qemu)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(directory.join(qemu::QEMU_LOG))?)
        .spawn()
        .context("cannot start QEMU")?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// A log of the run, with its lines' ends as here.
fn log(directory: &Path, name: &str) -> String {
    let bytes = fs::read(directory.join(name)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\r', "")
}
