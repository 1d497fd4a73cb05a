//! pidfds: descriptors that stand for a process (pidfd_open(2)). They tell its end by becoming readable.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;

use super::event::ANONYMOUS_MODE;
use super::special::{Caller, Sink, Special, Supply, ready};
use crate::errno::Errno;
use crate::task::{Life, Process};
use crate::wait::Channel;

/// A process, kept even when its parent has fetched what became of it: its number may then be another's.
pub struct PidFd {
    process: Rc<RefCell<Process>>,
    ended: Channel,
    number: u64,
}

impl PidFd {
    /// A descriptor of `process`. `number` is its inode's.
    #[must_use]
    pub fn new(process: Rc<RefCell<Process>>, number: u64) -> Self {
        let ended = process.borrow().ended.clone();
        Self { process, ended, number }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Rc<RefCell<Process>> {
        &self.process
    }
}

impl Special for PidFd {
    fn read(&self, _: &Caller, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _: &Caller, _: &mut dyn Supply) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self, _: &Caller) -> i16 {
        if self.process.borrow().life == Life::Alive { 0 } else { ready::IN }
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.ended.clone());
    }

    fn mode(&self) -> u32 {
        ANONYMOUS_MODE
    }

    fn inode(&self) -> u64 {
        self.number
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[pidfd]".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
