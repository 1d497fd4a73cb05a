//! What the arguments of each system call are: how wide, and how a person reads them.
//!
//! Conditions need the width: the kernel's prototypes take many arguments as `int`, and ignore what a program
//! leaves in the register's upper half; a rule that compared all 64 bits could be walked around. The trace
//! needs the rest. Facts only, one row a call, from the prototypes in Linux' `include/linux/syscalls.h`.

mod table;

use core::fmt;

use crate::structures::{Field, Structure};
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
    /// The address of a structure that the call reads.
    Structure(&'static Structure),
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
    /// An unsigned number of 64 bits, of which some have names.
    NamedSize(&'static Symbols),
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
            Self::Named(symbols) | Self::LongNamed(symbols) | Self::Spoken(symbols) | Self::NamedSize(symbols) => {
                Some(symbols)
            }
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

/// Where a call has a number: in an argument, or in a field of the structure that an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The argument, from 0.
    pub argument: u8,
    /// The field: its index in the structure.
    pub field: Option<u8>,
}

impl Place {
    /// That of an argument itself.
    #[must_use]
    pub const fn argument(argument: u8) -> Self {
        Self { argument, field: None }
    }
}

impl Signature {
    /// The argument of this name, from 0.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<u8> {
        self.names.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok())
    }

    /// What is meant by `flags` or `how.flags`. A name without a point that no argument has means a field, if there is one of this name:
    /// so one rule can be about the flags of `openat` and of `openat2`.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<Place> {
        if let Some((argument, field)) = name.split_once('.') {
            let argument = self.argument(argument)?;
            return Some(Place { argument, field: Some(self.structure(argument)?.field(field)?) });
        }
        let of_field = || {
            let field =
                |(argument, structure): (u8, &Structure)| Some(Place { argument, field: Some(structure.field(name)?) });
            self.structures().find_map(field)
        };
        self.argument(name).map(Place::argument).or_else(of_field)
    }

    /// The structure that an argument points to.
    #[must_use]
    pub fn structure(&self, argument: u8) -> Option<&'static Structure> {
        match self.arguments.get(usize::from(argument)) {
            Some(Kind::Structure(structure)) => Some(structure),
            _ => None,
        }
    }

    /// The arguments that point to structures.
    pub fn structures(&self) -> impl Iterator<Item = (u8, &'static Structure)> {
        (0..).zip(self.arguments).filter_map(|(argument, kind)| match kind {
            Kind::Structure(structure) => Some((argument, *structure)),
            _ => None,
        })
    }

    /// What is at a place.
    #[must_use]
    pub fn kind(&self, place: Place) -> Option<Kind> {
        let argument = || self.arguments.get(usize::from(place.argument)).copied();
        self.field(place).map(|field| field.kind).or_else(argument)
    }

    /// The field at a place, if it is one.
    #[must_use]
    pub fn field(&self, place: Place) -> Option<&'static Field> {
        self.structure(place.argument)?.fields.get(usize::from(place.field?))
    }
}

/// A number of a call, as a person reads it: its name, `how.flags`, or `argument 0`.
#[derive(Clone, Copy, Debug)]
pub struct PlaceName {
    /// The call's signature, if it has one.
    pub signature: Option<&'static Signature>,
    /// Where.
    pub place: Place,
}

impl PlaceName {
    /// That of an argument.
    #[must_use]
    pub const fn argument(signature: Option<&'static Signature>, argument: u8) -> Self {
        Self { signature, place: Place::argument(argument) }
    }

    /// What is there.
    fn kind(&self) -> Option<Kind> {
        self.signature?.kind(self.place)
    }
}

impl fmt::Display for PlaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argument = self.place.argument;
        match self.signature.and_then(|signature| signature.names.get(usize::from(argument))) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "argument {argument}")?,
        }
        let field = self.signature.and_then(|signature| signature.field(self.place));
        field.map_or(Ok(()), |field| write!(f, ".{}", field.name))
    }
}

/// What a rule makes of a number: `flags := O_RDONLY`, or `flags & O_RDWR|O_CLOEXEC`, by names where all of it has some.
#[derive(Clone, Copy, Debug)]
pub struct NumberChange {
    /// Which number.
    pub of: PlaceName,
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
            Some(Kind::Named(symbols) | Kind::LongNamed(symbols) | Kind::NamedSize(symbols))
                if symbols.covers(value) =>
            {
                symbols.write(f, value)
            }
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
            NumberChange { of: PlaceName::argument(of(call), argument), keep, set }.to_string()
        };
        assert_eq!(text(257, 2, 0, 0), "flags := O_RDONLY");
        assert_eq!(text(257, 2, 0o2_000_002, 0), "flags & O_RDWR|O_CLOEXEC");
        assert_eq!(text(257, 2, 0x8000_0000, 0), "flags & 0x80000000");
        assert_eq!((text(95, 0, 0o22, 0), text(0, 0, 0, 2)), ("mask & 022".into(), "fd := 0x2".into()));
        assert_eq!(text(999, 3, 0, 2), "argument 3 := 0x2");
        let place = of(437).and_then(|signature| signature.place("how.mode")).expect("a field");
        let change = NumberChange { of: PlaceName { signature: of(437), place }, keep: 0o22, set: 0 };
        assert_eq!(change.to_string(), "how.mode & 022");
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
