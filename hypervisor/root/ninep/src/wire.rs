//! Messages as bytes: numbers are little-endian, strings have their length in two bytes before them.
use alloc::vec::Vec;

use crate::Error;

/// Longest name in a directory, in bytes.
pub const NAME_MAX: usize = 255;
/// Bytes of a message's size, type and tag.
pub(crate) const HEADER_LEN: usize = 7;

const SHORT: Error = Error::Nonsense("it ends too early");

/// A message that is being written.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Starts a message; its size comes last.
    pub(crate) fn start(&mut self, kind: u8, tag: u16) -> &mut Self {
        self.0.clear();
        self.u32(0).bytes(&[kind]).bytes(&tag.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A string. One that is too long for its length is cut: whoever calls keeps to names and paths.
    pub(crate) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.bytes(&len.to_le_bytes()).bytes(bytes.get(..usize::from(len)).unwrap_or(bytes))
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// What was written.
    #[cfg(any(test, feature = "double"))]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The message, its size filled in.
    pub(crate) fn message(&mut self) -> &[u8] {
        let size = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.0.first_chunk_mut() {
            *place = size.to_le_bytes();
        }
        &self.0
    }
}

/// What is left to read of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// This many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Checks that nothing is left.
    pub(crate) const fn end(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Nonsense("it goes on behind its end")) }
    }
}

/// Whether a directory can have an entry of this name, `.` and `..` included.
pub(crate) fn is_entry(name: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}
