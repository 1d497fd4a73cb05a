//! The way of a system call: a fault in ring 3, the gate's verdict, and its effect on the VP.
//!
//! This is the hot path: two world switches, no allocation, and only those bytes copied that are looked at.
use core::mem::offset_of;

use gate::{Action, CallSite};
use guestmem::GuestMemory;
use hvclient::Transport;
use proto::layout::SYSCALL_FLAGS_MASK;
use proto::{CallResult, GatePage, Grant, RESULT_SLOTS};
use tlfs::addr::Gpa;
use tlfs::message::{HvX64ExceptionInfo, HvX64ExceptionInterceptMessage as Exception, HvX64VpExecutionState};
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64PendingInterruptionRegister};
use tlfs::vp_page::RegisterPageDirty;
use zerocopy::{FromBytes, IntoBytes};

use crate::create::{kernel_code, kernel_stack};
use crate::layout;
use crate::memory::RootMemory;
use crate::partition::VP;
use crate::registers::{CS, R11, RAX, RCX, SS};
use crate::run::{PAYLOAD, Sandbox, Step};
use crate::{Failure, Outcome, World};

/// The thread that trace lines name: the root sees one VP and not which of the shim's tasks is on it.
const THREAD: u32 = 1;

impl<R: RootMemory> Sandbox<'_, R> {
    /// A fault that may be a system call.
    #[inline]
    pub(crate) fn exception<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<Step, Failure> {
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

    /// Lets the program go on behind the call, with `value` as its result.
    fn answer(&mut self, site: &CallSite<'_>, value: i64, instruction_len: u8) {
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

    /// Hands the results that the shim has reported since the last time to the gate. A shim that reports more than there is
    /// room for has lost the older ones.
    #[inline]
    pub(crate) fn take_results<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        let Some(gate) = self.memory.private_page(layout::GATE) else { return };
        let mut reported = [0; 8];
        world.memory.read(gate, offset_of!(GatePage, result_count), &mut reported);
        let reported = u64::from_le_bytes(reported);
        if reported != self.results_taken {
            self.take_new_results(reported, now, world);
        }
    }

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
                self.gate.completed(result, now, &mut |line| console.trace(line));
            }
        }
        self.results_taken = reported;
    }
}
