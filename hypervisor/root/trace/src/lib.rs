//! What is told of a sandbox' system calls: typed records, which the gate makes and the host turns into text, events and pictures.
//!
//! A record holds what the gate read, once, when it judged: numbers, and the first bytes of strings and buffers. Nothing is made pretty in
//! the root: [`Lines`] does that, where it is wanted.
//!
//! # On the wire
//! Records of a sandbox follow each other in one stream of bytes: two bytes with the length (little endian), and the record in postcard's
//! encoding. [`encode`] makes them, [`Decoder`] takes them apart however the stream was cut.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod account;
mod lines;
mod record;
mod wire;

pub use account::{Account, FULL, MOST_WAITING};
pub use lines::{
    Lines, call_text, change_text, dropped_text, grant_text, judged_text, limit_text, refusal_text, result_text,
    taint_text,
};
pub use record::{
    Abi, About, Answer, CallRecord, Cause, Change, ChangeRecord, Content, Data, DroppedRecord, End, EndedRecord,
    ExecutedRecord, FaultRecord, FileChange, FileKind, GENERAL, GrantRecord, Judged, KINDS, LimitRecord, Piece,
    PolicyRecord, QuestionRecord, Record, RefusalRecord, Registers, ResultRecord, SettledBy, SettledRecord,
    StartedRecord, TaintRecord, Verdict,
};
pub use wire::{Decoder, Malformed, encode};

/// Bytes of a path that are recorded.
pub const MAX_PATH: usize = 256;
/// Bytes of a resolved path that are recorded where a policy is learned from it.
pub const MAX_RESOLVED: usize = 1024;
/// Bytes of a path that is changed that are recorded: all that Linux takes, but for what is deeper than a path can say.
pub const MAX_CHANGED_PATH: usize = 4096;
/// Bytes of another string, or of a buffer, that are recorded.
pub const MAX_BYTES: usize = 32;
/// Bytes of a socket address that are recorded: all.
pub const MAX_ADDRESS: usize = policy::address::MAX_ADDRESS;
/// Strings of an array that are recorded.
pub const MAX_STRINGS: usize = 16;
