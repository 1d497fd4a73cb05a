//! Places in a text: for messages.
use std::fmt;

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// The place of a byte. Columns count characters.
    pub(super) fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self { line, column: characters(before.get(line_start..).unwrap_or_default()) + 1 }
    }

    /// Where `part`, which is a part of the same string, begins.
    pub(super) fn of_part(text: &str, part: &str) -> Self {
        Self::of_offset(text, Self::offset_of_part(text, part))
    }

    /// The byte with which `part`, a part of the same string, begins.
    pub(super) fn offset_of_part(text: &str, part: &str) -> usize {
        part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
    }

    /// The place that serde_json names: column 0 is the end of the line before.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        Self { line: error.line().max(1), column: error.column().max(1) }
    }

    /// A place that is given relative to this one.
    pub(super) fn then(self, inner: Self) -> Self {
        match inner.line {
            0 | 1 => Self { line: self.line, column: self.column + inner.column.saturating_sub(1) },
            line => Self { line: self.line + line - 1, column: inner.column },
        }
    }
}

/// The places in a text in which many are asked for.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// The byte with which each line begins.
    starts: Vec<usize>,
    /// How many characters begin before each [`BLOCK`] of bytes: a file may be one long line.
    characters: Vec<usize>,
}

/// Bytes whose characters are counted together.
const BLOCK: usize = 256;

/// How many characters begin in these bytes. Every byte of UTF-8 but a continuation starts one.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        let sum = |before: &mut usize, block: &[u8]| {
            *before += characters(block);
            Some(*before)
        };
        let characters = std::iter::once(0).chain(text.as_bytes().chunks(BLOCK).scan(0, sum)).collect();
        Self { text, starts, characters }
    }

    /// As [`Position::of_offset`].
    pub(super) fn of_offset(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        Position { line, column: self.characters_before(offset) - self.characters_before(start) + 1 }
    }

    fn characters_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        let rest = self.text.as_bytes().get(block * BLOCK..offset).unwrap_or_default();
        self.characters.get(block).copied().unwrap_or(0) + characters(rest)
    }

    /// As [`Position::of_part`].
    pub(super) fn of_part(&self, part: &str) -> Position {
        self.of_offset(Position::offset_of_part(self.text, part))
    }

    /// A line without its end, from 1.
    pub(super) fn line(&self, number: usize) -> Option<&'t str> {
        let start = *self.starts.get(number.checked_sub(1)?)?;
        let end = self.starts.get(number).map_or(self.text.len(), |next| next - 1);
        self.text.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let text = "ä b\nccc d\n";
        let place = |line, column| Position { line, column };
        assert_eq!(Position::of_offset(text, 0), place(1, 1));
        assert_eq!(Position::of_offset(text, 3), place(1, 3));
        assert_eq!(Position::of_part(text, &text[9..10]), place(2, 5));
        assert_eq!(Position::of_offset(text, 999), place(3, 1));
        assert_eq!(place(2, 5).then(place(1, 3)), place(2, 7));
        assert_eq!(place(2, 5).then(place(3, 3)), place(4, 3));
        assert_eq!(place(2, 5).to_string(), "2:5");
        let lines = Lines::new(text);
        for offset in 0..=text.len() {
            assert_eq!(lines.of_offset(offset), Position::of_offset(text, offset), "{offset}");
        }
        let long = "ä b\nc".repeat(BLOCK);
        let lines_of_long = Lines::new(&long);
        for offset in 0..=long.len() {
            assert_eq!(lines_of_long.of_offset(offset), Position::of_offset(&long, offset), "{offset}");
        }
        assert_eq!([0, 1, 2, 3, 4].map(|line| lines.line(line)), [None, Some("ä b"), Some("ccc d"), Some(""), None]);
    }
}
