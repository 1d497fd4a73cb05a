//! What is wrong with a policy's text, and where.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::File;
use crate::origin::{Labels, Origins, Place, Spot, shown};

/// Why a policy was refused. Prints as `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
    /// What is wrong and what to do.
    pub message: String,
    /// The byte of the text that was read, which is another place if the text was made of something else.
    pub at: usize,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", shown(&self.file), self.line, self.column, self.message)
    }
}

impl core::error::Error for PolicyError {}

/// A policy's text with its name: turns byte positions into lines and columns.
pub(crate) struct Source<'t> {
    pub(crate) name: &'t str,
    pub(crate) bytes: &'t [u8],
    line_starts: Vec<usize>,
    origins: Origins<'t>,
    labels: &'t Labels,
    /// Which file of the policy it is.
    file: u16,
}

/// Of a text that stands alone, and is named in errors only.
const NO_LABELS: &Labels = &Labels::NONE;

impl<'t> Source<'t> {
    pub(crate) fn new(name: &'t str, bytes: &'t [u8]) -> Self {
        let after_newline = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = core::iter::once(0).chain(after_newline).collect();
        Self { name, bytes, line_starts, origins: Origins::default(), labels: NO_LABELS, file: 0 }
    }

    /// That of a policy's file.
    pub(crate) fn of_file(file: &File<'t>, index: u16, labels: &'t Labels) -> Self {
        let source = Self::new(file.name, file.text.as_bytes());
        Self { origins: file.origins, labels, file: index, ..source }
    }

    /// Whether the text is a translation, whose rules nobody has counted.
    pub(crate) fn is_translated(&self) -> bool {
        self.origins.translated
    }

    /// Where a byte stands, or came from.
    pub(crate) fn spot(&self, offset: usize) -> Spot {
        match self.origins.of(offset) {
            Some(origin) => self.labels.spot(self.file, origin),
            None => Spot { file: self.file, line: self.line(offset), column: 0 },
        }
    }

    /// The same for those who see it.
    pub(crate) fn shown(&self, offset: usize) -> Place<'t> {
        self.labels.place(self.spot(offset))
    }

    /// The line of a byte, from 1.
    fn line(&self, offset: usize) -> u32 {
        let lines = self.line_starts.partition_point(|start| *start <= offset);
        u32::try_from(lines).unwrap_or(u32::MAX)
    }

    /// The character of a byte in its line, from 1.
    fn column(&self, offset: usize) -> u32 {
        let offset = offset.min(self.bytes.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.line_starts.get(line)).copied().unwrap_or(0);
        let before = self.bytes.get(start..offset).unwrap_or(&[]);
        // Every byte of UTF-8 but a continuation starts a character.
        let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        u32::try_from(characters).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Line and column of a byte.
    pub(crate) fn place(&self, offset: usize) -> (u32, u32) {
        (self.line(offset), self.column(offset))
    }

    /// The error that `message` stands for at the start of `span`.
    pub(crate) fn error(&self, span: &Range<usize>, message: impl Into<String>) -> PolicyError {
        let at = span.start;
        let origin = self.origins.of(at);
        let file = origin.and_then(|origin| self.origins.file(origin)).unwrap_or(self.name);
        let (line, column) = origin.map_or_else(|| self.place(at), |origin| (origin.line, origin.column));
        PolicyError { file: file.into(), line, column, message: message.into(), at }
    }
}
