//! The life of a partition: create, initialize, finalize, delete; and its properties.

use engine::{Engine, Platform, VpSlot};
use hypercall::{Refusal, Simple};
use paging::table::NestedTable;
use tlfs::addr::PartitionId;
use tlfs::calls::{
    CreatePartitionInput, CreatePartitionOutput, GetPartitionPropertyInput, GetPartitionPropertyOutput,
    SetPartitionPropertyInput,
};
use tlfs::partition::{HvPartitionPropertyCode as Code, PartitionCreationFlags, PrivilegeMask};
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType;

use super::{check_proximity, must_be_zero};
use crate::caller::Call;
use crate::deposit::{Deposit, Purse};
use crate::gpa::status_of;
use crate::hypervisor::Hypervisor;
use crate::object::{Partition, PartitionState};
use crate::vp::Vp;

/// What a child may do, unless its parent takes something away.
const CHILD_PRIVILEGES: PrivilegeMask = PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER
    .union(PrivilegeMask::ACCESS_HYPERCALL_MSRS)
    .union(PrivilegeMask::ACCESS_VP_INDEX)
    .union(PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC)
    .union(PrivilegeMask::ACCESS_FREQUENCY_REGS);

/// Bits of `HV_PARTITION_SYNTHETIC_PROCESSOR_FEATURES` (Linux `hvhdk.h`) and the privileges they stand for.
const SYNTHETIC_FEATURES: &[(u32, PrivilegeMask)] = &[
    (3, PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER),
    (7, PrivilegeMask::ACCESS_HYPERCALL_MSRS),
    (8, PrivilegeMask::ACCESS_VP_INDEX),
    (9, PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC),
    (11, PrivilegeMask::ACCESS_FREQUENCY_REGS),
];
/// `hypervisor_present` and `hv1`: always there.
const SYNTHETIC_ALWAYS: u64 = 3;

/// `HvProcessorVendorAmd`, `HvProcessorVendorIntel`.
const VENDOR_AMD: u64 = 0;
const VENDOR_INTEL: u64 = 1;

impl<E: Engine, P: Platform> Call<'_, '_, E, P> {
    pub(super) fn do_create_partition(&mut self, input: &CreatePartitionInput) -> Simple<CreatePartitionOutput> {
        let known = PartitionCreationFlags::EXO_PARTITION | PartitionCreationFlags::INTERCEPT_MESSAGE_PAGE_ENABLED;
        if !known.contains(input.flags) {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        must_be_zero(u64::from(input.padding) | input.reserved)?;
        check_proximity(input.proximity_domain_info)?;
        let index = self.hv.free_partitions;
        let next_free = self.hv.partitions.get(usize::from(index)).ok_or(HvStatus::NO_RESOURCES)?.next_free;
        let id = self.hv.next_id(index);
        let tsc_origin = self.hv.platform.tsc();
        let parent = self.partition;
        if let Some(object) = self.hv.partitions.get_mut(usize::from(index)) {
            *object = Partition {
                id,
                state: PartitionState::Created,
                parent,
                privileges: CHILD_PRIVILEGES,
                disabled_features: input.properties.disabled_processor_features,
                deposit: Deposit::new(index),
                tsc_origin,
                // Translations are tagged with the index: a generation must not come back with it.
                generation: object.generation + 1,
                ..Partition::EMPTY
            };
            self.hv.free_partitions = next_free;
        }
        Ok(CreatePartitionOutput { partition_id: id })
    }

    pub(super) fn do_initialize_partition(&mut self, id: PartitionId) -> Simple {
        let index = self.hv.child(self.partition, id)?;
        let Hypervisor { engine, frames, partitions, .. } = &mut *self.hv;
        let object = partitions.get_mut(usize::from(index)).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        if object.state != PartitionState::Created {
            return Err(HvStatus::INVALID_PARTITION_STATE.into());
        }
        let mut purse = Purse { frames, deposit: &mut object.deposit };
        object.tables = Some(NestedTable::new(engine.memory(), &mut purse).map_err(status_of)?);
        object.state = PartitionState::Active;
        Ok(())
    }

    pub(super) fn do_finalize_partition(&mut self, id: PartitionId) -> Simple {
        let index = self.hv.child(self.partition, id)?;
        match self.hv.partition(index)?.state {
            PartitionState::Active | PartitionState::Finalizing => {}
            _ => return Err(HvStatus::INVALID_PARTITION_STATE.into()),
        }
        self.set_deadline();
        self.hv.partition_mut(index)?.state = PartitionState::Finalizing;
        while let Some(slot) = self.hv.partition(index)?.any_vp() {
            self.hv.remove_vp(slot)?;
            if self.hv.platform.tsc() >= self.deadline {
                return Err(Refusal::Again);
            }
        }
        if !self.hv.take_down_space(index, self.deadline)? {
            return Err(Refusal::Again);
        }
        let object = self.hv.partition_mut(index)?;
        object.guest_os_id = 0;
        object.state = PartitionState::Finalized;
        Ok(())
    }

    pub(super) fn do_delete_partition(&mut self, id: PartitionId) -> Simple {
        let index = self.hv.child(self.partition, id)?;
        match self.hv.partition(index)?.state {
            PartitionState::Created | PartitionState::Finalized => {}
            _ => return Err(HvStatus::INVALID_PARTITION_STATE.into()),
        }
        self.set_deadline();
        while self.hv.withdraw_one(index)?.is_some() {
            if self.hv.platform.tsc() >= self.deadline && self.hv.partition(index)?.deposit.available() != 0 {
                return Err(Refusal::Again);
            }
        }
        let next_free = self.hv.free_partitions;
        let object = self.hv.partition_mut(index)?;
        *object = Partition { generation: object.generation, next_free, ..Partition::EMPTY };
        self.hv.free_partitions = index;
        Ok(())
    }

    pub(super) fn do_get_property(&mut self, input: &GetPartitionPropertyInput) -> Simple<GetPartitionPropertyOutput> {
        must_be_zero(u64::from(input.padding))?;
        let index = self.hv.child_or_self(self.partition, input.partition_id)?;
        let property_value = self.hv.property(index, input.property_code)?;
        Ok(GetPartitionPropertyOutput { property_value })
    }

    pub(super) fn do_set_property(&mut self, input: &SetPartitionPropertyInput) -> Simple {
        must_be_zero(u64::from(input.padding))?;
        let index = self.hv.child(self.partition, input.partition_id)?;
        let object = self.hv.partition_mut(index)?;
        let early = object.state == PartitionState::Created;
        let value = input.property_value;
        match input.property_code {
            Code::PRIVILEGE_FLAGS | Code::SYNTHETIC_PROC_FEATURES => {
                let privileges = if input.property_code == Code::PRIVILEGE_FLAGS {
                    PrivilegeMask::from_bits_retain(value)
                } else {
                    privileges_of_features(value)?
                };
                if !CHILD_PRIVILEGES.contains(privileges) {
                    return Err(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE.into());
                }
                if !early {
                    return Err(HvStatus::INVALID_PARTITION_STATE.into());
                }
                object.privileges = privileges;
            }
            // 0: fault; 1: ignore writes, read zero (Linux `hvhdk_mini.h`).
            Code::UNIMPLEMENTED_MSR_ACTION if value <= 1 => object.ignore_unknown_msrs = value == 1,
            Code::UNIMPLEMENTED_MSR_ACTION => return Err(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE.into()),
            _ => return Err(HvStatus::UNKNOWN_PROPERTY.into()),
        }
        Ok(())
    }
}

fn privileges_of_features(value: u64) -> Result<PrivilegeMask, HvStatus> {
    let mut rest = value & !SYNTHETIC_ALWAYS;
    let mut privileges = PrivilegeMask::empty();
    for (bit, privilege) in SYNTHETIC_FEATURES {
        if rest & (1 << bit) != 0 {
            privileges |= *privilege;
            rest &= !(1 << bit);
        }
    }
    if rest == 0 { Ok(privileges) } else { Err(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE) }
}

fn features_of_privileges(privileges: PrivilegeMask) -> u64 {
    let held = SYNTHETIC_FEATURES.iter().filter(|(_, privilege)| privileges.contains(*privilege));
    held.fold(SYNTHETIC_ALWAYS, |value, (bit, _)| value | 1 << bit)
}

impl Partition {
    /// Table index of some VP that it still has.
    fn any_vp(&self) -> Option<u16> {
        if self.vp_count == 0 {
            return None;
        }
        self.vps.iter().copied().find(|slot| *slot != crate::object::NO_VP)
    }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// A partition property.
    fn property(&self, index: u16, code: Code) -> Result<u64, HvStatus> {
        let object = self.partition(index)?;
        match code {
            Code::PRIVILEGE_FLAGS => Ok(object.privileges.bits()),
            Code::SYNTHETIC_PROC_FEATURES => Ok(features_of_privileges(object.privileges)),
            Code::REFERENCE_TIME => Ok(self.time.reference_time(self.platform.tsc(), object.tsc_origin)),
            Code::UNIMPLEMENTED_MSR_ACTION => Ok(u64::from(object.ignore_unknown_msrs)),
            Code::PROCESSOR_VENDOR => {
                let intel = self.platform.cpuid(0, 0)[1] == u32::from_le_bytes(*b"Genu");
                Ok(if intel { VENDOR_INTEL } else { VENDOR_AMD })
            }
            Code::PHYSICAL_ADDRESS_WIDTH => Ok(u64::from(self.physical_bits)),
            Code::PROCESSOR_CLOCK_FREQUENCY => Ok(self.platform.tsc_hz()),
            Code::PROCESSOR_XSAVE_FEATURES => Ok(0),
            Code::GUEST_OS_ID => Ok(object.guest_os_id),
            _ => Err(HvStatus::UNKNOWN_PROPERTY),
        }
    }

    /// Deletes a VP: its state pages leave the root, its frames go back to the deposit.
    pub(crate) fn remove_vp(&mut self, slot: u16) -> Result<(), HvStatus> {
        for kind in [HvVpStatePageType::REGISTERS, HvVpStatePageType::INTERCEPT_MESSAGE] {
            let vp = self.vp(slot)?;
            let page = if kind == HvVpStatePageType::REGISTERS { vp.register_page } else { vp.message_page };
            if page.is_some() {
                self.unmap_state_page(slot, kind)?;
            }
        }
        self.engine.delete_vp(VpSlot(slot));
        let free = Vp { next_free: self.free_vps, ..Vp::EMPTY };
        let Vp { partition, index, frames, frame_count, .. } = core::mem::replace(self.vp_mut(slot)?, free);
        self.free_vps = slot;
        for frame in frames.into_iter().take(frame_count) {
            self.give_frame(partition, frame);
        }
        let object = self.partition_mut(partition)?;
        if let Some(entry) = usize::try_from(index).ok().and_then(|index| object.vps.get_mut(index)) {
            *entry = crate::object::NO_VP;
            object.vp_count -= 1;
        }
        Ok(())
    }
}
