//! One virtual processor: a frame with its control block, and a frame with what the processor does not keep there.

use engine::{CoreRegs, RegisterError, Segment, VpKind};
use tlfs::addr::PAGE_SIZE;
use tlfs::register::HvX64SegmentRegister;

use crate::asid::Held;
use crate::event::{self, Event};
use crate::exit::code;
use crate::registers::RFLAGS_DEFINED;
use crate::segment;
use crate::vmcb::{EFER_SVME, NESTED_PAGING, Vmcb, VmcbSegment, intercept3, intercept4, interrupt_control};

/// x87 and SSE state, as FXSAVE64 writes it.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct FxArea {
    /// x87 control word.
    pub fcw: u16,
    /// x87 status word.
    pub fsw: u16,
    /// Abridged tag word.
    pub ftw: u8,
    reserved: u8,
    /// Last opcode.
    pub fop: u16,
    /// Last instruction.
    pub fip: u64,
    /// Last operand.
    pub fdp: u64,
    /// MXCSR.
    pub mxcsr: u32,
    /// Writable bits of MXCSR.
    pub mxcsr_mask: u32,
    /// ST0 to ST7, ten bytes each.
    pub st: [[u8; 16]; 8],
    /// XMM0 to XMM15.
    pub xmm: [[u8; 16]; 16],
    unused: [u8; 96],
}

const _: () = assert!(size_of::<FxArea>() == 512);

/// x87 control word after FNINIT.
const FCW_INITIAL: u16 = 0x37f;
/// MXCSR after reset: all exceptions masked.
pub const MXCSR_INITIAL: u32 = 0x1f80;

impl FxArea {
    const INITIAL: Self = Self {
        fcw: FCW_INITIAL,
        fsw: 0,
        ftw: 0,
        reserved: 0,
        fop: 0,
        fip: 0,
        fdp: 0,
        mxcsr: MXCSR_INITIAL,
        mxcsr_mask: 0,
        st: [[0; 16]; 8],
        xmm: [[0; 16]; 16],
        unused: [0; 96],
    };
}

/// What a VP has beside its control block. RAX, RSP, RIP and RFLAGS of [`VpState::core`] are copied to and from the
/// control block around each run; the other general registers live here alone.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct VpState {
    /// x87 and SSE state.
    pub fx: FxArea,
    /// General registers, RIP, RFLAGS.
    pub core: CoreRegs,
    /// DR0 to DR3, while another VP has the processor's.
    pub debug: [u64; 4],
    /// The VP has touched its debug registers: they have to be there when it runs.
    pub uses_debug: bool,
    /// Whose it is.
    pub kind: VpKind,
    /// Its address space identifier.
    pub asid: Held,
    /// What has to be delivered first when it runs next, as EVENTINJ has it; 0: nothing.
    pub pending: u64,
    /// Exits in a row that interrupted the delivery of an event, also over several runs.
    pub unfinished: u8,
    /// The exception vectors that the partition model asked for.
    pub wanted_exceptions: u32,
}

const _: () = assert!(size_of::<VpState>() as u64 == PAGE_SIZE);

/// Physical addresses that the control block needs of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Maps {
    /// I/O permission map.
    pub io: u64,
    /// MSR permission map.
    pub msr: u64,
}

/// A virtual processor.
#[derive(Debug)]
pub struct Vp {
    /// The control block.
    pub vmcb: &'static mut Vmcb,
    /// The rest.
    pub state: &'static mut VpState,
}

/// Exits that no guest gets around.
const ALWAYS3: u32 = intercept3::INIT
    | intercept3::CPUID
    | intercept3::RSM
    | intercept3::INVD
    | intercept3::INVLPGA
    | intercept3::IOIO
    | intercept3::MSR
    | intercept3::SHUTDOWN;
/// See [`ALWAYS3`].
const ALWAYS4: u32 = intercept4::VMRUN
    | intercept4::VMMCALL
    | intercept4::VMLOAD
    | intercept4::VMSAVE
    | intercept4::STGI
    | intercept4::CLGI
    | intercept4::SKINIT
    | intercept4::XSETBV;
/// Further exits of a child.
const CHILD3: u32 = intercept3::INTR
    | intercept3::NMI
    | intercept3::SMI
    | intercept3::RDPMC
    | intercept3::HLT
    | intercept3::TASK_SWITCH
    | intercept3::FERR_FREEZE;
/// See [`CHILD3`].
const CHILD4: u32 = intercept4::RDTSCP
    | intercept4::WBINVD
    | intercept4::MONITOR
    | intercept4::MWAIT
    | intercept4::MWAIT_ARMED
    | intercept4::RDPRU;

/// #MC: the machine's, never a guest's.
const MACHINE_CHECK: u32 = 1 << 18;
/// #DB and #AC of a child always exit. A guest can arrange that delivering them raises them again, for ever, with
/// interrupts shut out. The engine delivers them again, and every [`MAX_UNFINISHED`] times lets the root run.
pub const REFLECTED_EXCEPTIONS: u32 = 1 << 1 | 1 << 17;
/// How many times in a row delivering an event may come to nothing before the root gets its turn: a physical interrupt
/// that is pending ends a run only between two instructions, which a VP that delivers for ever never reaches.
pub const MAX_UNFINISHED: u8 = 8;
/// All reads and writes of debug registers.
const ALL_DEBUG_REGISTERS: u32 = u32::MAX;

/// PAT after reset.
const PAT_INITIAL: u64 = 0x0007_0406_0007_0406;
const CR0_INITIAL: u64 = 0x6000_0010;
const DR6_INITIAL: u64 = 0xffff_0ff0;
const DR7_INITIAL: u64 = 0x400;
/// RFLAGS bit 1, always set.
const RFLAGS_ONE: u64 = 1 << 1;

impl VpState {
    /// A VP after reset.
    #[must_use]
    pub fn new(kind: VpKind) -> Self {
        let core = CoreRegs { rip: 0xfff0, rflags: RFLAGS_ONE, ..CoreRegs::default() };
        Self {
            fx: FxArea::INITIAL,
            core,
            debug: [0; 4],
            uses_debug: kind == VpKind::Root,
            kind,
            asid: Held::default(),
            pending: 0,
            unfinished: 0,
            wanted_exceptions: 0,
        }
    }
}

impl Vp {
    /// Brings a zeroed control block into the state after reset, with the exits of the VP's kind.
    pub fn reset(&mut self, maps: Maps) {
        self.reset_control(maps);
        let save = &mut self.vmcb.save;
        let data = VmcbSegment { selector: 0, attributes: 0x093, limit: 0xffff, base: 0 };
        (save.es, save.ss, save.ds, save.fs, save.gs) = (data, data, data, data, data);
        save.cs = VmcbSegment { selector: 0xf000, attributes: 0x09b, limit: 0xffff, base: 0xffff_0000 };
        save.gdtr.limit = 0xffff;
        save.idtr.limit = 0xffff;
        save.ldtr = VmcbSegment { attributes: 0x082, limit: 0xffff, ..VmcbSegment::default() };
        save.tr = VmcbSegment { attributes: 0x08b, limit: 0xffff, ..VmcbSegment::default() };
        save.efer = EFER_SVME;
        save.cr0 = CR0_INITIAL;
        save.dr6 = DR6_INITIAL;
        save.dr7 = DR7_INITIAL;
        save.pat = PAT_INITIAL;
    }

    fn reset_control(&mut self, maps: Maps) {
        let control = &mut self.vmcb.control;
        control.iopm_base = maps.io;
        control.msrpm_base = maps.msr;
        control.nested_control = NESTED_PAGING;
        control.intercept3 = ALWAYS3;
        control.intercept4 = ALWAYS4;
        if self.state.kind == VpKind::Child {
            control.intercept3 |= CHILD3;
            control.intercept4 |= CHILD4;
            control.intercept_dr = ALL_DEBUG_REGISTERS;
            control.interrupt_control = interrupt_control::V_INTR_MASKING;
        }
        self.want_exceptions(0);
    }

    /// Which exceptions the partition model gets to see.
    pub fn want_exceptions(&mut self, vectors: u32) {
        self.state.wanted_exceptions = vectors & !MACHINE_CHECK;
        let reflected = if self.state.kind == VpKind::Child { REFLECTED_EXCEPTIONS } else { 0 };
        self.vmcb.control.intercept_exceptions = self.state.wanted_exceptions | reflected | MACHINE_CHECK;
    }

    /// The VP has debug registers of its own from now on.
    pub fn use_debug(&mut self) {
        self.state.uses_debug = true;
        self.vmcb.control.intercept_dr = 0;
    }

    /// Puts into the control block what is kept beside it: before a run.
    pub fn load(&mut self) {
        let (core, save) = (&self.state.core, &mut self.vmcb.save);
        save.rax = core.gprs[engine::RAX];
        save.rsp = core.gprs[engine::RSP];
        save.rip = core.rip;
        save.rflags = core.rflags & RFLAGS_DEFINED | RFLAGS_ONE;
        self.vmcb.control.event_injection = core::mem::take(&mut self.state.pending);
    }

    /// Offers an external interrupt, or withdraws the offer. The processor forgets it when it delivers it.
    pub fn offer(&mut self, vector: Option<u8>) {
        let control = &mut self.vmcb.control;
        control.interrupt_control &= !interrupt_control::V_OFFER_MASK;
        if let Some(vector) = vector {
            let priority = u32::from(vector >> 4) << interrupt_control::V_INTR_PRIO_SHIFT;
            control.interrupt_control |= interrupt_control::V_IRQ | priority;
            control.interrupt_vector = u32::from(vector);
        }
    }

    /// The interrupt on offer.
    #[must_use]
    pub fn offered(&self) -> Option<u8> {
        let control = &self.vmcb.control;
        let offered = control.interrupt_control & interrupt_control::V_IRQ != 0;
        offered.then_some(control.interrupt_vector.to_le_bytes()[0])
    }

    /// Takes out of the control block what is kept beside it: after a run.
    pub fn store(&mut self) {
        let (core, save) = (&mut self.state.core, &self.vmcb.save);
        core.gprs[engine::RAX] = save.rax;
        core.gprs[engine::RSP] = save.rsp;
        core.rip = save.rip;
        core.rflags = save.rflags;
        let interrupted = self.vmcb.control.exit_int_info;
        if interrupted & event::VALID != 0 {
            self.deliver_again(interrupted);
        } else {
            self.state.unfinished = 0;
        }
    }

    /// An exit came in the middle of delivering an event. If that was the last straw, there is nothing to deliver again.
    #[cold]
    fn deliver_again(&mut self, interrupted: u64) {
        let event = Event::interrupted(interrupted).filter(|_| self.vmcb.control.exit_code != code::SHUTDOWN);
        self.state.pending = event.map_or(0, Event::encode);
        self.state.unfinished = if event.is_some() { self.state.unfinished.saturating_add(1) } else { 0 };
    }

    /// Whether it is time for the root to run although this exit is the VP's. Such an exit need not be dealt with:
    /// the event is pending, and delivering it brings the exit about again.
    #[inline]
    pub fn is_stuck(&mut self) -> bool {
        let stuck = self.state.unfinished >= MAX_UNFINISHED;
        if stuck {
            self.state.unfinished = 0;
        }
        stuck
    }

    /// ES to GS.
    #[must_use]
    pub fn segment(&self, which: Segment) -> &VmcbSegment {
        let save = &self.vmcb.save;
        match which {
            Segment::Es => &save.es,
            Segment::Cs => &save.cs,
            Segment::Ss => &save.ss,
            Segment::Ds => &save.ds,
            Segment::Fs => &save.fs,
            Segment::Gs => &save.gs,
        }
    }

    /// Sets one of ES to GS. SS, and a CS that is not a conforming one, decide the CPL by their DPL.
    ///
    /// # Errors
    /// [`RegisterError::BadValue`] for a CS that is both 64-bit and 32-bit, which VMRUN refuses.
    pub fn set_segment(&mut self, which: Segment, value: HvX64SegmentRegister) -> Result<(), RegisterError> {
        let new = segment::from_tlfs(value);
        let save = &mut self.vmcb.save;
        match which {
            Segment::Cs if segment::is_long_and_big(new.attributes) => return Err(RegisterError::BadValue),
            Segment::Cs if segment::is_conforming(new.attributes) => {}
            Segment::Cs | Segment::Ss => save.cpl = segment::dpl(new.attributes),
            _ => {}
        }
        *match which {
            Segment::Es => &mut save.es,
            Segment::Cs => &mut save.cs,
            Segment::Ss => &mut save.ss,
            Segment::Ds => &mut save.ds,
            Segment::Fs => &mut save.fs,
            Segment::Gs => &mut save.gs,
        } = new;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use engine::Fault;
    use std::boxed::Box;

    /// A VP after reset, in host memory.
    pub(crate) fn vp(kind: VpKind) -> Vp {
        // SAFETY: a control block is integers all through; zero is a value of each.
        let vmcb: Vmcb = unsafe { core::mem::zeroed() };
        let mut vp = Vp { vmcb: Box::leak(Box::new(vmcb)), state: Box::leak(Box::new(VpState::new(kind))) };
        vp.reset(Maps { io: 0x1000, msr: 0x4000 });
        vp
    }

    #[test]
    fn a_child_cannot_run_what_would_hurt() {
        let child = vp(VpKind::Child);
        let control = &child.vmcb.control;
        assert_eq!(control.intercept3 & CHILD3, CHILD3);
        assert_eq!(control.intercept4 & (ALWAYS4 | CHILD4), ALWAYS4 | CHILD4);
        assert_eq!(control.intercept_dr, u32::MAX);
        assert_ne!(control.interrupt_control & interrupt_control::V_INTR_MASKING, 0);
        assert_eq!(control.intercept_exceptions, 1 << 1 | 1 << 17 | 1 << 18);
    }

    #[test]
    fn the_root_keeps_its_interrupts_and_halts() {
        let root = vp(VpKind::Root);
        let control = &root.vmcb.control;
        assert_eq!(control.intercept3 & CHILD3, 0);
        assert_eq!(control.intercept3 & ALWAYS3, ALWAYS3);
        assert_eq!(control.interrupt_control, 0);
        assert_eq!(control.intercept_dr, 0);
        assert_eq!(control.intercept_exceptions, MACHINE_CHECK);
    }

    #[test]
    fn machine_checks_cannot_be_given_away() {
        let mut child = vp(VpKind::Child);
        child.want_exceptions(1 << 6);
        assert_eq!(child.vmcb.control.intercept_exceptions, 1 << 6 | 1 << 1 | 1 << 17 | 1 << 18);
        child.want_exceptions(u32::MAX);
        assert_eq!(child.state.wanted_exceptions, !(1 << 18));
        child.want_exceptions(0);
        assert_eq!(child.vmcb.control.intercept_exceptions, 1 << 1 | 1 << 17 | 1 << 18);
    }

    #[test]
    fn registers_travel_through_the_control_block() {
        let mut child = vp(VpKind::Child);
        child.state.core.gprs[engine::RAX] = 1;
        child.state.core.gprs[engine::RSP] = 2;
        child.state.core.rip = 3;
        child.state.core.rflags = u64::MAX;
        child.load();
        let save = &mut child.vmcb.save;
        assert_eq!((save.rax, save.rsp, save.rip, save.rflags), (1, 2, 3, 0x3f_7fd7));
        (save.rax, save.rsp, save.rip, save.rflags) = (4, 5, 6, 0x202);
        child.store();
        let core = &child.state.core;
        assert_eq!((core.gprs[0], core.gprs[4], core.rip, core.rflags), (4, 5, 6, 0x202));
    }

    #[test]
    fn an_event_is_delivered_once_or_again_when_interrupted() {
        let mut child = vp(VpKind::Child);
        let event = Event::Exception(Fault::GP).encode();
        child.state.pending = event;
        child.load();
        assert_eq!(child.vmcb.control.event_injection, event);
        child.store();
        assert_eq!(child.state.pending, 0);
        child.vmcb.control.exit_int_info = event;
        child.store();
        assert_eq!(child.state.pending, event);
        child.vmcb.control.exit_code = code::SHUTDOWN;
        child.store();
        assert_eq!(child.state.pending, 0, "a triple fault ends it");
    }

    #[test]
    fn deliveries_that_never_end_are_noticed() {
        let mut child = vp(VpKind::Child);
        let event = Event::Exception(Fault::GP).encode();
        child.vmcb.control.exit_int_info = event;
        for _ in 0..3 {
            for round in 1..=MAX_UNFINISHED {
                assert!(!child.is_stuck(), "round {round}");
                child.store();
            }
            assert!(child.is_stuck());
            assert_eq!(child.state.pending, event, "kept");
        }
        for _ in 1..MAX_UNFINISHED {
            child.store();
        }
        child.vmcb.control.exit_int_info = 0;
        child.store();
        child.vmcb.control.exit_int_info = event;
        child.store();
        assert!(!child.is_stuck(), "one came through");
    }

    #[test]
    fn an_offer_stands_until_it_is_taken() {
        let mut child = vp(VpKind::Child);
        assert_eq!(child.offered(), None);
        child.offer(Some(0x83));
        assert_eq!(child.vmcb.control.interrupt_control, interrupt_control::V_INTR_MASKING | 0x8_0100);
        assert_eq!(child.vmcb.control.interrupt_vector, 0x83);
        assert_eq!(child.offered(), Some(0x83));
        child.vmcb.control.interrupt_control &= !interrupt_control::V_IRQ;
        assert_eq!(child.offered(), None, "the processor delivered it");
        child.offer(Some(0x20));
        child.offer(None);
        assert_eq!(child.offered(), None);
        assert_eq!(child.vmcb.control.interrupt_control, interrupt_control::V_INTR_MASKING);
    }
}
