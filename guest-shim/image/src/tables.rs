//! Segments, task state and interrupt descriptors.

use core::arch::asm;
use core::cell::UnsafeCell;

use proto::ALARM_VECTOR;
use proto::layout::{KERNEL_CS, TSS};

use crate::entry;

/// Exceptions of the processor, and the alarm behind them.
const VECTORS: usize = 33;
/// Breakpoint: the one vector that a program may raise by INT3.
const BREAKPOINT: usize = 3;
/// Vectors that must not use the stack that they interrupt: NMI, double fault, machine check.
const OWN_STACK: [usize; 3] = [2, 8, 18];
/// Bytes of that other stack.
const FAULT_STACK: usize = 4096;

/// Task state segment (AMD APM 2, 12.2.5): only the stack pointers count.
#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

const _: () = assert!(size_of::<TaskState>() == 104);

/// An interrupt gate.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

/// Tables that the processor reads.
#[repr(C, align(16))]
struct Tables {
    gdt: [u64; 7],
    task: TaskState,
    idt: [Gate; VECTORS],
    fault_stack: [u8; FAULT_STACK],
}

struct Shared(UnsafeCell<Tables>);

// SAFETY: written once by `load`, at boot on the only processor; afterwards only the processor itself uses them.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    // Null, ring-0 code, ring-0 data, ring-3 data, ring-3 code; the task state takes two.
    gdt: [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff, 0, 0],
    task: TaskState {
        reserved0: 0,
        rsp: [0; 3],
        reserved1: 0,
        ist: [0; 7],
        reserved2: 0,
        reserved3: 0,
        // Beyond the limit: there is no I/O permission map, so ring 3 reaches no port.
        io_map: 104,
    },
    idt: [Gate { low: 0, high: 0 }; VECTORS],
    fault_stack: [0; FAULT_STACK],
}));

/// Last byte of the segment descriptors.
const GDT_LIMIT: u16 = 7 * 8 - 1;
/// Last byte of the interrupt descriptors.
const IDT_LIMIT: u16 = 33 * 16 - 1;

const _: () = assert!(VECTORS * size_of::<Gate>() == IDT_LIMIT as usize + 1 && ALARM_VECTOR as usize + 1 == VECTORS);

/// Operand of LGDT and LIDT.
#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Makes the tables and loads them. `stack` is the top of the stack for entries from ring 3.
///
/// # Safety
/// Once, at boot, in ring 0.
pub(crate) unsafe fn load(stack: u64) {
    let tables = TABLES.0.get();
    let task = address(&raw const TABLES) + core::mem::offset_of!(Tables, task) as u64;
    let fault_stack = address(&raw const TABLES) + core::mem::offset_of!(Tables, fault_stack) as u64;
    // SAFETY: nobody else has a reference to the tables, and the processor does not use them yet.
    let tables = unsafe { &mut *tables };
    tables.task.rsp = [stack, 0, 0];
    tables.task.ist = [fault_stack + FAULT_STACK as u64, 0, 0, 0, 0, 0, 0];
    [tables.gdt[5], tables.gdt[6]] = task_descriptor(task);
    for (vector, (gate, stub)) in tables.idt.iter_mut().zip(entry::stubs()).enumerate() {
        *gate = interrupt_gate(stub, vector == BREAKPOINT, OWN_STACK.contains(&vector));
    }
    let gdt = TablePointer { limit: GDT_LIMIT, base: address(&raw const tables.gdt) };
    let idt = TablePointer { limit: IDT_LIMIT, base: address(&raw const tables.idt) };
    // SAFETY: the tables are complete, stay where they are, and their first segments are those already in use.
    unsafe {
        asm!("lgdt [{}]", in(reg) &raw const gdt, options(readonly, nostack, preserves_flags));
        asm!("lidt [{}]", in(reg) &raw const idt, options(readonly, nostack, preserves_flags));
        asm!("ltr {:x}", in(reg) TSS, options(nostack, preserves_flags));
        // No local descriptor table: whatever address the register held, the program may map memory there.
        asm!("lldt {:x}", in(reg) 0_u16, options(nostack, preserves_flags));
    }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

/// An available 64-bit task state segment.
const fn task_descriptor(base: u64) -> [u64; 2] {
    let low = (size_of::<TaskState>() as u64 - 1) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// An interrupt gate (interrupts stay off) to ring 0.
fn interrupt_gate(target: u64, from_ring_3: bool, own_stack: bool) -> Gate {
    let ring = if from_ring_3 { 3 } else { 0 };
    let kind = 0x8e | ring << 5;
    let low = (target & 0xffff)
        | u64::from(KERNEL_CS) << 16
        | u64::from(own_stack) << 32
        | kind << 40
        | (target >> 16 & 0xffff) << 48;
    Gate { low, high: target >> 32 }
}
