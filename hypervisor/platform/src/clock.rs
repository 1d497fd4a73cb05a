//! How fast the TSC and the local APIC's timer count, measured at boot against channel 2 of the interval timer.
//!
//! No interrupt is involved. The channel counts down freely while its count is read together with the other two; a
//! sample that took long (an emulator can lose the processor in the middle) is taken again.

use rt::port;

use crate::apic::{Apic, CURRENT_COUNT, INITIAL_COUNT};

/// Counts a second of the interval timer.
const PIT_HZ: u64 = 1_193_182;
/// Counts to measure over: 10 ms.
const MEASURED: u64 = PIT_HZ / 100;
/// Looks at a timer that does not move before it is given up.
const MAX_SAMPLES: u32 = 2_000_000;
/// Tries for one good sample.
const TRIES: u32 = 16;

const PIT_CHANNEL_2: u16 = 0x42;
const PIT_COMMAND: u16 = 0x43;
/// Channel 2, low then high byte, mode 0 (count down, once).
const PIT_START: u8 = 0b1011_0000;
/// Latch the count of channel 2.
const PIT_LATCH: u8 = 0b1000_0000;
/// Bit 0: gate of channel 2. Bit 1: speaker.
const SYSTEM_CONTROL: u16 = 0x61;

/// Ticks a second of the machine's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The time-stamp counter.
    pub tsc_hz: u64,
    /// The local APIC's timer, undivided. 0 if there is no local APIC.
    pub apic_hz: u64,
}

impl Clocks {
    /// Not measured yet.
    pub const UNKNOWN: Self = Self { tsc_hz: 0, apic_hz: 0 };
}

/// The three counters at one moment.
#[derive(Clone, Copy)]
struct Sample {
    pit: u64,
    tsc: u64,
    apic: u64,
    /// TSC ticks that taking it took: how far apart the three may be.
    spread: u64,
}

/// The time-stamp counter.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn sample_once(apic: Apic) -> Sample {
    let before = tsc();
    // SAFETY: latches and reads a count of a timer that only `measure` uses now.
    let pit = unsafe {
        port::write_u8(PIT_COMMAND, PIT_LATCH);
        let low = port::read_u8(PIT_CHANNEL_2);
        u64::from(u16::from_le_bytes([low, port::read_u8(PIT_CHANNEL_2)]))
    };
    let count = u64::from(apic.read(CURRENT_COUNT));
    let after = tsc();
    let spread = after.wrapping_sub(before);
    Sample { pit, tsc: before.wrapping_add(spread / 2), apic: count, spread }
}

/// The least spread of a few samples.
fn sample(apic: Apic) -> Sample {
    let mut best = sample_once(apic);
    for _ in 1..TRIES {
        let next = sample_once(apic);
        if next.spread < best.spread {
            best = next;
        }
    }
    best
}

/// Measures for about 10 ms. `None` if the interval timer does not count.
///
/// # Safety
/// Channel 2 of the interval timer and the local APIC's timer must be unused, and I/O and the local APIC reachable. The
/// first 4 GiB must be identity-mapped.
#[must_use]
pub unsafe fn measure() -> Option<Clocks> {
    let apic = Apic::find();
    // SAFETY: the channel is unused (contract); the speaker stays off.
    unsafe {
        let control = port::read_u8(SYSTEM_CONTROL) & !0b11;
        port::write_u8(SYSTEM_CONTROL, control | 1);
        port::write_u8(PIT_COMMAND, PIT_START);
        port::write_u8(PIT_CHANNEL_2, 0xff);
        port::write_u8(PIT_CHANNEL_2, 0xff);
    }
    apic.start_timer();
    let start = sample(apic);
    for _ in 0..MAX_SAMPLES {
        let now = sample_once(apic);
        if start.pit.saturating_sub(now.pit) >= MEASURED {
            let end = sample(apic);
            apic.write(INITIAL_COUNT, 0);
            return Some(rates(&start, &end));
        }
    }
    None
}

fn rates(start: &Sample, end: &Sample) -> Clocks {
    let elapsed = start.pit.saturating_sub(end.pit).max(1);
    let per_second = |ticks: u64| ticks.saturating_mul(PIT_HZ) / elapsed;
    Clocks {
        tsc_hz: per_second(end.tsc.wrapping_sub(start.tsc)),
        apic_hz: per_second(start.apic.saturating_sub(end.apic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_the_interval_timer() {
        let start = Sample { pit: 0xffff, tsc: 5_000, apic: 0xffff_ffff, spread: 1 };
        let end = Sample { pit: 0xffff - 11_931, tsc: 5_000 + 30_000_000, apic: 0xffff_ffff - 10_000_000, spread: 1 };
        let clocks = rates(&start, &end);
        assert!(clocks.tsc_hz.abs_diff(3_000_000_000) < 1_000_000, "{clocks:?}");
        assert!(clocks.apic_hz.abs_diff(1_000_000_000) < 1_000_000, "{clocks:?}");
    }

    #[test]
    fn counters_that_stand_still_do_no_harm() {
        let still = Sample { pit: 7, tsc: 7, apic: 0, spread: 0 };
        assert_eq!(rates(&still, &still), Clocks { tsc_hz: 0, apic_hz: 0 });
    }
}
