//! Budgets: what calls are charged, and what is said when nothing is left.

use crate::support::{Child, granted};
use gate::Action;
use proto::{grant_flags, result_flags};

const EDQUOT: Action = Action::Answer { value: -122, instruction_len: 2 };
const EPERM: Action = Action::Answer { value: -1, instruction_len: 2 };

const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["write"]
when = [{ arg = 0, op = "==", value = 9 }]
action = { errno = "EPERM" }
[[budget]]
calls = ["write", "pwrite64"]
count = 3
reason = "three is all"
[[budget]]
calls = ["write", "read"]
bytes = 100
action = { errno = "EIO" }
"#;

#[test]
fn a_count_is_spent_by_calls_that_are_carried_out() {
    let mut child = Child::new(POLICY, true);
    for _ in 0..5 {
        assert_eq!(child.call("write", [9, 0, 0, 0, 0, 0]), EPERM, "a rule decides before");
    }
    for _ in 0..3 {
        granted(child.call("pwrite64", [1, 0, 0, 0, 0, 0]));
    }
    child.take_lines();
    assert_eq!(child.call("write", [1, 0, 0, 0, 0, 0]), EDQUOT);
    let line = child.take_lines();
    assert!(line.contains("[errno EDQUOT, [[budget]] test.toml:7: three is all]"), "{line}");
    granted(child.call("read", [1, 0, 0, 0, 0, 0]));
    granted(child.call("getpid", [0; 6]));
}

#[test]
fn bytes_are_what_calls_return() {
    // Nothing is recorded here: results are asked for all the same.
    let mut child = Child::new(POLICY, false);
    assert_eq!(granted(child.call("getpid", [0; 6])).flags, 0);
    let first = granted(child.call("read", [1, 0, 0, 0, 0, 0]));
    assert_eq!(first.flags, grant_flags::REPORT);
    child.completed(first.sequence, -4, 0);
    let second = granted(child.call("write", [1, 0, 0, 0, 0, 0]));
    child.completed(second.sequence, 99, 0);
    // Twice the same result counts once.
    child.completed(second.sequence, 99, 0);
    let third = granted(child.call("read", [1, 0, 0, 0, 0, 0]));
    child.completed(third.sequence, 1, 0);
    assert_eq!(child.call("read", [1, 0, 0, 0, 0, 0]), Action::Answer { value: -5, instruction_len: 2 });
    // The other budget of this call is not spent, and not charged.
    assert_eq!(child.call("write", [1, 0, 0, 0, 0, 0]), Action::Answer { value: -5, instruction_len: 2 });
    granted(child.call("pwrite64", [1, 0, 0, 0, 0, 0]));
    granted(child.call("pwrite64", [1, 0, 0, 0, 0, 0]));
    assert_eq!(child.call("pwrite64", [1, 0, 0, 0, 0, 0]), EDQUOT);
}

/// sendmmsg returns how many messages it has sent.
#[test]
fn bytes_that_a_result_does_not_tell_are_told_before_it() {
    let mut child =
        Child::new("version = 1\ndefault = \"allow\"\n[[budget]]\ncalls = [\"sendmmsg\"]\nbytes = 100\n", true);
    let grant = granted(child.call("sendmmsg", [3, 0, 1, 0, 0, 0]));
    child.completed(grant.sequence, 99, result_flags::MOVED);
    child.completed(grant.sequence, 1, 0);
    assert!(child.take_lines().contains("sendmmsg(3, NULL, 1, 0) = 1 "), "the result is the other one");
    let grant = granted(child.call("sendmmsg", [3, 0, 1, 0, 0, 0]));
    child.completed(grant.sequence, 1, result_flags::MOVED);
    assert_eq!(child.call("sendmmsg", [3, 0, 1, 0, 0, 0]), EDQUOT);
}

#[test]
fn a_dry_run_carries_out_what_it_says_is_spent() {
    let mut child = Child::dry(POLICY);
    for _ in 0..3 {
        granted(child.call("pwrite64", [0; 6]));
    }
    child.take_lines();
    let grant = granted(child.call("pwrite64", [0; 6]));
    child.completed(grant.sequence, 0, 0);
    let lines = child.take_lines();
    assert!(lines.contains("[not done: errno EDQUOT, [[budget]] test.toml:7"), "{lines}");
}
