//! Sandboxes against a scripted hypervisor: what the root does about each exit.
mod questions;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use bundle::{Program, RunConfig, TreeEntry, TreeIndex, TreeNode};
use guestmem::GuestMemory;
use hvclient::double::Double;
use hvclient::{Client, StatePage};
use proto::layout::{KERNEL_CS, SHIM_BASE_GPA};
use proto::{BootInfo, DOORBELL_PORT, Grant, MESSAGE_OFFSET, ServiceRequest, op};
use services::{Console, ConsoleRead, Entropy, Stream};
use tlfs::addr::Gpa;
use tlfs::calls::{DispatchEvent, DispatchState, MapGpaFlags};
use tlfs::hypercall::CallCode;
use tlfs::intercept::HvInterceptAccessType;
use tlfs::message::*;
use tlfs::register::{HvRegisterName, HvX64PendingInterruptionRegister, HvX64SegmentRegister};
use tlfs::status::HvStatus;
use tlfs::vp_page::{HvVpRegisterPage, RegisterPageDirty};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::budget::Budget;
use crate::memory::tests::FakeRoot;
use crate::shim::tests::{header as shim_header, image as shim_image};
use crate::{HostConsole, Outcome, Remains, Sandbox, Setup, Step, World, layout, shim::Shim};

mod limits;

const POLICY: &str = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getuid\"]\naction = { errno = \"EACCES\" }\n\
                      [[rule]]\ncalls = [\"ptrace\"]\naction = \"kill\"\n\
                      [[rule]]\ncalls = [\"getppid\"]\naction = { ask = { limit = 5 } }\n\
                      [[rule]]\ncalls = [\"gettid\"]\naction = { stop = { limit = 7, otherwise = \"kill\" } }\n";
const RIP: u64 = 0x40_1000;
const GETPID: u64 = 39;
const GETUID: u64 = 102;
const PTRACE: u64 = 101;

#[derive(Default)]
struct Screen {
    output: Vec<u8>,
    trace: String,
    lines: trace::Lines,
}

impl Console for Screen {
    fn write(&mut self, _: Stream, data: &[u8]) {
        self.output.extend_from_slice(data);
    }
    fn read(&mut self, _: &mut [u8]) -> ConsoleRead {
        ConsoleRead::EndOfFile
    }
    fn window(&self) -> Option<(u16, u16)> {
        None
    }
}

impl HostConsole for Screen {
    fn record(&mut self, record: &trace::Record) {
        self.lines.add(record, &mut self.trace);
    }
}

struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(9);
    }
}

/// A root with a hypervisor, and a sandbox in it.
struct Fixture {
    client: Client<Double>,
    root: FakeRoot,
    screen: Screen,
    sandbox: Option<Sandbox<'static, FakeRoot>>,
    /// The root's reference time.
    now: u64,
}

const ROOT_PAGES: u64 = 20_000;

fn setup() -> Setup<'static> {
    #[repr(align(4096))]
    struct Aligned([u8; 0x4000]);
    let mut image = Box::new(Aligned([0; 0x4000]));
    image.0.copy_from_slice(&shim_image(&shim_header()));
    let image = Box::leak(image);
    let root = TreeEntry { parent: 0, name: vec![], mode: 0o755, uid: 0, gid: 0, mtime: 0, node: TreeNode::Directory };
    let lower = files::Lower::new(TreeIndex { entries: vec![root] }, &[]).unwrap();
    Setup {
        program: Box::leak(Box::new(Program {
            path: b"/bin/true".to_vec(),
            args: vec![b"true".to_vec()],
            ..Program::default()
        })),
        run: Box::leak(Box::new(RunConfig {
            record: true,
            ask: true,
            realtime_ns: 1_700_000_000_000_000_000,
            ..RunConfig::default()
        })),
        shim: Shim::parse(&image.0).unwrap(),
        policy: policy::parse("test.toml", POLICY).unwrap().into(),
        files: files::Stack::new(lower.into(), files::Limits::within(1 << 20)),
        budget: Budget { child: 16 << 20, files: 1 << 20, whole: None, handles: 10 },
        supervisor_protection: crate::create::SupervisorProtection { smep: true, smap: false },
    }
}

impl Fixture {
    fn new() -> Self {
        Self::of(setup())
    }

    fn of(setup: Setup<'static>) -> Self {
        let mut double = Double::new();
        double.price = 20;
        let mut fixture = Self {
            client: Client::new(double),
            root: FakeRoot::new(ROOT_PAGES),
            screen: Screen::default(),
            sandbox: None,
            now: 5_000,
        };
        fixture.sandbox = Some(fixture.world(|world| Sandbox::create(setup, world)).unwrap());
        fixture
    }

    fn world<O>(&mut self, f: impl FnOnce(&mut World<'_, Double, FakeRoot>) -> O) -> O {
        let now = self.now;
        f(&mut World {
            client: &mut self.client,
            memory: &mut self.root,
            console: &mut self.screen,
            entropy: &mut NoEntropy,
            now: &move || now,
        })
    }

    fn double(&mut self) -> &mut Double {
        self.client.transport()
    }

    /// Lets the VP stop with `message` and takes the step.
    fn stop<M: IntoBytes + Immutable + Copy + 'static>(&mut self, message_type: HvMessageType, message: M) -> Step {
        self.run(move |_, page| {
            page.write::<_, 0>(HvMessageHeader { message_type, ..HvMessageHeader::default() });
            page.write::<M, 16>(message);
            (DispatchState::READY, DispatchEvent::INTERCEPT)
        })
    }

    fn run(
        &mut self,
        run: impl FnMut(&mut StatePage, &mut StatePage) -> (DispatchState, DispatchEvent) + 'static,
    ) -> Step {
        self.double().script.push_back(Box::new(run));
        let mut sandbox = self.sandbox.take().unwrap();
        let step = self.world(|world| sandbox.step(world));
        self.sandbox = Some(sandbox);
        step
    }

    /// A system call from ring 3.
    fn call(&mut self, number: u64) -> Step {
        let mut message = fault(6);
        message.gprs[0] = number;
        self.stop(HvMessageType::X64_EXCEPTION_INTERCEPT, message)
    }

    /// What the register page holds when the VP is dispatched next.
    fn registers(&mut self) -> HvVpRegisterPage {
        let seen = alloc::rc::Rc::new(core::cell::RefCell::new(None));
        let keep = seen.clone();
        self.run(move |page, _| {
            *keep.borrow_mut() = Some(page.read::<HvVpRegisterPage, 0>());
            (DispatchState::READY, DispatchEvent::INVALID)
        });
        seen.take().unwrap()
    }

    fn write(&mut self, gpa: u64, data: &[u8]) {
        self.sandbox.as_mut().unwrap().memory.view(&mut self.root).write(Gpa(gpa), data).unwrap();
    }

    fn read<T: FromBytes>(&mut self, gpa: u64) -> T {
        let mut bytes = vec![0; size_of::<T>()];
        self.sandbox.as_mut().unwrap().memory.view(&mut self.root).read(Gpa(gpa), &mut bytes).unwrap();
        T::read_from_bytes(&bytes).unwrap()
    }

    /// The shim rings with this request.
    fn ring(&mut self, opcode: u32, arguments: &[u8]) -> Step {
        let len = u32::try_from(40 + arguments.len()).unwrap();
        let mut message = vec![0; 40];
        message[..4].copy_from_slice(&len.to_le_bytes());
        message[4..8].copy_from_slice(&opcode.to_le_bytes());
        message[8..16].copy_from_slice(&1_u64.to_le_bytes());
        message.extend_from_slice(arguments);
        let request = ServiceRequest { message_len: len, ..ServiceRequest::new_zeroed() };
        self.write(layout::SERVICE, request.as_bytes());
        self.write(layout::SERVICE + MESSAGE_OFFSET as u64, &message);
        self.stop(HvMessageType::X64_IO_PORT_INTERCEPT, doorbell())
    }

    fn destroy(mut self) -> (Self, crate::RunStats) {
        let sandbox = self.sandbox.take().unwrap();
        let Remains { stats, taken_down, .. } = self.world(|world| sandbox.destroy(world));
        taken_down.unwrap();
        (self, stats)
    }
}

fn fault(vector: u16) -> HvX64ExceptionInterceptMessage {
    let mut message = HvX64ExceptionInterceptMessage::new_zeroed();
    message.header.execution_state = HvX64VpExecutionState(0).with_cpl(3);
    message.header.rip = RIP;
    message.header.rflags = 0x346;
    message.exception_vector = vector;
    message.instruction_byte_count = 16;
    message.instruction_bytes[..2].copy_from_slice(&[0x0f, 0x05]);
    message
}

fn doorbell() -> HvX64IoPortInterceptMessage {
    let mut message = HvX64IoPortInterceptMessage::new_zeroed();
    message.header.rip = 0x9000;
    message.header.length_cr8 = HvInstructionLengthCr8(0).with_instruction_length(1);
    message.header.intercept_access_type = HvInterceptAccessType::WRITE;
    message.port_number = DOORBELL_PORT;
    message
}

fn reason(step: Step) -> String {
    match step {
        Step::Ended(Outcome::SandboxFailed { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_child_starts_with_what_the_shim_is_promised() {
    let mut fixture = Fixture::new();
    let info: BootInfo = fixture.read(layout::BOOT_INFO);
    assert_eq!((info.magic, info.free_end), (proto::BOOT_MAGIC, 16 << 20));
    assert_eq!((info.random, info.realtime_offset_ns), ([9; 32], 1_700_000_000_000_500_000));
    let data: [u8; 16] = fixture.read(SHIM_BASE_GPA + 0x3000);
    assert_eq!(&data, b"initial data ...");
    let double = fixture.double();
    let flags = |gpa: u64| double.mapped.get(&(gpa / 4096)).map(|(_, flags)| *flags);
    assert_eq!(flags(0), None);
    assert_eq!(flags(SHIM_BASE_GPA), None);
    let code = flags(SHIM_BASE_GPA + 0x1000).unwrap();
    assert!(code.contains(MapGpaFlags::KERNEL_EXECUTABLE) && !code.contains(MapGpaFlags::WRITABLE));
    assert_eq!(flags(SHIM_BASE_GPA + 0x2000), Some(MapGpaFlags::READABLE));
    assert_eq!(flags(SHIM_BASE_GPA + 0x4000), Some(MapGpaFlags::READABLE | MapGpaFlags::WRITABLE));
    let free = info.free_end - info.free_start;
    assert!(flags(info.free_start + proto::layout::heap_len(free)).unwrap().contains(MapGpaFlags::WRITABLE));
    assert_eq!(flags(info.free_end - 4096), None);
    let register = |name| double.registers.iter().find(|(n, _)| *n == name).unwrap().1.as_u64();
    assert_eq!(register(HvRegisterName::X64_EFER), 0xd00);
    assert_eq!(register(HvRegisterName::X64_CR3), info.boot_cr3);
    assert_eq!(register(HvRegisterName::X64_CR4) >> 20, 1);
    assert_eq!(double.intercepts.len(), 4);
}

#[test]
fn everything_comes_back() {
    let mut fixture = Fixture::new();
    let free_start = fixture.read::<BootInfo>(layout::BOOT_INFO).free_start;
    fixture.write(free_start + 5, b"x");
    assert!(fixture.double().deposit.len() >= 20);
    let (mut fixture, stats) = fixture.destroy();
    assert_eq!(fixture.root.free, ROOT_PAGES);
    assert!(fixture.root.given.is_empty());
    assert!(fixture.double().deposit.is_empty());
    assert!(stats.memory_bytes > 20 * 4096);
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let calls = [
        CallCode::CREATE_PARTITION,
        CallCode::SET_PARTITION_PROPERTY,
        CallCode::INITIALIZE_PARTITION,
        CallCode::MAP_GPA_PAGES,
        CallCode::CREATE_VP,
        CallCode::MAP_VP_STATE_PAGE,
        CallCode::INSTALL_INTERCEPT,
        CallCode::SET_VP_REGISTERS,
    ];
    for call in calls {
        let mut double = Double::new();
        double.price = 3;
        double.refuses = Some((call, HvStatus::OPERATION_DENIED));
        let mut fixture = Fixture {
            client: Client::new(double),
            root: FakeRoot::new(ROOT_PAGES),
            screen: Screen::default(),
            sandbox: None,
            now: 5_000,
        };
        let error = fixture.world(|world| Sandbox::create(setup(), world)).err().unwrap();
        assert!(error.to_string().contains(call.name().unwrap()), "{error}");
        assert_eq!((fixture.root.free, fixture.root.given.len()), (ROOT_PAGES, 0), "{call}");
    }
}

#[test]
fn memory_without_end_is_not_paid() {
    let mut double = Double::new();
    double.price = usize::MAX;
    let mut fixture = Fixture {
        client: Client::new(double),
        root: FakeRoot::new(ROOT_PAGES),
        screen: Screen::default(),
        sandbox: None,
        now: 5_000,
    };
    let error = fixture.world(|world| Sandbox::create(setup(), world)).err().unwrap();
    assert!(error.0.reason.contains("without end"), "{error}");
    assert_eq!(fixture.root.free, ROOT_PAGES);
}

#[test]
fn an_allowed_call_enters_the_shim() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.call(GETPID), Step::Again);
    let registers = fixture.registers();
    assert_eq!(registers.gprs[1], RIP + 2);
    assert_eq!(registers.gprs[11], 0x346);
    assert_eq!(registers.rflags, 0x46);
    assert_eq!(registers.rip, shim_header().syscall_entry);
    assert_eq!((registers.segments[1].selector, registers.segments[1].attributes.0), (KERNEL_CS, 0xa09b));
    assert_eq!(registers.segments[2].attributes.0, 0xc093);
    let all =
        RegisterPageDirty::GENERAL | RegisterPageDirty::IP | RegisterPageDirty::FLAGS | RegisterPageDirty::SEGMENT;
    assert_eq!(registers.dirty, all);
    let grant: Grant = fixture.read(layout::GATE);
    assert_eq!((grant.sequence, grant.number), (1, GETPID));
    let dispatches = fixture.double().calls.iter().filter(|call| **call == CallCode::DISPATCH_VP).count();
    assert_eq!(dispatches, 2);
}

#[test]
fn a_denied_call_goes_on_in_ring_3() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.call(GETUID), Step::Again);
    let registers = fixture.registers();
    assert_eq!(registers.gprs[0].cast_signed(), -13);
    assert_eq!((registers.rip, registers.gprs[1]), (RIP + 2, RIP + 2));
    assert_eq!(registers.dirty, RegisterPageDirty::GENERAL | RegisterPageDirty::IP);
    assert!(fixture.screen.trace.contains("getuid() = -1 EACCES"), "{}", fixture.screen.trace);
}

#[test]
fn a_killing_rule_ends_it() {
    let mut fixture = Fixture::new();
    let Step::Ended(Outcome::PolicyKilled { reason }) = fixture.call(PTRACE) else { panic!() };
    assert!(reason.contains("ptrace"), "{reason}");
}

#[test]
fn a_real_illegal_instruction_is_the_programs_own() {
    let mut fixture = Fixture::new();
    let mut message = fault(6);
    message.instruction_bytes[..2].copy_from_slice(&[0x0f, 0x0b]);
    assert_eq!(fixture.stop(HvMessageType::X64_EXCEPTION_INTERCEPT, message), Step::Again);
    let pending = HvX64PendingInterruptionRegister::exception(6, None);
    let set = fixture.double().registers.last().unwrap();
    assert_eq!((set.0, set.1.as_u64()), (HvRegisterName::PENDING_INTERRUPTION, pending.0));
}

#[test]
fn a_fault_of_the_shim_ends_the_sandbox() {
    let mut fixture = Fixture::new();
    let mut message = fault(6);
    message.header.execution_state = HvX64VpExecutionState(0);
    reason(fixture.stop(HvMessageType::X64_EXCEPTION_INTERCEPT, message));
}

fn touch(gpa: u64) -> HvX64MemoryInterceptMessage {
    HvX64MemoryInterceptMessage { guest_physical_address: gpa, ..HvX64MemoryInterceptMessage::new_zeroed() }
}

#[test]
fn free_memory_comes_when_it_is_touched() {
    let mut fixture = Fixture::new();
    let free_start = fixture.read::<BootInfo>(layout::BOOT_INFO).free_start;
    let gpa = free_start + 3 * layout::BLOCK_SIZE + 0x2345;
    assert_eq!(fixture.stop(HvMessageType::UNMAPPED_GPA, touch(gpa)), Step::Again);
    let first = free_start / 4096 + 3 * layout::BLOCK_PAGES;
    for page in first..first + layout::BLOCK_PAGES {
        assert!(fixture.double().mapped.contains_key(&page));
    }
    assert_eq!(fixture.double().mapped.get(&(first - 1)), None);
    // Again: it cannot be unmapped.
    assert!(reason(fixture.stop(HvMessageType::UNMAPPED_GPA, touch(gpa))).contains("no memory"));
}

#[test]
fn memory_that_is_not_promised_does_not_come() {
    for gpa in [0, 16 << 20, u64::MAX, layout::TSC_PAGE, SHIM_BASE_GPA] {
        let mut fixture = Fixture::new();
        let free = fixture.root.free;
        assert!(reason(fixture.stop(HvMessageType::UNMAPPED_GPA, touch(gpa))).contains("no memory"));
        assert_eq!(fixture.root.free, free);
    }
}

#[test]
fn no_message_is_taken_for_another() {
    let surprises = [
        (HvMessageType::GPA_INTERCEPT, "protected"),
        (HvMessageType::X64_MSR_INTERCEPT, "MSR"),
        (HvMessageType::UNRECOVERABLE_EXCEPTION, "triple fault"),
        (HvMessageType::INVALID_VP_REGISTER_VALUE, "HvMessageTypeInvalidVpRegisterValue"),
        (HvMessageType(0x1234), "0x1234"),
        (HvMessageType::NONE, "None"),
    ];
    for (kind, words) in surprises {
        let text = reason(Fixture::new().stop(kind, [0_u8; 240]));
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn only_the_doorbell_rings() {
    let changes: [fn(&mut HvX64IoPortInterceptMessage); 5] = [
        |m| m.port_number = 0x80,
        |m| m.header.intercept_access_type = HvInterceptAccessType::READ,
        |m| m.header.execution_state = HvX64VpExecutionState(0).with_cpl(3),
        |m| m.access_info = HvX64IoPortAccessInfo(0).with_string_op(true),
        |m| m.header.length_cr8 = HvInstructionLengthCr8(0),
    ];
    for change in changes {
        let mut message = doorbell();
        change(&mut message);
        assert!(reason(Fixture::new().stop(HvMessageType::X64_IO_PORT_INTERCEPT, message)).contains("port"));
    }
}

#[test]
fn the_programs_end_is_the_sandboxes() {
    let mut fixture = Fixture::new();
    let exit = op::Exit { status: 3, program_bytes: 4096, ..op::Exit::default() };
    assert_eq!(fixture.ring(op::EXIT, exit.as_bytes()), Step::Ended(Outcome::Exited { status: 3 }));
    assert_eq!(fixture.destroy().1.program_bytes, 4096);
    let mut fixture = Fixture::new();
    let exit = op::Exit { signal: 11, address: 0x10, rip: RIP, ..op::Exit::default() };
    let Step::Ended(Outcome::Signaled { signal: 11, detail }) = fixture.ring(op::EXIT, exit.as_bytes()) else {
        panic!()
    };
    assert_eq!(detail, "address 0x10, instruction 0x401000");
}

#[test]
fn a_wait_is_in_the_roots_time() {
    let mut fixture = Fixture::new();
    let wait = op::Wait { deadline: 70, events: op::wait_events::CONSOLE_INPUT };
    assert_eq!(fixture.ring(op::WAIT, wait.as_bytes()), Step::Waiting { deadline: 5_070, events: 1 });
    let mut sandbox = fixture.sandbox.take().unwrap();
    fixture.world(|world| sandbox.wake(1, world));
    fixture.sandbox = Some(sandbox);
    let request: ServiceRequest = fixture.read(layout::SERVICE);
    assert_eq!(request.reply_len, 24);
    assert_eq!(fixture.registers().rip, 0x9001);
}

#[test]
fn garbage_in_the_service_page_ends_the_sandbox() {
    let mut fixture = Fixture::new();
    fixture.write(layout::SERVICE, &[0xff; 2048]);
    assert!(reason(fixture.stop(HvMessageType::X64_IO_PORT_INTERCEPT, doorbell())).contains("malformed"));
}

#[test]
fn other_ends_of_a_dispatch() {
    let mut fixture = Fixture::new();
    let mut end = |state, event| fixture.run(move |_, _| (state, event));
    assert_eq!(end(DispatchState::READY, DispatchEvent::INVALID), Step::Interrupted);
    assert!(reason(end(DispatchState::BLOCKED, DispatchEvent::INVALID)).contains("halted"));
    assert!(reason(end(DispatchState::BLOCKED, DispatchEvent::SUSPEND)).contains("suspended"));
    assert!(reason(end(DispatchState(7), DispatchEvent(8))).contains("dispatch"));
}

impl Fixture {
    /// The shim's alarm, in the child's time, which began when the root's was 5000.
    fn set_alarm(&mut self, alarm: u64) {
        self.write(layout::GATE + offset_of!(proto::GatePage, alarm) as u64, &alarm.to_le_bytes());
    }

    /// An interrupt of the root's ends the dispatch at reference time `now`: the interrupts that were asserted in the child by then.
    fn interrupted_at(&mut self, now: u64) -> usize {
        self.now = now;
        assert_eq!(self.run(|_, _| (DispatchState::READY, DispatchEvent::INVALID)), Step::Interrupted);
        self.asserted()
    }

    fn asserted(&mut self) -> usize {
        self.double().calls.iter().filter(|call| **call == CallCode::ASSERT_VIRTUAL_INTERRUPT).count()
    }

    fn interrupt_at(&self) -> u64 {
        self.sandbox.as_ref().unwrap().interrupt_at()
    }
}

#[test]
fn without_an_alarm_nothing_interrupts() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.read::<proto::GatePage>(layout::GATE).alarm, proto::NO_ALARM);
    assert_eq!(fixture.interrupted_at(1 << 60), 0);
    fixture.set_alarm(0);
    assert_eq!((fixture.interrupted_at(1 << 61), fixture.interrupt_at()), (0, u64::MAX));
}

#[test]
fn an_alarm_interrupts_the_child_once_and_on_time() {
    let mut fixture = Fixture::new();
    fixture.set_alarm(7_000);
    assert_eq!((fixture.interrupted_at(11_999), fixture.interrupt_at()), (0, 12_000));
    assert_eq!(fixture.interrupted_at(12_000), 1);
    let input = fixture.double().asserted.unwrap();
    assert_eq!((input.requested_vector, input.destination_address), (u32::from(proto::ALARM_VECTOR), 0));
    assert_eq!(fixture.interrupted_at(500_000), 1);
    // Nobody need make an exit to set the next one: it is looked for.
    assert_eq!(fixture.interrupt_at(), 510_000);
    fixture.set_alarm(600_000);
    assert_eq!((fixture.interrupted_at(510_000), fixture.interrupt_at()), (1, 520_000));
    assert_eq!(fixture.interrupted_at(605_000), 2);
    fixture.set_alarm(proto::NO_ALARM);
    assert_eq!((fixture.interrupted_at(900_000), fixture.interrupt_at()), (2, u64::MAX));
}

#[test]
fn an_alarm_is_looked_at_at_each_exit() {
    let mut fixture = Fixture::new();
    fixture.set_alarm(10);
    fixture.now = 5_010;
    // A call that the policy answers does not enter the shim: nobody else would tell it.
    assert_eq!(fixture.call(GETUID), Step::Again);
    assert_eq!(fixture.asserted(), 1);
    fixture.set_alarm(11);
    fixture.now = 5_011;
    fixture.ring(op::WAIT, op::Wait { deadline: 70, events: 0 }.as_bytes());
    assert_eq!(fixture.asserted(), 2);
}

#[test]
fn the_trace_names_the_thread_that_the_shim_names() {
    let mut fixture = Fixture::new();
    fixture.call(GETUID);
    fixture.write(layout::GATE + offset_of!(proto::GatePage, thread) as u64, &77_u32.to_le_bytes());
    fixture.call(GETUID);
    let lines: Vec<_> = fixture.screen.trace.lines().collect();
    assert!(!lines[0].contains("77") && lines[1].contains("77"), "{lines:?}");
}

#[test]
fn results_are_taken_whatever_the_shim_says() {
    let mut fixture = Fixture::new();
    fixture.call(GETPID);
    let result = proto::CallResult { sequence: 1, value: 77, flags: 0 };
    let results = layout::GATE + offset_of!(proto::GatePage, results) as u64;
    let count = layout::GATE + offset_of!(proto::GatePage, result_count) as u64;
    fixture.write(results, result.as_bytes());
    fixture.write(count, &1_u64.to_le_bytes());
    fixture.call(GETUID);
    let (first, second) = fixture.screen.trace.split_once('\n').unwrap();
    assert!(first.contains("getpid() = 77") && second.contains("getuid"), "{}", fixture.screen.trace);
    for lie in [u64::MAX, 0, 1 << 40, 5] {
        fixture.write(count, &lie.to_le_bytes());
        assert_eq!(fixture.call(GETUID), Step::Again);
    }
}

#[test]
fn segment_layout_is_the_pages() {
    assert_eq!(
        size_of::<[HvX64SegmentRegister; 6]>(),
        offset_of!(HvVpRegisterPage, cr0) - offset_of!(HvVpRegisterPage, segments)
    );
}
