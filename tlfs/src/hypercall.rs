//! The hypercall control word, its result, and the call codes (TLFS "Hypercall Interface").

use crate::status::HvStatus;

bit_register! {
    /// The hypercall input value: RCX in 64-bit mode.
    pub struct HypercallInput(u64) {
        /// Which call.
        code, with_code: u16 @ 0..=15;
        /// Parameters are in registers.
        is_fast, with_fast: 16;
        /// Size of the variable header, in 8-byte units.
        variable_header_size, with_variable_header_size: u16 @ 17..=26;
        /// To be handled by the L0 hypervisor in a nested machine.
        is_nested, with_nested: 31;
        /// Total number of repetitions of a rep call.
        rep_count, with_rep_count: u16 @ 32..=43;
        /// Index of the repetition to begin with.
        rep_start, with_rep_start: u16 @ 48..=59;
    }
}

impl HypercallInput {
    /// Bits that must be zero: 27–30, 44–47 and 60–63.
    pub const RESERVED: u64 = 0xf000_f000_7800_0000;

    /// A simple, memory-based call.
    #[must_use]
    pub const fn new(code: CallCode) -> Self {
        Self(0).with_code(code.0)
    }

    /// The call code.
    #[must_use]
    pub const fn call_code(self) -> CallCode {
        CallCode(self.code())
    }

    /// The reserved bits that are set, in place.
    #[must_use]
    pub const fn reserved(self) -> u64 {
        self.0 & Self::RESERVED
    }

    /// The same call, register-based.
    #[must_use]
    pub const fn fast(self) -> Self {
        self.with_fast(true)
    }

    /// The same call with `count` repetitions of which `start` are done.
    #[must_use]
    pub const fn with_reps(self, count: u16, start: u16) -> Self {
        self.with_rep_count(count).with_rep_start(start)
    }
}

bit_register! {
    /// The hypercall result value: RAX.
    pub struct HypercallOutput(u64) {
        /// [`HvStatus`] as a number.
        raw_status, with_raw_status: u16 @ 0..=15;
        /// Repetitions completed, counted from the first of the call (absolute, not since `rep_start`).
        reps_completed, with_reps_completed: u16 @ 32..=43;
    }
}

impl HypercallOutput {
    /// A result.
    #[must_use]
    pub const fn new(status: HvStatus, reps_completed: u16) -> Self {
        Self(0).with_raw_status(status.0).with_reps_completed(reps_completed)
    }

    /// The status.
    #[must_use]
    pub const fn status(self) -> HvStatus {
        HvStatus(self.raw_status())
    }
}

/// Input parameters that a fast call can carry in XMM registers: RDX, R8, XMM0 to XMM5, in bytes.
pub const XMM_FAST_INPUT_SIZE: usize = 112;

/// Whether a call is made once or for each element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallForm {
    /// One set of inputs and outputs.
    Simple,
    /// A header, then a list; resumable.
    Rep,
}

open_enum! {
    /// A call code (TLFS "Hypercall Reference"; codes that it does not list follow Linux `hvgdk_mini.h`).
    pub struct CallCode(u16) {
        SWITCH_VIRTUAL_ADDRESS_SPACE = 0x0001, "HvCallSwitchVirtualAddressSpace";
        FLUSH_VIRTUAL_ADDRESS_SPACE = 0x0002, "HvCallFlushVirtualAddressSpace";
        FLUSH_VIRTUAL_ADDRESS_LIST = 0x0003, "HvCallFlushVirtualAddressList";
        GET_LOGICAL_PROCESSOR_RUN_TIME = 0x0004, "HvCallGetLogicalProcessorRunTime";
        NOTIFY_LONG_SPIN_WAIT = 0x0008, "HvCallNotifyLongSpinWait";
        SEND_SYNTHETIC_CLUSTER_IPI = 0x000b, "HvCallSendSyntheticClusterIpi";
        MODIFY_VTL_PROTECTION_MASK = 0x000c, "HvCallModifyVtlProtectionMask";
        ENABLE_PARTITION_VTL = 0x000d, "HvCallEnablePartitionVtl";
        ENABLE_VP_VTL = 0x000f, "HvCallEnableVpVtl";
        VTL_CALL = 0x0011, "HvCallVtlCall";
        VTL_RETURN = 0x0012, "HvCallVtlReturn";
        FLUSH_VIRTUAL_ADDRESS_SPACE_EX = 0x0013, "HvCallFlushVirtualAddressSpaceEx";
        FLUSH_VIRTUAL_ADDRESS_LIST_EX = 0x0014, "HvCallFlushVirtualAddressListEx";
        SEND_SYNTHETIC_CLUSTER_IPI_EX = 0x0015, "HvCallSendSyntheticClusterIpiEx";
        CREATE_PARTITION = 0x0040, "HvCallCreatePartition";
        INITIALIZE_PARTITION = 0x0041, "HvCallInitializePartition";
        FINALIZE_PARTITION = 0x0042, "HvCallFinalizePartition";
        DELETE_PARTITION = 0x0043, "HvCallDeletePartition";
        GET_PARTITION_PROPERTY = 0x0044, "HvCallGetPartitionProperty";
        SET_PARTITION_PROPERTY = 0x0045, "HvCallSetPartitionProperty";
        GET_PARTITION_ID = 0x0046, "HvCallGetPartitionId";
        GET_NEXT_CHILD_PARTITION = 0x0047, "HvCallGetNextChildPartition";
        DEPOSIT_MEMORY = 0x0048, "HvCallDepositMemory";
        WITHDRAW_MEMORY = 0x0049, "HvCallWithdrawMemory";
        GET_MEMORY_BALANCE = 0x004a, "HvCallGetMemoryBalance";
        MAP_GPA_PAGES = 0x004b, "HvCallMapGpaPages";
        UNMAP_GPA_PAGES = 0x004c, "HvCallUnmapGpaPages";
        INSTALL_INTERCEPT = 0x004d, "HvCallInstallIntercept";
        CREATE_VP = 0x004e, "HvCallCreateVp";
        DELETE_VP = 0x004f, "HvCallDeleteVp";
        GET_VP_REGISTERS = 0x0050, "HvCallGetVpRegisters";
        SET_VP_REGISTERS = 0x0051, "HvCallSetVpRegisters";
        TRANSLATE_VIRTUAL_ADDRESS = 0x0052, "HvCallTranslateVirtualAddress";
        READ_GPA = 0x0053, "HvCallReadGpa";
        WRITE_GPA = 0x0054, "HvCallWriteGpa";
        CLEAR_VIRTUAL_INTERRUPT = 0x0056, "HvCallClearVirtualInterrupt";
        DELETE_PORT = 0x0058, "HvCallDeletePort";
        DISCONNECT_PORT = 0x005b, "HvCallDisconnectPort";
        POST_MESSAGE = 0x005c, "HvCallPostMessage";
        SIGNAL_EVENT = 0x005d, "HvCallSignalEvent";
        MAP_STATS_PAGE = 0x006c, "HvCallMapStatsPage";
        UNMAP_STATS_PAGE = 0x006d, "HvCallUnmapStatsPage";
        MAP_SPARSE_GPA_PAGES = 0x006e, "HvCallMapSparseGpaPages";
        ADD_LOGICAL_PROCESSOR = 0x0076, "HvCallAddLogicalProcessor";
        GET_SYSTEM_PROPERTY = 0x007b, "HvCallGetSystemProperty";
        MAP_DEVICE_INTERRUPT = 0x007c, "HvCallMapDeviceInterrupt";
        UNMAP_DEVICE_INTERRUPT = 0x007d, "HvCallUnmapDeviceInterrupt";
        RETARGET_DEVICE_INTERRUPT = 0x007e, "HvCallRetargetDeviceInterrupt";
        MODIFY_SPARSE_GPA_PAGES = 0x0090, "HvCallModifySparseGpaPages";
        REGISTER_INTERCEPT_RESULT = 0x0091, "HvCallRegisterInterceptResult";
        UNREGISTER_INTERCEPT_RESULT = 0x0092, "HvCallUnregisterInterceptResult";
        ASSERT_VIRTUAL_INTERRUPT = 0x0094, "HvCallAssertVirtualInterrupt";
        CREATE_PORT = 0x0095, "HvCallCreatePort";
        CONNECT_PORT = 0x0096, "HvCallConnectPort";
        START_VIRTUAL_PROCESSOR = 0x0099, "HvCallStartVirtualProcessor";
        GET_VP_INDEX_FROM_APIC_ID = 0x009a, "HvCallGetVpIndexFromApicId";
        TRANSLATE_VIRTUAL_ADDRESS_EX = 0x00ac, "HvCallTranslateVirtualAddressEx";
        CHECK_FOR_IO_INTERCEPT = 0x00ad, "HvCallCheckForIoIntercept";
        FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE = 0x00af, "HvCallFlushGuestPhysicalAddressSpace";
        FLUSH_GUEST_PHYSICAL_ADDRESS_LIST = 0x00b0, "HvCallFlushGuestPhysicalAddressList";
        SIGNAL_EVENT_DIRECT = 0x00c0, "HvCallSignalEventDirect";
        POST_MESSAGE_DIRECT = 0x00c1, "HvCallPostMessageDirect";
        DISPATCH_VP = 0x00c2, "HvCallDispatchVp";
        GET_GPA_PAGES_ACCESS_STATES = 0x00c9, "HvCallGetGpaPagesAccessStates";
        MAP_VP_STATE_PAGE = 0x00e1, "HvCallMapVpStatePage";
        UNMAP_VP_STATE_PAGE = 0x00e2, "HvCallUnmapVpStatePage";
        GET_VP_STATE = 0x00e3, "HvCallGetVpState";
        SET_VP_STATE = 0x00e4, "HvCallSetVpState";
        GET_VP_SET_FROM_MDA = 0x00e5, "HvCallGetVpSetFromMda";
        GET_VP_CPUID_VALUES = 0x00f4, "HvCallGetVpCpuidValues";
        SET_PARTITION_PROPERTY_EX = 0x010a, "HvCallSetPartitionPropertyEx";
        INSTALL_INTERCEPT_EX = 0x0110, "HvCallInstallInterceptEx";
        SET_VIRTUAL_INTERRUPT_TARGET = 0x011f, "HvCallSetVirtualInterruptTarget";
        MAP_STATS_PAGE_2 = 0x0131, "HvCallMapStatsPage2";
        EXT_QUERY_CAPABILITIES = 0x8001, "HvExtCallQueryCapabilities";
        EXT_GET_BOOT_ZEROED_MEMORY = 0x8002, "HvExtCallGetBootZeroedMemory";
    }
}

impl CallCode {
    /// Whether this call is simple or rep; `None` for a code without a name.
    #[must_use]
    pub const fn form(self) -> Option<CallForm> {
        match self {
            Self::FLUSH_VIRTUAL_ADDRESS_LIST
            | Self::MODIFY_VTL_PROTECTION_MASK
            | Self::FLUSH_VIRTUAL_ADDRESS_LIST_EX
            | Self::DEPOSIT_MEMORY
            | Self::WITHDRAW_MEMORY
            | Self::MAP_GPA_PAGES
            | Self::UNMAP_GPA_PAGES
            | Self::GET_VP_REGISTERS
            | Self::SET_VP_REGISTERS
            | Self::MAP_SPARSE_GPA_PAGES
            | Self::MODIFY_SPARSE_GPA_PAGES
            | Self::GET_VP_INDEX_FROM_APIC_ID
            | Self::FLUSH_GUEST_PHYSICAL_ADDRESS_LIST
            | Self::GET_GPA_PAGES_ACCESS_STATES
            | Self::GET_VP_STATE
            | Self::SET_VP_STATE
            | Self::GET_VP_CPUID_VALUES
            | Self::INSTALL_INTERCEPT_EX => Some(CallForm::Rep),
            _ => match self.name() {
                Some(_) => Some(CallForm::Simple),
                None => None,
            },
        }
    }
}
