//! The local APIC's timer, and the old interrupt controllers, which are kept quiet.

use core::ptr::with_exposed_provenance_mut;

use rt::port;

/// Vector of the timer.
pub const VECTOR: u32 = 0x40;

const APIC: usize = 0xfee0_0000;
const EOI: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const TIMER: usize = 0x320;
const INITIAL_COUNT: usize = 0x380;
const DIVIDE: usize = 0x3e0;
const DIVIDE_BY_1: u32 = 0b1011;
const ENABLED: u32 = 0x100;

fn write(register: usize, value: u32) {
    // SAFETY: the local APIC's registers are at their usual place, identity-mapped, and no one else drives it.
    unsafe { with_exposed_provenance_mut::<u32>(APIC + register).write_volatile(value) };
}

/// Masks both 8259s: the firmware leaves its tick on.
pub(crate) fn mask_legacy_interrupts() {
    for data in [0x21, 0xa1] {
        // SAFETY: the mask registers of the interrupt controllers, which are the root's and of which no one here wants anything.
        unsafe { port::write_u8(data, 0xff) };
    }
}

pub(crate) fn acknowledge() {
    write(EOI, 0);
}

/// Starts the timer: one interrupt after `count` ticks.
pub fn arm(count: u32) {
    write(SPURIOUS, ENABLED | 0xff);
    write(DIVIDE, DIVIDE_BY_1);
    write(TIMER, VECTOR);
    write(INITIAL_COUNT, count);
}

/// Stops it.
pub fn disarm() {
    write(INITIAL_COUNT, 0);
}

/// Takes the interrupts that are pending, if any.
pub fn take_pending() {
    // SAFETY: the interrupt table is loaded; handlers return with all registers kept.
    unsafe { core::arch::asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// Whether the timer's interrupt waits to be taken.
#[must_use]
pub fn is_pending() -> bool {
    const REQUESTS: usize = 0x200;
    let register = APIC + REQUESTS + (VECTOR as usize / 32) * 16;
    // SAFETY: as in `write`; reading has no effect.
    let bits = unsafe { with_exposed_provenance_mut::<u32>(register).read_volatile() };
    bits & 1 << (VECTOR % 32) != 0
}
