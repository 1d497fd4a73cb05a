//! What becomes of children, and what their parents learn of it: SIGCHLD, and the wait calls.

use alloc::rc::Rc;
use core::cell::RefCell;

use linux_raw_sys::general as raw;

use crate::abi::SigAction;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::lifecycle::INIT;
use crate::platform::Platform;
use crate::signal::{SIG_IGN, Signal, child_code, child_info};
use crate::task::{Change, Life, Process};

impl<P: Platform> Kernel<P> {
    /// Tells the parent that a process has stopped or gone on.
    pub(crate) fn tell_parent_of_change(&mut self, process: &Rc<RefCell<Process>>, code: i32, status: u32) {
        let (pid, uid, parent) = {
            let process = process.borrow();
            (process.pid, process.uid[0], process.parent)
        };
        let Some(parent_process) = self.process(parent) else { return };
        let action = self.wake_parent(&parent_process);
        if action.is_some_and(|action| action.flags & u64::from(raw::SA_NOCLDSTOP) == 0) {
            let _ = self.signal_process(parent, child_info(Signal::CHLD, code, pid, uid, status, 0));
        }
    }

    /// Tells the parent that a process has ended with this wait status. One that does not care has it fetched at once.
    pub(crate) fn tell_parent_of_end(&mut self, process: &Rc<RefCell<Process>>, status: u32) {
        let (pid, parent, uid, exit_signal, time) = {
            let process = process.borrow();
            (process.pid, process.parent, process.uid[0], process.exit_signal, process.past_time)
        };
        let Some(parent_process) = self.process(parent).filter(|_| parent != INIT) else {
            self.processes.remove(&pid);
            return;
        };
        let action = self.wake_parent(&parent_process);
        if let Some(signal) = Signal::new(exit_signal.cast_signed()) {
            let (code, what) = child_code(status);
            let ticks = time / crate::time::CLOCK_TICK;
            let _ = self.signal_process(parent, child_info(signal, code, pid, uid, what, ticks));
        }
        let unwanted =
            action.is_some_and(|action| action.handler == SIG_IGN || action.flags & u64::from(raw::SA_NOCLDWAIT) != 0);
        if exit_signal == Signal::CHLD.0 && unwanted {
            self.reap(&parent_process, pid);
        }
    }

    /// Something has become of a child: wakes whoever waits for that in its parent, and tells what the parent does about SIGCHLD
    /// (`None`: it has no thread any more).
    fn wake_parent(&self, parent: &Rc<RefCell<Process>>) -> Option<SigAction> {
        let parent = parent.borrow();
        parent.children_changed.wake();
        let task = self.task_of(parent.threads.first().copied()?)?;
        task.actions.borrow().get(Signal::CHLD.slot()).copied()
    }

    /// A zombie is gone: its parent knows.
    pub(crate) fn reap(&mut self, parent: &Rc<RefCell<Process>>, pid: u32) {
        let Some(child) = self.processes.remove(&pid) else { return };
        let child = child.borrow();
        let mut parent = parent.borrow_mut();
        parent.children.retain(|&one| one != pid);
        parent.children_time += child.past_time + child.children_time;
        parent.children_peak = parent.children_peak.max(child.peak).max(child.children_peak);
    }

    /// What a parent learns of a child that fits: its id and wait status. `None`: nothing yet.
    ///
    /// # Errors
    /// ECHILD when no child fits.
    pub(crate) fn look_for_child(&mut self, who: Who, options: u32) -> Result<Option<(u32, u32)>, Errno> {
        let parent = Rc::clone(&self.task.process);
        let mut fits = false;
        let children = parent.borrow().children.clone();
        for pid in children {
            let Some(child) = self.process(pid).filter(|child| who.means(&child.borrow())) else { continue };
            let clone_child = child.borrow().exit_signal != Signal::CHLD.0;
            let wanted = options & raw::__WALL != 0 || clone_child == (options & raw::__WCLONE != 0);
            if !wanted {
                continue;
            }
            fits = true;
            if let Some(status) = self.news_of(&parent, &child, options) {
                return Ok(Some((pid, status)));
            }
        }
        if fits { Ok(None) } else { Err(Errno::ECHILD) }
    }

    /// What has become of a child, if the options ask for that.
    fn news_of(&mut self, parent: &Rc<RefCell<Process>>, child: &Rc<RefCell<Process>>, options: u32) -> Option<u32> {
        let keep = options & raw::WNOWAIT != 0;
        let (life, change, pid) = {
            let child = child.borrow();
            (child.life, child.change, child.pid)
        };
        if let Life::Zombie(status) = life {
            if options & raw::WEXITED == 0 {
                return None;
            }
            if !keep {
                self.reap(parent, pid);
            }
            return Some(status);
        }
        let status = match change? {
            Change::Stopped(signal) if options & raw::WUNTRACED != 0 => signal << 8 | 0x7f,
            Change::Continued if options & raw::WCONTINUED != 0 => 0xffff,
            _ => return None,
        };
        if !keep {
            child.borrow_mut().change = None;
        }
        Some(status)
    }
}

/// Whom a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Any child.
    Any,
    /// The child with this id.
    Process(u32),
    /// Those of this group.
    Group(u32),
}

impl Who {
    fn means(self, process: &Process) -> bool {
        match self {
            Self::Any => true,
            Self::Process(pid) => process.pid == pid,
            Self::Group(group) => process.group == group,
        }
    }
}
