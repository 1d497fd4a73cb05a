//! pidfds: pidfd_open, pidfd_send_signal, pidfd_getfd, and what clone and waitid do with them.

use alloc::rc::Rc;
use core::cell::RefCell;

use linux_raw_sys::general as raw;

use super::Args;
use super::signal::{checked, given_info, may_send, own_ids};
use crate::errno::{Errno, Outcome};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::pidfd::PidFd;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::{Info, SI_USER};
use crate::task::Process;

impl<P: Platform> Kernel<P> {
    /// Gives a process a descriptor, which execve closes. Of `flags`, PIDFD_NONBLOCK (O_NONBLOCK) counts.
    pub(crate) fn open_pidfd(&mut self, process: Rc<RefCell<Process>>, flags: u32) -> Outcome {
        let number = self.next_number();
        let kind = FileKind::Special(Rc::new(PidFd::new(process, number)));
        let file = OpenFile::new(kind, None, raw::O_RDWR | flags & raw::O_NONBLOCK, self.fuse.leftovers());
        self.install(file, true)
    }

    /// The process that a descriptor stands for, and its open file. It may be gone.
    ///
    /// # Errors
    /// EBADF: it is no pidfd.
    pub(super) fn pidfd(&self, fd: i32) -> Result<(Rc<RefCell<Process>>, Rc<OpenFile>), Errno> {
        let file = self.file(fd)?;
        let process = match &file.kind {
            FileKind::Special(special) => {
                special.as_any().downcast_ref::<PidFd>().map(|pidfd| Rc::clone(pidfd.process()))
            }
            _ => None,
        };
        process.map(|process| (process, file)).ok_or(Errno::EBADF)
    }

    /// The number of a process, if it is still there: a zombie is.
    ///
    /// # Errors
    /// ESRCH.
    pub(super) fn number_of(&self, process: &Rc<RefCell<Process>>) -> Result<u32, Errno> {
        let pid = process.borrow().pid;
        let same = self.process(pid).is_some_and(|known| Rc::ptr_eq(&known, process));
        if same { Ok(pid) } else { Err(Errno::ESRCH) }
    }
}

pub(super) fn pidfd_open<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, flags) = (args.int(0), args.uint(1));
    if flags & !raw::O_NONBLOCK != 0 || pid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let id = pid.unsigned_abs();
    let process = kernel.process(id).ok_or_else(|| {
        // A thread that is not the first has a number, but is no process.
        if kernel.task_of(id).is_some() { Errno::EINVAL } else { Errno::ESRCH }
    })?;
    kernel.open_pidfd(process, flags)
}

pub(super) fn pidfd_send_signal<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, number, info_at, flags) = (args.int(0), args.int(1), args.get(2), args.uint(3));
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (process, _) = kernel.pidfd(fd)?;
    let target = process.borrow().pid;
    let info = match info_at {
        0 => {
            let (own, uid) = own_ids(kernel);
            checked(number)?.map(|signal| Info::sent(signal, SI_USER, own, uid))
        }
        at => {
            if kernel.get::<Info>(at)?.number != number {
                return Err(Errno::EINVAL.into());
            }
            let info = given_info(kernel, at, target, number)?;
            checked(number)?.map(|_| info)
        }
    };
    let pid = kernel.number_of(&process)?;
    may_send(kernel, pid, number)?;
    if let Some(info) = info {
        kernel.signal_process(pid, info)?;
    }
    Ok(0)
}

pub(super) fn pidfd_getfd<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.uint(2) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (process, _) = kernel.pidfd(args.int(0))?;
    kernel.number_of(&process)?;
    let files = Rc::clone(&kernel.reachable(&process)?.files);
    let file = files.borrow().get(args.int(1)).map(|found| Rc::clone(&found.file))?;
    kernel.install(file, true)
}
