//! A heap that only grows: `hvclient` names an allocator, and failures are told in strings. A kernel does not live long.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

const SIZE: usize = 1 << 20;

#[repr(C, align(4096))]
struct Heap {
    memory: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `used` gives each byte of `memory` out once.
unsafe impl Sync for Heap {}

// SAFETY: what is returned lies in `memory`, is aligned as asked for, and is given to no one else.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // One processor, and interrupt handlers do not allocate: no one comes between load and store.
        let start = self.used.load(Ordering::Relaxed).next_multiple_of(layout.align());
        let end = start.saturating_add(layout.size());
        if layout.align() > 4096 || end > SIZE {
            return core::ptr::null_mut();
        }
        self.used.store(end, Ordering::Relaxed);
        // SAFETY: `start` is within the array.
        unsafe { self.memory.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Heap = Heap { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };
