//! MSRs: the synthetic ones, the few that a child has, and the rest, which are #GP.

use engine::{Engine, Fault, Platform, RAX, RCX, RDX, VpSlot};
use tlfs::addr::Gpa;
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::{HvMessageType, HvX64MsrInterceptMessage};
use tlfs::msr::{
    HV_X64_MSR_APIC_FREQUENCY, HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_HYPERCALL, HV_X64_MSR_REFERENCE_TSC,
    HV_X64_MSR_RESET, HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TSC_FREQUENCY, HV_X64_MSR_VP_INDEX, HypercallMsr,
    ReferenceTscMsr, SYNTHETIC_MSR_FIRST, SYNTHETIC_MSR_LAST,
};
use tlfs::partition::PrivilegeMask;
use tlfs::register::{HvRegisterName, HvRegisterValue};
use zerocopy::IntoBytes;

use crate::dispatch::Next;
use crate::hypervisor::{End, Hypervisor, ROOT_VP};
use crate::instruction::Instruction;
use crate::object::{OverlayKind, ROOT};

/// #GP for the guest.
pub(crate) struct Refused;

/// What writing an MSR brings about.
pub(crate) enum Written {
    /// Nothing more.
    Done,
    /// The machine is to be reset.
    Reset,
}

const TSC: u32 = 0x10;
const APIC_BASE: u32 = 0x1b;
const BIOS_SIGN_ID: u32 = 0x8b;
const MISC_ENABLE: u32 = 0x1a0;
const EFER: u32 = 0xc000_0080;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// SCE, LME, LMA, NXE, FFXSR.
const EFER_VALID: u64 = 1 | EFER_LME | EFER_LMA | 1 << 11 | 1 << 14;
const CR0_PG: u64 = 1 << 31;

/// MSRs that are the VP's own: number and register name. The segment bases are fields of their segments.
const PLAIN: &[(u32, HvRegisterName)] = &[
    (0x174, HvRegisterName::X64_SYSENTER_CS),
    (0x175, HvRegisterName::X64_SYSENTER_ESP),
    (0x176, HvRegisterName::X64_SYSENTER_EIP),
    (0x277, HvRegisterName::X64_PAT),
    (0xc000_0081, HvRegisterName::X64_STAR),
    (0xc000_0082, HvRegisterName::X64_LSTAR),
    (0xc000_0083, HvRegisterName::X64_CSTAR),
    (0xc000_0084, HvRegisterName::X64_SFMASK),
    (0xc000_0102, HvRegisterName::X64_KERNEL_GS_BASE),
    (0xc000_0103, HvRegisterName::X64_TSC_AUX),
];
const BASES: &[(u32, HvRegisterName)] = &[(0xc000_0100, HvRegisterName::X64_FS), (0xc000_0101, HvRegisterName::X64_GS)];

/// Privilege that a synthetic MSR needs; `None`: it is not served.
fn privilege_for(msr: u32) -> Option<PrivilegeMask> {
    match msr {
        HV_X64_MSR_GUEST_OS_ID | HV_X64_MSR_HYPERCALL => Some(PrivilegeMask::ACCESS_HYPERCALL_MSRS),
        HV_X64_MSR_VP_INDEX => Some(PrivilegeMask::ACCESS_VP_INDEX),
        HV_X64_MSR_RESET => Some(PrivilegeMask::ACCESS_RESET_REG),
        HV_X64_MSR_TIME_REF_COUNT => Some(PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER),
        HV_X64_MSR_REFERENCE_TSC => Some(PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC),
        HV_X64_MSR_TSC_FREQUENCY | HV_X64_MSR_APIC_FREQUENCY => Some(PrivilegeMask::ACCESS_FREQUENCY_REGS),
        _ => None,
    }
}

/// An MSR of the synthetic range, which is the hypervisor's to answer.
pub(crate) fn is_synthetic(msr: u32) -> bool {
    (SYNTHETIC_MSR_FIRST..=SYNTHETIC_MSR_LAST).contains(&msr)
}

fn lookup(list: &[(u32, HvRegisterName)], msr: u32) -> Option<HvRegisterName> {
    list.iter().find(|(number, _)| *number == msr).map(|(_, name)| *name)
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    fn may_use(&self, partition: u16, msr: u32) -> Result<(), Refused> {
        let needed = privilege_for(msr).ok_or(Refused)?;
        let held = self.partition(partition).map_err(|_| Refused)?.privileges;
        if held.contains(needed) { Ok(()) } else { Err(Refused) }
    }

    /// Reads a synthetic MSR.
    pub(crate) fn read_synthetic(&mut self, slot: u16, partition: u16, msr: u32) -> Result<u64, Refused> {
        self.may_use(partition, msr)?;
        let object = self.partition(partition).map_err(|_| Refused)?;
        match msr {
            HV_X64_MSR_GUEST_OS_ID => Ok(object.guest_os_id),
            HV_X64_MSR_HYPERCALL => Ok(object.hypercall.msr),
            HV_X64_MSR_VP_INDEX => Ok(u64::from(self.vp(slot).map_err(|_| Refused)?.index)),
            HV_X64_MSR_RESET => Ok(0),
            HV_X64_MSR_TIME_REF_COUNT => Ok(self.time.reference_time(self.platform.tsc(), object.tsc_origin)),
            HV_X64_MSR_REFERENCE_TSC => Ok(object.reference_tsc.msr),
            HV_X64_MSR_TSC_FREQUENCY => Ok(self.platform.tsc_hz()),
            HV_X64_MSR_APIC_FREQUENCY => Ok(self.platform.apic_hz()),
            _ => Err(Refused),
        }
    }

    /// Writes a synthetic MSR.
    pub(crate) fn write_synthetic(&mut self, partition: u16, msr: u32, value: u64) -> Result<Written, Refused> {
        self.may_use(partition, msr)?;
        match msr {
            HV_X64_MSR_GUEST_OS_ID => self.write_guest_os_id(partition, value)?,
            HV_X64_MSR_HYPERCALL => self.write_hypercall(partition, HypercallMsr(value))?,
            HV_X64_MSR_REFERENCE_TSC => self.write_reference_tsc(partition, ReferenceTscMsr(value))?,
            HV_X64_MSR_RESET => return Ok(if value & 1 != 0 { Written::Reset } else { Written::Done }),
            // The others are read-only.
            _ => return Err(Refused),
        }
        Ok(Written::Done)
    }

    fn write_guest_os_id(&mut self, partition: u16, value: u64) -> Result<(), Refused> {
        let object = self.partition_mut(partition).map_err(|_| Refused)?;
        object.guest_os_id = value;
        if value == 0 {
            self.hide_overlay(partition, OverlayKind::Hypercall).map_err(|_| Refused)?;
        }
        Ok(())
    }

    fn write_hypercall(&mut self, partition: u16, value: HypercallMsr) -> Result<(), Refused> {
        let object = self.partition(partition).map_err(|_| Refused)?;
        let old = HypercallMsr(object.hypercall.msr);
        if old.locked() {
            return Err(Refused);
        }
        let mut new = value;
        if object.guest_os_id == 0 {
            new = new.with_enabled(false);
        }
        if partition == ROOT {
            // The page is where the hypervisor has it.
            new = new.with_gpa_page(old.gpa_page());
        }
        let gpa = Gpa::from_page_number(new.gpa_page());
        // A page beyond the address space is #GP, whether or not it is enabled.
        self.check_overlay_page(gpa)?;
        if new.enabled() {
            let code = hypercall_code(self.platform.cpuid(0, 0));
            self.show_overlay(partition, OverlayKind::Hypercall, gpa, &code).map_err(|_| Refused)?;
        } else {
            self.hide_overlay(partition, OverlayKind::Hypercall).map_err(|_| Refused)?;
        }
        self.partition_mut(partition).map_err(|_| Refused)?.hypercall.msr = new.0;
        Ok(())
    }

    fn write_reference_tsc(&mut self, partition: u16, value: ReferenceTscMsr) -> Result<(), Refused> {
        let object = self.partition(partition).map_err(|_| Refused)?;
        let origin = object.tsc_origin;
        let mut new = value;
        if partition == ROOT {
            new = new.with_gpa_page(ReferenceTscMsr(object.reference_tsc.msr).gpa_page());
        }
        let gpa = Gpa::from_page_number(new.gpa_page());
        self.check_overlay_page(gpa)?;
        if new.enabled() {
            let page = self.time.page(origin);
            self.show_overlay(partition, OverlayKind::ReferenceTsc, gpa, page.as_bytes()).map_err(|_| Refused)?;
        } else {
            self.hide_overlay(partition, OverlayKind::ReferenceTsc).map_err(|_| Refused)?;
        }
        self.partition_mut(partition).map_err(|_| Refused)?.reference_tsc.msr = new.0;
        Ok(())
    }

    fn check_overlay_page(&self, gpa: Gpa) -> Result<(), Refused> {
        if gpa.0 >> self.physical_bits == 0 { Ok(()) } else { Err(Refused) }
    }

    /// Reads an MSR that a VP has by its nature, not by a passed-through machine.
    fn read_own(&mut self, slot: u16, msr: u32) -> Result<u64, Refused> {
        if let Some(name) = lookup(PLAIN, msr) {
            return self.engine.get_register(VpSlot(slot), name).map(HvRegisterValue::as_u64).map_err(|_| Refused);
        }
        if let Some(name) = lookup(BASES, msr) {
            let value = self.engine.get_register(VpSlot(slot), name).map_err(|_| Refused)?;
            return Ok(value.segment().base);
        }
        if msr == EFER { Ok(self.engine.control(VpSlot(slot)).efer) } else { Err(Refused) }
    }

    fn write_own(&mut self, slot: u16, msr: u32, value: u64) -> Result<(), Refused> {
        let at = VpSlot(slot);
        if let Some(name) = lookup(PLAIN, msr) {
            return self.engine.set_register(at, name, HvRegisterValue::from_u64(value)).map_err(|_| Refused);
        }
        if let Some(name) = lookup(BASES, msr) {
            let mut segment = self.engine.get_register(at, name).map_err(|_| Refused)?.segment();
            segment.base = value;
            return self.engine.set_register(at, name, HvRegisterValue::from_segment(segment)).map_err(|_| Refused);
        }
        if msr == EFER { self.write_efer(slot, value) } else { Err(Refused) }
    }

    /// EFER: LMA is the processor's, LME cannot change while paging is on.
    fn write_efer(&mut self, slot: u16, value: u64) -> Result<(), Refused> {
        let control = self.engine.control(VpSlot(slot));
        let changes_lme = (value ^ control.efer) & EFER_LME != 0;
        if value & !EFER_VALID != 0 || (changes_lme && control.cr0 & CR0_PG != 0) {
            return Err(Refused);
        }
        let new = (value & !EFER_LMA) | (control.efer & EFER_LMA);
        let set = self.engine.set_register(VpSlot(slot), HvRegisterName::X64_EFER, HvRegisterValue::from_u64(new));
        set.map_err(|_| Refused)
    }

    fn read_child(&mut self, slot: u16, partition: u16, msr: u32) -> Result<u64, Refused> {
        if is_synthetic(msr) {
            return self.read_synthetic(slot, partition, msr);
        }
        match msr {
            TSC => Ok(self.platform.tsc()),
            // A local APIC that is switched off, on the first processor.
            APIC_BASE => Ok(0xfee0_0000 | if self.vp(slot).is_ok_and(|vp| vp.index == 0) { 1 << 8 } else { 0 }),
            BIOS_SIGN_ID => Ok(0),
            // Fast strings.
            MISC_ENABLE => Ok(1),
            _ => self.read_own(slot, msr).or_else(|refused| self.unknown_msr(partition, refused)),
        }
    }

    fn write_child(&mut self, slot: u16, partition: u16, msr: u32, value: u64) -> Result<(), Refused> {
        if is_synthetic(msr) {
            return match self.write_synthetic(partition, msr, value)? {
                Written::Done => Ok(()),
                // No child has the privilege.
                Written::Reset => Err(Refused),
            };
        }
        if msr == BIOS_SIGN_ID {
            return Ok(());
        }
        self.write_own(slot, msr, value).or_else(|refused| self.unknown_msr(partition, refused).map(|_| ()))
    }

    /// What becomes of an MSR that nobody serves: #GP, or zero and nothing if the parent wants it so.
    fn unknown_msr(&self, partition: u16, refused: Refused) -> Result<u64, Refused> {
        let ignore = self.partition(partition).is_ok_and(|object| object.ignore_unknown_msrs);
        if ignore { Ok(0) } else { Err(refused) }
    }

    #[allow(clippy::cast_possible_truncation, reason = "ECX is the low half")]
    fn msr_number(&self, slot: u16) -> u32 {
        self.core(slot).gprs[RCX] as u32
    }

    fn finish_read(&mut self, slot: u16, value: u64) {
        let gprs = &mut self.core_mut(slot).gprs;
        gprs[RAX] = value & 0xffff_ffff;
        gprs[RDX] = value >> 32;
        self.skip(slot, Instruction::Rdmsr);
    }

    /// RDMSR of the root.
    pub(crate) fn root_msr_read(&mut self) {
        let msr = self.msr_number(ROOT_VP);
        let result = if is_synthetic(msr) {
            self.read_synthetic(ROOT_VP, ROOT, msr)
        } else {
            let own = self.read_own(ROOT_VP, msr);
            own.or_else(|refused| self.platform.root_msr_read(msr).ok_or(refused))
        };
        match result {
            Ok(value) => self.finish_read(ROOT_VP, value),
            Err(Refused) => self.inject(ROOT_VP, Fault::GP),
        }
    }

    /// WRMSR of the root.
    pub(crate) fn root_msr_write(&mut self) -> Option<End> {
        let (msr, value) = (self.msr_number(ROOT_VP), self.edx_eax(ROOT_VP));
        let result = if is_synthetic(msr) {
            match self.write_synthetic(ROOT, msr, value) {
                Ok(Written::Reset) => return Some(End::Reset),
                other => other.map(|_| ()),
            }
        } else if lookup(PLAIN, msr).is_some() || lookup(BASES, msr).is_some() || msr == EFER {
            self.write_own(ROOT_VP, msr, value)
        } else if self.platform.root_msr_write(msr, value) {
            Ok(())
        } else {
            Err(Refused)
        };
        match result {
            Ok(()) => self.skip(ROOT_VP, Instruction::Wrmsr),
            Err(Refused) => self.inject(ROOT_VP, Fault::GP),
        }
        None
    }

    /// RDMSR or WRMSR of a child: the parent's if it asked for the MSR.
    pub(crate) fn child_msr(&mut self, slot: u16, partition: u16, write: bool) -> Next {
        let msr = self.msr_number(slot);
        let wanted = self.partition(partition).is_ok_and(|object| object.intercepts.wants_msr(msr, write));
        if wanted {
            return self.msr_message(slot, msr, write);
        }
        let result = if write {
            let value = self.edx_eax(slot);
            self.write_child(slot, partition, msr, value).map(|()| self.skip(slot, Instruction::Wrmsr))
        } else {
            self.read_child(slot, partition, msr).map(|value| self.finish_read(slot, value))
        };
        match result {
            Ok(()) => Next::Run,
            Err(Refused) => self.raise(slot, partition, Fault::GP),
        }
    }

    fn msr_message(&mut self, slot: u16, msr: u32, write: bool) -> Next {
        let instruction = if write { Instruction::Wrmsr } else { Instruction::Rdmsr };
        let length = self.instruction_length(slot, instruction);
        let access = if write { HvInterceptAccessType::WRITE } else { HvInterceptAccessType::READ };
        let gprs = self.core(slot).gprs;
        let message = HvX64MsrInterceptMessage {
            header: self.header(slot, length, access),
            msr_number: msr,
            reserved: 0,
            rdx: gprs[RDX],
            rax: gprs[RAX],
        };
        self.post(slot, HvMessageType::X64_MSR_INTERCEPT, &message)
    }
}

/// The code of the hypercall page: VMCALL or VMMCALL, as the processor has it, and a near return.
fn hypercall_code([_, vendor, ..]: [u32; 4]) -> [u8; 4] {
    const INTEL: u32 = u32::from_le_bytes(*b"Genu");
    if vendor == INTEL { [0x0f, 0x01, 0xc1, 0xc3] } else { [0x0f, 0x01, 0xd9, 0xc3] }
}
