//! Perfetto's own trace processor as judge of what `--timeline` writes (tests/judges/perfetto.js).
use crate::{Bench, Case, Verdict};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Asks Perfetto.
const SCRIPT: &str = include_str!("../../../judges/perfetto.js");

/// Processes with files, one that fails and ends; and a call that is denied.
const PROGRAM: &str = "echo one; read -r line </etc/passwd; (exit 3); [ -e /etc/nothing ]; echo $?; umask 7";
const POLICY: &str =
    "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"umask\"]\naction = { errno = \"EPERM\" }\n";

/// What it could not read or did not keep.
const COMPLAINTS: &str = "select name, value from stats where severity in ('error', 'data_loss') and value > 0";
/// What it has of calls and marks: as [`Shown`].
const SLICES: &str = "select slice.name, category, pid, coalesce(tid, 0), ts, dur from slice
left join thread_track on track_id = thread_track.id left join thread using (utid)
left join process_track on track_id = process_track.id
left join process on process.upid = coalesce(thread.upid, process_track.upid)";
const PROCESSES: &str = "select pid, name from process where name is not null";

/// Name, category, process, thread, and when and how long in nanoseconds.
type Shown = (String, String, u64, u64, u64, u64);

/// The test.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("events: Perfetto's trace processor has all of a timeline", all_of_a_timeline)
            .needs("shell")
            .needs("node")
            .needs("perfetto"),
    ]
}

fn all_of_a_timeline(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("policy"), POLICY).map_err(|error| error.to_string())?;
    let (policy, file) = (at("policy").display().to_string(), at("timeline"));
    let options = ["--copies", "2", "--policy", &policy, "--timeline", &file.display().to_string()];
    bench.in_tree("shell", ["dash", "-c", PROGRAM]).options(options).run()?.exits(0)?;
    let text = fs::read(&file).map_err(|error| error.to_string())?;
    let picture: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let events = picture["traceEvents"].as_array().ok_or("no events")?;
    let answers = ask(bench, text)?;
    let [complaints, slices, processes] = answers.as_slice() else { return Err(format!("answers: {answers:?}")) };
    if !complaints.is_empty() {
        return Err(format!("it complains: {complaints:?}"));
    }
    let (written, found) = (written(events)?, slices.iter().map(of_row).collect::<Option<Vec<_>>>());
    same(written, found.ok_or_else(|| format!("a row of another form: {slices:?}"))?)?;
    let named: BTreeSet<(u64, &str)> =
        processes.iter().filter_map(|row| Some((row[0].as_u64()?, row[1].as_str()?))).collect();
    let expected = names(events);
    if named == expected { Ok(()) } else { Err(format!("processes {named:?} for {expected:?}")) }
}

/// The rows of each answer.
fn ask(bench: &Bench<'_>, trace: Vec<u8>) -> Result<Vec<Vec<Value>>, String> {
    let page = bench.setup.trees.join("perfetto");
    let read = |name: &str| fs::read(page.join(name)).map_err(|error| format!("{name}: {error}"));
    let (program, assembly) = (read("engine_bundle.js")?, read("trace_processor.wasm")?);
    let lengths = [program.len(), assembly.len()].map(|len| len.to_string());
    let judge = ["/usr/bin/node", "-e", SCRIPT, "--", &lengths[0], &lengths[1], COMPLAINTS, SLICES, PROCESSES];
    let outcome = bench.in_tree("node", judge).input(&[program, assembly, trace].concat()).run_here()?;
    outcome.exits(0)?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    said.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
}

fn of_row(row: &Value) -> Option<Shown> {
    let text = |at: usize| row[at].as_str().map(str::to_owned);
    Some((text(0)?, text(1)?, row[2].as_u64()?, row[3].as_u64()?, row[4].as_u64()?, row[5].as_u64()?))
}

/// The calls and marks that the file has.
fn written(events: &[Value]) -> Result<Vec<Shown>, String> {
    let shown = events.iter().filter(|event| event["ph"] != "M").map(|event| {
        let text = |key: &str| event[key].as_str().map(str::to_owned);
        let ns = |key: &str| format!("{:.0}", event[key].as_f64().unwrap_or(0.0) * 1000.0).parse().ok();
        Some((text("name")?, text("cat")?, event["pid"].as_u64()?, event["tid"].as_u64()?, ns("ts")?, ns("dur")?))
    });
    let shown: Option<Vec<Shown>> = shown.collect();
    shown.ok_or_else(|| "an event of another form".to_owned())
}

/// What each process was called last, as the format has it.
fn names(events: &[Value]) -> BTreeSet<(u64, &str)> {
    let named = events.iter().filter(|event| event["name"] == "process_name");
    let named = named.filter_map(|event| Some((event["pid"].as_u64()?, event["args"]["name"].as_str()?)));
    named.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Wants the same on both sides, in whatever order.
fn same(mut written: Vec<Shown>, mut found: Vec<Shown>) -> Verdict {
    written.sort_unstable();
    found.sort_unstable();
    if written == found && !written.is_empty() {
        return Ok(());
    }
    let at = written.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let (written, found) = ((written.len(), written.get(at)), (found.len(), found.get(at)));
    Err(format!(
        "of {} events {} are there; the first that differs: {:?} for {:?}",
        written.0, found.0, found.1, written.1
    ))
}
