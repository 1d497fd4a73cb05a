//! The way of a system call: a fault in ring 3, the gate's verdict, and its effect on the VP.
//!
//! This is the hot path: two world switches, no allocation, and only those bytes copied that are looked at.
use core::mem::offset_of;

use gate::{Action, CallSite};
use guestmem::GuestMemory;
use hvclient::Transport;
use proto::layout::SYSCALL_FLAGS_MASK;
use proto::{ALARM_VECTOR, COPY_LEN, CallResult, Copies, CopyHead, GatePage, Grant, RESULT_SLOTS, grant_flags};
use tlfs::addr::Gpa;
use tlfs::message::{HvX64ExceptionInfo, HvX64ExceptionInterceptMessage as Exception, HvX64VpExecutionState};
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64PendingInterruptionRegister};
use tlfs::vp_page::RegisterPageDirty;
use zerocopy::{FromBytes, IntoBytes};

use crate::create::{kernel_code, kernel_stack};
use crate::layout;
use crate::memory::RootMemory;
use crate::partition::VP;
use crate::questions::Stopped;
use crate::registers::{CS, R11, RAX, RCX, SS};
use crate::run::{PAYLOAD, Sandbox, Step};
use crate::{Failure, Outcome, World};

/// What the shim writes into the gate page, as far as it is read at each exit.
#[repr(C)]
#[derive(FromBytes)]
struct Told {
    result_count: u64,
    alarm: u64,
    thread: u32,
    reached: u32,
}

const _: () = {
    const BASE: usize = offset_of!(GatePage, result_count);
    assert!(offset_of!(GatePage, alarm) - BASE == offset_of!(Told, alarm));
    assert!(offset_of!(GatePage, thread) - BASE == offset_of!(Told, thread));
    assert!(offset_of!(GatePage, reached) - BASE == offset_of!(Told, reached));
};

impl<R: RootMemory> Sandbox<'_, R> {
    /// A fault that may be a system call.
    #[inline]
    pub(crate) fn exception<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
        let now = (world.now)();
        self.look_at_gate(now, world)?;
        // Field by field: copying the message whole would cost more than the rest of this function.
        let page = &self.parts.message;
        let info: HvX64ExceptionInfo = page.read::<_, { PAYLOAD + offset_of!(Exception, exception_info) }>();
        let error_code: u32 = page.read::<_, { PAYLOAD + offset_of!(Exception, error_code) }>();
        let vector: u16 = page.read::<_, { PAYLOAD + offset_of!(Exception, exception_vector) }>();
        let state: HvX64VpExecutionState =
            page.read::<_, { PAYLOAD + offset_of!(Exception, header.execution_state) }>();
        let bytes: [u8; 16] = page.read::<_, { PAYLOAD + offset_of!(Exception, instruction_bytes) }>();
        let byte_count: u8 = page.read::<_, { PAYLOAD + offset_of!(Exception, instruction_byte_count) }>();
        let site = CallSite {
            vector: u8::try_from(vector).unwrap_or(u8::MAX),
            error_code: if info.error_code_valid() { error_code } else { 0 },
            cpl: state.cpl(),
            gprs: page.read::<_, { PAYLOAD + offset_of!(Exception, gprs) }>(),
            rip: page.read::<_, { PAYLOAD + offset_of!(Exception, header.rip) }>(),
            rflags: page.read::<_, { PAYLOAD + offset_of!(Exception, header.rflags) }>(),
            cr3: self.parts.registers.cr3(),
            instruction: bytes.get(..usize::from(byte_count)).unwrap_or(&bytes),
            thread: self.thread,
        };
        let age = now.saturating_sub(self.parts.created);
        let console = &mut *world.console;
        let view = self.memory.view(world.memory);
        let action = self.gate.judge(&site, &view, age, &mut |record| console.record(&record));
        self.show_taints(world);
        match action {
            Action::Forward { grant, instruction_len } => {
                self.alarm.call(grant.number, now);
                if grant.flags & grant_flags::COPIES != 0 {
                    self.hand_over_copies(world)?;
                }
                self.forward(&site, &grant, instruction_len, world)
            }
            Action::Stop { grant, instruction_len } => {
                if grant.flags & grant_flags::COPIES != 0 {
                    self.hand_over_copies(world)?;
                }
                self.stopped = Some(Stopped { grant, instruction_len, rip: site.rip, rflags: site.rflags });
                Ok(Step::Stopped)
            }
            Action::Answer { value, instruction_len } => {
                self.answer(&site, value, instruction_len);
                Ok(Step::Again)
            }
            Action::Later { at } => {
                self.delayed = true;
                Ok(Step::Waiting { deadline: self.parts.created.saturating_add(at), events: 0 })
            }
            Action::Reflect { vector, error_code } => self.reflect(vector, error_code, world),
            Action::Kill { reason } => Ok(Step::Ended(Outcome::PolicyKilled { reason })),
            Action::ShimFailed { reason } => Err(Failure { reason }),
        }
    }

    /// Performs the SYSCALL entry on the VP, into the shim, with the grant in its page.
    #[inline]
    pub(crate) fn forward<T: Transport>(
        &mut self,
        site: &CallSite<'_>,
        grant: &Grant,
        instruction_len: u8,
        world: &mut World<'_, T, R>,
    ) -> Result<Step, Failure> {
        let gate = self.memory.private_page(layout::GATE).ok_or_else(|| Failure::new("there is no gate page"))?;
        world.memory.write(gate, offset_of!(GatePage, grant), grant.as_bytes());
        self.set_return(site, instruction_len);
        self.parts.registers.set_rflags(site.rflags & !SYSCALL_FLAGS_MASK);
        self.parts.registers.set_rip(self.parts.syscall_entry);
        self.parts.registers.set_segment(CS, kernel_code());
        self.parts.registers.set_segment(SS, kernel_stack());
        self.parts.registers.set_dirty(
            RegisterPageDirty::GENERAL | RegisterPageDirty::IP | RegisterPageDirty::FLAGS | RegisterPageDirty::SEGMENT,
        );
        Ok(Step::Again)
    }

    /// Puts what was judged of the call's memory where the shim takes it from.
    fn hand_over_copies<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let mut view = self.memory.view(world.memory);
        for (index, (head, bytes)) in self.gate.copies().enumerate() {
            let at = |base: usize, size: usize| {
                let offset = u64::try_from(base.saturating_add(index.saturating_mul(size))).unwrap_or(u64::MAX);
                Gpa(layout::COPIES.saturating_add(offset))
            };
            view.write(at(offset_of!(Copies, heads), size_of::<CopyHead>()), head.as_bytes())?;
            view.write(at(offset_of!(Copies, bytes), COPY_LEN), bytes)?;
        }
        Ok(())
    }

    /// Lets the program go on behind the call, with `value` as its result.
    pub(crate) fn answer(&mut self, site: &CallSite<'_>, value: i64, instruction_len: u8) {
        self.set_return(site, instruction_len);
        self.parts.registers.set_gpr(RAX, value.cast_unsigned());
        self.parts.registers.set_rip(site.rip.wrapping_add(u64::from(instruction_len)));
        self.parts.registers.set_dirty(RegisterPageDirty::GENERAL | RegisterPageDirty::IP);
    }

    /// RCX and R11, as SYSCALL leaves them.
    #[inline]
    fn set_return(&mut self, site: &CallSite<'_>, instruction_len: u8) {
        self.parts.registers.set_gpr(RCX, site.rip.wrapping_add(u64::from(instruction_len)));
        self.parts.registers.set_gpr(R11, site.rflags);
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

    /// Reads what the shim has written into the gate page, and asserts the alarm's interrupt if its time has come; `now` is the root's
    /// reference time.
    #[inline]
    pub(crate) fn look_at_gate<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        if self.read_gate(now, world) {
            // On Microsoft's hypervisor the child's local APIC has to be enabled for this, which is the child's to do
            // (spurious-interrupt vector register), as is the end of interrupt. Ours has no APIC: it holds the vector until
            // RFLAGS.IF lets it in, and what was taken is finished.
            world.client.assert_interrupt(self.partition.id(), u64::from(VP.0), ALARM_VECTOR)?;
        }
        Ok(())
    }

    /// Takes the results of calls, the running thread and the alarm from the gate page. True: the alarm's time has come.
    #[inline]
    pub(crate) fn read_gate<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) -> bool {
        let Some(gate) = self.memory.private_page(layout::GATE) else { return false };
        let mut bytes = [0; size_of::<Told>()];
        world.memory.read(gate, offset_of!(GatePage, result_count), &mut bytes);
        let Ok(told) = Told::read_from_bytes(&bytes) else { return false };
        if told.result_count != self.results_taken {
            self.take_new_results(told.result_count, now.saturating_sub(self.parts.created), world);
        }
        if told.thread != 0 {
            self.thread = told.thread;
        }
        self.see_reached(told.reached, world);
        self.alarm.read(told.alarm, self.parts.child_epoch, now)
    }

    /// Hands the results that the shim has reported since the last time to the gate. A shim that reports more than there is
    /// room for has lost the older ones.
    #[cold]
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
                self.gate.completed(result, now, &mut |record| console.record(&record));
            }
        }
        self.results_taken = reported;
    }
}
