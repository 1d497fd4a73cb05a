//! Whether this processor can run guests, and turning that on.

use core::arch::asm;
use core::fmt;

use raw_cpuid::CpuId;
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

use crate::leftovers::Leftovers;
use crate::registers::Limits;

/// Every processor with SVM has it.
const VM_CR: u32 = 0xc001_0114;
/// The A20 mask has no effect.
const VM_CR_A20_DISABLED: u64 = 1 << 2;
/// The firmware has locked SVM away.
const VM_CR_SVM_DISABLED: u64 = 1 << 4;
/// Where VMRUN saves the host's state.
const VM_HSAVE_PA: u32 = 0xc001_0117;
/// What RDTSCP and RDPID tell.
const TSC_AUX: u32 = 0xc000_0103;

/// Why this processor cannot run guests. The text is what the user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// No SVM.
    NoSvm,
    /// SVM, but locked away.
    Disabled,
    /// SVM, but no nested paging.
    NoNestedPaging,
    /// Too few address space identifiers to tell a guest from the host.
    NoAsids,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSvm => "this processor has no SVM (AMD-V)",
            Self::Disabled => "SVM (AMD-V) is disabled by the firmware",
            Self::NoNestedPaging => "this processor's SVM has no nested paging",
            Self::NoAsids => "this processor's SVM has no address space identifiers",
        })
    }
}

/// What the engine needs to know of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Number of address space identifiers, the host's included.
    pub asids: u32,
    /// What registers may hold.
    pub limits: Limits,
    /// What has to be cleared between VPs.
    pub leftovers: Leftovers,
}

/// Looks whether this processor can run guests. Changes nothing.
///
/// # Errors
/// What is missing.
pub fn detect() -> Result<Features, Unsupported> {
    let cpuid = CpuId::new();
    let extended = cpuid.get_extended_processor_and_feature_identifiers();
    if !extended.is_some_and(|info| info.has_svm()) {
        return Err(Unsupported::NoSvm);
    }
    // SAFETY: VM_CR exists where SVM does; reading it changes nothing.
    if unsafe { Msr::new(VM_CR).read() } & VM_CR_SVM_DISABLED != 0 {
        return Err(Unsupported::Disabled);
    }
    let svm = cpuid.get_svm_info().ok_or(Unsupported::NoSvm)?;
    if !svm.has_nested_paging() {
        return Err(Unsupported::NoNestedPaging);
    }
    let asids = svm.supported_asids();
    if asids < 2 {
        return Err(Unsupported::NoAsids);
    }
    Ok(Features { asids, limits: limits(&cpuid), leftovers: leftovers(&cpuid) })
}

fn leftovers<R: raw_cpuid::CpuIdReader>(cpuid: &CpuId<R>) -> Leftovers {
    let sizes = cpuid.get_processor_capacity_feature_info();
    Leftovers {
        protection_keys: cpuid.get_extended_feature_info().is_some_and(|info| info.has_pku()),
        x87_pointers: !sizes.is_some_and(|sizes| sizes.has_restore_fp_error_ptrs()),
    }
}

/// RDTSCP or RDPID: either comes with TSC_AUX.
fn has_tsc_aux<R: raw_cpuid::CpuIdReader>(cpuid: &CpuId<R>) -> bool {
    cpuid.get_extended_processor_and_feature_identifiers().is_some_and(|info| info.has_rdtscp())
        || cpuid.get_extended_feature_info().is_some_and(|info| info.has_rdpid())
}

fn limits<R: raw_cpuid::CpuIdReader>(cpuid: &CpuId<R>) -> Limits {
    let sizes = cpuid.get_processor_capacity_feature_info();
    Limits {
        physical_bits: sizes.map_or(36, |sizes| u32::from(sizes.physical_address_bits())),
        cr4: guest_cr4(cpuid),
        mxcsr: 0xffff,
        xcr0: if has_xsave(cpuid) { SSE_XCR0.bits() } else { XCr0Flags::X87.bits() },
    }
}

/// Wider state is not saved on a world switch, so no guest may have it.
const SSE_XCR0: XCr0Flags = XCr0Flags::X87.union(XCr0Flags::SSE);

fn has_xsave<R: raw_cpuid::CpuIdReader>(cpuid: &CpuId<R>) -> bool {
    cpuid.get_feature_info().is_some_and(|info| info.has_xsave())
}

/// The bits of CR4 that this processor has and a guest may use.
fn guest_cr4<R: raw_cpuid::CpuIdReader>(cpuid: &CpuId<R>) -> u64 {
    let mut bits = Cr4Flags::VIRTUAL_8086_MODE_EXTENSIONS
        | Cr4Flags::PROTECTED_MODE_VIRTUAL_INTERRUPTS
        | Cr4Flags::TIMESTAMP_DISABLE
        | Cr4Flags::DEBUGGING_EXTENSIONS
        | Cr4Flags::PAGE_SIZE_EXTENSION
        | Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::PERFORMANCE_MONITOR_COUNTER
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE;
    if let Some(info) = cpuid.get_feature_info() {
        bits.set(Cr4Flags::PCID, info.has_pcid());
        bits.set(Cr4Flags::OSXSAVE, info.has_xsave());
    }
    if let Some(info) = cpuid.get_extended_feature_info() {
        bits.set(Cr4Flags::FSGSBASE, info.has_fsgsbase());
        bits.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, info.has_smep());
        bits.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, info.has_smap());
        bits.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, info.has_umip());
    }
    bits.bits()
}

/// Turns SVM on, shuts interrupts out for as long as the hypervisor runs (GIF = 0, IF = 1), and fixes what no guest may
/// change: XCR0, TSC_AUX and the A20 mask.
///
/// The A20 mask clears bit 20 of every physical address, the hypervisor's and those that nested paging gives
/// included. Whoever reaches its switch (port 0x92, the keyboard controller) could make the hypervisor run
/// and believe the root's memory. Emulators do not know the bit that takes its effect away: there, that the switches are
/// kept from the root is all.
///
/// # Safety
/// [`detect`] must have succeeded on this processor. `host_save` is the physical address of a page that is
/// given to the processor for good. The interrupt descriptor table must be loaded.
pub unsafe fn enable(host_save: u64) {
    // SAFETY: SVM is there, so EFER.SVME and VM_HSAVE_PA are, and the caller gives the page up. CLGI comes before
    // STI, so no interrupt is taken here. XCR0 is only narrowed to what every processor with XSAVE has. PKRU is only about
    // user pages, of which the hypervisor has none. A20 is on: the boot protocol says so.
    unsafe {
        let vm_cr = Msr::new(VM_CR).read();
        if vm_cr & VM_CR_A20_DISABLED == 0 {
            Msr::new(VM_CR).write(vm_cr | VM_CR_A20_DISABLED);
        }
        Efer::update(|flags| flags.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE));
        Msr::new(VM_HSAVE_PA).write(host_save);
        asm!("clgi", "sti", options(nomem, nostack));
        let cpuid = CpuId::new();
        if has_tsc_aux(&cpuid) {
            Msr::new(TSC_AUX).write(0);
        }
        if leftovers(&cpuid).protection_keys {
            Cr4::update(|flags| flags.insert(Cr4Flags::PROTECTION_KEY_USER));
        }
        if has_xsave(&cpuid) {
            Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
            XCr0::write(SSE_XCR0);
        }
    }
}
