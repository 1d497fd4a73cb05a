//! What a call's pointers lead to, as far as a rule looks at it: copied once, judged, and handed to the shim, which carries out the copy.
//!
//! The pages may not be there yet: the program has mapped a file or got fresh memory, and has not touched it. Then the shim is asked to bring
//! in the page of the first byte that cannot be read, the program makes the call again, and all is copied anew. Each round goes through the
//! program, so that nothing here loops. When the byte that was just asked for still cannot be read, the program has none there: EFAULT.

use alloc::boxed::Box;
use alloc::vec;

use guestmem::{GuestMemory, Unreadable, WalkError, copy_cstr};
use policy::{MAX_READS, Pointed, Policy, Read};
use proto::{COPY_LEN, CopyHead, MAX_COPIES};

use crate::Call;

const _: () = assert!(MAX_READS <= MAX_COPIES);

/// Why a call's memory was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// This byte cannot be read now.
    Missing { gva: u64 },
    /// A string has no end within [`COPY_LEN`] bytes.
    TooLong,
}

/// One argument's memory.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    argument: u8,
    /// `address` is 0 if there is nothing.
    head: CopyHead,
}

/// What was asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fetch {
    gva: u64,
    cr3: u64,
    sequence: u64,
}

/// The memory of the call that is judged.
pub(crate) struct CallMemory {
    /// As many as the policy can ask for: none for most policies.
    buffers: Box<[[u8; COPY_LEN]]>,
    entries: [Entry; MAX_COPIES],
    fetched: Option<Fetch>,
}

impl CallMemory {
    /// Room for what `policy` looks at.
    pub(crate) fn new(policy: &Policy) -> Self {
        let count = if policy.reads_memory() { MAX_COPIES } else { 0 };
        Self { buffers: vec![[0; COPY_LEN]; count].into(), entries: [Entry::default(); MAX_COPIES], fetched: None }
    }

    /// Copies what `reads` asks for.
    pub(crate) fn read(&mut self, reads: &[Read], call: &Call, memory: &dyn GuestMemory) -> Result<(), NotRead> {
        self.entries = [Entry::default(); MAX_COPIES];
        for ((read, entry), buffer) in reads.iter().zip(&mut self.entries).zip(&mut self.buffers) {
            let address = call.args.get(usize::from(read.argument)).copied().unwrap_or(0);
            if address == 0 {
                continue;
            }
            let len = copy_cstr(memory, call.cr3, address, buffer).map_err(NotRead::from)?;
            let len = u64::try_from(len).unwrap_or(0);
            *entry = Entry { argument: read.argument, head: CopyHead { address, len } };
        }
        Ok(())
    }

    /// What was read, to be judged.
    pub(crate) fn pointed(&self) -> Pointed<'_> {
        let mut pointed = Pointed::default();
        for (argument, bytes) in self.read_strings() {
            pointed.set(argument, bytes);
        }
        pointed
    }

    /// What an argument points to, if it was read.
    pub(crate) fn of(&self, argument: u8) -> Option<&[u8]> {
        self.read_strings().find(|(read, _)| *read == argument).map(|(_, bytes)| bytes)
    }

    fn read_strings(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.filled().filter(|(entry, _)| entry.head.address != 0).map(|(entry, bytes)| (entry.argument, bytes))
    }

    /// The same for the shim: all entries, the empty ones too.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (CopyHead, &[u8])> {
        self.filled().map(|(entry, bytes)| (entry.head, bytes))
    }

    fn filled(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.entries.iter().zip(&self.buffers).map(|(entry, buffer)| {
            let len = usize::try_from(entry.head.len).unwrap_or(0);
            (entry, buffer.get(..len).unwrap_or(&[]))
        })
    }

    /// Whether it makes sense to ask for this byte: not if it was the very last thing that was granted. `last`: the last grant.
    pub(crate) fn may_fetch(&self, gva: u64, cr3: u64, last: u64) -> bool {
        self.fetched != Some(Fetch { gva, cr3, sequence: last })
    }

    /// Notes that this byte is asked for by the grant `sequence`.
    pub(crate) fn fetches(&mut self, gva: u64, cr3: u64, sequence: u64) {
        self.fetched = Some(Fetch { gva, cr3, sequence });
    }
}

impl From<Unreadable> for NotRead {
    fn from(error: Unreadable) -> Self {
        match error.why {
            WalkError::Unterminated => Self::TooLong,
            WalkError::NonCanonical { .. } | WalkError::NotPresent { .. } | WalkError::NotMapped(_) => {
                Self::Missing { gva: error.gva }
            }
        }
    }
}
