//! The child's exits other than system calls: requests of its shim, first touches of memory, and everything that no honest shim
//! causes.
use alloc::format;
use alloc::string::{String, ToString};
use core::mem::offset_of;

use files::{Errno, Timestamp};
use gate::Standing;
use hvclient::Transport;
use policy::Settlement;
use policy::quotas::Quota;
use proto::op::{Exit, Listen, Question, Settled, Wait, settled};
use proto::{DOORBELL_PORT, GatePage};
use services::Served;
use tlfs::addr::Gpa;
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{
    HvMessageType, HvX64InterceptMessageHeader, HvX64IoPortInterceptMessage, HvX64MemoryInterceptMessage,
    HvX64MsrInterceptMessage,
};
use tlfs::vp_page::RegisterPageDirty;
use trace::{Cause, MAX_PATH, Piece, TaintRecord};
use zerocopy::IntoBytes;

use crate::create::{change_window, map_blocks};
use crate::layout;
use crate::memory::{PlaceError, RootMemory};
use crate::run::{PAYLOAD, Sandbox, Step};
use crate::{Failure, Outcome, World};

impl<R: RootMemory> Sandbox<'_, R> {
    /// The shim rings: a request to the services.
    pub(crate) fn io_port<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let message: HvX64IoPortInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
        let header = &message.header;
        let length = header.length_cr8.instruction_length();
        let rings = message.port_number == DOORBELL_PORT
            && header.intercept_access_type == HvInterceptAccessType::WRITE
            && header.execution_state.cpl() == 0
            && !message.access_info.string_op();
        if !rings || length == 0 {
            let port = message.port_number;
            return Err(Failure::new(format!(
                "the shim used port {port:#x} in a way that means nothing, at {:#x}",
                header.rip
            )));
        }
        self.parts.registers.set_rip(header.rip.wrapping_add(u64::from(length)));
        self.parts.registers.set_dirty(RegisterPageDirty::IP);
        let now = (world.now)();
        self.look_at_gate(now, world)?;
        self.stats.service_requests += 1;
        let realtime = Timestamp::from_ns(self.parts.realtime_base.saturating_add(now.saturating_mul(100)));
        let mut view = self.memory.view(world.memory);
        let served = self.services.serve(Gpa(layout::SERVICE), &mut view, world.console, world.entropy, realtime);
        self.tell_request(now, world);
        self.put_taints_in_force(now, world);
        self.show_taints(world);
        self.map_pending(world)?;
        change_window(&mut self.partition, &mut self.memory, world)?;
        self.after_request(world)?;
        self.after_service(served, now, world)
    }

    /// Answers the shim's question whether a socket may listen.
    fn may_listen<T: Transport>(&mut self, listen: &Listen, world: &mut World<'_, T, R>) -> Step {
        let len = usize::try_from(listen.len).unwrap_or(0);
        let allowed = match self.gate.may_listen(listen.address.get(..len).unwrap_or(&[])) {
            Ok(()) => Ok(()),
            Err(gate::Refused::Errno(errno)) => Err(Errno::from_host(errno.number)),
            Err(gate::Refused::Kill { reason }) => return Step::Ended(Outcome::PolicyKilled { reason }),
        };
        let mut view = self.memory.view(world.memory);
        self.services.finish_listen(Gpa(layout::SERVICE), &mut view, allowed);
        Step::Again
    }

    /// Tells the shim what has become of a question, which is posed if it is new.
    fn question<T: Transport>(&mut self, question: Question, program: &[u8], now: u64, world: &mut World<'_, T, R>) {
        let age = now.saturating_sub(self.parts.created);
        let (console, asks) = (&mut *world.console, (question.process, program));
        let standing = self.gate.question(question.sequence, asks, age, &mut |record| console.record(&record));
        let state = |state| Settled { state, errno: 0 };
        let answer = match standing {
            Standing::Open => state(settled::OPEN),
            Standing::Again => state(settled::AGAIN),
            Standing::Settled(Settlement::Allow) => state(settled::ALLOWED),
            Standing::Settled(Settlement::KillThread) => state(settled::KILL_THREAD),
            Standing::Settled(Settlement::Errno(errno)) => {
                Settled { state: settled::FAILED, errno: u32::from(errno.number) }
            }
            // Who ends the sandbox has ended it.
            Standing::Settled(Settlement::KillProcess | Settlement::Kill) => state(settled::KILL_PROCESS),
        };
        let mut view = self.memory.view(world.memory);
        self.services.finish_question(Gpa(layout::SERVICE), &mut view, answer);
    }

    /// Lets calls be denied that are so once the files of this request were used. The program has not got on since, so that none of its calls comes before.
    fn put_taints_in_force<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        let Some(used) = self.services.authority_mut().take_used() else { return };
        let cause = Cause::File { rights: used.rights.to_string(), path: Piece::first_of(&used.path, MAX_PATH) };
        let time = now.saturating_sub(self.parts.created);
        let record = TaintRecord { time, thread: self.thread, cause, rule: String::new() };
        let console = &mut *world.console;
        self.gate.taint(used.taints, &record, &mut |record| console.record(&record));
    }

    /// Shows the shim which taints are in force, so that calls under way that they deny are judged once more.
    #[inline]
    pub(crate) fn show_taints<T: Transport>(&mut self, world: &mut World<'_, T, R>) {
        let tainted = self.gate.tainted();
        if tainted != self.tainted
            && let Some(gate) = self.memory.private_page(layout::GATE)
        {
            self.tainted = tainted;
            world.memory.write(gate, offset_of!(GatePage, tainted), tainted.as_bytes());
        }
    }

    fn after_service<T: Transport>(
        &mut self,
        served: Served,
        now: u64,
        world: &mut World<'_, T, R>,
    ) -> Result<Step, Failure> {
        match served {
            Served::Replied => Ok(Step::Again),
            Served::Started => {
                self.stats.start_us = self.age_us(world);
                Ok(Step::Again)
            }
            Served::Wait(Wait { deadline, events }) => {
                Ok(Step::Waiting { deadline: self.parts.child_epoch.saturating_add(deadline), events })
            }
            Served::Listens(listen) => Ok(self.may_listen(&listen, world)),
            Served::Asks(question, program) => {
                self.question(question, &program, now, world);
                Ok(Step::Again)
            }
            Served::Withdraws(question) => {
                let (age, console) = (now.saturating_sub(self.parts.created), &mut *world.console);
                self.gate.withdraw(question.sequence, age, &mut |record| console.record(&record));
                Ok(Step::Again)
            }
            Served::Exited(exit) => {
                self.stats.program_bytes = exit.program_bytes;
                Ok(Step::Ended(ended(&exit, self.gate.killed_for())))
            }
            Served::NotStarted { code, errno: _, reason } => Ok(Step::Ended(Outcome::NotStarted { code, reason })),
            Served::ShimPanic { text } => Err(Failure::new(format!("the shim gave up: {text}"))),
            Served::Malformed { reason } => Err(Failure::new(format!("the shim's request was malformed: {reason}"))),
        }
    }

    /// First touch of free memory.
    pub(crate) fn unmapped_gpa<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let message: HvX64MemoryInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
        let gpa = message.guest_physical_address;
        match self.memory.block_of(gpa) {
            Some(block) if !self.memory.is_backed(block) => {
                match self.memory.touched(block, world.memory) {
                    // An honest shim does not come here unless files have taken what it had given out already.
                    Err(PlaceError::Limit) => return Ok(self.end_at_limit(world)),
                    touched => touched?,
                }
                self.map_pending(world)?;
                self.divide(world)?;
                Ok(Step::Again)
            }
            _ => Err(Failure::new(format!(
                "the child accessed guest physical address {gpa:#x}, where it has no memory, at {:#x}",
                message.header.rip
            ))),
        }
    }

    /// There is no memory for a page that the child has touched: it ends as who runs out of memory does on Linux.
    #[cold]
    fn end_at_limit<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Step {
        self.reached(Quota::Memory, world);
        let detail = self.gate.describe(Quota::Memory).unwrap_or_default();
        Step::Ended(Outcome::Signaled { signal: SIGKILL, detail })
    }

    /// Maps the blocks of free memory that were backed since the last time.
    fn map_pending<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        map_blocks(&mut self.partition, &mut self.memory, world)
    }

    /// A message that no honest shim, and no program at all, causes.
    #[cold]
    pub(crate) fn unexpected(&self, message_type: HvMessageType) -> Failure {
        let header: HvX64InterceptMessageHeader = self.parts.message.read::<_, PAYLOAD>();
        let (rip, cpl) = (header.rip, header.execution_state.cpl());
        Failure::new(match message_type {
            HvMessageType::GPA_INTERCEPT => {
                let message: HvX64MemoryInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
                let gpa = message.guest_physical_address;
                let kind = match header.intercept_access_type {
                    HvInterceptAccessType::READ => "read",
                    HvInterceptAccessType::WRITE => "write to",
                    _ => "execution at",
                };
                format!("{kind} protected guest physical address {gpa:#x}, at {rip:#x} in ring {cpl}")
            }
            HvMessageType::X64_MSR_INTERCEPT => {
                let message: HvX64MsrInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
                format!("the shim wrote MSR {:#x}, at {rip:#x}", message.msr_number)
            }
            HvMessageType::UNRECOVERABLE_EXCEPTION => format!("triple fault at {rip:#x} in ring {cpl}"),
            other => format!("unexpected message {other} at {rip:#x} in ring {cpl}"),
        })
    }
}

/// The signal that ends a process for whose memory there is no room (Linux `uapi/asm-generic/signal.h`).
const SIGKILL: u8 = 9;
/// The signal of a call that is refused (Linux `uapi/asm-generic/signal.h`).
const SIGSYS: u32 = 31;

/// How a program's own end is told to the user. `killed_for`: for what a process was ended last.
fn ended(exit: &Exit, killed_for: Option<&str>) -> Outcome {
    if exit.signal == 0 {
        return Outcome::Exited { status: u8::try_from(exit.status).unwrap_or(u8::MAX) };
    }
    let detail = match (exit.address, exit.rip) {
        _ if exit.signal == SIGSYS => killed_for.unwrap_or_default().into(),
        (0, 0) => String::new(),
        (address, rip) => format!("address {address:#x}, instruction {rip:#x}"),
    };
    Outcome::Signaled { signal: u8::try_from(exit.signal).unwrap_or(u8::MAX), detail }
}
