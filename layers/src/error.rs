//! What can go wrong.
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug)]
pub enum Error {
    /// What was read is not taken.
    Refused(Refused),
    /// A file of the host could not be read or written.
    Io {
        /// What was to be done.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// What was named is not there, or more than one thing has that name.
    NotFound(String),
}

/// Something of an archive that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name, for messages; empty if it has none.
    pub entry: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Error {
    /// A refusal of what has this name.
    #[must_use]
    pub fn refused(entry: &[u8], reason: &'static str) -> Self {
        Self::Refused(Refused { entry: printable(entry), reason })
    }

    /// A failure of the host's.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }

    /// The same for who asks where there was no room: in this directory.
    pub(crate) fn for_room_in(self, directory: &Path) -> Self {
        match self {
            Self::Io { what, error } if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Self::Io { what: format!("{what} to the store in {}", directory.display()), error }
            }
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Refused { entry, reason }) if entry.is_empty() => f.write_str(reason),
            Self::Refused(Refused { entry, reason }) => write!(f, "{entry}: {reason}"),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::NotFound(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Most characters of a name that are shown.
const SHOWN: usize = 200;

/// A stranger's bytes for a terminal: no control characters, no more than a line or so.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(bytes)
        .chars()
        .take(SHOWN + 1)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().count() > SHOWN {
        text.pop();
        text.push('…');
    }
    text
}
