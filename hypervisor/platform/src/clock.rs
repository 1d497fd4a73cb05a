//! How fast the TSC and the local APIC's timer count, measured at boot against channel 2 of the interval timer.
//!
//! No interrupt is involved. The channel counts down freely while its count is read together with the other two; a
//! sample that took long (an emulator can lose the processor in the middle) is taken again.

use core::ptr;

use rt::port;
use x86_64::registers::model_specific::Msr;

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

const APIC_BASE: u32 = 0x1b;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const APIC_BASE_ENABLED: u64 = 1 << 11;
const APIC_BASE_ADDRESS: u64 = 0xf_ffff_f000;
const APIC_LVT_TIMER: u32 = 0x320;
const APIC_INITIAL_COUNT: u32 = 0x380;
const APIC_CURRENT_COUNT: u32 = 0x390;
const APIC_DIVIDE: u32 = 0x3e0;
const APIC_LVT_MASKED: u32 = 1 << 16;
const APIC_DIVIDE_BY_1: u32 = 0b1011;

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

/// The local APIC, in whichever of its two forms it is on.
#[derive(Clone, Copy)]
enum Apic {
    None,
    Mapped(u64),
    X2,
}

impl Apic {
    fn find() -> Self {
        // SAFETY: APIC_BASE exists on every 64-bit processor; reading it changes nothing.
        let base = unsafe { Msr::new(APIC_BASE).read() };
        match (base & APIC_BASE_ENABLED, base & APIC_BASE_X2APIC) {
            (0, _) => Self::None,
            (_, 0) => Self::Mapped(base & APIC_BASE_ADDRESS),
            _ => Self::X2,
        }
    }

    fn read(self, register: u32) -> u32 {
        match self {
            Self::None => 0,
            // SAFETY: the registers of the enabled local APIC, identity-mapped below 4 GiB; those named here have no
            // effect when read.
            Self::Mapped(base) => unsafe { register_pointer(base, register).read_volatile() },
            #[allow(clippy::cast_possible_truncation, reason = "APIC registers have 32 bits")]
            // SAFETY: x2APIC is on, so the registers are MSRs.
            Self::X2 => unsafe { Msr::new(0x800 + register / 16).read() as u32 },
        }
    }

    fn write(self, register: u32, value: u32) {
        match self {
            Self::None => {}
            // SAFETY: as in `read`; the timer is nobody's yet, and its interrupt is kept masked.
            Self::Mapped(base) => unsafe { register_pointer(base, register).write_volatile(value) },
            // SAFETY: as above.
            Self::X2 => unsafe { Msr::new(0x800 + register / 16).write(u64::from(value)) },
        }
    }

    /// Lets the timer count down from its largest value, silently.
    fn start_timer(self) {
        self.write(APIC_LVT_TIMER, APIC_LVT_MASKED);
        self.write(APIC_DIVIDE, APIC_DIVIDE_BY_1);
        self.write(APIC_INITIAL_COUNT, u32::MAX);
    }
}

fn register_pointer(base: u64, register: u32) -> *mut u32 {
    #[allow(clippy::cast_possible_truncation, reason = "addresses have 64 bits here")]
    ptr::with_exposed_provenance_mut((base + u64::from(register)) as usize)
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
    let count = u64::from(apic.read(APIC_CURRENT_COUNT));
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
            apic.write(APIC_INITIAL_COUNT, 0);
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
