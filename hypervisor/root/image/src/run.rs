//! The run: the bundle's programs, each in a sandbox of its own, until the last has ended. One has the processor at a time, in
//! [`Turns`]; in between the console and the clock are looked after.
mod ends;
mod questions;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bundle::payload::Payload;
use bundle::{PolicyFile, Program, RunConfig};
use control::policy::Sent;
use control::{ExitReport, Outcome, RunStats};
use files::{Lower, Stack};
use hvclient::Client;
use hvclient::machine::{Clock, HypercallPage};
use policy::Policy;
use policy::quotas::Quota;
use sandbox::budget::Budget;
use sandbox::create::{CreateError, SupervisorProtection};
use sandbox::shim::Shim;
use sandbox::time::Times;
use sandbox::turns::{SLICE, Turns, Waiting};
use sandbox::{Failure, RootMemory, Sandbox, Setup, Step, World};
use tlfs::addr::PAGE_SIZE;
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

use crate::apic;
use crate::console::HostLink;
use crate::folders::Folders;
use crate::memory::Pages;
use crate::pause::TICK;
use crate::policies::{compile, recompile};
use crate::random::Generator;
use ends::Ends;

/// Everything that a run needs of the machine.
pub(crate) struct Machine {
    pub(crate) client: Client<HypercallPage>,
    pub(crate) clock: Clock,
    pub(crate) link: HostLink,
}

impl Machine {
    /// Does `work` with what a sandbox is lent meanwhile.
    fn lend<T>(
        &mut self,
        sandbox: u16,
        entropy: &mut Generator,
        work: impl FnOnce(&mut World<'_, HypercallPage, Pages>) -> T,
    ) -> T {
        let clock = self.clock;
        work(&mut World {
            client: &mut self.client,
            memory: &mut Pages,
            console: &mut self.link.lane(sandbox),
            entropy,
            now: &move || clock.now(),
        })
    }
}

/// Runs what `payload` says, from beginning to end, and reports each sandbox' end to the host.
pub(crate) fn run(machine: &mut Machine, payload: Payload<'static>) -> Result<(), SomeFailed> {
    machine.link.set_window(payload.run.window);
    let Payload { shim, policy, run, tree, tree_data } = payload;
    let folders = Folders::open(&run.binds, machine.clock).map_err(Failure::new);
    let common = folders.and_then(|folders| Common::new(&run, shim, &policy, (tree, tree_data), folders));
    let common = match common {
        Ok(common) => common,
        Err(Failure { reason }) => {
            (0u16..).zip(&run.programs).for_each(|(sandbox, _)| fail(machine, sandbox, reason.clone()));
            return Err(SomeFailed);
        }
    };
    machine.link.set_when_full(common.policy.when_full());
    let mut fleet = Fleet::new(machine, &run, &common);
    for program in &run.programs {
        fleet.add(common.setup(program));
    }
    fleet.run_to_end();
    if fleet.some_failed { Err(SomeFailed) } else { Ok(()) }
}

/// A sandbox could not be made or did not keep to the rules; the host knows which, and why.
pub(crate) struct SomeFailed;

/// What is told of a sandbox that was never made.
pub(crate) fn fail(machine: &mut Machine, sandbox: u16, reason: String) {
    log_failure(sandbox, &reason);
    machine
        .link
        .report(sandbox, &ExitReport { outcome: Outcome::SandboxFailed { reason }, stats: RunStats::default() });
}

/// Sandboxes are counted from 1 where people read of them.
fn log_failure(sandbox: u16, reason: &str) {
    log::error!("sandbox {} failed: {reason}", u32::from(sandbox) + 1);
}

/// What all sandboxes share, all of it checked.
struct Common<'r> {
    run: &'r RunConfig,
    shim: Shim<'static>,
    policy: Rc<Policy>,
    lower: Rc<Lower<'static>>,
    budget: Budget,
    supervisor_protection: SupervisorProtection,
    folders: Folders,
}

impl<'r> Common<'r> {
    fn new(
        run: &'r RunConfig,
        shim: &'static [u8],
        policy: &[PolicyFile],
        (tree, tree_data): (bundle::TreeIndex, &'static [u8]),
        folders: Folders,
    ) -> Result<Self, Failure> {
        let shim = Shim::parse(shim)?;
        let policy: Rc<Policy> = compile(policy)?.into();
        // What the tree takes of the heap is no part of what a sandbox gets.
        let tree_pages = Lower::cost(tree.entries.len()).div_ceil(PAGE_SIZE);
        let free_pages = Pages.free_pages().saturating_sub(tree_pages);
        let lower = Lower::new(tree, tree_data).map_err(|e| Failure::new(e.to_string()))?.into();
        let budget = match policy.quotas().get(Quota::Memory) {
            Some(whole) => Budget::within(free_pages, run.programs.len(), whole.min(run.memory)),
            None => Budget::divide(free_pages, run.programs.len(), run.memory),
        };
        Ok(Self { run, shim, policy, lower, budget, supervisor_protection: supervisor_protection(), folders })
    }

    /// What the sandbox of `program` is made from.
    fn setup(&self, program: &'r Program) -> Result<Setup<'r>, Failure> {
        Ok(Setup {
            program,
            run: self.run,
            shim: self.shim,
            policy: Rc::clone(&self.policy),
            files: self.files()?,
            budget: self.budget,
            supervisor_protection: self.supervisor_protection,
        })
    }

    /// The files of one sandbox: the tree with all that is bound into it.
    fn files(&self) -> Result<Stack<'static>, Failure> {
        let mut stack = Stack::new(Rc::clone(&self.lower), files::Limits::within(self.budget.files));
        for (bind, server) in self.run.binds.iter().zip(self.folders.servers()) {
            let mode = match bind.mode {
                bundle::BindMode::ReadOnly => files::BindMode::ReadOnly,
                bundle::BindMode::CopyOnWrite => files::BindMode::CopyOnWrite,
                bundle::BindMode::ReadWrite => files::BindMode::Direct,
            };
            let bind =
                files::Bind { server, at: bind.at.clone(), mode, merge: bind.merge, except: bind.except.clone() };
            let place = String::from_utf8_lossy(&bind.at).into_owned();
            let bound = stack.bind(bind);
            bound.map_err(|error| Failure::new(format!("the folder at {place} cannot be bound: {error:?}")))?;
        }
        Ok(stack)
    }
}

fn supervisor_protection() -> SupervisorProtection {
    match raw_cpuid::CpuId::new().get_extended_feature_info() {
        Some(features) => SupervisorProtection { smep: features.has_smep(), smap: features.has_smap() },
        None => SupervisorProtection::default(),
    }
}

/// A sandbox that has not ended.
struct Member<'r> {
    sandbox: Sandbox<'r, Pages>,
    times: Times,
}

/// All sandboxes of a run.
struct Fleet<'m, 'r> {
    machine: &'m mut Machine,
    folders: &'m Folders,
    entropy: Generator,
    /// By number; `None`: it has ended.
    members: Vec<Option<Member<'r>>>,
    ends: Ends<'r>,
    turns: Turns,
    /// How long each may run, in 100 ns.
    time_limit: u64,
    /// What the programs were started under, and what holds now.
    first: Rc<Policy>,
    policy: Rc<Policy>,
    /// Interrupts that there had been when everything was looked after last.
    events: u64,
    /// What the timer was last set for, beside its ticks.
    interrupt_at: u64,
    some_failed: bool,
}

impl<'m, 'r> Fleet<'m, 'r> {
    fn new(machine: &'m mut Machine, run: &RunConfig, common: &'m Common<'_>) -> Self {
        let time_limit = match run.timeout_ms {
            0 => u64::MAX,
            ms => ms.saturating_mul(REFERENCE_TICKS_PER_SECOND / 1000),
        };
        Self {
            machine,
            folders: &common.folders,
            first: Rc::clone(&common.policy),
            policy: Rc::clone(&common.policy),
            entropy: Generator::new(run.seed),
            members: Vec::new(),
            ends: Ends::new(run.diff),
            turns: Turns::new(),
            time_limit,
            events: apic::events(),
            interrupt_at: u64::MAX,
            some_failed: false,
        }
    }

    /// Makes one more sandbox.
    fn add(&mut self, setup: Result<Setup<'r>, Failure>) {
        let number = u16::try_from(self.members.len()).unwrap_or(u16::MAX);
        let created = setup
            .map_err(CreateError)
            .and_then(|setup| self.machine.lend(number, &mut self.entropy, |world| Sandbox::create(setup, world)));
        self.turns.add(created.is_ok());
        match created {
            Ok(sandbox) => {
                let times = Times::new(sandbox.created(), self.time_limit, &self.policy);
                self.members.push(Some(Member { sandbox, times }));
            }
            Err(failed) => {
                self.members.push(None);
                self.some_failed = true;
                fail(self.machine, number, failed.0.reason);
            }
        }
    }

    fn run_to_end(&mut self) {
        loop {
            self.look_after_all();
            match self.turns.take() {
                Some(sandbox) => self.turn(sandbox),
                None if self.ends_go_on() => {}
                // The last one may have ended just now, by its time limit: nothing would wake the processor again.
                None if !self.turns.any_left() && self.ends.is_empty() => return,
                None => self.rest(),
            }
        }
    }

    /// One sandbox' turn.
    fn turn(&mut self, number: u16) {
        let Some(member) = self.members.get_mut(usize::from(number)).and_then(Option::take) else { return };
        let Member { mut sandbox, mut times } = member;
        let end = self.run_turn(number, &mut sandbox, &mut times);
        self.folders.complaints().for_each(|text| self.machine.link.log(number, &text));
        match end {
            TurnEnd::Ended(outcome) => return self.end(number, sandbox, outcome),
            _ if times.over(0).is_some() => return self.end_in_time(number, sandbox, &times),
            TurnEnd::Waiting(waiting) => self.turns.wait(number, waiting),
            TurnEnd::Stopped => self.turns.stop(number),
            TurnEnd::Over if self.machine.link.congested(number) => self.turns.hold(number),
            TurnEnd::Over => self.turns.ready(number),
        }
        if let Some(seat) = self.members.get_mut(usize::from(number)) {
            *seat = Some(Member { sandbox, times });
        }
    }

    /// A turn, whose time is counted.
    fn run_turn(&mut self, number: u16, sandbox: &mut Sandbox<'_, Pages>, times: &mut Times) -> TurnEnd {
        let now = self.machine.clock.now();
        let used_up = times.begin_turn(now);
        let end = self.step_until(number, sandbox, used_up.min(now.saturating_add(SLICE)));
        times.end_turn(self.machine.clock.now());
        end
    }

    fn step_until(&mut self, number: u16, sandbox: &mut Sandbox<'_, Pages>, over: u64) -> TurnEnd {
        let others_wake = self.wake_at();
        loop {
            let at = sandbox.interrupt_at().min(others_wake);
            if at != self.interrupt_at {
                self.set_timer(at);
            }
            match self.machine.lend(number, &mut self.entropy, |world| sandbox.step(world)) {
                Step::Again => {}
                Step::Interrupted => apic::take_pending(),
                Step::Waiting { deadline, events } => return TurnEnd::Waiting(Waiting { deadline, events }),
                Step::Stopped => return TurnEnd::Stopped,
                Step::Ended(outcome) => return TurnEnd::Ended(outcome),
            }
            if self.machine.link.congested(number) {
                return TurnEnd::Over;
            }
            if apic::events() != self.events && !self.goes_on(over) {
                return TurnEnd::Over;
            }
        }
    }

    /// After an interrupt: whether the turn that lasts until `over` goes on. With a slice still to run it does, unless there is more to
    /// look after than the console.
    fn goes_on(&mut self, over: u64) -> bool {
        let now = self.machine.clock.now();
        if now >= over || now >= self.wake_at() {
            return false;
        }
        self.look_after_console();
        !self.input_waits()
    }

    /// Whether a sandbox waits for what the host has sent.
    fn input_waits(&mut self) -> bool {
        let link = &mut self.machine.link;
        link.has_answers() || self.turns.waiting().any(|(sandbox, waiting)| link.found(sandbox, waiting.events) != 0)
    }

    /// Sees to it that an interrupt comes by reference time `at`.
    #[cold]
    fn set_timer(&mut self, at: u64) {
        self.interrupt_at = at;
        let left = at.saturating_sub(self.machine.clock.now());
        apic::hasten(left, TICK);
    }

    fn look_after_console(&mut self) {
        self.events = apic::events();
        // A tick has set the timer for the next one.
        self.interrupt_at = u64::MAX;
        self.machine.link.poll();
    }

    /// The console, those whose time is over, and those that can go on.
    fn look_after_all(&mut self) {
        self.look_after_console();
        if let Some(sent) = self.machine.link.take_policy() {
            self.change_policy(sent);
        }
        let now = self.machine.clock.now();
        let late: Vec<u16> = self.turns.left().filter(|&number| now >= self.deadline(number)).collect();
        for number in late {
            if let Some(member) = self.members.get_mut(usize::from(number)).and_then(Option::take) {
                self.end_in_time(number, member.sandbox, &member.times);
            }
        }
        self.settle_questions(now);
        self.go_on_with_ends();
        let link = &mut self.machine.link;
        let free: Vec<u16> = self.turns.held().filter(|&number| !link.congested(number)).collect();
        free.into_iter().for_each(|number| self.turns.ready(number));
        let waiting: Vec<(u16, Waiting)> = self.turns.waiting().collect();
        for (number, Waiting { deadline, events }) in waiting {
            let member = self.members.get_mut(usize::from(number)).and_then(Option::as_mut);
            let news = member.map_or(0, |member| member.sandbox.take_found(events));
            let found = self.machine.link.take_found(number, events) | news;
            if found != 0 || now >= deadline {
                self.wake(number, found);
            }
        }
    }

    /// Another policy holds from now on: no sandbox is between a verdict and its effect here. One that cannot be used leaves the old
    /// one in force.
    fn change_policy(&mut self, sent: Sent) {
        let generation = sent.generation;
        let policy: Rc<Policy> = match recompile(sent, &self.first) {
            Ok(policy) => policy.into(),
            Err(Failure { reason }) => {
                return self
                    .machine
                    .link
                    .log(0, &format!("policy {generation} is refused, the old one stays: {reason}"));
            }
        };
        self.machine.link.set_when_full(policy.when_full());
        self.policy = Rc::clone(&policy);
        for number in self.turns.left().collect::<Vec<_>>() {
            let Some(mut member) = self.members.get_mut(usize::from(number)).and_then(Option::take) else { continue };
            let policy = Rc::clone(&policy);
            let changed = self
                .machine
                .lend(number, &mut self.entropy, |world| member.sandbox.set_policy(policy, generation, world));
            match changed {
                // It would go on under a policy that holds no more.
                Err(Failure { reason }) => self.end(number, member.sandbox, Outcome::SandboxFailed { reason }),
                Ok(()) => {
                    member.times.set_policy(&self.policy);
                    if let Some(seat) = self.members.get_mut(usize::from(number)) {
                        *seat = Some(member);
                    }
                }
            }
        }
    }

    fn deadline(&self, number: u16) -> u64 {
        self.members
            .get(usize::from(number))
            .and_then(Option::as_ref)
            .map_or(u64::MAX, |member| member.times.deadline())
    }

    fn wake(&mut self, number: u16, events: u64) {
        if let Some(Some(member)) = self.members.get_mut(usize::from(number)) {
            self.machine.lend(number, &mut self.entropy, |world| member.sandbox.wake(events, world));
            self.turns.ready(number);
        }
    }

    /// Nobody can run: halts the processor until somebody can.
    fn rest(&mut self) {
        let mut pause = self.machine.link.pause();
        loop {
            // What asking for input has put into the outbox has to go before the processor sleeps.
            self.machine.link.poll();
            let first_limit = self.turns.left().map(|number| self.deadline(number)).min().unwrap_or(u64::MAX);
            let until = self.wake_at().min(first_limit);
            pause.rest(until.saturating_sub(self.machine.clock.now()));
            self.count_wake_up();
            self.look_after_all();
            if self.turns.any_ready() || !self.turns.any_left() || self.ends_go_on() {
                return;
            }
        }
    }

    fn count_wake_up(&mut self) {
        for (number, _) in self.turns.waiting() {
            if let Some(Some(member)) = self.members.get_mut(usize::from(number)) {
                member.sandbox.count_wake_up();
            }
        }
    }
}

/// Why a turn is over.
enum TurnEnd {
    /// Others can have theirs.
    Over,
    Waiting(Waiting),
    Stopped,
    Ended(Outcome),
}
