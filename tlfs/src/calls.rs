//! Inputs and outputs of the calls (TLFS "Hypercall Reference"). A `…Header` is what precedes the list of a rep call.

use crate::addr::{PartitionId, VpIndex};
use crate::hypercall::CallCode;
use crate::intercept::{HvInterceptAccessTypeMask, HvInterceptType};
use crate::partition::{HvPartitionCreationProperties, HvPartitionPropertyCode, PartitionCreationFlags};
use crate::register::{HvRegisterName, HvRegisterValue};
use crate::vp_page::HvVpStatePageType;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! wire {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$fmeta:meta])* $field:ident: $ty:ty, )* } )*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            pub struct $name { $( $(#[$fmeta])* pub $field: $ty, )* }
        )*
    };
}

wire! {
    /// Input of HvCallCreatePartition, with two banks of processor features (it had one in older builds, three in newer).
    CreatePartitionInput {
        /// Flags.
        flags: PartitionCreationFlags,
        /// Proximity domain; 0: any.
        proximity_domain_info: u64,
        /// Compatibility version; 0: the hypervisor's own.
        compatibility_version: u32,
        /// Zero.
        padding: u32,
        /// Features to do without.
        properties: HvPartitionCreationProperties,
        /// Isolation (Linux); the specification has it as reserved, zero.
        reserved: u64,
    }
    /// Output of HvCallCreatePartition.
    CreatePartitionOutput {
        /// The new partition.
        partition_id: PartitionId,
    }
    /// Input of HvCallInitializePartition, HvCallFinalizePartition, HvCallDeletePartition.
    PartitionInput {
        /// Which.
        partition_id: PartitionId,
    }
    /// Output of HvCallGetPartitionId.
    GetPartitionIdOutput {
        /// The caller's own.
        partition_id: PartitionId,
    }
    /// Input of HvCallGetPartitionProperty.
    GetPartitionPropertyInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which property.
        property_code: HvPartitionPropertyCode,
        /// Zero.
        padding: u32,
    }
    /// Output of HvCallGetPartitionProperty.
    GetPartitionPropertyOutput {
        /// The value.
        property_value: u64,
    }
    /// Input of HvCallSetPartitionProperty.
    SetPartitionPropertyInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which property.
        property_code: HvPartitionPropertyCode,
        /// Zero.
        padding: u32,
        /// The value.
        property_value: u64,
    }
    /// Header of HvCallDepositMemory; each element is a GPA page number (u64) of the caller.
    DepositMemoryHeader {
        /// For which partition.
        partition_id: PartitionId,
    }
    /// Header of HvCallWithdrawMemory; each output element is a GPA page number (u64) of the caller.
    WithdrawMemoryHeader {
        /// From which partition.
        partition_id: PartitionId,
        /// Proximity domain; 0: any.
        proximity_domain_info: u64,
    }
    /// Input of HvCallGetMemoryBalance.
    GetMemoryBalanceInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Proximity domain; 0: any.
        proximity_domain_info: u64,
    }
    /// Output of HvCallGetMemoryBalance. (The specification's page gives both fields offset 0; they follow each other.)
    GetMemoryBalanceOutput {
        /// Pages deposited and free.
        pages_available: u64,
        /// Pages deposited and in use.
        pages_in_use: u64,
    }
    /// Input of HvCallCreateVp.
    CreateVpInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Index of the new VP.
        vp_index: VpIndex,
        /// Zero.
        reserved: [u8; 3],
        /// Subnode type; 0: any.
        subnode_type: u8,
        /// Subnode.
        subnode_id: u64,
        /// Proximity domain; 0: any.
        proximity_domain_info: u64,
        /// Flags.
        flags: u64,
    }
    /// Input of HvCallDeleteVp.
    DeleteVpInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which VP.
        vp_index: VpIndex,
        /// Zero.
        reserved: u32,
    }
    /// Header of HvCallGetVpRegisters (elements: [`HvRegisterName`] in, [`HvRegisterValue`] out) and
    /// HvCallSetVpRegisters (elements: [`SetVpRegistersElement`]).
    VpRegistersHeader {
        /// Which partition.
        partition_id: PartitionId,
        /// Which VP.
        vp_index: VpIndex,
        /// Which VTL; 0.
        target_vtl: u8,
        /// Zero.
        reserved: [u8; 3],
    }
    /// Element of HvCallSetVpRegisters: `HV_REGISTER_ASSOC`.
    SetVpRegistersElement {
        /// Which register.
        name: HvRegisterName,
        /// Zero.
        reserved: [u32; 3],
        /// Its value.
        value: HvRegisterValue,
    }
    /// Header of HvCallMapGpaPages; each element is a GPA page number (u64) of the caller.
    MapGpaPagesHeader {
        /// Whose GPA space.
        target_partition_id: PartitionId,
        /// First GPA page number there.
        target_gpa_base: u64,
        /// `HV_MAP_GPA_FLAGS` ([`MapGpaFlags`]) in the low 32 bits; the high ones are zero (the specification has one field of 8 bytes).
        map_flags: MapGpaFlags,
        /// Zero.
        padding: u32,
    }
    /// Header of HvCallUnmapGpaPages; the rep count says how many pages, there is no list.
    UnmapGpaPagesHeader {
        /// Whose GPA space.
        target_partition_id: PartitionId,
        /// First GPA page number there.
        target_gpa_base: u64,
        /// Flags; 0.
        unmap_flags: u32,
        /// Zero.
        padding: u32,
    }
    /// Input of HvCallInstallIntercept.
    InstallInterceptInput {
        /// On which partition.
        partition_id: PartitionId,
        /// Which accesses; none removes the intercept.
        access_type: HvInterceptAccessTypeMask,
        /// Which kind.
        intercept_type: HvInterceptType,
        /// Port, MSR, CPUID leaf or vector.
        intercept_parameter: u64,
    }
    /// Input of HvCallMapVpStatePage (16 bytes in Linux; newer builds add a requested location).
    MapVpStatePageInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which VP.
        vp_index: VpIndex,
        /// Which page.
        page_type: HvVpStatePageType,
        /// VTL; 0.
        input_vtl: u8,
        /// Bit 0: `requested_map_location` counts.
        flags: u8,
        /// GPA page number at which the caller wants it.
        requested_map_location: u64,
    }
    /// Output of HvCallMapVpStatePage.
    MapVpStatePageOutput {
        /// GPA page number, in the caller's space, at which the page appears.
        map_location: u64,
    }
    /// Input of HvCallUnmapVpStatePage.
    UnmapVpStatePageInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which VP.
        vp_index: VpIndex,
        /// Which page.
        page_type: HvVpStatePageType,
        /// VTL; 0.
        input_vtl: u8,
        /// Zero.
        reserved: u8,
    }
    /// Input of HvCallTranslateVirtualAddress.
    TranslateVirtualAddressInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which VP.
        vp_index: VpIndex,
        /// Zero.
        padding: u32,
        /// [`TranslateGvaFlags`].
        control_flags: TranslateGvaFlags,
        /// Page number of the linear address.
        gva_page: u64,
    }
    /// Output of HvCallTranslateVirtualAddress.
    TranslateVirtualAddressOutput {
        /// What came of it.
        result_code: TranslateGvaResultCode,
        /// Bits 0–7: cache type; bit 8: overlay page.
        cache_overlay: u32,
        /// The GPA page number, if it succeeded.
        gpa_page: u64,
    }
    /// Input of HvCallAssertVirtualInterrupt.
    AssertVirtualInterruptInput {
        /// Which partition.
        target_partition: PartitionId,
        /// [`InterruptControl`].
        interrupt_control: InterruptControl,
        /// APIC id (physical) or logical destination.
        destination_address: u64,
        /// Vector.
        requested_vector: u32,
        /// VTL; 0.
        target_vtl: u8,
        /// Zero.
        reserved0: u8,
        /// Zero.
        reserved1: u16,
    }
    /// Input of HvCallDispatchVp (Linux `hvhdk.h`; not in the specification).
    DispatchVpInput {
        /// Which partition.
        partition_id: PartitionId,
        /// Which VP.
        vp_index: VpIndex,
        /// [`DispatchVpFlags`].
        flags: DispatchVpFlags,
        /// In 100 ns; 0: no limit.
        time_slice: u64,
        /// Speculation control.
        spec_ctrl: u64,
    }
    /// Output of HvCallDispatchVp.
    DispatchVpOutput {
        /// [`DispatchState`].
        dispatch_state: DispatchState,
        /// [`DispatchEvent`].
        dispatch_event: DispatchEvent,
    }
}

wire_flags! {
    /// `HV_MAP_GPA_FLAGS`
    pub struct MapGpaFlags(u32) {
        /// Readable.
        READABLE = 1 << 0;
        /// Writable.
        WRITABLE = 1 << 1;
        /// Executable in supervisor mode.
        KERNEL_EXECUTABLE = 1 << 2;
        /// Executable in user mode.
        USER_EXECUTABLE = 1 << 3;
        /// `HV_MAP_GPA_ADJUSTABLE` (mshv-bindings).
        ADJUSTABLE = 1 << 15;
        /// `HV_MAP_GPA_NO_ACCESS`
        NO_ACCESS = 1 << 16;
        /// `HV_MAP_GPA_NOT_CACHED`
        NOT_CACHED = 1 << 21;
        /// `HV_MAP_GPA_LARGE_PAGE`
        LARGE_PAGE = 1 << 31;
    }
}

wire_flags! {
    /// `HV_TRANSLATE_GVA_CONTROL_FLAGS`
    pub struct TranslateGvaFlags(u64) {
        /// The address must be readable.
        VALIDATE_READ = 0x0001;
        /// The address must be writable.
        VALIDATE_WRITE = 0x0002;
        /// The address must be executable.
        VALIDATE_EXECUTE = 0x0004;
        /// Privilege is not checked.
        PRIVILEGE_EXEMPT = 0x0008;
        /// Accessed and dirty bits are set.
        SET_PAGE_TABLE_BITS = 0x0010;
        /// The TLB stays inhibited until the VP runs.
        TLB_FLUSH_INHIBIT = 0x0020;
        /// As a supervisor access.
        SUPERVISOR_ACCESS = 0x0040;
        /// As a user access.
        USER_ACCESS = 0x0080;
        /// SMAP is enforced.
        ENFORCE_SMAP = 0x0100;
        /// SMAP is not enforced.
        OVERRIDE_SMAP = 0x0200;
        /// A shadow stack access.
        SHADOW_STACK = 0x0400;
    }
}

open_enum! {
    /// `HV_TRANSLATE_GVA_RESULT_CODE`
    pub struct TranslateGvaResultCode(u32) {
        SUCCESS = 0, "HvTranslateGvaSuccess";
        PAGE_NOT_PRESENT = 1, "HvTranslateGvaPageNotPresent";
        PRIVILEGE_VIOLATION = 2, "HvTranslateGvaPrivilegeViolation";
        INVALID_PAGE_TABLE_FLAGS = 3, "HvTranslateGvaInvalidPageTableFlags";
        GPA_UNMAPPED = 4, "HvTranslateGvaGpaUnmapped";
        GPA_NO_READ_ACCESS = 5, "HvTranslateGvaGpaNoReadAccess";
        GPA_NO_WRITE_ACCESS = 6, "HvTranslateGvaGpaNoWriteAccess";
        GPA_ILLEGAL_OVERLAY_ACCESS = 7, "HvTranslateGvaGpaIllegalOverlayAccess";
        INTERCEPT = 8, "HvTranslateGvaIntercept";
        GPA_UNACCEPTED = 9, "HvTranslateGvaGpaUnaccepted";
    }
}

/// `HvCacheTypeWriteBack`, in bits 0–7 of [`TranslateVirtualAddressOutput::cache_overlay`].
pub const CACHE_TYPE_WRITE_BACK: u32 = 6;

bit_register! {
    /// `HV_INTERRUPT_CONTROL`
    pub struct InterruptControl(u64) {
        /// `HV_INTERRUPT_TYPE`: fixed 0, lowest priority 1, NMI 4 …
        interrupt_type, with_interrupt_type: u32 @ 0..=31;
        /// Level-triggered.
        level_triggered, with_level_triggered: 32;
        /// The destination is logical.
        logical_destination_mode, with_logical_destination_mode: 33;
    }
}

impl InterruptControl {
    /// `HvX64InterruptTypeFixed`
    pub const FIXED: u32 = 0;
}

wire_flags! {
    /// Flags of HvCallDispatchVp (Linux `hvhdk.h`).
    pub struct DispatchVpFlags(u32) {
        /// `HV_DISPATCH_VP_FLAG_CLEAR_INTERCEPT_SUSPEND`
        CLEAR_INTERCEPT_SUSPEND = 1 << 0;
        /// `HV_DISPATCH_VP_FLAG_ENABLE_CALLER_INTERRUPTS`
        ENABLE_CALLER_INTERRUPTS = 1 << 1;
        /// `HV_DISPATCH_VP_FLAG_SET_CALLER_SPEC_CTRL`
        SET_CALLER_SPEC_CTRL = 1 << 2;
        /// `HV_DISPATCH_VP_FLAG_SKIP_VP_SPEC_FLUSH`
        SKIP_VP_SPEC_FLUSH = 1 << 3;
        /// `HV_DISPATCH_VP_FLAG_SKIP_CALLER_SPEC_FLUSH`
        SKIP_CALLER_SPEC_FLUSH = 1 << 4;
        /// `HV_DISPATCH_VP_FLAG_SKIP_CALLER_USER_SPEC_FLUSH`
        SKIP_CALLER_USER_SPEC_FLUSH = 1 << 5;
    }
}

open_enum! {
    /// `hv_vp_dispatch_state` (Linux `hvhdk.h`)
    pub struct DispatchState(u32) {
        INVALID = 0, "HV_VP_DISPATCH_STATE_INVALID";
        BLOCKED = 1, "HV_VP_DISPATCH_STATE_BLOCKED";
        READY = 2, "HV_VP_DISPATCH_STATE_READY";
    }
}

open_enum! {
    /// `hv_vp_dispatch_event` (Linux `hvhdk.h`)
    pub struct DispatchEvent(u32) {
        INVALID = 0, "HV_VP_DISPATCH_EVENT_INVALID";
        SUSPEND = 1, "HV_VP_DISPATCH_EVENT_SUSPEND";
        INTERCEPT = 2, "HV_VP_DISPATCH_EVENT_INTERCEPT";
    }
}

/// Smallest input of HvCallMapVpStatePage: without a requested location.
pub const MAP_VP_STATE_PAGE_SHORT_INPUT: usize = 16;

/// The calls that Cordon's micro-hypervisor serves.
pub const SERVED: &[CallCode] = &[
    CallCode::CREATE_PARTITION,
    CallCode::INITIALIZE_PARTITION,
    CallCode::FINALIZE_PARTITION,
    CallCode::DELETE_PARTITION,
    CallCode::GET_PARTITION_ID,
    CallCode::GET_PARTITION_PROPERTY,
    CallCode::SET_PARTITION_PROPERTY,
    CallCode::DEPOSIT_MEMORY,
    CallCode::WITHDRAW_MEMORY,
    CallCode::GET_MEMORY_BALANCE,
    CallCode::CREATE_VP,
    CallCode::DELETE_VP,
    CallCode::GET_VP_REGISTERS,
    CallCode::SET_VP_REGISTERS,
    CallCode::MAP_GPA_PAGES,
    CallCode::UNMAP_GPA_PAGES,
    CallCode::INSTALL_INTERCEPT,
    CallCode::MAP_VP_STATE_PAGE,
    CallCode::UNMAP_VP_STATE_PAGE,
    CallCode::TRANSLATE_VIRTUAL_ADDRESS,
    CallCode::ASSERT_VIRTUAL_INTERRUPT,
    CallCode::DISPATCH_VP,
];

layout! {
    CreatePartitionInput: 56 { flags: 0, proximity_domain_info: 8, compatibility_version: 16, properties: 24, reserved: 48 }
    CreatePartitionOutput: 8 { partition_id: 0 }
    PartitionInput: 8 { partition_id: 0 }
    GetPartitionIdOutput: 8 { partition_id: 0 }
    GetPartitionPropertyInput: 16 { property_code: 8, padding: 12 }
    GetPartitionPropertyOutput: 8 { property_value: 0 }
    SetPartitionPropertyInput: 24 { property_code: 8, property_value: 16 }
    DepositMemoryHeader: 8 { partition_id: 0 }
    WithdrawMemoryHeader: 16 { proximity_domain_info: 8 }
    GetMemoryBalanceInput: 16 { proximity_domain_info: 8 }
    GetMemoryBalanceOutput: 16 { pages_available: 0, pages_in_use: 8 }
    CreateVpInput: 40 { vp_index: 8, reserved: 12, subnode_type: 15, subnode_id: 16, proximity_domain_info: 24, flags: 32 }
    DeleteVpInput: 16 { vp_index: 8 }
    VpRegistersHeader: 16 { vp_index: 8, target_vtl: 12, reserved: 13 }
    SetVpRegistersElement: 32 { name: 0, reserved: 4, value: 16 }
    MapGpaPagesHeader: 24 { target_gpa_base: 8, map_flags: 16 }
    UnmapGpaPagesHeader: 24 { target_gpa_base: 8, unmap_flags: 16 }
    InstallInterceptInput: 24 { access_type: 8, intercept_type: 12, intercept_parameter: 16 }
    MapVpStatePageInput: 24 { vp_index: 8, page_type: 12, input_vtl: 14, flags: 15, requested_map_location: 16 }
    MapVpStatePageOutput: 8 { map_location: 0 }
    UnmapVpStatePageInput: 16 { vp_index: 8, page_type: 12, input_vtl: 14, reserved: 15 }
    TranslateVirtualAddressInput: 32 { vp_index: 8, control_flags: 16, gva_page: 24 }
    TranslateVirtualAddressOutput: 16 { result_code: 0, cache_overlay: 4, gpa_page: 8 }
    AssertVirtualInterruptInput: 32 { interrupt_control: 8, destination_address: 16, requested_vector: 24, target_vtl: 28 }
    DispatchVpInput: 32 { vp_index: 8, flags: 12, time_slice: 16, spec_ctrl: 24 }
    DispatchVpOutput: 8 { dispatch_state: 0, dispatch_event: 4 }
}
