//! What is refused on purpose: the row in the table says why.

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::platform::Platform;

/// What only a privileged process may do, and nobody in a sandbox is.
pub(super) fn privileged<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EPERM.into())
}

/// What a kernel without that part says.
pub(super) fn absent<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::ENOSYS.into())
}

/// What this kind of file, or every file here, cannot do.
pub(super) fn unsupported<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EOPNOTSUPP.into())
}

/// What makes no sense here.
pub(super) fn invalid<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Err(Errno::EINVAL.into())
}
