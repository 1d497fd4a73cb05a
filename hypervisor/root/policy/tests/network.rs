//! `[network]`: what it denies, what it leaves to the rules, and what it has no say in.

mod refused;

use policy::errno::Errno;
use policy::{Action, File, Pointed, Policy, parse, parse_files};

fn compiled(text: &str) -> Policy {
    parse("p.toml", &format!("version = 1\ndefault = \"allow\"\n{text}")).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str, column: u32, words: &str) {
    refused::refused(&format!("version = 1\n[network]\n{text}\n"), 3, column, words);
}

/// What is said of this call to this address.
fn judged(policy: &Policy, call: &str, address: Option<&[u8]>) -> (Action, String) {
    let mut pointed = Pointed::NOTHING;
    if let Some(address) = address {
        pointed.set_address(address);
    }
    let number = u64::from(proto::syscalls::by_name(call).expect("a call").number);
    let verdict = policy.about(number).judge(&[3, 1, 1, 1, 1, 1], &pointed);
    (verdict.action, verdict.rule().to_string())
}

fn errno(name: &str) -> Action {
    Action::Errno(Errno::by_name(name).expect("an error"))
}

fn denied(policy: &Policy, call: &str, address: Option<&[u8]>) -> bool {
    let (action, rule) = judged(policy, call, address);
    assert_eq!(action == errno("EACCES"), rule == "[network] p.toml:3", "{call}: {action:?} {rule}");
    action == errno("EACCES")
}

/// `struct sockaddr_in` of 127.0.0.1.
fn local(port: u16) -> Vec<u8> {
    [&[2, 0][..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat()
}

const UNSPEC: [u8; 16] = [0; 16];
const UNIX: &[u8] = b"\x01\0/run/x\0";

#[test]
fn nothing_is_allowed_that_is_not_listed() {
    let policy = compiled("[network]\n");
    for call in ["connect", "sendto", "sendmsg", "sendmmsg", "bind"] {
        assert!(denied(&policy, call, Some(&local(80))) && denied(&policy, call, Some(UNIX)), "{call}");
        assert!(denied(&policy, call, Some(&[16, 0])), "{call}");
        assert_eq!(denied(&policy, call, Some(&UNSPEC)), call != "connect", "{call}");
    }
    assert!(denied(&policy, "listen", None));
    // Calls that go where an earlier one was allowed to, or nowhere.
    for call in ["socket", "socketpair", "sendto", "sendmsg", "accept", "write"] {
        assert!(!denied(&policy, call, None), "{call}");
    }
    assert_eq!(policy.rule_count(), 0);
}

#[test]
fn lists() {
    let policy = compiled(
        "[network]\nconnect = [\"127.0.0.0/8:80\", \"unix:/run/*\"]\nbind = [\"127.0.0.1:81\"]\nlisten = [\"*:82\"]\n",
    );
    for call in ["connect", "sendto", "sendmsg", "sendmmsg"] {
        assert!(!denied(&policy, call, Some(&local(80))) && !denied(&policy, call, Some(UNIX)), "{call}");
        assert!(denied(&policy, call, Some(&local(81))), "{call}");
    }
    assert!(denied(&policy, "bind", Some(&local(80))) && !denied(&policy, "bind", Some(&local(81))));
    // The call is not enough to know: the root is asked.
    assert!(!denied(&policy, "listen", None));
    assert!(policy.may_listen(&local(82)).is_none());
    for other in [&local(81)[..], UNIX, &[], &[2]] {
        let verdict = policy.may_listen(other).expect("it is not listed");
        assert_eq!((verdict.action, verdict.rule().to_string().as_str()), (errno("EACCES"), "[network] p.toml:3"));
    }
}

#[test]
fn rules_decide_about_the_rest_only() {
    let rules = "[[rule]]\ncalls = [\"connect\", \"listen\"]\naction = \"kill\"\n";
    let policy = compiled(&format!("[network]\nconnect = [\"*:80\"]\n{rules}"));
    assert!(denied(&policy, "connect", Some(&local(81))));
    assert_eq!(judged(&policy, "connect", Some(&local(80))), (Action::Kill, "rule 1 p.toml:5".into()));
    assert!(denied(&policy, "listen", None));
    assert_eq!(policy.rule_count(), 1);
}

#[test]
fn without_the_section_all_is_as_before() {
    let policy = compiled("");
    assert!(!policy.reads_memory());
    assert!(policy.may_listen(&local(1)).is_none());
    assert_eq!(judged(&policy, "listen", None).0, Action::Allow);
}

#[test]
fn actions_and_files() {
    let policy = compiled("[network]\naction = \"kill\"\n");
    assert_eq!(judged(&policy, "bind", Some(&local(1))).0, Action::Kill);
    let files = [
        ("a", "version = 1\ninclude = [\"b\"]\n"),
        ("b", "version = 1\ndefault = \"allow\"\n[network]\nbind = [\"*\"]\n"),
        ("c", "version = 1\n[network]\n"),
    ];
    let policy =
        parse_files(&files.map(|(name, text)| File::new(name, text))).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(judged(&policy, "bind", Some(&local(1))).0, Action::Allow, "the first statement holds");
    assert_eq!(judged(&policy, "connect", Some(&local(1))).1, "[network] b:3");
}

#[test]
fn places_of_mistakes() {
    refused("bnid = []", 1, "unknown key `bnid`; did you mean `bind`?");
    refused("bind = 3", 8, "`bind` must be");
    refused("bind = [\"*\", \"1.2.3\"]", 14, "this is no address");
    refused("listen = [\"x.test:80\"]", 11, "no address for this host name");
    refused("action = \"allow\"", 10, "can only fail");
    refused("action = { fake = 0 }", 10, "can only fail");
    let error = parse("p.toml", "version = 1\nnetwork = 3\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 11), "{error}");
    assert_eq!(policy::hosts::names("version = 1\n[network]\nlisten = [\"x.test:80\"]\n"), ["x.test"]);
}
