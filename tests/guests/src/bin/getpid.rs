//! Calls getpid as often as the first argument says and prints what a call cost: `calls=N ns=N ticks=N`, in all.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::fmt::Write;
use guests::{Args, CLOCK_GETTIME, Fd, GETPID, number, syscall};

guests::guest!(run);

const CLOCK_MONOTONIC: u64 = 1;

fn run(mut args: Args) -> u8 {
    let Some(calls) = args.nth(1).and_then(number) else {
        let _ = writeln!(Fd(2), "usage: getpid CALLS");
        return 2;
    };
    let (ns, ticks) = (now_ns(), now_ticks());
    for _ in 0..calls {
        // SAFETY: getpid touches nothing.
        unsafe { syscall(GETPID, [0; 6]) };
    }
    let ticks = now_ticks().wrapping_sub(ticks);
    let ns = now_ns().wrapping_sub(ns);
    let _ = writeln!(Fd(1), "calls={calls} ns={ns} ticks={ticks}");
    0
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
