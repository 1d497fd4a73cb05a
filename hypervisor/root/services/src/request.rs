//! The frame of a request: copying it out of the child's memory, once, and putting the reply back.
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use files::Errno;
use fuse_abi::linux::{fuse_ext_header, fuse_ext_type, fuse_in_header, fuse_out_header};
use guestmem::{GuestMemory, NotMapped};
use proto::{MAX_CLOSED, MAX_GROUPS, MAX_SEGMENTS, MESSAGE_LEN, MESSAGE_OFFSET, Segment, ServiceRequest};
use tlfs::addr::{Gpa, PAGE_SIZE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Served;

const HEADER_LEN: usize = size_of::<fuse_in_header>();
/// Bytes of a [`ServiceRequest`] before its segments.
const FRAME_LEN: usize = offset_of!(ServiceRequest, segments);
const REPLY_HEADER_LEN: usize = size_of::<fuse_out_header>();
/// Bytes that an extension's length is counted in.
const EXTENSION_UNIT: usize = 8;
/// Longest reply body in bytes.
pub const MAX_BODY: usize = MESSAGE_LEN - REPLY_HEADER_LEN;

/// One request and its reply. Kept from call to call, so that none allocates.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request's message, its header included, without its extension.
    message: Vec<u8>,
    header: fuse_in_header,
    /// Those of the request's extension.
    groups: [u32; MAX_GROUPS],
    group_count: usize,
    segments: [Segment; MAX_SEGMENTS],
    segment_count: usize,
    /// Handles that are closed with the request.
    closed: [u64; MAX_CLOSED],
    closed_count: usize,
    /// A reply header's room, then the body.
    reply: Vec<u8>,
}

/// What a handler works on.
pub(crate) struct Parts<'a> {
    /// What follows the request's header.
    pub(crate) arguments: Arguments<'a>,
    /// The groups of whoever asks, beside the header's own.
    pub(crate) groups: &'a [u32],
    /// Where its bulk data is or goes.
    pub(crate) segments: &'a [Segment],
    /// Where the reply's body goes.
    pub(crate) body: &'a mut [u8],
}

impl Exchange {
    pub(crate) fn new() -> Self {
        Self {
            message: Vec::with_capacity(MESSAGE_LEN),
            header: fuse_in_header::default(),
            groups: [0; MAX_GROUPS],
            group_count: 0,
            segments: [Segment::default(); MAX_SEGMENTS],
            segment_count: 0,
            closed: [0; MAX_CLOSED],
            closed_count: 0,
            reply: vec![0; MESSAGE_LEN],
        }
    }

    /// Copies a request and checks its frame.
    pub(crate) fn read<M: GuestMemory>(&mut self, service: Gpa, memory: &M) -> Result<(), &'static str> {
        let mut frame = [0u8; FRAME_LEN];
        memory.read(service, &mut frame).map_err(not_mapped)?;
        let word =
            |offset: usize| frame.get(offset..).and_then(|from| u32::read_from_prefix(from).ok()).map_or(0, |r| r.0);
        let message_len = word(offset_of!(ServiceRequest, message_len)) as usize;
        let segment_count = word(offset_of!(ServiceRequest, segment_count)) as usize;
        if !(HEADER_LEN..=MESSAGE_LEN).contains(&message_len) {
            return Err("the message's length is out of range");
        }
        let closed_count = word(offset_of!(ServiceRequest, closed_count)) as usize;
        if segment_count > MAX_SEGMENTS || closed_count > MAX_CLOSED {
            return Err("too many segments, or too many handles to close");
        }
        self.read_segments(service, memory, segment_count)?;
        self.read_closed(service, memory, closed_count)?;
        self.read_message(service, memory, message_len)
    }

    fn read_segments<M: GuestMemory>(&mut self, service: Gpa, memory: &M, count: usize) -> Result<(), &'static str> {
        self.segment_count = count;
        if count == 0 {
            return Ok(());
        }
        let segments = self.segments.get_mut(..count).ok_or("too many segments")?;
        memory.read(at(service, FRAME_LEN)?, segments.as_mut_bytes()).map_err(not_mapped)?;
        if segments.iter().all(is_in_one_page) {
            Ok(())
        } else {
            Err("a segment is empty, crosses a page or has reserved bits")
        }
    }

    fn read_closed<M: GuestMemory>(&mut self, service: Gpa, memory: &M, count: usize) -> Result<(), &'static str> {
        self.closed_count = count;
        if count == 0 {
            return Ok(());
        }
        let closed = self.closed.get_mut(..count).ok_or("too many handles to close")?;
        memory.read(at(service, offset_of!(ServiceRequest, closed))?, closed.as_mut_bytes()).map_err(not_mapped)
    }

    fn read_message<M: GuestMemory>(&mut self, service: Gpa, memory: &M, len: usize) -> Result<(), &'static str> {
        self.message.resize(len, 0);
        memory.read(at(service, MESSAGE_OFFSET)?, &mut self.message).map_err(not_mapped)?;
        let (header, _) = fuse_in_header::read_from_prefix(&self.message).map_err(|_| "there is no FUSE header")?;
        let extension = usize::from(header.total_extlen) * EXTENSION_UNIT;
        let end = len.checked_sub(extension).filter(|end| *end >= HEADER_LEN && header.len as usize == len);
        let end = end.ok_or("the FUSE header does not agree with the message's length")?;
        self.group_count = read_groups(self.message.get(end..).unwrap_or(&[]), &mut self.groups)?;
        self.message.truncate(end);
        self.header = header;
        Ok(())
    }

    pub(crate) const fn header(&self) -> &fuse_in_header {
        &self.header
    }

    /// The handles that are closed with it.
    pub(crate) fn closed(&self) -> &[u64] {
        self.closed.get(..self.closed_count).unwrap_or(&[])
    }

    pub(crate) fn arguments(&self) -> Arguments<'_> {
        Arguments(self.message.get(HEADER_LEN..).unwrap_or(&[]))
    }

    pub(crate) fn parts(&mut self) -> Parts<'_> {
        Parts {
            arguments: Arguments(self.message.get(HEADER_LEN..).unwrap_or(&[])),
            groups: self.groups.get(..self.group_count).unwrap_or(&[]),
            segments: self.segments.get(..self.segment_count).unwrap_or(&[]),
            body: self.reply.get_mut(REPLY_HEADER_LEN..).unwrap_or(&mut []),
        }
    }

    /// Makes this structure the reply's body; its length.
    pub(crate) fn put<T: IntoBytes + Immutable>(&mut self, body: &T) -> Result<usize, Errno> {
        put(self.parts().body, body)
    }

    /// Writes the reply to the request with this `unique`: `result` is the length of the body that was put, or the error.
    pub(crate) fn reply<M: GuestMemory>(
        &mut self,
        service: Gpa,
        memory: &mut M,
        unique: u64,
        result: Result<usize, Errno>,
    ) -> Result<(), &'static str> {
        let (body, error) = match result {
            Ok(body) => (body.min(MAX_BODY), 0),
            Err(errno) => (0, errno.negated()),
        };
        let total = REPLY_HEADER_LEN + body;
        let len = u32::try_from(total).map_err(|_| "the reply is too long")?;
        put(&mut self.reply, &fuse_out_header { len, error, unique }).map_err(|_| "the reply is too long")?;
        let reply = self.reply.get(..total).ok_or("the reply is too long")?;
        memory.write(at(service, MESSAGE_OFFSET)?, reply).map_err(not_mapped)?;
        memory.write(reply_len(service), &len.to_le_bytes()).map_err(not_mapped)
    }
}

/// Reads an extension: none, or a list of groups. How many there are.
fn read_groups(extension: &[u8], groups: &mut [u32; MAX_GROUPS]) -> Result<usize, &'static str> {
    const BAD: &str = "the extension of the request is no list of groups";
    if extension.is_empty() {
        return Ok(0);
    }
    let (fuse_ext_header { size, type_ }, list) = fuse_ext_header::read_from_prefix(extension).map_err(|_| BAD)?;
    if size as usize != extension.len() || type_ != fuse_ext_type::FUSE_EXT_GROUPS as u32 {
        return Err(BAD);
    }
    let (count, ids) = u32::read_from_prefix(list).map_err(|_| BAD)?;
    let count = count as usize;
    let groups = groups.get_mut(..count).ok_or(BAD)?;
    let ids = ids.get(..size_of_val(groups)).ok_or(BAD)?;
    groups.as_mut_bytes().copy_from_slice(ids);
    Ok(count)
}

/// Notes in a request, as far as possible, that it could not be parsed.
pub(crate) fn refuse<M: GuestMemory>(service: Gpa, memory: &mut M, reason: &str) -> Served {
    let reason: String = match memory.write(reply_len(service), &0u32.to_le_bytes()) {
        Ok(()) => reason.into(),
        Err(error) => format!("{reason}; {error}"),
    };
    Served::Malformed { reason }
}

/// The address `offset` bytes into the service pages.
fn at(service: Gpa, offset: usize) -> Result<Gpa, &'static str> {
    service.checked_add(offset as u64).ok_or("the service pages are at the end of the address space")
}

/// Where [`ServiceRequest::reply_len`] is.
fn reply_len(service: Gpa) -> Gpa {
    Gpa(service.0.saturating_add(offset_of!(ServiceRequest, reply_len) as u64))
}

fn not_mapped(_: NotMapped) -> &'static str {
    "the service pages are not the child's memory"
}

fn is_in_one_page(segment: &Segment) -> bool {
    let len = u64::from(segment.len);
    len > 0
        && segment.reserved == 0
        && segment.gpa % PAGE_SIZE + len <= PAGE_SIZE
        && segment.gpa.checked_add(len).is_some()
}

/// Writes a structure to the start of a reply body; its length.
pub(crate) fn put<T: IntoBytes + Immutable>(body: &mut [u8], value: &T) -> Result<usize, Errno> {
    value.write_to_prefix(body).map_err(|_| Errno::EINVAL)?;
    Ok(size_of::<T>())
}

/// What follows a request's header, taken from the front piece by piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    /// A structure.
    pub(crate) fn take<T: FromBytes>(&mut self) -> Result<T, Errno> {
        let (value, rest) = T::read_from_prefix(self.0).map_err(|_| Errno::EINVAL)?;
        self.0 = rest;
        Ok(value)
    }

    /// Bytes up to a NUL, which is taken too.
    pub(crate) fn take_string(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Errno::EINVAL)?;
        let (string, rest) = self.0.split_at_checked(end).ok_or(Errno::EINVAL)?;
        self.0 = rest.get(1..).unwrap_or(&[]);
        Ok(string)
    }

    /// Everything that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Result<(), Errno> {
        if self.0.is_empty() { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// A structure that is all there is.
    pub(crate) fn only<T: FromBytes>(mut self) -> Result<T, Errno> {
        let value = self.take()?;
        self.end()?;
        Ok(value)
    }

    /// A string that is all there is.
    pub(crate) fn only_string(mut self) -> Result<&'a [u8], Errno> {
        let string = self.take_string()?;
        self.end()?;
        Ok(string)
    }
}
