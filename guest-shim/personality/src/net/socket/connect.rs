//! Listening, connecting, accepting, and the end of a connection.

use alloc::rc::Rc;

use super::{Credentials, Late, Socket, State, option};
use crate::errno::Errno;
use crate::fs::special::ready;
use crate::net::address::{Address, family};

/// Connections that wait to be accepted at most (net.core.somaxconn).
const MAX_BACKLOG: usize = 4096;

impl Socket {
    /// Does a connect of it wait for its turn?
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.inner.borrow().state == State::Connecting
    }

    /// Connects when `listener` has room again; if too many wait for that already, as if nobody had answered.
    pub fn connect_later(self: &Rc<Self>, listener: &Self, accepted: Rc<Self>, remote: Address, own: Credentials) {
        let mut there = listener.inner.borrow_mut();
        there.late.retain(|late| late.client.strong_count() > 0);
        if there.late.len() >= MAX_BACKLOG {
            drop(there);
            self.set_error(Errno::ETIMEDOUT);
            return;
        }
        self.inner.borrow_mut().state = State::Connecting;
        there.late.push_back(Late { client: Rc::downgrade(self), accepted, remote, own });
    }

    /// Gives those their turn who found the queue full.
    fn let_late_ones_in(&self) {
        loop {
            let late = {
                let mut inner = self.inner.borrow_mut();
                if inner.waiting.len() >= inner.backlog { None } else { inner.late.pop_front() }
            };
            let Some(Late { client, accepted, remote, own }) = late else { break };
            let Some(client) = client.upgrade().filter(|client| client.is_connecting()) else { continue };
            client.inner.borrow_mut().state = State::New;
            if let Err(error) = client.connect(self, accepted, remote, own) {
                client.set_error(error);
            }
        }
    }

    /// Waits for connections from now on.
    ///
    /// # Errors
    /// EINVAL: it is connected.
    pub fn listen(&self, backlog: i32, own: Credentials) -> Result<(), Errno> {
        let mut inner = self.inner.borrow_mut();
        if inner.state == State::Connected {
            return Err(Errno::EINVAL);
        }
        inner.state = State::Listening;
        inner.peer_credentials = own;
        // Linux lets one more wait than was asked for.
        inner.backlog = usize::try_from(backlog).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG) + 1;
        Ok(())
    }

    /// Connects to a socket that listens: `accepted` becomes this one's other end and waits to be accepted.
    ///
    /// # Errors
    /// EISCONN, ECONNREFUSED; EAGAIN: too many wait.
    pub fn connect(
        self: &Rc<Self>,
        listener: &Self,
        accepted: Rc<Self>,
        remote: Address,
        own: Credentials,
    ) -> Result<(), Errno> {
        match self.inner.borrow().state {
            State::New => {}
            State::Connecting => return Err(Errno::EALREADY),
            State::Connected => return Err(Errno::EISCONN),
            State::Listening => return Err(Errno::EINVAL),
        }
        let mut there = listener.inner.borrow_mut();
        if there.state != State::Listening || there.shut[0] {
            return Err(Errno::ECONNREFUSED);
        }
        if there.waiting.len() >= there.backlog {
            return Err(Errno::EAGAIN);
        }
        accepted.inner.borrow_mut().local = Some(remote.clone());
        join(self, &accepted, own, there.peer_credentials);
        self.inner.borrow_mut().remote = Some(remote);
        there.waiting.push_back(accepted);
        drop(there);
        listener.channel.wake_for(ready::IN);
        self.channel.wake();
        Ok(())
    }

    /// Takes a connection that waits.
    ///
    /// # Errors
    /// EINVAL: it does not listen. EAGAIN: none waits.
    pub fn accept(&self) -> Result<Rc<Self>, Errno> {
        let mut inner = self.inner.borrow_mut();
        if inner.state != State::Listening || inner.shut[0] {
            return Err(Errno::EINVAL);
        }
        let next = inner.waiting.pop_front().ok_or(Errno::EAGAIN)?;
        drop(inner);
        // Whoever found the queue full may try again.
        self.let_late_ones_in();
        self.channel.wake();
        Ok(next)
    }

    /// Puts a connection back that could not be given a descriptor.
    pub fn put_back(&self, connection: Rc<Self>) {
        self.inner.borrow_mut().waiting.push_front(connection);
    }

    /// SO_LINGER with no time: closing throws away what is under way.
    fn closes_at_once(&self) -> bool {
        let options = self.options.borrow();
        let value = |key| options.get(&key).copied().unwrap_or(0);
        value((option::SOCKET, option::LINGER)) != 0 && value(option::LINGER_SECONDS) == 0
    }

    /// Ends a direction, or both.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn shut_down(&self, reading: bool, writing: bool) -> Result<(), Errno> {
        let mut inner = self.inner.borrow_mut();
        let unconnected = if self.needs_connection() { inner.state == State::New } else { inner.remote.is_none() };
        if unconnected && self.domain != family::UNIX {
            return Err(Errno::ENOTCONN);
        }
        inner.shut[0] |= reading;
        inner.shut[1] |= writing;
        let peer = inner.peer.upgrade().filter(|_| self.needs_connection());
        drop(inner);
        self.channel.wake();
        if let Some(peer) = peer {
            if let Ok(mut there) = peer.inner.try_borrow_mut() {
                there.end |= writing;
                // What a Unix socket does not read any more cannot be written either; TCP does not tell.
                there.shut[1] |= reading && self.domain == family::UNIX;
            }
            peer.channel.wake();
        }
        Ok(())
    }
}

/// Makes two sockets each other's end.
pub fn join(one: &Rc<Socket>, other: &Rc<Socket>, own: Credentials, others: Credentials) {
    for (socket, peer, credentials) in [(one, other, others), (other, one, own)] {
        let name = peer.local().unwrap_or(Address::Unnamed);
        let mut inner = socket.inner.borrow_mut();
        inner.state = State::Connected;
        inner.peer = Rc::downgrade(peer);
        inner.peer_credentials = credentials;
        inner.remote = Some(name);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let reset = self.closes_at_once() && self.domain != family::UNIX && self.is_stream();
        let inner = self.inner.get_mut();
        // Whoever has not got a turn never will.
        for client in inner.late.drain(..).filter_map(|late| late.client.upgrade()) {
            if let Ok(mut client) = client.inner.try_borrow_mut() {
                client.state = State::New;
            }
            client.set_error(Errno::ECONNREFUSED);
        }
        let unread = !inner.messages.is_empty() || reset;
        let graveyard = self.network.graveyard();
        let mut graveyard = graveyard.borrow_mut();
        for message in inner.messages.drain(..) {
            self.network.files_arrive(message.files.len());
            graveyard.extend(message.files);
        }
        drop(graveyard);
        if inner.state != State::Connected {
            self.channel.wake();
            return;
        }
        if let Some(peer) = inner.peer.upgrade() {
            if let Ok(mut there) = peer.inner.try_borrow_mut() {
                there.end = true;
                // What nobody has read is gone: the other end is told.
                if unread {
                    there.error = Some(Errno::ECONNRESET);
                    there.shut[1] = true;
                }
            }
            peer.channel.wake();
        }
    }
}
