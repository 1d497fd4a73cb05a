//! Exceptions and interrupts: descriptor tables with an own stack for every vector, and one hook.
//!
//! The prebuilt `core` keeps data below the stack pointer (the red zone), so nothing may be pushed on the
//! interrupted stack: every gate switches stacks through the interrupt stack table. Exceptions, double
//! fault, NMI, machine check and interrupts have one stack each. A second event of one group while the first
//! is handled would overwrite its frame: gates keep interrupts off, and an exception within the handler of an
//! exception is the end of the image in any case.
//!
//! The image supplies the hook:
//! ```ignore
//! #[unsafe(no_mangle)]
//! extern "C" fn trap(frame: &mut rt::exceptions::TrapFrame) { ... }
//! ```
//! When it returns, the interrupted code goes on with the registers in `frame`. x87 and SSE state is kept.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// Code segment selector of an image.
pub const CODE_SELECTOR: u16 = 0x08;
/// Data segment selector of an image.
pub const DATA_SELECTOR: u16 = 0x10;
/// Selector of the task state segment.
pub const TSS_SELECTOR: u16 = 0x18;

/// The interrupted registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrapFrame {
    /// R15
    pub r15: u64,
    /// R14
    pub r14: u64,
    /// R13
    pub r13: u64,
    /// R12
    pub r12: u64,
    /// R11
    pub r11: u64,
    /// R10
    pub r10: u64,
    /// R9
    pub r9: u64,
    /// R8
    pub r8: u64,
    /// RBP
    pub rbp: u64,
    /// RDI
    pub rdi: u64,
    /// RSI
    pub rsi: u64,
    /// RDX
    pub rdx: u64,
    /// RCX
    pub rcx: u64,
    /// RBX
    pub rbx: u64,
    /// RAX
    pub rax: u64,
    /// 0 to 255.
    pub vector: u64,
    /// What the processor pushed, or 0 for vectors without one.
    pub error_code: u64,
    /// RIP
    pub rip: u64,
    /// CS
    pub cs: u64,
    /// RFLAGS
    pub rflags: u64,
    /// RSP
    pub rsp: u64,
    /// SS
    pub ss: u64,
}

const STACK_SIZE: usize = 32 << 10;
const STACKS: usize = 5;
const VECTORS: usize = 256;
/// Bytes between the entry stubs of two vectors (a `push imm32`, a `push imm32` and a `jmp rel32` fit).
const STUB_SIZE: u64 = 16;

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

/// The 64-bit task state segment (AMD APM volume 2, 12.2.5).
#[repr(C, packed(4))]
struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    iomap_base: u16,
}

/// Size of the TSS; an I/O map base of this means that there is no map.
const TSS_SIZE: u16 = 104;
const _: () = assert!(size_of::<Tss>() == TSS_SIZE as usize);

#[repr(C, align(16))]
struct Tables {
    idt: [[u64; 2]; VECTORS],
    gdt: [u64; 5],
    tss: Tss,
    stacks: [Stack; STACKS],
}

/// Written once by [`install`], read by the processor from then on.
struct Shared(UnsafeCell<Tables>);

// SAFETY: only `install` touches the contents from code, and its contract is to run once on one processor.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    idt: [[0; 2]; VECTORS],
    gdt: [0; 5],
    tss: Tss { reserved0: 0, rsp: [0; 3], reserved1: 0, ist: [0; 7], reserved2: 0, reserved3: 0, iomap_base: 0 },
    stacks: [const { Stack([0; STACK_SIZE]) }; STACKS],
}));

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

impl TablePointer {
    fn new<T>(table: *const T) -> Self {
        let limit = u16::try_from(size_of::<T>() - 1).unwrap_or(u16::MAX);
        Self { limit, base: table.addr() as u64 }
    }
}

/// Loads GDT, TSS and IDT. From then on every exception and interrupt reaches the image's `trap`.
/// The interrupt flag is left as it is.
///
/// # Safety
/// Once, on the boot processor, in 64-bit mode with CPL 0 and interrupts off.
pub unsafe fn install() {
    let tables = TABLES.0.get();
    // SAFETY: the caller promises to be the only one (see `Shared`), and no table is loaded yet.
    let t = unsafe { &mut *tables };
    for (index, stack) in t.stacks.iter().enumerate() {
        t.tss.ist[index] = (&raw const *stack).addr() as u64 + STACK_SIZE as u64;
    }
    t.tss.iomap_base = TSS_SIZE;
    let [low, high] = tss_descriptor((&raw const t.tss).addr() as u64);
    t.gdt = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, low, high];
    let stubs = (&raw const trap_stubs).addr() as u64;
    for (vector, gate) in (0u64..).zip(t.idt.iter_mut()) {
        *gate = interrupt_gate(stubs + vector * STUB_SIZE, stack_of(vector));
    }
    let gdtr = TablePointer::new(&raw const t.gdt);
    let idtr = TablePointer::new(&raw const t.idt);
    // SAFETY: the tables are complete and live for ever; the selectors loaded are theirs, and CS keeps the
    // selector that the boot code gave it, whose descriptor is the same here.
    unsafe {
        asm!(
            "lgdt [{gdtr}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {tss:x}",
            "lidt [{idtr}]",
            gdtr = in(reg) &raw const gdtr,
            idtr = in(reg) &raw const idtr,
            code = const CODE_SELECTOR,
            data = in(reg) u32::from(DATA_SELECTOR),
            tss = in(reg) TSS_SELECTOR,
            scratch = out(reg) _,
        );
    }
}

/// The address of the last page fault (CR2).
#[must_use]
pub fn fault_address() -> u64 {
    let address;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Which entry of the interrupt stack table (1 to 7) a vector runs on.
const fn stack_of(vector: u64) -> u64 {
    match vector {
        8 => 2,
        2 => 3,
        18 => 4,
        32.. => 5,
        _ => 1,
    }
}

const fn interrupt_gate(handler: u64, stack: u64) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = (handler & 0xffff)
        | (CODE_SELECTOR as u64) << 16
        | stack << 32
        | PRESENT_INTERRUPT_GATE
        | ((handler >> 16) & 0xffff) << 48;
    [low, handler >> 32]
}

const fn tss_descriptor(base: u64) -> [u64; 2] {
    const PRESENT_AVAILABLE_TSS: u64 = 0x89 << 40;
    let limit = TSS_SIZE as u64 - 1;
    let low = limit | (base & 0x00ff_ffff) << 16 | PRESENT_AVAILABLE_TSS | ((base >> 24) & 0xff) << 56;
    [low, base >> 32]
}

unsafe extern "C" {
    static trap_stubs: u8;
}

// One stub a vector: a zero where the processor pushes no error code, then the vector. The common part builds
// the frame, saves x87/SSE state below it and calls the hook.
global_asm!(
    ".pushsection .text.trap, \"ax\"",
    ".balign 16",
    "trap_stubs:",
    ".set trap_vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (trap_vector == 8) || (trap_vector >= 10 && trap_vector <= 14) || (trap_vector == 17) || (trap_vector == 21) || (trap_vector == 29) || (trap_vector == 30)",
    ".else",
    "push 0",
    ".endif",
    "push trap_vector",
    "jmp trap_common",
    ".set trap_vector, trap_vector + 1",
    ".endr",
    "trap_common:",
    "cld",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "sub rsp, 512",
    "and rsp, -16",
    "fxsave64 [rsp]",
    "call trap",
    "fxrstor64 [rsp]",
    "mov rsp, rbx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    ".popsection",
);
