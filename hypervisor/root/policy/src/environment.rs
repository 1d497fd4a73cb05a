//! `env` of `[process]`: which variables the program has.
//!
//! ```toml
//! env = { set = { LANG = "C" }, unset = ["HOME", "*_TOKEN"], pass = ["TZ", "LC_*"], allow = ["PATH"] }
//! ```
//! `set` gives a variable a value, `unset` leaves it out, `pass` takes it over from the environment of whoever starts the program, if it is there. What is
//! none of these is there if an image or the command line says so, and, where `allow` is stated, only if that names it. In names a `*` stands for any
//! characters. Of one file `set` decides before `unset`, and that before `pass`; of several files the first that says something about a variable decides.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::PolicyError;
use crate::parse::{Reader, Value};

/// What a policy says of one variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'e> {
    /// It has this value.
    Set(&'e str),
    /// It is left out.
    Unset,
    /// It is as whoever starts the program has it, and may be given another value.
    Passed,
    /// It may be there.
    Allowed,
    /// It is in no list of those that may be there.
    NotAllowed,
}

/// What the policy says of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The first that is about a variable decides.
    entries: Vec<Entry>,
    /// Which of the others may be there, and where that stands; nothing: all.
    allow: Option<(Vec<String>, Place)>,
}

/// What is done with the variables of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    does: Does,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Does {
    Set(String),
    Unset,
    Pass,
}

/// File and line. All are alike: what a policy says is the same wherever it says it.
#[derive(Clone, Debug, Default, Eq)]
pub(crate) struct Place(pub(crate) String);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Entry {
    fn is_about(&self, name: &[u8]) -> bool {
        match self.does {
            Does::Set(_) => self.name.as_bytes() == name,
            Does::Unset | Does::Pass => stands_for(&self.name, name),
        }
    }
}

impl Environment {
    /// What is said of the variable with this name.
    #[must_use]
    pub fn of(&self, name: &[u8]) -> Said<'_> {
        match (self.entry(name).map(|entry| &entry.does), &self.allow) {
            (Some(Does::Set(value)), _) => Said::Set(value),
            (Some(Does::Unset), _) => Said::Unset,
            (Some(Does::Pass), _) => Said::Passed,
            (None, Some((allowed, _))) if !allowed.iter().any(|pattern| stands_for(pattern, name)) => Said::NotAllowed,
            (None, _) => Said::Allowed,
        }
    }

    /// Where that stands, `FILE:LINE`; nowhere for what is allowed.
    #[must_use]
    pub fn place(&self, name: &[u8]) -> Option<&str> {
        let place = match self.entry(name) {
            Some(entry) => Some(&entry.place),
            None => self.allow.as_ref().map(|(_, place)| place),
        };
        place.map(|place| place.0.as_str())
    }

    /// The variables that are set, with their values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|entry| {
            let decides = self.entry(entry.name.as_bytes()).is_some_and(|first| core::ptr::eq(first, entry));
            match &entry.does {
                Does::Set(value) if decides => Some((entry.name.as_str(), value.as_str())),
                _ => None,
            }
        })
    }

    /// What is set, left out and passed on, by name as it is written, in the order in which it decides.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Said<'_>)> {
        self.entries.iter().map(|entry| {
            let said = match &entry.does {
                Does::Set(value) => Said::Set(value),
                Does::Unset => Said::Unset,
                Does::Pass => Said::Passed,
            };
            (entry.name.as_str(), said)
        })
    }

    /// Which others may be there; nothing: all.
    #[must_use]
    pub fn allowed(&self) -> Option<&[String]> {
        self.allow.as_ref().map(|(names, _)| names.as_slice())
    }

    /// Takes from a file that is included what is not stated yet.
    pub(crate) fn lay_under(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.allow = self.allow.take().or(other.allow);
    }

    fn entry(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is_about(name))
    }
}

const KEYS: &[&str] = &["allow", "set", "unset", "pass"];
const NAMES: &str = "an array of names, in which `*` stands for any characters (\"LC_*\")";

impl Reader<'_, '_> {
    pub(crate) fn environment(&self, value: &Value<'_>) -> Result<Environment, PolicyError> {
        let table = self.table(value, "env", "a table such as { set = { LANG = \"C\" }, unset = [\"HOME\"] }")?;
        self.only_known_keys(table, KEYS, "`env`")?;
        let mut environment = Environment::default();
        if let Some(value) = table.get("set") {
            environment.entries = self.set_variables(value)?;
        }
        for (key, does) in [("unset", Does::Unset), ("pass", Does::Pass)] {
            let Some(value) = table.get(key) else { continue };
            for value in self.array(value, key, NAMES)?.iter() {
                let name = self.variables(value, key)?;
                if environment.entries.iter().any(|known| known.name == name) {
                    let message = format!("`{}` is here twice; remove one", name.escape_debug());
                    return Err(self.source.error(&value.span(), message));
                }
                let place = self.line_of(value);
                environment.entries.push(Entry { name: name.to_string(), does: does.clone(), place });
            }
        }
        if let Some(value) = table.get("allow") {
            let names = self.array(value, "allow", NAMES)?.iter();
            let names = names.map(|name| Ok(self.variables(name, "allow")?.to_string()));
            environment.allow = Some((names.collect::<Result<_, PolicyError>>()?, self.line_of(value)));
        }
        Ok(environment)
    }

    fn set_variables(&self, value: &Value<'_>) -> Result<Vec<Entry>, PolicyError> {
        let table = self.table(value, "set", "a table of variables and their values")?;
        let entries = table.iter().map(|(key, value)| {
            let name = key.get_ref().as_ref();
            if !is_variable(name) {
                return Err(self.source.error(&key.span(), NO_NAME));
            }
            let text = self.plain(value, name, "a text")?;
            Ok(Entry { name: name.to_string(), does: Does::Set(text.to_string()), place: self.line_of(value) })
        });
        entries.collect()
    }

    /// A name of variables.
    fn variables<'v>(&self, value: &'v Value<'_>, key: &str) -> Result<&'v str, PolicyError> {
        let name = self.string(value, key, NAMES)?;
        if is_variable(name) { Ok(name) } else { Err(self.source.error(&value.span(), NO_NAME)) }
    }

    /// Where a value stands.
    pub(crate) fn line_of(&self, value: &Value<'_>) -> Place {
        Place(self.source.shown(value.span().start).to_string())
    }
}

const NO_NAME: &str = "this is no name of a variable";

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// Whether a name in a list stands for this variable. Of each part between two `*` the first place counts: nothing is tried twice.
#[must_use]
pub fn stands_for(pattern: &str, name: &[u8]) -> bool {
    let mut parts = pattern.split('*').map(str::as_bytes);
    let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, expected) in [
            ("A", "A", true),
            ("A", "AB", false),
            ("*", "", true),
            ("*", "A", true),
            ("LC_*", "LC_", true),
            ("LC_*", "XLC_", false),
            ("*_TOKEN", "A_TOKEN", true),
            ("*_TOKEN", "A_TOKENS", false),
            ("A*A", "A", false),
            ("A*A", "AA", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("a**b", "ab", true),
            ("?", "A", false),
        ] {
            assert_eq!(stands_for(pattern, name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
