//! Intercept messages: a child's exit in the words of the TLFS.

use engine::{ControlRegs, Engine, Segment, VpSlot};
use tlfs::addr::PartitionId;
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{
    HvInstructionLengthCr8, HvMessageHeader, HvMessageType, HvX64InterceptMessageHeader, HvX64VpExecutionState,
};
use zerocopy::{Immutable, IntoBytes};

/// Largest message, header included.
const MESSAGE_SIZE: usize = 256;

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
    HvInstructionLengthCr8(0)
        .with_instruction_length((instruction_length & 0xf) as u8)
        .with_cr8((cr8 & 0xf) as u8)
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

/// A message as it goes into the page: built in one place, written at once.
pub(crate) struct Message {
    bytes: [u8; MESSAGE_SIZE],
    len: usize,
}

impl Message {
    pub(crate) fn new<P: IntoBytes + Immutable>(kind: HvMessageType, sender: PartitionId, payload: &P) -> Self {
        const HEADER: usize = size_of::<HvMessageHeader>();
        const { assert!(size_of::<P>() <= MESSAGE_SIZE - HEADER) };
        let header = HvMessageHeader {
            message_type: kind,
            payload_size: u8::try_from(size_of::<P>()).unwrap_or(u8::MAX),
            message_flags: 0,
            reserved: [0; 2],
            sender: sender.0,
        };
        let mut bytes = [0; MESSAGE_SIZE];
        let len = HEADER + size_of::<P>();
        let (head, tail) = bytes.split_at_mut(HEADER);
        head.copy_from_slice(header.as_bytes());
        if let Some(place) = tail.get_mut(..size_of::<P>()) {
            place.copy_from_slice(payload.as_bytes());
        }
        Self { bytes, len }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
