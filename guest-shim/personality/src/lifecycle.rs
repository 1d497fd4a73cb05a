//! The beginning and the end of tasks and processes: clone, exit, and what parents are told.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use linux_raw_sys::general as raw;
use proto::{op, reached};

use crate::errno::{Errno, Stop};
use crate::fs::records::Owner;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::{Info, Signal};
use crate::task::{Life, MAX_TASKS, Process, State, Task};

/// The process that adopts orphans and fetches them at once: there is no program in it.
pub const INIT: u32 = 1;
/// The program's own process.
pub const FIRST: u32 = 2;
/// Highest process and thread id (kernel.pid_max).
pub const MAX_ID: u32 = 32768;
/// The part of the shim's memory (one in so many) that must be left for a new task.
const HEAP_FOR_TASKS: usize = 4;

/// What clone is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs {
    /// CLONE_* flags, without the signal.
    pub flags: u64,
    /// What the parent is sent at its end.
    pub exit_signal: u32,
    /// Stack pointer of the child; 0: the parent's.
    pub stack: u64,
    /// Where a descriptor of the child is written in the parent's memory (CLONE_PIDFD).
    pub pidfd: u64,
    /// Where the child's id is written in the parent's memory.
    pub parent_tid: u64,
    /// Where the child's id is written, or cleared, in the child's memory.
    pub child_tid: u64,
    /// FS base of the child (CLONE_SETTLS).
    pub tls: u64,
}

impl CloneArgs {
    fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

impl<P: Platform> Kernel<P> {
    /// A free id for a task or process.
    fn new_id(&mut self) -> Result<u32, Errno> {
        for _ in 0..MAX_ID {
            self.last_id = if self.last_id >= MAX_ID - 1 { FIRST } else { self.last_id + 1 };
            let id = self.last_id;
            let group = |process: &Rc<RefCell<Process>>| {
                let process = process.borrow();
                process.group == id || process.session == id
            };
            let taken = self.task.tid == id
                || self.tasks.contains_key(&id)
                || self.processes.contains_key(&id)
                || self.processes.values().any(group);
            if !taken {
                return Ok(id);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Makes a new task; `regs` are those that it starts with. Its id.
    ///
    /// # Errors
    /// EAGAIN when there are too many; ENOMEM; EFAULT for the places where its id goes.
    pub(crate) fn clone_task(&mut self, args: &CloneArgs, regs: &crate::UserRegs) -> Result<u32, Stop> {
        self.check_room_for_task(args)?;
        let tid = self.new_id()?;
        let space = if args.has(raw::CLONE_VM) {
            Rc::clone(&self.task.space)
        } else {
            let (space, mut source) = self.memory();
            let copy = space.borrow_mut().fork(&mut source)?;
            Rc::new(RefCell::new(copy))
        };
        let thread = args.has(raw::CLONE_THREAD);
        let process = if thread { Rc::clone(&self.task.process) } else { self.new_process(tid, args) };
        let mut task = Box::new(self.copy_task(tid, process, space, args));
        task.regs = *regs;
        task.regs.rax = 0;
        if args.stack != 0 {
            task.regs.rsp = args.stack;
        }
        if args.has(raw::CLONE_SETTLS) {
            task.fs_base = args.tls;
        }
        if let Err(stop) = self.tell_of_child(args, &task) {
            self.discard_task(task);
            return Err(stop);
        }
        if args.has(raw::CLONE_CHILD_SETTID) {
            let own = core::mem::replace(&mut self.task.space, Rc::clone(&task.space));
            let _ = self.put(args.child_tid, &tid);
            self.task.space = own;
        }
        task.process.borrow_mut().threads.push(tid);
        if !thread {
            let process = Rc::clone(&task.process);
            let parent = process.borrow().parent;
            if let Some(parent) = self.process(parent) {
                parent.borrow_mut().children.push(tid);
            }
            self.processes.insert(tid, process);
        }
        let (process, parent) = {
            let process = task.process.borrow();
            (process.pid, process.parent)
        };
        self.admit(task);
        self.tell_started(tid, process, parent);
        Ok(tid)
    }

    /// Writes what the parent wants to know of a child that is about to start: its id, a descriptor of it.
    fn tell_of_child(&mut self, args: &CloneArgs, child: &Task) -> Result<(), Stop> {
        if args.has(raw::CLONE_PARENT_SETTID) {
            self.put(args.parent_tid, &child.tid)?;
        }
        if args.has(raw::CLONE_PIDFD) {
            let fd = self.open_pidfd(Rc::clone(&child.process), 0)?;
            let fd = crate::kernel::int(fd);
            if let Err(errno) = self.put(args.pidfd, &fd) {
                let _ = self.task.files.borrow_mut().remove(fd);
                return Err(errno.into());
            }
        }
        Ok(())
    }

    fn check_room_for_task(&mut self, args: &CloneArgs) -> Result<(), Errno> {
        let limits = self.platform.limits();
        let of_limits = [
            (reached::PROCESSES, !args.has(raw::CLONE_THREAD) && self.process_count() >= limits.processes),
            (reached::THREADS, self.task_count() as u64 >= limits.threads),
        ];
        if let Some((limit, _)) = of_limits.into_iter().find(|(_, reached)| *reached) {
            self.platform.reached(limit);
            return Err(Errno::EAGAIN);
        }
        if !args.has(raw::CLONE_FILES) {
            self.task.files.borrow().may_be_copied().map_err(|_| Errno::EAGAIN)?;
        }
        let heap = self.platform.spare_heap();
        let count = (self.task_count() as u64).max(self.process_count());
        let limit = self.limit(raw::RLIMIT_NPROC);
        let uid = self.task.process.borrow().uid[0];
        let too_many = count >= MAX_TASKS || (uid != 0 && limit < MAX_TASKS && self.tasks_of_user(uid) >= limit);
        if too_many || heap.left < heap.total / HEAP_FOR_TASKS {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// Zombies count as well, INIT does not.
    fn process_count(&self) -> u64 {
        self.processes.len().saturating_sub(1) as u64
    }

    /// Threads and zombies of a user, as RLIMIT_NPROC counts them.
    fn tasks_of_user(&self, uid: u32) -> u64 {
        let own = self.processes.values().map(|process| process.borrow()).filter(|process| process.uid[0] == uid);
        own.filter(|process| process.pid != INIT).map(|process| process.threads.len().max(1) as u64).sum()
    }

    /// A copy of the present process for its child.
    fn new_process(&mut self, pid: u32, args: &CloneArgs) -> Rc<RefCell<Process>> {
        let now = self.platform.reference_time();
        let old = self.task.process.borrow();
        let parent = if args.has(raw::CLONE_PARENT) { old.parent } else { old.pid };
        Rc::new(RefCell::new(Process {
            pid,
            parent,
            group: old.group,
            session: old.session,
            without_terminal: old.without_terminal,
            uid: old.uid,
            gid: old.gid,
            file_ids: old.file_ids,
            groups: Rc::clone(&old.groups),
            limits: old.limits,
            executable: old.executable.clone(),
            running: old.running.clone(),
            arguments: old.arguments.clone(),
            environment: old.environment.clone(),
            started: now,
            dumpable: old.dumpable,
            threads: Vec::new(),
            children: Vec::new(),
            ended: self.hub.channel(),
            children_changed: self.hub.channel(),
            life: Life::Alive,
            stopped: None,
            change: None,
            pending: crate::signal::Pending::default(),
            signalled: self.hub.channel(),
            exit_signal: args.exit_signal,
            subreaper: false,
            parent_death_signal: 0,
            no_new_privileges: old.no_new_privileges,
            has_executed: false,
            persona: old.persona,
            timers: crate::timers::Timers::default(),
            past_time: 0,
            children_time: 0,
            children_peak: 0,
            peak: 0,
            fault: (0, 0),
            nice: old.nice,
        }))
    }

    fn copy_task(
        &mut self,
        tid: u32,
        process: Rc<RefCell<Process>>,
        space: Rc<RefCell<crate::mm::space::AddressSpace>>,
        args: &CloneArgs,
    ) -> Task {
        let old = &self.task;
        let share = |flag: u32| args.has(flag);
        let same_memory = share(raw::CLONE_VM) && !share(raw::CLONE_VFORK);
        Task {
            tid,
            process,
            space,
            files: if share(raw::CLONE_FILES) {
                Rc::clone(&old.files)
            } else {
                // That there may be a copy was found out before.
                Rc::new(RefCell::new(old.files.borrow().copy().unwrap_or_default()))
            },
            directories: if share(raw::CLONE_FS) {
                Rc::clone(&old.directories)
            } else {
                Rc::new(RefCell::new(old.directories.borrow().clone()))
            },
            actions: if share(raw::CLONE_SIGHAND) {
                Rc::clone(&old.actions)
            } else {
                Rc::new(RefCell::new(*old.actions.borrow()))
            },
            blocked: old.blocked,
            saved_mask: None,
            pending: crate::signal::Pending::default(),
            alternate_stack: if same_memory { no_stack() } else { old.alternate_stack },
            clear_tid: if share(raw::CLONE_CHILD_CLEARTID) { args.child_tid } else { 0 },
            robust_list: (0, 0),
            fs_base: old.fs_base,
            gs_base: old.gs_base,
            name: old.name,
            wait_until: None,
            progress: 0,
            opening: None,
            call: None,
            vfork_child: None,
            vfork_done: share(raw::CLONE_VFORK).then(|| self.hub.channel()),
            ipc_wait: None,
            timer_slack: old.timer_slack,
            policy: inherited_policy(old.policy),
            futex: None,
            copies: Vec::new(),
            strings: None,
            last_fault: (0, 0, 0),
            state: State::Ready,
            regs: old.regs,
            fpu: *self.platform.fpu(),
            time: 0,
        }
    }

    /// A task that never ran is not wanted after all.
    fn discard_task(&mut self, task: Box<Task>) {
        self.schedule.dead_spaces.push(Rc::clone(&task.space));
        drop(task);
        self.bury();
    }

    /// The present thread ends (exit). The last one ends the process, with `status` as its wait status.
    pub(crate) fn exit_thread(&mut self, status: u32) {
        let process = Rc::clone(&self.task.process);
        if process.borrow().threads.len() <= 1 {
            self.exit_process(status);
            return;
        }
        self.account();
        self.leave();
        let (pid, tid) = (process.borrow().pid, self.task.tid);
        self.tell_ended(pid, tid, 0);
    }

    /// The present process ends with this wait status.
    pub(crate) fn exit_process(&mut self, status: u32) {
        self.account();
        self.end_other_threads();
        let process = Rc::clone(&self.task.process);
        let (_, peak) = self.task.space.borrow().resident_pages();
        {
            let mut process = process.borrow_mut();
            process.peak = process.peak.max(peak);
        }
        self.leave();
        self.become_zombie(&process, status);
    }

    /// The present task is no more.
    fn leave(&mut self) {
        let tid = self.task.tid;
        let process = Rc::clone(&self.task.process);
        self.end_futex_wait();
        let space = Rc::clone(&self.task.space);
        self.leave_memory(&space, tid, self.task.clear_tid, self.task.robust_list);
        if let Some(done) = self.task.vfork_done.take() {
            done.wake();
        }
        {
            let mut process = process.borrow_mut();
            process.threads.retain(|&thread| thread != tid);
            process.past_time += self.task.time;
        }
        self.task.state = State::Dead;
        let call = self.task.call.take();
        self.give_up(call);
        self.task.files = Rc::default();
        self.schedule.dead_spaces.push(Rc::clone(&self.task.space));
        self.task.space = Rc::clone(&self.no_space);
    }

    /// All threads of the present process but the running one end.
    pub(crate) fn end_other_threads(&mut self) {
        let process = Rc::clone(&self.task.process);
        let own = self.task.tid;
        let others: Vec<u32> = process.borrow().threads.iter().copied().filter(|&tid| tid != own).collect();
        for tid in others {
            let Some(task) = self.expel(tid) else { continue };
            self.give_up(task.call);
            if let Some(wait) = &task.futex {
                self.futexes.leave(tid, &wait.keys);
            }
            self.leave_memory(&task.space, tid, task.clear_tid, task.robust_list);
            if let Some(done) = &task.vfork_done {
                done.wake();
            }
            process.borrow_mut().past_time += task.time;
            let pid = process.borrow().pid;
            self.tell_ended(pid, tid, 0);
        }
        process.borrow_mut().threads.retain(|&tid| tid == own);
    }

    fn become_zombie(&mut self, process: &Rc<RefCell<Process>>, status: u32) {
        let pid = process.borrow().pid;
        self.tell_ended(pid, 0, status);
        self.drop_timers(pid, true);
        self.records.release_all(Owner::Process(pid));
        self.undo_semaphores(pid);
        {
            let mut process = process.borrow_mut();
            process.life = Life::Zombie(status);
            process.running = None;
            process.stopped = None;
            process.ended.wake();
        }
        self.orphan_children(process);
        self.hang_up(process);
        if process.borrow().session == pid {
            self.leave_terminal(pid);
        }
        if pid == FIRST {
            self.end_sandbox(process, status);
            return;
        }
        self.tell_parent_of_end(process, status);
    }

    /// The program has ended, and with it everything that it started.
    fn end_sandbox(&mut self, process: &Rc<RefCell<Process>>, status: u32) {
        let (address, rip) = process.borrow().fault;
        let signal = status & 0x7f;
        let status = if signal == 0 { status >> 8 & 0xff } else { 0 };
        let program_bytes = self.frames.peak();
        self.end(op::Exit { status, signal, address, rip, program_bytes });
    }

    /// Children of a process that has ended get another parent.
    fn orphan_children(&mut self, process: &Rc<RefCell<Process>>) {
        let children = core::mem::take(&mut process.borrow_mut().children);
        let reaper = self.reaper_of(process.borrow().parent);
        for pid in children {
            let Some(child) = self.process(pid) else { continue };
            let death_signal = child.borrow().parent_death_signal;
            child.borrow_mut().parent = reaper;
            if death_signal != 0 {
                let _ = self.signal_process(pid, Info::kernel(Signal(death_signal)));
            }
            let life = child.borrow().life;
            match (life, self.process(reaper)) {
                (Life::Zombie(_), _) if reaper == INIT => drop(self.processes.remove(&pid)),
                (life, Some(reaper)) => {
                    reaper.borrow_mut().children.push(pid);
                    if let Life::Zombie(status) = life {
                        child.borrow_mut().exit_signal = Signal::CHLD.0;
                        self.tell_parent_of_end(&child, status);
                    }
                }
                _ => {}
            }
        }
    }

    /// The nearest living ancestor that adopts orphans.
    fn reaper_of(&self, mut pid: u32) -> u32 {
        while let Some(process) = self.process(pid) {
            let process = process.borrow();
            if pid == INIT || process.subreaper && process.life == Life::Alive {
                break;
            }
            pid = process.parent;
        }
        if self.processes.contains_key(&pid) { pid } else { INIT }
    }

    /// Groups that lose the last one who could make them go on are told (POSIX): SIGHUP and SIGCONT if one is stopped.
    fn hang_up(&mut self, process: &Rc<RefCell<Process>>) {
        let session = process.borrow().session;
        let groups: Vec<u32> = {
            let stopped = self.processes.values().filter(|one| {
                let one = one.borrow();
                one.session == session && one.stopped.is_some()
            });
            stopped.map(|one| one.borrow().group).collect()
        };
        for group in groups {
            if self.is_orphaned(group) {
                self.signal_group(group, Signal::HUP);
                self.signal_group(group, Signal::CONT);
            }
        }
    }

    /// What execve does to the other threads, timers and signals, and to whoever waits for a vfork.
    pub(crate) fn prepare_exec(&mut self) {
        self.end_other_threads();
        let pid = self.task.process.borrow().pid;
        if self.task.tid != pid {
            // The thread that executes a program becomes the process' first.
            self.task.tid = pid;
            self.task.process.borrow_mut().threads = alloc::vec![pid];
            self.platform.set_thread(pid);
        }
        self.drop_timers(pid, false);
        self.task.process.borrow_mut().has_executed = true;
        if let Some(done) = self.task.vfork_done.take() {
            done.wake();
        }
    }

    /// Sends the end of the sandbox to the root.
    pub(crate) fn end(&mut self, exit: op::Exit) {
        self.ended = true;
        let _ = self.fuse.request(&mut self.platform, op::EXIT, 0, &exit, &[], &[]);
    }
}

/// The scheduling policy of a new task of one with `policy`.
fn inherited_policy(policy: u32) -> u32 {
    if policy & raw::SCHED_RESET_ON_FORK == 0 { policy } else { raw::SCHED_NORMAL }
}

fn no_stack() -> crate::abi::AltStack {
    crate::abi::AltStack { ss_flags: 2, ..Default::default() }
}
