//! Reading and writing the memory of another process: process_vm_readv and process_vm_writev.

use alloc::rc::Rc;
use core::cell::RefCell;

use super::Args;
use crate::abi::Iovec;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::mm::space::AddressSpace;
use crate::mm::user::{self, Ranges};
use crate::num::index;
use crate::platform::{PAGE_SIZE, Platform};
use crate::task::{Process, Task};

type Space = Rc<RefCell<AddressSpace>>;

pub(super) fn process_vm_readv<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    transfer(kernel, args, false)
}

pub(super) fn process_vm_writev<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    transfer(kernel, args, true)
}

impl<P: Platform> Kernel<P> {
    /// The memory of a process that the present one may reach into.
    fn space_of(&self, pid: i32) -> Result<Space, Errno> {
        let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
        let process = self.process(pid).ok_or(Errno::ESRCH)?;
        Ok(Rc::clone(&self.reachable(&process)?.space))
    }

    /// A thread of a process that the present one may reach into: one of the same user, or any for user 0.
    ///
    /// # Errors
    /// ESRCH: it has none any more. EPERM.
    pub(super) fn reachable(&self, process: &Rc<RefCell<Process>>) -> Result<&Task, Errno> {
        let tid = process.borrow().threads.first().copied().ok_or(Errno::ESRCH)?;
        let task = self.task_of(tid).ok_or(Errno::ESRCH)?;
        let own = self.task.process.borrow();
        let same = Rc::ptr_eq(process, &self.task.process);
        if !same {
            let other = process.borrow();
            let allowed = own.uid[1] == 0
                || (other.uid.iter().all(|&uid| uid == own.uid[0]) && other.gid.iter().all(|&gid| gid == own.gid[0]));
            if !allowed || other.dumpable == 0 {
                return Err(Errno::EPERM);
            }
        }
        Ok(task)
    }
}

/// A position in a list of ranges.
struct Cursor<'r> {
    rest: &'r [Iovec],
    done: u64,
}

impl Cursor<'_> {
    /// Address and length of what comes next in one range.
    fn next(&mut self) -> Option<(u64, u64)> {
        while let Some((first, rest)) = self.rest.split_first() {
            if self.done < first.len {
                return Some((first.base.wrapping_add(self.done), first.len - self.done));
            }
            (self.rest, self.done) = (rest, 0);
        }
        None
    }
}

fn transfer<P: Platform>(kernel: &mut Kernel<P>, args: &Args, writes: bool) -> Outcome {
    if args.get(5) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (local, remote) = {
        let (space, mut source) = kernel.memory();
        let mut space = space.borrow_mut();
        let local = Ranges::list(&mut space, &mut source, args.get(1), args.get(2))?;
        (local, Ranges::list(&mut space, &mut source, args.get(3), args.get(4))?)
    };
    if local.total == 0 || remote.total == 0 {
        return Ok(0);
    }
    let other = kernel.space_of(args.int(0))?;
    let own = Rc::clone(&kernel.task.space);
    let (mut here, mut there) = (Cursor { rest: local.rest(), done: 0 }, Cursor { rest: remote.rest(), done: 0 });
    let mut moved = 0;
    while let (Some((here_at, here_len)), Some((there_at, there_len))) = (here.next(), there.next()) {
        let mut buffer = [0; PAGE_SIZE];
        // Not over the end of a page of the other's: what comes before a page that is not there counts.
        let page = PAGE_SIZE as u64 - there_at % PAGE_SIZE as u64;
        let len = here_len.min(there_len).min(page);
        let piece = buffer.get_mut(..index(len)).unwrap_or(&mut []);
        let ((from, from_at), (to, to_at)) =
            if writes { ((&own, here_at), (&other, there_at)) } else { ((&other, there_at), (&own, here_at)) };
        let mut source = kernel.source();
        let copied = user::read(&mut from.borrow_mut(), &mut source, from_at, piece)
            .and_then(|()| user::write(&mut to.borrow_mut(), &mut source, to_at, piece));
        match copied {
            Ok(()) => {}
            Err(_) if moved > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
        moved += len;
        here.done += len;
        there.done += len;
    }
    Ok(moved)
}
