//! A socket: what has arrived for it, whom it is connected to.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use super::Network;
use super::address::{Address, Host, family};
use crate::abi::mode;
use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::inode::Inode;
use crate::fs::special::{Caller, Sink, Special, Supply, ready};
use crate::wait::{Channel, Hub};

/// Bytes that wait for a reader at most (Linux' net.core.rmem_default).
pub const CAPACITY: usize = 212_992;
/// What a message counts beside its bytes.
const MESSAGE_COST: usize = 64;
/// Bytes of a stream that are kept in one piece.
const PIECE: usize = 16384;
/// Longest datagram of UDP.
pub const MAX_UDP: usize = 65507;
/// Connections that wait to be accepted at most (net.core.somaxconn).
const MAX_BACKLOG: usize = 4096;

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Stream,
    /// Messages, each with its sender.
    Datagram,
    /// Messages over a connection.
    Seqpacket,
}

/// Process, user and group of who is at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Bytes on the way, with what goes with them.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
    /// Bytes that have been read.
    read: usize,
    from: Option<Address>,
    sender: Credentials,
    files: Vec<Rc<OpenFile>>,
}

/// What goes with bytes that are sent.
#[derive(Default)]
pub struct Extra {
    /// Who sends.
    pub sender: Credentials,
    /// Open files (SCM_RIGHTS).
    pub files: Vec<Rc<OpenFile>>,
}

/// What was received beside the bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes that were put.
    pub count: usize,
    /// Bytes that the message had.
    pub whole: usize,
    /// Its sender's address.
    pub from: Option<Address>,
    /// Its sender.
    pub sender: Credentials,
    /// Open files that came with it.
    pub files: Vec<Rc<OpenFile>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// A connect without waiting found the queue of the other end full: it gets its turn later.
    Connecting,
    Listening,
    Connected,
}

/// A connect that gets its turn when the queue of the listener has room.
struct Late {
    client: Weak<Socket>,
    accepted: Rc<Socket>,
    remote: Address,
    own: Credentials,
}

struct Inner {
    state: State,
    local: Option<Address>,
    remote: Option<Address>,
    /// The file that it is bound to: keeps its inode number from being given to another.
    inode: Option<Rc<Inode>>,
    peer: Weak<Socket>,
    peer_credentials: Credentials,
    /// Connections that have not been accepted.
    waiting: VecDeque<Rc<Socket>>,
    /// Connects that found no room among them.
    late: VecDeque<Late>,
    backlog: usize,
    messages: VecDeque<Message>,
    queued: usize,
    /// Nothing will be read any more; nothing will be written.
    shut: [bool; 2],
    /// The other end will write nothing more.
    end: bool,
    error: Option<Errno>,
}

/// A socket.
pub struct Socket {
    /// Address family.
    pub domain: u16,
    /// What it carries.
    pub kind: Kind,
    /// Protocol number, as SO_PROTOCOL tells it.
    pub protocol: u32,
    /// Options of which nothing is known but their value, by level and name.
    pub options: RefCell<alloc::collections::BTreeMap<(u32, u32), i32>>,
    /// A connect without waiting has said EINPROGRESS, and none has said how it ended.
    pub in_progress: Cell<bool>,
    /// SO_RCVTIMEO and SO_SNDTIMEO in ns; 0: none.
    pub timeouts: [Cell<u64>; 2],
    /// SO_RCVBUF and SO_SNDBUF, if they were set: bytes.
    pub buffers: [Cell<Option<usize>>; 2],
    inner: RefCell<Inner>,
    channel: Channel,
    number: u64,
    network: Rc<Network>,
    me: Weak<Self>,
}

/// Option numbers that sockets look at themselves.
pub mod option {
    /// SOL_SOCKET.
    pub const SOCKET: u32 = 1;
    /// SO_REUSEADDR.
    pub const REUSEADDR: u32 = 2;
    /// SO_REUSEPORT.
    pub const REUSEPORT: u32 = 15;
    /// SOL_IPV6.
    pub const IPV6: u32 = 41;
    /// IPV6_V6ONLY.
    pub const V6ONLY: u32 = 26;
    /// SO_LINGER.
    pub const LINGER: u32 = 13;
    /// Where its seconds are kept.
    pub const LINGER_SECONDS: (u32, u32) = (u32::MAX, LINGER);
}

impl Socket {
    /// A new socket, neither bound nor connected.
    #[must_use]
    pub fn new(hub: &Hub, network: &Rc<Network>, number: u64, domain: u16, kind: Kind, protocol: u32) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            domain,
            kind,
            protocol,
            options: RefCell::default(),
            in_progress: Cell::new(false),
            timeouts: [Cell::new(0), Cell::new(0)],
            buffers: [Cell::new(None), Cell::new(None)],
            inner: RefCell::new(Inner {
                state: State::New,
                local: None,
                remote: None,
                inode: None,
                peer: Weak::new(),
                peer_credentials: Credentials::default(),
                waiting: VecDeque::new(),
                late: VecDeque::new(),
                backlog: 0,
                messages: VecDeque::new(),
                queued: 0,
                shut: [false; 2],
                end: false,
                error: None,
            }),
            channel: hub.channel(),
            number,
            network: Rc::clone(network),
            me: Weak::clone(me),
        })
    }

    /// Does it carry bytes?
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.kind == Kind::Stream
    }

    /// Does it need a connection?
    #[must_use]
    pub fn needs_connection(&self) -> bool {
        self.kind != Kind::Datagram
    }

    /// Does it wait for connections?
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.inner.borrow().state == State::Listening
    }

    /// Is it connected?
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.borrow().state == State::Connected
    }

    /// Its own address.
    #[must_use]
    pub fn local(&self) -> Option<Address> {
        self.inner.borrow().local.clone()
    }

    /// The address at the other end.
    #[must_use]
    pub fn remote(&self) -> Option<Address> {
        self.inner.borrow().remote.clone()
    }

    /// The host that it is bound to.
    #[must_use]
    pub fn host(&self) -> Option<Host> {
        match self.inner.borrow().local {
            Some(Address::Internet(host, _)) => Some(host),
            _ => None,
        }
    }

    /// Who was at the other end when the connection was made.
    #[must_use]
    pub fn peer_credentials(&self) -> Credentials {
        self.inner.borrow().peer_credentials
    }

    /// The value of an option, 0 if it was not set.
    #[must_use]
    pub fn option(&self, level: u32, name: u32) -> i32 {
        self.options.borrow().get(&(level, name)).copied().unwrap_or(0)
    }

    /// IPv6 alone.
    #[must_use]
    pub fn v6_only(&self) -> bool {
        self.option(option::IPV6, option::V6ONLY) != 0
    }

    /// Whether two sockets may have one port: both say so, and no stream of them listens (unless both share it for that).
    #[must_use]
    pub fn shares_port_with(&self, other: &Self) -> bool {
        let both = |name| self.option(option::SOCKET, name) != 0 && other.option(option::SOCKET, name) != 0;
        let connected = other.is_connected() && other.is_stream();
        both(option::REUSEPORT)
            || (both(option::REUSEADDR) && !other.is_listening())
            || (connected && self.option(option::SOCKET, option::REUSEADDR) != 0)
    }

    /// Gives it its own address, and the file that this is.
    pub fn set_local(&self, address: Address, inode: Option<Rc<Inode>>) {
        let mut inner = self.inner.borrow_mut();
        inner.local = Some(address);
        if inode.is_some() {
            inner.inode = inode;
        }
    }

    /// Takes the pending error (SO_ERROR).
    #[must_use]
    pub fn take_error(&self) -> Option<Errno> {
        self.inner.borrow_mut().error.take()
    }

    /// Bytes that may wait at `peer` for what this one sends: the sender's buffer (Unix), the receiver's (UDP), or both together.
    fn room_at(&self, peer: &Self) -> usize {
        let (receive, send) = (peer.buffers[0].get(), self.buffers[1].get());
        match (self.domain, self.kind) {
            (family::UNIX, _) => send.unwrap_or(CAPACITY),
            (_, Kind::Datagram) => receive.unwrap_or(CAPACITY),
            _ => receive.unwrap_or(CAPACITY / 2).saturating_add(send.unwrap_or(CAPACITY / 2)),
        }
    }

    /// SO_LINGER with no time: closing throws away what is under way.
    fn closes_at_once(&self) -> bool {
        let options = self.options.borrow();
        let value = |key| options.get(&key).copied().unwrap_or(0);
        value((option::SOCKET, option::LINGER)) != 0 && value(option::LINGER_SECONDS) == 0
    }

    /// Its state, as TCP numbers it (`tcp_states.h`).
    #[must_use]
    pub fn tcp_state(&self) -> u8 {
        let inner = self.inner.borrow();
        match (inner.state, inner.shut[1], inner.end) {
            (State::Connected, false, false) => 1,
            (State::Connecting, ..) => 2,
            (State::Connected, true, false) => 5,
            (State::Connected, false, true) => 8,
            (State::Listening, ..) => 10,
            _ => 7,
        }
    }

    /// Does a connect of it wait for its turn?
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.inner.borrow().state == State::Connecting
    }

    /// Connects when `listener` has room again.
    pub fn connect_later(self: &Rc<Self>, listener: &Self, accepted: Rc<Self>, remote: Address, own: Credentials) {
        self.inner.borrow_mut().state = State::Connecting;
        let late = Late { client: Rc::downgrade(self), accepted, remote, own };
        listener.inner.borrow_mut().late.push_back(late);
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

    /// Notes an error for the next call.
    pub fn set_error(&self, error: Errno) {
        self.inner.borrow_mut().error = Some(error);
        self.channel.wake();
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

    /// Sends and receives datagrams to and from one address only; `None`: any again.
    pub fn set_remote(&self, remote: Option<Address>, peer: Option<&Rc<Self>>) {
        let mut inner = self.inner.borrow_mut();
        inner.remote = remote;
        inner.peer = peer.map(Rc::downgrade).unwrap_or_default();
        inner.error = None;
    }

    /// The socket at the other end.
    #[must_use]
    pub fn peer(&self) -> Option<Rc<Self>> {
        self.inner.borrow().peer.upgrade()
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

    /// It, to be kept.
    #[must_use]
    pub fn shared(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
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
}

/// What a message of a Unix socket must leave of the sender's buffer.
const MESSAGE_HEAD: usize = 32;

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

impl Special for Socket {
    fn read(&self, _: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        let received = self.receive(out, false)?;
        self.network.graveyard().borrow_mut().extend(received.files);
        Ok(received.count)
    }

    fn write(&self, caller: &Caller, data: &mut dyn Supply) -> Result<usize, Errno> {
        let sender = Credentials { pid: caller.pid, uid: caller.uid, gid: caller.gid };
        let mut extra = Extra { sender, files: Vec::new() };
        if self.needs_connection() {
            return self.send(data, &mut extra);
        }
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let len = data.left();
        match self.datagram_target()? {
            Some(target) => self.send_to(&target, data, &mut extra),
            None => Ok(len),
        }
    }

    fn writes_messages(&self) -> bool {
        !self.is_stream()
    }

    fn poll(&self, _: &Caller) -> i16 {
        let inner = self.inner.borrow();
        let mut found = if inner.error.is_some() { ready::ERR | ready::IN } else { 0 };
        if inner.state == State::Listening {
            return found | if inner.waiting.is_empty() { 0 } else { ready::IN };
        }
        if !inner.messages.is_empty() || inner.shut[0] {
            found |= ready::IN;
        }
        if !self.needs_connection() {
            let full =
                inner.peer.upgrade().is_some_and(|peer| !core::ptr::eq(&raw const *peer, self) && self.fills(&peer));
            return found | if full { 0 } else { ready::OUT };
        }
        match inner.state {
            State::New => return found | ready::OUT | ready::HUP,
            State::Connecting => return found,
            State::Listening | State::Connected => {}
        }
        let peer = inner.peer.upgrade();
        let no_more = inner.end || inner.shut[0];
        if no_more {
            found |= ready::IN | ready::RDHUP;
        }
        if (no_more && inner.shut[1]) || (self.domain == family::UNIX && peer.is_none()) {
            found |= ready::HUP;
        }
        if inner.shut[1] || peer.is_none_or(|peer| !self.fills(&peer)) {
            found |= ready::OUT;
        }
        found
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.channel.clone());
        // A sender of datagrams waits for room at their receiver.
        if self.kind == Kind::Datagram
            && self.domain == family::UNIX
            && let Some(peer) = self.peer()
        {
            add.push(peer.channel.clone());
        }
    }

    fn mode(&self) -> u32 {
        mode::S_IFSOCK | 0o777
    }

    fn inode(&self) -> u64 {
        self.number
    }

    fn link(&self) -> Vec<u8> {
        alloc::format!("socket:[{}]", self.number).into_bytes()
    }

    fn readable_bytes(&self) -> Option<usize> {
        Some(self.waiting_bytes())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Socket {
    /// Whether a poll would rather wait before more is sent to `peer`.
    fn fills(&self, peer: &Self) -> bool {
        let room = self.room_at(peer);
        peer.inner.try_borrow().is_ok_and(|there| there.queued > room - room / 4)
    }

    /// The channel that is woken when anything about it changes.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}
