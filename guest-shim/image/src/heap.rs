//! The heap: a range of guest physical addresses that the root backs as it is touched, used from its start on.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use personality::platform::SpareHeap;

use talc::DefaultBinning;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;
use talc::sync::TalcLock;

/// Bytes that the heap grows by: what the root backs at once.
const GROWTH: usize = 64 << 10;

/// The part of the range that is not used yet.
#[derive(Debug)]
struct Range {
    next: usize,
    end: usize,
    heap_end: Option<NonNull<u8>>,
}

// SAFETY: the pointer is the allocator's own bookkeeping of the range, reached only through the lock around it.
unsafe impl Send for Range {}

// SAFETY: `acquire` uses nothing but the allocator that it is given.
unsafe impl Source for Range {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let wanted = layout.size().saturating_add(layout.align()).saturating_add(256);
        let step = wanted.checked_next_multiple_of(GROWTH).ok_or(())?;
        let (start, heap_end) = (talc.source.next, talc.source.heap_end);
        let end = start.checked_add(step).filter(|&end| end <= talc.source.end).ok_or(())?;
        talc.source.next = end;
        let grown = match heap_end {
            // SAFETY: the range is writable memory of this allocator's own, directly behind its heap.
            Some(old) => Some(unsafe { talc.extend(old, core::ptr::with_exposed_provenance_mut(end)) }),
            // SAFETY: as above.
            None => unsafe { talc.claim(core::ptr::with_exposed_provenance_mut(start), step) },
        };
        talc.source.heap_end = grown;
        grown.map(|_| ()).ok_or(())
    }
}

/// The allocator, with a count of what is in use.
struct Heap {
    talc: TalcLock<spin::Mutex<()>, Range, DefaultBinning>,
    used: AtomicUsize,
    total: AtomicUsize,
}

// SAFETY: passes everything on to an allocator; the count is no part of what it promises.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.talc.alloc(layout) };
        if !block.is_null() {
            self.used.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.talc.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { self.talc.realloc(block, layout, size) };
        if !moved.is_null() {
            self.used.fetch_add(size, Ordering::Relaxed);
            self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        moved
    }
}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: TalcLock::new(Range { next: 0, end: 0, heap_end: None }),
    used: AtomicUsize::new(0),
    total: AtomicUsize::new(0),
};

/// How much is left.
pub(crate) fn spare() -> SpareHeap {
    let total = HEAP.total.load(Ordering::Relaxed);
    SpareHeap { left: total.saturating_sub(HEAP.used.load(Ordering::Relaxed)), total }
}

/// Gives the heap its range of virtual addresses.
///
/// # Safety
/// Once, before anything is allocated; the range is writable memory that nothing else uses, for good.
pub(crate) unsafe fn init(start: usize, end: usize) {
    HEAP.total.store(end - start, Ordering::Relaxed);
    let mut talc = HEAP.talc.lock();
    talc.source.next = start;
    talc.source.end = end;
}
