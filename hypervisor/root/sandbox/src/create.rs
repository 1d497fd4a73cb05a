//! Making a sandbox: plan its memory, create its partition, fill and map what it starts with, set its VP up.
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bundle::{Program, RunConfig};
use files::Stack;
use gate::{Gate, Mode};
use guestmem::{GuestMemory, NotMapped};
use hvclient::{Client, Transport};
use policy::Policy;
use proto::layout::{DIRECT_MAP_VA, KERNEL_CS, KERNEL_SS, SHIM_BASE_GPA, TSS, heap_len};
use proto::{
    BOOT_MAGIC, BootInfo, COPY_PAGES, DOORBELL_PORT, GatePage, Limits, NO_ALARM, PROTO_VERSION, SERVICE_PAGES,
    boot_flags,
};
use services::{FileRules, Services};
use tlfs::addr::{Gpa, PAGE_SIZE};
use tlfs::calls::MapGpaFlags;
use tlfs::intercept::{HvInterceptAccessTypeMask, HvInterceptType};
use tlfs::msr::ReferenceTscMsr;
use tlfs::partition::{HvPartitionPropertyCode, PartitionCreationFlags, PrivilegeMask};
use tlfs::register::{HvRegisterName, HvRegisterValue, HvX64SegmentAttributes, HvX64SegmentRegister};
use tlfs::vp_page::HvVpStatePageType;
use zerocopy::{FromZeros, IntoBytes};

use crate::budget::Budget;
use crate::layout::{self, Layout};
use crate::memory::{ChildMemory, PlaceError, RootMemory, WindowChange};
use crate::partition::{Partition, VP};
use crate::registers::Registers;
use crate::run::{Parts, Sandbox};
use crate::shim::Shim;
use crate::tables::{TablesError, write_boot_tables};
use crate::{Failure, World, params};

/// A sandbox could not be made; nothing of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateError(pub Failure);

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sandbox could not be created: {}", self.0.reason)
    }
}

impl core::error::Error for CreateError {}

/// What a sandbox is made from.
pub struct Setup<'t> {
    /// What to run.
    pub program: &'t Program,
    /// What it has in common with the sandboxes beside it.
    pub run: &'t RunConfig,
    /// The checked shim image, in memory that stays as it is and starts at a page.
    pub shim: Shim<'static>,
    /// The rules.
    pub policy: Rc<Policy>,
    /// The files, within the budget.
    pub files: Stack<'t>,
    /// What it may take of the root.
    pub budget: Budget,
    /// The processor keeps ring 0 from executing, and from touching, user pages: CR4.SMEP, CR4.SMAP.
    pub supervisor_protection: SupervisorProtection,
}

/// What the processor has against a kernel that is led astray.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SupervisorProtection {
    /// CPUID leaf 7, EBX bit 7.
    pub smep: bool,
    /// CPUID leaf 7, EBX bit 20.
    pub smap: bool,
}

/// What a child partition may do: read its clock. It has no hypercall page, and no parent's calls.
const CHILD_PRIVILEGES: PrivilegeMask = PrivilegeMask::ACCESS_PARTITION_REFERENCE_COUNTER
    .union(PrivilegeMask::ACCESS_PARTITION_REFERENCE_TSC)
    .union(PrivilegeMask::ACCESS_FREQUENCY_REGS);

/// Invalid opcode: what `syscall` raises with EFER.SCE clear.
const UD: u64 = 6;
/// General protection: what `int 0x80` raises in ring 3.
const GP: u64 = 13;
const MSR_EFER: u64 = 0xc000_0080;

const DATA: MapGpaFlags = MapGpaFlags::READABLE.union(MapGpaFlags::WRITABLE);
const CONSTANTS: MapGpaFlags = MapGpaFlags::READABLE;
const CODE: MapGpaFlags = MapGpaFlags::READABLE.union(EXECUTABLE);
const EXECUTABLE: MapGpaFlags = MapGpaFlags::KERNEL_EXECUTABLE.union(MapGpaFlags::USER_EXECUTABLE);
/// Programs run from free memory.
const FREE: MapGpaFlags = DATA.union(EXECUTABLE);

impl From<PlaceError> for Failure {
    fn from(e: PlaceError) -> Self {
        Self::new(match e {
            PlaceError::OutOfMemory => "the root has no memory left for the sandbox",
            PlaceError::Limit => "the sandbox has as much memory as it may have",
            PlaceError::BadAddress => "the sandbox's memory does not fit its plan",
        })
    }
}

impl From<TablesError> for Failure {
    fn from(e: TablesError) -> Self {
        match e {
            TablesError::NotMapped(NotMapped { gpa }) => Self::new(format!("the boot page table leads to {gpa}")),
            TablesError::TooFew => Self::new("the boot page table is larger than planned"),
        }
    }
}

impl<'t, R: RootMemory> Sandbox<'t, R> {
    /// Makes a sandbox that is ready to be stepped.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create<T: Transport>(setup: Setup<'t>, world: &mut World<'_, T, R>) -> Result<Self, CreateError> {
        let params = params::encode(setup.program, setup.run).map_err(|e| CreateError(e.into()))?;
        let params_len = u64::try_from(params.len()).unwrap_or(u64::MAX);
        let layout = Layout::plan(setup.budget.child, setup.shim.memory_len(), params_len);
        let layout = layout.map_err(|e| CreateError(e.into()))?;
        let flags = PartitionCreationFlags::INTERCEPT_MESSAGE_PAGE_ENABLED;
        let created = (world.now)();
        let mut partition = Partition::create(world.client, world.memory, flags, |client, id| {
            client.set_partition_property(id, HvPartitionPropertyCode::PRIVILEGE_FLAGS, CHILD_PRIVILEGES.bits())
        })
        .map_err(CreateError)?;
        let mut memory = ChildMemory::new(layout.free_start, layout.free_end, &layout.window());
        let built = Builder { setup: &setup, layout: &layout, partition: &mut partition, memory: &mut memory }
            .build(&params, created, world);
        match built {
            Ok(parts) => Self::new(parts, partition, memory, setup).with_limits(world),
            Err(failure) => {
                if partition.delete(world.client, world.memory).is_ok() {
                    memory.release(world.memory);
                }
                Err(CreateError(failure))
            }
        }
    }

    /// With its limits in force; or taken down again.
    fn with_limits<T: Transport>(mut self, world: &mut World<'_, T, R>) -> Result<Self, CreateError> {
        match self.tell_limits(world) {
            Ok(()) => Ok(self),
            Err(failure) => {
                self.destroy(world);
                Err(CreateError(failure))
            }
        }
    }

    fn new(parts: Parts, partition: Partition, memory: ChildMemory<'t, R>, setup: Setup<'t>) -> Self {
        let mode = Mode { record: setup.run.record, dry_run: setup.run.dry_run, ask: setup.run.ask };
        let rules = FileRules::new(&setup.policy, mode.dry_run);
        let rules = if setup.run.learn { rules.telling() } else { rules };
        let gate = Gate::new(setup.policy, mode);
        let services = Services::with_authority(setup.files, services::Limits { handles: setup.budget.handles }, rules);
        let services = if mode.record { services.recording() } else { services };
        Self::assemble(parts, partition, memory, gate, services, setup.budget.whole)
    }
}

/// A sandbox in the making.
struct Builder<'b, 't, R: RootMemory> {
    setup: &'b Setup<'t>,
    layout: &'b Layout,
    partition: &'b mut Partition,
    memory: &'b mut ChildMemory<'t, R>,
}

impl<R: RootMemory> Builder<'_, '_, R> {
    fn build<T: Transport>(
        mut self,
        params: &[u8],
        created: u64,
        world: &mut World<'_, T, R>,
    ) -> Result<Parts, Failure> {
        self.place_structures(params, world)?;
        self.place_shim(world)?;
        self.back_first_blocks(world)?;
        let id = self.partition.id();
        self.partition.paying(world.client, world.memory, |client| client.create_vp(id, VP))?;
        let mut state_page = |page_type| {
            self.partition.paying(world.client, world.memory, |client| client.map_vp_state_page(id, VP, page_type))
        };
        let registers = state_page(HvVpStatePageType::REGISTERS)?;
        let message = state_page(HvVpStatePageType::INTERCEPT_MESSAGE)?;
        self.install_intercepts(world)?;
        let child_epoch = child_epoch(world, self.partition, created);
        self.fill(params, child_epoch, world)?;
        self.partition.deposit(world.client, world.memory)?;
        self.set_registers(world.client)?;
        let syscall_entry = self.setup.shim.syscall_entry();
        let realtime_base = realtime_at(self.setup.run, 0);
        let registers = Registers::new(registers);
        Ok(Parts { registers, message, created, child_epoch, syscall_entry, realtime_base })
    }

    /// Pages for the boot structures, parameters and tables; still empty.
    fn place_structures<T: Transport>(&mut self, params: &[u8], world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let len = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        self.place(layout::BOOT_INFO, 1, world)?;
        self.place(layout::GATE, 1, world)?;
        self.place(layout::SERVICE, len(SERVICE_PAGES), world)?;
        // Where memory is limited, another policy must not come to take more of it.
        if self.setup.policy.reads_memory() || self.setup.budget.whole.is_some() {
            place_copies(self.partition, self.memory, world)?;
        }
        self.place(self.layout.params, len(params.len()).div_ceil(PAGE_SIZE), world)?;
        self.place(self.layout.tables, self.layout.table_count, world)
    }

    /// The blocks that every start touches, so that no touch of the child's has to be served for them: where the shim's heap
    /// and its frames begin.
    fn back_first_blocks<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let Layout { free_start, free_end, .. } = *self.layout;
        for gpa in [free_start, free_start + heap_len(free_end - free_start)] {
            let block = self.memory.block_of(gpa).ok_or(PlaceError::BadAddress)?;
            self.memory.back(block, world.memory)?;
        }
        map_blocks(self.partition, self.memory, world)
    }

    /// Private pages, mapped.
    fn place<T: Transport>(&mut self, gpa: u64, count: u64, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        place(self.partition, self.memory, (gpa, count), world)
    }

    /// The shim: code and constants shared from the boot bundle, data of its own.
    fn place_shim<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let shim = self.setup.shim;
        self.place_shared(shim.text(), CODE, world)?;
        self.place_shared(shim.rodata(), CONSTANTS, world)?;
        let data = shim.data();
        self.place(SHIM_BASE_GPA + data.start, (data.end - data.start) / PAGE_SIZE, world)?;
        self.memory.view(world.memory).write(Gpa(SHIM_BASE_GPA + data.start), shim.initial_data())?;
        Ok(())
    }

    /// Pages of the shim image itself, mapped.
    fn place_shared<T: Transport>(
        &mut self,
        part: Range<u64>,
        flags: MapGpaFlags,
        world: &mut World<'_, T, R>,
    ) -> Result<(), Failure> {
        let target = (SHIM_BASE_GPA + part.start) / PAGE_SIZE;
        let pages = part.step_by(4096).map(|offset| {
            let bytes = self.setup.shim.page(offset).ok_or(PlaceError::BadAddress)?;
            self.memory.place_shared(SHIM_BASE_GPA + offset, bytes, world.memory)
        });
        let sources = pages.collect::<Result<Vec<_>, _>>()?;
        self.partition.map(world.client, world.memory, target, flags, &sources)
    }

    fn fill<T: Transport>(
        &mut self,
        params: &[u8],
        child_epoch: u64,
        world: &mut World<'_, T, R>,
    ) -> Result<(), Failure> {
        let info = self.boot_info(params, child_epoch, world);
        let mut view = self.memory.view(world.memory);
        view.write(Gpa(layout::BOOT_INFO), info.as_bytes())?;
        let gate = GatePage { alarm: NO_ALARM, limits: Limits::NONE, ..GatePage::new_zeroed() };
        view.write(Gpa(layout::GATE), gate.as_bytes())?;
        view.write(Gpa(self.layout.params), params)?;
        write_boot_tables(&mut view, self.layout, &self.setup.shim)?;
        Ok(())
    }

    fn boot_info<T: Transport>(&self, params: &[u8], child_epoch: u64, world: &mut World<'_, T, R>) -> BootInfo {
        let Setup { run, program, .. } = self.setup;
        let mut random = [0; 32];
        world.entropy.fill(&mut random);
        let flags = [boot_flags::STDIN_TTY, boot_flags::STDOUT_TTY, boot_flags::STDERR_TTY];
        let ttys = flags.into_iter().zip(program.tty).filter(|(_, tty)| *tty).fold(0, |all, (flag, _)| all | flag);
        let others = [
            (boot_flags::WRITE_XOR_EXECUTE, forbids_write_and_execute(&self.setup.policy)),
            (boot_flags::NO_NEW_PRIVILEGES, run.setting.no_new_privileges),
            (boot_flags::TELL_PROCESSES, run.record),
        ];
        let flags = others.into_iter().filter(|(_, set)| *set).fold(ttys, |all, (flag, _)| all | flag);
        BootInfo {
            magic: BOOT_MAGIC,
            version: PROTO_VERSION,
            flags,
            free_start: self.layout.free_start,
            free_end: self.layout.free_end,
            boot_cr3: self.layout.tables,
            gate_gpa: layout::GATE,
            service_gpa: layout::SERVICE,
            tsc_page_gpa: layout::TSC_PAGE,
            params_gpa: self.layout.params,
            params_len: u64::try_from(params.len()).unwrap_or(0),
            realtime_offset_ns: realtime_at(run, child_epoch),
            random,
            uid: run.uid,
            gid: run.gid,
            window_gpa: self.layout.window_start,
            window_len: self.layout.window_end - self.layout.window_start,
            copies_gpa: layout::COPIES,
        }
    }

    fn install_intercepts<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let id = self.partition.id();
        let intercepts = [
            (HvInterceptType::EXCEPTION, HvInterceptAccessTypeMask::EXECUTE, UD),
            (HvInterceptType::EXCEPTION, HvInterceptAccessTypeMask::EXECUTE, GP),
            (HvInterceptType::X64_IO_PORT, HvInterceptAccessTypeMask::WRITE, u64::from(DOORBELL_PORT)),
            (HvInterceptType::X64_MSR, HvInterceptAccessTypeMask::WRITE, MSR_EFER),
        ];
        for (kind, access, parameter) in intercepts {
            self.partition
                .paying(world.client, world.memory, |client| client.install_intercept(id, kind, access, parameter))?;
        }
        Ok(())
    }

    /// 64-bit mode, ring 0, at the shim's entry.
    fn set_registers<T: Transport>(&self, client: &mut Client<T>) -> Result<(), Failure> {
        const CR0: u64 = 0x8001_0033;
        const CR4_PAE_PGE_SSE: u64 = 0x6a0;
        const CR4_SMEP: u64 = 1 << 20;
        const CR4_SMAP: u64 = 1 << 21;
        const EFER_LME_LMA_NXE: u64 = 0xd00;
        let protection = self.setup.supervisor_protection;
        let cr4 =
            CR4_PAE_PGE_SSE | if protection.smep { CR4_SMEP } else { 0 } | if protection.smap { CR4_SMAP } else { 0 };
        let shim = &self.setup.shim;
        let value = HvRegisterValue::from_u64;
        let segment = HvRegisterValue::from_segment;
        let registers = [
            (HvRegisterName::X64_CS, segment(kernel_code())),
            (HvRegisterName::X64_SS, segment(kernel_stack())),
            (HvRegisterName::X64_DS, segment(kernel_stack())),
            (HvRegisterName::X64_ES, segment(kernel_stack())),
            (HvRegisterName::X64_FS, segment(kernel_stack())),
            (HvRegisterName::X64_GS, segment(kernel_stack())),
            (HvRegisterName::X64_TR, segment(task_state())),
            // No local descriptor table: the one of the reset state would lie in the program's lowest 64 KiB.
            (HvRegisterName::X64_LDTR, segment(HvX64SegmentRegister::default())),
            (HvRegisterName::X64_CR0, value(CR0)),
            (HvRegisterName::X64_CR3, value(self.layout.tables)),
            (HvRegisterName::X64_CR4, value(cr4)),
            (HvRegisterName::X64_EFER, value(EFER_LME_LMA_NXE)),
            (HvRegisterName::X64_RFLAGS, value(2)),
            (HvRegisterName::X64_RIP, value(shim.entry())),
            (HvRegisterName::X64_RSP, value(shim.boot_stack())),
            (HvRegisterName::X64_RDI, value(DIRECT_MAP_VA + layout::BOOT_INFO)),
            // The shim switches its clock page on by itself. It is switched on here once, so that it is paid for: the shim
            // could only be given a fault if the page were lacking.
            (HvRegisterName::REFERENCE_TSC, value(ReferenceTscMsr(layout::TSC_PAGE).with_enabled(true).0)),
        ];
        client.set_registers(self.partition.id(), VP, &registers).map_err(|partial| {
            let name = usize::try_from(partial.done).ok().and_then(|done| registers.get(done)).map(|(name, _)| *name);
            Failure::new(format!("{} at {}", partial.error, name.unwrap_or_default()))
        })
    }
}

/// Puts private pages of zeros at an address, so many, and maps them.
fn place<T: Transport, R: RootMemory>(
    partition: &mut Partition,
    memory: &mut ChildMemory<'_, R>,
    (gpa, count): (u64, u64),
    world: &mut World<'_, T, R>,
) -> Result<(), Failure> {
    let pages = (0..count).map(|page| memory.place_private(gpa + page * PAGE_SIZE, world.memory));
    let sources = pages.collect::<Result<Vec<_>, _>>()?;
    partition.map(world.client, world.memory, gpa / PAGE_SIZE, DATA, &sources)
}

/// Makes room for what pointers of calls lead to, unless there is.
pub(crate) fn place_copies<T: Transport, R: RootMemory>(
    partition: &mut Partition,
    memory: &mut ChildMemory<'_, R>,
    world: &mut World<'_, T, R>,
) -> Result<(), Failure> {
    match memory.private_page(layout::COPIES) {
        Some(_) => Ok(()),
        None => place(partition, memory, (layout::COPIES, u64::try_from(COPY_PAGES).unwrap_or(u64::MAX)), world),
    }
}

/// Maps the blocks of free memory that were backed since the last time.
pub(crate) fn map_blocks<T: Transport, R: RootMemory>(
    partition: &mut Partition,
    memory: &mut ChildMemory<'_, R>,
    world: &mut World<'_, T, R>,
) -> Result<(), Failure> {
    while let Some((target, sources)) = memory.take_pending(world.memory) {
        partition.map(world.client, world.memory, target, FREE, &sources)?;
    }
    Ok(())
}

/// Makes the changes of the file window since the last time.
pub(crate) fn change_window<T: Transport, R: RootMemory>(
    partition: &mut Partition,
    memory: &mut ChildMemory<'_, R>,
    world: &mut World<'_, T, R>,
) -> Result<(), Failure> {
    for change in memory.take_window_changes() {
        match change {
            WindowChange::Show { target, sources } => {
                partition.map(world.client, world.memory, target, CODE, &sources)?;
            }
            WindowChange::Hide { target, count } => {
                let unmapped = world.client.unmap_gpa_pages(partition.id(), target, count);
                unmapped.map_err(|partial| Failure::from(partial.error))?;
            }
        }
    }
    Ok(())
}

/// Whether a program gets no fresh memory that it can write to and execute. What it may not ask for, the shim must not give it unasked
/// when it starts one.
fn forbids_write_and_execute(policy: &Policy) -> bool {
    const MMAP: u64 = 9;
    const READ_WRITE_EXECUTE: u64 = 7;
    const PRIVATE_ANONYMOUS: u64 = 0x22;
    let arguments = [0, PAGE_SIZE, READ_WRITE_EXECUTE, PRIVATE_ANONYMOUS, u64::MAX, 0];
    policy.judge(MMAP, &arguments).action != policy::Action::Allow
}

/// The root's reference time at which the child's began: its partition has its own clock.
fn child_epoch<T: Transport, R: RootMemory>(world: &mut World<'_, T, R>, partition: &Partition, created: u64) -> u64 {
    match world.client.get_register(partition.id(), VP, HvRegisterName::TIME_REF_COUNT) {
        Ok(child_now) => (world.now)().saturating_sub(child_now.as_u64()),
        Err(_) => created,
    }
}

/// CLOCK_REALTIME in ns at the root's reference time `at`. The bundle's time is from just before the machine started, where
/// reference time is 0 or nearly so.
fn realtime_at(run: &RunConfig, at: u64) -> u64 {
    run.realtime_ns.saturating_add(at.saturating_mul(100))
}

const fn segment(selector: u16, limit: u32, attributes: HvX64SegmentAttributes) -> HvX64SegmentRegister {
    HvX64SegmentRegister { base: 0, limit, selector, attributes }
}

const fn flat(segment_type: u8) -> HvX64SegmentAttributes {
    HvX64SegmentAttributes(0)
        .with_segment_type(segment_type)
        .with_non_system(true)
        .with_present(true)
        .with_granularity(true)
}

/// CS of the shim: 64-bit code, executable, readable, accessed; DPL 0.
pub(crate) const fn kernel_code() -> HvX64SegmentRegister {
    segment(KERNEL_CS, u32::MAX, flat(0b1011).with_long(true))
}

/// SS of the shim: data, writable, accessed; DPL 0.
pub(crate) const fn kernel_stack() -> HvX64SegmentRegister {
    segment(KERNEL_SS, u32::MAX, flat(0b0011).with_default(true))
}

/// A busy 64-bit task state segment, which processors want to see until the shim loads its own.
const fn task_state() -> HvX64SegmentRegister {
    segment(TSS, 0x67, HvX64SegmentAttributes(0).with_segment_type(0b1011).with_present(true))
}
