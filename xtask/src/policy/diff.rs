//! `policy diff`: calls about which two policies say different things.
//!
//! A call's verdict can change only where a condition of either policy does. Both are asked about calls that stand at and beside what conditions compare
//! with ([`Probes`]), in all combinations, or in as many as there is time for.
use super::model::Model;
use super::probes::{Probe, Probes};
use super::{explain, paths, process, sections, taints};
use policy::{Policy, Verdict};
use proto::syscalls::SYSCALLS;

/// A line for each call whose verdict changes, and for each change of what the process is and sees, of what `[network]` lists, of limits, budgets, taints and `[events]`, and of rights on files.
pub(super) fn diff(before: (&Policy, &Model), after: (&Policy, &Model)) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(change) = change(u64::MAX, &before.0.judge_unknown(), &after.0.judge_unknown()) {
        lines.push(format!("unknown calls: {change}"));
    }
    for call in SYSCALLS {
        let probes = Probes::new(call.number, &[before.1, after.1]);
        let rules = [before.0, after.0].map(|policy| policy.about(call.number.into()));
        let changes = probes.all().map(|probe| {
            let [before, after] = rules.map(|rules| rules.judge(&probe.args, &probe.pointed()));
            let change = change(call.number.into(), &before, &after);
            (probe, change)
        });
        lines.extend(describe(call.name, changes));
    }
    lines.extend(process::diff(before.0, after.0));
    lines.extend(sections::diff(before, after));
    lines.extend(taints::diff(before.0, after.0));
    lines.extend(paths::diff(before.0, after.0));
    lines
}

/// The line about a call: one change for all arguments, or each change with an example.
fn describe<'p>(name: &str, changes: impl Iterator<Item = (Probe<'p>, Option<String>)>) -> Vec<String> {
    let (mut examples, mut same) = (Vec::<(Probe<'_>, String)>::new(), false);
    for (probe, change) in changes {
        match change {
            None => same = true,
            Some(change) if examples.iter().any(|(_, known)| *known == change) => {}
            Some(change) => examples.push((probe, change)),
        }
    }
    if let ([(_, change)], false) = (examples.as_slice(), same) {
        return vec![format!("{name}: {change}")];
    }
    examples.iter().map(|(probe, change)| format!("{name}({}): {change}", probe.text())).collect()
}

/// What changes between two verdicts on a call of this number.
fn change(call: u64, before: &Verdict<'_>, after: &Verdict<'_>) -> Option<String> {
    let is_same = before.action == after.action
        && before.log == after.log
        && before.rewrites() == after.rewrites()
        && before.question() == after.question();
    let stated = |verdict| {
        let words = [vec![explain::action(verdict)], explain::changes(verdict, call)].concat();
        words.join(" ")
    };
    (!is_same).then(|| format!("{} -> {}", stated(before), stated(after)))
}

#[cfg(test)]
mod tests {
    use super::super::files::Part;
    use super::*;

    fn differences(before: &str, after: &str) -> Vec<String> {
        let read = |text: &str| (policy::parse("p", text).unwrap(), Model::read(&[Part::native("p", text)]).unwrap());
        let (before, after) = (read(before), read(after));
        diff((&before.0, &before.1), (&after.0, &after.1))
    }

    const RULE: &str = "version = 1\n[[rule]]\ncalls = [\"read\", \"socket\"]\naction = \"allow\"\n";

    #[test]
    fn equal_policies_have_no_differences() {
        let other = "version = 1\n[[rule]]\ncalls = [\"socket\"]\nwhen = [{ arg = 0, op = \">=\", value = 4 }]\naction = \"allow\"\n[[rule]]\ncalls = [\"socket\"]\nwhen = [{ arg = 0, op = \"<\", value = 4 }]\naction = \"allow\"\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n";
        assert!(differences(RULE, other).is_empty());
    }

    #[test]
    fn changes_are_named_with_an_example_where_they_depend_on_arguments() {
        let other = "version = 1\ndefault = \"kill\"\n[[rule]]\ncalls = [\"socket\"]\nwhen = [{ arg = 0, op = \"!=\", value = \"AF_INET\" }]\naction = \"allow\"\n[[rule]]\ncalls = [\"read\"]\naction = \"log\"\n";
        let lines = differences(RULE, other);
        assert_eq!(lines[..2], ["unknown calls: errno EPERM -> kill", "read: allow -> log"]);
        assert!(lines.contains(&"socket(AF_INET): allow -> kill".to_owned()), "{lines:?}");
        assert!(lines.contains(&"write: errno EPERM -> kill".to_owned()));
    }

    #[test]
    fn what_is_rewritten_counts() {
        let rule = |change: &str| {
            let change = format!("{{ rewrite = [{{ arg = 1, {change} }}] }}");
            format!("version = 1\n[[rule]]\ncalls = [\"openat\"]\naction = {change}\n")
        };
        assert!(differences(&rule("path = \"/a\""), &rule("path = \"/a\"")).is_empty());
        assert_eq!(
            differences(&rule("path = \"/a\""), &rule("path = \"/b\"")),
            ["openat: rewrite pathname := \"/a\" -> rewrite pathname := \"/b\""]
        );
    }

    #[test]
    fn what_arguments_point_to_counts() {
        let rule = |calls: &str, when: &str| {
            format!(
                "version = 1\n[[rule]]\ncalls = [{calls}]\nwhen = [{{ {when} }}]\naction = \"kill\"\n[hosts]\n\"a.example\" = [\"10.0.0.1\"]\n"
            )
        };
        let changes = |calls: &str, one: &str, other: &str| differences(&rule(calls, one), &rule(calls, other));
        assert_eq!(
            changes("\"openat\"", "arg = 1, path = \"/etc/*\"", "arg = 1, path = [\"/etc/*\", \"/root/**\"]"),
            ["openat(0x0, \"/root\"): errno EPERM -> kill"]
        );
        assert_eq!(
            changes("\"openat\"", "arg = 1, path = \"/etc/*\"", "arg = 1, path = \"/etc/*\", not = true").len(),
            2
        );
        assert_eq!(
            changes("\"connect\"", "address = \"10.0.0.0/8:80\"", "address = \"10.0.0.0/9:80\""),
            ["connect(0x0, \"10.255.255.255:80\"): kill -> errno EPERM"]
        );
        assert_eq!(
            changes("\"connect\"", "address = \"a.example:80\"", "address = \"a.example:81\""),
            [
                "connect(0x0, \"10.0.0.1:80\"): kill -> errno EPERM",
                "connect(0x0, \"10.0.0.1:81\"): errno EPERM -> kill"
            ]
        );
        assert!(changes("\"connect\"", "address = \"a.example:80\"", "address = \"10.0.0.1:80\"").is_empty());
        let flags = |value: &str| format!("arg = \"how.flags\", op = \"==\", value = {value}");
        assert_eq!(
            changes("\"openat2\"", &flags("3"), &flags("\"O_WRONLY\"")),
            [
                "openat2(0x0, 0x0, {flags=O_WRONLY}): errno EPERM -> kill",
                "openat2(0x0, 0x0, {flags=0x3}): kill -> errno EPERM"
            ]
        );
        let resolve = "arg = \"resolve\", op = \"==\", value = \"RESOLVE_BENEATH\"";
        assert!(changes("\"openat2\"", resolve, "arg = \"how.resolve\", op = \"==\", value = 8").is_empty());
        assert_eq!(
            changes("\"openat2\"", resolve, &flags("1")),
            [
                "openat2(0x0, 0x0, {flags=O_WRONLY, resolve=0x0}): errno EPERM -> kill",
                "openat2(0x0, 0x0, {flags=O_RDONLY, resolve=RESOLVE_BENEATH}): kill -> errno EPERM"
            ]
        );
        assert_eq!(
            changes("\"write\"", "prefix = \"GET\"", "contains = \"GET\""),
            ["write(0x0, \"-GET\"): errno EPERM -> kill"]
        );
        assert_eq!(
            changes("\"sendmsg\"", "contains = { hex = \"ff\" }", "contains = \"b\""),
            ["sendmsg(0x0, \"-b\"): errno EPERM -> kill", "sendmsg(0x0, \"-\\xff\"): kill -> errno EPERM"]
        );
    }
}
