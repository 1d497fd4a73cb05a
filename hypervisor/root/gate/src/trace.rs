//! One line a call, in the manner of strace: time, thread, call with its arguments, result, verdict.
//!
//! Strings and buffers are read from the child's memory when the call is judged, once, bounded and escaped: what
//! a program passes cannot reach the terminal as anything but printable ASCII.

use alloc::string::String;
use alloc::vec;
use core::fmt::{self, Write};

use guestmem::{GuestMemory, read_cstr_prefix, read_gva};
use linux_raw_sys::general::{
    AT_FDCWD, F_ADD_SEALS, F_DUPFD, F_DUPFD_CLOEXEC, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETOWN, F_GETPIPE_SZ,
    F_GETSIG, F_SETFD, F_SETFL, F_SETPIPE_SZ, O_CREAT, O_DIRECTORY, O_TMPFILE,
};
use policy::errno::{Errno, MAX_ERRNO};
use policy::signature::{self, Kind, Output, Signature};
use policy::{Rewrite, Verdict, symbols};

use crate::{Abi, Call};

/// Bytes of a path that are shown.
const SHOWN_PATH: usize = 256;
/// Bytes of another string, or of a buffer, that are shown.
const SHOWN_TEXT: usize = 32;
/// Strings of an array that are shown.
const SHOWN_STRINGS: usize = 16;

/// `name(arguments)`.
pub(crate) fn call(call: &Call, memory: &dyn GuestMemory) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = Writer { out: &mut text, call, memory }.call();
    text
}

/// What stands before the call: time since the sandbox's start, and thread.
pub(crate) fn prefix(now_100ns: u64, thread: u32) -> String {
    let micros = now_100ns / 10;
    alloc::format!("{:>4}.{:06} {thread:>3} ", micros / 1_000_000, micros % 1_000_000)
}

/// `[action, rule]`.
pub(crate) struct Judged<'v>(pub(crate) Verdict<'v>);

impl fmt::Display for Judged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = &self.0.rule;
        match self.0.action {
            policy::Action::Allow => write!(f, "[allow, {rule}]"),
            policy::Action::Errno(errno) => write!(f, "[errno {}, {rule}]", errno.name),
            policy::Action::Kill => write!(f, "[kill, {rule}]"),
            policy::Action::Fake(_) => write!(f, "[fake, {rule}]"),
            policy::Action::Rewrite => {
                f.write_str("[rewrite")?;
                for Rewrite { argument, keep, set } in self.0.rewrites {
                    match keep {
                        0 => write!(f, " argument {argument} := {set:#x},")?,
                        _ => write!(f, " argument {argument} & {keep:#x},")?,
                    }
                }
                write!(f, " {rule}]")
            }
        }
    }
}

/// A call's result: a value in the form that fits the call, or an error by name.
pub(crate) struct Returned {
    pub(crate) value: i64,
    pub(crate) output: Output,
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

/// What a call of this table and number gives back.
pub(crate) fn output(call: &Call) -> Output {
    signature_of(call).map_or(Output::Decimal, |signature| signature.output)
}

fn signature_of(call: &Call) -> Option<&'static Signature> {
    match call.abi {
        Abi::X86_64 => signature::of(call.number),
        Abi::I386 => None,
    }
}

struct Writer<'w> {
    out: &'w mut String,
    call: &'w Call,
    memory: &'w dyn GuestMemory,
}

impl Writer<'_> {
    fn call(&mut self) -> fmt::Result {
        let number = self.call.number;
        let signature = signature_of(self.call);
        match (signature, self.call.abi) {
            (Some(signature), _) => self.out.write_str(signature.name)?,
            (None, Abi::X86_64) => match proto::syscalls::by_number(number) {
                Some(known) => self.out.write_str(known.name)?,
                None => write!(self.out, "syscall_{number:#x}")?,
            },
            (None, Abi::I386) => write!(self.out, "i386:syscall_{number:#x}")?,
        }
        self.out.push('(');
        let kinds = signature.map_or(signature::UNKNOWN, |signature| signature.arguments);
        let mut separator = "";
        for (kind, value) in kinds.iter().zip(self.call.args) {
            if self.left_out(*kind) {
                continue;
            }
            self.out.push_str(separator);
            self.argument(*kind, value & kind.mask())?;
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
            Kind::Fd | Kind::Int => write!(self.out, "{}", signed32(value)),
            Kind::DirFd if signed32(value) == AT_FDCWD => self.out.write_str("AT_FDCWD"),
            Kind::DirFd => write!(self.out, "{}", signed32(value)),
            Kind::Id if signed32(value) == -1 => self.out.write_str("-1"),
            Kind::Id | Kind::Uint | Kind::Size => write!(self.out, "{value}"),
            Kind::Long => write!(self.out, "{}", value.cast_signed()),
            Kind::Hex | Kind::Hex32 if value == 0 => self.out.write_str("0"),
            Kind::Hex | Kind::Hex32 => write!(self.out, "{value:#x}"),
            Kind::Mode | Kind::CreateMode(_) => self.octal(value),
            Kind::Named(symbols) | Kind::LongNamed(symbols) => symbols.write(self.out, value),
            Kind::Pointer => self.pointer(value),
            Kind::Path => self.string(value, SHOWN_PATH),
            Kind::Text => self.string(value, SHOWN_TEXT),
            Kind::Buffer(length) => self.buffer(value, self.arg(usize::from(length))),
            Kind::Strings => self.strings(value),
            Kind::FcntlArgument => self.fcntl_argument(value),
        }
    }

    fn octal(&mut self, value: u64) -> fmt::Result {
        if value == 0 { self.out.write_str("000") } else { write!(self.out, "0{value:o}") }
    }

    fn pointer(&mut self, value: u64) -> fmt::Result {
        if value == 0 { self.out.write_str("NULL") } else { write!(self.out, "{value:#x}") }
    }

    fn string(&mut self, address: u64, shown: usize) -> fmt::Result {
        match read_cstr_prefix(self.memory, self.call.cr3, address, shown) {
            Ok((bytes, whole)) => self.quoted(&bytes, whole),
            Err(_) => self.pointer(address),
        }
    }

    fn buffer(&mut self, address: u64, length: u64) -> fmt::Result {
        let shown = usize::try_from(length).map_or(SHOWN_TEXT, |length| length.min(SHOWN_TEXT));
        let mut bytes = vec![0; shown];
        match read_gva(self.memory, self.call.cr3, address, &mut bytes) {
            Ok(()) => self.quoted(&bytes, u64::try_from(shown).is_ok_and(|shown| shown == length)),
            Err(_) => self.pointer(address),
        }
    }

    fn strings(&mut self, address: u64) -> fmt::Result {
        let Some(first) = self.word(address) else { return self.pointer(address) };
        self.out.push('[');
        let mut element = Some(first);
        for index in 0..=SHOWN_STRINGS {
            let separator = if index == 0 { "" } else { ", " };
            match element {
                Some(0) => break,
                Some(_) if index == SHOWN_STRINGS => write!(self.out, "{separator}...")?,
                Some(string) => {
                    self.out.push_str(separator);
                    self.string(string, SHOWN_TEXT)?;
                }
                None => {
                    write!(self.out, "{separator}???")?;
                    break;
                }
            }
            let offset = u64::try_from(index + 1).unwrap_or(0) * 8;
            element = address.checked_add(offset).and_then(|next| self.word(next));
        }
        self.out.push(']');
        Ok(())
    }

    fn fcntl_argument(&mut self, value: u64) -> fmt::Result {
        match self.fcntl_command() {
            F_DUPFD | F_DUPFD_CLOEXEC | F_SETPIPE_SZ => write!(self.out, "{}", signed32(value)),
            F_SETFD => symbols::FD_CLOEXEC.write(self.out, value),
            F_SETFL => symbols::OPEN.write(self.out, value),
            F_ADD_SEALS => write!(self.out, "{value:#x}"),
            _ => self.pointer(value),
        }
    }

    fn fcntl_command(&self) -> u32 {
        u32::try_from(self.arg(1) & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    fn arg(&self, index: usize) -> u64 {
        self.call.args.get(index).copied().unwrap_or(0)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        read_gva(self.memory, self.call.cr3, address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// The bytes as a C string constant; `...` behind it if there are more.
    fn quoted(&mut self, bytes: &[u8], whole: bool) -> fmt::Result {
        self.out.push('"');
        let mut rest = bytes.iter().peekable();
        while let Some(byte) = rest.next() {
            let digit_follows = rest.peek().is_some_and(|next| next.is_ascii_digit());
            match byte {
                b'"' | b'\\' => write!(self.out, "\\{}", char::from(*byte))?,
                b'\n' => self.out.push_str("\\n"),
                b'\r' => self.out.push_str("\\r"),
                b'\t' => self.out.push_str("\\t"),
                0x0b => self.out.push_str("\\v"),
                0x0c => self.out.push_str("\\f"),
                b' '..=b'~' => self.out.push(char::from(*byte)),
                // A digit behind it would be read as a part of a short octal escape.
                other if digit_follows => write!(self.out, "\\{other:03o}")?,
                other => write!(self.out, "\\{other:o}")?,
            }
        }
        self.out.push_str(if whole { "\"" } else { "\"..." });
        Ok(())
    }
}

/// The low 32 bits as a signed number.
fn signed32(value: u64) -> i32 {
    let low = value & u64::from(u32::MAX);
    u32::try_from(low).unwrap_or(u32::MAX).cast_signed()
}
