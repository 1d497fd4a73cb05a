//! The child's memory, by guest physical address through the direct map; and two pages that wait to be attacked.
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use proto::layout::{DIRECT_MAP_VA, SHIM_BASE_GPA, SHIM_BASE_VA};
use proto::{BOOT_MAGIC, BootInfo, ProgramParams};
use zerocopy::{FromBytes, IntoBytes};

use crate::report::Text;

pub(crate) const PAGE: u64 = 4096;
/// The last page of all.
pub(crate) const LAST_PAGE: u64 = !(PAGE - 1);
/// What the words of [`victim_constants`] are. As a page-table entry it is good, and not yet accessed.
pub(crate) const VICTIM_WORD: u64 = 0x0000_0000_0060_0d07;

/// End of the child's memory: nothing above may be read or written by this module.
static END: AtomicU64 = AtomicU64::new(0);

// A page of code and a page of constants that nothing else is in.
global_asm!(
    ".pushsection .text.victim, \"ax\"",
    ".balign 4096, 0xcc",
    ".globl hostile_victim_code",
    "hostile_victim_code:",
    "ret",
    ".balign 4096, 0xcc",
    ".popsection",
    ".pushsection .rodata.victim, \"a\"",
    ".balign 4096",
    ".globl hostile_victim_constants",
    "hostile_victim_constants:",
    ".fill 512, 8, {word}",
    ".popsection",
    word = const VICTIM_WORD,
);

unsafe extern "C" {
    static hostile_victim_code: u8;
    static hostile_victim_constants: u8;
    static __text_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __bss_end: u8;
}

/// The virtual address of a symbol of the image.
macro_rules! address_of {
    ($symbol:ident) => {
        (&raw const $symbol).expose_provenance() as u64
    };
}

/// Virtual address of a page of code: `ret`, then `int3`.
pub(crate) fn victim_code() -> u64 {
    address_of!(hostile_victim_code)
}

/// Virtual address of a page of constants, all of them [`VICTIM_WORD`].
pub(crate) fn victim_constants() -> u64 {
    address_of!(hostile_victim_constants)
}

/// The GPA of a byte of the image.
pub(crate) const fn gpa_of_image(address: u64) -> u64 {
    address - SHIM_BASE_VA + SHIM_BASE_GPA
}

/// A sum over the code and the constants, which nobody may change.
pub(crate) fn image_sum() -> u64 {
    let (start, end) = (address_of!(__text_start), address_of!(__rodata_end));
    (start..end).step_by(8).fold(0u64, |sum, address| {
        // SAFETY: the image's own pages, aligned; volatile, since the compiler takes them for constant.
        let word = unsafe { ptr::with_exposed_provenance::<u64>(pointer(address)).read_volatile() };
        (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// A virtual address as pointers are made of it.
#[allow(clippy::cast_possible_truncation, reason = "addresses have 64 bits here")]
const fn pointer(address: u64) -> usize {
    address as usize
}

/// What the root left at this virtual address.
pub(crate) fn boot_info(address: u64) -> BootInfo {
    // SAFETY: the protocol's promise for the address in RDI.
    let info = unsafe { ptr::with_exposed_provenance::<BootInfo>(pointer(address)).read_volatile() };
    assert_eq!(info.magic, BOOT_MAGIC, "boot info");
    END.store(info.free_end, Ordering::Relaxed);
    info
}

/// The direct map's pointer to a range below the end of memory.
fn direct(gpa: u64, len: usize) -> *mut u8 {
    let inside = gpa.checked_add(len as u64).is_some_and(|end| end <= END.load(Ordering::Relaxed));
    assert!(inside, "no memory at {gpa:#x}");
    ptr::with_exposed_provenance_mut(pointer(DIRECT_MAP_VA + gpa))
}

/// Copies from the child's memory.
pub(crate) fn read_bytes(gpa: u64, buf: &mut [u8]) {
    // SAFETY: mapped; other objects of Rust's are only looked at.
    unsafe { ptr::copy(direct(gpa, buf.len()), buf.as_mut_ptr(), buf.len()) };
}

/// Reads a structure from the child's memory.
pub(crate) fn read<T: FromBytes + IntoBytes>(gpa: u64) -> T {
    let mut value = T::new_zeroed();
    read_bytes(gpa, value.as_mut_bytes());
    value
}

/// Copies to the child's memory.
pub(crate) fn write(gpa: u64, data: &[u8]) {
    let objects = gpa_of_image(address_of!(__data_start))..gpa_of_image(address_of!(__bss_end));
    let apart = gpa >= objects.end || gpa + data.len() as u64 <= objects.start;
    assert!(apart, "{gpa:#x} is this program's own data");
    // SAFETY: mapped, and no object of Rust's.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), direct(gpa, data.len()), data.len()) };
}

/// Writes a word to the child's memory.
pub(crate) fn write_word(gpa: u64, value: u64) {
    write(gpa, &value.to_le_bytes());
}

/// The memory that is nobody's yet.
#[derive(Debug)]
pub(crate) struct Free(Range<u64>);

impl Free {
    pub(crate) fn new(info: &BootInfo) -> Self {
        Self(info.free_start..info.free_end)
    }

    /// The GPA of a page of zeros.
    pub(crate) fn take_page(&mut self) -> u64 {
        self.take_pages(1)
    }

    /// The GPA of pages that follow each other.
    pub(crate) fn take_pages(&mut self, count: u64) -> u64 {
        let gpa = self.0.start;
        self.0.start += count * PAGE;
        assert!(self.0.start <= self.0.end, "out of memory");
        gpa
    }

    /// What is left.
    pub(crate) fn rest(&self) -> Range<u64> {
        self.0.clone()
    }
}

/// The first words of the command line.
#[derive(Debug)]
pub(crate) struct Arguments([Text<64>; 3]);

impl Arguments {
    pub(crate) fn read(info: &BootInfo) -> Self {
        let header: ProgramParams = read(info.params_gpa);
        let mut words = [const { Text::new() }; 3];
        let start = info.params_gpa + size_of::<ProgramParams>() as u64;
        let end = start + u64::from(header.strings_len);
        let bytes = (start..end).map(read::<u8>);
        let mut index = 0;
        for byte in bytes {
            // The path stands first, then the arguments.
            match (byte, index) {
                (0, _) => index += 1,
                (byte, 1..=3) if index <= header.argc as usize => words[index - 1].push(byte),
                _ => {}
            }
        }
        Self(words)
    }

    /// Argument `index`; empty if there is none.
    pub(crate) fn get(&self, index: usize) -> &str {
        self.0.get(index).map_or("", Text::as_str)
    }
}
