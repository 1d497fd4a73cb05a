//! The hypercalls, one family a module, and the table from call to function.

mod intercepts;
mod memory;
mod partitions;
mod vps;

use engine::{Engine, Platform};
use hypercall::{Handler, MapVpStatePageShortInput, Partial, Rep, Simple};
use tlfs::calls::{
    AssertVirtualInterruptInput, CreatePartitionInput, CreatePartitionOutput, CreateVpInput, DeleteVpInput,
    DepositMemoryHeader, DispatchVpInput, DispatchVpOutput, GetMemoryBalanceInput, GetMemoryBalanceOutput,
    GetPartitionIdOutput, GetPartitionPropertyInput, GetPartitionPropertyOutput, InstallInterceptInput,
    MapGpaPagesHeader, MapVpStatePageOutput, PartitionInput, SetPartitionPropertyInput, SetVpRegistersElement,
    TranslateVirtualAddressInput, TranslateVirtualAddressOutput, UnmapGpaPagesHeader, UnmapVpStatePageInput,
    VpRegistersHeader, WithdrawMemoryHeader,
};
use tlfs::hypercall::CallCode;
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;

use crate::caller::Call;
use crate::object::ROOT;

/// Carries out each element until one fails.
fn each<T>(elements: impl IntoIterator<Item = T>, mut act: impl FnMut(T) -> Result<(), HvStatus>) -> Rep {
    for (done, element) in elements.into_iter().enumerate() {
        act(element).map_err(|status| Partial { done, status })?;
    }
    Ok(())
}

/// A failure before the first element.
fn none_done(status: HvStatus) -> Partial {
    Partial { done: 0, status }
}

/// A field that must be zero.
fn must_be_zero(value: u64) -> Result<(), HvStatus> {
    if value == 0 { Ok(()) } else { Err(HvStatus::INVALID_PARAMETER) }
}

/// `HV_PROXIMITY_DOMAIN_INFO`: a domain id, and in bit 63 whether it is meant. There is one domain, 0.
fn check_proximity(info: u64) -> Result<(), HvStatus> {
    let valid = info >> 63 != 0;
    if valid && info & 0xffff_ffff != 0 { Err(HvStatus::INVALID_PROXIMITY_DOMAIN_INFO) } else { Ok(()) }
}

impl<E: Engine, P: Platform> Handler for Call<'_, '_, E, P> {
    fn authorize(&self, code: CallCode) -> Result<(), HvStatus> {
        self.check_privilege(code)
    }

    fn has_parent(&self) -> bool {
        self.partition != ROOT
    }

    fn create_partition(&mut self, input: &CreatePartitionInput) -> Simple<CreatePartitionOutput> {
        self.do_create_partition(input)
    }

    fn initialize_partition(&mut self, input: &PartitionInput) -> Simple {
        self.do_initialize_partition(input.partition_id)
    }

    fn finalize_partition(&mut self, input: &PartitionInput) -> Simple {
        self.do_finalize_partition(input.partition_id)
    }

    fn delete_partition(&mut self, input: &PartitionInput) -> Simple {
        self.do_delete_partition(input.partition_id)
    }

    fn get_partition_id(&mut self) -> Simple<GetPartitionIdOutput> {
        Ok(GetPartitionIdOutput { partition_id: self.hv.partition(self.partition)?.id })
    }

    fn get_partition_property(&mut self, input: &GetPartitionPropertyInput) -> Simple<GetPartitionPropertyOutput> {
        self.do_get_property(input)
    }

    fn set_partition_property(&mut self, input: &SetPartitionPropertyInput) -> Simple {
        self.do_set_property(input)
    }

    fn get_memory_balance(&mut self, input: &GetMemoryBalanceInput) -> Simple<GetMemoryBalanceOutput> {
        self.do_get_memory_balance(input)
    }

    fn create_vp(&mut self, input: &CreateVpInput) -> Simple {
        self.do_create_vp(input)
    }

    fn delete_vp(&mut self, input: &DeleteVpInput) -> Simple {
        self.do_delete_vp(input)
    }

    fn install_intercept(&mut self, input: &InstallInterceptInput) -> Simple {
        self.do_install_intercept(input)
    }

    fn map_vp_state_page(&mut self, input: &MapVpStatePageShortInput) -> Simple<MapVpStatePageOutput> {
        self.do_map_state_page(input)
    }

    fn unmap_vp_state_page(&mut self, input: &UnmapVpStatePageInput) -> Simple {
        self.do_unmap_state_page(input)
    }

    fn translate_virtual_address(
        &mut self,
        input: &TranslateVirtualAddressInput,
    ) -> Simple<TranslateVirtualAddressOutput> {
        self.do_translate(input)
    }

    fn assert_virtual_interrupt(&mut self, input: &AssertVirtualInterruptInput) -> Simple {
        self.do_assert_interrupt(input)
    }

    fn dispatch_vp(&mut self, input: &DispatchVpInput) -> Simple<DispatchVpOutput> {
        self.do_dispatch(input)
    }

    fn deposit_memory(&mut self, header: &DepositMemoryHeader, pages: &[u64]) -> Rep {
        self.do_deposit(header, pages)
    }

    fn withdraw_memory(&mut self, header: &WithdrawMemoryHeader, pages: &mut [u64]) -> Rep {
        self.do_withdraw(header, pages)
    }

    fn map_gpa_pages(&mut self, header: &MapGpaPagesHeader, first: u16, pages: &[u64]) -> Rep {
        self.do_map_gpa_pages(header, first, pages)
    }

    fn unmap_gpa_pages(&mut self, header: &UnmapGpaPagesHeader, first: u16, count: usize) -> Rep {
        self.do_unmap_gpa_pages(header, first, count)
    }

    fn get_vp_registers(
        &mut self,
        header: &VpRegistersHeader,
        names: &[HvRegisterName],
        values: &mut [HvRegisterValue],
    ) -> Rep {
        self.do_get_registers(header, names, values)
    }

    fn set_vp_registers(&mut self, header: &VpRegistersHeader, elements: &[SetVpRegistersElement]) -> Rep {
        self.do_set_registers(header, elements)
    }
}
