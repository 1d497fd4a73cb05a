//! How much has been written to files and standard streams, and how much may be.

use files::Errno;

/// The count of one sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    bytes: u64,
    most: u64,
    /// Something was refused, or cut, for there being too much.
    reached: bool,
}

impl Written {
    /// Nothing yet, and there may be any number.
    pub(crate) const NOTHING: Self = Self { bytes: 0, most: u64::MAX, reached: false };

    /// Lets there be so much from now on, what was written before included.
    pub(crate) fn allow(&mut self, most: u64) {
        self.most = most;
    }

    /// How many of `len` bytes may still be written: some, if there are any.
    ///
    /// # Errors
    /// EDQUOT: none.
    pub(crate) fn room(&mut self, len: usize) -> Result<usize, Errno> {
        let left = usize::try_from(self.most.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        self.reached |= len > left;
        if left == 0 && len > 0 { Err(Errno::EDQUOT) } else { Ok(len.min(left)) }
    }

    /// So many were.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether something was refused since this was asked last.
    pub(crate) fn take_reached(&mut self) -> bool {
        core::mem::take(&mut self.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_is_short_and_the_next_is_refused() {
        let mut written = Written::NOTHING;
        written.add(3);
        written.allow(10);
        assert_eq!((written.room(7), written.take_reached()), (Ok(7), false));
        assert_eq!((written.room(8), written.take_reached()), (Ok(7), true));
        written.add(7);
        assert_eq!((written.room(0), written.take_reached()), (Ok(0), false));
        assert_eq!((written.room(1), written.take_reached()), (Err(Errno::EDQUOT), true));
        // Another policy may allow less than there was, or more.
        written.allow(9);
        assert_eq!(written.room(1), Err(Errno::EDQUOT));
        written.allow(11);
        assert_eq!(written.room(5), Ok(1));
    }
}
