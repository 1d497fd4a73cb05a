//! open, openat, openat2, creat.

use alloc::format;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;

use fuse_abi::linux::{fuse_create_in, fuse_entry_out, fuse_opcode, fuse_open_in, fuse_open_out};
use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, IntoBytes};

use super::Args;
use crate::abi::mode;
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::dentry::{Dentry, Node, Place};
use crate::fs::dev::{self, Device};
use crate::fs::file::{FileKind, ListedName, OpenFile};
use crate::fs::fuse::Fuse;
use crate::fs::inode::Inode;
use crate::fs::inotify::{happened, name_happened};
use crate::fs::pipe::{Pipe, PipeEnd};
use crate::fs::proc::{self, ProcKind, ProcNode};
use crate::fs::walk::{Last, Target, may};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::wait::Wait;

/// Flags that act on the opening only and are not kept.
const ONCE: u32 = raw::O_CREAT | raw::O_EXCL | raw::O_NOCTTY | raw::O_TRUNC | raw::O_CLOEXEC;
/// O_TMPFILE without O_DIRECTORY.
const TMPFILE: u32 = 0o20_000_000;

pub(super) fn open<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    open_at(kernel, raw::AT_FDCWD, args.get(0), args.uint(1), args.uint(2))
}

pub(super) fn openat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    open_at(kernel, args.int(0), args.get(1), args.uint(2), args.uint(3))
}

pub(super) fn creat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = raw::O_CREAT | raw::O_WRONLY | raw::O_TRUNC;
    open_at(kernel, raw::AT_FDCWD, args.get(0), flags, args.uint(1))
}

/// Arguments of openat2(2).
#[derive(Clone, Copy, FromBytes, IntoBytes)]
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// The flags that openat2 takes.
const KNOWN: u32 = raw::O_ACCMODE
    | ONCE
    | raw::O_APPEND
    | raw::O_NONBLOCK
    | raw::O_SYNC
    | raw::FASYNC
    | raw::O_DIRECT
    | raw::O_LARGEFILE
    | raw::O_DIRECTORY
    | raw::O_NOFOLLOW
    | raw::O_NOATIME
    | raw::O_PATH
    | TMPFILE;
/// Those that it takes beside O_PATH.
const WITH_PATH: u32 = raw::O_PATH | raw::O_DIRECTORY | raw::O_NOFOLLOW | raw::O_CLOEXEC;
/// The limits that it takes. What RESOLVE_CACHED asks for is allowed to be more than there is in the cache.
const LIMITS: u32 = raw::RESOLVE_NO_XDEV
    | raw::RESOLVE_NO_MAGICLINKS
    | raw::RESOLVE_NO_SYMLINKS
    | raw::RESOLVE_BENEATH
    | raw::RESOLVE_IN_ROOT
    | raw::RESOLVE_CACHED;

pub(super) fn openat2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (directory, at, size) = (args.int(0), args.get(2), args.get(3));
    let how: OpenHow = kernel.sized_structure(at, size, size_of::<OpenHow>() as u64)?;
    let (flags, mode, limits) = check_how(how)?;
    let path = kernel.path(args.get(1))?;
    let scoped = limits & (raw::RESOLVE_BENEATH | raw::RESOLVE_IN_ROOT) != 0;
    let start = if scoped { kernel.base_of(directory)? } else { kernel.start_of(directory, &path)? };
    open_from(kernel, start, &path, How { flags, mode, limits })
}

/// Flags, mode and limits, if openat2 takes them.
fn check_how(how: OpenHow) -> Result<(u32, u32, u32), Errno> {
    let narrow = |value| u32::try_from(value).map_err(|_| Errno::EINVAL);
    let (flags, mode, limits) = (narrow(how.flags)?, narrow(how.mode)?, narrow(how.resolve)?);
    let creates = flags & (raw::O_CREAT | TMPFILE) != 0;
    let both = raw::RESOLVE_BENEATH | raw::RESOLVE_IN_ROOT;
    let bad = flags & !KNOWN != 0
        || limits & !LIMITS != 0
        || limits & both == both
        || mode & !(if creates { 0o7777 } else { 0 }) != 0
        || (flags & raw::O_PATH != 0 && flags & !WITH_PATH != 0);
    if bad { Err(Errno::EINVAL) } else { Ok((flags, mode, limits)) }
}

fn open_at<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, flags: u32, mode: u32) -> Outcome {
    let path = kernel.path(path)?;
    let start = kernel.start_of(directory, &path)?;
    open_from(kernel, start, &path, How { flags, mode, limits: 0 })
}

/// How to open a path.
#[derive(Clone, Copy)]
struct How {
    /// O_*.
    flags: u32,
    /// Permission bits of a new file.
    mode: u32,
    /// RESOLVE_*.
    limits: u32,
}

fn open_from<P: Platform>(kernel: &mut Kernel<P>, start: Place, path: &[u8], how: How) -> Outcome {
    let flags = how.flags;
    let by_path = flags & raw::O_PATH != 0;
    let file = if flags & TMPFILE != 0 && !by_path {
        open_nameless(kernel, start, path, how)?
    } else {
        // What would be made is no directory (Linux 6.4 and newer; before, it made a file all the same).
        let both = raw::O_CREAT | raw::O_DIRECTORY;
        if flags & both == both && !by_path {
            return Err(Errno::EINVAL.into());
        }
        open_path(kernel, start, path, how)?
    };
    file.happened(raw::IN_OPEN);
    kernel.install(file, flags & raw::O_CLOEXEC != 0)
}

/// Makes and opens a file that has no name (O_TMPFILE) in the directory that a path leads to.
fn open_nameless<P: Platform>(
    kernel: &mut Kernel<P>,
    start: Place,
    path: &[u8],
    how: How,
) -> Result<Rc<OpenFile>, Stop> {
    let How { flags, mode, limits } = how;
    let wanted = TMPFILE | raw::O_DIRECTORY;
    if flags & (wanted | raw::O_CREAT) != wanted || flags & raw::O_ACCMODE == raw::O_RDONLY {
        return Err(Errno::EINVAL.into());
    }
    let follow = flags & raw::O_NOFOLLOW == 0;
    let directory = kernel.resolve_within(start, path, Last::following(follow), limits)?.existing()?;
    if !kernel.is_directory(&directory)? {
        return Err(Errno::ENOTDIR.into());
    }
    kernel.check_access(&directory, may::WRITE | may::EXECUTE)?;
    let Node::File(parent) = &directory.node else { return Err(Errno::EOPNOTSUPP.into()) };
    let (inode, handle) = request_new(kernel, parent, fuse_opcode::FUSE_TMPFILE, b"/", flags, mode)?;
    let name = format!("#{}", inode.number());
    let place = Dentry::of_file(&directory, name.as_bytes(), Rc::clone(&inode));
    place.set_removed();
    let kind = FileKind::Regular { inode, handle };
    Ok(OpenFile::new(kind, Some(place), kept(flags & !raw::O_DIRECTORY), kernel.fuse.leftovers()))
}

fn open_path<P: Platform>(kernel: &mut Kernel<P>, start: Place, path: &[u8], how: How) -> Result<Rc<OpenFile>, Stop> {
    let How { flags, mode, limits } = how;
    let create = flags & raw::O_CREAT != 0 && flags & raw::O_PATH == 0;
    let exclusive = create && flags & raw::O_EXCL != 0;
    let follow = flags & raw::O_NOFOLLOW == 0 && !exclusive;
    let end = if create { Last::NewFile { follow } } else { Last::following(follow) };
    let mut target = kernel.resolve_within(Rc::clone(&start), path, end, limits)?;
    if target.unasked {
        match create_file(kernel, &target, flags | raw::O_EXCL, mode) {
            Err(Stop::Error(Errno::EEXIST)) if !exclusive => {
                target = kernel.resolve_within(start, path, Last::File { follow }, limits)?;
            }
            made => return made,
        }
    }
    let Some(place) = target.place.clone() else {
        return if create { create_file(kernel, &target, flags, mode) } else { Err(target.missing().into()) };
    };
    if exclusive {
        return Err(Errno::EEXIST.into());
    }
    let directory = kernel.is_directory(&place)?;
    if flags & raw::O_DIRECTORY != 0 && !directory {
        return Err(Errno::ENOTDIR.into());
    }
    if flags & raw::O_PATH != 0 {
        let kept = flags & (raw::O_PATH | raw::O_DIRECTORY | raw::O_NOFOLLOW);
        return Ok(OpenFile::new(FileKind::Path, Some(place), kept, kernel.fuse.leftovers()));
    }
    let writes = flags & raw::O_ACCMODE != raw::O_RDONLY || flags & raw::O_TRUNC != 0;
    if directory && (create || writes) {
        return Err(Errno::EISDIR.into());
    }
    let wanted = match flags & raw::O_ACCMODE {
        raw::O_RDONLY => may::READ,
        raw::O_WRONLY => may::WRITE,
        _ => may::READ | may::WRITE,
    };
    let wanted = if flags & raw::O_TRUNC != 0 { wanted | may::WRITE } else { wanted };
    kernel.check_access(&place, wanted)?;
    open_place(kernel, &place, flags)
}

/// Makes and opens a file where there is none.
fn create_file<P: Platform>(
    kernel: &mut Kernel<P>,
    target: &Target,
    flags: u32,
    mode: u32,
) -> Result<Rc<OpenFile>, Stop> {
    target.check_vacant(false)?;
    let Node::File(parent) = &target.directory.node else { return Err(Errno::EACCES.into()) };
    if !target.unasked {
        kernel.check_access(&target.directory, may::WRITE | may::EXECUTE)?;
    }
    let (inode, handle) = request_new(kernel, parent, fuse_opcode::FUSE_CREATE, &target.name, flags, mode)?;
    let place = Dentry::of_file(&target.directory, &target.name, Rc::clone(&inode));
    kernel.names.put(parent.number(), &target.name, Some(Rc::clone(&place)));
    name_happened(&target.directory, &target.name, &inode, raw::IN_CREATE, 0);
    let kind = FileKind::Regular { inode, handle };
    Ok(OpenFile::new(kind, Some(place), kept(flags), kernel.fuse.leftovers()))
}

/// Asks the root for a new file that is open: its node and handle.
fn request_new<P: Platform>(
    kernel: &mut Kernel<P>,
    parent: &Inode,
    opcode: fuse_opcode,
    name: &[u8],
    flags: u32,
    mode: u32,
) -> Result<(Rc<Inode>, u64), Errno> {
    let umask = kernel.task.directories.borrow().umask;
    let mode = mode::S_IFREG | (mode & 0o7777 & !umask);
    let args = fuse_create_in { flags: asked(flags) & !raw::O_CLOEXEC, mode, umask, open_flags: 0 };
    let len = kernel.fuse.request(&mut kernel.platform, opcode as u32, parent.number(), &args, &[name], &[])?;
    parent.changed();
    let entry: fuse_entry_out = Fuse::reply(&mut kernel.platform, len)?;
    let body = Fuse::body(&mut kernel.platform, len);
    let opened = body.get(size_of::<fuse_entry_out>()..).unwrap_or(&[]);
    let (opened, _) = fuse_open_out::read_from_prefix(opened).map_err(|_| Errno::EIO)?;
    let inode = kernel.fuse.adopt(&entry).ok_or(Errno::EIO)?;
    Ok((inode, opened.fh))
}

/// The flags that the root is asked with: access mode 3, which asks for both rights and gives none, is its O_RDWR.
fn asked(flags: u32) -> u32 {
    if flags & raw::O_ACCMODE == raw::O_ACCMODE { flags & !raw::O_ACCMODE | raw::O_RDWR } else { flags }
}

/// The flags that F_GETFL shows.
fn kept(flags: u32) -> u32 {
    (flags & !ONCE) | raw::O_LARGEFILE
}

fn open_place<P: Platform>(kernel: &mut Kernel<P>, place: &Place, flags: u32) -> Result<Rc<OpenFile>, Stop> {
    let leftovers = kernel.fuse.leftovers();
    let kind = match &place.node {
        Node::File(inode) if kernel.file_type(inode)? == mode::S_IFIFO => {
            return open_fifo(kernel, place, inode.number(), flags);
        }
        Node::File(inode) => {
            let writes = flags & raw::O_TRUNC != 0 || flags & raw::O_ACCMODE != raw::O_RDONLY;
            if let Err(busy) = inode.check_write()
                && writes
            {
                kernel.check_access(place, may::WRITE)?;
                return Err(busy.into());
            }
            let kind = open_inode(kernel, inode, flags)?;
            if flags & raw::O_TRUNC != 0 {
                happened(place, raw::IN_MODIFY);
            }
            kind
        }
        Node::Device(Device::Directory) => FileKind::Listing(list_devices()),
        Node::Device(Device::Terminals) => FileKind::Listing(list_terminals(kernel)),
        Node::Device(Device::Ptmx) => return Ok(kernel.open_master(Rc::clone(place), kept(flags))?),
        Node::Device(Device::Tty) => {
            let terminal = kernel.own_terminal().ok_or(Errno::ENXIO)?;
            let place = kernel.terminal_place(&terminal);
            return Ok(kernel.open_terminal(&terminal, place, kept(flags) | raw::O_NOCTTY)?);
        }
        Node::Device(Device::Console) => {
            let terminal = kernel.terminals.console().cloned().ok_or(Errno::ENXIO)?;
            return Ok(kernel.open_terminal(&terminal, Rc::clone(place), kept(flags) | raw::O_NOCTTY)?);
        }
        Node::Device(Device::Terminal(number)) => {
            let terminal = kernel.terminals.find(*number).filter(|terminal| !terminal.is_locked()).ok_or(Errno::EIO)?;
            let flags = kept(flags) | flags & raw::O_NOCTTY;
            return Ok(kernel.open_terminal(&terminal, Rc::clone(place), flags)?);
        }
        Node::Device(Device::Link(_)) => return Err(Errno::ELOOP.into()),
        Node::Device(device) => FileKind::Device(*device),
        Node::Proc(ProcNode::Descriptor(pid, number)) if flags & raw::O_NOFOLLOW == 0 => {
            let file = kernel.descriptor_of(*pid, *number)?;
            return open_again(kernel, file, flags);
        }
        Node::Proc(node) => match node.kind() {
            ProcKind::Directory => FileKind::Listing(list_proc(kernel, *node)),
            ProcKind::Link => return Err(Errno::ELOOP.into()),
            ProcKind::Text if flags & raw::O_ACCMODE != raw::O_RDONLY && !kernel.may_write_proc(*node) => {
                return Err(Errno::EACCES.into());
            }
            ProcKind::Text => FileKind::Text(kernel.proc_text(*node).into()),
        },
    };
    Ok(OpenFile::new(kind, Some(Rc::clone(place)), kept(flags), leftovers))
}

/// Opens what a descriptor is of by its link in `/proc`: anew, where that makes a difference.
fn open_again<P: Platform>(kernel: &mut Kernel<P>, file: Rc<OpenFile>, flags: u32) -> Result<Rc<OpenFile>, Stop> {
    let FileKind::Memory(memory) = &file.kind else { return Ok(file) };
    if flags & raw::O_TRUNC != 0 {
        super::memfd::truncate(kernel, &memory.object, 0)?;
    }
    Ok(OpenFile::new(FileKind::Memory(Rc::clone(memory)), None, kept(flags), kernel.fuse.leftovers()))
}

/// Opens an end of a named pipe, and waits until the other is open. Meanwhile this end counts as open: it stays with the task.
fn open_fifo<P: Platform>(kernel: &mut Kernel<P>, place: &Place, inode: u64, flags: u32) -> Result<Rc<OpenFile>, Stop> {
    if let Some((file, before)) = kernel.task.opening.take() {
        return opened_fifo(kernel, file, before);
    }
    let known = kernel.fifos.get(&inode).and_then(Weak::upgrade);
    let pipe = known.unwrap_or_else(|| {
        let number = kernel.next_number();
        let pipe = Pipe::new(&kernel.hub, number);
        kernel.fifos.retain(|_, pipe| pipe.strong_count() > 0);
        kernel.fifos.insert(inode, Rc::downgrade(&pipe));
        pipe
    });
    let (readers, writers) = pipe.ends();
    let (reading, writing) = match flags & raw::O_ACCMODE {
        raw::O_RDONLY => (true, false),
        raw::O_WRONLY => (false, true),
        _ => (true, true),
    };
    let nonblocking = flags & raw::O_NONBLOCK != 0;
    let alone = (reading && !writing && writers == 0) || (writing && !reading && readers == 0);
    if alone && writing && nonblocking {
        return Err(Errno::ENXIO.into());
    }
    let [read, written] = pipe.opened();
    let kind = FileKind::Special(Rc::new(pipe.open(reading, writing)));
    let file = OpenFile::new(kind, Some(Rc::clone(place)), kept(flags), kernel.fuse.leftovers());
    if alone && !nonblocking {
        return opened_fifo(kernel, file, if reading { written } else { read });
    }
    Ok(file)
}

/// Gives the end of a named pipe if the other has been opened since it had been `before` times.
fn opened_fifo<P: Platform>(kernel: &mut Kernel<P>, file: Rc<OpenFile>, before: u64) -> Result<Rc<OpenFile>, Stop> {
    let FileKind::Special(special) = &file.kind else { return Err(Errno::ENXIO.into()) };
    let Some(end) = special.as_any().downcast_ref::<PipeEnd>() else { return Err(Errno::ENXIO.into()) };
    let [read, written] = end.pipe().opened();
    if (if file.readable() { written } else { read }) > before {
        return Ok(file);
    }
    let wait = Wait::on(end.pipe().channel());
    kernel.task.opening = Some((file, before));
    Err(Stop::Block(wait))
}

fn open_inode<P: Platform>(kernel: &mut Kernel<P>, inode: &Rc<Inode>, flags: u32) -> Result<FileKind, Stop> {
    let kind = kernel.file_type(inode)?;
    let opcode = match kind {
        mode::S_IFREG => fuse_opcode::FUSE_OPEN,
        mode::S_IFDIR => fuse_opcode::FUSE_OPENDIR,
        mode::S_IFLNK => return Err(Errno::ELOOP.into()),
        _ => return Err(Errno::ENXIO.into()),
    };
    if flags & raw::O_TRUNC != 0 {
        inode.changed();
    }
    let wanted = asked(flags) & (raw::O_ACCMODE | raw::O_TRUNC | raw::O_APPEND | raw::O_DIRECTORY);
    let args = fuse_open_in { flags: wanted, open_flags: 0 };
    let len = kernel.fuse.request(&mut kernel.platform, opcode as u32, inode.number(), &args, &[], &[])?;
    let opened: fuse_open_out = Fuse::reply(&mut kernel.platform, len)?;
    if flags & raw::O_TRUNC != 0 {
        kernel.file_resized(inode, 0);
    }
    let (inode, handle) = (Rc::clone(inode), opened.fh);
    Ok(if kind == mode::S_IFDIR { FileKind::Directory { inode, handle } } else { FileKind::Regular { inode, handle } })
}

fn listed(name: &str, mode: u32, inode: u64) -> ListedName {
    ListedName { inode, mode, name: name.as_bytes().into() }
}

/// `.` and `..`, which every directory starts with.
fn dots() -> Vec<ListedName> {
    alloc::vec![listed(".", mode::S_IFDIR, 1), listed("..", mode::S_IFDIR, 1)]
}

fn list_devices() -> Vec<ListedName> {
    let mut list = dots();
    for (inode, (name, device)) in (2..).zip(dev::NAMES) {
        let mode = match device {
            Device::Link(_) => mode::S_IFLNK,
            _ if device.is_directory() => mode::S_IFDIR,
            _ => mode::S_IFCHR,
        };
        list.push(listed(name, mode, inode));
    }
    list
}

fn list_terminals<P: Platform>(kernel: &Kernel<P>) -> Vec<ListedName> {
    let mut list = dots();
    list.push(listed("ptmx", mode::S_IFCHR, 2));
    for number in kernel.terminals.numbers() {
        list.push(listed(&format!("{number}"), mode::S_IFCHR, u64::from(number) + 3));
    }
    list
}

fn list_proc<P: Platform>(kernel: &Kernel<P>, node: ProcNode) -> Vec<ListedName> {
    let mut list = dots();
    let mut add = |name: &str, node: ProcNode| list.push(listed(name, proc_type(node), node.inode()));
    match node {
        ProcNode::Fixed(path) => {
            if node == proc::PROC {
                for pid in kernel.process_ids() {
                    add(&format!("{pid}"), ProcNode::Process(pid, None));
                }
                add("self", ProcNode::SelfLink);
                add("thread-self", ProcNode::ThreadSelf);
            }
            for (name, node) in proc::fixed_children(path) {
                add(name, node);
            }
        }
        ProcNode::Process(pid, tid) => {
            for &(name, entry) in proc::ENTRIES {
                add(name, ProcNode::Entry(pid, tid, entry));
            }
            add("fd", ProcNode::Descriptors(pid));
            add("fdinfo", ProcNode::DescriptorInfos(pid));
            add("net", ProcNode::Fixed("proc/net"));
            if tid.is_none() {
                add("task", ProcNode::Threads(pid));
            }
        }
        ProcNode::Threads(pid) => {
            let threads = kernel.process(pid).map_or_else(Vec::new, |process| process.borrow().threads.clone());
            for tid in threads {
                add(&format!("{tid}"), ProcNode::Process(pid, Some(tid)));
            }
        }
        ProcNode::Descriptors(pid) | ProcNode::DescriptorInfos(pid) => {
            let files = kernel.proc_task(pid, None).map(|task| Rc::clone(&task.files));
            let numbers = files.map_or_else(Vec::new, |files| files.borrow().numbers().collect());
            for number in numbers.into_iter().filter_map(|number| u32::try_from(number).ok()) {
                let child = match node {
                    ProcNode::Descriptors(_) => ProcNode::Descriptor(pid, number),
                    _ => ProcNode::DescriptorInfo(pid, number),
                };
                add(&format!("{number}"), child);
            }
        }
        _ => {}
    }
    list
}

/// File type bits of a node of `/proc`.
pub(super) fn proc_type(node: ProcNode) -> u32 {
    match node.kind() {
        ProcKind::Directory => mode::S_IFDIR,
        ProcKind::Link => mode::S_IFLNK,
        ProcKind::Text => mode::S_IFREG,
    }
}

impl<P: Platform> Kernel<P> {
    /// Where a path relative to `directory` (or AT_FDCWD) starts. An absolute path starts at the root by itself.
    pub(super) fn start_of(&self, directory: i32, path: &[u8]) -> Result<Place, Errno> {
        self.base_of(if path.first() == Some(&b'/') { raw::AT_FDCWD } else { directory })
    }

    /// The place of a directory's descriptor, or with AT_FDCWD the working directory.
    fn base_of(&self, directory: i32) -> Result<Place, Errno> {
        if directory == raw::AT_FDCWD {
            return Ok(self.task.directories.borrow().current.clone());
        }
        self.file(directory)?.place.clone().ok_or(Errno::ENOTDIR)
    }
}
