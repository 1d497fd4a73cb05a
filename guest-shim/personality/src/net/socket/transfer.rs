//! What goes from one socket to another: bytes of streams, messages, and the open files beside them.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::{CAPACITY, Extra, Inner, Kind, Message, Received, Socket, State};
use crate::errno::Errno;
use crate::fs::special::{Sink, Supply, ready};
use crate::net::address::{Address, Host, family};

/// What a message counts beside its bytes.
const MESSAGE_COST: usize = 64;
/// Bytes of a stream that are kept in one piece.
const PIECE: usize = 16384;
/// Longest datagram of UDP.
pub const MAX_UDP: usize = 65507;
/// What a message of a Unix socket must leave of the sender's buffer.
const MESSAGE_HEAD: usize = 32;

impl Socket {
    /// Bytes that may wait at `peer` for what this one sends: the sender's buffer (Unix), the receiver's (UDP), or both together.
    fn room_at(&self, peer: &Self) -> usize {
        let (receive, send) = (peer.buffers[0].get(), self.buffers[1].get());
        match (self.domain, self.kind) {
            (family::UNIX, _) => send.unwrap_or(CAPACITY),
            (_, Kind::Datagram) => receive.unwrap_or(CAPACITY),
            _ => receive.unwrap_or(CAPACITY / 2).saturating_add(send.unwrap_or(CAPACITY / 2)),
        }
    }

    /// Sends to the other end of the connection.
    ///
    /// # Errors
    /// EAGAIN: no room. EPIPE, ENOTCONN, ECONNRESET, EMSGSIZE, ENOMEM.
    pub fn send(&self, data: &mut dyn Supply, extra: &mut Extra) -> Result<usize, Errno> {
        let inner = self.inner.borrow();
        match inner.state {
            State::Connected => {}
            State::Connecting => return Err(Errno::EAGAIN),
            _ if self.is_stream() && self.domain != family::UNIX => return Err(Errno::EPIPE),
            _ => return Err(Errno::ENOTCONN),
        }
        let shut = inner.shut[1];
        let peer = inner.peer.upgrade();
        drop(inner);
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let peer = peer.filter(|_| !shut).ok_or(Errno::EPIPE)?;
        let room = self.room_at(&peer);
        if self.is_stream() {
            peer.take_bytes(data, extra, room)
        } else {
            peer.take_message(data, extra, self.local(), room, room.saturating_sub(MESSAGE_HEAD))
        }
    }

    /// Where its datagrams go without an address: `None`: nowhere, which the next call will be told.
    ///
    /// # Errors
    /// Nobody was named, or nobody is there.
    pub fn datagram_target(&self) -> Result<Option<Rc<Self>>, Errno> {
        match (self.peer(), self.remote()) {
            (Some(peer), _) => Ok(Some(peer)),
            (None, Some(Address::Internet(host, port))) => {
                let found = self.network.at(false, host, port, self.sender_address(host).as_ref());
                if found.is_none() {
                    self.set_error(Errno::ECONNREFUSED);
                }
                Ok(found)
            }
            (None, Some(_)) => Err(Errno::ECONNREFUSED),
            (None, None) if self.domain == family::UNIX => Err(Errno::ENOTCONN),
            (None, None) => Err(Errno::EDESTADDRREQ),
        }
    }

    /// The address that a receiver at `host` sees of this socket: one that is bound to every host's sends from the same host.
    #[must_use]
    pub fn sender_address(&self, host: Host) -> Option<Address> {
        match self.local() {
            Some(Address::Internet(own, port)) if own.is_any() => Some(Address::Internet(host, port)),
            other => other,
        }
    }

    /// Sends a datagram to `target`. UDP's are lost when there is no room.
    ///
    /// # Errors
    /// EAGAIN: no room. EMSGSIZE, EPIPE, ENOMEM.
    pub fn send_to(&self, target: &Self, data: &mut dyn Supply, extra: &mut Extra) -> Result<usize, Errno> {
        if self.inner.borrow().shut[1] {
            return Err(Errno::EPIPE);
        }
        let room = self.room_at(target);
        let most = if self.domain == family::UNIX { room.saturating_sub(MESSAGE_HEAD) } else { MAX_UDP };
        let len = data.left();
        let from = self.sender_address(target.host().map_or(Host::V4([127, 0, 0, 1]), Host::destination));
        match target.take_message(data, extra, from, room, most) {
            Err(Errno::EAGAIN) if self.domain != family::UNIX => Ok(len),
            other => other,
        }
    }

    /// Bytes of a stream arrive.
    fn take_bytes(&self, data: &mut dyn Supply, extra: &mut Extra, room: usize) -> Result<usize, Errno> {
        let mut inner = self.inner.borrow_mut();
        if inner.shut[0] && self.domain == family::UNIX {
            return Err(Errno::EPIPE);
        }
        let room = room.saturating_sub(inner.queued);
        let wanted = data.left().min(room);
        if wanted == 0 {
            return if data.left() == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let mut done = 0;
        while done < wanted {
            let joins = extra.files.is_empty()
                && inner.messages.back().is_some_and(|last| {
                    last.files.is_empty() && last.bytes.len() < PIECE && last.sender == extra.sender
                });
            if !joins {
                inner.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                let files = core::mem::take(&mut extra.files);
                self.network.files_leave(files.len());
                inner.messages.push_back(Message { sender: extra.sender, files, ..Message::default() });
            }
            let Some(last) = inner.messages.back_mut() else { break };
            let piece = (wanted - done).min(PIECE.saturating_sub(last.bytes.len())).max(1);
            if last.bytes.try_reserve(piece).is_err() {
                break;
            }
            let run = data.next(piece);
            if run.is_empty() {
                break;
            }
            last.bytes.extend_from_slice(run);
            done += run.len();
            inner.queued += run.len();
        }
        drop(inner);
        self.channel.wake_for(ready::IN);
        Ok(done)
    }

    /// A message arrives; `room` bytes may wait, and it may have `most`.
    fn take_message(
        &self,
        data: &mut dyn Supply,
        extra: &mut Extra,
        from: Option<Address>,
        room: usize,
        most: usize,
    ) -> Result<usize, Errno> {
        let len = data.left();
        if len > most {
            return Err(Errno::EMSGSIZE);
        }
        let mut inner = self.inner.borrow_mut();
        if inner.shut[0] {
            return Err(Errno::EPIPE);
        }
        let cost = len + MESSAGE_COST;
        if inner.queued + cost > room && !inner.messages.is_empty() {
            return Err(Errno::EAGAIN);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        inner.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        while bytes.len() < len {
            let run = data.next(len - bytes.len());
            if run.is_empty() {
                return Err(Errno::EFAULT);
            }
            bytes.extend_from_slice(run);
        }
        let files = core::mem::take(&mut extra.files);
        self.network.files_leave(files.len());
        inner.messages.push_back(Message { bytes, read: 0, from, sender: extra.sender, files });
        inner.queued += cost;
        drop(inner);
        self.channel.wake_for(ready::IN);
        Ok(len)
    }

    /// Bytes of a stream that wait; those of the next message.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        let inner = self.inner.borrow();
        if self.is_stream() { inner.queued } else { inner.messages.front().map_or(0, |message| message.bytes.len()) }
    }

    /// Whether nothing more will arrive.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let inner = self.inner.borrow();
        inner.end || inner.shut[0] || inner.error.is_some()
    }

    /// Receives: bytes of a stream, or the next message. `peek`: leaves them.
    ///
    /// # Errors
    /// EAGAIN: nothing yet. ENOTCONN, EINVAL: not connected; what has happened to the connection.
    pub fn receive(&self, out: &mut dyn Sink, peek: bool) -> Result<Received, Errno> {
        let mut inner = self.inner.borrow_mut();
        if self.needs_connection() && inner.state != State::Connected {
            if inner.state == State::Connecting {
                return Err(Errno::EAGAIN);
            }
            return Err(if self.domain == family::UNIX && self.is_stream() { Errno::EINVAL } else { Errno::ENOTCONN });
        }
        if inner.messages.is_empty() {
            if let Some(error) = inner.error.take() {
                return Err(error);
            }
            let over = inner.shut[0] || (inner.end && self.needs_connection());
            return if over { Ok(Received::default()) } else { Err(Errno::EAGAIN) };
        }
        let received =
            if self.is_stream() { read_bytes(&mut inner, out, peek) } else { read_message(&mut inner, out, peek) };
        let peer = inner.peer.upgrade();
        drop(inner);
        if !peek {
            self.network.files_arrive(received.files.len());
            if let Some(peer) = peer.filter(|_| self.needs_connection()) {
                peer.channel.wake_for(ready::OUT);
            }
            // Senders of datagrams wait here.
            if !self.needs_connection() {
                self.channel.wake_for(ready::OUT);
            }
        }
        Ok(received)
    }

    /// Whether a poll would rather wait before more is sent to `peer`.
    pub(super) fn fills(&self, peer: &Self) -> bool {
        let room = self.room_at(peer);
        peer.inner.try_borrow().is_ok_and(|there| there.queued > room - room / 4)
    }
}

/// Bytes from the front, up to those that came with other files or from another sender.
fn read_bytes(inner: &mut Inner, out: &mut dyn Sink, peek: bool) -> Received {
    let mut received = Received::default();
    for (index, message) in inner.messages.iter_mut().enumerate() {
        let other_sender = message.sender != received.sender || !message.files.is_empty();
        if out.room() == 0 || (index > 0 && other_sender) {
            break;
        }
        if index == 0 {
            received.sender = message.sender;
            received.files = if peek { message.files.clone() } else { core::mem::take(&mut message.files) };
        }
        let rest = message.bytes.get(message.read..).unwrap_or(&[]);
        let count = out.put(rest);
        received.count += count;
        if !peek {
            message.read += count;
        }
        if count < rest.len() {
            break;
        }
    }
    received.whole = received.count;
    if !peek {
        inner.queued = inner.queued.saturating_sub(received.count);
        while inner
            .messages
            .front()
            .is_some_and(|message| message.read >= message.bytes.len() && message.files.is_empty())
        {
            inner.messages.pop_front();
        }
    }
    received
}

/// The next message, of which what does not fit is lost.
fn read_message(inner: &mut Inner, out: &mut dyn Sink, peek: bool) -> Received {
    let mut received = Received::default();
    if let Some(message) = inner.messages.front_mut() {
        received.count = out.put(&message.bytes);
        received.whole = message.bytes.len();
        received.from.clone_from(&message.from);
        received.sender = message.sender;
        received.files = if peek { message.files.clone() } else { core::mem::take(&mut message.files) };
        if !peek {
            inner.queued = inner.queued.saturating_sub(message.bytes.len() + MESSAGE_COST);
            inner.messages.pop_front();
        }
    }
    received
}
