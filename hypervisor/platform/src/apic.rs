//! The local APIC, as far as starting the machine needs it: its timer, and commands to other processors.

use core::hint::spin_loop;
use core::ptr;

use x86_64::registers::model_specific::Msr;

const BASE: u32 = 0x1b;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0xf_ffff_f000;
const INTERRUPT_COMMAND: u32 = 0x300;
const LVT_TIMER: u32 = 0x320;
/// Where the timer starts; 0 stops it.
pub(crate) const INITIAL_COUNT: u32 = 0x380;
/// Where the timer is.
pub(crate) const CURRENT_COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;
const LVT_MASKED: u32 = 1 << 16;
const DIVIDE_BY_1: u32 = 0b1011;
/// To all but the sender, asserted, edge triggered.
const TO_ALL_OTHERS: u32 = 0b11 << 18 | 1 << 14;
const INIT: u32 = 0b101 << 8;
const STARTUP: u32 = 0b110 << 8;
const BEING_SENT: u32 = 1 << 12;
/// Looks at a command that is being sent.
const MAX_LOOKS: u32 = 100_000;

/// The local APIC, in whichever of its two forms it is on.
#[derive(Clone, Copy)]
pub(crate) enum Apic {
    None,
    Mapped(u64),
    X2,
}

impl Apic {
    pub(crate) fn find() -> Self {
        // SAFETY: APIC_BASE exists on every 64-bit processor; reading it changes nothing.
        let base = unsafe { Msr::new(BASE).read() };
        match (base & BASE_ENABLED, base & BASE_X2APIC) {
            (0, _) => Self::None,
            (_, 0) => Self::Mapped(base & BASE_ADDRESS),
            _ => Self::X2,
        }
    }

    pub(crate) fn read(self, register: u32) -> u32 {
        match self {
            Self::None => 0,
            // SAFETY: the registers of the enabled local APIC, identity-mapped below 4 GiB; those named here have no
            // effect when read.
            Self::Mapped(base) => unsafe { register_pointer(base, register).read_volatile() },
            #[allow(clippy::cast_possible_truncation, reason = "APIC registers have 32 bits")]
            // SAFETY: x2APIC is on, so the registers are MSRs.
            Self::X2 => unsafe { Msr::new(0x800 + register / 16).read() as u32 },
        }
    }

    pub(crate) fn write(self, register: u32, value: u32) {
        match self {
            Self::None => {}
            // SAFETY: as in `read`; the timer is nobody's yet, and its interrupt is kept masked. What commands do to other
            // processors is up to those who send them.
            Self::Mapped(base) => unsafe { register_pointer(base, register).write_volatile(value) },
            // SAFETY: as above.
            Self::X2 => unsafe { Msr::new(0x800 + register / 16).write(u64::from(value)) },
        }
    }

    /// Lets the timer count down from its largest value, silently.
    pub(crate) fn start_timer(self) {
        self.write(LVT_TIMER, LVT_MASKED);
        self.write(DIVIDE, DIVIDE_BY_1);
        self.write(INITIAL_COUNT, u32::MAX);
    }

    /// Brings all other processors to a halt.
    pub(crate) fn init_others(self) {
        self.command(INIT);
    }

    /// Starts those of them that were brought to a halt, in real mode, at page `page` of memory.
    pub(crate) fn start_others(self, page: u8) {
        self.command(STARTUP | u32::from(page));
    }

    fn command(self, command: u32) {
        self.write(INTERRUPT_COMMAND, TO_ALL_OTHERS | command);
        // Only the mapped form shows this bit.
        for _ in 0..MAX_LOOKS {
            if self.read(INTERRUPT_COMMAND) & BEING_SENT == 0 {
                return;
            }
            spin_loop();
        }
    }
}

fn register_pointer(base: u64, register: u32) -> *mut u32 {
    #[allow(clippy::cast_possible_truncation, reason = "addresses have 64 bits here")]
    ptr::with_exposed_provenance_mut((base + u64::from(register)) as usize)
}
