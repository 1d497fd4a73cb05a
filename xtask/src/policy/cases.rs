//! `policy test`: calls with the verdicts that a policy is expected to give.
//!
//! ```toml
//! [[case]]
//! call = 'openat(AT_FDCWD, "/etc/shadow", O_RDONLY)'   # as a trace has it
//! verdict = "errno EACCES"                              # as `policy explain` has it
//! rule = 3                                              # optional: the rule that decides, from 1; 0 is the default; "3 base.toml" is
//!                                                       # one of an included file, which is named as verdicts name it
//! tainted = true                                        # optional: once all that taints (`[[taint]]`) has been done
//! ```
use super::explain;
use policy::Policy;
use serde::Deserialize;

/// Most cases of a file.
const MAX_CASES: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    call: String,
    verdict: String,
    #[serde(default)]
    tainted: bool,
    rule: Option<RuleName>,
}

/// A rule of the file that was asked for, or of one that it includes.
#[derive(Deserialize)]
#[serde(untagged)]
enum RuleName {
    Own(u16),
    Included(String),
}

impl RuleName {
    /// How `explain` begins the name of such a rule.
    fn explained(&self, policy: &Policy) -> String {
        match self {
            Self::Own(0) => "default".to_owned(),
            Self::Own(number) => format!("rule {number} {}:", policy.name()),
            Self::Included(name) => format!("rule {name}:"),
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
        match wrong(policy, case) {
            None => lines += &format!("{} ... ok\n", case.call),
            Some(why) => {
                failed += 1;
                lines += &format!("{} ... FAILED: {why}\n", case.call);
            }
        }
    }
    lines += &format!("{} passed, {failed} failed\n", cases.len() - failed);
    Ok((lines, failed))
}

/// What is not as expected.
fn wrong(policy: &Policy, case: &Case) -> Option<String> {
    let explained = match explain::explain(policy, &case.call, case.tainted) {
        Ok(explained) => explained,
        Err(failure) => return Some(failure.to_string()),
    };
    let explained = explained.trim_end();
    let (action, by) = explained.split_once(", by ").unwrap_or((explained, ""));
    if action != case.verdict {
        return Some(format!("{explained}; wanted {}", case.verdict));
    }
    let wanted = case.rule.as_ref()?.explained(policy);
    (!by.starts_with(&wanted)).then(|| format!("{explained}; wanted {}", wanted.trim_end_matches(':')))
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
        assert!(lines.contains("FAILED: allow, by rule 1 p:2; wanted kill"), "{lines}");
        assert!(lines.ends_with("0 passed, 3 failed\n"));
    }

    #[test]
    fn rules_of_included_files_have_names() {
        let file = |name, text| policy::File { name, text };
        let main = "version = 1\ninclude = [\"b\"]\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n";
        let policy = policy::parse_files(&[file("a", main), file("b", POLICY)]).unwrap();
        let failed = |rule: &str| {
            let case = format!("[[case]]\ncall = 'socket(AF_UNIX)'\nverdict = \"allow\"\nrule = {rule}\n");
            test(&policy, "c", &case).unwrap().1
        };
        assert_eq!((failed("\"1 b\""), failed("1"), failed("\"2 b\"")), (0, 1, 1));
    }

    #[test]
    fn errors_have_a_place() {
        assert!(run("[[case]]\ncall = 3\n").unwrap_err().starts_with("c:2:8: "));
        assert!(run("[[case]]\ncall = ''\nverdict = ''\nmore = 1\n").unwrap_err().starts_with("c:4:1: unknown field"));
        assert!(run("").unwrap_err().contains("1 to 10000 cases"));
    }
}
