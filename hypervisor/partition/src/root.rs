//! The root partition: made from the machine, and its exits.

use engine::{Access, Engine, Fault, Platform, VpExit, VpKind, VpSlot};
use paging::format::Rights;
use paging::table::{MapError, Mapping, NestedTable, PageSize};
use tlfs::addr::{Gpa, PAGE_SIZE, Spa};
use tlfs::partition::PrivilegeMask;

use crate::deposit::{Deposit, Purse};
use crate::fault::protection_on_top_of;
use crate::frames::FrameState;
use crate::hypervisor::{End, Hypervisor, ROOT_VP, id_of};
use crate::instruction::Instruction;
use crate::object::{OverlayKind, Partition, PartitionState, ROOT};
use crate::setup::{MachineMemory, MemoryRange, SetupError, frames_needed};
use crate::stop_code;

const LARGE: u64 = PageSize::Large.bytes();
const HUGE: u64 = PageSize::Huge.bytes();
/// Below this, everything that is not private is mapped at once: RAM, and the devices of a PC.
const EAGER_END: u64 = 4 << 30;

/// What the root may do.
pub(crate) const ROOT_PRIVILEGES: PrivilegeMask = PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER
    .union(PrivilegeMask::ACCESS_HYPERCALL_MSRS)
    .union(PrivilegeMask::ACCESS_VP_INDEX)
    .union(PrivilegeMask::ACCESS_RESET_REG)
    .union(PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC)
    .union(PrivilegeMask::ACCESS_FREQUENCY_REGS)
    .union(PrivilegeMask::CREATE_PARTITIONS)
    .union(PrivilegeMask::ACCESS_PARTITION_ID)
    .union(PrivilegeMask::ACCESS_MEMORY_POOL)
    .union(PrivilegeMask::CPU_MANAGEMENT)
    .union(PrivilegeMask::ACCESS_VP_REGISTERS);

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Divides the machine's memory, builds the root's address space and its VP.
    pub(crate) fn make_root(&mut self, memory: &MachineMemory<'_>) -> Result<(), SetupError> {
        check_ranges(memory)?;
        if frames_needed(memory.ram) > self.frames.len() as u64 {
            return Err(SetupError::Storage);
        }
        for range in memory.ram {
            for spa in pages(range).filter(|spa| !is_private(memory, spa.0, spa.0 + PAGE_SIZE)) {
                self.frames.set_root(spa);
            }
        }
        let origin = self.platform.tsc();
        let id = self.next_id(ROOT);
        let mut deposit = Deposit::new(ROOT);
        for spa in pages(&memory.pool) {
            deposit.add(&mut self.frames, spa);
        }
        if let Some(root) = self.partitions.first_mut() {
            *root = Partition {
                id,
                state: PartitionState::Active,
                privileges: ROOT_PRIVILEGES,
                deposit,
                tsc_origin: origin,
                ..Partition::EMPTY
            };
        }
        self.build_root_space(memory).map_err(|_| SetupError::Pool)?;
        self.add_vp(ROOT, 0, VpKind::Root).map_err(|status| match status {
            tlfs::status::HvStatus::INSUFFICIENT_MEMORY => SetupError::Pool,
            _ => SetupError::Engine,
        })?;
        self.place_root_overlays().map_err(|_| SetupError::Pool)
    }

    pub(crate) fn next_id(&mut self, index: u16) -> tlfs::addr::PartitionId {
        let id = id_of(self.sequence, index);
        self.sequence += 1;
        id
    }

    fn build_root_space(&mut self, memory: &MachineMemory<'_>) -> Result<(), MapError> {
        let huge_leaves = self.platform.cpuid(0x8000_0001, 0)[3] & (1 << 26) != 0;
        let Self { engine, frames, partitions, .. } = self;
        let Some(root) = partitions.first_mut() else { return Err(MapError::NoFrames) };
        let mut purse = Purse { frames, deposit: &mut root.deposit };
        let mem = engine.memory();
        let mut tables = NestedTable::new(mem, &mut purse)?;
        let ram_end = frames_needed(memory.ram) * PAGE_SIZE;
        let end = ram_end.max(EAGER_END).next_multiple_of(HUGE);
        let mut at = 0;
        while at < end {
            let size = leaf_for(memory, at, huge_leaves);
            if !is_private(memory, at, at + size.bytes()) {
                let mapping = Mapping { spa: Spa(at), size, rights: Rights::ALL };
                // The table is new: nothing can be stale.
                let _ = tables.map(mem, &mut purse, Gpa(at), mapping)?.1.is_due();
            }
            at += size.bytes();
        }
        root.tables = Some(tables);
        Ok(())
    }

    /// The root does not choose where its overlays are: they stay where the hypervisor has them.
    fn place_root_overlays(&mut self) -> Result<(), tlfs::status::HvStatus> {
        for kind in [OverlayKind::Hypercall, OverlayKind::ReferenceTsc] {
            let frame = self.take_frame(ROOT)?;
            let overlay = self.partition_mut(ROOT)?.overlay(kind);
            overlay.frame = Some(frame);
            overlay.msr = frame.0;
        }
        Ok(())
    }

    /// Carries out a hypercall of the root.
    pub(crate) fn root_hypercall(&mut self) {
        // Nobody stands behind the root to be told of memory: such a call fails instead (`Handler::has_parent`).
        if self.hypercall(ROOT_VP).is_some() {
            self.inject(ROOT_VP, Fault::UD);
        }
    }

    /// Deals with any other exit of the root.
    pub(crate) fn root_exit(&mut self, exit: VpExit) -> Option<End> {
        match exit {
            VpExit::Hypercall => self.root_hypercall(),
            VpExit::Cpuid => self.default_cpuid(ROOT_VP, ROOT),
            VpExit::MsrRead => self.root_msr_read(),
            VpExit::MsrWrite => return self.root_msr_write(),
            VpExit::IoPort { port, size, write, string, next_rip, .. } => {
                return self.root_port(port, size, write, string, next_rip);
            }
            VpExit::Memory { gpa, access, .. } => return self.root_memory(gpa, access),
            VpExit::Halt => self.skip(ROOT_VP, Instruction::Hlt),
            VpExit::Interrupt => {}
            VpExit::Forbidden => self.inject(ROOT_VP, Fault::UD),
            VpExit::Exception { vector, error_code, .. } => self.inject(ROOT_VP, Fault { vector, error_code }),
            VpExit::Shutdown => return self.root_lost("the root partition took a triple fault"),
            VpExit::InvalidState => return self.root_lost("the processor refused the root partition's state"),
            VpExit::Unknown(code) => {
                self.platform.log(format_args!("cordon-hv: exit code {code:#x}"));
                return self.root_lost("the root partition took an exit that nobody knows");
            }
        }
        None
    }

    fn root_lost(&mut self, what: &str) -> Option<End> {
        let rip = self.core(ROOT_VP).rip;
        self.platform.log(format_args!("cordon-hv: {what} at rip {rip:#x}"));
        Some(End::Stop(stop_code::HYPERVISOR))
    }

    /// The root touched what it has no mapping for. High device memory is mapped when it is first used; what the
    /// hypervisor keeps is not there for it.
    fn root_memory(&mut self, gpa: Gpa, access: Access) -> Option<End> {
        if self.map_high_device_memory(gpa) {
            return None;
        }
        let rip = self.core(ROOT_VP).rip;
        self.platform.log(format_args!("cordon-hv: the root has no memory at {gpa} ({access:?}, rip {rip:#x})"));
        match protection_on_top_of(self.engine.pending_fault(VpSlot(ROOT_VP))) {
            Some(fault) => {
                self.inject(ROOT_VP, fault);
                None
            }
            None => self.root_lost("the root partition has no memory to take a double fault in"),
        }
    }

    fn map_high_device_memory(&mut self, gpa: Gpa) -> bool {
        let eager_end = ((self.frames.len() as u64) * PAGE_SIZE).max(EAGER_END).next_multiple_of(HUGE);
        if gpa.0 < eager_end || gpa.0 >= 1 << self.physical_bits {
            return false;
        }
        let base = Gpa(gpa.0 & !(LARGE - 1));
        let mapping = Mapping { spa: Spa(base.0), size: PageSize::Large, rights: Rights::ALL };
        let mapped = self.with_tables(ROOT, |tables, mem, purse| {
            if tables.lookup(mem, base).is_some() {
                return Ok(false);
            }
            let (_, flush) = tables.map(mem, purse, base, mapping).map_err(crate::gpa::status_of)?;
            Ok(!flush.is_due())
        });
        mapped == Ok(true)
    }

    /// Maps a frame that the root may see at GPA = SPA.
    pub(crate) fn show_to_root(&mut self, spa: Spa, rights: Rights) -> Result<(), tlfs::status::HvStatus> {
        let mapping = Mapping { spa, size: PageSize::Small, rights };
        let flush = self.with_tables(ROOT, |tables, mem, purse| {
            let mapped = tables.map(mem, purse, Gpa(spa.0), mapping);
            Ok(mapped.map_err(crate::gpa::status_of)?.1)
        })?;
        self.partition_mut(ROOT)?.note(flush);
        Ok(())
    }

    /// Takes a frame out of the root's address space.
    pub(crate) fn hide_from_root(&mut self, spa: Spa) -> Result<(), tlfs::status::HvStatus> {
        let flush = self.with_tables(ROOT, |tables, mem, purse| {
            let removed = tables.unmap(mem, purse, Gpa(spa.0), PageSize::Small);
            Ok(removed.map_err(crate::gpa::status_of)?.1)
        })?;
        self.partition_mut(ROOT)?.note(flush);
        Ok(())
    }

    /// Gives a frame that is in nobody's account to the root, cleared.
    pub(crate) fn return_to_root(&mut self, spa: Spa) -> Result<(), tlfs::status::HvStatus> {
        use engine::PhysMem;
        debug_assert!(!matches!(self.frames.state(spa), FrameState::Root { .. }));
        self.engine.memory().zero_page(spa).map_err(|_| tlfs::status::HvStatus::OPERATION_FAILED)?;
        self.show_to_root(spa, Rights::ALL)?;
        self.frames.set_root(spa);
        Ok(())
    }
}

fn check_ranges(memory: &MachineMemory<'_>) -> Result<(), SetupError> {
    let aligned =
        |range: &MemoryRange| range.start.is_page_aligned() && range.end.is_page_aligned() && range.start <= range.end;
    let ascending = memory.ram.windows(2).all(|pair| match pair {
        [first, second] => first.end <= second.start,
        _ => true,
    });
    let in_range = memory.ram.iter().all(|range| range.end.page_number() < u64::from(u32::MAX));
    if !memory.ram.iter().all(aligned) || !memory.private.iter().all(aligned) || !ascending || !in_range {
        return Err(SetupError::Ranges);
    }
    let pool = &memory.pool;
    let within = |outer: &MemoryRange| outer.start <= pool.start && pool.end <= outer.end;
    if !aligned(pool) || !memory.private.iter().any(within) || !memory.ram.iter().any(within) {
        return Err(SetupError::Pool);
    }
    Ok(())
}

fn pages(range: &MemoryRange) -> impl Iterator<Item = Spa> + use<> {
    (range.start.page_number()..range.end.page_number()).map(Spa::from_page_number)
}

fn is_private(memory: &MachineMemory<'_>, start: u64, end: u64) -> bool {
    memory.private.iter().any(|range| range.overlaps(start, end))
}

/// The largest step from `at` that is wholly private or not at all.
fn leaf_for(memory: &MachineMemory<'_>, at: u64, huge_leaves: bool) -> PageSize {
    let fits = |size: PageSize| at.is_multiple_of(size.bytes()) && !is_private(memory, at, at + size.bytes());
    // What is private as a whole is skipped in large steps.
    let swallowed = |range: &MemoryRange| range.start.0 <= at && at + LARGE <= range.end.0;
    if huge_leaves && fits(PageSize::Huge) {
        PageSize::Huge
    } else if fits(PageSize::Large) || (at.is_multiple_of(LARGE) && memory.private.iter().any(swallowed)) {
        PageSize::Large
    } else {
        PageSize::Small
    }
}
