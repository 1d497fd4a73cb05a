//! Saying what was found: text in fixed room, and the lines on the console.

use core::fmt::{self, Debug, Display, Write};

use crate::{Shim, memory};

/// Text of at most `N` bytes; what does not fit is cut off.
#[derive(Clone, Debug)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text; empty if it was cut in a character.
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        s.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

impl Shim {
    /// One line for a whole group of attempts.
    pub(crate) fn report(&mut self, name: &str, tally: &Tally) {
        let mut line = Text::<400>::new();
        // The line is cut if it does not fit.
        let _ = if tally.wrong == 0 && tally.right > 0 {
            writeln!(line, "PASS {name} ({})", tally.right)
        } else {
            let (wrong, all, first) = (tally.wrong, tally.right + tally.wrong, tally.first.as_str());
            writeln!(line, "FAIL {name}: {wrong} of {all}, first {first}")
        };
        self.failures += u32::from(tally.wrong > 0 || tally.right == 0);
        memory::write(self.console_page, line.as_bytes());
        let written = self.service.console_write(1, self.console_page, line.as_bytes().len());
        assert_eq!(written, Ok(line.as_bytes().len() as u64), "writing to the console");
    }

    /// One line for one attempt.
    pub(crate) fn expect<T: Debug + PartialEq>(&mut self, name: &str, got: T, want: T) {
        let mut tally = Tally::new();
        tally.expect(got, want, name);
        self.report(name, &tally);
    }
}

/// Attempts of one kind: how many went as they should, and the first that did not.
#[derive(Debug)]
pub(crate) struct Tally {
    right: u32,
    wrong: u32,
    first: Text<300>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { right: 0, wrong: 0, first: Text::new() }
    }

    /// Counts an attempt; `what` names it.
    pub(crate) fn expect<T: Debug + PartialEq>(&mut self, got: T, want: T, what: impl Display) {
        self.check(got == want, format_args!("{what}: {got:x?} instead of {want:x?}"));
    }

    /// Counts an attempt that is right or wrong; `what` says more.
    pub(crate) fn check(&mut self, right: bool, what: impl Display) {
        if right {
            self.right += 1;
            return;
        }
        if self.wrong == 0 {
            // Cut if it does not fit.
            let _ = write!(self.first, "{what}");
        }
        self.wrong += 1;
    }
}
