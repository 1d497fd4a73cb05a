//! Model-specific registers, CPUID, ports, and the processor's state: what a child has, it has for itself. MSRs and
//! instructions that it does not have end the sandbox ([`super::endings`]).

use proto::DOORBELL_PORT;
use tlfs::msr::{
    HV_X64_MSR_APIC_FREQUENCY, HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TSC_FREQUENCY,
};
use tlfs::partition::PrivilegeMask;

use crate::cpu::{self, Width};
use crate::report::Tally;
use crate::rng::Rng;
use crate::{Shim, memory};

const EFER: u32 = 0xc000_0080;
/// What a child may read: its clock; and what is its own or says nothing.
const READABLE: [u32; 20] = [
    0x10,
    0x1b,
    0x8b,
    0x174,
    0x175,
    0x176,
    0x1a0,
    0x277,
    HV_X64_MSR_TIME_REF_COUNT,
    HV_X64_MSR_REFERENCE_TSC,
    HV_X64_MSR_TSC_FREQUENCY,
    HV_X64_MSR_APIC_FREQUENCY,
    EFER,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];
/// What it may write of these.
const WRITABLE: [u32; 13] = [
    0x8b,
    0x174,
    0x175,
    0x176,
    0x277,
    HV_X64_MSR_REFERENCE_TSC,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];

pub(super) fn run(shim: &mut Shim) {
    msrs(shim);
    cpuid(shim);
    state(shim);
    ports(shim);
}

fn msrs(shim: &mut Shim) {
    let (mut reads, mut writes) = (Tally::new(), Tally::new());
    for msr in READABLE {
        let read = cpu::read_msr(msr);
        reads.check(read.is_ok(), format_args!("reading {msr:#x}: {read:?}"));
        if WRITABLE.contains(&msr) {
            writes.expect(cpu::write_msr(msr, read.unwrap_or(0)), Ok(()), format_args!("writing {msr:#x}"));
        }
    }
    shim.report("MSR reads", &reads);
    shim.report("MSR writes", &writes);
}

/// A child sees the hypervisor and its few privileges, and none of what it could use against it.
fn cpuid(shim: &mut Shim) {
    let [_, _, ecx, _] = cpu::cpuid(1, 0);
    shim.expect(
        "CPUID: a hypervisor is there, MONITOR, VMX, x2APIC and XSAVE are not",
        ecx & (1 << 31 | 1 << 3 | 1 << 5 | 1 << 21 | 1 << 26),
        1 << 31,
    );
    let [_, _, ecx, _] = cpu::cpuid(0x8000_0001, 0);
    shim.expect("CPUID: no SVM", ecx & 1 << 2, 0);
    shim.expect("CPUID: no SVM features", cpu::cpuid(0x8000_000a, 0), [0; 4]);
    let [eax, ebx, _, _] = cpu::cpuid(0x4000_0003, 0);
    let privileges = u64::from(eax) | u64::from(ebx) << 32;
    let clock = PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER
        | PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC
        | PrivilegeMask::ACCESS_FREQUENCY_REGS;
    shim.expect("CPUID: the clock's privileges alone", privileges, clock.bits());
    let mut rng = Rng::new(0x6370_7569);
    for _ in 0..2000 {
        cpu::cpuid(rng.word(), rng.word() & 0xff);
    }
    for leaf in 0x4000_0000..0x4000_0100 {
        cpu::cpuid(leaf, leaf);
    }
}

/// State that is odd when the processor leaves the child: the child finds it again, and nobody else does.
fn state(shim: &mut Shim) {
    const DR7: u64 = 0x400;
    const DIVIDED_BY_ZERO: u64 = 1 << 2;
    let mut tally = Tally::new();
    let here = memory::victim_code();
    tally.expect(cpu::breakpoints([here, u64::MAX, DR7]), Ok([here, u64::MAX, DR7]), "breakpoints");
    let hit = cpu::breakpoints([0, cpu::breakpoint_target(), DR7 | 1 << 6]).map_err(|trap| trap.vector);
    tally.expect(hit, Err(cpu::DB), "a breakpoint behind an exit");
    let flags = cpu::odd_flags().map(|flags| flags & cpu::ODD_FLAGS);
    tally.expect(flags, Ok(cpu::ODD_FLAGS), "flags");
    for _ in 0..100 {
        let (mxcsr, xmm) = (0x9fc0, [0x1234_5678_9abc_def0, u64::MAX]);
        let found = cpu::vectors(mxcsr, xmm).map(|(mxcsr, xmm, status)| (mxcsr, xmm, status & DIVIDED_BY_ZERO));
        tally.expect(found, Ok((u64::from(mxcsr), xmm, DIVIDED_BY_ZERO)), "vectors");
    }
    shim.report("odd state", &tally);
}

/// Every port, but for the doorbell's: nothing is there, the machine's end and the hypervisor's log included.
fn ports(shim: &mut Shim) {
    let mut tally = Tally::new();
    for port in 0..=u16::MAX {
        let widths: &[Width] =
            if port.is_multiple_of(61) { &[Width::Byte, Width::Word, Width::Double] } else { &[Width::Byte] };
        for &width in widths {
            let read = cpu::port_read(port, width).map_err(|trap| trap.vector);
            tally.expect(read, Ok(width.all_ones()), format_args!("reading port {port:#x}"));
            if !(DOORBELL_PORT - 3..=DOORBELL_PORT).contains(&port) {
                let written = cpu::port_write(port, width, 0x10).map_err(|trap| trap.vector);
                tally.expect(written, Ok(()), format_args!("writing port {port:#x}"));
            }
        }
    }
    shim.report("ports", &tally);
}
