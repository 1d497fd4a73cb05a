//! The values that the root ends the machine with (see [`rt::stop`]).

/// The run ended, and the host knows how.
pub(crate) const DONE: u8 = 0x10;
/// The root could not run a sandbox, or the sandbox failed.
pub(crate) const FAILED: u8 = 0x11;
/// The root itself failed.
pub(crate) const PANIC: u8 = 0x13;
