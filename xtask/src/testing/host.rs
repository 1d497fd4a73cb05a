//! The tests that run on the host: built by cargo, run here one program at a time, so that each line can say whose test it is.
use crate::workspace;
use anyhow::{Context, Result};
use qemu_tests::Tally;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is built and tested together. The default members, and the crates that only images use but whose logic the
/// host can test.
const GROUPS: [&[&str]; 2] = [&[], &["--package", "hvclient", "--package", "platform", "--package", "rt"]];

/// A built test program.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    /// The crate, and the target's name where that differs.
    name: String,
    executable: PathBuf,
    /// The crate's directory: where its tests expect to run.
    directory: PathBuf,
}

/// Builds and runs all of them, and the examples in the documentation.
pub(super) fn run(filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    for group in GROUPS {
        let Some(programs) = build(group)? else {
            tally.add(&format!("host: cargo test {}", group.join(" ")), Err("it does not build".into()));
            continue;
        };
        for program in programs {
            let mut command = Command::new(&program.executable);
            command.current_dir(&program.directory);
            report(&program.name, command, filter, tally)?;
        }
    }
    let mut examples = workspace::cargo();
    examples.args(["test", "--quiet", "--doc", "--no-fail-fast", "--"]);
    report("examples", examples, filter, tally)
}

/// Builds a group's tests. `None`: they do not build, and cargo has said why.
fn build(group: &[&str]) -> Result<Option<Vec<Program>>> {
    let output = workspace::cargo()
        .args(["test", "--quiet", "--no-run", "--message-format=json-render-diagnostics"])
        .args(group)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect()))
}

/// Reads one of cargo's messages: a test program, or nothing of interest.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
    let target = message["target"]["name"].as_str()?;
    let name = match message["target"]["kind"][0].as_str()? {
        "test" => format!("{}/{target}", directory.file_name()?.to_str()?),
        _ => target.to_owned(),
    };
    Some(Program { name, executable: message["executable"].as_str()?.into(), directory: directory.to_owned() })
}

/// Runs one program (or cargo for the examples), counts its tests, and shows what it says when one fails.
fn report(name: &str, mut command: Command, filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let output = command
        .args(["--format=pretty", "--color=never"])
        .args(filter)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("the tests of {name} cannot be run"))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let failed_before = tally.failed;
    for (test, verdict) in stdout.lines().filter_map(verdict) {
        match verdict {
            Verdict::Passed => tally.add(&format!("host: {name}: {test}"), Ok(())),
            Verdict::Failed => tally.add(&format!("host: {name}: {test}"), Err("what it said follows".into())),
            Verdict::Ignored => {}
        }
    }
    if output.status.success() {
        return Ok(());
    }
    if tally.failed == failed_before {
        tally.add(&format!("host: {name}"), Err(format!("it ended with {}", output.status)));
    }
    for line in stdout.lines().filter(|line| verdict(line).is_none() && !is_noise(line)) {
        println!("    {line}");
    }
    print!("{}", String::from_utf8_lossy(&output.stderr));
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

    #[test]
    fn messages_of_cargo() {
        let line = |kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/gate/Cargo.toml","executable":"/t/gate-1",
                     "target":{{"kind":["{kind}"],"name":"calls"}},"profile":{{"test":true}}}}"#
            )
        };
        let of = |name: &str| {
            Some(Program { name: name.into(), executable: "/t/gate-1".into(), directory: "/w/gate".into() })
        };
        assert_eq!(program(&line("lib")), of("calls"));
        assert_eq!(program(&line("test")), of("gate/calls"));
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
