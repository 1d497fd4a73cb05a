//! A socket: what has arrived for it, whom it is connected to.
//!
//! * `connect`: listening, connecting, accepting, and the end of a connection.
//! * `transfer`: what goes from one socket to another.
//! * `file`: a socket as an open file.

mod connect;
mod file;
mod transfer;

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

pub use connect::join;
pub use transfer::MAX_UDP;

use super::Network;
use super::address::{Address, Host};
use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::inode::Inode;
use crate::wait::{Channel, Hub};

/// Bytes that wait for a reader at most (Linux' net.core.rmem_default).
pub const CAPACITY: usize = 212_992;

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

    /// Notes an error for the next call.
    pub fn set_error(&self, error: Errno) {
        self.inner.borrow_mut().error = Some(error);
        self.channel.wake();
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

    /// It, to be kept.
    #[must_use]
    pub fn shared(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
    }

    /// The channel that is woken when anything about it changes.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}
