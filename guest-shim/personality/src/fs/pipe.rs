//! Pipes: a bounded queue of bytes between descriptors.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use super::special::{Caller, Sink, Special, Supply, ready};
use crate::abi::mode;
use crate::errno::Errno;
use crate::wait::{Channel, Hub};

/// Bytes that a pipe holds (Linux' default).
pub const CAPACITY: usize = 65536;
/// Writes up to this length are never split (PIPE_BUF).
pub const ATOMIC: usize = 4096;

/// The queue and the number of open ends.
pub struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    readers: Cell<u32>,
    writers: Cell<u32>,
    /// How often an end for reading, and one for writing, has been opened.
    opened: [Cell<u64>; 2],
    capacity: Cell<usize>,
    number: u64,
    channel: Channel,
}

impl Pipe {
    /// Empty, with no end open yet. `number` is its inode's.
    #[must_use]
    pub fn new(hub: &Hub, number: u64) -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::new(VecDeque::new()),
            readers: Cell::new(0),
            writers: Cell::new(0),
            opened: [Cell::new(0), Cell::new(0)],
            capacity: Cell::new(CAPACITY),
            number,
            channel: hub.channel(),
        })
    }

    /// Opens an end.
    #[must_use]
    pub fn open(self: &Rc<Self>, reading: bool, writing: bool) -> PipeEnd {
        for (opens, count) in [reading, writing].into_iter().zip(&self.opened) {
            count.set(count.get() + u64::from(opens));
        }
        if reading {
            self.readers.set(self.readers.get().saturating_add(1));
        }
        if writing {
            self.writers.set(self.writers.get().saturating_add(1));
        }
        self.channel.wake();
        PipeEnd { pipe: Rc::clone(self), reading, writing }
    }

    /// How often an end for reading, and one for writing, has been opened.
    #[must_use]
    pub fn opened(&self) -> [u64; 2] {
        [self.opened[0].get(), self.opened[1].get()]
    }

    /// How many ends are open for reading and for writing.
    #[must_use]
    pub fn ends(&self) -> (u32, u32) {
        (self.readers.get(), self.writers.get())
    }

    /// What opening an end wakes, and everything else that happens to it.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity.get()
    }

    /// Changes how many bytes it can hold.
    ///
    /// # Errors
    /// EBUSY when more are waiting.
    pub fn set_capacity(&self, capacity: usize) -> Result<(), Errno> {
        if self.len() > capacity {
            return Err(Errno::EBUSY);
        }
        self.capacity.set(capacity);
        self.channel.wake();
        Ok(())
    }

    fn read(&self, out: &mut dyn Sink) -> Result<usize, Errno> {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() {
            return if self.writers.get() > 0 { Err(Errno::EAGAIN) } else { Ok(0) };
        }
        let (first, second) = bytes.as_slices();
        let mut done = out.put(first);
        if done == first.len() {
            done += out.put(second);
        }
        bytes.drain(..done);
        if done > 0 {
            self.channel.wake_for(ready::OUT);
        }
        Ok(done)
    }

    /// Room for a write of `len` bytes: how many of them can go in now.
    fn room(&self, len: usize) -> Result<usize, Errno> {
        if self.readers.get() == 0 {
            return Err(Errno::EPIPE);
        }
        let mut bytes = self.bytes.borrow_mut();
        let room = self.capacity.get().saturating_sub(bytes.len());
        if room == 0 || (len <= ATOMIC && room < len) {
            return Err(Errno::EAGAIN);
        }
        let room = room.min(len);
        bytes.try_reserve(room).map_err(|_| Errno::ENOMEM)?;
        Ok(room)
    }

    fn write(&self, data: &mut dyn Supply) -> Result<usize, Errno> {
        let room = self.room(data.left())?;
        let mut bytes = self.bytes.borrow_mut();
        let mut done = 0;
        while done < room {
            let run = data.next(room - done);
            if run.is_empty() {
                break;
            }
            bytes.extend(run);
            done += run.len();
        }
        if done > 0 {
            self.channel.wake_for(ready::IN);
        }
        Ok(done)
    }
}

/// An open end of a pipe, or both of one (a FIFO that was opened to read and write).
pub struct PipeEnd {
    pipe: Rc<Pipe>,
    reading: bool,
    writing: bool,
}

impl PipeEnd {
    /// The pipe.
    #[must_use]
    pub fn pipe(&self) -> &Rc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.reading {
            self.pipe.readers.set(self.pipe.readers.get().saturating_sub(1));
        }
        if self.writing {
            self.pipe.writers.set(self.pipe.writers.get().saturating_sub(1));
        }
        self.pipe.channel.wake();
    }
}

impl Special for PipeEnd {
    fn read(&self, _: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        self.pipe.read(out)
    }

    fn write(&self, _: &Caller, data: &mut dyn Supply) -> Result<usize, Errno> {
        self.pipe.write(data)
    }

    fn poll(&self, _: &Caller) -> i16 {
        let (readers, writers) = self.pipe.ends();
        let mut found = 0;
        if self.reading {
            found |= if self.pipe.is_empty() { 0 } else { ready::IN };
            found |= if writers == 0 { ready::HUP } else { 0 };
        }
        if self.writing {
            let room = self.pipe.capacity().saturating_sub(self.pipe.len());
            found |= if room >= ATOMIC || readers == 0 { ready::OUT } else { 0 };
            found |= if readers == 0 { ready::ERR } else { 0 };
        }
        found
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.pipe.channel.clone());
    }

    fn mode(&self) -> u32 {
        mode::S_IFIFO | 0o600
    }

    fn inode(&self) -> u64 {
        self.pipe.number
    }

    fn link(&self) -> Vec<u8> {
        alloc::format!("pipe:[{}]", self.pipe.number).into_bytes()
    }

    fn readable_bytes(&self) -> Option<usize> {
        Some(self.pipe.len())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
