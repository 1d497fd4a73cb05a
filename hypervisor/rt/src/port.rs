//! Port instructions.
//!
//! # Safety of all functions here
//! A port access can do anything that a device can do. The caller must know the device at the port and that
//! the access breaks nothing that others rely on.

use core::arch::asm;

/// IN, one byte.
///
/// # Safety
/// See the [module](self).
#[must_use]
pub unsafe fn read_u8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: the caller answers for the port; the instruction touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// IN, two bytes.
///
/// # Safety
/// See the [module](self).
#[must_use]
pub unsafe fn read_u16(port: u16) -> u16 {
    let value: u16;
    // SAFETY: as above.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// IN, four bytes.
///
/// # Safety
/// See the [module](self).
#[must_use]
pub unsafe fn read_u32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as above.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// OUT, one byte.
///
/// # Safety
/// See the [module](self).
pub unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: the caller answers for the port; the instruction touches no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// OUT, two bytes.
///
/// # Safety
/// See the [module](self).
pub unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: as above.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// OUT, four bytes.
///
/// # Safety
/// See the [module](self).
pub unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: as above.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}
