//! One boot of the machine and the talk with its root: output, input, trace, and how it ended.
//!
//! Three threads beside the main one: one reads the root's frames and passes them on, one feeds standard input
//! against the root's wishes, one waits for signals. The main thread waits for the end, whichever way it comes,
//! and never longer than the time limit and some grace.
mod input;
mod reader;
mod to_root;

use super::diff::{Diffs, Missing};
use super::outputs::Outputs;
use super::report::say;
use super::terminal::Raw;
use super::watch::Watch;
use super::window;
use crate::cli::RunOptions;
use crate::events::{Asker, Observers, Patience, Way};
use crate::qemu;
use anyhow::{Context, Result, bail};
use control::{ExitReport, INITIAL_CREDIT, Outcome, kind};
use input::spawn_input;
use reader::{Reader, spawn_reader};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::fs::File;
use std::io::{self, IsTerminal, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
pub(super) use to_root::ToRoot;
use to_root::progress;

/// Time that the machine has to boot and the root to say that it is up.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// Time beyond the program's limit that the root has to end it, and to tell more of what it changed.
const GRACE: Duration = Duration::from_secs(10);
/// Time for which nobody may read the events before that is told; and, once no program runs any more, before it is waited no longer.
const UNREAD_TOLD: Duration = Duration::from_secs(10);
const UNREAD_LIMIT: Duration = Duration::from_secs(30);
/// Time that QEMU has to end after the report.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Time that the reader has to end after the machine.
const READER_LIMIT: Duration = Duration::from_secs(2);
/// Size that the output pipe is given, if the system allows it.
const PIPE_SIZE: usize = 1 << 20;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The root's reports, one for each sandbox that it told the end of.
    Reported(Vec<Option<ExitReport>>),
    /// QEMU ended without one.
    Lost {
        /// Its exit status.
        status: ExitStatus,
        /// Whether the root had said that it is up.
        root_was_up: bool,
    },
    /// The root did not obey its time limit, or never came up.
    Hung {
        /// Whether the root had said that it is up.
        root_was_up: bool,
    },
    /// All programs ended so, and nobody reads the events of it.
    Unread(Vec<Outcome>),
    /// A signal told us to stop.
    Interrupted(i32),
    /// Nobody reads standard output any more.
    OutputClosed,
    /// The frames make no sense.
    Protocol(String),
    /// What was to be written down of the run could not be.
    Unwritable(String),
}

/// How a session ended, and how long it took.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) end: End,
    /// From QEMU's start to its end.
    pub(crate) wall: Duration,
    /// From QEMU's start until the root was up.
    pub(crate) boot: Option<Duration>,
    /// Diffs that were asked for and are not there.
    pub(crate) missing: Vec<Missing>,
    /// What else could not be written, for the user.
    pub(crate) unwritten: Vec<String>,
}

/// A session to be.
#[derive(Debug)]
pub(crate) struct Session {
    timeout: Option<Duration>,
    sandboxes: usize,
    streams: Streams,
    observers: Observers,
    watch: Option<Watch>,
    asker: Asker,
    /// The file that answers come from.
    answers: Option<PathBuf>,
    diffs: Diffs,
    qemu_log: PathBuf,
    events: Sender<Event>,
    inbox: Receiver<Event>,
}

/// What the program is connected to.
#[derive(Debug)]
struct Streams {
    stdin: File,
    stdout: File,
    stderr: File,
    trace: File,
}

/// What the threads tell the main one.
#[derive(Debug)]
enum Event {
    RootUp,
    /// What a program changed is being told, or events are to be written.
    Telling,
    /// No program runs any more, and this is how they ended. There may be more to tell.
    Over(Vec<Outcome>),
    /// Something could not be written at the end, and this is why.
    Unwritten(String),
    Ended(End),
    Gone,
    Signal(i32),
}

impl Session {
    /// Opens the outputs and begins to watch for signals: one that comes now ends the session as soon as it runs.
    pub(crate) fn new(
        options: &RunOptions,
        directory: &Path,
        observers: Observers,
        watch: Option<Watch>,
        asker: Asker,
    ) -> Result<Self> {
        let trace = match &options.trace {
            Some(path) if path.as_os_str() != "-" => {
                File::create(path).with_context(|| format!("cannot write the trace {}", path.display()))?
            }
            _ => duplicate(io::stderr().as_fd())?,
        };
        let streams = Streams {
            stdin: duplicate(io::stdin().as_fd())?,
            stdout: duplicate(io::stdout().as_fd())?,
            stderr: duplicate(io::stderr().as_fd())?,
            trace,
        };
        let (events, inbox) = mpsc::channel();
        watch_signals(events.clone())?;
        Ok(Self {
            timeout: options.timeout.map(Duration::from_millis),
            sandboxes: options.sandboxes(),
            streams,
            observers,
            watch,
            answers: options.answers.clone().filter(|_| asker.way() == Way::File),
            asker,
            diffs: Diffs::new(options.diff.as_deref(), options.sandboxes())?,
            qemu_log: directory.join(qemu::QEMU_LOG),
            events,
            inbox,
        })
    }

    /// Starts QEMU and stays with it to its end.
    pub(crate) fn run(self, mut command: Command) -> Result<Ended> {
        let (output, output_end) = io::pipe().context("cannot make a pipe")?;
        let credit = enlarge(&output);
        let log = File::create(&self.qemu_log).context("cannot write QEMU's log")?;
        command
            .stdin(Stdio::piped())
            .stdout(output_end)
            .stderr(log)
            // Out of the terminal's process group: Ctrl-C is ours to handle.
            .process_group(0);
        let start = Instant::now();
        let child = command.spawn().context("cannot start QEMU")?;
        // The pipe's other end must not stay open here.
        drop(command);
        let mut machine = Running(child);
        let input = machine.0.stdin.take().context("QEMU has no input")?;

        let terminal = self.streams.stdin.is_terminal();
        let root = ToRoot::new(input);
        let to_root = root.clone();
        // A root that is gone asks no more.
        self.asker.connect(move |answer| drop(to_root.send(kind::ANSWER, &answer.encode())));
        let Streams { stdin, stdout, stderr, trace } = self.streams;
        let mut observers = self.observers;
        let mut seen = Seen { patience: observers.patience(), ..Seen::default() };
        observers.start(progress(root.clone(), self.events.clone()));
        let reader = Reader {
            outputs: Outputs::new(stdout, stderr, trace, self.sandboxes),
            observers,
            watch: self.watch,
            diffs: self.diffs.clone(),
            reports: vec![None; self.sandboxes],
            outcomes: vec![None; self.sandboxes],
            answers: self.answers.map(|path| (path, self.asker.clone())),
            wishes: spawn_input(stdin, root.clone(), self.events.clone(), self.asker),
            root: root.clone(),
            events: self.events,
            unreturned: credit,
        };
        spawn_reader(output, reader);
        let end = wait_for_end(&self.inbox, start, self.timeout, terminal.then_some(&root), &mut seen, &mut machine);
        drop(machine);
        if matches!(end, Ok(End::Interrupted(_) | End::Hung { .. } | End::Unread(_)))
            && !wait_for_reader(&self.inbox, &mut seen)
        {
            seen.patience.end();
            wait_for_reader(&self.inbox, &mut seen);
        }
        let missing = self.diffs.finish();
        Ok(Ended { end: end?, wall: start.elapsed(), boot: seen.boot, missing, unwritten: seen.unwritten })
    }
}

/// What is seen of a session before its end.
#[derive(Debug, Default)]
struct Seen {
    /// The wait for who reads the events.
    patience: Patience,
    /// How often he had taken some, and since when it is not more.
    unread: Option<(u64, Instant)>,
    /// That was told.
    told_unread: bool,
    /// How all programs ended, and when.
    over: Option<(Vec<Outcome>, Instant)>,
    /// From QEMU's start until the root was up.
    boot: Option<Duration>,
    /// What could not be written, for the user.
    unwritten: Vec<String>,
}

/// QEMU while it runs: killed when this goes, however it goes.
struct Running(Child);

impl Running {
    /// Waits for QEMU's own end for a limited time, then ends it.
    fn finish(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + END_LIMIT;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.0.kill()?;
                return Ok(self.0.wait()?);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Failure means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the first event that ends the session.
fn wait_for_end(
    inbox: &Receiver<Event>,
    start: Instant,
    timeout: Option<Duration>,
    terminal: Option<&ToRoot>,
    seen: &mut Seen,
    machine: &mut Running,
) -> Result<End> {
    let mut deadline = Some(start + BOOT_LIMIT);
    // Until the root is up, Ctrl-C is nobody's but ours.
    let mut _raw = None;
    loop {
        let event = match deadline.into_iter().chain(seen.patient_until()).min() {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::RootUp) => {
                seen.boot = Some(start.elapsed());
                _raw = terminal.and_then(|_| Raw::enter());
                deadline = timeout.map(|limit| Instant::now() + limit + GRACE);
            }
            // The limit was the program's.
            Ok(Event::Telling) => {
                deadline = deadline.map(|at| at.max(Instant::now() + GRACE));
                seen.look_at_reader();
            }
            Ok(Event::Over(outcomes)) => seen.over = Some((outcomes, Instant::now())),
            Ok(Event::Unwritten(complaint)) => seen.unwritten.push(complaint),
            Ok(Event::Ended(end)) => {
                if matches!(end, End::Reported(_)) {
                    machine.finish()?;
                }
                return Ok(end);
            }
            Ok(Event::Gone) => {
                return Ok(End::Lost { status: machine.finish()?, root_was_up: seen.boot.is_some() });
            }
            Ok(Event::Signal(SIGWINCH)) => {
                if let (Some(root), true) = (terminal, seen.boot.is_some()) {
                    let size: Vec<u8> = window().into_iter().flat_map(u16::to_le_bytes).collect();
                    // A root that is gone shows no window.
                    let _ = root.send(kind::WINDOW, &size);
                }
            }
            Ok(Event::Signal(signal)) => return Ok(End::Interrupted(signal)),
            Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|at| at <= Instant::now()) => {
                return Ok(End::Hung { root_was_up: seen.boot.is_some() });
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(outcomes) = seen.unread_to_the_end() {
                    return Ok(End::Unread(outcomes));
                }
            }
            Err(RecvTimeoutError::Disconnected) => bail!("all threads of the session ended"),
        }
    }
}

impl Seen {
    /// Looks whether somebody reads the events, and says it once if nobody does.
    fn look_at_reader(&mut self) {
        let now = Instant::now();
        let same = |taken: u64| self.unread.filter(|(before, _)| *before == taken).unwrap_or((taken, now));
        self.unread = self.patience.waits().map(same);
        if self.unread.is_some_and(|(_, since)| now.duration_since(since) >= UNREAD_TOLD) && !self.told_unread {
            self.told_unread = true;
            say(&format!("nobody has read the events for {} s; the run waits for that", UNREAD_TOLD.as_secs()));
        }
    }

    /// Until when it is waited for who reads the events: for ever while a program runs.
    fn patient_until(&self) -> Option<Instant> {
        let ((_, since), (_, over)) = self.unread.zip(self.over.as_ref())?;
        Some(since.max(*over) + UNREAD_LIMIT)
    }

    /// How the programs ended, if it was waited long enough since.
    fn unread_to_the_end(&mut self) -> Option<Vec<Outcome>> {
        self.look_at_reader();
        self.patient_until().filter(|until| *until <= Instant::now())?;
        self.over.take().map(|(outcomes, _)| outcomes)
    }
}

/// Gives the reader, whose stream has ended with the machine, time to write down what it has seen. It may hang at an output that nobody
/// takes. False: it does.
fn wait_for_reader(inbox: &Receiver<Event>, seen: &mut Seen) -> bool {
    let deadline = Instant::now() + READER_LIMIT;
    while let Ok(event) = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        match event {
            Event::Gone | Event::Ended(_) => return true,
            Event::Unwritten(complaint) => seen.unwritten.push(complaint),
            Event::RootUp | Event::Telling | Event::Over(_) | Event::Signal(_) => {}
        }
    }
    false
}

/// Makes the output pipe larger if the system allows it, and says how much the root may have on its way.
///
/// The kernel keeps a pipe's bytes in pages and does not fill each, so half of the size is what it surely holds.
fn enlarge(pipe: &PipeReader) -> u32 {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_SIZE);
    let size = rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(0);
    u32::try_from(size / 2).unwrap_or(u32::MAX).saturating_sub(INITIAL_CREDIT)
}

/// A second handle of one of our streams, without the buffering of the standard library's own.
fn duplicate(stream: BorrowedFd<'_>) -> Result<File> {
    Ok(File::from(stream.try_clone_to_owned().context("cannot duplicate a stream")?))
}

/// Turns signals into events.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH]).context("cannot watch for signals")?;
    thread::spawn(move || {
        for signal in &mut signals {
            if events.send(Event::Signal(signal)).is_err() {
                break;
            }
        }
    });
    Ok(())
}
#[cfg(test)]
mod tests {
    use super::*;
    use control::{FrameHeader, RunStats};
    use std::fs;
    use zerocopy::IntoBytes;

    fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
        frame_of(0, kind, payload)
    }

    fn frame_of(sandbox: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader::new(kind, sandbox, payload.len()).unwrap();
        [header.as_bytes(), payload].concat()
    }

    fn exit_frame(sandbox: u16, status: u8) -> Vec<u8> {
        let report = ExitReport { outcome: Outcome::Exited { status }, stats: RunStats::default() };
        frame_of(sandbox, kind::EXIT, &report.encode().unwrap())
    }

    /// A session with a shell script in the machine's place, which finds `frames` in the file `$1`. Returns the end
    /// and what came out on standard output and error.
    fn with_script(script: &str, frames: &[u8], input: &[u8]) -> (Ended, Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("frames"), frames).unwrap();
        fs::write(at("in"), input).unwrap();
        let create = |name: &str| File::create(at(name)).unwrap();
        let (events, inbox) = mpsc::channel();
        let session = Session {
            observers: Observers::nobody(2),
            watch: None,
            asker: Asker::new(Way::Nobody),
            answers: None,
            diffs: Diffs::new(None, 2).unwrap(),
            events,
            inbox,
            timeout: None,
            sandboxes: 2,
            streams: Streams {
                stdin: File::open(at("in")).unwrap(),
                stdout: create("out"),
                stderr: create("err"),
                trace: create("trace"),
            },
            qemu_log: at("qemu.log"),
        };
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(at("frames"));
        let ended = session.run(command).unwrap();
        (ended, fs::read(at("out")).unwrap(), fs::read(at("err")).unwrap())
    }

    #[test]
    fn streams_stay_apart_and_the_report_ends_it() {
        let frames = [
            frame(kind::HELLO, b"1"),
            frame(kind::STDOUT, b"out"),
            frame(kind::STDERR, b"err\n"),
            frame_of(1, kind::STDOUT, b"other"),
            exit_frame(1, 0),
            frame(kind::LOG, b"careful"),
            exit_frame(0, 3),
            frame(kind::END, b""),
        ]
        .concat();
        let (ended, out, err) = with_script("cat $1", &frames, b"");
        let End::Reported(reports) = &ended.end else { panic!("{ended:?}") };
        let status = |report: &Option<ExitReport>| report.as_ref().map(|report| report.outcome.clone());
        let ends = [3, 0].map(|status| Some(Outcome::Exited { status }));
        assert_eq!(reports.iter().map(status).collect::<Vec<_>>(), ends);
        assert!(ended.boot.is_some());
        assert_eq!((out.as_slice(), err.as_slice()), (&b"out[2] other\n"[..], &b"err\ncordon: careful\n"[..]));
    }

    #[test]
    fn input_is_sent_as_far_as_it_is_wanted() {
        // Credit comes first: 12 bytes; then the input that was asked for comes back as output: it is a frame already.
        let wish = frame(kind::STDIN_WANT, &5u32.to_le_bytes());
        let script = "head -c 12 >/dev/null; cat $1; head -c 13 | { head -c 8 >/dev/null; \
                      printf '\\002\\000\\000\\000\\005\\000\\000\\000'; cat; }";
        let (_, out, _) = with_script(script, &wish, b"hello world");
        assert_eq!(out, b"hello");
    }

    #[test]
    fn nonsense_and_silence_are_told_apart() {
        let end = |script: &str, frames: &[u8]| with_script(script, frames, b"").0.end;
        assert!(matches!(end("cat $1", &frame(99, b"")), End::Protocol(_)));
        assert!(matches!(end("cat $1", &[0xff; 8]), End::Protocol(_)));
        assert!(matches!(end("cat $1", &frame_of(2, kind::STDOUT, b"x")), End::Protocol(_)));
        assert!(matches!(end("cat $1", &frame(kind::EXIT, b"")), End::Protocol(_)));
        let lost = end("exit 37", b"");
        let End::Lost { status, root_was_up: false } = lost else {
            panic!("{lost:?}");
        };
        assert_eq!(status.code(), Some(37));
    }
}
