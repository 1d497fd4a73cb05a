//! Loading: which file is run (through `#!` lines), its segments and its interpreter's into a new address space, and the
//! change-over to it.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fuse_abi::linux::{fuse_opcode, fuse_open_in, fuse_open_out};
use linux_raw_sys::general::O_RDONLY;
use zerocopy::{FromZeros, IntoBytes};

use super::ExecError;
use super::elf::{self, Elf, PT_GNU_STACK, PT_INTERP, ProgramHeader};
use super::stack::{self, Auxiliary};
use crate::abi::{AltStack, SigAction, mode};
use crate::errno::Errno;
use crate::fs::busy::Running;
use crate::fs::dentry::{Node, Place};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::fuse::Fuse;
use crate::fs::walk::{Target, may};
use crate::kernel::{Kernel, PATH_MAX};
use crate::mm::area::{Area, Backing, Lent, Prot};
use crate::mm::space::{AddressSpace, Source};
use crate::num::{index, page_down, page_up};
use crate::platform::{PAGE, PAGE_SIZE, Platform};
use crate::regs::UserRegs;
use crate::signal::{SIG_DFL, SIG_IGN};
use crate::task::Task;
use crate::vdso::Vdso;
use proto::boot_flags;
use proto::layout::{USER_CS, USER_END_VA, USER_SS};

/// FUSE open flag: opened to be executed (`__FMODE_EXEC`).
const OPEN_EXEC: u32 = 0x20;
/// Bytes of a file that are read first: they say what it is, and mostly hold all that is needed of it here.
const HEAD: usize = PAGE_SIZE;
/// Bytes of a `#!` line that count (BINPRM_BUF_SIZE).
const SCRIPT_LINE: usize = 256;
/// `#!` lines that may lead to one another.
const MAX_SCRIPTS: u32 = 5;
/// Where position-independent programs go, before randomization (Linux: two thirds of the address space).
const MOVABLE_BASE: u64 = 0x5555_5555_4000;
/// Pages of randomness: of mappings and programs, of the stack, of the heap.
const RANDOM_PAGES: u64 = 1 << 28;
const RANDOM_STACK_PAGES: u64 = 1 << 22;
const RANDOM_HEAP_PAGES: u64 = 1 << 13;
/// Least distance of the mappings from the top of the stack.
const MIN_STACK_GAP: u64 = 128 << 20;
/// Stack that is there from the start.
const FIRST_STACK: u64 = 132 << 10;
/// RFLAGS at the first instruction: interrupts on.
const FIRST_RFLAGS: u64 = 0x202;

/// A file that is opened to be run, with its first bytes.
struct Candidate {
    place: Place,
    file: Rc<OpenFile>,
    head: Vec<u8>,
}

impl Candidate {
    /// Reads at `offset`: from the first bytes if they hold it all, else from the file. How many bytes there were.
    fn read<P: Platform>(&self, source: &mut Source<'_, P>, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let known = self.head.get(index(offset)..).and_then(|rest| rest.get(..out.len()));
        match known {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(out.len())
            }
            None => self.file.read_bytes(source, offset, out),
        }
    }
}

/// A file that will be run.
struct Image {
    place: Place,
    file: Rc<OpenFile>,
    elf: Elf,
    interpreter: Option<Vec<u8>>,
}

/// What to run, after `#!` lines.
struct Command {
    path: Vec<u8>,
    arguments: Vec<Vec<u8>>,
}

impl<P: Platform> Kernel<P> {
    /// Replaces the program of the present task. The registers are those of the new program's first instruction.
    ///
    /// # Errors
    /// With errno and reason; then nothing has changed.
    pub(crate) fn exec(
        &mut self,
        path: &[u8],
        arguments: &[Vec<u8>],
        environment: &[Vec<u8>],
    ) -> Result<UserRegs, ExecError> {
        let mut command = Command { path: path.into(), arguments: arguments.to_vec() };
        let program = self.find_program(&mut command)?;
        let interpreter = self.find_interpreter(&program, &command.path)?;
        let failed = |errno| ExecError::new(errno, path, "cannot execute: out of memory");
        self.may_have_own_files()
            .map_err(|errno| ExecError::new(errno, path, "cannot execute: too many open files"))?;
        let mut space = AddressSpace::new(&mut self.platform, &mut self.frames).map_err(failed)?;
        match self.build(&mut space, &program, interpreter.as_ref(), &command, path, environment) {
            Ok(regs) => {
                self.change_over(space, &program, &command, environment);
                Ok(regs)
            }
            Err(errno) => {
                space.destroy(&mut self.source());
                let reason = match errno {
                    Errno::E2BIG => "cannot execute: argument list too long",
                    Errno::ENOMEM => "cannot execute: out of memory",
                    _ => "cannot execute: its segments cannot be mapped",
                };
                Err(ExecError::new(errno, path, reason))
            }
        }
    }

    /// Whether the descriptors that another process shares can become the task's own.
    fn may_have_own_files(&self) -> Result<(), Errno> {
        let is_other =
            |task: &Task| !Rc::ptr_eq(&task.process, &self.task.process) && Rc::ptr_eq(&task.files, &self.task.files);
        if self.tasks.values().any(|task| is_other(task)) { self.task.files.borrow().may_be_copied() } else { Ok(()) }
    }

    /// Opens the program, following `#!` lines.
    fn find_program(&mut self, command: &mut Command) -> Result<Image, ExecError> {
        for _ in 0..MAX_SCRIPTS {
            let candidate = self.open_executable(&command.path)?;
            match candidate.head.strip_prefix(b"#!") {
                Some(line) => follow_script(line, command)?,
                None => return self.read_elf(candidate, &command.path),
            }
        }
        Err(ExecError::new(Errno::ELOOP, &command.path, "cannot execute: too many levels of #! lines"))
    }

    fn find_interpreter(&mut self, program: &Image, path: &[u8]) -> Result<Option<Image>, ExecError> {
        let Some(name) = &program.interpreter else { return Ok(None) };
        let candidate = self.open_executable(name).map_err(|mut error| {
            if error.errno == Errno::ENOENT {
                error = ExecError::new(Errno::ENOENT, path, "cannot execute: required file not found: ");
                error.reason.push_str(&String::from_utf8_lossy(name));
            }
            error
        })?;
        let image = self.read_elf(candidate, name).map_err(|mut error| {
            error.errno = Errno::ELIBBAD;
            error
        })?;
        Ok(Some(image))
    }

    /// Finds, checks and opens a file to execute.
    fn open_executable(&mut self, path: &[u8]) -> Result<Candidate, ExecError> {
        let place = self.find_executable(path).map_err(|errno| {
            let reason = match errno {
                Errno::ENOENT => "not found",
                Errno::EACCES => "permission denied",
                Errno::EISDIR => "is a directory",
                Errno::ENOTDIR => "not a directory",
                Errno::ELOOP => "too many symbolic links",
                _ => "cannot be opened",
            };
            let errno = if errno == Errno::EISDIR { Errno::EACCES } else { errno };
            ExecError::new(errno, path, reason)
        })?;
        let Node::File(inode) = &place.node else {
            return Err(ExecError::new(Errno::EACCES, path, "permission denied"));
        };
        inode.check_run().map_err(|errno| ExecError::new(errno, path, "it is open for writing"))?;
        let args = fuse_open_in { flags: O_RDONLY | OPEN_EXEC, ..Default::default() };
        let opcode = fuse_opcode::FUSE_OPEN as u32;
        let opened = self.fuse.request(&mut self.platform, opcode, inode.number(), &args, &[], &[]);
        let opened: Result<fuse_open_out, _> = opened.and_then(|len| Fuse::reply(&mut self.platform, len));
        let out = opened.map_err(|errno| ExecError::new(errno, path, "cannot be opened"))?;
        let kind = FileKind::Regular { inode: Rc::clone(inode), handle: out.fh };
        let file = OpenFile::new(kind, Some(Rc::clone(&place)), O_RDONLY, self.fuse.leftovers());
        let mut head = vec![0; HEAD];
        let len = file
            .read_bytes(&mut self.source(), 0, &mut head)
            .map_err(|errno| ExecError::new(errno, path, "cannot be read"))?;
        head.truncate(len);
        Ok(Candidate { place, file, head })
    }

    fn find_executable(&mut self, path: &[u8]) -> Result<Place, Errno> {
        let start = self.task.directories.borrow().current.clone();
        let place = self.resolve(start, path, true).and_then(Target::existing)?;
        if self.is_directory(&place)? {
            return Err(Errno::EISDIR);
        }
        self.check_access(&place, may::EXECUTE)?;
        if let Node::File(inode) = &place.node
            && self.file_type(inode)? != mode::S_IFREG
        {
            return Err(Errno::EACCES);
        }
        Ok(place)
    }

    fn read_elf(&mut self, candidate: Candidate, path: &[u8]) -> Result<Image, ExecError> {
        let bad = |reason| ExecError::new(Errno::ENOEXEC, path, reason);
        let failed = |errno| ExecError::new(errno, path, "cannot be read");
        let truncated = "cannot execute: the ELF file is truncated";
        let header = elf::file_header(&candidate.head).map_err(bad)?;
        let mut headers = vec![ProgramHeader::new_zeroed(); usize::from(header.header_count)];
        let bytes = headers.as_mut_slice().as_mut_bytes();
        let wanted = bytes.len();
        let read = candidate.read(&mut self.source(), header.headers_offset, bytes).map_err(failed)?;
        if read < wanted {
            return Err(bad(truncated));
        }
        let inode = candidate.file.inode().ok_or_else(|| bad(truncated))?;
        let size = self.file_attributes(inode).map_err(failed)?.size;
        let elf = elf::check(&header, headers, size).map_err(bad)?;
        if self.write_xor_execute()
            && elf.loads().any(|segment| rights(segment.flags).0 & WRITE_AND_EXECUTE == WRITE_AND_EXECUTE)
        {
            let reason = "cannot execute: a segment is writable and executable, which the policy does not allow";
            return Err(ExecError::new(Errno::EACCES, path, reason));
        }
        let interpreter = self.read_interpreter(&candidate, &elf, path)?;
        let Candidate { place, file, .. } = candidate;
        Ok(Image { place, file, elf, interpreter })
    }

    /// The path in PT_INTERP.
    fn read_interpreter(
        &mut self,
        candidate: &Candidate,
        elf: &Elf,
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, ExecError> {
        let Some(header) = elf.find(PT_INTERP) else { return Ok(None) };
        let bad = |errno| ExecError::new(errno, path, "cannot execute: its interpreter's name is unusable");
        let len = index(header.file_len);
        if !(2..=PATH_MAX).contains(&len) {
            return Err(bad(Errno::ENOEXEC));
        }
        let mut name = vec![0; len];
        let read = candidate.read(&mut self.source(), header.offset, &mut name).map_err(bad)?;
        if read < len || name.pop() != Some(0) {
            return Err(bad(Errno::ENOEXEC));
        }
        Ok(Some(name))
    }

    /// Fills a new address space: program, interpreter, stack, heap, vDSO. The first registers.
    fn build(
        &mut self,
        space: &mut AddressSpace,
        program: &Image,
        interpreter: Option<&Image>,
        command: &Command,
        path: &[u8],
        environment: &[Vec<u8>],
    ) -> Result<UserRegs, Errno> {
        let stack_top = USER_END_VA - self.random.below(RANDOM_STACK_PAGES) * PAGE;
        self.map_stack(space, program, stack_top);
        let displacement = self.map_program(space, program)?;
        let (base, first) = match interpreter {
            Some(image) => {
                let (start, len) = image.elf.extent();
                let at = space.find_free(len).ok_or(Errno::ENOMEM)?;
                let displacement = if image.elf.movable { at.wrapping_sub(start) } else { 0 };
                map_segments(space, image, displacement)?;
                (at, image.elf.entry.wrapping_add(displacement))
            }
            None => (0, program.elf.entry.wrapping_add(displacement)),
        };
        let vdso = self.map_vdso(space)?;
        let (start, len) = program.elf.extent();
        let heap = start.wrapping_add(displacement) + len + self.random.below(RANDOM_HEAP_PAGES) * PAGE;
        space.brk_start = heap;
        space.brk = heap;
        let mut random = [0; 16];
        self.random.fill(&mut random);
        let auxiliary = Auxiliary {
            headers: program.elf.headers_address().wrapping_add(displacement),
            header_count: program.elf.headers.len() as u64,
            interpreter: base,
            entry: program.elf.entry.wrapping_add(displacement),
            vdso,
            capabilities: self.platform.hardware_capabilities(),
            random,
        };
        let limit = self.limit(linux_raw_sys::general::RLIMIT_STACK);
        let ids = {
            let process = self.task.process.borrow();
            [process.uid[0], process.uid[1], process.gid[0], process.gid[1]]
        };
        let image = stack::build(stack_top, &command.arguments, environment, path, &auxiliary, ids, limit)?;
        let mut source = self.source();
        crate::mm::user::write(space, &mut source, image.pointer, &image.bytes)?;
        space.auxiliary = image.bytes.get(image.auxiliary).unwrap_or(&[]).into();
        Ok(UserRegs {
            rip: first,
            cs: u64::from(USER_CS),
            rflags: FIRST_RFLAGS,
            rsp: image.pointer,
            ss: u64::from(USER_SS),
            ..Default::default()
        })
    }

    /// Whether the policy lets no memory be writable and executable.
    fn write_xor_execute(&self) -> bool {
        self.flags & boot_flags::WRITE_XOR_EXECUTE != 0
    }

    fn map_stack(&mut self, space: &mut AddressSpace, program: &Image, top: u64) {
        let limit = self.limit(linux_raw_sys::general::RLIMIT_STACK).min(USER_END_VA / 6 * 5);
        let wanted = program.elf.find(PT_GNU_STACK).is_none_or(|header| header.flags & 1 != 0);
        let executable = wanted && !self.write_xor_execute();
        let rights = Prot::READ | Prot::WRITE | if executable { Prot::EXEC } else { 0 };
        space.stack_limit = page_down(limit);
        let area = Area::new(top - FIRST_STACK, top, Prot(rights), Backing::Anonymous);
        space.insert(Area { grows_down: true, ..area });
        let gap = limit.max(MIN_STACK_GAP).saturating_add(256 * PAGE);
        space.mmap_top = page_down(top.saturating_sub(gap)) - self.random.below(RANDOM_PAGES) * PAGE;
    }

    /// Maps the program itself; by how much it was moved.
    fn map_program(&mut self, space: &mut AddressSpace, program: &Image) -> Result<u64, Errno> {
        let mut displacement = 0;
        if program.elf.movable {
            let align = program.elf.loads().map(|segment| segment.align).max().unwrap_or(PAGE).clamp(PAGE, 1 << 30);
            let base = MOVABLE_BASE + self.random.below(RANDOM_PAGES) * PAGE;
            let base = if align.is_power_of_two() { base & !(align - 1) } else { base };
            displacement = base.wrapping_sub(program.elf.extent().0);
        }
        map_segments(space, program, displacement)?;
        Ok(displacement)
    }

    /// Maps the vDSO, if there is one; where its ELF header is.
    fn map_vdso(&mut self, space: &mut AddressSpace) -> Result<u64, Errno> {
        let Vdso { time, facts, image } = self.vdso.clone();
        if image.is_empty() {
            return Ok(0);
        }
        let (data_len, image_len) = (2 * PAGE, image.len() as u64 * PAGE);
        let at = space.find_free(data_len + image_len).ok_or(Errno::ENOMEM)?;
        let (code, end) = (at + data_len, at + data_len + image_len);
        let (read, execute) = (Prot(Prot::READ), Prot(Prot::READ | Prot::EXEC));
        for (start, end, prot) in [(at, code, read), (code, end, execute)] {
            space.insert(Area::new(start, end, prot, Backing::Fixed));
        }
        let mut source = self.source();
        space.place_frame(&mut source, at, time, read, Lent::NoFrame)?;
        space.place_frame(&mut source, at + PAGE, facts, read, Lent::Frame)?;
        for (page, frame) in (code..).step_by(index(PAGE)).zip(image) {
            space.place_frame(&mut source, page, frame, execute, Lent::Frame)?;
        }
        Ok(code)
    }

    /// The new program takes over the task.
    fn change_over(&mut self, space: AddressSpace, program: &Image, command: &Command, environment: &[Vec<u8>]) {
        self.prepare_exec();
        self.platform.reset_fpu();
        let old = core::mem::replace(&mut self.task.space, Rc::new(RefCell::new(space)));
        let (_, peak) = old.borrow().resident_pages();
        self.activate();
        self.schedule.dead_spaces.push(old);
        self.bury();
        self.task.alternate_stack = AltStack { ss_flags: 2, ..Default::default() };
        self.task.clear_tid = 0;
        self.task.robust_list = (0, 0);
        self.set_fs_base(0);
        self.set_gs_base(0);
        // What was shared with others is the task's own from now on.
        let mut actions = *self.task.actions.borrow();
        for action in &mut actions {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = SigAction { handler, ..Default::default() };
        }
        self.task.actions = Rc::new(RefCell::new(actions));
        if Rc::strong_count(&self.task.files) > 1 {
            // That there may be a copy was found out before; if not, it goes without descriptors.
            let files = self.task.files.borrow().copy().unwrap_or_default();
            self.task.files = Rc::new(RefCell::new(files));
        }
        self.close_on_exec();
        let mut process = self.task.process.borrow_mut();
        process.peak = process.peak.max(peak);
        process.executable = Some(Rc::clone(&program.place));
        process.running = match &program.place.node {
            Node::File(inode) => Some(Running::new(inode)),
            _ => None,
        };
        process.arguments = command.arguments.iter().flat_map(|one| one.iter().copied().chain([0])).collect();
        process.environment = environment.iter().flat_map(|one| one.iter().copied().chain([0])).collect();
        let name = command.path.rsplit(|&byte| byte == b'/').next().unwrap_or(&[]);
        drop(process);
        self.task.set_name(name);
        self.tell_executed(&program.place, &command.arguments);
    }

    fn close_on_exec(&mut self) {
        let pid = self.task.process.borrow().pid;
        let mut files = self.task.files.borrow_mut();
        let numbers: Vec<usize> = files.numbers().collect();
        for number in numbers {
            let Ok(fd) = i32::try_from(number) else { continue };
            if files.get(fd).is_ok_and(|descriptor| descriptor.close_on_exec)
                && let Ok(closed) = files.remove(fd)
                && let Some(inode) = closed.file.inode()
            {
                self.records.release_file(inode.number(), pid);
            }
        }
    }

    /// Sets the FS base of the present task.
    pub(crate) fn set_fs_base(&mut self, base: u64) {
        self.task.fs_base = base;
        self.platform.set_fs_base(base);
    }

    /// Sets the GS base of the present task.
    pub(crate) fn set_gs_base(&mut self, base: u64) {
        self.task.gs_base = base;
        self.platform.set_gs_base(base);
    }
}

/// Turns `command` into what its `#!` line (without the mark) asks for.
fn follow_script(line: &[u8], command: &mut Command) -> Result<(), ExecError> {
    let line = line.get(..SCRIPT_LINE - 2).unwrap_or(line);
    let end = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
    let line = line.get(..end).unwrap_or(&[]).trim_ascii();
    let split = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(split);
    let argument = argument.trim_ascii();
    if interpreter.is_empty() {
        return Err(ExecError::new(Errno::ENOEXEC, &command.path, "cannot execute: its #! line names no interpreter"));
    }
    let mut arguments = vec![Vec::from(interpreter)];
    if !argument.is_empty() {
        arguments.push(argument.into());
    }
    arguments.push(core::mem::replace(&mut command.path, interpreter.into()));
    arguments.extend(command.arguments.drain(..).skip(1));
    command.arguments = arguments;
    Ok(())
}

fn map_segments(space: &mut AddressSpace, image: &Image, displacement: u64) -> Result<(), Errno> {
    for segment in image.elf.loads() {
        let prot = rights(segment.flags);
        let head = segment.address % PAGE;
        let start = segment.address.wrapping_add(displacement) - head;
        let moved = |address: u64| page_up(address.wrapping_add(displacement)).ok_or(Errno::ENOMEM);
        let file_end = moved(segment.address + segment.file_len)?;
        let end = moved(segment.address + segment.memory_len)?;
        if end > USER_END_VA || start > end || !space.is_free(start, end) {
            return Err(Errno::ENOMEM);
        }
        let mut anonymous = start;
        if segment.file_len > 0 {
            let offset = segment.offset - head;
            let limit = segment.offset + segment.file_len;
            let backing = Backing::File { file: Rc::clone(&image.file), offset, limit };
            space.insert(Area::new(start, file_end, prot, backing));
            anonymous = file_end;
        }
        if anonymous < end {
            space.insert(Area::new(anonymous, end, prot, Backing::Anonymous));
        }
    }
    Ok(())
}

/// What no memory may have at a time if the policy says so.
const WRITE_AND_EXECUTE: u32 = Prot::WRITE | Prot::EXEC;

/// PF_X, PF_W, PF_R as access rights.
fn rights(flags: u32) -> Prot {
    let mut rights = 0;
    for (flag, right) in [(1, Prot::EXEC), (2, Prot::WRITE), (4, Prot::READ)] {
        if flags & flag != 0 {
            rights |= right;
        }
    }
    Prot(rights)
}
