//! Conditions on the bytes that a call writes or sends: `prefix` and `contains`.
//!
//! Which bytes these are is known for the calls in [`WRITERS`] only: for each of them the shim carries out the copy that was judged. At most
//! as many bytes of a call are judged as one copy holds; what is longer is cut there, or refused where no part of it can be sent alone.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input};
use linux_raw_sys::general::{
    __NR_pwrite64, __NR_pwritev, __NR_pwritev2, __NR_sendmmsg, __NR_sendmsg, __NR_sendto, __NR_write, __NR_writev,
};
use toml::de::{DeTable, DeValue};

use crate::error::PolicyError;
use crate::limits;
use crate::parse::{Placed, Reader, Value};
use crate::pointed::{Form, Read};
use crate::signature::{Kind, Signature};

/// The calls whose bytes can be judged.
const WRITERS: [u32; 8] =
    [__NR_write, __NR_pwrite64, __NR_writev, __NR_pwritev, __NR_pwritev2, __NR_sendto, __NR_sendmsg, __NR_sendmmsg];

/// Where in the bytes a pattern is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the beginning.
    Prefix,
    /// Anywhere.
    Anywhere,
}

/// The text of a condition on what a call writes: one of the patterns has to be there, or none.
#[derive(PartialEq)]
pub(crate) struct ContentText {
    pub(crate) place: Place,
    pub(crate) patterns: Vec<Placed<Vec<u8>>>,
    pub(crate) negated: bool,
}

/// Patterns of which one has to be in the bytes.
#[derive(Clone, Debug)]
pub(crate) enum ContentSet {
    Prefix(Box<[Box<[u8]>]>),
    /// All of them in one automaton: the cost hangs on the bytes alone.
    Anywhere(Box<AhoCorasick>),
}

impl ContentSet {
    /// Whether one of the patterns is in these bytes.
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Prefix(patterns) => patterns.iter().any(|pattern| bytes.starts_with(pattern)),
            // It is made for such a search, which therefore cannot fail.
            Self::Anywhere(patterns) => {
                patterns.try_find(Input::new(bytes).earliest(true)).is_ok_and(|found| found.is_some())
            }
        }
    }
}

impl ContentText {
    /// The patterns, ready. The error is that they are too much for one automaton.
    pub(crate) fn set(&self) -> Result<ContentSet, &'static str> {
        let patterns = self.patterns.iter().map(|pattern| pattern.value.as_slice());
        match self.place {
            Place::Prefix => Ok(ContentSet::Prefix(patterns.map(Box::from).collect())),
            Place::Anywhere => AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(patterns)
                .map(|set| ContentSet::Anywhere(Box::new(set)))
                .map_err(|_| "these patterns are too many; make several rules"),
        }
    }

    /// Bytes of all patterns together.
    pub(crate) fn size(&self) -> usize {
        self.patterns.iter().map(|pattern| pattern.value.len()).sum()
    }
}

/// What has to be read for the bytes that such a call writes; nothing if it writes none, or none that can be judged.
pub(crate) fn content_of(signature: &Signature) -> Option<Read> {
    if !WRITERS.contains(&signature.number) {
        return None;
    }
    let form = |kind: &Kind| match kind {
        Kind::Buffer(len) => Some(Form::Buffer { len: *len }),
        Kind::Ranges(count) => Some(Form::Ranges { count: *count }),
        Kind::Message => Some(Form::MessageBytes { count: None }),
        Kind::Messages(count) => Some(Form::MessageBytes { count: Some(*count) }),
        _ => None,
    };
    (0..).zip(signature.arguments).find_map(|(argument, kind)| Some(Read { argument, form: form(kind)? }))
}

const PLACES: [(&str, Place); 2] = [("prefix", Place::Prefix), ("contains", Place::Anywhere)];
const WANTED: &str = r#"a text, bytes as { hex = "7f 45 4c 46" }, or an array of these"#;

impl Reader<'_, '_> {
    /// The condition that this table is, if it is one on what a call writes. Calls write one thing at most: no argument is named.
    pub(crate) fn content(&self, table: &DeTable<'_>) -> Result<Option<ContentText>, PolicyError> {
        let Some((key, place)) = PLACES.into_iter().find(|(key, _)| table.contains_key(*key)) else {
            return Ok(None);
        };
        let Some(value) = table.get(key) else { return Ok(None) };
        self.only_known_keys(table, &[key, "not"], "a condition on what is written")?;
        let patterns = self.contents(value, key)?;
        Ok(Some(ContentText { place, patterns, negated: self.negated(table)? }))
    }

    /// One piece of bytes, or several.
    fn contents(&self, value: &Value<'_>, key: &str) -> Result<Vec<Placed<Vec<u8>>>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else { return Ok(Vec::from([self.bytes(value, key)?])) };
        if array.is_empty() {
            return Err(self.source.error(&value.span(), format!("`{key}` is empty; name a text")));
        }
        if let Some(beyond) = array.get(limits::MAX_PATTERNS) {
            let message = format!("more than {} texts in one condition", limits::MAX_PATTERNS);
            return Err(self.source.error(&beyond.span(), message));
        }
        array.iter().map(|value| self.bytes(value, key)).collect()
    }

    fn bytes(&self, value: &Value<'_>, key: &str) -> Result<Placed<Vec<u8>>, PolicyError> {
        let bytes = match value.get_ref() {
            DeValue::String(text) => text.as_bytes().to_vec(),
            DeValue::Table(table) => {
                self.only_known_keys(table, &["hex"], "a piece of bytes")?;
                let text = self.required(value, table, "hex")?;
                let digits = self.string(text, "hex", "hexadecimal digits")?;
                hexadecimal(digits).ok_or_else(|| {
                    self.source.error(&text.span(), "`hex` has two hexadecimal digits for each byte, such as \"7f 45\"")
                })?
            }
            other => return Err(self.wrong_type(value, key, WANTED, other)),
        };
        if bytes.is_empty() || bytes.len() > limits::MAX_CONTENT {
            let message = format!("what is looked for has 1 to {} bytes, this {}", limits::MAX_CONTENT, bytes.len());
            return Err(self.source.error(&value.span(), message));
        }
        Ok(Placed { value: bytes, span: value.span() })
    }
}

/// The bytes that these digits are; spaces may stand between them.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().filter(|character| *character != ' ').map(|character| character.to_digit(16));
    let digits = digits.map(|digit| digit.and_then(|digit| u8::try_from(digit).ok())).collect::<Option<Vec<_>>>()?;
    let (pairs, []) = digits.as_chunks() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
