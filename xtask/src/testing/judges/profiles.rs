//! The profiles that libseccomp and we are asked about: those that others publish, and made-up ones.
use crate::exit::Failure;
use crate::policy::Container;
use crate::trees;
use anyhow::Context;
use seeded::Random;
use serde_json::{Value, json};
use std::fs;

/// A profile and where it is used.
pub(super) struct Profile {
    /// The test's name.
    pub(super) name: String,
    /// The profile in OCI's format.
    pub(super) text: String,
    pub(super) container: Container,
    /// Whether libseccomp may be wrong about it: see [`super::reference`].
    pub(super) is_hard: bool,
}

/// What runs with the published profiles, and with which capabilities beside Docker's usual ones.
const CONTAINERS: [(&str, &[&str], (u32, u32)); 6] = [
    ("usual capabilities", &[], (6, 1)),
    ("an old kernel", &[], (4, 7)),
    ("CAP_SYS_ADMIN", &["CAP_SYS_ADMIN"], (6, 1)),
    ("CAP_SYS_PTRACE, CAP_SYS_TIME, CAP_SYS_NICE", &["CAP_SYS_PTRACE", "CAP_SYS_TIME", "CAP_SYS_NICE"], (6, 1)),
    (
        "CAP_SYS_MODULE, CAP_BPF, CAP_PERFMON, CAP_SYSLOG",
        &["CAP_SYS_MODULE", "CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_PACCT"],
        (5, 10),
    ),
    (
        "CAP_SYS_BOOT, CAP_SYS_RAWIO, CAP_SYS_TTY_CONFIG",
        &["CAP_SYS_BOOT", "CAP_SYS_RAWIO", "CAP_SYS_TTY_CONFIG"],
        (6, 1),
    ),
];

/// How many profiles of each kind are made up.
const SEEDS: u64 = 10;

/// Those whose names are wanted.
pub(super) fn all(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Profile>, Failure> {
    let mut profiles = Vec::new();
    for (file, whose) in [("docker.json", "Docker's"), ("podman.json", "Podman's")] {
        for (what, more, kernel) in CONTAINERS {
            let name = format!("judge: libseccomp on {whose} default profile, {what}");
            if is_wanted(&name) {
                trees::ensure(&["profiles"], false)?;
                let path = trees::directory().join("profiles").join(file);
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let mut container = Container { kernel, ..Container::default() };
                container.capabilities.extend(more.iter().map(|name| (*name).to_owned()));
                profiles.push(Profile { name, text, container, is_hard: false });
            }
        }
    }
    for (kind, shape) in KINDS {
        for seed in 1..=SEEDS {
            let name = format!("judge: libseccomp on made-up {kind}, {seed}");
            if is_wanted(&name) {
                let (text, container) = (made_up(seed, &shape).to_string(), Container::default());
                profiles.push(Profile { name, text, container, is_hard: shape.rules > 1 });
            }
        }
    }
    Ok(profiles)
}

/// What is made up.
const KINDS: [(&str, Shape); 3] = [
    ("conditions with every operator", Shape { conditions: 3, actions: 1, calls: 40, rules: 1 }),
    ("rules that overlap", Shape { conditions: 2, actions: 1, calls: 8, rules: 5 }),
    ("rules that overlap and disagree", Shape { conditions: 2, actions: 5, calls: 8, rules: 5 }),
];

/// What is to be made up.
struct Shape {
    /// Most conditions of a rule.
    conditions: usize,
    /// Kinds of actions.
    actions: usize,
    /// Calls that the rules are about.
    calls: usize,
    /// Most rules for a call.
    rules: usize,
}

const ACTIONS: [(&str, u32); 6] = [
    ("SCMP_ACT_ALLOW", 0),
    ("SCMP_ACT_ERRNO", 13),
    ("SCMP_ACT_KILL_PROCESS", 0),
    ("SCMP_ACT_LOG", 0),
    ("SCMP_ACT_ERRNO", 99),
    ("SCMP_ACT_TRAP", 0),
];
/// Those that only ask for equality stand last.
const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"];

fn made_up(seed: u64, shape: &Shape) -> Value {
    let mut random = Random(seed << 8);
    let names: Vec<&str> = proto::syscalls::SYSCALLS.iter().map(|call| call.name).collect();
    let default = ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL"][random.below(2)];
    let mut entries = vec![json!({"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"})];
    for call in 0..shape.calls {
        let name = names[call * 8 + random.below(8)];
        for _ in 0..=random.below(shape.rules) {
            let (action, errno) = ACTIONS[random.below(shape.actions)];
            let args = arguments(&mut random, shape);
            let mut entry = json!({"names": [name, "not_of_x86"], "action": action, "args": args});
            if errno > 0 {
                entry["errnoRet"] = errno.into();
            }
            entries.push(entry);
        }
    }
    json!({"defaultAction": default, "syscalls": entries})
}

fn arguments(random: &mut Random, shape: &Shape) -> Vec<Value> {
    let mut indices: Vec<usize> = (0..6).filter(|_| random.below(2) == 0).collect();
    indices.truncate(1 + random.below(shape.conditions));
    let last = indices.last().copied();
    let argument = |index: usize| {
        // Where rules disagree, an order on any argument but the last makes libseccomp mix the rules' further conditions.
        let operators = if shape.actions > 1 && Some(index) != last { &OPERATORS[5..] } else { &OPERATORS[..] };
        let mut word = || match random.below(4) {
            0 => random.next() % 4 + ((random.next() % 3) << 32),
            1 => random.next(),
            _ => random.next() % 6,
        };
        let (value, second) = (word(), word());
        json!({"index": index, "value": value, "valueTwo": value & second, "op": operators[random.below(operators.len())]})
    };
    indices.into_iter().map(argument).collect()
}
