//! Which events of a child its parent wants to see (HvCallInstallIntercept). Partition-wide.

use tlfs::intercept::{HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::status::HvStatus;

/// The most entries of each of the lists below.
const LIST: usize = 16;

/// A bounded list of ranges with the accesses that are wanted of each.
#[derive(Clone, Copy, Debug)]
struct Ranges {
    entries: [(u32, u32, Mask); LIST],
    len: usize,
}

impl Ranges {
    const NONE: Self = Self { entries: [(0, 0, Mask::empty()); LIST], len: 0 };

    fn used(&self) -> &[(u32, u32, Mask)] {
        self.entries.get(..self.len).unwrap_or_default()
    }

    fn wants(&self, number: u32, access: Mask) -> bool {
        self.used().iter().any(|(first, last, mask)| (*first..=*last).contains(&number) && mask.contains(access))
    }

    /// Sets what is wanted of exactly this range; nothing wanted removes it.
    fn set(&mut self, first: u32, last: u32, mask: Mask) -> Result<(), HvStatus> {
        let known = self.used().iter().position(|(f, l, _)| (*f, *l) == (first, last));
        match (known, mask.is_empty()) {
            (None, true) => Ok(()),
            (Some(at), true) => {
                self.entries.copy_within(at + 1.., at);
                self.len -= 1;
                Ok(())
            }
            (known, false) => {
                let at = known.unwrap_or(self.len);
                *self.entries.get_mut(at).ok_or(HvStatus::NO_RESOURCES)? = (first, last, mask);
                self.len = self.len.max(at + 1);
                Ok(())
            }
        }
    }
}

/// The intercepts installed on a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intercepts {
    /// Bit n: exception vector n.
    pub(crate) exceptions: u32,
    ports: Ranges,
    msrs: Ranges,
    cpuid: Ranges,
}

impl Intercepts {
    pub(crate) const NONE: Self = Self { exceptions: 0, ports: Ranges::NONE, msrs: Ranges::NONE, cpuid: Ranges::NONE };

    pub(crate) fn wants_exception(&self, vector: u8) -> bool {
        vector < 32 && self.exceptions & (1 << vector) != 0
    }

    /// Whether any byte of the access is wanted.
    pub(crate) fn wants_port(&self, port: u16, size: u8, write: bool) -> bool {
        let access = direction(write);
        (0..u32::from(size)).any(|byte| self.ports.wants(u32::from(port) + byte, access))
    }

    pub(crate) fn wants_msr(&self, msr: u32, write: bool) -> bool {
        self.msrs.wants(msr, direction(write))
    }

    pub(crate) fn wants_cpuid(&self, leaf: u32) -> bool {
        self.cpuid.wants(leaf, Mask::EXECUTE)
    }

    /// Installs, changes or (with an empty mask) removes an intercept. Exceptions and CPUID are executed,
    /// ports and MSRs are read or written: other masks are refused.
    pub(crate) fn install(&mut self, kind: HvInterceptType, mask: Mask, parameter: u64) -> Result<(), HvStatus> {
        let executed = matches!(kind, HvInterceptType::EXCEPTION | HvInterceptType::X64_CPUID);
        let possible = if executed { Mask::EXECUTE } else { Mask::READ | Mask::WRITE };
        if !possible.contains(mask) {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let number = u32::try_from(parameter).map_err(|_| HvStatus::INVALID_PARAMETER)?;
        match kind {
            HvInterceptType::EXCEPTION => self.install_exception(number, mask),
            HvInterceptType::X64_CPUID => self.cpuid.set(number, number, mask),
            HvInterceptType::X64_MSR => self.msrs.set(number, number, mask),
            HvInterceptType::X64_IO_PORT if number <= 0xffff => self.ports.set(number, number, mask),
            HvInterceptType::X64_IO_PORT_RANGE if number & 0xffff <= number >> 16 => {
                self.ports.set(number & 0xffff, number >> 16, mask)
            }
            _ => Err(HvStatus::INVALID_PARAMETER),
        }
    }

    fn install_exception(&mut self, vector: u32, mask: Mask) -> Result<(), HvStatus> {
        // NMI (2) is the root's own, machine check (18) the machine's: neither is a guest's exception.
        if vector >= 32 || vector == 2 || vector == 18 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if mask.is_empty() {
            self.exceptions &= !(1 << vector);
        } else {
            self.exceptions |= 1 << vector;
        }
        Ok(())
    }
}

fn direction(write: bool) -> Mask {
    if write { Mask::WRITE } else { Mask::READ }
}
