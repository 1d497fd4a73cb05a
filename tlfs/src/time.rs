//! Reference time (TLFS "Timers"): a clock of 100 ns ticks, read by MSR, or from a page without an exit.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Ticks of the reference clock in a second: one tick is 100 ns.
pub const REFERENCE_TICKS_PER_SECOND: u64 = 10_000_000;

/// Nanoseconds in one tick of the reference clock.
pub const NANOSECONDS_PER_REFERENCE_TICK: u64 = 100;

/// `HV_REFERENCE_TSC_PAGE`: the start of the page that HV_X64_MSR_REFERENCE_TSC places; the rest of it is zero.
///
/// Reference time, in 100 ns, is `((tsc * scale) >> 64) + offset`, with a 128-bit product. The reader takes
/// `sequence` before and after and starts again when it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReferenceTscPage {
    /// `TscSequence`: changes with every change of the others. [`SEQUENCE_INVALID`](Self::SEQUENCE_INVALID): read
    /// the MSR HV_X64_MSR_TIME_REF_COUNT instead.
    pub sequence: u32,
    /// Must be zero.
    pub reserved: u32,
    /// `TscScale`: ticks per TSC cycle, as a 64-bit binary fraction.
    pub scale: u64,
    /// `TscOffset`: reference time at TSC zero, in 100 ns.
    pub offset: i64,
}

impl ReferenceTscPage {
    /// The sequence that says that the page cannot be used now (spec; an old Linux takes 0xffffffff so too).
    pub const SEQUENCE_INVALID: u32 = 0;
}

layout! {
    ReferenceTscPage: 24 { sequence: 0, reserved: 4, scale: 8, offset: 16 }
}
