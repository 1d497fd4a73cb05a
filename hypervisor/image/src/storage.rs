//! The hypervisor's private memory, cut into typed pieces.

use core::mem::MaybeUninit;
use core::ptr;

use platform::plan::Range;
use tlfs::addr::PAGE_SIZE;

/// Memory that is handed out from the bottom up and never comes back.
#[derive(Debug)]
pub(crate) struct Carver {
    free: Range,
}

impl Carver {
    /// # Safety
    /// `memory` must be identity-mapped RAM, used by nothing else for as long as the machine runs.
    pub(crate) unsafe fn new(memory: Range) -> Self {
        Self { free: memory }
    }

    /// Cuts off `count` values, page aligned, each made by `make`.
    pub(crate) fn slice<T>(&mut self, count: usize, mut make: impl FnMut() -> T) -> &'static mut [T] {
        let start: *mut MaybeUninit<T> = self.cut(size_of::<T>() * count);
        // SAFETY: `cut` gave `count` times the size of T, page aligned, to no one else; uninitialized is what it may be.
        let slice = unsafe { core::slice::from_raw_parts_mut(start, count) };
        for place in &mut *slice {
            place.write(make());
        }
        // SAFETY: every element was just written.
        unsafe { slice.assume_init_mut() }
    }

    /// Cuts off a value for which all zero is valid.
    ///
    /// # Safety
    /// A `T` of zero bytes must be a valid value.
    pub(crate) unsafe fn zeroed<T>(&mut self) -> &'static mut T {
        let place: *mut T = self.cut(size_of::<T>());
        // SAFETY: page aligned memory of our own, large enough, cleared here; zero is valid (contract).
        unsafe {
            place.write_bytes(0, 1);
            &mut *place
        }
    }

    fn cut<T>(&mut self, bytes: usize) -> *mut T {
        const { assert!(align_of::<T>() as u64 <= PAGE_SIZE) };
        let piece = Range::sized(self.free.start, pages(bytes as u64));
        assert!(piece.end <= self.free.end, "the hypervisor's memory was planned too small");
        self.free.start = piece.end;
        #[allow(clippy::cast_possible_truncation, reason = "addresses have 64 bits here")]
        ptr::with_exposed_provenance_mut(piece.start as usize)
    }
}

/// `bytes` rounded up to whole pages.
pub(crate) const fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE)
}
