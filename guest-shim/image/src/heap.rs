//! The heap: a range of guest physical addresses that the root backs as it is touched, used from its start on.

use core::alloc::Layout;
use core::ptr::NonNull;

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

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Range, DefaultBinning> =
    TalcLock::new(Range { next: 0, end: 0, heap_end: None });

/// Gives the heap its range of virtual addresses.
///
/// # Safety
/// Once, before anything is allocated; the range is writable memory that nothing else uses, for good.
pub(crate) unsafe fn init(start: usize, end: usize) {
    let mut talc = HEAP.lock();
    talc.source.next = start;
    talc.source.end = end;
}
