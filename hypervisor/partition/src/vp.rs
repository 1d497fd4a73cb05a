//! What the hypervisor keeps of a virtual processor beside what the engine does.

use tlfs::addr::Spa;

use crate::MAX_FRAMES_PER_VP;
use crate::translate::FetchCache;

/// "No partition" in [`Vp::partition`].
pub(crate) const NO_PARTITION: u16 = u16::MAX;

/// One virtual processor. A value of this type is an entry of [`crate::Storage::vps`].
#[derive(Debug)]
pub struct Vp {
    /// Table index of its partition; [`NO_PARTITION`]: the entry is free.
    pub(crate) partition: u16,
    /// Of a free entry: the next one ([`Hypervisor::free_vps`](crate::Hypervisor)).
    pub(crate) next_free: u16,
    /// Its index in the partition.
    pub(crate) index: u32,
    /// Frames that the engine has; the first `frame_count` count.
    pub(crate) frames: [Spa; MAX_FRAMES_PER_VP],
    pub(crate) frame_count: usize,
    /// Register page, mapped into the parent.
    pub(crate) register_page: Option<Spa>,
    /// Intercept message page, mapped into the parent.
    pub(crate) message_page: Option<Spa>,
    /// An intercept message waits for the parent.
    pub(crate) intercept_suspend: bool,
    /// The parent suspended it.
    pub(crate) explicit_suspend: bool,
    /// It executed HLT and nothing has woken it.
    pub(crate) halted: bool,
    /// Interrupts asserted and not yet taken.
    pub(crate) interrupts: Interrupts,
    /// The segment registers as the register page shows them (two words each), if they are so.
    pub(crate) shown_segments: Option<[[u64; 2]; 6]>,
    /// RIP and length of the last hypercall instruction.
    pub(crate) last_call: (u64, u64),
    /// The last instruction fetches.
    pub(crate) fetch: FetchCache,
}

impl Vp {
    /// A free entry.
    pub const EMPTY: Self = Self {
        partition: NO_PARTITION,
        next_free: u16::MAX,
        index: 0,
        frames: [Spa(0); MAX_FRAMES_PER_VP],
        frame_count: 0,
        register_page: None,
        message_page: None,
        intercept_suspend: false,
        explicit_suspend: false,
        halted: false,
        interrupts: Interrupts::NONE,
        shown_segments: None,
        last_call: (0, 0),
        fetch: FetchCache::EMPTY,
    };
}

impl Default for Vp {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Pending interrupt vectors, one bit each. There is no local APIC: what is taken counts as finished at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupts {
    pending: [u64; 4],
    any: bool,
    /// What the engine was offered.
    offered: Option<u8>,
}

impl Interrupts {
    pub(crate) const NONE: Self = Self { pending: [0; 4], any: false, offered: None };

    /// Whether a vector is pending or offered.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Makes a vector pending. What was taken since the last run is learnt first: it may be the same vector, which is
    /// then a second interrupt.
    pub(crate) fn assert(&mut self, vector: u8, still_offered: Option<u8>) {
        self.learn(still_offered);
        if let Some(word) = self.pending.get_mut(usize::from(vector / 64)) {
            *word |= 1 << (vector % 64);
            self.any = true;
        }
    }

    /// Learns from what the engine still has whether the offer was taken.
    fn learn(&mut self, still_offered: Option<u8>) {
        if still_offered.is_none()
            && let Some(vector) = self.offered.take()
            && let Some(word) = self.pending.get_mut(usize::from(vector / 64))
        {
            *word &= !(1 << (vector % 64));
        }
    }

    /// Learns what was taken, and says what to offer now.
    pub(crate) fn settle(&mut self, still_offered: Option<u8>) -> Option<u8> {
        self.learn(still_offered);
        self.offered = self.highest();
        self.any = self.offered.is_some();
        self.offered
    }

    fn highest(&self) -> Option<u8> {
        let (index, word) = self.pending.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        let bit = 63 - word.leading_zeros();
        u8::try_from(index * 64).ok()?.checked_add(u8::try_from(bit).ok()?)
    }
}
