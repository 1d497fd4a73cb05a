//! The structures behind the arguments of calls that send and write: `struct msghdr` and `struct iovec`.

use guestmem::{GuestMemory, Unreadable, copy_gva};

/// Bytes of `struct msghdr` (Linux, include/linux/socket.h: `user_msghdr`).
pub(crate) const MESSAGE_LEN: usize = 56;
/// Bytes of `struct iovec`.
const IOVEC_LEN: u64 = 16;
/// Most entries of a list of them (UIO_MAXIOV).
const MAX_IOVECS: u64 = 1024;

/// What is looked at of a `struct msghdr`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Address and length of the `struct sockaddr`, if it names one.
    pub(crate) name: Option<(u64, u64)>,
    /// Its ranges of bytes: where the array is, and how many there are.
    pub(crate) ranges: (u64, u64),
}

impl Message {
    pub(crate) fn read(bytes: &[u8; MESSAGE_LEN]) -> Self {
        // The length has 32 bits, and padding behind it.
        let (name, len) = (word(bytes, 0), word(bytes, 8) & u64::from(u32::MAX));
        let name = (name != 0 && len != 0).then_some((name, len));
        Self { name, ranges: (word(bytes, 16), word(bytes, 24)) }
    }
}

/// The word at an offset; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Why ranges of bytes were not gathered.
pub(crate) enum NotGathered {
    /// There are too many.
    TooMany,
    /// One is longer than any can be.
    TooLong,
    /// This cannot be read now.
    Unreadable(Unreadable),
}

impl From<Unreadable> for NotGathered {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable)
    }
}

/// What was gathered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// Bytes.
    pub(crate) len: usize,
    /// There are more of them than fit.
    pub(crate) cut: bool,
}

/// Gathers bytes from ranges of a child's memory, one behind the other.
pub(crate) struct Gatherer<'g> {
    pub(crate) memory: &'g dyn GuestMemory,
    pub(crate) cr3: u64,
    /// Where they are put.
    pub(crate) out: &'g mut [u8],
    pub(crate) done: Gathered,
}

impl Gatherer<'_> {
    /// Adds one range, as far as there is room.
    pub(crate) fn range(&mut self, address: u64, len: u64) -> Result<(), NotGathered> {
        if i64::try_from(len).is_err() {
            return Err(NotGathered::TooLong);
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let room = self.out.get_mut(self.done.len..).unwrap_or(&mut []);
        self.done.cut |= len > room.len();
        let (now, _) = room.split_at_mut(len.min(room.len()));
        copy_gva(self.memory, self.cr3, address, now)?;
        self.done.len += now.len();
        Ok(())
    }

    /// Adds those of a list. Entries behind that which does not fit any more are not looked at.
    pub(crate) fn list(&mut self, address: u64, count: u64) -> Result<(), NotGathered> {
        if count > MAX_IOVECS {
            return Err(NotGathered::TooMany);
        }
        for index in 0..count {
            let mut entry = [0; 16];
            copy_gva(self.memory, self.cr3, address.wrapping_add(index * IOVEC_LEN), &mut entry)?;
            self.range(word(&entry, 0), word(&entry, 8))?;
            if self.done.cut {
                break;
            }
        }
        Ok(())
    }
}
