//! The master side of a pseudoterminal: who opened `/dev/ptmx`, types and looks.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;

use linux_raw_sys::general as raw;

use super::{PIECE, Side, Terminal};
use crate::abi::mode;
use crate::errno::Errno;
use crate::fs::special::{Caller, Sink, Special, Supply, ready};
use crate::wait::Channel;

/// Bytes that one write takes at most: a line without an end takes, and loses, any number.
const TYPED: usize = 64 << 10;

/// The master's open file.
pub struct Master(Rc<Terminal>);

impl Master {
    /// Of this terminal.
    #[must_use]
    pub fn new(terminal: Rc<Terminal>) -> Self {
        Self(terminal)
    }

    /// Keeps the terminal from being opened by name, or lets it (TIOCSPTLCK).
    pub fn lock(&self, locked: bool) {
        self.0.locked.set(locked);
    }

    /// Turns packet mode on or off (TIOCPKT).
    pub fn set_packets(&self, on: bool) {
        self.0.packets.set(on);
        self.0.news.set(0);
    }

    /// Packet mode is on.
    #[must_use]
    pub fn packets(&self) -> bool {
        self.0.packets.get()
    }
}

impl Terminal {
    /// It cannot be opened by name yet.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locked.get()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

impl Special for Master {
    fn read(&self, _: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        let terminal = &self.0;
        if out.room() == 0 {
            return Ok(0);
        }
        if terminal.packets.get() && terminal.news.get() != 0 {
            let told = out.put(&[terminal.news.get()]);
            terminal.news.set(0);
            return Ok(told);
        }
        if terminal.shown.borrow().is_empty() {
            return Err(if terminal.is_left() { Errno::EIO } else { Errno::EAGAIN });
        }
        let mut done = 0;
        if terminal.packets.get() {
            let [data, ..] = raw::TIOCPKT_DATA.to_le_bytes();
            done = out.put(&[data]);
        }
        let mut shown = terminal.shown.borrow_mut();
        let (first, second) = shown.as_slices();
        let mut count = out.put(first);
        if count == first.len() {
            count += out.put(second);
        }
        shown.drain(..count);
        done += count;
        drop(shown);
        terminal.channel.wake_for(ready::OUT);
        Ok(done)
    }

    fn write(&self, caller: &Caller, data: &mut dyn Supply) -> Result<usize, Errno> {
        let mut done = 0;
        while data.left() > 0 && done < TYPED {
            let room = self.0.room();
            if room == 0 {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
            }
            let run = data.next(PIECE.min(room));
            if run.is_empty() {
                break;
            }
            done += self.0.type_in(run, caller.now);
        }
        Ok(done)
    }

    fn poll(&self, _: &Caller) -> i16 {
        let terminal = &self.0;
        let news = terminal.packets.get() && terminal.news.get() != 0;
        let mut found = if terminal.has_room() { ready::OUT } else { 0 };
        found |= if news { ready::IN | ready::PRI } else { 0 };
        found |= if terminal.shown.borrow().is_empty() { 0 } else { ready::IN };
        found | if terminal.is_left() { ready::HUP } else { 0 }
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.0.other.clone());
    }

    fn mode(&self) -> u32 {
        mode::S_IFCHR | 0o666
    }

    fn inode(&self) -> u64 {
        2
    }

    fn link(&self) -> Vec<u8> {
        b"/dev/ptmx".into()
    }

    fn readable_bytes(&self) -> Option<usize> {
        Some(self.0.shown_bytes())
    }

    fn terminal(&self) -> Option<(&Rc<Terminal>, Side)> {
        Some((&self.0, Side::Master))
    }

    fn signals(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
