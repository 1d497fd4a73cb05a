//! A child's memory in an array, for tests.
use alloc::vec;
use alloc::vec::Vec;

use tlfs::addr::Gpa;

use crate::{GuestMemory, NotMapped};

/// Memory at guest physical addresses `base` to `base + len`; nothing elsewhere.
#[derive(Clone, Debug)]
pub struct VecMemory {
    base: u64,
    bytes: Vec<u8>,
}

impl VecMemory {
    /// `len` zeroed bytes from guest physical address 0 on.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self::at(Gpa(0), len)
    }

    /// `len` zeroed bytes from `base` on.
    #[must_use]
    pub fn at(base: Gpa, len: usize) -> Self {
        Self { base: base.0, bytes: vec![0; len] }
    }

    /// All bytes, in order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&self, gpa: Gpa, len: usize) -> Result<core::ops::Range<usize>, NotMapped> {
        let start = gpa.0.checked_sub(self.base).and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        range.filter(|range| range.end <= self.bytes.len()).ok_or(NotMapped { gpa })
    }
}

impl GuestMemory for VecMemory {
    fn read(&self, gpa: Gpa, buf: &mut [u8]) -> Result<(), NotMapped> {
        let range = self.range(gpa, buf.len())?;
        buf.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), NotMapped> {
        let range = self.range(gpa, data.len())?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }
}
