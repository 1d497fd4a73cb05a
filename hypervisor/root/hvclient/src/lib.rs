//! The parent's side of the TLFS: finds the hypervisor, sets the hypercall page up, and makes typed calls.
//!
//! * [`discovery`]: what CPUID says, and in words what is missing for a root partition.
//! * [`client`]: the calls, safe, over the trait [`Transport`].
//! * [`machine`]: [`Transport`] and discovery on the real processor.
//! * [`state_page`]: the VP state pages that a parent shares with the hypervisor.
//! * [`clock`]: reference time.
//!
//! It speaks to any hypervisor that serves the specification. VPs are run by HvCallDispatchVp (root scheduler);
//! [`client::Client::dispatch`] is the one place that knows it, so that the classic mode can come beside it.
#![no_std]
#![allow(unsafe_code)]

extern crate alloc;

pub mod client;
pub mod clock;
pub mod discovery;
#[cfg(any(test, feature = "double"))]
pub mod double;
pub mod machine;
pub mod state_page;

pub use client::{CallError, Client, DispatchEnd, PartialCall, Transport};
pub use discovery::{Cpuid, Discovered, DiscoveryError};
pub use state_page::StatePage;
