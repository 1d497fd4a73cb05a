//! Page tables, as data: one walker of a guest's own tables, one mapper of second-level tables.
//!
//! - [`guest`] translates a linear address through the tables that a guest made. Hostile input: nothing
//!   in it is trusted, the number of steps is bounded, and it reads through a function that the caller gives.
//! - [`table`] keeps a second-level map (guest physical → system physical): map, unmap, protect, look up,
//!   tear down. It is written once over [`format::EntryFormat`]; AMD's nested tables are one such format.
//!
//! Nothing in here owns memory. Tables live in frames that a [`table::FrameSource`] hands out, and are
//! reached through [`engine::PhysMem`], so that all of it runs under `cargo test`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod format;
pub mod guest;
pub mod table;
