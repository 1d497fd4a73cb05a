//! What goes wrong between client and server.
use core::fmt;

/// There was no answer, or none that the transport could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// What is said of [`Error::NoAnswer`].
pub(crate) const NO_ANSWER: &str = "the server did not answer in time";

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server's own error: Linux' number, 1 to 4095.
    Host(u16),
    /// The answer breaks the protocol: how.
    Nonsense(&'static str),
    /// There was no answer in time. What was asked for may have been done, or may still be.
    NoAnswer,
    /// The client has no number left for one more file.
    TooManyFids,
}

impl From<Lost> for Error {
    fn from(_: Lost) -> Self {
        Self::NoAnswer
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(number) => write!(f, "errno {number}"),
            Self::Nonsense(what) => write!(f, "the server's answer makes no sense: {what}"),
            Self::NoAnswer => f.write_str(NO_ANSWER),
            Self::TooManyFids => f.write_str("too many files of the folder are in use"),
        }
    }
}

impl core::error::Error for Error {}
