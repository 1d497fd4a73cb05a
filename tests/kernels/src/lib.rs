//! What the test kernels share. A test kernel is a tiny image that the hypervisor boots in the root partition's place, to
//! look at one behaviour; it says what it saw on COM2 and ends the machine.
//!
//! A kernel is one file in `src/bin`:
//! ```ignore
//! //! What is looked at, in one line.
//! #![no_std]
//! #![no_main]
//!
//! use kernels::{Kernel, ensure_eq};
//!
//! kernels::kernel!(run);
//!
//! fn run(kernel: &mut Kernel) {
//!     kernel.case("arithmetic", |_| {
//!         ensure_eq!(1 + 1, 2, "one and one");
//!         Ok(())
//!     });
//! }
//! ```
//! Each case gives a line on COM2, `ok NAME` or `FAIL NAME: why`; the last line is `PASS` or `FAIL: ` and a number.
//! Run one with `cargo xtask kernel NAME`.
//!
//! * [`cpu`]: instructions that may fault, and what became of them.
//! * [`memory`]: free pages of the machine.
//! * [`parent`]: hypercalls, typed and raw.
//! * [`child`]: a child partition with one processor and a little memory.
//! * [`timer`]: the local APIC's timer.
#![no_std]
#![allow(unsafe_code)]

pub extern crate alloc;

pub mod child;
pub mod cpu;
mod heap;
pub mod memory;
pub mod parent;
pub mod timer;
mod trap;

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};
use core::panic::PanicInfo;

use hvclient::{CallError, PartialCall};
use rt::serial::{COM2, Uart};

pub use memory::Memory;
pub use trap::interrupts;

/// Written to the debug-exit port by a kernel that passed.
pub const PASSED: u8 = 0x10;
/// Written by one that failed.
pub const FAILED: u8 = 0x11;

/// Why a case failed.
#[derive(Debug)]
pub struct Failure(pub String);

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self(format!("{error}"))
    }
}

impl From<PartialCall> for Failure {
    fn from(error: PartialCall) -> Self {
        Self(format!("{} after {} repetitions", error.error, error.done))
    }
}

/// What a case comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Fails the case with a formatted text unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::Failure($crate::alloc::format!($($text)+)));
        }
    };
}

/// Fails the case unless both values are equal; the text says what the first one is.
#[macro_export]
macro_rules! ensure_eq {
    ($seen:expr, $wanted:expr, $($text:tt)+) => {
        match (&$seen, &$wanted) {
            (seen, wanted) => if *seen != *wanted {
                let what = $crate::alloc::format!($($text)+);
                return Err($crate::Failure($crate::alloc::format!("{what}: {seen:x?}, not {wanted:x?}")));
            },
        }
    };
}

/// The running kernel.
#[derive(Debug)]
pub struct Kernel {
    log: Uart,
    /// Physical address of the PVH start info.
    pub start_info: u64,
    /// Free pages.
    pub memory: Memory,
    failed: u32,
}

impl Kernel {
    /// Writes a line.
    pub fn say(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.log, "{line}");
    }

    /// Runs one case and says how it went.
    pub fn case(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Outcome) {
        match run(self) {
            Ok(()) => self.say(format_args!("ok {name}")),
            Err(Failure(why)) => {
                self.failed += 1;
                self.say(format_args!("FAIL {name}: {why}"));
            }
        }
    }
}

/// Runs a kernel and ends the machine with what it found; called by [`kernel!`].
pub fn start(run: fn(&mut Kernel), start_info: u64) -> ! {
    // SAFETY: COM2 belongs to the image that runs in the root partition, and nothing else here drives it.
    let log = unsafe { Uart::new(COM2) };
    trap::install();
    timer::mask_legacy_interrupts();
    let memory = Memory::from_start_info(start_info);
    let mut kernel = Kernel { log, start_info, memory, failed: 0 };
    run(&mut kernel);
    match kernel.failed {
        0 => {
            kernel.say(format_args!("PASS"));
            rt::stop(PASSED)
        }
        failed => {
            kernel.say(format_args!("FAIL: {failed} cases"));
            rt::stop(FAILED)
        }
    }
}

/// Makes the function `run` (see [`start`]) the kernel's entry.
#[macro_export]
macro_rules! kernel {
    ($run:path) => {
        const _: () = {
            /// Entered by `rt` in 64-bit mode.
            #[unsafe(no_mangle)]
            extern "C" fn boot_main(start_info: u64) -> ! {
                $crate::start($run, start_info)
            }
        };
    };
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // SAFETY: the image runs on one processor, and what it did before never continues.
    let mut uart = unsafe { Uart::assume(COM2) };
    let _ = writeln!(uart, "FAIL: {info}");
    rt::stop(FAILED)
}
