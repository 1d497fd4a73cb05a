//! The end of a shim that cannot go on: its last words to the root.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};

use proto::layout::DIRECT_MAP_VA;
use proto::{MESSAGE_OFFSET, op};

use crate::machine;

/// GPA of the service pages, once they are known.
static SERVICE: AtomicU64 = AtomicU64::new(0);

/// Room for the text.
const TEXT: usize = 512;
/// Size of `fuse_in_header`.
const HEADER: usize = 40;

/// Where last words can be left.
pub(crate) fn set_service(gpa: u64) {
    SERVICE.store(gpa, Ordering::Relaxed);
}

/// A text of bounded length, without a heap.
struct Text {
    bytes: [u8; TEXT],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for &byte in text.as_bytes() {
            let Some(slot) = self.bytes.get_mut(self.len) else { break };
            *slot = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Leaves the words and gives up the processor for good.
pub(crate) fn fail(words: core::fmt::Arguments<'_>) -> ! {
    let service = SERVICE.load(Ordering::Relaxed);
    if service != 0 {
        let mut text = Text { bytes: [0; TEXT], len: 0 };
        let _ = text.write_fmt(words);
        leave(service, text.bytes.get(..text.len).unwrap_or(&[]));
    }
    // Without service pages: an illegal instruction in ring 0, which the root takes for what it is.
    loop {
        // SAFETY: does not return; the root never lets the processor go on behind it.
        unsafe { core::arch::asm!("ud2", options(nomem, nostack)) };
    }
}

fn leave(service: u64, text: &[u8]) {
    let len = (HEADER + text.len()).to_le_bytes();
    let mut message = [0; HEADER + TEXT];
    message[..4].copy_from_slice(&len[..4]);
    message[4..8].copy_from_slice(&op::SHIM_PANIC.to_le_bytes());
    message[HEADER..HEADER + text.len()].copy_from_slice(text);
    let base = core::ptr::with_exposed_provenance_mut::<u8>(machine::address(DIRECT_MAP_VA + service));
    // SAFETY: the service pages are mapped there for good. Whatever used them does not run any more.
    unsafe {
        base.write_bytes(0, MESSAGE_OFFSET);
        base.copy_from_nonoverlapping(len.as_ptr(), 4);
        base.add(MESSAGE_OFFSET).copy_from_nonoverlapping(message.as_ptr(), message.len());
    }
    machine::ring_doorbell();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"))
}
