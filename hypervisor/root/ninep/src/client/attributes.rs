//! Requests that read and change attributes.
use alloc::vec::Vec;

use super::{Client, Fid, NONE, Transport, kind};
use crate::Error;
use crate::stat::{GENERATION, SetStat, SetTime, Stat, StatFs, Time};
use crate::wire::Reader;

/// `P9_GETATTR_BASIC`: what stat tells.
const BASIC: u64 = 0x7ff;
/// Longest target of a symbolic link in bytes.
const TARGET_MAX: usize = 4095;

impl<T: Transport> Client<T> {
    /// Attributes (`Tgetattr`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn stat(&mut self, fid: &Fid) -> Result<Stat, Error> {
        self.attributes(fid, BASIC)
    }

    /// The same with the file's generation, for which the server has to open it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn identify(&mut self, fid: &Fid) -> Result<Stat, Error> {
        self.attributes(fid, BASIC | GENERATION)
    }

    fn attributes(&mut self, fid: &Fid, which: u64) -> Result<Stat, Error> {
        self.start(kind::GETATTR).u32(fid.0).u64(which);
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
}
