//! Requests on open files and directories.
use super::names::opened;
use super::{Client, Fid, Transport, kind};
use crate::stat::{DirItem, Qid};
use crate::wire::{Reader, is_entry};
use crate::{Error, open};

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

impl<T: Transport> Client<T> {
    /// Opens a file or directory (`Tlopen`) with flags of [`open`]; what it was that was opened.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(&mut self, fid: &Fid, flags: u32) -> Result<Qid, Error> {
        self.start(kind::LOPEN).u32(fid.0).u32(flags | open::LARGE_FILE | open::NO_FOLLOW);
        self.ask(kind::LOPEN, opened)
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
}

/// A body of `Rread` or `Rreaddir` with at most `len` bytes.
fn data(mut answer: Reader<'_>, len: usize) -> Result<&[u8], Error> {
    let count = answer.u32()? as usize;
    let bytes = answer.take(count)?;
    answer.end()?;
    if count > len { Err(Error::Nonsense("it gives more than was asked for")) } else { Ok(bytes) }
}

/// A length that is at most [`MESSAGE_MAX`].
fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
