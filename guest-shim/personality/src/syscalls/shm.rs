//! System V shared memory: segments by key, on memory objects.

use alloc::format;
use alloc::rc::{Rc, Weak};

use super::Args;
use super::ipc::{self, Ids};
use crate::abi::SharedSegment;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::mm::area::{Area, Backing, Prot};
use crate::mm::object::Object;
use crate::mm::space::MIN_ADDRESS;
use crate::num::page_up;
use crate::platform::{PAGE, Platform};
use proto::layout::USER_END_VA;

/// Values of `shm.h`.
mod flag {
    pub(super) const HUGETLB: u32 = 0o4000;
    pub(super) const RDONLY: u32 = 0o10000;
    pub(super) const RND: u32 = 0o20000;
    pub(super) const REMAP: u32 = 0o40000;
    pub(super) const EXEC: u32 = 0o100_000;
    pub(super) const LOCK: i32 = 11;
    pub(super) const UNLOCK: i32 = 12;
    pub(super) const DEST: u32 = 0o1000;
}

/// Most segments (SHMMNI).
const MOST: usize = 4096;

struct Segment {
    /// Kept until the segment is removed; then its mappings keep it.
    object: Option<Rc<Object>>,
    mapped: Weak<Object>,
    facts: SharedSegment,
}

/// All segments.
#[derive(Default)]
pub(crate) struct Table {
    segments: Ids<Segment>,
}

impl Table {
    /// Forgets segments that were removed and that nothing maps any more.
    fn sweep(&mut self) {
        self.segments.retain(|segment| segment.mapped.strong_count() > 0);
    }

    fn get(&mut self, id: i32) -> Result<&mut Segment, Errno> {
        self.sweep();
        self.segments.get(id)
    }
}

impl<P: Platform> Kernel<P> {
    /// Areas that map the object, in all spaces.
    fn attached(&self, object: &Rc<Object>) -> u64 {
        let maps =
            |area: &&Area| matches!(&area.backing, Backing::Object { object: one, .. } if Rc::ptr_eq(one, object));
        self.spaces().iter().map(|space| space.borrow().areas().iter().filter(maps).count() as u64).sum()
    }
}

pub(super) fn shmget<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (key, size, flags) = (args.int(0), args.get(1), args.uint(2));
    kernel.shm.sweep();
    if let Some((id, segment)) = kernel.shm.segments.find(key, flags, |segment| &segment.facts.perm)? {
        if size > segment.facts.size {
            return Err(Errno::EINVAL.into());
        }
        kernel.may_use_ipc(&segment.facts.perm, ipc::wanted_rights(flags))?;
        return Ok(ipc::shown(id));
    }
    make_segment(kernel, key, size, flags)
}

fn make_segment<P: Platform>(kernel: &mut Kernel<P>, key: i32, size: u64, flags: u32) -> Outcome {
    if size == 0 {
        return Err(Errno::EINVAL.into());
    }
    if kernel.shm.segments.len() >= MOST {
        return Err(Errno::ENOSPC.into());
    }
    let len = page_up(size).ok_or(Errno::EINVAL)?;
    if flags & flag::HUGETLB != 0 || len > kernel.frames.total() {
        return Err(Errno::ENOMEM.into());
    }
    let object = Object::zeros(len, format!("/SYSV{key:08x} (deleted)").as_bytes(), &kernel.frames);
    let made = kernel.seconds();
    let perm = kernel.ipc_permissions(key, flags);
    let facts = SharedSegment { perm, size, change_time: made, creator: kernel.ipc_pid(), ..Default::default() };
    let mapped = Rc::downgrade(&object);
    Ok(ipc::shown(kernel.shm.segments.add(Segment { object: Some(object), mapped, facts })))
}

pub(super) fn shmat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, address, flags) = (args.int(0), args.get(1), args.uint(2));
    let segment = kernel.shm.get(id)?;
    let (object, facts) = (segment.mapped.upgrade().ok_or(Errno::EINVAL)?, segment.facts);
    let read_only = flags & flag::RDONLY != 0;
    let mut address = address;
    if flags & flag::RND != 0 {
        address -= address % PAGE;
    }
    if !address.is_multiple_of(PAGE) || (address == 0 && flags & flag::REMAP != 0) {
        return Err(Errno::EINVAL.into());
    }
    kernel.may_use_ipc(&facts.perm, if read_only { ipc::READ } else { ipc::READ | ipc::WRITE })?;
    let len = object.size();
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    space.reserve_areas()?;
    let start = match address {
        0 => space.find_free(len).ok_or(Errno::ENOMEM)?,
        _ => address,
    };
    let end = start.checked_add(len).filter(|&end| end <= USER_END_VA && start >= MIN_ADDRESS).ok_or(Errno::EINVAL)?;
    if !space.is_free(start, end) {
        if flags & flag::REMAP == 0 {
            return Err(Errno::EINVAL.into());
        }
        space.unmap(&mut source, start, end);
    }
    let mut prot = Prot::READ;
    prot |= if read_only { 0 } else { Prot::WRITE };
    prot |= if flags & flag::EXEC == 0 { 0 } else { Prot::EXEC };
    let backing = Backing::Object { object, offset: 0, writable: !read_only };
    space.insert(Area { shared: true, ..Area::new(start, end, Prot(prot), backing) });
    drop(space);
    let (now, pid) = (kernel.seconds(), kernel.ipc_pid());
    let segment = kernel.shm.get(id)?;
    (segment.facts.attach_time, segment.facts.last) = (now, pid);
    Ok(start)
}

pub(super) fn shmdt<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let address = args.get(0);
    let (space, mut source) = kernel.memory();
    let mut space = space.borrow_mut();
    let attached = space.area(address).filter(|area| area.start == address).map(|area| &area.backing);
    let Some(Backing::Object { object, offset: 0, .. }) = attached else { return Err(Errno::EINVAL.into()) };
    if object.is_file() {
        return Err(Errno::EINVAL.into());
    }
    let object = Rc::clone(object);
    let end = address + object.size();
    space.reserve_areas()?;
    // What of it was since replaced by other mappings stays.
    let mut at = address;
    while at < end {
        let Some(area) = space.area(at) else { break };
        let stop = area.end.min(end);
        if matches!(&area.backing, Backing::Object { object: one, .. } if Rc::ptr_eq(one, &object)) {
            space.unmap(&mut source, at, stop);
        }
        at = stop;
    }
    drop(space);
    let (now, pid) = (kernel.seconds(), kernel.ipc_pid());
    for segment in kernel.shm.segments.values_mut() {
        if core::ptr::eq(segment.mapped.as_ptr(), Rc::as_ptr(&object)) {
            (segment.facts.detach_time, segment.facts.last) = (now, pid);
        }
    }
    Ok(0)
}

pub(super) fn shmctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, command, at) = (args.int(0), args.int(1), args.get(2));
    let now = kernel.seconds();
    let mut facts = kernel.shm.get(id)?.facts;
    match command {
        ipc::STAT => {
            kernel.may_use_ipc(&facts.perm, ipc::READ)?;
            let object = kernel.shm.get(id)?.mapped.upgrade();
            facts.attached = object.map_or(0, |object| kernel.attached(&object));
            kernel.put(at, &facts)?;
        }
        ipc::SET => {
            let new: SharedSegment = kernel.get(at)?;
            kernel.owns_ipc(&facts.perm)?;
            let segment = kernel.shm.get(id)?;
            ipc::change(&mut segment.facts.perm, &new.perm);
            segment.facts.change_time = now;
        }
        ipc::RMID => {
            kernel.owns_ipc(&facts.perm)?;
            let segment = kernel.shm.get(id)?;
            segment.object = None;
            segment.facts.perm.key = ipc::PRIVATE;
            segment.facts.perm.mode |= flag::DEST;
            kernel.shm.sweep();
        }
        flag::LOCK | flag::UNLOCK => kernel.owns_ipc(&facts.perm)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
