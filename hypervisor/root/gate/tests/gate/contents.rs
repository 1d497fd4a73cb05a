//! Rules on what is written: gathered once, judged, and handed over as it was judged.

use crate::support::{BASE, Child, END, copies, granted};
use gate::Action;
use proto::{COPY_LEN, copy_forms, grant_flags};

const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["write", "writev", "sendto", "sendmsg", "sendmmsg"]
when = [{ contains = "secret" }]
action = { errno = "EACCES" }
[[rule]]
calls = ["sendto", "sendmsg"]
when = [{ address = "127.0.0.1:81" }]
action = { errno = "EPERM" }
"#;

fn answer(value: i64) -> Action {
    Action::Answer { value, instruction_len: 2 }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn one_buffer() {
    let mut child = Child::new(POLICY, true);
    let at = child.put(BASE + 4096 - 3, b"public");
    let grant = granted(child.call("write", [1, at, 6, 0, 0, 0]));
    assert_eq!(grant.flags & grant_flags::COPIES, grant_flags::COPIES);
    assert_eq!(copies(&child), [(copy_forms::CONTENT, at, b"public".to_vec())]);
    child.put(at, b"secret");
    assert_eq!(child.call("write", [1, at, 6, 0, 0, 0]), answer(-13));
    assert!(child.take_lines().contains(r#"write(1, "secret", 6) = -1 EACCES"#));
    granted(child.call("write", [1, at, 5, 0, 0, 0]));
    granted(child.call("write", [1, at, 0, 0, 0, 0]));
    assert_eq!(copies(&child), [(copy_forms::CONTENT, at, Vec::new())]);
    // Nothing at no address is nothing, and something there is nowhere.
    granted(child.call("write", [1, 0, 0, 0, 0, 0]));
    assert_eq!(copies(&child), []);
    assert_eq!(granted(child.call("write", [1, 0, 1, 0, 0, 0])).flags, grant_flags::FETCH);
    assert_eq!(child.call("write", [1, 0, 1, 0, 0, 0]), answer(-14));
    assert_eq!(child.call("write", [1, at, 1 << 63, 0, 0, 0]), answer(-22));
}

#[test]
fn what_is_longer_is_cut() {
    let mut child = Child::new(POLICY, false);
    child.put(BASE + COPY_LEN as u64, b"secret");
    granted(child.call("write", [1, BASE, COPY_LEN as u64, 0, 0, 0]));
    assert_eq!(copies(&child), [(copy_forms::CONTENT, BASE, vec![0; COPY_LEN])]);
    granted(child.call("write", [1, BASE, COPY_LEN as u64 + 6, 0, 0, 0]));
    assert_eq!(copies(&child), [(copy_forms::CONTENT_CUT, BASE, vec![0; COPY_LEN])], "and that is all that is written");
    assert_eq!(child.call("write", [1, BASE + 6, COPY_LEN as u64, 0, 0, 0]), answer(-13));
    let mut dry = Child::dry(POLICY);
    let grant = granted(dry.call("write", [1, BASE, 2 * COPY_LEN as u64, 0, 0, 0]));
    assert_eq!(grant.flags & grant_flags::COPIES, 0, "what is only recorded is done as it came");
}

#[test]
fn ranges_are_one_text() {
    let mut child = Child::new(POLICY, true);
    child.put(BASE, b"sec");
    child.put(BASE + 0x100, b"ret");
    let list = child.put(BASE + 0x200, &words(&[BASE, 3, 0, 0, BASE + 0x100, 3]));
    assert_eq!(child.call("writev", [1, list, 3, 0, 0, 0]), answer(-13));
    assert!(child.take_lines().contains(r#"writev(1, "secret", 3) = -1 EACCES"#));
    granted(child.call("writev", [1, list, 2, 0, 0, 0]));
    assert_eq!(copies(&child), [(copy_forms::CONTENT, list, b"sec".to_vec())]);
    granted(child.call("writev", [1, list, 0, 0, 0, 0]));
    assert_eq!(child.call("writev", [1, list, 1025, 0, 0, 0]), answer(-22));
    child.put(list, &words(&[BASE, 1 << 63]));
    assert_eq!(child.call("writev", [1, list, 1, 0, 0, 0]), answer(-22));
    // What does not fit any more is not looked at, be it there or not.
    child.put(list, &words(&[BASE, 4095, BASE, 2, END, 1]));
    granted(child.call("writev", [1, list, 3, 0, 0, 0]));
    assert_eq!(copies(&child)[0].0, copy_forms::CONTENT_CUT);
    child.put(list, &words(&[BASE, 4, END, 1]));
    assert_eq!(granted(child.call("writev", [1, list, 2, 0, 0, 0])).fetch, END);
    granted(child.call("writev", [1, list, 0, 0, 0, 0]));
    assert_eq!(granted(child.call("writev", [1, END - 8, 1, 0, 0, 0])).fetch, END);
}

#[test]
fn messages_are_judged_by_address_and_bytes_of_one_header() {
    let mut child = Child::new(POLICY, true);
    let name = child.put(BASE + 0x1000, &[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let text = child.put(BASE + 0x1100, b"public");
    let list = child.put(BASE + 0x1200, &words(&[text, 6]));
    let header = words(&[name, 16, list, 1, 0, 0, 0]);
    let at = child.put(BASE, &header);
    granted(child.call("sendmsg", [3, at, 0, 0, 0, 0]));
    let content = (copy_forms::CONTENT, at, b"public".to_vec());
    let message = (copy_forms::MESSAGE, at, header);
    let found = copies(&child);
    assert_eq!(found.len(), 3, "the header is read once");
    assert!(found.contains(&content) && found.contains(&message) && found[2].0 == copy_forms::ADDRESS);
    granted(child.call("sendto", [3, text, 6, 0, name, 16]));
    assert_eq!(copies(&child).len(), 2);
    child.put(text, b"secret");
    assert_eq!(child.call("sendmsg", [3, at, 0, 0, 0, 0]), answer(-13));
    assert_eq!(child.call("sendmmsg", [3, at, 2, 0, 0, 0]), answer(-13));
    child.put(text, b"public");
    assert_eq!(granted(child.call("sendmmsg", [3, at, 2, 0, 0, 0])).args[2], 1);
    child.put(at, &words(&[0, 0, list, 1025, 0, 0, 0]));
    assert_eq!(child.call("sendmsg", [3, at, 0, 0, 0, 0]), answer(-90));
}
