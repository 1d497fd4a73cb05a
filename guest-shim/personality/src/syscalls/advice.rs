//! What a program says or asks about its memory without changing what is mapped: advice, residence, locks, barriers,
//! placement on nodes.

use alloc::rc::Rc;
use alloc::vec;

use linux_raw_sys::general as raw;

use super::Args;
use super::memory::{mprotect, populate, range};
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::mm::area::{Access, Area, AreaFlags, Backing};
use crate::num::index;
use crate::platform::{PAGE, PAGE_SIZE, Platform};
use proto::layout::USER_END_VA;

pub(super) fn madvise<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len, advice) = (args.get(0), args.get(1), args.uint(2));
    if !address.is_multiple_of(PAGE) || !is_advice(advice) {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len).map_err(|_| Errno::EINVAL)?;
    // Areas are advised one by one; a gap is told of at the end, as Linux does.
    let mut at = start;
    let mut gap = false;
    while at < end {
        let next = {
            let space = kernel.task.space.borrow();
            let area = space.first_area(at).filter(|area| area.start < end);
            area.map(|area| (area.start.max(at), area.end.min(end), area.clone()))
        };
        let Some((from, to, area)) = next else {
            gap = true;
            break;
        };
        gap |= from > at;
        advise(kernel, &area, from, to, advice)?;
        at = to;
    }
    if gap { Err(Errno::ENOMEM.into()) } else { Ok(0) }
}

fn is_advice(advice: u32) -> bool {
    matches!(
        advice,
        raw::MADV_NORMAL
            | raw::MADV_RANDOM
            | raw::MADV_SEQUENTIAL
            | raw::MADV_WILLNEED
            | raw::MADV_DONTNEED
            | raw::MADV_DONTNEED_LOCKED
            | raw::MADV_FREE
            | raw::MADV_REMOVE
            | raw::MADV_DONTFORK
            | raw::MADV_DOFORK
            | raw::MADV_MERGEABLE
            | raw::MADV_UNMERGEABLE
            | raw::MADV_HUGEPAGE
            | raw::MADV_NOHUGEPAGE
            | raw::MADV_DONTDUMP
            | raw::MADV_DODUMP
            | raw::MADV_WIPEONFORK
            | raw::MADV_KEEPONFORK
            | raw::MADV_COLD
            | raw::MADV_PAGEOUT
            | raw::MADV_POPULATE_READ
            | raw::MADV_POPULATE_WRITE
    )
}

/// Acts on advice for [`from`, `to`) of one area.
fn advise<P: Platform>(kernel: &mut Kernel<P>, area: &Area, from: u64, to: u64, advice: u32) -> Result<(), Errno> {
    let anonymous = matches!(area.backing, Backing::Anonymous) && !area.shared;
    let locked = area.flags.has(AreaFlags::LOCKED);
    let flags = |set: u32, clear: u32| move |flags: AreaFlags| AreaFlags(flags.0 & !clear | set);
    match advice {
        raw::MADV_DONTNEED | raw::MADV_FREE | raw::MADV_COLD | raw::MADV_PAGEOUT if locked => Err(Errno::EINVAL),
        raw::MADV_FREE if !anonymous => Err(Errno::EINVAL),
        raw::MADV_DONTNEED | raw::MADV_DONTNEED_LOCKED | raw::MADV_FREE => {
            // Lent pages (the vDSO's) could not be found again.
            if !matches!(area.backing, Backing::Fixed) {
                let (space, mut source) = kernel.memory();
                space.borrow_mut().discard(&mut source, from, to);
            }
            Ok(())
        }
        raw::MADV_REMOVE => remove(kernel, area, from, to),
        raw::MADV_POPULATE_READ | raw::MADV_POPULATE_WRITE => {
            let access = if advice == raw::MADV_POPULATE_WRITE { Access::Write } else { Access::Read };
            let (space, mut source) = kernel.memory();
            let mut space = space.borrow_mut();
            for page in (from..to).step_by(PAGE_SIZE) {
                space.touch(&mut source, page, access)?;
            }
            Ok(())
        }
        raw::MADV_WIPEONFORK if !anonymous => Err(Errno::EINVAL),
        raw::MADV_DONTFORK => set_flags(kernel, from, to, flags(AreaFlags::DONT_FORK, 0)),
        raw::MADV_DOFORK => set_flags(kernel, from, to, flags(0, AreaFlags::DONT_FORK)),
        raw::MADV_WIPEONFORK => set_flags(kernel, from, to, flags(AreaFlags::WIPE_ON_FORK, 0)),
        raw::MADV_KEEPONFORK => set_flags(kernel, from, to, flags(0, AreaFlags::WIPE_ON_FORK)),
        raw::MADV_DONTDUMP => set_flags(kernel, from, to, flags(AreaFlags::DONT_DUMP, 0)),
        raw::MADV_DODUMP => set_flags(kernel, from, to, flags(0, AreaFlags::DONT_DUMP)),
        _ => Ok(()),
    }
}

fn set_flags<P: Platform>(
    kernel: &Kernel<P>,
    start: u64,
    end: u64,
    change: impl Fn(AreaFlags) -> AreaFlags,
) -> Result<(), Errno> {
    let mut space = kernel.task.space.borrow_mut();
    space.reserve_areas()?;
    space.set_flags(start, end, change);
    Ok(())
}

/// MADV_REMOVE: a hole in the object behind the mapping.
fn remove<P: Platform>(kernel: &mut Kernel<P>, area: &Area, from: u64, to: u64) -> Result<(), Errno> {
    let Backing::Object { object, offset, .. } = &area.backing else { return Err(Errno::EINVAL) };
    if area.flags.has(AreaFlags::LOCKED) || object.is_file() {
        return Err(Errno::EINVAL);
    }
    if !area.shared || !area.may_be_written() {
        return Err(Errno::EACCES);
    }
    let start = offset + (from - area.start);
    let object = Rc::clone(object);
    kernel.punch_object(&object, start..start + (to - from));
    Ok(())
}

pub(super) fn mincore<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (start, len, mut out) = (args.get(0), args.get(1), args.get(2));
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(start, len)?;
    let mut at = start;
    while at < end {
        let stop = at.saturating_add(PAGE * PAGE).min(end);
        let mut answer = vec![0; index((stop - at) / PAGE)];
        {
            let space = kernel.task.space.borrow();
            if !space.is_mapped(at, stop) {
                return Err(Errno::ENOMEM.into());
            }
            for (byte, page) in answer.iter_mut().zip((at..stop).step_by(PAGE_SIZE)) {
                *byte = u8::from(space.is_resident(&kernel.platform, page));
            }
        }
        kernel.copy_out(out, &answer)?;
        out += answer.len() as u64;
        at = stop;
    }
    Ok(0)
}

pub(super) fn msync<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len, flags) = (args.get(0), args.get(1), args.uint(2));
    let known = raw::MS_ASYNC | raw::MS_SYNC | raw::MS_INVALIDATE;
    let both = raw::MS_ASYNC | raw::MS_SYNC;
    if !address.is_multiple_of(PAGE) || flags & !known != 0 || flags & both == both {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len)?;
    let (space, source) = kernel.memory();
    let space = space.borrow();
    let mut mapped = 0;
    for area in space.areas().iter().filter(|area| area.end > start && area.start < end) {
        let (from, to) = (area.start.max(start), area.end.min(end));
        mapped += to - from;
        if flags & raw::MS_INVALIDATE != 0 && area.flags.has(AreaFlags::LOCKED) {
            return Err(Errno::EBUSY.into());
        }
        if let (Backing::Object { object, offset, .. }, true, raw::MS_SYNC) = (&area.backing, area.shared, flags & both)
        {
            let from = offset + (from - area.start);
            let bytes = from..from + (to - area.start.max(start));
            object.write_back(source.fuse, source.platform, &bytes)?;
        }
    }
    if mapped == end - start { Ok(0) } else { Err(Errno::ENOMEM.into()) }
}

pub(super) fn mlock<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    lock(kernel, args.get(0), args.get(1), true)
}

pub(super) fn mlock2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(2);
    if flags & !raw::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL.into());
    }
    lock(kernel, args.get(0), args.get(1), flags & raw::MLOCK_ONFAULT == 0)
}

fn lock<P: Platform>(kernel: &mut Kernel<P>, address: u64, len: u64, now: bool) -> Outcome {
    let head = address % PAGE;
    let len = len.checked_add(head).ok_or(Errno::EINVAL)?;
    let (start, end) = range(address - head, len)?;
    let known: u64 = {
        let space = kernel.task.space.borrow();
        let locked = |area: &Area| area.flags.has(AreaFlags::LOCKED);
        space.parts(start, end).filter(|(_, _, area)| locked(area)).map(|(from, to, _)| to - from).sum()
    };
    kernel.may_lock((end - start).saturating_sub(known), Errno::ENOMEM)?;
    if !kernel.task.space.borrow().is_mapped(start, end) {
        return Err(Errno::ENOMEM.into());
    }
    set_flags(kernel, start, end, |flags| AreaFlags(flags.0 | AreaFlags::LOCKED))?;
    if now {
        let (space, mut source) = kernel.memory();
        populate(&mut space.borrow_mut(), &mut source, start, end).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(0)
}

pub(super) fn munlock<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len) = (args.get(0), args.get(1));
    let head = address % PAGE;
    let (start, end) = range(address - head, len.checked_add(head).ok_or(Errno::EINVAL)?)?;
    let mapped = kernel.task.space.borrow().is_mapped(start, end);
    set_flags(kernel, start, end, |flags| AreaFlags(flags.0 & !AreaFlags::LOCKED))?;
    if mapped { Ok(0) } else { Err(Errno::ENOMEM.into()) }
}

pub(super) fn mlockall<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(0);
    let known = raw::MCL_CURRENT | raw::MCL_FUTURE | raw::MCL_ONFAULT;
    if flags == 0 || flags & !known != 0 || flags == raw::MCL_ONFAULT {
        return Err(Errno::EINVAL.into());
    }
    if flags & raw::MCL_CURRENT != 0 {
        let (all, locked) = {
            let space = kernel.task.space.borrow();
            (space.sum(|_| true), space.locked())
        };
        kernel.may_lock(all - locked, Errno::ENOMEM)?;
        set_flags(kernel, 0, USER_END_VA, |flags| AreaFlags(flags.0 | AreaFlags::LOCKED))?;
    }
    kernel.task.space.borrow_mut().lock_future = flags & raw::MCL_FUTURE != 0;
    Ok(0)
}

pub(super) fn munlockall<P: Platform>(kernel: &mut Kernel<P>, _: &Args) -> Outcome {
    set_flags(kernel, 0, USER_END_VA, |flags| AreaFlags(flags.0 & !AreaFlags::LOCKED))?;
    kernel.task.space.borrow_mut().lock_future = false;
    Ok(0)
}

/// Without protection keys in the processor there is none to be had.
pub(super) fn pkey_alloc<P: Platform>(_: &mut Kernel<P>, args: &Args) -> Outcome {
    let rights = raw::PKEY_DISABLE_ACCESS | raw::PKEY_DISABLE_WRITE;
    let bad = args.get(0) != 0 || args.get(1) & !u64::from(rights) != 0;
    Err(if bad { Errno::EINVAL } else { Errno::ENOSPC }.into())
}

pub(super) fn pkey_free<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EINVAL.into())
}

pub(super) fn pkey_mprotect<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    if args.int(3) == -1 { mprotect(kernel, args) } else { Err(Errno::EINVAL.into()) }
}

pub(super) fn remap_file_pages<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EINVAL.into())
}

/// One processor, which serializes on every switch: whatever may be asked for holds already.
pub(super) fn membarrier<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    use raw::membarrier_cmd as cmd;
    const GLOBAL: u32 = cmd::MEMBARRIER_CMD_GLOBAL as u32;
    const GLOBAL_EXPEDITED: u32 = cmd::MEMBARRIER_CMD_GLOBAL_EXPEDITED as u32;
    const REGISTER_GLOBAL: u32 = cmd::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED as u32;
    const PRIVATE: u32 = cmd::MEMBARRIER_CMD_PRIVATE_EXPEDITED as u32;
    const REGISTER_PRIVATE: u32 = cmd::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as u32;
    const CORE: u32 = cmd::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE as u32;
    const REGISTER_CORE: u32 = cmd::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE as u32;
    const REGISTERS: u32 = REGISTER_GLOBAL | REGISTER_PRIVATE | REGISTER_CORE;
    let (command, flags) = (args.uint(0), args.uint(1));
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut space = kernel.task.space.borrow_mut();
    match command {
        0 => Ok(u64::from(GLOBAL | GLOBAL_EXPEDITED | PRIVATE | CORE | REGISTERS)),
        GLOBAL | GLOBAL_EXPEDITED => Ok(0),
        REGISTER_GLOBAL | REGISTER_PRIVATE | REGISTER_CORE => {
            space.membarrier |= command;
            Ok(0)
        }
        // Each is registered by the next bit.
        PRIVATE | CORE if space.membarrier & command << 1 != 0 => Ok(0),
        PRIVATE | CORE => Err(Errno::EPERM.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Values of `mempolicy.h`.
mod policy {
    pub(super) const DEFAULT: u32 = 0;
    pub(super) const BIND: u32 = 2;
    pub(super) const INTERLEAVE: u32 = 3;
    pub(super) const LOCAL: u32 = 4;
    pub(super) const PREFERRED_MANY: u32 = 5;
    /// MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING.
    pub(super) const MODE_FLAGS: u32 = 0b111 << 13;
    /// MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL.
    pub(super) const MOVE_FLAGS: u32 = 0b111;
    pub(super) const F_NODE: u32 = 1 << 0;
    pub(super) const F_ADDR: u32 = 1 << 1;
    pub(super) const F_MEMS_ALLOWED: u32 = 1 << 2;
}

/// Checks a mode and its nodes: there is node 0.
fn check_policy<P: Platform>(kernel: &mut Kernel<P>, mode: u32, mask: u64, max_node: u64) -> Result<(), Errno> {
    let mode = mode & !policy::MODE_FLAGS;
    let bits = max_node.saturating_sub(1);
    if mode > policy::PREFERRED_MANY || bits > PAGE * 8 {
        return Err(Errno::EINVAL);
    }
    let mut nodes = 0;
    if mask != 0 && bits > 0 {
        for word in 0..bits.div_ceil(64) {
            let mut value: u64 = kernel.get(mask.wrapping_add(word * 8))?;
            if word == bits / 64 {
                value &= (1 << (bits % 64)) - 1;
            }
            if value & !u64::from(word == 0) != 0 {
                return Err(Errno::EINVAL);
            }
            nodes |= value;
        }
    }
    let wants_nodes = matches!(mode, policy::BIND | policy::INTERLEAVE | policy::PREFERRED_MANY);
    let wants_none = matches!(mode, policy::DEFAULT | policy::LOCAL);
    if (wants_nodes && nodes == 0) || (wants_none && nodes != 0) { Err(Errno::EINVAL) } else { Ok(()) }
}

pub(super) fn set_mempolicy<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_policy(kernel, args.uint(0), args.get(1), args.get(2))?;
    Ok(0)
}

pub(super) fn mbind<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (address, len, mode, flags) = (args.get(0), args.get(1), args.uint(2), args.uint(5));
    if !address.is_multiple_of(PAGE) || flags & !policy::MOVE_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(address, len).map_err(|_| Errno::EINVAL)?;
    check_policy(kernel, mode, args.get(3), args.get(4))?;
    let mapped = kernel.task.space.borrow().is_mapped(start, end);
    if mapped { Ok(0) } else { Err(Errno::EFAULT.into()) }
}

pub(super) fn get_mempolicy<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (mode_at, mask_at, max_node, address) = (args.get(0), args.get(1), args.get(2), args.get(3));
    let flags = args.long_flags(4)?;
    let (node, of_address, allowed) = (policy::F_NODE, policy::F_ADDR, policy::F_MEMS_ALLOWED);
    let bad = flags & !(node | of_address | allowed) != 0
        || (flags & allowed != 0 && flags & (node | of_address) != 0)
        || (flags & of_address == 0 && address != 0)
        || (mask_at != 0 && max_node == 0);
    if bad {
        return Err(Errno::EINVAL.into());
    }
    if flags & of_address != 0 && kernel.task.space.borrow().area(address).is_none() {
        return Err(Errno::EFAULT.into());
    }
    if mode_at != 0 {
        kernel.put(mode_at, &0_u32)?;
    }
    if mask_at != 0 {
        let nodes = u64::from(flags & allowed != 0);
        for word in 0..max_node.min(PAGE * 8).div_ceil(64) {
            kernel.put(mask_at.wrapping_add(word * 8), &if word == 0 { nodes } else { 0 })?;
        }
    }
    Ok(0)
}
