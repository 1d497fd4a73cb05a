//! The root's free memory, counted in frames of 4 KiB: one bit a frame.
//!
//! Single frames (deposits, the root's own) come from the top, runs from the bottom, so that runs stay to be had.
//! Neither allocating nor freeing needs memory of its own: the heap grows from here.
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Frames a word of the map.
const WORD: usize = 64;

/// A free-list by bit map over one span of frame numbers.
#[derive(Debug)]
pub struct Frames {
    /// Frame number of bit 0.
    base: u64,
    /// Bit set: in use, or not there at all.
    used: Vec<u64>,
    /// Bit set: in use by the hypervisor.
    given: Vec<u64>,
    free: usize,
    /// No word below this index has a whole free run of [`Frames::RUN`].
    run_hint: usize,
    /// No word above this index has a free frame.
    single_hint: usize,
}

/// Frames were given back that had not been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllocated;

impl Frames {
    /// Length of the runs that [`Frames::allocate_run`] gives, in frames; they are aligned to it.
    pub const RUN: u64 = 16;

    /// Nothing free yet, over the frames of `span`.
    #[must_use]
    pub fn new(span: Range<u64>) -> Self {
        let base = span.start - span.start % 64;
        let count = usize::try_from(span.end.saturating_sub(base)).unwrap_or(0);
        let words = count.div_ceil(WORD);
        Self { base, used: vec![u64::MAX; words], given: vec![0; words], free: 0, run_hint: words, single_hint: 0 }
    }

    /// Bytes that the maps of such a span need.
    #[must_use]
    pub fn map_bytes(span: &Range<u64>) -> u64 {
        (span.end.saturating_sub(span.start) / 64 + 2) * 16
    }

    /// Frames that are free.
    #[must_use]
    pub fn free_count(&self) -> u64 {
        u64::try_from(self.free).unwrap_or(u64::MAX)
    }

    /// Makes the frames of `range` free that are within the span and are not free already.
    pub fn add(&mut self, range: Range<u64>) {
        let mut frame = range.start;
        while frame < range.end {
            let whole_word = (frame - self.base.min(frame)).is_multiple_of(64) && range.end - frame >= 64;
            match self.locate(frame) {
                Some((word, 1)) if whole_word && self.used[word] == u64::MAX => {
                    self.used[word] = 0;
                    self.free += WORD;
                    self.run_hint = self.run_hint.min(word);
                    self.single_hint = self.single_hint.max(word);
                    frame += 64;
                }
                _ => {
                    let _already_free = self.free_one(frame);
                    frame += 1;
                }
            }
        }
    }

    /// Takes `range` out of what is free.
    pub fn reserve(&mut self, range: Range<u64>) {
        for frame in range {
            if let Some((word, bit)) = self.locate(frame)
                && self.used[word] & bit == 0
            {
                self.used[word] |= bit;
                self.free -= 1;
            }
        }
    }

    /// One frame.
    pub fn allocate(&mut self) -> Option<u64> {
        let word =
            (0..=self.single_hint.min(self.used.len().checked_sub(1)?)).rev().find(|&w| self.used[w] != u64::MAX)?;
        self.single_hint = word;
        let bit = u64::from(63 - (!self.used[word]).leading_zeros());
        self.used[word] |= 1 << bit;
        self.free -= 1;
        Some(self.frame_of(word, bit))
    }

    /// [`Frames::RUN`] frames, contiguous and aligned: the number of the first.
    pub fn allocate_run(&mut self) -> Option<u64> {
        let start = self.run_hint.min(self.used.len());
        for word in start..self.used.len() {
            if let Some(lane) = (0..4_u64).find(|lane| (self.used[word] >> (lane * 16)) & 0xffff == 0) {
                self.run_hint = word;
                self.used[word] |= 0xffff << (lane * 16);
                self.free -= 16;
                return Some(self.frame_of(word, lane * 16));
            }
        }
        self.run_hint = self.used.len();
        None
    }

    /// `count` frames, contiguous: the number of the first. Slower than the other two.
    pub fn allocate_contiguous(&mut self, count: u64) -> Option<u64> {
        let mut run = 0;
        for word in 0..self.used.len() {
            for bit in 0..64 {
                run = if self.used[word] & (1 << bit) == 0 { run + 1 } else { 0 };
                if run == count && count > 0 {
                    let first = self.frame_of(word, bit) + 1 - count;
                    self.reserve(first..first + count);
                    return Some(first);
                }
            }
        }
        None
    }

    /// Gives `count` frames from `first` on back.
    ///
    /// # Errors
    /// [`NotAllocated`] if one of them was free or never here; the others are free then.
    pub fn free(&mut self, first: u64, count: u64) -> Result<(), NotAllocated> {
        let mut result = Ok(());
        for frame in first..first.saturating_add(count) {
            result = result.and(self.free_one(frame));
        }
        result
    }

    /// Notes that an allocated frame is the hypervisor's now: it cannot be freed until it is taken back.
    ///
    /// # Errors
    /// [`NotAllocated`].
    pub fn give(&mut self, frame: u64) -> Result<(), NotAllocated> {
        let (word, bit) = self.locate(frame).ok_or(NotAllocated)?;
        if self.used[word] & bit == 0 || self.given[word] & bit != 0 {
            return Err(NotAllocated);
        }
        self.given[word] |= bit;
        Ok(())
    }

    /// Frees a frame that was given to the hypervisor.
    ///
    /// # Errors
    /// [`NotAllocated`] if it was not given.
    pub fn take_back(&mut self, frame: u64) -> Result<(), NotAllocated> {
        let (word, bit) = self.locate(frame).ok_or(NotAllocated)?;
        if self.given[word] & bit == 0 {
            return Err(NotAllocated);
        }
        self.given[word] &= !bit;
        self.free_one(frame)
    }

    fn free_one(&mut self, frame: u64) -> Result<(), NotAllocated> {
        let (word, bit) = self.locate(frame).ok_or(NotAllocated)?;
        if self.used[word] & bit == 0 || self.given[word] & bit != 0 {
            return Err(NotAllocated);
        }
        self.used[word] &= !bit;
        self.free += 1;
        self.run_hint = self.run_hint.min(word);
        self.single_hint = self.single_hint.max(word);
        Ok(())
    }

    fn locate(&self, frame: u64) -> Option<(usize, u64)> {
        let index = frame.checked_sub(self.base)?;
        let word = usize::try_from(index / 64).ok()?;
        (word < self.used.len()).then_some((word, 1 << (index % 64)))
    }

    fn frame_of(&self, word: usize, bit: u64) -> u64 {
        // A word index is below the span's length, which came from a u64.
        self.base + (word as u64) * 64 + bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        let mut frames = Frames::new(100..500);
        frames.add(100..500);
        frames
    }

    #[test]
    fn singles_and_runs_never_overlap() {
        let mut frames = frames();
        let mut seen = vec![false; 512];
        let mut take = |first: u64, count: u64| {
            for frame in first..first + count {
                assert!((100..500).contains(&frame));
                assert!(!core::mem::replace(&mut seen[usize::try_from(frame).unwrap()], true));
            }
        };
        for _ in 0..10 {
            take(frames.allocate().unwrap(), 1);
            let run = frames.allocate_run().unwrap();
            assert_eq!(run % 16, 0);
            take(run, 16);
        }
        take(frames.allocate_contiguous(37).unwrap(), 37);
        while let Some(frame) = frames.allocate() {
            take(frame, 1);
        }
        assert_eq!(frames.free_count(), 0);
        assert_eq!(seen.iter().filter(|taken| **taken).count(), 400);
    }

    #[test]
    fn what_comes_back_can_be_had_again() {
        let mut frames = frames();
        while frames.allocate_run().is_some() {}
        while frames.allocate().is_some() {}
        frames.free(160, 16).unwrap();
        assert_eq!(frames.allocate_run(), Some(160));
        assert_eq!(frames.allocate_run(), None);
        frames.free(161, 1).unwrap();
        assert_eq!(frames.allocate(), Some(161));
        assert_eq!(frames.allocate(), None);
    }

    #[test]
    fn nothing_comes_back_twice() {
        let mut frames = frames();
        assert_eq!(frames.free(200, 1), Err(NotAllocated));
        assert_eq!(frames.free(1 << 60, 1), Err(NotAllocated));
        assert_eq!(frames.free(0, 1), Err(NotAllocated));
        assert_eq!(frames.free_count(), 400);
        frames.reserve(150..160);
        frames.reserve(155..165);
        assert_eq!(frames.free_count(), 385);
        assert_eq!(frames.allocate_contiguous(1000), None);
        assert_eq!(frames.allocate_contiguous(0), None);
    }

    #[test]
    fn a_frame_that_was_given_comes_back_by_taking_only() {
        let mut frames = frames();
        let frame = frames.allocate().unwrap();
        assert_eq!(frames.take_back(frame), Err(NotAllocated));
        frames.give(frame).unwrap();
        assert_eq!(frames.give(frame), Err(NotAllocated));
        assert_eq!(frames.free(frame, 1), Err(NotAllocated));
        frames.take_back(frame).unwrap();
        assert_eq!(frames.take_back(frame), Err(NotAllocated));
        assert_eq!(frames.give(frame), Err(NotAllocated));
        assert_eq!(frames.free_count(), 400);
    }

    #[test]
    fn an_empty_span_has_nothing() {
        let mut frames = Frames::new(0..0);
        assert_eq!(frames.allocate(), None);
        assert_eq!(frames.allocate_run(), None);
    }
}
