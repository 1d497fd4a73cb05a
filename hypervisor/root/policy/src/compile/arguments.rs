//! What a rule says of a call's arguments, as that call has them: names of arguments and values become numbers, and strings, addresses and bytes what has to be read.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::action::{Change, RewriteText};
use crate::contents::content_of;
use crate::error::PolicyError;
use crate::glob::Subject;
use crate::numbers::{Comparison, Op};
use crate::parse::{
    Argument, CallText, Comparison as ComparisonText, ConditionText, NumberText, Operand, Placed, RuleText, name_of,
};
use crate::pointed::{Read, address_of, string_of, structure_of, wanted};
use crate::signature::{self, Kind, Place, Signature};
use crate::structures::Field;
use crate::suggest::did_you_mean;
use crate::table::{Condition, Rewrite};

use super::FileCompiler;

/// An argument, and how many low bits of its register count; or a field.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    place: Place,
    field: Option<&'static Field>,
    kind: Kind,
    /// 1 to 64.
    bits: u32,
    /// What has to be read for it.
    read: Option<Read>,
}

impl Seen {
    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    fn of_argument(argument: u8, kind: Kind, bits: u32) -> Self {
        Self { place: Place::argument(argument), field: None, kind, bits, read: None }
    }

    /// Which argument it is, if it is no field.
    pub(super) fn argument(self) -> Option<u8> {
        self.field.is_none().then_some(self.place.argument)
    }

    /// What has to be read of memory for it.
    pub(super) fn read(self) -> Option<Read> {
        self.read
    }

    fn condition(self, comparison: Comparison) -> Condition {
        match self.field {
            Some(field) => Condition::Field { place: self.place, field, comparison },
            None => Condition::Number { argument: self.place.argument, comparison },
        }
    }
}

impl FileCompiler<'_, '_, '_> {
    /// A condition as it applies to one call: reduced to the bits that the kernel looks at. What has to be read for it is added to `reads`.
    pub(super) fn condition(
        &self,
        condition: &ConditionText,
        text: &NumberText,
        number: u32,
        reads: &mut Vec<Read>,
    ) -> Result<Condition, PolicyError> {
        let seen = self.seen(&text.argument, text.bits, number)?;
        reads.extend(seen.read);
        let value = self.operand(&text.value, seen, number)?;
        let (mask, op) = match &text.comparison {
            ComparisonText::Plain(op) => (seen.mask(), *op),
            ComparisonText::Masked(mask) => (self.operand(mask, seen, number)?, Op::Equal),
        };
        if value & !mask != 0 {
            let message = format!("this can never hold: value {value:#x} has bits outside the mask {mask:#x}");
            return Err(self.source.error(&text.value.span, message));
        }
        let comparison = Comparison { mask, value, op };
        match comparison.constant() {
            Some(holds) => {
                let always = if holds { "always" } else { "never" };
                let message =
                    format!("this condition {always} holds; remove it{}", if holds { "" } else { " with its rule" });
                Err(self.source.error(&condition.span, message))
            }
            None => Ok(seen.condition(comparison)),
        }
    }

    /// What has to be read of a call's argument that is such a string.
    pub(super) fn read_string(
        &self,
        argument: &Placed<Argument>,
        subject: Subject,
        call: &CallText,
    ) -> Result<Read, PolicyError> {
        let index = self.index(argument, call.number)?;
        let kind = self.kind(index, argument, call.number)?;
        string_of(index, subject, kind).ok_or_else(|| {
            let (name, wanted) = (name_of(call.number), wanted(subject));
            self.source.error(&argument.span, format!("argument {index} of `{name}` is no {wanted}"))
        })
    }

    /// The same for one on a socket address.
    pub(super) fn read_address(&self, span: &Range<usize>, call: &CallText) -> Result<Read, PolicyError> {
        signature::of(call.number.into()).and_then(address_of).ok_or_else(|| {
            let message = format!("`{}` is passed no socket address", name_of(call.number));
            self.source.error(span, message)
        })
    }

    /// The same for one on what is written.
    pub(super) fn read_content(&self, condition: &ConditionText, call: &CallText) -> Result<Read, PolicyError> {
        signature::of(call.number.into()).and_then(content_of).ok_or_else(|| {
            let message = format!("`{}` writes and sends no bytes that a rule can look at", name_of(call.number));
            self.source.error(&condition.span, message)
        })
    }

    /// An argument, or a field, as a condition with this `bits` sees it.
    pub(super) fn seen(
        &self,
        argument: &Placed<Argument>,
        bits: Option<u32>,
        number: u32,
    ) -> Result<Seen, PolicyError> {
        let signature = signature::of(number.into());
        let place = match &argument.value {
            Argument::Index(index) => Some(Place::argument(*index)),
            Argument::Name(name) => signature.and_then(|signature| signature.place(name)),
        };
        let place = place.ok_or_else(|| self.unknown_name(argument, number))?;
        if let Some(field) = signature.and_then(|signature| signature.field(place)) {
            if bits.is_some() {
                let message = "`bits` is about registers; a field is compared as wide as it is";
                return Err(self.source.error(&argument.span, message));
            }
            let structure = signature.and_then(|signature| signature.structure(place.argument));
            let read = structure.map(|structure| structure_of(place.argument, structure));
            return Ok(Seen { place, field: Some(field), kind: field.kind, bits: field.bits(), read });
        }
        match (self.kind(place.argument, argument, number), bits) {
            (Ok(kind), bits) => Ok(Seen::of_argument(place.argument, kind, bits.unwrap_or(kind.bits()))),
            // Who says how many bits are compared means the register, and every call has six.
            (Err(_), Some(bits)) => Ok(Seen::of_argument(place.argument, Kind::Hex, bits)),
            (Err(error), None) => Err(error),
        }
    }

    /// Which argument of a call that points to something that is.
    pub(super) fn index(&self, argument: &Placed<Argument>, number: u32) -> Result<u8, PolicyError> {
        let name = match &argument.value {
            Argument::Index(index) => return Ok(*index),
            Argument::Name(name) => name,
        };
        let place = signature::of(number.into()).and_then(|signature| signature.place(name));
        match place {
            Some(Place { argument, field: None }) => Ok(argument),
            Some(_) => {
                Err(self.source.error(&argument.span, "a field of a structure is a number: no string, and no path"))
            }
            None => Err(self.unknown_name(argument, number)),
        }
    }

    /// The error for a name that no argument, and no field, of a call has.
    fn unknown_name(&self, argument: &Placed<Argument>, number: u32) -> PolicyError {
        let Argument::Name(name) = &argument.value else {
            return self.source.error(&argument.span, "there is no such argument");
        };
        let names = signature::of(number.into()).map_or_else(Vec::new, names);
        let known = match names.as_slice() {
            [] => "no arguments with names".to_owned(),
            names => format!("`{}`", names.join("`, `")),
        };
        let suggestion = did_you_mean(name, names.iter().map(String::as_str));
        let (name, call) = (name.escape_debug(), name_of(number));
        self.source.error(&argument.span, format!("`{call}` has no argument `{name}`{suggestion} (it has {known})"))
    }

    /// What argument `index` is.
    pub(super) fn kind(&self, index: u8, argument: &Placed<Argument>, number: u32) -> Result<Kind, PolicyError> {
        let kinds = signature::of(u64::from(number)).map_or(signature::UNKNOWN, |signature| signature.arguments);
        kinds.get(usize::from(index)).copied().ok_or_else(|| {
            let name = name_of(number);
            let message = match kinds.len() {
                0 => format!("`{name}` has no arguments; put it into a rule without `when`"),
                count => {
                    format!("`{name}` has only {count} argument{}, counted from 0", if count == 1 { "" } else { "s" })
                }
            };
            self.source.error(&argument.span, message)
        })
    }

    pub(super) fn operand(&self, operand: &Placed<Operand>, seen: Seen, number: u32) -> Result<u64, PolicyError> {
        let value = match &operand.value {
            Operand::Number(value) => *value,
            Operand::Names(names) => self.names(names, &operand.span, seen.kind, number)?,
        };
        let mask = seen.mask();
        // A negative number fits if cutting it off loses copies of its sign only.
        let negative = value | (mask >> 1) == u64::MAX;
        if value & !mask != 0 && !negative {
            let message = format!(
                "{value:#x} does not fit: `{}` looks at {} bits of this argument only",
                name_of(number),
                seen.bits
            );
            return Err(self.source.error(&operand.span, message));
        }
        Ok(value & mask)
    }

    /// The number that `A|B` stands for in this argument.
    pub(super) fn names(&self, names: &str, span: &Range<usize>, kind: Kind, number: u32) -> Result<u64, PolicyError> {
        let symbols = kind.symbols().ok_or_else(|| {
            self.source.error(span, format!("this argument of `{}` has no names; write a number", name_of(number)))
        })?;
        let mut value = 0;
        for name in names.split('|').map(str::trim) {
            value |= symbols.value(name).ok_or_else(|| {
                let suggestion = did_you_mean(name, symbols.names());
                let message = format!(
                    "`{}` is no name for this argument of `{}`{suggestion}",
                    name.escape_debug(),
                    name_of(number)
                );
                self.source.error(span, message)
            })?;
        }
        Ok(value)
    }

    /// What the rule changes, which must be the same for all its calls: their arguments may differ in width and names.
    pub(super) fn rewrites(&self, rule: &RuleText) -> Result<Vec<Rewrite>, PolicyError> {
        let compiled = |call: &CallText| {
            let rewrites = rule.action.rewrites.iter();
            let rewrites: Vec<_> =
                rewrites.map(|rewrite| self.rewrite(rewrite, call.number)).collect::<Result<_, _>>()?;
            self.no_argument_twice(&rewrites, rule)?;
            Ok(rewrites)
        };
        let Some((first, others)) = rule.calls.split_first() else { return Ok(Vec::new()) };
        let rewrites = compiled(first)?;
        for call in others {
            let others = compiled(call)?;
            let different = rewrites.iter().zip(&others).zip(&rule.action.rewrites).find(|((a, b), _)| a != b);
            if let Some((_, text)) = different {
                let message = format!(
                    "this is not the same for `{}` and `{}`; make a rule for each",
                    name_of(first.number),
                    name_of(call.number)
                );
                return Err(self.source.error(&text.span, message));
            }
        }
        Ok(rewrites)
    }

    /// A name and a number can mean the same argument.
    fn no_argument_twice(&self, rewrites: &[Rewrite], rule: &RuleText) -> Result<(), PolicyError> {
        for (index, (rewrite, text)) in rewrites.iter().zip(&rule.action.rewrites).enumerate() {
            let earlier = rewrites.get(..index).unwrap_or(&[]);
            let meets = |other: &Rewrite| {
                let is_whole = other.place.field.is_none() || rewrite.place.field.is_none();
                other.place.argument == rewrite.place.argument && (is_whole || other.place == rewrite.place)
            };
            if earlier.iter().any(meets) {
                return Err(self.source.error(&text.argument.span, "this argument is rewritten twice; remove one"));
            }
        }
        Ok(())
    }

    fn rewrite(&self, text: &RewriteText, number: u32) -> Result<Rewrite, PolicyError> {
        let seen = self.seen(&text.argument, None, number)?;
        let (keep, set, path) = match &text.change {
            Change::Set(value) => (0, self.operand(value, seen, number)?, None),
            Change::Mask(mask) => (self.operand(mask, seen, number)?, 0, None),
            Change::Path(path) => (u64::MAX, 0, Some(path.clone())),
        };
        Ok(Rewrite { place: seen.place, keep, set, path })
    }
}

/// What a call's arguments and their fields are called.
fn names(signature: &Signature) -> Vec<String> {
    let fields = signature.structures().flat_map(|(argument, structure)| {
        let of = signature.names.get(usize::from(argument)).copied().unwrap_or_default();
        structure.fields.iter().map(move |field| format!("{of}.{}", field.name))
    });
    signature.names.iter().map(ToString::to_string).chain(fields).collect()
}
