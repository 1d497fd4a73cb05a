//! Globs: patterns for strings and paths, and sets of them.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | `?` | one byte; in a path, none that is `/` |
//! | `*` | any number of such bytes |
//! | `[a-z_]`, `[!0-9]` | one byte of, or not of, these; in a path never `/` |
//! | `/**` (paths) | nothing, or `/` and anything: whole components. `/etc/**` is `/etc` and all below, `/usr/**/bin` also `/usr/bin` |
//! | `**/` at the start (paths) | nothing, or anything up to a `/` |
//! | `\` and a character | that character |
//!
//! Matching is over bytes, from the first to the last. A pattern runs as a nondeterministic automaton whose states are the bits of one word:
//! its cost is bounded by the text's length times the pattern's parts, whatever the text is. Nothing is allocated.
//!
//! A set is sorted by what its patterns begin with, and that is looked up byte by byte for all of them together; the automaton runs only for
//! those whose beginning fits.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Parts of a pattern behind its literal beginning. One bit of the automaton's word is left for its end.
const MAX_PARTS: usize = 120;
/// Bytes of a pattern.
pub const MAX_PATTERN: usize = 1024;

/// What a text is: it decides what `*` and `?` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Bytes without a meaning.
    Text,
    /// Components with `/` between them.
    Path,
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// Longer than [`MAX_PATTERN`], or with too many parts behind its literal beginning.
    TooLong,
    /// `[` without `]`, or with nothing in it, or with a range that runs backwards.
    BadClass,
    /// `\` at the end.
    LoneEscape,
    /// `**` that is not a whole component.
    BadDoubleStar,
}

impl GlobError {
    /// What to tell the author.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::TooLong => "this pattern is too long or has too many parts; make several of it",
            Self::BadClass => "`[` begins a set of characters, such as [a-z]; write `\\[` for the character itself",
            Self::LoneEscape => "`\\` at the end escapes nothing",
            Self::BadDoubleStar => "`**` stands for whole components: write it as in /a/**, /a/**/b or **/b",
        }
    }
}

/// One part of a pattern, which is one state of the automaton.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
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

/// A pattern: a literal beginning, and parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob {
    prefix: Box<[u8]>,
    parts: Box<[Part]>,
    subject: Subject,
    /// States that are also their next one, and their next but one.
    to_next: u128,
    to_second: u128,
}

/// Patterns of which one has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobSet {
    /// Sorted by their literal beginnings.
    globs: Vec<Glob>,
}

impl GlobSet {
    /// The set of these patterns.
    ///
    /// # Errors
    /// The index of the first that is none, and why.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a str>, subject: Subject) -> Result<Self, (usize, GlobError)> {
        let globs = patterns
            .enumerate()
            .map(|(index, pattern)| Glob::parse(pattern.as_bytes(), subject).map_err(|error| (index, error)));
        let mut globs = globs.collect::<Result<Vec<_>, _>>()?;
        globs.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        Ok(Self { globs })
    }

    /// Whether one of the patterns matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        // Those whose beginning agrees with the text so far: they stand together, the shortest first.
        let mut candidates = self.globs.as_slice();
        let mut rest = text;
        let mut at = 0;
        loop {
            while let Some((first, others)) = candidates.split_first()
                && first.prefix.len() == at
            {
                if first.rest_matches(rest) {
                    return true;
                }
                candidates = others;
            }
            let (Some(first), Some(last)) = (candidates.first(), candidates.last()) else { return false };
            let Some((&byte, after)) = rest.split_first() else { return false };
            if first.prefix.get(at) != Some(&byte) || last.prefix.get(at) != Some(&byte) {
                candidates = with_byte(candidates, at, byte);
            }
            rest = after;
            at += 1;
        }
    }
}

/// Those of sorted patterns, which agree before `at`, that have this byte there.
fn with_byte(globs: &[Glob], at: usize, byte: u8) -> &[Glob] {
    let found = |glob: &Glob| glob.prefix.get(at).copied();
    let start = globs.partition_point(|glob| found(glob) < Some(byte));
    let (_, globs) = globs.split_at(start);
    let end = globs.partition_point(|glob| found(glob) == Some(byte));
    globs.split_at(end).0
}

impl Glob {
    fn parse(pattern: &[u8], subject: Subject) -> Result<Self, GlobError> {
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
            to_next: states(|part| matches!(part, Part::Star | Part::Anything)),
            to_second: states(|part| matches!(part, Part::Below | Part::Leading)),
            parts: parts.into(),
            subject,
        })
    }

    /// Whether the parts match what follows the beginning.
    fn rest_matches(&self, text: &[u8]) -> bool {
        match &*self.parts {
            [] => text.is_empty(),
            [Part::Anything] => true,
            [Part::Below, Part::Anything] => text.first().is_none_or(|byte| *byte == b'/'),
            _ => self.run(text),
        }
    }

    fn run(&self, text: &[u8]) -> bool {
        let mut states = self.close(1);
        for &byte in text {
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
                return false;
            }
            states = self.close(next);
        }
        states & (1 << self.parts.len()) != 0
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

impl Part {
    /// The states after this byte: bit 0 is this one, bit 1 the next.
    fn step(&self, byte: u8, subject: Subject) -> u128 {
        const STAY: u128 = 0b1;
        const NEXT: u128 = 0b10;
        const SECOND: u128 = 0b100;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(pattern: &str, text: &str) -> bool {
        GlobSet::new([pattern].into_iter(), Subject::Path).expect("a pattern").matches(text.as_bytes())
    }

    fn text(pattern: &str, text: &str) -> bool {
        GlobSet::new([pattern].into_iter(), Subject::Text).expect("a pattern").matches(text.as_bytes())
    }

    #[test]
    fn stars_stay_in_their_component() {
        assert!(path("/a/*.c", "/a/x.c") && path("/a/*.c", "/a/.c"));
        assert!(!path("/a/*.c", "/a/b/x.c") && !path("/a/*.c", "/a/x.cc"));
        assert!(path("/a?c", "/abc") && !path("/a?c", "/a/c"));
        assert!(path("/[!x]", "/y") && !path("/a[!x]c", "/a/c") && path("/[]a-c-]", "/]") && path("/[a-c-]", "/-"));
        assert!(text("a*c", "a/b/c") && text("a?c", "a/c") && text("a**c", "abbc") && !text("a*c", "acb"));
        assert!(path("/a\\*", "/a*") && !path("/a\\*", "/ab"));
        assert!(path("", "") && !path("", "a") && text("*", ""));
    }

    #[test]
    fn double_stars_are_components() {
        for (pattern, yes, no) in [
            ("/etc/**", &["/etc", "/etc/", "/etc/a", "/etc/a/b"][..], &["/etcetera", "/et", "/"][..]),
            ("/usr/**/bin", &["/usr/bin", "/usr/a/bin", "/usr/a/b/bin"], &["/usr/abin", "/usr/bin/a", "/usr"]),
            ("**/core", &["core", "/core", "a/core", "/a/b/core"], &["score", "/a/score", "core/a"]),
            ("/**", &["/", "/a", ""], &["a"]),
            ("**", &["", "a", "/a/b"], &[]),
            ("/a/**/*.so.?", &["/a/x.so.1", "/a/b/c/x.so.2"], &["/a/x.so.12", "/a/x.so./"]),
            ("/a/**/b/**/c", &["/a/b/c", "/a/b/b/c", "/a/x/b/y/c"], &["/a/c", "/a/b/xc"]),
        ] {
            for text in yes {
                assert!(path(pattern, text), "{pattern} {text}");
            }
            for text in no {
                assert!(!path(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn bad_patterns() {
        let refused = |pattern: &str| GlobSet::new(["ok", pattern].into_iter(), Subject::Path).unwrap_err();
        assert_eq!(refused("/a[b"), (1, GlobError::BadClass));
        assert_eq!(refused("/a[b-a]"), (1, GlobError::BadClass));
        assert_eq!(refused("/a[]"), (1, GlobError::BadClass));
        assert_eq!(refused("/a\\"), (1, GlobError::LoneEscape));
        assert_eq!(refused("/a**"), (1, GlobError::BadDoubleStar));
        assert_eq!(refused("/a/**b"), (1, GlobError::BadDoubleStar));
        assert_eq!(refused(&"?".repeat(121)), (1, GlobError::TooLong));
        assert_eq!(refused(&"a".repeat(1025)), (1, GlobError::TooLong));
        assert!(GlobSet::new([&*"?".repeat(120)].into_iter(), Subject::Path).is_ok());
    }

    #[test]
    fn sets_match_by_any_of_their_patterns() {
        let patterns = ["/usr/lib/**", "/usr/lib", "/usr/*", "/u", "/etc/passwd", "/zz", "*"];
        let set = GlobSet::new(patterns.into_iter(), Subject::Path).expect("patterns");
        for text in ["/usr/lib/x/y", "/usr/lib", "/usr/x", "/u", "/etc/passwd", "/zz", "x", ""] {
            assert!(set.matches(text.as_bytes()), "{text}");
        }
        for text in ["/usr/x/y", "/", "/zzz", "/etc/passw", "/etc/passwd/", "/a"] {
            assert!(!set.matches(text.as_bytes()), "{text}");
        }
        assert!(!GlobSet::new([].into_iter(), Subject::Path).expect("none").matches(b""));
    }
}
