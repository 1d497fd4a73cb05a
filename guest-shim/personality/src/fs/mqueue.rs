//! POSIX message queues (mq_overview(7)): messages with priorities, behind descriptors.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use super::special::{Caller, Sink, Special, Supply, ready};
use crate::abi::mode;
use crate::errno::Errno;
use crate::signal::Signal;
use crate::wait::{Channel, Hub};

/// A message.
pub struct Message {
    /// Higher ones are received first.
    pub priority: u32,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Who is told when a message arrives in an empty queue, once (mq_notify).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The process that asked for it.
    pub pid: u32,
    /// The signal that it is sent; `None`: it only keeps others from asking.
    pub signal: Option<Signal>,
    /// `sigev_value`.
    pub value: u64,
}

/// A queue. It lives as long as it has a name or an open descriptor.
pub struct Queue {
    /// User and group of its maker.
    pub owner: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Most messages.
    pub capacity: usize,
    /// Longest message.
    pub longest: usize,
    /// Who waits to be told.
    pub notice: Cell<Option<Notice>>,
    messages: RefCell<VecDeque<Message>>,
    channel: Channel,
    /// Where calls wait that receive: a message that one of them takes is no news to others.
    receiving: Channel,
    number: u64,
}

impl Queue {
    /// Empty. `number` is its inode's.
    #[must_use]
    pub fn new(hub: &Hub, number: u64, owner: (u32, u32), mode: u32, capacity: usize, longest: usize) -> Rc<Self> {
        Rc::new(Self {
            owner,
            mode,
            capacity,
            longest,
            notice: Cell::new(None),
            messages: RefCell::default(),
            channel: hub.channel(),
            receiving: hub.channel(),
            number,
        })
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.borrow().len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a call waits on that sends.
    #[must_use]
    pub fn sending(&self) -> &Channel {
        &self.channel
    }

    /// What a call waits on that receives.
    #[must_use]
    pub fn receiving(&self) -> &Channel {
        &self.receiving
    }

    /// Adds a message, behind those of its priority. Gives whoever is to be told of it.
    ///
    /// # Errors
    /// EAGAIN: it is full. ENOMEM.
    pub fn send(&self, message: Message) -> Result<Option<Notice>, Errno> {
        let mut messages = self.messages.borrow_mut();
        if messages.len() >= self.capacity {
            return Err(Errno::EAGAIN);
        }
        messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let first = messages.is_empty();
        let at = messages.iter().position(|one| one.priority < message.priority).unwrap_or(messages.len());
        messages.insert(at, message);
        drop(messages);
        let awaited = self.receiving.waiters() > 0;
        self.channel.wake_for(ready::IN);
        self.receiving.wake();
        Ok(if first && !awaited { self.notice.take() } else { None })
    }

    /// Takes the first message of the highest priority.
    ///
    /// # Errors
    /// EAGAIN: there is none.
    pub fn receive(&self) -> Result<Message, Errno> {
        let message = self.messages.borrow_mut().pop_front().ok_or(Errno::EAGAIN)?;
        self.channel.wake_for(ready::OUT);
        Ok(message)
    }
}

/// An open descriptor of a queue.
pub struct QueueEnd(pub Rc<Queue>);

impl Special for QueueEnd {
    /// What it holds, as text.
    fn read(&self, _: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        let bytes: usize = self.0.messages.borrow().iter().map(|message| message.bytes.len()).sum();
        let (signal, pid) =
            self.0.notice.get().map_or((0, 0), |one| (one.signal.map_or(0, |signal| signal.0), one.pid));
        let text = format!("QSIZE:{bytes:<10} NOTIFY:{:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", 0);
        Ok(out.put(text.as_bytes()))
    }

    fn write(&self, _: &Caller, _: &mut dyn Supply) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self, _: &Caller) -> i16 {
        let len = self.0.len();
        let readable = if len > 0 { ready::IN } else { 0 };
        let writable = if len < self.0.capacity { ready::OUT } else { 0 };
        readable | writable
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.0.channel.clone());
    }

    fn mode(&self) -> u32 {
        mode::S_IFREG | self.0.mode
    }

    fn inode(&self) -> u64 {
        self.0.number
    }

    fn link(&self) -> Vec<u8> {
        format!("mqueue:[{}]", self.0.number).into_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_come_first_and_equals_in_order() {
        let queue = Queue::new(&Hub::default(), 1, (0, 0), 0o600, 3, 8);
        let notice = Notice { pid: 7, signal: None, value: 0 };
        queue.notice.set(Some(notice));
        let send = |priority, text: &[u8]| queue.send(Message { priority, bytes: text.to_vec() });
        assert_eq!(send(1, b"a"), Ok(Some(notice)));
        assert_eq!(send(5, b"b"), Ok(None));
        assert_eq!(send(1, b"c"), Ok(None));
        assert_eq!(send(9, b"d"), Err(Errno::EAGAIN));
        let order: Vec<Vec<u8>> = core::iter::from_fn(|| queue.receive().ok()).map(|one| one.bytes).collect();
        assert_eq!(order, [b"b", b"a", b"c"]);
    }
}
