//! A VP's registers by their TLFS names.
//!
//! Setting a register checks it alone: what VMRUN refuses, or what would fault when the state is loaded, is
//! [`RegisterError::BadValue`]. Combinations are checked by the processor at the next run, since they
//! may be wrong for a while in the middle of setting several.

use core::ops::RangeInclusive;

use engine::{ControlRegs, RegisterError, Segment};
use tlfs::register::{HvRegisterName as Name, HvRegisterValue as Value, HvX64TableRegister};

use crate::segment;
use crate::vmcb::{EFER_SVME, VmcbSegment, interrupt_control};
use crate::vp::Vp;

/// What the processor accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bits of a physical address.
    pub physical_bits: u32,
    /// Bits of CR4 that exist and that a guest may use.
    pub cr4: u64,
    /// Bits of MXCSR that exist; others make FXRSTOR fault.
    pub mxcsr: u32,
    /// The one value that XCR0 ever has.
    pub xcr0: u64,
}

const CR0_PE: u64 = 1 << 0;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
const EFER_SCE: u64 = 1 << 0;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
const EFER_SETTABLE: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
/// Flags that exist, bit 1 included.
pub(crate) const RFLAGS_DEFINED: u64 = 0x3f_7fd7;
/// Breakpoint enable bits of DR7.
const DR7_ENABLES: u64 = 0xff;
const GPRS: RangeInclusive<u32> = Name::X64_RAX.0..=Name::X64_R15.0;
const XMMS: RangeInclusive<u32> = Name::X64_XMM0.0..=Name::X64_XMM15.0;
const MMXS: RangeInclusive<u32> = Name::X64_FP_MMX0.0..=Name::X64_FP_MMX7.0;
const DEBUGS: RangeInclusive<u32> = Name::X64_DR0.0..=Name::X64_DR3.0;
const SEGMENTS: [(Name, Segment); 6] = [
    (Name::X64_ES, Segment::Es),
    (Name::X64_CS, Segment::Cs),
    (Name::X64_SS, Segment::Ss),
    (Name::X64_DS, Segment::Ds),
    (Name::X64_FS, Segment::Fs),
    (Name::X64_GS, Segment::Gs),
];

/// Position of `name` in one of the ranges above.
fn index(name: Name, range: &RangeInclusive<u32>) -> usize {
    (name.0 - range.start()) as usize
}

fn segment_named(name: Name) -> Option<Segment> {
    SEGMENTS.iter().find(|(segment, _)| *segment == name).map(|(_, segment)| *segment)
}

/// DR0 to DR3, which may be in the processor instead of in the VP's state.
#[must_use]
pub fn is_breakpoint_address(name: Name) -> bool {
    DEBUGS.contains(&name.0)
}

/// Control registers and CPL.
#[must_use]
pub fn control(vp: &Vp) -> ControlRegs {
    let save = &vp.vmcb.save;
    ControlRegs {
        cr0: save.cr0,
        cr2: save.cr2,
        cr3: save.cr3,
        cr4: save.cr4,
        cr8: u64::from(vp.vmcb.control.interrupt_control & interrupt_control::V_TPR_MASK),
        efer: save.efer & !EFER_SVME,
        dr7: save.dr7,
        cpl: save.cpl,
    }
}

/// One register.
///
/// # Errors
/// [`RegisterError::Unknown`] for a name that is not an architectural register of this engine.
pub fn get(vp: &Vp, limits: &Limits, name: Name) -> Result<Value, RegisterError> {
    if let Some(value) = get_wide(vp, name) {
        return Ok(value);
    }
    let save = &vp.vmcb.save;
    let value = match name {
        _ if GPRS.contains(&name.0) => vp.state.core.gprs[index(name, &GPRS)],
        _ if DEBUGS.contains(&name.0) => vp.state.debug[index(name, &DEBUGS)],
        Name::X64_RIP => vp.state.core.rip,
        Name::X64_RFLAGS => vp.state.core.rflags,
        Name::X64_CR0 => save.cr0,
        Name::X64_CR2 => save.cr2,
        Name::X64_CR3 => save.cr3,
        Name::X64_CR4 => save.cr4,
        Name::X64_CR8 => control(vp).cr8,
        Name::X64_XFEM => limits.xcr0,
        Name::X64_DR6 => save.dr6,
        Name::X64_DR7 => save.dr7,
        Name::X64_EFER => save.efer & !EFER_SVME,
        Name::X64_KERNEL_GS_BASE => save.kernel_gs_base,
        Name::X64_PAT => save.pat,
        Name::X64_SYSENTER_CS => save.sysenter_cs,
        Name::X64_SYSENTER_EIP => save.sysenter_eip,
        Name::X64_SYSENTER_ESP => save.sysenter_esp,
        Name::X64_STAR => save.star,
        Name::X64_LSTAR => save.lstar,
        Name::X64_CSTAR => save.cstar,
        Name::X64_SFMASK => save.sfmask,
        _ => return Err(RegisterError::Unknown),
    };
    Ok(Value::from_u64(value))
}

/// The registers of more than 64 bits.
fn get_wide(vp: &Vp, name: Name) -> Option<Value> {
    let (save, fx) = (&vp.vmcb.save, &vp.state.fx);
    if let Some(which) = segment_named(name) {
        return Some(Value::from_segment(segment::to_tlfs(vp.segment(which))));
    }
    Some(match name {
        _ if XMMS.contains(&name.0) => Value::from_bytes(fx.xmm[index(name, &XMMS)]),
        _ if MMXS.contains(&name.0) => Value::from_bytes(fx.st[index(name, &MMXS)]),
        Name::X64_LDTR => Value::from_segment(segment::to_tlfs(&save.ldtr)),
        Name::X64_TR => Value::from_segment(segment::to_tlfs(&save.tr)),
        Name::X64_GDTR => Value::from_table(table_to_tlfs(&save.gdtr)),
        Name::X64_IDTR => Value::from_table(table_to_tlfs(&save.idtr)),
        Name::X64_FP_CONTROL_STATUS => fp_control_status(vp),
        Name::X64_XMM_CONTROL_STATUS => xmm_control_status(vp),
        _ => return None,
    })
}

fn table_to_tlfs(table: &VmcbSegment) -> HvX64TableRegister {
    HvX64TableRegister { pad: [0; 3], limit: u16::try_from(table.limit).unwrap_or(u16::MAX), base: table.base }
}

fn fp_control_status(vp: &Vp) -> Value {
    let fx = &vp.state.fx;
    Value::from_u128(
        u128::from(fx.fcw)
            | u128::from(fx.fsw) << 16
            | u128::from(fx.ftw) << 32
            | u128::from(fx.fop) << 48
            | u128::from(fx.fip) << 64,
    )
}

fn xmm_control_status(vp: &Vp) -> Value {
    let fx = &vp.state.fx;
    Value { low: fx.fdp, high: u64::from(fx.mxcsr) | u64::from(fx.mxcsr_mask) << 32 }
}

/// Sets one register.
///
/// # Errors
/// [`RegisterError::Unknown`] for a name that is not an architectural register of this engine;
/// [`RegisterError::BadValue`] for a value that the processor would refuse.
pub fn set(vp: &mut Vp, limits: &Limits, name: Name, value: Value) -> Result<(), RegisterError> {
    if let Some(which) = segment_named(name) {
        return vp.set_segment(which, value.segment());
    }
    match name {
        Name::X64_CR0 | Name::X64_CR3 | Name::X64_CR4 | Name::X64_CR8 | Name::X64_XFEM | Name::X64_EFER => {
            set_control(vp, limits, name, value.as_u64())
        }
        Name::X64_DR6 | Name::X64_DR7 => set_debug_control(vp, name, value.as_u64()),
        Name::X64_FP_CONTROL_STATUS => {
            set_fp_control_status(vp, value);
            Ok(())
        }
        Name::X64_XMM_CONTROL_STATUS => set_xmm_control_status(vp, limits, value),
        Name::X64_RFLAGS => set_flags(vp, value.as_u64()),
        Name::X64_PAT => set_pat(vp, value.as_u64()),
        _ => set_unchecked(vp, name, value),
    }
}

/// Registers that hold any value.
fn set_unchecked(vp: &mut Vp, name: Name, value: Value) -> Result<(), RegisterError> {
    if DEBUGS.contains(&name.0) {
        vp.use_debug();
        vp.state.debug[index(name, &DEBUGS)] = value.as_u64();
        return Ok(());
    }
    let (save, state) = (&mut vp.vmcb.save, &mut *vp.state);
    let word = match name {
        _ if GPRS.contains(&name.0) => &mut state.core.gprs[index(name, &GPRS)],
        Name::X64_RIP => &mut state.core.rip,
        Name::X64_CR2 => &mut save.cr2,
        Name::X64_KERNEL_GS_BASE => &mut save.kernel_gs_base,
        Name::X64_SYSENTER_CS => &mut save.sysenter_cs,
        Name::X64_SYSENTER_EIP => &mut save.sysenter_eip,
        Name::X64_SYSENTER_ESP => &mut save.sysenter_esp,
        Name::X64_STAR => &mut save.star,
        Name::X64_LSTAR => &mut save.lstar,
        Name::X64_CSTAR => &mut save.cstar,
        Name::X64_SFMASK => &mut save.sfmask,
        _ => return set_wide(vp, name, value),
    };
    *word = value.as_u64();
    Ok(())
}

/// Those of them with more than 64 bits.
fn set_wide(vp: &mut Vp, name: Name, value: Value) -> Result<(), RegisterError> {
    let (save, fx) = (&mut vp.vmcb.save, &mut vp.state.fx);
    match name {
        _ if XMMS.contains(&name.0) => fx.xmm[index(name, &XMMS)] = value.bytes(),
        _ if MMXS.contains(&name.0) => fx.st[index(name, &MMXS)] = value.bytes(),
        Name::X64_LDTR => save.ldtr = segment::from_tlfs(value.segment()),
        Name::X64_TR => save.tr = segment::from_tlfs(value.segment()),
        Name::X64_GDTR => save.gdtr = table_from_tlfs(value.table()),
        Name::X64_IDTR => save.idtr = table_from_tlfs(value.table()),
        _ => return Err(RegisterError::Unknown),
    }
    Ok(())
}

fn table_from_tlfs(table: HvX64TableRegister) -> VmcbSegment {
    VmcbSegment { limit: u32::from(table.limit), base: table.base, ..VmcbSegment::default() }
}

/// `Ok` if the condition holds.
fn valid(condition: bool) -> Result<(), RegisterError> {
    if condition { Ok(()) } else { Err(RegisterError::BadValue) }
}

fn set_control(vp: &mut Vp, limits: &Limits, name: Name, value: u64) -> Result<(), RegisterError> {
    let save = &mut vp.vmcb.save;
    match name {
        Name::X64_CR0 => {
            valid(value >> 32 == 0)?;
            valid(value & CR0_NW == 0 || value & CR0_CD != 0)?;
            valid(value & CR0_PG == 0 || value & CR0_PE != 0)?;
            save.cr0 = value;
        }
        Name::X64_CR3 => {
            valid(value >> limits.physical_bits == 0)?;
            save.cr3 = value;
        }
        Name::X64_CR4 => {
            valid(value & !limits.cr4 == 0)?;
            save.cr4 = value;
        }
        Name::X64_CR8 => {
            let priority = u32::try_from(value).ok().filter(|priority| *priority < 16);
            let interrupts = &mut vp.vmcb.control.interrupt_control;
            *interrupts = *interrupts & !interrupt_control::V_TPR_MASK | priority.ok_or(RegisterError::BadValue)?;
        }
        Name::X64_EFER => {
            valid(value & !EFER_SETTABLE == 0)?;
            save.efer = value | EFER_SVME;
        }
        _ => return valid(value == limits.xcr0),
    }
    update_long_mode_active(vp);
    Ok(())
}

/// EFER.LMA is not the setter's to choose: it follows from LME and paging.
fn update_long_mode_active(vp: &mut Vp) {
    let save = &mut vp.vmcb.save;
    if save.efer & EFER_LME != 0 && save.cr0 & CR0_PG != 0 {
        save.efer |= EFER_LMA;
    } else {
        save.efer &= !EFER_LMA;
    }
}

fn set_debug_control(vp: &mut Vp, name: Name, value: u64) -> Result<(), RegisterError> {
    valid(value >> 32 == 0)?;
    if name == Name::X64_DR6 {
        vp.vmcb.save.dr6 = value;
        return Ok(());
    }
    if value & DR7_ENABLES != 0 {
        vp.use_debug();
    }
    vp.vmcb.save.dr7 = value;
    Ok(())
}

fn set_flags(vp: &mut Vp, value: u64) -> Result<(), RegisterError> {
    valid(value & !RFLAGS_DEFINED == 0)?;
    vp.state.core.rflags = value;
    Ok(())
}

/// Each of the eight fields names a memory type: UC, WC, WT, WP, WB or UC-.
fn set_pat(vp: &mut Vp, value: u64) -> Result<(), RegisterError> {
    valid(value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7)))?;
    vp.vmcb.save.pat = value;
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "fields of the register, cut out of it")]
fn set_fp_control_status(vp: &mut Vp, value: Value) {
    let fx = &mut vp.state.fx;
    fx.fcw = value.low as u16;
    fx.fsw = (value.low >> 16) as u16;
    fx.ftw = (value.low >> 32) as u8;
    fx.fop = (value.low >> 48) as u16;
    fx.fip = value.high;
}

#[allow(clippy::cast_possible_truncation, reason = "a field of the register, cut out of it")]
fn set_xmm_control_status(vp: &mut Vp, limits: &Limits, value: Value) -> Result<(), RegisterError> {
    let mxcsr = value.high as u32;
    valid(mxcsr & !limits.mxcsr == 0)?;
    vp.state.fx.mxcsr = mxcsr;
    vp.state.fx.fdp = value.low;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vp::tests::vp;
    use engine::VpKind;
    use tlfs::register::{HvX64SegmentAttributes, HvX64SegmentRegister};

    const LIMITS: Limits = Limits { physical_bits: 40, cr4: 0x3f_07ff, mxcsr: 0xffff, xcr0: 3 };

    fn try_set(vp: &mut Vp, name: Name, value: u64) -> Result<(), RegisterError> {
        set(vp, &LIMITS, name, Value::from_u64(value))
    }

    fn read(vp: &Vp, name: Name) -> u64 {
        get(vp, &LIMITS, name).map(Value::as_u64).unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }

    #[test]
    fn what_is_set_is_read_back() {
        let mut vp = vp(VpKind::Child);
        let wide = Value { low: 0x1122_3344_5566_7788, high: 0x0000_a09b_0008_0000 };
        for &(name, _) in Name::NAMED {
            let before = get(&vp, &LIMITS, name);
            match before {
                Err(error) => {
                    assert_eq!(error, RegisterError::Unknown);
                    assert_eq!(set(&mut vp, &LIMITS, name, wide), Err(RegisterError::Unknown), "{name}");
                }
                Ok(value) => {
                    assert_eq!(set(&mut vp, &LIMITS, name, value), Ok(()), "{name}");
                    assert_eq!(get(&vp, &LIMITS, name), Ok(value), "{name}");
                }
            }
        }
        for name in [Name::X64_R15, Name::X64_RIP, Name::X64_LSTAR, Name::X64_DR3, Name::X64_CR2] {
            assert_eq!(try_set(&mut vp, name, 0xabcd), Ok(()));
            assert_eq!(read(&vp, name), 0xabcd, "{name}");
        }
        for name in [Name::X64_XMM0, Name::X64_XMM15, Name::X64_FP_MMX7] {
            assert_eq!(set(&mut vp, &LIMITS, name, wide), Ok(()));
            assert_eq!(get(&vp, &LIMITS, name), Ok(wide), "{name}");
        }
    }

    #[test]
    fn what_the_processor_refuses_is_a_bad_value() {
        let mut vp = vp(VpKind::Child);
        let bad = [
            (Name::X64_CR0, 1 << 32),
            (Name::X64_CR0, CR0_NW),
            (Name::X64_CR0, CR0_PG),
            (Name::X64_CR3, 1 << 40),
            (Name::X64_CR4, 1 << 22),
            (Name::X64_CR8, 16),
            (Name::X64_XFEM, 7),
            (Name::X64_EFER, EFER_SVME),
            (Name::X64_EFER, 1 << 14),
            (Name::X64_DR6, 1 << 32),
            (Name::X64_DR7, 1 << 32),
            (Name::X64_RFLAGS, 1 << 3),
            (Name::X64_PAT, 2),
        ];
        for (name, value) in bad {
            let before = read(&vp, name);
            assert_eq!(try_set(&mut vp, name, value), Err(RegisterError::BadValue), "{name} {value:#x}");
            assert_eq!(read(&vp, name), before, "{name}");
        }
        let mxcsr = Value { low: 0, high: 1 << 16 };
        assert_eq!(set(&mut vp, &LIMITS, Name::X64_XMM_CONTROL_STATUS, mxcsr), Err(RegisterError::BadValue));
        let both = HvX64SegmentRegister { attributes: HvX64SegmentAttributes(0xe09b), ..Default::default() };
        let cs = Value::from_segment(both);
        assert_eq!(set(&mut vp, &LIMITS, Name::X64_CS, cs), Err(RegisterError::BadValue));
    }

    #[test]
    fn svme_is_hidden_and_stays() {
        let mut vp = vp(VpKind::Child);
        assert_eq!(read(&vp, Name::X64_EFER), 0);
        assert_eq!(try_set(&mut vp, Name::X64_EFER, EFER_SCE), Ok(()));
        assert_eq!(vp.vmcb.save.efer, EFER_SVME | EFER_SCE);
        assert_eq!(control(&vp).efer, EFER_SCE);
    }

    #[test]
    fn long_mode_is_active_with_paging_in_either_order() {
        for order in [[Name::X64_EFER, Name::X64_CR0], [Name::X64_CR0, Name::X64_EFER]] {
            let mut vp = vp(VpKind::Child);
            for name in order {
                let value = if name == Name::X64_EFER { EFER_LME } else { CR0_PG | CR0_PE };
                assert_eq!(try_set(&mut vp, name, value), Ok(()));
            }
            assert_eq!(read(&vp, Name::X64_EFER), EFER_LME | EFER_LMA);
            assert_eq!(try_set(&mut vp, Name::X64_CR0, CR0_PE), Ok(()));
            assert_eq!(read(&vp, Name::X64_EFER), EFER_LME);
        }
    }

    #[test]
    fn stack_and_code_segments_decide_the_privilege_level() {
        let mut vp = vp(VpKind::Child);
        let segment = |attributes| {
            Value::from_segment(HvX64SegmentRegister {
                attributes: HvX64SegmentAttributes(attributes),
                ..Default::default()
            })
        };
        assert_eq!(set(&mut vp, &LIMITS, Name::X64_CS, segment(0xa0fb)), Ok(()));
        assert_eq!(control(&vp).cpl, 3);
        assert_eq!(set(&mut vp, &LIMITS, Name::X64_SS, segment(0xc093)), Ok(()));
        assert_eq!(control(&vp).cpl, 0);
        assert_eq!(set(&mut vp, &LIMITS, Name::X64_CS, segment(0xa0ff)), Ok(()), "conforming");
        assert_eq!(control(&vp).cpl, 0);
        assert_eq!(set(&mut vp, &LIMITS, Name::X64_DS, segment(0xc0f3)), Ok(()));
        assert_eq!(control(&vp).cpl, 0);
    }

    #[test]
    fn breakpoints_give_a_child_its_own_debug_registers() {
        let mut vp = vp(VpKind::Child);
        assert_eq!(try_set(&mut vp, Name::X64_DR7, 0x400), Ok(()));
        assert!(!vp.state.uses_debug);
        assert_eq!(try_set(&mut vp, Name::X64_DR7, 0x401), Ok(()));
        assert!(vp.state.uses_debug);
        assert_eq!(vp.vmcb.control.intercept_dr, 0);
    }
}
