//! Interrupts: those that a parent asserts in its child, and physical ones, which are the parent's.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::DispatchEnd;
use kernels::child::{CODE, Child, DATA, RAX, RBX, VP, case};
use kernels::cpu::read_msr;
use kernels::parent::Parent;
use kernels::{Kernel, Outcome, code, ensure, ensure_eq, interrupts, timer};
use tlfs::addr::PartitionId;
use tlfs::intercept::{HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::message::{HvMessageType, HvX64ExceptionInterceptMessage, HvX64IoPortInterceptMessage};
use tlfs::msr::HV_X64_MSR_APIC_FREQUENCY;
use tlfs::register::{HvRegisterName as Name, HvRegisterValue as Value, HvX64PendingInterruptionRegister as Pending};
use tlfs::status::HvStatus;

kernels::kernel!(run);

/// Vector that is asserted.
const VECTOR: u8 = 0x55;
/// Where the handlers are: at the end of the code's page.
const HANDLERS: u64 = CODE + 0x800;

code!(wait: "sti", "2:", "hlt", "jmp 2b");
code!(spin: "sti", "2:", "inc rbx", "jmp 2b");
code!(spin_closed: "cli", "2:", "inc rbx", "jmp 2b");
code!(closed: "mov ecx, 1000", "2:", "dec ecx", "jnz 2b", "mov rax, [0xa000]", "sti", "nop", "mov rbx, [0xa000]", "cli", "hlt");
// Interrupts off, with exits in between, until IRETQ lets them in.
code!(iret_opens: "out 0x99, al", "mov ecx, 1000", "2:", "dec ecx", "jnz 2b", "out 0x99, al", "mov rax, [0xa000]", "mov rdx, rsp",
    "mov ecx, ss", "push rcx", "push rdx", "push 0x202", "mov ecx, cs", "push rcx", "lea rcx, [rip + 3f]", "push rcx", "iretq",
    "3:", "nop", "mov rbx, [0xa000]", "cli", "hlt");
// Counts at DATA, and puts the vector in order of arrival behind it.
code!(handler: "push rax", "mov rax, [0xa000]", "inc rax", "mov [0xa000], rax", "pop rax", "iretq");
code!(first: "push rax", "mov rax, [0xa000]", "inc rax", "mov [0xa000], rax", "mov [0xa010], rax", "pop rax", "iretq");
code!(second: "push rax", "mov rax, [0xa000]", "inc rax", "mov [0xa000], rax", "mov [0xa018], rax", "pop rax", "iretq");
code!(telling: "push rax", "mov rax, [0xa000]", "inc rax", "mov [0xa000], rax", "out 0x99, al", "pop rax", "iretq");
code!(error_handler: "pop rax", "mov [0xa020], rax", "hlt");
code!(ud: "ud2");
code!(halt: "hlt");
// #DB behind each instruction that begins with TF set: NOPs, PUSHFQ, BTR and POPFQ.
code!(steps: "pushfq", "bts qword ptr [rsp], 8", "popfq", ".rept 20", "nop", ".endr", "pushfq", "btr qword ptr [rsp], 8",
    "popfq", "hlt");

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Parent, &mut Child) -> Outcome| {
            case(kernel, parent, name, |_, parent, child| run(parent, child));
        };
        with("an interrupt wakes and is taken", wakes);
        with("an interrupt waits for STI", waits);
        with("an interrupt is held over exits until IRET lets it in, and comes once", held_until_iret);
        with("the higher vector comes first", by_priority);
        with("an asserted vector is taken once", once);
        with("a vector asserted while its handler runs is taken again", again);
        with("bad interrupts are refused", refused);
        with("an exception is injected", injected);
        with("a fault that the parent hands back is delivered", handed_back);
        with("exceptions without end give the parent its turn, and none is lost", storm);
        with("a physical interrupt ends the run of a child that spins", ends_spin);
        with("also when the child has its interrupts off", ends_closed_spin);
        with("a pending physical interrupt does not starve the child for good", progress);
    });
}

fn prepare(parent: &mut Parent, child: &mut Child, code: &[u8], handlers: &[(u64, &[u8])]) -> Outcome {
    child.reset(parent, code)?;
    for (slot, (vector, handler)) in (0..).zip(handlers) {
        let at = HANDLERS + slot * 0x100;
        child.memory.write(at, handler);
        child.set_gate(parent, *vector, at)?;
    }
    child.memory.write(DATA, &[0; 64]);
    Ok(())
}

fn count(child: &Child) -> u64 {
    child.memory.read_u64(DATA)
}

fn wakes(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, wait(), &[(VECTOR.into(), handler())])?;
    child.run_to_halt(parent)?;
    ensure_eq!(count(child), 0, "interrupts before any was asserted");
    for round in 1..=5 {
        parent.client.assert_interrupt(child.id, 0, VECTOR)?;
        child.run_to_halt(parent)?;
        ensure_eq!(count(child), round, "interrupts taken");
    }
    child.run_to_halt(parent)?;
    ensure_eq!(count(child), 5, "interrupts after the last");
    Ok(())
}

fn waits(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, closed(), &[(VECTOR.into(), handler())])?;
    parent.client.assert_interrupt(child.id, 0, VECTOR)?;
    child.run_to_halt(parent)?;
    ensure_eq!((child.gpr(RAX), child.gpr(RBX)), (0, 1), "interrupts taken before STI and behind it");
    Ok(())
}

fn held_until_iret(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, iret_opens(), &[(VECTOR.into(), handler())])?;
    parent.client.install_intercept(child.id, HvInterceptType::X64_IO_PORT, Mask::WRITE, 0x99)?;
    for _ in 0..2 {
        let message: HvX64IoPortInterceptMessage = child.run_to(parent, HvMessageType::X64_IO_PORT_INTERCEPT)?;
        child.set_rip(child.rip() + u64::from(message.header.length_cr8.instruction_length()));
        parent.client.assert_interrupt(child.id, 0, VECTOR)?;
    }
    child.run_to_halt(parent)?;
    ensure_eq!((child.gpr(RAX), child.gpr(RBX)), (0, 1), "interrupts taken before IRETQ and behind it");
    ensure_eq!(count(child), 1, "interrupts taken in all");
    Ok(())
}

fn by_priority(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, closed(), &[(0x41, first()), (0x91, second())])?;
    parent.client.assert_interrupt(child.id, 0, 0x41)?;
    parent.client.assert_interrupt(child.id, 0, 0x91)?;
    child.run_to_halt(parent)?;
    // Both may come before the instruction behind STI is done, or one at a time.
    let order = (child.memory.read_u64(DATA + 0x18), child.memory.read_u64(DATA + 0x10));
    ensure!(order.0 == 1, "vectors 0x91 and 0x41 came as numbers {order:?}");
    Ok(())
}

fn once(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, wait(), &[(VECTOR.into(), handler())])?;
    for _ in 0..3 {
        parent.client.assert_interrupt(child.id, 0, VECTOR)?;
    }
    child.run_to_halt(parent)?;
    ensure_eq!(count(child), 1, "interrupts taken for one vector that was pending");
    Ok(())
}

fn again(parent: &mut Parent, child: &mut Child) -> Outcome {
    const TOLD: u64 = 0x99;
    prepare(parent, child, wait(), &[(VECTOR.into(), telling())])?;
    parent.client.install_intercept(child.id, HvInterceptType::X64_IO_PORT, Mask::WRITE, TOLD)?;
    parent.client.assert_interrupt(child.id, 0, VECTOR)?;
    for round in 1..=3 {
        let message: HvX64IoPortInterceptMessage = child.run_to(parent, HvMessageType::X64_IO_PORT_INTERCEPT)?;
        ensure_eq!(message.rax & 0xff, round, "interrupts taken");
        child.set_rip(child.rip() + u64::from(message.header.length_cr8.instruction_length()));
        if round < 3 {
            parent.client.assert_interrupt(child.id, 0, VECTOR)?;
        }
    }
    child.run_to_halt(parent)?;
    ensure_eq!(count(child), 3, "interrupts taken in all");
    Ok(())
}

fn refused(parent: &mut Parent, child: &mut Child) -> Outcome {
    let mut status = |id, apic, vector| {
        parent.client.assert_interrupt(id, apic, vector).map_or_else(|error| error.status, |()| HvStatus::SUCCESS)
    };
    ensure_eq!(status(child.id, 0, 8), HvStatus::INVALID_PARAMETER, "an exception's vector");
    ensure!(status(child.id, 7, VECTOR) != HvStatus::SUCCESS, "a processor that is not there took it");
    let nobody = PartitionId(0x7777_0000_0001);
    ensure_eq!(status(nobody, 0, VECTOR), HvStatus::INVALID_PARTITION_ID, "no partition");
    Ok(())
}

fn injected(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, halt(), &[(13, error_handler())])?;
    let event = Pending::exception(13, Some(0x1234));
    parent.client.set_registers(child.id, VP, &[(Name::PENDING_INTERRUPTION, Value::from_u64(event.0))])?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.memory.read_u64(DATA + 0x20), 0x1234, "error code on the child's stack");
    Ok(())
}

fn handed_back(parent: &mut Parent, child: &mut Child) -> Outcome {
    prepare(parent, child, ud(), &[(6, error_handler())])?;
    child.intercept_exceptions(parent, &[6])?;
    let _: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    let event = Pending::exception(6, None);
    parent.client.set_registers(child.id, VP, &[(Name::PENDING_INTERRUPTION, Value::from_u64(event.0))])?;
    child.run_to_halt(parent)?;
    // #UD has no error code: RIP is what the handler finds first.
    ensure_eq!(child.memory.read_u64(DATA + 0x20), CODE, "RIP on the child's stack");
    Ok(())
}

/// The engine delivers #DB itself: a child must not be able to keep it at that.
fn storm(parent: &mut Parent, child: &mut Child) -> Outcome {
    const STEPS: u64 = 23;
    prepare(parent, child, steps(), &[(1, handler())])?;
    let mut turns = 0;
    while turns < STEPS && child.run(parent)? == DispatchEnd::Ready {
        turns += 1;
    }
    child.run_to_halt(parent)?;
    ensure_eq!(count(child), STEPS, "exceptions taken");
    ensure!(turns > 0, "the parent had no turn");
    Ok(())
}

/// Ticks of the timer in about `ms` milliseconds.
fn ticks(ms: u64) -> Outcome<u32> {
    let hz = read_msr(HV_X64_MSR_APIC_FREQUENCY).map_err(|_| "no APIC frequency")?;
    Ok(u32::try_from(hz * ms / 1000).unwrap_or(u32::MAX))
}

/// Turns that prove that the child ran.
const TURNS: u64 = 1000;

/// Arms the timer and runs a child that counts turns, until the timer's interrupt ends it. A host that is busy elsewhere
/// can let the time pass before the child is entered at all, so it gets more time until it got somewhere.
fn turns_until_timer(parent: &mut Parent, child: &mut Child) -> Outcome {
    for ms in [5, 20, 100, 500, 2000, 5000] {
        let (turns, taken) = (child.gpr(RBX), interrupts());
        timer::arm(ticks(ms)?);
        ensure_eq!(child.run(parent)?, DispatchEnd::Ready, "the end of the dispatch");
        ensure_eq!(interrupts(), taken, "interrupts taken while the parent has them off");
        timer::take_pending();
        ensure_eq!(interrupts(), taken + 1, "interrupts taken");
        if child.gpr(RBX) > turns + TURNS {
            return Ok(());
        }
    }
    Err("the child never got anywhere".into())
}

fn spins(parent: &mut Parent, child: &mut Child, code: &[u8]) -> Outcome {
    child.reset(parent, code)?;
    turns_until_timer(parent, child)?;
    turns_until_timer(parent, child)
}

fn ends_spin(parent: &mut Parent, child: &mut Child) -> Outcome {
    spins(parent, child, spin())
}

fn ends_closed_spin(parent: &mut Parent, child: &mut Child) -> Outcome {
    spins(parent, child, spin_closed())
}

fn progress(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, spin())?;
    timer::arm(1);
    while !timer::is_pending() {}
    // It is pending, and the parent does not take it: each dispatch ends at once, without harm.
    for _ in 0..3 {
        ensure_eq!(child.run(parent)?, DispatchEnd::Ready, "the end of a dispatch");
    }
    timer::take_pending();
    turns_until_timer(parent, child)
}
