//! What a shim that has been taken over says of calls that wait, of processes and of files: nothing is allowed that was not answered so, whoever runs beside it is not
//! disturbed, the root does not grow, and what is written down of it is well formed and steers nobody.
use super::events::{read, wants, xtask};
use super::figures::number_before;
use super::hostile::{all_pass, run};
use crate::{Bench, Case, Outcome, Verdict};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Asks about every directory that is made.
const ASK: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"mkdir\"]
action = { ask = { limit = \"1h\", otherwise = { errno = \"EACCES\" } } }
";

/// No, yes, and yes to what is taken back.
const ANSWERS: &str = "{\"question\": 1, \"answer\": \"deny\"}\n{\"question\": 2, \"answer\": \"allow\"}\n{\"question\": 3, \"answer\": \"allow\"}\n";

/// Most that events make the root's heap grow beyond what it is without any, and most of them that wait in it at a time, in bytes.
const MOST_GROWTH: u64 = 4 << 20;
const MOST_WAITING: u64 = 128 << 10;

/// The tests.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("hostile shim: questions about its own calls, others' and none", questions),
        Case::new("hostile shim: what it tells of threads, programs and files", told),
        Case::new("hostile shim: more open files than can be told of at once", left_open),
    ]
}

/// A run, with everything that can be written down of it.
struct Written {
    events: PathBuf,
    trace: PathBuf,
    report: PathBuf,
    timeline: PathBuf,
    policy: PathBuf,
    answers: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Written {
    fn new(bench: &Bench<'_>) -> Result<Self, String> {
        let scratch = bench.fixture.scratch()?;
        let at = |name: &str| scratch.path().join(name);
        let written = Self {
            events: at("events"),
            trace: at("trace"),
            report: at("report"),
            timeline: at("timeline"),
            policy: at("policy.toml"),
            answers: at("answers"),
            _scratch: scratch,
        };
        fs::write(&written.policy, ASK).map_err(|error| error.to_string())?;
        fs::write(&written.answers, ANSWERS).map_err(|error| error.to_string())?;
        Ok(written)
    }

    /// Runs these cases side by side.
    fn run(&self, bench: &Bench<'_>, arguments: &[&str], beside: &str) -> Result<Outcome, String> {
        let name = |path: &PathBuf| path.display().to_string();
        let options = [
            format!("--events={}", name(&self.events)),
            format!("--trace={}", name(&self.trace)),
            format!("--report={}", name(&self.report)),
            format!("--timeline={}", name(&self.timeline)),
            format!("--policy={}", name(&self.policy)),
            format!("--answers={}", name(&self.answers)),
            "--stats".to_owned(),
            "--timeout=100".to_owned(),
            format!("--beside=/bin/true {beside}"),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        run(bench, arguments, &options)
    }

    /// What was written: whole, without a word of the shim's that is more than a word, and the events of it.
    fn check(&self, bench: &Bench<'_>, outcome: &Outcome) -> Result<Vec<Value>, String> {
        let text = |path: &PathBuf| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        for path in [&self.events, &self.trace, &self.report, &self.timeline] {
            let (text, name) = (text(path)?, path.display());
            let steering = text.char_indices().find(|(_, character)| *character != '\n' && steers(*character));
            let place = steering.map(|(at, _)| text[..at].lines().last().unwrap_or_default().to_owned());
            wants(steering.is_none(), &format!("nothing that steers in {name}, not {steering:x?} behind {place:?}"))?;
            let forged = text.lines().find(|line| line.starts_with("forged") || line.starts_with("cordon:"));
            wants(forged.is_none(), &format!("no forged line in {name}, not {forged:?}"))?;
        }
        let said = outcome.said.iter().chain([&outcome.stderr]);
        let steering: Vec<&String> =
            said.filter(|line| line.chars().any(|character| character != '\n' && steers(character))).collect();
        wants(steering.is_empty(), &format!("nothing that steers in {steering:?}"))?;
        let (code, said) = xtask(bench, &["trace", "verify", &self.events.display().to_string()])?;
        wants(code == Some(0) && said.contains("none missing or changed"), &said)?;
        let trace = text(&self.trace)?;
        wants(trace.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "a trace in ASCII")?;
        let page = text(&self.report)?;
        let open =
            ["<forged", "<!--", "'forged'", "onload=\"", "&forged;"].into_iter().find(|part| page.contains(part));
        wants(open.is_none(), &format!("a page without {open:?}"))?;
        let timeline: Value = serde_json::from_str(&text(&self.timeline)?).map_err(|error| error.to_string())?;
        let marks = timeline["traceEvents"].as_array().ok_or("no picture")?;
        let others = marks.iter().filter(|mark| mark["pid"].as_u64().is_some_and(|pid| pid / 100_000 != 1));
        let strange = others.into_iter().find(|mark| mark["cat"] == "process" || mark["type"] == "forged");
        wants(strange.is_none(), &format!("processes of the first sandbox alone, not {strange:?}"))?;
        let events = read(&self.events)?;
        wants(events.iter().all(|event| event["type"] != "forged"), "no forged event")?;
        Ok(events)
    }
}

/// Whether a character is more than is seen of it.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The root is as small as it was.
fn small(bench: &Bench<'_>, outcome: &Outcome) -> Verdict {
    let plain = run(bench, &["alarm"], &["--stats", "--beside=/bin/true alarm", "--timeout=60"])?;
    let heap = |outcome: &Outcome| number_before::<u64>(outcome, " KiB of heap").map(|kib| kib << 10);
    let (plain, grown) = (heap(&plain)?, heap(outcome)?);
    let waiting: u64 = number_before(outcome, " bytes of them waiting")?;
    wants(
        grown <= plain + MOST_GROWTH && waiting <= MOST_WAITING,
        &format!("a heap of {plain} bytes and little more, and few events waiting, not {grown} and {waiting}"),
    )
}

fn questions(bench: &Bench<'_>) -> Verdict {
    let written = Written::new(bench)?;
    let outcome = written.run(bench, &["questions"], "files")?;
    all_pass(&outcome)?;
    outcome.prints_somewhere("[2] PASS files: segments")?;
    let events = written.check(bench, &outcome)?;
    let of = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
    let allowed: Vec<&Value> = of("settled").filter(|event| event["done"] == "allow").collect();
    let answered =
        allowed.iter().all(|event| event["by"] == "answer" && matches!(event["question"].as_u64(), Some(2 | 3)));
    wants(
        answered && allowed.iter().any(|event| event["question"] == 2),
        &format!("only what was answered, not {allowed:?}"),
    )?;
    // Three that have answers, those that fit of a hundred, a thousand and one, and what chance brings.
    let posed = of("question").count();
    wants((1020..2000).contains(&posed), &format!("questions of calls that were made, and each once, not {posed}"))?;
    let asked = of("call").filter(|event| event["asked"] == true).count();
    let settled = of("settled").count();
    wants(asked == settled && posed <= asked, &format!("all of {asked} settled, not {settled}"))?;
    small(bench, &outcome)
}

fn told(bench: &Bench<'_>) -> Verdict {
    let written = Written::new(bench)?;
    let outcome = written.run(bench, &["told"], "files")?;
    all_pass(&outcome)?;
    outcome.prints_somewhere("[2] PASS files: segments")?;
    let events = written.check(bench, &outcome)?;
    let of = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
    wants(of("process-started").count() > 5000 && of("thread-started").count() > 4000, "what was told")?;
    wants(of("executed").count() > 30 && of("file-changed").count() > 40, "programs and files")?;
    let others = events.iter().filter(|event| event["sandbox"] == 2);
    let kinds: Vec<&Value> = others.map(|event| &event["type"]).collect();
    let own = kinds.iter().all(|kind| matches!(kind.as_str(), Some("start" | "file-changed" | "exit")));
    wants(own, &format!("nothing of the first sandbox' in {kinds:?}"))?;
    small(bench, &outcome)
}

fn left_open(bench: &Bench<'_>) -> Verdict {
    let written = Written::new(bench)?;
    let outcome = written.run(bench, &["told", "open"], "files")?;
    all_pass(&outcome)?;
    let events = written.check(bench, &outcome)?;
    let told = events
        .iter()
        .filter(|event| event["type"] == "file-changed" && event["change"] == "write" && event["bytes"] == 1);
    let told = told.count();
    wants(told == 4000, &format!("each of 4000 files, not {told}"))?;
    small(bench, &outcome)
}
