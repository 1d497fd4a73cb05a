//! System V shared memory: segments by key, on memory objects.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::{Rc, Weak};

use super::Args;
use crate::abi::{IpcPermissions, SharedSegment};
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::mm::object::Object;
use crate::mm::space::{Area, Backing, MIN_ADDRESS, Prot};
use crate::num::page_up;
use crate::platform::{PAGE, Platform};
use crate::time::SECOND_NS;
use proto::layout::USER_END_VA;

/// Values of `ipc.h` and `shm.h`.
mod ipc {
    pub(super) const PRIVATE: i32 = 0;
    pub(super) const CREAT: u32 = 0o1000;
    pub(super) const EXCL: u32 = 0o2000;
    pub(super) const RMID: i32 = 0;
    pub(super) const SET: i32 = 1;
    pub(super) const STAT: i32 = 2;
    pub(super) const SHM_HUGETLB: u32 = 0o4000;
    pub(super) const SHM_RDONLY: u32 = 0o10000;
    pub(super) const SHM_RND: u32 = 0o20000;
    pub(super) const SHM_REMAP: u32 = 0o40000;
    pub(super) const SHM_EXEC: u32 = 0o100_000;
    pub(super) const SHM_LOCK: i32 = 11;
    pub(super) const SHM_UNLOCK: i32 = 12;
    pub(super) const SHM_DEST: u32 = 0o1000;
}

/// Most segments (SHMMNI).
const MOST: usize = 4096;

struct Segment {
    /// Kept until the segment is removed; then its mappings keep it.
    object: Option<Rc<Object>>,
    mapped: Weak<Object>,
    facts: SharedSegment,
}

/// All segments, by id.
#[derive(Default)]
pub(crate) struct Table {
    segments: BTreeMap<i32, Segment>,
    last: i32,
}

impl Table {
    /// Forgets segments that were removed and that nothing maps any more.
    fn sweep(&mut self) {
        self.segments.retain(|_, segment| segment.mapped.strong_count() > 0);
    }

    fn by_key(&self, key: i32) -> Option<(i32, &Segment)> {
        let mut found = self.segments.iter().filter(|(_, segment)| segment.facts.perm.key == key);
        found.next().map(|(&id, segment)| (id, segment))
    }

    fn get(&mut self, id: i32) -> Result<&mut Segment, Errno> {
        self.sweep();
        self.segments.get_mut(&id).ok_or(Errno::EINVAL)
    }
}

impl<P: Platform> Kernel<P> {
    /// Checks rights (bits of one class, 4 read and 2 write) to a segment.
    fn may_use_segment(&self, perm: &IpcPermissions, wanted: u32) -> Result<(), Errno> {
        let process = self.task.process.borrow();
        let (uid, gid) = (process.uid[1], process.gid[1]);
        let class = if uid == perm.uid || uid == perm.cuid {
            perm.mode >> 6
        } else if gid == perm.gid || gid == perm.cgid {
            perm.mode >> 3
        } else {
            perm.mode
        };
        if uid == 0 || wanted & !class == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }

    fn owns_segment(&self, perm: &IpcPermissions) -> Result<(), Errno> {
        let uid = self.task.process.borrow().uid[1];
        if uid == 0 || uid == perm.uid || uid == perm.cuid { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn seconds(&mut self) -> i64 {
        let now = self.realtime_offset_ns + self.platform.reference_time() * 100;
        (now / SECOND_NS).cast_signed()
    }

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
    if key != ipc::PRIVATE
        && let Some((id, segment)) = kernel.shm.by_key(key)
    {
        if flags & (ipc::CREAT | ipc::EXCL) == ipc::CREAT | ipc::EXCL {
            return Err(Errno::EEXIST.into());
        }
        if size > segment.facts.size {
            return Err(Errno::EINVAL.into());
        }
        let perm = segment.facts.perm;
        kernel.may_use_segment(&perm, (flags >> 6 | flags >> 3 | flags) & 6)?;
        return Ok(u64::from(id.unsigned_abs()));
    }
    if key != ipc::PRIVATE && flags & ipc::CREAT == 0 {
        return Err(Errno::ENOENT.into());
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
    if flags & ipc::SHM_HUGETLB != 0 || len > kernel.frames.total() {
        return Err(Errno::ENOMEM.into());
    }
    let object = Object::zeros(len, format!("/SYSV{key:08x} (deleted)").as_bytes(), &kernel.frames);
    let made = kernel.seconds();
    let process = kernel.task.process.borrow();
    let perm = IpcPermissions {
        key,
        uid: process.uid[1],
        gid: process.gid[1],
        cuid: process.uid[1],
        cgid: process.gid[1],
        mode: flags & 0o777,
        ..Default::default()
    };
    let creator = process.pid.cast_signed();
    let facts = SharedSegment { perm, size, change_time: made, creator, ..Default::default() };
    let table = &mut kernel.shm;
    while table.segments.contains_key(&table.last) {
        table.last = table.last.checked_add(1).unwrap_or(0);
    }
    let id = table.last;
    // The next one gets another number even if this one goes at once.
    table.last = id.checked_add(1).unwrap_or(0);
    let mapped = Rc::downgrade(&object);
    table.segments.insert(id, Segment { object: Some(object), mapped, facts });
    Ok(u64::from(id.unsigned_abs()))
}

pub(super) fn shmat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, address, flags) = (args.int(0), args.get(1), args.uint(2));
    let segment = kernel.shm.get(id)?;
    let (object, facts) = (segment.mapped.upgrade().ok_or(Errno::EINVAL)?, segment.facts);
    let read_only = flags & ipc::SHM_RDONLY != 0;
    let mut address = address;
    if flags & ipc::SHM_RND != 0 {
        address -= address % PAGE;
    }
    if !address.is_multiple_of(PAGE) || (address == 0 && flags & ipc::SHM_REMAP != 0) {
        return Err(Errno::EINVAL.into());
    }
    kernel.may_use_segment(&facts.perm, if read_only { 4 } else { 6 })?;
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
        if flags & ipc::SHM_REMAP == 0 {
            return Err(Errno::EINVAL.into());
        }
        space.unmap(&mut source, start, end);
    }
    let mut prot = Prot::READ;
    prot |= if read_only { 0 } else { Prot::WRITE };
    prot |= if flags & ipc::SHM_EXEC == 0 { 0 } else { Prot::EXEC };
    let backing = Backing::Object { object, offset: 0, writable: !read_only };
    space.insert(Area { shared: true, ..Area::new(start, end, Prot(prot), backing) });
    drop(space);
    let (now, pid) = (kernel.seconds(), kernel.task.process.borrow().pid.cast_signed());
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
    let (now, pid) = (kernel.seconds(), kernel.task.process.borrow().pid.cast_signed());
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
            kernel.may_use_segment(&facts.perm, 4)?;
            let object = kernel.shm.get(id)?.mapped.upgrade();
            facts.attached = object.map_or(0, |object| kernel.attached(&object));
            kernel.put(at, &facts)?;
        }
        ipc::SET => {
            let new: SharedSegment = kernel.get(at)?;
            kernel.owns_segment(&facts.perm)?;
            let perm = &mut kernel.shm.get(id)?.facts.perm;
            (perm.uid, perm.gid) = (new.perm.uid, new.perm.gid);
            perm.mode = (perm.mode & !0o777) | (new.perm.mode & 0o777);
            kernel.shm.get(id)?.facts.change_time = now;
        }
        ipc::RMID => {
            kernel.owns_segment(&facts.perm)?;
            let segment = kernel.shm.get(id)?;
            segment.object = None;
            segment.facts.perm.key = ipc::PRIVATE;
            segment.facts.perm.mode |= ipc::SHM_DEST;
            kernel.shm.sweep();
        }
        ipc::SHM_LOCK | ipc::SHM_UNLOCK => kernel.owns_segment(&facts.perm)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
