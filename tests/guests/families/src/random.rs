//! Numbers at random, the same ones for the same seed.

/// A xorshift* generator.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed; `part` tells several of one seed apart.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Self {
        // An odd constant, the golden ratio's fraction, spreads small seeds. The state may be anything but 0.
        Self((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part).max(1))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One below `n`; 0 if `n` is.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.number() >> 16) % n.max(1)
    }

    /// One of these; the default value of none.
    pub fn one_of<T: Copy + Default>(&mut self, values: &[T]) -> T {
        let place = usize::try_from(self.below(values.len() as u64)).unwrap_or(0);
        values.get(place).copied().unwrap_or_default()
    }
}
