//! Showing files to the child without copying them.
use files::Errno;

/// A part of a child's address space in which pages of files appear, read-only, in slots of [`proto::layout::WINDOW_SLOT`] bytes.
pub trait Window<'t> {
    /// Shows `pages` (whole pages, a slot at most) at `offset` in the window.
    ///
    /// # Errors
    /// EINVAL if `offset` is no slot of the window, or there are too many pages or none; EEXIST if the slot is in use; ENOSPC without memory to note it;
    /// EOPNOTSUPP if the pages cannot be shared.
    fn show(&mut self, offset: u64, pages: &'t [u8]) -> Result<(), Errno>;

    /// Takes away what is shown at `offset`, which must be `len` bytes.
    ///
    /// # Errors
    /// EINVAL if it is not.
    fn hide(&mut self, offset: u64, len: u64) -> Result<(), Errno>;
}
