//! eventfd, timerfd and epoll.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::{EpollEvent, Itimerspec, Timespec};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::epoll::{Epoll, Interest, can_be_waited_for, epoll_of};
use crate::fs::event::EventFd;
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::special::Special;
use crate::fs::timer::{TimeLeft, TimerFd};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::time::{TICK_NS, from_timespec, to_timespec};
use crate::wait::Wait;

/// Most events that one call gives (Linux `EP_MAX_EVENTS`).
const MAX_EVENTS: i32 = i32::MAX / 12;
/// What may stand beside EPOLLEXCLUSIVE.
const WITH_EXCLUSIVE: u32 = raw::EPOLLIN
    | raw::EPOLLOUT
    | raw::EPOLLERR
    | raw::EPOLLHUP
    | raw::EPOLLWAKEUP
    | raw::EPOLLET
    | raw::EPOLLEXCLUSIVE;

/// Opens something of the shim's own with these rights (O_ACCMODE). Of `flags`, O_CLOEXEC and O_NONBLOCK count; the EFD_*,
/// TFD_*, EPOLL_* and IN_* names of both are the same bits.
pub(super) fn open_special<P: Platform>(
    kernel: &mut Kernel<P>,
    special: Rc<dyn Special>,
    flags: u32,
    rights: u32,
) -> Outcome {
    let status = rights | flags & raw::O_NONBLOCK;
    let file = OpenFile::new(FileKind::Special(special), None, status, kernel.fuse.leftovers());
    kernel.install(file, flags & raw::O_CLOEXEC != 0)
}

pub(super) fn eventfd<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_eventfd(kernel, args.uint(0), 0)
}

pub(super) fn eventfd2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_eventfd(kernel, args.uint(0), args.uint(1))
}

fn make_eventfd<P: Platform>(kernel: &mut Kernel<P>, count: u32, flags: u32) -> Outcome {
    if flags & !(raw::EFD_SEMAPHORE | raw::O_CLOEXEC | raw::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let number = kernel.next_number();
    let event = EventFd::new(&kernel.hub, number, u64::from(count), flags & raw::EFD_SEMAPHORE != 0);
    open_special(kernel, Rc::new(event), flags, raw::O_RDWR)
}

pub(super) fn timerfd_create<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (clock, flags) = (args.uint(0), args.uint(1));
    if flags & !(raw::O_CLOEXEC | raw::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    match clock {
        raw::CLOCK_REALTIME | raw::CLOCK_MONOTONIC | raw::CLOCK_BOOTTIME => {}
        raw::CLOCK_REALTIME_ALARM | raw::CLOCK_BOOTTIME_ALARM => {
            let privileged = kernel.task.process.borrow().uid[1] == 0;
            if !privileged {
                return Err(Errno::EPERM.into());
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    let number = kernel.next_number();
    let timer = TimerFd::new(&kernel.hub, number, clock);
    open_special(kernel, Rc::new(timer), flags, raw::O_RDWR)
}

/// Calls `act` with the timer that a descriptor is.
fn with_timer<P: Platform, T>(
    kernel: &mut Kernel<P>,
    fd: i32,
    act: impl FnOnce(&mut Kernel<P>, &TimerFd) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let file = kernel.file(fd)?;
    match &file.kind {
        FileKind::Special(special) => act(kernel, special.as_any().downcast_ref().ok_or(Errno::EINVAL)?),
        FileKind::Path => Err(Errno::EBADF),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn timerfd_settime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, flags, new, old) = (args.int(0), args.uint(1), args.get(2), args.get(3));
    let wanted: Itimerspec = kernel.get(new)?;
    if flags & !(raw::TFD_TIMER_ABSTIME | raw::TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (value, interval) = (from_timespec(wanted.it_value)?, from_timespec(wanted.it_interval)?);
    let before = with_timer(kernel, fd, |kernel, timer| {
        let now = kernel.platform.reference_time();
        let before = timer.get(now);
        let zero = match timer.clock() {
            _ if flags & raw::TFD_TIMER_ABSTIME == 0 => signed(now.saturating_mul(TICK_NS)),
            raw::CLOCK_REALTIME | raw::CLOCK_REALTIME_ALARM => -signed(kernel.realtime_offset_ns),
            _ => 0,
        };
        timer.set((value > 0).then(|| zero.saturating_add(signed(value))), interval);
        Ok(before)
    })?;
    if old != 0 {
        kernel.put(old, &shown(before))?;
    }
    Ok(0)
}

pub(super) fn timerfd_gettime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let left = with_timer(kernel, args.int(0), |kernel, timer| Ok(timer.get(kernel.platform.reference_time())))?;
    kernel.put(args.get(1), &shown(left))?;
    Ok(0)
}

/// A time as a difference; saturates.
fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

fn shown(time: TimeLeft) -> Itimerspec {
    Itimerspec { it_interval: to_timespec(time.interval), it_value: to_timespec(time.left) }
}

pub(super) fn epoll_create<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.int(0) <= 0 {
        return Err(Errno::EINVAL.into());
    }
    make_epoll(kernel, 0)
}

pub(super) fn epoll_create1<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_epoll(kernel, args.uint(0))
}

fn make_epoll<P: Platform>(kernel: &mut Kernel<P>, flags: u32) -> Outcome {
    if flags & !raw::O_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let number = kernel.next_number();
    let epoll = Epoll::new(&kernel.hub, number);
    open_special(kernel, Rc::new(epoll), flags, raw::O_RDWR)
}

/// The open file of a descriptor that is no O_PATH one.
fn usable<P: Platform>(kernel: &Kernel<P>, fd: i32) -> Result<Rc<OpenFile>, Errno> {
    let file = kernel.file(fd)?;
    if matches!(file.kind, FileKind::Path) { Err(Errno::EBADF) } else { Ok(file) }
}

pub(super) fn epoll_ctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (operation, fd) = (args.uint(1), args.int(2));
    let interest = if operation == raw::EPOLL_CTL_DEL {
        Interest::default()
    } else {
        let EpollEvent { events, data } = kernel.get(args.get(3))?;
        Interest { events, data }
    };
    let (epoll_file, file) = (usable(kernel, args.int(0))?, usable(kernel, fd)?);
    if !can_be_waited_for(&file) {
        return Err(Errno::EPERM.into());
    }
    let epoll = epoll_of(&epoll_file).filter(|_| !Rc::ptr_eq(&epoll_file, &file)).ok_or(Errno::EINVAL)?;
    if interest.events & raw::EPOLLEXCLUSIVE != 0 {
        let allowed = operation == raw::EPOLL_CTL_ADD && interest.events & !WITH_EXCLUSIVE == 0;
        if !allowed || epoll_of(&file).is_some() {
            return Err(Errno::EINVAL.into());
        }
    }
    match operation {
        raw::EPOLL_CTL_ADD => epoll.add(fd, &file, interest)?,
        raw::EPOLL_CTL_MOD => epoll.modify(fd, &file, interest)?,
        raw::EPOLL_CTL_DEL => epoll.remove(fd, &file)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

pub(super) fn epoll_wait<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    wait_for_events(kernel, args, milliseconds(args.int(3)))
}

pub(super) fn epoll_pwait<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.wait_with_mask_at(args.get(4), args.get(5))?;
    wait_for_events(kernel, args, milliseconds(args.int(3)))
}

pub(super) fn epoll_pwait2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let at = args.get(3);
    let timeout = if at == 0 { None } else { Some(from_timespec(kernel.get::<Timespec>(at)?)?) };
    kernel.wait_with_mask_at(args.get(4), args.get(5))?;
    wait_for_events(kernel, args, timeout)
}

/// A time limit in ns; negative: none.
fn milliseconds(timeout: i32) -> Option<u64> {
    u64::try_from(timeout).ok().map(|milliseconds| milliseconds * 1_000_000)
}

fn wait_for_events<P: Platform>(kernel: &mut Kernel<P>, args: &Args, timeout_ns: Option<u64>) -> Outcome {
    let (at, most) = (args.get(1), args.int(2));
    let most = u64::try_from(most).ok().filter(|&count| count > 0 && most <= MAX_EVENTS).ok_or(Errno::EINVAL)?;
    let file = usable(kernel, args.int(0))?;
    let epoll = epoll_of(&file).ok_or(Errno::EINVAL)?;
    let count = collect(kernel, epoll, at, most)?;
    if count > 0 || timeout_ns == Some(0) {
        return Ok(count);
    }
    let deadline = timeout_ns.map_or(u64::MAX, |timeout| kernel.deadline(timeout));
    if kernel.is_over(deadline) {
        return Ok(0);
    }
    let mut wait = Wait::until(deadline).never_restarted();
    kernel.watch(&file, 0, &mut wait);
    Err(Stop::Block(wait))
}

/// Writes up to `most` events to `at`; how many.
fn collect<P: Platform>(kernel: &mut Kernel<P>, epoll: &Epoll, at: u64, most: u64) -> Outcome {
    let mut queue = epoll.take_queue();
    let mut count = 0;
    let mut failed = None;
    while count < most
        && let Some(entry) = queue.pop_front()
    {
        let Some(file) = entry.file() else { continue };
        let Interest { data, .. } = entry.interest();
        let (found, changes) = kernel.look(&file, entry.interest().wanted());
        let due = entry.due(found, changes);
        if due != 0 {
            let [low, high] = due.to_le_bytes();
            let event = EpollEvent { events: u32::from_le_bytes([low, high, 0, 0]), data };
            let place = at.checked_add(count * size_of::<EpollEvent>() as u64).ok_or(Errno::EFAULT);
            if let Err(error) = place.and_then(|place| kernel.put(place, &event)) {
                queue.push_front(entry);
                failed = Some(error);
                break;
            }
            count += 1;
        }
        epoll.settle(entry, &file, due != 0, changes);
    }
    epoll.keep(queue);
    match failed {
        Some(error) if count == 0 => Err(error.into()),
        _ => Ok(count),
    }
}
