//! Whose turn it is: several sandboxes share one processor.
//!
//! A sandbox that could run stands in one queue, first come, first served. Its turn lasts until it waits or its [`SLICE`] is over,
//! and then it goes to the queue's end: so each gets its turn after at most one slice of every other, whatever the others do.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use tlfs::time::REFERENCE_TICKS_PER_SECOND;

/// How long a turn lasts if others could run, in 100 ns.
pub const SLICE: u64 = REFERENCE_TICKS_PER_SECOND / 100;

/// What a sandbox is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    /// In the queue, or having its turn.
    Ready,
    Waiting(Waiting),
    /// The host has yet to take what it said.
    Held,
    /// It stands still until somebody lets it go on.
    Stopped,
    Ended,
}

/// What a sandbox waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Until the root's reference time is this,
    pub deadline: u64,
    /// or one of these events (`proto::op::wait_events`) is there.
    pub events: u64,
}

/// All sandboxes of a run, by number.
#[derive(Debug, Default)]
pub struct Turns {
    seats: Vec<Seat>,
    queue: VecDeque<u16>,
}

impl Turns {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, with the next number, which can run if it `runs`, or has ended already.
    pub fn add(&mut self, runs: bool) {
        let number = u16::try_from(self.seats.len()).ok().filter(|_| runs);
        self.seats.push(if number.is_some() { Seat::Ready } else { Seat::Ended });
        self.queue.extend(number);
    }

    /// Takes the one whose turn it is out of the queue. One of the calls below puts it where it belongs after its turn.
    pub fn take(&mut self) -> Option<u16> {
        self.queue.pop_front()
    }

    /// Whether somebody's turn would be next.
    #[must_use]
    pub fn any_ready(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether there is one that has not ended.
    #[must_use]
    pub fn any_left(&self) -> bool {
        self.seats.iter().any(|seat| *seat != Seat::Ended)
    }

    /// It could run: its slice is over, or what it waited for is there.
    pub fn ready(&mut self, sandbox: u16) {
        self.set(sandbox, Seat::Ready);
        self.queue.push_back(sandbox);
    }

    /// It waits.
    pub fn wait(&mut self, sandbox: u16, waiting: Waiting) {
        self.set(sandbox, Seat::Waiting(waiting));
    }

    /// It said more than the host has taken.
    pub fn hold(&mut self, sandbox: u16) {
        self.set(sandbox, Seat::Held);
    }

    /// It stands still.
    pub fn stop(&mut self, sandbox: u16) {
        self.set(sandbox, Seat::Stopped);
    }

    /// Whether it stands still.
    #[must_use]
    pub fn is_stopped(&self, sandbox: u16) -> bool {
        self.seats.get(usize::from(sandbox)) == Some(&Seat::Stopped)
    }

    /// It has ended, wherever it stood.
    pub fn end(&mut self, sandbox: u16) {
        self.set(sandbox, Seat::Ended);
        self.queue.retain(|other| *other != sandbox);
    }

    /// Those that have not ended.
    pub fn left(&self) -> impl Iterator<Item = u16> {
        self.select(|seat| (seat != Seat::Ended).then_some(())).map(|(sandbox, ())| sandbox)
    }

    /// Those that wait, and for what.
    pub fn waiting(&self) -> impl Iterator<Item = (u16, Waiting)> {
        self.select(|seat| match seat {
            Seat::Waiting(waiting) => Some(waiting),
            _ => None,
        })
    }

    /// Those that the host is behind with.
    pub fn held(&self) -> impl Iterator<Item = u16> {
        self.select(|seat| (seat == Seat::Held).then_some(())).map(|(sandbox, ())| sandbox)
    }

    /// The root's reference time at which the first of those that wait has to be woken; `u64::MAX`: whenever.
    #[must_use]
    pub fn wake_at(&self) -> u64 {
        self.waiting().map(|(_, waiting)| waiting.deadline).min().unwrap_or(u64::MAX)
    }

    fn select<O>(&self, f: impl Fn(Seat) -> Option<O>) -> impl Iterator<Item = (u16, O)> {
        (0u16..).zip(&self.seats).filter_map(move |(number, seat)| f(*seat).map(|found| (number, found)))
    }

    fn set(&mut self, sandbox: u16, to: Seat) {
        if let Some(seat) = self.seats.get_mut(usize::from(sandbox)) {
            *seat = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(count: u16) -> Turns {
        let mut turns = Turns::new();
        (0..count).for_each(|_| turns.add(true));
        turns
    }

    #[test]
    fn each_gets_its_turn_whatever_the_others_do() {
        let mut turns = turns(4);
        let mut had = [0; 4];
        for round in 0..100 {
            let sandbox = turns.take().unwrap();
            had[usize::from(sandbox)] += 1;
            if sandbox.is_multiple_of(2) {
                // Waits for next to nothing, again and again.
                turns.wait(sandbox, Waiting { deadline: round, events: 0 });
                turns.ready(sandbox);
            } else {
                turns.ready(sandbox);
            }
        }
        assert_eq!(had, [25; 4]);
    }

    #[test]
    fn who_waits_is_not_run_and_the_first_deadline_counts() {
        let mut turns = turns(3);
        for (deadline, events) in [(70, 0), (50, 1), (90, 2)] {
            let sandbox = turns.take().unwrap();
            turns.wait(sandbox, Waiting { deadline, events });
        }
        assert!(!turns.any_ready() && turns.any_left());
        assert_eq!(turns.wake_at(), 50);
        turns.ready(1);
        assert_eq!((turns.take(), turns.take(), turns.wake_at()), (Some(1), None, 70));
        assert_eq!(turns.waiting().map(|(n, w)| (n, w.events)).collect::<Vec<_>>(), [(0, 0), (2, 2)]);
    }

    #[test]
    fn who_has_ended_is_gone_from_everywhere() {
        let mut turns = turns(3);
        turns.add(false);
        assert_eq!(turns.left().collect::<Vec<_>>(), [0, 1, 2]);
        turns.end(1);
        assert_eq!(turns.take(), Some(0));
        turns.stop(0);
        assert!(turns.is_stopped(0) && !turns.is_stopped(2) && turns.held().next().is_none());
        turns.hold(0);
        assert_eq!(turns.held().collect::<Vec<_>>(), [0]);
        assert_eq!(turns.take(), Some(2));
        turns.end(0);
        turns.end(2);
        assert!(!turns.any_left() && !turns.any_ready() && turns.held().next().is_none());
        assert_eq!(turns.wake_at(), u64::MAX);
        // A number that nobody has.
        turns.end(99);
    }
}
