//! What a run has used of what `[limits]` can bound, as far as its events tell.
use super::event::{Event, What};
use super::file_events::Change;
use policy::quotas::{Quota, Quotas};
use std::collections::{BTreeMap, VecDeque};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Calls of the last second that are remembered: beyond them nobody counts.
const MAX_CALLS: usize = 1 << 20;

/// How far events tell what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was so much.
    Whole,
    /// It was so much or more, because of this.
    Part(&'static str),
    /// Nothing is told, because of this.
    Nothing(&'static str),
}

/// How far the use of a resource is told.
pub(super) const fn told(quota: Quota) -> Told {
    match quota {
        Quota::Wall | Quota::CallsPerSecond | Quota::Threads => Told::Whole,
        Quota::Memory => Told::Part("told at the end only"),
        Quota::Processes => Told::Part("those that nobody has waited for yet count, and are not told"),
        Quota::BytesWritten => Told::Part("what went to the standard streams is not told"),
        Quota::OpenFiles => Told::Nothing("descriptors are not told"),
        Quota::Cpu => Told::Nothing("processor time is not told; it was no more than the time of the run"),
    }
}

/// All sandboxes of a run.
#[derive(Debug, Default)]
pub(super) struct Usage {
    limits: Quotas,
    sandboxes: BTreeMap<u32, Sandbox>,
}

/// One of them.
#[derive(Debug, Default)]
struct Sandbox {
    /// Threads of each process that is alive.
    processes: BTreeMap<u32, u64>,
    /// Bytes written to files.
    written: u64,
    /// When the calls of the last second were made.
    calls: VecDeque<u64>,
    /// The most of each resource.
    most: BTreeMap<Quota, u64>,
    /// When there was more than the limit for the first time.
    beyond: BTreeMap<Quota, u64>,
}

impl Usage {
    /// Looks for what goes beyond these limits.
    pub(super) fn under(limits: &Quotas) -> Self {
        Self { limits: limits.clone(), sandboxes: BTreeMap::new() }
    }

    /// One more event.
    pub(super) fn add(&mut self, event: &Event) {
        let Event { sandbox, ns, what } = event;
        if *sandbox == 0 {
            return;
        }
        let sandbox = self.sandboxes.entry(*sandbox).or_default();
        for (quota, amount) in sandbox.changed(*ns, what).into_iter().flatten() {
            let most = sandbox.most.entry(quota).or_default();
            *most = amount.max(*most);
            // Calls that come too fast wait, which the calls themselves say nothing of.
            if quota != Quota::CallsPerSecond && self.limits.get(quota).is_some_and(|limit| amount > limit) {
                sandbox.beyond.entry(quota).or_insert(*ns);
            }
        }
    }

    /// The most that a sandbox used; nothing if that is not told.
    pub(super) fn most(&self, quota: Quota) -> Option<u64> {
        self.sandboxes.values().filter_map(|sandbox| sandbox.most.get(&quota)).max().copied()
    }

    /// Where more was used than the limit allows: the first sandbox, and when it was.
    pub(super) fn first_beyond(&self, quota: Quota) -> Option<(u32, u64)> {
        self.sandboxes.iter().find_map(|(number, sandbox)| Some((*number, *sandbox.beyond.get(&quota)?)))
    }
}

impl Sandbox {
    /// What is used after an event, of what it changes.
    fn changed(&mut self, ns: u64, what: &What) -> [Option<(Quota, u64)>; 2] {
        match what {
            What::Call(_) => [Some((Quota::CallsPerSecond, self.calls_of_second(ns))), None],
            What::ProcessStarted(started) => {
                self.processes.insert(started.process, 1);
                self.alive()
            }
            What::ThreadStarted(started) => {
                *self.processes.entry(started.process).or_default() += 1;
                self.alive()
            }
            What::ThreadEnded(ended) => {
                let threads = self.processes.entry(ended.process).or_default();
                *threads = threads.saturating_sub(1);
                [None; 2]
            }
            What::ProcessEnded(ended) => {
                self.processes.remove(&ended.process);
                [None; 2]
            }
            What::FileChanged(change) => match change.change {
                Change::Write { bytes } => {
                    self.written = self.written.saturating_add(bytes);
                    [Some((Quota::BytesWritten, self.written)), None]
                }
                _ => [None; 2],
            },
            What::Exit { figures, .. } => {
                [Some((Quota::Memory, figures.memory_bytes)), Some((Quota::Wall, figures.wall_us / 1000))]
            }
            _ => [None; 2],
        }
    }

    fn alive(&self) -> [Option<(Quota, u64)>; 2] {
        let threads = self.processes.values().fold(0, |all: u64, threads| all.saturating_add(*threads));
        [Some((Quota::Processes, self.processes.len() as u64)), Some((Quota::Threads, threads))]
    }

    /// The calls of the second that ends with this one.
    fn calls_of_second(&mut self, ns: u64) -> u64 {
        while self.calls.front().is_some_and(|first| first.saturating_add(SECOND) <= ns) {
            self.calls.pop_front();
        }
        if self.calls.len() < MAX_CALLS {
            self.calls.push_back(ns);
        }
        self.calls.len() as u64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use control::RunStats;
    use serde_json::{from_value, json};

    /// An event of a sandbox, as a file has it.
    pub(crate) fn event(sandbox: u32, ns: u64, mut rest: serde_json::Value) -> Event {
        rest["sandbox"] = sandbox.into();
        rest["ns"] = ns.into();
        from_value(rest).expect("an event")
    }

    /// The end of a sandbox that has used so many bytes of memory and microseconds.
    pub(crate) fn exit(sandbox: u32, memory_bytes: u64, wall_us: u64) -> Event {
        let figures = RunStats { memory_bytes, wall_us, ..RunStats::default() };
        let what = What::Exit { outcome: "exited".into(), status: Some(0), reason: None, figures };
        Event { sandbox, ns: wall_us * 1000, what }
    }

    #[test]
    fn the_most_that_one_sandbox_used_counts() {
        let text = "version = 1\n[limits]\nprocesses = 1\nthreads = 3\nbytes_written = 10\nwall = 1\n";
        let mut usage = Usage::under(policy::parse("p", text).unwrap().quotas());
        let process =
            |sandbox, ns, kind: &str, process: u32| event(sandbox, ns, json!({"type": kind, "process": process}));
        let thread = |ns, kind: &str| event(1, ns, json!({"type": kind, "process": 2, "thread": 3}));
        let write = |ns, bytes| {
            event(
                1,
                ns,
                json!({"type": "file-changed", "thread": 1, "path": {"text": "/a"}, "change": "write", "bytes": bytes, "text": ""}),
            )
        };
        for event in [
            process(1, 0, "process-started", 2),
            process(2, 0, "process-started", 2),
            thread(5, "thread-started"),
            thread(6, "thread-ended"),
            thread(7, "thread-started"),
            process(1, 8, "process-started", 4),
            process(1, 9, "process-ended", 2),
            process(1, 10, "process-started", 5),
            write(11, 6),
            write(12, 5),
            exit(1, 77, 900_000),
            exit(2, 99, 1_001_000),
        ] {
            usage.add(&event);
        }
        let most = [Quota::Processes, Quota::Threads, Quota::BytesWritten, Quota::Memory, Quota::Wall, Quota::Cpu];
        assert_eq!(most.map(|quota| usage.most(quota)), [Some(2), Some(3), Some(11), Some(99), Some(1001), None]);
        let beyond = [Quota::Processes, Quota::Threads, Quota::BytesWritten, Quota::Memory, Quota::Wall];
        let beyond = beyond.map(|quota| usage.first_beyond(quota));
        assert_eq!(beyond, [Some((1, 8)), None, Some((1, 12)), None, Some((2, 1_001_000_000))]);
    }

    #[test]
    fn calls_of_any_second_are_counted() {
        let mut sandbox = Sandbox::default();
        let counts = [0, SECOND / 2, SECOND - 1, SECOND, SECOND + 1, 9 * SECOND].map(|ns| sandbox.calls_of_second(ns));
        assert_eq!(counts, [1, 2, 3, 3, 4, 1]);
    }
}
