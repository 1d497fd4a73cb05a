//! The ways from ring 3 into the shim and back: one for system calls, one for each exception.
//!
//! Both build the same frame, [`UserRegs`], on the empty stack, save the program's x87 and SSE registers (this code is
//! compiled to use them) and call [`trap`]. The way back is IRET for both: SYSRET would fault with EFER.SCE clear.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use personality::kernel::Fault;
use personality::regs::SYSCALL_VECTOR;
use personality::task::{FPU_STATE, FpuState};
use personality::{Flow, Kernel, UserRegs};
use proto::layout::{SHIM_MAGIC, USER_CS, USER_SS};
use proto::{ALARM_VECTOR, PROTO_VERSION};

use crate::machine::Machine;
use crate::panic::fail;

/// Bytes of the stack. Below it lies a page that is never mapped once [`crate::boot`] is through.
const STACK: usize = 64 << 10;

global_asm!(
    ".pushsection .header, \"a\"",
    ".quad {magic}",
    ".long {version}, 0",
    ".popsection",

    ".pushsection .bss.stack, \"aw\", @nobits",
    ".balign 4096",
    ".globl shim_guard, shim_stack_top",
    "shim_guard: .skip 4096",
    ".skip {stack}",
    "shim_stack_top:",
    ".balign 16",
    "shim_user_rsp: .skip 16",
    ".popsection",

    // The program's x87 and SSE state while the shim runs; at first, the state that a program starts with.
    ".pushsection .data.fpu, \"aw\"",
    ".balign 16",
    "shim_fpu: .word {fcw}",
    ".skip 22",
    ".long {mxcsr}",
    ".skip 484",
    ".popsection",

    ".pushsection .text.entry, \"ax\"",
    ".globl shim_start",
    "shim_start:",
    "xor ebp, ebp",
    "cld",
    "call {boot}",
    "ud2",

    // System call: the gate has made a ring-0 entry of it as SYSCALL would. RSP is the program's, RCX its RIP,
    // R11 its RFLAGS; the program chose none of the selectors.
    ".balign 16",
    ".globl shim_system_call",
    "shim_system_call:",
    "mov [rip + shim_user_rsp], rsp",
    "lea rsp, [rip + shim_stack_top]",
    "push {user_ss}",
    "push [rip + shim_user_rsp]",
    "push r11",
    "push {user_cs}",
    "push rcx",
    "push 0",
    "push {system_call}",
    "jmp shim_common",

    // Exceptions: the processor has pushed SS, RSP, RFLAGS, CS, RIP and for some an error code.
    ".macro shim_stub vector",
    ".balign 16",
    ".if \\vector == 8 || (\\vector >= 10 && \\vector <= 14) || \\vector == 17 || \\vector == 21 || \\vector == 29 || \\vector == 30",
    ".else",
    "push 0",
    ".endif",
    "push \\vector",
    "jmp shim_common",
    ".endm",
    ".balign 16",
    "shim_stubs:",
    ".altmacro",
    ".set shim_vector, 0",
    ".rept 33",
    "shim_stub %shim_vector",
    ".set shim_vector, shim_vector + 1",
    ".endr",
    ".noaltmacro",

    ".balign 16",
    "shim_common:",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    "xor ebp, ebp",
    "mov rdi, rsp",
    // From ring 0 only a bug of ours comes here: what the program has in its registers is of no concern any more.
    "test byte ptr [rsp + 144], 3",
    "jz {fault_in_ring_0}",
    "fxsave64 [rip + shim_fpu]",
    "call {trap}",
    "fxrstor64 [rip + shim_fpu]",
    "shim_return:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rax",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "add rsp, 16",
    "iretq",

    // First entry to ring 3: RDI points to its registers.
    "shim_enter:",
    "fxrstor64 [rip + shim_fpu]",
    "mov rsp, rdi",
    "jmp shim_return",
    ".popsection",
    fcw = const FCW,
    mxcsr = const MXCSR,
    magic = const SHIM_MAGIC,
    version = const PROTO_VERSION,
    stack = const STACK,
    boot = sym crate::boot::boot,
    user_ss = const USER_SS,
    user_cs = const USER_CS,
    system_call = const SYSCALL_VECTOR,
    trap = sym trap,
    fault_in_ring_0 = sym fault_in_ring_0,
);

const _: () = assert!(core::mem::offset_of!(UserRegs, cs) == 144);
/// x87 control word at a program's start: all exceptions masked, 64-bit precision.
const FCW: u16 = 0x37f;
/// MXCSR at a program's start: all exceptions masked.
const MXCSR: u32 = 0x1f80;
/// Where MXCSR is in the FXSAVE area.
const MXCSR_AT: usize = 24;
/// Distance of the stubs.
const STUB: u64 = 16;

unsafe extern "C" {
    static shim_stubs: u8;
    static shim_guard: u8;
    static shim_stack_top: u8;
    static mut shim_fpu: FpuState;
    fn shim_enter(regs: *const UserRegs) -> !;
}

/// Addresses of the stubs, by vector: the exceptions, and the alarm.
pub(crate) fn stubs() -> impl Iterator<Item = u64> {
    let first = (&raw const shim_stubs).addr() as u64;
    (0..33).map(move |vector| first + vector * STUB)
}

/// Top of the stack.
pub(crate) fn stack_top() -> u64 {
    (&raw const shim_stack_top).addr() as u64
}

/// The page below the stack.
pub(crate) fn stack_guard() -> u64 {
    (&raw const shim_guard).addr() as u64
}

/// Gives ring 3 the x87 and SSE state of a program's start, from its next entry on.
pub(crate) fn reset_fpu() {
    let mut area = [0; FPU_STATE];
    area[..2].copy_from_slice(&FCW.to_le_bytes());
    area[MXCSR_AT..MXCSR_AT + 4].copy_from_slice(&MXCSR.to_le_bytes());
    // SAFETY: only the entry code uses the area, before and after what runs now.
    unsafe { (&raw mut shim_fpu).write(FpuState(area)) };
}

/// The x87 and SSE state of ring 3, as it will have it from its next entry on.
pub(crate) fn fpu() -> *mut FpuState {
    &raw mut shim_fpu
}

/// The personality, for the only processor.
struct Slot(UnsafeCell<Option<Kernel<Machine>>>);

// SAFETY: there is one processor, and [`with_kernel`] is not entered twice.
unsafe impl Sync for Slot {}

static KERNEL: Slot = Slot(UnsafeCell::new(None));

/// Enters ring 3 for the first time.
pub(crate) fn begin(kernel: Kernel<Machine>, regs: &UserRegs) -> ! {
    // SAFETY: at boot; ring 3, from which alone the other uses come, has not run yet.
    unsafe { *KERNEL.0.get() = Some(kernel) };
    // SAFETY: `regs` is a frame for ring 3, below which nothing on the stack is needed any more.
    unsafe { shim_enter(regs) }
}

/// An entry from ring 3. `regs` is the frame on the stack.
extern "C" fn trap(regs: &mut UserRegs) {
    // SAFETY: only entered from ring 3, by an interrupt gate or the gate's SYSCALL, both with interrupts off: never
    // while an earlier entry is under way.
    let Some(kernel) = (unsafe { (*KERNEL.0.get()).as_mut() }) else {
        fail(format_args!("entered from ring 3 before there is a program"))
    };
    let flow = if regs.vector == SYSCALL_VECTOR {
        kernel.system_call(regs)
    } else if regs.vector == u64::from(ALARM_VECTOR) {
        kernel.interrupt(regs)
    } else {
        let fault = Fault { vector: regs.vector, error_code: regs.error_code, address: fault_address() };
        kernel.fault(regs, fault)
    };
    if flow == Flow::Ended {
        fail(format_args!("running after the program's end"));
    }
}

/// A fault of the shim's own.
extern "C" fn fault_in_ring_0(regs: &UserRegs) -> ! {
    fail(format_args!(
        "exception {} (error code {:#x}, CR2 {:#x}) in the shim at RIP {:#x}, RSP {:#x}, RAX {:#x}, RDI {:#x}",
        regs.vector,
        regs.error_code,
        fault_address(),
        regs.rip,
        regs.rsp,
        regs.rax,
        regs.rdi
    ))
}

fn fault_address() -> u64 {
    let address;
    // SAFETY: reads CR2, in ring 0.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}
