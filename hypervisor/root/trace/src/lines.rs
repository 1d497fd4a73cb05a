//! One line a call, in the manner of strace: time, thread, call with its arguments, result, verdict.
//!
//! What a program passes cannot reach the terminal as anything but printable ASCII.
use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};

use linux_raw_sys::general::{
    AT_FDCWD, F_ADD_SEALS, F_DUPFD, F_DUPFD_CLOEXEC, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETOWN, F_GETPIPE_SZ,
    F_GETSIG, F_SETFD, F_SETFL, F_SETPIPE_SZ, O_CREAT, O_DIRECTORY, O_TMPFILE,
};
use policy::address::SocketAddress;
use policy::errno::{Errno, MAX_ERRNO};
use policy::quotas::Quota;
use policy::signature::{self, Kind, NumberChange, Output, Place, PlaceName, Signature};
use policy::structures::Structure;
use policy::symbols;

use crate::{
    Abi, About, Answer, CallRecord, Cause, Change, ChangeRecord, Content, DroppedRecord, End, FileChange, GrantRecord,
    Judged, KINDS, LimitRecord, Piece, PolicyRecord, QuestionRecord, Record, RefusalRecord, ResultRecord, SettledBy,
    SettledRecord, TaintRecord, Verdict,
};

/// Calls under way whose lines wait for their results. Those of a shim that never reports are written as unfinished, the oldest first.
const MAX_OPEN: usize = 256;

/// Turns the records of one sandbox into lines, each with its newline. A call's line is written when its result is there.
#[derive(Debug, Default)]
pub struct Lines {
    open: VecDeque<Open>,
}

/// A call whose line waits for its result.
#[derive(Debug)]
struct Open {
    sequence: u64,
    output: Output,
    /// Time, thread, call.
    line: String,
    /// `[verdict, rule]`.
    judged: String,
    /// Of a call that is asked about.
    asked: Option<Asked>,
}

/// What a question hangs on.
#[derive(Debug)]
struct Asked {
    /// `ask` or `stop`.
    action: &'static str,
    /// What is done without an answer.
    otherwise: Judged,
    rule: String,
    generation: u32,
}

impl Lines {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the line or lines that a record completes to `out`.
    pub fn add(&mut self, record: &Record, out: &mut String) {
        match record {
            Record::Call(call) => self.call(call, out),
            Record::Result(result) => self.result(result, out),
            // The signal that the program gets is in nobody's call, and what a call does is its own affair.
            Record::Fault(_) | Record::Change(_) | Record::Started(_) | Record::Executed(_) | Record::Ended(_) => {}
            Record::Refusal(refusal) => {
                let RefusalRecord { time, thread, errno, ignored, .. } = refusal;
                let entry = By(&refusal.entry, refusal.generation);
                let (text, not) = (refusal_text(refusal), if *ignored { "not done: " } else { "" });
                let _ = writeln!(out, "{}{text} [{not}{}, {entry}]", Prefix(*time, *thread), Failure(*errno));
            }
            Record::Taint(taint) => {
                let TaintRecord { time, thread, rule, .. } = taint;
                let _ = writeln!(out, "{}{} [{rule}]", Prefix(*time, *thread), taint_text(taint));
            }
            Record::Limit(limit) => {
                let LimitRecord { time, thread, rule, .. } = limit;
                let _ = writeln!(out, "{}{} [{rule}]", Prefix(*time, *thread), limit_text(limit));
            }
            Record::Grant(grant) => {
                let _ = writeln!(out, "{}{} [granted]", Prefix(grant.time, grant.thread), grant_text(grant));
            }
            Record::Dropped(dropped) => {
                let _ = writeln!(out, "{}    {}", Time(dropped.time), dropped_text(dropped));
            }
            Record::Policy(PolicyRecord { time, generation, name }) => {
                let _ = writeln!(out, "{}    policy {generation}: {}", Time(*time), name.escape_debug());
            }
            Record::Question(question) => self.question(question, out),
            Record::Settled(settled) => self.settled(settled, out),
        }
    }

    /// Adds the lines of the calls that have not come back: the program has ended.
    pub fn finish(&mut self, out: &mut String) {
        for open in self.open.drain(..) {
            unfinished(&open, out);
        }
    }

    fn call(&mut self, call: &CallRecord, out: &mut String) {
        let line = format!("{}{}", Prefix(call.time, call.thread), call_text(call));
        let judged = format!("{}", Decided(&call.verdict, call.signature()));
        let output = output_of(call);
        if let (Answer::Asked(sequence), Some((action, otherwise))) = (&call.answer, asking(&call.verdict.judged)) {
            let Verdict { rule, generation, .. } = &call.verdict;
            let (judged, rule) = (format!("[{action}, {}]", By(rule, *generation)), rule.clone());
            let asked = Some(Asked { action, otherwise: otherwise.clone(), rule, generation: *generation });
            return self.open(Open { sequence: *sequence, output, line, judged, asked }, out);
        }
        let (end, mark) = match &call.answer {
            Answer::Pending(_) | Answer::None if output == Output::Nothing => ("?".into(), String::new()),
            Answer::Pending(sequence) => {
                return self.open(Open { sequence: *sequence, output, line, judged, asked: None }, out);
            }
            Answer::None | Answer::Asked(_) => ("?".into(), String::new()),
            Answer::Value(value) => (result_text(call, *value), String::new()),
            Answer::Refused(how) => ("?".into(), format!(" [not carried out yet: {how}]")),
        };
        let _ = writeln!(out, "{line} = {end} {judged}{mark}");
    }

    fn open(&mut self, open: Open, out: &mut String) {
        if self.open.len() >= MAX_OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            unfinished(&oldest, out);
        }
        self.open.push_back(open);
    }

    fn question(&self, question: &QuestionRecord, out: &mut String) {
        let Some(open) = self.open.iter().find(|open| open.sequence == question.sequence) else { return };
        let Some(Asked { otherwise, rule, generation, .. }) = &open.asked else { return };
        let (limit, otherwise) = (question.limit, Done(otherwise, None));
        let done = if matches!(question.about, About::Stopped(_)) { "stopped" } else { "asked" };
        let _ = writeln!(out, "{} <{done}: {limit} s, else {otherwise}> [{}]", open.line, By(rule, *generation));
    }

    fn settled(&mut self, settled: &SettledRecord, out: &mut String) {
        let Some(index) = self.open.iter().position(|open| open.sequence == settled.sequence) else { return };
        let Some(open) = self.open.get_mut(index) else { return };
        let Some(Asked { action, rule, generation, .. }) = &open.asked else { return };
        let (done, rule) = (Done(&settled.done, None), By(rule, *generation));
        open.judged = match settled.by {
            SettledBy::Answer => format!("[{action}: answered {done}, {rule}]"),
            SettledBy::Limit => format!("[{action}: no answer, {done}, {rule}]"),
            SettledBy::End => format!("[{action}, {rule}]"),
        };
        let end = match (settled.by, &settled.answer) {
            (SettledBy::End, _) => " <unfinished ...>".into(),
            (_, Answer::Value(value)) => format!(" = {}", Returned { value: *value, output: open.output }),
            (_, Answer::None) => " = ?".into(),
            _ => return,
        };
        if let Some(open) = self.open.remove(index) {
            let _ = writeln!(out, "{}{end} {}", open.line, open.judged);
        }
    }

    fn result(&mut self, result: &ResultRecord, out: &mut String) {
        let Some(index) = self.open.iter().position(|open| open.sequence == result.sequence) else { return };
        let Some(open) = self.open.remove(index) else { return };
        let mark = if result.missing { " [not carried out yet]" } else { "" };
        let returned = Returned { value: result.value, output: open.output };
        let _ = writeln!(out, "{} = {returned} {}{mark}", open.line, open.judged);
    }
}

fn unfinished(open: &Open, out: &mut String) {
    let _ = writeln!(out, "{} <unfinished ...> {}", open.line, open.judged);
}

/// `name(arguments)`.
#[must_use]
pub fn call_text(call: &CallRecord) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = Writer { out: &mut text, call }.call();
    text
}

/// What was refused, as `files: read "/etc/shadow"`.
#[must_use]
pub fn refusal_text(refusal: &RefusalRecord) -> String {
    files_text(&refusal.rights, &refusal.path, refusal.from.as_ref())
}

/// What was granted, in the same words.
#[must_use]
pub fn grant_text(grant: &GrantRecord) -> String {
    files_text(&grant.rights, &grant.path, grant.from.as_ref())
}

fn files_text(rights: &str, path: &Piece, from: Option<&Piece>) -> String {
    let mut text = format!("files: {rights} ");
    // Writing to a string cannot fail.
    let _ = put_piece(&mut text, path);
    if let Some(from) = from {
        text.push_str(" from ");
        let _ = put_piece(&mut text, from);
    }
    text
}

/// What has tainted, as `tainted: read "/etc/secret"`, or `tainted: connect`.
#[must_use]
pub fn taint_text(taint: &TaintRecord) -> String {
    match &taint.cause {
        Cause::File { rights, path } => {
            let mut text = format!("tainted: {rights} ");
            // Writing to a string cannot fail.
            let _ = put_piece(&mut text, path);
            text
        }
        Cause::Call { number, .. } => format!("tainted: {}", call_name(*number)),
    }
}

/// What has been reached, and what becomes of it, as `limit: processes 16, further ones fail with EAGAIN`.
#[must_use]
pub fn limit_text(record: &LimitRecord) -> String {
    let LimitRecord { limit, amount, .. } = record;
    match Quota::by_key(limit) {
        Some(quota) => format!("limit: {limit} {}, {}", quota.amount(*amount), quota.consequence()),
        None => format!("limit: {} {amount}", limit.escape_debug()),
    }
}

/// What is missing, as `12 events are missing: 8 call, 4 result`.
#[must_use]
pub fn dropped_text(dropped: &DroppedRecord) -> String {
    let total = dropped.counts.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
    let mut text = format!("{total} events are missing");
    let mut separator = ": ";
    for (kind, count) in &dropped.counts {
        let name = KINDS.get(usize::from(*kind)).unwrap_or(&"others");
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{count} {name}");
        separator = ", ";
    }
    text
}

/// What was changed, as `files: write 5 bytes to "/tmp/x"`.
#[must_use]
pub fn change_text(record: &ChangeRecord) -> String {
    let mut text = String::from("files: ");
    // Writing to a string cannot fail.
    let _ = change(record, &mut text);
    text
}

fn change(record: &ChangeRecord, out: &mut String) -> fmt::Result {
    match &record.change {
        FileChange::Create(kind) => write!(out, "create {} ", kind.name())?,
        FileChange::Write(bytes) => write!(out, "write {bytes} bytes to ")?,
        FileChange::Truncate(size) => write!(out, "truncate to {size} bytes ")?,
        FileChange::Delete(kind) => write!(out, "delete {} ", kind.name())?,
        FileChange::Rename { exchanged: true, .. } => out.push_str("exchange "),
        FileChange::Rename { .. } => out.push_str("rename to "),
        FileChange::Link(_) => out.push_str("link to "),
        FileChange::Attributes { mode, uid, gid, times } => {
            out.push_str("set ");
            for (name, value) in [("owner", uid), ("group", gid)] {
                value.map_or(Ok(()), |value| write!(out, "{name} {value} "))?;
            }
            mode.map_or(Ok(()), |mode| write!(out, "mode {mode:04o} "))?;
            out.push_str(if *times { "times of " } else { "of " });
        }
        FileChange::Xattr(name) => {
            out.push_str("set attribute ");
            put_piece(out, name)?;
            out.push_str(" of ");
        }
    }
    put_piece(out, &record.path)?;
    match &record.change {
        FileChange::Rename { from, replaced, exchanged } => {
            out.push_str(if *exchanged { " and " } else { " from " });
            put_piece(out, from)?;
            out.push_str(if *replaced { ", in another's place" } else { "" });
        }
        FileChange::Link(from) => {
            out.push_str(" from ");
            put_piece(out, from)?;
        }
        _ => {}
    }
    out.push_str(if record.nameless { ", which has no name" } else { "" });
    Ok(())
}

/// What is done with a call, as in `errno EPERM`.
#[must_use]
pub fn judged_text(judged: &Judged) -> String {
    format!("{}", Done(judged, None))
}

/// What a call has returned, as fits it: a value in its form, or an error by name.
#[must_use]
pub fn result_text(call: &CallRecord, value: i64) -> String {
    format!("{}", Returned { value, output: output_of(call) })
}

fn output_of(call: &CallRecord) -> Output {
    call.signature().map_or(Output::Decimal, |signature| signature.output)
}

/// What stands before the call: time since the sandbox's start, and thread.
struct Prefix(u64, u32);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:>3} ", Time(self.0), self.1)
    }
}

/// A time in 100 ns, as seconds.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 10;
        write!(f, "{:>4}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// The rule, and which policy it is of if that is not the first.
struct By<'r>(&'r str, u32);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            ..=1 => f.write_str(self.0),
            generation => write!(f, "policy {generation}: {}", self.0),
        }
    }
}

/// `errno NAME`.
struct Failure(u16);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::by_number(self.0) {
            Some(errno) => write!(f, "errno {}", errno.name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// Of what is left to somebody: the action, and what is done without an answer.
fn asking(judged: &Judged) -> Option<(&'static str, &Judged)> {
    match judged {
        Judged::Ask(otherwise) => Some(("ask", otherwise)),
        Judged::Stop(otherwise) => Some(("stop", otherwise)),
        _ => None,
    }
}

/// An action in words.
struct Done<'j>(&'j Judged, Option<&'static Signature>);

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Judged::Allow => f.write_str("allow"),
            Judged::Errno(number) => write!(f, "{}", Failure(*number)),
            Judged::Kill => f.write_str("kill"),
            Judged::KillProcess => f.write_str("kill process"),
            Judged::KillThread => f.write_str("kill thread"),
            Judged::Trap => f.write_str("trap"),
            Judged::Fake(_) => f.write_str("fake"),
            Judged::Ask(_) => f.write_str("ask"),
            Judged::Stop(_) => f.write_str("stop"),
            Judged::Rewrite(changes) => {
                f.write_str("rewrite")?;
                let mut separator = "";
                for change in changes {
                    let text = Changed(change, self.1);
                    write!(f, "{separator} {text}")?;
                    separator = ",";
                }
                Ok(())
            }
        }
    }
}

/// `[action, rule]`, of a call with this signature.
struct Decided<'v>(&'v Verdict, Option<&'static Signature>);

impl fmt::Display for Decided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(verdict, signature) = self;
        let rule = By(&verdict.rule, verdict.generation);
        match &verdict.judged {
            judged if verdict.ignored => write!(f, "[not done: {}, {rule}]", Done(judged, *signature)),
            // One that waits for an answer is shown by itself.
            judged => match asking(judged) {
                Some((action, otherwise)) => {
                    write!(f, "[{action}: nobody there, {}, {rule}]", Done(otherwise, *signature))
                }
                None => write!(f, "[{}, {rule}]", Done(judged, *signature)),
            },
        }
    }
}

/// `flags := O_RDONLY`.
struct Changed<'c>(&'c Change, Option<&'static Signature>);

impl fmt::Display for Changed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Change::Number(argument, field, keep, set) => {
                let of = PlaceName { signature: self.1, place: Place { argument: *argument, field: *field } };
                write!(f, "{}", NumberChange { of, keep: *keep, set: *set })
            }
            Change::Path(argument, path) => {
                let mut text = String::new();
                put_piece(&mut text, path)?;
                write!(f, "{} := {text}", PlaceName::argument(self.1, *argument))
            }
        }
    }
}

/// A call's result.
struct Returned {
    value: i64,
    output: Output,
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        if let Some(errno) = Errno::of_result(value) {
            return write!(f, "-1 {} ({})", errno.name, errno.text);
        }
        if (-MAX_ERRNO..0).contains(&value) {
            return write!(f, "-1 (error {})", value.unsigned_abs());
        }
        match self.output {
            Output::Address => write!(f, "{value:#x}"),
            Output::Octal if value > 0 => write!(f, "0{value:o}"),
            Output::Decimal | Output::Octal | Output::Nothing => write!(f, "{value}"),
        }
    }
}

/// What a call of the x86-64 table is called.
fn call_name(number: u64) -> Cow<'static, str> {
    match proto::syscalls::by_number(number) {
        Some(known) => Cow::Borrowed(known.name),
        None => Cow::Owned(format!("syscall_{number:#x}")),
    }
}

struct Writer<'w> {
    out: &'w mut String,
    call: &'w CallRecord,
}

impl Writer<'_> {
    fn call(&mut self) -> fmt::Result {
        let number = self.call.number;
        let signature = self.call.signature();
        match (signature, self.call.abi) {
            (Some(signature), _) => self.out.write_str(signature.name)?,
            (None, Abi::X86_64) => self.out.write_str(&call_name(number))?,
            (None, Abi::I386) => write!(self.out, "i386:syscall_{number:#x}")?,
        }
        self.out.push('(');
        let kinds = signature.map_or(signature::UNKNOWN, |signature| signature.arguments);
        let mut separator = "";
        for (index, (kind, value)) in kinds.iter().zip(self.call.args).enumerate() {
            if self.left_out(*kind) {
                continue;
            }
            self.out.push_str(separator);
            match self.call.content(index) {
                Some(content) if matches!(kind, Kind::Message | Kind::Messages(_)) => self.message(index, content)?,
                Some(content) => self.content(*kind, content)?,
                None => self.argument(*kind, value & kind.mask())?,
            }
            separator = ", ";
        }
        self.out.push(')');
        Ok(())
    }

    /// Whether the call does not look at this argument at all.
    fn left_out(&self, kind: Kind) -> bool {
        match kind {
            Kind::CreateMode(flags) => {
                let flags = self.arg(usize::from(flags));
                // O_TMPFILE includes O_DIRECTORY, which alone creates nothing.
                flags & u64::from(O_CREAT | (O_TMPFILE & !O_DIRECTORY)) == 0
            }
            Kind::FcntlArgument => {
                let without = [F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS];
                without.contains(&self.fcntl_command())
            }
            _ => false,
        }
    }

    fn argument(&mut self, kind: Kind, value: u64) -> fmt::Result {
        match kind {
            Kind::Fd | Kind::Int | Kind::Spoken(_) => write!(self.out, "{}", signed32(value)),
            Kind::DirFd if signed32(value) == AT_FDCWD => self.out.write_str("AT_FDCWD"),
            Kind::DirFd => write!(self.out, "{}", signed32(value)),
            Kind::Id if signed32(value) == -1 => self.out.write_str("-1"),
            Kind::NamedSize(symbols) if symbols.covers(value) && value != 0 => symbols.write(self.out, value),
            Kind::Id | Kind::Uint | Kind::Size | Kind::NamedSize(_) => write!(self.out, "{value}"),
            Kind::Long => write!(self.out, "{}", value.cast_signed()),
            Kind::Hex | Kind::Hex32 if value == 0 => self.out.write_str("0"),
            Kind::Hex | Kind::Hex32 => write!(self.out, "{value:#x}"),
            Kind::Mode | Kind::CreateMode(_) => self.octal(value),
            Kind::Named(symbols) | Kind::LongNamed(symbols) => symbols.write(self.out, value),
            Kind::Pointer
            | Kind::Path
            | Kind::Text
            | Kind::Buffer(_)
            | Kind::Ranges(_)
            | Kind::Address(_)
            | Kind::Message
            | Kind::Messages(_)
            | Kind::Structure(_)
            | Kind::Strings => self.pointer(value),
            Kind::FcntlArgument => self.fcntl_argument(value),
            Kind::SocketOption => self.socket_option(value),
        }
    }

    fn octal(&mut self, value: u64) -> fmt::Result {
        if value == 0 { self.out.write_str("000") } else { write!(self.out, "0{value:o}") }
    }

    fn pointer(&mut self, value: u64) -> fmt::Result {
        if value == 0 { self.out.write_str("NULL") } else { write!(self.out, "{value:#x}") }
    }

    fn content(&mut self, kind: Kind, content: &Content) -> fmt::Result {
        match content {
            Content::Structure(piece) => match (piece, kind) {
                (Piece::Read { bytes, .. }, Kind::Structure(structure)) => self.structure(structure, bytes),
                _ => self.piece(piece),
            },
            Content::Bytes(piece) => self.piece(piece),
            Content::Address(piece) => self.address(piece),
            Content::Strings(pieces, end) => {
                self.out.push('[');
                let mut separator = "";
                for piece in pieces {
                    self.out.push_str(separator);
                    self.piece(piece)?;
                    separator = ", ";
                }
                match end {
                    End::Whole => {}
                    End::More => write!(self.out, "{separator}...")?,
                    End::Unreadable => write!(self.out, "{separator}???")?,
                }
                self.out.push(']');
                Ok(())
            }
        }
    }

    /// The address of a message, or, if what it sends was read, `{msg_name="127.0.0.1:80", msg_iov="text"}`.
    fn message(&mut self, argument: usize, first: &Content) -> fmt::Result {
        let Some(sent) = self.call.sent(argument) else { return self.content(Kind::Message, first) };
        self.out.push('{');
        if let Content::Address(name) = first {
            self.out.push_str("msg_name=");
            self.address(name)?;
            self.out.push_str(", ");
        }
        self.out.push_str("msg_iov=");
        self.piece(sent)?;
        self.out.push('}');
        Ok(())
    }

    fn piece(&mut self, piece: &Piece) -> fmt::Result {
        match piece {
            Piece::Read { bytes, whole } => quoted(self.out, bytes, *whole),
            Piece::Unreadable(address) => self.pointer(*address),
        }
    }

    /// As `{flags=O_RDONLY, mode=000}`.
    fn structure(&mut self, structure: &Structure, bytes: &[u8]) -> fmt::Result {
        let mut separator = "{";
        for field in structure.fields {
            let value = field.read(bytes).unwrap_or(0);
            if field.seldom && value == 0 {
                continue;
            }
            write!(self.out, "{separator}{}=", field.name)?;
            self.argument(field.kind, value)?;
            separator = ", ";
        }
        self.out.write_str("}")
    }

    /// In the words of policies.
    fn address(&mut self, piece: &Piece) -> fmt::Result {
        let Piece::Read { bytes, .. } = piece else { return self.piece(piece) };
        match SocketAddress::read(bytes) {
            Some(address) => quoted(self.out, &address.text(), true),
            None => quoted(self.out, bytes, true),
        }
    }

    fn fcntl_argument(&mut self, value: u64) -> fmt::Result {
        match self.fcntl_command() {
            F_DUPFD | F_DUPFD_CLOEXEC | F_SETPIPE_SZ => write!(self.out, "{}", signed32(value)),
            F_SETFD => symbols::FD_CLOEXEC.write(self.out, value),
            F_SETFL => symbols::OPEN.write(self.out, value),
            F_ADD_SEALS => symbols::SEALS.write(self.out, value),
            _ => self.pointer(value),
        }
    }

    fn socket_option(&mut self, value: u64) -> fmt::Result {
        match symbols::socket_option(self.arg(1) & u64::from(u32::MAX), value) {
            Some(name) => self.out.write_str(name),
            None => write!(self.out, "{}", signed32(value)),
        }
    }

    fn fcntl_command(&self) -> u32 {
        u32::try_from(self.arg(1) & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    fn arg(&self, index: usize) -> u64 {
        self.call.args.get(index).copied().unwrap_or(0)
    }
}

/// The bytes as a C string constant; `...` behind it if there are more.
fn quoted(out: &mut String, bytes: &[u8], whole: bool) -> fmt::Result {
    out.push('"');
    let mut rest = bytes.iter().peekable();
    while let Some(byte) = rest.next() {
        let digit_follows = rest.peek().is_some_and(|next| next.is_ascii_digit());
        match byte {
            b'"' | b'\\' => write!(out, "\\{}", char::from(*byte))?,
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b' '..=b'~' => out.push(char::from(*byte)),
            // A digit behind it would be read as a part of a short octal escape.
            other if digit_follows => write!(out, "\\{other:03o}")?,
            other => write!(out, "\\{other:o}")?,
        }
    }
    out.push_str(if whole { "\"" } else { "\"..." });
    Ok(())
}

fn put_piece(out: &mut String, piece: &Piece) -> fmt::Result {
    match piece {
        Piece::Read { bytes, whole } => quoted(out, bytes, *whole),
        Piece::Unreadable(address) => write!(out, "{address:#x}"),
    }
}

/// The low 32 bits as a signed number.
fn signed32(value: u64) -> i32 {
    let low = value & u64::from(u32::MAX);
    u32::try_from(low).unwrap_or(u32::MAX).cast_signed()
}
