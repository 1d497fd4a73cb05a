//! The threads and processes of a run, as their calls tell.
use crate::events::event::{Bytes, Call};
use std::collections::BTreeMap;

/// Threads that are kept.
const MAX_THREADS: usize = 2000;

/// All threads, by sandbox and number.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) threads: BTreeMap<(u32, u32), Thread>,
}

/// A thread.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// Who made it.
    pub(super) parent: Option<u32>,
    /// What it executed last.
    pub(super) program: String,
    /// Its calls.
    pub(super) calls: u64,
    /// When it was first seen, and last.
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// What it ended with, if it said so.
    pub(super) status: Option<u64>,
}

impl Processes {
    /// A call was judged.
    pub(super) fn call(&mut self, sandbox: u32, ns: u64, call: &Call) {
        let Some(thread) = self.thread(sandbox, call.thread, ns) else { return };
        thread.calls += 1;
        thread.last_ns = ns;
        match call.name.as_deref() {
            Some("exit" | "exit_group") => thread.status = Some(call.args[0].0 & 0xff),
            Some("execve" | "execveat") => {
                let name = call.data.iter().find_map(|data| match data.bytes.first() {
                    Some(Bytes::Text(name)) => Some(name.clone()),
                    _ => None,
                });
                thread.program = name.unwrap_or_default();
            }
            _ => {}
        }
    }

    /// A call has come back.
    pub(super) fn returned(&mut self, sandbox: u32, ns: u64, call: &Call, value: i64) {
        let made = matches!(call.name.as_deref(), Some("clone" | "clone3" | "fork" | "vfork"));
        let (Ok(child), true) = (u32::try_from(value), made && value > 0) else { return };
        let program = self.threads.get(&(sandbox, call.thread)).map(|parent| parent.program.clone());
        if let Some(thread) = self.thread(sandbox, child, ns) {
            thread.parent = Some(call.thread);
            if thread.program.is_empty() {
                thread.program = program.unwrap_or_default();
            }
        }
    }

    fn thread(&mut self, sandbox: u32, number: u32, ns: u64) -> Option<&mut Thread> {
        let key = (sandbox, number);
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&key) {
            return None;
        }
        Some(self.threads.entry(key).or_insert_with(|| Thread { first_ns: ns, last_ns: ns, ..Thread::default() }))
    }
}
