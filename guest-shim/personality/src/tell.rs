//! Beginnings and ends of threads and processes, told to the root if it records them.

use alloc::rc::Rc;
use alloc::vec::Vec;

use proto::boot_flags;
use proto::op::{self, Ended, Executed, MAX_TOLD, MAX_TOLD_ARGUMENTS, ThreadStarted};
use zerocopy::IntoBytes;

use crate::fs::dentry::{Node, Place};
use crate::kernel::Kernel;
use crate::num::len32;
use crate::platform::Platform;

impl<P: Platform> Kernel<P> {
    fn tells(&self) -> bool {
        self.flags & boot_flags::TELL_PROCESSES != 0
    }

    /// A thread has been made.
    pub(crate) fn tell_started(&mut self, thread: u32, process: u32, parent: u32) {
        if self.tells() {
            let told = ThreadStarted { thread, process, parent, reserved: 0 };
            // It is told or not; nothing hangs on it here, nor below.
            let _ = self.fuse.request(&mut self.platform, op::THREAD_STARTED, 0, &told, &[], &[]);
        }
    }

    /// The present process begins to execute the file at `place`.
    pub(crate) fn tell_executed(&mut self, place: &Place, arguments: &[Vec<u8>]) {
        let Node::File(inode) = &place.node else { return };
        if self.tells() {
            let process = self.task.process.borrow().pid;
            let told = Executed { process, argc: len32(arguments.len()) };
            let mut message = Vec::from(told.as_bytes());
            for argument in arguments.iter().take(MAX_TOLD_ARGUMENTS) {
                message.extend(argument.iter().take(MAX_TOLD + 1));
                message.push(0);
            }
            let node = Rc::clone(inode).number();
            let _ = self.fuse.request(&mut self.platform, op::EXECUTED, node, message.as_slice(), &[], &[]);
        }
    }

    /// A thread (0: a process, with this status) has ended.
    pub(crate) fn tell_ended(&mut self, process: u32, thread: u32, status: u32) {
        if self.tells() {
            let told = Ended { process, thread, status, reserved: 0 };
            let _ = self.fuse.request(&mut self.platform, op::ENDED, 0, &told, &[], &[]);
        }
    }
}
