//! futex. There is one thread: nobody can be woken, and a wait that would block ends only by its time limit.

use linux_raw_sys::general as raw;

use super::Args;
use crate::abi::Timespec;
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::time::from_timespec;
use crate::wait::Wait;

pub(super) fn futex<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (at, operation, value, timeout, bits) = (args.get(0), args.uint(1), args.uint(2), args.get(3), args.uint(5));
    if !at.is_multiple_of(4) {
        return Err(Errno::EINVAL.into());
    }
    let command = operation & !(raw::FUTEX_PRIVATE_FLAG | raw::FUTEX_CLOCK_REALTIME);
    let bitset = matches!(command, raw::FUTEX_WAIT_BITSET | raw::FUTEX_WAKE_BITSET);
    if bitset && bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    match command {
        raw::FUTEX_WAIT | raw::FUTEX_WAIT_BITSET => {
            let limit = if timeout == 0 { None } else { Some(from_timespec(kernel.get::<Timespec>(timeout)?)?) };
            let found: u32 = kernel.get(at)?;
            if found != value {
                return Err(Errno::EAGAIN.into());
            }
            let deadline = match limit {
                None => u64::MAX,
                Some(ns) if command == raw::FUTEX_WAIT => kernel.deadline(ns),
                Some(ns) => {
                    let realtime = operation & raw::FUTEX_CLOCK_REALTIME != 0;
                    let now = if realtime { kernel.realtime_ns() } else { kernel.monotonic_ns() };
                    kernel.deadline(ns.saturating_sub(now))
                }
            };
            if kernel.is_over(deadline) {
                return Err(Errno::ETIMEDOUT.into());
            }
            Err(Stop::Block(Wait::until(deadline)))
        }
        raw::FUTEX_WAKE | raw::FUTEX_WAKE_BITSET => {
            let _: u32 = kernel.get(at)?;
            Ok(0)
        }
        _ => Err(Stop::NotImplemented),
    }
}
