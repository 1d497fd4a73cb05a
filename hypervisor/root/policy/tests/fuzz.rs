//! Whatever the text is, reading it ends with a policy or with an error inside the text. Short and seeded; the same
//! each time.

mod random;

use policy::{PolicyError, parse_bytes};
use random::Random;

const SEED_TEXT: &[u8] = include_bytes!("../../../../policies/default.toml");

fn check(bytes: &[u8]) -> bool {
    match parse_bytes("fuzz.toml", bytes) {
        Ok(policy) => {
            for number in [0, 16, 257, 469, 470, u64::MAX] {
                let _ = policy.judge(number, &[u64::MAX; 6]);
            }
            for path in [&b"/"[..], b"/etc/shadow", b"/tmp/x/y", b"/\xff"] {
                let _ = policy.file_rights(path).to_string();
            }
            let _ = policy.same_rights_below(b"/etc", b"/tmp/x");
            true
        }
        Err(PolicyError { line, column, message, .. }) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!(line >= 1 && usize::try_from(line).expect("fits") <= lines, "line {line} of {lines}");
            assert!(column >= 1 && usize::try_from(column).expect("fits") <= bytes.len() + 1);
            assert!(!message.is_empty());
            false
        }
    }
}

#[test]
fn random_bytes() {
    let mut random = Random::new(1);
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next().to_le_bytes()[3]).collect();
        check(&bytes);
    }
}

#[test]
fn random_pieces_of_the_language() {
    const PIECES: &[&str] = &[
        "version",
        " = ",
        "1",
        "\n",
        "[[rule]]",
        "calls",
        "[",
        "]",
        "\"read\"",
        "\"openat\"",
        ",",
        "action",
        "\"allow\"",
        "{ ",
        " }",
        "errno",
        "\"EPERM\"",
        "when",
        "arg",
        "op",
        "\"==\"",
        "\"masked_eq\"",
        "mask",
        "value",
        "-1",
        "0x7fffffffffffffff",
        "log",
        "true",
        "reason",
        "\"ü\"",
        "#",
        "default",
        "'''",
        "\"\"\"",
        ".",
        "address",
        "\"127.0.0.0/8:80-90\"",
        "\"[::1/128]\"",
        "\"unix:@a*\"",
        "\"connect\"",
        "\n[network]\n",
        "\n[hosts]\n",
        "\n[[budget]]\n",
        "\n[[taint]]\n",
        "deny",
        "\n[[files]]\n",
        "paths",
        "\"/a/**\"",
        "rights",
        "\"hide\"",
        "count",
        "version = 1\n",
        "[[rule]]\ncalls = [\"read\"]\naction = \"kill\"\n",
    ];
    let mut random = Random::new(2);
    for _ in 0..3000 {
        let text: String = (0..random.below(60)).map(|_| *random.pick(PIECES)).collect();
        check(text.as_bytes());
    }
}

/// What the shipped policy does not have.
const NETWORK_TEXT: &[u8] = br#"version = 1
[hosts]
"a.test" = ["10.0.0.1", "::1"]
[network]
connect = ["127.0.0.0/8:80", "[fe80::/10]:1-9", "unix:/run/**", "unix:@x*", "a.test:53", "AF_NETLINK"]
listen = ["*"]
[[budget]]
calls = ["@network-io", "read"]
count = 100
bytes = 1_000_000
[[taint]]
paths = ["/etc/secret*", "/a/**"]
rights = ["read"]
deny = ["connect"]
[[rule]]
calls = ["bind", "sendmsg"]
when = [{ address = ["[::ffff:10.0.0.0/104]", "family:99"], not = true }]
action = "log"
"#;

/// Nor this.
const FILES_TEXT: &[u8] = br#"version = 1
[[files]]
paths = ["/etc/shadow*", "/root/**", "**/*.key", "/var/[a-c]?/x"]
rights = ["hide"]
reason = "secrets"
[[files]]
paths = "/tmp/**"
rights = ["read", "write", "create", "delete", "execute", "list"]
[[files]]
default = ["read", "list"]
"#;

#[test]
fn damaged_networks_and_files() {
    for (text, others) in [(NETWORK_TEXT, "0179af:/.-[]*@\"u, x="), (FILES_TEXT, "rea/.-[]*!\\\"?,h x=")] {
        let mut random = Random::new(4);
        let survived = (0..4000).filter(|_| check(&damaged(text, others.as_bytes(), &mut random))).count();
        assert!(survived > 100 && survived < 4000, "{survived}");
        assert!(check(text));
    }
}

/// A text with up to three bytes changed, taken away or put in.
fn damaged(text: &[u8], others: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes[at] = *random.pick(others),
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, *random.pick(others)),
        }
    }
    bytes
}

#[test]
fn damaged_policies() {
    let mut random = Random::new(3);
    let mut survived = 0;
    for _ in 0..300 {
        let mut bytes = SEED_TEXT.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next().to_le_bytes()[0],
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, *random.pick(b"\"[]{}=,\n'#.0x")),
                _ => bytes.truncate(at),
            }
            if bytes.is_empty() {
                break;
            }
        }
        survived += usize::from(check(&bytes));
    }
    assert!(survived > 10, "comments can change without harm, but only {survived} did");
}
