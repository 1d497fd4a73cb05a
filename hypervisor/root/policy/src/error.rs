//! What is wrong with a policy's text, and where.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

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
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl core::error::Error for PolicyError {}

/// A policy's text with its name: turns byte positions into lines and columns.
pub(crate) struct Source<'t> {
    pub(crate) name: &'t str,
    pub(crate) bytes: &'t [u8],
    line_starts: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(name: &'t str, bytes: &'t [u8]) -> Self {
        let after_newline = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = core::iter::once(0).chain(after_newline).collect();
        Self { name, bytes, line_starts }
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> u32 {
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
        let (line, column) = self.place(span.start);
        PolicyError { file: self.name.into(), line, column, message: message.into() }
    }
}
