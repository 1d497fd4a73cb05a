//! Conditions on what arguments point to: what they say, what has to be read for them, and the bytes that they are asked about.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proto::COPY_LEN;
use toml::de::DeTable;

use crate::address::SocketAddress;
use crate::error::PolicyError;
use crate::glob::Subject;
use crate::limits;
use crate::parse::{Argument, Placed, Reader, Value};
use crate::signature::{Kind, Place, Signature};
use crate::structures::{Extent, Field, Structure};
use crate::table::Rewrite;

/// Memory that has to be read before a call can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The argument that holds its address, from 0. NULL: there is none.
    pub argument: u8,
    /// What is there.
    pub form: Form,
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string.
    String,
    /// A `struct sockaddr`.
    Address {
        /// The argument that holds its length.
        len: u8,
    },
    /// So many bytes.
    Buffer {
        /// The argument that says how many.
        len: u8,
    },
    /// An array of `struct iovec`, and the bytes that they name.
    Ranges {
        /// The argument that holds how many of them there are.
        count: u8,
    },
    /// A `struct msghdr`, and the bytes that its ranges name.
    MessageBytes {
        /// As of [`Form::Message`].
        count: Option<u8>,
    },
    /// A `struct msghdr`, and the `struct sockaddr` that it names.
    Message {
        /// The argument that holds how many of them there are, one behind the other as `struct mmsghdr`. Only the first is judged, so that
        /// only the first may be carried out: Linux allows such a call to do less than it is asked for.
        count: Option<u8>,
    },
    /// A structure.
    Structure {
        /// How many bytes it has.
        size: usize,
        /// How many of them a call brings.
        extent: Extent,
    },
}

impl Form {
    /// An argument that says how much there is to do, of which the kernel looks at the bits of a mask, and how much of that is looked at.
    pub(crate) fn bound(self) -> Option<(u8, u64, u64)> {
        match self {
            Self::Message { count: Some(count) } | Self::MessageBytes { count: Some(count) } => {
                Some((count, u64::from(u32::MAX), 1))
            }
            Self::Buffer { len } => Some((len, u64::MAX, COPY_LEN as u64)),
            _ => None,
        }
    }

    /// The argument that says how much of it there is to read, where what is carried out is as much as was read.
    pub(crate) const fn sized_by(self) -> Option<u8> {
        match self {
            Self::Address { len } | Self::Buffer { len } => Some(len),
            Self::Ranges { count } => Some(count),
            Self::Structure { extent: Extent::Stated { argument, .. }, .. } => Some(argument),
            _ => None,
        }
    }

    /// How many copies it is: a message's header is one of its own.
    pub(crate) const fn copies(self) -> usize {
        match self {
            Self::String
            | Self::Address { .. }
            | Self::Buffer { .. }
            | Self::Ranges { .. }
            | Self::Structure { .. } => 1,
            Self::Message { .. } | Self::MessageBytes { .. } => 2,
        }
    }
}

/// What was read for a call.
#[derive(Clone, Copy, Debug)]
pub struct Pointed<'a> {
    /// Strings and structures.
    pieces: [Option<&'a [u8]>; 6],
    address: Option<SocketAddress<'a>>,
    content: Option<&'a [u8]>,
    /// What becomes of fields of the structures.
    changes: &'a [Rewrite],
}

impl<'a> Pointed<'a> {
    /// Nothing was read.
    pub const NOTHING: Self = Self { pieces: [None; 6], address: None, content: None, changes: &[] };

    /// Notes what an argument points to: of a string all before its NUL, of a structure all of it, what the call does not bring as 0.
    pub fn set(&mut self, argument: u8, bytes: &'a [u8]) {
        if let Some(slot) = self.pieces.get_mut(usize::from(argument)) {
            *slot = Some(bytes);
        }
    }

    /// Notes the `struct sockaddr` that a call has.
    pub fn set_address(&mut self, bytes: &'a [u8]) {
        self.address = SocketAddress::read(bytes);
    }

    /// Notes the bytes that a call writes or sends.
    pub fn set_content(&mut self, bytes: &'a [u8]) {
        self.content = Some(bytes);
    }

    /// Notes what a rule changes: fields are seen as they are then.
    pub(crate) fn set_changes(&mut self, changes: &'a [Rewrite]) {
        self.changes = changes;
    }

    /// The field at a place; nothing where there is no structure.
    pub(crate) fn field(&self, place: Place, field: &Field) -> Option<u64> {
        let value = field.read(self.get(place.argument)?)?;
        let change = self.changes.iter().find(|change| change.place == place);
        Some(change.map_or(value, |Rewrite { keep, set, .. }| value & keep | set))
    }

    pub(crate) fn content(&self) -> Option<&'a [u8]> {
        self.content
    }

    pub(crate) fn get(&self, argument: u8) -> Option<&'a [u8]> {
        self.pieces.get(usize::from(argument)).copied().flatten()
    }

    pub(crate) fn address(&self) -> Option<SocketAddress<'a>> {
        self.address
    }
}

/// The text of a condition on a call's socket address: one of the patterns has to match, or none.
#[derive(PartialEq)]
pub(crate) struct AddressText {
    pub(crate) patterns: Vec<Placed<String>>,
    pub(crate) negated: bool,
}

/// What has to be read for the socket address of such a call; nothing if it has none.
pub(crate) fn address_of(signature: &Signature) -> Option<Read> {
    let form = |kind: &Kind| match kind {
        Kind::Address(len) => Some(Form::Address { len: *len }),
        Kind::Message => Some(Form::Message { count: None }),
        Kind::Messages(count) => Some(Form::Message { count: Some(*count) }),
        _ => None,
    };
    (0..).zip(signature.arguments).find_map(|(argument, kind)| Some(Read { argument, form: form(kind)? }))
}

/// What has to be read of an argument that points to such a structure.
pub(crate) fn structure_of(argument: u8, structure: &Structure) -> Read {
    Read { argument, form: Form::Structure { size: structure.size(), extent: structure.extent } }
}

/// The text of a condition on memory: one of the patterns has to match, or none.
#[derive(PartialEq)]
pub(crate) struct PointedText {
    pub(crate) argument: Placed<Argument>,
    pub(crate) subject: Subject,
    pub(crate) patterns: Vec<Placed<String>>,
    pub(crate) negated: bool,
}

/// What has to be read of an argument of this kind; nothing if it points to no such string.
pub(crate) fn string_of(argument: u8, subject: Subject, kind: Kind) -> Option<Read> {
    let fits = match subject {
        Subject::Path => matches!(kind, Kind::Path),
        Subject::Text => matches!(kind, Kind::Path | Kind::Text),
    };
    fits.then_some(Read { argument, form: Form::String })
}

/// Such a string, by name.
pub(crate) fn wanted(subject: Subject) -> &'static str {
    match subject {
        Subject::Path => "path",
        Subject::Text => "string",
    }
}

const ADDRESS: &str = "address";
const SUBJECTS: [(&str, Subject); 2] = [("path", Subject::Path), ("string", Subject::Text)];

impl Reader<'_, '_> {
    /// The condition that this table is, if it is one on memory.
    pub(crate) fn pointed(
        &self,
        condition: &Value<'_>,
        table: &DeTable<'_>,
    ) -> Result<Option<PointedText>, PolicyError> {
        let Some((key, subject)) = SUBJECTS.into_iter().find(|(key, _)| table.contains_key(*key)) else {
            return Ok(None);
        };
        let Some(value) = table.get(key) else { return Ok(None) };
        self.only_known_keys(table, &["arg", key, "not"], &format!("a condition on a {key}"))?;
        let argument = self.argument(self.required(condition, table, "arg")?)?;
        let (patterns, negated) = (self.patterns(value, key)?, self.negated(table)?);
        Ok(Some(PointedText { argument, subject, patterns, negated }))
    }

    /// The condition that this table is, if it is one on a socket address. Calls have one at most: no argument is named.
    pub(crate) fn address(&self, table: &DeTable<'_>) -> Result<Option<AddressText>, PolicyError> {
        let Some(value) = table.get(ADDRESS) else { return Ok(None) };
        self.only_known_keys(table, &[ADDRESS, "not"], "a condition on an address")?;
        Ok(Some(AddressText { patterns: self.patterns(value, ADDRESS)?, negated: self.negated(table)? }))
    }

    pub(crate) fn negated(&self, table: &DeTable<'_>) -> Result<bool, PolicyError> {
        table.get("not").map_or(Ok(false), |value| self.boolean(value, "not"))
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
