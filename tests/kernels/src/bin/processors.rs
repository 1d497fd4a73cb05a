//! The virtual processors of a child: several in one partition, and the pages that each shares with the parent.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::DispatchEnd;
use kernels::child::{CODE, Child, DATA, RAX, STACK, TABLES, VP, case, segment};
use kernels::cpu::{self, Trap};
use kernels::parent::Parent;
use kernels::{Kernel, Outcome, code, ensure, ensure_eq};
use tlfs::addr::VpIndex;
use tlfs::calls::DispatchVpFlags;
use tlfs::hypercall::{CallCode, HypercallInput};
use tlfs::register::{HvRegisterName as Name, HvRegisterValue as Value};
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType as PageType;
use zerocopy::IntoBytes;

kernels::kernel!(run);

const SECOND: VpIndex = VpIndex(1);
const CLEAR: DispatchVpFlags = DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND;

code!(who: "mov ecx, 0x40000002", "rdmsr", "mov ebx, eax", "inc qword ptr [0xa000 + rbx * 8]", "hlt");
code!(apic_id: "mov eax, 1", "xor ecx, ecx", "cpuid", "shr ebx, 24", "mov eax, ebx", "hlt");
code!(halt: "hlt");

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Parent, &mut Child) -> Outcome| {
            case(kernel, parent, name, |_, parent, child| run(parent, child));
        };
        with("two processors, each its own", two);
        with("a processor without a message page does not run", no_message_page);
        with("a state page that is unmapped is gone", unmapped_page);
        with("a deleted processor is gone with its pages", deleted);
        with("explicit suspension", suspended);
        with("bad state pages", bad_pages);
    });
}

/// Gives the child a second processor, at the same code and another stack.
fn add_second(parent: &mut Parent, child: &Child) -> Outcome {
    let number = Value::from_u64;
    parent.client.create_vp(child.id, SECOND)?;
    parent.client.map_vp_state_page(child.id, SECOND, PageType::INTERCEPT_MESSAGE)?;
    let registers = [
        (Name::X64_CR0, number(0x8001_0033)),
        (Name::X64_CR3, number(TABLES)),
        (Name::X64_CR4, number(0x620)),
        (Name::X64_EFER, number(0xd00)),
        (Name::X64_CS, segment(8, 0xa09b)),
        (Name::X64_SS, segment(16, 0xc093)),
        (Name::X64_DS, segment(16, 0xc093)),
        (Name::X64_RIP, number(CODE)),
        (Name::X64_RSP, number(STACK - 0x1000)),
        (Name::X64_RFLAGS, number(2)),
    ];
    Ok(parent.client.set_registers(child.id, SECOND, &registers)?)
}

fn dispatch(parent: &mut Parent, child: &Child, vp: VpIndex) -> Outcome<DispatchEnd> {
    Ok(parent.client.dispatch(child.id, vp, CLEAR)?)
}

fn two(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, who())?;
    add_second(parent, child)?;
    ensure_eq!(dispatch(parent, child, SECOND)?, DispatchEnd::Blocked, "the end of the second's run");
    let counts = (child.memory.read_u64(DATA), child.memory.read_u64(DATA + 8));
    ensure_eq!(counts, (0, 1), "what the processors counted after the second's run");
    child.run_to_halt(parent)?;
    let counts = (child.memory.read_u64(DATA), child.memory.read_u64(DATA + 8));
    ensure_eq!(counts, (1, 1), "what the processors counted after both");
    ensure_eq!(parent.client.get_register(child.id, SECOND, Name::X64_RAX)?.low, 1, "RAX of the second");
    ensure_eq!(child.gpr(RAX), 0, "RAX of the first");
    // The initial APIC id is the index.
    child.reset(parent, apic_id())?;
    let again = [(Name::INTERNAL_ACTIVITY_STATE, Value::from_u64(0)), (Name::X64_RIP, Value::from_u64(CODE))];
    parent.client.set_registers(child.id, SECOND, &again)?;
    ensure_eq!(dispatch(parent, child, SECOND)?, DispatchEnd::Blocked, "the end of CPUID");
    ensure_eq!(parent.client.get_register(child.id, SECOND, Name::X64_RAX)?.low, 1, "APIC id of the second");
    Ok(())
}

fn no_message_page(parent: &mut Parent, child: &mut Child) -> Outcome {
    parent.client.create_vp(child.id, SECOND)?;
    let status = parent.client.dispatch(child.id, SECOND, CLEAR).err().map(|error| error.status);
    ensure_eq!(status, Some(HvStatus::INVALID_VP_STATE), "status");
    Ok(())
}

fn page_of(parent: &mut Parent, child: &Child, vp: VpIndex, kind: PageType) -> Outcome<u64> {
    use tlfs::calls::UnmapVpStatePageInput;
    let input =
        UnmapVpStatePageInput { partition_id: child.id, vp_index: vp, page_type: kind, input_vtl: 0, reserved: 0 };
    parent.raw.input.write(0, input.as_bytes());
    let returned = parent.raw.memory(HypercallInput::new(CallCode::MAP_VP_STATE_PAGE)).map_err(|_| "it faulted")?;
    ensure_eq!(returned.status(), HvStatus::SUCCESS, "status of MapVpStatePage");
    Ok(parent.raw.output.read_u64(0) << 12)
}

fn unmapped_page(parent: &mut Parent, child: &mut Child) -> Outcome {
    parent.client.create_vp(child.id, SECOND)?;
    let before = parent.client.memory_balance(child.id)?;
    let address = page_of(parent, child, SECOND, PageType::REGISTERS)?;
    ensure!(cpu::read_byte(address).is_ok(), "the page at {address:#x} cannot be read");
    ensure_eq!(page_of(parent, child, SECOND, PageType::REGISTERS)?, address, "the place when it is mapped again");
    let page = parent.client.map_vp_state_page(child.id, SECOND, PageType::REGISTERS)?;
    parent.client.unmap_vp_state_page(child.id, SECOND, PageType::REGISTERS, page)?;
    ensure_eq!(cpu::read_byte(address), Err(Trap::GP), "read of the page behind that");
    ensure_eq!(parent.client.memory_balance(child.id)?, before, "balance behind that");
    Ok(())
}

fn deleted(parent: &mut Parent, child: &mut Child) -> Outcome {
    let before = parent.client.memory_balance(child.id)?;
    add_second(parent, child)?;
    let address = page_of(parent, child, SECOND, PageType::INTERCEPT_MESSAGE)?;
    parent.client.delete_vp(child.id, SECOND)?;
    ensure_eq!(cpu::read_byte(address), Err(Trap::GP), "read of its message page");
    ensure_eq!(parent.client.memory_balance(child.id)?, before, "balance");
    let status = parent.client.dispatch(child.id, SECOND, CLEAR).err().map(|error| error.status);
    ensure_eq!(status, Some(HvStatus::INVALID_VP_INDEX), "status of a dispatch");
    let status = parent.client.get_register(child.id, SECOND, Name::X64_RIP).err().map(|error| error.status);
    ensure_eq!(status, Some(HvStatus::INVALID_VP_INDEX), "status of a read of a register");
    child.reset(parent, halt())?;
    child.run_to_halt(parent)
}

fn suspended(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, halt())?;
    let set = |parent: &mut Parent, value| {
        parent.client.set_registers(child.id, VP, &[(Name::EXPLICIT_SUSPEND, Value::from_u64(value))])
    };
    set(parent, 1)?;
    ensure_eq!(dispatch(parent, child, VP)?, DispatchEnd::Suspended, "the end of a dispatch");
    let rip = parent.client.get_register(child.id, VP, Name::X64_RIP)?.low;
    ensure_eq!(rip, CODE, "RIP of a processor that must not run");
    set(parent, 0)?;
    child.run_to_halt(parent)
}

fn bad_pages(parent: &mut Parent, child: &mut Child) -> Outcome {
    for (what, vp, kind) in [
        ("a page type that is not served", VP, PageType::GHCB),
        ("an unknown page type", VP, PageType(77)),
        ("a processor that is not there", VpIndex(9), PageType::REGISTERS),
    ] {
        let result = parent.client.map_vp_state_page(child.id, vp, kind);
        ensure!(result.is_err(), "{what} was mapped");
    }
    Ok(())
}
