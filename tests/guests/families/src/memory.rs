//! Mapping memory, and touching it where that may be fatal.
use crate::{Sys, c, sys, tasks};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// `mmap` at no particular address.
pub fn map(len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> Sys {
    map_at(0, len, prot, flags, fd, offset)
}

/// `mmap`.
pub fn map_at(at: usize, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> Sys {
    sys!(libc::mmap(std::ptr::with_exposed_provenance_mut(at), len, prot, flags, fd, offset))
}

/// Private memory to read and write.
///
/// # Panics
/// If there is none.
pub fn anonymous(len: usize) -> *mut u8 {
    pointer(map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0))
}

/// Memory to read and write that is shared with children.
///
/// # Panics
/// If there is none.
pub fn shared(len: usize) -> *mut u8 {
    pointer(map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0))
}

/// The address that a mapping call returned.
///
/// # Panics
/// If it failed.
#[track_caller]
pub fn pointer(mapped: Sys) -> *mut u8 {
    match mapped {
        Ok(at) => std::ptr::with_exposed_provenance_mut(usize::try_from(at).expect("an address")),
        Err(errno) => panic!("{errno}"),
    }
}

/// Reads a byte, from wherever: touching what is not there is what the programs are about.
#[allow(clippy::not_unsafe_ptr_arg_deref)]
pub fn peek(at: *const u8) -> u8 {
    c!(at.read_volatile())
}

/// Writes a byte, wherever.
#[allow(clippy::not_unsafe_ptr_arg_deref)]
pub fn poke(at: *mut u8, value: u8) {
    c!(at.write_volatile(value));
}

/// The byte `n` bytes further on.
pub fn at(base: *mut u8, n: usize) -> *mut u8 {
    base.wrapping_add(n)
}

/// What reading this byte does to a process.
pub fn reading(at: *const u8) -> String {
    tasks::ending(|| {
        peek(at);
        0
    })
}

/// What writing this byte does to a process.
pub fn writing(at: *mut u8) -> String {
    tasks::ending(|| {
        poke(at, 1);
        0
    })
}
