//! The life of partitions and their VPs, properties, privileges, and who may name whom.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

mod common;

use common::{FREE, Root, VP_FRAMES};
use engine::fake::FakeEngine;
use engine::{Engine, RAX, RCX, VpExit, VpSlot};
use partition::frames::FrameState;
use tlfs::addr::{PAGE_SIZE, PartitionId, Spa, VpIndex};
use tlfs::calls::*;
use tlfs::hypercall::CallCode;
use tlfs::intercept::{HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::partition::{HvPartitionPropertyCode as Code, PartitionCreationFlags, PrivilegeMask};
use tlfs::register::HvRegisterName;
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType;

#[test]
fn the_root_knows_itself() {
    let mut root = Root::new();
    let id: GetPartitionIdOutput = root.call(CallCode::GET_PARTITION_ID, &()).unwrap();
    assert_ne!(id.partition_id, PartitionId::INVALID);
    let [eax, ebx, _, edx] = root.cpuid(0x4000_0003);
    let privileges = PrivilegeMask::from_bits_retain(u64::from(ebx) << 32 | u64::from(eax));
    let needed = PrivilegeMask::CREATE_PARTITIONS | PrivilegeMask::CPU_MANAGEMENT | PrivilegeMask::ACCESS_MEMORY_POOL;
    assert!(privileges.contains(needed));
    assert_eq!(edx & (1 << 4 | 1 << 15), 1 << 4, "XMM input, no XMM output");
    for (partition_id, expected) in [
        (PartitionId::SELF, Ok(privileges.bits())),
        (id.partition_id, Ok(privileges.bits())),
        (PartitionId::INVALID, Err(HvStatus::INVALID_PARTITION_ID)),
        (PartitionId(id.partition_id.0 + 1), Err(HvStatus::INVALID_PARTITION_ID)),
    ] {
        let input = GetPartitionPropertyInput { partition_id, property_code: Code::PRIVILEGE_FLAGS, padding: 0 };
        let output: Result<GetPartitionPropertyOutput, _> = root.call(CallCode::GET_PARTITION_PROPERTY, &input);
        assert_eq!(output.map(|output| output.property_value), expected);
    }
    // It cannot finish itself off.
    for code in [CallCode::INITIALIZE_PARTITION, CallCode::FINALIZE_PARTITION, CallCode::DELETE_PARTITION] {
        for id in [PartitionId::SELF, id.partition_id] {
            assert_eq!(root.on(code, id), Err(HvStatus::INVALID_PARTITION_ID), "{code}");
        }
    }
}

#[test]
fn states_follow_each_other() {
    let mut root = Root::new();
    let id = root.create();
    let state = Err(HvStatus::INVALID_PARTITION_STATE);
    // Created: no memory, no VP, nothing to finalize.
    assert_eq!(root.on(CallCode::FINALIZE_PARTITION, id), state);
    assert_eq!(root.create_vp(id, 0), state);
    assert_eq!(root.map(id, 0, MapGpaFlags::READABLE, &[FREE]), (0, HvStatus::INVALID_PARTITION_STATE));
    assert_eq!(root.on(CallCode::INITIALIZE_PARTITION, id), Err(HvStatus::INSUFFICIENT_MEMORY));
    root.deposit(id, FREE..FREE + 1);
    assert_eq!(root.on(CallCode::INITIALIZE_PARTITION, id), Ok(()));
    // Active.
    assert_eq!(root.on(CallCode::INITIALIZE_PARTITION, id), state);
    assert_eq!(root.on(CallCode::DELETE_PARTITION, id), state);
    assert_eq!(root.balance(id), (0, 1));
    assert_eq!(root.on(CallCode::FINALIZE_PARTITION, id), Ok(()));
    // Finalized: everything is free, and may only be withdrawn.
    assert_eq!(root.balance(id), (1, 0));
    assert_eq!(root.on(CallCode::FINALIZE_PARTITION, id), state);
    assert_eq!(root.on(CallCode::INITIALIZE_PARTITION, id), state);
    assert_eq!(root.create_vp(id, 0), state);
    assert_eq!(root.deposit(id, FREE + 1..FREE + 2), (0, HvStatus::INVALID_PARTITION_STATE));
    assert_eq!(root.withdraw(id, 5), (vec![FREE], HvStatus::NO_RESOURCES));
    assert_eq!(root.on(CallCode::DELETE_PARTITION, id), Ok(()));
    for code in [CallCode::INITIALIZE_PARTITION, CallCode::FINALIZE_PARTITION, CallCode::DELETE_PARTITION] {
        assert_eq!(root.on(code, id), Err(HvStatus::INVALID_PARTITION_ID));
    }
}

#[test]
fn identifiers_are_never_used_again() {
    let mut root = Root::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let id = root.create();
        assert!(seen.insert(id), "{id:?} came back");
        root.on(CallCode::DELETE_PARTITION, id).unwrap();
        for old in &seen {
            assert_eq!(root.on(CallCode::DELETE_PARTITION, *old), Err(HvStatus::INVALID_PARTITION_ID));
        }
    }
}

#[test]
fn there_is_an_end_of_partitions_and_of_vps() {
    let mut root = Root::new();
    // Eight entries, one of them the root's.
    let ids: Vec<_> = (0..7).map(|_| root.create()).collect();
    let full = root.call::<_, CreatePartitionOutput>(CallCode::CREATE_PARTITION, &CreatePartitionInput::default());
    assert_eq!(full, Err(HvStatus::NO_RESOURCES));
    root.deposit(ids[0], FREE..FREE + 64);
    root.on(CallCode::INITIALIZE_PARTITION, ids[0]).unwrap();
    (0..7).for_each(|index| root.create_vp(ids[0], index).unwrap());
    let balance = root.balance(ids[0]);
    assert_eq!(root.create_vp(ids[0], 7), Err(HvStatus::NO_RESOURCES));
    assert_eq!(root.balance(ids[0]), balance);
    // What is given back, in whatever order, is there again, and no more than that.
    for index in [3, 0, 6] {
        let input = DeleteVpInput { partition_id: ids[0], vp_index: VpIndex(index), ..DeleteVpInput::default() };
        root.act(CallCode::DELETE_VP, &input).unwrap();
    }
    (7..10).for_each(|index| root.create_vp(ids[0], index).unwrap());
    assert_eq!(root.create_vp(ids[0], 10), Err(HvStatus::NO_RESOURCES));
    for id in [ids[5], ids[1]] {
        root.on(CallCode::DELETE_PARTITION, id).unwrap();
    }
    (0..2).for_each(|_| assert!(!ids.contains(&root.create())));
    let full = root.call::<_, CreatePartitionOutput>(CallCode::CREATE_PARTITION, &CreatePartitionInput::default());
    assert_eq!(full, Err(HvStatus::NO_RESOURCES));
}

#[test]
fn creation_refuses_what_it_does_not_have() {
    let mut root = Root::new();
    let input = CreatePartitionInput::default();
    let cases = [
        (CreatePartitionInput { flags: PartitionCreationFlags::LAPIC_ENABLED, ..input }, HvStatus::INVALID_PARAMETER),
        (
            CreatePartitionInput { flags: PartitionCreationFlags::from_bits_retain(1 << 63), ..input },
            HvStatus::INVALID_PARAMETER,
        ),
        (CreatePartitionInput { padding: 1, ..input }, HvStatus::INVALID_PARAMETER),
        (CreatePartitionInput { reserved: 1, ..input }, HvStatus::INVALID_PARAMETER),
        (CreatePartitionInput { proximity_domain_info: 1 << 63 | 1, ..input }, HvStatus::INVALID_PROXIMITY_DOMAIN_INFO),
    ];
    for (input, status) in cases {
        assert_eq!(root.call::<_, CreatePartitionOutput>(CallCode::CREATE_PARTITION, &input), Err(status));
    }
    let flags = PartitionCreationFlags::EXO_PARTITION | PartitionCreationFlags::INTERCEPT_MESSAGE_PAGE_ENABLED;
    let good = CreatePartitionInput { flags, proximity_domain_info: 1 << 63, ..input };
    root.call::<_, CreatePartitionOutput>(CallCode::CREATE_PARTITION, &good).unwrap();
}

#[test]
fn vps_are_paid_for_and_come_back() {
    let mut root = Root::new();
    let id = root.create();
    root.deposit(id, FREE..FREE + 1 + VP_FRAMES as u64);
    root.on(CallCode::INITIALIZE_PARTITION, id).unwrap();
    root.create_vp(id, 5).unwrap();
    assert_eq!(root.balance(id), (0, 1 + VP_FRAMES as u64));
    for frame in root.hv.engine().vp(VpSlot(1)).frames.clone() {
        assert!(matches!(root.hv.frame(frame), FrameState::Used { .. }));
        assert!(root.hv.engine().ram().page(frame).unwrap().iter().all(|byte| *byte == 0), "cleared");
    }
    assert_eq!(root.create_vp(id, 5), Err(HvStatus::INVALID_VP_INDEX));
    assert_eq!(root.create_vp(id, 64), Err(HvStatus::INVALID_VP_INDEX));
    assert_eq!(root.create_vp(id, u32::MAX), Err(HvStatus::INVALID_VP_INDEX));
    // Short of memory, nothing is kept back.
    root.deposit(id, FREE + 10..FREE + 12);
    assert_eq!(root.create_vp(id, 6), Err(HvStatus::INSUFFICIENT_MEMORY));
    assert_eq!(root.balance(id), (2, 1 + VP_FRAMES as u64));
    let mut delete = DeleteVpInput { partition_id: id, vp_index: VpIndex(6), reserved: 0 };
    assert_eq!(root.act(CallCode::DELETE_VP, &delete), Err(HvStatus::INVALID_VP_INDEX));
    delete.vp_index = VpIndex(5);
    delete.reserved = 1;
    assert_eq!(root.act(CallCode::DELETE_VP, &delete), Err(HvStatus::INVALID_PARAMETER));
    delete.reserved = 0;
    root.act(CallCode::DELETE_VP, &delete).unwrap();
    assert!(!root.hv.engine().has_vp(VpSlot(1)));
    assert_eq!(root.balance(id), (2 + VP_FRAMES as u64, 1));
    for (field, input) in [
        ("reserved", CreateVpInput { reserved: [0, 1, 0], ..CreateVpInput::default() }),
        ("subnode", CreateVpInput { subnode_type: 1, ..CreateVpInput::default() }),
        ("subnode", CreateVpInput { subnode_id: 1, ..CreateVpInput::default() }),
        ("flags", CreateVpInput { flags: 1, ..CreateVpInput::default() }),
    ] {
        let input = CreateVpInput { partition_id: id, ..input };
        assert_eq!(root.act(CallCode::CREATE_VP, &input), Err(HvStatus::INVALID_PARAMETER), "{field}");
    }
}

#[test]
fn finalizing_takes_everything_down_however_much_is_left() {
    let mut root = Root::new();
    let frames = root.frames();
    let child = root.runnable();
    root.create_vp(child.id, 1).unwrap();
    root.set(child.id, VpIndex(0), HvRegisterName::GUEST_OS_ID, 1).unwrap();
    root.set(child.id, VpIndex(0), HvRegisterName::X64_HYPERCALL, 0x7001).unwrap();
    root.set(child.id, VpIndex(0), HvRegisterName::REFERENCE_TSC, 0x8001).unwrap();
    let many: Vec<u64> = (0..500).map(|index| 2000 + index).collect();
    root.map(child.id, 0x1000, MapGpaFlags::READABLE, &many);
    assert_eq!(root.hv.frame(Spa::from_page_number(2000)), FrameState::Root { mapped: 1 });
    // A machine so slow that each look at the clock takes 20 µs: it goes on over several executions.
    root.hv.platform().tick.set(50_000);
    root.on(CallCode::FINALIZE_PARTITION, child.id).unwrap();
    assert!(root.resumed >= 1, "{}", root.resumed);
    assert_eq!(root.balance(child.id), (64, 0));
    assert_eq!(root.hv.frame(Spa::from_page_number(2000)), FrameState::Root { mapped: 0 });
    root.on(CallCode::DELETE_PARTITION, child.id).unwrap();
    assert!(root.resumed > 1, "{}", root.resumed);
    let others = |frames: &[FrameState]| frames[..common::POOL.start as usize].to_vec();
    assert!(others(&root.frames()) == others(&frames));
    let free = root.hv.engine().ram().page(Spa::from_page_number(FREE)).unwrap().to_vec();
    assert!(free.iter().all(|byte| *byte == 0), "deposits come back cleared");
}

#[test]
fn while_it_is_finalized_nothing_else_can_be_done() {
    let mut root = Root::new();
    let child = root.runnable();
    root.hv.platform().tick.set(1_000_000);
    let vp = root.vp();
    let rip = root.hv.engine().core(vp).rip;
    root.write(common::INPUT, &child.id.0.to_le_bytes());
    root.step(|vp, _| {
        vp.core.gprs[RCX] = u64::from(CallCode::FINALIZE_PARTITION.0);
        vp.core.gprs[2] = common::INPUT;
        VpExit::Hypercall
    });
    assert_eq!(root.hv.engine().core(vp).rip, rip, "it is not done yet");
    root.hv.platform().tick.set(0);
    let state = HvStatus::INVALID_PARTITION_STATE;
    assert_eq!(root.create_vp(child.id, 3), Err(state));
    assert_eq!(root.map(child.id, 0, MapGpaFlags::READABLE, &[2000]), (0, state));
    assert_eq!(root.dispatch(&child, DispatchVpFlags::empty()), Err(state));
    assert_eq!(root.on(CallCode::DELETE_PARTITION, child.id), Err(state));
    assert_eq!(root.on(CallCode::FINALIZE_PARTITION, child.id), Ok(()));
}

#[test]
fn properties() {
    let mut root = Root::new();
    let id = root.create();
    let set = |root: &mut Root, code, value| {
        let input =
            SetPartitionPropertyInput { partition_id: id, property_code: code, padding: 0, property_value: value };
        root.act(CallCode::SET_PARTITION_PROPERTY, &input)
    };
    let get = |root: &mut Root, code| {
        let input = GetPartitionPropertyInput { partition_id: id, property_code: code, padding: 0 };
        let output: Result<GetPartitionPropertyOutput, _> = root.call(CallCode::GET_PARTITION_PROPERTY, &input);
        output.map(|output| output.property_value)
    };
    assert_eq!(get(&mut root, Code::PRIVILEGE_FLAGS), Ok(0xa62));
    assert_eq!(get(&mut root, Code::SYNTHETIC_PROC_FEATURES), Ok(0b1011_1000_1011));
    let range = Err(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE);
    assert_eq!(set(&mut root, Code::PRIVILEGE_FLAGS, PrivilegeMask::CREATE_PARTITIONS.bits()), range);
    assert_eq!(set(&mut root, Code::PRIVILEGE_FLAGS, PrivilegeMask::ACCESS_RESET_REG.bits()), range);
    assert_eq!(set(&mut root, Code::SYNTHETIC_PROC_FEATURES, 1 << 4), range);
    assert_eq!(set(&mut root, Code::SYNTHETIC_PROC_FEATURES, 0b11 | 1 << 8), Ok(()));
    assert_eq!(get(&mut root, Code::PRIVILEGE_FLAGS), Ok(PrivilegeMask::ACCESS_VP_INDEX.bits()));
    assert_eq!(set(&mut root, Code::PRIVILEGE_FLAGS, 0), Ok(()));
    assert_eq!(set(&mut root, Code::UNIMPLEMENTED_MSR_ACTION, 2), range);
    assert_eq!(set(&mut root, Code::UNIMPLEMENTED_MSR_ACTION, 1), Ok(()));
    assert_eq!(set(&mut root, Code(0x7777), 0), Err(HvStatus::UNKNOWN_PROPERTY));
    assert_eq!(get(&mut root, Code(0x7777)), Err(HvStatus::UNKNOWN_PROPERTY));
    assert_eq!(get(&mut root, Code::PROCESSOR_CLOCK_FREQUENCY), Ok(2_500_000_000));
    assert_eq!(get(&mut root, Code::PROCESSOR_VENDOR), Ok(0));
    root.hv.platform().now.set(1_000_000_000 + 2_500_000_000);
    assert!(get(&mut root, Code::REFERENCE_TIME).unwrap().abs_diff(10_000_000) <= 1);
    root.deposit(id, FREE..FREE + 20);
    root.on(CallCode::INITIALIZE_PARTITION, id).unwrap();
    assert_eq!(set(&mut root, Code::PRIVILEGE_FLAGS, 0), Err(HvStatus::INVALID_PARTITION_STATE));

    // The privileges hold: no VP index; unknown MSRs are ignored, synthetic ones without privilege are not.
    root.create_vp(id, 0).unwrap();
    root.state_page(id, HvVpStatePageType::INTERCEPT_MESSAGE).unwrap();
    for (msr, faults) in [(0x4000_0002_u64, true), (0x4000_0020, true), (0x1234_5678, false)] {
        root.hv.engine().script(VpSlot(1), move |vp, _| {
            vp.core.gprs[RCX] = msr;
            vp.core.gprs[RAX] = 1;
            VpExit::MsrRead
        });
        let input = DispatchVpInput { partition_id: id, ..DispatchVpInput::default() };
        root.act(CallCode::DISPATCH_VP, &input).unwrap();
        let vp = root.hv.engine().vp_mut(VpSlot(1));
        assert_eq!(!vp.delivered.is_empty(), faults, "{msr:#x}");
        vp.delivered.clear();
        assert_eq!(vp.core.gprs[RAX], u64::from(faults));
    }
}

#[test]
fn disabled_features_are_not_in_cpuid() {
    let mut root = Root::new();
    // SSE3 (bit 0) and SMEP (bit 23) are to be gone, SMAP stays.
    let mut input = CreatePartitionInput::default();
    input.properties.disabled_processor_features[0] = 1 | 1 << 23;
    let output: CreatePartitionOutput = root.call(CallCode::CREATE_PARTITION, &input).unwrap();
    let id = output.partition_id;
    root.deposit(id, FREE..FREE + 20);
    root.on(CallCode::INITIALIZE_PARTITION, id).unwrap();
    root.create_vp(id, 0).unwrap();
    root.state_page(id, HvVpStatePageType::INTERCEPT_MESSAGE).unwrap();
    for (leaf, register, gone, there) in [(1, RCX, 1 << 0, 1 << 9), (7, 3, 1 << 7, 1 << 20)] {
        root.hv.engine().script(VpSlot(1), move |vp, _| {
            (vp.core.gprs[RAX], vp.core.gprs[RCX]) = (leaf, 0);
            VpExit::Cpuid
        });
        root.act(CallCode::DISPATCH_VP, &DispatchVpInput { partition_id: id, ..DispatchVpInput::default() }).unwrap();
        let value = root.hv.engine().core(VpSlot(1)).gprs[register];
        assert_eq!((value & gone, value & there), (0, there), "leaf {leaf}");
    }
}

#[test]
fn partitions_are_named_by_their_parent_alone() {
    let mut root = Root::new();
    let child = root.runnable();
    let other = root.create();
    let wrong =
        [PartitionId::INVALID, PartitionId(child.id.0 ^ 1 << 16), PartitionId(0xffff), PartitionId(u64::MAX - 1)];
    for id in wrong {
        let status = HvStatus::INVALID_PARTITION_ID;
        assert_eq!(root.on(CallCode::INITIALIZE_PARTITION, id), Err(status));
        assert_eq!(root.deposit(id, 2000..2001), (0, status));
        assert_eq!(root.withdraw(id, 1), (vec![], status));
        assert_eq!(root.map(id, 0, MapGpaFlags::READABLE, &[2000]), (0, status));
        assert_eq!(root.unmap(id, 0, 1), (0, status));
        assert_eq!(root.create_vp(id, 0), Err(status));
        assert_eq!(root.get(id, VpIndex(0), HvRegisterName::X64_RAX), Err(status));
        assert_eq!(root.set(id, VpIndex(0), HvRegisterName::X64_RAX, 0), Err(status));
        assert_eq!(root.state_page(id, HvVpStatePageType::REGISTERS), Err(status));
        assert_eq!(root.intercept(id, HvInterceptType::EXCEPTION, Mask::EXECUTE, 6), Err(status));
    }
    assert_eq!(root.create_vp(other, 0), Err(HvStatus::INVALID_PARTITION_STATE));
    // Not even the root can map into, or withdraw from, itself.
    assert_eq!(root.map(PartitionId::SELF, 0, MapGpaFlags::READABLE, &[2000]), (0, HvStatus::INVALID_PARTITION_ID));
    assert_eq!(root.withdraw(PartitionId::SELF, 1), (vec![], HvStatus::INVALID_PARTITION_ID));
}

#[test]
fn intercepts_are_installed_changed_and_removed() {
    let mut root = Root::new();
    let child = root.runnable();
    let invalid = Err(HvStatus::INVALID_PARAMETER);
    for (kind, mask, parameter, expected) in [
        (HvInterceptType::EXCEPTION, Mask::EXECUTE, 13, Ok(())),
        (HvInterceptType::EXCEPTION, Mask::READ, 13, invalid),
        (HvInterceptType::EXCEPTION, Mask::EXECUTE, 32, invalid),
        (HvInterceptType::EXCEPTION, Mask::EXECUTE, 2, invalid),
        (HvInterceptType::EXCEPTION, Mask::EXECUTE, 18, invalid),
        (HvInterceptType::EXCEPTION, Mask::EXECUTE, 1 << 40, invalid),
        (HvInterceptType::X64_CPUID, Mask::WRITE, 0, invalid),
        (HvInterceptType::X64_MSR, Mask::EXECUTE, 0, invalid),
        (HvInterceptType::X64_MSR, Mask::READ | Mask::WRITE, 0xc000_0080, Ok(())),
        // One that the processor switches by itself, and one that the hypervisor answers.
        (HvInterceptType::X64_MSR, Mask::WRITE, u64::from(FakeEngine::SWITCHED_MSR), invalid),
        (HvInterceptType::X64_MSR, Mask::READ, 0x4000_0020, invalid),
        (HvInterceptType::X64_IO_PORT, Mask::READ, 0xffff, Ok(())),
        (HvInterceptType::X64_IO_PORT, Mask::READ, 0x1_0000, invalid),
        (HvInterceptType::X64_IO_PORT_RANGE, Mask::READ, 0x0020_0010, Ok(())),
        (HvInterceptType::X64_IO_PORT_RANGE, Mask::READ, 0x0010_0020, invalid),
        (HvInterceptType::HYPERCALL, Mask::EXECUTE, 0, invalid),
        (HvInterceptType(0x1234), Mask::READ, 0, invalid),
        (HvInterceptType::X64_MSR, Mask::from_bits_retain(8), 0, invalid),
    ] {
        assert_eq!(root.intercept(child.id, kind, mask, parameter), expected, "{kind} {mask:?} {parameter:#x}");
    }
    assert_eq!(root.hv.engine().vp(child.slot).exceptions, 1 << 13);
    // A VP that comes later has it too.
    root.create_vp(child.id, 1).unwrap();
    assert_eq!(root.hv.engine().vp(VpSlot(2)).exceptions, 1 << 13);
    root.intercept(child.id, HvInterceptType::EXCEPTION, Mask::empty(), 13).unwrap();
    assert_eq!(root.hv.engine().vp(VpSlot(2)).exceptions, 0);
    // Lists end, and removing makes room.
    for leaf in 0..16 {
        root.intercept(child.id, HvInterceptType::X64_CPUID, Mask::EXECUTE, leaf).unwrap();
    }
    let install = |root: &mut Root, mask, leaf| root.intercept(child.id, HvInterceptType::X64_CPUID, mask, leaf);
    assert_eq!(install(&mut root, Mask::EXECUTE, 16), Err(HvStatus::NO_RESOURCES));
    assert_eq!(install(&mut root, Mask::empty(), 99), Ok(()));
    assert_eq!(install(&mut root, Mask::empty(), 7), Ok(()));
    assert_eq!(install(&mut root, Mask::EXECUTE, 16), Ok(()));
    for (leaf, wanted) in [(0, true), (6, true), (7, false), (8, true), (15, true), (16, true)] {
        root.plays(&child, move |vp, _| {
            vp.core.gprs[RAX] = leaf;
            VpExit::Cpuid
        });
        let ended = root.dispatch(&child, DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND).unwrap();
        assert_eq!(ended.1 == DispatchEvent::INTERCEPT, wanted, "leaf {leaf}");
    }
}

#[test]
fn registers_by_name() {
    let mut root = Root::new();
    let child = root.runnable();
    let (id, vp) = (child.id, VpIndex(0));
    for (name, value) in [
        (HvRegisterName::X64_R15, 15),
        (HvRegisterName::X64_RIP, 0x1234),
        (HvRegisterName::X64_CR3, 0x5000),
        (HvRegisterName::X64_LSTAR, 0xffff_8000_0000_0000),
        (HvRegisterName::EXPLICIT_SUSPEND, 1),
        (HvRegisterName::INTERNAL_ACTIVITY_STATE, 2),
        (HvRegisterName::INTERRUPT_STATE, 1),
        (HvRegisterName::GUEST_OS_ID, 0x77),
    ] {
        assert_eq!(root.set(id, vp, name, value), Ok(()), "{name}");
        assert_eq!(root.get(id, vp, name).unwrap().as_u64(), value, "{name}");
    }
    for (name, value, status) in [
        (HvRegisterName(0x7777_7777), 0, HvStatus::INVALID_PARAMETER),
        (HvRegisterName::X64_CR0, 1 << 40, HvStatus::INVALID_REGISTER_VALUE),
        (HvRegisterName::VP_INDEX, 0, HvStatus::INVALID_REGISTER_VALUE),
        (HvRegisterName::TIME_REF_COUNT, 0, HvStatus::INVALID_REGISTER_VALUE),
        (HvRegisterName::INTERNAL_ACTIVITY_STATE, 1, HvStatus::INVALID_REGISTER_VALUE),
        (HvRegisterName::PENDING_INTERRUPTION, 1 | 2 << 1, HvStatus::INVALID_REGISTER_VALUE),
        (HvRegisterName::PENDING_INTERRUPTION, 1 | 3 << 1 | 32 << 16, HvStatus::INVALID_REGISTER_VALUE),
        (HvRegisterName::PENDING_INTERRUPTION, 1 | 3 << 1 | 2 << 16, HvStatus::INVALID_REGISTER_VALUE),
    ] {
        assert_eq!(root.set(id, vp, name, value), Err(status), "{name}");
    }
    root.set(id, vp, HvRegisterName::X64_RFLAGS, u64::MAX).unwrap();
    assert_eq!(root.get(id, vp, HvRegisterName::X64_RFLAGS).unwrap().as_u64(), 0x3f_7fd7);
    assert_eq!(root.get(id, vp, HvRegisterName(0x7777_7777)), Err(HvStatus::INVALID_PARAMETER));
    assert_eq!(root.get(id, VpIndex(9), HvRegisterName::X64_RAX), Err(HvStatus::INVALID_VP_INDEX));
    assert_eq!(root.get(id, VpIndex::SELF, HvRegisterName::X64_RAX), Err(HvStatus::INVALID_VP_INDEX));
    // One's own.
    let index = root.get(PartitionId::SELF, VpIndex::SELF, HvRegisterName::VP_INDEX).unwrap();
    assert_eq!(index.as_u64(), 0);
    let privileges = root.get(PartitionId::SELF, VpIndex(0), HvRegisterName::PRIVILEGES_AND_FEATURES_INFO).unwrap();
    assert_ne!(privileges.low & PrivilegeMask::CREATE_PARTITIONS.bits(), 0);
    // A list stops at the first that fails; those before it are set, and read.
    let header = VpRegistersHeader { partition_id: id, vp_index: vp, target_vtl: 0, reserved: [0; 3] };
    let names = [HvRegisterName::X64_R15, HvRegisterName(0x7777_7777), HvRegisterName::X64_RIP];
    root.write(common::OUTPUT, &[0xee; 48]);
    assert_eq!(root.reps(CallCode::GET_VP_REGISTERS, &header, &names, 3), (1, HvStatus::INVALID_PARAMETER));
    assert_eq!(root.read::<[u64; 2]>(common::OUTPUT), [15, 0]);
    assert_eq!(root.read::<[u8; 32]>(common::OUTPUT + 16), [0xee; 32], "not written");
    let bad = VpRegistersHeader { target_vtl: 1, ..header };
    assert_eq!(root.reps(CallCode::GET_VP_REGISTERS, &bad, &names, 1), (0, HvStatus::INVALID_PARAMETER));
}

#[test]
fn state_pages_come_and_go() {
    let mut root = Root::new();
    let child = root.runnable();
    let balance = root.balance(child.id);
    let again = root.state_page(child.id, HvVpStatePageType::REGISTERS).unwrap();
    assert_eq!((again, root.balance(child.id)), (child.registers, balance));
    assert!(matches!(root.hv.frame(Spa(again)), FrameState::Used { .. }));
    // The page is the hypervisor's: it cannot be deposited or mapped into anyone.
    assert_eq!(root.deposit(child.id, again / PAGE_SIZE..again / PAGE_SIZE + 1), (0, HvStatus::INVALID_PARAMETER));
    let mapped = root.map(child.id, 0x50, MapGpaFlags::READABLE, &[again / PAGE_SIZE]);
    assert_eq!(mapped, (0, HvStatus::INVALID_PARAMETER));
    assert_eq!(root.state_page(child.id, HvVpStatePageType::GHCB), Err(HvStatus::INVALID_PARAMETER));
    let input = UnmapVpStatePageInput {
        partition_id: child.id,
        page_type: HvVpStatePageType::REGISTERS,
        ..UnmapVpStatePageInput::default()
    };
    root.act(CallCode::UNMAP_VP_STATE_PAGE, &input).unwrap();
    assert_eq!(root.balance(child.id), (balance.0 + 1, balance.1 - 1));
    assert_eq!(root.act(CallCode::UNMAP_VP_STATE_PAGE, &input), Err(HvStatus::INVALID_PARAMETER));
    // Without a register page the child runs all the same.
    root.runs_on(&child);
    let vtl = UnmapVpStatePageInput { input_vtl: 1, ..input };
    assert_eq!(root.act(CallCode::UNMAP_VP_STATE_PAGE, &vtl), Err(HvStatus::INVALID_PARAMETER));
    let placed = MapVpStatePageInput { partition_id: child.id, flags: 1, ..MapVpStatePageInput::default() };
    assert_eq!(root.act(CallCode::MAP_VP_STATE_PAGE, &placed), Err(HvStatus::INVALID_PARAMETER));
}
