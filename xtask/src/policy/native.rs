//! Writes policies in our language.
use policy::errno::Errno;
use policy::numbers::{Comparison, Op, contradict};
use proto::syscalls;
use std::fmt::Write;

/// An action of seccomp's, as we carry it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Log,
    KillProcess,
    KillThread,
    Trap,
    /// The error with this number, whether it has a name or not.
    Errno(u16),
}

impl Action {
    fn text(self) -> String {
        match self {
            Self::Allow => "\"allow\"".to_owned(),
            Self::Log => "\"log\"".to_owned(),
            Self::KillProcess => "{ kill = \"process\" }".to_owned(),
            Self::KillThread => "{ kill = \"thread\" }".to_owned(),
            Self::Trap => "\"trap\"".to_owned(),
            Self::Errno(number) => match Errno::by_number(number) {
                Some(errno) => format!("{{ errno = \"{}\" }}", errno.name),
                None => format!("{{ fake = -{number} }}"),
            },
        }
    }
}

/// A comparison of a whole register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u8,
    /// As our language has it.
    pub(super) op: &'static str,
    pub(super) value: u64,
    /// For `masked_eq` only.
    pub(super) mask: Option<u64>,
}

impl Condition {
    /// What it comes to if that is the same for every value: our reader refuses such conditions.
    pub(super) fn constant(&self) -> Option<bool> {
        match (self.op, self.value) {
            (">=", 0) | ("<=", u64::MAX) => Some(true),
            ("<", 0) | (">", u64::MAX) => Some(false),
            ("masked_eq", 0) if self.mask == Some(0) => Some(true),
            _ => None,
        }
    }

    fn comparison(&self) -> Comparison {
        let op = match self.op {
            "!=" => Op::NotEqual,
            "<" => Op::Less,
            "<=" => Op::LessOrEqual,
            ">" => Op::Greater,
            ">=" => Op::GreaterOrEqual,
            _ => Op::Equal,
        };
        Comparison { mask: self.mask.unwrap_or(u64::MAX), value: self.value, op }
    }

    fn text(&self) -> String {
        let mask = self.mask.map(|mask| format!(", mask = {mask:#x}")).unwrap_or_default();
        format!("{{ arg = {}, op = \"{}\", value = {:#x}{mask}, bits = 64 }}", self.argument, self.op, self.value)
    }
}

/// Whether conditions never hold together, as far as can be told: our reader refuses such rules.
pub(super) fn never_hold(conditions: &[Condition]) -> bool {
    (0..6).any(|argument| {
        let alike = conditions.iter().filter(|condition| condition.argument == argument);
        contradict(&alike.map(Condition::comparison).collect::<Vec<_>>())
    })
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Names of x86-64 calls.
    pub(super) calls: Vec<&'static str>,
    pub(super) action: Action,
    /// All must hold.
    pub(super) conditions: Vec<Condition>,
}

/// The name as our tables have it, if x86-64 has such a call.
pub(super) fn known(name: &str) -> Option<&'static str> {
    syscalls::by_name(name).map(|call| call.name)
}

/// The text of a policy with these rules.
pub(super) fn write(origin: &str, default: Action, rules: &[Rule]) -> String {
    let mut text = format!("# {origin}\nversion = 1\ndefault = {}\n", default.text());
    for rule in rules {
        let calls: Vec<String> = rule.calls.iter().map(|call| format!("\"{call}\"")).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n[[rule]]\ncalls = [{}]\naction = {}\n", calls.join(", "), rule.action.text());
        if !rule.conditions.is_empty() {
            let conditions: Vec<String> = rule.conditions.iter().map(Condition::text).collect();
            let _ = writeln!(text, "when = [{}]", conditions.join(", "));
        }
    }
    text
}
