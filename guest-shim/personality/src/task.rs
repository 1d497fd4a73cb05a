//! Tasks (threads) and processes.
//!
//! What threads may share hangs on a task by a counted reference, one for each thing that `clone` can share or copy:
//! memory, descriptors, directories, signal actions. A process is what all threads of a thread group have in common.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use linux_raw_sys::general as raw;

use crate::abi::{AltStack, Rlimit, SigAction};
use crate::fs::dentry::Place;
use crate::fs::table::FdTable;
use crate::mm::space::AddressSpace;

/// Number of signals.
pub const SIGNALS: usize = 64;

/// Directories of a task.
#[derive(Clone)]
pub struct Directories {
    /// Where relative paths start.
    pub current: Place,
    /// Where absolute paths start.
    pub root: Place,
    /// Bits taken from the mode of new files.
    pub umask: u32,
}

/// What a thread group has in common.
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// User: real, effective, saved.
    pub uid: [u32; 3],
    /// Group: real, effective, saved.
    pub gid: [u32; 3],
    /// Resource limits, by RLIMIT_* number.
    pub limits: [Rlimit; LIMITS],
    /// The program.
    pub executable: Option<Place>,
    /// Its arguments, each with its NUL.
    pub arguments: Vec<u8>,
    /// Reference time of its start.
    pub started: u64,
    /// PR_SET_DUMPABLE.
    pub dumpable: u64,
}

/// Number of RLIMIT_* kinds.
pub const LIMITS: usize = 16;

/// Most descriptors of a process.
pub const MAX_FILES: u64 = 1 << 16;

/// The limits that a process starts with: those of a Debian login.
#[must_use]
pub fn default_limits() -> [Rlimit; LIMITS] {
    let mut limits = [Rlimit { rlim_cur: u64::MAX, rlim_max: u64::MAX }; LIMITS];
    for (kind, now, max) in [
        (raw::RLIMIT_STACK, 8 << 20, u64::MAX),
        (raw::RLIMIT_CORE, 0, u64::MAX),
        (raw::RLIMIT_NOFILE, 1024, MAX_FILES),
        (raw::RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
        (raw::RLIMIT_MSGQUEUE, 819_200, 819_200),
        (raw::RLIMIT_NICE, 0, 0),
        (raw::RLIMIT_RTPRIO, 0, 0),
    ] {
        if let Some(limit) = limits.get_mut(kind as usize) {
            *limit = Rlimit { rlim_cur: now, rlim_max: max };
        }
    }
    limits
}

/// A thread.
pub struct Task {
    /// Thread id.
    pub tid: u32,
    /// Its process.
    pub process: Rc<RefCell<Process>>,
    /// Its memory.
    pub space: Rc<RefCell<AddressSpace>>,
    /// Its descriptors.
    pub files: Rc<RefCell<FdTable>>,
    /// Its directories.
    pub directories: Rc<RefCell<Directories>>,
    /// What signals do, by number − 1.
    pub actions: Rc<RefCell<[SigAction; SIGNALS]>>,
    /// Blocked signals.
    pub blocked: u64,
    /// Signals that are blocked and have been sent.
    pub pending: u64,
    /// Alternate signal stack.
    pub alternate_stack: AltStack,
    /// Address that is cleared when the thread ends.
    pub clear_tid: u64,
    /// Head and length of its robust futex list.
    pub robust_list: (u64, u64),
    /// FS base.
    pub fs_base: u64,
    /// GS base.
    pub gs_base: u64,
    /// Its name.
    pub name: [u8; 16],
    /// Reference time at which the present call's wait ends, kept while the call is made again.
    pub wait_until: Option<u64>,
    /// What the present call has done already, kept while it is made again.
    pub progress: u64,
}
