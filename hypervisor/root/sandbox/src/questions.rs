//! Questions about calls: what is answered, and the call for which a whole sandbox stands still.
use alloc::string::String;

use control::answer::Choice;
use gate::{CallSite, INVALID_OPCODE, Standing};
use hvclient::Transport;
use policy::Settlement;
use proto::op::wait_events;
use proto::{Grant, grant_flags};

use crate::memory::RootMemory;
use crate::run::Sandbox;
use crate::{Outcome, World};

/// A call that the sandbox stands still for, at the fault that it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    /// What is allowed, if it is.
    pub(crate) grant: Grant,
    pub(crate) instruction_len: u8,
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
}

impl<R: RootMemory> Sandbox<'_, R> {
    /// Somebody has answered a question. How the sandbox ends, if it does.
    #[must_use]
    pub fn answer_question<T: Transport>(
        &mut self,
        sequence: u64,
        choice: Choice,
        world: &mut World<'_, T, R>,
    ) -> Option<Outcome> {
        let (age, console) = ((world.now)().saturating_sub(self.parts.created), &mut *world.console);
        let reason = self.gate.answer(sequence, choice, age, &mut |record| console.record(&record));
        self.take_up(reason, world)
    }

    /// Settles the questions that nobody has answered in time. How the sandbox ends, if it does.
    #[must_use]
    pub fn expire_questions<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Option<Outcome> {
        let (age, console) = ((world.now)().saturating_sub(self.parts.created), &mut *world.console);
        let reason = self.gate.expire(age, &mut |record| console.record(&record));
        self.take_up(reason, world)
    }

    /// The root's reference time at which [`Sandbox::expire_questions`] has to be called; `u64::MAX`: whenever.
    #[must_use]
    pub fn questions_due(&self) -> u64 {
        self.gate.next_limit().saturating_add(self.parts.created)
    }

    /// Which of `events` are there that this sandbox knows of, and not the console.
    #[must_use]
    pub fn found(&self, events: u64) -> u64 {
        if self.gate.has_news() { events & wait_events::ANSWER } else { 0 }
    }

    /// The same for one that waits: it is told once.
    pub fn take_found(&mut self, events: u64) -> u64 {
        let found = self.found(events);
        if found != 0 {
            self.gate.take_news();
        }
        found
    }

    /// Whether it stands still. It does not any more once [`Sandbox::answer_question`] or [`Sandbox::expire_questions`] has settled that question.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Goes on after a question was settled. `reason`: for which it ends instead.
    fn take_up<T: Transport>(&mut self, reason: Option<String>, world: &mut World<'_, T, R>) -> Option<Outcome> {
        if let Some(reason) = reason {
            return Some(Outcome::PolicyKilled { reason });
        }
        self.show_taints(world);
        let Stopped { grant, instruction_len, rip, rflags } = self.stopped?;
        let now = (world.now)();
        let (age, console) = (now.saturating_sub(self.parts.created), &mut *world.console);
        let standing = self.gate.question(grant.sequence, (0, &[]), age, &mut |record| console.record(&record));
        let Standing::Settled(settlement) = standing else { return None };
        self.stopped = None;
        let site = CallSite {
            vector: INVALID_OPCODE,
            error_code: 0,
            cpl: 3,
            gprs: [0; 16],
            rip,
            rflags,
            cr3: self.parts.registers.cr3(),
            instruction: &[],
            thread: self.thread,
        };
        let grant = match settlement {
            Settlement::Errno(errno) => {
                self.answer(&site, errno.result(), instruction_len);
                return None;
            }
            Settlement::Allow => {
                self.alarm.call(grant.number, now);
                grant
            }
            Settlement::KillThread => Grant { flags: grant_flags::KILL_THREAD, ..grant },
            Settlement::KillProcess | Settlement::Kill => Grant { flags: grant_flags::KILL_PROCESS, ..grant },
        };
        let failure = self.forward(&site, &grant, instruction_len, world).err()?;
        Some(Outcome::SandboxFailed { reason: failure.reason })
    }
}
