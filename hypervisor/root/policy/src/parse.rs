//! TOML text → what it says, with the place of each part. What a call's arguments mean is not known here yet:
//! that is the compiler's.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use proto::syscalls;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::errno::{ERRNOS, Errno};
use crate::error::{PolicyError, Source};
use crate::suggest::did_you_mean;
use crate::table::Op;
use crate::{Action, limits};

/// A value with its place in the text.
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// The right side of a comparison, or a mask.
pub(crate) enum Operand {
    /// A number; negative ones in two's complement.
    Number(u64),
    /// Names joined by `|`, whose meaning depends on the argument.
    Names(String),
}

/// The comparison that a condition asks for.
pub(crate) enum Comparison {
    Plain(Op),
    /// `masked_eq`, with its mask.
    Masked(Placed<Operand>),
}

/// One entry of `when`.
pub(crate) struct ConditionText {
    pub(crate) argument: Placed<u8>,
    pub(crate) comparison: Comparison,
    pub(crate) value: Placed<Operand>,
    pub(crate) span: Range<usize>,
}

/// One `[[rule]]`.
pub(crate) struct RuleText {
    pub(crate) span: Range<usize>,
    /// Call numbers.
    pub(crate) calls: Vec<Placed<u32>>,
    pub(crate) action: Action,
    pub(crate) log: bool,
    pub(crate) reason: Option<String>,
    pub(crate) conditions: Vec<ConditionText>,
}

/// A whole file.
pub(crate) struct PolicyText {
    /// The default action and its line; line 0 if the file does not state one.
    pub(crate) default: (Action, u32),
    pub(crate) rules: Vec<RuleText>,
}

const TOP_KEYS: &[&str] = &["version", "default", "rule"];
const RULE_KEYS: &[&str] = &["calls", "action", "log", "reason", "when"];
const CONDITION_KEYS: &[&str] = &["arg", "op", "value", "mask"];
const OPERATORS: &[(&str, Op)] = &[
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    ("<=", Op::LessOrEqual),
    (">", Op::Greater),
    (">=", Op::GreaterOrEqual),
];
const MASKED: &str = "masked_eq";

type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a whole file.
pub(crate) fn read(source: &Source<'_>, text: &str) -> Result<PolicyText, PolicyError> {
    let document = DeTable::parse(text).map_err(|error| {
        let end = text.len()..text.len();
        source.error(&error.span().unwrap_or(end), format!("not TOML: {}", error.message()))
    })?;
    Reader { source }.document(document.get_ref())
}

struct Reader<'s, 't> {
    source: &'s Source<'t>,
}

impl Reader<'_, '_> {
    fn document(&self, top: &DeTable<'_>) -> Result<PolicyText, PolicyError> {
        self.version(top)?;
        self.only_known_keys(top, TOP_KEYS, "a policy")?;
        let default = match top.get("default") {
            Some(value) => (self.action(value, "default")?, self.source.line(value.span().start)),
            None => (Action::Errno(crate::errno::EPERM), 0),
        };
        let rules = match top.get("rule") {
            Some(value) => self.rules(value)?,
            None => Vec::new(),
        };
        Ok(PolicyText { default, rules })
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
            log: table.get("log").map_or(Ok(false), |value| self.boolean(value, "log"))?,
            reason: table.get("reason").map(|value| self.reason(value)).transpose()?,
            conditions: table.get("when").map_or(Ok(Vec::new()), |value| self.conditions(value))?,
        })
    }

    fn calls(&self, value: &Value<'_>) -> Result<Vec<Placed<u32>>, PolicyError> {
        let array = self.array(value, "calls", "an array of system call names")?;
        if array.is_empty() {
            return Err(self
                .source
                .error(&value.span(), "`calls` is empty, so the rule says nothing; name a call or remove the rule"));
        }
        let mut calls: Vec<Placed<u32>> = Vec::new();
        for entry in array.iter() {
            let name = self.string(entry, "calls", "system call names")?;
            let Some(call) = syscalls::by_name(name) else {
                let suggestion = did_you_mean(name, syscalls::SYSCALLS.iter().map(|call| call.name));
                let message = format!("`{}` is no x86-64 system call{suggestion}", name.escape_debug());
                return Err(self.source.error(&entry.span(), message));
            };
            if calls.iter().any(|known| known.value == call.number) {
                return Err(self
                    .source
                    .error(&entry.span(), format!("`{name}` stands in this rule twice; remove one")));
            }
            calls.push(Placed { value: call.number, span: entry.span() });
        }
        Ok(calls)
    }

    fn action(&self, value: &Value<'_>, key: &str) -> Result<Action, PolicyError> {
        let known = r#""allow", "kill" or { errno = "EPERM" }"#;
        match value.get_ref() {
            DeValue::String(text) => match text.as_ref() {
                "allow" => Ok(Action::Allow),
                "kill" => Ok(Action::Kill),
                "log" => {
                    Err(self.source.error(&value.span(), r#"to allow and log, write action = "allow" and log = true"#))
                }
                other => {
                    let message = format!("`{}` is no action; `{key}` must be {known}", other.escape_debug());
                    Err(self.source.error(&value.span(), message))
                }
            },
            DeValue::Table(table) => {
                self.only_known_keys(table, &["errno"], "an action")?;
                match table.get("errno") {
                    Some(errno) => self.errno(errno),
                    None => Err(self.source.error(&value.span(), format!("an empty action; `{key}` must be {known}"))),
                }
            }
            other => Err(self.wrong_type(value, key, known, other)),
        }
    }

    fn errno(&self, value: &Value<'_>) -> Result<Action, PolicyError> {
        if let DeValue::Integer(number) = value.get_ref() {
            let named = unsigned(number).and_then(|number| u16::try_from(number).ok()).and_then(Errno::by_number);
            let name = named.map_or("EPERM", |errno| errno.name);
            return Err(self.source.error(&value.span(), format!("`errno` takes a name; write errno = \"{name}\"")));
        }
        let name = self.string(value, "errno", "the name of an error, such as \"EPERM\"")?;
        Errno::by_name(name).map(Action::Errno).ok_or_else(|| {
            let suggestion = did_you_mean(name, ERRNOS.iter().map(|errno| errno.name));
            self.source.error(&value.span(), format!("`{}` is no error of Linux{suggestion}", name.escape_debug()))
        })
    }

    fn reason(&self, value: &Value<'_>) -> Result<String, PolicyError> {
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

    fn conditions(&self, value: &Value<'_>) -> Result<Vec<ConditionText>, PolicyError> {
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
        self.only_known_keys(table, CONDITION_KEYS, "a condition")?;
        let required = |key: &str| {
            table.get(key).ok_or_else(|| self.source.error(&value.span(), format!("this condition has no `{key}`")))
        };
        let argument = self.argument(required("arg")?)?;
        let comparison = self.comparison(required("op")?, table.get("mask"))?;
        let operand = self.operand(required("value")?, "value")?;
        Ok(ConditionText { argument, comparison, value: operand, span: value.span() })
    }

    fn argument(&self, value: &Value<'_>) -> Result<Placed<u8>, PolicyError> {
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(value, "arg", "an argument's index, 0 to 5", value.get_ref()));
        };
        let index = unsigned(number).and_then(|index| u8::try_from(index).ok()).filter(|index| *index <= 5);
        let index = index.ok_or_else(|| {
            self.source
                .error(&value.span(), format!("there is no argument {number}; `arg` counts from 0 and goes to 5"))
        })?;
        Ok(Placed { value: index, span: value.span() })
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

    fn operand(&self, value: &Value<'_>, key: &str) -> Result<Placed<Operand>, PolicyError> {
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

    fn boolean(&self, value: &Value<'_>, key: &str) -> Result<bool, PolicyError> {
        let DeValue::Boolean(boolean) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "true or false", value.get_ref()));
        };
        Ok(*boolean)
    }

    fn string<'v>(&self, value: &'v Value<'_>, key: &str, wanted: &str) -> Result<&'v str, PolicyError> {
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.wrong_type(value, key, wanted, value.get_ref()));
        };
        Ok(text.as_ref())
    }

    fn array<'v, 't>(&self, value: &'v Value<'t>, key: &str, wanted: &str) -> Result<&'v DeArray<'t>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(value, key, wanted, value.get_ref()));
        };
        Ok(array)
    }

    /// An error for the first key, in the order of the text, that is none of `known`.
    fn only_known_keys(&self, table: &DeTable<'_>, known: &[&str], what: &str) -> Result<(), PolicyError> {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let suggestion = did_you_mean(key.get_ref(), known.iter().copied());
        let list = known.join("`, `");
        let message = format!("unknown key `{}`{suggestion} ({what} has `{list}`)", key.get_ref().escape_debug());
        Err(self.source.error(&key.span(), message))
    }

    fn wrong_type(&self, value: &Value<'_>, key: &str, wanted: &str, found: &DeValue<'_>) -> PolicyError {
        self.source.error(&value.span(), format!("`{key}` must be {wanted}, not a value of type {}", found.type_str()))
    }
}

/// A number from 0 to 2^64 - 1.
fn unsigned(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A number of 64 bits, signed or not, as the register would hold it.
fn word(number: &DeInteger<'_>) -> Option<u64> {
    let signed = || i64::from_str_radix(number.as_str(), number.radix()).ok().map(i64::cast_unsigned);
    unsigned(number).or_else(signed)
}
