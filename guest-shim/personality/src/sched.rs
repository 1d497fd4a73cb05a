//! Which task runs: the queue of those that could, who waits for what, time slices, and the idle processor.
//!
//! There is one processor and one kernel stack. A task gives way where its call has to wait, at the end of its time slice (the
//! alarm that the root asserts), and when it yields. Its registers and its call are kept in its [`Task`]; the call is made
//! again as a whole when the task runs next.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use proto::{NO_ALARM, grant_flags};

use crate::errno::{Outcome, Stop};
use crate::kernel::{Flow, Kernel};
use crate::mm::space::AddressSpace;
use crate::platform::Platform;
use crate::regs::UserRegs;
use crate::signal::Delivery;
use crate::syscalls;
use crate::task::{Process, State, Task};
use crate::wait::Wait;

/// How long a task runs while others could, in reference time (10 ms).
const SLICE: u64 = 100_000;

/// How long a task runs before somebody looks for keys that are signals (50 ms).
const LISTEN: u64 = 500_000;

/// Memory of processes that have ended, to be freed once the processor uses another.
type Spaces = Vec<Rc<RefCell<AddressSpace>>>;

/// The scheduler's part of the kernel's state.
pub struct Schedule {
    /// Threads that could run, in the order in which they will.
    ready: VecDeque<u32>,
    /// Waits with a time limit.
    deadlines: BTreeSet<(u64, u32)>,
    /// Threads that wait for an event that the root knows of.
    event_waiters: Vec<u32>,
    /// When the present task began to run.
    started: u64,
    /// The alarm that was set.
    alarm: u64,
    /// The present task wants to give way.
    yielding: bool,
    /// Address spaces that nobody uses any more, but the processor perhaps.
    pub(crate) dead_spaces: Spaces,
}

impl Schedule {
    /// One task, which has run since `now`.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            event_waiters: Vec::new(),
            started: now,
            alarm: NO_ALARM,
            yielding: false,
            dead_spaces: Vec::new(),
        }
    }
}

/// What became of a call.
pub(crate) enum Carried {
    /// It is over; the registers have its result.
    Done,
    /// It waits.
    Waits(Wait),
    /// The task has ended.
    Ended,
}

impl<P: Platform> Kernel<P> {
    /// Lets the present task go on until it can return to ring 3, or another one in its place.
    pub(crate) fn run(&mut self, regs: &mut UserRegs) -> Flow {
        loop {
            if self.ended {
                return Flow::Ended;
            }
            let carried = if self.task.call.is_some() { self.carry_out(regs) } else { Carried::Done };
            self.settle_terminals();
            self.collect_woken();
            let waiting = match carried {
                Carried::Ended => {
                    if !self.next(regs) {
                        return Flow::Ended;
                    }
                    continue;
                }
                Carried::Waits(wait) => Some(wait),
                Carried::Done => None,
            };
            let delivery = if self.has_attention() { self.deliver(regs, waiting.as_ref()) } else { Delivery::GoOn };
            let gave_way = match (delivery, waiting) {
                (Delivery::Dead, _) => true,
                (Delivery::Stopped, _) => {
                    self.task.state = State::Stopped;
                    true
                }
                (Delivery::GoOn, Some(wait)) if self.task.call.is_some() => {
                    self.wait(wait);
                    true
                }
                (Delivery::GoOn, _) => self.takes_turn(),
            };
            if gave_way {
                self.task.regs = *regs;
                if !self.next(regs) {
                    return Flow::Ended;
                }
                continue;
            }
            break;
        }
        self.set_alarm();
        Flow::Resume
    }

    /// Is there a signal or a stop for the present task?
    fn has_attention(&self) -> bool {
        self.due_signals() != 0 || self.task.process.borrow().stopped.is_some()
    }

    /// Puts the present task behind the others if it wants to or its time is over.
    fn takes_turn(&mut self) -> bool {
        if !core::mem::take(&mut self.schedule.yielding) || self.schedule.ready.is_empty() {
            return false;
        }
        self.schedule.ready.push_back(self.task.tid);
        true
    }

    /// The present task gives way to the others once its call is over.
    pub(crate) fn give_way(&mut self) {
        self.schedule.yielding = true;
    }

    /// Carries out the call under way.
    fn carry_out(&mut self, regs: &mut UserRegs) -> Carried {
        let Some(call) = self.task.call else { return Carried::Done };
        self.task.regs = *regs;
        if call.flags & (grant_flags::KILL_THREAD | grant_flags::KILL_PROCESS) != 0 {
            self.condemn(&call, regs.rip);
            return Carried::Ended;
        }
        if call.flags & grant_flags::ASK != 0
            && let Some(carried) = self.stand(regs, &call)
        {
            return carried;
        }
        if call.recall & self.platform.tainted() != 0 {
            // What it was granted before may be denied by now.
            match self.task.progress {
                0 => self.make_again(regs, &call),
                done => self.finish(regs, Ok(done)),
            }
            return Carried::Done;
        }
        let process = self.task.process.borrow();
        self.fuse.act_for(process.file_ids, &process.groups);
        drop(process);
        let outcome = syscalls::dispatch(self, call.number, &syscalls::Args(call.args));
        match outcome {
            Err(Stop::Block(wait)) => Carried::Waits(wait),
            Err(Stop::Ended) => Carried::Ended,
            outcome => {
                self.finish(regs, outcome);
                Carried::Done
            }
        }
    }

    /// The call under way is over with this result.
    pub(crate) fn finish(&mut self, regs: &mut UserRegs, outcome: Outcome) {
        let Some(call) = self.task.call.take() else { return };
        self.task.copies = Vec::new();
        self.task.strings = None;
        self.task.wait_until = None;
        self.task.progress = 0;
        self.task.opening = None;
        self.task.ipc_wait = None;
        self.end_futex_wait();
        if let Some(mask) = self.task.saved_mask.take() {
            self.task.blocked = mask;
        }
        self.report(regs, &call, outcome);
    }

    /// The present task waits.
    fn wait(&mut self, wait: Wait) {
        let tid = self.task.tid;
        for channel in &wait.channels {
            channel.join(tid);
        }
        if wait.deadline != u64::MAX {
            self.schedule.deadlines.insert((wait.deadline, tid));
        }
        if wait.events != 0 {
            self.schedule.event_waiters.push(tid);
        }
        self.task.state = State::Waiting(wait);
    }

    /// Undoes [`Kernel::wait`] for a task.
    fn stop_waiting(&mut self, tid: u32) {
        let Some(task) = self.task_mut(tid) else { return };
        let State::Waiting(wait) = core::mem::replace(&mut task.state, State::Ready) else { return };
        for channel in &wait.channels {
            channel.leave(tid);
        }
        self.schedule.deadlines.remove(&(wait.deadline, tid));
        if wait.events != 0 {
            self.schedule.event_waiters.retain(|&waiter| waiter != tid);
        }
    }

    /// A task that waits or is stopped can run again.
    pub(crate) fn make_ready(&mut self, tid: u32) {
        match self.task_of(tid).map(|task| &task.state) {
            Some(State::Waiting(_)) => self.stop_waiting(tid),
            Some(State::Stopped) => {
                if let Some(task) = self.task_mut(tid) {
                    task.state = State::Ready;
                }
            }
            _ => return,
        }
        self.schedule.ready.push_back(tid);
    }

    /// A new task can run.
    pub(crate) fn admit(&mut self, task: Box<Task>) {
        self.schedule.ready.push_back(task.tid);
        self.tasks.insert(task.tid, task);
    }

    /// A task that is not the present one is no more.
    pub(crate) fn expel(&mut self, tid: u32) -> Option<Box<Task>> {
        self.stop_waiting(tid);
        self.schedule.ready.retain(|&ready| ready != tid);
        self.tasks.remove(&tid)
    }

    /// Makes those ready whom objects have woken.
    fn collect_woken(&mut self) {
        self.send_asynchronous();
        while !self.hub.is_quiet() {
            for tid in self.hub.take_woken() {
                self.make_ready(tid);
            }
        }
    }

    /// Gives the processor to the next task that can run, waiting for one if there is none. `false`: there is nothing left.
    fn next(&mut self, regs: &mut UserRegs) -> bool {
        self.account();
        if self.task.process.borrow().timers.counts_processor_time() {
            let used = self.process_time();
            self.check_processor_timers(used);
        }
        loop {
            if self.ended {
                return false;
            }
            self.collect_woken();
            if let Some(tid) = self.schedule.ready.pop_front() {
                if self.enter(tid, regs) {
                    return true;
                }
                continue;
            }
            self.idle();
        }
    }

    /// Waits for time to pass or for something that the root knows of.
    fn idle(&mut self) {
        let first = self.schedule.deadlines.first().map_or(u64::MAX, |&(deadline, _)| deadline);
        let deadline = first.min(self.next_timer());
        let events = self.awaited_events() | self.console_events();
        self.fuse.settle(&mut self.platform);
        let found = self.fuse.wait(&mut self.platform, deadline, events);
        self.attend_console(found);
        self.wake_for_events(found);
        self.expire();
        // Nobody has used the time that has passed.
        self.schedule.started = self.platform.reference_time();
    }

    fn awaited_events(&self) -> u64 {
        let events = |&tid: &u32| match self.task_of(tid).map(|task| &task.state) {
            Some(State::Waiting(wait)) => wait.events,
            _ => 0,
        };
        self.schedule.event_waiters.iter().map(events).fold(0, |all, one| all | one)
    }

    fn wake_for_events(&mut self, found: u64) {
        if found == 0 {
            return;
        }
        for tid in core::mem::take(&mut self.schedule.event_waiters) {
            self.make_ready(tid);
        }
    }

    /// Acts on the time limits and timers that are due.
    fn expire(&mut self) {
        let now = self.platform.reference_time();
        while let Some(&(deadline, tid)) = self.schedule.deadlines.first() {
            if deadline > now {
                break;
            }
            self.schedule.deadlines.pop_first();
            self.make_ready(tid);
        }
        self.run_timers(now);
    }

    /// Adds the time since the present task began to run, or since this was asked last, to its own.
    pub(crate) fn account(&mut self) -> u64 {
        let now = self.platform.reference_time();
        let used = now.saturating_sub(self.schedule.started);
        self.schedule.started = now;
        self.task.time += used;
        now
    }

    /// Gives the processor to a task. `false`: it is not there.
    fn enter(&mut self, tid: u32, regs: &mut UserRegs) -> bool {
        if tid != self.task.tid {
            let Some(new) = self.tasks.remove(&tid) else { return false };
            let mut old = core::mem::replace(&mut self.task, new);
            if old.state != State::Dead {
                old.fpu = *self.platform.fpu();
                self.tasks.insert(old.tid, old);
            }
            *self.platform.fpu() = self.task.fpu;
            self.platform.set_fs_base(self.task.fs_base);
            self.platform.set_gs_base(self.task.gs_base);
            self.platform.set_thread(tid);
        } else if self.task.state == State::Dead {
            return false;
        }
        self.task.state = State::Ready;
        self.activate();
        self.bury();
        *regs = self.task.regs;
        self.slice_end = self.schedule.started + SLICE;
        true
    }

    /// Makes the present task's memory the processor's.
    pub(crate) fn activate(&mut self) {
        let root = self.task.space.borrow().root();
        if root != self.active {
            self.active = root;
            self.platform.activate(root);
        }
    }

    /// Frees the memory of those who have ended.
    pub(crate) fn bury(&mut self) {
        while let Some(space) = self.schedule.dead_spaces.pop() {
            if let Ok(space) = Rc::try_unwrap(space) {
                space.into_inner().destroy(&mut self.source());
                // What it wrote to files by way of mappings is there for whoever reads next.
                self.fuse.settle(&mut self.platform);
            }
        }
    }

    /// The alarm: time limits, timers, and the end of a time slice.
    pub fn interrupt(&mut self, regs: &mut UserRegs) -> Flow {
        self.schedule.alarm = NO_ALARM;
        let now = self.account();
        self.expire();
        self.listen();
        if !self.schedule.event_waiters.is_empty() {
            let events = self.awaited_events();
            let found = self.fuse.wait(&mut self.platform, 0, events);
            self.wake_for_events(found);
        }
        self.check_processor_time();
        if now >= self.slice_end {
            self.schedule.yielding = true;
        }
        self.run(regs)
    }

    /// Asks for an interrupt when the next thing is due while ring 3 runs.
    fn set_alarm(&mut self) {
        let deadline = self.schedule.deadlines.first().map_or(NO_ALARM, |&(deadline, _)| deadline);
        let mut wanted = deadline.min(self.next_timer());
        let shared =
            !self.schedule.ready.is_empty() || !self.schedule.event_waiters.is_empty() || self.watches_processor_time();
        if shared {
            let now = self.schedule.started;
            if self.slice_end <= now {
                self.slice_end = now + SLICE;
            }
            wanted = wanted.min(self.slice_end);
        }
        if self.console_events() != 0 {
            wanted = wanted.min(self.schedule.started + LISTEN);
        }
        // An alarm that comes too early is set again then.
        if wanted < self.schedule.alarm || self.schedule.alarm == NO_ALARM && wanted != NO_ALARM {
            self.schedule.alarm = wanted;
            self.platform.set_alarm(wanted);
        }
    }

    /// The task with this thread id.
    #[must_use]
    pub(crate) fn task_of(&self, tid: u32) -> Option<&Task> {
        if tid == self.task.tid {
            return (self.task.state != State::Dead).then_some(&self.task);
        }
        self.tasks.get(&tid).map(|task| &**task)
    }

    /// The same, to change it.
    pub(crate) fn task_mut(&mut self, tid: u32) -> Option<&mut Task> {
        if tid == self.task.tid {
            return (self.task.state != State::Dead).then_some(&mut *self.task);
        }
        self.tasks.get_mut(&tid).map(|task| &mut **task)
    }

    /// The process with this id, zombies included.
    #[must_use]
    pub(crate) fn process(&self, pid: u32) -> Option<Rc<RefCell<Process>>> {
        self.processes.get(&pid).map(Rc::clone)
    }

    /// Ids of all processes, rising.
    #[must_use]
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.keys().copied().collect()
    }

    /// How many threads there are.
    #[must_use]
    pub(crate) fn task_count(&self) -> usize {
        self.tasks.len() + usize::from(self.task.state != State::Dead)
    }
}
