//! Image.
#![no_std]
#![no_main]
#![allow(unsafe_code)]
use core::fmt::Write;
use rt::serial::{COM1, Uart};

#[unsafe(no_mangle)]
extern "C" fn boot_main(start_info: u64) -> ! {
    // SAFETY: ours.
    let mut uart = unsafe { Uart::new(COM1) };
    let r = rt::image_range();
    let _ = writeln!(uart, "hello, {start_info:#x} {r:x?}");
    unsafe { rt::exceptions::install(); core::arch::asm!("int3"); core::arch::asm!("mov rax, [{}]", in(reg) 0x7f8000000000u64, out("rax") _); }
    rt::stop(0x10)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    rt::stop(0x12)
}
#[unsafe(no_mangle)]
extern "C" fn trap(frame: &mut rt::exceptions::TrapFrame) {
    let mut uart = unsafe { Uart::assume(COM1) };
    let _ = writeln!(uart, "{frame:x?}");
    if frame.vector == 3 { return; }
    rt::stop(0x12)
}
