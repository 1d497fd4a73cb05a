//! From the boot loader's start info to the running root.

use core::fmt;

use engine::{Engine, PhysMem, Platform, VpSlot};
use partition::{Hypervisor, MachineMemory, MemoryRange, Partition, SetupError, Storage, Vp, frames_needed, stop_code};
use platform::boot::{BootInfo, MAX_REGIONS};
use platform::clock;
use platform::handover::{self, Handover};
use platform::machine::Machine;
use platform::memory::Ram;
use platform::module::Bundle;
use platform::plan::{Range, private_memory};
use platform::processors;
use rt::serial::{COM1, Uart};
use svm::{SharedPages, Svm, VpEntry};
use tlfs::addr::{PAGE_SIZE, Spa};

use crate::bench;
use crate::root;
use crate::storage::{Carver, pages};

/// Partitions and virtual processors that there can be at a time.
const PARTITIONS: usize = partition::MAX_PARTITIONS;
/// See [`PARTITIONS`].
const VPS: usize = 2 * PARTITIONS;
/// What the root partition itself may cost: its nested tables (it is mapped by large pages, split where children and
/// deposits take parts away), its VP and its overlays.
const POOL: u64 = 2 << 20;
/// Asks for [`bench::world_switch`].
const BENCH_OPTION: &str = "bench=switch";

/// Starts the hypervisor and the root.
///
/// # Safety
/// Once, by the boot code, with the loader's start info.
pub(crate) unsafe fn start(start_info: u64) -> ! {
    // SAFETY: COM1 is the hypervisor's (the root's accesses exit), and no one else has it yet.
    let mut machine = Machine::new(clock::Clocks::UNKNOWN, unsafe { Uart::new(COM1) });
    machine.log(format_args!("cordon-hv: Cordon {}", env!("CARGO_PKG_VERSION")));
    // SAFETY: the first and only call, with interrupts off.
    unsafe { rt::exceptions::install() };
    let features = svm::support::detect().unwrap_or_else(|why| refuse(&mut machine, &why));
    if processors::in_package(|leaf, subleaf| machine.cpuid(leaf, subleaf)) > 1 {
        refuse(&mut machine, &processors::Several);
    }
    // SAFETY: passed on from the boot code; nothing has been overwritten.
    let info = unsafe { BootInfo::read(start_info) }.unwrap_or_else(|why| refuse(&mut machine, &why));
    // SAFETY: the first and only call. Nothing but the image's code is ever executed here, and what the loader left is copied.
    unsafe { rt::protect_image() };
    // SAFETY: the loader's RAM; the boot code mapped it. Frames of the hypervisor itself are kept out of it by the frame
    // table, which is given them as private.
    let mut ram = unsafe { Ram::new(&info.memory, has_huge_pages(&machine)) };
    let bundle = Bundle::at(info.module, &ram).unwrap_or_else(|why| refuse(&mut machine, &why));
    let plan = Plan::make(&ram, &bundle).unwrap_or_else(|| refuse(&mut machine, &"too little memory"));
    bundle.check_place(ram.ranges(), &plan.private()).unwrap_or_else(|why| refuse(&mut machine, &why));
    // SAFETY: the timers are no one's yet.
    let clocks = unsafe { clock::measure() };
    let clocks = clocks.unwrap_or_else(|| refuse(&mut machine, &"the interval timer does not count"));
    machine.set_clocks(clocks);
    // SAFETY: nothing has been started on another processor, and the plan keeps the page free.
    let another = unsafe { processors::another_answers(&mut ram, clocks.tsc_hz) };
    match another {
        Ok(false) => {}
        Ok(true) => refuse(&mut machine, &processors::Several),
        Err(_) => refuse(&mut machine, &"there is no low memory"),
    }
    hand_over(&mut ram, &info, &bundle, &plan).unwrap_or_else(|why| refuse(&mut machine, &why));
    report(&mut machine, &ram, &plan);
    // SAFETY: planned to be free RAM, and kept out of every address space as private.
    let mut carver = unsafe { Carver::new(plan.storage) };
    // SAFETY: made of integer arrays.
    let shared: &mut SharedPages = unsafe { carver.zeroed() };
    let entries: &mut [VpEntry] = carver.slice(VPS, || None);
    let ranges = MachineRanges::new(&ram, &plan);
    // SAFETY: detected above; the tables are loaded for good; everything is identity-mapped; frames for VPs come
    // from the partition model's frame table, which never maps a frame that it gave away.
    let mut engine = unsafe { Svm::new(features, ram, shared, entries) };
    if info.has_option(BENCH_OPTION) {
        run_bench(&mut machine, &mut engine, &plan);
    }
    let storage = Storage {
        frames: carver.slice(plan.frames, Default::default),
        partitions: carver.slice(PARTITIONS, || Partition::EMPTY),
        vps: carver.slice(VPS, || Vp::EMPTY),
    };
    let hypervisor = Hypervisor::new(engine, machine, storage, &ranges.memory());
    run(hypervisor, bundle.entry)
}

/// Enters the root.
fn run<E: Engine, P: Platform>(hypervisor: Result<Hypervisor<'_, E, P>, SetupError>, entry: u64) -> ! {
    let mut hypervisor = hypervisor.unwrap_or_else(|why| panic!("the root partition cannot be made: {why:?}"));
    let vp = hypervisor.root_vp();
    root::enter(hypervisor.engine(), vp, entry).unwrap_or_else(|why| panic!("the root cannot be entered: {why:?}"));
    hypervisor.run()
}

/// Says why there will be no hypervisor, and ends the machine.
fn refuse(machine: &mut Machine, why: &dyn fmt::Display) -> ! {
    machine.log(format_args!("cordon-hv: refused: {why}"));
    machine.stop(stop_code::HYPERVISOR)
}

/// 1 GiB pages (CPUID 8000_0001 EDX bit 26), by which the boot code maps what lies above 4 GiB.
fn has_huge_pages(machine: &Machine) -> bool {
    machine.cpuid(0x8000_0001, 0)[3] & 1 << 26 != 0
}

/// Where the hypervisor is.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The image.
    image: Range,
    /// Tables and shared pages.
    storage: Range,
    /// What the root partition costs; directly behind `storage`.
    pool: Range,
    /// Entries of the frame table.
    frames: usize,
}

impl Plan {
    /// `None`: too little memory.
    fn make(ram: &Ram, bundle: &Bundle) -> Option<Self> {
        let image = rt::image_range();
        let image = Range { start: image.start, end: image.end };
        let frames = ram.ranges().iter().map(|range| range.end / PAGE_SIZE).max()?;
        let frames = usize::try_from(frames).ok()?;
        let storage = storage_size(frames);
        let taken = [image, bundle.range, bundle.place, Handover::range()];
        let all = private_memory(ram.ranges(), &taken, storage + POOL)?;
        let middle = all.start + storage;
        Some(Self { image, storage: Range { end: middle, ..all }, pool: Range { start: middle, ..all }, frames })
    }

    /// What no partition may see.
    fn private(&self) -> [Range; 2] {
        [self.image, Range { end: self.pool.end, ..self.storage }]
    }
}

/// What [`Carver`] will hand out.
fn storage_size(frames: usize) -> u64 {
    let table = |count: usize, size: usize| pages((count * size) as u64);
    table(1, size_of::<SharedPages>())
        + table(VPS, size_of::<VpEntry>())
        + table(frames, size_of::<partition::frames::FrameEntry>())
        + table(PARTITIONS, size_of::<Partition>())
        + table(VPS, size_of::<Vp>())
}

/// Puts the root's image and start info into its memory.
fn hand_over(ram: &mut Ram, info: &BootInfo, bundle: &Bundle, plan: &Plan) -> Result<(), &'static str> {
    let memory = info.memory.reserving(&plan.private()).map_err(|_| "the memory map has too many entries")?;
    bundle.place_root(ram).map_err(|_| "the root image cannot be copied")?;
    let handover = Handover::new(&memory, bundle.payload, info.command_line(), info.rsdp);
    ram.write(Spa(handover::ADDRESS), handover.bytes()).map_err(|_| "there is no low memory")
}

fn report(machine: &mut Machine, ram: &Ram, plan: &Plan) {
    let total: u64 = ram.ranges().iter().map(Range::len).sum();
    let own: u64 = plan.private().iter().map(Range::len).sum();
    let (tsc, apic) = (machine.tsc_hz() / 1000, machine.apic_hz() / 1000);
    machine.log(format_args!(
        "cordon-hv: memory {} MiB, own {} KiB at {:#x} and {:#x}; TSC {tsc} kHz, APIC timer {apic} kHz",
        total >> 20,
        own >> 10,
        plan.image.start,
        plan.storage.start,
    ));
}

fn run_bench(machine: &mut Machine, engine: &mut impl Engine, plan: &Plan) {
    match bench::world_switch(engine, VpSlot(0), Spa(plan.pool.start)) {
        Some(ticks) => machine.log(format_args!("cordon-hv: {ticks}")),
        None => machine.log(format_args!("cordon-hv: the world switch could not be measured")),
    }
}

/// The plan as the partition model takes it.
struct MachineRanges {
    ram: [MemoryRange; MAX_REGIONS],
    ram_len: usize,
    private: [MemoryRange; 2],
    pool: MemoryRange,
}

impl MachineRanges {
    fn new(ram: &Ram, plan: &Plan) -> Self {
        let mut this = Self {
            ram: [MemoryRange::default(); MAX_REGIONS],
            ram_len: ram.ranges().len(),
            private: plan.private().map(convert),
            pool: convert(plan.pool),
        };
        for (place, range) in this.ram.iter_mut().zip(ram.ranges()) {
            *place = convert(*range);
        }
        this
    }

    fn memory(&self) -> MachineMemory<'_> {
        let ram = &self.ram[..self.ram_len];
        debug_assert_eq!(frames_needed(ram), ram.last().map_or(0, |range| range.end.page_number()));
        MachineMemory { ram, private: &self.private, pool: self.pool }
    }
}

fn convert(range: Range) -> MemoryRange {
    MemoryRange { start: Spa(range.start), end: Spa(range.end) }
}
