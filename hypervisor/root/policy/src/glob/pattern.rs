//! One pattern: its parts, and the automaton of their bits.
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{GlobError, Subject};

/// Parts of a pattern behind its literal beginning. One bit of the automaton's word is left for its end.
const MAX_PARTS: usize = 120;
/// Bytes of a pattern.
pub const MAX_PATTERN: usize = 1024;

/// One part of a pattern, which is one state of the automaton.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// This byte.
    Byte(u8),
    /// Any byte that the subject lets it be.
    One,
    /// One of, or none of, these ranges.
    Class { negated: bool, ranges: Box<[(u8, u8)]> },
    /// Any number of bytes that are not `/`.
    Star,
    /// Any number of bytes.
    Anything,
    /// Begins `/**`: passes over itself and the [`Part::Anything`] behind it, or takes a `/`.
    Below,
    /// Begins `**/`: passes over itself and the [`Part::Inside`] behind it, or is like it.
    Leading,
    /// Any number of bytes up to a `/`.
    Inside,
}

/// A step that stays in its state,
pub(super) const STAY: u128 = 0b1;
/// that leads to the next one,
pub(super) const NEXT: u128 = 0b10;
/// or to the one behind it.
pub(super) const SECOND: u128 = 0b100;

/// A pattern: a literal beginning, and parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    pub(super) prefix: Box<[u8]>,
    pub(super) parts: Box<[Part]>,
    pub(super) subject: Subject,
    /// States that are also their next one, and their next but one.
    to_next: u128,
    to_second: u128,
}

impl Glob {
    pub(super) fn parse(pattern: &[u8], subject: Subject) -> Result<Self, GlobError> {
        if pattern.len() > MAX_PATTERN {
            return Err(GlobError::TooLong);
        }
        let parts = Parser { rest: pattern, subject, at_start: true }.parts()?;
        let literal = parts.iter().take_while(|part| matches!(part, Part::Byte(_))).count();
        let (prefix, parts) = parts.split_at(literal);
        if parts.len() > MAX_PARTS {
            return Err(GlobError::TooLong);
        }
        let prefix = prefix.iter().filter_map(|part| if let Part::Byte(byte) = part { Some(*byte) } else { None });
        let states = |wanted: fn(&Part) -> bool| {
            let bits = parts.iter().enumerate().filter(|(_, part)| wanted(part)).map(|(index, _)| 1 << index);
            bits.fold(0, |all, bit: u128| all | bit)
        };
        Ok(Self {
            prefix: prefix.collect(),
            to_next: states(Part::leads_to_next),
            to_second: states(Part::leads_to_second),
            parts: parts.into(),
            subject,
        })
    }

    /// Whether [`Glob::rest_matches`] has nothing to step through.
    pub(super) fn is_simple(&self) -> bool {
        matches!(&*self.parts, [] | [Part::Anything] | [Part::Below, Part::Anything])
    }

    /// Whether the parts match what follows the beginning.
    pub(super) fn rest_matches(&self, text: &[u8]) -> bool {
        match &*self.parts {
            [] => text.is_empty(),
            [Part::Anything] => true,
            [Part::Below, Part::Anything] => text.first().is_none_or(|byte| *byte == b'/'),
            _ => self.run(text),
        }
    }

    fn run(&self, text: &[u8]) -> bool {
        self.states_after(text.iter().copied()) & (1 << self.parts.len()) != 0
    }

    /// Where the pattern stands behind a directory's path and a `/`.
    pub(super) fn below<'g>(&'g self, dir: &[u8]) -> Stand<'g> {
        let mut path = dir.iter().copied().chain((dir != b"/").then_some(b'/'));
        let common = path.clone().zip(&self.prefix).take_while(|(a, b)| a == *b).count();
        match self.prefix.split_at_checked(common) {
            Some((_, [])) => Stand::In(self.states_after(path.skip(common))),
            Some((_, rest)) if path.nth(common).is_none() => Stand::Before(rest),
            _ => Stand::In(0),
        }
    }

    /// The states behind a text; none of them, and it does not match, whatever comes.
    fn states_after(&self, text: impl Iterator<Item = u8>) -> u128 {
        let mut states = self.close(1);
        for byte in text {
            let mut next = 0;
            let mut left = states;
            while left != 0 {
                let index = left.trailing_zeros();
                left &= left - 1;
                if let Some(part) = usize::try_from(index).ok().and_then(|index| self.parts.get(index)) {
                    next |= part.step(byte, self.subject) << index;
                }
            }
            if next == 0 {
                return 0;
            }
            states = self.close(next);
        }
        states
    }

    /// All states that are reached without a byte. Each round reaches at least one that comes later.
    fn close(&self, mut states: u128) -> u128 {
        loop {
            let more = states | ((states & self.to_next) << 1) | ((states & self.to_second) << 2);
            if more == states {
                return states;
            }
            states = more;
        }
    }
}

/// Where a pattern stands behind the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand<'g> {
    /// This much of its literal beginning is still to come.
    Before(&'g [u8]),
    /// In these states; none: it does not match, whatever comes.
    In(u128),
}

impl Stand<'_> {
    /// Whether it matches, whatever comes.
    pub(super) fn is_everything(self, glob: &Glob) -> bool {
        let last = glob.parts.len().checked_sub(1).filter(|last| glob.parts.get(*last) == Some(&Part::Anything));
        matches!((self, last), (Self::In(states), Some(last)) if states & (1 << last) != 0)
    }
}

impl Part {
    /// The bytes that it may treat otherwise than the byte before them; `/` and its neighbours are not told.
    pub(super) fn borders(&self) -> Vec<u8> {
        let of = |low: u8, high: u8| core::iter::once(low).chain(high.checked_add(1));
        match self {
            Self::Byte(byte) => of(*byte, *byte).collect(),
            Self::Class { ranges, .. } => ranges.iter().flat_map(|(low, high)| of(*low, *high)).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether what follows it may come without a byte.
    pub(super) fn leads_to_next(&self) -> bool {
        matches!(self, Self::Star | Self::Anything)
    }

    /// Whether what follows what follows it may.
    pub(super) fn leads_to_second(&self) -> bool {
        matches!(self, Self::Below | Self::Leading)
    }

    /// The states after this byte: [`STAY`], [`NEXT`], [`SECOND`].
    pub(super) fn step(&self, byte: u8, subject: Subject) -> u128 {
        let slash = byte == b'/';
        let outside = subject == Subject::Path && slash;
        let when = |condition: bool, states: u128| if condition { states } else { 0 };
        match self {
            Self::Byte(wanted) => when(byte == *wanted, NEXT),
            Self::One => when(!outside, NEXT),
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte));
                when(inside != *negated && !outside, NEXT)
            }
            Self::Star => when(!slash, STAY),
            Self::Anything => STAY,
            Self::Below => when(slash, NEXT),
            Self::Leading => NEXT | when(slash, SECOND),
            Self::Inside => STAY | when(slash, NEXT),
        }
    }
}

/// Takes a pattern apart.
struct Parser<'p> {
    rest: &'p [u8],
    subject: Subject,
    at_start: bool,
}

impl Parser<'_> {
    fn parts(mut self) -> Result<Vec<Part>, GlobError> {
        let mut parts = Vec::new();
        while !self.rest.is_empty() {
            self.part(&mut parts)?;
            self.at_start = false;
        }
        Ok(parts)
    }

    fn part(&mut self, parts: &mut Vec<Part>) -> Result<(), GlobError> {
        match (self.subject, self.rest) {
            (Subject::Path, [b'/', b'*', b'*', rest @ ..]) if matches!(rest, [] | [b'/', ..]) => {
                self.rest = rest;
                parts.extend([Part::Below, Part::Anything]);
            }
            (Subject::Path, [b'*', b'*', rest @ ..]) => match rest {
                [] if self.at_start => {
                    self.rest = rest;
                    parts.push(Part::Anything);
                }
                [b'/', rest @ ..] if self.at_start => {
                    self.rest = rest;
                    parts.extend([Part::Leading, Part::Inside]);
                }
                _ => return Err(GlobError::BadDoubleStar),
            },
            (subject, [b'*', rest @ ..]) => {
                self.rest = rest;
                let star = if subject == Subject::Path { Part::Star } else { Part::Anything };
                if parts.last() != Some(&star) {
                    parts.push(star);
                }
            }
            (_, [b'?', rest @ ..]) => {
                self.rest = rest;
                parts.push(Part::One);
            }
            (_, [b'[', rest @ ..]) => {
                self.rest = rest;
                parts.push(self.class()?);
            }
            (_, [b'\\', escaped, rest @ ..]) => {
                self.rest = rest;
                parts.push(Part::Byte(*escaped));
            }
            (_, [b'\\']) => return Err(GlobError::LoneEscape),
            (_, [byte, rest @ ..]) => {
                self.rest = rest;
                parts.push(Part::Byte(*byte));
            }
            (_, []) => {}
        }
        Ok(())
    }

    /// What follows `[`, up to `]`. A `]` right at the start is one of the set.
    fn class(&mut self) -> Result<Part, GlobError> {
        let negated = matches!(self.rest, [b'!' | b'^', ..]);
        if let (true, [_, rest @ ..]) = (negated, self.rest) {
            self.rest = rest;
        }
        let mut ranges = Vec::new();
        loop {
            match self.rest {
                [b']', rest @ ..] if !ranges.is_empty() => {
                    self.rest = rest;
                    return Ok(Part::Class { negated, ranges: ranges.into() });
                }
                [low, b'-', high, rest @ ..] if *high != b']' => {
                    if low > high {
                        return Err(GlobError::BadClass);
                    }
                    self.rest = rest;
                    ranges.push((*low, *high));
                }
                [byte, rest @ ..] => {
                    self.rest = rest;
                    ranges.push((*byte, *byte));
                }
                [] => return Err(GlobError::BadClass),
            }
        }
    }
}
