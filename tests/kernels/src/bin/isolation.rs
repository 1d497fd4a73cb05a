//! What a child does harms neither its parent nor the hypervisor, and what the hypervisor keeps is out of the parent's reach.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::DispatchEnd;
use kernels::child::{CODE, Child, RAX, RBX, RCX, RDI, RSI, TABLES, VP, case};
use kernels::cpu::{self, Trap, read_msr};
use kernels::memory::{PAGE, private_ranges};
use kernels::parent::Parent;
use kernels::{Kernel, Outcome, code, ensure, ensure_eq, timer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tlfs::message::{HvMessageType, HvX64BareInterceptMessage};
use tlfs::msr::HV_X64_MSR_APIC_FREQUENCY;
use tlfs::register::{HvRegisterName as Name, HvRegisterValue as Value};

kernels::kernel!(run);

/// Pieces of random code that a child is given.
const GARBAGE_ROUNDS: usize = 400;
/// First page of the hypervisor's image.
const HYPERVISOR: u64 = 0x10_0000;
/// Pages that are looked at in each of the hypervisor's ranges.
const PROBES: u64 = 24;

code!(halt: "mov eax, 0x600d", "hlt");
code!(ud: "ud2");
code!(svme: "mov ecx, 0xc0000080", "rdmsr", "bts eax, 12", "wrmsr", "mov eax, 0xbad", "hlt");
code!(osxsave: "mov rax, cr4", "bts rax, 18", "mov cr4, rax", "vaddps ymm0, ymm1, ymm2", "mov eax, 0xbad", "hlt");
code!(xcr0: "mov rax, cr4", "bts rax, 18", "mov cr4, rax", "xor ecx, ecx", "xor edx, edx", "mov eax, 7", "xsetbv", "hlt");
code!(debug: "mov rax, 0x400", "mov dr7, rax", "mov rax, 0x1000000", "mov dr0, rax", "bts qword ptr [rsp - 8], 8", "hlt");
code!(descriptors: "lidt [0xa000]", "lgdt [0xa000]", "xor eax, eax", "mov cr2, rax", "hlt");
code!(bad_stack: "mov rsp, 0x8000000000000000", "push rax", "hlt");
code!(bad_tables: "mov rax, 0xffffffff000", "mov cr3, rax", "hlt");

// PKRU as it was, as it is after a write, and after an exit (CPUID).
code!(keys: "mov rax, cr4", "bts rax, 22", "mov cr4, rax", "xor ecx, ecx", "rdpkru", "mov esi, eax", "xor edx, edx",
    "mov eax, 0xc", "wrpkru", "rdpkru", "mov edi, eax", "xor eax, eax", "cpuid", "xor ecx, ecx", "rdpkru",
    "mov ebx, eax", "hlt");
code!(tsc_aux: "mov ecx, 0x55", "rdtscp", "hlt");

fn run(kernel: &mut Kernel) {
    kernel.case("the hypervisor's memory is not the root's", |kernel| hypervisor_memory(kernel));
    kernel.case("the hypervisor's ports are not the root's", |_| hypervisor_ports());
    kernel.case("A20 is not the root's to switch", |_| a20());
    kernel.case("no wider state than x87 and SSE", |_| {
        // #GP already for CR4.OSXSAVE where the processor has no XSAVE at all.
        let result = cpu::set_xcr0(7);
        ensure!(matches!(result, Err(Trap::UD | Trap::GP)), "XSETBV in the root: {result:?}");
        Ok(())
    });
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Parent, &mut Child) -> Outcome| {
            case(kernel, parent, name, |_, parent, child| run(parent, child));
        };
        with("EFER.SVME is #GP in a child", |parent, child| faults(parent, child, svme(), &[13]));
        with("XSETBV is not a child's", |parent, child| faults(parent, child, xcr0(), &[6, 13]));
        with("AVX is not a child's", |parent, child| faults(parent, child, osxsave(), &[6, 13]));
        with("protection keys do not outlive a run of the child", protection_keys);
        with("TSC_AUX tells a child nothing", aux);
        with("a child's descriptor tables and debug registers are its own", own_tables);
        with("a stack that is no address", |parent, child| ends_badly(parent, child, bad_stack()));
        with("an exception stack in the hypercall page", stack_in_overlay);
        with("tables that are no memory", |parent, child| ends_badly(parent, child, bad_tables()));
        with("registers that make no sense", nonsense);
        with("random code", garbage);
    });
}

/// The image, and what was taken from the end of RAM: tables, control blocks, nested tables. Nothing of it is shown to the
/// root yet: no hypercall page is enabled, no state page mapped.
fn hypervisor_memory(kernel: &Kernel) -> Outcome {
    let ranges = private_ranges(kernel.start_info, HYPERVISOR);
    ensure_eq!(ranges.len(), 2, "ranges of the hypervisor in the memory map");
    for range in ranges {
        let pages = (range.end - range.start) / PAGE;
        let stride = (pages / PROBES).max(1);
        let last = range.end - PAGE;
        for page in (0..pages).step_by(usize::try_from(stride).unwrap_or(1)) {
            out_of_reach(range.start + page * PAGE)?;
        }
        out_of_reach(last)?;
        out_of_reach(last + PAGE - 1)?;
    }
    Ok(())
}

fn out_of_reach(address: u64) -> Outcome {
    ensure_eq!(cpu::read_byte(address), Err(Trap::GP), "read of {address:#x}");
    // SAFETY: if it worked, it would be the hypervisor's memory that changes, and the test that fails.
    let result = unsafe { cpu::write_byte(address, 0) };
    ensure_eq!(result, Err(Trap::GP), "write to {address:#x}");
    Ok(())
}

fn hypervisor_ports() -> Outcome {
    for port in 0x3f8..=0x3ff {
        // SAFETY: the hypervisor's log, which the root cannot reach: nothing happens.
        let value = unsafe { rt::port::read_u8(port) };
        ensure_eq!(value, 0xff, "port {port:#x}");
        // SAFETY: as above.
        unsafe { rt::port::write_u8(port, b'X') };
    }
    // SAFETY: reading the port that ends the machine.
    ensure_eq!(unsafe { rt::port::read_u8(0xf4) }, 0xff, "port 0xf4");
    Ok(())
}

/// With A20 off, the hypervisor's image at 1 MiB would be at 0, and the next exit its last.
fn a20() -> Outcome {
    /// The keyboard controller's "A20 off", and "write the output port" with a value that has it off.
    const COMMANDS: [(u16, u8); 3] = [(0x64, 0xdd), (0x64, 0xd1), (0x60, 0xdd)];
    for (port, value) in COMMANDS.into_iter().chain([(0x92, 0), (0xee, 0)]) {
        // SAFETY: nothing happens, or the hypervisor is gone and the test with it.
        unsafe { rt::port::write_u8(port, value) };
        // SAFETY: nothing is there to be read.
        ensure_eq!(unsafe { rt::port::read_u8(port) }, 0xff, "port {port:#x}");
    }
    // SAFETY: the second byte is port 0x92's; otherwise as above.
    unsafe { rt::port::write_u16(0x91, 0) };
    // SAFETY: its low half is the first byte's port, to which nothing happens either; otherwise as above.
    unsafe { rt::port::write_u32(0x61, 0xdddd_dddd) };
    ensure_eq!(cpu::cpuid(0x4000_0001, 0)[0], 0x3123_7648, "the hypervisor's interface");
    out_of_reach(HYPERVISOR)
}

/// Runs code that must come to one of these exceptions; the handler is a HLT.
fn faults(parent: &mut Parent, child: &mut Child, code: &[u8], vectors: &[u64]) -> Outcome {
    child.reset(parent, code)?;
    for vector in vectors {
        child.set_gate(parent, *vector, CODE + 0x400)?;
    }
    child.run_to_halt(parent)?;
    ensure_eq!(child.rip(), CODE + 0x401, "RIP: in the handler of {vectors:?}");
    healthy(parent, child)
}

/// The child still does what it is told, and so does the parent.
fn healthy(parent: &mut Parent, child: &mut Child) -> Outcome {
    let none = [(Name::PENDING_INTERRUPTION, Value::from_u64(0)), (Name::INTERRUPT_STATE, Value::from_u64(0))];
    parent.client.set_registers(child.id, VP, &none)?;
    child.reset(parent, halt())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0x600d, "RAX of a child that is well");
    Ok(())
}

fn protection_keys(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, keys())?;
    child.set_gate(parent, 13, CODE + 0x400)?;
    child.run_to_halt(parent)?;
    // #GP for CR4.PKE: a processor without them.
    if child.rip() != CODE + 0x401 {
        let seen = (child.gpr(RSI), child.gpr(RDI), child.gpr(RBX));
        ensure_eq!(seen, (0, 0xc, 0), "PKRU at first, written, and after an exit");
    }
    healthy(parent, child)
}

fn aux(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, tsc_aux())?;
    child.set_gate(parent, 6, CODE + 0x400)?;
    child.run_to_halt(parent)?;
    // Not all emulators let RDTSCP exit.
    if child.rip() != CODE + 0x401 {
        ensure_eq!(child.gpr(RCX), 0, "what RDTSCP tells beside the time");
    }
    healthy(parent, child)
}

fn own_tables(parent: &mut Parent, child: &mut Child) -> Outcome {
    for code in [debug(), descriptors()] {
        child.reset(parent, code)?;
        child.run_to_halt(parent)?;
        // A fault here needs the parent's own tables.
        ensure_eq!(cpu::virtualization_instruction(0), Err(Trap::UD), "a fault of the parent");
    }
    parent.client.set_registers(child.id, VP, &[(Name::X64_DR7, Value::from_u64(0x400))])?;
    healthy(parent, child)
}

fn ends_badly(parent: &mut Parent, child: &mut Child, code: &[u8]) -> Outcome {
    child.reset(parent, code)?;
    ensure_eq!(child.run(parent)?, DispatchEnd::Intercept, "the end of the dispatch");
    Ok(())
}

/// No exception can be delivered, neither the first nor those that come of it. That ends the child, not the machine.
fn stack_in_overlay(parent: &mut Parent, child: &mut Child) -> Outcome {
    const OVERLAY: u64 = 0x9000;
    child.reset(parent, ud())?;
    for vector in [6, 8, 13] {
        child.set_gate(parent, vector, CODE + 0x400)?;
    }
    let registers = [
        (Name::GUEST_OS_ID, Value::from_u64(1)),
        (Name::X64_HYPERCALL, Value::from_u64(OVERLAY | 1)),
        (Name::X64_RSP, Value::from_u64(OVERLAY + PAGE)),
    ];
    parent.client.set_registers(child.id, VP, &registers)?;
    let _: HvX64BareInterceptMessage = child.run_to(parent, HvMessageType::UNRECOVERABLE_EXCEPTION)?;
    healthy(parent, child)
}

fn nonsense(parent: &mut Parent, child: &mut Child) -> Outcome {
    let strange = [
        (Name::X64_CR3, 0xffff_ffff_f000),
        (Name::X64_RIP, 0x8000_0000_0000_0000),
        (Name::X64_RSP, 1),
        (Name::X64_EFER, 0),
        (Name::X64_CR4, 0),
        (Name::X64_CR0, 0x8000_0001),
        (Name::X64_CS, 0),
        (Name::X64_TR, 0),
        (Name::X64_DR7, 0xffff_ffff),
        (Name::X64_RFLAGS, 0xffff_ffff),
    ];
    for (name, value) in strange {
        let mut fresh = Value::from_u64(value);
        fresh.high = value;
        child.reset(parent, halt())?;
        // Either it is refused now, or the run comes to some end; nobody else suffers.
        if parent.client.set_registers(child.id, VP, &[(name, fresh)]).is_ok() {
            run_for_a_while(parent, child)?;
        }
        let back = [(Name::X64_DR7, Value::from_u64(0x400)), (Name::PENDING_INTERRUPTION, Value::from_u64(0))];
        parent.client.set_registers(child.id, VP, &back)?;
    }
    healthy(parent, child)
}

fn run_for_a_while(parent: &mut Parent, child: &mut Child) -> Outcome {
    let hz = read_msr(HV_X64_MSR_APIC_FREQUENCY).unwrap_or(1 << 30);
    timer::arm(u32::try_from(hz / 1000).unwrap_or(u32::MAX));
    let end = child.run(parent);
    timer::disarm();
    timer::take_pending();
    end.map(|_| ())
}

fn garbage(parent: &mut Parent, child: &mut Child) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(0x6a72_6261_6765);
    let pristine: [u64; 512] = core::array::from_fn(|index| child.memory.read_u64(TABLES + index as u64 * 8));
    for _ in 0..GARBAGE_ROUNDS {
        let mut code = [0; 256];
        rng.fill_bytes(&mut code);
        // Tables and descriptors may have been overwritten by the last round.
        for (index, entry) in (0..).zip(pristine) {
            child.memory.write_u64(TABLES + index * 8, entry);
        }
        child.prepare_memory();
        child.reset(parent, &code)?;
        let random = (0..16).map(|n| (Name(Name::X64_RAX.0 + n), Value::from_u64(rng.next_u64() % (16 * PAGE))));
        let random: kernels::alloc::vec::Vec<_> = random.filter(|(name, _)| *name != Name::X64_RSP).collect();
        parent.client.set_registers(child.id, VP, &random)?;
        run_for_a_while(parent, child)?;
        let none = (Name::PENDING_INTERRUPTION, Value::from_u64(0));
        parent.client.set_registers(child.id, VP, &[none])?;
    }
    child.prepare_memory();
    healthy(parent, child)
}
