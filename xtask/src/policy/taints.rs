//! What `[[taint]]` comes to in words, for those who look at policies without running anything.
use super::explain;
use super::model::Model;
use super::probes::Probes;
use super::sections::may_be_carried_out;
use policy::{Policy, Verdict, taint::Taint};
use proto::syscalls::{self, SYSCALLS};

/// The lines of `policy check`.
pub(super) fn check(policy: &Policy, model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for taint in policy.taints() {
        let rule = taint.verdict.rule();
        let calls = denied(policy, &taint);
        lines.push(format!("{rule}: after {}: {}", cause(&taint), terms(policy, &taint)));
        if !calls.iter().any(|call| may_be_carried_out(policy, call)) {
            lines.push(format!("{rule}: denies nothing: no rule lets any of these calls be carried out"));
        }
        if !may_come(policy, model, &taint) {
            lines.push(format!("{rule}: never comes in force: no call was found that brings it and is carried out"));
        }
    }
    lines
}

/// Whether a file brings a taint, or a call does that the rules carry out: all that stand where a condition changes are tried.
fn may_come(policy: &Policy, model: &Model, taint: &Taint<'_>) -> bool {
    let brings = |call: &u32| {
        let rules = policy.about((*call).into());
        Probes::new(*call, &[model]).all().any(|probe| {
            let (args, pointed) = (probe.args, probe.pointed());
            let verdict = rules.judge(&args, &pointed);
            let brings = rules.brings(&verdict, &args, || pointed);
            explain::is_carried_out(&verdict) && brings >> taint.bit & 1 != 0
        })
    };
    taint.patterns().next().is_some() || taint.calls().iter().any(brings)
}

/// The lines of `policy explain` about a call that is carried out.
pub(super) fn explain(policy: &Policy, call: u64) -> Vec<String> {
    let line = |taint: Taint<'_>| {
        let (action, rule) = (explain::action(&taint.verdict), taint.verdict.rule());
        format!("after {}: {action}, by {rule}", cause(&taint))
    };
    that_deny(policy, call).map(line).collect()
}

/// The lines of `policy explain` about a call that brings these taints if it is carried out.
pub(super) fn brought(policy: &Policy, bits: u64) -> impl Iterator<Item = String> {
    let brought = policy.taints().filter(move |taint| bits >> taint.bit & 1 != 0);
    brought.map(|taint| format!("then {}, by {}", terms(policy, &taint), taint.verdict.rule()))
}

/// What is said to a call that would be carried out when all taints are in force.
pub(super) fn verdict(policy: &Policy, call: u64) -> Option<Verdict<'_>> {
    that_deny(policy, call).next().map(|taint| taint.verdict)
}

/// The lines of `policy diff`.
pub(super) fn diff(before: &Policy, after: &Policy) -> Vec<String> {
    let stated = |policy: &Policy| -> Vec<(String, String)> {
        policy.taints().map(|taint| (cause(&taint), terms(policy, &taint))).collect()
    };
    let (before, after) = (stated(before), stated(after));
    let mut known: Vec<&String> = Vec::new();
    let mut lines = Vec::new();
    for (cause, _) in before.iter().chain(&after) {
        if known.contains(&cause) {
            continue;
        }
        known.push(cause);
        let of = |taints: &[(String, String)]| {
            let terms: Vec<&str> =
                taints.iter().filter(|(other, _)| other == cause).map(|(_, terms)| terms.as_str()).collect();
            if terms.is_empty() { "nothing".to_owned() } else { terms.join("; ") }
        };
        let (then, now) = (of(&before), of(&after));
        if then != now {
            lines.push(format!("[[taint]] after {cause}: {then} -> {now}"));
        }
    }
    if lines.is_empty() && before != after {
        lines.push("[[taint]]: tried in another order".to_owned());
    }
    lines
}

/// What has to be done for a taint to be in force: `read execute of /etc/secret*`, `connect where { address = "10.0.0.0/8" }`, or both.
fn cause(taint: &Taint<'_>) -> String {
    let patterns: Vec<&str> = taint.patterns().collect();
    let files = (!patterns.is_empty()).then(|| format!("{} of {}", taint.rights(), patterns.join(" ")));
    let name =
        |call: &u32| syscalls::by_number((*call).into()).map_or_else(|| call.to_string(), |call| call.name.into());
    let calls: Vec<String> = taint.calls().iter().map(name).collect();
    let when = if taint.when().is_empty() { String::new() } else { format!(" where {}", taint.when().join(" ")) };
    let calls = (!calls.is_empty()).then(|| calls.join(" ") + &when);
    files.into_iter().chain(calls).collect::<Vec<_>>().join(", or ")
}

/// What is done then: `errno EPERM for connect sendto`.
fn terms(policy: &Policy, taint: &Taint<'_>) -> String {
    let (calls, action) = (denied(policy, taint), explain::action(&taint.verdict));
    format!("{action} for {}", if calls.is_empty() { "no known call".to_owned() } else { calls.join(" ") })
}

/// The names of the calls that a taint denies.
fn denied(policy: &Policy, taint: &Taint<'_>) -> Vec<&'static str> {
    let is_denied = |call: u32| policy.about(call.into()).holds() >> taint.bit & 1 != 0;
    SYSCALLS.iter().filter(|call| is_denied(call.number)).map(|call| call.name).collect()
}

/// The taints that deny a call, the one that decides first.
fn that_deny(policy: &Policy, call: u64) -> impl Iterator<Item = Taint<'_>> {
    let holds = policy.about(call).holds();
    policy.taints().filter(move |taint| holds >> taint.bit & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::explain::explain;
    use super::super::files::Part;
    use super::*;

    const TEXT: &str = "version = 1
default = \"allow\"
[[taint]]
paths = [\"/etc/secret*\", \"/vault/**\"]
deny = [\"connect\", \"sendto\"]
reason = \"it knows\"
[[taint]]
paths = \"/key\"
rights = [\"write\"]
deny = [\"sendto\"]
action = \"kill\"
[[rule]]
calls = [\"sendto\"]
when = [{ arg = 0, op = \"==\", value = 9 }]
action = { errno = \"EIO\" }
";

    fn parsed(text: &str) -> Policy {
        policy::parse("f", text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn checked(text: &str) -> Vec<String> {
        check(&parsed(text), &Model::read(&[Part::native("f", text)]).unwrap())
    }

    /// A taint by calls, and a rule about them.
    fn by_calls(call: &str, rule: &str, when: &str) -> String {
        format!(
            "version = 1\n[[rule]]\ncalls = [\"{call}\"]\n{rule}\n[[rule]]\ncalls = [\"write\"]\naction = \"allow\"\n\
             [[taint]]\n{when}\ncalls = [\"{call}\"]\ndeny = [\"write\"]\nreason = \"why\"\n"
        )
    }

    #[test]
    fn check_says_what_calls_bring() {
        let (allow, ten) = ("action = \"allow\"", "when = [{ address = \"10.0.0.0/8\" }]");
        let lines = checked(&by_calls("connect", allow, ten));
        assert_eq!(
            lines,
            ["[[taint]] f:8: why: after connect where { address = \"10.0.0.0/8\" }: errno EPERM for write"]
        );
        let never = |rule: &str, when: &str| match checked(&by_calls("connect", rule, when)).as_slice() {
            [_] => false,
            [_, never] => never.ends_with("never comes in force: no call was found that brings it and is carried out"),
            lines => panic!("{lines:?}"),
        };
        assert!(never("action = \"kill\"", ten) && !never("action = \"ask\"", ten));
        let near = "when = [{ address = \"127.0.0.0/8\" }]\naction = \"allow\"";
        let wide = ten.replace("10.0.0.0/8", "96.0.0.0/3");
        assert!(!never(allow, &format!("paths = \"/a\"\n{ten}")) && !never(near.replace("127", "10").as_str(), ten));
        assert!(never(near, ten) && !never(near, &wide));
        let executable = "when = [{ arg = 2, op = \"masked_eq\", mask = 4, value = 4 }]";
        let rewritten = "action = { rewrite = [{ arg = 2, mask = 3 }] }";
        let text = by_calls("mprotect", allow, executable);
        assert_eq!(checked(&text).len(), 1);
        assert_eq!(checked(&text.replacen(allow, rewritten, 1)).len(), 2, "it is never executable");
    }

    #[test]
    fn explain_says_what_a_call_brings() {
        let policy = parsed(&by_calls("connect", "action = \"allow\"", "when = [{ address = \"10.0.0.0/8\" }]"));
        let explained = |call: &str, tainted| explain(&policy, call, tainted).unwrap();
        let then = "then errno EPERM for write, by [[taint]] f:8: why\n";
        assert_eq!(explained("connect(3, \"10.0.0.1:80\")", false), format!("allow, by rule 1 f:2\n{then}"));
        assert_eq!(explained("connect(3, \"10.0.0.1:80\")", true), "allow, by rule 1 f:2\n");
        assert_eq!(explained("connect(3, \"11.0.0.1:80\")", false), "allow, by rule 1 f:2\n");
        let later = "after connect where { address = \"10.0.0.0/8\" }: errno EPERM, by [[taint]] f:8: why\n";
        assert_eq!(explained("write(1)", false), format!("allow, by rule 2 f:5\n{later}"));
    }

    #[test]
    fn check_says_what_they_come_to() {
        let expected = [
            "[[taint]] f:3: it knows: after read execute of /etc/secret* /vault/**: errno EPERM for connect sendto",
            "[[taint]] f:7: after write of /key: kill for sendto",
        ];
        let mut lines = checked(TEXT);
        lines.iter_mut().for_each(|line| *line = line.replace("sendto connect", "connect sendto"));
        assert_eq!(lines, expected);
    }

    #[test]
    fn check_says_what_denies_nothing() {
        let lines = checked(&TEXT.replace("default = \"allow\"\n", ""));
        assert_eq!(lines.len(), 4);
        assert!(lines[1].starts_with("[[taint]] f:2: it knows: denies nothing"), "{lines:?}");
    }

    #[test]
    fn explain_says_what_changes() {
        let policy = parsed(TEXT);
        let explained = |call: &str, tainted| explain(&policy, call, tainted).unwrap();
        let later = "after read execute of /etc/secret* /vault/**: errno EPERM, by [[taint]] f:3: it knows\n";
        assert_eq!(explained("connect(3, \"127.0.0.1:80\")", false), format!("allow, by default\n{later}"));
        assert_eq!(explained("connect(3, \"127.0.0.1:80\")", true), "errno EPERM, by [[taint]] f:3: it knows\n");
        assert_eq!(explained("sendto(3)", false).lines().count(), 3);
        assert_eq!(explained("sendto(9)", true), "errno EIO, by rule 1 f:12\n", "a rule decides before");
        assert_eq!(explained("read(9)", true), "allow, by default\n");
    }

    #[test]
    fn changes_are_differences() {
        let changed = |from: &str, to: &str| diff(&parsed(TEXT), &parsed(&TEXT.replace(from, to)));
        assert!(changed("it knows", "it does").is_empty());
        assert_eq!(
            changed("\"kill\"", "{ errno = \"EPERM\" }"),
            ["[[taint]] after write of /key: kill for sendto -> errno EPERM for sendto"]
        );
        assert_eq!(
            changed("paths = \"/key\"\nrights = [\"write\"]", "calls = [\"ptrace\"]"),
            [
                "[[taint]] after write of /key: kill for sendto -> nothing",
                "[[taint]] after ptrace: nothing -> kill for sendto"
            ]
        );
        assert_eq!(
            changed("/key", "/other"),
            [
                "[[taint]] after write of /key: kill for sendto -> nothing",
                "[[taint]] after write of /other: nothing -> kill for sendto"
            ]
        );
        let both = |one: &str, other: &str| {
            let taint = |path: &str| format!("[[taint]]\npaths = \"{path}\"\ndeny = [\"read\"]\n");
            parsed(&format!("version = 1\n{}{}", taint(one), taint(other)))
        };
        assert_eq!(diff(&both("/a", "/b"), &both("/b", "/a")), ["[[taint]]: tried in another order"]);
    }
}
