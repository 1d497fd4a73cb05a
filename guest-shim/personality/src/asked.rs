//! Calls about which somebody is asked: they were granted, and wait until the root says what has become of the question.
//!
//! The thread waits as in any call that has to, and the others go on. A handler of a signal has to wait, too: a program whose timer runs would else take each question
//! back before anybody could have read it. What ends the process ends the wait, and the question with it.
//!
//! What is carried out is what was shown. The gate has copied strings, addresses and what is written; the lists of strings of a program to be executed, for which it has no
//! room, are kept here ([`exec::keep`]), before another thread has run since it read them.

use proto::op::{self, settled, wait_events};
use proto::{Grant, grant_flags};

use crate::errno::Errno;
use crate::fs::dentry::Dentry;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::regs::UserRegs;
use crate::sched::Carried;
use crate::syscalls::{Args, exec};
use crate::wait::Wait;

impl<P: Platform> Kernel<P> {
    /// What has become of the call under way that somebody is asked about. `None`: it is to be carried out.
    pub(crate) fn stand(&mut self, regs: &mut UserRegs, grant: &Grant) -> Option<Carried> {
        exec::keep(self, grant.number, &Args(grant.args));
        let process = self.task.process.borrow();
        let question = op::Question { sequence: grant.sequence, process: process.pid, reserved: 0 };
        let program = process.executable.as_ref().map(Dentry::path).unwrap_or_default();
        drop(process);
        let op::Settled { state, errno } = self.fuse.question(&mut self.platform, question, &program);
        if state == settled::OPEN {
            return Some(Carried::Waits(Wait::event(wait_events::ANSWER).killable()));
        }
        // Nothing is open any more.
        let grant = Grant { flags: grant.flags & !grant_flags::ASK, ..*grant };
        self.task.call = Some(grant);
        match state {
            settled::ALLOWED => return None,
            settled::AGAIN => self.make_again(regs, &grant),
            settled::KILL_THREAD | settled::KILL_PROCESS => {
                let flag =
                    if state == settled::KILL_THREAD { grant_flags::KILL_THREAD } else { grant_flags::KILL_PROCESS };
                self.condemn(&Grant { flags: flag, ..grant }, regs.rip);
                return Some(Carried::Ended);
            }
            _ => self.finish(regs, Err(Errno(errno.cast_signed()).into())),
        }
        Some(Carried::Done)
    }

    /// A thread is no more whose call this was: if somebody is asked about it, nobody waits for the answer.
    pub(crate) fn give_up(&mut self, call: Option<Grant>) {
        if let Some(grant) = call
            && grant.flags & grant_flags::ASK != 0
        {
            let question = op::Question { sequence: grant.sequence, ..op::Question::default() };
            let _ = self.fuse.request(&mut self.platform, op::WITHDRAW, 0, &question, &[], &[]);
        }
    }
}
