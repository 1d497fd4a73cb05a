//! HvCallDispatchVp: a child's exits as the root sees them.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

mod common;

use common::{CHILD_MEMORY, Root};
use engine::{Access, Engine, Fault, RAX, RBX, RCX, RDI, RDX, VpExit};
use tlfs::addr::{Gpa, Gva, PAGE_SIZE, VpIndex};
use tlfs::calls::*;
use tlfs::hypercall::CallCode;
use tlfs::intercept::{HvInterceptAccessType, HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::message::*;
use tlfs::register::HvRegisterName;
use tlfs::status::HvStatus;
use tlfs::vp_page::{HvVpStatePageType, RegisterPageDirty};
use zerocopy::IntoBytes;

#[test]
fn an_intercepted_ud_carries_registers_and_instruction() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::EXCEPTION, Mask::EXECUTE, 6).unwrap();
    assert_eq!(root.hv.engine().vp(child.slot).exceptions, 1 << 6);
    root.code(&child, &[0x0f, 0x05, 0x90]);
    root.plays(&child, |vp, _| {
        vp.core.gprs[RAX] = 39;
        vp.core.gprs[RDI] = 0x1234;
        vp.control.cpl = 3;
        VpExit::Exception { vector: 6, error_code: None, parameter: 0 }
    });
    let (header, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::X64_EXCEPTION_INTERCEPT);
    assert_eq!(message.exception_vector, 6);
    assert!(!message.exception_info.error_code_valid());
    assert_eq!(message.instruction_bytes[..3], [0x0f, 0x05, 0x90]);
    assert_eq!(message.instruction_byte_count, 16);
    assert_eq!((message.gprs[RAX], message.gprs[RDI]), (39, 0x1234));
    assert_eq!(message.header.rip, 0x8000);
    assert_eq!(message.header.execution_state.cpl(), 3);
    assert!(message.header.execution_state.efer_lma() && message.header.execution_state.cr0_pe());
    let page = root.register_page(&child);
    assert_eq!((page.is_valid, page.dirty, page.rip, page.gprs[RDI]), (1, RegisterPageDirty::empty(), 0x8000, 0x1234));
    assert_eq!((page.cr3, page.efer), (0x1000, 0xd00));
}

#[test]
fn what_the_root_changes_in_the_register_page_is_loaded_once() {
    let mut root = Root::new();
    let child = root.runnable();
    root.runs_on(&child);
    let mut page = root.register_page(&child);
    page.gprs[RCX] = 77;
    page.rip = 0x9000;
    page.rflags = u64::MAX;
    page.segments[1].selector = 0x08;
    page.xmm[5] = [9; 16];
    let classes = [
        (RegisterPageDirty::empty(), 0, 0x8000, 2, 0, 0),
        (RegisterPageDirty::GENERAL, 77, 0x8000, 2, 0, 0),
        (RegisterPageDirty::IP, 77, 0x9000, 2, 0, 0),
        (RegisterPageDirty::FLAGS, 77, 0x9000, 0x3f_7fd7, 0, 0),
        (RegisterPageDirty::SEGMENT, 77, 0x9000, 0x3f_7fd7, 8, 0),
        (RegisterPageDirty::XMM, 77, 0x9000, 0x3f_7fd7, 8, 9),
    ];
    for (dirty, rcx, rip, rflags, cs, xmm) in classes {
        page.dirty = dirty;
        root.write(child.registers, page.as_bytes());
        root.runs_on(&child);
        let vp = root.hv.engine().vp(child.slot);
        assert_eq!((vp.core.gprs[RCX], vp.core.rip, vp.core.rflags), (rcx, rip, rflags), "{dirty:?}");
        assert_eq!((vp.segments[1].selector, vp.xmm[5][0]), (cs, xmm), "{dirty:?}");
        assert_eq!(root.register_page(&child).dirty, RegisterPageDirty::empty());
    }
}

#[test]
fn a_hostile_register_page_is_refused_or_harmless() {
    let mut root = Root::new();
    let child = root.runnable();
    root.runs_on(&child);
    let mut page = root.register_page(&child);
    page.segments[2].attributes.0 = 0x0f00;
    page.dirty = RegisterPageDirty::SEGMENT;
    root.write(child.registers, page.as_bytes());
    let ended = root.dispatch(&child, DispatchVpFlags::empty());
    assert_eq!(ended, Err(HvStatus::INVALID_REGISTER_VALUE));

    // Everything set: dirty bits that do not exist, a version nobody knows, and `is_valid` of any kind.
    page.segments[2].attributes.0 = 0;
    page.dirty = RegisterPageDirty::from_bits_retain(u32::MAX);
    page.version = 0xffff;
    page.is_valid = 0xff;
    page.cr0 = 0xdead;
    page.efer = 0xdead;
    root.write(child.registers, page.as_bytes());
    root.runs_on(&child);
    let page = root.register_page(&child);
    assert_eq!((page.version, page.is_valid, page.cr0, page.efer), (1, 1, 0x8005_0033, 0xd00));

    // Not valid: not looked at.
    let mut page = root.register_page(&child);
    page.is_valid = 0;
    page.rip = 0x1_2345;
    page.dirty = RegisterPageDirty::IP;
    root.write(child.registers, page.as_bytes());
    root.runs_on(&child);
    assert_ne!(root.hv.engine().core(child.slot).rip, 0x1_2345);
}

#[test]
fn a_vp_with_an_open_intercept_does_not_run() {
    let mut root = Root::new();
    let child = root.runnable();
    root.plays(&child, |_, _| VpExit::Shutdown);
    let (header, _) = root.intercepted::<HvX64BareInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::UNRECOVERABLE_EXCEPTION);
    let suspended = Ok((DispatchState::BLOCKED, DispatchEvent::SUSPEND));
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), suspended);
    assert_eq!(root.get(child.id, VpIndex(0), HvRegisterName::INTERCEPT_SUSPEND).unwrap().as_u64(), 1);
    root.set(child.id, VpIndex(0), HvRegisterName::INTERCEPT_SUSPEND, 0).unwrap();
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), Ok((DispatchState::READY, DispatchEvent::INVALID)));

    root.set(child.id, VpIndex(0), HvRegisterName::EXPLICIT_SUSPEND, 1).unwrap();
    assert_eq!(root.dispatch(&child, DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND), suspended);
}

#[test]
fn a_dispatch_needs_a_message_page_and_plain_parameters() {
    let mut root = Root::new();
    let child = root.runnable();
    let input = DispatchVpInput { partition_id: child.id, ..DispatchVpInput::default() };
    let cases = [
        (DispatchVpInput { time_slice: 1, ..input }, HvStatus::INVALID_PARAMETER),
        (DispatchVpInput { flags: DispatchVpFlags::from_bits_retain(0x40), ..input }, HvStatus::INVALID_PARAMETER),
        (DispatchVpInput { vp_index: VpIndex(1), ..input }, HvStatus::INVALID_VP_INDEX),
        (DispatchVpInput { vp_index: VpIndex::SELF, ..input }, HvStatus::INVALID_VP_INDEX),
        (DispatchVpInput { vp_index: VpIndex(u32::MAX), ..input }, HvStatus::INVALID_VP_INDEX),
        (DispatchVpInput { partition_id: tlfs::addr::PartitionId::SELF, ..input }, HvStatus::INVALID_PARTITION_ID),
    ];
    for (input, status) in cases {
        assert_eq!(root.act(CallCode::DISPATCH_VP, &input), Err(status), "{input:?}");
    }
    let unmap = UnmapVpStatePageInput {
        partition_id: child.id,
        page_type: HvVpStatePageType::INTERCEPT_MESSAGE,
        ..UnmapVpStatePageInput::default()
    };
    root.act(CallCode::UNMAP_VP_STATE_PAGE, &unmap).unwrap();
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), Err(HvStatus::INVALID_VP_STATE));
}

#[test]
fn memory_that_is_not_there_or_not_allowed() {
    let mut root = Root::new();
    let child = root.runnable();
    let (gpa, gva) = (Gpa(0x20_0123), Gva(0x4000_0123));
    for (access, expected) in [
        (Access::Read, HvInterceptAccessType::READ),
        (Access::Write, HvInterceptAccessType::WRITE),
        (Access::Execute, HvInterceptAccessType::EXECUTE),
    ] {
        root.plays(&child, move |_, _| VpExit::Memory {
            gpa,
            gva: Some(gva),
            access,
            during_walk: false,
            present: false,
        });
        let (header, message) = root.intercepted::<HvX64MemoryInterceptMessage>(&child);
        assert_eq!(header.message_type, HvMessageType::UNMAPPED_GPA);
        assert_eq!((message.guest_physical_address, message.guest_virtual_address), (gpa.0, gva.0));
        assert!(message.memory_access_info.gva_valid() && message.memory_access_info.gva_gpa_valid());
        assert_eq!(message.header.intercept_access_type, expected);
        assert_eq!(message.instruction_byte_count, if access == Access::Execute { 0 } else { 16 });
    }
    // A page that is mapped, but without the right.
    let source = CHILD_MEMORY + 20;
    assert_eq!(root.map(child.id, 0x300, MapGpaFlags::READABLE, &[source]), (1, HvStatus::SUCCESS));
    root.plays(&child, |_, _| VpExit::Memory {
        gpa: Gpa(0x30_0000),
        gva: None,
        access: Access::Write,
        during_walk: true,
        present: true,
    });
    let (header, message) = root.intercepted::<HvX64MemoryInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::GPA_INTERCEPT);
    assert!(!message.memory_access_info.gva_valid());
}

#[test]
fn ports_are_the_parents_if_it_asked_and_empty_else() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::X64_IO_PORT, Mask::WRITE, 0x5d0).unwrap();
    let out = |port| VpExit::IoPort { port, size: 4, write: true, string: false, rep: false, next_rip: 0x8002 };
    root.plays(&child, move |vp, _| {
        vp.core.gprs[RAX] = 0xabcd;
        out(0x5d0)
    });
    let (header, message) = root.intercepted::<HvX64IoPortInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::X64_IO_PORT_INTERCEPT);
    assert_eq!((message.port_number, message.rax, message.access_info.access_size()), (0x5d0, 0xabcd, 4));
    assert_eq!(message.header.length_cr8.instruction_length(), 2);
    assert_eq!(message.header.intercept_access_type, HvInterceptAccessType::WRITE);
    // The root has not moved it on: the port of four bytes that ends in the one asked for is seen too.
    root.plays(&child, move |_, _| out(0x5cd));
    root.intercepted::<HvX64IoPortInterceptMessage>(&child);

    // Others: dropped, and all ones.
    root.plays(&child, move |_, _| out(0x80));
    root.plays(&child, |vp, _| {
        assert_eq!(vp.core.rip, 0x8002);
        vp.core.gprs[RAX] = 0x1111_2222_3333_4444;
        VpExit::IoPort { port: 0x60, size: 1, write: false, string: false, rep: false, next_rip: 0x8003 }
    });
    root.plays(&child, |vp, _| {
        assert_eq!((vp.core.gprs[RAX], vp.core.rip), (0x1111_2222_3333_44ff, 0x8003));
        VpExit::IoPort { port: 0x60, size: 4, write: false, string: false, rep: false, next_rip: 0x8004 }
    });
    root.plays(&child, |vp, _| {
        assert_eq!(vp.core.gprs[RAX], 0xffff_ffff);
        VpExit::IoPort { port: 0x60, size: 1, write: false, string: true, rep: true, next_rip: 0x8006 }
    });
    root.plays(&child, |vp, _| {
        assert_eq!((vp.core.rip, vp.delivered.as_slice()), (0x8004, &[Fault::GP][..]));
        VpExit::Interrupt
    });
    root.runs_on(&child);
}

#[test]
fn cpuid_of_a_child() {
    let mut root = Root::new();
    let child = root.runnable();
    root.code(&child, &[0x0f, 0xa2]);
    root.plays(&child, |vp, _| {
        vp.core.gprs[RAX] = 1;
        VpExit::Cpuid
    });
    root.plays(&child, |vp, _| {
        assert_eq!(vp.core.rip, 0x8002);
        let (ecx, edx) = (vp.core.gprs[RCX], vp.core.gprs[RDX]);
        assert_ne!(ecx & 1 << 31, 0, "hypervisor present");
        for (bit, what) in [(3, "MONITOR"), (5, "VMX"), (21, "x2APIC"), (26, "XSAVE"), (27, "OSXSAVE"), (28, "AVX")] {
            assert_eq!(ecx & 1 << bit, 0, "{what}");
        }
        assert_eq!(edx & 1 << 9, 0, "APIC");
        vp.core.gprs[RAX] = 0x8000_0001;
        VpExit::Cpuid
    });
    root.plays(&child, |vp, _| {
        assert_eq!(vp.core.gprs[RCX] & 1 << 2, 0, "SVM");
        assert_eq!(vp.core.gprs[RDX] & 1 << 27, 0, "RDTSCP");
        (vp.core.gprs[RAX], vp.core.gprs[RCX]) = (7, 0);
        VpExit::Cpuid
    });
    root.plays(&child, |vp, _| {
        assert_eq!(vp.core.gprs[RCX] & 1 << 22, 0, "RDPID");
        vp.core.gprs[RAX] = 0x4000_0003;
        VpExit::Cpuid
    });
    root.plays(&child, |vp, _| {
        // Reference counter, hypercall MSRs, VP index, reference TSC, frequencies; nothing in the high half.
        assert_eq!((vp.core.gprs[RAX], vp.core.gprs[RBX]), (0xa62, 0));
        vp.core.rip = 0x8000;
        VpExit::Interrupt
    });
    root.runs_on(&child);

    root.intercept(child.id, HvInterceptType::X64_CPUID, Mask::EXECUTE, 0x4000_0000).unwrap();
    root.plays(&child, |vp, _| {
        vp.core.gprs[RAX] = 0x4000_0000;
        VpExit::Cpuid
    });
    let (header, message) = root.intercepted::<HvX64CpuidInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::X64_CPUID_INTERCEPT);
    assert_eq!((message.rax, message.default_result_rax), (0x4000_0000, 0x4000_000a));
    assert_eq!(message.header.length_cr8.instruction_length(), 2);
}

#[test]
fn msrs_of_a_child() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::X64_MSR, Mask::WRITE, 0xc000_0080).unwrap();
    root.code(&child, &[0x0f, 0x30]);
    let write = |msr: u32, value: u64| {
        move |vp: &mut engine::fake::FakeVp, _: &mut engine::fake::VecMemory| {
            vp.core.gprs[RCX] = u64::from(msr);
            vp.core.gprs[RAX] = value & 0xffff_ffff;
            vp.core.gprs[RDX] = value >> 32;
            VpExit::MsrWrite
        }
    };
    root.plays(&child, write(0xc000_0080, 0xd01));
    let (header, message) = root.intercepted::<HvX64MsrInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::X64_MSR_INTERCEPT);
    assert_eq!((message.msr_number, message.rax, message.rdx), (0xc000_0080, 0xd01, 0));
    assert_eq!(message.header.length_cr8.instruction_length(), 2);
    assert_eq!(root.hv.engine().control(child.slot).efer, 0xd00);

    root.intercept(child.id, HvInterceptType::X64_MSR, Mask::empty(), 0xc000_0080).unwrap();
    let faults = [
        (0xc000_0080_u32, 0x1000, true),
        (0xc000_0080, 0, true),
        (0xc000_0080, 0xd01, false),
        (0xc000_0082, 0xffff_8000_0000_0000, false),
        (0x10, 0, true),
        (0x1b, 0, true),
        (0x4000_0003, 1, true),
        (0x4000_0020, 1, true),
        (0x4000_0080, 1, true),
        (0x4000_0105, 1, true),
        (0x277, 0x0007_0406_0007_0406, false),
        (0xdead_beef, 0, true),
    ];
    for (msr, value, faults) in faults {
        root.hv.engine().vp_mut(child.slot).delivered.clear();
        root.plays(&child, write(msr, value));
        root.plays(&child, move |vp, _| {
            assert_eq!(vp.delivered.contains(&Fault::GP), faults, "{msr:#x}");
            vp.core.rip = 0x8000;
            VpExit::Interrupt
        });
        root.runs_on(&child);
    }
    assert_eq!(root.hv.engine().control(child.slot).efer, 0xd01);
}

#[test]
fn halt_waits_for_an_interrupt() {
    let mut root = Root::new();
    let child = root.runnable();
    root.code(&child, &[0xf4]);
    root.plays(&child, |vp, _| {
        vp.core.rflags = 0x202;
        VpExit::Halt
    });
    let blocked = Ok((DispatchState::BLOCKED, DispatchEvent::INVALID));
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), blocked);
    assert_eq!(root.hv.engine().core(child.slot).rip, 0x8001);
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), blocked);

    let mut interrupt = AssertVirtualInterruptInput {
        target_partition: child.id,
        requested_vector: 0x31,
        ..AssertVirtualInterruptInput::default()
    };
    root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &interrupt).unwrap();
    interrupt.requested_vector = 0xee;
    root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &interrupt).unwrap();
    root.runs_on(&child);
    root.runs_on(&child);
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).taken, [0xee, 0x31]);

    for (input, status) in [
        (AssertVirtualInterruptInput { requested_vector: 31, ..interrupt }, HvStatus::INVALID_PARAMETER),
        (AssertVirtualInterruptInput { requested_vector: 256, ..interrupt }, HvStatus::INVALID_PARAMETER),
        (AssertVirtualInterruptInput { destination_address: 1, ..interrupt }, HvStatus::INVALID_VP_INDEX),
        (AssertVirtualInterruptInput { destination_address: 1 << 32, ..interrupt }, HvStatus::INVALID_VP_INDEX),
        (AssertVirtualInterruptInput { target_vtl: 1, ..interrupt }, HvStatus::INVALID_PARAMETER),
        (AssertVirtualInterruptInput { reserved1: 1, ..interrupt }, HvStatus::INVALID_PARAMETER),
        (
            AssertVirtualInterruptInput { interrupt_control: InterruptControl(4), ..interrupt },
            HvStatus::INVALID_PARAMETER,
        ),
    ] {
        assert_eq!(root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &input), Err(status), "{input:?}");
    }
}

#[test]
fn a_halt_with_interrupts_off_stays() {
    let mut root = Root::new();
    let child = root.runnable();
    let interrupt = AssertVirtualInterruptInput {
        target_partition: child.id,
        requested_vector: 0x31,
        ..AssertVirtualInterruptInput::default()
    };
    root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &interrupt).unwrap();
    root.plays(&child, |_, _| VpExit::Halt);
    let blocked = Ok((DispatchState::BLOCKED, DispatchEvent::INVALID));
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), blocked);
    // An exception that the root injects wakes it.
    let pending = tlfs::register::HvX64PendingInterruptionRegister::exception(13, Some(4));
    root.set(child.id, VpIndex(0), HvRegisterName::PENDING_INTERRUPTION, pending.0).unwrap();
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [Fault { vector: 13, error_code: Some(4) }]);
}

#[test]
fn what_is_nobodys_is_a_fault() {
    let mut root = Root::new();
    let child = root.runnable();
    root.plays(&child, |_, _| VpExit::Forbidden);
    root.plays(&child, |_, _| VpExit::Exception { vector: 1, error_code: None, parameter: 0 });
    root.plays(&child, |_, _| VpExit::InvalidState);
    let (header, _) = root.intercepted::<HvX64BareInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::INVALID_VP_REGISTER_VALUE);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [Fault::UD, Fault { vector: 1, error_code: None }]);
    root.plays(&child, |_, _| VpExit::Unknown(0x1234));
    let (header, _) = root.intercepted::<HvX64BareInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::UNSUPPORTED_FEATURE);
    assert!(root.hv.platform().lines.iter().any(|line| line.contains("0x1234")));
}

#[test]
fn a_fault_that_the_hypervisor_raises_is_the_parents_if_it_asked() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::EXCEPTION, Mask::EXECUTE, 6).unwrap();
    root.intercept(child.id, HvInterceptType::EXCEPTION, Mask::EXECUTE, 13).unwrap();
    let exits: [(VpExit, u16, bool); 3] = [
        // No OS id: the hypercall is #UD.
        (VpExit::Hypercall, 6, false),
        (VpExit::Forbidden, 6, false),
        (VpExit::MsrRead, 13, true),
    ];
    for (exit, vector, has_error_code) in exits {
        root.plays(&child, move |vp, _| {
            vp.core.gprs[RCX] = 0xdead_beef;
            exit
        });
        let (header, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
        assert_eq!(header.message_type, HvMessageType::X64_EXCEPTION_INTERCEPT, "{exit:?}");
        assert_eq!(message.exception_vector, vector, "{exit:?}");
        assert_eq!(message.exception_info.error_code_valid(), has_error_code, "{exit:?}");
        assert_eq!((message.header.rip, message.error_code), (0x8000, 0), "{exit:?}");
    }
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [], "nothing reached the child itself");
}

#[test]
fn a_child_whose_exception_stack_is_an_overlay_comes_to_an_end() {
    let mut root = Root::new();
    let child = root.runnable();
    root.set(child.id, VpIndex(0), HvRegisterName::GUEST_OS_ID, 1).unwrap();
    root.set(child.id, VpIndex(0), HvRegisterName::X64_HYPERCALL, 0x5001).unwrap();
    let double_fault = Fault { vector: 8, error_code: Some(0) };
    for interrupted in [Some(Fault::UD), Some(Fault::GP), Some(double_fault)] {
        root.plays(&child, move |vp, _| {
            vp.pending = interrupted;
            VpExit::Memory { gpa: Gpa(0x5ff8), gva: None, access: Access::Write, during_walk: false, present: true }
        });
    }
    let (header, _) = root.intercepted::<HvX64BareInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::UNRECOVERABLE_EXCEPTION);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [Fault::GP, double_fault]);
    // Set up anew, it is rid of all of them.
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [Fault::GP, double_fault]);
}

#[test]
fn a_vector_asserted_again_after_it_was_taken_comes_again() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::X64_IO_PORT, Mask::WRITE, 0x99).unwrap();
    let interrupt = AssertVirtualInterruptInput {
        target_partition: child.id,
        requested_vector: 0x31,
        ..AssertVirtualInterruptInput::default()
    };
    root.hv.engine().core_mut(child.slot).rflags = 0x202;
    root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &interrupt).unwrap();
    // Twice before it is taken is once.
    root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &interrupt).unwrap();
    // Its handler writes to a port, and the parent asserts it again before it lets the child go on.
    root.plays(&child, |vp, _| {
        assert_eq!(vp.taken, [0x31]);
        VpExit::IoPort { port: 0x99, size: 1, write: true, string: false, rep: false, next_rip: vp.core.rip + 2 }
    });
    let _ = root.intercepted::<HvX64IoPortInterceptMessage>(&child);
    root.act(CallCode::ASSERT_VIRTUAL_INTERRUPT, &interrupt).unwrap();
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).taken, [0x31, 0x31]);
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).taken, [0x31, 0x31]);
}

#[test]
fn a_pending_exception_can_be_called_back() {
    let mut root = Root::new();
    let child = root.runnable();
    let pending = tlfs::register::HvX64PendingInterruptionRegister::exception(13, Some(4));
    root.set(child.id, VpIndex(0), HvRegisterName::PENDING_INTERRUPTION, pending.0).unwrap();
    root.set(child.id, VpIndex(0), HvRegisterName::PENDING_INTERRUPTION, 0).unwrap();
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, []);
    // A triple fault takes what was being delivered with it.
    root.plays(&child, |vp, _| {
        vp.pending = Some(Fault::GP);
        VpExit::Shutdown
    });
    let (header, _) = root.intercepted::<HvX64BareInterceptMessage>(&child);
    assert_eq!(header.message_type, HvMessageType::UNRECOVERABLE_EXCEPTION);
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, []);
}

#[test]
fn instruction_bytes_follow_a_changed_page_table() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::EXCEPTION, Mask::EXECUTE, 6).unwrap();
    let ud = |_: &mut engine::fake::FakeVp, _: &mut engine::fake::VecMemory| VpExit::Exception {
        vector: 6,
        error_code: None,
        parameter: 0,
    };
    let base = CHILD_MEMORY * PAGE_SIZE;
    root.write(base + 0x8000, &[1; 16]);
    root.write(base + 0x9000, &[2; 16]);
    for expected in [1, 1] {
        root.plays(&child, ud);
        let (_, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
        assert_eq!(message.instruction_bytes, [expected; 16]);
    }
    // The large page becomes a table in which 0x8000 leads to 0x9000.
    root.write(base + 0x3000, &0x4007_u64.to_le_bytes());
    root.write(base + 0x4000 + 8 * 8, &0x9007_u64.to_le_bytes());
    root.plays(&child, ud);
    let (_, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
    assert_eq!(message.instruction_bytes, [2; 16]);
    // The page behind it is replaced in the nested map.
    let other = CHILD_MEMORY + 30;
    root.write(other * PAGE_SIZE, &[3; 16]);
    assert_eq!(root.map(child.id, 9, MapGpaFlags::READABLE, &[other]), (1, HvStatus::SUCCESS));
    root.plays(&child, ud);
    let (_, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
    assert_eq!(message.instruction_bytes, [3; 16]);
    // At the end of what is mapped there are fewer.
    root.hv.engine().core_mut(child.slot).rip = 0x8ffa;
    root.plays(&child, ud);
    let (_, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
    assert_eq!(message.instruction_byte_count, 6);
}

#[test]
fn instruction_bytes_follow_a_changed_paging_mode() {
    let mut root = Root::new();
    let child = root.runnable();
    root.intercept(child.id, HvInterceptType::EXCEPTION, Mask::EXECUTE, 6).unwrap();
    let base = CHILD_MEMORY * PAGE_SIZE;
    root.write(base + 0x8000, &[1; 16]);
    root.write(base + 0x9000, &[2; 16]);
    // The large page becomes a table in which 0x8000 leads to 0x9000.
    root.write(base + 0x3000, &0x4007_u64.to_le_bytes());
    root.write(base + 0x4000 + 8 * 8, &0x9007_u64.to_le_bytes());
    // Paging on, off and on again, with the same CR3 and the same tables.
    for (cr0, expected) in [(0x8005_0033, 2), (0x0005_0033, 1), (0x8005_0033, 2)] {
        root.plays(&child, move |vp, _| {
            (vp.control.cr0, vp.control.efer) = (cr0, if expected == 2 { 0xd00 } else { 0x900 });
            VpExit::Exception { vector: 6, error_code: None, parameter: 0 }
        });
        let (_, message) = root.intercepted::<HvX64ExceptionInterceptMessage>(&child);
        assert_eq!(message.instruction_bytes, [expected; 16], "CR0 {cr0:#x}");
    }
}

#[test]
fn a_child_has_no_hypercalls_but_its_faults_and_denials() {
    let mut root = Root::new();
    let child = root.runnable();
    // Without an OS id: #UD.
    root.plays(&child, |_, _| VpExit::Hypercall);
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [Fault::UD]);
    // From ring 3: #UD.
    root.set(child.id, VpIndex(0), HvRegisterName::GUEST_OS_ID, 1).unwrap();
    root.plays(&child, |vp, _| {
        vp.control.cpl = 3;
        VpExit::Hypercall
    });
    root.plays(&child, |vp, _| {
        vp.control.cpl = 0;
        VpExit::Interrupt
    });
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [Fault::UD, Fault::UD]);
    // Every call that is served: denied, whatever its input.
    for code in SERVED {
        let code = *code;
        root.plays(&child, move |vp, _| {
            vp.core.gprs[RCX] = u64::from(code.0);
            vp.core.gprs[RDX] = 0xffff_ffff_ffff_f001;
            VpExit::Hypercall
        });
        root.plays(&child, move |vp, _| {
            assert_eq!(vp.core.gprs[RAX], u64::from(HvStatus::ACCESS_DENIED.0), "{code}");
            VpExit::Interrupt
        });
        root.runs_on(&child);
    }
}

#[test]
fn segments_of_the_page_win_over_those_set_by_name() {
    let mut root = Root::new();
    let child = root.runnable();
    root.runs_on(&child);
    let mut page = root.register_page(&child);
    // By name to another value, and back by the page: as the page shows it, though it was not changed there.
    let named = tlfs::register::HvRegisterValue::from_segment(tlfs::register::HvX64SegmentRegister {
        selector: 0x77,
        ..page.segments[4]
    });
    let header = VpRegistersHeader { partition_id: child.id, ..VpRegistersHeader::default() };
    let element = SetVpRegistersElement { name: HvRegisterName::X64_FS, reserved: [0; 3], value: named };
    assert_eq!(root.reps(CallCode::SET_VP_REGISTERS, &header, &[element], 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.engine().vp(child.slot).segments[4].selector, 0x77);
    page.dirty = RegisterPageDirty::SEGMENT;
    root.write(child.registers, page.as_bytes());
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).segments[4].selector, page.segments[4].selector);
}
