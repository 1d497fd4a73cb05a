//! What something costs.
use crate::{c, say};
use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::time::Instant;

/// Does `round`, which does something `ops` times, a few times over, and says what the best of them took: a line
/// `row NAME ops=N rounds=N ns=N ticks=N`.
pub fn measure(name: &str, ops: u32, rounds: u32, mut round: impl FnMut()) {
    let mut best = (u128::MAX, u64::MAX);
    for _ in 0..rounds {
        let (start, ticks) = (Instant::now(), now_ticks());
        round();
        let (ticks, ns) = (now_ticks().wrapping_sub(ticks), start.elapsed().as_nanos());
        best = (best.0.min(ns), best.1.min(ticks));
    }
    say!("row {name} ops={ops} rounds={rounds} ns={} ticks={}", best.0, best.1);
}

fn now_ticks() -> u64 {
    c!({
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    })
}
