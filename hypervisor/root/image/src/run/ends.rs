//! The ends of sandboxes: what is still to be told of one, as the host takes it; then it is taken down, and its end is told.
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use control::{ExitReport, Outcome};
use files::Changes;
use sandbox::time::{Over, Times};
use sandbox::{Remains, Sandbox};

use super::{Fleet, log_failure};
use crate::memory::Pages;

/// Steps of a walk over changes at a time: some milliseconds.
const CHANGES_A_TIME: usize = 64;

/// Those that have ended, and whose end is not told yet.
pub(super) struct Ends<'r> {
    /// Nothing runs in them any more; what they wrote to files that are open still is being recorded.
    ending: Vec<Ending<'r>>,
    /// Of these the first is heard: one file at a time is written on the host.
    farewells: VecDeque<Farewell<'r>>,
    /// Tell what each has changed.
    diff: bool,
}

/// A sandbox that is about to be taken down.
struct Ending<'r> {
    number: u16,
    sandbox: Sandbox<'r, Pages>,
    outcome: Outcome,
}

/// A sandbox that was, of which it is told what it changed before its end is.
struct Farewell<'r> {
    number: u16,
    changes: Changes<'r>,
    report: ExitReport,
}

impl Ends<'_> {
    /// None has ended. `diff`: it is to be told what each has changed.
    pub(super) const fn new(diff: bool) -> Self {
        Self { ending: Vec::new(), farewells: VecDeque::new(), diff }
    }

    /// Whether all is told.
    pub(super) fn is_empty(&self) -> bool {
        self.ending.is_empty() && self.farewells.is_empty()
    }
}

impl<'r> Fleet<'_, 'r> {
    /// Ends a sandbox whose time is over.
    pub(super) fn end_in_time(&mut self, number: u16, mut sandbox: Sandbox<'r, Pages>, times: &Times) {
        let over = times.over(self.machine.clock.now()).unwrap_or(Over::Timeout);
        if let Over::Limit(quota) = over {
            self.machine.lend(number, &mut self.entropy, |world| sandbox.reached(quota, world));
        }
        let reason = over.reason(&self.policy);
        self.end(number, sandbox, Outcome::TimedOut { reason });
    }

    /// Ends a sandbox, for which nothing more is done but to tell of it.
    pub(super) fn end(&mut self, number: u16, sandbox: Sandbox<'r, Pages>, outcome: Outcome) {
        self.turns.end(number);
        if let Outcome::SandboxFailed { reason } = &outcome {
            self.some_failed = true;
            log_failure(number, reason);
        }
        self.machine.link.over(number, &outcome);
        self.conclude(Ending { number, sandbox, outcome });
    }

    /// Records what was written to open files, as far as the host takes it; once that is all, takes the sandbox down.
    fn conclude(&mut self, mut ending: Ending<'r>) {
        let Ending { number, sandbox, .. } = &mut ending;
        for _ in 0..CHANGES_A_TIME {
            if self.machine.link.congested(*number) {
                break;
            }
            if !self.machine.lend(*number, &mut self.entropy, |world| sandbox.conclude(world)) {
                return self.take_down(ending);
            }
        }
        self.ends.ending.push(ending);
    }

    /// Takes a sandbox down and reports its end.
    fn take_down(&mut self, ending: Ending<'r>) {
        let Ending { number, sandbox, outcome } = ending;
        let remains = self.machine.lend(number, &mut self.entropy, |world| sandbox.destroy(world));
        let Remains { stats, files, taken_down } = remains;
        if let Err(failure) = taken_down {
            let complaint = format!("taking the sandbox down: {}", failure.reason);
            log::error!("{complaint}");
            self.machine.link.log(number, &complaint);
        }
        let report = ExitReport { outcome, stats };
        if self.ends.diff {
            self.ends.farewells.push_back(Farewell { number, changes: Changes::of(files), report });
        } else {
            self.machine.link.report(number, &report);
        }
    }

    /// Whether more can be told of one that has ended.
    pub(super) fn ends_go_on(&self) -> bool {
        let ending = self.ends.ending.iter().map(|ending| ending.number);
        let mut told = ending.chain(self.ends.farewells.front().map(|farewell| farewell.number));
        told.any(|number| !self.machine.link.congested(number))
    }

    /// Tells more of those that have ended, as far as the host takes it.
    pub(super) fn go_on_with_ends(&mut self) {
        for ending in core::mem::take(&mut self.ends.ending) {
            self.conclude(ending);
        }
        self.say_farewells();
    }

    /// Tells what those changed that are taken down.
    fn say_farewells(&mut self) {
        for _ in 0..CHANGES_A_TIME {
            let link = &mut self.machine.link;
            let Some(Farewell { number, changes, report }) = self.ends.farewells.front_mut() else { return };
            if link.congested(*number) {
                return;
            }
            let mut records = Vec::new();
            let goes_on = changes.step(|record| record.encode(&mut records));
            link.tell_changes(*number, &records);
            if !goes_on {
                link.report(*number, report);
                self.ends.farewells.pop_front();
            }
        }
    }
}
