//! Where a child stopped: the fault, and the call that it is.

use alloc::format;

use trace::{Abi, FaultRecord};

use crate::{Action, GENERAL_PROTECTION};

/// #GP's error code for `int 0x80` when ring 3 may not use that gate: vector 0x80 of the IDT (AMD APM volume 2, 8.4.1).
pub const INT_80_ERROR_CODE: u32 = 0x402;
/// The part of it that is looked at: it names a gate of the IDT, and the fault was not met while delivering an external
/// event. QEMU 7.2 has the vector in the wrong place in 64-bit mode (0x802); the instruction says which it was anyway.
const ERROR_CODE_TABLE: u32 = 0b11;

/// A fault that a child's VP stopped at, as the exception intercept tells it.
#[derive(Clone, Copy, Debug)]
pub struct CallSite<'a> {
    /// The exception's vector.
    pub vector: u8,
    /// Its error code; 0 for one without.
    pub error_code: u32,
    /// The privilege level that it came from.
    pub cpl: u8,
    /// General registers in the TLFS' order: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gprs: [u64; 16],
    /// Address of the instruction.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// The page table that the VP uses.
    pub cr3: u64,
    /// The first bytes of the instruction; may be too few, or none.
    pub instruction: &'a [u8],
    /// The thread, for the trace.
    pub thread: u32,
}

/// A call as it was read from the registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) abi: Abi,
    pub(crate) number: u64,
    pub(crate) args: [u64; 6],
    pub(crate) cr3: u64,
}

impl Call {
    /// Number in EAX; arguments in RDI, RSI, RDX, R10, R8, R9.
    pub(crate) fn x86_64(site: &CallSite<'_>) -> Self {
        let [rax, _, rdx, _, _, _, rsi, rdi, r8, r9, r10, ..] = site.gprs;
        Self { abi: Abi::X86_64, number: low32(rax), args: [rdi, rsi, rdx, r10, r8, r9], cr3: site.cr3 }
    }

    /// Number in EAX; arguments in EBX, ECX, EDX, ESI, EDI, EBP.
    pub(crate) fn i386(site: &CallSite<'_>) -> Self {
        let [rax, rcx, rdx, rbx, _, rbp, rsi, rdi, ..] = site.gprs;
        let args = [rbx, rcx, rdx, rsi, rdi, rbp].map(low32);
        Self { abi: Abi::I386, number: low32(rax), args, cr3: site.cr3 }
    }
}

#[cold]
pub(crate) fn fault(site: &CallSite<'_>, time: u64) -> FaultRecord {
    let error_code = has_error_code(site.vector).then_some(site.error_code);
    FaultRecord { time, thread: site.thread, vector: site.vector, error_code, rip: site.rip }
}

/// Whether the fault is that an INT instruction named a gate of the IDT that ring 3 may not use.
pub(crate) fn is_refused_gate(site: &CallSite<'_>) -> bool {
    site.vector == GENERAL_PROTECTION && site.error_code & ERROR_CODE_TABLE == INT_80_ERROR_CODE & ERROR_CODE_TABLE
}

/// The fault as it came.
pub(crate) fn reflect(site: &CallSite<'_>) -> Action {
    let error_code = has_error_code(site.vector).then_some(site.error_code);
    Action::Reflect { vector: site.vector, error_code }
}

#[cold]
pub(crate) fn shim_failed(site: &CallSite<'_>) -> Action {
    let reason = format!(
        "exception {} (error code {:#x}) in ring {} at {:#x}",
        site.vector, site.error_code, site.cpl, site.rip
    );
    Action::ShimFailed { reason }
}

/// The exceptions that push an error code (AMD64 manual volume 2, chapter 8).
fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

fn low32(value: u64) -> u64 {
    value & u64::from(u32::MAX)
}

/// Whether an address is one that 4-level paging can translate: bits 63 to 47 are equal.
pub(crate) fn is_canonical(address: u64) -> bool {
    let top = address >> 47;
    top == 0 || top == 0x1_ffff
}
