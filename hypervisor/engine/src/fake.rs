//! A scripted engine, memory in a vector and a platform made of numbers, for host tests of what is
//! written against [`Engine`] and [`Platform`].
//!
//! A test queues [`Step`]s for a VP: each is a function that plays the guest until its next exit, with the VP's
//! registers and the machine's memory at hand. A VP with nothing queued exits with [`VpExit::Interrupt`].

use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};
use std::string::{String, ToString};
use std::vec::Vec;

use tlfs::addr::Spa;
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64SegmentRegister};

use crate::{
    AddressSpace, BadAddress, ControlRegs, CoreRegs, Engine, Fault, PhysMem, Platform, RegisterError, Segment,
    TooManyVps, VpExit, VpKind, VpSlot,
};

/// Memory from address 0 on.
#[derive(Clone, Debug)]
pub struct VecMemory {
    bytes: Vec<u8>,
}

impl VecMemory {
    /// `pages` pages, each byte of them `fill`.
    #[must_use]
    pub fn new(pages: usize, fill: u8) -> Self {
        Self { bytes: std::vec![fill; pages * 4096] }
    }

    fn range(&self, spa: Spa, len: usize) -> Result<core::ops::Range<usize>, BadAddress> {
        let start = usize::try_from(spa.0).map_err(|_| BadAddress)?;
        let end = start.checked_add(len).ok_or(BadAddress)?;
        if end > self.bytes.len() { Err(BadAddress) } else { Ok(start..end) }
    }

    /// The bytes of one page.
    #[must_use]
    pub fn page(&self, spa: Spa) -> Option<&[u8]> {
        self.range(spa, 4096).ok().and_then(|range| self.bytes.get(range))
    }
}

impl PhysMem for VecMemory {
    fn read(&self, spa: Spa, buf: &mut [u8]) -> Result<(), BadAddress> {
        buf.copy_from_slice(&self.bytes[self.range(spa, buf.len())?]);
        Ok(())
    }

    fn write(&mut self, spa: Spa, data: &[u8]) -> Result<(), BadAddress> {
        let range = self.range(spa, data.len())?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn read_u64(&self, spa: Spa) -> Result<u64, BadAddress> {
        let mut word = [0; 8];
        self.read(spa, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn write_u64(&mut self, spa: Spa, value: u64) -> Result<(), BadAddress> {
        self.write(spa, &value.to_le_bytes())
    }

    fn zero_page(&mut self, spa: Spa) -> Result<(), BadAddress> {
        let range = self.range(Spa(spa.0 & !4095), 4096)?;
        self.bytes[range].fill(0);
        Ok(())
    }
}

/// Plays a guest until its next exit.
pub type Step = Box<dyn FnOnce(&mut FakeVp, &mut VecMemory) -> VpExit>;

/// What the engine holds of a VP; all open to tests.
pub struct FakeVp {
    /// Root or child.
    pub kind: VpKind,
    /// General registers, RIP, RFLAGS.
    pub core: CoreRegs,
    /// Control registers and CPL.
    pub control: ControlRegs,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [HvX64SegmentRegister; 6],
    /// XMM0 to XMM5.
    pub xmm: [[u8; 16]; 6],
    /// Every other architectural register that was set.
    pub others: BTreeMap<u32, HvRegisterValue>,
    /// The fault that the next run delivers.
    pub pending: Option<Fault>,
    /// The interrupt that is offered.
    pub offered: Option<u8>,
    /// Interrupt shadow.
    pub shadow: bool,
    /// Exception vectors that exit.
    pub exceptions: u32,
    /// The frames it was given.
    pub frames: Vec<Spa>,
    /// The space it ran in last.
    pub space: Option<AddressSpace>,
    /// Faults that were delivered so far.
    pub delivered: Vec<Fault>,
    /// Interrupts that were taken so far.
    pub taken: Vec<u8>,
    script: VecDeque<Step>,
}

impl FakeVp {
    fn new(kind: VpKind, frames: &[Spa]) -> Self {
        Self {
            kind,
            core: CoreRegs { rflags: 2, rip: 0xfff0, ..CoreRegs::default() },
            control: ControlRegs { cr0: 0x6000_0010, ..ControlRegs::default() },
            segments: [HvX64SegmentRegister::default(); 6],
            xmm: [[0; 16]; 6],
            others: BTreeMap::new(),
            pending: None,
            offered: None,
            shadow: false,
            exceptions: 0,
            frames: frames.to_vec(),
            space: None,
            delivered: Vec::new(),
            taken: Vec::new(),
            script: VecDeque::new(),
        }
    }

    /// Puts the VP into ring 0 of 64-bit mode, with the given page table.
    pub fn enter_long_mode(&mut self, cr3: u64) {
        self.control.cr0 = 0x8005_0033;
        self.control.cr3 = cr3;
        self.control.cr4 = 0x6a0;
        self.control.efer = 0xd00;
        self.control.cpl = 0;
        self.segments[Segment::Cs as usize].attributes = tlfs::register::HvX64SegmentAttributes(0x209b);
    }
}

/// The engine.
pub struct FakeEngine {
    memory: VecMemory,
    vps: Vec<Option<FakeVp>>,
    capacity: usize,
    frames_per_vp: usize,
    exits: [u64; 2],
    /// What [`Engine::reserve_root_ports`] was told.
    pub reserved_ports: Vec<core::ops::RangeInclusive<u16>>,
}

impl FakeEngine {
    /// The one MSR that never exits: the kernel's GS base.
    pub const SWITCHED_MSR: u32 = 0xc000_0102;

    /// An engine over `memory` that holds `capacity` VPs and takes `frames_per_vp` frames for each.
    #[must_use]
    pub fn new(memory: VecMemory, capacity: usize, frames_per_vp: usize) -> Self {
        let mut vps = Vec::new();
        vps.resize_with(capacity, || None);
        Self { memory, vps, capacity, frames_per_vp, exits: [0; 2], reserved_ports: Vec::new() }
    }

    /// The VP in a slot.
    ///
    /// # Panics
    /// If there is none: the model broke its promise.
    #[must_use]
    pub fn vp(&self, slot: VpSlot) -> &FakeVp {
        self.vps.get(usize::from(slot.0)).and_then(Option::as_ref).expect("a VP that was created")
    }

    /// The VP in a slot, to change.
    ///
    /// # Panics
    /// If there is none: the model broke its promise.
    pub fn vp_mut(&mut self, slot: VpSlot) -> &mut FakeVp {
        self.vps.get_mut(usize::from(slot.0)).and_then(Option::as_mut).expect("a VP that was created")
    }

    /// Whether a slot is taken.
    #[must_use]
    pub fn has_vp(&self, slot: VpSlot) -> bool {
        self.vps.get(usize::from(slot.0)).is_some_and(Option::is_some)
    }

    /// Queues what the VP does at its next run.
    pub fn script(&mut self, slot: VpSlot, step: impl FnOnce(&mut FakeVp, &mut VecMemory) -> VpExit + 'static) {
        self.vp_mut(slot).script.push_back(Box::new(step));
    }

    /// Memory, to look at.
    #[must_use]
    pub fn ram(&self) -> &VecMemory {
        &self.memory
    }
}

/// Registers beside the ones with fields of their own that the fake keeps.
const OTHERS: &[HvRegisterName] = &[
    HvRegisterName::X64_CR2,
    HvRegisterName::X64_DR0,
    HvRegisterName::X64_DR6,
    HvRegisterName::X64_LDTR,
    HvRegisterName::X64_TR,
    HvRegisterName::X64_IDTR,
    HvRegisterName::X64_GDTR,
    HvRegisterName::X64_KERNEL_GS_BASE,
    HvRegisterName::X64_PAT,
    HvRegisterName::X64_STAR,
    HvRegisterName::X64_LSTAR,
    HvRegisterName::X64_CSTAR,
    HvRegisterName::X64_SFMASK,
    HvRegisterName::X64_SYSENTER_CS,
    HvRegisterName::X64_SYSENTER_EIP,
    HvRegisterName::X64_SYSENTER_ESP,
    HvRegisterName::X64_TSC_AUX,
    HvRegisterName::X64_APIC_BASE,
    HvRegisterName::X64_FP_CONTROL_STATUS,
    HvRegisterName::X64_XMM_CONTROL_STATUS,
];

/// The field that a name stands for, if it has one.
fn word(vp: &mut FakeVp, name: HvRegisterName) -> Option<&mut u64> {
    let index = usize::try_from(name.0.checked_sub(HvRegisterName::X64_RAX.0)?).ok()?;
    if index < 16 {
        return vp.core.gprs.get_mut(index);
    }
    match name {
        HvRegisterName::X64_RIP => Some(&mut vp.core.rip),
        HvRegisterName::X64_RFLAGS => Some(&mut vp.core.rflags),
        HvRegisterName::X64_CR0 => Some(&mut vp.control.cr0),
        HvRegisterName::X64_CR3 => Some(&mut vp.control.cr3),
        HvRegisterName::X64_CR4 => Some(&mut vp.control.cr4),
        HvRegisterName::X64_CR8 => Some(&mut vp.control.cr8),
        HvRegisterName::X64_EFER => Some(&mut vp.control.efer),
        HvRegisterName::X64_DR7 => Some(&mut vp.control.dr7),
        _ => None,
    }
}

fn segment_index(name: HvRegisterName) -> Option<usize> {
    let index = usize::try_from(name.0.checked_sub(HvRegisterName::X64_ES.0)?).ok()?;
    (index < 6).then_some(index)
}

impl Engine for FakeEngine {
    type Memory = VecMemory;

    fn memory(&mut self) -> &mut VecMemory {
        &mut self.memory
    }

    fn frames_per_vp(&self) -> usize {
        self.frames_per_vp
    }

    fn create_vp(&mut self, slot: VpSlot, kind: VpKind, frames: &[Spa]) -> Result<(), TooManyVps> {
        assert_eq!(frames.len(), self.frames_per_vp);
        assert!(!self.has_vp(slot), "a slot that is free");
        let place = self.vps.get_mut(usize::from(slot.0)).filter(|_| usize::from(slot.0) < self.capacity);
        *place.ok_or(TooManyVps)? = Some(FakeVp::new(kind, frames));
        Ok(())
    }

    fn delete_vp(&mut self, slot: VpSlot) {
        assert!(self.has_vp(slot), "a VP that was created");
        self.vps[usize::from(slot.0)] = None;
    }

    fn run(&mut self, slot: VpSlot, space: AddressSpace) -> VpExit {
        let vp = self.vps[usize::from(slot.0)].as_mut().expect("a VP that was created");
        vp.space = Some(space);
        if let Some(fault) = vp.pending.take() {
            vp.delivered.push(fault);
        } else if vp.core.rflags & (1 << 9) != 0
            && let Some(vector) = vp.offered.take()
        {
            vp.taken.push(vector);
        }
        self.exits[usize::from(vp.kind == VpKind::Child)] += 1;
        match vp.script.pop_front() {
            Some(step) => step(vp, &mut self.memory),
            None => VpExit::Interrupt,
        }
    }

    fn core(&self, slot: VpSlot) -> &CoreRegs {
        &self.vp(slot).core
    }

    fn core_mut(&mut self, slot: VpSlot) -> &mut CoreRegs {
        &mut self.vp_mut(slot).core
    }

    fn control(&self, slot: VpSlot) -> ControlRegs {
        self.vp(slot).control
    }

    fn segment(&self, slot: VpSlot, which: Segment) -> HvX64SegmentRegister {
        self.vp(slot).segments[which as usize]
    }

    fn set_segment(&mut self, slot: VpSlot, which: Segment, value: HvX64SegmentRegister) -> Result<(), RegisterError> {
        if value.attributes.0 & 0x0f00 != 0 {
            return Err(RegisterError::BadValue);
        }
        let vp = self.vp_mut(slot);
        vp.segments[which as usize] = value;
        if matches!(which, Segment::Cs | Segment::Ss) {
            vp.control.cpl = value.attributes.dpl();
        }
        Ok(())
    }

    fn xmm(&self, slot: VpSlot) -> [[u8; 16]; 6] {
        self.vp(slot).xmm
    }

    fn set_xmm(&mut self, slot: VpSlot, value: &[[u8; 16]; 6]) {
        self.vp_mut(slot).xmm = *value;
    }

    fn get_register(&mut self, slot: VpSlot, name: HvRegisterName) -> Result<HvRegisterValue, RegisterError> {
        let vp = self.vp_mut(slot);
        if let Some(word) = word(vp, name) {
            return Ok(HvRegisterValue::from_u64(*word));
        }
        if let Some(index) = segment_index(name) {
            return Ok(HvRegisterValue::from_segment(vp.segments[index]));
        }
        if !OTHERS.contains(&name) {
            return Err(RegisterError::Unknown);
        }
        Ok(vp.others.get(&name.0).copied().unwrap_or_default())
    }

    fn set_register(
        &mut self,
        slot: VpSlot,
        name: HvRegisterName,
        value: HvRegisterValue,
    ) -> Result<(), RegisterError> {
        let vp = self.vp_mut(slot);
        if let Some(word) = word(vp, name) {
            // The bits of CR0 that no processor has stand for every value that an engine would refuse.
            if name == HvRegisterName::X64_CR0 && value.as_u64() >> 32 != 0 {
                return Err(RegisterError::BadValue);
            }
            *word = value.as_u64();
            return Ok(());
        }
        if let Some(index) = segment_index(name) {
            let which = [Segment::Es, Segment::Cs, Segment::Ss, Segment::Ds, Segment::Fs, Segment::Gs][index];
            return self.set_segment(slot, which, value.segment());
        }
        if !OTHERS.contains(&name) {
            return Err(RegisterError::Unknown);
        }
        vp.others.insert(name.0, value);
        Ok(())
    }

    fn inject(&mut self, slot: VpSlot, fault: Fault) {
        self.vp_mut(slot).pending = Some(fault);
    }

    fn pending_fault(&self, slot: VpSlot) -> Option<Fault> {
        self.vp(slot).pending
    }

    fn cancel_fault(&mut self, slot: VpSlot) {
        self.vp_mut(slot).pending = None;
    }

    fn offer_interrupt(&mut self, slot: VpSlot, vector: Option<u8>) {
        self.vp_mut(slot).offered = vector;
    }

    fn offered_interrupt(&self, slot: VpSlot) -> Option<u8> {
        self.vp(slot).offered
    }

    fn in_interrupt_shadow(&self, slot: VpSlot) -> bool {
        self.vp(slot).shadow
    }

    fn set_interrupt_shadow(&mut self, slot: VpSlot, shadow: bool) {
        self.vp_mut(slot).shadow = shadow;
    }

    fn set_exception_intercepts(&mut self, slot: VpSlot, vectors: u32) {
        self.vp_mut(slot).exceptions = vectors;
    }

    fn msr_exits(&self, _: VpKind, msr: u32, _: bool) -> bool {
        // One, to stand for those that a processor switches by itself.
        msr != Self::SWITCHED_MSR
    }

    fn reserve_root_ports(&mut self, ports: core::ops::RangeInclusive<u16>) {
        self.reserved_ports.push(ports);
    }

    fn exits(&self, kind: VpKind) -> u64 {
        self.exits[usize::from(kind == VpKind::Child)]
    }
}

/// A machine of 2.5 GHz whose clock moves by `tick` each time it is read.
#[derive(Debug)]
pub struct FakePlatform {
    /// Now.
    pub now: std::cell::Cell<u64>,
    /// How far the clock moves with each look at it.
    pub tick: std::cell::Cell<u64>,
    /// Lines of the log.
    pub lines: Vec<String>,
    /// Ports written: port, size, value.
    pub written: Vec<(u16, u8, u32)>,
    /// MSRs of the machine that the root may use.
    pub msrs: BTreeMap<u32, u64>,
}

impl FakePlatform {
    /// TSC ticks a second.
    pub const TSC_HZ: u64 = 2_500_000_000;
    /// APIC timer ticks a second.
    pub const APIC_HZ: u64 = 1_000_000_000;
}

impl Default for FakePlatform {
    fn default() -> Self {
        Self {
            now: std::cell::Cell::new(1_000_000_000),
            tick: std::cell::Cell::new(0),
            lines: Vec::new(),
            written: Vec::new(),
            msrs: BTreeMap::new(),
        }
    }
}

impl Platform for FakePlatform {
    fn tsc(&self) -> u64 {
        let now = self.now.get();
        self.now.set(now + self.tick.get());
        now
    }

    fn tsc_hz(&self) -> u64 {
        Self::TSC_HZ
    }

    fn apic_hz(&self) -> u64 {
        Self::APIC_HZ
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        match leaf {
            0 => [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65],
            1 => [0x0080_0f12, 0x0002_0800, 0xffff_ffff, 0xffff_ffff],
            0x8000_0000 => [0x8000_001f, 0, 0, 0],
            0x8000_0008 => [0x3028, 0, 0, 0],
            7 | 0x8000_0001 => [0, u32::MAX, u32::MAX, u32::MAX],
            _ => [leaf, subleaf, 0, 0],
        }
    }

    fn port_in(&mut self, _: u16, size: u8) -> u32 {
        u32::from(size)
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        self.written.push((port, size, value));
    }

    fn root_msr_read(&mut self, msr: u32) -> Option<u64> {
        self.msrs.get(&msr).copied()
    }

    fn root_msr_write(&mut self, msr: u32, value: u64) -> bool {
        self.msrs.get_mut(&msr).map(|place| *place = value).is_some()
    }

    fn log(&mut self, line: core::fmt::Arguments<'_>) {
        self.lines.push(line.to_string());
    }

    fn stop(&mut self, code: u8) -> ! {
        panic!("the machine was ended with code {code:#x}");
    }

    fn reset(&mut self) -> ! {
        panic!("the machine was reset");
    }
}
