//! Rules that ask: what is answered is done, and everybody else goes on meanwhile.
use super::denials::with_policy;
use crate::sandbox::wait;
use crate::{Bench, Case, Sandbox, Verdict};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

/// Longest time for the end of a program that has said its last.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks about every directory that is made in /tmp.
const ASK: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"mkdir\"]
when = [{ arg = 0, path = \"/tmp/**\" }]
action = { ask = { limit = 60, otherwise = { errno = \"EACCES\" } } }
reason = \"why\"
";

/// The same with little patience.
const ASK_BRIEFLY: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"mkdir\"]
when = [{ arg = 0, path = \"/tmp/**\" }]
action = { ask = { limit = 2, otherwise = { errno = \"EACCES\" } } }
";

/// Makes directories, and says what came of each: 0 or the error.
const MAKE: &str = "
import os, sys
def make(name):
    try: os.mkdir(name)
    except OSError as why: return why.errno
    return 0
print(*[make(name) for name in sys.argv[1:]])
";

/// Counts in one thread while the other makes a directory, whose name is another by the time of the answer.
const COUNT: &str = "
import ctypes, os, threading, time
name = ctypes.create_string_buffer(b'/tmp/good', 64)
libc = ctypes.CDLL(None, use_errno=True)
def make(): print('made', libc.syscall(83, name, 0o755), sorted(os.listdir('/tmp')), flush=True)
maker = threading.Thread(target=make)
maker.start()
time.sleep(0.3)
ctypes.memmove(name, b'/tmp/evil', 10)
for tick in range(5):
    for _ in range(100000): pass
    os.getppid()
print('counted', maker.is_alive(), flush=True)
maker.join()
";

/// Many threads at once, more than there can be questions.
const FLOOD: &str = "
import os, threading
def make(number): os.mkdir('/tmp/%d' % number)
threads = [threading.Thread(target=make, args=(n,)) for n in range(80)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(os.listdir('/tmp')))
";

/// A timer goes off again and again while somebody is asked; then a child that waits is ended.
const SIGNALS: &str = "
import os, signal, time
ticks = []
signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
try: os.mkdir('/tmp/a')
except OSError as why: print('failed', why.errno)
signal.setitimer(signal.ITIMER_REAL, 0)
print('ticked', len(ticks) > 0)
child = os.fork()
if child == 0:
    os.mkdir('/tmp/b')
    os._exit(1)
time.sleep(0.3)
before = time.monotonic()
os.kill(child, signal.SIGTERM)
print('ended', os.waitpid(child, 0)[1], time.monotonic() - before < 1)
";

/// Stands still where a directory is made.
const STOP: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"mkdir\"]
when = [{ arg = 0, path = \"/tmp/**\" }]
action = { stop = { limit = \"1m\" } }
reason = \"look\"
";

/// The longest time that a thread, which does nothing but look at the clock, has not run: while the other makes the directory that is named, or two
/// seconds if none is.
const GAPS: &str = "
import os, sys, threading, time
longest, done = 0, False
def look():
    global longest
    last = time.monotonic()
    while not done:
        time.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
looker = threading.Thread(target=look)
looker.start()
time.sleep(0.2)
def make(name):
    try: os.mkdir(name)
    except OSError as why: return why.errno
    return 0
made = [make(name) for name in sys.argv[1:]] or time.sleep(2)
done = True
looker.join()
print(made, longest > 1.9)
";

/// Tests of it.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("asks: what is answered is done, once or always", once_and_always).needs("python"),
        Case::new("asks: without an answer the rule decides, and so does it where nobody is", nobody).needs("python"),
        Case::new("asks: an answer that ends the sandbox", kill).needs("python"),
        Case::new("asks: other threads and other sandboxes go on, and what was asked is what is done", meanwhile)
            .needs("python"),
        Case::new("asks: more questions than there can be come one after the other", flood).needs("python"),
        Case::new("asks: signals, and the end of a process and of the run", ends).needs("python"),
        Case::new("asks: somebody at the terminal", terminal),
        Case::new("asks: a sandbox stands still while others go on", standstill).needs("python"),
        Case::new("asks: what stands still at the terminal", standstill_on_terminal),
    ]
}

/// A run with questions: its policy, answers and events.
pub(super) struct Asking {
    policy: PathBuf,
    answers: PathBuf,
    pub(super) events: PathBuf,
    pub(super) remembered: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Asking {
    pub(super) fn new(bench: &Bench<'_>, policy: &str, answers: &str) -> Result<Self, String> {
        let scratch = bench.fixture.scratch()?;
        let at = |name: &str| scratch.path().join(name);
        let asking = Self {
            policy: at("policy.toml"),
            answers: at("answers"),
            events: at("events"),
            remembered: at("remembered.toml"),
            _scratch: scratch,
        };
        fs::write(&asking.policy, policy).map_err(text)?;
        fs::write(&asking.answers, answers).map_err(text)?;
        Ok(asking)
    }

    /// Somebody answers.
    pub(super) fn answered(&self, sandbox: Sandbox) -> Sandbox {
        under(sandbox, &self.policy).options([
            OsStr::new("--answers"),
            self.answers.as_os_str(),
            "--events".as_ref(),
            self.events.as_os_str(),
        ])
    }

    /// Adds an answer.
    pub(super) fn answer(&self, line: &str) -> Verdict {
        let file = OpenOptions::new().append(true).open(&self.answers);
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(text)
    }

    /// How often each of these is in a line of the events.
    pub(super) fn count<const N: usize>(&self, parts: [&str; N]) -> Result<[usize; N], String> {
        let events = fs::read_to_string(&self.events).map_err(text)?;
        Ok(parts.map(|part| events.lines().filter(|line| line.contains(part)).count()))
    }
}

pub(super) fn under(sandbox: Sandbox, policy: &Path) -> Sandbox {
    sandbox.options([OsStr::new("--policy"), policy.as_os_str()])
}

pub(super) fn text(error: std::io::Error) -> String {
    error.to_string()
}

pub(super) fn python(bench: &Bench<'_>, program: &str, arguments: &[&str]) -> Sandbox {
    let mut command = vec!["/usr/bin/python3", "-c", program];
    command.extend(arguments);
    bench.in_tree("python", command)
}

fn once_and_always(bench: &Bench<'_>) -> Verdict {
    let answers = "{\"question\": 1, \"answer\": \"allow\"}\n{\"question\": 2, \"answer\": \"deny\"}\n{\"question\": 3, \"answer\": \"deny\", \"always\": true}\n{\"question\": 5, \"answer\": \"allow\", \"always\": true}\n";
    let asking = Asking::new(bench, ASK, answers)?;
    let make = |names: &[&str]| python(bench, MAKE, names);
    let first = asking.answered(make(&["/tmp/a", "/tmp/b", "/tmp/c", "/tmp/c", "/tmp/d"]));
    let first = first.options([OsStr::new("--remember"), asking.remembered.as_os_str()]);
    first.run()?.exits(0)?.prints("0 13 13 13 0\n")?.says("the policy of this run with 2 answers")?;
    let counts = asking.count([
        "\"type\":\"question\"",
        "\"by\":\"answer\",\"done\":\"allow\"",
        "\"by\":\"answer\",\"done\":\"errno EACCES\",\"value\":-13",
        "\"program\":{\"text\":\"/usr/bin/python3",
    ])?;
    if counts != [5, 2, 3, 5] {
        return Err(format!("questions and answers: {counts:?}"));
    }
    // What was remembered holds without anybody; all else is as before.
    let second = under(make(&["/tmp/c", "/tmp/d", "/tmp/e"]), &asking.remembered).run()?;
    second.exits(0)?.prints("13 0 13\n")?.says("nobody is there to be asked")?.done()
}

fn nobody(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, ASK_BRIEFLY, "nonsense\n")?;
    let outcome = asking.answered(python(bench, MAKE, &["/tmp/a"])).options(["--trace"]).run()?;
    outcome.exits(0)?.prints("13\n")?.says("line 1: expected")?;
    outcome.complains("<asked: 2 s, else errno EACCES> [rule 1 policy.toml:3]")?;
    outcome.complains("= -1 EACCES (Permission denied) [ask: no answer, errno EACCES, rule 1 policy.toml:3]")?;
    let alone = under(python(bench, MAKE, &["/tmp/a"]), &asking.policy).options(["--trace"]).run()?;
    alone.exits(0)?.prints("13\n")?.says("nobody is there to be asked")?;
    alone.complains("[ask: nobody there, errno EACCES, rule 1 policy.toml:3]")?;
    // A dry run asks nobody, and does it.
    let dry = under(python(bench, MAKE, &["/tmp/a"]), &asking.policy).options(["--dry-run"]).run()?;
    dry.exits(0)?.prints("0\n")?.complains("[not done: ask, rule 1 policy.toml:3]")?.done()
}

fn kill(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, ASK, "{\"question\": 1, \"answer\": \"kill\"}\n")?;
    let outcome = asking.answered(python(bench, MAKE, &["/tmp/a"])).run()?;
    outcome.exits(120)?.prints("")?.says("mkdir(\"/tmp/a\", 0777): rule 1 policy.toml:3: why")?.done()
}

fn meanwhile(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, ASK, "")?;
    let sandbox = asking.answered(python(bench, COUNT, &[]));
    let sandbox = sandbox.options(["--beside", "/usr/bin/python3 -c print(6*7)", "--timeout", "100"]);
    let (mut run, mut output) = start(&sandbox)?;
    let mut lines = vec![line(&mut output)?, line(&mut output)?];
    lines.sort();
    asking.answer("{\"question\": 1, \"answer\": \"allow\"}")?;
    lines.push(line(&mut output)?);
    let code = wait(&mut run, PATIENCE)?;
    let expected = ["[2] 42\n", "counted True\n", "made 0 ['good']\n"];
    if code == 0 && lines == expected { Ok(()) } else { Err(format!("exit code {code}, {lines:?}")) }
}

/// Starts it; its output can be read while it runs.
pub(super) fn start(sandbox: &Sandbox) -> Result<(Child, BufReader<ChildStdout>), String> {
    let mut run = sandbox.command_inside();
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut run = run.spawn().map_err(text)?;
    let output = BufReader::new(run.stdout.take().ok_or("no output")?);
    Ok((run, output))
}

pub(super) fn line(output: &mut impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    output.read_line(&mut line).map(|_| line).map_err(text)
}

fn flood(bench: &Bench<'_>) -> Verdict {
    let answers: String = (1..=80).map(|n| format!("{{\"question\": {n}, \"answer\": \"allow\"}}\n")).collect();
    let asking = Asking::new(bench, ASK, "")?;
    let (mut run, mut output) = start(&asking.answered(python(bench, FLOOD, &[])))?;
    // All that can be asked are, before the first is answered.
    let asked = || asking.count(["\"type\":\"question\""]).unwrap_or_default()[0];
    for _ in 0..600 {
        if asked() >= 32 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    let first = asked();
    File::create(&asking.answers).and_then(|mut file| file.write_all(answers.as_bytes())).map_err(text)?;
    let said = line(&mut output)?;
    let code = wait(&mut run, PATIENCE)?;
    let all = asked();
    if (first, all, code, said.as_str()) == (32, 80, 0, "80\n") {
        return Ok(());
    }
    Err(format!("{first} questions at once, {all} in all, exit code {code}, {said:?}"))
}

fn ends(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, ASK_BRIEFLY, "")?;
    let outcome = asking.answered(python(bench, SIGNALS, &[])).run()?;
    outcome.exits(0)?.prints("failed 13\nticked True\nended 15 True\n")?;
    let counts = asking.count(["\"type\":\"question\"", "\"by\":\"limit\"", "\"by\":\"end\""])?;
    if counts != [2, 1, 1] {
        return Err(format!("questions and how they were settled: {counts:?}"));
    }
    let asking = Asking::new(bench, ASK, "")?;
    let late = asking.answered(python(bench, MAKE, &["/tmp/a"])).options(["--timeout", "4"]).run()?;
    late.exits(124)?;
    let counts = asking.count(["\"type\":\"question\"", "\"by\":\"end\"", "\"outcome\":\"timed-out\""])?;
    if counts == [1; 3] { Ok(()) } else { Err(format!("a run that ends while somebody is asked: {counts:?}")) }
}

fn terminal(bench: &Bench<'_>) -> Verdict {
    let program = "busybox mkdir /tmp/a && echo one; busybox mkdir /tmp/b || echo two; read x; busybox mkdir /tmp/b || echo three $x; busybox mkdir /tmp/c";
    with_policy(bench, ASK, bench.busybox(&["sh", "-c", program]), |sandbox| {
        let (code, screen) = sandbox.read_on_terminal(&[
            ("question 1: ", "?\r"),
            ("a(llow)", ""),
            ("a(llow)", "a\r"),
            ("question 2: ", "D\r"),
            ("two", "words\r"),
            ("question 4: ", "k\r"),
        ])?;
        let wanted =
            ["one\r\n", "three words\r\n", "mkdir(\"/tmp/b\", 0777)", "by rule 1 policy.toml:3: why; within 60 s"];
        let is_there = wanted.iter().all(|part| screen.contains(part));
        if code == 120 && is_there { Ok(()) } else { Err(format!("{code}: {screen:?}")) }
    })
}

fn standstill(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, STOP, "")?;
    let beside = "/usr/bin/python3 -c '".to_owned() + &GAPS.replace('\'', "\"") + "'";
    let sandbox = asking.answered(python(bench, GAPS, &["/tmp/a", "/tmp/b"]));
    let (mut run, mut output) = start(&sandbox.options(["--timeout", "100", "--beside", &beside]))?;
    // The other one has had its two seconds by then.
    let mut lines = vec![line(&mut output)?];
    asking.answer("{\"question\": 1, \"answer\": \"continue\"}\n{\"question\": 2, \"answer\": \"deny\"}")?;
    lines.push(line(&mut output)?);
    let code = wait(&mut run, PATIENCE)?;
    if code != 0 || lines != ["[2] None False\n", "[0, 1] True\n"] {
        return Err(format!("exit code {code}, {lines:?}"));
    }
    let parts = ["\"type\":\"question\"", "\"registers\":{", "\"verdict\":\"stop\"", "\"rax\":\"0x53\""];
    let counts = asking.count(parts)?;
    if counts == [2; 4] { Ok(()) } else { Err(format!("{parts:?}: {counts:?}")) }
}

fn standstill_on_terminal(bench: &Bench<'_>) -> Verdict {
    let program = "busybox mkdir /tmp/a && echo one; busybox mkdir /tmp/b; echo two";
    with_policy(bench, STOP, bench.busybox(&["sh", "-c", program]), |sandbox| {
        let (code, screen) =
            sandbox.read_on_terminal(&[("question 1: ", "c\r"), ("one", ""), ("question 2: ", "k\r")])?;
        let wanted = ["sandbox 1 stands still; its thread 3 calls", "   rax 0000000000000053", "   rip ", "one\r\n"];
        if code == 120 && wanted.iter().all(|part| screen.contains(part)) {
            Ok(())
        } else {
            Err(format!("{code}: {screen:?}"))
        }
    })
}
