//! Extended attributes: no file has any, and no file system here can hold one. The calls still look at their file.

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::fs::walk::Target;
use crate::kernel::Kernel;
use crate::platform::Platform;
use linux_raw_sys::general::AT_FDCWD;

/// Longest attribute name with its NUL (XATTR_NAME_MAX + 1).
const NAME_MAX: usize = 256;

fn look<P: Platform>(kernel: &mut Kernel<P>, path: u64, follow: bool) -> Result<(), Errno> {
    let path = kernel.path(path)?;
    let start = kernel.start_of(AT_FDCWD, &path)?;
    kernel.resolve(start, &path, follow).and_then(Target::existing).map(drop)
}

fn unsupported<P: Platform>(kernel: &mut Kernel<P>, name: u64) -> Outcome {
    let name = kernel.string(name, NAME_MAX, Errno::ERANGE)?;
    Err(if name.is_empty() { Errno::ERANGE } else { Errno::EOPNOTSUPP }.into())
}

/// getxattr, setxattr, removexattr.
pub(super) fn of_path<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    look(kernel, args.get(0), true)?;
    unsupported(kernel, args.get(1))
}

/// The same of a symbolic link itself.
pub(super) fn of_link<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    look(kernel, args.get(0), false)?;
    unsupported(kernel, args.get(1))
}

/// The same of a descriptor.
pub(super) fn of_file<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.file(args.int(0))?;
    unsupported(kernel, args.get(1))
}

/// listxattr: an empty list.
pub(super) fn list_path<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    look(kernel, args.get(0), true)?;
    Ok(0)
}

/// llistxattr.
pub(super) fn list_link<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    look(kernel, args.get(0), false)?;
    Ok(0)
}

/// flistxattr.
pub(super) fn list_file<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.file(args.int(0))?;
    Ok(0)
}
