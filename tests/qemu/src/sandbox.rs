//! Running one program: in a sandbox through `cargo xtask run`, or on plain Linux for comparison.
use crate::{Bench, LAYERS, Verdict, tree};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time that one run may take, in case `run` itself hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Longest time from a program's end to the end of its output.
const OUTPUT_LIMIT: Duration = Duration::from_secs(30);

/// Bytes of an output that are shown.
const SHOWN: usize = 600;

/// A program to run.
#[derive(Clone, Debug)]
pub struct Sandbox {
    xtask: PathBuf,
    /// Where images are kept.
    layers: PathBuf,
    command: Vec<OsString>,
    options: Vec<OsString>,
    directory: PathBuf,
    input: Vec<u8>,
    /// The tree of Debian's packages that the program is in, if it is in none of this machine's own files.
    root: Option<PathBuf>,
    limit: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code, as a shell shows it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, without the lines of Cordon itself.
    pub stderr: String,
    /// The lines of Cordon itself, without their prefix.
    pub said: Vec<String>,
}

impl Bench<'_> {
    /// A sandbox for this command.
    pub(crate) fn sandbox<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Sandbox {
        Sandbox {
            xtask: self.setup.xtask.clone(),
            layers: self.setup.layers.clone(),
            command: command.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            options: Vec::new(),
            directory: self.fixture.files(),
            input: Vec::new(),
            root: None,
            limit: LIMIT,
        }
    }

    /// A sandbox for a program of a tree of Debian's packages, which is all that it sees: /tmp is its working directory.
    pub(crate) fn in_tree<S: AsRef<OsStr>>(&self, tree: &str, command: impl IntoIterator<Item = S>) -> Sandbox {
        let root = self.setup.trees.join(tree);
        let options = [
            OsStr::new("--no-arg-files"),
            "--cwd".as_ref(),
            "/tmp".as_ref(),
            "--env".as_ref(),
            "LC_ALL=C.UTF-8".as_ref(),
        ];
        let mut sandbox = self.sandbox(command).options(options).layer(&root);
        sandbox.root = Some(root);
        sandbox
    }

    /// A guest program, for a command line.
    pub(crate) fn path_of_guest(&self, name: &str) -> String {
        self.fixture.guest(name)
    }

    /// The host's busybox, for a command line.
    pub(crate) fn path_of_busybox(&self) -> String {
        self.fixture.busybox()
    }

    /// A sandbox for busybox with these arguments.
    pub(crate) fn busybox(&self, arguments: &[&str]) -> Sandbox {
        let mut command = vec![self.fixture.busybox()];
        command.extend(arguments.iter().map(ToString::to_string));
        self.sandbox(command)
    }

    /// A sandbox for a guest program with these arguments.
    pub(crate) fn guest(&self, name: &str, arguments: &[&str]) -> Sandbox {
        let mut command = vec![self.fixture.guest(name)];
        command.extend(arguments.iter().map(ToString::to_string));
        self.sandbox(command)
    }
}

impl Sandbox {
    /// Adds options for `run`.
    pub(crate) fn options<S: AsRef<OsStr>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(options.into_iter().map(|o| o.as_ref().to_owned()));
        self
    }

    /// Adds a layer.
    pub(crate) fn layer(self, directory: &Path) -> Self {
        self.options([OsStr::new("--layer"), directory.as_os_str()])
    }

    /// Gives it this on standard input, then the end.
    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.input);
        self
    }

    /// Lets each run take this long.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it in a sandbox.
    pub(crate) fn run(&self) -> Result<Outcome, String> {
        self.finish(self.command_inside())
    }

    /// What runs it in a sandbox.
    pub(crate) fn command_inside(&self) -> Command {
        let mut command = Command::new(&self.xtask);
        command.env(LAYERS, &self.layers).args(["run", "--no-build"]).args(&self.options);
        command.arg("--").args(&self.command).current_dir(&self.directory);
        command
    }

    /// Runs it on this Linux.
    pub(crate) fn run_here(&self) -> Result<Outcome, String> {
        self.finish(self.command_here()?)
    }

    /// What runs it on this Linux.
    pub(crate) fn command_here(&self) -> Result<Command, String> {
        let (program, arguments) = self.command.split_first().ok_or("no program")?;
        let mut command = match &self.root {
            Some(root) => tree::enter(root)?,
            None => tree::with_default_signals(),
        };
        command.arg(program).args(arguments).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/tmp");
        for pair in self.options.windows(2).filter(|pair| pair[0] == "--env") {
            let pair = pair[1].to_string_lossy();
            if let Some((name, value)) = pair.split_once('=') {
                command.env(name, value);
            }
        }
        // A group of its own: whoever it leaves behind is found by it.
        command.current_dir(&self.directory).process_group(0);
        Ok(command)
    }

    /// Runs it both ways and wants the same output and exit code.
    pub(crate) fn same_as_here(&self) -> Verdict {
        self.same_as(&self.run_here()?).map(drop)
    }

    /// Runs it in a sandbox and wants what this command says on plain Linux; what it was.
    pub(crate) fn same_as_command(&self, command: Command) -> Result<Outcome, String> {
        self.same_as(&self.finish(command)?)
    }

    /// Runs it in a sandbox and wants the same output and exit code as `here`, on plain Linux; what it was.
    pub(crate) fn same_as(&self, here: &Outcome) -> Result<Outcome, String> {
        let inside = self.run()?;
        if (inside.code, &inside.stdout, &inside.stderr) == (here.code, &here.stdout, &here.stderr) {
            return Ok(inside);
        }
        let difference = first_difference(&inside.stdout, &here.stdout);
        Err(format!("in the sandbox: {inside}\non plain Linux: {here}{difference}"))
    }

    /// Starts `command`, feeds it, and waits for its end.
    pub(crate) fn finish(&self, mut command: Command) -> Result<Outcome, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?} cannot be started: {error}"))?;
        let feeder = feed(&mut child, self.input.clone());
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = wait(&mut child, self.limit);
        end_group(&child);
        let status = status?;
        let whole = |stream: Receiver<Vec<u8>>| {
            stream.recv_timeout(OUTPUT_LIMIT).map_err(|_| "its output stays open after its end".to_owned())
        };
        let (stdout, stderr) = (whole(stdout)?, whole(stderr)?);
        drop(feeder);
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let (said, own): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.starts_with("cordon: "));
        Ok(Outcome {
            code: status,
            stdout,
            stderr: own.join("\n"),
            said: said.iter().map(|line| line.trim_start_matches("cordon: ").to_owned()).collect(),
        })
    }
}

/// Writes the input in a thread: the program may end before it has read all.
fn feed(child: &mut Child, input: Vec<u8>) -> thread::JoinHandle<()> {
    let pipe = child.stdin.take();
    thread::spawn(move || {
        if let Some(mut pipe) = pipe {
            // A program that does not read it all is no failure of the test.
            let _ = pipe.write_all(&input);
        }
    })
}

/// Reads a stream to its end in a thread, and sends what was in it.
fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before an error is what there is.
            let _ = stream.read_to_end(&mut bytes);
        }
        // Nobody waits for a stream that ended too late.
        let _ = sender.send(bytes);
    });
    receiver
}

/// Ends what a program that led a process group has left behind in it: a child that is stopped would hold the output open for ever.
fn end_group(leader: &Child) {
    let group = i32::try_from(leader.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // There is no such group if it left nothing behind, or led none.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Waits for the end, but not for ever. Returns the exit code as a shell shows it.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<i32, String> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1));
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().map_err(|e| e.to_string())?;
    child.wait().map_err(|e| e.to_string())?;
    Err(format!("no end after {} s", limit.as_secs()))
}

/// The first line in which long outputs differ; nothing for short ones, which are shown whole.
pub(crate) fn first_difference(inside: &[u8], here: &[u8]) -> String {
    if inside == here || inside.len().max(here.len()) <= SHOWN {
        return String::new();
    }
    let lines = |bytes| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    let (inside, here) = (lines(inside), lines(here));
    let same = inside.iter().zip(&here).take_while(|(a, b)| a == b).count();
    let line = |lines: &[String]| lines.get(same).map_or("its end".to_owned(), |line| format!("{line:?}"));
    format!("\nfirst difference in line {}: {} for {}", same + 1, line(&inside), line(&here))
}

impl Outcome {
    /// Wants this exit code.
    pub(crate) fn exits(&self, code: i32) -> Result<&Self, String> {
        self.wants(self.code == code, &format!("exit code {code}"))
    }

    /// Wants this in standard output.
    pub(crate) fn prints_somewhere(&self, part: &str) -> Result<&Self, String> {
        self.wants(String::from_utf8_lossy(&self.stdout).contains(part), &format!("output with {part:?}"))
    }

    /// Wants exactly this on standard output.
    pub(crate) fn prints(&self, text: &str) -> Result<&Self, String> {
        self.wants(self.stdout == text.as_bytes(), &format!("output {text:?}"))
    }

    /// Wants exactly this on standard output, of the first sandbox and of those beside it.
    pub(crate) fn prints_by_sandbox(&self, texts: &[&str]) -> Result<&Self, String> {
        let stdout = String::from_utf8_lossy(&self.stdout);
        let mut own = vec![String::new(); texts.len()];
        for line in stdout.split_inclusive('\n') {
            let label = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
            let (number, text) = label.map_or((Ok(1), line), |(number, text)| (number.parse::<usize>(), text));
            let place = number.ok().and_then(|number| own.get_mut(number.checked_sub(1)?));
            place.ok_or_else(|| format!("a line of nobody: {line:?}"))?.push_str(text);
        }
        self.wants(own == texts, &format!("the sandboxes' outputs {texts:?}"))
    }

    /// Wants this somewhere in the program's own standard error.
    pub(crate) fn complains(&self, text: &str) -> Result<&Self, String> {
        self.wants(self.stderr.contains(text), &format!("standard error with {text:?}"))
    }

    /// Wants this somewhere in one of Cordon's own lines.
    pub(crate) fn says(&self, text: &str) -> Result<&Self, String> {
        let found = self.said.iter().any(|line| line.contains(text));
        self.wants(found, &format!("a line of Cordon's with {text:?}"))
    }

    /// Wants Cordon to say nothing at all.
    pub(crate) fn says_nothing(&self) -> Result<&Self, String> {
        self.wants(self.said.is_empty(), "no line of Cordon's")
    }

    /// Wants what `holds` stands for.
    pub(crate) fn wants(&self, holds: bool, what: &str) -> Result<&Self, String> {
        if holds { Ok(self) } else { Err(format!("wanted {what}; got {self}")) }
    }

    /// The end of a chain of wishes.
    pub(crate) fn done(&self) -> Verdict {
        Ok(())
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut stdout = String::from_utf8_lossy(&self.stdout).into_owned();
        if stdout.len() > SHOWN {
            stdout = format!("{:?}... ({} bytes)", stdout.chars().take(SHOWN).collect::<String>(), self.stdout.len());
        } else {
            stdout = format!("{stdout:?}");
        }
        let mut said = String::new();
        for line in &self.said {
            write!(said, "\n  {line}")?;
        }
        write!(f, "exit code {}, output {stdout}, standard error {:?}{said}", self.code, self.stderr)
    }
}
