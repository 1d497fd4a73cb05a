//! Exit codes (APM appendix C) and what they mean to the partition model. Nothing here judges or acts.

use engine::{Access, VpExit};
use tlfs::addr::Gpa;

/// Exit codes, as the processor writes them.
pub mod code {
    /// First of 16 reads and 16 writes of control registers.
    pub const CR_FIRST: u64 = 0x00;
    /// First of 16 reads of debug registers.
    pub const DR_FIRST: u64 = 0x20;
    /// Last of 16 writes of debug registers.
    pub const DR_LAST: u64 = 0x3f;
    /// First of 32 exceptions.
    pub const EXCEPTION_FIRST: u64 = 0x40;
    /// Last of 32 exceptions.
    pub const EXCEPTION_LAST: u64 = 0x5f;
    /// Physical interrupt.
    pub const INTR: u64 = 0x60;
    /// Physical NMI.
    pub const NMI: u64 = 0x61;
    /// System management interrupt.
    pub const SMI: u64 = 0x62;
    /// INIT.
    pub const INIT: u64 = 0x63;
    /// RDPMC
    pub const RDPMC: u64 = 0x6f;
    /// CPUID
    pub const CPUID: u64 = 0x72;
    /// RSM
    pub const RSM: u64 = 0x73;
    /// INVD
    pub const INVD: u64 = 0x76;
    /// HLT
    pub const HLT: u64 = 0x78;
    /// INVLPGA
    pub const INVLPGA: u64 = 0x7a;
    /// Port access
    pub const IOIO: u64 = 0x7b;
    /// MSR access
    pub const MSR: u64 = 0x7c;
    /// Task switch
    pub const TASK_SWITCH: u64 = 0x7d;
    /// Freeze on a legacy FP error
    pub const FERR_FREEZE: u64 = 0x7e;
    /// Triple fault
    pub const SHUTDOWN: u64 = 0x7f;
    /// VMRUN
    pub const VMRUN: u64 = 0x80;
    /// VMMCALL
    pub const VMMCALL: u64 = 0x81;
    /// VMLOAD
    pub const VMLOAD: u64 = 0x82;
    /// SKINIT
    pub const SKINIT: u64 = 0x86;
    /// RDTSCP
    pub const RDTSCP: u64 = 0x87;
    /// WBINVD
    pub const WBINVD: u64 = 0x89;
    /// MONITOR
    pub const MONITOR: u64 = 0x8a;
    /// RDPRU
    pub const RDPRU: u64 = 0x8e;
    /// Nested page fault
    pub const NESTED_PAGE_FAULT: u64 = 0x400;
    /// VMRUN refused the state
    pub const INVALID: u64 = u64::MAX;
    /// [`INVALID`] as QEMU writes it
    pub const INVALID_32: u64 = 0xffff_ffff;
}

/// An exit as the control block shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawExit {
    /// EXITCODE
    pub code: u64,
    /// EXITINFO1
    pub info1: u64,
    /// EXITINFO2
    pub info2: u64,
}

/// Whether an exception of this vector pushes an error code.
#[must_use]
pub const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// What the exit is to the partition model.
#[must_use]
pub fn decode(raw: RawExit) -> VpExit {
    match raw.code {
        code::VMMCALL => VpExit::Hypercall,
        code::CPUID => VpExit::Cpuid,
        code::MSR if raw.info1 & 1 == 0 => VpExit::MsrRead,
        code::MSR => VpExit::MsrWrite,
        code::IOIO => io_port(raw),
        code::NESTED_PAGE_FAULT => memory(raw),
        code::EXCEPTION_FIRST..=code::EXCEPTION_LAST => exception(raw),
        code::HLT => VpExit::Halt,
        code::INTR | code::NMI | code::SMI => VpExit::Interrupt,
        code::SHUTDOWN | code::INIT | code::TASK_SWITCH | code::FERR_FREEZE => VpExit::Shutdown,
        code::RDPMC
        | code::RSM
        | code::INVD
        | code::INVLPGA
        | code::VMRUN
        | code::VMLOAD..=code::RDTSCP
        | code::WBINVD
        | code::MONITOR..=code::RDPRU => VpExit::Forbidden,
        code::INVALID | code::INVALID_32 => VpExit::InvalidState,
        other => VpExit::Unknown(other),
    }
}

/// EXITINFO1 (APM 15.10.2): port 31:16, size one-hot 6:4, REP 3, string 2, IN 0. EXITINFO2: next RIP.
fn io_port(raw: RawExit) -> VpExit {
    let size = match (raw.info1 >> 4) & 7 {
        1 => 1,
        2 => 2,
        _ => 4,
    };
    #[allow(clippy::cast_possible_truncation, reason = "masked to sixteen bits")]
    let port = ((raw.info1 >> 16) & 0xffff) as u16;
    VpExit::IoPort {
        port,
        size,
        write: raw.info1 & 1 == 0,
        string: raw.info1 & 1 << 2 != 0,
        rep: raw.info1 & 1 << 3 != 0,
        next_rip: raw.info2,
    }
}

/// EXITINFO1 (APM 15.25.6): a page fault's error code, bit 33 for an access by the guest's own table walk.
/// EXITINFO2: the guest physical address. The linear address is not told.
fn memory(raw: RawExit) -> VpExit {
    let access = if raw.info1 & 1 << 4 != 0 {
        Access::Execute
    } else if raw.info1 & 1 << 1 != 0 {
        Access::Write
    } else {
        Access::Read
    };
    VpExit::Memory {
        gpa: Gpa(raw.info2),
        gva: None,
        access,
        during_walk: raw.info1 & 1 << 33 != 0,
        present: raw.info1 & 1 != 0,
    }
}

/// EXITINFO1: the error code. EXITINFO2: the faulting address, for #PF alone.
fn exception(raw: RawExit) -> VpExit {
    #[allow(clippy::cast_possible_truncation, reason = "between 0 and 31")]
    let vector = (raw.code - code::EXCEPTION_FIRST) as u8;
    #[allow(clippy::cast_possible_truncation, reason = "error codes have 32 bits")]
    let error_code = has_error_code(vector).then_some(raw.info1 as u32);
    VpExit::Exception { vector, error_code, parameter: if vector == 14 { raw.info2 } else { 0 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: u64, info1: u64, info2: u64) -> VpExit {
        decode(RawExit { code, info1, info2 })
    }

    #[test]
    fn instructions() {
        assert_eq!(exit(0x81, 0, 0), VpExit::Hypercall);
        assert_eq!(exit(0x72, 0, 0), VpExit::Cpuid);
        assert_eq!(exit(0x7c, 0, 0), VpExit::MsrRead);
        assert_eq!(exit(0x7c, 1, 0), VpExit::MsrWrite);
        assert_eq!(exit(0x78, 0, 0), VpExit::Halt);
        for code in
            [0x6f, 0x73, 0x76, 0x7a, 0x80, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e]
        {
            assert_eq!(exit(code, 0, 0), VpExit::Forbidden, "{code:#x}");
        }
    }

    #[test]
    fn events() {
        assert_eq!(exit(0x60, 0, 0), VpExit::Interrupt);
        assert_eq!(exit(0x61, 0, 0), VpExit::Interrupt);
        assert_eq!(exit(0x62, 0, 0), VpExit::Interrupt, "an SMI: any program can cause one, and it is the machine's");
        assert_eq!(exit(0x7f, 0, 0), VpExit::Shutdown);
        assert_eq!(exit(u64::MAX, 0, 0), VpExit::InvalidState);
        assert_eq!(exit(0xffff_ffff, 0, 0), VpExit::InvalidState);
        assert_eq!(exit(0x401, 0, 0), VpExit::Unknown(0x401));
    }

    #[test]
    fn ports() {
        // out 0xf4, al
        assert_eq!(
            exit(0x7b, 0x00f4_0010, 0x1234),
            VpExit::IoPort { port: 0xf4, size: 1, write: true, string: false, rep: false, next_rip: 0x1234 }
        );
        // rep insd from 0xcfc
        assert_eq!(
            exit(0x7b, 0x0cfc_004d, 8),
            VpExit::IoPort { port: 0xcfc, size: 4, write: false, string: true, rep: true, next_rip: 8 }
        );
        assert!(matches!(exit(0x7b, 0xffff_0021, 0), VpExit::IoPort { port: 0xffff, size: 2, write: false, .. }));
    }

    #[test]
    fn nested_page_faults() {
        assert_eq!(
            exit(0x400, 1 << 32 | 1 << 2, 0x5000),
            VpExit::Memory { gpa: Gpa(0x5000), gva: None, access: Access::Read, during_walk: false, present: false }
        );
        assert_eq!(
            exit(0x400, 1 << 33 | 0b111, 0x6008),
            VpExit::Memory { gpa: Gpa(0x6008), gva: None, access: Access::Write, during_walk: true, present: true }
        );
        assert!(matches!(exit(0x400, 1 << 32 | 0b1_0101, 0), VpExit::Memory { access: Access::Execute, .. }));
    }

    #[test]
    fn exceptions() {
        assert_eq!(exit(0x46, 9, 9), VpExit::Exception { vector: 6, error_code: None, parameter: 0 });
        assert_eq!(exit(0x4d, 0x402, 0), VpExit::Exception { vector: 13, error_code: Some(0x402), parameter: 0 });
        assert_eq!(exit(0x4e, 7, 0xabc), VpExit::Exception { vector: 14, error_code: Some(7), parameter: 0xabc });
    }
}
