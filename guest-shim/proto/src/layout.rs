//! The address-space layout of a child, and the header of the flat shim image.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the shim image is linked and mapped: the last 2 GiB, so that its code can be position-dependent.
pub const SHIM_BASE_VA: u64 = 0xffff_ffff_8000_0000;
/// All of the child's guest physical memory, supervisor-only, read-write, no-execute: GPA g is at `DIRECT_MAP_VA + g`.
pub const DIRECT_MAP_VA: u64 = 0xffff_8800_0000_0000;
/// Child GPA at which the shim image starts.
pub const SHIM_BASE_GPA: u64 = 0x10_0000;
/// End of user space (exclusive), one page below the non-canonical hole.
pub const USER_END_VA: u64 = 0x0000_7fff_ffff_f000;

/// Bytes of one slot of the window in which files appear: a mapping starts at a slot and fills one at most.
pub const WINDOW_SLOT: u64 = 64 << 10;

/// Code segment selector of ring 0 in the shim's GDT, as the gate loads it on a system call.
pub const KERNEL_CS: u16 = 0x08;
/// Stack segment selector of ring 0.
pub const KERNEL_SS: u16 = 0x10;
/// Data/stack segment selector of ring 3 (RPL 3 included).
pub const USER_SS: u16 = 0x1b;
/// 64-bit code segment selector of ring 3 (RPL 3 included).
pub const USER_CS: u16 = 0x23;
/// Task state segment selector.
pub const TSS: u16 = 0x28;

/// First bytes of the flat shim image: what the root needs to map it. Followed by padding to a page.
/// Offsets are from the start of the image, in bytes and page aligned; the image's page 0 holds this header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ShimHeader {
    /// [`SHIM_MAGIC`].
    pub magic: u64,
    /// [`crate::PROTO_VERSION`].
    pub version: u32,
    /// Zero.
    pub reserved: u32,
    /// Start of the code (read, execute; shared by all children).
    pub text_start: u64,
    /// End of the code.
    pub text_end: u64,
    /// Start of the constants (read; shared).
    pub rodata_start: u64,
    /// End of the constants.
    pub rodata_end: u64,
    /// Start of the data (read, write; private to a child).
    pub data_start: u64,
    /// End of the initialised data in the image; what follows up to `bss_end` starts as zeros.
    pub data_end: u64,
    /// End of the zero-initialised data.
    pub bss_end: u64,
    /// Virtual address of the first instruction at start. RDI: virtual address of `BootInfo`; RSP: `boot_stack`.
    pub entry: u64,
    /// Virtual address of the system-call entry, which the gate puts into RIP.
    pub syscall_entry: u64,
    /// Virtual address of the top of the boot stack.
    pub boot_stack: u64,
}

/// [`ShimHeader::magic`].
pub const SHIM_MAGIC: u64 = u64::from_le_bytes(*b"CDNSHIM1");

/// RFLAGS bits that the gate clears on a system call, as SFMASK does on Linux: TF, IF, DF, IOPL, NT, RF, AC.
pub const SYSCALL_FLAGS_MASK: u64 = 0x0005_7700;

/// Part of the free memory that the shim keeps for its heap …
const HEAP_SHARE: u64 = 8;
/// … and the most that it keeps. It costs nothing until it is used.
const HEAP_MAX: u64 = 256 << 20;
/// Alignment of the heap's end: what the root backs at once.
const HEAP_ALIGN: u64 = 64 << 10;

/// Length in bytes of the shim's heap, at the start of `free` bytes of free memory. The frames follow it. The root may
/// know from it which memory is needed first; it relies on nothing of it.
#[must_use]
pub const fn heap_len(free: u64) -> u64 {
    let share = free / HEAP_SHARE;
    let len = if share < HEAP_MAX { share } else { HEAP_MAX };
    len - len % HEAP_ALIGN
}
