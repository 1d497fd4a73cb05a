//! Records as bytes.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::Record;

/// Bytes before a record: its length.
const PREFIX: usize = 2;

/// Appends a record to `out`. One that is too long for its prefix (none that the gate makes is) is left out.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    // The serializer writes to a vector: it cannot fail for these types.
    let Ok(bytes) = postcard::to_allocvec(record) else { return };
    let Ok(len) = u16::try_from(bytes.len()) else { return };
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// What came is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Takes a stream of records apart.
#[derive(Debug, Default)]
pub struct Decoder {
    waiting: VecDeque<u8>,
}

impl Decoder {
    /// At the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// More bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
    }

    /// The next record that is there as a whole.
    ///
    /// # Errors
    /// [`Malformed`]: the two sides do not understand each other.
    pub fn next_record(&mut self) -> Result<Option<Record>, Malformed> {
        let (Some(&low), Some(&high)) = (self.waiting.front(), self.waiting.get(1)) else { return Ok(None) };
        let len = PREFIX + usize::from(u16::from_le_bytes([low, high]));
        if self.waiting.len() < len {
            return Ok(None);
        }
        let bytes: Vec<u8> = self.waiting.drain(..len).skip(PREFIX).collect();
        postcard::from_bytes(&bytes).map(Some).map_err(|_| Malformed)
    }

    /// Whether a record has begun and not ended.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultRecord, ResultRecord};

    fn some() -> [Record; 2] {
        [
            Record::Result(ResultRecord { time: 7, sequence: 1 << 40, value: -2, missing: false }),
            Record::Fault(FaultRecord { time: 8, thread: 2, vector: 6, error_code: None, rip: u64::MAX }),
        ]
    }

    #[test]
    fn records_survive_any_cut() {
        let mut stream = Vec::new();
        some().iter().for_each(|record| encode(record, &mut stream));
        for size in 1..stream.len() {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                decoder.push(piece);
                while let Some(record) = decoder.next_record().unwrap() {
                    found.push(record);
                }
            }
            assert_eq!(found, some(), "in pieces of {size}");
            assert!(!decoder.is_torn());
        }
    }

    #[test]
    fn nonsense_is_no_record() {
        let mut decoder = Decoder::new();
        decoder.push(&[2, 0, 0xff, 0xff]);
        assert_eq!(decoder.next_record(), Err(Malformed));
        decoder.push(&[9, 0, 1]);
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(decoder.is_torn());
    }
}
