//! Reference time: the TSC scaled to 100 ns, from a partition's own zero.

use tlfs::time::{REFERENCE_TICKS_PER_SECOND, ReferenceTscPage};

/// How TSC ticks become 100 ns ticks on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeScale {
    /// 100 ns ticks per TSC tick, as a 64-bit binary fraction.
    scale: u64,
    /// TSC ticks in 50 µs: the time that a hypercall may take.
    pub(crate) call_budget: u64,
}

impl TimeScale {
    /// For a TSC of `hz`. A TSC slower than the reference clock cannot be expressed; the clock is held at its rate.
    pub(crate) fn new(hz: u64) -> Self {
        let hz = u128::from(hz.max(REFERENCE_TICKS_PER_SECOND + 1));
        let scale = (u128::from(REFERENCE_TICKS_PER_SECOND) << 64) / hz;
        Self {
            scale: u64::try_from(scale).unwrap_or(u64::MAX),
            call_budget: u64::try_from(hz / 20_000).unwrap_or(u64::MAX),
        }
    }

    fn ticks(&self, tsc: u64) -> u64 {
        let product = u128::from(tsc) * u128::from(self.scale);
        u64::try_from(product >> 64).unwrap_or(u64::MAX)
    }

    /// Reference time at `tsc` of a partition whose zero was at `origin`; exactly what its reference TSC page gives.
    pub(crate) fn reference_time(&self, tsc: u64, origin: u64) -> u64 {
        self.ticks(tsc).wrapping_sub(self.ticks(origin))
    }

    /// The reference TSC page of a partition whose zero was at `origin`.
    pub(crate) fn page(&self, origin: u64) -> ReferenceTscPage {
        ReferenceTscPage {
            sequence: 1,
            reserved: 0,
            scale: self.scale,
            offset: self.ticks(origin).cast_signed().wrapping_neg(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_and_msr_agree_and_count_100_ns() {
        for hz in [1_000_000_000_u64, 2_500_000_000, 3_999_999_937, 20_000_000] {
            let scale = TimeScale::new(hz);
            let origin = 123_456_789_012;
            let page = scale.page(origin);
            for seconds in [0, 1, 59, 100_000] {
                let tsc = origin + hz * seconds;
                let read = (u128::from(tsc) * u128::from(page.scale)) >> 64;
                let by_page = u64::try_from(read).unwrap().wrapping_add_signed(page.offset);
                assert_eq!(by_page, scale.reference_time(tsc, origin));
                assert!(by_page.abs_diff(seconds * REFERENCE_TICKS_PER_SECOND) <= seconds / 100 + 1, "{hz} {seconds}");
            }
        }
    }

    #[test]
    fn a_call_may_take_50_us() {
        assert_eq!(TimeScale::new(2_000_000_000).call_budget, 100_000);
    }
}
