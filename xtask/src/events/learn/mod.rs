//! `--learn`: the least policy under which the run would have gone as it went.
//!
//! Each call that was made is allowed, for the values that were seen of the arguments that decide what it does ([`DECIDING`]); everything
//! else is the default's: EPERM. Of files it may do what was done with them ([`paths`]), and addresses are those that it named ([`addresses`]). Calls of the i386 table are left to the default: nobody carries them out.
mod addresses;
mod names;
mod paths;

use super::Observer;
use super::event::{Call, Event, What};
use super::usage::{Told, Usage, told};
use crate::output;
use crate::policy::names;
use addresses::Addresses;
use anyhow::{Context, Result};
use paths::Paths;
use policy::groups::{GROUPS, Group};
use policy::quotas::{MIN_MEMORY, Quota};
use policy::signature::{self, Kind, Place, PlaceName, Signature};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Arguments, or fields of what they point to, of calls that do many things, or dangerous ones with some values.
const DECIDING: [(&str, &[&str]); 17] = [
    ("arch_prctl", &["code"]),
    ("clone", &["flags"]),
    ("clone3", &["cl_args.flags"]),
    ("fcntl", &["cmd"]),
    ("ioctl", &["request"]),
    ("keyctl", &["operation"]),
    ("madvise", &["advice"]),
    ("mmap", &["prot"]),
    ("mprotect", &["prot"]),
    ("personality", &["persona"]),
    ("prctl", &["option"]),
    ("prlimit64", &["resource"]),
    ("ptrace", &["request"]),
    ("setsockopt", &["level", "optname"]),
    ("socket", &["domain", "type"]),
    ("socketpair", &["domain", "type"]),
    ("unshare", &["flags"]),
];

/// Different values of a call's deciding arguments beyond which it is allowed with any.
const MAX_VALUES: usize = 16;

/// The run so far.
#[derive(Debug)]
pub(super) struct Learner {
    path: PathBuf,
    programs: Vec<String>,
    /// By number.
    calls: BTreeMap<u64, Calls>,
    paths: Paths,
    addresses: Addresses,
    usage: Usage,
}

/// All calls of one number.
#[derive(Debug)]
struct Calls {
    all: Seen,
    /// By their deciding arguments: up to one more than [`MAX_VALUES`], beyond which nobody asks. `None`: there was no structure to have the field. Calls whose
    /// structure could not be read are not among them.
    by_value: BTreeMap<Vec<Option<u64>>, Seen>,
}

/// How often something was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    times: u64,
    first_ns: u64,
}

impl Observer for Learner {
    fn add(&mut self, event: &Event) -> Result<()> {
        self.usage.add(event);
        match &event.what {
            What::Start { program, .. } => self.programs.push(program.join(" ")),
            What::FileGranted(granted) => self.paths.add(granted, event.ns),
            What::Call(call) if call.abi == "x86-64" && call.name.is_some() => {
                self.addresses.add(event.sandbox, call);
                self.call(call, event.ns);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let text = self.policy();
        output::write(&self.path, &text).with_context(|| format!("cannot write the policy {}", self.path.display()))?;
        eprintln!(
            "cordon: {}: a policy that allows the {} different calls of this run, and what it did with {} paths and {} addresses",
            self.path.display(),
            self.calls.len(),
            self.paths.len(),
            self.addresses.len()
        );
        Ok(())
    }
}

impl Learner {
    /// To be written to this file at the end of the run.
    pub(super) fn create(path: &Path) -> Result<Self> {
        output::prepare(path).with_context(|| format!("cannot write the policy {}", path.display()))?;
        let (paths, addresses, usage) = (Paths::default(), Addresses::default(), Usage::default());
        Ok(Self { path: path.to_owned(), programs: Vec::new(), calls: BTreeMap::new(), paths, addresses, usage })
    }

    fn call(&mut self, call: &Call, ns: u64) {
        let values: Option<Vec<_>> = deciding(call.number).iter().map(|one| one.value(call)).collect();
        let none = Seen { times: 0, first_ns: ns };
        let calls = self.calls.entry(call.number).or_insert_with(|| Calls { all: none, by_value: BTreeMap::new() });
        calls.all.add(ns);
        let Some(values) = values else { return };
        if calls.by_value.len() <= MAX_VALUES || calls.by_value.contains_key(&values) {
            calls.by_value.entry(values).or_insert(none).add(ns);
        }
    }

    fn policy(&self) -> String {
        let mut text = String::from("# Learned: what these programs did, and nothing else.\n");
        for program in &self.programs {
            // A name may hold anything; a comment ends with its line.
            let _ = writeln!(text, "#   {}", program.escape_default());
        }
        text.push_str("version = 1\ndefault = { errno = \"EPERM\" }\n");
        let any_value = |(number, calls): &(&u64, &Calls)| {
            deciding(**number).is_empty() || !(1..=MAX_VALUES).contains(&calls.by_value.len())
        };
        let (any, some): (Vec<_>, Vec<_>) = self.calls.iter().partition(any_value);
        let mut topics: BTreeMap<&str, Vec<(u64, Seen)>> = BTreeMap::new();
        for (number, calls) in any {
            topics.entry(topic(*number)).or_default().push((*number, calls.all));
        }
        topics.iter().for_each(|(topic, calls)| rule_of_topic(&mut text, topic, calls));
        for (number, Calls { by_value, .. }) in some {
            let deciding = deciding(*number);
            for (values, seen) in by_value {
                let conditions = deciding.iter().zip(values).map(|(one, value)| one.condition(*value));
                let when = format!("when = [{}]\n", conditions.collect::<Vec<_>>().join(", "));
                rule(&mut text, *number, &when, *seen);
            }
        }
        text + &self.addresses.policy(&self.paths) + &self.paths.policy() + &self.limits()
    }

    /// Limits as comments: what one run used says little about the next one, whose input is larger or whose machine is slower.
    fn limits(&self) -> String {
        let mut text = String::from("\n# Limits of twice what was used, for who wants some:\n# [limits]\n");
        for quota in Quota::ALL {
            let why = match (told(quota), self.usage.most(quota)) {
                (Told::Nothing(why), _) => {
                    let _ = writeln!(text, "# {}: {why}", quota.key());
                    continue;
                }
                (_, None) => continue,
                (Told::Part(why), _) => format!("; {why}"),
                (Told::Whole, _) => String::new(),
            };
            let used = self.usage.most(quota).unwrap_or(0);
            let _ = writeln!(text, "# {} # {} was used{why}", quota.setting(headroom(quota, used)), quota.amount(used));
        }
        text
    }
}

impl Seen {
    /// Once more.
    fn add(&mut self, ns: u64) {
        self.times += 1;
        self.first_ns = self.first_ns.min(ns);
    }

    fn text(self) -> String {
        format!("{}, first at {}", made(self.times), seconds(self.first_ns))
    }
}

/// Twice as much, and no less than there can be; memory and times in round numbers.
fn headroom(quota: Quota, used: u64) -> u64 {
    let twice = used.saturating_mul(2);
    match quota {
        Quota::Memory => twice.next_multiple_of(1 << 20).max(MIN_MEMORY),
        Quota::Wall => twice.next_multiple_of(1000).max(1000),
        _ => twice.max(1),
    }
}

/// Systemd's group that a call is in, so that calls of a kind stand together; the first of several. `others`: none.
fn topic(number: u64) -> &'static str {
    let holds = |group: &&Group| group.members().any(|call| u64::from(call.number) == number);
    // `@default` is what every program needs, and holds some of most.
    let (default, special): (Vec<&Group>, Vec<&Group>) = GROUPS.iter().partition(|group| group.name == "@default");
    special.into_iter().chain(default).find(holds).map_or("others", |group| group.name)
}

/// One rule for calls of a kind, whatever their arguments.
fn rule_of_topic(text: &mut String, topic: &str, calls: &[(u64, Seen)]) {
    text.push_str("\n[[rule]]\ncalls = [\n");
    for (number, seen) in calls {
        let _ = writeln!(text, "    {}, # {}", name(*number), seen.text());
    }
    let times = calls.iter().map(|(_, seen)| seen.times).sum();
    let _ = write!(
        text,
        "]\naction = \"allow\"\nreason = \"{topic}: {} of its calls {}\"\n",
        calls.len(),
        if calls.len() == 1 { format!("was made {}", made(times)) } else { format!("were made {}", made(times)) }
    );
}

/// A rule for some values of a call's arguments.
fn rule(text: &mut String, number: u64, when: &str, seen: Seen) {
    let (name, seen) = (name(number), seen.text());
    let _ = write!(text, "\n[[rule]]\ncalls = [{name}]\n{when}action = \"allow\"\nreason = \"seen {seen}\"\n");
}

/// A call as a policy has it.
fn name(number: u64) -> String {
    proto::syscalls::by_number(number).map_or_else(|| number.to_string(), |known| format!("{:?}", known.name))
}

fn made(times: u64) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

/// A time since the start.
fn seconds(ns: u64) -> String {
    let millis = ns / 1_000_000;
    format!("{}.{:03} s", millis / 1000, millis % 1000)
}

/// What a call's rule names.
struct Deciding {
    signature: &'static Signature,
    place: Place,
    kind: Kind,
}

impl Deciding {
    /// What it is in a call; `Some(None)` if it is a field of no structure, and `None` if that was not read.
    fn value(&self, call: &Call) -> Option<Option<u64>> {
        let argument = call.args.get(usize::from(self.place.argument))?.0;
        let Some(field) = self.signature.field(self.place) else { return Some(Some(argument & self.kind.mask())) };
        if argument == 0 {
            return Some(None);
        }
        call.field(self.place.argument, field.name).map(Some)
    }

    fn condition(&self, value: Option<u64>) -> String {
        let Self { signature, place, kind } = self;
        let place = if value.is_some() { *place } else { Place::argument(place.argument) };
        let of = PlaceName { signature: Some(*signature), place };
        format!("{{ arg = \"{of}\", op = \"==\", value = {} }}", written(*kind, value.unwrap_or(0)))
    }
}

fn deciding(number: u64) -> Vec<Deciding> {
    let Some(signature) = signature::of(number) else { return Vec::new() };
    let names = DECIDING.iter().find(|(name, _)| *name == signature.name).map_or(&[][..], |(_, names)| names);
    let one = |name: &&str| {
        let place = signature.place(name)?;
        Some(Deciding { signature, place, kind: signature.kind(place)? })
    };
    names.iter().filter_map(one).collect()
}

/// A value as a policy has it: by name, if all of it has one.
pub(super) fn written(kind: Kind, value: u64) -> String {
    names(kind, value).map_or_else(|| value.to_string(), |names| format!("{names:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::data::{Bytes, Data};
    use crate::events::event::Word;
    use crate::events::usage::tests::exit;

    pub(super) fn call(name: &str, args: [u64; 6]) -> Event {
        let number = u64::from(proto::syscalls::by_name(name).unwrap().number);
        let record = trace::CallRecord {
            time: 0,
            thread: 1,
            abi: trace::Abi::X86_64,
            number,
            args,
            data: Vec::new(),
            verdict: trace::Verdict {
                judged: trace::Judged::Allow,
                rule: String::new(),
                logged: false,
                ignored: false,
                generation: 1,
            },
            answer: trace::Answer::None,
        };
        Event { sandbox: 1, ns: 1_500_000_000, what: What::Call(record.into()) }
    }

    fn learned(events: &[Event]) -> policy::Policy {
        let directory = tempfile::tempdir().unwrap();
        let mut learner = Learner::create(&directory.path().join("p")).unwrap();
        events.iter().for_each(|event| learner.add(event).unwrap());
        policy::parse("p", &learner.policy()).unwrap_or_else(|error| panic!("{error}:\n{}", learner.policy()))
    }

    #[test]
    fn what_was_seen_is_allowed_and_nothing_else() {
        let seen = [
            call("getpid", [0; 6]),
            call("ioctl", [1, 0x5413, 0, 0, 0, 0]),
            call("ioctl", [1, 0xffff_ffff, 0, 0, 0, 0]),
            call("mmap", [0, 4096, 3, 0x22, u64::MAX, 0]),
            call("mmap", [0, 4096, 0, 0x22, u64::MAX, 0]),
            call("socket", [2, 0o2_000_001, 0, 0, 0, 0]),
            call("clone", [0x0120_0011, 0, 0, 0, 0, 0]),
        ];
        let policy = learned(&seen);
        let allows = |event: &Event| {
            let What::Call(Call { number, args, .. }) = &event.what else { panic!("a call") };
            policy.judge(*number, &args.map(|Word(word)| word)).action == policy::Action::Allow
        };
        assert!(seen.iter().all(&allows));
        let unseen = [
            call("getuid", [0; 6]),
            call("ioctl", [1, 0x5414, 0, 0, 0, 0]),
            call("mmap", [0, 4096, 7, 0x22, u64::MAX, 0]),
            call("socket", [2, 3, 0, 0, 0, 0]),
        ];
        assert!(!unseen.iter().any(&allows));
    }

    #[test]
    fn flags_in_structures_are_learned() {
        let cloned = |pointer: u64, flags: Option<u64>| {
            let mut event = call("clone3", [pointer, 88, 0, 0, 0, 0]);
            let What::Call(call) = &mut event.what else { panic!("a call") };
            let fields = flags.map(|flags| Bytes::Fields([("flags".to_owned(), Word(flags))].into()));
            let bytes = vec![fields.unwrap_or(Bytes::Unreadable(Word(pointer)))];
            call.data =
                if pointer == 0 { Vec::new() } else { vec![Data { argument: 0, bytes, whole: true, sent: false }] };
            event
        };
        let policy = learned(&[cloned(1, Some(0x3d_0f00)), cloned(0, None), cloned(8, None)]);
        let allows = |pointer: u64, flags: Option<u64>| {
            let bytes = flags.map(|flags| [flags.to_le_bytes().to_vec(), vec![0; 80]].concat());
            let mut pointed = policy::Pointed::NOTHING;
            bytes.iter().for_each(|bytes| pointed.set(0, bytes));
            policy.about(435).judge(&[pointer, 88, 0, 0, 0, 0], &pointed).action == policy::Action::Allow
        };
        assert!(allows(5, Some(0x3d_0f00)) && allows(0, None));
        assert!(!allows(5, Some(0x1000_0000)) && !allows(5, None));
        // Where none could be read there is nothing to tell them by.
        let policy = learned(&[cloned(8, None)]);
        assert_eq!(policy.judge(435, &[8; 6]).action, policy::Action::Allow);
    }

    #[test]
    fn limits_are_suggested_that_can_be_uncommented() {
        let directory = tempfile::tempdir().unwrap();
        let mut learner = Learner::create(&directory.path().join("p")).unwrap();
        learner.add(&call("getpid", [0; 6])).unwrap();
        learner.add(&exit(1, 5 << 20, 1_400_000)).unwrap();
        let text = learner.policy();
        assert!(policy::parse("p", &text).unwrap().quotas().all().next().is_none());
        let (before, limits) = text.split_once("# [limits]\n").unwrap();
        let stated = limits.lines().filter(|line| line.contains(" = ")).map(|line| &line[2..]);
        let uncommented = format!("{before}[limits]\n{}\n", stated.collect::<Vec<_>>().join("\n"));
        let policy = policy::parse("p", &uncommented).unwrap_or_else(|error| panic!("{error}:\n{uncommented}"));
        let limits: Vec<_> = policy.quotas().all().collect();
        assert_eq!(limits, [(Quota::Memory, 10 << 20), (Quota::Wall, 3000), (Quota::CallsPerSecond, 2)]);
        assert!(limits_line(&text, "open_files").contains("descriptors are not told"));
    }

    fn limits_line<'t>(text: &'t str, key: &str) -> &'t str {
        text.lines().find(|line| line.starts_with(&format!("# {key}"))).unwrap_or_default()
    }

    #[test]
    fn too_many_values_are_any() {
        let seen: Vec<Event> = (0..=MAX_VALUES as u64).map(|value| call("ioctl", [0, value, 0, 0, 0, 0])).collect();
        let policy = learned(&seen);
        assert_eq!(policy.judge(16, &[0, 999, 0, 0, 0, 0]).action, policy::Action::Allow);
        assert_eq!(policy.rule_count(), 1);
    }

    #[test]
    fn what_nobody_asks_for_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut learner = Learner::create(&directory.path().join("p")).unwrap();
        (0..1000).for_each(|value| learner.add(&call("ioctl", [0, value, 0, 0, 0, 0])).unwrap());
        let Calls { all, by_value } = &learner.calls[&16];
        assert_eq!((all.times, by_value.len()), (1000, MAX_VALUES + 1));
        assert!(learner.policy().contains("\"ioctl\", # 1000 times"));
    }
}
