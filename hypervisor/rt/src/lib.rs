//! What an image needs to run on the bare machine: the memory functions that compiled code calls, the
//! way from the boot protocol into Rust, exception entry, and a UART to say something.
//!
//! The hypervisor, the root, the shim and the test kernels are built from this crate.
//!
//! # Using it in an image
//! `Cargo.toml` (the shim, which is not booted, takes `features = ["mem"]` and its own link arguments):
//! ```toml
//! [dependencies]
//! rt = { workspace = true, features = ["boot"] }   # + "exceptions"
//! [[bin]]
//! test = false
//! bench = false
//! ```
//! `build.rs`:
//! ```ignore
//! fn main() {
//!     let args = std::env::var("DEP_CORDON_RT_LINK_ARGS").expect("rt gives its link arguments");
//!     for arg in args.split(' ') {
//!         println!("cargo::rustc-link-arg-bins={arg}");
//!     }
//!     // 1 MiB for the hypervisor and for kernels that run without it, 16 MiB for a root.
//!     println!("cargo::rustc-link-arg-bins=-Wl,--defsym=IMAGE_BASE=0x1000000");
//! }
//! ```
//! `main.rs`:
//! ```ignore
//! #![no_std]
//! #![no_main]
//! use core::fmt::Write;
//! use rt::serial::{COM2, Uart};
//!
//! /// Entered in 64-bit mode on the boot stack, with `start_info` the physical address of the PVH structure.
//! #[unsafe(no_mangle)]
//! extern "C" fn boot_main(start_info: u64) -> ! {
//!     // SAFETY: COM2 is this image's own.
//!     let mut uart = unsafe { Uart::new(COM2) };
//!     let _ = writeln!(uart, "hello, {start_info:#x}");
//!     rt::stop(0x10)
//! }
//!
//! #[panic_handler]
//! fn panic(info: &core::panic::PanicInfo<'_>) -> ! { ... }
//! ```
//! # State on entry to `boot_main`
//! 64-bit mode, CPL 0, interrupts off, no IDT. The first 4 GiB are identity-mapped by 2 MiB pages, and
//! 4 to 512 GiB by 1 GiB pages if the processor has them; all writable and executable. SSE is on
//! (CR4.OSFXSR, OSXMMEXCPT), as are CR0.WP, CR4.PGE and EFER.NXE. The stack has [`BOOT_STACK_SIZE`] bytes.
//! `.bss` is zero because every ELF loader clears it. [`protect_image`] tightens the mapping.
#![no_std]
#![allow(unsafe_code)]

#[cfg(test)]
extern crate std;

#[cfg(all(feature = "boot", not(test)))]
mod boot;
#[cfg(all(feature = "exceptions", not(test)))]
pub mod exceptions;
#[cfg(any(feature = "mem", test))]
mod mem;
pub mod port;
pub mod serial;

#[cfg(all(feature = "boot", not(test)))]
pub use boot::{BOOT_STACK_SIZE, ImageRange, image_range, protect_image};

/// The port of the machine's debug exit device.
pub const DEBUG_EXIT_PORT: u16 = 0xf4;

/// Ends the machine: QEMU exits with `(code << 1) | 1`. Where there is no such device, the processor halts for good.
pub fn stop(code: u8) -> ! {
    // SAFETY: nothing else answers at this port; ending the machine is the point.
    unsafe { port::write_u8(DEBUG_EXIT_PORT, code) };
    halt()
}

/// Halts the processor with interrupts off, for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: stops the processor; nothing is read or written.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
