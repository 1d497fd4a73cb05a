//! What the root says before, and when, it cannot talk to the host over the console: lines on COM2. They come by the
//! `log` crate, so that the libraries that the root is made of are heard too.
//!
//! Lines that are for the one who started the machine without a hypervisor go to COM1 too. A hypervisor keeps
//! COM1 to itself and drops them there.
use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use rt::serial::{COM1, COM2, Uart};
use spin::Mutex;

/// The logger; it has its port from [`init`] on.
struct Com2(Mutex<Option<Uart>>);

static LOGGER: Com2 = Com2(Mutex::new(None));

impl Log for Com2 {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(uart) = self.0.lock().as_mut().filter(|_| self.enabled(record.metadata())) {
            let _ = writeln!(uart, "cordon-root: {}\r", record.args());
        }
    }

    fn flush(&self) {}
}

/// Sets COM2 up. Until then lines are lost.
pub(crate) fn init() {
    // SAFETY: COM2 is the root's, and this module is the only one that drives it.
    *LOGGER.0.lock() = Some(unsafe { Uart::new(COM2) });
    // It fails only if there is a logger already, and this is the only one.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(LevelFilter::Info);
}

/// Writes a line to COM2 and COM1: the machine may have no hypervisor, and just one port.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    log::error!("{text}");
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
