//! What the arguments of each system call are: how wide, and how a person reads them.
//!
//! Conditions need the width: the kernel's prototypes take many arguments as `int`, and ignore what a program
//! leaves in the register's upper half; a rule that compared all 64 bits could be walked around. The trace
//! needs the rest. Facts only, one row a call, from the prototypes in Linux' `include/linux/syscalls.h`.

mod table;

use core::fmt;

use crate::symbols::{self, Symbols};
pub use table::SIGNATURES;

/// What one argument is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A file descriptor.
    Fd,
    /// A directory's descriptor, or AT_FDCWD.
    DirFd,
    /// A signed number of 32 bits.
    Int,
    /// An unsigned number of 32 bits.
    Uint,
    /// 32 bits best read in hexadecimal.
    Hex32,
    /// A signed number of 64 bits.
    Long,
    /// An unsigned number of 64 bits: sizes and counts.
    Size,
    /// 64 bits best read in hexadecimal.
    Hex,
    /// An address.
    Pointer,
    /// The address of a string that names a file.
    Path,
    /// The address of another string.
    Text,
    /// The address of bytes that the call reads; the argument with this index is their number.
    Buffer(u8),
    /// The address of an array of `struct iovec` with bytes that the call reads; the argument with this index is how many of them there are.
    Ranges(u8),
    /// The address of a `struct sockaddr` that the call reads; the argument with this index is its length.
    Address(u8),
    /// The address of a `struct msghdr` that the call reads.
    Message,
    /// The address of an array of `struct mmsghdr` that the call reads; the argument with this index is their number.
    Messages(u8),
    /// The address of an array of strings, ended by NULL.
    Strings,
    /// File permissions, 16 bits.
    Mode,
    /// File permissions that count only if the open flags in the argument with this index create a file.
    CreateMode(u8),
    /// A user or group, or -1.
    Id,
    /// One of, or a set of, named numbers in 32 bits.
    Named(&'static Symbols),
    /// The same in 64 bits.
    LongNamed(&'static Symbols),
    /// A signed number of 32 bits with names, of which several stand for the same number: they are taken, and not written.
    Spoken(&'static Symbols),
    /// The third argument of `fcntl`, which depends on the second.
    FcntlArgument,
    /// The third argument of `setsockopt` and `getsockopt`, which depends on the second.
    SocketOption,
}

impl Kind {
    /// How many low bits of the register the kernel looks at.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Mode | Self::CreateMode(_) => 16,
            Self::Fd
            | Self::DirFd
            | Self::Int
            | Self::Uint
            | Self::Hex32
            | Self::Id
            | Self::Named(_)
            | Self::Spoken(_)
            | Self::SocketOption => 32,
            _ => 64,
        }
    }

    /// Those bits, set.
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The names that a number may be written by.
    #[must_use]
    pub const fn symbols(self) -> Option<&'static Symbols> {
        match self {
            Self::Named(symbols) | Self::LongNamed(symbols) | Self::Spoken(symbols) => Some(symbols),
            Self::Mode | Self::CreateMode(_) => Some(&symbols::MODE),
            Self::DirFd => Some(&symbols::DIRFD),
            Self::FcntlArgument => Some(&symbols::FCNTL_ARGUMENT),
            Self::SocketOption => Some(&symbols::SOCKET_OPTION),
            _ => None,
        }
    }
}

/// What a call's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A number.
    Decimal,
    /// An address.
    Address,
    /// File permissions.
    Octal,
    /// The call does not return.
    Nothing,
}

/// A call's arguments and result.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The call's number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// What its manual page calls its arguments.
    pub names: &'static [&'static str],
    /// Its arguments, at most six.
    pub arguments: &'static [Kind],
    /// Its result.
    pub output: Output,
}

/// The signature of the call with this number. A call that is not listed takes six words of 64 bits.
#[must_use]
pub fn of(number: u64) -> Option<&'static Signature> {
    let number = u32::try_from(number).ok()?;
    let index = SIGNATURES.binary_search_by_key(&number, |signature| signature.number).ok()?;
    SIGNATURES.get(index)
}

impl Signature {
    /// The argument of this name, from 0.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<u8> {
        self.names.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok())
    }
}

/// An argument of a call, as a person reads it: its name, or `argument 0`.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentName {
    /// The call's signature, if it has one.
    pub signature: Option<&'static Signature>,
    /// The argument, from 0.
    pub argument: u8,
}

impl ArgumentName {
    /// What the argument is.
    fn kind(&self) -> Option<Kind> {
        self.signature?.arguments.get(usize::from(self.argument)).copied()
    }
}

impl fmt::Display for ArgumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signature.and_then(|signature| signature.names.get(usize::from(self.argument))) {
            Some(name) => f.write_str(name),
            None => write!(f, "argument {}", self.argument),
        }
    }
}

/// What a rule makes of a number: `flags := O_RDONLY`, or `flags & O_RDWR|O_CLOEXEC`, by names where all of it has some.
#[derive(Clone, Copy, Debug)]
pub struct NumberChange {
    /// Which argument.
    pub of: ArgumentName,
    /// The bits that it keeps; none: it is replaced.
    pub keep: u64,
    /// What it becomes then.
    pub set: u64,
}

impl fmt::Display for NumberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = if self.keep == 0 { (":=", self.set) } else { ("&", self.keep) };
        write!(f, "{} {sign} ", self.of)?;
        match self.of.kind() {
            Some(Kind::Mode | Kind::CreateMode(_)) => write!(f, "0{value:o}"),
            Some(Kind::Named(symbols) | Kind::LongNamed(symbols)) if symbols.covers(value) => symbols.write(f, value),
            _ => write!(f, "{value:#x}"),
        }
    }
}

/// The arguments of a call that [`of`] does not know.
pub const UNKNOWN: &[Kind] = &[Kind::Hex; 6];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_agree_with_the_table_of_calls() {
        assert!(SIGNATURES.is_sorted_by(|a, b| a.number < b.number));
        for row in SIGNATURES {
            let call = proto::syscalls::by_number(u64::from(row.number)).expect("a known number");
            assert_eq!(call.name, row.name);
            assert!(row.arguments.len() <= 6, "{}", row.name);
            let repeated = |(index, name): (usize, &&str)| row.names[..index].contains(name);
            assert!(!row.names.iter().enumerate().any(repeated), "{}", row.name);
        }
    }

    #[test]
    fn changes_are_told_by_name() {
        extern crate alloc;
        use alloc::string::ToString;
        let text = |call, argument, keep, set| {
            NumberChange { of: ArgumentName { signature: of(call), argument }, keep, set }.to_string()
        };
        assert_eq!(text(257, 2, 0, 0), "flags := O_RDONLY");
        assert_eq!(text(257, 2, 0o2_000_002, 0), "flags & O_RDWR|O_CLOEXEC");
        assert_eq!(text(257, 2, 0x8000_0000, 0), "flags & 0x80000000");
        assert_eq!((text(95, 0, 0o22, 0), text(0, 0, 0, 2)), ("mask & 022".into(), "fd := 0x2".into()));
        assert_eq!(text(999, 3, 0, 2), "argument 3 := 0x2");
    }

    #[test]
    fn widths() {
        let kind = |number, index: usize| of(number).expect("known").arguments[index];
        assert_eq!(kind(16, 1).mask(), 0xffff_ffff, "ioctl's command");
        assert_eq!(kind(16, 2).mask(), u64::MAX, "ioctl's argument");
        assert_eq!(kind(257, 3).mask(), 0xffff, "openat's mode");
        let argument = |number, name| of(number).expect("known").argument(name);
        assert_eq!((argument(257, "flags"), argument(2, "flags"), argument(2, "flag")), (Some(2), Some(1), None));
        assert!(of(335).is_none());
        assert!(of(u64::MAX).is_none());
    }

    #[test]
    fn references_to_other_arguments_hold() {
        for row in SIGNATURES {
            for kind in row.arguments {
                use Kind::{Address, Buffer, CreateMode, Messages};
                if let Buffer(other) | CreateMode(other) | Address(other) | Messages(other) = kind {
                    assert!(usize::from(*other) < row.arguments.len(), "{}", row.name);
                }
            }
        }
    }
}
