//! Answers to the questions of rules that ask: the host sends one in a frame ([`crate::kind::ANSWER`]).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The call is carried out.
    Allow,
    /// It fails.
    Deny,
    /// The sandbox ends.
    Kill,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The sandbox that asks: its place in `bundle::RunConfig::programs`.
    pub sandbox: u16,
    /// The call that it asks about, as the trace numbers it.
    pub sequence: u64,
    /// What is said.
    pub choice: Choice,
}

/// An answer as it is sent.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Wire {
    sequence: [u8; 8],
    sandbox: [u8; 2],
    choice: u8,
}

impl Answer {
    /// The payload of a frame.
    #[must_use]
    pub fn encode(self) -> [u8; 11] {
        let choice = match self.choice {
            Choice::Allow => 0,
            Choice::Deny => 1,
            Choice::Kill => 2,
        };
        let wire = Wire { sequence: self.sequence.to_le_bytes(), sandbox: self.sandbox.to_le_bytes(), choice };
        zerocopy::transmute!(wire)
    }

    /// Reads the payload of a frame; nothing if it is none.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let wire = Wire::read_from_bytes(payload).ok()?;
        let choice = match wire.choice {
            0 => Choice::Allow,
            1 => Choice::Deny,
            2 => Choice::Kill,
            _ => return None,
        };
        let (sandbox, sequence) = (u16::from_le_bytes(wire.sandbox), u64::from_le_bytes(wire.sequence));
        Some(Self { sandbox, sequence, choice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_wire() {
        for choice in [Choice::Allow, Choice::Deny, Choice::Kill] {
            let answer = Answer { sandbox: 300, sequence: 1 << 40, choice };
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        let mut bytes = Answer { sandbox: 0, sequence: 1, choice: Choice::Kill }.encode();
        assert_eq!(Answer::decode(&bytes[1..]), None);
        bytes[10] = 3;
        assert_eq!(Answer::decode(&bytes), None);
    }
}
