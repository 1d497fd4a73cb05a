//! AMD-V: virtual processors on SVM with nested paging.
//!
//! Facts are from the AMD64 Architecture Programmer's Manual, volume 2 ("APM"), chapter 15 and appendices B and C.
//!
//! - [`support`] finds out whether the processor can, and turns SVM on.
//! - [`vmcb`] is the control block as the processor reads it.
//! - [`exit`], [`event`], [`segment`], [`registers`], [`asid`], [`permission`] decide and convert. They are pure, and tested on the host.
//! - [`leftovers`] clears what the switch does not carry.
//! - [`vp`] is one virtual processor in its frames.
//! - [`switch`] is the world switch, the only assembly.
//! - [`Svm`] puts them together as an [`engine::Engine`].
//!
//! # Interrupts
//! GIF is 0 whenever the hypervisor runs (CLGI at boot; a #VMEXIT clears it again), and RFLAGS.IF is 1: the
//! hypervisor never takes an interrupt. Entering a VP sets GIF. In the root an interrupt is delivered through the
//! root's own IDT. In a child (V_INTR_MASKING; INTR, NMI and SMI intercepted) it ends the run and stays pending.
//!
//! # What hardware offers
//! Nothing beyond nested paging is needed: no NRIP save, no decode assists, no flush by ASID, no VMCB clean bits,
//! no virtual GIF. An exit therefore tells the next RIP for IN and OUT only.
#![no_std]
#![allow(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod asid;
mod engine_impl;
pub mod event;
pub mod exit;
pub mod leftovers;
pub mod permission;
pub mod registers;
pub mod segment;
pub mod support;
mod switch;
pub mod vmcb;
pub mod vp;

pub use engine_impl::{SharedPages, Svm, VpEntry};
