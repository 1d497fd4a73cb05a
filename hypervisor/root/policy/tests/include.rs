//! Policies of several files: whose rule decides, what it is called, and what is refused where.
use policy::{Action, File, Policy, PolicyError, includes, limits, parse, parse_files};

const READ: u64 = 0;
const WRITE: u64 = 1;
const OPEN: u64 = 2;
const CLOSE: u64 = 3;

fn of(files: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    let files: Vec<File<'_>> = files.iter().map(|(name, text)| File::new(name, text)).collect();
    parse_files(&files)
}

/// A rule on one line.
fn rule(calls: &str, action: &str) -> String {
    format!("[[rule]] # {calls}\ncalls = [{calls}]\naction = {action}\n")
}

fn verdict(policy: &Policy, call: u64) -> String {
    let verdict = policy.judge(call, &[7; 6]);
    let action = match verdict.action {
        Action::Errno(errno) => errno.name.to_owned(),
        other => format!("{other:?}"),
    };
    format!("{action} {}", verdict.rule())
}

#[test]
fn the_file_that_includes_decides_first_and_verdicts_name_the_file() {
    let main =
        format!("version = 1\ninclude = [\"lib/base.toml\", \"../last.toml\"]\n{}", rule("\"read\"", "\"kill\""));
    let base = format!(
        "version = 1\ndefault = {{ errno = \"EACCES\" }}\n{}{}",
        rule("\"read\", \"write\"", "\"allow\""),
        rule("\"open\"", "{ errno = \"EIO\" }\nwhen = [{ arg = 0, op = \"==\", value = 7 }]")
    );
    let last =
        format!("version = 1\ndefault = \"kill\"\n{}{}", rule("\"read\"", "\"allow\""), rule("\"open\"", "\"allow\""));
    let files = [("etc/p/main.toml", main.as_str()), ("etc/p/lib/base.toml", &base), ("etc/last.toml", &last)];
    let policy = of(&files).unwrap();
    assert_eq!(policy.rule_count(), 5);
    assert_eq!(verdict(&policy, READ), "Kill rule 1 main.toml:3");
    assert_eq!(verdict(&policy, WRITE), "Allow rule 1 lib/base.toml:3");
    assert_eq!(verdict(&policy, OPEN), "EIO rule 2 lib/base.toml:6");
    assert_eq!(policy.judge(OPEN, &[0; 6]).rule().to_string(), "rule 2 etc/last.toml:6");
    assert_eq!(verdict(&policy, CLOSE), "EACCES default");
    assert_eq!(policy.judge(CLOSE, &[0; 6]).rule().place.line, 2);
}

#[test]
fn errors_are_in_the_file_that_has_them() {
    let good = "version = 1\ninclude = [\"b\"]\n";
    let error = |second: &str| of(&[("a", good), ("b", second)]).unwrap_err().to_string();
    assert!(error("x = 1\n").starts_with("b:1:1: `version` is missing"));
    assert!(error("version = 1\nrules = 1\n").starts_with("b:2:1: unknown key `rules`"));
    assert!(error(&format!("version = 1\n{}", rule("\"raed\"", "\"kill\""))).starts_with("b:3:10: `raed` is no"));
    let twice = format!("version = 1\n{}{}", rule("\"read\"", "\"kill\""), rule("\"read\"", "\"kill\""));
    assert!(error(&twice).starts_with("b:6:10: `read` never gets here: the rule in line 2"), "{}", error(&twice));
}

#[test]
fn includes_are_named_with_their_places() {
    let found = includes("p", "version = 1\ninclude = [\"ä\",\n  \"b/c\"]\n").unwrap();
    let found: Vec<_> = found.iter().map(|include| (include.name.as_str(), include.line, include.column)).collect();
    assert_eq!(found, [("ä", 2, 12), ("b/c", 3, 3)]);
    assert!(includes("p", "version = 1\n").unwrap().is_empty());
    for (value, place, why) in [
        ("3", "2:11", "`include` must be an array"),
        ("[3]", "2:12", "`include` must be an array"),
        ("[\"\"]", "2:12", "no name of a file"),
        ("[\"a\\u0000\"]", "2:12", "no name of a file"),
        ("[\"a\", \"a\"]", "2:17", "included already"),
    ] {
        let text = format!("version = 1\ninclude = {value}\n");
        let error = includes("p", &text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("p:{place}: ")) && error.contains(why), "{error}");
        assert_eq!(parse("p", &text).unwrap_err().to_string(), error);
    }
    let many: Vec<String> = (0..limits::MAX_FILES).map(|number| format!("\"{number}\"")).collect();
    let error = includes("p", &format!("include = [{}]", many.join(", "))).unwrap_err();
    assert!(error.message.contains("64 files at most"), "{error}");
}

#[test]
fn what_is_included_has_to_be_there() {
    let error = parse("p", "version = 1\ninclude = [\"a\"]\n").unwrap_err();
    assert_eq!(error.to_string(), "p:2:12: what this file includes was not read together with it");
}

#[test]
fn all_files_together_have_bounds() {
    let one = "[[rule]]\ncalls = [\"read\"]\naction = \"kill\"\nwhen = [{ arg = 2, op = \"==\", value = 1 }]\n";
    let half = format!("version = 1\n{}", one.repeat(limits::MAX_CLAUSES_PER_CALL / 2 + 1));
    let error = of(&[("a", &half), ("b", &half)]).unwrap_err().to_string();
    assert!(error.starts_with("b:") && error.contains("too many rules with conditions at `read`"), "{error}");
    // The first file decides the call, so that the rules of the others cost nothing but their number.
    let first = format!("version = 1\n{}", rule("\"read\"", "\"allow\""));
    let rules = format!("version = 1\n{}", one.repeat(200));
    let mut many = vec![("a", first.as_str())];
    many.extend(["b", "c", "d", "e", "f", "g"].map(|name| (name, rules.as_str())));
    let error = of(&many).unwrap_err().to_string();
    assert!(error.starts_with("g:") && error.contains("more than 1024 rules in all files"), "{error}");
    let large = format!("version = 1\n#{}\n", "x".repeat(limits::MAX_TEXT - 100));
    let many = ["a", "b", "c", "d", "e"].map(|name| (name, large.as_str()));
    let error = of(&many).unwrap_err().to_string();
    assert!(error.starts_with("e:1:1: the policy with what it includes has"), "{error}");
    let many = vec![("a", "version = 1\n"); limits::MAX_FILES + 1];
    assert!(of(&many).unwrap_err().message.contains("64 files at most"));
}
