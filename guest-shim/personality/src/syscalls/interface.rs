//! What sockets are asked of the network's interfaces (netdevice(7)): there is one, the loopback.

use zerocopy::IntoBytes;

use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::net::address::family;
use crate::num::len32;
use crate::platform::Platform;

/// Requests, by `linux/sockios.h`.
mod request {
    pub(super) const ATMARK: u32 = 0x8905;
    pub(super) const NAME: u32 = 0x8910;
    pub(super) const CONF: u32 = 0x8912;
    pub(super) const FLAGS: u32 = 0x8913;
    pub(super) const ADDRESS: u32 = 0x8915;
    pub(super) const OTHER_ADDRESS: u32 = 0x8917;
    pub(super) const BROADCAST: u32 = 0x8919;
    pub(super) const NETMASK: u32 = 0x891b;
    pub(super) const METRIC: u32 = 0x891d;
    pub(super) const MTU: u32 = 0x8921;
    pub(super) const HARDWARE: u32 = 0x8927;
    pub(super) const INDEX: u32 = 0x8933;
    pub(super) const QUEUE: u32 = 0x8942;
}

/// The interface's name, padded; its number.
const NAME: [u8; 16] = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const INDEX: i32 = 1;
/// IFF_UP, IFF_LOOPBACK, IFF_RUNNING.
const FLAGS: i32 = 0x49;
const MTU: i32 = 65536;
/// Packets that may wait.
const QUEUE_LEN: i32 = 1000;
/// ARPHRD_LOOPBACK.
const LOOPBACK: u16 = 772;
/// Length of `struct ifreq`, and of what follows the name in it.
const REQUEST: usize = 40;
const VALUE: usize = 24;

/// Answers a socket's ioctl.
///
/// # Errors
/// ENOTTY: not a request for sockets. ENODEV: about another interface. EPERM: it would change something. EFAULT.
pub(super) fn ioctl<P: Platform>(kernel: &mut Kernel<P>, request: u32, at: u64) -> Outcome {
    match request {
        request::ATMARK => {
            // There is no out-of-band data whose mark could be reached.
            kernel.put(at, &0_i32)?;
            return Ok(0);
        }
        request::CONF => return list(kernel, at),
        request::NAME => {
            let index: i32 = kernel.get(at.wrapping_add(NAME.len() as u64))?;
            if index != INDEX {
                return Err(Errno::ENODEV.into());
            }
            kernel.put(at, &NAME)?;
            return Ok(0);
        }
        _ => {}
    }
    let value = match request {
        request::FLAGS => number(FLAGS),
        request::ADDRESS | request::OTHER_ADDRESS => address([127, 0, 0, 1]),
        request::BROADCAST => address([0; 4]),
        request::NETMASK => address([255, 0, 0, 0]),
        request::METRIC => number(0),
        request::MTU => number(MTU),
        request::INDEX => number(INDEX),
        request::QUEUE => number(QUEUE_LEN),
        request::HARDWARE => {
            let mut value = [0; VALUE];
            value[..2].copy_from_slice(&LOOPBACK.to_le_bytes());
            value
        }
        // The requests that set what these ask for are the even ones.
        0x8914..=0x8922 | 0x8924 | 0x8943 => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::ENOTTY.into()),
    };
    let name: [u8; 16] = kernel.get(at)?;
    let asked = name.split(|&byte| byte == 0).next();
    if asked != Some(b"lo".as_slice()) {
        return Err(Errno::ENODEV.into());
    }
    kernel.put(at.wrapping_add(NAME.len() as u64), &value)?;
    Ok(0)
}

/// SIOCGIFCONF: the interfaces with their addresses, as many as there is room for; without a place for them, the room that they need.
fn list<P: Platform>(kernel: &mut Kernel<P>, at: u64) -> Outcome {
    let [head, place]: [u64; 2] = kernel.get(at)?;
    let room = crate::kernel::int(head);
    let fits = usize::try_from(room).is_ok_and(|room| room >= REQUEST);
    let len = if place == 0 || fits { REQUEST } else { 0 };
    if place != 0 && fits {
        kernel.copy_out(place, [NAME.as_bytes(), &address([127, 0, 0, 1])].concat().as_slice())?;
    }
    kernel.put(at, &len32(len))?;
    Ok(0)
}

fn number(value: i32) -> [u8; VALUE] {
    let mut bytes = [0; VALUE];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// A `struct sockaddr_in`.
fn address(host: [u8; 4]) -> [u8; VALUE] {
    let mut bytes = [0; VALUE];
    bytes[..2].copy_from_slice(&family::INET.to_le_bytes());
    bytes[4..8].copy_from_slice(&host);
    bytes
}
