//! What a record of a call holds: read of the child's memory when the call is judged, once and bounded. What a rule has looked at is not
//! read again: the copy that was judged, and is carried out, is what is recorded.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use guestmem::{GuestMemory, read_cstr_prefix, read_gva};
use policy::signature::Kind;
use policy::structures::Structure;
use policy::{Action, Settlement};
use proto::copy_forms;
use trace::{
    Answer, CallRecord, Change, Content, Data, End, Judged, MAX_ADDRESS, MAX_BYTES, MAX_PATH, MAX_STRINGS, Piece,
    Verdict,
};

use crate::memory::CallMemory;
use crate::message::{Gathered, Gatherer, MESSAGE_LEN, Message};
use crate::{Call, CallSite, FIRST};

/// Ranges of bytes that are looked at of a call that was not judged by them.
const MAX_RANGES: u64 = 16;

/// Where a record's strings come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'s> {
    /// The child's memory.
    pub(crate) memory: &'s dyn GuestMemory,
    /// What was copied of it to be judged.
    pub(crate) judged: Option<&'s CallMemory>,
    /// The program goes on before the call is carried out: bytes that were not copied may be others by then, and are not shown.
    pub(crate) goes_on: bool,
}

/// The record of a call.
#[cold]
pub(crate) fn record(
    site: &CallSite<'_>,
    call: &Call,
    verdict: Verdict,
    answer: Answer,
    source: Source<'_>,
    time: u64,
) -> CallRecord {
    let Call { abi, number, args, cr3 } = *call;
    let mut record = CallRecord { time, thread: site.thread, abi, number, args, data: Vec::new(), verdict, answer };
    let reader = Reader { source, cr3 };
    let kinds = record.signature().map_or(&[][..], |signature| signature.arguments);
    for (argument, kind) in (0u8..).zip(kinds) {
        let arg = |index: u8| args.get(usize::from(index)).copied().unwrap_or(0);
        let address = arg(argument);
        let content = match kind {
            Kind::Path => Content::Bytes(reader.argument(argument, address, MAX_PATH)),
            Kind::Text => Content::Bytes(reader.argument(argument, address, MAX_BYTES)),
            Kind::Buffer(length) => match reader.buffer(argument, address, arg(*length)) {
                Some(piece) => Content::Bytes(piece),
                None => continue,
            },
            Kind::Ranges(count) => match reader.ranges(address, arg(*count)) {
                Some(piece) => Content::Bytes(piece),
                None => continue,
            },
            Kind::Address(length) => Content::Address(reader.address(argument, address, arg(*length))),
            Kind::Message | Kind::Messages(_) => {
                let contents = reader.message(argument, address).into_iter().flatten().flatten();
                record.data.extend(contents.map(|content| Data { argument, content }));
                continue;
            }
            Kind::Structure(structure) => match reader.structure(argument, structure, &args) {
                Some(piece) => Content::Structure(piece),
                None => continue,
            },
            Kind::Strings => match reader.strings(address) {
                Some(content) => content,
                None => Content::Bytes(Piece::Unreadable(address)),
            },
            _ => continue,
        };
        record.data.push(Data { argument, content });
    }
    record
}

/// A verdict as a record has it; `generation`: that of its policy.
pub(crate) fn verdict(verdict: policy::Verdict<'_>, ignored: bool, generation: u32) -> Verdict {
    let judged = match verdict.action {
        Action::Rewrite => {
            let change = |change: &policy::Rewrite| match &change.path {
                None => Change::Number(change.place.argument, change.place.field, change.keep, change.set),
                Some(path) => Change::Path(change.place.argument, Piece::first_of(path.as_bytes(), MAX_PATH)),
            };
            Judged::Rewrite(verdict.rewrites().iter().map(change).collect())
        }
        Action::Ask => Judged::Ask(Box::new(settled(verdict.question().unwrap_or_default().otherwise))),
        Action::Stop => Judged::Stop(Box::new(settled(verdict.question().unwrap_or_default().otherwise))),
        Action::Fake(value) => Judged::Fake(value),
        Action::Trap => Judged::Trap,
        Action::Allow => settled(Settlement::Allow),
        Action::Errno(errno) => settled(Settlement::Errno(errno)),
        Action::Kill => settled(Settlement::Kill),
        Action::KillProcess => settled(Settlement::KillProcess),
        Action::KillThread => settled(Settlement::KillThread),
    };
    Verdict { judged, rule: verdict.rule().to_string(), logged: verdict.log, ignored, generation }
}

/// What is done after a question as a record has it.
pub(crate) fn settled(settlement: Settlement) -> Judged {
    match settlement {
        Settlement::Allow => Judged::Allow,
        Settlement::Errno(errno) => Judged::Errno(errno.number),
        Settlement::Kill => Judged::Kill,
        Settlement::KillProcess => Judged::KillProcess,
        Settlement::KillThread => Judged::KillThread,
    }
}

/// The call and the rule for which something ends.
#[cold]
pub(crate) fn reason(site: &CallSite<'_>, call: &Call, verdict: policy::Verdict<'_>, source: Source<'_>) -> String {
    let record = record(site, call, self::verdict(verdict, false, FIRST), Answer::None, source, 0);
    format!("{}: {}", trace::call_text(&record), verdict.rule())
}

struct Reader<'r> {
    source: Source<'r>,
    cr3: u64,
}

impl Reader<'_> {
    /// The string that an argument points to.
    fn argument(&self, argument: u8, address: u64, most: usize) -> Piece {
        match self.judged(argument, copy_forms::STRING) {
            Some(copy) => Piece::Read { bytes: copy.get(..most).unwrap_or(copy).to_vec(), whole: copy.len() <= most },
            None => self.string(address, most),
        }
    }

    /// What was judged of an argument's memory as this form.
    fn judged(&self, argument: u8, form: u64) -> Option<&[u8]> {
        self.source.judged.and_then(|judged| judged.of(argument, form))
    }

    fn address(&self, argument: u8, address: u64, length: u64) -> Piece {
        if let Some(copy) = self.judged(argument, copy_forms::ADDRESS) {
            return Piece::Read { bytes: copy.to_vec(), whole: true };
        }
        match usize::try_from(length & u64::from(u32::MAX)) {
            Ok(length) if length <= MAX_ADDRESS && address != 0 => self.bytes(address, length),
            _ => Piece::Unreadable(address),
        }
    }

    /// The address that a message names, if it names one, and what it sends.
    fn message(&self, argument: u8, address: u64) -> Option<[Option<Content>; 2]> {
        let mut header = [0; MESSAGE_LEN];
        match self.judged(argument, copy_forms::MESSAGE).and_then(|copy| copy.first_chunk()) {
            Some(copy) => header = *copy,
            None => read_gva(self.source.memory, self.cr3, address, &mut header).ok()?,
        }
        let Message { name, ranges: (list, count) } = Message::read(&header);
        let name = name.map(|(name, length)| Content::Address(self.address(argument, name, length)));
        Some([name, self.ranges(list, count).map(Content::Bytes)])
    }

    /// A structure, as far as the call brings it; nothing if there is none, or its size is none that Linux takes.
    fn structure(&self, argument: u8, structure: &Structure, args: &[u64; 6]) -> Option<Piece> {
        if let Some(copy) = self.judged(argument, copy_forms::STRUCTURE) {
            return Some(Piece::Read { bytes: copy.to_vec(), whole: true });
        }
        let address = args.get(usize::from(argument)).copied().filter(|address| *address != 0)?;
        let size = structure.size();
        let given = structure.extent.given(size, args).ok()?.min(size);
        Some(match self.bytes(address, given) {
            Piece::Read { mut bytes, whole } => {
                bytes.resize(size, 0);
                Piece::Read { bytes, whole }
            }
            unreadable @ Piece::Unreadable(_) => unreadable,
        })
    }

    /// All of so many bytes.
    fn bytes(&self, address: u64, length: usize) -> Piece {
        let mut bytes = vec![0; length];
        match read_gva(self.source.memory, self.cr3, address, &mut bytes) {
            Ok(()) => Piece::Read { bytes, whole: true },
            Err(_) => Piece::Unreadable(address),
        }
    }

    fn string(&self, address: u64, most: usize) -> Piece {
        match read_cstr_prefix(self.source.memory, self.cr3, address, most) {
            Ok((bytes, whole)) => Piece::Read { bytes, whole },
            Err(_) => Piece::Unreadable(address),
        }
    }

    /// What was judged of what the call writes.
    fn written(&self) -> Option<Piece> {
        let (bytes, whole) = self.source.judged?.written()?;
        let start = bytes.get(..MAX_PATH).unwrap_or(bytes);
        Some(Piece::Read { bytes: start.to_vec(), whole: whole && start.len() == bytes.len() })
    }

    /// What a list of ranges names; its beginning, if it was not judged.
    fn ranges(&self, address: u64, count: u64) -> Option<Piece> {
        let mut bytes = [0; MAX_BYTES];
        self.written().or_else(|| {
            let mut gatherer =
                Gatherer { memory: self.source.memory, cr3: self.cr3, out: &mut bytes, done: Gathered::default() };
            gatherer.list(address, count.min(MAX_RANGES)).ok()?;
            let Gathered { len, cut } = gatherer.done;
            Some(Piece::Read { bytes: bytes.get(..len)?.to_vec(), whole: !cut && count <= MAX_RANGES })
        })
    }

    /// The bytes that an argument points to, if they may be shown.
    fn buffer(&self, argument: u8, address: u64, length: u64) -> Option<Piece> {
        let is_judged =
            [copy_forms::CONTENT, copy_forms::CONTENT_CUT].map(|form| self.judged(argument, form).is_some());
        if let (true, Some(piece)) = (is_judged.contains(&true), self.written()) {
            return Some(piece);
        }
        if self.source.goes_on {
            return None;
        }
        let read = usize::try_from(length).map_or(MAX_BYTES, |length| length.min(MAX_BYTES));
        Some(match self.bytes(address, read) {
            Piece::Read { bytes, .. } => {
                Piece::Read { bytes, whole: u64::try_from(read).is_ok_and(|read| read == length) }
            }
            unreadable @ Piece::Unreadable(_) => unreadable,
        })
    }

    /// `None`: not even its start can be read.
    fn strings(&self, address: u64) -> Option<Content> {
        let mut element = Some(self.word(address)?);
        let mut pieces = Vec::new();
        let end = loop {
            match element {
                Some(0) => break End::Whole,
                Some(_) if pieces.len() == MAX_STRINGS => break End::More,
                Some(string) => pieces.push(self.string(string, MAX_BYTES)),
                None => break End::Unreadable,
            }
            let offset = u64::try_from(pieces.len()).unwrap_or(0) * 8;
            element = address.checked_add(offset).and_then(|next| self.word(next));
        };
        Some(Content::Strings(pieces, end))
    }

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        read_gva(self.source.memory, self.cr3, address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}
