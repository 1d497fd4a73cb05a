//! The vDSO as the personality sees it: pages that the image prepared, mapped into each program.

use alloc::vec::Vec;

/// The vDSO's pages, in the order in which they are mapped.
#[derive(Clone, Debug, Default)]
pub struct Vdso {
    /// The reference TSC page: the hypervisor's, and no frame.
    pub time: u64,
    /// The frame whose first word is CLOCK_REALTIME in ns at reference time 0.
    pub facts: u64,
    /// Frames of the shared object. Empty: there is no vDSO.
    pub image: Vec<u64>,
}
