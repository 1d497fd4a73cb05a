//! What events say of the memory behind a call's arguments, and of what a policy made of them.
use super::event::Word;
use policy::address::SocketAddress;
use policy::signature::{self, Kind, NumberChange, Place, PlaceName, Signature};
use policy::structures::Structure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trace::{Content, Piece};

/// What an argument points to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Data {
    /// The argument, from 0.
    pub(super) argument: u8,
    /// The strings or bytes there: one, or those of an array.
    pub(super) bytes: Vec<Bytes>,
    /// That is all of it.
    pub(super) whole: bool,
    /// It is what the message there sends, and not its address.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) sent: bool,
}

/// Bytes: as text where they are UTF-8, else in hexadecimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bytes {
    Text(String),
    Hex(String),
    /// A socket address, in the words of policies.
    Address(String),
    /// The fields of a structure, by name.
    Fields(BTreeMap<String, Word>),
    /// Nothing could be read at this address.
    Unreadable(Word),
}

impl Bytes {
    /// As a person reads them; of what is no UTF-8 each byte as an escape.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Address(text) => text.clone(),
            Self::Hex(_) => self.bytes().unwrap_or_default().utf8_chunks().fold(String::new(), |mut text, chunk| {
                text.push_str(chunk.valid());
                chunk.invalid().iter().fold(text, |text, byte| format!("{text}\\x{byte:02x}"))
            }),
            Self::Fields(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}={}", String::from(*value))).collect();
                format!("{{{}}}", fields.join(", "))
            }
            Self::Unreadable(address) => String::from(*address),
        }
    }

    /// Those of a structure.
    fn of_structure(piece: &Piece, structure: Option<&Structure>) -> Self {
        let (Piece::Read { bytes, .. }, Some(structure)) = (piece, structure) else { return piece.into() };
        let fields =
            structure.fields.iter().filter_map(|field| Some((field.name.to_owned(), Word(field.read(bytes)?))));
        Self::Fields(fields.collect())
    }

    /// Those of a `struct sockaddr`.
    fn of_address(piece: &Piece) -> Self {
        let Piece::Read { bytes, .. } = piece else { return piece.into() };
        let text = SocketAddress::read(bytes).and_then(|address| String::from_utf8(address.text()).ok());
        text.map_or_else(|| piece.into(), Self::Address)
    }
}

impl Bytes {
    /// The structure that these are the fields of, as the program has passed it.
    pub(super) fn structure(&self, structure: &Structure) -> Option<Vec<u8>> {
        let Self::Fields(fields) = self else { return None };
        let mut bytes = vec![0; structure.size()];
        for field in structure.fields {
            let Word(value) = fields.get(field.name)?;
            field.write(&mut bytes, *value);
        }
        Some(bytes)
    }

    /// The bytes, if they were read.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) | Self::Address(text) => Some(text.clone().into_bytes()),
            Self::Hex(digits) => crate::policy::hexadecimal(digits),
            Self::Fields(_) | Self::Unreadable(_) => None,
        }
    }
}

impl From<&Piece> for Bytes {
    fn from(piece: &Piece) -> Self {
        match piece {
            Piece::Read { bytes, .. } => match std::str::from_utf8(bytes) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            },
            Piece::Unreadable(address) => Self::Unreadable(Word(*address)),
        }
    }
}

impl Data {
    /// What an argument of such a call points to.
    pub(super) fn of(data: &trace::Data, signature: Option<&Signature>) -> Self {
        let (bytes, whole) = match &data.content {
            Content::Bytes(piece) => (vec![piece.into()], piece.is_whole()),
            Content::Address(piece) => (vec![Bytes::of_address(piece)], piece.is_whole()),
            Content::Structure(piece) => {
                let structure = signature.and_then(|signature| signature.structure(data.argument));
                (vec![Bytes::of_structure(piece, structure)], piece.is_whole())
            }
            Content::Strings(pieces, end) => (
                pieces.iter().map(Bytes::from).collect(),
                *end == trace::End::Whole && pieces.iter().all(Piece::is_whole),
            ),
        };
        let kind = signature.and_then(|signature| signature.arguments.get(usize::from(data.argument)));
        let sent = matches!((kind, &data.content), (Some(Kind::Message | Kind::Messages(_)), Content::Bytes(_)));
        Self { argument: data.argument, bytes, whole, sent }
    }
}

/// A changed argument, or a field of what it points to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Rewritten {
    /// The argument, from 0.
    argument: u8,
    /// The field of the structure that it points to, if that is what is changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    field: Option<String>,
    #[serde(flatten)]
    change: Change,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    /// This.
    Value(Word),
    /// What it had of these bits.
    Mask(Word),
    /// Where it points to there was this path.
    Path(Bytes),
}

impl Rewritten {
    /// What a policy has changed of this call.
    pub(super) fn of(change: &trace::Change, call: u64) -> Self {
        let (argument, field, change) = match change {
            trace::Change::Number(argument, field, 0, set) => (*argument, *field, Change::Value(Word(*set))),
            trace::Change::Number(argument, field, keep, _) => (*argument, *field, Change::Mask(Word(*keep))),
            trace::Change::Path(argument, path) => (*argument, None, Change::Path(path.into())),
        };
        let signature = signature::of(call);
        let field = signature.and_then(|signature| signature.field(Place { argument, field }));
        Self { argument, field: field.map(|field| field.name.to_owned()), change }
    }

    /// As a person reads it, of this call: `flags := O_RDONLY`.
    pub(super) fn text(&self, call: u64) -> String {
        let signature = signature::of(call);
        let field = |name: &String| signature?.structure(self.argument)?.field(name);
        let place = Place { argument: self.argument, field: self.field.as_ref().and_then(field) };
        let of = PlaceName { signature, place };
        let (keep, set) = match &self.change {
            Change::Value(Word(value)) => (0, *value),
            Change::Mask(Word(mask)) => (*mask, 0),
            Change::Path(path) => return format!("{of} := \"{}\"", path.shown()),
        };
        NumberChange { of, keep, set }.to_string()
    }
}
