//! The vDSO as the personality sees it: frames that the image prepared, mapped read-only into each program.

use alloc::vec::Vec;

/// The vDSO's pages and the data pages before it.
#[derive(Clone, Debug, Default)]
pub struct Vdso {
    /// Frames of the data pages (read-only), which come first.
    pub data: Vec<u64>,
    /// Frames of the shared object (read, execute), which follow.
    pub image: Vec<u64>,
}
