//! What a policy's rules mean.

use policy::errno::Errno;
use policy::{Action, Pointed, Policy, parse};
use proto::syscalls::{SYSCALLS, by_name};

fn compiled(rules: &str) -> Policy {
    parse("etc/test.toml", &format!("version = 1\n{rules}")).unwrap_or_else(|error| panic!("{error}"))
}

fn number(name: &str) -> u64 {
    u64::from(by_name(name).expect("a call").number)
}

fn errno(name: &str) -> Action {
    Action::Errno(Errno::by_name(name).expect("an error"))
}

/// A policy that allows `call` under these conditions, and kills otherwise.
fn allowed_when(call: &str, conditions: &str) -> impl Fn([u64; 6]) -> bool + use<> {
    let policy = compiled(&format!(
        "default = \"kill\"\n[[rule]]\ncalls = [\"{call}\"]\naction = \"allow\"\nwhen = [{conditions}]\n"
    ));
    let number = number(call);
    move |args| policy.judge(number, &args).action == Action::Allow
}

#[test]
fn deny_by_default() {
    let policy = compiled("");
    for number in [0, 39, 335, 336, 469, 470, 1 << 30, u64::from(u32::MAX), u64::MAX] {
        let verdict = policy.judge(number, &[0; 6]);
        assert_eq!(verdict.action, errno("EPERM"));
        assert_eq!(verdict.rule().to_string(), "default");
        assert!(!verdict.log);
    }
    assert_eq!(policy.judge_unknown().action, errno("EPERM"));
    assert_eq!(policy.rule_count(), 0);
}

#[test]
fn first_rule_that_applies_decides() {
    let policy = compiled(
        r#"default = "kill"
[[rule]]
calls = ["read"]
when = [{ arg = 0, op = "==", value = 3 }]
action = { errno = "EACCES" }
log = true
reason = "three"

[[rule]]
calls = ["read", "write"]
action = "allow"
"#,
    );
    let verdict = policy.judge(number("read"), &[3, 0, 0, 0, 0, 0]);
    assert_eq!((verdict.action, verdict.log), (errno("EACCES"), true));
    assert_eq!(verdict.rule().to_string(), "rule 1 test.toml:3: three");
    let verdict = policy.judge(number("read"), &[4, 0, 0, 0, 0, 0]);
    assert_eq!((verdict.action, verdict.log), (Action::Allow, false));
    assert_eq!(verdict.rule().to_string(), "rule 2 test.toml:10");
    assert_eq!(policy.judge(number("close"), &[0; 6]).action, Action::Kill);
    assert_eq!(policy.rule_count(), 2);
}

#[test]
fn what_is_killed() {
    let judged = |action: &str| {
        let text = format!("version = 1\ndefault = {action}\n");
        parse("p", &text).map(|policy| policy.judge_unknown().action).map_err(|error| error.to_string())
    };
    assert_eq!(judged("\"kill\""), Ok(Action::Kill));
    assert_eq!(judged("{ kill = \"sandbox\" }"), Ok(Action::Kill));
    assert_eq!(judged("{ kill = \"process\" }"), Ok(Action::KillProcess));
    assert_eq!(judged("{ kill = \"thread\" }"), Ok(Action::KillThread));
    assert_eq!(judged("\"trap\""), Ok(Action::Trap));
    assert!(judged("{ kill = \"all\" }").unwrap_err().starts_with("p:2:20: `all` cannot be killed; `kill` must be"));
    assert!(judged("{ kill = 1 }").unwrap_err().starts_with("p:2:20: `kill` must be"));
}

#[test]
fn all_operators() {
    let at = |value| [0, 0, value, 0, 0, 0];
    let table: [(&str, [bool; 3]); 6] = [
        ("==", [false, true, false]),
        ("!=", [true, false, true]),
        ("<", [true, false, false]),
        ("<=", [true, true, false]),
        (">", [false, false, true]),
        (">=", [false, true, true]),
    ];
    for (op, expected) in table {
        let allowed = allowed_when("read", &format!("{{ arg = 2, op = \"{op}\", value = 0x8000000000000000 }}"));
        let found = [(1 << 63) - 1, 1 << 63, (1 << 63) + 1].map(|value| allowed(at(value)));
        assert_eq!(found, expected, "{op}");
    }
    let masked = allowed_when("read", r#"{ arg = 2, op = "masked_eq", mask = 0xff00, value = 0x1200 }"#);
    assert!(masked(at(0x1200)) && masked(at(0xffff_ffff_ffff_12ff)));
    assert!(!masked(at(0x1300)));
}

#[test]
fn all_conditions_must_hold() {
    let allowed = allowed_when(
        "write",
        r#"{ arg = 0, op = ">=", value = 1 }, { arg = 0, op = "<=", value = 2 }, { arg = 2, op = "<", value = 100 }"#,
    );
    assert!(allowed([1, 0, 99, 0, 0, 0]));
    assert!(!allowed([0, 0, 99, 0, 0, 0]));
    assert!(!allowed([3, 0, 99, 0, 0, 0]));
    assert!(!allowed([1, 0, 100, 0, 0, 0]));
}

#[test]
fn narrow_arguments_are_compared_as_the_kernel_sees_them() {
    // TIOCSTI is 0x5412. Junk in the upper half does not get past a rule about it.
    let tiocsti = allowed_when("ioctl", r#"{ arg = 1, op = "==", value = "TIOCSTI" }"#);
    assert!(tiocsti([0, 0x5412, 0, 0, 0, 0]));
    assert!(tiocsti([0, 0xdead_beef_0000_5412, 0, 0, 0, 0]));
    let minus_one = allowed_when("dup2", r#"{ arg = 1, op = "==", value = -1 }"#);
    assert!(minus_one([0, u64::MAX, 0, 0, 0, 0]));
    assert!(minus_one([0, 0xffff_ffff, 0, 0, 0, 0]));
    // A size has all its bits.
    let size = allowed_when("read", r#"{ arg = 2, op = "==", value = 1 }"#);
    assert!(!size([0, 0, (1 << 32) + 1, 0, 0, 0]));
    let wide = allowed_when("lseek", r#"{ arg = 1, op = "==", value = -1 }"#);
    assert!(wide([0, u64::MAX, 0, 0, 0, 0]) && !wide([0, 0xffff_ffff, 0, 0, 0, 0]));
}

#[test]
fn names_stand_for_numbers() {
    let reading = allowed_when("openat", r#"{ arg = 2, op = "masked_eq", mask = "O_WRONLY | O_RDWR", value = 0 }"#);
    assert!(reading([0, 0, 0o2_000_000, 0, 0, 0]));
    assert!(!reading([0, 0, 2, 0, 0, 0]));
    let stream = allowed_when("socket", r#"{ arg = 1, op = "==", value = "SOCK_STREAM|SOCK_CLOEXEC" }"#);
    assert!(stream([2, 0o2_000_001, 0, 0, 0, 0]));
}

#[test]
fn bits_compare_the_register() {
    let all = allowed_when("ioctl", r#"{ arg = 1, op = "==", value = "TIOCSTI", bits = 64 }"#);
    assert!(all([0, 0x5412, 0, 0, 0, 0]));
    assert!(!all([0, 0x1_0000_5412, 0, 0, 0, 0]));
    let half = allowed_when("read", r#"{ arg = 2, op = "==", value = 1, bits = 32 }"#);
    assert!(half([0, 0, (1 << 32) + 1, 0, 0, 0]));
    // Registers that the call does not look at.
    let unused = allowed_when("getpid", r#"{ arg = 5, op = ">", value = 7, bits = 64 }"#);
    assert!(unused([0, 0, 0, 0, 0, 8]) && !unused([8, 8, 8, 8, 8, 7]));
}

#[test]
fn groups_and_numbers() {
    let policy = compiled(
        r#"[[rule]]
calls = ["settimeofday"]
action = { errno = "EACCES" }
[[rule]]
calls = ["@clock", "@privileged", "chown", 39]
action = "kill"
"#,
    );
    let judged = |name: &str| policy.judge(number(name), &[0; 6]).action;
    assert_eq!(judged("settimeofday"), errno("EACCES"), "the exception stands first");
    for name in ["clock_settime", "chroot", "fchown", "chown", "getpid"] {
        assert_eq!(judged(name), Action::Kill, "{name}");
    }
    assert_eq!(judged("read"), errno("EPERM"));
}

#[test]
fn log_allows_and_writes() {
    let policy = compiled("[[rule]]\ncalls = [\"read\"]\naction = \"log\"\n");
    let verdict = policy.judge(0, &[0; 6]);
    assert_eq!((verdict.action, verdict.log), (Action::Allow, true));
}

#[test]
fn made_up_results() {
    let policy = compiled(
        "[[rule]]\ncalls = [\"getuid\"]\naction = { fake = 1000 }\n[[rule]]\ncalls = [\"brk\"]\naction = { fake = 0xffff_ffff_ffff_fff0 }\n",
    );
    assert_eq!(policy.judge(number("getuid"), &[0; 6]).action, Action::Fake(1000));
    assert_eq!(policy.judge(number("brk"), &[0; 6]).action, Action::Fake(-16));
}

#[test]
fn arguments_have_the_names_of_their_manual_pages() {
    let policy = compiled(
        r#"[[rule]]
calls = ["open", "openat"]
action = "allow"
when = [{ arg = "flags", op = "masked_eq", mask = "O_CREAT", value = "O_CREAT" }]
"#,
    );
    let allowed = |call: &str, args: [u64; 6]| policy.judge(number(call), &args).action == Action::Allow;
    assert!(allowed("open", [0, 0o101, 0, 0, 0, 0]) && !allowed("open", [0, 0, 0o101, 0, 0, 0]));
    assert!(allowed("openat", [0, 0, 0o101, 0, 0, 0]) && !allowed("openat", [0, 0o101, 0, 0, 0, 0]));
    let text = "[[rule]]\ncalls = [\"unlinkat\"]\nwhen = [{ arg = \"dirfd\", op = \"==\", value = \"AT_FDCWD\" }, { arg = \"pathname\", path = \"/a\" }]\naction = { rewrite = [{ arg = \"pathname\", path = \"/b\" }, { arg = \"flags\", mask = 0 }] }\n";
    let policy = compiled(text);
    let mut pointed = Pointed::NOTHING;
    pointed.set(1, b"/a");
    let verdict = policy.about(number("unlinkat")).judge(&[0xffff_ff9c, 9, 8, 0, 0, 0], &pointed);
    assert_eq!(verdict.rewritten([1, 2, 3, 4, 5, 6]), [1, 2, 0, 4, 5, 6]);
    assert_eq!(verdict.rewrites().first().map(|change| change.place.argument), Some(1));
    let allowed = allowed_when("sendto", r#"{ arg = "flags", op = "==", value = "MSG_NOSIGNAL|MSG_DONTWAIT" }"#);
    assert!(allowed([0, 0, 0, 0x4040, 0, 0]) && !allowed([0, 0, 0, 0x4000, 0, 0]));
}

#[test]
fn rewrites() {
    let policy = compiled(
        r#"[[rule]]
calls = ["openat"]
action = { rewrite = [{ arg = 2, mask = "O_RDWR|O_CLOEXEC" }, { arg = 3, value = 0o600 }] }
"#,
    );
    let verdict = policy.judge(number("openat"), &[1; 6]);
    assert_eq!(verdict.action, Action::Rewrite);
    assert_eq!(verdict.rewritten([9, 8, u64::MAX, u64::MAX, 7, 6]), [9, 8, 0o2_000_002, 0o600, 7, 6]);
    let allowed = compiled("default = \"allow\"\n");
    assert_eq!(allowed.judge(0, &[3; 6]).rewritten([1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn rewritten_paths() {
    let policy = compiled(
        r#"[[rule]]
calls = ["openat", "newfstatat"]
when = [{ arg = 1, path = "/etc/**" }]
action = { rewrite = [{ arg = 1, path = "/srv/fake" }] }
[[rule]]
calls = ["rename"]
action = { rewrite = [{ arg = 0, path = "/a" }, { arg = 1, path = "/b" }] }
"#,
    );
    assert_eq!(policy.about(number("openat")).reads().len(), 1, "the condition's is the change's");
    assert_eq!(policy.about(number("rename")).reads().len(), 2);
    let args = [5, 6, 0, 0, 0, 0];
    let verdict = policy.about(number("rename")).judge(&args, &Pointed::NOTHING);
    assert_eq!((verdict.action, verdict.rewritten(args)), (Action::Rewrite, args));
    let rewrites = verdict.rewrites();
    let paths: Vec<(u8, &str)> =
        rewrites.iter().map(|change| (change.place.argument, change.path.as_deref().unwrap_or(""))).collect();
    assert_eq!(paths, [(0, "/a"), (1, "/b")]);
    assert!(policy.judge(number("openat"), &args).rewrites().is_empty());
}

/// The policies that come with the project.
const SHIPPED: [(&str, &str); 4] = [
    ("default.toml", include_str!("../../../../policies/default.toml")),
    ("no-files.toml", include_str!("../../../../policies/no-files.toml")),
    ("read-only.toml", include_str!("../../../../policies/read-only.toml")),
    ("compute-only.toml", include_str!("../../../../policies/compute-only.toml")),
];

fn shipped(name: &str) -> Policy {
    let (name, text) = SHIPPED.iter().find(|(known, _)| *known == name).expect("shipped");
    parse(name, text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn shipped_policies_are_valid() {
    for (name, _) in SHIPPED {
        assert!(shipped(name).rule_count() > 0, "{name}");
    }
}

#[test]
fn default_policy_decides_every_known_call_itself() {
    let policy = shipped("default.toml");
    for call in SYSCALLS {
        let verdict = policy.judge(u64::from(call.number), &[u64::MAX; 6]);
        assert!(matches!(verdict.rule().by, policy::By::Rule(_)), "{} is left to the default", call.name);
    }
    assert_eq!(policy.judge(470, &[0; 6]).action, errno("EPERM"));
}

#[test]
fn default_policy() {
    let policy = shipped("default.toml");
    let judged = |name: &str, args: [u64; 6]| policy.judge(number(name), &args).action;
    for name in
        ["read", "write", "openat", "mmap", "clone3", "rseq", "statx", "exit_group", "getrandom", "prlimit64", "ioctl"]
    {
        assert_eq!(judged(name, [0; 6]), Action::Allow, "{name}");
    }
    for name in
        ["ptrace", "mount", "kexec_load", "init_module", "finit_module", "reboot", "settimeofday", "iopl", "setns"]
    {
        let verdict = policy.judge(number(name), &[0; 6]);
        assert_eq!(verdict.action, errno("EPERM"), "{name}");
        assert!(verdict.rule().reason.is_some(), "{name}");
    }
    assert_eq!(judged("bpf", [0; 6]), errno("ENOSYS"));
    assert_eq!(judged("ioctl", [0, 0x7_0000_5412, 0, 0, 0, 0]), errno("EPERM"));
    assert_eq!(judged("ioctl", [0, 0x5413, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(judged("clone", [0x11, 0, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(judged("clone", [0x1000_0011, 0, 0, 0, 0, 0]), errno("EPERM"));
    assert_eq!(judged("socket", [1, 1, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(judged("socket", [10, 1, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(judged("socket", [16, 3, 0, 0, 0, 0]), errno("EAFNOSUPPORT"));
    assert_eq!(judged("mknod", [0, 0o010_644, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(judged("mknod", [0, 0o020_644, 0, 0, 0, 0]), errno("EPERM"));
}

#[test]
fn example_policies() {
    let no_files = shipped("no-files.toml");
    let verdict = no_files.judge(number("openat"), &[0; 6]);
    assert_eq!((verdict.action, verdict.log), (errno("EPERM"), true));
    let library = no_files.judge(number("openat"), &[0, 0, 0o2_000_000, 0, 0, 0]);
    assert_eq!((library.action, library.log), (Action::Allow, false));
    assert_eq!(no_files.judge(number("write"), &[0; 6]).action, Action::Allow);

    let read_only = shipped("read-only.toml");
    let open = |flags| read_only.judge(number("openat"), &[0, 0, flags, 0, 0, 0]).action;
    assert_eq!(open(0o2_000_000), Action::Allow);
    assert_eq!(open(0o1), errno("EROFS"));
    assert_eq!(open(0o100), errno("EROFS"));
    assert_eq!(read_only.judge(number("unlink"), &[0; 6]).action, Action::Kill);

    let compute = shipped("compute-only.toml");
    assert_eq!(compute.judge(number("write"), &[1, 0, 5, 0, 0, 0]).action, Action::Allow);
    assert_eq!(compute.judge(number("write"), &[3, 0, 5, 0, 0, 0]).action, Action::Kill);
    assert_eq!(compute.judge(number("openat"), &[0; 6]).action, Action::Allow);
    assert_eq!(compute.judge(number("openat"), &[0, 0, 0o101, 0, 0, 0]).action, Action::Kill);
    assert_eq!(compute.judge(number("mmap"), &[0, 4096, 3, 0x22, u64::MAX, 0]).action, Action::Allow);
    assert_eq!(compute.judge(number("mmap"), &[0, 4096, 5, 0x2, 3, 0]).action, Action::Allow);
    assert_eq!(compute.judge(number("mmap"), &[0, 4096, 7, 0x22, u64::MAX, 0]).action, Action::Kill);
    assert_eq!(compute.judge(number("clone"), &[0x11, 0, 0, 0, 0, 0]).action, Action::Kill);
}

#[test]
fn strings_behind_pointers() {
    let policy = compiled(
        r#"default = "allow"
[[rule]]
calls = ["openat", "renameat"]
when = [{ arg = 1, path = ["/etc/shadow*", "/root/**"] }]
action = { errno = "EACCES" }
[[rule]]
calls = ["mount"]
when = [{ arg = 2, string = "tmp*", not = true }, { arg = 3, op = "==", value = 0 }]
action = "kill"
"#,
    );
    assert!(policy.reads_memory());
    let judge = |name: &str, argument: u8, text: &[u8]| {
        let rules = policy.about(number(name));
        assert_eq!(rules.reads(), [policy::Read { argument, form: policy::Form::String }]);
        let mut pointed = policy::Pointed::NOTHING;
        pointed.set(argument, text);
        rules.judge(&[1; 6], &pointed).action
    };
    assert_eq!(judge("openat", 1, b"/etc/shadow-"), errno("EACCES"));
    assert_eq!(judge("renameat", 1, b"/root"), errno("EACCES"));
    assert_eq!(judge("openat", 1, b"/etc/passwd"), Action::Allow);
    assert_eq!(judge("mount", 2, b"proc"), Action::Allow, "the other condition does not hold");
    let rules = policy.about(number("mount"));
    let mut pointed = policy::Pointed::NOTHING;
    pointed.set(2, b"proc");
    assert_eq!(rules.judge(&[0; 6], &pointed).action, Action::Kill);
    pointed.set(2, b"tmpfs");
    assert_eq!(rules.judge(&[0; 6], &pointed).action, Action::Allow);
    // Without a string no condition on it holds, with `not` or without.
    assert_eq!(policy.judge(number("mount"), &[0; 6]).action, Action::Allow);
    assert_eq!(policy.judge(number("openat"), &[0; 6]).action, Action::Allow);
    assert!(policy.about(number("read")).reads().is_empty());
    assert!(!compiled("default = \"allow\"\n").reads_memory());
}
