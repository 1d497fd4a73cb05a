//! The Hyper-V Top Level Functional Specification (TLFS) as types.
//!
//! Every number, bit and layout that crosses the boundary between a hypervisor that serves the TLFS and
//! a partition that calls it is written down here, once, for both sides: the hypercall control word and
//! result, statuses, synthetic MSRs, CPUID leaves, registers, messages, intercepts and the input and
//! output of each call. There is no behaviour: a type here packs and unpacks bits, nothing more.
//!
//! # Rules that every module keeps
//! - A wire value is never a Rust `enum`. It is a transparent integer with named constants, so that a value
//!   nobody named yet stays representable, comparable and printable.
//! - A wire structure is `#[repr(C)]`, has no implicit padding (`zerocopy::IntoBytes` refuses it), names its
//!   reserved fields, and has its size and offsets asserted at compile time.
//! - Reading a structure copies it. Nothing in here makes a reference to guest memory.
//! - Addresses and identifiers are newtypes ([`addr`]).
//! - Reserved bits are kept as they came; the reader decides whether to refuse them.
//!
//! # Sources, in order of precedence
//! 1. "spec": the TLFS pages in MicrosoftDocs/Virtualization-Documentation (CC-BY-4.0).
//! 2. "mshv-bindings": crate `mshv-bindings` 0.7.1, bindgen of Microsoft's headers.
//! 3. "Linux": `include/hyperv/*.h` of the Linux kernel.
//! 4. "openvmm": `vm/hv1/hvdef`.
//!
//! A comment names the source wherever the specification is silent or where two of them disagree.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod macros;

pub mod addr;
pub mod calls;
pub mod cpuid;
pub mod hypercall;
pub mod intercept;
pub mod message;
pub mod msr;
pub mod partition;
pub mod register;
pub mod status;
pub mod time;
pub mod vp_page;
