//! OCI's seccomp JSON (runtime-spec, `linux.seccomp`), alone or in a `config.json`, and Docker's profiles, which add
//! includes and excludes.
//!
//! What the words mean is what runc and libseccomp make of them: registers are compared in all their bits; a rule with the
//! default's action says nothing; a rule without conditions decides alone, wherever it stands; two conditions on the same argument are
//! alternatives. A name that x86-64 does not have is passed over.
use super::native::{self, Action, Condition, Rule};
use serde::Deserialize;
use std::collections::HashSet;

/// What a container of Docker's has unless told otherwise.
const DOCKER_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// The kernel that the sandbox resembles: Debian 12's.
const KERNEL: (u32, u32) = (6, 1);
/// EPERM, what an error is if the file names none.
const EPERM: u16 = 1;
/// ENOSYS, what a call gets for which there is neither a tracer nor a listener (seccomp(2)).
const ENOSYS: u16 = 38;
/// The highest error that a filter can give (seccomp_rule_add(3)).
const MAX_ERRNO: u32 = 4095;

/// A `config.json`: its part that is read here.
#[derive(Deserialize)]
struct Config {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    seccomp: Option<Profile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: ActionName,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Clone, Copy, Deserialize)]
enum ActionName {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// SIGSYS ends a program that has no handler for it.
    #[serde(
        rename = "SCMP_ACT_KILL",
        alias = "SCMP_ACT_KILL_THREAD",
        alias = "SCMP_ACT_KILL_PROCESS",
        alias = "SCMP_ACT_TRAP"
    )]
    Kill,
    #[serde(rename = "SCMP_ACT_TRACE", alias = "SCMP_ACT_NOTIFY")]
    Ask,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    names: Vec<String>,
    /// The old spelling, for one.
    name: Option<String>,
    action: ActionName,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Operator,
}

#[derive(Clone, Copy, Deserialize)]
enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// Docker's condition on where a profile is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Translates a file. Errors begin with line and column.
pub(super) fn to_native(text: &str) -> Result<String, String> {
    let place = |error: serde_json::Error| format!("{}:{}: {error}", error.line(), error.column());
    let whole: serde_json::Value = serde_json::from_str(text).map_err(place)?;
    let profile = if whole.get("ociVersion").is_some() {
        let config: Config = serde_json::from_str(text).map_err(place)?;
        let seccomp = config.linux.and_then(|linux| linux.seccomp);
        seccomp.ok_or("1:1: this config.json has no `linux.seccomp`, so it says nothing about system calls")?
    } else {
        serde_json::from_str(text).map_err(place)?
    };
    let (default, rules) = translate(profile).map_err(|error| format!("1:1: {error}"))?;
    Ok(native::write("Made by `cargo xtask policy convert` from an OCI seccomp profile.", default, &rules))
}

fn translate(profile: Profile) -> Result<(Action, Vec<Rule>), String> {
    let default = action(profile.default_action, profile.default_errno_ret)?;
    let (mut plain, mut conditional) = (Vec::<Rule>::new(), Vec::new());
    let mut settled = HashSet::new();
    for entry in profile.syscalls.iter().filter(|entry| applies(entry)) {
        let action = action(entry.action, entry.errno_ret)?;
        if action == default {
            continue;
        }
        let names = entry.names.iter().chain(&entry.name);
        let calls: Vec<&str> = names.filter_map(|name| native::known(name)).collect();
        for conditions in alternatives(entry.args.as_deref().unwrap_or(&[]))? {
            if conditions.is_empty() {
                let calls = calls.iter().copied().filter(|call| settled.insert(*call)).collect();
                plain.push(Rule { calls, action, conditions });
            } else {
                conditional.push(Rule { calls: calls.clone(), action, conditions });
            }
        }
    }
    // A rule without conditions decides alone.
    for rule in &mut conditional {
        rule.calls.retain(|call| !settled.contains(call));
    }
    plain.extend(conditional);
    for rule in &mut plain {
        let mut seen = HashSet::new();
        rule.calls.retain(|call| seen.insert(*call));
    }
    plain.retain(|rule| !rule.calls.is_empty());
    Ok((default, plain))
}

/// The rules that an entry's conditions make: one with all of them, or one each if two are on the same argument. What never
/// holds is left out.
fn alternatives(arguments: &[Argument]) -> Result<Vec<Vec<Condition>>, String> {
    let conditions = arguments.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::new();
    let twice = !conditions.iter().all(|condition| seen.insert(condition.argument));
    let rules: Vec<Vec<Condition>> =
        if twice { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] };
    let possible = rules.into_iter().filter(|rule| rule.iter().all(|condition| condition.constant() != Some(false)));
    Ok(possible.map(|rule| rule.into_iter().filter(|condition| condition.constant().is_none()).collect()).collect())
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    if argument.index > 5 {
        return Err(format!("there is no argument {}; `index` goes from 0 to 5", argument.index));
    }
    let (op, value, mask) = match argument.op {
        Operator::NotEqual => ("!=", argument.value, None),
        Operator::Less => ("<", argument.value, None),
        Operator::LessOrEqual => ("<=", argument.value, None),
        Operator::Equal => ("==", argument.value, None),
        Operator::GreaterOrEqual => (">=", argument.value, None),
        Operator::Greater => (">", argument.value, None),
        // libseccomp drops bits of the value that the mask hides.
        Operator::MaskedEqual => ("masked_eq", argument.value_two & argument.value, Some(argument.value)),
    };
    Ok(Condition { argument: argument.index, op, value, mask })
}

fn action(name: ActionName, errno: Option<u32>) -> Result<Action, String> {
    Ok(match name {
        ActionName::Allow => Action::Allow,
        ActionName::Log => Action::Log,
        ActionName::Kill => Action::Kill,
        ActionName::Ask => Action::Errno(ENOSYS),
        ActionName::Errno => {
            let errno = errno.unwrap_or(EPERM.into());
            let fits = u16::try_from(errno).ok().filter(|_| errno <= MAX_ERRNO);
            Action::Errno(fits.ok_or_else(|| format!("{errno} is no error; they go to {MAX_ERRNO}"))?)
        }
    })
}

/// Whether an entry is meant for a container with Docker's capabilities on this processor and kernel.
fn applies(entry: &Entry) -> bool {
    let arch = |arches: &Vec<String>| arches.iter().any(|arch| arch == "amd64");
    let capability = |name: &String| DOCKER_CAPABILITIES.contains(&name.as_str());
    let kernel = |version: &String| is_old_enough(version);
    let excluded = entry.excludes.as_ref().is_some_and(|filter| {
        filter.arches.as_ref().is_some_and(arch)
            || filter.caps.iter().flatten().any(capability)
            || filter.min_kernel.as_ref().is_some_and(kernel)
    });
    let included = entry.includes.as_ref().is_none_or(|filter| {
        filter.arches.as_ref().is_none_or(|arches| arches.is_empty() || arch(arches))
            && filter.caps.iter().flatten().all(capability)
            && filter.min_kernel.as_ref().is_none_or(kernel)
    });
    included && !excluded
}

/// Whether the sandbox's kernel is this version or newer. What is no version is newer than any.
fn is_old_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) <= KERNEL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Action as Verdict, parse};

    fn compiled(syscalls: &str) -> policy::Policy {
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{syscalls}]}}"#);
        parse("p", &to_native(&text).unwrap()).unwrap()
    }

    fn allows(policy: &policy::Policy, number: u64, args: [u64; 6]) -> bool {
        policy.judge(number, &args).action == Verdict::Allow
    }

    #[test]
    fn registers_are_compared_whole() {
        let policy = compiled(
            r#"{"names": ["personality", "not_of_x86"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}"#,
        );
        assert!(allows(&policy, 135, [8, 0, 0, 0, 0, 0]));
        assert!(!allows(&policy, 135, [8 | 1 << 32, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn a_rule_without_conditions_decides_alone() {
        let policy = compiled(
            r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
               {"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#,
        );
        assert!(allows(&policy, 0, [8, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn two_conditions_on_one_argument_are_alternatives() {
        let policy = compiled(
            r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}]},
               {"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_GE"}, {"index": 2, "value": 6, "valueTwo": 255, "op": "SCMP_CMP_MASKED_EQ"}]}"#,
        );
        assert!(allows(&policy, 0, [8, 0, 0, 0, 0, 0]) && allows(&policy, 0, [9, 0, 0, 0, 0, 0]));
        assert!(!allows(&policy, 0, [7, 0, 0, 0, 0, 0]));
        assert!(allows(&policy, 1, [1, 0, 0xf6, 0, 0, 0]));
        assert!(!allows(&policy, 1, [0, 0, 6, 0, 0, 0]) && !allows(&policy, 1, [1, 0, 4, 0, 0, 0]));
    }

    #[test]
    fn constant_conditions() {
        let policy = compiled(
            r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_GE"}]},
               {"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_LT"}]}"#,
        );
        assert!(allows(&policy, 0, [0; 6]) && !allows(&policy, 1, [0; 6]));
    }

    #[test]
    fn dockers_conditions() {
        let policy = compiled(
            r#"{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
               {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
               {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
               {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.10"}},
               {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
               {"names": ["read"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
               {"name": "write", "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390", "amd64"]}}"#,
        );
        for (number, allowed) in [(165, false), (161, true), (101, true), (321, false), (0, false), (1, true)] {
            assert_eq!(allows(&policy, number, [0; 6]), allowed, "{number}");
        }
        assert!(matches!(policy.judge(435, &[0; 6]).action, Verdict::Errno(errno) if errno.name == "ENOSYS"));
    }

    #[test]
    fn the_part_of_a_container_configuration() {
        let text =
            r#"{"ociVersion": "1.0.2", "process": {}, "linux": {"seccomp": {"defaultAction": "SCMP_ACT_KILL"}}}"#;
        assert!(to_native(text).unwrap().contains("default = \"kill\""));
        assert!(to_native(r#"{"ociVersion": "1.0.2"}"#).unwrap_err().starts_with("1:1: this config.json has no"));
    }

    #[test]
    fn errors_have_a_place() {
        let error = |text: &str| to_native(text).unwrap_err();
        assert!(error("{\n\"defaultAction\": \"SCMP_ACT_MAYBE\"}").starts_with("2:33: unknown variant"));
        assert!(error("{}").contains("missing field `defaultAction`"));
        let entry = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
        assert!(error(entry).contains("there is no argument 6"));
        assert!(error(r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#).contains("no error"));
    }
}
