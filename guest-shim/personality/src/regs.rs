//! The user's registers, as the entry code of the shim image saves them.

/// Registers of ring 3 at an entry, in the order in which the entry code pushes them (last pushed first).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the processor's own")]
pub struct UserRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Exception vector, or [`SYSCALL_VECTOR`].
    pub vector: u64,
    /// Error code of the exception, or 0.
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// [`UserRegs::vector`] of a system call: no exception has this number.
pub const SYSCALL_VECTOR: u64 = 0x100;
