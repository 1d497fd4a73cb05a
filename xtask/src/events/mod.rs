//! What happened in a run, for programs and for people: typed events in a file, checked, replayed, drawn.
//!
//! The root sends records ([`trace::Record`]); [`Observers`] hands each to whoever was asked for on the command line: lines of
//! text, [`log`] (`--events`), [`timeline`] (`--timeline`), [`learn`] (`--learn`),
//! [`report`] (`--report`).
mod ask;
mod data;
mod event;
mod file_events;
mod learn;
mod log;
mod process_events;
mod recorder;
mod replay;
mod report;
mod timeline;
mod usage;
mod verify;

use crate::cli::{RunOptions, TraceCommand};
use crate::exit::Failure;
use crate::run::Digests;
use anyhow::{Context, Result};
use control::ExitReport;
use event::{Dropped, Event, What};
use layers::Digest;
use learn::Learner;
use log::Log;
use policy::quotas::Quotas;
use recorder::Recorder;
use report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use timeline::Timeline;
use trace::{Answer, Decoder, Lines, Record};
use verify::Events;

pub(crate) use ask::answers::{check as check_answers, follow as follow_answers};
pub(crate) use ask::{Asker, Way};
pub(crate) use log::Patience;
pub(crate) use recorder::Progress;
pub(crate) use replay::replay;

/// Number and arguments of each call of the x86-64 table that a file of events has.
pub(crate) fn calls(path: &Path) -> Result<Vec<(u64, [u64; 6])>, Failure> {
    let mut events = Events::open(path)?;
    let mut calls = Vec::new();
    while let Some(event) = events.next_event().map_err(Failure::early)? {
        match event.what {
            What::Call(call) if call.abi == "x86-64" => calls.push((call.number, call.args.map(|word| word.0))),
            _ => {}
        }
    }
    Ok(calls)
}

/// `cargo xtask trace`.
pub(crate) fn trace(command: &TraceCommand) -> Result<ExitCode, Failure> {
    match command {
        TraceCommand::Verify { file, digest } => verify::verify(file, digest.as_deref()),
    }
}

/// What is known of a run before it begins.
#[derive(Debug)]
pub(crate) struct Run<'r> {
    /// The command of each sandbox.
    pub(crate) commands: &'r [Vec<std::ffi::OsString>],
    /// Name of the policy.
    pub(crate) policy_name: &'r str,
    /// The texts of its files, as the root gets them, one behind the other.
    pub(crate) policy: &'r str,
    /// Its limits.
    pub(crate) limits: &'r Quotas,
}

/// Everybody who is told what happens.
#[derive(Debug)]
pub(crate) struct Observers {
    sandboxes: Vec<Observed>,
    /// Every call has its line, and not only those whose rule says so.
    all_lines: bool,
    /// Calls have one that were carried out against their verdict.
    dry_lines: bool,
    recorder: Recorder,
    patience: Patience,
    /// Of policies that were sent while the sandboxes ran.
    digests: Digests,
    /// Questions so far.
    questions: u64,
}

/// Who makes something of the events that is written at the end of the run, however that comes.
trait Observer: fmt::Debug + Send {
    /// Takes notice of an event.
    fn add(&mut self, event: &Event) -> Result<()>;

    /// Writes what there is.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// One sandbox, as it is observed.
#[derive(Debug, Default)]
struct Observed {
    decoder: Decoder,
    lines: Lines,
    /// Numbers of the questions that are open, by call.
    questions: BTreeMap<u64, u64>,
    /// Calls that are asked about whose rules want them to be shown.
    shown: BTreeSet<u64>,
}

impl Observers {
    /// Whether the root has to record every call.
    pub(crate) fn wanted(options: &RunOptions) -> bool {
        options.trace.is_some()
            || options.events.is_some()
            || options.timeline.is_some()
            || options.report.is_some()
            || Self::dry_run(options)
    }

    /// Whether verdicts are only recorded.
    pub(crate) fn dry_run(options: &RunOptions) -> bool {
        options.dry_run || options.learn.is_some()
    }

    /// Those that were asked for; their files are made.
    pub(crate) fn new(options: &RunOptions, run: &Run<'_>, digests: Digests, asker: &Asker) -> Result<Self> {
        let log = options.events.as_deref().map(Log::create).transpose()?;
        let mut others: Vec<Box<dyn Observer>> = Vec::new();
        if let Some(path) = &options.timeline {
            others.push(Box::new(Timeline::create(path)?));
        }
        if let Some(path) = &options.learn {
            others.push(Box::new(Learner::create(path)?));
        }
        if let Some(path) = &options.report {
            others.push(Box::new(Report::create(path, run.limits)?));
        }
        others.push(Box::new(asker.clone()));
        let nobody = Self::nobody(run.commands.len());
        let (all_lines, dry_lines) = (options.trace.is_some(), options.dry_run);
        let patience = log.as_ref().map(Log::patience).unwrap_or_default();
        let recorder = Recorder::new(log, others);
        let mut observers = Self { all_lines, dry_lines, recorder, patience, digests, ..nobody };
        let policy_sha256 = Digest::of(run.policy.as_bytes()).hex();
        for (sandbox, command) in (0u16..).zip(run.commands) {
            let program = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let (policy, policy_sha256) = (run.policy_name.to_owned(), policy_sha256.clone());
            observers.tell(
                sandbox,
                0,
                What::Start { program, policy, policy_sha256, dry_run: Self::dry_run(options) },
            )?;
        }
        Ok(observers)
    }

    /// Nobody but the lines of calls whose rules say so.
    pub(crate) fn nobody(sandboxes: usize) -> Self {
        let sandboxes = std::iter::repeat_with(Observed::default).take(sandboxes).collect();
        Self {
            sandboxes,
            all_lines: false,
            dry_lines: false,
            recorder: Recorder::new(None, Vec::new()),
            patience: Patience::default(),
            digests: Digests::default(),
            questions: 0,
        }
    }

    /// What the wait for who reads the events hangs on.
    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// The run begins: events are written in a thread from now on, which tells how far it is.
    pub(crate) fn start(&mut self, progress: Progress) {
        self.recorder.start(progress);
    }

    /// Takes what the root sent of a sandbox' records, and gives the lines of text that they make.
    pub(crate) fn add(&mut self, sandbox: u16, bytes: &[u8]) -> Result<String> {
        let mut text = String::new();
        self.observed(sandbox)?.decoder.push(bytes);
        while let Some(record) =
            self.observed(sandbox)?.decoder.next_record().ok().context("a record that makes no sense")?
        {
            if self.is_shown(sandbox, &record)? {
                self.observed(sandbox)?.lines.add(&record, &mut text);
            }
            let time = record.time();
            let mut what = What::from(record);
            match &mut what {
                What::Policy { generation, policy_sha256, .. } => *policy_sha256 = self.digests.of(*generation),
                What::Question(question) => {
                    self.questions += 1;
                    question.question = self.questions;
                    self.observed(sandbox)?.questions.insert(question.call, question.question);
                }
                What::Settled(settled) => {
                    settled.question = self.observed(sandbox)?.questions.remove(&settled.call);
                }
                _ => {}
            }
            self.tell(sandbox, time, what)?;
        }
        Ok(text)
    }

    /// A frame of so many bytes has been taken. False: whoever asks is to give the root its credit back; else that is done once it is
    /// written.
    pub(crate) fn taken(&mut self, bytes: usize) -> Result<bool> {
        self.recorder.taken(bytes)
    }

    /// Whether a record has its line.
    fn is_shown(&mut self, sandbox: u16, record: &Record) -> Result<bool> {
        if self.all_lines {
            return Ok(true);
        }
        let shown = &mut self.observed(sandbox)?.shown;
        Ok(match record {
            Record::Policy(_) | Record::Limit(_) | Record::Grant(_) | Record::Dropped(_) => false,
            Record::Taint(_) => self.dry_lines,
            Record::Refusal(refusal) => self.dry_lines && refusal.ignored,
            Record::Call(call) => {
                if let (true, Answer::Asked(sequence)) = (call.verdict.logged, &call.answer) {
                    shown.insert(*sequence);
                }
                call.verdict.logged || (self.dry_lines && call.verdict.ignored)
            }
            Record::Question(question) => shown.contains(&question.sequence),
            Record::Settled(settled) => shown.remove(&settled.sequence),
            _ => true,
        })
    }

    /// A sandbox has ended: the lines that are left.
    pub(crate) fn end(&mut self, sandbox: u16, report: &ExitReport) -> Result<String> {
        let mut text = String::new();
        self.observed(sandbox)?.lines.finish(&mut text);
        let time = report.stats.wall_us.saturating_mul(10);
        self.tell(sandbox, time, What::exit(report))?;
        Ok(text)
    }

    /// All have ended, and all is written. What could not be, for the user.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        self.recorder.finish()
    }

    /// The run was stopped, or broke off: what there is of it is written. The log stays without its end, as it should.
    pub(crate) fn stop(&mut self) -> Vec<String> {
        self.recorder.stop()
    }

    fn observed(&mut self, sandbox: u16) -> Result<&mut Observed> {
        self.sandboxes.get_mut(usize::from(sandbox)).with_context(|| format!("a record of sandbox {sandbox}"))
    }

    fn tell(&mut self, sandbox: u16, time: u64, what: What) -> Result<()> {
        let event = Event { sandbox: u32::from(sandbox) + 1, ns: time.saturating_mul(100), what };
        self.recorder.tell(event)
    }
}

/// What is missing of the events of a run.
#[derive(Debug, Default)]
struct Missed {
    kinds: BTreeMap<String, u64>,
}

impl Missed {
    fn add(&mut self, dropped: &Dropped) {
        for (kind, count) in &dropped.kinds {
            *self.kinds.entry(kind.clone()).or_default() += count;
        }
    }

    /// Tells the user.
    fn say(&self) {
        let total: u64 = self.kinds.values().sum();
        if total > 0 {
            let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            eprintln!("cordon: {total} events are missing, as the policy would have it: {}", kinds.join(", "));
        }
    }
}
