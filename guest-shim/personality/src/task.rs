//! Tasks (threads) and processes.
//!
//! What threads may share hangs on a task by a counted reference, one for each thing that `clone` can share or copy:
//! memory, descriptors, directories, signal actions. A process is what all threads of a thread group have in common.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use proto::Grant;

use crate::abi::{AltStack, Rlimit, SigAction};
use crate::errno::Errno;
use crate::fs::busy::Running;
use crate::fs::dentry::Place;
use crate::fs::file::OpenFile;
use crate::fs::table::FdTable;
use crate::futex::FutexKey;
use crate::mm::space::AddressSpace;
use crate::platform::Copied;
use crate::regs::UserRegs;
use crate::signal::Pending;
use crate::syscalls::exec::Strings;
use crate::timers::Timers;
use crate::wait::{Channel, Wait};

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

/// Is it alive, and if not, what became of it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has threads.
    Alive,
    /// It has ended with this wait status, which its parent has not fetched yet.
    Zombie(u32),
}

/// A stop or a going-on that a parent can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Stopped by this signal.
    Stopped(u32),
    /// Went on.
    Continued,
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
    /// It has given the terminal of its session up (TIOCNOTTY).
    pub without_terminal: bool,
    /// User: real, effective, saved.
    pub uid: [u32; 3],
    /// Group: real, effective, saved.
    pub gid: [u32; 3],
    /// User and group for files (setfsuid, setfsgid); they follow the effective ones.
    pub file_ids: [u32; 2],
    /// Supplementary groups.
    pub groups: Rc<[u32]>,
    /// Resource limits, by RLIMIT_* number.
    pub limits: [Rlimit; LIMITS],
    /// The program.
    pub executable: Option<Place>,
    /// And that it does, until it has ended.
    pub running: Option<Running>,
    /// Its arguments, each with its NUL.
    pub arguments: Vec<u8>,
    /// Its environment, each string with its NUL.
    pub environment: Vec<u8>,
    /// Reference time of its start.
    pub started: u64,
    /// PR_SET_DUMPABLE.
    pub dumpable: u64,
    /// Its threads, the first of which (while it lives) has the process' id.
    pub threads: Vec<u32>,
    /// Its children, zombies included.
    pub children: Vec<u32>,
    /// Woken when it ends (pidfds).
    pub ended: Channel,
    /// Woken when something becomes of a child.
    pub children_changed: Channel,
    /// Alive or not.
    pub life: Life,
    /// The stop that holds all its threads, by signal.
    pub stopped: Option<u32>,
    /// What its parent has not been told of yet.
    pub change: Option<Change>,
    /// Signals sent to the process as a whole.
    pub pending: Pending,
    /// Woken when a signal is sent to it or one of its threads (signalfd, sigtimedwait).
    pub signalled: Channel,
    /// What its parent is sent at its end; 0: nothing.
    pub exit_signal: u32,
    /// PR_SET_CHILD_SUBREAPER.
    pub subreaper: bool,
    /// PR_SET_PDEATHSIG.
    pub parent_death_signal: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// It has executed a program since it was made.
    pub has_executed: bool,
    /// `personality`.
    pub persona: u32,
    /// Interval timers and POSIX timers.
    pub timers: Timers,
    /// Processor time of threads that have ended, in reference time.
    pub past_time: u64,
    /// Processor time of children that were waited for, with theirs.
    pub children_time: u64,
    /// Most memory of a child that was waited for, in pages.
    pub children_peak: u64,
    /// Most memory of its own, noted at its end, in pages.
    pub peak: u64,
    /// The fault that ended it: address and RIP.
    pub fault: (u64, u64),
    /// `nice`.
    pub nice: i32,
}

/// Number of RLIMIT_* kinds.
pub const LIMITS: usize = 16;

/// Most descriptors of a process.
pub const MAX_FILES: u64 = 1 << 16;

/// Most threads of a sandbox.
pub const MAX_TASKS: u64 = 8192;
/// Most queued signals of a process.
pub const MAX_PENDING: u64 = 8192;

/// Bytes of the x87 and SSE state (FXSAVE).
pub const FPU_STATE: usize = 512;

/// The x87 and SSE state of a program.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct FpuState(pub [u8; FPU_STATE]);

/// Why a task is not running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is, or it is in the queue of those that could.
    Ready,
    /// Its call waits.
    Waiting(Wait),
    /// Its process is stopped.
    Stopped,
    /// It has ended.
    Dead,
}

/// A futex wait that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FutexWait {
    /// Where it waits: at one word, or at any of several (futex_waitv).
    pub keys: Vec<FutexKey>,
    /// It has been woken, at this one of them.
    pub woken: Option<usize>,
}

/// A wait at a System V object: the call ends with EIDRM if the object goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpcWait {
    /// The object's id.
    pub id: i32,
    /// The semaphore of a set.
    pub semaphore: u16,
    /// It waits for the semaphore to be zero, not to grow.
    pub for_zero: bool,
}

/// The timer slack that tasks start with, in ns.
pub const TIMER_SLACK: u64 = 50_000;

/// Longest name of a thread, without its NUL.
const MAX_NAME: usize = 15;

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
    /// The mask to go back to when the present call (sigsuspend, ppoll …) is over.
    pub saved_mask: Option<u64>,
    /// Signals sent to this thread.
    pub pending: Pending,
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
    /// The end of a named pipe that the present call opens, and how often the other had been opened before.
    pub opening: Option<(Rc<OpenFile>, u64)>,
    /// The call that is under way.
    pub call: Option<Grant>,
    /// The child whose program a vfork waits for.
    pub vfork_child: Option<u32>,
    /// Woken when this task's program has memory of its own, or has ended: its parent waits for that (CLONE_VFORK).
    pub vfork_done: Option<Channel>,
    /// The System V object that the present call waits at, kept while it is made again.
    pub ipc_wait: Option<IpcWait>,
    /// PR_SET_TIMERSLACK, in ns: recorded.
    pub timer_slack: u64,
    /// Scheduling policy, with SCHED_RESET_ON_FORK: recorded.
    pub policy: u32,
    /// A futex wait under way.
    pub futex: Option<FutexWait>,
    /// What was judged of the present call's memory.
    pub copies: Vec<Copied>,
    /// The strings of the program that the present call executes, or why there are none: as they were when somebody was asked about it.
    pub strings: Option<Result<Strings, Errno>>,
    /// The last exception: vector, error code, address (for signal frames).
    pub last_fault: (u64, u64, u64),
    /// Whether it runs, or why not.
    pub state: State,
    /// Its registers, while it does not run.
    pub regs: UserRegs,
    /// Its x87 and SSE state, while it does not run.
    pub fpu: FpuState,
    /// Processor time, in reference time, up to when it was last switched from.
    pub time: u64,
}

impl Task {
    /// Names it by the first bytes of `name`, up to a NUL.
    pub fn set_name(&mut self, name: &[u8]) {
        self.name = [0; 16];
        let given = name.iter().take_while(|&&byte| byte != 0);
        for (slot, &byte) in self.name.iter_mut().take(MAX_NAME).zip(given) {
            *slot = byte;
        }
    }
}
