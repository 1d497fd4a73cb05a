//! The guest-shim: what runs in ring 0 of a child partition, beneath the untrusted program.
//!
//! * [`entry`]: the ways in from ring 3, and back.
//! * [`tables`]: segments, task state, interrupt descriptors.
//! * [`machine`]: the personality's [`Platform`](personality::Platform) on this processor and this memory.
//! * [`heap`]: memory for the personality's own data.
//! * [`boot`]: what the root says at start.
//!
//! One processor, interrupts always off here, one stack: each entry from ring 3 starts on an empty stack and ends with the
//! return to ring 3. A fault in ring 0 is a bug of the shim's own and ends the sandbox.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

extern crate alloc;
// For the memory functions that compiled code calls.
use rt as _;

mod boot;
mod entry;
mod heap;
mod machine;
mod panic;
mod tables;
