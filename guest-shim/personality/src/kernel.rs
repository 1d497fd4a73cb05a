//! The state of a sandbox, and the ways into it: start, system call, fault.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::{Rc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use proto::op::{self, wait_events};
use proto::{CallResult, Grant, boot_flags, copy_forms, grant_flags, reached, result_flags};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{Errno, Outcome, Stop};
use crate::exec::ExecError;
use crate::first::{empty_process, first_task};
use crate::fs::dentry::{Dentry, NameCache, Node, Place};
use crate::fs::dev::Device;
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::fuse::Fuse;
use crate::fs::locks::Locks;
use crate::fs::pipe::Pipe;
use crate::fs::special::Caller;
use crate::fs::table::{Count, Descriptor};
use crate::fs::terminal::{Terminals, User};
use crate::fs::{proc, records};
use crate::futex::Futexes;
use crate::lifecycle::{FIRST, INIT};
use crate::mm::area::{Access, BadTouch};
use crate::mm::frames::Frames;
use crate::mm::space::{AddressSpace, Source};
use crate::mm::user::{self, Ranges};
use crate::mm::window::Window;
use crate::net::Network;
use crate::num::{index, low32};
use crate::platform::{Copied, Platform};
use crate::random::Random;
use crate::regs::UserRegs;
use crate::sched::Schedule;
use crate::setting::{Folder, Setting};
use crate::signal::deliver::SYSCALL_LEN;
use crate::signal::{self, Info, Signal};
use crate::task::{Process, Task};
use crate::vdso::Vdso;
use crate::wait::Hub;

/// What the personality is started with.
pub struct Start {
    /// Frames that it may use: first address (page aligned, not 0).
    pub frames_start: u64,
    /// End of the frames.
    pub frames_end: u64,
    /// Where the root shows files, above the frames: start and length, whole slots.
    pub window: (u64, u64),
    /// `proto::boot_flags`.
    pub flags: u32,
    /// CLOCK_REALTIME in ns at reference time 0.
    pub realtime_offset_ns: u64,
    /// Entropy.
    pub seed: [u8; 32],
    /// User of the program.
    pub uid: u32,
    /// Group of the program.
    pub gid: u32,
    /// The vDSO.
    pub vdso: Vdso,
    /// Path of the program.
    pub path: Vec<u8>,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: Vec<Vec<u8>>,
    /// Its working directory.
    pub directory: Vec<u8>,
    /// What else its process is like.
    pub setting: Setting,
}

/// How the image goes on after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Back to ring 3 with the registers as they are now.
    Resume,
    /// The program has ended and the root knows; nothing runs any more.
    Ended,
}

/// A fault of the program, as the processor reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Exception vector.
    pub vector: u64,
    /// Its error code, or 0.
    pub error_code: u64,
    /// CR2, for a page fault.
    pub address: u64,
}

/// The state of a sandbox.
pub struct Kernel<P: Platform> {
    /// The machine.
    pub platform: P,
    pub(crate) frames: Frames,
    pub(crate) fuse: Fuse,
    pub(crate) names: NameCache,
    pub(crate) mounts: [(&'static str, Place); 3],
    pub(crate) random: Random,
    /// The task that runs.
    pub(crate) task: Box<Task>,
    /// All others, by thread id.
    pub(crate) tasks: BTreeMap<u32, Box<Task>>,
    /// All processes, zombies included, by id.
    pub(crate) processes: BTreeMap<u32, Rc<RefCell<Process>>>,
    pub(crate) schedule: Schedule,
    pub(crate) futexes: Futexes,
    /// Timers that are armed: when they go off, whose they are, which.
    pub(crate) timers: BTreeSet<(u64, u32, i32)>,
    /// Locks on ranges of files.
    pub(crate) records: records::Shared,
    /// The id that was given last.
    pub(crate) last_id: u32,
    /// Root table of the address space that the processor uses.
    pub(crate) active: u64,
    /// When the present task's time slice ends.
    pub(crate) slice_end: u64,
    /// The memory of tasks that have ended.
    pub(crate) no_space: Rc<RefCell<AddressSpace>>,
    /// The sandbox has ended.
    pub(crate) ended: bool,
    pub(crate) terminals: Terminals,
    /// Each inotify instance has a clone: so they are counted.
    pub(crate) inotify_count: Rc<()>,
    /// Where objects that tasks wait for get their channels.
    pub(crate) hub: Hub,
    /// Who is bound to which name of a socket.
    pub(crate) network: Rc<Network>,
    /// How many descriptors there are, and may be.
    pub(crate) descriptors: Rc<Count>,
    /// Locks on whole files.
    pub(crate) locks: Rc<Locks>,
    /// Named pipes that are open, by inode number.
    pub(crate) fifos: BTreeMap<u64, Weak<Pipe>>,
    /// The last inode number that was given to an object of the shim's own.
    numbers: u64,
    /// Where bytes that were judged are written from, once there were any.
    staging: Option<u64>,
    pub(crate) flags: u32,
    /// Host name and domain name.
    pub(crate) node_names: [Vec<u8>; 2],
    /// Folders of the host that are shown.
    pub(crate) folders: Vec<Folder>,
    pub(crate) realtime_offset_ns: u64,
    pub(crate) vdso: Vdso,
    /// Registers that a call wants instead of the ones that it came with (a new program's).
    pub(crate) new_regs: Option<UserRegs>,
    pub(crate) shm: crate::syscalls::shm::Table,
    pub(crate) semaphores: crate::syscalls::semaphore::Table,
    pub(crate) messages: crate::syscalls::msgqueue::Table,
    pub(crate) mqueues: crate::syscalls::mqueue::Table,
    /// Sequence of the last grant that was used.
    sequence: u64,
}

impl<P: Platform> Kernel<P> {
    /// Loads the program; `regs` are those of its first instruction. `None`: it could not be started, and the root knows.
    pub fn start(platform: P, start: Start, regs: &mut UserRegs) -> Option<Self> {
        let mut kernel = match Self::new(platform, &start) {
            Ok(kernel) => kernel,
            Err((mut platform, _)) => platform.fail("no memory for the first address space"),
        };
        match kernel.launch(&start) {
            Ok(entry) => {
                *regs = entry;
                let _ = kernel.fuse.request(&mut kernel.platform, op::STARTED, 0, &(), &[], &[]);
                Some(kernel)
            }
            Err(error) => {
                kernel.not_started(&error);
                None
            }
        }
    }

    pub(crate) fn new(mut platform: P, start: &Start) -> Result<Self, (P, Errno)> {
        let mut frames = Frames::new(start.frames_start, start.frames_end);
        frames.window = Window::new(start.window.0, start.window.1);
        let space = match AddressSpace::new(&mut platform, &mut frames) {
            Ok(space) => space,
            Err(error) => return Err((platform, error)),
        };
        let mut fuse = Fuse::new(start.uid, start.gid, start.flags & boot_flags::TELL_PROCESSES != 0);
        let root = Dentry::new(None, b"", Node::File(fuse.root()));
        let dev = Dentry::new(Some(Rc::clone(&root)), b"dev", Node::Device(Device::Directory));
        let proc_root = Dentry::new(Some(Rc::clone(&root)), b"proc", Node::Proc(proc::PROC));
        let sys = Dentry::new(Some(Rc::clone(&root)), b"sys", Node::Proc(proc::SYS));
        let started = platform.reference_time();
        let no_space = match AddressSpace::new(&mut platform, &mut frames) {
            Ok(space) => Rc::new(RefCell::new(space)),
            Err(error) => return Err((platform, error)),
        };
        let hub = Hub::default();
        let descriptors = Rc::<Count>::default();
        let task = first_task(start, &hub, space, root, Rc::clone(&descriptors), started);
        let mut init = empty_process(INIT, start, &hub, started);
        init.children.push(FIRST);
        let processes = BTreeMap::from([(INIT, Rc::new(RefCell::new(init))), (FIRST, Rc::clone(&task.process))]);
        platform.set_thread(FIRST);
        let mut kernel = Self {
            platform,
            frames,
            fuse,
            names: NameCache::new(),
            mounts: [("dev", dev), ("proc", proc_root), ("sys", sys)],
            random: Random::new(&start.seed),
            task: Box::new(task),
            tasks: BTreeMap::new(),
            processes,
            schedule: Schedule::new(started),
            futexes: Futexes::default(),
            timers: BTreeSet::new(),
            records: records::Shared::new(&hub),
            last_id: FIRST,
            active: 0,
            slice_end: 0,
            no_space,
            ended: false,
            terminals: Terminals::new(&hub),
            inotify_count: Rc::default(),
            locks: Locks::new(&hub),
            fifos: BTreeMap::new(),
            hub,
            network: Network::new(Rc::clone(&descriptors)).into(),
            descriptors,
            numbers: 0,
            staging: None,
            flags: start.flags,
            node_names: start.setting.names.clone(),
            folders: start.setting.folders.clone(),
            realtime_offset_ns: start.realtime_offset_ns,
            vdso: start.vdso.clone(),
            new_regs: None,
            shm: crate::syscalls::shm::Table::default(),
            semaphores: crate::syscalls::semaphore::Table::default(),
            messages: crate::syscalls::msgqueue::Table::default(),
            mqueues: crate::syscalls::mqueue::Table::default(),
            sequence: 0,
        };
        kernel.open_console();
        Ok(kernel)
    }

    /// Descriptors 0, 1 and 2.
    fn open_console(&mut self) {
        use linux_raw_sys::general::{O_RDONLY, O_RDWR, O_WRONLY};
        for (stream, rights) in [(0, O_RDONLY), (1, O_WRONLY), (2, O_WRONLY)] {
            let status = if self.is_terminal(stream) { O_RDWR } else { rights };
            let (kind, place) = self.console_stream(stream);
            let file = OpenFile::new(kind, place, status, self.fuse.leftovers());
            let descriptor = Descriptor { file, close_on_exec: false };
            let _ = self.task.files.borrow_mut().add(descriptor, 0, 3);
        }
    }

    /// What a console stream is: the terminal of the first session, or a stream of bytes.
    fn console_stream(&mut self, stream: u32) -> (FileKind, Option<Place>) {
        if !self.is_terminal(stream) {
            return (FileKind::Console(stream), None);
        }
        let session = self.task.process.borrow().session;
        let terminal = Rc::clone(self.terminals.open_console(session));
        if !self.is_terminal(0) {
            terminal.end_input();
        }
        let shown_on = if stream == 0 { self.terminal_stream() } else { stream };
        let user = User::open(&terminal, shown_on);
        (FileKind::Special(Rc::new(user)), Some(self.terminal_place(&terminal)))
    }

    /// Is this console stream a terminal?
    #[must_use]
    pub fn is_terminal(&self, stream: u32) -> bool {
        let bit = match stream {
            0 => boot_flags::STDIN_TTY,
            1 => boot_flags::STDOUT_TTY,
            _ => boot_flags::STDERR_TTY,
        };
        self.flags & bit != 0
    }

    pub(crate) fn launch(&mut self, start: &Start) -> Result<UserRegs, ExecError> {
        let root = self.task.directories.borrow().root.clone();
        let directory = self.resolve(root, &start.directory, true).and_then(crate::fs::walk::Target::existing);
        let directory = directory.and_then(|place| match self.is_directory(&place) {
            Ok(true) => Ok(place),
            Ok(false) => Err(Errno::ENOTDIR),
            Err(errno) => Err(errno),
        });
        let directory = directory.map_err(|errno| ExecError::of_directory(errno, &start.directory))?;
        self.task.directories.borrow_mut().current = directory;
        self.tell_started(FIRST, FIRST, INIT);
        self.exec(&start.path, &start.arguments, &start.environment)
    }

    pub(crate) fn not_started(&mut self, error: &ExecError) {
        let args = op::NotStarted { code: error.code, errno: error.errno.0.unsigned_abs() };
        let mut message = Vec::from(args.as_bytes());
        message.extend_from_slice(error.reason.as_bytes());
        let _ = self.fuse.request(&mut self.platform, op::NOT_STARTED, 0, message.as_slice(), &[], &[]);
    }

    /// A system call that the gate has allowed. The registers get its result, or are those of the task that runs next.
    pub fn system_call(&mut self, regs: &mut UserRegs) -> Flow {
        let grant = self.platform.grant();
        if grant.sequence <= self.sequence {
            self.platform.fail("entered for a system call without a new grant");
        }
        self.sequence = grant.sequence;
        if grant.flags & grant_flags::FETCH != 0 {
            // Not judged yet. If this page cannot be had either, the gate answers.
            let _ = self.copy_in(grant.fetch, &mut [0]);
            regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
            return self.run(regs);
        }
        if grant.flags & grant_flags::TRAP != 0 {
            self.force_signal(Info::refused_call(regs.rip, grant.number));
            return self.run(regs);
        }
        self.descriptors.allow(self.platform.limits().open_files);
        self.task.copies = if grant.flags & grant_flags::COPIES != 0 { self.platform.copies() } else { Vec::new() };
        self.task.call = Some(grant);
        self.run(regs)
    }

    /// Puts a call's result into the registers, and into the trace if that is asked for.
    pub(crate) fn report(&mut self, regs: &mut UserRegs, grant: &Grant, outcome: Outcome) {
        self.network.bury();
        self.send_asynchronous();
        self.fuse.settle(&mut self.platform);
        if self.descriptors.take_refused() {
            self.platform.reached(reached::OPEN_FILES);
        }
        let heap = self.platform.spare_heap();
        if heap.left < heap.total / HEAP_RESERVE {
            // What the program has made the shim remember is more than its share: as good as out of memory.
            self.kill_self();
        }
        let (value, flags) = match outcome {
            Ok(value) => (value.cast_signed(), 0),
            Err(Stop::Error(errno)) => (-i64::from(errno.0), 0),
            Err(Stop::NotImplemented | Stop::Block(_) | Stop::Ended) => {
                (-i64::from(Errno::ENOSYS.0), result_flags::NOT_IMPLEMENTED)
            }
        };
        if let Some(new) = self.new_regs.take() {
            *regs = new;
        }
        regs.rax = value.cast_unsigned();
        if grant.flags & grant_flags::REPORT != 0 || flags != 0 {
            self.platform.report(CallResult { sequence: grant.sequence, value, flags });
        }
    }

    /// Tells how many bytes the call under way has moved, of which its result says nothing, if somebody counts them.
    pub(crate) fn tell_moved(&mut self, bytes: u64) {
        if let Some(call) = self.task.call
            && call.flags & grant_flags::REPORT != 0
        {
            let (sequence, value) = (call.sequence, bytes.cast_signed());
            self.platform.report(CallResult { sequence, value, flags: result_flags::MOVED });
        }
    }

    /// A fault of the program: memory that has to be brought in, or a signal.
    pub fn fault(&mut self, regs: &mut UserRegs, fault: Fault) -> Flow {
        let info = if fault.vector == signal::PAGE_FAULT {
            let Err(bad) = self.page_fault(&fault) else { return Flow::Resume };
            match bad {
                BadTouch::Unmapped => Info::fault(Signal::SEGV, signal::SEGV_MAPERR, fault.address),
                BadTouch::Denied => Info::fault(Signal::SEGV, signal::SEGV_ACCERR, fault.address),
                BadTouch::NoData => Info::fault(Signal::BUS, signal::BUS_ADRERR, fault.address),
                BadTouch::NoMemory => Info::kernel(Signal::KILL),
            }
        } else {
            let (signal, code) = match (fault.vector, signal::of_exception(fault.vector)) {
                (vector @ (signal::FPU_FAULT | signal::SIMD_FAULT), (signal, _)) => {
                    (signal, signal::floating_point_code(vector, self.platform.fpu()))
                }
                (_, found) => found,
            };
            // An INT3 is reported behind it, without an address.
            let address = if code == signal::SI_KERNEL { 0 } else { regs.rip };
            Info::fault(signal, code, address)
        };
        self.note_fault(&fault);
        self.force_signal(info);
        self.run(regs)
    }

    /// What signal frames tell of the last exception. Nobody is told what is mapped in the kernel's half.
    fn note_fault(&mut self, fault: &Fault) {
        let (.., before) = self.task.last_fault;
        let paging = fault.vector == signal::PAGE_FAULT;
        let kernel_half = paging && fault.address >= proto::layout::USER_END_VA;
        let error_code = fault.error_code | if kernel_half { page_fault::PRESENT } else { 0 };
        self.task.last_fault = (fault.vector, error_code, if paging { fault.address } else { before });
    }

    fn page_fault(&mut self, fault: &Fault) -> Result<(), BadTouch> {
        let access = match fault.error_code {
            code if code & page_fault::FETCH != 0 => Access::Execute,
            code if code & page_fault::WRITE != 0 => Access::Write,
            _ => Access::Read,
        };
        // An access that the processor makes with ring 0's rights on behalf of an instruction of ring 3 (IRET's, of
        // QEMU's with SMAP) would fault for ever: the pages are ring 3's.
        if fault.error_code & page_fault::USER == 0 {
            return Err(BadTouch::Denied);
        }
        self.touch(fault.address, access)?;
        if fault.error_code & page_fault::PRESENT != 0 {
            // The entry allows more than the translation that was cached of it.
            self.platform.flush_page(fault.address);
        }
        Ok(())
    }

    /// The present address space, and what it needs to bring pages in.
    pub(crate) fn memory(&mut self) -> (Rc<RefCell<AddressSpace>>, Source<'_, P>) {
        let source = Source { platform: &mut self.platform, frames: &mut self.frames, fuse: &mut self.fuse };
        (Rc::clone(&self.task.space), source)
    }

    /// All address spaces.
    pub(crate) fn spaces(&self) -> Vec<Rc<RefCell<AddressSpace>>> {
        let mut all = vec![Rc::clone(&self.task.space)];
        for task in self.tasks.values() {
            if !all.iter().any(|space| Rc::ptr_eq(space, &task.space)) {
                all.push(Rc::clone(&task.space));
            }
        }
        all
    }

    /// What files need to read and write frames.
    pub(crate) fn source(&mut self) -> Source<'_, P> {
        Source { platform: &mut self.platform, frames: &mut self.frames, fuse: &mut self.fuse }
    }

    /// Brings in the page of `va`; its frame.
    pub(crate) fn touch(&mut self, va: u64, access: Access) -> Result<u64, BadTouch> {
        let (space, mut source) = self.memory();
        space.borrow_mut().touch(&mut source, va, access)
    }

    /// Reads the program's memory.
    ///
    /// # Errors
    /// EFAULT, ENOMEM.
    pub fn copy_in(&mut self, va: u64, out: &mut [u8]) -> Result<(), Errno> {
        let (space, mut source) = self.memory();
        user::read(&mut space.borrow_mut(), &mut source, va, out)
    }

    /// Writes the program's memory.
    ///
    /// # Errors
    /// EFAULT, ENOMEM.
    pub fn copy_out(&mut self, va: u64, data: &[u8]) -> Result<(), Errno> {
        let (space, mut source) = self.memory();
        user::write(&mut space.borrow_mut(), &mut source, va, data)
    }

    /// Reads one value from the program's memory.
    pub(crate) fn get<T: FromBytes + IntoBytes>(&mut self, va: u64) -> Result<T, Errno> {
        let (space, mut source) = self.memory();
        user::read_value(&mut space.borrow_mut(), &mut source, va)
    }

    /// Writes one value to the program's memory.
    pub(crate) fn put<T: IntoBytes + Immutable>(&mut self, va: u64, value: &T) -> Result<(), Errno> {
        self.copy_out(va, value.as_bytes())
    }

    /// A path from the program's memory.
    pub(crate) fn path(&mut self, va: u64) -> Result<Vec<u8>, Errno> {
        self.string(va, PATH_MAX, Errno::ENAMETOOLONG)
    }

    /// What was judged of the call's memory: the piece of this form (one of [`copy_forms`]) that was at `va`.
    pub(crate) fn judged(&self, form: u64, va: u64) -> Option<&[u8]> {
        let found = self.task.copies.iter().find(|copy| (copy.form, copy.address) == (form, va));
        found.map(|copy| copy.bytes.as_slice())
    }

    /// What was judged of what a call writes or sends, if it was, by the argument that leads there. `whole`: it cannot be written in part.
    ///
    /// The bytes stand in a frame of the shim's until the next call asks; a call that waits asks again when it goes on.
    pub(crate) fn judged_content(&mut self, va: u64, whole: bool) -> Result<Option<Ranges>, Errno> {
        let is_it =
            |copy: &&Copied| copy.address == va && matches!(copy.form, copy_forms::CONTENT | copy_forms::CONTENT_CUT);
        let Some(copy) = self.task.copies.iter().find(is_it) else { return Ok(None) };
        if whole && copy.form == copy_forms::CONTENT_CUT {
            return Err(Errno::EMSGSIZE);
        }
        let frame = match self.staging {
            Some(frame) => frame,
            None => *self.staging.insert(self.frames.take(&mut self.platform)?),
        };
        for (to, from) in self.platform.frame_mut(frame).iter_mut().zip(&copy.bytes) {
            *to = *from;
        }
        Ok(Some(Ranges::staged(frame, copy.bytes.len() as u64)))
    }

    /// A string from the program's memory; `too_long` when there is no NUL in `max` bytes.
    ///
    /// What was judged is taken as it was judged, however often it is asked for: the program may have changed it since.
    pub(crate) fn string(&mut self, va: u64, max: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        if let Some(copy) = self.judged(copy_forms::STRING, va) {
            return if copy.len() < max { Ok(copy.to_vec()) } else { Err(too_long) };
        }
        let (space, mut source) = self.memory();
        user::read_string(&mut space.borrow_mut(), &mut source, va, max, too_long)
    }

    /// The open file of a descriptor.
    pub(crate) fn file(&self, fd: i32) -> Result<Rc<OpenFile>, Errno> {
        self.task.files.borrow().get(fd).map(|descriptor| Rc::clone(&descriptor.file))
    }

    /// Puts an open file at the lowest free descriptor.
    pub(crate) fn install(&mut self, file: Rc<OpenFile>, close_on_exec: bool) -> Outcome {
        let limit = self.limit(linux_raw_sys::general::RLIMIT_NOFILE);
        Ok(self.task.files.borrow_mut().add(Descriptor { file, close_on_exec }, 0, limit)?)
    }

    /// A resource limit now in force.
    pub(crate) fn limit(&self, kind: u32) -> u64 {
        self.task.process.borrow().limits.get(index(u64::from(kind))).map_or(u64::MAX, |limit| limit.rlim_cur)
    }

    /// An inode number for an object of the shim's own.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// May the program make the shim remember something that no process' end frees: messages in queues, semaphores?
    ///
    /// # Errors
    /// ENOMEM: what is left is for processes.
    pub(crate) fn room_for_object(&self) -> Result<(), Errno> {
        let heap = self.platform.spare_heap();
        if heap.left < heap.total / HEAP_FOR_OBJECTS { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Who makes the present call, on `file`.
    pub(crate) fn caller(&mut self, file: &OpenFile) -> Caller {
        let now = self.platform.reference_time();
        let process = self.task.process.borrow();
        let (pid, [uid, gid]) = (process.pid, process.file_ids);
        let packets = file.status() & linux_raw_sys::general::O_DIRECT != 0;
        Caller { now, pid, uid, gid, nonblocking: file.nonblocking(), packets }
    }

    /// Standard input has something to read, without waiting for it.
    pub(crate) fn console_ready(&mut self) -> bool {
        self.fuse.wait(&mut self.platform, 0, wait_events::CONSOLE_INPUT) & wait_events::CONSOLE_INPUT != 0
    }
}

/// Bits of a page fault's error code.
mod page_fault {
    pub(super) const PRESENT: u64 = 1 << 0;
    pub(super) const WRITE: u64 = 1 << 1;
    pub(super) const USER: u64 = 1 << 2;
    pub(super) const FETCH: u64 = 1 << 4;
}

/// The part of its own memory (one in so many) that a single call never uses up.
const HEAP_RESERVE: usize = 8;

/// The part of its own memory (one in so many) that must be left for an object that outlives its maker.
const HEAP_FOR_OBJECTS: usize = 2;

/// Longest path, with its NUL.
pub const PATH_MAX: usize = 4096;

/// The low 32 bits of an argument as a descriptor or another `int`.
#[must_use]
pub fn int(value: u64) -> i32 {
    low32(value).cast_signed()
}
