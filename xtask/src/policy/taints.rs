//! What `[[taint]]` comes to in words, for those who look at policies without running anything.
use super::explain;
use super::sections::may_be_carried_out;
use policy::{Policy, Verdict, taint::Taint};
use proto::syscalls::SYSCALLS;

/// The lines of `policy check`.
pub(super) fn check(policy: &Policy) -> Vec<String> {
    let line = |taint: Taint<'_>| {
        let (calls, action) = (denied(policy, &taint), explain::action(&taint.verdict));
        let calls = if calls.is_empty() { "no known call".to_owned() } else { calls.join(" ") };
        format!("{}: after {}: {action} for {calls}", taint.verdict.rule(), cause(&taint))
    };
    let is_idle = |taint: &Taint<'_>| !denied(policy, taint).iter().any(|call| may_be_carried_out(policy, call));
    let idle = |taint: Taint<'_>| {
        format!("{}: denies nothing: no rule lets any of these calls be carried out", taint.verdict.rule())
    };
    policy.taints().flat_map(|taint| [Some(line(taint)), is_idle(&taint).then(|| idle(taint))]).flatten().collect()
}

/// The lines of `policy explain` about a call that is carried out.
pub(super) fn explain(policy: &Policy, call: u64) -> Vec<String> {
    let line = |taint: Taint<'_>| {
        let (action, rule) = (explain::action(&taint.verdict), taint.verdict.rule());
        format!("after {}: {action}, by {rule}", cause(&taint))
    };
    that_deny(policy, call).map(line).collect()
}

/// What is said to a call that would be carried out when all taints are in force.
pub(super) fn verdict(policy: &Policy, call: u64) -> Option<Verdict<'_>> {
    that_deny(policy, call).next().map(|taint| taint.verdict)
}

/// The lines of `policy diff`.
pub(super) fn diff(before: &Policy, after: &Policy) -> Vec<String> {
    let stated = |policy: &Policy| -> Vec<(String, String)> {
        let terms =
            |taint: &Taint<'_>| format!("{} for {}", explain::action(&taint.verdict), denied(policy, taint).join(" "));
        policy.taints().map(|taint| (cause(&taint), terms(&taint))).collect()
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

/// What has to be done for a taint to be in force: `read execute of /etc/secret*`.
fn cause(taint: &Taint<'_>) -> String {
    format!("{} of {}", taint.rights, taint.patterns().collect::<Vec<_>>().join(" "))
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

    #[test]
    fn check_says_what_they_come_to() {
        let expected = [
            "[[taint]] f:3: it knows: after read execute of /etc/secret* /vault/**: errno EPERM for connect sendto",
            "[[taint]] f:7: after write of /key: kill for sendto",
        ];
        let mut lines = check(&parsed(TEXT));
        lines.iter_mut().for_each(|line| *line = line.replace("sendto connect", "connect sendto"));
        assert_eq!(lines, expected);
    }

    #[test]
    fn check_says_what_denies_nothing() {
        let lines = check(&parsed(&TEXT.replace("default = \"allow\"\n", "")));
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
