//! The Linux personality: what a system call or a fault of the program means, carried out on one sandbox' own memory,
//! and on files, console and time that it asks of the root.
//!
//! * [`kernel`]: the state, and the three ways in: start, system call, fault.
//! * [`syscalls`]: the calls, one family a file, and the table that says how far each goes.
//! * [`mm`]: frames, page tables, areas, access to user memory.
//! * [`fs`]: the file protocol's client, names, paths, open files.
//! * [`net`] holds the sockets.
//! * [`exec`]: from a path to a program that is ready to run.
//! * [`task`]: threads, processes, and what they share; [`lifecycle`]: their beginning and end; [`children`]: what parents learn; [`sched`]: which one runs;
//!   [`signal`], [`futex`], [`timers`].
//! * [`wait`]: what tasks wait for, and how they are woken.
//! * [`platform`]: the small trait beneath all this. The shim image implements it on the partition, the tests over
//!   a vector: the whole personality runs under `cargo test`.
//!
//! A system call that has to wait returns [`errno::Stop::Block`] before it has taken anything, and is made again as a
//! whole when the wait is over. So there is one kernel stack, however many tasks there are.
//!
//! There are no locks: one processor, and interrupts stay off here. What tasks share stands behind `Rc<RefCell<…>>`;
//! a borrow never lives across a call into another module's part of [`kernel::Kernel`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod abi;
mod asked;
pub mod children;
pub mod errno;
pub mod exec;
mod first;
pub mod fs;
pub mod futex;
pub mod kernel;
pub mod lifecycle;
pub mod mm;
pub mod net;
pub mod num;
pub mod platform;
pub mod random;
pub mod regs;
pub mod sched;
pub mod setting;
pub mod signal;
pub mod syscalls;
pub mod task;
mod tell;
pub mod time;
pub mod timers;
pub mod vdso;
pub mod wait;

#[cfg(test)]
mod tests;

pub use kernel::{Flow, Kernel, Start};
pub use platform::Platform;
pub use regs::UserRegs;
pub use setting::Setting;
