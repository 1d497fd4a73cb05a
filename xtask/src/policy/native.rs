//! Writes policies in our language.
use super::Native;
use super::position::Position;
use policy::errno::Errno;
use policy::limits::MAX_REASON;
use policy::numbers::{Comparison, Op, contradict};
use proto::syscalls;

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

/// Where something of a translation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// 0: the file itself; else one of those that it includes, from 1.
    pub(super) file: u16,
    pub(super) place: Position,
    /// The line alone would not say what is meant.
    pub(super) narrow: bool,
}

impl Origin {
    /// A place in the file itself, of which the line says enough.
    pub(super) fn of(place: Position) -> Self {
        Self { file: 0, place, narrow: false }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Names of x86-64 calls.
    pub(super) calls: Vec<&'static str>,
    pub(super) action: Action,
    /// All must hold.
    pub(super) conditions: Vec<Condition>,
    pub(super) origin: Origin,
    /// In the file's own words, or what there makes it count.
    pub(super) reason: Option<String>,
}

/// A further part of our language.
#[derive(Debug)]
pub(super) struct Section {
    /// TOML.
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// All that a translation holds.
pub(super) struct Translation<'t> {
    /// What the file is, for a comment.
    pub(super) kind: &'t str,
    /// Its name, and those of the files that it includes.
    pub(super) names: &'t [String],
    pub(super) default: (Action, Origin),
    pub(super) rules: &'t [Rule],
    pub(super) sections: &'t [Section],
}

/// The name as our tables have it, if x86-64 has such a call.
pub(super) fn known(name: &str) -> Option<&'static str> {
    syscalls::by_name(name).map(|call| call.name)
}

/// A comment of a file as a reason: in one line, and no longer than a reason may be.
pub(super) fn reason(comment: &str) -> Option<String> {
    let plain: String = comment.chars().map(|c| if policy::steers(c) { ' ' } else { c }).collect();
    let mut text = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() > MAX_REASON {
        const MORE: &str = "…";
        let end = (0..=MAX_REASON - MORE.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text += MORE;
    }
    (!text.is_empty()).then_some(text)
}

impl Translation<'_> {
    /// In our language. Comments say what comes from where, and so do the origins beside the text.
    pub(super) fn write(&self) -> Native {
        let mut native = Native { translated: true, ..Native::default() };
        let (default, origin) = self.default;
        native.text = format!("# Made by `cargo xtask policy convert` from {}.\n", self.kind);
        native.origins.push(placed(native.text.len(), origin));
        native.text += &format!("version = 1\ndefault = {}\n", default.text());
        for rule in self.rules {
            let calls: Vec<String> = rule.calls.iter().map(|call| format!("\"{call}\"")).collect();
            let (calls, action) = (calls.join(", "), rule.action.text());
            let mut text = format!("[[rule]]\ncalls = [{calls}]\naction = {action}\n");
            if !rule.conditions.is_empty() {
                let conditions: Vec<String> = rule.conditions.iter().map(Condition::text).collect();
                text += &format!("when = [{}]\n", conditions.join(", "));
            }
            if let Some(reason) = &rule.reason {
                text += &format!("reason = {}\n", toml::Value::from(reason.as_str()));
            }
            self.add(&mut native, &text, rule.origin);
        }
        for Section { text, origin } in self.sections {
            self.add(&mut native, text, *origin);
        }
        native.origin_files = self.names.iter().skip(1).cloned().collect();
        native
    }

    fn add(&self, native: &mut Native, text: &str, origin: Origin) {
        native.text.push('\n');
        native.origins.push(placed(native.text.len(), origin));
        native.text += &format!("# {}\n{text}", self.comment(origin));
    }

    /// A place as verdicts show it.
    fn comment(&self, Origin { file, place, narrow }: Origin) -> String {
        let first = self.names.first().map_or("", String::as_str);
        let folder = first.rfind(['/', '\\']).and_then(|end| first.get(..=end)).unwrap_or("");
        let name = self.names.get(usize::from(file)).map_or("", String::as_str);
        let name = policy::shown(name.strip_prefix(folder).unwrap_or(name));
        if narrow { format!("{name}:{place}") } else { format!("{name}:{}", place.line) }
    }
}

fn placed(at: usize, Origin { file, place, narrow }: Origin) -> policy::Origin {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    policy::Origin { at: number(at), file, line: number(place.line), column: number(place.column), narrow }
}
