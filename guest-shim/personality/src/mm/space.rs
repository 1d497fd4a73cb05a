//! An address space: its areas, its page table, and what a page fault or a change of mappings does.

mod fill;

use alloc::rc::Rc;
use alloc::vec::Vec;

use core::ops::Range;

use super::area::{Area, AreaFlags, Backing, Lent, Prot};

use super::frames::Frames;
use super::object::Object;
use super::table::{BORROWED, FRAME, NO_FRAME, PageTable, WRITE};
use crate::errno::Errno;
use crate::fs::fuse::Fuse;
use crate::num::index;
use crate::platform::{PAGE, Platform};
use proto::layout::USER_END_VA;

/// What serving a touch may need, beside the space itself.
pub struct Source<'a, P: Platform> {
    /// The machine.
    pub platform: &'a mut P,
    /// Frames.
    pub frames: &'a mut Frames,
    /// Files.
    pub fuse: &'a mut Fuse,
}

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
