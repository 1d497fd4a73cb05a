//! What the three kinds of System V objects have in common: ids, keys, permissions (`ipc/util.c` of Linux).

use alloc::collections::BTreeMap;

use crate::abi::IpcPermissions;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::time::SECOND_NS;

/// IPC_PRIVATE.
pub(super) const PRIVATE: i32 = 0;
/// IPC_CREAT, IPC_EXCL, IPC_NOWAIT.
pub(super) const CREAT: u32 = 0o1000;
pub(super) const EXCL: u32 = 0o2000;
pub(super) const NOWAIT: u32 = 0o4000;
/// IPC_RMID, IPC_SET, IPC_STAT.
pub(super) const RMID: i32 = 0;
pub(super) const SET: i32 = 1;
pub(super) const STAT: i32 = 2;
/// The right to read, and the right to change.
pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
const PERMISSION_BITS: u32 = 0o777;

/// Objects of one kind, by id. An id is not given again soon.
pub(crate) struct Ids<T> {
    objects: BTreeMap<i32, T>,
    next: i32,
}

impl<T> Default for Ids<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), next: 0 }
    }
}

impl<T> Ids<T> {
    /// Adds an object; its id.
    pub(super) fn add(&mut self, object: T) -> i32 {
        while self.objects.contains_key(&self.next) {
            self.next = self.next.checked_add(1).unwrap_or(0);
        }
        let id = self.next;
        // The next one gets another number even if this one goes at once.
        self.next = id.checked_add(1).unwrap_or(0);
        self.objects.insert(id, object);
        id
    }

    /// The object with an id.
    ///
    /// # Errors
    /// EINVAL.
    pub(super) fn get(&mut self, id: i32) -> Result<&mut T, Errno> {
        self.objects.get_mut(&id).ok_or(Errno::EINVAL)
    }

    pub(super) fn remove(&mut self, id: i32) -> Option<T> {
        self.objects.remove(&id)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.objects.retain(|_, object| keep(object));
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.objects.values_mut()
    }

    /// The id of the object with `key`, as the `*get` calls look for it. `None`: a new one is to be made. `permissions` are an
    /// object's.
    ///
    /// # Errors
    /// ENOENT: there is none, and none is to be made. EEXIST: there is one, and it should be new.
    pub(super) fn find(
        &self,
        key: i32,
        flags: u32,
        permissions: impl Fn(&T) -> &IpcPermissions,
    ) -> Result<Option<(i32, &T)>, Errno> {
        if key == PRIVATE {
            return Ok(None);
        }
        let found = self.objects.iter().find(|(_, object)| permissions(object).key == key);
        match found {
            Some(_) if flags & (CREAT | EXCL) == CREAT | EXCL => Err(Errno::EEXIST),
            Some((&id, object)) => Ok(Some((id, object))),
            None if flags & CREAT == 0 => Err(Errno::ENOENT),
            None => Ok(None),
        }
    }
}

/// The rights that the mode bits of a `*get` call ask for.
pub(super) fn wanted_rights(flags: u32) -> u32 {
    (flags >> 6 | flags >> 3 | flags) & (READ | WRITE)
}

/// An id as a call returns it.
pub(super) fn shown(id: i32) -> u64 {
    u64::from(id.unsigned_abs())
}

/// IPC_SET: who owns the object, and who may use it.
pub(super) fn change(permissions: &mut IpcPermissions, new: &IpcPermissions) {
    (permissions.uid, permissions.gid) = (new.uid, new.gid);
    permissions.mode = (permissions.mode & !PERMISSION_BITS) | (new.mode & PERMISSION_BITS);
}

impl<P: Platform> Kernel<P> {
    /// The permissions of an object that the present process makes.
    pub(super) fn ipc_permissions(&self, key: i32, flags: u32) -> IpcPermissions {
        let process = self.task.process.borrow();
        let (uid, gid) = (process.uid[1], process.gid[1]);
        IpcPermissions { key, uid, gid, cuid: uid, cgid: gid, mode: flags & PERMISSION_BITS, ..Default::default() }
    }

    /// Checks rights ([`READ`], [`WRITE`]) to an object.
    ///
    /// # Errors
    /// EACCES.
    pub(super) fn may_use_ipc(&self, perm: &IpcPermissions, wanted: u32) -> Result<(), Errno> {
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

    /// Only its owner and its maker may change or remove an object.
    ///
    /// # Errors
    /// EPERM.
    pub(super) fn owns_ipc(&self, perm: &IpcPermissions) -> Result<(), Errno> {
        let uid = self.task.process.borrow().uid[1];
        if uid == 0 || uid == perm.uid || uid == perm.cuid { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Seconds since the epoch.
    pub(super) fn seconds(&mut self) -> i64 {
        (self.realtime_ns() / SECOND_NS).cast_signed()
    }

    /// The present process, as the objects note it.
    pub(super) fn ipc_pid(&self) -> i32 {
        self.task.process.borrow().pid.cast_signed()
    }

    /// What a call says that finds no object with this id: it has been removed while the call waited, or never was there.
    pub(super) fn no_ipc_object(&self, errno: Errno) -> Errno {
        if self.task.ipc_wait.is_some() { Errno::EIDRM } else { errno }
    }
}
