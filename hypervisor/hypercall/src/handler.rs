//! One method a call: what the partition model carries out once the input is checked in form.
//!
//! A method gets its input by value in effect: it was copied from the guest once, and nothing else of the
//! guest's is behind it. Reserved fields are the method's to check, since calls differ in it.

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

use crate::caller::Caller;

/// Input of HvCallMapVpStatePage as far as it is always there: 16 bytes, the last of them the flags. (The
/// eight bytes that newer builds add count only if a flag says so, and that flag is for layered hosts.)
pub type MapVpStatePageShortInput = UnmapVpStatePageInput;

/// Why a simple call did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It failed.
    Status(HvStatus),
    /// It has done part of its work and wants to be called again with the same input (continuation of a simple
    /// call): the instruction is not passed.
    Again,
}

impl From<HvStatus> for Refusal {
    fn from(status: HvStatus) -> Self {
        Self::Status(status)
    }
}

/// A rep call stopped in the middle of what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Elements carried out.
    pub done: usize,
    /// Why the next one was not.
    pub status: HvStatus,
}

/// Result of a simple call.
pub type Simple<O = ()> = Result<O, Refusal>;
/// Result of a run of elements of a rep call.
pub type Rep = Result<(), Partial>;

/// The calls that are served.
///
/// [`Handler::authorize`] comes first and sees the code alone. Rep methods get elements in runs; `first` is the index in
/// the caller's whole list of the first of them.
pub trait Handler: Caller {
    /// Whether the caller's partition may make this call at all.
    fn authorize(&self, code: CallCode) -> Result<(), HvStatus>;
    /// Whether a parent stands behind the caller who can be told of memory that is not there.
    fn has_parent(&self) -> bool;

    /// HvCallCreatePartition
    fn create_partition(&mut self, input: &CreatePartitionInput) -> Simple<CreatePartitionOutput>;
    /// HvCallInitializePartition
    fn initialize_partition(&mut self, input: &PartitionInput) -> Simple;
    /// HvCallFinalizePartition
    fn finalize_partition(&mut self, input: &PartitionInput) -> Simple;
    /// HvCallDeletePartition
    fn delete_partition(&mut self, input: &PartitionInput) -> Simple;
    /// HvCallGetPartitionId
    fn get_partition_id(&mut self) -> Simple<GetPartitionIdOutput>;
    /// HvCallGetPartitionProperty
    fn get_partition_property(&mut self, input: &GetPartitionPropertyInput) -> Simple<GetPartitionPropertyOutput>;
    /// HvCallSetPartitionProperty
    fn set_partition_property(&mut self, input: &SetPartitionPropertyInput) -> Simple;
    /// HvCallGetMemoryBalance
    fn get_memory_balance(&mut self, input: &GetMemoryBalanceInput) -> Simple<GetMemoryBalanceOutput>;
    /// HvCallCreateVp
    fn create_vp(&mut self, input: &CreateVpInput) -> Simple;
    /// HvCallDeleteVp
    fn delete_vp(&mut self, input: &DeleteVpInput) -> Simple;
    /// HvCallInstallIntercept
    fn install_intercept(&mut self, input: &InstallInterceptInput) -> Simple;
    /// HvCallMapVpStatePage
    fn map_vp_state_page(&mut self, input: &MapVpStatePageShortInput) -> Simple<MapVpStatePageOutput>;
    /// HvCallUnmapVpStatePage
    fn unmap_vp_state_page(&mut self, input: &UnmapVpStatePageInput) -> Simple;
    /// HvCallTranslateVirtualAddress
    fn translate_virtual_address(
        &mut self,
        input: &TranslateVirtualAddressInput,
    ) -> Simple<TranslateVirtualAddressOutput>;
    /// HvCallAssertVirtualInterrupt
    fn assert_virtual_interrupt(&mut self, input: &AssertVirtualInterruptInput) -> Simple;
    /// HvCallDispatchVp
    fn dispatch_vp(&mut self, input: &DispatchVpInput) -> Simple<DispatchVpOutput>;

    /// HvCallDepositMemory
    fn deposit_memory(&mut self, header: &DepositMemoryHeader, pages: &[u64]) -> Rep;
    /// HvCallWithdrawMemory
    fn withdraw_memory(&mut self, header: &WithdrawMemoryHeader, pages: &mut [u64]) -> Rep;
    /// HvCallMapGpaPages
    fn map_gpa_pages(&mut self, header: &MapGpaPagesHeader, first: u16, pages: &[u64]) -> Rep;
    /// HvCallUnmapGpaPages
    fn unmap_gpa_pages(&mut self, header: &UnmapGpaPagesHeader, first: u16, count: usize) -> Rep;
    /// HvCallGetVpRegisters
    fn get_vp_registers(
        &mut self,
        header: &VpRegistersHeader,
        names: &[HvRegisterName],
        values: &mut [HvRegisterValue],
    ) -> Rep;
    /// HvCallSetVpRegisters
    fn set_vp_registers(&mut self, header: &VpRegistersHeader, elements: &[SetVpRegistersElement]) -> Rep;
}
