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
    /// What `cordon run` exits with: as a shell, 127 when something was not found and 126 when it cannot be executed; 2 when it is not the
    /// program that is missing, but what it is to be started with.
    pub code: u32,
}

impl ExecError {
    /// `path: reason`.
    #[must_use]
    pub fn new(errno: Errno, path: &[u8], reason: &str) -> Self {
        let code = if errno == Errno::ENOENT { 127 } else { 126 };
        Self { errno, reason: format!("{}: {reason}", String::from_utf8_lossy(path)), code }
    }

    /// The first program's working directory is none that it can be in.
    #[must_use]
    pub fn of_directory(errno: Errno, path: &[u8]) -> Self {
        let reason = match errno {
            Errno::ENOTDIR => "the working directory is no directory",
            _ => "the working directory is not there",
        };
        Self { code: 2, ..Self::new(errno, path, reason) }
    }
}
