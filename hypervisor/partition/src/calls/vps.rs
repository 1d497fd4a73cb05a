//! Virtual processors: create, delete, registers, state pages, dispatch.

use engine::{Engine, Platform, VpKind, VpSlot};
use hypercall::{Rep, Simple};
use paging::guest::{GuestAccess, Privilege, WalkFault, walk};
use tlfs::addr::{Gva, PAGE_SHIFT, PartitionId, VpIndex};
use tlfs::calls::{
    CACHE_TYPE_WRITE_BACK, CreateVpInput, DeleteVpInput, DispatchVpFlags, DispatchVpInput, DispatchVpOutput,
    MapVpStatePageOutput, SetVpRegistersElement, TranslateGvaFlags, TranslateGvaResultCode,
    TranslateVirtualAddressInput, TranslateVirtualAddressOutput, UnmapVpStatePageInput, VpRegistersHeader,
};
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;

use super::{check_proximity, each, must_be_zero, none_done};
use crate::MAX_VPS_PER_PARTITION;
use crate::caller::Call;
use crate::hypervisor::{Hypervisor, space_of};
use crate::translate::paging_of;

/// In [`TranslateVirtualAddressOutput::cache_overlay`].
const OVERLAY_PAGE: u32 = 1 << 8;

impl<E: Engine, P: Platform> Call<'_, '_, E, P> {
    /// A VP of an active child.
    fn child_vp(&self, id: PartitionId, index: VpIndex) -> Result<u16, HvStatus> {
        let child = self.hv.active_child(self.partition, id)?;
        self.hv.vp_of(child, index, self.vp)
    }

    pub(super) fn do_create_vp(&mut self, input: &CreateVpInput) -> Simple {
        let reserved = input.reserved.iter().fold(0, |all, byte| all | byte) | input.subnode_type;
        must_be_zero(u64::from(reserved) | input.subnode_id | input.flags)?;
        check_proximity(input.proximity_domain_info)?;
        let child = self.hv.active_child(self.partition, input.partition_id)?;
        let index = input.vp_index.0;
        if usize::try_from(index).is_ok_and(|index| index >= MAX_VPS_PER_PARTITION) {
            return Err(HvStatus::INVALID_VP_INDEX.into());
        }
        let object = self.hv.partition(child)?;
        if object.vp(index).is_some() {
            return Err(HvStatus::INVALID_VP_INDEX.into());
        }
        let exceptions = object.intercepts.exceptions;
        let slot = self.hv.add_vp(child, index, VpKind::Child)?;
        self.hv.engine.set_exception_intercepts(VpSlot(slot), exceptions);
        Ok(())
    }

    pub(super) fn do_delete_vp(&mut self, input: &DeleteVpInput) -> Simple {
        must_be_zero(u64::from(input.reserved))?;
        let slot = self.child_vp(input.partition_id, input.vp_index)?;
        self.hv.remove_vp(slot)?;
        Ok(())
    }

    /// The VP whose registers are meant: a child's, or the caller's own.
    fn register_vp(&self, header: &VpRegistersHeader) -> Result<u16, HvStatus> {
        let reserved = header.reserved.iter().fold(header.target_vtl, |all, byte| all | byte);
        must_be_zero(u64::from(reserved))?;
        let partition = self.hv.child_or_self(self.partition, header.partition_id)?;
        self.hv.vp_of(partition, header.vp_index, self.vp)
    }

    pub(super) fn do_get_registers(
        &mut self,
        header: &VpRegistersHeader,
        names: &[HvRegisterName],
        values: &mut [HvRegisterValue],
    ) -> Rep {
        let slot = self.register_vp(header).map_err(none_done)?;
        each(names.iter().zip(values), |(name, place)| {
            *place = self.hv.get_register(slot, *name)?;
            Ok(())
        })
    }

    pub(super) fn do_set_registers(&mut self, header: &VpRegistersHeader, elements: &[SetVpRegistersElement]) -> Rep {
        let slot = self.register_vp(header).map_err(none_done)?;
        each(elements, |element| {
            must_be_zero(element.reserved.iter().fold(0, |all, word| all | u64::from(*word)))?;
            self.hv.set_register(slot, element.name, element.value)
        })
    }

    pub(super) fn do_map_state_page(&mut self, input: &UnmapVpStatePageInput) -> Simple<MapVpStatePageOutput> {
        // The last byte has the flags here; the one there is, a location of the caller's choice, is not served.
        must_be_zero(u64::from(input.input_vtl) | u64::from(input.reserved))?;
        let slot = self.child_vp(input.partition_id, input.vp_index)?;
        let page = self.hv.map_state_page(slot, input.page_type)?;
        Ok(MapVpStatePageOutput { map_location: page.page_number() })
    }

    pub(super) fn do_unmap_state_page(&mut self, input: &UnmapVpStatePageInput) -> Simple {
        must_be_zero(u64::from(input.input_vtl) | u64::from(input.reserved))?;
        let slot = self.child_vp(input.partition_id, input.vp_index)?;
        self.hv.unmap_state_page(slot, input.page_type)?;
        Ok(())
    }

    pub(super) fn do_dispatch(&mut self, input: &DispatchVpInput) -> Simple<DispatchVpOutput> {
        // The hypervisor drives no timer: a time slice is the root's own business, with its own.
        if !DispatchVpFlags::all().contains(input.flags) || input.time_slice != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        let slot = self.child_vp(input.partition_id, input.vp_index)?;
        Ok(self.hv.dispatch(slot, input.flags)?)
    }

    pub(super) fn do_translate(
        &mut self,
        input: &TranslateVirtualAddressInput,
    ) -> Simple<TranslateVirtualAddressOutput> {
        must_be_zero(u64::from(input.padding))?;
        let access = self.translate_access(input)?;
        let child = self.hv.active_child(self.partition, input.partition_id)?;
        let slot = self.hv.vp_of(child, input.vp_index, self.vp)?;
        let request = access.resolve(&self.hv.engine.control(VpSlot(slot)), self.hv.core(slot).rflags);
        Ok(self.hv.translate(child, slot, Gva(input.gva_page << PAGE_SHIFT), request))
    }

    fn translate_access(&self, input: &TranslateVirtualAddressInput) -> Result<TranslateRequest, HvStatus> {
        let flags = input.control_flags;
        // Setting accessed and dirty bits, and holding the TLB, are not served; there are no shadow stacks.
        let served = TranslateGvaFlags::VALIDATE_READ
            | TranslateGvaFlags::VALIDATE_WRITE
            | TranslateGvaFlags::VALIDATE_EXECUTE
            | TranslateGvaFlags::PRIVILEGE_EXEMPT
            | TranslateGvaFlags::SUPERVISOR_ACCESS
            | TranslateGvaFlags::USER_ACCESS
            | TranslateGvaFlags::ENFORCE_SMAP
            | TranslateGvaFlags::OVERRIDE_SMAP;
        let both = TranslateGvaFlags::SUPERVISOR_ACCESS | TranslateGvaFlags::USER_ACCESS;
        let smap = TranslateGvaFlags::ENFORCE_SMAP | TranslateGvaFlags::OVERRIDE_SMAP;
        if !served.contains(flags) || flags.contains(both) || flags.contains(smap) || input.gva_page >> 52 != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        Ok(TranslateRequest(flags))
    }
}

/// Valid flags of HvCallTranslateVirtualAddress.
#[derive(Clone, Copy)]
struct TranslateRequest(TranslateGvaFlags);

impl TranslateRequest {
    /// The access that is meant, for a VP in this state.
    fn resolve(self, control: &engine::ControlRegs, rflags: u64) -> GuestAccess {
        const CR4_SMAP: u64 = 1 << 21;
        const RFLAGS_AC: u64 = 1 << 18;
        let has = |flag| self.0.contains(flag);
        let user =
            has(TranslateGvaFlags::USER_ACCESS) || (control.cpl == 3 && !has(TranslateGvaFlags::SUPERVISOR_ACCESS));
        let smap = has(TranslateGvaFlags::ENFORCE_SMAP)
            || (control.cr4 & CR4_SMAP != 0 && rflags & RFLAGS_AC == 0 && !has(TranslateGvaFlags::OVERRIDE_SMAP));
        let privilege = if has(TranslateGvaFlags::PRIVILEGE_EXEMPT) {
            Privilege::Exempt
        } else if user {
            Privilege::User
        } else {
            Privilege::Supervisor { smap }
        };
        GuestAccess {
            write: has(TranslateGvaFlags::VALIDATE_WRITE),
            execute: has(TranslateGvaFlags::VALIDATE_EXECUTE),
            privilege,
        }
    }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    fn translate(&mut self, child: u16, slot: u16, gva: Gva, access: GuestAccess) -> TranslateVirtualAddressOutput {
        let failed = |result_code| TranslateVirtualAddressOutput { result_code, cache_overlay: 0, gpa_page: 0 };
        let paging = paging_of(&self.engine.control(VpSlot(slot)));
        let Self { engine, frames, partitions, .. } = self;
        let Some(object) = partitions.get(usize::from(child)) else {
            return failed(TranslateGvaResultCode::GPA_UNMAPPED);
        };
        let space = space_of(object, frames, child);
        let mem = engine.memory();
        let walked = walk(&paging, gva, access, |gpa| {
            let spa = space.access(mem, gpa, false)?;
            engine::PhysMem::read_u64(mem, spa).ok()
        });
        let found = match walked {
            Ok(found) => found,
            Err(fault) => return failed(result_of(fault)),
        };
        let Some((_, rights)) = space.translate(mem, found.gpa) else {
            return failed(TranslateGvaResultCode::GPA_UNMAPPED);
        };
        let overlay = [object.hypercall.at, object.reference_tsc.at].contains(&Some(found.gpa.page_base()));
        if !rights.read {
            return failed(TranslateGvaResultCode::GPA_NO_READ_ACCESS);
        }
        if access.write && !rights.write {
            return failed(if overlay {
                TranslateGvaResultCode::GPA_ILLEGAL_OVERLAY_ACCESS
            } else {
                TranslateGvaResultCode::GPA_NO_WRITE_ACCESS
            });
        }
        TranslateVirtualAddressOutput {
            result_code: TranslateGvaResultCode::SUCCESS,
            cache_overlay: CACHE_TYPE_WRITE_BACK | if overlay { OVERLAY_PAGE } else { 0 },
            gpa_page: found.gpa.page_number(),
        }
    }
}

fn result_of(fault: WalkFault) -> TranslateGvaResultCode {
    match fault {
        WalkFault::NonCanonical | WalkFault::NotPresent => TranslateGvaResultCode::PAGE_NOT_PRESENT,
        WalkFault::ReservedBits => TranslateGvaResultCode::INVALID_PAGE_TABLE_FLAGS,
        WalkFault::Privilege => TranslateGvaResultCode::PRIVILEGE_VIOLATION,
        WalkFault::TableUnreadable(_) => TranslateGvaResultCode::GPA_UNMAPPED,
    }
}
