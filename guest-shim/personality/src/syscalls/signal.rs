//! Signal actions, masks and stacks; sending signals and waiting for them.

use alloc::rc::Rc;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::{AltStack, SigAction, Timespec};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::kernel::Kernel;
use crate::lifecycle::INIT;
use crate::platform::Platform;
use crate::signal::{Info, SI_TKILL, SI_USER, Signal, UNSTOPPABLE, is_on};
use crate::time::from_timespec;
use crate::wait::Wait;

/// Size of a signal set.
const SET: u64 = 8;
const SS_DISABLE: i32 = 2;
const SS_ONSTACK: i32 = 1;
const SS_AUTODISARM: i32 = i32::MIN;
/// Smallest alternate stack (MINSIGSTKSZ).
const MIN_STACK: u64 = 2048;

pub(super) fn rt_sigaction<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (new, old, size) = (args.get(1), args.get(2), args.get(3));
    let signal = Signal::new(args.int(0)).ok_or(Errno::EINVAL)?;
    if size != SET || (new != 0 && signal.bit() & UNSTOPPABLE != 0) {
        return Err(Errno::EINVAL.into());
    }
    let wanted: Option<SigAction> = if new == 0 { None } else { Some(kernel.get(new)?) };
    let before = kernel.task.actions.borrow().get(signal.slot()).copied().unwrap_or_default();
    if old != 0 {
        kernel.put(old, &before)?;
    }
    if let Some(mut action) = wanted {
        action.mask &= !UNSTOPPABLE;
        if let Some(slot) = kernel.task.actions.borrow_mut().get_mut(signal.slot()) {
            *slot = action;
        }
        if kernel.is_ignored(kernel.task.tid, signal) {
            forget(kernel, signal);
        }
    }
    Ok(0)
}

/// A signal that is ignored from now on is not pending any more.
fn forget<P: Platform>(kernel: &mut Kernel<P>, signal: Signal) {
    let process = Rc::clone(&kernel.task.process);
    process.borrow_mut().pending.discard(signal.bit());
    let threads = process.borrow().threads.clone();
    for tid in threads {
        if let Some(task) = kernel.task_mut(tid) {
            task.pending.discard(signal.bit());
        }
    }
}

pub(super) fn rt_sigprocmask<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (how, new, old, size) = (args.int(0), args.get(1), args.get(2), args.get(3));
    if size != SET {
        return Err(Errno::EINVAL.into());
    }
    let before = kernel.task.blocked;
    if new != 0 {
        let set: u64 = kernel.get(new)?;
        let blocked = match how {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        kernel.task.blocked = blocked & !UNSTOPPABLE;
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    Ok(0)
}

pub(super) fn rt_sigpending<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.get(1) > SET {
        return Err(Errno::EINVAL.into());
    }
    let pending = (kernel.task.pending.set() | kernel.task.process.borrow().pending.set()) & kernel.task.blocked;
    kernel.put(args.get(0), &pending)?;
    Ok(0)
}

pub(super) fn sigaltstack<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (new, old) = (args.get(0), args.get(1));
    let sp = kernel.task.regs.rsp;
    let before = kernel.reported_stack(sp);
    if new != 0 {
        let mut stack: AltStack = kernel.get(new)?;
        if is_on(&kernel.task.alternate_stack, sp) {
            return Err(Errno::EPERM.into());
        }
        match stack.ss_flags & !SS_AUTODISARM {
            SS_DISABLE => stack = AltStack { ss_flags: SS_DISABLE, ..Default::default() },
            0 | SS_ONSTACK if stack.ss_size < MIN_STACK => return Err(Errno::ENOMEM.into()),
            0 | SS_ONSTACK => stack.ss_flags &= SS_AUTODISARM,
            _ => return Err(Errno::EINVAL.into()),
        }
        kernel.task.alternate_stack = stack;
    }
    if old != 0 {
        kernel.put(old, &before)?;
    }
    Ok(0)
}

/// Sends a signal of the kernel's own to the present task.
///
/// # Errors
/// None: it is delivered when the call is over.
pub(super) fn raise<P: Platform>(kernel: &mut Kernel<P>, signal: Signal) -> Result<(), Stop> {
    let (pid, uid) = own_ids(kernel);
    kernel.signal_thread(kernel.task.tid, Info::sent(signal, SI_USER, pid, uid))?;
    Ok(())
}

/// Process id and real user of the caller.
pub(super) fn own_ids<P: Platform>(kernel: &Kernel<P>) -> (u32, u32) {
    let process = kernel.task.process.borrow();
    (process.pid, process.uid[0])
}

/// May the caller send this signal to that process?
pub(super) fn may_send<P: Platform>(kernel: &Kernel<P>, pid: u32, number: i32) -> Result<(), Errno> {
    let target = kernel.process(pid).ok_or(Errno::ESRCH)?;
    if pid == INIT {
        return Err(Errno::EPERM);
    }
    let (own, target) = (kernel.task.process.borrow(), target.borrow());
    let same = own.uid[1] == 0
        || [own.uid[0], own.uid[1]].iter().any(|&uid| uid == target.uid[0] || uid == target.uid[2])
        || (number == Signal::CONT.0.cast_signed() && own.session == target.session);
    if same { Ok(()) } else { Err(Errno::EPERM) }
}

/// The signal with this number; `None` for 0.
pub(super) fn checked(number: i32) -> Result<Option<Signal>, Errno> {
    if number == 0 { Ok(None) } else { Signal::new(number).map(Some).ok_or(Errno::EINVAL) }
}

pub(super) fn kill<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (target, number) = (args.int(0), args.int(1));
    let signal = checked(number)?;
    let (own, uid) = own_ids(kernel);
    let targets: Vec<u32> = match target {
        i32::MIN => return Err(Errno::ESRCH.into()),
        0 => kernel.group_members(kernel.task.process.borrow().group),
        -1 => kernel.process_ids().into_iter().filter(|&pid| pid != INIT && pid != own).collect(),
        target if target < 0 => kernel.group_members(target.unsigned_abs()),
        target => {
            let pid = process_of(kernel, target.unsigned_abs())?;
            [pid].into()
        }
    };
    let mut result = Err(Errno::ESRCH);
    for pid in targets {
        let sent = may_send(kernel, pid, number).and_then(|()| match signal {
            Some(signal) => kernel.signal_process(pid, Info::sent(signal, SI_USER, own, uid)),
            None => Ok(()),
        });
        if result != Ok(()) {
            result = sent;
        }
    }
    result?;
    Ok(0)
}

/// The process that a process or thread id means.
fn process_of<P: Platform>(kernel: &Kernel<P>, id: u32) -> Result<u32, Errno> {
    if kernel.process(id).is_some() {
        return Ok(id);
    }
    kernel.task_of(id).map(|task| task.process.borrow().pid).ok_or(Errno::ESRCH)
}

pub(super) fn tkill<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    to_thread(kernel, None, args.int(0), args.int(1))
}

pub(super) fn tgkill<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.int(0) <= 0 {
        return Err(Errno::EINVAL.into());
    }
    to_thread(kernel, Some(args.int(0).unsigned_abs()), args.int(1), args.int(2))
}

fn to_thread<P: Platform>(kernel: &mut Kernel<P>, pid: Option<u32>, tid: i32, number: i32) -> Outcome {
    if tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let tid = thread_in(kernel, pid, tid.unsigned_abs())?;
    let (own, uid) = own_ids(kernel);
    if let Some(signal) = checked(number)? {
        kernel.signal_thread(tid, Info::sent(signal, SI_TKILL, own, uid))?;
    }
    Ok(0)
}

/// The thread, if it is there, in that process, and may be sent signals.
fn thread_in<P: Platform>(kernel: &Kernel<P>, pid: Option<u32>, tid: u32) -> Result<u32, Errno> {
    let owner = kernel.task_of(tid).map(|task| task.process.borrow().pid).ok_or(Errno::ESRCH)?;
    if pid.is_some_and(|pid| pid != owner) {
        return Err(Errno::ESRCH);
    }
    may_send(kernel, owner, 0)?;
    Ok(tid)
}

/// The information that a program gives with a signal. What looks as if the kernel had sent it is for the program itself only.
pub(super) fn given_info<P: Platform>(
    kernel: &mut Kernel<P>,
    at: u64,
    target: u32,
    number: i32,
) -> Result<Info, Errno> {
    let mut info: Info = kernel.get(at)?;
    let own = kernel.task.process.borrow().pid;
    if (info.code >= 0 || info.code == SI_TKILL) && target != own {
        return Err(Errno::EPERM);
    }
    info.number = number;
    Ok(info)
}

pub(super) fn rt_sigqueueinfo<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, number) = (args.int(0).unsigned_abs(), args.int(1));
    let info = given_info(kernel, args.get(2), pid, number)?;
    may_send(kernel, pid, number)?;
    if checked(number)?.is_some() {
        kernel.signal_process(pid, info)?;
    }
    Ok(0)
}

pub(super) fn rt_tgsigqueueinfo<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, tid, number) = (args.int(0).unsigned_abs(), args.int(1).unsigned_abs(), args.int(2));
    let info = given_info(kernel, args.get(3), pid, number)?;
    let tid = thread_in(kernel, Some(pid), tid)?;
    if checked(number)?.is_some() {
        kernel.signal_thread(tid, info)?;
    }
    Ok(0)
}

pub(super) fn rt_sigreturn<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    let sp = kernel.task.regs.rsp;
    match kernel.leave_handler(sp) {
        Ok(regs) => {
            kernel.new_regs = Some(regs);
            Ok(regs.rax)
        }
        Err(_) => {
            kernel.force_signal(Info::kernel(Signal::SEGV));
            Ok(0)
        }
    }
}

impl<P: Platform> Kernel<P> {
    /// The mask of the present task while its call waits (ppoll, pselect, epoll_pwait, sigsuspend); the call's end, or the
    /// handler's, brings the other back.
    pub(crate) fn wait_with_mask(&mut self, mask: u64) {
        if self.task.saved_mask.is_none() {
            self.task.saved_mask = Some(self.task.blocked);
            self.task.blocked = mask & !UNSTOPPABLE;
        }
    }

    /// The same, with the mask at `at` (null: none) of `size` bytes.
    ///
    /// # Errors
    /// EINVAL for another size; EFAULT.
    pub(crate) fn wait_with_mask_at(&mut self, at: u64, size: u64) -> Result<(), Errno> {
        if at == 0 {
            return Ok(());
        }
        if size != SET {
            return Err(Errno::EINVAL);
        }
        let mask = self.get(at)?;
        self.wait_with_mask(mask);
        Ok(())
    }
}

pub(super) fn rt_sigsuspend<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.wait_with_mask_at(args.get(0), args.get(1))?;
    Err(Stop::Block(Wait::forever().never_restarted()))
}

pub(super) fn pause<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Stop::Block(Wait::forever().never_restarted()))
}

pub(super) fn rt_sigtimedwait<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (set_at, info_at, timeout_at) = (args.get(0), args.get(1), args.get(2));
    if args.get(3) != SET {
        return Err(Errno::EINVAL.into());
    }
    let wanted = kernel.get::<u64>(set_at)? & !UNSTOPPABLE;
    let deadline = match timeout_at {
        0 => u64::MAX,
        at => {
            let ns = from_timespec(kernel.get::<Timespec>(at)?)?;
            kernel.deadline(ns)
        }
    };
    if let Some(info) = take_signal(kernel, wanted) {
        if info_at != 0 {
            put_info(kernel, info_at, &info)?;
        }
        return Ok(u64::from(info.signal().0));
    }
    if kernel.is_over(deadline) {
        return Err(Errno::EAGAIN.into());
    }
    let signalled = kernel.task.process.borrow().signalled.clone();
    Err(Stop::Block(Wait::on(&signalled).or_until(deadline).never_restarted()))
}

/// Takes a pending signal of `wanted`: the thread's own first.
fn take_signal<P: Platform>(kernel: &mut Kernel<P>, wanted: u64) -> Option<Info> {
    let own = kernel.task.pending.take(wanted);
    own.or_else(|| kernel.task.process.borrow_mut().pending.take(wanted))
}

fn put_info<P: Platform>(kernel: &mut Kernel<P>, at: u64, info: &Info) -> Result<(), Errno> {
    kernel.put(at, info)?;
    kernel.put(at.wrapping_add(size_of::<Info>() as u64), &[0_u64; 10])
}

pub(super) fn signalfd<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_signalfd(kernel, args, 0)
}

pub(super) fn signalfd4<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_signalfd(kernel, args, args.uint(3))
}

fn make_signalfd<P: Platform>(kernel: &mut Kernel<P>, args: &Args, flags: u32) -> Outcome {
    if args.get(2) != SET || flags & !(raw::O_CLOEXEC | raw::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mask = kernel.get::<u64>(args.get(1))? & !UNSTOPPABLE;
    if args.int(0) == -1 {
        let kind = FileKind::Signals(core::cell::Cell::new(mask));
        let status = raw::O_RDWR | flags & raw::O_NONBLOCK;
        let file = OpenFile::new(kind, None, status, kernel.fuse.leftovers());
        return kernel.install(file, flags & raw::O_CLOEXEC != 0);
    }
    match &kernel.file(args.int(0))?.kind {
        FileKind::Signals(now) => now.set(mask),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(u64::from(args.uint(0)))
}

/// Size of `struct signalfd_siginfo`.
pub(super) const SIGNALFD_INFO: usize = 128;

/// The next signal of a signalfd in its own format (signalfd(2)); `None`: nothing is pending.
pub(super) fn next_of_signalfd<P: Platform>(kernel: &mut Kernel<P>, mask: u64) -> Option<[u8; SIGNALFD_INFO]> {
    let info = take_signal(kernel, mask)?;
    let [first, second, third, _] = info.body;
    let mut out = [0; SIGNALFD_INFO];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &info.signal().0.to_le_bytes());
    put(4, &info.errno.to_le_bytes());
    put(8, &info.code.to_le_bytes());
    // ssi_pid and ssi_uid, or ssi_tid and ssi_overrun of a timer.
    let ids = first.to_le_bytes();
    if info.code == crate::signal::SI_TIMER {
        put(24, &ids[..4]);
        put(32, &ids[4..]);
    } else {
        put(12, &ids);
    }
    let child = info.signal() == Signal::CHLD;
    let value = second.to_le_bytes();
    if child {
        put(40, &value[..4]);
        put(56, &third.to_le_bytes());
    } else {
        put(44, &value[..4]);
        put(48, &value);
    }
    Some(out)
}

/// Is a signal of a signalfd pending?
pub(super) fn signalfd_ready<P: Platform>(kernel: &Kernel<P>, mask: u64) -> bool {
    (kernel.task.pending.set() | kernel.task.process.borrow().pending.set()) & mask != 0
}
