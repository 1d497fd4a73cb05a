//! Sending and receiving through sockets, with addresses and what goes beside the bytes.

use alloc::rc::Rc;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;
use proto::copy_forms;
use zerocopy::FromBytes;

use super::Args;
use super::signal::raise;
use super::socket::{credentials, cut, read_address, receiver, socket_of, wait_or_fail, write_address};
use crate::abi::Msghdr;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::OpenFile;
use crate::kernel::{Kernel, int};
use crate::mm::area::Access;
use crate::mm::user::{Ranges, UserRuns};
use crate::net::address::{Address, family};
use crate::net::socket::{CAPACITY, Extra, MAX_UDP, Received, Socket, option};
use crate::num::{index, len32};
use crate::platform::Platform;
use crate::signal::Signal;
use crate::wait::Wait;

/// MSG_* flags.
mod msg {
    pub(super) const OOB: u32 = 1;
    pub(super) const PEEK: u32 = 2;
    pub(super) const CTRUNC: u32 = 8;
    pub(super) const TRUNC: u32 = 0x20;
    pub(super) const DONTWAIT: u32 = 0x40;
    pub(super) const EOR: u32 = 0x80;
    pub(super) const WAITALL: u32 = 0x100;
    pub(super) const ERRQUEUE: u32 = 0x2000;
    pub(super) const NOSIGNAL: u32 = 0x4000;
    pub(super) const CMSG_CLOEXEC: u32 = 0x4000_0000;
}

/// Kinds of what goes beside the bytes.
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// SO_PASSCRED.
const PASSCRED: u32 = 16;
/// Most open files in one message (SCM_MAX_FD).
const MAX_FILES: usize = 253;
/// Most bytes beside a message (net.core.optmem_max).
const MAX_CONTROL: u64 = 20480;
/// Length of `struct cmsghdr`.
const HEADER: usize = 16;
/// Length of `struct mmsghdr`, and where its `msg_len` is.
const MMSGHDR: u64 = 64;
const MSG_LEN: u64 = 56;
/// Most messages of one call (UIO_MAXIOV).
const MAX_MESSAGES: u32 = 1024;

/// A message that is to be sent.
struct Outgoing {
    ranges: Ranges,
    to: Option<Address>,
    extra: Extra,
    flags: u32,
}

pub(super) fn sendto<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    let to = match args.get(4) {
        0 => None,
        at => Some(read_address(kernel, socket.domain, at, args.uint(5))?),
    };
    let extra = Extra { sender: credentials(kernel), files: Vec::new() };
    let judged = kernel.judged_content(args.get(1), !socket.is_stream())?;
    let ranges = judged.unwrap_or_else(|| Ranges::one(args.get(1), args.get(2)));
    send(kernel, &file, &socket, Outgoing { ranges, to, extra, flags: args.uint(3) })
}

pub(super) fn sendmsg<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    send_header(kernel, &file, &socket, args.get(1), args.uint(2))
}

fn send_header<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    socket: &Rc<Socket>,
    at: u64,
    flags: u32,
) -> Outcome {
    let header = match kernel.judged(copy_forms::MESSAGE, at) {
        Some(copy) => Msghdr::read_from_bytes(copy).map_err(|_| Errno::EFAULT)?,
        None => kernel.get(at)?,
    };
    let to = match (header.msg_name, header.msg_namelen) {
        (0, _) | (_, 0) => None,
        (at, len) => Some(read_address(kernel, socket.domain, at, len)?),
    };
    let extra = Extra { sender: credentials(kernel), files: files_of(kernel, socket, &header)? };
    let ranges = match kernel.judged_content(at, !socket.is_stream())? {
        Some(judged) => judged,
        None => iovecs(kernel, &header)?,
    };
    send(kernel, file, socket, Outgoing { ranges, to, extra, flags })
}

fn iovecs<P: Platform>(kernel: &mut Kernel<P>, header: &Msghdr) -> Result<Ranges, Errno> {
    let (space, mut source) = kernel.memory();
    let too_long = |error| if error == Errno::EINVAL { Errno::EMSGSIZE } else { error };
    Ranges::list(&mut space.borrow_mut(), &mut source, header.msg_iov, header.msg_iovlen).map_err(too_long)
}

/// The open files that a message takes along.
fn files_of<P: Platform>(kernel: &mut Kernel<P>, socket: &Socket, header: &Msghdr) -> Result<Vec<Rc<OpenFile>>, Errno> {
    let mut files = Vec::new();
    if header.msg_control == 0 || header.msg_controllen == 0 {
        return Ok(files);
    }
    if header.msg_controllen > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let mut control = alloc::vec![0; index(header.msg_controllen)];
    kernel.copy_in(header.msg_control, &mut control)?;
    let mut rest = &control[..];
    while let Some((head, _)) = rest.split_first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, g, h, level @ .., w, x, y, z] = *head;
        let len = index(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let (level, kind) = (u32::from_le_bytes(level), u32::from_le_bytes([w, x, y, z]));
        let data = rest.get(HEADER..len).ok_or(Errno::EINVAL)?;
        match (level, kind) {
            (option::SOCKET, SCM_RIGHTS) if socket.domain == family::UNIX => {
                for fd in data.chunks_exact(4).filter_map(|fd| fd.first_chunk()) {
                    if files.len() >= MAX_FILES {
                        return Err(Errno::EINVAL);
                    }
                    files.push(kernel.file(i32::from_le_bytes(*fd))?);
                }
            }
            (option::SOCKET, SCM_CREDENTIALS) if socket.domain == family::UNIX => {}
            _ => return Err(Errno::EINVAL),
        }
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or(&[]);
    }
    // Those on the way are nobody's descriptors, and count all the same.
    if !files.is_empty() {
        let too_many = kernel.network.in_flight() as u64 > kernel.limit(raw::RLIMIT_NOFILE);
        if too_many || kernel.descriptors.check(files.len() as u64).is_err() {
            return Err(Errno::ETOOMANYREFS);
        }
    }
    Ok(files)
}

/// Where a message goes: to nobody, to the other end of the connection, or to a socket.
enum Goal {
    Nobody,
    Connection,
    Socket(Rc<Socket>),
}

fn goal<P: Platform>(kernel: &mut Kernel<P>, socket: &Rc<Socket>, to: Option<&Address>) -> Result<Goal, Errno> {
    if socket.needs_connection() {
        let named = to.is_some() && socket.domain == family::UNIX;
        return if named && socket.is_connected() { Err(Errno::EISCONN) } else { Ok(Goal::Connection) };
    }
    if let Some(error) = socket.take_error() {
        return Err(error);
    }
    let found = match to {
        Some(address) => receiver(kernel, socket, address)?,
        None => socket.datagram_target()?,
    };
    Ok(found.map_or(Goal::Nobody, Goal::Socket))
}

/// Sends. A stream's bytes that have to wait half-way go on where they were (`Task::progress`).
fn send<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, socket: &Rc<Socket>, mut message: Outgoing) -> Outcome {
    if message.flags & msg::OOB != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let nonblocking = file.nonblocking() || message.flags & msg::DONTWAIT != 0;
    let goal = goal(kernel, socket, message.to.as_ref())?;
    loop {
        let done = kernel.task.progress;
        if done > 0 {
            // What goes beside the bytes went with the first of them.
            message.extra.files.clear();
        }
        let (space, mut source) = kernel.memory();
        let mut space = space.borrow_mut();
        let mut runs = UserRuns::new(&mut space, &mut source, &message.ranges, done, Access::Read);
        let sent = match &goal {
            Goal::Nobody if message.ranges.total > MAX_UDP as u64 => return Err(Errno::EMSGSIZE.into()),
            Goal::Nobody => return Ok(message.ranges.total),
            Goal::Connection => socket.send(&mut runs, &mut message.extra),
            Goal::Socket(target) => socket.send_to(target, &mut runs, &mut message.extra),
        };
        let bad = runs.is_bad();
        drop(space);
        match sent {
            Ok(0) if bad && done == 0 => return Err(Errno::EFAULT.into()),
            Ok(count) => {
                let done = done + count as u64;
                if count == 0 || bad || done >= message.ranges.total || !socket.is_stream() {
                    return Ok(done);
                }
                kernel.task.progress = done;
            }
            Err(Errno::EAGAIN) => return cannot_send(kernel, nonblocking, socket, &goal),
            Err(_) if done > 0 => return Ok(done),
            Err(error) => {
                if error == Errno::EPIPE && message.flags & msg::NOSIGNAL == 0 && socket.is_stream() {
                    raise(kernel, Signal::PIPE)?;
                }
                return Err(error.into());
            }
        }
    }
}

/// There is no room.
fn cannot_send<P: Platform>(kernel: &mut Kernel<P>, nonblocking: bool, socket: &Socket, goal: &Goal) -> Outcome {
    let done = kernel.task.progress;
    let stop = match wait_or_fail(kernel, nonblocking, socket, socket.timeouts[1].get()) {
        Stop::Block(wait) => match goal {
            Goal::Socket(target) => Stop::Block(Wait::or_on(wait, target.channel())),
            _ => Stop::Block(wait),
        },
        other => other,
    };
    match stop {
        Stop::Error(_) if done > 0 => Ok(done),
        other => Err(other),
    }
}

pub(super) fn recvfrom<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    let flags = args.uint(3);
    let ranges = Ranges::one(args.get(1), args.get(2));
    let received = receive(kernel, &file, &socket, &ranges, flags)?;
    let from = sender(&socket, &received);
    kernel.network.graveyard().borrow_mut().extend(received.files);
    if let Some(from) = from {
        write_address(kernel, &from, args.get(4), args.get(5))?;
    } else if args.get(4) != 0 {
        kernel.put(args.get(5), &0_u32)?;
    }
    Ok(if flags & msg::TRUNC != 0 && !socket.is_stream() { received.whole } else { received.count } as u64)
}

/// The address that stands with received bytes: only messages have one.
fn sender(socket: &Socket, received: &Received) -> Option<Vec<u8>> {
    if socket.is_stream() {
        return None;
    }
    received.from.as_ref().map(|from| from.bytes(socket.domain))
}

/// Takes what has arrived, or waits for it. With MSG_WAITALL, the bytes of a stream that have come stay where they are while the
/// call waits for the rest (`Task::progress`).
fn receive<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    socket: &Socket,
    ranges: &Ranges,
    flags: u32,
) -> Result<Received, Stop> {
    if flags & msg::OOB != 0 {
        return Err(Errno::EINVAL.into());
    }
    let limit = socket.timeouts[0].get();
    if flags & msg::ERRQUEUE != 0 {
        return Err(Errno::EAGAIN.into());
    }
    let nonblocking = file.nonblocking() || flags & msg::DONTWAIT != 0;
    let (peek, all) = (flags & msg::PEEK != 0, flags & msg::WAITALL != 0 && socket.is_stream());
    if all && peek && !nonblocking && socket.is_connected() {
        // What is only looked at has to be there as a whole: more than fits is never waited for.
        let wanted = index(ranges.total).min(CAPACITY / 2);
        if socket.waiting_bytes() < wanted && !socket.is_at_end() {
            let stop = wait_or_fail(kernel, false, socket, limit);
            if matches!(stop, Stop::Block(_)) {
                return Err(stop);
            }
        }
    }
    loop {
        let done = kernel.task.progress;
        let (space, mut source) = kernel.memory();
        let mut space = space.borrow_mut();
        let mut runs = UserRuns::new(&mut space, &mut source, ranges, done, Access::Write);
        let received = socket.receive(&mut runs, peek);
        let bad = runs.is_bad();
        drop(space);
        match received {
            Ok(received) if bad && received.count == 0 && done == 0 => return Err(Errno::EFAULT.into()),
            Ok(mut received) => {
                let total = done + received.count as u64;
                let over = received.count == 0 || bad || !received.files.is_empty() || total >= ranges.total;
                if all && !peek && !over {
                    kernel.task.progress = total;
                    continue;
                }
                if all {
                    (received.count, received.whole) = (index(total), index(total));
                }
                return Ok(received);
            }
            Err(Errno::EAGAIN) => match wait_or_fail(kernel, nonblocking, socket, limit) {
                Stop::Error(_) if done > 0 => return Ok(partly(done)),
                stop => return Err(stop),
            },
            Err(_) if done > 0 => return Ok(partly(done)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What had arrived when no more came.
fn partly(done: u64) -> Received {
    Received { count: index(done), whole: index(done), ..Received::default() }
}

pub(super) fn recvmsg<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    receive_header(kernel, &file, &socket, args.get(1), args.uint(2))
}

fn receive_header<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    socket: &Rc<Socket>,
    at: u64,
    flags: u32,
) -> Outcome {
    let mut header: Msghdr = kernel.get(at)?;
    let ranges = iovecs(kernel, &header)?;
    let received = receive(kernel, file, socket, &ranges, flags)?;
    let (count, whole) = (received.count, received.whole);
    let from = sender(socket, &received).unwrap_or_default();
    if header.msg_name != 0 {
        kernel.copy_out(header.msg_name, cut(&from, u64::from(header.msg_namelen)))?;
        header.msg_namelen = len32(from.len());
    }
    header.msg_flags = if whole > count { msg::TRUNC } else { 0 };
    if !socket.is_stream() && socket.needs_connection() && count > 0 {
        header.msg_flags |= msg::EOR;
    }
    write_control(kernel, socket, &mut header, received, flags)?;
    kernel.put(at, &header)?;
    Ok(if flags & msg::TRUNC != 0 && !socket.is_stream() { whole } else { count } as u64)
}

/// Writes what came beside the bytes, as much as there is room for; the rest is closed.
fn write_control<P: Platform>(
    kernel: &mut Kernel<P>,
    socket: &Socket,
    header: &mut Msghdr,
    received: Received,
    flags: u32,
) -> Result<(), Errno> {
    let room = if header.msg_control == 0 { 0 } else { index(header.msg_controllen) };
    let mut control = Vec::new();
    if socket.option(option::SOCKET, PASSCRED) != 0 {
        let sender = received.sender;
        let data: Vec<u8> = [sender.pid, sender.uid, sender.gid].iter().flat_map(|id| id.to_le_bytes()).collect();
        if room >= HEADER + data.len() {
            push_control(&mut control, SCM_CREDENTIALS, &data);
        } else {
            header.msg_flags |= msg::CTRUNC;
        }
    }
    let fits = room.saturating_sub(control.len() + HEADER) / 4;
    let mut numbers = Vec::new();
    let mut files = received.files.into_iter();
    for file in files.by_ref().take(fits) {
        match kernel.install(file, flags & msg::CMSG_CLOEXEC != 0) {
            Ok(fd) => numbers.extend_from_slice(&int(fd).to_le_bytes()),
            Err(_) => {
                header.msg_flags |= msg::CTRUNC;
                break;
            }
        }
    }
    if !numbers.is_empty() {
        push_control(&mut control, SCM_RIGHTS, &numbers);
    }
    let rest: Vec<Rc<OpenFile>> = files.collect();
    if !rest.is_empty() {
        header.msg_flags |= msg::CTRUNC;
        kernel.network.graveyard().borrow_mut().extend(rest);
    }
    control.truncate(room);
    if !control.is_empty() {
        kernel.copy_out(header.msg_control, &control)?;
    }
    header.msg_controllen = control.len() as u64;
    Ok(())
}

/// Adds a `struct cmsghdr` with its data.
fn push_control(control: &mut Vec<u8>, kind: u32, data: &[u8]) {
    control.extend_from_slice(&((HEADER + data.len()) as u64).to_le_bytes());
    control.extend_from_slice(&option::SOCKET.to_le_bytes());
    control.extend_from_slice(&kind.to_le_bytes());
    control.extend_from_slice(data);
    control.resize(control.len().next_multiple_of(8), 0);
}

/// Calls `each` with the address of each header and the flags for it, and puts its result beside it.
fn many<P: Platform>(
    kernel: &mut Kernel<P>,
    args: &Args,
    mut each: impl FnMut(&mut Kernel<P>, u64, u32) -> Outcome,
) -> Outcome {
    let (mut done, mut moved, mut failed) = (0, 0, None);
    for number in 0..args.uint(2).min(MAX_MESSAGES) {
        let at = args.get(1).wrapping_add(u64::from(number) * MMSGHDR);
        let flags = args.uint(3) | if number > 0 { msg::DONTWAIT } else { 0 };
        let result = each(kernel, at, flags).and_then(|len| {
            moved += len;
            kernel.put(at.wrapping_add(MSG_LEN), &crate::num::low32(len))?;
            Ok(len)
        });
        match result {
            Ok(_) => done += 1,
            Err(stop) => {
                failed = Some(stop);
                break;
            }
        }
        kernel.task.progress = 0;
    }
    if done > 0 || moved > 0 {
        kernel.tell_moved(moved);
    }
    match failed {
        Some(stop) if done == 0 => Err(stop),
        _ => Ok(done),
    }
}

pub(super) fn sendmmsg<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    many(kernel, args, |kernel, at, flags| send_header(kernel, &file, &socket, at, flags))
}

pub(super) fn recvmmsg<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    let at = args.get(4);
    let nonblocking = if at == 0 {
        false
    } else {
        let limit = crate::time::from_timespec(kernel.get(at)?)?;
        let deadline = kernel.deadline(limit);
        kernel.is_over(deadline)
    };
    let now = if nonblocking { msg::DONTWAIT } else { 0 };
    let limit = kernel.task.wait_until;
    let outcome = many(kernel, args, |kernel, at, flags| receive_header(kernel, &file, &socket, at, flags | now));
    match (outcome, limit) {
        (Err(Stop::Block(wait)), Some(limit)) => Err(Stop::Block(wait.or_until(limit))),
        (outcome, _) => outcome,
    }
}

/// That O_NONBLOCK and SOCK_NONBLOCK are one bit is what `open` of a socket rests on.
const _: () = assert!(raw::O_NONBLOCK == 0x800);
