//! Comparisons of arguments with numbers, and what several of them come to.

/// How an argument is compared. All comparisons are of unsigned numbers, as seccomp's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    /// What holds where this does not.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }
}

/// A comparison with a number, reduced to the bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Those bits.
    pub mask: u64,
    /// The number, which has no others.
    pub value: u64,
    /// How they are compared.
    pub op: Op,
}

impl Comparison {
    /// Whether it holds for this argument.
    #[must_use]
    pub fn holds(&self, argument: u64) -> bool {
        let argument = argument & self.mask;
        match self.op {
            Op::Equal => argument == self.value,
            Op::NotEqual => argument != self.value,
            Op::Less => argument < self.value,
            Op::LessOrEqual => argument <= self.value,
            Op::Greater => argument > self.value,
            Op::GreaterOrEqual => argument >= self.value,
        }
    }

    /// What it comes to if that is the same for every value of its argument.
    #[must_use]
    pub fn constant(&self) -> Option<bool> {
        match (self.op, self.value) {
            (Op::Equal, 0) if self.mask == 0 => Some(true),
            (Op::GreaterOrEqual, 0) => Some(true),
            (Op::Less, 0) => Some(false),
            (Op::LessOrEqual, value) if value == self.mask => Some(true),
            (Op::Greater, value) if value == self.mask => Some(false),
            _ => None,
        }
    }
}

/// Whether no value of an argument fulfils all these comparisons. Where it says so, that is so; it does not find every case in which bits that are
/// compared apart from others come together with bounds.
#[must_use]
pub fn contradict(all: &[Comparison]) -> bool {
    let (mut known, mut value) = (0, 0);
    for exact in all.iter().filter_map(exact) {
        if (value ^ exact.value) & known & exact.mask != 0 {
            return true;
        }
        known |= exact.mask;
        value |= exact.value;
    }
    all.iter().filter(|comparison| comparison.op != Op::Equal).any(|comparison| {
        let mask = comparison.mask;
        let bounds = all.iter().filter(|other| other.mask == mask);
        let Some((low, high)) = bounds.fold(Some((value & mask, (value | !known) & mask)), narrowed) else {
            return true;
        };
        let single = low == high;
        let is_excluded = |other: &Comparison| other.op == Op::NotEqual && other.mask == mask && other.value == low;
        low > high || (single && ((low ^ value) & known & mask != 0 || all.iter().any(is_excluded)))
    })
}

/// A comparison that says what its bits are, as one with `==`.
fn exact(comparison: &Comparison) -> Option<Comparison> {
    match comparison.op {
        Op::Equal => Some(*comparison),
        Op::NotEqual if comparison.mask.is_power_of_two() => {
            Some(Comparison { op: Op::Equal, value: comparison.value ^ comparison.mask, ..*comparison })
        }
        _ => None,
    }
}

/// What a bound leaves of a range; none: nothing.
fn narrowed(range: Option<(u64, u64)>, bound: &Comparison) -> Option<(u64, u64)> {
    let (low, high) = range?;
    Some(match bound.op {
        Op::Equal | Op::NotEqual => (low, high),
        Op::Less => (low, high.min(bound.value.checked_sub(1)?)),
        Op::LessOrEqual => (low, high.min(bound.value)),
        Op::Greater => (low.max(bound.value.checked_add(1)?), high),
        Op::GreaterOrEqual => (low.max(bound.value), high),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const OPS: [Op; 6] = [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual];

    /// All comparisons of three bits, and of some of them.
    fn all() -> Vec<Comparison> {
        let whole = OPS.into_iter().flat_map(|op| (0..8).map(move |value| Comparison { mask: 7, value, op }));
        let parts = (1..7_u64).flat_map(|mask| (0..8).map(move |value| (mask, value & mask)));
        let parts = parts.flat_map(|(mask, value)| [Op::Equal, Op::NotEqual].map(|op| Comparison { mask, value, op }));
        whole.chain(parts).collect()
    }

    #[test]
    fn what_contradicts_never_holds_and_pairs_are_found() {
        let all = all();
        for a in &all {
            for b in &all {
                let pair = [*a, *b];
                let holds = (0..8).any(|value| pair.iter().all(|comparison| comparison.holds(value)));
                assert!(!(holds && contradict(&pair)), "{pair:?}");
                let is_plain = a.mask == b.mask || [a, b].iter().all(|comparison| comparison.op == Op::Equal);
                let is_trivial = [a, b].iter().any(|comparison| comparison.constant().is_some());
                assert!(holds || contradict(&pair) || !is_plain || is_trivial, "{pair:?} is not found");
                for c in all.iter().step_by(7) {
                    let three = [*a, *b, *c];
                    let holds = (0..8).any(|value| three.iter().all(|comparison| comparison.holds(value)));
                    assert!(!(holds && contradict(&three)), "{three:?}");
                }
            }
        }
    }

    #[test]
    fn opposites() {
        for comparison in all() {
            let opposite = Comparison { op: comparison.op.opposite(), ..comparison };
            assert!((0..8).all(|value| comparison.holds(value) != opposite.holds(value)));
        }
    }
}
