//! `policy diff`: calls about which two policies say different things.
//!
//! A call's verdict can change only where a condition of either policy does. Both are asked about arguments at and beside every number that a condition
//! compares with, in all combinations, or in as many as there is time for.
use super::explain;
use super::model::{Comparison, Model};
use super::{sections, taints};
use policy::{Policy, Verdict};
use proto::syscalls::SYSCALLS;

/// Most combinations of arguments that are tried for one call.
const MAX_TUPLES: usize = 1 << 16;

/// A line for each call whose verdict changes, and for each change of what `[network]` lists, of budgets and of taints.
pub(super) fn diff(before: (&Policy, &Model), after: (&Policy, &Model)) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(change) = change(&before.0.judge_unknown(), &after.0.judge_unknown()) {
        lines.push(format!("unknown calls: {change}"));
    }
    for call in SYSCALLS {
        let rules = before.1.about(call.number).chain(after.1.about(call.number));
        let comparisons: Vec<Comparison> = rules.flat_map(|rule| rule.comparisons(call.number)).collect();
        let verdicts = tuples(&comparisons).map(|args| {
            let number = call.number.into();
            (args, change(&before.0.judge(number, &args), &after.0.judge(number, &args)))
        });
        lines.extend(describe(call.name, &comparisons, verdicts));
    }
    lines.extend(sections::diff(before, after));
    lines.extend(taints::diff(before.0, after.0));
    lines
}

/// The line about a call: one change for all arguments, or each change with an example.
fn describe(
    name: &str,
    comparisons: &[Comparison],
    verdicts: impl Iterator<Item = ([u64; 6], Option<String>)>,
) -> Vec<String> {
    let (mut examples, mut same) = (Vec::<([u64; 6], String)>::new(), false);
    for (args, change) in verdicts {
        match change {
            None => same = true,
            Some(change) if examples.iter().any(|(_, known)| *known == change) => {}
            Some(change) => examples.push((args, change)),
        }
    }
    if let ([(_, change)], false) = (examples.as_slice(), same) {
        return vec![format!("{name}: {change}")];
    }
    let count = comparisons.iter().map(|comparison| usize::from(comparison.argument) + 1).max().unwrap_or(0);
    let line = |(args, change): &([u64; 6], String)| {
        let args: Vec<String> = args.iter().take(count).map(|argument| format!("{argument:#x}")).collect();
        format!("{name}({}): {change}", args.join(", "))
    };
    examples.iter().map(line).collect()
}

/// What changes between two verdicts.
fn change(before: &Verdict<'_>, after: &Verdict<'_>) -> Option<String> {
    let is_same = before.action == after.action && before.log == after.log && before.rewrites() == after.rewrites();
    (!is_same).then(|| format!("{} -> {}", explain::action(before), explain::action(after)))
}

/// Arguments around what is compared with.
fn tuples(comparisons: &[Comparison]) -> impl Iterator<Item = [u64; 6]> {
    let values: [Vec<u64>; 6] = std::array::from_fn(|argument| {
        let on_this = comparisons.iter().filter(|comparison| usize::from(comparison.argument) == argument);
        let near = on_this.flat_map(|comparison| {
            let Comparison { value, mask, .. } = *comparison;
            [value, value.wrapping_add(1), value.wrapping_sub(1), value ^ mask, value | !mask]
        });
        let mut values: Vec<u64> = std::iter::once(0).chain(near).collect();
        values.sort_unstable();
        values.dedup();
        values
    });
    let all: usize = values.iter().map(Vec::len).fold(1, usize::saturating_mul);
    // Where there are too many, an odd step takes some of all.
    let step = (all / MAX_TUPLES) | 1;
    (0..all).step_by(step).map(move |mut index| {
        std::array::from_fn(|argument| {
            let choices = values.get(argument).map_or(&[][..], Vec::as_slice);
            let at = index % choices.len().max(1);
            index /= choices.len().max(1);
            choices.get(at).copied().unwrap_or(0)
        })
    })
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
        assert!(lines.contains(&"socket(0x2): allow -> kill".to_owned()), "{lines:?}");
        assert!(lines.contains(&"write: errno EPERM -> kill".to_owned()));
    }

    #[test]
    fn tuples_are_bounded() {
        let comparison =
            |argument| Comparison { argument, op: super::super::model::Op::Equal, value: 9, mask: u64::MAX };
        let many: Vec<Comparison> = (0..6)
            .flat_map(|argument| (0..20).map(move |value| Comparison { value, ..comparison(argument) }))
            .collect();
        assert!(tuples(&many).count() <= MAX_TUPLES + 1);
        assert_eq!(tuples(&[]).count(), 1);
    }
}
