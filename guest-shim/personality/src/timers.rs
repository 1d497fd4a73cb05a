//! Timers that send signals: interval timers (`setitimer`, `alarm`) and POSIX timers (`timer_create`).

use alloc::collections::BTreeMap;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::{Info, SI_TIMER, Signal};

/// A timer's time: when it is due next, and how long it waits after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Reference time (or processor time) of the next expiration; 0: it is not armed.
    pub due: u64,
    /// From one expiration to the next; 0: it goes off once.
    pub interval: u64,
}

/// What a POSIX timer does when it goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Nothing.
    None,
    /// A signal to the process.
    Process(Signal),
    /// A signal to a thread.
    Thread(Signal, u32),
}

/// What a POSIX timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Time.
    Time,
    /// Processor time of its process.
    Process,
    /// Processor time of a thread.
    Thread(u32),
}

/// A POSIX timer.
#[derive(Clone, Copy, Debug)]
pub struct PosixTimer {
    /// Its clock.
    pub clock: u32,
    /// What that counts.
    pub basis: Basis,
    /// What it does.
    pub notify: Notify,
    /// `sigev_value`.
    pub value: u64,
    /// When.
    pub setting: Setting,
    /// Expirations that found its signal still pending, since the last delivery.
    pub overrun: i32,
}

/// The timers of a process.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    /// ITIMER_REAL.
    pub real: Setting,
    /// ITIMER_VIRTUAL and ITIMER_PROF, in processor time: both count all of it.
    pub processor: [Setting; 2],
    /// POSIX timers, by id.
    pub posix: BTreeMap<i32, PosixTimer>,
}

/// Most POSIX timers of a process.
pub const MAX_TIMERS: usize = 1024;
/// The id of ITIMER_REAL among a process' timers.
pub const REAL: i32 = -1;
/// Most that an overrun counts (DELAYTIMER_MAX).
const MAX_OVERRUN: u64 = 0x7fff_ffff;

impl Timers {
    /// Does timer `id` go by time, not by processor time?
    fn goes_by_time(&self, id: i32) -> bool {
        self.posix.get(&id).is_none_or(|timer| timer.basis == Basis::Time)
    }

    /// Does one of them go by processor time?
    #[must_use]
    pub fn counts_processor_time(&self) -> bool {
        let posix = |timer: &PosixTimer| timer.basis != Basis::Time && timer.setting.due != 0;
        self.processor.iter().any(|setting| setting.due != 0) || self.posix.values().any(posix)
    }
}

impl Setting {
    /// It goes off at `now`: how many intervals have passed beyond the first expiration.
    fn advance(&mut self, now: u64) -> u64 {
        if self.interval == 0 {
            self.due = 0;
            return 0;
        }
        let missed = now.saturating_sub(self.due) / self.interval;
        self.due = self.due.saturating_add(self.interval.saturating_mul(missed + 1));
        missed
    }
}

impl<P: Platform> Kernel<P> {
    /// When the next timer goes off; `u64::MAX`: none is armed.
    pub(crate) fn next_timer(&self) -> u64 {
        self.timers.first().map_or(u64::MAX, |&(due, ..)| due)
    }

    /// Changes the setting of a timer of process `pid`.
    pub(crate) fn set_timer(&mut self, pid: u32, id: i32, new: Setting) {
        let Some(process) = self.process(pid) else { return };
        let mut process = process.borrow_mut();
        let Some(setting) = setting_of(&mut process.timers, id) else { return };
        self.timers.remove(&(setting.due, pid, id));
        *setting = new;
        if new.due != 0 && process.timers.goes_by_time(id) {
            self.timers.insert((new.due, pid, id));
        }
    }

    /// Lets the timers go off that are due.
    pub(crate) fn run_timers(&mut self, now: u64) {
        while let Some(&(due, pid, id)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            self.expire_timer(pid, id, now);
        }
    }

    fn expire_timer(&mut self, pid: u32, id: i32, now: u64) {
        let Some(process) = self.process(pid) else { return };
        let (missed, next) = {
            let mut process = process.borrow_mut();
            let by_time = process.timers.goes_by_time(id);
            let Some(setting) = setting_of(&mut process.timers, id) else { return };
            (setting.advance(now), if by_time { setting.due } else { 0 })
        };
        if next != 0 {
            self.timers.insert((next, pid, id));
        }
        if id == REAL {
            let _ = self.signal_process(pid, Info::kernel(Signal::ALRM));
            return;
        }
        let Some(timer) = process.borrow().timers.posix.get(&id).copied() else { return };
        let sent = match timer.notify {
            Notify::None => return,
            Notify::Process(signal) => (signal, process.borrow().pending.set(), None),
            Notify::Thread(signal, tid) => (signal, self.task_of(tid).map_or(0, |task| task.pending.set()), Some(tid)),
        };
        let (signal, pending, thread) = sent;
        let already = pending & signal.bit() != 0;
        let missed = missed + u64::from(already);
        if let Some(timer) = process.borrow_mut().timers.posix.get_mut(&id) {
            let before = if already { u64::from(timer.overrun.unsigned_abs()) } else { 0 };
            timer.overrun = i32::try_from((before + missed).min(MAX_OVERRUN)).unwrap_or(i32::MAX);
        }
        if already {
            return;
        }
        let body = [u64::from(id.unsigned_abs()) | missed.min(MAX_OVERRUN) << 32, timer.value, 0, 0];
        let info = Info { number: signal.0.cast_signed(), code: SI_TIMER, body, ..Default::default() };
        let _ = match thread {
            Some(tid) => self.signal_thread(tid, info),
            None => self.signal_process(pid, info),
        };
    }

    /// Looks after what goes by the processor time of the present process.
    pub(crate) fn check_processor_time(&mut self) {
        let used = self.process_time();
        self.check_processor_timers(used);
        self.check_processor_limit(used);
    }

    /// Lets the timers go off that count the processor time of the present process, of which it has used so much.
    pub(crate) fn check_processor_timers(&mut self, used: u64) {
        let process = alloc::rc::Rc::clone(&self.task.process);
        for (slot, signal) in [(0, Signal::VTALRM), (1, Signal::PROF)] {
            let due = {
                let mut process = process.borrow_mut();
                let Some(setting) = process.timers.processor.get_mut(slot) else { continue };
                let due = setting.due != 0 && setting.due <= used;
                if due {
                    setting.advance(used);
                }
                due
            };
            if due {
                let pid = process.borrow().pid;
                let _ = self.signal_process(pid, Info::kernel(signal));
            }
        }
        let due: alloc::vec::Vec<(i32, u64)> = {
            let process = process.borrow();
            let counting = process.timers.posix.iter().filter(|(_, timer)| timer.basis != Basis::Time);
            let now = counting.map(|(&id, timer)| (id, timer.setting.due, self.time_by(timer.basis, used)));
            now.filter(|&(_, due, now)| due != 0 && due <= now).map(|(id, _, now)| (id, now)).collect()
        };
        let pid = process.borrow().pid;
        for (id, now) in due {
            self.expire_timer(pid, id, now);
        }
    }

    /// Processor time by `basis` in the present process, which has used `process` in all.
    fn time_by(&self, basis: Basis, process: u64) -> u64 {
        match basis {
            Basis::Time | Basis::Process => process,
            Basis::Thread(tid) => self.task_of(tid).map_or(0, |task| task.time),
        }
    }

    /// What a timer of the present process goes by, now.
    pub(crate) fn timer_now(&mut self, timer: &PosixTimer) -> u64 {
        match timer.basis {
            Basis::Time => self.platform.reference_time(),
            basis => {
                let used = self.process_time();
                self.time_by(basis, used)
            }
        }
    }

    /// Does something happen when the present process has used so much processor time?
    pub(crate) fn watches_processor_time(&self) -> bool {
        self.limit(linux_raw_sys::general::RLIMIT_CPU) != u64::MAX
            || self.task.process.borrow().timers.counts_processor_time()
    }

    /// RLIMIT_CPU: SIGXCPU at the limit and each second after it, SIGKILL at the hard one.
    fn check_processor_limit(&mut self, used: u64) {
        let kind = linux_raw_sys::general::RLIMIT_CPU as usize;
        let limit = self.task.process.borrow().limits.get(kind).copied().unwrap_or_default();
        let seconds = used / crate::time::SECOND_TICKS;
        if limit.rlim_max != u64::MAX && seconds >= limit.rlim_max {
            self.kill_self();
        } else if limit.rlim_cur != u64::MAX && seconds >= limit.rlim_cur {
            if let Some(limit) = self.task.process.borrow_mut().limits.get_mut(kind) {
                limit.rlim_cur = seconds + 1;
            }
            let pid = self.task.process.borrow().pid;
            let _ = self.signal_process(pid, Info::kernel(Signal::XCPU));
        }
    }

    /// Processor time of the present process, in reference time.
    pub(crate) fn process_time(&mut self) -> u64 {
        self.account();
        let process = self.task.process.borrow();
        let threads = process.threads.iter().filter_map(|&tid| self.task_of(tid)).map(|task| task.time);
        process.past_time + threads.sum::<u64>()
    }

    /// A POSIX timer of the present process.
    ///
    /// # Errors
    /// EINVAL.
    pub(crate) fn posix_timer(&self, id: i32) -> Result<PosixTimer, Errno> {
        self.task.process.borrow().timers.posix.get(&id).copied().ok_or(Errno::EINVAL)
    }

    /// Forgets all timers of a process: those that execve (POSIX ones) or its end ends.
    pub(crate) fn drop_timers(&mut self, pid: u32, all: bool) {
        let Some(process) = self.process(pid) else { return };
        let ids: alloc::vec::Vec<i32> = process.borrow().timers.posix.keys().copied().collect();
        for id in ids {
            self.set_timer(pid, id, Setting::default());
        }
        process.borrow_mut().timers.posix.clear();
        if all {
            self.set_timer(pid, REAL, Setting::default());
            process.borrow_mut().timers.processor = [Setting::default(); 2];
        }
    }
}

fn setting_of(timers: &mut Timers, id: i32) -> Option<&mut Setting> {
    if id == REAL { Some(&mut timers.real) } else { timers.posix.get_mut(&id).map(|timer| &mut timer.setting) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_was_late_counts_what_it_missed() {
        let mut setting = Setting { due: 100, interval: 10 };
        assert_eq!(setting.advance(100), 0);
        assert_eq!(setting.due, 110);
        assert_eq!(setting.advance(139), 2);
        assert_eq!(setting.due, 140);
        let mut once = Setting { due: 5, interval: 0 };
        assert_eq!(once.advance(1000), 0);
        assert_eq!(once.due, 0);
    }
}
