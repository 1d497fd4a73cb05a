//! A child's address space: what is not mapped, or not so, is its parent's to see to; changes take effect at once.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::DispatchEnd;
use kernels::child::{ALL, CODE, Child, DATA, PAGES, RBX, TABLES, VP, case};
use kernels::parent::{Parent, pages};
use kernels::{Kernel, Outcome, code, ensure, ensure_eq};
use tlfs::calls::{MapGpaFlags, TranslateGvaFlags as Flags, TranslateGvaResultCode as Code};
use tlfs::intercept::HvInterceptAccessType as Access;
use tlfs::message::{HvMessageType, HvX64MemoryInterceptMessage};
use tlfs::status::HvStatus;

kernels::kernel!(run);

/// A page number that a child has nothing at.
const FREE: u64 = 0x100;
const READ_ONLY: MapGpaFlags = MapGpaFlags::READABLE;
const READ_WRITE: MapGpaFlags = READ_ONLY.union(MapGpaFlags::WRITABLE);

code!(load: "mov rax, 0x100000", "mov rbx, [rax]", "hlt");
code!(store: "mov rax, 0x100008", "mov ebx, 0x77", "mov [rax], rbx", "hlt");
code!(jump: "mov rax, 0x100000", "jmp rax");
code!(walk: "mov rax, 0x200000000000", "mov rbx, [rax]", "hlt");
code!(load_twice: "mov rax, 0x100000", "2:", "mov rbx, [rax]", "hlt", "jmp 2b");
code!(straddle: "mov rax, 0x100ffc", "mov rbx, 0x1122334455667788", "mov [rax], rbx", "hlt");
code!(high: "mov rax, 0x200000", "mov rbx, [rax + 0x1ff000]", "hlt");

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Kernel, &mut Parent, &mut Child) -> Outcome| case(kernel, parent, name, run);
        with("a load from nowhere, and again when it is mapped", load_unmapped);
        with("a store to a page that may only be read", store_read_only);
        with("a fetch from a page that may not be executed", fetch_no_execute);
        with("a fetch from nowhere", fetch_unmapped);
        with("a page without access", no_access);
        with("tables that lie nowhere", walk_unmapped);
        with("a store over the end of a page", store_straddles);
        with("unmapping and remapping take effect at once", changes);
        with("a large page", large_page);
        with("two children do not see each other", two_children);
        with("translation of linear addresses", translation);
        with("translation that cannot be", bad_translation);
    });
}

fn memory_message(parent: &mut Parent, child: &mut Child, kind: HvMessageType) -> Outcome<HvX64MemoryInterceptMessage> {
    child.run_to(parent, kind)
}

fn load_unmapped(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, load())?;
    let message = memory_message(parent, child, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, FREE << 12, "address");
    ensure_eq!(message.header.intercept_access_type, Access::READ, "access");
    let rip = CODE + 7;
    ensure_eq!((message.header.rip, child.rip()), (rip, rip), "RIP in the message and in the register page");
    ensure!(message.instruction_byte_count >= 3, "only {} instruction bytes", message.instruction_byte_count);
    ensure_eq!(message.instruction_bytes[..3], [0x48, 0x8b, 0x18], "instruction");
    // The same again, for as long as nothing is there.
    let message = memory_message(parent, child, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, FREE << 12, "address the second time");
    let page = kernel.memory.take(1);
    page.write_u64(0, 0x1234_5678_9abc_def0);
    parent.client.map_gpa_pages(child.id, FREE, READ_ONLY, &pages(page.number(), 1))?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RBX), 0x1234_5678_9abc_def0, "the value loaded");
    Ok(())
}

fn store_read_only(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let page = kernel.memory.take(1);
    page.fill(0x11);
    parent.client.map_gpa_pages(child.id, FREE, READ_ONLY, &pages(page.number(), 1))?;
    child.reset(parent, store())?;
    let message = memory_message(parent, child, HvMessageType::GPA_INTERCEPT)?;
    ensure_eq!(message.guest_physical_address, (FREE << 12) + 8, "address");
    ensure_eq!(message.header.intercept_access_type, Access::WRITE, "access");
    ensure!(page.is_all(0x11), "the page was written all the same");
    parent.client.map_gpa_pages(child.id, FREE, READ_WRITE, &pages(page.number(), 1))?;
    child.run_to_halt(parent)?;
    ensure_eq!(page.read_u64(8), 0x77, "what the child stored");
    Ok(())
}

fn fetch_no_execute(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let page = kernel.memory.take(1);
    page.fill(0xf4);
    parent.client.map_gpa_pages(child.id, FREE, READ_WRITE, &pages(page.number(), 1))?;
    child.reset(parent, jump())?;
    let message = memory_message(parent, child, HvMessageType::GPA_INTERCEPT)?;
    ensure_eq!(message.guest_physical_address, FREE << 12, "address");
    ensure_eq!(message.header.intercept_access_type, Access::EXECUTE, "access");
    parent.client.map_gpa_pages(child.id, FREE, ALL, &pages(page.number(), 1))?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.rip(), (FREE << 12) + 1, "RIP behind the HLT there");
    Ok(())
}

fn fetch_unmapped(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, jump())?;
    let message = memory_message(parent, child, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, FREE << 12, "address");
    ensure_eq!(message.header.intercept_access_type, Access::EXECUTE, "access");
    ensure_eq!(message.header.rip, FREE << 12, "RIP");
    Ok(())
}

fn no_access(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let page = kernel.memory.take(1);
    let list = pages(page.number(), 1);
    parent.client.map_gpa_pages(child.id, FREE, ALL, &list)?;
    parent.client.map_gpa_pages(child.id, FREE, MapGpaFlags::NO_ACCESS, &list)?;
    child.reset(parent, load())?;
    let end = child.run(parent)?;
    ensure_eq!(end, DispatchEnd::Intercept, "the end of a load without access");
    parent.client.map_gpa_pages(child.id, FREE, ALL, &list)?;
    child.run_to_halt(parent)
}

fn walk_unmapped(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    // The upper table entry names a page that the child does not have.
    child.memory.write_u64(TABLES + 0x200, FREE << 12 | 7);
    child.reset(parent, walk())?;
    let message = memory_message(parent, child, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address & !0xfff, FREE << 12, "page");
    ensure!(!message.memory_access_info.gva_gpa_valid(), "the access was the walk's own");
    Ok(())
}

fn store_straddles(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let two = kernel.memory.take(2);
    two.fill(0x11);
    parent.client.map_gpa_pages(child.id, FREE, READ_WRITE, &pages(two.number(), 1))?;
    child.reset(parent, straddle())?;
    let message = memory_message(parent, child, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, (FREE + 1) << 12, "address");
    parent.client.map_gpa_pages(child.id, FREE + 1, READ_WRITE, &pages(two.number() + 1, 1))?;
    child.run_to_halt(parent)?;
    ensure_eq!(two.read_u64(4092), 0x1122_3344_5566_7788, "what the child stored");
    Ok(())
}

fn changes(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let two = kernel.memory.take(2);
    two.write_u64(0, 1);
    two.write_u64(4096, 2);
    parent.client.map_gpa_pages(child.id, FREE, ALL, &pages(two.number(), 1))?;
    child.reset(parent, load_twice())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RBX), 1, "the first page's value");
    let resume = child.rip();
    parent.client.map_gpa_pages(child.id, FREE, ALL, &pages(two.number() + 1, 1))?;
    wake(parent, child, resume)?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RBX), 2, "the value after another page took its place");
    parent.client.unmap_gpa_pages(child.id, FREE, 1)?;
    wake(parent, child, resume)?;
    let message = memory_message(parent, child, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, FREE << 12, "address after unmapping");
    Ok(())
}

fn wake(parent: &mut Parent, child: &mut Child, rip: u64) -> Outcome {
    use tlfs::register::{HvRegisterName as Name, HvRegisterValue};
    let registers = [(Name::INTERNAL_ACTIVITY_STATE, 0), (Name::X64_RIP, rip)];
    let registers = registers.map(|(name, value)| (name, HvRegisterValue::from_u64(value)));
    Ok(parent.client.set_registers(child.id, VP, &registers)?)
}

fn large_page(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let large = kernel.memory.take_aligned(512, 512);
    large.write_u64(0x1f_f000, 0xfeed);
    let flags = ALL | MapGpaFlags::LARGE_PAGE;
    parent.client.map_gpa_pages(child.id, 512, flags, &pages(large.number(), 1))?;
    child.reset(parent, high())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RBX), 0xfeed, "a value at the end of the large page");
    let result = parent.client.deposit(child.id, &[large.number() + 300]);
    ensure_eq!(result.err().map(|e| e.error.status), Some(HvStatus::OBJECT_IN_USE), "deposit of a page in the middle");
    for (what, target, source) in [("target", 513, large.number()), ("source", 1024, large.number() + 1)] {
        let result = parent.client.map_gpa_pages(child.id, target, flags, &pages(source, 1));
        ensure_eq!(result.err().map(|e| e.error.status), Some(HvStatus::INVALID_PARAMETER), "{what} not aligned");
    }
    Ok(())
}

fn two_children(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let mut other = Child::new(kernel, parent, &[])?;
    let page = kernel.memory.take(1);
    page.write_u64(0, 5);
    parent.client.map_gpa_pages(child.id, FREE, ALL, &pages(page.number(), 1))?;
    child.reset(parent, load())?;
    other.reset(parent, load())?;
    child.run_to_halt(parent)?;
    let message = memory_message(parent, &mut other, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, FREE << 12, "address in the other child");
    ensure_eq!(child.gpr(RBX), 5, "the first child's value");
    other.delete(parent)?;
    Ok(())
}

fn translate(parent: &mut Parent, child: &Child, flags: Flags, page: u64) -> Outcome<Result<u64, Code>> {
    Ok(parent.client.translate(child.id, VP, flags, page)?)
}

fn translation(kernel: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    // A page table behind entry 1 of the page directory pointer table: 1 GiB and up.
    let (directory, table) = (PAGES - 4, PAGES - 3);
    child.memory.write_u64(TABLES + 0x1000 + 8, directory << 12 | 7);
    child.memory.write_u64(directory << 12, table << 12 | 7);
    let entries = [
        (0, DATA | 7),           // all
        (1, DATA | 5),           // user, read-only
        (2, DATA | 3),           // supervisor
        (3, DATA | 7 | 1 << 63), // no execute
        (4, 0),                  // not present
        (5, FREE << 12 | 7),     // no memory behind it
    ];
    for (index, entry) in entries {
        child.memory.write_u64((table << 12) + index * 8, entry);
    }
    let base = 1 << 18;
    let data = DATA >> 12;
    let read = Flags::VALIDATE_READ;
    let write = read | Flags::VALIDATE_WRITE;
    let user = Flags::USER_ACCESS;
    let cases = [
        ("supervisor read", read, 0, Ok(data)),
        ("supervisor write", write, 0, Ok(data)),
        ("user write", write | user, 0, Ok(data)),
        ("user read of a read-only page", read | user, 1, Ok(data)),
        ("user write to a read-only page", write | user, 1, Err(Code::PRIVILEGE_VIOLATION)),
        ("supervisor write to a read-only page, with CR0.WP", write, 1, Err(Code::PRIVILEGE_VIOLATION)),
        ("user read of a supervisor page", read | user, 2, Err(Code::PRIVILEGE_VIOLATION)),
        ("supervisor read of a supervisor page", read, 2, Ok(data)),
        ("user read of a supervisor page, exempt", read | user | Flags::PRIVILEGE_EXEMPT, 2, Ok(data)),
        ("execution of a page without", Flags::VALIDATE_EXECUTE, 3, Err(Code::PRIVILEGE_VIOLATION)),
        ("execution", Flags::VALIDATE_EXECUTE, 0, Ok(data)),
        ("a page that is not present", read, 4, Err(Code::PAGE_NOT_PRESENT)),
        ("a page without memory", read, 5, Err(Code::GPA_UNMAPPED)),
    ];
    for (what, flags, page, wanted) in cases {
        let seen = translate(parent, child, flags, base + page)?;
        ensure_eq!(seen, wanted, "{what}");
    }
    let seen = translate(parent, child, read, CODE >> 12)?;
    ensure_eq!(seen, Ok(CODE >> 12), "the code, in a large page");
    // A page that the child may only read.
    let page = kernel.memory.take(1);
    parent.client.map_gpa_pages(child.id, FREE, READ_ONLY, &pages(page.number(), 1))?;
    ensure_eq!(translate(parent, child, read, base + 5)?, Ok(FREE), "read of a page that may only be read");
    let seen = translate(parent, child, write, base + 5)?;
    ensure_eq!(seen, Err(Code::GPA_NO_WRITE_ACCESS), "write to a page that may only be read");
    Ok(())
}

fn bad_translation(_: &mut Kernel, parent: &mut Parent, child: &mut Child) -> Outcome {
    let bad = [
        ("both privileges", Flags::SUPERVISOR_ACCESS | Flags::USER_ACCESS, 0),
        ("unknown flags", Flags(1 << 40), 0),
        ("a page number beyond 52 bits", Flags::VALIDATE_READ, 1 << 52),
    ];
    for (what, flags, page) in bad {
        let status = parent.client.translate(child.id, VP, flags, page).err().map(|e| e.status);
        ensure_eq!(status, Some(HvStatus::INVALID_PARAMETER), "{what}");
    }
    // Not a canonical address.
    let seen = translate(parent, child, Flags::VALIDATE_READ, 1 << 40)?;
    ensure!(seen.is_err(), "an address that is not canonical became page {seen:x?}");
    Ok(())
}
