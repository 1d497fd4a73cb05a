//! Calls that taint: when they do, what holds from then on, and what they are not denied themselves.

use crate::support::{BASE, Child, granted};
use control::answer::Choice;
use gate::{Action, Refused};
use policy::Pointed;
use proto::grant_flags;

const EPERM: Action = Action::Answer { value: -1, instruction_len: 2 };
const PROT_EXEC: [u64; 6] = [0, 4096, 5, 0, 0, 0];
const FIRST: u64 = 1 << 62;

/// A taint by these calls under these conditions that denies these.
fn taint(calls: &str, when: &str, deny: &str) -> String {
    let when = if when.is_empty() { String::new() } else { format!("when = [{when}]\n") };
    format!("[[taint]]\ncalls = [{calls}]\n{when}deny = [{deny}]\nreason = \"it did\"\n")
}

/// A policy that allows what its rules do not decide.
fn policy(rules: &str) -> String {
    format!("version = 1\ndefault = \"allow\"\n{rules}")
}

fn is_tainted(child: &Child) -> bool {
    child.gate.tainted() != 0
}

fn answer(child: &mut Child, sequence: u64, choice: Choice) {
    assert_eq!(child.with_gate(|gate, now, sink| gate.answer(sequence, choice, now, sink)), None);
}

/// The number of the grant of a call that waits for an answer, and what may deny it yet.
fn asked(action: Action) -> (u64, u64) {
    let grant = granted(action);
    assert_eq!(grant.flags & grant_flags::ASK, grant_flags::ASK);
    (grant.sequence, grant.recall)
}

#[test]
fn what_follows_holds_from_the_grant_on() {
    let when = "{ address = \"10.0.0.0/8\" }";
    let mut child = Child::new(&policy(&taint("\"connect\"", when, "\"connect\", \"write\"")), true);
    let [near, far] = [127, 10].map(|host| [2, 0, 0, 80, host, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let [near, far] = [(BASE + 0x100, near), (BASE + 0x200, far)].map(|(at, bytes)| child.put(at, &bytes));
    assert_eq!(granted(child.call("connect", [3, near, 16, 0, 0, 0])).recall, FIRST);
    assert!(!is_tainted(&child));
    let grant = granted(child.call("connect", [3, far, 16, 0, 0, 0]));
    assert_eq!((grant.recall, child.gate.tainted()), (0, FIRST), "it is not denied itself, whatever becomes of it");
    assert_eq!([child.call("write", [0; 6]), child.call("connect", [3, near, 16, 0, 0, 0])], [EPERM, EPERM]);
    child.completed(grant.sequence, -111, 0);
    let lines = child.take_lines();
    assert!(lines.contains("tainted: connect [[[taint]] test.toml:3: it did]\n"), "{lines}");
}

#[test]
fn a_call_that_comes_again_tells_nothing_new() {
    let mut child = Child::new(&policy(&taint("\"ptrace\"", "", "\"write\"")), true);
    granted(child.call("ptrace", [0; 6]));
    assert_eq!(child.take_lines().matches("tainted").count(), 1);
    granted(child.call("ptrace", [0; 6]));
    assert_eq!(child.take_lines().matches("tainted").count(), 0);
}

#[test]
fn what_is_not_carried_out_taints_nothing() {
    let rules = "[[rule]]\ncalls = [\"getpid\"]\naction = { fake = 7 }\n\
                 [[rule]]\ncalls = [\"getuid\"]\naction = { errno = \"EACCES\" }\n\
                 [[rule]]\ncalls = [\"gettid\"]\naction = \"trap\"\n\
                 [[budget]]\ncalls = [\"getgid\"]\ncount = 0\n";
    let taints = taint("\"getpid\", \"getuid\", \"gettid\", \"getgid\", \"openat\"", "", "\"write\"");
    let looks = "[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = \"/x\" }]\naction = \"kill\"\n";
    for dry in [false, true] {
        let text = policy(&(rules.to_owned() + &taints + looks));
        let mut child = if dry { Child::dry(&text) } else { Child::new(&text, false) };
        for call in ["getpid", "getuid", "gettid", "getgid"] {
            child.call(call, [0; 6]);
            assert!(!is_tainted(&child), "{call}");
        }
        // Nobody can read what it points to.
        let unreadable = [0, 1 << 63, 0, 0, 0, 0];
        child.call("openat", unreadable);
        child.call("openat", unreadable);
        assert!(!is_tainted(&child));
        let path = child.put(BASE + 0x100, b"/y\0");
        granted(child.call("openat", [0, path, 0, 0, 0, 0]));
        assert!(is_tainted(&child), "dry: {dry}");
    }
}

#[test]
fn a_call_that_another_taint_denies_brings_none() {
    let taints = taint("\"ptrace\"", "", "\"mount\"") + &taint("\"mount\"", "", "\"write\"");
    let mut child = Child::new(&policy(&taints), false);
    granted(child.call("ptrace", [0; 6]));
    assert_eq!(child.call("mount", [0; 6]), EPERM);
    granted(child.call("write", [0; 6]));
}

#[test]
fn conditions_look_at_what_is_carried_out() {
    let executable = "{ arg = \"prot\", op = \"masked_eq\", mask = \"PROT_EXEC\", value = \"PROT_EXEC\" }";
    let taints = taint("\"mprotect\"", executable, "\"write\"")
        + &taint("\"openat\"", "{ arg = 1, path = \"/real\" }", "\"writev\"");
    let rewrites = "[[rule]]\ncalls = [\"mprotect\"]\naction = { rewrite = [{ arg = \"prot\", mask = \"PROT_READ|PROT_WRITE\" }] }\n\
                    [[rule]]\ncalls = [\"openat\"]\naction = { rewrite = [{ arg = \"pathname\", path = \"/real\" }] }\n";
    let mut child = Child::new(&policy(&taints), false);
    granted(child.call("mprotect", [0, 4096, 3, 0, 0, 0]));
    assert!(!is_tainted(&child));
    granted(child.call("mprotect", PROT_EXEC));
    assert_eq!(child.call("write", [0; 6]), EPERM);
    let mut child = Child::new(&policy(&(taints + rewrites)), false);
    granted(child.call("mprotect", PROT_EXEC));
    granted(child.call("openat", [0; 6]));
    assert!(!is_tainted(&child), "no path, none to replace");
    let path = child.put(BASE + 0x100, b"/y\0");
    granted(child.call("openat", [0, path, 0, 0, 0, 0]));
    assert_eq!(child.gate.tainted(), FIRST >> 1);
}

#[test]
fn conditions_look_at_fields_as_they_are_carried_out() {
    let creates = "{ arg = \"how.flags\", op = \"masked_eq\", mask = \"O_CREAT\", value = \"O_CREAT\" }";
    let rewrite = |change: &str| {
        format!("[[rule]]\ncalls = [\"openat2\"]\naction = {{ rewrite = [{{ arg = \"how.flags\", {change} }}] }}\n")
    };
    for (rewrite, flags, tainted) in [
        (String::new(), 0o100, true),
        (String::new(), 0, false),
        (rewrite("mask = \"O_RDWR\""), 0o100, false),
        (rewrite("value = \"O_CREAT\""), 0, true),
    ] {
        let text = policy(&(rewrite + &taint("\"openat2\"", creates, "\"write\"")));
        let mut child = Child::new(&text, false);
        let how = [[flags, 0, 0, 0, 0, 0, 0, 0], [0; 8], [0; 8]].concat();
        let (path, how) = (child.put(BASE + 0x100, b"/y\0"), child.put(BASE + 0x200, &how));
        granted(child.call("openat2", [0, path, how, 24, 0, 0]));
        assert_eq!(is_tainted(&child), tainted, "{text}");
    }
}

#[test]
fn conditions_on_numbers_look_at_how_much_is_carried_out() {
    let one = taint("\"sendmmsg\"", "{ address = \"*\" }, { arg = \"vlen\", op = \"==\", value = 1 }", "\"fsync\"");
    let many =
        "[[rule]]\ncalls = [\"sendmmsg\"]\nwhen = [{ arg = \"vlen\", op = \">\", value = 1 }]\naction = \"kill\"\n";
    let all = "[[rule]]\ncalls = [\"sendmmsg\"]\naction = { rewrite = [{ arg = \"vlen\", value = 7 }] }\n";
    let address = [2, 0, 0, 80, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for rules in [one.clone(), many.to_owned() + &one, one.clone() + all] {
        let mut child = Child::new(&policy(&rules), false);
        let name = child.put(BASE + 0x1000, &address);
        let header: Vec<u8> = [name, 16].into_iter().flat_map(u64::to_le_bytes).chain([0; 40]).collect();
        let at = child.put(BASE, &header);
        assert_eq!(granted(child.call("sendmmsg", [3, at, 0xdead_0000_0009, 0, 0, 0])).args[2], 1);
        assert!(is_tainted(&child), "{rules}");
    }
    // Where no message is looked at, all are carried out.
    let mut child = Child::new(&policy(many), false);
    assert!(matches!(child.call("sendmmsg", [3, BASE, 9, 0, 0, 0]), Action::Kill { .. }));
    let short = taint("\"write\"", "{ arg = \"count\", op = \"<=\", value = 4096 }", "\"fsync\"");
    let looks = "[[rule]]\ncalls = [\"write\"]\nwhen = [{ contains = \"x\" }]\naction = \"kill\"\n";
    for (rules, count) in [(short.clone(), 5000), (short + looks, 4096)] {
        let mut child = Child::new(&policy(&rules), false);
        assert_eq!(granted(child.call("write", [1, BASE, 5000, 0, 0, 0])).args[2], count);
        assert_eq!(is_tainted(&child), count == 4096);
    }
}

#[test]
fn what_is_asked_about_taints_when_it_is_allowed() {
    let rule = "[[rule]]\ncalls = [\"mprotect\"]\naction = \"ask\"\n[[rule]]\ncalls = [\"ptrace\"]\naction = \"ask\"\n";
    let executable = "{ arg = 2, op = \">=\", value = 4 }";
    let taints = taint("\"mprotect\"", executable, "\"mprotect\", \"ptrace\", \"write\"");
    let text = policy(&(rule.to_owned() + &taints));
    let mut child = Child::asking(&text, true);
    let ((first, recall), (harmless, _)) =
        (asked(child.call("mprotect", PROT_EXEC)), asked(child.call("mprotect", [0; 6])));
    assert_eq!(recall, 0, "it is not denied by what it brings");
    let (traced, recall) = asked(child.call("ptrace", [0; 6]));
    assert_eq!(recall, FIRST);
    answer(&mut child, harmless, Choice::Allow);
    assert!(!is_tainted(&child), "nothing has been allowed that taints");
    let (denied, _) = asked(child.call("mprotect", PROT_EXEC));
    answer(&mut child, denied, Choice::Deny);
    assert!(!is_tainted(&child));
    answer(&mut child, first, Choice::Allow);
    assert!(is_tainted(&child));
    child.completed(first, 0, 0);
    let lines = child.take_lines();
    assert!(lines.contains("tainted: mprotect [[[taint]] test.toml:9"), "{lines}");
    // What was asked before is denied though it is allowed, and nobody is asked any more.
    answer(&mut child, traced, Choice::Allow);
    assert!(child.take_lines().contains("errno EPERM"));
    assert_eq!(child.call("mprotect", PROT_EXEC), EPERM);
    // Where nobody is there, and in a dry run.
    let otherwise = text.replace("\"ask\"", "{ ask = { otherwise = \"allow\" } }");
    let mut children = [Child::new(&text, false), Child::new(&otherwise, false), Child::dry(&text)];
    let outcomes = children.each_mut().map(|child| {
        child.call("mprotect", PROT_EXEC);
        is_tainted(child)
    });
    assert_eq!(outcomes, [false, true, true]);
}

#[test]
fn nobody_is_asked_about_what_is_denied_whatever_the_answer() {
    let text = policy(
        "[[rule]]\ncalls = [\"mount\", \"fsync\"]\naction = \"ask\"\n[[budget]]\ncalls = [\"fsync\"]\ncount = 1\n",
    ) + &taint("\"ptrace\"", "", "\"mount\"");
    let mut child = Child::asking(&text, true);
    granted(child.call("ptrace", [0; 6]));
    assert_eq!(child.call("mount", [0; 6]), EPERM);
    let (sequence, _) = asked(child.call("fsync", [0; 6]));
    answer(&mut child, sequence, Choice::Allow);
    assert_eq!(child.call("fsync", [0; 6]), Action::Answer { value: -122, instruction_len: 2 });
}

#[test]
fn another_policy_lifts_nothing_and_what_was_asked_still_taints() {
    let text = policy("[[rule]]\ncalls = [\"ptrace\"]\naction = \"ask\"\n") + &taint("\"ptrace\"", "", "\"write\"");
    let mut child = Child::asking(&text, false);
    let (sequence, _) = asked(child.call("ptrace", [0; 6]));
    child.change_policy(&text.replace("deny = [\"write\"]", "deny = [\"fsync\"]"), 2);
    answer(&mut child, sequence, Choice::Allow);
    assert_eq!(child.call("fsync", [0; 6]), EPERM);
    granted(child.call("write", [0; 6]));
}

#[test]
fn sockets_do_not_listen_once_a_taint_denies_it() {
    let text =
        |calls: &str| policy(&("[network]\nlisten = \"127.0.0.1:80\"\n".to_owned() + &taint(calls, "", "\"listen\"")));
    let here = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut child = Child::new(&text("\"ptrace\""), false);
    assert_eq!(child.gate.may_listen(&here), Ok(()));
    granted(child.call("ptrace", [0; 6]));
    assert_eq!(child.call("listen", [0; 6]), EPERM);
    assert!(matches!(child.gate.may_listen(&here), Err(Refused::Errno(errno)) if errno.name == "EPERM"));
    // The one call that may listen asks when the taint is in force already, which it has brought.
    let refused = |child: &mut Child, address: &[u8]| match child.gate.may_listen(address) {
        Err(Refused::Errno(errno)) => errno.name,
        other => panic!("{other:?}"),
    };
    for address in [here, [0; 16]] {
        let mut child = Child::new(&text("\"listen\""), false);
        granted(child.call("listen", [0; 6]));
        if address == here {
            assert_eq!(child.gate.may_listen(&here), Ok(()));
        } else {
            assert_eq!(refused(&mut child, &address), "EACCES");
        }
        assert_eq!(child.call("listen", [0; 6]), EPERM);
        assert_eq!(refused(&mut child, &here), "EPERM", "there is no other call that may listen");
    }
    // What another call has brought denies it, though it could have brought it itself.
    let mut child = Child::new(&text("\"listen\", \"ptrace\""), false);
    granted(child.call("ptrace", [0; 6]));
    assert_eq!(refused(&mut child, &here), "EPERM");
    // The same of one that somebody has allowed.
    let asks = text("\"listen\"") + "[[rule]]\ncalls = [\"listen\"]\naction = \"ask\"\n";
    let mut child = Child::asking(&asks, false);
    let (sequence, _) = asked(child.call("listen", [0; 6]));
    answer(&mut child, sequence, Choice::Allow);
    assert_eq!(child.gate.may_listen(&here), Ok(()));
    assert_eq!(refused(&mut child, &here), "EPERM");
}

/// The same book-keeping is `policy test`'s and `replay`'s.
#[test]
fn what_is_decided_is_charged_once() {
    let text = policy("[[budget]]\ncalls = [\"ptrace\"]\ncount = 1\n") + &taint("\"ptrace\"", "", "\"write\"");
    let policy = policy::parse("p", &text).expect("a policy");
    let mut budgets = gate::Budgets::new(&policy, 0);
    let mut decide = |number| {
        let rules = policy.about(number);
        let verdict = budgets.decide(rules, policy.judge(number, &[0; 6]));
        (verdict.rule().to_string(), budgets.taint(rules.brings(&verdict, &[0; 6], || Pointed::NOTHING)))
    };
    assert_eq!([decide(1), decide(101)], [("default".to_owned(), 0), ("default".to_owned(), FIRST)]);
    assert_eq!([decide(101).0, decide(1).0], ["[[budget]] p:3", "[[taint]] p:6: it did"]);
}
