//! What tasks wait for.
//!
//! An object that a task can wait for owns a [`Channel`] and calls [`Channel::wake`] after each change that may let a
//! waiter go on. That only notes who is to be woken: the kernel makes those tasks ready when the present call is over, and
//! each makes its call again. So a wake-up too many does no harm, and one too few is the only mistake to be made here.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use crate::fs::asynchronous::Asynchronous;

/// Who has been woken since the kernel looked last, by thread id.
type Woken = Rc<RefCell<Vec<u32>>>;

/// Where channels come from, and where they leave whom they woke.
#[derive(Clone, Default)]
pub struct Hub {
    woken: Woken,
    /// Files whose signals are to be sent.
    announced: Rc<RefCell<Vec<Weak<Asynchronous>>>>,
}

impl Hub {
    /// A new channel.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel(Rc::new(Inner {
            waiting: RefCell::new(VecDeque::new()),
            generation: Cell::new(0),
            observers: RefCell::new(Vec::new()),
            woken: Rc::clone(&self.woken),
        }))
    }

    /// The threads that have been woken since the last time; one may be named more than once.
    #[must_use]
    pub fn take_woken(&self) -> Vec<u32> {
        core::mem::take(&mut *self.woken.borrow_mut())
    }

    /// Signals of a file are to be sent.
    pub fn announce(&self, file: &Weak<Asynchronous>) {
        self.announced.borrow_mut().push(Weak::clone(file));
    }

    /// Whose signals are to be sent.
    #[must_use]
    pub fn take_announced(&self) -> Vec<Weak<Asynchronous>> {
        core::mem::take(&mut *self.announced.borrow_mut())
    }

    /// Nobody has been woken.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.woken.borrow().is_empty()
    }
}

struct Inner {
    waiting: RefCell<VecDeque<u32>>,
    generation: Cell<u64>,
    observers: RefCell<Vec<Weak<dyn Observer>>>,
    woken: Woken,
}

/// Who is told of each wake-up without waiting for it: an epoll entry.
pub trait Observer {
    /// Something has changed that concerns these events (`fs::special::ready`). It may wake other channels, and observes none.
    /// Whether this has woken a thread that can be expected to see to the change.
    fn notify(&self, events: i16) -> bool;

    /// It shares each wake-up with others (EPOLLEXCLUSIVE): it need not be told once one of them has woken a thread.
    fn exclusive(&self) -> bool;
}

/// A queue of threads that wait for one object. Clones are the same queue.
#[derive(Clone)]
pub struct Channel(Rc<Inner>);

impl PartialEq for Channel {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Channel {}

impl core::fmt::Debug for Channel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Channel").field("waiting", &self.0.waiting.borrow()).finish_non_exhaustive()
    }
}

impl Channel {
    /// Wakes everybody who waits: the object has changed.
    pub fn wake(&self) {
        self.wake_for(!0);
    }

    /// The same, for a change that concerns only these events (`fs::special::ready`): an edge-triggered epoll reports
    /// no others.
    pub fn wake_for(&self, events: i16) {
        self.0.generation.set(self.0.generation.get().wrapping_add(1));
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.is_empty() {
            self.0.woken.borrow_mut().extend(waiting.drain(..));
        }
        drop(waiting);
        self.tell(events);
    }

    fn tell(&self, events: i16) {
        let observers = self.0.observers.borrow();
        let living = || observers.iter().filter_map(Weak::upgrade);
        for observer in living().filter(|observer| !observer.exclusive()) {
            observer.notify(events);
        }
        // The first that wakes a thread is the last to be told.
        let _ = living().filter(|observer| observer.exclusive()).any(|observer| observer.notify(events));
    }

    /// Tells `observer` of each wake-up from now on, as long as it lives.
    pub fn observe(&self, observer: Weak<dyn Observer>) {
        let mut observers = self.0.observers.borrow_mut();
        observers.retain(|known| known.strong_count() > 0);
        observers.push(observer);
    }

    /// Wakes the one who has waited longest; `None` when nobody waits.
    pub fn wake_one(&self) -> Option<u32> {
        self.0.generation.set(self.0.generation.get().wrapping_add(1));
        let thread = self.0.waiting.borrow_mut().pop_front()?;
        self.0.woken.borrow_mut().push(thread);
        self.tell(!0);
        Some(thread)
    }

    /// Grows with each wake-up: tells whether the object has changed since somebody looked (edge-triggered epoll).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.get()
    }

    /// `thread` waits from now on.
    pub fn join(&self, thread: u32) {
        self.0.waiting.borrow_mut().push_back(thread);
    }

    /// `thread` does not wait any more.
    pub fn leave(&self, thread: u32) {
        self.0.waiting.borrow_mut().retain(|&waiting| waiting != thread);
    }

    /// Whether `thread` waits.
    #[must_use]
    pub fn has(&self, thread: u32) -> bool {
        self.0.waiting.borrow().contains(&thread)
    }

    /// How many wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.0.waiting.borrow().len()
    }
}

/// How a wait ends when a signal handler has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The call is made again if the handler's action says SA_RESTART, else EINTR (ERESTARTSYS).
    AsTheActionSays,
    /// EINTR (ERESTARTNOHAND, ERESTART_RESTARTBLOCK).
    Always,
    /// Not at all, but by SIGKILL: the handler has to wait.
    Never,
    /// Not at all: handlers have to wait. Signals that end the process do (TASK_KILLABLE).
    ByTheEnd,
}

/// What a call waits for before it is tried again: the first of all these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Reference time at which to try again at the latest; `u64::MAX`: no limit.
    pub deadline: u64,
    /// Bits of `proto::op::wait_events`.
    pub events: u64,
    /// Objects.
    pub channels: Vec<Channel>,
    /// What a signal handler makes of it.
    pub interrupted: Interrupted,
}

impl Wait {
    /// For nothing but a signal.
    #[must_use]
    pub fn forever() -> Self {
        Self { deadline: u64::MAX, events: 0, channels: Vec::new(), interrupted: Interrupted::AsTheActionSays }
    }

    /// Until `deadline` (reference time).
    #[must_use]
    pub fn until(deadline: u64) -> Self {
        Self { deadline, ..Self::forever() }
    }

    /// For an object.
    #[must_use]
    pub fn on(channel: &Channel) -> Self {
        Self { channels: vec![channel.clone()], ..Self::forever() }
    }

    /// For an event that the root knows of (`proto::op::wait_events`).
    #[must_use]
    pub fn event(event: u64) -> Self {
        Self { events: event, ..Self::forever() }
    }

    /// Also until `deadline`.
    #[must_use]
    pub fn or_until(mut self, deadline: u64) -> Self {
        self.deadline = self.deadline.min(deadline);
        self
    }

    /// Also for this object.
    #[must_use]
    pub fn or_on(mut self, channel: &Channel) -> Self {
        self.channels.push(channel.clone());
        self
    }

    /// Nothing but SIGKILL ends it.
    #[must_use]
    pub fn uninterruptible(mut self) -> Self {
        self.interrupted = Interrupted::Never;
        self
    }

    /// Nothing but the end of the process ends it.
    #[must_use]
    pub fn killable(mut self) -> Self {
        self.interrupted = Interrupted::ByTheEnd;
        self
    }

    /// A signal handler ends it with EINTR, whatever the action says.
    #[must_use]
    pub fn never_restarted(mut self) -> Self {
        self.interrupted = Interrupted::Always;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_longest_is_woken_first() {
        let hub = Hub::default();
        let channel = hub.channel();
        for thread in [3, 1, 2] {
            channel.join(thread);
        }
        channel.leave(1);
        assert_eq!(channel.wake_one(), Some(3));
        assert_eq!(hub.take_woken(), [3]);
        channel.wake();
        assert_eq!(hub.take_woken(), [2]);
        assert_eq!(channel.wake_one(), None);
        assert!(hub.is_quiet());
        assert_eq!(channel.generation(), 3);
    }
}
