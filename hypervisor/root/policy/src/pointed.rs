//! Conditions on what an argument points to: what they say, what has to be read for them, and the bytes that they are asked about.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use toml::de::DeTable;

use crate::error::PolicyError;
use crate::glob::Subject;
use crate::limits;
use crate::parse::{Placed, Reader, Value};
use crate::signature::Kind;

/// Arguments of one call whose memory rules may look at: `rename` has two paths.
pub const MAX_READS: usize = 2;

/// Memory that has to be read before a call can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The argument that holds the address of a string, from 0. NULL: there is none.
    pub argument: u8,
}

/// What was read for a call, by argument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pointed<'a>([Option<&'a [u8]>; 6]);

impl<'a> Pointed<'a> {
    /// Notes what an argument points to: of a string all before its NUL.
    pub fn set(&mut self, argument: u8, bytes: &'a [u8]) {
        if let Some(slot) = self.0.get_mut(usize::from(argument)) {
            *slot = Some(bytes);
        }
    }

    pub(crate) fn get(&self, argument: u8) -> Option<&'a [u8]> {
        self.0.get(usize::from(argument)).copied().flatten()
    }
}

/// The text of a condition on memory: one of the patterns has to match, or none.
#[derive(PartialEq)]
pub(crate) struct PointedText {
    pub(crate) subject: Subject,
    pub(crate) patterns: Vec<Placed<String>>,
    pub(crate) negated: bool,
}

impl PointedText {
    /// What has to be read of an argument of this kind; nothing if it is none that such a condition is for.
    pub(crate) fn read(&self, argument: u8, kind: Kind) -> Option<Read> {
        let fits = match self.subject {
            Subject::Path => matches!(kind, Kind::Path),
            Subject::Text => matches!(kind, Kind::Path | Kind::Text),
        };
        fits.then_some(Read { argument })
    }

    /// The kind of argument that it is for.
    pub(crate) fn wanted(&self) -> &'static str {
        match self.subject {
            Subject::Path => "path",
            Subject::Text => "string",
        }
    }
}

const SUBJECTS: [(&str, Subject); 2] = [("path", Subject::Path), ("string", Subject::Text)];

impl Reader<'_, '_> {
    /// The condition that this table is, if it is one on memory.
    pub(crate) fn pointed(&self, table: &DeTable<'_>) -> Result<Option<PointedText>, PolicyError> {
        let Some((key, subject)) = SUBJECTS.into_iter().find(|(key, _)| table.contains_key(*key)) else {
            return Ok(None);
        };
        let Some(value) = table.get(key) else { return Ok(None) };
        self.only_known_keys(table, &["arg", key, "not"], &format!("a condition on a {key}"))?;
        let negated = table.get("not").map(|value| self.boolean(value, "not")).transpose()?;
        Ok(Some(PointedText { subject, patterns: self.patterns(value, key)?, negated: negated.unwrap_or(false) }))
    }

    /// A pattern, or several.
    pub(crate) fn patterns(&self, value: &Value<'_>, key: &str) -> Result<Vec<Placed<String>>, PolicyError> {
        let wanted = "a pattern or an array of patterns";
        let one = |value: &Value<'_>| {
            let pattern = self.string(value, key, wanted)?;
            if pattern.contains('\0') {
                return Err(self.source.error(&value.span(), "no string has a NUL in it: this never matches"));
            }
            Ok(Placed { value: pattern.to_string(), span: value.span() })
        };
        if value.get_ref().is_str() {
            return Ok(Vec::from([one(value)?]));
        }
        let array = self.array(value, key, wanted)?;
        if array.is_empty() {
            return Err(self.source.error(&value.span(), format!("`{key}` is empty; name a pattern")));
        }
        if let Some(beyond) = array.get(limits::MAX_PATTERNS) {
            let message = format!("more than {} patterns in one condition", limits::MAX_PATTERNS);
            return Err(self.source.error(&beyond.span(), message));
        }
        array.iter().map(one).collect()
    }
}
