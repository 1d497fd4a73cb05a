//! More than anyone needs, of everything that costs the root memory: each flood ends with an error, and the root goes on.

use fuse_abi::linux::{fuse_forget_in, fuse_mkdir_in, fuse_opcode, fuse_open_in, fuse_release_in, fuse_write_in};
use linux_raw_sys::errno::{EMLINK, ENAMETOOLONG, ENFILE, ENOSPC};
use proto::op::{ConsoleIo, Count};
use proto::{MAX_SEGMENTS, op};
use zerocopy::IntoBytes;

use super::files::{ROOT, call, create, lookup, read, write};
use crate::memory;
use crate::report::{Tally, Text};
use crate::rng::Rng;
use crate::service::segment;
use crate::{Shim, cases};

/// Most attempts before a flood is taken for one without end.
const MANY: u32 = 1 << 20;

type Flood = fn(&mut Shim);

/// Bytes of a request with all the segments there are.
const ALL: u32 = 256 << 10;
const _: () = assert!(ALL as usize == MAX_SEGMENTS * 4096);

/// Runs the flood of this name, or all.
pub(super) fn run(shim: &mut Shim, variant: &str) {
    let floods: [(&str, Flood); 8] = [
        ("lookups", lookups),
        ("handles", handles),
        ("files", files),
        ("deep", deep),
        ("links", links),
        ("bytes", bytes),
        ("holes", holes),
        ("console", console),
    ];
    for (name, flood) in floods {
        if variant.is_empty() || variant == name {
            flood(shim);
        }
    }
    cases::memory::touch_some(shim, "memory after the floods");
}

fn tmp(shim: &mut Shim) -> u64 {
    lookup(shim, ROOT, b"tmp\0").unwrap_or_else(|errno| panic!("no /tmp: {errno}"))
}

/// `number` as a name with its NUL.
fn name(number: u32) -> Text<16> {
    let mut text = Text::new();
    // It fits.
    let _ = core::fmt::Write::write_fmt(&mut text, format_args!("f{number}\0"));
    text
}

/// Counts how often `attempt` succeeds, and wants it to end with one of `errnos`.
fn until_refused(
    shim: &mut Shim,
    what: &str,
    errnos: &[u32],
    mut attempt: impl FnMut(&mut Shim, u32) -> Result<(), u32>,
) {
    let mut tally = Tally::new();
    let mut made = 0;
    let end = loop {
        match attempt(shim, made) {
            Ok(()) if made < MANY => made += 1,
            Ok(()) => break None,
            Err(errno) => break Some(errno),
        }
    };
    tally.check(end.is_some_and(|errno| errnos.contains(&errno)), format_args!("after {made} the end was {end:?}"));
    shim.report(what, &tally);
}

/// The same name again and again, without a FORGET.
fn lookups(shim: &mut Shim) {
    let mut tally = Tally::new();
    for _ in 0..20_000 {
        tally.expect(lookup(shim, ROOT, b"tmp\0").is_ok(), true, "LOOKUP");
    }
    let tmp = tmp(shim);
    let forget = fuse_forget_in { nlookup: 1 };
    for _ in 0..20_000 {
        tally.expect(call(shim, fuse_opcode::FUSE_FORGET, tmp, &[forget.as_bytes()]), Ok(0), "FORGET");
    }
    shim.report("flood: lookups", &tally);
}

/// One directory, opened until no more can be.
fn handles(shim: &mut Shim) {
    let tmp = tmp(shim);
    let mut last = 0;
    until_refused(shim, "flood: handles", &[ENFILE], |shim, made| {
        let open = fuse_open_in::default();
        call(shim, fuse_opcode::FUSE_OPENDIR, tmp, &[open.as_bytes()])?;
        last = made + 1;
        Ok(())
    });
    let mut tally = Tally::new();
    for fh in 1..=u64::from(last) {
        let release = fuse_release_in { fh, ..Default::default() };
        tally.expect(call(shim, fuse_opcode::FUSE_RELEASEDIR, 0, &[release.as_bytes()]), Ok(0), "RELEASEDIR");
    }
    shim.report("flood: handles back", &tally);
}

/// Empty files, until there is no room for one more; then all are taken away.
fn files(shim: &mut Shim) {
    let tmp = tmp(shim);
    let mut last = 0;
    until_refused(shim, "flood: files", &[ENOSPC, ENFILE], |shim, made| {
        let (_, fh) = create(shim, tmp, name(made).as_bytes())?;
        last = made + 1;
        let release = fuse_release_in { fh, ..Default::default() };
        call(shim, fuse_opcode::FUSE_RELEASE, 0, &[release.as_bytes()]).map(|_| ())
    });
    let mut tally = Tally::new();
    let forget = fuse_forget_in { nlookup: u64::MAX };
    for number in 0..last {
        let node = lookup(shim, tmp, name(number).as_bytes());
        tally.check(node.is_ok(), format_args!("LOOKUP: {node:?}"));
        let answer = call(shim, fuse_opcode::FUSE_UNLINK, tmp, &[name(number).as_bytes()]);
        tally.expect(answer, Ok(0), "UNLINK");
        let answer = call(shim, fuse_opcode::FUSE_FORGET, node.unwrap_or(0), &[forget.as_bytes()]);
        tally.expect(answer, Ok(0), "FORGET");
    }
    tally.check(create(shim, tmp, b"again\0").is_ok(), "there is no room again");
    shim.report("flood: files back", &tally);
}

/// Directories in directories.
fn deep(shim: &mut Shim) {
    let mut node = tmp(shim);
    until_refused(shim, "flood: deep directories", &[ENOSPC, ENFILE, ENAMETOOLONG, EMLINK], |shim, _| {
        let mkdir = fuse_mkdir_in { mode: 0o700, umask: 0 };
        call(shim, fuse_opcode::FUSE_MKDIR, node, &[mkdir.as_bytes(), b"d\0"])?;
        node = lookup(shim, node, b"d\0")?;
        Ok(())
    });
}

/// Symbolic links with long targets.
fn links(shim: &mut Shim) {
    const TARGET: [u8; 4000] = [b't'; 4000];
    let tmp = tmp(shim);
    until_refused(shim, "flood: symbolic links", &[ENOSPC, ENFILE], |shim, made| {
        let linked = name(made);
        call(shim, fuse_opcode::FUSE_SYMLINK, tmp, &[b"s", linked.as_bytes(), &TARGET, b"\0"]).map(|_| ())
    });
    let mut tally = Tally::new();
    for number in 0..MANY {
        let answer = call(shim, fuse_opcode::FUSE_UNLINK, tmp, &[b"s", name(number).as_bytes()]);
        if answer.is_err() {
            break;
        }
        tally.expect(answer, Ok(0), "UNLINK");
    }
    shim.report("flood: symbolic links back", &tally);
}

/// One file that grows until the layer is full.
fn bytes(shim: &mut Shim) {
    let tmp = tmp(shim);
    let page = shim.free.take_page();
    let Ok((_, fh)) = create(shim, tmp, b"bytes\0") else {
        shim.expect("flood: bytes", "no file", "a file");
        return;
    };
    let segments = [segment(page, 4096); MAX_SEGMENTS];
    until_refused(shim, "flood: bytes", &[ENOSPC], |shim, made| {
        let offset = u64::from(made) * u64::from(ALL);
        let wish = fuse_write_in { fh, offset, size: ALL, ..Default::default() };
        shim.service.call(fuse_opcode::FUSE_WRITE as u32, 0, &[wish.as_bytes()], &segments).map(|_| ())
    });
    let mut tally = Tally::new();
    tally.expect(call(shim, fuse_opcode::FUSE_UNLINK, tmp, &[b"bytes\0"]), Ok(0), "UNLINK");
    let release = fuse_release_in { fh, ..Default::default() };
    tally.expect(call(shim, fuse_opcode::FUSE_RELEASE, 0, &[release.as_bytes()]), Ok(0), "RELEASE");
    shim.report("flood: bytes back", &tally);
}

/// Single bytes far from each other: each costs a page.
fn holes(shim: &mut Shim) {
    let tmp = tmp(shim);
    let page = shim.free.take_page();
    let Ok((_, fh)) = create(shim, tmp, b"holes\0") else {
        shim.expect("flood: holes", "no file", "a file");
        return;
    };
    let mut rng = Rng::new(0x686f_6c65);
    until_refused(shim, "flood: holes", &[ENOSPC], |shim, _| {
        write(shim, fh, rng.below(1 << 46) & !0xfff, page, 1).map(|_| ())
    });
    let mut tally = Tally::new();
    tally.expect(read(shim, fh, 0, page, 1).is_ok(), true, "READ");
    tally.expect(call(shim, fuse_opcode::FUSE_UNLINK, tmp, &[b"holes\0"]), Ok(0), "UNLINK");
    let release = fuse_release_in { fh, ..Default::default() };
    tally.expect(call(shim, fuse_opcode::FUSE_RELEASE, 0, &[release.as_bytes()]), Ok(0), "RELEASE");
    shim.report("flood: holes back", &tally);
}

/// 16 MiB of output to standard error.
fn console(shim: &mut Shim) {
    let page = shim.free.take_page();
    memory::write(page, &[b'.'; 4096]);
    memory::write(page + 4095, b"\n");
    let io = ConsoleIo { stream: 2, reserved: 0 };
    let segments = [segment(page, 4096); MAX_SEGMENTS];
    let mut tally = Tally::new();
    for _ in 0..64 {
        let answer = shim.service.call(op::CONSOLE_WRITE, 0, &[io.as_bytes()], &segments);
        tally.expect(answer, Ok(size_of::<Count>()), "CONSOLE_WRITE");
        tally.expect(shim.service.body::<Count>(0).bytes, u64::from(ALL), "its count");
    }
    shim.report("flood: console", &tally);
}
