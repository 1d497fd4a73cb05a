//! brk, mmap and what changes mappings.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::fs::dev::Device;
use crate::fs::file::{FileKind, OpenFile};
use crate::kernel::Kernel;
use crate::mm::area::{Access, Area, AreaFlags, Backing, Prot};
use crate::mm::object::Object;
use crate::mm::space::{AddressSpace, MIN_ADDRESS, Source};
use crate::num::{low32, page_down, page_up};
use crate::platform::{PAGE, PAGE_SIZE, Platform};
use proto::layout::USER_END_VA;

/// Where MAP_32BIT mappings end.
const LOW_TOP: u64 = 0x8000_0000;
/// The rights that there are.
const RIGHTS: u32 = Prot::READ | Prot::WRITE | Prot::EXEC;
/// PROT_SEM: allowed, without effect on x86.
const PROT_SEM: u32 = 8;
/// Flags that MAP_SHARED_VALIDATE accepts.
const VALIDATED: u32 = raw::MAP_SHARED_VALIDATE
    | raw::MAP_FIXED
    | raw::MAP_ANONYMOUS
    | raw::MAP_DENYWRITE
    | raw::MAP_EXECUTABLE
    | raw::MAP_UNINITIALIZED
    | raw::MAP_GROWSDOWN
    | raw::MAP_LOCKED
    | raw::MAP_NORESERVE
    | raw::MAP_POPULATE
    | raw::MAP_NONBLOCK
    | raw::MAP_STACK
    | raw::MAP_HUGETLB
    | raw::MAP_32BIT
    | raw::MAP_FIXED_NOREPLACE;

/// A page range from an address and a length that a program gave.
pub(super) fn range(address: u64, len: u64) -> Result<(u64, u64), Errno> {
    let len = page_up(len).ok_or(Errno::ENOMEM)?;
    let end = address.checked_add(len).filter(|&end| end <= USER_END_VA).ok_or(Errno::ENOMEM)?;
    Ok((address, end))
}

impl<P: Platform> Kernel<P> {
    /// May the process have `more` bytes of mappings, of which `data` are its own to write to?
    fn may_map(&self, more: u64, data: bool) -> Result<(), Errno> {
        let limit = self.limit(raw::RLIMIT_AS);
        let space = self.task.space.borrow();
        if limit != u64::MAX && space.sum(|_| true).saturating_add(more) > limit {
            return Err(Errno::ENOMEM);
        }
        let limit = self.limit(raw::RLIMIT_DATA);
        if data && limit != u64::MAX && space.sum(is_data).saturating_add(more) > limit {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// May the process lock `more` bytes beside what it has locked?
    ///
    /// # Errors
    /// EPERM when it may lock nothing, else `too_much`.
    pub(super) fn may_lock(&self, more: u64, too_much: Errno) -> Result<(), Errno> {
        if self.task.process.borrow().uid[1] == 0 {
            return Ok(());
        }
        match self.limit(raw::RLIMIT_MEMLOCK) {
            0 => Err(Errno::EPERM),
            limit if self.task.space.borrow().locked().saturating_add(more) > limit => Err(too_much),
            _ => Ok(()),
        }
    }
}

/// What RLIMIT_DATA counts: private memory that can be written to and is no stack.
fn is_data(area: &Area) -> bool {
    !area.shared && !area.grows_down && area.prot.0 & Prot::WRITE != 0
}

pub(super) fn brk<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let wanted = args.get(0);
    let available = kernel.frames.available();
    let (now, start) = {
        let space = kernel.task.space.borrow();
        (space.brk, space.brk_start)
    };
    let Some(new_end) = page_up(wanted) else { return Ok(now) };
    if wanted < start || new_end > USER_END_VA {
        return Ok(now);
    }
    let old_end = page_up(now).unwrap_or(now);
    if new_end > old_end && kernel.may_map(new_end - old_end, true).is_err() {
        return Ok(now);
    }
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    if space.reserve_areas().is_err() {
        return Ok(now);
    }
    if new_end > old_end {
        if new_end - old_end > available || !space.is_free(old_end, new_end.saturating_add(PAGE)) {
            return Ok(now);
        }
        space.insert(Area::new(old_end, new_end, Prot(Prot::READ | Prot::WRITE), Backing::Anonymous));
    } else if new_end < old_end {
        space.unmap(&mut source, new_end, old_end);
    }
    space.brk = wanted;
    Ok(wanted)
}

pub(super) fn mmap<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (hint, len, prot, flags, fd, offset) =
        (args.get(0), args.get(1), args.uint(2), args.uint(3), args.int(4), args.get(5));
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let anonymous = flags & raw::MAP_ANONYMOUS != 0;
    let file = if anonymous { None } else { Some(kernel.file(fd)?) };
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = page_up(len).filter(|&len| len <= USER_END_VA).ok_or(Errno::ENOMEM)?;
    offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
    if flags & raw::MAP_HUGETLB != 0 {
        // There are no huge pages to make it of.
        return Err(if anonymous { Errno::ENOMEM } else { Errno::EINVAL }.into());
    }
    let shared = is_shared(args.get(3), file.is_some())?;
    let prot = Prot(prot & RIGHTS);
    let start = place(kernel, hint, len, flags)?;
    let lock = flags & raw::MAP_LOCKED != 0 || kernel.task.space.borrow().lock_future;
    if lock {
        kernel.may_lock(len, Errno::EAGAIN)?;
    }
    let backing = match &file {
        Some(file) => file_backing(kernel, file, prot, shared, offset, len)?,
        None if shared => zeros(kernel, len),
        None => Backing::Anonymous,
    };
    let grows_down = flags & raw::MAP_GROWSDOWN != 0;
    if grows_down && (shared || file.is_some()) {
        return Err(Errno::EINVAL.into());
    }
    let data = !shared && prot.0 & Prot::WRITE != 0;
    let counted = file.is_none() && (data || shared) && flags & raw::MAP_NORESERVE == 0;
    if counted && len > kernel.frames.total() {
        return Err(Errno::ENOMEM.into());
    }
    kernel.may_map(len, data)?;
    let mut area = Area { shared, grows_down, ..Area::new(start, start + len, prot, backing) };
    area.flags.0 |= if lock { AreaFlags::LOCKED } else { 0 };
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    if is_fixed(flags) {
        space.unmap(&mut source, start, start + len);
    }
    space.insert(area);
    if lock || flags & (raw::MAP_POPULATE | raw::MAP_NONBLOCK) == raw::MAP_POPULATE {
        // What cannot be had now is a matter for when it is touched.
        let _ = populate(&mut space, &mut source, start, start + len);
    }
    Ok(start)
}

/// MAP_SHARED or MAP_PRIVATE?
fn is_shared(flags: u64, of_file: bool) -> Result<bool, Errno> {
    match low32(flags) & raw::MAP_TYPE {
        raw::MAP_PRIVATE => Ok(false),
        raw::MAP_SHARED => Ok(true),
        raw::MAP_SHARED_VALIDATE if of_file && flags & !u64::from(VALIDATED) != 0 => Err(Errno::EOPNOTSUPP),
        raw::MAP_SHARED_VALIDATE if of_file => Ok(true),
        _ => Err(Errno::EINVAL),
    }
}

fn is_fixed(flags: u32) -> bool {
    flags & (raw::MAP_FIXED | raw::MAP_FIXED_NOREPLACE) != 0
}

/// Brings in all pages of [`start`, `end`), to be written if that is what they are for.
///
/// # Errors
/// As the first touch that fails.
pub(super) fn populate<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    start: u64,
    end: u64,
) -> Result<(), Errno> {
    let mut at = start;
    while at < end {
        let area = space.area(at).ok_or(Errno::ENOMEM)?;
        let stop = area.end.min(end);
        let access = if !area.shared && area.prot.0 & Prot::WRITE != 0 { Access::Write } else { Access::Read };
        if area.prot.0 != 0 {
            for page in (at..stop).step_by(PAGE_SIZE) {
                space.touch(source, page, access)?;
            }
        }
        at = stop;
    }
    Ok(())
}

/// Where a mapping goes.
fn place<P: Platform>(kernel: &Kernel<P>, hint: u64, len: u64, flags: u32) -> Result<u64, Errno> {
    let space = kernel.task.space.borrow();
    let end = hint.checked_add(len).filter(|&end| end <= USER_END_VA);
    if is_fixed(flags) {
        let end = end.ok_or(Errno::ENOMEM)?;
        if !hint.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if hint < MIN_ADDRESS {
            return Err(Errno::EPERM);
        }
        if flags & raw::MAP_FIXED_NOREPLACE != 0 && !space.is_free(hint, end) {
            return Err(Errno::EEXIST);
        }
        return Ok(hint);
    }
    let hint = page_down(hint);
    if hint >= MIN_ADDRESS && hint.checked_add(len).is_some_and(|end| end <= USER_END_VA && space.is_free(hint, end)) {
        return Ok(hint);
    }
    let found = if flags & raw::MAP_32BIT == 0 { space.find_free(len) } else { space.find_free_below(len, LOW_TOP) };
    found.ok_or(Errno::ENOMEM)
}

/// Shared memory without a file.
fn zeros<P: Platform>(kernel: &Kernel<P>, len: u64) -> Backing {
    let object = Object::zeros(len, b"/dev/zero (deleted)", &kernel.frames);
    Backing::Object { object, offset: 0, writable: true }
}

fn file_backing<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &Rc<OpenFile>,
    prot: Prot,
    shared: bool,
    offset: u64,
    len: u64,
) -> Result<Backing, Errno> {
    if matches!(file.kind, FileKind::Path) {
        return Err(Errno::EBADF);
    }
    if !file.readable() || (shared && prot.0 & Prot::WRITE != 0 && !file.writable()) {
        return Err(Errno::EACCES);
    }
    match &file.kind {
        FileKind::Regular { .. } if shared => {
            let object = Object::of_file(file, &kernel.fuse, &kernel.frames).ok_or(Errno::ENODEV)?;
            Ok(Backing::Object { object, offset, writable: file.writable() })
        }
        FileKind::Regular { .. } => Ok(Backing::File { file: Rc::clone(file), offset, limit: u64::MAX }),
        FileKind::Memory(memory) => {
            let sealed = memory.object.seals() & (raw::F_SEAL_WRITE | raw::F_SEAL_FUTURE_WRITE) != 0;
            if sealed && shared && prot.0 & Prot::WRITE != 0 {
                return Err(Errno::EPERM);
            }
            let writable = !shared || (file.writable() && !sealed);
            Ok(Backing::Object { object: Rc::clone(&memory.object), offset, writable })
        }
        FileKind::Device(Device::Zero) if shared => Ok(zeros(kernel, len)),
        FileKind::Device(Device::Zero) => Ok(Backing::Anonymous),
        _ => Err(Errno::ENODEV),
    }
}

pub(super) fn munmap<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len) = (args.get(0), args.get(1));
    if !address.is_multiple_of(PAGE) || len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len).map_err(|_| Errno::EINVAL)?;
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    space.unmap(&mut source, start, end);
    Ok(0)
}

pub(super) fn mprotect<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len, prot) = (args.get(0), args.get(1), args.get(2));
    let grows = args.uint(2) & (raw::PROT_GROWSDOWN | raw::PROT_GROWSUP);
    let prot = prot & !u64::from(grows);
    if grows.count_ones() == 2 || !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    let (mut start, end) = range(address, len)?;
    if prot & !u64::from(RIGHTS | PROT_SEM) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let prot = Prot(args.uint(2) & RIGHTS);
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    if grows != 0 {
        let area = space.area(start).ok_or(Errno::ENOMEM)?;
        if grows == raw::PROT_GROWSUP || !area.grows_down {
            return Err(Errno::EINVAL.into());
        }
        start = area.start;
    }
    // What comes before the first area that cannot have the rights gets them, as on Linux.
    let mut reached = start;
    let mut refused = None;
    for (_, stop, area) in space.parts(start, end) {
        if prot.0 & Prot::WRITE != 0 && !area.may_be_written() {
            refused = Some(Errno::EACCES);
            break;
        }
        reached = stop;
    }
    if reached > start {
        space.protect(&mut source, start, reached, prot);
    }
    match refused {
        Some(errno) => Err(errno.into()),
        None if reached < end => Err(Errno::ENOMEM.into()),
        None => Ok(0),
    }
}

pub(super) fn mremap<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, old_len, new_len, target) = (args.get(0), args.get(1), args.get(2), args.get(4));
    let flags = args.long_flags(3)?;
    let known = raw::MREMAP_MAYMOVE | raw::MREMAP_FIXED | raw::MREMAP_DONTUNMAP;
    let may_move = flags & raw::MREMAP_MAYMOVE != 0;
    let fixed = flags & raw::MREMAP_FIXED != 0;
    let keep = flags & raw::MREMAP_DONTUNMAP != 0;
    if flags & !known != 0 || ((fixed || keep) && !may_move) || (keep && old_len != new_len) {
        return Err(Errno::EINVAL.into());
    }
    if !address.is_multiple_of(PAGE) || new_len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, old_len).map_err(|_| Errno::EINVAL)?;
    let new_len = page_up(new_len).filter(|&len| len <= USER_END_VA).ok_or(Errno::ENOMEM)?;
    let most = kernel.frames.total();
    let old_len = end - start;
    let data = {
        let space = kernel.task.space.borrow();
        let area = space.area(start).ok_or(Errno::EFAULT)?;
        if old_len == 0 && !area.shared {
            return Err(Errno::EINVAL.into());
        }
        if area.end < end || matches!(area.backing, Backing::Fixed) && new_len > old_len {
            return Err(Errno::EFAULT.into());
        }
        is_data(area)
    };
    let more = if keep { new_len } else { new_len.saturating_sub(old_len) };
    if data && more > most {
        return Err(Errno::ENOMEM.into());
    }
    kernel.may_map(more, data)?;
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    if fixed {
        make_way(&mut space, &mut source, (start, end), target, new_len)?;
    } else if old_len != 0 && !keep && resize(&mut space, &mut source, (start, end), new_len) {
        return Ok(start);
    } else if !may_move {
        return Err(Errno::ENOMEM.into());
    }
    let target = if fixed { target } else { space.find_free(new_len).ok_or(Errno::ENOMEM)? };
    if old_len == 0 {
        space.duplicate(start, target, new_len)?;
    } else {
        space.relocate(&mut source, start, old_len, target, new_len, keep)?;
    }
    Ok(target)
}

/// Frees [`target`, `target + len`) for the mapping that is at `from` now.
fn make_way<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    from: (u64, u64),
    target: u64,
    len: u64,
) -> Result<(), Errno> {
    let end = target.checked_add(len).filter(|&end| end <= USER_END_VA).ok_or(Errno::EINVAL)?;
    if !target.is_multiple_of(PAGE) || target < MIN_ADDRESS || (target < from.1 && from.0 < end) {
        return Err(Errno::EINVAL);
    }
    space.unmap(source, target, end);
    Ok(())
}

/// Makes the mapping shorter, or longer where it is; `false` when there is no room for that.
fn resize<P: Platform>(
    space: &mut AddressSpace,
    source: &mut Source<'_, P>,
    (start, end): (u64, u64),
    new_len: u64,
) -> bool {
    let new_end = start.saturating_add(new_len);
    if new_end <= end {
        space.unmap(source, new_end, end);
        return true;
    }
    let last = space.area(start).is_some_and(|area| area.end == end);
    let room = last && new_end <= USER_END_VA && space.is_free(end, new_end);
    if room {
        space.extend(end, new_end);
    }
    room
}
