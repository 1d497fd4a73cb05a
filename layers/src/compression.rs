//! Compressed archives made plain: gzip (RFC 1952) and zstd (RFC 8878), known by how they begin.
use crate::digest::{Counted, Hasher};
use crate::{Digest, Error, Result, limits};
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that a zstd frame may ask to be kept: what the format's tools make without being asked for more.
const ZSTD_WINDOW: u64 = 8 << 20;
/// Bytes of a skippable zstd frame's header: magic and length.
const SKIPPABLE_HEADER: usize = 8;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Digest of what was read, compressed or not.
    pub source: Digest,
    /// Digest of the plain bytes.
    pub plain: Digest,
    /// Number of plain bytes.
    pub len: u64,
}

/// Whether data that begins so is compressed in a way that [`decompress`] undoes.
#[must_use]
pub fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(&GZIP) || start.starts_with(&ZSTD) || is_skippable(start)
}

/// Copies `from` to `to`, decompressed if it is compressed. `name` is what messages call it.
///
/// # Errors
/// [`Error::Refused`] where the data is corrupt, longer than `limit` when plain, or a bomb; [`Error::Io`] where it cannot be read or written.
pub fn decompress(from: impl Read, to: impl Write, name: &[u8], limit: u64) -> Result<Written> {
    let mut from = BufReader::with_capacity(1 << 16, Counted::new(from));
    let mut sink = Sink { inner: to, hasher: Hasher::default(), len: 0, limit, failed: None };
    let result = copy(&mut from, &mut sink);
    if let Some(failure) = sink.failed {
        return Err(failure.error(name));
    }
    result.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Error::refused(name, "the compressed data is truncated"),
        _ => Error::refused(name, "the compressed data is corrupt"),
    })?;
    sink.inner.flush().map_err(Error::io("cannot write the plain archive"))?;
    // What follows the last frame counts for the digest, too.
    io::copy(&mut from, &mut io::sink()).map_err(Error::io("cannot read the archive"))?;
    Ok(Written { source: from.into_inner().hasher.finish(), plain: sink.hasher.finish(), len: sink.len })
}

/// Copies in the way that the first bytes ask for.
fn copy<R: Read, W: Write>(from: &mut BufReader<Counted<R>>, to: &mut Sink<W>) -> io::Result<()> {
    let start = from.fill_buf()?;
    if start.starts_with(&GZIP) {
        let mut plain = flate2::bufread::MultiGzDecoder::new(from);
        return pump(&mut plain, to, |plain| plain.get_ref().get_ref().len);
    }
    if !is_compressed(start) {
        return pump(from, to, |_| u64::MAX);
    }
    loop {
        let start = from.fill_buf()?;
        if start.is_empty() {
            return Ok(());
        }
        if is_skippable(start) {
            skip_frame(from)?;
            continue;
        }
        let mut plain = StreamingDecoder::new_with_max_window_size(&mut *from, ZSTD_WINDOW)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        pump(&mut plain, to, |plain| plain.get_ref().get_ref().len)?;
    }
}

/// Copies to the end; `read` says how many bytes the source has given so far.
fn pump<R: Read, W: Write>(from: &mut R, to: &mut Sink<W>, read: impl Fn(&R) -> u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.take(buffer.get(..len).unwrap_or_default(), read(from))?;
    }
}

/// Whether a skippable frame (RFC 8878, 3.1.2) begins so.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn skip_frame(from: &mut impl Read) -> io::Result<()> {
    let mut header = [0; SKIPPABLE_HEADER];
    from.read_exact(&mut header)?;
    let [_, _, _, _, len @ ..] = header;
    let len = u64::from(u32::from_le_bytes(len));
    let skipped = io::copy(&mut from.take(len), &mut io::sink())?;
    if skipped == len { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Where plain bytes go, as far as they are taken.
struct Sink<W> {
    inner: W,
    hasher: Hasher,
    len: u64,
    limit: u64,
    failed: Option<SinkFailure>,
}

enum SinkFailure {
    Refused(&'static str),
    Write(io::Error),
}

impl SinkFailure {
    fn error(self, name: &[u8]) -> Error {
        match self {
            Self::Refused(reason) => Error::refused(name, reason),
            Self::Write(error) => Error::Io { what: "cannot write the plain archive".into(), error },
        }
    }
}

impl<W: Write> Sink<W> {
    /// Takes bytes that came out of the first `read` bytes of the source.
    fn take(&mut self, bytes: &[u8], read: u64) -> io::Result<()> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        if self.len > self.limit {
            return self.fail(SinkFailure::Refused("it is larger than is taken"));
        }
        if self.len > limits::RATIO_FROM && self.len / limits::RATIO > read {
            return self.fail(SinkFailure::Refused("it is a bomb: too much comes out of few compressed bytes"));
        }
        self.hasher.update(bytes);
        match self.inner.write_all(bytes) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(SinkFailure::Write(error)),
        }
    }

    fn fail(&mut self, failure: SinkFailure) -> io::Result<()> {
        self.failed = Some(failure);
        Err(ErrorKind::Other.into())
    }
}
