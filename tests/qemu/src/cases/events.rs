//! What a run writes down: events, their chain, their picture; and what other policies would have said to them.
use crate::sandbox::{Outcome, wait};
use crate::{Bench, Case, Verdict};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The program of most tests: two processes, a file that is there and one that is not.
const PROGRAM: &str = "echo one; read -r line </etc/passwd; (exit 3); [ -e /etc/nothing ]; echo $?";

/// Tests of events.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("events: every call, verdict, result and end", every_event),
        Case::new("events: a changed file is found", tampered),
        Case::new("events: a timeline of several sandboxes", timeline),
        Case::new("events: replayed under another policy", replayed),
        Case::new("events: replayed under limits and budgets, and learned", replayed_under_limits),
        Case::new("events: a dry run carries out what the policy forbids", dry_run),
        Case::new("events: a learned policy denies nothing of the same, and what is more", learned),
        Case::new("events: a report of a run", report),
        Case::new("events: calls at full speed are all written, and end in time", at_full_speed),
        Case::new("events: a run that is stopped leaves what there is", stopped),
        Case::new("events: what cannot be written stops nothing half-way", |bench| {
            let outcome = bench.busybox(&["true"]).options(["--events", "/nowhere/events"]).run()?;
            outcome.exits(2)?.says("--events /nowhere/events: there is no folder /nowhere")?.done()
        }),
    ]
}

/// Runs [`PROGRAM`] in the tree of shells, with its events in `file`.
fn run(bench: &Bench<'_>, file: &Path, options: &[&str]) -> Result<Outcome, String> {
    let events = ["--events".to_owned(), file.display().to_string()];
    bench.in_tree("shell", ["dash", "-c", PROGRAM]).options(events).options(options).run()
}

/// `cargo xtask` with these words: exit code, standard output and error.
pub(super) fn xtask(bench: &Bench<'_>, words: &[&str]) -> Result<(Option<i32>, String), String> {
    let output = Command::new(&bench.setup.xtask)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

pub(super) fn wants(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(format!("wanted {what}")) }
}

pub(super) fn read(file: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
}

fn every_event(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events");
    let outcome = run(bench, &file, &["--stats"])?;
    outcome.exits(0)?.prints("one\n1\n")?;
    let events = read(&file)?;
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let (calls, results) = (of("call"), of("result"));
    outcome.says(&format!("{} calls, ", calls.len()))?;
    let pending: BTreeMap<u64, &str> =
        calls.iter().filter_map(|call| Some((call["call"].as_u64()?, call["name"].as_str()?))).collect();
    wants(
        results.iter().all(|result| pending.contains_key(&result["call"].as_u64().unwrap_or(0))),
        "calls for results",
    )?;
    let opened = calls.iter().find(|call| call["data"][0]["bytes"][0]["text"] == "/etc/passwd");
    let opened = opened.and_then(|call| call["call"].as_u64()).ok_or("no call names /etc/passwd")?;
    let value = results.iter().find(|result| result["call"] == opened).and_then(|result| result["value"].as_i64());
    wants(value.is_some_and(|fd| fd >= 3), "a descriptor of /etc/passwd")?;
    wants(results.iter().any(|result| result["errno"] == "ENOENT"), "a file that is not there")?;
    let threads: Vec<&Value> = calls.iter().map(|call| &call["thread"]).collect();
    wants(threads.iter().any(|thread| *thread != threads[0]), "calls of two processes")?;
    let (first, end) = (&events[0], &events[events.len() - 1]);
    wants(first["type"] == "start" && first["program"][1] == "-c", "a start")?;
    wants(of("exit").len() == 1 && of("exit")[0]["status"] == 0, "an exit")?;
    wants(end["type"] == "end" && end["events"] == events.len() - 1, "an end")?;
    let (code, said) = xtask(bench, &["trace", "verify", &file.display().to_string()])?;
    let sum =
        format!("{} events, none missing or changed, sha256 {}", events.len(), end["hash"].as_str().unwrap_or(""));
    wants(code == Some(0) && said.contains(&sum), &format!("{sum:?} in {said:?}"))?;
    outcome.says(end["hash"].as_str().unwrap_or("no hash"))?.done()
}

fn tampered(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events");
    run(bench, &file, &[])?.exits(0)?;
    let name = file.display().to_string();
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let other = text.replacen("/etc/passwd", "/etc/secret", 1);
    for (changed, why) in
        [(other, "it was changed"), (text.split_inclusive('\n').skip(1).collect(), "it is not the first event")]
    {
        fs::write(&file, changed).map_err(|error| error.to_string())?;
        let (code, said) = xtask(bench, &["trace", "verify", &name])?;
        wants(code == Some(2) && said.contains(why), &format!("{why:?} in {said:?}"))?;
    }
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let (code, said) = xtask(bench, &["trace", "verify", &name, "--digest", "0"])?;
    wants(code == Some(2) && said.contains("it is not the file of that run"), &said)
}

fn timeline(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("timeline");
    let options = ["--copies", "2", "--timeline", &file.display().to_string()];
    bench.in_tree("shell", ["dash", "-c", PROGRAM]).options(options).run()?.exits(0)?;
    let text = fs::read(&file).map_err(|error| error.to_string())?;
    let picture: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let events = picture["traceEvents"].as_array().ok_or("no events")?;
    // What the format asks of each kind (Trace Event Format, "Complete Events", "Instant Events", "Metadata Events").
    let good = |event: &Value| {
        let placed = event["name"].is_string() && event["pid"].is_u64();
        let timed = event["ts"].is_f64() && event["tid"].is_u64();
        match event["ph"].as_str() {
            Some("X") => placed && timed && event["dur"].as_f64().is_some_and(|dur| dur >= 0.0),
            Some("i") => placed && timed && matches!(event["s"].as_str(), Some("t" | "p")),
            Some("M") => placed && event["args"]["name"].is_string(),
            _ => false,
        }
    };
    if let Some(bad) = events.iter().find(|event| !good(event)) {
        return Err(format!("no event of the format: {bad}"));
    }
    for sandbox in [1, 2] {
        let of_sandbox = |event: &&Value| event["pid"].as_u64().is_some_and(|pid| pid / 100_000 == sandbox);
        let slices = events.iter().filter(of_sandbox).filter(|event| event["ph"] == "X");
        let names = events.iter().filter(of_sandbox).filter(|event| event["name"] == "process_name");
        let named: Vec<&str> = names.filter_map(|event| event["args"]["name"].as_str()).collect();
        wants(named.iter().any(|name| name.starts_with("dash -c echo one")), &format!("the program among {named:?}"))?;
        let processes: BTreeSet<u64> = slices.clone().filter_map(|slice| slice["pid"].as_u64()).collect();
        wants(processes.len() == 2, "two processes")?;
        let marked =
            |name: &str| events.iter().filter(of_sandbox).any(|event| event["ph"] == "i" && event["name"] == name);
        wants(marked("starts process 3") && marked("exited 3") && marked("executes dash"), "marks of processes")?;
        wants(slices.clone().any(|slice| slice["name"] == "openat"), "openat in each sandbox")?;
        let mut ends: BTreeMap<u64, f64> = BTreeMap::new();
        let mut sorted: Vec<&Value> = slices.collect();
        sorted.sort_by(|one, two| {
            one["ts"].as_f64().partial_cmp(&two["ts"].as_f64()).unwrap_or(std::cmp::Ordering::Equal)
        });
        for slice in sorted {
            let (start, length) = (slice["ts"].as_f64().unwrap_or(0.0), slice["dur"].as_f64().unwrap_or(0.0));
            let end = ends.entry(slice["tid"].as_u64().unwrap_or(0)).or_default();
            wants(*end <= start + 0.001, &format!("calls of a thread one after the other: {slice}"))?;
            *end = start + length;
        }
    }
    Ok(())
}

/// Three processes at a time, a file, and a moment.
const SMALL: &str = "busybox sleep 0.2 & busybox sleep 0.2 & wait; echo twelve bytes >/tmp/x";

fn replayed_under_limits(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let at = |name: &str| scratch.path().join(name).display().to_string();
    let [events, learned, report] = ["events", "learned.toml", "report.html"].map(at);
    let options = ["--events", &events, "--learn", &learned, "--report", &report];
    bench.busybox(&["sh", "-c", SMALL]).options(options).run()?.exits(0)?;
    let replay = |limits: &str| {
        let policy = at("limits.toml");
        fs::write(&policy, format!("version = 1\ndefault = \"allow\"\n{limits}")).map_err(|e| e.to_string())?;
        xtask(bench, &["replay", &events, "--policy", &policy])
    };
    let says = |(code, said): (Option<i32>, String), wanted: i32, words: &[&str]| {
        let missing = words.iter().find(|word| !said.contains(**word));
        wants(code == Some(wanted) && missing.is_none(), &format!("{said}, without {missing:?}"))
    };
    let wide = "[limits]\nprocesses = 4\nthreads = 4\nopen_files = 64\nbytes_written = 13\nwall = 100\ncpu = 100\ncalls_per_second = 1_000_000\n[[budget]]\ncalls = [\"wait4\"]\ncount = 100\n";
    let kept = [
        "threads 4: not reached, 3 at most",
        "processes 4: not reached as far as is known, 3 at most",
        "bytes_written 13: not reached as far as is known, 13 at most",
        "open_files 64: cannot be told",
        "cpu 100s: not reached: the run took",
        "calls_per_second 1000000: nothing would have waited",
        " 0 of them blocked",
    ];
    says(replay(wide)?, 0, &kept)?;
    let narrow = "[limits]\nprocesses = 2\nbytes_written = 12\nwall = \"100ms\"\ncalls_per_second = 20\n[[budget]]\ncalls = [\"wait4\"]\ncount = 0\n";
    let reached = [
        "processes 2: reached at ",
        "in sandbox 1: further ones fail with EAGAIN",
        "bytes_written 12: reached at",
        "wall 100ms: reached at",
        "calls would have waited, the first at ",
        "[errno EDQUOT, [[budget]] limits.toml:8]",
    ];
    says(replay(narrow)?, 1, &reached)?;
    let learned = fs::read_to_string(&learned).map_err(|e| e.to_string())?;
    let page = fs::read_to_string(&report).map_err(|e| e.to_string())?;
    let told = learned.contains("# processes = 6 # 3 was used")
        && page.contains("<code>threads</code></td><td class=\"n\">3</td>");
    if told { Ok(()) } else { Err(format!("learned: {learned}")) }
}

fn replayed(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events");
    run(bench, &file, &[])?.exits(0)?;
    let policy = |text: &str| -> Result<String, String> {
        let file = scratch.path().join("policy.toml");
        fs::write(&file, text).map_err(|error| error.to_string())?;
        Ok(file.display().to_string())
    };
    let replay = |policy: &str| xtask(bench, &["replay", &file.display().to_string(), "--policy", policy]);
    let (code, said) = replay(&policy("version = 1\ndefault = \"allow\"\n")?)?;
    wants(code == Some(0) && said.contains("calls, 0 of them blocked"), &said)?;
    let (code, said) =
        replay(&policy("version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"wait4\"]\naction = \"kill\"\n")?)?;
    let blocked =
        said.contains("first at ") && said.contains("wait4(") && said.contains("[kill, rule 1 policy.toml:3]");
    wants(code == Some(1) && blocked, &said)
}

fn dry_run(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let policy = scratch.path().join("policy.toml");
    fs::write(&policy, "version = 1\ndefault = \"kill\"\n").map_err(|error| error.to_string())?;
    let sandbox = bench.busybox(&["echo", "done"]).options(["--policy", &policy.display().to_string()]);
    sandbox.run()?.exits(120)?;
    let outcome = sandbox.options(["--dry-run"]).run()?;
    let judged = "write(1, \"done\\n\", 5) = 5 [not done: kill, default]";
    outcome.exits(0)?.prints("done\n")?.complains(judged)?.done()
}

fn learned(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let policy = scratch.path().join("learned.toml").display().to_string();
    let sandbox = |text: &str| bench.in_tree("shell", ["dash", "-c", text]);
    let outcome = sandbox(PROGRAM).options(["--learn", &policy]).run()?;
    outcome.exits(0)?.prints("one\n1\n")?.says("learned.toml: a policy that allows")?;
    let again = sandbox(PROGRAM).options(["--policy", &policy, "--stats"]).run()?;
    again.exits(0)?.prints("one\n1\n")?.says(" 0 denied, 0 killed")?;
    let more = sandbox("cd /tmp; echo $?").options(["--policy", &policy]).run()?;
    more.exits(0)?.prints("2\n")?.complains("can't cd to /tmp")?.done()
}

fn report(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let (page, policy) = (scratch.path().join("page.html"), scratch.path().join("policy.toml"));
    let rule = "[[rule]]\ncalls = [\"chdir\"]\naction = { errno = \"EACCES\" }\nreason = \"stay\"\n";
    fs::write(&policy, format!("version = 1\ndefault = \"allow\"\n{rule}")).map_err(|error| error.to_string())?;
    let options = ["--policy", &policy.display().to_string(), "--report", &page.display().to_string()];
    let program = "echo x >'/tmp/<b>'; cd '/tmp/&'; /bin/true";
    bench.in_tree("shell", ["dash", "-c", program]).options(options).run()?.exits(0)?;
    let page = fs::read_to_string(&page).map_err(|error| error.to_string())?;
    let holds = |text: &str| wants(page.contains(text), &format!("a page with {text:?}"));
    holds("exited 0</span>")?;
    holds(
        "<code>chdir(&quot;/tmp/&amp;&quot;)</code></td><td><span class=\"badge bad\">errno</span><code class=\"effect\">= -1 EACCES</code></td><td>rule 1 policy.toml:3: stay",
    )?;
    holds("<code>/tmp/&lt;b&gt;</code></td><td><span class=\"badge warn\">create 1</span>")?;
    holds("<code>/bin/true</code></td><td><span class=\"badge \">execute 1</span>")?;
    holds("<code>/tmp/&lt;b&gt;</code></td><td class=\"n\">2 B</td><td><span class=\"badge warn\">create 1</span>")?;
    holds("<code title=\"/usr/bin/true\">/bin/true</code>")?;
    wants(
        !page.contains("<b>'") && !page.contains("<script") && !page.contains("src="),
        "nothing of the program's in the page itself",
    )
}

fn at_full_speed(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events").display().to_string();
    let spin = bench.busybox(&["sh", "-c", "while :; do umask 7; done"]).options(["--events", &file, "--timeout", "3"]);
    let outcome = spin.run()?;
    outcome.exits(124)?.says("timed out: the program was ended")?;
    let (code, said) = xtask(bench, &["trace", "verify", &file])?;
    wants(code == Some(0), &said)?;
    let events = read(Path::new(&file))?;
    let last = &events[events.len() - 2];
    wants(last["type"] == "exit" && last["outcome"] == "timed-out", "the exit after all calls")?;
    let calls = events.iter().filter(|event| event["type"] == "call").count();
    wants(last["figures"]["calls"] == calls && calls > 100, "each call that was judged")
}

fn stopped(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let at = |name: &str| scratch.path().join(name).display().to_string();
    let (events, page, timeline) = (at("events"), at("page"), at("timeline"));
    let mut run = Command::new(&bench.setup.xtask)
        .args(["run", "--no-build", "--events", &events, "--report", &page, "--timeline", &timeline, "--"])
        .arg(&bench.setup.busybox)
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let start = Instant::now();
    let sleeps = || fs::read_to_string(&events).is_ok_and(|text| text.contains("clock_nanosleep"));
    while !sleeps() && start.elapsed() < Duration::from_secs(100) {
        thread::sleep(Duration::from_millis(50));
    }
    let kill = Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status();
    kill.map_err(|error| error.to_string())?;
    let code = wait(&mut run, Duration::from_secs(60))?;
    wants(code == 130, &format!("exit code 130, not {code}"))?;
    let (code, said) = xtask(bench, &["trace", "verify", &events])?;
    wants(code == Some(2) && said.contains("it ends before the run did"), &said)?;
    let picture = fs::read(&timeline).map_err(|error| error.to_string())?;
    wants(serde_json::from_slice::<Value>(&picture).is_ok(), "a whole timeline")?;
    let page = fs::read_to_string(&page).map_err(|error| error.to_string())?;
    wants(
        page.contains("no end was told") && page.contains("<code>clock_nanosleep</code>"),
        "a report of what there was",
    )
}
