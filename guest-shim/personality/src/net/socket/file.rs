//! A socket as an open file.

use alloc::vec::Vec;
use core::any::Any;

use super::{Credentials, Extra, Kind, Socket, State};
use crate::abi::mode;
use crate::errno::Errno;
use crate::fs::special::{Caller, Sink, Special, Supply, ready};
use crate::net::address::family;
use crate::wait::Channel;

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

    fn time_limit(&self, writes: bool) -> Option<u64> {
        let limit = self.timeouts[usize::from(writes)].get();
        (limit > 0).then_some(limit)
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

    fn signals(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
