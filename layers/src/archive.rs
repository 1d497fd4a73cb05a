//! One plain tar archive, read into a [`Layer`].
//!
//! The headers are decoded by the `tar` crate, in its raw mode: PAX headers and GNU long names are applied here, where their
//! lengths are bounded before they are read.
use crate::name::{self, Marked};
use crate::pax;
use crate::{Entry, Error, Kind, Layer, Meta, Path, Result, limits};
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use tar::{EntryType, Header};

/// Unit of a tar archive in bytes.
const BLOCK: usize = 512;

/// Reads an archive from its beginning.
///
/// # Errors
/// [`Error::Refused`] with the first entry that is not taken; [`Error::Io`] if it cannot be read.
pub fn read(mut from: impl Read + Seek) -> Result<Layer> {
    let what = || Error::io("cannot read the archive");
    let len = from.seek(SeekFrom::End(0)).map_err(what())?;
    from.rewind().map_err(what())?;
    let mut archive = tar::Archive::new(from);
    let mut reader = Reader { len, ..Reader::default() };
    for entry in archive.entries_with_seek().map_err(what())?.raw(true) {
        let mut entry = entry.map_err(|error| reader.broken(&error))?;
        let header = entry.header().clone();
        reader.take(&header, entry.raw_file_position(), &mut entry)?;
    }
    if reader.pending.is_some() {
        return Err(Error::refused(&reader.last, "the archive ends after an extended header"));
    }
    let mut from = archive.into_inner();
    let mut block = [0; BLOCK];
    let mut at_end = || from.seek(SeekFrom::Start(reader.end)).and_then(|_| from.read_exact(&mut block));
    if at_end().is_err() || block.iter().any(|&byte| byte != 0) {
        return Err(reader.truncated());
    }
    Ok(reader.layer)
}

/// What a header says, extended headers included.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
}

#[derive(Default)]
struct Reader {
    layer: Layer,
    /// Length of the archive.
    len: u64,
    /// Where the last entry's data ends, padding included.
    end: u64,
    /// What extended headers say of the next entry.
    pending: Option<Extended>,
    /// Paths that had an entry, whiteouts with their mark.
    seen: HashSet<(Path, u8)>,
    /// The last entry's name.
    last: Vec<u8>,
    /// Headers read.
    headers: usize,
    /// Names in the paths of the entries so far, targets of hard links included.
    names: usize,
}

impl Reader {
    fn broken(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(),
            _ if self.headers == 0 => Error::refused(b"", "this is no tar archive"),
            _ => Error::refused(&self.last, "what follows this entry is not a tar header"),
        }
    }

    fn truncated(&self) -> Error {
        match self.headers {
            0 => Error::refused(b"", "this is no tar archive, or nothing is left of it"),
            _ => Error::refused(&self.last, "the archive is truncated after this entry"),
        }
    }

    /// Takes one header; `offset` is where its data begins.
    fn take(&mut self, header: &Header, offset: u64, data: &mut impl Read) -> Result<()> {
        let name = header.path_bytes().into_owned();
        let refuse = |reason| Err(Error::refused(&name, reason));
        self.headers += 1;
        if self.headers > 4 * limits::ENTRIES {
            return refuse("there are too many entries");
        }
        let size = match header.entry_size() {
            Ok(size) => size,
            Err(_) => return refuse("its size is no number"),
        };
        let end = size.checked_next_multiple_of(BLOCK as u64).and_then(|size| offset.checked_add(size));
        self.end = match end {
            Some(end) if end <= self.len => end,
            _ => return refuse("its data is not in the archive: it is truncated, or the size is wrong"),
        };
        let extension = match header.entry_type() {
            EntryType::XGlobalHeader => return Ok(()),
            kind @ (EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink) => kind,
            _ => return self.entry(header, name, offset, size),
        };
        if size > limits::EXTENSION {
            return refuse("its extended header is too long");
        }
        let mut bytes = Vec::new();
        data.take(size).read_to_end(&mut bytes).map_err(Error::io("cannot read the archive"))?;
        let pending = self.pending.get_or_insert_default();
        match extension {
            EntryType::GNULongName => pending.path = Some(until_nul(bytes)),
            EntryType::GNULongLink => pending.link = Some(until_nul(bytes)),
            _ => pending.apply(&bytes).or_else(refuse)?,
        }
        Ok(())
    }

    /// Takes an entry with all that extended headers said of it.
    fn entry(&mut self, header: &Header, name: Vec<u8>, offset: u64, size: u64) -> Result<()> {
        let extended = self.pending.take().unwrap_or_default();
        let name = extended.path.clone().unwrap_or(name);
        self.last.clone_from(&name);
        let refuse = |reason| Error::refused(&name, reason);
        if extended.size.is_some_and(|said| said != size) {
            return Err(refuse("its header and its extended header have different sizes"));
        }
        let meta = extended.meta(header).map_err(refuse)?;
        let path = name::split(&name).map_err(refuse)?;
        let (path, kind) = match name::marks(path).map_err(refuse)? {
            Marked::Ignored => return Ok(()),
            Marked::Mark(path, mark) if header.entry_type().is_file() => (path, mark),
            Marked::Mark(..) => return Err(refuse("a whiteout is a regular file")),
            Marked::Plain(path) => {
                let kind = extended.kind(header, offset, size).map_err(refuse)?;
                (path, directory_by_name(&name, kind))
            }
        };
        if path.is_empty() && !matches!(kind, Kind::Directory | Kind::Opaque) {
            return Err(refuse("the root is a directory"));
        }
        let mark = match kind {
            Kind::Whiteout => 1,
            Kind::Opaque => 2,
            _ => 0,
        };
        if !self.seen.insert((path.clone(), mark)) {
            return Err(refuse("the entry is there twice"));
        }
        if self.layer.entries.len() >= limits::ENTRIES {
            return Err(refuse("there are too many entries"));
        }
        let target = if let Kind::HardLink(target) = &kind { target.len() } else { 0 };
        self.names += path.len() + target;
        if self.names > limits::NAMES {
            return Err(refuse("the paths of all entries together have too many names"));
        }
        self.layer.entries.push(Entry { path, meta, kind });
        Ok(())
    }
}

/// The oldest archives mark a directory by a slash behind its name alone.
fn directory_by_name(name: &[u8], kind: Kind) -> Kind {
    match kind {
        Kind::File { len: 0, .. } if name.ends_with(b"/") => Kind::Directory,
        kind => kind,
    }
}

impl Extended {
    /// Takes over the records of a PAX header.
    fn apply(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        while !records.is_empty() {
            let ((key, value), rest) = pax::split_first(records).ok_or("its extended header cannot be read")?;
            records = rest;
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value)?),
                b"uid" => self.uid = Some(number(value)?),
                b"gid" => self.gid = Some(number(value)?),
                b"mtime" => self.mtime = Some(seconds(value)?),
                key if key.starts_with(b"GNU.sparse.") => return Err("sparse files are not taken"),
                _ => {}
            }
        }
        Ok(())
    }

    fn meta(&self, header: &Header) -> Result<Meta, &'static str> {
        let old = header.as_old();
        let id = |said: Option<u64>, header: io::Result<u64>, field: &[u8]| {
            let id = said.or_else(|| or_blank(header, field)).ok_or("its owner is no number")?;
            u32::try_from(id).map_err(|_| "its owner is no user or group")
        };
        let mtime = match self.mtime {
            Some(mtime) => mtime,
            // Base-256 numbers may be negative; the crate gives them as two's complement.
            None => or_blank(header.mtime(), &old.mtime).ok_or("its time is no number")?.cast_signed(),
        };
        Ok(Meta {
            mode: header.mode().map_err(|_| "its mode is no number")? & 0o7777,
            uid: id(self.uid, header.uid(), &old.uid)?,
            gid: id(self.gid, header.gid(), &old.gid)?,
            mtime,
        })
    }

    fn kind(&self, header: &Header, offset: u64, size: u64) -> Result<Kind, &'static str> {
        let target = || {
            let header = || header.link_name_bytes().map(|name| name.into_owned());
            self.link.clone().or_else(header).unwrap_or_default()
        };
        Ok(match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File { offset, len: size },
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => {
                let target = target();
                name::check_target(&target)?;
                Kind::Symlink(target)
            }
            EntryType::Link => {
                let first = name::split(&target()).map_err(|_| "the hard link's target cannot be one")?;
                Kind::HardLink(first)
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => return Err("devices are not taken"),
            EntryType::GNUSparse => return Err("sparse files are not taken"),
            _ => return Err("this kind of entry is not known"),
        })
    }
}

/// A number of a header, in which a field that was left out is 0 to every tar.
fn or_blank(number: io::Result<u64>, field: &[u8]) -> Option<u64> {
    let is_blank = field.iter().all(|byte| matches!(byte, 0 | b' '));
    number.ok().or(is_blank.then_some(0))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn number(value: &[u8]) -> Result<u64, &'static str> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or("a number of its extended header is none")
}

/// Whole seconds of a time with a fraction, rounded down.
fn seconds(value: &[u8]) -> Result<i64, &'static str> {
    let wrong = "its time is no number";
    let text = std::str::from_utf8(value).map_err(|_| wrong)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong);
    }
    let seconds: i64 = whole.parse().map_err(|_| wrong)?;
    let down = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Ok(seconds.saturating_sub(i64::from(down)))
}
