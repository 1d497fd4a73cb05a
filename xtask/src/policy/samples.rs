//! What patterns match: some texts, addresses and bytes for each, to ask policies about. Where two policies differ in what a pattern says, one of
//! these is most likely to show it; a pattern without wildcards is exact.
use super::{sockaddr, values};
use policy::glob::{GlobSet, Subject};
use std::net::IpAddr;
use toml::Value;

const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];
/// What stands for `*`, for `**/` and behind a `/` for `**`, in that order.
const FILLINGS: [[&str; 3]; 3] = [["x", "x/", "x"], ["xy", "x/y/", "x/y"], ["", "", ""]];
/// Ports of a pattern that names none.
const PORTS: (u16, u16) = (1, u16::MAX);

/// Names of hosts and what they stand for.
pub(super) type Hosts = Vec<(String, Vec<IpAddr>)>;

/// Whether a glob stands for one text only, and is that.
pub(super) fn is_literal(pattern: &str) -> bool {
    !pattern.contains(SPECIAL)
}

/// Texts that a glob matches; the only one, if there is but one.
pub(super) fn of_glob(pattern: &str, subject: Subject) -> Vec<Vec<u8>> {
    if is_literal(pattern) {
        return vec![pattern.as_bytes().to_vec()];
    }
    let Ok(set) = GlobSet::new(std::iter::once(pattern), subject) else { return Vec::new() };
    let mut texts: Vec<Vec<u8>> = FILLINGS.iter().map(|filling| filled(pattern, filling)).collect();
    texts.retain(|text| set.matches(text));
    texts.dedup();
    texts
}

fn filled(pattern: &str, [star, folders, below]: &[&str; 3]) -> Vec<u8> {
    let (mut text, mut rest) = (Vec::new(), pattern);
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '*' => match after.strip_prefix('*').map(|after| (after, after.strip_prefix('/'))) {
                Some((_, Some(after))) => {
                    text.extend_from_slice(folders.as_bytes());
                    after
                }
                Some((after, None)) => {
                    if below.is_empty() && text.len() > 1 && text.last() == Some(&b'/') {
                        text.pop();
                    }
                    text.extend_from_slice(below.as_bytes());
                    after
                }
                None => {
                    text.extend_from_slice(star.as_bytes());
                    after
                }
            },
            '?' => {
                text.push(b'x');
                after
            }
            '[' => {
                let (byte, after) = one_of(after);
                text.push(byte);
                after
            }
            '\\' => {
                let escaped = after.chars().next();
                escaped.inspect(|escaped| text.extend_from_slice(escaped.to_string().as_bytes()));
                &after[escaped.map_or(0, char::len_utf8)..]
            }
            other => {
                text.extend_from_slice(other.to_string().as_bytes());
                after
            }
        };
    }
    text
}

/// A byte that a set matches, and what follows the set. `rest`: behind its `[`.
fn one_of(rest: &str) -> (u8, &str) {
    // The set may begin with `]`, which then does not end it.
    let end = rest.char_indices().skip(1).find(|(at, byte)| *byte == ']' && rest[..*at] != *"!").map(|(at, _)| at);
    let end = end.unwrap_or(rest.len());
    let set = format!("[{}]", &rest[..end]);
    let fits = GlobSet::new(std::iter::once(set.as_str()), Subject::Path);
    let byte = fits.ok().and_then(|fits| (b'!'..=b'~').rev().find(|byte| fits.matches(&[*byte])));
    (byte.unwrap_or(b'x'), rest.get(end + 1..).unwrap_or(""))
}

/// Addresses that a pattern matches, as programs pass them.
pub(super) fn of_address(pattern: &str, hosts: &Hosts) -> Vec<Vec<u8>> {
    let texts: Vec<String> = if let Some(name) = pattern.strip_prefix("unix:@") {
        globbed("unix:@", name, Subject::Text)
    } else if let Some(path) = pattern.strip_prefix("unix:") {
        globbed("unix:", path, Subject::Path)
    } else if pattern.starts_with("AF_") || pattern.starts_with("family:") {
        vec![pattern.to_owned()]
    } else {
        internet(pattern, hosts)
    };
    texts.iter().filter_map(|text| sockaddr::of_text(text.as_bytes())).collect()
}

fn globbed(prefix: &str, glob: &str, subject: Subject) -> Vec<String> {
    of_glob(glob, subject).iter().map(|text| prefix.to_owned() + &String::from_utf8_lossy(text)).collect()
}

fn internet(pattern: &str, hosts: &Hosts) -> Vec<String> {
    let split = match pattern.strip_prefix('[') {
        Some(inner) => inner.split_once(']'),
        None => Some(pattern.split_at(pattern.find(':').unwrap_or(pattern.len()))),
    };
    let Some((host, port)) = split else { return Vec::new() };
    let (low, high) = match port.strip_prefix(':') {
        None | Some("*") => PORTS,
        Some(port) => {
            let (low, high) = port.split_once('-').unwrap_or((port, port));
            (low.parse().unwrap_or(PORTS.0), high.parse().unwrap_or(PORTS.1))
        }
    };
    let addresses = network(host).unwrap_or_else(|| {
        let known = hosts.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
        known.map_or_else(Vec::new, |(_, addresses)| addresses.clone())
    });
    let with_ports = addresses.iter().flat_map(|host| [low, high].map(|port| (*host, port)));
    let mut texts: Vec<String> = with_ports.map(|place| std::net::SocketAddr::from(place).to_string()).collect();
    texts.dedup();
    texts
}

/// The first and the last address of a network, or the only one; some for every one.
fn network(host: &str) -> Option<Vec<IpAddr>> {
    if host == "*" {
        return Some(vec![[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()]);
    }
    let (first, bits) = host.split_once('/').map_or((host, None), |(first, bits)| (first, bits.parse::<u32>().ok()));
    let last = |first: IpAddr, bits: u32| match first {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | u32::MAX.checked_shr(bits).unwrap_or(0)).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() | u128::MAX.checked_shr(bits).unwrap_or(0)).into()),
    };
    let first: IpAddr = first.parse().ok()?;
    Some(match bits {
        Some(bits) => vec![first, last(first, bits)],
        None => vec![first],
    })
}

/// Bytes that a pattern of `prefix` or `contains` is in: at their beginning, and further on.
pub(super) fn of_content(pattern: &Value) -> Vec<Vec<u8>> {
    let bytes = match pattern {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Table(table) => table.get("hex").and_then(Value::as_str).and_then(values::hexadecimal),
        _ => None,
    };
    bytes.map_or_else(Vec::new, |bytes| {
        let further_on = [b"-", bytes.as_slice()].concat();
        vec![bytes, further_on]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_globs_match_and_differ() {
        for (pattern, wanted) in [
            ("/etc/shadow", &["/etc/shadow"][..]),
            ("/etc/shadow*", &["/etc/shadowx", "/etc/shadowxy", "/etc/shadow"]),
            ("/root/**", &["/root/x", "/root/x/y", "/root"]),
            ("/usr/**/bin", &["/usr/x/bin", "/usr/x/y/bin", "/usr/bin"]),
            ("**/*.key", &["x/x.key", "x/y/xy.key", ".key"]),
            ("/a\\*?[b-d]", &["/a*xd"]),
            ("/[!a-z]", &["/~"]),
            ("/**", &["/x", "/x/y", "/"]),
        ] {
            let samples = of_glob(pattern, Subject::Path);
            let samples: Vec<&str> = samples.iter().map(|sample| str::from_utf8(sample).unwrap()).collect();
            assert_eq!(samples, wanted, "{pattern}");
        }
    }

    #[test]
    fn samples_of_addresses() {
        let hosts = vec![("a.example".to_owned(), vec![[10, 0, 0, 1].into()])];
        let texts = |pattern: &str| {
            let addresses = of_address(pattern, &hosts);
            let text = |address: &Vec<u8>| {
                String::from_utf8(policy::address::SocketAddress::read(address).unwrap().text()).unwrap()
            };
            addresses.iter().map(text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(texts("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(texts("10.0.0.0/8:1-9"), "10.0.0.0:1 10.0.0.0:9 10.255.255.255:1 10.255.255.255:9");
        assert_eq!(texts("[fe80::/16]:5"), "[fe80::]:5 [fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:5");
        assert_eq!(texts("a.example:443"), "10.0.0.1:443");
        assert_eq!(texts("b.example"), "");
        assert_eq!(texts("unix:/run/**"), "unix:/run/x unix:/run/x/y unix:/run");
        assert_eq!(texts("unix:@a"), "unix:@a");
        assert_eq!(texts("AF_NETLINK"), "AF_NETLINK");
        assert!(texts("*").starts_with("192.0.2.1:1 192.0.2.1:65535 [2001:db8::1]:1"));
    }
}
