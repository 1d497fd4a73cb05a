//! Events that are read more slowly than they are made: what the policy chooses, and what may not suffer by it.
use super::events::{wants, xtask};
use crate::sandbox::wait;
use crate::{Bench, Case, Verdict};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Tests of slow readers.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("slow events: a program waits for a slow reader, and nothing is missing", slow),
        Case::new("slow events: what is dropped is told, and the program does not wait", dropped),
        Case::new("slow events: a neighbour goes on while nobody reads", neighbour),
        Case::new("slow events: Ctrl-C and another policy while nobody reads", control),
        Case::new("slow events: an answer gets through to a program that makes calls at full speed", answered),
        Case::new("slow events: a run whose events nobody reads comes to its end, and says what is lost", unread),
    ]
}

/// Calls at full speed.
const FLOOD: &str = "while :; do umask 7; done";

/// Calls at full speed, until somebody has answered.
const FLOOD_AND_ASK: &str = "(while :; do umask 7; done) & $0 mkdir /tmp/a; echo made $?; kill $!";

/// Asks about the directory.
const ASK: &str = "[[rule]]\ncalls = [\"mkdir\"]\naction = { ask = { limit = \"5m\" } }\n";

/// Most bytes of events that wait in the root, and most of its heap.
const MOST_WAITING: u64 = 128 << 10;
const MOST_HEAP: u64 = 4 << 20;

/// A FIFO in the place of a file of events, and who reads it.
struct Reader {
    path: PathBuf,
    copy: PathBuf,
    open: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Reader {
    /// Reads `bytes` each twentieth of a second, and the rest at once when it is opened.
    fn new(directory: &Path, bytes: usize) -> Result<Self, String> {
        let (path, copy) = (directory.join("fifo"), directory.join("events"));
        let made = Command::new("mkfifo").arg(&path).status().map_err(|error| error.to_string())?;
        wants(made.success(), "a FIFO")?;
        let open = Arc::new(AtomicBool::new(false));
        let (from, to, opened) = (path.clone(), copy.clone(), Arc::clone(&open));
        let thread = thread::spawn(move || {
            let mut from = File::open(from).map_err(|error| error.to_string())?;
            let mut to = File::create(to).map_err(|error| error.to_string())?;
            let mut buffer = vec![0; bytes.max(1 << 16)];
            loop {
                let is_open = opened.load(Ordering::Relaxed);
                let most = if is_open { buffer.len() } else { bytes };
                let got = if most == 0 {
                    None
                } else {
                    Some(from.read(&mut buffer[..most]).map_err(|error| error.to_string())?)
                };
                match got {
                    Some(0) => return Ok(()),
                    Some(got) => to.write_all(&buffer[..got]).map_err(|error| error.to_string())?,
                    None => {}
                }
                if !is_open {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Ok(Self { path, copy, open, thread })
    }

    /// Reads all at once from now on, or as little as it did.
    fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// The file of what was read, once that is all.
    fn file(self) -> Result<PathBuf, String> {
        self.set_open(true);
        self.thread.join().map_err(|_| "the reader panicked")??;
        Ok(self.copy)
    }
}

fn policy(directory: &Path, more: &str) -> Result<String, String> {
    let path = directory.join("policy.toml");
    fs::write(&path, format!("version = 1\ndefault = \"allow\"\n{more}")).map_err(|error| error.to_string())?;
    Ok(path.display().to_string())
}

const DROP: &str = "[events]\nwhen_full = \"drop\"\n";

/// `cargo xtask run` with these words, so that something can be done while it runs.
fn start(bench: &Bench<'_>, words: &[&str]) -> Result<Child, String> {
    start_shell(bench, words, FLOOD)
}

fn start_shell(bench: &Bench<'_>, words: &[&str], program: &str) -> Result<Child, String> {
    let mut run = Command::new(&bench.setup.xtask);
    run.args(["run", "--no-build"])
        .args(words)
        .arg(&bench.setup.busybox)
        .args(["sh", "-c", program])
        .arg(&bench.setup.busybox);
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())
}

fn output(run: &mut Child) -> String {
    let mut text = String::new();
    let streams: [Option<Box<dyn Read>>; 2] =
        [run.stdout.take().map(|stream| Box::new(stream) as _), run.stderr.take().map(|stream| Box::new(stream) as _)];
    for stream in streams.into_iter().flatten() {
        let mut stream = stream;
        let _ = stream.read_to_string(&mut text);
    }
    text
}

/// Reads standard error until this is said: what was said so far.
fn until_said(run: &mut Child, part: &str) -> Result<String, String> {
    let stderr = run.stderr.as_mut().ok_or("no standard error")?;
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(part) {
        let got = stderr.read(&mut byte).map_err(|error| error.to_string())?;
        wants(got == 1, &format!("{part:?}, not only {:?}", String::from_utf8_lossy(&said)))?;
        said.extend(byte);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Said when all is full that can be.
const STUCK: &str = "nobody has read the events for 10 s";

/// The log holds what it should, by its hashes and by the root's count. The number of calls that were judged, and of those that are told.
fn verified(bench: &Bench<'_>, reader: Reader, says: &str) -> Result<(u64, u64), String> {
    let file = reader.file()?;
    let events = super::events::read(&file)?;
    let (code, said) = xtask(bench, &["trace", "verify", &file.display().to_string()])?;
    wants(code == Some(0) && said.contains(says), &format!("{says:?} in {said:?}"))?;
    let exit = events.iter().find(|event| event["type"] == "exit").ok_or("no exit")?;
    let figure = |name: &str| exit["figures"][name].as_u64().unwrap_or(u64::MAX);
    let (waiting, heap) = (figure("most_waiting"), figure("root_heap_bytes"));
    wants(
        waiting <= MOST_WAITING && heap <= MOST_HEAP,
        &format!("a root with few events in it, not {waiting} bytes of them in a heap of {heap}"),
    )?;
    let told = events.iter().filter(|event| event["type"] == "call" && event["sandbox"] == exit["sandbox"]).count();
    Ok((exit["figures"]["calls"].as_u64().unwrap_or(0), told as u64))
}

fn slow(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let reader = Reader::new(scratch.path(), 4096)?;
    let events = reader.path.display().to_string();
    let mut run = start(bench, &["--events", &events, "--timeout", "4"])?;
    let code = wait(&mut run, Duration::from_secs(100))?;
    wants(code == 124, &format!("exit code 124, not {code}: {}", output(&mut run)))?;
    let (judged, told) = verified(bench, reader, "none missing or changed")?;
    // Eighty thousand bytes a second are some hundred calls; without a reader in the way it makes more than a thousand.
    wants(
        judged == told && (20..3000).contains(&told),
        &format!("as many calls as the reader takes, not {judged} and {told}"),
    )
}

fn dropped(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    // Less than is made on a slow machine.
    let reader = Reader::new(scratch.path(), 2048)?;
    let (events, policy) = (reader.path.display().to_string(), policy(scratch.path(), DROP)?);
    let mut run = start(bench, &["--events", &events, "--timeout", "6", "--policy", &policy])?;
    let code = wait(&mut run, Duration::from_secs(100))?;
    let said = output(&mut run);
    wants(code == 124 && said.contains("events are missing, as the policy would have it: "), &said)?;
    let (judged, told) = verified(bench, reader, "none changed, ")?;
    wants(judged > told && told > 20, &format!("calls missing, not {told} of {judged} told"))
}

/// Under either choice, a program beside the one that floods comes to its end, and its output with it.
fn neighbour(bench: &Bench<'_>) -> Verdict {
    for more in ["", DROP] {
        let scratch = bench.fixture.scratch()?;
        let reader = Reader::new(scratch.path(), 0)?;
        let (events, policy) = (reader.path.display().to_string(), policy(scratch.path(), more)?);
        let beside = format!(
            "{} sh -c 'n=0; while [ $n -lt 40 ]; do n=$((n+1)); umask 7; done; echo here $n'",
            bench.setup.busybox.display()
        );
        let mut run =
            start(bench, &["--events", &events, "--policy", &policy, "--timeout", "300", "--beside", &beside])?;
        let mut stdout = run.stdout.take().ok_or("no output")?;
        let mut line = [0; 64];
        let got = stdout.read(&mut line).map_err(|error| error.to_string())?;
        let line = String::from_utf8_lossy(&line[..got]).into_owned();
        // The other one would go on for minutes.
        interrupt(&mut run)?;
        wants(line == "[2] here 40\n", &format!("its line, not {line:?}"))?;
        // Stopped while nobody read: what was written is read, and has no end.
        let file = reader.file()?;
        let (code, said) = xtask(bench, &["trace", "verify", &file.display().to_string()])?;
        wants(code == Some(2), &said)?;
    }
    Ok(())
}

fn interrupt(run: &mut Child) -> Verdict {
    let kill = Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status();
    kill.map_err(|error| error.to_string())?;
    let start = Instant::now();
    let code = wait(run, Duration::from_secs(60))?;
    wants(code == 130 && start.elapsed() < Duration::from_secs(10), &format!("exit code 130 soon, not {code}"))
}

fn control(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let reader = Reader::new(scratch.path(), 0)?;
    let events = reader.path.display().to_string();
    let path = policy(scratch.path(), DROP)?;
    let mut run = start(bench, &["--events", &events, "--policy", &path, "--watch-policy", "--timeout", "300"])?;
    until_said(&mut run, STUCK)?;
    policy(scratch.path(), &format!("{DROP}[[rule]]\ncalls = [\"umask\"]\naction = \"kill\"\n"))?;
    // The program ends by the new policy while nobody reads; the run, once somebody does.
    until_said(&mut run, "it is policy 2 now")?;
    thread::sleep(Duration::from_secs(4));
    wants(run.try_wait().map_err(|error| error.to_string())?.is_none(), "a run that waits for its events to be read")?;
    reader.set_open(true);
    let code = wait(&mut run, Duration::from_secs(60))?;
    wants(code == 120, &format!("exit code 120, not {code}: {}", output(&mut run)))?;
    verified(bench, reader, "none changed, ").map(|_| ())
}

/// A run with a question, beside somebody who reads its events slowly or not at all.
struct Asked {
    run: Child,
    answers: PathBuf,
    report: PathBuf,
}

impl Asked {
    /// Starts it, and waits until the reader has the question.
    fn start(bench: &Bench<'_>, directory: &Path, reader: &Reader, more: &str) -> Result<Self, String> {
        let [answers, report] = ["answers", "report"].map(|name| directory.join(name));
        File::create(&answers).map_err(|error| error.to_string())?;
        let policy = policy(directory, &format!("{more}{ASK}"))?;
        let [events, given, page] = [&reader.path, &answers, &report].map(|path| path.display().to_string());
        let words = ["--events", &events, "--policy", &policy, "--answers", &given, "--report", &page];
        let run = start_shell(bench, &words, FLOOD_AND_ASK)?;
        let start = Instant::now();
        while !fs::read_to_string(&reader.copy).is_ok_and(|events| events.contains("\"type\":\"question\"")) {
            wants(start.elapsed() < Duration::from_secs(90), "a question")?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { run, answers, report })
    }

    /// Answers, and waits for what the program says then.
    fn allow(&mut self) -> Verdict {
        fs::write(&self.answers, "{\"question\": 1, \"answer\": \"allow\"}\n").map_err(|error| error.to_string())?;
        let mut line = [0; 64];
        let stdout = self.run.stdout.as_mut().ok_or("no output")?;
        let got = stdout.read(&mut line).map_err(|error| error.to_string())?;
        let line = String::from_utf8_lossy(&line[..got]);
        wants(line == "made 0\n", &format!("the directory, not {line:?}"))
    }
}

fn answered(bench: &Bench<'_>) -> Verdict {
    for more in ["", DROP] {
        let scratch = bench.fixture.scratch()?;
        let reader = Reader::new(scratch.path(), 4096)?;
        let mut asked = Asked::start(bench, scratch.path(), &reader, more)?;
        asked.allow()?;
        reader.set_open(true);
        let code = wait(&mut asked.run, Duration::from_secs(100))?;
        wants(code == 0, &format!("exit code 0, not {code}: {}", output(&mut asked.run)))?;
        verified(bench, reader, "none ")?;
    }
    Ok(())
}

fn unread(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let reader = Reader::new(scratch.path(), 0)?;
    reader.set_open(true);
    let mut asked = Asked::start(bench, scratch.path(), &reader, DROP)?;
    reader.set_open(false);
    until_said(&mut asked.run, STUCK)?;
    asked.allow()?;
    let code = wait(&mut asked.run, Duration::from_secs(100))?;
    let said = output(&mut asked.run);
    let lost = "nobody reads it, and the rest is lost";
    wants(code == 125 && said.contains(lost), &format!("{lost:?}, not {code} and {said:?}"))?;
    let page = fs::read_to_string(&asked.report).map_err(|error| error.to_string())?;
    wants(page.contains("mkdir"), "a report of what there is")?;
    let (code, said) = xtask(bench, &["trace", "verify", &reader.file()?.display().to_string()])?;
    wants(code == Some(2), &said)
}
