//! Conditions on what calls write and send.

mod rules;

use policy::{Action, Form, Pointed, Policy, Read, parse};
use rules::{compiled, number, rule};

fn refused(rules: &str, words: &str) {
    let error = parse("p.toml", &format!("version = 1\n{rules}")).expect_err(rules);
    assert!(error.line > 1 && error.message.contains(words), "{error}");
}

fn killed(policy: &Policy, call: &str, content: Option<&[u8]>) -> bool {
    let mut pointed = Pointed::NOTHING;
    if let Some(content) = content {
        pointed.set_content(content);
    }
    policy.about(number(call)).judge(&[1; 6], &pointed).action == Action::Kill
}

#[test]
fn every_call_that_writes_can_be_judged_by_its_bytes() {
    let forms = [
        ("write", 1, Form::Buffer { len: 2 }),
        ("pwrite64", 1, Form::Buffer { len: 2 }),
        ("sendto", 1, Form::Buffer { len: 2 }),
        ("writev", 1, Form::Ranges { count: 2 }),
        ("pwritev", 1, Form::Ranges { count: 2 }),
        ("pwritev2", 1, Form::Ranges { count: 2 }),
        ("sendmsg", 1, Form::MessageBytes { count: None }),
        ("sendmmsg", 1, Form::MessageBytes { count: Some(2) }),
    ];
    let calls: Vec<String> = forms.iter().map(|(call, ..)| format!("{call:?}")).collect();
    let policy = compiled(&rule(&calls.join(", "), r#"{ contains = ["key", { hex = "00 fF" }] }"#));
    for (call, argument, form) in forms {
        assert_eq!(policy.about(number(call)).reads(), [Read { argument, form }], "{call}");
        for content in [&b"a key"[..], b"key", b"\x00\xff", b"x\x00\xffy"] {
            assert!(killed(&policy, call, Some(content)), "{call} {content:?}");
        }
        for content in [Some(&b"a ke"[..]), Some(b"\xff\x00"), Some(b""), None] {
            assert!(!killed(&policy, call, content), "{call} {content:?}");
        }
    }
}

#[test]
fn beginnings_and_negations() {
    let policy = compiled(&rule("\"write\"", r#"{ prefix = ["GET ", "HEAD "], not = true }"#));
    for (content, yes) in [(&b"GET /"[..], false), (b"HEAD ", false), (b" GET /", true), (b"GE", true), (b"", true)] {
        assert_eq!(killed(&policy, "write", Some(content)), yes, "{content:?}");
    }
    assert!(!killed(&policy, "write", None), "what is not there has no beginning");
    let both = r#"{ prefix = "a" }, { contains = "b", not = true }"#;
    let policy = compiled(&rule("\"write\"", both));
    assert!(killed(&policy, "write", Some(b"ac")) && !killed(&policy, "write", Some(b"acb")));
}

/// Against the definition, for texts that overlap one another.
#[test]
fn many_texts_in_one_look() {
    let texts = ["abab", "bab", "ba", "aaa", "cab", "bc"];
    let policy = compiled(&rule("\"write\"", &format!("{{ contains = {texts:?} }}")));
    for number in 0..3_u32.pow(8) {
        let content: Vec<u8> = (0..8).map(|digit| b"abc"[(number / 3_u32.pow(digit) % 3) as usize]).collect();
        let there = texts.iter().any(|text| content.windows(text.len()).any(|window| window == text.as_bytes()));
        assert_eq!(killed(&policy, "write", Some(&content)), there, "{content:?}");
    }
}

#[test]
fn what_is_no_such_condition() {
    refused(&rule("\"read\"", r#"{ contains = "x" }"#), "`read` writes and sends no bytes that a rule can look at");
    refused(&rule("\"sethostname\"", r#"{ prefix = "x" }"#), "no bytes that a rule can look at");
    refused(&rule("\"write\"", r#"{ contains = "" }"#), "1 to 1024 bytes, this 0");
    refused(&rule("\"write\"", &format!("{{ prefix = {:?} }}", "x".repeat(1025))), "this 1025");
    refused(&rule("\"write\"", "{ contains = [] }"), "`contains` is empty");
    refused(&rule("\"write\"", "{ contains = 7 }"), "`contains` must be a text");
    for digits in ["7", "7g", "7 ff", "+7", "é0"] {
        refused(&rule("\"write\"", &format!("{{ contains = {{ hex = {digits:?} }} }}")), "two hexadecimal digits");
    }
    refused(&rule("\"write\"", "{ contains = { hxe = \"00\" } }"), "unknown key `hxe`");
    refused(&rule("\"write\"", "{ arg = 1, contains = \"x\" }"), "unknown key `arg`");
    refused(&rule("\"write\"", "{ contains = \"x\" }, { contains = \"x\" }"), "twice");
    let large: Vec<String> = (0..65).map(|n| format!("{n:01024}")).collect();
    refused(&rule("\"write\"", &format!("{{ contains = {large:?} }}")), "more than 65536 bytes");
    assert_eq!(compiled(&rule("\"write\"", &format!("{{ contains = {:?} }}", &large[..64]))).rule_count(), 1);
}
