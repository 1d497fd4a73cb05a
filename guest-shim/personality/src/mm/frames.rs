//! The frame allocator: a rising mark over memory that has never been touched, and a list of what came back.
//!
//! Memory beyond the mark costs nothing: the root backs it, zeroed, when it is first touched.
//!
//! A frame may have several owners (spaces after a fork, a memory object and its mappings). Only owners beyond the first
//! are counted, in chunks that exist once a frame of theirs has had two: whoever never forks pays nothing for it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use proto::reached;

use super::object::Pages;
use super::window::Window;
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
    /// How many of those in use are page tables, and the most bytes that the others have come to.
    tables: u64,
    peak: u64,
    /// Owners beyond the first, by frame number from `start`.
    shares: Vec<Option<Box<[u32]>>>,
    bin: Bin,
    /// Pages that are no frames, but counted like them.
    pub window: Window,
}

/// Where destructors leave pages, which [`Frames`] takes back when it needs them.
pub type Bin = Rc<RefCell<Vec<Pages>>>;

/// Frames whose owners are counted by one chunk.
const CHUNK: u64 = 1024;

/// Bytes that the root backs together.
const BACKED_AT_ONCE: u64 = 64 << 10;

/// End of the list of free frames.
const NONE: u64 = 0;

impl Frames {
    /// All frames in [`start`, `end`), both page aligned; frame 0 is never one of them.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            next: start,
            end,
            free: NONE,
            free_count: 0,
            tables: 0,
            peak: 0,
            shares: Vec::new(),
            bin: Bin::default(),
            window: Window::default(),
        }
    }

    /// A zeroed frame; ENOMEM when the sandbox' memory is used up.
    pub fn take<P: Platform>(&mut self, platform: &mut P) -> Result<u64, Errno> {
        let untouched = self.next;
        let gpa = self.take_dirty(platform)?;
        // What nobody has touched is zeros.
        if gpa != untouched {
            platform.frame_mut(gpa).fill(0);
        }
        Ok(gpa)
    }

    /// A frame with anything in it, for who overwrites all of it; ENOMEM as [`Frames::take`].
    pub fn take_dirty<P: Platform>(&mut self, platform: &mut P) -> Result<u64, Errno> {
        let gpa = match self.free == NONE && !self.empty_bin(platform) {
            true => self.take_untouched(platform)?,
            false => self.take_used(platform),
        };
        self.peak = self.peak.max(self.programs());
        Ok(gpa)
    }

    /// A zeroed frame for a page table.
    pub fn take_table<P: Platform>(&mut self, platform: &mut P) -> Result<u64, Errno> {
        self.tables += 1;
        self.take(platform).inspect_err(|_| self.tables -= 1)
    }

    /// Gives up a frame of [`Frames::take_table`].
    pub fn give_table<P: Platform>(&mut self, platform: &mut P, gpa: u64) {
        self.tables -= 1;
        self.give(platform, gpa);
    }

    /// Where destructors leave pages.
    #[must_use]
    pub fn bin(&self) -> Bin {
        Rc::clone(&self.bin)
    }

    /// Takes back what destructors have left; is a frame free now?
    pub fn empty_bin<P: Platform>(&mut self, platform: &mut P) -> bool {
        if !self.bin.borrow().is_empty() {
            for pages in self.bin.take() {
                for page in pages.into_values() {
                    self.give(platform, page.frame);
                }
            }
        }
        self.free != NONE
    }

    /// The first frame of the list, which is not empty.
    fn take_used<P: Platform>(&mut self, platform: &P) -> u64 {
        let gpa = self.free;
        self.free = first_word(platform.frame(gpa));
        self.free_count -= 1;
        gpa
    }

    fn take_untouched<P: Platform>(&mut self, platform: &mut P) -> Result<u64, Errno> {
        let memory = platform.limits().memory;
        // What the shim's own data may still take is left to it.
        let limit = memory.saturating_sub(platform.spare_heap().total as u64);
        if self.next >= self.end || self.next - self.start >= limit - limit % BACKED_AT_ONCE {
            if memory != u64::MAX {
                platform.reached(reached::MEMORY);
            }
            return Err(Errno::ENOMEM);
        }
        let gpa = self.next;
        self.next += PAGE;
        Ok(gpa)
    }

    /// One owner more for a frame that is in use.
    ///
    /// # Errors
    /// ENOMEM when the count cannot be kept.
    pub fn share(&mut self, gpa: u64) -> Result<(), Errno> {
        if gpa >= self.end {
            self.window.hold(gpa);
            return Ok(());
        }
        let count = self.make_count(gpa).ok_or(Errno::ENOMEM)?;
        *count = count.checked_add(1).ok_or(Errno::ENOMEM)?;
        Ok(())
    }

    /// Is it a page of the window rather than a frame?
    #[must_use]
    pub fn is_lent(&self, gpa: u64) -> bool {
        gpa >= self.end
    }

    /// Has the frame more than one owner? Pages of the window have.
    #[must_use]
    pub fn is_shared(&self, gpa: u64) -> bool {
        if self.is_lent(gpa) {
            return true;
        }
        let (chunk, at) = self.place(gpa);
        self.shares.get(chunk).and_then(Option::as_ref).and_then(|chunk| chunk.get(at)).is_some_and(|&count| count > 0)
    }

    /// Chunk of the count of `gpa`, and where it is there.
    fn place(&self, gpa: u64) -> (usize, usize) {
        let number = gpa.wrapping_sub(self.start) / PAGE;
        (index(number / CHUNK), index(number % CHUNK))
    }

    /// The count of `gpa`, which need not exist yet.
    fn make_count(&mut self, gpa: u64) -> Option<&mut u32> {
        if gpa < self.start || gpa >= self.end {
            return None;
        }
        let (chunk, at) = self.place(gpa);
        if self.shares.len() <= chunk {
            let more = chunk + 1 - self.shares.len();
            self.shares.try_reserve(more).ok()?;
            self.shares.resize_with(chunk + 1, || None);
        }
        let slot = self.shares.get_mut(chunk)?;
        if slot.is_none() {
            let mut counts = Vec::new();
            counts.try_reserve_exact(index(CHUNK)).ok()?;
            counts.resize(index(CHUNK), 0);
            *slot = Some(counts.into_boxed_slice());
        }
        slot.as_mut()?.get_mut(at)
    }

    /// Takes one owner from a shared frame; `false`: there is only one.
    fn unshare(&mut self, gpa: u64) -> bool {
        let (chunk, at) = self.place(gpa);
        let count = self.shares.get_mut(chunk).and_then(Option::as_mut).and_then(|chunk| chunk.get_mut(at));
        match count {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// One owner of a frame gives it up; the last one's is free again.
    pub fn give<P: Platform>(&mut self, platform: &mut P, gpa: u64) {
        if self.is_lent(gpa) {
            self.window.release(gpa);
            return;
        }
        if self.unshare(gpa) {
            return;
        }
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

    /// Bytes in frames that hold what programs have: their pages, and what they wrote to pipes and shared memory.
    fn programs(&self) -> u64 {
        self.used().saturating_sub(self.tables * PAGE)
    }

    /// The most that [programs](Self::programs) have had at a time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Bytes that can still be had.
    #[must_use]
    pub fn available(&self) -> u64 {
        let left: usize = self.bin.borrow().iter().map(Pages::len).sum();
        self.end - self.next + (self.free_count + left as u64) * PAGE
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
