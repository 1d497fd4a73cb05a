//! Memory: deposits, and a child's address space.

use engine::{Engine, Platform};
use hypercall::{Rep, Simple};
use paging::table::{GPA_LIMIT, PageSize};
use tlfs::addr::{PAGE_SIZE, PartitionId, Spa};
use tlfs::calls::{
    DepositMemoryHeader, GetMemoryBalanceInput, GetMemoryBalanceOutput, MapGpaPagesHeader, UnmapGpaPagesHeader,
    WithdrawMemoryHeader,
};
use tlfs::status::HvStatus;

use super::{check_proximity, each, must_be_zero, none_done};
use crate::caller::Call;
use crate::frames::FrameState;
use crate::gpa::{MapRequest, nth_page};
use crate::hypervisor::Hypervisor;
use crate::object::{PartitionState, ROOT};

/// `HV_UNMAP_GPA_LARGE_PAGE` (Linux and mshv-bindings; the specification's table counts bits from 1).
const UNMAP_LARGE_PAGE: u32 = 2;

impl<E: Engine, P: Platform> Call<'_, '_, E, P> {
    pub(super) fn do_deposit(&mut self, header: &DepositMemoryHeader, pages: &[u64]) -> Rep {
        let index = self.account(header.partition_id).map_err(none_done)?;
        each(pages, |page| self.hv.deposit_page(index, *page))
    }

    /// The partition whose deposit is meant, while it can take memory.
    fn account(&self, id: PartitionId) -> Result<u16, HvStatus> {
        let index = self.hv.child_or_self(self.partition, id)?;
        match self.hv.partition(index)?.state {
            PartitionState::Created | PartitionState::Active => Ok(index),
            _ => Err(HvStatus::INVALID_PARTITION_STATE),
        }
    }

    /// Only from children: part of what the root lives on was never the root's.
    pub(super) fn do_withdraw(&mut self, header: &WithdrawMemoryHeader, pages: &mut [u64]) -> Rep {
        check_proximity(header.proximity_domain_info).map_err(none_done)?;
        let index = self.hv.child(self.partition, header.partition_id).map_err(none_done)?;
        each(pages, |place| {
            let page = self.hv.withdraw_one(index)?.ok_or(HvStatus::NO_RESOURCES)?;
            *place = page.page_number();
            Ok(())
        })
    }

    pub(super) fn do_get_memory_balance(&mut self, input: &GetMemoryBalanceInput) -> Simple<GetMemoryBalanceOutput> {
        check_proximity(input.proximity_domain_info)?;
        let index = self.hv.child_or_self(self.partition, input.partition_id)?;
        let deposit = &self.hv.partition(index)?.deposit;
        Ok(GetMemoryBalanceOutput { pages_available: deposit.available(), pages_in_use: deposit.in_use() })
    }

    pub(super) fn do_map_gpa_pages(&mut self, header: &MapGpaPagesHeader, first: u16, pages: &[u64]) -> Rep {
        let prepare = || {
            must_be_zero(u64::from(header.padding))?;
            let request = MapRequest::parse(header.map_flags)?;
            Ok((self.hv.active_child(self.partition, header.target_partition_id)?, request))
        };
        let (child, request) = prepare().map_err(none_done)?;
        each((u64::from(first)..).zip(pages), |(index, source)| {
            let gpa = nth_page(header.target_gpa_base, index, request.size)?;
            self.hv.map_into(child, gpa, *source, request)
        })
    }

    pub(super) fn do_unmap_gpa_pages(&mut self, header: &UnmapGpaPagesHeader, first: u16, count: usize) -> Rep {
        let prepare = || {
            must_be_zero(u64::from(header.padding) | u64::from(header.unmap_flags & !UNMAP_LARGE_PAGE))?;
            self.hv.active_child(self.partition, header.target_partition_id)
        };
        let child = prepare().map_err(none_done)?;
        let large = header.unmap_flags & UNMAP_LARGE_PAGE != 0;
        let size = if large { PageSize::Large } else { PageSize::Small };
        each((u64::from(first)..).take(count), |index| {
            let gpa = nth_page(header.target_gpa_base, index, size)?;
            self.hv.unmap_from(child, gpa, size)
        })
    }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Moves a page of the root into a partition's deposit. A page that a child has mapped stays.
    fn deposit_page(&mut self, partition: u16, page: u64) -> Result<(), HvStatus> {
        if page >= GPA_LIMIT / PAGE_SIZE {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let spa = Spa::from_page_number(page);
        match self.frames.state(spa) {
            FrameState::Root { mapped: 0 } => {}
            FrameState::Root { .. } => return Err(HvStatus::OBJECT_IN_USE),
            _ => return Err(HvStatus::INVALID_PARAMETER),
        }
        // Splitting the root's large mappings is paid for by the root's own deposit.
        self.hide_from_root(spa)?;
        let object = self.partitions.get_mut(usize::from(partition)).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        object.deposit.add(&mut self.frames, spa);
        Ok(())
    }

    /// Moves a free page of a child's deposit back to the root, cleared. `None`: there is none.
    pub(crate) fn withdraw_one(&mut self, partition: u16) -> Result<Option<Spa>, HvStatus> {
        debug_assert_ne!(partition, ROOT);
        let object = self.partitions.get_mut(usize::from(partition)).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        let Some(spa) = object.deposit.remove(&self.frames) else { return Ok(None) };
        if let Err(status) = self.return_to_root(spa) {
            if let Some(object) = self.partitions.get_mut(usize::from(partition)) {
                object.deposit.add(&mut self.frames, spa);
            }
            return Err(status);
        }
        Ok(Some(spa))
    }
}
