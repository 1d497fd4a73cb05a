//! Asking descriptors whether they are ready.
use crate::{Sys, sys};

/// `poll` of one descriptor: what is ready, in words.
pub fn poll(fd: i32, events: i16, ms: i32) -> String {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    match sys!(libc::poll(&raw mut entry, 1, ms)) {
        Ok(0) => "nothing".to_owned(),
        Ok(_) => poll_names(entry.revents),
        Err(errno) => errno.to_string(),
    }
}

/// Everything that poll can tell about a descriptor now.
pub fn ready(fd: i32) -> String {
    poll(fd, libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP, 0)
}

/// The bits of poll in words.
pub fn poll_names(bits: i16) -> String {
    let all = [
        (libc::POLLIN, "IN"),
        (libc::POLLPRI, "PRI"),
        (libc::POLLOUT, "OUT"),
        (libc::POLLRDHUP, "RDHUP"),
        (libc::POLLERR, "ERR"),
        (libc::POLLHUP, "HUP"),
        (libc::POLLNVAL, "NVAL"),
    ];
    let names: Vec<&str> = all.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { format!("bits {bits:#x}") } else { names.join("+") }
}

/// A set of watched descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Epoll(pub i32);

impl Epoll {
    /// A new one.
    pub fn new() -> Self {
        Self(crate::must(sys!(libc::epoll_create1(0))))
    }

    /// `epoll_ctl`; the descriptor's number comes back with its events.
    pub fn control(&self, operation: i32, fd: i32, events: i32) -> Sys {
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: u64::from(fd.cast_unsigned()) };
        sys!(libc::epoll_ctl(self.0, operation, fd, &raw mut event))
    }

    /// Adds a descriptor.
    pub fn add(&self, fd: i32, events: i32) -> Sys {
        self.control(libc::EPOLL_CTL_ADD, fd, events)
    }

    /// `epoll_wait`: what each descriptor, by its place in `known`, is ready for.
    pub fn wait(&self, known: &[i32], ms: i32) -> String {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        let got = match sys!(libc::epoll_wait(self.0, events.as_mut_ptr(), 16, ms)) {
            Ok(got) => usize::try_from(got).unwrap_or(0),
            Err(errno) => return errno.to_string(),
        };
        let mut found: Vec<String> = events[..got]
            .iter()
            .map(|event| {
                let data = event.u64;
                let place = known.iter().position(|fd| u64::from(fd.cast_unsigned()) == data);
                let bits = i16::try_from(event.events & 0x7fff).unwrap_or(0);
                format!("{}:{}", place.map_or("?".to_owned(), |n| n.to_string()), poll_names(bits))
            })
            .collect();
        found.sort();
        if found.is_empty() { "nothing".to_owned() } else { found.join(" ") }
    }
}

impl Default for Epoll {
    fn default() -> Self {
        Self::new()
    }
}
