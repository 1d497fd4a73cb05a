//! The hypervisor is found as the TLFS says: the hypervisor bit, the signature `Hv#1`, enough leaves.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::x86_64::__cpuid;
use core::fmt::Write;
use kernels::{Log, check};

kernels::kernel!(run);

/// CPUID leaf 1, ECX: a hypervisor is present.
const HYPERVISOR_PRESENT: u32 = 1 << 31;
/// `Hv#1`, as leaf 0x4000_0001 gives it.
const INTERFACE: u32 = u32::from_le_bytes(*b"Hv#1");
/// First word of the PVH start info.
const START_MAGIC: u32 = 0x336e_c578;

fn run(log: &mut Log, start_info: u64) -> Result<(), &'static str> {
    let pointer =
        usize::try_from(start_info).map_err(|_| "start info above 64 bits")? as *const u32;
    // SAFETY: by the boot protocol the start info is there, in identity-mapped memory.
    let magic = unsafe { pointer.read() };
    check(
        magic == START_MAGIC,
        "the PVH start info is not where EBX pointed",
    )?;
    check(
        __cpuid(1).ecx & HYPERVISOR_PRESENT != 0,
        "the hypervisor bit of CPUID leaf 1 is clear",
    )?;
    let highest = __cpuid(0x4000_0000).eax;
    let interface = __cpuid(0x4000_0001).eax;
    let _ = writeln!(log, "highest leaf {highest:#x}, interface {interface:#x}");
    check(
        interface == INTERFACE,
        "the interface signature is not Hv#1",
    )?;
    check(
        highest >= 0x4000_0006,
        "leaves up to 0x40000006 are required",
    )
}
