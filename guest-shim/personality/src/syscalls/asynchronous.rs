//! fcntl's commands about the signals of a file: F_SETOWN, F_SETSIG and their kin, O_ASYNC.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use crate::errno::{Errno, Outcome};
use crate::fs::asynchronous::{Asynchronous, Owner};
use crate::fs::file::{FileKind, OpenFile};
use crate::kernel::{Kernel, int};
use crate::platform::Platform;
use crate::signal::Signal;

/// Is it a command of this family?
pub(super) fn is_one(command: u32) -> bool {
    matches!(
        command,
        raw::F_SETOWN | raw::F_GETOWN | raw::F_SETOWN_EX | raw::F_GETOWN_EX | raw::F_SETSIG | raw::F_GETSIG
    )
}

/// Carries one out.
pub(super) fn fcntl<P: Platform>(kernel: &mut Kernel<P>, file: &Rc<OpenFile>, command: u32, argument: u64) -> Outcome {
    if matches!(file.kind, FileKind::Path) {
        return Err(Errno::EBADF.into());
    }
    let known = file.asynchronous.borrow().clone();
    match command {
        raw::F_GETSIG => Ok(known.map_or(0, |known| u64::from(known.signal.get()))),
        raw::F_GETOWN => {
            let (kind, id) = known.map_or((raw::F_OWNER_PID as i32, 0), |known| told(kernel, known.owner.get()));
            let value = if kind == raw::F_OWNER_PGRP as i32 { -i64::from(id) } else { i64::from(id) };
            Ok(value.cast_unsigned())
        }
        raw::F_GETOWN_EX => {
            let (kind, id) = known.map_or((raw::F_OWNER_TID as i32, 0), |known| told(kernel, known.owner.get()));
            kernel.put(argument, &[kind, id])?;
            Ok(0)
        }
        raw::F_SETSIG => {
            let number = argument & 0xffff_ffff;
            if number != 0 && Signal::new(int(number)).is_none() {
                return Err(Errno::EINVAL.into());
            }
            of(kernel, file).signal.set(int(number).cast_unsigned());
            Ok(0)
        }
        raw::F_SETOWN => {
            let who = int(argument);
            let owner = match who {
                i32::MIN => return Err(Errno::EINVAL.into()),
                0 => Owner::Nobody,
                1.. => Owner::Process(who.unsigned_abs()),
                _ => Owner::Group(who.unsigned_abs()),
            };
            own(kernel, file, owner)
        }
        _ => {
            let [kind, id]: [i32; 2] = kernel.get(argument)?;
            let number = id.unsigned_abs();
            let owner = match u32::try_from(kind).map_err(|_| Errno::EINVAL)? {
                raw::F_OWNER_TID => Owner::Thread(number),
                raw::F_OWNER_PID => Owner::Process(number),
                raw::F_OWNER_PGRP => Owner::Group(number),
                _ => return Err(Errno::EINVAL.into()),
            };
            match id {
                0 => own(kernel, file, Owner::Nobody),
                1.. => own(kernel, file, owner),
                _ => Err(Errno::ESRCH.into()),
            }
        }
    }
}

/// Turns the signals of a file on or off. `false`: it is of a kind that has none.
pub(super) fn turn<P: Platform>(kernel: &Kernel<P>, file: &Rc<OpenFile>, fd: i32, on: bool) -> bool {
    let FileKind::Special(special) = &file.kind else { return false };
    if !special.signals() {
        return false;
    }
    let was = file.status() & raw::FASYNC != 0;
    if on != was {
        let asynchronous = of(kernel, file);
        asynchronous.set_fd(on.then_some(fd));
        let status = file.status() & !raw::FASYNC;
        file.set_status(if on { status | raw::FASYNC } else { status });
    }
    true
}

/// The signals of a file, which observe it from now on.
fn of<P: Platform>(kernel: &Kernel<P>, file: &Rc<OpenFile>) -> Rc<Asynchronous> {
    if let Some(known) = &*file.asynchronous.borrow() {
        return Rc::clone(known);
    }
    let made = Asynchronous::new(&kernel.hub, file.readable(), file.writable());
    if let FileKind::Special(special) = &file.kind {
        let mut channels = alloc::vec::Vec::new();
        special.channels(&mut channels);
        for channel in channels {
            let observer = Rc::downgrade(&made);
            channel.observe(observer);
        }
    }
    file.asynchronous.replace(Some(Rc::clone(&made)));
    made
}

fn own<P: Platform>(kernel: &Kernel<P>, file: &Rc<OpenFile>, owner: Owner) -> Outcome {
    if owner != Owner::Nobody && !lives(kernel, owner) {
        return Err(Errno::ESRCH.into());
    }
    let asynchronous = of(kernel, file);
    asynchronous.owner.set(owner);
    let [real, effective, _] = kernel.task.process.borrow().uid;
    asynchronous.users.set([real, effective]);
    Ok(0)
}

fn lives<P: Platform>(kernel: &Kernel<P>, owner: Owner) -> bool {
    match owner {
        Owner::Nobody => false,
        Owner::Thread(tid) => kernel.task_of(tid).is_some(),
        Owner::Process(pid) => kernel.process(pid).is_some(),
        Owner::Group(group) => !kernel.group_members(group).is_empty(),
    }
}

/// Kind and number of an owner; 0 for one that is no more.
fn told<P: Platform>(kernel: &Kernel<P>, owner: Owner) -> (i32, i32) {
    let (kind, number) = match owner {
        Owner::Nobody => (raw::F_OWNER_TID, 0),
        Owner::Thread(tid) => (raw::F_OWNER_TID, tid),
        Owner::Process(pid) => (raw::F_OWNER_PID, pid),
        Owner::Group(group) => (raw::F_OWNER_PGRP, group),
    };
    let number = if lives(kernel, owner) { number } else { 0 };
    (kind.cast_signed(), number.cast_signed())
}
