//! VP state pages: memory that the hypervisor and a parent both write, never at the same time.
//!
//! The hypervisor writes to them only inside HvCallDispatchVp, which the parent itself makes. They are read and
//! written by copying, never through a reference.
use core::ptr::NonNull;

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Size of a state page, in bytes.
const PAGE: usize = 4096;

/// A mapped state page. It stays mapped until it is given to `unmap_vp_state_page`.
#[derive(Debug)]
pub struct StatePage {
    base: NonNull<u8>,
}

// SAFETY: the page is reached by address alone, and an owner is the only one that has it.
unsafe impl Send for StatePage {}

impl StatePage {
    /// The page with this number. `None` if that is no address.
    ///
    /// # Safety
    /// A page is there, readable and writable at the virtual address `page_number` × 4096; nothing but the hypervisor and
    /// this object uses it, for as long as the object exists.
    pub(crate) unsafe fn new(page_number: u64) -> Option<Self> {
        let address = usize::try_from(page_number).ok()?.checked_mul(PAGE)?;
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).map(|base| Self { base })
    }

    /// Copies a `T` from `OFFSET` bytes into the page.
    #[inline]
    #[must_use]
    pub fn read<T: FromBytes, const OFFSET: usize>(&self) -> T {
        const { assert!(OFFSET + size_of::<T>() <= PAGE) };
        // SAFETY: within the page, by the assertion; it is there (`new`), and any bytes are a `T`.
        unsafe { self.base.as_ptr().add(OFFSET).cast::<T>().read_unaligned() }
    }

    /// Copies `value` to `OFFSET` bytes into the page.
    #[inline]
    pub fn write<T: IntoBytes + Immutable, const OFFSET: usize>(&mut self, value: T) {
        const { assert!(OFFSET + size_of::<T>() <= PAGE) };
        // SAFETY: within the page, by the assertion; it is there, and `&mut self` is its only user beside the hypervisor.
        unsafe { self.base.as_ptr().add(OFFSET).cast::<T>().write_unaligned(value) }
    }

    /// Copies `values[index]` to a place in an array that starts `OFFSET` bytes into the page and has `LEN` elements.
    /// Nothing happens for an index beyond it.
    #[inline]
    pub fn write_element<T: IntoBytes + Immutable, const OFFSET: usize, const LEN: usize>(
        &mut self,
        index: usize,
        value: T,
    ) {
        const { assert!(OFFSET + LEN * size_of::<T>() <= PAGE) };
        if index < LEN {
            // SAFETY: within the array and so within the page; else as in `write`.
            unsafe { self.base.as_ptr().add(OFFSET).cast::<T>().add(index).write_unaligned(value) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    #[repr(align(4096))]
    struct Page([u8; PAGE]);

    #[test]
    fn reads_and_writes_by_offset() {
        let memory = Box::leak(Box::new(Page([0; PAGE])));
        memory.0[9] = 5;
        let address = (&raw mut *memory).expose_provenance();
        // SAFETY: the page was leaked for this object.
        let mut page = unsafe { StatePage::new(u64::try_from(address / PAGE).unwrap()) }.unwrap();
        assert_eq!(page.read::<u64, 8>(), 0x500);
        page.write::<u32, 4092>(0x0102_0304);
        assert_eq!(page.read::<u8, 4095>(), 1);
        page.write_element::<u64, 16, 4>(3, 77);
        page.write_element::<u64, 16, 4>(4, 88);
        assert_eq!(page.read::<u64, 40>(), 77);
        assert_eq!(page.read::<u64, 48>(), 0);
    }
}
