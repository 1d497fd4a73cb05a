//! What is left of the policy's budgets, and which of its taints are in force: what becomes of a call that the rules carry out.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use policy::{Action, Budget, Policy, Rules, Verdict, taint};
use proto::{Grant, grant_flags};

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

    /// What is said to a call to which the rules say `verdict`. One that is carried out now is charged.
    pub fn decide<'p>(&mut self, rules: Rules<'p>, verdict: Verdict<'p>) -> Verdict<'p> {
        let held = match verdict.action {
            Action::Allow | Action::Rewrite => self.charge(rules.holds()).err(),
            // Nobody is asked about what the answer would not change.
            Action::Ask | Action::Stop => self.held_back(rules.holds()),
            _ => None,
        };
        held.map_or(verdict, |bit| rules.policy().held(bit))
    }

    /// Charges a call to the budgets in `bits`, or says by which bit it is held back, that of a taint in force or of a budget that is spent: then it is charged
    /// to none.
    ///
    /// # Errors
    /// That bit ([`Policy::held`]).
    pub fn charge(&mut self, bits: u64) -> Result<(), usize> {
        if let Some(bit) = self.held_back(bits) {
            return Err(bit);
        }
        for (_, budget) in self.left.iter_mut().enumerate().filter(|(index, _)| bits >> index & 1 != 0) {
            if budget.count != u64::MAX {
                budget.count -= 1;
            }
        }
        Ok(())
    }

    /// Which of these holds a call back: the first taint in force, or the first budget that is spent.
    fn held_back(&self, bits: u64) -> Option<usize> {
        let is_spent =
            |(index, budget): &(usize, &Budget)| bits >> index & 1 != 0 && (budget.count == 0 || budget.bytes == 0);
        let spent = || self.left.iter().enumerate().find(is_spent).map(|(index, _)| index);
        self.denying(bits).or_else(spent)
    }

    /// The taint in force among these that denies a call.
    pub(crate) fn denying(&self, bits: u64) -> Option<usize> {
        taint::deciding(bits & self.tainted)
    }

    /// Whether the result of a call that is charged to these counts.
    pub(crate) fn wants_result(&self, bits: u64) -> bool {
        bits & self.of_bytes != 0
    }

    /// Puts taints in force. Which of them were not before.
    pub fn taint(&mut self, bits: u64) -> u64 {
        let new = bits & !self.tainted;
        self.tainted |= bits;
        new
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

    /// The grant of a call that these may hold back, with what the shim has to do about that.
    pub(crate) fn granted(&self, bits: u64, grant: Grant) -> Grant {
        let report = if self.wants_result(bits) { grant_flags::REPORT } else { 0 };
        Grant { flags: grant.flags | report, recall: bits & self.taints & !self.tainted, ..grant }
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

    /// Charges what a call has returned, or has moved if it returns something else: once.
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
        let (first, second) = (1 << 62, 1 << 61);
        let both = taint::BRINGS | 1 | first | second;
        let recall = |budgets: &Budgets, bits| budgets.granted(bits, Grant::default()).recall;
        assert_eq!((recall(&budgets, both), recall(&budgets, 1)), (first | second, 0));
        assert_eq!(budgets.taint(second), second);
        assert_eq!((budgets.charge(both), budgets.charge(1 | first)), (Err(61), Ok(())));
        assert_eq!(recall(&budgets, both), first);
        assert_eq!(budgets.taint(first | second), first, "the other one was in force");
        assert_eq!((budgets.charge(both), budgets.charge(1)), (Err(62), Err(0)));
        assert_eq!(recall(&budgets, both), 0);
        assert_eq!(budgets.tainted(), first | second);
    }

    #[test]
    fn calls_under_way_are_bounded() {
        let mut budgets = budgets("[[budget]]\ncalls = [\"read\"]\nbytes = 10\n");
        let room = budgets.under_way.capacity();
        (0..5000).for_each(|sequence| budgets.begun(sequence, 1));
        assert_eq!((budgets.under_way.len(), budgets.under_way.capacity()), (MAX_UNDER_WAY, room));
    }
}
