//! `cargo xtask test`: the host's tests and those that boot the machine, one line each, and the sum at the end.
mod host;
mod judges;

use crate::apt;
use crate::cli::TestOptions;
use crate::exit::Failure;
use crate::{images, qemu, trees, workspace};
use anyhow::{Context, Result};
use qemu_tests::{Setup, Tally};
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

/// Runs the tests; fails if one does, or if there was none.
pub(crate) fn test(options: &TestOptions) -> Result<ExitCode, Failure> {
    let filter = options.filter.as_deref();
    let mut tally = Tally::default();
    if !options.qemu {
        // Nothing that cargo tests is called like this: it need not be built.
        if filter.is_none_or(|filter| !filter.starts_with("judge: ")) {
            timed("tests of the host", || host::run(filter, &mut tally))?;
        }
        timed("judges", || judges::run(filter, options.all, &mut tally))?;
    }
    if !options.host {
        boot_tests(options, &mut tally)?;
    }
    tally.print_sum();
    let good = tally.failed == 0 && tally.passed > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds what is booted and runs the tests of it.
fn boot_tests(options: &TestOptions, tally: &mut Tally) -> Result<(), Failure> {
    qemu::require()?;
    let busybox = apt::require("busybox", "busybox")?;
    timed("images and programs", build)?;
    let setup = Setup {
        xtask: std::env::current_exe().context("this program's path is unknown")?,
        busybox,
        guests: images::built_by(images::PROGRAMS, ""),
        hostile_shim: images::built("cordon-hostile-shim"),
        kernels: kernels()?,
        trees: trees::directory(),
        layers: workspace::target_dir("test-layers"),
        all: options.all,
        jobs: options.jobs.map_or_else(usual_jobs, usize::from),
    };
    let filter = options.filter.as_deref();
    timed("trees", || trees::ensure(&qemu_tests::trees(&setup, filter), false))?;
    timed("tests of the machine", || qemu_tests::run(setup, filter, tally))?;
    Ok(())
}

/// Builds what is booted, and the programs that run there.
fn build() -> Result<()> {
    images::build_all(false)?;
    images::build(&["kernels"], false)?;
    images::build(&["hostile-shim"], false)?;
    images::build_by(images::PROGRAMS, &["guests"], false)?;
    images::build_by(images::PROGRAMS, &["families"], false)
}

/// Does a part of the work, and says how long it took.
fn timed<T>(part: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("    {part}: {:.0} s", start.elapsed().as_secs_f64());
    done
}

/// Machines at a time, if nobody says how many.
fn usual_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + 1
}

/// The names of the test kernels.
fn kernels() -> Result<Vec<String>> {
    let directory = workspace::root().join("tests/kernels/src/bin");
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            names.extend(path.file_stem().map(|n| n.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
