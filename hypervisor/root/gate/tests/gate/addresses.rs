//! Rules on socket addresses: those of arguments, and those in messages.

use crate::support::{BASE, Child, END, copies, granted};
use gate::Action;
use proto::{copy_forms, grant_flags};

const EACCES: Action = Action::Answer { value: -13, instruction_len: 2 };
const EINVAL: Action = Action::Answer { value: -22, instruction_len: 2 };

const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["connect", "sendto", "sendmsg", "sendmmsg"]
when = [{ address = ["127.0.0.1:80", "unix:/run/**"], not = true }]
action = { errno = "EACCES" }
"#;

/// `struct sockaddr_in` of 127.0.0.1.
fn address(port: u16) -> Vec<u8> {
    [&[2, 0][..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat()
}

/// A `struct msghdr` that names `len` bytes at `name`; the rest of it is not looked at.
fn header(name: u64, len: u32) -> Vec<u8> {
    [&name.to_le_bytes()[..], &len.to_le_bytes(), &[0x55; 44]].concat()
}

#[test]
fn the_copy_is_what_is_judged_and_handed_over() {
    let mut child = Child::new(POLICY, true);
    let at = child.put(BASE + 4096 - 5, &address(80));
    let grant = granted(child.call("connect", [3, at, 16, 0, 0, 0]));
    assert_eq!(grant.flags & grant_flags::COPIES, grant_flags::COPIES);
    assert_eq!(copies(&child), [(copy_forms::ADDRESS, at, address(80))]);
    child.put(at, &address(81));
    assert_eq!(child.call("connect", [3, at, 16, 0, 0, 0]), EACCES);
    let lines = child.take_lines();
    assert!(lines.contains("connect(3, \"127.0.0.1:81\", 16) = -1 EACCES"), "{lines}");
    // Only the low half of the length counts, and a length of no address gets Linux' answer.
    granted(child.call("sendto", [3, 0, 0, 0, at, 0xffff_ffff_0000_0000]));
    assert_eq!(child.call("sendto", [3, 0, 0, 0, at, 0x1_0000_0010]), EACCES);
    for length in [129, 0x8000_0000, u64::from(u32::MAX)] {
        assert_eq!(child.call("connect", [3, at, length, 0, 0, 0]), EINVAL);
    }
    granted(child.call("sendto", [3, 0, 0, 0, 0, 16]));
    assert_eq!(copies(&child), []);
}

#[test]
fn messages_are_read_with_what_they_name() {
    let mut child = Child::new(POLICY, true);
    let name = child.put(BASE + 0x1000, &address(80));
    let at = child.put(BASE, &header(name, 16));
    granted(child.call("sendmsg", [3, at, 0, 0, 0, 0]));
    let both = [(copy_forms::MESSAGE, at, header(name, 16)), (copy_forms::ADDRESS, name, address(80))];
    assert_eq!(copies(&child), both);
    child.put(name, &address(82));
    assert_eq!(child.call("sendmsg", [3, at, 0, 0, 0, 0]), EACCES);
    let lines = child.take_lines();
    assert!(lines.contains("sendmsg(3, \"127.0.0.1:82\", 0) = -1 EACCES"), "{lines}");
    // One that names nobody has no address to be judged; the header is carried out all the same.
    for (name, len) in [(0, 16), (name, 0)] {
        child.put(at, &header(name, len));
        granted(child.call("sendmsg", [3, at, 0, 0, 0, 0]));
        assert_eq!(copies(&child), [(copy_forms::MESSAGE, at, header(name, len))]);
    }
    child.put(at, &header(name, 129));
    assert_eq!(child.call("sendmsg", [3, at, 0, 0, 0, 0]), EINVAL);
}

#[test]
fn of_several_messages_the_first_is_judged_and_carried_out() {
    let mut child = Child::new(POLICY, true);
    let name = child.put(BASE + 0x1000, &address(80));
    let at = child.put(BASE, &header(name, 16));
    let grant = granted(child.call("sendmmsg", [3, at, 0xdead_0000_0009, 0, 0, 0]));
    assert_eq!(grant.args, [3, at, 1, 0, 0, 0]);
    granted(child.call("sendmmsg", [3, at, 0xdead_0000_0000, 0, 0, 0]));
    assert_eq!(copies(&child), [], "the kernel takes this for none at all");
    child.put(name, &address(81));
    assert_eq!(child.call("sendmmsg", [3, at, 9, 0, 0, 0]), EACCES);
    let mut dry = Child::dry(POLICY);
    dry.put(BASE, &header(0, 0));
    assert_eq!(
        granted(dry.call("sendmmsg", [3, at, 9, 0, 0, 0])).args[2],
        9,
        "what is only recorded is done as it came"
    );
}

#[test]
fn missing_pages_are_fetched() {
    let mut child = Child::new(POLICY, true);
    let fetched = |action| {
        let grant = granted(action);
        assert_eq!(grant.flags, grant_flags::FETCH);
        grant.fetch
    };
    child.put(END - 8, &address(80)[..8]);
    assert_eq!(fetched(child.call("connect", [3, END - 8, 16, 0, 0, 0])), END);
    assert_eq!(child.call("connect", [3, END - 8, 16, 0, 0, 0]), Action::Answer { value: -14, instruction_len: 2 });
    let at = child.put(BASE, &header(END + 1, 16));
    assert_eq!(fetched(child.call("sendmsg", [3, at, 0, 0, 0, 0])), END + 1);
    assert_eq!(fetched(child.call("sendmsg", [3, u64::MAX - 3, 0, 0, 0, 0])), u64::MAX - 3);
}

#[test]
fn one_string_for_two_arguments_is_one_copy() {
    let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"rename\"]\nwhen = [{ arg = 0, path = \"/a\" }, { arg = 1, path = \"/b\" }]\naction = \"kill\"\n";
    let mut child = Child::new(policy, false);
    let path = child.put(BASE, b"/a\0");
    granted(child.call("rename", [path, path, 0, 0, 0, 0]));
    let copy = (copy_forms::STRING, path, b"/a".to_vec());
    assert_eq!(copies(&child), [copy.clone(), copy]);
}
