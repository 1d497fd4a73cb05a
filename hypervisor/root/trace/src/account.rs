//! Which records of a sandbox are told, where the policy would rather miss some than have its program wait, and how many were not.
use alloc::vec::Vec;

use crate::{Answer, DroppedRecord, KINDS, Record};

/// Bytes of a sandbox' records on their way, beyond which they are dropped.
pub const FULL: usize = 48 << 10;
/// Bytes of them beyond which the program waits all the same: more of what is always told.
pub const MOST_WAITING: usize = 2 * FULL;
/// Bytes of them at which they are told again: what is missing is so told in few places.
const FREE: usize = FULL / 2;

/// The account of one sandbox.
#[derive(Debug, Default)]
pub struct Account {
    made: u64,
    dropped: u64,
    most_waiting: usize,
    missing: Option<Missing>,
}

/// What was dropped since that was told last.
#[derive(Debug)]
struct Missing {
    since: u64,
    until: u64,
    counts: [u64; KINDS.len()],
}

impl Account {
    /// Counts a record that has been made.
    pub fn made(&mut self) {
        self.made = self.made.saturating_add(1);
    }

    /// Whether this record is dropped, with so many bytes on their way. What changes which calls are allowed, a limit that is reached, and what somebody is asked, is always told.
    pub fn drops(&mut self, record: &Record, waiting: usize) -> bool {
        let full = waiting > if self.missing.is_some() { FREE } else { FULL };
        let is_always_told = match record {
            Record::Policy(_) | Record::Taint(_) | Record::Limit(_) | Record::Question(_) | Record::Settled(_) => true,
            Record::Call(call) => matches!(call.answer, Answer::Asked(_)),
            _ => false,
        };
        if !full || is_always_told {
            return false;
        }
        let time = record.time();
        let missing = self.missing.get_or_insert(Missing { since: time, until: time, counts: [0; KINDS.len()] });
        missing.until = time;
        if let Some(count) = missing.counts.get_mut(record.kind()) {
            *count += 1;
        }
        self.dropped = self.dropped.saturating_add(1);
        true
    }

    /// What is to be told before anything else is: what is missing here.
    pub fn settle(&mut self) -> Option<Record> {
        let Missing { since, until, counts } = self.missing.take()?;
        let counts: Vec<(u8, u64)> = (0..).zip(counts).filter(|(_, count)| *count > 0).collect();
        Some(Record::Dropped(DroppedRecord { time: until, since, counts }))
    }

    /// So many bytes of its records are on their way now.
    pub fn waits(&mut self, waiting: usize) {
        self.most_waiting = self.most_waiting.max(waiting);
    }

    /// The most that they ever were.
    #[must_use]
    pub const fn most_waiting(&self) -> usize {
        self.most_waiting
    }

    /// Records that were made, and how many of them were dropped.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64) {
        (self.made, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultRecord, PolicyRecord, ResultRecord};

    fn result(time: u64) -> Record {
        Record::Result(ResultRecord { time, sequence: 1, value: 0, missing: false })
    }

    #[test]
    fn what_is_dropped_is_told_once_there_is_room() {
        let mut account = Account::default();
        assert!(!account.drops(&result(1), FULL));
        assert_eq!(account.settle(), None);
        assert!(account.drops(&result(2), FULL + 1));
        let fault = FaultRecord { time: 3, thread: 2, vector: 6, error_code: None, rip: 0 };
        assert!(account.drops(&Record::Fault(fault), FREE + 1), "as long as there is little room");
        assert!(account.drops(&result(4), FREE + 1));
        let policy = PolicyRecord { time: 5, generation: 2, name: "p".into() };
        assert!(!account.drops(&Record::Policy(policy), usize::MAX));
        let (result_kind, fault_kind) = (result(0).kind(), Record::Fault(fault).kind());
        let counts = [(result_kind, 2), (fault_kind, 1)].map(|(kind, count)| (u8::try_from(kind).unwrap(), count));
        assert_eq!(account.settle(), Some(Record::Dropped(DroppedRecord { time: 4, since: 2, counts: counts.into() })));
        assert_eq!(account.settle(), None);
        assert!(!account.drops(&result(6), FULL), "anew");
        account.made();
        assert_eq!(account.totals(), (1, 3));
        [3, 9, 4].into_iter().for_each(|waiting| account.waits(waiting));
        assert_eq!(account.most_waiting(), 9);
    }
}
