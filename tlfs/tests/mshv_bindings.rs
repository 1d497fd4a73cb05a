//! The types against a second witness: crate `mshv-bindings`, which bindgen made of Microsoft's headers.
//! Places where the two differ on purpose are listed with their reason.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

use mshv_bindings::*;
use tlfs::calls::*;
use tlfs::hypercall::CallCode;
use tlfs::intercept::{HvInterceptAccessType, HvInterceptAccessTypeMask, HvInterceptType};
use tlfs::message::{HvMessage, HvMessageHeader, *};
use tlfs::msr;
use tlfs::partition::{HvPartitionPropertyCode, PrivilegeMask};
use tlfs::register::*;
use tlfs::status::HvStatus;
use tlfs::vp_page::{HvVpRegisterPage, RegisterPageDirty};
use zerocopy::FromZeros;

// --- Layouts -------------------------------------------------------------------------------------------------

/// Same size, and each pair of fields at the same offset.
macro_rules! same_layout {
    ($( $ours:ty = $theirs:ty { $( $($our:ident).+ : $($their:ident).+ ),* $(,)? } )*) => {
        $(
            assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), "size of {}", stringify!($ours));
            same_offsets!($ours = $theirs { $( $($our).+ : $($their).+ ),* });
        )*
    };
}

macro_rules! same_offsets {
    ($ours:ty = $theirs:ty { $( $($our:ident).+ : $($their:ident).+ ),* $(,)? }) => {
        $( assert_eq!(
            offset_of!($ours, $($our).+),
            offset_of!($theirs, $($their).+),
            "{}.{}", stringify!($ours), stringify!($($our).+),
        ); )*
    };
}

#[test]
fn messages() {
    assert_eq!(MESSAGE_PAYLOAD_SIZE, HV_MESSAGE_PAYLOAD_BYTE_COUNT as usize);
    same_layout! {
        HvMessageHeader = hv_message_header {
            message_type: message_type,
            payload_size: payload_size,
            message_flags: message_flags,
            reserved: reserved,
            sender: __bindgen_anon_1,
        }
        HvMessage = hv_message { header: header, payload: u }
        HvX64InterceptMessageHeader = hv_x64_intercept_message_header {
            vp_index: vp_index,
            length_cr8: _bitfield_1,
            intercept_access_type: intercept_access_type,
            execution_state: execution_state,
            cs_segment: cs_segment,
            rip: rip,
            rflags: rflags,
        }
        HvX64CpuidInterceptMessage = hv_x64_cpuid_intercept_message {
            header: header,
            rax: rax,
            rcx: rcx,
            rdx: rdx,
            rbx: rbx,
            default_result_rax: default_result_rax,
            default_result_rcx: default_result_rcx,
            default_result_rdx: default_result_rdx,
            default_result_rbx: default_result_rbx,
        }
        HvX64MsrInterceptMessage = hv_x64_msr_intercept_message {
            header: header,
            msr_number: msr_number,
            reserved: reserved,
            rdx: rdx,
            rax: rax,
        }
        HvX64IoPortInterceptMessage = hv_x64_io_port_intercept_message {
            header: header,
            port_number: port_number,
            access_info: access_info,
            instruction_byte_count: instruction_byte_count,
            reserved: reserved,
            rax: rax,
            instruction_bytes: instruction_bytes,
            ds_segment: ds_segment,
            es_segment: es_segment,
            rcx: rcx,
            rsi: rsi,
            rdi: rdi,
        }
        HvX64MemoryInterceptMessage = hv_x64_memory_intercept_message {
            header: header,
            cache_type: cache_type,
            instruction_byte_count: instruction_byte_count,
            memory_access_info: memory_access_info,
            tpr_priority: tpr_priority,
            reserved1: reserved1,
            guest_virtual_address: guest_virtual_address,
            guest_physical_address: guest_physical_address,
            instruction_bytes: instruction_bytes,
        }
        HvX64ExceptionInterceptMessage = hv_x64_exception_intercept_message {
            header: header,
            exception_vector: exception_vector,
            exception_info: exception_info,
            instruction_byte_count: instruction_byte_count,
            error_code: error_code,
            exception_parameter: exception_parameter,
            reserved: reserved,
            instruction_bytes: instruction_bytes,
            ds_segment: ds_segment,
            ss_segment: ss_segment,
            gprs: rax,
        }
        HvX64BareInterceptMessage = hv_x64_unrecoverable_exception_message { header: header }
        HvX64BareInterceptMessage = hv_x64_halt_message { header: header }
    }
}

#[test]
fn register_page() {
    type Registers = hv_vp_register_page__bindgen_ty_1__bindgen_ty_1;
    same_layout! {
        HvVpRegisterPage = hv_vp_register_page {
            version: version,
            is_valid: isvalid,
            reserved_z: rsvdz,
            dirty: dirty,
            gprs: __bindgen_anon_1,
            reserved0: reserved,
            xmm: __bindgen_anon_2,
            segments: __bindgen_anon_3,
            cr0: cr0,
            cr3: cr3,
            cr4: cr4,
            cr8: cr8,
            efer: efer,
            dr7: dr7,
            pending_interruption: pending_interruption,
            interrupt_state: interrupt_state,
            instruction_emulation_hints: instruction_emulation_hints,
            xfem: xfem,
            reserved1: reserved1,
            interrupt_vectors: interrupt_vectors,
        }
    }
    let registers = offset_of!(hv_vp_register_page, __bindgen_anon_1);
    assert_eq!(offset_of!(HvVpRegisterPage, rip), registers + offset_of!(Registers, rip));
    assert_eq!(offset_of!(HvVpRegisterPage, rflags), registers + offset_of!(Registers, rflags));
    assert_eq!(u32::from(HvVpRegisterPage::VERSION_1), HV_VP_REGISTER_PAGE_VERSION_1);
    for (ours, class) in [
        (RegisterPageDirty::GENERAL, HV_X64_REGISTER_CLASS_GENERAL),
        (RegisterPageDirty::IP, HV_X64_REGISTER_CLASS_IP),
        (RegisterPageDirty::XMM, HV_X64_REGISTER_CLASS_XMM),
        (RegisterPageDirty::SEGMENT, HV_X64_REGISTER_CLASS_SEGMENT),
        (RegisterPageDirty::FLAGS, HV_X64_REGISTER_CLASS_FLAGS),
    ] {
        assert_eq!(ours.bits(), 1 << class, "{ours:?}");
    }
}

#[test]
fn registers_and_calls() {
    type FpStatus = hv_x64_fp_control_status_register__bindgen_ty_1;
    type XmmStatus = hv_x64_xmm_control_status_register__bindgen_ty_1;
    same_layout! {
        HvX64SegmentRegister = hv_x64_segment_register {
            base: base,
            limit: limit,
            selector: selector,
            attributes: __bindgen_anon_1,
        }
        HvX64TableRegister = hv_x64_table_register { pad: pad, limit: limit, base: base }
        HvX64FpControlStatusRegister = FpStatus {
            fp_control: fp_control,
            fp_status: fp_status,
            fp_tag: fp_tag,
            reserved: reserved,
            last_fp_op: last_fp_op,
            last_fp_rip: __bindgen_anon_1,
        }
        HvX64XmmControlStatusRegister = XmmStatus {
            last_fp_rdp: __bindgen_anon_1,
            xmm_status_control: xmm_status_control,
            xmm_status_control_mask: xmm_status_control_mask,
        }
        SetVpRegistersElement = hv_register_assoc { name: name, reserved: reserved1, value: value }
        InstallInterceptInput = hv_input_install_intercept {
            partition_id: partition_id,
            access_type: access_type,
            intercept_type: intercept_type,
            intercept_parameter: intercept_parameter,
        }
        GetPartitionPropertyInput = hv_input_get_partition_property {
            partition_id: partition_id,
            property_code: property_code,
            padding: padding,
        }
        GetPartitionPropertyOutput = hv_output_get_partition_property { property_value: property_value }
        SetPartitionPropertyInput = hv_input_set_partition_property {
            partition_id: partition_id,
            property_code: property_code,
            padding: padding,
            property_value: property_value,
        }
        TranslateVirtualAddressInput = hv_input_translate_virtual_address {
            partition_id: partition_id,
            vp_index: vp_index,
            padding: padding,
            control_flags: control_flags,
            gva_page: gva_page,
        }
        TranslateVirtualAddressOutput = hv_output_translate_virtual_address {
            result_code: translation_result,
            gpa_page: gpa_page,
        }
        AssertVirtualInterruptInput = hv_input_assert_virtual_interrupt {
            target_partition: partition_id,
            interrupt_control: control,
            destination_address: dest_addr,
            requested_vector: vector,
            target_vtl: target_vtl,
            reserved0: rsvd_z0,
            reserved1: rsvd_z1,
        }
    }
    assert_eq!(size_of::<HvRegisterValue>(), size_of::<hv_register_value>());
    // Theirs end in an array of no length; ours is the header alone.
    same_offsets!(
        VpRegistersHeader = hv_input_get_vp_registers {
            partition_id: partition_id,
            vp_index: vp_index,
            target_vtl: input_vtl,
            reserved: rsvd_z8,
        }
    );
    assert_eq!(size_of::<VpRegistersHeader>(), offset_of!(hv_input_get_vp_registers, names));
    assert_eq!(size_of::<VpRegistersHeader>(), offset_of!(hv_input_set_vp_registers, elements));
}

// --- Values --------------------------------------------------------------------------------------------------

/// For each `OURS: theirs`, the value.
macro_rules! pairs {
    ($ty:ty: $( $ours:ident: $theirs:expr, )*) => {
        BTreeMap::from([ $( (stringify!($ours), (u64::from(<$ty>::$ours.0), u64::from($theirs))), )* ])
    };
}

fn assert_same(pairs: &BTreeMap<&str, (u64, u64)>) {
    for (name, (ours, theirs)) in pairs {
        assert_eq!(ours, theirs, "{name}: {ours:#x} here, {theirs:#x} there");
    }
}

#[test]
fn every_register_name() {
    let pairs = pairs! {
        HvRegisterName:
            EXPLICIT_SUSPEND: hv_register_name_HV_REGISTER_EXPLICIT_SUSPEND,
            INTERCEPT_SUSPEND: hv_register_name_HV_REGISTER_INTERCEPT_SUSPEND,
            INSTRUCTION_EMULATION_HINTS: hv_register_name_HV_REGISTER_INSTRUCTION_EMULATION_HINTS,
            DISPATCH_SUSPEND: hv_register_name_HV_REGISTER_DISPATCH_SUSPEND,
            INTERNAL_ACTIVITY_STATE: hv_register_name_HV_REGISTER_INTERNAL_ACTIVITY_STATE,
            HYPERVISOR_VERSION: hv_register_name_HV_REGISTER_HYPERVISOR_VERSION,
            PRIVILEGES_AND_FEATURES_INFO: hv_register_name_HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO,
            FEATURES_INFO: hv_register_name_HV_REGISTER_FEATURES_INFO,
            IMPLEMENTATION_LIMITS_INFO: hv_register_name_HV_REGISTER_IMPLEMENTATION_LIMITS_INFO,
            HARDWARE_FEATURES_INFO: hv_register_name_HV_REGISTER_HARDWARE_FEATURES_INFO,
            CPU_MANAGEMENT_FEATURES_INFO: hv_register_name_HV_REGISTER_CPU_MANAGEMENT_FEATURES_INFO,
            SVM_FEATURES_INFO: hv_register_name_HV_REGISTER_SVM_FEATURES_INFO,
            SKIP_LEVEL_FEATURES_INFO: hv_register_name_HV_REGISTER_SKIP_LEVEL_FEATURES_INFO,
            IPT_FEATURES_INFO: hv_register_name_HV_REGISTER_IPT_FEATURES_INFO,
            GUEST_CRASH_P0: hv_register_name_HV_REGISTER_GUEST_CRASH_P0,
            GUEST_CRASH_P1: hv_register_name_HV_REGISTER_GUEST_CRASH_P1,
            GUEST_CRASH_P2: hv_register_name_HV_REGISTER_GUEST_CRASH_P2,
            GUEST_CRASH_P3: hv_register_name_HV_REGISTER_GUEST_CRASH_P3,
            GUEST_CRASH_P4: hv_register_name_HV_REGISTER_GUEST_CRASH_P4,
            GUEST_CRASH_CTL: hv_register_name_HV_REGISTER_GUEST_CRASH_CTL,
            PROCESSOR_CLOCK_FREQUENCY: hv_register_name_HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY,
            INTERRUPT_CLOCK_FREQUENCY: hv_register_name_HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY,
            GUEST_IDLE: hv_register_name_HV_REGISTER_GUEST_IDLE,
            DEBUG_DEVICE_OPTIONS: hv_register_name_HV_REGISTER_DEBUG_DEVICE_OPTIONS,
            MEMORY_ZEROING_CONTROL: hv_register_name_HV_REGISTER_MEMORY_ZEROING_CONTROL,
            PENDING_INTERRUPTION: hv_register_name_HV_REGISTER_PENDING_INTERRUPTION,
            INTERRUPT_STATE: hv_register_name_HV_REGISTER_INTERRUPT_STATE,
            PENDING_EVENT0: hv_register_name_HV_REGISTER_PENDING_EVENT0,
            PENDING_EVENT1: hv_register_name_HV_REGISTER_PENDING_EVENT1,
            DELIVERABILITY_NOTIFICATIONS: hv_register_name_HV_REGISTER_DELIVERABILITY_NOTIFICATIONS,
            X64_PENDING_DEBUG_EXCEPTION: hv_register_name_HV_X64_REGISTER_PENDING_DEBUG_EXCEPTION,
            X64_RAX: hv_register_name_HV_X64_REGISTER_RAX,
            X64_RCX: hv_register_name_HV_X64_REGISTER_RCX,
            X64_RDX: hv_register_name_HV_X64_REGISTER_RDX,
            X64_RBX: hv_register_name_HV_X64_REGISTER_RBX,
            X64_RSP: hv_register_name_HV_X64_REGISTER_RSP,
            X64_RBP: hv_register_name_HV_X64_REGISTER_RBP,
            X64_RSI: hv_register_name_HV_X64_REGISTER_RSI,
            X64_RDI: hv_register_name_HV_X64_REGISTER_RDI,
            X64_R8: hv_register_name_HV_X64_REGISTER_R8,
            X64_R9: hv_register_name_HV_X64_REGISTER_R9,
            X64_R10: hv_register_name_HV_X64_REGISTER_R10,
            X64_R11: hv_register_name_HV_X64_REGISTER_R11,
            X64_R12: hv_register_name_HV_X64_REGISTER_R12,
            X64_R13: hv_register_name_HV_X64_REGISTER_R13,
            X64_R14: hv_register_name_HV_X64_REGISTER_R14,
            X64_R15: hv_register_name_HV_X64_REGISTER_R15,
            X64_RIP: hv_register_name_HV_X64_REGISTER_RIP,
            X64_RFLAGS: hv_register_name_HV_X64_REGISTER_RFLAGS,
            X64_XMM0: hv_register_name_HV_X64_REGISTER_XMM0,
            X64_XMM1: hv_register_name_HV_X64_REGISTER_XMM1,
            X64_XMM2: hv_register_name_HV_X64_REGISTER_XMM2,
            X64_XMM3: hv_register_name_HV_X64_REGISTER_XMM3,
            X64_XMM4: hv_register_name_HV_X64_REGISTER_XMM4,
            X64_XMM5: hv_register_name_HV_X64_REGISTER_XMM5,
            X64_XMM6: hv_register_name_HV_X64_REGISTER_XMM6,
            X64_XMM7: hv_register_name_HV_X64_REGISTER_XMM7,
            X64_XMM8: hv_register_name_HV_X64_REGISTER_XMM8,
            X64_XMM9: hv_register_name_HV_X64_REGISTER_XMM9,
            X64_XMM10: hv_register_name_HV_X64_REGISTER_XMM10,
            X64_XMM11: hv_register_name_HV_X64_REGISTER_XMM11,
            X64_XMM12: hv_register_name_HV_X64_REGISTER_XMM12,
            X64_XMM13: hv_register_name_HV_X64_REGISTER_XMM13,
            X64_XMM14: hv_register_name_HV_X64_REGISTER_XMM14,
            X64_XMM15: hv_register_name_HV_X64_REGISTER_XMM15,
            X64_FP_MMX0: hv_register_name_HV_X64_REGISTER_FP_MMX0,
            X64_FP_MMX1: hv_register_name_HV_X64_REGISTER_FP_MMX1,
            X64_FP_MMX2: hv_register_name_HV_X64_REGISTER_FP_MMX2,
            X64_FP_MMX3: hv_register_name_HV_X64_REGISTER_FP_MMX3,
            X64_FP_MMX4: hv_register_name_HV_X64_REGISTER_FP_MMX4,
            X64_FP_MMX5: hv_register_name_HV_X64_REGISTER_FP_MMX5,
            X64_FP_MMX6: hv_register_name_HV_X64_REGISTER_FP_MMX6,
            X64_FP_MMX7: hv_register_name_HV_X64_REGISTER_FP_MMX7,
            X64_FP_CONTROL_STATUS: hv_register_name_HV_X64_REGISTER_FP_CONTROL_STATUS,
            X64_XMM_CONTROL_STATUS: hv_register_name_HV_X64_REGISTER_XMM_CONTROL_STATUS,
            X64_CR0: hv_register_name_HV_X64_REGISTER_CR0,
            X64_CR2: hv_register_name_HV_X64_REGISTER_CR2,
            X64_CR3: hv_register_name_HV_X64_REGISTER_CR3,
            X64_CR4: hv_register_name_HV_X64_REGISTER_CR4,
            X64_CR8: hv_register_name_HV_X64_REGISTER_CR8,
            X64_XFEM: hv_register_name_HV_X64_REGISTER_XFEM,
            X64_INTERMEDIATE_CR0: hv_register_name_HV_X64_REGISTER_INTERMEDIATE_CR0,
            X64_INTERMEDIATE_CR3: hv_register_name_HV_X64_REGISTER_INTERMEDIATE_CR3,
            X64_INTERMEDIATE_CR4: hv_register_name_HV_X64_REGISTER_INTERMEDIATE_CR4,
            X64_INTERMEDIATE_CR8: hv_register_name_HV_X64_REGISTER_INTERMEDIATE_CR8,
            X64_DR0: hv_register_name_HV_X64_REGISTER_DR0,
            X64_DR1: hv_register_name_HV_X64_REGISTER_DR1,
            X64_DR2: hv_register_name_HV_X64_REGISTER_DR2,
            X64_DR3: hv_register_name_HV_X64_REGISTER_DR3,
            X64_DR6: hv_register_name_HV_X64_REGISTER_DR6,
            X64_DR7: hv_register_name_HV_X64_REGISTER_DR7,
            X64_ES: hv_register_name_HV_X64_REGISTER_ES,
            X64_CS: hv_register_name_HV_X64_REGISTER_CS,
            X64_SS: hv_register_name_HV_X64_REGISTER_SS,
            X64_DS: hv_register_name_HV_X64_REGISTER_DS,
            X64_FS: hv_register_name_HV_X64_REGISTER_FS,
            X64_GS: hv_register_name_HV_X64_REGISTER_GS,
            X64_LDTR: hv_register_name_HV_X64_REGISTER_LDTR,
            X64_TR: hv_register_name_HV_X64_REGISTER_TR,
            X64_IDTR: hv_register_name_HV_X64_REGISTER_IDTR,
            X64_GDTR: hv_register_name_HV_X64_REGISTER_GDTR,
            X64_TSC: hv_register_name_HV_X64_REGISTER_TSC,
            X64_EFER: hv_register_name_HV_X64_REGISTER_EFER,
            X64_KERNEL_GS_BASE: hv_register_name_HV_X64_REGISTER_KERNEL_GS_BASE,
            X64_APIC_BASE: hv_register_name_HV_X64_REGISTER_APIC_BASE,
            X64_PAT: hv_register_name_HV_X64_REGISTER_PAT,
            X64_SYSENTER_CS: hv_register_name_HV_X64_REGISTER_SYSENTER_CS,
            X64_SYSENTER_EIP: hv_register_name_HV_X64_REGISTER_SYSENTER_EIP,
            X64_SYSENTER_ESP: hv_register_name_HV_X64_REGISTER_SYSENTER_ESP,
            X64_STAR: hv_register_name_HV_X64_REGISTER_STAR,
            X64_LSTAR: hv_register_name_HV_X64_REGISTER_LSTAR,
            X64_CSTAR: hv_register_name_HV_X64_REGISTER_CSTAR,
            X64_SFMASK: hv_register_name_HV_X64_REGISTER_SFMASK,
            X64_INITIAL_APIC_ID: hv_register_name_HV_X64_REGISTER_INITIAL_APIC_ID,
            X64_TSC_AUX: hv_register_name_HV_X64_REGISTER_TSC_AUX,
            X64_BNDCFGS: hv_register_name_HV_X64_REGISTER_BNDCFGS,
            X64_DEBUG_CTL: hv_register_name_HV_X64_REGISTER_DEBUG_CTL,
            X64_SPEC_CTRL: hv_register_name_HV_X64_REGISTER_SPEC_CTRL,
            X64_PRED_CMD: hv_register_name_HV_X64_REGISTER_PRED_CMD,
            X64_VIRT_SPEC_CTRL: hv_register_name_HV_X64_REGISTER_VIRT_SPEC_CTRL,
            X64_U_XSS: hv_register_name_HV_X64_REGISTER_U_XSS,
            X64_U_CET: hv_register_name_HV_X64_REGISTER_U_CET,
            X64_S_CET: hv_register_name_HV_X64_REGISTER_S_CET,
            X64_SSP: hv_register_name_HV_X64_REGISTER_SSP,
            X64_PL0_SSP: hv_register_name_HV_X64_REGISTER_PL0_SSP,
            X64_PL1_SSP: hv_register_name_HV_X64_REGISTER_PL1_SSP,
            X64_PL2_SSP: hv_register_name_HV_X64_REGISTER_PL2_SSP,
            X64_PL3_SSP: hv_register_name_HV_X64_REGISTER_PL3_SSP,
            X64_INTERRUPT_SSP_TABLE_ADDR: hv_register_name_HV_X64_REGISTER_INTERRUPT_SSP_TABLE_ADDR,
            X64_TSC_ADJUST: hv_register_name_HV_X64_REGISTER_TSC_ADJUST,
            X64_MSR_IA32_MISC_ENABLE: hv_register_name_HV_X64_REGISTER_MSR_IA32_MISC_ENABLE,
            X64_IA32_FEATURE_CONTROL: hv_register_name_HV_X64_REGISTER_IA32_FEATURE_CONTROL,
            X64_APIC_ID: hv_register_name_HV_X64_REGISTER_APIC_ID,
            X64_APIC_VERSION: hv_register_name_HV_X64_REGISTER_APIC_VERSION,
            VP_RUNTIME: hv_register_name_HV_REGISTER_VP_RUNTIME,
            X64_HYPERCALL: hv_register_name_HV_X64_REGISTER_HYPERCALL,
            GUEST_OS_ID: hv_register_name_HV_REGISTER_GUEST_OS_ID,
            VP_INDEX: hv_register_name_HV_REGISTER_VP_INDEX,
            TIME_REF_COUNT: hv_register_name_HV_REGISTER_TIME_REF_COUNT,
            CPU_MANAGEMENT_VERSION: hv_register_name_HV_REGISTER_CPU_MANAGEMENT_VERSION,
            X64_SYNTHETIC_EOI: hv_register_name_HV_X64_REGISTER_SYNTHETIC_EOI,
            X64_SYNTHETIC_ICR: hv_register_name_HV_X64_REGISTER_SYNTHETIC_ICR,
            X64_SYNTHETIC_TPR: hv_register_name_HV_X64_REGISTER_SYNTHETIC_TPR,
            VP_ASSIST_PAGE: hv_register_name_HV_REGISTER_VP_ASSIST_PAGE,
            VP_ROOT_SIGNAL_COUNT: hv_register_name_HV_REGISTER_VP_ROOT_SIGNAL_COUNT,
            REFERENCE_TSC: hv_register_name_HV_REGISTER_REFERENCE_TSC,
            X64_REG_PAGE: hv_register_name_HV_X64_REGISTER_REG_PAGE,
            SCONTROL: hv_register_name_HV_REGISTER_SCONTROL,
            SVERSION: hv_register_name_HV_REGISTER_SVERSION,
            SIEFP: hv_register_name_HV_REGISTER_SIEFP,
            SIMP: hv_register_name_HV_REGISTER_SIMP,
            EOM: hv_register_name_HV_REGISTER_EOM,
            SIRBP: hv_register_name_HV_REGISTER_SIRBP,
            ISOLATION_CAPABILITIES: hv_register_name_HV_REGISTER_ISOLATION_CAPABILITIES,
    };
    assert_same(&pairs);
    assert_eq!(pairs.len(), HvRegisterName::NAMED.len(), "a register of ours was not compared");
}

#[test]
fn every_message_type() {
    let pairs = pairs! {
        HvMessageType:
            NONE: hv_message_type_HVMSG_NONE,
            UNMAPPED_GPA: hv_message_type_HVMSG_UNMAPPED_GPA,
            GPA_INTERCEPT: hv_message_type_HVMSG_GPA_INTERCEPT,
            UNACCEPTED_GPA: hv_message_type_HVMSG_UNACCEPTED_GPA,
            TIMER_EXPIRED: hv_message_type_HVMSG_TIMER_EXPIRED,
            INVALID_VP_REGISTER_VALUE: hv_message_type_HVMSG_INVALID_VP_REGISTER_VALUE,
            UNRECOVERABLE_EXCEPTION: hv_message_type_HVMSG_UNRECOVERABLE_EXCEPTION,
            UNSUPPORTED_FEATURE: hv_message_type_HVMSG_UNSUPPORTED_FEATURE,
            HYPERCALL_INTERCEPT: hv_message_type_HVMSG_HYPERCALL_INTERCEPT,
            X64_IO_PORT_INTERCEPT: hv_message_type_HVMSG_X64_IO_PORT_INTERCEPT,
            X64_MSR_INTERCEPT: hv_message_type_HVMSG_X64_MSR_INTERCEPT,
            X64_CPUID_INTERCEPT: hv_message_type_HVMSG_X64_CPUID_INTERCEPT,
            X64_EXCEPTION_INTERCEPT: hv_message_type_HVMSG_X64_EXCEPTION_INTERCEPT,
            X64_APIC_EOI: hv_message_type_HVMSG_X64_APIC_EOI,
            X64_LEGACY_FP_ERROR: hv_message_type_HVMSG_X64_LEGACY_FP_ERROR,
            X64_IOMMU_PRQ: hv_message_type_HVMSG_X64_IOMMU_PRQ,
            X64_HALT: hv_message_type_HVMSG_X64_HALT,
            X64_INTERRUPTION_DELIVERABLE: hv_message_type_HVMSG_X64_INTERRUPTION_DELIVERABLE,
            X64_SIPI_INTERCEPT: hv_message_type_HVMSG_X64_SIPI_INTERCEPT,
    };
    assert_same(&pairs);
    assert_eq!(pairs.len(), HvMessageType::NAMED.len(), "a message type of ours was not compared");
}

#[test]
fn every_partition_property() {
    let pairs = pairs! {
        HvPartitionPropertyCode:
            PRIVILEGE_FLAGS: hv_partition_property_code_HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
            SYNTHETIC_PROC_FEATURES: hv_partition_property_code_HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES,
            SUSPEND: hv_partition_property_code_HV_PARTITION_PROPERTY_SUSPEND,
            CPU_RESERVE: hv_partition_property_code_HV_PARTITION_PROPERTY_CPU_RESERVE,
            CPU_CAP: hv_partition_property_code_HV_PARTITION_PROPERTY_CPU_CAP,
            CPU_WEIGHT: hv_partition_property_code_HV_PARTITION_PROPERTY_CPU_WEIGHT,
            TIME_FREEZE: hv_partition_property_code_HV_PARTITION_PROPERTY_TIME_FREEZE,
            REFERENCE_TIME: hv_partition_property_code_HV_PARTITION_PROPERTY_REFERENCE_TIME,
            PROCESSORS_PER_SOCKET: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET,
            UNIMPLEMENTED_MSR_ACTION: hv_partition_property_code_HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION,
            PROCESSOR_VENDOR: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSOR_VENDOR,
            PROCESSOR_XSAVE_FEATURES: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES,
            PROCESSOR_CL_FLUSH_SIZE: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE,
            COMPATIBILITY_VERSION: hv_partition_property_code_HV_PARTITION_PROPERTY_COMPATIBILITY_VERSION,
            PHYSICAL_ADDRESS_WIDTH: hv_partition_property_code_HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH,
            PROCESSOR_CLOCK_FREQUENCY: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY,
            PROCESSOR_FEATURES_0: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0,
            PROCESSOR_FEATURES_1: hv_partition_property_code_HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1,
            GUEST_OS_ID: hv_partition_property_code_HV_PARTITION_PROPERTY_GUEST_OS_ID,
    };
    assert_same(&pairs);
    assert_eq!(pairs.len(), HvPartitionPropertyCode::NAMED.len(), "a property of ours was not compared");
}

/// Statuses that `hvdef::HvError` does not have, but the headers do.
const ONLY_IN_HEADERS: [&str; 4] = ["SUCCESS", "TIME_OUT", "CALL_PENDING", "VTL_ALREADY_ENABLED"];

#[test]
fn every_status() {
    let headers = pairs! {
        HvStatus:
            SUCCESS: HV_STATUS_SUCCESS,
            INVALID_HYPERCALL_CODE: HV_STATUS_INVALID_HYPERCALL_CODE,
            INVALID_HYPERCALL_INPUT: HV_STATUS_INVALID_HYPERCALL_INPUT,
            INVALID_ALIGNMENT: HV_STATUS_INVALID_ALIGNMENT,
            INVALID_PARAMETER: HV_STATUS_INVALID_PARAMETER,
            ACCESS_DENIED: HV_STATUS_ACCESS_DENIED,
            INVALID_PARTITION_STATE: HV_STATUS_INVALID_PARTITION_STATE,
            OPERATION_DENIED: HV_STATUS_OPERATION_DENIED,
            UNKNOWN_PROPERTY: HV_STATUS_UNKNOWN_PROPERTY,
            PROPERTY_VALUE_OUT_OF_RANGE: HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
            INSUFFICIENT_MEMORY: HV_STATUS_INSUFFICIENT_MEMORY,
            INVALID_PARTITION_ID: HV_STATUS_INVALID_PARTITION_ID,
            INVALID_VP_INDEX: HV_STATUS_INVALID_VP_INDEX,
            NOT_FOUND: HV_STATUS_NOT_FOUND,
            INVALID_PORT_ID: HV_STATUS_INVALID_PORT_ID,
            INVALID_CONNECTION_ID: HV_STATUS_INVALID_CONNECTION_ID,
            INSUFFICIENT_BUFFERS: HV_STATUS_INSUFFICIENT_BUFFERS,
            NOT_ACKNOWLEDGED: HV_STATUS_NOT_ACKNOWLEDGED,
            INVALID_VP_STATE: HV_STATUS_INVALID_VP_STATE,
            NO_RESOURCES: HV_STATUS_NO_RESOURCES,
            PROCESSOR_FEATURE_NOT_SUPPORTED: HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED,
            INVALID_LP_INDEX: HV_STATUS_INVALID_LP_INDEX,
            INVALID_REGISTER_VALUE: HV_STATUS_INVALID_REGISTER_VALUE,
            OPERATION_FAILED: HV_STATUS_OPERATION_FAILED,
            TIME_OUT: HV_STATUS_TIME_OUT,
            CALL_PENDING: HV_STATUS_CALL_PENDING,
            VTL_ALREADY_ENABLED: HV_STATUS_VTL_ALREADY_ENABLED,
    };
    let errors = pairs! {
        HvStatus:
            INVALID_HYPERCALL_CODE: HvError::InvalidHypercallCode as u16,
            INVALID_HYPERCALL_INPUT: HvError::InvalidHypercallInput as u16,
            INVALID_ALIGNMENT: HvError::InvalidAlignment as u16,
            INVALID_PARAMETER: HvError::InvalidParameter as u16,
            ACCESS_DENIED: HvError::AccessDenied as u16,
            INVALID_PARTITION_STATE: HvError::InvalidPartitionState as u16,
            OPERATION_DENIED: HvError::OperationDenied as u16,
            UNKNOWN_PROPERTY: HvError::UnknownProperty as u16,
            PROPERTY_VALUE_OUT_OF_RANGE: HvError::PropertyValueOutOfRange as u16,
            INSUFFICIENT_MEMORY: HvError::InsufficientMemory as u16,
            PARTITION_TOO_DEEP: HvError::PartitionTooDeep as u16,
            INVALID_PARTITION_ID: HvError::InvalidPartitionId as u16,
            INVALID_VP_INDEX: HvError::InvalidVpIndex as u16,
            NOT_FOUND: HvError::NotFound as u16,
            INVALID_PORT_ID: HvError::InvalidPortId as u16,
            INVALID_CONNECTION_ID: HvError::InvalidConnectionId as u16,
            INSUFFICIENT_BUFFERS: HvError::InsufficientBuffers as u16,
            NOT_ACKNOWLEDGED: HvError::NotAcknowledged as u16,
            INVALID_VP_STATE: HvError::InvalidVpState as u16,
            ACKNOWLEDGED: HvError::Acknowledged as u16,
            INVALID_SAVE_RESTORE_STATE: HvError::InvalidSaveRestoreState as u16,
            INVALID_SYNIC_STATE: HvError::InvalidSynicState as u16,
            OBJECT_IN_USE: HvError::ObjectInUse as u16,
            INVALID_PROXIMITY_DOMAIN_INFO: HvError::InvalidProximityDomainInfo as u16,
            NO_DATA: HvError::NoData as u16,
            INACTIVE: HvError::Inactive as u16,
            NO_RESOURCES: HvError::NoResources as u16,
            FEATURE_UNAVAILABLE: HvError::FeatureUnavailable as u16,
            PARTIAL_PACKET: HvError::PartialPacket as u16,
            PROCESSOR_FEATURE_NOT_SUPPORTED: HvError::ProcessorFeatureNotSupported as u16,
            INVALID_LP_INDEX: HvError::InvalidLpIndex as u16,
            INVALID_REGISTER_VALUE: HvError::InvalidRegisterValue as u16,
            OPERATION_FAILED: HvError::OperationFailed as u16,
    };
    assert_same(&headers);
    assert_same(&errors);
    assert!(ONLY_IN_HEADERS.iter().all(|name| headers.contains_key(name) && !errors.contains_key(name)));
    assert_eq!(errors.len() + ONLY_IN_HEADERS.len(), HvStatus::NAMED.len(), "a status of ours was not compared");
}

#[test]
fn call_codes() {
    assert_same(&pairs! {
        CallCode:
            GET_PARTITION_PROPERTY: HVCALL_GET_PARTITION_PROPERTY,
            SET_PARTITION_PROPERTY: HVCALL_SET_PARTITION_PROPERTY,
            INSTALL_INTERCEPT: HVCALL_INSTALL_INTERCEPT,
            CREATE_VP: HVCALL_CREATE_VP,
            DELETE_VP: HVCALL_DELETE_VP,
            GET_VP_REGISTERS: HVCALL_GET_VP_REGISTERS,
            SET_VP_REGISTERS: HVCALL_SET_VP_REGISTERS,
            TRANSLATE_VIRTUAL_ADDRESS: HVCALL_TRANSLATE_VIRTUAL_ADDRESS,
            READ_GPA: HVCALL_READ_GPA,
            WRITE_GPA: HVCALL_WRITE_GPA,
            CLEAR_VIRTUAL_INTERRUPT: HVCALL_CLEAR_VIRTUAL_INTERRUPT,
            REGISTER_INTERCEPT_RESULT: HVCALL_REGISTER_INTERCEPT_RESULT,
            ASSERT_VIRTUAL_INTERRUPT: HVCALL_ASSERT_VIRTUAL_INTERRUPT,
            SIGNAL_EVENT_DIRECT: HVCALL_SIGNAL_EVENT_DIRECT,
            POST_MESSAGE_DIRECT: HVCALL_POST_MESSAGE_DIRECT,
            GET_VP_CPUID_VALUES: HVCALL_GET_VP_CPUID_VALUES,
    });
}

#[test]
fn intercepts() {
    let pairs = pairs! {
        HvInterceptType:
            X64_IO_PORT: hv_intercept_type_HV_INTERCEPT_TYPE_X64_IO_PORT,
            X64_MSR: hv_intercept_type_HV_INTERCEPT_TYPE_X64_MSR,
            X64_CPUID: hv_intercept_type_HV_INTERCEPT_TYPE_X64_CPUID,
            EXCEPTION: hv_intercept_type_HV_INTERCEPT_TYPE_EXCEPTION,
            X64_GLOBAL_CPUID: hv_intercept_type_HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID,
            X64_APIC_SMI: hv_intercept_type_HV_INTERCEPT_TYPE_X64_APIC_SMI,
            HYPERCALL: hv_intercept_type_HV_INTERCEPT_TYPE_HYPERCALL,
            X64_APIC_INIT_SIPI: hv_intercept_type_HV_INTERCEPT_TYPE_X64_APIC_INIT_SIPI,
            X64_APIC_WRITE: hv_intercept_type_HV_INTERCEPT_TYPE_X64_APIC_WRITE,
    };
    assert_same(&pairs);
    // The enumeration ends at 0xd there; the specification, which we follow, goes on.
    assert_eq!(HvInterceptType::UNKNOWN_SYNIC_CONNECTION.0, hv_intercept_type_HV_INTERCEPT_TYPE_MAX);
    let end = hv_intercept_type_HV_INTERCEPT_TYPE_MAX;
    let below = HvInterceptType::NAMED.iter().filter(|(value, _)| value.0 < end).count();
    assert_eq!(below, pairs.len(), "an intercept type of ours was not compared");

    assert_same(&pairs! {
        HvInterceptAccessTypeMask:
            READ: HV_INTERCEPT_ACCESS_MASK_READ,
            WRITE: HV_INTERCEPT_ACCESS_MASK_WRITE,
            EXECUTE: HV_INTERCEPT_ACCESS_MASK_EXECUTE,
    });
    assert_same(&pairs! {
        HvInterceptAccessType:
            READ: HV_INTERCEPT_ACCESS_READ,
            WRITE: HV_INTERCEPT_ACCESS_WRITE,
            EXECUTE: HV_INTERCEPT_ACCESS_EXECUTE,
    });
}

#[test]
fn flags_and_results() {
    assert_same(&pairs! {
        MapGpaFlags:
            READABLE: HV_MAP_GPA_READABLE,
            WRITABLE: HV_MAP_GPA_WRITABLE,
            KERNEL_EXECUTABLE: HV_MAP_GPA_KERNEL_EXECUTABLE,
            USER_EXECUTABLE: HV_MAP_GPA_USER_EXECUTABLE,
            ADJUSTABLE: HV_MAP_GPA_ADJUSTABLE,
            NO_ACCESS: HV_MAP_GPA_NO_ACCESS,
            NOT_CACHED: HV_MAP_GPA_NOT_CACHED,
            LARGE_PAGE: HV_MAP_GPA_LARGE_PAGE,
    });
    assert_same(&pairs! {
        TranslateGvaFlags:
            VALIDATE_READ: HV_TRANSLATE_GVA_VALIDATE_READ,
            VALIDATE_WRITE: HV_TRANSLATE_GVA_VALIDATE_WRITE,
            VALIDATE_EXECUTE: HV_TRANSLATE_GVA_VALIDATE_EXECUTE,
            PRIVILEGE_EXEMPT: HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT,
            SET_PAGE_TABLE_BITS: HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS,
            TLB_FLUSH_INHIBIT: HV_TRANSLATE_GVA_TLB_FLUSH_INHIBIT,
            SUPERVISOR_ACCESS: HV_TRANSLATE_GVA_SUPERVISOR_ACCESS,
            USER_ACCESS: HV_TRANSLATE_GVA_USER_ACCESS,
            ENFORCE_SMAP: HV_TRANSLATE_GVA_ENFORCE_SMAP,
            OVERRIDE_SMAP: HV_TRANSLATE_GVA_OVERRIDE_SMAP,
            SHADOW_STACK: HV_TRANSLATE_GVA_SHADOW_STACK,
    });
    assert_same(&pairs! {
        TranslateGvaResultCode:
            SUCCESS: hv_translate_gva_result_code_HV_TRANSLATE_GVA_SUCCESS,
            PAGE_NOT_PRESENT: hv_translate_gva_result_code_HV_TRANSLATE_GVA_PAGE_NOT_PRESENT,
            PRIVILEGE_VIOLATION: hv_translate_gva_result_code_HV_TRANSLATE_GVA_PRIVILEGE_VIOLATION,
            INVALID_PAGE_TABLE_FLAGS: hv_translate_gva_result_code_HV_TRANSLATE_GVA_INVALIDE_PAGE_TABLE_FLAGS,
            GPA_UNMAPPED: hv_translate_gva_result_code_HV_TRANSLATE_GVA_GPA_UNMAPPED,
            GPA_NO_READ_ACCESS: hv_translate_gva_result_code_HV_TRANSLATE_GVA_GPA_NO_READ_ACCESS,
            GPA_NO_WRITE_ACCESS: hv_translate_gva_result_code_HV_TRANSLATE_GVA_GPA_NO_WRITE_ACCESS,
            GPA_ILLEGAL_OVERLAY_ACCESS: hv_translate_gva_result_code_HV_TRANSLATE_GVA_GPA_ILLEGAL_OVERLAY_ACCESS,
            INTERCEPT: hv_translate_gva_result_code_HV_TRANSLATE_GVA_INTERCEPT,
            GPA_UNACCEPTED: hv_translate_gva_result_code_HV_TRANSLATE_GVA_GPA_UNACCEPTED,
    });
}

#[test]
fn privileges() {
    assert_same(&pairs! {
        PrivilegeMask:
            ACCESS_VP_RUN_TIME_REG: HV_PARTITION_PRIVILEGE_ACCESS_VP_RUNTIME_MSR,
            ACCESS_PARTITION_REFERENCE_COUNTER: HV_PARTITION_PRIVILEGE_PARTITION_REFERENCE_COUNTER,
            ACCESS_SYNIC_REGS: HV_PARTITION_PRIVILEGE_SYNIC_MSRS,
            ACCESS_SYNTHETIC_TIMER_REGS: HV_PARTITION_PRIVILEGE_ACCESS_SYNTHETIC_TIMER_MSRS,
            ACCESS_INTR_CTRL_REGS: HV_PARTITION_PRIVILEGE_ACCESS_APIC_MSRS,
            ACCESS_HYPERCALL_MSRS: HV_PARTITION_PRIVILEGE_ACCESS_HYPERCALL_MSRS,
            ACCESS_VP_INDEX: HV_PARTITION_PRIVILEGE_ACCESS_VP_INDEX,
            ACCESS_RESET_REG: HV_PARTITION_PRIVILEGE_ACCESS_RESET_MSR,
            ACCESS_STATS_REG: HV_PARTITION_PRIVILEGE_ACCESS_STATS_MSR,
            ACCESS_PARTITION_REFERENCE_TSC: HV_PARTITION_PRIVILEGE_ACCESS_PARTITION_REFERENCE_TSC,
            ACCESS_GUEST_IDLE_REG: HV_PARTITION_PRIVILEGE_ACCESS_GUEST_IDLE_MSR,
            ACCESS_FREQUENCY_REGS: HV_PARTITION_PRIVILEGE_ACCESS_FREQUENCY_MSRS,
            CREATE_PARTITIONS: HV_PARTITION_PRIVILEGE_CREATE_PARTITIONS,
            ACCESS_PARTITION_ID: HV_PARTITION_PRIVILEGE_ACCESS_PARTITION_ID,
            ACCESS_MEMORY_POOL: HV_PARTITION_PRIVILEGE_ACCESS_MEMORY_POOL,
            POST_MESSAGES: HV_PARTITION_PRIVILEGE_POST_MESSAGES,
            SIGNAL_EVENTS: HV_PARTITION_PRIVILEGE_SIGNAL_EVENTS,
            CREATE_PORT: HV_PARTITION_PRIVILEGE_CREATE_PORT,
            CONNECT_PORT: HV_PARTITION_PRIVILEGE_CONNECT_PORT,
            ACCESS_STATS: HV_PARTITION_PRIVILEGE_ACCESS_STATS,
            DEBUGGING: HV_PARTITION_PRIVILEGE_DEBUGGING,
            CPU_MANAGEMENT: HV_PARTITION_PRIVILEGE_CPU_MANAGEMENT,
            ACCESS_VSM: HV_PARTITION_PRIVILEGE_ACCESS_VSM,
            ACCESS_VP_REGISTERS: HV_PARTITION_PRIVILEGE_ACCESS_VP_REGISTERS,
            ENABLE_EXTENDED_HYPERCALLS: HV_PARTITION_PRIVILEGE_ENABLE_EXTENDED_HYPERCALLS,
            START_VIRTUAL_PROCESSOR: HV_PARTITION_PRIVILEGE_START_VIRTUAL_PROCESSOR,
    });
}

#[test]
fn cpuid_leaves_and_features() {
    use tlfs::cpuid::{self, HvFeatures};
    assert_eq!(cpuid::HV_CPUID_VENDOR, HV_CPUID_FUNCTION_HV_VENDOR_AND_MAX_FUNCTION);
    assert_eq!(cpuid::HV_CPUID_INTERFACE, HV_CPUID_FUNCTION_HV_INTERFACE);
    assert_eq!(cpuid::HV_CPUID_VERSION, HV_CPUID_FUNCTION_MS_HV_VERSION);
    assert_eq!(cpuid::HV_CPUID_FEATURES, HV_CPUID_FUNCTION_MS_HV_FEATURES);
    assert_eq!(cpuid::HV_CPUID_RECOMMENDATIONS, HV_CPUID_FUNCTION_MS_HV_ENLIGHTENMENT_INFORMATION);
    assert_eq!(cpuid::HV_CPUID_LIMITS, HV_CPUID_FUNCTION_MS_HV_IMPLEMENTATION_LIMITS);
    assert_eq!(cpuid::HV_CPUID_HARDWARE, HV_CPUID_FUNCTION_MS_HV_HARDWARE_FEATURES);
    assert_same(&pairs! {
        HvFeatures:
            MWAIT: HV_FEATURE_MWAIT_AVAILABLE_DEPRECATED,
            GUEST_DEBUGGING: HV_FEATURE_GUEST_DEBUGGING_AVAILABLE,
            PERFORMANCE_MONITOR: HV_FEATURE_PERFORMANCE_MONITORS_AVAILABLE,
            CPU_DYNAMIC_PARTITIONING: HV_FEATURE_CPU_DYNAMIC_PARTITIONING_AVAILABLE,
            XMM_FAST_INPUT: HV_FEATURE_XMM_REGISTERS_FOR_FAST_HYPERCALL_AVAILABLE,
            GUEST_IDLE: HV_FEATURE_GUEST_IDLE_AVAILABLE,
            HYPERVISOR_SLEEP: HV_FEATURE_HYPERVISOR_SLEEP_STATE_SUPPORT_AVAILABLE,
            NUMA_DISTANCES: HV_FEATURE_NUMA_DISTANCE_QUERY_AVAILABLE,
            FREQUENCY_MSRS: HV_FEATURE_FREQUENCY_REGS_AVAILABLE,
            SYNTHETIC_MACHINE_CHECK: HV_FEATURE_SYNTHETIC_MACHINE_CHECK_AVAILABLE,
            CRASH_MSRS: HV_FEATURE_GUEST_CRASH_REGS_AVAILABLE,
            DEBUG_MSRS: HV_FEATURE_DEBUG_REGS_AVAILABLE,
            NPIEP: HV_FEATURE_NPIEP1_AVAILABLE,
            DISABLE_HYPERVISOR: HV_FEATURE_DISABLE_HYPERVISOR_AVAILABLE,
            EXTENDED_GVA_RANGES: HV_FEATURE_EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST_AVAILABLE,
            XMM_FAST_OUTPUT: HV_FEATURE_FAST_HYPERCALL_OUTPUT_AVAILABLE,
            SINT_POLLING: HV_FEATURE_SINT_POLLING_MODE_AVAILABLE,
            HYPERCALL_MSR_LOCK: HV_FEATURE_HYPERCALL_MSR_LOCK_AVAILABLE,
            DIRECT_SYNTHETIC_TIMERS: HV_FEATURE_DIRECT_SYNTHETIC_TIMERS,
    });
}

#[test]
fn synthetic_msrs() {
    for (name, ours, theirs) in [
        ("GUEST_OS_ID", msr::HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_GUEST_OS_ID),
        ("HYPERCALL", msr::HV_X64_MSR_HYPERCALL, HV_X64_MSR_HYPERCALL),
        ("VP_INDEX", msr::HV_X64_MSR_VP_INDEX, HV_X64_MSR_VP_INDEX),
        ("RESET", msr::HV_X64_MSR_RESET, HV_X64_MSR_RESET),
        ("VP_RUNTIME", msr::HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_VP_RUNTIME),
        ("TIME_REF_COUNT", msr::HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TIME_REF_COUNT),
        ("REFERENCE_TSC", msr::HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC),
        ("TSC_FREQUENCY", msr::HV_X64_MSR_TSC_FREQUENCY, HV_X64_MSR_TSC_FREQUENCY),
        ("APIC_FREQUENCY", msr::HV_X64_MSR_APIC_FREQUENCY, HV_X64_MSR_APIC_FREQUENCY),
        ("EOI", msr::HV_X64_MSR_EOI, HV_X64_MSR_EOI),
        ("ICR", msr::HV_X64_MSR_ICR, HV_X64_MSR_ICR),
        ("TPR", msr::HV_X64_MSR_TPR, HV_X64_MSR_TPR),
        ("VP_ASSIST_PAGE", msr::HV_X64_MSR_VP_ASSIST_PAGE, HV_X64_MSR_VP_ASSIST_PAGE),
        ("SCONTROL", msr::HV_X64_MSR_SCONTROL, HV_X64_MSR_SCONTROL),
        ("SVERSION", msr::HV_X64_MSR_SVERSION, HV_X64_MSR_SVERSION),
        ("SIEFP", msr::HV_X64_MSR_SIEFP, HV_X64_MSR_SIEFP),
        ("SIMP", msr::HV_X64_MSR_SIMP, HV_X64_MSR_SIMP),
        ("EOM", msr::HV_X64_MSR_EOM, HV_X64_MSR_EOM),
        ("SINT0", msr::HV_X64_MSR_SINT0, HV_X64_MSR_SINT0),
        ("STIMER0_CONFIG", msr::HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER0_CONFIG),
        ("CRASH_P0", msr::HV_X64_MSR_CRASH_P0, HV_X64_MSR_CRASH_P0),
        ("CRASH_CTL", msr::HV_X64_MSR_CRASH_CTL, HV_X64_MSR_CRASH_CTL),
    ] {
        assert_eq!(ours, theirs, "HV_X64_MSR_{name}");
    }
}

// --- Bit fields ----------------------------------------------------------------------------------------------

/// Sets `field` of their bit field to all ones by `setter` and compares with ours, made by `with`.
macro_rules! same_bits {
    ($ours:ty = $theirs:ty, $bits:literal { $( $with:ident($value:expr): $setter:ident($theirs_value:expr) ),* $(,)? }) => {
        $(
            let mut theirs = <$theirs>::default();
            theirs.$setter($theirs_value);
            let theirs = theirs._bitfield_1.get(0, $bits);
            let ours = <$ours as FromZeros>::new_zeroed().$with($value).0;
            assert_eq!(u64::from(ours), theirs, "{}", stringify!($with));
        )*
    };
}

#[test]
fn bit_fields() {
    same_bits!(HvX64PendingInterruptionRegister = hv_x64_pending_interruption_register__bindgen_ty_1, 32 {
        with_interruption_pending(true): set_interruption_pending(1),
        with_interruption_type(7): set_interruption_type(7),
        with_deliver_error_code(true): set_deliver_error_code(1),
        with_instruction_length(15): set_instruction_length(15),
        with_nested_event(true): set_nested_event(1),
        with_interruption_vector(0xffff): set_interruption_vector(0xffff),
    });
    assert_eq!(
        HvX64PendingInterruptionRegister(0).with_error_code(1).0.trailing_zeros() as usize,
        8 * offset_of!(hv_x64_pending_interruption_register__bindgen_ty_1, error_code),
    );
    same_bits!(HvX64VpExecutionState = hv_x64_vp_execution_state__bindgen_ty_1, 16 {
        with_cpl(3): set_cpl(3),
        with_cr0_pe(true): set_cr0_pe(1),
        with_cr0_am(true): set_cr0_am(1),
        with_efer_lma(true): set_efer_lma(1),
        with_debug_active(true): set_debug_active(1),
        with_interruption_pending(true): set_interruption_pending(1),
        with_interrupt_shadow(true): set_interrupt_shadow(1),
    });
    same_bits!(HvX64SegmentAttributes = hv_x64_segment_register__bindgen_ty_1__bindgen_ty_1, 16 {
        with_segment_type(15): set_segment_type(15),
        with_non_system(true): set_non_system_segment(1),
        with_dpl(3): set_descriptor_privilege_level(3),
        with_present(true): set_present(1),
        with_available(true): set_available(1),
        with_long(true): set__long(1),
        with_default(true): set__default(1),
        with_granularity(true): set_granularity(1),
    });
    same_bits!(HvX64ExceptionInfo = hv_x64_exception_info__bindgen_ty_1, 8 {
        with_error_code_valid(true): set_error_code_valid(1),
        with_software_exception(true): set_software_exception(1),
    });
    same_bits!(HvX64IoPortAccessInfo = hv_x64_io_port_access_info__bindgen_ty_1, 8 {
        with_access_size(7): set_access_size(7),
        with_string_op(true): set_string_op(1),
        with_rep_prefix(true): set_rep_prefix(1),
    });
    same_bits!(HvX64MemoryAccessInfo = hv_x64_memory_access_info__bindgen_ty_1, 8 {
        with_gva_valid(true): set_gva_valid(1),
        with_gva_gpa_valid(true): set_gva_gpa_valid(1),
    });
    same_bits!(HvX64InterruptStateRegister = hv_x64_interrupt_state_register__bindgen_ty_1, 64 {
        with_interrupt_shadow(true): set_interrupt_shadow(1),
        with_nmi_masked(true): set_nmi_masked(1),
    });
    same_bits!(HvInstructionLengthCr8 = hv_x64_intercept_message_header, 8 {
        with_instruction_length(15): set_instruction_length(15),
        with_cr8(15): set_cr8(15),
    });
}

#[test]
fn pending_interruption_types() {
    type Pending = HvX64PendingInterruptionRegister;
    assert_eq!(u32::from(Pending::TYPE_INTERRUPT), HV_X64_PENDING_INTERRUPT);
    assert_eq!(u32::from(Pending::TYPE_NMI), HV_X64_PENDING_NMI);
    assert_eq!(u32::from(Pending::TYPE_EXCEPTION), HV_X64_PENDING_EXCEPTION);
}
