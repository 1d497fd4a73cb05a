//! Questions of rules that ask: whoever answers is shown them one after the other, and what is said goes to the root.
//!
//! Answers come from the terminal ([`keys`]), from a file (`--answers`, [`answers`]), or from what was said to the same question before
//! ([`shape`]); `--remember` writes that down as rules ([`remember`]). Whether an answer is in time the root decides: what it settles
//! is what counts.
pub(crate) mod answers;
mod keys;
mod remember;
mod shape;

use super::Observer;
use super::event::{Call, Event, What, Word};
use crate::policy::PolicyFiles;
use crate::run::{printable, say};
use anyhow::Result;
use control::answer::{Answer, Choice};
use keys::Line;
use remember::Remember;
use shape::Shape;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Answers that are kept for questions that are not there yet.
const MAX_EARLY: usize = 1024;

/// Where answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nowhere.
    Nobody,
    /// The keys of a terminal, which questions are shown at.
    Terminal,
    /// A file; questions are events.
    File,
}

/// What is said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) choice: Choice,
    /// To every such question from now on.
    pub(crate) always: bool,
}

/// Asks, for all who have a part in it.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Arc<Mutex<Desk>>);

/// What takes answers to the root.
type ToRoot = Box<dyn Fn(Answer) + Send>;

/// The state of it.
struct Desk {
    way: Way,
    root: Option<ToRoot>,
    /// Calls that wait, by sandbox and number, until they are asked about.
    calls: BTreeMap<(u32, u64), Call>,
    /// Questions that are open and not answered, by number: the first one is shown.
    open: BTreeMap<u64, Posed>,
    /// The question that is shown, and since when.
    shown: Option<(u64, Instant)>,
    line: Line,
    /// What was said for always, by rule and call.
    remembered: BTreeMap<(String, Shape), Choice>,
    early: VecDeque<(u64, Said)>,
    /// Numbers of the questions so far.
    last: u64,
    remember: Option<Remember>,
}

/// A question.
#[derive(Debug)]
struct Posed {
    sandbox: u32,
    call: u64,
    rule: String,
    /// What it does without an answer.
    otherwise: String,
    /// Which policy it is of.
    generation: u32,
    shape: Option<Shape>,
    /// What is shown.
    text: Vec<String>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("way", &self.way).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Asker {
    /// Asks by `way`.
    pub(crate) fn new(way: Way) -> Self {
        Self(Arc::new(Mutex::new(Desk {
            way,
            root: None,
            calls: BTreeMap::new(),
            open: BTreeMap::new(),
            shown: None,
            line: Line::default(),
            remembered: BTreeMap::new(),
            early: VecDeque::new(),
            last: 0,
            remember: None,
        })))
    }

    /// Writes `policy` with what is said for always to `file` at the end.
    pub(crate) fn remember(&self, file: &Path, policy: PolicyFiles) -> Result<()> {
        self.desk().remember = Some(Remember::create(file, policy)?);
        Ok(())
    }

    /// Where questions are shown.
    pub(crate) fn way(&self) -> Way {
        self.desk().way
    }

    /// Answers go there from now on.
    pub(crate) fn connect(&self, root: impl Fn(Answer) + Send + 'static) {
        self.desk().root = Some(Box::new(root));
    }

    /// Takes keys, if they are somebody's answer. False: they are the program's.
    pub(crate) fn keys(&self, keys: &[u8]) -> bool {
        self.desk().keys(keys, Instant::now())
    }

    /// An answer to the question with this number.
    pub(crate) fn answer(&self, question: u64, said: Said) -> Result<(), String> {
        self.desk().answer_numbered(question, said)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Asker {
    fn add(&mut self, event: &Event) -> Result<()> {
        let mut desk = self.desk();
        match &event.what {
            What::Call(call) => {
                if let (true, Some(number)) = (call.asked, call.call) {
                    desk.calls.insert((event.sandbox, number), call.clone());
                }
            }
            What::Question(question) => {
                if let Some(call) = desk.calls.remove(&(event.sandbox, question.call)) {
                    let posed = Posed {
                        sandbox: event.sandbox,
                        call: question.call,
                        rule: call.rule.clone(),
                        otherwise: call.otherwise.clone().unwrap_or_default(),
                        generation: call.generation,
                        shape: Shape::of(&call),
                        text: shown(event.sandbox, question, &call),
                    };
                    desk.pose(question.question, posed);
                }
            }
            What::Settled(settled) => {
                desk.calls.remove(&(event.sandbox, settled.call));
                if let Some(number) = settled.question {
                    desk.settled(number, &settled.by, &settled.done);
                }
            }
            What::Exit { .. } => {
                let gone: Vec<u64> =
                    desk.open.iter().filter(|(_, posed)| posed.sandbox == event.sandbox).map(|(n, _)| *n).collect();
                gone.into_iter().for_each(|number| desk.settled(number, "end", ""));
                desk.calls.retain(|(sandbox, _), _| *sandbox != event.sandbox);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.desk().remember.take().map_or(Ok(()), Remember::finish)
    }
}

impl Desk {
    /// A question has come.
    fn pose(&mut self, number: u64, posed: Posed) {
        self.last = self.last.max(number);
        let key = posed.shape.clone().map(|shape| (posed.rule.clone(), shape));
        let known = key.and_then(|key| self.remembered.get(&key)).copied();
        let early = self.early.iter().position(|(early, _)| *early == number);
        let early = early.and_then(|index| self.early.remove(index));
        self.open.insert(number, posed);
        if let Some(choice) = known {
            self.answer(number, Said { choice, always: false });
        } else if let Some((_, said)) = early {
            self.answer(number, said);
        } else {
            self.show_next();
        }
    }

    fn answer_numbered(&mut self, number: u64, said: Said) -> Result<(), String> {
        if self.open.contains_key(&number) {
            self.answer(number, said);
            return Ok(());
        }
        if number <= self.last {
            return Err(format!("question {number} is not open any more"));
        }
        if self.early.len() >= MAX_EARLY {
            return Err(format!("question {number} is not there, and {MAX_EARLY} others are waited for"));
        }
        self.early.push_back((number, said));
        Ok(())
    }

    /// Sends an answer, and what it says about other questions.
    fn answer(&mut self, number: u64, said: Said) {
        let Some(posed) = self.open.remove(&number) else { return };
        self.unshow(number);
        self.send(&posed, said.choice);
        if said.always {
            match &posed.shape {
                Some(shape) => self.learn(shape, said.choice, &posed),
                None => {
                    say(&format!("question {number}: this call cannot be told from others by a rule; answered once"))
                }
            }
        }
        self.show_next();
    }

    /// What is said to such calls holds from now on, those included that wait already.
    fn learn(&mut self, shape: &Shape, choice: Choice, posed: &Posed) {
        let is_new = self.remembered.insert((posed.rule.clone(), shape.clone()), choice).is_none();
        if let Some(remember) = self.remember.as_mut().filter(|_| is_new) {
            let added = match posed.generation {
                1 => remember.add(shape, choice, &posed.rule, &posed.otherwise),
                generation => Err(format!("the rule is of policy {generation}; this answer holds for the run")),
            };
            if let Err(why) = added {
                say(&why);
            }
        }
        let is_same = |other: &Posed| other.shape.as_ref() == Some(shape) && other.rule == posed.rule;
        let same: Vec<u64> = self.open.iter().filter(|(_, other)| is_same(other)).map(|(number, _)| *number).collect();
        for number in same {
            if let Some(posed) = self.open.remove(&number) {
                self.send(&posed, choice);
            }
        }
    }

    fn send(&self, posed: &Posed, choice: Choice) {
        let sandbox = u16::try_from(posed.sandbox.saturating_sub(1)).unwrap_or(u16::MAX);
        if let Some(root) = &self.root {
            root(Answer { sandbox, sequence: posed.call, choice });
        }
    }

    /// The root has settled a question.
    fn settled(&mut self, number: u64, by: &str, done: &str) {
        // One that was answered is gone from here.
        if self.open.remove(&number).is_none() {
            return;
        }
        if self.unshow(number) {
            show(&[match by {
                "limit" => format!("question {number}: no answer, {done}"),
                _ => format!("question {number}: nobody waits for the answer any more"),
            }]);
        }
        self.show_next();
    }

    fn unshow(&mut self, number: u64) -> bool {
        let is_shown = self.shown.is_some_and(|(shown, _)| shown == number);
        if is_shown {
            self.shown = None;
        }
        is_shown
    }

    fn show_next(&mut self) {
        if self.way != Way::Terminal || self.shown.is_some() {
            return;
        }
        if let Some((number, posed)) = self.open.first_key_value() {
            let mut lines = posed.text.clone();
            if let Some(first) = lines.first_mut() {
                *first = format!("question {number}: {first}");
            }
            lines.push(keys::help(posed.shape.as_ref()));
            show(&lines);
            self.shown = Some((*number, Instant::now()));
            self.line = Line::default();
        }
    }

    fn keys(&mut self, keys: &[u8], now: Instant) -> bool {
        let Some((number, since)) = self.shown else { return false };
        // What is on its way when a question comes is no answer to it.
        if now.duration_since(since) < keys::MUST_BE_SEEN {
            return true;
        }
        match self.line.take(keys) {
            keys::Typed::Nothing => {}
            keys::Typed::Answer(said) => self.answer(number, said),
            keys::Typed::Nonsense => {
                let shape = self.open.get(&number).and_then(|posed| posed.shape.as_ref());
                show(&[keys::help(shape)]);
            }
        }
        true
    }
}

/// What is shown of a question, but for its number.
fn shown(sandbox: u32, question: &super::event::Question, call: &Call) -> Vec<String> {
    let otherwise = call.otherwise.as_deref().unwrap_or("no");
    let who = match &question.registers {
        Some(_) => format!("sandbox {sandbox} stands still; its thread {} calls", call.thread),
        None => {
            let process = question.process.unwrap_or_default();
            let program = question.program();
            format!("{program} (sandbox {sandbox}, process {process}, thread {}) calls", call.thread)
        }
    };
    let mut lines = vec![who, format!("  {}", call.text)];
    lines.extend(question.registers.iter().flat_map(registers));
    lines.push(format!("  by {}; within {} s, else {otherwise}", printable(&call.rule), question.limit));
    lines
}

/// Registers, four a line.
fn registers(all: &BTreeMap<String, Word>) -> Vec<String> {
    let value = |name: &&str| format!("{name:>6} {:016x}", all.get(*name).map_or(0, |word| word.0));
    let names: Vec<&str> = trace::GENERAL.into_iter().chain(["rip", "rflags"]).collect();
    names.chunks(4).map(|row| row.iter().map(value).collect()).collect()
}

/// Lines of our own, at a terminal that may take bytes as they are.
fn show(lines: &[String]) {
    let mut stderr = io::stderr();
    let end = if stderr.is_terminal() { "\r\n" } else { "\n" };
    let text: String = lines.iter().map(|line| format!("cordon: {line}{end}")).collect();
    // Where this cannot go, nothing else can.
    let _ = stderr.write_all(text.as_bytes());
}

#[cfg(test)]
mod tests;
