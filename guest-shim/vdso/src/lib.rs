//! The vDSO: clock reads in ring 3, without a system call and so without an exit.
//!
//! A shared object that the shim maps into every program (AT_SYSINFO_EHDR), with the symbols that glibc, musl and Go look
//! for. It has no data of its own: before it stand the hypervisor's reference TSC page (TLFS, "Reference Time") and a page
//! of the shim's whose first word is CLOCK_REALTIME in ns at reference time 0. The image's build script links it with
//! `vdso.ld`; nothing here may need relocation, a panic, or anything outside this file.
#![no_std]
#![allow(unsafe_code)]

use core::arch::asm;
use core::ptr;

/// `struct timespec`.
#[repr(C)]
#[derive(Debug)]
pub struct Timespec {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds.
    pub tv_nsec: i64,
}

/// `struct timeval`.
#[repr(C)]
#[derive(Debug)]
pub struct Timeval {
    /// Seconds.
    pub tv_sec: i64,
    /// Microseconds.
    pub tv_usec: i64,
}

/// `HV_REFERENCE_TSC_PAGE`.
#[repr(C)]
struct TimePage {
    sequence: u32,
    reserved: u32,
    scale: u64,
    offset: i64,
}

const SECOND_NS: u64 = 1_000_000_000;
/// One tick of the reference clock.
const TICK_NS: u64 = 100;
/// Resolution of the coarse clocks, as clock_getres says it.
const COARSE_NS: i64 = 4_000_000;

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_REALTIME_COARSE: i32 = 5;
const CLOCK_MONOTONIC_COARSE: i32 = 6;
const CLOCK_BOOTTIME: i32 = 7;
const CLOCK_TAI: i32 = 11;

// The table of x86-64 system calls.
const SYS_GETTIMEOFDAY: u64 = 96;
const SYS_TIME: u64 = 201;
const SYS_CLOCK_GETTIME: u64 = 228;
const SYS_CLOCK_GETRES: u64 = 229;

/// Address of one of the pages before the object.
macro_rules! page {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: computes an address.
        unsafe {
            asm!(
                concat!("lea {}, [rip + ", $symbol, "]"),
                out(reg) address,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        address
    }};
}

fn timestamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads the time stamp counter, after all earlier loads.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    (high as u64) << 32 | low as u64
}

/// Reference time in ns; `None` when the page cannot be used.
fn reference_ns() -> Option<u64> {
    let page = ptr::with_exposed_provenance::<TimePage>(page!("vdso_time"));
    loop {
        // SAFETY: the page is mapped, read-only, before the object for as long as the program lives; the hypervisor may
        // change it at any time, hence volatile reads and the sequence.
        let (before, scale, offset) = unsafe {
            (
                (&raw const (*page).sequence).read_volatile(),
                (&raw const (*page).scale).read_volatile(),
                (&raw const (*page).offset).read_volatile(),
            )
        };
        if before == 0 {
            return None;
        }
        let ticks = ((u128::from(timestamp()) * u128::from(scale)) >> 64) as u64;
        // SAFETY: as above.
        if unsafe { (&raw const (*page).sequence).read_volatile() } == before {
            return Some(ticks.wrapping_add(offset as u64).wrapping_mul(TICK_NS));
        }
    }
}

/// CLOCK_REALTIME in ns.
fn realtime_ns() -> Option<u64> {
    let facts = ptr::with_exposed_provenance::<u64>(page!("vdso_facts"));
    // SAFETY: mapped, read-only, before the object; never changes.
    let offset = unsafe { facts.read_volatile() };
    Some(reference_ns()?.wrapping_add(offset))
}

/// # Safety
/// The arguments are those of the system call.
unsafe fn system_call(number: u64, first: u64, second: u64) -> i64 {
    let result: i64;
    // SAFETY: the caller's promise; the kernel checks what it is given.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as i64 => result,
            in("rdi") first,
            in("rsi") second,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result
}

/// What a function that returns `int` makes of a call's result: 0 or −errno.
#[expect(clippy::cast_possible_truncation, reason = "the results of these calls fit an int")]
const fn int(result: i64) -> i32 {
    result as i32
}

/// clock_gettime.
///
/// # Safety
/// `out` points to a `struct timespec`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_gettime(clock: i32, out: *mut Timespec) -> i32 {
    let now = match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_TAI => realtime_ns(),
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME => reference_ns(),
        _ => None,
    };
    let Some(now) = now else {
        // SAFETY: the caller's arguments, as the call takes them.
        return int(unsafe { system_call(SYS_CLOCK_GETTIME, clock as u64, out.addr() as u64) });
    };
    // SAFETY: the caller's promise.
    unsafe { out.write(Timespec { tv_sec: (now / SECOND_NS) as i64, tv_nsec: (now % SECOND_NS) as i64 }) };
    0
}

/// clock_getres.
///
/// # Safety
/// `out` points to a `struct timespec` or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_getres(clock: i32, out: *mut Timespec) -> i32 {
    let tv_nsec = match clock {
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_BOOTTIME | CLOCK_TAI => 1,
        CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => COARSE_NS,
        // SAFETY: the caller's arguments, as the call takes them.
        _ => return int(unsafe { system_call(SYS_CLOCK_GETRES, clock as u64, out.addr() as u64) }),
    };
    if !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out.write(Timespec { tv_sec: 0, tv_nsec }) };
    }
    0
}

/// gettimeofday.
///
/// # Safety
/// `out` points to a `struct timeval` or is null, `zone` to a `struct timezone` or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_gettimeofday(out: *mut Timeval, zone: *mut [i32; 2]) -> i32 {
    let Some(now) = realtime_ns() else {
        // SAFETY: the caller's arguments, as the call takes them.
        return int(unsafe { system_call(SYS_GETTIMEOFDAY, out.addr() as u64, zone.addr() as u64) });
    };
    if !out.is_null() {
        let tv_usec = (now % SECOND_NS / 1000) as i64;
        // SAFETY: the caller's promise.
        unsafe { out.write(Timeval { tv_sec: (now / SECOND_NS) as i64, tv_usec }) };
    }
    if !zone.is_null() {
        // SAFETY: the caller's promise.
        unsafe { zone.write([0; 2]) };
    }
    0
}

/// time.
///
/// # Safety
/// `out` points to a `time_t` or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_time(out: *mut i64) -> i64 {
    let Some(now) = realtime_ns() else {
        // SAFETY: the caller's argument, as the call takes it.
        return unsafe { system_call(SYS_TIME, out.addr() as u64, 0) };
    };
    let seconds = (now / SECOND_NS) as i64;
    if !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out.write(seconds) };
    }
    seconds
}

/// getcpu: there is one processor.
///
/// # Safety
/// The pointers point to an `unsigned` each or are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, _unused: *mut u8) -> i32 {
    for out in [cpu, node] {
        if !out.is_null() {
            // SAFETY: the caller's promise.
            unsafe { out.write(0) };
        }
    }
    0
}
