//! Faults on top of faults.

use engine::Fault;

/// Double fault; its error code is always zero.
const DOUBLE_FAULT: Fault = Fault { vector: 8, error_code: Some(0) };

/// What a VP is to be given that has to take #GP while the delivery of `interrupted` is not done: what the processor
/// makes of the two (APM 8.2.9). `None`: shutdown.
///
/// Giving it #GP each time would never end: while the exception stack is what the VP may not write, delivering one
/// leads to the next, without an instruction between them at which an interrupt could be taken.
pub(crate) fn protection_on_top_of(interrupted: Option<Fault>) -> Option<Fault> {
    match interrupted.map(|fault| fault.vector) {
        Some(8) => None,
        // #DE, #TS, #NP, #SS, #GP and #PF.
        Some(0 | 10..=14) => Some(DOUBLE_FAULT),
        _ => Some(Fault::GP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_ends() {
        for vector in 0..32 {
            let mut fault = Some(Fault { vector, error_code: None });
            let mut links = 0;
            while fault.is_some() {
                fault = protection_on_top_of(fault);
                links += 1;
            }
            let expected = match vector {
                8 => 1,
                0 | 10..=14 => 2,
                _ => 3,
            };
            assert_eq!(links, expected, "vector {vector}");
        }
        assert_eq!(protection_on_top_of(None), Some(Fault::GP));
    }
}
