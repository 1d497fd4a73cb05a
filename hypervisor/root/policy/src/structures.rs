//! Structures that calls are passed by pointer and that conditions can look into: which fields they have, and how much of one a call brings.
//!
//! Here are those whose shape is the same whatever the call is about, and that say what the call does. Offsets and widths are those of Linux' headers.

use core::mem::offset_of;

use linux_raw_sys::general as g;

use crate::signature::Kind::{self, Hex, Int, LongNamed, Mode, NamedSize, Pointer, Size};
use crate::symbols;

/// A structure.
#[derive(Debug)]
pub struct Structure {
    /// What Linux calls it.
    pub name: &'static str,
    /// Its fields, one behind the other without gaps.
    pub fields: &'static [Field],
    /// How much of it a call brings.
    pub extent: Extent,
}

/// A field of a structure.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// How many bytes it has, at most 8.
    pub width: usize,
    /// What it holds. How wide that is says `width`.
    pub kind: Kind,
    /// It is 0 in most calls, and is then not written.
    pub seldom: bool,
}

/// How much of a structure a call brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// As many bytes as an argument says (Linux, `copy_struct_from_user`). What the call does not bring is 0; what it brings beyond the structure has to be.
    Stated {
        /// The argument.
        argument: u8,
        /// The fewest bytes that Linux takes.
        least: usize,
    },
}

/// Most bytes of a structure that a call may bring: a page.
pub const MAX_STATED: usize = 4096;

/// A size that Linux does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSize {
    /// EINVAL.
    TooSmall,
    /// E2BIG.
    TooLarge,
}

impl Extent {
    /// How many bytes a call with these arguments brings of a structure of `size` bytes.
    ///
    /// # Errors
    /// Linux takes no such number.
    pub fn given(self, size: usize, args: &[u64; 6]) -> Result<usize, BadSize> {
        let Self::Stated { argument, least } = self else { return Ok(size) };
        let stated = args.get(usize::from(argument)).copied().unwrap_or(0);
        match usize::try_from(stated) {
            Ok(stated) if stated < least => Err(BadSize::TooSmall),
            Ok(stated) if stated <= MAX_STATED => Ok(stated),
            _ => Err(BadSize::TooLarge),
        }
    }
}

impl Structure {
    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.fields.last().map_or(0, |last| last.offset + last.width)
    }

    /// The field of this name: its index.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<u8> {
        self.fields.iter().position(|field| field.name == name).and_then(|index| u8::try_from(index).ok())
    }
}

impl Field {
    /// The bits that it has.
    #[must_use]
    pub fn mask(&self) -> u64 {
        u64::MAX >> 64_u32.saturating_sub(self.bits()).min(63)
    }

    /// How many these are.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.width.try_into().unwrap_or(8) * 8
    }

    /// Its value in a structure; nothing if that ends before.
    #[must_use]
    pub fn read(&self, structure: &[u8]) -> Option<u64> {
        let bytes = structure.get(self.offset..self.offset.checked_add(self.width)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Puts a value into a structure.
    pub fn write(&self, structure: &mut [u8], value: u64) {
        let field = structure.get_mut(self.offset..).and_then(|rest| rest.get_mut(..self.width)).unwrap_or(&mut []);
        field.iter_mut().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
    }
}

/// A row for each field, with its place and width as the header has them.
macro_rules! fields {
    ($structure:ty: $( $name:ident $($seldom:ident)?: $kind:expr ),* $(,)?) => {
        &[ $( Field {
            name: stringify!($name),
            offset: offset_of!($structure, $name),
            width: width_of(|structure: &$structure| structure.$name),
            kind: $kind,
            seldom: fields!(@seldom $($seldom)?),
        } ),* ]
    };
    (@seldom) => { false };
    (@seldom seldom) => { true };
}

/// How many bytes a field has.
const fn width_of<S, F>(_: fn(&S) -> F) -> usize {
    size_of::<F>()
}

/// `openat2`.
pub static OPEN_HOW: Structure = Structure {
    name: "open_how",
    fields: fields!(g::open_how: flags: LongNamed(&symbols::OPEN), mode: Mode, resolve: LongNamed(&symbols::RESOLVE)),
    extent: Extent::Stated { argument: 3, least: 24 },
};

/// `clone3`.
pub static CLONE_ARGS: Structure = Structure {
    name: "clone_args",
    fields: fields!(g::clone_args:
        flags: LongNamed(&symbols::CLONE3),
        pidfd seldom: Pointer,
        child_tid seldom: Pointer,
        parent_tid seldom: Pointer,
        exit_signal: LongNamed(&symbols::SIGNAL),
        stack: Pointer,
        stack_size: Hex,
        tls seldom: Pointer,
        set_tid seldom: Pointer,
        set_tid_size seldom: Size,
        cgroup seldom: Size,
    ),
    extent: Extent::Stated { argument: 1, least: 64 },
};

/// `setrlimit` and `prlimit64`.
pub static RLIMIT: Structure = Structure {
    name: "rlimit64",
    fields: fields!(g::rlimit64: rlim_cur: NamedSize(&symbols::RLIM), rlim_max: NamedSize(&symbols::RLIM)),
    extent: Extent::Whole,
};

/// `sched_setparam` and `sched_setscheduler`: `struct sched_param`, which no header that is read here has.
pub static SCHED_PARAM: Structure = Structure {
    name: "sched_param",
    fields: &[Field { name: "sched_priority", offset: 0, width: 4, kind: Int, seldom: false }],
    extent: Extent::Whole,
};
