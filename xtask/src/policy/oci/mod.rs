//! OCI's seccomp JSON (runtime-spec, `linux.seccomp`), alone or in a `config.json`, and Docker's profiles, which add
//! includes and excludes.
//!
//! What the words mean is what runc and libseccomp make of them: registers are compared in all their bits; a rule with the
//! default's action says nothing; two conditions on the same argument are alternatives; [`order`] says which of several rules decides. A
//! name that x86-64 does not have is passed over. `cargo xtask test judge` compares the outcome with libseccomp's own.
mod config;
mod container;
mod order;
mod paths;
mod process;
pub(super) mod write;

use super::Native;
use super::native::{self, Action, Origin, Rule, Translation};
use super::position::{Lines, Position};
pub(crate) use container::Container;
use container::Filter;
pub(super) use container::capability;
use order::{Comparison, Decision, Operator, Ruling};
use policy::limits::MAX_CLAUSES;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// EPERM, what an error is if the file names none.
const EPERM: u16 = 1;
/// ENOSYS, what a call gets for which there is neither a tracer nor a listener (seccomp(2)).
const ENOSYS: u16 = 38;
/// The highest error that a filter can give (seccomp_rule_add(3)).
const MAX_ERRNO: u32 = 4095;

/// A `config.json`: its part that is read here.
#[derive(Deserialize)]
struct Config<'t> {
    #[serde(borrow)]
    linux: Option<Linux<'t>>,
}

#[derive(Deserialize)]
struct Linux<'t> {
    #[serde(borrow)]
    seccomp: Option<Profile<'t>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'t> {
    #[serde(borrow)]
    default_action: &'t RawValue,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    #[serde(borrow)]
    arch_map: Option<&'t RawValue>,
    /// Read one by one, so that each is known by its place.
    #[serde(borrow)]
    syscalls: Option<Vec<&'t RawValue>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
enum ActionName {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Option<Vec<String>>,
    /// The old spelling, for one.
    name: Option<String>,
    action: ActionName,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
    /// A text, if it is Docker's.
    comment: Option<serde_json::Value>,
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

/// Translates a file, which is in `folder`. Errors begin with line and column.
pub(super) fn to_native(name: &str, text: &str, container: &Container, folder: &Path) -> Result<Native, String> {
    let json = |error: serde_json::Error| format!("{}: {error}", Position::of_json(&error));
    let whole: serde_json::Value = serde_json::from_str(text).map_err(json)?;
    let reader = Reader { text, lines: Lines::new(text), container };
    let names = &[name.to_owned()];
    if whole.get("ociVersion").is_none() {
        let (default, rules) = reader.translate(&serde_json::from_str(text).map_err(json)?)?;
        let kind = "an OCI seccomp profile";
        return Ok(Translation { kind, names, default, rules: &rules, sections: &[] }.write());
    }
    let config: Config<'_> = serde_json::from_str(text).map_err(json)?;
    let config::Translated { sections, mut notes } = config::translate(text, folder)?;
    let (default, rules) = match config.linux.and_then(|linux| linux.seccomp) {
        Some(profile) => reader.translate(&profile)?,
        None => {
            notes.push("linux.seccomp: there is none, so that every call is allowed".to_owned());
            ((Action::Allow, Origin::of(Position::of_offset(text, 0))), Vec::new())
        }
    };
    let kind = "an OCI config.json";
    let native = Translation { kind, names, default, rules: &rules, sections: &sections }.write();
    Ok(Native { notes, ..native })
}

/// Reads the entries of a profile.
struct Reader<'t> {
    text: &'t str,
    lines: Lines<'t>,
    container: &'t Container,
}

/// What the rules are made of.
#[derive(Default)]
struct Gathered {
    calls: BTreeMap<&'static str, Vec<Ruling>>,
    /// How many of these have conditions.
    clauses: usize,
    /// By the bytes with which entries begin: why they count, if they or their conditions say it.
    reasons: BTreeMap<usize, String>,
}

impl Gathered {
    /// Adds what an entry says about a call. Many calls with many alternatives are refused before they take memory.
    fn add(&mut self, call: &'static str, rulings: &[Ruling]) -> Result<(), String> {
        self.clauses += rulings.iter().filter(|ruling| !ruling.comparisons.is_empty()).count();
        if self.clauses > MAX_CLAUSES {
            return Err(format!("with this there are more than {MAX_CLAUSES} pairs of a call and its conditions"));
        }
        self.calls.entry(call).or_default().extend_from_slice(rulings);
        Ok(())
    }
}

impl Reader<'_> {
    fn translate(&self, profile: &Profile<'_>) -> Result<((Action, Origin), Vec<Rule>), String> {
        if let (Some(map), Some([_, ..])) = (profile.arch_map, profile.architectures.as_deref()) {
            let place = self.lines.of_part(map.get());
            return Err(format!("{place}: `archMap` goes without `architectures`; remove one"));
        }
        let place = self.lines.of_part(profile.default_action.get());
        let name: ActionName = self.part(profile.default_action)?;
        let default = action(name, profile.default_errno_ret).map_err(|why| format!("{place}: {why}"))?;
        let otherwise = Otherwise { name, errno: profile.default_errno_ret };
        let mut gathered = Gathered::default();
        for raw in profile.syscalls.iter().flatten() {
            let entry: Entry = self.part(raw)?;
            let offset = Position::offset_of_part(self.text, raw.get());
            let rulings = self.rulings(&otherwise, &entry, offset);
            let rulings = rulings.map_err(|why| format!("{}: {why}", self.lines.of_offset(offset)))?;
            for name in entry.names.iter().flatten().chain(&entry.name).filter_map(|name| native::known(name)) {
                gathered.add(name, &rulings).map_err(|why| format!("{}: {why}", self.lines.of_offset(offset)))?;
            }
            gathered.reasons.extend(reason(&entry).map(|reason| (offset, reason)));
        }
        Ok(((default, Origin::of(place)), self.rules(gathered)?))
    }

    /// Reads a part of the text. Errors have its place.
    fn part<'p, T: Deserialize<'p>>(&self, raw: &'p RawValue) -> Result<T, String> {
        serde_json::from_str(raw.get()).map_err(|error| {
            let place = self.lines.of_part(raw.get()).then(Position::of_json(&error));
            // The message repeats the place, relative to the part.
            let message = error.to_string();
            format!("{place}: {}", message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message))
        })
    }

    /// What an entry says about each of its calls: nothing if it does not count here.
    fn rulings(&self, otherwise: &Otherwise, entry: &Entry, offset: usize) -> Result<Vec<Ruling>, String> {
        if entry.name.is_some() && entry.names.as_ref().is_some_and(|names| !names.is_empty()) {
            return Err("`name` goes without `names`; remove one".into());
        }
        let action = action(entry.action, entry.errno_ret)?;
        let comparisons = entry.args.iter().flatten().map(comparison).collect::<Result<Vec<_>, _>>()?;
        let ret = |errno: Option<u32>| errno.unwrap_or(EPERM.into());
        let with_errno = matches!(entry.action, ActionName::Errno | ActionName::Trace);
        let same_errno = !with_errno || ret(entry.errno_ret) == ret(otherwise.errno);
        let is_default = entry.action == otherwise.name && same_errno;
        if !self.container.applies(entry.includes.as_ref(), entry.excludes.as_ref())? || is_default {
            return Ok(Vec::new());
        }
        let rules = alternatives(comparisons).into_iter();
        Ok(rules.map(|comparisons| Ruling { comparisons, action, offset }).collect())
    }

    /// Calls about which the same entries say the same share their rules.
    fn rules(&self, Gathered { calls, reasons, .. }: Gathered) -> Result<Vec<Rule>, String> {
        let mut groups: Vec<(Vec<Decision>, Vec<&'static str>)> = Vec::new();
        for (call, rulings) in calls {
            let decisions = order::decisions(&rulings).map_err(|contradiction| {
                let [earlier, later] =
                    [contradiction.earlier, contradiction.later].map(|offset| self.lines.of_offset(offset));
                format!("{later}: about `{call}` this contradicts the entry at {earlier}: the same arguments, another action")
            })?;
            match groups.iter_mut().find(|(known, _)| *known == decisions) {
                Some((_, calls)) => calls.push(call),
                None => groups.push((decisions, vec![call])),
            }
        }
        let offsets = groups.iter().flat_map(|(decisions, _)| decisions.iter().map(|decision| decision.offset));
        let origins = self.origins(offsets.collect());
        let rule = |decision: Decision, calls: Vec<&'static str>| {
            let Decision { conditions, action, offset } = decision;
            let origin = origins.get(&offset).copied().unwrap_or(Origin::of(self.lines.of_offset(offset)));
            Rule { calls, action, conditions, origin, reason: reasons.get(&offset).cloned() }
        };
        let rules = groups
            .into_iter()
            .flat_map(|(decisions, calls)| decisions.into_iter().map(move |decision| (decision, calls.clone())));
        Ok(rules.map(|(decision, calls)| rule(decision, calls)).collect())
    }

    /// Where these entries stand: with a column where several begin in one line.
    fn origins(&self, offsets: BTreeSet<usize>) -> BTreeMap<usize, Origin> {
        let places: Vec<(usize, Position)> =
            offsets.into_iter().map(|offset| (offset, self.lines.of_offset(offset))).collect();
        let mut entries: BTreeMap<usize, usize> = BTreeMap::new();
        places.iter().for_each(|(_, place)| *entries.entry(place.line).or_default() += 1);
        let is_narrow = |place: Position| entries.get(&place.line).is_some_and(|entries| *entries > 1);
        places
            .into_iter()
            .map(|(offset, place)| (offset, Origin { file: 0, place, narrow: is_narrow(place) }))
            .collect()
    }
}

/// What a profile does with calls that no entry names.
struct Otherwise {
    name: ActionName,
    errno: Option<u32>,
}

/// What an entry says of itself, or what makes it count.
fn reason(entry: &Entry) -> Option<String> {
    let comment = entry.comment.as_ref().and_then(serde_json::Value::as_str).and_then(native::reason);
    comment.or_else(|| {
        let stated = [("includes", &entry.includes), ("excludes", &entry.excludes)]
            .into_iter()
            .filter_map(|(what, filter)| Some(format!("{what} {}", filter.as_ref()?.text()?)));
        native::reason(&stated.collect::<Vec<_>>().join("; "))
    })
}

/// The rules that an entry's conditions make: one with all of them, or one each if two are on the same argument.
fn alternatives(mut comparisons: Vec<Comparison>) -> Vec<Vec<Comparison>> {
    let mut arguments: Vec<u8> = comparisons.iter().map(|comparison| comparison.argument).collect();
    arguments.sort_unstable();
    if arguments.windows(2).any(|pair| pair.first() == pair.last()) {
        let alone = |comparison: Comparison| if comparison.is_void() { Vec::new() } else { vec![comparison] };
        return comparisons.into_iter().map(alone).collect();
    }
    comparisons.retain(|comparison| !comparison.is_void());
    comparisons.sort_by_key(|comparison| comparison.argument);
    vec![comparisons]
}

fn comparison(argument: &Argument) -> Result<Comparison, String> {
    if argument.index > 5 {
        return Err(format!("there is no argument {}; `index` goes from 0 to 5", argument.index));
    }
    let (value, mask) = match argument.op {
        // libseccomp drops bits of the value that the mask hides.
        Operator::MaskedEqual => (argument.value_two & argument.value, argument.value),
        _ => (argument.value, u64::MAX),
    };
    Ok(Comparison { argument: argument.index, operator: argument.op, value, mask })
}

fn action(name: ActionName, errno: Option<u32>) -> Result<Action, String> {
    Ok(match name {
        ActionName::Allow => Action::Allow,
        ActionName::Log => Action::Log,
        ActionName::KillThread => Action::KillThread,
        ActionName::KillProcess => Action::KillProcess,
        ActionName::Trap => Action::Trap,
        ActionName::Trace | ActionName::Notify => Action::Errno(ENOSYS),
        ActionName::Errno => {
            let errno = errno.unwrap_or(EPERM.into());
            let fits = u16::try_from(errno).ok().filter(|_| errno <= MAX_ERRNO);
            Action::Errno(fits.ok_or_else(|| format!("{errno} is no error; they go to {MAX_ERRNO}"))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Action as Verdict, parse};

    fn native_of(text: &str) -> Result<String, String> {
        to_native("p", text, &Container::default(), Path::new("")).map(|native| native.text)
    }

    fn compiled(syscalls: &str) -> policy::Policy {
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{syscalls}]}}"#);
        parse("p", &native_of(&text).unwrap()).unwrap()
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
        assert!(native_of(text).unwrap().contains("default = { kill = \"thread\" }"));
        let native = to_native("p", r#"{"ociVersion": "1.0.2"}"#, &Container::default(), Path::new("")).unwrap();
        assert!(
            native.text.contains("default = \"allow\"") && native.notes[0].starts_with("linux.seccomp: there is none")
        );
    }

    /// What a verdict says of the rule, on a call without arguments.
    fn rule(native: &Native, call: u64, args: [u64; 6]) -> String {
        let origins = policy::Origins { parts: &native.origins, files: &native.origin_files, translated: true };
        let file = policy::File { origins, ..policy::File::new("dir/p.json", &native.text) };
        let policy = policy::parse_files(&[file]).unwrap_or_else(|error| panic!("{error}\n{}", native.text));
        policy.judge(call, &args).rule().to_string()
    }

    #[test]
    fn verdicts_name_the_entry_and_why_it_counts() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO",
 "syscalls": [
  {
   "names": ["read", "dup"],
   "action": "SCMP_ACT_ALLOW",
   "comment": ""
  },
  {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
   "comment": "ENOSYS for\n clone3 \u001b[31m\u202e"},
  {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"], "minKernel": "4.8"}, "excludes": {"arches": ["s390"]}},
  {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}, {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}]}
 ]}"#;
        let native = to_native("dir/p.json", text, &Container::default(), Path::new("")).unwrap();
        let of = |call, first| rule(&native, call, [first, 0, 0, 0, 0, 0]);
        assert_eq!([of(0, 0), of(32, 0)], ["rule p.json:3", "rule p.json:3"], "the first that says so");
        assert_eq!(of(435, 0), "rule p.json:8: ENOSYS for clone3 [31m");
        assert_eq!(of(161, 0), "rule p.json:10: includes caps CAP_SYS_CHROOT, minKernel 4.8; excludes arches s390");
        // Two in one line.
        assert_eq!([of(135, 8), of(135, 9)], ["rule p.json:12:3", "rule p.json:12:116"]);
        assert_eq!(of(135, 7), "default");
        assert!(native.text.contains("\n# p.json:12:116\n[[rule]]\ncalls = [\"personality\"]"), "{}", native.text);
    }

    #[test]
    fn profiles_in_one_line_and_entries_for_one_call_each() {
        let entry = |call: &str| format!(r#"{{"names":["{call}"],"action":"SCMP_ACT_ALLOW"}}"#);
        let calls = ["read", "write", "close"].map(entry).join(",");
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{calls}]}}"#);
        let native = to_native("dir/p.json", &text, &Container::default(), Path::new("")).unwrap();
        let places = [0, 1, 3].map(|call| rule(&native, call, [0; 6]));
        assert_eq!(places, ["rule p.json:1:47", "rule p.json:1:92", "rule p.json:1:138"]);
    }

    #[test]
    fn comments_that_are_long_are_cut_and_others_than_texts_are_none() {
        let text = |comment: &str| {
            let comment = format!(r#""comment": {comment}"#);
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW", {comment}}}]}}"#
            )
        };
        let of = |comment: &str| {
            rule(&to_native("p.json", &text(comment), &Container::default(), Path::new("")).unwrap(), 0, [0; 6])
        };
        let long = of(&format!("\"{}\"", "ä".repeat(300)));
        assert_eq!(long, format!("rule p.json:1: {}…", "ä".repeat(98)));
        assert_eq!([of("3"), of("null"), of("\" \"")], ["rule p.json:1"; 3]);
    }

    #[test]
    fn many_calls_with_many_alternatives_are_refused() {
        let text = |names: usize, args: usize| {
            let names = vec![r#""read""#; names].join(",");
            let args: Vec<String> =
                (0..args).map(|value| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#)).collect();
            let args = args.join(",");
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": [{names}], "action": "SCMP_ACT_ALLOW", "args": [{args}]}}]}}"#
            )
        };
        assert!(native_of(&text(16, 1024)).is_ok());
        let error = native_of(&text(17, 1024)).unwrap_err();
        assert_eq!(error, "1:50: with this there are more than 16384 pairs of a call and its conditions");
    }

    #[test]
    fn errors_have_a_place() {
        let error = |text: &str| native_of(text).unwrap_err();
        assert!(error("{\n\"defaultAction\": \"SCMP_ACT_MAYBE\"}").starts_with("2:33: unknown variant"));
        assert!(error("{}").contains("missing field `defaultAction`"));
        let second = "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [\n {\"names\": [], \"action\": \"SCMP_ACT_LOG\"},\n {\"names\": [], \n  \"action\": 3}]}";
        assert!(error(second).starts_with("4:13: "), "{}", error(second));
        let old = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}}]}"#;
        assert!(error(old).starts_with("1:50: `minKernel` is two numbers"), "{}", error(old));
        let entry = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
        assert!(error(entry).contains("there is no argument 6"));
        assert!(error(r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#).contains("no error"));
    }
}
