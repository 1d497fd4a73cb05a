//! A sandbox's life: dispatch its VP, look at what stopped it, act, again.
use alloc::format;
use alloc::string::String;
use core::mem::offset_of;

use files::Timestamp;
use gate::{Action, CallSite, Gate};
use guestmem::GuestMemory;
use hvclient::{DispatchEnd, StatePage, Transport};
use proto::layout::SYSCALL_FLAGS_MASK;
use proto::op::{Exit, Wait, Woken};
use proto::{CallResult, DOORBELL_PORT, GatePage, Grant, RESULT_SLOTS};
use services::{Served, Services};
use tlfs::addr::{Gpa, PAGE_SIZE};
use tlfs::calls::DispatchVpFlags;
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{
    HvMessageHeader, HvMessageType, HvX64ExceptionInterceptMessage, HvX64InterceptMessageHeader,
    HvX64IoPortInterceptMessage, HvX64MemoryInterceptMessage, HvX64MsrInterceptMessage,
};
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64PendingInterruptionRegister};
use tlfs::vp_page::{HvVpRegisterPage, HvVpStatePageType, RegisterPageDirty};
use zerocopy::{FromBytes, IntoBytes};

use crate::create::{FREE, kernel_code, kernel_stack};
use crate::layout::{self, BLOCK_PAGES};
use crate::memory::{ChildMemory, RootMemory};
use crate::partition::{Partition, VP};
use crate::{Failure, Outcome, RunStats, World};

/// Indices of registers in the register page.
const RAX: usize = 0;
const RCX: usize = 1;
const R11: usize = 11;
const CS: usize = 1;
const SS: usize = 2;
const SEGMENTS: usize = 6;

/// Pages of a block.
const BLOCK: usize = 16;
const _: () = assert!(BLOCK as u64 == BLOCK_PAGES);

/// Offset of a message's payload in the message page.
const PAYLOAD: usize = size_of::<HvMessageHeader>();

/// The thread that trace lines name: the root sees one VP and not which of the shim's tasks is on it.
const THREAD: u32 = 1;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Step again.
    Again,
    /// An interrupt for the root is pending; step again when it is taken.
    Interrupted,
    /// The child waits: call [`Sandbox::wake`] when the root's reference time is `deadline`, or one of `events`
    /// (`proto::op::wait_events`) is there, and step again.
    Waiting {
        /// In 100 ns.
        deadline: u64,
        /// Bits.
        events: u64,
    },
    /// It is over.
    Ended(Outcome),
}

/// What making a sandbox leaves to running it.
pub(crate) struct Parts {
    pub(crate) registers: StatePage,
    pub(crate) message: StatePage,
    /// The root's reference time when the making began.
    pub(crate) created: u64,
    /// The root's reference time when the child's began.
    pub(crate) child_epoch: u64,
    pub(crate) syscall_entry: u64,
    /// CLOCK_REALTIME in ns at the root's reference time 0.
    pub(crate) realtime_base: u64,
}

/// A sandbox. See the [crate's documentation](crate).
pub struct Sandbox<'t, R: RootMemory> {
    parts: Parts,
    partition: Partition,
    pub(crate) memory: ChildMemory<R>,
    gate: Gate,
    services: Services<'t>,
    /// Flags for the next dispatch.
    flags: DispatchVpFlags,
    /// Results of calls that were taken from the gate page.
    results_taken: u64,
    stats: RunStats,
}

impl<'t, R: RootMemory> Sandbox<'t, R> {
    pub(crate) fn assemble(
        parts: Parts,
        partition: Partition,
        memory: ChildMemory<R>,
        gate: Gate,
        services: Services<'t>,
    ) -> Self {
        let flags = DispatchVpFlags::empty();
        Self { parts, partition, memory, gate, services, flags, results_taken: 0, stats: RunStats::default() }
    }

    /// The root's reference time when the making of this sandbox began, in 100 ns.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.parts.created
    }

    /// Runs the child until it stops, and acts on why.
    pub fn step<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Step {
        match self.try_step(world) {
            Ok(step) => step,
            Err(failure) => failed(failure),
        }
    }

    /// Ends the wait that [`Step::Waiting`] began; `events` are those that are there.
    pub fn wake<T: Transport>(&mut self, events: u64, world: &mut World<'_, T, R>) {
        let mut view = self.memory.view(world.memory);
        self.services.finish_wait(Gpa(layout::SERVICE), &mut view, Woken { events });
    }

    /// Takes the partition down and everything back, and gives the run's figures. The last lines of the trace are written.
    pub fn destroy<T: Transport>(mut self, world: &mut World<'_, T, R>) -> (RunStats, Result<(), Failure>) {
        let stats = self.final_stats(world);
        let console = &mut *world.console;
        self.gate.finish(&mut |line| console.trace(line));
        let id = self.partition.id();
        let pages = [
            (HvVpStatePageType::REGISTERS, self.parts.registers),
            (HvVpStatePageType::INTERCEPT_MESSAGE, self.parts.message),
        ];
        let mut result = Ok(());
        for (page_type, page) in pages {
            let unmapped = world.client.unmap_vp_state_page(id, VP, page_type, page);
            result = result.and(unmapped.map_err(Failure::from));
        }
        let deleted = self.partition.delete(world.client, world.memory);
        if deleted.is_ok() {
            self.memory.release(world.memory);
        }
        (stats, result.and(deleted))
    }

    fn final_stats<T: Transport>(&mut self, world: &World<'_, T, R>) -> RunStats {
        let counters = self.gate.counters();
        let pages = self.memory.private_pages() + self.partition.deposited_pages();
        RunStats {
            calls: counters.calls,
            denied: counters.denied,
            killed: counters.killed,
            not_implemented: counters.not_implemented,
            other_hypercalls: world.client.calls().saturating_sub(self.stats.dispatches),
            wall_us: self.age_us(world),
            memory_bytes: pages * PAGE_SIZE,
            ..self.stats.clone()
        }
    }

    fn age_us<T: Transport>(&self, world: &World<'_, T, R>) -> u64 {
        (world.now)().saturating_sub(self.parts.created) / 10
    }

    fn try_step<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let end = world.client.dispatch(self.partition.id(), VP, self.flags)?;
        self.stats.dispatches += 1;
        self.flags = DispatchVpFlags::empty();
        match end {
            DispatchEnd::Intercept => {
                self.flags = DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND;
                self.intercept(world)
            }
            DispatchEnd::Ready => Ok(Step::Interrupted),
            // The root gives the child no interrupts.
            DispatchEnd::Blocked => Err(Failure::new("the shim halted its processor, and nothing can wake it")),
            DispatchEnd::Suspended => Err(Failure::new("the virtual processor is suspended")),
            DispatchEnd::Unknown(state, event) => Err(Failure::new(format!("the dispatch ended with {state}, {event}"))),
        }
    }

    #[inline]
    fn intercept<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let header: HvMessageHeader = self.parts.message.read::<_, 0>();
        match header.message_type {
            HvMessageType::X64_EXCEPTION_INTERCEPT => self.exception(world),
            HvMessageType::X64_IO_PORT_INTERCEPT => self.io_port(world),
            HvMessageType::UNMAPPED_GPA => self.unmapped_gpa(world),
            other => Err(self.unexpected(other)),
        }
    }

    /// A fault that may be a system call.
    #[inline]
    fn exception<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let message: HvX64ExceptionInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
        let bytes = usize::from(message.instruction_byte_count).min(message.instruction_bytes.len());
        let site = CallSite {
            vector: u8::try_from(message.exception_vector).unwrap_or(u8::MAX),
            error_code: if message.exception_info.error_code_valid() { message.error_code } else { 0 },
            cpl: message.header.execution_state.cpl(),
            gprs: message.gprs,
            rip: message.header.rip,
            rflags: message.header.rflags,
            cr3: self.parts.registers.read::<u64, { offset_of!(HvVpRegisterPage, cr3) }>(),
            instruction: message.instruction_bytes.get(..bytes).unwrap_or_default(),
            thread: THREAD,
        };
        let now = (world.now)().saturating_sub(self.parts.created);
        self.take_results(now, world);
        let console = &mut *world.console;
        let view = self.memory.view(world.memory);
        let action = self.gate.judge(&site, &view, now, &mut |line| console.trace(line));
        match action {
            Action::Forward { grant, instruction_len } => self.forward(&site, &grant, instruction_len, world),
            Action::Answer { value, instruction_len } => {
                self.answer(&site, value, instruction_len);
                Ok(Step::Again)
            }
            Action::Reflect { vector, error_code } => self.reflect(vector, error_code, world),
            Action::Kill { reason } => Ok(Step::Ended(Outcome::PolicyKilled { reason })),
            Action::ShimFailed { reason } => Err(Failure { reason }),
        }
    }

    /// Performs the SYSCALL entry on the VP, into the shim, with the grant in its page.
    #[inline]
    fn forward<T: Transport>(
        &mut self,
        site: &CallSite<'_>,
        grant: &Grant,
        instruction_len: u8,
        world: &mut World<'_, T, R>,
    ) -> Result<Step, Failure> {
        const GRANT: u64 = layout::GATE + offset_of!(GatePage, grant) as u64;
        self.memory.view(world.memory).write(Gpa(GRANT), grant.as_bytes())?;
        self.set_return(site, instruction_len);
        self.set_rflags(site.rflags & !SYSCALL_FLAGS_MASK);
        self.set_rip(self.parts.syscall_entry);
        self.set_segment(CS, kernel_code());
        self.set_segment(SS, kernel_stack());
        self.set_dirty(
            RegisterPageDirty::GENERAL | RegisterPageDirty::IP | RegisterPageDirty::FLAGS | RegisterPageDirty::SEGMENT,
        );
        Ok(Step::Again)
    }

    /// Lets the program go on behind the call, with `value` as its result.
    fn answer(&mut self, site: &CallSite<'_>, value: i64, instruction_len: u8) {
        self.set_return(site, instruction_len);
        self.set_gpr(RAX, value.cast_unsigned());
        self.set_rip(site.rip.wrapping_add(u64::from(instruction_len)));
        self.set_dirty(RegisterPageDirty::GENERAL | RegisterPageDirty::IP);
    }

    /// RCX and R11, as SYSCALL leaves them.
    #[inline]
    fn set_return(&mut self, site: &CallSite<'_>, instruction_len: u8) {
        self.set_gpr(RCX, site.rip.wrapping_add(u64::from(instruction_len)));
        self.set_gpr(R11, site.rflags);
    }

    /// Delivers an exception to the child: to its shim, which makes a signal of it.
    fn reflect<T: Transport>(
        &mut self,
        vector: u8,
        error_code: Option<u32>,
        world: &mut World<'_, T, R>,
    ) -> Result<Step, Failure> {
        let pending = HvX64PendingInterruptionRegister::exception(vector, error_code);
        let register = (HvRegisterName::PENDING_INTERRUPTION, HvRegisterValue::from_u64(pending.0));
        let set = world.client.set_registers(self.partition.id(), VP, &[register]);
        set.map_err(|partial| Failure::from(partial.error))?;
        Ok(Step::Again)
    }

    /// The shim rings: a request to the services.
    fn io_port<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let message: HvX64IoPortInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
        let header = &message.header;
        let length = header.length_cr8.instruction_length();
        let rings = message.port_number == DOORBELL_PORT
            && header.intercept_access_type == HvInterceptAccessType::WRITE
            && header.execution_state.cpl() == 0
            && !message.access_info.string_op();
        if !rings || length == 0 {
            let port = message.port_number;
            return Err(Failure::new(format!("the shim used port {port:#x} in a way that means nothing, at {:#x}", header.rip)));
        }
        self.set_rip(header.rip.wrapping_add(u64::from(length)));
        self.set_dirty(RegisterPageDirty::IP);
        let now = (world.now)();
        self.take_results(now.saturating_sub(self.parts.created), world);
        self.stats.service_requests += 1;
        let realtime = Timestamp::from_ns(self.parts.realtime_base.saturating_add(now.saturating_mul(100)));
        let mut view = self.memory.view(world.memory);
        let served = self.services.serve(Gpa(layout::SERVICE), &mut view, world.console, world.entropy, realtime);
        self.map_pending(world)?;
        self.after_service(served, world)
    }

    fn after_service<T: Transport>(&mut self, served: Served, world: &World<'_, T, R>) -> Result<Step, Failure> {
        match served {
            Served::Replied => Ok(Step::Again),
            Served::Started => {
                self.stats.start_us = self.age_us(world);
                Ok(Step::Again)
            }
            Served::Wait(Wait { deadline, events }) => {
                Ok(Step::Waiting { deadline: self.parts.child_epoch.saturating_add(deadline), events })
            }
            Served::Exited(exit) => {
                self.stats.program_bytes = exit.program_bytes;
                Ok(Step::Ended(ended(&exit)))
            }
            Served::NotStarted { code, errno: _, reason } => Ok(Step::Ended(Outcome::NotStarted { code, reason })),
            Served::ShimPanic { text } => Err(Failure::new(format!("the shim gave up: {text}"))),
            Served::Malformed { reason } => Err(Failure::new(format!("the shim's request was malformed: {reason}"))),
        }
    }

    /// First touch of free memory.
    fn unmapped_gpa<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let message: HvX64MemoryInterceptMessage = self.parts.message.read::<_, PAYLOAD>();
        let gpa = message.guest_physical_address;
        match self.memory.block_of(gpa) {
            Some(block) if !self.memory.is_backed(block) => {
                self.memory.back(block, world.memory)?;
                self.map_pending(world)?;
                Ok(Step::Again)
            }
            _ => Err(Failure::new(format!(
                "the child accessed guest physical address {gpa:#x}, where it has no memory, at {:#x}",
                message.header.rip
            ))),
        }
    }

    /// Maps the blocks of free memory that were backed since the last time.
    fn map_pending<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        while let Some((target, source)) = self.memory.take_pending(world.memory) {
            let sources: [u64; BLOCK] = core::array::from_fn(|page| source + page as u64);
            self.partition.map(world.client, world.memory, target, FREE, &sources)?;
        }
        Ok(())
    }

    /// Hands the results that the shim has reported since the last time to the gate. A shim that reports more than there is
    /// room for has lost the older ones.
    #[inline]
    fn take_results<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        const COUNT: u64 = layout::GATE + offset_of!(GatePage, result_count) as u64;
        let reported = self.memory.view(world.memory).read_u64(Gpa(COUNT)).unwrap_or(self.results_taken);
        if reported != self.results_taken {
            self.take_new_results(reported, now, world);
        }
    }

    fn take_new_results<T: Transport>(&mut self, reported: u64, now: u64, world: &mut World<'_, T, R>) {
        const RESULTS: u64 = layout::GATE + offset_of!(GatePage, results) as u64;
        const SLOTS: u64 = RESULT_SLOTS as u64;
        const SIZE: usize = size_of::<CallResult>();
        let new = reported.wrapping_sub(self.results_taken).min(SLOTS);
        for index in (1..=new).rev() {
            let slot = reported.wrapping_sub(index) % SLOTS;
            let mut bytes = [0; SIZE];
            let read = self.memory.view(world.memory).read(Gpa(RESULTS + slot * SIZE as u64), &mut bytes);
            if let (Ok(()), Ok(result)) = (read, CallResult::read_from_bytes(&bytes)) {
                let console = &mut *world.console;
                self.gate.completed(result, now, &mut |line| console.trace(line));
            }
        }
        self.results_taken = reported;
    }

    /// A message that no honest shim, and no program at all, causes.
    #[cold]
    fn unexpected(&self, message_type: HvMessageType) -> Failure {
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

    #[inline]
    fn set_gpr(&mut self, index: usize, value: u64) {
        self.parts.registers.write_element::<u64, { offset_of!(HvVpRegisterPage, gprs) }, 16>(index, value);
    }

    #[inline]
    fn set_rip(&mut self, value: u64) {
        self.parts.registers.write::<u64, { offset_of!(HvVpRegisterPage, rip) }>(value);
    }

    #[inline]
    fn set_rflags(&mut self, value: u64) {
        self.parts.registers.write::<u64, { offset_of!(HvVpRegisterPage, rflags) }>(value);
    }

    #[inline]
    fn set_segment(&mut self, index: usize, value: tlfs::register::HvX64SegmentRegister) {
        self.parts.registers.write_element::<_, { offset_of!(HvVpRegisterPage, segments) }, SEGMENTS>(index, value);
    }

    /// Says which parts of the register page count at the next dispatch.
    #[inline]
    fn set_dirty(&mut self, parts: RegisterPageDirty) {
        self.parts.registers.write::<RegisterPageDirty, { offset_of!(HvVpRegisterPage, dirty) }>(parts);
    }
}

fn failed(failure: Failure) -> Step {
    Step::Ended(Outcome::SandboxFailed { reason: failure.reason })
}

/// How a program's own end is told to the user.
fn ended(exit: &Exit) -> Outcome {
    if exit.signal == 0 {
        return Outcome::Exited { status: u8::try_from(exit.status).unwrap_or(u8::MAX) };
    }
    let detail = match (exit.address, exit.rip) {
        (0, 0) => String::new(),
        (address, rip) => format!("address {address:#x}, instruction {rip:#x}"),
    };
    Outcome::Signaled { signal: u8::try_from(exit.signal).unwrap_or(u8::MAX), detail }
}
