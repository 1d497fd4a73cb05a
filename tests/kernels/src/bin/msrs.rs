//! The synthetic MSRs of a root: OS id and hypercall page, VP index, frequencies, and #GP for what is not there.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use kernels::cpu::{self, Trap, read_msr, write_synthetic_msr as write_msr};
use kernels::parent::OS_ID;
use kernels::{Failure, Kernel, Outcome, ensure, ensure_eq};
use tlfs::msr::*;

kernels::kernel!(run);

/// The hypercall page: VMMCALL, RET.
const CODE: [u8; 4] = [0x0f, 0x01, 0xd9, 0xc3];

fn ok<T>(result: Result<T, Trap>, what: &str) -> Outcome<T> {
    result.map_err(|trap| Failure(kernels::alloc::format!("{what}: {trap:?}")))
}

fn hypercall_msr() -> Outcome<HypercallMsr> {
    Ok(HypercallMsr(ok(read_msr(HV_X64_MSR_HYPERCALL), "read of HYPERCALL")?))
}

fn enable() -> Outcome<HypercallMsr> {
    let placed = hypercall_msr()?;
    ok(write_msr(HV_X64_MSR_HYPERCALL, placed.with_enabled(true).0), "write of HYPERCALL")?;
    hypercall_msr()
}

fn run(kernel: &mut Kernel) {
    kernel.case("OS id starts at 0 and keeps what is written", |_| {
        ensure_eq!(read_msr(HV_X64_MSR_GUEST_OS_ID), Ok(0), "OS id at the start");
        ok(write_msr(HV_X64_MSR_GUEST_OS_ID, OS_ID.0), "write")?;
        ensure_eq!(read_msr(HV_X64_MSR_GUEST_OS_ID), Ok(OS_ID.0), "OS id");
        ok(write_msr(HV_X64_MSR_GUEST_OS_ID, 0), "write of 0")
    });
    kernel.case("without an OS id the hypercall page stays disabled", |_| {
        let msr = enable()?;
        ensure!(!msr.enabled(), "{msr:?}");
        ensure_eq!(cpu::vmmcall(0x46, 0, 0), Err(Trap::UD), "VMMCALL without an OS id");
        Ok(())
    });
    kernel.case("a root's hypercall page is where the hypervisor has it", |_| {
        ok(write_msr(HV_X64_MSR_GUEST_OS_ID, OS_ID.0), "write of the OS id")?;
        let placed = hypercall_msr()?;
        ensure!(placed.gpa_page() != 0, "no place is given: {placed:?}");
        let elsewhere = placed.with_gpa_page(placed.gpa_page() + 1).with_enabled(true);
        ok(write_msr(HV_X64_MSR_HYPERCALL, elsewhere.0), "write of HYPERCALL")?;
        let msr = hypercall_msr()?;
        ensure_eq!(msr, placed.with_enabled(true), "HYPERCALL");
        for (byte, address) in CODE.iter().zip(msr.gpa_page() << 12..) {
            ensure_eq!(cpu::read_byte(address), Ok(*byte), "byte at {address:#x}");
        }
        Ok(())
    });
    kernel.case("the hypercall page cannot be written", |_| {
        let msr = enable()?;
        // SAFETY: the page is the hypervisor's overlay, no memory of this image.
        let result = unsafe { cpu::write_byte((msr.gpa_page() << 12) + 0x800, 1) };
        ensure_eq!(result, Err(Trap::GP), "write");
        Ok(())
    });
    kernel.case("clearing the OS id disables the page", |_| {
        let msr = enable()?;
        ensure!(msr.enabled(), "{msr:?}");
        ok(write_msr(HV_X64_MSR_GUEST_OS_ID, 0), "write of 0")?;
        ensure_eq!(hypercall_msr()?, msr.with_enabled(false), "HYPERCALL");
        let result = cpu::read_byte(msr.gpa_page() << 12);
        ensure!(result != Ok(CODE[0]), "the page is still there");
        Ok(())
    });
    kernel.case("VP index", |_| {
        ensure_eq!(read_msr(HV_X64_MSR_VP_INDEX), Ok(0), "VP index");
        ensure_eq!(write_msr(HV_X64_MSR_VP_INDEX, 0), Err(Trap::GP), "write");
        Ok(())
    });
    kernel.case("frequencies", |_| {
        let tsc = ok(read_msr(HV_X64_MSR_TSC_FREQUENCY), "TSC_FREQUENCY")?;
        let apic = ok(read_msr(HV_X64_MSR_APIC_FREQUENCY), "APIC_FREQUENCY")?;
        ensure!((10_000_000..100_000_000_000).contains(&tsc), "a TSC of {tsc} Hz");
        ensure!((1_000_000..100_000_000_000).contains(&apic), "an APIC timer of {apic} Hz");
        ensure_eq!(write_msr(HV_X64_MSR_TSC_FREQUENCY, tsc), Err(Trap::GP), "write of TSC_FREQUENCY");
        ensure_eq!(write_msr(HV_X64_MSR_APIC_FREQUENCY, apic), Err(Trap::GP), "write of APIC_FREQUENCY");
        Ok(())
    });
    kernel.case("RESET reads as 0", |_| {
        ensure_eq!(read_msr(HV_X64_MSR_RESET), Ok(0), "RESET");
        ok(write_msr(HV_X64_MSR_RESET, 0), "write of 0")
    });
    kernel.case("what is not served is #GP", |_| {
        let unserved = [
            HV_X64_MSR_VP_RUNTIME,
            HV_X64_MSR_NPIEP_CONFIG,
            HV_X64_MSR_EOI,
            HV_X64_MSR_ICR,
            HV_X64_MSR_TPR,
            HV_X64_MSR_VP_ASSIST_PAGE,
            HV_X64_MSR_SCONTROL,
            HV_X64_MSR_SVERSION,
            HV_X64_MSR_SIEFP,
            HV_X64_MSR_SIMP,
            HV_X64_MSR_EOM,
            HV_X64_MSR_SINT0,
            HV_X64_MSR_SINT0 + 15,
            HV_X64_MSR_STIMER0_CONFIG,
            HV_X64_MSR_CRASH_P0,
            HV_X64_MSR_CRASH_CTL,
            0x4000_0004,
            0x4000_0fff,
            0x4123_4567,
            SYNTHETIC_MSR_LAST,
        ];
        for msr in unserved {
            ensure_eq!(read_msr(msr), Err(Trap::GP), "read of {msr:#x}");
            ensure_eq!(write_msr(msr, 0), Err(Trap::GP), "write of {msr:#x}");
        }
        Ok(())
    });
    kernel.case("the hypervisor's own MSRs are not the root's", |_| {
        // VM_CR, VM_HSAVE_PA.
        for msr in [0xc001_0114, 0xc001_0117] {
            ensure_eq!(read_msr(msr), Err(Trap::GP), "read of {msr:#x}");
        }
        let efer = ok(read_msr(0xc000_0080), "EFER")?;
        ensure!(efer & 1 << 12 == 0, "EFER shows SVME: {efer:#x}");
        Ok(())
    });
    kernel.case("a locked hypercall MSR stays as it is", |_| {
        ok(write_msr(HV_X64_MSR_GUEST_OS_ID, OS_ID.0), "write of the OS id")?;
        let locked = enable()?.with_locked(true);
        ok(write_msr(HV_X64_MSR_HYPERCALL, locked.0), "lock")?;
        ensure_eq!(hypercall_msr()?, locked, "HYPERCALL");
        let result = write_msr(HV_X64_MSR_HYPERCALL, locked.with_enabled(false).with_locked(false).0);
        ensure_eq!(result, Err(Trap::GP), "write to a locked register");
        ensure_eq!(hypercall_msr()?, locked, "HYPERCALL after the attempt");
        Ok(())
    });
}
