//! What changes or asks for names and attributes: directories, links, modes, owners, times, the working directory.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fuse_abi::linux::{
    FATTR_ATIME, FATTR_ATIME_NOW, FATTR_FH, FATTR_GID, FATTR_MODE, FATTR_MTIME, FATTR_MTIME_NOW, FATTR_SIZE, FATTR_UID,
    fuse_link_in, fuse_mkdir_in, fuse_mknod_in, fuse_opcode, fuse_rename2_in, fuse_setattr_in,
};
use linux_raw_sys::general as raw;
use zerocopy::{Immutable, IntoBytes};

use super::Args;
use crate::abi::{Timespec, Timeval, mode};
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::{Dentry, Node, Place};
use crate::fs::dev::Device;
use crate::fs::file::FileKind;
use crate::fs::inode::Inode;
use crate::fs::inotify::{happened, happened_to, name_happened};
use crate::fs::proc::ProcKind;
use crate::fs::walk::{Target, may};
use crate::kernel::Kernel;
use crate::num::{index, low32};
use crate::platform::Platform;
use crate::time::from_timeval;

const HERE: i32 = raw::AT_FDCWD;

impl<P: Platform> Kernel<P> {
    /// Walks a path that a program gave.
    fn target(&mut self, directory: i32, path: u64, follow: bool) -> Result<Target, Errno> {
        let path = self.path(path)?;
        let start = self.start_of(directory, &path)?;
        self.resolve(start, &path, follow)
    }

    /// Walks a path from the working directory.
    pub(super) fn target_of(&mut self, path: &[u8], follow: bool) -> Result<Target, Errno> {
        let start = self.start_of(HERE, path)?;
        self.resolve(start, path, follow)
    }

    /// The place that a path leads to; with AT_EMPTY_PATH an empty path is the descriptor's own.
    fn place_at(&mut self, directory: i32, path: u64, flags: u32) -> Result<Place, Errno> {
        let path = self.path(path)?;
        if path.is_empty() && flags & raw::AT_EMPTY_PATH != 0 {
            if directory == HERE {
                return Ok(self.task.directories.borrow().current.clone());
            }
            return self.file(directory)?.place.clone().ok_or(Errno::EINVAL);
        }
        let start = self.start_of(directory, &path)?;
        self.resolve(start, &path, flags & raw::AT_SYMLINK_NOFOLLOW == 0)?.existing()
    }

    /// The root's node of a directory in which a name is to be made or removed.
    fn writable_directory(&mut self, directory: &Place) -> Result<Rc<Inode>, Errno> {
        let Node::File(inode) = &directory.node else { return Err(Errno::EPERM) };
        self.check_access(directory, may::WRITE | may::EXECUTE)?;
        Ok(Rc::clone(inode))
    }

    /// Makes a name by a request whose reply is the new node.
    pub(super) fn make<A: IntoBytes + Immutable>(
        &mut self,
        target: &Target,
        opcode: fuse_opcode,
        args: &A,
        text: Option<&[u8]>,
    ) -> Outcome {
        if target.place.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let parent = self.writable_directory(&target.directory)?;
        parent.changed();
        let name = &target.name[..];
        let made = match text {
            Some(text) => self.fuse.entry(&mut self.platform, opcode, &parent, args, &[name, text])?,
            None => self.fuse.entry(&mut self.platform, opcode, &parent, args, &[name])?,
        };
        if let Some(inode) = &made {
            name_happened(&target.directory, &target.name, inode, raw::IN_CREATE, 0);
        }
        let place = made.map(|inode| Dentry::of_file(&target.directory, &target.name, inode));
        self.names.put(parent.number(), &target.name, place);
        Ok(0)
    }

    /// Changes attributes of what a path or descriptor leads to.
    fn change(&mut self, place: &Place, change: &fuse_setattr_in) -> Outcome {
        let Node::File(inode) = &place.node else { return Err(Errno::EPERM.into()) };
        self.fuse.change(&mut self.platform, inode, change)?;
        happened(place, changed(change.valid));
        Ok(0)
    }

    /// The place of a descriptor whose attributes are to be changed.
    fn place_of(&self, fd: i32) -> Result<Place, Errno> {
        let file = self.file(fd)?;
        if matches!(file.kind, FileKind::Path) {
            return Err(Errno::EBADF);
        }
        file.place.clone().ok_or(Errno::EINVAL)
    }

    /// Whoever watches a node that has lost a name hears of it when that was the last.
    fn check_gone(&mut self, inode: &Rc<Inode>) {
        if inode.marks().is_watched() && self.file_attributes(inode).map_or(true, |attr| attr.nlink == 0) {
            inode.marks().unlinks();
        }
    }

    /// Whoever watches the directories of a rename, or what it moved, hears of it.
    fn tell_of_rename(&mut self, old: &Target, new: &Target, place: &Place, flags: u32) {
        let Node::File(inode) = &place.node else { return };
        let cookie = low32(self.next_number());
        name_happened(&old.directory, &old.name, inode, raw::IN_MOVED_FROM, cookie);
        name_happened(&new.directory, &new.name, inode, raw::IN_MOVED_TO, cookie);
        happened_to(inode, raw::IN_MOVE_SELF);
        let Some(Node::File(other)) = new.place.as_ref().map(|replaced| &replaced.node) else { return };
        if flags & raw::RENAME_EXCHANGE != 0 {
            let cookie = low32(self.next_number());
            name_happened(&new.directory, &new.name, other, raw::IN_MOVED_FROM, cookie);
            name_happened(&old.directory, &old.name, other, raw::IN_MOVED_TO, cookie);
            happened_to(other, raw::IN_MOVE_SELF);
        } else {
            happened_to(other, raw::IN_ATTRIB);
            self.check_gone(other);
        }
    }

    pub(super) fn umask_off(&self, mode: u32) -> u32 {
        mode & !self.task.directories.borrow().umask
    }
}

/// What changing these attributes (FATTR_*) is to who watches.
fn changed(valid: u32) -> u32 {
    const TIMES: u32 = FATTR_ATIME | FATTR_MTIME;
    match valid {
        _ if valid & (FATTR_MODE | FATTR_UID | FATTR_GID) != 0 => raw::IN_ATTRIB,
        _ if valid & FATTR_SIZE != 0 => raw::IN_MODIFY,
        _ if valid & TIMES == FATTR_ATIME => raw::IN_ACCESS,
        _ if valid & TIMES == FATTR_MTIME => raw::IN_MODIFY,
        _ => raw::IN_ATTRIB,
    }
}

pub(super) fn mkdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_directory(kernel, HERE, args.get(0), args.uint(1))
}

pub(super) fn mkdirat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_directory(kernel, args.int(0), args.get(1), args.uint(2))
}

fn make_directory<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, mode: u32) -> Outcome {
    let target = kernel.target(directory, path, false)?;
    let args = fuse_mkdir_in { mode: kernel.umask_off(mode & 0o1777), umask: 0 };
    kernel.make(&target, fuse_opcode::FUSE_MKDIR, &args, None)
}

pub(super) fn mknodat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let target = kernel.target(args.int(0), args.get(1), false)?;
    if target.slash && target.place.is_none() {
        return Err(Errno::ENOENT.into());
    }
    let mode = args.uint(2);
    let kind = if mode & mode::S_IFMT == 0 { mode::S_IFREG } else { mode & mode::S_IFMT };
    let args = fuse_mknod_in { mode: kind | kernel.umask_off(mode & 0o7777), rdev: args.uint(3), umask: 0, padding: 0 };
    kernel.make(&target, fuse_opcode::FUSE_MKNOD, &args, None)
}

pub(super) fn mknod<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let [path, mode, device, ..] = args.0;
    mknodat(kernel, &Args([i64::from(HERE).cast_unsigned(), path, mode, device, 0, 0]))
}

pub(super) fn symlink<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_symlink(kernel, args.get(0), HERE, args.get(1))
}

pub(super) fn symlinkat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_symlink(kernel, args.get(0), args.int(1), args.get(2))
}

fn make_symlink<P: Platform>(kernel: &mut Kernel<P>, text: u64, directory: i32, path: u64) -> Outcome {
    let text = kernel.path(text)?;
    if text.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let target = kernel.target(directory, path, false)?;
    if target.slash && target.place.is_none() {
        return Err(Errno::ENOENT.into());
    }
    kernel.make(&target, fuse_opcode::FUSE_SYMLINK, &(), Some(&text))
}

pub(super) fn link<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_link(kernel, [HERE, HERE], [args.get(0), args.get(1)], 0)
}

pub(super) fn linkat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_link(kernel, [args.int(0), args.int(2)], [args.get(1), args.get(3)], args.uint(4))
}

fn make_link<P: Platform>(kernel: &mut Kernel<P>, directories: [i32; 2], paths: [u64; 2], flags: u32) -> Outcome {
    if flags & !(raw::AT_SYMLINK_FOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let follow = if flags & raw::AT_SYMLINK_FOLLOW == 0 { raw::AT_SYMLINK_NOFOLLOW } else { 0 };
    let old = kernel.place_at(directories[0], paths[0], follow | (flags & raw::AT_EMPTY_PATH))?;
    let Node::File(inode) = &old.node else { return Err(Errno::EXDEV.into()) };
    if kernel.is_directory(&old)? {
        return Err(Errno::EPERM.into());
    }
    let target = kernel.target(directories[1], paths[1], false)?;
    if target.slash && target.place.is_none() {
        return Err(Errno::ENOENT.into());
    }
    inode.changed();
    let args = fuse_link_in { oldnodeid: inode.number() };
    let inode = Rc::clone(inode);
    kernel.make(&target, fuse_opcode::FUSE_LINK, &args, None)?;
    happened_to(&inode, raw::IN_ATTRIB);
    Ok(0)
}

pub(super) fn unlink<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    remove(kernel, HERE, args.get(0), false)
}

pub(super) fn rmdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    remove(kernel, HERE, args.get(0), true)
}

pub(super) fn unlinkat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(2);
    if flags & !raw::AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    remove(kernel, args.int(0), args.get(1), flags != 0)
}

fn remove<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, directories: bool) -> Outcome {
    let target = kernel.target(directory, path, false)?;
    match &target.name[..] {
        b"" => return Err(if directories { Errno::EBUSY } else { Errno::EISDIR }.into()),
        b"." => return Err(if directories { Errno::EINVAL } else { Errno::EISDIR }.into()),
        b".." => return Err(if directories { Errno::ENOTEMPTY } else { Errno::EISDIR }.into()),
        _ => {}
    }
    let place = target.place.as_ref().ok_or(Errno::ENOENT)?;
    let parent = kernel.writable_directory(&target.directory)?;
    match (kernel.is_directory(place)?, directories) {
        (true, false) => return Err(Errno::EISDIR.into()),
        (false, true) => return Err(Errno::ENOTDIR.into()),
        _ => {}
    }
    let Node::File(inode) = &place.node else { return Err(Errno::EBUSY.into()) };
    if !directories && target.slash {
        return Err(Errno::ENOTDIR.into());
    }
    let opcode = if directories { fuse_opcode::FUSE_RMDIR } else { fuse_opcode::FUSE_UNLINK };
    kernel.fuse.request(&mut kernel.platform, opcode as u32, parent.number(), &(), &[&target.name], &[])?;
    parent.changed();
    inode.changed();
    place.set_removed();
    kernel.names.put(parent.number(), &target.name, None);
    if !directories {
        happened_to(inode, raw::IN_ATTRIB);
    }
    name_happened(&target.directory, &target.name, inode, raw::IN_DELETE, 0);
    kernel.check_gone(inode);
    Ok(0)
}

pub(super) fn rename<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    rename_at(kernel, [HERE, HERE], [args.get(0), args.get(1)], 0)
}

pub(super) fn renameat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    rename_at(kernel, [args.int(0), args.int(2)], [args.get(1), args.get(3)], 0)
}

pub(super) fn renameat2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    rename_at(kernel, [args.int(0), args.int(2)], [args.get(1), args.get(3)], args.uint(4))
}

fn rename_at<P: Platform>(kernel: &mut Kernel<P>, directories: [i32; 2], paths: [u64; 2], flags: u32) -> Outcome {
    if flags & !(raw::RENAME_NOREPLACE | raw::RENAME_EXCHANGE) != 0 || flags == 3 {
        return Err(Errno::EINVAL.into());
    }
    let old = kernel.target(directories[0], paths[0], false)?;
    let new = kernel.target(directories[1], paths[1], false)?;
    let special = |name: &[u8]| matches!(name, b"" | b"." | b"..");
    if special(&old.name) || special(&new.name) {
        return Err(Errno::EBUSY.into());
    }
    let place = old.place.clone().ok_or(Errno::ENOENT)?;
    let (Node::File(_), Node::File(inode)) = (&new.directory.node, &place.node) else {
        return Err(Errno::EXDEV.into());
    };
    if (old.slash || new.slash) && !kernel.is_directory(&place)? {
        return Err(Errno::ENOTDIR.into());
    }
    let from = kernel.writable_directory(&old.directory)?;
    let to = kernel.writable_directory(&new.directory)?;
    let args = fuse_rename2_in { newdir: to.number(), flags, padding: 0 };
    let opcode = fuse_opcode::FUSE_RENAME2 as u32;
    kernel.fuse.request(&mut kernel.platform, opcode, from.number(), &args, &[&old.name, &new.name], &[])?;
    from.changed();
    to.changed();
    inode.changed();
    renamed(kernel, &old, &new, &place, flags);
    Ok(0)
}

/// What names mean after a rename.
fn renamed<P: Platform>(kernel: &mut Kernel<P>, old: &Target, new: &Target, place: &Place, flags: u32) {
    let (Node::File(from), Node::File(to)) = (&old.directory.node, &new.directory.node) else { return };
    let (from, to) = (from.number(), to.number());
    let same = |other: &Place| match (&other.node, &place.node) {
        (Node::File(one), Node::File(two)) => one.number() == two.number(),
        _ => false,
    };
    if new.place.as_ref().is_some_and(same) {
        return;
    }
    let replaced = new.place.as_ref();
    if let Some(Node::File(inode)) = replaced.map(|replaced| &replaced.node) {
        inode.changed();
    }
    match replaced {
        Some(other) if flags & raw::RENAME_EXCHANGE != 0 => {
            other.moved(&old.directory, &old.name);
            kernel.names.put(from, &old.name, Some(Rc::clone(other)));
        }
        _ => {
            if let Some(other) = replaced {
                other.set_removed();
            }
            kernel.names.put(from, &old.name, None);
        }
    }
    place.moved(&new.directory, &new.name);
    kernel.names.put(to, &new.name, Some(Rc::clone(place)));
    kernel.tell_of_rename(old, new, place, flags);
}

pub(super) fn readlink<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    read_link(kernel, HERE, args.get(0), args.get(1), args.int(2))
}

pub(super) fn readlinkat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    read_link(kernel, args.int(0), args.get(1), args.get(2), args.int(3))
}

fn read_link<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, out: u64, room: i32) -> Outcome {
    let room = usize::try_from(room).ok().filter(|&room| room > 0).ok_or(Errno::EINVAL)?;
    let place = kernel.place_at(directory, path, raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH)?;
    let text: Vec<u8> = match &place.node {
        Node::File(inode) => {
            if kernel.file_attributes(inode)?.mode & mode::S_IFMT != mode::S_IFLNK {
                return Err(Errno::EINVAL.into());
            }
            kernel.fuse.link_target(&mut kernel.platform, inode)?.to_vec()
        }
        Node::Device(Device::Link(target)) => target.as_bytes().into(),
        Node::Proc(node) if node.kind() == ProcKind::Link => kernel.link_text(*node)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    let text = text.get(..room).unwrap_or(&text);
    kernel.copy_out(out, text)?;
    Ok(text.len() as u64)
}

pub(super) fn chmod<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_mode(kernel, &place, args.uint(1))
}

pub(super) fn fchmod<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_of(args.int(0))?;
    change_mode(kernel, &place, args.uint(1))
}

pub(super) fn fchmodat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(args.int(0), args.get(1), 0)?;
    change_mode(kernel, &place, args.uint(2))
}

fn change_mode<P: Platform>(kernel: &mut Kernel<P>, place: &Place, mode: u32) -> Outcome {
    kernel.change(place, &fuse_setattr_in { valid: FATTR_MODE, mode: mode & 0o7777, ..Default::default() })
}

pub(super) fn chown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_owner(kernel, &place, args.uint(1), args.uint(2))
}

pub(super) fn lchown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), raw::AT_SYMLINK_NOFOLLOW)?;
    change_owner(kernel, &place, args.uint(1), args.uint(2))
}

pub(super) fn fchown<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_of(args.int(0))?;
    change_owner(kernel, &place, args.uint(1), args.uint(2))
}

pub(super) fn fchownat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(4);
    if flags & !(raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = kernel.place_at(args.int(0), args.get(1), flags)?;
    change_owner(kernel, &place, args.uint(2), args.uint(3))
}

fn change_owner<P: Platform>(kernel: &mut Kernel<P>, place: &Place, uid: u32, gid: u32) -> Outcome {
    let mut change = fuse_setattr_in { uid, gid, ..Default::default() };
    if uid != u32::MAX {
        change.valid |= FATTR_UID;
    }
    if gid != u32::MAX {
        change.valid |= FATTR_GID;
    }
    kernel.change(place, &change)
}

pub(super) fn truncate<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let size = u64::try_from(args.long(1)).map_err(|_| Errno::EINVAL)?;
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    if kernel.is_directory(&place)? {
        return Err(Errno::EISDIR.into());
    }
    kernel.check_access(&place, may::WRITE)?;
    let Node::File(inode) = &place.node else { return Err(Errno::EINVAL.into()) };
    let old = kernel.file_attributes(inode)?.size;
    super::io::check_size(kernel, old, size)?;
    kernel.change(&place, &fuse_setattr_in { valid: FATTR_SIZE, size, ..Default::default() })?;
    kernel.file_resized(inode, size);
    Ok(0)
}

pub(super) fn ftruncate<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let size = u64::try_from(args.long(1)).map_err(|_| Errno::EINVAL)?;
    let file = kernel.file(args.int(0))?;
    if matches!(file.kind, FileKind::Path) {
        return Err(Errno::EBADF.into());
    }
    if !file.writable() {
        return Err(Errno::EINVAL.into());
    }
    if matches!(file.kind, FileKind::Regular { .. } | FileKind::Memory(_)) {
        let old = super::io::size(kernel, &file)?;
        super::io::check_size(kernel, old, size)?;
    }
    if let FileKind::Memory(memory) = &file.kind {
        return super::memfd::truncate(kernel, &memory.object, size);
    }
    let FileKind::Regular { inode, handle } = &file.kind else { return Err(Errno::EINVAL.into()) };
    let change = fuse_setattr_in { valid: FATTR_SIZE | FATTR_FH, fh: *handle, size, ..Default::default() };
    kernel.fuse.change(&mut kernel.platform, inode, &change)?;
    kernel.file_resized(inode, size);
    file.happened(raw::IN_MODIFY);
    Ok(0)
}

/// One of the two times that are set: untouched, now, or a value.
fn set_time(change: &mut fuse_setattr_in, access: bool, time: Timespec) -> Result<(), Errno> {
    let (set, now) = if access { (FATTR_ATIME, FATTR_ATIME_NOW) } else { (FATTR_MTIME, FATTR_MTIME_NOW) };
    match u32::try_from(time.tv_nsec) {
        Ok(raw::UTIME_OMIT) => return Ok(()),
        Ok(raw::UTIME_NOW) => change.valid |= set | now,
        Ok(nanoseconds) if nanoseconds < 1_000_000_000 => {
            change.valid |= set;
            if access {
                (change.atime, change.atimensec) = (time.tv_sec.cast_unsigned(), nanoseconds);
            } else {
                (change.mtime, change.mtimensec) = (time.tv_sec.cast_unsigned(), nanoseconds);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn change_times<P: Platform>(kernel: &mut Kernel<P>, place: &Place, times: [Timespec; 2]) -> Outcome {
    let mut change = fuse_setattr_in::default();
    set_time(&mut change, true, times[0])?;
    set_time(&mut change, false, times[1])?;
    if change.valid == 0 {
        return Ok(0);
    }
    kernel.change(place, &change)
}

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: raw::UTIME_NOW as i64 };

pub(super) fn utimensat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (directory, path, at, flags) = (args.int(0), args.get(1), args.get(2), args.uint(3));
    if flags & !(raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let times: [Timespec; 2] = if at == 0 { [NOW; 2] } else { kernel.get(at)? };
    let place = if path == 0 { kernel.place_of(directory)? } else { kernel.place_at(directory, path, flags)? };
    change_times(kernel, &place, times)
}

pub(super) fn utimes<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let times = timevals(kernel, args.get(1))?;
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_times(kernel, &place, times)
}

pub(super) fn futimesat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (directory, path, at) = (args.int(0), args.get(1), args.get(2));
    let times = timevals(kernel, at)?;
    let place = if path == 0 { kernel.place_of(directory)? } else { kernel.place_at(directory, path, 0)? };
    change_times(kernel, &place, times)
}

/// Two `struct timeval`, or now without them.
fn timevals<P: Platform>(kernel: &mut Kernel<P>, at: u64) -> Result<[Timespec; 2], Errno> {
    let mut times = [NOW; 2];
    if at != 0 {
        let given: [Timeval; 2] = kernel.get(at)?;
        for (time, given) in times.iter_mut().zip(given) {
            from_timeval(Timeval { tv_sec: 0, ..given })?;
            *time = Timespec { tv_sec: given.tv_sec, tv_nsec: given.tv_usec * 1000 };
        }
    }
    Ok(times)
}

pub(super) fn utime<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let at = args.get(1);
    let mut times = [NOW; 2];
    if at != 0 {
        let given: [i64; 2] = kernel.get(at)?;
        times = given.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 });
    }
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    change_times(kernel, &place, times)
}

pub(super) fn access<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check(kernel, HERE, args.get(0), args.uint(1), 0)
}

pub(super) fn faccessat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check(kernel, args.int(0), args.get(1), args.uint(2), 0)
}

pub(super) fn faccessat2<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(3);
    if flags & !(raw::AT_EACCESS | raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    check(kernel, args.int(0), args.get(1), args.uint(2), flags)
}

fn check<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, wanted: u32, flags: u32) -> Outcome {
    if wanted & !7 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = kernel.place_at(directory, path, flags)?;
    let who = if flags & raw::AT_EACCESS == 0 { 0 } else { 1 };
    let (uid, gid) = {
        let process = kernel.task.process.borrow();
        (process.uid[who], process.gid[who])
    };
    if wanted & may::EXECUTE != 0 && matches!(place.node, Node::Device(device) if device != Device::Directory) {
        return Err(Errno::EACCES.into());
    }
    kernel.check_access_as(&place, wanted, uid, gid)?;
    Ok(0)
}

pub(super) fn chdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    enter(kernel, place)
}

pub(super) fn fchdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.file(args.int(0))?.place.clone().ok_or(Errno::ENOTDIR)?;
    enter(kernel, place)
}

/// The root that absolute paths start at: only for user 0. The working directory stays, as Linux has it.
pub(super) fn chroot<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let place = kernel.place_at(HERE, args.get(0), 0)?;
    if !kernel.is_directory(&place)? {
        return Err(Errno::ENOTDIR.into());
    }
    kernel.check_access(&place, may::EXECUTE)?;
    if kernel.task.process.borrow().uid[1] != 0 {
        return Err(Errno::EPERM.into());
    }
    kernel.task.directories.borrow_mut().root = place;
    Ok(0)
}

fn enter<P: Platform>(kernel: &mut Kernel<P>, place: Place) -> Outcome {
    if !kernel.is_directory(&place)? {
        return Err(Errno::ENOTDIR.into());
    }
    kernel.check_access(&place, may::EXECUTE)?;
    kernel.task.directories.borrow_mut().current = place;
    Ok(0)
}

pub(super) fn getcwd<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (out, room) = (args.get(0), index(args.get(1)));
    let (current, root) = {
        let directories = kernel.task.directories.borrow();
        (directories.current.clone(), directories.root.clone())
    };
    if current.is_removed() {
        return Err(Errno::ENOENT.into());
    }
    let mut path = current.path_below(&root);
    path.push(0);
    if path.len() > crate::kernel::PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if path.len() > room {
        return Err(Errno::ERANGE.into());
    }
    kernel.copy_out(out, &path)?;
    Ok(path.len() as u64)
}

pub(super) fn umask<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let mut directories = kernel.task.directories.borrow_mut();
    let old = core::mem::replace(&mut directories.umask, args.uint(0) & 0o777);
    Ok(u64::from(old))
}
