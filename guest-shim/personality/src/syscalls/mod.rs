//! The system calls. Each family has its file; [`table`] says which number is which function and how far it goes.

mod advice;
mod asynchronous;
mod attributes;
mod clone;
mod copy;
mod credentials;
mod directories;
mod dirs;
mod event;
pub(crate) mod exec;
mod fd;
mod futex;
mod inotify;
mod interface;
mod io;
mod ipc;
mod memfd;
mod memory;
mod message;
pub(crate) mod mqueue;
pub(crate) mod msgqueue;
mod names;
mod open;
mod peer;
mod pidfd;
mod poll;
mod process;
mod records;
mod refused;
mod sched;
pub(crate) mod semaphore;
pub(crate) mod shm;
mod signal;
mod socket;
mod sockopt;
mod splice;
mod stat;
mod structures;
mod system;
pub mod table;
mod time;
mod timer;
mod tty;
mod wait;
mod xattr;

use proto::Grant;

use crate::errno::Errno;
use crate::kernel::{Kernel, int};
use crate::num::low32;
use crate::platform::Platform;

pub(crate) use stat::{DEV_DEVICE, FILE_DEVICE, PROC_DEVICE};
pub(crate) use system::{RELEASE, VERSION};
pub use table::dispatch;

/// A signal handler ends call `call` before it has done anything: what it still has to tell the program.
pub(crate) fn interrupted<P: Platform>(kernel: &mut Kernel<P>, call: &Grant) {
    let args = Args(call.args);
    match call.number {
        NANOSLEEP => time::interrupted_sleep(kernel, linux_raw_sys::general::CLOCK_MONOTONIC, args.get(1)),
        CLOCK_NANOSLEEP if args.uint(1) & linux_raw_sys::general::TIMER_ABSTIME == 0 => {
            time::interrupted_sleep(kernel, args.uint(0), args.get(3));
        }
        _ => {}
    }
}

const NANOSLEEP: u64 = 35;
const CLOCK_NANOSLEEP: u64 = 230;

/// The six arguments of a call, as they were judged.
#[derive(Clone, Copy, Debug)]
pub struct Args(pub [u64; 6]);

impl Args {
    /// Argument `n` (0 to 5) as it is: an address or a length.
    #[must_use]
    pub fn get(&self, n: usize) -> u64 {
        self.0.get(n).copied().unwrap_or(0)
    }

    /// As an `int`: a descriptor, a process id.
    #[must_use]
    pub fn int(&self, n: usize) -> i32 {
        int(self.get(n))
    }

    /// As an `unsigned int`: flags.
    #[must_use]
    pub fn uint(&self, n: usize) -> u32 {
        low32(self.get(n))
    }

    /// As an `unsigned long` that holds flags, of which there are some in the low half only.
    ///
    /// # Errors
    /// EINVAL: there are others.
    pub fn long_flags(&self, n: usize) -> Result<u32, Errno> {
        u32::try_from(self.get(n)).map_err(|_| Errno::EINVAL)
    }

    /// As a `long`: an offset.
    #[must_use]
    pub fn long(&self, n: usize) -> i64 {
        self.get(n).cast_signed()
    }
}
