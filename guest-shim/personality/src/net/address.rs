//! Names of sockets: `struct sockaddr_un`, `sockaddr_in` and `sockaddr_in6`.

use alloc::vec::Vec;

use crate::errno::Errno;

/// Address families.
pub mod family {
    /// No address.
    pub const UNSPEC: u16 = 0;
    /// Unix.
    pub const UNIX: u16 = 1;
    /// IPv4.
    pub const INET: u16 = 2;
    /// IPv6.
    pub const INET6: u16 = 10;
}

/// Longest name of a Unix socket.
const MAX_UNIX: usize = 108;
/// Longest address that is read.
pub const MAX_ADDRESS: usize = 128;

/// A host's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

/// A socket's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// AF_UNSPEC: undoes a connection.
    None,
    /// A Unix socket without a name.
    Unnamed,
    /// A Unix socket that is a file.
    Path(Vec<u8>),
    /// A Unix socket with a name that is no file.
    Abstract(Vec<u8>),
    /// An Internet socket.
    Internet(Host, u16),
}

impl Host {
    /// An IPv4 address that is written as IPv6, as what it is.
    #[must_use]
    pub fn plain(self) -> Self {
        match self {
            Self::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]) => Self::V4([a, b, c, d]),
            other => other,
        }
    }

    /// As a socket of `domain` shows it.
    #[must_use]
    pub fn shown(self, domain: u16) -> Self {
        match self {
            Self::V4([a, b, c, d]) if domain == family::INET6 => {
                Self::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
            }
            other => other,
        }
    }

    /// Every host's.
    #[must_use]
    pub fn is_any(self) -> bool {
        self == Self::V4([0; 4]) || self == Self::V6([0; 16])
    }

    /// Is it this sandbox itself?
    #[must_use]
    pub fn is_here(self) -> bool {
        match self.plain() {
            Self::V4([first, ..]) => first == 127 || self.is_any(),
            Self::V6(bytes) => bytes == LOOPBACK6 || self.is_any(),
        }
    }

    /// Where a connection to it goes: every host's is this one's.
    #[must_use]
    pub fn destination(self) -> Self {
        match self.plain() {
            Self::V4([0, 0, 0, 0]) => Self::V4([127, 0, 0, 1]),
            Self::V6(bytes) if bytes == [0; 16] => Self::V6(LOOPBACK6),
            other => other,
        }
    }

    /// Whether a socket that is bound to `self` gets what is sent to `host`: how exactly it names it.
    #[must_use]
    pub fn takes(self, host: Self, v6_only: bool) -> Option<u32> {
        match (self.plain(), host.plain()) {
            (own, host) if own == host => Some(1),
            (Self::V4([0, 0, 0, 0]), Self::V4(_)) => Some(0),
            (Self::V6(own), host) if own == [0; 16] => (!v6_only || matches!(host, Self::V6(_))).then_some(0),
            _ => None,
        }
    }

    /// Whether two sockets that are bound to these would get the same.
    #[must_use]
    pub fn overlaps(self, other: Self, v6_only: bool) -> bool {
        self.takes(other, v6_only).is_some() || other.takes(self, v6_only).is_some()
    }
}

/// ::1
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

impl Address {
    /// Reads what a program wrote for a socket of `domain`.
    ///
    /// # Errors
    /// EINVAL: too short. EAFNOSUPPORT: of another family.
    pub fn read(bytes: &[u8], domain: u16) -> Result<Self, Errno> {
        let [a, b, rest @ ..] = bytes else { return Err(Errno::EINVAL) };
        let found = u16::from_le_bytes([*a, *b]);
        if found == family::UNSPEC && domain != family::UNIX {
            return Ok(Self::None);
        }
        if found != domain {
            return Err(if domain == family::UNIX { Errno::EINVAL } else { Errno::EAFNOSUPPORT });
        }
        match domain {
            family::UNIX => Self::read_unix(rest),
            family::INET => match rest {
                [a, b, w, x, y, z, _, _, _, _, _, _, _, _, ..] => {
                    Ok(Self::Internet(Host::V4([*w, *x, *y, *z]), u16::from_be_bytes([*a, *b])))
                }
                _ => Err(Errno::EINVAL),
            },
            _ => {
                let (Some([a, b]), Some(host)) =
                    (rest.first_chunk(), rest.get(6..).and_then(|rest| rest.first_chunk()))
                else {
                    return Err(Errno::EINVAL);
                };
                Ok(Self::Internet(Host::V6(*host), u16::from_be_bytes([*a, *b])))
            }
        }
    }

    fn read_unix(name: &[u8]) -> Result<Self, Errno> {
        if name.len() > MAX_UNIX {
            return Err(Errno::EINVAL);
        }
        Ok(match name {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            path => Self::Path(path.split(|byte| *byte == 0).next().unwrap_or(path).to_vec()),
        })
    }

    /// As a program reads it from a socket of `domain`.
    #[must_use]
    pub fn bytes(&self, domain: u16) -> Vec<u8> {
        let mut bytes = Vec::from(domain.to_le_bytes());
        match self {
            Self::None | Self::Unnamed if domain == family::UNIX => {}
            Self::None | Self::Unnamed => bytes.resize(if domain == family::INET { 16 } else { 28 }, 0),
            Self::Path(path) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Self::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
            Self::Internet(host, port) => {
                bytes.extend_from_slice(&port.to_be_bytes());
                match host.shown(domain) {
                    Host::V4(host) => {
                        bytes.extend_from_slice(&host);
                        bytes.extend_from_slice(&[0; 8]);
                    }
                    Host::V6(host) => {
                        bytes.extend_from_slice(&[0; 4]);
                        bytes.extend_from_slice(&host);
                        bytes.extend_from_slice(&[0; 4]);
                    }
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (domain, address) in [
            (family::UNIX, Address::Unnamed),
            (family::UNIX, Address::Path(b"/tmp/x".to_vec())),
            (family::UNIX, Address::Abstract(b"a\0b".to_vec())),
            (family::INET, Address::Internet(Host::V4([127, 0, 0, 1]), 8080)),
            (family::INET6, Address::Internet(Host::V6(LOOPBACK6), 1)),
        ] {
            assert_eq!(Address::read(&address.bytes(domain), domain), Ok(address));
        }
        assert_eq!(Address::read(&[2, 0, 0, 80, 127, 0, 0, 1], family::INET), Err(Errno::EINVAL));
        assert_eq!(Address::read(&[9, 0, 0, 0], family::INET), Err(Errno::EAFNOSUPPORT));
        assert_eq!(Address::read(&[], family::UNIX), Err(Errno::EINVAL));
    }

    #[test]
    fn who_gets_what() {
        let (any4, any6) = (Host::V4([0; 4]), Host::V6([0; 16]));
        let here = Host::V4([127, 0, 0, 1]);
        assert_eq!(any4.takes(here, false), Some(0));
        assert_eq!(here.takes(here.shown(family::INET6), false), Some(1));
        assert_eq!(any6.takes(here, false), Some(0));
        assert_eq!(any6.takes(here, true), None);
        assert_eq!(here.takes(Host::V4([127, 0, 0, 2]), false), None);
        assert!(any4.overlaps(here, false) && here.overlaps(any4, false));
    }
}
