//! eventfd: a counter that is added to and waited for.

use alloc::vec::Vec;
use core::any::Any;
use core::cell::Cell;

use super::special::{Caller, Sink, Special, Supply, ready};
use crate::errno::Errno;
use crate::wait::{Channel, Hub};

/// The most that the counter holds.
const MOST: u64 = u64::MAX - 1;
/// Permission bits of everything that has no name; it has no file type either.
pub const ANONYMOUS_MODE: u32 = 0o600;

/// The counter.
pub struct EventFd {
    count: Cell<u64>,
    semaphore: bool,
    number: u64,
    channel: Channel,
}

impl EventFd {
    /// With this count. `semaphore`: a read takes one from it, not all.
    #[must_use]
    pub fn new(hub: &Hub, number: u64, count: u64, semaphore: bool) -> Self {
        Self { count: Cell::new(count), semaphore, number, channel: hub.channel() }
    }
}

/// Puts a counter where a read wants it, and says that it took the place of 8 bytes.
///
/// # Errors
/// EFAULT.
pub(super) fn put_count(out: &mut dyn Sink, count: u64) -> Result<usize, Errno> {
    let bytes = count.to_le_bytes();
    if out.put(&bytes) < bytes.len() { Err(Errno::EFAULT) } else { Ok(bytes.len()) }
}

impl Special for EventFd {
    fn read(&self, _: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        if out.room() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let count = self.count.get();
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        let taken = if self.semaphore { 1 } else { count };
        let done = put_count(out, taken)?;
        self.count.set(count - taken);
        self.channel.wake_for(ready::OUT);
        Ok(done)
    }

    fn write(&self, _: &Caller, data: &mut dyn Supply) -> Result<usize, Errno> {
        let mut bytes = [0; size_of::<u64>()];
        if data.left() < bytes.len() {
            return Err(Errno::EINVAL);
        }
        if data.take(&mut bytes) < bytes.len() {
            return Err(Errno::EFAULT);
        }
        let added = u64::from_le_bytes(bytes);
        if added > MOST {
            return Err(Errno::EINVAL);
        }
        let sum = self.count.get().checked_add(added).filter(|&sum| sum <= MOST).ok_or(Errno::EAGAIN)?;
        self.count.set(sum);
        self.channel.wake_for(ready::IN);
        Ok(bytes.len())
    }

    fn writes_messages(&self) -> bool {
        true
    }

    fn poll(&self, _: &Caller) -> i16 {
        let count = self.count.get();
        let readable = if count > 0 { ready::IN } else { 0 };
        let writable = if count < MOST { ready::OUT } else { 0 };
        readable | writable
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.channel.clone());
    }

    fn mode(&self) -> u32 {
        ANONYMOUS_MODE
    }

    fn inode(&self) -> u64 {
        self.number
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[eventfd]".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
