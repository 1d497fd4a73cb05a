//! State that neither the control block nor FXSAVE carries: what one VP leaves in the processor, another would find.
//!
//! It is cleared before a child runs. The root may see what a child left; it holds all of the child's registers anyway.

use core::arch::asm;

/// What this processor has of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// PKRU. No partition is told of it, but CR4 is a child's own, and with CR4.PKE it may write it.
    pub protection_keys: bool,
    /// The x87 pointers to the last instruction and operand: AMD's FXSAVE and FXRSTOR leave them alone while no exception
    /// is pending, unless the processor has XSAVEERPTR.
    pub x87_pointers: bool,
}

impl Leftovers {
    /// Clears it.
    ///
    /// # Safety
    /// CR4.PKE must be set if `protection_keys` is, the x87 unit must be usable if `x87_pointers` is, and the x87 registers
    /// must be nobody's.
    #[inline]
    pub(crate) unsafe fn clear(self) {
        if self.protection_keys {
            // SAFETY: the instructions exist (contract). The hypervisor has no user pages, which alone PKRU is about.
            // Reading is much cheaper than writing, and nearly always finds 0.
            unsafe {
                asm!(
                    "xor ecx, ecx",
                    "rdpkru",
                    "test eax, eax",
                    "jz 2f",
                    "xor eax, eax",
                    "wrpkru",
                    "2:",
                    out("eax") _, out("ecx") _, out("edx") _,
                    options(nomem, nostack),
                );
            }
        }
        if self.x87_pointers {
            // SAFETY: loading an integer leaves constants in the pointers. What would fault is cleared before: a pending
            // exception by FNCLEX, a full stack by EMMS.
            unsafe {
                asm!(
                    "fnclex", "emms", "fild dword ptr [{}]", in(reg) &raw const ZERO,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    options(readonly, nostack, preserves_flags),
                );
            }
        }
    }
}

static ZERO: u32 = 0;
