//! The machine under the hypervisor: what the boot loader says of it, its memory, its clocks, its log, its end.
//!
//! - [`boot`] reads the PVH start info, once, into a copy.
//! - [`plan`] decides where the hypervisor's own memory lies. Pure; tested on the host.
//! - [`handover`] writes the start info that the root is entered with. Pure; tested on the host.
//! - [`module`] finds the root image in the bundle, and puts it in its place.
//! - [`memory`] is RAM as an [`engine::PhysMem`].
//! - [`clock`] measures the TSC and the local APIC's timer.
//! - [`processors`] finds out whether there is only one.
//! - [`machine`] is the [`engine::Platform`].
#![no_std]
#![allow(unsafe_code)]

#[cfg(test)]
extern crate std;

mod apic;
pub mod boot;
pub mod clock;
pub mod handover;
pub mod machine;
pub mod memory;
pub mod module;
pub mod plan;
pub mod processors;
