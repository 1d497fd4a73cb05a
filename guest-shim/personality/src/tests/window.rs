//! Files that the root shows instead of copying them.

use fuse_abi::linux::fuse_opcode::{FUSE_READ, FUSE_REMOVEMAPPING, FUSE_SETUPMAPPING};

use super::*;
use crate::mm::area::Access;

const PAGE: u64 = 0x1000;
const PRIVATE: u64 = raw::MAP_PRIVATE as u64;

/// Each page of it begins with its number.
fn numbered(pages: u64, tail: usize) -> Vec<u8> {
    let mut data: Vec<u8> = (0..pages).flat_map(|page| [page.to_le_bytes()[0]; 0x1000]).collect();
    data.resize(data.len() + tail, 0xee);
    data
}

fn with_files() -> Sandbox {
    let mut server = ordinary_server();
    server.file("/etc/a", &numbered(18, 5), 0o644);
    for name in ["b", "c", "d", "e", "f"] {
        server.file(&alloc::format!("/etc/{name}"), &numbered(16, 0), 0o644);
    }
    Sandbox::with(server)
}

impl Sandbox {
    fn map_private(&mut self, path: &[u8], prot: u64, pages: u64, offset: u64) -> u64 {
        let fd = self.open(path, raw::O_RDONLY, 0).cast_unsigned();
        let at = self.call(9, [0, pages * PAGE, prot, PRIVATE, fd, offset]);
        self.call(3, [fd, 0, 0, 0, 0, 0]);
        at.cast_unsigned()
    }

    fn first(&mut self, at: u64) -> Option<u8> {
        let mut byte = [0];
        self.kernel.copy_in(at, &mut byte).ok().map(|()| byte[0])
    }

    fn is_lent(&mut self, at: u64) -> bool {
        let frame = self.kernel.touch(at, Access::Read).expect("readable");
        self.kernel.frames.is_lent(frame)
    }

    fn requests(&self, opcode: fuse_abi::linux::fuse_opcode) -> usize {
        self.kernel.platform.count(opcode)
    }
}

#[test]
fn pages_are_mapped_and_copied_only_when_written_to() {
    let mut sandbox = with_files();
    let reads = sandbox.requests(FUSE_READ);
    let at = sandbox.map_private(b"/etc/a", 3, 20, 0);
    let used = sandbox.kernel.frames.used();
    for page in [3_u64, 0, 15] {
        assert_eq!(sandbox.first(at + page * PAGE), Some(page.to_le_bytes()[0]));
        assert!(sandbox.is_lent(at + page * PAGE));
    }
    assert_eq!(sandbox.requests(FUSE_SETUPMAPPING), 2, "the program's own page, and one block of the file");
    assert!(sandbox.kernel.frames.used() <= used + PAGE, "a table at most");
    assert_eq!(sandbox.fault(14, 6, at + 3 * PAGE), Flow::Resume);
    sandbox.kernel.copy_out(at + 3 * PAGE + 1, &[99]).expect("writable");
    assert_eq!(sandbox.bytes(at + 3 * PAGE, 3), [3, 99, 3]);
    assert!(!sandbox.is_lent(at + 3 * PAGE));
    // The second block, by a write, and the tail of the file.
    sandbox.kernel.copy_out(at + 16 * PAGE, &[7]).expect("writable");
    assert_eq!(sandbox.bytes(at + 16 * PAGE, 2), [7, 16]);
    assert_eq!(sandbox.bytes(at + 18 * PAGE, 6), [0xee, 0xee, 0xee, 0xee, 0xee, 0]);
    assert_eq!(sandbox.first(at + 19 * PAGE), None);
    assert_eq!(sandbox.requests(FUSE_READ), reads);
    let users = sandbox.kernel.frames.window.users();
    assert_eq!(users, 17, "16 of the first block without the one written to, and two of the second");
    assert_eq!(sandbox.call(11, [at, 20 * PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.kernel.frames.window.users(), 0);
}

#[test]
fn a_mapping_may_begin_anywhere_in_a_block() {
    let mut sandbox = with_files();
    let at = sandbox.map_private(b"/etc/a", 1, 6, 13 * PAGE);
    for page in 0_u64..6 {
        let expected = if page == 5 { 0xee } else { (13 + page).to_le_bytes()[0] };
        assert_eq!(sandbox.first(at + page * PAGE), Some(expected), "page {page}");
    }
    assert_eq!(sandbox.kernel.frames.window.users(), 6);
}

#[test]
fn forks_share_what_is_shown() {
    let mut sandbox = with_files();
    let at = sandbox.map_private(b"/etc/b", 3, 16, 0);
    assert_eq!(sandbox.first(at), Some(0));
    let (space, mut source) = sandbox.kernel.memory();
    let mut child = space.borrow_mut().fork(&mut source).expect("a fork");
    assert_eq!(source.frames.window.users(), 32);
    crate::mm::user::write(&mut child, &mut source, at, &[5]).expect("writable");
    assert_eq!(source.frames.window.users(), 31);
    child.destroy(&mut source);
    assert_eq!(source.frames.window.users(), 16);
    assert_eq!(sandbox.first(at), Some(0));
}

#[test]
fn reads_copy_from_the_window() {
    let mut sandbox = with_files();
    let fd = sandbox.open(b"/etc/a", raw::O_RDONLY, 0).cast_unsigned();
    let buffer = sandbox.scratch + 0x8000;
    let reads = sandbox.requests(FUSE_READ);
    for _ in 0..3 {
        assert_eq!(sandbox.call(17, [fd, buffer, 0x1_8000, 10, 0, 0]), 18 * 0x1000 + 5 - 10);
    }
    assert_eq!(sandbox.bytes(buffer + 0xfff - 10, 2), [0, 1]);
    assert_eq!(sandbox.bytes(buffer + 18 * PAGE - 11, 2), [17, 0xee]);
    assert_eq!(sandbox.call(17, [fd, buffer, 100, 20 * PAGE, 0, 0]), 0);
    assert_eq!(sandbox.requests(FUSE_READ), reads);
    assert_eq!(sandbox.requests(FUSE_SETUPMAPPING), 3, "the program's own page, and the file's two blocks");
}

#[test]
fn what_was_written_is_read_from_the_root() {
    let mut sandbox = with_files();
    let at = sandbox.map_private(b"/etc/b", 1, 16, 0);
    assert_eq!(sandbox.first(at), Some(0));
    let fd = sandbox.open(b"/etc/b", raw::O_RDWR, 0).cast_unsigned();
    let data = sandbox.string(0, b"new");
    assert_eq!(sandbox.call(18, [fd, data, 3, 0, 0, 0]), 3);
    let buffer = sandbox.scratch + 0x8000;
    assert_eq!(sandbox.call(17, [fd, buffer, 0x8000, 0, 0, 0]), 0x8000);
    assert_eq!(sandbox.bytes(buffer, 4), b"new\0");
    let again = sandbox.map_private(b"/etc/b", 1, 16, 0);
    assert_eq!(sandbox.first(again), Some(b'n'));
    assert!(!sandbox.is_lent(again));
    // Cut off, it is read anew as well.
    let other = sandbox.map_private(b"/etc/c", 1, 16, 0);
    assert_eq!(sandbox.first(other + PAGE), Some(1));
    assert_eq!(sandbox.path_call(76, b"/etc/c", [10, 0]), 0);
    let cut = sandbox.map_private(b"/etc/c", 1, 16, 0);
    assert_eq!(sandbox.bytes(cut, 12), [0; 12]);
    assert_eq!(sandbox.first(cut + PAGE), None);
}

#[test]
fn slots_that_nothing_maps_are_used_again() {
    let mut sandbox = with_files();
    // One slot is the program's.
    let kept = sandbox.map_private(b"/etc/b", 1, 16, 0);
    assert_eq!(sandbox.first(kept + 2 * PAGE), Some(2));
    for round in 0..3 {
        for path in [&b"/etc/c"[..], b"/etc/d", b"/etc/e", b"/etc/f"] {
            let at = sandbox.map_private(path, 1, 16, 0);
            assert_eq!(sandbox.first(at + 5 * PAGE), Some(5), "round {round}");
            assert!(sandbox.is_lent(at + 5 * PAGE));
            assert_eq!(sandbox.call(11, [at, 16 * PAGE, 0, 0, 0, 0]), 0);
        }
    }
    assert_eq!(sandbox.first(kept + 3 * PAGE), Some(3));
    assert!(sandbox.requests(FUSE_REMOVEMAPPING) > 5);
    // With all of them in use, files are read as ever.
    let maps: Vec<u64> = [&b"/etc/c"[..], b"/etc/d", b"/etc/e", b"/etc/f"]
        .iter()
        .map(|path| sandbox.map_private(path, 1, 16, 0))
        .collect();
    for at in maps {
        assert_eq!(sandbox.first(at + 9 * PAGE), Some(9));
    }
}

#[test]
fn without_a_window_files_are_read() {
    let mut sandbox = with_files();
    sandbox.kernel.platform.shows = false;
    let at = sandbox.map_private(b"/etc/d", 1, 16, 0);
    assert_eq!(sandbox.first(at + 4 * PAGE), Some(4));
    assert!(!sandbox.is_lent(at + 4 * PAGE));
    let asked = sandbox.requests(FUSE_SETUPMAPPING);
    assert_eq!(sandbox.first(at + 15 * PAGE), Some(15));
    let again = sandbox.map_private(b"/etc/d", 1, 16, 0);
    assert_eq!(sandbox.first(again), Some(0));
    assert_eq!(sandbox.requests(FUSE_SETUPMAPPING), asked, "it is asked once");
}
