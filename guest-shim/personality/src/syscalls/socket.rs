//! Sockets: making, naming and connecting them. What goes through them is in [`super::message`], their options in
//! [`super::sockopt`].

use alloc::rc::Rc;
use alloc::vec::Vec;

use fuse_abi::linux::{fuse_mknod_in, fuse_opcode};
use linux_raw_sys::general as raw;
use proto::copy_forms;
use proto::op::{self, Listen};

use super::Args;
use super::io::{wait_for, wait_within};
use crate::abi::mode;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::dentry::Node;
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::inode::Inode;
use crate::fs::walk::may;
use crate::kernel::{Kernel, int};
use crate::net::address::{Address, Host, MAX_ADDRESS, family};
use crate::net::socket::{Credentials, Kind, Socket, join};
use crate::num::{index, len32};
use crate::platform::Platform;

/// Flags beside a socket's type.
const SOCK_FLAGS: u32 = raw::O_NONBLOCK | raw::O_CLOEXEC;
/// AF_PACKET.
const PACKET: u16 = 17;
/// SOCK_RAW, and the first number that is no kind of socket (SOCK_MAX).
const RAW: u32 = 3;
const MAX_KIND: u32 = 11;
/// IPPROTO_TCP and IPPROTO_UDP.
const TCP: u32 = 6;
const UDP: u32 = 17;
/// The lowest port that anybody may bind (net.ipv4.ip_unprivileged_port_start).
const FIRST_FREE_PORT: u16 = 1024;

/// The socket that a descriptor is, and its open file.
pub(super) fn socket_of<P: Platform>(kernel: &Kernel<P>, fd: i32) -> Result<(Rc<OpenFile>, Rc<Socket>), Errno> {
    let file = kernel.file(fd)?;
    let socket = match &file.kind {
        FileKind::Special(special) => special.as_any().downcast_ref::<Socket>().and_then(Socket::shared),
        FileKind::Path => return Err(Errno::EBADF),
        _ => None,
    };
    socket.map(|socket| (file, socket)).ok_or(Errno::ENOTSOCK)
}

/// Who makes the call.
pub(super) fn credentials<P: Platform>(kernel: &Kernel<P>) -> Credentials {
    let process = kernel.task.process.borrow();
    Credentials { pid: process.pid, uid: process.uid[1], gid: process.gid[1] }
}

/// What a call does that cannot go on: fails, or waits for the socket. `limit`: the socket's time limit in ns, 0 for none.
pub(super) fn wait_or_fail<P: Platform>(
    kernel: &mut Kernel<P>,
    nonblocking: bool,
    socket: &Socket,
    limit: u64,
) -> Stop {
    if nonblocking {
        return Errno::EAGAIN.into();
    }
    wait_within(kernel, wait_for(socket), (limit > 0).then_some(limit))
}

/// Gives a socket a descriptor. Of `flags`, SOCK_NONBLOCK and SOCK_CLOEXEC count.
fn open<P: Platform>(kernel: &mut Kernel<P>, socket: Rc<Socket>, flags: u32) -> Outcome {
    let status = raw::O_RDWR | flags & raw::O_NONBLOCK;
    let file = OpenFile::new(FileKind::Special(socket), None, status, kernel.fuse.leftovers());
    kernel.install(file, flags & raw::O_CLOEXEC != 0)
}

/// A new socket of what `socket` and `socketpair` are asked for.
fn make<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Result<(Rc<Socket>, u32), Errno> {
    let (domain, kind, protocol) = (args.uint(0), args.uint(1), args.uint(2));
    let flags = kind & !0xf;
    if flags & !SOCK_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let domain = u16::try_from(domain).map_err(|_| Errno::EAFNOSUPPORT)?;
    let kind = match (domain, kind & 0xf) {
        (_, MAX_KIND..) => return Err(Errno::EINVAL),
        // As without CAP_NET_RAW: there is nothing below TCP and UDP.
        (PACKET, _) | (family::INET | family::INET6, RAW) => return Err(Errno::EPERM),
        (family::UNIX | family::INET | family::INET6, 1) => Kind::Stream,
        (family::UNIX, RAW) | (family::UNIX | family::INET | family::INET6, 2) => Kind::Datagram,
        (family::UNIX, 5) => Kind::Seqpacket,
        (family::UNIX | family::INET | family::INET6, _) => return Err(Errno::ESOCKTNOSUPPORT),
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let protocol = match (domain, kind, protocol) {
        (family::UNIX, _, 0 | 1) => 0,
        (family::INET | family::INET6, Kind::Stream, 0 | TCP) => TCP,
        (family::INET | family::INET6, Kind::Datagram, 0 | UDP) => UDP,
        _ => return Err(Errno::EPROTONOSUPPORT),
    };
    let number = kernel.next_number();
    Ok((Socket::new(&kernel.hub, &kernel.network, number, domain, kind, protocol), flags))
}

pub(super) fn socket<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (socket, flags) = make(kernel, args)?;
    open(kernel, socket, flags)
}

pub(super) fn socketpair<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (one, flags) = make(kernel, args)?;
    let (other, _) = make(kernel, args)?;
    if one.domain != family::UNIX {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let own = credentials(kernel);
    join(&one, &other, own, own);
    let first = int(open(kernel, one, flags)?);
    let undo = |kernel: &mut Kernel<P>, fd: i32| drop(kernel.task.files.borrow_mut().remove(fd));
    let second = match open(kernel, other, flags) {
        Ok(fd) => int(fd),
        Err(stop) => {
            undo(kernel, first);
            return Err(stop);
        }
    };
    if let Err(error) = kernel.put(args.get(3), &[first, second]) {
        undo(kernel, first);
        undo(kernel, second);
        return Err(error.into());
    }
    Ok(0)
}

/// Reads the address of `len` bytes at `at`; one that was judged as it was judged.
pub(super) fn read_address<P: Platform>(
    kernel: &mut Kernel<P>,
    domain: u16,
    at: u64,
    len: u32,
) -> Result<Address, Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if let Some(copy) = kernel.judged(copy_forms::ADDRESS, at) {
        return Address::read(copy, domain);
    }
    let mut bytes = [0; MAX_ADDRESS];
    let bytes = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
    kernel.copy_in(at, bytes)?;
    Address::read(bytes, domain)
}

/// Writes an address to `at`, whose room stands at `len_at`, where its length is put. `at` 0: nobody asks.
pub(super) fn write_address<P: Platform>(
    kernel: &mut Kernel<P>,
    bytes: &[u8],
    at: u64,
    len_at: u64,
) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    let room: i32 = kernel.get(len_at)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    kernel.copy_out(at, bytes.get(..room).unwrap_or(bytes))?;
    kernel.put(len_at, &len32(bytes.len()))
}

pub(super) fn bind<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    let address = read_address(kernel, socket.domain, args.get(1), args.uint(2))?;
    if socket.local().is_some() {
        return Err(Errno::EINVAL.into());
    }
    match address {
        Address::None => return Err(Errno::EAFNOSUPPORT.into()),
        Address::Unnamed => bind_unnamed(kernel, &socket)?,
        Address::Abstract(name) => {
            kernel.network.bind_name(&socket, &name)?;
            socket.set_local(Address::Abstract(name), None);
        }
        Address::Path(path) => bind_path(kernel, &socket, path)?,
        Address::Internet(host, port) => {
            if !host.is_here() {
                return Err(Errno::EADDRNOTAVAIL.into());
            }
            if (1..FIRST_FREE_PORT).contains(&port) && credentials(kernel).uid != 0 {
                return Err(Errno::EACCES.into());
            }
            let port = kernel.network.bind_port(&socket, host, port)?;
            socket.set_local(Address::Internet(host, port), None);
        }
    }
    Ok(0)
}

/// Gives a Unix socket a name that nobody else has.
fn bind_unnamed<P: Platform>(kernel: &Kernel<P>, socket: &Rc<Socket>) -> Result<(), Errno> {
    // Every name is tried at most once.
    for _ in 0..=0xf_ffff_u32 {
        let name = kernel.network.free_name();
        if kernel.network.bind_name(socket, &name).is_ok() {
            socket.set_local(Address::Abstract(name), None);
            return Ok(());
        }
    }
    Err(Errno::ENOSPC)
}

/// Makes the file that a Unix socket is bound to.
fn bind_path<P: Platform>(kernel: &mut Kernel<P>, socket: &Rc<Socket>, path: Vec<u8>) -> Result<(), Stop> {
    let in_use = |stop| if stop == Stop::Error(Errno::EEXIST) { Errno::EADDRINUSE.into() } else { stop };
    let target = kernel.name_of(&path)?;
    let mode = mode::S_IFSOCK | kernel.umask_off(0o777);
    let node = fuse_mknod_in { mode, rdev: 0, umask: 0, padding: 0 };
    kernel.make(&target, fuse_opcode::FUSE_MKNOD, &node, None).map_err(in_use)?;
    let place = kernel.target_of(&path, false)?.existing()?;
    let Node::File(inode) = &place.node else { return Err(Errno::EPERM.into()) };
    kernel.network.bind_file(socket, inode.number());
    socket.set_local(Address::Path(path), Some(Rc::clone(inode)));
    Ok(())
}

/// The socket that is bound to the file at `path`.
fn socket_at<P: Platform>(kernel: &mut Kernel<P>, path: &[u8]) -> Result<Rc<Socket>, Errno> {
    let place = kernel.target_of(path, true)?.existing()?;
    kernel.check_access(&place, may::WRITE)?;
    let Node::File(inode) = &place.node else { return Err(Errno::ECONNREFUSED) };
    let inode: &Rc<Inode> = inode;
    kernel.network.of_file(inode.number()).ok_or(Errno::ECONNREFUSED)
}

/// The Unix socket of a name.
fn unix_socket<P: Platform>(kernel: &mut Kernel<P>, address: &Address) -> Result<Rc<Socket>, Errno> {
    match address {
        Address::Path(path) => socket_at(kernel, path),
        Address::Abstract(name) => kernel.network.named(name).ok_or(Errno::ECONNREFUSED),
        _ => Err(Errno::EINVAL),
    }
}

/// Gives an Internet socket an own port if it has none; its host is that of `host`.
fn bind_any<P: Platform>(kernel: &Kernel<P>, socket: &Rc<Socket>, host: Host) -> Result<(), Errno> {
    if socket.local().is_none() {
        let port = kernel.network.bind_port(socket, host, 0)?;
        socket.set_local(Address::Internet(host, port), None);
    }
    Ok(())
}

/// The socket that gets a datagram to `address`; `None`: nobody.
pub(super) fn receiver<P: Platform>(
    kernel: &mut Kernel<P>,
    socket: &Rc<Socket>,
    address: &Address,
) -> Result<Option<Rc<Socket>>, Errno> {
    if let Address::Internet(host, port) = address {
        if !host.is_here() {
            return Err(Errno::ENETUNREACH);
        }
        let host = host.destination();
        bind_any(kernel, socket, if socket.domain == family::INET { Host::V4([0; 4]) } else { Host::V6([0; 16]) })?;
        return Ok(kernel.network.at(false, host, *port, socket.sender_address(host).as_ref()));
    }
    let found = unix_socket(kernel, address)?;
    if found.kind != socket.kind {
        return Err(Errno::EPROTOTYPE);
    }
    let only = found.peer();
    if only.is_some_and(|only| !Rc::ptr_eq(&only, socket)) {
        return Err(Errno::EPERM);
    }
    Ok(Some(found))
}

pub(super) fn connect<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    let address = read_address(kernel, socket.domain, args.get(1), args.uint(2))?;
    if socket.needs_connection() {
        return connect_stream(kernel, &file, &socket, address);
    }
    match &address {
        Address::None => socket.set_remote(None, None),
        Address::Internet(host, port) => {
            if !host.is_here() {
                return Err(Errno::ENETUNREACH.into());
            }
            let host = host.destination();
            bind_any(kernel, &socket, host)?;
            socket.set_remote(Some(Address::Internet(host, *port)), None);
        }
        _ => {
            let peer = receiver(kernel, &socket, &address)?;
            socket.set_remote(Some(address), peer.as_ref());
        }
    }
    Ok(0)
}

fn connect_stream<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    socket: &Rc<Socket>,
    address: Address,
) -> Outcome {
    if socket.is_connecting() {
        return Err(Errno::EALREADY.into());
    }
    if socket.in_progress.take() {
        return socket.take_error().map_or(Ok(0), |error| Err(error.into()));
    }
    if socket.is_connected() || socket.is_listening() {
        return Err(if socket.is_connected() { Errno::EISCONN } else { Errno::EINVAL }.into());
    }
    let (listener, remote) = match address {
        Address::None => return Ok(0),
        Address::Internet(host, port) => {
            if !host.is_here() {
                return Err(Errno::ENETUNREACH.into());
            }
            let host = host.destination();
            bind_any(kernel, socket, host)?;
            let Some(found) = kernel.network.at(true, host, port, None) else {
                return Err(ended_later(file, socket, Some(Errno::ECONNREFUSED)).into());
            };
            if let Some(own) = socket.sender_address(host) {
                socket.set_local(own, None);
            }
            (found, Address::Internet(host, port))
        }
        other => {
            let found = unix_socket(kernel, &other)?;
            if found.kind != socket.kind {
                return Err(Errno::EPROTOTYPE.into());
            }
            (found, other)
        }
    };
    let number = kernel.next_number();
    let accepted = Socket::new(&kernel.hub, &kernel.network, number, listener.domain, listener.kind, listener.protocol);
    accepted.options.borrow_mut().clone_from(&listener.options.borrow());
    for (new, old) in accepted.buffers.iter().zip(&listener.buffers) {
        new.set(old.get());
    }
    let own = credentials(kernel);
    let nonblocking = file.nonblocking() && socket.domain != family::UNIX;
    match socket.connect(&listener, Rc::clone(&accepted), remote.clone(), own) {
        Ok(()) if nonblocking => Err(ended_later(file, socket, None).into()),
        Ok(()) => Ok(0),
        // TCP does not say how full the other end is.
        Err(Errno::EAGAIN) if nonblocking => {
            socket.connect_later(&listener, accepted, remote, own);
            Err(ended_later(file, socket, None).into())
        }
        Err(Errno::EAGAIN) => Err(wait_or_fail(kernel, file.nonblocking(), &listener, socket.timeouts[1].get())),
        Err(error) => Err(error.into()),
    }
}

/// What a connect says whose end is known: at once if it would have waited for it, else only that it goes on, as over a wire.
fn ended_later(file: &OpenFile, socket: &Socket, error: Option<Errno>) -> Errno {
    if !file.nonblocking() {
        return error.unwrap_or(Errno::EISCONN);
    }
    socket.in_progress.set(true);
    if let Some(error) = error {
        socket.set_error(error);
    }
    Errno::EINPROGRESS
}

pub(super) fn listen<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    if !socket.needs_connection() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let any = match socket.domain {
        family::INET => Host::V4([0; 4]),
        _ => Host::V6([0; 16]),
    };
    let local = socket.local();
    if local.is_none() && socket.domain == family::UNIX {
        return Err(Errno::EINVAL.into());
    }
    ask_to_listen(kernel, &local.clone().unwrap_or(Address::Internet(any, 0)).bytes(socket.domain))?;
    if local.is_none() {
        bind_any(kernel, &socket, any)?;
    }
    if let (Some(Address::Internet(host, port)), false) = (socket.local(), socket.is_listening()) {
        let other = kernel.network.at(true, host, port, None).filter(|other| !other.shares_port_with(&socket));
        if other.is_some_and(|other| other.host() == Some(host)) {
            return Err(Errno::EADDRINUSE.into());
        }
    }
    socket.listen(args.int(1), credentials(kernel))?;
    Ok(0)
}

/// Asks the root whether the policy lets a socket listen at this address.
fn ask_to_listen<P: Platform>(kernel: &mut Kernel<P>, address: &[u8]) -> Result<(), Errno> {
    let mut listen = Listen { address: [0; MAX_ADDRESS], len: len32(address.len()), reserved: 0 };
    listen.address.get_mut(..address.len()).ok_or(Errno::EINVAL)?.copy_from_slice(address);
    kernel.fuse.request(&mut kernel.platform, op::LISTEN, 0, &listen, &[], &[]).map(|_| ())
}

pub(super) fn accept<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    take_connection(kernel, args, 0)
}

pub(super) fn accept4<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(3);
    if flags & !SOCK_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    take_connection(kernel, args, flags)
}

fn take_connection<P: Platform>(kernel: &mut Kernel<P>, args: &Args, flags: u32) -> Outcome {
    let (file, socket) = socket_of(kernel, args.int(0))?;
    if !socket.needs_connection() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let connection = match socket.accept() {
        Ok(connection) => connection,
        Err(Errno::EAGAIN) => return Err(wait_or_fail(kernel, file.nonblocking(), &socket, socket.timeouts[0].get())),
        Err(error) => return Err(error.into()),
    };
    let fd = match open(kernel, Rc::clone(&connection), flags) {
        Ok(fd) => fd,
        Err(stop) => {
            socket.put_back(connection);
            return Err(stop);
        }
    };
    let remote = connection.remote().unwrap_or(Address::Unnamed).bytes(connection.domain);
    if let Err(error) = write_address(kernel, &remote, args.get(1), args.get(2)) {
        drop(kernel.task.files.borrow_mut().remove(int(fd)));
        return Err(error.into());
    }
    Ok(fd)
}

pub(super) fn shutdown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    let (reading, writing) = match args.uint(1) {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL.into()),
    };
    socket.shut_down(reading, writing)?;
    Ok(0)
}

pub(super) fn getsockname<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    let name = socket.local().unwrap_or(Address::Unnamed).bytes(socket.domain);
    named(kernel, &name, args)
}

pub(super) fn getpeername<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    let name = socket.remote().ok_or(Errno::ENOTCONN)?.bytes(socket.domain);
    named(kernel, &name, args)
}

fn named<P: Platform>(kernel: &mut Kernel<P>, name: &[u8], args: &Args) -> Outcome {
    if args.get(1) == 0 {
        return Err(Errno::EFAULT.into());
    }
    write_address(kernel, name, args.get(1), args.get(2))?;
    Ok(0)
}

/// Bytes of an address as a program's buffer of `room` bytes shows them.
pub(super) fn cut(bytes: &[u8], room: u64) -> &[u8] {
    bytes.get(..index(room)).unwrap_or(bytes)
}
