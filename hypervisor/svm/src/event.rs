//! Events that VMRUN delivers (EVENTINJ) and whose delivery an exit interrupted (EXITINTINFO); both have one
//! format (APM 15.20).

use engine::Fault;

/// There is an event.
pub const VALID: u64 = 1 << 31;
const ERROR_CODE_VALID: u64 = 1 << 11;
const TYPE_SHIFT: u32 = 8;
const TYPE_EXTERNAL: u64 = 0;
const TYPE_NMI: u64 = 2;
const TYPE_EXCEPTION: u64 = 3;
const TYPE_SOFTWARE: u64 = 4;
const NMI_VECTOR: u8 = 2;
const BREAKPOINT_VECTOR: u8 = 3;
const OVERFLOW_VECTOR: u8 = 4;

/// An event in flight to a VP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An external interrupt with its vector.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// An exception.
    Exception(Fault),
}

impl Event {
    /// EVENTINJ of this event.
    #[must_use]
    pub fn encode(self) -> u64 {
        match self {
            Event::Interrupt(vector) => VALID | TYPE_EXTERNAL << TYPE_SHIFT | u64::from(vector),
            Event::Nmi => VALID | TYPE_NMI << TYPE_SHIFT | u64::from(NMI_VECTOR),
            Event::Exception(fault) => {
                let error = fault.error_code.map_or(0, |code| ERROR_CODE_VALID | u64::from(code) << 32);
                VALID | TYPE_EXCEPTION << TYPE_SHIFT | u64::from(fault.vector) | error
            }
        }
    }

    /// The event that has to be delivered again after an exit with this EXITINTINFO.
    ///
    /// Software interrupts (INT n, and #BP and #OF of their instructions) are not: RIP still points at the instruction,
    /// which raises them again. The type alone does not decide: QEMU gives external interrupts and NMIs the type of
    /// exceptions, so vectors 32 and up are taken for interrupts and vector 2 for an NMI.
    #[must_use]
    pub fn interrupted(info: u64) -> Option<Self> {
        if info & VALID == 0 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "masked to eight bits")]
        let vector = (info & 0xff) as u8;
        #[allow(clippy::cast_possible_truncation, reason = "the high half")]
        let error_code = (info & ERROR_CODE_VALID != 0).then_some((info >> 32) as u32);
        match ((info >> TYPE_SHIFT) & 7, vector) {
            (TYPE_EXTERNAL, _) | (TYPE_EXCEPTION, 32..) => Some(Event::Interrupt(vector)),
            (TYPE_NMI, _) | (TYPE_EXCEPTION, NMI_VECTOR) => Some(Event::Nmi),
            (TYPE_SOFTWARE, _) | (TYPE_EXCEPTION, BREAKPOINT_VECTOR | OVERFLOW_VECTOR) => None,
            (TYPE_EXCEPTION, _) => Some(Event::Exception(Fault { vector, error_code })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_follows_the_manual() {
        assert_eq!(Event::Interrupt(0x80).encode(), 0x8000_0080);
        assert_eq!(Event::Nmi.encode(), 0x8000_0202);
        assert_eq!(Event::Exception(Fault::UD).encode(), 0x8000_0306);
        let page_fault = Fault { vector: 14, error_code: Some(7) };
        assert_eq!(Event::Exception(page_fault).encode(), 0x7_8000_0b0e);
    }

    #[test]
    fn what_was_interrupted_is_delivered_again() {
        for event in [
            Event::Interrupt(0x20),
            Event::Nmi,
            Event::Exception(Fault::GP),
            Event::Exception(Fault { vector: 14, error_code: Some(u32::MAX) }),
        ] {
            assert_eq!(Event::interrupted(event.encode()), Some(event));
        }
    }

    #[test]
    fn nothing_and_software_events_are_not() {
        assert_eq!(Event::interrupted(0), None);
        assert_eq!(Event::interrupted(0x0000_0306), None, "not valid");
        assert_eq!(Event::interrupted(0x8000_0480), None, "INT 0x80");
        assert_eq!(Event::interrupted(0x8000_0303), None, "#BP");
        assert_eq!(Event::interrupted(0x8000_0304), None, "#OF");
        assert_eq!(Event::interrupted(0x8000_0706), None, "reserved type");
    }

    #[test]
    fn exceptions_that_cannot_be_are_interrupts() {
        assert_eq!(Event::interrupted(0x8000_0330), Some(Event::Interrupt(0x30)));
        assert_eq!(Event::interrupted(0x8000_0302), Some(Event::Nmi));
    }
}
