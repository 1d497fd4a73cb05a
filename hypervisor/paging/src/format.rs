//! What an entry of a second-level table looks like on one kind of processor.

use tlfs::addr::Spa;

/// Bits 51 to 12 of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What a second-level mapping allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Data reads.
    pub read: bool,
    /// Data writes.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl Rights {
    /// Mapped, but every access faults.
    pub const NONE: Self = Self { read: false, write: false, execute: false };
    /// Reads and fetches.
    pub const READ_EXECUTE: Self = Self { read: true, write: false, execute: true };
    /// Reads only.
    pub const READ: Self = Self { read: true, write: false, execute: false };
    /// Reads and writes.
    pub const READ_WRITE: Self = Self { read: true, write: true, execute: false };
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, execute: true };

    /// Whether everything that `self` allows is allowed by `other` too.
    #[must_use]
    pub const fn within(self, other: Self) -> bool {
        (!self.read || other.read) && (!self.write || other.write) && (!self.execute || other.execute)
    }
}

/// The bits of one processor's second-level tables: 512 entries of eight bytes a table, four levels.
/// Level 1 is the lowest; a leaf at level n maps `4096 << 9 * (n - 1)` bytes.
pub trait EntryFormat {
    /// The entry that points to a lower table and leaves the decision to it.
    fn table(spa: Spa) -> u64;
    /// The entry that maps memory; `spa` is aligned to the level's size.
    fn leaf(spa: Spa, level: u32, rights: Rights) -> u64;
    /// The entry stands for something: a table or a mapping, even one without rights.
    fn in_use(entry: u64) -> bool;
    /// An entry in use is a mapping, not a table.
    fn is_leaf(entry: u64, level: u32) -> bool;
    /// Where an entry in use points.
    fn address(entry: u64) -> Spa;
    /// What a leaf allows.
    fn rights(entry: u64) -> Rights;
    /// Whether the processor can enforce these rights.
    fn supports(rights: Rights) -> bool;
}

/// AMD-V nested paging: the format of ordinary long-mode tables. Every nested access counts as one of
/// ring 3, so the user bit is always set; reading cannot be forbidden to what is present.
#[derive(Clone, Copy, Debug)]
pub enum Npt {}

impl Npt {
    const PRESENT: u64 = 1;
    const WRITE: u64 = 1 << 1;
    const USER: u64 = 1 << 2;
    const LARGE: u64 = 1 << 7;
    /// Available to software: the entry maps something although it is not present.
    const NO_ACCESS: u64 = 1 << 9;
    const NO_EXECUTE: u64 = 1 << 63;
}

impl EntryFormat for Npt {
    fn table(spa: Spa) -> u64 {
        (spa.0 & ADDRESS) | Self::PRESENT | Self::WRITE | Self::USER
    }

    fn leaf(spa: Spa, level: u32, rights: Rights) -> u64 {
        let mut entry = (spa.0 & ADDRESS) | Self::USER;
        entry |= if rights.read { Self::PRESENT } else { Self::NO_ACCESS };
        if rights.write {
            entry |= Self::WRITE;
        }
        if !rights.execute {
            entry |= Self::NO_EXECUTE;
        }
        if level > 1 {
            entry |= Self::LARGE;
        }
        entry
    }

    fn in_use(entry: u64) -> bool {
        entry & (Self::PRESENT | Self::NO_ACCESS) != 0
    }

    fn is_leaf(entry: u64, level: u32) -> bool {
        level == 1 || entry & Self::LARGE != 0
    }

    fn address(entry: u64) -> Spa {
        Spa(entry & ADDRESS)
    }

    fn rights(entry: u64) -> Rights {
        let present = entry & Self::PRESENT != 0;
        Rights {
            read: present,
            write: present && entry & Self::WRITE != 0,
            execute: present && entry & Self::NO_EXECUTE == 0,
        }
    }

    fn supports(rights: Rights) -> bool {
        rights.read || rights == Rights::NONE
    }
}
