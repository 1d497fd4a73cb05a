//! The root's heap. It starts in a region that [`crate::memory`] sets aside and grows by free frames.
use core::alloc::Layout;
use core::sync::atomic::{AtomicU64, Ordering};

use talc::DefaultBinning;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;
use talc::sync::TalcLock;

use crate::memory;

/// Least growth, in bytes: growing is not for every allocation.
const GROWTH: usize = 256 << 10;
/// Room for the allocator's own words in a grown region.
const OVERHEAD: usize = 256;

/// Bytes of all its regions: none is given back.
static SIZE: AtomicU64 = AtomicU64::new(0);

/// The most bytes that the heap has needed so far, to a region.
pub(crate) fn size() -> u64 {
    SIZE.load(Ordering::Relaxed)
}

fn grown(bytes: usize) {
    SIZE.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Takes frames when the heap is full.
#[derive(Debug)]
struct FromFrames;

// SAFETY: `acquire` allocates nothing from the heap: the frame map is made beforehand, and taking frames only sets bits.
unsafe impl Source for FromFrames {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let needed = layout.size().saturating_add(layout.align()).saturating_add(OVERHEAD);
        let more = memory::frames_for_heap(needed.max(GROWTH));
        let (base, size) = more.or_else(|| memory::frames_for_heap(needed)).ok_or(())?;
        grown(size);
        // SAFETY: the frames were free and are the heap's from now on.
        unsafe { talc.claim(base, size) }.map(|_| ()).ok_or(())
    }
}

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, FromFrames, DefaultBinning> = TalcLock::new(FromFrames);

/// Gives the heap its first region.
///
/// # Safety
/// The region is writable memory that nothing else uses, for good.
pub(crate) unsafe fn init(base: *mut u8, size: usize) {
    grown(size);
    // SAFETY: the caller's promise.
    let _ = unsafe { HEAP.lock().claim(base, size) };
}
