//! The system as a whole: its name, memory, processors, random bytes.

use super::Args;
use crate::abi::{Sysinfo, UTS_FIELD};
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::mm::user::MAX_TRANSFER;
use crate::platform::Platform;
use crate::time::SECOND_NS;

/// The release of the Linux whose calls are the model, and what stands for its build.
pub(crate) const RELEASE: &str = "6.1.0-cordon";
/// See [`RELEASE`].
pub(crate) const VERSION: &str = "#1 Cordon";
/// Known flags of getrandom.
const RANDOM_FLAGS: u32 = 7;

pub(super) fn uname<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let mut out = [0; 6 * UTS_FIELD];
    let [node, domain] = &kernel.node_names;
    let names = [b"Linux", node.as_slice(), RELEASE.as_bytes(), VERSION.as_bytes(), b"x86_64", domain];
    for (field, name) in out.chunks_exact_mut(UTS_FIELD).zip(names) {
        field.iter_mut().zip(name).take(UTS_FIELD - 1).for_each(|(to, from)| *to = *from);
    }
    kernel.copy_out(args.get(0), &out)?;
    Ok(0)
}

pub(super) fn sysinfo<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let info = Sysinfo {
        uptime: (kernel.monotonic_ns() / SECOND_NS).cast_signed(),
        totalram: kernel.frames.total(),
        freeram: kernel.frames.available(),
        procs: u16::try_from(kernel.task_count()).unwrap_or(u16::MAX),
        mem_unit: 1,
        ..Default::default()
    };
    kernel.put(args.get(0), &info)?;
    Ok(0)
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
