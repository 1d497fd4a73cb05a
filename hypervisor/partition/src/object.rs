//! What the hypervisor keeps of a partition.

use paging::format::Npt;
use paging::table::{Flush, Mapping, NestedTable};
use tlfs::addr::{Gpa, PartitionId, Spa};
use tlfs::msr::{HypercallMsr, ReferenceTscMsr};
use tlfs::partition::PrivilegeMask;

use crate::MAX_VPS_PER_PARTITION;
use crate::deposit::Deposit;
use crate::intercept::Intercepts;

/// The kind of second-level table in use. The one place that names it.
pub(crate) type Tables = NestedTable<Npt>;

/// Table index of the root partition.
pub(crate) const ROOT: u16 = 0;
/// "No VP" in [`Partition::vps`].
pub(crate) const NO_VP: u16 = u16::MAX;

/// Where a partition is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartitionState {
    /// The table entry is free.
    Free,
    /// Created: takes deposits and early properties.
    Created,
    /// Initialized: has an address space, may have VPs.
    Active,
    /// Being finalized; the call has to be repeated.
    Finalizing,
    /// Nothing left but its deposit.
    Finalized,
}

/// The bit of [`Overlay::msr`] that says that the page is there: the same in both MSRs.
pub(crate) const OVERLAY_ENABLED: u64 = 1;
const _: () = assert!(HypercallMsr(OVERLAY_ENABLED).enabled() && ReferenceTscMsr(OVERLAY_ENABLED).enabled());

/// A page that the hypervisor lays over a partition's address space, and the MSR that places it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlay {
    /// The MSR as the guest reads it.
    pub(crate) msr: u64,
    /// The page itself. The root's is there from the start, a child's while the overlay is enabled.
    pub(crate) frame: Option<Spa>,
    /// Where it appears now.
    pub(crate) at: Option<Gpa>,
    /// What it covers there.
    pub(crate) under: Option<Mapping>,
}

impl Overlay {
    pub(crate) const NONE: Self = Self { msr: 0, frame: None, at: None, under: None };
}

/// Which of the overlays of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverlayKind {
    Hypercall,
    ReferenceTsc,
}

/// One partition. A value of this type is an entry of [`crate::Storage::partitions`].
#[derive(Debug)]
pub struct Partition {
    pub(crate) id: PartitionId,
    pub(crate) state: PartitionState,
    /// Of a free entry: the next one ([`Hypervisor::free_partitions`](crate::Hypervisor)).
    pub(crate) next_free: u16,
    /// Table index of the parent; the root's own for the root.
    pub(crate) parent: u16,
    pub(crate) privileges: PrivilegeMask,
    /// Processor features that the parent wants it to do without, two banks.
    pub(crate) disabled_features: [u64; 2],
    /// Unknown MSRs read as zero and ignore writes instead of faulting.
    pub(crate) ignore_unknown_msrs: bool,
    pub(crate) deposit: Deposit,
    pub(crate) tables: Option<Tables>,
    /// Changes when a translation is weakened or removed.
    pub(crate) generation: u64,
    /// VP table index by VP index.
    pub(crate) vps: [u16; MAX_VPS_PER_PARTITION],
    pub(crate) vp_count: usize,
    pub(crate) intercepts: Intercepts,
    pub(crate) guest_os_id: u64,
    pub(crate) hypercall: Overlay,
    pub(crate) reference_tsc: Overlay,
    /// TSC at which its reference time is zero.
    pub(crate) tsc_origin: u64,
}

impl Partition {
    /// A free entry.
    pub const EMPTY: Self = Self {
        id: PartitionId::INVALID,
        state: PartitionState::Free,
        next_free: u16::MAX,
        parent: ROOT,
        privileges: PrivilegeMask::empty(),
        disabled_features: [0; 2],
        ignore_unknown_msrs: false,
        deposit: Deposit::new(ROOT),
        tables: None,
        generation: 0,
        vps: [NO_VP; MAX_VPS_PER_PARTITION],
        vp_count: 0,
        intercepts: Intercepts::NONE,
        guest_os_id: 0,
        hypercall: Overlay::NONE,
        reference_tsc: Overlay::NONE,
        tsc_origin: 0,
    };

    /// VP table index of the VP with this index.
    pub(crate) fn vp(&self, index: u32) -> Option<u16> {
        let slot = *self.vps.get(usize::try_from(index).ok()?)?;
        (slot != NO_VP).then_some(slot)
    }

    /// Takes over the duty of a flush: the next run of each VP sees a new generation.
    pub(crate) fn note(&mut self, flush: Flush) {
        if flush.is_due() {
            self.generation += 1;
        }
    }

    /// The overlay that covers the page of `gpa`.
    pub(crate) fn overlay_at(&mut self, gpa: Gpa) -> Option<&mut Overlay> {
        let page = gpa.page_base();
        [&mut self.hypercall, &mut self.reference_tsc].into_iter().find(|overlay| overlay.at == Some(page))
    }

    pub(crate) fn overlay(&mut self, kind: OverlayKind) -> &mut Overlay {
        match kind {
            OverlayKind::Hypercall => &mut self.hypercall,
            OverlayKind::ReferenceTsc => &mut self.reference_tsc,
        }
    }
}

impl Default for Partition {
    fn default() -> Self {
        Self::EMPTY
    }
}
