//! `ask` and `stop`: somebody decides while the call waits.
//!
//! ```toml
//! action = "ask"                                                   # the same as
//! action = { ask = { limit = "60s", otherwise = { errno = "EPERM" } } }
//! ```
//! The call's thread waits; the others go on. Whoever may answer is shown the call, and allows it, denies it (with the error of `otherwise`, or EPERM), or ends the
//! sandbox. `limit` says how long an answer is waited for: seconds, or a text such as "30s" (units s, m, h), up to a day. Without an answer by then, or if nobody is there to be
//! asked, `otherwise` holds: "allow", "kill", or one of `{ errno = … }` and `{ kill = … }`.
//!
//! What a question shows of the strings, the structures, the socket address and the written bytes that the call passes is what is carried out after the answer: they are copied
//! once, as for conditions on them, and with the same bounds. The arguments and the environment of a program to be executed are kept by the shim for that. What else
//! pointers lead to (what an ioctl names) is not shown, and is read when the call is carried out.
//!
//! `"stop"`, or `{ stop = { limit = "5m", otherwise = "kill" } }`, is the same for the whole sandbox: none of its threads runs until the answer, nothing that pointers lead to changes, and the
//! registers are shown, too.

use alloc::format;
use alloc::vec::Vec;

use toml::de::DeValue;

use crate::Action;
use crate::compile::Compiler;
use crate::contents::content_of;
use crate::errno::{EPERM, Errno};
use crate::error::PolicyError;
use crate::parse::{Reader, Value};
use crate::pointed::{Form, Read, address_of, structure_of};
use crate::process::{seconds, whole_number};
use crate::signature::{self, Kind};

/// Longest time that an answer is waited for, in seconds.
pub const MAX_LIMIT: u32 = 24 * 3600;

const KEYS: &[&str] = &["limit", "otherwise"];
const LIMIT: &str = "1 second to a day: a number of seconds, or a text such as \"30s\" (units s, m, h)";

/// What belongs to [`Action::Ask`] and [`Action::Stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// How long an answer is waited for, in seconds: 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// What is done without one.
    pub otherwise: Settlement,
}

/// What is done about a call once somebody has been asked about it, or where nobody can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is carried out.
    Allow,
    /// It fails.
    Errno(Errno),
    /// The sandbox ends.
    Kill,
    /// Its process ends.
    KillProcess,
    /// Its thread ends.
    KillThread,
}

impl From<Settlement> for Action {
    fn from(settlement: Settlement) -> Self {
        match settlement {
            Settlement::Allow => Self::Allow,
            Settlement::Errno(errno) => Self::Errno(errno),
            Settlement::Kill => Self::Kill,
            Settlement::KillProcess => Self::KillProcess,
            Settlement::KillThread => Self::KillThread,
        }
    }
}

impl Default for Question {
    fn default() -> Self {
        Self { limit: 60, otherwise: Settlement::Errno(EPERM) }
    }
}

impl Question {
    /// What is done if the answer is no.
    #[must_use]
    pub const fn denial(self) -> Settlement {
        match self.otherwise {
            Settlement::Errno(errno) => Settlement::Errno(errno),
            _ => Settlement::Errno(EPERM),
        }
    }
}

impl Reader<'_, '_> {
    /// The table behind `ask`.
    pub(crate) fn question(&self, value: &Value<'_>, key: &str) -> Result<Question, PolicyError> {
        let table = self.table(value, key, "a table such as { limit = \"30s\", otherwise = { errno = \"EPERM\" } }")?;
        self.only_known_keys(table, KEYS, &format!("`{key}`"))?;
        let usual = Question::default();
        Ok(Question {
            limit: table.get("limit").map_or(Ok(usual.limit), |value| self.limit_of_answer(value))?,
            otherwise: table.get("otherwise").map_or(Ok(usual.otherwise), |value| self.otherwise(value))?,
        })
    }

    fn limit_of_answer(&self, value: &Value<'_>) -> Result<u32, PolicyError> {
        let length = match value.get_ref() {
            DeValue::Integer(number) => whole_number(number),
            DeValue::String(text) => seconds(text),
            other => return Err(self.wrong_type(value, "limit", LIMIT, other)),
        };
        let fits =
            length.and_then(|length| u32::try_from(length).ok()).filter(|length| (1..=MAX_LIMIT).contains(length));
        fits.ok_or_else(|| self.source.error(&value.span(), format!("`limit` must be {LIMIT}")))
    }

    fn otherwise(&self, value: &Value<'_>) -> Result<Settlement, PolicyError> {
        let action = self.action(value, "otherwise")?;
        match action.action {
            Action::Allow if action.log => {
                Err(self.source.error(&value.span(), "write \"allow\" here, and `log = true` in the rule"))
            }
            Action::Allow => Ok(Settlement::Allow),
            Action::Errno(errno) => Ok(Settlement::Errno(errno)),
            Action::Kill => Ok(Settlement::Kill),
            Action::KillProcess => Ok(Settlement::KillProcess),
            Action::KillThread => Ok(Settlement::KillThread),
            _ => Err(self.source.error(
                &value.span(),
                "without an answer a call can only be carried out (\"allow\"), fail ({ errno = \"EPERM\" }) or \"kill\"",
            )),
        }
    }
}

impl Compiler {
    /// The default asks about what no rule decides.
    pub(crate) fn ask_by_default(&mut self) {
        for (number, call) in (0..).zip(&mut self.calls).filter(|(_, call)| call.is_left()) {
            // As much as a call can show fits.
            let _ = call.looks_at(shown_of(number));
        }
    }
}

/// What has to be read of a call's memory so that what is shown of it is what is carried out.
pub(crate) fn shown_of(number: u32) -> Vec<Read> {
    let Some(signature) = signature::of(number.into()) else { return Vec::new() };
    let is_string = |kind: &Kind| matches!(kind, Kind::Path | Kind::Text);
    let arguments = (0..).zip(signature.arguments).filter(|(_, kind)| is_string(kind));
    let strings = arguments.map(|(argument, _)| Read { argument, form: Form::String });
    let structures = signature.structures().map(|(argument, structure)| structure_of(argument, structure));
    structures.chain(strings).chain(address_of(signature)).chain(content_of(signature)).collect()
}
