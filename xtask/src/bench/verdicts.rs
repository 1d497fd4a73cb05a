//! The rows of the `verdicts` guest: what the policy's table costs a call, in instructions, beside everything else that a call costs.
use super::table::Row;
use super::{Clock, Cost, programs, run_with};
use crate::exit::Failure;
use crate::policy::{self, ContainerOptions};
use crate::{events, images, trees, workspace};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The tree with others' published policies.
pub(super) const PROFILES: &str = "profiles";
/// The most that a verdict should cost: on a call without conditions,
const UNCONDITIONAL: f64 = 60.0;
/// on average of a start of python3 under Docker's default profile,
const DOCKER: f64 = 120.0;
/// and of a call whose path is looked at by this many globs.
const GLOBBED: f64 = 3000.0;
const GLOBS: usize = 100;
/// Calls that a start of python3 has at least.
const LEAST: usize = 100;
/// How often a single call stands in a list.
const TIMES: usize = 1000;
/// A path as python3 opens it.
const OPENED: &str = "/usr/lib/python3.11/encodings/__pycache__/utf_8.cpython-311.pyc";

/// The rows. A verdict is the processor's work alone, so that its time would say nothing more.
pub(super) fn rows() -> Result<Vec<Row>, Failure> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let layer = Layer { path: directory.path().to_owned() };
    let start = calls_of_python(directory.path())?;
    let getpid = "27 0 0 0 0 0 0\n".repeat(TIMES);
    let openat = format!("101 ffffff9c 1000 80000 0 0 0 {OPENED}\n").repeat(TIMES);
    let native = |file: PathBuf| policy::read(&file, &ContainerOptions::default()).map(|policy| policy.text());
    let default = native(workspace::root().join("policies/default.toml"))?;
    let docker = native(trees::directory().join(PROFILES).join("docker.json"))?;
    let row = |name: &str, policy: &str, calls: &str, aim| -> Result<Row> {
        Ok(Row::new(name, Clock::Instructions.unit(), Some(layer.cost(policy, calls)?), None).aim(aim))
    };
    Ok(vec![
        row("verdict on a call without conditions", &default, &getpid, UNCONDITIONAL)?,
        row("  of python3's start, by Docker's profile", &docker, &start, DOCKER)?,
        row(&format!("  on a path that {GLOBS} globs look at"), &globs(), &openat, GLOBBED)?,
    ])
}

/// A policy with globs that begin as the path does; none of them matches.
fn globs() -> String {
    let patterns: Vec<String> = (0..GLOBS).map(|n| format!("\"/usr/lib/python3.11/**/module_{n}-*.py\"")).collect();
    let patterns = patterns.join(", ");
    format!(
        "version = 1\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{{ arg = 1, path = [{patterns}] }}]\naction = \"allow\"\n"
    )
}

/// The calls that python3 makes to start and end, as the guest reads them.
fn calls_of_python(directory: &Path) -> Result<String, Failure> {
    let events = directory.join("events.jsonl");
    let (tree, file) = (trees::directory().join(programs::TREE).display().to_string(), events.display().to_string());
    run_with(Clock::Host, "", &["--layer", &tree, "--events", &file], &["/usr/bin/python3", "-c", "pass"])?;
    let calls = events::calls(&events)?;
    if calls.len() <= LEAST {
        return Err(Failure::early(format!("python3 made {} calls only", calls.len())));
    }
    Ok(calls.iter().map(|(number, args)| line_of(*number, args)).collect())
}

/// A call as the guest reads it.
fn line_of(number: u64, args: &[u64; 6]) -> String {
    let args: String = args.iter().map(|arg| format!(" {arg:x}")).collect();
    format!("{number:x}{args}\n")
}

/// The directory that the guest finds its files in.
struct Layer {
    path: PathBuf,
}

impl Layer {
    /// What a verdict of this policy costs, on average of these calls.
    fn cost(&self, policy: &str, calls: &str) -> Result<f64> {
        fs::write(self.path.join("policy"), policy)?;
        fs::write(self.path.join("calls"), calls)?;
        let guest = images::built("verdicts").display().to_string();
        let layer = self.path.display().to_string();
        let command = [guest.as_str(), "/policy", "/calls"];
        let (text, _) = run_with(Clock::Instructions, "", &["--layer", &layer], &command)?;
        Ok(Cost::parse(&text.replace("ops=", "calls="))?.ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_as_the_guest_reads_them() {
        let args = [0xffff_ff9c, 0x1000, 0, 0, 0, 0];
        assert_eq!(line_of(257, &args), "101 ffffff9c 1000 0 0 0 0\n");
    }

    #[test]
    fn the_policy_of_globs_is_one() {
        let compiled = ::policy::parse("globs", &globs()).unwrap();
        assert_eq!(compiled.about(257).reads().len(), 1);
    }
}
