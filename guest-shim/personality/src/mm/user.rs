//! Copying between the personality and the program's memory. A user address is a claim: each page of it is looked up,
//! brought in if the program could have touched it, and only then read or written. What does not hold is EFAULT.

use alloc::vec::Vec;

use super::area::{Access, BadTouch};
use super::space::{AddressSpace, Source};
use crate::abi::Iovec;
use crate::errno::Errno;
use crate::fs::special::{Sink, Supply};
use crate::num::{index, len32};
use crate::platform::{PAGE, Platform};
use proto::layout::USER_END_VA;
use proto::{MAX_SEGMENTS, Segment};
use zerocopy::{FromBytes, Immutable, IntoBytes};

impl From<BadTouch> for Errno {
    fn from(bad: BadTouch) -> Self {
        match bad {
            BadTouch::NoMemory => Self::ENOMEM,
            BadTouch::Unmapped | BadTouch::Denied | BadTouch::NoData => Self::EFAULT,
        }
    }
}

/// Bytes from `va` to the end of its page, at most `len`.
fn in_page(va: u64, len: u64) -> u64 {
    (PAGE - va % PAGE).min(len)
}

/// The end of `len` bytes at `va`, which must lie in user space.
fn checked_end(va: u64, len: u64) -> Result<u64, Errno> {
    va.checked_add(len).filter(|&end| end <= USER_END_VA).ok_or(Errno::EFAULT)
}

/// Reads `out.len()` bytes at `va`.
pub fn read<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    va: u64,
    out: &mut [u8],
) -> Result<(), Errno> {
    checked_end(va, out.len() as u64)?;
    let mut va = va;
    let mut rest = out;
    while !rest.is_empty() {
        let len = index(in_page(va, rest.len() as u64));
        let (piece, after) = rest.split_at_mut(len);
        let frame = space.touch(source, va, Access::Read)?;
        let at = index(va % PAGE);
        piece.copy_from_slice(&source.platform.frame(frame)[at..at + len]);
        va += len as u64;
        rest = after;
    }
    Ok(())
}

/// Writes `data` at `va`.
pub fn write<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    va: u64,
    data: &[u8],
) -> Result<(), Errno> {
    checked_end(va, data.len() as u64)?;
    let mut va = va;
    let mut rest = data;
    while !rest.is_empty() {
        let len = index(in_page(va, rest.len() as u64));
        let (piece, after) = rest.split_at(len);
        let frame = space.touch(source, va, Access::Write)?;
        let at = index(va % PAGE);
        source.platform.frame_mut(frame)[at..at + len].copy_from_slice(piece);
        va += len as u64;
        rest = after;
    }
    Ok(())
}

/// Writes `len` zeros at `va`.
pub fn clear<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    va: u64,
    len: u64,
) -> Result<(), Errno> {
    let end = checked_end(va, len)?;
    let mut va = va;
    while va < end {
        let len = in_page(va, end - va);
        let frame = space.touch(source, va, Access::Write)?;
        let at = index(va % PAGE);
        source.platform.frame_mut(frame)[at..at + index(len)].fill(0);
        va += len;
    }
    Ok(())
}

/// Reads one plain value.
pub fn read_value<P: Platform, T: FromBytes + IntoBytes>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    va: u64,
) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    read(space, source, va, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes one plain value.
pub fn write_value<P: Platform, T: IntoBytes + Immutable>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    va: u64,
    value: &T,
) -> Result<(), Errno> {
    write(space, source, va, value.as_bytes())
}

/// Reads a string that ends with NUL, without the NUL; `too_long` when there is none in `max` bytes.
pub fn read_string<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    va: u64,
    max: usize,
    too_long: Errno,
) -> Result<Vec<u8>, Errno> {
    let mut string = Vec::new();
    let mut va = va;
    while string.len() < max {
        checked_end(va, 1)?;
        let frame = space.touch(source, va, Access::Read)?;
        let at = index(va % PAGE);
        let len = index(in_page(va, (max - string.len()) as u64));
        let bytes = &source.platform.frame(frame)[at..at + len];
        match bytes.iter().position(|&byte| byte == 0) {
            Some(end) => {
                string.extend_from_slice(&bytes[..end]);
                return Ok(string);
            }
            None => string.extend_from_slice(bytes),
        }
        va += len as u64;
    }
    Err(too_long)
}

/// A bounded list of segments: user memory that the root reads or writes by itself.
pub struct Segments {
    list: [Segment; MAX_SEGMENTS],
    count: usize,
    bytes: u64,
}

impl Segments {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { list: [Segment::default(); MAX_SEGMENTS], count: 0, bytes: 0 }
    }

    /// The list.
    #[must_use]
    pub fn as_slice(&self) -> &[Segment] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// No more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count == MAX_SEGMENTS
    }

    /// Adds a run of bytes within one frame; `false` when the list is full.
    pub fn push(&mut self, gpa: u64, len: u64) -> bool {
        let Some(slot) = self.list.get_mut(self.count) else { return false };
        *slot = Segment { gpa, len: len32(index(len)), reserved: 0 };
        self.count += 1;
        self.bytes += len;
        true
    }
}

impl Default for Segments {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory of the program for one transfer: one range, or the ranges of a `struct iovec` list.
pub struct Ranges {
    first: Iovec,
    rest: Vec<Iovec>,
    /// The bytes are in this frame of the shim's, and not in the program's memory.
    staged: Option<u64>,
    /// Bytes in all.
    pub total: u64,
}

/// Most bytes that one call transfers (MAX_RW_COUNT).
pub const MAX_TRANSFER: u64 = 0x7fff_f000;
/// Most entries of an iovec list (UIO_MAXIOV).
pub const MAX_IOVECS: u64 = 1024;

impl Ranges {
    /// One range. It may be bad: that shows when it is used.
    #[must_use]
    pub fn one(base: u64, len: u64) -> Self {
        let len = len.min(MAX_TRANSFER);
        Self { first: Iovec { base, len }, rest: Vec::new(), staged: None, total: len }
    }

    /// The first `len` bytes of a frame, to be read: what the program's memory was when it was judged.
    #[must_use]
    pub fn staged(frame: u64, len: u64) -> Self {
        let len = len.min(PAGE);
        Self { first: Iovec { base: 0, len }, rest: Vec::new(), staged: Some(frame), total: len }
    }

    /// The ranges of a list.
    #[must_use]
    pub fn rest(&self) -> &[Iovec] {
        &self.rest
    }

    /// The list of `count` iovecs at `va`.
    ///
    /// # Errors
    /// EINVAL when there are too many or one is too long; EFAULT.
    pub fn list<P: Platform>(
        space: &mut AddressSpace,
        source: &mut Source<'_, P>,
        va: u64,
        count: u64,
    ) -> Result<Self, Errno> {
        if count > MAX_IOVECS {
            return Err(Errno::EINVAL);
        }
        let mut ranges = Self::one(0, 0);
        ranges.rest.reserve(index(count));
        for entry in 0..count {
            let mut iovec: Iovec = read_value(space, source, va.wrapping_add(entry * 16))?;
            if i64::try_from(iovec.len).is_err() {
                return Err(Errno::EINVAL);
            }
            iovec.len = iovec.len.min(MAX_TRANSFER - ranges.total);
            ranges.total += iovec.len;
            ranges.rest.push(iovec);
        }
        Ok(ranges)
    }

    /// The pages that hold the bytes from `skip` on, brought in for `access`, as many as fit one request. The list is
    /// shorter when a later page is bad.
    ///
    /// # Errors
    /// EFAULT or ENOMEM when the first page is bad.
    pub fn segments<P: Platform>(
        &self,
        space: &mut AddressSpace,
        source: &mut Source<'_, P>,
        skip: u64,
        access: Access,
    ) -> Result<Segments, Errno> {
        let mut segments = Segments::new();
        if let Some(frame) = self.staged {
            if skip < self.total {
                segments.push(frame + skip, self.total - skip);
            }
            return Ok(segments);
        }
        let mut skip = skip;
        for range in core::iter::once(&self.first).chain(&self.rest) {
            if skip >= range.len {
                skip -= range.len;
                continue;
            }
            let (mut va, mut left) = (range.base.wrapping_add(skip), range.len - skip);
            skip = 0;
            while left > 0 && !segments.is_full() {
                let len = in_page(va, left);
                match checked_end(va, len).and_then(|_| Ok(space.touch(source, va, access)?)) {
                    Ok(frame) => segments.push(frame + va % PAGE, len),
                    Err(error) if segments.bytes == 0 => return Err(error),
                    Err(_) => return Ok(segments),
                };
                va += len;
                left -= len;
            }
        }
        Ok(segments)
    }
}

/// Memory run by run, each within one frame.
trait Runs {
    /// Where the frames are.
    type Memory: Platform;

    /// Bytes that are left.
    fn left(&self) -> usize;

    /// The next run of at most `max` bytes: its frame, where it starts there, its length. Its bytes are taken with that.
    fn advance(&mut self, max: usize) -> Option<(u64, usize, usize)>;

    /// The frames.
    fn memory(&mut self) -> &mut Self::Memory;
}

impl<R: Runs> Sink for R {
    fn room(&self) -> usize {
        Runs::left(self)
    }

    fn next(&mut self, max: usize) -> &mut [u8] {
        match self.advance(max) {
            Some((frame, at, len)) => self.memory().frame_mut(frame).get_mut(at..at + len).unwrap_or(&mut []),
            None => &mut [],
        }
    }
}

impl<R: Runs> Supply for R {
    fn left(&self) -> usize {
        Runs::left(self)
    }

    fn next(&mut self, max: usize) -> &[u8] {
        match self.advance(max) {
            Some((frame, at, len)) => self.memory().frame(frame).get(at..at + len).unwrap_or(&[]),
            None => &[],
        }
    }
}

/// The ranges of a transfer as runs of bytes, for files that take and give bytes directly.
pub struct UserRuns<'a, 's, P: Platform> {
    space: &'a mut AddressSpace,
    source: &'a mut Source<'s, P>,
    ranges: &'a Ranges,
    done: u64,
    access: Access,
    bad: bool,
}

impl<'a, 's, P: Platform> UserRuns<'a, 's, P> {
    /// From byte `done` on. `access` is what is done to the memory.
    pub fn new(
        space: &'a mut AddressSpace,
        source: &'a mut Source<'s, P>,
        ranges: &'a Ranges,
        done: u64,
        access: Access,
    ) -> Self {
        Self { space, source, ranges, done, access, bad: false }
    }

    /// Memory that should have been there was not.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.bad
    }

    /// Where the next byte is, and how many follow it in its range.
    fn position(&self) -> Option<(u64, u64)> {
        let mut skip = self.done;
        for range in core::iter::once(&self.ranges.first).chain(&self.ranges.rest) {
            if skip < range.len {
                return Some((range.base.wrapping_add(skip), range.len - skip));
            }
            skip -= range.len;
        }
        None
    }
}

impl<P: Platform> Runs for UserRuns<'_, '_, P> {
    type Memory = P;

    fn left(&self) -> usize {
        index(self.ranges.total.saturating_sub(self.done))
    }

    fn advance(&mut self, max: usize) -> Option<(u64, usize, usize)> {
        let (va, left) = self.position()?;
        let len = in_page(va, left.min(max as u64));
        if len == 0 || self.bad {
            return None;
        }
        if let Some(frame) = self.ranges.staged {
            self.done += len;
            return Some((frame, index(va), index(len)));
        }
        let Some(frame) = checked_end(va, len).ok().and_then(|_| self.space.touch(self.source, va, self.access).ok())
        else {
            self.bad = true;
            return None;
        };
        self.done += len;
        Some((frame, index(va % PAGE), index(len)))
    }

    fn memory(&mut self) -> &mut P {
        self.source.platform
    }
}

/// Segments as runs of bytes.
pub struct SegmentRuns<'a, P: Platform> {
    platform: &'a mut P,
    segments: &'a Segments,
    done: u64,
}

impl<'a, P: Platform> SegmentRuns<'a, P> {
    /// From the first byte on.
    pub fn new(platform: &'a mut P, segments: &'a Segments) -> Self {
        Self { platform, segments, done: 0 }
    }
}

impl<P: Platform> Runs for SegmentRuns<'_, P> {
    type Memory = P;

    fn left(&self) -> usize {
        index(self.segments.bytes().saturating_sub(self.done))
    }

    fn advance(&mut self, max: usize) -> Option<(u64, usize, usize)> {
        let mut skip = self.done;
        for segment in self.segments.as_slice() {
            let len = u64::from(segment.len);
            if skip < len {
                let gpa = segment.gpa + skip;
                let len = in_page(gpa, (len - skip).min(max as u64));
                self.done += len;
                return Some((gpa / PAGE * PAGE, index(gpa % PAGE), index(len)));
            }
            skip -= len;
        }
        None
    }

    fn memory(&mut self) -> &mut P {
        self.platform
    }
}
