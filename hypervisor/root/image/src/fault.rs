//! How the root ends when it cannot go on: an exception or a panic. One line or a few on COM2, and the machine ends.
use core::panic::PanicInfo;

use rt::exceptions::TrapFrame;

use crate::{apic, exit, uart_log};

/// Every exception and interrupt comes here (see [`rt::exceptions`]).
#[unsafe(no_mangle)]
extern "C" fn trap(frame: &mut TrapFrame) {
    if frame.vector >= apic::FIRST_INTERRUPT {
        apic::interrupt(frame.vector);
        return;
    }
    let cr2: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    uart_log::last_words(format_args!(
        "exception {} (error {:#x}) at {:#x}, cr2 {cr2:#x}\r\n{frame:#x?}",
        frame.vector, frame.error_code, frame.rip
    ));
    rt::stop(exit::PANIC)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    uart_log::last_words(format_args!("{info}"));
    rt::stop(exit::PANIC)
}
