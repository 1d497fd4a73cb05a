//! What was asked, and how it was settled.
use super::super::event::{Call, Question, Settled};
use std::collections::BTreeMap;

/// Questions that are shown one by one.
const MAX_SHOWN: usize = 500;
/// Programs of open questions that are remembered.
const MAX_OPEN: usize = 1 << 14;

/// All questions of a run.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// By sandbox and call.
    programs: BTreeMap<(u32, u64), (u64, String)>,
    pub(super) settled: Vec<Asked>,
    /// How many there were.
    pub(super) count: u64,
}

/// A question that is settled.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Option<u64>,
    pub(super) ns: u64,
    pub(super) sandbox: u32,
    pub(super) thread: u32,
    pub(super) program: String,
    pub(super) call: String,
    pub(super) by: String,
    pub(super) done: String,
    /// How long that took.
    pub(super) took: u64,
    pub(super) rule: String,
}

impl Questions {
    pub(super) fn posed(&mut self, sandbox: u32, question: &Question) {
        let program = match &question.registers {
            Some(_) => "all stood still".to_owned(),
            None => question.program(),
        };
        if self.programs.len() < MAX_OPEN {
            self.programs.insert((sandbox, question.call), (question.question, program));
        }
    }

    /// `at`: sandbox, when the call came, when it was settled.
    pub(super) fn settled(&mut self, at: (u32, u64, u64), call: &Call, settled: &Settled) {
        let (sandbox, start, end) = at;
        let (question, program) = self.programs.remove(&(sandbox, settled.call)).unzip();
        self.count += 1;
        if self.settled.len() < MAX_SHOWN {
            self.settled.push(Asked {
                question,
                ns: start,
                sandbox,
                thread: call.thread,
                program: program.unwrap_or_default(),
                call: call.text.clone(),
                by: settled.by.clone(),
                done: settled.done.clone(),
                took: end.saturating_sub(start),
                rule: call.rule.clone(),
            });
        }
    }
}
