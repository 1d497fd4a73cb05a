//! The guest walk: what a guest's own page tables say about a linear address.
//!
//! The walk reads entries through a function of the caller (guest physical address in, eight bytes out),
//! so the hypervisor can put its nested map below it and the root partition the pages it gave to a child.
//! It is bounded: at most five reads, whatever the guest wrote. It never writes: accessed and
//! dirty bits are the processor's business.
//!
//! All four x86 modes are walked: no paging, 32-bit (with 4 MiB pages), PAE, and 4 or 5 levels.

use tlfs::addr::{Gpa, Gva};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 51 to 12: the widest physical address of the architecture.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const CR4_SMEP: u64 = 1 << 20;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

/// The registers that decide how a guest translates its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPaging {
    /// CR0: paging on, write protection in ring 0.
    pub cr0: u64,
    /// CR3: where the root table is.
    pub cr3: u64,
    /// CR4: PAE, PSE, LA57, SMEP.
    pub cr4: u64,
    /// EFER: long mode active, no-execute enabled.
    pub efer: u64,
}

impl GuestPaging {
    /// 64-bit mode with 4 levels, write protection and no-execute: what any current 64-bit kernel runs with.
    #[must_use]
    pub const fn long_mode(cr3: u64) -> Self {
        Self { cr0: CR0_PG | CR0_WP, cr3, cr4: CR4_PAE, efer: EFER_LMA | EFER_NXE }
    }
}

/// In whose name an access is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Ring 3: only user pages.
    User,
    /// Rings 0 to 2. User pages are not fetched from under SMEP, nor read or written if `smap` holds.
    Supervisor {
        /// SMAP is to be enforced (CR4.SMAP set and RFLAGS.AC clear, or as the asker wants).
        smap: bool,
    },
    /// Nobody's: only presence is asked for, rights are not checked.
    Exempt,
}

/// What an access needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAccess {
    /// It writes.
    pub write: bool,
    /// It fetches an instruction.
    pub execute: bool,
    /// In whose name.
    pub privilege: Privilege,
}

impl GuestAccess {
    /// Where an address leads, rights aside.
    pub const EXEMPT: Self = Self { write: false, execute: false, privilege: Privilege::Exempt };
    /// A read by ring 3.
    pub const USER_READ: Self = Self { write: false, execute: false, privilege: Privilege::User };
    /// A write by ring 3.
    pub const USER_WRITE: Self = Self { write: true, execute: false, privilege: Privilege::User };
}

/// Where a linear address leads, and what its tables allow there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Guest physical address of the very byte.
    pub gpa: Gpa,
    /// log2 of the size of the page: 12, 21, 22, 30; 32 with paging off.
    pub page_shift: u32,
    /// Every level allows writing.
    pub writable: bool,
    /// Every level allows ring 3.
    pub user: bool,
    /// No level forbids fetching.
    pub executable: bool,
}

impl Translation {
    /// Bytes from the address to the end of its page, at least 1.
    #[must_use]
    pub const fn bytes_left(&self) -> u64 {
        let size = 1u64 << self.page_shift;
        size - (self.gpa.0 & (size - 1))
    }
}

/// Why a linear address leads nowhere. The order of precedence is the processor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkFault {
    /// The address is not canonical in this mode.
    NonCanonical,
    /// An entry on the way is not present.
    NotPresent,
    /// A present entry has reserved bits set.
    ReservedBits,
    /// The tables do not allow the access.
    Privilege,
    /// A table lies where the reader has nothing: at this guest physical address.
    TableUnreadable(Gpa),
}

/// Rights as they narrow on the way down.
#[derive(Clone, Copy)]
struct Rights {
    writable: bool,
    user: bool,
    executable: bool,
}

impl Rights {
    fn narrow(self, entry: u64, nxe: bool) -> Self {
        Self {
            writable: self.writable && entry & WRITABLE != 0,
            user: self.user && entry & USER != 0,
            executable: self.executable && !(nxe && entry & NO_EXECUTE != 0),
        }
    }
}

/// Translates `gva`. `read` gives the eight bytes at an eight-byte aligned guest physical address, or
/// `None` where there is no memory.
pub fn walk(
    paging: &GuestPaging,
    gva: Gva,
    access: GuestAccess,
    mut read: impl FnMut(Gpa) -> Option<u64>,
) -> Result<Translation, WalkFault> {
    let found = if paging.cr0 & CR0_PG == 0 {
        return unpaged(gva);
    } else if paging.efer & EFER_LMA != 0 {
        let levels = if paging.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
        walk_long(paging, gva, levels, &mut read)?
    } else if paging.cr4 & CR4_PAE != 0 {
        walk_pae(paging, gva, &mut read)?
    } else {
        walk_legacy(paging, gva, &mut read)?
    };
    if allows(paging, &found, access) { Ok(found) } else { Err(WalkFault::Privilege) }
}

fn unpaged(gva: Gva) -> Result<Translation, WalkFault> {
    if gva.0 > u64::from(u32::MAX) {
        return Err(WalkFault::NonCanonical);
    }
    Ok(Translation { gpa: Gpa(gva.0), page_shift: 32, writable: true, user: true, executable: true })
}

fn allows(paging: &GuestPaging, found: &Translation, access: GuestAccess) -> bool {
    match access.privilege {
        Privilege::Exempt => true,
        Privilege::User => found.user && (found.writable || !access.write) && (found.executable || !access.execute),
        Privilege::Supervisor { smap } => {
            let smep = paging.cr4 & CR4_SMEP != 0;
            let write_ok = !access.write || found.writable || paging.cr0 & CR0_WP == 0;
            let fetch_ok = !access.execute || (found.executable && !(smep && found.user));
            // A fetch is no data access: SMAP does not speak of it.
            let smap_ok = access.execute || !(smap && found.user);
            write_ok && fetch_ok && smap_ok
        }
    }
}

fn walk_long(
    paging: &GuestPaging,
    gva: Gva,
    levels: u32,
    read: &mut impl FnMut(Gpa) -> Option<u64>,
) -> Result<Translation, WalkFault> {
    let unused = 64 - (12 + 9 * levels);
    // Sign extension without a signed cast: all bits above the top translated one equal it.
    let top = gva.0 >> (63 - unused);
    if top != 0 && top != u64::MAX >> (63 - unused) {
        return Err(WalkFault::NonCanonical);
    }
    let start = Rights { writable: true, user: true, executable: true };
    descend(paging, gva, paging.cr3 & ADDRESS, levels, start, read)
}

/// Walks `level` levels of 512 eight-byte entries from the table at `table`.
fn descend(
    paging: &GuestPaging,
    gva: Gva,
    mut table: u64,
    mut level: u32,
    mut rights: Rights,
    read: &mut impl FnMut(Gpa) -> Option<u64>,
) -> Result<Translation, WalkFault> {
    let nxe = paging.efer & EFER_NXE != 0;
    loop {
        let shift = 12 + 9 * (level - 1);
        let slot = Gpa(table | (((gva.0 >> shift) & 0x1ff) << 3));
        let entry = read(slot).ok_or(WalkFault::TableUnreadable(slot))?;
        if entry & PRESENT == 0 {
            return Err(WalkFault::NotPresent);
        }
        let leaf = level == 1 || entry & LARGE != 0;
        let base = entry & ADDRESS;
        let low = base & ((1 << shift) - 1);
        // Bit 12 of a large leaf is its PAT bit; the rest below its size must be zero. Levels above
        // the third have no leaves, so their size bit is reserved.
        let misaligned = leaf && level > 1 && low & !0x1000 != 0;
        if misaligned || (leaf && level > 3) || (!nxe && entry & NO_EXECUTE != 0) {
            return Err(WalkFault::ReservedBits);
        }
        rights = rights.narrow(entry, nxe);
        if leaf {
            let mask = (1u64 << shift) - 1;
            return Ok(Translation {
                gpa: Gpa((base & !mask) | (gva.0 & mask)),
                page_shift: shift,
                writable: rights.writable,
                user: rights.user,
                executable: rights.executable,
            });
        }
        table = base;
        level -= 1;
    }
}

/// PAE: four pointers without rights, then two levels.
fn walk_pae(
    paging: &GuestPaging,
    gva: Gva,
    read: &mut impl FnMut(Gpa) -> Option<u64>,
) -> Result<Translation, WalkFault> {
    if gva.0 > u64::from(u32::MAX) {
        return Err(WalkFault::NonCanonical);
    }
    let slot = Gpa((paging.cr3 & 0xffff_ffe0) | ((gva.0 >> 30) << 3));
    let pointer = read(slot).ok_or(WalkFault::TableUnreadable(slot))?;
    if pointer & PRESENT == 0 {
        return Err(WalkFault::NotPresent);
    }
    let start = Rights { writable: true, user: true, executable: true };
    descend(paging, gva, pointer & ADDRESS, 2, start, read)
}

/// 32-bit paging: two levels of 1024 four-byte entries.
fn walk_legacy(
    paging: &GuestPaging,
    gva: Gva,
    read: &mut impl FnMut(Gpa) -> Option<u64>,
) -> Result<Translation, WalkFault> {
    if gva.0 > u64::from(u32::MAX) {
        return Err(WalkFault::NonCanonical);
    }
    let mut read32 = |address: u64| {
        let slot = Gpa(address & !7);
        let both = read(slot).ok_or(WalkFault::TableUnreadable(slot))?;
        Ok(if address & 4 == 0 { both & 0xffff_ffff } else { both >> 32 })
    };
    let start = Rights { writable: true, user: true, executable: true };
    let upper = read32((paging.cr3 & 0xffff_f000) | ((gva.0 >> 22) << 2))?;
    if upper & PRESENT == 0 {
        return Err(WalkFault::NotPresent);
    }
    let rights = start.narrow(upper, false);
    if upper & LARGE != 0 && paging.cr4 & CR4_PSE != 0 {
        // PSE-36: bits 20 to 13 are bits 39 to 32 of the address.
        let base = (upper & 0xffc0_0000) | ((upper & 0x001f_e000) << 19);
        return Ok(legacy_leaf(base | (gva.0 & 0x003f_ffff), 22, rights));
    }
    let lower = read32((upper & 0xffff_f000) | (((gva.0 >> 12) & 0x3ff) << 2))?;
    if lower & PRESENT == 0 {
        return Err(WalkFault::NotPresent);
    }
    Ok(legacy_leaf((lower & 0xffff_f000) | gva.page_offset(), 12, rights.narrow(lower, false)))
}

fn legacy_leaf(gpa: u64, page_shift: u32, rights: Rights) -> Translation {
    Translation { gpa: Gpa(gpa), page_shift, writable: rights.writable, user: rights.user, executable: true }
}
