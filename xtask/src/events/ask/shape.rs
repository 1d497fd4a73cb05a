//! Which calls an answer is for that is to hold for always: those that a rule can tell from all others.
//!
//! A shape is the call, and what counts of its arguments and of the fields of structures: strings and the socket address that it passes, and numbers, names and modes. Descriptors,
//! addresses, lengths and what is read or written do not count, nor do the strings of an array (execve's arguments): they differ from one such call to the next. Only where
//! nothing else is left does a descriptor count. A call whose strings were not read whole, or that starts from a directory that is open, has no shape.
use super::super::data::Bytes;
use super::super::event::{Call, Word};
use super::super::learn::written;
use policy::signature::{self, Kind};
use policy::structures::Structure;
use std::fmt::{self, Display};

/// AT_FDCWD, as its register is compared.
const HERE: u64 = 0xffff_ff9c;

/// A call, as far as a rule can tell it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    call: String,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// Argument, key of the language, pattern.
    String(usize, &'static str, String),
    /// Pattern.
    Address(String),
    /// Argument, value as the language has it.
    Number(usize, String),
    /// The same of a field, by its name.
    Field(String, String),
}

impl Shape {
    /// That of a call.
    pub(super) fn of(call: &Call) -> Option<Self> {
        let kinds = signature::of(call.number)?.arguments;
        let name = call.name.clone().filter(|_| call.abi == "x86-64")?;
        let mut conditions = Vec::new();
        let mut descriptor = None;
        let starts_at_root = first_path(call, kinds).is_some_and(|path| path.starts_with('/'));
        for (argument, (kind, Word(value))) in kinds.iter().zip(call.args).enumerate() {
            if let Kind::Structure(structure) = kind
                && value != 0
            {
                conditions.extend(fields(call, argument, structure)?);
                continue;
            }
            let value = value & kind.mask();
            let number = |value: u64| Condition::Number(argument, written(*kind, value));
            let counts_address = |other: &Kind| matches!(other, Kind::Address(len) if usize::from(*len) == argument);
            match kind {
                _ if kinds.iter().any(counts_address) => {}
                Kind::Path | Kind::Text if value == 0 => conditions.push(number(0)),
                Kind::Path => conditions.push(Condition::String(argument, "path", escaped(text(call, argument)?))),
                Kind::Text => conditions.push(Condition::String(argument, "string", escaped(text(call, argument)?))),
                Kind::Address(_) if value == 0 => conditions.push(number(0)),
                Kind::Address(_) | Kind::Message | Kind::Messages(_) => {
                    conditions.push(Condition::Address(address(call, argument)?));
                }
                Kind::DirFd if starts_at_root => {}
                Kind::DirFd if value == HERE => conditions.push(number(HERE)),
                Kind::DirFd => return None,
                Kind::Fd => descriptor = descriptor.or(Some(number(value))),
                Kind::Structure(_)
                | Kind::Named(_)
                | Kind::LongNamed(_)
                | Kind::Spoken(_)
                | Kind::SocketOption
                | Kind::Id
                | Kind::Int
                | Kind::Uint
                | Kind::Hex32
                | Kind::Mode => conditions.push(number(value)),
                Kind::CreateMode(_)
                | Kind::FcntlArgument
                | Kind::Long
                | Kind::Size
                | Kind::NamedSize(_)
                | Kind::Hex
                | Kind::Pointer
                | Kind::Buffer(_)
                | Kind::Ranges(_)
                | Kind::Strings => {}
            }
        }
        if conditions.is_empty() {
            conditions.extend(descriptor);
        }
        Some(Self { call: name, conditions })
    }

    /// The lines of a rule about such calls that say which they are.
    pub(super) fn rule(&self) -> String {
        let Self { call, conditions } = self;
        let mut lines = format!("calls = [\"{call}\"]\n");
        if !conditions.is_empty() {
            let conditions: Vec<String> = conditions.iter().map(ToString::to_string).collect();
            lines += &format!("when = [{}]\n", conditions.join(", "));
        }
        lines
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<String> = self.conditions.iter().map(|condition| format!(" {condition}")).collect();
        write!(f, "{}{}", self.call, conditions.join(","))
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(argument, key, pattern) => write!(f, "{{ arg = {argument}, {key} = {} }}", quoted(pattern)),
            Self::Address(pattern) => write!(f, "{{ address = {} }}", quoted(pattern)),
            Self::Field(name, value) => write!(f, "{{ arg = {}, op = \"==\", value = {value} }}", quoted(name)),
            Self::Number(argument, value) => write!(f, "{{ arg = {argument}, op = \"==\", value = {value} }}"),
        }
    }
}

/// What counts of a structure: as of arguments, numbers, names and modes.
fn fields(call: &Call, argument: usize, structure: &Structure) -> Option<Vec<Condition>> {
    let name = signature::of(call.number)?.names.get(argument)?;
    let mut conditions = Vec::new();
    for field in structure.fields {
        let value = call.field(u8::try_from(argument).ok()?, field.name)?;
        if !matches!(field.kind, Kind::Pointer | Kind::Hex | Kind::Size) {
            conditions.push(Condition::Field(format!("{name}.{}", field.name), written(field.kind, value)));
        }
    }
    Some(conditions)
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The string that an argument points to, if all of it was read and is text.
fn text(call: &Call, argument: usize) -> Option<&str> {
    match bytes(call, argument)? {
        Bytes::Text(text) if !text.contains('\0') => Some(text),
        _ => None,
    }
}

/// What an argument points to, if all of it was read.
fn bytes(call: &Call, argument: usize) -> Option<&Bytes> {
    let data = call.data.iter().find(|data| usize::from(data.argument) == argument && data.whole)?;
    match data.bytes.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

fn first_path<'c>(call: &'c Call, kinds: &[Kind]) -> Option<&'c str> {
    let argument = kinds.iter().position(|kind| matches!(kind, Kind::Path))?;
    text(call, argument)
}

/// A pattern for the socket address of a call.
fn address(call: &Call, argument: usize) -> Option<String> {
    let Bytes::Address(text) = bytes(call, argument)? else { return None };
    match text.strip_prefix("unix:") {
        Some(name) => unix(name),
        // The address that stands for every one is judged as another.
        None if text.starts_with("0.0.0.0:") || text.starts_with("[::]:") => None,
        None => Some(text.clone()),
    }
}

/// A pattern for a Unix socket by its name, as texts have it.
fn unix(name: &str) -> Option<String> {
    if let Some(name) = name.strip_prefix('@') {
        return Some(format!("unix:@{}", escaped(name)));
    }
    // What tells it from an abstract name is no part of it.
    let path = name.strip_prefix('\\').unwrap_or(name);
    if path.split('/').any(|part| part == "..") {
        // No pattern matches it.
        return None;
    }
    let mark = if path.starts_with('@') { "\\" } else { "" };
    Some(format!("unix:{mark}{}", escaped(path)))
}

/// A pattern that only this text matches.
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
