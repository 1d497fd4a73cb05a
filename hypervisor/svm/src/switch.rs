//! The world switch.

use core::arch::naked_asm;
use core::mem::offset_of;

use engine::CoreRegs;

use crate::vp::{MXCSR_INITIAL, VpState};

/// Offset of a general register in [`VpState`].
const fn gpr(index: usize) -> usize {
    offset_of!(VpState, core) + offset_of!(CoreRegs, gprs) + index * size_of::<u64>()
}

/// Runs a guest until it exits. RAX, RSP, RIP and RFLAGS travel in the control block, the rest of the general
/// registers and the x87 and SSE state in `state`.
///
/// The guest's FS, GS, TR, LDTR and system call MSRs are loaded before and saved after; the host's are
/// loaded again from the `host` area at once, so that a fault of the hypervisor finds the hypervisor's stacks. x87 and
/// SSE registers keep the guest's values, but for MXCSR: saved, they are nobody's.
///
/// # Safety
/// GIF must be 0. `guest` and `host` are physical addresses of a control block and of an area that VMSAVE filled on this
/// processor. The guest must be confined by nested tables and permission maps that keep it out of the
/// hypervisor's memory. The FXSAVE area in `state` must be one that FXRSTOR accepts.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn world_switch(state: *mut VpState, guest: u64, host: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "push rdi",
        "fxrstor64 [rdi + {fx}]",
        "mov rax, rsi",
        "vmload rax",
        "mov rcx, [rdi + {rcx}]",
        "mov rdx, [rdi + {rdx}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rbp, [rdi + {rbp}]",
        "mov rsi, [rdi + {rsi}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r11, [rdi + {r11}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "vmrun rax",
        // RAX and RSP are the host's again; everything else is the guest's.
        "vmsave rax",
        "mov rax, [rsp]",
        "mov [rax + {rcx}], rcx",
        "mov [rax + {rdx}], rdx",
        "mov [rax + {rbx}], rbx",
        "mov [rax + {rbp}], rbp",
        "mov [rax + {rsi}], rsi",
        "mov [rax + {rdi}], rdi",
        "mov [rax + {r8}], r8",
        "mov [rax + {r9}], r9",
        "mov [rax + {r10}], r10",
        "mov [rax + {r11}], r11",
        "mov [rax + {r12}], r12",
        "mov [rax + {r13}], r13",
        "mov [rax + {r14}], r14",
        "mov [rax + {r15}], r15",
        "fxsave64 [rax + {fx}]",
        "pop rdi",
        "pop rax",
        "vmload rax",
        "push {mxcsr}",
        "ldmxcsr [rsp]",
        "pop rax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        fx = const offset_of!(VpState, fx),
        rcx = const gpr(1),
        rdx = const gpr(2),
        rbx = const gpr(3),
        rbp = const gpr(5),
        rsi = const gpr(6),
        rdi = const gpr(7),
        r8 = const gpr(8),
        r9 = const gpr(9),
        r10 = const gpr(10),
        r11 = const gpr(11),
        r12 = const gpr(12),
        r13 = const gpr(13),
        r14 = const gpr(14),
        r15 = const gpr(15),
        mxcsr = const MXCSR_INITIAL,
    )
}
