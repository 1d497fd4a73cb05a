//! The requests.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::stat::{DirItem, Qid, SetStat, SetTime, Stat, StatFs, Time};
use crate::wire::{HEADER_LEN, Reader, Writer, is_entry};
use crate::{Error, Lost, open};

/// Longest message in bytes that this client offers to take, and longest that it sends.
pub const MESSAGE_MAX: usize = (64 << 10) + OVERHEAD;
/// What `Rread` and `Twrite` need beside their data, and more (Linux' `P9_IOHDRSZ`).
const OVERHEAD: usize = 24;
/// Shortest messages that are of use: the longest names and targets fit.
const MESSAGE_MIN: usize = 8 << 10;
/// Most numbers of files in use at a time.
const FIDS_MAX: u32 = 1 << 16;
/// Most complaints that are kept for the log in the life of a client: the server must not fill it.
const COMPLAINTS_MAX: u32 = 16;
/// Longest target of a symbolic link in bytes.
const TARGET_MAX: usize = 4095;

/// `NOTAG` and `NOFID`; and for users and groups: none in particular.
const NO_TAG: u16 = u16::MAX;
const NONE: u32 = u32::MAX;
const VERSION: &[u8] = b"9P2000.L";
/// `P9_GETATTR_BASIC`: what stat tells.
const BASIC: u64 = 0x7ff;
/// `AT_REMOVEDIR`.
const REMOVE_DIRECTORY: u32 = 0x200;

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

/// One answer to [`Client::read_dir`].
#[derive(Debug)]
pub struct ReadDir<'a> {
    rest: Reader<'a>,
    /// Where reading goes on behind what was taken so far.
    pub next: u64,
}

impl<'a> Iterator for ReadDir<'a> {
    type Item = Result<DirItem<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(item)
    }
}

impl<'a> ReadDir<'a> {
    fn item(&mut self) -> Result<DirItem<'a>, Error> {
        let qid = Qid::read(&mut self.rest)?;
        self.next = self.rest.u64()?;
        let kind = self.rest.u8()?;
        let name = self.rest.string()?;
        if is_entry(name) { Ok(DirItem { qid, kind, name }) } else { Err(Error::Nonsense("a name cannot be one")) }
    }
}

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

/// What is to be told of the server.
#[derive(Debug, Default)]
struct Complaints {
    waiting: Option<String>,
    made: u32,
}

impl Complaints {
    fn add(&mut self, what: &dyn fmt::Display) {
        if self.waiting.is_none() && self.made < COMPLAINTS_MAX {
            self.made += 1;
            let last = if self.made == COMPLAINTS_MAX { " (no more is told)" } else { "" };
            self.waiting = Some(format!("{what}{last}"));
        }
    }
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

    /// Most bytes of a file that one [`Client::read`] or [`Client::write`] can carry.
    #[must_use]
    pub const fn data_max(&self) -> usize {
        self.message_max - OVERHEAD
    }

    /// The folder itself (`Tattach`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn attach(&mut self) -> Result<(Fid, Qid), Error> {
        let fid = self.take_fid()?;
        self.start(kind::ATTACH).u32(fid).u32(NONE).string(b"").string(b"").u32(NONE);
        let found = self.ask(kind::ATTACH, |mut answer| {
            let qid = Qid::read(&mut answer)?;
            answer.end().map(|()| qid)
        });
        self.settle(fid, found)
    }

    /// The entry of a directory with this name (`Twalk` by one step).
    ///
    /// # Errors
    /// [`Error`].
    pub fn walk(&mut self, from: &Fid, name: &[u8]) -> Result<(Fid, Qid), Error> {
        let fid = self.take_fid()?;
        self.start(kind::WALK).u32(from.0).u32(fid).bytes(&1_u16.to_le_bytes()).string(name);
        let found = self.ask(kind::WALK, |mut answer| {
            if answer.u16()? != 1 {
                return Err(Error::Nonsense("it walked another number of steps than one"));
            }
            let qid = Qid::read(&mut answer)?;
            answer.end().map(|()| qid)
        });
        self.settle(fid, found)
    }

    /// One more number for the same file (`Twalk` by no step).
    ///
    /// # Errors
    /// [`Error`].
    pub fn duplicate(&mut self, from: &Fid) -> Result<Fid, Error> {
        let fid = self.take_fid()?;
        self.start(kind::WALK).u32(from.0).u32(fid).bytes(&0_u16.to_le_bytes());
        let found = self.ask(kind::WALK, |mut answer| match answer.u16()? {
            0 => answer.end(),
            _ => Err(Error::Nonsense("it walked where it was not asked to")),
        });
        self.settle(fid, found).map(|(fid, ())| fid)
    }

    /// Gives a number back (`Tclunk`). Whatever the server says, it is not used any more.
    pub fn clunk(&mut self, fid: Fid) {
        self.start(kind::CLUNK).u32(fid.0);
        // Where it is unsure whether the server has let go of it, the number is never used again.
        if self.ask(kind::CLUNK, Reader::end).is_ok() {
            self.free_fids.push(fid.0);
        }
    }

    /// Attributes (`Tgetattr`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn stat(&mut self, fid: &Fid) -> Result<Stat, Error> {
        self.start(kind::GETATTR).u32(fid.0).u64(BASIC);
        self.ask(kind::GETATTR, |mut answer| {
            let stat = Stat::read(&mut answer)?;
            answer.end().map(|()| stat)
        })
    }

    /// Changes attributes (`Tsetattr`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn set_stat(&mut self, fid: &Fid, set: &SetStat) -> Result<(), Error> {
        let time = |time: Option<SetTime>| match time {
            Some(SetTime::At(time)) => time,
            Some(SetTime::Now) | None => Time::default(),
        };
        let (atime, mtime) = (time(set.atime), time(set.mtime));
        self.start(kind::SETATTR)
            .u32(fid.0)
            .u32(set.valid())
            .u32(set.mode.unwrap_or(0))
            .u32(set.uid.unwrap_or(NONE))
            .u32(set.gid.unwrap_or(NONE))
            .u64(set.size.unwrap_or(0))
            .u64(atime.seconds.cast_unsigned())
            .u64(u64::from(atime.nanoseconds))
            .u64(mtime.seconds.cast_unsigned())
            .u64(u64::from(mtime.nanoseconds));
        self.ask(kind::SETATTR, Reader::end)
    }

    /// Where a symbolic link points (`Treadlink`): 1 to 4095 bytes without a NUL.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read_link(&mut self, fid: &Fid) -> Result<Vec<u8>, Error> {
        self.start(kind::READLINK).u32(fid.0);
        self.ask(kind::READLINK, |mut answer| {
            let target = answer.string()?;
            answer.end()?;
            if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
                return Err(Error::Nonsense("a link's target cannot be one"));
            }
            Ok(target.to_vec())
        })
    }

    /// Opens a file or directory (`Tlopen`) with flags of [`open`]; what it was that was opened.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(&mut self, fid: &Fid, flags: u32) -> Result<Qid, Error> {
        self.start(kind::LOPEN).u32(fid.0).u32(flags | open::LARGE_FILE | open::NO_FOLLOW);
        self.ask(kind::LOPEN, opened)
    }

    /// Makes a file and opens it for reading and writing (`Tlcreate`); `directory` becomes the file's number.
    ///
    /// # Errors
    /// [`Error`]; the number is given back then.
    pub fn create(&mut self, directory: Fid, name: &[u8], mode: u32) -> Result<(Fid, Qid), Error> {
        let flags = open::READ_WRITE | open::CREATE_NEW | open::LARGE_FILE | open::NO_FOLLOW;
        self.start(kind::LCREATE).u32(directory.0).string(name).u32(flags).u32(mode).u32(NONE);
        match self.ask(kind::LCREATE, opened) {
            Ok(qid) => Ok((directory, qid)),
            Err(error) => {
                self.clunk(directory);
                Err(error)
            }
        }
    }

    /// Makes a directory (`Tmkdir`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_directory(&mut self, directory: &Fid, name: &[u8], mode: u32) -> Result<(), Error> {
        self.start(kind::MKDIR).u32(directory.0).string(name).u32(mode).u32(NONE);
        self.ask(kind::MKDIR, only_qid)
    }

    /// Makes a fifo or socket (`Tmknod`); `mode` has its type.
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_node(&mut self, directory: &Fid, name: &[u8], mode: u32) -> Result<(), Error> {
        self.start(kind::MKNOD).u32(directory.0).string(name).u32(mode).u32(0).u32(0).u32(NONE);
        self.ask(kind::MKNOD, only_qid)
    }

    /// Makes a symbolic link (`Tsymlink`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_symlink(&mut self, directory: &Fid, name: &[u8], target: &[u8]) -> Result<(), Error> {
        self.start(kind::SYMLINK).u32(directory.0).string(name).string(target).u32(NONE);
        self.ask(kind::SYMLINK, only_qid)
    }

    /// Gives a file one more name (`Tlink`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn link(&mut self, file: &Fid, directory: &Fid, name: &[u8]) -> Result<(), Error> {
        self.start(kind::LINK).u32(directory.0).u32(file.0).string(name);
        self.ask(kind::LINK, Reader::end)
    }

    /// Moves an entry (`Trenameat`), over what is there.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rename(&mut self, from: (&Fid, &[u8]), to: (&Fid, &[u8])) -> Result<(), Error> {
        self.start(kind::RENAMEAT).u32(from.0.0).string(from.1).u32(to.0.0).string(to.1);
        self.ask(kind::RENAMEAT, Reader::end)
    }

    /// Takes a name away (`Tunlinkat`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn remove(&mut self, directory: &Fid, name: &[u8], is_directory: bool) -> Result<(), Error> {
        let flags = if is_directory { REMOVE_DIRECTORY } else { 0 };
        self.start(kind::UNLINKAT).u32(directory.0).string(name).u32(flags);
        self.ask(kind::UNLINKAT, Reader::end)
    }

    /// Up to `len` bytes of an open file (`Tread`); fewer if it ends, or beyond [`Client::data_max`].
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(&mut self, fid: &Fid, offset: u64, len: usize) -> Result<&[u8], Error> {
        let len = len.min(self.data_max());
        self.start(kind::READ).u32(fid.0).u64(offset).u32(number(len));
        self.ask(kind::READ, |answer| data(answer, len))
    }

    /// Writes bytes to an open file (`Twrite`), at most [`Client::data_max`] of them; how many.
    ///
    /// # Errors
    /// [`Error`].
    pub fn write(&mut self, fid: &Fid, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        let bytes = bytes.get(..self.data_max()).unwrap_or(bytes);
        self.start(kind::WRITE).u32(fid.0).u64(offset).u32(number(bytes.len())).bytes(bytes);
        self.ask(kind::WRITE, |mut answer| {
            let written = answer.u32()? as usize;
            answer.end()?;
            if written > bytes.len() {
                return Err(Error::Nonsense("it wrote more than it was given"));
            }
            Ok(written)
        })
    }

    /// Entries of an open directory from `offset` on (`Treaddir`; 0: the start): none at the end.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read_dir(&mut self, fid: &Fid, offset: u64) -> Result<ReadDir<'_>, Error> {
        let len = self.data_max();
        self.start(kind::READDIR).u32(fid.0).u64(offset).u32(number(len));
        let entries = self.ask(kind::READDIR, |answer| data(answer, len))?;
        Ok(ReadDir { rest: Reader::new(entries), next: offset })
    }

    /// Has the server write an open file through to its storage (`Tfsync`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn sync(&mut self, fid: &Fid) -> Result<(), Error> {
        self.start(kind::FSYNC).u32(fid.0).u32(0);
        self.ask(kind::FSYNC, Reader::end)
    }

    /// How full the server's file system is (`Tstatfs`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn stat_fs(&mut self, fid: &Fid) -> Result<StatFs, Error> {
        self.start(kind::STATFS).u32(fid.0);
        self.ask(kind::STATFS, |mut answer| {
            let stat = StatFs::read(&mut answer)?;
            answer.end().map(|()| stat)
        })
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
        if let Err(error @ (Error::Nonsense(_) | Error::NoAnswer)) = &found {
            self.complaints.add(error);
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

/// A body of `Rread` or `Rreaddir` with at most `len` bytes.
fn data(mut answer: Reader<'_>, len: usize) -> Result<&[u8], Error> {
    let count = answer.u32()? as usize;
    let bytes = answer.take(count)?;
    answer.end()?;
    if count > len { Err(Error::Nonsense("it gives more than was asked for")) } else { Ok(bytes) }
}

fn only_qid(mut answer: Reader<'_>) -> Result<(), Error> {
    Qid::read(&mut answer)?;
    answer.end()
}

/// A body of `Rlopen` or `Rlcreate`.
fn opened(mut answer: Reader<'_>) -> Result<Qid, Error> {
    let qid = Qid::read(&mut answer)?;
    let _io_unit = answer.u32()?;
    answer.end().map(|()| qid)
}

/// A length that is at most [`MESSAGE_MAX`].
fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
