//! POSIX message queues: mq_open and its kin.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::{MqAttributes, Timespec};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::mqueue::{Message, Notice, Queue, QueueEnd};
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::Platform;
use crate::signal::{Info, Signal};
use crate::time::from_timespec;
use crate::wait::{Channel, Wait};

use super::timer::{SIGEV_NONE, SIGEV_SIGNAL, SigEvent};

/// Most queues, and their sizes without and with attributes (fs/mqueue/ of sysctl).
const MAX_QUEUES: usize = 256;
const MAX_MESSAGES: i64 = 10;
const MAX_LENGTH: i64 = 8192;
/// Longest name.
const MAX_NAME: usize = 255;
/// Priorities lie below (MQ_PRIO_MAX).
const PRIORITIES: u32 = 32768;
/// `si_code` of a notice (SI_MESGQ).
const SI_MESGQ: i32 = -3;

/// Queues by name, and all that there are: one without a name lives on in its descriptors.
#[derive(Default)]
pub(crate) struct Table {
    names: BTreeMap<Vec<u8>, Rc<Queue>>,
    all: Vec<Weak<Queue>>,
}

impl<P: Platform> Kernel<P> {
    /// The name at `at`: without the slash that programs know it by, which their library takes off.
    fn queue_name(&mut self, at: u64) -> Result<Vec<u8>, Errno> {
        let name = self.path(at)?;
        match name.as_slice() {
            [] => Err(Errno::ENOENT),
            b"." | b".." => Err(Errno::EACCES),
            name if name.contains(&b'/') => Err(Errno::EACCES),
            name if name.len() > MAX_NAME => Err(Errno::ENAMETOOLONG),
            _ => Ok(name),
        }
    }

    /// The queue that a descriptor is, if it may be used so.
    fn queue_of(&self, fd: i32, usable: impl Fn(&OpenFile) -> bool) -> Result<(Rc<Queue>, Rc<OpenFile>), Errno> {
        let file = self.file(fd)?;
        let queue = match &file.kind {
            FileKind::Special(special) => special.as_any().downcast_ref::<QueueEnd>().map(|end| Rc::clone(&end.0)),
            _ => None,
        };
        queue.filter(|_| usable(&file)).map(|queue| (queue, file)).ok_or(Errno::EBADF)
    }

    /// May the present process open the queue with these rights (4 read, 2 write)?
    fn may_open_queue(&self, queue: &Queue, wanted: u32) -> Result<(), Errno> {
        let process = self.task.process.borrow();
        let [uid, gid] = process.file_ids;
        let class = if uid == queue.owner.0 {
            queue.mode >> 6
        } else if gid == queue.owner.1 || process.groups.contains(&queue.owner.1) {
            queue.mode >> 3
        } else {
            queue.mode
        };
        if uid == 0 || wanted & !class == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// The time limit at `at`, by CLOCK_REALTIME; null: none.
    fn queue_deadline(&mut self, at: u64) -> Result<u64, Errno> {
        if at == 0 {
            return Ok(u64::MAX);
        }
        let limit = from_timespec(self.get::<Timespec>(at)?)?;
        let now = self.realtime_ns();
        Ok(self.deadline(limit.saturating_sub(now)))
    }
}

pub(super) fn mq_open<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (flags, mode, attributes_at) = (args.uint(1), args.uint(2), args.get(3));
    let attributes: Option<MqAttributes> = if attributes_at == 0 { None } else { Some(kernel.get(attributes_at)?) };
    let name = kernel.queue_name(args.get(0))?;
    let rights = match flags & raw::O_ACCMODE {
        raw::O_RDONLY => 4,
        raw::O_WRONLY => 2,
        raw::O_RDWR => 6,
        _ => return Err(Errno::EINVAL.into()),
    };
    let known = kernel.mqueues.names.get(&name).map(Rc::clone);
    let queue = match known {
        Some(_) if flags & (raw::O_CREAT | raw::O_EXCL) == raw::O_CREAT | raw::O_EXCL => {
            return Err(Errno::EEXIST.into());
        }
        Some(queue) => {
            kernel.may_open_queue(&queue, rights)?;
            queue
        }
        None if flags & raw::O_CREAT == 0 => return Err(Errno::ENOENT.into()),
        None => make(kernel, name, mode, attributes)?,
    };
    let status = flags & (raw::O_ACCMODE | raw::O_NONBLOCK);
    let kind = FileKind::Special(Rc::new(QueueEnd(queue)));
    let file = OpenFile::new(kind, None, status, kernel.fuse.leftovers());
    // Such a descriptor is always closed by execve.
    kernel.install(file, true)
}

fn make<P: Platform>(
    kernel: &mut Kernel<P>,
    name: Vec<u8>,
    mode: u32,
    attributes: Option<MqAttributes>,
) -> Result<Rc<Queue>, Errno> {
    let (capacity, longest) = attributes.map_or((MAX_MESSAGES, MAX_LENGTH), |one| (one.most, one.longest));
    if !(1..=MAX_MESSAGES).contains(&capacity) || !(1..=MAX_LENGTH).contains(&longest) {
        return Err(Errno::EINVAL);
    }
    kernel.mqueues.all.retain(|queue| queue.strong_count() > 0);
    if kernel.mqueues.all.len() >= MAX_QUEUES {
        return Err(Errno::ENOSPC);
    }
    kernel.room_for_object()?;
    let bytes = |queue: &Queue| queue.capacity as u64 * queue.longest as u64;
    let used: u64 = kernel.mqueues.all.iter().filter_map(Weak::upgrade).map(|queue| bytes(&queue)).sum();
    let (capacity, longest) = (index(capacity.unsigned_abs()), index(longest.unsigned_abs()));
    let [uid, gid] = kernel.task.process.borrow().file_ids;
    let number = kernel.next_number();
    let mode = kernel.umask_off(mode & 0o777);
    let queue = Queue::new(&kernel.hub, number, (uid, gid), mode, capacity, longest);
    if used + bytes(&queue) > kernel.limit(raw::RLIMIT_MSGQUEUE) {
        return Err(Errno::EMFILE);
    }
    kernel.mqueues.all.push(Rc::downgrade(&queue));
    kernel.mqueues.names.insert(name, Rc::clone(&queue));
    Ok(queue)
}

pub(super) fn mq_unlink<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let name = kernel.queue_name(args.get(0))?;
    let queue = kernel.mqueues.names.get(&name).ok_or(Errno::ENOENT)?;
    let uid = kernel.task.process.borrow().file_ids[0];
    if uid != 0 && uid != queue.owner.0 {
        return Err(Errno::EACCES.into());
    }
    kernel.mqueues.names.remove(&name);
    Ok(0)
}

pub(super) fn mq_timedsend<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (at, len, priority) = (args.get(1), args.get(2), args.uint(3));
    let deadline = kernel.queue_deadline(args.get(4))?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL.into());
    }
    let (queue, file) = kernel.queue_of(args.int(0), OpenFile::writable)?;
    if len > queue.longest as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut bytes = alloc::vec![0; index(len)];
    kernel.copy_in(at, &mut bytes)?;
    kernel.room_for_object()?;
    match queue.send(Message { priority, bytes }) {
        Ok(notice) => {
            if let Some(notice) = notice {
                tell(kernel, notice);
            }
            kernel.tell_moved(len);
            Ok(0)
        }
        Err(Errno::EAGAIN) => wait(kernel, queue.sending(), &file, deadline),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits for the queue to change, unless the time is over or the descriptor does not wait.
fn wait<P: Platform>(kernel: &mut Kernel<P>, changes: &Channel, file: &OpenFile, deadline: u64) -> Outcome {
    if file.nonblocking() {
        return Err(Errno::EAGAIN.into());
    }
    if kernel.is_over(deadline) {
        return Err(Errno::ETIMEDOUT.into());
    }
    // The limit is an instant: a call that is made again behind a handler has the same.
    Err(Stop::Block(Wait::on(changes).or_until(deadline)))
}

/// Sends the signal that somebody has asked for.
fn tell<P: Platform>(kernel: &mut Kernel<P>, notice: Notice) {
    let Some(signal) = notice.signal else { return };
    let (pid, uid) = super::signal::own_ids(kernel);
    let info = Info { code: SI_MESGQ, ..Info::sent(signal, SI_MESGQ, pid, uid) };
    let body = [info.body[0], notice.value, 0, 0];
    // Whoever asked may have ended.
    let _ = kernel.signal_process(notice.pid, Info { body, ..info });
}

pub(super) fn mq_timedreceive<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (at, room, priority_at) = (args.get(1), args.get(2), args.get(3));
    let deadline = kernel.queue_deadline(args.get(4))?;
    let (queue, file) = kernel.queue_of(args.int(0), OpenFile::readable)?;
    if room < queue.longest as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let message = match queue.receive() {
        Ok(message) => message,
        Err(_) => return wait(kernel, queue.receiving(), &file, deadline),
    };
    if priority_at != 0 {
        kernel.put(priority_at, &message.priority)?;
    }
    kernel.copy_out(at, &message.bytes)?;
    Ok(message.bytes.len() as u64)
}

pub(super) fn mq_notify<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let event: Option<SigEvent> = if args.get(1) == 0 { None } else { Some(kernel.get(args.get(1))?) };
    let signal = match event.map(|event| (event.notify, event.signal)) {
        None | Some((SIGEV_NONE, _)) => None,
        Some((SIGEV_SIGNAL, number)) => Some(Signal::new(number).ok_or(Errno::EINVAL)?),
        Some(_) => return Err(Errno::EINVAL.into()),
    };
    let (queue, _) = kernel.queue_of(args.int(0), |_| true)?;
    let pid = kernel.task.process.borrow().pid;
    let alive = |notice: &Notice| kernel.process(notice.pid).is_some_and(|one| !one.borrow().threads.is_empty());
    let known = queue.notice.get().filter(alive);
    match event {
        Some(event) if known.is_none() => queue.notice.set(Some(Notice { pid, signal, value: event.value })),
        Some(_) => return Err(Errno::EBUSY.into()),
        None if known.is_some_and(|known| known.pid == pid) => queue.notice.set(None),
        None => {}
    }
    Ok(0)
}

pub(super) fn mq_getsetattr<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let new: Option<MqAttributes> = if args.get(1) == 0 { None } else { Some(kernel.get(args.get(1))?) };
    let nonblocking = i64::from(raw::O_NONBLOCK);
    if new.is_some_and(|new| new.flags & !nonblocking != 0) {
        return Err(Errno::EINVAL.into());
    }
    let (queue, file) = kernel.queue_of(args.int(0), |_| true)?;
    if args.get(2) != 0 {
        let old = MqAttributes {
            flags: i64::from(file.status() & raw::O_NONBLOCK),
            most: queue.capacity as i64,
            longest: queue.longest as i64,
            now: queue.len() as i64,
            ..Default::default()
        };
        kernel.put(args.get(2), &old)?;
    }
    if let Some(new) = new {
        let on = if new.flags == 0 { 0 } else { raw::O_NONBLOCK };
        file.set_status(file.status() & !raw::O_NONBLOCK | on);
    }
    Ok(0)
}
