//! What is left of the policy's budgets.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use policy::{Budget, Policy};

/// Calls under way whose bytes are still to be charged. Beyond them the oldest are given up: there are no more threads than that in a sandbox that waits.
const MAX_UNDER_WAY: usize = 1024;

/// The budgets of one sandbox.
pub(crate) struct Budgets {
    left: Box<[Budget]>,
    /// Calls whose results count: their sequence numbers and a bit for each budget.
    under_way: VecDeque<(u64, u64)>,
    /// The budgets of bytes.
    of_bytes: u64,
}

impl Budgets {
    /// All of what `policy` gives.
    pub(crate) fn new(policy: &Policy) -> Self {
        let left: Box<[Budget]> = policy.budgets().collect();
        let bits = left.iter().enumerate().filter(|(_, budget)| budget.bytes != u64::MAX).map(|(index, _)| 1 << index);
        let of_bytes = bits.fold(0, |all, bit: u64| all | bit);
        let room = if of_bytes == 0 { 0 } else { MAX_UNDER_WAY };
        Self { left, under_way: VecDeque::with_capacity(room), of_bytes }
    }

    /// Charges a call to the budgets in `bits`, or says which of them is spent: then it is charged to none.
    pub(crate) fn charge(&mut self, bits: u64) -> Result<(), usize> {
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

    /// Notes that call `sequence` is under way.
    pub(crate) fn begun(&mut self, sequence: u64, bits: u64) {
        if self.wants_result(bits) {
            if self.under_way.len() >= MAX_UNDER_WAY {
                self.under_way.pop_front();
            }
            self.under_way.push_back((sequence, bits & self.of_bytes));
        }
    }

    /// Charges what a call has returned.
    pub(crate) fn returned(&mut self, sequence: u64, value: i64) {
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
        Budgets::new(&policy::parse("p", &alloc::format!("version = 1\n{text}")).unwrap())
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
    fn calls_under_way_are_bounded() {
        let mut budgets = budgets("[[budget]]\ncalls = [\"read\"]\nbytes = 10\n");
        let room = budgets.under_way.capacity();
        (0..5000).for_each(|sequence| budgets.begun(sequence, 1));
        assert_eq!((budgets.under_way.len(), budgets.under_way.capacity()), (MAX_UNDER_WAY, room));
    }
}
