//! A sandbox's life: dispatch its VP, look at what stopped it, act, again.
use alloc::format;
use alloc::rc::Rc;
use core::mem::offset_of;

use files::Stack;
use gate::Gate;
use hvclient::{DispatchEnd, StatePage, Transport};
use policy::Policy;
use proto::op::Woken;
use services::{FileRules, Services};
use tlfs::addr::{Gpa, PAGE_SIZE};
use tlfs::calls::DispatchVpFlags;
use tlfs::message::{HvMessageHeader, HvMessageType};
use tlfs::vp_page::HvVpStatePageType;

use crate::alarm::Alarm;
use crate::create::place_copies;
use crate::layout;
use crate::limits::Kept;
use crate::memory::{ChildMemory, RootMemory};
use crate::partition::{Partition, VP};
use crate::questions::Stopped;
use crate::registers::Registers;
use crate::{Failure, Outcome, RunStats, World};

/// Offset of a message's payload in the message page.
pub(crate) const PAYLOAD: usize = size_of::<HvMessageHeader>();

/// The thread that trace lines name until the shim has named one.
const FIRST_THREAD: u32 = 1;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Step again.
    Again,
    /// An interrupt for the root is pending; step again when it is taken.
    Interrupted,
    /// The child waits: call [`Sandbox::wake`] when the root's reference time is `deadline`, or one of `events`
    /// (`proto::op::wait_events`) is there, and step again.
    Waiting {
        /// In 100 ns.
        deadline: u64,
        /// Bits.
        events: u64,
    },
    /// It stands still until a question is settled ([`Sandbox::is_stopped`]).
    Stopped,
    /// It is over.
    Ended(Outcome),
}

/// What is left of a sandbox.
#[derive(Debug)]
pub struct Remains<'t> {
    /// The run's figures.
    pub stats: RunStats,
    /// Its files.
    pub files: Stack<'t>,
    /// Whether everything was taken back.
    pub taken_down: Result<(), Failure>,
}

/// What making a sandbox leaves to running it.
pub(crate) struct Parts {
    pub(crate) registers: Registers,
    pub(crate) message: StatePage,
    /// The root's reference time when the making began.
    pub(crate) created: u64,
    /// The root's reference time when the child's began.
    pub(crate) child_epoch: u64,
    pub(crate) syscall_entry: u64,
    /// CLOCK_REALTIME in ns at the root's reference time 0.
    pub(crate) realtime_base: u64,
}

/// A sandbox. See the [crate's documentation](crate).
pub struct Sandbox<'t, R: RootMemory> {
    pub(crate) parts: Parts,
    pub(crate) partition: Partition,
    pub(crate) memory: ChildMemory<'t, R>,
    pub(crate) gate: Gate,
    pub(crate) services: Services<'t, FileRules>,
    /// Flags for the next dispatch.
    flags: DispatchVpFlags,
    /// Results of calls that were taken from the gate page.
    pub(crate) results_taken: u64,
    /// The taints in force that the shim was shown last.
    pub(crate) tainted: u64,
    pub(crate) alarm: Alarm,
    pub(crate) kept: Kept,
    /// The last call has to wait before it is judged: the next step looks at it again.
    pub(crate) delayed: bool,
    /// The thread that is running, as the shim says.
    pub(crate) thread: u32,
    /// The call that all of it stands still for.
    pub(crate) stopped: Option<Stopped>,
    pub(crate) stats: RunStats,
}

impl<'t, R: RootMemory> Sandbox<'t, R> {
    pub(crate) fn assemble(
        parts: Parts,
        partition: Partition,
        memory: ChildMemory<'t, R>,
        gate: Gate,
        services: Services<'t, FileRules>,
        whole: Option<u64>,
    ) -> Self {
        let flags = DispatchVpFlags::empty();
        let kept = Kept::new(whole);
        Self {
            parts,
            partition,
            memory,
            gate,
            services,
            flags,
            results_taken: 0,
            tainted: 0,
            alarm: Alarm::NONE,
            kept,
            delayed: false,
            thread: FIRST_THREAD,
            stopped: None,
            stats: RunStats::default(),
        }
    }

    /// The root's reference time when the making of this sandbox began, in 100 ns.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.parts.created
    }

    /// The root's reference time at which the next step has to end at the latest, by an interrupt: the child's alarm. `u64::MAX`:
    /// whenever.
    #[inline]
    #[must_use]
    pub fn interrupt_at(&self) -> u64 {
        self.alarm.next()
    }

    /// Runs the child until it stops, and acts on why.
    pub fn step<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Step {
        match self.try_step(world) {
            Ok(step) => step,
            Err(failure) => failed(failure),
        }
    }

    /// Ends the wait that [`Step::Waiting`] began; `events` are those that are there. Who waited for its call to be judged has asked for nothing.
    pub fn wake<T: Transport>(&mut self, events: u64, world: &mut World<'_, T, R>) {
        let mut view = self.memory.view(world.memory);
        self.services.finish_wait(Gpa(layout::SERVICE), &mut view, Woken { events });
    }

    /// Judges by another policy from the next call on.
    ///
    /// # Errors
    /// There is no memory for what its rules look at: the old one still holds, and the sandbox has to be ended.
    pub fn set_policy<T: Transport>(
        &mut self,
        policy: Rc<Policy>,
        generation: u32,
        world: &mut World<'_, T, R>,
    ) -> Result<(), Failure> {
        if policy.reads_memory() {
            place_copies(&mut self.partition, &mut self.memory, world)?;
        }
        let age = (world.now)().saturating_sub(self.parts.created);
        self.services.authority_mut().set_policy(&policy);
        let console = &mut *world.console;
        self.gate.set_policy(policy, generation, age, &mut |record| console.record(&record));
        self.forget_reached(world);
        self.tell_limits(world)
    }

    /// Counts that the root's processor ran while the child waited, for the figures.
    pub fn count_wake_up(&mut self) {
        self.stats.wake_ups += 1;
    }

    /// Once it has ended: records what was written to a file that is open still, behind the last results. False: that was all, and it can be taken down.
    pub fn conclude<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> bool {
        let now = (world.now)();
        let _ = self.read_gate(now, world);
        if !self.services.conclude() {
            return false;
        }
        self.tell_changes(now, world);
        true
    }

    /// Takes the partition down and everything back, and gives what remains. The last results are recorded.
    pub fn destroy<T: Transport>(mut self, world: &mut World<'_, T, R>) -> Remains<'t> {
        // Nothing is left that an alarm could interrupt.
        let now = (world.now)();
        let _ = self.read_gate(now, world);
        let console = &mut *world.console;
        self.gate.withdraw_all(now.saturating_sub(self.parts.created), &mut |record| console.record(&record));
        let stats = self.final_stats(world);
        let id = self.partition.id();
        let pages = [
            (HvVpStatePageType::REGISTERS, self.parts.registers.into_page()),
            (HvVpStatePageType::INTERCEPT_MESSAGE, self.parts.message),
        ];
        let mut result = Ok(());
        for (page_type, page) in pages {
            let unmapped = world.client.unmap_vp_state_page(id, VP, page_type, page);
            result = result.and(unmapped.map_err(Failure::from));
        }
        let deleted = self.partition.delete(world.client, world.memory);
        if deleted.is_ok() {
            self.memory.release(world.memory);
        }
        Remains { stats, files: self.services.into_stack(), taken_down: result.and(deleted) }
    }

    fn final_stats<T: Transport>(&mut self, world: &World<'_, T, R>) -> RunStats {
        let counters = self.gate.counters();
        let pages = self.memory.private_pages() + self.partition.deposited_pages();
        RunStats {
            calls: counters.calls,
            denied: counters.denied,
            killed: counters.killed,
            not_implemented: counters.not_implemented,
            other_hypercalls: world.client.calls().saturating_sub(self.stats.dispatches),
            wall_us: self.age_us(world),
            memory_bytes: pages * PAGE_SIZE,
            ..self.stats.clone()
        }
    }

    pub(crate) fn age_us<T: Transport>(&self, world: &World<'_, T, R>) -> u64 {
        (world.now)().saturating_sub(self.parts.created) / 10
    }

    fn try_step<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        if core::mem::take(&mut self.delayed) {
            return self.exception(world);
        }
        let end = world.client.dispatch(self.partition.id(), VP, self.flags)?;
        self.stats.dispatches += 1;
        self.flags = DispatchVpFlags::empty();
        match end {
            DispatchEnd::Intercept => {
                self.flags = DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND;
                self.intercept(world)
            }
            DispatchEnd::Ready => {
                self.look_at_gate((world.now)(), world)?;
                Ok(Step::Interrupted)
            }
            // The shim asks to wait instead of halting: an alarm would not end a halt in time.
            DispatchEnd::Blocked => Err(Failure::new("the shim halted its processor, and nothing can wake it")),
            DispatchEnd::Suspended => Err(Failure::new("the virtual processor is suspended")),
            DispatchEnd::Unknown(state, event) => {
                Err(Failure::new(format!("the dispatch ended with {state}, {event}")))
            }
        }
    }

    #[inline]
    fn intercept<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let message_type: HvMessageType = self.parts.message.read::<_, { offset_of!(HvMessageHeader, message_type) }>();
        match message_type {
            HvMessageType::X64_EXCEPTION_INTERCEPT => self.exception(world),
            HvMessageType::X64_IO_PORT_INTERCEPT => self.io_port(world),
            HvMessageType::UNMAPPED_GPA => self.unmapped_gpa(world),
            other => Err(self.unexpected(other)),
        }
    }
}

fn failed(failure: Failure) -> Step {
    Step::Ended(Outcome::SandboxFailed { reason: failure.reason })
}
