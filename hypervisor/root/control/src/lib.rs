//! The control protocol: framed messages between the root partition and `xtask` on the host, over one
//! byte stream (a virtio console).
//!
//! A frame is a [`FrameHeader`] and `len` bytes. The root's frames carry the programs' output, their traces and their ends, each of one
//! sandbox; the host's carry standard input, which it sends only against credit ([`kind::STDIN_WANT`]), so that the
//! host reads its own input no further than the program does. Input is the first sandbox's, as is the terminal.
//!
//! Output is sent against credit too ([`kind::OUTPUT_CREDIT`], [`OutputCredit`]): QEMU's virtio console drops bytes, and
//! tells nobody, when the pipe behind it is full (`flush_buf` in its `hw/char/virtio-console.c`). So the
//! root never has more bytes on their way than that pipe surely holds.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod answer;
pub mod diff;
mod inbox;
mod outbox;
pub mod policy;

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use inbox::{Frame, Inbox};
pub use outbox::Outbox;

/// Largest payload of a frame, in bytes; a longer one is a protocol error.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Largest payload that the root puts into one frame, in bytes: well below [`INITIAL_CREDIT`], or it could wait forever.
pub const MAX_OUTPUT_PAYLOAD: usize = 16 * 1024;
/// Bytes (frame headers included) that the root may send before the host has granted any.
pub const INITIAL_CREDIT: u32 = 32 * 1024;

/// The same of [`kind::TRACE`]: the host writes these when it can, while it takes everything else.
pub const INITIAL_TRACE_CREDIT: u32 = 64 * 1024;

/// Start of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FrameHeader {
    /// [`kind`].
    pub kind: u16,
    /// Which sandbox it concerns: its place in `bundle::RunConfig::programs`. 0 where that means nothing.
    pub sandbox: u16,
    /// Length of the payload in bytes.
    pub len: u32,
}

/// Kinds of frames.
pub mod kind {
    /// Root → host: the root is up; payload: its version as text.
    pub const HELLO: u16 = 1;
    /// Root → host: bytes of the program's standard output.
    pub const STDOUT: u16 = 2;
    /// Root → host: bytes of the program's standard error.
    pub const STDERR: u16 = 3;
    /// Root → host: lines for the user's eyes (warnings, errors), UTF-8.
    pub const LOG: u16 = 4;
    /// Root → host: records of the trace, a stream of bytes as the crate `trace` has it.
    pub const TRACE: u16 = 5;
    /// Root → host: the program wants input; payload: u32, how many bytes more the host may send.
    pub const STDIN_WANT: u16 = 6;
    /// Root → host: the end of a sandbox; payload: [`super::ExitReport`] in postcard. Nothing follows of that sandbox.
    pub const EXIT: u16 = 7;
    /// Root → host: the end of all. Nothing follows.
    pub const END: u16 = 8;
    /// Root → host: what a sandbox that has ended changed, before its end is told: a stream of [`super::diff::Record`]s.
    pub const DIFF: u16 = 9;
    /// Root → host: a sandbox runs no more; payload: [`super::Outcome`] in postcard. It overtakes what is still to be told of it, behind which [`EXIT`] comes.
    pub const OVER: u16 = 10;
    /// Host → root: bytes of standard input.
    pub const STDIN: u16 = 0x81;
    /// Host → root: standard input has ended.
    pub const STDIN_EOF: u16 = 0x82;
    /// Host → root: payload: u32, how many bytes more (headers included) the root may send.
    pub const OUTPUT_CREDIT: u16 = 0x83;
    /// Host → root: the terminal has another size; payload: rows and columns, each u16.
    pub const WINDOW: u16 = 0x84;
    /// Host → root: the next bytes of a new policy ([`super::policy`]).
    pub const POLICY: u16 = 0x85;
    /// Host → root: payload: u32, how many bytes more (headers included) of [`TRACE`] the root may send; these need credit of both kinds. 0: a sign of life.
    pub const TRACE_CREDIT: u16 = 0x8f;
    /// Host → root: the new policy is whole, and is to hold from now on; payload: u32, its generation.
    pub const POLICY_END: u16 = 0x86;
    /// Host → root: payload: a question is answered ([`super::answer`]).
    pub const ANSWER: u16 = 0x87;
}

/// A frame said that it is longer than [`MAX_PAYLOAD`]: the two sides no longer understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLong;

impl FrameHeader {
    /// The header for a payload of `len` bytes.
    pub fn new(kind: u16, sandbox: u16, len: usize) -> Result<Self, FrameTooLong> {
        if len > MAX_PAYLOAD {
            return Err(FrameTooLong);
        }
        let len = u32::try_from(len).map_err(|_| FrameTooLong)?;
        Ok(Self { kind, sandbox, len })
    }

    /// Length of the payload that follows, checked.
    pub fn payload_len(&self) -> Result<usize, FrameTooLong> {
        let len = usize::try_from(self.len).map_err(|_| FrameTooLong)?;
        if len > MAX_PAYLOAD { Err(FrameTooLong) } else { Ok(len) }
    }
}

/// The root's account of what it may still send.
#[derive(Clone, Copy, Debug)]
pub struct OutputCredit {
    left: u32,
}

impl OutputCredit {
    /// The account at start.
    pub const fn new(left: u32) -> Self {
        Self { left }
    }

    /// Whether there is enough for a frame with `payload_len` bytes of payload.
    #[must_use]
    pub fn covers(&self, payload_len: usize) -> bool {
        self.after(payload_len).is_some()
    }

    /// Takes the credit for a frame with `payload_len` bytes of payload. False: not enough yet, poll for
    /// [`kind::OUTPUT_CREDIT`] and try again.
    #[must_use]
    pub fn take(&mut self, payload_len: usize) -> bool {
        match self.after(payload_len) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn after(&self, payload_len: usize) -> Option<u32> {
        let wanted = payload_len.checked_add(size_of::<FrameHeader>())?;
        self.left.checked_sub(u32::try_from(wanted).ok()?)
    }

    /// Adds what an [`kind::OUTPUT_CREDIT`] frame grants.
    pub fn grant(&mut self, bytes: u32) {
        self.left = self.left.saturating_add(bytes);
    }
}

/// How a run ended, and its figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// How.
    pub outcome: Outcome,
    /// Figures of the run.
    pub stats: RunStats,
}

impl ExitReport {
    /// The payload of [`kind::EXIT`].
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// Reads the payload of [`kind::EXIT`].
    pub fn decode(payload: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(payload)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The program called exit.
    Exited {
        /// 0 to 255.
        status: u8,
    },
    /// A signal ended it.
    Signaled {
        /// Linux signal number.
        signal: u8,
        /// For faults: where (address and RIP).
        detail: String,
    },
    /// A policy rule ended it.
    PolicyKilled {
        /// The call, decoded, and the rule.
        reason: String,
    },
    /// The program could not be started; as a shell, 127 (not found) or 126 (cannot be executed), or 2 (its working directory is none).
    NotStarted {
        /// 2, 126 or 127.
        code: u8,
        /// Why, for the user.
        reason: String,
    },
    /// A time limit.
    TimedOut {
        /// Which one, if it is the policy's.
        reason: String,
    },
    /// The sandbox itself failed.
    SandboxFailed {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// The payload of [`kind::OVER`].
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// Reads the payload of [`kind::OVER`].
    pub fn decode(payload: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(payload)
    }
}

/// Figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStats {
    /// System calls judged.
    pub calls: u64,
    /// Of them denied with an error.
    pub denied: u64,
    /// Of them that ended the program.
    pub killed: u64,
    /// Of them not carried out yet by the personality (ENOSYS).
    pub not_implemented: u64,
    /// Requests to the root's services.
    pub service_requests: u64,
    /// Dispatches of the child: each is one exit of the child and one of the root.
    pub dispatches: u64,
    /// Times that the root woke while the child waited, be it for the end of the wait or for nothing.
    pub wake_ups: u64,
    /// Other hypercalls of the root.
    pub other_hypercalls: u64,
    /// Microseconds from the partition's creation to the program's first instruction.
    pub start_us: u64,
    /// Microseconds from the partition's creation to its end.
    pub wall_us: u64,
    /// Bytes of memory that the sandbox used at its end: all that the root mapped or deposited for it.
    pub memory_bytes: u64,
    /// Of them the program's own pages (what it mapped and touched), as the shim tells.
    pub program_bytes: u64,
    /// Records that were made of it, told or not.
    #[serde(default)]
    pub records: u64,
    /// Of them those that were not told, as the policy wants it.
    #[serde(default)]
    pub dropped: u64,
    /// The most bytes of its records that waited in the root for the host to take them.
    #[serde(default)]
    pub most_waiting: u64,
    /// Bytes of the root's own heap, which all sandboxes share and which never shrinks, at this one's end.
    #[serde(default)]
    pub root_heap_bytes: u64,
    /// Requests that the file service refused by the policy's `[[files]]`.
    #[serde(default)]
    pub files_refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_spent_and_granted() {
        let mut credit = OutputCredit::new(INITIAL_CREDIT);
        assert!(credit.take(MAX_OUTPUT_PAYLOAD));
        assert!(!credit.take(MAX_OUTPUT_PAYLOAD));
        credit.grant(8 * 1024);
        assert!(credit.take(MAX_OUTPUT_PAYLOAD));
        assert!(!credit.take(usize::MAX));
    }

    #[test]
    fn a_header_refuses_too_long_a_payload() {
        assert_eq!(FrameHeader::new(kind::STDOUT, 0, MAX_PAYLOAD + 1), Err(FrameTooLong));
        assert_eq!(FrameHeader { kind: 0, sandbox: 0, len: u32::MAX }.payload_len(), Err(FrameTooLong));
        assert_eq!(FrameHeader::new(kind::STDOUT, 7, 5).and_then(|h| h.payload_len()), Ok(5));
    }

    #[test]
    fn a_report_survives_the_wire() {
        let report =
            ExitReport { outcome: Outcome::Exited { status: 3 }, stats: RunStats { calls: 7, ..RunStats::default() } };
        let bytes = report.encode().unwrap();
        assert_eq!(ExitReport::decode(&bytes).unwrap(), report);
        assert!(ExitReport::decode(&bytes[..1]).is_err());
        let bytes = report.outcome.encode().unwrap();
        assert_eq!(Outcome::decode(&bytes).unwrap(), report.outcome);
        assert!(Outcome::decode(&[]).is_err());
    }
}
