//! State pages: the register page and the intercept message page of a VP, in the parent's address space.
//!
//! Both are frames of the child's deposit, which the root sees at GPA = SPA while they are mapped.

use core::mem::offset_of;

use engine::{Engine, PhysMem, Platform, Segment, VpSlot};
use paging::format::Rights;
use tlfs::addr::Spa;
use tlfs::register::{HvX64InterruptStateRegister, HvX64PendingInterruptionRegister, HvX64SegmentRegister};
use tlfs::status::HvStatus;
use tlfs::vp_page::{HvVpRegisterPage, HvVpStatePageType, RegisterPageDirty};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::hypervisor::Hypervisor;
use crate::vp::Vp;

/// The segments in the order of the page.
pub(crate) const SEGMENTS: [Segment; 6] =
    [Segment::Es, Segment::Cs, Segment::Ss, Segment::Ds, Segment::Fs, Segment::Gs];

/// Flags that software may set; bit 1 is always one, the others do not exist.
const RFLAGS_VALID: u64 = 0x003f_7fd5;
const RFLAGS_ALWAYS: u64 = 2;

/// The start of [`HvVpRegisterPage`]: what says whether the rest matters, and what changes most.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct PageStart {
    version: u16,
    is_valid: u8,
    reserved: u8,
    dirty: RegisterPageDirty,
    gprs: [u64; 16],
    rip: u64,
    rflags: u64,
}

const _: () = assert!(offset_of!(PageStart, rflags) == offset_of!(HvVpRegisterPage, rflags));

/// The part of the page that is not always zero.
const WRITTEN: usize = offset_of!(HvVpRegisterPage, reserved1);

/// RFLAGS as a parent may set them.
pub(crate) const fn sanitize_rflags(value: u64) -> u64 {
    (value & RFLAGS_VALID) | RFLAGS_ALWAYS
}

fn state_page(vp: &mut Vp, kind: HvVpStatePageType) -> Result<&mut Option<Spa>, HvStatus> {
    match kind {
        HvVpStatePageType::REGISTERS => Ok(&mut vp.register_page),
        HvVpStatePageType::INTERCEPT_MESSAGE => Ok(&mut vp.message_page),
        _ => Err(HvStatus::INVALID_PARAMETER),
    }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Maps a state page of a VP into the root; one that is mapped stays where it is.
    pub(crate) fn map_state_page(&mut self, slot: u16, kind: HvVpStatePageType) -> Result<Spa, HvStatus> {
        let vp = self.vp_mut(slot)?;
        let partition = vp.partition;
        if let Some(page) = *state_page(vp, kind)? {
            return Ok(page);
        }
        let page = self.take_frame(partition)?;
        if let Err(status) = self.show_to_root(page, Rights::READ_WRITE) {
            self.give_frame(partition, page);
            return Err(status);
        }
        *state_page(self.vp_mut(slot)?, kind)? = Some(page);
        if kind == HvVpStatePageType::REGISTERS {
            self.store_register_page(slot)?;
        }
        Ok(page)
    }

    /// Takes a state page out of the root and gives its frame back to the deposit.
    pub(crate) fn unmap_state_page(&mut self, slot: u16, kind: HvVpStatePageType) -> Result<(), HvStatus> {
        let vp = self.vp_mut(slot)?;
        let partition = vp.partition;
        let page = state_page(vp, kind)?.ok_or(HvStatus::INVALID_PARAMETER)?;
        self.hide_from_root(page)?;
        *state_page(self.vp_mut(slot)?, kind)? = None;
        self.give_frame(partition, page);
        Ok(())
    }

    /// Takes over what the root changed in the register page since the last exit.
    pub(crate) fn load_register_page(&mut self, slot: u16) -> Result<(), HvStatus> {
        let Some(page) = self.vp(slot)?.register_page else { return Ok(()) };
        let mut start = PageStart::new_zeroed();
        self.read_page(page, 0, start.as_mut_bytes())?;
        if start.is_valid == 0 || start.dirty.is_empty() {
            return Ok(());
        }
        let core = self.core_mut(slot);
        if start.dirty.contains(RegisterPageDirty::GENERAL) {
            core.gprs = start.gprs;
        }
        if start.dirty.contains(RegisterPageDirty::IP) {
            core.rip = start.rip;
        }
        if start.dirty.contains(RegisterPageDirty::FLAGS) {
            core.rflags = sanitize_rflags(start.rflags);
        }
        if start.dirty.contains(RegisterPageDirty::SEGMENT) {
            self.load_segments(slot, page)?;
        }
        if start.dirty.contains(RegisterPageDirty::XMM) {
            let mut xmm = [[0; 16]; 6];
            self.read_page(page, offset_of!(HvVpRegisterPage, xmm), xmm.as_mut_bytes())?;
            self.engine.set_xmm(VpSlot(slot), &xmm);
        }
        Ok(())
    }

    /// Loads the segment registers that differ from what the page showed.
    fn load_segments(&mut self, slot: u16, page: Spa) -> Result<(), HvStatus> {
        let mut words = [[0u64; 2]; 6];
        self.read_page(page, offset_of!(HvVpRegisterPage, segments), words.as_mut_bytes())?;
        let shown = self.vp_mut(slot)?.shown_segments.take();
        for (index, which) in SEGMENTS.into_iter().enumerate() {
            if shown.is_none_or(|shown| shown[index] != words[index]) {
                let value: HvX64SegmentRegister = zerocopy::transmute!(words[index]);
                let set = self.engine.set_segment(VpSlot(slot), which, value);
                set.map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?;
            }
        }
        Ok(())
    }

    /// Writes a VP's state into its register page, if the root has it mapped.
    pub(crate) fn store_register_page(&mut self, slot: u16) -> Result<(), HvStatus> {
        let Some(page) = self.vp(slot)?.register_page else { return Ok(()) };
        let content = self.register_page(slot);
        self.vp_mut(slot)?.shown_segments = Some(zerocopy::transmute!(content.segments));
        let written = content.as_bytes().get(..WRITTEN).unwrap_or_default();
        self.engine.memory().write(page, written).map_err(|_| HvStatus::OPERATION_FAILED)
    }

    fn register_page(&self, slot: u16) -> HvVpRegisterPage {
        let at = VpSlot(slot);
        let core = self.core(slot);
        let control = self.engine.control(at);
        HvVpRegisterPage {
            version: HvVpRegisterPage::VERSION_1,
            is_valid: 1,
            reserved_z: 0,
            dirty: RegisterPageDirty::empty(),
            gprs: core.gprs,
            rip: core.rip,
            rflags: core.rflags,
            reserved0: 0,
            xmm: self.engine.xmm(at),
            segments: SEGMENTS.map(|which| self.engine.segment(at, which)),
            cr0: control.cr0,
            cr3: control.cr3,
            cr4: control.cr4,
            cr8: control.cr8,
            efer: control.efer,
            dr7: control.dr7,
            pending_interruption: self.pending_interruption(slot),
            interrupt_state: self.interrupt_state(slot),
            instruction_emulation_hints: 0,
            xfem: 3,
            reserved1: [0; 256],
            interrupt_vectors: [0; 8],
        }
    }

    pub(crate) fn pending_interruption(&self, slot: u16) -> HvX64PendingInterruptionRegister {
        match self.engine.pending_fault(VpSlot(slot)) {
            Some(fault) => HvX64PendingInterruptionRegister::exception(fault.vector, fault.error_code),
            None => HvX64PendingInterruptionRegister(0),
        }
    }

    pub(crate) fn interrupt_state(&self, slot: u16) -> HvX64InterruptStateRegister {
        let shadow = self.engine.in_interrupt_shadow(VpSlot(slot));
        HvX64InterruptStateRegister(0).with_interrupt_shadow(shadow)
    }

    fn read_page(&mut self, page: Spa, offset: usize, buf: &mut [u8]) -> Result<(), HvStatus> {
        let at = Spa(page.0 + offset as u64);
        self.engine.memory().read(at, buf).map_err(|_| HvStatus::OPERATION_FAILED)
    }
}
