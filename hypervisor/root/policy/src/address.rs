//! Socket addresses: `struct sockaddr` taken apart, and patterns for them ([`pattern`]).
mod pattern;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linux_raw_sys::net::{AF_INET, AF_INET6, AF_UNIX};

use crate::symbols;

pub use pattern::BadAddress;
pub(crate) use pattern::{AddressSet, Hosts, host_of};

/// Bytes of the longest address that Linux takes (`struct sockaddr_storage`).
pub const MAX_ADDRESS: usize = 128;
/// Lengths of `sockaddr_in`, of `sockaddr_in6` without its scope, as Linux takes it too (SIN6_LEN_RFC2133), and of `sockaddr_un`.
const LEN_V4: usize = 16;
const LEN_V6: usize = 24;
const LEN_UNIX: usize = 110;

/// What begins a pattern, or a text, about Unix sockets.
const UNIX: &str = "unix:";
const FAMILY: &str = "family:";

/// A socket's address, as a program passed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAddress<'a> {
    /// An address of IPv4 or IPv6, and a port. One of IPv4 that is written as IPv6 is one of IPv4.
    Internet(IpAddr, u16),
    /// A Unix socket that is a file.
    Path(&'a [u8]),
    /// A Unix socket with an abstract name; empty: with one that is still to be chosen.
    Abstract(&'a [u8]),
    /// Of another family, or too short or too long for its own.
    Family(u16),
}

impl<'a> SocketAddress<'a> {
    /// Takes the bytes of a `struct sockaddr` apart. `None`: there is not even a family.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let [low, high, rest @ ..] = bytes else { return None };
        let family = u16::from_le_bytes([*low, *high]);
        let found = match u32::from(family) {
            AF_UNIX if bytes.len() <= LEN_UNIX => Some(unix(rest)),
            AF_INET if bytes.len() >= LEN_V4 => internet(rest, rest.get(2..), |host: [u8; 4]| host.into()),
            AF_INET6 if bytes.len() >= LEN_V6 => {
                internet(rest, rest.get(6..), |host: [u8; 16]| IpAddr::V6(host.into()).to_canonical())
            }
            _ => None,
        };
        Some(found.unwrap_or(Self::Family(family)))
    }

    /// Where a connection to it, or a message, goes: to this host itself for the address that stands for every one.
    #[must_use]
    pub fn destination(self) -> Self {
        match self {
            Self::Internet(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port) => Self::Internet(Ipv4Addr::LOCALHOST.into(), port),
            Self::Internet(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port) => Self::Internet(Ipv6Addr::LOCALHOST.into(), port),
            other => other,
        }
    }

    /// The pattern that is for this address only, as bytes: those of a name need not be UTF-8.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Internet(IpAddr::V4(host), port) => write!(text, "{host}:{port}"),
            Self::Internet(IpAddr::V6(host), port) => write!(text, "[{host}]:{port}"),
            // A file by such a name is none of the abstract names.
            Self::Path([b'@' | b'\\', ..]) => write!(text, "{UNIX}\\"),
            Self::Path(_) => text.write_str(UNIX),
            Self::Abstract(_) => write!(text, "{UNIX}@"),
            Self::Family(family) => Self::write_family(*family, &mut text),
        };
        let mut text = text.into_bytes();
        if let Self::Path(name) | Self::Abstract(name) = self {
            text.extend_from_slice(name);
        }
        text
    }

    fn write_family(family: u16, out: &mut String) -> fmt::Result {
        match symbols::FAMILY.choices.iter().find(|(value, _)| *value == u64::from(family)) {
            Some((_, name)) => out.write_str(name),
            None => write!(out, "{FAMILY}{family}"),
        }
    }
}

fn internet<const N: usize>(
    rest: &[u8],
    host: Option<&[u8]>,
    make: impl Fn([u8; N]) -> IpAddr,
) -> Option<SocketAddress<'static>> {
    let host = host?.first_chunk()?;
    Some(SocketAddress::Internet(make(*host), u16::from_be_bytes(*rest.first_chunk()?)))
}

fn unix(name: &[u8]) -> SocketAddress<'_> {
    match name {
        [] => SocketAddress::Abstract(&[]),
        [0, name @ ..] => SocketAddress::Abstract(name),
        path => SocketAddress::Path(path.split(|byte| *byte == 0).next().unwrap_or(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sockaddr(family: u32, rest: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(family).unwrap().to_le_bytes().to_vec();
        bytes.extend_from_slice(rest);
        bytes
    }

    pub(super) fn v4(host: [u8; 4], port: u16) -> Vec<u8> {
        sockaddr(AF_INET, &[&port.to_be_bytes()[..], &host, &[0; 8]].concat())
    }

    pub(super) fn v6(host: &str, port: u16) -> Vec<u8> {
        let host: Ipv6Addr = host.parse().unwrap();
        sockaddr(AF_INET6, &[&port.to_be_bytes()[..], &[0; 4], &host.octets(), &[0; 4]].concat())
    }

    #[test]
    fn addresses_are_read_and_written() {
        let text = |bytes: &[u8]| SocketAddress::read(bytes).map(|address| String::from_utf8(address.text()).unwrap());
        for (bytes, wanted) in [
            (v4([10, 0, 0, 1], 80), "10.0.0.1:80"),
            (v6("::1", 8080), "[::1]:8080"),
            (v6("::ffff:127.0.0.1", 1), "127.0.0.1:1"),
            (sockaddr(AF_UNIX, b"/run/x\0rest"), "unix:/run/x"),
            (sockaddr(AF_UNIX, b"\0a\0b"), "unix:@a\0b"),
            (sockaddr(AF_UNIX, b"@x\0"), "unix:\\@x"),
            (sockaddr(AF_UNIX, b"\\@x"), "unix:\\\\@x"),
            (sockaddr(AF_UNIX, b""), "unix:@"),
            (sockaddr(16, &[0; 10]), "AF_NETLINK"),
            (sockaddr(999, &[]), "family:999"),
            // Too short, or too long.
            (v4([1; 4], 80)[..15].to_vec(), "AF_INET"),
            (v6("::1", 1)[..23].to_vec(), "AF_INET6"),
            (sockaddr(AF_UNIX, &[b'x'; 109]), "AF_UNIX"),
        ] {
            assert_eq!(text(&bytes).as_deref(), Some(wanted));
        }
        assert_eq!(SocketAddress::read(&[2]), None);
        assert_eq!(SocketAddress::read(&v6("::1", 1)[..24]).unwrap().text(), b"[::1]:1");
    }

    #[test]
    fn everything_is_one_place_as_a_destination() {
        let at = |bytes: &[u8]| SocketAddress::read(bytes).unwrap().destination().text();
        assert_eq!(at(&v4([0; 4], 5)), b"127.0.0.1:5");
        assert_eq!(at(&v6("::ffff:0.0.0.0", 5)), b"127.0.0.1:5");
        assert_eq!(at(&v6("::", 5)), b"[::1]:5");
        assert_eq!(at(&v6("::2", 5)), b"[::2]:5");
    }
}
