//! The processor: descriptor tables, instructions that may fault, and the way back when they do.
//!
//! [`attempt`] notes its stack pointer before it runs an instruction. The trap entry, and the system-call entry that the
//! root puts into RIP for a call that it granted, go back to that stack as if [`attempt`] had returned. Exceptions have a
//! stack of their own, since code that was compiled for a host may keep data below the stack pointer.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm, naked_asm};
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use proto::PROTO_VERSION;
use proto::layout::{KERNEL_CS, SHIM_MAGIC, TSS, USER_CS, USER_SS};

/// #DB
pub(crate) const DB: u64 = 1;
/// #BP
pub(crate) const BP: u64 = 3;
/// #UD
pub(crate) const UD: u64 = 6;
/// #GP
pub(crate) const GP: u64 = 13;
/// #PF
pub(crate) const PF: u64 = 14;
/// Not an exception: the root granted a system call and entered at the system-call entry.
pub(crate) const GRANTED: u64 = 0x100;

/// A port that nobody has.
const ABSENT_PORT: u32 = 0x5ab0;
/// RFLAGS: direction, nested task, alignment check, identification.
pub(crate) const ODD_FLAGS: u64 = 1 << 10 | 1 << 14 | 1 << 18 | 1 << 21;
/// Selector of a 32-bit code segment of ring 0.
pub(crate) const CODE_32: u16 = 0x38;

const STACK_SIZE: usize = 64 << 10;
const TRAP_STACK_SIZE: usize = 8 << 10;
/// The exceptions, and the interrupt of the alarm.
const VECTORS: usize = proto::ALARM_VECTOR as usize + 1;
/// Vectors that push an error code, a bit each.
const ERROR_CODES: u32 = 0x6022_7d00;

// Fields of STATE, in bytes.
const RECOVERY: usize = 0;
const VECTOR: usize = 8;
const ERROR: usize = 16;
const RIP: usize = 24;
const CR2: usize = 32;
const RAX: usize = 40;

/// The stack to recover to (0: none), and what the last trap was.
static STATE: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

#[repr(C, align(16))]
struct Stack<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: only the processor uses its bytes, as a stack.
unsafe impl<const N: usize> Sync for Stack<N> {}

static BOOT_STACK: Stack<STACK_SIZE> = Stack(UnsafeCell::new([0; STACK_SIZE]));
static TRAP_STACK: Stack<TRAP_STACK_SIZE> = Stack(UnsafeCell::new([0; TRAP_STACK_SIZE]));
static GDT: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static IDT: [AtomicU64; 2 * VECTORS] = [const { AtomicU64::new(0) }; 2 * VECTORS];
/// The task state segment, 104 bytes.
static TASK: [AtomicU32; 26] = [const { AtomicU32::new(0) }; 26];

// The header, and the first instructions. The symbols with `_offset` are the linker script's.
global_asm!(
    ".pushsection .header, \"a\"",
    ".quad {magic}",
    ".long {version}, 0",
    ".quad __text_start_offset, __text_end_offset",
    ".quad __rodata_start_offset, __rodata_end_offset",
    ".quad __data_start_offset, __data_end_offset, __bss_end_offset",
    ".quad hostile_entry, hostile_syscall, {stack} + {stack_size}",
    ".popsection",
    ".pushsection .text.hostile, \"ax\"",
    ".globl hostile_entry",
    "hostile_entry:",
    "xor ebp, ebp",
    "call {start}",
    "ud2",
    magic = const SHIM_MAGIC,
    version = const PROTO_VERSION,
    stack = sym BOOT_STACK,
    stack_size = const STACK_SIZE,
    start = sym crate::start,
);

// A stub of 16 bytes for each vector, the common trap entry, and the system-call entry.
global_asm!(
    ".globl hostile_stubs",
    ".balign 16",
    "hostile_stubs:",
    ".set hostile_vector, 0",
    ".rept {vectors}",
    ".balign 16",
    ".if ({error_codes} >> hostile_vector) & 1",
    ".else",
    ".byte 0x6a, 0",
    ".endif",
    ".byte 0x6a, hostile_vector",
    "jmp hostile_trap",
    ".set hostile_vector, hostile_vector + 1",
    ".endr",
    "hostile_trap:",
    "mov [rip + {state} + {rax}], rax",
    "mov rax, [rsp]",
    "mov [rip + {state} + {vector}], rax",
    "mov rax, [rsp + 8]",
    "mov [rip + {state} + {error}], rax",
    "mov rax, [rsp + 16]",
    "mov [rip + {state} + {rip_field}], rax",
    "mov rax, cr2",
    "mov [rip + {state} + {cr2}], rax",
    "jmp hostile_recover",
    "hostile_syscall:",
    "mov [rip + {state} + {rax}], rax",
    "mov qword ptr [rip + {state} + {vector}], {granted}",
    "hostile_recover:",
    "cld",
    "mov rsp, [rip + {state} + {recovery}]",
    "test rsp, rsp",
    "jz 2f",
    "mov eax, 1",
    "jmp {leave}",
    "2:",
    "lea rsp, [rip + {stack} + {stack_size}]",
    "call {unexpected}",
    "ud2",
    ".popsection",
    vectors = const VECTORS,
    error_codes = const ERROR_CODES,
    state = sym STATE,
    recovery = const RECOVERY,
    vector = const VECTOR,
    error = const ERROR,
    rip_field = const RIP,
    cr2 = const CR2,
    rax = const RAX,
    granted = const GRANTED,
    leave = sym leave,
    stack = sym BOOT_STACK,
    stack_size = const STACK_SIZE,
    unexpected = sym crate::unexpected_trap,
);

unsafe extern "C" {
    static hostile_stubs: u8;
    static hostile_behind_exit: u8;
}

/// Sets up the descriptor tables.
pub(crate) fn install_tables() {
    const KERNEL_CODE: u64 = 0x00af_9b00_0000_ffff;
    const KERNEL_DATA: u64 = 0x00cf_9300_0000_ffff;
    const USER_DATA: u64 = 0x00cf_f300_0000_ffff;
    const USER_CODE: u64 = 0x00af_fb00_0000_ffff;
    const KERNEL_CODE_32: u64 = 0x00cf_9b00_0000_ffff;
    let task = TASK.as_ptr().expose_provenance() as u64;
    let (task_low, task_high) = task_descriptor(task);
    let descriptors = [0, KERNEL_CODE, KERNEL_DATA, USER_DATA, USER_CODE, task_low, task_high, KERNEL_CODE_32];
    for (entry, value) in GDT.iter().zip(descriptors) {
        entry.store(value, Ordering::Relaxed);
    }
    let top = TRAP_STACK.0.get().expose_provenance() as u64 + TRAP_STACK_SIZE as u64;
    // Interrupt stack 1 is at byte 36.
    TASK[9].store((top & 0xffff_ffff) as u32, Ordering::Relaxed);
    TASK[10].store((top >> 32) as u32, Ordering::Relaxed);
    // The port map begins behind the end: ring 3 has no port.
    TASK[25].store(104 << 16, Ordering::Relaxed);
    let stubs = (&raw const hostile_stubs).expose_provenance() as u64;
    for (vector, gate) in IDT.chunks_exact(2).enumerate() {
        let (low, high) = interrupt_gate(stubs + 16 * vector as u64, vector as u64 == BP);
        gate[0].store(low, Ordering::Relaxed);
        gate[1].store(high, Ordering::Relaxed);
    }
    load_tables();
}

/// An available 64-bit task state segment of 104 bytes.
fn task_descriptor(base: u64) -> (u64, u64) {
    let low = 103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    (low, base >> 32)
}

/// An interrupt gate on interrupt stack 1; from ring 3 too if `user`.
fn interrupt_gate(target: u64, user: bool) -> (u64, u64) {
    let access: u64 = if user { 0xee } else { 0x8e };
    let low = (target & 0xffff) | u64::from(KERNEL_CS) << 16 | 1 << 32 | access << 40 | (target >> 16 & 0xffff) << 48;
    (low, target >> 32)
}

fn load_tables() {
    let gdt = pointer(GDT.as_ptr().expose_provenance(), size_of_val(&GDT));
    let idt = pointer(IDT.as_ptr().expose_provenance(), size_of_val(&IDT));
    // SAFETY: the tables are static and filled; the selectors in use mean the same in them.
    unsafe {
        asm!("lgdt [{}]", in(reg) &gdt, options(readonly, nostack, preserves_flags));
        asm!("lidt [{}]", in(reg) &idt, options(readonly, nostack, preserves_flags));
        asm!("ltr {0:x}", in(reg) TSS, options(nostack, preserves_flags));
    }
}

/// Limit and base, as LGDT and LIDT read them.
#[allow(clippy::cast_possible_truncation, reason = "masked to sixteen bits")]
fn pointer(base: usize, len: usize) -> [u16; 5] {
    let word = |shift: u32| (base >> shift & 0xffff) as u16;
    [((len - 1) & 0xffff) as u16, word(0), word(16), word(32), word(48)]
}

/// An exception, or the grant that came in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub(crate) rip: u64,
    /// CR2; means something for a page fault.
    pub(crate) address: u64,
    /// RAX when it happened.
    pub(crate) rax: u64,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vector, error, rip, address, .. } = self;
        write!(f, "exception {vector} (error code {error:#x}, CR2 {address:#x}) at {rip:#x}")
    }
}

/// What the last trap was.
pub(crate) fn last_trap() -> Trap {
    let field = |offset: usize| STATE[offset / 8].load(Ordering::Relaxed);
    Trap { vector: field(VECTOR), error: field(ERROR), rip: field(RIP), address: field(CR2), rax: field(RAX) }
}

/// Registers that an operation takes and gives; which is which stands at the operation.
type Registers = [u64; 16];
type Operation = unsafe extern "C" fn(*mut Registers);

/// Runs an operation; a trap ends it.
fn attempt(operation: Operation, registers: &mut Registers) -> Result<(), Trap> {
    // SAFETY: every operation of this module keeps to the calling convention, as does the way back from a trap.
    let trapped = unsafe { enter(operation, registers) };
    if trapped == 0 { Ok(()) } else { Err(last_trap()) }
}

#[unsafe(naked)]
unsafe extern "C" fn enter(operation: Operation, registers: *mut Registers) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rip + {state} + {recovery}], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "xor eax, eax",
        "jmp {leave}",
        state = sym STATE,
        recovery = const RECOVERY,
        leave = sym leave,
    )
}

/// The end of [`enter`], on its stack.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "mov qword ptr [rip + {state} + {recovery}], 0",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        state = sym STATE,
        recovery = const RECOVERY,
    )
}

/// Defines operations from their instructions; RDI points to the registers.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $($line:literal),+ $(, with $($key:ident = $value:expr),+)?;)*) => {
        $($(#[$doc])* #[unsafe(naked)]
        unsafe extern "C" fn $name(_: *mut Registers) {
            naked_asm!($($line,)+ $($($key = const $value,)+)?)
        })*
    };
}

operations! {
    op_rdmsr = "mov ecx, [rdi]", "rdmsr", "mov [rdi + 8], eax", "mov [rdi + 12], edx", "ret";
    op_wrmsr = "mov ecx, [rdi]", "mov eax, [rdi + 8]", "mov edx, [rdi + 12]", "wrmsr", "ret";
    /// 0 RCX, 1 RDX, 2 R8, 4 to 15 XMM0 to XMM5; out: 3 RAX.
    op_vmmcall =
        "mov rcx, [rdi]", "mov rdx, [rdi + 8]", "mov r8, [rdi + 16]",
        "movups xmm0, [rdi + 32]", "movups xmm1, [rdi + 48]", "movups xmm2, [rdi + 64]",
        "movups xmm3, [rdi + 80]", "movups xmm4, [rdi + 96]", "movups xmm5, [rdi + 112]",
        ".byte 0x0f, 0x01, 0xd9",
        "mov [rdi + 24], rax", "ret";
    /// 0 port, 1 value.
    op_out_8 = "mov edx, [rdi]", "mov eax, [rdi + 8]", "out dx, al", "ret";
    op_out_16 = "mov edx, [rdi]", "mov eax, [rdi + 8]", "out dx, ax", "ret";
    op_out_32 = "mov edx, [rdi]", "mov eax, [rdi + 8]", "out dx, eax", "ret";
    /// 0 port; out: 1 value.
    op_in_8 = "mov edx, [rdi]", "xor eax, eax", "in al, dx", "mov [rdi + 8], rax", "ret";
    op_in_16 = "mov edx, [rdi]", "xor eax, eax", "in ax, dx", "mov [rdi + 8], rax", "ret";
    op_in_32 = "mov edx, [rdi]", "xor eax, eax", "in eax, dx", "mov [rdi + 8], rax", "ret";
    /// 0 port, 1 address, 2 count.
    op_outs = "mov edx, [rdi]", "mov rsi, [rdi + 8]", "mov rcx, [rdi + 16]", "rep outsb", "ret";
    op_ins = "mov edx, [rdi]", "mov rcx, [rdi + 16]", "mov rdi, [rdi + 8]", "rep insb", "ret";
    /// 0 address, 1 value.
    op_store = "mov rax, [rdi]", "mov rcx, [rdi + 8]", "mov [rax], rcx", "ret";
    op_load = "mov rax, [rdi]", "mov rcx, [rax]", "mov [rdi + 8], rcx", "ret";
    /// 0 address.
    op_call = "mov rax, [rdi]", "call rax", "ret";
    /// 0 EAX, 1 ECX; out: EAX, EBX, ECX, EDX.
    op_cpuid =
        "push rbx", "mov eax, [rdi]", "mov ecx, [rdi + 8]", "cpuid",
        "mov [rdi], rax", "mov [rdi + 8], rbx", "mov [rdi + 16], rcx", "mov [rdi + 24], rdx", "pop rbx", "ret";
    op_write_cr0 = "mov rax, [rdi]", "mov cr0, rax", "ret";
    op_write_cr3 = "mov rax, [rdi]", "mov cr3, rax", "ret";
    op_write_cr4 = "mov rax, [rdi]", "mov cr4, rax", "ret";
    op_read_cr0 = "mov rax, cr0", "mov [rdi], rax", "ret";
    op_read_cr4 = "mov rax, cr4", "mov [rdi], rax", "ret";
    /// 0 DR0, 1 DR3, 2 DR7; reads them back. A debug exception is the way out if a breakpoint is hit.
    op_breakpoints =
        "mov rax, [rdi]", "mov dr0, rax", "mov rax, [rdi + 8]", "mov dr3, rax", "mov rax, [rdi + 16]", "mov dr7, rax",
        "mov edx, {port}", "in al, dx",
        ".globl hostile_behind_exit", "hostile_behind_exit:",
        "mov rax, dr0", "mov [rdi], rax", "mov rax, dr3", "mov [rdi + 8], rax", "mov rax, dr7", "mov [rdi + 16], rax",
        "ret", with port = ABSENT_PORT;
    /// An exit with a direction flag, a task flag and an alignment flag; out: 0 the flags behind it.
    op_flags =
        "pushfq", "pushfq", "or qword ptr [rsp], {flags}", "popfq", "mov edx, {port}", "in al, dx",
        "pushfq", "pop rax", "mov [rdi], rax", "popfq", "ret", with port = ABSENT_PORT, flags = ODD_FLAGS;
    /// An exit with a pending x87 exception, every SSE exception unmasked and XMM15 full; 0 MXCSR, 2 and 3 XMM15; out: the same
    /// behind it, and 4 the x87 status.
    op_vectors =
        "fninit", "push 0x340", "fldcw [rsp]", "pop rax", "fld1", "fldz", "fdivp",
        "ldmxcsr [rdi]", "movups xmm15, [rdi + 16]", "mov edx, {port}", "in al, dx",
        "mov dword ptr [rdi], 0", "stmxcsr [rdi]", "movups [rdi + 16], xmm15", "fnstsw ax", "movzx eax, ax",
        "mov [rdi + 32], rax", "fnclex", "fninit", "push 0x1f80", "ldmxcsr [rsp]", "pop rax", "ret",
        with port = ABSENT_PORT;
    op_hlt = "hlt", "ret";
    op_sti_hlt = "sti", "hlt", "ret";
    op_spin = "2:", "pause", "jmp 2b";
    op_ud2 = "ud2", "ret";
    op_vmcall = ".byte 0x0f, 0x01, 0xc1", "ret";
    op_vmrun = "mov rax, [rdi]", ".byte 0x0f, 0x01, 0xd8", "ret";
    op_vmload = "mov rax, [rdi]", ".byte 0x0f, 0x01, 0xda", "ret";
    op_vmsave = "mov rax, [rdi]", ".byte 0x0f, 0x01, 0xdb", "ret";
    op_stgi = ".byte 0x0f, 0x01, 0xdc", "ret";
    op_clgi = ".byte 0x0f, 0x01, 0xdd", "ret";
    op_skinit = "xor eax, eax", ".byte 0x0f, 0x01, 0xde", "ret";
    op_invlpga = "mov rax, [rdi]", "xor ecx, ecx", ".byte 0x0f, 0x01, 0xdf", "ret";
    op_invd = "invd", "ret";
    op_wbinvd = "wbinvd", "ret";
    op_rdpmc = "xor ecx, ecx", "rdpmc", "ret";
    op_monitor = "mov rax, [rdi]", "xor ecx, ecx", "xor edx, edx", "monitor", "ret";
    op_mwait = "xor eax, eax", "xor ecx, ecx", "mwait", "ret";
    op_xsetbv = "xor ecx, ecx", "xor edx, edx", "mov eax, 7", "xsetbv", "ret";
    op_syscall = "syscall", "ret";
    /// With an interrupt table where nothing is mapped, the first exception becomes a triple fault.
    op_no_table =
        "mov rax, 0x100000000000", "push rax", "push 0", "mov word ptr [rsp + 6], 0xfff", "lidt [rsp + 6]", "add rsp, 16", "ret";
    op_triple_fault =
        "mov rax, 0x100000000000", "push rax", "push 0", "mov word ptr [rsp + 6], 0xfff", "lidt [rsp + 6]", "int3";
    /// Into ring 3: 0 RIP, 1 RSP, 2 RFLAGS, 3 RAX, 4 RDI, 5 RSI, 6 RDX, 7 R10, 8 R8, 9 R9. Only a trap leads back.
    op_user =
        "push {ss}", "push [rdi + 8]", "push [rdi + 16]", "push {cs}", "push [rdi]",
        "mov rax, [rdi + 24]", "mov rsi, [rdi + 40]", "mov rdx, [rdi + 48]", "mov r10, [rdi + 56]",
        "mov r8, [rdi + 64]", "mov r9, [rdi + 72]", "mov rdi, [rdi + 32]", "iretq", with ss = USER_SS, cs = USER_CS;
    /// 0 address of a far pointer, m16:32.
    op_far_jump = "mov rax, [rdi]", ".byte 0xff, 0x28";
}

/// RDMSR.
pub(crate) fn read_msr(msr: u32) -> Result<u64, Trap> {
    let mut registers = [0; 16];
    registers[0] = u64::from(msr);
    attempt(op_rdmsr, &mut registers).map(|()| registers[1])
}

/// WRMSR.
pub(crate) fn write_msr(msr: u32, value: u64) -> Result<(), Trap> {
    let mut registers = [0; 16];
    registers[0] = u64::from(msr);
    registers[1] = value;
    attempt(op_wrmsr, &mut registers)
}

/// A hypercall by VMMCALL: RAX.
pub(crate) fn hypercall(control: u64, input: u64, output: u64, xmm: u64) -> Result<u64, Trap> {
    let mut registers = [xmm; 16];
    registers[..3].copy_from_slice(&[control, input, output]);
    attempt(op_vmmcall, &mut registers).map(|()| registers[3])
}

/// Width of a port access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Word,
    Double,
}

impl Width {
    /// What an access reads where nothing answers.
    pub(crate) const fn all_ones(self) -> u64 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Double => 0xffff_ffff,
        }
    }
}

/// OUT.
pub(crate) fn port_write(port: u16, width: Width, value: u32) -> Result<(), Trap> {
    let operation = match width {
        Width::Byte => op_out_8,
        Width::Word => op_out_16,
        Width::Double => op_out_32,
    };
    let mut registers = [0; 16];
    registers[0] = u64::from(port);
    registers[1] = u64::from(value);
    attempt(operation, &mut registers)
}

/// IN.
pub(crate) fn port_read(port: u16, width: Width) -> Result<u64, Trap> {
    let operation = match width {
        Width::Byte => op_in_8,
        Width::Word => op_in_16,
        Width::Double => op_in_32,
    };
    let mut registers = [0; 16];
    registers[0] = u64::from(port);
    attempt(operation, &mut registers).map(|()| registers[1])
}

/// REP OUTSB or REP INSB. `address` is that of bytes that no object of Rust has.
pub(crate) fn port_string(port: u16, write: bool, address: u64, count: u64) -> Result<(), Trap> {
    let mut registers = [0; 16];
    registers[..3].copy_from_slice(&[u64::from(port), address, count]);
    attempt(if write { op_outs } else { op_ins }, &mut registers)
}

/// CPUID: EAX, EBX, ECX, EDX.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let mut registers = [0; 16];
    registers[0] = u64::from(leaf);
    registers[1] = u64::from(subleaf);
    match attempt(op_cpuid, &mut registers) {
        Ok(()) => [0, 1, 2, 3].map(|index| (registers[index] & 0xffff_ffff) as u32),
        Err(trap) => panic!("CPUID: {trap}"),
    }
}

/// Stores to a virtual address that is no object of Rust's.
pub(crate) fn store(address: u64, value: u64) -> Result<(), Trap> {
    let mut registers = [0; 16];
    registers[..2].copy_from_slice(&[address, value]);
    attempt(op_store, &mut registers)
}

/// Loads from any virtual address.
pub(crate) fn load(address: u64) -> Result<u64, Trap> {
    let mut registers = [0; 16];
    registers[0] = address;
    attempt(op_load, &mut registers).map(|()| registers[1])
}

/// Calls a virtual address.
pub(crate) fn call(address: u64) -> Result<(), Trap> {
    let mut registers = [0; 16];
    registers[0] = address;
    attempt(op_call, &mut registers)
}

/// A control register that is written as a case wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Cr0,
    Cr3,
    Cr4,
}

/// MOV to a control register. The image stays mapped, or the sandbox is over.
pub(crate) fn write_control(register: Control, value: u64) -> Result<(), Trap> {
    let operation = match register {
        Control::Cr0 => op_write_cr0,
        Control::Cr3 => op_write_cr3,
        Control::Cr4 => op_write_cr4,
    };
    let mut registers = [0; 16];
    registers[0] = value;
    attempt(operation, &mut registers)
}

/// CR0 or CR4.
pub(crate) fn read_control(register: Control) -> u64 {
    let operation = if register == Control::Cr4 { op_read_cr4 } else { op_read_cr0 };
    let mut registers = [0; 16];
    match attempt(operation, &mut registers) {
        Ok(()) => registers[0],
        Err(trap) => panic!("reading {register:?}: {trap}"),
    }
}

/// An instruction, or a few, that a child has no use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Hlt,
    StiHlt,
    Spin,
    Ud2,
    Vmcall,
    Vmrun,
    Vmload,
    Vmsave,
    Stgi,
    Clgi,
    Skinit,
    Invlpga,
    Invd,
    Wbinvd,
    Rdpmc,
    Monitor,
    Mwait,
    Xsetbv,
    TripleFault,
    /// SYSCALL, in ring 0.
    Syscall,
    /// LIDT of a table that is not there.
    NoInterruptTable,
    /// A far jump; the argument is the virtual address of the far pointer.
    FarJump,
}

/// Runs it, with an argument for those that take one.
pub(crate) fn odd(instruction: Odd, argument: u64) -> Result<(), Trap> {
    let operation = match instruction {
        Odd::Hlt => op_hlt,
        Odd::StiHlt => op_sti_hlt,
        Odd::Spin => op_spin,
        Odd::Ud2 => op_ud2,
        Odd::Vmcall => op_vmcall,
        Odd::Vmrun => op_vmrun,
        Odd::Vmload => op_vmload,
        Odd::Vmsave => op_vmsave,
        Odd::Stgi => op_stgi,
        Odd::Clgi => op_clgi,
        Odd::Skinit => op_skinit,
        Odd::Invlpga => op_invlpga,
        Odd::Invd => op_invd,
        Odd::Wbinvd => op_wbinvd,
        Odd::Rdpmc => op_rdpmc,
        Odd::Monitor => op_monitor,
        Odd::Mwait => op_mwait,
        Odd::Xsetbv => op_xsetbv,
        Odd::TripleFault => op_triple_fault,
        Odd::Syscall => op_syscall,
        Odd::NoInterruptTable => op_no_table,
        Odd::FarJump => op_far_jump,
    };
    let mut registers = [0; 16];
    registers[0] = argument;
    attempt(operation, &mut registers)
}

/// The first instruction behind the exit of [`breakpoints`].
pub(crate) fn breakpoint_target() -> u64 {
    (&raw const hostile_behind_exit).expose_provenance() as u64
}

/// Sets breakpoints (DR0, DR3, DR7), has an exit, and gives what the registers hold behind it. They are clear afterwards.
pub(crate) fn breakpoints(values: [u64; 3]) -> Result<[u64; 3], Trap> {
    let mut registers = [0; 16];
    registers[..3].copy_from_slice(&values);
    let result = attempt(op_breakpoints, &mut registers).map(|()| [registers[0], registers[1], registers[2]]);
    let mut clear = [0; 16];
    attempt(op_breakpoints, &mut clear)?;
    result
}

/// RFLAGS behind an exit with [`ODD_FLAGS`].
pub(crate) fn odd_flags() -> Result<u64, Trap> {
    let mut registers = [0; 16];
    attempt(op_flags, &mut registers).map(|()| registers[0])
}

/// MXCSR, XMM15 and the x87 status behind an exit with a pending exception and these values in the first two.
pub(crate) fn vectors(mxcsr: u32, xmm: [u64; 2]) -> Result<(u64, [u64; 2], u64), Trap> {
    let mut registers = [0; 16];
    registers[0] = u64::from(mxcsr);
    registers[2..4].copy_from_slice(&xmm);
    attempt(op_vectors, &mut registers).map(|()| (registers[0], [registers[2], registers[3]], registers[4]))
}

/// Registers that ring 3 starts with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct User {
    pub(crate) rip: u64,
    pub(crate) rsp: u64,
    pub(crate) rflags: u64,
    pub(crate) rax: u64,
    /// RDI, RSI, RDX, R10, R8, R9.
    pub(crate) arguments: [u64; 6],
}

/// Runs ring 3 until it traps or the root grants it a system call.
pub(crate) fn run_user(user: &User) -> Trap {
    let mut registers = [0; 16];
    registers[..4].copy_from_slice(&[user.rip, user.rsp, user.rflags, user.rax]);
    registers[4..10].copy_from_slice(&user.arguments);
    match attempt(op_user, &mut registers) {
        Err(trap) => trap,
        Ok(()) => panic!("ring 3 came back without a trap"),
    }
}
