//! Patterns for socket addresses.
//!
//! | a pattern | stands for |
//! |---|---|
//! | `127.0.0.1`, `10.0.0.0/8` | an IPv4 address, or a network of them; also written as IPv6 (`::ffff:127.0.0.1`) |
//! | `[::1]`, `[fe80::/10]` | the same of IPv6 |
//! | `example.org` | every address that the policy's `[hosts]` has for the name |
//! | `*` | every IPv4 and IPv6 address |
//! | any of these and `:80`, `:8000-8999`, `:*` | with a port, a range of ports, any port; without, any port |
//! | `unix:/run/**` | a Unix socket that is a file, by a glob for paths ([`crate::glob`]); one with a `..` in it matches none |
//! | `unix:\@name*` | a Unix socket that is a file whose name begins so |
//! | `unix:@name*` | a Unix socket with an abstract name, by a glob for texts; `unix:@` asks for a free name |
//! | `AF_NETLINK`, `family:16` | every address of a family, by its name or number |

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linux_raw_sys::net::{AF_INET, AF_INET6, AF_UNIX};

use super::{FAMILY, SocketAddress, UNIX};
use crate::glob::{GlobSet, Subject};
use crate::symbols;

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// Not an address, a network or a name.
    Host,
    /// A network with bits behind its prefix, or with a prefix that is too long.
    Network,
    /// Not a port or a range of ports.
    Port,
    /// No family.
    Family,
    /// The glob of a Unix socket is none.
    Glob(crate::glob::GlobError),
    /// A name that stands for no address.
    Unresolved,
}

impl BadAddress {
    /// What to tell the author.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Host => {
                "this is no address; write 127.0.0.1, 10.0.0.0/8, [::1], example.org or *, each with or without :PORT or :LOW-HIGH, or unix:/path, unix:@name, or a family such as AF_NETLINK"
            }
            Self::Network => "this is no network; write its first address and how many bits count, as in 10.0.0.0/8",
            Self::Port => "this is no port; write a number from 0 to 65535, a range such as 8000-8999, or *",
            Self::Family => "this is no address family; write a name such as AF_NETLINK, or family: and a number",
            Self::Glob(error) => error.text(),
            Self::Unresolved => {
                "there is no address for this host name: it is not in `[hosts]`, or did not resolve where the policy was read"
            }
        }
    }
}

/// Names of hosts, and what they stand for.
pub(crate) type Hosts = Vec<(String, Vec<IpAddr>)>;

/// Addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Every one.
    Any,
    /// Those whose bits under the mask are these.
    V4 {
        first: u32,
        mask: u32,
    },
    V6 {
        first: u128,
        mask: u128,
    },
}

impl Network {
    fn of(first: IpAddr, bits: Option<u32>) -> Option<Self> {
        let network = match first {
            IpAddr::V4(first) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.unwrap_or(32))?).unwrap_or(0);
                Self::V4 { first: first.to_bits(), mask }
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits.unwrap_or(128))?).unwrap_or(0);
                Self::V6 { first: first.to_bits(), mask }
            }
        };
        let is_first = match network {
            Self::Any => true,
            Self::V4 { first, mask } => first & !mask == 0,
            Self::V6 { first, mask } => first & !mask == 0,
        };
        is_first.then_some(network)
    }

    fn holds(self, host: IpAddr) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::V4 { first, mask }, IpAddr::V4(host)) => host.to_bits() & mask == first,
            (Self::V6 { first, mask }, IpAddr::V6(host)) => host.to_bits() & mask == first,
            _ => false,
        }
    }
}

/// Hosts and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    network: Network,
    low: u16,
    high: u16,
}

/// Patterns of which one has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressSet {
    places: Vec<Place>,
    families: Vec<u16>,
    paths: GlobSet,
    names: GlobSet,
}

impl AddressSet {
    /// The set of these patterns.
    ///
    /// # Errors
    /// The index of the first that is none, and why.
    pub(crate) fn new(patterns: &[&str], hosts: &Hosts) -> Result<Self, (usize, BadAddress)> {
        let (mut places, mut families) = (Vec::new(), Vec::new());
        for (index, pattern) in patterns.iter().enumerate() {
            let mut add = || match Pattern::of(pattern)? {
                Pattern::Path(_) | Pattern::Abstract(_) => Ok(()),
                Pattern::Family(family) => {
                    families.push(family);
                    Ok(())
                }
                Pattern::Place(place) => {
                    places.push(place);
                    Ok(())
                }
                Pattern::Named { name, low, high } => {
                    let known = hosts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                    let found = known.map_or(&[][..], |(_, found)| found);
                    let place =
                        |host: &IpAddr| Some(Place { network: Network::of(host.to_canonical(), None)?, low, high });
                    places.extend(found.iter().filter_map(place));
                    if found.is_empty() { Err(BadAddress::Unresolved) } else { Ok(()) }
                }
            };
            add().map_err(|why| (index, why))?;
        }
        let paths = globs(patterns, Subject::Path, |pattern| match pattern {
            Pattern::Path(glob) => Some(glob),
            _ => None,
        })?;
        let names = globs(patterns, Subject::Text, |pattern| match pattern {
            Pattern::Abstract(glob) => Some(glob),
            _ => None,
        })?;
        Ok(Self { places, families, paths, names })
    }

    /// Whether one of the patterns matches.
    pub(crate) fn matches(&self, address: SocketAddress<'_>) -> bool {
        let family = match address {
            SocketAddress::Internet(host, port) => {
                let fits = |place: &Place| (place.low..=place.high).contains(&port) && place.network.holds(host);
                if self.places.iter().any(fits) {
                    return true;
                }
                if host.is_ipv4() { AF_INET } else { AF_INET6 }
            }
            SocketAddress::Path(path) => {
                if !path.split(|byte| *byte == b'/').any(|part| part == b"..") && self.paths.matches(path) {
                    return true;
                }
                AF_UNIX
            }
            SocketAddress::Abstract(name) => {
                if self.names.matches(name) {
                    return true;
                }
                AF_UNIX
            }
            SocketAddress::Family(family) => u32::from(family),
        };
        self.families.iter().any(|known| u32::from(*known) == family)
    }
}

/// The set of those globs that `wanted` picks.
fn globs<'p>(
    patterns: &[&'p str],
    subject: Subject,
    wanted: impl Fn(Pattern<'p>) -> Option<&'p str>,
) -> Result<GlobSet, (usize, BadAddress)> {
    let picked = patterns.iter().enumerate().filter_map(|(index, text)| {
        let glob = Pattern::of(text).ok().and_then(&wanted)?;
        Some((index, glob))
    });
    let (places, globs): (Vec<usize>, Vec<&str>) = picked.unzip();
    let place = |index: usize| places.get(index).copied().unwrap_or(0);
    GlobSet::new(globs.into_iter(), subject).map_err(|(index, error)| (place(index), BadAddress::Glob(error)))
}

/// A pattern, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern<'p> {
    Path(&'p str),
    Abstract(&'p str),
    Family(u16),
    Place(Place),
    Named { name: &'p str, low: u16, high: u16 },
}

impl<'p> Pattern<'p> {
    fn of(text: &'p str) -> Result<Self, BadAddress> {
        if let Some(glob) = text.strip_prefix(UNIX) {
            return Ok(glob.strip_prefix('@').map_or(Self::Path(glob), Self::Abstract));
        }
        if let Some(number) = text.strip_prefix(FAMILY) {
            return number.parse().map(Self::Family).map_err(|_| BadAddress::Family);
        }
        if text.starts_with("AF_") {
            let known = symbols::FAMILY.value(text).and_then(|family| u16::try_from(family).ok());
            return known.map(Self::Family).ok_or(BadAddress::Family);
        }
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or(BadAddress::Host)?,
            None if text.matches(':').count() > 1 => return Err(BadAddress::Host),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let (low, high) = match rest.strip_prefix(':') {
            Some(ports) => ports_of(ports)?,
            None if rest.is_empty() => (0, u16::MAX),
            None => return Err(BadAddress::Host),
        };
        let place = |network| Self::Place(Place { network, low, high });
        if text.starts_with('[') {
            let (first, bits) = network_of(host)?;
            let first: Ipv6Addr = first.parse().map_err(|_| BadAddress::Host)?;
            // An address of IPv4 is compared as one.
            let (first, bits) = match first.to_ipv4_mapped() {
                Some(first) => {
                    (first.into(), bits.map(|bits| bits.checked_sub(96).ok_or(BadAddress::Network)).transpose()?)
                }
                None => (first.into(), bits),
            };
            return Network::of(first, bits).map(place).ok_or(BadAddress::Network);
        }
        if host == "*" {
            return Ok(place(Network::Any));
        }
        let (first, bits) = network_of(host)?;
        match first.parse::<Ipv4Addr>() {
            Ok(first) => Network::of(first.into(), bits).map(place).ok_or(BadAddress::Network),
            Err(_) if bits.is_none() && is_name(host) => Ok(Self::Named { name: host, low, high }),
            Err(_) => Err(BadAddress::Host),
        }
    }
}

/// The first address of a network, and how many bits count if that is said.
fn network_of(host: &str) -> Result<(&str, Option<u32>), BadAddress> {
    let Some((first, bits)) = host.split_once('/') else { return Ok((host, None)) };
    let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = bits.parse().ok().filter(|_| is_number).ok_or(BadAddress::Network)?;
    Ok((first, Some(bits)))
}

fn ports_of(text: &str) -> Result<(u16, u16), BadAddress> {
    if text == "*" {
        return Ok((0, u16::MAX));
    }
    let port = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number).ok_or(BadAddress::Port)
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (port(low)?, port(high)?);
    if low <= high { Ok((low, high)) } else { Err(BadAddress::Port) }
}

/// Whether this could be the name of a host, and not an address with a mistake in it.
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(good)
        && !is_number
}

/// The name of a host in a pattern, if it has one.
pub(crate) fn host_of(pattern: &str) -> Option<&str> {
    match Pattern::of(pattern) {
        Ok(Pattern::Named { name, .. }) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sockaddr, v4, v6};
    use super::*;
    use alloc::vec;

    fn matches(pattern: &str, bytes: &[u8]) -> bool {
        let hosts = vec![(String::from("Here.test"), vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])];
        let set = AddressSet::new(&[pattern], &hosts).unwrap_or_else(|why| panic!("{pattern}: {why:?}"));
        set.matches(SocketAddress::read(bytes).unwrap())
    }

    #[test]
    fn hosts_and_ports() {
        for (pattern, yes, no) in [
            ("127.0.0.0/8:80", v4([127, 9, 9, 9], 80), v4([127, 9, 9, 9], 81)),
            ("127.0.0.0/8:80", v6("::ffff:127.0.0.1", 80), v6("::1", 80)),
            ("10.1.2.3", v4([10, 1, 2, 3], 0), v4([10, 1, 2, 2], 0)),
            ("0.0.0.0/0:1-3", v4([1, 2, 3, 4], 3), v4([1, 2, 3, 4], 4)),
            ("0.0.0.0/0", v4([9; 4], 1), v6("::9", 1)),
            ("[fe80::/10]:5", v6("febf::1", 5), v6("fec0::1", 5)),
            ("[::/0]", v6("2001::1", 5), v4([1; 4], 5)),
            ("[::ffff:10.0.0.0/104]", v4([10, 255, 0, 0], 5), v4([11, 0, 0, 0], 5)),
            ("*:53", v6("2001::1", 53), v4([1; 4], 54)),
            ("here.test:7", v6("::1", 7), v6("::2", 7)),
            ("HERE.TEST:7", v4([127, 0, 0, 1], 7), v4([127, 0, 0, 1], 8)),
            ("AF_INET", v4([1; 4], 1), v6("::1", 1)),
            ("AF_INET", v4([1; 4], 1)[..9].to_vec(), sockaddr(AF_UNIX, b"x")),
            ("family:16", sockaddr(16, &[]), sockaddr(17, &[])),
        ] {
            assert!(matches(pattern, &yes), "{pattern}");
            assert!(!matches(pattern, &no), "not {pattern}");
        }
    }

    #[test]
    fn unix_sockets() {
        for (pattern, yes, no) in [
            ("unix:/run/**", &b"/run/a/b\0junk"[..], &b"/run/../etc/x"[..]),
            ("unix:/run/*", b"/run/a", b"/run/a/b"),
            ("unix:@dbus-*", b"\0dbus-/1", b"dbus-1"),
            ("unix:@", b"", b"\0x"),
            ("unix:\\@x", b"@x", b"\0x"),
            ("unix:**", b"/a/b", b"\0a"),
        ] {
            assert!(matches(pattern, &sockaddr(AF_UNIX, yes)), "{pattern}");
            assert!(!matches(pattern, &sockaddr(AF_UNIX, no)), "not {pattern}");
            assert!(matches("AF_UNIX", &sockaddr(AF_UNIX, no)));
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for (pattern, why) in [
            ("", BadAddress::Host),
            ("1.2.3", BadAddress::Host),
            ("1.2.3.4.5", BadAddress::Host),
            ("256.1.1.1", BadAddress::Host),
            ("::1", BadAddress::Host),
            ("[::1", BadAddress::Host),
            ("[::1]80", BadAddress::Host),
            ("[1.2.3.4]", BadAddress::Host),
            ("a b", BadAddress::Host),
            ("name/8", BadAddress::Host),
            ("10.0.0.1/8", BadAddress::Network),
            ("10.0.0.0/33", BadAddress::Network),
            ("10.0.0.0/+8", BadAddress::Network),
            ("[::ffff:0.0.0.0/95]", BadAddress::Network),
            ("[fe80::1/10]", BadAddress::Network),
            ("1.2.3.4:", BadAddress::Port),
            ("1.2.3.4:65536", BadAddress::Port),
            ("1.2.3.4:9-8", BadAddress::Port),
            ("1.2.3.4:+1", BadAddress::Port),
            ("AF_WHAT", BadAddress::Family),
            ("family:x", BadAddress::Family),
            ("unix:/a**", BadAddress::Glob(crate::glob::GlobError::BadDoubleStar)),
            ("nowhere.test:80", BadAddress::Unresolved),
        ] {
            assert_eq!(AddressSet::new(&["*", pattern], &Vec::new()), Err((1, why)), "{pattern}");
        }
    }
}
