//! A hypercall in progress: who makes it, and what the dispatcher may touch for it.

use engine::{Engine, PhysMem, Platform, Segment, VpSlot};
use hypercall::{Caller, CallerMode, Inaccessible, Outcome};
use tlfs::addr::{Gpa, Spa};
use tlfs::hypercall::CallCode;
use tlfs::partition::PrivilegeMask;
use tlfs::status::HvStatus;

use crate::hypervisor::{Hypervisor, ROOT_VP};
use crate::instruction::Instruction;
use crate::object::{Partition, ROOT};

/// A hypercall of one VP.
pub(crate) struct Call<'h, 'a, E, P> {
    pub(crate) hv: &'h mut Hypervisor<'a, E, P>,
    /// VP table index of the caller.
    pub(crate) vp: u16,
    /// Table index of its partition.
    pub(crate) partition: u16,
    /// TSC at which the call has to pause.
    pub(crate) deadline: u64,
}

/// What keeps a hypercall from being made: the VP stays at its instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It cannot be made so: #UD.
    InvalidOpcode,
    /// Memory that its parent has to be told of.
    NoAccess {
        /// Which.
        gpa: Gpa,
        /// To write.
        write: bool,
    },
}

/// The privilege that a call needs of its caller.
const fn privilege_for(code: CallCode) -> PrivilegeMask {
    match code {
        CallCode::GET_PARTITION_ID => PrivilegeMask::ACCESS_PARTITION_ID,
        CallCode::DEPOSIT_MEMORY | CallCode::WITHDRAW_MEMORY | CallCode::GET_MEMORY_BALANCE => {
            PrivilegeMask::ACCESS_MEMORY_POOL
        }
        CallCode::GET_VP_REGISTERS | CallCode::SET_VP_REGISTERS => PrivilegeMask::ACCESS_VP_REGISTERS,
        // "The partition also can make any other hypercall that is restricted to operating on children."
        _ => PrivilegeMask::CREATE_PARTITIONS,
    }
}

impl<E: Engine, P: Platform> Call<'_, '_, E, P> {
    pub(crate) fn check_privilege(&self, code: CallCode) -> Result<(), HvStatus> {
        let held = self.hv.partition(self.partition)?.privileges;
        if held.contains(privilege_for(code)) { Ok(()) } else { Err(HvStatus::ACCESS_DENIED) }
    }

    /// The clock of a simple call that may have to pause.
    pub(crate) fn set_deadline(&mut self) {
        self.deadline = self.hv.platform.tsc().saturating_add(self.hv.time.call_budget);
    }
}

impl<E: Engine, P: Platform> Caller for Call<'_, '_, E, P> {
    /// A page's bytes are together in the machine too.
    type Place = Spa;

    fn mode(&self) -> CallerMode {
        let identified = self.hv.partitions.get(usize::from(self.partition)).is_some_and(Partition::is_identified);
        if !identified {
            // A guest that has not said what it is may not make hypercalls yet.
            return CallerMode::Illegal;
        }
        let slot = VpSlot(self.vp);
        let control = self.hv.engine.control(slot);
        let long_code = self.hv.engine.segment(slot, Segment::Cs).attributes.long();
        CallerMode::of(control.cr0, control.efer, self.hv.core(self.vp).rflags, control.cpl, long_code)
    }

    fn gprs(&self) -> &[u64; 16] {
        &self.hv.core(self.vp).gprs
    }

    fn gprs_mut(&mut self) -> &mut [u64; 16] {
        &mut self.hv.core_mut(self.vp).gprs
    }

    fn xmm(&self) -> [[u8; 16]; 6] {
        self.hv.engine.xmm(VpSlot(self.vp))
    }

    fn locate(&mut self, gpa: Gpa, write: bool) -> Result<Spa, Inaccessible> {
        self.hv.guest_frame(self.partition, gpa, write).ok_or(Inaccessible)
    }

    fn read(&mut self, place: Spa, offset: usize, buf: &mut [u8]) -> Result<(), Inaccessible> {
        let at = Spa(place.0.wrapping_add(offset as u64));
        self.hv.engine.memory().read(at, buf).map_err(|_| Inaccessible)
    }

    fn write(&mut self, place: Spa, offset: usize, data: &[u8]) -> Result<(), Inaccessible> {
        let at = Spa(place.0.wrapping_add(offset as u64));
        self.hv.engine.memory().write(at, data).map_err(|_| Inaccessible)
    }

    fn start_clock(&mut self) {
        self.set_deadline();
    }

    fn time_is_up(&self) -> bool {
        self.hv.platform.tsc() >= self.deadline
    }
}

impl Partition {
    fn is_identified(&self) -> bool {
        self.guest_os_id != 0
    }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Carries out the hypercall at which a VP exited. `Some`: what kept it from being made.
    pub(crate) fn hypercall(&mut self, vp: u16) -> Option<Obstacle> {
        let partition = if vp == ROOT_VP { ROOT } else { self.vp(vp).ok()?.partition };
        let mut call = Call { hv: self, vp, partition, deadline: 0 };
        match hypercall::dispatch(&mut call) {
            Outcome::Complete => self.skip_call(vp),
            Outcome::Resume => {}
            Outcome::InvalidOpcode => return Some(Obstacle::InvalidOpcode),
            Outcome::NoAccess { gpa, write } => return Some(Obstacle::NoAccess { gpa, write }),
        }
        None
    }

    /// Moves a VP past its hypercall instruction. It is nearly always the same one, so its length is remembered.
    fn skip_call(&mut self, slot: u16) {
        let rip = self.core(slot).rip;
        let known = self.vp(slot).map_or((0, 0), |vp| vp.last_call);
        let length = if known.0 == rip && known.1 != 0 {
            known.1
        } else {
            let length = self.instruction_length(slot, Instruction::Call);
            if let Ok(vp) = self.vp_mut(slot) {
                vp.last_call = (rip, length);
            }
            length
        };
        self.advance(slot, length);
    }
}
