//! What a shim tells of threads, processes and programs, and what the root tells of files that it makes: false, broken, without end, and by names that are to be more
//! than names ([`super::names`]). The runner looks at what was written down of it.

use fuse_abi::linux::{
    fuse_entry_out, fuse_mkdir_in, fuse_opcode, fuse_open_in, fuse_open_out, fuse_release_in, fuse_rename_in,
};
use linux_raw_sys::errno::EINVAL;
use linux_raw_sys::general as linux;
use proto::op::{ENDED, EXECUTED, Ended, Executed, MAX_TOLD, MAX_TOLD_ARGUMENTS, THREAD_STARTED, ThreadStarted};
use zerocopy::IntoBytes;

use super::files::{ROOT, call, create, lookup, write};
use super::names::NAMES;
use crate::Shim;
use crate::report::{Tally, Text};
use crate::rng::Rng;
use crate::service::Answer;

/// Numbers of threads and processes that nobody has, and of those that somebody may have.
const NUMBERS: [u32; 9] = [0, 1, 2, 3, 99_999, 100_002, 1 << 31, u32::MAX - 1, u32::MAX];
/// Files that are left open.
const LEFT_OPEN: u32 = 4000;

pub(super) fn run(shim: &mut Shim, variant: &str) {
    if variant == "open" {
        return left_open(shim);
    }
    lengths(shim);
    numbers(shim);
    arguments(shim);
    programs(shim);
    files(shim);
    by_chance(shim);
}

fn started(shim: &mut Shim, thread: u32, process: u32, parent: u32) -> Answer {
    let told = ThreadStarted { thread, process, parent, reserved: u32::MAX };
    shim.service.call(THREAD_STARTED, u64::MAX, &[told.as_bytes()], &[])
}

fn ended(shim: &mut Shim, process: u32, thread: u32, status: u32) -> Answer {
    let told = Ended { process, thread, status, reserved: u32::MAX };
    shim.service.call(ENDED, u64::MAX, &[told.as_bytes()], &[])
}

/// With these pieces of its arguments, which hold their ends themselves.
fn executed(shim: &mut Shim, node: u64, (process, argc): (u32, u32), arguments: &[&[u8]]) -> Answer {
    const MOST: usize = 2 * MAX_TOLD_ARGUMENTS + 3;
    let told = Executed { process, argc };
    let mut parts: [&[u8]; MOST] = [&[]; MOST];
    let all = [told.as_bytes()].into_iter().chain(arguments.iter().copied());
    parts.iter_mut().zip(all).for_each(|(place, part)| *place = part);
    shim.service.call(EXECUTED, node, &parts, &[])
}

fn lengths(shim: &mut Shim) {
    let mut tally = Tally::new();
    for (opcode, len) in
        [(THREAD_STARTED, size_of::<ThreadStarted>()), (EXECUTED, size_of::<Executed>()), (ENDED, size_of::<Ended>())]
    {
        let bytes = [0xff; 64];
        for len in 0..len {
            let answer = shim.service.call(opcode, ROOT, &[&bytes[..len]], &[]);
            tally.expect(answer, Err(EINVAL), format_args!("{opcode:#x} of {len} bytes"));
        }
        let answer = shim.service.call(opcode, ROOT, &[&bytes[..=len]], &[]);
        tally.expect(answer, Err(EINVAL), format_args!("{opcode:#x} with a byte more"));
    }
    shim.report("told: lengths", &tally);
}

/// Threads and processes that were never there, or twice, below themselves, or ended before they began.
fn numbers(shim: &mut Shim) {
    let mut tally = Tally::new();
    for number in NUMBERS {
        tally.expect(ended(shim, number, number, u32::MAX), Ok(0), "the end of a thread");
        tally.expect(ended(shim, number, 0, number), Ok(0), "the end of a process");
        for other in NUMBERS {
            tally.expect(started(shim, number, other, number), Ok(0), "a thread");
            tally.expect(started(shim, other, other, number), Ok(0), "a process");
        }
        tally.expect(executed(shim, u64::from(number), (number, number), &[]), Ok(0), "a program");
    }
    shim.report("told: numbers", &tally);
}

/// More arguments than are told, none at all, long ones, ones without an end.
fn arguments(shim: &mut Shim) {
    const LONG: [u8; 4 * MAX_TOLD] = [b'l'; 4 * MAX_TOLD];
    let mut tally = Tally::new();
    for count in [0, 1, MAX_TOLD_ARGUMENTS, MAX_TOLD_ARGUMENTS + 1] {
        let wanted = if count > MAX_TOLD_ARGUMENTS { Err(EINVAL) } else { Ok(0) };
        let strings = [b"\0".as_slice(); MAX_TOLD_ARGUMENTS + 1];
        let answer = executed(shim, ROOT, (2, 0), &strings[..count]);
        tally.expect(answer, wanted, format_args!("{count} empty arguments"));
    }
    for strings in [&[&LONG[..], b"\0"][..], &[&LONG[..MAX_TOLD], b"\0"], &[&LONG[..MAX_TOLD - 1], b"\xf0\x9f\0"]] {
        tally.expect(executed(shim, ROOT, (2, u32::MAX), strings), Ok(0), "a long argument");
    }
    tally.expect(executed(shim, ROOT, (2, 1), &[b"endless"]), Err(EINVAL), "an argument without an end");
    shim.report("told: arguments", &tally);
}

/// Programs by names that are to be more than names.
fn programs(shim: &mut Shim) {
    let mut tally = Tally::new();
    for (process, name) in (10..).zip(NAMES) {
        tally.expect(started(shim, process, process, 2), Ok(0), "a process");
        let words = [name, b"\0", b"-c\0", name, b"\0"];
        tally.expect(executed(shim, ROOT, (process, 3), &words), Ok(0), "a program");
    }
    let mut all: [&[u8]; 2 * MAX_TOLD_ARGUMENTS] = [b"\0"; 2 * MAX_TOLD_ARGUMENTS];
    all.iter_mut().step_by(2).zip(NAMES.into_iter().cycle()).for_each(|(place, name)| *place = name);
    tally.expect(executed(shim, ROOT, (9, 400), &all), Ok(0), "all of them");
    shim.report("told: programs", &tally);
}

/// Files by such names: made, written to, renamed, linked to, taken away.
fn files(shim: &mut Shim) {
    use fuse_opcode::{FUSE_RENAME, FUSE_SYMLINK, FUSE_UNLINK};
    let mut tally = Tally::new();
    let page = shim.free.take_page();
    let tmp = lookup(shim, ROOT, b"tmp\0").unwrap_or_else(|errno| panic!("no /tmp: {errno}"));
    for name in NAMES.into_iter().filter(|name| !name.contains(&b'/')) {
        let mut whole = Text::<MAX_TOLD>::new();
        name.iter().for_each(|byte| whole.push(*byte));
        whole.push(0);
        let (node, fh) = match create(shim, tmp, whole.as_bytes()) {
            Ok(made) => made,
            Err(errno) => {
                tally.check(false, format_args!("CREATE of {name:x?}: {errno}"));
                continue;
            }
        };
        tally.expect(write(shim, fh, 0, page, 9), Ok(9), "WRITE");
        let release = fuse_release_in { fh, ..Default::default() };
        tally.expect(call(shim, fuse_opcode::FUSE_RELEASE, node, &[release.as_bytes()]), Ok(0), "RELEASE");
        tally.expect(executed(shim, node, (2, 1), &[name, b"\0"]), Ok(0), "a program");
        let rename = fuse_rename_in { newdir: tmp };
        let names = [rename.as_bytes(), name, b"\0", name, b"2\0"];
        tally.expect(call(shim, FUSE_RENAME, tmp, &names), Ok(0), "RENAME");
        let linked = call(shim, FUSE_SYMLINK, tmp, &[name, b"\0", name, b"\0"]);
        tally.check(linked.is_ok(), format_args!("SYMLINK: {linked:?}"));
        tally.expect(call(shim, FUSE_UNLINK, tmp, &[name, b"2\0"]), Ok(0), "UNLINK");
    }
    shim.report("told: files", &tally);
}

/// Anything about anybody, more of it than anyone keeps.
fn by_chance(shim: &mut Shim) {
    let mut rng = Rng::new(0x746f_6c64);
    let mut tally = Tally::new();
    for _ in 0..5000 {
        let mut bytes = [0; 512];
        rng.fill(&mut bytes);
        let len = usize::try_from(rng.below(512)).unwrap_or(0);
        let (opcode, node) = (rng.pick(&[THREAD_STARTED, EXECUTED, ENDED]), rng.below(8));
        let answer = shim.service.call(opcode, node, &[&bytes[..len]], &[]);
        tally.check(matches!(answer, Ok(0) | Err(EINVAL)), format_args!("{opcode:#x} of {len} bytes: {answer:?}"));
        tally.expect(started(shim, rng.word(), rng.word(), rng.word()), Ok(0), "a thread");
        let process = rng.word();
        tally.expect(started(shim, process, process, rng.word()), Ok(0), "a process");
    }
    shim.report("told: by chance", &tally);
}

/// A file with a long path that is opened again and again, written to each time, and never closed: of each there is something to tell at the end.
fn left_open(shim: &mut Shim) {
    const NAME: [u8; 250] = [b'n'; 250];
    let mut tally = Tally::new();
    let mut node = lookup(shim, ROOT, b"tmp\0").unwrap_or_else(|errno| panic!("no /tmp: {errno}"));
    for _ in 0..15 {
        let mkdir = fuse_mkdir_in { mode: 0o700, umask: 0 };
        let made = call(shim, fuse_opcode::FUSE_MKDIR, node, &[mkdir.as_bytes(), &NAME, b"\0"]);
        tally.check(made.is_ok(), format_args!("MKDIR: {made:?}"));
        call(shim, fuse_opcode::FUSE_LOOKUP, node, &[&NAME, b"\0"]).unwrap_or_else(|errno| panic!("LOOKUP: {errno}"));
        node = shim.service.body::<fuse_entry_out>(0).nodeid;
    }
    let page = shim.free.take_page();
    let (file, _) = create(shim, node, b"file\0").unwrap_or_else(|errno| panic!("CREATE: {errno}"));
    for _ in 0..LEFT_OPEN {
        let wish = fuse_open_in { flags: linux::O_WRONLY, open_flags: 0 };
        let opened = call(shim, fuse_opcode::FUSE_OPEN, file, &[wish.as_bytes()]);
        tally.check(opened.is_ok(), format_args!("OPEN: {opened:?}"));
        let fh = shim.service.body::<fuse_open_out>(0).fh;
        tally.expect(write(shim, fh, 0, page, 1), Ok(1), "WRITE");
    }
    shim.report("told: files that are left open", &tally);
}
