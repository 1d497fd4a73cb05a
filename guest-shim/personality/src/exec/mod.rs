//! From a path to a program that is ready to run: what execve does.

mod elf;
mod load;
mod stack;

use alloc::format;
use alloc::string::String;

use crate::errno::Errno;

/// Why a program cannot be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecError {
    /// What execve would return.
    pub errno: Errno,
    /// One line for the user.
    pub reason: String,
}

impl ExecError {
    /// `path: reason`.
    #[must_use]
    pub fn new(errno: Errno, path: &[u8], reason: &str) -> Self {
        Self { errno, reason: format!("{}: {reason}", String::from_utf8_lossy(path)) }
    }

    /// What a shell exits with: 127 when something was not found, 126 when it cannot be executed.
    #[must_use]
    pub fn shell_code(&self) -> u32 {
        if self.errno == Errno::ENOENT { 127 } else { 126 }
    }
}
