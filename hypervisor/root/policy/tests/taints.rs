//! `[[taint]]`: what taints, which calls it denies, and what is wrong with one.

mod refused;

use policy::taint::BRINGS;
use policy::{Action, File, Pointed, Policy, Rights, parse, parse_files};

fn parsed(text: &str) -> Policy {
    parse("p.toml", &format!("version = 1\ndefault = \"allow\"\n{text}")).unwrap_or_else(|error| panic!("{error}"))
}

fn taint(paths: &str, more: &str) -> String {
    format!("[[taint]]\npaths = {paths}\ndeny = [\"connect\"]\n{more}")
}

/// The bits of calls that may be held back.
fn held(policy: &Policy, call: &str) -> u64 {
    policy.about(proto::syscalls::by_name(call).expect("a call").number.into()).holds()
}

const FIRST: u64 = 1 << 62;
const SECOND: u64 = 1 << 61;

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
    let said: Vec<(usize, String, String)> = policy
        .taints()
        .map(|taint| (taint.bit, taint.rights().to_string(), taint.verdict.rule().to_string()))
        .collect();
    let expected = [(62, "read execute", "[[taint]] a:2: why"), (61, "write", "[[taint]] b:2")];
    assert_eq!(said, expected.map(|(bit, rights, rule)| (bit, rights.to_owned(), rule.to_owned())));
    assert!(matches!(policy.held(62).action, Action::Errno(errno) if errno.name == "EPERM"));
    assert_eq!(policy.held(61).action, Action::Kill);
    assert_eq!(policy.held(0).rule().to_string(), "[[budget]] a:6");
    assert_eq!(policy.held(60).rule().reason, Some("the policy's table is damaged"));
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
    assert!(policy.has_tainting_files() && !parsed("").has_tainting_files());
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
    let calls = |when: &str| after("\"mmap\"", when);
    let executed = |mask: &str| format!("{{ arg = 2, op = \"masked_eq\", value = 4, mask = {mask} }}");
    assert!(same(&calls(&executed("4")), &calls("{mask=4,arg =2,op = 'masked_eq', value=4 }")));
    assert!(!same(&calls(&executed("4")), &calls(&executed("5"))) && !same(&calls(""), &calls(&executed("4"))));
    assert!(!same(&calls(""), &first) && !same(&calls(""), &calls("").replace("mmap", "mremap")));
    assert!(
        !same(&first, &taint("\"/b\"", ""))
            && !same(&first, "")
            && !same(&first, &taint("\"/a\"", "rights = [\"read\"]\n"))
    );
}

/// A taint by calls under these conditions.
fn after(calls: &str, when: &str) -> String {
    let when = if when.is_empty() { String::new() } else { format!("when = [{when}]\n") };
    format!("[[taint]]\ncalls = [{calls}]\n{when}deny = [\"fsync\"]\n")
}

/// The taints that this call brings.
fn brought(policy: &Policy, call: &str, args: [u64; 6], pointed: &Pointed<'_>) -> u64 {
    let rules = policy.about(proto::syscalls::by_name(call).expect("a call").number.into());
    rules.brings(&rules.judge(&args, pointed), &args, || *pointed)
}

#[test]
fn calls_taint_where_their_conditions_hold() {
    let text = after("\"ptrace\", \"@mount\"", "")
        + &after(
            "\"mprotect\", \"mmap\"",
            "{ arg = \"prot\", op = \"masked_eq\", mask = \"PROT_EXEC\", value = \"PROT_EXEC\" }",
        )
        + &after("\"connect\", \"ptrace\"", "{ address = \"10.0.0.0/8\" }")
            .replace("\"connect\", \"ptrace\"", "\"connect\"")
        + &after("\"ptrace\"", "{ arg = 0, op = \"==\", value = 16 }, { arg = 1, op = \">\", value = 1 }");
    let policy = parsed(&text);
    let nothing = Pointed::NOTHING;
    let of = |call: &str, args: [u64; 6]| brought(&policy, call, args, &nothing);
    let (third, fourth) = (SECOND >> 1, SECOND >> 2);
    assert_eq!([of("ptrace", [0; 6]), of("umount2", [0; 6]), of("read", [0; 6])], [FIRST, FIRST, 0]);
    assert_eq!([of("mmap", [0, 0, 5, 0, 0, 0]), of("mprotect", [0, 0, 3, 0, 0, 0])], [SECOND, 0]);
    assert_eq!([of("ptrace", [16, 2, 0, 0, 0, 0]), of("ptrace", [16, 1, 0, 0, 0, 0])], [FIRST | fourth, FIRST]);
    let mut pointed = Pointed::NOTHING;
    pointed.set_address(&[2, 0, 0, 80, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!([brought(&policy, "connect", [0; 6], &pointed), of("connect", [0; 6])], [third, 0]);
    let about = |call: &str| policy.about(proto::syscalls::by_name(call).expect("a call").number.into());
    assert_eq!([held(&policy, "ptrace"), held(&policy, "fsync")], [BRINGS, FIRST | SECOND | third | fourth]);
    assert_eq!((about("connect").reads().len(), about("ptrace").reads().len()), (1, 0));
    assert!(!policy.has_tainting_files());
    assert_eq!(policy.tainted_by(b"/", Rights::READ), 0);
    let stated: Vec<_> = policy.taints().map(|taint| (taint.calls().to_vec(), taint.when().join(" "))).collect();
    let when = "{ arg = \"prot\", mask = \"PROT_EXEC\", op = \"masked_eq\", value = \"PROT_EXEC\" }";
    assert_eq!(stated[1], (vec![9, 10], when.to_owned()));
}

/// Taints of a policy of several files, and rules with conditions on the same call.
#[test]
fn rules_decide_as_without_taints() {
    let rule = "[[rule]]\ncalls = [\"prctl\"]\nwhen = [{ arg = 0, op = \"==\", value = 1 }]\naction = \"allow\"\n";
    let taint = |value: u64| after("\"prctl\"", &format!("{{ arg = 0, op = \"<=\", value = {value} }}"));
    let files =
        [("a", rule.to_owned() + &taint(1)), ("b", taint(2) + "[[rule]]\ncalls = [\"prctl\"]\naction = \"kill\"\n")];
    let files = files.map(|(name, text)| (name, format!("version = 1\n{text}")));
    let policy = parse_files(&[0, 1].map(|at| File::new(files[at].0, &files[at].1))).expect("a policy");
    let told =
        |value| (policy.judge(157, &[value; 6]).action, brought(&policy, "prctl", [value; 6], &Pointed::NOTHING));
    assert_eq!(
        [told(1), told(2)],
        [(Action::Allow, FIRST | SECOND), (Action::Kill, 0)],
        "what is not carried out brings nothing"
    );
    assert_eq!(told(3), (Action::Kill, 0));
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
    refused("calls = [\"raed\"]\ndeny = [\"read\"]", 3, 10, "did you mean `read`?");
    refused("calls = [\"read\"]", 2, 1, "has no `deny`");
    refused("calls = [\"read\"]\nrights = [\"read\"]\ndeny = [\"read\"]", 4, 10, "`rights` goes with `paths`");
    refused("paths = \"/a\"\nwhen = []\ndeny = [\"read\"]", 4, 8, "`when` goes with `calls`");
    refused("calls = [\"read\"]\nwhen = []\ndeny = [\"read\"]", 4, 8, "`when` is empty");
    let number = |op: &str| format!("{{ arg = 0, op = \"{op}\", value = 1 }}");
    let when = |conditions: &str| format!("calls = [\"read\"]\nwhen = [{conditions}]\ndeny = [\"read\"]");
    refused(&when(&[number("=="), number("==")].join(",")), 4, 43, "stands in the rule twice");
    refused(&when(&[number("=="), number("!=")].join(",")), 4, 43, "never holds where");
    refused(&when("{ address = \"*\" }"), 4, 9, "`read` is passed no socket address");
    refused(&when("{ prefix = \"x\" }"), 4, 9, "writes and sends no bytes");
    refused(&when("{ arg = \"flags\", op = \"==\", value = 1 }"), 4, 17, "flags");
    let budgets = "[[budget]]\ncalls = [\"read\"]\ncount = 1\n".repeat(59);
    let error = parse("p", &format!("version = 1\n{budgets}{}", taint("\"/a\"", "").repeat(5))).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (191, "more than 63 budgets and taints"));
}
