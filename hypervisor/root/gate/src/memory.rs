//! What a call's pointers lead to, as far as a rule looks at it: copied once, judged, and handed to the shim, which carries out the copy.
//!
//! The pages may not be there yet: the program has mapped a file or got fresh memory, and has not touched it. Then the shim is asked to bring
//! in the page of the first byte that cannot be read, the program makes the call again, and all is copied anew. Each round goes through the
//! program, so that nothing here loops. When the byte that was just asked for still cannot be read, the program has none there: EFAULT.

use alloc::boxed::Box;
use alloc::vec;

use guestmem::{GuestMemory, Unreadable, WalkError, copy_cstr, copy_gva};
use policy::address::MAX_ADDRESS;
use policy::errno::{E2BIG, EFAULT, EINVAL, EMSGSIZE, ENAMETOOLONG, Errno};
use policy::signature;
use policy::structures::BadSize;
use policy::{Form, Pointed, Policy, Read, Rewrite};
use proto::{COPY_LEN, CopyHead, MAX_COPIES, REWRITTEN, copy_forms};

use crate::Call;
use crate::message::{Gathered, Gatherer, MESSAGE_LEN, Message, NotGathered};

/// Why a call's memory was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// This byte cannot be read now.
    Missing { gva: u64 },
    /// A string has no end within [`COPY_LEN`] bytes.
    TooLong,
    /// Something is longer than any can be, or too short.
    Invalid,
    /// There is more of a structure than Linux knows.
    TooLarge,
    /// There are more ranges than there may be.
    TooMany,
    /// The same of a message.
    MessageTooLong,
}

impl NotRead {
    /// The error that the program gets.
    pub(crate) const fn errno(self) -> Errno {
        match self {
            Self::Missing { .. } => EFAULT,
            Self::TooLong => ENAMETOOLONG,
            Self::TooLarge => E2BIG,
            Self::Invalid | Self::TooMany => EINVAL,
            Self::MessageTooLong => EMSGSIZE,
        }
    }
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
        Self { buffers: vec![[0; COPY_LEN]; count].into(), entries, used: 0, fetched: None }
    }

    /// Copies what `reads` asks for.
    pub(crate) fn read(&mut self, reads: &[Read], call: &Call, memory: &dyn GuestMemory) -> Result<(), NotRead> {
        self.entries = [Entry::default(); MAX_COPIES];
        self.used = 0;
        let from = Reader { call, memory };
        for read in reads {
            let address = from.arg(read.argument);
            match read.form {
                Form::Buffer { len } => self.buffer(read.argument, address, from.arg(len), from)?,
                Form::Ranges { count } => self.ranges(read.argument, address, (address, from.arg(count)), from)?,
                _ if address == 0 => {}
                Form::Structure { size, extent } => {
                    let given = extent.given(size, &call.args)?;
                    self.structure(read.argument, address, (size, given), from)?;
                }
                Form::String => self.string(read.argument, address, from)?,
                Form::Address { len } => self.address(read.argument, (address, from.low(len)), from)?,
                Form::Message { count: Some(count) } | Form::MessageBytes { count: Some(count) }
                    if from.low(count) == 0 => {}
                Form::Message { .. } => self.message(read.argument, address, from)?,
                Form::MessageBytes { .. } => {
                    let Message { ranges, .. } = self.header(read.argument, address, from)?;
                    let gathered = self.ranges(read.argument, address, ranges, from);
                    gathered
                        .map_err(|error| if error == NotRead::TooMany { NotRead::MessageTooLong } else { error })?;
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

    /// A structure of `size` bytes, of which the call brings `given`, in the order in which Linux looks: what there is beyond it has to be 0.
    fn structure(
        &mut self,
        argument: u8,
        address: u64,
        (size, given): (usize, usize),
        from: Reader<'_>,
    ) -> Result<(), NotRead> {
        self.add(Piece { argument, address, form: copy_forms::STRUCTURE }, |buffer| {
            let (memory, cr3) = (from.memory, from.call.cr3);
            if let Some(beyond @ 1..) = given.checked_sub(size) {
                let start = u64::try_from(size).ok().and_then(|size| address.checked_add(size));
                let start = start.ok_or(NotRead::Missing { gva: address })?;
                let bytes = buffer.get_mut(..beyond).ok_or(NotRead::TooLarge)?;
                bytes.fill(0);
                // Where one of them cannot be read, those before it count first.
                let read = copy_gva(memory, cr3, start, bytes);
                if bytes.iter().any(|byte| *byte != 0) {
                    return Err(NotRead::TooLarge);
                }
                read?;
            }
            let structure = buffer.get_mut(..size).ok_or(NotRead::Invalid)?;
            structure.fill(0);
            copy_gva(memory, cr3, address, structure.get_mut(..given.min(size)).unwrap_or(&mut []))?;
            Ok(size)
        })
    }

    /// An address of so many bytes. Linux takes the length as a signed number.
    fn address(&mut self, argument: u8, (address, len): (u64, u64), from: Reader<'_>) -> Result<(), NotRead> {
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_ADDRESS).ok_or(NotRead::Invalid)?;
        self.bytes(Piece { argument, address, form: copy_forms::ADDRESS }, len, from)
    }

    /// The address that a message has, if it has one.
    fn message(&mut self, argument: u8, address: u64, from: Reader<'_>) -> Result<(), NotRead> {
        match self.header(argument, address, from)?.name {
            Some(name) => self.address(argument, name, from),
            None => Ok(()),
        }
    }

    /// A message's header, which is read once.
    fn header(&mut self, argument: u8, address: u64, from: Reader<'_>) -> Result<Message, NotRead> {
        if self.of(argument, copy_forms::MESSAGE).is_none() {
            self.bytes(Piece { argument, address, form: copy_forms::MESSAGE }, MESSAGE_LEN, from)?;
        }
        let header = self.of(argument, copy_forms::MESSAGE).and_then(|bytes| bytes.first_chunk());
        header.map(Message::read).ok_or(NotRead::Invalid)
    }

    /// So many bytes that are written.
    fn buffer(&mut self, argument: u8, address: u64, len: u64, from: Reader<'_>) -> Result<(), NotRead> {
        self.content(argument, address, len, from, |gatherer| gatherer.range(address, len))
    }

    /// The bytes of `list` (where it is, how many ranges it has) that are written. The shim knows them by `address`, the argument.
    fn ranges(&mut self, argument: u8, address: u64, list: (u64, u64), from: Reader<'_>) -> Result<(), NotRead> {
        self.content(argument, address, list.1, from, |gatherer| gatherer.list(list.0, list.1))
    }

    /// What is written, as much of it as a copy holds. `amount`: 0 if it is nothing.
    fn content(
        &mut self,
        argument: u8,
        address: u64,
        amount: u64,
        from: Reader<'_>,
        gather: impl FnOnce(&mut Gatherer<'_>) -> Result<(), NotGathered>,
    ) -> Result<(), NotRead> {
        match (address, amount) {
            (0, 0) => return Ok(()),
            // Nothing is there for a program, and a copy of it would be none to the shim.
            (0, _) => return Err(NotRead::Missing { gva: 0 }),
            _ => {}
        }
        let entry = self.used;
        let mut cut = false;
        self.add(Piece { argument, address, form: copy_forms::CONTENT }, |buffer| {
            let (memory, cr3) = (from.memory, from.call.cr3);
            let mut gatherer = Gatherer { memory, cr3, out: buffer, done: Gathered::default() };
            gather(&mut gatherer)?;
            cut = gatherer.done.cut;
            Ok(gatherer.done.len)
        })?;
        if let Some(entry) = self.entries.get_mut(entry)
            && cut
        {
            entry.head.form = copy_forms::CONTENT_CUT;
        }
        Ok(())
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
                copy_forms::STRING | copy_forms::STRUCTURE => pointed.set(entry.argument, bytes),
                copy_forms::ADDRESS => pointed.set_address(bytes),
                copy_forms::CONTENT | copy_forms::CONTENT_CUT => pointed.set_content(bytes),
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

    /// What the call writes or sends, if it was read, and whether that is all of it.
    pub(crate) fn written(&self) -> Option<(&[u8], bool)> {
        self.filled().find_map(|(entry, bytes)| match entry.head.form {
            copy_forms::CONTENT => Some((bytes, true)),
            copy_forms::CONTENT_CUT => Some((bytes, false)),
            _ => None,
        })
    }

    /// Whether the call writes or sends more than was judged.
    pub(crate) fn is_cut(&self) -> bool {
        self.written().is_some_and(|(_, whole)| !whole)
    }

    /// The arguments of a call that is carried out with these paths: the copies of those that it has are found by other addresses than the
    /// program's, at which nothing of the program's can be.
    pub(crate) fn redirected(&self, mut args: [u64; 6], changes: &[Rewrite]) -> [u64; 6] {
        for change in changes.iter().filter(|change| change.path.is_some()) {
            let index = change.place.argument;
            if self.of(index, copy_forms::STRING).is_some()
                && let Some(argument) = args.get_mut(usize::from(index))
            {
                *argument = rewritten_address(index);
            }
        }
        args
    }

    /// Puts these paths, and values of fields, into the place of those that were read for a call of this number.
    pub(crate) fn replace(&mut self, number: u64, changes: &[Rewrite]) {
        for Rewrite { place, path, keep, set } in changes {
            let field = signature::of(number).and_then(|signature| signature.field(*place));
            let form = if field.is_some() { copy_forms::STRUCTURE } else { copy_forms::STRING };
            let is_it = |entry: &Entry| (entry.argument, entry.head.form) == (place.argument, form);
            let Some(index) = self.entries.iter().take(self.used).position(is_it) else { continue };
            let (Some(entry), Some(buffer)) = (self.entries.get_mut(index), self.buffers.get_mut(index)) else {
                continue;
            };
            if let Some(path) = path {
                // It fits: the policy's reader has seen to it.
                buffer.iter_mut().zip(path.bytes()).for_each(|(to, from)| *to = from);
                let len = u64::try_from(path.len().min(COPY_LEN)).unwrap_or(0);
                entry.head = CopyHead { address: rewritten_address(place.argument), len, ..entry.head };
            } else if let Some(field) = field {
                let value = field.read(buffer).unwrap_or(0);
                field.write(buffer, value & keep | set);
            }
        }
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

/// By which the shim knows the path that stands in the place of an argument's. If it ever took it for an address of the program's, it would find
/// nothing there.
fn rewritten_address(argument: u8) -> u64 {
    REWRITTEN | u64::from(argument)
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

impl From<BadSize> for NotRead {
    fn from(size: BadSize) -> Self {
        match size {
            BadSize::TooSmall => Self::Invalid,
            BadSize::TooLarge => Self::TooLarge,
        }
    }
}

impl From<NotGathered> for NotRead {
    fn from(error: NotGathered) -> Self {
        match error {
            NotGathered::TooMany => Self::TooMany,
            NotGathered::TooLong => Self::Invalid,
            NotGathered::Unreadable(unreadable) => unreadable.into(),
        }
    }
}
