//! Exceptions that a kernel provokes on purpose, and interrupts, which are counted.

use core::sync::atomic::{AtomicU64, Ordering};

use rt::exceptions::TrapFrame;

use crate::timer;

/// Where the instruction under test goes on if it faults; 0: none is under test.
pub(crate) static RESUME: AtomicU64 = AtomicU64::new(0);
/// What it raised: vector in bits 0 to 7, bit 8 set, error code from bit 32 on; 0: nothing.
static RAISED: AtomicU64 = AtomicU64::new(0);
/// Interrupts taken so far.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);

/// An exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// 0 to 31.
    pub vector: u8,
    /// 0 for vectors without one.
    pub error_code: u32,
}

impl Trap {
    /// General protection, error code 0.
    pub const GP: Self = Self { vector: 13, error_code: 0 };
    /// Invalid opcode.
    pub const UD: Self = Self { vector: 6, error_code: 0 };
}

/// Interrupts (vectors from 32 on) taken since the start.
#[must_use]
pub fn interrupts() -> u64 {
    INTERRUPTS.load(Ordering::Relaxed)
}

pub(crate) fn install() {
    // SAFETY: the first and only call, from the boot stack, with interrupts off.
    unsafe { rt::exceptions::install() };
}

/// What the instruction under test raised since the last call.
pub(crate) fn taken() -> Option<Trap> {
    RESUME.store(0, Ordering::Relaxed);
    let raised = RAISED.swap(0, Ordering::Relaxed);
    let vector = u8::try_from(raised & 0xff).unwrap_or(0);
    let error_code = u32::try_from(raised >> 32).unwrap_or(0);
    (raised & 0x100 != 0).then_some(Trap { vector, error_code })
}

#[unsafe(no_mangle)]
extern "C" fn trap(frame: &mut TrapFrame) {
    if frame.vector >= 32 {
        INTERRUPTS.fetch_add(1, Ordering::Relaxed);
        timer::acknowledge();
        return;
    }
    let resume = RESUME.swap(0, Ordering::Relaxed);
    if resume == 0 {
        let address = rt::exceptions::fault_address();
        panic!("exception {} error {:#x} at {:#x}, cr2 {address:#x}", frame.vector, frame.error_code, frame.rip);
    }
    RAISED.store(frame.vector | 0x100 | frame.error_code << 32, Ordering::Relaxed);
    frame.rip = resume;
}
