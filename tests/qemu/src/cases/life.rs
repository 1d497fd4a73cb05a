//! What policies do to a running sandbox beyond an error: ending a process, asking, another policy meanwhile.
use super::denials::with_policy;
use crate::sandbox::wait;
use crate::{Bench, Case, Sandbox};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Longest time for the end of a program that has said its last.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `refused.py` sets as a filter on plain Linux.
const REFUSED: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"prctl\"]
when = [{ arg = 0, op = \"==\", value = 22 }]
action = { fake = 0 }
[[rule]]
calls = [\"getppid\"]
action = { kill = \"process\" }
reason = \"no parents\"
[[rule]]
calls = [\"getpgid\"]
action = { kill = \"thread\" }
[[rule]]
calls = [\"getsid\"]
action = \"trap\"
";

/// Ends who asks for a session.
const NO_SESSIONS: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"getsid\"]
action = { kill = \"process\" }
reason = \"no sessions\"
";

/// Tests of it.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("life: who makes a refused call ends as under seccomp", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("refused.py")]);
            with_policy(bench, REFUSED, sandbox, |sandbox| sandbox.same_as_here())
        })
        .needs("python"),
        Case::new("life: another policy takes effect between two calls", change_while_running).needs("python"),
        Case::new("life: other rights on files take effect between two requests", rights_change_while_running)
            .needs("python"),
        Case::new("life: a shell goes on when its child is ended, and ends with its exit code", |bench| {
            let probe = bench.path_of_guest("probe");
            let script = format!("{probe} 124; echo $?; exec {probe} 124");
            with_policy(bench, NO_SESSIONS, bench.busybox(&["sh", "-c", &script, &probe]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome
                    .exits(159)?
                    .prints("159\n")?
                    .complains("Bad system call")?
                    .says("program ended by SIGSYS (getsid(0): rule 1 policy.toml:3: no sessions)")?
                    .done()
            })
        }),
    ]
}

/// Makes two calls until their answers change, and says what they were.
const LOOK_TWICE: &str = "
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
def asks():
    parent = libc.syscall(110)
    return ctypes.get_errno() if parent < 0 else parent
def opens():
    try: open('/forbidden')
    except OSError as why: return why.errno
first = asks()
print('before', first, opens(), flush=True)
while asks() == first: time.sleep(0.005)
print('after', {asks() for _ in range(1000)}, opens(), flush=True)
";

/// Opens two files until the second one can be opened; the first one is open all the time.
const OPEN_TWICE: &str = "
import time
held = open('/etc/passwd')
def opens(path):
    try: open(path)
    except OSError as why: return why.errno
    return 0
print('before', opens('/etc/passwd'), opens('/etc/group'), flush=True)
while opens('/etc/group'): time.sleep(0.005)
print('after', opens('/etc/passwd'), opens('/etc/group'), len(held.read()) > 0, flush=True)
";

/// The policy that holds first.
const OLD: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"getppid\"]
action = { errno = \"EACCES\" }
";

/// The one that takes its place, which looks at memory where the old one did not.
const NEW: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"getppid\"]
action = { fake = 4242 }
[[rule]]
calls = [\"openat\"]
when = [{ arg = 1, path = \"/forbidden\" }]
action = { errno = \"EXDEV\" }
";

/// Another policy while the program runs: from some call on it holds, and the old one never again.
fn change_while_running(bench: &Bench<'_>) -> crate::Verdict {
    let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", LOOK_TWICE]);
    let changed = Watched::start(bench, sandbox, OLD)?.change(&["version = 1\ndefault = \"deny\"\n", NEW])?;
    changed.says(&["before 13 2\n", ": `deny` is no action", "it is policy 2 now\n", "after {4242} 18\n"])?;
    check_generations(&changed.events)
}

/// Other rights on files while the program runs, and what is refused is told with the policy that it is by.
fn rights_change_while_running(bench: &Bench<'_>) -> crate::Verdict {
    let [old, new] = ["/etc/group", "/etc/passwd"].map(|path| {
        let rest = "[[files]]\ndefault = [\"read\", \"execute\", \"list\"]\n";
        format!("version = 1\ndefault = \"allow\"\n[[files]]\npaths = \"{path}\"\nrights = []\n{rest}")
    });
    let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", OPEN_TWICE]);
    let changed = Watched::start(bench, sandbox, &old)?.change(&[&new])?;
    changed.says(&["before 0 13\n", "it is policy 2 now\n", "after 13 0 True\n"])?;
    for (generation, refused) in [(1, "read \\\"/etc/group"), (2, "read \\\"/etc/passwd")] {
        let is_it = |line: &str| line.contains(refused) && line.contains(&format!("\"generation\":{generation},"));
        if !changed.events.lines().any(|line| line.contains("\"file-refused\"") && is_it(line)) {
            return Err(format!("no refusal of {refused} by policy {generation}"));
        }
    }
    Ok(())
}

/// A program that says a line, and another one after its policy has changed.
pub(super) struct Watched {
    run: Child,
    scratch: TempDir,
}

/// What came of it.
pub(super) struct Changed {
    /// The program's line, one of Cordon's for each change, the program's other line.
    lines: Vec<String>,
    code: i32,
    events: String,
}

impl Watched {
    /// Runs it under a first policy.
    pub(super) fn start(bench: &Bench<'_>, sandbox: Sandbox, first: &str) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let scratch = bench.fixture.scratch()?;
        let [policy, events] = ["policy.toml", "events"].map(|name| scratch.path().join(name));
        fs::write(&policy, first).map_err(text)?;
        let sandbox = sandbox.options([
            OsStr::new("--timeout"),
            "100".as_ref(),
            "--watch-policy".as_ref(),
            "--policy".as_ref(),
            policy.as_os_str(),
            "--events".as_ref(),
            events.as_os_str(),
        ]);
        let mut run = sandbox.command_inside();
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self { run: run.spawn().map_err(text)?, scratch })
    }

    /// Changes the policy, each time once something was said about the time before.
    pub(super) fn change(mut self, changes: &[&str]) -> Result<Changed, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut output = BufReader::new(self.run.stdout.take().ok_or("no output")?);
        let mut said = BufReader::new(self.run.stderr.take().ok_or("no messages")?);
        let read = |from: &mut dyn BufRead| {
            let mut line = String::new();
            from.read_line(&mut line).map(|_| line).map_err(text)
        };
        let mut lines = vec![read(&mut output)?];
        for change in changes {
            fs::write(self.scratch.path().join("policy.toml"), change).map_err(text)?;
            lines.push(read(&mut said)?);
        }
        lines.push(read(&mut output)?);
        let code = wait(&mut self.run, PATIENCE)?;
        let events = fs::read_to_string(self.scratch.path().join("events")).map_err(text)?;
        Ok(Changed { lines, code, events })
    }
}

impl Changed {
    /// Wants success, and these words in the lines.
    pub(super) fn says(&self, expected: &[&str]) -> crate::Verdict {
        let Self { lines, code, .. } = self;
        if *code != 0 || lines.iter().zip(expected).any(|(line, expected)| !line.contains(expected)) {
            return Err(format!("exit code {code}, {lines:?}"));
        }
        Ok(())
    }
}

/// Each call has the verdict of its policy, and none of the old one follows the change.
fn check_generations(events: &str) -> crate::Verdict {
    let mut generation = 1;
    let mut seen = [0; 2];
    for line in events.lines() {
        if line.contains("\"type\":\"policy\"") {
            generation += 1;
        }
        if !line.contains("\"name\":\"getppid\"") {
            continue;
        }
        let verdict = if generation == 1 { "errno" } else { "fake" };
        let all = [format!("\"generation\":{generation},"), format!("\"verdict\":\"{verdict}\"")];
        if generation > 2 || all.iter().any(|part| !line.contains(part)) {
            return Err(format!("under policy {generation}: {line}"));
        }
        seen[generation - 1] += 1;
    }
    if seen[0] > 0 && seen[1] >= 1000 { Ok(()) } else { Err(format!("calls under each policy: {seen:?}")) }
}
