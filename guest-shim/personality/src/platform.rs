//! What the personality needs from the machine beneath it: frames, page-table activation, the doorbell, time.
//!
//! The shim image implements [`Platform`] on the bare partition; the tests implement it over a vector.

use alloc::vec::Vec;

use proto::{CallResult, Grant, Limits};

use crate::num::index;
use crate::task::FpuState;

/// Size of a page and of a frame, in bytes.
pub const PAGE: u64 = 4096;
/// The same as an index type.
pub const PAGE_SIZE: usize = 4096;

/// Memory for the personality's own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpareHeap {
    /// Bytes that are left.
    pub left: usize,
    /// Bytes in all.
    pub total: usize,
}

/// What an argument of a call points to, as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where it was.
    pub address: u64,
    /// What it is, one of [`proto::copy_forms`].
    pub form: u64,
    /// The bytes; of a string all before its NUL.
    pub bytes: Vec<u8>,
}

impl Copied {
    /// All that the root has written.
    #[must_use]
    pub fn list(copies: &proto::Copies) -> Vec<Self> {
        let all = copies.heads.iter().zip(&copies.bytes).filter(|(head, _)| head.address != 0);
        let one = |(head, bytes): (&proto::CopyHead, &[u8; proto::COPY_LEN])| {
            Some(Self { address: head.address, form: head.form, bytes: bytes.get(..index(head.len))?.to_vec() })
        };
        all.filter_map(one).collect()
    }
}

/// The machine beneath the personality.
pub trait Platform {
    /// The frame at `gpa`, which came from [`Start`](crate::Start)'s frame range. Anything else is a bug of the
    /// personality, and an implementation ends in [`Platform::fail`].
    fn frame(&self, gpa: u64) -> &[u8; PAGE_SIZE];
    /// The same, to change it.
    fn frame_mut(&mut self, gpa: u64) -> &mut [u8; PAGE_SIZE];
    /// Copies `len` bytes from one guest physical address to another, each within one frame.
    fn copy(&mut self, from: u64, to: u64, len: usize) {
        let (page, at) = (from / PAGE * PAGE, index(from % PAGE));
        let copy = *self.frame(page);
        let (page, start) = (to / PAGE * PAGE, index(to % PAGE));
        self.frame_mut(page)[start..start + len].copy_from_slice(&copy[at..at + len]);
    }
    /// The service pages (`proto::SERVICE_PAGES` pages).
    fn service(&mut self) -> &mut [u8];
    /// Hands the request in the service pages to the root; the reply is there on return.
    fn doorbell(&mut self);
    /// What the gate allowed last.
    fn grant(&self) -> Grant;
    /// `proto::GatePage::tainted`, as it is now.
    fn tainted(&self) -> u64;
    /// What the gate has judged of the granted call's memory.
    fn copies(&self) -> Vec<Copied>;
    /// What the sandbox may have, as of now.
    fn limits(&self) -> Limits;
    /// Tells the root that something was refused for these limits (`proto::reached`), for the trace.
    fn reached(&mut self, limits: u32);
    /// Puts a result into the gate page's ring, for the trace.
    fn report(&mut self, result: CallResult);
    /// Entry `index` (256 to 511) of the root page table: the half that every address space shares.
    fn kernel_entry(&self, index: usize) -> u64;
    /// Loads CR3: the address space whose root table is at `root`.
    fn activate(&mut self, root: u64);
    /// Forgets the cached translation of one page.
    fn flush_page(&mut self, va: u64);
    /// Forgets all cached translations of user space.
    fn flush_all(&mut self);
    /// Sets the FS base of ring 3.
    fn set_fs_base(&mut self, base: u64);
    /// Sets the GS base of ring 3.
    fn set_gs_base(&mut self, base: u64);
    /// The x87 and SSE state that ring 3 has, or will have when it runs again.
    fn fpu(&mut self) -> &mut FpuState;
    /// Tells the root when ring 3 is to be interrupted next, in reference time; `proto::NO_ALARM`: never.
    fn set_alarm(&mut self, at: u64);
    /// Tells the root which thread runs, for the trace.
    fn set_thread(&mut self, tid: u32);
    /// Gives ring 3 the x87 and SSE state that a program starts with.
    fn reset_fpu(&mut self);
    /// Partition reference time, in 100 ns units.
    fn reference_time(&mut self) -> u64;
    /// CPUID leaf 1, EDX: what AT_HWCAP says on x86.
    fn hardware_capabilities(&self) -> u64;
    /// Bytes that the personality's own data can still take: `total` at first.
    fn spare_heap(&self) -> SpareHeap;
    /// The shim cannot go on.
    fn fail(&mut self, reason: &str) -> !;
}
