//! Pipes: a bounded queue of bytes between descriptors, some of which may be marked off as packets (pipe(2), O_DIRECT).

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

/// Bytes that were written together.
#[derive(Clone, Copy)]
struct Run {
    len: usize,
    /// They are read by one read only, which drops what it has no room for.
    packet: bool,
}

/// What a pipe holds: bytes, and the runs that they fall into.
#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
}

impl Queue {
    /// Room for a write of `len` bytes into a pipe that holds `capacity`; packets take a page each.
    fn room(&self, len: usize, capacity: usize, packet: bool) -> usize {
        let room = capacity.saturating_sub(self.bytes.len());
        let full = packet && self.runs.len() >= capacity / ATOMIC;
        if full || (len <= ATOMIC && room < len) { 0 } else { room.min(len) }
    }

    /// Notes that `len` bytes were put at the end.
    fn mark(&mut self, mut len: usize, packet: bool) {
        if let Some(last) = self.runs.back_mut().filter(|last| !packet && !last.packet) {
            last.len += len;
            return;
        }
        while packet && len > ATOMIC {
            self.runs.push_back(Run { len: ATOMIC, packet });
            len -= ATOMIC;
        }
        if len > 0 {
            self.runs.push_back(Run { len, packet });
        }
    }

    /// Up to `max` bytes from the front that one read may take: how many, and how many are gone then.
    fn front(&self, max: usize) -> (usize, usize) {
        let mut taken = 0;
        for run in &self.runs {
            let part = run.len.min(max - taken);
            if run.packet {
                return (taken + part, if part > 0 { taken + run.len } else { taken });
            }
            taken += part;
            if part < run.len {
                break;
            }
        }
        (taken, taken)
    }

    /// Drops bytes from the front.
    fn drain(&mut self, mut len: usize) {
        self.bytes.drain(..len.min(self.bytes.len()));
        while let Some(first) = self.runs.front_mut().filter(|_| len > 0) {
            let part = first.len.min(len);
            first.len -= part;
            len -= part;
            if first.len == 0 {
                self.runs.pop_front();
            }
        }
    }
}

/// The queue and the number of open ends.
pub struct Pipe {
    queue: RefCell<Queue>,
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
            queue: RefCell::default(),
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
        self.queue.borrow().bytes.len()
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
        let mut queue = self.queue.borrow_mut();
        if queue.bytes.is_empty() {
            return if self.writers.get() > 0 { Err(Errno::EAGAIN) } else { Ok(0) };
        }
        let (wanted, gone) = queue.front(out.room());
        let (first, second) = queue.bytes.as_slices();
        let first = first.get(..wanted).unwrap_or(first);
        let mut done = out.put(first);
        if done == first.len() {
            done += out.put(second.get(..wanted - done).unwrap_or(second));
        }
        queue.drain(if done == wanted { gone } else { done });
        if done > 0 {
            self.channel.wake_for(ready::OUT);
        }
        Ok(done)
    }

    /// Room for a write of `len` bytes: how many of them can go in now.
    fn room(&self, len: usize, packet: bool) -> Result<usize, Errno> {
        if self.readers.get() == 0 {
            return Err(Errno::EPIPE);
        }
        let mut queue = self.queue.borrow_mut();
        let room = queue.room(len, self.capacity.get(), packet);
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        queue.bytes.try_reserve(room).map_err(|_| Errno::ENOMEM)?;
        Ok(room)
    }

    fn write(&self, data: &mut dyn Supply, packet: bool) -> Result<usize, Errno> {
        let len = if packet { data.left().min(ATOMIC) } else { data.left() };
        let room = self.room(len, packet)?;
        let mut queue = self.queue.borrow_mut();
        let mut done = 0;
        while done < room {
            let run = data.next(room - done);
            if run.is_empty() {
                break;
            }
            queue.bytes.extend(run);
            done += run.len();
        }
        queue.mark(done, packet);
        if done > 0 {
            self.channel.wake_for(ready::IN);
        }
        Ok(done)
    }

    /// Copies up to `max` bytes to another pipe and keeps them (tee(2)); 0 if nobody will write any more.
    ///
    /// # Errors
    /// EAGAIN when there is nothing yet, or no room; EPIPE when nobody reads the other; ENOMEM.
    pub fn copy_to(&self, other: &Self, max: usize) -> Result<usize, Errno> {
        let queue = self.queue.borrow();
        if queue.bytes.is_empty() {
            return if self.writers.get() > 0 { Err(Errno::EAGAIN) } else { Ok(0) };
        }
        if other.readers.get() == 0 {
            return Err(Errno::EPIPE);
        }
        let mut target = other.queue.borrow_mut();
        let mut done = 0;
        for run in &queue.runs {
            let free = other.capacity.get().saturating_sub(target.bytes.len());
            let part = target.room(run.len.min(max - done).min(free), other.capacity.get(), run.packet);
            target.bytes.try_reserve(part).map_err(|_| Errno::ENOMEM)?;
            target.bytes.extend(queue.bytes.range(done..done + part));
            target.mark(part, run.packet);
            done += part;
            if part < run.len {
                break;
            }
        }
        if done == 0 {
            return Err(Errno::EAGAIN);
        }
        other.channel.wake_for(ready::IN);
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

    fn write(&self, caller: &Caller, data: &mut dyn Supply) -> Result<usize, Errno> {
        self.pipe.write(data, caller.packets)
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

    fn signals(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(runs: &[(&[u8], bool)]) -> Queue {
        let mut queue = Queue::default();
        for &(bytes, packet) in runs {
            queue.bytes.extend(bytes);
            queue.mark(bytes.len(), packet);
        }
        queue
    }

    /// One read with room for `max` bytes.
    fn take(queue: &mut Queue, max: usize) -> Vec<u8> {
        let (wanted, gone) = queue.front(max);
        let bytes = queue.bytes.range(..wanted).copied().collect();
        queue.drain(gone);
        assert_eq!(queue.runs.iter().map(|run| run.len).sum::<usize>(), queue.bytes.len());
        bytes
    }

    #[test]
    fn a_read_takes_one_packet_and_drops_its_rest() {
        let mut all =
            queue(&[(b"first", true), (b"second", true), (b"plain ", false), (b"bytes", false), (b"third", true)]);
        assert_eq!(take(&mut all, 100), b"first");
        assert_eq!(take(&mut all, 0), b"");
        assert_eq!(take(&mut all, 3), b"sec");
        assert_eq!(take(&mut all, 4), b"plai");
        // What is no packet is read together with the packet behind it.
        assert_eq!(take(&mut all, 9), b"n bytesth");
        assert_eq!(take(&mut all, 9), b"");
    }

    #[test]
    fn packets_take_a_page_each() {
        let mut all = queue(&[(&[7; ATOMIC + 1], true)]);
        assert_eq!((all.room(1, 2 * ATOMIC, true), all.room(1, 2 * ATOMIC, false)), (0, 1));
        assert_eq!(all.room(1, 3 * ATOMIC, true), 1);
        assert_eq!((take(&mut all, 2 * ATOMIC).len(), take(&mut all, 2 * ATOMIC).len()), (ATOMIC, 1));
    }
}
