//! Intercept messages: a child's exit in the words of the TLFS.

use engine::{ControlRegs, Engine, Segment, VpSlot};
use tlfs::addr::PartitionId;
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{
    HvInstructionLengthCr8, HvMessageHeader, HvMessageType, HvX64InterceptMessageHeader, HvX64VpExecutionState,
    MESSAGE_PAYLOAD_SIZE,
};

/// What every intercept message begins with.
pub(crate) fn intercept_header<E: Engine>(
    engine: &E,
    slot: VpSlot,
    vp_index: u32,
    instruction_length: u64,
    access: HvInterceptAccessType,
) -> HvX64InterceptMessageHeader {
    let control = engine.control(slot);
    let core = engine.core(slot);
    HvX64InterceptMessageHeader {
        vp_index,
        length_cr8: length_cr8(instruction_length, control.cr8),
        intercept_access_type: access,
        execution_state: execution_state(engine, slot, &control),
        cs_segment: engine.segment(slot, Segment::Cs),
        rip: core.rip,
        rflags: core.rflags,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "both are masked to four bits")]
fn length_cr8(instruction_length: u64, cr8: u64) -> HvInstructionLengthCr8 {
    HvInstructionLengthCr8(0).with_instruction_length((instruction_length & 0xf) as u8).with_cr8((cr8 & 0xf) as u8)
}

fn execution_state<E: Engine>(engine: &E, slot: VpSlot, control: &ControlRegs) -> HvX64VpExecutionState {
    HvX64VpExecutionState(0)
        .with_cpl(control.cpl & 3)
        .with_cr0_pe(control.cr0 & 1 != 0)
        .with_cr0_am(control.cr0 & (1 << 18) != 0)
        .with_efer_lma(control.efer & (1 << 10) != 0)
        .with_debug_active(control.dr7 & 0xff != 0)
        .with_interruption_pending(engine.pending_fault(slot).is_some())
        .with_interrupt_shadow(engine.in_interrupt_shadow(slot))
}

/// The header of a message whose payload is a `P`.
pub(crate) fn message_header<P>(message_type: HvMessageType, sender: PartitionId) -> HvMessageHeader {
    const { assert!(size_of::<P>() <= MESSAGE_PAYLOAD_SIZE) };
    HvMessageHeader {
        message_type,
        payload_size: u8::try_from(size_of::<P>()).unwrap_or(u8::MAX),
        message_flags: 0,
        reserved: [0; 2],
        sender: sender.0,
    }
}
