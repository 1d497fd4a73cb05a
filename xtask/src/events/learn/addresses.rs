//! Which addresses a run named, as `[network]` of the policy that is learned from it.
//!
//! Ports that the system chooses are others the next time, and are one range ([`CHOSEN`]); a host of which more than [`PORTS`] others were named has any port, and
//! beyond [`HOSTS`] hosts it is any of them. Names of Unix sockets are generalised as those of files are. Where a socket listened no call says: what was bound to the same
//! descriptor is taken, or, where nothing was that is known of, all that was bound and what is listened at without it. If the lists would refuse anything that was seen,
//! or that is not known, there are none, and a comment says why.
use super::super::data::{Bytes, Data};
use super::super::event::Call;
use super::names::guessed_name;
use super::paths::Paths;
use crate::policy::sockaddr;
use policy::address::SocketAddress;
use policy::signature::{self, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use toml::Value;

/// Ports that Linux, and the personality, choose (/proc/sys/net/ipv4/ip_local_port_range).
const CHOSEN: std::ops::RangeInclusive<u16> = 32768..=60999;
/// Ports of a host, and hosts, that are named one by one.
const PORTS: usize = 8;
const HOSTS: usize = 16;
/// Different addresses that are kept.
const MAX_ADDRESSES: usize = 4096;
/// The abstract names that it chooses: so many digits.
const CHOSEN_NAME: &str = "?????";
/// Calls that say where to.
const DESTINED: [&str; 4] = ["connect", "sendto", "sendmsg", "sendmmsg"];

/// Addresses of a run so far, as `struct sockaddr`.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Where it connected or sent to, by call.
    destinations: BTreeSet<(String, Vec<u8>)>,
    bound: BTreeSet<Vec<u8>>,
    /// What descriptors of a sandbox are bound to, as far as calls tell. Those of several processes are taken for one another's: what one closes is closed.
    open: BTreeMap<(u32, u64), BTreeSet<Vec<u8>>>,
    /// What those were bound to at which it listened.
    heard: BTreeSet<Vec<u8>>,
    /// It listened at one of which nothing is known.
    unbound: bool,
    /// A call was made that the lists are about.
    any: bool,
    /// Why lists would not hold all.
    unknown: Option<&'static str>,
}

/// The lists of `[network]`.
struct Lists {
    connect: BTreeSet<String>,
    bind: BTreeSet<String>,
    listen: BTreeSet<String>,
}

impl Addresses {
    pub(super) fn add(&mut self, sandbox: u32, call: &Call) {
        let name = call.name.as_deref().unwrap_or_default();
        let [first, second, third, ..] = call.args.map(|word| word.0 & u64::from(u32::MAX));
        match name {
            "close" => drop(self.open.remove(&(sandbox, first))),
            "dup2" | "dup3" => drop(self.open.remove(&(sandbox, second))),
            "close_range" | "execve" | "execveat" => self.open.retain(|(other, _), _| *other != sandbox),
            "listen" => match self.open.get(&(sandbox, first)) {
                Some(bound) => self.heard.extend(bound.iter().cloned()),
                None => self.unbound = true,
            },
            "sendmmsg" if third > 1 => {
                self.unknown = Some("of several messages in one call only the first one's is known");
            }
            _ => {}
        }
        self.any |= DESTINED.contains(&name) || ["bind", "listen"].contains(&name);
        for address in addresses_of(call) {
            if self.bound.len() + self.destinations.len() >= MAX_ADDRESSES {
                self.unknown = Some("there were too many");
            } else if name == "bind" {
                self.open.entry((sandbox, first)).or_default().insert(address.clone());
                self.bound.insert(address);
            } else if DESTINED.contains(&name) {
                self.destinations.insert((name.to_owned(), address));
            }
        }
    }

    /// How many addresses there are.
    pub(super) fn len(&self) -> usize {
        let named = self.destinations.iter().map(|(_, address)| address).chain(&self.bound);
        named.collect::<BTreeSet<_>>().len()
    }

    /// The section; nothing, where no call was made that it would be about.
    pub(super) fn policy(&self, paths: &Paths) -> String {
        if !self.any {
            return String::new();
        }
        let lists = match self.unknown {
            Some(why) => Err(why),
            None => self.lists(paths).ok_or("one cannot be told from others by a pattern"),
        };
        let text = lists.map(|lists| lists.text());
        match text.and_then(|text| if self.holds(&text) { Ok(text) } else { Err("they would not hold the run") }) {
            Ok(text) => text,
            Err(why) => format!("\n# Any address that calls name is allowed: {why}.\n"),
        }
    }

    fn lists(&self, paths: &Paths) -> Option<Lists> {
        let of_path = |path: &[u8], address: &[u8]| paths.of_socket(path, self.bound.contains(address));
        let all = |addresses: &BTreeSet<&[u8]>, purpose| patterns(addresses, purpose, &of_path);
        // To undo a connection is always allowed.
        let is_undone = |call: &str, address: &[u8]| call == "connect" && address.starts_with(&[0, 0]);
        let destinations =
            self.destinations.iter().filter(|(call, address)| !is_undone(call, address)).map(|(_, at)| at.as_slice());
        let mut listen = all(&slices(if self.unbound { &self.bound } else { &self.heard }), Purpose::Listen)?;
        if self.unbound {
            listen.extend(["0.0.0.0:0", "[::]:0"].map(str::to_owned));
        }
        let connect = all(&destinations.collect(), Purpose::Connect)?;
        Some(Lists { connect, bind: all(&slices(&self.bound), Purpose::Bind)?, listen })
    }

    /// Whether a policy with this section lets everything be that was seen.
    fn holds(&self, section: &str) -> bool {
        let text = format!("version = 1\ndefault = \"allow\"\n{section}");
        let Ok(policy) = policy::parse("learned", &text) else { return false };
        let allows = |call: &str, address: &[u8]| {
            let mut pointed = policy::Pointed::NOTHING;
            pointed.set_address(address);
            proto::syscalls::by_name(call).is_some_and(|call| {
                policy.about(call.number.into()).judge(&[0; 6], &pointed).action == policy::Action::Allow
            })
        };
        self.destinations.iter().all(|(call, address)| allows(call, address))
            && self.bound.iter().all(|address| allows("bind", address))
            && (!self.unbound && self.heard.is_empty() || allows("listen", &[]))
    }
}

fn slices(addresses: &BTreeSet<Vec<u8>>) -> BTreeSet<&[u8]> {
    addresses.iter().map(Vec::as_slice).collect()
}

impl Lists {
    fn text(&self) -> String {
        let mut text = "\n# Addresses that were named; all others are refused.\n[network]\n".to_owned();
        for (key, patterns) in [("connect", &self.connect), ("bind", &self.bind), ("listen", &self.listen)] {
            let patterns: Vec<String> = patterns.iter().map(|one| Value::from(one.as_str()).to_string()).collect();
            text += &format!("{key} = [{}]\n", patterns.join(", "));
        }
        text
    }
}

/// The addresses that a call names.
fn addresses_of(call: &Call) -> impl Iterator<Item = Vec<u8>> {
    let kinds = signature::of(call.number).map_or(&[][..], |signature| signature.arguments);
    let names_one = |data: &&Data| {
        matches!(kinds.get(usize::from(data.argument)), Some(Kind::Address(_) | Kind::Message | Kind::Messages(_)))
    };
    call.data.iter().filter(|data| !data.sent).filter(names_one).filter_map(|data| match data.bytes.as_slice() {
        [Bytes::Address(text)] => sockaddr::of_text(text.as_bytes()),
        // One with a name that is no text.
        [bytes @ Bytes::Hex(_)] => bytes.bytes(),
        _ => None,
    })
}

/// What an address is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Connect,
    Bind,
    Listen,
}

/// The patterns that match these addresses; nothing, if one has none.
fn patterns(
    addresses: &BTreeSet<&[u8]>,
    purpose: Purpose,
    of_path: &dyn Fn(&[u8], &[u8]) -> String,
) -> Option<BTreeSet<String>> {
    let mut hosts: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for bytes in addresses {
        let address = SocketAddress::read(bytes)?;
        match if purpose == Purpose::Connect { address.destination() } else { address } {
            // What is bound to any port has one when it listens.
            SocketAddress::Internet(host, 0) if purpose == Purpose::Listen => {
                hosts.entry(host).or_default().insert(*CHOSEN.start());
            }
            SocketAddress::Internet(host, port) => drop(hosts.entry(host).or_default().insert(port)),
            SocketAddress::Path(path) if path.split(|byte| *byte == b'/').any(|part| part == b"..") => return None,
            SocketAddress::Path(path) => {
                let pattern = of_path(path, bytes);
                let sign = if pattern.starts_with('@') { "\\" } else { "" };
                found.insert(format!("unix:{sign}{pattern}"));
            }
            SocketAddress::Abstract(name) => drop(found.insert(of_name(name, purpose))),
            // Of a family that has patterns these are addresses of a wrong length.
            SocketAddress::Family(1 | 2 | 10) => return None,
            family @ SocketAddress::Family(_) => drop(found.insert(String::from_utf8(family.text()).ok()?)),
        }
    }
    found.extend(of_hosts(&hosts));
    Some(found)
}

/// The pattern for an abstract name; an empty one is to be chosen by the system.
fn of_name(name: &[u8], purpose: Purpose) -> String {
    let is_chosen =
        name.len() == CHOSEN_NAME.len() && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let pattern = match name {
        [] if purpose == Purpose::Listen => CHOSEN_NAME.to_owned(),
        _ if is_chosen => CHOSEN_NAME.to_owned(),
        name => guessed_name(name),
    };
    format!("unix:@{pattern}")
}

fn of_hosts(hosts: &BTreeMap<IpAddr, BTreeSet<u16>>) -> BTreeSet<String> {
    if hosts.len() > HOSTS {
        let all: BTreeSet<u16> = hosts.values().flatten().copied().collect();
        return of_ports("*", &all).into_iter().collect();
    }
    let text = |host: &IpAddr| if host.is_ipv4() { host.to_string() } else { format!("[{host}]") };
    hosts.iter().flat_map(|(host, ports)| of_ports(&text(host), ports)).collect()
}

fn of_ports(host: &str, ports: &BTreeSet<u16>) -> Vec<String> {
    let (chosen, fixed): (Vec<u16>, Vec<u16>) = ports.iter().partition(|port| CHOSEN.contains(*port));
    if fixed.len() > PORTS {
        return vec![format!("{host}:*")];
    }
    let range = (!chosen.is_empty()).then(|| format!("{host}:{}-{}", CHOSEN.start(), CHOSEN.end()));
    fixed.iter().map(|port| format!("{host}:{port}")).chain(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::What;
    use crate::events::learn::tests::call;

    fn named(name: &str, fd: u64, address: &str) -> Call {
        let What::Call(mut call) = call(name, [fd, 0, 0, 0, 0, 0]).what else { panic!("a call") };
        let argument = match name {
            "sendto" => 4,
            _ => 1,
        };
        let bytes = vec![Bytes::Address(address.into())];
        call.data = vec![Data { argument, bytes, whole: true, sent: false }];
        call
    }

    fn plain(name: &str, args: [u64; 6]) -> Call {
        let What::Call(call) = call(name, args).what else { panic!("a call") };
        call
    }

    fn learned(calls: &[Call]) -> String {
        let mut addresses = Addresses::default();
        calls.iter().for_each(|call| addresses.add(1, call));
        let text = addresses.policy(&Paths::default());
        assert!(policy::parse("p", &format!("version = 1\n{text}")).is_ok(), "{text}");
        text.lines().skip(3).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn what_was_named_is_listed_and_nothing_else() {
        let text = learned(&[
            named("connect", 3, "0.0.0.0:80"),
            named("connect", 3, "127.0.0.1:40000"),
            named("connect", 3, "AF_UNSPEC"),
            named("sendto", 4, "[::1]:53"),
            named("sendmsg", 4, "unix:/run/x[1]"),
            named("connect", 4, "unix:@listener-4711"),
            named("connect", 4, "unix:@0000a"),
            named("connect", 4, "unix:\\@file"),
            named("bind", 5, "0.0.0.0:8080"),
            named("bind", 6, "127.0.0.1:0"),
            named("bind", 7, "unix:/tmp/sock"),
            named("bind", 8, "unix:@"),
            named("bind", 9, "AF_NETLINK"),
            plain("listen", [6, 5, 0, 0, 0, 0]),
            plain("listen", [7, 5, 0, 0, 0, 0]),
            plain("listen", [8, 5, 0, 0, 0, 0]),
            plain("read", [0; 6]),
        ]);
        let wanted = r#"connect = ["127.0.0.1:32768-60999", "127.0.0.1:80", "[::1]:53", 'unix:/run/x\[1]', "unix:@?????", "unix:@listener-*", 'unix:\@file']
bind = ["0.0.0.0:8080", "127.0.0.1:0", "AF_NETLINK", "unix:/tmp/*", "unix:@"]
listen = ["127.0.0.1:32768-60999", "unix:/tmp/*", "unix:@?????"]
"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn many_are_taken_together() {
        let ports: Vec<Call> = (1..=9).map(|port| named("connect", 3, &format!("10.0.0.1:{port}"))).collect();
        assert!(learned(&ports).starts_with("connect = [\"10.0.0.1:*\"]\n"));
        let hosts: Vec<Call> = (1..=17).map(|host| named("connect", 3, &format!("10.0.0.{host}:53"))).collect();
        assert!(learned(&hosts).starts_with("connect = [\"*:53\"]\n"));
    }

    #[test]
    fn what_was_not_bound_may_listen_where_nobody_said() {
        let text = learned(&[named("bind", 5, "127.0.0.1:80"), plain("listen", [6, 5, 0, 0, 0, 0])]);
        assert!(text.ends_with("listen = [\"0.0.0.0:0\", \"127.0.0.1:80\", \"[::]:0\"]\n"), "{text}");
        // A descriptor that was bound is another one by then.
        for between in [plain("close", [5; 6]), plain("dup2", [9, 5, 0, 0, 0, 0]), plain("execve", [0; 6])] {
            let text = learned(&[named("bind", 5, "127.0.0.1:80"), between, plain("listen", [5, 5, 0, 0, 0, 0])]);
            assert!(text.contains("\"0.0.0.0:0\""), "{text}");
        }
        // Who sends to nobody in particular needs no address.
        assert_eq!(learned(&[plain("sendmsg", [3; 6])]), "connect = []\nbind = []\nlisten = []\n");
        assert_eq!(learned(&[plain("read", [3; 6])]), "");
    }

    #[test]
    fn what_no_list_holds_is_not_limited() {
        let said = |calls: &[Call], why: &str| {
            let mut addresses = Addresses::default();
            calls.iter().for_each(|call| addresses.add(1, call));
            let text = addresses.policy(&Paths::default());
            assert!(text.starts_with("\n# Any address that calls name is allowed: ") && text.contains(why), "{text}");
            assert_eq!(text.lines().count(), 2);
        };
        said(&[plain("sendmmsg", [3, 8, 2, 0, 0, 0])], "only the first one's");
        said(&[named("connect", 3, "unix:../x")], "cannot be told from others");
        said(&[named("connect", 3, "AF_INET")], "cannot be told from others");
        let many: Vec<Call> =
            (0..=4096).map(|n| named("connect", 3, &format!("10.0.{}.{}:1", n / 256, n % 256))).collect();
        said(&many, "too many");
        // A name that is no text has any byte in that place.
        let mut odd = named("connect", 3, "unix:/x");
        odd.data[0].bytes = vec![Bytes::Hex("01002fff00".into())];
        assert!(learned(&[odd]).starts_with("connect = [\"unix:/?\"]"));
    }
}
