//! A child partition's memory, as the root sees it: always by copying, always allowed to fail.
//!
//! * [`GuestMemory`]: reads and writes by guest physical address. The root's image implements it over the
//!   pages that it gave to the child; [`double::VecMemory`] (feature `double`) over an array, for tests.
//! * [`walk`]: guest virtual to guest physical, through page tables that the child wrote.
//!
//! The child runs other threads and may be hostile: bytes change between two reads, tables point anywhere.
//! So a caller copies once and works on its copy, and everything here is bounded whatever the child wrote.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(any(test, feature = "double"))]
pub mod double;
pub mod walk;

use core::fmt;

use tlfs::addr::{Gpa, PAGE_SIZE};

pub use walk::{Unreadable, WalkError, copy_cstr, copy_gva, read_cstr, read_cstr_prefix, read_gva, translate};

/// The child has no memory at this address, or not of the kind that the access needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMapped {
    /// Start of the access that failed.
    pub gpa: Gpa,
}

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the child has no memory at guest physical address {}", self.gpa)
    }
}

impl core::error::Error for NotMapped {}

/// A child's memory by guest physical address. An access may cross pages; the address is any number at all.
pub trait GuestMemory {
    /// Copies `buf.len()` bytes from `gpa` on. When it fails, `buf` holds unspecified bytes.
    ///
    /// # Errors
    /// [`NotMapped`] if a byte of the range is not the child's memory.
    fn read(&self, gpa: Gpa, buf: &mut [u8]) -> Result<(), NotMapped>;

    /// Copies `data` to `gpa` on. When it fails, a part may have been written.
    ///
    /// # Errors
    /// [`NotMapped`] if a byte of the range is not the child's memory, or not memory that the child itself may write.
    fn write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), NotMapped>;

    /// Reads eight bytes, little endian.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    fn read_u64(&self, gpa: Gpa) -> Result<u64, NotMapped> {
        let mut bytes = [0; 8];
        self.read(gpa, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes eight bytes, little endian.
    ///
    /// # Errors
    /// As [`GuestMemory::write`].
    fn write_u64(&mut self, gpa: Gpa, value: u64) -> Result<(), NotMapped> {
        self.write(gpa, &value.to_le_bytes())
    }
}

/// How many of `len` bytes from `address` on lie in the page of `address`.
#[must_use]
pub fn bytes_in_page(address: u64, len: usize) -> usize {
    let left = PAGE_SIZE - address % PAGE_SIZE;
    usize::try_from(left).map_or(len, |left| left.min(len))
}
