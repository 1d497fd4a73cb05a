//! The window: mappings that the root must not make, and what becomes of those that it made.

use fuse_abi::linux::{
    fuse_opcode, fuse_open_in, fuse_open_out, fuse_removemapping_in, fuse_removemapping_one, fuse_setupmapping_in,
};
use linux_raw_sys::errno::{EACCES, EBADF, EEXIST, EFAULT, EINVAL, EOPNOTSUPP};
use linux_raw_sys::general as linux;
use proto::layout::{DIRECT_MAP_VA, WINDOW_SLOT};
use zerocopy::IntoBytes;

use super::files::{ROOT, call, create, lookup, read};
use crate::Shim;
use crate::cpu::{self, Trap};
use crate::memory::{self, PAGE};
use crate::report::Tally;
use crate::service::{Answer, segment};

/// FUSE_SETUPMAPPING_FLAG_WRITE and FUSE_SETUPMAPPING_FLAG_READ.
const WRITE: u64 = 1;
const READ: u64 = 2;

/// Opens the program, which is a file of the lower layer.
fn open_program(shim: &mut Shim) -> u64 {
    let usr = lookup(shim, ROOT, b"usr\0").unwrap_or(ROOT);
    let bin = lookup(shim, usr, b"bin\0").or_else(|_| lookup(shim, ROOT, b"bin\0"));
    let node = bin.and_then(|bin| lookup(shim, bin, b"true\0")).unwrap_or_else(|errno| panic!("the program: {errno}"));
    let wish = fuse_open_in { flags: linux::O_RDONLY, open_flags: 0 };
    let opened = call(shim, fuse_opcode::FUSE_OPEN, node, &[wish.as_bytes()]);
    opened.unwrap_or_else(|errno| panic!("opening the program: {errno}"));
    shim.service.body::<fuse_open_out>(0).fh
}

fn set_up(shim: &mut Shim, wish: &fuse_setupmapping_in) -> Answer {
    call(shim, fuse_opcode::FUSE_SETUPMAPPING, 0, &[wish.as_bytes()])
}

fn remove(shim: &mut Shim, moffset: u64, len: u64) -> Answer {
    let list = (fuse_removemapping_in { count: 1 }, fuse_removemapping_one { moffset, len });
    call(shim, fuse_opcode::FUSE_REMOVEMAPPING, 0, &[list.0.as_bytes(), list.1.as_bytes()])
}

pub(super) fn run(shim: &mut Shim) {
    let fh = open_program(shim);
    refusals(shim, fh);
    contents(shim, fh);
    floods(shim, fh);
}

fn refusals(shim: &mut Shim, fh: u64) {
    let mut tally = Tally::new();
    let len = shim.info.window_len;
    let good = fuse_setupmapping_in { fh, foffset: 0, len: PAGE, flags: READ, moffset: 0 };
    tally.expect(set_up(shim, &good), Ok(0), "a good one");
    let bad = [
        (fuse_setupmapping_in { ..good }, EEXIST, "a slot in use"),
        (fuse_setupmapping_in { moffset: PAGE, ..good }, EINVAL, "within a slot"),
        (fuse_setupmapping_in { moffset: 1, ..good }, EINVAL, "within a page"),
        (fuse_setupmapping_in { moffset: len, ..good }, EINVAL, "behind the window"),
        (fuse_setupmapping_in { moffset: !(WINDOW_SLOT - 1), ..good }, EINVAL, "the last slot of all"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, foffset: 1, ..good }, EOPNOTSUPP, "a file offset within a page"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, len: 1, ..good }, EOPNOTSUPP, "a part of a page"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, len: 0, ..good }, EINVAL, "nothing"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, len: 2 * WINDOW_SLOT, ..good }, EINVAL, "two slots"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, len: u64::MAX, ..good }, EINVAL, "everything"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, foffset: 1 << 30, ..good }, EINVAL, "behind the file"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, foffset: !(PAGE - 1), ..good }, EINVAL, "the end of numbers"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, flags: WRITE, ..good }, EACCES, "to write"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, flags: READ | WRITE, ..good }, EACCES, "to read and write"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, flags: 0, ..good }, EACCES, "for nothing"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, flags: u64::MAX, ..good }, EACCES, "for everything"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, fh: fh + 1000, ..good }, EBADF, "no handle"),
        (fuse_setupmapping_in { moffset: WINDOW_SLOT, fh: 0, ..good }, EBADF, "handle 0"),
    ];
    for (wish, errno, what) in bad {
        tally.expect(set_up(shim, &wish), Err(errno), what);
    }
    let (_, made) = lookup(shim, ROOT, b"tmp\0").and_then(|tmp| create(shim, tmp, b"mapped\0")).unwrap_or_default();
    let own = fuse_setupmapping_in { fh: made, moffset: WINDOW_SLOT, ..good };
    tally.expect(set_up(shim, &own), Err(EOPNOTSUPP), "a file of the upper layer");
    for (moffset, len) in [(WINDOW_SLOT, PAGE), (0, 2 * PAGE), (0, 0), (PAGE, PAGE), (u64::MAX, PAGE), (len, PAGE)] {
        tally.expect(remove(shim, moffset, len), Err(EINVAL), format_args!("removing {len:#x} at {moffset:#x}"));
    }
    let lie = fuse_removemapping_in { count: u32::MAX };
    tally.expect(call(shim, fuse_opcode::FUSE_REMOVEMAPPING, 0, &[lie.as_bytes()]), Err(EINVAL), "a list without end");
    tally.expect(remove(shim, 0, PAGE), Ok(0), "removing it");
    tally.expect(remove(shim, 0, PAGE), Err(EINVAL), "removing it again");
    shim.report("window: refusals", &tally);
}

/// What is shown is the file, and no service writes there.
fn contents(shim: &mut Shim, fh: u64) {
    let mut tally = Tally::new();
    let page = shim.free.take_page();
    let window = shim.info.window_gpa;
    let wish = fuse_setupmapping_in { fh, foffset: 0, len: PAGE, flags: READ, moffset: 0 };
    tally.expect(set_up(shim, &wish), Ok(0), "a good one");
    tally.expect(read(shim, fh, 0, page, 4096), Ok(4096), "reading the same");
    for offset in (0..PAGE).step_by(8) {
        let shown = cpu::load(DIRECT_MAP_VA + window + offset);
        tally.expect(shown, Ok(memory::read(page + offset)), format_args!("offset {offset:#x}"));
    }
    tally.expect(read(shim, fh, 0, window, 4096), Err(EFAULT), "reading into the window");
    tally.expect(read(shim, fh, 0, window + PAGE, 4096), Err(EFAULT), "reading behind what is shown");
    let from = [segment(window + PAGE, 8)];
    tally.expect(shim.service.console_write_from(1, &from), Err(EFAULT), "writing from behind what is shown");
    tally.expect(remove(shim, 0, PAGE), Ok(0), "removing it");
    shim.report("window: contents", &tally);
}

/// All slots, again and again.
fn floods(shim: &mut Shim, fh: u64) {
    let mut tally = Tally::new();
    let slots = shim.info.window_len / WINDOW_SLOT;
    for _ in 0..3 {
        for slot in 0..slots {
            let moffset = slot * WINDOW_SLOT;
            let wish = fuse_setupmapping_in { fh, foffset: 0, len: PAGE, flags: READ, moffset };
            tally.expect(set_up(shim, &wish), Ok(0), format_args!("slot {slot}"));
        }
        for slot in 0..slots {
            tally.expect(remove(shim, slot * WINDOW_SLOT, PAGE), Ok(0), format_args!("slot {slot}"));
        }
    }
    shim.report("window: floods", &tally);
}

/// What ends the sandbox: a write to what is shown, and reads of what is not.
pub(super) fn ending(shim: &mut Shim, variant: &str) -> Option<Result<(), Trap>> {
    let address = DIRECT_MAP_VA + shim.info.window_gpa;
    let shown = matches!(variant, "window-write" | "window-behind" | "window-removed");
    if shown {
        let fh = open_program(shim);
        let wish = fuse_setupmapping_in { fh, foffset: 0, len: PAGE, flags: READ, moffset: 0 };
        set_up(shim, &wish).unwrap_or_else(|errno| panic!("a mapping: {errno}"));
        cpu::load(address).unwrap_or_else(|trap| panic!("what is shown: {trap}"));
    }
    match variant {
        "window-write" => Some(cpu::store(address, 0)),
        "window-empty" => Some(cpu::load(address).map(|_| ())),
        "window-behind" => Some(cpu::load(address + PAGE).map(|_| ())),
        "window-removed" => {
            remove(shim, 0, PAGE).unwrap_or_else(|errno| panic!("removing: {errno}"));
            Some(cpu::load(address).map(|_| ()))
        }
        _ => None,
    }
}
