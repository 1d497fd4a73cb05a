//! Moving bulk data between the root and the segments of a request.
use files::Errno;
use guestmem::GuestMemory;
use proto::Segment;
use tlfs::addr::Gpa;

/// The segments of a request as one run of bytes, used up from the front.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    segments: &'a [Segment],
    /// Bytes of the first segment that are used up.
    used: u32,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(segments: &'a [Segment]) -> Self {
        Self { segments, used: 0 }
    }

    /// Bytes that are left. At most 64 segments of 4096 bytes.
    pub(crate) fn remaining(&self) -> usize {
        let all: usize = self.segments.iter().map(|segment| segment.len as usize).sum();
        all.saturating_sub(self.used as usize)
    }

    /// Fills the next bytes of the child's memory.
    pub(crate) fn write<M: GuestMemory>(&mut self, memory: &mut M, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            let (gpa, len) = self.next(data.len())?;
            let (now, later) = data.split_at_checked(len).ok_or(Errno::EFAULT)?;
            memory.write(gpa, now).map_err(|_| Errno::EFAULT)?;
            data = later;
        }
        Ok(())
    }

    /// Fetches the next bytes of the child's memory.
    pub(crate) fn read<M: GuestMemory>(&mut self, memory: &M, mut buf: &mut [u8]) -> Result<(), Errno> {
        while !buf.is_empty() {
            let (gpa, len) = self.next(buf.len())?;
            let (now, later) = buf.split_at_mut_checked(len).ok_or(Errno::EFAULT)?;
            memory.read(gpa, now).map_err(|_| Errno::EFAULT)?;
            buf = later;
        }
        Ok(())
    }

    /// The next run of at most `want` bytes: where it is and how long. It counts as used.
    fn next(&mut self, want: usize) -> Result<(Gpa, usize), Errno> {
        let (segment, rest) = self.segments.split_first().ok_or(Errno::EFAULT)?;
        let gpa = Gpa(segment.gpa).checked_add(u64::from(self.used)).ok_or(Errno::EFAULT)?;
        let left = segment.len.saturating_sub(self.used);
        let len = u32::try_from(want).map_or(left, |want| want.min(left));
        if len == left {
            self.segments = rest;
            self.used = 0;
        } else {
            self.used += len;
        }
        Ok((gpa, len as usize))
    }
}
