//! The sending side of the root: output gathered into frames, and handed out as the host grants credit.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use crate::{FrameHeader, FrameTooLong, MAX_OUTPUT_PAYLOAD, OutputCredit, kind};

const HEADER_LEN: usize = size_of::<FrameHeader>();

/// Frames that wait for their way out, oldest first.
///
/// Bytes of one stream that follow each other share a frame as long as it waits: a program that writes
/// byte by byte costs no frame a byte.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Waiting>,
    queued: usize,
    credit: OutputCredit,
}

/// A frame under way, with room for its header at the front of `bytes`.
#[derive(Debug)]
struct Waiting {
    kind: u32,
    bytes: Vec<u8>,
}

impl Waiting {
    fn payload_len(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_LEN)
    }

    /// How many more bytes of `kind` this frame takes.
    fn room_for(&self, kind: u32) -> usize {
        let stream = matches!(kind, kind::STDOUT | kind::STDERR | kind::LOG | kind::TRACE);
        if stream && kind == self.kind { MAX_OUTPUT_PAYLOAD.saturating_sub(self.payload_len()) } else { 0 }
    }
}

impl Outbox {
    /// An empty one, with the credit that the host gives at start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that wait, headers included.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Adds bytes of a stream, in as many frames as they need.
    pub fn push_stream(&mut self, kind: u32, data: &[u8]) {
        let mut rest = data;
        if let Some(last) = self.frames.back_mut() {
            let (now, later) = rest.split_at(last.room_for(kind).min(rest.len()));
            last.bytes.extend_from_slice(now);
            self.queued += now.len();
            rest = later;
        }
        for chunk in rest.chunks(MAX_OUTPUT_PAYLOAD) {
            self.append(kind, chunk);
        }
    }

    /// Adds one whole message.
    ///
    /// # Errors
    /// [`FrameTooLong`] if it is longer than [`MAX_OUTPUT_PAYLOAD`].
    pub fn push_message(&mut self, kind: u32, payload: &[u8]) -> Result<(), FrameTooLong> {
        if payload.len() > MAX_OUTPUT_PAYLOAD {
            return Err(FrameTooLong);
        }
        self.append(kind, payload);
        Ok(())
    }

    /// What the host may be sent now: a frame with its header, or nothing (nothing waits, or the credit does not cover it).
    #[must_use]
    pub fn take_frame(&mut self) -> Option<Vec<u8>> {
        let payload_len = self.frames.front()?.payload_len();
        let header = FrameHeader::new(self.frames.front()?.kind, payload_len).ok()?;
        if !self.credit.take(payload_len) {
            return None;
        }
        let mut frame = self.frames.pop_front()?.bytes;
        self.queued = self.queued.saturating_sub(frame.len());
        if let Some(room) = frame.get_mut(..HEADER_LEN) {
            room.copy_from_slice(header.as_bytes());
        }
        Some(frame)
    }

    /// The host takes `bytes` more.
    pub fn grant(&mut self, bytes: u32) {
        self.credit.grant(bytes);
    }

    fn append(&mut self, kind: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(payload);
        self.queued += bytes.len();
        self.frames.push_back(Waiting { kind, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::INITIAL_CREDIT;
    use alloc::vec;
    use zerocopy::FromBytes;

    fn split(frame: &[u8]) -> (FrameHeader, &[u8]) {
        let (header, payload) = FrameHeader::read_from_prefix(frame).unwrap();
        assert_eq!(header.payload_len(), Ok(payload.len()));
        (header, payload)
    }

    #[test]
    fn a_streams_bytes_share_a_frame() {
        let mut outbox = Outbox::new();
        outbox.push_stream(kind::STDOUT, b"ab");
        outbox.push_stream(kind::STDOUT, b"c");
        outbox.push_stream(kind::STDERR, b"d");
        outbox.push_stream(kind::STDOUT, b"e");
        outbox.push_stream(kind::STDOUT, b"");
        assert_eq!(outbox.queued(), 3 * HEADER_LEN + 5);
        let frames: Vec<_> = core::iter::from_fn(|| outbox.take_frame()).collect();
        let parts: Vec<_> = frames.iter().map(|f| split(f)).map(|(h, p)| (h.kind, p)).collect();
        assert_eq!(parts, [(kind::STDOUT, &b"abc"[..]), (kind::STDERR, b"d"), (kind::STDOUT, b"e")]);
        assert_eq!(outbox.queued(), 0);
    }

    #[test]
    fn messages_stay_apart() {
        let mut outbox = Outbox::new();
        outbox.push_message(kind::STDIN_WANT, &[1]).unwrap();
        outbox.push_message(kind::STDIN_WANT, &[2]).unwrap();
        assert_eq!(outbox.take_frame().map(|f| f.len()), Some(HEADER_LEN + 1));
        assert_eq!(outbox.push_message(kind::EXIT, &vec![0; MAX_OUTPUT_PAYLOAD + 1]), Err(FrameTooLong));
    }

    #[test]
    fn nothing_leaves_without_credit() {
        let mut outbox = Outbox::new();
        let data = vec![7; MAX_OUTPUT_PAYLOAD * 3];
        outbox.push_stream(kind::STDOUT, &data);
        let mut sent = 0;
        while let Some(frame) = outbox.take_frame() {
            sent += frame.len();
        }
        assert!(sent <= usize::try_from(INITIAL_CREDIT).unwrap());
        assert_eq!(outbox.queued(), data.len() + 3 * HEADER_LEN - sent);
        outbox.grant(u32::MAX);
        while let Some(frame) = outbox.take_frame() {
            sent += frame.len();
        }
        assert_eq!(sent, data.len() + 3 * HEADER_LEN);
    }
}
