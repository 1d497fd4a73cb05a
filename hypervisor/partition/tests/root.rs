//! The root partition's own exits, and making it.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

mod common;

use common::{FREE, POOL, RAM_PAGES, Root, bare_machine, range};
use engine::fake::{FakeEngine, FakePlatform, VecMemory};
use engine::{Access, Engine, Fault, PhysMem, RAX, RCX, RDX, VpExit, VpSlot};
use partition::frames::FrameEntry;
use partition::{End, Hypervisor, MachineMemory, MemoryRange, Partition, SetupError, Storage, Vp};
use tlfs::addr::{Gpa, PAGE_SIZE, Spa};
use tlfs::hypercall::{CallCode, HypercallInput};
use tlfs::status::HvStatus;
use tlfs::time::ReferenceTscPage;

#[test]
fn the_hypervisors_leaves() {
    let mut root = Root::new();
    assert_eq!(root.cpuid(0x4000_0000), [0x4000_000a, 0x7263_694d, 0x666f_736f, 0x7648_2074]);
    assert_eq!(root.cpuid(0x4000_0001)[0], 0x3123_7648);
    assert_eq!(root.cpuid(0x4000_0004), [0, u32::MAX, 40, 0]);
    assert_eq!(root.cpuid(0x4000_0005)[..2], [64, 1]);
    for leaf in [0x4000_0007, 0x4000_0008, 0x4000_0009, 0x4000_000a, 0x4000_000b, 0x4000_0100, 0x4fff_ffff] {
        assert_eq!(root.cpuid(leaf), [0; 4], "{leaf:#x}");
    }
    let [_, _, ecx, edx] = root.cpuid(1);
    assert_eq!(ecx & (1 << 31 | 1 << 26 | 1 << 3), 1 << 31, "hypervisor, no XSAVE, no MONITOR");
    assert_ne!(edx & 1 << 9, 0, "the local APIC is the root's");
    assert_eq!(root.cpuid(0x8000_0001)[2] & 1 << 2, 0, "no SVM");
    assert_eq!(root.cpuid(0x8000_000a), [0; 4]);
    assert_eq!(root.cpuid(0xd), [0; 4]);
}

#[test]
fn synthetic_msrs() {
    let mut root = Root { hv: bare_machine(), resumed: 0 };
    assert_eq!(root.read_msr(0x4000_0000), Ok(0));
    // The hypervisor has a place for the page, but enables it for no one without a name.
    let place = root.read_msr(0x4000_0001).unwrap();
    assert!(place & 0xfff == 0 && POOL.contains(&(place / PAGE_SIZE)));
    root.write_msr(0x4000_0001, place | 1).unwrap();
    assert_eq!(root.read_msr(0x4000_0001), Ok(place));
    root.write_msr(0x4000_0000, 0x8100_0000_0000_0000).unwrap();
    // The root cannot move it.
    root.write_msr(0x4000_0001, 0x7000 | 1).unwrap();
    assert_eq!(root.read_msr(0x4000_0001), Ok(place | 1));
    assert_eq!(root.hv.engine().ram().page(Spa(place)).unwrap()[..5], [0x0f, 0x01, 0xd9, 0xc3, 0]);
    assert_eq!(root.read_msr(0x4000_0002), Ok(0));
    assert_eq!(root.read_msr(0x4000_0022), Ok(FakePlatform::TSC_HZ));
    assert_eq!(root.read_msr(0x4000_0023), Ok(FakePlatform::APIC_HZ));
    let begin = root.read_msr(0x4000_0020).unwrap();
    let now = root.hv.platform().now.get();
    root.hv.platform().now.set(now + 25_000_000);
    let end = root.read_msr(0x4000_0020).unwrap();
    assert!((end - begin).abs_diff(100_000) <= 1, "10 ms");
    let tsc_page = root.read_msr(0x4000_0021).unwrap();
    root.write_msr(0x4000_0021, 1).unwrap();
    assert_eq!(root.read_msr(0x4000_0021), Ok(tsc_page | 1));
    let page: ReferenceTscPage = root.read(tsc_page);
    let tsc = u128::from(root.hv.platform().now.get());
    let by_page = u64::try_from((tsc * u128::from(page.scale)) >> 64).unwrap().wrapping_add_signed(page.offset);
    assert_eq!((page.sequence, by_page), (1, end));
    // Read-only, and the rest of the range.
    for msr in [0x4000_0002, 0x4000_0020, 0x4000_0022, 0x4000_0023] {
        assert_eq!(root.write_msr(msr, 1), Err(13), "{msr:#x}");
    }
    for msr in
        (0x4000_0000..=0x4000_01ff).filter(|msr| !matches!(msr, 0x4000_0000..=0x4000_0003 | 0x4000_0020..=0x4000_0023))
    {
        assert_eq!(root.read_msr(msr), Err(13), "{msr:#x}");
        assert_eq!(root.write_msr(msr, 0), Err(13), "{msr:#x}");
    }
    // Zero as a name ends it.
    root.write_msr(0x4000_0000, 0).unwrap();
    assert_eq!(root.read_msr(0x4000_0001), Ok(place));
}

#[test]
fn reset() {
    let mut root = Root::new();
    let write = |value| {
        move |vp: &mut engine::fake::FakeVp, _: &mut VecMemory| {
            (vp.core.gprs[RCX], vp.core.gprs[RAX], vp.core.gprs[RDX]) = (0x4000_0003, value, 0);
            VpExit::MsrWrite
        }
    };
    assert_eq!(root.step(write(0)), None);
    assert_eq!(root.step(write(1)), Some(End::Reset));
}

#[test]
fn other_msrs_are_the_vps_or_the_machines() {
    let mut root = Root::new();
    root.write_msr(0xc000_0082, 0xffff_8000_0000_1000).unwrap();
    assert_eq!(root.read_msr(0xc000_0082), Ok(0xffff_8000_0000_1000));
    assert_eq!(root.read_msr(0xc000_0080), Ok(0xd00));
    assert_eq!(root.write_msr(0xc000_0080, 0x1d00), Err(13), "SVME");
    root.write_msr(0xc000_0101, 0x1234_0000).unwrap();
    assert_eq!(root.read_msr(0xc000_0101), Ok(0x1234_0000));
    root.hv.platform().msrs.insert(0x1b, 0xfee0_0900);
    assert_eq!(root.read_msr(0x1b), Ok(0xfee0_0900));
    root.write_msr(0x1b, 0xfee0_0800).unwrap();
    assert_eq!(root.read_msr(0x1b), Ok(0xfee0_0800));
    assert_eq!(root.read_msr(0x9999), Err(13));
    assert_eq!(root.write_msr(0x9999, 0), Err(13));
}

#[test]
fn reserved_ports() {
    let mut root = Root::new();
    let reserved = root.hv.engine().reserved_ports.clone();
    assert_eq!(reserved, [0x3f8..=0x3ff, 0xf4..=0xf7, 0x60..=0x60, 0x64..=0x64, 0x92..=0x92, 0xee..=0xee]);
    let port = |port, write, string| {
        move |vp: &mut engine::fake::FakeVp, _: &mut VecMemory| {
            vp.core.gprs[RAX] = 0x1110;
            VpExit::IoPort { port, size: 1, write, string, rep: false, next_rip: vp.core.rip + 1 }
        }
    };
    let vp = root.vp();
    assert_eq!(root.step(port(0x3f8, true, false)), None);
    assert_eq!(root.step(port(0x3fd, false, false)), None);
    assert_eq!(root.hv.engine().core(vp).gprs[RAX], 0x11ff);
    assert_eq!(root.step(port(0x3fd, false, true)), None);
    assert_eq!(root.hv.engine().core(vp).rip, 0xfff0 + 2 + 3);
    assert!(root.hv.platform().written.is_empty());
    // A20 stays as it is, by whichever of its ports, also when it is the second byte that meets one.
    for port in [0x60, 0x64, 0x92, 0xee, 0x91] {
        let size = if port == 0x91 { 2 } else { 1 };
        for write in [true, false] {
            let end = root.step(move |vp, _| {
                (vp.core.gprs[RAX], vp.core.rip) = (0xdd, 0x8000);
                VpExit::IoPort { port, size, write, string: false, rep: false, next_rip: 0x8001 }
            });
            assert_eq!((end, root.hv.engine().core(vp).rip), (None, 0x8001), "{port:#x}");
        }
        assert_eq!(root.hv.engine().core(vp).gprs[RAX], if size == 2 { 0xffff } else { 0xff }, "{port:#x}");
    }
    assert!(root.hv.platform().written.is_empty());
    assert_eq!(root.step(port(0xf4, false, false)), None);
    assert_eq!(root.step(port(0xf4, true, false)), Some(End::Stop(0x10)));
    let line = root.hv.platform().lines.last().unwrap().clone();
    assert!(line.starts_with("cordon-hv: exits root=") && line.ends_with("child=0"), "{line}");
}

#[test]
fn memory_that_the_root_does_not_have() {
    let mut root = Root::new();
    let access = |gpa| {
        move |_: &mut engine::fake::FakeVp, _: &mut VecMemory| VpExit::Memory {
            gpa: Gpa(gpa),
            gva: None,
            access: Access::Read,
            during_walk: false,
            present: false,
        }
    };
    // The hypervisor's own, and a deposited page: #GP, and a line in the log.
    let id = root.create();
    root.deposit(id, FREE..FREE + 1);
    for gpa in [0x10_0000, FREE * PAGE_SIZE, (RAM_PAGES - 1) * PAGE_SIZE] {
        root.step(access(gpa));
        assert_eq!(root.fault(), Some(13), "{gpa:#x}");
    }
    assert_eq!(root.hv.platform().lines.len(), 3);
    // Device memory above 4 GiB appears when it is touched, once.
    root.step(access(0x80_1234_5678));
    assert_eq!(root.fault(), None);
    root.step(access(0x80_1234_5678));
    assert_eq!(root.fault(), Some(13));
    // Beyond the processor's addresses (40 bits) there is none.
    root.step(access(1 << 40));
    assert_eq!(root.fault(), Some(13));
}

#[test]
fn a_root_whose_exception_stack_is_not_its_memory_is_lost() {
    let mut root = Root::new();
    let end = |root: &mut Root, interrupted| {
        root.step(move |vp, _| {
            vp.pending = interrupted;
            VpExit::Memory { gpa: Gpa(0x10_0000), gva: None, access: Access::Write, during_walk: false, present: false }
        })
    };
    // The access itself is #GP; that cannot be delivered, nor the double fault that comes of it.
    assert_eq!(end(&mut root, None), None);
    assert_eq!(end(&mut root, Some(Fault::GP)), None);
    let vp = root.vp();
    assert_eq!(root.hv.engine().vp(vp).pending, Some(Fault { vector: 8, error_code: Some(0) }));
    assert_eq!(end(&mut root, Some(Fault { vector: 8, error_code: Some(0) })), Some(End::Stop(0x12)));
    assert_eq!(root.hv.platform().lines.len(), 4, "one for each access, and the last");
}

#[test]
fn a_lost_root_ends_the_machine_with_a_line() {
    for exit in [VpExit::Shutdown, VpExit::InvalidState, VpExit::Unknown(7)] {
        let mut root = Root::new();
        assert_eq!(root.step(move |_, _| exit), Some(End::Stop(0x12)), "{exit:?}");
        assert!(root.hv.platform().lines.last().unwrap().contains("at rip 0xfff2"));
    }
}

#[test]
fn forbidden_instructions_and_stray_exits() {
    let mut root = Root::new();
    root.step(|_, _| VpExit::Forbidden);
    assert_eq!(root.fault(), Some(6));
    root.step(|_, _| VpExit::Exception { vector: 17, error_code: Some(0), parameter: 0 });
    assert_eq!(root.fault(), Some(17));
    assert_eq!(root.step(|_, _| VpExit::Interrupt), None);
    root.step(|_, _| VpExit::Halt);
    let vp = root.vp();
    assert_eq!(root.hv.engine().core(vp).rip, 0xfff3);
}

#[test]
fn no_hypercall_before_the_os_id_nor_from_ring_3() {
    let mut root = Root { hv: bare_machine(), resumed: 0 };
    let call = |vp: &mut engine::fake::FakeVp, _: &mut VecMemory| {
        vp.core.gprs[RCX] = u64::from(CallCode::GET_PARTITION_ID.0);
        VpExit::Hypercall
    };
    root.step(call);
    assert_eq!(root.fault(), Some(Fault::UD.vector));
    root.write_msr(0x4000_0000, 1).unwrap();
    root.step(move |vp, mem| {
        vp.control.cpl = 3;
        call(vp, mem)
    });
    assert_eq!(root.fault(), Some(Fault::UD.vector));
}

#[test]
fn device_memory_is_no_place_for_parameters() {
    let mut root = Root::new();
    let control = HypercallInput::new(CallCode::CREATE_PARTITION);
    for gpa in [RAM_PAGES * PAGE_SIZE, 0xfee0_0000, 0x10_0000, (RAM_PAGES - 8) * PAGE_SIZE, 1 << 51] {
        assert_eq!(root.raw(control, gpa, common::OUTPUT).status(), HvStatus::INVALID_ALIGNMENT, "{gpa:#x}");
        assert_eq!(root.raw(control, common::INPUT, gpa).status(), HvStatus::INVALID_ALIGNMENT, "{gpa:#x}");
    }
}

#[test]
fn the_roots_address_space_is_the_machine_without_the_hypervisor() {
    let mut hv = bare_machine();
    hv.engine().script(VpSlot(0), |_, _| VpExit::Interrupt);
    hv.step();
    let root = hv.engine().vp(VpSlot(0)).space.unwrap().root;
    // Walked here by hand, in the format of the processor.
    let memory = hv.engine().memory();
    let mapped = |gpa: u64| {
        let mut table = root.0;
        for shift in [39, 30, 21, 12] {
            let entry = memory.read_u64(Spa(table + ((gpa >> shift) & 0x1ff) * 8)).unwrap();
            if entry & 1 == 0 {
                return None;
            }
            let base = entry & 0x000f_ffff_ffff_f000;
            if shift == 12 || entry & 0x80 != 0 {
                assert_eq!(entry & 0x8000_0000_0000_0007, 7, "all rights");
                return Some(base | gpa & ((1 << shift) - 1));
            }
            table = base;
        }
        None
    };
    for page in 0..RAM_PAGES {
        let gpa = page * PAGE_SIZE;
        let private = common::IMAGE.contains(&page) || POOL.contains(&page);
        assert_eq!(mapped(gpa), (!private).then_some(gpa), "{gpa:#x}");
    }
    for gpa in [0xfee0_0000, 0xfec0_0000, 0xffff_f000, 0xe000_0000] {
        assert_eq!(mapped(gpa), Some(gpa));
    }
    assert_eq!(mapped(5 << 30), None);
}

#[test]
fn a_machine_that_cannot_be_divided_is_refused() {
    let new = |frames: usize, partitions: usize, vps: usize, memory: &MachineMemory<'_>, engine: FakeEngine| {
        let storage = Storage {
            frames: vec![FrameEntry::ABSENT; frames].leak(),
            partitions: Vec::from_iter((0..partitions).map(|_| Partition::EMPTY)).leak(),
            vps: Vec::from_iter((0..vps).map(|_| Vp::EMPTY)).leak(),
        };
        Hypervisor::new(engine, FakePlatform::default(), storage, memory).map(|_| ()).unwrap_err()
    };
    let engine = |capacity, frames| FakeEngine::new(VecMemory::new(RAM_PAGES as usize, 0), capacity, frames);
    let (ram, private) = ([range(0..RAM_PAGES)], [range(POOL)]);
    let good = MachineMemory { ram: &ram, private: &private, pool: range(POOL) };
    assert_eq!(new(4095, 1, 1, &good, engine(1, 1)), SetupError::Storage);
    assert_eq!(new(4096, 0, 1, &good, engine(1, 1)), SetupError::Storage);
    assert_eq!(new(4096, 1, 0, &good, engine(1, 1)), SetupError::Storage);
    assert_eq!(new(4096, 1, 1, &good, engine(1, 9)), SetupError::Storage);
    assert_eq!(new(4096, 1, 1, &good, engine(0, 1)), SetupError::Engine);
    for pool in [range(0..100), range(4000..4097), range(4000..4000), range(4000..4003)] {
        let private = [pool];
        let memory = MachineMemory { private: if pool.start.0 == 0 { &[] } else { &private }, pool, ..good };
        assert_eq!(new(4096, 1, 1, &memory, engine(1, 1)), SetupError::Pool, "{pool:?}");
    }
    let odd = [MemoryRange { start: Spa(1), end: Spa(0x1000) }];
    let inverted = [MemoryRange { start: Spa(0x2000), end: Spa(0x1000) }];
    let unsorted = [range(100..200), range(50..60)];
    for ram in [&odd[..], &inverted, &unsorted] {
        assert_eq!(new(4096, 1, 1, &MachineMemory { ram, ..good }, engine(1, 1)), SetupError::Ranges);
    }
}
