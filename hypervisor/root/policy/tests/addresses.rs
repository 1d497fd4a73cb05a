//! Conditions on socket addresses: which calls they are for, what they mean beside others, and against a model that knows nothing of masks.

mod rules;

use policy::{Action, Form, Pointed, Policy, Read, parse};
use rules::{compiled, number, rule};
use seeded::Random;

fn refused(rules: &str, line: u32, column: u32, words: &str) {
    let error = parse("p.toml", &format!("version = 1\n{rules}")).expect_err(rules);
    assert_eq!((error.line, error.column), (line, column), "{error}");
    assert!(error.message.contains(words), "{error}");
}

/// Whether this call to this `struct sockaddr` is killed.
fn killed(policy: &Policy, call: &str, address: Option<&[u8]>) -> bool {
    let mut pointed = Pointed::NOTHING;
    if let Some(address) = address {
        pointed.set_address(address);
    }
    policy.about(number(call)).judge(&[3, 1, 1, 1, 1, 1], &pointed).action == Action::Kill
}

fn v4(host: [u8; 4], port: u16) -> Vec<u8> {
    [&[2, 0][..], &port.to_be_bytes(), &host, &[0; 8]].concat()
}

fn v6(host: [u8; 16], port: u16) -> Vec<u8> {
    [&[10, 0][..], &port.to_be_bytes(), &[0; 4], &host, &[0; 4]].concat()
}

#[test]
fn every_call_with_an_address_can_be_judged_by_it() {
    let calls = ["connect", "bind", "sendto", "sendmsg", "sendmmsg"];
    let policy =
        compiled(&rule(r#""connect", "bind", "sendto", "sendmsg", "sendmmsg""#, r#"{ address = "10.0.0.0/8" }"#));
    for call in calls {
        assert!(killed(&policy, call, Some(&v4([10, 1, 2, 3], 9))), "{call}");
        assert!(!killed(&policy, call, Some(&v4([11, 1, 2, 3], 9))), "{call}");
        assert!(!killed(&policy, call, None), "{call}");
    }
    let reads = |call| policy.about(number(call)).reads();
    assert_eq!(reads("connect"), [Read { argument: 1, form: Form::Address { len: 2 } }]);
    assert_eq!(reads("sendto"), [Read { argument: 4, form: Form::Address { len: 5 } }]);
    assert_eq!(reads("sendmsg"), [Read { argument: 1, form: Form::Message { count: None } }]);
    assert_eq!(reads("sendmmsg"), [Read { argument: 1, form: Form::Message { count: Some(2) } }]);
}

#[test]
fn negated_conditions_need_an_address() {
    let policy = compiled(&rule("\"sendto\"", r#"{ address = ["127.0.0.1", "unix:/run/*"], not = true }"#));
    assert!(!killed(&policy, "sendto", None));
    assert!(!killed(&policy, "sendto", Some(&[2])));
    assert!(killed(&policy, "sendto", Some(&v4([127, 0, 0, 2], 1))));
    assert!(killed(&policy, "sendto", Some(&[16, 0])));
    assert!(killed(&policy, "sendto", Some(b"\x01\0/run/../x")), "it is not known where this leads");
    assert!(!killed(&policy, "sendto", Some(b"\x01\0/run/x")));
}

#[test]
fn the_address_of_every_host_is_this_host_where_a_call_goes() {
    let policy = compiled(&rule(r#""connect", "bind""#, r#"{ address = ["127.0.0.1", "[::1]"] }"#));
    for address in [v4([0; 4], 1), v6([0; 16], 1), v4([127, 0, 0, 1], 1)] {
        assert!(killed(&policy, "connect", Some(&address)));
    }
    assert!(!killed(&policy, "bind", Some(&v4([0; 4], 1))));
}

#[test]
fn places_of_mistakes() {
    refused(&rule("\"read\"", r#"{ address = "*" }"#), 5, 9, "`read` is passed no socket address");
    refused(&rule("\"connect\"", r#"{ address = ["*", "1.2.3"] }"#), 5, 27, "this is no address");
    refused(&rule("\"connect\"", r#"{ address = "10.0.0.1/8" }"#), 5, 21, "this is no network");
    refused(&rule("\"connect\"", r#"{ address = "*:x" }"#), 5, 21, "this is no port");
    refused(&rule("\"connect\"", r#"{ address = "AF_X" }"#), 5, 21, "no address family");
    refused(&rule("\"connect\"", r#"{ address = "unix:[" }"#), 5, 21, "begins a set of characters");
    refused(&rule("\"connect\"", r#"{ address = "x.test" }"#), 5, 21, "no address for this host name");
    refused(&rule("\"connect\"", r#"{ address = [] }"#), 5, 21, "`address` is empty");
    refused(&rule("\"connect\"", r#"{ arg = 1, address = "*" }"#), 5, 11, "unknown key `arg`");
    refused("[hosts]\n\"a\" = [\"1.2.3\"]\n", 3, 8, "no address of IPv4 or IPv6");
    refused("hosts = 3\n", 2, 9, "must be a section");
    let many: Vec<String> = (0..65).map(|last| format!("\"10.0.0.{last}\"")).collect();
    refused(&format!("[hosts]\n\"a\" = [{}]\n", many.join(",")), 3, 766, "more than 64 addresses");
}

#[test]
fn names_are_those_of_hosts() {
    let text = format!(
        "version = 1\n{}",
        rule("\"connect\"", r#"{ address = ["A.test:80", "b.test", "a.TEST", "1.1.1.1"] }"#)
    );
    assert_eq!(policy::hosts::names(&text), ["a.test", "b.test"]);
    let hosts = [
        ("a.test".into(), vec!["10.0.0.1".parse().unwrap(), "::5".parse().unwrap()]),
        ("b.test".into(), vec!["10.0.0.2".parse().unwrap()]),
    ];
    let whole = policy::hosts::with(&text, &hosts);
    assert!(policy::hosts::names(&whole).is_empty());
    let policy = parse("p.toml", &whole).unwrap_or_else(|error| panic!("{error}"));
    assert!(killed(&policy, "connect", Some(&v4([10, 0, 0, 2], 7))));
    assert!(killed(&policy, "connect", Some(&v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 7))));
    assert!(!killed(&policy, "connect", Some(&v4([10, 0, 0, 3], 7))));
}

/// A pattern for hosts, said otherwise.
struct Pattern {
    v6: bool,
    /// As 128 binary digits, or 32.
    host: String,
    bits: usize,
    ports: Option<(u16, u16)>,
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:08b}")).collect()
}

/// Bytes with few different values, so that networks hold something.
fn few(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.pick(&[0, 0, 1, 0x80, 0xff])).collect()
}

fn some_pattern(random: &mut Random) -> (String, Pattern) {
    let v6 = random.below(2) == 0;
    let mut host = few(random, if v6 { 16 } else { 4 });
    let bits = random.below(host.len() * 8 + 1);
    for (index, byte) in host.iter_mut().enumerate() {
        let kept = bits.saturating_sub(index * 8).min(8);
        *byte &= u8::try_from(0xff00_u32 >> kept & 0xff).expect("a byte");
    }
    let ports = (random.below(2) == 0).then(|| {
        let low = u16::try_from(random.below(4)).expect("small");
        (low, low + u16::try_from(random.below(3)).expect("small"))
    });
    let name = if v6 {
        format!("[{}/{bits}]", std::net::Ipv6Addr::from(<[u8; 16]>::try_from(host.as_slice()).expect("16 bytes")))
    } else {
        format!("{}/{bits}", std::net::Ipv4Addr::from(<[u8; 4]>::try_from(host.as_slice()).expect("4 bytes")))
    };
    let text = ports.map_or(name.clone(), |(low, high)| format!("{name}:{low}-{high}"));
    (text, Pattern { v6, host: digits(&host), bits, ports })
}

#[test]
fn networks_agree_with_comparing_digits() {
    let (mut yes, mut no) = (0, 0);
    for seed in 0..600 {
        let mut random = Random(seed);
        let patterns: Vec<(String, Pattern)> = (0..=random.below(3)).map(|_| some_pattern(&mut random)).collect();
        let texts: Vec<String> = patterns.iter().map(|(text, _)| format!("{text:?}")).collect();
        let policy = compiled(&rule("\"bind\"", &format!("{{ address = [{}] }}", texts.join(", "))));
        for _ in 0..50 {
            let is_v6 = random.below(2) == 0;
            let host = few(&mut random, if is_v6 { 16 } else { 4 });
            let port = u16::try_from(random.below(6)).expect("small");
            let bytes = match is_v6 {
                true => v6(host.clone().try_into().expect("16 bytes"), port),
                false => v4(host.clone().try_into().expect("4 bytes"), port),
            };
            let expected = patterns.iter().any(|(_, pattern)| {
                pattern.v6 == is_v6
                    && pattern.host[..pattern.bits] == digits(&host)[..pattern.bits]
                    && pattern.ports.is_none_or(|(low, high)| low <= port && port <= high)
            });
            assert_eq!(killed(&policy, "bind", Some(&bytes)), expected, "{texts:?} {host:?} {port}");
            if expected { yes += 1 } else { no += 1 }
        }
    }
    assert!(yes > 1000 && no > 1000, "{yes} {no}");
}

#[test]
fn no_bytes_are_too_odd() {
    let mut random = Random(7);
    let policy = compiled(&rule("\"bind\"", r#"{ address = ["*", "unix:**", "unix:@*", "AF_INET"], not = true }"#));
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(130)).map(|_| u8::try_from(random.below(11)).expect("small")).collect();
        let _ = killed(&policy, "bind", Some(&bytes));
    }
}
