//! Measuring a system call in a loop.
use crate::{CLOCK_GETTIME, GETPID, syscall};
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::fmt;

const CLOCK_MONOTONIC: u64 = 1;

/// What a number of calls took together.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    calls: u64,
    ns: u64,
    ticks: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calls={} ns={} ticks={}", self.calls, self.ns, self.ticks)
    }
}

/// Calls getpid as often as told.
pub fn getpid(calls: u64) -> Cost {
    let (ns, ticks) = (now_ns(), now_ticks());
    for _ in 0..calls {
        // SAFETY: getpid touches nothing.
        unsafe { syscall(GETPID, [0; 6]) };
    }
    let ticks = now_ticks().wrapping_sub(ticks);
    let ns = now_ns().wrapping_sub(ns);
    Cost { calls, ns, ticks }
}

fn now_ns() -> u64 {
    let mut time = [0u64; 2];
    let args = [CLOCK_MONOTONIC, time.as_mut_ptr().addr() as u64, 0, 0, 0, 0];
    // SAFETY: the kernel writes a timespec, two words, to `time`, whose address is exposed by `as`.
    unsafe { syscall(CLOCK_GETTIME, args) };
    let time = core::hint::black_box(time);
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

fn now_ticks() -> u64 {
    // SAFETY: both instructions are in every x86-64 processor.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}
