//! What the freestanding guests share: an entry, system calls, printing. A guest is a Linux program that the tests run both
//! in a sandbox and on plain Linux, where it must say the same.
//!
//! Without a C library, a guest makes exactly the system calls that its source shows.
#![no_std]
#![allow(unsafe_code)]

pub mod measure;

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
// The memory functions that compiled code calls.
use rt as _;

/// `write`.
pub const WRITE: u64 = 1;
/// `getpid`.
pub const GETPID: u64 = 39;
/// `clock_gettime`.
pub const CLOCK_GETTIME: u64 = 228;
/// `exit_group`.
pub const EXIT_GROUP: u64 = 231;

global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call guest_start", "ud2",);

/// Makes a system call and returns what RAX holds after it.
///
/// # Safety
/// What the call does to this process must be sound: memory that it writes must be free to be written.
pub unsafe fn syscall(number: u64, args: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the instruction clobbers RCX and R11; the rest is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The program's arguments.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    next: *const *const u8,
}

impl Args {
    /// From the stack as the program found it: argc, then argv with a null at its end.
    ///
    /// # Safety
    /// `stack` is the initial stack pointer.
    pub unsafe fn new(stack: *const u64) -> Self {
        // SAFETY: argv begins one word above argc.
        let next = unsafe { stack.add(1) }.cast();
        Self { next }
    }
}

impl Iterator for Args {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        // SAFETY: `next` has not passed the null at the end of argv.
        let pointer = unsafe { *self.next };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: not at the end, so there is one more.
        self.next = unsafe { self.next.add(1) };
        let mut len = 0;
        // Volatile, or the compiler makes this loop a call of strlen, which is not there.
        // SAFETY: an argument ends in a NUL; `len` has not passed it.
        while unsafe { pointer.add(len).read_volatile() } != 0 {
            len += 1;
        }
        // SAFETY: these bytes stay as they are as long as the process lives.
        let bytes = unsafe { core::slice::from_raw_parts(pointer, len) };
        core::str::from_utf8(bytes).ok()
    }
}

/// Reads a number, decimal or with `0x`.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A file descriptor to print to.
#[derive(Clone, Copy, Debug)]
pub struct Fd(pub u32);

impl Write for Fd {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let args = [self.0.into(), rest.as_ptr().addr() as u64, rest.len() as u64, 0, 0, 0];
            // SAFETY: the kernel only reads the buffer.
            let wrote = usize::try_from(unsafe { syscall(WRITE, args) }).map_err(|_| fmt::Error)?;
            rest = rest.get(wrote..).ok_or(fmt::Error)?;
        }
        Ok(())
    }
}

/// Ends the process.
pub fn exit(status: u8) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { syscall(EXIT_GROUP, [status.into(), 0, 0, 0, 0, 0]) };
    }
}

/// Makes the function `run`, from arguments to exit status, the program.
#[macro_export]
macro_rules! guest {
    ($run:path) => {
        /// Called by `_start` with the initial stack pointer.
        #[unsafe(no_mangle)]
        extern "C" fn guest_start(stack: *const u64) -> ! {
            // SAFETY: `_start` passes the stack pointer that the kernel gave it.
            let args = unsafe { $crate::Args::new(stack) };
            $crate::exit($run(args))
        }
    };
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Fd(2), "{info}");
    exit(101)
}
