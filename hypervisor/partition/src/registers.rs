//! Registers by name: the synthetic ones here, the architectural ones in the engine.

use engine::{Engine, Fault, Platform, RegisterError, VpSlot};
use tlfs::msr::{
    HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_HYPERCALL, HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TIME_REF_COUNT,
    HV_X64_MSR_VP_INDEX,
};
use tlfs::register::{
    HvRegisterName, HvRegisterValue, HvSuspendRegister, HvX64InterruptStateRegister, HvX64PendingInterruptionRegister,
};
use tlfs::status::HvStatus;

use crate::cpuid::{features, version};
use crate::hypervisor::Hypervisor;
use crate::msr::Written;
use crate::state_page::sanitize_rflags;

/// `HaltSuspend` of the internal activity state.
const HALT_SUSPEND: u64 = 1 << 1;

fn status_of(error: RegisterError) -> HvStatus {
    match error {
        RegisterError::Unknown => HvStatus::INVALID_PARAMETER,
        RegisterError::BadValue => HvStatus::INVALID_REGISTER_VALUE,
    }
}

/// The synthetic MSR that is also a register.
fn as_msr(name: HvRegisterName) -> Option<u32> {
    match name {
        HvRegisterName::GUEST_OS_ID => Some(HV_X64_MSR_GUEST_OS_ID),
        HvRegisterName::X64_HYPERCALL => Some(HV_X64_MSR_HYPERCALL),
        HvRegisterName::VP_INDEX => Some(HV_X64_MSR_VP_INDEX),
        HvRegisterName::TIME_REF_COUNT => Some(HV_X64_MSR_TIME_REF_COUNT),
        HvRegisterName::REFERENCE_TSC => Some(HV_X64_MSR_REFERENCE_TSC),
        _ => None,
    }
}

fn suspended(value: bool) -> u64 {
    HvSuspendRegister(0).with_suspended(value).0
}

fn words([a, b, c, d]: [u32; 4]) -> HvRegisterValue {
    HvRegisterValue { low: u64::from(b) << 32 | u64::from(a), high: u64::from(d) << 32 | u64::from(c) }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Reads a register of a VP.
    pub(crate) fn get_register(&mut self, slot: u16, name: HvRegisterName) -> Result<HvRegisterValue, HvStatus> {
        let vp = self.vp(slot)?;
        let object = self.partition(vp.partition)?;
        let value = match name {
            HvRegisterName::EXPLICIT_SUSPEND => suspended(vp.explicit_suspend),
            HvRegisterName::INTERCEPT_SUSPEND => suspended(vp.intercept_suspend),
            HvRegisterName::INTERNAL_ACTIVITY_STATE => {
                if vp.halted {
                    HALT_SUSPEND
                } else {
                    0
                }
            }
            HvRegisterName::PENDING_INTERRUPTION => self.pending_interruption(slot).0,
            HvRegisterName::INTERRUPT_STATE => self.interrupt_state(slot).0,
            HvRegisterName::HYPERVISOR_VERSION => return Ok(words(version())),
            HvRegisterName::PRIVILEGES_AND_FEATURES_INFO => return Ok(words(features(object))),
            HvRegisterName::PROCESSOR_CLOCK_FREQUENCY => self.platform.tsc_hz(),
            HvRegisterName::INTERRUPT_CLOCK_FREQUENCY => self.platform.apic_hz(),
            _ => {
                let Some(msr) = as_msr(name) else {
                    return self.engine.get_register(VpSlot(slot), name).map_err(status_of);
                };
                let partition = vp.partition;
                self.read_synthetic(slot, partition, msr).map_err(|_| HvStatus::ACCESS_DENIED)?
            }
        };
        Ok(HvRegisterValue::from_u64(value))
    }

    /// Writes a register of a VP.
    pub(crate) fn set_register(
        &mut self,
        slot: u16,
        name: HvRegisterName,
        value: HvRegisterValue,
    ) -> Result<(), HvStatus> {
        let partition = self.vp(slot)?.partition;
        let word = value.as_u64();
        match name {
            HvRegisterName::EXPLICIT_SUSPEND => {
                self.vp_mut(slot)?.explicit_suspend = HvSuspendRegister(word).suspended();
            }
            HvRegisterName::INTERCEPT_SUSPEND => {
                self.vp_mut(slot)?.intercept_suspend = HvSuspendRegister(word).suspended();
            }
            HvRegisterName::INTERNAL_ACTIVITY_STATE if word & !HALT_SUSPEND == 0 => {
                self.vp_mut(slot)?.halted = word & HALT_SUSPEND != 0;
            }
            HvRegisterName::INTERNAL_ACTIVITY_STATE => return Err(HvStatus::INVALID_REGISTER_VALUE),
            HvRegisterName::PENDING_INTERRUPTION => {
                self.set_pending_interruption(slot, HvX64PendingInterruptionRegister(word))?;
            }
            HvRegisterName::INTERRUPT_STATE => {
                let shadow = HvX64InterruptStateRegister(word).interrupt_shadow();
                self.engine.set_interrupt_shadow(VpSlot(slot), shadow);
            }
            HvRegisterName::X64_RFLAGS => self.core_mut(slot).rflags = sanitize_rflags(word),
            _ => match as_msr(name) {
                Some(msr) => match self.write_synthetic(partition, msr, word) {
                    Ok(Written::Done) => {}
                    Ok(Written::Reset) | Err(_) => return Err(HvStatus::INVALID_REGISTER_VALUE),
                },
                None => {
                    // It may be a segment register: the page does not show it any more.
                    self.vp_mut(slot)?.shown_segments = None;
                    self.engine.set_register(VpSlot(slot), name, value).map_err(status_of)?;
                }
            },
        }
        Ok(())
    }

    /// An exception to deliver, or none. Interrupts come by HvCallAssertVirtualInterrupt.
    fn set_pending_interruption(&mut self, slot: u16, value: HvX64PendingInterruptionRegister) -> Result<(), HvStatus> {
        if !value.interruption_pending() {
            self.engine.cancel_fault(VpSlot(slot));
            return Ok(());
        }
        let vector = u8::try_from(value.interruption_vector()).ok().filter(|vector| *vector < 32 && *vector != 2);
        let exception = value.interruption_type() == HvX64PendingInterruptionRegister::TYPE_EXCEPTION;
        let (Some(vector), true, false) = (vector, exception, value.nested_event()) else {
            return Err(HvStatus::INVALID_REGISTER_VALUE);
        };
        let error_code = value.deliver_error_code().then(|| value.error_code());
        self.engine.inject(VpSlot(slot), Fault { vector, error_code });
        Ok(())
    }
}
