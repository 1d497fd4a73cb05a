//! Delivering signals: what happens between an entry of the shim and the return to ring 3.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;
use proto::{Grant, grant_flags};

use super::{DefaultAction, Info, SIG_DFL, SIG_IGN, Signal, UNSTOPPABLE};
use crate::abi::SigAction;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::regs::UserRegs;
use crate::task::{Change, Life};
use crate::wait::{Interrupted, Wait};

/// `si_code` of SIGCHLD.
pub(crate) const CLD_EXITED: i32 = 1;
pub(crate) const CLD_KILLED: i32 = 2;
pub(crate) const CLD_DUMPED: i32 = 3;
const CLD_STOPPED: i32 = 5;
pub(super) const CLD_CONTINUED: i32 = 6;
/// Bit of a wait status: a core was dumped.
const CORE_DUMPED: u32 = 0x80;
/// Length of `syscall`.
pub(crate) const SYSCALL_LEN: u64 = 2;

/// How delivering signals to the present task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The task goes on: with its call, if one is under way, or in ring 3.
    GoOn,
    /// It stops.
    Stopped,
    /// It has ended.
    Dead,
}

impl<P: Platform> Kernel<P> {
    /// The signals that the present task has to do something about.
    pub(crate) fn due_signals(&self) -> u64 {
        let sent = self.task.pending.set() | self.task.process.borrow().pending.set();
        sent & !(self.task.blocked & !UNSTOPPABLE)
    }

    /// Delivers what is due. `waiting` is what a call under way waits for: a handler ends the call.
    pub(crate) fn deliver(&mut self, regs: &mut UserRegs, waiting: Option<&Wait>) -> Delivery {
        loop {
            let due = match waiting.map(|wait| wait.interrupted) {
                Some(Interrupted::Never) => self.due_signals() & Signal::KILL.bit(),
                Some(Interrupted::ByTheEnd) => self.ending(self.due_signals()),
                Some(Interrupted::AsTheActionSays | Interrupted::Always) | None => self.due_signals(),
            };
            if due == 0 {
                break;
            }
            let taken = self.task.pending.take(due).or_else(|| self.task.process.borrow_mut().pending.take(due));
            let Some(info) = taken else { break };
            let signal = info.signal();
            let action = self.task.actions.borrow().get(signal.slot()).copied().unwrap_or_default();
            match (action.handler, signal.default_action()) {
                (SIG_DFL, DefaultAction::End) => {
                    self.end_by_signal(&info, regs.rip);
                    return Delivery::Dead;
                }
                (SIG_DFL, DefaultAction::Stop) => {
                    if self.stop(signal) {
                        return Delivery::Stopped;
                    }
                }
                (SIG_DFL, DefaultAction::Ignore) | (SIG_IGN, _) => {}
                _ => {
                    self.interrupt_call(regs, &action, waiting);
                    if self.enter_handler(regs, &info, &action).is_err() {
                        // The stack is no place for a frame: SIGSEGV, whatever its handler.
                        if let Some(action) = self.task.actions.borrow_mut().get_mut(Signal::SEGV.slot()) {
                            action.handler = SIG_DFL;
                        }
                        self.force_signal(Info::kernel(Signal::SEGV));
                    }
                }
            }
        }
        if self.task.process.borrow().stopped.is_some() { Delivery::Stopped } else { Delivery::GoOn }
    }

    /// Those of these signals that end the process.
    fn ending(&self, due: u64) -> u64 {
        let actions = self.task.actions.borrow();
        let ends = |signal: &Signal| {
            let handler = actions.get(signal.slot()).map_or(SIG_DFL, |action| action.handler);
            handler == SIG_DFL && signal.default_action() == DefaultAction::End
        };
        (1..=64).map(Signal).filter(ends).fold(0, |all, signal| all | due & signal.bit())
    }

    /// A handler is about to run: the call under way ends with EINTR, or is made again behind the handler.
    fn interrupt_call(&mut self, regs: &mut UserRegs, action: &SigAction, waiting: Option<&Wait>) {
        let (Some(call), Some(wait)) = (self.task.call, waiting) else { return };
        // The handler runs under the call's own mask, and its frame brings the other back.
        let mask = self.task.saved_mask.take();
        let again = wait.interrupted == Interrupted::AsTheActionSays
            && action.flags & u64::from(raw::SA_RESTART) != 0
            && self.task.progress == 0;
        if again {
            self.make_again(regs, &call);
        } else if self.task.progress > 0 {
            let done = self.task.progress;
            self.finish(regs, Ok(done));
        } else {
            crate::syscalls::interrupted(self, &call);
            self.finish(regs, Err(Errno::EINTR.into()));
        }
        self.task.saved_mask = mask;
    }

    /// The program makes its call once more, through the gate: it is judged once more.
    pub(crate) fn make_again(&mut self, regs: &mut UserRegs, call: &Grant) {
        regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
        self.finish(regs, Err(Errno::EINTR.into()));
        regs.rax = call.number;
    }

    /// The default action of a stop signal; `false` when it does nothing (an orphaned group).
    fn stop(&mut self, signal: Signal) -> bool {
        let process = Rc::clone(&self.task.process);
        let group = process.borrow().group;
        if signal != Signal::STOP && self.is_orphaned(group) {
            return false;
        }
        {
            let mut process = process.borrow_mut();
            process.stopped = Some(signal.0);
            process.change = Some(Change::Stopped(signal.0));
        }
        self.tell_parent_of_change(&process, CLD_STOPPED, signal.0);
        true
    }

    /// Has nobody in the group a parent in the same session that could make it go on?
    pub(crate) fn is_orphaned(&self, group: u32) -> bool {
        !self.processes.values().any(|process| {
            let process = process.borrow();
            process.group == group
                && process.life == Life::Alive
                && self.process(process.parent).is_some_and(|parent| {
                    let parent = parent.borrow();
                    parent.session == process.session && parent.group != group
                })
        })
    }

    /// The present process or thread ends because of the call of `grant`, which returns to `rip`. No handler, mask or other signal
    /// comes between.
    pub(crate) fn condemn(&mut self, grant: &Grant, rip: u64) {
        let is_last = self.task.process.borrow().threads.len() <= 1;
        if grant.flags & grant_flags::KILL_PROCESS == 0 && !is_last {
            self.exit_thread(Signal::SYS.0);
        } else {
            self.end_by_signal(&Info::refused_call(rip, grant.number), rip);
        }
    }

    /// The present process ends by a signal.
    fn end_by_signal(&mut self, info: &Info, rip: u64) {
        let signal = info.signal();
        let process = Rc::clone(&self.task.process);
        let core_limit = self.limit(raw::RLIMIT_CORE);
        let core =
            if signal.dumps_core() && core_limit > 0 && process.borrow().dumpable != 0 { CORE_DUMPED } else { 0 };
        if info.code > 0 {
            let address = info.body.first().copied().unwrap_or(0);
            process.borrow_mut().fault = (address, rip);
        }
        self.exit_process(signal.0 | core);
    }
}

/// The information of a SIGCHLD.
pub(crate) fn child_info(signal: Signal, code: i32, pid: u32, uid: u32, status: u32, time: u64) -> Info {
    let body = [u64::from(pid) | u64::from(uid) << 32, u64::from(status), time, 0];
    Info { number: signal.0.cast_signed(), errno: 0, code, pad: 0, body }
}

/// The `si_code` and `si_status` of a wait status.
#[must_use]
pub(crate) fn child_code(status: u32) -> (i32, u32) {
    match status & 0x7f {
        0 => (CLD_EXITED, status >> 8 & 0xff),
        signal if status & CORE_DUMPED != 0 => (CLD_DUMPED, signal),
        signal => (CLD_KILLED, signal),
    }
}
