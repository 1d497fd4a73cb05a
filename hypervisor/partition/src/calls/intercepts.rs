//! Intercepts and interrupts: what a parent wants to see of its child, and what it tells it.

use engine::{Engine, Platform, VpKind, VpSlot};
use hypercall::Simple;
use tlfs::addr::VpIndex;
use tlfs::calls::{AssertVirtualInterruptInput, InstallInterceptInput, InterruptControl};
use tlfs::intercept::{HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::status::HvStatus;

use super::must_be_zero;
use crate::caller::Call;
use crate::msr::is_synthetic;

impl<E: Engine, P: Platform> Call<'_, '_, E, P> {
    pub(super) fn do_install_intercept(&mut self, input: &InstallInterceptInput) -> Simple {
        let child = self.hv.active_child(self.partition, input.partition_id)?;
        self.check_msr(input)?;
        let object = self.hv.partition_mut(child)?;
        let before = object.intercepts.exceptions;
        object.intercepts.install(input.intercept_type, input.access_type, input.intercept_parameter)?;
        let (after, vps) = (object.intercepts.exceptions, object.vps);
        if after != before {
            for slot in vps.into_iter().filter(|slot| *slot != crate::object::NO_VP) {
                self.hv.engine.set_exception_intercepts(VpSlot(slot), after);
            }
        }
        Ok(())
    }

    /// An MSR that never exits, or that the hypervisor itself serves, cannot be intercepted: better to say so.
    fn check_msr(&self, input: &InstallInterceptInput) -> Result<(), HvStatus> {
        if input.intercept_type != HvInterceptType::X64_MSR {
            return Ok(());
        }
        let msr = u32::try_from(input.intercept_parameter).map_err(|_| HvStatus::INVALID_PARAMETER)?;
        let exits =
            |mask, write| !input.access_type.contains(mask) || self.hv.engine.msr_exits(VpKind::Child, msr, write);
        let possible = exits(Mask::READ, false) && exits(Mask::WRITE, true) && !is_synthetic(msr);
        if possible { Ok(()) } else { Err(HvStatus::INVALID_PARAMETER) }
    }

    /// There is no local APIC: the destination is a VP index, the vector stays pending until it is taken.
    pub(super) fn do_assert_interrupt(&mut self, input: &AssertVirtualInterruptInput) -> Simple {
        must_be_zero(u64::from(input.target_vtl) | u64::from(input.reserved0) | u64::from(input.reserved1))?;
        // Edge-triggered, fixed, to one physical destination: all other bits of the control are zero then.
        must_be_zero(input.interrupt_control.0 ^ u64::from(InterruptControl::FIXED))?;
        let vector = u8::try_from(input.requested_vector).ok().filter(|vector| *vector >= 32);
        let vector = vector.ok_or(HvStatus::INVALID_PARAMETER)?;
        let child = self.hv.active_child(self.partition, input.target_partition)?;
        let index = u32::try_from(input.destination_address).map_err(|_| HvStatus::INVALID_VP_INDEX)?;
        let slot = self.hv.vp_of(child, VpIndex(index), self.vp)?;
        let still_offered = self.hv.engine.offered_interrupt(VpSlot(slot));
        self.hv.vp_mut(slot)?.interrupts.assert(vector, still_offered);
        Ok(())
    }
}
