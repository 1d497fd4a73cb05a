//! The receiving side: bytes as they come, whole frames out.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use zerocopy::FromBytes;

use crate::{FrameHeader, FrameTooLong};

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// [`crate::kind`].
    pub kind: u16,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Bytes that were received and are not a whole frame yet; never more than one frame of the largest size
/// and what was fed last.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: VecDeque<u8>,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds received bytes. Take the frames out ([`Inbox::next_frame`]) before feeding more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// [`FrameTooLong`]: the stream is not a sequence of frames (any more).
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameTooLong> {
        const HEADER_LEN: usize = size_of::<FrameHeader>();
        let Ok((header, rest)) = FrameHeader::read_from_prefix(self.bytes.make_contiguous()) else {
            return Ok(None);
        };
        let len = header.payload_len()?;
        let Some(payload) = rest.get(..len) else {
            return Ok(None);
        };
        let frame = Frame { kind: header.kind, payload: payload.to_vec() };
        self.bytes.drain(..HEADER_LEN + len);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind;
    use zerocopy::IntoBytes;

    #[test]
    fn frames_come_out_whole_however_they_went_in() {
        let mut stream = Vec::new();
        for (kind, payload) in [(kind::STDIN, &b"hello"[..]), (kind::STDIN_EOF, b""), (kind::STDIN, b"x")] {
            stream.extend_from_slice(FrameHeader::new(kind, 0, payload.len()).unwrap().as_bytes());
            stream.extend_from_slice(payload);
        }
        for step in 1..stream.len() {
            let mut inbox = Inbox::new();
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                inbox.feed(piece);
                while let Some(frame) = inbox.next_frame().unwrap() {
                    frames.push((frame.kind, frame.payload));
                }
            }
            let expected =
                [(kind::STDIN, b"hello".to_vec()), (kind::STDIN_EOF, Vec::new()), (kind::STDIN, b"x".to_vec())];
            assert_eq!(frames, expected);
        }
    }

    #[test]
    fn a_frame_too_long_ends_it() {
        let mut inbox = Inbox::new();
        inbox.feed(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(inbox.next_frame(), Err(FrameTooLong));
    }
}
