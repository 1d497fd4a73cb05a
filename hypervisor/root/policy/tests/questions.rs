//! Rules that ask.

use policy::errno::{EACCES, EPERM};
use policy::{Action, Form, Question, Read, Settlement, parse};

/// The question of a default with this action, or what is wrong with it.
fn question(action: &str) -> Result<Question, String> {
    let text = format!("version = 1\ndefault = {action}\n");
    let policy = parse("p", &text).map_err(|error| error.to_string())?;
    let verdict = policy.judge(0, &[0; 6]);
    assert_eq!(verdict.action, Action::Ask);
    assert!(policy.asks());
    verdict.question().ok_or_else(|| "no question".to_owned())
}

#[test]
fn what_is_asked_and_what_holds_without_an_answer() {
    let usual = Question { limit: 60, otherwise: Settlement::Errno(EPERM) };
    for text in ["\"ask\"", "{ ask = {} }", "{ ask = { limit = 60 } }", "{ ask = { limit = \"1m\" } }"] {
        assert_eq!(question(text), Ok(usual), "{text}");
    }
    for (otherwise, settled) in [
        ("\"allow\"", Settlement::Allow),
        ("\"kill\"", Settlement::Kill),
        ("{ kill = \"process\" }", Settlement::KillProcess),
        ("{ kill = \"thread\" }", Settlement::KillThread),
        ("{ errno = \"EACCES\" }", Settlement::Errno(EACCES)),
    ] {
        let text = format!("{{ ask = {{ limit = \"30s\", otherwise = {otherwise} }} }}");
        let question = question(&text).unwrap();
        assert_eq!(question, Question { limit: 30, otherwise: settled });
        let denied = if settled == Settlement::Errno(EACCES) { EACCES } else { EPERM };
        assert_eq!(question.denial(), Settlement::Errno(denied));
    }
    assert_eq!(question("{ ask = { limit = \"24h\" } }").unwrap().limit, 86400);
    for (text, limit) in [("\"stop\"", 60), ("{ stop = { limit = \"5m\" } }", 300)] {
        let text = format!("version = 1\n[[rule]]\ncalls = [\"openat\"]\naction = {text}\n");
        let policy = parse("p", &text).unwrap();
        let verdict = policy.judge(257, &[0; 6]);
        assert_eq!((verdict.action, verdict.question()), (Action::Stop, Some(Question { limit, ..usual })));
        assert!(policy.asks() && policy.about(257).reads().is_empty(), "nothing changes while it stands still");
    }
    let policy = parse("p", "version = 1\n").unwrap();
    assert!(!policy.asks() && policy.judge(0, &[0; 6]).question().is_none());
}

#[test]
fn what_is_no_question_is_refused_with_its_place() {
    for (text, place, words) in [
        ("{ ask = true }", "p:2:19", "`ask` must be a table such as { limit"),
        ("{ ask = { limits = 1 } }", "p:2:21", "unknown key `limits`; did you mean `limit`?"),
        ("{ ask = { limit = 0 } }", "p:2:29", "`limit` must be 1 second to a day"),
        ("{ ask = { limit = \"2d\" } }", "p:2:29", "`limit` must be 1 second to a day"),
        ("{ ask = { limit = \"-1s\" } }", "p:2:29", "`limit` must be"),
        ("{ ask = { limit = \"soon\" } }", "p:2:29", "`limit` must be"),
        ("{ ask = { limit = 1.5 } }", "p:2:29", "`limit` must be"),
        ("{ ask = { otherwise = \"ask\" } }", "p:2:33", "without an answer a call can only be carried out"),
        ("{ ask = { otherwise = \"trap\" } }", "p:2:33", "without an answer"),
        ("{ ask = { otherwise = { fake = 0 } } }", "p:2:33", "without an answer"),
        ("{ ask = { otherwise = \"log\" } }", "p:2:33", "`log = true` in the rule"),
        ("{ ask = { otherwise = { errno = \"EPRM\" } } }", "p:2:43", "`EPRM` is no error of Linux; did you mean"),
        ("{ stop = {}, ask = {} }", "p:2:11", "more than one action"),
        ("{ stop = 1 }", "p:2:20", "`stop` must be a table such as { limit"),
        ("{ ask = {}, errno = \"EPERM\" }", "p:2:11", "more than one action"),
    ] {
        let error = question(text).unwrap_err();
        assert!(error.starts_with(place) && error.contains(words), "{text}: {error}");
    }
    let section = "version = 1\n[network]\naction = \"ask\"\n";
    assert!(parse("p", section).unwrap_err().to_string().contains("can only fail"));
}

#[test]
fn what_a_question_shows_is_read() {
    let rule = |call: &str, when: &str| format!("[[rule]]\ncalls = [\"{call}\"]\n{when}action = \"ask\"\n");
    let when = "when = [{ arg = 2, op = \"==\", value = 1 }]\n";
    let text = "version = 1\n".to_owned()
        + &rule("openat", "")
        + &rule("mount", when)
        + &rule("sendmsg", "")
        + &rule("getpid", "")
        + "[[rule]]\ncalls = [\"rename\"]\naction = \"allow\"\n";
    let policy = parse("p", &text).unwrap();
    let string = |argument| Read { argument, form: Form::String };
    let reads = |call: &str| policy.about(proto::syscalls::by_name(call).unwrap().number.into()).reads();
    assert_eq!(reads("openat"), [string(1)]);
    assert_eq!(reads("mount"), [string(0), string(1), string(2)]);
    let message = [Form::Message { count: None }, Form::MessageBytes { count: None }];
    assert_eq!(reads("sendmsg"), message.map(|form| Read { argument: 1, form }));
    assert!(reads("getpid").is_empty() && reads("rename").is_empty());
    // Whatever is left to a default that asks; and of every call that can be shown as a whole.
    let policy =
        parse("p", "version = 1\ndefault = \"ask\"\n[[rule]]\ncalls = [\"open\"]\naction = \"allow\"\n").unwrap();
    assert!(policy.about(2).reads().is_empty(), "another rule decides");
    assert_eq!(policy.about(82).reads(), [string(0), string(1)]);
    for call in proto::syscalls::SYSCALLS {
        let text = format!("version = 1\n[[rule]]\ncalls = [\"{}\"]\naction = \"ask\"\n", call.name);
        assert!(parse("p", &text).is_ok(), "{}", call.name);
    }
}
