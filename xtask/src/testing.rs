//! `cargo xtask test`: the host's tests and those that boot the machine, one line each, and the sum at the end.
use crate::apt;
use crate::cli::TestOptions;
use crate::exit::Failure;
use crate::{images, qemu, workspace};
use anyhow::{Context, Result};
use qemu_tests::{Setup, Tally};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, ExitCode, Stdio};

/// Runs the tests; fails if one does, or if there was none.
pub(crate) fn test(options: &TestOptions) -> Result<ExitCode, Failure> {
    let mut tally = Tally::default();
    if !options.qemu {
        host_tests(options, &mut tally)?;
    }
    if !options.host {
        qemu_tests(options, &mut tally)?;
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    let good = tally.failed == 0 && tally.passed > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `cargo test`.
fn host_tests(options: &TestOptions, tally: &mut Tally) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--quiet", "--no-fail-fast"]);
    cargo.args(&options.filter);
    // One line a test, whatever --quiet would make of it.
    cargo.args(["--", "--format=pretty", "--color=never"]);
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let failed_before = tally.failed;
    if let Some(output) = child.stdout.take() {
        count_host_tests(output, tally)?;
    }
    let status = child.wait().context("cargo test")?;
    if !status.success() && tally.failed == failed_before {
        tally.add("host: cargo test", Err(format!("{status}")));
    }
    Ok(())
}

/// Passes on a line for each test, and all that is said about failures.
fn count_host_tests(output: ChildStdout, tally: &mut Tally) -> Result<()> {
    for line in BufReader::new(output).lines() {
        let line = line.context("cargo test")?;
        match verdict(&line) {
            Some((name, Verdict::Passed)) => tally.add(&format!("host: {name}"), Ok(())),
            Some((name, Verdict::Failed)) => {
                tally.add(&format!("host: {name}"), Err("see below".into()));
            }
            Some((_, Verdict::Ignored)) => {}
            None if is_noise(&line) => {}
            None => println!("{line}"),
        }
    }
    Ok(())
}

/// What libtest says of a test.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Ignored,
}

/// Reads a line `test NAME ... VERDICT`.
fn verdict(line: &str) -> Option<(&str, Verdict)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let verdict = match verdict {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        _ if verdict.starts_with("ignored") => Verdict::Ignored,
        _ => return None,
    };
    Some((name, verdict))
}

/// Lines of libtest that say nothing about a single test.
fn is_noise(line: &str) -> bool {
    line.trim().is_empty()
        || line.starts_with("running ")
        || line.starts_with("test result: ")
        || line.starts_with("all doctests ran in ")
}

/// Builds what is booted and runs the tests that do so.
fn qemu_tests(options: &TestOptions, tally: &mut Tally) -> Result<(), Failure> {
    qemu::require()?;
    let busybox = apt::require("busybox", "busybox")?;
    images::build_all(false)?;
    images::build(&["kernels"], false)?;
    images::build(&["guests"], false)?;
    let setup = Setup {
        xtask: std::env::current_exe().context("this program's path is unknown")?,
        busybox,
        guests: images::built(""),
        kernels: kernels()?,
        workspace: workspace::root().to_owned(),
        jobs: options.jobs.into(),
    };
    qemu_tests::run(&setup, options.filter.as_deref(), tally)?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libtest() {
        assert_eq!(verdict("test a::b ... ok"), Some(("a::b", Verdict::Passed)));
        assert_eq!(verdict("test a - should panic ... FAILED"), Some(("a - should panic", Verdict::Failed)));
        assert_eq!(verdict("test src/lib.rs - (line 3) - compile ... ok").map(|v| v.1), Some(Verdict::Passed));
        assert_eq!(verdict("test x ... ignored, slow"), Some(("x", Verdict::Ignored)));
        assert_eq!(verdict("test result: ok. 3 passed"), None);
        assert!(is_noise("test result: ok. 3 passed"));
    }
}
