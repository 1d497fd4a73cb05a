//! Sending the signals of files that can be read or written (`fs::asynchronous`).

use alloc::rc::Rc;

use crate::fs::asynchronous::{Asynchronous, Owner};
use crate::fs::special::ready;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::{Info, Signal};

/// `si_code` and `si_band` of input and of room for output (Linux `fs/fcntl.c`, `band_table`).
const POLL_IN: (i32, u64) = (1, 0x41);
const POLL_OUT: (i32, u64) = (2, 0x304);

impl<P: Platform> Kernel<P> {
    /// Sends the signals of what has happened to files during the call.
    pub(crate) fn send_asynchronous(&mut self) {
        for file in self.hub.take_announced() {
            if let Some(file) = file.upgrade()
                && let Some((fd, events)) = file.take()
            {
                self.send_of(&file, fd, events);
            }
        }
    }

    fn send_of(&mut self, file: &Rc<Asynchronous>, fd: i32, events: i16) {
        let (code, band) = if events & ready::IN != 0 { POLL_IN } else { POLL_OUT };
        let info = match Signal::new(file.signal.get().cast_signed()) {
            None => Info::kernel(Signal::IO),
            Some(signal) => {
                let body = [band, u64::from(fd.cast_unsigned()), 0, 0];
                Info { number: signal.0.cast_signed(), code, body, ..Info::default() }
            }
        };
        match file.owner.get() {
            Owner::Nobody => {}
            Owner::Thread(tid) => {
                let pid = self.task_of(tid).map(|task| task.process.borrow().pid);
                if pid.is_some_and(|pid| self.may_get(file, pid)) && self.signal_thread(tid, info).is_err() {
                    // A queue without room: told all the same, without the information.
                    let _ = self.signal_thread(tid, Info::kernel(Signal::IO));
                }
            }
            Owner::Process(pid) => self.send_to(file, pid, &info),
            Owner::Group(group) => {
                for pid in self.group_members(group) {
                    self.send_to(file, pid, &info);
                }
            }
        }
    }

    fn send_to(&mut self, file: &Asynchronous, pid: u32, info: &Info) {
        if self.may_get(file, pid) && self.signal_process(pid, *info).is_err() {
            let _ = self.signal_process(pid, Info::kernel(Signal::IO));
        }
    }

    /// Could who asked for the signals have sent them? (`sigio_perm`)
    fn may_get(&self, file: &Asynchronous, pid: u32) -> bool {
        let Some(target) = self.process(pid) else { return false };
        let [real, effective] = file.users.get();
        let [own, _, saved] = target.borrow().uid;
        effective == 0 || [real, effective].iter().any(|&user| user == own || user == saved)
    }
}
