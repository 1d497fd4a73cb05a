//! Requests whose frame is good and whose content is not; the console; waiting; ends that are none.

use fuse_abi::linux::{fuse_init_in, fuse_init_out, fuse_opcode};
use linux_raw_sys::errno::{EFAULT, EINVAL, ENOSYS, ENOTTY, ESTALE};
use proto::layout::SHIM_BASE_GPA;
use proto::op::{self, ConsoleIo, Count, Exit, NotStarted, Wait, Woken, wait_events};
use proto::{GatePage, MAX_SEGMENTS, MESSAGE_LEN};
use tlfs::msr::HV_X64_MSR_TIME_REF_COUNT;
use zerocopy::IntoBytes;

use crate::memory::{self, LAST_PAGE, PAGE, gpa_of_image};
use crate::report::Tally;
use crate::service::{HEADER_LEN, segment};
use crate::{Shim, cpu};

/// The root directory's node.
const ROOT: u64 = 1;

pub(super) fn run(shim: &mut Shim) {
    let before = memory::image_sum();
    lengths(shim);
    unknown_opcodes(shim);
    init(shim);
    console(shim);
    segments_on_protocol_pages(shim);
    result_lies(shim);
    waits(shim);
    ends_that_are_none(shim);
    shim.expect("requests change no code", memory::image_sum(), before);
}

/// Arguments that are too short or too long, to each opcode that takes any.
fn lengths(shim: &mut Shim) {
    use fuse_opcode::*;
    const OPCODES: [fuse_opcode; 29] = [
        FUSE_INIT,
        FUSE_LOOKUP,
        FUSE_FORGET,
        FUSE_BATCH_FORGET,
        FUSE_GETATTR,
        FUSE_SETATTR,
        FUSE_SYMLINK,
        FUSE_MKNOD,
        FUSE_MKDIR,
        FUSE_UNLINK,
        FUSE_RMDIR,
        FUSE_RENAME,
        FUSE_RENAME2,
        FUSE_LINK,
        FUSE_OPEN,
        FUSE_CREATE,
        FUSE_READ,
        FUSE_WRITE,
        FUSE_LSEEK,
        FUSE_FALLOCATE,
        FUSE_FLUSH,
        FUSE_FSYNC,
        FUSE_FSYNCDIR,
        FUSE_RELEASE,
        FUSE_RELEASEDIR,
        FUSE_OPENDIR,
        FUSE_READDIR,
        FUSE_READDIRPLUS,
        FUSE_ACCESS,
    ];
    const OWN: [u32; 4] = [op::CONSOLE_WRITE, op::CONSOLE_READ, op::WAIT, op::EXIT];
    const LONG: [u8; 4000] = [1; 4000];
    let mut tally = Tally::new();
    for opcode in OPCODES.map(|opcode| opcode as u32).into_iter().chain(OWN) {
        for arguments in [&LONG[..0], &LONG[..1], &LONG[..5], &LONG[..]] {
            tally.expect(shim.service.call(opcode, ROOT, &[arguments], &[]), Err(EINVAL), "arguments");
        }
    }
    for opcode in [FUSE_STATFS as u32, FUSE_READLINK as u32, op::WINDOW_SIZE] {
        tally.expect(shim.service.call(opcode, ROOT, &[&LONG[..1]], &[]), Err(EINVAL), "no arguments");
    }
    let full = [0xa5; MESSAGE_LEN - HEADER_LEN];
    tally.expect(shim.service.call(0xffff_fff0, ROOT, &[&full], &[]), Err(ENOSYS), "the longest message");
    shim.report("requests: lengths", &tally);
}

fn unknown_opcodes(shim: &mut Shim) {
    let mut tally = Tally::new();
    let opcodes = (53..200).chain([0, 7, 19, 31, 32, 33, op::FIRST, op::NOT_STARTED + 1, u32::MAX, 1 << 31]);
    for opcode in opcodes {
        tally.expect(shim.service.call(opcode, ROOT, &[], &[]), Err(ENOSYS), "an unknown opcode");
    }
    shim.report("requests: opcodes", &tally);
}

fn init(shim: &mut Shim) {
    let wish = fuse_init_in {
        major: u32::MAX,
        minor: u32::MAX,
        max_readahead: u32::MAX,
        flags: u32::MAX,
        ..Default::default()
    };
    let answer = shim.service.call(fuse_opcode::FUSE_INIT as u32, 0, &[wish.as_bytes()], &[]);
    let mut tally = Tally::new();
    tally.expect(answer, Ok(size_of::<fuse_init_out>()), "INIT");
    tally.expect(shim.service.body::<fuse_init_out>(0).major, 7, "its version");
    shim.report("requests: INIT", &tally);
}

fn console(shim: &mut Shim) {
    let page = shim.free.take_page();
    let good = segment(page, 8);
    let mut tally = Tally::new();
    for stream in [0, 3, 7, u32::MAX] {
        tally.expect(shim.service.console_write_from(stream, &[good]), Err(EINVAL), "a stream");
    }
    tally.expect(shim.service.console_write_from(2, &[]), Ok(0), "no data");
    for gpa in [0, SHIM_BASE_GPA, shim.info.free_end, 1 << 45, LAST_PAGE] {
        tally.expect(shim.service.console_write_from(2, &[segment(gpa, 8)]), Err(EFAULT), "no memory");
    }
    let read = |shim: &mut Shim, stream: u32, segments: &[proto::Segment]| {
        let io = ConsoleIo { stream, reserved: 0 };
        shim.service.call(op::CONSOLE_READ, 0, &[io.as_bytes()], segments)
    };
    tally.expect(read(shim, 0, &[]), Err(EINVAL), "reading nothing");
    tally.expect(read(shim, 1, &[good]), Err(EINVAL), "reading output");
    tally.expect(read(shim, u32::MAX, &[good]), Err(EINVAL), "reading a stream");
    tally.expect(shim.service.call(op::WINDOW_SIZE, 0, &[], &[]), Err(ENOTTY), "no terminal");
    shim.report("requests: console", &tally);
}

/// The root copies a request once: data that goes over the request itself, the gate page or shared pages harms nobody.
fn segments_on_protocol_pages(shim: &mut Shim) {
    let service = shim.info.service_gpa;
    let mut tally = Tally::new();
    for page in 0..proto::SERVICE_PAGES as u64 {
        let segments = [segment(service + page * PAGE, 4096); MAX_SEGMENTS];
        let answer = shim.service.call(op::RANDOM, 0, &[], &segments);
        tally.expect(answer, Ok(size_of::<Count>()), "RANDOM over the request");
        tally.expect(shim.service.body::<Count>(0).bytes, MAX_SEGMENTS as u64 * PAGE, "its count");
    }
    let data = shim.service.call(op::RANDOM, 0, &[], &[segment(shim.info.gate_gpa, 4096)]);
    tally.expect(data, Ok(8), "RANDOM over the gate page");
    for gpa in [memory::victim_code(), memory::victim_constants()].map(gpa_of_image) {
        // Reading shared pages is fine: the child has them.
        tally.expect(shim.service.console_write_from(2, &[segment(gpa, 0x7f)]).is_ok(), true, "writing out a page");
        tally.expect(shim.service.call(op::RANDOM, 0, &[], &[segment(gpa, 1)]), Err(EFAULT), "RANDOM over it");
    }
    memory::write(shim.info.gate_gpa, &[0; 4096]);
    shim.report("requests: protocol pages", &tally);
}

/// What a shim says of results counts for nothing, and may be anything.
fn result_lies(shim: &mut Shim) {
    let count = shim.info.gate_gpa + core::mem::offset_of!(GatePage, result_count) as u64;
    let mut tally = Tally::new();
    for lie in [1, 64, 65, 1 << 40, u64::MAX, 0, u64::MAX - 1, 1 << 63, 3, 2, 1, 0] {
        memory::write_word(count, lie);
        tally.expect(shim.service.call(op::WINDOW_SIZE, 0, &[], &[]), Err(ENOTTY), "a request");
    }
    shim.report("requests: results", &tally);
}

fn waits(shim: &mut Shim) {
    let mut tally = Tally::new();
    let wait = |shim: &mut Shim, deadline, events| {
        let wait = Wait { deadline, events };
        shim.service.call(op::WAIT, 0, &[wait.as_bytes()], &[])
    };
    for events in [wait_events::ANSWER << 1, u64::MAX, 1 << 63] {
        tally.expect(wait(shim, 0, events), Err(EINVAL), "unknown events");
    }
    let Ok(now) = cpu::read_msr(HV_X64_MSR_TIME_REF_COUNT) else { panic!("the clock") };
    for deadline in [0, 1, now, now + 200_000] {
        tally.expect(wait(shim, deadline, 0), Ok(size_of::<Woken>()), "a wait");
        tally.expect(shim.service.body::<Woken>(0).events, 0, "its end");
    }
    let later = cpu::read_msr(HV_X64_MSR_TIME_REF_COUNT);
    tally.check(later.is_ok_and(|later| later >= now + 200_000), "it is otherwise");
    shim.report("requests: waits", &tally);
}

/// An end must make sense, or it is none.
fn ends_that_are_none(shim: &mut Shim) {
    let mut tally = Tally::new();
    let exits = [(256, 0), (u32::MAX, 0), (0, 65), (0, u32::MAX), (u32::MAX, u32::MAX)];
    for (status, signal) in exits {
        let exit = Exit { status, signal, program_bytes: u64::MAX, ..Exit::default() };
        tally.expect(shim.service.call(op::EXIT, 0, &[exit.as_bytes()], &[]), Err(EINVAL), "EXIT");
    }
    for code in [0, 1, 125, 128, 126 + 256, u32::MAX] {
        let end = NotStarted { code, errno: u32::MAX };
        let answer = shim.service.call(op::NOT_STARTED, 0, &[end.as_bytes(), &[0xff; 64]], &[]);
        tally.expect(answer, Err(EINVAL), "NOT_STARTED");
    }
    for _ in 0..3 {
        tally.expect(shim.service.call(op::STARTED, 0, &[], &[]), Ok(0), "STARTED again");
    }
    let lookup = fuse_opcode::FUSE_LOOKUP as u32;
    tally.expect(shim.service.call(lookup, u64::MAX, &[b"x\0"], &[]), Err(ESTALE), "a node");
    shim.report("requests: ends that are none", &tally);
}
