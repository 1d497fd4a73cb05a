//! Hypercalls and synthetic MSRs of a child: what an ordinary guest may do, from every mode, and nothing of what its parent may.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use kernels::child::*;
use kernels::parent::{OS_ID, Parent};
use kernels::{Kernel, Outcome, code, ensure, ensure_eq};
use tlfs::calls::SERVED;
use tlfs::message::{HvMessageType, HvX64ExceptionInterceptMessage};
use tlfs::msr::*;
use tlfs::partition::{HvPartitionPropertyCode, PrivilegeMask};
use tlfs::register::{HvRegisterName as Name, HvRegisterValue as Value};
use tlfs::status::HvStatus;
use tlfs::time::ReferenceTscPage;

kernels::kernel!(run);

// RCX, RDX, R8 as set from outside.
code!(call: "vmmcall", "hlt");
code!(call_page: "mov rax, 0x12000", "call rax", "hlt");
code!(call_32: "vmmcall", "hlt");
code!(rdmsr: "rdmsr", "hlt");
code!(wrmsr: "wrmsr", "hlt");
code!(store_page: "mov byte ptr [0x12000], 1", "hlt");
code!(user_call: "vmmcall", "ud2");

/// Where the child puts its hypercall page.
const CALL_PAGE: u64 = 0x1_2000;
/// And its reference TSC page.
const TIME_PAGE: u64 = 0x1_3000;

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Kernel, &mut Parent, &mut Child) -> Outcome| case(kernel, parent, name, run);
        with("without an OS id VMMCALL is #UD", no_os_id);
        with("every call of a parent is denied", denied);
        with("denied comes before other errors", denied_first);
        with("unknown codes", unknown);
        with("the 32-bit form", form_32);
        with("ring 3 gets #UD", ring_3);
        with("the child's own hypercall page", own_page);
        with("the child's own reference TSC page", own_time);
        with("MSRs of the synthetic range", msrs);
        with("an overlay that costs more than there is", poor);
        with("registers that tell of it", told);
        kernel.case("privileges taken away", |kernel| fewer_privileges(kernel, parent));
    });
}

fn identify(parent: &mut Parent, child: &Child) -> Outcome {
    Ok(parent.client.set_registers(child.id, VP, &[(Name::GUEST_OS_ID, Value::from_u64(OS_ID.0))])?)
}

fn set(parent: &mut Parent, child: &Child, registers: &[(Name, u64)]) -> Outcome {
    for (name, value) in registers {
        parent.client.set_registers(child.id, VP, &[(*name, Value::from_u64(*value))])?;
    }
    Ok(())
}

/// Makes the child execute VMMCALL with these registers; gives its RAX.
fn hypercall(parent: &mut Parent, child: &mut Child, control: u64, rdx: u64, r8: u64) -> Outcome<HvStatus> {
    child.reset(parent, call())?;
    set(parent, child, &[(Name::X64_RCX, control), (Name::X64_RDX, rdx), (Name::X64_R8, r8)])?;
    child.run_to_halt(parent)?;
    Ok(HvStatus(u16::try_from(child.gpr(RAX) & 0xffff).unwrap_or(0)))
}

fn no_os_id(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, call())?;
    child.intercept_exceptions(parent, &[6])?;
    let message: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    ensure_eq!((message.exception_vector, message.header.rip), (6, CODE), "vector and RIP");
    Ok(())
}

fn denied(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    identify(parent, child)?;
    for code in SERVED {
        let status = hypercall(parent, child, u64::from(code.0), DATA, DATA + 2048)?;
        ensure_eq!(status, HvStatus::ACCESS_DENIED, "status of {code}");
    }
    Ok(())
}

fn denied_first(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    identify(parent, child)?;
    let create_vp = 0x4e;
    let words = [
        ("reserved bits", create_vp | 0xf000_f000_7800_0000, DATA),
        ("a rep count on a simple call", create_vp | 1 << 32, DATA),
        ("no reps on a rep call", 0x48, DATA),
        ("input not aligned", create_vp, DATA + 3),
        ("input over a page's end", create_vp, DATA + 4088),
        ("input nowhere", create_vp, 0x7fff_f000),
    ];
    for (what, control, rdx) in words {
        let status = hypercall(parent, child, control, rdx, DATA)?;
        ensure_eq!(status, HvStatus::ACCESS_DENIED, "{what}");
    }
    Ok(())
}

fn unknown(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    identify(parent, child)?;
    for code in [0u64, 0x2, 0x5c, 0x5d, 0x8001, 0xffff] {
        let status = hypercall(parent, child, code, DATA, DATA)?;
        ensure_eq!(status, HvStatus::INVALID_HYPERCALL_CODE, "status of {code:#x}");
    }
    Ok(())
}

fn form_32(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    identify(parent, child)?;
    // Protected mode without paging.
    child.reset(parent, call_32())?;
    for (control, wanted) in [(0x7777, HvStatus::INVALID_HYPERCALL_CODE), (0x46, HvStatus::ACCESS_DENIED)] {
        child.reset(parent, call_32())?;
        set(parent, child, &[(Name::X64_CR0, 0x11), (Name::X64_EFER, 0)])?;
        parent.client.set_registers(child.id, VP, &[(Name::X64_CS, segment(CODE_SELECTOR, 0xc09b))])?;
        let garbage = 0x5555_5555_0000_0000;
        set(parent, child, &[(Name::X64_RAX, control), (Name::X64_RDX, garbage), (Name::X64_RCX, 0)])?;
        child.run_to_halt(parent)?;
        ensure_eq!(child.gpr(RAX), u64::from(wanted.0), "EAX for {control:#x}");
        ensure_eq!(child.gpr(RDX), 0, "EDX for {control:#x}");
    }
    Ok(())
}

fn ring_3(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    identify(parent, child)?;
    child.reset(parent, user_call())?;
    let registers =
        [(Name::X64_CS, segment(USER_CODE_SELECTOR, 0xa0fb)), (Name::X64_SS, segment(USER_DATA_SELECTOR, 0xc0f3))];
    parent.client.set_registers(child.id, VP, &registers)?;
    child.intercept_exceptions(parent, &[6])?;
    let message: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    ensure_eq!((message.exception_vector, message.header.rip), (6, CODE), "vector and RIP");
    ensure_eq!(message.header.execution_state.cpl(), 3, "CPL");
    Ok(())
}

fn write_msr(parent: &mut Parent, child: &mut Child, msr: u32, value: u64) -> Outcome {
    child.reset(parent, wrmsr())?;
    set(
        parent,
        child,
        &[(Name::X64_RCX, msr.into()), (Name::X64_RAX, value & 0xffff_ffff), (Name::X64_RDX, value >> 32)],
    )?;
    child.run_to_halt(parent)
}

fn read_msr(parent: &mut Parent, child: &mut Child, msr: u32) -> Outcome<u64> {
    child.reset(parent, rdmsr())?;
    set(parent, child, &[(Name::X64_RCX, msr.into())])?;
    child.run_to_halt(parent)?;
    Ok(child.gpr(RDX) << 32 | child.gpr(RAX))
}

fn own_page(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    child.memory.write_u64(CALL_PAGE, 0x1111);
    let wanted = HypercallMsr(0).with_enabled(true).with_gpa_page(CALL_PAGE >> 12);
    write_msr(parent, child, HV_X64_MSR_HYPERCALL, wanted.0)?;
    let seen = HypercallMsr(read_msr(parent, child, HV_X64_MSR_HYPERCALL)?);
    ensure!(!seen.enabled(), "enabled without an OS id");
    write_msr(parent, child, HV_X64_MSR_GUEST_OS_ID, OS_ID.0)?;
    let before = parent.client.memory_balance(child.id)?;
    write_msr(parent, child, HV_X64_MSR_HYPERCALL, wanted.0)?;
    ensure_eq!(read_msr(parent, child, HV_X64_MSR_HYPERCALL)?, wanted.0, "HYPERCALL");
    let after = parent.client.memory_balance(child.id)?;
    ensure!(after.pages_available < before.pages_available, "the page was for nothing");
    child.reset(parent, call_page())?;
    set(parent, child, &[(Name::X64_RCX, 0x7777)])?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), u64::from(HvStatus::INVALID_HYPERCALL_CODE.0), "a call through the page");
    // A write to it is #GP, and harms neither the page nor what lies under it.
    child.reset(parent, store_page())?;
    child.set_gate(parent, 13, CODE + 0x400)?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.rip(), CODE + 0x401, "RIP in the handler of #GP");
    ensure_eq!(child.memory.read_u64(CALL_PAGE), 0x1111, "what lies under the page");
    write_msr(parent, child, HV_X64_MSR_GUEST_OS_ID, 0)?;
    ensure_eq!(parent.client.memory_balance(child.id)?, before, "balance after the page is gone");
    Ok(())
}

fn own_time(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    child.memory.write_u64(TIME_PAGE, 0x1111);
    let wanted = ReferenceTscMsr(0).with_enabled(true).with_gpa_page(TIME_PAGE >> 12);
    write_msr(parent, child, HV_X64_MSR_REFERENCE_TSC, wanted.0)?;
    // The child copies the page to where its parent can see it.
    code!(copy: "mov esi, 0x13000", "mov edi, 0xa000", "mov ecx, 3", "rep movsq", "rdtsc", "shl rdx, 32", "or rax, rdx", "mov rbx, rax", "mov ecx, 0x40000020", "rdmsr", "hlt");
    child.reset(parent, copy())?;
    child.run_to_halt(parent)?;
    let word = |at| child.memory.read_u64(DATA + at);
    let page = ReferenceTscPage {
        sequence: u32::try_from(word(0) & 0xffff_ffff).unwrap_or(0),
        reserved: u32::try_from(word(0) >> 32).unwrap_or(0),
        scale: word(8),
        offset: i64::from_le_bytes(word(16).to_le_bytes()),
    };
    ensure!(page.sequence != ReferenceTscPage::SEQUENCE_INVALID && page.scale != 0, "{page:x?}");
    let by_page = hvclient::clock::reference_time(&page, child.gpr(RBX)).unwrap_or(0);
    let by_counter = child.gpr(RDX) << 32 | child.gpr(RAX);
    // The counter was read a little later, in an exit.
    ensure!(
        by_page <= by_counter + 1 && by_counter - by_page < 100_000,
        "{by_page} by the page, {by_counter} by the counter"
    );
    // A child's time starts with it.
    ensure!(by_counter < 600_000_000, "a child of {by_counter} ticks");
    write_msr(parent, child, HV_X64_MSR_REFERENCE_TSC, 0)?;
    ensure_eq!(child.memory.read_u64(TIME_PAGE), 0x1111, "what lay under the page");
    Ok(())
}

fn msrs(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    ensure_eq!(read_msr(parent, child, HV_X64_MSR_VP_INDEX)?, 0, "VP index");
    ensure!(read_msr(parent, child, HV_X64_MSR_TSC_FREQUENCY)? > 1_000_000, "no TSC frequency");
    let unserved =
        [HV_X64_MSR_RESET, HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_SCONTROL, HV_X64_MSR_VP_ASSIST_PAGE, 0x4000_0fff];
    for msr in unserved {
        child.reset(parent, rdmsr())?;
        child.set_gate(parent, 13, CODE + 0x400)?;
        set(parent, child, &[(Name::X64_RCX, msr.into())])?;
        child.run_to_halt(parent)?;
        ensure_eq!(child.rip(), CODE + 0x401, "RIP after a read of {msr:#x}: in the handler of #GP");
    }
    Ok(())
}

fn poor(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    identify(parent, child)?;
    // Nothing is left in the account.
    parent.client.withdraw(child.id, |_| {})?;
    let wanted = HypercallMsr(0).with_enabled(true).with_gpa_page(CALL_PAGE >> 12);
    child.reset(parent, wrmsr())?;
    child.set_gate(parent, 13, CODE + 0x400)?;
    set(parent, child, &[(Name::X64_RCX, HV_X64_MSR_HYPERCALL.into()), (Name::X64_RAX, wanted.0), (Name::X64_RDX, 0)])?;
    // Whether it is #GP or something for the parent: it must not be a page out of nowhere, nor harm anyone.
    let _ = child.run(parent)?;
    let balance = parent.client.memory_balance(child.id)?;
    ensure_eq!(balance.pages_available, 0, "pages available");
    Ok(())
}

fn told(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    write_msr(parent, child, HV_X64_MSR_GUEST_OS_ID, OS_ID.0)?;
    let id = parent.client.get_register(child.id, VP, Name::GUEST_OS_ID)?;
    ensure_eq!(id.low, OS_ID.0, "the OS id by register name");
    // A call with input where the child has no memory is for the parent to see to. (A child with a call that it may make has not
    // been made yet: what is denied looks at nothing.)
    let status = hypercall(parent, child, 0x4e, 0x7fff_f000, 0)?;
    ensure_eq!(status, HvStatus::ACCESS_DENIED, "status");
    Ok(())
}

fn fewer_privileges(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = parent.client.create_partition(FLAGS)?;
    let client = &mut parent.client;
    let property = HvPartitionPropertyCode::PRIVILEGE_FLAGS;
    let more = client.set_partition_property(id, property, PrivilegeMask::CREATE_PARTITIONS.bits());
    ensure!(more.is_err(), "a child was given CreatePartitions");
    client.set_partition_property(id, property, PrivilegeMask::ACCESS_VP_INDEX.bits())?;
    deposit(kernel, parent, id, 32)?;
    parent.client.initialize_partition(id)?;
    let late = parent.client.set_partition_property(id, property, 0);
    ensure_eq!(late.err().map(|e| e.status), Some(HvStatus::INVALID_PARTITION_STATE), "privileges of an active one");
    parent.client.create_vp(id, VP)?;
    let counter = parent.client.get_register(id, VP, Name::TIME_REF_COUNT);
    ensure_eq!(counter.err().map(|e| e.status), Some(HvStatus::ACCESS_DENIED), "the counter without the privilege");
    parent.client.get_register(id, VP, Name::VP_INDEX)?;
    parent.client.finalize_partition(id)?;
    Ok(parent.client.delete_partition(id)?)
}
