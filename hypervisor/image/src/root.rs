//! The root partition's image, start info and entry state.

use bundle::{BUNDLE_MAGIC, BundleHeader};
use core::fmt;
use engine::{Engine, PhysMem, RBX, RegisterError, VpSlot};
use platform::boot::BootInfo;
use platform::handover::{self, Handover};
use platform::plan::{FOUR_GIB, Range};
use tlfs::addr::{PAGE_SIZE, Spa};
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64SegmentAttributes, HvX64SegmentRegister};
use zerocopy::FromBytes;

/// Why there is no root to run. The text is what the user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BundleError {
    /// The loader gave no module.
    Missing,
    /// The header cannot be read or has another magic.
    NotABundle,
    /// The header names bytes that the bundle does not have.
    Truncated,
    /// The root image does not fit the machine's memory where it wants to be.
    RootPlace,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no bundle: the boot loader gave no module (QEMU: -initrd)",
            Self::NotABundle => "the module given is not a bundle",
            Self::Truncated => "the bundle is malformed: its header names what it does not hold",
            Self::RootPlace => "there is no memory where the root image has to be",
        })
    }
}

/// A bundle whose header holds what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bundle {
    /// All of it.
    pub(crate) range: Range,
    /// The root image in it.
    image: Range,
    /// The payload in it.
    pub(crate) payload: Range,
    /// Where the root image goes, with its `.bss`.
    pub(crate) place: Range,
    /// Its entry.
    pub(crate) entry: u64,
}

impl Bundle {
    /// Reads and checks the header.
    pub(crate) fn find(info: &BootInfo, memory: &impl PhysMem) -> Result<Self, BundleError> {
        let range = info.module.ok_or(BundleError::Missing)?;
        let mut bytes = [0; size_of::<BundleHeader>()];
        if range.len() < bytes.len() as u64 || memory.read(Spa(range.start), &mut bytes).is_err() {
            return Err(BundleError::NotABundle);
        }
        let header = BundleHeader::read_from_bytes(&bytes).map_err(|_| BundleError::NotABundle)?;
        if header.magic != BUNDLE_MAGIC {
            return Err(BundleError::NotABundle);
        }
        let within = |offset: u64, len: u64| {
            let start = range.start.checked_add(offset).ok_or(BundleError::Truncated)?;
            let part = Range { start, end: start.checked_add(len).ok_or(BundleError::Truncated)? };
            if range.contains(&part) { Ok(part) } else { Err(BundleError::Truncated) }
        };
        let image = within(header.root_offset, header.root_len)?;
        let payload = within(header.payload_offset, header.payload_len)?;
        let place = Range::sized(header.root_gpa, header.root_mem_len);
        let aligned = header.root_gpa.is_multiple_of(PAGE_SIZE) && payload.start.is_multiple_of(PAGE_SIZE);
        if !aligned || image.len() > place.len() || !place.contains(&Range::sized(header.root_entry, 1)) {
            return Err(BundleError::Truncated);
        }
        Ok(Self { range, image, payload, place: place.grow_to_pages(), entry: header.root_entry })
    }

    /// Whether the root can be put where it wants to be: in RAM below 4 GiB, clear of what is in use.
    pub(crate) fn check_place(&self, ram: &[Range], taken: &[Range]) -> Result<(), BundleError> {
        let in_ram = |wanted: &Range| ram.iter().any(|range| range.contains(wanted));
        let free = |wanted: &Range| in_ram(wanted) && !taken.iter().any(|range| range.overlaps(wanted));
        let handover = Handover::range();
        let apart = !self.place.overlaps(&self.range) && !handover.overlaps(&self.range);
        let fits = free(&self.place) && free(&handover) && self.place.end <= FOUR_GIB;
        if apart && fits { Ok(()) } else { Err(BundleError::RootPlace) }
    }

    /// Copies the root image to its place, with the rest of the place cleared.
    pub(crate) fn place_root(&self, memory: &mut impl PhysMem) -> Result<(), BundleError> {
        let mut page = [0; PAGE_SIZE as usize];
        for offset in (0..self.place.len()).step_by(PAGE_SIZE as usize) {
            let len = self.image.len().saturating_sub(offset).min(PAGE_SIZE);
            let (data, clear) = page.split_at_mut(usize::try_from(len).unwrap_or(0));
            if !data.is_empty() {
                memory.read(Spa(self.image.start + offset), data).map_err(|_| BundleError::Truncated)?;
            }
            clear.fill(0);
            memory.write(Spa(self.place.start + offset), &page).map_err(|_| BundleError::RootPlace)?;
        }
        Ok(())
    }
}

/// Brings the root's VP into the state in which PVH enters an image.
pub(crate) fn enter<E: Engine>(engine: &mut E, vp: VpSlot, entry: u64) -> Result<(), RegisterError> {
    use HvRegisterName as Name;
    const CODE: HvX64SegmentAttributes = HvX64SegmentAttributes(0xc09b);
    const DATA: HvX64SegmentAttributes = HvX64SegmentAttributes(0xc093);
    const TASK: HvX64SegmentAttributes = HvX64SegmentAttributes(0x008b);
    /// Protected mode, and the bit that is always set.
    const CR0: u64 = 0x11;
    let flat = |selector, attributes| {
        HvRegisterValue::from_segment(HvX64SegmentRegister { base: 0, limit: u32::MAX, selector, attributes })
    };
    let task = HvX64SegmentRegister { limit: 0x67, attributes: TASK, ..Default::default() };
    engine.set_register(vp, Name::X64_CS, flat(8, CODE))?;
    for name in [Name::X64_SS, Name::X64_DS, Name::X64_ES, Name::X64_FS, Name::X64_GS] {
        engine.set_register(vp, name, flat(16, DATA))?;
    }
    engine.set_register(vp, Name::X64_TR, HvRegisterValue::from_segment(task))?;
    engine.set_register(vp, Name::X64_CR0, HvRegisterValue::from_u64(CR0))?;
    let core = engine.core_mut(vp);
    core.rip = entry;
    core.gprs[RBX] = handover::ADDRESS;
    Ok(())
}
