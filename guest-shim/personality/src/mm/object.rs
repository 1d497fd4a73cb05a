//! Memory objects: pages that mappings, spaces and read or write calls have in common. Shared anonymous memory, memfd files,
//! and what is mapped shared of the root's files (one object a file, so that all its mappings are one memory).
//!
//! An object is one owner of each of its frames, each mapping of a page another. Pages of a file that may have been written
//! to are marked; they go back to the root when the object is written back, at the latest when its last user is gone.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Range;

use linux_raw_sys::general as raw;
use proto::{MAX_SEGMENTS, Segment};

use super::area::BadTouch;
use super::frames::{Bin, Frames};
use super::space::Source;
use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::fuse::{Fuse, Gone, Leftovers};
use crate::num::{index, len32};
use crate::platform::{PAGE, Platform};

/// A page of an object.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Its frame.
    pub frame: u64,
    /// A file's page that may differ from the file.
    pub dirty: bool,
}

/// Pages by their number.
pub type Pages = BTreeMap<u64, Page>;

/// File pages that are read together.
const READ_AROUND: usize = 16;
/// Last page number, for ranges without an end.
const LAST: u64 = u64::MAX / PAGE;

/// Memory with pages of its own.
pub struct Object {
    pages: RefCell<Pages>,
    /// Bytes that it has; a file's are the root's to know.
    size: Cell<u64>,
    /// F_SEAL_* bits.
    seals: Cell<u32>,
    /// A handle of the file that the pages belong to, writable if there is such a one.
    file: Option<(RefCell<Rc<OpenFile>>, Leftovers)>,
    /// What it is called in `/proc`, if it is no file of the root's.
    name: Box<[u8]>,
    bin: Bin,
}

impl Object {
    /// `size` bytes of zeros, with a name for `/proc`.
    #[must_use]
    pub fn zeros(size: u64, name: &[u8], frames: &Frames) -> Rc<Self> {
        Self::with(size, name, None, frames)
    }

    /// The object of a regular file.
    #[must_use]
    pub fn of_file(file: &Rc<OpenFile>, fuse: &Fuse, frames: &Frames) -> Option<Rc<Self>> {
        let inode = file.inode()?;
        if let Some(object) = inode.cache() {
            if let Some((known, _)) = &object.file
                && file.writable()
            {
                known.replace(Rc::clone(file));
            }
            return Some(object);
        }
        let object = Self::with(u64::MAX, &[], Some((RefCell::new(Rc::clone(file)), fuse.leftovers())), frames);
        inode.set_cache(Rc::downgrade(&object));
        Some(object)
    }

    fn with(size: u64, name: &[u8], file: Option<(RefCell<Rc<OpenFile>>, Leftovers)>, frames: &Frames) -> Rc<Self> {
        let seals = Cell::new(raw::F_SEAL_SEAL);
        Rc::new(Self {
            pages: RefCell::default(),
            size: Cell::new(size),
            seals,
            file,
            name: name.into(),
            bin: frames.bin(),
        })
    }

    /// What it is called in `/proc`.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        match self.handle().and_then(|file| file.place.clone()) {
            Some(place) => place.shown_path(),
            None => self.name.to_vec(),
        }
    }

    /// Inode number of the file that it belongs to; 0 without.
    #[must_use]
    pub fn inode_number(&self) -> u64 {
        self.handle().and_then(|file| file.inode().map(|inode| inode.number())).unwrap_or(0)
    }

    /// Is it a file's, whose pages have to be written back?
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Bytes that it has, if they are its own to say.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.get()
    }

    /// F_SEAL_* bits.
    #[must_use]
    pub fn seals(&self) -> u32 {
        self.seals.get()
    }

    /// Replaces the seals.
    pub fn set_seals(&self, seals: u32) {
        self.seals.set(seals);
    }

    /// Sets the size back to what it was, while pages beyond it stay allocated.
    pub fn keep_size(&self, size: u64) {
        self.size.set(size);
    }

    /// Bytes in its pages.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.pages.borrow().len() as u64 * PAGE
    }

    fn handle(&self) -> Option<Rc<OpenFile>> {
        self.file.as_ref().map(|(file, _)| Rc::clone(&file.borrow()))
    }

    /// The frame of page `number` if it is there.
    #[must_use]
    pub fn frame(&self, number: u64) -> Option<u64> {
        self.pages.borrow().get(&number).map(|page| page.frame)
    }

    /// The first page from `number` on that is there.
    #[must_use]
    pub fn next_page(&self, number: u64) -> Option<u64> {
        self.pages.borrow().range(number..).next().map(|(&number, _)| number)
    }

    /// The frame of page `number`, brought in if need be.
    ///
    /// # Errors
    /// [`BadTouch::NoData`] beyond the end, [`BadTouch::NoMemory`].
    pub fn bring<P: Platform>(&self, source: &mut Source<'_, P>, number: u64) -> Result<u64, BadTouch> {
        if let Some(frame) = self.frame(number) {
            return Ok(frame);
        }
        match self.handle() {
            Some(file) => self.read_block(source, &file, number),
            None if number < self.size().div_ceil(PAGE) => self.add_zeros(source, number),
            None => Err(BadTouch::NoData),
        }
    }

    fn add_zeros<P: Platform>(&self, source: &mut Source<'_, P>, number: u64) -> Result<u64, BadTouch> {
        let frame = source.frames.take(source.platform).map_err(|_| BadTouch::NoMemory)?;
        self.pages.borrow_mut().insert(number, Page { frame, dirty: false });
        Ok(frame)
    }

    /// Reads page `number` and those after it in its block that are not there yet.
    fn read_block<P: Platform>(
        &self,
        source: &mut Source<'_, P>,
        file: &OpenFile,
        number: u64,
    ) -> Result<u64, BadTouch> {
        let end = (number / READ_AROUND as u64 + 1) * READ_AROUND as u64;
        let end = self.next_page(number).map_or(end, |next| next.min(end));
        let mut segments = [Segment::default(); READ_AROUND];
        let mut count = 0;
        for slot in segments.iter_mut().take(index(end - number)) {
            let Ok(frame) = source.frames.take(source.platform) else { break };
            *slot = Segment { gpa: frame, len: len32(index(PAGE)), reserved: 0 };
            count += 1;
        }
        let segments = segments.get(..count).unwrap_or(&[]);
        let read = match segments {
            [] => Err(Errno::ENOMEM),
            _ => file.request_read(source.fuse, source.platform, number * PAGE, segments),
        };
        let bytes = *read.as_ref().unwrap_or(&0);
        let mut pages = self.pages.borrow_mut();
        for (page, segment) in (number..).zip(segments) {
            if (page - number) * PAGE < bytes {
                pages.insert(page, Page { frame: segment.gpa, dirty: false });
            } else {
                source.frames.give(source.platform, segment.gpa);
            }
        }
        match (pages.get(&number), read) {
            (Some(page), _) => Ok(page.frame),
            (None, Err(Errno::ENOMEM)) => Err(BadTouch::NoMemory),
            (None, _) => Err(BadTouch::NoData),
        }
    }

    /// A page is about to be written to.
    pub fn mark(&self, number: u64) {
        if let Some(page) = self.pages.borrow_mut().get_mut(&number) {
            page.dirty = true;
        }
    }

    /// Writes what may differ from the file in `bytes` to it.
    ///
    /// # Errors
    /// What the root says.
    pub fn write_back<P: Platform>(&self, fuse: &mut Fuse, platform: &mut P, bytes: &Range<u64>) -> Result<(), Errno> {
        let Some(file) = self.handle().filter(|file| file.writable()) else { return Ok(()) };
        write_pages(fuse, platform, &file, &self.pages.borrow(), bytes)
    }

    /// The file has changed in `bytes`: pages that are there are read again.
    ///
    /// # Errors
    /// What the root says.
    pub fn read_again<P: Platform>(&self, fuse: &mut Fuse, platform: &mut P, bytes: &Range<u64>) -> Result<(), Errno> {
        let Some(file) = self.handle() else { return Ok(()) };
        for (&number, page) in self.pages.borrow().range(bytes.start / PAGE..=bytes.end.saturating_sub(1) / PAGE) {
            let segment = Segment { gpa: page.frame, len: len32(index(PAGE)), reserved: 0 };
            let read = file.request_read(fuse, platform, number * PAGE, &[segment])?;
            if let Some(rest) = platform.frame_mut(page.frame).get_mut(index(read)..) {
                rest.fill(0);
            }
        }
        Ok(())
    }

    /// Removes the pages `numbers`; mappings of them are the caller's to remove.
    pub fn remove<P: Platform>(&self, source: &mut Source<'_, P>, numbers: Range<u64>) {
        let mut pages = self.pages.borrow_mut();
        let mut gone = pages.split_off(&numbers.start);
        let mut kept = gone.split_off(&numbers.end);
        pages.append(&mut kept);
        for page in gone.into_values() {
            source.frames.give(source.platform, page.frame);
        }
    }

    /// Makes it `size` bytes long. What it loses is zero if it grows again; mappings are the caller's to remove.
    pub fn resize<P: Platform>(&self, source: &mut Source<'_, P>, size: u64) {
        if !self.is_file() {
            self.size.set(size);
        }
        self.remove(source, size.div_ceil(PAGE)..LAST);
        let rest = size % PAGE;
        if let (1.., Some(frame)) = (rest, self.frame(size / PAGE)) {
            source.platform.frame_mut(frame)[index(rest)..].fill(0);
        }
    }

    /// Fills `bytes` of pages that are there with zeros, for pages that stay partly.
    pub fn clear<P: Platform>(&self, platform: &mut P, bytes: Range<u64>) {
        let mut at = bytes.start;
        while at < bytes.end {
            let len = (PAGE - at % PAGE).min(bytes.end - at);
            if let Some(frame) = self.frame(at / PAGE) {
                let start = index(at % PAGE);
                platform.frame_mut(frame)[start..start + index(len)].fill(0);
            }
            at += len;
        }
    }

    /// Reads from `at` into `segments`; how many bytes there were.
    pub fn read<P: Platform>(&self, platform: &mut P, at: u64, segments: &[Segment]) -> u64 {
        let mut done = 0;
        for segment in segments {
            let mut filled = 0;
            let len = u64::from(segment.len).min(self.size().saturating_sub(at + done));
            while filled < len {
                let from = at + done;
                let piece = (PAGE - from % PAGE).min(len - filled);
                match self.frame(from / PAGE) {
                    Some(frame) => platform.copy(frame + from % PAGE, segment.gpa + filled, index(piece)),
                    None => {
                        let to = segment.gpa + filled;
                        let start = index(to % PAGE);
                        platform.frame_mut(to / PAGE * PAGE)[start..start + index(piece)].fill(0);
                    }
                }
                filled += piece;
                done += piece;
            }
        }
        done
    }

    /// Writes `segments` at `at`, growing as needed; how many bytes.
    ///
    /// # Errors
    /// EPERM for what is sealed; EFBIG; ENOSPC without memory, when nothing was written.
    pub fn write<P: Platform>(&self, source: &mut Source<'_, P>, at: u64, segments: &[Segment]) -> Result<u64, Errno> {
        if self.seals() & (raw::F_SEAL_WRITE | raw::F_SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        let wanted: u64 = segments.iter().map(|segment| u64::from(segment.len)).sum();
        let mut limit = at.checked_add(wanted).filter(|&end| end <= i64::MAX.cast_unsigned()).ok_or(Errno::EFBIG)?;
        if self.seals() & raw::F_SEAL_GROW != 0 {
            // Page by page, as Linux does: the piece that would grow it is refused as a whole.
            if limit > self.size() {
                limit = self.size() / PAGE * PAGE;
            }
            if limit <= at {
                return Err(Errno::EPERM);
            }
        }
        let mut done = 0;
        'all: for segment in segments {
            let mut taken = 0;
            let len = u64::from(segment.len);
            while taken < len && at + done < limit {
                let to = at + done;
                let piece = (PAGE - to % PAGE).min(len - taken).min(limit - to);
                let frame = match self.frame(to / PAGE) {
                    Some(frame) => frame,
                    None => match self.add_zeros(source, to / PAGE) {
                        Ok(frame) => frame,
                        Err(_) if done > 0 => break 'all,
                        Err(_) => return Err(Errno::ENOSPC),
                    },
                };
                source.platform.copy(segment.gpa + taken, frame + to % PAGE, index(piece));
                taken += piece;
                done += piece;
            }
        }
        self.size.set(self.size().max(at + done));
        Ok(done)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let pages = core::mem::take(self.pages.get_mut());
        if pages.is_empty() {
            return;
        }
        match &self.file {
            Some((file, leftovers)) if file.borrow().writable() && pages.values().any(|page| page.dirty) => {
                let gone = Gone::Dirty { file: Rc::clone(&file.borrow()), pages, bin: Rc::clone(&self.bin) };
                leftovers.borrow_mut().push(gone);
            }
            _ => self.bin.borrow_mut().push(pages),
        }
    }
}

/// A reference to the object of a file, that does not keep it.
pub type Cache = RefCell<Weak<Object>>;

/// Writes those of `pages` that may differ from the file, within `bytes` and the file's size, to it.
pub fn write_pages<P: Platform>(
    fuse: &mut Fuse,
    platform: &mut P,
    file: &OpenFile,
    pages: &Pages,
    bytes: &Range<u64>,
) -> Result<(), Errno> {
    let numbers = bytes.start / PAGE..=bytes.end.saturating_sub(1) / PAGE;
    let list = pages.range(numbers).filter(|(_, page)| page.dirty);
    let mut dirty = list.map(|(&number, page)| (number, page.frame)).peekable();
    if dirty.peek().is_none() {
        return Ok(());
    }
    let size = fuse.attributes(platform, file.inode().ok_or(Errno::EINVAL)?)?.size;
    while let Some(&(first, _)) = dirty.peek() {
        let mut segments = [Segment::default(); MAX_SEGMENTS];
        let mut count = 0;
        while let (Some(&(number, frame)), Some(slot)) = (dirty.peek(), segments.get_mut(count)) {
            let len = size.saturating_sub(number * PAGE).min(PAGE);
            if number != first + count as u64 || len == 0 {
                break;
            }
            *slot = Segment { gpa: frame, len: len32(index(len)), reserved: 0 };
            count += 1;
            dirty.next();
        }
        if count == 0 {
            // Beyond the end: there is no file for it.
            return Ok(());
        }
        file.request_write(fuse, platform, first * PAGE, segments.get(..count).unwrap_or(&[]))?;
    }
    Ok(())
}
