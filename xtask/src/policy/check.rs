//! `policy check`: what is wrong with a policy, or at least odd.
use super::model::{Comparison, Model};
use super::{PolicyFiles, explain, paths, process, sections, taints};
use crate::exit::Failure;
use policy::numbers;
use proto::syscalls::{self, SYSCALLS};

/// The lines about a policy; the error if it is none.
pub(super) fn check(files: &PolicyFiles) -> Result<String, Failure> {
    let policy = files.compiled()?;
    let model = files.model()?;
    let is_denied = |call: &str| model.network.as_ref().is_some_and(|network| network.lists_nothing_for(call));
    let by_default = |call: &&syscalls::Syscall| model.about(call.number).next().is_none() && !is_denied(call.name);
    let left: Vec<&str> = SYSCALLS.iter().filter(by_default).map(|call| call.name).collect();
    let default = explain::action(&policy.judge_unknown());
    let count = policy.rule_count();
    let rules = if count == 1 { "rule" } else { "rules" };
    let mut lines = format!("{}: {count} {rules}; the default is {default}\n", files.name());
    if let [_, included @ ..] = files.parts()
        && !included.is_empty()
    {
        let names: Vec<&str> = included.iter().map(|part| part.name.as_str()).collect();
        lines += &format!("included, in the order in which their rules are tried: {}\n", names.join(" "));
    }
    for part in files.parts() {
        lines.extend(part.notes.iter().map(|note| format!("{}: {note}\n", part.name)));
    }
    lines.extend(process::check(&policy).iter().map(|line| format!("{line}\n")));
    lines.extend(sections::check(&policy, &model).iter().map(|line| format!("{line}\n")));
    lines.extend(taints::check(&policy, &model).iter().map(|line| format!("{line}\n")));
    lines.extend(paths::summary(&policy).map(|line| format!("{line}\n")));
    lines.extend(unreachable(&model).iter().map(|line| format!("{line}\n")));
    lines += &match left.as_slice() {
        [] => "every known call is named by a rule\n".to_owned(),
        all if all.len() == SYSCALLS.len() => "every call is left to the default\n".to_owned(),
        calls => format!("{} calls are left to the default:\n{}", calls.len(), wrapped(calls)),
    };
    Ok(lines)
}

/// Names in lines that fit a terminal.
fn wrapped(names: &[&str]) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    let mut line = String::new();
    for name in names {
        if line.len() + 1 + name.len() > WIDTH {
            lines.extend([line.as_str(), "\n"]);
            line.clear();
        }
        line.extend([if line.is_empty() { "  " } else { " " }, name]);
    }
    lines + &line + "\n"
}

/// Rules that never decide a call that they name, because an earlier one, whose conditions hold wherever theirs do, always does. (One without
/// conditions is an error already.)
fn unreachable(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for call in SYSCALLS {
        let rules: Vec<(&str, Vec<Comparison>, bool)> = model
            .about(call.number)
            .map(|rule| (rule.place.as_str(), rule.comparisons(call.number), rule.looks_further(call.number)))
            .collect();
        for (index, (place, conditions, _)) in rules.iter().enumerate() {
            let covers = |(_, earlier, further): &&(&str, Vec<Comparison>, bool)| {
                !further && earlier.iter().all(|condition| implied(condition, conditions))
            };
            // Of one line of another format there may be several rules, of which some say the same.
            let Some((earlier, ..)) = rules.iter().take(index).find(covers).filter(|(earlier, ..)| earlier != place)
            else {
                continue;
            };
            let name = call.name;
            let line =
                format!("{place}: never decides `{name}`: {earlier} does, whose conditions hold whenever these do");
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Whether a condition holds wherever all these do.
fn implied(condition: &Comparison, by: &[Comparison]) -> bool {
    let number = |comparison: &Comparison| comparison.number();
    let alike = by.iter().filter(|other| other.place == condition.place);
    let opposite = numbers::Comparison { op: condition.op.opposite(), ..number(condition) };
    numbers::contradict(&alike.map(number).chain([opposite]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rules: &str) -> String {
        check(&PolicyFiles::native("f", &format!("version = 1\n{rules}"))).unwrap()
    }

    #[test]
    fn checks_name_what_is_left_to_the_default() {
        let lines = lines("[[rule]]\ncalls = [\"@known\"]\naction = \"allow\"\n");
        assert!(lines.starts_with("f: 1 rule; the default is errno EPERM\n"), "{lines}");
        assert!(lines.contains(" statmount") && !lines.contains(" read "), "{lines}");
        assert!(lines.lines().all(|line| line.len() <= 100), "{lines}");
    }

    #[test]
    fn a_policy_without_rules_leaves_all_to_the_default() {
        assert_eq!(lines(""), "f: 0 rules; the default is errno EPERM\nevery call is left to the default\n");
    }

    #[test]
    fn checks_name_rules_that_never_decide() {
        let rule = |when: &str| format!("[[rule]]\ncalls = [\"read\"]\nwhen = [{when}]\naction = \"allow\"\n");
        let (first, second) = ("{ arg = 0, op = \"==\", value = 3 }", "{ arg = 2, op = \">\", value = 9 }");
        let both = format!("{first}, {second}");
        assert!(lines(&(rule(first) + &rule(&both))).contains("f:6: never decides `read`: f:2 does"));
        assert!(!lines(&(rule(&both) + &rule(first) + &rule(second))).contains("never decides"));
        let (wide, narrow) = ("{ arg = 2, op = \">=\", value = 5 }", "{ arg = \"count\", op = \"==\", value = 7 }");
        assert!(lines(&(rule(wide) + &rule(narrow))).contains("f:6: never decides `read`"));
        assert!(!lines(&(rule(narrow) + &rule(wide))).contains("never decides"));
    }
}
