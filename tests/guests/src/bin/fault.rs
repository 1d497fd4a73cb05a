//! Does one forbidden or broken thing, named by the first argument, and should be ended by a signal for it.
//! If it lives on it says so and exits with 0.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::asm;
use core::fmt::Write;
use core::hint::black_box;
use guests::{Args, Fd, number};

guests::guest!(run);

fn run(mut args: Args) -> u8 {
    let kind = args.nth(1).unwrap_or("");
    let at = args.next().and_then(number).unwrap_or(0);
    // SAFETY: being ended for it is the purpose; nothing of this process is used afterwards.
    let known = unsafe { instruction(kind) || memory(kind, at) || control(kind, at) };
    if known {
        let _ = writeln!(Fd(1), "{kind}: nothing happened");
        0
    } else {
        let _ = writeln!(Fd(2), "usage: fault KIND [ADDRESS]");
        2
    }
}

/// Runs one instruction without operands in memory: `true` if there is one of this name.
///
/// # Safety
/// See [`run`].
unsafe fn instruction(kind: &str) -> bool {
    macro_rules! one {
        ($($text:literal),+) => {
            // SAFETY: the caller's promise; all registers that any of them writes are given up.
            unsafe { asm!($($text),+, out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _) }
        };
    }
    match kind {
        "ud2" => one!("ud2"),
        "hlt" => one!("hlt"),
        "cli" => one!("cli"),
        "sti" => one!("sti"),
        "in" => one!("mov dx, 0x60", "in al, dx"),
        "out" => one!("mov dx, 0x80", "out dx, al"),
        "debug-exit" => one!("mov dx, 0xf4", "mov al, 0x10", "out dx, al"),
        "doorbell" => one!("mov dx, 0xc0d0", "out dx, al"),
        "vmmcall" => one!("mov ecx, 0x46", "vmmcall"),
        "vmcall" => one!("mov ecx, 0x46", "vmcall"),
        "vmrun" => one!("xor eax, eax", "vmrun"),
        "vmsave" => one!("xor eax, eax", "vmsave"),
        "stgi" => one!("stgi"),
        "clgi" => one!("clgi"),
        "rdmsr" => one!("mov ecx, 0xc0000080", "rdmsr"),
        "wrmsr" => one!("mov ecx, 0x40000000", "xor eax, eax", "xor edx, edx", "wrmsr"),
        "read-cr0" => one!("mov rax, cr0"),
        "write-cr0" => one!("xor eax, eax", "mov cr0, rax"),
        "read-cr3" => one!("mov rax, cr3"),
        "write-cr3" => one!("xor eax, eax", "mov cr3, rax"),
        "write-dr7" => one!("xor eax, eax", "mov dr7, rax"),
        "swapgs" => one!("swapgs"),
        "sysret" => one!("xor ecx, ecx", "sysretq"),
        "sysenter" => one!("mov eax, 20", "sysenter"),
        "int80" => one!("mov eax, 20", "int 0x80"),
        "int3" => one!("int3"),
        "int-page-fault" => one!("int 14"),
        "invlpg" => one!("invlpg [rax]"),
        "invd" => one!("invd"),
        "wbinvd" => one!("wbinvd"),
        "clts" => one!("clts"),
        "lmsw" => one!("xor eax, eax", "lmsw ax"),
        "ltr" => one!("xor eax, eax", "ltr ax"),
        "xsetbv" => one!("xor ecx, ecx", "mov eax, 3", "xor edx, edx", "xsetbv"),
        "divide" => one!("xor ecx, ecx", "xor edx, edx", "mov eax, 1", "div ecx"),
        _ => return false,
    }
    true
}

/// Touches memory at `at` or where the name says: `true` if there is one of this name.
///
/// # Safety
/// See [`run`].
unsafe fn memory(kind: &str, at: u64) -> bool {
    let pointer = core::ptr::with_exposed_provenance_mut::<u8>(usize::try_from(at).unwrap_or(0));
    match kind {
        // SAFETY: the caller's promise.
        "read" => unsafe { asm!("mov al, [{}]", in(reg) pointer, out("al") _) },
        // SAFETY: the caller's promise.
        "write" => unsafe { asm!("mov byte ptr [{}], 1", in(reg) pointer) },
        "write-code" => {
            let code: fn(Args) -> u8 = run;
            // SAFETY: the caller's promise.
            unsafe { asm!("mov byte ptr [{}], 0xc3", in(reg) code as usize) }
        }
        _ => return false,
    }
    true
}

/// Sends the processor astray: `true` if there is a way of this name.
///
/// # Safety
/// See [`run`].
unsafe fn control(kind: &str, at: u64) -> bool {
    match kind {
        // SAFETY: the caller's promise.
        "jump" => unsafe { asm!("call {}", in(reg) at, clobber_abi("C")) },
        "run-stack" => {
            // A return instruction on the stack: harmless, were the stack executable.
            let code = black_box([0xc3u8; 16]);
            // SAFETY: the caller's promise.
            unsafe { asm!("call {}", in(reg) code.as_ptr(), clobber_abi("C")) }
        }
        "overflow" => {
            black_box(deeper(black_box(1)));
        }
        // SAFETY: the caller's promise.
        "bad-stack" => unsafe { asm!("mov rsp, 8", "push rax") },
        "loop" => loop {
            core::hint::spin_loop();
        },
        _ => return false,
    }
    true
}

/// Recurs without end, with a frame of some size.
#[allow(unconditional_recursion)]
fn deeper(level: u64) -> u64 {
    let frame = black_box([level; 64]);
    deeper(black_box(level + 1)).wrapping_add(black_box(frame)[0])
}
