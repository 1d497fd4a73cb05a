//! TOML text → what it says, with the place of each part. What a call's arguments mean is not known here yet:
//! that is the compiler's.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use proto::syscalls;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::action::ActionText;
use crate::address::Hosts;
use crate::budget::{self, BudgetText};
use crate::contents::ContentText;
use crate::error::{PolicyError, Source};
use crate::events::{self, EventsText};
use crate::files::FilesText;
use crate::groups::{GROUPS, Group};
use crate::hosts;
use crate::mounts::Mounts;
use crate::network::{self, NetworkText};
use crate::numbers::Op;
use crate::origin::Spot;
use crate::pointed::{AddressText, PointedText};
use crate::process::Process;
use crate::quotas::{self, Quotas};
use crate::suggest::did_you_mean;
use crate::taint::{self, TaintText};
use crate::{Action, limits};

/// A value with its place in the text. Two are equal if they say the same, wherever.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// The right side of a comparison, or a mask.
#[derive(PartialEq)]
pub(crate) enum Operand {
    /// A number; negative ones in two's complement.
    Number(u64),
    /// Names joined by `|`, whose meaning depends on the argument.
    Names(String),
}

/// The comparison that a condition asks for.
#[derive(PartialEq)]
pub(crate) enum Comparison {
    Plain(Op),
    /// `masked_eq`, with its mask.
    Masked(Placed<Operand>),
}

/// One entry of `when`.
pub(crate) struct ConditionText {
    pub(crate) test: TestText,
    pub(crate) span: Range<usize>,
}

/// What a condition asks.
#[derive(PartialEq)]
pub(crate) enum TestText {
    Number(NumberText),
    Pointed(PointedText),
    Address(AddressText),
    Content(ContentText),
}

/// An argument of a call.
#[derive(PartialEq)]
pub(crate) enum Argument {
    /// By its place, from 0.
    Index(u8),
    /// By what its manual page calls it.
    Name(String),
}

/// A comparison of the register.
#[derive(PartialEq)]
pub(crate) struct NumberText {
    pub(crate) argument: Placed<Argument>,
    pub(crate) comparison: Comparison,
    pub(crate) value: Placed<Operand>,
    /// How many low bits of the register are compared; else as many as Linux looks at.
    pub(crate) bits: Option<u32>,
}

/// A call that a rule is about.
pub(crate) struct CallText {
    pub(crate) number: u32,
    pub(crate) span: Range<usize>,
    /// Whether a group brought it in: then it may be in the rule twice, and an earlier rule may have decided it.
    pub(crate) grouped: bool,
}

/// One `[[rule]]`.
pub(crate) struct RuleText {
    pub(crate) span: Range<usize>,
    pub(crate) calls: Vec<CallText>,
    pub(crate) action: ActionText,
    /// As the rule says it, if it does.
    pub(crate) log: Option<bool>,
    pub(crate) reason: Option<String>,
    pub(crate) conditions: Vec<ConditionText>,
}

/// A whole file.
pub(crate) struct PolicyText {
    /// Where the first name in `include` stands, if there is one.
    pub(crate) includes: Option<Range<usize>>,
    /// The default action and where it stands, if the file states one.
    pub(crate) default: Option<(ActionText, Spot)>,
    pub(crate) rules: Vec<RuleText>,
    pub(crate) process: Process,
    pub(crate) quotas: Quotas,
    pub(crate) mounts: Mounts,
    /// What names of hosts stand for; nothing if that is not said.
    pub(crate) hosts: Option<Hosts>,
    pub(crate) network: Option<NetworkText>,
    pub(crate) budgets: Vec<BudgetText>,
    pub(crate) taints: Vec<TaintText>,
    pub(crate) files: FilesText,
    pub(crate) events: Option<EventsText>,
}

const TOP_KEYS: &[&str] = &[
    "version", "include", "process", "limits", "root", "bind", "default", "hosts", "network", "budget", "rule",
    "files", "taint", "events",
];
const RULE_KEYS: &[&str] = &["calls", "action", "log", "reason", "when"];
const CONDITION_KEYS: &[&str] = &["arg", "op", "value", "mask", "bits"];
const OPERATORS: &[(&str, Op)] = &[
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    ("<=", Op::LessOrEqual),
    (">", Op::Greater),
    (">=", Op::GreaterOrEqual),
];
const MASKED: &str = "masked_eq";

pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a whole file.
pub(crate) fn read(source: &Source<'_>, text: &str) -> Result<PolicyText, PolicyError> {
    Reader { source }.document(document(source, text)?.get_ref())
}

/// A text as TOML.
pub(crate) fn document<'t>(source: &Source<'_>, text: &'t str) -> Result<Spanned<DeTable<'t>>, PolicyError> {
    DeTable::parse(text).map_err(|error| {
        let end = text.len()..text.len();
        source.error(&error.span().unwrap_or(end), format!("not TOML: {}", error.message()))
    })
}

pub(crate) struct Reader<'s, 't> {
    pub(crate) source: &'s Source<'t>,
}

impl Reader<'_, '_> {
    fn document(&self, top: &DeTable<'_>) -> Result<PolicyText, PolicyError> {
        self.version(top)?;
        self.only_known_keys(top, TOP_KEYS, "a policy")?;
        let includes = top.get("include").map_or(Ok(Vec::new()), |value| self.include(value))?;
        let default = match top.get("default") {
            Some(value) => Some((self.default_action(value)?, self.source.spot(value.span().start))),
            None => None,
        };
        let rules = match top.get("rule") {
            Some(value) => self.rules(value)?,
            None => Vec::new(),
        };
        let includes = includes.into_iter().next().map(|first| first.span);
        let process = top.get("process").map_or(Ok(Process::default()), |value| self.process(value))?;
        let mounts = self.mounts(top.get("root"), top.get("bind"))?;
        let quotas = top.get(quotas::KEY).map_or(Ok(Quotas::default()), |value| self.quotas(value))?;
        let hosts = top.get(hosts::KEY).map(|value| self.hosts(value)).transpose()?;
        let files = top.get("files").map_or(Ok(FilesText::default()), |value| self.files(value))?;
        let budgets = top.get(budget::KEY).map_or(Ok(Vec::new()), |value| self.budgets(value))?;
        let taints = top.get(taint::KEY).map_or(Ok(Vec::new()), |value| self.taints(value))?;
        let network = top.get(network::KEY).map(|value| self.network(value)).transpose()?;
        let events = top.get(events::KEY).map(|value| self.events(value)).transpose()?;
        Ok(PolicyText {
            includes,
            default,
            rules,
            process,
            quotas,
            mounts,
            hosts,
            network,
            budgets,
            taints,
            files,
            events,
        })
    }

    fn default_action(&self, value: &Value<'_>) -> Result<ActionText, PolicyError> {
        let action = self.action(value, "default")?;
        match action.action {
            Action::Rewrite => {
                Err(self.source.error(&value.span(), "`default` cannot rewrite: calls have different arguments"))
            }
            _ => Ok(action),
        }
    }

    /// Comes first: a file of another version may have keys that this reader cannot know.
    fn version(&self, top: &DeTable<'_>) -> Result<(), PolicyError> {
        let Some(value) = top.get("version") else {
            return Err(self.source.error(&(0..0), "`version` is missing; begin the policy with `version = 1`"));
        };
        match value.get_ref() {
            DeValue::Integer(number) if unsigned(number) == Some(1) => Ok(()),
            DeValue::Integer(number) => {
                let message = format!("version {number} is not known; this reader knows `version = 1`");
                Err(self.source.error(&value.span(), message))
            }
            other => Err(self.wrong_type(value, "version", "the number 1", other)),
        }
    }

    fn rules(&self, value: &Value<'_>) -> Result<Vec<RuleText>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(value, "rule", "written as `[[rule]]`", value.get_ref()));
        };
        if let Some(beyond) = array.get(limits::MAX_RULES) {
            let message = format!("more than {} rules; join those with the same action", limits::MAX_RULES);
            return Err(self.source.error(&beyond.span(), message));
        }
        array.iter().map(|rule| self.rule(rule)).collect()
    }

    fn rule(&self, value: &Value<'_>) -> Result<RuleText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, "rule", "a table (`[[rule]]`)", value.get_ref()));
        };
        self.only_known_keys(table, RULE_KEYS, "a rule")?;
        let missing = |key: &str, example: &str| {
            self.source.error(&value.span(), format!("this rule has no `{key}`; add, for example, `{example}`"))
        };
        let calls = table.get("calls").ok_or_else(|| missing("calls", r#"calls = ["openat"]"#))?;
        let action = table.get("action").ok_or_else(|| missing("action", r#"action = "allow""#))?;
        Ok(RuleText {
            span: value.span(),
            calls: self.calls(calls)?,
            action: self.action(action, "action")?,
            log: table.get("log").map(|value| self.boolean(value, "log")).transpose()?,
            reason: table.get("reason").map(|value| self.reason(value)).transpose()?,
            conditions: table.get("when").map_or(Ok(Vec::new()), |value| self.conditions(value))?,
        })
    }

    pub(crate) fn calls(&self, value: &Value<'_>) -> Result<Vec<CallText>, PolicyError> {
        self.calls_in(value, "calls")
    }

    /// The calls that are named by the value of `key`.
    pub(crate) fn calls_in(&self, value: &Value<'_>, key: &str) -> Result<Vec<CallText>, PolicyError> {
        let array = self.array(value, key, "an array of system call names, numbers and @groups")?;
        if array.is_empty() {
            let message = format!("`{key}` is empty, so the rule says nothing; name a call or remove the rule");
            return Err(self.source.error(&value.span(), message));
        }
        let mut calls: Vec<CallText> = Vec::new();
        for entry in array.iter() {
            match entry.get_ref() {
                DeValue::String(name) if name.starts_with('@') => self.add_group(name, entry.span(), &mut calls)?,
                _ => self.add_call(entry, &mut calls)?,
            }
        }
        Ok(calls)
    }

    /// Adds a call by name or number.
    fn add_call(&self, entry: &Value<'_>, calls: &mut Vec<CallText>) -> Result<(), PolicyError> {
        let number = match entry.get_ref() {
            DeValue::Integer(number) => self.call_number(number, entry)?,
            _ => self.call_name(entry)?,
        };
        match calls.iter_mut().find(|known| known.number == number) {
            Some(known) if known.grouped => known.grouped = false,
            Some(_) => {
                let message = format!("`{}` stands in this rule twice; remove one", name_of(number));
                return Err(self.source.error(&entry.span(), message));
            }
            None => calls.push(CallText { number, span: entry.span(), grouped: false }),
        }
        Ok(())
    }

    fn call_name(&self, entry: &Value<'_>) -> Result<u32, PolicyError> {
        let name = self.string(entry, "calls", "system call names, numbers and @groups")?;
        let call = syscalls::by_name(name).ok_or_else(|| {
            let suggestion = did_you_mean(name, syscalls::SYSCALLS.iter().map(|call| call.name));
            let message = format!("`{}` is no x86-64 system call{suggestion}", name.escape_debug());
            self.source.error(&entry.span(), message)
        })?;
        Ok(call.number)
    }

    fn call_number(&self, number: &DeInteger<'_>, entry: &Value<'_>) -> Result<u32, PolicyError> {
        let in_table = |number: &u32| usize::try_from(*number).is_ok_and(|number| number < syscalls::SYSCALL_LIMIT);
        let known = unsigned(number).and_then(|number| u32::try_from(number).ok()).filter(in_table);
        known.ok_or_else(|| {
            let message = format!(
                "there is no call {number}; numbers go from 0 to {}",
                syscalls::SYSCALL_LIMIT.saturating_sub(1)
            );
            self.source.error(&entry.span(), message)
        })
    }

    fn add_group(&self, name: &str, span: Range<usize>, calls: &mut Vec<CallText>) -> Result<(), PolicyError> {
        let Some(group) = Group::by_name(name) else {
            let suggestion = did_you_mean(name, GROUPS.iter().map(|group| group.name));
            return Err(self.source.error(&span, format!("`{}` is no group{suggestion}", name.escape_debug())));
        };
        for call in group.members() {
            if !calls.iter().any(|known| known.number == call.number) {
                calls.push(CallText { number: call.number, span: span.clone(), grouped: true });
            }
        }
        Ok(())
    }

    pub(crate) fn reason(&self, value: &Value<'_>) -> Result<String, PolicyError> {
        let text = self.string(value, "reason", "a text")?;
        if text.is_empty() || text.len() > limits::MAX_REASON {
            let message = format!("a `reason` has 1 to {} bytes, this one {}", limits::MAX_REASON, text.len());
            return Err(self.source.error(&value.span(), message));
        }
        if text.chars().any(char::is_control) {
            return Err(self
                .source
                .error(&value.span(), "a `reason` is one line of plain text; remove the control characters"));
        }
        Ok(text.to_string())
    }

    pub(crate) fn conditions(&self, value: &Value<'_>) -> Result<Vec<ConditionText>, PolicyError> {
        let array = self.array(value, "when", "an array of conditions")?;
        if array.is_empty() {
            return Err(self
                .source
                .error(&value.span(), "`when` is empty; leave it out for a rule that always applies"));
        }
        if let Some(beyond) = array.get(limits::MAX_CONDITIONS) {
            let message = format!("more than {} conditions in one rule", limits::MAX_CONDITIONS);
            return Err(self.source.error(&beyond.span(), message));
        }
        array.iter().map(|condition| self.condition(condition)).collect()
    }

    fn condition(&self, value: &Value<'_>) -> Result<ConditionText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(
                value,
                "when",
                r#"a list of { arg = 0, op = "==", value = 1 }"#,
                value.get_ref(),
            ));
        };
        if let Some(test) = self.pointed(value, table)? {
            return Ok(ConditionText { test: TestText::Pointed(test), span: value.span() });
        }
        if let Some(test) = self.address(table)? {
            return Ok(ConditionText { test: TestText::Address(test), span: value.span() });
        }
        if let Some(test) = self.content(table)? {
            return Ok(ConditionText { test: TestText::Content(test), span: value.span() });
        }
        self.only_known_keys(table, CONDITION_KEYS, "a condition")?;
        let argument = self.argument(self.required(value, table, "arg")?)?;
        let comparison = self.comparison(self.required(value, table, "op")?, table.get("mask"))?;
        let operand = self.operand(self.required(value, table, "value")?, "value")?;
        let bits = table.get("bits").map(|value| self.bits(value)).transpose()?;
        let test = TestText::Number(NumberText { argument, comparison, value: operand, bits });
        Ok(ConditionText { test, span: value.span() })
    }

    /// A key that every condition has.
    pub(crate) fn required<'v, 't>(
        &self,
        condition: &Value<'_>,
        table: &'v DeTable<'t>,
        key: &str,
    ) -> Result<&'v Value<'t>, PolicyError> {
        let missing = || self.source.error(&condition.span(), format!("this condition has no `{key}`"));
        table.get(key).ok_or_else(missing)
    }

    fn bits(&self, value: &Value<'_>) -> Result<u32, PolicyError> {
        let wanted = "32 or 64, the low bits of the register that are compared";
        match value.get_ref() {
            DeValue::Integer(number) => match unsigned(number) {
                Some(32) => Ok(32),
                Some(64) => Ok(64),
                _ => Err(self.source.error(&value.span(), format!("`bits` must be {wanted}"))),
            },
            other => Err(self.wrong_type(value, "bits", wanted, other)),
        }
    }

    pub(crate) fn argument(&self, value: &Value<'_>) -> Result<Placed<Argument>, PolicyError> {
        let argument = match value.get_ref() {
            DeValue::Integer(number) => Argument::Index(self.argument_index(number, value)?),
            DeValue::String(name) => Argument::Name(name.to_string()),
            other => {
                return Err(self.wrong_type(
                    value,
                    "arg",
                    r#"an argument's name, such as "flags", or its index"#,
                    other,
                ));
            }
        };
        Ok(Placed { value: argument, span: value.span() })
    }

    fn argument_index(&self, number: &DeInteger<'_>, value: &Value<'_>) -> Result<u8, PolicyError> {
        let index = unsigned(number).and_then(|index| u8::try_from(index).ok()).filter(|index| *index <= 5);
        index.ok_or_else(|| {
            self.source
                .error(&value.span(), format!("there is no argument {number}; `arg` counts from 0 and goes to 5"))
        })
    }

    fn comparison(&self, op: &Value<'_>, mask: Option<&Value<'_>>) -> Result<Comparison, PolicyError> {
        let name = self.string(op, "op", "an operator, such as \"==\"")?;
        if name == MASKED {
            let mask = mask
                .ok_or_else(|| self.source.error(&op.span(), "`masked_eq` needs `mask`: (argument & mask) == value"))?;
            return Ok(Comparison::Masked(self.operand(mask, "mask")?));
        }
        let Some((_, known)) = OPERATORS.iter().find(|(text, _)| *text == name) else {
            let message = format!("`{}` is no operator; known are == != < <= > >= masked_eq", name.escape_debug());
            return Err(self.source.error(&op.span(), message));
        };
        match mask {
            Some(mask) => Err(self
                .source
                .error(&mask.span(), format!("`mask` goes with op = \"masked_eq\", not with \"{name}\""))),
            None => Ok(Comparison::Plain(*known)),
        }
    }

    pub(crate) fn operand(&self, value: &Value<'_>, key: &str) -> Result<Placed<Operand>, PolicyError> {
        let operand = match value.get_ref() {
            DeValue::Integer(number) => Operand::Number(
                word(number)
                    .ok_or_else(|| self.source.error(&value.span(), format!("{number} does not fit 64 bits")))?,
            ),
            DeValue::String(names) => Operand::Names(names.to_string()),
            other => return Err(self.wrong_type(value, key, "a number, or names such as \"O_WRONLY|O_CREAT\"", other)),
        };
        Ok(Placed { value: operand, span: value.span() })
    }

    pub(crate) fn boolean(&self, value: &Value<'_>, key: &str) -> Result<bool, PolicyError> {
        let DeValue::Boolean(boolean) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "true or false", value.get_ref()));
        };
        Ok(*boolean)
    }

    pub(crate) fn string<'v>(&self, value: &'v Value<'_>, key: &str, wanted: &str) -> Result<&'v str, PolicyError> {
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.wrong_type(value, key, wanted, value.get_ref()));
        };
        Ok(text.as_ref())
    }

    pub(crate) fn array<'v, 't>(
        &self,
        value: &'v Value<'t>,
        key: &str,
        wanted: &str,
    ) -> Result<&'v DeArray<'t>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(value, key, wanted, value.get_ref()));
        };
        Ok(array)
    }

    /// An error for the first key, in the order of the text, that is none of `known`.
    pub(crate) fn only_known_keys(&self, table: &DeTable<'_>, known: &[&str], what: &str) -> Result<(), PolicyError> {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let suggestion = did_you_mean(key.get_ref(), known.iter().copied());
        let list = known.join("`, `");
        let message = format!("unknown key `{}`{suggestion} ({what} has `{list}`)", key.get_ref().escape_debug());
        Err(self.source.error(&key.span(), message))
    }

    pub(crate) fn wrong_type(&self, value: &Value<'_>, key: &str, wanted: &str, found: &DeValue<'_>) -> PolicyError {
        self.source.error(&value.span(), format!("`{key}` must be {wanted}, not a value of type {}", found.type_str()))
    }
}

/// A call's name, or its number if it has none.
pub(crate) fn name_of(number: u32) -> String {
    syscalls::by_number(u64::from(number)).map_or_else(|| format!("{number}"), |call| call.name.into())
}

/// A number from 0 to 2^64 - 1.
pub(crate) fn unsigned(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A number of 64 bits, signed or not, as the register would hold it.
pub(crate) fn word(number: &DeInteger<'_>) -> Option<u64> {
    let signed = || i64::from_str_radix(number.as_str(), number.radix()).ok().map(i64::cast_unsigned);
    unsigned(number).or_else(signed)
}
