//! Address ranges, and where the hypervisor puts its own memory.

use tlfs::addr::PAGE_SIZE;

/// Below this, addresses fit 32 bits.
pub const FOUR_GIB: u64 = 1 << 32;

/// Physical addresses from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
}

impl Range {
    /// Of `len` bytes at `start`; an overlong one ends at the last address.
    #[must_use]
    pub const fn sized(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Whether both have a byte in common.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }

    /// Whether all of `other` lies in this.
    #[must_use]
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The whole pages in it.
    #[must_use]
    pub const fn shrink_to_pages(&self) -> Self {
        let start = match self.start.checked_next_multiple_of(PAGE_SIZE) {
            Some(start) => start,
            None => u64::MAX,
        };
        Self { start, end: self.end & !(PAGE_SIZE - 1) }
    }

    /// The pages that it touches.
    #[must_use]
    pub const fn grow_to_pages(&self) -> Self {
        let end = match self.end.checked_next_multiple_of(PAGE_SIZE) {
            Some(end) => end,
            None => u64::MAX,
        };
        Self { start: self.start & !(PAGE_SIZE - 1), end }
    }
}

/// Finds room for `len` bytes (a whole number of pages): as high as possible in the largest RAM range below 4 GiB, clear of
/// everything in `taken`. `None` if that range has no such room.
#[must_use]
pub fn private_memory(ram: &[Range], taken: &[Range], len: u64) -> Option<Range> {
    let below = ram.iter().map(|range| Range { end: range.end.min(FOUR_GIB), ..*range });
    let largest = below.max_by_key(Range::len)?.shrink_to_pages();
    let mut end = largest.end;
    loop {
        let candidate = Range { start: end.checked_sub(len)?, end };
        if candidate.start < largest.start {
            return None;
        }
        match taken.iter().find(|taken| taken.overlaps(&candidate)) {
            Some(taken) => end = taken.start & !(PAGE_SIZE - 1),
            None => return Some(candidate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const fn range(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    #[test]
    fn the_top_of_the_largest_range_is_taken() {
        let ram = [range(0, 0x9_f000), range(MIB, 256 * MIB), range(4096 * MIB, 9000 * MIB)];
        assert_eq!(private_memory(&ram, &[], 4 * MIB), Some(range(252 * MIB, 256 * MIB)));
    }

    #[test]
    fn what_is_taken_is_left_alone() {
        let ram = [range(MIB, 256 * MIB)];
        let bundle = range(250 * MIB + 5, 255 * MIB);
        let found = private_memory(&ram, &[bundle], 4 * MIB);
        assert_eq!(found, Some(range(246 * MIB, 250 * MIB)));
        let two = [bundle, range(100 * MIB, 249 * MIB)];
        assert_eq!(private_memory(&ram, &two, 4 * MIB), Some(range(96 * MIB, 100 * MIB)));
        assert_eq!(private_memory(&ram, &two, MIB), Some(range(255 * MIB, 256 * MIB)));
    }

    #[test]
    fn no_room_is_said_so() {
        let ram = [range(MIB, 16 * MIB)];
        assert_eq!(private_memory(&ram, &[range(2 * MIB, 15 * MIB)], 2 * MIB), None);
        assert_eq!(private_memory(&ram, &[], 16 * MIB), None);
        assert_eq!(private_memory(&ram, &[], !0xfff), None);
        assert_eq!(private_memory(&[], &[], MIB), None);
    }

    #[test]
    fn memory_above_four_gib_is_not_used() {
        let ram = [range(3 * 1024 * MIB, 8 * 1024 * MIB)];
        assert_eq!(private_memory(&ram, &[], MIB), Some(range(4095 * MIB, 4096 * MIB)));
    }

    #[test]
    fn ranges() {
        assert_eq!(range(1, 0x2fff).shrink_to_pages(), range(0x1000, 0x2000));
        assert_eq!(range(1, 0x2001).grow_to_pages(), range(0, 0x3000));
        assert!(range(1, 0xfff).shrink_to_pages().is_empty());
        assert!(!range(5, 5).overlaps(&range(0, 10)));
        assert!(range(0, 10).contains(&range(0, 10)) && !range(0, 10).contains(&range(5, 11)));
        assert_eq!(Range::sized(u64::MAX - 1, 10).end, u64::MAX);
    }
}
