//! Calls about which somebody is asked (`ask`): they wait in the shim, each with its grant, until the question about them is settled here. For `stop` the
//! caller of the gate lets the whole sandbox wait instead, and asks in the shim's place.
//!
//! The shim asks what has become of a call's question ([`Gate::question`]), first when the call comes and then whenever [`Gate::take_news`]
//! is true. There are at most [`MAX_QUESTIONS`] at a time. A call beyond them is turned away: it is granted as one that waits, with no question behind it,
//! and the program makes it once more when there is room. So a flood of them costs the root nothing but its own time.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;

use control::answer::Choice;
use policy::{Policy, Question, Settlement};
use proto::{Grant, grant_flags};
use tlfs::time::REFERENCE_TICKS_PER_SECOND;
use trace::{About, Answer, CallRecord, MAX_PATH, Piece, QuestionRecord, Record, Registers, SettledBy, SettledRecord};

use crate::budget::Budgets;
use crate::taints::Brings;
use crate::{Action, Call, CallSite, Gate, Sink, capture};

/// Questions of a sandbox at a time, those included whose settlement the shim has not asked for yet.
pub const MAX_QUESTIONS: usize = 32;

/// What has become of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is open.
    Open,
    /// Nobody was asked, and now there is room: the program is to make the call again.
    Again,
    /// This is done: allow, an error, or the end of a thread or process.
    Settled(Settlement),
}

/// A call that waits, as far as the shim has not been told what becomes of it.
#[derive(Debug)]
struct Waiting {
    /// Number of its grant.
    sequence: u64,
    question: Question,
    /// Time at which it is settled without an answer.
    limit: u64,
    /// Whether it was put to anybody.
    posed: bool,
    /// Whether the sandbox stands still for it.
    stops: bool,
    /// What may hold it back though it is allowed, and the policy whose budgets these are.
    holds: u64,
    /// What follows if it is not.
    brings: Brings,
    generation: u32,
    /// The call and the rule, should something end for it.
    reason: String,
    settled: Option<Settlement>,
}

/// All questions of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: VecDeque<Waiting>,
    turned_away: bool,
    news: bool,
}

impl Questions {
    fn has_room(&self) -> bool {
        self.waiting.iter().filter(|waiting| !waiting.stops).count() < MAX_QUESTIONS
    }

    fn position(&self, sequence: u64) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.sequence == sequence)
    }

    fn remove(&mut self, index: usize) -> Option<Waiting> {
        let removed = self.waiting.remove(index);
        // Who was turned away before can come now.
        self.news |= core::mem::take(&mut self.turned_away);
        removed
    }
}

/// A call that is to be asked about.
pub(crate) struct Asked {
    pub(crate) call: Call,
    pub(crate) question: Question,
    /// What is granted if it is allowed.
    pub(crate) grant: Grant,
    pub(crate) holds: u64,
    pub(crate) brings: Brings,
    pub(crate) instruction_len: u8,
    /// With what the program gets still open.
    pub(crate) record: CallRecord,
    /// The call and the rule.
    pub(crate) reason: String,
}

impl Gate {
    /// Lets a call wait for an answer.
    #[cold]
    pub(crate) fn ask(&mut self, asked: Asked, sink: Sink<'_>) -> Action {
        let grant = Grant { flags: asked.grant.flags | grant_flags::ASK, ..asked.grant };
        if !self.questions.has_room() {
            self.questions.turned_away = true;
            // It will be made, and counted, once more.
            self.counters.calls = self.counters.calls.saturating_sub(1);
            return self.granted.forward(&asked.call, grant, asked.instruction_len, false).0;
        }
        self.await_answer(Asked { grant, ..asked }, false, sink)
    }

    /// Lets the whole sandbox wait for an answer about the call at `site`.
    #[cold]
    pub(crate) fn stop(&mut self, asked: Asked, site: &CallSite<'_>, sink: Sink<'_>) -> Action {
        let (time, limit) = (asked.record.time, asked.question.limit);
        let CallSite { gprs: general, rip, rflags, .. } = *site;
        let action = match self.await_answer(asked, true, sink) {
            Action::Forward { grant, instruction_len } => Action::Stop { grant, instruction_len },
            other => other,
        };
        let about = About::Stopped(Box::new(Registers { general, rip, rflags }));
        sink(Record::Question(QuestionRecord { time, sequence: self.granted.last, about, limit }));
        action
    }

    /// Opens a question, which `stops` the sandbox.
    fn await_answer(&mut self, asked: Asked, stops: bool, sink: Sink<'_>) -> Action {
        let Asked { call, question, grant, holds, brings, instruction_len, mut record, reason } = asked;
        let (action, _) = self.granted.forward(&call, grant, instruction_len, true);
        let sequence = self.granted.last;
        let limit = record.time.saturating_add(u64::from(question.limit).saturating_mul(REFERENCE_TICKS_PER_SECOND));
        let generation = self.generation;
        self.questions.waiting.push_back(Waiting {
            sequence,
            question,
            limit,
            posed: stops,
            stops,
            holds,
            brings,
            generation,
            reason,
            settled: None,
        });
        record.answer = Answer::Asked(sequence);
        sink(Record::Call(record));
        action
    }

    /// What has become of the question about the call that was granted as `sequence`. The first time it is posed: `process` and `program`, its path, are
    /// shown with it, as the shim tells them.
    pub fn question(
        &mut self,
        sequence: u64,
        (process, program): (u32, &[u8]),
        now_100ns: u64,
        sink: Sink<'_>,
    ) -> Standing {
        let Some(index) = self.questions.position(sequence) else {
            if self.questions.has_room() {
                return Standing::Again;
            }
            self.questions.turned_away = true;
            return Standing::Open;
        };
        let Some(waiting) = self.questions.waiting.get_mut(index) else { return Standing::Open };
        if let Some(settlement) = waiting.settled {
            self.questions.remove(index);
            return Standing::Settled(settlement);
        }
        if !core::mem::replace(&mut waiting.posed, true) {
            let about = About::Thread { process, program: Piece::first_of(program, MAX_PATH) };
            let limit = waiting.question.limit;
            sink(Record::Question(QuestionRecord { time: now_100ns, sequence, about, limit }));
        }
        Standing::Open
    }

    /// The thread that waits for this question is no more.
    pub fn withdraw(&mut self, sequence: u64, now_100ns: u64, sink: Sink<'_>) {
        let Some(waiting) = self.questions.position(sequence).and_then(|index| self.questions.remove(index)) else {
            return;
        };
        self.granted.forget(sequence);
        if waiting.settled.is_none() {
            sink(withdrawn(&waiting, now_100ns));
        }
    }

    /// The same for all questions: the sandbox ends.
    pub fn withdraw_all(&mut self, now_100ns: u64, sink: Sink<'_>) {
        for waiting in self.questions.waiting.drain(..).filter(|waiting| waiting.settled.is_none()) {
            sink(withdrawn(&waiting, now_100ns));
        }
    }

    /// Somebody has answered. Why the sandbox ends, if it does; an answer to what is no open question does nothing.
    #[must_use]
    pub fn answer(&mut self, sequence: u64, choice: Choice, now_100ns: u64, sink: Sink<'_>) -> Option<String> {
        let index = self.questions.position(sequence)?;
        let waiting = self.questions.waiting.get(index).filter(|waiting| waiting.settled.is_none())?;
        let settlement = match choice {
            Choice::Allow => Settlement::Allow,
            Choice::Deny => waiting.question.denial(),
            Choice::Kill => Settlement::Kill,
        };
        self.settle(index, SettledBy::Answer, settlement, now_100ns, sink)
    }

    /// Settles the questions whose time is over. Why the sandbox ends, if it does.
    #[must_use]
    pub fn expire(&mut self, now_100ns: u64, sink: Sink<'_>) -> Option<String> {
        for index in 0..self.questions.waiting.len() {
            let Some(waiting) = self.questions.waiting.get(index) else { continue };
            if waiting.settled.is_some() || now_100ns < waiting.limit {
                continue;
            }
            let settlement = waiting.question.otherwise;
            let reason = self.settle(index, SettledBy::Limit, settlement, now_100ns, sink);
            if reason.is_some() {
                return reason;
            }
        }
        None
    }

    /// When [`Gate::expire`] has to be called at the latest; `u64::MAX`: whenever.
    #[must_use]
    pub fn next_limit(&self) -> u64 {
        let open = self.questions.waiting.iter().filter(|waiting| waiting.settled.is_none());
        open.map(|waiting| waiting.limit).min().unwrap_or(u64::MAX)
    }

    /// Whether the shim is to ask what has become of its questions.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.questions.news
    }

    /// The same, said once.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.questions.news)
    }

    fn settle(
        &mut self,
        index: usize,
        by: SettledBy,
        settlement: Settlement,
        now_100ns: u64,
        sink: Sink<'_>,
    ) -> Option<String> {
        let waiting = self.questions.waiting.get(index)?;
        let Waiting { sequence, holds, brings, .. } = *waiting;
        // Budgets of a policy that holds no more are nobody's; taints are the program's.
        let holds = if waiting.generation == self.generation { holds } else { self.budgets.taints_among(holds) };
        let settlement = if holds != 0 && settlement == Settlement::Allow {
            charged(&mut self.budgets, &self.policy, holds)
        } else {
            settlement
        };
        let ends = policy::Action::from(settlement).kills();
        let answer = match settlement {
            Settlement::Allow if self.granted.is_open(sequence) => Answer::Pending(sequence),
            Settlement::Errno(errno) => Answer::Value(errno.result()),
            _ => Answer::None,
        };
        if settlement == Settlement::Allow {
            self.budgets.begun(sequence, holds);
        } else {
            self.granted.forget(sequence);
            let counter = if ends { &mut self.counters.killed } else { &mut self.counters.denied };
            *counter = counter.saturating_add(1);
        }
        let done = capture::settled(settlement);
        sink(Record::Settled(SettledRecord { time: now_100ns, sequence, by, done, answer }));
        if settlement == Settlement::Allow
            && let brought @ 1.. = self.budgets.taint(brings.taints)
        {
            self.brought(brought, brings, sequence, now_100ns, sink);
        }
        let waiting = self.questions.waiting.get_mut(index)?;
        waiting.settled = Some(settlement);
        self.questions.news = true;
        let reason = ends.then(|| core::mem::take(&mut waiting.reason))?;
        if settlement == Settlement::Kill {
            return Some(reason);
        }
        self.killed_for = Some(reason);
        None
    }
}

/// Allow, or what a taint in force or a spent budget says instead.
pub(crate) fn charged(budgets: &mut Budgets, policy: &Policy, holds: u64) -> Settlement {
    budgets.charge(holds).map_or_else(|bit| policy.denial(bit), |()| Settlement::Allow)
}

fn withdrawn(waiting: &Waiting, time: u64) -> Record {
    let done = capture::settled(waiting.question.denial());
    Record::Settled(SettledRecord { time, sequence: waiting.sequence, by: SettledBy::End, done, answer: Answer::None })
}
