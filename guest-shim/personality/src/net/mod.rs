//! Sockets: all of a network that a sandbox has is inside it.
//!
//! * [`address`]: names of sockets, as programs write them.
//! * [`socket`]: a socket: what has arrived for it, whom it is connected to.
//! * [`Network`]: who is bound to which name.
//!
//! There is no wire: a connection is two sockets that put bytes into each other's queue. So nothing is lost, doubled or late,
//! and of TCP only what programs see is here.

pub mod address;
pub mod socket;

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use address::{Address, Host};
use socket::Socket;

use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::table::Count;

/// The ports that are given to sockets that ask for none (Linux' net.ipv4.ip_local_port_range).
const FIRST_PORT: u16 = 32768;
const LAST_PORT: u16 = 60999;

/// Open files that were on the way in a socket that is gone: they are closed when nobody borrows anything.
pub type Graveyard = Rc<RefCell<Vec<Rc<OpenFile>>>>;

/// Sockets that are bound to one port.
type Bound = Vec<Weak<Socket>>;

/// Who is bound to which name.
#[derive(Default)]
pub struct Network {
    /// By kind (is it a stream?) and port.
    ports: RefCell<BTreeMap<(bool, u16), Bound>>,
    /// Names of Unix sockets that are no files.
    names: RefCell<BTreeMap<Vec<u8>, Weak<Socket>>>,
    /// Unix sockets that are files, by inode number; a bound socket keeps its inode.
    files: RefCell<BTreeMap<u64, Weak<Socket>>>,
    next_port: Cell<u16>,
    next_name: Cell<u32>,
    graveyard: Graveyard,
    /// Open files that are on the way in sockets.
    in_flight: Cell<usize>,
    /// They count with the descriptors.
    descriptors: Rc<Count>,
}

impl Network {
    /// Nobody is bound to anything. What is on the way counts among `descriptors`.
    #[must_use]
    pub fn new(descriptors: Rc<Count>) -> Self {
        Self { descriptors, ..Self::default() }
    }

    /// Where sockets leave the files that were on the way in them.
    #[must_use]
    pub fn graveyard(&self) -> Graveyard {
        Rc::clone(&self.graveyard)
    }

    /// How many open files are on the way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// So many open files are on the way from now on.
    pub fn files_leave(&self, count: usize) {
        self.in_flight.set(self.in_flight.get().saturating_add(count));
        self.descriptors.add(count as u64);
    }

    /// So many are no more.
    pub fn files_arrive(&self, count: usize) {
        self.in_flight.set(self.in_flight.get().saturating_sub(count));
        self.descriptors.take(count as u64);
    }

    /// Closes what has been left, one after the other: a chain of sockets in sockets takes no stack.
    pub fn bury(&self) {
        loop {
            let next = self.graveyard.borrow_mut().pop();
            let Some(file) = next else { break };
            drop(file);
        }
    }

    /// Binds an Internet socket to a host's address and a port; port 0: any. Gives the port.
    ///
    /// # Errors
    /// EADDRINUSE.
    pub fn bind_port(&self, socket: &Rc<Socket>, host: Host, port: u16) -> Result<u16, Errno> {
        if port != 0 {
            self.take_port(socket, host, port)?;
            return Ok(port);
        }
        for _ in FIRST_PORT..=LAST_PORT {
            let port = self.next_port.get().max(FIRST_PORT);
            self.next_port.set(if port >= LAST_PORT { FIRST_PORT } else { port + 1 });
            let is_free = self.on_port(socket.is_stream(), port).is_empty();
            if is_free {
                self.take_port(socket, host, port)?;
                return Ok(port);
            }
        }
        Err(Errno::EADDRINUSE)
    }

    fn take_port(&self, socket: &Rc<Socket>, host: Host, port: u16) -> Result<(), Errno> {
        for other in self.on_port(socket.is_stream(), port) {
            let Some(at) = other.host().filter(|_| !Rc::ptr_eq(&other, socket)) else { continue };
            if at.overlaps(host, other.v6_only() || socket.v6_only()) && !socket.shares_port_with(&other) {
                return Err(Errno::EADDRINUSE);
            }
        }
        self.ports.borrow_mut().entry((socket.is_stream(), port)).or_default().push(Rc::downgrade(socket));
        Ok(())
    }

    /// The sockets of a port; forgets those that are gone.
    fn on_port(&self, stream: bool, port: u16) -> Vec<Rc<Socket>> {
        let mut ports = self.ports.borrow_mut();
        let Some(bound) = ports.get_mut(&(stream, port)) else { return Vec::new() };
        bound.retain(|socket| socket.strong_count() > 0);
        let found: Vec<Rc<Socket>> = bound.iter().filter_map(Weak::upgrade).collect();
        if found.is_empty() {
            ports.remove(&(stream, port));
        }
        found
    }

    /// The socket that listens (streams) or receives (datagrams) at an address. The one that names the host is preferred to one
    /// that takes every host's, and of those a datagram's that is connected to `from`.
    #[must_use]
    pub fn at(&self, stream: bool, host: Host, port: u16, from: Option<&Address>) -> Option<Rc<Socket>> {
        let mut best = None;
        for socket in self.on_port(stream, port) {
            let Some(at) = socket.host().filter(|_| !stream || socket.is_listening()) else { continue };
            let Some(mut rank) = at.takes(host, socket.v6_only()) else { continue };
            match socket.remote() {
                Some(remote) if !stream && from != Some(&remote) => continue,
                Some(_) => rank += 2,
                None => {}
            }
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, socket));
            }
        }
        best.map(|(_, socket)| socket)
    }

    /// Binds a Unix socket to a name that is no file.
    ///
    /// # Errors
    /// EADDRINUSE.
    pub fn bind_name(&self, socket: &Rc<Socket>, name: &[u8]) -> Result<(), Errno> {
        let mut names = self.names.borrow_mut();
        if names.get(name).is_some_and(|known| known.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        names.retain(|_, known| known.strong_count() > 0);
        names.insert(name.to_vec(), Rc::downgrade(socket));
        Ok(())
    }

    /// A name that nobody has (Linux: five hexadecimal digits).
    #[must_use]
    pub fn free_name(&self) -> Vec<u8> {
        let number = self.next_name.get().wrapping_add(1);
        self.next_name.set(number);
        alloc::format!("{:05x}", number & 0xf_ffff).into_bytes()
    }

    /// Binds a Unix socket to a file.
    pub fn bind_file(&self, socket: &Rc<Socket>, inode: u64) {
        let mut files = self.files.borrow_mut();
        files.retain(|_, known| known.strong_count() > 0);
        files.insert(inode, Rc::downgrade(socket));
    }

    /// The socket with a name that is no file.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<Rc<Socket>> {
        self.names.borrow().get(name).and_then(Weak::upgrade)
    }

    /// The socket that is bound to a file.
    #[must_use]
    pub fn of_file(&self, inode: u64) -> Option<Rc<Socket>> {
        self.files.borrow().get(&inode).and_then(Weak::upgrade)
    }
}
