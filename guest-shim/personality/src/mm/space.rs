//! An address space: its areas, its page table, and what a page fault or a change of mappings does.

use alloc::rc::Rc;
use alloc::vec::Vec;

use core::ops::Range;

use super::frames::Frames;
use super::object::Object;
use super::table::{BORROWED, FRAME, NO_EXECUTE, NO_FRAME, PRESENT, PageTable, USER, WRITE};
use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::fuse::Fuse;
use crate::num::{index, len32, page_down};
use crate::platform::{PAGE, PAGE_SIZE, Platform};
use proto::layout::{USER_END_VA, WINDOW_SLOT};
use proto::{MAX_SEGMENTS, Segment};

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
    fn entry_bits(self) -> u64 {
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

    fn allows(self, access: Access) -> bool {
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
    fn entry_for(&self, entry: u64, frames: &Frames) -> u64 {
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
    fn owns(&self, entry: u64, frames: &Frames) -> bool {
        entry & BORROWED == 0 && !frames.is_shared(entry & FRAME)
    }

    /// The area without its first `by` bytes.
    fn shift_start(&mut self, by: u64) {
        self.start += by;
        if let Backing::File { offset, .. } | Backing::Object { offset, .. } = &mut self.backing {
            *offset += by;
        }
    }

    fn continues(&self, next: &Self) -> bool {
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
    fn marked(&self) -> Option<(&Object, u64)> {
        match &self.backing {
            Backing::Object { object, offset, .. } if self.shared && object.is_file() => Some((object, *offset)),
            _ => None,
        }
    }
}

/// What serving a touch may need, beside the space itself.
pub struct Source<'a, P: Platform> {
    /// The machine.
    pub platform: &'a mut P,
    /// Frames.
    pub frames: &'a mut Frames,
    /// Files.
    pub fuse: &'a mut Fuse,
}

/// Pages around a touched file page that are read with it, in one request.
const FILE_AROUND: usize = 16;
/// Most areas of a space (vm.max_map_count).
const MAX_AREAS: usize = 65530;
/// Areas that one call may add: two cuts and a new one.
const AREAS_A_CALL: usize = 3;
/// Addresses kept free below a stack.
const STACK_GAP: u64 = 256 * PAGE;
/// Lowest address that a program may map (vm.mmap_min_addr).
pub const MIN_ADDRESS: u64 = 0x1_0000;

/// An address space.
pub struct AddressSpace {
    table: PageTable,
    areas: Vec<Area>,
    /// Start of the heap that brk moves.
    pub brk_start: u64,
    /// Its end now.
    pub brk: u64,
    /// Highest address at which mmap places what has no address of its own.
    pub mmap_top: u64,
    /// Length to which a stack may grow.
    pub stack_limit: u64,
    /// MEMBARRIER_CMD_REGISTER_* bits.
    pub membarrier: u32,
    /// MCL_FUTURE: new areas are locked.
    pub lock_future: bool,
    /// The auxiliary vector of the program, as its first stack had it.
    pub auxiliary: Rc<[u8]>,
    resident: u64,
    peak: u64,
}

impl AddressSpace {
    /// Nothing mapped.
    pub fn new<P: Platform>(platform: &mut P, frames: &mut Frames) -> Result<Self, Errno> {
        Ok(Self {
            table: PageTable::new(platform, frames)?,
            areas: Vec::new(),
            brk_start: 0,
            brk: 0,
            mmap_top: USER_END_VA,
            stack_limit: 0,
            membarrier: 0,
            lock_future: false,
            auxiliary: Rc::default(),
            resident: 0,
            peak: 0,
        })
    }

    /// Root table, for CR3.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.table.root()
    }

    /// Pages of the program that are in memory, now and at most.
    #[must_use]
    pub fn resident_pages(&self) -> (u64, u64) {
        (self.resident, self.peak)
    }

    /// The areas, by rising address.
    #[must_use]
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// Index of the first area that ends above `va`.
    fn position(&self, va: u64) -> usize {
        self.areas.partition_point(|area| area.end <= va)
    }

    /// The first area that ends above `va`.
    #[must_use]
    pub fn first_area(&self, va: u64) -> Option<&Area> {
        self.areas.get(self.position(va))
    }

    /// The area that holds `va`.
    #[must_use]
    pub fn area(&self, va: u64) -> Option<&Area> {
        self.areas.get(self.position(va)).filter(|area| area.start <= va)
    }

    /// Is all of [`start`, `end`) without an area?
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.areas.get(self.position(start)).is_none_or(|area| area.start >= end)
    }

    /// Is all of [`start`, `end`) inside areas?
    #[must_use]
    pub fn is_mapped(&self, start: u64, end: u64) -> bool {
        let mut va = start;
        for area in self.areas.iter().skip(self.position(start)) {
            if va >= end || area.start > va {
                break;
            }
            va = area.end;
        }
        va >= end
    }

    /// The highest free range of `len` bytes below `mmap_top`.
    #[must_use]
    pub fn find_free(&self, len: u64) -> Option<u64> {
        self.find_free_below(len, self.mmap_top)
    }

    /// The highest free range of `len` bytes below `top`.
    #[must_use]
    pub fn find_free_below(&self, len: u64, top: u64) -> Option<u64> {
        let mut top = top;
        for area in self.areas.iter().rev() {
            let floor = area.end;
            if floor <= top && top - floor >= len && top - len >= MIN_ADDRESS {
                return Some(top - len);
            }
            let bottom = if area.grows_down { area.start.saturating_sub(STACK_GAP) } else { area.start };
            top = top.min(bottom);
        }
        top.checked_sub(len).filter(|&start| start >= MIN_ADDRESS)
    }

    /// Makes sure that one call can change the areas as it wants (it adds at most three).
    ///
    /// # Errors
    /// ENOMEM when there are too many.
    pub fn reserve_areas(&mut self) -> Result<(), Errno> {
        if self.areas.len() + AREAS_A_CALL > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        self.areas.try_reserve(AREAS_A_CALL).map_err(|_| Errno::ENOMEM)
    }

    /// Adds an area to a free range.
    pub fn insert(&mut self, area: Area) {
        let (at, end) = (self.position(area.start), area.end);
        self.areas.insert(at, area);
        self.merge(at.saturating_sub(1), end);
    }

    /// Maps `frame`, which stays somebody else's, at `va`; the area for it must exist.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn place_frame<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        va: u64,
        frame: u64,
        prot: Prot,
        lent: Lent,
    ) -> Result<(), Errno> {
        let lent = match lent {
            Lent::Frame => BORROWED,
            Lent::NoFrame => BORROWED | NO_FRAME,
        };
        self.table.set(source.platform, source.frames, va, frame | prot.entry_bits() | lent)
    }

    /// Makes `va` a border between areas.
    fn split_at(&mut self, va: u64) {
        let at = self.position(va);
        let Some(area) = self.areas.get_mut(at) else { return };
        if area.start >= va {
            return;
        }
        let mut upper = area.clone();
        upper.shift_start(va - area.start);
        area.end = va;
        upper.grows_down = false;
        self.areas.insert(at + 1, upper);
    }

    /// Removes every mapping in [`start`, `end`).
    pub fn unmap<P: Platform>(&mut self, source: &mut Source<'_, P>, start: u64, end: u64) {
        if self.is_free(start, end) {
            return;
        }
        self.split_at(start);
        self.split_at(end);
        let (first, last) = (self.position(start), self.position(end.saturating_sub(1)));
        let last = if self.areas.get(last).is_some_and(|area| area.start < end) { last + 1 } else { last };
        self.areas.drain(first..last);
        let removed = self.table.clear(source.platform, source.frames, start, end);
        self.resident = self.resident.saturating_sub(removed);
    }

    /// Throws away the pages in [`start`, `end`), but not the areas: the next touch finds them fresh.
    pub fn discard<P: Platform>(&mut self, source: &mut Source<'_, P>, start: u64, end: u64) {
        let removed = self.table.clear(source.platform, source.frames, start, end);
        self.resident = self.resident.saturating_sub(removed);
    }

    /// Changes the rights of [`start`, `end`), all of which must be mapped.
    pub fn protect<P: Platform>(&mut self, source: &mut Source<'_, P>, start: u64, end: u64, prot: Prot) {
        self.split_at(start);
        self.split_at(end);
        let first = self.position(start);
        let frames = &*source.frames;
        for area in self.areas.iter_mut().skip(first).take_while(|area| area.start < end) {
            area.prot = prot;
            self.table.update(source.platform, area.start, area.end, |_, _, entry| area.entry_for(entry, frames));
        }
        self.merge(first.saturating_sub(1), end);
    }

    /// Changes what is asked of the areas in [`start`, `end`).
    pub fn set_flags(&mut self, start: u64, end: u64, change: impl Fn(AreaFlags) -> AreaFlags) {
        self.split_at(start);
        self.split_at(end);
        let first = self.position(start);
        for area in self.areas.iter_mut().skip(first).take_while(|area| area.start < end) {
            area.flags = change(area.flags);
        }
        self.merge(first.saturating_sub(1), end);
    }

    /// Bytes in all areas that `which` holds for.
    pub fn sum(&self, which: impl Fn(&Area) -> bool) -> u64 {
        self.areas.iter().filter(|area| which(area)).map(|area| area.end - area.start).sum()
    }

    /// Bytes in locked areas.
    #[must_use]
    pub fn locked(&self) -> u64 {
        self.sum(|area| area.flags.has(AreaFlags::LOCKED))
    }

    /// The areas that hold [`start`, `end`) as far as there are any without a gap, each cut to the range.
    pub fn parts(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64, &Area)> {
        let mut at = start;
        self.areas.iter().skip(self.position(start)).map_while(move |area| {
            (at < end && area.start <= at).then(|| {
                let from = at;
                at = area.end.min(end);
                (from, at, area)
            })
        })
    }

    /// Is the page of `va` in memory?
    #[must_use]
    pub fn is_resident<P: Platform>(&self, platform: &P, va: u64) -> bool {
        if self.table.entry(platform, va) != 0 {
            return true;
        }
        match self.area(va) {
            Some(Area { backing: Backing::Object { object, offset, .. }, start, .. }) => {
                object.frame((offset + (va - start)) / PAGE).is_some()
            }
            _ => false,
        }
    }

    /// Joins neighbours that no longer differ, from area `at` up to `end`.
    fn merge(&mut self, mut at: usize, end: u64) {
        while let (Some(area), Some(next)) = (self.areas.get(at), self.areas.get(at + 1)) {
            if area.start > end {
                break;
            }
            if area.continues(next) {
                let upper = next.end;
                self.areas.remove(at + 1);
                if let Some(area) = self.areas.get_mut(at) {
                    area.end = upper;
                }
            } else {
                at += 1;
            }
        }
    }

    /// Moves the area part [`from`, `from + len`), which must lie in one area, to the free range at `to`. `keep`: an area
    /// without pages stays behind.
    ///
    /// # Errors
    /// EFAULT without such an area; ENOMEM. Then nothing has moved.
    pub fn relocate<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        from: u64,
        len: u64,
        to: u64,
        new_len: u64,
        keep: bool,
    ) -> Result<(), Errno> {
        self.split_at(from);
        self.split_at(from + len);
        let at = self.position(from);
        let mut area = self.areas.get(at).filter(|area| area.start == from).cloned().ok_or(Errno::EFAULT)?;
        // All tables first: failing half-way through the move would leave frames mapped at both places, and those at `to`
        // beyond the reach of any area.
        let pages = || (0..len.min(new_len)).step_by(index(PAGE));
        for page in pages() {
            if self.table.entry(source.platform, from + page) != 0 {
                self.table.prepare(source.platform, source.frames, to + page)?;
            }
        }
        for page in pages() {
            let entry = self.table.entry(source.platform, from + page);
            if entry != 0 {
                self.table.set(source.platform, source.frames, to + page, entry)?;
            }
        }
        self.table.update(source.platform, from, from + len.min(new_len), |_, _, _| 0);
        if len > new_len {
            self.discard(source, from + new_len, from + len);
        }
        if keep {
            if let Some(old) = self.areas.get_mut(at) {
                old.flags.0 &= !AreaFlags::LOCKED;
            }
        } else {
            self.areas.remove(at);
        }
        area.start = to;
        area.end = to + new_len;
        self.insert(area);
        Ok(())
    }

    /// Maps what is shared at `from` once more, at the free range [`to`, `to + len`).
    ///
    /// # Errors
    /// EFAULT without such an area.
    pub fn duplicate(&mut self, from: u64, to: u64, len: u64) -> Result<(), Errno> {
        let mut area = self.area(from).cloned().ok_or(Errno::EFAULT)?;
        area.shift_start(from - area.start);
        area.start = to;
        area.end = to + len;
        self.insert(area);
        Ok(())
    }

    /// Lets the area that ends at `end` reach to `new_end`; the range between must be free.
    pub fn extend(&mut self, end: u64, new_end: u64) {
        let at = self.position(end.saturating_sub(1));
        if let Some(area) = self.areas.get_mut(at) {
            area.end = new_end;
        }
    }

    /// Brings in the page of `va` for `access`, as a touch by the program would. Returns its frame.
    pub fn touch<P: Platform>(&mut self, source: &mut Source<'_, P>, va: u64, access: Access) -> Result<u64, BadTouch> {
        if va >= USER_END_VA {
            return Err(BadTouch::Unmapped);
        }
        let entry = self.table.entry(source.platform, va);
        if entry & NO_FRAME != 0 {
            return Err(BadTouch::Denied);
        }
        if usable(entry, access) {
            return Ok(entry & FRAME);
        }
        let at = self.area_for(va).ok_or(BadTouch::Unmapped)?;
        let area = self.areas.get(at).ok_or(BadTouch::Unmapped)?;
        if !area.prot.allows(access) {
            return Err(BadTouch::Denied);
        }
        let va = page_down(va);
        if entry != 0 {
            let mut new = area.entry_for(entry, source.frames);
            if access == Access::Write
                && let Some((object, offset)) = area.marked()
            {
                object.mark((offset + (va - area.start)) / PAGE);
                new |= WRITE;
            }
            return if usable(new, access) {
                self.put(source, va, new)?;
                source.platform.flush_page(va);
                Ok(new & FRAME)
            } else {
                let prot = area.prot;
                self.copy_page(source, va, entry, prot)
            };
        }
        match area.backing {
            Backing::Anonymous => self.bring_zeros(source, va, area.prot),
            Backing::File { .. } => match self.bring_from_window(source, at, va, access)? {
                Some(frame) => Ok(frame),
                None => self.bring_file(source, at, va),
            },
            Backing::Object { .. } => self.bring_object(source, at, va, access),
            Backing::Fixed => Err(BadTouch::NoData),
        }
    }

    /// Maps the object's page at `va`.
    fn bring_object<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        at: usize,
        va: u64,
        access: Access,
    ) -> Result<u64, BadTouch> {
        let area = self.areas.get(at).ok_or(BadTouch::Unmapped)?;
        let Backing::Object { object, offset, .. } = &area.backing else { return Err(BadTouch::Unmapped) };
        let number = (offset + (va - area.start)) / PAGE;
        let frame = object.bring(source, number)?;
        source.frames.share(frame).map_err(|_| BadTouch::NoMemory)?;
        let mut entry = area.entry_for(frame, source.frames);
        if access == Access::Write && area.marked().is_some() {
            object.mark(number);
            entry |= WRITE;
        }
        let prot = area.prot;
        if let Err(error) = self.put(source, va, entry) {
            source.frames.give(source.platform, frame);
            return Err(error);
        }
        self.count_page();
        if usable(entry, access) { Ok(frame) } else { self.copy_page(source, va, entry, prot) }
    }

    /// Removes the translations of the pages `numbers` of an object.
    pub fn forget_pages<P: Platform>(&mut self, source: &mut Source<'_, P>, object: &Rc<Object>, numbers: Range<u64>) {
        let mut removed = 0;
        for area in &self.areas {
            let Backing::Object { object: mapped, offset, .. } = &area.backing else { continue };
            if !Rc::ptr_eq(mapped, object) {
                continue;
            }
            let first = offset / PAGE;
            let address = |number: u64| area.start.saturating_add(number.saturating_sub(first).saturating_mul(PAGE));
            let (start, end) = (address(numbers.start).min(area.end), address(numbers.end).min(area.end));
            removed += self.table.clear(source.platform, source.frames, start, end);
        }
        self.resident = self.resident.saturating_sub(removed);
    }

    /// Could the object be written to through a shared area of this space?
    #[must_use]
    pub fn can_write_to(&self, object: &Rc<Object>) -> bool {
        self.areas.iter().any(|area| match &area.backing {
            Backing::Object { object: mapped, writable, .. } => area.shared && *writable && Rc::ptr_eq(mapped, object),
            _ => false,
        })
    }

    /// Index of the area that holds `va`, after letting a stack grow down to it.
    fn area_for(&mut self, va: u64) -> Option<usize> {
        let at = self.position(va);
        let floor = at.checked_sub(1).and_then(|before| self.areas.get(before)).map_or(0, |area| area.end);
        let area = self.areas.get_mut(at)?;
        if area.start <= va {
            return Some(at);
        }
        let start = page_down(va);
        if area.grows_down && area.end - start <= self.stack_limit && start >= floor.saturating_add(STACK_GAP) {
            area.start = start;
            return Some(at);
        }
        None
    }

    fn put<P: Platform>(&mut self, source: &mut Source<'_, P>, va: u64, entry: u64) -> Result<(), BadTouch> {
        self.table.set(source.platform, source.frames, va, entry).map_err(|_| BadTouch::NoMemory)
    }

    fn count_page(&mut self) {
        self.resident += 1;
        self.peak = self.peak.max(self.resident);
    }

    /// Gives a private area its own copy of the page at `va`, which others have as well.
    fn copy_page<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        va: u64,
        entry: u64,
        prot: Prot,
    ) -> Result<u64, BadTouch> {
        let copy = source.frames.take_dirty(source.platform).map_err(|_| BadTouch::NoMemory)?;
        source.platform.copy(entry & FRAME, copy, PAGE_SIZE);
        if let Err(error) = self.put(source, va, copy | prot.entry_bits()) {
            source.frames.give(source.platform, copy);
            return Err(error);
        }
        source.platform.flush_page(va);
        if entry & BORROWED != 0 || source.frames.is_lent(entry & FRAME) {
            self.count_page();
        }
        if entry & BORROWED == 0 {
            source.frames.give(source.platform, entry & FRAME);
        }
        Ok(copy)
    }

    /// A copy for a new process. Private pages become common to both until one of them writes to them; shared areas stay
    /// the same memory. This space must be the active one.
    ///
    /// # Errors
    /// ENOMEM; then nothing has changed that either side could see.
    pub fn fork<P: Platform>(&mut self, source: &mut Source<'_, P>) -> Result<Self, Errno> {
        let mut child = Self::new(source.platform, source.frames)?;
        let result = self.fork_into(source, &mut child);
        // Pages that both have now cannot be written through any more.
        source.platform.flush_all();
        match result {
            Ok(()) => Ok(child),
            Err(error) => {
                child.destroy(source);
                Err(error)
            }
        }
    }

    fn fork_into<P: Platform>(&mut self, source: &mut Source<'_, P>, child: &mut Self) -> Result<(), Errno> {
        child.brk_start = self.brk_start;
        child.brk = self.brk;
        child.mmap_top = self.mmap_top;
        child.stack_limit = self.stack_limit;
        child.membarrier = self.membarrier;
        child.auxiliary = Rc::clone(&self.auxiliary);
        child.areas.try_reserve_exact(self.areas.len()).map_err(|_| Errno::ENOMEM)?;
        for area in self.areas.iter().filter(|area| !area.flags.has(AreaFlags::DONT_FORK)) {
            let mut copy = area.clone();
            // Locks are not inherited.
            copy.flags.0 &= !AreaFlags::LOCKED;
            child.areas.push(copy);
            if area.flags.has(AreaFlags::WIPE_ON_FORK) {
                continue;
            }
            let mut pages = 0;
            let kept = if area.shared { u64::MAX } else { !WRITE };
            let copied = self.table.copy_to(
                &mut child.table,
                source.platform,
                source.frames,
                (area.start, area.end),
                |frames, entry| {
                    if entry & BORROWED == 0 {
                        frames.share(entry & FRAME)?;
                        pages += u64::from(!frames.is_lent(entry & FRAME));
                    }
                    Ok((entry & kept, entry & kept))
                },
            );
            child.resident += pages;
            copied?;
        }
        child.peak = child.resident;
        Ok(())
    }

    fn bring_zeros<P: Platform>(&mut self, source: &mut Source<'_, P>, va: u64, prot: Prot) -> Result<u64, BadTouch> {
        let frame = source.frames.take(source.platform).map_err(|_| BadTouch::NoMemory)?;
        if let Err(error) = self.put(source, va, frame | prot.entry_bits()) {
            source.frames.give(source.platform, frame);
            return Err(error);
        }
        self.count_page();
        Ok(frame)
    }

    /// Maps the file page of `va` from the window, with its neighbours there; or a copy, if it will be written to or shows only
    /// partly. `None`: the window does not have it.
    fn bring_from_window<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        at: usize,
        va: u64,
        access: Access,
    ) -> Result<Option<u64>, BadTouch> {
        let area = self.areas.get(at).ok_or(BadTouch::Unmapped)?;
        let Backing::File { file, offset, limit } = &area.backing else { return Ok(None) };
        let (position, limit) = (offset + (va - area.start), *limit);
        if position >= limit {
            return Ok(None);
        }
        let Some((page, _)) = file.window_page(source, position, true) else { return Ok(None) };
        let visible = (limit - position).min(PAGE);
        if access == Access::Write || visible < PAGE {
            let prot = area.prot;
            return self.copy_from_window(source, va, page, visible, prot).map(Some);
        }
        let block = position - position % WINDOW_SLOT;
        let range = (area.start + block.saturating_sub(*offset), area.end);
        let first = page - (position - block) + block.max(*offset) - block;
        let shown = file.window_page(source, block.max(*offset), false).map_or(0, |(_, len)| len);
        let pages = shown.min(limit.saturating_sub(block.max(*offset))) / PAGE;
        for (page, target) in (first..).step_by(PAGE_SIZE).zip((range.0..range.1).step_by(PAGE_SIZE)).take(index(pages))
        {
            if self.table.entry(source.platform, target) == 0 {
                let entry = area.entry_for(page, source.frames);
                if self.table.set(source.platform, source.frames, target, entry).is_ok() {
                    source.frames.window.hold(page);
                } else if target == va {
                    return Err(BadTouch::NoMemory);
                }
            }
        }
        Ok(Some(page))
    }

    /// A page of the area's own with the first `len` bytes of a page of the window.
    fn copy_from_window<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        va: u64,
        page: u64,
        len: u64,
        prot: Prot,
    ) -> Result<u64, BadTouch> {
        let frame = source.frames.take_dirty(source.platform).map_err(|_| BadTouch::NoMemory)?;
        source.platform.copy(page, frame, index(len));
        source.platform.frame_mut(frame)[index(len)..].fill(0);
        if let Err(error) = self.put(source, va, frame | prot.entry_bits()) {
            source.frames.give(source.platform, frame);
            return Err(error);
        }
        self.count_page();
        Ok(frame)
    }

    /// Reads the file page of `va` and its neighbours that are not there yet, with one request.
    fn bring_file<P: Platform>(&mut self, source: &mut Source<'_, P>, at: usize, va: u64) -> Result<u64, BadTouch> {
        let area = self.areas.get(at).ok_or(BadTouch::Unmapped)?;
        let Backing::File { file, offset, limit } = &area.backing else { return Err(BadTouch::Unmapped) };
        let (file, prot, area_start) = (Rc::clone(file), area.prot, area.start);
        let (base, limit) = (*offset, *limit);
        let position = |page: u64| base + (page - area_start);
        if position(va) >= limit {
            return self.bring_zeros(source, va, prot);
        }
        let (first, last) =
            self.around(source.platform, area, va, limit.saturating_sub(base).saturating_add(area_start));
        let mut frames = [0; FILE_AROUND];
        let mut segments = [Segment::default(); FILE_AROUND];
        let mut count = 0;
        for page in (first..last).step_by(index(PAGE)) {
            let Ok(frame) = source.frames.take(source.platform) else { break };
            let len = limit.saturating_sub(position(page)).min(PAGE);
            if let (Some(slot), Some(segment)) = (frames.get_mut(count), segments.get_mut(count)) {
                *slot = frame;
                *segment = Segment { gpa: frame, len: len32(index(len)), reserved: 0 };
                count += 1;
            }
        }
        let (frames, segments) = (frames.get(..count).unwrap_or(&[]), segments.get(..count).unwrap_or(&[]));
        let read = if count == 0 { Err(Errno::ENOMEM) } else { file.read_segments(source, position(first), segments) };
        self.place_file_pages(source, first, frames, prot, read, va)
    }

    /// The pages to read around `va`: one block of the file, within the area and below `end`, none of them there yet.
    fn around<P: Platform>(&self, platform: &P, area: &Area, va: u64, end: u64) -> (u64, u64) {
        let block = FILE_AROUND as u64 * PAGE;
        let low = (va / block * block).max(area.start);
        let high = (low / block * block + block).min(area.end).min(end.checked_next_multiple_of(PAGE).unwrap_or(end));
        let mut first = va;
        while first > low && self.table.entry(platform, first - PAGE) == 0 {
            first -= PAGE;
        }
        let mut last = va + PAGE;
        while last < high && self.table.entry(platform, last) == 0 {
            last += PAGE;
        }
        (first, last)
    }

    fn place_file_pages<P: Platform>(
        &mut self,
        source: &mut Source<'_, P>,
        first: u64,
        frames: &[u64],
        prot: Prot,
        read: Result<u64, Errno>,
        wanted: u64,
    ) -> Result<u64, BadTouch> {
        let mut found = Err(match read {
            Err(Errno::ENOMEM) => BadTouch::NoMemory,
            _ => BadTouch::NoData,
        });
        let bytes = read.unwrap_or(0);
        let mut page = first;
        for &frame in frames {
            if page - first < bytes && self.put(source, page, frame | prot.entry_bits()).is_ok() {
                self.count_page();
                if page == wanted {
                    found = Ok(frame);
                }
            } else {
                source.frames.give(source.platform, frame);
            }
            page += PAGE;
        }
        found
    }

    /// Unmaps everything and frees the tables. The space must not be active.
    pub fn destroy<P: Platform>(mut self, source: &mut Source<'_, P>) {
        self.areas.clear();
        self.table.destroy(source.platform, source.frames);
    }

    /// Bytes in page tables.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.table.bytes()
    }
}

fn usable(entry: u64, access: Access) -> bool {
    entry & (PRESENT | USER) == PRESENT | USER
        && match access {
            Access::Read => true,
            Access::Write => entry & WRITE != 0,
            Access::Execute => entry & NO_EXECUTE == 0,
        }
}

const _: () = assert!(FILE_AROUND <= MAX_SEGMENTS);
