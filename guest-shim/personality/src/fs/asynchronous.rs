//! Signals when a file can be read or written: O_ASYNC, with fcntl's F_SETOWN and F_SETSIG.

use alloc::rc::{Rc, Weak};
use core::cell::Cell;

use super::special::ready;
use crate::wait::{Hub, Observer};

/// Who gets the signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// Nobody.
    #[default]
    Nobody,
    /// A thread.
    Thread(u32),
    /// A process.
    Process(u32),
    /// Every process of a group.
    Group(u32),
}

/// What a file's signals are, while it is open.
pub struct Asynchronous {
    /// Who gets them.
    pub owner: Cell<Owner>,
    /// Real and effective user of who said so.
    pub users: Cell<[u32; 2]>,
    /// Which signal; 0: SIGIO, without information.
    pub signal: Cell<u32>,
    /// The descriptor for which they were asked for, or -1: they are off.
    fd: Cell<i32>,
    /// What has happened since the last one was sent (`fs::special::ready`).
    events: Cell<i16>,
    /// The events that the way in which the file is open leaves: no input without reading, no room without writing.
    possible: i16,
    this: Weak<Self>,
    hub: Hub,
}

impl Asynchronous {
    /// Off, and for nobody.
    #[must_use]
    pub fn new(hub: &Hub, readable: bool, writable: bool) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            owner: Cell::default(),
            users: Cell::default(),
            signal: Cell::new(0),
            fd: Cell::new(-1),
            events: Cell::new(0),
            possible: !(if readable { 0 } else { ready::IN } | if writable { 0 } else { ready::OUT }),
            this: Weak::clone(this),
            hub: hub.clone(),
        })
    }

    /// Turns them on, in the name of a descriptor, or off.
    pub fn set_fd(&self, fd: Option<i32>) {
        self.fd.set(fd.unwrap_or(-1));
    }

    /// The descriptor, and what has happened, which is then forgotten. `None`: they are off.
    #[must_use]
    pub fn take(&self) -> Option<(i32, i16)> {
        let (fd, events) = (self.fd.get(), self.events.take());
        (fd >= 0).then_some((fd, events))
    }
}

impl Observer for Asynchronous {
    fn notify(&self, events: i16) -> bool {
        let events = events & self.possible & (ready::IN | ready::OUT);
        if self.fd.get() >= 0 && self.events.replace(self.events.get() | events) == 0 && events != 0 {
            self.hub.announce(&self.this);
        }
        false
    }

    fn exclusive(&self) -> bool {
        false
    }
}
