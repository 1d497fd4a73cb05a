//! Signals: numbers, default actions, and which exception is which signal.
//!
//! Handlers are recorded but not run yet; a signal whose default action ends the program ends it.

use linux_raw_sys::general as raw;

/// A signal number (1 to 64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub u32);

#[expect(missing_docs, reason = "the names are Linux' own")]
impl Signal {
    pub const ILL: Self = Self(raw::SIGILL);
    pub const TRAP: Self = Self(raw::SIGTRAP);
    pub const BUS: Self = Self(raw::SIGBUS);
    pub const FPE: Self = Self(raw::SIGFPE);
    pub const KILL: Self = Self(raw::SIGKILL);
    pub const SEGV: Self = Self(raw::SIGSEGV);
    pub const PIPE: Self = Self(raw::SIGPIPE);
    pub const STOP: Self = Self(raw::SIGSTOP);
}

impl Signal {
    /// From a number that a program gave.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// Its bit in a signal set.
    #[must_use]
    pub fn bit(self) -> u64 {
        1 << ((self.0 - 1) & 63)
    }

    /// Its place in the table of actions.
    #[must_use]
    pub fn slot(self) -> usize {
        ((self.0 - 1) & 63) as usize
    }

    /// What happens when no handler is set.
    #[must_use]
    pub fn default_action(self) -> DefaultAction {
        match self.0 {
            raw::SIGCHLD | raw::SIGURG | raw::SIGWINCH | raw::SIGCONT => DefaultAction::Ignore,
            raw::SIGSTOP | raw::SIGTSTP | raw::SIGTTIN | raw::SIGTTOU => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }
}

/// What a signal does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// The process ends.
    End,
}

/// `sa_handler`: the default action.
pub const SIG_DFL: u64 = 0;
/// `sa_handler`: ignored.
pub const SIG_IGN: u64 = 1;

/// Vector of the page fault.
pub const PAGE_FAULT: u64 = 14;

/// The signal of an exception other than a page fault (Intel SDM 3A, 6.15; Linux `arch/x86/kernel/traps.c`).
#[must_use]
pub fn of_exception(vector: u64) -> Signal {
    match vector {
        0 | 16 | 19 => Signal::FPE,
        1 | 3 => Signal::TRAP,
        6 => Signal::ILL,
        11 | 12 | 17 => Signal::BUS,
        _ => Signal::SEGV,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_the_range_are_no_signals() {
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(-1), None);
        assert_eq!(Signal::new(11), Some(Signal::SEGV));
        assert_eq!(Signal::new(64).map(Signal::bit), Some(1 << 63));
    }

    #[test]
    fn exceptions_are_the_signals_that_linux_sends() {
        assert_eq!(of_exception(0), Signal::FPE);
        assert_eq!(of_exception(3), Signal::TRAP);
        assert_eq!(of_exception(6), Signal::ILL);
        assert_eq!(of_exception(13), Signal::SEGV);
        assert_eq!(of_exception(17), Signal::BUS);
    }
}
