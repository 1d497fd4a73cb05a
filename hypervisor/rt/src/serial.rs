//! A 16550 UART, written to by polling: the log of last resort of every image.

use core::fmt;

use crate::port;

/// First port of COM1: the hypervisor's log.
pub const COM1: u16 = 0x3f8;
/// First port of COM2: the log of a root partition or of a test kernel.
pub const COM2: u16 = 0x2f8;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Polls before a byte is given up: a dead UART must not hang the image. At some 100 ns to 1 µs a poll this
/// is far longer than the 16 bytes that a FIFO holds take at 115200 baud.
const MAX_POLLS: u32 = 100_000;

/// A UART at a fixed port.
#[derive(Debug)]
pub struct Uart {
    base: u16,
}

impl Uart {
    /// Sets the UART at `base` to 115200 baud, 8N1, FIFOs on, interrupts off.
    ///
    /// # Safety
    /// `base` to `base + 7` must belong to a 16550 (or to nothing at all), and no one else may drive it.
    #[must_use]
    pub unsafe fn new(base: u16) -> Self {
        let setup: [(u16, u8); 7] = [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, 0x80),
            (DATA, 1),
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, 0x03),
            (FIFO_CONTROL, 0x07),
            (MODEM_CONTROL, 0x03),
        ];
        for (register, value) in setup {
            // SAFETY: the caller gave us the UART.
            unsafe { port::write_u8(base + register, value) };
        }
        Self { base }
    }

    /// Takes over a UART that was set up before, as it is: for panic and fault handlers.
    ///
    /// # Safety
    /// As for [`Uart::new`], but that whoever drove it before is known never to do so again.
    #[must_use]
    pub unsafe fn assume(base: u16) -> Self {
        Self { base }
    }

    /// Sends one byte; drops it if the UART does not get ready.
    pub fn send(&mut self, byte: u8) {
        for _ in 0..MAX_POLLS {
            // SAFETY: the UART is ours (`new`).
            if unsafe { port::read_u8(self.base + LINE_STATUS) } & TRANSMITTER_EMPTY != 0 {
                // SAFETY: as above.
                unsafe { port::write_u8(self.base + DATA, byte) };
                return;
            }
        }
    }
}

impl fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.send(byte);
        }
        Ok(())
    }
}
