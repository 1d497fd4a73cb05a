//! What changes or asks for names and attributes: directories, links, modes, owners, times, the working directory.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fuse_abi::linux::{fuse_link_in, fuse_mkdir_in, fuse_mknod_in, fuse_opcode, fuse_rename2_in};
use linux_raw_sys::general as raw;
use zerocopy::{Immutable, IntoBytes};

use super::Args;
use crate::abi::mode;
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::{Dentry, Node, Place};
use crate::fs::dev::Device;
use crate::fs::inode::Inode;
use crate::fs::inotify::{happened_to, name_happened};
use crate::fs::proc::ProcKind;
use crate::fs::walk::{Last, Target};
use crate::kernel::Kernel;
use crate::num::low32;
use crate::platform::Platform;

/// The working directory, as a descriptor.
pub(super) const HERE: i32 = raw::AT_FDCWD;

impl<P: Platform> Kernel<P> {
    /// Walks a path that a program gave to a name that is to be made or taken away.
    fn name_at(&mut self, directory: i32, path: u64, end: Last) -> Result<Target, Errno> {
        let path = self.path(path)?;
        let start = self.start_of(directory, &path)?;
        self.resolve_within(start, &path, end, 0)
    }

    /// Walks a path from the working directory to a name that is to be made.
    pub(super) fn name_of(&mut self, path: &[u8]) -> Result<Target, Errno> {
        let start = self.start_of(HERE, path)?;
        self.resolve_within(start, path, Last::Name, 0)
    }

    /// Walks a path from the working directory.
    pub(super) fn target_of(&mut self, path: &[u8], follow: bool) -> Result<Target, Errno> {
        let start = self.start_of(HERE, path)?;
        self.resolve(start, path, follow)
    }

    /// The place that a path leads to; with AT_EMPTY_PATH an empty path is the descriptor's own.
    pub(super) fn place_at(&mut self, directory: i32, path: u64, flags: u32) -> Result<Place, Errno> {
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

    /// Makes a name by a request whose reply is the new node.
    pub(super) fn make<A: IntoBytes + Immutable>(
        &mut self,
        target: &Target,
        opcode: fuse_opcode,
        args: &A,
        text: Option<&[u8]>,
    ) -> Outcome {
        target.check_vacant(opcode == fuse_opcode::FUSE_MKDIR)?;
        let parent = node_of_directory(&target.directory)?;
        let name = &target.name[..];
        let made = match text {
            Some(text) => self.fuse.entry(&mut self.platform, opcode, parent, args, &[name, text])?,
            None => self.fuse.entry(&mut self.platform, opcode, parent, args, &[name])?,
        };
        parent.changed();
        if let Some(inode) = &made {
            name_happened(&target.directory, &target.name, inode, raw::IN_CREATE, 0);
        }
        let place = made.map(|inode| Dentry::of_file(&target.directory, &target.name, inode));
        self.names.put(parent.number(), &target.name, place);
        Ok(0)
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

/// The root's node of a directory in which a name is to be made or taken away. Whether that may be is the root's to say, in Linux' order
/// of errors.
fn node_of_directory(directory: &Place) -> Result<&Rc<Inode>, Errno> {
    match &directory.node {
        Node::File(inode) => Ok(inode),
        _ => Err(Errno::EPERM),
    }
}

pub(super) fn mkdir<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_directory(kernel, HERE, args.get(0), args.uint(1))
}

pub(super) fn mkdirat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    make_directory(kernel, args.int(0), args.get(1), args.uint(2))
}

fn make_directory<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, mode: u32) -> Outcome {
    let target = kernel.name_at(directory, path, Last::NewName)?;
    let args = fuse_mkdir_in { mode: kernel.umask_off(mode & 0o1777), umask: 0 };
    kernel.make(&target, fuse_opcode::FUSE_MKDIR, &args, None)
}

pub(super) fn mknodat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let mode = args.uint(2);
    let kind = if mode & mode::S_IFMT == 0 { mode::S_IFREG } else { mode & mode::S_IFMT };
    match kind {
        mode::S_IFREG | mode::S_IFIFO | mode::S_IFSOCK | mode::S_IFCHR | raw::S_IFBLK => {}
        mode::S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let target = kernel.name_at(args.int(0), args.get(1), Last::NewName)?;
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
    let target = kernel.name_at(directory, path, Last::NewName)?;
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
    let target = kernel.name_at(directories[1], paths[1], Last::Name)?;
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
    let target = kernel.name_at(directory, path, Last::Name)?;
    match &target.name[..] {
        b"" => return Err(if directories { Errno::EBUSY } else { Errno::EISDIR }.into()),
        b"." => return Err(if directories { Errno::EINVAL } else { Errno::EISDIR }.into()),
        b".." => return Err(if directories { Errno::ENOTEMPTY } else { Errno::EISDIR }.into()),
        _ => {}
    }
    let missing = target.missing();
    let place = target.place.as_ref().ok_or(missing)?;
    if !directories && target.slash {
        return Err(if kernel.is_directory(place)? { Errno::EISDIR } else { Errno::ENOTDIR }.into());
    }
    let parent = node_of_directory(&target.directory)?;
    let Node::File(inode) = &place.node else {
        return Err(if directories { Errno::EBUSY } else { Errno::EISDIR }.into());
    };
    let opcode = if directories { fuse_opcode::FUSE_RMDIR } else { fuse_opcode::FUSE_UNLINK };
    kernel.fuse.request(&mut kernel.platform, opcode as u32, parent.number(), &(), &[&target.name], &[])?;
    parent.changed();
    inode.loses_name();
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
    let old = kernel.name_at(directories[0], paths[0], Last::Name)?;
    let new = kernel.name_at(directories[1], paths[1], Last::Name)?;
    let (Node::File(from), Node::File(to)) = (&old.directory.node, &new.directory.node) else {
        return Err(Errno::EXDEV.into());
    };
    let place = check_rename(kernel, &old, &new, flags)?;
    let Node::File(inode) = &place.node else { return Err(Errno::EBUSY.into()) };
    let args = fuse_rename2_in { newdir: to.number(), flags, padding: 0 };
    let opcode = fuse_opcode::FUSE_RENAME2 as u32;
    kernel.fuse.request(&mut kernel.platform, opcode, from.number(), &args, &[&old.name, &new.name], &[])?;
    from.changed();
    to.changed();
    inode.changed();
    renamed(kernel, &old, &new, &place, flags);
    Ok(0)
}

/// What of a rename is about names alone, in Linux' order of errors (`do_renameat2`); what is to be renamed.
fn check_rename<P: Platform>(kernel: &mut Kernel<P>, old: &Target, new: &Target, flags: u32) -> Result<Place, Errno> {
    let (keep, exchange) = (flags & raw::RENAME_NOREPLACE != 0, flags & raw::RENAME_EXCHANGE != 0);
    if !old.is_name() {
        return Err(Errno::EBUSY);
    }
    if !new.is_name() {
        return Err(if keep { Errno::EEXIST } else { Errno::EBUSY });
    }
    let place = old.place.clone().ok_or(old.missing())?;
    match &new.place {
        Some(_) if keep => return Err(Errno::EEXIST),
        Some(other) if exchange && new.slash && !kernel.is_directory(other)? => return Err(Errno::ENOTDIR),
        None if exchange || new.missing() != Errno::ENOENT => return Err(new.missing()),
        _ => {}
    }
    let slash = old.slash || (new.slash && !exchange);
    if slash && !kernel.is_directory(&place)? { Err(Errno::ENOTDIR) } else { Ok(place) }
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
        inode.loses_name();
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

/// What is said of something that is no link: without a name a descriptor of one was asked for, and is not there.
fn no_link<P: Platform>(kernel: &mut Kernel<P>, path: u64) -> Errno {
    match kernel.path(path) {
        Ok(name) if name.is_empty() => Errno::ENOENT,
        _ => Errno::EINVAL,
    }
}

fn read_link<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, out: u64, room: i32) -> Outcome {
    let room = usize::try_from(room).ok().filter(|&room| room > 0).ok_or(Errno::EINVAL)?;
    let place = kernel.place_at(directory, path, raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH)?;
    let text: Vec<u8> = match &place.node {
        Node::File(inode) => {
            if kernel.file_type(inode)? != mode::S_IFLNK {
                return Err(no_link(kernel, path).into());
            }
            kernel.fuse.link_target(&mut kernel.platform, inode)?.to_vec()
        }
        Node::Device(Device::Link(target)) => target.as_bytes().into(),
        Node::Proc(node) if node.kind() == ProcKind::Link => kernel.link_text(*node)?,
        _ => return Err(no_link(kernel, path).into()),
    };
    let text = text.get(..room).unwrap_or(&text);
    kernel.copy_out(out, text)?;
    Ok(text.len() as u64)
}
