//! Calls about which somebody is asked.

use crate::support::{BASE, Child, copies, granted};
use control::answer::Choice;
use gate::{Action, Counters, MAX_QUESTIONS, Standing};
use policy::Settlement;
use policy::errno::EACCES;
use proto::grant_flags;

const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat", "getpid"]
action = { ask = { limit = 5, otherwise = { errno = "EACCES" } } }
reason = "why"
[[rule]]
calls = ["getuid"]
action = { ask = { otherwise = "allow" } }
[[rule]]
calls = ["getgid"]
action = { ask = { limit = 1, otherwise = "kill" } }
[[rule]]
calls = ["gettid"]
action = { ask = { limit = 2, otherwise = { kill = "process" } } }
"#;
/// In 100 ns.
const SECOND: u64 = 10_000_000;
const FIRST: u64 = 1;

/// A child of whose calls somebody is asked.
fn child() -> Child {
    Child::asking(POLICY, true)
}

impl Child {
    fn standing(&mut self, sequence: u64) -> Standing {
        self.with_gate(|gate, now, sink| gate.question(sequence, (7, b"/bin/app"), now, sink))
    }

    fn answer(&mut self, sequence: u64, choice: Choice) -> Option<String> {
        self.with_gate(|gate, now, sink| gate.answer(sequence, choice, now, sink))
    }

    fn expire(&mut self) -> Option<String> {
        self.with_gate(|gate, now, sink| gate.expire(now, sink))
    }

    fn asked(&mut self, call: &str) -> u64 {
        let grant = granted(self.call(call, [0; 6]));
        assert_eq!(grant.flags & grant_flags::ASK, grant_flags::ASK);
        grant.sequence
    }
}

#[test]
fn a_call_waits_with_what_was_judged() {
    let mut child = child();
    let path = child.put(BASE + 0x100, b"/etc/shadow\0");
    let grant = granted(child.call("openat", [0, path, 0, 0, 0, 0]));
    assert_eq!(grant.flags, grant_flags::ASK | grant_flags::COPIES | grant_flags::REPORT);
    assert_eq!(copies(&child), [(0, path, b"/etc/shadow".to_vec())]);
    assert_eq!((child.lines.as_str(), child.gate.next_limit()), ("", 5 * SECOND));
    child.now_100ns = SECOND;
    assert_eq!([child.standing(FIRST), child.standing(FIRST)], [Standing::Open; 2]);
    let line = "   0.000000   1 openat(0, \"/etc/shadow\", O_RDONLY)";
    let asked = format!("{line} <asked: 5 s, else errno EACCES> [rule 1 test.toml:3: why]\n");
    assert_eq!(child.take_lines(), asked, "asked once");
    assert!(!child.gate.has_news());
    assert_eq!(child.answer(FIRST, Choice::Allow), None);
    assert!(child.gate.take_news() && !child.gate.take_news());
    assert_eq!(child.answer(FIRST, Choice::Kill), None, "the first answer counts");
    assert_eq!(child.gate.next_limit(), u64::MAX);
    assert_eq!(child.standing(FIRST), Standing::Settled(Settlement::Allow));
    child.completed(FIRST, 3, 0);
    assert_eq!(child.take_lines(), format!("{line} = 3 [ask: answered allow, rule 1 test.toml:3: why]\n"));
    assert_eq!(child.gate.counters(), Counters { calls: 1, ..Counters::default() });
}

/// What is shown is what is carried out: bytes that are not copied for that may be others by the time of the answer, unless nothing runs until then.
#[test]
fn bytes_that_may_change_are_not_shown() {
    for (action, text) in [("ask", "0x400100"), ("stop", "\"good\"")] {
        let calls = "calls = [\"write\", \"fsetxattr\", \"mq_timedsend\"]";
        let policy = format!("version = 1\n[[rule]]\n{calls}\naction = \"{action}\"\n");
        let mut child = Child::asking(&policy, true);
        let (name, value) = (child.put(BASE, b"user.a\0"), child.put(BASE + 0x100, b"good"));
        for (call, args, told) in [
            ("write", [1, value, 4, 0, 0, 0], "write(1, \"good\", 4) <".to_owned()),
            ("fsetxattr", [1, name, value, 4, 0, 0], format!("fsetxattr(1, \"user.a\", {text}, 4, 0) <")),
            ("mq_timedsend", [1, value, 4, 0, 0, 0], format!("mq_timedsend(1, {text}, 4, 0, NULL) <")),
        ] {
            child.call(call, args);
            if action == "ask" {
                child.standing(child.gate.last_granted());
            }
            let lines = child.take_lines();
            assert!(lines.contains(&told), "{lines}");
        }
    }
}

#[test]
fn what_is_denied_fails_as_the_rule_says() {
    let mut child = child();
    let first = child.asked("getpid");
    assert_eq!(child.answer(first, Choice::Deny), None);
    assert_eq!(child.standing(first), Standing::Settled(Settlement::Errno(EACCES)));
    let line = "   0.000000   1 getpid() = -1 EACCES (Permission denied) [ask: answered errno EACCES, rule 1 test.toml:3: why]\n";
    assert_eq!(child.take_lines(), line);
    let second = child.asked("getuid");
    assert_eq!(child.answer(second, Choice::Deny), None);
    assert_eq!(child.standing(second), Standing::Settled(Settlement::Errno(policy::errno::EPERM)));
    assert_eq!(child.gate.counters(), Counters { calls: 2, denied: 2, ..Counters::default() });
    let third = child.asked("getuid");
    assert_eq!(child.answer(third, Choice::Kill).as_deref(), Some("getuid(): rule 2 test.toml:7"));
    assert_eq!(child.answer(99, Choice::Kill), None, "nobody asked");
}

#[test]
fn without_an_answer_the_rule_decides() {
    let mut child = child();
    let calls = ["getpid", "getuid", "gettid"].map(|call| child.asked(call));
    child.now_100ns = 2 * SECOND - 1;
    assert_eq!((child.expire(), child.gate.has_news()), (None, false));
    child.now_100ns = 2 * SECOND;
    assert_eq!((child.expire(), child.gate.has_news()), (None, true));
    assert_eq!(child.standing(calls[2]), Standing::Settled(Settlement::KillProcess));
    assert_eq!(child.gate.killed_for(), Some("gettid(): rule 4 test.toml:13"));
    child.now_100ns = 60 * SECOND;
    assert_eq!(child.expire(), None);
    assert_eq!(child.standing(calls[0]), Standing::Settled(Settlement::Errno(EACCES)));
    assert_eq!(child.standing(calls[1]), Standing::Settled(Settlement::Allow));
    let line = "   0.000000   1 getpid() = -1 EACCES (Permission denied) [ask: no answer, errno EACCES, rule 1 test.toml:3: why]\n";
    assert!(child.take_lines().contains(line));
    child.asked("getgid");
    child.now_100ns += SECOND;
    assert_eq!(child.expire().as_deref(), Some("getgid(): rule 3 test.toml:10"));
}

#[test]
fn where_nobody_is_there_the_rule_decides_at_once() {
    let mut child = Child::new(POLICY, true);
    assert_eq!(child.call("getpid", [0; 6]), Action::Answer { value: -13, instruction_len: 2 });
    assert_eq!(granted(child.call("getuid", [0; 6])).flags, grant_flags::REPORT);
    child.completed(FIRST, 0, 0);
    let reason = "getgid(): rule 3 test.toml:10".to_owned();
    assert_eq!(child.call("getgid", [0; 6]), Action::Kill { reason });
    assert_eq!(granted(child.call("gettid", [0; 6])).flags, grant_flags::KILL_PROCESS);
    let lines = child.take_lines();
    for line in [
        "getpid() = -1 EACCES (Permission denied) [ask: nobody there, errno EACCES, rule 1 test.toml:3: why]\n",
        "getuid() = 0 [ask: nobody there, allow, rule 2 test.toml:7]\n",
        "getgid() = ? [ask: nobody there, kill, rule 3 test.toml:10]\n",
    ] {
        assert!(lines.contains(line), "{lines}");
    }
    assert_eq!(child.gate.counters(), Counters { calls: 4, denied: 1, killed: 2, ..Counters::default() });
    // A dry run asks nobody either, and carries the call out.
    let mut dry = Child::dry(POLICY);
    assert_eq!(granted(dry.call("getpid", [0; 6])).flags, grant_flags::REPORT);
    dry.completed(FIRST, 9, 0);
    assert!(dry.take_lines().ends_with("getpid() = 9 [not done: ask, rule 1 test.toml:3: why]\n"));
}

#[test]
fn too_many_questions_are_turned_away_and_come_again() {
    let mut child = child();
    let asked: Vec<u64> = (0..MAX_QUESTIONS).map(|_| child.asked("getpid")).collect();
    let away: Vec<u64> = (0..10_000).map(|_| child.asked("getpid")).collect();
    let counters = child.gate.counters();
    assert_eq!(counters.calls, MAX_QUESTIONS as u64, "they are counted when they are judged for good");
    assert_eq!(child.standing(away[0]), Standing::Open);
    assert_eq!(child.answer(asked[5], Choice::Allow), None);
    assert!(child.gate.take_news());
    assert_eq!(child.standing(away[0]), Standing::Open, "its place is still taken");
    assert_eq!(child.standing(asked[5]), Standing::Settled(Settlement::Allow));
    assert!(child.gate.take_news(), "now there is one");
    assert_eq!(child.standing(away[0]), Standing::Again);
    assert_eq!(child.standing(asked[5]), Standing::Again, "what was told is told once");
    // Who goes leaves a place, too, and says nothing more.
    child.asked("getpid");
    child.with_gate(|gate, now, sink| gate.withdraw(asked[0], now, sink));
    assert_eq!((child.answer(asked[0], Choice::Kill), child.standing(asked[0])), (None, Standing::Again));
    assert!(child.take_lines().contains("getpid() <unfinished ...> [ask, rule 1 test.toml:3: why]\n"));
    child.with_gate(|gate, now, sink| gate.withdraw_all(now, sink));
    assert_eq!(child.take_lines().matches("unfinished").count(), MAX_QUESTIONS - 1);
}

#[test]
fn what_is_asked_stays_asked_under_another_policy() {
    let text = POLICY.to_owned() + "[[budget]]\ncalls = [\"getpid\"]\ncount = 1\naction = { errno = \"EDQUOT\" }\n";
    let mut child = Child::asking(&text, true);
    let calls = [(); 3].map(|()| child.asked("getpid"));
    assert_eq!(child.answer(calls[0], Choice::Allow), None);
    assert_eq!(child.answer(calls[1], Choice::Allow), None);
    assert_eq!(child.standing(calls[0]), Standing::Settled(Settlement::Allow));
    let Standing::Settled(Settlement::Errno(errno)) = child.standing(calls[1]) else { panic!("the budget is spent") };
    assert_eq!(errno.name, "EDQUOT");
    child.change_policy("version = 1\ndefault = \"kill\"\n", 2);
    assert_eq!(child.answer(calls[2], Choice::Allow), None);
    assert_eq!(child.standing(calls[2]), Standing::Settled(Settlement::Allow));
}

#[test]
fn a_call_of_the_other_table_is_not_asked_about() {
    use crate::support::site;
    use gate::{CallSite, GENERAL_PROTECTION, INT_80_ERROR_CODE};
    let mut child = Child::asking("version = 1\ndefault = { ask = { otherwise = \"kill\" } }\n", true);
    let int80 = CallSite { vector: GENERAL_PROTECTION, error_code: INT_80_ERROR_CODE, ..site(&[0xcd, 0x80]) };
    assert!(matches!(child.fault(&int80), Action::Kill { .. }));
}

#[test]
fn a_sandbox_stands_still_with_its_registers() {
    let text = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getpid\", \"openat\"]\naction = { stop = { limit = 5, otherwise = \"allow\" } }\n";
    let mut child = Child::asking(text, true);
    let Action::Stop { grant, instruction_len: 2 } = child.call("getpid", [7; 6]) else { panic!("it goes on") };
    assert_eq!((grant.sequence, grant.flags), (FIRST, grant_flags::REPORT));
    let asked = "   0.000000   1 getpid() <stopped: 5 s, else allow> [rule 1 test.toml:3]\n";
    assert_eq!((child.take_lines().as_str(), child.standing(FIRST)), (asked, Standing::Open));
    assert_eq!(child.answer(FIRST, Choice::Deny), None);
    assert_eq!(child.standing(FIRST), Standing::Settled(Settlement::Errno(policy::errno::EPERM)));
    let line = "getpid() = -1 EPERM (Operation not permitted) [stop: answered errno EPERM, rule 1 test.toml:3]\n";
    assert!(child.take_lines().ends_with(line));
    assert!(matches!(child.call("getpid", [0; 6]), Action::Stop { .. }));
    child.now_100ns = 5 * SECOND;
    assert_eq!((child.expire(), child.standing(2)), (None, Standing::Settled(Settlement::Allow)));
    let mut nobody = Child::new(text, true);
    assert_eq!(granted(nobody.call("getpid", [0; 6])).flags, grant_flags::REPORT);
    nobody.completed(FIRST, 2, 0);
    assert!(nobody.take_lines().ends_with("getpid() = 2 [stop: nobody there, allow, rule 1 test.toml:3]\n"));
}
