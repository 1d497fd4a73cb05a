//! brk, mmap and what changes mappings.

use alloc::rc::Rc;

use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::file::{FileKind, OpenFile};
use crate::kernel::Kernel;
use crate::mm::space::{Access, AddressSpace, Area, Backing, MIN_ADDRESS, Prot, Source};
use crate::num::{page_down, page_up};
use crate::platform::{PAGE, Platform};
use proto::layout::USER_END_VA;

/// A page range from an address and a length that a program gave.
fn range(address: u64, len: u64) -> Result<(u64, u64), Errno> {
    let len = page_up(len).ok_or(Errno::ENOMEM)?;
    let end = address.checked_add(len).filter(|&end| end <= USER_END_VA).ok_or(Errno::ENOMEM)?;
    Ok((address, end))
}

pub(super) fn brk<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let wanted = args.get(0);
    let available = kernel.frames.available();
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    let (now, Some(new_end)) = (space.brk, page_up(wanted)) else { return Ok(space.brk) };
    if wanted < space.brk_start || new_end > USER_END_VA {
        return Ok(now);
    }
    if space.reserve_areas().is_err() {
        return Ok(now);
    }
    let old_end = page_up(now).unwrap_or(now);
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
    if len == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let len = page_up(len).filter(|&len| len <= USER_END_VA).ok_or(Errno::ENOMEM)?;
    let shared = match flags & raw::MAP_TYPE {
        raw::MAP_PRIVATE => false,
        raw::MAP_SHARED | raw::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL.into()),
    };
    let prot = Prot(prot & (Prot::READ | Prot::WRITE | Prot::EXEC));
    let backing = if flags & raw::MAP_ANONYMOUS != 0 {
        let reserve = flags & raw::MAP_NORESERVE == 0 && prot.0 & Prot::WRITE != 0;
        if reserve && len > kernel.frames.total() {
            return Err(Errno::ENOMEM.into());
        }
        Backing::Anonymous
    } else {
        offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
        let file = kernel.file(fd)?;
        file_backing(&file, prot, shared, offset)?
    };
    let fixed = flags & (raw::MAP_FIXED | raw::MAP_FIXED_NOREPLACE) != 0;
    let start = place(kernel, hint, len, flags, fixed)?;
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    let end = start + len;
    if fixed {
        space.unmap(&mut source, start, end);
    }
    space.insert(Area { shared, ..Area::new(start, end, prot, backing) });
    if flags & raw::MAP_POPULATE != 0 {
        for page in (start..end).step_by(crate::platform::PAGE_SIZE) {
            if space.touch(&mut source, page, Access::Read).is_err() {
                break;
            }
        }
    }
    Ok(start)
}

/// Where a mapping goes.
fn place<P: Platform>(kernel: &Kernel<P>, hint: u64, len: u64, flags: u32, fixed: bool) -> Result<u64, Errno> {
    let space = kernel.task.space.borrow();
    let end = hint.checked_add(len).filter(|&end| end <= USER_END_VA);
    if fixed {
        if !hint.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let end = end.ok_or(Errno::ENOMEM)?;
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
    space.find_free(len).ok_or(Errno::ENOMEM)
}

fn file_backing(file: &Rc<OpenFile>, prot: Prot, shared: bool, offset: u64) -> Result<Backing, Stop> {
    match &file.kind {
        FileKind::Regular { .. } => {}
        FileKind::Device(crate::fs::dev::Device::Zero) => return Ok(Backing::Anonymous),
        FileKind::Path => return Err(Errno::EBADF.into()),
        FileKind::Directory { .. } | FileKind::Listing(_) => return Err(Errno::EACCES.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    if !file.readable() {
        return Err(Errno::EACCES.into());
    }
    if shared && prot.0 & Prot::WRITE != 0 {
        // Pages of a file are copies here: what is written to them would not reach the file.
        return Err(if file.writable() { Stop::NotImplemented } else { Errno::EACCES.into() });
    }
    Ok(Backing::File { file: Rc::clone(file), offset, limit: u64::MAX })
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
    let (address, len, prot) = (args.get(0), args.get(1), args.uint(2));
    if !address.is_multiple_of(PAGE) || prot & !(Prot::READ | Prot::WRITE | Prot::EXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len)?;
    if start == end {
        return Ok(0);
    }
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    if !space.is_mapped(start, end) {
        return Err(Errno::ENOMEM.into());
    }
    let shared_file = |area: &&Area| {
        area.shared && matches!(area.backing, Backing::File { .. }) && area.start < end && area.end > start
    };
    if prot & Prot::WRITE != 0 && space.areas().iter().any(|area| shared_file(&area)) {
        return Err(Stop::NotImplemented);
    }
    space.protect(&mut source, start, end, Prot(prot));
    Ok(0)
}

pub(super) fn mremap<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, old_len, new_len, flags, target) = (args.get(0), args.get(1), args.get(2), args.uint(3), args.get(4));
    if flags & raw::MREMAP_DONTUNMAP != 0 {
        return Err(Stop::NotImplemented);
    }
    let may_move = flags & raw::MREMAP_MAYMOVE != 0;
    let fixed = flags & raw::MREMAP_FIXED != 0;
    if !address.is_multiple_of(PAGE) || new_len == 0 || old_len == 0 || (fixed && !may_move) {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, old_len).map_err(|_| Errno::EINVAL)?;
    let new_len = page_up(new_len).filter(|&len| len <= USER_END_VA).ok_or(Errno::ENOMEM)?;
    let most = kernel.frames.total();
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    if space.area(start).is_none_or(|area| area.end < end) {
        return Err(Errno::EFAULT.into());
    }
    if new_len.saturating_sub(end - start) > most {
        return Err(Errno::ENOMEM.into());
    }
    if fixed {
        make_way(&mut space, &mut source, (start, end), target, new_len)?;
    } else if resize(&mut space, &mut source, (start, end), new_len) {
        return Ok(start);
    } else if !may_move {
        return Err(Errno::ENOMEM.into());
    }
    let target = if fixed { target } else { space.find_free(new_len).ok_or(Errno::ENOMEM)? };
    space.relocate(&mut source, start, end - start, target, new_len)?;
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

pub(super) fn madvise<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len, advice) = (args.get(0), args.get(1), args.uint(2));
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len).map_err(|_| Errno::EINVAL)?;
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    if !space.is_mapped(start, end) {
        return Err(Errno::ENOMEM.into());
    }
    match advice {
        raw::MADV_DONTNEED => {
            space.discard(&mut source, start, end);
            Ok(0)
        }
        raw::MADV_NORMAL
        | raw::MADV_RANDOM
        | raw::MADV_SEQUENTIAL
        | raw::MADV_WILLNEED
        | raw::MADV_FREE
        | raw::MADV_MERGEABLE
        | raw::MADV_UNMERGEABLE
        | raw::MADV_HUGEPAGE
        | raw::MADV_NOHUGEPAGE
        | raw::MADV_DONTDUMP
        | raw::MADV_DODUMP
        | raw::MADV_COLD
        | raw::MADV_PAGEOUT => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn msync<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len, flags) = (args.get(0), args.get(1), args.uint(2));
    let known = raw::MS_ASYNC | raw::MS_SYNC | raw::MS_INVALIDATE;
    let both = raw::MS_ASYNC | raw::MS_SYNC;
    if !address.is_multiple_of(PAGE) || flags & !known != 0 || flags & both == both {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len)?;
    let mapped = kernel.task.space.borrow().is_mapped(start, end);
    if mapped { Ok(0) } else { Err(Errno::ENOMEM.into()) }
}
