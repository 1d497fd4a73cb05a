//! Open files that live in the shim alone and have no position: pipes, sockets, event descriptors, terminals.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::terminal::{Side, Terminal};
use crate::errno::Errno;
use crate::wait::Channel;

/// Readiness, as `poll.h` numbers it.
pub mod ready {
    /// POLLIN and POLLRDNORM.
    pub const IN: i16 = 0x41;
    /// POLLPRI.
    pub const PRI: i16 = 0x2;
    /// POLLOUT and POLLWRNORM.
    pub const OUT: i16 = 0x104;
    /// POLLERR.
    pub const ERR: i16 = 0x8;
    /// POLLHUP.
    pub const HUP: i16 = 0x10;
    /// POLLNVAL.
    pub const NVAL: i16 = 0x20;
    /// POLLRDHUP.
    pub const RDHUP: i16 = 0x2000;
}

/// Where a read puts its bytes: the program's memory, run by run.
pub trait Sink {
    /// Bytes that still fit.
    fn room(&self) -> usize;
    /// The next run of at most `max` bytes, to be filled whole; empty when there is no room or the memory is bad.
    fn next(&mut self, max: usize) -> &mut [u8];
}

/// Where a write takes its bytes from: the program's memory, run by run.
pub trait Supply {
    /// Bytes that are left.
    fn left(&self) -> usize;
    /// The next run of at most `max` bytes, which are taken with that; empty at the end or when the memory is bad.
    fn next(&mut self, max: usize) -> &[u8];
}

impl dyn Sink + '_ {
    /// Puts as much of `bytes` as fits; how much.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let run = self.next(rest.len());
            if run.is_empty() {
                break;
            }
            run.copy_from_slice(&rest[..run.len()]);
            done += run.len();
        }
        done
    }
}

impl dyn Supply + '_ {
    /// Takes up to `out.len()` bytes; how many.
    pub fn take(&mut self, out: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let run = self.next(rest.len());
            if run.is_empty() {
                break;
            }
            rest[..run.len()].copy_from_slice(run);
            done += run.len();
        }
        done
    }
}

/// Who makes a call, and when.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Reference time, 100 ns units.
    pub now: u64,
    /// Process id.
    pub pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// O_NONBLOCK is set, for what depends on it beyond waiting.
    pub nonblocking: bool,
    /// O_DIRECT is set: what is written to a pipe goes as packets.
    pub packets: bool,
}

/// What such a file does. Nothing in here waits: what would have to says EAGAIN and has taken nothing.
pub trait Special {
    /// Reads once: some bytes, 0 at the end.
    ///
    /// # Errors
    /// EAGAIN: nothing yet.
    fn read(&self, caller: &Caller, out: &mut dyn Sink) -> Result<usize, Errno>;

    /// Writes once: as many bytes as go in now.
    ///
    /// # Errors
    /// EAGAIN: no room yet. EPIPE: nobody will read (the caller gets SIGPIPE).
    fn write(&self, caller: &Caller, data: &mut dyn Supply) -> Result<usize, Errno>;

    /// A write is one message: what it does not take is not offered again.
    fn writes_messages(&self) -> bool {
        false
    }

    /// What it is ready for now ([`ready`]).
    fn poll(&self, caller: &Caller) -> i16;

    /// The channels that are woken when reading, writing or [`Special::poll`] may give something else.
    fn channels(&self, add: &mut Vec<Channel>);

    /// Reference time at which that may happen by itself; `u64::MAX`: never.
    fn deadline(&self) -> u64 {
        u64::MAX
    }

    /// The file type and permission bits of `st_mode`.
    fn mode(&self) -> u32;

    /// Inode number: distinct among the files with the same [`Special::link`] prefix.
    fn inode(&self) -> u64;

    /// The text of its link in `/proc/self/fd`, such as `pipe:[7]`.
    fn link(&self) -> Vec<u8>;

    /// So many ns after its beginning, a read that has found nothing gives 0 (a terminal's VTIME); `None`: it waits on.
    fn patience(&self) -> Option<u64> {
        None
    }

    /// So many ns after its beginning, a read (or write) that still waits fails with EAGAIN; `None`: it waits on.
    fn time_limit(&self, _writes: bool) -> Option<u64> {
        None
    }

    /// It can send signals when it is ready (O_ASYNC).
    fn signals(&self) -> bool {
        false
    }

    /// The terminal that it is a side of.
    fn terminal(&self) -> Option<(&Rc<Terminal>, Side)> {
        None
    }

    /// Bytes that could be read now (FIONREAD); `None` when the question makes no sense.
    fn readable_bytes(&self) -> Option<usize> {
        None
    }

    /// For those who know what it is.
    fn as_any(&self) -> &dyn core::any::Any;
}
