//! `[limits]` of the policy, as far as the gate has to do with them: calls a second, and that any limit is told of once.

use alloc::string::String;

use policy::quotas::Quota;
use trace::{LimitRecord, Record};

use crate::{Action, CallSite, Gate, Sink};

impl Gate {
    /// A limit of the policy.
    #[must_use]
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        self.policy.quotas().get(quota)
    }

    /// A limit of the policy in its words, with its place.
    #[must_use]
    pub fn describe(&self, quota: Quota) -> Option<String> {
        self.policy.quotas().describe(quota)
    }

    /// Records that a limit has been reached, once for each policy.
    #[cold]
    pub fn reached(&mut self, quota: Quota, thread: u32, now_100ns: u64, sink: Sink<'_>) {
        let bit = 1 << quota as u32;
        let quotas = self.policy.quotas();
        let (Some(amount), Some(rule)) = (quotas.get(quota), quotas.place(quota)) else { return };
        if self.mode.record && self.told & bit == 0 {
            sink(Record::Limit(LimitRecord { time: now_100ns, thread, limit: quota.key().into(), amount, rule }));
        }
        self.told |= bit;
    }

    /// Whether a call may be made now; if not, when.
    #[inline]
    pub(crate) fn in_time(&mut self, site: &CallSite<'_>, now_100ns: u64, sink: Sink<'_>) -> Result<(), Action> {
        self.rate.take(now_100ns).map_err(|at| {
            self.reached(Quota::CallsPerSecond, site.thread, now_100ns, sink);
            Action::Later { at }
        })
    }
}
