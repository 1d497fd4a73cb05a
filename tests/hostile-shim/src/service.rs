//! Requests to the root's services: well formed, or as broken as a case wants them.

use core::mem::offset_of;

use fuse_abi::linux::{fuse_in_header, fuse_out_header};
use proto::op::{self, ConsoleIo, Count, Exit};
use proto::{DOORBELL_PORT, MAX_SEGMENTS, MESSAGE_LEN, MESSAGE_OFFSET, Segment, ServiceRequest};
use zerocopy::{FromBytes, IntoBytes};

use crate::cpu::{self, Width};
use crate::memory;

/// Where the service pages are in any child of this version (`sandbox::layout`).
const SERVICE_GPA: u64 = 0x3000;
/// What stands in `reply_len` until the root answers.
const NO_REPLY: u32 = 0xdead_beef;
/// Length of a request's header.
pub(crate) const HEADER_LEN: usize = size_of::<fuse_in_header>();

/// The head of a request, as it goes into the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) message_len: u32,
    pub(crate) segment_count: u32,
    pub(crate) closed_count: u32,
    /// `len` of the FUSE header.
    pub(crate) header_len: u32,
    pub(crate) total_extlen: u16,
}

impl Frame {
    /// A good one.
    pub(crate) fn of(arguments: usize, segments: usize) -> Self {
        let message_len = u32::try_from(HEADER_LEN + arguments).unwrap_or(u32::MAX);
        let segment_count = u32::try_from(segments).unwrap_or(u32::MAX);
        Self { message_len, segment_count, closed_count: 0, header_len: message_len, total_extlen: 0 }
    }
}

/// An answer: the body's length, or the errno.
pub(crate) type Answer = Result<usize, u32>;

/// The service pages.
#[derive(Debug)]
pub(crate) struct Service {
    gpa: u64,
    unique: u64,
    /// Owner of what is made, and whose rights count: nobody keeps a shim from saying 0.
    pub(crate) uid: u32,
}

impl Service {
    pub(crate) fn new(gpa: u64) -> Self {
        assert_eq!(gpa, SERVICE_GPA, "the service pages");
        Self::of_layout()
    }

    /// For the case that nothing else is known any more.
    pub(crate) const fn of_layout() -> Self {
        Self { gpa: SERVICE_GPA, unique: 0, uid: 0 }
    }

    /// A good request: its answer.
    pub(crate) fn call(&mut self, opcode: u32, node: u64, arguments: &[&[u8]], segments: &[Segment]) -> Answer {
        let len = arguments.iter().map(|part| part.len()).sum();
        assert!(len <= MESSAGE_LEN - HEADER_LEN && segments.len() <= MAX_SEGMENTS, "too long to be a good request");
        self.send(opcode, node, Frame::of(len, segments.len()), arguments, segments)
    }

    /// A request with this frame: its answer.
    pub(crate) fn send(
        &mut self,
        opcode: u32,
        node: u64,
        frame: Frame,
        arguments: &[&[u8]],
        segments: &[Segment],
    ) -> Answer {
        self.put(opcode, node, frame, arguments, segments);
        self.ring();
        self.answer()
    }

    /// Puts a request with this frame into the pages.
    pub(crate) fn put(&mut self, opcode: u32, node: u64, frame: Frame, arguments: &[&[u8]], segments: &[Segment]) {
        self.unique += 1;
        let header = fuse_in_header {
            len: frame.header_len,
            opcode,
            unique: self.unique,
            nodeid: node,
            uid: self.uid,
            gid: self.uid,
            pid: 1,
            total_extlen: frame.total_extlen,
            padding: 0,
        };
        let mut at = self.gpa + MESSAGE_OFFSET as u64;
        for part in [header.as_bytes()].into_iter().chain(arguments.iter().copied()) {
            memory::write(at, part);
            at += part.len() as u64;
        }
        let words = [frame.message_len, NO_REPLY, frame.segment_count, frame.closed_count];
        memory::write(self.gpa, words.as_bytes());
        memory::write(self.gpa + offset_of!(ServiceRequest, segments) as u64, segments.as_bytes());
    }

    /// The doorbell, with what stands in the pages.
    pub(crate) fn ring(&self) {
        if let Err(trap) = cpu::port_write(DOORBELL_PORT, Width::Byte, 0) {
            panic!("the doorbell: {trap}");
        }
    }

    /// Checks the reply in the pages against its frame.
    fn answer(&self) -> Answer {
        let reply_len: u32 = memory::read(self.gpa + offset_of!(ServiceRequest, reply_len) as u64);
        let header: fuse_out_header = memory::read(self.gpa + MESSAGE_OFFSET as u64);
        let whole = reply_len as usize;
        let fits = (size_of::<fuse_out_header>()..=MESSAGE_LEN).contains(&whole);
        assert!(fits && header.len == reply_len, "a reply of {reply_len:#x} bytes, {:#x} by its header", header.len);
        assert_eq!(header.unique, self.unique, "the reply to another request");
        match header.error {
            0 => Ok(whole - size_of::<fuse_out_header>()),
            error if (-4095..0).contains(&error) && whole == size_of::<fuse_out_header>() => Err(error.unsigned_abs()),
            error => panic!("a reply with the error {error} and {reply_len} bytes"),
        }
    }

    /// A structure `offset` bytes into the body of the last reply.
    pub(crate) fn body<T: FromBytes + IntoBytes>(&self, offset: usize) -> T {
        memory::read(self.gpa + (MESSAGE_OFFSET + size_of::<fuse_out_header>() + offset) as u64)
    }

    /// Writes bytes of one page to a stream: how many were taken.
    pub(crate) fn console_write(&mut self, stream: u32, gpa: u64, len: usize) -> Result<u64, u32> {
        self.console_write_from(stream, &[segment(gpa, len)])
    }

    /// The same from any segments.
    pub(crate) fn console_write_from(&mut self, stream: u32, segments: &[Segment]) -> Result<u64, u32> {
        let io = ConsoleIo { stream, reserved: 0 };
        self.call(op::CONSOLE_WRITE, 0, &[io.as_bytes()], segments)?;
        Ok(self.body::<Count>(0).bytes)
    }

    /// The end of a run.
    pub(crate) fn exit(&mut self, exit: &Exit) {
        let _ = self.call(op::EXIT, 0, &[exit.as_bytes()], &[]);
    }

    /// A request after which nothing comes.
    pub(crate) fn last_words(&mut self, opcode: u32, words: &[u8]) {
        let _ = self.call(opcode, 0, &[words], &[]);
    }
}

/// A segment, good or not.
pub(crate) fn segment(gpa: u64, len: usize) -> Segment {
    Segment { gpa, len: u32::try_from(len).unwrap_or(u32::MAX), reserved: 0 }
}
