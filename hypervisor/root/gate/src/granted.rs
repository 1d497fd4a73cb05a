//! Which calls were granted, and whose results are still to come.

use alloc::collections::VecDeque;

use policy::signature::{self, Output};
use proto::{Grant, grant_flags};
use trace::Answer;

use crate::{Action, Call};

/// Recorded calls under way whose results are still recorded. Of a shim that never reports the oldest are given up.
const MAX_OPEN: usize = 256;

/// The calls that were granted.
#[derive(Default)]
pub(crate) struct Granted {
    /// Number of the last one.
    pub(crate) last: u64,
    /// Numbers of recorded ones that have not come back.
    pub(crate) open: VecDeque<u64>,
}

impl Granted {
    /// Grants a call with the arguments and flags of `grant`. If it is recorded, its result is asked for, unless it does not return.
    #[inline]
    pub(crate) fn forward(
        &mut self,
        call: &Call,
        grant: Grant,
        instruction_len: u8,
        recorded: bool,
    ) -> (Action, Answer) {
        self.last += 1;
        let sequence = self.last;
        let awaited = recorded && signature::of(call.number).is_none_or(|known| known.output != Output::Nothing);
        if awaited {
            if self.open.len() >= MAX_OPEN {
                self.open.pop_front();
            }
            self.open.push_back(sequence);
        }
        let flags = grant.flags | if awaited { grant_flags::REPORT } else { 0 };
        let grant = Grant { sequence, number: call.number, flags, ..grant };
        let answer = if awaited { Answer::Pending(sequence) } else { Answer::None };
        (Action::Forward { grant, instruction_len }, answer)
    }

    /// Whether the result of this call is recorded when it comes.
    pub(crate) fn is_open(&self, sequence: u64) -> bool {
        self.open.contains(&sequence)
    }

    /// This call has no result.
    pub(crate) fn forget(&mut self, sequence: u64) {
        self.open.retain(|open| *open != sequence);
    }
}
