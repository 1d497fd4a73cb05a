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
    ]
}

/// Calls at full speed.
const FLOOD: &str = "while :; do umask 7; done";

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

    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// The file of what was read, once that is all.
    fn file(self) -> Result<PathBuf, String> {
        self.open();
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
    let mut run = Command::new(&bench.setup.xtask);
    run.args(["run", "--no-build"]).args(words).arg(&bench.setup.busybox).args(["sh", "-c", FLOOD]);
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

/// The log holds what it should, by its hashes and by the root's count. The number of calls that were judged, and of those that are told.
fn verified(bench: &Bench<'_>, reader: Reader, says: &str) -> Result<(u64, u64), String> {
    let file = reader.file()?;
    let events = super::events::read(&file)?;
    let (code, said) = xtask(bench, &["trace", "verify", &file.display().to_string()])?;
    wants(code == Some(0) && said.contains(says), &format!("{says:?} in {said:?}"))?;
    let exit = events.iter().find(|event| event["type"] == "exit").ok_or("no exit")?;
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
    let reader = Reader::new(scratch.path(), 4096)?;
    let (events, policy) = (reader.path.display().to_string(), policy(scratch.path(), DROP)?);
    let mut run = start(bench, &["--events", &events, "--timeout", "4", "--policy", &policy])?;
    let code = wait(&mut run, Duration::from_secs(100))?;
    let said = output(&mut run);
    wants(code == 124 && said.contains("events are missing, as the policy would have it: "), &said)?;
    let (judged, told) = verified(bench, reader, "none changed, ")?;
    wants(judged > 2 * told && told > 20, &format!("most calls missing, not {told} of {judged} told"))
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
            start(bench, &["--events", &events, "--policy", &policy, "--timeout", "30", "--beside", &beside])?;
        let mut stdout = run.stdout.take().ok_or("no output")?;
        let start = Instant::now();
        let mut line = [0; 64];
        let got = stdout.read(&mut line).map_err(|error| error.to_string())?;
        let (took, line) = (start.elapsed(), String::from_utf8_lossy(&line[..got]).into_owned());
        interrupt(&mut run)?;
        wants(
            line == "[2] here 40\n" && took < Duration::from_secs(20),
            &format!("its line, not {line:?} after {took:?}"),
        )?;
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
    let mut run = start(bench, &["--events", &events, "--policy", &path, "--watch-policy", "--timeout", "100"])?;
    thread::sleep(Duration::from_secs(4));
    policy(scratch.path(), &format!("{DROP}[[rule]]\ncalls = [\"umask\"]\naction = \"kill\"\n"))?;
    // The program ends by the new policy while nobody reads; the run, once somebody does.
    thread::sleep(Duration::from_secs(14));
    wants(run.try_wait().map_err(|error| error.to_string())?.is_none(), "a run that waits for its events to be read")?;
    reader.open();
    let code = wait(&mut run, Duration::from_secs(60))?;
    wants(code == 120, &format!("exit code 120, not {code}: {}", output(&mut run)))?;
    verified(bench, reader, "none changed, ").map(|_| ())
}
