//! What a call's pointers lead to, as far as a rule looks at it: copied once, judged, and handed to the shim, which carries out the copy.
//!
//! The pages may not be there yet: the program has mapped a file or got fresh memory, and has not touched it. Then the shim is asked to bring
//! in the page of the first byte that cannot be read, the program makes the call again, and all is copied anew. Each round goes through the
//! program, so that nothing here loops. When the byte that was just asked for still cannot be read, the program has none there: EFAULT.

use alloc::boxed::Box;
use alloc::vec;

use guestmem::{GuestMemory, Unreadable, WalkError, copy_cstr, copy_gva};
use policy::address::MAX_ADDRESS;
use policy::{Form, MAX_READS, Pointed, Policy, Read};
use proto::{COPY_LEN, CopyHead, MAX_COPIES, copy_forms};

use crate::Call;

/// A message's header and the address that it names are two copies.
const _: () = assert!(2 * MAX_READS <= MAX_COPIES);

/// Bytes of `struct msghdr`, and where in it the address and its length are (Linux, include/linux/socket.h: `user_msghdr`).
const MSGHDR_LEN: usize = 56;

/// Why a call's memory was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// This byte cannot be read now.
    Missing { gva: u64 },
    /// A string has no end within [`COPY_LEN`] bytes.
    TooLong,
    /// An address is longer than any.
    Invalid,
}

/// One piece of memory.
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
    /// How many of them there are.
    used: usize,
    /// An argument that says how much there is to do, of which only so much was judged.
    cut: Option<(u8, u64)>,
    fetched: Option<Fetch>,
}

/// Where the memory of a call is read.
#[derive(Clone, Copy)]
struct Reader<'r> {
    call: &'r Call,
    memory: &'r dyn GuestMemory,
}

impl Reader<'_> {
    fn arg(&self, index: u8) -> u64 {
        self.call.args.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// An argument that Linux takes as a number of 32 bits.
    fn low(&self, index: u8) -> u64 {
        self.arg(index) & u64::from(u32::MAX)
    }
}

impl CallMemory {
    /// Room for what `policy` looks at.
    pub(crate) fn new(policy: &Policy) -> Self {
        let count = if policy.reads_memory() { MAX_COPIES } else { 0 };
        let entries = [Entry::default(); MAX_COPIES];
        Self { buffers: vec![[0; COPY_LEN]; count].into(), entries, used: 0, cut: None, fetched: None }
    }

    /// Copies what `reads` asks for.
    pub(crate) fn read(&mut self, reads: &[Read], call: &Call, memory: &dyn GuestMemory) -> Result<(), NotRead> {
        self.entries = [Entry::default(); MAX_COPIES];
        self.used = 0;
        self.cut = None;
        let from = Reader { call, memory };
        for read in reads {
            let address = from.arg(read.argument);
            if address == 0 {
                continue;
            }
            match read.form {
                Form::String => self.string(read.argument, address, from)?,
                Form::Address { len } => self.address(read.argument, (address, from.low(len)), from)?,
                Form::Message { count: Some(count) } if from.low(count) == 0 => {}
                Form::Message { count } => {
                    self.message(read.argument, address, from)?;
                    self.cut = count.map(|count| (count, 1));
                }
            }
        }
        Ok(())
    }

    fn string(&mut self, argument: u8, address: u64, from: Reader<'_>) -> Result<(), NotRead> {
        let is_same = |entry: &Entry| (entry.head.form, entry.head.address) == (copy_forms::STRING, address);
        if let Some(known) = self.entries.iter().take(self.used).position(is_same) {
            // Read once: the shim knows pieces by their addresses.
            let len = self.entries.get(known).map_or(0, |entry| entry.head.len);
            let bytes = self.buffers.get(known).copied();
            return self.add(Piece { argument, address, form: copy_forms::STRING }, |buffer| {
                if let Some(bytes) = bytes {
                    *buffer = bytes;
                }
                Ok(usize::try_from(len).unwrap_or(0))
            });
        }
        self.add(Piece { argument, address, form: copy_forms::STRING }, |buffer| {
            Ok(copy_cstr(from.memory, from.call.cr3, address, buffer)?)
        })
    }

    /// An address of so many bytes. Linux takes the length as a signed number.
    fn address(&mut self, argument: u8, (address, len): (u64, u64), from: Reader<'_>) -> Result<(), NotRead> {
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_ADDRESS).ok_or(NotRead::Invalid)?;
        self.bytes(Piece { argument, address, form: copy_forms::ADDRESS }, len, from)
    }

    /// A message's header, and its address if it has one.
    fn message(&mut self, argument: u8, address: u64, from: Reader<'_>) -> Result<(), NotRead> {
        let header = self.used;
        self.bytes(Piece { argument, address, form: copy_forms::MESSAGE }, MSGHDR_LEN, from)?;
        match self.buffers.get(header) {
            Some([a, b, c, d, e, f, g, h, w, x, y, z, ..]) => {
                let name = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                let len = u64::from(u32::from_le_bytes([*w, *x, *y, *z]));
                if name == 0 || len == 0 { Ok(()) } else { self.address(argument, (name, len), from) }
            }
            None => Ok(()),
        }
    }

    fn bytes(&mut self, piece: Piece, len: usize, from: Reader<'_>) -> Result<(), NotRead> {
        self.add(piece, |buffer| {
            let bytes = buffer.get_mut(..len).ok_or(NotRead::Invalid)?;
            copy_gva(from.memory, from.call.cr3, piece.address, bytes)?;
            Ok(len)
        })
    }

    /// Fills the next buffer; `fill` says how much of it.
    fn add(
        &mut self,
        piece: Piece,
        fill: impl FnOnce(&mut [u8; COPY_LEN]) -> Result<usize, NotRead>,
    ) -> Result<(), NotRead> {
        let Piece { argument, address, form } = piece;
        let (Some(entry), Some(buffer)) = (self.entries.get_mut(self.used), self.buffers.get_mut(self.used)) else {
            return Err(NotRead::Invalid);
        };
        let len = u64::try_from(fill(buffer)?).unwrap_or(0);
        *entry = Entry { argument, head: CopyHead { address, len, form } };
        self.used += 1;
        Ok(())
    }

    /// What was read, to be judged.
    pub(crate) fn pointed(&self) -> Pointed<'_> {
        let mut pointed = Pointed::NOTHING;
        for (entry, bytes) in self.filled() {
            match entry.head.form {
                copy_forms::STRING => pointed.set(entry.argument, bytes),
                copy_forms::ADDRESS => pointed.set_address(bytes),
                _ => {}
            }
        }
        pointed
    }

    /// What an argument points to as this form, or what the message that it points to names, if it was read.
    pub(crate) fn of(&self, argument: u8, form: u64) -> Option<&[u8]> {
        let is_it = |(entry, _): &(&Entry, &[u8])| (entry.argument, entry.head.form) == (argument, form);
        self.filled().find(is_it).map(|(_, bytes)| bytes)
    }

    /// The arguments of a call that was judged by what was read: it does no more than was.
    pub(crate) fn cut(&self, mut args: [u64; 6]) -> [u64; 6] {
        if let Some((argument, most)) = self.cut
            && let Some(argument) = args.get_mut(usize::from(argument))
        {
            // The kernel looks at the low half only; so does the shim.
            *argument = (*argument & u64::from(u32::MAX)).min(most);
        }
        args
    }

    /// The same for the shim: all entries, the empty ones too.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (CopyHead, &[u8])> {
        self.all().map(|(entry, bytes)| (entry.head, bytes))
    }

    fn filled(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.all().take(self.used)
    }

    fn all(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
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

/// Which piece of memory it is.
#[derive(Clone, Copy)]
struct Piece {
    argument: u8,
    address: u64,
    form: u64,
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
