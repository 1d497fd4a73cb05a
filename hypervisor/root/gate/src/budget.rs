//! What is left of the policy's budgets, and which of its taints are in force.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use policy::{Budget, Policy, taint};
use proto::grant_flags;

/// Calls under way whose bytes are still to be charged. Beyond them the oldest are given up: there are no more threads than that in a sandbox that waits.
const MAX_UNDER_WAY: usize = 1024;

/// The budgets of one sandbox.
pub struct Budgets {
    left: Box<[Budget]>,
    /// Calls whose results count: their sequence numbers and a bit for each budget.
    under_way: VecDeque<(u64, u64)>,
    /// The budgets of bytes.
    of_bytes: u64,
    /// The taints of the policy.
    taints: u64,
    /// Those in force.
    tainted: u64,
}

impl Budgets {
    /// All of what `policy` gives. `tainted`: the taints in force.
    #[must_use]
    pub fn new(policy: &Policy, tainted: u64) -> Self {
        let left: Box<[Budget]> = policy.budgets().collect();
        let bits = left.iter().enumerate().filter(|(_, budget)| budget.bytes != u64::MAX).map(|(index, _)| 1 << index);
        let of_bytes = bits.fold(0, |all, bit: u64| all | bit);
        let room = if of_bytes == 0 { 0 } else { MAX_UNDER_WAY };
        let taints = policy.taints().fold(0, |all, taint| all | 1 << taint.bit);
        Self { left, under_way: VecDeque::with_capacity(room), of_bytes, taints, tainted }
    }

    /// Charges a call to the budgets in `bits`, or says by which bit it is held back, that of a taint in force or of a budget that is spent: then it is charged
    /// to none.
    ///
    /// # Errors
    /// That bit ([`Policy::held`]).
    pub fn charge(&mut self, bits: u64) -> Result<(), usize> {
        if let Some(taint) = taint::deciding(bits & self.tainted) {
            return Err(taint);
        }
        let named = |(index, _): &(usize, &mut Budget)| bits >> index & 1 != 0;
        let mut all = self.left.iter_mut().enumerate().filter(named);
        if let Some((index, _)) = all.find(|(_, budget)| budget.count == 0 || budget.bytes == 0) {
            return Err(index);
        }
        for (_, budget) in self.left.iter_mut().enumerate().filter(named) {
            if budget.count != u64::MAX {
                budget.count -= 1;
            }
        }
        Ok(())
    }

    /// Whether the result of a call that is charged to these counts.
    pub(crate) fn wants_result(&self, bits: u64) -> bool {
        bits & self.of_bytes != 0
    }

    /// Puts taints in force.
    pub fn taint(&mut self, bits: u64) {
        self.tainted |= bits;
    }

    /// The taints among these.
    pub(crate) fn taints_among(&self, bits: u64) -> u64 {
        bits & self.taints
    }

    /// The taints in force.
    #[must_use]
    pub fn tainted(&self) -> u64 {
        self.tainted
    }

    /// What the shim has to do with a call that these may hold back.
    pub(crate) fn grant_flags(&self, bits: u64) -> u64 {
        let report = if self.wants_result(bits) { grant_flags::REPORT } else { 0 };
        let recall = if bits & self.taints & !self.tainted == 0 { 0 } else { grant_flags::RECALL };
        report | recall
    }

    /// Notes that call `sequence` is under way.
    pub fn begun(&mut self, sequence: u64, bits: u64) {
        if self.wants_result(bits) {
            if self.under_way.len() >= MAX_UNDER_WAY {
                self.under_way.pop_front();
            }
            self.under_way.push_back((sequence, bits & self.of_bytes));
        }
    }

    /// Charges what a call has returned.
    pub fn returned(&mut self, sequence: u64, value: i64) {
        let Some(index) = self.under_way.iter().position(|(open, _)| *open == sequence) else { return };
        let Some((_, bits)) = self.under_way.remove(index) else { return };
        let moved = u64::try_from(value).unwrap_or(0);
        for (index, budget) in self.left.iter_mut().enumerate() {
            if bits >> index & 1 != 0 {
                budget.bytes = budget.bytes.saturating_sub(moved);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(text: &str) -> Budgets {
        Budgets::new(&policy::parse("p", &alloc::format!("version = 1\n{text}")).unwrap(), 0)
    }

    #[test]
    fn what_is_spent_is_spent() {
        let mut budgets =
            budgets("[[budget]]\ncalls = [\"read\"]\ncount = 2\n[[budget]]\ncalls = [\"read\"]\nbytes = 10\n");
        assert_eq!(budgets.charge(0), Ok(()));
        assert!(budgets.wants_result(3) && !budgets.wants_result(1));
        assert_eq!(budgets.charge(3), Ok(()));
        budgets.begun(7, 3);
        budgets.returned(8, 100);
        budgets.returned(7, 9);
        budgets.returned(7, 9);
        assert_eq!(budgets.charge(3), Ok(()));
        budgets.begun(9, 3);
        budgets.returned(9, -5);
        assert_eq!(budgets.charge(3), Err(0));
        assert_eq!(budgets.charge(2), Ok(()));
        budgets.begun(10, 2);
        budgets.returned(10, i64::MAX);
        assert_eq!(budgets.charge(2), Err(1));
    }

    #[test]
    fn taints_in_force_come_before_budgets_and_the_first_of_them_first() {
        let taint = "[[taint]]\npaths = \"/a\"\ndeny = [\"read\"]\n";
        let mut budgets = budgets(&alloc::format!("[[budget]]\ncalls = [\"read\"]\ncount = 1\n{taint}{taint}"));
        let both = 1 | 1 << 63 | 1 << 62;
        assert!(budgets.grant_flags(both) == grant_flags::RECALL && budgets.grant_flags(1) == 0);
        budgets.taint(1 << 62);
        assert_eq!((budgets.charge(both), budgets.charge(1 | 1 << 63)), (Err(62), Ok(())));
        budgets.taint(1 << 63);
        assert_eq!((budgets.charge(both), budgets.charge(1)), (Err(63), Err(0)));
        assert_eq!(budgets.grant_flags(both), 0);
        assert_eq!(budgets.tainted(), 1 << 63 | 1 << 62);
    }

    #[test]
    fn calls_under_way_are_bounded() {
        let mut budgets = budgets("[[budget]]\ncalls = [\"read\"]\nbytes = 10\n");
        let room = budgets.under_way.capacity();
        (0..5000).for_each(|sequence| budgets.begun(sequence, 1));
        assert_eq!((budgets.under_way.len(), budgets.under_way.capacity()), (MAX_UNDER_WAY, room));
    }
}
