//! A machine of 16 MiB whose root partition is played by the test: it makes hypercalls as a guest does, by
//! registers and memory, and scripts what its children do.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use engine::fake::{FakeEngine, FakePlatform, FakeVp, VecMemory};
use engine::{Engine, PhysMem, R8, RAX, RCX, RDX, VpExit, VpSlot};
use partition::frames::{FrameEntry, FrameState};
use partition::{End, Hypervisor, MachineMemory, MemoryRange, Partition, Storage, Vp};
use tlfs::addr::{PAGE_SIZE, PartitionId, Spa, VpIndex};
use tlfs::calls::*;
use tlfs::hypercall::{CallCode, HypercallInput, HypercallOutput};
use tlfs::intercept::{HvInterceptAccessTypeMask, HvInterceptType};
use tlfs::message::HvMessageHeader;
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;
use tlfs::vp_page::{HvVpRegisterPage, HvVpStatePageType};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Pages of RAM.
pub const RAM_PAGES: u64 = 4096;
/// Pages 256 to 511 are the hypervisor's image.
pub const IMAGE: core::ops::Range<u64> = 256..512;
/// The last pages are the hypervisor's pool.
pub const POOL: core::ops::Range<u64> = 3968..4096;
/// Where the root has its input and output page.
pub const INPUT: u64 = 0x3000;
/// See [`INPUT`].
pub const OUTPUT: u64 = 0x4000;
/// First page that tests use as they like.
pub const FREE: u64 = 1024;
/// Frames that the fake engine takes for a VP.
pub const VP_FRAMES: usize = 3;

pub type Hv = Hypervisor<'static, FakeEngine, FakePlatform>;

pub fn range(pages: core::ops::Range<u64>) -> MemoryRange {
    MemoryRange { start: Spa::from_page_number(pages.start), end: Spa::from_page_number(pages.end) }
}

/// A machine without a guest OS yet.
pub fn bare_machine() -> Hv {
    let engine = FakeEngine::new(VecMemory::new(RAM_PAGES as usize, 0xa5), 16, VP_FRAMES);
    let storage = Storage {
        frames: vec![FrameEntry::ABSENT; RAM_PAGES as usize].leak(),
        partitions: Vec::from_iter((0..8).map(|_| Partition::EMPTY)).leak(),
        vps: Vec::from_iter((0..8).map(|_| Vp::EMPTY)).leak(),
    };
    let (ram, private) = ([range(0..RAM_PAGES)], [range(IMAGE), range(POOL)]);
    let memory = MachineMemory { ram: &ram, private: &private, pool: range(POOL) };
    let mut hv = Hypervisor::new(engine, FakePlatform::default(), storage, &memory).expect("a machine");
    let vp = hv.root_vp();
    hv.engine().vp_mut(vp).enter_long_mode(0x1000);
    hv
}

/// The root, ready to make hypercalls.
pub struct Root {
    pub hv: Hv,
    /// Continuations of the last call: times that its instruction was executed again.
    pub resumed: usize,
}

impl Root {
    pub fn new() -> Self {
        let mut root = Self { hv: bare_machine(), resumed: 0 };
        root.write_msr(0x4000_0000, 0x8100_0000_0000_0001).expect("the guest OS id can be set");
        root
    }

    pub fn vp(&self) -> VpSlot {
        self.hv.root_vp()
    }

    /// Lets the root do one thing that exits, and the hypervisor deal with it.
    pub fn step(&mut self, act: impl FnOnce(&mut FakeVp, &mut VecMemory) -> VpExit + 'static) -> Option<End> {
        let vp = self.vp();
        self.hv.engine().script(vp, act);
        self.hv.step()
    }

    /// The vector of the fault that the root would take next.
    pub fn fault(&mut self) -> Option<u8> {
        let vp = self.vp();
        self.hv.engine().vp_mut(vp).pending.take().map(|fault| fault.vector)
    }

    pub fn write_msr(&mut self, msr: u32, value: u64) -> Result<(), u8> {
        self.step(move |vp, _| {
            vp.core.gprs[RCX] = u64::from(msr);
            vp.core.gprs[RAX] = value & 0xffff_ffff;
            vp.core.gprs[RDX] = value >> 32;
            VpExit::MsrWrite
        });
        self.fault().map_or(Ok(()), Err)
    }

    pub fn read_msr(&mut self, msr: u32) -> Result<u64, u8> {
        self.step(move |vp, _| {
            vp.core.gprs[RCX] = u64::from(msr);
            VpExit::MsrRead
        });
        if let Some(vector) = self.fault() {
            return Err(vector);
        }
        let vp = self.vp();
        let gprs = self.hv.engine().core(vp).gprs;
        Ok(gprs[RDX] << 32 | gprs[RAX])
    }

    pub fn cpuid(&mut self, leaf: u32) -> [u32; 4] {
        self.step(move |vp, _| {
            vp.core.gprs[RAX] = u64::from(leaf);
            vp.core.gprs[RCX] = 0;
            VpExit::Cpuid
        });
        let vp = self.vp();
        let gprs = self.hv.engine().core(vp).gprs;
        [gprs[0], gprs[3], gprs[1], gprs[2]].map(|word| word as u32)
    }

    pub fn write(&mut self, address: u64, data: &[u8]) {
        self.hv.engine().memory().write(Spa(address), data).expect("memory");
    }

    pub fn read<T: FromBytes>(&mut self, address: u64) -> T {
        let mut bytes = vec![0; size_of::<T>()];
        self.hv.engine().memory().read(Spa(address), &mut bytes).expect("memory");
        T::read_from_bytes(&bytes).expect("the size is right")
    }

    /// A hypercall with its control word and its blocks anywhere; until it is complete.
    pub fn raw(&mut self, control: HypercallInput, input: u64, output: u64) -> HypercallOutput {
        let vp = self.vp();
        let start = self.hv.engine().core(vp).rip;
        self.resumed = 0;
        self.hv.engine().core_mut(vp).gprs[RCX] = control.0;
        loop {
            let end = self.step(move |vp, _| {
                vp.core.gprs[RDX] = input;
                vp.core.gprs[R8] = output;
                VpExit::Hypercall
            });
            assert_eq!(end, None);
            assert_eq!(self.fault(), None);
            if self.hv.engine().core(vp).rip != start {
                assert_eq!(self.hv.engine().core(vp).rip, start + 3);
                return HypercallOutput(self.hv.engine().core(vp).gprs[RAX]);
            }
            self.resumed += 1;
        }
    }

    /// A simple call with typed input and output.
    pub fn call<I: IntoBytes + Immutable, O: FromBytes>(&mut self, code: CallCode, input: &I) -> Result<O, HvStatus> {
        self.write(INPUT, input.as_bytes());
        let result = self.raw(HypercallInput::new(code), INPUT, OUTPUT);
        assert_eq!(result.reps_completed(), 0);
        match result.status() {
            HvStatus::SUCCESS => Ok(self.read(OUTPUT)),
            status => Err(status),
        }
    }

    /// A simple call without output.
    pub fn act<I: IntoBytes + Immutable>(&mut self, code: CallCode, input: &I) -> Result<(), HvStatus> {
        self.call::<I, ()>(code, input)
    }

    /// A rep call; the list follows its header. The reps done, and the status.
    pub fn reps<H, T>(&mut self, code: CallCode, header: &H, list: &[T], count: u16) -> (u16, HvStatus)
    where
        H: IntoBytes + Immutable,
        T: IntoBytes + Immutable,
    {
        self.write(INPUT, header.as_bytes());
        self.write(INPUT + size_of::<H>() as u64, list.as_bytes());
        let result = self.raw(HypercallInput::new(code).with_reps(count, 0), INPUT, OUTPUT);
        (result.reps_completed(), result.status())
    }

    pub fn create(&mut self) -> PartitionId {
        let output: CreatePartitionOutput =
            self.call(CallCode::CREATE_PARTITION, &CreatePartitionInput::default()).expect("a partition");
        output.partition_id
    }

    pub fn on(&mut self, code: CallCode, partition_id: PartitionId) -> Result<(), HvStatus> {
        self.act(code, &PartitionInput { partition_id })
    }

    pub fn deposit(&mut self, id: PartitionId, pages: core::ops::Range<u64>) -> (u16, HvStatus) {
        let list: Vec<u64> = pages.collect();
        let count = u16::try_from(list.len()).expect("few pages");
        self.reps(CallCode::DEPOSIT_MEMORY, &DepositMemoryHeader { partition_id: id }, &list, count)
    }

    pub fn withdraw(&mut self, id: PartitionId, count: u16) -> (Vec<u64>, HvStatus) {
        let header = WithdrawMemoryHeader { partition_id: id, proximity_domain_info: 0 };
        let (done, status) = self.reps::<_, u64>(CallCode::WITHDRAW_MEMORY, &header, &[], count);
        let pages = (0..u64::from(done)).map(|index| self.read::<u64>(OUTPUT + index * 8)).collect();
        (pages, status)
    }

    pub fn balance(&mut self, id: PartitionId) -> (u64, u64) {
        let input = GetMemoryBalanceInput { partition_id: id, proximity_domain_info: 0 };
        let output: GetMemoryBalanceOutput = self.call(CallCode::GET_MEMORY_BALANCE, &input).expect("a balance");
        (output.pages_available, output.pages_in_use)
    }

    pub fn map(&mut self, id: PartitionId, gpa_page: u64, flags: MapGpaFlags, pages: &[u64]) -> (u16, HvStatus) {
        let header =
            MapGpaPagesHeader { target_partition_id: id, target_gpa_base: gpa_page, map_flags: flags, padding: 0 };
        let count = u16::try_from(pages.len()).expect("few pages");
        self.reps(CallCode::MAP_GPA_PAGES, &header, pages, count)
    }

    pub fn unmap(&mut self, id: PartitionId, gpa_page: u64, count: u16) -> (u16, HvStatus) {
        let header =
            UnmapGpaPagesHeader { target_partition_id: id, target_gpa_base: gpa_page, unmap_flags: 0, padding: 0 };
        self.reps::<_, u64>(CallCode::UNMAP_GPA_PAGES, &header, &[], count)
    }

    /// A child with pages `FREE..FREE + 64` as its deposit, initialized.
    pub fn child(&mut self) -> PartitionId {
        let id = self.create();
        assert_eq!(self.deposit(id, FREE..FREE + 64), (64, HvStatus::SUCCESS));
        self.on(CallCode::INITIALIZE_PARTITION, id).expect("initialized");
        id
    }

    pub fn create_vp(&mut self, id: PartitionId, index: u32) -> Result<(), HvStatus> {
        let input = CreateVpInput { partition_id: id, vp_index: VpIndex(index), ..CreateVpInput::default() };
        self.act(CallCode::CREATE_VP, &input)
    }

    pub fn state_page(&mut self, id: PartitionId, kind: HvVpStatePageType) -> Result<u64, HvStatus> {
        let input = MapVpStatePageInput { partition_id: id, page_type: kind, ..MapVpStatePageInput::default() };
        let output: MapVpStatePageOutput = self.call(CallCode::MAP_VP_STATE_PAGE, &input)?;
        Ok(output.map_location * PAGE_SIZE)
    }

    pub fn intercept(
        &mut self,
        id: PartitionId,
        kind: HvInterceptType,
        access: HvInterceptAccessTypeMask,
        parameter: u64,
    ) -> Result<(), HvStatus> {
        let input = InstallInterceptInput {
            partition_id: id,
            access_type: access,
            intercept_type: kind,
            intercept_parameter: parameter,
        };
        self.act(CallCode::INSTALL_INTERCEPT, &input)
    }

    pub fn get(&mut self, id: PartitionId, vp: VpIndex, name: HvRegisterName) -> Result<HvRegisterValue, HvStatus> {
        let header = VpRegistersHeader { partition_id: id, vp_index: vp, target_vtl: 0, reserved: [0; 3] };
        match self.reps(CallCode::GET_VP_REGISTERS, &header, &[name], 1) {
            (1, HvStatus::SUCCESS) => Ok(self.read(OUTPUT)),
            (done, status) => {
                assert_eq!(done, 0);
                Err(status)
            }
        }
    }

    pub fn set(&mut self, id: PartitionId, vp: VpIndex, name: HvRegisterName, value: u64) -> Result<(), HvStatus> {
        let header = VpRegistersHeader { partition_id: id, vp_index: vp, target_vtl: 0, reserved: [0; 3] };
        let element = SetVpRegistersElement { name, reserved: [0; 3], value: HvRegisterValue::from_u64(value) };
        match self.reps(CallCode::SET_VP_REGISTERS, &header, &[element], 1) {
            (1, HvStatus::SUCCESS) => Ok(()),
            (_, status) => Err(status),
        }
    }

    /// The state of every frame of the machine.
    pub fn frames(&self) -> Vec<FrameState> {
        (0..RAM_PAGES).map(|page| self.hv.frame(Spa::from_page_number(page))).collect()
    }
}

/// A child with one VP, both its state pages and some memory.
pub struct Child {
    pub id: PartitionId,
    /// The engine's slot of its VP: the root's is 0, and there is no other.
    pub slot: VpSlot,
    /// Where the root sees its register page.
    pub registers: u64,
    /// Where the root sees its message page.
    pub message: u64,
}

impl Root {
    /// A child in 64-bit mode whose pages 0 to 15 are the root's pages 1280 to 1295. Its tables map the first 2 MiB of
    /// linear addresses one to one, for everyone.
    pub fn runnable(&mut self) -> Child {
        let id = self.child();
        self.create_vp(id, 0).expect("a VP");
        let pages: Vec<u64> = (CHILD_MEMORY..CHILD_MEMORY + 16).collect();
        let all = MapGpaFlags::READABLE
            | MapGpaFlags::WRITABLE
            | MapGpaFlags::KERNEL_EXECUTABLE
            | MapGpaFlags::USER_EXECUTABLE;
        assert_eq!(self.map(id, 0, all, &pages), (16, HvStatus::SUCCESS));
        for page in 1..4 {
            self.write((CHILD_MEMORY + page) * PAGE_SIZE, &[0; PAGE_SIZE as usize]);
        }
        for (page, entry) in [(1, 0x2007_u64), (2, 0x3007), (3, 0x87)] {
            self.write((CHILD_MEMORY + page) * PAGE_SIZE, &entry.to_le_bytes());
        }
        let registers = self.state_page(id, HvVpStatePageType::REGISTERS).expect("a page");
        let message = self.state_page(id, HvVpStatePageType::INTERCEPT_MESSAGE).expect("a page");
        let slot = VpSlot(1);
        let vp = self.hv.engine().vp_mut(slot);
        vp.enter_long_mode(0x1000);
        vp.core.rip = 0x8000;
        Child { id, slot, registers, message }
    }

    /// What the child does when it is dispatched next.
    pub fn plays(&mut self, child: &Child, act: impl FnOnce(&mut FakeVp, &mut VecMemory) -> VpExit + 'static) {
        self.hv.engine().script(child.slot, act);
    }

    /// Puts code at the child's RIP.
    pub fn code(&mut self, child: &Child, code: &[u8]) {
        let rip = self.hv.engine().core(child.slot).rip;
        self.write(CHILD_MEMORY * PAGE_SIZE + rip, code);
    }

    pub fn dispatch(
        &mut self,
        child: &Child,
        flags: DispatchVpFlags,
    ) -> Result<(DispatchState, DispatchEvent), HvStatus> {
        let input =
            DispatchVpInput { partition_id: child.id, vp_index: VpIndex(0), flags, time_slice: 0, spec_ctrl: 0 };
        let output: DispatchVpOutput = self.call(CallCode::DISPATCH_VP, &input)?;
        Ok((output.dispatch_state, output.dispatch_event))
    }

    /// Runs the child until it is intercepted, and returns the message.
    pub fn intercepted<M: FromBytes + KnownLayout + Immutable>(&mut self, child: &Child) -> (HvMessageHeader, M) {
        let ended = self.dispatch(child, DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND);
        assert_eq!(ended, Ok((DispatchState::READY, DispatchEvent::INTERCEPT)));
        let header: HvMessageHeader = self.read(child.message);
        assert_eq!(usize::from(header.payload_size), size_of::<M>());
        assert_eq!(header.sender, child.id.0);
        (header, self.read(child.message + 16))
    }

    /// Runs the child until it has nothing more to do (its script is empty).
    pub fn runs_on(&mut self, child: &Child) {
        let ended = self.dispatch(child, DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND);
        assert_eq!(ended, Ok((DispatchState::READY, DispatchEvent::INVALID)));
    }

    pub fn register_page(&mut self, child: &Child) -> HvVpRegisterPage {
        self.read(child.registers)
    }
}

/// First page of the root that [`Root::runnable`] gives to its child.
pub const CHILD_MEMORY: u64 = 1280;
