//! System V message queues (msgop(2), msgctl(2)).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Args;
use super::ipc::{self, Ids};
use crate::abi::MessageQueue;
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::Platform;
use crate::task::IpcWait;
use crate::wait::{Channel, Wait};

/// Flags of msgrcv: MSG_NOERROR, MSG_EXCEPT, MSG_COPY.
const NOERROR: u32 = 0o10000;
const EXCEPT: u32 = 0o20000;
const COPY: u32 = 0o40000;
/// Longest message, most bytes in a queue, most queues (MSGMAX, MSGMNB; MSGMNI is 32000 on Linux).
const MAX_MESSAGE: u64 = 8192;
const MAX_BYTES: u64 = 16384;
const MAX_QUEUES: usize = 1024;

struct Message {
    kind: i64,
    bytes: Vec<u8>,
}

struct Queue {
    messages: VecDeque<Message>,
    facts: MessageQueue,
    /// Woken by every change, and when the queue goes.
    channel: Channel,
}

/// All queues.
#[derive(Default)]
pub(crate) struct Table {
    queues: Ids<Queue>,
}

impl Queue {
    /// The message that msgrcv takes for `kind` (0: any; negative: the lowest up to that).
    fn choose(&self, kind: i64, flags: u32) -> Option<usize> {
        let messages = self.messages.iter().enumerate();
        match kind {
            0 => (!self.messages.is_empty()).then_some(0),
            kind if kind < 0 => {
                let fitting = messages.filter(|(_, message)| message.kind <= kind.saturating_neg());
                fitting.min_by_key(|(_, message)| message.kind).map(|(at, _)| at)
            }
            kind if flags & EXCEPT != 0 => {
                messages.map(|(at, one)| (at, one.kind)).find(|one| one.1 != kind).map(|one| one.0)
            }
            kind => self.messages.iter().position(|message| message.kind == kind),
        }
    }
}

pub(super) fn msgget<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (key, flags) = (args.int(0), args.uint(1));
    if let Some((id, queue)) = kernel.messages.queues.find(key, flags, |queue| &queue.facts.perm)? {
        kernel.may_use_ipc(&queue.facts.perm, ipc::wanted_rights(flags))?;
        return Ok(ipc::shown(id));
    }
    if kernel.messages.queues.len() >= MAX_QUEUES {
        return Err(Errno::ENOSPC.into());
    }
    kernel.room_for_object()?;
    let perm = kernel.ipc_permissions(key, flags);
    let facts = MessageQueue { perm, change_time: kernel.seconds(), most_bytes: MAX_BYTES, ..Default::default() };
    let channel = kernel.hub.channel();
    Ok(ipc::shown(kernel.messages.queues.add(Queue { messages: VecDeque::new(), facts, channel })))
}

/// The queue of a call that may have waited for it.
fn queue<P: Platform>(kernel: &mut Kernel<P>, id: i32) -> Result<&mut Queue, Errno> {
    let missing = kernel.no_ipc_object(Errno::EINVAL);
    kernel.messages.queues.get(id).map_err(|_| missing)
}

/// Waits for the queue to change.
fn wait<P: Platform>(kernel: &mut Kernel<P>, id: i32) -> Outcome {
    let channel = queue(kernel, id)?.channel.clone();
    kernel.task.ipc_wait = Some(IpcWait { id, ..IpcWait::default() });
    Err(Stop::Block(Wait::on(&channel).never_restarted()))
}

pub(super) fn msgsnd<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, at, len, flags) = (args.int(0), args.get(1), args.get(2), args.uint(3));
    let kind: i64 = kernel.get(at)?;
    if len > MAX_MESSAGE || id < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = alloc::vec![0; index(len)];
    kernel.copy_in(at.wrapping_add(size_of::<i64>() as u64), &mut bytes)?;
    let facts = queue(kernel, id)?.facts;
    kernel.may_use_ipc(&facts.perm, ipc::WRITE)?;
    if facts.bytes + len > facts.most_bytes || facts.messages + 1 > facts.most_bytes {
        return if flags & ipc::NOWAIT != 0 { Err(Errno::EAGAIN.into()) } else { wait(kernel, id) };
    }
    kernel.room_for_object()?;
    let (now, pid) = (kernel.seconds(), kernel.ipc_pid());
    let queue = queue(kernel, id)?;
    queue.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    queue.messages.push_back(Message { kind, bytes });
    queue.facts.bytes += len;
    queue.facts.messages += 1;
    (queue.facts.send_time, queue.facts.sender) = (now, pid);
    queue.channel.wake();
    kernel.tell_moved(len);
    Ok(0)
}

pub(super) fn msgrcv<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, at, room, kind, flags) = (args.int(0), args.get(1), args.get(2), args.long(3), args.uint(4));
    if id < 0 || i64::try_from(room).is_err() {
        return Err(Errno::EINVAL.into());
    }
    if flags & COPY != 0 {
        return Err(Errno::ENOSYS.into());
    }
    let facts = queue(kernel, id)?.facts;
    kernel.may_use_ipc(&facts.perm, ipc::READ)?;
    let (now, pid) = (kernel.seconds(), kernel.ipc_pid());
    let queue = queue(kernel, id)?;
    let Some(chosen) = queue.choose(kind, flags) else {
        return if flags & ipc::NOWAIT != 0 { Err(Errno::ENOMSG.into()) } else { wait(kernel, id) };
    };
    let too_long = |message: &Message| message.bytes.len() as u64 > room && flags & NOERROR == 0;
    if queue.messages.get(chosen).is_some_and(too_long) {
        return Err(Errno::E2BIG.into());
    }
    let Some(message) = queue.messages.remove(chosen) else { return Err(Errno::ENOMSG.into()) };
    queue.facts.bytes = queue.facts.bytes.saturating_sub(message.bytes.len() as u64);
    queue.facts.messages = queue.facts.messages.saturating_sub(1);
    (queue.facts.receive_time, queue.facts.receiver) = (now, pid);
    queue.channel.wake();
    let bytes = message.bytes.get(..index(room)).unwrap_or(&message.bytes);
    kernel.put(at, &message.kind)?;
    kernel.copy_out(at.wrapping_add(size_of::<i64>() as u64), bytes)?;
    Ok(bytes.len() as u64)
}

pub(super) fn msgctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, command, at) = (args.int(0), args.int(1), args.get(2));
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL.into());
    }
    let facts = kernel.messages.queues.get(id)?.facts;
    match command {
        ipc::STAT => {
            kernel.may_use_ipc(&facts.perm, ipc::READ)?;
            kernel.put(at, &facts)?;
        }
        ipc::SET => {
            let new: MessageQueue = kernel.get(at)?;
            kernel.owns_ipc(&facts.perm)?;
            // More than the usual is for those with CAP_SYS_RESOURCE, which nobody here has.
            if new.most_bytes > MAX_BYTES {
                return Err(Errno::EPERM.into());
            }
            let now = kernel.seconds();
            let queue = kernel.messages.queues.get(id)?;
            ipc::change(&mut queue.facts.perm, &new.perm);
            (queue.facts.most_bytes, queue.facts.change_time) = (new.most_bytes, now);
            queue.channel.wake();
        }
        ipc::RMID => {
            kernel.owns_ipc(&facts.perm)?;
            if let Some(queue) = kernel.messages.queues.remove(id) {
                queue.channel.wake();
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
