//! From the PVH entry (32-bit protected mode, paging off, EBX = start info) to `boot_main` in 64-bit mode.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// Size of the stack that `boot_main` runs on, in bytes.
pub const BOOT_STACK_SIZE: usize = 256 << 10;

// Only the first page-directory pointer table is filled: 512 GiB. CR4: PAE, PGE, OSFXSR, OSXMMEXCPT.
// EFER: LME, NXE. CR0: PE, MP, ET, NE, WP, PG.
global_asm!(
    // Not of type note: linkers keep notes, and all that they name, even in an image that is not booted. (Cargo builds
    // `rt` once, with all features, for all images that it builds together.) The linker script makes it one.
    ".pushsection .pvh_note, \"a\", @progbits",
    ".balign 4",
    ".long 4, 4, 18", // name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
    ".asciz \"Xen\"",
    ".long pvh_entry",
    ".popsection",
    ".pushsection .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    "boot_pml4: .skip 4096",
    "boot_pdpt: .skip 4096",
    "boot_pd: .skip 16384",
    "boot_guard: .skip 4096",
    "boot_stack: .skip {stack_size}",
    "boot_stack_top:",
    ".popsection",
    ".pushsection .rodata.boot, \"a\"",
    ".balign 16",
    "boot_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "boot_gdtr: .word 23",
    ".quad boot_gdt",
    ".popsection",
    ".pushsection .text.boot, \"ax\"",
    ".code32",
    ".globl pvh_entry",
    "pvh_entry:",
    "cli",
    "cld",
    "mov esp, offset boot_stack_top",
    "mov ebp, ebx",
    // 2048 pages of 2 MiB. A page's high half stays zero: all lie below 4 GiB.
    "mov edi, offset boot_pd",
    "mov eax, 0x83",
    "mov ecx, 2048",
    "2:",
    "mov [edi], eax",
    "mov dword ptr [edi + 4], 0",
    "add eax, 0x200000",
    "add edi, 8",
    "loop 2b",
    // The four page directories.
    "mov edi, offset boot_pdpt",
    "mov eax, offset boot_pd + 3",
    "mov ecx, 4",
    "3:",
    "mov [edi], eax",
    "mov dword ptr [edi + 4], 0",
    "add eax, 4096",
    "add edi, 8",
    "loop 3b",
    // 4 to 512 GiB by 1 GiB pages, where the processor has them (CPUID 8000_0001 EDX bit 26).
    "mov eax, 0x80000001",
    "cpuid",
    "bt edx, 26",
    "jnc 5f",
    "mov edi, offset boot_pdpt + 32",
    "mov eax, 0x83",
    "mov edx, 1",
    "mov ecx, 508",
    "4:",
    "mov [edi], eax",
    "mov [edi + 4], edx",
    "add eax, 0x40000000",
    "adc edx, 0",
    "add edi, 8",
    "loop 4b",
    "5:",
    "mov eax, offset boot_pdpt + 3",
    "mov dword ptr [boot_pml4], eax",
    "mov dword ptr [boot_pml4 + 4], 0",
    "mov eax, offset boot_pml4",
    "mov cr3, eax",
    "mov eax, 0x6a0",
    "mov cr4, eax",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    "mov eax, 0x80010033",
    "mov cr0, eax",
    "lgdt [boot_gdtr]",
    // A far return instead of a far jump: its operand has one spelling in every assembler.
    "push 8",
    "mov eax, offset boot_long",
    "push eax",
    "retf",
    ".code64",
    "boot_long:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov esp, offset boot_stack_top",
    "mov edi, ebp",
    "xor ebp, ebp",
    "call boot_main",
    "ud2",
    ".popsection",
    stack_size = const BOOT_STACK_SIZE,
);

/// Where the running image lies: page-aligned physical addresses, the end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRange {
    /// First byte of the image.
    pub start: u64,
    /// End of the code (execute, read).
    pub text_end: u64,
    /// End of the constants (read only).
    pub rodata_end: u64,
    /// End of everything, `.bss` and boot stack included.
    pub end: u64,
}

/// Where the running image lies.
#[must_use]
pub fn image_range() -> ImageRange {
    unsafe extern "C" {
        static __image_start: u8;
        static __text_end: u8;
        static __rodata_end: u8;
        static __image_end: u8;
    }
    ImageRange {
        start: (&raw const __image_start).addr() as u64,
        text_end: (&raw const __text_end).addr() as u64,
        rodata_end: (&raw const __rodata_end).addr() as u64,
        end: (&raw const __image_end).addr() as u64,
    }
}

/// Page tables for [`protect_image`]: the code and constants of an image may touch this many large pages.
const SPLIT_PAGES: usize = 4;
const ENTRIES: usize = 512;
const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
/// Large pages in the 4 GiB that the boot code maps by them.
const LARGE_PAGES: usize = 4 * ENTRIES;
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

#[repr(C, align(4096))]
struct SplitTables([[u64; ENTRIES]; SPLIT_PAGES]);

/// Written by [`protect_image`] alone.
struct Shared(UnsafeCell<SplitTables>);

// SAFETY: only `protect_image` touches the contents, and its contract is to run once on one processor.
unsafe impl Sync for Shared {}

static SPLIT: Shared = Shared(UnsafeCell::new(SplitTables([[0; ENTRIES]; SPLIT_PAGES])));

/// Takes the rights back that the boot code gave to everything: from now on only the image's code can be executed,
/// its code and constants cannot be written, and the page below the boot stack and the page at address 0
/// (if the image shares its large page) are not there at all.
///
/// # Safety
/// Once, on the boot processor, on the tables of the boot code. No one may rely on executing or writing what is
/// taken away, or on the page at address 0.
pub unsafe fn protect_image() {
    unsafe extern "C" {
        static mut boot_pd: [u64; LARGE_PAGES];
        static mut boot_pdpt: [u64; ENTRIES];
    }
    let range = image_range();
    let (directories, pointers) = (&raw mut boot_pd, &raw mut boot_pdpt);
    // SAFETY: the boot code's tables, which no one else touches (contract); nothing else refers to them in Rust.
    let (directories, pointers) = unsafe { (&mut *directories, &mut *pointers) };
    // SAFETY: the only user, once (contract).
    let tables = unsafe { &mut *SPLIT.0.get() };
    let mut free = tables.0.iter_mut();
    for (base, entry) in (0..).map(|index| index * LARGE_PAGE).zip(directories) {
        let has_code = base < range.rodata_end && range.start < base + LARGE_PAGE;
        let table = if has_code { free.next() } else { None };
        *entry = match table {
            Some(table) => split(base, &range, table),
            None if has_code => base | LARGE | WRITABLE | PRESENT,
            None => base | LARGE | WRITABLE | PRESENT | NO_EXECUTE,
        };
    }
    // The first four point at the directories above; the others, if there, are pages themselves.
    for entry in pointers.iter_mut().skip(4).filter(|entry| **entry & PRESENT != 0) {
        *entry |= NO_EXECUTE;
    }
    // SAFETY: the tables map what they mapped, but for the rights that the caller gave up; the same root is loaded again to drop
    // what the processor remembers.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
}

/// Maps a large page by small ones with the rights that they need; the entry for the table.
fn split(base: u64, range: &ImageRange, table: &mut [u64; ENTRIES]) -> u64 {
    for (page, entry) in (0..).map(|index| base + index * PAGE).zip(table.iter_mut()) {
        *entry = small_page(page, range);
    }
    (&raw const *table).addr() as u64 | WRITABLE | PRESENT
}

fn small_page(page: u64, range: &ImageRange) -> u64 {
    unsafe extern "C" {
        static boot_guard: u8;
    }
    let guard = (&raw const boot_guard).addr() as u64;
    if page == 0 || page == guard {
        0
    } else if (range.start..range.text_end).contains(&page) {
        page | PRESENT
    } else if (range.text_end..range.rodata_end).contains(&page) {
        page | PRESENT | NO_EXECUTE
    } else {
        page | PRESENT | WRITABLE | NO_EXECUTE
    }
}
