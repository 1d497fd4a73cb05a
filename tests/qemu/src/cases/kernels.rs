//! The test kernels of tests/kernels: each is a test of its own.
use crate::{Bench, Case, Setup, Verdict};
use std::process::Command;

/// One test for each kernel.
pub(crate) fn cases(setup: &Setup) -> Vec<Case> {
    setup
        .kernels
        .iter()
        .map(|name| {
            let kernel = name.clone();
            Case::new(format!("kernel {name}"), move |bench| boot(bench, &kernel))
        })
        .collect()
}

/// Boots one.
fn boot(bench: &Bench<'_>, name: &str) -> Verdict {
    let output = Command::new(&bench.setup.xtask)
        .args(["kernel", "--no-build", name])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(said)
}
