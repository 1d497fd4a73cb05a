//! One sandbox, as the root runs it: a child partition, its memory, and what is done about each of its exits.
//!
//! [`Sandbox::create`] makes the partition; [`Sandbox::step`] dispatches its VP once and acts on what stopped it;
//! [`Sandbox::destroy`] takes everything back. The sandbox holds all of its own state, and each call is lent the rest of the
//! root as a [`World`]: so there can be several, and whoever calls decides which runs.
//!
//! The child is hostile. What it can make happen here is bounded: memory by what it was promised, time by one request a
//! step, and every surprise ends in [`Outcome::SandboxFailed`] with a reason, never in a panic.
//!
//! * [`frames`]: the root's free memory. [`budget`]: how much of it a sandbox may take. [`memory`]: what of it is
//!   behind a child's addresses.
//! * [`layout`], [`shim`], [`tables`], [`params`]: what a child finds in its memory when it starts.
//! * [`partition`]: the partition and the memory that it costs.
//! * `alarm`: when the child wants to be interrupted.
//! * [`turns`]: which of several runs. [`time`]: how long.
//! * `limits`: what the policy lets it have.
//! * [`create`], [`run`]: the beginning and the rest of a sandbox's life; in `syscall` and `exits` what is done about an exit,
//!   in `questions` what becomes of calls that somebody is asked about, in `told` what is recorded of a request.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod alarm;
pub mod budget;
pub mod create;
mod exits;
pub mod frames;
pub mod layout;
mod limits;
pub mod memory;
pub mod params;
pub mod partition;
mod questions;
mod registers;
pub mod run;
pub mod shim;
mod syscall;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod time;
mod told;
pub mod turns;

use alloc::string::String;

pub use control::{Outcome, RunStats};
use hvclient::{Client, Transport};
use services::{Console, Entropy};

pub use create::{CreateError, Setup};
pub use memory::RootMemory;
pub use run::{Remains, Sandbox, Step};

/// What the sandbox's output, input and records go through.
pub trait HostConsole: Console {
    /// Takes a record.
    fn record(&mut self, record: &trace::Record);
}

/// The rest of the root, lent for one call.
pub struct World<'w, T: Transport, R: RootMemory> {
    /// Calls to the hypervisor.
    pub client: &'w mut Client<T>,
    /// The root's memory.
    pub memory: &'w mut R,
    /// Console and trace.
    pub console: &'w mut dyn HostConsole,
    /// Random bytes.
    pub entropy: &'w mut dyn Entropy,
    /// The root's reference time now, in 100 ns.
    pub now: &'w dyn Fn() -> u64,
}

/// Why a sandbox cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the user.
    pub reason: String,
}

impl Failure {
    /// A failure with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl<E: core::error::Error> From<E> for Failure {
    fn from(e: E) -> Self {
        use alloc::string::ToString;
        Self::new(e.to_string())
    }
}
