//! Model-specific registers, CPUID, ports, and instructions that a child has no use for. What is not there is #GP, #UD or
//! silence, as on a machine without it.

use core::ops::RangeInclusive;

use proto::DOORBELL_PORT;
use tlfs::msr::{
    HV_X64_MSR_APIC_FREQUENCY, HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TSC_FREQUENCY,
};
use tlfs::partition::PrivilegeMask;

use crate::cpu::{self, Odd, Width};
use crate::report::Tally;
use crate::rng::Rng;
use crate::{Shim, memory};

/// All that the permission maps of a processor cover, and the synthetic range.
const MSRS: [RangeInclusive<u32>; 5] = [
    0..=0x1fff,
    0x4000_0000..=0x4000_01ff,
    0xc000_0000..=0xc000_1fff,
    0xc001_0000..=0xc001_1fff,
    0xffff_fff0..=0xffff_ffff,
];
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
/// TSC_AUX, which comes and goes with the engine.
const TSC_AUX: u32 = 0xc000_0103;
/// What it may write, EFER aside (that ends it).
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
    instructions(shim);
    ports(shim);
}

fn msrs(shim: &mut Shim) {
    let (mut reads, mut writes) = (Tally::new(), Tally::new());
    let mut rng = Rng::new(0x6d73_7273);
    let random = core::iter::repeat_with(move || rng.word()).take(2000);
    for msr in MSRS.into_iter().flatten().chain(random).filter(|msr| *msr != TSC_AUX) {
        let wanted = if READABLE.contains(&msr) { Ok(()) } else { Err((cpu::GP, 0)) };
        let read = cpu::read_msr(msr).map(|_| ()).map_err(|trap| (trap.vector, trap.error));
        reads.expect(read, wanted, format_args!("reading {msr:#x}"));
        if msr != EFER && !WRITABLE.contains(&msr) {
            for value in [0, u64::MAX] {
                let write = cpu::write_msr(msr, value).map_err(|trap| (trap.vector, trap.error));
                writes.expect(write, Err((cpu::GP, 0)), format_args!("writing {msr:#x}"));
            }
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

fn instructions(shim: &mut Shim) {
    const ILLEGAL: [Odd; 12] = [
        Odd::Vmrun,
        Odd::Vmload,
        Odd::Vmsave,
        Odd::Stgi,
        Odd::Clgi,
        Odd::Skinit,
        Odd::Invlpga,
        Odd::Invd,
        Odd::Wbinvd,
        Odd::Rdpmc,
        Odd::Monitor,
        Odd::Mwait,
    ];
    let page = shim.free.take_page();
    let mut tally = Tally::new();
    for instruction in ILLEGAL {
        let result = cpu::odd(instruction, page).map_err(|trap| trap.vector);
        tally.check(result == Err(cpu::UD), format_args!("{instruction:?}: {result:?}"));
    }
    shim.report("instructions of a hypervisor", &tally);
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
    let page = shim.free.take_page();
    memory::write_word(page, 0x1234);
    let address = proto::layout::DIRECT_MAP_VA + page;
    let mut tally = Tally::new();
    for port in [0, 0xf4, 0x3f8, 0xcf8, DOORBELL_PORT - 1, u16::MAX] {
        for (write, count) in [(true, 1), (true, u64::MAX), (false, 1), (false, 512)] {
            let result = cpu::port_string(port, write, address, count).map_err(|trap| trap.vector);
            tally.expect(result, Err(cpu::GP), format_args!("string at port {port:#x}"));
        }
    }
    tally.expect(memory::read::<u64>(page), 0x1234, "what strings write");
    shim.report("string ports", &tally);
}
