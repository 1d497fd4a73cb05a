//! Writing a layer: what [`crate::archive`] reads, as every other tool does.
//!
//! Headers are those of POSIX' ustar; what does not fit into one (long names, fractions of seconds, times before 1970, large numbers,
//! extended attributes) goes into PAX records before it.
use crate::{Error, Meta, Result, limits, name, pax};
use std::io::{Seek, SeekFrom, Write};
use tar::{EntryType, Header};

/// Unit of a tar archive in bytes.
const BLOCK: u64 = 512;
/// Longest name or target that a ustar header holds without its prefix, in bytes.
const SHORT_NAME: usize = 100;
/// One more than the largest owner that a header holds, in its seven octal digits.
const LARGE_OWNER: u32 = 1 << 21;
/// One more than the latest time that a header holds, in its eleven octal digits.
const LATE: i64 = 1 << 33;
/// What PAX headers are called.
const PAX_NAME: &[u8] = b"././@PaxHeader";
/// Permissions of a whiteout's file.
const WHITEOUT_MODE: u32 = 0o600;

/// An entry to write.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Its path from the root on, without a slash at the beginning or end. Empty: the root.
    pub path: &'a [u8],
    /// Permissions, owner and time.
    pub meta: Meta,
    /// What the time has beyond whole seconds.
    pub nanoseconds: u32,
    /// Extended attributes: names with their name space, and values.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// What it is.
    pub body: Body<'a>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A directory.
    Directory,
    /// A regular file, whose bytes are written next.
    File {
        /// How many there are.
        len: u64,
    },
    /// A symbolic link and where it points.
    Symlink(&'a [u8]),
    /// One more name of the file at this path.
    HardLink(&'a [u8]),
    /// A named pipe.
    Fifo,
}

/// An archive that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    /// Length of the archive so far.
    len: u64,
    /// Bytes of the file that have not come yet.
    missing: u64,
    /// Bytes behind the file up to the next header.
    padding: u64,
}

impl<W: Write + Seek> Writer<W> {
    /// An empty archive.
    pub fn new(to: W) -> Self {
        Self { to, len: 0, missing: 0, padding: 0 }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// [`Error::Refused`] if no layer can hold it; [`Error::Io`].
    pub fn add(&mut self, new: &New<'_>) -> Result<()> {
        let refuse = |reason| Err(Error::refused(new.path, reason));
        if new.path.split(|&byte| byte == b'/').any(name::is_mark) {
            return refuse("in a layer, a name that begins with `.wh.` stands for what is gone");
        }
        let mut records = Vec::new();
        for (key, value) in new.xattrs {
            if key.contains(&b'=') || key.contains(&0) {
                return refuse("in a layer, the name of an extended attribute has no `=`");
            }
            pax::push(&mut records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
        self.entry(new, records)
    }

    /// Writes that what is at a path is gone; `None`: all that is in the directory, which this layer fills anew.
    ///
    /// # Errors
    /// [`Error::Refused`] if no layer can say so; [`Error::Io`].
    pub fn hide(&mut self, directory: &[u8], name: Option<&[u8]>) -> Result<()> {
        let mark = match name {
            Some(hidden) if name::is_mark(hidden) => {
                return Err(Error::refused(
                    hidden,
                    "in a layer, a name that begins with `.wh.` stands for what is gone",
                ));
            }
            Some(hidden) => [name::WHITEOUT, hidden].concat(),
            None => name::OPAQUE.to_vec(),
        };
        let path = if directory.is_empty() { mark } else { [directory, b"/", &mark].concat() };
        let meta = Meta { mode: WHITEOUT_MODE, ..Meta::default() };
        let body = Body::File { len: 0 };
        self.entry(&New { path: &path, meta, nanoseconds: 0, xattrs: &[], body }, Vec::new())
    }

    /// The next bytes of the file.
    ///
    /// # Errors
    /// [`Error::Refused`] if it has not so many; [`Error::Io`].
    pub fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.expect(bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad()
    }

    /// So many bytes of the file are zeros. They take no room where the archive's own file may have holes.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn zeros(&mut self, len: u64) -> Result<()> {
        self.expect(len)?;
        self.skip(len)?;
        self.pad()
    }

    /// Writes the archive's end. Its file has to be given its length yet, which is told: what it ends with may be a hole.
    ///
    /// # Errors
    /// [`Error::Refused`] if bytes of a file are missing; [`Error::Io`].
    pub fn finish(mut self) -> Result<(W, u64)> {
        self.check_whole()?;
        self.skip(2 * BLOCK)?;
        self.to.flush().map_err(write_error())?;
        Ok((self.to, self.len))
    }

    fn entry(&mut self, new: &New<'_>, mut records: Vec<u8>) -> Result<()> {
        self.check_whole()?;
        let refuse = |reason| Err(Error::refused(new.path, reason));
        let path = match (new.body, new.path) {
            (Body::Directory, b"") => b"./".to_vec(),
            (Body::Directory, path) => [path, b"/"].concat(),
            (_, path) => path.to_vec(),
        };
        let (kind, len, link) = match new.body {
            Body::Directory => (EntryType::Directory, 0, &b""[..]),
            Body::File { len } => (EntryType::Regular, len, &b""[..]),
            Body::Symlink(target) => (EntryType::Symlink, 0, target),
            Body::HardLink(first) => (EntryType::Link, 0, first),
            Body::Fifo => (EntryType::Fifo, 0, &b""[..]),
        };
        records_of_meta(&mut records, new);
        for (key, value) in [("path", path.as_slice()), ("linkpath", link)] {
            if value.len() > SHORT_NAME {
                pax::push(&mut records, key.as_bytes(), value);
            }
        }
        if !records.is_empty() {
            if records.len() as u64 > limits::EXTENSION {
                return refuse("what belongs to it is too long for a layer's extended header");
            }
            let header = header(EntryType::XHeader, PAX_NAME, b"", &Meta::default(), records.len() as u64);
            self.put(header.as_bytes())?;
            self.put(&records)?;
            self.padding = padding(records.len() as u64);
            self.pad()?;
        }
        if len > limits::LAYER || self.len.saturating_add(len) > limits::LAYER {
            return refuse("the layer is too large");
        }
        self.put(header(kind, &path, link, &new.meta, len).as_bytes())?;
        (self.missing, self.padding) = (len, padding(len));
        self.pad()
    }

    /// Takes so many bytes from what the file still lacks.
    fn expect(&mut self, len: u64) -> Result<()> {
        self.missing =
            self.missing.checked_sub(len).ok_or_else(|| Error::refused(b"", "a file has more bytes than it said"))?;
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        if self.missing > 0 { Err(Error::refused(b"", "a file has fewer bytes than it said")) } else { Ok(()) }
    }

    /// Goes to the next header, once all bytes are there.
    fn pad(&mut self) -> Result<()> {
        if self.missing == 0 {
            let padding = std::mem::take(&mut self.padding);
            self.skip(padding)?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.to.write_all(bytes).map_err(write_error())
    }

    /// Zeros: short runs are written, long ones are holes.
    fn skip(&mut self, len: u64) -> Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        if let Some(zeros) = usize::try_from(len).ok().and_then(|len| ZEROS.get(..len)) {
            return self.put(zeros);
        }
        self.len = self.len.saturating_add(len);
        self.to.seek(SeekFrom::Start(self.len)).map(drop).map_err(write_error())
    }
}

fn write_error() -> impl FnOnce(std::io::Error) -> Error {
    Error::io("cannot write the layer")
}

fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK) - len
}

/// A header, with what does not fit cut off: records before it have it whole.
fn header(kind: EntryType, path: &[u8], link: &[u8], meta: &Meta, len: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(u64::from(if meta.uid < LARGE_OWNER { meta.uid } else { 0 }));
    header.set_gid(u64::from(if meta.gid < LARGE_OWNER { meta.gid } else { 0 }));
    header.set_mtime(u64::try_from(meta.mtime).ok().filter(|_| meta.mtime < LATE).unwrap_or(0));
    header.set_size(len);
    let old = header.as_old_mut();
    for (field, bytes) in [(&mut old.name, path), (&mut old.linkname, link)] {
        field.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }
    header.set_cksum();
    header
}

/// What of owner and time no header holds.
fn records_of_meta(records: &mut Vec<u8>, new: &New<'_>) {
    for (key, id) in [("uid", new.meta.uid), ("gid", new.meta.gid)] {
        if id >= LARGE_OWNER {
            pax::push(records, key.as_bytes(), id.to_string().as_bytes());
        }
    }
    if new.nanoseconds > 0 || !(0..LATE).contains(&new.meta.mtime) {
        pax::push(records, b"mtime", decimal(new.meta.mtime, new.nanoseconds).as_bytes());
    }
}

/// A time in seconds. Nanoseconds count upwards, before 1970 too.
fn decimal(seconds: i64, nanoseconds: u32) -> String {
    const SECOND: u32 = 1_000_000_000;
    match nanoseconds {
        0 => seconds.to_string(),
        _ if seconds >= 0 => format!("{seconds}.{nanoseconds:09}"),
        _ => format!("-{}.{:09}", seconds.saturating_add(1).unsigned_abs(), SECOND.saturating_sub(nanoseconds)),
    }
}
