//! The partition model: everything that the micro-hypervisor knows about partitions, and all of the TLFS
//! that it serves, written against the traits of [`engine`] so that it runs on a host under `cargo test`.
//!
//! # The boot image's part
//! ```text
//! let mut hv = Hypervisor::new(engine, platform, Storage { .. }, &MachineMemory { .. })?;
//! let vp = hv.root_vp();                      // exists, in reset state
//! hv.engine().set_register(vp, ..)?;          // PVH entry state: 32-bit protected mode, flat segments,
//! hv.engine().core_mut(vp).rip = entry;       // EBX = start info, EIP = entry
//! hv.run()                                    // never returns; ends by Platform::stop or Platform::reset
//! ```
//! `new` builds the root's address space (GPA = SPA for everything but [`MachineMemory::private`]), creates the
//! root's VP with the engine and reserves the root's ports. It does not touch the VP's registers.
//!
//! # Ideas
//! - **Frames** ([`frames`]): one entry for each 4 KiB of RAM says who has it. A frame belongs to the root, lies in
//!   one partition's deposit, or is the hypervisor's. A frame that the root owns counts the mappings that children
//!   have of it; while the count is not zero it cannot be deposited.
//! - **Deposits** ([`deposit`]): what a partition costs (tables, VPs, state pages, overlays) is taken from its deposit
//!   and goes back there. Frames return to the root zeroed.
//! - **Dispatch** ([`dispatch`]): the root runs children by HvCallDispatchVp. A child's exit becomes an intercept message and
//!   a register page; both are memory of the child's deposit that the root sees at GPA = SPA.
//! - A partition's identifier carries a sequence number, so one is never used twice in a boot.
//!
//! One processor runs all of this, with interrupts off: there are no locks.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod caller;
mod calls;
mod cpuid;
pub mod deposit;
pub mod dispatch;
mod fault;
pub mod frames;
mod gpa;
mod hypervisor;
mod instruction;
mod intercept;
mod message;
mod msr;
mod object;
mod ports;
mod registers;
mod root;
mod setup;
mod state_page;
mod time;
mod translate;
mod vp;

pub use hypervisor::{End, Hypervisor};
pub use object::Partition;
pub use setup::{MachineMemory, MemoryRange, SetupError, Storage, frames_needed};
pub use vp::Vp;

/// The most partitions that can exist at a time, the root included.
pub const MAX_PARTITIONS: usize = 1024;
/// The most virtual processors of one partition.
pub const MAX_VPS_PER_PARTITION: usize = 64;
/// The most private frames that an engine may ask for a VP.
pub const MAX_FRAMES_PER_VP: usize = 8;

/// Exit codes that [`engine::Platform::stop`] is given.
pub mod stop_code {
    /// The hypervisor gave up: the root cannot go on, or an invariant is broken.
    pub const HYPERVISOR: u8 = 0x12;
}

/// First port of the hypervisor's log UART (COM1), reserved from the root: reads give all ones, writes are dropped.
pub const LOG_PORTS: core::ops::RangeInclusive<u16> = 0x3f8..=0x3ff;
/// The ports that end the machine with the code written, reserved from the root.
pub const END_PORTS: core::ops::RangeInclusive<u16> = 0xf4..=0xf7;
/// The ports that can switch A20 off: the keyboard controller's two, and the fast gates of PS/2 and its kin. Reserved
/// from the root: the gate masks addresses behind the nested tables, so that those of the hypervisor's odd megabytes
/// would lead to the root's even ones. No other of their functions is served; an absent controller reads as all ones.
pub const A20_PORTS: [core::ops::RangeInclusive<u16>; 4] = [0x60..=0x60, 0x64..=0x64, 0x92..=0x92, 0xee..=0xee];
