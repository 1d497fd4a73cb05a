//! [`Svm`]: the engine.

use core::arch::asm;
use core::ops::RangeInclusive;

use engine::{
    AddressSpace, ControlRegs, CoreRegs, Engine, Fault, PhysMem, RegisterError, Segment, TooManyVps, VpExit, VpKind,
    VpSlot,
};
use tlfs::addr::Spa;
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64SegmentRegister};

use crate::asid::Asids;
use crate::event::Event;
use crate::exit::{self, RawExit, code};
use crate::leftovers::Leftovers;
use crate::permission::{IoMap, MsrMap, ROOT_MSRS, SWITCHED_MSRS, TIME_MSRS};
use crate::registers::{self, Limits};
use crate::segment;
use crate::support::Features;
use crate::switch::world_switch;
use crate::vmcb::{Vmcb, tlb_control};
use crate::vp::{MAX_UNFINISHED, Maps, REFLECTED_EXCEPTIONS, Vp, VpState};

/// Frames that a VP costs: its control block and its [`VpState`].
const FRAMES_PER_VP: usize = 2;

/// Pages that the processor reads and writes, shared by all VPs. Zeroed memory is a value of it.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct SharedPages {
    root_io: IoMap,
    child_io: IoMap,
    root_msr: MsrMap,
    child_msr: MsrMap,
    /// Where VMRUN saves the host.
    host_save: [u8; 4096],
    /// Where VMSAVE saved what VMRUN does not.
    host_area: [u8; 4096],
}

/// Room for one VP in the table that [`Svm::new`] is given.
pub type VpEntry = Option<Vp>;

/// AMD-V on the processor that this runs on.
#[derive(Debug)]
pub struct Svm<M> {
    memory: M,
    vps: &'static mut [VpEntry],
    shared: &'static mut SharedPages,
    limits: Limits,
    leftovers: Leftovers,
    asids: Asids,
    /// Whose values DR0 to DR3 hold.
    debug_owner: Option<VpSlot>,
    /// Exits of the root's VPs and of children's.
    exits: [u64; 2],
}

impl<M: PhysMem> Svm<M> {
    /// Turns SVM on and makes an engine for as many VPs as `vps` has entries.
    ///
    /// # Safety
    /// - [`crate::support::detect`] returned `features` on this processor, and there is no other `Svm`.
    /// - GDT, TSS and IDT are the hypervisor's for good.
    /// - `memory`'s addresses are identity-mapped, and so are `shared` and the code that runs here.
    /// - Each frame given to `create_vp` is the engine's alone until `delete_vp`, and is mapped into no address space
    ///   that a VP runs in; nor is any other memory of the hypervisor.
    pub unsafe fn new(
        features: Features,
        memory: M,
        shared: &'static mut SharedPages,
        vps: &'static mut [VpEntry],
    ) -> Self {
        prepare_maps(shared);
        let host_area = physical(&raw const shared.host_area);
        // SAFETY: detected (contract); the page is the processor's from here on; the tables are loaded (contract).
        unsafe { crate::support::enable(physical(&raw const shared.host_save)) };
        // SAFETY: SVM is on and `host_area` is a page of our own.
        unsafe { asm!("vmsave rax", in("rax") host_area, options(nostack)) };
        Self {
            memory,
            vps,
            shared,
            limits: features.limits,
            leftovers: features.leftovers,
            asids: Asids::new(features.asids),
            debug_owner: None,
            exits: [0; 2],
        }
    }

    fn vp(&self, slot: VpSlot) -> &Vp {
        match self.vps.get(usize::from(slot.0)) {
            Some(Some(vp)) => vp,
            _ => no_such_vp(slot),
        }
    }

    fn vp_mut(&mut self, slot: VpSlot) -> &mut Vp {
        match self.vps.get_mut(usize::from(slot.0)) {
            Some(Some(vp)) => vp,
            _ => no_such_vp(slot),
        }
    }

    /// One entry and one exit.
    #[inline]
    fn run_once(&mut self, slot: VpSlot, space: AddressSpace) -> RawExit {
        let host_area = physical(&raw const self.shared.host_area);
        let Some(Some(vp)) = self.vps.get_mut(usize::from(slot.0)) else { no_such_vp(slot) };
        let control = &mut vp.vmcb.control;
        control.tlb_control = tlb_control::KEEP;
        if let Some(assigned) = self.asids.assign(&mut vp.state.asid, space) {
            control.asid = assigned.asid;
            control.nested_cr3 = space.root.0;
            control.tlb_control = if assigned.flush_all { tlb_control::FLUSH_ALL } else { tlb_control::KEEP };
        }
        vp.load();
        if vp.state.kind == VpKind::Child {
            // SAFETY: `new` made these usable where they are needed; the x87 registers are loaded right behind.
            unsafe { self.leftovers.clear() };
        }
        // SAFETY: `new` turned SVM on and cleared GIF, which every exit clears again; control block and host area are
        // identity-mapped pages of ours; the caller of `new` answers for the address space; the FXSAVE area is
        // FXSAVE's or was checked when it was set.
        unsafe { world_switch(&raw mut *vp.state, physical(&raw const *vp.vmcb), host_area) };
        vp.store();
        self.exits[kind_index(vp.state.kind)] += 1;
        let code = if vp.is_stuck() { code::INTR } else { vp.vmcb.control.exit_code };
        let control = &vp.vmcb.control;
        RawExit { code, info1: control.exit_info1, info2: control.exit_info2 }
    }

    /// Whether this VP uses DR0 to DR3 and they are not in the processor.
    fn lacks_debug(&self, slot: VpSlot) -> bool {
        self.vp(slot).state.uses_debug && self.debug_owner != Some(slot)
    }

    /// Puts this VP's DR0 to DR3 into the processor.
    #[cold]
    fn claim_debug(&mut self, slot: VpSlot) {
        self.release_debug();
        write_debug(&self.vp(slot).state.debug);
        self.debug_owner = Some(slot);
    }

    /// Takes DR0 to DR3 out of the processor, back to the VP whose they are.
    fn release_debug(&mut self) {
        if let Some(owner) = self.debug_owner.take() {
            self.vp_mut(owner).state.debug = read_debug();
        }
    }

    /// Deals with an exit that the partition model did not ask for. `true`: dealt with, run on.
    #[cold]
    fn settle(&mut self, slot: VpSlot, raw: RawExit) -> bool {
        let vp = self.vp_mut(slot);
        match exit::decode(raw) {
            VpExit::Exception { vector, error_code, .. } if REFLECTED_EXCEPTIONS & 1 << vector != 0 => {
                vp.state.pending = Event::Exception(Fault { vector, error_code }).encode();
                true
            }
            VpExit::Unknown(code::DR_FIRST..=code::DR_LAST) => {
                vp.use_debug();
                true
            }
            _ => false,
        }
    }

    /// Whether the engine alone asked for this exit.
    fn is_own(&self, slot: VpSlot, raw: RawExit) -> bool {
        match raw.code {
            code::DR_FIRST..=code::DR_LAST => true,
            code::EXCEPTION_FIRST..=code::EXCEPTION_LAST => {
                self.vp(slot).state.wanted_exceptions & 1 << (raw.code - code::EXCEPTION_FIRST) == 0
            }
            _ => false,
        }
    }
}

impl<M: PhysMem> Engine for Svm<M> {
    type Memory = M;

    fn memory(&mut self) -> &mut M {
        &mut self.memory
    }

    fn frames_per_vp(&self) -> usize {
        FRAMES_PER_VP
    }

    fn create_vp(&mut self, slot: VpSlot, kind: VpKind, frames: &[Spa]) -> Result<(), TooManyVps> {
        let (io, msr) = match kind {
            VpKind::Root => (&raw const self.shared.root_io, &raw const self.shared.root_msr),
            VpKind::Child => (&raw const self.shared.child_io, &raw const self.shared.child_msr),
        };
        let maps = Maps { io: physical(io), msr: physical(msr) };
        let entry = self.vps.get_mut(usize::from(slot.0)).ok_or(TooManyVps)?;
        let &[vmcb, state] = frames else { panic!("{} frames for a VP", frames.len()) };
        for frame in [vmcb, state] {
            self.memory.zero_page(frame).unwrap_or_else(|_| panic!("VP frame {frame} is not RAM"));
        }
        let mut vp = Vp { vmcb: control_block(vmcb), state: vp_state(state, kind) };
        vp.reset(maps);
        *entry = Some(vp);
        Ok(())
    }

    fn delete_vp(&mut self, slot: VpSlot) {
        if self.debug_owner == Some(slot) {
            self.debug_owner = None;
        }
        let Some(vp) = self.vps.get_mut(usize::from(slot.0)).and_then(Option::take) else { no_such_vp(slot) };
        for frame in [physical(&raw const *vp.vmcb), physical(&raw const *vp.state)] {
            self.memory.zero_page(Spa(frame)).unwrap_or_else(|_| panic!("VP frame {frame:#x} is not RAM"));
        }
    }

    fn run(&mut self, slot: VpSlot, space: AddressSpace) -> VpExit {
        for _ in 0..MAX_UNFINISHED {
            if self.lacks_debug(slot) {
                self.claim_debug(slot);
            }
            let raw = self.run_once(slot, space);
            if !self.is_own(slot, raw) {
                return exit::decode(raw);
            }
            if !self.settle(slot, raw) {
                return VpExit::Unknown(raw.code);
            }
        }
        // The last exception is pending still. A VP that raises it again and again, by breakpoints on its own handler, must
        // not keep the root from its interrupts.
        VpExit::Interrupt
    }

    fn core(&self, slot: VpSlot) -> &CoreRegs {
        &self.vp(slot).state.core
    }

    fn core_mut(&mut self, slot: VpSlot) -> &mut CoreRegs {
        &mut self.vp_mut(slot).state.core
    }

    fn control(&self, slot: VpSlot) -> ControlRegs {
        registers::control(self.vp(slot))
    }

    fn segment(&self, slot: VpSlot, which: Segment) -> HvX64SegmentRegister {
        segment::to_tlfs(self.vp(slot).segment(which))
    }

    fn set_segment(&mut self, slot: VpSlot, which: Segment, value: HvX64SegmentRegister) -> Result<(), RegisterError> {
        self.vp_mut(slot).set_segment(which, value)
    }

    fn xmm(&self, slot: VpSlot) -> [[u8; 16]; 6] {
        let [x0, x1, x2, x3, x4, x5, ..] = self.vp(slot).state.fx.xmm;
        [x0, x1, x2, x3, x4, x5]
    }

    fn set_xmm(&mut self, slot: VpSlot, value: &[[u8; 16]; 6]) {
        self.vp_mut(slot).state.fx.xmm[..value.len()].copy_from_slice(value);
    }

    fn get_register(&mut self, slot: VpSlot, name: HvRegisterName) -> Result<HvRegisterValue, RegisterError> {
        if registers::is_breakpoint_address(name) && self.debug_owner == Some(slot) {
            self.release_debug();
        }
        registers::get(self.vp(slot), &self.limits, name)
    }

    fn set_register(
        &mut self,
        slot: VpSlot,
        name: HvRegisterName,
        value: HvRegisterValue,
    ) -> Result<(), RegisterError> {
        if registers::is_breakpoint_address(name) && self.debug_owner == Some(slot) {
            self.release_debug();
        }
        let limits = self.limits;
        registers::set(self.vp_mut(slot), &limits, name, value)
    }

    fn inject(&mut self, slot: VpSlot, fault: Fault) {
        self.vp_mut(slot).state.pending = Event::Exception(fault).encode();
    }

    fn pending_fault(&self, slot: VpSlot) -> Option<Fault> {
        match Event::interrupted(self.vp(slot).state.pending) {
            Some(Event::Exception(fault)) => Some(fault),
            _ => None,
        }
    }

    fn cancel_fault(&mut self, slot: VpSlot) {
        if self.pending_fault(slot).is_some() {
            self.vp_mut(slot).state.pending = 0;
        }
    }

    fn offer_interrupt(&mut self, slot: VpSlot, vector: Option<u8>) {
        self.vp_mut(slot).offer(vector);
    }

    fn offered_interrupt(&self, slot: VpSlot) -> Option<u8> {
        self.vp(slot).offered()
    }

    fn in_interrupt_shadow(&self, slot: VpSlot) -> bool {
        self.vp(slot).vmcb.control.interrupt_shadow & 1 != 0
    }

    fn set_interrupt_shadow(&mut self, slot: VpSlot, shadow: bool) {
        self.vp_mut(slot).vmcb.control.interrupt_shadow = u64::from(shadow);
    }

    fn set_exception_intercepts(&mut self, slot: VpSlot, vectors: u32) {
        self.vp_mut(slot).want_exceptions(vectors);
    }

    fn msr_exits(&self, kind: VpKind, msr: u32, write: bool) -> bool {
        let map = if kind == VpKind::Root { &self.shared.root_msr } else { &self.shared.child_msr };
        map.denies(msr, write)
    }

    fn reserve_root_ports(&mut self, ports: RangeInclusive<u16>) {
        self.shared.root_io.deny(ports);
    }

    fn exits(&self, kind: VpKind) -> u64 {
        self.exits[kind_index(kind)]
    }
}

/// The partition model broke its promise; going on would touch memory that is no longer a VP's.
#[cold]
fn no_such_vp(slot: VpSlot) -> ! {
    panic!("there is no VP in slot {}", slot.0)
}

const fn kind_index(kind: VpKind) -> usize {
    match kind {
        VpKind::Root => 0,
        VpKind::Child => 1,
    }
}

/// Everything is identity-mapped where this runs.
fn physical<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn prepare_maps(shared: &mut SharedPages) {
    shared.root_io.allow_all();
    shared.child_io.deny_all();
    for map in [&mut shared.root_msr, &mut shared.child_msr] {
        map.deny_all();
        map.pass(&SWITCHED_MSRS);
        map.pass(&TIME_MSRS);
    }
    shared.root_msr.pass(&ROOT_MSRS);
}

fn pointer<T>(frame: Spa) -> *mut T {
    let address = usize::try_from(frame.0).unwrap_or_else(|_| panic!("VP frame {frame} is out of reach"));
    core::ptr::with_exposed_provenance_mut(address)
}

/// A zeroed frame as a control block.
fn control_block(frame: Spa) -> &'static mut Vmcb {
    // SAFETY: the frame is RAM (it was just zeroed through `PhysMem`), identity-mapped and the engine's alone (contract of
    // `Svm::new`), page aligned by the frame's nature; all zero is a control block.
    unsafe { &mut *pointer::<Vmcb>(frame) }
}

/// A frame as the state of a VP after reset.
fn vp_state(frame: Spa, kind: VpKind) -> &'static mut VpState {
    let state = pointer::<VpState>(frame);
    // SAFETY: as in `control_block`; the frame is written before a reference to it is made.
    unsafe {
        state.write(VpState::new(kind));
        &mut *state
    }
}

fn read_debug() -> [u64; 4] {
    let (dr0, dr1, dr2, dr3);
    // SAFETY: reading the breakpoint addresses has no effect; DR7 is clear in the hypervisor.
    unsafe {
        asm!(
            "mov {0}, dr0", "mov {1}, dr1", "mov {2}, dr2", "mov {3}, dr3",
            out(reg) dr0, out(reg) dr1, out(reg) dr2, out(reg) dr3,
            options(nomem, nostack, preserves_flags),
        );
    }
    [dr0, dr1, dr2, dr3]
}

fn write_debug(&[dr0, dr1, dr2, dr3]: &[u64; 4]) {
    // SAFETY: the hypervisor's DR7 enables no breakpoint, so the addresses mean nothing to it.
    unsafe {
        asm!(
            "mov dr0, {0}", "mov dr1, {1}", "mov dr2, {2}", "mov dr3, {3}",
            in(reg) dr0, in(reg) dr1, in(reg) dr2, in(reg) dr3,
            options(nomem, nostack, preserves_flags),
        );
    }
}
