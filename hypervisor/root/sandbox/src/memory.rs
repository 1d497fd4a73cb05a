//! A child's memory: which pages of the root are behind which guest physical page.
//!
//! Below `free_start` page by page (boot structures, the shim); from there on in blocks of
//! [`BLOCK_PAGES`], backed with zeros when the child or a service first touches them.
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

use files::Errno;
use guestmem::{GuestMemory, NotMapped, bytes_in_page};
use proto::layout::WINDOW_SLOT;
use services::Window;
use tlfs::addr::{Gpa, PAGE_SIZE};

use crate::layout::{BLOCK_PAGES, BLOCK_SIZE};

const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE);

/// Pages of the root's memory that can be given to children.
///
/// A [`RootMemory::Run`] is the only way to such pages: an implementation makes none that overlap with each
/// other or with anything else of the root, so that reading and writing through them is sound.
pub trait RootMemory {
    /// One page, or a block of [`BLOCK_PAGES`] contiguous ones.
    type Run;

    /// A page of zeros.
    fn allocate_page(&mut self) -> Option<Self::Run>;
    /// A block of zeros.
    fn allocate_block(&mut self) -> Option<Self::Run>;
    /// Takes pages back that nobody else can reach any more.
    fn free(&mut self, run: Self::Run);
    /// Pages that are free.
    fn free_pages(&self) -> u64;

    /// Page number of the first page of `run`.
    fn page_number(&self, run: &Self::Run) -> u64;
    /// Copies from `run`, starting `offset` bytes into it. The caller keeps within the run.
    fn read(&self, run: &Self::Run, offset: usize, buf: &mut [u8]);
    /// Copies to `run`, starting `offset` bytes into it. The caller keeps within the run.
    fn write(&mut self, run: &mut Self::Run, offset: usize, data: &[u8]);

    /// Hands a page to the hypervisor: its number, which [`RootMemory::take_back`] knows.
    fn give_away(&mut self, page: Self::Run) -> u64;
    /// A page that was given away is the root's again. False: it never was given away.
    fn take_back(&mut self, page_number: u64) -> bool;

    /// Page number of the page that `bytes` starts, if it is a whole page and can be mapped into children read-only.
    fn shared_page(&self, bytes: &[u8]) -> Option<u64>;
}

/// What is behind a page below `free_start`.
enum LowPage<R> {
    Nothing,
    Private(R),
    Shared(&'static [u8]),
}

/// The window in which files appear: pages of the lower layer, read-only, slot by slot.
struct FileWindow<'t> {
    start: u64,
    slots: Vec<Option<&'t [u8]>>,
    /// How many slots there may be.
    limit: usize,
    /// What the partition does not have yet.
    changes: Vec<WindowChange>,
}

/// A change of the window that has to be made in the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowChange {
    /// Pages of the root, by number, appear from this GPA page number on.
    Show {
        /// First GPA page number.
        target: u64,
        /// The root's pages.
        sources: Vec<u64>,
    },
    /// Pages disappear.
    Hide {
        /// First GPA page number.
        target: u64,
        /// How many.
        count: u64,
    },
}

impl<'t> FileWindow<'t> {
    fn new(window: &Range<u64>) -> Self {
        let limit = usize::try_from((window.end - window.start) / WINDOW_SLOT).unwrap_or(0);
        Self { start: window.start, slots: Vec::new(), limit, changes: Vec::new() }
    }

    /// The slot that starts at `offset`, made if need be.
    fn slot(&mut self, offset: u64) -> Result<&mut Option<&'t [u8]>, Errno> {
        let number = usize::try_from(offset / WINDOW_SLOT).map_err(|_| Errno::EINVAL)?;
        if !offset.is_multiple_of(WINDOW_SLOT) || number >= self.limit {
            return Err(Errno::EINVAL);
        }
        if number >= self.slots.len() {
            self.slots.try_reserve(number + 1 - self.slots.len()).map_err(|_| Errno::ENOSPC)?;
            self.slots.resize(number + 1, None);
        }
        self.slots.get_mut(number).ok_or(Errno::EINVAL)
    }

    /// What `gpa` shows, with the offset into it.
    fn find(&self, gpa: u64) -> Option<(&'t [u8], usize)> {
        let offset = gpa.checked_sub(self.start)?;
        let slot = self.slots.get(usize::try_from(offset / WINDOW_SLOT).ok()?)?;
        Some(((*slot)?, usize::try_from(offset % WINDOW_SLOT).ok()?))
    }
}

/// The pages of one child. Through [`ChildMemory::view`] it is a [`GuestMemory`].
pub struct ChildMemory<'t, R: RootMemory> {
    low: Vec<LowPage<R::Run>>,
    blocks: Vec<Option<R::Run>>,
    free_start: u64,
    /// Blocks that are backed, but not yet mapped into the partition.
    pending: Vec<usize>,
    /// The block behind the last one that a touch has backed, and how many touches have followed each other like that.
    next_touch: usize,
    touches_in_order: usize,
    pages: u64,
    low_pages: u64,
    /// Most pages that there may be.
    limit: u64,
    window: FileWindow<'t>,
    _root: PhantomData<R>,
}

/// How many touches in order win one more block at a time, and the most blocks that are backed at a time.
const TOUCHES_A_BLOCK: usize = 8;
const MOST_AHEAD: usize = 16;

/// Why a page could not be put into a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// The root has no free page.
    OutOfMemory,
    /// The child has as much as it may have.
    Limit,
    /// The address is not where such a page may be, or something is there.
    BadAddress,
}

/// Where an address leads.
enum Place<'m, R> {
    Run(&'m R, usize),
    Shared(&'m [u8], usize),
}

impl<'t, R: RootMemory> ChildMemory<'t, R> {
    /// No pages yet; addresses below `free_end` (both block aligned), and behind them `window` (whole slots) for files.
    #[must_use]
    pub fn new(free_start: u64, free_end: u64, window: &Range<u64>) -> Self {
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
        let mut low = Vec::new();
        low.resize_with(count(free_start / PAGE_SIZE), || LowPage::Nothing);
        let mut blocks = Vec::new();
        blocks.resize_with(count(free_end.saturating_sub(free_start) / BLOCK_SIZE), || None);
        let window = FileWindow::new(window);
        Self {
            low,
            blocks,
            free_start,
            pending: Vec::new(),
            next_touch: 0,
            touches_in_order: 0,
            pages: 0,
            low_pages: 0,
            limit: u64::MAX,
            window,
            _root: PhantomData,
        }
    }

    /// This memory as a [`GuestMemory`].
    pub fn view<'m>(&'m mut self, root: &'m mut R) -> View<'m, 't, R> {
        View { child: self, root }
    }

    /// Pages of the root that only this child has.
    #[must_use]
    pub fn private_pages(&self) -> u64 {
        self.pages
    }

    /// Puts a page of zeros at `gpa`, below `free_start`. Its page number.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn place_private(&mut self, gpa: u64, root: &mut R) -> Result<u64, PlaceError> {
        let slot = self.empty_low(gpa)?;
        let page = root.allocate_page().ok_or(PlaceError::OutOfMemory)?;
        let number = root.page_number(&page);
        *slot = LowPage::Private(page);
        self.pages += 1;
        self.low_pages += 1;
        Ok(number)
    }

    /// Puts the page `bytes` at `gpa`, below `free_start`, to be read only. Its page number.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn place_shared(&mut self, gpa: u64, bytes: &'static [u8], root: &R) -> Result<u64, PlaceError> {
        let slot = self.empty_low(gpa)?;
        let number = root.shared_page(bytes).ok_or(PlaceError::BadAddress)?;
        *slot = LowPage::Shared(bytes);
        Ok(number)
    }

    /// The private page at `gpa`, below `free_start`.
    #[inline]
    pub fn private_page(&mut self, gpa: u64) -> Option<&mut R::Run> {
        match self.low.get_mut(usize::try_from(gpa / PAGE_SIZE).ok()?)? {
            LowPage::Private(page) => Some(page),
            LowPage::Nothing | LowPage::Shared(_) => None,
        }
    }

    /// The block of free memory that `gpa` is in.
    #[must_use]
    pub fn block_of(&self, gpa: u64) -> Option<usize> {
        let index = usize::try_from(gpa.checked_sub(self.free_start)? / BLOCK_SIZE).ok()?;
        (index < self.blocks.len()).then_some(index)
    }

    /// Whether a block is backed already.
    #[must_use]
    pub fn is_backed(&self, block: usize) -> bool {
        matches!(self.blocks.get(block), Some(Some(_)))
    }

    /// Backs a block with zeros, if it is not backed yet, and notes that it has to be mapped.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn back(&mut self, block: usize, root: &mut R) -> Result<(), PlaceError> {
        let slot = self.blocks.get_mut(block).ok_or(PlaceError::BadAddress)?;
        if slot.is_none() {
            if self.pages.saturating_add(BLOCK_PAGES) > self.limit {
                return Err(PlaceError::Limit);
            }
            *slot = Some(root.allocate_block().ok_or(PlaceError::OutOfMemory)?);
            self.pages += BLOCK_PAGES;
            self.pending.push(block);
        }
        Ok(())
    }

    /// Lets the child have so many pages from now on, those included that it has.
    pub fn set_limit(&mut self, pages: u64) {
        self.limit = pages;
    }

    /// Those of [`ChildMemory::private_pages`] that are below the free memory.
    #[must_use]
    pub fn low_pages(&self) -> u64 {
        self.low_pages
    }

    /// Backs the block that the child has touched. One that touches block after block gets more than it touched, up to
    /// [`MOST_AHEAD`] blocks at a time: so that it does not stop for each.
    ///
    /// # Errors
    /// [`PlaceError`], for the block itself.
    pub fn touched(&mut self, block: usize, root: &mut R) -> Result<(), PlaceError> {
        self.back(block, root)?;
        self.touches_in_order = if block == self.next_touch { self.touches_in_order.saturating_add(1) } else { 0 };
        // Under a limit, what is not used would be lacking elsewhere.
        let most = if self.limit == u64::MAX { MOST_AHEAD } else { 1 };
        let count = (self.touches_in_order / TOUCHES_A_BLOCK).clamp(1, most);
        self.next_touch = block.saturating_add(count);
        for ahead in block.saturating_add(1)..self.next_touch {
            // What was not asked for may fail.
            if self.back(ahead, root).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The changes of the file window that the partition does not have yet, in their order.
    pub fn take_window_changes(&mut self) -> Vec<WindowChange> {
        core::mem::take(&mut self.window.changes)
    }

    /// Whether blocks wait to be mapped.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Blocks that have to be mapped and follow each other: their first GPA page number, and the numbers of their pages in
    /// the root.
    pub fn take_pending(&mut self, root: &R) -> Option<(u64, Vec<u64>)> {
        self.pending.sort_unstable();
        let first = *self.pending.first()?;
        let count = self.pending.iter().zip(first..).take_while(|(block, next)| **block == *next).count();
        let mut sources = Vec::new();
        for block in self.pending.drain(..count) {
            let page = root.page_number(self.blocks.get(block)?.as_ref()?);
            sources.extend(page..page + BLOCK_PAGES);
        }
        Some((self.free_start / PAGE_SIZE + u64::try_from(first).ok()? * BLOCK_PAGES, sources))
    }

    /// Gives everything back to the root. The partition must be gone, or have nothing of it mapped any more.
    pub fn release(self, root: &mut R) {
        for page in self.low {
            if let LowPage::Private(page) = page {
                root.free(page);
            }
        }
        for block in self.blocks.into_iter().flatten() {
            root.free(block);
        }
    }

    fn empty_low(&mut self, gpa: u64) -> Result<&mut LowPage<R::Run>, PlaceError> {
        if !gpa.is_multiple_of(PAGE_SIZE) {
            return Err(PlaceError::BadAddress);
        }
        let index = usize::try_from(gpa / PAGE_SIZE).map_err(|_| PlaceError::BadAddress)?;
        match self.low.get_mut(index) {
            Some(slot @ LowPage::Nothing) => Ok(slot),
            _ => Err(PlaceError::BadAddress),
        }
    }

    /// Where `gpa` leads, with the offset into that.
    fn find(&self, gpa: u64) -> Option<Place<'_, R::Run>> {
        if let Some(block) = self.block_of(gpa) {
            let offset = usize::try_from((gpa - self.free_start) % BLOCK_SIZE).ok()?;
            return Some(Place::Run(self.blocks.get(block)?.as_ref()?, offset));
        }
        if let Some((bytes, offset)) = self.window.find(gpa) {
            return Some(Place::Shared(bytes, offset));
        }
        let offset = usize::try_from(gpa % PAGE_SIZE).ok()?;
        match self.low.get(usize::try_from(gpa / PAGE_SIZE).ok()?)? {
            LowPage::Nothing => None,
            LowPage::Private(page) => Some(Place::Run(page, offset)),
            LowPage::Shared(bytes) => Some(Place::Shared(bytes, offset)),
        }
    }

    /// The run behind `gpa` to write to, with the offset into it.
    fn find_mut(&mut self, gpa: u64) -> Option<(&mut R::Run, usize)> {
        if let Some(block) = self.block_of(gpa) {
            let offset = usize::try_from((gpa - self.free_start) % BLOCK_SIZE).ok()?;
            return Some((self.blocks.get_mut(block)?.as_mut()?, offset));
        }
        let offset = usize::try_from(gpa % PAGE_SIZE).ok()?;
        Some((self.private_page(gpa)?, offset))
    }
}

/// A child's memory together with the root's, to read and write it.
pub struct View<'m, 't, R: RootMemory> {
    child: &'m mut ChildMemory<'t, R>,
    root: &'m mut R,
}

impl<'t, R: RootMemory> Window<'t> for View<'_, 't, R> {
    fn show(&mut self, offset: u64, pages: &'t [u8]) -> Result<(), Errno> {
        let whole = !pages.is_empty() && pages.len() as u64 <= WINDOW_SLOT && pages.len().is_multiple_of(PAGE);
        let slot = self.child.window.slot(offset)?;
        if !whole {
            return Err(Errno::EINVAL);
        }
        if slot.is_some() {
            return Err(Errno::EEXIST);
        }
        // Pages that are shown cost nothing of their own, but tables: there has to be room for these.
        if self.child.pages.saturating_add(BLOCK_PAGES) > self.child.limit {
            return Err(Errno::ENOSPC);
        }
        let sources = pages.chunks(PAGE).map(|page| self.root.shared_page(page)).collect::<Option<Vec<_>>>();
        let sources = sources.ok_or(Errno::EOPNOTSUPP)?;
        *slot = Some(pages);
        let target = (self.child.window.start + offset) / PAGE_SIZE;
        self.child.window.changes.push(WindowChange::Show { target, sources });
        Ok(())
    }

    fn hide(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        let slot = self.child.window.slot(offset)?;
        slot.take_if(|pages| pages.len() as u64 == len).ok_or(Errno::EINVAL)?;
        let target = (self.child.window.start + offset) / PAGE_SIZE;
        self.child.window.changes.push(WindowChange::Hide { target, count: len / PAGE_SIZE });
        Ok(())
    }
}

impl<R: RootMemory> GuestMemory for View<'_, '_, R> {
    fn read(&self, gpa: Gpa, buf: &mut [u8]) -> Result<(), NotMapped> {
        let not_mapped = NotMapped { gpa };
        let mut at = gpa.0;
        let mut rest = buf;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(bytes_in_page(at, rest.len()));
            match self.child.find(at) {
                Some(Place::Run(run, offset)) => self.root.read(run, offset, now),
                Some(Place::Shared(bytes, offset)) => {
                    now.copy_from_slice(bytes.get(offset..offset + now.len()).ok_or(not_mapped)?);
                }
                // Free memory that nobody has touched is zeros, and stays untouched.
                None if self.child.block_of(at).is_some() => now.fill(0),
                None => return Err(not_mapped),
            }
            at = step(at, now.len()).ok_or(not_mapped)?;
            rest = later;
        }
        Ok(())
    }

    fn write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), NotMapped> {
        let not_mapped = NotMapped { gpa };
        let mut at = gpa.0;
        let mut rest = data;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(bytes_in_page(at, rest.len()));
            if let Some(block) = self.child.block_of(at) {
                // The shim may hand a page to a service that it has not touched itself.
                self.child.back(block, self.root).map_err(|_| not_mapped)?;
            }
            let (run, offset) = self.child.find_mut(at).ok_or(not_mapped)?;
            self.root.write(run, offset, now);
            at = step(at, now.len()).ok_or(not_mapped)?;
            rest = later;
        }
        Ok(())
    }
}

/// `at` plus `len`; the very end of the address space has no memory.
fn step(at: u64, len: usize) -> Option<u64> {
    at.checked_add(u64::try_from(len).ok()?)
}

#[cfg(test)]
pub(crate) mod tests;
