//! Discovery and calls on the processor that this runs on.
//!
//! Everything relies on one promise of the image: all of its guest physical memory is identity-mapped, so that a page
//! number of the hypervisor's is an address here, and the other way round.
use alloc::boxed::Box;
use core::arch::asm;
use core::fmt;

use tlfs::hypercall::{HypercallInput, HypercallOutput};
use tlfs::msr::{
    GuestOsId, HV_X64_MSR_APIC_FREQUENCY, HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_HYPERCALL, HV_X64_MSR_REFERENCE_TSC,
    HV_X64_MSR_TIME_REF_COUNT, HypercallMsr, ReferenceTscMsr,
};
use tlfs::time::ReferenceTscPage;

use crate::client::{PAGE, Transport};
use crate::clock;
use crate::discovery::Cpuid;

/// CPUID of this processor.
#[derive(Clone, Copy, Debug)]
pub struct ThisCpu;

impl Cpuid for ThisCpu {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
        [r.eax, r.ebx, r.ecx, r.edx]
    }
}

/// The hypervisor said that it has something and then did not give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// HV_X64_MSR_GUEST_OS_ID does not keep what was written.
    OsIdRefused,
    /// HV_X64_MSR_HYPERCALL cannot be enabled.
    NoHypercallPage,
    /// HV_X64_MSR_REFERENCE_TSC cannot be enabled.
    NoReferenceTsc,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OsIdRefused => "HV_X64_MSR_GUEST_OS_ID does not keep the id that was written",
            Self::NoHypercallPage => "HV_X64_MSR_HYPERCALL stays disabled: there is no hypercall page",
            Self::NoReferenceTsc => "HV_X64_MSR_REFERENCE_TSC stays disabled: there is no clock",
        })
    }
}

impl core::error::Error for SetupError {}

/// This project as an operating system: open source, and of a type that is no other's.
const OS_ID: GuestOsId = GuestOsId(0).with_open_source(true).with_os_type(0x43).with_version(1);

#[repr(C, align(4096))]
struct Page([u8; PAGE]);

/// The hypercall page of this partition, and this processor's input and output page.
pub struct HypercallPage {
    /// Address of the page, which starts with the instructions of a call.
    entry: u64,
    input: Box<Page>,
    output: Box<Page>,
}

impl fmt::Debug for HypercallPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HypercallPage({:#x})", self.entry)
    }
}

impl HypercallPage {
    /// Registers the OS id and enables the hypercall page. A root finds it where the hypervisor has placed it.
    ///
    /// # Errors
    /// [`SetupError`].
    ///
    /// # Safety
    /// In ring 0, in a partition for which [`crate::discovery::discover`] succeeded, once; all guest physical memory is identity-mapped,
    /// the hypercall page executable.
    pub unsafe fn enable() -> Result<Self, SetupError> {
        // SAFETY: discovery found AccessHypercallMsrs, so that the two registers are there; the page is enabled
        // where the hypervisor has it, over no memory of ours.
        let msr = unsafe {
            write_msr(HV_X64_MSR_GUEST_OS_ID, OS_ID.0);
            if read_msr(HV_X64_MSR_GUEST_OS_ID) != OS_ID.0 {
                return Err(SetupError::OsIdRefused);
            }
            let placed = HypercallMsr(read_msr(HV_X64_MSR_HYPERCALL));
            write_msr(HV_X64_MSR_HYPERCALL, placed.with_enabled(true).0);
            HypercallMsr(read_msr(HV_X64_MSR_HYPERCALL))
        };
        if !msr.enabled() {
            return Err(SetupError::NoHypercallPage);
        }
        let page = || Box::new(Page([0; PAGE]));
        Ok(Self { entry: msr.gpa_page() << 12, input: page(), output: page() })
    }

    fn enter(&mut self, control: HypercallInput, rdx: u64, r8: u64) -> HypercallOutput {
        let result: u64;
        // SAFETY: the page is enabled (`enable`) and holds the call instruction and RET. The hypervisor reads and writes what
        // `rdx` and `r8` name, which are our own pages, or takes them as values. It keeps all other registers (TLFS
        // "Hypercall Calling Convention"); those that it may change are named. XMM registers change only for
        // calls with output in them, which are not made here.
        unsafe {
            asm!(
                "call {entry}",
                entry = in(reg) self.entry,
                inout("rcx") control.0 => _,
                inout("rdx") rdx => _,
                inout("r8") r8 => _,
                out("rax") result,
                out("r9") _,
                out("r10") _,
                out("r11") _,
            );
        }
        HypercallOutput(result)
    }
}

impl Transport for HypercallPage {
    fn input(&mut self) -> &mut [u8; PAGE] {
        &mut self.input.0
    }

    fn output(&self) -> &[u8; PAGE] {
        &self.output.0
    }

    fn call(&mut self, control: HypercallInput) -> HypercallOutput {
        let input = (&raw const *self.input).expose_provenance() as u64;
        let output = (&raw mut *self.output).expose_provenance() as u64;
        self.enter(control, input, output)
    }

    fn call_fast(&mut self, control: HypercallInput, input: [u64; 2]) -> HypercallOutput {
        self.enter(control, input[0], input[1])
    }
}

/// Reference time of this partition, and the frequency of its timer.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    page: *const ReferenceTscPage,
}

// SAFETY: the page is only read, and stays where it is.
unsafe impl Send for Clock {}
// SAFETY: as above.
unsafe impl Sync for Clock {}

impl Clock {
    /// Enables the reference TSC page, where the hypervisor has placed it.
    ///
    /// # Errors
    /// [`SetupError`].
    ///
    /// # Safety
    /// As for [`HypercallPage::enable`].
    pub unsafe fn enable() -> Result<Self, SetupError> {
        // SAFETY: discovery found AccessPartitionReferenceTsc; the page is enabled where the hypervisor has it.
        let msr = unsafe {
            let placed = ReferenceTscMsr(read_msr(HV_X64_MSR_REFERENCE_TSC));
            write_msr(HV_X64_MSR_REFERENCE_TSC, placed.with_enabled(true).0);
            ReferenceTscMsr(read_msr(HV_X64_MSR_REFERENCE_TSC))
        };
        let address = usize::try_from(msr.gpa_page() << 12).map_err(|_| SetupError::NoReferenceTsc)?;
        if !msr.enabled() || address == 0 {
            return Err(SetupError::NoReferenceTsc);
        }
        Ok(Self { page: core::ptr::with_exposed_provenance(address) })
    }

    /// Reference time, in 100 ns.
    #[must_use]
    pub fn now(&self) -> u64 {
        // SAFETY: the page is enabled (`enable`) and identity-mapped.
        let page = || unsafe { self.page.read_volatile() };
        // SAFETY: every 64-bit processor has the instruction.
        let tsc = || unsafe { core::arch::x86_64::_rdtsc() };
        // SAFETY: discovery found AccessPartitionReferenceTsc, whose partitions have the counter too.
        clock::consistent_time(page, tsc).unwrap_or_else(|| unsafe { read_msr(HV_X64_MSR_TIME_REF_COUNT) })
    }
}

/// Frequency of the local APIC's timer before its divider, in Hz.
///
/// # Safety
/// In ring 0, in a partition for which [`crate::discovery::discover`] succeeded.
#[must_use]
pub unsafe fn apic_frequency() -> u64 {
    // SAFETY: discovery found AccessFrequencyRegs.
    unsafe { read_msr(HV_X64_MSR_APIC_FREQUENCY) }
}

/// RDMSR.
///
/// # Safety
/// The register exists, and reading it has no effect on memory safety.
unsafe fn read_msr(msr: u32) -> u64 {
    let (high, low): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// WRMSR.
///
/// # Safety
/// The register exists, takes this value, and what it does breaks nothing that the program relies on.
#[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
unsafe fn write_msr(msr: u32, value: u64) {
    // SAFETY: the caller's promise. Memory may change (an overlay page appears), so no `nomem`.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}
