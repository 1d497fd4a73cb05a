//! Deposits and address spaces: no frame has two owners, and everything comes back.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

mod common;

use common::{CHILD_MEMORY, FREE, IMAGE, POOL, RAM_PAGES, Root};
use engine::{Engine, RAX, VpExit};
use partition::frames::FrameState;
use tlfs::addr::{PAGE_SIZE, PartitionId, Spa, VpIndex};
use tlfs::calls::*;
use tlfs::hypercall::CallCode;
use tlfs::register::HvRegisterName;
use tlfs::status::HvStatus;

const RW: MapGpaFlags = MapGpaFlags::READABLE.union(MapGpaFlags::WRITABLE);

#[test]
fn only_pages_of_the_root_can_be_deposited() {
    let mut root = Root::new();
    let id = root.create();
    let refused = (0, HvStatus::INVALID_PARAMETER);
    for page in [IMAGE.start, IMAGE.end - 1, POOL.start, RAM_PAGES, 1 << 36, u64::MAX, u64::MAX >> 12] {
        assert_eq!(root.reps(CallCode::DEPOSIT_MEMORY, &id.0, &[page], 1), refused, "{page:#x}");
    }
    assert_eq!(root.deposit(id, FREE..FREE + 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.frame(Spa::from_page_number(FREE)), FrameState::Free { owner: 1 });
    // Not twice, to nobody.
    let other = root.create();
    assert_eq!(root.deposit(id, FREE..FREE + 1), refused);
    assert_eq!(root.deposit(other, FREE..FREE + 1), refused);
    // A list goes as far as it can.
    assert_eq!(root.deposit(id, FREE + 1..FREE + 3), (2, HvStatus::SUCCESS));
    assert_eq!(root.deposit(id, IMAGE.start - 2..IMAGE.start + 2), (2, HvStatus::INVALID_PARAMETER));
    assert_eq!(root.balance(id), (5, 0));
}

#[test]
fn the_page_with_the_list_itself() {
    let mut root = Root::new();
    let id = root.create();
    // The list is longer than a run, and its page is in the first one: what is done is done, and counted.
    let input = FREE + 100;
    let list: Vec<u64> = core::iter::once(input).chain(FREE..FREE + 39).collect();
    root.write(input * PAGE_SIZE, &id.0.to_le_bytes());
    for (index, page) in list.iter().enumerate() {
        root.write(input * PAGE_SIZE + 8 + index as u64 * 8, &page.to_le_bytes());
    }
    let control = tlfs::hypercall::HypercallInput::new(CallCode::DEPOSIT_MEMORY).with_reps(40, 0);
    let result = root.raw(control, input * PAGE_SIZE, 0);
    assert_eq!((result.status(), result.reps_completed()), (HvStatus::INVALID_ALIGNMENT, 16));
    assert_eq!(root.balance(id), (16, 0));
}

#[test]
fn a_mapped_page_cannot_be_deposited_nor_a_deposited_one_mapped() {
    let mut root = Root::new();
    let child = root.runnable();
    let other = root.create();
    root.deposit(other, 3000..3008);
    root.on(CallCode::INITIALIZE_PARTITION, other).unwrap();
    let page = CHILD_MEMORY + 2;
    assert_eq!(root.deposit(child.id, page..page + 1), (0, HvStatus::OBJECT_IN_USE));
    // Shared by two: the count goes up and down with each.
    assert_eq!(root.map(other, 7, MapGpaFlags::READABLE, &[page]), (1, HvStatus::SUCCESS));
    assert_eq!(root.map(other, 8, MapGpaFlags::READABLE, &[page]), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.frame(Spa::from_page_number(page)), FrameState::Root { mapped: 3 });
    // The same again changes nothing; another page in its place frees it.
    assert_eq!(root.map(other, 8, RW, &[page]), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.frame(Spa::from_page_number(page)), FrameState::Root { mapped: 3 });
    assert_eq!(root.map(other, 8, RW, &[page + 20]), (1, HvStatus::SUCCESS));
    assert_eq!(root.unmap(other, 7, 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.unmap(child.id, 2, 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.deposit(other, page..page + 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.map(child.id, 2, RW, &[page]), (0, HvStatus::INVALID_PARAMETER));
    for page in [IMAGE.start, POOL.end - 1, RAM_PAGES, 1 << 36, u64::MAX] {
        assert_eq!(root.map(child.id, 0x100, RW, &[page]), (0, HvStatus::INVALID_PARAMETER), "{page:#x}");
    }
}

#[test]
fn map_flags_and_addresses() {
    let mut root = Root::new();
    let child = root.runnable();
    let ok = (1, HvStatus::SUCCESS);
    let bad = (0, HvStatus::INVALID_PARAMETER);
    let exec = MapGpaFlags::KERNEL_EXECUTABLE | MapGpaFlags::USER_EXECUTABLE;
    for (flags, expected) in [
        (MapGpaFlags::READABLE, ok),
        (RW, ok),
        (RW | exec, ok),
        (MapGpaFlags::READABLE | exec, ok),
        (MapGpaFlags::empty(), ok),
        (MapGpaFlags::NO_ACCESS, ok),
        (MapGpaFlags::WRITABLE, bad),
        (exec, bad),
        (MapGpaFlags::READABLE | MapGpaFlags::KERNEL_EXECUTABLE, bad),
        (MapGpaFlags::READABLE | MapGpaFlags::NO_ACCESS, bad),
        (MapGpaFlags::READABLE | MapGpaFlags::NOT_CACHED, bad),
        (MapGpaFlags::READABLE | MapGpaFlags::from_bits_retain(0x20), bad),
    ] {
        assert_eq!(root.map(child.id, 0x100, flags, &[2000]), expected, "{flags:?}");
    }
    for (gpa_page, expected) in [((1 << 36) - 1, ok), (1 << 36, bad), (u64::MAX, bad), (1 << 52, bad)] {
        assert_eq!(root.map(child.id, gpa_page, RW, &[2000]), expected, "{gpa_page:#x}");
        assert_eq!(root.unmap(child.id, gpa_page, 1), expected, "{gpa_page:#x}");
    }
    // A list that runs over the end of the space.
    assert_eq!(root.map(child.id, (1 << 36) - 2, RW, &[2000, 2001, 2002]), (2, HvStatus::INVALID_PARAMETER));
    let padded = MapGpaPagesHeader { target_partition_id: child.id, padding: 1, ..MapGpaPagesHeader::default() };
    assert_eq!(root.reps(CallCode::MAP_GPA_PAGES, &padded, &[2000_u64], 1), bad);
    let flagged = UnmapGpaPagesHeader { target_partition_id: child.id, unmap_flags: 4, ..Default::default() };
    assert_eq!(root.reps::<_, u64>(CallCode::UNMAP_GPA_PAGES, &flagged, &[], 1), bad);
    // Nothing there: nothing to unmap, and that is no error.
    assert_eq!(root.unmap(child.id, 0x9999, 4), (4, HvStatus::SUCCESS));
}

#[test]
fn tables_are_paid_for_by_the_child() {
    let mut root = Root::new();
    let id = root.create();
    root.deposit(id, FREE..FREE + 2);
    root.on(CallCode::INITIALIZE_PARTITION, id).unwrap();
    // Three more tables are needed for a first page, and there is one frame.
    assert_eq!(root.map(id, 0, RW, &[2000]), (0, HvStatus::INSUFFICIENT_MEMORY));
    assert_eq!(root.hv.frame(Spa::from_page_number(2000)), FrameState::Root { mapped: 0 });
    root.deposit(id, FREE + 2..FREE + 4);
    assert_eq!(root.map(id, 0, RW, &[2000]), (1, HvStatus::SUCCESS));
    assert_eq!(root.balance(id), (0, 4));
    // The next page needs none, one 2 MiB further on does.
    let list: Vec<u64> = (2001..2003).collect();
    assert_eq!(root.map(id, 511, RW, &list), (1, HvStatus::INSUFFICIENT_MEMORY));
}

#[test]
fn large_pages() {
    let mut root = Root::new();
    let child = root.runnable();
    let large = RW | MapGpaFlags::LARGE_PAGE;
    let bad = (0, HvStatus::INVALID_PARAMETER);
    assert_eq!(root.map(child.id, 0x401, large, &[2048]), bad);
    assert_eq!(root.map(child.id, 0x400, large, &[2049]), bad);
    // A page of it is not the root's.
    assert_eq!(root.map(child.id, 0x400, large, &[3584]), bad);
    assert_eq!(root.hv.frame(Spa::from_page_number(3584)), FrameState::Root { mapped: 0 });
    assert_eq!(root.map(child.id, 0x400, large, &[2048, 2560]), (2, HvStatus::SUCCESS));
    for page in [2048, 2559, 3071] {
        assert_eq!(root.hv.frame(Spa::from_page_number(page)), FrameState::Root { mapped: 1 });
    }
    // Over smaller ones it does not go.
    assert_eq!(root.map(child.id, 0, large, &[2048]), bad);
    assert_eq!(root.hv.frame(Spa::from_page_number(2048)), FrameState::Root { mapped: 1 });
    // One small page out of the middle, and the rest stays.
    assert_eq!(root.unmap(child.id, 0x480, 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.frame(Spa::from_page_number(2048 + 0x80)), FrameState::Root { mapped: 0 });
    assert_eq!(root.hv.frame(Spa::from_page_number(2048 + 0x81)), FrameState::Root { mapped: 1 });
    let unmap =
        UnmapGpaPagesHeader { target_partition_id: child.id, target_gpa_base: 0x600, unmap_flags: 2, padding: 0 };
    assert_eq!(root.reps::<_, u64>(CallCode::UNMAP_GPA_PAGES, &unmap, &[], 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.frame(Spa::from_page_number(3071)), FrameState::Root { mapped: 0 });
    let split = UnmapGpaPagesHeader { target_gpa_base: 0x400, ..unmap };
    assert_eq!(root.reps::<_, u64>(CallCode::UNMAP_GPA_PAGES, &split, &[], 1), bad);
    root.on(CallCode::FINALIZE_PARTITION, child.id).unwrap();
    assert!((2048..3072).all(|page| root.hv.frame(Spa::from_page_number(page)) == FrameState::Root { mapped: 0 }));
}

#[test]
fn weakening_a_mapping_changes_the_generation_and_adding_does_not() {
    let mut root = Root::new();
    let child = root.runnable();
    let generation = |root: &mut Root| {
        root.runs_on(&child);
        root.hv.engine().vp(child.slot).space.unwrap().generation
    };
    let first = generation(&mut root);
    root.map(child.id, 0x100, RW, &[2000]);
    assert_eq!(generation(&mut root), first);
    root.unmap(child.id, 0x101, 1);
    assert_eq!(generation(&mut root), first);
    root.map(child.id, 0x100, MapGpaFlags::READABLE, &[2000]);
    let second = generation(&mut root);
    assert_ne!(second, first);
    root.map(child.id, 0x100, MapGpaFlags::NO_ACCESS, &[0]);
    let third = generation(&mut root);
    assert_ne!(third, second);
    root.unmap(child.id, 0x100, 1);
    assert_ne!(generation(&mut root), third);
}

#[test]
fn a_table_index_used_again_has_another_generation() {
    let mut root = Root::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let child = root.runnable();
        root.runs_on(&child);
        let space = root.hv.engine().vp(child.slot).space.unwrap();
        assert!(seen.insert((space.tag, space.generation)));
        root.on(CallCode::FINALIZE_PARTITION, child.id).unwrap();
        root.on(CallCode::DELETE_PARTITION, child.id).unwrap();
    }
}

#[test]
fn a_deposited_page_is_gone_from_the_root_and_comes_back_clear() {
    let mut root = Root::new();
    let id = root.create();
    root.write(FREE * PAGE_SIZE, &[0x55; 4096]);
    root.deposit(id, FREE..FREE + 1);
    // As a parameter it is not there any more.
    let control = tlfs::hypercall::HypercallInput::new(CallCode::GET_PARTITION_ID);
    assert_eq!(root.raw(control, 0, FREE * PAGE_SIZE).status(), HvStatus::INVALID_ALIGNMENT);
    assert_eq!(root.withdraw(id, 2), (vec![FREE], HvStatus::NO_RESOURCES));
    assert_eq!(root.raw(control, 0, FREE * PAGE_SIZE).status(), HvStatus::SUCCESS);
    let page = root.hv.engine().ram().page(Spa::from_page_number(FREE)).unwrap();
    assert!(page[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn overlays_cover_and_uncover() {
    let mut root = Root::new();
    let child = root.runnable();
    let (id, vp) = (child.id, VpIndex(0));
    let page = CHILD_MEMORY + 5;
    root.write(page * PAGE_SIZE, &[0x11; 16]);
    root.code(&child, &[0x0f, 0x0b]);
    let balance = root.balance(id);
    // No OS id: the MSR keeps the address, and stays disabled.
    root.set(id, vp, HvRegisterName::X64_HYPERCALL, 0x5001).unwrap();
    assert_eq!(root.get(id, vp, HvRegisterName::X64_HYPERCALL).unwrap().as_u64(), 0x5000);
    root.set(id, vp, HvRegisterName::GUEST_OS_ID, 1).unwrap();
    root.set(id, vp, HvRegisterName::X64_HYPERCALL, 0x5001).unwrap();
    assert_eq!(root.balance(id), (balance.0 - 1, balance.1 + 1));
    let translate = |root: &mut Root, flags| {
        let input = TranslateVirtualAddressInput {
            partition_id: id,
            vp_index: vp,
            padding: 0,
            control_flags: flags,
            gva_page: 5,
        };
        let output: TranslateVirtualAddressOutput = root.call(CallCode::TRANSLATE_VIRTUAL_ADDRESS, &input).unwrap();
        (output.result_code, output.cache_overlay, output.gpa_page)
    };
    assert_eq!(translate(&mut root, TranslateGvaFlags::VALIDATE_READ), (TranslateGvaResultCode::SUCCESS, 0x106, 5));
    let write = translate(&mut root, TranslateGvaFlags::VALIDATE_WRITE);
    assert_eq!(write.0, TranslateGvaResultCode::GPA_ILLEGAL_OVERLAY_ACCESS);
    // What is under it can be changed meanwhile.
    assert_eq!(root.hv.frame(Spa::from_page_number(page)), FrameState::Root { mapped: 1 });
    assert_eq!(root.map(id, 5, RW, &[page + 20]), (1, HvStatus::SUCCESS));
    assert_eq!(root.hv.frame(Spa::from_page_number(page)), FrameState::Root { mapped: 0 });
    assert_eq!(translate(&mut root, TranslateGvaFlags::VALIDATE_READ).1, 0x106);
    assert_eq!(root.unmap(id, 5, 1), (1, HvStatus::SUCCESS));
    assert_eq!(root.map(id, 5, MapGpaFlags::READABLE, &[page]), (1, HvStatus::SUCCESS));
    // A write to it is #GP; the other overlay cannot go to the same page.
    root.plays(&child, |_, _| VpExit::Memory {
        gpa: tlfs::addr::Gpa(0x5008),
        gva: None,
        access: engine::Access::Write,
        during_walk: false,
        present: true,
    });
    root.runs_on(&child);
    assert_eq!(root.hv.engine().vp(child.slot).delivered, [engine::Fault::GP]);
    let taken = root.set(id, vp, HvRegisterName::REFERENCE_TSC, 0x5001);
    assert_eq!(taken, Err(HvStatus::INVALID_REGISTER_VALUE));
    // Nor does one that could not be moved stay where it was, or say so.
    root.set(id, vp, HvRegisterName::REFERENCE_TSC, 0x6001).unwrap();
    let taken = root.set(id, vp, HvRegisterName::REFERENCE_TSC, 0x5001);
    assert_eq!(taken, Err(HvStatus::INVALID_REGISTER_VALUE));
    assert_eq!(root.get(id, vp, HvRegisterName::REFERENCE_TSC).unwrap().as_u64(), 0x6000);
    assert_eq!(root.balance(id), (balance.0 - 1, balance.1 + 1));
    // Moved, and gone with the OS id.
    root.set(id, vp, HvRegisterName::X64_HYPERCALL, 0x6001).unwrap();
    assert_eq!(translate(&mut root, TranslateGvaFlags::VALIDATE_READ).1, 6);
    root.set(id, vp, HvRegisterName::GUEST_OS_ID, 0).unwrap();
    assert_eq!(root.get(id, vp, HvRegisterName::X64_HYPERCALL).unwrap().as_u64(), 0x6000);
    assert_eq!(root.balance(id), balance);
    // Beyond the address space.
    let far = root.set(id, vp, HvRegisterName::X64_HYPERCALL, 1 << 52);
    assert_eq!(far, Err(HvStatus::INVALID_REGISTER_VALUE));
    // Locked: it stays.
    root.set(id, vp, HvRegisterName::GUEST_OS_ID, 1).unwrap();
    root.set(id, vp, HvRegisterName::X64_HYPERCALL, 0x7003).unwrap();
    assert_eq!(root.set(id, vp, HvRegisterName::X64_HYPERCALL, 0), Err(HvStatus::INVALID_REGISTER_VALUE));
}

#[test]
fn translation_speaks_of_every_obstacle() {
    let mut root = Root::new();
    let child = root.runnable();
    let base = CHILD_MEMORY * PAGE_SIZE;
    // 2 MiB on: a table of small pages in the child's page 4.
    root.write(base + 0x3000 + 8, &0x4007_u64.to_le_bytes());
    for (index, entry) in [
        (0_u64, 0x6007_u64),
        (1, 0x7005),
        (2, 0x8003),
        (3, 0),
        (4, 0x8000_0000_0000_9007),
        (5, 0x10_0007),
        (6, 0xa007),
        (7, 0xb007),
    ] {
        root.write(base + 0x4000 + index * 8, &entry.to_le_bytes());
    }
    root.map(child.id, 0xa, MapGpaFlags::READABLE, &[CHILD_MEMORY + 10]);
    root.map(child.id, 0xb, MapGpaFlags::empty(), &[CHILD_MEMORY + 11]);
    type Flags = TranslateGvaFlags;
    type Code = TranslateGvaResultCode;
    let (read, write, execute) = (Flags::VALIDATE_READ, Flags::VALIDATE_WRITE, Flags::VALIDATE_EXECUTE);
    for (page, flags, result, gpa) in [
        (0x200, read | write | execute, Code::SUCCESS, 6),
        (0x200, read | Flags::USER_ACCESS, Code::SUCCESS, 6),
        (0x201, read, Code::SUCCESS, 7),
        (0x201, write, Code::PRIVILEGE_VIOLATION, 0),
        (0x201, write | Flags::PRIVILEGE_EXEMPT, Code::SUCCESS, 7),
        (0x202, read | Flags::USER_ACCESS, Code::PRIVILEGE_VIOLATION, 0),
        (0x202, read | Flags::SUPERVISOR_ACCESS, Code::SUCCESS, 8),
        (0x203, read, Code::PAGE_NOT_PRESENT, 0),
        (0x204, execute, Code::PRIVILEGE_VIOLATION, 0),
        (0x204, read, Code::SUCCESS, 9),
        (0x205, read, Code::GPA_UNMAPPED, 0),
        (0x206, write, Code::GPA_NO_WRITE_ACCESS, 0),
        (0x207, read, Code::GPA_NO_READ_ACCESS, 0),
        (0x200, read | Flags::ENFORCE_SMAP, Code::PRIVILEGE_VIOLATION, 0),
        (0x200, read | Flags::OVERRIDE_SMAP, Code::SUCCESS, 6),
        (0x8_0000_0000, read, Code::PAGE_NOT_PRESENT, 0),
        (0x40_0000, read, Code::PAGE_NOT_PRESENT, 0),
    ] {
        let input = TranslateVirtualAddressInput {
            partition_id: child.id,
            vp_index: VpIndex(0),
            padding: 0,
            control_flags: flags,
            gva_page: page,
        };
        let output: TranslateVirtualAddressOutput = root.call(CallCode::TRANSLATE_VIRTUAL_ADDRESS, &input).unwrap();
        assert_eq!((output.result_code, output.gpa_page), (result, gpa), "{page:#x} {flags:?}");
    }
    let input = TranslateVirtualAddressInput { partition_id: child.id, ..TranslateVirtualAddressInput::default() };
    for input in [
        TranslateVirtualAddressInput { control_flags: Flags::SET_PAGE_TABLE_BITS, ..input },
        TranslateVirtualAddressInput { control_flags: Flags::from_bits_retain(1 << 56), ..input },
        TranslateVirtualAddressInput { control_flags: Flags::USER_ACCESS | Flags::SUPERVISOR_ACCESS, ..input },
        TranslateVirtualAddressInput { control_flags: Flags::ENFORCE_SMAP | Flags::OVERRIDE_SMAP, ..input },
        TranslateVirtualAddressInput { padding: 1, ..input },
        TranslateVirtualAddressInput { gva_page: 1 << 52, ..input },
    ] {
        assert_eq!(root.act(CallCode::TRANSLATE_VIRTUAL_ADDRESS, &input), Err(HvStatus::INVALID_PARAMETER));
    }
}

#[test]
fn a_childs_hypercall_block_that_is_not_there_is_told_to_the_root() {
    let mut root = Root::new();
    let child = root.runnable();
    root.set(child.id, VpIndex(0), HvRegisterName::GUEST_OS_ID, 1).unwrap();
    // A child has no call that gets as far as its blocks; this is the nearest that it comes.
    root.plays(&child, |vp, _| {
        vp.core.gprs[1] = u64::from(CallCode::GET_PARTITION_ID.0);
        vp.core.gprs[8] = 0xdead_0000;
        VpExit::Hypercall
    });
    root.runs_on(&child);
    assert_eq!(root.hv.engine().core(child.slot).gprs[RAX], u64::from(HvStatus::ACCESS_DENIED.0));
}

/// Anything that a root can do to memory, in any order: at every step each frame has one owner, the balances are what the
/// frame table says, and when all partitions are gone everything is as it was.
#[test]
fn accounts_balance_whatever_happens() {
    for seed in 1..=12_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut root = Root::new();
        let start = root.frames();
        let mut ids: Vec<PartitionId> = Vec::new();
        for step in 0..250 {
            if ids.is_empty() || (ids.len() < 5 && random(12) == 0) {
                ids.push(root.create());
            }
            let at = usize::try_from(random(ids.len() as u64)).unwrap();
            let id = ids[at];
            let page = FREE + random(256);
            match random(12) {
                0..=2 => {
                    root.deposit(id, page..page + 1 + random(20));
                }
                3 => {
                    let _ = root.on(CallCode::INITIALIZE_PARTITION, id);
                }
                4 | 5 => {
                    let list: Vec<u64> = (0..1 + random(20)).map(|index| page + index).collect();
                    root.map(id, random(4) * 0x1f0, RW, &list);
                }
                6 => {
                    root.unmap(id, random(4) * 0x1f0, 1 + u16::try_from(random(20)).unwrap());
                }
                7 => {
                    let _ = root.create_vp(id, u32::try_from(random(3)).unwrap());
                }
                8 => {
                    root.withdraw(id, 1 + u16::try_from(random(10)).unwrap());
                }
                9 => {
                    let kind = tlfs::vp_page::HvVpStatePageType(u16::try_from(random(2)).unwrap());
                    let _ = root.state_page(id, kind);
                }
                10 => {
                    let _ = root.set(id, VpIndex(0), HvRegisterName::GUEST_OS_ID, random(2));
                    let _ = root.set(id, VpIndex(0), HvRegisterName::X64_HYPERCALL, random(8) << 12 | random(2));
                    let _ = root.set(id, VpIndex(0), HvRegisterName::REFERENCE_TSC, random(8) << 12 | random(2));
                }
                _ => {
                    if random(3) == 0 {
                        let _ = root.on(CallCode::FINALIZE_PARTITION, id);
                    }
                    if root.on(CallCode::DELETE_PARTITION, id).is_ok() {
                        ids.remove(at);
                    }
                }
            }
            check_accounts(&mut root, &ids, step);
        }
        for id in ids {
            let _ = root.on(CallCode::FINALIZE_PARTITION, id);
            root.on(CallCode::DELETE_PARTITION, id).unwrap();
        }
        // What the root's own pool is used for is the root's affair: its large mappings stay split.
        let others = |frames: &[FrameState]| frames[..POOL.start as usize].to_vec();
        assert!(others(&root.frames()) == others(&start), "seed {seed}");
    }
}

fn check_accounts(root: &mut Root, ids: &[PartitionId], step: usize) {
    let frames = root.frames();
    let root_free = frames.iter().filter(|state| matches!(state, FrameState::Free { owner: 0 })).count();
    let self_balance = root.balance(PartitionId::SELF);
    assert_eq!(self_balance.0, root_free as u64, "step {step}");
    let count = |owner: u16| {
        let free = frames.iter().filter(|state| **state == FrameState::Free { owner }).count();
        let used = frames.iter().filter(|state| **state == FrameState::Used { owner }).count();
        (free as u64, used as u64)
    };
    for id in ids {
        let owner = u16::try_from(id.0 & 0xffff).unwrap();
        assert_eq!(root.balance(*id), count(owner), "step {step} {id:?}");
    }
    // Nothing is left with partitions that are gone.
    let live: Vec<u16> = ids.iter().map(|id| u16::try_from(id.0 & 0xffff).unwrap()).chain([0]).collect();
    let owned = |state: &FrameState| match state {
        FrameState::Free { owner } | FrameState::Used { owner } => live.contains(owner),
        FrameState::Absent | FrameState::Root { .. } => true,
    };
    assert!(frames.iter().all(owned), "step {step}");
    // Private memory never changes hands.
    let image = &frames[IMAGE.start as usize..IMAGE.end as usize];
    assert!(image.iter().all(|state| *state == FrameState::Absent));
}
