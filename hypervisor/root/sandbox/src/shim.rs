//! The flat shim image: its header, checked before anything in it is used.
//!
//! The image is the project's own and comes with the bundle, but it is still a file: every number in it may be wrong.
use core::fmt;
use core::ops::Range;

use proto::PROTO_VERSION;
use proto::layout::{SHIM_BASE_VA, SHIM_MAGIC, ShimHeader};
use tlfs::addr::PAGE_SIZE;
use zerocopy::FromBytes;

/// Largest shim, in bytes of memory.
const MAX_LEN: u64 = 32 << 20;

/// Why a shim image cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShimError {
    /// It does not start with the header of one.
    NotAShim,
    /// It speaks another version of the protocol: this one.
    OtherVersion(u32),
    /// The part of this name is unaligned, out of order or not in the image.
    BadPart(&'static str),
    /// The address of this name is not where it must be.
    BadAddress(&'static str),
}

impl fmt::Display for ShimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAShim => f.write_str("the shim section holds no shim image"),
            Self::OtherVersion(version) => {
                write!(f, "the shim speaks version {version} of the protocol, the root {PROTO_VERSION}")
            }
            Self::BadPart(name) => write!(f, "the shim image's {name} is damaged"),
            Self::BadAddress(name) => write!(f, "the shim image's {name} address is damaged"),
        }
    }
}

impl core::error::Error for ShimError {}

/// A checked shim image. Offsets are from the start of the image, in bytes and page aligned.
#[derive(Clone, Copy, Debug)]
pub struct Shim<'p> {
    header: ShimHeader,
    image: &'p [u8],
}

impl<'p> Shim<'p> {
    /// Checks the header of `image`.
    ///
    /// # Errors
    /// [`ShimError`]: the first thing that is wrong with it.
    pub fn parse(image: &'p [u8]) -> Result<Self, ShimError> {
        let (header, _) = ShimHeader::read_from_prefix(image).map_err(|_| ShimError::NotAShim)?;
        if header.magic != SHIM_MAGIC {
            return Err(ShimError::NotAShim);
        }
        if header.version != PROTO_VERSION {
            return Err(ShimError::OtherVersion(header.version));
        }
        let shim = Self { header, image };
        shim.check_parts()?;
        shim.check_addresses()?;
        Ok(shim)
    }

    /// The code's offsets.
    #[must_use]
    pub fn text(&self) -> Range<u64> {
        self.header.text_start..self.header.text_end
    }

    /// The constants' offsets.
    #[must_use]
    pub fn rodata(&self) -> Range<u64> {
        self.header.rodata_start..self.header.rodata_end
    }

    /// The data's offsets, zero-initialised data included.
    #[must_use]
    pub fn data(&self) -> Range<u64> {
        self.header.data_start..self.header.bss_end
    }

    /// The bytes that the data starts with; zeros follow.
    #[must_use]
    pub fn initial_data(&self) -> &'p [u8] {
        bytes(self.image, &(self.header.data_start..self.header.data_end)).unwrap_or_default()
    }

    /// The page of the image at `offset`.
    #[must_use]
    pub fn page(&self, offset: u64) -> Option<&'p [u8]> {
        bytes(self.image, &(offset..offset.checked_add(PAGE_SIZE)?))
    }

    /// Length in memory, in bytes.
    #[must_use]
    pub fn memory_len(&self) -> u64 {
        self.header.bss_end.max(self.header.text_end).max(self.header.rodata_end)
    }

    /// Virtual address of the first instruction.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.header.entry
    }

    /// Virtual address of the system-call entry.
    #[must_use]
    pub fn syscall_entry(&self) -> u64 {
        self.header.syscall_entry
    }

    /// Virtual address of the top of the boot stack.
    #[must_use]
    pub fn boot_stack(&self) -> u64 {
        self.header.boot_stack
    }

    fn check_parts(&self) -> Result<(), ShimError> {
        let h = &self.header;
        for (name, part) in [("code", self.text()), ("constants", self.rodata())] {
            let in_image = page_aligned(&part) && bytes(self.image, &part).is_some();
            if !in_image || part.start < PAGE_SIZE {
                return Err(ShimError::BadPart(name));
            }
        }
        let data = self.data();
        let initial = h.data_start..h.data_end;
        let good = data.start.is_multiple_of(PAGE_SIZE)
            && data.end.is_multiple_of(PAGE_SIZE)
            && data.start >= PAGE_SIZE
            && initial.end <= data.end
            && data.end <= MAX_LEN
            && bytes(self.image, &initial).is_some();
        if !good {
            return Err(ShimError::BadPart("data"));
        }
        let mut parts = [self.text(), self.rodata(), data];
        parts.sort_by_key(|part| part.start);
        if parts.windows(2).any(|pair| matches!(pair, [a, b] if a.end > b.start)) {
            return Err(ShimError::BadPart("layout"));
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ShimError> {
        let within =
            |va: u64, part: Range<u64>| va.checked_sub(SHIM_BASE_VA).is_some_and(|offset| part.contains(&offset));
        if !within(self.entry(), self.text()) {
            return Err(ShimError::BadAddress("entry"));
        }
        if !within(self.syscall_entry(), self.text()) {
            return Err(ShimError::BadAddress("system-call entry"));
        }
        // The top of a stack is one past its last byte.
        if !within(self.boot_stack().wrapping_sub(1), self.data()) {
            return Err(ShimError::BadAddress("boot stack"));
        }
        Ok(())
    }
}

fn page_aligned(range: &Range<u64>) -> bool {
    range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE)
}

/// The bytes of `range`; an empty range may lie anywhere.
fn bytes<'p>(image: &'p [u8], range: &Range<u64>) -> Option<&'p [u8]> {
    if range.start == range.end {
        return Some(&[]);
    }
    image.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use zerocopy::IntoBytes;

    /// A header of four pages of image and two of zeros, good in all parts.
    pub(crate) fn header() -> ShimHeader {
        ShimHeader {
            magic: SHIM_MAGIC,
            version: PROTO_VERSION,
            reserved: 0,
            text_start: 0x1000,
            text_end: 0x2000,
            rodata_start: 0x2000,
            rodata_end: 0x3000,
            data_start: 0x3000,
            data_end: 0x3010,
            bss_end: 0x5000,
            entry: SHIM_BASE_VA + 0x1000,
            syscall_entry: SHIM_BASE_VA + 0x1100,
            boot_stack: SHIM_BASE_VA + 0x5000,
        }
    }

    pub(crate) fn image(header: &ShimHeader) -> Vec<u8> {
        let mut image = vec![0; 0x4000];
        image[..size_of::<ShimHeader>()].copy_from_slice(header.as_bytes());
        image[0x1000] = 0xf4;
        image[0x3000..0x3010].copy_from_slice(b"initial data ...");
        image
    }

    #[test]
    fn reads_a_good_header() {
        let image = image(&header());
        let shim = Shim::parse(&image).unwrap();
        assert_eq!(shim.text(), 0x1000..0x2000);
        assert_eq!(shim.initial_data(), b"initial data ...");
        assert_eq!(shim.memory_len(), 0x5000);
    }

    #[test]
    fn refuses_bad_ones() {
        let bad = |change: fn(&mut ShimHeader)| {
            let mut header = header();
            change(&mut header);
            Shim::parse(&image(&header)).err().unwrap()
        };
        assert_eq!(bad(|h| h.magic = 0), ShimError::NotAShim);
        assert_eq!(bad(|h| h.version = 99), ShimError::OtherVersion(99));
        assert_eq!(bad(|h| h.text_start = 0x1001), ShimError::BadPart("code"));
        assert_eq!(bad(|h| h.text_start = 0), ShimError::BadPart("code"));
        assert_eq!(bad(|h| h.text_end = 0x100_0000), ShimError::BadPart("code"));
        assert_eq!(bad(|h| h.rodata_end = 0x1000), ShimError::BadPart("constants"));
        assert_eq!(bad(|h| h.rodata_end = u64::MAX), ShimError::BadPart("constants"));
        assert_eq!(bad(|h| h.bss_end = !0xfff), ShimError::BadPart("data"));
        assert_eq!(bad(|h| h.data_end = 0x6000), ShimError::BadPart("data"));
        assert_eq!(bad(|h| h.data_start = 0x2000), ShimError::BadPart("layout"));
        assert_eq!(bad(|h| h.entry = 0), ShimError::BadAddress("entry"));
        assert_eq!(bad(|h| h.syscall_entry = SHIM_BASE_VA + 0x2000), ShimError::BadAddress("system-call entry"));
        assert_eq!(bad(|h| h.boot_stack = SHIM_BASE_VA + 0x3000), ShimError::BadAddress("boot stack"));
        assert_eq!(Shim::parse(&[]).err(), Some(ShimError::NotAShim));
    }
}
