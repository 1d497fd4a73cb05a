//! The frame allocator: a rising mark over memory that has never been touched, and a list of what came back.
//!
//! Memory beyond the mark costs nothing: the root backs it, zeroed, when it is first touched.

use crate::errno::Errno;
use crate::num::index;
use crate::platform::{PAGE, PAGE_SIZE, Platform};

/// Frames that the personality hands out, by guest physical address.
pub struct Frames {
    start: u64,
    next: u64,
    end: u64,
    free: u64,
    free_count: u64,
}

/// End of the list of free frames.
const NONE: u64 = 0;

impl Frames {
    /// All frames in [`start`, `end`), both page aligned; frame 0 is never one of them.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, next: start, end, free: NONE, free_count: 0 }
    }

    /// A zeroed frame; ENOMEM when the sandbox' memory is used up.
    pub fn take<P: Platform>(&mut self, platform: &mut P) -> Result<u64, Errno> {
        if self.free == NONE {
            return self.take_untouched();
        }
        let gpa = self.free;
        let frame = platform.frame_mut(gpa);
        self.free = first_word(frame);
        self.free_count -= 1;
        frame.fill(0);
        Ok(gpa)
    }

    fn take_untouched(&mut self) -> Result<u64, Errno> {
        if self.next >= self.end {
            return Err(Errno::ENOMEM);
        }
        let gpa = self.next;
        self.next += PAGE;
        Ok(gpa)
    }

    /// Takes a frame back.
    pub fn give<P: Platform>(&mut self, platform: &mut P, gpa: u64) {
        let frame = platform.frame_mut(gpa);
        frame[..8].copy_from_slice(&self.free.to_le_bytes());
        self.free = gpa;
        self.free_count += 1;
    }

    /// Bytes in frames that are in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.next - self.start - self.free_count * PAGE
    }

    /// Bytes that can still be had.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.end - self.next + self.free_count * PAGE
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.end - self.start
    }
}

fn first_word(frame: &[u8; PAGE_SIZE]) -> u64 {
    read_word(frame, 0)
}

/// Word `slot` (0 to 511; higher wraps) of a frame.
#[must_use]
pub fn read_word(frame: &[u8; PAGE_SIZE], slot: u64) -> u64 {
    let at = index(slot % 512) * 8;
    frame[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Changes word `slot` (0 to 511; higher wraps) of a frame.
pub fn write_word(frame: &mut [u8; PAGE_SIZE], slot: u64, value: u64) {
    let at = index(slot % 512) * 8;
    if let Some(bytes) = frame[at..].first_chunk_mut() {
        *bytes = value.to_le_bytes();
    }
}
