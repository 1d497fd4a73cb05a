//! wait4 and waitid.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::Rusage;
use crate::children::Who;
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::signal::{Info, Signal, child_code, child_info};
use crate::wait::Wait;

const WAIT4_OPTIONS: u32 =
    raw::WNOHANG | raw::WUNTRACED | raw::WCONTINUED | raw::__WNOTHREAD | raw::__WCLONE | raw::__WALL;
const WAITID_OPTIONS: u32 = WAIT4_OPTIONS | raw::WEXITED | raw::WNOWAIT;

pub(super) fn wait4<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (pid, status_at, options, usage_at) = (args.int(0), args.get(1), args.uint(2), args.get(3));
    if options & !WAIT4_OPTIONS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let who = match pid {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => Who::Any,
        0 => Who::Group(kernel.task.process.borrow().group),
        pid if pid < 0 => Who::Group(pid.unsigned_abs()),
        pid => Who::Process(pid.unsigned_abs()),
    };
    let Some((child, status, usage)) = find(kernel, who, options | raw::WEXITED)? else { return Ok(0) };
    if status_at != 0 {
        kernel.put(status_at, &status)?;
    }
    if usage_at != 0 {
        kernel.put(usage_at, &usage)?;
    }
    Ok(u64::from(child))
}

pub(super) fn waitid<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    match find_by_id(kernel, args) {
        Ok(found) => report(kernel, args, found),
        Err(Stop::Error(errno)) => {
            // Linux tells of no child then, too.
            report(kernel, args, None)?;
            Err(errno.into())
        }
        Err(other) => Err(other),
    }
}

fn find_by_id<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Result<Option<(u32, u32, Rusage)>, Stop> {
    let (kind, number, options) = (args.uint(0), args.int(1), args.uint(3));
    let something = raw::WEXITED | raw::WUNTRACED | raw::WCONTINUED;
    if options & !WAITID_OPTIONS != 0 || options & something == 0 {
        return Err(Errno::EINVAL.into());
    }
    let who = match kind {
        raw::P_ALL => Who::Any,
        raw::P_PID if number > 0 => Who::Process(number.unsigned_abs()),
        raw::P_PGID if number > 0 => Who::Group(number.unsigned_abs()),
        raw::P_PGID if number == 0 => Who::Group(kernel.task.process.borrow().group),
        raw::P_PIDFD if number >= 0 => return find_by_descriptor(kernel, number, options),
        _ => return Err(Errno::EINVAL.into()),
    };
    find(kernel, who, options)
}

/// P_PIDFD: a descriptor that does not wait says EAGAIN where the call would.
fn find_by_descriptor<P: Platform>(
    kernel: &mut Kernel<P>,
    fd: i32,
    options: u32,
) -> Result<Option<(u32, u32, Rusage)>, Stop> {
    let (process, file) = kernel.pidfd(fd)?;
    // One that is gone is nobody's child.
    let pid = kernel.number_of(&process).map_err(|_| Errno::ECHILD)?;
    let waits = options & raw::WNOHANG == 0;
    let found = find(kernel, Who::Process(pid), if file.nonblocking() { options | raw::WNOHANG } else { options })?;
    if found.is_none() && waits { Err(Errno::EAGAIN.into()) } else { Ok(found) }
}

/// Writes what waitid tells of a child.
fn report<P: Platform>(kernel: &mut Kernel<P>, args: &Args, found: Option<(u32, u32, Rusage)>) -> Outcome {
    let (info_at, usage_at) = (args.get(2), args.get(4));
    if let Some((.., usage)) = &found
        && usage_at != 0
    {
        kernel.put(usage_at, usage)?;
    }
    if info_at != 0 {
        let info = found.map_or(Info::default(), |(child, status, _)| {
            let (code, what) = match status {
                0xffff => (6, Signal::CONT.0),
                stopped if stopped & 0xff == 0x7f => (5, stopped >> 8),
                ended => child_code(ended),
            };
            let uid = kernel.process(child).map_or(kernel.task.process.borrow().uid[0], |one| one.borrow().uid[0]);
            child_info(Signal::CHLD, code, child, uid, what, 0)
        });
        // Linux writes the fields that say something, and no more.
        let head = [info.number, info.errno, info.code, info.pad];
        kernel.put(info_at, &head)?;
        kernel.put(info_at.wrapping_add(16), &[info.body[0], info.body[1] & 0xffff_ffff])?;
    }
    Ok(0)
}

/// A child that has something to tell, waiting for one unless WNOHANG is set.
fn find<P: Platform>(kernel: &mut Kernel<P>, who: Who, options: u32) -> Result<Option<(u32, u32, Rusage)>, Stop> {
    let parent = Rc::clone(&kernel.task.process);
    let before = (parent.borrow().children_time, parent.borrow().children_peak);
    match kernel.look_for_child(who, options)? {
        Some((child, status)) => {
            let ticks = parent.borrow().children_time.saturating_sub(before.0);
            let usage = super::process::usage(ticks, parent.borrow().children_peak);
            Ok(Some((child, status, usage)))
        }
        None if options & raw::WNOHANG != 0 => Ok(None),
        None => Err(Stop::Block(Wait::on(&parent.borrow().children_changed))),
    }
}
