//! The files that a file names in `include`. They are found and read by whoever packs a policy, who hands them over together
//! ([`crate::parse_files`]): nothing here opens a file.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::{PolicyError, Source};
use crate::limits;
use crate::parse::{Placed, Reader, Value, document};

/// A file that another one includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Its name as it is written: relative to the folder of the file that it stands in.
    pub name: String,
    /// The line on which it stands, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
    /// Its byte.
    pub at: usize,
}

/// The files that a text includes, in the order in which their rules are tried. Only this key of the text is looked at.
///
/// # Errors
/// The text is not TOML, or the key is not a list of names.
pub fn includes(name: &str, text: &str) -> Result<Vec<Include>, PolicyError> {
    let source = Source::new(name, text.as_bytes());
    let document = document(&source, text)?;
    let Some(value) = document.get_ref().get("include") else { return Ok(Vec::new()) };
    let names = Reader { source: &source }.include(value)?.into_iter();
    let include = |Placed { value, span }: Placed<String>| {
        let (line, column) = source.place(span.start);
        Include { name: value, line, column, at: span.start }
    };
    Ok(names.map(include).collect())
}

impl Reader<'_, '_> {
    /// The names in `include`.
    pub(crate) fn include(&self, value: &Value<'_>) -> Result<Vec<Placed<String>>, PolicyError> {
        let array = self.array(value, "include", "an array of file names")?;
        if let Some(beyond) = array.get(limits::MAX_FILES.saturating_sub(1)) {
            return Err(self.source.error(&beyond.span(), format!("a policy has {} files at most", limits::MAX_FILES)));
        }
        let mut names: Vec<Placed<String>> = Vec::new();
        for entry in array.iter() {
            let name = self.string(entry, "include", "an array of file names")?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(self.source.error(&entry.span(), "this is no name of a file"));
            }
            if names.iter().any(|known| known.value == name) {
                return Err(self.source.error(&entry.span(), "this file is included already; remove it here"));
            }
            names.push(Placed { value: name.to_string(), span: entry.span() });
        }
        Ok(names)
    }
}
