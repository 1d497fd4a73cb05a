//! Options of sockets. A few change what a socket does; many more are recorded, so that programs that set them go on.

use linux_raw_sys::general as raw;

use super::Args;
use super::socket::socket_of;
use crate::abi::Timeval;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::net::address::family;
use crate::net::socket::{CAPACITY, Kind, Socket, option};
use crate::num::index;
use crate::platform::Platform;
use crate::time::{from_timeval, to_timeval};
use zerocopy::IntoBytes;

/// SOL_IP and SOL_TCP.
const IP: u32 = 0;
const TCP: u32 = 6;
/// Options of SOL_SOCKET by name.
const TYPE: u32 = 3;
const ERROR: u32 = 4;
const SNDBUF: u32 = 7;
const RCVBUF: u32 = 8;
const PEERCRED: u32 = 17;
const RCVTIMEO: u32 = 20;
const SNDTIMEO: u32 = 21;
const ACCEPTCONN: u32 = 30;
const PROTOCOL: u32 = 38;
const DOMAIN: u32 = 39;
/// Largest buffer that can be asked for, and what Linux makes of small wishes (wmem_max, SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
const MAX_BUFFER: i32 = 212_992;
const MIN_SEND: i32 = 4608;
const MIN_RECEIVE: i32 = 2304;
/// TCP_INFO, and the bytes of `struct tcp_info`.
const INFO: u32 = 11;
const INFO_LEN: usize = 232;

/// What an option without an effect starts with. `None`: there is no such option here.
fn initial(socket: &Socket, level: u32, name: u32) -> Option<i32> {
    let internet = socket.domain != family::UNIX;
    match (level, name) {
        // SO_DEBUG, SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER,
        // SO_REUSEPORT, SO_PASSCRED, SO_TIMESTAMP, SO_PASSSEC, SO_TIMESTAMPNS, SO_MARK, SO_RXQ_OVFL, SO_BUSY_POLL, SO_ZEROCOPY
        (option::SOCKET, 1 | 2 | 5 | 6 | 9..=13 | 15 | 16 | 29 | 34 | 35 | 36 | 40 | 46 | 60) => Some(0),
        // SO_RCVLOWAT, SO_SNDLOWAT
        (option::SOCKET, 18 | 19) => Some(1),
        // SO_SNDBUF, SO_RCVBUF: what TCP starts with (the middle of net.ipv4.tcp_wmem and tcp_rmem).
        (option::SOCKET, SNDBUF) if internet && socket.is_stream() => Some(16384),
        (option::SOCKET, RCVBUF) if internet && socket.is_stream() => Some(131_072),
        (option::SOCKET, SNDBUF | RCVBUF) => i32::try_from(CAPACITY).ok(),
        // TCP_NODELAY, TCP_CORK, TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_USER_TIMEOUT, TCP_FASTOPEN, TCP_NOTSENT_LOWAT
        (TCP, 1 | 3 | 9 | 10 | 18 | 23 | 25 | 30) if internet && socket.kind == Kind::Stream => Some(0),
        // TCP_MAXSEG, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_SYNCNT, TCP_LINGER2, TCP_QUICKACK
        (TCP, 2) if internet => Some(536),
        (TCP, 4) if internet => Some(7200),
        (TCP, 5) if internet => Some(75),
        (TCP, 6) if internet => Some(9),
        (TCP, 7) if internet => Some(6),
        (TCP, 8) if internet => Some(60),
        (TCP, 12) if internet => Some(1),
        // IP_TTL, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_MTU_DISCOVER
        (IP, 2) if internet => Some(64),
        (IP, 33 | 34 | 10) if internet => Some(1),
        // IP_TOS, IP_RECVOPTS, IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_TRANSPARENT, IP_FREEBIND, IP_BIND_ADDRESS_NO_PORT
        (IP, 1 | 6 | 8 | 11..=13 | 15 | 19 | 24) if internet => Some(0),
        // IPV6_UNICAST_HOPS, IPV6_MTU_DISCOVER
        (option::IPV6, 16) if socket.domain == family::INET6 => Some(64),
        (option::IPV6, 23) if socket.domain == family::INET6 => Some(1),
        // IPV6_RECVERR, IPV6_V6ONLY, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_TCLASS
        (option::IPV6, 25 | option::V6ONLY | 49 | 51 | 66 | 67) if socket.domain == family::INET6 => Some(0),
        _ => None,
    }
}

/// What is said of an option that is not there. A level that is not the socket's own is another matter, except where IP sets one.
fn unknown(socket: &Socket, level: u32, sets: bool) -> Errno {
    let known = match (socket.domain, level) {
        (_, option::SOCKET) => true,
        (family::UNIX, _) => false,
        _ if sets => true,
        (_, TCP) => socket.is_stream(),
        (domain, option::IPV6) => domain == family::INET6,
        (_, level) => level == IP,
    };
    if known { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP }
}

/// Options that are on or off, whatever the number.
fn is_switch(level: u32, name: u32) -> bool {
    matches!(
        (level, name),
        (option::SOCKET, 2 | 5 | 6 | 9 | 10 | 15 | 16) | (TCP, 1 | 3) | (option::IPV6, option::V6ONLY)
    )
}

pub(super) fn setsockopt<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    let (level, name, at, len) = (args.uint(1), args.uint(2), args.get(3), args.int(4));
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    match (level, name) {
        (option::SOCKET, RCVTIMEO | SNDTIMEO) => {
            if len < size_of::<Timeval>() {
                return Err(Errno::EINVAL.into());
            }
            let limit = from_timeval(kernel.get(at)?).map_err(|_| Errno::EDOM)?;
            socket.timeouts[usize::from(name == SNDTIMEO)].set(limit);
            return Ok(0);
        }
        (option::SOCKET, option::LINGER) => {
            if len < 8 {
                return Err(Errno::EINVAL.into());
            }
            let [on, seconds]: [i32; 2] = kernel.get(at)?;
            let mut options = socket.options.borrow_mut();
            options.insert((level, name), i32::from(on != 0));
            options.insert(option::LINGER_SECONDS, seconds);
            return Ok(0);
        }
        (option::SOCKET, TYPE | ERROR | PEERCRED | ACCEPTCONN | PROTOCOL | DOMAIN) => {
            return Err(Errno::ENOPROTOOPT.into());
        }
        _ => {}
    }
    initial(&socket, level, name).ok_or_else(|| unknown(&socket, level, true))?;
    let value: i32 = match len {
        0 => return Err(Errno::EINVAL.into()),
        1..4 if level == IP => i32::from(kernel.get::<u8>(at)?),
        1..4 => return Err(Errno::EINVAL.into()),
        _ => kernel.get(at)?,
    };
    let value = match (level, name) {
        (option::SOCKET, SNDBUF | RCVBUF) => {
            let (slot, least) = if name == SNDBUF { (1, MIN_SEND) } else { (0, MIN_RECEIVE) };
            let value = value.clamp(0, MAX_BUFFER).saturating_mul(2).max(least);
            socket.buffers[slot].set(usize::try_from(value).ok());
            value
        }
        _ if is_switch(level, name) => i32::from(value != 0),
        _ => value,
    };
    socket.options.borrow_mut().insert((level, name), value);
    Ok(0)
}

pub(super) fn getsockopt<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (_, socket) = socket_of(kernel, args.int(0))?;
    let (level, name, at, len_at) = (args.uint(1), args.uint(2), args.get(3), args.get(4));
    let len: i32 = kernel.get(len_at)?;
    let room = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
    let number = match (level, name) {
        (option::SOCKET, RCVTIMEO | SNDTIMEO) => {
            let limit = to_timeval(socket.timeouts[usize::from(name == SNDTIMEO)].get());
            return give(kernel, limit.as_bytes(), at, room, len_at);
        }
        (option::SOCKET, option::LINGER) => {
            let both = [socket.option(level, name), socket.option(option::LINGER_SECONDS.0, option::LINGER_SECONDS.1)];
            return give(kernel, both.as_bytes(), at, room, len_at);
        }
        (option::SOCKET, PEERCRED) => {
            let peer = socket.peer_credentials();
            // Who is not known is process 0 and nobody.
            let known = socket.domain == family::UNIX && (socket.is_connected() || socket.is_listening());
            let ids = if known { [peer.pid, peer.uid, peer.gid] } else { [0, u32::MAX, u32::MAX] };
            return give(kernel, ids.as_bytes(), at, room, len_at);
        }
        (TCP, INFO) if socket.domain != family::UNIX && socket.is_stream() => {
            return give(kernel, &tcp_info(&socket), at, room, len_at);
        }
        (option::SOCKET, TYPE) => match socket.kind {
            Kind::Stream => 1,
            Kind::Datagram => 2,
            Kind::Seqpacket => 5,
        },
        (option::SOCKET, ERROR) => socket.take_error().map_or(0, |error| error.0),
        (option::SOCKET, ACCEPTCONN) => i32::from(socket.is_listening()),
        (option::SOCKET, PROTOCOL) => socket.protocol.cast_signed(),
        (option::SOCKET, DOMAIN) => i32::from(socket.domain),
        _ => {
            let initial = initial(&socket, level, name).ok_or_else(|| unknown(&socket, level, false))?;
            socket.options.borrow().get(&(level, name)).copied().unwrap_or(initial)
        }
    };
    give(kernel, number.as_bytes(), at, room, len_at)
}

/// `struct tcp_info` of a connection without a wire: its state, and times and sizes as loopback has them at first.
fn tcp_info(socket: &Socket) -> [u8; INFO_LEN] {
    let mut info = [0; INFO_LEN];
    info[0] = socket.tcp_state();
    // tcpi_rto and tcpi_ato in µs, tcpi_snd_mss and tcpi_rcv_mss, tcpi_pmtu, tcpi_rcv_ssthresh, tcpi_snd_ssthresh, tcpi_snd_cwnd.
    let fields: [(usize, u32); 8] =
        [(8, 200_000), (12, 40_000), (16, 32_768), (20, 536), (60, 65_535), (64, 65_495), (76, 0x7fff_ffff), (80, 10)];
    for (at, value) in fields {
        if let Some(place) = info.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    info
}

/// Writes a value, cut to the room that there is, and its length.
fn give<P: Platform>(kernel: &mut Kernel<P>, bytes: &[u8], at: u64, room: u64, len_at: u64) -> Outcome {
    let bytes = bytes.get(..index(room)).unwrap_or(bytes);
    kernel.copy_out(at, bytes)?;
    kernel.put(len_at, &crate::num::len32(bytes.len()))?;
    Ok(0)
}

/// SOCK_CLOEXEC and O_CLOEXEC are one bit.
const _: () = assert!(raw::O_CLOEXEC == 0x8_0000);
