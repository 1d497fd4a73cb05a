//! The events of a run, as `--events` writes them: JSON, one object a line. EVENTS.md describes every field.
use super::data::{Bytes, Data, Rewritten};
use super::file_events::{FileChange, Refused};
use super::process_events::{Ended, Executed, Started};
use crate::run::printable;
use control::{ExitReport, Outcome, RunStats};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trace::{Abi, Answer, CallRecord, Judged, Piece, Record};

/// Something that happened in a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Event {
    /// The sandbox, counted from 1. 0: the run as a whole.
    pub(super) sandbox: u32,
    /// Nanoseconds since the sandbox' start.
    pub(super) ns: u64,
    /// What.
    #[serde(flatten)]
    pub(super) what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum What {
    /// A sandbox is to be made.
    Start {
        /// The program and its arguments.
        program: Vec<String>,
        /// Name of the policy.
        policy: String,
        /// Digest of its text, as the root got it.
        policy_sha256: String,
        /// Verdicts are recorded only.
        dry_run: bool,
    },
    /// A call was judged.
    Call(Call),
    /// A call that was carried out has come back.
    Result {
        /// Its number in the sandbox.
        call: u64,
        /// What it returned.
        value: i64,
        /// The error's name, if it failed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        errno: Option<String>,
        /// The personality does not carry such calls out.
        missing: bool,
    },
    /// The processor refused an instruction.
    Fault {
        /// The thread.
        thread: u32,
        /// The exception's vector.
        vector: u8,
        /// Its error code.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error_code: Option<u32>,
        /// Where.
        rip: Word,
    },
    /// Another policy holds from now on.
    Policy {
        /// Which one it is; the one that the sandbox was started with is 1.
        generation: u32,
        /// Its name.
        policy: String,
        /// Digest of its text, as the root got it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        policy_sha256: Option<String>,
    },
    /// The file service refused something, by `[[files]]` of the policy.
    FileRefused(Refused),
    /// Something was done that taints: calls are denied from now on.
    Taint(Tainted),
    /// A limit of the sandbox has been reached, for the first time under this policy.
    Limit(Limit),
    /// The file service granted something that it has not told of before (`--learn`).
    FileGranted(Granted),
    /// Somebody is asked about a call.
    Question(Question),
    /// A question is settled.
    Settled(Settled),
    /// The file service has changed something.
    FileChanged(FileChange),
    /// A process was made.
    ProcessStarted(Started),
    /// A further thread was made.
    ThreadStarted(Started),
    /// A process executes another program.
    Executed(Executed),
    /// A thread has ended, but not its process.
    ThreadEnded(Ended),
    /// A process has ended.
    ProcessEnded(Ended),
    /// Events are missing here, as the policy wants it.
    Dropped(Dropped),
    /// A sandbox has ended.
    Exit {
        /// How: `exited`, `signaled`, `policy-killed`, `not-started`, `timed-out`, `sandbox-failed`.
        outcome: String,
        /// Exit status, signal or exit code.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        status: Option<u8>,
        /// More about it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
        /// Figures of the run.
        figures: RunStats,
    },
    /// The run has ended; nothing follows.
    End {
        /// How many events there are before this one.
        events: u64,
    },
}

/// A limit of `[limits]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Limit {
    /// The thread that ran.
    pub(super) thread: u32,
    /// Its key in the policy.
    pub(super) limit: String,
    /// How much there may be: bytes, milliseconds, or a number of things.
    pub(super) amount: u64,
    /// It as a person reads it, with what becomes of it.
    pub(super) text: String,
    /// Where it stands.
    pub(super) rule: String,
}

impl From<trace::LimitRecord> for Limit {
    fn from(record: trace::LimitRecord) -> Self {
        let text = trace::limit_text(&record);
        let trace::LimitRecord { thread, limit, amount, rule, .. } = record;
        Self { thread, limit, amount, text, rule }
    }
}

/// What was granted of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Granted {
    /// The thread.
    pub(super) thread: u32,
    /// The right; `none` for another name of what there is.
    pub(super) rights: String,
    /// The resolved path.
    pub(super) path: Bytes,
    /// Where what is linked or renamed to `path` was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) from: Option<Bytes>,
    /// It is a directory that was renamed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) directory: bool,
    /// It as a person reads it.
    pub(super) text: String,
}

impl From<trace::GrantRecord> for Granted {
    fn from(record: trace::GrantRecord) -> Self {
        let text = trace::grant_text(&record);
        let trace::GrantRecord { thread, rights, path, from, directory, .. } = record;
        Self { thread, rights, path: (&path).into(), from: from.as_ref().map(Bytes::from), directory, text }
    }
}

/// Somebody is asked about a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Question {
    /// Its number in the run.
    pub(super) question: u64,
    /// The call's number in the sandbox.
    pub(super) call: u64,
    /// The process, if only its thread waits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) process: Option<u32>,
    /// The path of its program.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) program: Option<Bytes>,
    /// The thread's registers, by name, if the sandbox stands still.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) registers: Option<BTreeMap<String, Word>>,
    /// How long an answer is waited for from the call on, in seconds.
    pub(super) limit: u32,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Settled {
    /// The question's number; none if it was not put before it was settled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) question: Option<u64>,
    /// The call's number in the sandbox.
    pub(super) call: u64,
    /// `answer`, `limit` or `end`.
    pub(super) by: String,
    /// What is done, as `--trace` shows it.
    pub(super) done: String,
    /// What the program got at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) value: Option<i64>,
    /// A result of the call follows.
    pub(super) awaited: bool,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dropped {
    /// When the first of it happened, in nanoseconds since the sandbox' start; the last: when this one did.
    pub(super) since_ns: u64,
    /// How many events of which kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// It as a person reads it.
    pub(super) text: String,
}

impl Dropped {
    /// How many events.
    pub(super) fn total(&self) -> u64 {
        self.kinds.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl From<trace::DroppedRecord> for Dropped {
    fn from(record: trace::DroppedRecord) -> Self {
        let text = trace::dropped_text(&record);
        let name = |kind: u8| trace::KINDS.get(usize::from(kind)).copied().unwrap_or("others").to_owned();
        let kinds = record.counts.iter().map(|(kind, count)| (name(*kind), *count)).collect();
        Self { since_ns: record.since.saturating_mul(100), kinds, text }
    }
}

/// What has tainted a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tainted {
    /// The thread.
    pub(super) thread: u32,
    /// What has tainted.
    #[serde(flatten)]
    pub(super) cause: Cause,
    /// It as a person reads it.
    pub(super) text: String,
    /// The taint.
    pub(super) rule: String,
}

/// What has tainted a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Cause {
    /// A file was used.
    File {
        /// The rights that the use took.
        rights: String,
        /// The resolved path.
        path: Bytes,
        /// That is all of it.
        whole: bool,
    },
    /// A call is carried out.
    Call {
        /// Its number in the sandbox.
        call: u64,
        /// Which it is.
        number: u64,
        /// What it is called.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        name: Option<String>,
    },
}

impl From<trace::Cause> for Cause {
    fn from(cause: trace::Cause) -> Self {
        match cause {
            trace::Cause::File { rights, path } => {
                let whole = matches!(path, Piece::Read { whole: true, .. });
                Self::File { rights, path: Bytes::from(&path), whole }
            }
            trace::Cause::Call { number, sequence } => {
                let name = proto::syscalls::by_number(number).map(|known| known.name.to_owned());
                Self::Call { call: sequence, number, name }
            }
        }
    }
}

impl From<trace::TaintRecord> for Tainted {
    fn from(record: trace::TaintRecord) -> Self {
        let text = trace::taint_text(&record);
        let trace::TaintRecord { thread, cause, rule, .. } = record;
        Self { thread, cause: cause.into(), text, rule }
    }
}

/// A call that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Call {
    /// Its number in the sandbox, if a result follows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) call: Option<u64>,
    /// The thread.
    pub(super) thread: u32,
    /// `x86-64` or `i386`.
    pub(super) abi: String,
    /// Its number in that table.
    pub(super) number: u64,
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) name: Option<String>,
    /// Its arguments, as registers.
    pub(super) args: [Word; 6],
    /// What was read of the memory behind them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) data: Vec<Data>,
    /// It as a person reads it.
    pub(super) text: String,
    /// `allow`, `errno`, `kill`, `kill-process`, `kill-thread`, `trap`, `fake`, `rewrite`, `ask` or `stop`.
    pub(super) verdict: String,
    /// With `ask` and `stop`: what is done without an answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) otherwise: Option<String>,
    /// It waits until its question is settled.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) asked: bool,
    /// The rule that said so.
    pub(super) rule: String,
    /// Which policy that rule is of.
    #[serde(default = "first_policy")]
    pub(super) generation: u32,
    /// It was not done (`--dry-run`).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) ignored: bool,
    /// The arguments that it was carried out with, where the policy has changed the program's.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) rewritten: Vec<Rewritten>,
    /// What the program got at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) value: Option<i64>,
}

/// The policy of events that say nothing about it.
pub(super) fn first_policy() -> u32 {
    1
}

/// A 64-bit word, in hexadecimal: JSON's numbers are not for such.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Word(pub(super) u64);

impl From<Word> for String {
    fn from(word: Word) -> Self {
        format!("{:#x}", word.0)
    }
}

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").ok_or("a word begins with 0x")?;
        u64::from_str_radix(digits, 16).map(Self).map_err(|error| error.to_string())
    }
}

impl From<Record> for What {
    fn from(record: Record) -> Self {
        match record {
            Record::Call(call) => Self::Call(call.into()),
            Record::Result(trace::ResultRecord { sequence, value, missing, .. }) => {
                let errno = policy::errno::Errno::of_result(value).map(|errno| errno.name.to_owned());
                Self::Result { call: sequence, value, errno, missing }
            }
            Record::Fault(trace::FaultRecord { thread, vector, error_code, rip, .. }) => {
                Self::Fault { thread, vector, error_code, rip: Word(rip) }
            }
            Record::Dropped(dropped) => Self::Dropped(dropped.into()),
            Record::Refusal(refusal) => Self::FileRefused(refusal.into()),
            Record::Taint(taint) => Self::Taint(taint.into()),
            Record::Limit(limit) => Self::Limit(limit.into()),
            Record::Grant(grant) => Self::FileGranted(grant.into()),
            Record::Question(question) => Self::Question(question.into()),
            Record::Settled(settled) => Self::Settled(settled.into()),
            Record::Change(change) => Self::FileChanged(change.into()),
            Record::Started(record) => {
                let started = Started::from(record);
                if started.is_thread() { Self::ThreadStarted(started) } else { Self::ProcessStarted(started) }
            }
            Record::Executed(record) => Self::Executed(record.into()),
            Record::Ended(record) if record.thread.is_some() => Self::ThreadEnded(record.into()),
            Record::Ended(record) => Self::ProcessEnded(record.into()),
            Record::Policy(trace::PolicyRecord { generation, name, .. }) => {
                Self::Policy { generation, policy: name, policy_sha256: None }
            }
        }
    }
}

impl From<trace::QuestionRecord> for Question {
    /// It has its number from elsewhere.
    fn from(record: trace::QuestionRecord) -> Self {
        let (process, program, registers) = match record.about {
            trace::About::Thread { process, program } => (Some(process), Some(Bytes::from(&program)), None),
            trace::About::Stopped(registers) => {
                let general = trace::GENERAL.into_iter().zip(registers.general);
                let all = general.chain([("rip", registers.rip), ("rflags", registers.rflags)]);
                (None, None, Some(all.map(|(name, value)| (name.to_owned(), Word(value))).collect()))
            }
        };
        Self { question: 0, call: record.sequence, process, program, registers, limit: record.limit }
    }
}

impl From<trace::SettledRecord> for Settled {
    fn from(record: trace::SettledRecord) -> Self {
        let by = match record.by {
            trace::SettledBy::Answer => "answer",
            trace::SettledBy::Limit => "limit",
            trace::SettledBy::End => "end",
        };
        let value = match record.answer {
            Answer::Value(value) => Some(value),
            _ => None,
        };
        let done = trace::judged_text(&record.done);
        let awaited = matches!(record.answer, Answer::Pending(_));
        Self { question: None, call: record.sequence, by: by.to_owned(), done, value, awaited }
    }
}

impl From<CallRecord> for Call {
    fn from(record: CallRecord) -> Self {
        let text = trace::call_text(&record);
        let signature = record.signature();
        let abi = match record.abi {
            Abi::X86_64 => "x86-64",
            Abi::I386 => "i386",
        };
        let name = match record.abi {
            Abi::X86_64 => proto::syscalls::by_number(record.number).map(|known| known.name.to_owned()),
            Abi::I386 => None,
        };
        let rewritten = match &record.verdict.judged {
            Judged::Rewrite(changes) => changes.iter().map(|change| Rewritten::of(change, record.number)).collect(),
            _ => Vec::new(),
        };
        let verdict = match record.verdict.judged {
            Judged::Allow => "allow",
            Judged::Errno(_) => "errno",
            Judged::Kill => "kill",
            Judged::KillProcess => "kill-process",
            Judged::KillThread => "kill-thread",
            Judged::Trap => "trap",
            Judged::Fake(_) => "fake",
            Judged::Rewrite(_) => "rewrite",
            Judged::Ask(_) => "ask",
            Judged::Stop(_) => "stop",
        };
        let otherwise = match &record.verdict.judged {
            Judged::Ask(otherwise) | Judged::Stop(otherwise) => Some(trace::judged_text(otherwise)),
            _ => None,
        };
        let asked = matches!(record.answer, Answer::Asked(_));
        let (call, value) = match record.answer {
            Answer::Pending(sequence) | Answer::Asked(sequence) => (Some(sequence), None),
            Answer::Value(value) => (None, Some(value)),
            Answer::None | Answer::Refused(_) => (None, None),
        };
        Self {
            call,
            thread: record.thread,
            abi: abi.to_owned(),
            number: record.number,
            name,
            args: record.args.map(Word),
            data: record.data.iter().map(|data| Data::of(data, signature)).collect(),
            text,
            verdict: verdict.to_owned(),
            otherwise,
            asked,
            rule: record.verdict.rule,
            generation: record.verdict.generation,
            ignored: record.verdict.ignored,
            rewritten,
            value,
        }
    }
}

impl Question {
    /// The program, for people.
    pub(super) fn program(&self) -> String {
        match &self.program {
            Some(Bytes::Text(path)) => printable(path),
            Some(Bytes::Hex(bytes)) => bytes.clone(),
            _ => String::new(),
        }
    }
}

impl Call {
    /// What a field of the structure that an argument points to has, if that was read.
    pub(super) fn field(&self, argument: u8, name: &str) -> Option<u64> {
        let data = self.data.iter().find(|data| data.argument == argument)?;
        match data.bytes.as_slice() {
            [Bytes::Fields(fields)] => fields.get(name).map(|value| value.0),
            _ => None,
        }
    }

    /// Whether the program does not get what it asked for. What waits for an answer is not decided yet.
    pub(super) fn is_denied(&self) -> bool {
        match self.verdict.as_str() {
            "allow" => false,
            "ask" | "stop" => !self.asked && self.otherwise.as_deref() != Some("allow"),
            _ => true,
        }
    }

    /// What the policy made of it: the arguments that it was carried out with, or what the program got; nothing if that is for others to say.
    pub(super) fn effect(&self) -> String {
        if !self.rewritten.is_empty() {
            let changes: Vec<String> = self.rewritten.iter().map(|change| change.text(self.number)).collect();
            return changes.join(", ");
        }
        let shown = |value: i64| match policy::errno::Errno::of_result(value) {
            Some(errno) => format!("= -1 {}", errno.name),
            None => format!("= {value}"),
        };
        self.value.map_or_else(String::new, shown)
    }

    /// Its name, or what there is in its place.
    pub(super) fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{} {:#x}", self.abi, self.number))
    }
}

impl What {
    /// The end of a sandbox.
    pub(super) fn exit(report: &ExitReport) -> Self {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let (outcome, status, reason) = match &report.outcome {
            Outcome::Exited { status } => ("exited", Some(*status), None),
            Outcome::Signaled { signal, detail } => ("signaled", Some(*signal), text(detail)),
            Outcome::PolicyKilled { reason } => ("policy-killed", None, text(reason)),
            Outcome::NotStarted { code, reason } => ("not-started", Some(*code), text(reason)),
            Outcome::TimedOut { reason } => ("timed-out", None, text(reason)),
            Outcome::SandboxFailed { reason } => ("sandbox-failed", None, text(reason)),
        };
        Self::Exit { outcome: outcome.to_owned(), status, reason, figures: report.stats.clone() }
    }
}
