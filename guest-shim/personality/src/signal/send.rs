//! Sending signals: to a thread, a process, a group.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::{DefaultAction, Info, SI_KERNEL, SIG_DFL, SIG_IGN, STOPPING, Signal, UNSTOPPABLE};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::Platform;
use crate::task::{Change, Process, State};

impl<P: Platform> Kernel<P> {
    /// Sends a signal to a process as a whole.
    ///
    /// # Errors
    /// ESRCH; EAGAIN when a real-time signal finds no room.
    pub(crate) fn signal_process(&mut self, pid: u32, info: Info) -> Result<(), Errno> {
        let process = self.process(pid).ok_or(Errno::ESRCH)?;
        let threads = process.borrow().threads.clone();
        let signal = info.signal();
        self.prepare(&process, signal);
        let Some(&first) = threads.first() else { return Ok(()) };
        if self.is_dropped(first, signal) {
            return Ok(());
        }
        let limit = pending_limit(&process.borrow());
        let added = process.borrow_mut().pending.add(info, limit);
        process.borrow().signalled.wake();
        let taker = threads.iter().copied().find(|&tid| self.wants(tid, signal));
        if let Some(tid) = taker {
            self.interrupt_task(tid, signal);
        }
        if added { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Sends a signal to one thread.
    ///
    /// # Errors
    /// ESRCH; EAGAIN when a real-time signal finds no room.
    pub(crate) fn signal_thread(&mut self, tid: u32, info: Info) -> Result<(), Errno> {
        let signal = info.signal();
        let process = Rc::clone(&self.task_of(tid).ok_or(Errno::ESRCH)?.process);
        self.prepare(&process, signal);
        if self.is_dropped(tid, signal) {
            return Ok(());
        }
        let limit = pending_limit(&process.borrow());
        let task = self.task_mut(tid).ok_or(Errno::ESRCH)?;
        let added = task.pending.add(info, limit);
        process.borrow().signalled.wake();
        if self.wants(tid, signal) {
            self.interrupt_task(tid, signal);
        }
        if added { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Sends a signal of the kernel's own to every process of a group.
    pub(crate) fn signal_group(&mut self, group: u32, signal: Signal) {
        for pid in self.group_members(group) {
            let _ = self.signal_process(pid, Info::kernel(signal));
        }
    }

    /// The live processes of a group.
    pub(crate) fn group_members(&self, group: u32) -> Vec<u32> {
        let members = self.processes.values().filter(|process| {
            let process = process.borrow();
            process.group == group && !process.threads.is_empty()
        });
        members.map(|process| process.borrow().pid).collect()
    }

    /// A fault of the present task: its handler runs, or it ends. It cannot be blocked or ignored.
    pub(crate) fn force_signal(&mut self, info: Info) {
        let signal = info.signal();
        let handler = self.handler(self.task.tid, signal);
        if self.task.blocked & signal.bit() != 0 || handler == SIG_IGN {
            if let Some(action) = self.task.actions.borrow_mut().get_mut(signal.slot()) {
                action.handler = SIG_DFL;
            }
            self.task.blocked &= !signal.bit();
        }
        self.task.pending.add(info, u64::MAX);
    }

    /// Ends the present process with SIGKILL, whatever it does about signals.
    pub(crate) fn kill_self(&mut self) {
        let info = Info { code: SI_KERNEL, ..Info::kernel(Signal::KILL) };
        self.task.pending.add(info, u64::MAX);
    }

    /// What a signal does before it is queued: stops and SIGCONT cancel each other.
    fn prepare(&mut self, process: &Rc<RefCell<Process>>, signal: Signal) {
        let cancelled = match signal {
            Signal::CONT => STOPPING,
            _ if signal.bit() & STOPPING != 0 => Signal::CONT.bit(),
            Signal::KILL => 0,
            _ => return,
        };
        let threads = process.borrow().threads.clone();
        process.borrow_mut().pending.discard(cancelled);
        for &tid in &threads {
            if let Some(task) = self.task_mut(tid) {
                task.pending.discard(cancelled);
            }
        }
        if matches!(signal, Signal::CONT | Signal::KILL) && process.borrow().stopped.is_some() {
            self.go_on(process, signal == Signal::CONT);
        }
    }

    /// Lets a stopped process go on.
    fn go_on(&mut self, process: &Rc<RefCell<Process>>, tell: bool) {
        process.borrow_mut().stopped = None;
        if tell {
            process.borrow_mut().change = Some(Change::Continued);
            self.tell_parent_of_change(process, super::deliver::CLD_CONTINUED, Signal::CONT.0);
        }
        let threads = process.borrow().threads.clone();
        for tid in threads {
            if self.task_of(tid).is_some_and(|task| task.state == State::Stopped) {
                self.make_ready(tid);
            }
        }
    }

    /// Is nothing to be done about this signal by this thread's process?
    fn is_dropped(&self, tid: u32, signal: Signal) -> bool {
        if signal.bit() & UNSTOPPABLE != 0 {
            return false;
        }
        let blocked = self.task_of(tid).is_some_and(|task| task.blocked & signal.bit() != 0);
        !blocked && self.is_ignored(tid, signal)
    }

    /// Would delivering it do nothing?
    pub(crate) fn is_ignored(&self, tid: u32, signal: Signal) -> bool {
        match self.handler(tid, signal) {
            SIG_IGN => true,
            SIG_DFL => signal.default_action() == DefaultAction::Ignore,
            _ => false,
        }
    }

    /// `sa_handler` of a signal for this thread.
    pub(crate) fn handler(&self, tid: u32, signal: Signal) -> u64 {
        let action = |task: &crate::task::Task| task.actions.borrow().get(signal.slot()).map(|action| action.handler);
        self.task_of(tid).and_then(action).unwrap_or(SIG_DFL)
    }

    fn wants(&self, tid: u32, signal: Signal) -> bool {
        self.task_of(tid).is_some_and(|task| task.blocked & signal.bit() == 0)
    }

    /// Lets a waiting task see that there is a signal for it.
    fn interrupt_task(&mut self, tid: u32, signal: Signal) {
        let stopped = self.task_of(tid).is_some_and(|task| task.state == State::Stopped);
        if !stopped || signal == Signal::KILL {
            self.make_ready(tid);
        }
    }
}

/// RLIMIT_SIGPENDING of a process.
fn pending_limit(process: &Process) -> u64 {
    let kind = index(u64::from(linux_raw_sys::general::RLIMIT_SIGPENDING));
    process.limits.get(kind).map_or(0, |limit| limit.rlim_cur)
}
