//! Free memory of the machine, page by page, as the start info tells it. Guest physical addresses are virtual ones here.

use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// First word of the PVH start info.
pub const START_MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
const RESERVED: u32 = 2;

/// Memory that no one uses: one range, from which pages are cut.
#[derive(Debug)]
pub struct Memory {
    next: u64,
    end: u64,
}

/// One page of the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPage(u64);

impl OwnPage {
    /// Its physical address.
    #[must_use]
    pub fn address(self) -> u64 {
        self.0
    }

    /// Its page number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0 / PAGE
    }

    /// The page `count` pages further on.
    ///
    /// # Safety
    /// It was given out together with this one.
    #[must_use]
    pub unsafe fn further(self, count: u64) -> Self {
        Self(self.0 + count * PAGE)
    }

    /// Copies `data` to `offset` bytes into this page or those given out with it.
    pub fn write(self, offset: u64, data: &[u8]) {
        for (byte, address) in data.iter().zip(self.0 + offset..) {
            // SAFETY: given out by `Memory` once, as plain memory, and reached by copies alone.
            unsafe { pointer(address).write_volatile(*byte) };
        }
    }

    /// Copies from `offset` bytes into this page.
    pub fn read(self, offset: u64, buf: &mut [u8]) {
        for (byte, address) in buf.iter_mut().zip(self.0 + offset..) {
            // SAFETY: as in `write`.
            *byte = unsafe { pointer(address).read_volatile() };
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn read_u64(self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Writes a word.
    pub fn write_u64(self, offset: u64, value: u64) {
        self.write(offset, &value.to_le_bytes());
    }

    /// Fills the page.
    pub fn fill(self, byte: u8) {
        self.write(0, &[byte; 4096]);
    }

    /// Whether each byte of the page is `byte`.
    #[must_use]
    pub fn is_all(self, byte: u8) -> bool {
        let mut content = [0; 4096];
        self.read(0, &mut content);
        content.iter().all(|b| *b == byte)
    }
}

fn pointer(address: u64) -> *mut u8 {
    with_exposed_provenance_mut(usize::try_from(address).unwrap_or(0))
}

/// Reads a number of the start info.
fn number<T: Copy>(address: u64) -> T {
    // SAFETY: the boot protocol's structures are there, in identity-mapped memory, and hold plain numbers.
    unsafe { pointer(address).cast::<T>().read_unaligned() }
}

/// An entry of the memory map.
struct Entry {
    range: Range<u64>,
    kind: u32,
}

/// The memory map of the start info, ascending.
fn map(info: u64) -> impl Iterator<Item = Entry> {
    let (map, entries): (u64, u32) = (number(info + 40), number(info + 48));
    (0..u64::from(entries)).map(move |index| {
        let entry = map + index * 24;
        let (start, size): (u64, u64) = (number(entry), number(entry + 8));
        Entry { range: start..start + size, kind: number(entry + 16) }
    })
}

/// What the hypervisor says is reserved and RAM ends at, or that begins at `image`: its image, and what it took from the
/// end of RAM. (The firmware's own reserved ranges are either not next to RAM or, as its tables, small.)
#[must_use]
pub fn private_ranges(info: u64, image: u64) -> alloc::vec::Vec<Range<u64>> {
    const SMALLEST: u64 = 2 << 20;
    let mut ram_end = 0;
    let mut found = alloc::vec::Vec::new();
    for entry in map(info) {
        let Range { start, end } = entry.range;
        let behind_ram = start == ram_end && end - start >= SMALLEST;
        if entry.kind == RESERVED && (behind_ram || start == image) {
            found.push(start..end);
        } else if entry.kind == RAM {
            ram_end = end;
        }
    }
    found
}

impl Memory {
    /// Takes the RAM behind the running image, up to the module if that comes next.
    pub(crate) fn from_start_info(info: u64) -> Self {
        let image_end = rt::image_range().end;
        let none = Self { next: 0, end: 0 };
        if number::<u32>(info) != START_MAGIC {
            return none;
        }
        let module: u64 = if number::<u32>(info + 12) > 0 { number(number::<u64>(info + 16)) } else { u64::MAX };
        for Entry { range: Range { start, end }, kind } in map(info) {
            if kind != RAM || image_end < start || image_end >= end {
                continue;
            }
            let end = if module >= image_end { end.min(module) } else { end };
            return Self { next: image_end, end: end & !(PAGE - 1) };
        }
        none
    }

    /// `count` pages in a row, zeroed.
    ///
    /// # Panics
    /// If there is not that much.
    pub fn take(&mut self, count: u64) -> OwnPage {
        self.take_aligned(count, 1)
    }

    /// `count` pages in a row, zeroed, whose first number is a multiple of `align`.
    ///
    /// # Panics
    /// If there is not that much.
    pub fn take_aligned(&mut self, count: u64, align: u64) -> OwnPage {
        let start = self.next.next_multiple_of(align * PAGE);
        let end = start + count * PAGE;
        assert!(end <= self.end, "the test machine has too little memory for {count} pages");
        self.next = end;
        for page in 0..count {
            OwnPage(start + page * PAGE).fill(0);
        }
        OwnPage(start)
    }

    /// Pages left.
    #[must_use]
    pub fn left(&self) -> u64 {
        (self.end - self.next) / PAGE
    }
}
