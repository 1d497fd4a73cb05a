//! Interrupts: the local APIC in xAPIC mode, its timer as the root's tick, and the console's messages.
//!
//! The timer counts one shot at a time, and its interrupt starts the next. While the root has nothing to do but wait there are no
//! ticks: one shot lasts as long as the wait ([`sleep`]).
//!
//! The root runs with interrupts off. It opens a window ([`take_pending`], [`idle`]) where it can take one, so
//! a handler never meets code that is in the middle of something.
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Physical address of the APIC's registers after reset (AMD64 volume 2, 16.3.1).
const BASE: usize = 0xfee0_0000;
const TASK_PRIORITY: usize = 0x80;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS_VECTOR: usize = 0xf0;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const TIMER_INITIAL: usize = 0x380;
const TIMER_CURRENT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;

const SOFTWARE_ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
/// Divide by 16.
const DIVIDE_BY_16: u32 = 0b0011;
const DIVISOR: u64 = 16;

/// First vector that is an interrupt and no exception.
pub(crate) const FIRST_INTERRUPT: u64 = 32;
const TIMER: u8 = 0x40;
/// The console has something for the root.
pub(crate) const CONSOLE: u8 = 0x41;
/// A folder of the host has answered.
pub(crate) const FOLDER: u8 = 0x42;
const SPURIOUS: u8 = 0xff;

const PIC_DATA: [u16; 2] = [0x21, 0xa1];

/// Interrupts since [`start`]: ticks of the timer, and messages of the console.
static EVENTS: AtomicU64 = AtomicU64::new(0);
/// What the timer counts in a tick.
static TICK_COUNT: AtomicU32 = AtomicU32::new(0);

fn write(register: usize, value: u32) {
    // SAFETY: the APIC's registers are at this address in every PC, identity-mapped, and this module is the only one that
    // touches them; the values written only concern this processor's interrupts.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(BASE + register).write_volatile(value) }
}

fn read(register: usize) -> u32 {
    // SAFETY: as for `write`; of the registers that this module reads none changes by it.
    unsafe { core::ptr::with_exposed_provenance::<u32>(BASE + register).read_volatile() }
}

/// Masks everything but the timer, and starts it: `ticks_per_second` interrupts, from a timer that counts `timer_hz`.
pub(crate) fn start(timer_hz: u64, ticks_per_second: u64) {
    for port in PIC_DATA {
        // SAFETY: masks all lines of the two legacy interrupt controllers.
        unsafe { rt::port::write_u8(port, 0xff) };
    }
    write(LVT_LINT0, MASKED);
    write(TASK_PRIORITY, 0);
    write(SPURIOUS_VECTOR, SOFTWARE_ENABLE | u32::from(SPURIOUS));
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(LVT_TIMER, u32::from(TIMER));
    let count = u32::try_from(timer_hz / DIVISOR / ticks_per_second.max(1)).unwrap_or(u32::MAX);
    TICK_COUNT.store(count.max(1), Ordering::Relaxed);
    arm(count.max(1));
}

/// Starts one shot of the timer.
fn arm(count: u32) {
    write(TIMER_INITIAL, count);
}

/// Makes the next tick come early: after `share` of `whole` of a tick, if it would not come before that anyway. Ticks go on as
/// before after that.
pub(crate) fn hasten(share: u64, whole: u64) {
    let count = count_of(share, whole);
    if read(TIMER_CURRENT) > count {
        arm(count);
    }
}

/// Halts until an interrupt comes, but no longer than `share` of `whole` of a tick, which may be many ticks; and takes it. Ticks go
/// on from then.
pub(crate) fn sleep(share: u64, whole: u64) {
    arm(count_of(share, whole));
    idle();
    hasten(1, 1);
}

/// What the timer counts in `share` of `whole` of a tick.
fn count_of(share: u64, whole: u64) -> u32 {
    let count = u64::from(TICK_COUNT.load(Ordering::Relaxed)).saturating_mul(share) / whole.max(1);
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// Stops the timer.
pub(crate) fn stop() {
    write(LVT_TIMER, MASKED);
}

/// Called for every interrupt.
pub(crate) fn interrupt(vector: u64) {
    if vector == u64::from(TIMER) {
        arm(TICK_COUNT.load(Ordering::Relaxed));
    }
    if vector != u64::from(SPURIOUS) {
        EVENTS.fetch_add(1, Ordering::Relaxed);
        write(END_OF_INTERRUPT, 0);
    }
}

/// Interrupts since the start.
pub(crate) fn events() -> u64 {
    EVENTS.load(Ordering::Relaxed)
}

/// Takes the interrupts that are pending.
pub(crate) fn take_pending() {
    // SAFETY: the descriptor tables are loaded before the first call (`main`); the handler only counts.
    unsafe { asm!("sti", "nop", "cli") };
}

/// Halts until an interrupt comes, and takes it.
fn idle() {
    // SAFETY: as above. STI lets no interrupt in before HLT, so none is missed.
    unsafe { asm!("sti", "hlt", "cli") };
}
