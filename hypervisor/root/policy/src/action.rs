//! The `action` of a rule as the text has it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use proto::COPY_LEN;
use toml::de::{DeTable, DeValue};

use crate::Action;
use crate::errno::{ERRNOS, Errno};
use crate::error::PolicyError;
use crate::parse::{Argument, Operand, Placed, Reader, Value, unsigned, word};
use crate::question::Question;
use crate::suggest::did_you_mean;

/// An action, and what belongs to it.
pub(crate) struct ActionText {
    pub(crate) action: Action,
    /// `"log"` is to allow, and to write it down.
    pub(crate) log: bool,
    /// For [`Action::Rewrite`] only.
    pub(crate) rewrites: Vec<RewriteText>,
    /// For [`Action::Ask`] and [`Action::Stop`] only.
    pub(crate) question: Option<Question>,
}

impl ActionText {
    /// An action to which nothing belongs.
    pub(crate) fn plain(action: Action) -> Self {
        Self { action, log: false, rewrites: Vec::new(), question: None }
    }

    fn asking(action: Action, question: Question) -> Self {
        Self { question: Some(question), ..Self::plain(action) }
    }
}

/// One entry of `rewrite`.
pub(crate) struct RewriteText {
    pub(crate) argument: Placed<Argument>,
    pub(crate) change: Change,
    pub(crate) span: Range<usize>,
}

/// What a rewrite does with its argument.
pub(crate) enum Change {
    /// The argument becomes this.
    Set(Placed<Operand>),
    /// Only these bits of it are left.
    Mask(Placed<Operand>),
    /// The path that it points to becomes this.
    Path(String),
}

const KNOWN: &str = r#""allow", "kill", "trap", "log", "ask", "stop", { errno = "EPERM" }, { fake = 0 }, { kill = "process" }, { ask = { limit = "30s" } } or { rewrite = [{ arg = 0, value = 0 }] }"#;
const ACTION_KEYS: &[&str] = &["errno", "fake", "kill", "rewrite", "ask", "stop"];
const REWRITE_KEYS: &[&str] = &["arg", "value", "mask", "path"];
/// Most entries of `rewrite`.
const MAX_REWRITES: usize = 6;
/// Most bytes of a path: with its NUL it is as long as Linux takes (PATH_MAX), and as a copy of a call's memory holds.
const MAX_PATH: usize = COPY_LEN - 1;

impl Reader<'_, '_> {
    /// The value of `key`, which is an action.
    pub(crate) fn action(&self, value: &Value<'_>, key: &str) -> Result<ActionText, PolicyError> {
        let plain = |action| Ok(ActionText::plain(action));
        match value.get_ref() {
            DeValue::String(text) => match text.as_ref() {
                "allow" => plain(Action::Allow),
                "log" => Ok(ActionText { log: true, ..ActionText::plain(Action::Allow) }),
                "kill" => plain(Action::Kill),
                "trap" => plain(Action::Trap),
                "ask" => Ok(ActionText::asking(Action::Ask, Question::default())),
                "stop" => Ok(ActionText::asking(Action::Stop, Question::default())),
                other => {
                    let message = format!("`{}` is no action; `{key}` must be {KNOWN}", other.escape_debug());
                    Err(self.source.error(&value.span(), message))
                }
            },
            DeValue::Table(table) => self.action_with_value(value, table, key),
            other => Err(self.wrong_type(value, key, KNOWN, other)),
        }
    }

    fn action_with_value(&self, value: &Value<'_>, table: &DeTable<'_>, key: &str) -> Result<ActionText, PolicyError> {
        self.only_known_keys(table, ACTION_KEYS, "an action")?;
        if table.len() > 1 {
            return Err(self.source.error(&value.span(), format!("more than one action; `{key}` must be {KNOWN}")));
        }
        let action = if let Some(errno) = table.get("errno") {
            self.errno(errno)?
        } else if let Some(result) = table.get("fake") {
            self.fake(result)?
        } else if let Some(whom) = table.get("kill") {
            self.kill(whom)?
        } else if let Some(question) = table.get("ask") {
            return Ok(ActionText::asking(Action::Ask, self.question(question, "ask")?));
        } else if let Some(question) = table.get("stop") {
            return Ok(ActionText::asking(Action::Stop, self.question(question, "stop")?));
        } else if let Some(rewrites) = table.get("rewrite") {
            return Ok(ActionText { rewrites: self.rewrites(rewrites)?, ..ActionText::plain(Action::Rewrite) });
        } else {
            return Err(self.source.error(&value.span(), format!("an empty action; `{key}` must be {KNOWN}")));
        };
        Ok(ActionText::plain(action))
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

    fn fake(&self, value: &Value<'_>) -> Result<Action, PolicyError> {
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(value, "fake", "the number that the call is to return", value.get_ref()));
        };
        let result =
            word(number).ok_or_else(|| self.source.error(&value.span(), format!("{number} does not fit 64 bits")))?;
        Ok(Action::Fake(result.cast_signed()))
    }

    fn kill(&self, value: &Value<'_>) -> Result<Action, PolicyError> {
        let wanted = r#""thread", "process" or "sandbox""#;
        match self.string(value, "kill", wanted)? {
            "thread" => Ok(Action::KillThread),
            "process" => Ok(Action::KillProcess),
            "sandbox" => Ok(Action::Kill),
            other => {
                let message = format!("`{}` cannot be killed; `kill` must be {wanted}", other.escape_debug());
                Err(self.source.error(&value.span(), message))
            }
        }
    }

    fn rewrites(&self, value: &Value<'_>) -> Result<Vec<RewriteText>, PolicyError> {
        let array = self.array(value, "rewrite", "an array of changes to arguments")?;
        if array.is_empty() {
            return Err(self.source.error(&value.span(), "`rewrite` is empty; for no change write \"allow\""));
        }
        // A call has no more arguments, and none is rewritten twice.
        if let Some(beyond) = array.get(MAX_REWRITES) {
            return Err(self.source.error(&beyond.span(), format!("more than {MAX_REWRITES} changes")));
        }
        array.iter().map(|entry| self.rewrite(entry)).collect()
    }

    fn rewrite(&self, value: &Value<'_>) -> Result<RewriteText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, "rewrite", "a list of { arg = 0, value = 1 }", value.get_ref()));
        };
        self.only_known_keys(table, REWRITE_KEYS, "a change")?;
        let argument = table.get("arg").ok_or_else(|| self.source.error(&value.span(), "this change has no `arg`"))?;
        let argument = self.argument(argument)?;
        let change = match (table.get("value"), table.get("mask"), table.get("path")) {
            (Some(operand), None, None) => Change::Set(self.operand(operand, "value")?),
            (None, Some(operand), None) => Change::Mask(self.operand(operand, "mask")?),
            (None, None, Some(path)) => Change::Path(self.other_path(path)?),
            _ => {
                let message = "a change has either `value` (argument := value), `mask` (argument := argument & mask) or `path` (what it points to := path)";
                return Err(self.source.error(&value.span(), message));
            }
        };
        Ok(RewriteText { argument, change, span: value.span() })
    }

    /// A path that stands in the place of the program's.
    fn other_path(&self, value: &Value<'_>) -> Result<String, PolicyError> {
        let path = self.string(value, "path", "the path that the call is carried out with")?;
        let wrong = if !path.starts_with('/') {
            "begin the path with `/`: where another one leads depends on the program's working directory".to_string()
        } else if path.contains('\0') {
            "no path has a NUL in it".to_string()
        } else if path.len() > MAX_PATH {
            format!("a path has at most {MAX_PATH} bytes, this one {}", path.len())
        } else {
            return Ok(path.to_string());
        };
        Err(self.source.error(&value.span(), wrong))
    }
}
