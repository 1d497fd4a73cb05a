//! Things after which nothing can go on: the root has to take the sandbox down and say why. If the root goes on, that is
//! the failure.

use fuse_abi::linux::fuse_opcode;
use proto::layout::{DIRECT_MAP_VA, SHIM_BASE_GPA};
use proto::op::{self, Exit, NotStarted, Wait};
use proto::{DOORBELL_PORT, MESSAGE_LEN, Segment};
use tlfs::hypercall::{CallCode, HypercallInput};
use zerocopy::IntoBytes;

use super::memory::{SPARE_VA, space_with};
use super::{overlay, window};
use crate::Shim;
use crate::cpu::{self, Control, Odd, Trap, User, Width};
use crate::memory::{self, PAGE, gpa_of_image};
use crate::service::{Frame, segment};

const EFER: u32 = 0xc000_0080;
const CR4_LA57: u64 = 1 << 12;
const CR0_NW: u64 = 1 << 29;
/// RFLAGS with which ring 3 may use ports.
const IOPL_3: u64 = 0x3002;
/// Page-table entries: present and writable; and for ring 3 too.
const KERNEL: u64 = 3;
const USER: u64 = 7;

/// What came of it: `None` for a name that means nothing here.
type End = Option<Result<(), Trap>>;

/// Does the thing named `variant`.
pub(super) fn run(shim: &mut Shim, variant: &str) {
    let end = frame(shim, variant)
        .or_else(|| memory_access(shim, variant))
        .or_else(|| window::ending(shim, variant))
        .or_else(|| processor(shim, variant))
        .or_else(|| instruction(variant))
        .or_else(|| numbered(shim, variant))
        .or_else(|| word(shim, variant));
    assert!(end.is_some(), "no ending {variant:?}");
    shim.expect(variant, end, None);
}

/// Requests whose frame is broken.
fn frame(shim: &mut Shim, variant: &str) -> End {
    let good = Frame::of(0, 0);
    let message = |message_len| Frame { message_len, header_len: message_len, ..good };
    let longest = u32::try_from(MESSAGE_LEN).unwrap_or(u32::MAX);
    let one = |gpa, len, reserved| (Frame::of(0, 1), [Segment { gpa, len, reserved }; 1]);
    let page = shim.free.take_page();
    let none = [segment(page, 1)];
    let (frame, segments) = match variant {
        "message-empty" => (message(0), none),
        "message-short" => (message(39), none),
        "message-long" => (message(longest + 1), none),
        "message-huge" => (message(u32::MAX), none),
        "header-disagrees" => (Frame { header_len: 41, ..good }, none),
        "header-huge" => (Frame { header_len: u32::MAX, ..good }, none),
        "extensions" => (Frame { total_extlen: 1, ..good }, none),
        "frame-closed" => (Frame { closed_count: 17, ..good }, none),
        "segments-65" => (Frame { segment_count: 65, ..good }, none),
        "segments-huge" => (Frame { segment_count: u32::MAX, ..good }, none),
        "segment-empty" => one(page, 0, 0),
        "segment-crosses" => one(page + 1, 4096, 0),
        "segment-huge" => one(page, u32::MAX, 0),
        "segment-wraps" => one(u64::MAX - 7, 8, 0),
        "segment-reserved" => one(page, 8, 1),
        "frame-noise" => {
            memory::write(shim.info.service_gpa, &[0xff; 4096]);
            shim.service.ring();
            return Some(Ok(()));
        }
        _ => return None,
    };
    let _ = shim.service.send(fuse_opcode::FUSE_STATFS as u32, 1, frame, &[], &segments);
    Some(Ok(()))
}

/// Memory that is not the child's, or not to be used so.
fn memory_access(shim: &mut Shim, variant: &str) -> End {
    let end = shim.info.free_end;
    let direct = |address| DIRECT_MAP_VA + gpa_of_image(address);
    let result = match variant {
        "write-code" => cpu::store(direct(memory::victim_code()), 0),
        "write-constants" => cpu::store(direct(memory::victim_constants()), 0),
        "read-header" => load(DIRECT_MAP_VA + SHIM_BASE_GPA),
        "read-page-0" => load(DIRECT_MAP_VA),
        "read-behind-the-end" => load_gpa(shim, end),
        "read-far-away" => load_gpa(shim, 1 << 38),
        "read-device" => load_gpa(shim, 0xfee0_0000),
        "write-device" => map(shim, 0xfee0_0000).and_then(|address| cpu::store(address, 0)),
        "execute-data" => map(shim, shim.info.gate_gpa).and_then(cpu::call),
        "execute-constants" => map(shim, gpa_of_image(memory::victim_constants())).and_then(cpu::call),
        "table-behind-the-end" => {
            let space = space_with(shim, end | USER);
            cpu::write_control(Control::Cr3, space).and_then(|()| load(SPARE_VA))
        }
        // The walk has to set the accessed bit there.
        "table-in-constants" => {
            let space = space_with(shim, gpa_of_image(memory::victim_constants()) | USER);
            cpu::write_control(Control::Cr3, space).and_then(|()| load(SPARE_VA))
        }
        "tables-behind-the-end" => cpu::write_control(Control::Cr3, end),
        "tables-at-0" => cpu::write_control(Control::Cr3, 0),
        _ => return None,
    };
    Some(result)
}

/// Maps the page at `gpa` at [`SPARE_VA`], for ring 0, writable and executable.
fn map(shim: &mut Shim, gpa: u64) -> Result<u64, Trap> {
    let [third, second, table] = [(); 3].map(|()| shim.free.take_page());
    memory::write_word(third, second | KERNEL);
    memory::write_word(second, table | KERNEL);
    memory::write_word(table, gpa | KERNEL);
    let space = space_with(shim, third | KERNEL);
    cpu::write_control(Control::Cr3, space).map(|()| SPARE_VA)
}

fn load_gpa(shim: &mut Shim, gpa: u64) -> Result<(), Trap> {
    map(shim, gpa).and_then(load)
}

fn load(address: u64) -> Result<(), Trap> {
    cpu::load(address).map(|_| ())
}

/// States and instructions that no honest shim has.
fn processor(shim: &mut Shim, variant: &str) -> End {
    let result = match variant {
        "efer-sce" => cpu::write_msr(EFER, 0xd01),
        "efer-same" => cpu::write_msr(EFER, 0xd00),
        "halt" => cpu::odd(Odd::Hlt, 0),
        "halt-interruptible" => cpu::odd(Odd::StiHlt, 0),
        "spin" => cpu::odd(Odd::Spin, 0),
        "illegal-instruction" => cpu::odd(Odd::Ud2, 0),
        "overlay-written" => {
            let page = shim.free.take_page();
            overlay::show(page).and_then(|()| cpu::store(DIRECT_MAP_VA + page, 0))
        }
        "overlay-beyond" => overlay::show(1 << 52),
        "overlay-far" => overlay::far_tour(),
        "triple-fault" => cpu::odd(Odd::TripleFault, 0),
        "syscall-in-ring-0" => cpu::odd(Odd::Syscall, 0),
        "non-canonical" => load(1 << 63),
        "cr0-nw" => cpu::write_control(Control::Cr0, cpu::read_control(Control::Cr0) | CR0_NW),
        "cr4-la57" => cpu::write_control(Control::Cr4, cpu::read_control(Control::Cr4) ^ CR4_LA57),
        "cr4-reserved" => cpu::write_control(Control::Cr4, u64::MAX),
        "no-paging" => no_paging(shim),
        "doorbell-straddled" => cpu::port_write(DOORBELL_PORT - 1, Width::Word, 0),
        "doorbell-string" => cpu::port_string(DOORBELL_PORT, true, DIRECT_MAP_VA + shim.info.free_start, 1),
        "doorbell-in-ring-3" => ring_3(shim, &[0x66, 0xba, 0xd0, 0xc0, 0xee], IOPL_3),
        "fault-without-table" => cpu::odd(Odd::NoInterruptTable, 0).and_then(|()| ring_3(shim, &[0x0f, 0x0b], 2)),
        _ => return None,
    };
    Some(result)
}

/// Instructions of a hypervisor, and some that a child does not have.
fn instruction(variant: &str) -> End {
    const NAMES: [(&str, Odd); 14] = [
        ("vmcall", Odd::Vmcall),
        ("vmrun", Odd::Vmrun),
        ("vmload", Odd::Vmload),
        ("vmsave", Odd::Vmsave),
        ("stgi", Odd::Stgi),
        ("clgi", Odd::Clgi),
        ("skinit", Odd::Skinit),
        ("invlpga", Odd::Invlpga),
        ("invd", Odd::Invd),
        ("wbinvd", Odd::Wbinvd),
        ("rdpmc", Odd::Rdpmc),
        ("monitor", Odd::Monitor),
        ("mwait", Odd::Mwait),
        ("xsetbv", Odd::Xsetbv),
    ];
    let (_, instruction) = NAMES.into_iter().find(|(name, _)| *name == variant)?;
    Some(cpu::odd(instruction, PAGE))
}

/// Names that end in a number, in hexadecimal: an MSR, a port, a call code.
fn numbered(shim: &mut Shim, variant: &str) -> End {
    let (name, number) = variant.rsplit_once('-')?;
    let number = u32::from_str_radix(number, 16).ok()?;
    let page = shim.free.take_page();
    Some(match name {
        "read-msr" => cpu::read_msr(number).map(|_| ()),
        "write-msr" => cpu::write_msr(number, page | 1),
        "string-out" => cpu::port_string(u16::try_from(number).ok()?, true, DIRECT_MAP_VA + page, 4),
        "string-in" => cpu::port_string(u16::try_from(number).ok()?, false, DIRECT_MAP_VA + page, 4),
        _ => hypercall(shim, name, CallCode(u16::try_from(number).ok()?), page)?,
    })
}

/// A call in one of its forms. The input may be taken for the caller's own partition.
fn hypercall(shim: &mut Shim, form: &str, code: CallCode, input: u64) -> End {
    let plain = HypercallInput::new(code);
    let control = match form {
        "hypercall" => plain,
        "fast-hypercall" => plain.fast(),
        "rep-hypercall" => plain.with_reps(1, 0),
        _ => return None,
    };
    memory::write_word(input, u64::MAX);
    let output = shim.free.take_page();
    Some(cpu::hypercall(control.0, if plain == control { input } else { u64::MAX }, output, u64::MAX).map(|_| ()))
}

/// Leaves long mode and paging by 32-bit code in the child's memory, which rings and then faults.
fn no_paging(shim: &mut Shim) -> Result<(), Trap> {
    /// `mov eax, cr0; and eax, 0x7fffffff; mov cr0, eax; jmp +0; mov dx, DOORBELL_PORT; out dx, al; ud2`
    const CODE: [u8; 19] = [
        0x0f, 0x20, 0xc0, 0x25, 0xff, 0xff, 0xff, 0x7f, 0x0f, 0x22, 0xc0, 0xeb, 0x00, 0x66, 0xba, 0xd0, 0xc0, 0xee,
        0x90,
    ];
    let code = shim.free.take_page();
    memory::write(code, &CODE);
    memory::write(code + CODE.len() as u64, &[0x0f, 0x0b]);
    // Mapped where it is in physical memory.
    let [third, second, table] = [(); 3].map(|()| shim.free.take_page());
    memory::write_word(third, second | KERNEL);
    memory::write_word(second + (code >> 21 & 511) * 8, table | KERNEL);
    memory::write_word(table + (code >> 12 & 511) * 8, code | KERNEL);
    let space = space_with(shim, 0);
    memory::write_word(space, third | KERNEL);
    // A far pointer: 32-bit offset, selector of the 32-bit code segment.
    let pointer = shim.free.take_page();
    memory::write_word(pointer, code & 0xffff_ffff | u64::from(cpu::CODE_32) << 32);
    // A request that is answered: nothing in it is bad but where it comes from.
    shim.service.put(op::WINDOW_SIZE, 0, Frame::of(0, 0), &[], &[]);
    cpu::write_control(Control::Cr3, space).and_then(|()| cpu::odd(Odd::FarJump, DIRECT_MAP_VA + pointer))
}

/// Runs code in ring 3.
fn ring_3(shim: &mut Shim, code: &[u8], rflags: u64) -> Result<(), Trap> {
    let [third, second, table, page] = [(); 4].map(|()| shim.free.take_page());
    memory::write_word(third, second | USER);
    memory::write_word(second, table | USER);
    memory::write_word(table, page | USER);
    memory::write(page, code);
    let space = space_with(shim, third | USER);
    cpu::write_control(Control::Cr3, space)?;
    Err(cpu::run_user(&User { rip: SPARE_VA, rsp: SPARE_VA + PAGE, rflags, ..User::default() }))
}

/// Ends that the shim announces, in its own words.
fn word(shim: &mut Shim, variant: &str) -> End {
    match variant {
        "panic-noise" => shim.service.last_words(op::SHIM_PANIC, b"noise \xff\xfe\x1b[2J\x07\r\n\0end"),
        "panic-long" => shim.service.last_words(op::SHIM_PANIC, &[b'w'; MESSAGE_LEN - 64]),
        "panic-empty" => shim.service.last_words(op::SHIM_PANIC, &[]),
        "not-started" => {
            let end = NotStarted { code: 126, errno: u32::MAX };
            let _ = shim.service.call(op::NOT_STARTED, 0, &[end.as_bytes(), b"no \x1b[1mwords\xff"], &[]);
        }
        "exit-signal" => {
            let exit = Exit { signal: 64, address: u64::MAX, rip: u64::MAX, program_bytes: u64::MAX, status: 255 };
            shim.service.exit(&exit);
        }
        "exit-status" => shim.service.exit(&Exit { status: 255, program_bytes: u64::MAX, ..Exit::default() }),
        "wait-for-ever" => {
            let wait = Wait { deadline: u64::MAX, events: 0 };
            let _ = shim.service.call(op::WAIT, 0, &[wait.as_bytes()], &[]);
        }
        _ => return None,
    }
    Some(Ok(()))
}
