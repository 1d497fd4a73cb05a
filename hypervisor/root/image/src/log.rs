//! What the root says before, and when, it cannot talk to the host over the console: lines on COM2.
//!
//! Lines that are for the one who started the machine without a hypervisor go to COM1 too. A hypervisor keeps
//! COM1 to itself and drops them there.
use core::fmt::{self, Write};

use rt::serial::{COM1, COM2, Uart};
use spin::Mutex;

static COM2_UART: Mutex<Option<Uart>> = Mutex::new(None);

/// Sets COM2 up. Until then lines are lost.
pub(crate) fn init() {
    // SAFETY: COM2 is the root's, and this module is the only one that drives it.
    *COM2_UART.lock() = Some(unsafe { Uart::new(COM2) });
}

/// Writes a line to COM2.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    if let Some(uart) = COM2_UART.lock().as_mut() {
        let _ = writeln!(uart, "cordon-root: {text}\r");
    }
}

/// Writes a line to COM2 and COM1: the machine may have no hypervisor, and just one port.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    line(text);
    // SAFETY: no one in this image drives COM1; where a hypervisor does, it drops the accesses.
    let mut com1 = unsafe { Uart::new(COM1) };
    let _ = writeln!(com1, "cordon-root: {text}\r");
}

/// Writes a line to COM2 whoever held it: for the end of the image.
pub(crate) fn last_words(text: fmt::Arguments<'_>) {
    // SAFETY: the image ends here; whoever drove the port does not go on.
    let mut uart = unsafe { Uart::assume(COM2) };
    let _ = writeln!(uart, "\r\ncordon-root: {text}\r");
}
