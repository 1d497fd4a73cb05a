//! The frame of a request: copying it out of the child's memory, once, and putting the reply back.
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use files::Errno;
use fuse_abi::linux::{fuse_in_header, fuse_out_header};
use guestmem::GuestMemory;
use proto::{MAX_SEGMENTS, MESSAGE_LEN, MESSAGE_OFFSET, Segment, ServiceRequest};
use tlfs::addr::{Gpa, PAGE_SIZE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Served;

const HEADER_LEN: usize = size_of::<fuse_in_header>();
/// Bytes of a [`ServiceRequest`] before its segments.
const FRAME_LEN: usize = offset_of!(ServiceRequest, segments);
const REPLY_HEADER_LEN: usize = size_of::<fuse_out_header>();
const NO_SEGMENT: Segment = Segment { gpa: 0, len: 0, reserved: 0 };
/// Longest reply body in bytes.
pub const MAX_BODY: usize = MESSAGE_LEN - REPLY_HEADER_LEN;

/// Room for one request and its reply, kept from call to call.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// What follows the request's header.
    arguments: Vec<u8>,
    /// A reply header's room, then the body.
    reply: Vec<u8>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { arguments: Vec::with_capacity(MESSAGE_LEN), reply: vec![0; MESSAGE_LEN] }
    }

    /// The request's arguments and the reply's body, together.
    pub(crate) fn split(&mut self) -> (Arguments<'_>, &mut [u8]) {
        (Arguments(&self.arguments), self.reply.get_mut(REPLY_HEADER_LEN..).unwrap_or(&mut []))
    }

    pub(crate) fn arguments(&self) -> Arguments<'_> {
        Arguments(&self.arguments)
    }

    /// Makes this structure the reply's body; its length.
    pub(crate) fn put<T: IntoBytes + Immutable>(&mut self, body: &T) -> Result<usize, Errno> {
        put(self.split().1, body)
    }
}

/// Writes a structure to the start of a reply body; its length.
pub(crate) fn put<T: IntoBytes + Immutable>(body: &mut [u8], value: &T) -> Result<usize, Errno> {
    value.write_to_prefix(body).map_err(|_| Errno::EINVAL)?;
    Ok(size_of::<T>())
}

/// A request's frame: everything but its arguments, which are in [`Buffers`].
#[derive(Debug)]
pub(crate) struct Request {
    header: fuse_in_header,
    segments: [Segment; MAX_SEGMENTS],
    segment_count: usize,
}

impl Request {
    /// Copies a request and checks its frame.
    pub(crate) fn read<M: GuestMemory>(service: Gpa, memory: &M, buffers: &mut Buffers) -> Result<Self, &'static str> {
        let mut head = [0u8; FRAME_LEN];
        memory.read(service, &mut head).map_err(|_| "the service pages are not the child's memory")?;
        let word =
            |offset: usize| head.get(offset..).and_then(|from| u32::read_from_prefix(from).ok()).map_or(0, |r| r.0);
        let message_len = word(offset_of!(ServiceRequest, message_len)) as usize;
        let segment_count = word(offset_of!(ServiceRequest, segment_count)) as usize;
        if !(HEADER_LEN..=MESSAGE_LEN).contains(&message_len) {
            return Err("the message's length is out of range");
        }
        if segment_count > MAX_SEGMENTS || word(offset_of!(ServiceRequest, reserved)) != 0 {
            return Err("too many segments, or reserved bits");
        }
        let mut request =
            Self { header: fuse_in_header::default(), segments: [NO_SEGMENT; MAX_SEGMENTS], segment_count };
        request.read_segments(service, memory)?;
        request.read_message(service, memory, message_len, buffers)?;
        Ok(request)
    }

    fn read_segments<M: GuestMemory>(&mut self, service: Gpa, memory: &M) -> Result<(), &'static str> {
        let at = at(service, FRAME_LEN)?;
        let segments = self.segments.get_mut(..self.segment_count).ok_or("too many segments")?;
        memory.read(at, segments.as_mut_bytes()).map_err(|_| "the service pages are not the child's memory")?;
        if segments.iter().all(is_in_one_page) {
            Ok(())
        } else {
            Err("a segment is empty, crosses a page or has reserved bits")
        }
    }

    fn read_message<M: GuestMemory>(
        &mut self,
        service: Gpa,
        memory: &M,
        len: usize,
        buffers: &mut Buffers,
    ) -> Result<(), &'static str> {
        let not_mapped = |_| "the service pages are not the child's memory";
        memory.read(at(service, MESSAGE_OFFSET)?, self.header.as_mut_bytes()).map_err(not_mapped)?;
        buffers.arguments.clear();
        buffers.arguments.resize(len - HEADER_LEN, 0);
        memory.read(at(service, MESSAGE_OFFSET + HEADER_LEN)?, &mut buffers.arguments).map_err(not_mapped)?;
        if self.header.len as usize != len || self.header.total_extlen != 0 {
            return Err("the FUSE header does not agree with the message's length");
        }
        Ok(())
    }

    pub(crate) const fn opcode(&self) -> u32 {
        self.header.opcode
    }

    pub(crate) const fn unique(&self) -> u64 {
        self.header.unique
    }

    pub(crate) const fn nodeid(&self) -> u64 {
        self.header.nodeid
    }

    pub(crate) const fn uid(&self) -> u32 {
        self.header.uid
    }

    pub(crate) const fn gid(&self) -> u32 {
        self.header.gid
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        self.segments.get(..self.segment_count).unwrap_or(&[])
    }
}

/// The address `offset` bytes into the service pages.
fn at(service: Gpa, offset: usize) -> Result<Gpa, &'static str> {
    service.checked_add(offset as u64).ok_or("the service pages are at the end of the address space")
}

fn is_in_one_page(segment: &Segment) -> bool {
    let len = u64::from(segment.len);
    len > 0
        && segment.reserved == 0
        && segment.gpa % PAGE_SIZE + len <= PAGE_SIZE
        && segment.gpa.checked_add(len).is_some()
}

/// Writes the reply: `result` is the length of the body that stands in `buffers`, or the error.
pub(crate) fn reply<M: GuestMemory>(
    service: Gpa,
    memory: &mut M,
    unique: u64,
    result: Result<usize, Errno>,
    buffers: &mut Buffers,
) -> Result<(), &'static str> {
    let (body, error) = match result {
        Ok(body) => (body.min(MAX_BODY), 0),
        Err(errno) => (0, errno.negated()),
    };
    let total = REPLY_HEADER_LEN + body;
    let len = u32::try_from(total).map_err(|_| "the reply is too long")?;
    let _ = fuse_out_header { len, error, unique }.write_to_prefix(&mut buffers.reply);
    let reply = buffers.reply.get(..total).ok_or("the reply is too long")?;
    let written = memory
        .write(at(service, MESSAGE_OFFSET)?, reply)
        .and_then(|()| memory.write(at_field(service), &len.to_le_bytes()));
    written.map_err(|_| "the service pages are not the child's memory")
}

/// Notes in the request, as far as possible, that it could not be parsed.
pub(crate) fn refuse<M: GuestMemory>(service: Gpa, memory: &mut M, reason: &str) -> Served {
    let reason: String = match memory.write(at_field(service), &0u32.to_le_bytes()) {
        Ok(()) => reason.into(),
        Err(error) => format!("{reason}; {error}"),
    };
    Served::Malformed { reason }
}

fn at_field(service: Gpa) -> Gpa {
    Gpa(service.0.saturating_add(offset_of!(ServiceRequest, reply_len) as u64))
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
