//! `[[taint]]`: what taints, which calls it denies, and what is wrong with one.

mod refused;

use policy::{Action, File, Policy, Rights, parse, parse_files};

fn parsed(text: &str) -> Policy {
    parse("p.toml", &format!("version = 1\n{text}")).unwrap_or_else(|error| panic!("{error}"))
}

fn taint(paths: &str, more: &str) -> String {
    format!("[[taint]]\npaths = {paths}\ndeny = [\"connect\"]\n{more}")
}

/// The bits of calls that may be held back.
fn held(policy: &Policy, call: &str) -> u64 {
    policy.about(proto::syscalls::by_name(call).expect("a call").number.into()).holds()
}

const FIRST: u64 = 1 << 63;
const SECOND: u64 = 1 << 62;

#[test]
fn taints_of_all_files_hold() {
    let files = [
        (
            "d/a",
            "version = 1\n[[taint]]\npaths = [\"/etc/secret*\", \"/vault/**\"]\ndeny = [\"@network-io\"]\nreason = \"why\"\n[[budget]]\ncalls = [\"connect\"]\ncount = 1\n",
        ),
        (
            "d/b",
            "version = 1\n[[taint]]\npaths = \"/vault/key\"\nrights = [\"write\"]\ndeny = [\"write\", 1, \"connect\"]\naction = \"kill\"\n",
        ),
    ];
    let files = files.map(|(name, text)| File::new(name, text));
    assert_eq!(parse_files(&files).unwrap_err().to_string(), "d/b:5:18: `write` stands in this rule twice; remove one");
    let [first, File { text, .. }] = files;
    let policy = parse_files(&[first, File::new("d/b", &text.replace("\"write\", 1,", "\"write\","))]);
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        [held(&policy, "connect"), held(&policy, "write"), held(&policy, "read")],
        [FIRST | SECOND | 1, SECOND, 0]
    );
    let said: Vec<(usize, String, String)> =
        policy.taints().map(|taint| (taint.bit, taint.rights.to_string(), taint.verdict.rule().to_string())).collect();
    let expected = [(63, "read execute", "[[taint]] a:2: why"), (62, "write", "[[taint]] b:2")];
    assert_eq!(said, expected.map(|(bit, rights, rule)| (bit, rights.to_owned(), rule.to_owned())));
    assert!(matches!(policy.held(63).action, Action::Errno(errno) if errno.name == "EPERM"));
    assert_eq!(policy.held(62).action, Action::Kill);
    assert_eq!(policy.held(0).rule().to_string(), "[[budget]] a:6");
    assert_eq!(policy.held(61).rule().reason, Some("the policy's table is damaged"));
    assert_eq!(policy.rule_count(), 0);
}

#[test]
fn uses_taint_by_path_and_right() {
    let policy = parsed(
        &(taint("[\"/etc/secret*\", \"/vault/**\"]", "")
            + &taint("\"/vault/key\"", "rights = [\"write\", \"list\"]\n")),
    );
    let by = |path: &str, rights| policy.tainted_by(path.as_bytes(), rights);
    assert_eq!(by("/etc/secret.txt", Rights::READ), FIRST);
    assert_eq!(by("/vault/key", Rights::EXECUTE), FIRST);
    assert_eq!(by("/vault/key", Rights::WRITE), SECOND);
    assert_eq!(by("/vault/key", Rights::READ.and(Rights::WRITE)), FIRST | SECOND);
    assert_eq!(by("/vault/key", Rights::NONE), 0);
    assert_eq!(by("/vault/other", Rights::LIST), 0);
    assert!(policy.has_taints() && !parsed("").has_taints());
}

#[test]
fn other_names_that_would_taint_less() {
    let policy = parsed(&(taint("[\"/vault/**\", \"**/*.key\"]", "") + &taint("\"/**\"", "")));
    let lost = |from: &str, to: &str| policy.taints_lost(from.as_bytes(), to.as_bytes());
    assert_eq!([lost("/vault/a", "/tmp/a"), lost("/tmp/a", "/vault/a"), lost("/vault/a", "/tmp/a.key")], [FIRST, 0, 0]);
    let changed = |one: &str, other: &str| policy.taints_changed_below(one.as_bytes(), other.as_bytes());
    assert_eq!([changed("/vault/a", "/vault/b/c"), changed("/tmp/a", "/tmp/b")], [0, 0]);
    assert_eq!([changed("/vault", "/tmp/a"), changed("/tmp/a", "/vault/a")], [FIRST, FIRST]);
}

#[test]
fn what_taints_is_compared_without_what_it_denies() {
    let same = |one: &str, other: &str| parsed(one).same_triggers(&parsed(other));
    let first = taint("\"/a\"", "");
    assert!(same(
        &first,
        &(taint("[\"/a\"]", "action = \"kill\"\nreason = \"x\"\nrights = [\"execute\", \"read\"]\n"))
    ));
    assert!(
        !same(&first, &taint("\"/b\"", ""))
            && !same(&first, "")
            && !same(&first, &taint("\"/a\"", "rights = [\"read\"]\n"))
    );
}

#[test]
fn places_of_mistakes() {
    let refused = |text: &str, line: u32, column: u32, words: &str| {
        refused::refused(&format!("version = 1\n[[taint]]\n{text}\n"), line, column, words);
    };
    refused("deny = [\"read\"]", 2, 1, "has no `paths`");
    refused("paths = \"/a\"", 2, 1, "has no `deny`");
    refused("paths = []\ndeny = [\"read\"]", 3, 9, "`paths` is empty");
    refused("paths = \"a\"\ndeny = [\"read\"]", 3, 9, "begin with `/`");
    refused("paths = \"/a/../b\"\ndeny = [\"read\"]", 3, 9, "never matches");
    refused("paths = \"/a[\"\ndeny = [\"read\"]", 3, 9, "begins a set");
    refused("paths = \"/a\"\ndeny = []", 4, 8, "`deny` is empty");
    refused("paths = \"/a\"\ndeny = [\"raed\"]", 4, 9, "did you mean `read`?");
    refused("paths = \"/a\"\ndeny = [\"read\"]\nrights = []", 5, 10, "no use would taint");
    refused("paths = \"/a\"\ndeny = [\"read\"]\nrights = [\"hide\"]", 5, 10, "`hide` is no use");
    refused("paths = \"/a\"\ndeny = [\"read\"]\nrights = [\"raed\"]", 5, 11, "did you mean `read`?");
    refused("paths = \"/a\"\ndeny = [\"read\"]\naction = \"allow\"", 5, 10, "can only fail");
    refused("paths = \"/a\"\ndney = [\"read\"]", 4, 1, "did you mean `deny`?");
    let error = parse("p", "version = 1\ntaint = 3\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 9), "{error}");
    let error = parse("p", "version = 1\ntaint = [3]\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 10), "{error}");
    let budgets = "[[budget]]\ncalls = [\"read\"]\ncount = 1\n".repeat(60);
    let error = parse("p", &format!("version = 1\n{budgets}{}", taint("\"/a\"", "").repeat(5))).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (194, "more than 64 budgets and taints"));
}
