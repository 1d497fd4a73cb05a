//! Taints of the policy: how they come in force, and that a socket may not listen any more.

use alloc::format;
use alloc::string::{String, ToString};

use policy::Action as Verdict;
use policy::network::is_listen;
use trace::{Cause, Record, TaintRecord};

use crate::{Gate, Refused, Sink};

/// A call that brings taints when it is carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brings {
    pub(crate) taints: u64,
    pub(crate) thread: u32,
    pub(crate) number: u64,
}

impl Gate {
    /// The program has done what these taints of its policy follow from ([`policy::Policy::tainted_by`]): they are in force from the next call on. Calls under way
    /// that they deny have [`proto::Grant::recall`]. `record` says how it came to that, but for the rule.
    pub fn taint(&mut self, bits: u64, record: &TaintRecord, sink: Sink<'_>) {
        let new = self.budgets.taint(bits);
        self.tell_taints(new, record, sink);
    }

    /// The taints in force, a bit for each.
    #[inline]
    #[must_use]
    pub fn tainted(&self) -> u64 {
        self.budgets.tainted()
    }

    /// Records that these taints are in force now.
    fn tell_taints(&self, new: u64, record: &TaintRecord, sink: Sink<'_>) {
        let taints = self.policy.taints().filter(|taint| self.mode.record && new >> taint.bit & 1 != 0);
        taints.for_each(|taint| {
            let rule = taint.verdict.rule().to_string();
            sink(Record::Taint(TaintRecord { rule, ..record.clone() }));
        });
    }

    /// A call that is granted has brought these taints.
    #[cold]
    pub(crate) fn brought(
        &mut self,
        new: u64,
        Brings { thread, number, .. }: Brings,
        sequence: u64,
        now: u64,
        sink: Sink<'_>,
    ) {
        if is_listen(number) {
            self.by_listen = new;
        }
        let cause = Cause::Call { number, sequence };
        self.tell_taints(new, &TaintRecord { time: now, thread, cause, rule: String::new() }, sink);
    }

    /// What the policy says to a socket that is to listen at this `struct sockaddr`. A call that listens asks this once, and is not denied by what it has brought
    /// itself: from then on such a taint denies every other.
    ///
    /// # Errors
    /// What is done instead.
    pub fn may_listen(&mut self, address: &[u8]) -> Result<(), Refused> {
        let own = core::mem::take(&mut self.by_listen);
        let denying = self.budgets.denying(self.policy.about_listen().holds() & !own);
        let denying = denying.map(|bit| self.policy.held(bit));
        let refused = denying.or_else(|| self.policy.may_listen(address));
        let Some(verdict) = refused.filter(|_| !self.mode.dry_run) else { return Ok(()) };
        match verdict.action {
            Verdict::Errno(errno) => Err(Refused::Errno(errno)),
            _ => Err(Refused::Kill { reason: format!("listen: {}", verdict.rule()) }),
        }
    }
}
