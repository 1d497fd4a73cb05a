//! `--timeline`: the run as a picture, for Perfetto (ui.perfetto.dev) and Chrome's about:tracing.
//!
//! The JSON form of the Trace Event Format: each process of a sandbox is one, by a number made of both ([`pid`]), named by what it executes; a
//! call is a slice from its verdict to its result, and what was denied, what changed of files and who was made is a mark beside it. What is
//! of a sandbox as a whole is of a process of its own.
use super::Observer;
use super::event::{Call, Event, Limit, Settled, Tainted, What};
use super::file_events::{FileChange, Refused};
use super::log::inert;
use super::process_events::{Ended, Executed, Started};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Calls under way that are remembered: those of a shim that never reports end with their sandbox.
const MAX_OPEN: usize = 1 << 16;

/// Threads whose process is remembered; others are shown as processes.
const MAX_THREADS: usize = 1 << 16;

/// The file, while it is written.
#[derive(Debug)]
pub(super) struct Timeline {
    path: PathBuf,
    file: BufWriter<File>,
    first: bool,
    /// It could not be written, which was told: there is none.
    failed: bool,
    /// By sandbox and number.
    open: BTreeMap<(u32, u64), Slice>,
    /// By sandbox and number: the process of threads that are not its first.
    threads: BTreeMap<(u32, u32), u32>,
}

/// Numbers of a sandbox in the picture.
const PROCESSES: u64 = 100_000;

/// The number of a process in the picture; 0: the sandbox itself. What a shim says of other processes than there can be stays its own affair.
fn pid(sandbox: u32, process: u32) -> u64 {
    u64::from(sandbox) * PROCESSES + u64::from(process) % PROCESSES
}

/// A call under way.
#[derive(Debug)]
struct Slice {
    ns: u64,
    pid: u64,
    call: Call,
}

impl Observer for Timeline {
    fn add(&mut self, event: &Event) -> Result<()> {
        let (sandbox, ns) = (event.sandbox, event.ns);
        match &event.what {
            What::Start { program, .. } => {
                let name = format!("sandbox {sandbox}: {}", program.join(" "));
                self.name("process_name", (pid(sandbox, 0), 0), &name)
            }
            What::ProcessStarted(started) | What::ThreadStarted(started) => self.started(sandbox, ns, started),
            What::Executed(executed) => self.executed(sandbox, ns, executed),
            What::ProcessEnded(ended) | What::ThreadEnded(ended) => self.ended(sandbox, ns, ended),
            What::Call(call) => self.call(sandbox, ns, call),
            What::Result { call, value, errno, .. } => match self.open.remove(&(sandbox, *call)) {
                Some(slice) => self.slice(&slice, ns, json!({"value": value, "errno": errno})),
                None => Ok(()),
            },
            What::Fault { thread, vector, rip, .. } => {
                let at = String::from(*rip);
                self.mark("fault", (sandbox, Some(*thread), ns), &format!("exception {vector}"), json!({"rip": at}))
            }
            What::FileRefused(Refused { thread, text, errno, rule, .. }) => {
                self.mark("verdict", (sandbox, Some(*thread), ns), text, json!({"errno": errno, "rule": rule}))
            }
            What::FileChanged(FileChange { thread, path, text, .. }) => {
                self.mark("file", (sandbox, Some(*thread), ns), text, json!({"path": path.shown()}))
            }
            What::Dropped(dropped) => {
                self.mark("dropped", (sandbox, None, ns), &dropped.text, json!({"since_ns": dropped.since_ns}))
            }
            What::Taint(Tainted { thread, text, rule, .. }) => {
                self.mark("verdict", (sandbox, Some(*thread), ns), text, json!({"rule": rule}))
            }
            What::Limit(Limit { thread, text, amount, rule, .. }) => {
                self.mark("limit", (sandbox, Some(*thread), ns), text, json!({"amount": amount, "rule": rule}))
            }
            // The call has its mark already.
            What::Question(_) => Ok(()),
            What::Settled(settled) => self.settled(sandbox, ns, settled),
            What::Exit { outcome, status, reason, .. } => {
                self.close_all(sandbox, ns)?;
                let arguments = json!({"status": status, "reason": reason});
                self.mark("exit", (sandbox, None, ns), outcome, arguments)
            }
            What::Policy { generation, policy, policy_sha256 } => {
                let arguments = json!({"policy": policy, "sha256": policy_sha256});
                self.mark("policy", (sandbox, None, ns), &format!("policy {generation}"), arguments)
            }
            What::FileGranted(_) | What::End { .. } => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.failed {
            return Ok(());
        }
        self.put(b"\n]}\n")?;
        let flushed = self.file.flush();
        self.check(flushed)
    }
}

impl Timeline {
    /// A new file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write the timeline {}", path.display()))?;
        let mut timeline = Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            first: true,
            failed: false,
            open: BTreeMap::new(),
            threads: BTreeMap::new(),
        };
        timeline.put(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        Ok(timeline)
    }

    fn call(&mut self, sandbox: u32, ns: u64, call: &Call) -> Result<()> {
        if call.verdict != "allow" {
            let name = format!("{}: {}", call.verdict, call.title());
            let arguments = json!({"call": call.text, "rule": call.rule});
            self.mark("verdict", (sandbox, Some(call.thread), ns), &name, arguments)?;
        }
        let slice = Slice { ns, pid: self.place(sandbox, call.thread), call: call.clone() };
        match call.call {
            Some(number) if self.open.len() < MAX_OPEN => {
                self.open.insert((sandbox, number), slice);
                Ok(())
            }
            _ => self.slice(&slice, ns, json!({"value": call.value})),
        }
    }

    fn settled(&mut self, sandbox: u32, ns: u64, settled: &Settled) -> Result<()> {
        let Some(slice) = self.open.get(&(sandbox, settled.call)) else { return Ok(()) };
        let (thread, name) = (slice.call.thread, format!("{}: {}", settled.done, slice.call.title()));
        let arguments = json!({"call": slice.call.text, "rule": slice.call.rule, "settled by": settled.by});
        self.mark("verdict", (sandbox, Some(thread), ns), &name, arguments)?;
        match self.open.remove(&(sandbox, settled.call)) {
            Some(slice) if settled.awaited => drop(self.open.insert((sandbox, settled.call), slice)),
            Some(slice) => self.slice(&slice, ns, json!({"value": settled.value}))?,
            None => {}
        }
        Ok(())
    }

    /// Calls that will not come back any more.
    fn close_all(&mut self, sandbox: u32, ns: u64) -> Result<()> {
        let mut theirs = self.open.split_off(&(sandbox, 0));
        let mut others = theirs.split_off(&(sandbox + 1, 0));
        self.open.append(&mut others);
        theirs.values().try_for_each(|slice| self.slice(slice, ns, json!({"unfinished": true})))
    }

    fn slice(&mut self, slice: &Slice, end: u64, mut arguments: Value) -> Result<()> {
        let Slice { ns, pid, call } = slice;
        arguments["call"] = json!(call.text);
        arguments["verdict"] = json!(call.verdict);
        arguments["rule"] = json!(call.rule);
        self.write(&json!({
            "name": call.title(), "cat": "call", "ph": "X", "pid": pid, "tid": call.thread, "ts": micros(*ns),
            "dur": micros(end.saturating_sub(*ns)), "args": arguments,
        }))
    }

    fn started(&mut self, sandbox: u32, ns: u64, started: &Started) -> Result<()> {
        let Started { process, thread, by, .. } = *started;
        if let Some(thread) = thread
            && self.threads.len() < MAX_THREADS
        {
            self.threads.insert((sandbox, thread), process);
        }
        let Some(by) = by else { return Ok(()) };
        let what =
            thread.map_or_else(|| format!("starts process {process}"), |thread| format!("starts thread {thread}"));
        self.mark("process", (sandbox, Some(by), ns), &what, json!({}))
    }

    fn executed(&mut self, sandbox: u32, ns: u64, executed: &Executed) -> Result<()> {
        let (at, text) = (pid(sandbox, executed.process), executed.text());
        self.name("process_name", (at, 0), &text)?;
        let path = executed.path.shown();
        let file = path.rsplit('/').next().unwrap_or(&path);
        self.name("thread_name", (at, executed.process), file)?;
        let arguments = json!({"path": path, "command": text});
        self.mark("process", (sandbox, Some(executed.process), ns), &format!("executes {file}"), arguments)
    }

    fn ended(&mut self, sandbox: u32, ns: u64, ended: &Ended) -> Result<()> {
        let thread = ended.thread.unwrap_or(ended.process);
        let marked = self.mark("process", (sandbox, Some(thread), ns), &ended.text(), json!({}));
        self.threads.remove(&(sandbox, thread));
        marked
    }

    fn name(&mut self, kind: &str, (pid, tid): (u64, u32), name: &str) -> Result<()> {
        self.write(&json!({"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}))
    }

    /// Where a thread of a sandbox is in the picture.
    fn place(&self, sandbox: u32, thread: u32) -> u64 {
        pid(sandbox, self.threads.get(&(sandbox, thread)).copied().unwrap_or(thread))
    }

    /// Something at one time, of a thread of a sandbox or of the whole.
    fn mark(
        &mut self,
        category: &str,
        (sandbox, thread, ns): (u32, Option<u32>, u64),
        name: &str,
        arguments: Value,
    ) -> Result<()> {
        let (scope, thread) = thread.map_or(("p", 0), |thread| ("t", thread));
        let pid = if scope == "p" { pid(sandbox, 0) } else { self.place(sandbox, thread) };
        self.write(&json!({
            "name": name, "cat": category, "ph": "i", "s": scope, "pid": pid, "tid": thread, "ts": micros(ns),
            "args": arguments,
        }))
    }

    fn write(&mut self, event: &Value) -> Result<()> {
        let separator: &[u8] = if std::mem::replace(&mut self.first, false) { b"\n" } else { b",\n" };
        self.put(separator)?;
        self.put(inert(event.to_string()).as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        self.check(written)
    }

    /// Half a picture is none: what cannot be written on is removed.
    fn check(&mut self, written: io::Result<()>) -> Result<()> {
        if written.is_err() {
            self.failed = true;
            if self.file.get_ref().metadata().is_ok_and(|metadata| metadata.is_file()) {
                // A file that stays has no end, and no reader takes it for whole.
                let _ = fs::remove_file(&self.path);
            }
        }
        written.with_context(|| format!("cannot write the timeline {}", self.path.display()))
    }
}

/// Microseconds, with a fraction: the format's unit.
fn micros(ns: u64) -> f64 {
    // Exact to a nanosecond for the first hundred days.
    ns as f64 / 1000.0
}
