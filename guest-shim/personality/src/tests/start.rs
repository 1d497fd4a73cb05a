//! Starting programs.

use alloc::vec::Vec;

use super::*;
use crate::errno::Errno;

fn refused(server: Server, path: &[u8]) -> (u32, i32, alloc::string::String) {
    let machine = Machine::new(FRAMES_START, FRAMES_END, server);
    let start = start_parameters(path);
    let mut kernel = Kernel::new(machine, &start).unwrap_or_else(|_| panic!("memory for a kernel"));
    let error = kernel.exec(&start.path, &start.arguments, &start.environment).expect_err("it cannot start");
    (error.code, error.errno.0, error.reason)
}

#[test]
fn a_static_program_starts_with_its_stack() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.regs.rip, 0x40_0100);
    let sp = sandbox.regs.rsp;
    assert_eq!(sp % 16, 0);
    let words: Vec<u64> = sandbox
        .bytes(sp, 8 * 6)
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    assert_eq!(words[0], 2);
    assert_eq!(sandbox.bytes(words[1], 10), b"/bin/tiny\0");
    assert_eq!(sandbox.bytes(words[4], 10), b"KEY=value\0");
    assert_eq!(words[5], 0);
}

#[test]
fn the_file_shows_and_what_follows_it_is_zero() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.bytes(0x40_0000, 4), b"\x7fELF");
    assert_eq!(sandbox.bytes(0x40_1000, 4), [0; 4]);
    assert_eq!(sandbox.bytes(0x40_2ffc, 4), [0; 4]);
    let mut byte = [0];
    assert_eq!(sandbox.kernel.copy_in(0x40_3000, &mut byte), Err(Errno::EFAULT));
}

/// Files of which none can be run.
fn bad_programs() -> Server {
    let mut server = ordinary_server();
    let mut other = tiny_program();
    other[18] = 183;
    let mut dynamic = tiny_program();
    dynamic[56] = 2;
    dynamic[120] = 3;
    dynamic[128..136].copy_from_slice(&0x200_u64.to_le_bytes());
    dynamic[152..160].copy_from_slice(&8_u64.to_le_bytes());
    dynamic[0x200..0x208].copy_from_slice(b"/lib/ld\0");
    server.file("/bin/plain", &tiny_program(), 0o644);
    server.file("/bin/text", b"hello", 0o755);
    server.file("/bin/short", &tiny_program()[..100], 0o755);
    server.file("/bin/cut", &tiny_program()[..0x800], 0o755);
    server.file("/bin/arm", &other, 0o755);
    server.file("/bin/script", b"#!/no/such\n", 0o755);
    server.file("/bin/self", b"#!/bin/self\n", 0o755);
    server.file("/bin/empty", b"#!\n", 0o755);
    server.file("/bin/dynamic", &dynamic, 0o755);
    server
}

#[test]
fn what_cannot_start_says_why() {
    for (path, code, errno, words) in [
        (&b"/bin/missing"[..], 127, Errno::ENOENT, "not found"),
        (b"/bin/tiny/x", 126, Errno::ENOTDIR, "not a directory"),
        (b"/bin", 126, Errno::EACCES, "is a directory"),
        (b"/loop", 126, Errno::ELOOP, "too many symbolic links"),
        (b"/bin/plain", 126, Errno::EACCES, "permission denied"),
        (b"/bin/text", 126, Errno::ENOEXEC, "not an ELF file"),
        (b"/bin/short", 126, Errno::ENOEXEC, "truncated"),
        (b"/bin/cut", 126, Errno::ENOEXEC, "truncated"),
        (b"/bin/arm", 126, Errno::ENOEXEC, "another machine (AArch64)"),
        (b"/bin/script", 127, Errno::ENOENT, "/no/such: not found"),
        (b"/bin/self", 126, Errno::ELOOP, "#! lines"),
        (b"/bin/empty", 126, Errno::ENOEXEC, "names no interpreter"),
        (b"/bin/dynamic", 127, Errno::ENOENT, "required file not found: /lib/ld"),
        (b"/dev/null", 126, Errno::EACCES, "permission denied"),
    ] {
        let (got_code, got_errno, reason) = refused(bad_programs(), path);
        assert!(reason.contains(words), "{reason:?} instead of {words:?}");
        assert_eq!((got_code, got_errno), (code, errno.0), "{reason}");
    }
}

#[test]
fn the_root_is_told_why_nothing_started() {
    let machine = Machine::new(FRAMES_START, FRAMES_END, ordinary_server());
    let start = start_parameters(b"/bin/missing");
    let mut kernel = Kernel::new(machine, &start).unwrap_or_else(|_| panic!("memory for a kernel"));
    let error = kernel.exec(&start.path, &start.arguments, &start.environment).expect_err("it cannot start");
    kernel.not_started(&error);
    let (head, text) = kernel.platform.not_started.expect("a message");
    assert_eq!((head.code, head.errno), (127, 2));
    assert_eq!(text, "/bin/missing: not found");
}

#[test]
fn a_program_starts_in_a_directory_or_not_at_all() {
    let told = |directory: &[u8]| {
        let machine = Machine::new(FRAMES_START, FRAMES_END, ordinary_server());
        let start = Start { directory: directory.to_vec(), ..start_parameters(b"/bin/tiny") };
        let mut kernel = Kernel::new(machine, &start).unwrap_or_else(|_| panic!("memory for a kernel"));
        let launched = kernel.launch(&start);
        launched.map(drop).map_err(|error| (error.code, error.errno, error.reason))
    };
    assert_eq!(told(b"/bin"), Ok(()));
    assert_eq!(told(b"/proc/self"), Ok(()));
    for (directory, errno, reason) in [
        ("/proc/none", Errno::ENOENT, "/proc/none: the working directory is not there"),
        ("/dev/null", Errno::ENOTDIR, "/dev/null: the working directory is no directory"),
        ("/dev/null/x", Errno::ENOTDIR, "/dev/null/x: the working directory is no directory"),
    ] {
        assert_eq!(told(directory.as_bytes()), Err((2, errno, reason.into())));
    }
}

#[test]
fn a_script_runs_its_interpreter() {
    let mut server = ordinary_server();
    server.file("/bin/script", b"#! /bin/tiny -x y\nrest", 0o755);
    let machine = Machine::new(FRAMES_START, FRAMES_END, server);
    let mut regs = UserRegs::default();
    let kernel = Kernel::start(machine, start_parameters(b"/bin/script"), &mut regs).expect("it starts");
    let arguments = kernel.task.process.borrow().arguments.clone();
    assert_eq!(arguments, b"/bin/tiny\0-x y\0/bin/script\0argument\0");
    assert!(kernel.task.name.starts_with(b"tiny\0"));
}

#[test]
fn a_second_program_leaves_nothing_of_the_first() {
    let mut sandbox = Sandbox::new();
    let used = sandbox.kernel.frames.used();
    for _ in 0..20 {
        let arguments = [b"/bin/tiny".to_vec()];
        sandbox.regs = sandbox.kernel.exec(b"/bin/tiny", &arguments, &[]).expect("it starts again");
    }
    sandbox.kernel.fuse.settle(&mut sandbox.kernel.platform);
    sandbox.ask_something();
    assert!(sandbox.kernel.frames.used() <= used + 0x8000, "frames leak");
    assert_eq!(sandbox.kernel.platform.server.open_count(), 1);
}

#[test]
fn a_program_with_memory_that_the_policy_forbids_does_not_start() {
    let start = |flags| {
        let machine = Machine::new(FRAMES_START, FRAMES_END, ordinary_server());
        let start = Start { flags, ..start_parameters(b"/bin/tiny") };
        let mut kernel = Kernel::new(machine, &start).unwrap_or_else(|_| panic!("memory for a kernel"));
        kernel.exec(&start.path, &start.arguments, &start.environment).map(|_| ())
    };
    assert!(start(0).is_ok());
    let refused = start(proto::boot_flags::WRITE_XOR_EXECUTE).expect_err("its one segment is both");
    assert_eq!((refused.code, refused.errno), (126, Errno::EACCES));
    assert!(refused.reason.contains("policy"), "{}", refused.reason);
}
