//! The machine as the partition model uses it.

use core::arch::x86_64::__cpuid_count;
use core::fmt::{self, Write};

use engine::Platform;
use rt::port;
use rt::serial::Uart;
use x86_64::registers::model_specific::Msr;

use crate::clock::{Clocks, tsc};

/// Reset control register of the chipset: 2, then 6, is a hard reset.
const RESET_CONTROL: u16 = 0xcf9;

/// MSRs that the root may read although they exit: memory types and memory ends, which every processor with SVM has.
/// None may be written: a root that changed them could reach the hypervisor's memory or upset its caching.
const READABLE: [core::ops::RangeInclusive<u32>; 6] = [
    0x250..=0x250,             // MTRRfix64K
    0x258..=0x259,             // MTRRfix16K
    0x268..=0x26f,             // MTRRfix4K
    0xc001_0010..=0xc001_0010, // SYSCFG
    0xc001_001a..=0xc001_001a, // TOP_MEM
    0xc001_001d..=0xc001_001d, // TOP_MEM2
];

/// The machine.
#[derive(Debug)]
pub struct Machine {
    clocks: Clocks,
    log: Uart,
}

impl Machine {
    /// With what was measured, and the UART for the log.
    #[must_use]
    pub fn new(clocks: Clocks, log: Uart) -> Self {
        Self { clocks, log }
    }

    /// With what was measured since.
    pub fn set_clocks(&mut self, clocks: Clocks) {
        self.clocks = clocks;
    }
}

impl Platform for Machine {
    fn tsc(&self) -> u64 {
        tsc()
    }

    fn tsc_hz(&self) -> u64 {
        self.clocks.tsc_hz
    }

    fn apic_hz(&self) -> u64 {
        self.clocks.apic_hz
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let result = __cpuid_count(leaf, subleaf);
        [result.eax, result.ebx, result.ecx, result.edx]
    }

    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        // SAFETY: the partition model asks on behalf of the root, which owns all devices but the log and the end of
        // the machine; those ports the model answers itself.
        unsafe {
            match size {
                1 => u32::from(port::read_u8(port)),
                2 => u32::from(port::read_u16(port)),
                _ => port::read_u32(port),
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the size says how much of the value counts")]
    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        // SAFETY: as in `port_in`.
        unsafe {
            match size {
                1 => port::write_u8(port, value as u8),
                2 => port::write_u16(port, value as u16),
                _ => port::write_u32(port, value),
            }
        }
    }

    fn root_msr_read(&mut self, msr: u32) -> Option<u64> {
        if !READABLE.iter().any(|range| range.contains(&msr)) {
            return None;
        }
        // SAFETY: exists on every processor that has SVM; reading has no effect.
        Some(unsafe { Msr::new(msr).read() })
    }

    fn root_msr_write(&mut self, _msr: u32, _value: u64) -> bool {
        false
    }

    fn log(&mut self, line: fmt::Arguments<'_>) {
        // Nothing can be done about a log that does not take the line.
        let _ = writeln!(self.log, "{line}");
    }

    fn stop(&mut self, code: u8) -> ! {
        rt::stop(code)
    }

    fn reset(&mut self) -> ! {
        // SAFETY: resetting the machine is the point.
        unsafe {
            port::write_u8(RESET_CONTROL, 2);
            port::write_u8(RESET_CONTROL, 6);
        }
        rt::halt()
    }
}
