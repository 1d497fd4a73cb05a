//! From the PVH entry (32-bit protected mode, paging off, EBX = start info) to `boot_main` in 64-bit mode.

use core::arch::global_asm;

/// Size of the stack that `boot_main` runs on, in bytes.
pub const BOOT_STACK_SIZE: usize = 256 << 10;

// Only the first page-directory pointer table is filled: 512 GiB. CR4: PAE, PGE, OSFXSR, OSXMMEXCPT.
// EFER: LME, NXE. CR0: PE, MP, ET, NE, WP, PG.
global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
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
