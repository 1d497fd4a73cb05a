//! `policy test`: calls with the verdicts that a policy is expected to give, and paths with their rights.
//!
//! ```toml
//! [[case]]
//! call = 'openat(AT_FDCWD, "/etc/shadow", O_RDONLY)'   # as a trace has it
//! verdict = "errno EACCES"                              # as `policy explain` has it
//! rule = 3                                              # optional: the rule that decides, from 1; 0 is the default; "3 base.toml" is
//!                                                       # one of an included file, which is named as verdicts name it, and
//!                                                       # "docker.json:412" one of a file of another format
//! tainted = true                                        # optional: once all that taints (`[[taint]]`) has been done
//!
//! [[case]]
//! path = "/etc/passwd"                                  # as it is resolved
//! rights = ["read"]                                     # all that it has, in any order; ["hide"], or [] for none
//! entry = 1                                             # optional: the entry of `[[files]]` that decides, as `rule`
//! ```
use super::{explain, paths};
use policy::{Policy, Rights};
use serde::Deserialize;
use toml::Spanned;

/// Most cases of a file.
const MAX_CASES: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<Spanned<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    call: Option<String>,
    verdict: Option<String>,
    #[serde(default)]
    tainted: bool,
    rule: Option<RuleName>,
    path: Option<String>,
    rights: Option<Vec<String>>,
    entry: Option<RuleName>,
}

/// A rule, or an entry, of the file that was asked for, or of one that it includes.
#[derive(Deserialize)]
#[serde(untagged)]
enum RuleName {
    Own(u16),
    Included(String),
}

impl RuleName {
    /// How `explain` begins the name of such a rule, or entry (`what`): what follows is a `:`, if anything.
    fn explained(&self, what: &str, policy: &Policy) -> String {
        match self {
            Self::Own(number) => format!("{what} {number} {}", policy.name()),
            Self::Included(name) => format!("{what} {name}"),
        }
    }
}

/// The lines about all cases, and how many failed.
pub(super) fn test(policy: &Policy, name: &str, text: &str) -> Result<(String, usize), String> {
    let cases: Cases = toml::from_str(text).map_err(|error| {
        let place = super::position::Position::of_offset(text, error.span().map_or(0, |span| span.start));
        format!("{name}:{place}: {}", error.message())
    })?;
    let cases = cases.case;
    if cases.is_empty() || cases.len() > MAX_CASES {
        return Err(format!("{name}:1:1: a file has 1 to {MAX_CASES} cases (`[[case]]`), this one {}", cases.len()));
    }
    let (mut lines, mut failed) = (String::new(), 0);
    for case in &cases {
        let line = super::position::Position::of_offset(text, case.span().start).line;
        let (what, wrong) = tried(policy, case.get_ref());
        match wrong {
            None => lines += &format!("{what} ... ok\n"),
            Some(why) => {
                failed += 1;
                lines += &format!("{name}:{line}: {what} ... FAILED: {why}\n");
            }
        }
    }
    lines += &format!("{} passed, {failed} failed\n", cases.len() - failed);
    Ok((lines, failed))
}

/// What the case is about, and what is not as expected.
fn tried<'c>(policy: &Policy, case: &'c Case) -> (&'c str, Option<String>) {
    match case {
        Case { call: Some(call), verdict: Some(verdict), tainted, rule, path: None, rights: None, entry: None } => {
            (call, wrong(policy, (call, *tainted), verdict, rule.as_ref()))
        }
        Case {
            path: Some(path),
            rights: Some(rights),
            entry,
            call: None,
            verdict: None,
            rule: None,
            tainted: false,
        } => (path, wrong_rights(policy, path, rights, entry.as_ref())),
        Case { call, path, .. } => {
            let why = "a case has `call` and `verdict`, or `path` and `rights`";
            (call.as_ref().or(path.as_ref()).map_or("a case", String::as_str), Some(why.to_owned()))
        }
    }
}

fn wrong(policy: &Policy, (call, tainted): (&str, bool), verdict: &str, rule: Option<&RuleName>) -> Option<String> {
    let explained = match explain::explain(policy, call, tainted) {
        Ok(explained) => explained,
        Err(failure) => return Some(failure.to_string()),
    };
    let explained = explained.trim_end();
    let (action, by) = explained.split_once(", by ").unwrap_or((explained, ""));
    if action != verdict {
        return Some(format!("{explained}; wanted {verdict}"));
    }
    let wanted = match rule? {
        RuleName::Own(0) => "default".to_owned(),
        rule => rule.explained("rule", policy),
    };
    (!names(by, &wanted)).then(|| format!("{explained}; wanted {wanted}"))
}

/// Whether a rule, with its place and its reason, is the one that is wanted.
fn names(rule: &str, wanted: &str) -> bool {
    rule.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
}

fn wrong_rights(policy: &Policy, path: &str, rights: &[String], entry: Option<&RuleName>) -> Option<String> {
    if let Err(why) = paths::check(path) {
        return Some(why.to_owned());
    }
    let mut wanted = Rights::NONE;
    for name in rights {
        let Some(right) = Rights::by_name(name) else { return Some(format!("`{name}` is no right")) };
        wanted = wanted.and(right);
    }
    let verdict = policy.file_rights(path.as_bytes());
    let explained = format!("{}, by {verdict}", paths::stated(verdict.rights));
    if verdict.rights != wanted {
        return Some(format!("{explained}; wanted {}", paths::stated(wanted)));
    }
    let wanted = match entry? {
        RuleName::Own(0) => "files default".to_owned(),
        entry => entry.explained("files entry", policy),
    };
    (!names(&verdict.to_string(), &wanted)).then(|| format!("{explained}; wanted {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "version = 1\n[[rule]]\ncalls = [\"socket\"]\nwhen = [{ arg = 0, op = \"==\", value = \"AF_UNIX\" }]\naction = \"allow\"\n";

    fn run(cases: &str) -> Result<(String, usize), String> {
        test(&policy::parse("p", POLICY).unwrap(), "c", cases)
    }

    #[test]
    fn verdicts_and_rules_are_compared() {
        let case = |family: &str, verdict: &str, rule: u16| {
            format!("[[case]]\ncall = 'socket({family}, 1, 0)'\nverdict = \"{verdict}\"\nrule = {rule}\n")
        };
        let good = case("AF_UNIX", "allow", 1) + &case("AF_INET", "errno EPERM", 0);
        assert_eq!(run(&good).unwrap().1, 0);
        let (lines, failed) =
            run(&(case("AF_UNIX", "kill", 1) + &case("AF_UNIX", "allow", 2) + &case("AF_WHAT", "allow", 1))).unwrap();
        assert_eq!(failed, 3);
        assert!(
            lines.starts_with("c:1: socket(AF_UNIX, 1, 0) ... FAILED: allow, by rule 1 p:2; wanted kill\nc:5: socket"),
            "{lines}"
        );
        assert!(lines.ends_with("0 passed, 3 failed\n"));
    }

    #[test]
    fn rules_of_included_files_have_names() {
        let file = |name, text| policy::File::new(name, text);
        let main = "version = 1\ninclude = [\"b\"]\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n";
        let policy = policy::parse_files(&[file("a", main), file("b", POLICY)]).unwrap();
        let failed = |rule: &str| {
            let case = format!("[[case]]\ncall = 'socket(AF_UNIX)'\nverdict = \"allow\"\nrule = {rule}\n");
            test(&policy, "c", &case).unwrap().1
        };
        assert_eq!((failed("\"1 b\""), failed("1"), failed("\"2 b\"")), (0, 1, 1));
    }

    #[test]
    fn rights_and_entries_are_compared() {
        let text =
            "version = 1\n[[files]]\npaths = \"/etc/**\"\nrights = [\"list\", \"read\"]\n[[files]]\ndefault = []\n";
        let policy = policy::parse("p", text).unwrap();
        let failed = |path: &str, rest: &str| {
            let (lines, failed) = test(&policy, "c", &format!("[[case]]\npath = \"{path}\"\n{rest}\n")).unwrap();
            (failed == 1).then_some(lines)
        };
        assert_eq!(failed("/etc", "rights = [\"read\", \"list\"]\nentry = 1"), None);
        assert_eq!(failed("/", "rights = []\nentry = 0"), None);
        assert!(failed("/", "rights = []\nentry = \"1 x\"").is_some());
        let lines = failed("/etc", "rights = [\"read\"]").unwrap();
        assert!(lines.contains("/etc ... FAILED: read list, by files entry 1 p:2; wanted read\n"), "{lines}");
        assert!(failed("/etc", "rights = [\"red\"]").unwrap().contains("`red` is no right"));
        assert!(failed("/etc/", "rights = []").unwrap().contains("no `/` at the end"));
        assert!(failed("/etc", "verdict = \"allow\"").unwrap().contains("or `path` and `rights`"));
    }

    #[test]
    fn errors_have_a_place() {
        assert!(run("[[case]]\ncall = 3\n").unwrap_err().starts_with("c:2:8: "));
        assert!(run("[[case]]\ncall = ''\nverdict = ''\nmore = 1\n").unwrap_err().starts_with("c:4:1: unknown field"));
        assert!(run("").unwrap_err().contains("1 to 10000 cases"));
    }
}
