//! The run: one sandbox from the bundle, stepped until it ends, with the console and the clock looked after in between.
use alloc::string::String;

use bundle::payload::Payload;
use control::{ExitReport, Outcome, RunStats};
use files::Stack;
use hvclient::Client;
use hvclient::machine::{Clock, HypercallPage};
use proto::op::wait_events;
use sandbox::budget::Budget;
use sandbox::create::SupervisorProtection;
use sandbox::shim::Shim;
use sandbox::{Failure, RootMemory, Sandbox, Setup, Step, World};
use tlfs::addr::PAGE_SIZE;
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

use crate::apic;
use crate::console::HostLink;
use crate::memory::Pages;
use crate::pause::TICK;
use crate::random::Generator;

/// Everything that a run needs of the machine.
pub(crate) struct Machine {
    pub(crate) client: Client<HypercallPage>,
    pub(crate) clock: Clock,
    pub(crate) link: HostLink,
}

impl Machine {
    /// Does `work` with what a sandbox is lent meanwhile.
    fn lend<T>(&mut self, entropy: &mut Generator, work: impl FnOnce(&mut World<'_, HypercallPage, Pages>) -> T) -> T {
        let clock = self.clock;
        work(&mut World {
            client: &mut self.client,
            memory: &mut Pages,
            console: &mut self.link,
            entropy,
            now: &move || clock.now(),
        })
    }
}

/// Runs what `payload` says, from beginning to end.
pub(crate) fn run(machine: &mut Machine, payload: Payload<'static>) -> ExitReport {
    machine.link.set_window(payload.run.window);
    let mut entropy = Generator::new(payload.run.seed);
    let timeout = payload.run.timeout_ms;
    let created = setup(payload)
        .and_then(|setup| machine.lend(&mut entropy, |world| Sandbox::create(setup, world).map_err(Failure::from)));
    let mut sandbox = match created {
        Ok(sandbox) => sandbox,
        Err(Failure { reason }) => {
            return ExitReport { outcome: Outcome::SandboxFailed { reason }, stats: RunStats::default() };
        }
    };
    let deadline = match timeout {
        0 => u64::MAX,
        ms => sandbox.created().saturating_add(ms.saturating_mul(REFERENCE_TICKS_PER_SECOND / 1000)),
    };
    let outcome = Runner { machine, entropy: &mut entropy, deadline, events: apic::events(), interrupt_at: u64::MAX }
        .run_to_end(&mut sandbox);
    let (stats, destroyed) = machine.lend(&mut entropy, |world| sandbox.destroy(world));
    if let Err(failure) = destroyed {
        log::error!("taking the sandbox down: {}", failure.reason);
        machine.link.log(format_args!("taking the sandbox down: {}", failure.reason));
    }
    ExitReport { outcome, stats }
}

/// What the sandbox is made from, all of it checked.
fn setup(payload: Payload<'static>) -> Result<Setup<'static>, Failure> {
    let shim = Shim::parse(payload.shim)?;
    let policy = policy::parse(&payload.run.policy_name, payload.policy).map_err(|e| Failure::new(display(&e)))?;
    // What the tree takes of the heap is no part of what the sandbox gets.
    let tree_pages = Stack::lower_cost(payload.tree.entries.len()).div_ceil(PAGE_SIZE);
    let budget = Budget::divide(Pages.free_pages().saturating_sub(tree_pages), payload.run.memory);
    let limits = files::Limits::within(budget.files);
    let files = Stack::new(payload.tree, payload.tree_data, limits).map_err(|e| Failure::new(display(&e)))?;
    Ok(Setup { run: payload.run, shim, policy, files, budget, supervisor_protection: supervisor_protection() })
}

fn display(e: &dyn core::fmt::Display) -> String {
    alloc::format!("{e}")
}

fn supervisor_protection() -> SupervisorProtection {
    match raw_cpuid::CpuId::new().get_extended_feature_info() {
        Some(features) => SupervisorProtection { smep: features.has_smep(), smap: features.has_smap() },
        None => SupervisorProtection::default(),
    }
}

/// One sandbox in its run.
struct Runner<'m> {
    machine: &'m mut Machine,
    entropy: &'m mut Generator,
    /// Reference time at which the run ends.
    deadline: u64,
    /// Interrupts that there had been when the console was looked after last.
    events: u64,
    /// The sandbox's wish for an interrupt that the timer was last set for.
    interrupt_at: u64,
}

impl Runner<'_> {
    fn run_to_end(mut self, sandbox: &mut Sandbox<'_, Pages>) -> Outcome {
        loop {
            match self.step(sandbox) {
                Step::Again => {}
                Step::Interrupted => apic::take_pending(),
                Step::Waiting { deadline, events } => {
                    let Some(events) = self.wait(deadline, events, sandbox) else { return Outcome::TimedOut };
                    self.wake(sandbox, events);
                }
                Step::Ended(outcome) => return outcome,
            }
            if !self.look_after_console() {
                return Outcome::TimedOut;
            }
            if sandbox.interrupt_at() != self.interrupt_at {
                self.set_timer(sandbox.interrupt_at());
            }
        }
    }

    /// Sees to it that an interrupt comes by reference time `at`.
    #[cold]
    fn set_timer(&mut self, at: u64) {
        self.interrupt_at = at;
        let left = at.saturating_sub(self.machine.clock.now());
        apic::hasten(left, TICK);
    }

    fn step(&mut self, sandbox: &mut Sandbox<'_, Pages>) -> Step {
        self.machine.lend(self.entropy, |world| sandbox.step(world))
    }

    fn wake(&mut self, sandbox: &mut Sandbox<'_, Pages>, events: u64) {
        self.machine.lend(self.entropy, |world| sandbox.wake(events, world));
    }

    /// After each interrupt, and for as long as too much output waits. False: the time is over.
    fn look_after_console(&mut self) -> bool {
        if apic::events() == self.events && !self.machine.link.congested() {
            return true;
        }
        let mut pause = self.machine.link.pause();
        loop {
            self.events = apic::events();
            // A tick has set the timer for the next one.
            self.interrupt_at = u64::MAX;
            self.machine.link.poll();
            let now = self.machine.clock.now();
            if now >= self.deadline {
                return false;
            }
            if !self.machine.link.congested() {
                return true;
            }
            pause.rest(self.deadline - now);
        }
    }

    /// Which of `events` are there.
    fn found(&mut self, events: u64) -> u64 {
        let link = &mut self.machine.link;
        let mut found = 0;
        if events & wait_events::CONSOLE_INPUT != 0 && link.input_ready() {
            found |= wait_events::CONSOLE_INPUT;
        }
        if events & wait_events::WINDOW != 0 && link.take_window_change() {
            found |= wait_events::WINDOW;
        }
        found
    }

    /// Until reference time `deadline` or one of `events`: the events that are there. `None`: the time is over.
    fn wait(&mut self, deadline: u64, events: u64, sandbox: &mut Sandbox<'_, Pages>) -> Option<u64> {
        let mut pause = self.machine.link.pause();
        loop {
            self.machine.link.poll();
            let now = self.machine.clock.now();
            if now >= self.deadline {
                return None;
            }
            let found = self.found(events);
            if found != 0 {
                return Some(found);
            }
            if now >= deadline {
                return Some(0);
            }
            // What `input_ready` asks the host for has to go before the processor sleeps.
            self.machine.link.poll();
            pause.rest(deadline.min(self.deadline) - now);
            sandbox.count_wake_up();
        }
    }
}

/// What the host is told when the bundle itself is bad.
pub(crate) fn bad_payload(reason: String) -> ExitReport {
    ExitReport { outcome: Outcome::SandboxFailed { reason }, stats: RunStats::default() }
}
