//! Taints: which calls are denied once one is in force, and which are judged once more.

use crate::support::{Child, granted};
use gate::Action;
use trace::{Cause, Piece, TaintRecord};

const EPERM: Action = Action::Answer { value: -1, instruction_len: 2 };

const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["sendto"]
action = { fake = 7 }
[[taint]]
paths = "/vault/**"
deny = ["@network-io"]
reason = "it knows"
[[taint]]
paths = "/vault/key"
deny = ["getpid", "connect"]
action = "kill"
[[budget]]
calls = ["connect"]
count = 3
"#;

const FIRST: u64 = 1 << 62;
const SECOND: u64 = 1 << 61;

fn record() -> TaintRecord {
    let path = Piece::first_of(b"/vault/key", 99);
    TaintRecord { time: 5, thread: 1, cause: Cause::File { rights: "read".into(), path }, rule: String::new() }
}

#[test]
fn calls_are_denied_from_then_on() {
    let mut child = Child::new(POLICY, true);
    granted(child.call("connect", [0; 6]));
    child.taint(FIRST, &record());
    let lines = child.take_lines();
    assert!(lines.contains("tainted: read \"/vault/key\" [[[taint]] test.toml:6: it knows]\n"), "{lines}");
    assert_eq!(child.call("connect", [0; 6]), EPERM);
    let lines = child.take_lines();
    assert!(lines.contains("[errno EPERM, [[taint]] test.toml:6: it knows]"), "{lines}");
    assert_eq!(child.call("sendto", [0; 6]), Action::Answer { value: 7, instruction_len: 2 }, "a rule decides before");
    granted(child.call("getpid", [0; 6]));
    child.taint(SECOND, &record());
    assert!(
        matches!(child.call("getpid", [0; 6]), Action::Kill { reason } if reason.contains("[[taint]] test.toml:10"))
    );
    assert_eq!(child.call("connect", [0; 6]), EPERM, "the first decides, and no budget is charged");
}

#[test]
fn calls_that_may_be_denied_yet_can_be_recalled() {
    let mut child = Child::new(POLICY, false);
    let recall = |child: &mut Child, call| granted(child.call(call, [0; 6])).recall;
    assert_eq!(["connect", "getpid", "read"].map(|call| recall(&mut child, call)), [FIRST | SECOND, SECOND, 0]);
    child.taint(FIRST, &record());
    assert_eq!(child.take_lines(), "", "nothing is recorded");
    assert_eq!(recall(&mut child, "getpid"), SECOND);
    assert_eq!(child.call("connect", [0; 6]), EPERM);
}

#[test]
fn another_policy_does_not_lift_a_taint() {
    let mut child = Child::new(POLICY, false);
    child.taint(FIRST, &record());
    child.change_policy(&POLICY.replace("{ fake = 7 }", "\"allow\"").replace("@network-io", "sendto"), 2);
    assert_eq!(child.call("sendto", [0; 6]), EPERM);
    granted(child.call("connect", [0; 6]));
}

#[test]
fn a_dry_run_says_what_would_be_denied() {
    let mut child = Child::dry(POLICY);
    child.taint(FIRST, &record());
    child.take_lines();
    let grant = granted(child.call("connect", [0; 6]));
    child.completed(grant.sequence, 0, 0);
    let lines = child.take_lines();
    assert!(lines.contains("[not done: errno EPERM, [[taint]] test.toml:6"), "{lines}");
}
