//! The system as a whole: its name, memory, processors, random bytes.

use super::Args;
use crate::abi::{Sysinfo, UTS_FIELD};
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::mm::user::MAX_TRANSFER;
use crate::platform::Platform;
use crate::time::SECOND_NS;

/// What uname says: system, node, release, version, machine, domain. The release is the Linux whose calls are the model.
const NAMES: [&str; 6] = ["Linux", "cordon", "6.1.0-cordon", "#1 Cordon", "x86_64", "(none)"];
/// Known flags of getrandom.
const RANDOM_FLAGS: u32 = 7;

pub(super) fn uname<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let mut out = [0; 6 * UTS_FIELD];
    for (field, name) in out.chunks_exact_mut(UTS_FIELD).zip(NAMES) {
        field[..name.len()].copy_from_slice(name.as_bytes());
    }
    kernel.copy_out(args.get(0), &out)?;
    Ok(0)
}

pub(super) fn sysinfo<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let info = Sysinfo {
        uptime: (kernel.monotonic_ns() / SECOND_NS).cast_signed(),
        totalram: kernel.frames.total(),
        freeram: kernel.frames.available(),
        procs: 1,
        mem_unit: 1,
        ..Default::default()
    };
    kernel.put(args.get(0), &info)?;
    Ok(0)
}

pub(super) fn sched_yield<P: Platform>(_: &mut Kernel<P>, _: &Args) -> Outcome {
    Ok(0)
}

/// There is one processor: its bit, in a mask of at least eight bytes.
pub(super) fn sched_getaffinity<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_pid(kernel, args.int(0))?;
    let len = args.get(1);
    if len < 8 || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    kernel.put(args.get(2), &1_u64)?;
    Ok(8)
}

pub(super) fn sched_setaffinity<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    check_pid(kernel, args.int(0))?;
    if args.get(1) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let first: u8 = kernel.get(args.get(2))?;
    if first & 1 == 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

fn check_pid<P: Platform>(kernel: &Kernel<P>, pid: i32) -> Result<(), Errno> {
    if pid == 0 || u32::try_from(pid) == Ok(kernel.task.tid) { Ok(()) } else { Err(Errno::ESRCH) }
}

pub(super) fn getcpu<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    for at in [args.get(0), args.get(1)] {
        if at != 0 {
            kernel.put(at, &0_u32)?;
        }
    }
    Ok(0)
}

pub(super) fn getrandom<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (at, len, flags) = (args.get(0), args.get(1).min(MAX_TRANSFER), args.uint(2));
    if flags & !RANDOM_FLAGS != 0 || flags & 6 == 6 {
        return Err(Errno::EINVAL.into());
    }
    let mut block = [0; 256];
    let mut done = 0;
    while done < len {
        let part = crate::num::index((len - done).min(block.len() as u64));
        let bytes = &mut block[..part];
        kernel.random.fill(bytes);
        match kernel.copy_out(at.wrapping_add(done), bytes) {
            Ok(()) => done += part as u64,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}
