//! poll and select, over console, pipes and files.

use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;
use proto::op::wait_events;
use zerocopy::IntoBytes;

use super::Args;
use crate::abi::{PollFd, Timespec, Timeval};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::epoll::{Changes, epoll_of};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::special::ready::{self, ERR, HUP, IN, OUT, PRI};
use crate::fs::terminal::Side;
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::Platform;
use crate::time::{from_timespec, from_timeval, to_timespec, to_timeval};
use crate::wait::Wait;

/// Descriptors in one select call (FD_SETSIZE is the program's own limit, this ours).
const MAX_SELECT: u32 = 1 << 16;

impl<P: Platform> Kernel<P> {
    /// What the file is ready for (`fs::special::ready`). `wanted` tells whether asking the root about the console is worth it.
    pub(crate) fn readiness(&mut self, file: &OpenFile, wanted: i16) -> i16 {
        match &file.kind {
            FileKind::Console(_) => {
                let mut found = if file.writable() { ready::OUT } else { 0 };
                if file.readable() && wanted & ready::IN != 0 && self.console_ready() {
                    found |= ready::IN;
                }
                found
            }
            FileKind::Special(special) => match epoll_of(file) {
                None if wanted & ready::IN != 0 => {
                    if let Some((terminal, Side::User)) = special.terminal() {
                        self.hear_console(terminal);
                    }
                    special.poll(&self.caller(file))
                }
                Some(epoll) if epoll.any_ready(|inner, wanted| self.look(inner, wanted)) => ready::IN,
                Some(_) => 0,
                None => special.poll(&self.caller(file)),
            },
            FileKind::Signals(mask) => {
                if super::signal::signalfd_ready(self, mask.get()) {
                    ready::IN
                } else {
                    0
                }
            }
            FileKind::Path => ready::NVAL,
            _ => ready::IN | ready::OUT,
        }
    }

    /// The same, and how it changes. An epoll in an epoll makes this recursive: `Epoll::add` has bounded its depth.
    pub(crate) fn look(&mut self, file: &OpenFile, wanted: i16) -> (i16, Changes) {
        let found = self.readiness(file, wanted);
        let mut wait = Wait::forever();
        self.watch_clock(file, wanted, &mut wait);
        let changes = match (wait.events, wait.deadline) {
            _ if !wait.channels.is_empty() => Changes::Unheard,
            (0, u64::MAX) => Changes::Heard,
            (0, _) => Changes::Timed,
            _ => Changes::Unheard,
        };
        (found, changes)
    }

    /// Adds to `wait` what may change the readiness of the file.
    pub(crate) fn watch(&mut self, file: &OpenFile, wanted: i16, wait: &mut Wait) {
        if let FileKind::Special(special) = &file.kind {
            special.channels(&mut wait.channels);
        }
        self.watch_clock(file, wanted, wait);
    }

    /// Adds to `wait` what changes the readiness of the file without a wake-up of its own channels.
    fn watch_clock(&self, file: &OpenFile, wanted: i16, wait: &mut Wait) {
        match &file.kind {
            FileKind::Console(_) if wanted & ready::IN != 0 && file.readable() => {
                wait.events |= wait_events::CONSOLE_INPUT;
            }
            // Which channel that is depends on who asks.
            FileKind::Signals(_) => wait.channels.push(self.task.process.borrow().signalled.clone()),
            FileKind::Special(special) => match epoll_of(file) {
                Some(epoll) => epoll.for_queued(|inner, wanted| self.watch_clock(inner, wanted, wait)),
                None => {
                    wait.deadline = wait.deadline.min(special.deadline());
                    if special.terminal().is_some_and(|(terminal, _)| terminal.number().is_none()) {
                        wait.events |= wait_events::CONSOLE_INPUT;
                    }
                }
            },
            _ => {}
        }
    }
}

/// Fills `revents`; how many are not zero.
fn scan<P: Platform>(kernel: &mut Kernel<P>, list: &mut [PollFd]) -> u64 {
    let mut count = 0;
    for entry in list {
        entry.revents = 0;
        if entry.fd < 0 {
            continue;
        }
        entry.revents = match kernel.file(entry.fd) {
            Ok(file) => kernel.readiness(&file, entry.events) & (entry.events | ready::ERR | ready::HUP | ready::NVAL),
            Err(_) => ready::NVAL,
        };
        count += u64::from(entry.revents != 0);
    }
    count
}

/// Scans, and waits while nothing is ready and `timeout_ns` (`None`: no limit) is not over.
fn wait<P: Platform>(kernel: &mut Kernel<P>, list: &mut [PollFd], timeout_ns: Option<u64>) -> Outcome {
    let deadline = match timeout_ns {
        Some(0) => 0,
        Some(timeout) => kernel.deadline(timeout),
        None => u64::MAX,
    };
    let count = scan(kernel, list);
    if count > 0 || deadline == 0 || kernel.is_over(deadline) {
        return Ok(count);
    }
    let mut wait = Wait::until(deadline).never_restarted();
    for entry in list.iter().filter(|entry| entry.fd >= 0) {
        let file = kernel.file(entry.fd)?;
        kernel.watch(&file, entry.events, &mut wait);
    }
    Err(Stop::Block(wait))
}

pub(super) fn poll<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let timeout = u64::try_from(args.int(2)).ok().map(|milliseconds| milliseconds * 1_000_000);
    poll_list(kernel, args.get(0), args.uint(1), timeout)
}

pub(super) fn ppoll<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let at = args.get(2);
    let timeout = if at == 0 { None } else { Some(from_timespec(kernel.get::<Timespec>(at)?)?) };
    kernel.wait_with_mask_at(args.get(3), args.get(4))?;
    poll_list(kernel, args.get(0), args.uint(1), timeout)
}

fn poll_list<P: Platform>(kernel: &mut Kernel<P>, at: u64, count: u32, timeout_ns: Option<u64>) -> Outcome {
    if u64::from(count) > kernel.limit(raw::RLIMIT_NOFILE) {
        return Err(Errno::EINVAL.into());
    }
    let mut list = vec![PollFd::default(); index(u64::from(count))];
    kernel.copy_in(at, list.as_mut_slice().as_mut_bytes())?;
    let ready = wait(kernel, &mut list, timeout_ns)?;
    kernel.copy_out(at, list.as_slice().as_bytes())?;
    Ok(ready)
}

pub(super) fn select<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let at = args.get(4);
    let timeout = if at == 0 { None } else { Some(from_timeval(kernel.get::<Timeval>(at)?)?) };
    let ready = select_sets(kernel, args, timeout)?;
    if let Some(left) = time_left(kernel, timeout) {
        kernel.put(at, &to_timeval(left))?;
    }
    Ok(ready)
}

pub(super) fn pselect6<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.get(5) != 0 {
        let [mask_at, size]: [u64; 2] = kernel.get(args.get(5))?;
        kernel.wait_with_mask_at(mask_at, size)?;
    }
    let at = args.get(4);
    let timeout = if at == 0 { None } else { Some(from_timespec(kernel.get::<Timespec>(at)?)?) };
    let ready = select_sets(kernel, args, timeout)?;
    if let Some(left) = time_left(kernel, timeout) {
        kernel.put(at, &to_timespec(left))?;
    }
    Ok(ready)
}

/// What select reports of its time limit: what is left of it.
fn time_left<P: Platform>(kernel: &mut Kernel<P>, timeout_ns: Option<u64>) -> Option<u64> {
    let timeout = timeout_ns?;
    let now = kernel.platform.reference_time();
    let until = kernel.task.wait_until.unwrap_or(now);
    Some(until.saturating_sub(now).saturating_mul(crate::time::TICK_NS).min(timeout))
}

fn select_sets<P: Platform>(kernel: &mut Kernel<P>, args: &Args, timeout_ns: Option<u64>) -> Outcome {
    let limit = args.uint(0);
    if limit > MAX_SELECT {
        return Err(Errno::EINVAL.into());
    }
    let bytes = index(u64::from(limit.div_ceil(64)) * 8);
    let mut sets = [vec![0_u8; bytes], vec![0; bytes], vec![0; bytes]];
    for (set, argument) in sets.iter_mut().zip(1..) {
        if args.get(argument) != 0 {
            kernel.copy_in(args.get(argument), set)?;
        }
    }
    let mut list = wanted(&sets, limit);
    for entry in &list {
        kernel.file(entry.fd)?;
    }
    wait(kernel, &mut list, timeout_ns)?;
    let mut count = 0;
    for set in &mut sets {
        set.fill(0);
    }
    for entry in &list {
        for (set, (asked, ready)) in sets.iter_mut().zip([(IN, IN | HUP | ERR), (OUT, OUT | ERR), (PRI, PRI)]) {
            if entry.events & asked != 0 && entry.revents & ready != 0 {
                set_bit(set, entry.fd);
                count += 1;
            }
        }
    }
    for (set, argument) in sets.iter().zip(1..) {
        if args.get(argument) != 0 {
            kernel.copy_out(args.get(argument), set)?;
        }
    }
    Ok(count)
}

/// The descriptors in any of the sets, with the events of those sets.
fn wanted(sets: &[Vec<u8>; 3], limit: u32) -> Vec<PollFd> {
    let mut list = Vec::new();
    for fd in 0..limit {
        let mut events = 0;
        for (set, event) in sets.iter().zip([IN, OUT, PRI]) {
            let byte = set.get(index(u64::from(fd / 8))).copied().unwrap_or(0);
            if byte & (1 << (fd % 8)) != 0 {
                events |= event;
            }
        }
        if events != 0 {
            list.push(PollFd { fd: fd.cast_signed(), events, revents: 0 });
        }
    }
    list
}

fn set_bit(set: &mut [u8], fd: i32) {
    let fd = fd.unsigned_abs();
    if let Some(byte) = set.get_mut(index(u64::from(fd / 8))) {
        *byte |= 1 << (fd % 8);
    }
}
