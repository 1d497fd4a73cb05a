//! Memory that is shared: objects without a file, files in memory, files of the root's, System V segments.

use super::*;
use crate::errno::Errno;
use crate::mm::area::{Access, BadTouch};
use crate::mm::space::AddressSpace;
use crate::mm::user;

const PAGE: u64 = 0x1000;
const SHARED: u64 = raw::MAP_SHARED as u64;
const ANONYMOUS: u64 = raw::MAP_ANONYMOUS as u64;

impl Sandbox {
    fn map_file(&mut self, fd: i64, len: u64, prot: u64, flags: u64, offset: u64) -> Result<u64, i64> {
        let at = self.call(9, [0, len, prot, flags, fd.cast_unsigned(), offset]);
        u64::try_from(at).ok().filter(|&at| at < 1 << 47).ok_or(at)
    }

    fn store(&mut self, at: u64, value: u8) -> Result<(), Errno> {
        self.kernel.copy_out(at, &[value])
    }

    fn load(&mut self, at: u64) -> Option<u8> {
        let mut byte = [0];
        self.kernel.copy_in(at, &mut byte).ok().map(|()| byte[0])
    }

    fn fork_space(&mut self) -> AddressSpace {
        let (space, mut source) = self.kernel.memory();
        let child = space.borrow_mut().fork(&mut source);
        child.expect("a fork")
    }

    fn memfd(&mut self, flags: u32) -> i64 {
        let name = self.string(0, b"thing");
        self.call(319, [name, u64::from(flags), 0, 0, 0, 0])
    }

    fn at(&mut self, number: u64, fd: i64, more: [u64; 3]) -> i64 {
        self.call(number, [fd.cast_unsigned(), more[0], more[1], more[2], 0, 0])
    }

    fn contents(&mut self, path: &[u8]) -> Vec<u8> {
        let fd = self.open(path, raw::O_RDONLY, 0);
        let data = self.read(fd, 4096).expect("readable");
        self.at(3, fd, [0; 3]);
        data
    }
}

fn load_from(space: &mut AddressSpace, sandbox: &mut Sandbox, at: u64) -> Result<u8, Errno> {
    let mut byte = [0];
    user::read(space, &mut sandbox.kernel.source(), at, &mut byte).map(|()| byte[0])
}

#[test]
fn what_is_not_touched_before_a_fork_is_shared_as_well() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map_file(-1, 4 * PAGE, 3, SHARED | ANONYMOUS, 0).expect("mapped");
    let near = sandbox.map_file(-1, PAGE, 3, SHARED | ANONYMOUS, 0).expect("mapped");
    sandbox.store(near, 1).expect("writable");
    let used = sandbox.kernel.frames.used();
    sandbox.store(at, 1).expect("writable");
    let mut child = sandbox.fork_space();
    user::write(&mut child, &mut sandbox.kernel.source(), at + PAGE, &[5]).expect("writable");
    assert_eq!(sandbox.load(at + PAGE), Some(5));
    sandbox.store(at, 2).expect("writable");
    assert_eq!(load_from(&mut child, &mut sandbox, at), Ok(2));
    child.destroy(&mut sandbox.kernel.source());
    assert_eq!(sandbox.load(at + PAGE), Some(5));
    assert_eq!(sandbox.call(11, [at, 4 * PAGE, 0, 0, 0, 0]), 0);
    sandbox.kernel.frames.empty_bin(&mut sandbox.kernel.platform);
    let left = (sandbox.kernel.frames.used() - used) / PAGE;
    assert_eq!(left, 0, "the pages are free again");
}

#[test]
fn a_file_in_memory_is_one_with_its_mappings() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.memfd(0);
    assert_eq!(sandbox.write(fd, b"hello"), 5);
    let at = sandbox.map_file(fd, 2 * PAGE, 3, SHARED, 0).expect("mapped");
    let private = sandbox.map_file(fd, PAGE, 3, u64::from(raw::MAP_PRIVATE), 0).expect("mapped");
    assert_eq!(sandbox.load(at), Some(b'h'));
    sandbox.store(at, b'j').expect("writable");
    assert_eq!(sandbox.load(private), Some(b'j'));
    sandbox.store(private + 1, b'u').expect("writable");
    assert_eq!(sandbox.load(at + 1), Some(b'e'), "a private page is a copy once it is written to");
    assert_eq!(sandbox.call(8, [fd.cast_unsigned(), 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.read(fd, 100), Ok(b"jello".to_vec()));
    // Beyond the end there is nothing, until the file grows.
    let (space, mut source) = sandbox.kernel.memory();
    assert_eq!(space.borrow_mut().touch(&mut source, at + PAGE, Access::Read), Err(BadTouch::NoData));
    assert_eq!(sandbox.at(77, fd, [0x1800, 0, 0]), 0);
    sandbox.store(at + PAGE, 7).expect("writable");
    assert_eq!(sandbox.at(77, fd, [2, 0, 0]), 0);
    assert_eq!(sandbox.load(at + PAGE), None);
    assert_eq!(sandbox.at(77, fd, [0x2000, 0, 0]), 0);
    assert_eq!((sandbox.load(at + 1), sandbox.load(at + 2)), (Some(b'e'), Some(0)), "what was cut off is zero");
    assert_eq!(sandbox.load(at + PAGE), Some(0));
}

#[test]
fn holes_are_found_and_made() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.memfd(0);
    assert_eq!(sandbox.at(77, fd, [4 * PAGE, 0, 0]), 0);
    let data = sandbox.string(0, b"x");
    assert_eq!(sandbox.at(18, fd, [data, 1, 2 * PAGE]), 1);
    assert_eq!(sandbox.at(8, fd, [0, u64::from(raw::SEEK_DATA), 0]), 0x2000);
    assert_eq!(sandbox.at(8, fd, [2 * PAGE, u64::from(raw::SEEK_HOLE), 0]), 0x3000);
    assert_eq!(sandbox.at(8, fd, [3 * PAGE, u64::from(raw::SEEK_DATA), 0]), error(Errno::ENXIO));
    let hole = u64::from(raw::FALLOC_FL_PUNCH_HOLE | raw::FALLOC_FL_KEEP_SIZE);
    assert_eq!(sandbox.at(285, fd, [hole, PAGE, 2 * PAGE]), 0);
    assert_eq!(sandbox.at(8, fd, [0, u64::from(raw::SEEK_DATA), 0]), error(Errno::ENXIO));
    assert_eq!(sandbox.at(285, fd, [0, 0, 6 * PAGE]), 0);
    assert_eq!(sandbox.at(8, fd, [0, u64::from(raw::SEEK_END), 0]), 0x6000);
    assert_eq!(sandbox.at(285, fd, [0, 0, 1 << 40]), error(Errno::ENOSPC));
}

#[test]
fn seals_hold() {
    let mut sandbox = Sandbox::new();
    let plain = sandbox.memfd(0);
    let add =
        |sandbox: &mut Sandbox, fd, seals: u32| sandbox.at(72, fd, [u64::from(raw::F_ADD_SEALS), u64::from(seals), 0]);
    assert_eq!(add(&mut sandbox, plain, raw::F_SEAL_GROW), error(Errno::EPERM));
    let fd = sandbox.memfd(raw::MFD_ALLOW_SEALING);
    assert_eq!(sandbox.write(fd, b"0123456789"), 10);
    let at = sandbox.map_file(fd, PAGE, 3, SHARED, 0).expect("mapped");
    assert_eq!(add(&mut sandbox, fd, raw::F_SEAL_WRITE), error(Errno::EBUSY));
    assert_eq!(sandbox.call(11, [at, PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(add(&mut sandbox, fd, raw::F_SEAL_SHRINK | raw::F_SEAL_GROW), 0);
    assert_eq!(sandbox.at(77, fd, [5, 0, 0]), error(Errno::EPERM));
    assert_eq!(sandbox.at(77, fd, [50, 0, 0]), error(Errno::EPERM));
    assert_eq!(sandbox.write(fd, b"more"), error(Errno::EPERM));
    assert_eq!(add(&mut sandbox, fd, raw::F_SEAL_WRITE | raw::F_SEAL_SEAL), 0);
    assert_eq!(sandbox.at(8, fd, [0, 0, 0]), 0);
    assert_eq!(sandbox.write(fd, b"x"), error(Errno::EPERM));
    assert_eq!(sandbox.map_file(fd, PAGE, 3, SHARED, 0), Err(error(Errno::EPERM)));
    let at = sandbox.map_file(fd, PAGE, 1, SHARED, 0).expect("readable");
    assert_eq!(sandbox.call(10, [at, PAGE, 3, 0, 0, 0]), error(Errno::EACCES));
    assert_eq!(add(&mut sandbox, fd, 0), error(Errno::EPERM));
    let all = raw::F_SEAL_SHRINK | raw::F_SEAL_GROW | raw::F_SEAL_WRITE | raw::F_SEAL_SEAL;
    assert_eq!(sandbox.at(72, fd, [u64::from(raw::F_GET_SEALS), 0, 0]), i64::from(all));
}

#[test]
fn mappings_of_a_file_are_coherent_with_reads_and_writes() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.open(b"/etc/text", raw::O_RDWR, 0);
    let one = sandbox.map_file(fd, PAGE, 3, SHARED, 0).expect("mapped");
    let two = sandbox.map_file(fd, PAGE, 1, SHARED, 0).expect("mapped");
    let private = sandbox.map_file(fd, PAGE, 1, u64::from(raw::MAP_PRIVATE), 0).expect("mapped");
    assert_eq!(sandbox.load(one), Some(b's'));
    sandbox.store(one, b'S').expect("writable");
    assert_eq!(sandbox.load(two), Some(b'S'));
    assert_eq!(sandbox.load(private), Some(b'S'), "a private page is what the file is when it is touched");
    assert_eq!(sandbox.contents(b"/etc/text"), b"Some text\n");
    let data = sandbox.string(0, b"TEXT");
    assert_eq!(sandbox.at(18, fd, [data, 4, 5]), 4);
    assert_eq!((sandbox.load(one + 5), sandbox.load(two)), (Some(b'T'), Some(b'S')));
    // What a mapping writes reaches the file when the last mapping goes, and never makes it longer.
    sandbox.store(one + 1, b'O').expect("writable");
    sandbox.store(one + 100, b'!').expect("writable");
    sandbox.at(3, fd, [0; 3]);
    assert_eq!(sandbox.call(11, [one, PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(11, [two, PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.contents(b"/etc/text"), b"SOme TEXT\n");
}

#[test]
fn a_file_opened_for_reading_is_not_written_by_a_mapping() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
    assert_eq!(sandbox.map_file(fd, PAGE, 3, SHARED, 0), Err(error(Errno::EACCES)));
    let at = sandbox.map_file(fd, PAGE, 1, SHARED, 0).expect("mapped");
    assert_eq!(sandbox.call(10, [at, PAGE, 3, 0, 0, 0]), error(Errno::EACCES));
    assert_eq!(sandbox.load(at), Some(b's'));
    assert_eq!(sandbox.map_file(fd, PAGE, 1, SHARED, 5), Err(error(Errno::EINVAL)));
    assert_eq!(sandbox.map_file(77, PAGE, 1, SHARED, 0), Err(error(Errno::EBADF)));
}

#[test]
fn msync_writes_back() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.open(b"/etc/text", raw::O_RDWR, 0);
    let at = sandbox.map_file(fd, PAGE, 3, SHARED, 0).expect("mapped");
    sandbox.store(at, b'X').expect("writable");
    let written = sandbox.kernel.platform.count(fuse_abi::linux::fuse_opcode::FUSE_WRITE);
    assert_eq!(sandbox.call(26, [at, PAGE, u64::from(raw::MS_SYNC), 0, 0, 0]), 0);
    assert_eq!(sandbox.kernel.platform.count(fuse_abi::linux::fuse_opcode::FUSE_WRITE), written + 1);
    assert_eq!(sandbox.call(26, [at, 0x1000 * PAGE, u64::from(raw::MS_SYNC), 0, 0, 0]), error(Errno::ENOMEM));
}

#[test]
fn a_file_that_is_cut_off_is_a_bus_error() {
    let mut server = ordinary_server();
    server.file("/etc/long", &[7; 0x3000], 0o644);
    let mut sandbox = Sandbox::with(server);
    let fd = sandbox.open(b"/etc/long", raw::O_RDWR, 0);
    let at = sandbox.map_file(fd, 3 * PAGE, 3, SHARED, 0).expect("mapped");
    sandbox.store(at + 2 * PAGE, 1).expect("writable");
    assert_eq!(sandbox.at(77, fd, [PAGE + 5, 0, 0]), 0);
    assert_eq!(sandbox.load(at + PAGE + 4), Some(7));
    assert_eq!(sandbox.load(at + PAGE + 5), Some(0));
    assert_eq!(sandbox.fault(14, 6, at + 2 * PAGE), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(7));
}

#[test]
fn segments_are_found_by_key_and_outlive_their_removal() {
    let mut sandbox = Sandbox::new();
    let create = 0o1600;
    let id = sandbox.call(29, [42, 0x1800, create, 0, 0, 0]);
    assert!(id >= 0);
    assert_eq!(sandbox.call(29, [42, 0, 0, 0, 0, 0]), id);
    assert_eq!(sandbox.call(29, [42, 0x1801, 0, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(29, [42, 0x1000, create | 0o2000, 0, 0, 0]), error(Errno::EEXIST));
    assert_eq!(sandbox.call(29, [43, 0x1000, 0, 0, 0, 0]), error(Errno::ENOENT));
    let id = id.cast_unsigned();
    let one = sandbox.call(30, [id, 0, 0, 0, 0, 0]).cast_unsigned();
    let two = sandbox.call(30, [id, 0, 0o10000, 0, 0, 0]).cast_unsigned();
    sandbox.store(one + PAGE, 9).expect("writable");
    assert_eq!(sandbox.load(two + PAGE), Some(9));
    assert!(sandbox.store(two, 1).is_err());
    let out = sandbox.scratch;
    assert_eq!(sandbox.call(31, [id, 2, out, 0, 0, 0]), 0);
    let attached = sandbox.bytes(out + 88, 8);
    assert_eq!(attached, 2_u64.to_le_bytes());
    assert_eq!(sandbox.call(31, [id, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(29, [42, 0, 0, 0, 0, 0]), error(Errno::ENOENT));
    assert_eq!(sandbox.load(one + PAGE), Some(9));
    for at in [one, two] {
        assert_eq!(sandbox.call(67, [at, 0, 0, 0, 0, 0]), 0);
        assert_eq!(sandbox.load(at), None);
    }
    assert_eq!(sandbox.call(67, [one, 0, 0, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(31, [id, 2, out, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn what_is_cut_off_is_gone_from_every_process() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.memfd(raw::MFD_ALLOW_SEALING);
    assert_eq!(sandbox.at(77, fd, [2 * PAGE, 0, 0]), 0);
    let at = sandbox.map_file(fd, 2 * PAGE, 3, SHARED, 0).expect("mapped");
    sandbox.store(at + PAGE, 4).expect("writable");
    let child = sandbox.call(57, [0; 6]);
    assert!(child > 0);
    let child = u32::try_from(child).expect("a pid");
    assert_eq!(sandbox.kernel.spaces().len(), 2);
    assert_eq!(sandbox.call(11, [at, 2 * PAGE, 0, 0, 0, 0]), 0);
    let seal = [u64::from(raw::F_ADD_SEALS), u64::from(raw::F_SEAL_WRITE), 0];
    assert_eq!(sandbox.at(72, fd, seal), error(Errno::EBUSY), "the child could write to it");
    assert_eq!(sandbox.at(77, fd, [PAGE, 0, 0]), 0);
    let space = alloc::rc::Rc::clone(&sandbox.kernel.task_of(child).expect("the child").space);
    let touched = space.borrow_mut().touch(&mut sandbox.kernel.source(), at + PAGE, Access::Read);
    assert_eq!(touched, Err(BadTouch::NoData));
}

#[test]
fn another_process_is_read_and_written() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map_file(-1, PAGE, 3, u64::from(raw::MAP_PRIVATE) | ANONYMOUS, 0).expect("mapped");
    sandbox.store(at, 1).expect("writable");
    let child = sandbox.call(57, [0; 6]).cast_unsigned();
    sandbox.store(at, 2).expect("writable");
    let lists = sandbox.scratch;
    sandbox.kernel.put(lists, &[lists + 64, 3, at, 2 * PAGE]).expect("scratch");
    assert_eq!(sandbox.call(310, [child, lists, 1, lists + 16, 1, 0]), 3);
    assert_eq!(sandbox.bytes(lists + 64, 3), [1, 0, 0], "the child's own copy");
    sandbox.kernel.copy_out(lists + 64, &[7, 8, 9]).expect("scratch");
    assert_eq!(sandbox.call(311, [child, lists, 1, lists + 16, 1, 0]), 3);
    assert_eq!(sandbox.load(at), Some(2));
    assert_eq!(sandbox.call(310, [child, lists, 1, lists + 16, 1, 0]), 3);
    assert_eq!(sandbox.bytes(lists + 64, 3), [7, 8, 9]);
    assert_eq!(sandbox.call(310, [9999, lists, 1, lists + 16, 1, 0]), error(Errno::ESRCH));
    assert_eq!(sandbox.call(310, [child, lists, 1, lists + 16, 1, 1]), error(Errno::EINVAL));
    sandbox.kernel.put(lists + 16, &0x10_u64).expect("scratch");
    assert_eq!(sandbox.call(310, [child, lists, 1, lists + 16, 1, 0]), error(Errno::EFAULT));
    sandbox.kernel.task.process.borrow_mut().uid = [5; 3];
    assert_eq!(sandbox.call(310, [child, lists, 1, lists + 16, 1, 0]), error(Errno::EPERM));
}
