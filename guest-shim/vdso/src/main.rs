//! The vDSO: clock reads in ring 3, without an exit.
//!
//! A shared object of one segment that the personality maps into each program, behind two data pages:
//! ```text
//! base − 0x2000   the partition's reference TSC page (TLFS), which the hypervisor keeps
//! base − 0x1000   VdsoData, which the shim wrote at its start
//! base            this object
//! ```
//! What it cannot answer it hands on as a system call, which the gate judges like any other. Names and version are
//! those of Linux' own (`vdso(7)`), so glibc, musl and Go find them.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::{asm, x86_64::_rdtsc};

const SYS_GETTIMEOFDAY: u64 = 96;
const SYS_TIME: u64 = 201;
const SYS_CLOCK_GETTIME: u64 = 228;
const SYS_CLOCK_GETRES: u64 = 229;

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_REALTIME_COARSE: i32 = 5;
const CLOCK_MONOTONIC_COARSE: i32 = 6;
const CLOCK_BOOTTIME: i32 = 7;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// One tick of the reference clock.
const RESOLUTION_NS: u64 = 100;

/// `struct timespec`, and `struct timeval` with microseconds in the second word.
#[repr(C)]
struct TwoWords {
    seconds: u64,
    fraction: u64,
}

/// `HV_REFERENCE_TSC_PAGE`. The hypervisor may write it at any time: every read is volatile.
#[repr(C)]
struct TscPage {
    sequence: u32,
    reserved: u32,
    scale: u64,
    offset: i64,
}

/// The data page. The shim writes it before the program starts and never again.
#[repr(C)]
struct VdsoData {
    /// CLOCK_REALTIME in ns at reference time 0.
    realtime_offset_ns: u64,
}

fn tsc_page() -> *const TscPage {
    let page: *const TscPage;
    // SAFETY: computes an address relative to this object; touches nothing.
    unsafe { asm!("lea {}, [rip + vdso_tsc_page]", out(reg) page, options(nomem, nostack, preserves_flags)) };
    page
}

fn realtime_offset() -> u64 {
    let page: *const VdsoData;
    // SAFETY: computes an address relative to this object; touches nothing.
    unsafe { asm!("lea {}, [rip + vdso_data_page]", out(reg) page, options(nomem, nostack, preserves_flags)) };
    // SAFETY: the personality maps the data page, readable, right before this object.
    unsafe { (&raw const (*page).realtime_offset_ns).read() }
}

/// Reference time in ns; `None`: the page cannot be used now.
fn reference_ns() -> Option<u64> {
    let page = tsc_page();
    loop {
        // SAFETY: the personality maps the reference TSC page, readable, two pages before this object; the reads are
        // volatile because the hypervisor may change it, and the sequence tells whether it did.
        let (before, scale, offset, tsc, after) = unsafe {
            let before = (&raw const (*page).sequence).read_volatile();
            let scale = (&raw const (*page).scale).read_volatile();
            let offset = (&raw const (*page).offset).read_volatile();
            let tsc = _rdtsc();
            (before, scale, offset, tsc, (&raw const (*page).sequence).read_volatile())
        };
        if before == 0 {
            return None;
        }
        if before == after {
            let ticks = ((u128::from(tsc) * u128::from(scale)) >> 64) as u64;
            return Some(ticks.wrapping_add_signed(offset).wrapping_mul(100));
        }
    }
}

fn clock_ns(clock: i32) -> Option<u64> {
    let reference = reference_ns()?;
    match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE => Some(reference.wrapping_add(realtime_offset())),
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME => Some(reference),
        _ => None,
    }
}

/// What a C function that returns `int` gives back of a call's result: 0 or −errno.
#[allow(clippy::cast_possible_truncation, reason = "the results of these calls fit an int")]
const fn int(result: i64) -> i32 {
    result as i32
}

fn system_call(number: u64, first: u64, second: u64) -> i64 {
    let result: i64;
    // SAFETY: a system call with the caller's own arguments: what it may do to memory, the caller asked for.
    unsafe {
        asm!("syscall", inlateout("rax") number.cast_signed() => result, in("rdi") first, in("rsi") second,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// `clock_gettime(2)`
///
/// # Safety
/// `out` must be writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_clock_gettime(clock: i32, out: *mut TwoWords) -> i32 {
    let Some(ns) = clock_ns(clock) else {
        return int(system_call(SYS_CLOCK_GETTIME, i64::from(clock).cast_unsigned(), out.addr() as u64));
    };
    // SAFETY: the caller's own pointer; a bad one faults in the caller, as it does with Linux' vDSO.
    unsafe { out.write(TwoWords { seconds: ns / NS_PER_SECOND, fraction: ns % NS_PER_SECOND }) };
    0
}

/// `gettimeofday(2)`
///
/// # Safety
/// `out` must be writable or null, and so `zone` (two words of 32 bits).
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_gettimeofday(out: *mut TwoWords, zone: *mut u64) -> i32 {
    let Some(ns) = clock_ns(CLOCK_REALTIME) else {
        return int(system_call(SYS_GETTIMEOFDAY, out.addr() as u64, zone.addr() as u64));
    };
    if !out.is_null() {
        // SAFETY: as in `__vdso_clock_gettime`.
        unsafe { out.write(TwoWords { seconds: ns / NS_PER_SECOND, fraction: ns % NS_PER_SECOND / 1000 }) };
    }
    if !zone.is_null() {
        // SAFETY: the caller's own pointer to two 32-bit words. The sandbox lives in UTC.
        unsafe { zone.write_unaligned(0) };
    }
    0
}

/// `time(2)`
///
/// # Safety
/// `out` must be writable or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_time(out: *mut u64) -> i64 {
    let Some(ns) = clock_ns(CLOCK_REALTIME) else {
        return system_call(SYS_TIME, out.addr() as u64, 0);
    };
    let seconds = ns / NS_PER_SECOND;
    if !out.is_null() {
        // SAFETY: the caller's own pointer.
        unsafe { out.write(seconds) };
    }
    seconds.cast_signed()
}

/// `clock_getres(2)`
///
/// # Safety
/// `out` must be writable or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_clock_getres(clock: i32, out: *mut TwoWords) -> i32 {
    if clock_ns(clock).is_none() {
        return int(system_call(SYS_CLOCK_GETRES, i64::from(clock).cast_unsigned(), out.addr() as u64));
    }
    if !out.is_null() {
        // SAFETY: the caller's own pointer.
        unsafe { out.write(TwoWords { seconds: 0, fraction: RESOLUTION_NS }) };
    }
    0
}

/// `getcpu(2)`: a sandbox has one processor.
///
/// # Safety
/// `cpu` and `node` must each be writable or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, _cache: *mut u8) -> i32 {
    for out in [cpu, node] {
        if !out.is_null() {
            // SAFETY: the caller's own pointer.
            unsafe { out.write(0) };
        }
    }
    0
}

// The names without prefix, which Linux exports as well (weak there, for old programs).
core::arch::global_asm!(
    ".globl clock_gettime, gettimeofday, time, clock_getres, getcpu",
    ".set clock_gettime, __vdso_clock_gettime",
    ".set gettimeofday, __vdso_gettimeofday",
    ".set time, __vdso_time",
    ".set clock_getres, __vdso_clock_getres",
    ".set getcpu, __vdso_getcpu",
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing above panics; the compiler cannot know.
    loop {
        core::hint::spin_loop();
    }
}
