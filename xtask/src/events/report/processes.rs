//! The processes of a run: who made whom, what each executed, and how it ended.
use crate::events::event::Call;
use crate::events::process_events::{Ended, Executed, Started};
use std::collections::BTreeMap;

/// Processes, and threads beside their first ones, that are kept.
const MAX_PROCESSES: usize = 2000;
const MAX_THREADS: usize = 20_000;

/// By sandbox and number.
type Key = (u32, u32);

/// All processes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) of: BTreeMap<Key, Process>,
    /// The process of threads that are not its first.
    threads: BTreeMap<Key, u32>,
    /// Processes, and calls of such, for which there was no room.
    pub(super) more: u64,
}

/// A process.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) parent: Option<u32>,
    /// The file that it executed last, and its command; nothing: it is a copy of its parent.
    pub(super) path: String,
    pub(super) command: String,
    /// Threads that it made beside its first.
    pub(super) threads: u64,
    /// Its calls.
    pub(super) calls: u64,
    /// When it was first seen, and last.
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// How it ended.
    pub(super) end: Option<String>,
}

impl Processes {
    /// A call was judged.
    pub(super) fn call(&mut self, sandbox: u32, ns: u64, call: &Call) {
        let process = self.threads.get(&(sandbox, call.thread)).copied().unwrap_or(call.thread);
        if let Some(process) = self.process(sandbox, process, ns) {
            process.calls += 1;
        }
    }

    pub(super) fn started(&mut self, sandbox: u32, ns: u64, started: &Started) {
        let Started { process: number, thread, parent, .. } = *started;
        if thread.is_none() && self.of.remove(&(sandbox, number)).is_some_and(|other| other.end.is_some()) {
            // Numbers are used again after thirty thousand others.
            self.more += 1;
        }
        let Some(process) = self.process(sandbox, number, ns) else { return };
        match thread {
            Some(thread) => {
                process.threads += 1;
                if self.threads.len() < MAX_THREADS {
                    self.threads.insert((sandbox, thread), number);
                }
            }
            None => process.parent = parent,
        }
    }

    pub(super) fn executed(&mut self, sandbox: u32, ns: u64, executed: &Executed) {
        if let Some(process) = self.process(sandbox, executed.process, ns) {
            (process.path, process.command) = (executed.path.shown(), executed.text());
        }
    }

    pub(super) fn ended(&mut self, sandbox: u32, ns: u64, ended: &Ended) {
        match ended.thread {
            Some(thread) => drop(self.threads.remove(&(sandbox, thread))),
            None => {
                if let Some(process) = self.process(sandbox, ended.process, ns) {
                    process.end = Some(ended.text());
                }
            }
        }
    }

    /// Each process with its depth, behind its parent; what has no parent is at the top.
    pub(super) fn tree(&self) -> Vec<(usize, Key, &Process)> {
        let mut children: BTreeMap<Option<Key>, Vec<Key>> = BTreeMap::new();
        for (key, process) in &self.of {
            // A parent has a number of its own, so that nobody is below itself: it was there before.
            let parent = process.parent.map(|parent| (key.0, parent));
            let parent =
                parent.filter(|above| self.of.get(above).is_some_and(|above| above.first_ns <= process.first_ns));
            children.entry(parent.filter(|parent| parent != key)).or_default().push(*key);
        }
        let mut found = Vec::new();
        let mut open: Vec<(usize, Key)> = top(&children, None, 0);
        while let Some((depth, key)) = open.pop() {
            if let Some(process) = self.of.get(&key) {
                found.push((depth, key, process));
            }
            open.extend(top(&children, Some(key), depth + 1));
            children.remove(&Some(key));
        }
        found
    }

    fn process(&mut self, sandbox: u32, number: u32, ns: u64) -> Option<&mut Process> {
        let key = (sandbox, number);
        if self.of.len() >= MAX_PROCESSES && !self.of.contains_key(&key) {
            self.more += 1;
            return None;
        }
        let process = self.of.entry(key).or_insert_with(|| Process { first_ns: ns, ..Process::default() });
        process.last_ns = ns;
        Some(process)
    }
}

/// The children of one, so that the first is taken first.
fn top(children: &BTreeMap<Option<Key>, Vec<Key>>, of: Option<Key>, depth: usize) -> Vec<(usize, Key)> {
    children.get(&of).into_iter().flatten().rev().map(|key| (depth, *key)).collect()
}
