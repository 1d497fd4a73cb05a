//! The calls that a parent makes, typed, over a [`Transport`].
mod calling;

use core::fmt;

use tlfs::addr::{PartitionId, VpIndex};
use tlfs::calls::{
    AssertVirtualInterruptInput, CreatePartitionInput, CreatePartitionOutput, CreateVpInput, DeleteVpInput,
    DepositMemoryHeader, DispatchEvent, DispatchState, DispatchVpFlags, DispatchVpInput, DispatchVpOutput,
    GetMemoryBalanceInput, GetMemoryBalanceOutput, InstallInterceptInput, InterruptControl, MapGpaFlags,
    MapGpaPagesHeader, MapVpStatePageInput, MapVpStatePageOutput, SetPartitionPropertyInput, SetVpRegistersElement,
    TranslateGvaFlags, TranslateGvaResultCode, TranslateVirtualAddressInput, TranslateVirtualAddressOutput,
    UnmapGpaPagesHeader, UnmapVpStatePageInput, VpRegistersHeader, WithdrawMemoryHeader,
};
use tlfs::hypercall::{CallCode, HypercallInput, HypercallOutput};
use tlfs::intercept::{HvInterceptAccessTypeMask, HvInterceptType};
use tlfs::partition::{HvPartitionPropertyCode, PartitionCreationFlags};
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType;
use zerocopy::{FromBytes, IntoBytes};

use crate::state_page::StatePage;
use calling::{check, fill, offset};

/// Size of the input and the output page, in bytes.
pub const PAGE: usize = 4096;

/// The way into the hypervisor, on one processor.
///
/// Implementations carry the call out and change nothing else: what is in the pages is the [`Client`]'s affair.
pub trait Transport {
    /// The input page, to fill before [`Transport::call`].
    fn input(&mut self) -> &mut [u8; PAGE];
    /// The output page, as the last call left it.
    fn output(&self) -> &[u8; PAGE];
    /// Makes a call with its input in the input page and its output, if it has one, in the output page.
    fn call(&mut self, control: HypercallInput) -> HypercallOutput;
    /// Makes a call with at most 16 bytes of input, in registers, and no output.
    fn call_fast(&mut self, control: HypercallInput, input: [u64; 2]) -> HypercallOutput;
}

/// A call that the hypervisor refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallError {
    /// Which.
    pub call: CallCode,
    /// Why.
    pub status: HvStatus,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.call, self.status.text(), self.status)
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for CallError {}

/// A rep call that ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialCall {
    /// Repetitions that were carried out.
    pub done: u64,
    /// What ended it.
    pub error: CallError,
}

/// Why a dispatched VP does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchEnd {
    /// It has a message: it is in the intercept message page.
    Intercept,
    /// It could go on: an interrupt, or the end of its time.
    Ready,
    /// It waits for an interrupt.
    Blocked,
    /// It is suspended.
    Suspended,
    /// The hypervisor said something that this client does not know.
    Unknown(DispatchState, DispatchEvent),
}

/// Calls through a [`Transport`], and a count of them.
#[derive(Debug)]
pub struct Client<T> {
    transport: T,
    calls: u64,
}

impl<T: Transport> Client<T> {
    /// A client over `transport`.
    pub fn new(transport: T) -> Self {
        Self { transport, calls: 0 }
    }

    /// The way that the calls take.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Calls made so far, dispatches included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// HvCallCreatePartition: a child of the caller.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn create_partition(&mut self, flags: PartitionCreationFlags) -> Result<PartitionId, CallError> {
        let input = CreatePartitionInput { flags, ..CreatePartitionInput::default() };
        let output: CreatePartitionOutput = self.simple(CallCode::CREATE_PARTITION, &input)?;
        Ok(output.partition_id)
    }

    /// HvCallInitializePartition.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn initialize_partition(&mut self, partition_id: PartitionId) -> Result<(), CallError> {
        self.fast(CallCode::INITIALIZE_PARTITION, [partition_id.0, 0])
    }

    /// HvCallFinalizePartition: stops it and frees what it uses; its deposit can be withdrawn then.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn finalize_partition(&mut self, partition_id: PartitionId) -> Result<(), CallError> {
        self.fast(CallCode::FINALIZE_PARTITION, [partition_id.0, 0])
    }

    /// HvCallDeletePartition.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn delete_partition(&mut self, partition_id: PartitionId) -> Result<(), CallError> {
        self.fast(CallCode::DELETE_PARTITION, [partition_id.0, 0])
    }

    /// HvCallSetPartitionProperty.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set_partition_property(
        &mut self,
        partition_id: PartitionId,
        property_code: HvPartitionPropertyCode,
        property_value: u64,
    ) -> Result<(), CallError> {
        let input = SetPartitionPropertyInput { partition_id, property_code, padding: 0, property_value };
        self.simple_no_output(CallCode::SET_PARTITION_PROPERTY, &input)
    }

    /// HvCallDepositMemory: gives pages of the caller to the hypervisor, for `partition_id`.
    ///
    /// # Errors
    /// [`PartialCall`]; the first `done` pages are given.
    pub fn deposit(&mut self, partition_id: PartitionId, pages: &[u64]) -> Result<(), PartialCall> {
        let header = DepositMemoryHeader { partition_id };
        let limit = (PAGE - size_of::<DepositMemoryHeader>()) / 8;
        self.in_chunks(CallCode::DEPOSIT_MEMORY, pages.len(), limit, |input, first, count| {
            let list = pages.get(first..first + count).unwrap_or_default();
            fill(input, header.as_bytes(), list.as_bytes());
        })
    }

    /// HvCallWithdrawMemory: takes pages back that the partition does not use, and calls `each` for their numbers, until there
    /// are no more.
    ///
    /// # Errors
    /// [`CallError`]; HV_STATUS_NO_RESOURCES, which says that nothing is left, is none.
    pub fn withdraw(&mut self, partition_id: PartitionId, mut each: impl FnMut(u64)) -> Result<(), CallError> {
        const AT_ONCE: u16 = 512;
        let header = WithdrawMemoryHeader { partition_id, proximity_domain_info: 0 };
        loop {
            fill(self.transport.input(), header.as_bytes(), &[]);
            let control = HypercallInput::new(CallCode::WITHDRAW_MEMORY).with_reps(AT_ONCE, 0);
            let result = self.call(control);
            let done = usize::from(result.reps_completed());
            for bytes in self.transport.output().chunks_exact(8).take(done) {
                each(u64::read_from_bytes(bytes).unwrap_or_default());
            }
            match result.status() {
                HvStatus::SUCCESS if done > 0 => {}
                HvStatus::SUCCESS | HvStatus::NO_RESOURCES => return Ok(()),
                status => return Err(CallError { call: CallCode::WITHDRAW_MEMORY, status }),
            }
        }
    }

    /// HvCallGetMemoryBalance.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn memory_balance(&mut self, partition_id: PartitionId) -> Result<GetMemoryBalanceOutput, CallError> {
        let input = GetMemoryBalanceInput { partition_id, proximity_domain_info: 0 };
        self.simple(CallCode::GET_MEMORY_BALANCE, &input)
    }

    /// HvCallCreateVp.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn create_vp(&mut self, partition_id: PartitionId, vp_index: VpIndex) -> Result<(), CallError> {
        let input = CreateVpInput { partition_id, vp_index, ..CreateVpInput::default() };
        self.simple_no_output(CallCode::CREATE_VP, &input)
    }

    /// HvCallDeleteVp.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn delete_vp(&mut self, partition_id: PartitionId, vp_index: VpIndex) -> Result<(), CallError> {
        let input = DeleteVpInput { partition_id, vp_index, reserved: 0 };
        self.simple_no_output(CallCode::DELETE_VP, &input)
    }

    /// HvCallGetVpRegisters, for one register.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get_register(
        &mut self,
        partition_id: PartitionId,
        vp_index: VpIndex,
        name: HvRegisterName,
    ) -> Result<HvRegisterValue, CallError> {
        let header = VpRegistersHeader { partition_id, vp_index, target_vtl: 0, reserved: [0; 3] };
        fill(self.transport.input(), header.as_bytes(), name.as_bytes());
        let result = self.call(HypercallInput::new(CallCode::GET_VP_REGISTERS).with_reps(1, 0));
        check(CallCode::GET_VP_REGISTERS, result)?;
        self.output()
    }

    /// HvCallSetVpRegisters.
    ///
    /// # Errors
    /// [`PartialCall`]; the first `done` are set.
    pub fn set_registers(
        &mut self,
        partition_id: PartitionId,
        vp_index: VpIndex,
        registers: &[(HvRegisterName, HvRegisterValue)],
    ) -> Result<(), PartialCall> {
        let header = VpRegistersHeader { partition_id, vp_index, target_vtl: 0, reserved: [0; 3] };
        let limit = (PAGE - size_of::<VpRegistersHeader>()) / size_of::<SetVpRegistersElement>();
        self.in_chunks(CallCode::SET_VP_REGISTERS, registers.len(), limit, |input, first, count| {
            fill(input, header.as_bytes(), &[]);
            let room = input.get_mut(size_of::<VpRegistersHeader>()..).unwrap_or_default();
            let elements = registers.iter().skip(first).take(count);
            for (slot, &(name, value)) in room.chunks_exact_mut(size_of::<SetVpRegistersElement>()).zip(elements) {
                slot.copy_from_slice(SetVpRegistersElement { name, reserved: [0; 3], value }.as_bytes());
            }
        })
    }

    /// HvCallMapGpaPages: the caller's pages `sources` appear in the partition from `target_page` on.
    ///
    /// # Errors
    /// [`PartialCall`]; the first `done` are mapped.
    pub fn map_gpa_pages(
        &mut self,
        target_partition_id: PartitionId,
        target_page: u64,
        map_flags: MapGpaFlags,
        sources: &[u64],
    ) -> Result<(), PartialCall> {
        let limit = (PAGE - size_of::<MapGpaPagesHeader>()) / 8;
        self.in_chunks(CallCode::MAP_GPA_PAGES, sources.len(), limit, |input, first, count| {
            let target_gpa_base = target_page + offset(first);
            let header = MapGpaPagesHeader { target_partition_id, target_gpa_base, map_flags, padding: 0 };
            let list = sources.get(first..first + count).unwrap_or_default();
            fill(input, header.as_bytes(), list.as_bytes());
        })
    }

    /// HvCallUnmapGpaPages.
    ///
    /// # Errors
    /// [`PartialCall`]; the first `done` are unmapped.
    pub fn unmap_gpa_pages(
        &mut self,
        target_partition_id: PartitionId,
        target_page: u64,
        count: u64,
    ) -> Result<(), PartialCall> {
        // The control word has twelve bits for the count.
        const LIMIT: usize = 0xfff;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.in_chunks(CallCode::UNMAP_GPA_PAGES, count, LIMIT, |input, first, _| {
            let target_gpa_base = target_page + offset(first);
            let header = UnmapGpaPagesHeader { target_partition_id, target_gpa_base, unmap_flags: 0, padding: 0 };
            fill(input, header.as_bytes(), &[]);
        })
    }

    /// HvCallInstallIntercept: `parameter` is the port, MSR, CPUID leaf or vector.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn install_intercept(
        &mut self,
        partition_id: PartitionId,
        intercept_type: HvInterceptType,
        access_type: HvInterceptAccessTypeMask,
        parameter: u64,
    ) -> Result<(), CallError> {
        let input = InstallInterceptInput { partition_id, access_type, intercept_type, intercept_parameter: parameter };
        self.simple_no_output(CallCode::INSTALL_INTERCEPT, &input)
    }

    /// HvCallMapVpStatePage: a page that the hypervisor and the caller share for the VP.
    ///
    /// The hypervisor must have it at an address that the caller maps one to one, as everything here
    /// (see [`crate::machine`]).
    ///
    /// # Errors
    /// [`CallError`].
    pub fn map_vp_state_page(
        &mut self,
        partition_id: PartitionId,
        vp_index: VpIndex,
        page_type: HvVpStatePageType,
    ) -> Result<StatePage, CallError> {
        let call = CallCode::MAP_VP_STATE_PAGE;
        let input = MapVpStatePageInput { partition_id, vp_index, page_type, ..MapVpStatePageInput::default() };
        let output: MapVpStatePageOutput = self.simple(call, &input)?;
        // SAFETY: the hypervisor has just put such a page there, for this caller alone, until it is unmapped,
        // which takes the `StatePage`.
        unsafe { StatePage::new(output.map_location) }.ok_or(CallError { call, status: HvStatus::OPERATION_FAILED })
    }

    /// HvCallUnmapVpStatePage.
    ///
    /// # Errors
    /// [`CallError`]; the page must not be used any more all the same.
    pub fn unmap_vp_state_page(
        &mut self,
        partition_id: PartitionId,
        vp_index: VpIndex,
        page_type: HvVpStatePageType,
        _page: StatePage,
    ) -> Result<(), CallError> {
        let input = UnmapVpStatePageInput { partition_id, vp_index, page_type, input_vtl: 0, reserved: 0 };
        self.simple_no_output(CallCode::UNMAP_VP_STATE_PAGE, &input)
    }

    /// HvCallTranslateVirtualAddress: the GPA page number behind a linear page number, or why there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn translate(
        &mut self,
        partition_id: PartitionId,
        vp_index: VpIndex,
        control_flags: TranslateGvaFlags,
        gva_page: u64,
    ) -> Result<Result<u64, TranslateGvaResultCode>, CallError> {
        let input = TranslateVirtualAddressInput { partition_id, vp_index, padding: 0, control_flags, gva_page };
        let output: TranslateVirtualAddressOutput = self.simple(CallCode::TRANSLATE_VIRTUAL_ADDRESS, &input)?;
        Ok(match output.result_code {
            TranslateGvaResultCode::SUCCESS => Ok(output.gpa_page),
            code => Err(code),
        })
    }

    /// HvCallAssertVirtualInterrupt: a fixed, edge-triggered interrupt for the VP with this APIC id.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn assert_interrupt(
        &mut self,
        target_partition: PartitionId,
        apic_id: u64,
        vector: u8,
    ) -> Result<(), CallError> {
        let input = AssertVirtualInterruptInput {
            target_partition,
            interrupt_control: InterruptControl(0).with_interrupt_type(InterruptControl::FIXED),
            destination_address: apic_id,
            requested_vector: u32::from(vector),
            ..AssertVirtualInterruptInput::default()
        };
        self.simple_no_output(CallCode::ASSERT_VIRTUAL_INTERRUPT, &input)
    }

    /// HvCallDispatchVp: runs the VP on this processor until there is something for the caller. Each call is one exit of
    /// the caller and one of the child.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn dispatch(
        &mut self,
        partition_id: PartitionId,
        vp_index: VpIndex,
        flags: DispatchVpFlags,
    ) -> Result<DispatchEnd, CallError> {
        let input = DispatchVpInput { partition_id, vp_index, flags, time_slice: 0, spec_ctrl: 0 };
        let output: DispatchVpOutput = self.simple(CallCode::DISPATCH_VP, &input)?;
        Ok(match (output.dispatch_state, output.dispatch_event) {
            (DispatchState::READY, DispatchEvent::INTERCEPT) => DispatchEnd::Intercept,
            (DispatchState::READY, DispatchEvent::INVALID) => DispatchEnd::Ready,
            (DispatchState::BLOCKED, DispatchEvent::SUSPEND) | (DispatchState::READY, DispatchEvent::SUSPEND) => {
                DispatchEnd::Suspended
            }
            (DispatchState::BLOCKED, _) => DispatchEnd::Blocked,
            (state, event) => DispatchEnd::Unknown(state, event),
        })
    }
}

#[cfg(test)]
mod tests;
