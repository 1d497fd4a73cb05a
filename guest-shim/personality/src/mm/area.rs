//! Areas of an address space: what is mapped from where to where, with which rights.

use alloc::rc::Rc;

use super::frames::Frames;
use super::object::Object;
use super::table::{BORROWED, FRAME, NO_EXECUTE, NO_FRAME, PRESENT, USER, WRITE};
use crate::fs::file::OpenFile;

/// Access rights of an area (PROT_* of `mman.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prot(pub u32);

impl Prot {
    /// Can be read.
    pub const READ: u32 = 1;
    /// Can be written.
    pub const WRITE: u32 = 2;
    /// Can be executed.
    pub const EXEC: u32 = 4;

    /// Bits of a leaf entry for these rights: on x86 whatever can be written or executed can also be read.
    pub(super) fn entry_bits(self) -> u64 {
        let mut bits = USER;
        if self.0 != 0 {
            bits |= PRESENT;
        }
        if self.0 & Self::WRITE != 0 {
            bits |= WRITE;
        }
        if self.0 & Self::EXEC == 0 {
            bits |= NO_EXECUTE;
        }
        bits
    }

    pub(super) fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.0 != 0,
            Access::Write => self.0 & Self::WRITE != 0,
            Access::Execute => self.0 & Self::EXEC != 0,
        }
    }
}

/// How memory is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// Why a touch cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTouch {
    /// Nothing is mapped there: SIGSEGV.
    Unmapped,
    /// The area does not allow it: SIGSEGV.
    Denied,
    /// Beyond the end of the mapped file, or the file cannot be read: SIGBUS.
    NoData,
    /// The sandbox' memory is used up.
    NoMemory,
}

/// What a page is that is mapped without becoming the space's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// One of the personality's frames.
    Frame,
    /// No frame of the personality's: ring 3 may read it, the personality cannot.
    NoFrame,
}

/// Where the pages of an area come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// A file, read into pages of the area's own.
    File {
        /// The file; the area keeps it open.
        file: Rc<OpenFile>,
        /// Offset of the area's start in it.
        offset: u64,
        /// End of the file's bytes that show; zeros after it within the area. `u64::MAX`: the file's own end.
        limit: u64,
    },
    /// Pages of an object.
    Object {
        /// The object.
        object: Rc<Object>,
        /// Offset of the area's start in it.
        offset: u64,
        /// Could rights to write be given to it?
        writable: bool,
    },
    /// Frames put there by the personality itself (vDSO).
    Fixed,
}

/// What a program has asked of an area beside its rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaFlags(pub u32);

impl AreaFlags {
    /// MADV_DONTFORK: a fork leaves it out.
    pub const DONT_FORK: u32 = 1 << 0;
    /// MADV_WIPEONFORK: zeros in the child.
    pub const WIPE_ON_FORK: u32 = 1 << 1;
    /// MADV_DONTDUMP.
    pub const DONT_DUMP: u32 = 1 << 2;
    /// mlock, MAP_LOCKED.
    pub const LOCKED: u32 = 1 << 3;

    /// Is it asked for?
    #[must_use]
    pub fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

/// One area: addresses with the same rights and the same backing.
#[derive(Clone)]
pub struct Area {
    /// First address (page aligned).
    pub start: u64,
    /// End (exclusive, page aligned).
    pub end: u64,
    /// Rights.
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
    /// Grows downwards when touched just below (the stack).
    pub grows_down: bool,
    /// What else was asked of it.
    pub flags: AreaFlags,
    /// Where its pages come from.
    pub backing: Backing,
}

impl Area {
    /// A private area.
    #[must_use]
    pub fn new(start: u64, end: u64, prot: Prot, backing: Backing) -> Self {
        Self { start, end, prot, shared: false, grows_down: false, flags: AreaFlags::default(), backing }
    }

    /// The leaf entry for the frame in `entry`. What has other owners cannot be written through a private area: they
    /// would see it.
    pub(super) fn entry_for(&self, entry: u64, frames: &Frames) -> u64 {
        let kept = entry & (FRAME | BORROWED | NO_FRAME);
        let bits = kept | self.prot.entry_bits();
        let writable = match self.marked() {
            // What can be written through is marked.
            Some(_) => entry & WRITE != 0,
            None => self.shared || self.owns(entry, frames),
        };
        if writable { bits } else { bits & !WRITE }
    }

    /// Is the frame in `entry` this area's alone?
    pub(super) fn owns(&self, entry: u64, frames: &Frames) -> bool {
        entry & BORROWED == 0 && !frames.is_shared(entry & FRAME)
    }

    /// The area without its first `by` bytes.
    pub(super) fn shift_start(&mut self, by: u64) {
        self.start += by;
        if let Backing::File { offset, .. } | Backing::Object { offset, .. } = &mut self.backing {
            *offset += by;
        }
    }

    pub(super) fn continues(&self, next: &Self) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && self.shared == next.shared
            && self.grows_down == next.grows_down
            && self.flags == next.flags
            && match (&self.backing, &next.backing) {
                (Backing::Anonymous, Backing::Anonymous) => true,
                (
                    Backing::Object { object, offset, writable },
                    Backing::Object { object: other, offset: next_offset, writable: next_writable },
                ) => {
                    Rc::ptr_eq(object, other)
                        && writable == next_writable
                        && offset.checked_add(self.end - self.start) == Some(*next_offset)
                }
                (
                    Backing::File { file, offset, limit },
                    Backing::File { file: other, offset: next_offset, limit: next_limit },
                ) => {
                    Rc::ptr_eq(file, other)
                        && limit == next_limit
                        && offset.checked_add(self.end - self.start) == Some(*next_offset)
                }
                _ => false,
            }
    }

    /// Could rights to write be given to it?
    #[must_use]
    pub fn may_be_written(&self) -> bool {
        match &self.backing {
            Backing::Object { writable, .. } => *writable || !self.shared,
            Backing::Anonymous | Backing::File { .. } | Backing::Fixed => true,
        }
    }

    /// The object whose pages must be marked before they are written to: a file's, mapped shared.
    pub(super) fn marked(&self) -> Option<(&Object, u64)> {
        match &self.backing {
            Backing::Object { object, offset, .. } if self.shared && object.is_file() => Some((object, *offset)),
            _ => None,
        }
    }
}
