//! What a sandbox changed, told as a walk over the changed parts of its tree ([`crate::kind::DIFF`]).
//!
//! The stream is a sequence of [`Record`]s, each a little-endian u32 with its length in bytes and the record in postcard. Its places are
//! told by the way that the walk takes: [`Record::Enter`] goes into a directory, [`Record::Leave`] out of it, and names are of the
//! directory that the walk is in. It starts in the root. So no path is ever sent, and neither side needs one to follow.
//!
//! The base is the tree as the sandbox was given it. Applied in order, the records turn it into what the sandbox left.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Largest record in bytes: an extended attribute with its name, and what goes around them.
pub const MAX_RECORD: usize = (64 << 10) + 512;
/// Bytes of a file in one [`Record::Data`] at most.
pub const MAX_DATA: usize = 8 << 10;

const LENGTH: usize = size_of::<u32>();

/// Mode, owner and time of what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When the content changed last: seconds since the epoch.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// An extended attribute of what the next record brings: a directory, file, link or pipe.
    Xattr {
        /// Its name, with the name space.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Into a directory. The first record of a walk, and only that, goes into the root, whose name is empty.
    Enter {
        /// Its name.
        name: &'a [u8],
        /// Its attributes.
        attributes: Attributes,
        /// Nothing of what the base has in a directory of this place is in it.
        opaque: bool,
    },
    /// Out of the directory again.
    Leave,
    /// What the base has under this name is gone.
    Removed {
        /// The name.
        name: &'a [u8],
    },
    /// A regular file. Its bytes follow, as [`Record::Data`] and [`Record::Zeros`], before anything else.
    File {
        /// Its name.
        name: &'a [u8],
        /// Its attributes.
        attributes: Attributes,
        /// What its further names call it; 0 if it has none.
        ino: u64,
        /// How many bytes follow.
        len: u64,
    },
    /// The next bytes of the file: 1 to [`MAX_DATA`].
    Data(&'a [u8]),
    /// So many bytes of the file are zeros.
    Zeros(u64),
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: &'a [u8],
        /// Its attributes.
        attributes: Attributes,
        /// What its further names call it; 0 if it has none.
        ino: u64,
        /// Where it points.
        target: &'a [u8],
    },
    /// A named pipe.
    Fifo {
        /// Its name.
        name: &'a [u8],
        /// Its attributes.
        attributes: Attributes,
        /// What its further names call it; 0 if it has none.
        ino: u64,
    },
    /// One more name of what was brought under this number.
    Link {
        /// The name.
        name: &'a [u8],
        /// The number.
        ino: u64,
    },
    /// A socket, which no layer can hold: where there is one, nothing is told.
    Socket {
        /// Its name.
        name: &'a [u8],
    },
    /// The walk is over, and was complete.
    End,
    /// The walk ends here, and is not complete.
    Failed {
        /// Why not: a [`Defect`].
        defect: Defect,
    },
}

/// Why a walk was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Defect {
    /// A path is longer than Linux takes one.
    LongPath,
    /// The file system contradicts itself.
    Inconsistent,
    /// What belongs to it of a folder of the host cannot be read there any more, or does not end.
    Folder,
}

/// Why a stream of records cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Record<'a> {
    /// Appends it to a stream.
    pub fn encode(&self, stream: &mut Vec<u8>) {
        let start = stream.len();
        stream.extend_from_slice(&[0; LENGTH]);
        // Writing to a vector does not fail.
        if let Ok(bytes) = postcard::to_allocvec(self) {
            stream.extend_from_slice(&bytes);
        }
        let len = u32::try_from(stream.len() - start - LENGTH).unwrap_or(u32::MAX);
        if let Some(place) = stream.get_mut(start..start + LENGTH) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// The first record of a stream and the bytes that it takes; `None` if it is not whole yet.
    ///
    /// # Errors
    /// [`Malformed`]: longer than [`MAX_RECORD`], or no record.
    pub fn decode(stream: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((len, rest)) = stream.split_first_chunk() else { return Ok(None) };
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| Malformed)?;
        if len > MAX_RECORD {
            return Err(Malformed);
        }
        let Some(bytes) = rest.get(..len) else { return Ok(None) };
        match postcard::take_from_bytes(bytes) {
            Ok((record, [])) => Ok(Some((record, LENGTH + len))),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn records_come_out_as_they_went_in() {
        let value = vec![7; 64 << 10];
        let name = [b'n'; 255];
        let attributes = Attributes { mode: 0o7777, uid: u32::MAX, gid: 1, seconds: -1, nanoseconds: 999_999_999 };
        let records = [
            Record::Enter { name: b"", attributes, opaque: true },
            Record::Xattr { name: &name, value: &value },
            Record::File { name: b"f", attributes, ino: u64::MAX, len: 3 },
            Record::Data(b"abc"),
            Record::Zeros(u64::MAX),
            Record::Symlink { name: b"s", attributes, ino: 2, target: b"f" },
            Record::Leave,
            Record::Failed { defect: Defect::LongPath },
        ];
        let mut stream = Vec::new();
        records.iter().for_each(|record| record.encode(&mut stream));
        let mut rest = stream.as_slice();
        for expected in records {
            assert_eq!(Record::decode(&rest[..3]), Ok(None));
            let (record, len) = Record::decode(rest).unwrap().unwrap();
            assert_eq!(record, expected);
            assert_eq!(Record::decode(&rest[..len - 1]), Ok(None));
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert_eq!(Record::decode(&[0xff; 4]), Err(Malformed));
        assert_eq!(Record::decode(&[1, 0, 0, 0, 99]), Err(Malformed));
        assert_eq!(Record::decode(&[0, 0, 0, 0]), Err(Malformed));
        let mut long = Vec::new();
        Record::Leave.encode(&mut long);
        long[0] += 1;
        long.push(0);
        assert_eq!(Record::decode(&long), Err(Malformed), "bytes are left");
    }
}
