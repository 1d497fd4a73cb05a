//! `--timeline`: the run as a picture, for Perfetto (ui.perfetto.dev) and Chrome's about:tracing.
//!
//! The JSON form of the Trace Event Format: a sandbox is a process, its threads are threads, a call is a slice from its verdict to its
//! result, and what was denied is a mark beside it.
use super::Observer;
use super::event::{Call, Event, Limit, Refused, Settled, Tainted, What};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Calls under way that are remembered: those of a shim that never reports end with their sandbox.
const MAX_OPEN: usize = 1 << 16;

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
}

/// A call under way.
#[derive(Debug)]
struct Slice {
    ns: u64,
    call: Call,
}

impl Observer for Timeline {
    fn add(&mut self, event: &Event) -> Result<()> {
        let (sandbox, ns) = (event.sandbox, event.ns);
        match &event.what {
            What::Start { program, .. } => {
                let name = format!("sandbox {sandbox}: {}", program.join(" "));
                self.write(&json!({"name": "process_name", "ph": "M", "pid": sandbox, "args": {"name": name}}))
            }
            What::Call(call) => self.call(sandbox, ns, call),
            What::Result { call, value, errno, .. } => match self.open.remove(&(sandbox, *call)) {
                Some(slice) => self.slice(sandbox, &slice, ns, json!({"value": value, "errno": errno})),
                None => Ok(()),
            },
            What::Fault { thread, vector, rip, .. } => {
                let at = String::from(*rip);
                self.mark(sandbox, ns, *thread, &format!("exception {vector}"), json!({"rip": at}))
            }
            What::FileRefused(Refused { thread, text, errno, rule, .. }) => {
                self.mark(sandbox, ns, *thread, text, json!({"errno": errno, "rule": rule}))
            }
            What::Taint(Tainted { thread, text, rule, .. }) => {
                self.mark(sandbox, ns, *thread, text, json!({"rule": rule}))
            }
            What::Limit(Limit { thread, text, amount, rule, .. }) => {
                self.mark(sandbox, ns, *thread, text, json!({"amount": amount, "rule": rule}))
            }
            // The call has its mark already.
            What::Question(_) => Ok(()),
            What::Settled(settled) => self.settled(sandbox, ns, settled),
            What::Exit { outcome, status, reason, .. } => {
                self.close_all(sandbox, ns)?;
                let arguments = json!({"status": status, "reason": reason});
                self.write(&json!({
                    "name": outcome, "cat": "exit", "ph": "i", "s": "p", "pid": sandbox, "tid": 0, "ts": micros(ns),
                    "args": arguments,
                }))
            }
            What::Policy { generation, policy, policy_sha256 } => self.write(&json!({
                "name": format!("policy {generation}"), "cat": "policy", "ph": "i", "s": "p", "pid": sandbox, "tid": 0, "ts": micros(ns),
                "args": {"policy": policy, "sha256": policy_sha256},
            })),
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
        };
        timeline.put(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        Ok(timeline)
    }

    fn call(&mut self, sandbox: u32, ns: u64, call: &Call) -> Result<()> {
        if call.verdict != "allow" {
            let name = format!("{}: {}", call.verdict, call.title());
            self.mark(sandbox, ns, call.thread, &name, json!({"call": call.text, "rule": call.rule}))?;
        }
        let slice = Slice { ns, call: call.clone() };
        match call.call {
            Some(number) if self.open.len() < MAX_OPEN => {
                self.open.insert((sandbox, number), slice);
                Ok(())
            }
            _ => self.slice(sandbox, &slice, ns, json!({"value": call.value})),
        }
    }

    fn settled(&mut self, sandbox: u32, ns: u64, settled: &Settled) -> Result<()> {
        let Some(slice) = self.open.get(&(sandbox, settled.call)) else { return Ok(()) };
        let (thread, name) = (slice.call.thread, format!("{}: {}", settled.done, slice.call.title()));
        let arguments = json!({"call": slice.call.text, "rule": slice.call.rule, "settled by": settled.by});
        self.mark(sandbox, ns, thread, &name, arguments)?;
        match self.open.remove(&(sandbox, settled.call)) {
            Some(slice) if settled.awaited => drop(self.open.insert((sandbox, settled.call), slice)),
            Some(slice) => self.slice(sandbox, &slice, ns, json!({"value": settled.value}))?,
            None => {}
        }
        Ok(())
    }

    /// Calls that will not come back any more.
    fn close_all(&mut self, sandbox: u32, ns: u64) -> Result<()> {
        let mut theirs = self.open.split_off(&(sandbox, 0));
        let mut others = theirs.split_off(&(sandbox + 1, 0));
        self.open.append(&mut others);
        theirs.values().try_for_each(|slice| self.slice(sandbox, slice, ns, json!({"unfinished": true})))
    }

    fn slice(&mut self, sandbox: u32, slice: &Slice, end: u64, mut arguments: Value) -> Result<()> {
        let Slice { ns, call } = slice;
        arguments["call"] = json!(call.text);
        arguments["verdict"] = json!(call.verdict);
        arguments["rule"] = json!(call.rule);
        self.write(&json!({
            "name": call.title(), "cat": "call", "ph": "X", "pid": sandbox, "tid": call.thread, "ts": micros(*ns),
            "dur": micros(end.saturating_sub(*ns)), "args": arguments,
        }))
    }

    fn mark(&mut self, sandbox: u32, ns: u64, thread: u32, name: &str, arguments: Value) -> Result<()> {
        self.write(&json!({
            "name": name, "cat": "verdict", "ph": "i", "s": "t", "pid": sandbox, "tid": thread, "ts": micros(ns),
            "args": arguments,
        }))
    }

    fn write(&mut self, event: &Value) -> Result<()> {
        let separator: &[u8] = if std::mem::replace(&mut self.first, false) { b"\n" } else { b",\n" };
        self.put(separator)?;
        self.put(event.to_string().as_bytes())
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
