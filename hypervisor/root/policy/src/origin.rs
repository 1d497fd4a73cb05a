//! Where the parts of a text come from, if it was made of another file: verdicts and errors name that file's lines in place of the text's.
//!
//! Whoever makes a text of our language of something else says so beside the text ([`Origins`]); the text itself knows nothing of it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

pub use bundle::Origin;

use crate::File;
use crate::error::{PolicyError, Source};
use crate::limits::{MAX_NAME, MAX_ORIGIN_FILES, MAX_ORIGINS};

/// Where all of a text comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origins<'t> {
    /// By ascending byte. What stands before the first comes from the text itself.
    pub parts: &'t [Origin],
    /// Names of further files that it was made of.
    pub files: &'t [String],
    /// It is a translation, whose rules nobody has counted: verdicts name them by their place alone.
    pub translated: bool,
}

impl<'t> Origins<'t> {
    /// That of a byte.
    #[must_use]
    pub fn of(&self, offset: usize) -> Option<&'t Origin> {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let behind = self.parts.partition_point(|part| part.at <= offset);
        behind.checked_sub(1).and_then(|index| self.parts.get(index))
    }

    /// The name of the further file, if it is one.
    #[must_use]
    pub fn file(&self, origin: &Origin) -> Option<&'t str> {
        let index = usize::from(origin.file).checked_sub(1)?;
        self.files.get(index).map(String::as_str)
    }

    /// # Errors
    /// They are in disorder.
    fn check(&self, source: &Source<'_>) -> Result<(), PolicyError> {
        let is_good = |part: &Origin| usize::from(part.file) <= self.files.len() && part.line > 0 && part.column > 0;
        match self.parts.is_sorted_by_key(|part| part.at) && self.parts.iter().all(is_good) {
            true => Ok(()),
            false => Err(source.error(&(0..0), "what its parts come from is damaged")),
        }
    }
}

/// # Errors
/// The files come from more than a policy may be made of, or that is in disorder.
pub(crate) fn check(files: &[File<'_>]) -> Result<(), PolicyError> {
    let (mut parts, mut further) = (0, 0);
    for File { name, origins, .. } in files {
        let source = Source::new(name, &[]);
        origins.check(&source)?;
        parts += origins.parts.len();
        further += origins.files.len();
        if parts > MAX_ORIGINS || further > MAX_ORIGIN_FILES {
            let message = format!(
                "the policy is made of more than {MAX_ORIGINS} parts, or of more than {MAX_ORIGIN_FILES} files"
            );
            return Err(source.error(&(0..0), message));
        }
    }
    Ok(())
}

/// Where something of a policy stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Index into [`Labels`].
    pub(crate) file: u16,
    pub(crate) line: u32,
    /// 0: the line says enough.
    pub(crate) column: u32,
}

/// Where something of a policy stands. Prints as `default.toml:41`, or with a column if several things stand in that line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// The file's name: without folders, or, if it is another than the one that was asked for, as seen from the folder of that.
    pub file: &'p str,
    /// The line, from 1; 0 for a default that the file does not state.
    pub line: u32,
    /// The character in the line, from 1; 0 if the line says enough.
    pub column: u32,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.column == 0 { Ok(()) } else { write!(f, ":{}", self.column) }
    }
}

/// What files are called in verdicts: first those of the policy, and then those that they were made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    names: Vec<String>,
    /// For each file of the policy the index of the first of those that it was made of.
    further: Vec<u16>,
}

impl Labels {
    pub(crate) const NONE: Self = Self { names: Vec::new(), further: Vec::new() };

    pub(crate) fn new(files: &[File<'_>]) -> Self {
        // The first file goes without its folders, and the others are named as seen from there.
        let first = files.first().map_or("", |file| file.name);
        let folder = first.rfind(['/', '\\']).and_then(|end| first.get(..=end)).unwrap_or("");
        let label = |name: &str| shown(name.strip_prefix(folder).unwrap_or(name));
        let mut labels = Self { names: files.iter().map(|file| label(file.name)).collect(), further: Vec::new() };
        for file in files {
            labels.further.push(u16::try_from(labels.names.len()).unwrap_or(u16::MAX));
            labels.names.extend(file.origins.files.iter().map(|name| label(name)));
        }
        labels
    }

    /// The spot of what has this origin in file `file` of the policy.
    pub(crate) fn spot(&self, file: u16, origin: &Origin) -> Spot {
        let column = if origin.narrow { origin.column } else { 0 };
        let further = self.further.get(usize::from(file)).copied().unwrap_or(u16::MAX);
        let file = origin.file.checked_sub(1).map_or(file, |index| further.saturating_add(index));
        Spot { file, line: origin.line, column }
    }

    pub(crate) fn place(&self, Spot { file, line, column }: Spot) -> Place<'_> {
        Place { file: self.names.get(usize::from(file)).map_or("", String::as_str), line, column }
    }
}

/// A file's name as it can be shown: without characters that do something to what stands around them, and not endless.
#[must_use]
pub fn shown(name: &str) -> String {
    let mut shown = String::new();
    for character in name.chars() {
        if shown.len() >= MAX_NAME {
            shown.push('…');
            break;
        }
        // Writing to a string cannot fail.
        let _ = match steers(character) {
            true => write!(shown, "{}", character.escape_unicode()),
            false => shown.write_char(character),
        };
    }
    shown
}

/// Whether a character does something to what stands around it instead of being seen: a control character, or one that turns text around, hides,
/// or ends a line.
#[must_use]
pub fn steers(character: char) -> bool {
    let hidden = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{feff}')
        || hidden.iter().any(|range| range.contains(&character))
}
