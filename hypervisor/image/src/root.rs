//! The state in which the root's VP is entered.

use engine::{Engine, RBX, RegisterError, VpSlot};
use platform::handover;
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64SegmentAttributes, HvX64SegmentRegister};

/// Brings the root's VP into the state in which PVH enters an image.
pub(crate) fn enter<E: Engine>(engine: &mut E, vp: VpSlot, entry: u64) -> Result<(), RegisterError> {
    use HvRegisterName as Name;
    const CODE: HvX64SegmentAttributes = HvX64SegmentAttributes(0xc09b);
    const DATA: HvX64SegmentAttributes = HvX64SegmentAttributes(0xc093);
    const TASK: HvX64SegmentAttributes = HvX64SegmentAttributes(0x008b);
    /// Protected mode, and the bit that is always set.
    const CR0: u64 = 0x11;
    let flat = |selector, attributes| {
        HvRegisterValue::from_segment(HvX64SegmentRegister { base: 0, limit: u32::MAX, selector, attributes })
    };
    let task = HvX64SegmentRegister { limit: 0x67, attributes: TASK, ..Default::default() };
    engine.set_register(vp, Name::X64_CS, flat(8, CODE))?;
    for name in [Name::X64_SS, Name::X64_DS, Name::X64_ES, Name::X64_FS, Name::X64_GS] {
        engine.set_register(vp, name, flat(16, DATA))?;
    }
    engine.set_register(vp, Name::X64_TR, HvRegisterValue::from_segment(task))?;
    engine.set_register(vp, Name::X64_CR0, HvRegisterValue::from_u64(CR0))?;
    let core = engine.core_mut(vp);
    core.rip = entry;
    core.gprs[RBX] = handover::ADDRESS;
    Ok(())
}
