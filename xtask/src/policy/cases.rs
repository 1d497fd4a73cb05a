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
//! Or `name` and several steps, `[[case.step]]` ([`super::steps`]).
use super::steps::{Run, Step};
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
    name: Option<String>,
    #[serde(default)]
    step: Vec<Spanned<Step>>,
}

/// A rule, or an entry, of the file that was asked for, or of one that it includes.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RuleName {
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
        let Tried { what, wrong } = tried(policy, case);
        match wrong {
            None => lines += &format!("{what} ... ok\n"),
            Some((at, why)) => {
                failed += 1;
                let line = super::position::Position::of_offset(text, at).line;
                lines += &format!("{name}:{line}: {what} ... FAILED: {why}\n");
            }
        }
    }
    lines += &format!("{} passed, {failed} failed\n", cases.len() - failed);
    Ok((lines, failed))
}

/// What a case is about, and what is not as expected: where in the text, and why.
struct Tried<'c> {
    what: &'c str,
    wrong: Option<(usize, String)>,
}

fn tried<'c>(policy: &Policy, case: &'c Spanned<Case>) -> Tried<'c> {
    let (at, case) = (case.span().start, case.get_ref());
    let first = case.step.first().map(|step| step.get_ref().name());
    let names = [case.name.as_deref(), case.call.as_deref(), case.path.as_deref(), first];
    let what = names.into_iter().flatten().next().unwrap_or("a case");
    let has_one = case.call.is_some() || case.verdict.is_some() || case.rule.is_some() || case.tainted;
    let has_path = case.path.is_some() || case.rights.is_some() || case.entry.is_some();
    let wrong = match case {
        Case { step, .. } if !step.is_empty() && !has_one && !has_path => wrong_step(policy, step),
        Case { call: Some(call), verdict: Some(verdict), tainted, rule, step, .. } if step.is_empty() && !has_path => {
            wrong(policy, (call, *tainted), verdict, rule.as_ref()).map(|why| (at, why))
        }
        Case { path: Some(path), rights: Some(rights), entry, step, .. } if step.is_empty() && !has_one => {
            wrong_rights(policy, path, rights, entry.as_ref()).map(|why| (at, why))
        }
        _ => {
            Some((at, "a case has `call` and `verdict`, or `path` and `rights`, or steps (`[[case.step]]`)".to_owned()))
        }
    };
    Tried { what, wrong }
}

/// The first step of a run that is not as expected.
fn wrong_step(policy: &Policy, steps: &[Spanned<Step>]) -> Option<(usize, String)> {
    let mut run = Run::new(policy);
    (1..).zip(steps).find_map(|(number, step): (u32, _)| {
        let why = run.take(step.get_ref())?;
        Some((step.span().start, format!("step {number}, {}: {why}", step.get_ref().name())))
    })
}

fn wrong(policy: &Policy, (call, tainted): (&str, bool), verdict: &str, rule: Option<&RuleName>) -> Option<String> {
    match explain::explain(policy, call, tainted) {
        Ok(explained) => unlike(policy, explained.trim_end(), verdict, rule),
        Err(failure) => Some(failure.to_string()),
    }
}

/// What is wrong with a verdict that `explained` states, with its rule, if this one is wanted.
pub(super) fn unlike(policy: &Policy, explained: &str, verdict: &str, rule: Option<&RuleName>) -> Option<String> {
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
    let wanted = match rights_of(rights) {
        Ok(wanted) => wanted,
        Err(why) => return Some(why),
    };
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

/// The rights with these names.
pub(super) fn rights_of(names: &[String]) -> Result<Rights, String> {
    let one = |name: &String| Rights::by_name(name).ok_or_else(|| format!("`{name}` is no right"));
    names.iter().try_fold(Rights::NONE, |all, name| Ok(all.and(one(name)?)))
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
        assert!(failed("/etc", "verdict = \"allow\"").unwrap().contains("or `path` and `rights`, or steps"));
    }

    #[test]
    fn errors_have_a_place() {
        assert!(run("[[case]]\ncall = 3\n").unwrap_err().starts_with("c:2:8: "));
        assert!(run("[[case]]\ncall = ''\nverdict = ''\nmore = 1\n").unwrap_err().starts_with("c:4:1: unknown field"));
        assert!(run("").unwrap_err().contains("1 to 10000 cases"));
    }
}
