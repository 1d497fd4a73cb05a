//! What a touch of an address space brings in: zeros, pages of files, of the root's window and of shared objects, and copies on write.

use alloc::rc::Rc;

use proto::layout::{USER_END_VA, WINDOW_SLOT};
use proto::{MAX_SEGMENTS, Segment};

use super::{AddressSpace, STACK_GAP, Source};
use crate::errno::Errno;
use crate::mm::area::{Access, Area, Backing, BadTouch, Prot};
use crate::mm::table::{BORROWED, FRAME, NO_EXECUTE, NO_FRAME, PRESENT, USER, WRITE};
use crate::num::{index, len32, page_down};
use crate::platform::{PAGE, PAGE_SIZE, Platform};

/// Pages around a touched file page that are read with it, in one request.
const FILE_AROUND: usize = 16;

impl AddressSpace {
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
