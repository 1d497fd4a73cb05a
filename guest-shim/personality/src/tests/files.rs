//! Files, names and paths.

use fuse_abi::linux::fuse_opcode;

use super::*;
use crate::abi::Stat;
use crate::errno::Errno;
use zerocopy::FromBytes;

const HERE: u64 = 0xffff_ff9c;

impl Sandbox {
    pub(super) fn stat(&mut self, path: &[u8], flags: u64) -> Result<Stat, i64> {
        let path = self.string(0, path);
        let out = self.scratch + 0x3000;
        match self.call(262, [HERE, path, out, flags, 0, 0]) {
            0 => Ok(Stat::read_from_bytes(&self.bytes(out, 144)).expect("a stat")),
            error => Err(error),
        }
    }

    fn names(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        let fd = self.open(path, raw::O_RDONLY | raw::O_DIRECTORY, 0).cast_unsigned();
        let out = self.scratch + 0x3000;
        let mut names = Vec::new();
        loop {
            let count = self.call(217, [fd, out, 96, 0, 0, 0]);
            assert!(count >= 0, "getdents64: {count}");
            if count == 0 {
                break;
            }
            let bytes = self.bytes(out, usize::try_from(count).expect("small"));
            let mut at = 0;
            while at < bytes.len() {
                let len = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
                let name = bytes[at + 19..at + len].split(|&byte| byte == 0).next().expect("a name");
                names.push(name.to_vec());
                at += len;
            }
        }
        self.call(3, [fd, 0, 0, 0, 0, 0]);
        names
    }
}

#[test]
fn a_file_is_read_and_closed() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
    assert_eq!(fd, 3);
    assert_eq!(sandbox.read(fd, 4), Ok(b"some".to_vec()));
    assert_eq!(sandbox.read(fd, 100), Ok(b" text\n".to_vec()));
    assert_eq!(sandbox.read(fd, 100), Ok(Vec::new()));
    assert_eq!(sandbox.call(8, [3, 5, 0, 0, 0, 0]), 5);
    assert_eq!(sandbox.read(fd, 4), Ok(b"text".to_vec()));
    assert_eq!(sandbox.call(8, [3, u64::MAX, 2, 0, 0, 0]), 9);
    assert_eq!(sandbox.call(8, [3, u64::MAX, 0, 0, 0, 0]), error(Errno::EINVAL));
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(17, [3, at, 4, 5, 0, 0]), 4);
    assert_eq!(sandbox.bytes(at, 4), b"text");
    assert_eq!(sandbox.write(fd, b"x"), error(Errno::EBADF));
    let open = sandbox.kernel.platform.server.open_count();
    assert_eq!(sandbox.call(3, [3, 0, 0, 0, 0, 0]), 0);
    sandbox.ask_something();
    assert_eq!(sandbox.kernel.platform.server.open_count(), open - 1);
}

#[test]
fn files_are_made_written_and_cut() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.open(b"/tmp/new", raw::O_RDWR | raw::O_CREAT, 0o666);
    assert_eq!(sandbox.write(fd, b"0123456789"), 10);
    assert_eq!(sandbox.call(18, [fd.cast_unsigned(), sandbox.scratch + 0x1000, 2, 20, 0, 0]), 2);
    let stat = sandbox.stat(b"/tmp/new", 0).expect("it is there");
    assert_eq!((stat.st_size, stat.st_mode), (22, 0o100_644));
    assert_eq!(sandbox.call(77, [fd.cast_unsigned(), 5, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.stat(b"/tmp/new", 0).map(|stat| stat.st_size), Ok(5));
    let more = sandbox.open(b"/tmp/new", raw::O_WRONLY | raw::O_APPEND, 0);
    assert_eq!(sandbox.write(more, b"abc"), 3);
    assert_eq!(sandbox.call(8, [more.cast_unsigned(), 0, 1, 0, 0, 0]), 8);
    let exclusive = raw::O_WRONLY | raw::O_CREAT | raw::O_EXCL;
    assert_eq!(sandbox.open(b"/tmp/new", exclusive, 0), error(Errno::EEXIST));
    assert_eq!(sandbox.open(b"/tmp/none/new", exclusive, 0), error(Errno::ENOENT));
    assert_eq!(sandbox.open(b"/tmp/new/", raw::O_RDONLY, 0), error(Errno::ENOTDIR));
    assert_eq!(sandbox.open(b"/tmp/dir/", raw::O_CREAT, 0), error(Errno::EISDIR));
    assert_eq!(sandbox.open(b"/tmp", raw::O_WRONLY, 0), error(Errno::EISDIR));
}

#[test]
fn links_are_followed_and_loops_end() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.open(b"/etc/link", raw::O_RDONLY, 0), 3);
    assert_eq!(sandbox.open(b"/etc/link", raw::O_NOFOLLOW, 0), error(Errno::ELOOP));
    assert_eq!(sandbox.open(b"/loop", raw::O_RDONLY, 0), error(Errno::ELOOP));
    assert_eq!(sandbox.stat(b"/etc/link", 0x100).map(|stat| stat.st_mode >> 12), Ok(0o12));
    assert_eq!(sandbox.stat(b"/etc/link", 0).map(|stat| stat.st_mode >> 12), Ok(0o10));
    let out = sandbox.scratch + 0x3000;
    assert_eq!(sandbox.path_call(89, b"/etc/link", [out, 100]), 4);
    assert_eq!(sandbox.bytes(out, 4), b"text");
    assert_eq!(sandbox.path_call(89, b"/etc/link", [out, 2]), 2);
    assert_eq!(sandbox.path_call(89, b"/etc/text", [out, 2]), error(Errno::EINVAL));
    let new = sandbox.string(4, b"/tmp/dangling");
    let target = sandbox.string(5, b"made");
    assert_eq!(sandbox.call(88, [target, new, 0, 0, 0, 0]), 0);
    let fd = sandbox.open(b"/tmp/dangling", raw::O_CREAT | raw::O_WRONLY, 0o600);
    assert!(fd > 0);
    assert_eq!(sandbox.stat(b"/tmp/made", 0).map(|stat| stat.st_mode), Ok(0o100_600));
}

#[test]
fn paths_have_their_limits() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.stat(b"", 0).err(), Some(error(Errno::ENOENT)));
    assert_eq!(sandbox.stat(&[b'a'; 256], 0).err(), Some(error(Errno::ENAMETOOLONG)));
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, &[b'/'; 8192]).expect("scratch memory");
    assert_eq!(sandbox.call(4, [at, at, 0, 0, 0, 0]), error(Errno::ENAMETOOLONG));
    assert_eq!(sandbox.stat(b"/etc/text/x", 0).err(), Some(error(Errno::ENOTDIR)));
    assert_eq!(sandbox.stat(b"/etc/text/..", 0).err(), Some(error(Errno::ENOTDIR)));
    assert!(sandbox.stat(b"/../..//etc/./../etc/text", 0).is_ok());
}

#[test]
fn the_working_directory_moves() {
    let mut sandbox = Sandbox::new();
    let out = sandbox.scratch + 0x3000;
    assert_eq!(sandbox.path_call(80, b"/etc", [0, 0]), 0);
    assert!(sandbox.stat(b"text", 0).is_ok());
    assert_eq!(sandbox.call(79, [out, 100, 0, 0, 0, 0]), 5);
    assert_eq!(sandbox.bytes(out, 5), b"/etc\0");
    assert_eq!(sandbox.call(79, [out, 4, 0, 0, 0, 0]), error(Errno::ERANGE));
    assert_eq!(sandbox.path_call(80, b"text", [0, 0]), error(Errno::ENOTDIR));
    assert_eq!(sandbox.path_call(83, b"/tmp/gone", [0o777, 0]), 0);
    assert_eq!(sandbox.path_call(80, b"/tmp/gone", [0, 0]), 0);
    assert_eq!(sandbox.path_call(84, b"/tmp/gone", [0, 0]), 0);
    assert_eq!(sandbox.call(79, [out, 100, 0, 0, 0, 0]), error(Errno::ENOENT));
}

#[test]
fn directories_are_listed_in_pieces() {
    let mut sandbox = Sandbox::new();
    for name in [&b"/tmp/a"[..], b"/tmp/some longer name", b"/tmp/c"] {
        assert_eq!(sandbox.path_call(83, name, [0o755, 0]), 0);
    }
    let names = sandbox.names(b"/tmp");
    assert_eq!(names, [&b"."[..], b"..", b"a", b"c", b"some longer name"]);
    assert!(sandbox.names(b"/dev").contains(&b"null".to_vec()));
    assert!(sandbox.names(b"/proc/self/fd").contains(&b"0".to_vec()));
    let fd = sandbox.open(b"/tmp", raw::O_RDONLY, 0).cast_unsigned();
    let out = sandbox.scratch;
    assert_eq!(sandbox.call(217, [fd, out, 10, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(217, [1, out, 100, 0, 0, 0]), error(Errno::ENOTDIR));
}

#[test]
fn names_move_and_go() {
    let mut sandbox = Sandbox::new();
    let rename = |sandbox: &mut Sandbox, old: &[u8], new: &[u8]| {
        let (old, new) = (sandbox.string(4, old), sandbox.string(5, new));
        sandbox.call(82, [old, new, 0, 0, 0, 0])
    };
    assert_eq!(sandbox.path_call(83, b"/tmp/old", [0o755, 0]), 0);
    assert_eq!(sandbox.path_call(80, b"/tmp/old", [0, 0]), 0);
    assert_eq!(rename(&mut sandbox, b"/tmp/old", b"/etc/new"), 0);
    assert_eq!(sandbox.stat(b"/tmp/old", 0).err(), Some(error(Errno::ENOENT)));
    let out = sandbox.scratch + 0x3000;
    assert_eq!(sandbox.call(79, [out, 100, 0, 0, 0, 0]), 9);
    assert_eq!(sandbox.bytes(out, 9), b"/etc/new\0");
    assert_eq!(rename(&mut sandbox, b"/etc/none", b"/etc/x"), error(Errno::ENOENT));
    assert_eq!(rename(&mut sandbox, b"/etc/.", b"/etc/x"), error(Errno::EBUSY));
    assert_eq!(rename(&mut sandbox, b"/etc/text", b"/dev/x"), error(Errno::EXDEV));
    assert_eq!(sandbox.path_call(87, b"/etc/new", [0, 0]), error(Errno::EISDIR));
    assert_eq!(sandbox.path_call(84, b"/etc/text", [0, 0]), error(Errno::ENOTDIR));
    assert_eq!(sandbox.path_call(84, b"/etc", [0, 0]), error(Errno::ENOTEMPTY));
    assert_eq!(sandbox.path_call(84, b"/etc/new/.", [0, 0]), error(Errno::EINVAL));
    let (old, new) = (sandbox.string(4, b"/etc/text"), sandbox.string(5, b"/etc/second"));
    assert_eq!(sandbox.call(86, [old, new, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.stat(b"/etc/text", 0).map(|stat| stat.st_nlink), Ok(2));
    assert_eq!(sandbox.path_call(87, b"/etc/text", [0, 0]), 0);
    assert_eq!(sandbox.stat(b"/etc/second", 0).map(|stat| stat.st_nlink), Ok(1));
    assert_eq!(sandbox.path_call(90, b"/etc/second", [0o600, 0]), 0);
    assert_eq!(sandbox.stat(b"/etc/second", 0).map(|stat| stat.st_mode), Ok(0o100_600));
}

#[test]
fn what_is_known_is_not_asked_again() {
    let mut sandbox = Sandbox::new();
    assert!(sandbox.stat(b"/etc/text", 0).is_ok());
    assert!(sandbox.stat(b"/etc/none", 0).is_err());
    let before = sandbox.kernel.platform.requests.len();
    for _ in 0..10 {
        assert!(sandbox.stat(b"/etc/text", 0).is_ok());
        assert!(sandbox.stat(b"/etc/none", 0).is_err());
    }
    assert_eq!(sandbox.kernel.platform.requests.len(), before);
    let fd = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
    sandbox.call(3, [fd.cast_unsigned(), 0, 0, 0, 0, 0]);
    assert_eq!(sandbox.kernel.platform.requests[before..], [fuse_opcode::FUSE_OPEN as u32]);
}

#[test]
fn nodes_that_nothing_refers_to_are_forgotten() {
    let mut sandbox = Sandbox::new();
    for number in 0..2000_u32 {
        let path = alloc::format!("/tmp/{number}");
        let fd = sandbox.open(path.as_bytes(), raw::O_CREAT, 0o644);
        sandbox.call(3, [fd.cast_unsigned(), 0, 0, 0, 0, 0]);
    }
    let platform = &sandbox.kernel.platform;
    let (forgotten, requests) = (platform.server.forgotten, platform.count(fuse_opcode::FUSE_BATCH_FORGET));
    assert!(forgotten > 1000, "{forgotten} of 2000");
    assert!(requests < 40, "many by one request, not {requests}");
}

#[test]
fn devices_do_what_they_are_known_for() {
    let mut sandbox = Sandbox::new();
    let null = sandbox.open(b"/dev/null", raw::O_RDWR, 0);
    assert_eq!(sandbox.write(null, b"gone"), 4);
    assert_eq!(sandbox.read(null, 4), Ok(Vec::new()));
    let zero = sandbox.open(b"/dev/zero", raw::O_RDWR, 0);
    assert_eq!(sandbox.read(zero, 4), Ok(vec![0; 4]));
    let full = sandbox.open(b"/dev/full", raw::O_RDWR, 0);
    assert_eq!(sandbox.write(full, b"x"), error(Errno::ENOSPC));
    let random = sandbox.open(b"/dev/urandom", raw::O_RDONLY, 0);
    assert_ne!(sandbox.read(random, 16), sandbox.read(random, 16));
    assert_eq!(sandbox.open(b"/dev/tty", raw::O_RDWR, 0), error(Errno::ENXIO));
    assert_eq!(sandbox.stat(b"/dev/null", 0).map(|stat| stat.st_rdev), Ok(0x103));
    let out = sandbox.open(b"/dev/stdout", raw::O_WRONLY, 0);
    assert_eq!(sandbox.write(out, b"hi"), 2);
    assert_eq!(sandbox.kernel.platform.output[1], b"hi");
}

#[test]
fn proc_tells_of_the_process() {
    let mut sandbox = Sandbox::new();
    let out = sandbox.scratch + 0x3000;
    assert_eq!(sandbox.path_call(89, b"/proc/self/exe", [out, 100]), 9);
    assert_eq!(sandbox.bytes(out, 9), b"/bin/tiny");
    let fd = sandbox.open(b"/proc/self/cmdline", raw::O_RDONLY, 0);
    assert_eq!(sandbox.read(fd, 100), Ok(b"/bin/tiny\0argument\0".to_vec()));
    let fd = sandbox.open(b"/proc/2/comm", raw::O_RDONLY, 0);
    assert_eq!(sandbox.read(fd, 100), Ok(b"tiny\n".to_vec()));
    assert_eq!(sandbox.open(b"/proc/3/comm", raw::O_RDONLY, 0), error(Errno::ENOENT));
    assert!(sandbox.open(b"/proc/self/exe", raw::O_RDONLY, 0) > 0);
}

#[test]
fn files_are_copied_without_the_program() {
    let mut sandbox = Sandbox::new();
    let data: Vec<u8> = (0..200_000_u32).map(|n| (n % 251).to_le_bytes()[0]).collect();
    sandbox.kernel.platform.server.file("/etc/big", &data, 0o644);
    let from = sandbox.open(b"/etc/big", raw::O_RDONLY, 0).cast_unsigned();
    let used = sandbox.kernel.frames.used();
    assert_eq!(sandbox.call(40, [1, from, 0, 1 << 24, 0, 0]), 200_000);
    assert_eq!(sandbox.kernel.platform.output[1], data);
    assert_eq!(sandbox.kernel.frames.used(), used);
    let to = sandbox.open(b"/tmp/copy", raw::O_CREAT | raw::O_RDWR, 0o644).cast_unsigned();
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, &[0; 8]).expect("scratch memory");
    assert_eq!(sandbox.call(326, [from, at, to, 0, 150_000, 0]), 150_000);
    assert_eq!(sandbox.bytes(at, 8), 150_000_u64.to_le_bytes());
    assert_eq!(sandbox.stat(b"/tmp/copy", 0).map(|stat| stat.st_size), Ok(150_000));
}

#[test]
fn openat2_checks_what_it_is_given() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch + 0x2000;
    let open = |sandbox: &mut Sandbox, path: &[u8], how: [u64; 4], size: u64| {
        let path = sandbox.string(0, path);
        sandbox.kernel.put(at, &how).expect("scratch");
        sandbox.call(437, [HERE, path, at, size, 0, 0])
    };
    assert!(open(&mut sandbox, b"/etc/text", [0; 4], 24) > 0);
    assert!(open(&mut sandbox, b"/etc/text", [0; 4], 32) > 0);
    for (how, size, expected) in [
        ([0, 0, 0, 0], 23, Errno::EINVAL),
        ([0, 0, 0, 1], 32, Errno::E2BIG),
        ([0, 0, 0, 0], 4097, Errno::E2BIG),
        ([1 << 40, 0, 0, 0], 24, Errno::EINVAL),
        ([0, 0o600, 0, 0], 24, Errno::EINVAL),
        ([0, 0, 1 << 20, 0], 24, Errno::EINVAL),
        ([0, 0, u64::from(raw::RESOLVE_BENEATH | raw::RESOLVE_IN_ROOT), 0], 24, Errno::EINVAL),
        ([0, 0, u64::from(raw::RESOLVE_BENEATH), 0], 24, Errno::EXDEV),
    ] {
        assert_eq!(open(&mut sandbox, b"/etc/text", how, size), error(expected), "{how:?} {size}");
    }
    let limit = |limits: u32| [0, 0, u64::from(limits), 0];
    assert_eq!(open(&mut sandbox, b"/dev/null", limit(raw::RESOLVE_NO_XDEV), 24), error(Errno::EXDEV));
    assert_eq!(open(&mut sandbox, b"/proc/self/exe", limit(raw::RESOLVE_NO_SYMLINKS), 24), error(Errno::ELOOP));
    assert_eq!(open(&mut sandbox, b"../..", limit(raw::RESOLVE_BENEATH), 24), error(Errno::EXDEV));
    assert!(open(&mut sandbox, b"../..", limit(raw::RESOLVE_IN_ROOT), 24) > 0);
}
