//! `--report`: one page about a run: what ran, what it touched, what was denied and by which rule, where its calls went.
//!
//! Everything is counted as it happens; what could grow without end is bounded, and says so.
mod addresses;
mod changes;
mod files;
mod html;
mod processes;
mod questions;
mod rate;

use super::Observer;
use super::event::{Call, Event, Limit, Settled, Tainted, What};
use super::file_events::Refused;
use super::usage::Usage;
use crate::output;
use addresses::Addresses;
use anyhow::{Context, Result};
use changes::Changes;
use control::RunStats;
use files::Files;
use policy::quotas::Quotas;
use processes::Processes;
use questions::Questions;
use rate::Rate;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Denied calls that are shown one by one, and rules that are counted.
const MAX_DENIED: usize = 500;
/// Limits that are shown. There are eight for each sandbox and policy.
const MAX_LIMITS: usize = 500;
/// A call goes on by itself.
const EINPROGRESS: i64 = -115;
/// Calls under way that are remembered.
const MAX_OPEN: usize = 1 << 16;

/// A run, as far as it has been seen.
#[derive(Debug)]
pub(super) struct Report {
    path: PathBuf,
    policy: String,
    policy_sha256: String,
    /// The last policy that held.
    generation: u32,
    dry_run: bool,
    sandboxes: Vec<Sandbox>,
    kinds: BTreeMap<String, Kind>,
    denied: Vec<Denied>,
    denied_count: u64,
    /// How often each rule denied something, by rule and verdict.
    by_rule: BTreeMap<(String, String), u64>,
    /// Limits that were reached: when, in which sandbox.
    limits: Vec<(u64, u32, Limit)>,
    /// What the first policy grants, and what was used.
    granted: Quotas,
    usage: Usage,
    questions: Questions,
    calls: u64,
    faults: u64,
    /// Events that are missing.
    dropped: u64,
    files: Files,
    changes: Changes,
    addresses: Addresses,
    processes: Processes,
    rate: Rate,
    open: BTreeMap<(u32, u64), (u64, Call)>,
}

/// A sandbox, and how it ended.
#[derive(Debug, Default)]
struct Sandbox {
    program: String,
    outcome: String,
    figures: Option<RunStats>,
}

/// All calls of one name.
#[derive(Debug, Default)]
struct Kind {
    times: u64,
    failed: u64,
    denied: u64,
    ns: u64,
}

/// A call that was not carried out as it came.
#[derive(Debug)]
struct Denied {
    sandbox: u32,
    ns: u64,
    thread: u32,
    text: String,
    verdict: String,
    /// What it came to.
    effect: String,
    rule: String,
    ignored: bool,
}

impl Observer for Report {
    fn add(&mut self, event: &Event) -> Result<()> {
        self.usage.add(event);
        let (sandbox, ns) = (event.sandbox, event.ns);
        match &event.what {
            What::Start { program, policy, policy_sha256, dry_run } => {
                self.policy.clone_from(policy);
                self.policy_sha256.clone_from(policy_sha256);
                self.dry_run = *dry_run;
                self.sandboxes.push(Sandbox { program: program.join(" "), ..Sandbox::default() });
            }
            What::Call(call) => self.call(sandbox, ns, call),
            What::Result { call, value, .. } => {
                if let Some((start, call)) = self.open.remove(&(sandbox, *call)) {
                    self.returned(&call, Some(*value), ns.saturating_sub(start));
                }
            }
            What::Question(question) => self.questions.posed(sandbox, question),
            What::Settled(settled) => self.settled(sandbox, ns, settled),
            What::Fault { .. } => self.faults += 1,
            What::FileRefused(refused) => self.refused(sandbox, ns, refused),
            What::Taint(taint) => self.tainted(sandbox, ns, taint),
            What::Limit(limit) if self.limits.len() < MAX_LIMITS => self.limits.push((ns, sandbox, limit.clone())),
            What::Limit(_) => {}
            What::FileChanged(change) => self.changes.add(sandbox, change),
            What::ProcessStarted(started) | What::ThreadStarted(started) => {
                self.processes.started(sandbox, ns, started);
            }
            What::Executed(executed) => self.processes.executed(sandbox, ns, executed),
            What::ProcessEnded(ended) | What::ThreadEnded(ended) => self.processes.ended(sandbox, ns, ended),
            What::Dropped(dropped) => self.dropped = self.dropped.saturating_add(dropped.total()),
            What::Exit { outcome, status, reason, figures } => {
                let status = status.map_or(String::new(), |status| format!(" {status}"));
                let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
                let number = usize::try_from(sandbox).unwrap_or(0);
                if let Some(ended) = number.checked_sub(1).and_then(|index| self.sandboxes.get_mut(index)) {
                    ended.outcome = format!("{outcome}{status}{reason}");
                    ended.figures = Some(figures.clone());
                }
            }
            What::Policy { generation, .. } => self.generation = self.generation.max(*generation),
            What::FileGranted(_) | What::End { .. } => {}
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for (_, call) in std::mem::take(&mut self.open).into_values() {
            self.returned(&call, None, 0);
        }
        let page = html::page(&self);
        output::write(&self.path, &page).with_context(|| format!("cannot write the report {}", self.path.display()))?;
        eprintln!("cordon: {}: the report of this run", self.path.display());
        Ok(())
    }
}

impl Report {
    /// To be written to this file at the end of the run.
    pub(super) fn create(path: &Path, granted: &Quotas) -> Result<Self> {
        output::prepare(path).with_context(|| format!("cannot write the report {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            policy: String::new(),
            policy_sha256: String::new(),
            generation: 1,
            dry_run: false,
            sandboxes: Vec::new(),
            kinds: BTreeMap::new(),
            denied: Vec::new(),
            denied_count: 0,
            by_rule: BTreeMap::new(),
            limits: Vec::new(),
            granted: granted.clone(),
            usage: Usage::default(),
            questions: Questions::default(),
            calls: 0,
            faults: 0,
            dropped: 0,
            files: Files::default(),
            changes: Changes::default(),
            addresses: Addresses::default(),
            processes: Processes::default(),
            rate: Rate::default(),
            open: BTreeMap::new(),
        })
    }

    fn call(&mut self, sandbox: u32, ns: u64, call: &Call) {
        self.calls += 1;
        let denied = call.is_denied();
        self.rate.add(ns, denied);
        self.processes.call(sandbox, ns, call);
        let kind = self.kinds.entry(kind_of(call)).or_default();
        kind.times += 1;
        if denied {
            kind.denied += 1;
            let effect = if call.ignored { String::new() } else { call.effect() };
            let Call { thread, text, verdict, rule, ignored, .. } = call.clone();
            self.deny(Denied { sandbox, ns, thread, text, verdict, effect, rule, ignored });
        }
        match call.call {
            Some(number) if self.open.len() < MAX_OPEN => drop(self.open.insert((sandbox, number), (ns, call.clone()))),
            _ => self.returned(call, call.value, 0),
        }
    }

    fn settled(&mut self, sandbox: u32, ns: u64, settled: &Settled) {
        let Some((start, call)) = self.open.get(&(sandbox, settled.call)) else { return };
        self.questions.settled((sandbox, *start, ns), call, settled);
        if settled.awaited {
            return;
        }
        if let Some((start, call)) = self.open.remove(&(sandbox, settled.call)) {
            if settled.done != "allow" && settled.by != "end" {
                self.kinds.entry(kind_of(&call)).or_default().denied += 1;
                let Call { thread, text, rule, .. } = call.clone();
                let verdict = format!("{} ({})", settled.done, settled.by);
                self.deny(Denied { sandbox, ns, thread, text, verdict, effect: String::new(), rule, ignored: false });
            }
            self.returned(&call, settled.value, ns.saturating_sub(start));
        }
    }

    fn refused(&mut self, sandbox: u32, ns: u64, refused: &Refused) {
        let Refused { thread, text, errno, rule, ignored, .. } = refused.clone();
        let (verdict, effect) = (format!("errno {errno}"), String::new());
        self.deny(Denied { sandbox, ns, thread, text, verdict, effect, rule, ignored });
    }

    /// Shown among what was denied, for it is why.
    fn tainted(&mut self, sandbox: u32, ns: u64, taint: &Tainted) {
        let Tainted { thread, text, rule, .. } = taint.clone();
        let (verdict, effect) = ("taint".to_owned(), String::new());
        self.show(Denied { sandbox, ns, thread, text, verdict, effect, rule, ignored: false });
    }

    fn deny(&mut self, denied: Denied) {
        self.denied_count += 1;
        let key = (denied.rule.clone(), denied.verdict.clone());
        if self.by_rule.len() < MAX_DENIED || self.by_rule.contains_key(&key) {
            *self.by_rule.entry(key).or_default() += 1;
        }
        self.show(denied);
    }

    fn show(&mut self, denied: Denied) {
        if self.denied.len() < MAX_DENIED {
            self.denied.push(denied);
        }
    }

    fn returned(&mut self, call: &Call, value: Option<i64>, took: u64) {
        let failed = value.is_some_and(|value| policy::errno::Errno::of_result(value).is_some());
        let kind = self.kinds.entry(kind_of(call)).or_default();
        kind.ns += took;
        kind.failed += u64::from(failed);
        self.files.call(call, failed);
        // A connection that is under way is one.
        self.addresses.call(call, failed && value != Some(EINPROGRESS));
    }
}

/// What a call is counted as: those without a name together, for a program can make up as many as it likes.
fn kind_of(call: &Call) -> String {
    call.name.clone().unwrap_or_else(|| "calls that there are not".to_owned())
}
