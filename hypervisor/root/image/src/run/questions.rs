//! Questions of the sandboxes: answers are passed on, and what nobody answers in time is settled.
use alloc::vec::Vec;

use control::Outcome;
use control::answer::Answer;
use hvclient::machine::HypercallPage;
use sandbox::{Sandbox, World};

use super::Fleet;
use crate::memory::Pages;

impl<'r> Fleet<'_, 'r> {
    /// When the first of those that wait has to be woken, or the first question to be settled.
    pub(super) fn wake_at(&self) -> u64 {
        let due = self.members.iter().flatten().map(|member| member.sandbox.questions_due()).min();
        due.unwrap_or(u64::MAX).min(self.turns.wake_at())
    }

    /// Passes answers on, and settles the questions whose time is over.
    pub(super) fn settle_questions(&mut self, now: u64) {
        while let Some(Answer { sandbox, sequence, choice }) = self.machine.link.take_answer() {
            self.settle(sandbox, |sandbox, world| sandbox.answer_question(sequence, choice, world));
        }
        for number in self.turns.left().collect::<Vec<_>>() {
            let member = self.members.get(usize::from(number)).and_then(Option::as_ref);
            if member.is_some_and(|member| member.sandbox.questions_due() <= now) {
                self.settle(number, |sandbox, world| sandbox.expire_questions(world));
            }
        }
    }

    /// Does something about a sandbox' questions that may end it.
    fn settle(
        &mut self,
        number: u16,
        work: impl FnOnce(&mut Sandbox<'r, Pages>, &mut World<'_, HypercallPage, Pages>) -> Option<Outcome>,
    ) {
        let Some(mut member) = self.members.get_mut(usize::from(number)).and_then(Option::take) else { return };
        let ended = self.machine.lend(number, &mut self.entropy, |world| work(&mut member.sandbox, world));
        match ended {
            Some(outcome) => self.end(number, member.sandbox, outcome),
            None => {
                if self.turns.is_stopped(number) && !member.sandbox.is_stopped() {
                    self.turns.ready(number);
                }
                if let Some(seat) = self.members.get_mut(usize::from(number)) {
                    *seat = Some(member);
                }
            }
        }
    }
}
