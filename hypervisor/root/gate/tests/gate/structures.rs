//! Rules on fields of structures: copied once by Linux' rules, judged, and handed over as they were judged.

use crate::support::{BASE, Child, END, copies, granted};
use gate::Action;
use proto::{copy_forms, grant_flags};

const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat2"]
when = [{ arg = "how.flags", op = "masked_eq", mask = "O_WRONLY|O_RDWR", value = "O_WRONLY" }]
action = { errno = "EACCES" }
[[rule]]
calls = ["openat2"]
when = [{ arg = "how.flags", op = "masked_eq", mask = "O_WRONLY|O_RDWR", value = "O_RDWR" }]
action = { rewrite = [{ arg = "how.flags", mask = "O_CLOEXEC" }, { arg = "how.resolve", value = "RESOLVE_BENEATH" }] }
[[rule]]
calls = ["openat2"]
when = [{ arg = "pathname", path = "/secret" }]
action = { errno = "ENOENT" }
[[rule]]
calls = ["clone3"]
when = [{ arg = "cl_args.cgroup", op = "!=", value = 0 }]
action = { errno = "EPERM" }
[[rule]]
calls = ["prlimit64", "setrlimit"]
when = [{ arg = "rlim_max", op = ">", value = 4096 }]
action = { errno = "EPERM" }
"#;

const PATH: u64 = BASE + 0x3000;

fn answer(value: i64) -> Action {
    Action::Answer { value, instruction_len: 2 }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn child() -> Child {
    let mut child = Child::new(POLICY, true);
    child.put(PATH, b"/x\0");
    child
}

fn openat2(child: &mut Child, how: u64, size: u64) -> Action {
    child.call("openat2", [3, PATH, how, size, 0, 0])
}

#[test]
fn what_was_judged_is_handed_over() {
    let mut child = child();
    let how = child.put(BASE + 4096 - 4, &words(&[0o2_000_000, 0, 8]));
    let grant = granted(openat2(&mut child, how, 24));
    assert_eq!((grant.flags & grant_flags::COPIES, grant.args[2]), (grant_flags::COPIES, how));
    let found = copies(&child);
    assert_eq!(found[0], (copy_forms::STRUCTURE, how, words(&[0o2_000_000, 0, 8])));
    assert_eq!(found[1].0, copy_forms::STRING);
    child.completed(grant.sequence, 5, 0);
    let line = r#"openat2(3, "/x", {flags=O_RDONLY|O_CLOEXEC, mode=000, resolve=RESOLVE_BENEATH}, 24) = 5"#;
    assert!(child.take_lines().contains(line));
    child.put(how, &words(&[0o101, 0o600, 0]));
    assert_eq!(openat2(&mut child, how, 24), answer(-13));
    let line = r#"openat2(3, "/x", {flags=O_WRONLY|O_CREAT, mode=0600, resolve=0}, 24) = -1 EACCES"#;
    assert!(child.take_lines().contains(line));
}

#[test]
fn fields_are_rewritten_in_the_copy() {
    let mut child = child();
    let how = child.put(BASE, &words(&[0o2_000_002, 0, 0]));
    let grant = granted(openat2(&mut child, how, 24));
    assert_eq!(grant.args, [3, PATH, how, 24, 0, 0]);
    assert_eq!(copies(&child)[0], (copy_forms::STRUCTURE, how, words(&[0o2_000_000, 0, 8])));
    child.completed(grant.sequence, 5, 0);
    let lines = child.take_lines();
    let line = "{flags=O_RDWR|O_CLOEXEC, mode=000, resolve=0}, 24) = 5 [rewrite how.flags & O_RDONLY|O_CLOEXEC, how.resolve := RESOLVE_BENEATH, ";
    assert!(lines.contains(line), "{lines}");
    // Where verdicts are only recorded, nothing changes.
    let mut dry = Child::dry(POLICY);
    dry.put(PATH, b"/x\0");
    dry.put(BASE, &words(&[2, 0, 0]));
    granted(openat2(&mut dry, BASE, 24));
    assert_eq!(copies(&dry)[0], (copy_forms::STRUCTURE, BASE, words(&[2, 0, 0])));
}

#[test]
fn sizes_have_linux_errors() {
    let mut child = child();
    child.put(BASE, &words(&[0, 0, 0, 0]));
    for (size, value) in [(0, -22), (8, -22), (23, -22), (4097, -7), (u64::MAX, -7)] {
        assert_eq!(openat2(&mut child, BASE, size), answer(value), "{size}");
    }
    assert!(
        child.take_lines().contains("openat2(3, \"/x\", 0x400000, 23) = -1 EINVAL"),
        "a structure of no such size is none"
    );
    for size in [24, 25, 32, 4096] {
        granted(openat2(&mut child, BASE, size));
        assert_eq!(copies(&child)[0], (copy_forms::STRUCTURE, BASE, words(&[0, 0, 0])), "{size}");
    }
    // The size comes before the pointer, and what is beyond before what is known.
    assert_eq!(openat2(&mut child, END, 23), answer(-22));
    child.put(BASE + 24, &[1]);
    granted(openat2(&mut child, BASE, 24));
    assert_eq!(openat2(&mut child, BASE, 25), answer(-7));
    child.put(BASE, &[1]);
    assert_eq!(openat2(&mut child, BASE, 25), answer(-7), "nobody judges it");
    child.put(BASE, &[0]);
    child.put(BASE + 24, &[0]);
    // One that is not there at all is nobody's to judge.
    assert_eq!(granted(openat2(&mut child, 0, 24)).args[2], 0);
    assert!(copies(&child).iter().all(|(form, ..)| *form != copy_forms::STRUCTURE));
}

#[test]
fn pages_that_are_not_there() {
    let mut child = child();
    // Asked for once; then there is nothing.
    for (how, size, missing) in [(END - 8, 24, END), (END, 24, END), (END - 24, 32, END), (BASE - 24, 32, BASE - 24)] {
        let grant = granted(openat2(&mut child, how, size));
        assert_eq!((grant.flags, grant.fetch), (grant_flags::FETCH, missing), "{how:#x} {size}");
        assert_eq!(openat2(&mut child, how, size), answer(-14));
        granted(openat2(&mut child, BASE, 24));
    }
    // A byte that is not 0 counts before one that cannot be read, be it behind or in the known part.
    child.put(END - 8, &[0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(openat2(&mut child, END - 32, 40), answer(-7));
    child.put(BASE, &[1]);
    assert_eq!(openat2(&mut child, BASE - 24, 25), answer(-7));
    assert_eq!(granted(openat2(&mut child, u64::MAX - 8, 4096)).flags, grant_flags::FETCH);
    assert_eq!(openat2(&mut child, u64::MAX - 8, 4096), answer(-14));
}

#[test]
fn the_structure_comes_before_the_path() {
    let mut child = child();
    child.put(PATH, &[b'x'; 4096]);
    child.put(BASE, &words(&[0, 0, 0]));
    assert_eq!(openat2(&mut child, BASE, 8), answer(-22));
    assert_eq!(openat2(&mut child, BASE, 24), answer(-36));
    child.put(PATH, b"/secret\0");
    assert_eq!(openat2(&mut child, BASE, 24), answer(-2));
}

#[test]
fn what_a_call_does_not_bring_is_0() {
    let mut child = child();
    let mut clone = vec![0x1_0000_0100, 0, 0, 0, 17, 0, 0, 0];
    clone.extend([5, 6, 7]);
    child.put(BASE, &words(&clone));
    granted(child.call("clone3", [BASE, 80, 0, 0, 0, 0]));
    let judged = [&clone[..10], &[0]].concat();
    assert_eq!(copies(&child), [(copy_forms::STRUCTURE, BASE, words(&judged))]);
    assert_eq!(child.call("clone3", [BASE, 88, 0, 0, 0, 0]), answer(-1));
    let lines = child.take_lines();
    let line = "clone3({flags=CLONE_VM|CLONE_CLEAR_SIGHAND, exit_signal=SIGCHLD, stack=NULL, stack_size=0, set_tid=0x5, set_tid_size=6, cgroup=7}, 88) = -1 EPERM";
    assert!(lines.contains(line), "{lines}");
}

#[test]
fn structures_of_one_size() {
    let mut child = child();
    child.put(BASE, &words(&[1024, 4096]));
    granted(child.call("setrlimit", [7, BASE, 0, 0, 0, 0]));
    assert_eq!(copies(&child), [(copy_forms::STRUCTURE, BASE, words(&[1024, 4096]))]);
    child.put(BASE, &words(&[1024, u64::MAX]));
    assert_eq!(child.call("prlimit64", [0, 7, BASE, 0, 0, 0]), answer(-1));
    let line = "prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=RLIM_INFINITY}, NULL) = -1 EPERM";
    let lines = child.take_lines();
    assert!(lines.contains(line), "{lines}");
    // The old limits are asked for, and no new ones said.
    granted(child.call("prlimit64", [0, 7, 0, BASE, 0, 0]));
    assert_eq!(copies(&child), []);
}

#[test]
fn what_is_asked_about_is_what_is_carried_out() {
    let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"openat2\"]\naction = \"ask\"\n";
    let mut child = Child::asking(policy, true);
    child.put(PATH, b"/x\0");
    child.put(BASE, &words(&[0, 0, 4]));
    let grant = granted(openat2(&mut child, BASE, 24));
    assert_eq!(grant.flags & (grant_flags::ASK | grant_flags::COPIES), grant_flags::ASK | grant_flags::COPIES);
    assert_eq!(copies(&child)[0], (copy_forms::STRUCTURE, BASE, words(&[0, 0, 4])));
}

/// Without a rule on it a structure is shown as it is found.
#[test]
fn records_without_rules() {
    let mut child = Child::new("version = 1\ndefault = \"allow\"\n", true);
    child.put(PATH, b"/x\0");
    let grant = granted(openat2(&mut child, BASE, 24));
    assert_eq!(grant.flags & grant_flags::COPIES, 0);
    child.completed(grant.sequence, 3, 0);
    let grant = granted(openat2(&mut child, END - 8, 24));
    child.completed(grant.sequence, -14, 0);
    let lines = child.take_lines();
    assert!(lines.contains("openat2(3, \"/x\", {flags=O_RDONLY, mode=000, resolve=0}, 24) = 3"), "{lines}");
    assert!(lines.contains("openat2(3, \"/x\", 0x403ff8, 24) = -1 EFAULT"), "{lines}");
}
