//! The hypervisor is found as the TLFS says, and the root sees a machine without what the hypervisor keeps for itself.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::Cpuid;
use hvclient::machine::ThisCpu;
use kernels::cpu::{self, Trap, cpuid};
use kernels::{Kernel, ensure, ensure_eq};
use tlfs::cpuid::*;
use tlfs::partition::PrivilegeMask;

kernels::kernel!(run);

/// SVM in ECX of leaf 0x8000_0001.
const SVM: u32 = 1 << 2;
const SVM_LEAF: u32 = 0x8000_000a;

fn run(kernel: &mut Kernel) {
    kernel.case("start info", |kernel| {
        let left = kernel.memory.left();
        ensure!(left >= 1024, "only {left} free pages found through the PVH start info");
        Ok(())
    });
    kernel.case("signatures", |_| {
        ensure!(cpuid(1, 0)[2] & HYPERVISOR_PRESENT != 0, "the hypervisor bit of leaf 1 is clear");
        let [highest, b, c, d] = cpuid(HV_CPUID_VENDOR, 0);
        ensure_eq!([b, c, d], HV_VENDOR_SIGNATURE, "vendor");
        ensure!(highest >= HV_CPUID_MAX, "highest leaf {highest:#x}");
        ensure_eq!(cpuid(HV_CPUID_INTERFACE, 0)[0], HV_INTERFACE_SIGNATURE, "interface");
        Ok(())
    });
    kernel.case("privileges of a root", |_| {
        let [low, high, ..] = cpuid(HV_CPUID_FEATURES, 0);
        let mask = PrivilegeMask(u64::from(high) << 32 | u64::from(low));
        let wanted = PrivilegeMask::ACCESS_HYPERCALL_MSRS
            | PrivilegeMask::ACCESS_VP_INDEX
            | PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER
            | PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC
            | PrivilegeMask::ACCESS_FREQUENCY_REGS
            | PrivilegeMask::CREATE_PARTITIONS
            | PrivilegeMask::ACCESS_PARTITION_ID
            | PrivilegeMask::ACCESS_MEMORY_POOL
            | PrivilegeMask::CPU_MANAGEMENT;
        ensure!(mask.contains(wanted), "{:?} are missing", wanted - mask);
        let unserved = PrivilegeMask::ACCESS_SYNIC_REGS | PrivilegeMask::ACCESS_VSM | PrivilegeMask::POST_MESSAGES;
        ensure!(!mask.intersects(unserved), "{:?} are claimed but not served", mask & unserved);
        Ok(())
    });
    kernel.case("the client agrees", |_| {
        let found = hvclient::discovery::discover(&ThisCpu);
        ensure!(found.is_ok(), "discover: {found:?}");
        ensure_eq!(ThisCpu.cpuid(HV_CPUID_INTERFACE, 0), cpuid(HV_CPUID_INTERFACE, 0), "interface leaf");
        Ok(())
    });
    kernel.case("second-level translation is told", |_| {
        let hardware = HvHardwareFeatures(cpuid(HV_CPUID_HARDWARE, 0)[0]);
        let wanted = HvHardwareFeatures::SECOND_LEVEL_ADDRESS_TRANSLATION;
        ensure!(hardware.contains(wanted), "{hardware:?}");
        Ok(())
    });
    kernel.case("SVM is the hypervisor's", |_| {
        ensure!(cpuid(0x8000_0001, 0)[2] & SVM == 0, "leaf 0x80000001 shows SVM");
        ensure_eq!(cpuid(SVM_LEAF, 0), [0; 4], "leaf 0x8000000a");
        for which in 0..=6 {
            let result = cpu::virtualization_instruction(which);
            ensure_eq!(result, Err(Trap::UD), "SVM instruction {which}");
        }
        Ok(())
    });
}
