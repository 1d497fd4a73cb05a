//! What a file is: the stat family and statfs.

use alloc::rc::Rc;

use fuse_abi::linux::{fuse_attr, fuse_opcode, fuse_statfs_out};
use linux_raw_sys::general as raw;

use super::Args;
use super::open::proc_type;
use crate::abi::{Stat, Statfs, Statx, StatxTime, mode};
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::{Node, Place};
use crate::fs::dev::{self, Device};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::fuse::Fuse;
use crate::fs::walk::Target;
use crate::kernel::Kernel;
use crate::num::low32;
use crate::platform::Platform;
use crate::time::SECOND_NS;

/// Device number of the root's file system.
pub(crate) const FILE_DEVICE: u64 = 0x15;
/// Device number of `/dev`.
pub(crate) const DEV_DEVICE: u64 = 0x5;
/// Device number of `/proc`.
pub(crate) const PROC_DEVICE: u64 = 0x14;
/// Device number of files in memory.
const MEMORY_DEVICE: u64 = 0x1;
/// Device number of pipes.
const PIPE_DEVICE: u64 = 0xc;

/// Magic numbers of file systems, for statfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const PROC_MAGIC: i64 = 0x9fa0;

/// What stat and statx have in common.
struct Facts {
    attr: fuse_attr,
    device: u64,
    special: u64,
}

impl Facts {
    fn made_up(device: u64, inode: u64, mode: u32) -> Self {
        let nlink = if mode & mode::S_IFMT == mode::S_IFDIR { 2 } else { 1 };
        let attr = fuse_attr { ino: inode, mode, nlink, blksize: 4096, ..Default::default() };
        Self { attr, device, special: 0 }
    }

    fn stat(&self) -> Stat {
        let attr = &self.attr;
        Stat {
            st_dev: self.device,
            st_ino: attr.ino,
            st_nlink: u64::from(attr.nlink),
            st_mode: attr.mode,
            st_uid: attr.uid,
            st_gid: attr.gid,
            st_rdev: self.special,
            st_size: attr.size.cast_signed(),
            st_blksize: i64::from(attr.blksize),
            st_blocks: attr.blocks.cast_signed(),
            st_atime: attr.atime.cast_signed(),
            st_atime_nsec: u64::from(attr.atimensec),
            st_mtime: attr.mtime.cast_signed(),
            st_mtime_nsec: u64::from(attr.mtimensec),
            st_ctime: attr.ctime.cast_signed(),
            st_ctime_nsec: u64::from(attr.ctimensec),
            ..Default::default()
        }
    }

    fn statx(&self) -> Statx {
        let attr = &self.attr;
        let time =
            |seconds: u64, nanoseconds| StatxTime { tv_sec: seconds.cast_signed(), tv_nsec: nanoseconds, reserved: 0 };
        Statx {
            stx_mask: raw::STATX_BASIC_STATS,
            stx_blksize: attr.blksize,
            stx_nlink: attr.nlink,
            stx_uid: attr.uid,
            stx_gid: attr.gid,
            stx_mode: u16::try_from(attr.mode & 0xffff).unwrap_or(0),
            stx_ino: attr.ino,
            stx_size: attr.size,
            stx_blocks: attr.blocks,
            stx_atime: time(attr.atime, attr.atimensec),
            stx_ctime: time(attr.ctime, attr.ctimensec),
            stx_mtime: time(attr.mtime, attr.mtimensec),
            stx_rdev_major: low32(self.special >> 8),
            stx_rdev_minor: low32(self.special & 0xff),
            stx_dev_major: low32(self.device >> 8),
            stx_dev_minor: low32(self.device & 0xff),
            ..Default::default()
        }
    }
}

pub(super) fn stat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    path_stat(kernel, raw::AT_FDCWD, args.get(0), args.get(1), 0)
}

pub(super) fn lstat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    path_stat(kernel, raw::AT_FDCWD, args.get(0), args.get(1), raw::AT_SYMLINK_NOFOLLOW)
}

pub(super) fn fstat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    let facts = file_facts(kernel, &file)?;
    kernel.put(args.get(1), &facts.stat())?;
    Ok(0)
}

pub(super) fn newfstatat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    path_stat(kernel, args.int(0), args.get(1), args.get(2), args.uint(3))
}

fn path_stat<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, out: u64, flags: u32) -> Outcome {
    let known = raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH | raw::AT_NO_AUTOMOUNT;
    if flags & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    let facts = facts_at(kernel, directory, path, flags)?;
    kernel.put(out, &facts.stat())?;
    Ok(0)
}

pub(super) fn statx<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (flags, mask) = (args.uint(2), args.uint(3));
    let known = raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH | raw::AT_NO_AUTOMOUNT | raw::AT_STATX_SYNC_TYPE;
    if flags & !known != 0
        || mask & raw::STATX__RESERVED != 0
        || flags & raw::AT_STATX_SYNC_TYPE == raw::AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL.into());
    }
    let facts = facts_at(kernel, args.int(0), args.get(1), flags)?;
    kernel.put(args.get(4), &facts.statx())?;
    Ok(0)
}

fn facts_at<P: Platform>(kernel: &mut Kernel<P>, directory: i32, path: u64, flags: u32) -> Result<Facts, Errno> {
    let path = kernel.path(path)?;
    if path.is_empty() && flags & raw::AT_EMPTY_PATH != 0 {
        if directory == raw::AT_FDCWD {
            let current = kernel.task.directories.borrow().current.clone();
            return place_facts(kernel, &current, true);
        }
        let file = kernel.file(directory)?;
        return file_facts(kernel, &file);
    }
    let start = kernel.start_of(directory, &path)?;
    let follow = flags & raw::AT_SYMLINK_NOFOLLOW == 0;
    let place = kernel.resolve(start, &path, follow)?.existing()?;
    place_facts(kernel, &place, follow)
}

/// The facts of a place. `follow`: a link to something that has no place, such as a pipe, is what it leads to.
fn place_facts<P: Platform>(kernel: &mut Kernel<P>, place: &Place, follow: bool) -> Result<Facts, Errno> {
    Ok(match &place.node {
        Node::File(inode) => Facts { attr: kernel.file_attributes(inode)?, device: FILE_DEVICE, special: 0 },
        Node::Device(device) => {
            let mut facts = device_facts(*device);
            if let Device::Terminal(number) = device
                && let Some(terminal) = kernel.terminals.find(*number)
            {
                (facts.attr.uid, facts.attr.gid) = terminal.owner();
            }
            date(kernel, &mut facts);
            facts
        }
        Node::Proc(node) => {
            if let crate::fs::proc::ProcNode::Descriptor(pid, number) = node
                && follow
                && let Ok(file) = kernel.descriptor_of(*pid, *number)
                && file.place.is_none()
            {
                return file_facts(kernel, &file);
            }
            let rights = match proc_type(*node) {
                mode::S_IFDIR => 0o555,
                mode::S_IFLNK => 0o777,
                _ if node.is_writable() => 0o644,
                _ => 0o444,
            };
            let mut facts = Facts::made_up(PROC_DEVICE, node.inode(), proc_type(*node) | rights);
            own(kernel, &mut facts);
            facts
        }
    })
}

fn device_facts(device: Device) -> Facts {
    let (inode, mode) = match device {
        Device::Directory => (1, mode::S_IFDIR | 0o755),
        Device::Terminals => (3, mode::S_IFDIR | 0o755),
        Device::Console | Device::Terminal(_) => (dev::number(device), mode::S_IFCHR | 0o620),
        Device::Link(_) => (2, mode::S_IFLNK | 0o777),
        _ => (dev::number(device), mode::S_IFCHR | 0o666),
    };
    let mut facts = Facts::made_up(DEV_DEVICE, inode, mode);
    facts.special = dev::number(device);
    facts
}

/// The program's user owns it, and it is as old as the sandbox.
fn own<P: Platform>(kernel: &Kernel<P>, facts: &mut Facts) {
    let process = kernel.task.process.borrow();
    (facts.attr.uid, facts.attr.gid) = (process.uid[1], process.gid[1]);
    date(kernel, facts);
}

fn date<P: Platform>(kernel: &Kernel<P>, facts: &mut Facts) {
    let made = kernel.realtime_offset_ns / SECOND_NS;
    (facts.attr.atime, facts.attr.mtime, facts.attr.ctime) = (made, made, made);
}

fn file_facts<P: Platform>(kernel: &mut Kernel<P>, file: &Rc<OpenFile>) -> Result<Facts, Errno> {
    if let Some(inode) = file.inode() {
        return Ok(Facts { attr: kernel.file_attributes(inode)?, device: FILE_DEVICE, special: 0 });
    }
    let mut facts = match &file.kind {
        FileKind::Console(stream) => Facts::made_up(PIPE_DEVICE, 2 + u64::from(*stream), mode::S_IFIFO | 0o600),
        FileKind::Special(special) if file.place.is_none() => {
            Facts::made_up(PIPE_DEVICE, special.inode(), special.mode())
        }
        FileKind::Memory(memory) => {
            let mut facts = Facts::made_up(MEMORY_DEVICE, memory.number, mode::S_IFREG | memory.mode.get());
            facts.attr.nlink = 0;
            facts.attr.size = memory.object.size();
            facts.attr.blocks = memory.object.resident() / 512;
            facts
        }
        _ => match &file.place {
            Some(place) => return place_facts(kernel, &Rc::clone(place), true),
            None => return Err(Errno::EBADF),
        },
    };
    own(kernel, &mut facts);
    Ok(facts)
}

pub(super) fn statfs<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let path = kernel.path(args.get(0))?;
    let start = kernel.start_of(raw::AT_FDCWD, &path)?;
    let place = kernel.resolve(start, &path, true).and_then(Target::existing)?;
    place_statfs(kernel, Some(&place), args.get(1))
}

pub(super) fn fstatfs<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let file = kernel.file(args.int(0))?;
    place_statfs(kernel, file.place.as_ref(), args.get(1))
}

fn place_statfs<P: Platform>(kernel: &mut Kernel<P>, place: Option<&Place>, out: u64) -> Outcome {
    let none = Statfs { f_type: PROC_MAGIC, f_bsize: 4096, f_frsize: 4096, f_namelen: 255, ..Default::default() };
    let facts = match place.map(|place| &place.node) {
        Some(Node::File(inode)) => {
            let opcode = fuse_opcode::FUSE_STATFS as u32;
            let len = kernel.fuse.request(&mut kernel.platform, opcode, inode.number(), &(), &[], &[])?;
            let fuse_statfs_out { st } = Fuse::reply(&mut kernel.platform, len)?;
            Statfs {
                f_type: TMPFS_MAGIC,
                f_bsize: i64::from(st.bsize),
                f_blocks: st.blocks,
                f_bfree: st.bfree,
                f_bavail: st.bavail,
                f_files: st.files,
                f_ffree: st.ffree,
                f_namelen: i64::from(st.namelen),
                f_frsize: i64::from(st.frsize),
                ..Default::default()
            }
        }
        Some(Node::Proc(_)) => none,
        Some(Node::Device(_)) | None => Statfs { f_type: TMPFS_MAGIC, ..none },
    };
    kernel.put(out, &facts)?;
    Ok(0)
}
