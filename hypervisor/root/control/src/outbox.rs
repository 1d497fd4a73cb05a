//! The sending side of the root: output gathered into frames, and handed out as the host grants credit.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use crate::{FrameHeader, FrameTooLong, INITIAL_CREDIT, INITIAL_TRACE_CREDIT, MAX_OUTPUT_PAYLOAD, OutputCredit, kind};

const HEADER_LEN: usize = size_of::<FrameHeader>();

/// Frames that wait for their way out: of each sandbox the oldest first, and the sandboxes in turn, so that one that says much
/// keeps none of the others from being heard.
///
/// Bytes of one stream that follow each other share a frame as long as it waits: a program that writes
/// byte by byte costs no frame a byte.
///
/// Records of the trace ([`kind::TRACE`]) need credit of their own: the host may write them to somebody who is slow. What comes behind them overtakes
/// them then, but for a sandbox' end.
#[derive(Debug)]
pub struct Outbox {
    lanes: Vec<Lane>,
    /// The lane whose turn it is.
    turn: usize,
    credit: OutputCredit,
    trace_credit: OutputCredit,
}

impl Default for Outbox {
    fn default() -> Self {
        let (credit, trace_credit) = (OutputCredit::new(INITIAL_CREDIT), OutputCredit::new(INITIAL_TRACE_CREDIT));
        Self { lanes: Vec::new(), turn: 0, credit, trace_credit }
    }
}

/// What waits of one sandbox.
#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Waiting>,
    queued: usize,
    /// Of these the trace.
    queued_trace: usize,
}

/// A frame under way, with room for its header at the front of `bytes`.
#[derive(Debug)]
struct Waiting {
    kind: u16,
    bytes: Vec<u8>,
}

impl Waiting {
    fn payload_len(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_LEN)
    }

    /// How many more bytes of `kind` this frame takes.
    fn room_for(&self, kind: u16) -> usize {
        let stream = matches!(kind, kind::STDOUT | kind::STDERR | kind::LOG | kind::TRACE | kind::DIFF);
        if stream && kind == self.kind { MAX_OUTPUT_PAYLOAD.saturating_sub(self.payload_len()) } else { 0 }
    }
}

impl Lane {
    /// The first frame that may leave as far as the trace's credit goes.
    fn next(&self, trace: &OutputCredit) -> Option<usize> {
        let mut held = false;
        for (index, frame) in self.frames.iter().enumerate() {
            match frame.kind {
                kind::TRACE if held || !trace.covers(frame.payload_len()) => held = true,
                // Nothing follows the end.
                kind::EXIT | kind::END if held => return None,
                _ => return Some(index),
            }
        }
        None
    }

    fn count(&mut self, kind: u16, bytes: usize) {
        self.queued += bytes;
        if kind == kind::TRACE {
            self.queued_trace += bytes;
        }
    }

    fn append(&mut self, kind: u16, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(payload);
        self.count(kind, bytes.len());
        self.frames.push_back(Waiting { kind, bytes });
    }
}

impl Outbox {
    /// An empty one, with the credit that the host gives at start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a sandbox that wait, headers included.
    #[must_use]
    pub fn queued(&self, sandbox: u16) -> usize {
        self.lanes.get(usize::from(sandbox)).map_or(0, |lane| lane.queued)
    }

    /// Of these bytes those of its trace.
    #[must_use]
    pub fn queued_trace(&self, sandbox: u16) -> usize {
        self.lanes.get(usize::from(sandbox)).map_or(0, |lane| lane.queued_trace)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.frames.is_empty())
    }

    /// Adds bytes of a stream, in as many frames as they need.
    pub fn push_stream(&mut self, sandbox: u16, kind: u16, data: &[u8]) {
        let lane = self.lane(sandbox);
        let mut rest = data;
        if let Some(last) = lane.frames.back_mut() {
            let (now, later) = rest.split_at(last.room_for(kind).min(rest.len()));
            last.bytes.extend_from_slice(now);
            rest = later;
            lane.count(kind, now.len());
        }
        for chunk in rest.chunks(MAX_OUTPUT_PAYLOAD) {
            lane.append(kind, chunk);
        }
    }

    /// Adds one whole message.
    ///
    /// # Errors
    /// [`FrameTooLong`] if it is longer than [`MAX_OUTPUT_PAYLOAD`].
    pub fn push_message(&mut self, sandbox: u16, kind: u16, payload: &[u8]) -> Result<(), FrameTooLong> {
        if payload.len() > MAX_OUTPUT_PAYLOAD {
            return Err(FrameTooLong);
        }
        self.lane(sandbox).append(kind, payload);
        Ok(())
    }

    /// What the host may be sent now: a frame with its header, or nothing (nothing waits, or the credit does not cover the frame
    /// whose turn it is).
    #[must_use]
    pub fn take_frame(&mut self) -> Option<Vec<u8>> {
        let count = self.lanes.len();
        let ready = |&lane: &usize| Some((lane, self.lanes.get(lane)?.next(&self.trace_credit)?));
        let (turn, index) = (self.turn..count).chain(0..self.turn).find_map(|lane| ready(&lane))?;
        // It stays this lane's turn until the host can take its frame.
        self.turn = turn;
        let lane = self.lanes.get_mut(turn)?;
        let next = lane.frames.get(index)?;
        let (kind, payload_len) = (next.kind, next.payload_len());
        let header = FrameHeader::new(kind, u16::try_from(turn).ok()?, payload_len).ok()?;
        if !self.credit.take(payload_len) {
            return None;
        }
        let mut frame = lane.frames.remove(index)?.bytes;
        lane.queued = lane.queued.saturating_sub(frame.len());
        if kind == kind::TRACE {
            lane.queued_trace = lane.queued_trace.saturating_sub(frame.len());
            // It covers the frame, or that would not be the next.
            let _ = self.trace_credit.take(payload_len);
        }
        self.turn = (turn + 1) % count;
        if let Some(room) = frame.get_mut(..HEADER_LEN) {
            room.copy_from_slice(header.as_bytes());
        }
        Some(frame)
    }

    /// The host takes `bytes` more.
    pub fn grant(&mut self, bytes: u32) {
        self.credit.grant(bytes);
    }

    /// The host takes `bytes` more of the trace.
    pub fn grant_trace(&mut self, bytes: u32) {
        self.trace_credit.grant(bytes);
    }

    /// A sandbox's lane, made if need be.
    fn lane(&mut self, sandbox: u16) -> &mut Lane {
        let index = usize::from(sandbox);
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, Lane::default);
        }
        &mut self.lanes[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        outbox.push_stream(0, kind::STDOUT, b"ab");
        outbox.push_stream(0, kind::STDOUT, b"c");
        outbox.push_stream(0, kind::STDERR, b"d");
        outbox.push_stream(0, kind::STDOUT, b"e");
        outbox.push_stream(0, kind::STDOUT, b"");
        assert_eq!(outbox.queued(0), 3 * HEADER_LEN + 5);
        let frames: Vec<_> = core::iter::from_fn(|| outbox.take_frame()).collect();
        let parts: Vec<_> = frames.iter().map(|f| split(f)).map(|(h, p)| (h.kind, p)).collect();
        assert_eq!(parts, [(kind::STDOUT, &b"abc"[..]), (kind::STDERR, b"d"), (kind::STDOUT, b"e")]);
        assert_eq!(outbox.queued(0), 0);
    }

    #[test]
    fn messages_stay_apart() {
        let mut outbox = Outbox::new();
        outbox.push_message(0, kind::STDIN_WANT, &[1]).unwrap();
        outbox.push_message(0, kind::STDIN_WANT, &[2]).unwrap();
        assert_eq!(outbox.take_frame().map(|f| f.len()), Some(HEADER_LEN + 1));
        assert_eq!(outbox.push_message(0, kind::EXIT, &vec![0; MAX_OUTPUT_PAYLOAD + 1]), Err(FrameTooLong));
    }

    #[test]
    fn nothing_leaves_without_credit() {
        let mut outbox = Outbox::new();
        let data = vec![7; MAX_OUTPUT_PAYLOAD * 3];
        outbox.push_stream(0, kind::STDOUT, &data);
        let mut sent = 0;
        while let Some(frame) = outbox.take_frame() {
            sent += frame.len();
        }
        assert!(sent <= usize::try_from(INITIAL_CREDIT).unwrap());
        assert_eq!(outbox.queued(0), data.len() + 3 * HEADER_LEN - sent);
        outbox.grant(u32::MAX);
        while let Some(frame) = outbox.take_frame() {
            sent += frame.len();
        }
        assert_eq!(sent, data.len() + 3 * HEADER_LEN);
    }

    #[test]
    fn each_sandbox_is_heard_in_its_turn() {
        let mut outbox = Outbox::new();
        outbox.push_stream(0, kind::STDOUT, &vec![0; 3 * MAX_OUTPUT_PAYLOAD]);
        outbox.push_stream(2, kind::STDOUT, b"c");
        outbox.push_stream(5, kind::STDERR, b"f");
        outbox.push_stream(2, kind::STDERR, b"C");
        outbox.grant(u32::MAX);
        let frames: Vec<_> = core::iter::from_fn(|| outbox.take_frame()).collect();
        let order: Vec<_> = frames.iter().map(|f| split(f).0).map(|h| (h.sandbox, h.kind)).collect();
        let (out, err) = (kind::STDOUT, kind::STDERR);
        assert_eq!(order, [(0, out), (2, out), (5, err), (0, out), (2, err), (0, out)]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_trace_that_nobody_takes_holds_nothing_but_the_end() {
        fn leaving(outbox: &mut Outbox) -> Vec<u16> {
            core::iter::from_fn(|| outbox.take_frame()).map(|frame| split(&frame).0.kind).collect()
        }
        let mut outbox = Outbox::new();
        outbox.grant(u32::MAX);
        outbox.push_stream(0, kind::TRACE, &vec![1; 5 * MAX_OUTPUT_PAYLOAD]);
        outbox.push_stream(0, kind::STDOUT, b"a");
        outbox.push_stream(0, kind::TRACE, b"2");
        outbox.push_stream(0, kind::STDOUT, b"b");
        outbox.push_message(0, kind::OVER, b"").unwrap();
        outbox.push_message(0, kind::EXIT, b"").unwrap();
        outbox.push_stream(1, kind::STDOUT, b"c");
        let (out, trace) = (kind::STDOUT, kind::TRACE);
        assert_eq!(
            leaving(&mut outbox),
            [trace, out, trace, trace, out, out, kind::OVER],
            "as much of it as there is credit for"
        );
        assert_eq!(outbox.queued_trace(0), outbox.queued(0) - HEADER_LEN);
        outbox.grant_trace(u32::try_from(MAX_OUTPUT_PAYLOAD + HEADER_LEN).unwrap());
        assert_eq!(leaving(&mut outbox), [trace], "in their order, however small the last is");
        outbox.grant_trace(100);
        assert_eq!(leaving(&mut outbox), [trace, trace, kind::EXIT]);
        assert_eq!((outbox.queued(0), outbox.queued_trace(0)), (0, 0));
    }

    #[test]
    fn a_frame_without_credit_keeps_its_turn() {
        let mut outbox = Outbox::new();
        outbox.push_stream(0, kind::STDOUT, &vec![0; MAX_OUTPUT_PAYLOAD]);
        outbox.push_stream(1, kind::STDOUT, &vec![1; MAX_OUTPUT_PAYLOAD]);
        assert!(outbox.take_frame().is_some_and(|f| split(&f).0.sandbox == 0));
        outbox.push_stream(0, kind::STDOUT, b"x");
        assert_eq!(outbox.take_frame(), None, "what is small does not overtake");
        outbox.grant(u32::try_from(MAX_OUTPUT_PAYLOAD).unwrap());
        assert!(outbox.take_frame().is_some_and(|f| split(&f).0.sandbox == 1));
        assert!(outbox.take_frame().is_some_and(|f| split(&f).0.sandbox == 0));
    }
}
