//! Exit codes of `cargo xtask run`, and the error that carries one.
use std::fmt;
use std::process::ExitCode;

/// Nothing was started: bad usage, bad policy, bad input, or something that is needed is not there.
pub(crate) const NOTHING_STARTED: u8 = 2;
/// A policy rule ended the program.
pub(crate) const POLICY_KILLED: u8 = 120;
/// The time limit ended it.
pub(crate) const TIMED_OUT: u8 = 124;
/// The sandbox itself failed.
pub(crate) const SANDBOX_FAILED: u8 = 125;
/// The program is there but cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// There is no such program.
pub(crate) const NOT_FOUND: u8 = 127;
/// Added to a signal's number.
pub(crate) const SIGNAL_BASE: u8 = 128;

/// The text that `--help` ends with.
pub(crate) const HELP: &str = "\
Exit codes:
  N        the program's own exit code
  128+N    signal N ended the program (139: SIGSEGV, 132: SIGILL, ...)
  2        nothing was started: bad usage, bad policy, bad input, or QEMU is missing
  120      a policy rule ended the program
  124      a time limit ended it: --timeout, or `wall` or `cpu` in the policy's [limits]
  125      the sandbox itself failed
  126      the program cannot be executed
  127      there is no such program";

/// Why a command ends early: one message for the user and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// A failure with this exit code and message.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A failure before anything was started.
    pub(crate) fn early(message: impl Into<String>) -> Self {
        Self::new(NOTHING_STARTED, message)
    }

    /// The same with more to say if there is no such program.
    pub(crate) fn or_not_found(mut self, hint: impl FnOnce() -> Option<String>) -> Self {
        if self.code == NOT_FOUND {
            self.message.extend(hint());
        }
        self
    }

    /// Its exit code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Prints the message and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("cordon: {self}");
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    /// Trouble on the host (an unreadable file, a failed build): nothing was started.
    fn from(error: anyhow::Error) -> Self {
        Self::early(format!("{error:#}"))
    }
}
