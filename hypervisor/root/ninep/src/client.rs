//! The session: requests and answers one at a time, numbers of files, what is to be told. The requests are in the modules below.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::complaints::Complaints;
use crate::error::NO_ANSWER;
use crate::wire::{HEADER_LEN, Reader, Writer};
use crate::{Error, Lost};

mod attributes;
mod bytes;
mod names;

pub use bytes::ReadDir;

/// Longest message in bytes that this client offers to take, and longest that it sends.
pub const MESSAGE_MAX: usize = (64 << 10) + OVERHEAD;
/// What `Rread` and `Twrite` need beside their data, and more (Linux' `P9_IOHDRSZ`).
const OVERHEAD: usize = 24;
/// Shortest messages that are of use: the longest names and targets fit.
const MESSAGE_MIN: usize = 8 << 10;
/// Most numbers of files in use at a time.
const FIDS_MAX: u32 = 1 << 16;

/// `NOTAG` and `NOFID`; and for users and groups: none in particular.
const NO_TAG: u16 = u16::MAX;
const NONE: u32 = u32::MAX;
const VERSION: &[u8] = b"9P2000.L";

/// Types of requests; an answer's is one more.
mod kind {
    pub(super) const LERROR_REPLY: u8 = 7;
    pub(super) const STATFS: u8 = 8;
    pub(super) const LOPEN: u8 = 12;
    pub(super) const LCREATE: u8 = 14;
    pub(super) const SYMLINK: u8 = 16;
    pub(super) const MKNOD: u8 = 18;
    pub(super) const READLINK: u8 = 22;
    pub(super) const GETATTR: u8 = 24;
    pub(super) const SETATTR: u8 = 26;
    pub(super) const READDIR: u8 = 40;
    pub(super) const FSYNC: u8 = 50;
    pub(super) const LINK: u8 = 70;
    pub(super) const MKDIR: u8 = 72;
    pub(super) const RENAMEAT: u8 = 74;
    pub(super) const UNLINKAT: u8 = 76;
    pub(super) const VERSION: u8 = 100;
    pub(super) const ATTACH: u8 = 104;
    pub(super) const WALK: u8 = 110;
    pub(super) const READ: u8 = 116;
    pub(super) const WRITE: u8 = 118;
    pub(super) const CLUNK: u8 = 120;
}

/// Carries messages to the server and back, one request at a time.
pub trait Transport: fmt::Debug {
    /// Sends `request` and waits, not for ever, for the answer: its bytes are put into `answer`, and their number returned.
    ///
    /// # Errors
    /// There was none in time. An answer that comes later is thrown away and never taken for another's.
    fn exchange(&mut self, request: &[u8], answer: &mut [u8]) -> Result<usize, Lost>;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn exchange(&mut self, request: &[u8], answer: &mut [u8]) -> Result<usize, Lost> {
        (**self).exchange(request, answer)
    }
}

/// The client's number for a file of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Fid(u32);

/// A session with a server.
#[derive(Debug)]
pub struct Client<T> {
    transport: T,
    request: Writer,
    answer: Vec<u8>,
    /// Longest message that both take.
    message_max: usize,
    next_tag: u16,
    next_fid: u32,
    free_fids: Vec<u32>,
    complaints: Complaints,
}

impl<T: Transport> Client<T> {
    /// Starts a session (`Tversion`).
    ///
    /// # Errors
    /// The server does not speak 9P2000.L, or not sensibly.
    pub fn connect(transport: T) -> Result<Self, Error> {
        let mut client = Self {
            transport,
            request: Writer::default(),
            answer: vec![0; MESSAGE_MAX],
            message_max: MESSAGE_MAX,
            next_tag: 0,
            next_fid: 0,
            free_fids: Vec::new(),
            complaints: Complaints::default(),
        };
        let offered = u32::try_from(MESSAGE_MAX).unwrap_or(u32::MAX);
        client.request.start(kind::VERSION, NO_TAG).u32(offered).string(VERSION);
        let mut answer = client.exchange(kind::VERSION, NO_TAG)?;
        let agreed = usize::try_from(answer.u32()?).unwrap_or(usize::MAX);
        let version = answer.string()?;
        answer.end()?;
        if version != VERSION {
            return Err(Error::Nonsense("it does not speak 9P2000.L"));
        }
        if !(MESSAGE_MIN..=MESSAGE_MAX).contains(&agreed) {
            return Err(Error::Nonsense("it wants messages of a length that was not offered"));
        }
        client.message_max = agreed;
        Ok(client)
    }

    /// What went wrong since the last time, for a log: once each time, and not without end.
    pub fn take_complaint(&mut self) -> Option<String> {
        self.complaints.waiting.take()
    }

    /// Notes for the log what a user of this client found wrong with the server's answers.
    pub fn complain(&mut self, what: &str) {
        self.complaints.add(&what);
    }

    /// Notes for the log what can be found again and again, the first time.
    pub fn complain_once(&mut self, what: &'static str) {
        self.complaints.add_once(what);
    }

    /// Most bytes of a file that one [`Client::read`] or [`Client::write`] can carry.
    #[must_use]
    pub const fn data_max(&self) -> usize {
        self.message_max - OVERHEAD
    }

    fn take_fid(&mut self) -> Result<u32, Error> {
        if let Some(fid) = self.free_fids.pop() {
            return Ok(fid);
        }
        if self.next_fid >= FIDS_MAX {
            return Err(Error::TooManyFids);
        }
        self.next_fid += 1;
        Ok(self.next_fid - 1)
    }

    /// Makes `fid` a number that is in use if the server has taken it. Where that is unsure it is never used again.
    fn settle<V>(&mut self, fid: u32, found: Result<V, Error>) -> Result<(Fid, V), Error> {
        match found {
            Ok(value) => Ok((Fid(fid), value)),
            Err(error) => {
                if matches!(error, Error::Host(_)) {
                    self.free_fids.push(fid);
                }
                Err(error)
            }
        }
    }

    /// Starts a request with a tag that the last ones did not have.
    fn start(&mut self, kind: u8) -> &mut Writer {
        self.next_tag = (self.next_tag + 1) % NO_TAG;
        self.request.start(kind, self.next_tag)
    }

    /// Sends what was started, and reads the answer by `read`.
    fn ask<'a, V>(&'a mut self, kind: u8, read: impl FnOnce(Reader<'a>) -> Result<V, Error>) -> Result<V, Error> {
        let tag = self.next_tag;
        let got = self.transport.exchange(self.request.message(), &mut self.answer);
        let found = got.map_err(Error::from);
        let answer = self.answer.as_slice();
        let found = found.and_then(|len| check(answer, len, kind, tag)).and_then(read);
        match &found {
            Err(error @ Error::Nonsense(_)) => self.complaints.add(error),
            // Whatever is asked meanwhile gets none either.
            Err(Error::NoAnswer) => self.complaints.add_once(NO_ANSWER),
            Err(Error::Host(number)) => self.complaints.add_trouble(*number),
            Ok(_) | Err(Error::TooManyFids) => {}
        }
        found
    }

    fn exchange(&mut self, kind: u8, tag: u16) -> Result<Reader<'_>, Error> {
        let len = self.transport.exchange(self.request.message(), &mut self.answer)?;
        check(&self.answer, len, kind, tag)
    }
}

/// The body of an answer of `len` bytes to a request of this type and tag.
fn check(answer: &[u8], len: usize, kind: u8, tag: u16) -> Result<Reader<'_>, Error> {
    let message = answer.get(..len).filter(|_| len >= HEADER_LEN).ok_or(Error::Nonsense("it has no header"))?;
    let mut reader = Reader::new(message);
    if reader.u32()? as usize != len {
        return Err(Error::Nonsense("its size is not its length"));
    }
    let answered = reader.u8()?;
    if reader.u16()? != tag {
        return Err(Error::Nonsense("it has another request's tag"));
    }
    if answered == kind::LERROR_REPLY {
        let errno = reader.u32()?;
        reader.end()?;
        let errno = u16::try_from(errno).ok().filter(|errno| (1..4096).contains(errno));
        return Err(errno.map_or(Error::Nonsense("it fails with a number that is none of an error"), Error::Host));
    }
    if answered != kind + 1 { Err(Error::Nonsense("it answers another request")) } else { Ok(reader) }
}
