//! What is wrong with a policy is said with its place.

mod refused;

use policy::{limits, parse, parse_bytes};
use refused::refused;

/// A policy with one rule, whose keys stand in line 3 and on.
fn rule(keys: &str) -> String {
    format!("version = 1\n[[rule]]\n{keys}\n")
}

/// A policy with one rule with this `when`; its text starts at line 5, column 8.
fn when(call: &str, conditions: &str) -> String {
    rule(&format!("calls = [\"{call}\"]\naction = \"allow\"\nwhen = {conditions}"))
}

#[test]
fn version() {
    refused("", 1, 1, "begin the policy with `version = 1`");
    refused("default = \"allow\"\n", 1, 1, "`version` is missing");
    refused("version = 2\n", 1, 11, "version 2 is not known");
    refused("version = -1\n", 1, 11, "version -1 is not known");
    refused("version = \"1\"\n", 1, 11, "must be the number 1");
    // A later version may have other keys: the version is what is wrong here.
    refused("mystery = 1\nversion = 7\n", 2, 11, "version 7");
}

#[test]
fn toml_itself() {
    refused("version = 1\ndefault = \n", 2, 11, "not TOML");
    refused("version = 1\nversion = 1\n", 2, 1, "not TOML: duplicate key");
    refused("version = 1\n[[rule]\n", 2, 8, "not TOML");
    refused("version = 1\ndefault = \"allow", 2, 17, "not TOML");
}

#[test]
fn unknown_keys() {
    refused("version = 1\nrules = 1\n", 2, 1, "unknown key `rules`; did you mean `rule`?");
    refused(
        "version = 1\n\n  frobnicate = 1\n",
        3,
        3,
        "a policy has `version`, `include`, `process`, `limits`, `root`, `bind`, `default`, `hosts`, `network`, `budget`, `rule`",
    );
    refused(&rule("calls = [\"read\"]\nactoin = \"allow\""), 4, 1, "unknown key `actoin`; did you mean `action`?");
    refused(
        &when("read", "[{ arg = 0, op = \"==\", valeu = 1 }]"),
        5,
        31,
        "unknown key `valeu`; did you mean `value`?",
    );
    refused("version = 1\ndefault = { faek = 0 }\n", 2, 13, "unknown key `faek`; did you mean `fake`?");
    // The first in the text, not in the alphabet.
    refused("version = 1\nz = 1\na = 1\n", 2, 1, "unknown key `z`");
}

#[test]
fn calls() {
    refused(&rule("action = \"allow\""), 2, 1, "this rule has no `calls`");
    refused(&rule("calls = []\naction = \"allow\""), 3, 9, "`calls` is empty");
    refused(
        &rule("calls = \"read\"\naction = \"allow\""),
        3,
        9,
        "`calls` must be an array of system call names, numbers and @groups, not a value of type string",
    );
    refused(&rule("calls = [true]\naction = \"allow\""), 3, 10, "`calls` must be system call names");
    refused(&rule("calls = [470]\naction = \"allow\""), 3, 10, "there is no call 470; numbers go from 0 to 469");
    refused(&rule("calls = [-1]\naction = \"allow\""), 3, 10, "there is no call -1");
    refused(&rule("calls = [\"read\", 0]\naction = \"allow\""), 3, 18, "`read` stands in this rule twice");
    refused(&rule("calls = [\"@proces\"]\naction = \"allow\""), 3, 10, "no group; did you mean `@process`?");
    refused(
        &rule("calls = [\"read\", \"opneat\"]\naction = \"allow\""),
        3,
        18,
        "`opneat` is no x86-64 system call; did you mean `openat`?",
    );
    refused(&rule("calls = [\"mmap2\"]\naction = \"allow\""), 3, 10, "did you mean `mmap`?");
    refused(
        &rule("calls = [\n  \"read\",\n  \"write\",\n  \"read\",\n]\naction = \"allow\""),
        6,
        3,
        "`read` stands in this rule twice",
    );
    refused("version = 1\nrule = 3\n", 2, 8, "written as `[[rule]]`");
    refused("version = 1\nrule = [3]\n", 2, 9, "a table");
    refused("version = 1\n[rule]\ncalls = [\"read\"]\n", 2, 1, "written as `[[rule]]`");
}

#[test]
fn rules_that_never_apply() {
    let text = "version = 1\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n[[rule]]\ncalls = [\"write\", \"read\"]\naction = \"kill\"\n";
    refused(text, 6, 19, "`read` never gets here: the rule in line 2 already decides it");
}

#[test]
fn actions() {
    refused(&rule("calls = [\"read\"]"), 2, 1, "this rule has no `action`");
    refused(
        "version = 1\ndefault = \"deny\"\n",
        2,
        11,
        "`deny` is no action; `default` must be \"allow\", \"kill\", \"trap\", \"log\", \"ask\", \"stop\", { errno = \"EPERM\" }, { fake = 0 },",
    );
    refused(&rule("calls = [\"read\"]\naction = 1"), 4, 10, "not a value of type integer");
    refused(&rule("calls = [\"read\"]\naction = {}"), 4, 10, "an empty action");
    refused(
        &rule("calls = [\"read\"]\naction = { errno = \"EPREM\" }"),
        4,
        20,
        "`EPREM` is no error of Linux; did you mean `EPERM`?",
    );
    refused(&rule("calls = [\"read\"]\naction = { errno = 13 }"), 4, 20, "write errno = \"EACCES\"");
    refused(&rule("calls = [\"read\"]\naction = { errno = 99999 }"), 4, 20, "`errno` takes a name");
    refused(&rule("calls = [\"read\"]\naction = { errno = true }"), 4, 20, "not a value of type boolean");
}

#[test]
fn rules_whose_group_is_decided() {
    let text = "version = 1\n[[rule]]\ncalls = [\"@clock\"]\naction = \"allow\"\n[[rule]]\ncalls = [\"@clock\"]\naction = \"kill\"\n";
    refused(text, 5, 1, "no call gets here");
}

#[test]
fn actions_with_values() {
    let action = |call: &str, action: &str| rule(&format!("calls = [\"{call}\"]\naction = {action}"));
    refused(&action("read", "{ fake = 0, errno = \"EPERM\" }"), 4, 10, "more than one action");
    refused(&action("read", "{ fake = \"no\" }"), 4, 19, "the number that the call is to return");
    refused(&action("read", "{ fake = 99999999999999999999 }"), 4, 19, "does not fit 64 bits");
    refused(&action("read", "{ rewrite = [] }"), 4, 22, "`rewrite` is empty");
    refused(&action("read", "{ rewrite = [{ value = 1 }] }"), 4, 23, "has no `arg`");
    refused(&action("read", "{ rewrite = [{ arg = 1 }] }"), 4, 23, "either `value`");
    refused(&action("read", "{ rewrite = [{ arg = 1, value = 1, mask = 1 }] }"), 4, 23, "either `value`");
    refused(&action("read", "{ rewrite = [{ arg = 1, value = 1 }, { arg = 1, mask = 1 }] }"), 4, 55, "rewritten twice");
    refused(
        &action("read", "{ rewrite = [{ arg = 1, value = 1 }, { arg = \"buf\", mask = 1 }] }"),
        4,
        55,
        "rewritten twice",
    );
    let seven = "{ arg = 1, value = 1 }, ".repeat(7);
    refused(&action("read", &format!("{{ rewrite = [{seven}] }}")), 4, 167, "more than 6 changes");
    refused(&action("read", "{ rewrite = [{ arg = 0, value = 0x1_0000_0000 }] }"), 4, 42, "looks at 32 bits");
    let path = |call: &str, path: &str| action(call, &format!("{{ rewrite = [{{ arg = 1, path = {path} }}] }}"));
    refused(&path("openat", "\"fake\""), 4, 41, "begin the path with `/`");
    refused(&path("openat", "\"\""), 4, 41, "begin the path with `/`");
    refused(&path("openat", "3"), 4, 41, "`path` must be");
    refused(&path("openat", "\"/a\\u0000b\""), 4, 41, "no path has a NUL");
    refused(&path("openat", &format!("\"/{}\"", "x".repeat(4095))), 4, 41, "at most 4095 bytes, this one 4096");
    refused(&path("read", "\"/x\""), 4, 31, "argument 1 of `read` is no path");
    refused(&path("symlink", "\"/x\", mask = 1"), 4, 23, "either `value`");
    refused(&path("close", "\"/x\""), 4, 31, "has only 1 argument");
    refused(&action("close", "{ rewrite = [{ arg = 1, value = 0 }] }"), 4, 31, "has only 1 argument");
    refused(
        &rule("calls = [\"lseek\", \"dup2\"]\naction = { rewrite = [{ arg = 1, value = -1 }] }"),
        4,
        23,
        "not the same for `lseek` and `dup2`",
    );
    refused("version = 1\ndefault = { rewrite = [{ arg = 0, value = 0 }] }\n", 2, 11, "`default` cannot rewrite");
}

/// What a rule looks at is carried out as it was judged, so that nothing else can stand there or say how much of it there is.
#[test]
fn what_is_judged_is_not_rewritten_as_a_number() {
    let rewrites = |call: &str, argument: &str| {
        format!("[[rule]]\ncalls = [\"{call}\"]\naction = {{ rewrite = [{{ arg = \"{argument}\", value = 1 }}] }}\n")
    };
    let rules =
        |call: &str, when: &str| format!("[[rule]]\ncalls = [\"{call}\"]\nwhen = [{when}]\naction = \"kill\"\n");
    let policy = |rules: &[&str]| format!("version = 1\ndefault = \"allow\"\n{}", rules.concat());
    let text = r#"{ contains = "x" }"#;
    for (call, argument, when) in [
        ("write", "count", text),
        ("write", "buf", text),
        ("writev", "iovcnt", text),
        ("sendto", "addrlen", r#"{ address = "*" }"#),
        ("openat2", "size", r#"{ arg = "how.mode", op = "==", value = 1 }"#),
    ] {
        let (look, rewrite) = (rules(call, when), rewrites(call, argument));
        refused(&policy(&[&look, &rewrite]), 8, 10, &format!("`{argument}` of `{call}` stands for"));
        let some = rewrite.replace("action", "when = [{ arg = 0, op = \"==\", value = 9 }]\naction");
        refused(&policy(&[&some, &look]), 8, 10, "what is carried out would not be what was judged");
        assert!(parse("p", &policy(&[&rewrite])).is_ok());
    }
    let asks = policy(&[&rewrites("write", "count")]).replace("\"allow\"", "\"ask\"");
    refused(&asks, 4, 10, "`count` of `write` stands for");
    // Where there is nothing, nothing was judged: a limit is asked for instead of set.
    let none = rewrites("prlimit64", "new_limit").replace("value = 1", "value = 0");
    let limits = rules("prlimit64", r#"{ arg = "rlim_cur", op = ">", value = 9 }"#);
    assert!(parse("p", &policy(&[&limits, &none])).is_ok());
    // Of several messages one is carried out, whatever they are said to be.
    let good = policy(&[&rules("sendmmsg", r#"{ address = "*" }"#), &rewrites("sendmmsg", "vlen")]);
    assert!(parse("p", &good).is_ok());
}

#[test]
fn log_and_reason() {
    refused(&rule("calls = [\"read\"]\naction = \"allow\"\nlog = \"yes\""), 5, 7, "true or false");
    refused(&rule("calls = [\"read\"]\naction = \"allow\"\nreason = 1"), 5, 10, "`reason` must be a text");
    refused(&rule("calls = [\"read\"]\naction = \"allow\"\nreason = \"\""), 5, 10, "1 to 200 bytes, this one 0");
    refused(
        &rule(&format!("calls = [\"read\"]\naction = \"allow\"\nreason = \"{}\"", "x".repeat(201))),
        5,
        10,
        "this one 201",
    );
    refused(&rule("calls = [\"read\"]\naction = \"allow\"\nreason = \"a\\u001b[31m\""), 5, 10, "control characters");
}

#[test]
fn conditions() {
    refused(&when("read", "[]"), 5, 8, "`when` is empty");
    refused(&when("read", "1"), 5, 8, "an array of conditions");
    refused(&when("read", "[1]"), 5, 9, "`when` must be a list of");
    refused(&when("read", "[{ op = \"==\", value = 1 }]"), 5, 9, "this condition has no `arg`");
    refused(&when("read", "[{ arg = 0, value = 1 }]"), 5, 9, "this condition has no `op`");
    refused(&when("read", "[{ arg = 0, op = \"==\" }]"), 5, 9, "this condition has no `value`");
    refused(
        &when("read", "[{ arg = 6, op = \"==\", value = 1 }]"),
        5,
        17,
        "there is no argument 6; `arg` counts from 0 and goes to 5",
    );
    refused(&when("read", "[{ arg = -1, op = \"==\", value = 1 }]"), 5, 17, "there is no argument -1");
    refused(&when("read", "[{ arg = true, op = \"==\", value = 1 }]"), 5, 17, "an argument's name");
    refused(
        &when("read", "[{ arg = \"cuont\", op = \"==\", value = 1 }]"),
        5,
        17,
        "`read` has no argument `cuont`; did you mean `count`? (it has `fd`, `buf`, `count`)",
    );
    refused(&when("getpid", "[{ arg = \"pid\", op = \"==\", value = 1 }]"), 5, 17, "it has no arguments with names");
    refused(&when("read", "[{ arg = \"fd\", path = \"/a\" }]"), 5, 17, "argument 0 of `read` is no path");
    refused(&when("read", "[{ arg = 0, op = \"=\", value = 1 }]"), 5, 25, "`=` is no operator");
    refused(&when("read", "[{ arg = 0, op = \"masked_eq\", value = 1 }]"), 5, 25, "`masked_eq` needs `mask`");
    refused(
        &when("read", "[{ arg = 0, op = \"==\", value = 1, mask = 1 }]"),
        5,
        49,
        "`mask` goes with op = \"masked_eq\"",
    );
    refused(&when("read", "[{ arg = 0, op = \"==\", value = 1, bits = 16 }]"), 5, 49, "`bits` must be 32 or 64");
    refused(&when("read", "[{ arg = 0, op = \"==\", value = 1, bits = \"64\" }]"), 5, 49, "`bits` must be 32 or 64");
    refused(&when("read", "[{ arg = 2, op = \"==\", value = 0x1_0000_0000, bits = 32 }]"), 5, 39, "does not fit");
    refused(&when("read", "[{ arg = 0, op = \"==\", value = 1.5 }]"), 5, 39, "`value` must be a number");
    refused(&when("read", "[{ arg = 0, op = \"==\", value = 99999999999999999999 }]"), 5, 39, "does not fit 64 bits");
}

#[test]
fn conditions_on_strings() {
    refused(&when("openat", "[{ arg = 1, path = [] }]"), 5, 27, "`path` is empty");
    refused(&when("openat", "[{ arg = 1, path = 1 }]"), 5, 27, "`path` must be a pattern or an array of patterns");
    refused(&when("openat", "[{ arg = 1, path = [\"/a\", 1] }]"), 5, 34, "`path` must be a pattern");
    refused(&when("openat", "[{ arg = 1, path = [\"/a\", \"/b**\"] }]"), 5, 34, "`**` stands for whole components");
    refused(&when("openat", "[{ arg = 1, path = \"/a\\u0000\" }]"), 5, 27, "no string has a NUL in it");
    refused(&when("openat", "[{ path = \"/a\" }]"), 5, 9, "this condition has no `arg`");
    refused(&when("openat", "[{ arg = 1, path = \"/a\", op = \"==\" }]"), 5, 33, "unknown key `op`");
    refused(&when("openat", "[{ arg = 1, path = \"/a\", not = 1 }]"), 5, 39, "`not` must be true or false");
    refused(&when("openat", "[{ arg = 2, path = \"/a\" }]"), 5, 17, "argument 2 of `openat` is no path");
    refused(&when("read", "[{ arg = 1, string = \"a\" }]"), 5, 17, "argument 1 of `read` is no string");
    refused(&when("mount", "[{ arg = 2, path = \"a\" }]"), 5, 17, "argument 2 of `mount` is no path");
    refused(&when("getpid", "[{ arg = 0, path = \"a\" }]"), 5, 17, "`getpid` has no arguments");
    let twice = "[{ arg = 1, path = \"/a\" }, { arg = 1, path = \"/a\" }]";
    refused(&when("openat", twice), 5, 35, "this condition stands in the rule twice");
    let many = "[{ arg = 0, string = \"a\" }, { arg = 1, string = \"a\" }, { arg = 2, string = \"a\" }]";
    assert!(parse("p.toml", &when("mount", many)).is_ok(), "as many as the call has");
}

#[test]
fn conditions_against_signatures() {
    refused(&when("getpid", "[{ arg = 0, op = \"==\", value = 1 }]"), 5, 17, "`getpid` has no arguments");
    refused(
        &when("close", "[{ arg = 1, op = \"==\", value = 1 }]"),
        5,
        17,
        "`close` has only 1 argument, counted from 0",
    );
    refused(&when("ioctl", "[{ arg = 1, op = \"==\", value = 0x1_0000_0000 }]"), 5, 39, "`ioctl` looks at 32 bits");
    refused(&when("openat", "[{ arg = 3, op = \"==\", value = 0x10000 }]"), 5, 39, "`openat` looks at 16 bits");
    refused(
        &when("openat", "[{ arg = 2, op = \"==\", value = \"O_CREATE\" }]"),
        5,
        39,
        "`O_CREATE` is no name for this argument of `openat`; did you mean `O_CREAT`?",
    );
    refused(
        &when("read", "[{ arg = 2, op = \"==\", value = \"MANY\" }]"),
        5,
        39,
        "this argument of `read` has no names",
    );
    // The rule holds for two calls, and makes no sense for the second.
    let text = rule("calls = [\"read\", \"close\"]\naction = \"allow\"\nwhen = [{ arg = 2, op = \"==\", value = 1 }]");
    refused(&text, 5, 17, "`close` has only 1 argument");
}

#[test]
fn conditions_that_say_nothing() {
    refused(&when("read", "[{ arg = 0, op = \">=\", value = 0 }]"), 5, 9, "this condition always holds");
    refused(&when("read", "[{ arg = 0, op = \"<\", value = 0 }]"), 5, 9, "this condition never holds");
    refused(&when("read", "[{ arg = 0, op = \"<=\", value = 0xffffffff }]"), 5, 9, "always holds");
    refused(&when("read", "[{ arg = 0, op = \">\", value = -1 }]"), 5, 9, "never holds");
    refused(&when("read", "[{ arg = 0, op = \"masked_eq\", mask = 0, value = 0 }]"), 5, 9, "always holds");
    refused(
        &when("read", "[{ arg = 0, op = \"masked_eq\", mask = 1, value = 2 }]"),
        5,
        56,
        "value 0x2 has bits outside the mask 0x1",
    );
    refused(
        &when("read", "[{ arg = 0, op = \"==\", value = 1 }, { arg = 0, op = \"==\", value = 1 }]"),
        5,
        44,
        "stands in the rule twice",
    );
    let never = |first: &str, second: &str, column: u32| {
        let conditions = format!("[{{ arg = 2, {first} }}, {{ arg = \"flags\", {second} }}]");
        refused(&when("openat", &conditions), 5, column, "never holds where the conditions before it do");
    };
    never("op = \"==\", value = 1", "op = \"==\", value = 2", 44);
    never("op = \">\", value = 5", "op = \"<=\", value = 5", 43);
    never("op = \"masked_eq\", mask = 3, value = 1", "op = \"==\", value = \"O_RDWR\"", 61);
    never("op = \"!=\", value = 1", "op = \"==\", value = 1", 44);
    let range = "[{ arg = 2, op = \">=\", value = 1 }, { arg = 2, op = \"<=\", value = 1 }]";
    assert!(parse("p.toml", &when("openat", range)).is_ok());
}

#[test]
fn columns_count_characters() {
    refused("version = 1\n[[rule]]\nreason = \"für später\"; x\n", 3, 22, "not TOML");
    refused(
        &rule("calls = [\"read\"]\naction = \"allow\"\nwhen = [{ arg = 0, op = \"≠\", value = \"é\" }]"),
        5,
        25,
        "`≠` is no operator",
    );
    refused(
        "version = 1\r\n[[rule]]\r\ncalls = [\"x\"]\r\naction = \"kill\"\r\n",
        3,
        10,
        "`x` is no x86-64 system call",
    );
}

#[test]
fn bounds() {
    let long = format!("version = 1\n#{}\n", "x".repeat(limits::MAX_TEXT));
    refused(&long, 1, 1, "bytes; at most 262144 are read");

    let one = "[[rule]]\ncalls = [\"read\"]\nwhen = [{ arg = 2, op = \"==\", value = 7 }]\naction = \"allow\"\n";
    let calls_bound = format!("version = 1\n{}", one.repeat(limits::MAX_CLAUSES_PER_CALL + 1));
    refused(&calls_bound, 2 + 4 * 256 + 1, 10, "too many rules with conditions at `read`");

    let rules_bound =
        format!("version = 1\n{}", "[[rule]]\ncalls=[\"read\"]\naction=\"kill\"\n".repeat(limits::MAX_RULES + 1));
    refused(&rules_bound, 2 + 3 * 1024, 1, "more than 1024 rules");

    let condition = |value: usize| format!("{{ arg = 2, op = \"!=\", value = {value} }}");
    let conditions = (0..=limits::MAX_CONDITIONS).map(condition).collect::<Vec<_>>().join(",\n");
    refused(&when("read", &format!("[\n{conditions}]")), 22, 1, "more than 16 conditions");
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("version = 1\ndefault = {}1{}\n", open.repeat(50_000), close.repeat(50_000));
        let error = parse("deep.toml", &text).expect_err("too deep");
        assert_eq!(error.line, 2, "{error} {open}");
    }
    let dotted = format!("version = 1\n{}x = 1\n", "a.".repeat(100_000));
    assert!(parse("deep.toml", &dotted).expect_err("too deep").message.contains("recursion limit"));
}

#[test]
fn bytes_that_are_no_text() {
    let error = parse_bytes("p.toml", b"version = 1\n# \xc3\xa4 \xff\n").expect_err("no text");
    assert_eq!(error.to_string(), "p.toml:2:5: not UTF-8 from here on; a policy is a text file");
    let wide: Vec<u8> = "\u{feff}version = 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = parse_bytes("p.toml", &wide).expect_err("UTF-16");
    assert_eq!(error.to_string(), "p.toml:1:1: this is UTF-16; write the policy as UTF-8");
    assert!(parse_bytes("p.toml", b"version = 1\n").is_ok());
}
