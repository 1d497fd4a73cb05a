//! The root's physical memory: what the boot protocol says of it, free frames, and the pages lent to children.
//!
//! Everything is identity-mapped, so a frame's address is its virtual address too. Frames that this module has
//! handed out have one owner: the heap, a device's rings, the hypervisor, or a [`Run`]. None is ever an object of Rust's at
//! the same time as a `Run`.
use core::num::NonZeroU32;
use core::ops::Range;
use core::ptr;

use pvh::start_info::MemmapType;
use pvh::start_info::reader::StartInfoReader;
use sandbox::frames::Frames;
use sandbox::layout::BLOCK_PAGES;
use sandbox::memory::RootMemory;
use spin::{Mutex, Once};
use tlfs::addr::PAGE_SIZE;

use crate::heap;

/// Below this the root uses nothing: it is where firmware, boot structures and devices are.
const LOW_END: u64 = 1 << 20;
/// The heap's first region, in bytes, beside the frame map.
const FIRST_HEAP: u64 = 1 << 20;
/// End of what the boot page table maps in any case, and with 1 GiB pages.
const MAPPED_ALWAYS: u64 = 4 << 30;
const MAPPED_WITH_1_GIB_PAGES: u64 = 512 << 30;
/// Most regions of RAM that are looked at.
const MAX_REGIONS: usize = 64;

/// [`PAGE_SIZE`] for offsets.
const PAGE_BYTES: usize = 4096;
const _: () = assert!(PAGE_BYTES as u64 == PAGE_SIZE);

static FRAMES: Mutex<Option<Frames>> = Mutex::new(None);
/// Addresses of the boot module: the bundle's payload.
static PAYLOAD: Once<Range<u64>> = Once::new();

/// Why the memory cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryError {
    /// No start info where the boot protocol says.
    NoStartInfo,
    /// No boot module.
    NoPayload,
    /// No room for the frame map and a heap.
    TooLittle,
}

impl core::fmt::Display for MemoryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoStartInfo => "no PVH start info: this image must be entered by the PVH boot protocol",
            Self::NoPayload => "no boot module: the machine was started without a bundle (-initrd)",
            Self::TooLittle => "too little memory: no region below 4 GiB holds a heap and the map of free frames",
        })
    }
}

/// A few ranges of addresses, kept without a heap.
#[derive(Clone)]
struct Ranges {
    list: [Range<u64>; MAX_REGIONS],
    len: usize,
}

impl Ranges {
    fn new() -> Self {
        Self { list: [const { 0..0 }; MAX_REGIONS], len: 0 }
    }

    fn push(&mut self, range: Range<u64>) {
        if let Some(slot) = self.list.get_mut(self.len)
            && range.start < range.end
        {
            *slot = range;
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.list.iter().take(self.len)
    }

    /// The same without `hole`.
    fn without(&self, hole: &Range<u64>) -> Self {
        let mut rest = Self::new();
        for range in self.iter() {
            rest.push(range.start..range.end.min(hole.start));
            rest.push(range.start.max(hole.end)..range.end);
        }
        rest
    }
}

/// Reads the memory map, starts the heap and finds the payload. What is left is free.
///
/// # Safety
/// Once, at boot, with the address that the boot protocol gave; memory is identity-mapped as `rt` documents.
pub(crate) unsafe fn init(start_info: u64) -> Result<&'static [u8], MemoryError> {
    let start_info = u32::try_from(start_info).map_err(|_| MemoryError::NoStartInfo)?;
    // SAFETY: the caller's promise.
    let info = unsafe { StartInfoReader::from_paddr_identity(start_info) }.ok_or(MemoryError::NoStartInfo)?;
    let module = info.modlist().next().ok_or(MemoryError::NoPayload)?;
    let payload = module.raw().paddr..module.raw().paddr.saturating_add(module.raw().size);
    // SAFETY: the boot protocol placed the module there, and it is taken out of what is free below.
    let bytes = unsafe { whole_pages(&payload) };
    let image = rt::image_range();
    let mut ram = Ranges::new();
    for entry in info.memmap().iter().filter(|entry| entry.ty() == MemmapType::Ram) {
        let end = entry.addr.saturating_add(entry.size).min(mapped_end());
        ram.push(entry.addr.max(LOW_END).next_multiple_of(PAGE_SIZE)..end - end % PAGE_SIZE);
    }
    let free = ram.without(&(image.start..image.end)).without(&pages_around(&payload));
    let span = span(&free);
    let heap_len = (FIRST_HEAP + Frames::map_bytes(&span)).next_multiple_of(PAGE_SIZE);
    let heap = first_heap(&free, heap_len).ok_or(MemoryError::TooLittle)?;
    let base = usize::try_from(heap.start).map_err(|_| MemoryError::TooLittle)?;
    let size = usize::try_from(heap_len).map_err(|_| MemoryError::TooLittle)?;
    // SAFETY: RAM by the memory map, of no other use, and taken out of what is free.
    unsafe { heap::init(ptr::with_exposed_provenance_mut(base), size) };
    let mut frames = Frames::new(span);
    for range in free.without(&heap).iter() {
        frames.add(range.start / PAGE_SIZE..range.end / PAGE_SIZE);
    }
    *FRAMES.lock() = Some(frames);
    PAYLOAD.call_once(|| payload);
    Ok(bytes)
}

/// The bytes of the payload, as they stay for good.
///
/// # Safety
/// They are there, identity-mapped, and nothing writes to them any more.
unsafe fn whole_pages(range: &Range<u64>) -> &'static [u8] {
    let (Ok(start), Ok(len)) = (usize::try_from(range.start), usize::try_from(range.end - range.start)) else {
        return &[];
    };
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(start), len) }
}

/// End of the memory that is mapped.
fn mapped_end() -> u64 {
    let features = raw_cpuid::CpuId::new().get_extended_processor_and_feature_identifiers();
    match features {
        Some(features) if features.has_1gib_pages() => MAPPED_WITH_1_GIB_PAGES,
        _ => MAPPED_ALWAYS,
    }
}

fn pages_around(range: &Range<u64>) -> Range<u64> {
    range.start - range.start % PAGE_SIZE..range.end.next_multiple_of(PAGE_SIZE)
}

/// First to last frame number of all ranges.
fn span(ranges: &Ranges) -> Range<u64> {
    let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    start / PAGE_SIZE..end / PAGE_SIZE
}

/// The end of the largest range below 4 GiB: blocks are taken from the starts.
fn first_heap(free: &Ranges, len: u64) -> Option<Range<u64>> {
    let below = free.iter().filter(|range| range.end <= MAPPED_ALWAYS);
    let largest = below.max_by_key(|range| range.end - range.start)?;
    let start = largest.end.checked_sub(len)?;
    (start >= largest.start).then_some(start..largest.end)
}

fn with_frames<O>(f: impl FnOnce(&mut Frames) -> Option<O>) -> Option<O> {
    FRAMES.lock().as_mut().and_then(f)
}

/// Contiguous frames of at least `bytes` bytes for the heap: address and size.
pub(crate) fn frames_for_heap(bytes: usize) -> Option<(*mut u8, usize)> {
    let pages = u64::try_from(bytes).ok()?.div_ceil(PAGE_SIZE);
    let address = contiguous(pages)?;
    Some((ptr::with_exposed_provenance_mut(address), usize::try_from(pages * PAGE_SIZE).ok()?))
}

/// Zeroed contiguous frames for a device: their address.
pub(crate) fn frames_for_device(pages: usize) -> Option<usize> {
    let pages = u64::try_from(pages).ok()?;
    let address = contiguous(pages)?;
    // SAFETY: the frames were just allocated; nothing else uses them.
    unsafe { zero(address, usize::try_from(pages * PAGE_SIZE).ok()?) };
    Some(address)
}

fn contiguous(pages: u64) -> Option<usize> {
    let first = with_frames(|frames| frames.allocate_contiguous(pages))?;
    usize::try_from(first * PAGE_SIZE).ok()
}

/// # Safety
/// The bytes are mapped and the caller's.
unsafe fn zero(address: usize, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_bytes(0, len) };
}

/// Frames that are a child's, or are about to be. There is one `Run` for each such frame.
#[derive(Debug)]
pub(crate) struct Run {
    /// Frame number. Frame 0 is never free.
    first: NonZeroU32,
    pages: u32,
}

impl Run {
    fn new(first: u64, pages: u64) -> Option<Self> {
        Some(Self { first: NonZeroU32::new(u32::try_from(first).ok()?)?, pages: u32::try_from(pages).ok()? })
    }

    /// Address `offset` bytes into the run, for an access of `len` bytes.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let size = self.pages as usize * PAGE_BYTES;
        assert!(offset <= size && len <= size - offset, "an access beyond a run of pages");
        ptr::with_exposed_provenance_mut(self.first.get() as usize * PAGE_BYTES + offset)
    }
}

/// The root's memory as sandboxes use it.
pub(crate) struct Pages;

impl Pages {
    fn allocate(take: impl FnOnce(&mut Frames) -> Option<u64>, pages: u64) -> Option<Run> {
        let run = Run::new(with_frames(take)?, pages)?;
        let len = run.pages as usize * PAGE_BYTES;
        // SAFETY: the frames were just allocated; nothing else uses them.
        unsafe { run.at(0, len).write_bytes(0, len) };
        Some(run)
    }
}

impl RootMemory for Pages {
    type Run = Run;

    fn allocate_page(&mut self) -> Option<Run> {
        Self::allocate(Frames::allocate, 1)
    }

    fn allocate_block(&mut self) -> Option<Run> {
        Self::allocate(Frames::allocate_run, BLOCK_PAGES)
    }

    fn free(&mut self, run: Run) {
        let _ = with_frames(|frames| frames.free(u64::from(run.first.get()), u64::from(run.pages)).ok());
    }

    fn free_pages(&self) -> u64 {
        with_frames(|frames| Some(frames.free_count())).unwrap_or(0)
    }

    fn page_number(&self, run: &Run) -> u64 {
        u64::from(run.first.get())
    }

    #[inline]
    fn read(&self, run: &Run, offset: usize, buf: &mut [u8]) {
        // SAFETY: within the run (`at`). Its frames are no object of Rust's, so `buf` is elsewhere; the child, which can
        // write to them, does not run while the root does.
        unsafe { ptr::copy_nonoverlapping(run.at(offset, buf.len()), buf.as_mut_ptr(), buf.len()) };
    }

    #[inline]
    fn write(&mut self, run: &mut Run, offset: usize, data: &[u8]) {
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), run.at(offset, data.len()), data.len()) };
    }

    fn give_away(&mut self, page: Run) -> u64 {
        let number = u64::from(page.first.get());
        let _ = with_frames(|frames| frames.give(number).ok());
        number
    }

    fn take_back(&mut self, page_number: u64) -> bool {
        with_frames(|frames| frames.take_back(page_number).ok()).is_some()
    }

    fn shared_page(&self, bytes: &[u8]) -> Option<u64> {
        let address = bytes.as_ptr().expose_provenance() as u64;
        let in_payload = PAYLOAD.get().is_some_and(|payload| payload.contains(&address));
        let whole = bytes.len() as u64 == PAGE_SIZE && address.is_multiple_of(PAGE_SIZE);
        (in_payload && whole).then_some(address / PAGE_SIZE)
    }
}
