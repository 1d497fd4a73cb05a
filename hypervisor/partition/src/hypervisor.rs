//! The hypervisor itself: the tables, the processor and the machine in one place, and the loop that runs the root.

use engine::{AddressSpace, ControlRegs, CoreRegs, Engine, Fault, PhysMem, Platform, Segment, VpExit, VpKind, VpSlot};
use tlfs::addr::{Gpa, Gva, PartitionId, Spa, VpIndex};
use tlfs::status::HvStatus;

use crate::deposit::Purse;
use crate::frames::FrameTable;
use crate::instruction::Instruction;
use crate::object::{Partition, PartitionState, ROOT};
use crate::setup::{MachineMemory, SetupError, Storage};
use crate::time::TimeScale;
use crate::translate::{Space, fetch, paging_of};
use crate::vp::{NO_PARTITION, Vp};
use crate::{A20_PORTS, END_PORTS, LOG_PORTS, MAX_FRAMES_PER_VP, MAX_PARTITIONS, stop_code};

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Stop(u8),
    /// By a reset.
    Reset,
}

/// Everything that the micro-hypervisor is. See the crate's documentation for how the boot image uses it.
#[derive(Debug)]
pub struct Hypervisor<'a, E, P> {
    pub(crate) engine: E,
    pub(crate) platform: P,
    pub(crate) frames: FrameTable<'a>,
    pub(crate) partitions: &'a mut [Partition],
    pub(crate) vps: &'a mut [Vp],
    /// First of the free entries of `partitions`, each of which names the next: however many there are, finding one
    /// takes the same time. The list ends with an index that the table does not have.
    pub(crate) free_partitions: u16,
    /// The same of `vps`.
    pub(crate) free_vps: u16,
    pub(crate) time: TimeScale,
    /// Given to the next partition as part of its identifier.
    pub(crate) sequence: u64,
    /// Width of physical addresses, from the processor; at most what four levels of nested tables reach.
    pub(crate) physical_bits: u32,
}

const EFER_LMA: u64 = 1 << 10;

/// VP table index, and engine slot, of the root's VP.
pub(crate) const ROOT_VP: u16 = 0;

impl<'a, E: Engine, P: Platform> Hypervisor<'a, E, P> {
    /// Takes the machine over and makes the root partition and its VP in it.
    pub fn new(engine: E, platform: P, storage: Storage<'a>, memory: &MachineMemory<'_>) -> Result<Self, SetupError> {
        let Storage { frames, partitions, vps } = storage;
        let room = partitions.len().min(MAX_PARTITIONS);
        let partitions = partitions.get_mut(..room).unwrap_or_default();
        let room = vps.len().min(usize::from(u16::MAX) - 1);
        let vps = vps.get_mut(..room).unwrap_or_default();
        if partitions.is_empty() || vps.is_empty() || engine.frames_per_vp() > MAX_FRAMES_PER_VP {
            return Err(SetupError::Storage);
        }
        partitions.fill_with(|| Partition::EMPTY);
        vps.fill_with(|| Vp::EMPTY);
        partitions.iter_mut().zip(1..).for_each(|(entry, next)| entry.next_free = next);
        vps.iter_mut().zip(1..).for_each(|(entry, next)| entry.next_free = next);
        let time = TimeScale::new(platform.tsc_hz());
        let physical_bits = (platform.cpuid(0x8000_0008, 0)[0] & 0xff).clamp(36, 48);
        let frames = FrameTable::new(frames);
        let mut hypervisor = Self {
            engine,
            platform,
            frames,
            partitions,
            vps,
            // The root does not come from the list.
            free_partitions: ROOT + 1,
            free_vps: 0,
            time,
            sequence: 1,
            physical_bits,
        };
        hypervisor.make_root(memory)?;
        for ports in [LOG_PORTS, END_PORTS].into_iter().chain(A20_PORTS) {
            hypervisor.engine.reserve_root_ports(ports);
        }
        Ok(hypervisor)
    }

    /// The root's VP, as the engine knows it.
    #[must_use]
    pub fn root_vp(&self) -> VpSlot {
        VpSlot(ROOT_VP)
    }

    /// The engine, to set up the root's registers before [`Hypervisor::run`].
    pub fn engine(&mut self) -> &mut E {
        &mut self.engine
    }

    /// The machine.
    pub fn platform(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Who has the frame at `spa`.
    #[must_use]
    pub fn frame(&self, spa: Spa) -> crate::frames::FrameState {
        self.frames.state(spa)
    }

    /// Runs the root until the machine ends.
    pub fn run(mut self) -> ! {
        loop {
            match self.step() {
                None => {}
                Some(End::Stop(code)) => self.platform.stop(code),
                Some(End::Reset) => self.platform.reset(),
            }
        }
    }

    /// Runs the root until its next exit and deals with it.
    pub fn step(&mut self) -> Option<End> {
        let Some(space) = self.address_space(ROOT) else { return Some(End::Stop(stop_code::HYPERVISOR)) };
        match self.engine.run(VpSlot(ROOT_VP), space) {
            VpExit::Hypercall => {
                self.root_hypercall();
                None
            }
            exit => self.root_exit(exit),
        }
    }

    /// Where a partition's VPs run.
    pub(crate) fn address_space(&self, partition: u16) -> Option<AddressSpace> {
        let object = self.partitions.get(usize::from(partition))?;
        let root = object.tables.as_ref()?.root();
        Some(AddressSpace { root, tag: partition, generation: object.generation })
    }

    /// A partition by table index, if it exists.
    pub(crate) fn partition(&self, index: u16) -> Result<&Partition, HvStatus> {
        let object = self.partitions.get(usize::from(index));
        object.filter(|object| object.state != PartitionState::Free).ok_or(HvStatus::INVALID_PARTITION_ID)
    }

    /// A partition by table index, to change.
    pub(crate) fn partition_mut(&mut self, index: u16) -> Result<&mut Partition, HvStatus> {
        let object = self.partitions.get_mut(usize::from(index));
        object.filter(|object| object.state != PartitionState::Free).ok_or(HvStatus::INVALID_PARTITION_ID)
    }

    /// The child of `caller` that `id` names. One that does not exist and one that is another's look the same.
    pub(crate) fn child(&self, caller: u16, id: PartitionId) -> Result<u16, HvStatus> {
        let index = index_of(id).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        let object = self.partition(index)?;
        let own = object.id == id && object.parent == caller && index != caller;
        if own { Ok(index) } else { Err(HvStatus::INVALID_PARTITION_ID) }
    }

    /// The child of `caller` that `id` names, or the caller itself, by its id or as "self".
    pub(crate) fn child_or_self(&self, caller: u16, id: PartitionId) -> Result<u16, HvStatus> {
        if id.is_self() || self.partition(caller)?.id == id { Ok(caller) } else { self.child(caller, id) }
    }

    /// A child that is in the state in which it can run.
    pub(crate) fn active_child(&self, caller: u16, id: PartitionId) -> Result<u16, HvStatus> {
        let index = self.child(caller, id)?;
        let active = self.partition(index)?.state == PartitionState::Active;
        if active { Ok(index) } else { Err(HvStatus::INVALID_PARTITION_STATE) }
    }

    /// VP table index of a VP of `partition`. `caller_vp` is meant by "self", if it is one of that partition's.
    pub(crate) fn vp_of(&self, partition: u16, index: VpIndex, caller_vp: u16) -> Result<u16, HvStatus> {
        if index.is_self() {
            let own = self.vp(caller_vp)?.partition == partition;
            return if own { Ok(caller_vp) } else { Err(HvStatus::INVALID_VP_INDEX) };
        }
        self.partition(partition)?.vp(index.0).ok_or(HvStatus::INVALID_VP_INDEX)
    }

    pub(crate) fn vp(&self, slot: u16) -> Result<&Vp, HvStatus> {
        let vp = self.vps.get(usize::from(slot));
        vp.filter(|vp| vp.partition != NO_PARTITION).ok_or(HvStatus::INVALID_VP_INDEX)
    }

    pub(crate) fn vp_mut(&mut self, slot: u16) -> Result<&mut Vp, HvStatus> {
        let vp = self.vps.get_mut(usize::from(slot));
        vp.filter(|vp| vp.partition != NO_PARTITION).ok_or(HvStatus::INVALID_VP_INDEX)
    }

    pub(crate) fn core(&self, slot: u16) -> &CoreRegs {
        self.engine.core(VpSlot(slot))
    }

    pub(crate) fn core_mut(&mut self, slot: u16) -> &mut CoreRegs {
        self.engine.core_mut(VpSlot(slot))
    }

    pub(crate) fn inject(&mut self, slot: u16, fault: Fault) {
        self.engine.inject(VpSlot(slot), fault);
    }

    /// Takes a frame from a partition's deposit and clears it.
    pub(crate) fn take_frame(&mut self, partition: u16) -> Result<Spa, HvStatus> {
        let object = self.partitions.get_mut(usize::from(partition)).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        let spa = object.deposit.take(&mut self.frames).ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
        if self.engine.memory().zero_page(spa).is_err() {
            self.give_frame(partition, spa);
            return Err(HvStatus::OPERATION_FAILED);
        }
        Ok(spa)
    }

    /// Gives a frame back to the deposit that it was taken from.
    pub(crate) fn give_frame(&mut self, partition: u16, spa: Spa) {
        if let Some(object) = self.partitions.get_mut(usize::from(partition)) {
            object.deposit.give(&mut self.frames, spa);
        }
    }

    /// Where the byte at `gpa` of a partition is, if it may be accessed so.
    pub(crate) fn guest_frame(&mut self, partition: u16, gpa: Gpa, write: bool) -> Option<Spa> {
        let Self { engine, frames, partitions, .. } = self;
        let object = partitions.get(usize::from(partition))?;
        space_of(object, frames, partition).access(engine.memory(), gpa, write)
    }

    /// Up to 16 bytes of the instruction at which a VP is, and how many could be read.
    pub(crate) fn instruction_bytes(&mut self, slot: u16) -> ([u8; 16], usize) {
        let control = self.engine.control(VpSlot(slot));
        let linear = self.linear_rip(slot, &control);
        let Self { engine, frames, partitions, vps, .. } = self;
        let Some(vp) = vps.get_mut(usize::from(slot)) else { return ([0; 16], 0) };
        let Some(object) = partitions.get(usize::from(vp.partition)) else { return ([0; 16], 0) };
        let space = space_of(object, frames, vp.partition);
        fetch(&mut vp.fetch, engine.memory(), space, object.generation, &paging_of(&control), linear)
    }

    /// RIP as a linear address.
    fn linear_rip(&self, slot: u16, control: &ControlRegs) -> Gva {
        let rip = self.core(slot).rip;
        let cs = self.engine.segment(VpSlot(slot), Segment::Cs);
        if control.efer & EFER_LMA != 0 && cs.attributes.long() {
            return Gva(rip);
        }
        Gva(cs.base.wrapping_add(rip) & 0xffff_ffff)
    }

    /// The VP executes 64-bit code.
    pub(crate) fn in_long_code(&self, slot: u16) -> bool {
        let long_mode = self.engine.control(VpSlot(slot)).efer & EFER_LMA != 0;
        long_mode && self.engine.segment(VpSlot(slot), Segment::Cs).attributes.long()
    }

    /// Length of the instruction at which a VP exited.
    pub(crate) fn instruction_length(&mut self, slot: u16, instruction: Instruction) -> u64 {
        let (bytes, count) = self.instruction_bytes(slot);
        let long = self.in_long_code(slot);
        let found = instruction.length(bytes.get(..count).unwrap_or_default(), long);
        found.unwrap_or(instruction.plain_length())
    }

    /// Moves a VP past the instruction at which it exited.
    pub(crate) fn skip(&mut self, slot: u16, instruction: Instruction) {
        let length = self.instruction_length(slot, instruction);
        self.advance(slot, length);
    }

    /// Moves a VP `length` bytes on.
    pub(crate) fn advance(&mut self, slot: u16, length: u64) {
        let next = self.core(slot).rip.wrapping_add(length);
        // Only code of 32 bits can be at its end, and only there does it matter which kind of code it is.
        let wraps = next > 0xffff_ffff && !self.in_long_code(slot);
        self.jump(slot, if wraps { next & 0xffff_ffff } else { next });
    }

    /// Sets RIP behind a completed instruction: the shadow of the one before it is over.
    pub(crate) fn jump(&mut self, slot: u16, rip: u64) {
        self.core_mut(slot).rip = rip;
        if self.engine.in_interrupt_shadow(VpSlot(slot)) {
            self.engine.set_interrupt_shadow(VpSlot(slot), false);
        }
    }

    /// Makes a VP of a partition: frames from its deposit, a slot in the table and in the engine.
    pub(crate) fn add_vp(&mut self, partition: u16, index: u32, kind: VpKind) -> Result<u16, HvStatus> {
        let slot = self.free_vps;
        let next_free = self.vps.get(usize::from(slot)).ok_or(HvStatus::NO_RESOURCES)?.next_free;
        let count = self.engine.frames_per_vp();
        let mut frames = [Spa(0); MAX_FRAMES_PER_VP];
        let mut taken = 0;
        let mut result = Ok(());
        for place in frames.iter_mut().take(count) {
            match self.take_frame(partition) {
                Ok(frame) => *place = frame,
                Err(status) => {
                    result = Err(status);
                    break;
                }
            }
            taken += 1;
        }
        let given = frames.get(..taken).unwrap_or_default();
        if result.is_ok() && self.engine.create_vp(VpSlot(slot), kind, given).is_err() {
            result = Err(HvStatus::NO_RESOURCES);
        }
        if let Err(status) = result {
            given.iter().for_each(|frame| self.give_frame(partition, *frame));
            return Err(status);
        }
        if let Some(vp) = self.vps.get_mut(usize::from(slot)) {
            *vp = Vp { partition, index, frames, frame_count: taken, ..Vp::EMPTY };
            self.free_vps = next_free;
        }
        let object = self.partition_mut(partition)?;
        if let Some(entry) = usize::try_from(index).ok().and_then(|index| object.vps.get_mut(index)) {
            *entry = slot;
            object.vp_count += 1;
        }
        Ok(slot)
    }

    /// A purse over a partition's deposit, with the memory and the tables it pays for.
    pub(crate) fn with_tables<R>(
        &mut self,
        partition: u16,
        work: impl FnOnce(&mut crate::object::Tables, &mut E::Memory, &mut Purse<'_, 'a>) -> Result<R, HvStatus>,
    ) -> Result<R, HvStatus> {
        let Self { engine, frames, partitions, .. } = self;
        let object = partitions.get_mut(usize::from(partition)).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        let tables = object.tables.as_mut().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
        work(tables, engine.memory(), &mut Purse { frames, deposit: &mut object.deposit })
    }
}

/// The memory of a partition.
pub(crate) fn space_of<'s>(object: &'s Partition, frames: &'s FrameTable<'_>, index: u16) -> Space<'s> {
    Space { tables: object.tables.as_ref(), identity: (index == ROOT).then_some(frames) }
}

/// Table index that an identifier carries.
fn index_of(id: PartitionId) -> Option<u16> {
    u16::try_from(id.0 & 0xffff).ok()
}

/// The identifier of the partition at `index` that was made as the `sequence`-th.
pub(crate) fn id_of(sequence: u64, index: u16) -> PartitionId {
    PartitionId((sequence << 16) | u64::from(index))
}
