//! A policy in our language as an OCI seccomp profile.
//!
//! A profile has no order among its rules. So each rule is written with the opposite of those before it that decide otherwise, as a sum of
//! conjunctions; what that comes to in seccomp's operators, with one condition an argument, is exact or is refused. What seccomp
//! cannot look at (strings, structures) is taken as allowed, with a warning.
use super::super::model::{Comparison, Model, Op};
use policy::signature::Place;
use proto::syscalls::{self, SYSCALLS};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most entries that a rule may come to for one call.
const MAX_ENTRIES: usize = 256;

/// Comparisons that must all hold, at most one for each argument.
type All = BTreeMap<u8, Comparison>;

/// A profile, and what it says less exactly than the policy.
pub(in super::super) struct Written {
    pub(in super::super) profile: String,
    pub(in super::super) warnings: Vec<String>,
}

/// Writes the profile. Errors have the place of the rule that cannot be expressed.
pub(in super::super) fn write(model: &Model) -> Result<Written, String> {
    let default = match &model.default {
        None => json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 1}),
        Some(action) => action_of(action).map_err(|why| format!("the default: {why}"))?,
    };
    let mut warnings = model.unexpressed.clone();
    if let Some(otherwise) = model.default.as_ref().and_then(otherwise) {
        warnings.push(format!("the default: seccomp asks nobody; what holds without an answer is kept: {otherwise}"));
    }
    // Calls about which the same is said share their entries.
    let mut entries: Vec<(Value, Vec<&str>)> = Vec::new();
    for call in SYSCALLS {
        for entry in about(model, call.number, &default, &mut warnings)? {
            match entries.iter_mut().find(|(known, _)| *known == entry) {
                Some((_, names)) => names.push(call.name),
                None => entries.push((entry, vec![call.name])),
            }
        }
    }
    let syscalls = entries.into_iter().map(|(mut entry, names)| {
        entry["names"] = json!(names);
        entry
    });
    let mut profile = json!({
        "defaultAction": default["action"],
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": syscalls.collect::<Vec<_>>(),
    });
    if let Some(errno) = default.get("errnoRet") {
        profile["defaultErrnoRet"] = errno.clone();
    }
    let profile = serde_json::to_string_pretty(&profile).map_err(|error| error.to_string())? + "\n";
    warnings.dedup();
    Ok(Written { profile, warnings })
}

/// The entries about one call, without its name.
fn about(model: &Model, call: u32, default: &Value, warnings: &mut Vec<String>) -> Result<Vec<Value>, String> {
    if let Some(network) = &model.network
        && network.lists_nothing_for(name(call))
    {
        let entries = action_of(&network.action).and_then(|action| region(&[], &action, &[], default));
        return entries.map_err(|why| format!("{}: {why}", network.place));
    }
    let mut earlier: Vec<(Value, Vec<Comparison>)> = Vec::new();
    let mut entries = Vec::new();
    for rule in model.about(call) {
        let place = |why: String| format!("{}: `{}`: {why}", rule.place, name(call));
        let action = action_of(&rule.action).map_err(place)?;
        if let Some(otherwise) = otherwise(&rule.action) {
            let place = &rule.place;
            warnings.push(format!("{place}: seccomp asks nobody; what holds without an answer is kept: {otherwise}"));
        }
        if rule.looks_into_memory(call) {
            warnings.push(format!(
                "{}: seccomp sees no strings and structures; what the rule asks of them is left out, and all of it allowed",
                rule.place
            ));
            if !allows(&action) {
                continue;
            }
        }
        let own = rule.of_registers(call);
        entries.extend(region(&own, &action, &earlier, default).map_err(place)?);
        let is_last = own.is_empty();
        earlier.push((action, own));
        if is_last {
            return Ok(entries);
        }
    }
    if earlier.iter().any(|(action, _)| action != default) {
        return Ok(entries);
    }
    Ok(Vec::new())
}

fn allows(action: &Value) -> bool {
    ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"].iter().any(|name| action["action"] == *name)
}

/// The entries for what a rule decides: its own conditions, and none of those of earlier rules that decide otherwise.
fn region(
    own: &[Comparison],
    action: &Value,
    earlier: &[(Value, Vec<Comparison>)],
    default: &Value,
) -> Result<Vec<Value>, String> {
    if action == default {
        return Ok(Vec::new());
    }
    let mut sums: Vec<All> = with(&All::new(), own)?.into_iter().collect();
    for (_, conditions) in earlier.iter().filter(|(other, _)| other != action) {
        let mut next = Vec::new();
        for all in &sums {
            for condition in conditions {
                next.extend(with(all, &[opposite(condition)?])?);
            }
        }
        sums = next;
        if sums.len() > MAX_ENTRIES {
            return Err(format!("this comes to more than {MAX_ENTRIES} entries of a profile"));
        }
    }
    sums.iter().map(|all| entry(all, action)).collect()
}

/// The conditions together; nothing if they never hold together.
fn with(all: &All, more: &[Comparison]) -> Result<Option<All>, String> {
    let mut all = all.clone();
    for new in more {
        let known = all.get(&new.place.argument).copied();
        let merged = match known {
            None => *new,
            Some(known) if known == *new => known,
            // One of both says which value it is.
            Some(known) if is_exact(&known) => match holds(new, known.value) {
                true => known,
                false => return Ok(None),
            },
            Some(known) if is_exact(new) => match holds(&known, new.value) {
                true => *new,
                false => return Ok(None),
            },
            Some(_) => return Err(format!("seccomp takes one condition on argument {} at a time", new.place.argument)),
        };
        all.insert(new.place.argument, merged);
    }
    Ok(Some(all))
}

fn is_exact(comparison: &Comparison) -> bool {
    comparison.op == Op::Equal && comparison.mask == u64::MAX
}

fn holds(comparison: &Comparison, value: u64) -> bool {
    let value = value & comparison.mask;
    match comparison.op {
        Op::Equal => value == comparison.value,
        Op::NotEqual => value != comparison.value,
        Op::Less => value < comparison.value,
        Op::LessOrEqual => value <= comparison.value,
        Op::Greater => value > comparison.value,
        Op::GreaterOrEqual => value >= comparison.value,
    }
}

fn opposite(comparison: &Comparison) -> Result<Comparison, String> {
    let op = match comparison.op {
        // Of a single bit there are two values.
        Op::Equal if comparison.mask.count_ones() == 1 => {
            return Ok(Comparison { value: comparison.value ^ comparison.mask, ..*comparison });
        }
        Op::Equal => Op::NotEqual,
        Op::NotEqual => Op::Equal,
        Op::Less => Op::GreaterOrEqual,
        Op::LessOrEqual => Op::Greater,
        Op::Greater => Op::LessOrEqual,
        Op::GreaterOrEqual => Op::Less,
    };
    Ok(Comparison { op, ..*comparison })
}

fn entry(all: &All, action: &Value) -> Result<Value, String> {
    let args = all.values().map(argument).collect::<Result<Vec<_>, _>>()?;
    let mut entry = action.clone();
    if !args.is_empty() {
        entry["args"] = args.into();
    }
    Ok(entry)
}

fn argument(comparison: &Comparison) -> Result<Value, String> {
    let Comparison { place: Place { argument, .. }, op, value, mask } = *comparison;
    let name = match op {
        Op::Equal if mask != u64::MAX => {
            return Ok(json!({"index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}));
        }
        _ if mask != u64::MAX => {
            let bits = mask.count_ones();
            return Err(format!(
                "of argument {argument} {bits} bits are compared; seccomp does that with `==` only (bits = 64 compares all)"
            ));
        }
        Op::Equal => "SCMP_CMP_EQ",
        Op::NotEqual => "SCMP_CMP_NE",
        Op::Less => "SCMP_CMP_LT",
        Op::LessOrEqual => "SCMP_CMP_LE",
        Op::Greater => "SCMP_CMP_GT",
        Op::GreaterOrEqual => "SCMP_CMP_GE",
    };
    Ok(json!({"index": argument, "value": value, "op": name}))
}

/// Of an action that asks or stops: what is done without an answer.
fn otherwise(action: &toml::Value) -> Option<toml::Value> {
    let plain = || action.as_str().filter(|action| matches!(*action, "ask" | "stop")).map(|_| action);
    let asks = action.get("ask").or_else(|| action.get("stop")).or_else(plain)?;
    let usual = || toml::Table::from_iter([("errno".to_owned(), toml::Value::from("EPERM"))]).into();
    Some(asks.get("otherwise").cloned().unwrap_or_else(usual))
}

/// An action of our language as seccomp's.
fn action_of(action: &toml::Value) -> Result<Value, String> {
    if let Some(otherwise) = otherwise(action) {
        return action_of(&otherwise);
    }
    let errno = |number: u16| Ok(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": number}));
    let fake = action.get("fake").and_then(toml::Value::as_integer);
    let named = action.as_str().or_else(|| action.get("kill").and_then(toml::Value::as_str));
    match (named, action.get("errno").and_then(toml::Value::as_str), fake) {
        (Some("allow"), ..) => Ok(json!({"action": "SCMP_ACT_ALLOW"})),
        (Some("log"), ..) => Ok(json!({"action": "SCMP_ACT_LOG"})),
        // A container ends with its first process, which is the nearest that there is to the sandbox' end.
        (Some("kill" | "sandbox" | "process"), ..) => Ok(json!({"action": "SCMP_ACT_KILL_PROCESS"})),
        (Some("thread"), ..) => Ok(json!({"action": "SCMP_ACT_KILL_THREAD"})),
        (Some("trap"), ..) => Ok(json!({"action": "SCMP_ACT_TRAP"})),
        (_, Some(name), _) => errno(policy::errno::Errno::by_name(name).map_or(1, |errno| errno.number)),
        (.., Some(value)) if (-4095..=0).contains(&value) => {
            errno(u16::try_from(value.unsigned_abs()).map_err(|error| error.to_string())?)
        }
        _ => Err(format!("seccomp has no action like {}", json!(action))),
    }
}

fn name(call: u32) -> &'static str {
    syscalls::by_number(call.into()).map_or("?", |call| call.name)
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Part;
    use super::super::{Container, to_native};
    use super::*;

    fn profile(text: &str) -> Result<Written, String> {
        policy::parse("p", text).unwrap();
        write(&Model::read(&[Part::native("f", text)]).unwrap())
    }

    /// Both ways give the same verdicts about these calls.
    fn round_trip(text: &str, calls: &[u64]) {
        let before = policy::parse("p", text).unwrap();
        let native = to_native("p", &profile(text).unwrap().profile, &Container::default(), std::path::Path::new(""))
            .unwrap()
            .text;
        let after = policy::parse("p", &native).unwrap();
        for call in calls {
            for first in [0, 1, 2, 3, 64, 65, 0x1_0000_0001, u64::MAX] {
                for second in [0, 1, 2, 7] {
                    let args = [first, second, second, 0, 0, 0];
                    let (before, after) = (before.judge(*call, &args), after.judge(*call, &args));
                    assert_eq!((before.action, before.log), (after.action, after.log), "{call} {args:x?}\n{native}");
                }
            }
        }
    }

    #[test]
    fn verdicts_stay_the_same() {
        let rule = |calls: &str, when: &str, action: &str| {
            format!("[[rule]]\ncalls = [{calls}]\nwhen = [{when}]\naction = {action}\n")
        };
        let text = "version = 1\ndefault = { errno = \"ENOSYS\" }\n".to_owned()
            + &rule("\"read\"", "{ arg = 0, op = \"==\", value = 1, bits = 64 }", "{ errno = \"EPERM\" }")
            + &rule("\"read\"", "{ arg = 1, op = \">=\", value = 2 }", "\"log\"")
            + "[[rule]]\ncalls = [\"read\", \"@chown\"]\naction = \"allow\"\n"
            + &rule(
                "\"openat\"",
                "{ arg = 2, op = \"masked_eq\", mask = 3, value = 0 }, { arg = 0, op = \"==\", value = 1 }",
                "\"allow\"",
            )
            + &rule(
                "\"write\"",
                "{ arg = 0, op = \"masked_eq\", mask = 64, value = 64, bits = 64 }",
                "{ kill = \"process\" }",
            )
            + "[[rule]]\ncalls = [\"getpid\"]\naction = { kill = \"thread\" }\n[[rule]]\ncalls = [\"getuid\"]\naction = \"trap\"\n"
            + "[[rule]]\ncalls = [\"write\"]\naction = { fake = 0 }\n";
        round_trip(&text, &[0, 1, 2, 39, 92, 102, 257]);
    }

    #[test]
    fn calls_that_no_address_is_listed_for_are_denied() {
        let text = "version = 1\n[network]\nconnect = [\"*\"]\n[[budget]]\ncalls = [\"read\"]\ncount = 1\n[[rule]]\ncalls = [\"connect\", \"bind\", \"listen\", \"read\"]\naction = \"allow\"\n";
        let Written { profile, warnings } = profile(text).unwrap();
        let native = to_native("p", &profile, &Container::default(), std::path::Path::new("")).unwrap().text;
        let policy = policy::parse("p", &native).unwrap();
        let action = |call: &str| policy.judge(syscalls::by_name(call).unwrap().number.into(), &[0; 6]).action;
        let is_denied = |call| matches!(action(call), policy::Action::Errno(errno) if errno.name == "EACCES");
        assert!(is_denied("bind") && is_denied("listen"), "{native}");
        assert_eq!([action("connect"), action("read")], [policy::Action::Allow; 2]);
        assert!(warnings[0].starts_with("f:2: seccomp sees no addresses") && warnings[1].starts_with("f:4: "));
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn who_asks_is_taken_at_what_holds_without_an_answer() {
        let text = "version = 1\ndefault = \"ask\"\n[[rule]]\ncalls = [\"read\"]\naction = { stop = { limit = 5, otherwise = \"allow\" } }\n";
        let Written { profile, warnings } = profile(text).unwrap();
        let native = to_native("p", &profile, &Container::default(), std::path::Path::new("")).unwrap().text;
        let policy = policy::parse("p", &native).unwrap();
        assert_eq!(policy.judge(0, &[0; 6]).action, policy::Action::Allow);
        assert_eq!(policy.judge(1, &[0; 6]).action, policy::Action::Errno(policy::errno::EPERM));
        assert!(warnings[0].starts_with("the default: seccomp asks nobody"), "{warnings:?}");
        assert!(
            warnings[1].starts_with("f:3: seccomp asks nobody") && warnings[1].ends_with("\"allow\""),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_lies_in_structures_is_left_out_with_a_warning() {
        let rule = |calls: &str, value: u8, action: &str| {
            format!(
                "[[rule]]\ncalls = [{calls}]\nwhen = [{{ arg = \"flags\", op = \"==\", value = {value} }}]\naction = {action}\n"
            )
        };
        let both = rule("\"open\", \"openat2\"", 0, "{ errno = \"EACCES\" }");
        let text = format!("version = 1\ndefault = \"kill\"\n{both}{}", rule("\"openat2\"", 1, "\"allow\""));
        let Written { profile, warnings } = profile(&text).unwrap();
        let native = to_native("p", &profile, &Container::default(), std::path::Path::new("")).unwrap().text;
        let policy = policy::parse("p", &native).unwrap();
        assert_eq!(policy.judge(437, &[9; 6]).action, policy::Action::Allow, "more than the policy allows");
        assert_ne!(policy.judge(2, &[0; 6]).action, policy::Action::Allow);
        assert_eq!(warnings.len(), 2);
        let of = |line: u8| format!("f:{line}: seccomp sees no strings and structures; ");
        assert!(warnings[0].starts_with(&of(3)) && warnings[1].starts_with(&of(7)), "{warnings:?}");
    }

    #[test]
    fn what_seccomp_cannot_say_is_refused_with_its_line() {
        let rule = |when: &str, action: &str| {
            format!("version = 1\n[[rule]]\ncalls = [\"dup2\"]\nwhen = [{when}]\naction = {action}\n")
        };
        let error = |text: String| profile(&text).map(|written| written.profile).unwrap_err();
        assert!(
            error(rule("{ arg = 0, op = \"<\", value = 3 }", "\"allow\""))
                .starts_with("f:2: `dup2`: of argument 0 32 bits")
        );
        let between = "{ arg = 0, op = \"<\", value = 9, bits = 64 }, { arg = 0, op = \">\", value = 3, bits = 64 }";
        assert!(error(rule(between, "\"allow\"")).contains("one condition on argument 0"));
        let rewrite = rule("{ arg = 0, op = \"==\", value = 3 }", "{ rewrite = [{ arg = 0, value = 1 }] }");
        assert!(error(rewrite).contains("no action like"));
    }
}
