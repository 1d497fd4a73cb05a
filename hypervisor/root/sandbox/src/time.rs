//! How long a sandbox may last, and how long it may have the processor.

use alloc::string::String;

use policy::Policy;
use policy::quotas::Quota;
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

/// 100 ns in a millisecond.
const TICKS_PER_MS: u64 = REFERENCE_TICKS_PER_SECOND / 1000;

/// The times of one sandbox, in 100 ns of the root's reference time.
///
/// Processor time is that of its turns: what its programs, its shim and the root's work for them take together, on the one processor
/// that there is.
#[derive(Clone, Debug)]
pub struct Times {
    created: u64,
    /// When the run's own limit is over.
    timeout: u64,
    /// When the policy's is.
    wall: u64,
    /// How long it may have the processor.
    cpu: u64,
    /// How long it has had it.
    used: u64,
    /// When its present turn began.
    turn: Option<u64>,
}

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The run's own limit.
    Timeout,
    /// A limit of the policy.
    Limit(Quota),
}

impl Over {
    /// The limit in the policy's words, if it is one.
    #[must_use]
    pub fn reason(self, policy: &Policy) -> String {
        match self {
            Self::Timeout => String::new(),
            Self::Limit(quota) => policy.quotas().describe(quota).unwrap_or_default(),
        }
    }
}

impl Times {
    /// Of a sandbox that was made at `created` and may last for `timeout`.
    #[must_use]
    pub fn new(created: u64, timeout: u64, policy: &Policy) -> Self {
        let timeout = created.saturating_add(timeout);
        let mut times = Self { created, timeout, wall: u64::MAX, cpu: u64::MAX, used: 0, turn: None };
        times.set_policy(policy);
        times
    }

    /// Other limits hold from now on, for all the time since the start.
    pub fn set_policy(&mut self, policy: &Policy) {
        let ticks = |quota| policy.quotas().get(quota).map_or(u64::MAX, |ms| ms.saturating_mul(TICKS_PER_MS));
        self.wall = self.created.saturating_add(ticks(Quota::Wall));
        self.cpu = ticks(Quota::Cpu);
    }

    /// When it has to end, whatever it does.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.timeout.min(self.wall)
    }

    /// A turn begins: when it has to end at the latest.
    pub fn begin_turn(&mut self, now: u64) -> u64 {
        self.turn = Some(now);
        now.saturating_add(self.cpu.saturating_sub(self.used))
    }

    /// The turn is over.
    pub fn end_turn(&mut self, now: u64) {
        if let Some(began) = self.turn.take() {
            self.used = self.used.saturating_add(now.saturating_sub(began));
        }
    }

    /// What is over by now.
    #[must_use]
    pub fn over(&self, now: u64) -> Option<Over> {
        match self {
            _ if now >= self.wall => Some(Over::Limit(Quota::Wall)),
            _ if now >= self.timeout => Some(Over::Timeout),
            _ if self.used >= self.cpu => Some(Over::Limit(Quota::Cpu)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = TICKS_PER_MS;

    fn policy(limits: &str) -> Policy {
        policy::parse("p", &alloc::format!("version = 1\n[limits]\n{limits}\n")).unwrap()
    }

    #[test]
    fn only_turns_count_as_processor_time() {
        let mut times = Times::new(1000, u64::MAX, &policy("cpu = \"5ms\""));
        assert_eq!(times.begin_turn(2000), 2000 + 5 * MS);
        times.end_turn(2000 + 3 * MS);
        // What is not within a turn is others'.
        times.end_turn(2000 + 900 * MS);
        assert_eq!(times.over(1_000_000_000), None);
        assert_eq!(times.begin_turn(1_000_000_000), 1_000_000_000 + 2 * MS);
        times.end_turn(1_000_000_000 + 2 * MS);
        assert_eq!(times.over(0), Some(Over::Limit(Quota::Cpu)));
        assert_eq!(Over::Limit(Quota::Cpu).reason(&policy("cpu = \"5ms\"")), "[limits] p:3: cpu 5ms");
    }

    #[test]
    fn the_stricter_of_two_times_holds() {
        let times = |timeout, wall: &str| Times::new(1000, timeout, &policy(wall));
        assert_eq!(times(9 * MS, "wall = \"7ms\"").deadline(), 1000 + 7 * MS);
        assert_eq!(times(9 * MS, "wall = \"7ms\"").over(1000 + 9 * MS), Some(Over::Limit(Quota::Wall)));
        assert_eq!(times(5 * MS, "wall = \"7ms\"").over(1000 + 5 * MS), Some(Over::Timeout));
        assert_eq!(times(5 * MS, "").over(1000 + 5 * MS - 1), None);
        assert_eq!(times(u64::MAX, "").deadline(), u64::MAX);
        assert_eq!(Over::Timeout.reason(&policy("wall = 7")), "");
    }

    #[test]
    fn another_policy_counts_what_was_used_under_the_old_one() {
        let mut times = Times::new(0, u64::MAX, &policy(""));
        assert_eq!(times.begin_turn(0), u64::MAX);
        times.end_turn(8 * MS);
        times.set_policy(&policy("cpu = \"9ms\"\nwall = \"20ms\""));
        assert_eq!((times.over(19 * MS), times.deadline(), times.begin_turn(10 * MS)), (None, 20 * MS, 11 * MS));
        times.set_policy(&policy("cpu = \"8ms\""));
        assert_eq!(times.over(10 * MS), Some(Over::Limit(Quota::Cpu)));
    }
}
