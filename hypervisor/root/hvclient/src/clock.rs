//! Reference time by the reference TSC page: no exit.
use core::sync::atomic::{Ordering, compiler_fence};

use tlfs::time::ReferenceTscPage;

/// Reads of an inconsistent page before the clock says that it has no time: the hypervisor changes the page at migrations, not
/// all the time.
const ATTEMPTS: u32 = 1000;

/// Reference time at TSC `tsc`, in 100 ns. `None`: the page cannot be used now.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "the high half of a 128-bit product has 64 bits")]
pub fn reference_time(page: &ReferenceTscPage, tsc: u64) -> Option<u64> {
    if page.sequence == ReferenceTscPage::SEQUENCE_INVALID {
        return None;
    }
    let scaled = ((u128::from(tsc) * u128::from(page.scale)) >> 64) as u64;
    Some(scaled.wrapping_add_signed(page.offset))
}

/// Reads the page and the counter until they belong together.
///
/// `read_page` copies the page, field by field volatile; `read_tsc` reads the counter.
pub fn consistent_time(read_page: impl Fn() -> ReferenceTscPage, read_tsc: impl Fn() -> u64) -> Option<u64> {
    for _ in 0..ATTEMPTS {
        let before = read_page();
        compiler_fence(Ordering::Acquire);
        let tsc = read_tsc();
        compiler_fence(Ordering::Acquire);
        if read_page().sequence == before.sequence {
            return reference_time(&before, tsc);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A counter of 2 GHz.
    const PAGE: ReferenceTscPage = ReferenceTscPage { sequence: 1, reserved: 0, scale: u64::MAX / 200 + 1, offset: -5 };

    #[test]
    fn ticks_are_100_ns() {
        assert_eq!(reference_time(&PAGE, 2_000_000_000), Some(10_000_000 - 5));
        assert_eq!(reference_time(&PAGE, 200_000_000_000_000), Some(1_000_000_000_000 - 5));
        assert_eq!(reference_time(&ReferenceTscPage { sequence: 0, ..PAGE }, 1), None);
    }

    #[test]
    fn a_page_that_changes_is_read_again() {
        let reads = Cell::new(0);
        let page = || {
            reads.set(reads.get() + 1);
            ReferenceTscPage { sequence: if reads.get() < 4 { reads.get() } else { 9 }, ..PAGE }
        };
        assert_eq!(consistent_time(page, || 4000), Some(15));
        let never = Cell::new(1);
        let changing = || {
            never.set(never.get() + 1);
            ReferenceTscPage { sequence: never.get(), ..PAGE }
        };
        assert_eq!(consistent_time(changing, || 0), None);
    }
}
