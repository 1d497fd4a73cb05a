//! Events of processes and threads of programs whose shape is known.
use super::events::{read, wants, xtask};
use crate::{Bench, Case, Verdict};
use serde_json::Value;
use std::collections::BTreeMap;

/// Tests of events of processes.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("process events: a pipeline, a subshell, a signal and an exec", pipeline).needs("shell"),
        Case::new("process events: threads, and a program that a thread executes", threads).needs("python"),
    ]
}

const PIPELINE: &str = "seq 3 | grep 2 | wc -l; sh -c 'kill -9 $$'; (exit 3); exec /bin/true";

/// The processes of that: parent, what each executed, end.
const SHAPE: [(u64, &str, &str); 6] = [
    (1, "/usr/bin/dash: dash -c …, /usr/bin/true: /bin/true", "exited 0"),
    (2, "/usr/bin/seq: seq 3", "exited 0"),
    (2, "/usr/bin/grep: grep 2", "exited 0"),
    (2, "/usr/bin/wc: wc -l", "exited 0"),
    (2, "/usr/bin/dash: sh -c kill -9 $$", "signal 9"),
    (2, "", "exited 3"),
];

/// What is told of one process.
#[derive(Debug, Default, PartialEq)]
struct Process {
    parent: u64,
    executed: Vec<String>,
    end: String,
}

fn pipeline(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events");
    let run = bench.in_tree("shell", ["dash", "-c", PIPELINE]).options(["--events".as_ref(), file.as_os_str()]);
    run.run()?.exits(0)?.prints("1\n")?;
    let (code, said) = xtask(bench, &["trace", "verify", &file.display().to_string()])?;
    wants(code == Some(0), &said)?;
    let events = read(&file)?;
    let mut processes: BTreeMap<u64, Process> = BTreeMap::new();
    for event in &events {
        let Some(number) = event["process"].as_u64() else { continue };
        let process = processes.entry(number).or_default();
        match event["type"].as_str() {
            Some("process-started") => {
                process.parent = event["parent"].as_u64().ok_or("no parent")?;
                made_by_its_call(&events, event)?;
            }
            Some("executed") => process.executed.push(executed(event)),
            Some("process-ended") => process.end = ended(event),
            _ => {}
        }
    }
    let told: Vec<(u64, String, &str)> =
        processes.values().map(|one| (one.parent, one.executed.join(", "), one.end.as_str())).collect();
    let told: Vec<(u64, &str, &str)> = told.iter().map(|(parent, what, end)| (*parent, what.as_str(), *end)).collect();
    wants(told == SHAPE, &format!("another shape than {told:#?}"))
}

/// The call that an event names is one that made this process.
fn made_by_its_call(events: &[Value], event: &Value) -> Verdict {
    if event["process"] == 2 {
        return wants(event["call"].is_null(), "no call that made the first one");
    }
    let of = |kind: &str| events.iter().find(|other| other["type"] == kind && other["call"] == event["call"]);
    let (call, result) = (of("call").ok_or("no call")?, of("result").ok_or("no result")?);
    let makes = matches!(call["name"].as_str(), Some("clone" | "fork" | "vfork")) && call["thread"] == event["by"];
    wants(makes && result["value"] == event["process"], &format!("{event} by {call}, {result}"))
}

fn executed(event: &Value) -> String {
    let words: Vec<&str> =
        event["arguments"].as_array().into_iter().flatten().filter_map(|word| word["text"].as_str()).collect();
    let words = words.join(" ").replace(PIPELINE, "…");
    format!("{}: {words}", event["path"]["text"].as_str().unwrap_or("no path"))
}

fn ended(event: &Value) -> String {
    match (event["status"].as_u64(), event["signal"].as_u64()) {
        (Some(status), None) => format!("exited {status}"),
        (None, Some(signal)) => format!("signal {signal}"),
        _ => format!("{event}"),
    }
}

fn threads(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events");
    let program = "import os, threading, time\n\
                   one = threading.Thread(target=time.sleep, args=(0.01,)); one.start(); one.join()\n\
                   threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n\
                   threading.Thread(target=os.execv, args=('/bin/echo', ['echo', 'end'] + ['x' * 300] + ['y'] * 40)).start()\n\
                   time.sleep(100)";
    let run = bench.in_tree("python", ["/usr/bin/python3", "-c", program]);
    let outcome = run.options(["--events".as_ref(), file.as_os_str()]).run()?;
    outcome.exits(0)?;
    let events = read(&file)?;
    let told: Vec<String> = events
        .iter()
        .filter_map(|event| match event["type"].as_str() {
            Some("thread-started") => Some(format!("+{}", event["thread"])),
            Some("thread-ended") => Some(format!("-{}", event["thread"])),
            Some("executed") => event["path"]["text"].as_str().map(ToOwned::to_owned),
            Some("process-ended") => Some(ended(event)),
            _ => None,
        })
        .collect();
    let text = told.join(" ");
    let good = text.starts_with("/usr/bin/python3.11 +3 ") && text.ends_with(" /usr/bin/echo exited 0");
    let all = ["+4", "+5", "-3", "-2", "-4"].iter().all(|one| told.iter().any(|told| told == one));
    wants(good && all && told.len() == 9, &format!("another course than {text}"))?;
    let last = events.iter().rfind(|event| event["type"] == "executed").ok_or("no program")?;
    let arguments = last["arguments"].as_array().map_or(0, Vec::len);
    let longest = last["arguments"][2]["text"].as_str().map_or(0, str::len);
    wants((arguments, longest) == (32, 256) && last["whole"] == false, &format!("bounded arguments in {last}"))
}
