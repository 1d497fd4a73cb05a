//! Extended attributes (xattr(7)): the root keeps those of its files; nothing else has any.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fuse_abi::linux::{fuse_getxattr_in, fuse_getxattr_out, fuse_opcode, fuse_setxattr_in};
use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::fs::dentry::Node;
use crate::fs::file::FileKind;
use crate::fs::fuse::Fuse;
use crate::fs::inode::Inode;
use crate::fs::inotify::happened_to;
use crate::fs::walk::Target;
use crate::kernel::Kernel;
use crate::mm::area::Access;
use crate::mm::user::{Ranges, Segments};
use crate::num::low32;
use crate::platform::Platform;

/// Longest attribute name with its NUL (XATTR_NAME_MAX + 1).
const NAME_MAX: usize = 256;
/// Most bytes of a value, and of a list of names.
const SIZE_MAX: u64 = raw::XATTR_SIZE_MAX as u64;

/// How a call names the file.
#[derive(Clone, Copy)]
enum By {
    Path,
    Link,
    Descriptor,
}

/// The root's node that argument 0 names; `None` if the file is none of the root's.
fn node<P: Platform>(kernel: &mut Kernel<P>, args: &Args, by: By) -> Result<Option<Rc<Inode>>, Errno> {
    let place = match by {
        By::Descriptor => {
            let file = kernel.file(args.int(0))?;
            if matches!(file.kind, FileKind::Path) {
                return Err(Errno::EBADF);
            }
            file.place.clone()
        }
        By::Path | By::Link => {
            let path = kernel.path(args.get(0))?;
            Some(kernel.target_of(&path, matches!(by, By::Path)).and_then(Target::existing)?)
        }
    };
    Ok(place.and_then(|place| match &place.node {
        Node::File(inode) => Some(Rc::clone(inode)),
        Node::Device(_) | Node::Proc(_) => None,
    }))
}

/// The name of an attribute.
fn name<P: Platform>(kernel: &mut Kernel<P>, at: u64) -> Result<Vec<u8>, Errno> {
    let name = kernel.string(at, NAME_MAX, Errno::ERANGE)?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

/// `size` bytes of the program's memory, or as much of them as is there.
fn memory<P: Platform>(kernel: &mut Kernel<P>, at: u64, size: u64, access: Access) -> Result<Segments, Errno> {
    let ranges = Ranges::one(at, size);
    let (space, mut source) = kernel.memory();
    if size == 0 { Ok(Segments::new()) } else { ranges.segments(&mut space.borrow_mut(), &mut source, 0, access) }
}

fn set<P: Platform>(kernel: &mut Kernel<P>, args: &Args, by: By) -> Outcome {
    let (size, flags) = (args.get(3), args.uint(4));
    if flags & !(raw::XATTR_CREATE | raw::XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let node = node(kernel, args, by)?;
    let name = name(kernel, args.get(1))?;
    if size > SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let value = memory(kernel, args.get(2), size, Access::Read)?;
    if value.bytes() < size {
        return Err(Errno::EFAULT.into());
    }
    let inode = node.ok_or(Errno::EOPNOTSUPP)?;
    let request = fuse_setxattr_in { size: low32(size), flags, ..Default::default() };
    let opcode = fuse_opcode::FUSE_SETXATTR as u32;
    let names = [&name[..]];
    kernel.fuse.request(&mut kernel.platform, opcode, inode.number(), &request, &names, value.as_slice())?;
    changed(&inode);
    Ok(0)
}

fn changed(inode: &Rc<Inode>) {
    inode.changed();
    happened_to(inode, raw::IN_ATTRIB);
}

fn remove<P: Platform>(kernel: &mut Kernel<P>, args: &Args, by: By) -> Outcome {
    let node = node(kernel, args, by)?;
    let name = name(kernel, args.get(1))?;
    let inode = node.ok_or(Errno::EOPNOTSUPP)?;
    let opcode = fuse_opcode::FUSE_REMOVEXATTR as u32;
    kernel.fuse.request(&mut kernel.platform, opcode, inode.number(), &(), &[&name], &[])?;
    changed(&inode);
    Ok(0)
}

/// A request whose reply is bytes for `size` bytes of memory at `at`, or their number if `size` is 0.
fn fetch<P: Platform>(
    kernel: &mut Kernel<P>,
    inode: &Inode,
    opcode: fuse_opcode,
    names: &[&[u8]],
    (at, size): (u64, u64),
) -> Outcome {
    let size = size.min(SIZE_MAX);
    let out = memory(kernel, at, size, Access::Write)?;
    let request = fuse_getxattr_in { size: low32(out.bytes()), ..Default::default() };
    let (opcode, node) = (opcode as u32, inode.number());
    match kernel.fuse.request(&mut kernel.platform, opcode, node, &request, names, out.as_slice()) {
        Err(Errno::ERANGE) if out.bytes() < size => Err(Errno::EFAULT.into()),
        sent => {
            let reply: fuse_getxattr_out = Fuse::reply(&mut kernel.platform, sent?)?;
            Ok(u64::from(reply.size))
        }
    }
}

fn get<P: Platform>(kernel: &mut Kernel<P>, args: &Args, by: By) -> Outcome {
    let node = node(kernel, args, by)?;
    let name = name(kernel, args.get(1))?;
    let inode = node.ok_or(Errno::EOPNOTSUPP)?;
    fetch(kernel, &inode, fuse_opcode::FUSE_GETXATTR, &[&name], (args.get(2), args.get(3)))
}

fn list<P: Platform>(kernel: &mut Kernel<P>, args: &Args, by: By) -> Outcome {
    let Some(inode) = node(kernel, args, by)? else { return Ok(0) };
    fetch(kernel, &inode, fuse_opcode::FUSE_LISTXATTR, &[], (args.get(1), args.get(2)))
}

/// Makes the three calls of each of the four kinds.
macro_rules! calls {
    ($($function:ident: $path:ident $link:ident $descriptor:ident;)*) => {
        $(
            pub(super) fn $path<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
                $function(kernel, args, By::Path)
            }

            pub(super) fn $link<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
                $function(kernel, args, By::Link)
            }

            pub(super) fn $descriptor<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
                $function(kernel, args, By::Descriptor)
            }
        )*
    };
}

calls! {
    set: setxattr lsetxattr fsetxattr;
    get: getxattr lgetxattr fgetxattr;
    list: listxattr llistxattr flistxattr;
    remove: removexattr lremovexattr fremovexattr;
}
