//! Files: nodes and handles that were never given, names that are none, offsets at the end of numbers.

use fuse_abi::linux::{
    fuse_access_in, fuse_batch_forget_in, fuse_create_in, fuse_entry_out, fuse_fallocate_in, fuse_flush_in,
    fuse_forget_in, fuse_forget_one, fuse_fsync_in, fuse_getattr_in, fuse_link_in, fuse_lseek_in, fuse_mkdir_in,
    fuse_mknod_in, fuse_opcode, fuse_open_in, fuse_open_out, fuse_read_in, fuse_release_in, fuse_rename_in,
    fuse_rename2_in, fuse_setattr_in, fuse_write_in, fuse_write_out,
};
use linux_raw_sys::errno::{EACCES, EBADF, EFAULT, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, EPERM, ESTALE};
use linux_raw_sys::general as linux;
use zerocopy::IntoBytes;

use crate::Shim;
use crate::memory::{self, LAST_PAGE, gpa_of_image};
use crate::report::Tally;
use crate::service::{Answer, segment};

/// The root directory's node.
pub(super) const ROOT: u64 = 1;

/// A request that needs no segments.
pub(super) fn call(shim: &mut Shim, opcode: fuse_opcode, node: u64, arguments: &[&[u8]]) -> Answer {
    shim.service.call(opcode as u32, node, arguments, &[])
}

/// Looks a name (with its NUL) up: the node.
pub(super) fn lookup(shim: &mut Shim, node: u64, name: &[u8]) -> Result<u64, u32> {
    call(shim, fuse_opcode::FUSE_LOOKUP, node, &[name])?;
    Ok(shim.service.body::<fuse_entry_out>(0).nodeid)
}

/// Makes a file and opens it for both: node and handle.
pub(super) fn create(shim: &mut Shim, node: u64, name: &[u8]) -> Result<(u64, u64), u32> {
    let wish = fuse_create_in { flags: linux::O_RDWR, mode: 0o600, umask: 0, open_flags: 0 };
    call(shim, fuse_opcode::FUSE_CREATE, node, &[wish.as_bytes(), name])?;
    let entry: fuse_entry_out = shim.service.body(0);
    let open: fuse_open_out = shim.service.body(size_of::<fuse_entry_out>());
    Ok((entry.nodeid, open.fh))
}

/// Writes one segment to a file.
pub(super) fn write(shim: &mut Shim, fh: u64, offset: u64, gpa: u64, len: u32) -> Result<u32, u32> {
    let wish = fuse_write_in { fh, offset, size: len, ..Default::default() };
    let segments = [segment(gpa, len as usize)];
    shim.service.call(fuse_opcode::FUSE_WRITE as u32, 0, &[wish.as_bytes()], &segments)?;
    Ok(shim.service.body::<fuse_write_out>(0).size)
}

/// Reads one segment from a file.
pub(super) fn read(shim: &mut Shim, fh: u64, offset: u64, gpa: u64, len: u32) -> Result<u32, u32> {
    let wish = fuse_read_in { fh, offset, size: len, ..Default::default() };
    let segments = [segment(gpa, len as usize)];
    shim.service.call(fuse_opcode::FUSE_READ as u32, 0, &[wish.as_bytes()], &segments)?;
    Ok(shim.service.body::<fuse_write_out>(0).size)
}

pub(super) fn run(shim: &mut Shim) {
    let before = memory::image_sum();
    nodes(shim);
    handles(shim);
    names(shim);
    offsets(shim);
    special_files(shim);
    forgetting(shim);
    rights(shim);
    segments(shim);
    shim.expect("files change no code", memory::image_sum(), before);
}

/// Nodes that the root never told.
fn nodes(shim: &mut Shim) {
    use fuse_opcode::*;
    let mut tally = Tally::new();
    for node in [0, 2, 3, 1000, 1 << 32, 1 << 63, u64::MAX] {
        let mut stale = |shim: &mut Shim, opcode, arguments: &[&[u8]]| {
            tally.expect(call(shim, opcode, node, arguments), Err(ESTALE), format_args!("{opcode:?} of {node:#x}"));
        };
        stale(shim, FUSE_LOOKUP, &[b"x\0"]);
        stale(shim, FUSE_GETATTR, &[fuse_getattr_in::default().as_bytes()]);
        stale(shim, FUSE_SETATTR, &[fuse_setattr_in::default().as_bytes()]);
        stale(shim, FUSE_OPEN, &[fuse_open_in::default().as_bytes()]);
        stale(shim, FUSE_OPENDIR, &[fuse_open_in::default().as_bytes()]);
        stale(shim, FUSE_CREATE, &[fuse_create_in::default().as_bytes(), b"x\0"]);
        stale(shim, FUSE_MKDIR, &[fuse_mkdir_in::default().as_bytes(), b"x\0"]);
        stale(shim, FUSE_MKNOD, &[fuse_mknod_in::default().as_bytes(), b"x\0"]);
        stale(shim, FUSE_SYMLINK, &[b"x\0y\0"]);
        stale(shim, FUSE_UNLINK, &[b"x\0"]);
        stale(shim, FUSE_RMDIR, &[b"x\0"]);
        stale(shim, FUSE_ACCESS, &[fuse_access_in::default().as_bytes()]);
        stale(shim, FUSE_READLINK, &[]);
        let link = fuse_link_in { oldnodeid: node };
        tally.expect(call(shim, FUSE_LINK, ROOT, &[link.as_bytes(), b"x\0"]), Err(ESTALE), "LINK");
        let rename = fuse_rename_in { newdir: node };
        tally.expect(call(shim, FUSE_RENAME, ROOT, &[rename.as_bytes(), b"tmp\0x\0"]), Err(ESTALE), "RENAME");
        let rename = fuse_rename2_in { newdir: node, ..Default::default() };
        tally.expect(call(shim, FUSE_RENAME2, ROOT, &[rename.as_bytes(), b"tmp\0x\0"]), Err(ESTALE), "RENAME2");
    }
    shim.report("files: nodes", &tally);
}

/// Handles that the root never gave.
fn handles(shim: &mut Shim) {
    use fuse_opcode::*;
    let page = shim.free.take_page();
    let mut tally = Tally::new();
    for fh in [0, 1, 2, 65536, 65537, 1 << 32, 1 << 63, u64::MAX] {
        tally.expect(read(shim, fh, 0, page, 8), Err(EBADF), "READ");
        tally.expect(write(shim, fh, 0, page, 8), Err(EBADF), "WRITE");
        let mut bad = |shim: &mut Shim, opcode, arguments: &[u8]| {
            tally.expect(call(shim, opcode, ROOT, &[arguments]), Err(EBADF), format_args!("{opcode:?} of {fh:#x}"));
        };
        bad(shim, FUSE_READDIR, fuse_read_in { fh, size: 4096, ..Default::default() }.as_bytes());
        bad(shim, FUSE_READDIRPLUS, fuse_read_in { fh, size: 4096, ..Default::default() }.as_bytes());
        bad(shim, FUSE_LSEEK, fuse_lseek_in { fh, whence: linux::SEEK_DATA, ..Default::default() }.as_bytes());
        bad(shim, FUSE_FALLOCATE, fuse_fallocate_in { fh, length: 1, ..Default::default() }.as_bytes());
        bad(shim, FUSE_FLUSH, fuse_flush_in { fh, ..Default::default() }.as_bytes());
        bad(shim, FUSE_FSYNC, fuse_fsync_in { fh, ..Default::default() }.as_bytes());
        bad(shim, FUSE_RELEASE, fuse_release_in { fh, ..Default::default() }.as_bytes());
        bad(shim, FUSE_RELEASEDIR, fuse_release_in { fh, ..Default::default() }.as_bytes());
        bad(shim, FUSE_GETATTR, fuse_getattr_in { getattr_flags: 1, dummy: 0, fh }.as_bytes());
    }
    // A directory's handle is no file's, and once it is closed it is none at all.
    tally.expect(call(shim, FUSE_OPENDIR, ROOT, &[fuse_open_in::default().as_bytes()]).is_ok(), true, "OPENDIR");
    let fh = shim.service.body::<fuse_open_out>(0).fh;
    tally.expect(read(shim, fh, 0, page, 8), Err(EBADF), "READ of a directory");
    tally.expect(write(shim, fh, 0, page, 8), Err(EBADF), "WRITE to a directory");
    for offset in [1 << 32, 1 << 63, u64::MAX] {
        let wish = fuse_read_in { fh, offset, size: u32::MAX, ..Default::default() };
        tally.expect(call(shim, FUSE_READDIR, ROOT, &[wish.as_bytes()]), Ok(0), "READDIR far behind the end");
        tally.expect(call(shim, FUSE_READDIRPLUS, ROOT, &[wish.as_bytes()]), Ok(0), "READDIRPLUS there");
    }
    let wish = fuse_read_in { fh, size: 1, ..Default::default() };
    tally.expect(call(shim, FUSE_READDIR, ROOT, &[wish.as_bytes()]), Err(EINVAL), "READDIR of a byte");
    let release = fuse_release_in { fh, ..Default::default() };
    tally.expect(call(shim, FUSE_RELEASE, ROOT, &[release.as_bytes()]), Ok(0), "RELEASE");
    tally.expect(call(shim, FUSE_RELEASE, ROOT, &[release.as_bytes()]), Err(EBADF), "RELEASE again");
    shim.report("files: handles", &tally);
}

/// Names that no file can have.
fn names(shim: &mut Shim) {
    use fuse_opcode::*;
    const LONG: [u8; 5000] = [b'x'; 5000];
    let mkdir = fuse_mkdir_in { mode: 0o700, umask: 0 };
    let mut tally = Tally::new();
    let bad: [(&[u8], u32); 6] = [
        (b"a/b", EINVAL),
        (b"/", EINVAL),
        (b"../etc", EINVAL),
        (b"", ENOENT),
        (&LONG[..256], ENAMETOOLONG),
        (&LONG, ENAMETOOLONG),
    ];
    for (name, errno) in bad {
        tally.expect(call(shim, FUSE_LOOKUP, ROOT, &[name, b"\0"]), Err(errno), "LOOKUP");
        let answer = call(shim, FUSE_MKDIR, ROOT, &[mkdir.as_bytes(), name, b"\0"]);
        tally.expect(answer, Err(errno), "MKDIR");
        let create = fuse_create_in { flags: linux::O_RDWR, mode: 0o600, umask: 0, open_flags: 0 };
        tally.expect(call(shim, FUSE_CREATE, ROOT, &[create.as_bytes(), name, b"\0"]), Err(errno), "CREATE");
        tally.expect(call(shim, FUSE_SYMLINK, ROOT, &[name, b"\0target\0"]), Err(errno), "SYMLINK");
        let rename = fuse_rename_in { newdir: ROOT };
        let answer = call(shim, FUSE_RENAME, ROOT, &[rename.as_bytes(), b"tmp\0", name, b"\0"]);
        tally.expect(answer, Err(errno), "RENAME");
    }
    // No NUL, two of them, something behind it.
    for name in [b"tmp".as_slice(), b"tmp\0\0", b"tmp\0x", b"tmp\0x\0"] {
        tally.expect(call(shim, FUSE_LOOKUP, ROOT, &[name]), Err(EINVAL), "LOOKUP without one NUL");
    }
    tally.expect(call(shim, FUSE_SYMLINK, ROOT, &[b"long\0", &LONG, b"\0"]), Err(ENAMETOOLONG), "a long target");
    for name in [b".\0".as_slice(), b"..\0"] {
        tally.expect(call(shim, FUSE_MKDIR, ROOT, &[mkdir.as_bytes(), name]).is_err(), true, "MKDIR of dots");
        tally.expect(call(shim, FUSE_RMDIR, ROOT, &[name]).is_err(), true, "RMDIR of dots");
        tally.expect(call(shim, FUSE_UNLINK, ROOT, &[name]).is_err(), true, "UNLINK of dots");
    }
    // The root has no way up.
    tally.expect(lookup(shim, ROOT, b"..\0"), Ok(ROOT), "LOOKUP above the root");
    shim.report("files: names", &tally);
}

fn offsets(shim: &mut Shim) {
    use fuse_opcode::*;
    let page = shim.free.take_page();
    let mut tally = Tally::new();
    let Ok(tmp) = lookup(shim, ROOT, b"tmp\0") else { panic!("no /tmp") };
    let Ok((node, fh)) = create(shim, tmp, b"offsets\0") else { panic!("CREATE") };
    for offset in [u64::MAX, u64::MAX - 7, 1 << 63, (1 << 63) - 1] {
        let written = write(shim, fh, offset, page, 8);
        tally.check(written.is_err(), format_args!("WRITE at {offset:#x}: {written:?}"));
        tally.expect(read(shim, fh, offset, page, 8).unwrap_or(0), 0, "READ");
        let seek = fuse_lseek_in { fh, offset, whence: linux::SEEK_DATA, padding: 0 };
        let sought = call(shim, FUSE_LSEEK, node, &[seek.as_bytes()]);
        tally.check(sought.is_err(), format_args!("LSEEK at {offset:#x}: {sought:?}"));
        let allocate = fuse_fallocate_in { fh, offset, length: u64::MAX, ..Default::default() };
        tally.expect(call(shim, FUSE_FALLOCATE, node, &[allocate.as_bytes()]).is_err(), true, "FALLOCATE");
    }
    for size in [u64::MAX, 1 << 63] {
        let set = fuse_setattr_in { valid: 1 << 3, size, ..Default::default() };
        tally.expect(call(shim, FUSE_SETATTR, node, &[set.as_bytes()]).is_err(), true, "SETATTR of the size");
    }
    // A huge file of nothing costs nothing; filling it does, and is refused.
    let set = fuse_setattr_in { valid: 1 << 3, size: 1 << 50, ..Default::default() };
    let grown = call(shim, FUSE_SETATTR, node, &[set.as_bytes()]);
    if grown.is_ok() {
        let allocate = fuse_fallocate_in { fh, length: 1 << 50, ..Default::default() };
        tally.expect(call(shim, FUSE_FALLOCATE, node, &[allocate.as_bytes()]).is_err(), true, "FALLOCATE of all");
        tally.expect(read(shim, fh, (1 << 50) - 8, page, 8), Ok(8), "READ at the end of nothing");
    }
    let size = fuse_write_in { fh, size: u32::MAX, ..Default::default() };
    let answer = shim.service.call(FUSE_WRITE as u32, 0, &[size.as_bytes()], &[segment(page, 8)]);
    tally.expect(answer, Err(EINVAL), "more than the segments hold");
    tally.expect(call(shim, FUSE_UNLINK, tmp, &[b"offsets\0"]), Ok(0), "UNLINK");
    shim.report("files: offsets", &tally);
}

/// Devices do not come into being.
fn special_files(shim: &mut Shim) {
    let mut tally = Tally::new();
    for mode in [0o020_666, 0o060_666] {
        let wish = fuse_mknod_in { mode, rdev: 0x0103, umask: 0, padding: 0 };
        let answer = call(shim, fuse_opcode::FUSE_MKNOD, ROOT, &[wish.as_bytes(), b"device\0"]);
        tally.expect(answer, Err(EPERM), "MKNOD of a device");
    }
    for mode in [0o120_777, 0o170_000, 0o010, u32::MAX] {
        let wish = fuse_mknod_in { mode, rdev: u32::MAX, umask: 0, padding: 0 };
        // The plain ones may be made; what counts is that the root does not mind.
        let _ = call(shim, fuse_opcode::FUSE_MKNOD, ROOT, &[wish.as_bytes(), b"odd\0"]);
        let _ = call(shim, fuse_opcode::FUSE_UNLINK, ROOT, &[b"odd\0"]);
    }
    shim.report("files: special", &tally);
}

/// Forgetting more than was told, and what is in use.
fn forgetting(shim: &mut Shim) {
    use fuse_opcode::*;
    let page = shim.free.take_page();
    let mut tally = Tally::new();
    let Ok(tmp) = lookup(shim, ROOT, b"tmp\0") else { panic!("no /tmp") };
    let Ok((node, fh)) = create(shim, tmp, b"forgotten\0") else { panic!("CREATE") };
    let forget = fuse_forget_in { nlookup: u64::MAX };
    for target in [node, node, ROOT, 0, u64::MAX] {
        tally.expect(call(shim, FUSE_FORGET, target, &[forget.as_bytes()]), Ok(0), "FORGET");
    }
    tally.expect(call(shim, FUSE_GETATTR, node, &[fuse_getattr_in::default().as_bytes()]), Err(ESTALE), "GETATTR");
    tally.expect(write(shim, fh, 0, page, 8), Ok(8), "WRITE to what is open still");
    tally.expect(lookup(shim, ROOT, b"tmp\0"), Ok(tmp), "the root is never forgotten");
    let one = fuse_forget_one { nodeid: ROOT, nlookup: u64::MAX };
    for count in [0, 2, u32::MAX] {
        let batch = fuse_batch_forget_in { count, dummy: 0 };
        let answer = call(shim, FUSE_BATCH_FORGET, 0, &[batch.as_bytes(), one.as_bytes()]);
        tally.expect(answer, Err(EINVAL), "BATCH_FORGET with another count");
    }
    // Deleted and open: it lives until it is closed.
    tally.expect(call(shim, FUSE_UNLINK, tmp, &[b"forgotten\0"]), Ok(0), "UNLINK");
    tally.expect(read(shim, fh, 0, page, 8), Ok(8), "READ of what is deleted");
    let release = fuse_release_in { fh, ..Default::default() };
    tally.expect(call(shim, FUSE_RELEASE, 0, &[release.as_bytes()]), Ok(0), "RELEASE");
    tally.expect(read(shim, fh, 0, page, 8), Err(EBADF), "READ of what is gone");
    shim.report("files: forgetting", &tally);
}

/// Mode bits hold for whom the request names; directories are not opened as files.
fn rights(shim: &mut Shim) {
    let mut tally = Tally::new();
    shim.service.uid = 12345;
    tally.expect(create(shim, ROOT, b"mine\0"), Err(EACCES), "CREATE by nobody");
    shim.service.uid = 0;
    let open = fuse_open_in { flags: linux::O_RDWR, open_flags: u32::MAX };
    tally.expect(call(shim, fuse_opcode::FUSE_OPEN, ROOT, &[open.as_bytes()]), Err(EISDIR), "OPEN of a directory");
    let open = fuse_open_in { flags: 3, open_flags: 0 };
    tally.expect(call(shim, fuse_opcode::FUSE_OPEN, ROOT, &[open.as_bytes()]), Err(EINVAL), "OPEN for nothing");
    shim.report("files: rights", &tally);
}

/// Data from and to what is not the child's.
fn segments(shim: &mut Shim) {
    let page = shim.free.take_page();
    let mut tally = Tally::new();
    let Ok(tmp) = lookup(shim, ROOT, b"tmp\0") else { panic!("no /tmp") };
    let Ok((_, fh)) = create(shim, tmp, b"segments\0") else { panic!("CREATE") };
    tally.expect(write(shim, fh, 0, page, 4096), Ok(4096), "WRITE");
    let end = shim.info.free_end;
    for gpa in [0, end, 1 << 40, LAST_PAGE] {
        tally.expect(write(shim, fh, 0, gpa, 64), Err(EFAULT), "WRITE from nowhere");
        tally.expect(read(shim, fh, 0, gpa, 64), Err(EFAULT), "READ to nowhere");
    }
    for address in [memory::victim_code(), memory::victim_constants()] {
        tally.expect(read(shim, fh, 0, gpa_of_image(address), 64), Err(EFAULT), "READ to shared pages");
    }
    // The reply goes over the data, not the data over the reply.
    let service = shim.info.service_gpa;
    tally.expect(read(shim, fh, 0, service, 2048), Ok(2048), "READ to the service page");
    tally.expect(write(shim, fh, 0, service + 4096, 4096), Ok(4096), "WRITE from the service page");
    tally.expect(call(shim, fuse_opcode::FUSE_UNLINK, tmp, &[b"segments\0"]), Ok(0), "UNLINK");
    shim.report("files: segments", &tally);
}
