//! The micro-hypervisor's image: entry, wiring, and the end.
//!
//! [`start`] takes the machine and hands it, piece by piece, to the crates that know what to do with it. From
//! `partition::Hypervisor::run` on nothing here runs again, unless something is broken: a panic and an
//! exception of the hypervisor itself both end the machine with [`partition::stop_code::HYPERVISOR`].
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod bench;
mod root;
mod start;
mod storage;

use core::alloc::{GlobalAlloc, Layout};
use core::fmt::Write;

use partition::stop_code;
use rt::exceptions::TrapFrame;
use rt::serial::{COM1, Uart};

/// Entered by the boot code; see `rt`.
#[unsafe(no_mangle)]
extern "C" fn boot_main(start_info: u64) -> ! {
    // SAFETY: this is the boot code's only call, `start_info` is what the loader left in EBX, and nothing of the
    // machine has been touched.
    unsafe { start::start(start_info) }
}

/// An exception in the hypervisor: there is no going on from one.
#[unsafe(no_mangle)]
extern "C" fn trap(frame: &mut TrapFrame) {
    // SAFETY: nothing else of the hypervisor runs from here on.
    let mut log = unsafe { Uart::assume(COM1) };
    let _ = writeln!(log, "cordon-hv: fatal exception {} error {:#x}", frame.vector, frame.error_code);
    let _ = writeln!(log, "cordon-hv: cr2 {:#x} {frame:#x?}", rt::exceptions::fault_address());
    rt::stop(stop_code::HYPERVISOR)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing else of the hypervisor runs from here on.
    let mut log = unsafe { Uart::assume(COM1) };
    let _ = writeln!(log, "cordon-hv: {info}");
    rt::stop(stop_code::HYPERVISOR)
}

/// The hypervisor has no heap. A crate that it shares with programs that have one (`bundle`) names the allocator, so there is
/// one, which has nothing to give.
struct NoHeap;

// SAFETY: a null pointer is a failure, which is always allowed; so there is never anything to free.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: NoHeap = NoHeap;
