//! Calls on sockets. There are none yet: whatever is open is no socket, and nothing can be made one.

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::platform::Platform;

/// A call whose first argument must be a socket.
pub(super) fn on_socket<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    kernel.file(args.int(0))?;
    Err(Errno::ENOTSOCK.into())
}
