//! Running a child: HvCallDispatchVp, and what becomes of each exit of the child.
//!
//! The hypervisor answers what it can (defaults of CPUID, MSRs and ports, the child's own hypercalls) and goes on.
//! Everything else is put into the VP's intercept message page and returned to the root, with the registers in
//! the VP's register page. Nothing on this way searches a table or walks a list.

use engine::{Access, Engine, Fault, Platform, RAX, RCX, RDI, RDX, RSI, Segment, VpExit, VpSlot};
use tlfs::addr::{Gpa, Gva, Spa};
use tlfs::calls::{CACHE_TYPE_WRITE_BACK, DispatchEvent, DispatchState, DispatchVpFlags, DispatchVpOutput};
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{
    HvMessageType, HvX64BareInterceptMessage, HvX64ExceptionInfo, HvX64ExceptionInterceptMessage,
    HvX64InterceptMessageHeader, HvX64IoPortAccessInfo, HvX64IoPortInterceptMessage, HvX64MemoryAccessInfo,
    HvX64MemoryInterceptMessage,
};
use tlfs::status::HvStatus;
use zerocopy::{Immutable, IntoBytes};

use crate::caller::Obstacle;
use crate::fault::protection_on_top_of;
use crate::hypervisor::Hypervisor;
use crate::instruction::Instruction;
use crate::message::{intercept_header, message_header};

/// What a dispatch does after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Runs on.
    Run,
    /// Ends: a message is in the page.
    Intercept,
    /// Ends: the VP waits for an interrupt.
    Blocked,
    /// Ends: the root's processor is wanted elsewhere, the VP could go on.
    Yield,
}

const fn output(state: DispatchState, event: DispatchEvent) -> DispatchVpOutput {
    DispatchVpOutput { dispatch_state: state, dispatch_event: event }
}

const FLAG_INTERRUPT: u64 = 1 << 9;

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Runs a VP until it has something for the root.
    pub(crate) fn dispatch(&mut self, slot: u16, flags: DispatchVpFlags) -> Result<DispatchVpOutput, HvStatus> {
        let vp = self.vp_mut(slot)?;
        if vp.message_page.is_none() {
            return Err(HvStatus::INVALID_VP_STATE);
        }
        if flags.contains(DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND) {
            vp.intercept_suspend = false;
        }
        if vp.intercept_suspend || vp.explicit_suspend {
            return Ok(output(DispatchState::BLOCKED, DispatchEvent::SUSPEND));
        }
        self.load_register_page(slot)?;
        let result = match self.run_child(slot) {
            Next::Intercept => output(DispatchState::READY, DispatchEvent::INTERCEPT),
            Next::Blocked => output(DispatchState::BLOCKED, DispatchEvent::INVALID),
            Next::Run | Next::Yield => output(DispatchState::READY, DispatchEvent::INVALID),
        };
        self.store_register_page(slot)?;
        Ok(result)
    }

    fn run_child(&mut self, slot: u16) -> Next {
        loop {
            let Ok(vp) = self.vp_mut(slot) else { return Next::Yield };
            let (partition, halted) = (vp.partition, vp.halted);
            if vp.interrupts.any() || halted {
                let pending = self.offer_interrupts(slot);
                if halted && !self.wake(slot, pending) {
                    return Next::Blocked;
                }
            }
            let Some(space) = self.address_space(partition) else { return Next::Yield };
            let exit = self.engine.run(VpSlot(slot), space);
            match self.child_exit(slot, partition, exit) {
                Next::Run => {}
                next => return next,
            }
        }
    }

    /// Offers the highest pending interrupt. `true`: there is one.
    fn offer_interrupts(&mut self, slot: u16) -> bool {
        let still_offered = self.engine.offered_interrupt(VpSlot(slot));
        let Ok(vp) = self.vp_mut(slot) else { return false };
        let vector = vp.interrupts.settle(still_offered);
        if vector != still_offered {
            self.engine.offer_interrupt(VpSlot(slot), vector);
        }
        vector.is_some()
    }

    /// Ends a HLT if there is something to wake for. `false`: it goes on.
    fn wake(&mut self, slot: u16, pending: bool) -> bool {
        let deliverable = pending && self.core(slot).rflags & FLAG_INTERRUPT != 0;
        let awake = deliverable || self.engine.pending_fault(VpSlot(slot)).is_some();
        if awake && let Ok(vp) = self.vp_mut(slot) {
            vp.halted = false;
        }
        awake
    }

    /// Deals with an exit of a child.
    fn child_exit(&mut self, slot: u16, partition: u16, exit: VpExit) -> Next {
        match exit {
            VpExit::Exception { vector, error_code, parameter } => {
                self.exception(slot, partition, vector, error_code, parameter)
            }
            VpExit::IoPort { .. } => self.io_port(slot, partition, exit),
            VpExit::Memory { gpa, gva, access, during_walk, .. } => {
                self.memory(slot, partition, gpa, gva, access, during_walk)
            }
            VpExit::Hypercall => match self.hypercall(slot) {
                None => Next::Run,
                Some(Obstacle::InvalidOpcode) => self.raise(slot, partition, Fault::UD),
                Some(Obstacle::NoAccess { gpa, write }) => {
                    let access = if write { Access::Write } else { Access::Read };
                    self.memory_message(slot, partition, gpa, None, access, false)
                }
            },
            VpExit::Cpuid => self.child_cpuid(slot, partition),
            VpExit::MsrRead => self.child_msr(slot, partition, false),
            VpExit::MsrWrite => self.child_msr(slot, partition, true),
            VpExit::Halt => {
                self.skip(slot, Instruction::Hlt);
                if let Ok(vp) = self.vp_mut(slot) {
                    vp.halted = true;
                }
                Next::Run
            }
            VpExit::Interrupt => Next::Yield,
            VpExit::Forbidden => self.raise(slot, partition, Fault::UD),
            VpExit::Shutdown => self.shutdown(slot),
            VpExit::InvalidState => self.bare_message(slot, HvMessageType::INVALID_VP_REGISTER_VALUE),
            VpExit::Unknown(code) => {
                self.platform.log(format_args!("cordon-hv: a child took exit code {code:#x}, which nobody knows"));
                self.bare_message(slot, HvMessageType::UNSUPPORTED_FEATURE)
            }
        }
    }

    fn shutdown(&mut self, slot: u16) -> Next {
        // What was being delivered ended with the VP: a VP that is set up anew does not get it.
        self.engine.cancel_fault(VpSlot(slot));
        self.bare_message(slot, HvMessageType::UNRECOVERABLE_EXCEPTION)
    }

    /// Puts a message into the VP's page and holds the VP until the root has seen to it.
    pub(crate) fn post<M: IntoBytes + Immutable>(&mut self, slot: u16, kind: HvMessageType, payload: &M) -> Next {
        use engine::PhysMem;
        let Ok(vp) = self.vp_mut(slot) else { return Next::Yield };
        vp.intercept_suspend = true;
        let (page, partition) = (vp.message_page, vp.partition);
        let Ok(object) = self.partition(partition) else { return Next::Yield };
        let header = message_header::<M>(kind, object.id);
        if let Some(page) = page {
            let mem = self.engine.memory();
            // The page is RAM of the child's deposit: it is there.
            let _ = mem.write(page, header.as_bytes());
            let _ = mem.write(Spa(page.0 + size_of_val(&header) as u64), payload.as_bytes());
        }
        Next::Intercept
    }

    pub(crate) fn header(
        &self,
        slot: u16,
        instruction_length: u64,
        access: HvInterceptAccessType,
    ) -> HvX64InterceptMessageHeader {
        let index = self.vp(slot).map_or(0, |vp| vp.index);
        intercept_header(&self.engine, VpSlot(slot), index, instruction_length, access)
    }

    fn bare_message(&mut self, slot: u16, kind: HvMessageType) -> Next {
        let header = self.header(slot, 0, HvInterceptAccessType::EXECUTE);
        self.post(slot, kind, &HvX64BareInterceptMessage { header })
    }

    /// A fault that the hypervisor found in the processor's place: like one of the processor's own, it is the
    /// parent's if it asked for the vector.
    pub(crate) fn raise(&mut self, slot: u16, partition: u16, fault: Fault) -> Next {
        self.exception(slot, partition, fault.vector, fault.error_code, 0)
    }

    fn exception(&mut self, slot: u16, partition: u16, vector: u8, error_code: Option<u32>, parameter: u64) -> Next {
        let wanted = self.partition(partition).is_ok_and(|object| object.intercepts.wants_exception(vector));
        if !wanted {
            self.inject(slot, Fault { vector, error_code });
            return Next::Run;
        }
        let (instruction_bytes, count) = self.instruction_bytes(slot);
        let message = HvX64ExceptionInterceptMessage {
            header: self.header(slot, 0, HvInterceptAccessType::EXECUTE),
            exception_vector: u16::from(vector),
            exception_info: HvX64ExceptionInfo(0).with_error_code_valid(error_code.is_some()),
            instruction_byte_count: byte_count(count),
            error_code: error_code.unwrap_or(0),
            exception_parameter: parameter,
            reserved: 0,
            instruction_bytes,
            ds_segment: self.engine.segment(VpSlot(slot), Segment::Ds),
            ss_segment: self.engine.segment(VpSlot(slot), Segment::Ss),
            gprs: self.core(slot).gprs,
        };
        self.post(slot, HvMessageType::X64_EXCEPTION_INTERCEPT, &message)
    }

    /// A port: the parent's if it asked for it, else nothing is there.
    fn io_port(&mut self, slot: u16, partition: u16, exit: VpExit) -> Next {
        let VpExit::IoPort { port, size, write, string, rep, next_rip } = exit else { return Next::Run };
        let wanted = self.partition(partition).is_ok_and(|object| object.intercepts.wants_port(port, size, write));
        if wanted {
            let length = next_rip.wrapping_sub(self.core(slot).rip);
            let access = if write { HvInterceptAccessType::WRITE } else { HvInterceptAccessType::READ };
            let (instruction_bytes, count) = if string { self.instruction_bytes(slot) } else { ([0; 16], 0) };
            let gprs = self.core(slot).gprs;
            let message = HvX64IoPortInterceptMessage {
                header: self.header(slot, length, access),
                port_number: port,
                access_info: HvX64IoPortAccessInfo(0)
                    .with_access_size(size & 7)
                    .with_string_op(string)
                    .with_rep_prefix(rep),
                instruction_byte_count: byte_count(count),
                reserved: 0,
                rax: gprs[RAX],
                instruction_bytes,
                ds_segment: self.engine.segment(VpSlot(slot), Segment::Ds),
                es_segment: self.engine.segment(VpSlot(slot), Segment::Es),
                rcx: gprs[RCX],
                rsi: gprs[RSI],
                rdi: gprs[RDI],
            };
            return self.post(slot, HvMessageType::X64_IO_PORT_INTERCEPT, &message);
        }
        if string {
            // It would have to move memory; no child that is served needs it.
            return self.raise(slot, partition, Fault::GP);
        }
        if !write {
            self.read_as_ones(slot, size);
        }
        self.jump(slot, next_rip);
        Next::Run
    }

    fn memory(
        &mut self,
        slot: u16,
        partition: u16,
        gpa: Gpa,
        gva: Option<Gva>,
        access: Access,
        during_walk: bool,
    ) -> Next {
        let overlay = self.partition_mut(partition).is_ok_and(|object| object.overlay_at(gpa).is_some());
        if overlay {
            // "Attempts to write to the hypercall page will result in a protection (#GP) exception."
            return match protection_on_top_of(self.engine.pending_fault(VpSlot(slot))) {
                Some(fault) => self.raise(slot, partition, fault),
                None => self.shutdown(slot),
            };
        }
        self.memory_message(slot, partition, gpa, gva, access, during_walk)
    }

    fn memory_message(
        &mut self,
        slot: u16,
        partition: u16,
        gpa: Gpa,
        gva: Option<Gva>,
        access: Access,
        during_walk: bool,
    ) -> Next {
        let mapped = self.with_tables(partition, |tables, mem, _| Ok(tables.lookup(mem, gpa).is_some()));
        let kind = if mapped == Ok(true) { HvMessageType::GPA_INTERCEPT } else { HvMessageType::UNMAPPED_GPA };
        // Bytes at RIP help to emulate a data access; a fetch that failed has none.
        let (instruction_bytes, count) =
            if access == Access::Execute { ([0; 16], 0) } else { self.instruction_bytes(slot) };
        let access = match access {
            Access::Read => HvInterceptAccessType::READ,
            Access::Write => HvInterceptAccessType::WRITE,
            Access::Execute => HvInterceptAccessType::EXECUTE,
        };
        let message = HvX64MemoryInterceptMessage {
            header: self.header(slot, 0, access),
            cache_type: CACHE_TYPE_WRITE_BACK,
            instruction_byte_count: byte_count(count),
            memory_access_info: HvX64MemoryAccessInfo(0)
                .with_gva_valid(gva.is_some())
                .with_gva_gpa_valid(gva.is_some() && !during_walk),
            tpr_priority: 0,
            reserved1: 0,
            guest_virtual_address: gva.map_or(0, |gva| gva.0),
            guest_physical_address: gpa.0,
            instruction_bytes,
        };
        self.post(slot, kind, &message)
    }

    /// Value of an instruction that has it in EDX:EAX.
    pub(crate) fn edx_eax(&self, slot: u16) -> u64 {
        let gprs = self.core(slot).gprs;
        (gprs[RDX] << 32) | (gprs[RAX] & 0xffff_ffff)
    }
}

fn byte_count(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(0)
}
