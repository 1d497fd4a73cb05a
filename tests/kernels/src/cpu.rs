//! Instructions that the hypervisor answers, and what becomes of them: each may fault without harm.

use core::arch::asm;

use tlfs::msr::{SYNTHETIC_MSR_FIRST, SYNTHETIC_MSR_LAST};

pub use crate::trap::Trap;

/// Runs an instruction; if it faults, what follows goes on behind it, on the same stack. The operands must all be inputs or
/// in-outs, since a fault leaves outputs unwritten.
macro_rules! guarded {
    ($instruction:literal, $($operands:tt)*) => {{
        // SAFETY: the caller of the macro answers for the instruction; the address stored is that of the code
        // behind it, for the trap handler, and is taken back by `taken`.
        unsafe {
            asm!(
                "lea {resume}, [rip + 2f]",
                "mov [{slot}], {resume}",
                "mov {stack}, rsp",
                $instruction,
                "2:",
                "mov rsp, {stack}",
                resume = out(reg) _,
                stack = out(reg) _,
                slot = in(reg) $crate::trap::RESUME.as_ptr(),
                $($operands)*
            );
        }
        match $crate::trap::taken() {
            None => Ok(()),
            Some(trap) => Err(trap),
        }
    }};
}
pub(crate) use guarded;

/// CPUID: EAX, EBX, ECX, EDX.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// RDTSC.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: every 64-bit processor has it, and CR4.TSD is clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// RDMSR.
///
/// # Errors
/// What it raised.
pub fn read_msr(msr: u32) -> Result<u64, Trap> {
    let (mut low, mut high) = (0u64, 0u64);
    guarded!("rdmsr", in("ecx") msr, inout("rax") low, inout("rdx") high,)?;
    low &= 0xffff_ffff;
    high &= 0xffff_ffff;
    Ok(high << 32 | low)
}

/// WRMSR of a synthetic MSR. (Others could break the running kernel.)
///
/// # Errors
/// What it raised.
pub fn write_synthetic_msr(msr: u32, value: u64) -> Result<(), Trap> {
    assert!((SYNTHETIC_MSR_FIRST..=SYNTHETIC_MSR_LAST).contains(&msr), "{msr:#x} is not synthetic");
    guarded!("wrmsr", in("ecx") msr, in("rax") value & 0xffff_ffff, in("rdx") value >> 32,)
}

/// Reads the byte at a physical address, which is mapped one to one.
///
/// # Errors
/// What it raised.
pub fn read_byte(address: u64) -> Result<u8, Trap> {
    let mut value = 0u64;
    guarded!("movzx {value:e}, byte ptr [{address}]", value = inout(reg) value, address = in(reg) address,)?;
    Ok(u8::try_from(value & 0xff).unwrap_or(0))
}

/// Tries to write the byte at a physical address, which no one else uses.
///
/// # Safety
/// No object of the running kernel lies there.
///
/// # Errors
/// What it raised.
pub unsafe fn write_byte(address: u64, value: u8) -> Result<(), Trap> {
    guarded!("mov byte ptr [{address}], {value:l}", address = in(reg) address, value = in(reg) u64::from(value),)
}

/// Executes an instruction that must not be available to a guest: 0 VMRUN, 1 VMLOAD, 2 VMSAVE, 3 STGI, 4 CLGI, 5 INVLPGA, 6 SKINIT.
///
/// # Errors
/// What it raised.
pub fn virtualization_instruction(which: u8) -> Result<(), Trap> {
    // The operand is an address that is the kernel's own in no sense: the hypervisor has to refuse before it looks.
    let rax = 0xffff_f000u64;
    match which {
        0 => guarded!("vmrun rax", inout("rax") rax => _,),
        1 => guarded!("vmload rax", inout("rax") rax => _,),
        2 => guarded!("vmsave rax", inout("rax") rax => _,),
        3 => guarded!("stgi", inout("rax") rax => _,),
        4 => guarded!("clgi", inout("rax") rax => _,),
        5 => guarded!("invlpga rax, ecx", inout("rax") rax => _, inout("ecx") 0 => _,),
        _ => guarded!("skinit eax", inout("rax") rax => _,),
    }
}

/// Executes XSETBV with this value for XCR0, with CR4.OSXSAVE as it has to be for that.
///
/// # Errors
/// What it raised.
pub fn set_xcr0(value: u32) -> Result<(), Trap> {
    guarded!(
        "mov {cr4}, cr4
         bts {cr4}, 18
         mov cr4, {cr4}
         xsetbv",
        cr4 = inout(reg) 0u64 => _,
        in("ecx") 0,
        in("eax") value,
        in("edx") 0,
    )
}

/// The hypercall instruction itself, without the hypercall page.
///
/// # Errors
/// What it raised.
pub fn vmmcall(control: u64, rdx: u64, r8: u64) -> Result<u64, Trap> {
    let mut rax = 0u64;
    guarded!("vmmcall", inout("rax") rax, inout("rcx") control => _, inout("rdx") rdx => _, inout("r8") r8 => _,)?;
    Ok(rax)
}
