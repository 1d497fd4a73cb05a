//! Second-level tables: guest physical → system physical, in four levels.
//!
//! A [`NestedTable`] owns the frames of its tables and nothing that it maps. Whatever weakens or removes a
//! translation returns a [`Flush`], which says whether the processor may still hold the old one.

use core::marker::PhantomData;

use engine::{BadAddress, PhysMem};
use tlfs::addr::{Gpa, Spa};

use crate::format::{EntryFormat, Rights};

const LEVELS: u32 = 4;
const ENTRIES: u64 = 512;

/// First guest physical address that four levels cannot reach.
pub const GPA_LIMIT: u64 = 1 << 48;

/// Where tables get their frames.
pub trait FrameSource {
    /// A frame for a table, with any contents. `None`: there is none left.
    fn take(&mut self) -> Option<Spa>;
    /// A frame that [`FrameSource::take`] gave and no table uses any more.
    fn give(&mut self, frame: Spa);
}

/// The three sizes of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl PageSize {
    const fn level(self) -> u32 {
        match self {
            Self::Small => 1,
            Self::Large => 2,
            Self::Huge => 3,
        }
    }

    const fn of_level(level: u32) -> Self {
        match level {
            1 => Self::Small,
            2 => Self::Large,
            _ => Self::Huge,
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        4096 << (9 * (self.level() - 1))
    }
}

/// One mapping, as a table holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First byte of what is mapped.
    pub spa: Spa,
    /// How much.
    pub size: PageSize,
    /// What it allows.
    pub rights: Rights,
}

/// Why a table could not be changed. Nothing has changed then, except that a larger mapping may have been
/// split into smaller ones of the same meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The frame source is empty.
    NoFrames,
    /// An address is out of range or not aligned to the size.
    BadAddress,
    /// There are smaller mappings in the range of a larger one.
    Occupied,
    /// A table lies where the machine has no memory: the hypervisor's own fault.
    Memory,
}

impl From<BadAddress> for MapError {
    fn from(_: BadAddress) -> Self {
        Self::Memory
    }
}

/// The duty to flush: whether the processor may hold a translation that is no longer in the table.
#[must_use = "a stale translation may still be in use"]
#[derive(Debug, PartialEq, Eq)]
pub struct Flush(bool);

impl Flush {
    /// Whether a flush is due. Asking discharges the token: the asker takes the duty over.
    #[must_use]
    pub fn is_due(self) -> bool {
        self.0
    }
}

/// A second-level table of format `F`.
#[derive(Debug)]
pub struct NestedTable<F> {
    root: Spa,
    format: PhantomData<F>,
}

/// An entry on the way down: where it is, what it says, at which level.
struct Slot {
    at: Spa,
    entry: u64,
    level: u32,
}

impl<F: EntryFormat> NestedTable<F> {
    /// An empty table in a frame from `frames`.
    pub fn new(mem: &mut impl PhysMem, frames: &mut impl FrameSource) -> Result<Self, MapError> {
        Ok(Self { root: new_table(mem, frames)?, format: PhantomData })
    }

    /// Frame of the highest table.
    #[must_use]
    pub fn root(&self) -> Spa {
        self.root
    }

    /// Gives the highest table back. Lower tables must be gone ([`NestedTable::clear`]).
    pub fn release(self, frames: &mut impl FrameSource) {
        frames.give(self.root);
    }

    /// The mapping that covers `gpa`.
    pub fn lookup(&self, mem: &impl PhysMem, gpa: Gpa) -> Option<Mapping> {
        if gpa.0 >= GPA_LIMIT {
            return None;
        }
        let slot = self.find(mem, gpa, 1).ok()?;
        (F::in_use(slot.entry) && F::is_leaf(slot.entry, slot.level)).then(|| mapping_of::<F>(&slot))
    }

    /// The system physical address behind `gpa`, and what may be done there.
    pub fn translate(&self, mem: &impl PhysMem, gpa: Gpa) -> Option<(Spa, Rights)> {
        let mapping = self.lookup(mem, gpa)?;
        let offset = gpa.0 & (mapping.size.bytes() - 1);
        Some((Spa(mapping.spa.0 | offset), mapping.rights))
    }

    /// Maps `size` bytes at `gpa` to `spa`, in the place of what was there, which it returns. A larger mapping
    /// there is split first.
    pub fn map(
        &mut self,
        mem: &mut impl PhysMem,
        frames: &mut impl FrameSource,
        gpa: Gpa,
        new: Mapping,
    ) -> Result<(Option<Mapping>, Flush), MapError> {
        check(gpa, new.size)?;
        if new.spa.0 & (new.size.bytes() - 1) != 0 {
            return Err(MapError::BadAddress);
        }
        let level = new.size.level();
        let slot = self.make(mem, frames, gpa, level)?;
        let old = leaf_at::<F>(&slot)?;
        mem.write_u64(slot.at, F::leaf(new.spa, level, new.rights))?;
        Ok((old, Flush(old.is_some())))
    }

    /// Removes what is mapped at `gpa`, `size` bytes of it, and returns it. Nothing there: nothing to do.
    pub fn unmap(
        &mut self,
        mem: &mut impl PhysMem,
        frames: &mut impl FrameSource,
        gpa: Gpa,
        size: PageSize,
    ) -> Result<(Option<Mapping>, Flush), MapError> {
        check(gpa, size)?;
        if !F::in_use(self.find(mem, gpa, size.level())?.entry) {
            return Ok((None, Flush(false)));
        }
        let slot = self.make(mem, frames, gpa, size.level())?;
        let old = leaf_at::<F>(&slot)?;
        mem.write_u64(slot.at, 0)?;
        Ok((old, Flush(old.is_some())))
    }

    /// Changes the rights of what is mapped at `gpa`, `size` bytes of it. `false`: nothing is.
    pub fn protect(
        &mut self,
        mem: &mut impl PhysMem,
        frames: &mut impl FrameSource,
        gpa: Gpa,
        size: PageSize,
        rights: Rights,
    ) -> Result<(bool, Flush), MapError> {
        check(gpa, size)?;
        if !F::in_use(self.find(mem, gpa, size.level())?.entry) {
            return Ok((false, Flush(false)));
        }
        let slot = self.make(mem, frames, gpa, size.level())?;
        let Some(old) = leaf_at::<F>(&slot)? else { return Ok((false, Flush(false))) };
        mem.write_u64(slot.at, F::leaf(old.spa, slot.level, rights))?;
        Ok((true, Flush(!old.rights.within(rights))))
    }

    /// Removes every mapping, telling `removed` of each, and gives the lower tables back. Stops early when `expired`
    /// says so, which is asked once a lowest table; to be called again then. `true`: all is gone.
    pub fn clear<S: FrameSource>(
        &mut self,
        mem: &mut impl PhysMem,
        frames: &mut S,
        mut removed: impl FnMut(&mut S, Mapping),
        mut expired: impl FnMut() -> bool,
    ) -> Result<bool, MapError> {
        clear_table::<F, S>(mem, frames, self.root, LEVELS, &mut removed, &mut expired)
    }

    /// Walks down to `level`, or to the entry above it that ends the way.
    fn find(&self, mem: &impl PhysMem, gpa: Gpa, level: u32) -> Result<Slot, MapError> {
        let mut table = self.root;
        let mut at_level = LEVELS;
        loop {
            let at = slot_address(table, gpa, at_level);
            let entry = mem.read_u64(at)?;
            if at_level == level || !F::in_use(entry) || F::is_leaf(entry, at_level) {
                return Ok(Slot { at, entry, level: at_level });
            }
            table = F::address(entry);
            at_level -= 1;
        }
    }

    /// Walks down to `level`, making tables and splitting larger mappings on the way.
    fn make(
        &mut self,
        mem: &mut impl PhysMem,
        frames: &mut impl FrameSource,
        gpa: Gpa,
        level: u32,
    ) -> Result<Slot, MapError> {
        let mut table = self.root;
        let mut at_level = LEVELS;
        loop {
            let at = slot_address(table, gpa, at_level);
            let entry = mem.read_u64(at)?;
            if at_level == level {
                return Ok(Slot { at, entry, level });
            }
            table = if !F::in_use(entry) {
                let lower = new_table(mem, frames)?;
                mem.write_u64(at, F::table(lower))?;
                lower
            } else if F::is_leaf(entry, at_level) {
                split::<F>(mem, frames, at, entry, at_level)?
            } else {
                F::address(entry)
            };
            at_level -= 1;
        }
    }
}

fn check(gpa: Gpa, size: PageSize) -> Result<(), MapError> {
    let fits = gpa.0 < GPA_LIMIT && gpa.0 & (size.bytes() - 1) == 0;
    if fits { Ok(()) } else { Err(MapError::BadAddress) }
}

fn slot_address(table: Spa, gpa: Gpa, level: u32) -> Spa {
    let index = (gpa.0 >> (12 + 9 * (level - 1))) & (ENTRIES - 1);
    Spa(table.0 + index * 8)
}

fn mapping_of<F: EntryFormat>(slot: &Slot) -> Mapping {
    let size = PageSize::of_level(slot.level);
    Mapping { spa: Spa(F::address(slot.entry).0 & !(size.bytes() - 1)), size, rights: F::rights(slot.entry) }
}

/// The mapping that a slot holds, or that it holds none. A lower table in its place is an error.
fn leaf_at<F: EntryFormat>(slot: &Slot) -> Result<Option<Mapping>, MapError> {
    if !F::in_use(slot.entry) {
        return Ok(None);
    }
    if !F::is_leaf(slot.entry, slot.level) {
        return Err(MapError::Occupied);
    }
    Ok(Some(mapping_of::<F>(slot)))
}

fn new_table(mem: &mut impl PhysMem, frames: &mut impl FrameSource) -> Result<Spa, MapError> {
    let table = frames.take().ok_or(MapError::NoFrames)?;
    mem.zero_page(table)?;
    Ok(table)
}

/// Replaces a large leaf by a table of 512 smaller ones that mean the same. No flush is due: a
/// translation that the processor holds stays right.
fn split<F: EntryFormat>(
    mem: &mut impl PhysMem,
    frames: &mut impl FrameSource,
    at: Spa,
    entry: u64,
    level: u32,
) -> Result<Spa, MapError> {
    let whole = mapping_of::<F>(&Slot { at, entry, level });
    let lower = frames.take().ok_or(MapError::NoFrames)?;
    let step = PageSize::of_level(level - 1).bytes();
    for index in 0..ENTRIES {
        let part = F::leaf(Spa(whole.spa.0 + index * step), level - 1, whole.rights);
        mem.write_u64(Spa(lower.0 + index * 8), part)?;
    }
    mem.write_u64(at, F::table(lower))?;
    Ok(lower)
}

fn clear_table<F: EntryFormat, S: FrameSource>(
    mem: &mut impl PhysMem,
    frames: &mut S,
    table: Spa,
    level: u32,
    removed: &mut impl FnMut(&mut S, Mapping),
    expired: &mut impl FnMut() -> bool,
) -> Result<bool, MapError> {
    for index in 0..ENTRIES {
        let at = Spa(table.0 + index * 8);
        let entry = mem.read_u64(at)?;
        if !F::in_use(entry) {
            continue;
        }
        if F::is_leaf(entry, level) {
            removed(frames, mapping_of::<F>(&Slot { at, entry, level }));
        } else {
            let lower = F::address(entry);
            if !clear_table::<F, S>(mem, frames, lower, level - 1, removed, expired)? {
                return Ok(false);
            }
            frames.give(lower);
        }
        mem.write_u64(at, 0)?;
        if level == 2 && expired() {
            return Ok(false);
        }
    }
    Ok(true)
}
