//! How many calls there were when: a histogram over a time whose length nobody knows beforehand.

/// Bars of the histogram.
pub(super) const BARS: usize = 240;

/// Calls, and those of them that were denied, in each of [`BARS`] equal times.
#[derive(Debug)]
pub(super) struct Rate {
    /// Length of each time.
    pub(super) width_ns: u64,
    pub(super) bars: Vec<(u64, u64)>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { width_ns: 100_000, bars: vec![(0, 0); BARS] }
    }
}

impl Rate {
    /// One more call.
    pub(super) fn add(&mut self, ns: u64, denied: bool) {
        while ns / self.width_ns >= BARS as u64 {
            self.halve();
        }
        if let Some((calls, bad)) = usize::try_from(ns / self.width_ns).ok().and_then(|bar| self.bars.get_mut(bar)) {
            *calls += 1;
            *bad += u64::from(denied);
        }
    }

    /// Two bars become one, so that twice the time has room.
    fn halve(&mut self) {
        let merged =
            self.bars.chunks(2).map(|pair| pair.iter().fold((0, 0), |sum, bar| (sum.0 + bar.0, sum.1 + bar.1)));
        let mut bars: Vec<(u64, u64)> = merged.collect();
        bars.resize(BARS, (0, 0));
        self.bars = bars;
        self.width_ns = self.width_ns.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_however_long_it_takes() {
        let mut rate = Rate::default();
        for n in 0..10_000_u64 {
            rate.add(n * n * 1000, n % 10 == 0);
        }
        let sum = rate.bars.iter().fold((0, 0), |sum, bar| (sum.0 + bar.0, sum.1 + bar.1));
        assert_eq!(sum, (10_000, 1000));
        rate.add(u64::MAX, true);
        assert!(rate.bars.iter().map(|bar| bar.0).sum::<u64>() >= 10_000);
    }
}
