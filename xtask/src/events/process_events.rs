//! Events of threads and processes, by the shim's word; the paths of programs are the root's.
use super::data::Bytes;
use serde::{Deserialize, Serialize};
use trace::{EndedRecord, ExecutedRecord, StartedRecord};

/// A process or a thread was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Started {
    /// The process.
    pub(super) process: u32,
    /// The thread, of a process that there was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) thread: Option<u32>,
    /// The parent, of a new process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) parent: Option<u32>,
    /// The thread that made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) by: Option<u32>,
    /// The number of the call that did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) call: Option<u64>,
}

impl Started {
    pub(super) fn is_thread(&self) -> bool {
        self.thread.is_some()
    }
}

impl From<StartedRecord> for Started {
    fn from(record: StartedRecord) -> Self {
        let StartedRecord { by, call, thread, process, parent, .. } = record;
        let made = (call != 0).then_some((by, call));
        let is_thread = thread != process;
        Self {
            process,
            thread: is_thread.then_some(thread),
            parent: (!is_thread).then_some(parent),
            by: made.map(|(by, _)| by),
            call: made.map(|(_, call)| call),
        }
    }
}

/// A process executes another program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Executed {
    /// The process.
    pub(super) process: u32,
    /// The resolved path of what is executed.
    pub(super) path: Bytes,
    /// The first of its arguments.
    pub(super) arguments: Vec<Bytes>,
    /// Those are all, and none is cut.
    pub(super) whole: bool,
}

impl Executed {
    /// The command, as a person reads it.
    pub(super) fn text(&self) -> String {
        let words: Vec<String> = self.arguments.iter().map(Bytes::shown).collect();
        let text = if words.is_empty() { self.path.shown() } else { words.join(" ") };
        if self.whole { text } else { format!("{text} …") }
    }
}

impl From<ExecutedRecord> for Executed {
    fn from(record: ExecutedRecord) -> Self {
        let ExecutedRecord { process, path, arguments, more, .. } = record;
        let whole = !more && arguments.iter().all(trace::Piece::is_whole);
        Self { process, path: (&path).into(), arguments: arguments.iter().map(Bytes::from).collect(), whole }
    }
}

/// A process or a thread has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// The process.
    pub(super) process: u32,
    /// The thread, if not the whole process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) thread: Option<u32>,
    /// Exit status of a process that called exit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) status: Option<u32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) signal: Option<u32>,
}

impl Ended {
    /// How, as a person reads it.
    pub(super) fn text(&self) -> String {
        match (self.status, self.signal) {
            (Some(status), _) => format!("exited {status}"),
            (None, Some(signal)) => {
                let mut name = String::new();
                let named = policy::symbols::SIGNAL.write(&mut name, signal.into()).is_ok() && name.starts_with("SIG");
                if named { name } else { format!("signal {signal}") }
            }
            (None, None) => "ended".to_owned(),
        }
    }
}

impl From<EndedRecord> for Ended {
    fn from(record: EndedRecord) -> Self {
        let EndedRecord { process, thread, status, .. } = record;
        let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
        let of_process = |value: u32, counts: bool| (thread.is_none() && counts).then_some(value);
        Self { process, thread, status: of_process(code, signal == 0), signal: of_process(signal, signal != 0) }
    }
}
